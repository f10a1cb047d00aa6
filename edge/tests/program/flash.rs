//! The flash budget, over a real connection.

use std::time::Duration;

use super::devices::Device;
use super::support::{Gateway, now, wait_until};

#[test]
fn telemetry_waits_to_save_flash_and_alarms_do_not() {
    let gateway = Gateway::start(
        "[durability]\nflash_bytes_per_day = 1048576\nflash_rated_bytes = 1000000000000\n\
         [lanes]\ncritical = [\"alarm/#\"]\n",
    );
    let mut reader = Device::connect(gateway.address, "reader");
    reader.subscribe("#");
    drop(reader);
    let mut device = Device::connect(gateway.address, "device");
    for count in 1..60 {
        device.publish("plant/a", count, "x");
        assert!(device.is_acknowledged());
        if gateway.fact("flash.linger_ms") == 1000 {
            break;
        }
    }
    gateway.expect_fact("flash.linger_ms", |linger| linger == 1000);
    gateway.expect_fact("flash.overdrawn", |overdrawn| overdrawn == 1);
    let acknowledged_after = |device: &mut Device, topic| {
        let start = now();
        device.publish(topic, 1, "x");
        assert!(device.is_acknowledged());
        start.elapsed()
    };
    let normal = acknowledged_after(&mut device, "plant/a");
    assert!(normal > Duration::from_millis(400), "{normal:?}");
    // A slow disk takes its time for both.
    wait_until("an alarm that waits for the disk alone", || {
        acknowledged_after(&mut device, "alarm/a") + Duration::from_millis(400) < normal
    });
    assert!(
        gateway.fact("flash.written_bytes") > 1 << 20,
        "the journal alone"
    );
}
