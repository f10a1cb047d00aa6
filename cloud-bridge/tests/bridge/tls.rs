//! Trust: who the server is, who the client is, and files that are not what they should be.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cloud_bridge::{Bridge, Config, Event, Identity, Scheme, Tls};
use embedded_io::ErrorKind;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sync::Epoch;
use tempfile::TempDir;

use crate::certificates::{Issuer, issuer, server_config, write};
use crate::mq9::{self, INFO, MAIL};
use crate::rig::{Rig, record};
use crate::server::{Peer, Received, Server, connack};

fn authority() -> Issuer {
    issuer("ours")
}

fn secure(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Peer<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(config).expect("a valid configuration");
    Peer::new(StreamOwned::new(connection, stream))
}

fn trusting(path: PathBuf) -> Tls {
    Tls {
        certificate_authority: path,
        identity: None,
        server_name: None,
    }
}

fn config(server: &Server, tls: Tls) -> Config {
    let mut endpoint = server.endpoint();
    endpoint.scheme = Scheme::Mqtts;
    let mut config = Config::new(vec![endpoint]);
    config.tls = Some(tls);
    config
}

fn expect_traffic(rig: &Rig, server: &Server, tls: Arc<ServerConfig>) {
    rig.connect();
    let mut peer = secure(server.accept_stream(), tls);
    assert!(matches!(peer.receive(), Received::Connect { .. }));
    peer.send(&connack(0x00, &[]));
    rig.expect_up();
    rig.publish(0, &record("secret", b""));
    assert_eq!(peer.receive_publish().topic, "secret");
}

#[test]
fn a_server_of_the_named_authority_is_trusted() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let file = write(&folder, "ca.pem", &authority.pem());
    let rig = Rig::start(config(&server, trusting(file)));
    let tls = server_config(&authority, "127.0.0.1", false);
    expect_traffic(&rig, &server, tls);
    rig.stop();
}

#[test]
fn a_server_of_another_authority_or_name_is_not_trusted() {
    let (folder, ours, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let file = write(&folder, "ca.pem", &ours.pem());
    let rig = Rig::start(config(&server, trusting(file)));
    let table = [
        (
            server_config(&issuer("theirs"), "127.0.0.1", false),
            "UnknownIssuer",
        ),
        (
            server_config(&ours, "cloud.example", false),
            "not valid for name",
        ),
    ];
    for (tls, words) in table {
        rig.connect();
        let mut peer = secure(server.accept_stream(), tls);
        std::thread::spawn(move || peer.receive_anything());
        let text = rig.expect_down(ErrorKind::PermissionDenied);
        assert!(text.contains("certificate is not trusted"), "{text}");
        assert!(text.contains(words), "{text}");
    }
    rig.stop();
}

#[test]
fn the_expected_name_can_differ_from_the_host() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let mut tls = trusting(write(&folder, "ca.pem", &authority.pem()));
    tls.server_name = Some("cloud.example".to_owned());
    let rig = Rig::start(config(&server, tls));
    let tls = server_config(&authority, "cloud.example", false);
    expect_traffic(&rig, &server, tls);
    rig.stop();
}

