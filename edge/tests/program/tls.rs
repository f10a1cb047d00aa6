//! Trust between gateway and cloud: who they are to each other, and what is said when they differ.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::devices::Device;
use super::scripted::Cloud;
use super::support::{Gateway, run, stderr};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Certificates and keys in a folder of their own.
struct Files {
    folder: tempfile::TempDir,
    authority: Authority,
    ca: PathBuf,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = authority("ours");
        let ca = write(folder.path(), "ca.pem", &authority.pem());
        Self {
            folder,
            authority,
            ca,
        }
    }

    /// A certificate for the gateway, and its key.
    fn identity(&self) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("ring makes keys");
        let params = CertificateParams::new(["test".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.authority).expect("signed");
        let folder = self.folder.path();
        (
            write(folder, "gateway.pem", &certificate.pem()),
            write(folder, "gateway.key", &key.serialize_pem()),
        )
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("ring makes keys");
    CertifiedIssuer::self_signed(params, key).expect("signed")
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a writable folder");
    path
}

/// A server certificate for `name`, and whether clients have to show one too.
fn server(authority: &Authority, name: &str, asks: bool) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("ring makes keys");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("signed");
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions of ring");
    let builder = if asks {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("an authority"))
    } else {
        builder.with_no_client_auth()
    };
    let key = key.serialize_der().try_into().expect("its own key");
    let config = builder.with_single_cert(vec![certificate.der().clone()], key);
    Arc::new(config.expect("its own key"))
}

fn section(cloud: &Cloud, more: &str) -> String {
    format!(
        "[cloud]\nendpoints = [\"mqtts://{}\"]\nuplink = [\"#\"]\n{more}\
         [sync]\nbackoff_max_seconds = 1\n",
        cloud.address
    )
}

fn path(key: &str, path: &Path) -> String {
    format!("{key} = '{}'\n", path.display())
}

/// A message goes up.
fn expect_traffic(gateway: &Gateway, cloud: &Cloud) {
    gateway.expect_line("is up: mqtts://");
    let mut device = Device::connect(gateway.address, "device");
    device.publish("plant/temp", 1, "secret");
    assert!(device.is_acknowledged());
    cloud.wait_until("an arrival", |state| state.count_of("secret") == 1);
}

