//! Lanes at their limits, over a real connection.

use super::devices::Device;
use super::support::Gateway;

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
