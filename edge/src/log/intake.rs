//! What a lane takes: how full it is, all lanes together are, and the disk is.
//!
//! | what | normal | urgent | critical |
//! | --- | --- | --- | --- |
//! | the lane has less room than a segment, with what waits for one | full | full | full |
//! | all lanes have less room than this part of their limit | full at 1/8 | full at 1/16 | full at 0 |
//! | the disk is full, the reserve is in use | stopped | | |
//! | nothing can be flushed, and the journal is filled over | stopped at 1/2 | at 3/4 | at 7/8 |
//!
//! The last eighth of the journal is for cursors and sessions, so that draining goes on and space
//! returns. Nothing here is a decision: who appends is told, and refuses.

use sync::{Lane, PerLane};

/// What a lane takes at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intake {
    /// Everything.
    #[default]
    Open,
    /// It is at its limit. What is appended all the same makes the oldest go, if the lane drops.
    Full,
    /// The disk is full or fails: what is appended takes room from more important things.
    Stopped,
}

/// How much there is of what there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    pub(super) bytes: u64,
    /// What is still in memory, and will take no more there.
    pub(super) waiting: u64,
    pub(super) most: u64,
    /// What goes at a time.
    pub(super) segment: u64,
}

/// How the files are, as of when they were last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    pub(super) lanes: PerLane<Filling>,
    pub(super) has_reserve: bool,
    /// Nothing can be flushed.
    pub(super) is_failing: bool,
}

/// Everything that makes a lane refuse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    pub(super) files: Holding,
    /// Of all lanes together.
    pub(super) most: Option<u64>,
    pub(super) journal: Filling,
}

impl Pressure {
    pub(super) fn intake(&self) -> PerLane<Intake> {
        PerLane::from_fn(|lane| match () {
            () if self.is_stopped(lane) => Intake::Stopped,
            () if self.is_full(lane) => Intake::Full,
            () => Intake::Open,
        })
    }

    fn is_stopped(&self, lane: Lane) -> bool {
        let eighths = match lane {
            Lane::Normal => 4,
            Lane::Urgent => 6,
            Lane::Critical => 7,
        };
        let is_filled = self.journal.bytes > self.journal.most / 8 * eighths;
        let is_in_need = lane == Lane::Normal && !self.files.has_reserve;
        is_in_need || self.files.is_failing && is_filled
    }

    fn is_full(&self, lane: Lane) -> bool {
        let own = self.files.lanes[lane];
        let taken = |lane: Filling| lane.bytes + lane.waiting;
        let all: u64 = self.files.lanes.iter().map(|(_, lane)| taken(*lane)).sum();
        let is_over = |most: u64| {
            let spared = match lane {
                Lane::Normal => most / 8,
                Lane::Urgent => most / 16,
                Lane::Critical => 0,
            };
            all + spared > most
        };
        taken(own) + own.segment > own.most || self.most.is_some_and(is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::Intake::{Full, Open, Stopped};
    use super::*;

    fn pressure(bytes: [u64; 3]) -> Pressure {
        let bytes = PerLane(bytes);
        let lanes = PerLane::from_fn(|lane| Filling {
            bytes: bytes[lane],
            waiting: 0,
            most: 1000,
            segment: 100,
        });
        Pressure {
            files: Holding {
                lanes,
                has_reserve: true,
                is_failing: false,
            },
            most: None,
            // As after a burst, which stops nobody.
            journal: JOURNAL,
        }
    }

    const JOURNAL: Filling = Filling {
        bytes: 800,
        waiting: 0,
        most: 800,
        segment: 0,
    };

    fn failing(bytes: [u64; 3], has_reserve: bool, journal: Option<u64>) -> Pressure {
        let mut pressure = pressure(bytes);
        pressure.files.has_reserve = has_reserve;
        pressure.files.is_failing = journal.is_some();
        pressure.journal.bytes = journal.unwrap_or(JOURNAL.bytes);
        pressure
    }

    #[test]
    fn lanes_stop_in_their_order_and_open_again() {
        let most = Some(1600);
        for (pressure, critical, urgent, normal) in [
            (pressure([0, 0, 0]), Open, Open, Open),
            (pressure([900, 901, 900]), Open, Full, Open),
            (
                Pressure {
                    most,
                    ..pressure([500, 500, 400])
                },
                Open,
                Open,
                Open,
            ),
            (
                Pressure {
                    most,
                    ..pressure([500, 500, 401])
                },
                Open,
                Open,
                Full,
            ),
            (
                Pressure {
                    most,
                    ..pressure([500, 500, 501])
                },
                Open,
                Full,
                Full,
            ),
            (
                Pressure {
                    most,
                    ..pressure([600, 500, 501])
                },
                Full,
                Full,
                Full,
            ),
            (failing([0, 901, 0], false, None), Open, Full, Stopped),
            (failing([0; 3], true, Some(400)), Open, Open, Open),
            (failing([0; 3], true, Some(401)), Open, Open, Stopped),
            (failing([0; 3], true, Some(601)), Open, Stopped, Stopped),
            (failing([0; 3], true, Some(701)), Stopped, Stopped, Stopped),
        ] {
            assert_eq!(
                pressure.intake().0,
                [critical, urgent, normal],
                "{pressure:?}"
            );
        }
    }
}
