//! 3.3.1.3 RETAIN and retain handling.

use std::num::NonZeroU16;

use edge::broker::Settings;
use edge::mqtt;
use sync::Table;
use wire::mqtt::property::Property;
use wire::mqtt::{Acknowledgement, Packet, QoS, ReasonCode, RetainHandling, Subscription, decode};
use wire::topic::{TopicFilter, TopicName};

use crate::world::*;

/// [MQTT-3.3.1-5] [MQTT-3.3.1-9]
#[test]
fn retained_message_greets_a_new_subscription() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        world.publish(client, &message("a/b", "1", 1).id(9).retained());
        assert!(world.next_packet(client).is_some());
        world.publish(client, &message("a/b", "2", 0).retained());
        world.publish(client, &message("a", "3", 0).retained());
        world.publish(client, &message("ab", "4", 0).retained());
        world.subscribe(client, "a/#", 1);
        world.expect_publish(client, &message("a", "3", 0).retained());
        world.expect_publish(client, &message("a/b", "2", 0).retained());
        world.expect_nothing(client);
    }
}

/// [MQTT-3.3.1-6] [MQTT-3.3.1-7]
#[test]
fn retained_messages_survive_a_crash_and_an_empty_payload_deletes() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    for topic in ["a", "b"] {
        world.publish(client, &message(topic, "1", 1).id(9).retained());
    }
    world.publish(client, &message("a", "", 1).id(9).retained());
    world.crash(0);
    assert_eq!(
        (world.broker.retained_count(), world.table(Table::Retained)),
        (1, 1)
    );
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "#", 0);
    world.expect_publish(client, &message("b", "1", 0).retained());
    world.expect_nothing(client);
}

/// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
#[test]
fn retain_handling_is_obeyed() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.publish(client, &message("t", "1", 0).retained());
    let filter = |retain_handling| Subscription {
        retain_handling,
        ..Subscription::new(TopicFilter::new("t").unwrap(), qos_of(0))
    };
    for (handling, is_sent) in [
        (RetainHandling::DoNotSend, false),
        (RetainHandling::Send, true),
        (RetainHandling::SendIfNew, false),
        (RetainHandling::Send, true),
    ] {
        world.subscribe_with(client, &[filter(handling)], &[]);
        world.next_suback(client);
        assert_eq!(
            world.next_message(client).is_some(),
            is_sent,
            "{handling:?}"
        );
    }
    world.unsubscribe(client, "t");
    world.next_unsuback(client);
    world.subscribe_with(client, &[filter(RetainHandling::SendIfNew)], &[]);
    world.next_suback(client);
    assert!(world.next_message(client).is_some());
}

