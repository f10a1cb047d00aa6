//! 3.3 PUBLISH and its answers.

use edge::broker::{Input, Outcome, Refusal, Settings, Token};
use edge::mqtt;
use sync::{Change, Lane, Record, RecordParts, Table};
use wire::mqtt::property::{Property, UserProperty};
use wire::mqtt::{Acknowledgement, Packet, ReasonCode};

use crate::world::*;

fn answer(packet_identifier: u16, reason_code: ReasonCode) -> Acknowledgement<'static> {
    Acknowledgement::with_reason(packet_identifier.try_into().unwrap(), reason_code)
}

fn routed() -> World {
    let settings = Settings {
        routes: vec!["up/#".into()],
        ..Settings::default()
    };
    World::with(settings, mqtt::Settings::default())
}

/// [MQTT-4.3.2-4] [MQTT-2.2.1-5]
#[test]
fn puback_waits_for_commit() {
    for version in [V311, V5] {
        let mut world = routed();
        let client = world.join(&hello(version, "a"));
        world.commits = Commits::Wait;
        world.publish(client, &message("up/t", "1", 1).id(7));
        world.expect_nothing(client);
        assert!(world.broker.uncommitted_bytes() > 0);
        world.finish_commits(1);
        world.expect_puback(client, 7);
        assert_eq!(
            (
                world.log_len(Lane::Normal),
                world.broker.uncommitted_bytes()
            ),
            (1, 0)
        );
    }
}

#[test]
fn a_message_that_only_live_readers_want_is_never_written() {
    for version in [V311, V5] {
        let mut world = World::new();
        let reader = world.join(&hello(version, "r"));
        world.subscribe(reader, "t", 1);
        let writer = world.join(&hello(version, "w"));
        world.publish(writer, &message("t", "1", 1).id(7));
        world.expect_puback(writer, 7);
        world.expect_publish(reader, &message("t", "1", 1).id(1));
        world.publish(writer, &message("t", "2", 0));
        world.expect_publish(reader, &message("t", "2", 0));
        assert_eq!((world.commit_count, world.log_len(Lane::Normal)), (0, 0));
    }
}

/// [MQTT-3.4.2-1]
#[test]
fn nobody_listening_is_said_in_5() {
    let mut world = World::new();
    let new = world.join(&hello(V5, "new"));
    let old = world.join(&hello(V311, "old"));
    world.publish(new, &message("t", "1", 1).id(7));
    world.expect(
        new,
        &Packet::Puback(answer(7, ReasonCode::NoMatchingSubscribers)),
    );
    world.publish(old, &message("t", "1", 1).id(7));
    world.expect_puback(old, 7);
}

#[test]
fn qos_0_for_an_uplink_route_is_stored_at_leisure() {
    let mut world = routed();
    let client = world.join(&hello(V5, "a"));
    world.commits = Commits::Wait;
    world.publish(client, &message("up/t", "1", 0));
    assert_eq!(world.waiting[0].2, edge::broker::Urgency::Relaxed);
}

#[test]
fn rules_choose_the_lane() {
    let settings = Settings {
        routes: vec!["#".into()],
        lanes: vec![
            ("alarm/#".into(), Lane::Critical),
            ("+/soon".into(), Lane::Urgent),
        ],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = world.join(&hello(V5, "a"));
    for topic in ["alarm/soon", "x/soon", "x"] {
        world.publish(client, &message(topic, "", 0));
    }
    assert_eq!(Lane::ALL.map(|lane| world.log_len(lane)), [1, 1, 1]);
}

#[test]
fn refused_commit_is_97_in_5_and_the_end_before() {
    let mut world = routed();
    let new = world.join(&hello(V5, "new"));
    let old = world.join(&hello(V311, "old"));
    world.commits = Commits::Fail;
    world.publish(new, &message("up/t", "1", 1).id(7));
    world.expect(new, &Packet::Puback(answer(7, ReasonCode::QuotaExceeded)));
    world.publish(new, &message("up/t", "1", 2).id(8));
    world.expect(new, &Packet::Pubrec(answer(8, ReasonCode::QuotaExceeded)));
    world.publish(old, &message("up/t", "1", 1).id(7));
    world.expect_closed(old);
    assert_eq!(world.broker.counters().refused, 3);
}

#[test]
fn answers_leave_in_the_order_of_the_packets() {
    let mut world = routed();
    let client = world.join(&hello(V5, "a"));
    world.commits = Commits::Wait;
    world.publish(client, &message("up/t", "1", 1).id(1));
    world.publish(client, &message("elsewhere", "2", 1).id(2));
    world.expect_nothing(client);
    world.finish_commits(1);
    world.expect_puback(client, 1);
    world.expect(
        client,
        &Packet::Puback(answer(2, ReasonCode::NoMatchingSubscribers)),
    );
}

/// [MQTT-3.3.2-6]
#[test]
fn properties_go_on_unaltered_and_the_expiry_counts_down() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    let user = |name, value| Property::UserProperty(UserProperty { name, value });
    let kept = [
        Property::PayloadFormatIndicator(true),
        user("b", "2"),
        user("a", "1"),
        Property::ContentType("text"),
    ];
    let sent = [&[Property::MessageExpiryInterval(10)], kept.as_slice()].concat();
    world.publish(writer, &message("t", "1", 1).id(7).with(&sent));
    world.expect_puback(writer, 7);
    world.pass(3);
    let reader = world.rejoin(&hello(V5, "r").durable());
    let left = [&[Property::MessageExpiryInterval(7)], kept.as_slice()].concat();
    world.expect_publish(reader, &message("t", "1", 1).id(1).with(&left));
}

