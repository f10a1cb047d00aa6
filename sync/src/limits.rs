//! Every bound of the engine, with its default and what happens there. Nothing here grows with
//! the backlog.

use core::time::Duration;

use crate::{Apart, Lane, Origin, PerLane, SettingsError};

/// What an engine is set to for its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This gateway's own log: marks what it sends and recognises what comes back.
    pub origin: Origin,
    /// Connections to the cloud that share the topics, 1 to 8. A topic always takes the same one.
    pub connections: u8,
    /// Topics that take one connection more, which is the last. `None` for none.
    pub apart: Option<Apart>,
    /// Records in flight on one connection; the cloud's receive maximum may lower it. At the
    /// limit records wait in the log.
    pub window_count: usize,
    /// Encoded bytes in flight on one connection. At the limit records wait in the log; a single
    /// record above it goes alone.
    pub window_bytes: usize,
    /// What stays of the window when the cloud's answers become slow.
    pub window_least: usize,
    /// Whether the window follows the cloud's latency at all.
    pub pace: Pace,
    /// What is promised about a topic's order when the cloud refuses records.
    pub order: Order,
    /// Records read and not yet sent, of one lane. At the limit the lane is not read.
    pub read_ahead_count: usize,
    /// Their encoded bytes, of one lane; one record above it may be read. At the limit the lane is
    /// not read.
    pub read_ahead_bytes: usize,
    /// Offsets of one lane that wait in the log for a refused topic or a fallen connection, at most
    /// some 50 bytes each. At the limit the lane waits for them, other lanes go on.
    pub held_count: usize,
    /// Bytes of a PUBLISH packet. A larger record is given up with a gap. The server freezes the
    /// connection above 1,000,000.
    pub maximum_packet_bytes: u32,
    /// Bytes that a packet has beyond topic, properties and payload: header and the properties of
    /// [`crate::Place`].
    pub envelope_bytes: u32,
    /// The share of each lane while all of them have something to send; 1 or more, so that none
    /// starves.
    pub weights: PerLane<u16>,
    /// First pause before a connection is tried again; doubles up to `reconnect_most`.
    pub reconnect_first: Duration,
    /// Longest pause before a connection is tried again.
    pub reconnect_most: Duration,
    /// First pause of a refused topic; doubles up to `refusal_most`.
    pub refusal_first: Duration,
    /// Longest pause of a refused topic.
    pub refusal_most: Duration,
    /// How long a connection may owe all answers, or its CONNACK, before it is left.
    pub patience: Duration,
    /// How long a settled record stays out of reach of retention; may be zero.
    pub hold: Duration,
    /// A checkpoint is made after this many settled records,
    pub checkpoint_count: u64,
    /// or after this time, if anything changed.
    pub checkpoint_interval: Duration,
    /// Topics of one lane whose cloud offsets are watched; beyond, the one not heard of for longest is
    /// forgotten. 0 switches replays by the engine itself off.
    pub watched_topics: usize,
    /// Messages that came down and are neither confirmed nor failed. Beyond, a message is left
    /// unconfirmed, so the cloud sends it again.
    pub unconfirmed_count: usize,
    /// Other gateways whose records are recognised when repeated; beyond, the one not heard of
    /// for longest is forgotten, which can only store a repeat.
    pub watched_origins: usize,
}

/// What a topic's order means while the cloud refuses some of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// A window of a topic's records may be in flight. When one is refused, those sent behind it
    /// are sent behind it again even if the cloud took them: the cloud's last word of a topic is
    /// the topic's last record, but a record may have shown itself early once before.
    #[default]
    Pipelined,
    /// One record of a topic is in flight at a time, so nothing ever overtakes. A topic moves one
    /// record a round trip.
    Strict,
}

/// How the window follows the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Shrinks by a quarter when answers take several times their usual time, grows by one a
    /// window of good ones.
    #[default]
    Latency,
    /// Always as large as allowed.
    Fixed,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            origin: Origin::default(),
            connections: 2,
            apart: None,
            window_count: 32,
            window_bytes: 1 << 20,
            window_least: 4,
            pace: Pace::Latency,
            order: Order::Pipelined,
            read_ahead_count: 256,
            read_ahead_bytes: 1 << 20,
            held_count: 65_536,
            maximum_packet_bytes: 990_000,
            envelope_bytes: 512,
            weights: PerLane([16, 4, 1]),
            reconnect_first: Duration::from_millis(500),
            reconnect_most: Duration::from_secs(30),
            refusal_first: Duration::from_millis(100),
            refusal_most: Duration::from_secs(4),
            patience: Duration::from_secs(30),
            hold: Duration::from_secs(120),
            checkpoint_count: 1_000,
            checkpoint_interval: Duration::from_secs(1),
            watched_topics: 1_024,
            unconfirmed_count: 64,
            watched_origins: 16,
        }
    }
}

/// Pending offsets of one lane that a checkpoint names. What lies beyond is sent again after a
/// crash; the checkpoint stays small however much is held.
pub(crate) const CHECKPOINT_PENDING: usize = 1_024;

