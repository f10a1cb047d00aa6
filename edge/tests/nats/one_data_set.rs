//! MQTT topics and NATS subjects are the same names, and what goes along is told in both.

use wire::mqtt::property::{Property, UserProperty};
use wire::topic::TopicName;

use super::world::{Received, World, properties_of};

const PLAIN: (u8, bool) = (0, false);

fn user<'a>(name: &'a str, value: &'a str) -> Property<'a> {
    Property::UserProperty(UserProperty { name, value })
}

#[test]
fn what_a_sensor_publishes_reaches_a_service() {
    let mut world = World::new();
    let sensor = world.join_mqtt("sensor");
    let service = world.join();
    world.say(service, "SUB plant.*.temp 1");
    for qos in [0, 1, 2] {
        world.publish_mqtt(sensor, ("plant/line1/temp", "21.5"), (qos, false), &[]);
        world.expect(service, "MSG plant.line1.temp 1 4\r\n21.5\r\n");
    }
}

#[test]
fn what_a_service_publishes_reaches_devices_with_qos_0() {
    let mut world = World::new();
    let service = world.join();
    let device = world.join_mqtt("device");
    world.subscribe_mqtt(device, "command/#", 2);
    world.publish(service, "command.line1./.v1//2", "go");
    let expected = Received {
        topic: "command/line1//v1.2".to_owned(),
        payload: "go".to_owned(),
        qos: 0,
        properties: Vec::new(),
    };
    assert_eq!(world.next_message(device), Some(expected));
    assert!(world.changes.is_empty(), "nothing is written for it");
}

#[test]
fn a_retained_message_is_heard_as_it_comes_and_not_later() {
    let mut world = World::new();
    let sensor = world.join_mqtt("sensor");
    let early = world.join();
    world.say(early, "SUB a 1");
    world.publish_mqtt(sensor, ("a", "1"), (0, true), &[]);
    world.expect(early, "MSG a 1 1\r\n1\r\n");
    let late = world.join();
    world.say(late, "SUB a 1\nSUB > 2");
    world.expect_nothing(late);
}

#[test]
fn a_device_asks_and_a_service_answers() {
    let mut world = World::new();
    let device = world.join_mqtt("device");
    let service = world.join();
    world.subscribe_mqtt(device, "response/device", 1);
    world.say(service, "SUB time 1");
    let asked = [
        Property::ResponseTopic(TopicName::new("response/device").unwrap()),
        Property::CorrelationData(b"\x00\xAB1"),
    ];
    world.publish_mqtt(device, ("time", "?"), PLAIN, &asked);
    let block = "NATS/1.0\r\nMqtt-Correlation-Data: 00ab31\r\n\r\n";
    let sizes = |payload: &str| format!("{} {}", block.len(), block.len() + payload.len());
    world.expect(
        service,
        &format!("HMSG time 1 response.device {}\r\n{block}?\r\n", sizes("?")),
    );
    world.say(
        service,
        &format!("HPUB response.device {}\n{block}noon", sizes("noon")),
    );
    let answer = world.next_message(device).unwrap();
    assert_eq!(
        (&*answer.topic, &*answer.payload),
        ("response/device", "noon")
    );
    assert_eq!(answer.properties, properties_of(&[asked[1]]));
}

#[test]
fn a_service_asks_and_a_device_answers() {
    let mut world = World::new();
    let service = world.join();
    let device = world.join_mqtt("device");
    world.subscribe_mqtt(device, "time", 1);
    world.say(service, "SUB _INBOX.x.* 9\nPUB time _INBOX.x.1 0\n");
    let inbox = "_INBOX/x/1";
    let asked = world.next_message(device).unwrap();
    let expected = [Property::ResponseTopic(TopicName::new(inbox).unwrap())];
    assert_eq!(asked.properties, properties_of(&expected));
    world.publish_mqtt(device, (inbox, "noon"), PLAIN, &[]);
    world.expect(service, "MSG _INBOX.x.1 9 4\r\nnoon\r\n");
}

#[test]
fn headers_are_user_properties_in_both_directions() {
    let mut world = World::new();
    let service = world.join();
    let device = world.join_mqtt("device");
    world.subscribe_mqtt(device, "a", 0);
    let block = "NATS/1.0\r\nb: 2\r\nA: 1: x\r\nb: 3\r\nMqtt-Correlation-Data: no\r\n\r\n";
    let sizes = format!("{0} {0}", block.len());
    world.say(service, &format!("HPUB a {sizes}\n{block}"));
    let message = world.next_message(device).unwrap();
    let told = [
        user("b", "2"),
        user("A", "1: x"),
        user("b", "3"),
        user("Mqtt-Correlation-Data", "no"),
    ];
    assert_eq!(message.properties, properties_of(&told));

    world.say(service, "SUB b 1");
    world.publish_mqtt(device, ("b", ""), PLAIN, &told);
    world.expect(service, &format!("HMSG b 1 {sizes}\r\n{block}\r\n"));
}

#[test]
fn what_no_header_can_say_is_left_out_and_the_rest_arrives() {
    let mut world = World::new();
    let device = world.join_mqtt("device");
    let service = world.join();
    world.say(service, "SUB a 1");
    let told = [
        user("", "x"),
        user("a b", "x"),
        user("\u{e9}", "x"),
        user("x", "a\r\nb: c"),
        user("x", " a"),
    ];
    world.publish_mqtt(device, ("a", "1"), PLAIN, &told);
    world.expect(service, "MSG a 1 1\r\n1\r\n");
    let told = [&told[..], &[user("x", "\u{e9}")]].concat();
    world.publish_mqtt(device, ("a", "2"), PLAIN, &told);
    let expected = "HMSG a 1 19 20\r\nNATS/1.0\r\nx: \u{e9}\r\n\r\n2\r\n";
    world.expect(service, expected);
}

#[test]
fn topics_that_no_subject_can_be_exist_for_devices_alone() {
    let mut world = World::new();
    let device = world.join_mqtt("device");
    let service = world.join();
    world.say(service, "SUB > 1");
    for topic in ["a b", "a/*", ">"] {
        world.publish_mqtt(device, (topic, "x"), PLAIN, &[]);
    }
    let unspeakable = [Property::ResponseTopic(TopicName::new("a b").unwrap())];
    world.publish_mqtt(device, ("a", "x"), PLAIN, &unspeakable);
    world.expect(service, "MSG a 1 1\r\nx\r\n");
    assert_eq!(world.nats(service).dropped_count(), 3);
}