/// [MQTT-3.3.2-5]
#[test]
fn an_expired_message_is_passed_over() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    let expiry = [Property::MessageExpiryInterval(10)];
    world.publish(writer, &message("t", "old", 1).id(7).with(&expiry));
    world.publish(writer, &message("t", "new", 1).id(8));
    world.pass(10);
    let reader = world.rejoin(&hello(V5, "r").durable());
    world.expect_publish(reader, &message("t", "new", 1).id(1));
    world.expect_nothing(reader);
}

#[test]
fn old_clients_get_no_properties() {
    let mut world = World::new();
    let reader = world.join(&hello(V311, "r"));
    world.subscribe(reader, "t", 0);
    let writer = world.join(&hello(V5, "w"));
    world.publish(
        writer,
        &message("t", "1", 0).with(&[Property::ContentType("text")]),
    );
    world.expect_publish(reader, &message("t", "1", 0));
}

/// [MQTT-3.3.2-9] [MQTT-3.2.2-17]
#[test]
fn topic_aliases_stand_for_topics() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "#", 0);
    let alias = [Property::TopicAlias(3.try_into().unwrap())];
    world.publish(client, &message("t", "1", 0).with(&alias));
    world.expect_publish(client, &message("t", "1", 0));
    world.publish(client, &message("", "2", 0).with(&alias));
    world.expect_publish(client, &message("t", "2", 0));
    let unknown = [Property::TopicAlias(4.try_into().unwrap())];
    world.publish(client, &message("", "3", 0).with(&unknown));
    world.expect_disconnect(client, ReasonCode::ProtocolError);
    let client = world.join(&hello(V5, "a"));
    let too_high = [Property::TopicAlias(17.try_into().unwrap())];
    world.publish(client, &message("t", "3", 0).with(&too_high));
    world.expect_disconnect(client, ReasonCode::TopicAliasInvalid);
}

/// [MQTT-3.3.4-6]
#[test]
fn a_subscription_identifier_from_a_client_is_a_protocol_error() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    let identifier = wire::mqtt::property::SubscriptionIdentifier::new(1).unwrap();
    let properties = [Property::SubscriptionIdentifier(identifier)];
    world.publish(client, &message("t", "1", 0).with(&properties));
    world.expect_disconnect(client, ReasonCode::ProtocolError);
}

