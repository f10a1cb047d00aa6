//! Messages on their way down, and their confirmation.

use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use cloud_bridge::{Command, Config, Downlink, Event};
use embedded_io::ErrorKind;
use sync::{ConnectionId, Token};

use crate::rig::{FIRST, Rig, record};
use crate::server::{Peer, Received, Server, connack, packet, puback, publish, string, suback};

fn start(filters: &[&str]) -> (Server, Rig) {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.downlink_filters = filters.iter().map(|&filter| filter.to_owned()).collect();
    config.downlink_window = 2;
    config.patience = Duration::from_secs(2);
    let rig = Rig::start(config);
    (server, rig)
}

/// Connects and subscribes.
fn subscribed(server: &Server, rig: &Rig) -> Peer<TcpStream> {
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    let identifier = receive_subscribe(&mut peer, &["down/#"]);
    peer.send(&suback(identifier, &[1]));
    let connection = FIRST;
    assert_eq!(rig.event(), Event::Subscribed { connection });
    peer
}

fn receive_subscribe(peer: &mut Peer<TcpStream>, expected: &[&str]) -> u16 {
    match peer.receive() {
        Received::Subscribe {
            packet_identifier,
            filters,
        } => {
            assert_eq!(filters, expected);
            packet_identifier
        }
        other => panic!("{other:?} instead of SUBSCRIBE"),
    }
}

/// Confirmations that rumqttc had no room for were dropped. The server waited for them for ever,
/// and when its window was full of such it sent nothing more.
#[test]
fn every_confirmation_is_sent_and_in_order_when_the_server_sends_in_bursts() {
    const COUNT: u16 = 1000;
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.downlink_filters = vec!["down/#".to_owned()];
    config.downlink_window = 32;
    config.window = 1;
    let rig = Rig::start(config);
    let mut peer = subscribed(&server, &rig);
    let burst: Vec<u8> = (1..=COUNT)
        .flat_map(|identifier| publish(identifier, b"down/valve", &[]))
        .collect();
    peer.send(&burst);
    let mut tokens = Vec::new();
    for count in 1..=COUNT {
        tokens.push(expect_received(&rig).0);
        // In bursts, as a group of commits ends.
        if count % 50 == 0 {
            tokens.drain(..).for_each(|token| rig.confirm(token));
        }
    }
    for identifier in 1..=COUNT {
        assert_eq!(peer.receive(), Received::Puback(identifier));
    }
    rig.stop();
}

fn expect_received(rig: &Rig) -> (Token, Downlink) {
    match rig.event() {
        Event::Received { token, message, .. } => (token, message),
        other => panic!("{other:?} instead of Received"),
    }
}

#[test]
fn only_the_first_connection_subscribes_and_keeps_its_session() {
    let (server, rig) = start(&["down/#"]);
    for (index, is_first) in [(0, true), (1, false)] {
        let connection = ConnectionId(index);
        rig.tell(Command::Connect { connection });
        let mut peer = server.accept();
        match peer.receive() {
            Received::Connect {
                client_identifier,
                clean_start,
                session_expiry,
                ..
            } => {
                assert_eq!(client_identifier, format!("edge-plant-7-{index}"));
                assert_eq!(clean_start, !is_first);
                assert_eq!(session_expiry, is_first.then_some(24 * 3600));
            }
            other => panic!("{other:?}"),
        }
        peer.send(&connack(0x00, &[]));
        rig.expect_up();
        if is_first {
            receive_subscribe(&mut peer, &["down/#"]);
        }
        rig.tell(Command::Disconnect { connection });
        assert_eq!(peer.receive(), Received::Disconnect);
        drop(peer);
        rig.expect_down(ErrorKind::NotConnected);
    }
    rig.stop();
}