impl Settings {
    /// Counts all connections, that of the topics apart among them.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        usize::from(self.connections) + usize::from(self.apart.is_some())
    }

    /// Checks every range. [`crate::Engine::new`] does so too.
    ///
    /// # Errors
    /// Names the first setting that is out of its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let id = self.origin.edge_id.len() as u64;
        let day = 86_400_000;
        let many = 1 << 30;
        within("origin.edge_id", id, 1, Origin::MAX_ID_BYTES as u64)?;
        within("connections", u64::from(self.connections), 1, 8)?;
        if let Some(apart) = &self.apart {
            let prefix = apart.prefix.len() as u64;
            within("apart.prefix", prefix, 1, u64::from(u16::MAX))?;
        }
        let window = self.window_count as u64;
        within("window_count", window, 1, 65_535)?;
        within("window_bytes", self.window_bytes as u64, 1, many)?;
        within("window_least", self.window_least as u64, 1, window)?;
        within("read_ahead_count", self.read_ahead_count as u64, 1, many)?;
        within("read_ahead_bytes", self.read_ahead_bytes as u64, 1, many)?;
        within("held_count", self.held_count as u64, 1, many)?;
        let packet = u64::from(self.maximum_packet_bytes);
        within("maximum_packet_bytes", packet, 1_024, 268_435_460)?;
        let envelope = u64::from(self.envelope_bytes);
        within("envelope_bytes", envelope, 0, packet - 1)?;
        for lane in Lane::ALL {
            within("weights", u64::from(self.weights[lane]), 1, 1_000)?;
        }
        let most = millis(self.reconnect_most);
        within("reconnect_first", millis(self.reconnect_first), 1, most)?;
        within("reconnect_most", most, 1, day)?;
        let most = millis(self.refusal_most);
        within("refusal_first", millis(self.refusal_first), 1, most)?;
        within("refusal_most", most, 1, day)?;
        within("patience", millis(self.patience), 1_000, day)?;
        within("hold", millis(self.hold), 0, 30 * day)?;
        within("checkpoint_count", self.checkpoint_count, 1, many)?;
        let interval = millis(self.checkpoint_interval);
        within("checkpoint_interval", interval, 1, day)?;
        within("watched_topics", self.watched_topics as u64, 0, many)?;
        within("unconfirmed_count", self.unconfirmed_count as u64, 1, many)?;
        within("watched_origins", self.watched_origins as u64, 1, 1_024)
    }
}

fn within(name: &'static str, found: u64, least: u64, most: u64) -> Result<(), SettingsError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(SettingsError {
        name,
        found,
        least,
        most,
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;

    fn settings() -> Settings {
        let mut settings = Settings::default();
        settings.origin.edge_id = "e".to_string();
        settings
    }

    #[test]
    fn the_defaults_are_in_range_but_for_the_name_that_only_the_operator_knows() {
        assert_eq!(settings().check(), Ok(()));
        let error = Settings::default().check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "origin.edge_id is 0, allowed are 1 to 128"
        );
    }

    #[test]
    fn each_setting_out_of_range_is_named() {
        type Spoil = fn(&mut Settings);
        let spoil: [(&str, Spoil); 24] = [
            ("origin.edge_id", |s| s.origin.edge_id = "e".repeat(129)),
            ("connections", |s| s.connections = 9),
            ("connections", |s| s.connections = 0),
            ("apart.prefix", |s| {
                s.apart = Some(Apart {
                    prefix: String::new(),
                    joined: None,
                });
            }),
            ("window_count", |s| s.window_count = 0),
            ("window_bytes", |s| s.window_bytes = 0),
            ("window_least", |s| s.window_least = s.window_count + 1),
            ("read_ahead_count", |s| s.read_ahead_count = 0),
            ("read_ahead_bytes", |s| s.read_ahead_bytes = 0),
            ("held_count", |s| s.held_count = 0),
            ("maximum_packet_bytes", |s| s.maximum_packet_bytes = 1_023),
            ("envelope_bytes", |s| {
                s.envelope_bytes = s.maximum_packet_bytes
            }),
            ("weights", |s| s.weights = PerLane([1, 0, 1])),
            ("reconnect_first", |s| {
                s.reconnect_first = s.reconnect_most * 2
            }),
            ("reconnect_first", |s| s.reconnect_first = Duration::ZERO),
            ("reconnect_most", |s| s.reconnect_most = Duration::MAX),
            ("refusal_first", |s| s.refusal_first = s.refusal_most * 2),
            ("refusal_most", |s| s.refusal_most = Duration::MAX),
            ("patience", |s| s.patience = Duration::ZERO),
            ("hold", |s| s.hold = Duration::MAX),
            ("checkpoint_count", |s| s.checkpoint_count = 0),
            ("checkpoint_interval", |s| {
                s.checkpoint_interval = Duration::ZERO
            }),
            ("unconfirmed_count", |s| s.unconfirmed_count = 0),
            ("watched_origins", |s| s.watched_origins = 0),
        ];
        for (name, spoil) in spoil {
            let mut settings = settings();
            spoil(&mut settings);
            assert_eq!(settings.check().map_err(|error| error.name), Err(name));
        }
    }
}
