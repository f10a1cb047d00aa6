//! 3.8 SUBSCRIBE to 3.11 UNSUBACK.

use edge::broker::Settings;
use edge::mqtt;
use sync::Table;
use wire::mqtt::property::{Property, SubscriptionIdentifier};
use wire::mqtt::{ReasonCode, Subscription};
use wire::topic::TopicFilter;

use crate::world::*;

fn filter(text: &str, qos: u8) -> Subscription<'_> {
    Subscription::new(TopicFilter::new(text).unwrap(), qos_of(qos))
}

/// [MQTT-3.8.4-1]
#[test]
fn suback_waits_for_the_commit_of_a_durable_session_only() {
    let mut world = World::new();
    let durable = world.join(&hello(V5, "d").durable());
    let volatile = world.join(&hello(V5, "v"));
    world.commits = Commits::Wait;
    world.subscribe(volatile, "t", 1);
    world.subscribe_with(durable, &[filter("t", 1), filter("u", 2)], &[]);
    world.expect_nothing(durable);
    world.finish_commits(1);
    assert_eq!(
        world.next_suback(durable),
        [ReasonCode::GrantedQos1, ReasonCode::GrantedQos2]
    );
    assert_eq!(world.table(Table::Subscriptions), 2);
}

/// [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2]
#[test]
fn each_filter_has_its_own_answer() {
    for (version, codes) in [
        (V311, [0x01, 0x80, 0x80, 0x80]),
        (V5, [0x01, 0x97, 0x8F, 0x97]),
    ] {
        let settings = Settings {
            group_count_maximum: 0,
            filter_level_maximum: 2,
            subscription_count_maximum: 1,
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let client = world.join(&hello(version, "a"));
        let filters = [
            filter("t", 1),
            filter("$share/g/t", 1),
            filter("a/b/c", 1),
            filter("u", 1),
        ];
        world.subscribe_with(client, &filters, &[]);
        let codes = codes.map(|code| ReasonCode::from_number(code).unwrap());
        assert_eq!(world.next_suback(client), codes);
        // At the limit a subscription that exists is replaced all the same.
        world.subscribe(client, "t", 0);
    }
}

#[test]
fn refused_commit_undoes_a_subscription() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.commits = Commits::Fail;
    world.subscribe_with(client, &[filter("t", 1)], &[]);
    assert_eq!(world.next_suback(client), [ReasonCode::QuotaExceeded]);
    world.commits = Commits::Succeed;
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 0));
    world.expect_nothing(client);
}

/// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn overlapping_subscriptions_deliver_once_with_the_highest_qos_and_all_identifiers() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    let number = |number| SubscriptionIdentifier::new(number).unwrap();
    for (text, qos, identifier) in [("a/#", 0, 1), ("a/+", 2, 2), ("+/b", 1, 3)] {
        let identifier = [Property::SubscriptionIdentifier(number(identifier))];
        world.subscribe_with(client, &[filter(text, qos)], &identifier);
        world.next_suback(client);
    }
    world.subscribe(client, "#", 0);
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("a/b", "1", 1).id(1));
    let found = world.next_message(client).unwrap();
    assert_eq!((found.qos, found.packet_identifier), (1, 1));
    let mut bytes: Vec<_> = found.properties.chunks(2).map(<[u8]>::to_vec).collect();
    bytes.sort();
    assert_eq!(bytes, [[0x0B, 1], [0x0B, 2], [0x0B, 3]]);
    world.expect_nothing(client);
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_keeps_a_client_from_hearing_itself() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    let quiet = Subscription {
        no_local: true,
        ..filter("t", 1)
    };
    world.subscribe_with(client, &[quiet], &[]);
    world.next_suback(client);
    world.publish(client, &message("t", "own", 0));
    world.expect_nothing(client);
    world.publish(client, &message("t", "own", 1).id(5));
    assert!(world.next_packet(client).is_some());
    let other = world.join(&hello(V5, "b"));
    world.publish(other, &message("t", "other", 1).id(5));
    world.expect_publish(client, &message("t", "other", 1).id(1));
    world.expect_nothing(client);
    // Another subscription of the same client hears it.
    world.subscribe(client, "+", 0);
    world.publish(client, &message("t", "own", 0));
    world.expect_publish(client, &message("t", "own", 0));
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_holds_for_what_is_read_from_the_log() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable().window(1);
    let client = world.join(&hello_a);
    let quiet = Subscription {
        no_local: true,
        ..filter("t", 1)
    };
    world.subscribe_with(client, &[quiet], &[]);
    world.next_suback(client);
    let other = world.join(&hello(V5, "b").durable());
    world.subscribe(other, "t", 1);
    for (id, payload) in [(5, "1"), (6, "2")] {
        world.publish(other, &message("t", payload, 1).id(id));
        world.publish(client, &message("t", "own", 1).id(id));
        world.next_packet(client);
    }
    world.puback(client, 1);
    let mut found = Vec::new();
    while let Some(bytes) = world.next_packet(client) {
        found.push(bytes[0] >> 4);
    }
    // One PUBACK of its own, and the other's second message.
    assert_eq!(found, [4, 3]);
    // Its own message comes next in the log, and is passed over.
    world.publish(other, &message("t", "3", 1).id(7));
    world.puback(client, 2);
    world.expect_publish(client, &message("t", "3", 1).id(3));
    world.puback(client, 3);
    world.expect_nothing(client);
}

/// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
#[test]
fn retain_as_published_keeps_the_flag() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    let kept = Subscription {
        retain_as_published: true,
        ..filter("kept", 0)
    };
    world.subscribe_with(client, &[kept, filter("plain", 0)], &[]);
    world.next_suback(client);
    for topic in ["kept", "plain"] {
        world.publish(client, &message(topic, "1", 0).retained());
    }
    world.expect_publish(client, &message("kept", "1", 0).retained());
    world.expect_publish(client, &message("plain", "1", 0));
    world.publish(client, &message("kept", "1", 0));
    world.expect_publish(client, &message("kept", "1", 0));
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.11.3-2]
#[test]
fn unsubscribing_stops_new_messages_and_says_what_was_there() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a").durable());
        world.subscribe(client, "t", 1);
        world.commits = Commits::Wait;
        world.unsubscribe(client, "t");
        world.expect_nothing(client);
        world.finish_commits(1);
        let codes = world.next_unsuback(client);
        assert_eq!(
            codes,
            if version == V5 {
                vec![ReasonCode::Success]
            } else {
                Vec::new()
            }
        );
        world.unsubscribe(client, "t");
        let codes = world.next_unsuback(client);
        let none = ReasonCode::NoSubscriptionExisted;
        assert_eq!(
            codes,
            if version == V5 {
                vec![none]
            } else {
                Vec::new()
            }
        );
        world.publish(client, &message("t", "1", 0));
        world.expect_nothing(client);
        assert_eq!(world.table(Table::Subscriptions), 0);
    }
}

/// [MQTT-3.10.4-3]
#[test]
fn what_was_sent_is_completed_after_unsubscribing() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = world.join(&hello_a);
    world.subscribe(client, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 1).id(1));
    world.expect_publish(client, &message("t", "1", 1).id(1));
    world.unsubscribe(client, "t");
    world.next_unsuback(client);
    world.cut(client);
    let client = world.rejoin(&hello_a);
    world.expect_publish(client, &message("t", "1", 1).id(1).again());
}

/// [MQTT-3.8.4-3] [MQTT-3.8.4-4]
#[test]
fn subscribing_again_replaces_and_loses_nothing() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable().window(1);
    let client = world.join(&hello_a);
    world.subscribe(client, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    for id in 1..=3 {
        world.publish(writer, &message("t", &id.to_string(), 1).id(id));
    }
    world.expect_publish(client, &message("t", "1", 1).id(1));
    world.subscribe(client, "t", 2);
    world.puback(client, 1);
    world.expect_publish(client, &message("t", "2", 1).id(2));
    world.puback(client, 2);
    world.expect_publish(client, &message("t", "3", 1).id(3));
}

/// A key of the table holds 65,535 bytes at most, and a commit that breaks the rule takes everybody
/// down who is in its group.
#[test]
fn a_filter_over_its_limit_is_refused_and_never_reaches_the_table() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    let long = "x".repeat(65_535);
    world.subscribe_with(client, &[filter(&long, 1)], &[]);
    assert_eq!(world.next_suback(client), [ReasonCode::TopicFilterInvalid]);
    assert_eq!(world.table(Table::Subscriptions), 0);
}