#[test]
fn a_message_is_acknowledged_when_it_is_confirmed_and_not_before() {
    let (server, rig) = start(&["down/#"]);
    let mut peer = subscribed(&server, &rig);
    let forwardable = [
        &[0x01, 1][..],
        &[0x03],
        &string("text/plain"),
        &[0x26],
        &string("n"),
        &string("v"),
    ]
    .concat();
    let properties = [&[0x02, 0, 0, 0, 60][..], &forwardable].concat();
    peer.send(&publish(7, b"down/a", &properties));
    let (token, message) = expect_received(&rig);
    let expected = Downlink {
        topic: "down/a".to_owned(),
        payload: Bytes::from_static(b"down"),
        properties: forwardable.into(),
        qos: 1,
        retain: false,
        expiry_seconds: Some(60),
        duplicate: false,
    };
    assert_eq!(message, expected);

    rig.publish(0, &record("up", b""));
    let up = peer.receive_publish();
    rig.confirm(token);
    assert_eq!(peer.receive(), Received::Puback(7));
    peer.send(&puback(up.packet_identifier, 0x00));
    rig.expect_accepted(0);
    rig.stop();
}

#[test]
fn an_unconfirmed_message_comes_again_and_its_old_token_is_void() {
    let (server, rig) = start(&["down/#"]);
    let mut peer = subscribed(&server, &rig);
    peer.send(&publish(1, b"down/a", &[]));
    let (old, _) = expect_received(&rig);
    drop(peer);
    rig.expect_down(ErrorKind::ConnectionAborted);

    let mut peer = subscribed(&server, &rig);
    let mut repeat = publish(1, b"down/a", &[]);
    repeat[0] |= 0b1000;
    peer.send(&repeat);
    let (new, message) = expect_received(&rig);
    assert!(message.duplicate);
    assert_ne!(new, old);
    rig.confirm(old);
    rig.publish(0, &record("up", b""));
    peer.receive_publish();
    rig.confirm(new);
    assert_eq!(peer.receive(), Received::Puback(1));
    rig.stop();
}

#[test]
fn a_message_sent_again_while_it_is_being_stored_is_said_once() {
    let (server, rig) = start(&["down/#"]);
    let mut peer = subscribed(&server, &rig);
    peer.send(&publish(1, b"down/a", &[]));
    peer.send(&publish(1, b"down/a", &[]));
    peer.send(&publish(2, b"down/b", &[]));
    let (first, _) = expect_received(&rig);
    let (second, message) = expect_received(&rig);
    assert_eq!(message.topic, "down/b");
    rig.confirm(first);
    rig.confirm(first);
    rig.confirm(second);
    assert_eq!(peer.receive(), Received::Puback(1));
    assert_eq!(peer.receive(), Received::Puback(2));
    rig.stop();
}

#[test]
fn a_message_of_qos_0_has_nothing_to_acknowledge() {
    let (server, rig) = start(&["down/#"]);
    let mut peer = subscribed(&server, &rig);
    peer.send(&packet(0x30, &[&string("down/a"), &[0], b"x"]));
    let (token, message) = expect_received(&rig);
    assert_eq!(message.qos, 0);
    rig.confirm(token);
    rig.publish(0, &record("up", b""));
    peer.receive_publish();
    rig.stop();
}

#[test]
fn a_full_window_does_not_hold_acknowledgements_up() {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.downlink_filters = vec!["down/#".to_owned()];
    let rig = Rig::start(config);
    rig.connect();
    // Receive maximum 3: two for records, one spare.
    let mut peer = server.welcome_with(&connack(0x00, &[0x21, 0, 3]));
    rig.expect_up();
    let identifier = receive_subscribe(&mut peer, &["down/#"]);
    peer.send(&suback(identifier, &[1]));
    rig.event();
    peer.send(&publish(9, b"down/a", &[]));
    let (token, _) = expect_received(&rig);
    for offset in 0..2 {
        rig.publish(offset, &record("up", b""));
        peer.receive_publish();
    }
    rig.publish(2, &record("up", b""));
    rig.expect_refused(2, 0x93);
    rig.confirm(token);
    assert_eq!(peer.receive(), Received::Puback(9));
    rig.stop();
}

