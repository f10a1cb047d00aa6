//! Why a connection ends on our side: what a peer did wrong, and in which words it is told.

use std::fmt;

use wire::nats::{DecodeError, ServerError, Verb};

/// Why a connection was closed by us and the peer is to blame; one value a connection, for one
/// log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// Bytes that are no operation, or one over a limit.
    Decode(DecodeError),
    /// No CONNECT before the deadline, or no end of the login.
    ConnectTimeout,
    /// A user that is not known, or a wrong password.
    Credentials,
    /// A client that may not come in, or no longer.
    NotAuthorized,
    /// Something else came before CONNECT.
    NotConnected {
        /// What.
        verb: Verb,
    },
    /// A second CONNECT.
    ConnectedTwice,
    /// CONNECT asks for a protocol that there is not.
    Protocol {
        /// Its number.
        found: u32,
    },
    /// CONNECT wants `no_responders`, which are told in headers, and no headers.
    NoRespondersWithoutHeaders,
    /// No answer to our pings.
    Stale,
    /// It took less than it was sent.
    SlowConsumer,
    /// An operation that came in part, when connections held too much of these together.
    Memory,
}

impl PeerError {
    /// What the peer is told.
    #[must_use]
    pub const fn answer(self) -> ServerError<'static> {
        match self {
            Self::Decode(error) => error.answer(),
            Self::ConnectTimeout => ServerError::AuthenticationTimeout,
            Self::NotConnected { .. } | Self::Credentials | Self::NotAuthorized => {
                ServerError::AuthorizationViolation
            }
            Self::ConnectedTwice => ServerError::UnknownProtocolOperation,
            Self::Protocol { .. } => ServerError::InvalidClientProtocol,
            Self::NoRespondersWithoutHeaders => ServerError::NoRespondersRequiresHeaders,
            Self::Stale => ServerError::StaleConnection,
            Self::SlowConsumer => ServerError::SlowConsumer,
            Self::Memory => ServerError::MaximumPayloadViolation,
        }
    }

    /// Names its kind, so that one kind is not said too often.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Decode(_) => "NATS operation",
            Self::ConnectTimeout => "NATS deadline",
            Self::NotConnected { .. } => "NATS order",
            Self::ConnectedTwice | Self::Protocol { .. } | Self::NoRespondersWithoutHeaders => {
                "NATS CONNECT"
            }
            Self::Credentials | Self::NotAuthorized => "NATS login",
            Self::Stale => "NATS silence",
            Self::SlowConsumer => "NATS slow consumer",
            Self::Memory => "NATS memory",
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::ConnectTimeout => f.write_str("no CONNECT, or no login, before the deadline"),
            Self::Credentials => f.write_str("user is not known, or password is wrong"),
            Self::NotAuthorized => f.write_str("not authorized"),
            Self::NotConnected { verb } => write!(f, "{verb} before CONNECT"),
            Self::ConnectedTwice => f.write_str("second CONNECT"),
            Self::Protocol { found } => write!(f, "protocol {found}, 0 and 1 are spoken"),
            Self::NoRespondersWithoutHeaders => f.write_str("no_responders without headers"),
            Self::Stale => f.write_str("no answer to pings"),
            Self::SlowConsumer => f.write_str("slow consumer: it takes less than it is sent"),
            Self::Memory => f.write_str("no memory is left for operations in part"),
        }
    }
}

impl std::error::Error for PeerError {}

impl From<DecodeError> for PeerError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}
