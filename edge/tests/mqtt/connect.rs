//! 3.1 CONNECT, 3.2 CONNACK, 3.12 PINGREQ, 3.14 DISCONNECT.

use std::num::NonZeroU32;

use edge::broker::{ListenerId, Settings};
use edge::mqtt::{self, PeerError};
use wire::mqtt::property::{Properties, Property, PropertySet};
use wire::mqtt::{Connack, Disconnect, Packet, ReasonCode, Subscription, decode};
use wire::topic::TopicFilter;

use crate::world::*;

fn refusal(reason_code: ReasonCode) -> Packet<'static> {
    Packet::Connack(Connack {
        session_present: false,
        reason_code,
        properties: Properties::EMPTY,
    })
}

/// [MQTT-3.2.2-9]
#[test]
fn connack_tells_the_limits_in_5_and_nothing_before() {
    let mut world = World::new();
    let new = world.say_hello(&hello(V5, "new"));
    let properties = properties_of(
        PropertySet::CONNACK,
        &[
            Property::ReceiveMaximum(64.try_into().unwrap()),
            Property::MaximumPacketSize(NonZeroU32::new(262_144).unwrap()),
            Property::TopicAliasMaximum(16),
        ],
    );
    let connack = Connack {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: Properties::parse(&properties, PropertySet::CONNACK).unwrap(),
    };
    world.expect(new, &Packet::Connack(connack));
    let old = world.say_hello(&hello(V311, "old"));
    world.expect(old, &refusal(ReasonCode::Success));
}

/// [MQTT-3.2.0-1] [MQTT-3.1.4-5]
#[test]
fn connack_of_a_durable_session_waits_for_its_commit() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.commits = Commits::Wait;
        let client = world.say_hello(&hello(version, "a").durable());
        world.send(client, &Packet::Pingreq);
        world.expect_nothing(client);
        assert!(!world.connection(client).wants_more());
        world.finish_commits(1);
        assert!(world.next_packet(client).is_some());
        world.expect(client, &Packet::Pingresp);
        assert!(world.connection(client).wants_more());
    }
}

/// [MQTT-3.2.2-7] [MQTT-3.1.4-2]
#[test]
fn connack_says_no_when_the_log_is_full() {
    for version in [V311, V5] {
        let mut world = World::new();
        world.commits = Commits::Fail;
        let client = world.say_hello(&hello(version, "a").durable());
        let bytes = world.next_packet(client).unwrap();
        let code = if version == V5 { 0x97 } else { 3 };
        assert_eq!(bytes[3], code);
        world.expect_closed(client);
        assert_eq!(world.broker.session_count(), 0);
    }
}

/// [MQTT-3.1.3-6]
#[test]
fn empty_client_identifier_is_assigned_one() {
    let mut world = World::new();
    let client = world.say_hello(&hello(V5, ""));
    let bytes = world.next_packet(client).unwrap();
    let Some((Packet::Connack(connack), _)) = decode(&bytes, V5, u32::MAX).unwrap() else {
        panic!("CONNACK expected");
    };
    let assigned = connack.properties.assigned_client_identifier().unwrap();
    assert!(assigned.starts_with("edge-"));
    // Before MQTT 5 it is not told, and only good for a session that ends.
    world.join(&hello(V311, ""));
    let refused = world.say_hello(&hello(V311, "").durable());
    world.expect(refused, &refusal(ReasonCode::ClientIdentifierNotValid));
    world.expect_closed(refused);
}

/// [MQTT-3.1.3-8] [MQTT-3.1.4-2]
#[test]
fn client_identifier_over_the_limit_is_refused() {
    for version in [V311, V5] {
        let limits = Settings {
            client_identifier_bytes_maximum: 3,
            ..Settings::default()
        };
        let mut world = World::with(limits, mqtt::Settings::default());
        world.join(&hello(version, "abc"));
        let client = world.say_hello(&hello(version, "abcd"));
        world.expect(client, &refusal(ReasonCode::ClientIdentifierNotValid));
        world.expect_closed(client);
    }
}

#[test]
fn sessions_over_the_limit_are_refused_and_present_ones_resumed() {
    let limits = Settings {
        session_count_maximum: 1,
        ..Settings::default()
    };
    let mut world = World::with(limits, mqtt::Settings::default());
    let first = world.join(&hello(V5, "a").durable());
    world.disconnect(first);
    let second = world.say_hello(&hello(V5, "b"));
    world.expect(second, &refusal(ReasonCode::QuotaExceeded));
    world.rejoin(&hello(V5, "a").durable());
}

