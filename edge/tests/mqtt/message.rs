//! 3.3.1 and 3.3.2 what of a message arrives at its subscribers: flags, properties, what is left of
//! its time.

use edge::broker::Settings;
use edge::mqtt;
use sync::{Lane, Table};
use wire::mqtt::property::{Property, SubscriptionIdentifier, UserProperty};
use wire::mqtt::{ReasonCode, Subscription};
use wire::topic::{TopicFilter, TopicName};

use crate::world::*;

fn user<'a>(name: &'a str, value: &'a str) -> Property<'a> {
    Property::UserProperty(UserProperty { name, value })
}

/// Everything that belongs to a message, in an order that nobody would choose.
fn everything() -> [Property<'static>; 8] {
    [
        user("z", "1"),
        Property::CorrelationData(b"\0\xFF\x80"),
        Property::ContentType("text/plain; \u{e9}"),
        user("a", "2"),
        Property::PayloadFormatIndicator(true),
        Property::ResponseTopic(TopicName::new("answers/here").unwrap()),
        user("z", "1"),
        user("", ""),
    ]
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
/// [MQTT-3.1.3-10]
#[test]
fn properties_arrive_unaltered_and_in_order_whatever_way_the_message_takes() {
    let mut world = World::new();
    let hello_d = hello(V5, "durable").durable();
    let durable = world.join(&hello_d);
    world.subscribe(durable, "t", 1);
    world.disconnect(durable);
    let live = world.join(&hello(V5, "live"));
    world.subscribe(live, "#", 2);
    let writer = world.join(&hello(V5, "w"));
    for qos in 0..=2 {
        let sent = message("t", "x", qos)
            .id(u16::from(qos))
            .with(&everything());
        world.publish(writer, &sent);
        let found = world.next_message(live).unwrap();
        assert_eq!((found.qos, &found.properties), (qos, &sent.properties));
    }
    // From the log, before and after a restart.
    for is_crashed in [false, true] {
        if is_crashed {
            world.crash(0);
        }
        let durable = world.rejoin(&hello_d);
        for _ in 0..2 {
            let found = world.next_message(durable).unwrap();
            assert_eq!(
                found.properties,
                message("", "", 0).with(&everything()).properties
            );
        }
        world.cut(durable);
    }
    // Kept for later, and from a will.
    let writer = world.join(&hello(V5, "w"));
    world.publish(
        writer,
        &message("kept", "x", 0).retained().with(&everything()),
    );
    world.crash(0);
    let late = world.join(&hello(V5, "late"));
    world.subscribe(late, "kept", 0);
    world.expect_publish(
        late,
        &message("kept", "x", 0).retained().with(&everything()),
    );
    let mut mortal = hello(V5, "mortal").will("will", 0);
    if let Some(will) = &mut mortal.will {
        will.properties = message("", "", 0).with(&everything()).properties;
    }
    let client = world.join(&mortal);
    world.subscribe(late, "will", 1);
    world.cut(client);
    world.expect_publish(late, &message("will", "gone", 1).id(1).with(&everything()));
}

/// 3.3.2.3.2: whether a payload is the text that it says it is, is for its receivers to check.
#[test]
fn a_payload_that_is_no_text_is_passed_on_all_the_same() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "t", 0);
    world.send_bytes(client, b"\x30\x08\0\x01t\x02\x01\x01\xFF\xFE");
    world.expect_bytes(client, b"\x30\x08\0\x01t\x02\x01\x01\xFF\xFE");
}

