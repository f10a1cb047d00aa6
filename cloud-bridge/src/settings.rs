//! What every connection of one bridge shares.

use std::time::Duration;

use sync::{Epoch, Origin};

use crate::clock::Clock;
use crate::publication::Stamp;
use crate::session::OVERRUN;
use crate::tls::Trust;
use crate::{BridgeError, Config, ConfigError};

/// Checked settings, with files read and names derived.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) stamp: Stamp,
    pub(crate) trust: Option<Trust>,
    pub(crate) clock: Clock,
}

impl Settings {
    pub(crate) fn new(config: Config, edge_id: &str, epoch: Epoch) -> Result<Self, BridgeError> {
        config.validate()?;
        let is_fit = (1..=Origin::MAX_ID_BYTES).contains(&edge_id.len());
        if !is_fit || edge_id.contains('\0') {
            return Err(BridgeError::Config(ConfigError {
                key: "edge_id",
                found: edge_id.to_owned(),
                allowed: "1 to 128 bytes without NUL",
            }));
        }
        let trust = config.tls.as_ref().map(Trust::read);
        let stamp = Stamp {
            origin: Origin {
                edge_id: edge_id.to_owned(),
                epoch,
            },
            topic_prefix: config.topic_prefix.clone(),
            expiry_seconds: whole_seconds(config.message_expiry),
        };
        Ok(Self {
            trust: trust.transpose()?,
            stamp,
            clock: Clock::start(config.steady_time),
            config,
        })
    }

    /// Commands, or events, that one connection can have waiting while the gateway keeps to its
    /// windows: every publish, every message, and a few words about the connection itself.
    pub(crate) fn connection_capacity(&self) -> usize {
        let unconfirmed = OVERRUN * usize::from(self.config.downlink_window);
        usize::from(self.config.window) + unconfirmed + SPARE
    }

    /// The same for all connections together.
    pub(crate) fn capacity(&self) -> usize {
        self.config.connection_count() * self.connection_capacity()
    }
}

/// Counts whole seconds as MQTT does, in 32 bits.
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// Connect, Disconnect, Up, Down, Subscribed and the like.
const SPARE: usize = 8;
