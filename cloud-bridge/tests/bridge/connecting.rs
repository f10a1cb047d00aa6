//! Getting in: what is asked for, what is agreed, and every way of being kept out.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use cloud_bridge::{Command, Config, Credentials, Event, SessionState};
use embedded_io::ErrorKind;
use sync::ConnectionId;

use crate::rig::{FIRST, Rig, record};
use crate::server::{
    PINGRESP, Received, Server, connack, maximum_packet_size, packet, puback, receive_maximum,
    robustmq_properties,
};

#[test]
fn connect_asks_for_what_is_configured() {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.credentials = Some(Credentials {
        user_name: "admin".to_owned(),
        password: "robustmq".to_owned(),
    });
    let rig = Rig::start(config);
    rig.connect();
    let expected = Received::Connect {
        client_identifier: "edge-plant-7-0".to_owned(),
        clean_start: true,
        keep_alive: 12,
        user_name: Some("admin".to_owned()),
        password: Some(b"robustmq".to_vec()),
        session_expiry: None,
        receive_maximum: Some(32),
        maximum_packet_bytes: Some(990_000),
    };
    assert_eq!(server.accept().receive(), expected);
    rig.stop();
}

#[test]
fn robustmqs_connack_is_understood() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let _peer = server.welcome_with(&connack(0x00, &robustmq_properties()));
    let expected = Event::Up {
        connection: FIRST,
        endpoint: server.endpoint(),
        session: SessionState::New,
        receive_maximum: 32,
        maximum_packet_bytes: 990_000,
    };
    assert_eq!(rig.event(), expected);
    rig.stop();
}

#[test]
fn the_servers_limits_shrink_the_configured_ones() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    let limits = [receive_maximum(10), maximum_packet_size(5000)].concat();
    // Session present: the server remembers.
    let bytes = packet(0x20, &[&[1, 0, limits.len() as u8], &limits]);
    rig.connect();
    let _peer = server.welcome_with(&bytes);
    let expected = Event::Up {
        connection: FIRST,
        endpoint: server.endpoint(),
        session: SessionState::Present,
        // One is kept for acknowledgements.
        receive_maximum: 9,
        maximum_packet_bytes: 5000,
    };
    assert_eq!(rig.event(), expected);
    rig.stop();
}

#[test]
fn a_refused_connection_says_why() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    let table = [
        (0x80, ErrorKind::ConnectionRefused, "0x80, UnspecifiedError"),
        (
            0x84,
            ErrorKind::Unsupported,
            "0x84, UnsupportedProtocolVersion",
        ),
        (0x87, ErrorKind::PermissionDenied, "0x87, NotAuthorized"),
        (
            0x88,
            ErrorKind::ConnectionRefused,
            "0x88, ServerUnavailable",
        ),
    ];
    for (reason, kind, words) in table {
        rig.connect();
        let _peer = server.welcome_with(&connack(reason, &[]));
        let text = rig.expect_down(kind);
        assert!(text.starts_with(&server.endpoint().to_string()), "{text}");
        assert!(text.ends_with(words), "{text}");
    }
    rig.stop();
}

#[test]
fn a_server_that_never_answers_connect_times_out() {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.connect_timeout = Duration::from_secs(1);
    let rig = Rig::start(config);
    rig.connect();
    let _stream = server.accept_stream();
    let text = rig.expect_down(ErrorKind::TimedOut);
    assert!(text.ends_with("no CONNACK within 1 s"), "{text}");
    rig.stop();
}

#[test]
fn a_name_that_leads_nowhere_is_told_from_a_server_that_is_away() {
    let config = Config::new(vec!["mqtt://nowhere.invalid".parse().unwrap()]);
    let rig = Rig::start(config);
    rig.connect();
    let text = rig.expect_down(ErrorKind::NotFound);
    assert!(text.contains("nowhere.invalid does not resolve"), "{text}");
    rig.stop();
}

#[test]
fn each_connect_tries_one_endpoint_and_begins_with_the_last_good_one() {
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut refusing = Server::bind().endpoint();
    refusing.port = closed.local_addr().unwrap().port();
    drop(closed);
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![refusing.clone(), server.endpoint()]));

    rig.connect();
    let text = rig.expect_down(ErrorKind::ConnectionRefused);
    assert!(text.starts_with(&refusing.to_string()), "{text}");
    for _ in 0..2 {
        rig.connect();
        let mut peer = server.welcome();
        rig.expect_up();
        rig.publish(7, &record("a", b""));
        let publish = peer.receive_publish();
        peer.send(&puback(publish.packet_identifier, 0x00));
        rig.expect_accepted(7);
        drop(peer);
        rig.expect_down(ErrorKind::ConnectionAborted);
    }
    // It does not let the client in any more, so the list goes round.
    rig.connect();
    let peer = server.welcome_with(&connack(0x88, &[]));
    rig.expect_down(ErrorKind::ConnectionRefused);
    drop(peer);
    rig.connect();
    let text = rig.expect_down(ErrorKind::ConnectionRefused);
    assert!(text.starts_with(&refusing.to_string()), "{text}");
    rig.stop();
}

