//! The limits of a connection, with what happens at each.

use std::rc::Rc;
use std::time::Duration;

use super::error::PeerError;
use super::traffic::Traffic;
use crate::memory::{Memory, OutboundLimits};
use crate::pace::Rate;

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
    /// Bytes of a topic that a client publishes to, or of its will. A longer one is refused, which
    /// ends the connection where nothing answers a publish. Default 1,024.
    pub topic_bytes_maximum: usize,
    /// Levels of such a topic, in the same way. Default 64.
    pub topic_level_maximum: usize,
    /// Filters of one SUBSCRIBE or UNSUBSCRIBE. More close the connection. Default 1,000.
    pub filter_count_maximum: usize,
    /// Publishes a second of one client. The link of a faster one is not read meanwhile; nothing is
    /// lost and nobody is disconnected. Default 0, which sets no limit.
    pub publishes_per_second: u32,
    /// Publishes that a client may send at once although that is faster. Default 1,000.
    pub publish_burst: u32,
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
    /// connections that share these settings. When only the fair parts are left of it, a connection
    /// that would hold more than its own is closed. Default 4 MiB.
    pub inbound_total_bytes_maximum: usize,
    /// Bytes waiting to be written, of all connections that share these settings. When only the fair
    /// parts are left of it, each connection is held to its own, as by its own limit. Default 6 MiB.
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
        self.memory
            .is_nearly_crowded(self.outbound_total_bytes_maximum)
    }
}

impl Settings {
    /// Whether a connection waits for room, so that everybody who gives some back says so.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.memory.is_waited_for()
    }

    /// The place of the connection that waits longest for room, once there is some: it is to be told by
    /// [`super::Connection::handle_room`].
    #[must_use]
    pub fn next_waiting(&self) -> Option<u32> {
        let limit = self.outbound_total_bytes_maximum;
        self.memory.next_waiting(limit)
    }

    /// Whether connections wait for room that others hold, and not each for its own.
    pub(crate) fn is_room_scarce(&self) -> bool {
        self.is_waited_for() && self.is_nearly_crowded()
    }

    /// What the connection at a place is to have written beyond its fair part, in bytes.
    pub(crate) fn surplus_of(&self, place: u32) -> usize {
        let limit = self.outbound_total_bytes_maximum;
        self.memory.surplus_of(place, limit)
    }

    /// What may be held of packets that wait to be written.
    pub(super) const fn outbound_limits(&self) -> OutboundLimits {
        OutboundLimits {
            own: self.outbound_bytes_maximum,
            total: self.outbound_total_bytes_maximum,
        }
    }

    /// How fast a client may publish.
    pub(super) fn rate(&self) -> Rate {
        Rate {
            per_second: self.publishes_per_second,
            burst: self.publish_burst,
        }
    }

    /// Checks a topic that a client publishes to against the limits.
    pub(super) fn admit_topic(&self, topic: &str) -> Result<(), PeerError> {
        let (bytes_limit, level_limit) = (self.topic_bytes_maximum, self.topic_level_maximum);
        let bytes = topic.len();
        // A short one can't have many levels.
        let is_deep = || bytes >= level_limit && topic.split('/').count() > level_limit;
        if bytes > bytes_limit || is_deep() {
            return Err(PeerError::Topic {
                bytes_limit,
                level_limit,
            });
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            packet_bytes_maximum: 256 << 10,
            receive_maximum: 64,
            exchange_count_maximum: 1_024,
            topic_bytes_maximum: 1_024,
            topic_level_maximum: 64,
            filter_count_maximum: 1_000,
            publishes_per_second: 0,
            publish_burst: 1_000,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Held, Holding};

    /// One that waits for nobody but itself would be cut for being slow.
    #[test]
    fn room_is_scarce_only_where_all_together_hold_much() {
        let limit = Settings::default().outbound_total_bytes_maximum;
        for (held, is_scarce) in [(limit / 10, false), (limit, true)] {
            let settings = Settings::default();
            let mut one = Held::default();
            let now = Holding {
                outbound: held,
                ..Holding::default()
            };
            settings.memory.exchange(7, &mut one, now);
            assert!(!settings.is_room_scarce(), "nobody waits");
            settings.memory.refuse(7);
            assert_eq!(settings.is_room_scarce(), is_scarce, "{held}");
            assert!(settings.surplus_of(7) < held && settings.surplus_of(8) == 0);
            settings.memory.leave(7, &mut one);
        }
    }
}