#[test]
fn filters_and_wills_of_all_sessions_share_one_budget() {
    let settings = Settings {
        session_bytes_maximum: 4_000,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = world.join(&hello(V5, "a"));
    let filters: Vec<String> = (0..50).map(|number| format!("t/{number}")).collect();
    let filters: Vec<_> = filters.iter().map(|text| filter(text, 0)).collect();
    world.subscribe_with(client, &filters, &[]);
    let codes = world.next_suback(client);
    let granted = codes.iter().filter(|code| !code.is_error()).count();
    assert!((1..50).contains(&granted), "{granted}");
    assert_eq!(codes[granted], ReasonCode::QuotaExceeded);
    // Another client's will finds no room either, and all of it comes back.
    let hello_l = hello(V5, "late").will("w".repeat(900).leak(), 0);
    let late = world.say_hello(&hello_l);
    assert!(world.is_closed(late));
    world.disconnect(client);
    world.join(&hello_l);
}

#[test]
fn an_unsubscribe_that_could_not_be_stored_is_stored_later() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = world.join(&hello_a);
    world.subscribe(client, "t", 1);
    world.commits = Commits::Fail;
    world.unsubscribe(client, "t");
    assert_eq!(world.next_unsuback(client), [ReasonCode::UnspecifiedError]);
    world.pass(2);
    world.commits = Commits::Succeed;
    world.pass(2);
    assert_eq!(world.table(Table::Subscriptions), 0);
    world.crash(0);
    let client = world.rejoin(&hello_a);
    world.unsubscribe(client, "t");
    assert_eq!(
        world.next_unsuback(client),
        [ReasonCode::NoSubscriptionExisted]
    );
}

#[test]
fn a_refused_commit_leaves_the_former_subscription() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = world.join(&hello_a);
    world.subscribe(client, "t", 1);
    world.commits = Commits::Fail;
    world.subscribe_with(client, &[filter("t", 0)], &[]);
    assert_eq!(world.next_suback(client), [ReasonCode::QuotaExceeded]);
    world.commits = Commits::Succeed;
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 1).id(1));
    world.expect_publish(client, &message("t", "1", 1).id(1));
}

#[test]
fn a_filter_that_a_packet_repeats_is_stored_once_with_the_last_options() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.commits = Commits::Wait;
    let filters: Vec<_> = (0..3_000).map(|at| filter("t", (at % 3) as u8)).collect();
    world.subscribe_with(client, &filters, &[]);
    assert_eq!(world.waiting[0].1.len(), 1);
    world.commits = Commits::Succeed;
    world.run();
    let codes = world.next_suback(client);
    assert_eq!(
        (codes.len(), codes[2_999]),
        (3_000, ReasonCode::GrantedQos2)
    );
}

/// [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.8.4-1] [MQTT-3.8.4-2]: as if each filter
/// had come alone, with one answer.
#[test]
fn several_filters_in_a_packet_are_subscribed_one_after_the_other() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        for topic in ["a", "b"] {
            world.publish(client, &message(topic, "kept", 0).retained());
        }
        let filters = [
            filter("b", 0),
            filter("a", 2),
            filter("+", 1),
            filter("a", 0),
        ];
        world.subscribe_with(client, &filters, &[]);
        let codes: &[u8] = &[0, 2, 1, 0];
        let front: &[u8] = if version == V5 {
            &[0x90, 7, 0, 77, 0]
        } else {
            &[0x90, 6, 0, 77]
        };
        world.expect_bytes(client, &[front, codes].concat());
        // The retained messages of each filter; one that the packet repeats counts once.
        let mut found = Vec::new();
        while let Some(message) = world.next_message(client) {
            found.push(message.topic);
        }
        found.sort();
        assert_eq!(found, ["a", "a", "b", "b"]);
        // The last options hold, beside those of the other filter.
        world.publish(client, &message("a", "1", 2).id(1));
        world.expect_publish(client, &message("a", "1", 1).id(1));
        world.expect_pubrec(client, 1);
        world.expect_nothing(client);
    }
}

