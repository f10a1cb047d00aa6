//! 3.14 DISCONNECT, both ways.

use edge::broker::{ConnectionId, Event, ListenerId};
use edge::mqtt::{self, Connection};
use sync::Now;
use wire::mqtt::property::{Properties, Property, PropertySet};
use wire::mqtt::{Disconnect, Packet, ReasonCode, decode};

use crate::world::*;

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-4.13.2-1]
#[test]
fn the_servers_disconnect_is_its_last_packet() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.subscribe(client, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    world.commits = Commits::Wait;
    world.publish(writer, &message("t", "1", 1).id(1));
    world.publish(client, &message("t", "2", 1).id(1));
    // A second CONNECT, while an answer and two messages are on their way.
    world.send_bytes(client, b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01a");
    world.commits = Commits::Succeed;
    world.run();
    world.send_bytes(client, b"\xC0\0");
    let bytes = world.next_packet(client).unwrap();
    let Some((Packet::Disconnect(disconnect), _)) = decode(&bytes, V5, u32::MAX).unwrap() else {
        panic!("DISCONNECT expected");
    };
    assert_eq!(disconnect.reason_code, ReasonCode::ProtocolError);
    assert_eq!(disconnect.properties.session_expiry_interval(), None);
    world.expect_closed(client);
}

/// Before MQTT 5 a server has no DISCONNECT.
#[test]
fn old_clients_are_closed_without_a_word() {
    for version in [wire::mqtt::Version::V31, V311] {
        let mut world = World::new();
        let first = world.join(&hello(version, "a").durable());
        world.send_bytes(first, &[0]);
        world.expect_closed(first);
        let second = world.say_hello(&hello(version, "a").durable());
        world.next_packet(second);
        let third = world.say_hello(&hello(version, "a").durable());
        world.next_packet(third);
        world.expect_closed(second);
    }
}

/// Whatever the client says it is, it is the last that is heard of it. [MQTT-3.14.4-3]
#[test]
fn nothing_is_heard_after_the_clients_disconnect() {
    for version in [V311, V5] {
        let mut world = World::new();
        let witness = world.join(&hello(V5, "witness"));
        world.subscribe(witness, "#", 0);
        let client = world.join(&hello(version, "a").will("will", 0));
        let late = encode(
            version,
            &Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
        );
        let publish: &[u8] = if version == V5 {
            b"\x30\x05\0\x01t\0x"
        } else {
            b"\x30\x04\0\x01tx"
        };
        world.send_bytes(client, &[publish, &late, publish, b"\xC0\0"].concat());
        world.expect_closed(client);
        world.expect_publish(witness, &message("t", "x", 0));
        // Neither the second message nor the will.
        world.expect_nothing(witness);
    }
}

#[test]
fn every_reason_but_success_publishes_the_will() {
    for code in [
        0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    ] {
        let mut world = World::new();
        let witness = world.join(&hello(V5, "witness"));
        world.subscribe(witness, "#", 0);
        let client = world.join(&hello(V5, "a").will("will", 0));
        world.send_bytes(client, &[0xE0, 1, code]);
        world.expect_closed(client);
        world.expect_publish(witness, &message("will", "gone", 0));
        world.expect_nothing(witness);
    }
}

/// 3.14.2.2.2: the interval can be changed at the end, but not from nothing.
#[test]
fn session_expiry_can_be_changed_by_disconnect() {
    let cases = [
        // At CONNECT, at DISCONNECT, seconds that the session lasts.
        (10, Some(20), 20),
        (20, Some(5), 5),
        (20, None, 20),
    ];
    for (first, last, lasts) in cases {
        let mut world = World::new();
        let greeting = hello(V5, "a").with(&[Property::SessionExpiryInterval(first)]);
        let client = world.join(&greeting);
        let said: Vec<_> = last
            .map(Property::SessionExpiryInterval)
            .into_iter()
            .collect();
        let bytes = properties_of(PropertySet::DISCONNECT, &said);
        let properties = Properties::parse(&bytes, PropertySet::DISCONNECT).unwrap();
        let reason_code = ReasonCode::Success;
        world.send(
            client,
            &Packet::Disconnect(Disconnect {
                reason_code,
                properties,
            }),
        );
        world.expect_closed(client);
        world.pass(lasts - 1);
        assert_eq!(world.broker.session_count(), 1, "{first} {last:?}");
        world.pass(1);
        assert_eq!(world.broker.session_count(), 0, "{first} {last:?}");
    }
}

/// [MQTT-3.14.0-1]: what ends before its CONNACK ends in silence.
#[test]
fn shutdown_says_goodbye_to_those_who_are_connected_and_keeps_their_wills() {
    let mut world = World::new();
    let watcher = world.join(&hello(V5, "watcher"));
    world.subscribe(watcher, "will", 0);
    let connected = world.join(&hello(V5, "a").will("will", 0));
    let old = world.join(&hello(V311, "b"));
    world.commits = Commits::Wait;
    let connecting = world.say_hello(&hello(V5, "c").durable());
    for client in [connected, old, connecting] {
        world.shut_down(client);
    }
    world.commits = Commits::Succeed;
    world.run();
    world.expect_disconnect(connected, ReasonCode::ServerShuttingDown);
    world.expect_closed(old);
    world.expect_closed(connecting);
    world.expect_publish(watcher, &message("will", "gone", 0));
}

/// A late word of the broker finds nobody. [MQTT-3.14.4-1]
#[test]
fn a_closed_connection_is_silent() {
    let id = ConnectionId {
        index: 0,
        generation: 0,
    };
    let now = Now::default();
    let mut connection = Connection::new(id, Default::default(), ListenerId::default(), now);
    connection.handle_bytes(now, &[0]);
    let code = edge::broker::CloseReason::TakenOver;
    connection.handle_event(now, Event::Closed(code));
    connection.handle_bytes(now, b"\xC0\0");
    assert!(connection.is_closed());
    assert_eq!(connection.outbound_bytes(), 0);
    assert_eq!(mqtt::Settings::default().memory.outbound_bytes(), 0);
}
