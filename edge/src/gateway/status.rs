//! What the operator hears: one fact a line, a name and a number or word.

use std::fmt::Write as _;

use cloud_bridge::{Command, Event};
use sync::{ConnectionId, Lane, Now};

use super::core::Core;
use super::disk;
use crate::admin::Request;

impl Core {
    /// Answers one request of the operator.
    pub(super) fn reply(&mut self, now: Now, request: Option<Request>) -> String {
        match request {
            Some(Request::Status) => self.status(),
            Some(Request::Replay { lane, from }) => {
                let Some(uplink) = &mut self.uplink else {
                    return "nothing to replay: there is no [cloud]\n".to_owned();
                };
                let before = uplink.engine.counters().replayed;
                uplink.replay(now.instant, lane, from);
                let count = uplink.engine.counters().replayed - before;
                self.pump(now);
                format!("{lane}: {count} records are sent again\n")
            }
            Some(Request::Snapshot) => {
                self.notes.push_back(disk::Request::Snapshot);
                self.wakes.commit.raise();
                "a snapshot is made\n".to_owned()
            }
            None => {
                "unknown request, allowed are: status, replay LANE OFFSET, snapshot\n".to_owned()
            }
        }
    }

    /// Takes the next command for the bridge.
    pub(super) fn next_command(&mut self) -> Option<Command> {
        self.uplink.as_mut()?.commands.pop_front()
    }

    /// Takes what the bridge says.
    pub(super) fn bridge_said(&mut self, now: Now, event: Event) {
        if let Some(uplink) = &mut self.uplink {
            uplink.bridge_said(now, event);
            self.pump(now);
        }
    }

    /// Whether the uplink needs no more time at a stop.
    pub(super) fn has_left_cloud(&self) -> bool {
        self.uplink
            .as_ref()
            .is_none_or(|uplink| uplink.engine.is_stopped())
    }

    pub(super) fn status(&self) -> String {
        let mut text = String::new();
        let mut say = |name: &str, value: u64| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} {value}");
        };
        say("connections", self.connection_count() as u64);
        say("sessions", self.broker.session_count() as u64);
        say("retained", self.broker.retained_count() as u64);
        let (subscriptions, shared) = self.broker.subscription_counts();
        say("subscriptions", subscriptions as u64);
        say("subscriptions.shared", shared as u64);
        say("groups", self.broker.group_count() as u64);
        let counters = self.broker.counters();
        say("published", counters.published);
        say("delivered", counters.delivered);
        say("refused", counters.refused);
        say("missed", counters.missed);
        for (name, count) in self.line_counts().into_iter().flatten() {
            say(name, count);
        }
        for (name, count) in self.mail_counts().into_iter().flatten() {
            say(name, count);
        }
        for lane in Lane::ALL {
            say(&format!("{lane}.first"), self.reader.first(lane).0);
            say(&format!("{lane}.head"), self.reader.head(lane).0);
            // What any session or group still wants, and all behind it.
            let wanted = self.broker.release_floor(lane);
            let backlog = self.reader.head(lane).0.saturating_sub(wanted.0);
            say(&format!("{lane}.backlog"), backlog);
        }
        say("log.refusing", u64::from(self.is_refusing));
        say("log.failing", u64::from(self.is_log_failing));
        let found = &self.found;
        say("start.set_aside", found.damaged_files.len() as u64);
        say(
            "start.damaged_segments",
            found.damaged_segments.len() as u64,
        );
        say("start.lost_rows", found.lost_rows);
        say("start.lost_groups", found.lost_frames);
        say("start.lost_state", u64::from(found.is_state_lost));
        say("start.lost_journal", u64::from(found.is_journal_lost));
        let gaps = self.reader.gaps(0).unwrap_or_default();
        say("gaps", gaps.iter().map(|(_, gap)| gap.count).sum());
        if let Some(uplink) = &self.uplink {
            let counters = uplink.engine.counters();
            say("cloud.sent", counters.sent);
            say("cloud.accepted", counters.accepted);
            say("cloud.refused", counters.refused);
            say("cloud.rejected", counters.rejected);
            say("cloud.replayed", counters.replayed);
            for lane in Lane::ALL {
                let status = uplink.engine.lane(lane);
                say(&format!("cloud.{lane}.acknowledged"), status.ack_floor.0);
                say(&format!("cloud.{lane}.released"), status.release_floor.0);
                say(&format!("cloud.{lane}.backlog"), status.backlog_count);
            }
            for number in 0..8 {
                if let Some(status) = uplink.engine.connection(ConnectionId(number)) {
                    let is_up = u64::from(status.phase == sync::ConnectionPhase::Up);
                    say(&format!("cloud.connection.{number}.up"), is_up);
                    say(
                        &format!("cloud.connection.{number}.in_flight"),
                        status.in_flight_count as u64,
                    );
                }
            }
        }
        text
    }
}
