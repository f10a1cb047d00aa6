//! MQTT 3.1.1, and 3.1, where they differ from 5. Statements of 3.1.1 are named `[MQTT311-...]`:
//! those of 5 have other numbers.

use edge::broker::Settings;
use edge::mqtt;
use sync::Table;
use wire::mqtt::Version::V31;
use wire::mqtt::property::Properties;
use wire::mqtt::{Packet, ReasonCode, Subscription};
use wire::topic::TopicFilter;

use crate::world::*;

fn filter(text: &str, qos: u8) -> Subscription<'_> {
    Subscription::new(TopicFilter::new(text).unwrap(), qos_of(qos))
}

/// [MQTT311-3.1.3-7] and [MQTT311-3.1.3-8]; in 3.1 a client identifier has at least one character.
#[test]
fn an_empty_client_identifier_is_refused_where_the_session_is_to_stay() {
    for (version, clean, code) in [
        (V31, true, 2),
        (V31, false, 2),
        (V311, true, 0),
        (V311, false, 2),
    ] {
        let mut world = World::new();
        let greeting = Hello {
            clean,
            ..hello(version, "")
        };
        let client = world.say_hello(&greeting);
        world.expect_bytes(client, &[0x20, 2, 0, code]);
        assert_eq!(world.is_closed(client), code > 0);
        assert_eq!(world.broker.session_count(), usize::from(code == 0));
    }
}

/// 3.1 allows 23 characters at most; longer ones do no harm, and clients of 3.1 have them.
#[test]
fn a_long_client_identifier_of_3_1_is_accepted() {
    let mut world = World::new();
    let client = world.say_hello(&hello(V31, "a-client-identifier-of-31-bytes"));
    world.expect_bytes(client, &[0x20, 2, 0, 0]);
}

/// [MQTT311-3.1.2-4] to [MQTT311-3.1.2-6]: a clean session ends with its connection.
#[test]
fn a_clean_session_ends_with_its_connection() {
    for version in [V31, V311] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        world.subscribe(client, "t", 1);
        world.cut(client);
        assert_eq!(world.broker.session_count(), 0);
        let client = world.join(&hello(version, "a").durable());
        world.subscribe(client, "t", 1);
        world.disconnect(client);
        // It never expires.
        world.pass(100_000);
        world.crash(0);
        assert_eq!(world.broker.session_count(), 1);
        let client = world.say_hello(&hello(version, "a").durable());
        world.expect_bytes(client, &[0x20, 2, u8::from(version == V311), 0]);
    }
}

/// [MQTT311-3.1.2-1], [MQTT311-3.1.2-2]
#[test]
fn an_unknown_level_is_refused_with_1() {
    for level in [0, 1, 2, 3] {
        let mut world = World::new();
        let client = world.open(V311);
        let bytes = [
            b"\x10\x0D\0\x04MQTT",
            [level].as_slice(),
            b"\x02\0\0\0\x01a",
        ]
        .concat();
        world.send_bytes(client, &bytes);
        world.expect_bytes(client, &[0x20, 2, 0, 1]);
        world.expect_closed(client);
    }
}

/// [MQTT311-3.1.2-22]: a password needs a user name. In MQTT 5 it does not.
#[test]
fn a_password_without_a_user_name_is_no_connect() {
    let mut world = World::new();
    let client = world.open(V311);
    world.send_bytes(client, b"\x10\x10\0\x04MQTT\x04\x42\0\0\0\x01a\0\x01p");
    world.expect_closed(client);
    let client = world.open(V5);
    world.send_bytes(client, b"\x10\x11\0\x04MQTT\x05\x42\0\0\0\0\x01a\0\x01p");
    let code = world.look_at_connack(client, |it| it.reason_code);
    assert_eq!(code, ReasonCode::Success);
}

/// [MQTT311-3.1.0-2] and [MQTT311-3.1.4-2]: both just close.
#[test]
fn a_second_connect_and_a_take_over_close_in_silence() {
    for version in [V31, V311] {
        let mut world = World::new();
        let first = world.join(&hello(version, "a"));
        let second = world.join(&hello(version, "a"));
        world.expect_closed(first);
        assert!(!world.is_closed(second));
        let connect = wire::mqtt::Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_identifier: "a",
            will: None,
            user_name: None,
            password: None,
        };
        world.send(second, &Packet::Connect(connect));
        world.expect_closed(second);
    }
}

