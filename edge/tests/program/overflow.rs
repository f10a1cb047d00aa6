//! Lanes at their limits, over a real connection.

use super::devices::Device;
use super::support::{Gateway, run};

/// The smallest that may be configured.
const SMALL: &str = "[durability]\nsegment_bytes = 1048576\n\
    [lanes]\ncritical = [\"alarm/#\"]\n\
    [[rule]]\nfilter = \"order/#\"\nlane = \"urgent\"\n\
    [retention.normal]\nmax_bytes = 4194304\noverflow = \"reject\"\n";

#[test]
fn a_lane_that_rejects_is_refused_at_its_limit_and_others_go_on() {
    let gateway = Gateway::start(SMALL);
    let mut reader = Device::connect(gateway.address, "reader");
    reader.subscribe("#");
    drop(reader);
    let mut device = Device::connect(gateway.address, "device");
    let payload = "x".repeat(20_000);
    let mut stored = 0;
    loop {
        device.publish("plant/a", 1, &payload);
        if !device.is_acknowledged() {
            break;
        }
        stored += 1;
        assert!(stored < 400, "the lane never fills");
    }
    assert!(stored > 120, "{stored}");
    gateway.expect_fact("normal.full", |full| full == 1);
    let mut device = Device::connect(gateway.address, "device");
    for (count, topic) in [(1, "alarm/a"), (2, "order/a")] {
        device.publish(topic, count, "x");
        assert!(device.is_acknowledged());
    }
    assert_eq!(gateway.fact("urgent.head"), 1);
    assert_eq!(gateway.fact("critical.head"), 1);
    assert_eq!(gateway.fact("gaps"), 0);
    assert_eq!(gateway.fact("normal.head"), stored);
}

/// What outlived its segment came once more to everybody who had had it.
#[test]
fn the_latest_of_each_topic_reaches_who_was_away_and_nobody_twice() {
    let mut gateway = Gateway::start(
        "[durability]\nsegment_bytes = 1048576\n\
         [retention.normal]\nmax_bytes = 4194304\noverflow = \"keep-latest\"\n",
    );
    let mut early = Device::connect(gateway.address, "early");
    early.subscribe("#");
    Device::connect(gateway.address, "late").subscribe("#");
    let mut sensor = Device::connect(gateway.address, "sensor");
    let mut send = |topic: &str, payload: &str| {
        sensor.publish(topic, 1, payload);
        assert!(sensor.is_acknowledged());
    };
    let states: Vec<String> = (0..10).map(|number| format!("state {number}")).collect();
    for (number, state) in states.iter().enumerate() {
        send(&format!("plant/{number}"), state);
    }
    for state in &states {
        assert_eq!(early.take().as_ref(), Some(state));
    }
    drop(early);
    let filling = "x".repeat(20_000);
    (1000..1600).for_each(|number| send("busy", &format!("{number}{filling}")));
    send("end", "end");
    gateway.expect_fact("gaps", |count| count > 300);
    assert!(gateway.terminate().success());
    let data = gateway.data();
    let data = data.to_str().expect("a path of the test");
    assert!(run(&["fsck", data]).status.success());
    let exported = run(&["export", data, "--lane=normal"]);
    assert!(exported.status.success());
    let exported = String::from_utf8(exported.stdout).expect("JSON");
    assert!(
        exported.contains("\"missing\":\"limit\""),
        "{exported:.2000}"
    );
    gateway.restart();

    let everything = |name| {
        let mut device = Device::connect(gateway.address, name);
        assert!(device.session_present);
        let mut taken = Vec::new();
        while taken.last().is_none_or(|last| last != "end") {
            let mut payload = device.take().expect("the gateway goes on");
            payload.truncate(7);
            taken.push(payload);
        }
        taken
    };
    // What the stop brought into segments may push more out, before either of them reads or between.
    let is_in_order = |taken: &[String]| taken.is_sorted_by(|before, after| before < after);
    let early = everything("early");
    assert!(is_in_order(&early), "{early:?}");
    assert!(early.iter().all(|it| !states.contains(it)), "{early:?}");
    let late = everything("late");
    assert_eq!(late[..10], states);
    assert!(is_in_order(&late[10..]), "{late:?}");
}
