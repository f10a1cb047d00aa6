//! What the cloud says: connections that come and go, and what becomes of records in flight.

use core::time::Duration;

use embedded_io::ErrorKind;

use super::{Engine, id};
use crate::connection::{Fate, InFlight};
use crate::{ConnectionId, GapReason, Instant, Lane, Offset, Output};

/// A lane that the engine has just replayed by itself is left alone for this long, so that a
/// cloud which goes on losing records costs a bounded share of the link.
const REPLAY_PAUSE: Duration = Duration::from_secs(10);

impl Engine {
    pub(super) fn up(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        receive_maximum: u16,
        maximum_packet_bytes: u32,
    ) {
        let at = usize::from(connection.0);
        let settings = &self.settings;
        let is_new = self.connections.get_mut(at).is_some_and(|connection| {
            connection.up(now, settings, receive_maximum, maximum_packet_bytes)
        });
        if is_new {
            self.counters.ups += 1;
            self.refresh_all(Some(at));
        }
    }

    pub(super) fn down(&mut self, now: Instant, connection: ConnectionId, kind: ErrorKind) {
        let at = usize::from(connection.0);
        let (is_stopping, generator) = (self.is_stopping, &mut self.generator);
        let unresolved = self
            .connections
            .get_mut(at)
            .and_then(|connection| connection.down(now, kind, is_stopping, generator));
        let Some(unresolved) = unresolved else {
            return;
        };
        self.counters.downs += 1;
        self.downlink.down(id(at));
        self.outputs.retain(|output| match output {
            Output::Send { connection: of, .. }
            | Output::Confirm { connection: of, .. }
            | Output::Disconnect { connection: of } => *of != connection,
            _ => true,
        });
        // Backwards, so that each goes to the front of its topic.
        for lane in Lane::ALL {
            self.lanes[lane].hold_ready(at, None);
        }
        for entry in unresolved.into_iter().rev() {
            if entry.fate != Fate::Void {
                self.counters.unresolved += 1;
                self.lanes[entry.lane]
                    .topics
                    .hold(entry.topic, entry.offset);
            }
        }
        self.refresh_all(Some(at));
    }

    pub(super) fn accepted(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        place: (Lane, Offset),
        server_offset: Option<u64>,
    ) {
        let Some(entry) = self.answered(now, connection, place) else {
            return;
        };
        let at = usize::from(connection.0);
        if self.connections[at].accepted_after(now, now - entry.sent) {
            self.refresh_all(Some(at));
        }
        if self.connections[at].proves_itself() {
            let pause = self.settings.reconnect_first;
            for other in &mut self.connections {
                other.hurry(now, pause);
            }
        }
        let has_recalled = self.connections[at].recalls(entry.lane, entry.topic);
        let uplink = &mut self.lanes[entry.lane];
        match entry.fate {
            Fate::Settle => {
                self.counters.accepted += 1;
                uplink.settle(entry.offset);
                if !has_recalled {
                    uplink.topics.succeed(entry.topic);
                }
                if let Some(server_offset) = server_offset
                    && uplink.watch.observe(entry.mark, server_offset)
                {
                    self.counters.cloud_regressions += 1;
                    let earliest = uplink.replayed.map_or(now, |last| last + REPLAY_PAUSE);
                    uplink.replay_due = Some(earliest.max(now));
                }
            }
            Fate::Recall => {
                self.counters.recalled += 1;
                uplink.topics.hold(entry.topic, entry.offset);
            }
            Fate::Void => {}
        }
        self.refresh(entry.lane, entry.topic);
    }

    pub(super) fn refused(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        place: (Lane, Offset),
    ) {
        let Some(entry) = self.answered(now, connection, place) else {
            return;
        };
        let at = usize::from(connection.0);
        self.counters.refused += 1;
        if entry.fate == Fate::Settle {
            self.recall_behind(at, &entry);
            let uplink = &mut self.lanes[entry.lane];
            uplink.topics.refuse(entry.topic, now, &mut self.generator);
            uplink.hold_ready(at, Some(entry.topic));
        }
        if entry.fate != Fate::Void {
            let topics = &mut self.lanes[entry.lane].topics;
            topics.hold(entry.topic, entry.offset);
        }
        self.recover(at);
        self.refresh(entry.lane, entry.topic);
    }

    pub(super) fn rejected(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        place: (Lane, Offset),
        reason: u8,
    ) {
        let Some(entry) = self.answered(now, connection, place) else {
            return;
        };
        let at = usize::from(connection.0);
        if entry.fate != Fate::Void {
            let reason = GapReason::Rejected { reason };
            self.give_up(entry.lane, entry.offset, entry.bytes, reason);
            if !self.connections[at].recalls(entry.lane, entry.topic) {
                self.lanes[entry.lane].topics.succeed(entry.topic);
            }
        }
        self.recover(at);
        self.refresh(entry.lane, entry.topic);
    }

    /// Writes down that a record is given up, and settles it.
    pub(super) fn give_up(&mut self, lane: Lane, offset: Offset, bytes: usize, reason: GapReason) {
        self.counters.rejected += 1;
        self.outputs.push_back(Output::Gap {
            lane,
            first: offset,
            count: 1,
            bytes: bytes as u64,
            reason,
        });
        self.lanes[lane].settle(offset);
    }

    /// Takes the record out of flight that an answer is about.
    fn answered(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        (lane, offset): (Lane, Offset),
    ) -> Option<InFlight> {
        let connection = self.connections.get_mut(usize::from(connection.0));
        let entry = connection.and_then(|connection| connection.answer(now, lane, offset));
        if entry.is_none() {
            self.counters.stray_answers += 1;
        }
        entry
    }

    /// What was sent of a topic behind a refused record is sent behind it again.
    fn recall_behind(&mut self, at: usize, refused: &InFlight) {
        let is_behind = |entry: &&mut InFlight| {
            entry.lane == refused.lane
                && entry.topic == refused.topic
                && entry.offset > refused.offset
                && entry.fate == Fate::Settle
        };
        for entry in self.connections[at].in_flight_mut().filter(is_behind) {
            entry.fate = Fate::Recall;
        }
    }

    fn recover(&mut self, at: usize) {
        if self.connections[at].recover() {
            self.refresh_all(Some(at));
        }
    }

    /// Replays lanes whose records the cloud seems to have lost.
    pub(super) fn replay_by_itself(&mut self, now: Instant) {
        for lane in Lane::ALL {
            let uplink = &mut self.lanes[lane];
            if uplink.replay_due.is_none_or(|due| due > now) {
                continue;
            }
            uplink.replay_due = None;
            uplink.replayed = Some(now);
            let from = uplink.release.released();
            self.replay(lane, from);
        }
    }
}