/// [MQTT-3.3.4-7]
#[test]
fn more_than_the_receive_maximum_closes_with_93() {
    let limits = mqtt::Settings {
        receive_maximum: 2,
        ..mqtt::Settings::default()
    };
    let settings = Settings {
        routes: vec!["#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, limits);
    let client = world.join(&hello(V5, "a"));
    let old = world.join(&hello(V311, "old"));
    world.commits = Commits::Wait;
    for id in 1..=2 {
        world.publish(client, &message("t", "1", 1).id(id));
        world.publish(old, &message("t", "1", 1).id(id));
    }
    assert!(!world.connection(client).wants_more());
    world.publish(client, &message("t", "1", 1).id(3));
    world.expect_disconnect(client, ReasonCode::ReceiveMaximumExceeded);
    // An old client can't know the limit; it is only not read for a while.
    assert!(!world.connection(old).wants_more());
    world.publish(old, &message("t", "1", 1).id(3));
    world.finish_commits(9);
    world.finish_commits(9);
    for id in 1..=3 {
        world.expect_puback(old, id);
    }
    assert!(world.connection(old).wants_more());
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn a_message_too_large_for_its_client_counts_as_delivered() {
    let mut world = World::new();
    let size = [Property::MaximumPacketSize(10.try_into().unwrap())];
    let plain = hello(V5, "r").durable();
    let small = plain.clone().with(&size);
    // The CONNACK needs more than that, so the session begins without the limit.
    let reader = world.join(&plain);
    world.disconnect(reader);
    let refused = world.say_hello(&small);
    world.expect_closed(refused);

    let size = [Property::MaximumPacketSize(40.try_into().unwrap())];
    let reader = world.rejoin(&plain.with(&size));
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    let large = "x".repeat(40);
    for (id, qos) in [(1, 1), (2, 2)] {
        world.publish(writer, &message("t", &large, qos).id(id));
    }
    world.publish(writer, &message("t", "small", 1).id(3));
    let found = world.next_message(reader).unwrap();
    assert_eq!((found.payload.as_str(), found.qos), ("small", 1));
    world.expect_nothing(reader);
    assert_eq!(world.connection(reader).dropped_count(), 2);
    world.puback(reader, found.packet_identifier);
    world.pass(1);
    assert_eq!(world.table(Table::Handshakes), 0);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 3);
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn messages_of_one_topic_keep_their_order_whatever_way_they_take() {
    for version in [V311, V5] {
        let mut world = World::new();
        let reader = world.join(&hello(version, "r"));
        world.subscribe(reader, "t", 1);
        let writer = world.join(&hello(version, "w"));
        world.commits = Commits::Wait;
        // The first goes through the log because it is retained; the second must not overtake.
        world.publish(writer, &message("t", "1", 1).id(1).retained());
        world.publish(writer, &message("t", "2", 1).id(2));
        world.expect_nothing(reader);
        world.finish_commits(2);
        world.expect_publish(reader, &message("t", "1", 1).id(1));
        world.expect_publish(reader, &message("t", "2", 1).id(2));
    }
}

#[test]
fn qos_0_is_dropped_where_the_outbound_buffer_is_full() {
    let limits = mqtt::Settings {
        outbound_bytes_maximum: 100,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let reader = world.join(&hello(V5, "r"));
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    world.set_reading(reader, false);
    let payload = "x".repeat(30);
    for _ in 0..10 {
        world.publish(writer, &message("t", &payload, 0));
    }
    assert!(world.connection(reader).outbound_bytes() < 150);
    assert!(!world.connection(reader).wants_more());
    assert_eq!(world.connection(reader).dropped_count(), 7);
    // QoS 1 waits in the log.
    world.publish(writer, &message("t", "1", 1).id(1));
    world.expect_puback(writer, 1);
    assert_eq!(world.log_len(Lane::Normal), 1);
    world.set_reading(reader, true);
    for _ in 0..3 {
        world.expect_publish(reader, &message("t", &payload, 0));
    }
    world.expect_publish(reader, &message("t", "1", 1).id(1));
}

/// [MQTT-4.13.1-1]
#[test]
fn garbage_after_connect_closes_with_81() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.send_bytes(client, &[0x36, 0]);
    world.expect_disconnect(client, ReasonCode::MalformedPacket);
}

fn from_cloud(world: &World, topic: &str, token: u64) -> Input {
    let record = Record::new(&RecordParts {
        qos: 1,
        retain: false,
        from_cloud: true,
        time: world.now.wall,
        expiry_seconds: None,
        publisher: 0,
        topic,
        properties: &[],
        payload: b"down",
    });
    let watermark = Change::Put {
        table: Table::Watermarks,
        key: b"origin".to_vec(),
        value: vec![token as u8],
    };
    Input::FromCloud {
        record,
        token: Token(token),
        changes: vec![watermark],
    }
}

#[test]
fn a_message_from_the_cloud_is_confirmed_when_stored_and_never_goes_up() {
    let mut world = routed();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "down", 1);
    world.commits = Commits::Wait;
    for (token, topic) in [(1, "down"), (2, "up/t")] {
        let input = from_cloud(&world, topic, token);
        world.broker.handle(world.now, input);
    }
    world.run();
    assert_eq!(world.from_cloud, []);
    world.finish_commits(2);
    assert_eq!(
        world.from_cloud,
        [(1, Outcome::Accepted), (2, Outcome::NoSubscribers)]
    );
    world.expect_publish(reader, &message("down", "down", 1).id(1));
    // The one that matches only a route left its watermark and no record.
    assert_eq!(
        (world.log_len(Lane::Normal), world.table(Table::Watermarks)),
        (1, 1)
    );
    world.commits = Commits::Fail;
    let input = from_cloud(&world, "down", 3);
    world.broker.handle(world.now, input);
    world.run();
    let refused = Outcome::Refused(Refusal::LogFull);
    assert_eq!(world.from_cloud.last(), Some(&(3, refused)));
}

/// Clients of 3.1.1 may send as much as they like before an answer. One that sent more than
/// `exchange_count_maximum` in one read was disconnected, and came back to do the same.
#[test]
fn an_old_client_that_does_not_wait_for_answers_is_slowed_down() {
    let mut world = routed();
    let client = world.join(&hello(V311, "old"));
    let count = 3_000;
    let mut bytes = Vec::new();
    for id in 1..=count {
        bytes.extend(b"\x32\x09\0\x04up/t");
        bytes.extend(u16::to_be_bytes(id));
        bytes.push(b'x');
    }
    bytes.extend([0xC0, 0]);
    world.commits = Commits::Wait;
    world.send_bytes(client, &bytes);
    assert!(!world.connection(client).wants_more());
    assert_eq!(world.waiting.len(), 64);
    world.commits = Commits::Succeed;
    world.run();
    let mut answered = 0;
    while let Some(bytes) = world.next_packet(client) {
        if bytes[0] == 0x40 {
            answered += 1;
            assert_eq!(bytes[2..], u16::to_be_bytes(answered));
        } else {
            // It may overtake the last answers.
            assert_eq!(bytes, [0xD0, 0]);
            assert!(count - answered < 64);
        }
    }
    assert_eq!(answered, count);
    assert!(world.connection(client).wants_more());
    assert_eq!(world.log_len(Lane::Normal), usize::from(count));
}
