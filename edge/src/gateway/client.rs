//! A client's connection, in whichever protocol its listener speaks: both are driven alike.

use std::fmt::Display;

use sync::Now;

use crate::broker::{Event, Input};
use crate::{mqtt, nats};

/// The state of one connection.
pub(crate) enum Client {
    /// One of those that there are most of.
    Mqtt(mqtt::Connection),
    /// Beside them, so that they stay as small as they are.
    Nats(Box<nats::Connection>),
}

/// Does the same with either.
macro_rules! either {
    ($client:expr, $connection:ident => $what:expr) => {
        match $client {
            Client::Mqtt($connection) => $what,
            Client::Nats($connection) => $what,
        }
    };
}

impl Client {
    pub(crate) fn handle_no_place(&mut self, now: Now) {
        match self {
            Self::Mqtt(it) => it.handle_no_place(now),
            Self::Nats(it) => it.handle_no_place(),
        }
    }

    pub(crate) fn handle_identity(&mut self, identity: Box<str>) {
        either!(self, it => it.handle_identity(identity));
    }

    pub(crate) fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        either!(self, it => it.handle_bytes(now, bytes));
    }

    pub(crate) fn handle_event(&mut self, now: Now, event: Event) {
        either!(self, it => it.handle_event(now, event));
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        either!(self, it => it.handle_timeout(now));
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn let_go(&mut self) {
        either!(self, it => it.let_go());
    }

    pub(crate) fn handle_held_back(&mut self, now: Now) {
        either!(self, it => it.handle_held_back(now));
    }

    pub(crate) fn handle_lost(&mut self) {
        either!(self, it => it.handle_lost());
    }

    /// Others let go of memory. What is sent to NATS clients never waits for that.
    pub(crate) fn handle_room(&mut self) {
        match self {
            Self::Mqtt(it) => it.handle_room(),
            Self::Nats(_) => {}
        }
    }

    pub(crate) fn handle_shutdown(&mut self) {
        either!(self, it => it.handle_shutdown());
    }

    pub(crate) fn poll(&mut self) -> Option<Input> {
        either!(self, it => it.poll())
    }

    /// Whether there is no input, not even one whose time has not come.
    pub(crate) fn is_quiet(&self) -> bool {
        either!(self, it => it.is_quiet())
    }

    /// Gives the next input if that is a request for the mail office whose time has come.
    pub(crate) fn poll_request(&mut self) -> Option<Input> {
        match self {
            Self::Mqtt(_) => None,
            Self::Nats(it) => it.poll_request(),
        }
    }

    /// Whether the next input is a request for the mail office.
    pub(crate) fn is_asking(&self) -> bool {
        match self {
            Self::Mqtt(_) => false,
            Self::Nats(it) => it.is_asking(),
        }
    }

    /// Whether it is one that reads mail.
    pub(crate) fn is_asking_to_read(&self) -> bool {
        match self {
            Self::Mqtt(_) => false,
            Self::Nats(it) => it.is_asking_to_read(),
        }
    }

    pub(crate) fn take_outbound(&mut self, empty: Vec<u8>) -> Vec<u8> {
        either!(self, it => it.take_outbound(empty))
    }

    pub(crate) fn outbound_bytes(&self) -> usize {
        either!(self, it => it.outbound_bytes())
    }

    pub(crate) fn is_owed_anything(&self) -> bool {
        self.outbound_bytes() > 0 || self.taken_bytes() > 0
    }

    pub(crate) fn taken_bytes(&self) -> usize {
        either!(self, it => it.taken_bytes())
    }

    pub(crate) fn wants_more(&self) -> bool {
        either!(self, it => it.wants_more())
    }

    pub(crate) fn is_closed(&self) -> bool {
        either!(self, it => it.is_closed())
    }

    /// What the peer did wrong, if we closed the connection for that: its kind, and in full.
    pub(crate) fn mistake(&self) -> Option<(&'static str, &dyn Display)> {
        match self {
            Self::Mqtt(it) => {
                let error = it.peer_error()?;
                Some((error.reason_code().name(), error))
            }
            Self::Nats(it) => {
                let error = it.peer_error()?;
                Some((error.kind(), error))
            }
        }
    }
}
