//! The limits of a connection, with what happens at each.

use std::rc::Rc;
use std::time::Duration;

use wire::mq9::PayloadEncoding;
use wire::nats::Limits;
use wire::topic::TopicName;

use crate::memory::Memory;
use crate::pace::Rate;

/// Limits; the defaults fit a gateway with 64 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the gateway calls itself in INFO.
    pub server_name: String,
    /// What this run of it calls itself.
    pub server_id: String,
    /// Whether INFO asks for a user and password; some clients send none unless it does. Who comes
    /// in without is decided by the broker. Default false.
    pub asks_for_credentials: bool,
    /// Whether TLS begins behind INFO, and whether the client needs a certificate for it. Default
    /// none.
    pub tls: Tls,
    /// How long a connection may take to its CONNECT, and to the end of its login. Then it is
    /// closed. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a client may be silent until it is asked for a sign of life, and until it is asked
    /// again. Default 2 min.
    pub ping_interval: Duration,
    /// Questions without an answer, at most. Instead of one more the connection is closed. Default
    /// 2.
    pub ping_count_maximum: u8,
    /// Bytes of a control line. A longer one closes the connection. Default 4 KiB.
    pub control_line_bytes_maximum: usize,
    /// Bytes of headers. More close the connection. Default 64 KiB.
    pub headers_bytes_maximum: usize,
    /// Bytes of a message, headers included: what INFO calls `max_payload`. More close the
    /// connection. Default 1 MiB.
    pub message_bytes_maximum: usize,
    /// Bytes of the topic of a subject that a client publishes to. A longer one is refused. Default
    /// 1,024.
    pub topic_bytes_maximum: usize,
    /// Levels of such a topic, in the same way. Default 64.
    pub topic_level_maximum: usize,
    /// Messages a second of one client. The link of a faster one is not read meanwhile. Default 0,
    /// which sets no limit.
    pub publishes_per_second: u32,
    /// Messages that a client may send at once although that is faster. Default 1,000.
    pub publish_burst: u32,
    /// Subscriptions of a connection. One more is refused. Default 1,000.
    pub subscription_count_maximum: usize,
    /// Bytes that the subscriptions of all connections take here, beside what they take in the
    /// broker. One more is refused. Default 256 KiB.
    pub subscription_bytes_maximum: usize,
    /// Fetches of a connection that wait for a message. One more is answered at once, with what is
    /// there. Default 16.
    pub fetch_count_maximum: usize,
    /// Bytes of a reply of the mail office. A larger one is refused; base64 takes no more than the
    /// default for the largest message. Default 3 MiB.
    pub reply_bytes_maximum: usize,
    /// How payloads of mail are written for who does not say. Default base64.
    pub payload_encoding: PayloadEncoding,
    /// Bytes waiting to be written. Above it the link is not read, and one more message closes the
    /// connection: its client is a slow consumer. Default 256 KiB.
    pub outbound_bytes_maximum: usize,
    /// Bytes of operations that have come in part, of all connections that share the memory. When
    /// only the fair parts are left of it, a connection that would hold more than its own is closed.
    /// Default 4 MiB.
    pub inbound_total_bytes_maximum: usize,
    /// Bytes waiting to be written, of all connections that share the memory. When only the fair
    /// parts are left of it, each connection is held to its own, as by its own limit. Default 6 MiB.
    pub outbound_total_bytes_maximum: usize,
    /// What is held of these now, by the connections of all listeners.
    pub memory: Rc<Memory>,
}

/// What a client has to do behind INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Go on.
    None,
    /// Begin TLS.
    Required,
    /// Begin TLS with a certificate of its own.
    Verified,
}

impl Settings {
    /// How fast a client may publish.
    pub(super) const fn rate(&self) -> Rate {
        Rate {
            per_second: self.publishes_per_second,
            burst: self.publish_burst,
        }
    }

    /// Whether a topic is within the limits.
    pub(super) fn admits(&self, topic: TopicName<'_>) -> bool {
        topic.as_str().len() <= self.topic_bytes_maximum
            && topic.levels().count() <= self.topic_level_maximum
    }

    /// What is taken of one operation.
    pub(super) const fn limits(&self) -> Limits {
        Limits {
            control_line_bytes: self.control_line_bytes_maximum,
            headers_bytes: self.headers_bytes_maximum,
            message_bytes: self.message_bytes_maximum,
        }
    }
}

/// What a reply takes with one message of the largest size, in base64, and its headers as numbers.
#[must_use]
pub const fn reply_bytes(message_bytes: usize, headers_bytes: usize) -> usize {
    const FRAME: usize = 512;
    message_bytes.div_ceil(3) * 8 + headers_bytes * 4 + FRAME
}

impl Default for Settings {
    fn default() -> Self {
        let limits = Limits::FROM_CLIENT;
        Self {
            server_name: "edge".to_owned(),
            server_id: "edge".to_owned(),
            asks_for_credentials: false,
            tls: Tls::None,
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(120),
            ping_count_maximum: 2,
            control_line_bytes_maximum: limits.control_line_bytes,
            headers_bytes_maximum: limits.headers_bytes,
            message_bytes_maximum: limits.message_bytes,
            topic_bytes_maximum: 1_024,
            topic_level_maximum: 64,
            publishes_per_second: 0,
            publish_burst: 1_000,
            subscription_count_maximum: 1_000,
            subscription_bytes_maximum: 256 << 10,
            fetch_count_maximum: 16,
            reply_bytes_maximum: reply_bytes(limits.message_bytes, limits.headers_bytes),
            payload_encoding: PayloadEncoding::default(),
            outbound_bytes_maximum: 256 << 10,
            inbound_total_bytes_maximum: 4 << 20,
            outbound_total_bytes_maximum: 6 << 20,
            memory: Rc::default(),
        }
    }
}
