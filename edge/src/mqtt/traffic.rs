//! What all connections together have received and sent: plain counts, which only grow.

use std::cell::Cell;

use wire::mqtt::Packet;

use super::Connection;

/// Counts since the start; shared by all connections through their settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    connects: Cell<u64>,
    packets_received: Cell<u64>,
    packets_sent: Cell<u64>,
    publishes_received: Cell<u64>,
    publishes_sent: Cell<u64>,
    publishes_dropped: Cell<u64>,
    payload_bytes_received: Cell<u64>,
    payload_bytes_sent: Cell<u64>,
}

/// [`Traffic`] as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// CONNECT packets.
    pub connects: u64,
    /// Packets of any type that clients sent.
    pub packets_received: u64,
    /// Packets of any type for clients.
    pub packets_sent: u64,
    /// PUBLISH packets that clients sent.
    pub publishes_received: u64,
    /// PUBLISH packets for clients.
    pub publishes_sent: u64,
    /// Messages that were not sent: see [`Connection::dropped_count`].
    pub publishes_dropped: u64,
    /// Bytes of payload that clients sent.
    pub payload_bytes_received: u64,
    /// Bytes of payload for clients.
    pub payload_bytes_sent: u64,
}

impl Traffic {
    /// Reads all counts.
    #[must_use]
    pub const fn counts(&self) -> TrafficCounts {
        TrafficCounts {
            connects: self.connects.get(),
            packets_received: self.packets_received.get(),
            packets_sent: self.packets_sent.get(),
            publishes_received: self.publishes_received.get(),
            publishes_sent: self.publishes_sent.get(),
            publishes_dropped: self.publishes_dropped.get(),
            payload_bytes_received: self.payload_bytes_received.get(),
            payload_bytes_sent: self.payload_bytes_sent.get(),
        }
    }

    pub(super) fn note_connect(&self) {
        add(&self.connects, 1);
        add(&self.packets_received, 1);
    }

    pub(super) fn note_received(&self, packet: &Packet<'_>) {
        add(&self.packets_received, 1);
        if let Packet::Publish(publish) = packet {
            add(&self.publishes_received, 1);
            add(&self.payload_bytes_received, publish.payload.len());
        }
    }

    pub(super) fn note_sent(&self) {
        add(&self.packets_sent, 1);
    }

    pub(super) fn note_publish_sent(&self, payload: &[u8]) {
        add(&self.packets_sent, 1);
        add(&self.publishes_sent, 1);
        add(&self.payload_bytes_sent, payload.len());
    }
}

impl Connection {
    /// Counts a message that is not sent.
    pub(super) fn note_dropped(&mut self) {
        self.dropped_count += 1;
        add(&self.settings.traffic.publishes_dropped, 1);
    }
}

fn add(count: &Cell<u64>, more: usize) {
    count.set(count.get() + more as u64);
}
