//! Certificates whose time comes to its end: who hears of it, and how they are renewed while the
//! gateway runs.

use std::fs;
use std::time::Duration;

use super::authority::{Authority, Identity};
use super::certificates::server_config;
use super::scripted::Cloud;
use super::support::{Gateway, run, stderr};
use super::tls::{expect_traffic, path, section};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_certificate_that_ends_soon_is_told_and_one_that_does_not_is_not() {
    let ours = Authority::new("ours");
    let soon = ours.server_for(10 * DAY + DAY / 2);
    let gateway = Gateway::start(&soon.section(""));
    let line = gateway.expect_line("listener.0: certificate ");
    assert!(line.contains("ending.pem ends on "), "{line}");
    assert!(line.contains(", in 10 days, if it is "), "{line}");
    assert_eq!(gateway.fact("listener.0.certificate_days"), 10);
    let config = gateway.config();
    let check = run(&["check", "--config", config.to_str().expect("a plain name")]);
    assert!(check.status.success());
    let note = stderr(&check);
    assert!(note.contains("note: listener.0: certificate "), "{note}");

    // Renewed, it is nobody's worry.
    let renewed = ours.server_for(400 * DAY + DAY / 2);
    assert_eq!(renewed.certificate, soon.certificate);
    gateway.hang_up();
    gateway.expect_line("reloaded: 0 users, 1 certificates");
    gateway.expect_fact("listener.0.certificate_days", |days| days == 400);
    assert_eq!(gateway.lines_with(" ends on ").len(), 1);
}

#[test]
fn a_certificate_for_the_cloud_is_renewed_without_a_restart() {
    let ours = Authority::new("ours");
    let cloud = Cloud::start_secured(server_config(&ours.issuer, "127.0.0.1", true));
    let over = ours.expired_client();
    let more = [
        path("ca_file", &ours.ca),
        path("certificate_file", &over.certificate),
        path("key_file", &over.key),
    ];
    let gateway = Gateway::start(&section(&cloud, &more.concat()));
    gateway.expect_line("expired.pem ended on 2001-01-01, if it is 20");
    gateway.expect_line("the server refuses the TLS connection: CertificateExpired");
    assert_eq!(gateway.fact("cloud.certificate_days"), 0);

    // Half of it is not taken: the key is still the old one.
    let Identity { certificate, key } = ours.client("test", 1);
    fs::copy(certificate, &over.certificate).expect("a writable folder");
    gateway.hang_up();
    gateway.expect_line("reload refused, nothing changed: ");
    fs::copy(key, &over.key).expect("a writable folder");
    gateway.hang_up();
    gateway.expect_line("reloaded: 0 users, 1 certificates");
    expect_traffic(&gateway, &cloud);
    gateway.expect_fact("cloud.certificate_days", |days| days > 365);
}

/// They were not: the cloud was gone one day, and clients with it.
#[test]
fn files_that_others_are_held_to_are_watched_too() {
    let ours = Authority::new("ours");
    let soon = ours.server_for(10 * DAY + DAY / 2);
    let asks = [
        path("client_ca_file", &ours.ca),
        path("crl_file", &ours.revoke(&[1])),
        "client_certificate = \"required\"\n".to_owned(),
    ];
    let cloud = Cloud::start_secured(server_config(&ours.issuer, "127.0.0.1", false));
    let trusts = section(&cloud, &path("ca_file", &soon.certificate));
    let listener = ours.server().section(&asks.concat());
    let gateway = Gateway::start(&format!("{listener}{trusts}"));
    let line = gateway.expect_line("cloud: authority ");
    assert!(line.contains("ending.pem ends on "), "{line}");
    gateway.expect_line("crl.pem ended on 2020-02-01, if it is 20");
    assert_eq!(gateway.fact("cloud.ca_days"), 10);
    assert_eq!(gateway.fact("listener.0.crl_days"), 0);
    assert!(gateway.fact("listener.0.client_ca_days") > 10_000);
}
