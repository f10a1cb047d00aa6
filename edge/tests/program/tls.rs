//! Trust between gateway and cloud: who they are to each other, and what is said when they differ.

use std::path::Path;

use super::authority::{Authority, Identity};
use super::certificates::{issuer, server_config, write};
use super::devices::Device;
use super::scripted::Cloud;
use super::support::{Gateway, run, stderr};

pub(super) fn section(cloud: &Cloud, more: &str) -> String {
    format!(
        "[cloud]\nendpoints = [\"mqtts://{}\"]\nuplink = [\"#\"]\n{more}\
         [sync]\nbackoff_max_seconds = 1\n",
        cloud.address
    )
}

pub(super) fn path(key: &str, path: &Path) -> String {
    format!("{key} = '{}'\n", path.display())
}

/// A message goes up.
pub(super) fn expect_traffic(gateway: &Gateway, cloud: &Cloud) {
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
    assert!(gateway.terminate_soon().success());
}

#[test]
fn a_cloud_of_the_named_authority_is_trusted() {
    let ours = Authority::new("ours");
    let cloud = Cloud::start_secured(server_config(&ours.issuer, "127.0.0.1", false));
    let gateway = Gateway::start(&section(&cloud, &path("ca_file", &ours.ca)));
    expect_traffic(&gateway, &cloud);
}

#[test]
fn a_cloud_that_asks_who_the_gateway_is_gets_its_certificate() {
    let ours = Authority::new("ours");
    let cloud = Cloud::start_secured(server_config(&ours.issuer, "cloud.example", true));
    let Identity { certificate, key } = ours.client("test", 1);
    let more = [
        path("ca_file", &ours.ca),
        path("certificate_file", &certificate),
        path("key_file", &key),
        "server_name = \"cloud.example\"\n".to_owned(),
    ];
    let gateway = Gateway::start(&section(&cloud, &more.concat()));
    expect_traffic(&gateway, &cloud);
}

#[test]
fn a_gateway_without_the_certificate_that_is_asked_for_says_so() {
    let ours = Authority::new("ours");
    let cloud = Cloud::start_secured(server_config(&ours.issuer, "127.0.0.1", true));
    let mut gateway = Gateway::start(&section(&cloud, &path("ca_file", &ours.ca)));
    expect_distrust(
        &mut gateway,
        &cloud,
        "the server refuses the TLS connection: CertificateRequired",
    );
}

#[test]
fn a_cloud_of_another_authority_is_one_line() {
    let ours = Authority::new("ours");
    let cloud = Cloud::start_secured(server_config(&issuer("theirs"), "127.0.0.1", false));
    let mut gateway = Gateway::start(&section(&cloud, &path("ca_file", &ours.ca)));
    expect_distrust(
        &mut gateway,
        &cloud,
        "certificate is not trusted: UnknownIssuer",
    );
}

#[test]
fn a_cloud_of_another_name_is_one_line() {
    let ours = Authority::new("ours");
    let cloud = Cloud::start_secured(server_config(&ours.issuer, "cloud.example", false));
    let mut gateway = Gateway::start(&section(&cloud, &path("ca_file", &ours.ca)));
    expect_distrust(
        &mut gateway,
        &cloud,
        "certificate is not trusted: certificate not valid for name",
    );
}

#[test]
fn a_cloud_that_expects_tls_is_told_from_one_that_is_away() {
    let ours = Authority::new("ours");
    let cloud = Cloud::start_secured(server_config(&ours.issuer, "127.0.0.1", false));
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
    let ours = Authority::new("ours");
    let folder = ours.folder.path();
    let Identity { certificate, key } = ours.client("test", 1);
    let none = folder.join("none.pem");
    let empty = write(folder, "empty.pem", "");
    let garbled = write(
        folder,
        "garbled.pem",
        &ours.issuer.pem().replace("MI", "!!"),
    );
    let identity = |certificate: &Path, key: &Path| {
        let ca = path("ca_file", &ours.ca);
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
        (identity(&ours.ca, &key), &ours.ca, "do not belong together"),
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
