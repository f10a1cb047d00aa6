//! A sensor: numbers its messages, keeps what was not acknowledged, and sends that again after
//! every broken connection, as a good device does.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sync::{Lane, property};
use wire::mqtt::property::{Property, UserProperty};
use wire::mqtt::{Packet, Publish};

use super::client::Client;
use super::ledger::{Ledger, Message};

/// The ledger, shared by all threads of the demo.
pub(super) type Books = Arc<Mutex<Ledger>>;

/// Messages without an answer.
const WINDOW: usize = 20;
/// Between two bursts of messages.
const PAUSE: Duration = Duration::from_millis(20);
const BURST: usize = 5;
const RETRY: Duration = Duration::from_millis(50);

/// Publishes until `is_over`, and then until everything is acknowledged.
pub(super) fn run(number: u32, gateway: SocketAddr, books: &Books, is_over: &AtomicBool) {
    let mut sensor = Sensor {
        number,
        next: 0,
        unacknowledged: VecDeque::new(),
    };
    while !(is_over.load(Ordering::Relaxed) && sensor.unacknowledged.is_empty()) {
        // A broken connection is what the demo is about.
        if sensor.live(gateway, books, is_over).is_err() {
            thread::park_timeout(RETRY);
        }
    }
}

struct Sensor {
    number: u32,
    next: u64,
    unacknowledged: VecDeque<u64>,
}

impl Sensor {
    /// One connection from its beginning to its end.
    fn live(&mut self, gateway: SocketAddr, books: &Books, is_over: &AtomicBool) -> io::Result<()> {
        let mut client = Client::connect(gateway, &format!("sensor-{}", self.number))?;
        for count in self.unacknowledged.clone() {
            self.publish(&mut client, count, true)?;
        }
        loop {
            let is_over = is_over.load(Ordering::Relaxed);
            if is_over && self.unacknowledged.is_empty() {
                return Ok(());
            }
            for _ in 0..BURST {
                if !is_over && self.unacknowledged.len() < WINDOW {
                    self.publish(&mut client, self.next, false)?;
                    self.unacknowledged.push_back(self.next);
                    self.next += 1;
                }
            }
            client.flush()?;
            self.settle(&mut client, books)?;
        }
    }

    fn publish(&self, client: &mut Client, count: u64, dup: bool) -> io::Result<()> {
        let payload = format!("{{\"sensor\":{},\"count\":{count}}}", self.number);
        client.publish(
            &topic(self.number),
            identifier(count),
            dup,
            payload.as_bytes(),
        )
    }

    /// Takes acknowledgements for the length of a pause.
    fn settle(&mut self, client: &mut Client, books: &Books) -> io::Result<()> {
        loop {
            let acknowledged = client.receive(PAUSE, |packet| match packet {
                Packet::Puback(puback) if !puback.reason_code.is_error() => {
                    Some(puback.packet_identifier)
                }
                _ => None,
            })?;
            let Some(acknowledged) = acknowledged else {
                return Ok(());
            };
            let settled = |count: &u64| Some(identifier(*count)) == acknowledged;
            if let Some(at) = self.unacknowledged.iter().position(settled)
                && let Some(count) = self.unacknowledged.remove(at)
            {
                lock(books).acknowledge((self.number, count));
            }
        }
    }
}

/// Takes everything that arrives in the cloud to the books, until `is_over`.
pub(super) fn watch_cloud(
    mut client: Client,
    books: &Books,
    is_over: &AtomicBool,
) -> io::Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        let arrived = client.receive(PAUSE, |packet| match packet {
            Packet::Publish(publish) => {
                note(publish, books);
                publish.packet_identifier
            }
            _ => None,
        })?;
        if let Some(packet_identifier) = arrived.flatten() {
            client.acknowledge(packet_identifier)?;
            client.flush()?;
        }
    }
    Ok(())
}

fn note(publish: &Publish<'_>, books: &Books) {
    let value = |name: &str| {
        publish
            .properties
            .iter()
            .find_map(|property| match property {
                Property::UserProperty(UserProperty { name: found, value }) if found == name => {
                    Some(value)
                }
                _ => None,
            })
    };
    let lane = value(property::EDGE_LANE).unwrap_or(Lane::Normal.name());
    let offset = value(property::EDGE_OFFSET).and_then(|offset| offset.parse().ok());
    if let (Some(offset), Some(message)) = (offset, message(publish.payload)) {
        lock(books).arrive(lane, offset, message);
    }
}

/// Reads the payload that a sensor writes.
fn message(payload: &[u8]) -> Option<Message> {
    let text = std::str::from_utf8(payload)
        .ok()?
        .strip_prefix("{\"sensor\":")?
        .strip_suffix('}')?;
    let (sensor, count) = text.split_once(",\"count\":")?;
    Some((sensor.parse().ok()?, count.parse().ok()?))
}

fn topic(number: u32) -> String {
    format!("plant/line{}/sensor{number}/temp", number % 3)
}

/// A packet identifier for a message; free again long before it comes round.
fn identifier(count: u64) -> NonZeroU16 {
    let number =
        u16::try_from(count % u64::from(u16::MAX)).expect("a remainder fits its divisor's type");
    NonZeroU16::MIN.saturating_add(number)
}

pub(super) fn lock(books: &Books) -> std::sync::MutexGuard<'_, Ledger> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_name_sensor_and_count() {
        assert_eq!(message(b"{\"sensor\":3,\"count\":41}"), Some((3, 41)));
        assert_eq!(message(b"{\"sensor\":3}"), None);
    }

    #[test]
    fn identifiers_are_never_zero_and_differ_within_the_window() {
        assert_eq!(identifier(0).get(), 1);
        assert_eq!(identifier(65_534).get(), 65_535);
        assert_eq!(identifier(65_535).get(), 1);
    }
}
