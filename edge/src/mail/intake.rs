//! What the log takes: mail is refused where it is full before it takes the room of more important
//! things. What makes room is never refused, nor what only reads.

use sync::Lane;
use wire::mq9::{Failure, Request};

use super::Office;
use super::cloud::lane_of;

/// What the log takes of a priority at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intake {
    /// Everything.
    #[default]
    Open,
    /// Nothing that goes up to the cloud: its lane is at its limit, and old records stay.
    NothingUp,
    /// Nothing: the disk is full or fails.
    Nothing,
}

impl Office {
    /// Refuses what the log has no room for.
    pub(super) fn check_intake(&self, request: &Request) -> Result<(), Failure> {
        let (lane, goes_up) = match request {
            Request::Send(send) => {
                let lane = lane_of(send.attributes.priority);
                (lane, self.lives_in_cloud(&send.address))
            }
            Request::Register(_) => (Lane::Normal, self.settings.announces_agents),
            Request::Create(_) | Request::Report(_) => (Lane::Normal, false),
            Request::Unregister(_) if self.settings.announces_agents => (Lane::Normal, true),
            _ => return Ok(()),
        };
        self.check_lane(lane, goes_up)
    }

    /// Refuses what a lane has no room for.
    pub(super) fn check_lane(&self, lane: Lane, goes_up: bool) -> Result<(), Failure> {
        match self.intake[lane] {
            Intake::NothingUp if !goes_up => Ok(()),
            Intake::Open => Ok(()),
            Intake::NothingUp | Intake::Nothing => Err(Failure::Refused("log is full".to_owned())),
        }
    }
}
