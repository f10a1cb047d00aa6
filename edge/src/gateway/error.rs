//! Why a gateway did not start, or did not end well.

use std::fmt;
use std::io;

use crate::config::ConfigError;
use crate::limits::Address;
use crate::link::tls::TlsError;
use crate::log::LogError;

/// What went wrong, for the one line that the operator sees.
#[derive(Debug)]
#[non_exhaustive]
pub enum GatewayError {
    /// The data folder can't be used.
    Log {
        /// The folder, as configured.
        folder: String,
        /// What the log said.
        source: LogError,
    },
    /// A listener's port, socket or line can't be opened.
    Listen {
        /// As configured.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// A listener's certificates can't be used.
    Certificate {
        /// As configured.
        address: Address,
        /// Which file, and why.
        source: Box<TlsError>,
    },
    /// The operator's socket can't be made.
    Control {
        /// What the system said.
        source: io::Error,
    },
    /// A file that says who may do what can't be used.
    Config(ConfigError),
    /// A thread can't be started.
    Thread(io::Error),
    /// The system gives no random numbers.
    Random,
    /// Signals can't be caught.
    Signals(io::Error),
    /// Sockets can't be watched.
    Sockets(io::Error),
    /// A file with a password of the cloud can't be read.
    Password {
        /// That names the file.
        key: &'static str,
        /// As configured.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The cloud's part of the configuration can't be used.
    Bridge(cloud_bridge::BridgeError),
    /// The uplink's settings do not fit together.
    Uplink(sync::StartError),
    /// A file of the log can't be read on, and only a start makes it anew. Everything acknowledged that
    /// it did not hold alone is there for that one.
    Unusable,
    /// The log was not closed; the next start reads its journal instead.
    Close {
        /// What the log said.
        source: LogError,
    },
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log { folder, source } => write!(f, "data folder {folder}: {source}"),
            Self::Listen { address, source } => write!(f, "listener {address}: {source}"),
            Self::Certificate { address, source } => write!(f, "listener {address}: {source}"),
            Self::Control { source } => write!(f, "control socket in the data folder: {source}"),
            Self::Config(source) => source.fmt(f),
            Self::Thread(source) => write!(f, "can't start a thread: {source}"),
            Self::Random => f.write_str("the system gives no random numbers"),
            Self::Signals(source) => write!(f, "can't catch signals: {source}"),
            Self::Sockets(source) => write!(f, "can't watch sockets: {source}"),
            Self::Password { key, path, source } => write!(f, "{key} {path}: {source}"),
            Self::Bridge(source) => write!(f, "cloud: {source}"),
            Self::Uplink(source) => write!(f, "cloud: {source}"),
            Self::Unusable => f.write_str(
                "state.redb is damaged and nothing of it can be read, the next start makes it anew",
            ),
            Self::Close { source } => {
                write!(f, "the log was not closed, which loses nothing: {source}")
            }
        }
    }
}

impl std::error::Error for GatewayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log { source, .. } | Self::Close { source } => Some(source),
            Self::Listen { source, .. }
            | Self::Control { source }
            | Self::Password { source, .. }
            | Self::Thread(source)
            | Self::Signals(source)
            | Self::Sockets(source) => Some(source),
            Self::Config(source) => Some(source),
            Self::Certificate { source, .. } => Some(source.as_ref()),
            Self::Bridge(source) => Some(source),
            Self::Uplink(source) => Some(source),
            Self::Random | Self::Unusable => None,
        }
    }
}