/// [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-3.10.4-1] [MQTT-3.10.4-4] [MQTT-3.10.4-5]
#[test]
fn several_filters_in_a_packet_are_unsubscribed_one_after_the_other() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    for text in ["a/+", "a/b", "c"] {
        world.subscribe(client, text, 0);
    }
    // Filters are compared, not matched: each letter counts.
    world.send_bytes(
        client,
        b"\xA2\x1D\x12\x34\0\0\x03a/b\0\x03a/#\0\x01C\0\x03a/b\0\x01c\0\x03a/B",
    );
    world.expect_bytes(client, b"\xB0\x09\x12\x34\0\0\x11\x11\x11\0\x11");
    world.publish(client, &message("c", "1", 0));
    world.expect_nothing(client);
    world.publish(client, &message("a/b", "1", 0));
    world.expect_publish(client, &message("a/b", "1", 0));
    world.expect_nothing(client);
}

/// [MQTT-3.10.4-2] [MQTT-3.10.4-3]: what was begun goes on to its end, nothing new begins.
#[test]
fn unsubscribing_completes_what_was_begun() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a").durable());
        world.subscribe(client, "t", 2);
        let writer = world.join(&hello(version, "w"));
        for (id, qos) in [(1, 1), (2, 2)] {
            world.publish(writer, &message("t", "1", qos).id(id));
            world.expect_publish(client, &message("t", "1", qos).id(id));
        }
        world.unsubscribe(client, "t");
        world.next_unsuback(client);
        for qos in 0..=2 {
            world.publish(writer, &message("t", "2", qos).id(qos.into()));
        }
        world.expect_nothing(client);
        world.puback(client, 1);
        world.pubrec(client, 2);
        world.expect_pubrel(client, 2);
        world.pubcomp(client, 2);
        world.cut(client);
        let client = world.rejoin(&hello(version, "a").durable());
        world.expect_nothing(client);
    }
}

/// [MQTT-3.8.4-3] [MQTT-3.8.4-4]: one subscription, whose options are the new ones.
#[test]
fn subscribing_again_replaces_every_option_and_brings_retained_messages_again() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.publish(client, &message("t", "kept", 1).id(1).retained());
    world.next_packet(client);
    let identifier = |number| {
        [Property::SubscriptionIdentifier(
            SubscriptionIdentifier::new(number).unwrap(),
        )]
    };
    let options = Subscription {
        no_local: true,
        retain_as_published: true,
        ..filter("t", 2)
    };
    world.subscribe_with(client, &[options], &identifier(1));
    assert_eq!(world.next_suback(client), [ReasonCode::GrantedQos2]);
    world.expect_publish(
        client,
        &message("t", "kept", 1)
            .id(1)
            .retained()
            .with(&identifier(1)),
    );
    world.publish(client, &message("t", "own", 0));
    world.expect_nothing(client);
    world.subscribe_with(client, &[filter("t", 0)], &identifier(2));
    assert_eq!(world.next_suback(client), [ReasonCode::Success]);
    world.expect_publish(
        client,
        &message("t", "kept", 0).retained().with(&identifier(2)),
    );
    world.publish(client, &message("t", "own", 0).retained());
    world.expect_publish(client, &message("t", "own", 0).with(&identifier(2)));
    world.expect_nothing(client);
    // Without an identifier there is none any more.
    world.subscribe(client, "t", 0);
    world.expect_publish(client, &message("t", "own", 0).retained());
}

/// [MQTT-3.3.1-12] [MQTT-3.3.1-13] for what is read from the log, which a restart left.
#[test]
fn retain_as_published_holds_for_what_is_read_from_the_log() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    let kept = Subscription {
        retain_as_published: true,
        ..filter("kept", 1)
    };
    world.subscribe_with(reader, &[kept, filter("plain", 1)], &[]);
    world.next_suback(reader);
    world.disconnect(reader);
    // Now it is stored that there was nothing retained.
    world.pass(2);
    let writer = world.join(&hello(V5, "w"));
    for topic in ["kept", "plain"] {
        world.publish(writer, &message(topic, "1", 1).id(1).retained());
        world.publish(writer, &message(topic, "2", 1).id(2));
    }
    world.crash(0);
    let reader = world.rejoin(&hello_r);
    for (id, topic, payload) in [(1, "kept", "1"), (2, "kept", "2"), (3, "plain", "1")] {
        let expected = message(topic, payload, 1).id(id);
        let is_kept = (topic, payload) == ("kept", "1");
        world.expect_publish(
            reader,
            &if is_kept {
                expected.retained()
            } else {
                expected
            },
        );
    }
}