#[test]
fn retained_messages_over_the_limit_are_refused() {
    let settings = Settings {
        retained_count_maximum: 1,
        retained_bytes_maximum: 100,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = world.join(&hello(V5, "a"));
    let refused = Packet::Puback(Acknowledgement::with_reason(
        9.try_into().unwrap(),
        ReasonCode::QuotaExceeded,
    ));
    world.publish(client, &message("a", "1", 1).id(9).retained());
    world.next_packet(client);
    world.publish(client, &message("b", "1", 1).id(9).retained());
    world.expect(client, &refused);
    world.publish(client, &message("a", &"x".repeat(80), 1).id(9).retained());
    world.expect(client, &refused);
    world.publish(client, &message("a", "2", 1).id(9).retained());
    world.next_packet(client);
    world.publish(client, &message("a", "", 1).id(9).retained());
    world.next_packet(client);
    world.publish(client, &message("b", "1", 1).id(9).retained());
    world.next_packet(client);
    assert_eq!(world.broker.retained_count(), 1);
}

/// A subscriber used to be greeted with a message whose commit still waited, before an older one
/// of its topic; and kept was also what had been refused. What is retained is what is durable.
#[test]
fn a_retained_message_greets_nobody_before_it_is_durable() {
    let settings = Settings {
        routes: vec!["#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let writer = world.join(&hello(V5, "w"));
    let reader = world.join(&hello(V5, "r"));
    world.commits = Commits::Wait;
    world.publish(writer, &message("t", "1", 1).id(1));
    world.publish(writer, &message("t", "2", 1).id(2).retained());
    world.subscribe(reader, "t", 1);
    world.expect_nothing(reader);
    world.commits = Commits::Succeed;
    world.run();
    for payload in ["1", "2"] {
        assert_eq!(world.next_message(reader).unwrap().payload, payload);
    }
    world.expect_nothing(reader);
    let late = world.join(&hello(V5, "late"));
    world.subscribe(late, "t", 1);
    assert_eq!(world.next_message(late).unwrap().payload, "2");
}

#[test]
fn a_refused_retained_message_is_not_kept_and_a_refused_deletion_deletes_nothing() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.publish(client, &message("a", "1", 0).retained());
    world.commits = Commits::Fail;
    world.publish(client, &message("a", "2", 0).retained());
    world.publish(client, &message("a", "", 0).retained());
    world.publish(client, &message("b", "1", 0).retained());
    world.commits = Commits::Succeed;
    world.subscribe(client, "#", 0);
    world.expect_publish(client, &message("a", "1", 0).retained());
    world.expect_nothing(client);
}

#[test]
fn many_retained_messages_wait_for_the_window_and_for_room() {
    let limits = mqtt::Settings {
        outbound_bytes_maximum: 200,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let writer = world.join(&hello(V5, "w"));
    for number in 100..400 {
        world.publish(writer, &message(&format!("q0/{number}"), "1", 0).retained());
        let topic = format!("q1/{number}");
        world.publish(writer, &message(&topic, "1", 1).id(9).retained());
    }
    let reader = world.join(&hello(V5, "r").window(4));
    world.subscribe(reader, "q1/#", 1);
    for number in 100..400 {
        let found = world.next_message(reader).unwrap();
        assert_eq!(found.topic, format!("q1/{number}"));
        world.puback(reader, found.packet_identifier);
    }
    world.expect_nothing(reader);

    let reader = world.join(&hello(V5, "slow"));
    world.subscribe(reader, "none", 1);
    world.set_reading(reader, false);
    let options = [Subscription::new(
        TopicFilter::new("q0/#").unwrap(),
        qos_of(0),
    )];
    world.subscribe_with(reader, &options, &[]);
    assert!(world.connection(reader).outbound_bytes() < 1000);
    world.set_reading(reader, true);
    world.next_suback(reader);
    for number in 100..400 {
        assert_eq!(
            world.next_message(reader).unwrap().topic,
            format!("q0/{number}")
        );
    }
    assert_eq!(world.connection(reader).dropped_count(), 0);
}

/// A gateway that was killed within a second of a SUBSCRIBE sent retained messages once more that
/// had been exchanged at QoS 2 before, whether as retained messages or as they were published.
/// [MQTT-4.3.3-1]: what was stored as received is not begun again.
#[test]
fn what_came_at_qos_2_does_not_come_again_as_retained_after_a_kill() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_r = hello(version, "r").durable();
        let mut reader = world.join(&hello_r);
        world.subscribe(reader, "#", 2);
        let writer = world.join(&hello(version, "w"));
        world.publish(writer, &message("t", "1", 2).id(9).retained());
        let expected = message("t", "1", 2).id(1);
        world.expect_publish(reader, &expected);
        world.pubrec(reader, 1);
        world.expect_pubrel(reader, 1);
        world.crash(0);
        reader = world.rejoin(&hello_r);
        world.expect_pubrel(reader, 1);
        world.pubcomp(reader, 1);
        world.crash(0);
        reader = world.rejoin(&hello_r);
        world.expect_nothing(reader);
    }
}

/// The same in the middle of many: whatever the client has of an exchange, the gateway goes on with
/// it after a kill, and begins none anew.
#[test]
fn retained_messages_of_qos_2_come_once_each_though_the_gateway_is_killed_at_every_step() {
    let topics = ["a", "b", "c", "d", "e"];
    for window in [1, 2, 5] {
        let mut world = World::new();
        let writer = world.join(&hello(V5, "w"));
        for topic in topics {
            world.publish(writer, &message(topic, "1", 2).id(9).retained());
            world.pubrel(writer, 9);
        }
        let hello_r = hello(V5, "r").durable().window(window);
        let mut reader = world.join(&hello_r);
        world.subscribe(reader, "+", 2);
        let mut client = ExactlyOnce::default();
        while client.completed.len() < topics.len() {
            client.receive(&mut world, reader);
            let packet_identifier = client.open[0].0;
            for step in [World::pubrec, World::pubcomp] {
                world.crash(0);
                reader = world.rejoin(&hello_r);
                client.receive(&mut world, reader);
                step(&mut world, reader, packet_identifier);
                client.open.retain(|(it, _)| *it != packet_identifier);
            }
            client.completed.push(packet_identifier);
        }
        assert_eq!(client.seen, topics, "window {window}");
        world.crash(0);
        let reader = world.rejoin(&hello_r);
        world.expect_nothing(reader);
    }
}

/// A client that knows which exchanges it has begun.
#[derive(Default)]
struct ExactlyOnce {
    seen: Vec<String>,
    /// Packet identifiers and topics of what no PUBREC was sent for.
    open: Vec<(u16, String)>,
    completed: Vec<u16>,
}

impl ExactlyOnce {
    fn receive(&mut self, world: &mut World, reader: ClientId) {
        while let Some(bytes) = world.next_packet(reader) {
            // PUBREL is answered when its turn comes.
            if let Ok(Some((Packet::Publish(publish), _))) = decode(&bytes, V5, u32::MAX) {
                let topic = publish.topic.map_or("", TopicName::as_str).to_owned();
                let exchange = (publish.packet_identifier.map_or(0, NonZeroU16::get), topic);
                if !self.open.contains(&exchange) {
                    assert!(!publish.dup, "{exchange:?} is no repetition");
                    self.seen.push(exchange.1.clone());
                    self.open.push(exchange);
                }
            }
        }
    }
}

#[test]
fn unacknowledged_retained_messages_are_sent_again() {
    for version in [V311, V5] {
        let mut world = World::new();
        let writer = world.join(&hello(version, "w"));
        world.publish(writer, &message("t", "1", 2).id(9).retained());
        let reader = world.join(&hello(version, "r").durable());
        world.subscribe(reader, "t", 1);
        world.expect_publish(reader, &message("t", "1", 1).id(1).retained());
        world.cut(reader);
        let reader = world.rejoin(&hello(version, "r").durable());
        world.expect_publish(reader, &message("t", "1", 1).id(1).retained().again());
        world.crash(0);
        let reader = world.rejoin(&hello(version, "r").durable());
        world.expect_publish(reader, &message("t", "1", 1).id(1).retained());
        world.puback(reader, 1);
        world.pass(2);
        world.crash(0);
        let reader = world.rejoin(&hello(version, "r").durable());
        world.expect_nothing(reader);
    }
}

#[test]
fn expired_retained_messages_are_not_sent() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    let expiry = [Property::MessageExpiryInterval(5)];
    world.publish(client, &message("t", "1", 0).retained().with(&expiry));
    world.pass(5);
    world.subscribe(client, "t", 0);
    world.expect_nothing(client);
}