/// Life on site goes on, one line says what is wrong with whom, and the stop is short.
fn expect_distrust(gateway: &mut Gateway, cloud: &Cloud, problem: &str) {
    let line = gateway.expect_line("is down");
    assert!(
        line.contains(&format!("mqtts://{}: ", cloud.address)),
        "{line}"
    );
    assert!(line.contains(problem), "{line}");
    let tries = cloud.state().accepted;
    let mut device = Device::connect(gateway.address, "device");
    for count in 1..=20 {
        device.publish("plant/temp", count, "21");
        assert!(device.is_acknowledged());
    }
    cloud.wait_until("more tries", |state| state.accepted >= tries + 4);
    let lines = gateway.lines_with("WARN");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(cloud.state().arrivals.is_empty());
    let (status, took) = gateway.terminate();
    assert!(status.success());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_cloud_of_the_named_authority_is_trusted() {
    let files = Files::new();
    let cloud = Cloud::start_secured(server(&files.authority, "127.0.0.1", false));
    let gateway = Gateway::start(&section(&cloud, &path("ca_file", &files.ca)));
    expect_traffic(&gateway, &cloud);
}

#[test]
fn a_cloud_that_asks_who_the_gateway_is_gets_its_certificate() {
    let files = Files::new();
    let cloud = Cloud::start_secured(server(&files.authority, "cloud.example", true));
    let (certificate, key) = files.identity();
    let more = [
        path("ca_file", &files.ca),
        path("certificate_file", &certificate),
        path("key_file", &key),
        "server_name = \"cloud.example\"\n".to_owned(),
    ];
    let gateway = Gateway::start(&section(&cloud, &more.concat()));
    expect_traffic(&gateway, &cloud);
}

#[test]
fn a_gateway_without_the_certificate_that_is_asked_for_says_so() {
    let files = Files::new();
    let cloud = Cloud::start_secured(server(&files.authority, "127.0.0.1", true));
    let mut gateway = Gateway::start(&section(&cloud, &path("ca_file", &files.ca)));
    expect_distrust(
        &mut gateway,
        &cloud,
        "the server refuses the TLS connection: CertificateRequired",
    );
}

#[test]
fn a_cloud_of_another_authority_is_one_line() {
    let files = Files::new();
    let cloud = Cloud::start_secured(server(&authority("theirs"), "127.0.0.1", false));
    let mut gateway = Gateway::start(&section(&cloud, &path("ca_file", &files.ca)));
    expect_distrust(
        &mut gateway,
        &cloud,
        "certificate is not trusted: UnknownIssuer",
    );
}

#[test]
fn a_cloud_of_another_name_is_one_line() {
    let files = Files::new();
    let cloud = Cloud::start_secured(server(&files.authority, "cloud.example", false));
    let mut gateway = Gateway::start(&section(&cloud, &path("ca_file", &files.ca)));
    expect_distrust(
        &mut gateway,
        &cloud,
        "certificate is not trusted: certificate not valid for name",
    );
}

#[test]
fn a_cloud_that_expects_tls_is_told_from_one_that_is_away() {
    let files = Files::new();
    let cloud = Cloud::start_secured(server(&files.authority, "127.0.0.1", false));
    let plain = section(&cloud, "").replace("mqtts:", "mqtt:");
    let gateway = Gateway::start(&plain);
    let line = gateway.expect_line("is down");
    let expected = format!(
        "mqtt://{}: the answer to CONNECT is not MQTT",
        cloud.address
    );
    assert!(line.contains(&expected), "{line}");
    cloud.wait_until("more tries", |state| state.accepted >= 6);
    assert_eq!(gateway.lines_with("WARN").len(), 1);
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let files = Files::new();
    let folder = files.folder.path();
    let (certificate, key) = files.identity();
    let none = folder.join("none.pem");
    let empty = write(folder, "empty.pem", "");
    let garbled = write(
        folder,
        "garbled.pem",
        &files.authority.pem().replace("MI", "!!"),
    );
    let identity = |certificate: &Path, key: &Path| {
        let ca = path("ca_file", &files.ca);
        ca + &path("certificate_file", certificate) + &path("key_file", key)
    };
    let table = [
        (path("ca_file", &none), &none, "No such file"),
        (path("ca_file", &empty), &empty, "holds no certificate"),
        (path("ca_file", &garbled), &garbled, "is not valid PEM"),
        (path("ca_file", &key), &key, "holds no certificate"),
        (identity(&none, &key), &none, "No such file"),
        (identity(&garbled, &key), &garbled, "is not valid PEM"),
        (
            identity(&certificate, &empty),
            &empty,
            "holds no private key",
        ),
        (
            identity(&files.ca, &key),
            &files.ca,
            "do not belong together",
        ),
    ];
    let file = folder.join("gateway.toml");
    for (more, culprit, problem) in table {
        let data = folder.join("data");
        let text = format!(
            "[gateway]\nid = \"test\"\ndata = '{}'\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [cloud]\nendpoints = [\"mqtts://127.0.0.1:1\"]\n{more}",
            data.display()
        );
        std::fs::write(&file, text).expect("a writable folder");
        let output = run(&["run", "--config", file.to_str().expect("a plain path")]);
        assert_eq!(output.status.code(), Some(1), "{more}");
        let said = stderr(&output);
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains("INFO")).collect();
        let [line] = lines[..] else {
            panic!("one line, not {lines:#?}");
        };
        let culprit = culprit.display().to_string();
        assert!(line.contains(&culprit) && line.contains(problem), "{line}");
    }
}
