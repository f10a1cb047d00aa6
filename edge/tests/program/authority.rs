//! An authority that signs, and revokes, and the clients that trust it.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, KeyIdMethod, KeyPair,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::certificates::{Issuer, issuer, write};
use super::support::PATIENCE;

/// A client's end of a TLS connection.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// An authority with a folder of its own.
pub(crate) struct Authority {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) issuer: Issuer,
    pub(crate) ca: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let issuer = issuer(name);
        let ca = write(folder.path(), "ca.pem", &issuer.pem());
        Self { folder, issuer, ca }
    }

    /// A certificate for a server on loopback.
    pub(crate) fn server(&self) -> Identity {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        self.sign("server", params)
    }

    /// A certificate for a server on loopback that holds for so long from now on.
    #[expect(
        clippy::disallowed_methods,
        reason = "the gateway reads the same clock"
    )]
    pub(crate) fn server_for(&self, rest: Duration) -> Identity {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        params.not_after = (SystemTime::now() + rest).into();
        self.sign("ending", params)
    }

    /// A certificate for a client, with a serial number of its own.
    pub(crate) fn client(&self, name: &str, serial: u64) -> Identity {
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial.into());
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(name, params)
    }

    /// A certificate for a client, whose time is over.
    pub(crate) fn expired_client(&self) -> Identity {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign("expired", params)
    }

    /// A list with these serial numbers.
    pub(crate) fn revoke(&self, serials: &[u64]) -> PathBuf {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2020, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("signed");
        let text = list.pem().expect("PEM");
        write(self.folder.path(), "crl.pem", &text)
    }

    /// What a client knows that trusts this authority, and shows `identity` if asked.
    pub(crate) fn trusting_client(&self, identity: Option<&Identity>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let certificate = self.issuer.der().clone();
        roots.add(certificate).expect("an authority");
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of ring")
            .with_root_certificates(roots);
        let Some(identity) = identity else {
            return builder.with_no_client_auth();
        };
        let certificate = CertificateDer::from_pem_file(&identity.certificate).expect("PEM");
        let key = PrivateKeyDer::from_pem_file(&identity.key).expect("PEM");
        let config = builder.with_client_auth_cert(vec![certificate], key);
        config.expect("its own key")
    }

    fn sign(&self, name: &str, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let folder = self.folder.path();
        Identity {
            certificate: write(folder, &format!("{name}.pem"), &certificate.pem()),
            key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

impl Identity {
    /// The section of a listener that shows it, with more of its keys.
    pub(crate) fn section(&self, more: &str) -> String {
        format!(
            "[listener.tls]\ncertificate_file = '{}'\nkey_file = '{}'\n{more}",
            self.certificate.display(),
            self.key.display()
        )
    }
}

/// Connects, and leaves the handshake to the first use.
pub(crate) fn tls_stream(address: SocketAddr, config: ClientConfig) -> TlsStream {
    let stream = TcpStream::connect(address).expect("a gateway that takes connections");
    let wait = stream.set_read_timeout(Some(PATIENCE));
    wait.expect("a socket has time-outs");
    tls_over(stream, config)
}

/// Goes on with TLS, and leaves the handshake to the first use.
pub(crate) fn tls_over(stream: TcpStream, config: ClientConfig) -> TlsStream {
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let session = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    StreamOwned::new(session, stream)
}
