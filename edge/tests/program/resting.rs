//! Clients that rest between two words: what is read and written in passing, and what is too much
//! for that.

use std::io::Write as _;

use super::devices::Device;
use super::support::Gateway;

/// What is read in passing, and what one read of a task brings.
const LIMITS: [usize; 2] = [4 << 10, 64 << 10];

/// A payload that makes a PUBLISH to the topic `a` so many bytes long.
fn payload_of_packet(bytes: usize) -> String {
    // Type, remaining length, topic, packet identifier.
    let length_bytes = if bytes < 16_384 { 2 } else { 3 };
    "x".repeat(bytes - 1 - length_bytes - 3 - 2)
}

#[test]
fn a_packet_that_just_fits_a_read_or_does_not_is_answered_at_once() {
    let gateway = Gateway::start("");
    let mut device = Device::connect(gateway.address, "device");
    for limit in LIMITS {
        for bytes in [limit - 1, limit, limit + 1, 2 * limit] {
            device.publish("a", 1, &payload_of_packet(bytes));
            assert!(device.is_acknowledged(), "{bytes}");
        }
    }
}

#[test]
fn whoever_says_much_at_once_is_heard_to_the_end() {
    const COUNT: u16 = 2000;
    let gateway = Gateway::start("");
    let mut device = Device::connect(gateway.address, "device");
    // PUBLISH with QoS 1 to the topic `a`, one byte of payload.
    let packets: Vec<u8> = (1..=COUNT)
        .flat_map(|identifier| {
            let [high, low] = identifier.to_be_bytes();
            [0x32, 6, 0, 1, b'a', high, low, b'x']
        })
        .collect();
    device.stream().write_all(&packets).expect("it reads");
    assert!((0..COUNT).all(|_| device.is_acknowledged()));
    // And goes on as before.
    device.publish("a", 1, "x");
    assert!(device.is_acknowledged());
}

/// Far more than a socket has room for: a write in passing stops somewhere in a message.
#[test]
fn what_a_link_has_no_room_for_in_passing_arrives_whole_and_in_order() {
    const COUNT: usize = 200;
    let gateway = Gateway::start("");
    let mut reader = Device::connect(gateway.address, "reader");
    reader.subscribe("a");
    let mut writer = Device::connect(gateway.address, "writer");
    let payload = |number: usize| format!("{number:06}").repeat(10_000);
    for number in 0..COUNT {
        writer.publish("a", 1, &payload(number));
        assert!(writer.is_acknowledged());
    }
    for number in 0..COUNT {
        let taken = reader.take().expect("a message");
        assert!(taken == payload(number), "{number}: {:.12}", taken);
    }
}

/// A link that was called for, and written to in pieces without a task, was never called for again.
#[test]
fn what_comes_after_a_message_in_pieces_is_written_as_well() {
    let gateway = Gateway::start("");
    let mut reader = Device::connect(gateway.address, "reader");
    reader.subscribe("a");
    let mut writer = Device::connect(gateway.address, "writer");
    for _ in 0..3 {
        for payload in ["x".repeat(200_000), "y".to_owned()] {
            writer.publish("a", 1, &payload);
            assert!(writer.is_acknowledged());
            assert!(reader.take().is_some_and(|taken| taken == payload));
        }
    }
}

#[test]
fn a_link_that_rests_is_ended_from_either_side() {
    let gateway = Gateway::start("");
    let mut devices = ["first", "second"].map(|name| Device::connect(gateway.address, name));
    for device in &mut devices {
        device.publish("a", 1, "x");
        assert!(device.is_acknowledged());
    }
    let [mut wrong, gone] = devices;
    // A packet type that does not exist.
    wrong.stream().write_all(&[0xf0, 0]).expect("it is open");
    assert!(wrong.take().is_none(), "it is closed");
    drop(gone);
    gateway.expect_fact("connections", |count| count == 0);
}
