//! How a connection ends on our side.

use wire::nats::ServerOperation;

use super::connection::{Connection, State};
use super::error::PeerError;
use crate::broker::Input;

impl Connection {
    /// Closes because of the peer, and says why.
    pub(super) fn fail(&mut self, error: PeerError) {
        self.peer_error = Some(error);
        self.say(&ServerOperation::Err(error.answer()));
        self.leave_broker();
        self.tail = Vec::new();
        self.state = State::Closing;
    }

    pub(super) fn leave_broker(&mut self) {
        if matches!(self.state, State::Connecting(_) | State::Connected(_)) {
            self.tell(Input::Lost {
                connection: self.id,
            });
        }
    }
}