/// Half of a broken server is broken: one that lets clients in and takes nothing, or closes at
/// once, held the uplink for ever while the next one in the list was well.
#[test]
fn an_endpoint_that_lets_in_and_takes_nothing_gives_way_to_the_next() {
    let (broken, well) = (Server::bind(), Server::bind());
    let mut config = Config::new(vec![broken.endpoint(), well.endpoint()]);
    config.patience = Duration::from_secs(1);
    let rig = Rig::start(config);
    rig.connect();
    let mut peer = broken.welcome();
    rig.expect_up();
    rig.publish(0, &record("a", b""));
    peer.receive_publish();
    let text = rig.expect_down(ErrorKind::TimedOut);
    assert!(text.ends_with("no answer within 1 s"), "{text}");
    rig.connect();
    drop(well.welcome());
    rig.expect_up();
    rig.expect_down(ErrorKind::ConnectionAborted);
    rig.connect();
    let _peer = broken.welcome();
    rig.expect_up();
    rig.stop();
}

/// The gateway's patience can be shorter than the time that a connect may take. Its word was then
/// all that the operator read, and the silent endpoint was tried again for ever.
#[test]
fn an_endpoint_that_was_waited_for_in_vain_is_named_and_gives_way() {
    let (silent, well) = (Server::bind(), Server::bind());
    let rig = Rig::start(Config::new(vec![silent.endpoint(), well.endpoint()]));
    rig.connect();
    let mut stream = silent.accept_stream();
    stream
        .set_read_timeout(Some(Duration::from_millis(1100)))
        .unwrap();
    // CONNECT comes, and then nothing for longer than anybody's patience.
    let _ = io::copy(&mut stream, &mut io::sink());
    rig.tell(Command::Disconnect { connection: FIRST });
    let text = rig.expect_down(ErrorKind::TimedOut);
    // For how long it was waited is seen from the outside, and a busy machine may see more.
    assert!(text.contains("no CONNACK within "), "{text}");
    rig.connect();
    let _peer = well.welcome();
    rig.expect_up();
    rig.stop();
}

#[test]
fn pings_follow_the_servers_keep_alive_and_silence_is_noticed() {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.patience = Duration::from_secs(3);
    let rig = Rig::start(config);
    rig.connect();
    let mut peer = server.welcome_with(&connack(0x00, &[0x13, 0, 1]));
    rig.expect_up();
    assert_eq!(peer.receive(), Received::Pingreq);
    peer.send(&PINGRESP);
    assert_eq!(peer.receive(), Received::Pingreq);
    let text = rig.expect_down(ErrorKind::TimedOut);
    assert!(text.ends_with("no answer within 3 s"), "{text}");
    rig.stop();
}

#[test]
fn a_late_pingresp_is_no_reason_to_leave() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let mut peer = server.welcome_with(&connack(0x00, &[0x13, 0, 1]));
    rig.expect_up();
    // rumqttc alone gives up at the second.
    for _ in 0..3 {
        assert_eq!(peer.receive(), Received::Pingreq);
    }
    peer.send(&PINGRESP);
    rig.publish(0, &record("a", b""));
    peer.receive_publish();
    rig.stop();
}

#[test]
fn a_keep_alive_of_zero_does_not_ping_without_pause() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let mut peer = server.welcome_with(&connack(0x00, &[0x13, 0, 0]));
    rig.expect_up();
    assert_eq!(peer.receive(), Received::Pingreq);
    for offset in 0..3 {
        rig.publish(offset, &record("a", b""));
        peer.receive_publish();
    }
    rig.stop();
}

#[test]
fn connect_has_no_effect_on_a_connection_that_is_up() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    rig.connect();
    rig.publish(0, &record("a", b""));
    peer.receive_publish();
    rig.stop();
}

#[test]
fn a_connection_that_does_not_exist_is_down() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    let connection = ConnectionId(2);
    rig.tell(Command::Connect { connection });
    let text = rig.expect_down(ErrorKind::InvalidInput);
    assert_eq!(text, "connection 2 is not one of 2, from 0 on");
    rig.stop();
}

#[test]
fn an_ipv6_address_is_an_address() {
    // A machine without IPv6 has nothing to test.
    let Ok(server) = Server::bind_on("::1") else {
        return;
    };
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let _peer = server.welcome();
    rig.expect_up();
    rig.stop();
}
