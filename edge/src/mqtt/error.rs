//! What a peer did wrong.

use std::fmt;

/// Why a connection was closed by us, for a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// No CONNECT in time.
    ConnectTimeout,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectTimeout => f.write_str("no CONNECT before the deadline"),
        }
    }
}

impl std::error::Error for PeerError {}