/// Messages whose time was over kept their places for ever, and new ones were refused.
#[test]
fn expired_retained_messages_make_room() {
    let settings = Settings {
        retained_count_maximum: 3,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = world.join(&hello(V5, "a"));
    let expiry = [Property::MessageExpiryInterval(5)];
    for topic in ["a", "b"] {
        world.publish(client, &message(topic, "1", 0).retained().with(&expiry));
    }
    world.publish(client, &message("c", "1", 0).retained());
    world.publish(client, &message("d", "1", 0).retained());
    assert_eq!(world.broker.retained_count(), 3);
    world.pass(5);
    world.publish(client, &message("d", "1", 0).retained());
    assert_eq!(world.broker.retained_count(), 2);
    assert_eq!(world.table(Table::Retained), 2);
    world.crash(0);
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "#", 0);
    for topic in ["c", "d"] {
        world.expect_publish(client, &message(topic, "1", 0).retained());
    }
}

#[test]
fn a_new_message_on_its_way_is_not_forgotten_with_the_expired_one() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    let expiry = [Property::MessageExpiryInterval(5)];
    world.publish(client, &message("a", "old", 0).retained().with(&expiry));
    world.pass(5);
    world.commits = Commits::Wait;
    world.publish(client, &message("a", "new", 0).retained());
    world.publish(client, &message("b", "1", 0).retained());
    world.commits = Commits::Succeed;
    world.run();
    world.crash(0);
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "a", 0);
    world.expect_publish(client, &message("a", "new", 0).retained());
}

/// Retained messages that came while the subscriber was away, or before its greeting had begun, came
/// twice: as retained messages and through the log.
#[test]
fn what_is_retained_after_the_subscription_comes_once_however_late_the_greeting_begins() {
    for is_killed in [false, true] {
        let mut world = World::new();
        let writer = world.join(&hello(V5, "w").durable());
        world.publish(writer, &message("t/before", "1", 2).id(9).retained());
        let reader = world.join(&hello(V5, "r").durable());
        world.commits = Commits::Wait;
        let options = Subscription::new(TopicFilter::new("t/#").unwrap(), QoS::ExactlyOnce);
        world.subscribe_with(reader, &[options], &[]);
        // It is on its way into the log when the subscription begins.
        world.pass(1);
        world.publish(writer, &message("t/during", "2", 2).id(10).retained());
        world.cut(reader);
        world.commits = Commits::Succeed;
        world.finish_commits(2);
        world.run();
        world.publish(writer, &message("t/after", "3", 2).id(11).retained());
        if is_killed {
            world.crash(0);
        }
        let reader = world.rejoin(&hello(V5, "r").durable());
        let mut seen = ExactlyOnce::default();
        for _ in 0..4 {
            seen.receive(&mut world, reader);
            for (identifier, _) in std::mem::take(&mut seen.open) {
                world.pubrec(reader, identifier);
                world.pubcomp(reader, identifier);
            }
        }
        seen.seen.sort();
        assert_eq!(
            seen.seen,
            ["t/after", "t/before", "t/during"],
            "{is_killed}"
        );
    }
}
