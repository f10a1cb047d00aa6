//! 3.3.2.3.4 topic aliases, both ways.

use std::num::NonZeroU16;

use edge::broker::Settings;
use edge::mqtt::{self, PeerError};
use wire::mqtt::ReasonCode;
use wire::mqtt::property::Property;

use crate::world::*;

fn alias(number: u16) -> [Property<'static>; 1] {
    [Property::TopicAlias(NonZeroU16::new(number).unwrap())]
}

/// A client that takes so many aliases.
fn taking(id: &'static str, limit: u16) -> Hello {
    hello(V5, id).with(&[Property::TopicAliasMaximum(limit)])
}

/// A reader of everything, and a writer.
fn reader_and_writer(world: &mut World, hello_r: &Hello) -> (ClientId, ClientId) {
    let (reader, _) = world.connect(hello_r);
    world.subscribe(reader, "#", 1);
    let writer = world.join(&hello(V5, "w"));
    (reader, writer)
}

/// [MQTT-3.3.2-12]
#[test]
fn every_alias_up_to_the_maximum_is_accepted() {
    let mut world = World::new();
    let client = world.open(V5);
    world.send_bytes(client, b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01a");
    let maximum = world.look_at_connack(client, |it| it.properties.topic_alias_maximum());
    let maximum = maximum.unwrap();
    assert_eq!(maximum, 16);
    world.subscribe(client, "#", 0);
    for number in (1..=maximum).rev() {
        let topic = format!("t/{number}");
        world.publish(client, &message(&topic, "1", 0).with(&alias(number)));
        world.expect_publish(client, &message(&topic, "1", 0));
    }
    for number in 1..=maximum {
        world.publish(client, &message("", "2", 0).with(&alias(number)));
        world.expect_publish(client, &message(&format!("t/{number}"), "2", 0));
    }
}

/// [MQTT-3.2.2-18] [MQTT-3.3.2-9]: a server that takes none says so by saying nothing.
#[test]
fn no_alias_is_accepted_where_none_was_offered() {
    let limits = mqtt::Settings {
        topic_alias_maximum: 0,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let client = world.say_hello(&hello(V5, "a"));
    let maximum = world.look_at_connack(client, |it| it.properties.topic_alias_maximum());
    assert_eq!(maximum, None);
    world.publish(client, &message("t", "1", 0).with(&alias(1)));
    world.expect_disconnect(client, ReasonCode::TopicAliasInvalid);
}

/// [MQTT-3.3.2-7]: also where the session goes on.
#[test]
fn aliases_end_with_their_connection() {
    let mut world = World::new();
    let hello_a = taking("a", 5).durable();
    let (client, writer) = reader_and_writer(&mut world, &hello_a);
    world.publish(client, &message("topic", "1", 0).with(&alias(1)));
    world.next_message(client);
    for _ in 0..2 {
        world.publish(writer, &message("topic", "2", 0));
        world.next_message(client);
    }
    world.cut(client);
    let client = world.rejoin(&hello_a);
    // Ours begin anew, by the name.
    world.publish(writer, &message("topic", "3", 0));
    assert_eq!(world.next_message(client).unwrap().topic, "topic");
    // So do the client's.
    world.publish(client, &message("", "4", 0).with(&alias(1)));
    world.expect_disconnect(client, ReasonCode::ProtocolError);
}

/// A message of QoS 2 that was sent again brought its alias in vain: the next one with the alias
/// closed the connection.
#[test]
fn an_alias_that_a_repeat_brings_counts() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = world.join(&hello_a);
    world.publish(client, &message("topic", "1", 2).id(7));
    world.next_packet(client);
    world.cut(client);
    let client = world.rejoin(&hello_a);
    let again = message("topic", "1", 2).id(7).again().with(&alias(1));
    world.publish(client, &again);
    world.expect_pubrec(client, 7);
    world.subscribe(client, "topic", 0);
    world.publish(client, &message("", "2", 0).with(&alias(1)));
    world.expect_publish(client, &message("topic", "2", 0));
}

/// [MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-8]
#[test]
fn topics_that_come_again_get_aliases_up_to_the_maximum_of_the_client() {
    let mut world = World::new();
    let (reader, writer) = reader_and_writer(&mut world, &taking("r", 2));
    let topics = ["one/topic", "another/topic", "third/topic"];
    let mut known: Vec<&str> = Vec::new();
    for round in 0..10 {
        for topic in topics {
            world.publish(writer, &message(topic, "1", 0));
            let found = world.next_message(reader).unwrap();
            let number = match found.properties.as_slice() {
                [] => 0,
                [0x23, high, low] => u16::from_be_bytes([*high, *low]),
                other => panic!("{other:?}"),
            };
            let place = usize::from(number);
            match (number, found.topic.as_str()) {
                (0, name) => assert_eq!(name, topic),
                (1..=2, "") => assert_eq!(known[place - 1], topic),
                (1..=2, name) => {
                    assert_eq!((name, place), (topic, known.len() + 1));
                    known.push(topic);
                }
                other => panic!("{other:?}"),
            }
            assert!(round < 2 || number > 0 || topic == topics[2]);
        }
    }
    assert_eq!(known, &topics[..2]);
}

/// [MQTT-3.1.2-27]
#[test]
fn a_client_that_takes_no_alias_gets_none() {
    for hello_r in [hello(V5, "r"), taking("r", 0), hello(V311, "r")] {
        let mut world = World::new();
        let (reader, writer) = reader_and_writer(&mut world, &hello_r);
        for _ in 0..5 {
            world.publish(writer, &message("a/long/topic", "1", 0));
            world.expect_publish(reader, &message("a/long/topic", "1", 0));
        }
    }
}

/// What stands behind an alias must have arrived: the first message with one may be dropped.
#[test]
fn an_alias_counts_only_when_its_message_left() {
    let limits = mqtt::Settings {
        outbound_bytes_maximum: 100,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let (reader, writer) = reader_and_writer(&mut world, &taking("r", 2));
    world.publish(writer, &message("a/topic", "1", 0));
    world.expect_publish(reader, &message("a/topic", "1", 0));
    world.set_reading(reader, false);
    let filler = "x".repeat(120);
    world.publish(writer, &message("b", &filler, 0));
    world.publish(writer, &message("a/topic", "dropped", 0));
    world.set_reading(reader, true);
    world.expect_publish(reader, &message("b", &filler, 0));
    world.publish(writer, &message("a/topic", "2", 0));
    world.expect_publish(reader, &message("a/topic", "2", 0).with(&alias(1)));
    world.publish(writer, &message("a/topic", "3", 0));
    world.expect_publish(reader, &message("", "3", 0).with(&alias(1)));
}

#[test]
fn a_new_alias_is_left_out_where_it_would_make_the_packet_too_large() {
    let mut world = World::new();
    let size = [Property::MaximumPacketSize(40.try_into().unwrap())];
    let (reader, writer) = reader_and_writer(&mut world, &taking("r", 2).with(&size));
    // 40 bytes without the alias.
    let full = message("a/topic", &"x".repeat(28), 0);
    for _ in 0..3 {
        world.publish(writer, &full);
        world.expect_publish(reader, &full);
    }
    let less = message("a/topic", &"x".repeat(25), 0);
    world.publish(writer, &less);
    world.expect_publish(reader, &less.clone().with(&alias(1)));
    assert_eq!(world.connection(reader).dropped_count(), 0);
}

#[test]
fn aliases_are_given_as_far_as_memory_goes() {
    let limits = mqtt::Settings {
        outbound_alias_bytes_maximum: 1_000,
        ..mqtt::Settings::default()
    };
    let memory = limits.memory.clone();
    let mut world = World::with(Settings::default(), limits);
    let hellos: Vec<_> = ["r0", "r1", "r2", "r3", "r4", "r5"]
        .map(|id| taking(id, 16))
        .into();
    let readers: Vec<_> = hellos.iter().map(|it| world.join(it)).collect();
    for reader in &readers {
        world.subscribe(*reader, "#", 0);
    }
    let writer = world.join(&hello(V5, "w"));
    let topics: Vec<String> = (0..20)
        .map(|at| format!("{at}/{}", "x".repeat(50)))
        .collect();
    for topic in topics.iter().cycle().take(60) {
        world.publish(writer, &message(topic, "1", 0));
        assert!(memory.alias_bytes() < 1_500, "{}", memory.alias_bytes());
    }
    let mut with_alias = 0;
    for reader in readers {
        while let Some(found) = world.next_message(reader) {
            with_alias += usize::from(!found.properties.is_empty());
        }
        world.cut(reader);
    }
    assert!(with_alias > 0);
    assert_eq!(memory.alias_bytes(), 0);
}

/// Sixteen aliases for topics of 64 KiB were a megabyte a connection that nobody counted.
#[test]
fn topics_behind_the_aliases_of_clients_are_counted_and_bounded() {
    let limits = mqtt::Settings {
        inbound_total_bytes_maximum: 23_000,
        ..mqtt::Settings::default()
    };
    let memory = limits.memory.clone();
    let mut world = World::with(Settings::default(), limits);
    let modest = world.join(&hello(V5, "modest"));
    for number in 1..=16 {
        let topic = "m".repeat(100 + usize::from(number));
        world.publish(modest, &message(&topic, "1", 0).with(&alias(number)));
    }
    let greedy = world.join(&hello(V5, "greedy"));
    let large = "g".repeat(1_000);
    let mut given = 0;
    while !world.is_closed(greedy) {
        given += 1;
        world.publish(greedy, &message(&large, "1", 0).with(&alias(given)));
        assert!(memory.inbound_bytes() < 20_000);
    }
    // Up to there it is no matter how many.
    assert!((12..16).contains(&given), "{given}");
    world.expect_disconnect(greedy, ReasonCode::QuotaExceeded);
    let error = world.connection(greedy).peer_error();
    assert_eq!(error, Some(&PeerError::Memory));
    world.cut(greedy);
    assert!(memory.inbound_bytes() < 10_000);
    world.publish(modest, &message("", "2", 0).with(&alias(16)));
    assert!(!world.is_closed(modest));
}
