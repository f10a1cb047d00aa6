//! What the broker is told of the log beside answers.

use sync::{Lane, Offset, PerLane};

use super::super::intake::Intake;

/// A change of the log that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogInput {
    /// What each lane takes from now on.
    Intake(PerLane<Intake>),
    /// Records came to light at the end of a lane, of which no answer tells.
    Appended {
        /// The lane.
        lane: Lane,
        /// The offset that comes next.
        head: Offset,
    },
    /// Records below `first` are gone from a lane.
    Trimmed {
        /// The lane.
        lane: Lane,
        /// The first that is left.
        first: Offset,
    },
}