#[test]
fn a_client_certificate_is_shown_when_the_server_asks() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let ca = write(&folder, "ca.pem", &authority.pem());
    let asking = server_config(&authority, "127.0.0.1", true);

    let rig = Rig::start(config(&server, trusting(ca.clone())));
    rig.connect();
    let mut socket = server.accept_stream();
    let mut peer = secure(socket.try_clone().unwrap(), asking.clone());
    let listener = std::thread::spawn(move || {
        peer.receive_anything();
        // Closing over what the client still writes would reset the connection before it has read
        // the alert.
        let _ = socket.shutdown(Shutdown::Write);
        let _ = io::copy(&mut socket, &mut io::sink());
    });
    rig.expect_down(ErrorKind::PermissionDenied);
    rig.stop();
    listener.join().unwrap();

    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["plant-7".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let mut tls = trusting(ca);
    tls.identity = Some(Identity {
        certificate: write(&folder, "client.pem", &certificate.pem()),
        key: write(&folder, "client.key", &key.serialize_pem()),
    });
    let rig = Rig::start(config(&server, tls));
    expect_traffic(&rig, &server, asking);
    rig.stop();
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let ca = write(&folder, "ca.pem", &authority.pem());
    let key = write(
        &folder,
        "client.key",
        &KeyPair::generate().unwrap().serialize_pem(),
    );
    let empty = write(&folder, "empty.pem", "");
    let damaged = write(&folder, "damaged.pem", &authority.pem().replace("MI", "!!"));
    let identity = |certificate: &Path, key: &Path| Tls {
        identity: Some(Identity {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }),
        ..trusting(ca.clone())
    };
    let named = |name: &str| Tls {
        server_name: Some(name.to_owned()),
        ..trusting(ca.clone())
    };
    let table = [
        (
            trusting(folder.path().join("none.pem")),
            "cannot read",
            "none.pem",
        ),
        (trusting(empty.clone()), "no certificate", "empty.pem"),
        (trusting(damaged), "not valid PEM", "damaged.pem"),
        (trusting(key.clone()), "no certificate", "client.key"),
        (identity(&ca, &empty), "no private key", "empty.pem"),
        (identity(&empty, &key), "no certificate", "empty.pem"),
        (identity(&ca, &key), "do not belong together", "client.key"),
        (named("not a name"), "tls.server_name", "not a name"),
    ];
    for (tls, problem, name) in table {
        let error = Bridge::start(config(&server, tls), "plant-7", Epoch(1)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(problem) && text.contains(name), "{text}");
    }
}

#[test]
fn a_secured_endpoint_needs_an_authority() {
    let mut config = config(&Server::bind(), trusting(PathBuf::new()));
    config.tls = None;
    let error = Bridge::start(config, "plant-7", Epoch(1)).unwrap_err();
    assert!(error.to_string().contains("a CA file"), "{error}");
}

/// A bridge whose mail goes to the server by TLS, trusting an authority.
fn start_mail(server: &Server, authority: PathBuf) -> Rig {
    let mut config = mq9::config(server, |mail| mail.endpoints[0].scheme = Scheme::Tls);
    config.tls = Some(trusting(authority));
    let rig = Rig::start(config);
    rig.connect_to(MAIL);
    rig
}

/// Lets a bridge in, behind TLS; says what it said.
fn greet(stream: TcpStream, tls: Arc<ServerConfig>, info: &str) -> String {
    let connection = ServerConnection::new(tls).expect("a valid configuration");
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(info.as_bytes()).expect("it reads");
    let (mut said, mut chunk) = (String::new(), [0; 4_096]);
    while !said.contains("PING\r\n") {
        let length = stream.read(&mut chunk).expect("it goes on");
        assert!(length > 0, "closed after {said}");
        said.push_str(str::from_utf8(&chunk[..length]).expect("text"));
    }
    stream.write_all(b"PONG\r\n").expect("it reads");
    stream.flush().expect("it reads");
    // Closed with the bridge.
    std::mem::forget(stream);
    said
}

/// What a NATS server says before TLS.
fn info_before_tls() -> String {
    let info = INFO.replace("\"tls_required\":false", "\"tls_required\":true");
    info.replace("PING\r\n", "")
}

#[test]
fn mail_goes_by_tls_behind_the_info_of_a_nats_server() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let rig = start_mail(&server, write(&folder, "ca.pem", &authority.pem()));
    let mut stream = server.accept_stream();
    // Whoever is between could add to what is not secured.
    let said = format!("{}-ERR 'Authorization Violation'\r\n", info_before_tls());
    stream.write_all(said.as_bytes()).expect("it reads");
    let said = greet(stream, server_config(&authority, "127.0.0.1", false), "");
    assert!(said.starts_with("CONNECT {"), "{said}");
    assert!(said.contains("\"tls_required\":true"), "{said}");
    rig.expect_up();
    rig.stop();
}

#[test]
fn mail_goes_by_tls_to_a_terminator_that_waits_for_it() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let rig = start_mail(&server, write(&folder, "ca.pem", &authority.pem()));
    let tls = server_config(&authority, "127.0.0.1", false);
    let said = greet(server.accept_stream(), tls, INFO);
    assert!(said.contains("CONNECT {"), "{said}");
    rig.expect_up();
    rig.stop();
}

