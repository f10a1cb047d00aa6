//! 4.7.2 topics beginning with `$`: what the gateway says itself, and nobody else.

use edge::broker::{Input, Settings};
use edge::mqtt;
use sync::{Lane, Record, RecordParts, Table};
use wire::mqtt::{Acknowledgement, Packet, ReasonCode, Subscription};
use wire::topic::TopicFilter;

use crate::world::*;

fn announce(world: &mut World, topic: &str, payload: &str) {
    let record = Record::new(&RecordParts {
        qos: 0,
        retain: true,
        from_cloud: false,
        time: world.now.wall,
        expiry_seconds: None,
        publisher: 0,
        topic,
        properties: &[],
        payload: payload.as_bytes(),
    });
    world.broker.handle(world.now, Input::Announce { record });
    world.run();
}

#[test]
fn a_later_subscriber_finds_it_retained_and_a_connected_one_hears_the_change() {
    for version in [V311, V5] {
        let mut world = World::new();
        announce(&mut world, "$SYS/broker/a", "1");
        announce(&mut world, "$SYS/broker/a", "2");
        announce(&mut world, "$SYS/broker/b", "1");
        let reader = world.join(&hello(version, "r"));
        world.subscribe(reader, "$SYS/#", 2);
        world.expect_publish(reader, &message("$SYS/broker/a", "2", 0).retained());
        world.expect_publish(reader, &message("$SYS/broker/b", "1", 0).retained());
        world.expect_nothing(reader);
        announce(&mut world, "$SYS/broker/b", "2");
        world.expect_publish(reader, &message("$SYS/broker/b", "2", 0));
        assert_eq!(world.broker.retained_count(), 0);
    }
}

#[test]
fn it_is_never_stored() {
    let settings = Settings {
        routes: vec!["$SYS/#".into(), "#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "$SYS/#", 1);
    let before = world.commit_count;
    announce(&mut world, "$SYS/broker/a", "1");
    world.expect_publish(reader, &message("$SYS/broker/a", "1", 0));
    world.cut(reader);
    announce(&mut world, "$SYS/broker/a", "2");
    let reader = world.rejoin(&hello_r);
    world.expect_nothing(reader);
    // The departure and the return alone.
    assert_eq!(world.commit_count - before, 2);
    assert_eq!(world.log_len(Lane::Normal), 0);
    assert_eq!(world.table(Table::Retained), 0);
    world.crash(0);
    let reader = world.join(&hello(V5, "s"));
    world.subscribe(reader, "$SYS/#", 1);
    world.expect_nothing(reader);
}

#[test]
fn wildcards_at_the_front_do_not_see_it() {
    // [MQTT-4.7.2-1]
    let mut world = World::new();
    announce(&mut world, "$SYS/broker/a", "1");
    let reader = world.join(&hello(V5, "r"));
    world.subscribe(reader, "#", 0);
    world.subscribe(reader, "+/broker/a", 0);
    announce(&mut world, "$SYS/broker/a", "2");
    world.expect_nothing(reader);
}

#[test]
fn the_retain_flag_is_as_published_for_who_wants_it_so() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r"));
    let mut options = Subscription::new(TopicFilter::new("$SYS/#").unwrap(), qos_of(0));
    options.retain_as_published = true;
    world.subscribe_with(reader, &[options], &[]);
    assert_eq!(world.next_suback(reader), [ReasonCode::granted(qos_of(0))]);
    announce(&mut world, "$SYS/broker/a", "1");
    world.expect_publish(reader, &message("$SYS/broker/a", "1", 0).retained());
}

#[test]
fn a_group_hears_it_as_one() {
    let mut world = World::new();
    let members = ["a", "b"].map(|name| {
        let client = world.join(&hello(V5, name).durable());
        world.subscribe(client, "$share/g/$SYS/#", 1);
        client
    });
    announce(&mut world, "$SYS/broker/a", "1");
    world.expect_publish(members[0], &message("$SYS/broker/a", "1", 0));
    world.expect_nothing(members[1]);
}

#[test]
fn clients_can_not_publish_there() {
    for topic in ["$SYS/broker/uptime", "$SYS"] {
        let mut world = World::new();
        let reader = world.join(&hello(V5, "r").durable());
        world.subscribe(reader, "$SYS/#", 2);
        let no = |id: u16| {
            Acknowledgement::with_reason(id.try_into().unwrap(), ReasonCode::NotAuthorized)
        };
        let new = world.join(&hello(V5, "new"));
        world.publish(new, &message(topic, "x", 0).retained());
        world.publish(new, &message(topic, "x", 1).id(1).retained());
        world.expect(new, &Packet::Puback(no(1)));
        world.publish(new, &message(topic, "x", 2).id(2));
        world.expect(new, &Packet::Pubrec(no(2)));
        // Before MQTT 5 there is no way to tell. [MQTT-3.3.5-2]
        let old = world.join(&hello(V311, "old"));
        world.publish(old, &message(topic, "x", 1).id(1).retained());
        world.expect_puback(old, 1);
        world.publish(old, &message(topic, "x", 2).id(2));
        world.expect_pubrec(old, 2);
        world.pubrel(old, 2);
        world.expect_pubcomp(old, 2);
        world.expect_nothing(reader);
        assert_eq!(world.table(Table::Retained), 0);
        assert_eq!(world.broker.counters().refused, 5);
    }
    // Others that begin so are anybody's.
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "$SYSTEM/#", 0);
    world.publish(client, &message("$SYSTEM/x", "1", 0).retained());
    world.expect_publish(client, &message("$SYSTEM/x", "1", 0));
}

#[test]
fn a_will_there_is_dropped_and_the_session_ends_all_the_same() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r"));
    world.subscribe(reader, "$SYS/#", 1);
    let client = world.join(&hello(V5, "a").durable().will("$SYS/gone", 0));
    world.cut(client);
    world.expect_nothing(reader);
    let client = world.join(&hello(V5, "a").clean());
    world.expect_nothing(client);
    assert_eq!(world.broker.session_count(), 2);
}

#[test]
fn packets_and_messages_are_counted() {
    let limits = mqtt::Settings::default();
    let traffic = limits.traffic.clone();
    let mut world = World::with(Settings::default(), limits);
    let reader = world.join(&hello(V5, "r"));
    world.subscribe(reader, "t", 0);
    let writer = world.join(&hello(V311, "w"));
    world.publish(writer, &message("t", "four", 0));
    world.publish(writer, &message("t", "three", 1).id(1));
    let counts = traffic.counts();
    assert_eq!((counts.connects, counts.packets_received), (2, 5));
    // Two CONNACK, SUBACK, PUBACK, two PUBLISH.
    assert_eq!((counts.packets_sent, counts.publishes_sent), (6, 2));
    assert_eq!(
        (counts.publishes_received, counts.publishes_dropped),
        (2, 0)
    );
    assert_eq!(counts.payload_bytes_received, 9);
    assert_eq!(counts.payload_bytes_sent, 9);
    assert_eq!(world.broker.connected_counts(), (2, 2));
    world.cut(reader);
    assert_eq!(world.broker.connected_counts(), (1, 2));
}
