//! What follows from the facts: after each input, everything that can go on does.

use super::{Engine, id};
use crate::checkpoint;
use crate::connection::{Fate, InFlight, Turn};
use crate::limits::CHECKPOINT_PENDING;
use crate::uplink::Ready;
use crate::{GapReason, Instant, Lane, Output, PerLane, Record};

impl Engine {
    pub(super) fn pump(&mut self, now: Instant) {
        self.turn_connections(now);
        self.wake_topics(now);
        self.replay_by_itself(now);
        for at in 0..self.connections.len() {
            self.fill(now, at);
        }
        for lane in Lane::ALL {
            let openness = self.openness();
            let uplink = &mut self.lanes[lane];
            let floor = uplink.cursor.ack_floor();
            uplink.release.advance(now, floor);
            let fetch = uplink.next_fetch(now, lane, &self.settings, openness);
            self.outputs.extend(fetch);
        }
        self.checkpoint(now);
    }

    fn turn_connections(&mut self, now: Instant) {
        for at in 0..self.connections.len() {
            while let Some(turn) = self.connections[at].turn(now, self.settings.patience) {
                match turn {
                    Turn::Connect => {
                        let connection = id(at);
                        self.outputs.push_back(Output::Connect { connection });
                    }
                    Turn::Disconnect => {
                        self.counters.silences += 1;
                        self.leave(at);
                    }
                    Turn::Stall => self.hold_ready(at),
                }
            }
        }
    }

    fn wake_topics(&mut self, now: Instant) {
        for lane in Lane::ALL {
            while let Some(topic) = self.lanes[lane].topics.wake(now) {
                self.refresh(lane, topic);
            }
        }
    }

    /// Sends on a connection as much as its window takes, the lanes by their weights.
    fn fill(&mut self, now: Instant, at: usize) {
        loop {
            let Self {
                connections,
                lanes,
                settings,
                ..
            } = self;
            let connection = &mut connections[at];
            let has_record = |lane: Lane| lanes[lane].peek(at).is_some();
            if !connection.is_open() {
                return;
            }
            let Some(lane) = connection.next_lane(&settings.weights, has_record) else {
                return;
            };
            let allowed = connection.maximum_packet_bytes();
            let Some(ready) = lanes[lane].peek(at) else {
                return;
            };
            let found = packet_bytes(&ready.record, settings.envelope_bytes);
            let bytes = ready.record.as_bytes().len();
            let is_too_large = found > u64::from(allowed);
            if !is_too_large && !connection.has_room_for(bytes) {
                return;
            }
            let Some(ready) = lanes[lane].take(at) else {
                return;
            };
            if is_too_large {
                let reason = GapReason::TooLarge { found, allowed };
                self.give_up(lane, ready.offset, bytes, reason);
                self.refresh(lane, ready.topic);
            } else {
                connection.charge(lane);
                self.send(now, at, lane, ready);
            }
        }
    }

    fn send(&mut self, now: Instant, at: usize, lane: Lane, ready: Ready) {
        let Ready {
            offset,
            topic,
            record,
        } = ready;
        let mark = if self.lanes[lane].watch.is_on() {
            Record::publisher_hash(record.topic())
        } else {
            0
        };
        self.connections[at].send(InFlight {
            lane,
            offset,
            topic,
            mark,
            bytes: record.as_bytes().len(),
            sent: now,
            fate: Fate::Settle,
        });
        self.counters.sent += 1;
        self.outputs.push_back(Output::Send {
            connection: id(at),
            lane,
            offset,
            record,
        });
    }

    fn checkpoint(&mut self, now: Instant) {
        let snapshot = self.snapshot();
        if snapshot == self.checkpoints.last {
            // A replay can undo a change.
            self.checkpoints.changed = None;
            self.checkpoints.is_urgent = false;
            return;
        }
        self.checkpoints.changed.get_or_insert(now);
        let is_due = self.checkpoint_due().is_some_and(|due| due <= now);
        let last = &self.checkpoints.last.0;
        let settled_before: u64 = last.iter().map(|(_, marks)| marks.2).sum();
        let settled: u64 = snapshot.0.iter().map(|(_, marks)| marks.2).sum();
        let is_enough = settled - settled_before >= self.settings.checkpoint_count;
        let is_ending = self.connections.iter().all(|ended| ended.is_stopped());
        let is_paused = self
            .checkpoints
            .paused_until
            .is_some_and(|until| until > now);
        if self.checkpoints.outstanding.is_some() || is_paused {
            return;
        }
        if !(is_due || is_enough || is_ending || self.checkpoints.is_urgent) {
            return;
        }
        self.checkpoints.last = snapshot;
        self.checkpoints.changed = None;
        self.checkpoints.is_urgent = false;
        self.checkpoints.paused_until = None;
        let released = PerLane::from_fn(|lane| self.lanes[lane].release.released());
        self.checkpoints.outstanding = Some(released);
        let lanes = Lane::ALL.map(|lane| {
            let cursor = self.lanes[lane].cursor.shortened_to(CHECKPOINT_PENDING);
            (cursor, released[lane])
        });
        let epoch = self.settings.origin.epoch;
        let stored = (checkpoint::VERSION, epoch, lanes, self.downlink.to_stored());
        let value = checkpoint::encode(&stored);
        self.outputs.push_back(Output::Checkpoint { value });
    }

    pub(super) fn checkpoint_due(&self) -> Option<Instant> {
        let changed = self.checkpoints.changed?;
        if self.checkpoints.outstanding.is_some() {
            return None;
        }
        let due = changed + self.settings.checkpoint_interval;
        Some(
            self.checkpoints
                .paused_until
                .map_or(due, |until| due.max(until)),
        )
    }

    pub(super) fn checkpoint_done(&mut self) {
        let Some(released) = self.checkpoints.outstanding.take() else {
            return;
        };
        self.counters.checkpoints += 1;
        for lane in Lane::ALL {
            // A replay may have gone back meanwhile.
            let uplink = &mut self.lanes[lane];
            uplink.durable_release = released[lane].min(uplink.release.released());
        }
    }

    pub(super) fn checkpoint_failed(&mut self, now: Instant) {
        if self.checkpoints.outstanding.take().is_some() {
            self.checkpoints.last = super::Snapshot::default();
            self.checkpoints.changed = Some(now);
            self.checkpoints.paused_until = Some(now + self.settings.checkpoint_interval);
        }
    }
}

/// Bytes of the PUBLISH packet that carries a record.
fn packet_bytes(record: &Record, envelope_bytes: u32) -> u64 {
    let body = record.as_bytes().len() - Record::HEADER_BYTES;
    body as u64 + u64::from(envelope_bytes)
}
