//! What the operator hears: one fact a line, a name and a number or word.

use std::fmt::Write as _;

use cloud_bridge::{Command, Event};
use sync::{Instant, Lane, Now};

use super::core::Core;
use super::disk;
use crate::admin::Request;
use crate::log::Intake;

impl Core {
    /// Answers one request of the operator.
    pub(super) fn reply(&mut self, now: Now, request: Option<Request>) -> String {
        match request {
            Some(Request::Status) => self.status(now.instant),
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
                self.note(disk::Request::Snapshot);
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

    pub(super) fn status(&self, now: Instant) -> String {
        let mut lines = Lines::default();
        self.say_of_clients(&mut lines);
        self.say_of_log(&mut lines);
        let (_, turned) = self.writer_turned;
        lines.say("log.silent_seconds", (now - turned).as_secs());
        for (name, value) in self.flash.facts() {
            lines.say(name, value);
        }
        for (name, value) in self.expiry.facts(self.time.device) {
            lines.say(&name, value);
        }
        self.say_of_gaps(&mut lines);
        self.say_of_cloud(&mut lines);
        lines.text
    }

    fn say_of_clients(&self, lines: &mut Lines) {
        lines.say("connections", self.connection_count() as u64);
        lines.say("sessions", self.broker.session_count() as u64);
        lines.say("retained", self.broker.retained_count() as u64);
        let (subscriptions, shared) = self.broker.subscription_counts();
        lines.say("subscriptions", subscriptions as u64);
        lines.say("subscriptions.shared", shared as u64);
        lines.say("groups", self.broker.group_count() as u64);
        let counters = self.broker.counters();
        lines.say("published", counters.published);
        lines.say("delivered", counters.delivered);
        lines.say("refused", counters.refused);
        lines.say("missed", counters.missed);
        for (name, count) in self.line_counts().into_iter().flatten() {
            lines.say(name, count);
        }
        for (name, count) in self.mail_counts().into_iter().flatten() {
            lines.say(name, count);
        }
    }

    fn say_of_log(&self, lines: &mut Lines) {
        for lane in Lane::ALL {
            lines.say(&format!("{lane}.first"), self.reader.first(lane).0);
            lines.say(&format!("{lane}.head"), self.reader.head(lane).0);
            // What any session or group still wants, and all behind it.
            let wanted = self.broker.release_floor(lane);
            let backlog = self.reader.head(lane).0.saturating_sub(wanted.0);
            lines.say(&format!("{lane}.backlog"), backlog);
            let intake = self.intake[lane];
            lines.say(&format!("{lane}.full"), u64::from(intake == Intake::Full));
            let is_stopped = u64::from(intake == Intake::Stopped);
            lines.say(&format!("{lane}.stopped"), is_stopped);
        }
        lines.say("log.refusing", u64::from(self.is_refusing));
        lines.say("log.failing", u64::from(self.is_log_failing));
        let found = &self.found;
        lines.say("start.set_aside", found.damaged_files.len() as u64);
        let segments = found.damaged_segments.len() as u64;
        lines.say("start.damaged_segments", segments);
        lines.say("start.lost_rows", found.lost_rows);
        lines.say("start.lost_groups", found.lost_frames);
        lines.say("start.lost_state", u64::from(found.is_state_lost));
        lines.say("start.lost_journal", u64::from(found.is_journal_lost));
        lines.say("start.lost_mail", u64::from(found.is_mail_lost));
        lines.say("start.lost_mail_rows", found.lost_mail_rows);
    }

    fn say_of_gaps(&self, lines: &mut Lines) {
        let gaps = self.reader.gaps(0).unwrap_or_default();
        let gaps = || gaps.iter().map(|(_, gap)| gap);
        lines.say("gaps", gaps().map(|gap| gap.count).sum());
        lines.say("gaps.bytes", gaps().map(|gap| gap.bytes).sum());
        lines.say("gaps.ranges", gaps().count() as u64);
        lines.say("gaps.announced", self.gap_news.announced_count());
    }

    fn say_of_cloud(&self, lines: &mut Lines) {
        let Some(uplink) = &self.uplink else {
            return;
        };
        let counters = uplink.engine.counters();
        lines.say("cloud.sent", counters.sent);
        lines.say("cloud.accepted", counters.accepted);
        lines.say("cloud.refused", counters.refused);
        lines.say("cloud.rejected", counters.rejected);
        lines.say("cloud.replayed", counters.replayed);
        for lane in Lane::ALL {
            let status = uplink.engine.lane(lane);
            lines.say(&format!("cloud.{lane}.acknowledged"), status.ack_floor.0);
            lines.say(&format!("cloud.{lane}.released"), status.release_floor.0);
            lines.say(&format!("cloud.{lane}.backlog"), status.backlog_count);
        }
        let mail = uplink.mail_counts();
        for (number, status) in (0_u8..).zip(uplink.connections()) {
            let name = match mail {
                Some((connection, _)) if connection.0 == number => "cloud.mail".to_owned(),
                _ => format!("cloud.connection.{number}"),
            };
            let is_up = u64::from(status.phase == sync::ConnectionPhase::Up);
            lines.say(&format!("{name}.up"), is_up);
            let in_flight = status.in_flight_count as u64;
            lines.say(&format!("{name}.in_flight"), in_flight);
        }
        if let Some((_, counts)) = mail {
            lines.say("cloud.mail.pulled", counts.stored);
            lines.say("cloud.mail.declined", counts.declined);
            lines.say("cloud.mail.agents", counts.agents as u64);
        }
    }
}

/// A name and a number a line.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn say(&mut self, name: &str, value: u64) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{name} {value}");
    }
}
