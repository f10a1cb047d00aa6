//! A client and its session: who wants it, what it got, what it leaves behind.

use std::fmt;

use sync::Record;

use super::{ConnectionId, ListenerId, Note};

/// Where a connection comes from, as far as it matters for what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// The listener that accepted it.
    pub listener: ListenerId,
    /// The user that the link's certificate names, where the listener wants one.
    pub identity: Option<Box<str>>,
}

/// A client that wants its session.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Where its answers go.
    pub connection: ConnectionId,
    /// Where it came in.
    pub entrance: Entrance,
    /// Who it says it is.
    pub credentials: Credentials,
    /// Empty asks the broker to assign one.
    pub client_identifier: String,
    /// Whether an existing session is resumed.
    pub start: SessionStart,
    /// Seconds that the session outlives its connection; `u32::MAX` is for ever.
    pub session_expiry: u32,
    /// The most unacknowledged deliveries that the client takes; at least 1.
    pub receive_maximum: u16,
    /// What to publish when the client is lost.
    pub will: Option<Will>,
}

/// Who a client says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    #[default]
    None,
    /// A name, to be proven by a password.
    Password {
        /// The name.
        user: String,
        /// Empty when there is none, which proves nothing.
        password: Password,
    },
    /// A name that is proven without sending the password.
    Scram {
        /// The client's first message of SCRAM-SHA-256.
        first: Vec<u8>,
    },
}

/// A password as a client sent it; never shown, and forgotten once it is checked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// Takes over a password.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Gives the bytes to whoever checks them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Whether a session is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStart {
    /// What there was is discarded.
    Clean,
    /// What there was goes on.
    Resume,
}

/// A session that is the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The client's, or the assigned one.
    pub client_identifier: String,
    /// Whether there was a session to resume.
    pub session: SessionFound,
    /// Seconds, after the limit of [`crate::broker::Settings::session_expiry_maximum`].
    pub session_expiry: u32,
    /// The notes that the view kept in earlier connections, by key.
    pub notes: Vec<Note>,
}

/// Whether there was a session to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFound {
    /// It begins empty.
    New,
    /// It goes on.
    Present,
}

/// A message to publish when a client is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The message; its time is set when it is published.
    pub record: Record,
    /// Seconds to wait for the client to come back, at most until its session ends.
    pub delay_seconds: u32,
}

/// What becomes of a will at a goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WillFate {
    /// It is forgotten.
    Discard,
    /// It is published as if the client were lost.
    Publish,
}
