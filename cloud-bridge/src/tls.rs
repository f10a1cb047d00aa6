//! Certificates, keys and the server's name: what makes a connection trusted.
//!
//! Everything is read when the bridge starts, and when it is told to. The system's own roots are never
//! used: a gateway trusts the one authority that its operator names.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::error::PemProblem;
use crate::{BridgeError, ConfigError};

/// How `mqtts` connections, and `tls` ones for mail, are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities that may have signed the server's certificate.
    pub certificate_authority: PathBuf,
    /// What this client shows when the server asks; `None` shows nothing.
    pub identity: Option<Identity>,
    /// Name that the server's certificate must carry; `None` takes the endpoint's host. Only the
    /// check changes: the host is still what the server is told that the client looks for (SNI).
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

impl Tls {
    /// Reads the files and makes what rustls needs.
    ///
    /// # Errors
    /// When a file cannot be read, does not hold what it should, or certificate and key do not
    /// belong together.
    fn client_config(&self) -> Result<Arc<ClientConfig>, BridgeError> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(read_roots(&self.certificate_authority)?);
        let verifier = ServerVerifier {
            inner: WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|_| missing(&self.certificate_authority, "certificate"))?,
            name: self.server_name.as_deref().map(parse_name).transpose()?,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BridgeError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => builder
                .with_client_auth_cert(read_certificates(certificate)?, read_key(key)?)
                .map_err(|source| BridgeError::Identity {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    source,
                })?,
        };
        Ok(Arc::new(config))
    }
}

/// Certificates that were read and can be used. [`Bridge::replace_certificates`] takes them.
///
/// [`Bridge::replace_certificates`]: crate::Bridge::replace_certificates
#[derive(Debug)]
pub struct Certificates(Arc<ClientConfig>);

/// What the next connection begins with; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    files: Tls,
    current: Arc<Mutex<Arc<ClientConfig>>>,
}

impl Trust {
    pub(crate) fn read(files: &Tls) -> Result<Self, BridgeError> {
        let current = Arc::new(Mutex::new(files.client_config()?));
        let files = files.clone();
        Ok(Self { files, current })
    }

    /// Reads the files again and changes nothing.
    pub(crate) fn read_again(&self) -> Result<Certificates, BridgeError> {
        self.files.client_config().map(Certificates)
    }

    pub(crate) fn replace(&self, certificates: Certificates) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = certificates.0;
    }

    pub(crate) fn current(&self) -> Arc<ClientConfig> {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// rustls's own verification, with the name that the operator expects in place of the host that
/// was connected to.
#[derive(Debug)]
struct ServerVerifier {
    inner: Arc<WebPkiServerVerifier>,
    name: Option<ServerName<'static>>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        self.inner
            .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn parse_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ConfigError {
        key: "tls.server_name",
        found: name.to_owned(),
        allowed: "a DNS name or an IP address",
    })
}

fn read_roots(path: &Path) -> Result<RootCertStore, BridgeError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| problem(path, PemProblem::Unusable(error)))?;
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BridgeError> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| problem(path, PemProblem::Damaged(error)))?;
    if certificates.is_empty() {
        return Err(missing(path, "certificate"));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, BridgeError> {
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(missing(path, "private key")),
        Err(error) => Err(problem(path, PemProblem::Damaged(error))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BridgeError> {
    fs::read(path).map_err(|source| BridgeError::File {
        path: path.to_owned(),
        source,
    })
}

fn missing(path: &Path, wanted: &'static str) -> BridgeError {
    problem(path, PemProblem::Missing { wanted })
}

fn problem(path: &Path, problem: PemProblem) -> BridgeError {
    BridgeError::Pem {
        path: path.to_owned(),
        problem,
    }
}
