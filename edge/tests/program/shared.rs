//! Shared subscriptions between real clients, also when the gateway is killed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::devices::Device;
use super::support::{Gateway, Mosquitto, PATIENCE, Tool};

/// A client that shares the work and acknowledges whatever it gets, until its connection ends.
fn work(address: SocketAddr, name: &'static str, done: &Sender<String>) {
    let mut device = Device::connect(address, name);
    if !device.session_present {
        device.subscribe("$share/workers/plant/#");
    }
    let done = done.clone();
    std::thread::spawn(move || {
        while let Some(payload) = device.take() {
            // The test may have seen enough.
            let _ = done.send(payload);
        }
    });
}

/// Publishes numbers and waits for their acknowledgements.
fn publish(address: SocketAddr, numbers: std::ops::Range<u16>) {
    let mut sensor = Device::connect(address, "sensor");
    for number in numbers.clone() {
        sensor.publish("plant/work", number, &number.to_string());
    }
    for _ in numbers {
        assert!(sensor.is_acknowledged());
    }
}

/// Takes done work until there is so much of it.
fn expect_done(results: &Receiver<String>, done: &mut Vec<u16>, count: usize) {
    while done.iter().collect::<BTreeSet<_>>().len() < count {
        let payload = results.recv_timeout(PATIENCE).expect("work goes on");
        done.push(payload.parse().expect("a number"));
    }
}

#[test]
fn a_group_gets_everything_though_the_gateway_is_killed() {
    let mut gateway = Gateway::start("");
    let (done, results) = channel();
    let mut seen = Vec::new();
    let address = gateway.address;
    work(address, "a", &done);
    work(address, "b", &done);
    publish(address, 1..501);
    expect_done(&results, &mut seen, 100);
    gateway.kill();
    gateway.restart();
    // Nobody is there, then one of the two.
    publish(address, 501..1001);
    work(address, "b", &done);
    expect_done(&results, &mut seen, 700);
    gateway.kill();
    gateway.restart();
    work(address, "a", &done);
    publish(address, 1001..1501);
    work(address, "b", &done);
    expect_done(&results, &mut seen, 1500);
    // Some came twice: acknowledgements are stored once a second.
    seen.sort_unstable();
    seen.dedup();
    assert!(
        seen.into_iter().eq(1..1501),
        "nothing acknowledged is missing"
    );
}

#[test]
fn mosquitto_sub_shares_a_subscription_in_each_version() {
    if Mosquitto::start().is_none() {
        return;
    }
    for version in ["mqttv311", "mqttv5"] {
        let gateway = Gateway::start("");
        let start = |name| {
            let filter = "$share/workers/plant/#";
            let options = [
                "-V", version, "-q", "1", "-C", "20", "-i", name, "-t", filter,
            ];
            Tool::start("mosquitto_sub", gateway.address, &options)
        };
        let members = ["a", "b"].map(start);
        gateway.expect_fact("subscriptions.shared", |count| count == 2);
        let lines: Vec<String> = (0..40).map(|number| format!("{number}\n")).collect();
        let options = ["-V", version, "-q", "1", "-t", "plant/work", "-l"];
        Tool::start("mosquitto_pub", gateway.address, &options).feed(&lines.concat());
        let mut all: Vec<u16> = members
            .into_iter()
            .flat_map(Tool::lines)
            .map(|line| line.parse().expect("a number"))
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..40), "each number went to one of them");
    }
}
