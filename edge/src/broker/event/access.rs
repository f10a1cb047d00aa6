//! What the broker is told of who a client is and what it may do.

use super::ConnectionId;
use crate::broker::access::Policy;

/// A fact about names, proofs and rules.
#[derive(Clone, Debug)]
pub enum AccessInput {
    /// A client goes on with an exchange that proves its name. Answered by [`super::Event::Challenge`] or
    /// [`super::Event::Authenticated`], or by [`super::Event::Refused`]; [`super::Event::Closed`] once it is connected.
    Authenticate {
        /// Whose.
        connection: ConnectionId,
        /// Which message it is.
        step: AuthenticationStep,
        /// What the client says.
        message: Vec<u8>,
    },
    /// A password was checked.
    Verified {
        /// Whose; ignored when it is gone.
        connection: ConnectionId,
        /// How it ended.
        verdict: Verdict,
    },
    /// Who may do what, by listener, from now on. Clients that would no longer be let in are
    /// closed; the others go on with the rights that they have now.
    Policies(Vec<Policy>),
}

/// Which message of an exchange a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationStep {
    /// The first of a new exchange, on a connection that stands.
    Begin,
    /// An answer to a challenge.
    Answer,
}

/// How the check of a password ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password.
    Right,
    /// It is not.
    Wrong,
}
