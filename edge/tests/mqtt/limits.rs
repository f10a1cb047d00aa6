//! Each limit, with the reason code that a client of MQTT 5 is told, and what happens before 5.

use std::rc::Rc;
use std::time::Duration;

use edge::broker::{ConnectionId, ListenerId, Settings};
use edge::mqtt::{self, Connection};
use sync::Now;
use wire::mqtt::property::{Properties, Property};
use wire::mqtt::{
    Acknowledgement, Connack, Connect, Packet, ReasonCode, Subscription, Version, decode,
};
use wire::topic::TopicFilter;

use crate::world::*;

fn answer(packet_identifier: u16, reason_code: ReasonCode) -> Acknowledgement<'static> {
    Acknowledgement::with_reason(packet_identifier.try_into().unwrap(), reason_code)
}

fn refusal(reason_code: ReasonCode) -> Packet<'static> {
    Packet::Connack(Connack {
        session_present: false,
        reason_code,
        properties: Properties::EMPTY,
    })
}

fn small() -> mqtt::Settings {
    mqtt::Settings {
        topic_bytes_maximum: 10,
        topic_level_maximum: 3,
        filter_count_maximum: 2,
        ..mqtt::Settings::default()
    }
}

fn filter(text: &str) -> Subscription<'_> {
    Subscription::new(TopicFilter::new(text).unwrap(), qos_of(0))
}

const LONG: &str = "a/567890123";
const DEEP: &str = "a/b/c/d";
const AT_THE_LIMIT: [&str; 2] = ["a/34567890", "a/b/c"];

#[test]
fn a_topic_over_its_limit_is_answered_0x90_and_goes_nowhere() {
    let mut world = World::with(Settings::default(), small());
    let reader = world.join(&hello(V5, "reader"));
    world.subscribe(reader, "#", 0);
    let client = world.join(&hello(V5, "client"));
    for topic in [LONG, DEEP] {
        world.publish(client, &message(topic, "x", 1).id(1));
        let invalid = ReasonCode::TopicNameInvalid;
        world.expect(client, &Packet::Puback(answer(1, invalid)));
        world.publish(client, &message(topic, "x", 2).id(2));
        world.expect(client, &Packet::Pubrec(answer(2, invalid)));
        // The exchange is over: a release finds nothing.
        world.pubrel(client, 2);
        let unknown = ReasonCode::PacketIdentifierNotFound;
        world.expect(client, &Packet::Pubcomp(answer(2, unknown)));
    }
    world.expect_nothing(reader);
    for topic in AT_THE_LIMIT {
        world.publish(client, &message(topic, "x", 1).id(3));
        world.expect_puback(client, 3);
        world.expect_publish(reader, &message(topic, "x", 0));
    }
}

#[test]
fn a_topic_over_its_limit_ends_the_connection_where_nothing_answers_it() {
    let mut world = World::with(Settings::default(), small());
    for (version, qos) in [(V5, 0), (V311, 0), (V311, 1), (V311, 2)] {
        let client = world.join(&hello(version, "client"));
        world.publish(client, &message(DEEP, "x", qos).id(u16::from(qos > 0)));
        world.expect_disconnect(client, ReasonCode::TopicNameInvalid);
    }
}

#[test]
fn a_topic_over_its_limit_is_refused_by_its_alias_as_well() {
    let mut world = World::with(Settings::default(), small());
    let client = world.join(&hello(V5, "client"));
    let alias = [Property::TopicAlias(1.try_into().unwrap())];
    for (topic, number) in [(LONG, 1), ("", 2)] {
        world.publish(client, &message(topic, "x", 1).id(number).with(&alias));
        let refused = answer(number, ReasonCode::TopicNameInvalid);
        world.expect(client, &Packet::Puback(refused));
    }
}

