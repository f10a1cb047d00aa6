//! What a seed decides before time begins: settings, sizes and which misfortunes there are.

use std::time::Duration;

use sync::{Apart, ConnectionId, Epoch, Generator, Order, Origin, Pace, PerLane, Record, Settings};

/// A world's constants.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) topic_count: u64,
    /// Microseconds until the world is healed.
    pub(crate) troubled_micros: u64,
    /// Mean microseconds between appends.
    pub(crate) append_micros: u64,
    /// Mean microseconds between misfortunes.
    pub(crate) misfortune_micros: u64,
    pub(crate) round_trip_micros: u64,
    /// The cloud's own time for a record.
    pub(crate) service_micros: u64,
    pub(crate) receive_maximum: u16,
    pub(crate) has_refusals: bool,
    pub(crate) has_rejections: bool,
    pub(crate) has_crashes: bool,
    pub(crate) has_forgetting: bool,
    pub(crate) has_quota: bool,
    pub(crate) has_log_failures: bool,
}

/// A driver that breaks its rules. Each must be caught, or the simulator proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Answers for the cloud as soon as a record is sent.
    AcknowledgesOnSend,
    /// Counts what was in flight on a fallen connection as accepted.
    ForgetsFlightOnDown,
    /// Lets retention drop what is acknowledged, not what is released.
    ReleasesAtAcknowledgement,
    /// Says that a checkpoint is durable before it is.
    ConfirmsCheckpointsEarly,
    /// Sends a connection's records in another order.
    Reorders,
    /// Loses a record between log and engine.
    LosesWhatItReads,
    /// Names another offset than the record has.
    MixesOffsetsUp,
}

/// Bytes of a packet's envelope in every plan; small, so that the limits are close.
pub(crate) const ENVELOPE_BYTES: u32 = 100;
/// What the topics begin with that go apart, where any do;
pub(crate) const MAIL: &str = "mail/";
/// and those of them that are one.
pub(crate) const AGENTS: &str = "mail/agents/";
/// Largest packet of every plan.
pub(crate) const PACKET_BYTES: u32 = 1_500;

impl Plan {
    /// What orders a record among others: its topic, or the one name of the joined topics.
    pub(crate) fn order_of<'a>(&self, topic: &'a str) -> &'a str {
        match self.settings.apart {
            Some(_) if topic.starts_with(AGENTS) => AGENTS,
            _ => topic,
        }
    }

    /// The connection that a record has to take.
    pub(crate) fn connection_of(&self, record: &Record) -> ConnectionId {
        let connections = self.settings.connections;
        let is_apart = self.settings.apart.is_some() && record.topic().starts_with(MAIL);
        let by_hash = record.topic_hash() % u32::from(connections);
        ConnectionId(if is_apart { connections } else { by_hash as u8 })
    }

    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut generator = Generator::from_seed(seed ^ 0x5eed);
        let mut below = |end| generator.below(end);
        let millis = Duration::from_millis;
        let window_count = 1 + below(8) as usize;
        let has_forgetting = below(4) == 0;
        let settings = Settings {
            origin: Origin {
                edge_id: "sim".into(),
                epoch: Epoch(1),
            },
            connections: 1 + below(4) as u8,
            apart: (below(2) == 0).then(|| Apart {
                prefix: MAIL.into(),
                joined: Some(AGENTS.into()),
            }),
            window_count,
            window_bytes: 400 + below(4_000) as usize,
            window_least: 1 + below(window_count as u64) as usize,
            pace: if below(2) == 0 {
                Pace::Latency
            } else {
                Pace::Fixed
            },
            order: if below(3) == 0 {
                Order::Strict
            } else {
                Order::Pipelined
            },
            read_ahead_count: 1 + below(24) as usize,
            read_ahead_bytes: 300 + below(6_000) as usize,
            held_count: 1 + below(60) as usize,
            maximum_packet_bytes: PACKET_BYTES,
            envelope_bytes: ENVELOPE_BYTES,
            weights: PerLane([1 + below(16) as u16, 1 + below(4) as u16, 1]),
            reconnect_first: millis(100),
            reconnect_most: millis(2_000),
            refusal_first: millis(100),
            refusal_most: millis(1_500),
            patience: millis(2_000 + below(4_000)),
            hold: millis(if has_forgetting {
                20_000
            } else {
                below(2) * 4_000
            }),
            checkpoint_count: 1 + below(20),
            checkpoint_interval: millis(50 + below(1_000)),
            watched_topics: below(3) as usize * 4,
            ..Settings::default()
        };
        Self {
            seed,
            settings,
            topic_count: 1 + below(12),
            troubled_micros: (8 + below(20)) * super::SECOND,
            append_micros: (50 + below(400)) * super::MS,
            misfortune_micros: (300 + below(5_000)) * super::MS,
            round_trip_micros: (1 + below(300)) * super::MS,
            service_micros: below(20) * super::MS,
            receive_maximum: 1 + below(12) as u16,
            has_refusals: below(2) == 0,
            has_rejections: below(3) == 0,
            has_crashes: below(2) == 0,
            has_forgetting,
            has_quota: below(5) == 0 && !has_forgetting,
            has_log_failures: below(4) == 0,
        }
    }
}
