//! What the log takes: the lane of a record, and what happens to it when that is at its limit.

use sync::{Lane, Offset, Record};
use wire::topic::{TopicName, pattern_matches};

use super::Broker;
use super::event::LogInput;
use super::outcome::Refusal;

/// What a lane takes at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intake {
    /// Everything.
    #[default]
    Open,
    /// It is at its limit: nothing of the topics whose new messages give way.
    Full,
    /// Nothing, because the disk is full or fails.
    Stopped,
}

/// What gives way when a lane is at its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest records.
    #[default]
    DropOldest,
    /// The new message.
    Reject,
    /// The oldest records, but the latest of a topic goes last.
    KeepLatest,
}

impl Broker {
    pub(super) fn handle_log(&mut self, input: LogInput) {
        match input {
            LogInput::Intake(intake) => self.intake = intake,
            LogInput::Appended { lane, head } => self.handle_appended(lane, head),
            LogInput::Trimmed { lane, first } => self.handle_trimmed(lane, first),
        }
    }

    /// Who is behind finds them there; nobody was promised them.
    fn handle_appended(&mut self, lane: Lane, head: Offset) {
        assert!(head >= self.head[lane], "offsets of a lane only grow");
        self.head[lane] = head;
        self.note_head_moved(lane);
    }

    /// The lane that a rule gives a record.
    pub(super) fn lane_of(&self, record: &Record) -> Lane {
        let lane = first_match(&self.settings.lanes, record);
        lane.unwrap_or(Lane::Normal)
    }

    /// What gives way for a record.
    pub(super) fn overflow_of(&self, record: &Record, lane: Lane) -> Overflow {
        let overflow = first_match(&self.settings.overflow_rules, record);
        overflow.unwrap_or(self.settings.overflow[lane])
    }

    /// Whether the old records of a lane stay at its limit.
    #[must_use]
    pub fn rejects(&self, lane: Lane) -> bool {
        self.settings.overflow[lane] == Overflow::Reject
    }

    /// Whether a lane takes a record now. In a lane whose old records stay, no rule makes them go.
    pub(super) fn check_intake(&self, lane: Lane, overflow: Overflow) -> Result<(), Refusal> {
        let rejects = overflow == Overflow::Reject || self.rejects(lane);
        match self.intake[lane] {
            Intake::Stopped => Err(Refusal::LogFull),
            Intake::Full if rejects => Err(Refusal::LogFull),
            Intake::Open | Intake::Full => Ok(()),
        }
    }
}

/// What the first rule says whose filter matches.
fn first_match<T: Copy>(rules: &[(String, T)], record: &Record) -> Option<T> {
    if rules.is_empty() {
        return None;
    }
    let name = TopicName::new(record.topic()).ok()?;
    let rule = rules
        .iter()
        .find(|(filter, _)| pattern_matches(filter, name));
    rule.map(|(_, said)| *said)
}