/// [MQTT-3.1.2-2]
#[test]
fn unknown_versions_are_told_so() {
    let mut world = World::new();
    let client = world.open(V5);
    world.send_bytes(client, b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x00");
    world.expect(client, &refusal(ReasonCode::UnsupportedProtocolVersion));
    world.expect_closed(client);
    let client = world.open(V311);
    world.send_bytes(client, b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x00\x00\x00");
    world.expect(client, &refusal(ReasonCode::UnsupportedProtocolVersion));
    world.expect_closed(client);
}

/// [MQTT-3.1.0-1]
#[test]
fn anything_but_connect_first_just_closes() {
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"\xc0\x00",
        b"\x16\x03\x01\x02\x00",
    ] {
        let mut world = World::new();
        let client = world.open(V5);
        world.send_bytes(client, bytes);
        world.expect_closed(client);
        assert!(matches!(
            world.connection(client).peer_error(),
            Some(PeerError::Decode(_))
        ));
    }
}

/// [MQTT-3.1.0-2] [MQTT-3.2.0-2]
#[test]
fn second_connect_is_a_protocol_error() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        let other = hello(version, "a");
        let connect = wire::mqtt::Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_identifier: &other.id,
            will: None,
            user_name: None,
            password: None,
        };
        world.send(client, &Packet::Connect(connect));
        world.expect_disconnect(client, ReasonCode::ProtocolError);
        assert_eq!(world.broker.session_count(), 0);
    }
}

/// [MQTT-4.13.1-1]
#[test]
fn packets_of_a_server_are_a_protocol_error() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.send(client, &Packet::Pingresp);
    world.expect_disconnect(client, ReasonCode::ProtocolError);
}

#[test]
fn authentication_methods_are_not_spoken() {
    let mut world = World::new();
    let method = [Property::AuthenticationMethod("SCRAM")];
    let client = world.say_hello(&hello(V5, "a").with(&method));
    world.expect(client, &refusal(ReasonCode::BadAuthenticationMethod));
    world.expect_closed(client);
}

#[test]
fn connect_has_a_deadline() {
    let mut world = World::new();
    let client = world.open(V5);
    world.pass(9);
    assert!(!world.is_closed(client));
    world.pass(1);
    world.expect_closed(client);
    assert_eq!(
        world.connection(client).peer_error(),
        Some(&PeerError::ConnectTimeout)
    );
}

/// [MQTT-3.1.2-22]
#[test]
fn silence_over_one_and_a_half_keep_alives_closes_with_8d() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a").keep_alive(10));
        world.pass(14);
        world.send(client, &Packet::Pingreq);
        world.expect(client, &Packet::Pingresp);
        world.pass(14);
        assert!(!world.is_closed(client));
        world.pass(1);
        world.expect_disconnect(client, ReasonCode::KeepAliveTimeout);
    }
}

#[test]
fn server_keep_alive_replaces_a_longer_one() {
    let limits = mqtt::Settings {
        keep_alive_maximum: 10,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let client = world.say_hello(&hello(V5, "a"));
    let bytes = world.next_packet(client).unwrap();
    let Some((Packet::Connack(connack), _)) = decode(&bytes, V5, u32::MAX).unwrap() else {
        panic!("CONNACK expected");
    };
    assert_eq!(connack.properties.server_keep_alive(), Some(10));
    world.pass(15);
    world.expect_disconnect(client, ReasonCode::KeepAliveTimeout);
}

#[test]
fn packets_arrive_in_any_pieces() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "t", 0);
    let ping = [0xC0, 0];
    let publish = b"\x30\x06\x00\x01t\x00hi";
    let bytes = [ping.as_slice(), publish, &ping].concat();
    for size in 1..=bytes.len() {
        bytes
            .chunks(size)
            .for_each(|piece| world.send_bytes(client, piece));
        world.expect(client, &Packet::Pingresp);
        let mut found = [
            world.next_packet(client).unwrap(),
            world.next_packet(client).unwrap(),
        ];
        // A pong may overtake the message, which goes through the broker.
        found.sort();
        assert_eq!(found, [publish.to_vec(), vec![0xD0, 0]]);
    }
}

