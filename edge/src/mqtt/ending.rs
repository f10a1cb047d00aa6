//! How a connection ends on our side.

use wire::DecodeError;
use wire::mqtt::{Disconnect, Packet, ReasonCode, Version};

use super::connection::{Connection, State};
use super::error::PeerError;
use super::outbound::refusal_reason;
use super::words::Words;
use crate::broker::{CloseReason, Input, Refusal};

/// How a connection ends on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The peer made a mistake.
    Peer(PeerError),
    /// We can't go on.
    Refused(Refusal),
    /// The client said so; the broker knows already.
    Goodbye,
}

impl From<PeerError> for Ending {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl From<DecodeError> for Ending {
    fn from(error: DecodeError) -> Self {
        Self::Peer(error.into())
    }
}

/// The reason code of the broker's reason.
pub(super) const fn close_reason(reason: CloseReason) -> ReasonCode {
    match reason {
        CloseReason::TakenOver => ReasonCode::SessionTakenOver,
        CloseReason::NotAuthorized => ReasonCode::NotAuthorized,
        CloseReason::Busy => ReasonCode::ServerBusy,
    }
}

impl Connection {
    pub(super) fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Peer(error) => self.fail(error),
            Ending::Refused(refusal) => {
                self.give_up(refusal_reason(refusal), &Words::of(refusal));
            }
            Ending::Goodbye => self.state = State::Closing,
        }
    }

    /// Closes because of the peer.
    pub(super) fn fail(&mut self, error: PeerError) {
        self.peer_error = Some(Box::new(error));
        self.give_up(error.reason_code(), &Words::of(error));
    }

    /// Closes with a reason; the broker loses the client.
    pub(super) fn give_up(&mut self, reason_code: ReasonCode, words: &Words) {
        self.say_goodbye(reason_code, words);
        self.leave_broker();
        self.state = State::Closing;
    }

    /// Sends DISCONNECT where there is one. [MQTT-3.14.0-1]
    pub(super) fn say_goodbye(&mut self, reason_code: ReasonCode, words: &Words) {
        let state = std::mem::replace(&mut self.state, State::Closing);
        if let State::Connected(established) = &state
            && established.version == Version::V5
        {
            self.send_saying(established, words, |properties| {
                Packet::Disconnect(Disconnect {
                    reason_code,
                    properties,
                })
            });
        }
        self.state = state;
    }

    pub(super) fn leave_broker(&mut self) {
        let is_known = matches!(
            self.state,
            State::Connecting(_) | State::Authenticating(_) | State::Connected(_)
        );
        if is_known {
            self.underway.tell(Input::Lost {
                connection: self.id,
            });
        }
    }
}
