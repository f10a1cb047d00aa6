//! One MQTT connection.

use std::rc::Rc;
use std::time::Duration;

use sync::{Instant, Now};

use super::PeerError;
use crate::broker::{ConnectionId, Event, Input};

/// Limits of a connection, with what happens at each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection may take to its CONNECT. Then it is closed. Default 10 s.
    pub connect_timeout: Duration,
    /// Bytes of an inbound packet. A larger one closes the connection when its fixed header is
    /// seen. Default 256 KiB.
    pub packet_bytes_maximum: u32,
    /// Unanswered inbound publishes with QoS over 0. One more closes the connection. Default 64.
    pub receive_maximum: u16,
    /// Inbound topic aliases. A higher one closes the connection. Default 16.
    pub topic_alias_maximum: u16,
    /// The longest keep alive in seconds, and the one of clients that ask for none; 0 sets no
    /// limit. Default 0.
    pub keep_alive_maximum: u16,
    /// Bytes waiting to be written. Above it QoS 0 is dropped and the rest waits in the log.
    /// Default 256 KiB.
    pub outbound_bytes_maximum: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            packet_bytes_maximum: 256 << 10,
            receive_maximum: 64,
            topic_alias_maximum: 16,
            keep_alive_maximum: 0,
            outbound_bytes_maximum: 256 << 10,
        }
    }
}

/// The MQTT state of one connected byte stream.
#[derive(Debug)]
pub struct Connection {
    outbound: Vec<u8>,
}

impl Connection {
    /// Starts with an accepted link, waiting for CONNECT.
    #[must_use]
    pub fn new(_id: ConnectionId, _settings: Rc<Settings>, _now: Now) -> Self {
        Self {
            outbound: Vec::new(),
        }
    }

    /// Takes bytes as they came. Drain [`Connection::poll`] afterwards.
    pub fn handle_bytes(&mut self, _now: Now, _bytes: &[u8]) {}

    /// Takes an event of the broker for this connection.
    pub fn handle_event(&mut self, _now: Now, _event: Event) {}

    /// Does what is due: the deadline of CONNECT, the keep alive. One sweep a second over all
    /// connections is precise enough.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// Notes that the link is gone; the broker hears it by [`Connection::poll`].
    pub fn handle_lost(&mut self) {}

    /// Says goodbye because the server stops.
    pub fn handle_shutdown(&mut self) {}

    /// Gives the next input for the broker.
    pub fn poll(&mut self) -> Option<Input> {
        None
    }

    /// When [`Connection::handle_timeout`] is due; stale after any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Takes what is to be written, leaving `empty` (a buffer to use again) in its place. Call it
    /// when the bytes of the former call are written, and drain [`Connection::poll`] afterwards.
    pub fn take_outbound(&mut self, empty: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.outbound, empty)
    }

    /// Bytes waiting to be taken.
    #[must_use]
    pub fn outbound_bytes(&self) -> usize {
        self.outbound.len()
    }

    /// Whether the link should be read: false while the broker looks for the session, and when
    /// closed.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        false
    }

    /// Whether the link is to be closed once the outbound bytes are written.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        false
    }

    /// Why we closed the connection, if the peer is to blame.
    #[must_use]
    pub fn peer_error(&self) -> Option<&PeerError> {
        None
    }

    /// QoS 0 messages dropped because the outbound buffer was over its limit.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        0
    }
}
