//! Why a connection ended, as a kind for the engine and a text for a human.

use core::time::Duration;
use std::io;

use embedded_io::ErrorKind;
use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::{ConnectionError, StateError, TlsError};

use crate::reason;

/// The end of one life of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    /// Continues "mqtt://cloud.example:1883: ".
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }

    /// The bridge closed the connection because it was told to.
    pub(crate) fn asked() -> Self {
        Self::new(ErrorKind::NotConnected, "disconnected on request")
    }

    /// The bridge closed the connection because it was told to; the reason why is most likely that
    /// `what` was owed for a while.
    pub(crate) fn given_up(what: &str, owed: Duration) -> Self {
        if owed < GRACE {
            return Self::asked();
        }
        // Whoever waited for 2 s is told so, though a part of it had passed before.
        Self::late(what, owed + Duration::from_millis(500))
    }

    /// The endpoint's name leads to no address.
    pub(crate) fn unresolved(host: &str, error: &io::Error) -> Self {
        Self::new(
            ErrorKind::NotFound,
            format!("{host} does not resolve: {error}"),
        )
    }

    /// Something that was waited for did not come.
    pub(crate) fn late(what: &str, patience: Duration) -> Self {
        let text = format!("{what} within {} s", patience.as_secs());
        Self::new(ErrorKind::TimedOut, text)
    }

    /// The server did what MQTT 5 does not allow.
    pub(crate) fn violation(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidData, what)
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::MqttState(state) => state.into(),
            ConnectionError::Io(error) | ConnectionError::Tls(TlsError::Io(error)) => error.into(),
            ConnectionError::Tls(error) => Self::new(ErrorKind::InvalidData, error.to_string()),
            ConnectionError::Timeout(_) => Self::new(ErrorKind::TimedOut, "timed out"),
            ConnectionError::ConnectionRefused(code) => {
                let reason = reason::of_connack(code);
                let text =
                    format!("the server refuses the connection with {reason:#04x}, {code:?}");
                Self::new(reason::kind_of_connack(reason), text)
            }
            ConnectionError::NotConnAck(_) => {
                Self::violation("the server answers CONNECT with another packet than CONNACK")
            }
            ConnectionError::RequestsDone => Self::asked(),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Io(error) | StateError::Deserialization(PacketError::Io(error)) => {
                error.into()
            }
            StateError::Deserialization(error) => {
                Self::violation(format!("the server sent a malformed packet: {error}"))
            }
            StateError::ConnectionAborted => Self::new(
                ErrorKind::ConnectionAborted,
                "the server closed the connection",
            ),
            StateError::ServerDisconnect {
                reason_code,
                reason_string,
            } => {
                let reason = reason_code as u8;
                let words = reason_string.unwrap_or_else(|| format!("{reason_code:?}"));
                let text = format!("the server disconnects with {reason:#04x}, {words}");
                Self::new(ErrorKind::ConnectionReset, text)
            }
            StateError::Unsolicited(packet_identifier) => Self::violation(format!(
                "the server acknowledges packet identifier {packet_identifier}, which is not in \
                 flight"
            )),
            other => Self::violation(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(tls) => Self::from(tls),
            None => Self::new(kind_of_io(error.kind()), error.to_string()),
        }
    }
}

impl From<&rustls::Error> for Failure {
    fn from(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => Self::new(
                ErrorKind::PermissionDenied,
                format!("the server's certificate is not trusted: {problem}"),
            ),
            rustls::Error::AlertReceived(alert) => Self::new(
                ErrorKind::PermissionDenied,
                format!("the server refuses the TLS connection: {alert:?}"),
            ),
            other => Self::new(ErrorKind::InvalidData, format!("TLS fails: {other}")),
        }
    }
}

/// What is owed for less is no reason to leave.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

const fn kind_of_io(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::ConnectionRefused => ErrorKind::ConnectionRefused,
        io::ErrorKind::ConnectionReset => ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => {
            ErrorKind::ConnectionAborted
        }
        io::ErrorKind::NotConnected => ErrorKind::NotConnected,
        io::ErrorKind::AddrInUse => ErrorKind::AddrInUse,
        io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => ErrorKind::AddrNotAvailable,
        io::ErrorKind::BrokenPipe => ErrorKind::BrokenPipe,
        io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
        io::ErrorKind::InvalidData => ErrorKind::InvalidData,
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
        _ => ErrorKind::Other,
    }
}