/// [MQTT311-3.8.4-5], [MQTT311-3.9.3-2]: each filter has its own code, 0x80 for a failure. 3.1 has
/// no word for it, and must be told something.
#[test]
fn a_refused_filter_is_80_in_3_1_1_and_granted_nothing_in_3_1() {
    for (version, code) in [(V31, 0), (V311, 0x80)] {
        let settings = Settings {
            filter_level_maximum: 2,
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let client = world.join(&hello(version, "a"));
        world.subscribe_with(
            client,
            &[filter("a", 2), filter("a/b/c", 1), filter("b", 1)],
            &[],
        );
        world.expect_bytes(client, &[0x90, 5, 0, 77, 2, code, 1]);
        world.publish(client, &message("a/b/c", "1", 0));
        world.expect_nothing(client);
    }
}

/// [MQTT311-3.10.4-4], [MQTT311-3.10.4-5]: UNSUBACK says nothing but its packet identifier.
#[test]
fn unsuback_has_no_codes() {
    for version in [V31, V311] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        world.subscribe(client, "t", 1);
        for _ in 0..2 {
            world.unsubscribe(client, "t");
            world.expect_bytes(client, &[0xB0, 2, 0, 78]);
        }
    }
}

/// [MQTT311-3.3.1-8], [MQTT311-3.3.1-9], [MQTT311-3.8.4-3]: retained messages come with every
/// SUBSCRIBE and are marked; later ones are not.
#[test]
fn every_subscribe_brings_the_retained_messages() {
    for version in [V31, V311] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        world.publish(client, &message("t", "1", 0).retained());
        for _ in 0..2 {
            world.subscribe(client, "t", 0);
            world.expect_publish(client, &message("t", "1", 0).retained());
        }
        world.publish(client, &message("t", "2", 0).retained());
        world.expect_publish(client, &message("t", "2", 0));
    }
}

/// [MQTT311-3.3.5-2]: what can't be kept is not acknowledged, and the connection ends.
#[test]
fn a_message_that_can_not_be_kept_ends_the_connection() {
    for version in [V31, V311] {
        for qos in 1..=2 {
            let settings = Settings {
                routes: vec!["#".into()],
                ..Settings::default()
            };
            let mut world = World::with(settings, mqtt::Settings::default());
            let watcher = world.join(&hello(V5, "watcher"));
            world.subscribe(watcher, "will", 0);
            let client = world.join(&hello(version, "a").will("will", 0));
            world.commits = Commits::Fail;
            world.publish(client, &message("t", "1", qos).id(1));
            world.expect_closed(client);
            world.commits = Commits::Succeed;
            world.pass(2);
            world.expect_publish(watcher, &message("will", "gone", 0));
        }
    }
}

/// MQTT 3.1 sets DUP on a PUBREL, a SUBSCRIBE or an UNSUBSCRIBE that it sends again.
#[test]
fn repeated_requests_of_3_1_are_marked() {
    let mut world = World::new();
    let client = world.join(&hello(V31, "a").durable());
    world.send_bytes(client, b"\x8A\x06\0\x01\0\x01t\x02");
    world.expect_bytes(client, b"\x90\x03\0\x01\x02");
    world.publish(client, &message("u", "1", 2).id(7));
    world.expect_pubrec(client, 7);
    world.send_bytes(client, b"\x6A\x02\0\x07");
    world.expect_pubcomp(client, 7);
    world.send_bytes(client, b"\xAA\x05\0\x02\0\x01t");
    world.expect_bytes(client, b"\xB0\x02\0\x02");
    assert_eq!(world.table(Table::Handshakes), 0);
}

/// What only MQTT 5 has never reaches the others, and what they send is complete for it.
#[test]
fn versions_talk_to_each_other() {
    let mut world = World::new();
    let old = world.join(&hello(V31, "31"));
    let middle = world.join(&hello(V311, "311"));
    let new = world.join(&hello(V5, "5"));
    for client in [old, middle, new] {
        world.subscribe(client, "t", 1);
    }
    for (at, writer) in [old, middle, new].into_iter().enumerate() {
        let id = u16::try_from(at + 1).unwrap();
        world.publish(writer, &message("t", "x", 1).id(id));
        for reader in [old, middle, new] {
            world.expect_publish(reader, &message("t", "x", 1).id(id));
        }
        world.expect_puback(writer, id);
    }
}