/// [MQTT-3.3.2-6] [MQTT-3.3.2-5]
#[test]
fn a_message_goes_on_ageing_while_the_power_is_off() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    for (id, expiry) in [(1, 10), (2, 5), (3, 100)] {
        let expiry = [Property::MessageExpiryInterval(expiry)];
        let sent = message("t", &id.to_string(), 1).id(id).with(&expiry);
        world.publish(writer, &sent);
        world.publish(
            writer,
            &Message {
                topic: "kept".into(),
                retain: true,
                ..sent
            },
        );
    }
    world.pass(2);
    world.crash(0);
    // Only the wall clock goes on.
    world.now.wall.0 += 4_000;
    let reader = world.rejoin(&hello_r);
    let left = |seconds| [Property::MessageExpiryInterval(seconds)];
    world.expect_publish(reader, &message("t", "1", 1).id(1).with(&left(4)));
    world.expect_publish(reader, &message("t", "3", 1).id(2).with(&left(94)));
    world.subscribe(reader, "kept", 1);
    let found = world.next_message(reader).unwrap();
    assert_eq!(
        found.properties,
        message("", "", 0).with(&left(94)).properties
    );
    world.expect_nothing(reader);
}

/// A message that was stored only after its time was over was delivered with nothing left of it.
/// [MQTT-3.3.2-5]
#[test]
fn a_message_that_expired_on_its_way_into_the_log_is_not_delivered() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    world.commits = Commits::Wait;
    let expiry = |seconds| [Property::MessageExpiryInterval(seconds)];
    world.publish(writer, &message("t", "late", 1).id(1).with(&expiry(2)));
    world.publish(writer, &message("t", "in time", 1).id(2).with(&expiry(9)));
    world.pass(3);
    world.commits = Commits::Succeed;
    world.run();
    // It was taken, so it is acknowledged.
    world.expect_puback(writer, 1);
    world.expect_puback(writer, 2);
    world.expect_publish(reader, &message("t", "in time", 1).id(1).with(&expiry(6)));
    world.expect_nothing(reader);
    assert_eq!(world.log_len(Lane::Normal), 2);
}

#[test]
fn an_expiry_of_nothing_is_for_those_who_are_there() {
    let mut world = World::new();
    let expiry = [Property::MessageExpiryInterval(0)];
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 1).id(1).with(&expiry));
    world.expect_publish(reader, &message("t", "1", 1).id(1).with(&expiry));
    world.puback(reader, 1);
    world.cut(reader);
    world.publish(writer, &message("t", "2", 1).id(2).with(&expiry));
    world.pass(1);
    let reader = world.rejoin(&hello_r);
    world.expect_nothing(reader);
}

/// [MQTT-4.3.3-7] [MQTT-4.3.3-13]: once begun, an exchange goes to its end, in both directions.
#[test]
fn an_exchange_that_began_is_not_cut_short_by_expiry() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    let expiry = [Property::MessageExpiryInterval(5)];
    world.publish(writer, &message("t", "1", 2).id(7).with(&expiry));
    world.expect_pubrec(writer, 7);
    world.expect_publish(reader, &message("t", "1", 2).id(1).with(&expiry));
    world.cut(reader);
    world.pass(60);
    world.pubrel(writer, 7);
    world.expect_pubcomp(writer, 7);
    let reader = world.rejoin(&hello_r);
    let nothing = [Property::MessageExpiryInterval(0)];
    world.expect_publish(reader, &message("t", "1", 2).id(1).again().with(&nothing));
    world.pubrec(reader, 1);
    world.expect_pubrel(reader, 1);
    world.pubcomp(reader, 1);
    assert_eq!(world.table(Table::Handshakes), 0);
}

/// [MQTT-3.3.1-3] [MQTT-3.3.1-1] [MQTT-3.3.1-2] [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
/// [MQTT-4.3.2-5]
#[test]
fn dup_says_only_whether_this_hop_sends_again() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_r = hello(version, "r").durable();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 2);
        let writer = world.join(&hello(version, "w"));
        world.publish(writer, &message("t", "0", 0));
        world.expect_publish(reader, &message("t", "0", 0));
        // Each is a new message, whatever its sender says.
        for id in 1..=2 {
            world.publish(writer, &message("t", "1", 1).id(7).again());
            world.expect_puback(writer, 7);
            world.expect_publish(reader, &message("t", "1", 1).id(id));
        }
        world.publish(writer, &message("t", "2", 2).id(8).again());
        world.expect_publish(reader, &message("t", "2", 2).id(3));
        world.cut(reader);
        let reader = world.rejoin(&hello_r);
        for (payload, qos, id) in [("1", 1, 1), ("1", 1, 2), ("2", 2, 3)] {
            world.expect_publish(reader, &message("t", payload, qos).id(id).again());
        }
    }
}

