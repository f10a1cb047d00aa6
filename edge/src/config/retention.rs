//! What is kept, for how long, and what gives way: `[lanes]`, `[[rule]]` and `[retention]`.

use serde::Deserialize;
use sync::Lane;

/// `[lanes]`: filters of the lanes above `normal`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Alarms.
    pub critical: Vec<String>,
    /// Between alarms and telemetry.
    pub urgent: Vec<String>,
}

/// `[[rule]]`: what holds for the topics of a filter, before `[lanes]` and `[retention]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The topics.
    pub filter: String,
    /// Where they are kept; absent leaves it to `[lanes]`.
    pub lane: Option<Lane>,
    /// What gives way when the lane is at its limit; absent leaves it to the lane.
    pub overflow: Option<Overflow>,
}

/// What gives way when a lane, or the log, is at its limit of bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The oldest segment, with a gap for what was still wanted.
    #[default]
    DropOldest,
    /// The new message: it is refused.
    Reject,
    /// The oldest segment, but the last message of each topic is stored anew.
    KeepLatest,
}

/// `[retention]`: one table a lane, and what holds for all together.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// All lanes together; above it the lower lanes give way first. Absent means the sum of theirs.
    pub max_bytes: Option<u64>,
    /// Of every lane that says nothing shorter.
    pub max_age_seconds: Option<u64>,
    /// Of the lane `critical`.
    pub critical: LaneRetention,
    /// Of the lane `urgent`.
    pub urgent: LaneRetention,
    /// Of the lane `normal`.
    pub normal: LaneRetention,
}

impl Retention {
    /// Finds the table of a lane.
    #[must_use]
    pub const fn lane(&self, lane: Lane) -> &LaneRetention {
        match lane {
            Lane::Critical => &self.critical,
            Lane::Urgent => &self.urgent,
            Lane::Normal => &self.normal,
        }
    }

    /// Gives the table of a lane with what holds for all.
    #[must_use]
    pub fn of(&self, lane: Lane) -> LaneRetention {
        let own = self.lane(lane);
        let ages = [own.max_age_seconds, self.max_age_seconds];
        LaneRetention {
            max_age_seconds: ages.into_iter().flatten().min(),
            ..own.clone()
        }
    }
}

/// `[retention.LANE]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LaneRetention {
    /// Bytes of the lane; what happens above it says `overflow`.
    pub max_bytes: u64,
    /// Older records go, with a gap if they were wanted; absent means that age is no reason.
    pub max_age_seconds: Option<u64>,
    /// What gives way at `max_bytes`, of topics for which no `[[rule]]` says it.
    pub overflow: Overflow,
}

impl Default for LaneRetention {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_age_seconds: None,
            overflow: Overflow::DropOldest,
        }
    }
}

impl Overflow {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DropOldest => "drop-oldest",
            Self::Reject => "reject",
            Self::KeepLatest => "keep-latest",
        }
    }
}
