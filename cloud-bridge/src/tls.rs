//! Certificates, keys and the server's name: what makes a connection trusted.
//!
//! Everything is read once, when the bridge starts. The system's own roots are never used: a
//! gateway trusts the one authority that its operator names.

use std::path::PathBuf;

/// How `mqtts` connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities that may have signed the server's certificate.
    pub certificate_authority: PathBuf,
    /// What this client shows when the server asks; `None` shows nothing.
    pub identity: Option<Identity>,
    /// Name that the server's certificate must carry; `None` takes the endpoint's host.
    pub server_name: Option<String>,
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM file of the certificate, followed by its chain.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}