/// A link by satellite: an INFO that came after the silence was taken for broken TLS at every try.
#[test]
fn an_info_that_comes_when_tls_has_begun_counts() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let rig = start_mail(&server, write(&folder, "ca.pem", &authority.pem()));
    let mut stream = server.accept_stream();
    stream.peek(&mut [0]).expect("it begins TLS");
    let info = info_before_tls();
    let (first, rest) = info.split_at(1);
    for part in [first, rest] {
        stream.write_all(part.as_bytes()).expect("it reads");
    }
    let said = greet(stream, server_config(&authority, "127.0.0.1", false), "");
    assert!(said.starts_with("CONNECT {"), "{said}");
    rig.expect_up();
    rig.stop();
}

/// A link that loses packets: what had come of it before a silence was forgotten, and the rest of it
/// taken for broken TLS.
#[test]
fn an_info_that_stops_midway_is_waited_for() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let rig = start_mail(&server, write(&folder, "ca.pem", &authority.pem()));
    let mut stream = server.accept_stream();
    let info = info_before_tls();
    let (first, rest) = info.split_at(9);
    stream.write_all(first.as_bytes()).expect("it reads");
    // Longer than the silence after which it begins by itself.
    let silence = std::time::Duration::from_millis(1500);
    let patience = stream.read_timeout().expect("a socket");
    stream.set_read_timeout(Some(silence)).expect("a socket");
    let begun = stream.peek(&mut [0]);
    assert!(begun.is_err(), "it begins TLS: {begun:?}");
    stream.set_read_timeout(patience).expect("a socket");
    stream.write_all(rest.as_bytes()).expect("it reads");
    let said = greet(stream, server_config(&authority, "127.0.0.1", false), "");
    assert!(said.starts_with("CONNECT {"), "{said}");
    rig.expect_up();
    rig.stop();
}

/// Nothing of it is read: that was tried without end, and held up the whole bridge.
#[test]
fn what_comes_behind_the_end_of_tls_ends_the_connection() {
    let (folder, authority, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let rig = start_mail(&server, write(&folder, "ca.pem", &authority.pem()));
    let tls = server_config(&authority, "127.0.0.1", false);
    let mut raw = server.accept_stream();
    let mut tls = ServerConnection::new(tls).expect("a valid configuration");
    while tls.is_handshaking() {
        tls.complete_io(&mut raw).expect("it goes on");
    }
    tls.send_close_notify();
    let mut last = Vec::new();
    tls.write_tls(&mut last).expect("a buffer takes all");
    last.extend([0; 32 << 10]);
    raw.write_all(&last).expect("it reads");
    rig.expect_down(ErrorKind::ConnectionAborted);
    rig.stop();
}

#[test]
fn mail_goes_to_nobody_of_another_authority_nor_without_tls() {
    let (folder, ours, server) = (TempDir::new().unwrap(), authority(), Server::bind());
    let rig = start_mail(&server, write(&folder, "ca.pem", &ours.pem()));
    let theirs = issuer("theirs");
    let mut stream = server.accept_stream();
    stream
        .write_all(info_before_tls().as_bytes())
        .expect("it reads");
    let connection = ServerConnection::new(server_config(&theirs, "127.0.0.1", false));
    let mut stream = StreamOwned::new(connection.expect("a valid configuration"), stream);
    // It leaves in the middle of the handshake.
    let ended = stream.read(&mut [0; 4_096]);
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    match rig.event() {
        Event::Down { kind, text, .. } => {
            assert_eq!(kind, ErrorKind::PermissionDenied, "{text}");
            assert!(text.contains("is not trusted"), "{text}");
        }
        other => panic!("{other:?} instead of Down"),
    }
    rig.stop();
}

#[test]
fn secured_mail_needs_an_authority() {
    let server = Server::bind();
    let config = mq9::config(&server, |mail| mail.endpoints[0].scheme = Scheme::Tls);
    let error = Bridge::check(config, "plant-7").expect_err("it trusts nobody");
    assert!(error.to_string().contains("CA file"), "{error}");
}
