//! How a connection ends on our side.

use wire::nats::{ServerError, ServerOperation};

use super::connection::{Connection, State};
use super::error::PeerError;
use crate::broker::{CloseReason, Input};

impl Connection {
    /// Closes because of the peer, and says why.
    pub(super) fn fail(&mut self, error: PeerError) {
        self.peer_error = Some(error);
        self.say(&ServerOperation::Err(error.answer()));
        self.leave_broker();
        drop(self.underway.take_tail());
        self.state = State::Closing;
    }

    /// Closes because the broker says so, and has forgotten the connection.
    pub(super) fn close(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::NotAuthorized => {
                self.peer_error = Some(PeerError::NotAuthorized);
                self.say(&ServerOperation::Err(
                    ServerError::UserAuthenticationRevoked,
                ));
            }
            // Neither is for sessions that nobody can name.
            CloseReason::TakenOver | CloseReason::Busy => {}
        }
        self.forget_requests();
        self.state = State::Closing;
    }

    pub(super) fn leave_broker(&mut self) {
        self.forget_requests();
        if matches!(self.state, State::Connecting { .. } | State::Connected(_)) {
            self.tell(Input::Lost {
                connection: self.id,
            });
        }
    }
}
