//! A server that sends anything: the connection ends with a clear word, the bridge does not.

use cloud_bridge::Config;
use embedded_io::ErrorKind;

use crate::rig::{Rig, record};
use crate::server::{Server, connack, packet, puback, publish, suback};

#[test]
fn whatever_a_server_sends_ends_one_connection_at_most() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    let table = [
        ("a second CONNACK", connack(0x00, &[])),
        ("a PUBACK for nothing", puback(1, 0x00)),
        (
            "a PUBACK for an impossible identifier",
            puback(0xffff, 0x00),
        ),
        ("a PUBACK with an unknown reason", puback(1, 0x42)),
        ("a PUBREC", packet(0x50, &[&[0, 1]])),
        ("a PUBREL", packet(0x62, &[&[0, 1]])),
        ("a PUBCOMP", packet(0x70, &[&[0, 1]])),
        ("a SUBACK for nothing", suback(1, &[1])),
        ("an UNSUBACK", packet(0xb0, &[&[0, 1, 0, 0]])),
        ("a message for nothing", publish(1, b"a", &[])),
        ("a PINGREQ", packet(0xc0, &[])),
        ("a SUBSCRIBE", packet(0x82, &[&[0, 1, 0, 0, 1, b'a', 1]])),
        ("a packet type that is none", packet(0x00, &[&[0]])),
        ("an AUTH", packet(0xf0, &[&[0x18, 0]])),
        (
            "a PUBLISH of QoS 3",
            packet(0x36, &[&[0, 1, b'a', 0, 1, 0]]),
        ),
        ("a PUBLISH with identifier 0", publish(0, b"a", &[])),
        ("a PUBLISH cut off", packet(0x32, &[&[0, 9, b'a']])),
        ("a property that is none", publish(1, b"a", &[0x7f, 0])),
        ("an endless length", vec![0x30, 0xff, 0xff, 0xff, 0xff]),
        ("a packet too large", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("a DISCONNECT without a body", packet(0xe0, &[])),
    ];
    for (name, bytes) in table {
        rig.connect();
        let mut peer = server.welcome();
        rig.expect_up();
        peer.send(&bytes);
        let text = rig.expect_down(ErrorKind::InvalidData);
        assert!(text.starts_with("mqtt://127.0.0.1:"), "{name}: {text}");
    }
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    rig.publish(0, &record("still here", b""));
    peer.receive_publish();
    rig.stop();
}

#[test]
fn an_impossible_connack_is_no_connection() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    let table = [
        ("receive maximum 0", connack(0x00, &[0x21, 0, 0])),
        ("packet size 0", connack(0x00, &[0x27, 0, 0, 0, 0])),
        ("an unknown reason", connack(0x42, &[])),
        ("another packet", packet(0xd0, &[])),
        ("a PUBLISH first", publish(1, b"a", &[])),
    ];
    for (name, bytes) in table {
        rig.connect();
        let _peer = server.welcome_with(&bytes);
        let text = rig.expect_down(ErrorKind::InvalidData);
        assert!(!text.is_empty(), "{name}");
    }
    rig.stop();
}

#[test]
fn a_disconnect_says_why() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    let reason = [&[0x1f][..], &crate::server::string("maintenance")].concat();
    peer.send(&packet(0xe0, &[&[0x8b, reason.len() as u8], &reason]));
    let text = rig.expect_down(ErrorKind::ConnectionReset);
    assert!(text.ends_with("0x8b, maintenance"), "{text}");
    rig.stop();
}
