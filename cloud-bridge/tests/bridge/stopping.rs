//! Leaving: politely where somebody listens, and quickly in any case.

use std::time::{Duration, Instant};

use cloud_bridge::{Command, Config, Event};
use embedded_io::ErrorKind;
use sync::ConnectionId;

use crate::rig::{FIRST, Rig, record};
use crate::server::{PINGRESP, Received, Server, puback};

/// A stop takes a second or so in the worst case; whatever it could wait for by mistake takes ten and
/// more. Between the two there is room for a busy machine.
const LIMIT: Duration = Duration::from_secs(6);

#[expect(
    clippy::disallowed_methods,
    reason = "the time a stop takes is the subject"
)]
fn stop_in_time(rig: Rig) {
    let start = Instant::now();
    rig.stop();
    let took = start.elapsed();
    assert!(took < LIMIT, "{took:?}");
}

#[test]
fn a_stop_takes_leave_on_every_connection() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    let mut peers = Vec::new();
    for index in [0, 1] {
        let connection = ConnectionId(index);
        rig.tell(Command::Connect { connection });
        peers.push(server.welcome());
        rig.expect_up();
    }
    rig.tell(Command::Stop);
    for mut peer in peers {
        assert_eq!(peer.receive(), Received::Disconnect);
    }
    for _ in [0, 1] {
        rig.expect_down(ErrorKind::NotConnected);
    }
    assert_eq!(rig.event(), Event::Stopped);
    stop_in_time(rig);
}

#[test]
fn what_was_handed_over_before_a_disconnect_is_sent_and_may_still_be_answered() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    rig.publish(0, &record("a", b""));
    rig.tell(Command::Disconnect { connection: FIRST });
    let publish = peer.receive_publish();
    assert_eq!(peer.receive(), Received::Disconnect);
    peer.send(&puback(publish.packet_identifier, 0x00));
    drop(peer);
    rig.expect_accepted(0);
    rig.expect_down(ErrorKind::NotConnected);

    rig.connect();
    let _peer = server.welcome();
    rig.expect_up();
    rig.stop();
}

#[test]
fn a_full_window_does_not_hold_the_disconnect_up() {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.window = 1;
    let rig = Rig::start(config);
    rig.connect();
    let mut peer = server.welcome_with(&crate::server::connack(0x00, &[0x21, 0, 1]));
    rig.expect_up();
    rig.publish(0, &record("a", b""));
    peer.receive_publish();
    rig.tell(Command::Disconnect { connection: FIRST });
    assert_eq!(peer.receive(), Received::Disconnect);
    rig.expect_down(ErrorKind::NotConnected);
    rig.stop();
}

#[test]
fn a_server_that_does_not_answer_connect_does_not_delay_a_stop() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let _stream = server.accept_stream();
    stop_in_time(rig);
}

#[test]
fn a_server_that_does_not_read_does_not_delay_a_stop() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let _peer = server.welcome();
    rig.expect_up();
    // More than the kernel buffers.
    let large = record("a", &vec![0; 900_000]);
    for offset in 0..32 {
        rig.publish(offset, &large);
    }
    stop_in_time(rig);
}

#[test]
fn a_disconnect_while_connecting_is_obeyed() {
    let server = Server::bind();
    let rig = Rig::start(Config::new(vec![server.endpoint()]));
    rig.connect();
    let _stream = server.accept_stream();
    rig.tell(Command::Disconnect { connection: FIRST });
    rig.expect_down(ErrorKind::NotConnected);
    rig.stop();
}

#[test]
fn a_stop_without_any_connection_is_immediate() {
    let rig = Rig::start(Config::new(vec!["mqtt://nowhere.invalid".parse().unwrap()]));
    stop_in_time(rig);
}

#[test]
fn a_server_that_never_stops_talking_does_not_delay_a_stop() {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    config.downlink_filters = vec!["down".to_owned()];
    let rig = Rig::start(config);
    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    std::thread::spawn(move || while peer.try_send(&PINGRESP).is_ok() {});
    stop_in_time(rig);
}