/// [MQTT-3.2.2-15]
#[test]
fn a_packet_over_the_limit_is_refused_at_its_header() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        world.send_bytes(client, &[0x30, 0x80, 0x80, 0x80, 0x01]);
        world.expect_disconnect(client, ReasonCode::PacketTooLarge);
    }
}

#[test]
fn shutdown_says_goodbye() {
    let settings = std::rc::Rc::new(mqtt::Settings::default());
    let id = edge::broker::ConnectionId {
        index: 0,
        generation: 0,
    };
    let now = sync::Now::default();
    let mut connection = mqtt::Connection::new(id, settings, ListenerId::default(), now);
    connection.handle_shutdown();
    assert!(connection.is_closed());
    assert_eq!(connection.outbound_bytes(), 0);
    assert!(connection.poll().is_none());
}

#[test]
fn a_client_that_talks_on_before_its_connack_is_held_to_one_packet() {
    let mut world = World::new();
    world.commits = Commits::Wait;
    let client = world.say_hello(&hello(V5, "a").durable());
    let pings = [0xC0, 0].repeat(65_536);
    world.send_bytes(client, &pings);
    assert!(!world.is_closed(client));
    world.send_bytes(client, &pings);
    world.send_bytes(client, &pings);
    world.expect_closed(client);
}

#[test]
fn session_expiry_over_the_limit_is_cut_and_said() {
    let limits = Settings {
        session_expiry_maximum: 60,
        ..Settings::default()
    };
    let mut world = World::with(limits, mqtt::Settings::default());
    let client = world.say_hello(&hello(V5, "a").durable());
    let bytes = world.next_packet(client).unwrap();
    let Some((Packet::Connack(connack), _)) = decode(&bytes, V5, u32::MAX).unwrap() else {
        panic!("CONNACK expected");
    };
    assert_eq!(connack.properties.session_expiry_interval(), Some(60));
    world.cut(client);
    world.pass(60);
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn clients_of_3_1_are_served_as_those_of_3_1_1() {
    let old = wire::mqtt::Version::V31;
    let mut world = World::new();
    let hello_a = hello(old, "a").durable();
    let client = world.join(&hello_a);
    world.subscribe(client, "t", 2);
    world.disconnect(client);
    // CONNACK of 3.1 does not tell that the session is present.
    let client = world.join(&hello_a);
    world.publish(client, &message("t", "1", 2).id(7));
    world.expect_pubrec(client, 7);
    world.expect_publish(client, &message("t", "1", 2).id(1));
    world.pubrel(client, 7);
    world.expect_pubcomp(client, 7);
}

/// [MQTT-3.1.2-24]
#[test]
fn no_packet_is_larger_than_the_client_takes() {
    for limit in 1..=40 {
        let settings = Settings {
            session_count_maximum: 1,
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let small = [Property::MaximumPacketSize(limit.try_into().unwrap())];
        let accepted = world.say_hello(&hello(V5, "a").with(&small));
        let method = Property::AuthenticationMethod("m");
        let clients = [
            accepted,
            world.say_hello(&hello(V5, "b").with(&small)),
            world.say_hello(&hello(V5, "c").with(&small).with(&[method])),
        ];
        if !world.is_closed(accepted) {
            let filters = [Subscription::new(TopicFilter::new("t").unwrap(), qos_of(2)); 30];
            world.subscribe_with(accepted, &filters, &[]);
            world.publish(
                accepted,
                &message("t", "thirty bytes are too many here", 2).id(1),
            );
        }
        for client in clients {
            while let Some(bytes) = world.next_packet(client) {
                assert!(bytes.len() <= limit as usize, "{bytes:?}");
            }
        }
    }
}

#[test]
fn an_expiry_at_disconnect_is_no_mistake_where_the_limit_cut_that_of_connect() {
    let settings = Settings {
        session_expiry_maximum: 0,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = world.join(&hello(V5, "a").durable());
    let expiry = properties_of(
        PropertySet::DISCONNECT,
        &[Property::SessionExpiryInterval(10)],
    );
    let disconnect = Disconnect {
        reason_code: ReasonCode::Success,
        properties: Properties::parse(&expiry, PropertySet::DISCONNECT).unwrap(),
    };
    world.send(client, &Packet::Disconnect(disconnect));
    world.expect_closed(client);
    assert_eq!(world.broker.session_count(), 0);
}
