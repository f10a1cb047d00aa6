//! What was dropped is told to the cloud, once.

use std::collections::BTreeSet;

use wire::mqtt::ReasonCode;

use super::devices::Device;
use super::scripted::{Answer, Cloud};
use super::support::Gateway;

const TOPIC: &str = "$edge/test/gaps";

fn gateway(cloud: &Cloud, more: &str) -> Gateway {
    Gateway::start(&format!(
        "[cloud]\nendpoints = [\"mqtt://{}\"]\nuplink = [\"plant/#\"]\nconnections = 1\n\
         [sync]\nhold_seconds = 0\n{more}",
        cloud.address
    ))
}

/// Never takes a payload that begins with `poison`.
fn refuse_poison(cloud: &Cloud) {
    cloud.answer(|arrival| match arrival.payload.starts_with("poison") {
        true => Answer::Say(ReasonCode::TopicNameInvalid),
        false => Answer::Accept,
    });
}

fn publish(device: &mut Device, payloads: &[&str]) {
    for (count, payload) in (1..).zip(payloads) {
        device.publish("plant/a", count, payload);
        assert!(device.is_acknowledged());
    }
}

#[test]
fn every_gap_is_one_message_also_after_a_kill() {
    let cloud = Cloud::start();
    refuse_poison(&cloud);
    let mut gateway = gateway(&cloud, "");
    let mut device = Device::connect(gateway.address, "device");
    publish(&mut device, &["a", "poison", "b", "poison", "c"]);
    cloud.wait_until("two gaps are told", |state| state.taken(TOPIC).len() == 2);
    gateway.expect_fact("gaps.announced", |count| count == 2);

    gateway.kill();
    gateway.restart();
    let mut device = Device::connect(gateway.address, "device");
    publish(&mut device, &["d", "poison"]);
    cloud.wait_until("the third is told", |state| state.taken(TOPIC).len() >= 3);
    gateway.expect_drained("critical");
    let state = cloud.state();
    let told = state.taken(TOPIC);
    assert_eq!(told.len(), 3, "{told:#?}");
    let distinct: BTreeSet<&String> = told.iter().collect();
    assert_eq!(distinct.len(), 3, "{told:#?}");
    for (text, offset) in told.iter().zip([1, 3, 6]) {
        let expected = format!(
            "{{\"lane\":\"normal\",\"first\":{offset},\"last\":{offset},\"count\":1,\"bytes\":"
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.ends_with(",\"reason\":\"rejected\"}"), "{text}");
    }
    // Acknowledged is arrived plus gaps.
    assert_eq!(state.taken("plant/a"), ["a", "b", "c", "d"]);
    drop(state);
    assert_eq!(gateway.fact("gaps"), 3);
    assert_eq!(gateway.fact("gaps.ranges"), 3);
}

/// A gap about a message about a gap about a message ...
#[test]
fn a_cloud_that_does_not_take_what_it_is_told_is_not_told_so() {
    let cloud = Cloud::start();
    cloud.answer(|arrival| {
        let is_poison = arrival.payload == "poison" || arrival.topic == TOPIC;
        match is_poison {
            true => Answer::Say(ReasonCode::TopicNameInvalid),
            false => Answer::Accept,
        }
    });
    let gateway = gateway(&cloud, "");
    let mut device = Device::connect(gateway.address, "device");
    publish(&mut device, &["a", "poison", "b"]);
    gateway.expect_line("the cloud does not take what it is told");
    // Gaps are handed out a second after they are noted: here comes a whole round after it.
    publish(&mut device, &["poison"]);
    gateway.expect_fact("gaps.announced", |count| count == 2);
    gateway.expect_fact("cloud.critical.released", |floor| floor == 2);
    assert_eq!(gateway.fact("gaps"), 2);
}