#[test]
fn refused_filters_are_named() {
    let (server, rig) = start(&["down/#", "secret/#", "other"]);
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    let identifier = receive_subscribe(&mut peer, &["down/#", "secret/#", "other"]);
    peer.send(&suback(identifier, &[1, 0x87, 0x80]));
    for (filter, reason) in [("secret/#", 0x87), ("other", 0x80)] {
        let expected = Event::SubscribeFailed {
            connection: FIRST,
            filter: filter.to_owned(),
            reason: Some(reason),
        };
        assert_eq!(rig.event(), expected);
    }
    rig.stop();
}

#[test]
fn a_missing_suback_ends_the_connection_after_patience() {
    let (server, rig) = start(&["down/#"]);
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    receive_subscribe(&mut peer, &["down/#"]);
    // Other signs of life do not count.
    rig.publish(0, &record("up", b""));
    let up = peer.receive_publish();
    peer.send(&puback(up.packet_identifier, 0x00));
    rig.expect_accepted(0);
    let expected = Event::SubscribeFailed {
        connection: FIRST,
        filter: "down/#".to_owned(),
        reason: None,
    };
    assert_eq!(rig.event(), expected);
    let text = rig.expect_down(ErrorKind::TimedOut);
    assert!(text.ends_with("no SUBACK within 2 s"), "{text}");
    rig.stop();
}

#[test]
fn a_message_that_nobody_could_be_given_is_acknowledged_and_dropped() {
    let (server, rig) = start(&["down/#"]);
    let mut peer = subscribed(&server, &rig);
    peer.send(&publish(1, b"down/\xff", &[]));
    assert_eq!(peer.receive(), Received::Puback(1));
    peer.send(&publish(2, b"down/a", &[0x01, 9]));
    assert_eq!(peer.receive(), Received::Puback(2));
    peer.send(&publish(3, b"down/a", &[]));
    expect_received(&rig);
    rig.stop();
}

#[test]
fn what_the_server_was_not_offered_ends_the_connection() {
    let (server, rig) = start(&["down/#"]);
    let table = [
        ("topic alias", publish(1, b"down/a", &[0x23, 0, 1])),
        ("subscription identifier", publish(1, b"down/a", &[0x0b, 1])),
        ("QoS 2", {
            let mut bytes = publish(1, b"down/a", &[]);
            bytes[0] = 0x34;
            bytes
        }),
    ];
    for (words, bytes) in table {
        let mut peer = subscribed(&server, &rig);
        peer.send(&bytes);
        let text = loop {
            match rig.event() {
                Event::Received { .. } => {}
                Event::Down { kind, text, .. } => {
                    assert_eq!(kind, ErrorKind::InvalidData);
                    break text;
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(text.contains(words), "{text}");
    }
    rig.stop();
}

/// mosquitto 2.0.11 sends more than the receive maximum when PUBACKs come in bursts. Taken for a
/// violation, that was an endless loop of connections in which no command got through.
#[test]
fn a_server_over_our_receive_maximum_is_borne_and_held_up() {
    let (server, rig) = start(&["down/#"]);
    let mut peer = subscribed(&server, &rig);
    let identifiers: Vec<u16> = (1..=20).collect();
    let each = identifiers
        .iter()
        .map(|identifier| publish(*identifier, b"down/a", &[]));
    peer.send(&each.collect::<Vec<_>>().concat());
    let mut tokens: Vec<Token> = (0..4).map(|_| expect_received(&rig).0).collect();
    assert!(rig.is_silent(), "twice the two that were offered");
    for identifier in &identifiers {
        rig.confirm(tokens.remove(0));
        if *identifier <= 16 {
            tokens.push(expect_received(&rig).0);
        }
    }
    for identifier in identifiers {
        assert_eq!(peer.receive(), Received::Puback(identifier));
    }
    rig.stop();
}
