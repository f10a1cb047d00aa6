//! Memory has one ceiling, whatever clients do.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::devices::Device;
use super::support::Gateway;

/// `limits.memory_bytes` where nothing else is configured.
const CEILING: u64 = 64 << 20;

#[test]
fn halves_of_large_packets_stay_below_the_ceiling() {
    let gateway = Gateway::start("");
    let mut polite = Device::connect(gateway.address, "polite");
    let mut hostile = Vec::new();
    for number in 0..120 {
        let mut device = Device::connect(gateway.address, &format!("hostile-{number}"));
        device.send_beginning_of_publish(1 << 20, 1_000_000);
        hostile.push(device);
    }
    for count in 1..=100 {
        polite.publish("plant/temp", count, &"x".repeat(1000));
        assert!(polite.is_acknowledged());
    }
    let resident = gateway.resident_bytes();
    assert!(
        resident < CEILING,
        "120 half packets of 1 MB cost {resident} bytes"
    );
    gateway.expect_line("was disconnected: ");
}

#[test]
fn subscribers_that_never_read_stay_below_the_ceiling() {
    let gateway = Gateway::start("");
    let mut deaf = Vec::new();
    for number in 0..150 {
        let mut device = Device::connect(gateway.address, &format!("deaf-{number}"));
        device.subscribe_at_most_once("plant/#");
        deaf.push(device);
    }
    let mut polite = Device::connect(gateway.address, "polite");
    polite.subscribe_at_most_once("other/#");
    let mut publisher = Device::connect(gateway.address, "publisher");
    let payload = "x".repeat(100_000);
    for count in 1..=300 {
        publisher.publish("plant/temp", count, &payload);
        assert!(publisher.is_acknowledged());
    }
    let resident = gateway.resident_bytes();
    assert!(
        resident < CEILING,
        "150 deaf subscribers cost {resident} bytes"
    );
    publisher.publish("other/temp", 1, "heard");
    assert_eq!(polite.take().as_deref(), Some("heard"));
}

/// What a client of MQTT 3.1.1 sent behind 64 publishes that wait for the disk was dealt with at once
/// when these were answered: 3,000 messages for 400 subscribers took 250 MB.
#[test]
fn messages_that_were_held_back_go_to_many_subscribers_one_by_one() {
    let gateway = Gateway::start("[limits]\nconnections_per_address = 0\n");
    let mut subscribers = Vec::new();
    for number in 0..200 {
        let mut device = Device::connect(gateway.address, &format!("many-{number}"));
        device.subscribe_at_most_once("plant/#");
        subscribers.push(device);
    }
    let mut last = Device::connect(gateway.address, "last");
    last.subscribe_at_most_once("other/#");
    let mut publisher = Device::connect(gateway.address, "publisher");
    let mut bytes = Vec::new();
    for number in 1..=100 {
        // Retained, so that it waits for its commit.
        bytes.extend_from_slice(&[0x33, 6, 0, 1, b'q', 0, number, b'1']);
    }
    for number in 1..=5_000 {
        bytes.extend_from_slice(&[
            0x30, 10, 0, 7, b'p', b'l', b'a', b'n', b't', b'/', b'1', b'1',
        ]);
        // Somebody sees that it goes on.
        if number % 500 == 0 {
            bytes.extend_from_slice(&[
                0x30, 10, 0, 7, b'o', b't', b'h', b'e', b'r', b'/', b'1', b'1',
            ]);
        }
    }
    publisher.stream().write_all(&bytes).expect("it is taken");
    for _ in 0..10 {
        assert_eq!(last.take().as_deref(), Some("1"));
    }
    let peak = gateway
        .status_of("VmHWM:")
        .parse::<u64>()
        .expect("a number")
        * 1024;
    assert!(peak < CEILING, "5,000 messages for 200 cost {peak} bytes");
}

impl Device {
    /// Announces a PUBLISH of `announced` bytes and sends `sent` of them, as far as it is taken.
    fn send_beginning_of_publish(&mut self, announced: usize, sent: usize) {
        let mut bytes = vec![0x30];
        let mut rest = announced - 5;
        while rest > 0 {
            let digit = u8::try_from(rest % 128).expect("a remainder of 128");
            rest /= 128;
            bytes.push(if rest > 0 { digit | 128 } else { digit });
        }
        bytes.extend_from_slice(&[0, 1, b'a']);
        bytes.resize(sent, 0);
        let stream: &mut TcpStream = self.stream();
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("a socket has time-outs");
        let mut written = 0;
        while written < bytes.len() {
            match stream.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Refused, or held up: both are answers to this.
                Err(_) => return,
            }
        }
    }
}