#[test]
fn a_will_on_a_topic_over_its_limit_is_refused_with_its_client() {
    let mut world = World::with(Settings::default(), small());
    let client = world.say_hello(&hello(V5, "client").will(LONG, 0));
    world.expect(client, &refusal(ReasonCode::TopicNameInvalid));
    world.expect_closed(client);
    let client = world.say_hello(&hello(V311, "client").will(LONG, 0));
    world.expect_closed(client);
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn a_filter_over_its_limits_is_answered_0x97_and_the_others_are_granted() {
    let settings = Settings {
        filter_bytes_maximum: 10,
        filter_level_maximum: 3,
        ..Settings::default()
    };
    for (version, code) in [
        (V5, ReasonCode::QuotaExceeded),
        (V311, ReasonCode::UnspecifiedError),
    ] {
        let mut world = World::with(settings.clone(), mqtt::Settings::default());
        let client = world.join(&hello(version, "client"));
        let filters = [LONG, "+/+/+/+", "+/+/#", "34567890/#"].map(filter);
        world.subscribe_with(client, &filters, &[]);
        let granted = ReasonCode::Success;
        assert_eq!(world.next_suback(client), [code, code, granted, granted]);
    }
}

/// A packet of 1 MB holds a quarter of a million filters, which took 25 MB to take apart.
#[test]
fn more_filters_in_a_packet_than_are_allowed_end_the_connection() {
    let mut world = World::with(Settings::default(), small());
    for version in [V5, V311] {
        let client = world.join(&hello(version, "client"));
        world.subscribe_with(client, &["a", "b"].map(filter), &[]);
        assert_eq!(world.next_suback(client).len(), 2);
        world.subscribe_with(client, &["a", "b", "a"].map(filter), &[]);
        world.expect_disconnect(client, ReasonCode::QuotaExceeded);
    }
}

/// An alias stands for 65,535 bytes at most, and lasts as long as its connection.
#[test]
fn topics_with_an_alias_count_as_memory() {
    let limits = mqtt::Settings {
        topic_bytes_maximum: 65_535,
        inbound_total_bytes_maximum: 112_000,
        ..mqtt::Settings::default()
    };
    let memory = limits.memory.clone();
    let mut world = World::with(Settings::default(), limits);
    let mut ended = 0;
    for number in 0..3u16 {
        let id = format!("c{number}");
        let client = world.join(&hello(V5, id));
        let topic = "x".repeat(50_000);
        let alias = [Property::TopicAlias(1.try_into().unwrap())];
        world.publish(client, &message(&topic, "", 0).with(&alias));
        if world.is_closed(client) {
            world.expect_disconnect(client, ReasonCode::QuotaExceeded);
            ended += 1;
        }
    }
    assert_eq!(ended, 1);
    assert!(memory.inbound_bytes() >= 100_000);
    drop(world);
    assert_eq!(memory.inbound_bytes(), 0);
}

#[test]
fn a_client_over_its_rate_is_held_up_and_loses_nothing() {
    for version in [V5, V311] {
        let limits = mqtt::Settings {
            publishes_per_second: 2,
            publish_burst: 3,
            ..mqtt::Settings::default()
        };
        let mut world = World::with(Settings::default(), limits);
        let reader = world.join(&hello(V5, "reader"));
        world.subscribe(reader, "t", 0);
        let client = world.join(&hello(version, "client").keep_alive(2));
        for number in 1..=10u16 {
            world.publish(client, &message("t", &number.to_string(), 1).id(number));
        }
        world.send(client, &Packet::Pingreq);
        for number in 1..=3 {
            world.expect_puback(client, number);
        }
        world.expect_nothing(client);
        assert!(!world.connection(client).wants_more());
        for second in 0..3 {
            world.pass(1);
            for number in 0..2 {
                world.expect_puback(client, 4 + second * 2 + number);
            }
            world.expect_nothing(client);
        }
        // Its silence, which was ours, did not end it, and the rest comes.
        world.pass(1);
        world.expect(client, &Packet::Pingresp);
        world.expect_puback(client, 10);
        assert!(world.connection(client).wants_more());
        for number in 1..=10u16 {
            world.expect_publish(reader, &message("t", &number.to_string(), 0));
        }
    }
}

#[test]
fn a_client_without_a_place_hears_why() {
    let now = World::new().now;
    for (version, expected) in [(V5, 0x97), (V311, 3), (Version::V31, 3)] {
        let mut connection = turned_away(now);
        let connect = Packet::Connect(Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_identifier: "client",
            will: None,
            user_name: None,
            password: None,
        });
        let bytes = encode(version, &connect);
        connection.handle_bytes(now, &bytes[..5]);
        assert!(connection.wants_more());
        connection.handle_bytes(now, &bytes[5..]);
        assert!(connection.is_closed());
        let answer = connection.take_outbound(Vec::new());
        assert_eq!(answer[3], expected);
        assert!(matches!(
            decode(&answer, version, u32::MAX),
            Ok(Some((Packet::Connack(_), _)))
        ));
        assert!(connection.poll().is_none(), "the broker hears nothing");
    }
}

#[test]
fn a_client_without_a_place_has_a_second_to_say_hello() {
    let mut now = World::new().now;
    let mut connection = turned_away(now);
    now.instant = now.instant + Duration::from_secs(1);
    connection.handle_timeout(now);
    assert!(connection.is_closed());
    assert_eq!(connection.outbound_bytes(), 0);
}

fn turned_away(now: Now) -> Connection {
    let id = ConnectionId {
        index: 0,
        generation: 0,
    };
    let settings = Rc::new(mqtt::Settings::default());
    let mut connection = Connection::new(id, settings, ListenerId::default(), now);
    connection.handle_no_place(now);
    connection
}

/// A client that talked too much before its CONNACK was closed without a word to the broker, which
/// kept its session as a connected one for ever: some thousands of them, and nobody else got one.
#[test]
fn a_client_that_goes_before_its_connack_leaves_a_session_that_ends() {
    for is_rude in [false, true] {
        let limits = mqtt::Settings {
            packet_bytes_maximum: 700,
            ..mqtt::Settings::default()
        };
        let mut world = World::with(Settings::default(), limits);
        world.commits = Commits::Wait;
        let client = world.say_hello(&hello(V5, "a").durable());
        if is_rude {
            world.send_bytes(client, &[0x30; 800]);
            assert!(world.is_closed(client));
        } else {
            world.cut(client);
        }
        world.commits = Commits::Succeed;
        world.run();
        world.cut(client);
        world.pass(3_700);
        assert_eq!(world.broker.session_count(), 0, "rude: {is_rude}");
    }
}
