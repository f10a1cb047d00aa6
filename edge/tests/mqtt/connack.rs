//! 3.1.3.1 client identifier, 3.1.4 and 3.2 what a CONNECT is answered.

use std::collections::BTreeSet;

use edge::broker::Settings;
use edge::mqtt;
use wire::mqtt::property::Property;
use wire::mqtt::{QoS, ReasonCode};

use crate::world::*;

/// [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6]
/// [MQTT-3.1.4-4] [MQTT-3.1.4-5] [MQTT-3.2.2-8]
#[test]
fn connack_says_whether_there_was_a_session() {
    for version in [V311, V5] {
        let mut world = World::new();
        let resumed = hello(version, "a").durable();
        let clean = hello(version, "a").durable().clean();
        for (hello, flags) in [
            (&resumed, 0),
            (&resumed, 1),
            (&resumed, 1),
            (&clean, 0),
            (&clean, 0),
        ] {
            let client = world.say_hello(hello);
            let bytes = world.next_packet(client).unwrap();
            assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, flags, 0));
            world.cut(client);
        }
        // Before MQTT 5 a session that began clean ended with its connection.
        let client = world.say_hello(&resumed);
        let bytes = world.next_packet(client).unwrap();
        assert_eq!(bytes[2], u8::from(version == V5));
    }
}

/// [MQTT-3.1.3-5]
#[test]
fn client_identifiers_of_up_to_23_letters_and_digits_are_accepted() {
    for version in [wire::mqtt::Version::V31, V311, V5] {
        let mut world = World::new();
        for id in [
            "0",
            "0123456789abcdefghijklm",
            "nopqrstuvwxyzABCDEFGHIJ",
            "KLMNOPQRSTUVWXYZ",
        ] {
            world.join(&hello(version, id));
        }
    }
}

/// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] [MQTT-3.1.3-2]
#[test]
fn an_assigned_client_identifier_is_new_and_names_its_session() {
    let mut world = World::new();
    let mut assigned = BTreeSet::new();
    for _ in 0..20 {
        let client = world.say_hello(&hello(V5, "").durable());
        let id = world.look_at_connack(client, |connack| {
            assert_eq!(connack.reason_code, ReasonCode::Success);
            let id = connack.properties.assigned_client_identifier();
            id.map(str::to_owned)
        });
        world.subscribe(client, "t", 1);
        world.disconnect(client);
        assert!(assigned.insert(id.unwrap()), "another each time");
    }
    assert_eq!(world.broker.session_count(), 20);
    for id in assigned {
        let client = world.rejoin(&hello(V5, id).durable());
        world.publish(client, &message("t", "1", 0));
        world.expect_publish(client, &message("t", "1", 0));
        world.disconnect(client);
    }
    // One that brings its own is told none.
    let client = world.say_hello(&hello(V5, "own"));
    world.look_at_connack(client, |connack| {
        assert_eq!(connack.properties.assigned_client_identifier(), None);
    });
}

/// [MQTT-3.2.0-1] [MQTT-3.2.0-2]
#[test]
fn connack_is_the_first_packet_and_comes_once() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let client = world.join(&hello_a);
        world.subscribe(client, "t", 2);
        let writer = world.join(&hello(version, "w"));
        for id in 1..=2 {
            world.publish(writer, &message("t", "1", 2).id(id));
        }
        world.pubrec(client, 1);
        world.cut(client);
        world.publish(writer, &message("t", "2", 1).id(3));
        // A PUBREL, a repeat and a new message wait.
        world.commits = Commits::Wait;
        let client = world.say_hello(&hello_a);
        world.expect_nothing(client);
        world.commits = Commits::Succeed;
        world.run();
        let mut types = Vec::new();
        while let Some(packet) = world.next_packet(client) {
            types.push(packet[0] >> 4);
        }
        assert_eq!(types, [2, 6, 3, 3]);
    }
}