/// [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
#[test]
fn packet_identifiers_of_the_server_are_not_zero_and_free() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").window(4));
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    let mut in_use: Vec<Message> = Vec::new();
    for number in 0..300_u16 {
        let qos = 1 + (number % 2) as u8;
        world.publish(writer, &message("t", "1", qos).id(1 + number));
        if let Some(found) = world.next_message(reader) {
            let id = found.packet_identifier;
            assert!(id > 0 && in_use.iter().all(|it| it.packet_identifier != id));
            in_use.push(found);
        }
        // The first is never answered.
        if in_use.len() > 3 {
            let found = in_use.remove(1 + usize::from(number % 3));
            match found.qos {
                1 => world.puback(reader, found.packet_identifier),
                _ => {
                    world.pubrec(reader, found.packet_identifier);
                    world.expect_pubrel(reader, found.packet_identifier);
                    world.pubcomp(reader, found.packet_identifier);
                }
            }
        }
        if qos == 2 {
            world.pubrel(writer, 1 + number);
        }
    }
    assert_eq!(in_use[0].packet_identifier, 1);
}

/// [MQTT-3.3.4-1] [MQTT-3.5.2-1] [MQTT-3.4.2-1]
#[test]
fn the_qos_decides_the_answer() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        let reader = world.join(&hello(version, "r"));
        world.subscribe(reader, "t", 0);
        world.publish(client, &message("t", "1", 0));
        world.expect_nothing(client);
        world.publish(client, &message("t", "1", 1).id(0x1234));
        world.expect_bytes(client, b"\x40\x02\x12\x34");
        world.publish(client, &message("t", "1", 2).id(0x1235));
        world.expect_bytes(client, b"\x50\x02\x12\x35");
        // Nobody is there: MQTT 5 says so.
        world.publish(client, &message("u", "1", 1).id(0x1236));
        world.publish(client, &message("u", "1", 2).id(0x1237));
        if version == V5 {
            world.expect_bytes(client, b"\x40\x03\x12\x36\x10");
            world.expect_bytes(client, b"\x50\x03\x12\x37\x10");
        } else {
            world.expect_bytes(client, b"\x40\x02\x12\x36");
            world.expect_bytes(client, b"\x50\x02\x12\x37");
        }
    }
}

/// [MQTT-3.8.4-8] [MQTT-3.3.4-2]: the lower of published and granted.
#[test]
fn a_message_arrives_with_the_lower_qos() {
    for version in [V311, V5] {
        for (published, granted) in (0..9).map(|at| (at / 3, at % 3)) {
            let mut world = World::new();
            let client = world.join(&hello(version, "a"));
            let writer = world.join(&hello(version, "w"));
            let id = u16::from(published);
            world.subscribe(client, "t", granted);
            world.publish(writer, &message("t", "1", published).id(id));
            let live = world.next_message(client).unwrap();
            let sent = message("kept", "2", published).id(9 * id).retained();
            world.publish(writer, &sent);
            world.subscribe(client, "kept", granted);
            let kept = world.next_message(client).unwrap();
            for (found, payload) in [(live, "1"), (kept, "2")] {
                let lower = published.min(granted);
                assert_eq!((found.payload.as_str(), found.qos), (payload, lower));
            }
        }
    }
}

