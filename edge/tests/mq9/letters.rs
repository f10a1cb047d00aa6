//! A publish to `$mq9/{mail address}` is a letter: a device that speaks only MQTT writes to an agent.

use std::num::NonZeroU16;
use std::rc::Rc;

use edge::broker::{AccessList, Outcome, Policy, Refusal};
use edge::mail;
use wire::mqtt::property::{Properties, Property};
use wire::mqtt::{Acknowledgement, Packet, ReasonCode, Version};

use super::cases::{Item, NOTHING, item, messages, payloads};
use super::world::{ClientId, Commits, World};

const FETCH: &str = "MSG.FETCH.agent.alarm";
const EARLIEST: &str = "{\"deliver\":\"earliest\",\"config\":{\"max_wait_ms\":0}}";
const TOPIC: &str = "$mq9/agent.alarm";

/// An agent that reads, with a mailbox, and a device of MQTT 5.
fn begin(world: &mut World) -> (ClientId, ClientId) {
    let agent = world.join();
    world.mailbox(agent, "agent.alarm");
    (agent, world.join_mqtt(Version::V5, "device"))
}

fn expect_mail(world: &mut World, agent: ClientId, expected: &[Item<'_>]) {
    assert_eq!(world.ask(agent, FETCH, EARLIEST), messages(expected));
}

fn pubrel(world: &mut World, device: ClientId) {
    world.packet(
        device,
        &Packet::Pubrel(Acknowledgement {
            packet_identifier: NonZeroU16::new(9).unwrap(),
            reason_code: ReasonCode::Success,
            properties: Properties::EMPTY,
        }),
    );
}

#[test]
fn a_letter_is_acknowledged_when_it_is_durable_and_has_the_priority_of_its_property() {
    let mut world = World::in_text();
    let (agent, device) = begin(&mut world);
    world.commits = Commits::Wait;
    let users = [("mq9-priority", "urgent"), ("unit", "C")];
    world.publish_mqtt(device, (TOPIC, "too hot"), (1, false), &users);
    assert_eq!(world.packets(device), Vec::<String>::new());
    world.finish_commits();
    assert_eq!(world.packets(device), ["PUBACK Success -"]);
    let headers = ["mq9-priority: urgent", "unit: C"];
    expect_mail(
        &mut world,
        agent,
        &[item(0, "too hot").urgent().with(&headers)],
    );
}

#[test]
fn all_that_mq9_headers_ask_for_can_be_asked_for_by_properties() {
    let mut world = World::in_text();
    let (agent, device) = begin(&mut world);
    for payload in ["1", "2"] {
        let users = [("mq9-key", "k"), ("mq9-tags", "a,b"), ("MQ9-TTL", "5")];
        world.publish_mqtt(device, (TOPIC, payload), (1, false), &users);
    }
    world.publish_mqtt(device, (TOPIC, "later"), (1, false), &[("mq9-delay", "2")]);
    assert_eq!(world.packets(device), ["PUBACK Success -"; 3]);
    let query = "MSG.QUERY.agent.alarm";
    assert_eq!(
        payloads(&world.ask(agent, query, "{\"tags\":[\"b\"]}")),
        ["2"]
    );
    world.pass(3_000);
    assert_eq!(payloads(&world.ask(agent, query, "")), ["2", "later"]);
    world.pass(4_000);
    assert_eq!(payloads(&world.ask(agent, query, "")), ["later"]);
}

#[test]
fn the_expiry_of_a_message_is_that_of_the_letter_unless_a_property_says_another() {
    let mut world = World::in_text();
    let (agent, device) = begin(&mut world);
    let expires = Property::MessageExpiryInterval(2);
    let ttl = Property::UserProperty(wire::mqtt::property::UserProperty {
        name: "mq9-ttl",
        value: "6",
    });
    world.publish_mqtt_with(device, (TOPIC, "2 s"), (1, false), &[expires]);
    world.publish_mqtt_with(device, (TOPIC, "6 s"), (1, false), &[expires, ttl]);
    assert_eq!(payloads(&world.ask(agent, FETCH, EARLIEST)), ["2 s", "6 s"]);
    world.pass(4_000);
    assert_eq!(payloads(&world.ask(agent, FETCH, EARLIEST)), ["6 s"]);
    world.pass(4_000);
    assert_eq!(world.ask(agent, FETCH, EARLIEST), NOTHING);
}

#[test]
fn a_letter_of_every_qos_and_version_arrives_once() {
    for version in [Version::V311, Version::V5] {
        let mut world = World::in_text();
        let agent = world.join();
        world.mailbox(agent, "agent.alarm");
        let device = world.join_mqtt(version, "device");
        world.publish_mqtt(device, (TOPIC, "0"), (0, true), &[]);
        world.publish_mqtt(device, (TOPIC, "1"), (1, true), &[]);
        assert_eq!(world.packets(device), ["PUBACK Success -"]);
        world.publish_mqtt(device, (TOPIC, "2"), (2, true), &[]);
        world.publish_mqtt(device, (TOPIC, "2"), (2, true), &[]);
        assert_eq!(world.packets(device), ["PUBREC Success -"; 2]);
        pubrel(&mut world, device);
        assert_eq!(world.packets(device), ["PUBCOMP Success -"]);
        let expected = [item(0, "0"), item(1, "1"), item(2, "2")];
        expect_mail(&mut world, agent, &expected);
    }
}

#[test]
fn a_letter_of_qos_2_arrives_once_although_power_was_cut_before_its_pubrec() {
    let mut world = World::in_text();
    let (agent, device) = begin(&mut world);
    world.publish_mqtt(device, (TOPIC, "x"), (2, false), &[]);
    world.crash();
    let (agent_again, device) = (
        world.join(),
        world.join_mqtt_with(Version::V5, "device", false),
    );
    world.publish_mqtt(device, (TOPIC, "x"), (2, false), &[]);
    assert_eq!(world.packets(device), ["PUBREC Success -"]);
    pubrel(&mut world, device);
    assert_eq!(world.packets(device), ["PUBCOMP Success -"]);
    // Another one under the same identifier.
    world.publish_mqtt(device, (TOPIC, "y"), (2, false), &[]);
    expect_mail(&mut world, agent_again, &[item(0, "x"), item(1, "y")]);
    assert!(agent != agent_again);
}

#[test]
fn a_will_can_be_a_letter() {
    for topic in [TOPIC, "$mq9/nope"] {
        let mut world = World::in_text();
        let agent = world.join();
        world.mailbox(agent, "agent.alarm");
        let device = world.join_mqtt_with_will("device", topic);
        world.cut(device);
        let expected: &[Item<'_>] = match topic {
            TOPIC => &[item(0, "gone")],
            _ => &[],
        };
        expect_mail(&mut world, agent, expected);
        // One that can't be delivered is not tried again and again.
        world.pass(5_000);
        expect_mail(&mut world, agent, expected);
        let counters = world.broker.counters();
        assert_eq!(counters.refused, u64::from(topic != TOPIC));
    }
}

#[test]
fn a_will_that_the_disk_refuses_is_sent_when_there_is_room() {
    let mut world = World::in_text();
    let agent = world.join();
    world.mailbox(agent, "agent.alarm");
    let device = world.join_mqtt_with_will("device", TOPIC);
    world.commits = Commits::Fail;
    world.cut(device);
    world.pass(2_000);
    assert_eq!(world.ask(agent, FETCH, EARLIEST), NOTHING);
    world.commits = Commits::Succeed;
    world.pass(2_000);
    assert_eq!(payloads(&world.ask(agent, FETCH, EARLIEST)), ["gone"]);
    world.pass(5_000);
    assert_eq!(payloads(&world.ask(agent, FETCH, EARLIEST)), ["gone"]);
}

#[test]
fn a_letter_from_the_cloud_that_nobody_can_take_is_not_asked_for_again() {
    let mut world = World::in_text();
    let agent = world.join();
    world.mailbox(agent, "agent.alarm");
    for (topic, commits, expected) in [
        (TOPIC, Commits::Succeed, Outcome::Accepted),
        ("$mq9/nope", Commits::Succeed, Outcome::NoSubscribers),
        ("$mq9/a/b", Commits::Succeed, Outcome::NoSubscribers),
        (TOPIC, Commits::Fail, Outcome::Refused(Refusal::Mail)),
    ] {
        world.commits = commits;
        assert_eq!(
            world.deliver_from_cloud(topic, "x"),
            Some(expected),
            "{topic}"
        );
    }
    world.commits = Commits::Succeed;
    expect_mail(&mut world, agent, &[item(0, "x")]);
}

#[test]
fn answers_to_letters_keep_their_place_among_those_to_other_messages() {
    let mut world = World::in_text();
    let (_, device) = begin(&mut world);
    world.commits = Commits::Wait;
    world.publish_mqtt(device, (TOPIC, "x"), (1, false), &[]);
    world.publish_mqtt(device, ("nobody/listens", "x"), (1, false), &[]);
    assert_eq!(world.packets(device), Vec::<String>::new());
    world.finish_commits();
    let expected = ["PUBACK Success -", "PUBACK NoMatchingSubscribers -"];
    assert_eq!(world.packets(device), expected);
}

#[test]
fn a_letter_that_can_not_be_delivered_is_refused_with_the_reason() {
    let mut world = World::with(
        mail::Settings {
            message_count_maximum: 1,
            ..mail::Settings::default()
        },
        edge::nats::Settings::default(),
    );
    let (agent, device) = begin(&mut world);
    world.mail(agent, "agent.alarm", &[], "the only one");
    for (topic, expected) in [
        ("$mq9/nope", "TopicNameInvalid no mailbox has this address"),
        (
            "$mq9/",
            "TopicNameInvalid mail address is not one level of a topic",
        ),
        (
            "$mq9/agent/alarm",
            "TopicNameInvalid mail address is not one level of a topic",
        ),
        (
            "$mq9/AI/MSG/SEND/agent/alarm",
            "TopicNameInvalid mail address is not one level of a topic",
        ),
        (
            TOPIC,
            "QuotaExceeded mail office is at a limit or can not write",
        ),
    ] {
        world.publish_mqtt(device, (topic, "x"), (1, false), &[]);
        assert_eq!(
            world.packets(device),
            [format!("PUBACK {expected}")],
            "{topic}"
        );
        world.publish_mqtt(device, (topic, "x"), (2, false), &[]);
        assert_eq!(
            world.packets(device),
            [format!("PUBREC {expected}")],
            "{topic}"
        );
    }
    // Its packet identifier is free again.
    world.publish_mqtt(device, ("a", "x"), (2, false), &[]);
    assert_eq!(world.packets(device), ["PUBREC NoMatchingSubscribers -"]);
}

#[test]
fn a_letter_that_the_disk_refuses_is_refused() {
    let mut world = World::in_text();
    let (agent, device) = begin(&mut world);
    world.commits = Commits::Fail;
    world.publish_mqtt(device, (TOPIC, "x"), (2, false), &[]);
    let refused = "PUBREC QuotaExceeded mail office is at a limit or can not write";
    assert_eq!(world.packets(device), [refused]);
    world.commits = Commits::Succeed;
    world.publish_mqtt(device, (TOPIC, "y"), (2, false), &[]);
    assert_eq!(world.packets(device), ["PUBREC Success -"]);
    assert_eq!(payloads(&world.ask(agent, FETCH, EARLIEST)), ["y"]);
}

#[test]
fn before_mqtt_5_a_letter_that_can_not_be_delivered_ends_the_connection() {
    let mut world = World::in_text();
    let device = world.join_mqtt(Version::V311, "device");
    world.publish_mqtt(device, ("$mq9/nope", "x"), (1, false), &[]);
    assert_eq!(world.take_bytes(device), b"");
    assert!(world.is_closed(device));
}

#[test]
fn who_may_not_write_to_a_mailbox_is_told_so() {
    let list =
        AccessList::parse("topic readwrite #\ntopic write $mq9/open\ntopic write $mq9/AI/#\n");
    let mut world = World::in_text();
    let (_, device) = begin(&mut world);
    world.rule(Policy {
        list: Some(Rc::new(list.unwrap())),
        ..Policy::default()
    });
    world.publish_mqtt(device, (TOPIC, "x"), (1, false), &[]);
    let refused = "PUBACK NotAuthorized not allowed to this client";
    assert_eq!(world.packets(device), [refused]);
    world.publish_mqtt(device, ("$mq9/open", "x"), (1, false), &[]);
    let refused = "PUBACK TopicNameInvalid no mailbox has this address";
    assert_eq!(world.packets(device), [refused]);
}

#[test]
fn nobody_hears_letters_but_who_fetches_them() {
    let mut world = World::in_text();
    let (agent, device) = begin(&mut world);
    let listener = world.join_mqtt(Version::V5, "listener");
    for filter in ["$mq9/#", "$mq9/agent.alarm", "$share/g/$mq9/#", "#"] {
        world.subscribe_mqtt(listener, filter);
    }
    world.publish_mqtt(device, (TOPIC, "x"), (1, true), &[]);
    assert_eq!(world.packets(device), ["PUBACK Success -"]);
    assert_eq!(world.take_bytes(listener), b"");
    // Nor is it retained.
    let late = world.join_mqtt(Version::V5, "late");
    world.subscribe_mqtt(late, TOPIC);
    assert_eq!(world.take_bytes(late), b"");
    expect_mail(&mut world, agent, &[item(0, "x")]);
}
