//! Why a connection ends on our side: what a peer did wrong, and which reason code tells it so.

use std::fmt;

use wire::DecodeError;
use wire::mqtt::{PacketType, ReasonCode};

/// Why a connection was closed by us and the peer is to blame; one value a connection, for one
/// log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// Bytes that are no packet: garbage, another protocol, or a packet over the limit.
    Decode(DecodeError),
    /// No CONNECT before the deadline.
    ConnectTimeout,
    /// Nothing for one and a half times the keep alive.
    KeepAliveTimeout,
    /// A packet that a client must not send, or not now.
    Unexpected {
        /// Its type.
        packet: PacketType,
    },
    /// A packet identifier whose exchange is at another step.
    WrongStep {
        /// The packet's type.
        packet: PacketType,
        /// The packet identifier.
        packet_identifier: u16,
    },
    /// More unacknowledged messages than agreed.
    ReceiveMaximum {
        /// What was agreed.
        limit: u16,
    },
    /// A topic alias above the agreed maximum.
    TopicAlias {
        /// The alias.
        found: u16,
        /// What was agreed.
        limit: u16,
    },
    /// A topic alias that no topic was given to.
    TopicAliasUnknown {
        /// The alias.
        found: u16,
    },
    /// A subscription identifier in a PUBLISH of a client.
    SubscriptionIdentifier,
    /// A session expiry interval in DISCONNECT, for a session that was to end.
    SessionExpiry,
    /// An authentication method; none is spoken.
    AuthenticationMethod,
    /// An empty client identifier before MQTT 5, for a session that is to be resumed, and in 3.1
    /// for any.
    ClientIdentifier,
    /// A packet that came in part or a topic with an alias, when connections held too much of these
    /// together.
    Memory,
}

impl PeerError {
    /// The reason code for CONNACK or DISCONNECT.
    #[must_use]
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::KeepAliveTimeout => ReasonCode::KeepAliveTimeout,
            Self::ReceiveMaximum { .. } => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAlias { .. } => ReasonCode::TopicAliasInvalid,
            Self::AuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Self::ClientIdentifier => ReasonCode::ClientIdentifierNotValid,
            Self::Memory => ReasonCode::QuotaExceeded,
            Self::ConnectTimeout
            | Self::Unexpected { .. }
            | Self::WrongStep { .. }
            | Self::TopicAliasUnknown { .. }
            | Self::SubscriptionIdentifier
            | Self::SessionExpiry => ReasonCode::ProtocolError,
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::ConnectTimeout => f.write_str("no CONNECT before the deadline"),
            Self::KeepAliveTimeout => f.write_str("nothing received for 1.5 times the keep alive"),
            Self::Unexpected { packet } => write!(f, "{packet} from a client, or not now"),
            Self::WrongStep {
                packet,
                packet_identifier,
            } => {
                write!(
                    f,
                    "{packet} for packet identifier {packet_identifier} at another step"
                )
            }
            Self::ReceiveMaximum { limit } => {
                write!(f, "more than {limit} unacknowledged messages")
            }
            Self::TopicAlias { found, limit } => {
                write!(f, "topic alias {found} exceeds the limit of {limit}")
            }
            Self::TopicAliasUnknown { found } => write!(f, "topic alias {found} has no topic"),
            Self::SubscriptionIdentifier => {
                f.write_str("subscription identifier in a PUBLISH of a client")
            }
            Self::SessionExpiry => {
                f.write_str("session expiry interval for a session that ends with its connection")
            }
            Self::AuthenticationMethod => f.write_str("authentication method is not supported"),
            Self::Memory => {
                f.write_str("no memory is left for packets in part and for topics with aliases")
            }
            Self::ClientIdentifier => f.write_str(
                "empty client identifier, which this version can not be told another for",
            ),
        }
    }
}

impl std::error::Error for PeerError {}

impl From<DecodeError> for PeerError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}
