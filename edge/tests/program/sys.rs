//! `$SYS` as mosquitto's own client sees it.

use std::collections::BTreeMap;

use super::devices::Device;
use super::support::{Gateway, Mosquitto, Tool};

/// Starts a gateway that says something new each second.
fn gateway() -> Gateway {
    let mut gateway = Gateway::start("");
    let text = std::fs::read_to_string(gateway.config()).expect("its configuration");
    let text = text.replacen("[gateway]\n", "[gateway]\nsys_interval_seconds = 1\n", 1);
    std::fs::write(gateway.config(), text).expect("a writable folder");
    gateway.kill();
    gateway.restart();
    gateway
}

#[test]
fn mosquitto_sub_sees_what_it_graphs() {
    if Mosquitto::start().is_none() {
        return;
    }
    let gateway = gateway();
    // All that are there at once, and then what changes.
    let options = ["-t", "$SYS/#", "-C", "125", "-F", "%r|%t|%p"];
    let watching = Tool::start("mosquitto_sub", gateway.address, &options);
    gateway.expect_fact("subscriptions", |count| count == 1);
    let mut sensor = Device::connect(gateway.address, "sensor");
    sensor.publish("plant/temp", 1, "21");
    assert!(sensor.is_acknowledged());
    let lines = watching.lines();
    let mut first = BTreeMap::new();
    let mut last = BTreeMap::new();
    for line in &lines {
        let mut parts = line.splitn(3, '|');
        let mut part = || parts.next().expect("three parts");
        let (retained, topic, value) = (part(), part(), part());
        let topic = topic.strip_prefix("$SYS/broker/").expect("our prefix");
        let kind = if retained == "1" {
            &mut first
        } else {
            &mut last
        };
        kind.insert(topic.to_owned(), value.to_owned());
    }
    let version = concat!("robustmq-edge version ", env!("CARGO_PKG_VERSION"));
    assert_eq!(first["version"], version);
    assert_eq!(first["load/bytes/sent/15min"], "0.00");
    assert!(first["uptime"].ends_with(" seconds"));
    assert_eq!(first["edge/normal/backlog"], "0");
    assert_eq!(first["retained messages/count"], "0");
    assert!(last.contains_key("uptime"), "{lines:#?}");
    assert!(!last.contains_key("version"), "it does not change");
}

#[test]
fn an_interval_of_0_turns_it_off() {
    let mut gateway = gateway();
    let text = std::fs::read_to_string(gateway.config()).expect("its configuration");
    let text = text.replace("sys_interval_seconds = 1", "sys_interval_seconds = 0");
    std::fs::write(gateway.config(), text).expect("a writable folder");
    gateway.kill();
    gateway.restart();
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("$SYS/#");
    display.subscribe("plant/#");
    let mut sensor = Device::connect(gateway.address, "sensor");
    sensor.publish("plant/temp", 1, "21");
    assert_eq!(display.take().as_deref(), Some("21"));
}