/// [MQTT-3.3.1-8] [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7]
#[test]
fn only_a_retained_message_replaces_or_removes_a_retained_one() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        let live = world.join(&hello(version, "live"));
        world.subscribe(live, "t", 0);
        let kept = |world: &mut World| {
            let reader = world.join(&hello(version, "late"));
            world.subscribe(reader, "t", 0);
            let found = world.next_message(reader);
            world.disconnect(reader);
            found.map(|found| {
                assert!(found.retain);
                found.payload
            })
        };
        // What is sent, and what a later subscriber gets.
        for (retain, payload, expected) in [
            (false, "1", None),
            (true, "2", Some("2")),
            (false, "3", Some("2")),
            (false, "", Some("2")),
            (true, "4", Some("4")),
            (true, "", None),
            (true, "", None),
            (false, "5", None),
        ] {
            let sent = message("t", payload, 0);
            world.publish(
                client,
                &if retain {
                    sent.clone().retained()
                } else {
                    sent.clone()
                },
            );
            // All of them are messages as well.
            world.expect_publish(live, &sent);
            assert_eq!(kept(&mut world).as_deref(), expected);
        }
        assert_eq!(world.table(Table::Retained), 0);
    }
}

/// [MQTT-3.3.4-5]: retained messages are sent for each subscription.
#[test]
fn retained_messages_name_the_subscription_that_they_answer() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.publish(client, &message("a/b", "1", 0).retained());
    let identifier = |number| {
        [Property::SubscriptionIdentifier(
            SubscriptionIdentifier::new(number).unwrap(),
        )]
    };
    let filter = |text| Subscription::new(TopicFilter::new(text).unwrap(), qos_of(1));
    for (text, number) in [("a/+", 7), ("a/#", 200_000)] {
        world.subscribe_with(client, &[filter(text)], &identifier(number));
        assert_eq!(world.next_suback(client), [ReasonCode::GrantedQos1]);
        let expected = message("a/b", "1", 0).retained().with(&identifier(number));
        world.expect_publish(client, &expected);
    }
    world.subscribe_with(client, &[filter("a/b")], &[]);
    world.next_suback(client);
    world.expect_publish(client, &message("a/b", "1", 0).retained());
}

/// A retained message that was sent again lost the identifier of its subscription. [MQTT-3.3.4-3]
#[test]
fn a_retained_message_keeps_its_subscription_identifier_when_it_is_sent_again() {
    let mut world = World::new();
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 1).id(9).retained());
    world.publish(writer, &message("u", "2", 1).id(9).retained());
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    let filter = |text| Subscription::new(TopicFilter::new(text).unwrap(), qos_of(1));
    let seven = [Property::SubscriptionIdentifier(
        SubscriptionIdentifier::new(7).unwrap(),
    )];
    world.subscribe_with(reader, &[filter("t")], &seven);
    world.next_suback(reader);
    let with = message("t", "1", 1).id(1).retained().with(&seven);
    world.expect_publish(reader, &with);
    world.subscribe(reader, "u", 1);
    let without = message("u", "2", 1).id(2).retained();
    world.expect_publish(reader, &without);
    world.cut(reader);
    for _ in 0..2 {
        let reader = world.rejoin(&hello_r);
        world.expect_publish(reader, &with.clone().again());
        world.expect_publish(reader, &without.clone().again());
        world.cut(reader);
    }
}

/// [MQTT-3.3.2-5]: a message that many wait for is gone for those who come late.
#[test]
fn each_subscriber_has_its_own_time() {
    let settings = Settings {
        routes: vec!["#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let early = hello(V5, "early").durable();
    let late = hello(V5, "late").durable();
    for hello in [&early, &late] {
        let reader = world.join(hello);
        world.subscribe(reader, "t", 1);
        world.disconnect(reader);
    }
    let writer = world.join(&hello(V5, "w"));
    let expiry = [Property::MessageExpiryInterval(10)];
    world.publish(writer, &message("t", "1", 1).id(1).with(&expiry));
    world.pass(9);
    let reader = world.rejoin(&early);
    assert!(world.next_message(reader).is_some());
    world.pass(1);
    let reader = world.rejoin(&late);
    world.expect_nothing(reader);
}
