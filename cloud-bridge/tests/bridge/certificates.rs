//! Authorities, and TLS servers with certificates of theirs, in memory; the gateway's tests of the
//! program use them too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What signs.
pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn issuer(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("ring makes keys");
    CertifiedIssuer::self_signed(params, key).expect("signed")
}

/// A TLS server for one name, that asks for client certificates or does not.
pub(crate) fn server_config(issuer: &Issuer, name: &str, asks: bool) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("ring makes keys");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, issuer).expect("signed");
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions of ring");
    let builder = if asks {
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("an authority"))
    } else {
        builder.with_no_client_auth()
    };
    let key = key.serialize_der().try_into().expect("its own key");
    let config = builder.with_single_cert(vec![certificate.der().clone()], key);
    Arc::new(config.expect("its own key"))
}

pub(crate) fn write(folder: impl AsRef<Path>, name: &str, text: &str) -> PathBuf {
    let path = folder.as_ref().join(name);
    std::fs::write(&path, text).expect("a writable folder");
    path
}