/// [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.1.3-8] [MQTT-3.1.4-6] [MQTT-4.13.2-1] [MQTT-3.14.0-1]
#[test]
fn a_refused_client_hears_one_connack_and_nothing_after() {
    for (version, code) in [(V311, 3), (V5, 0x97)] {
        let settings = Settings {
            session_bytes_maximum: 2_000,
            ..Settings::default()
        };
        let limits = mqtt::Settings {
            topic_bytes_maximum: 65_535,
            ..mqtt::Settings::default()
        };
        let mut world = World::with(settings, limits);
        let witness = world.join(&hello(V5, "witness"));
        world.subscribe(witness, "t", 0);
        let client = world.join(&hello(version, "a").durable());
        world.disconnect(client);
        // There is a session, but no room for such a will.
        let mut large = hello(version, "a").durable().will("will", 0);
        if let Some(will) = &mut large.will {
            will.payload = "x".repeat(3_000).leak();
        }
        let client = world.say_hello(&large);
        world.publish(client, &message("t", "1", 0));
        world.send_bytes(client, b"\xC0\0");
        let bytes = world.next_packet(client).unwrap();
        assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, 0, code));
        world.expect_closed(client);
        world.expect_nothing(witness);
    }
}

/// [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12] [MQTT-3.2.2-13]: nothing is limited, so nothing
/// is named and everything is taken.
#[test]
fn every_qos_and_retain_are_served() {
    let mut world = World::new();
    let mut greeting = hello(V5, "a").will("will", 0);
    if let Some(will) = &mut greeting.will {
        (will.qos, will.retain) = (QoS::ExactlyOnce, true);
    }
    let client = world.say_hello(&greeting);
    world.look_at_connack(client, |connack| {
        assert_eq!(connack.reason_code, ReasonCode::Success);
        assert_eq!(connack.properties.maximum_qos(), None);
        assert_eq!(connack.properties.retain_available(), None);
        assert_eq!(connack.properties.wildcard_subscription_available(), None);
        assert_eq!(connack.properties.subscription_identifier_available(), None);
    });
    for qos in 0..=2 {
        world.subscribe(client, "t", qos);
    }
    world.cut(client);
    let reader = world.join(&hello(V5, "r"));
    world.subscribe(reader, "will", 2);
    world.expect_publish(reader, &message("will", "gone", 2).id(1).retained());
}

/// [MQTT-3.2.2-22] [MQTT-3.1.2-22]
#[test]
fn the_keep_alive_of_the_client_holds_where_the_server_names_none() {
    let mut world = World::new();
    let client = world.say_hello(&hello(V5, "a").keep_alive(20));
    world.look_at_connack(client, |connack| {
        assert_eq!(connack.properties.server_keep_alive(), None);
    });
    let other = world.join(&hello(V5, "b"));
    world.pass(29);
    assert!(!world.is_closed(client));
    world.pass(1);
    world.expect_disconnect(client, ReasonCode::KeepAliveTimeout);
    // None at all was promised here.
    world.pass(1_000);
    assert!(!world.is_closed(other));
}

/// [MQTT-3.1.2-22]. A client that sent a byte now and then, and never a packet, was kept for ever.
#[test]
fn bytes_without_a_packet_are_no_sign_of_life() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a").keep_alive(10));
        world.send_bytes(client, b"\x30\x20\0\x01");
        for _ in 0..14 {
            world.pass(1);
            world.send_bytes(client, b"t");
        }
        assert!(!world.is_closed(client));
        world.pass(1);
        world.expect_disconnect(client, ReasonCode::KeepAliveTimeout);
    }
}

/// [MQTT-3.1.2-1]
#[test]
fn a_protocol_of_another_name_is_closed() {
    for name in [b"MQTU", b"mqtt", b"AMQP"] {
        let mut world = World::new();
        let client = world.open(V5);
        let bytes = [b"\x10\x0D\0\x04", name.as_slice(), b"\x05\x02\0\0\0\0\0"].concat();
        world.send_bytes(client, &bytes);
        world.expect_closed(client);
        assert_eq!(world.broker.session_count(), 0);
    }
}

/// [MQTT-3.12.4-1]
#[test]
fn every_pingreq_is_answered() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        world.send_bytes(client, b"\xC0\0\xC0\0\xC0\0");
        for _ in 0..3 {
            world.expect_bytes(client, b"\xD0\0");
        }
        world.expect_nothing(client);
    }
}

#[test]
fn a_session_expiry_that_is_kept_is_not_repeated() {
    let mut world = World::new();
    for expiry in [0, 5, u32::MAX] {
        let said = [Property::SessionExpiryInterval(expiry)];
        let client = world.say_hello(&hello(V5, "a").with(&said));
        world.look_at_connack(client, |connack| {
            assert_eq!(connack.properties.session_expiry_interval(), None);
        });
    }
}
