//! Why a bridge cannot start: the operator's fault or the machine's.

use core::fmt;
use std::io;
use std::path::PathBuf;

/// A setting that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field of [`crate::Config`].
    pub key: &'static str,
    /// What it holds.
    pub found: String,
    /// What it may hold.
    pub allowed: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            found,
            allowed,
        } = self;
        write!(f, "{key} is {found:?}, allowed is {allowed}")
    }
}

impl std::error::Error for ConfigError {}

/// Why a bridge did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BridgeError {
    /// A setting is not allowed.
    Config(ConfigError),
    /// A file of certificates or keys cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file does not hold what it should.
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with its contents.
        problem: PemProblem,
    },
    /// rustls does not accept the client's certificate and key together.
    Identity {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// rustls does not start.
    Tls(rustls::Error),
    /// The operating system gave no thread or no event queue.
    Thread(io::Error),
}

/// What is wrong with a file of certificates or keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum PemProblem {
    /// No section of the wanted kind.
    Missing {
        /// The kind of section that was looked for.
        wanted: &'static str,
    },
    /// Sections that are damaged.
    Damaged(rustls_pki_types::pem::Error),
    /// A certificate or key that is well-formed PEM but not usable.
    Unusable(rustls::Error),
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::File { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Pem { path, problem } => write!(f, "{} {problem}", path.display()),
            Self::Identity {
                certificate,
                key,
                source,
            } => write!(
                f,
                "{} and {} do not belong together: {source}",
                certificate.display(),
                key.display()
            ),
            Self::Tls(error) => write!(f, "TLS does not start: {error}"),
            Self::Thread(error) => write!(f, "cannot start the bridge thread: {error}"),
        }
    }
}

impl std::error::Error for BridgeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::File { source, .. } | Self::Thread(source) => Some(source),
            Self::Pem { problem, .. } => match problem {
                PemProblem::Missing { .. } => None,
                PemProblem::Damaged(error) => Some(error),
                PemProblem::Unusable(error) => Some(error),
            },
            Self::Identity { source, .. } | Self::Tls(source) => Some(source),
        }
    }
}

impl From<ConfigError> for BridgeError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for PemProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { wanted } => write!(f, "holds no {wanted} in PEM format"),
            Self::Damaged(error) => write!(f, "is not valid PEM: {error}"),
            Self::Unusable(error) => write!(f, "holds a certificate that is not usable: {error}"),
        }
    }
}
