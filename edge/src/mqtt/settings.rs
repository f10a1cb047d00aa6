//! The limits of a connection, with what happens at each.

use std::rc::Rc;
use std::time::Duration;

use super::memory::Memory;
use super::traffic::Traffic;

/// Limits; the defaults fit a gateway with 64 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection may take to its CONNECT. Then it is closed. Default 10 s.
    pub connect_timeout: Duration,
    /// Bytes of an inbound packet. A larger one closes the connection when its fixed header is
    /// seen. Default 256 KiB.
    pub packet_bytes_maximum: u32,
    /// Inbound publishes with QoS over 0 whose exchange is not over. MQTT 5: one more closes the
    /// connection. Every version: the link is not read while so many wait for their answer.
    /// Default 64.
    pub receive_maximum: u16,
    /// The same before MQTT 5, where clients can't know a limit and are slowed down first: one more
    /// closes the connection, which takes messages of QoS 2 that are never released. Default 1,024.
    pub exchange_count_maximum: u16,
    /// Inbound topic aliases. A higher one closes the connection. Default 16.
    pub topic_alias_maximum: u16,
    /// Outbound topic aliases, together with the client's own maximum. Beyond it topics are written
    /// out. Default 16.
    pub outbound_alias_maximum: u16,
    /// Bytes of outbound topic aliases, of all connections that share these settings. Beyond it
    /// topics are written out. Default 256 KiB.
    pub outbound_alias_bytes_maximum: usize,
    /// The longest keep alive in seconds, and the one of MQTT 5 clients that ask for none; 0 sets
    /// no limit. Default 0.
    pub keep_alive_maximum: u16,
    /// Bytes waiting to be written. Above it the link is not read, QoS 0 is dropped and the rest
    /// waits in the log. Default 256 KiB.
    pub outbound_bytes_maximum: usize,
    /// Bytes of packets that have come in part and of topics behind inbound aliases, of all
    /// connections that share these settings. A connection that would hold more than its fair part
    /// beyond it is closed. Default 4 MiB.
    pub inbound_total_bytes_maximum: usize,
    /// Bytes waiting to be written, of all connections that share these settings. Beyond it each
    /// connection is held to its fair part, as by its own limit. Default 6 MiB.
    pub outbound_total_bytes_maximum: usize,
    /// What is held of the three now, by the connections of all listeners.
    pub memory: Rc<Memory>,
    /// What came and went, by the connections of all listeners.
    pub traffic: Rc<Traffic>,
}

impl Settings {
    /// Whether so much waits to be written to all clients together that senders should be held up
    /// for a moment.
    #[must_use]
    pub fn is_nearly_crowded(&self) -> bool {
        self.memory.outbound_bytes() >= self.outbound_total_bytes_maximum / 4 * 3
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            packet_bytes_maximum: 256 << 10,
            receive_maximum: 64,
            exchange_count_maximum: 1_024,
            topic_alias_maximum: 16,
            outbound_alias_maximum: 16,
            outbound_alias_bytes_maximum: 256 << 10,
            keep_alive_maximum: 0,
            outbound_bytes_maximum: 256 << 10,
            inbound_total_bytes_maximum: 4 << 20,
            outbound_total_bytes_maximum: 6 << 20,
            memory: Rc::default(),
            traffic: Rc::default(),
        }
    }
}
