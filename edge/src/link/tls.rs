//! Certificates of a listener: files to what rustls needs, and a client's certificate to its name.
//!
//! Everything is read at once, so that a configuration is either whole or refused with the file
//! that is to blame. Connections keep what they began with; a new configuration holds for those
//! that come after it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use wire::certificate::{self, Validity};

/// The files of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Our certificate, followed by its chain.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Who clients have to be; `None` does not ask.
    pub(crate) clients: Option<Clients>,
    /// The protocol, as ALPN calls it. A client that names only others is refused; one that names
    /// none is welcome.
    pub(crate) application: &'static [u8],
}

/// What is expected of clients' certificates.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    /// Who may have signed them.
    pub(crate) authority: PathBuf,
    /// What was revoked; a certificate whose signer has no list in it is refused. A list counts
    /// after its time too: a gateway that can't fetch a newer one goes on.
    pub(crate) revoked: Option<PathBuf>,
    /// Whether a client without one is refused.
    pub(crate) is_required: bool,
}

/// What is wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// It can't be read.
    File {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too large to be what it should be.
    TooLarge {
        /// As configured.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is not PEM.
    Damaged {
        /// As configured.
        path: PathBuf,
        /// Where the reading ended.
        source: pem::Error,
    },
    /// It holds nothing of the kind.
    Missing {
        /// As configured.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// It holds something that can't be used.
    Unusable {
        /// As configured.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// Certificate and key can't be used together.
    Identity {
        /// As configured.
        certificate: PathBuf,
        /// As configured.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, does not hold what it should, or certificate and key do not belong
    /// together.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |source| TlsError::Unusable {
            path: self.certificate.clone(),
            source,
        };
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()?),
            None => builder.with_no_client_auth(),
        };
        let chain = read_all(&self.certificate, "certificate")?;
        let mut config = builder
            .with_single_cert(chain, read_key(&self.key)?)
            .map_err(|source| TlsError::Identity {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                source,
            })?;
        config.alpn_protocols = vec![self.application.to_vec()];
        if self.clients.is_some() {
            // A session that is taken up again is not asked for its certificate again, which may
            // have been revoked or may have expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }
}

impl Clients {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let unusable = |path: &Path, source| TlsError::Unusable {
            path: path.to_owned(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in read_all(&self.authority, "certificate")? {
            let added = roots.add(certificate);
            added.map_err(|source| unusable(&self.authority, source))?;
        }
        let provider = Arc::new(ring::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(revoked) = &self.revoked {
            let lists: Vec<CertificateRevocationListDer<'_>> =
                read_all(revoked, "revocation list")?;
            builder = builder.with_crls(lists).only_check_end_entity_revocation();
        }
        if !self.is_required {
            builder = builder.allow_unauthenticated();
        }
        builder
            .build()
            .map_err(|error| match (error, &self.revoked) {
                (VerifierBuilderError::InvalidCrl(error), Some(revoked)) => {
                    unusable(revoked, error.into())
                }
                (error, _) => unusable(&self.authority, rustls::Error::General(error.to_string())),
            })
    }
}

fn read_all<T: PemObject>(path: &Path, wanted: &'static str) -> Result<Vec<T>, TlsError> {
    let text = read(path)?;
    let all: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    let all = all.map_err(|source| TlsError::Damaged {
        path: path.to_owned(),
        source,
    })?;
    if all.is_empty() {
        let path = path.to_owned();
        return Err(TlsError::Missing { path, wanted });
    }
    Ok(all)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wanted = "private key";
    let path = path.to_owned();
    match PrivateKeyDer::from_pem_slice(&read(&path)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::Missing { path, wanted }),
        Err(source) => Err(TlsError::Damaged { path, source }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES {
        let path = path.to_owned();
        return Err(TlsError::TooLarge { path, bytes });
    }
    fs::read(path).map_err(failed)
}

/// From when to when all certificates of a file hold; `None` when it can't be read, or says nothing of
/// the kind.
pub(crate) fn validity(path: &Path) -> Option<Validity> {
    let chain: Vec<CertificateDer<'_>> = read_all(path, "certificate").ok()?;
    let all = chain.iter().filter_map(|it| certificate::validity(it));
    all.reduce(both)
}

/// From when to when some authority of a file holds: a new one may stand beside the old one for a
/// while. `None` as for [`validity`].
pub(crate) fn authority_validity(path: &Path) -> Option<Validity> {
    let authorities: Vec<CertificateDer<'_>> = read_all(path, "certificate").ok()?;
    let all = authorities
        .iter()
        .filter_map(|it| certificate::validity(it));
    all.reduce(|all, it| Validity {
        begins: all.begins.min(it.begins),
        ends: all.ends.max(it.ends),
    })
}

/// From when to when all revocation lists of a file are the latest. `None` as for [`validity`], and
/// when none of them says when the next one comes.
pub(crate) fn revocation_validity(path: &Path) -> Option<Validity> {
    let lists: Vec<CertificateRevocationListDer<'_>> = read_all(path, "revocation list").ok()?;
    let all = lists.iter();
    let all = all.filter_map(|it| certificate::revocation_list_validity(it));
    all.reduce(both)
}

fn both(all: Validity, it: Validity) -> Validity {
    Validity {
        begins: all.begins.max(it.begins),
        ends: all.ends.min(it.ends),
    }
}

/// Names the owner of the first certificate, if it has a name. Only for one that was verified.
pub(super) fn common_name(chain: &[CertificateDer<'_>]) -> Option<Box<str>> {
    let first = chain.first()?;
    certificate::common_name(first).map(Into::into)
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::TooLarge { path, bytes } => write!(
                f,
                "{} of {bytes} bytes exceeds the limit of {FILE_BYTES}",
                path.display()
            ),
            Self::Damaged { path, source } => {
                write!(f, "{} is not valid PEM: {source}", path.display())
            }
            Self::Missing { path, wanted } => write!(f, "{} holds no {wanted}", path.display()),
            Self::Unusable { path, source } => {
                write!(f, "{} can't be used: {source}", path.display())
            }
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
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Damaged { source, .. } => Some(source),
            Self::Unusable { source, .. } | Self::Identity { source, .. } => Some(source),
            Self::Missing { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// The largest file that is read: a revocation list with some 5,000 entries.
const FILE_BYTES: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        DnType, IsCa, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
    };

    use super::*;

    #[test]
    fn the_file_that_is_to_blame_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a writable folder");
            path
        };
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("ring makes keys");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let key = KeyPair::generate().expect("ring makes keys");
        let own = CertificateParams::default().signed_by(&key, &issuer);

        let certificate = file("own.pem", &own.expect("signed").pem());
        let key = file("own.key", &key.serialize_pem());
        let ca = file("ca.pem", &issuer.pem());
        let none = folder.path().join("none.pem");
        let empty = file("empty.pem", "");
        let garbled = file("garbled.pem", &issuer.pem().replace("MI", "!!"));
        let large = file("large.pem", &" ".repeat(262_145));
        let nonsense = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
        let nonsense = file("nonsense.pem", nonsense);
        let files = |certificate: &Path, key: &Path, authority: &Path, revoked: Option<&Path>| {
            let clients = Clients {
                authority: authority.to_owned(),
                revoked: revoked.map(Path::to_owned),
                is_required: true,
            };
            let files = Files {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                clients: Some(clients),
                application: b"mqtt",
            };
            files
                .server_config()
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert_eq!(files(&certificate, &key, &ca, None), Ok(()));
        let table = [
            (files(&none, &key, &ca, None), &none, "No such file"),
            (
                files(&empty, &key, &ca, None),
                &empty,
                "holds no certificate",
            ),
            (
                files(&garbled, &key, &ca, None),
                &garbled,
                "is not valid PEM",
            ),
            (
                files(&certificate, &ca, &ca, None),
                &ca,
                "holds no private key",
            ),
            (files(&ca, &key, &ca, None), &ca, "do not belong together"),
            (
                files(&certificate, &key, &none, None),
                &none,
                "No such file",
            ),
            (
                files(&certificate, &key, &key, None),
                &key,
                "holds no certificate",
            ),
            (
                files(&large, &key, &ca, None),
                &large,
                "of 262145 bytes exceeds the limit of 262144",
            ),
            (
                files(&certificate, &key, &ca, Some(&ca)),
                &ca,
                "holds no revocation list",
            ),
            (
                files(&certificate, &key, &ca, Some(&nonsense)),
                &nonsense,
                "can't be used: ",
            ),
        ];
        for (outcome, culprit, problem) in table {
            let error = outcome.expect_err(problem);
            let culprit = culprit.display().to_string();
            assert!(
                error.contains(&culprit) && error.contains(problem),
                "{error}"
            );
        }
    }
    #[test]
    fn a_certificate_names_its_owner() {
        let mut params = CertificateParams::new(["other".to_owned()]).expect("a name");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "plant");
        params
            .distinguished_name
            .push(DnType::CommonName, "sensor-7");
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params.self_signed(&key).expect("signed");
        let name = common_name(&[certificate.der().clone()]);
        assert_eq!(name.as_deref(), Some("sensor-7"));
        assert_eq!(common_name(&[]), None);
    }

    /// The new authority is there already; of lists, each counts.
    #[test]
    fn authorities_hold_as_long_as_the_last_and_lists_as_long_as_the_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = |year| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().expect("ring makes keys");
            CertifiedIssuer::self_signed(params, key).expect("signed")
        };
        let (old, new) = (authority(2030), authority(2040));
        let list = |issuer, year| {
            let params = CertificateRevocationListParams {
                this_update: date_time_ymd(2020, 1, 1),
                next_update: date_time_ymd(year, 1, 1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: Vec::new(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            params
                .signed_by(issuer)
                .expect("signed")
                .pem()
                .expect("PEM")
        };
        let path = folder.path().join("file.pem");
        let ends = |text: String, validity: fn(&Path) -> Option<Validity>| {
            fs::write(&path, text).expect("a writable folder");
            validity(&path).map(|it| it.ends)
        };
        let (y2030, y2040) = (Some(1_893_456_000), Some(2_208_988_800));
        let authorities = old.pem() + &new.pem();
        assert_eq!(ends(authorities.clone(), authority_validity), y2040);
        assert_eq!(ends(authorities, validity), y2030);
        let lists = list(&old, 2040) + &list(&new, 2030);
        assert_eq!(ends(lists.clone(), revocation_validity), y2030);
        assert_eq!(ends(lists, authority_validity), None);
    }
}
