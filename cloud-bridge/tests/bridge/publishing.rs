//! Records on their way up, and their answers.

use std::time::{Duration, SystemTime};

use cloud_bridge::{Config, Event, Rejection};
use embedded_io::ErrorKind;
use sync::{Offset, Record, RecordParts, WallTime};

use crate::rig::{Rig, parts, record};
use crate::server::{
    Peer, Received, Server, connack, maximum_packet_size, puback, puback_with_offset,
    receive_maximum, string,
};

type Plain = Peer<std::net::TcpStream>;

fn start(change: impl FnOnce(&mut Config), connack: &[u8]) -> (Server, Rig, Plain) {
    let server = Server::bind();
    let mut config = Config::new(vec![server.endpoint()]);
    change(&mut config);
    let rig = Rig::start(config);
    rig.connect();
    let peer = server.welcome_with(connack);
    rig.expect_up();
    (server, rig, peer)
}

fn started() -> (Server, Rig, Plain) {
    start(|_| {}, &connack(0x00, &[]))
}

#[test]
fn a_record_arrives_whole_and_recognisable() {
    let prefix = |config: &mut Config| config.topic_prefix = "site/".to_owned();
    let (_server, rig, mut peer) = start(prefix, &connack(0x00, &[]));
    let pair = |name: &str, value: &str| [&[0x26][..], &string(name), &string(value)].concat();
    let properties = [
        &[0x03][..],
        &string("text/plain"),
        &[0x08],
        &string("answers"),
        &[0x09],
        &string("7"),
        &pair("unit", "K"),
        &pair("edge-id", "somebody else"),
    ]
    .concat();
    let record = Record::new(&RecordParts {
        retain: true,
        properties: &properties,
        ..parts("hall/temperature")
    });
    rig.publish(42, &record);

    let publish = peer.receive_publish();
    assert_eq!(publish.topic, "site/hall/temperature");
    assert_eq!(publish.payload, b"21.5");
    assert_eq!(
        (publish.qos, publish.retain, publish.dup),
        (1, false, false)
    );
    assert_eq!(publish.expiry, Some(7 * 24 * 3600));
    assert_eq!(publish.content_type.as_deref(), Some("text/plain"));
    assert_eq!(publish.response_topic.as_deref(), Some("answers"));
    assert_eq!(publish.correlation_data.as_deref(), Some(&b"7"[..]));
    let expected = [
        ("unit", "K"),
        ("edge-id", "plant-7"),
        ("edge-epoch", "3"),
        ("edge-lane", "normal"),
        ("edge-offset", "42"),
        ("edge-time", "1700000000000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(publish.user_properties, expected);

    peer.send(&puback_with_offset(publish.packet_identifier, 1234));
    match rig.event() {
        Event::Accepted {
            offset,
            server_offset,
            ..
        } => assert_eq!((offset, server_offset), (Offset(42), Some(1234))),
        other => panic!("{other:?}"),
    }
    rig.stop();
}

#[test]
fn a_refused_topic_does_not_disturb_the_others() {
    let (_server, rig, mut peer) = started();
    for (offset, topic) in [(0, "led/by/nobody"), (1, "fine"), (2, "full")] {
        rig.publish(offset, &record(topic, b""));
    }
    let reasons = [0x80, 0x00, 0x97];
    for reason in reasons {
        let publish = peer.receive_publish();
        peer.send(&puback(publish.packet_identifier, reason));
    }
    rig.expect_refused(0, 0x80);
    rig.expect_accepted(1);
    rig.expect_refused(2, 0x97);
    rig.publish(3, &record("fine", b""));
    peer.receive_publish();
    rig.stop();
}

#[test]
fn a_record_at_fault_is_rejected() {
    let (_server, rig, mut peer) = started();
    for (offset, reason) in [(0, 0x90), (1, 0x99)] {
        rig.publish(offset, &record("a", b""));
        let publish = peer.receive_publish();
        peer.send(&puback(publish.packet_identifier, reason));
        expect_rejected(&rig, offset, Rejection::Server { reason });
    }
    rig.stop();
}

#[test]
fn what_cannot_be_sent_is_never_sent() {
    let (_server, rig, mut peer) = started();
    for (offset, topic) in [(0, "a/+"), (1, "#"), (2, "nul\0")] {
        rig.publish(offset, &record(topic, b""));
        expect_rejected(&rig, offset, Rejection::Topic);
    }
    let broken = Record::new(&RecordParts {
        properties: &[0x26, 0, 9],
        ..parts("a")
    });
    rig.publish(3, &broken);
    expect_rejected(&rig, 3, Rejection::Properties);
    rig.publish(4, &record("fine", b""));
    assert_eq!(peer.receive_publish().topic, "fine");
    rig.stop();
}

#[test]
fn a_topic_too_long_behind_its_prefix_is_rejected() {
    let prefix = |config: &mut Config| config.topic_prefix = "site/".to_owned();
    let (_server, rig, mut peer) = start(prefix, &connack(0x00, &[]));
    let longest = "t".repeat(usize::from(u16::MAX) - "site/".len());
    rig.publish(0, &record(&(longest.clone() + "t"), b""));
    expect_rejected(&rig, 0, Rejection::Topic);
    rig.publish(1, &record(&longest, b""));
    assert_eq!(peer.receive_publish().topic.len(), usize::from(u16::MAX));
    rig.stop();
}

#[test]
fn the_largest_packet_is_sent_and_one_byte_more_is_not() {
    let (server, rig, mut peer) = started();
    rig.publish(0, &record("a", b""));
    let empty_bytes = peer.receive_publish().packet_bytes;
    rig.stop();
    drop(server);

    let limit = 5000;
    // The length itself needs a second byte by then.
    let fitting = limit as usize - empty_bytes - 1;
    let (_server, rig, mut peer) = start(|_| {}, &connack(0x00, &maximum_packet_size(limit)));
    rig.publish(0, &record("a", &vec![0; fitting + 1]));
    let found = u64::from(limit) + 1;
    let too_large = Rejection::TooLarge {
        found,
        allowed: limit,
    };
    expect_rejected(&rig, 0, too_large);
    rig.publish(0, &record("a", &vec![0; fitting]));
    assert_eq!(peer.receive_publish().packet_bytes, limit as usize);
    rig.stop();
}

#[test]
fn a_records_own_expiry_counts_from_its_time() {
    let (_server, rig, mut peer) = started();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let aged = |age: u64| {
        Record::new(&RecordParts {
            time: WallTime((now - Duration::from_secs(age)).as_millis() as u64),
            expiry_seconds: Some(1000),
            ..parts("a")
        })
    };
    rig.publish(0, &aged(1001));
    expect_rejected(&rig, 0, Rejection::Expired);
    rig.publish(1, &aged(400));
    let left = peer.receive_publish().expiry.unwrap();
    assert!((590..=600).contains(&left), "{left}");
    rig.stop();
}

#[test]
fn nothing_is_queued_beyond_the_window() {
    let (_server, rig, mut peer) = start(|config| config.window = 2, &connack(0x00, &[]));
    for offset in 0..3 {
        rig.publish(offset, &record("a", b""));
    }
    rig.expect_refused(2, 0x93);
    let first = peer.receive_publish();
    peer.receive_publish();
    peer.send(&puback(first.packet_identifier, 0x00));
    rig.expect_accepted(0);
    rig.publish(3, &record("a", b"3"));
    assert_eq!(peer.receive_publish().payload, b"3");
    rig.stop();
}

#[test]
fn a_connection_lost_within_a_window_leaves_the_rest_to_the_engine() {
    let (server, rig, mut peer) = started();
    for offset in 0..3 {
        rig.publish(offset, &record("a", b"lost"));
    }
    let first = peer.receive_publish();
    peer.receive_publish();
    peer.receive_publish();
    // In one piece with the end.
    peer.send(&puback(first.packet_identifier, 0x00));
    drop(peer);
    rig.expect_accepted(0);
    rig.expect_down(ErrorKind::ConnectionAborted);
    // Sent to a connection that is down: no answer.
    rig.publish(3, &record("a", b"lost"));

    rig.connect();
    let mut peer = server.welcome();
    rig.expect_up();
    rig.publish(1, &record("a", b"again"));
    let publish = peer.receive_publish();
    assert_eq!(
        (publish.payload.as_slice(), publish.dup),
        (&b"again"[..], false)
    );
    peer.send(&puback(publish.packet_identifier, 0x00));
    rig.expect_accepted(1);
    rig.stop();
}

#[test]
fn answers_out_of_order_find_their_records_even_when_identifiers_run_out() {
    let (_server, rig, mut peer) = start(|_| {}, &connack(0x00, &receive_maximum(4)));
    for offset in 0..3 {
        rig.publish(offset, &record("a", b""));
    }
    let [first, second, third] = [0; 3].map(|_| peer.receive_publish().packet_identifier);
    peer.send(&puback(third, 0x00));
    peer.send(&puback(second, 0x00));
    rig.expect_accepted(2);
    rig.expect_accepted(1);
    rig.publish(3, &record("a", b"3"));
    rig.publish(4, &record("a", b"4"));
    let fourth = peer.receive_publish();
    assert_eq!(fourth.payload, b"3");
    // The next identifier is the first again, which is taken; refused, it is free.
    peer.send(&puback(first, 0x80));
    rig.expect_refused(0, 0x80);
    let fifth = peer.receive_publish();
    assert_eq!(
        (fifth.packet_identifier, fifth.payload.as_slice()),
        (first, &b"4"[..])
    );
    peer.send(&puback(fifth.packet_identifier, 0x00));
    rig.expect_accepted(4);
    peer.send(&puback(fourth.packet_identifier, 0x00));
    rig.expect_accepted(3);
    rig.stop();
}

#[test]
fn a_server_that_stops_answering_is_left_and_its_records_are_in_doubt() {
    let patience = |config: &mut Config| config.patience = Duration::from_secs(1);
    let (_server, rig, mut peer) = start(patience, &connack(0x00, &[]));
    rig.publish(0, &record("a", b""));
    peer.receive_publish();
    rig.expect_down(ErrorKind::TimedOut);
    assert_eq!(peer.receive(), Received::Disconnect);
    rig.stop();
}

fn expect_rejected(rig: &Rig, expected: u64, why: Rejection) {
    match rig.event() {
        Event::Rejected { offset, reason, .. } => {
            assert_eq!((offset, reason), (Offset(expected), why));
        }
        other => panic!("{other:?} instead of Rejected"),
    }
}
