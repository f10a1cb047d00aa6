//! Mail: what its limits mean together, in memory and on disk.

use std::fmt;
use std::time::Duration;

use super::check::{Check, DAY, MILLION};
use super::{Limits, REDB_FILE_BYTES, usize_of};
use crate::config::{Config, ConfigError, Mq9, Protocol};
use crate::{mail, nats};

/// Of a mailbox, as the protocol has it.
const ADDRESS_BYTES: usize = wire::mq9::ADDRESS_BYTES;
/// Pages of redb are at least half full.
const FULL_PART: u64 = 2;

impl Limits {
    /// Whether there is mail: the file says so, or somebody may ask for it.
    #[must_use]
    pub const fn has_mail(&self) -> bool {
        self.mq9.is_some()
    }

    /// The rules of the mail office; `None` without mail. A share of the memory is for what the file
    /// does not name.
    pub(crate) fn office_settings(&self, seed: u64) -> Option<mail::Settings> {
        let mq9 = self.mq9.as_ref()?;
        let defaults = mail::Settings::default();
        let cloud = self.cloud.as_ref().and_then(|cloud| cloud.mq9.as_ref());
        let share = |divisor: u64, least: usize, most: usize| {
            usize_of(self.section.memory_bytes / divisor).clamp(least, most)
        };
        Some(mail::Settings {
            mailbox_count_maximum: mq9.mailboxes,
            address_bytes_maximum: ADDRESS_BYTES,
            mailbox_ttl_seconds: mq9.mailbox_ttl_seconds,
            message_count_maximum: mq9.mailbox_messages,
            mailbox_bytes_maximum: mq9.mailbox_bytes,
            mail_bytes_maximum: mq9.mail_bytes,
            group_count_maximum: mq9.groups_per_mailbox,
            group_memory_bytes_maximum: share(256, 64 << 10, 4 << 20),
            waiting_count_maximum: mq9.waiting_fetches,
            wait_maximum: Duration::from_millis(mq9.fetch_wait_max_ms),
            pending_count_maximum: share(128 << 10, 512, defaults.pending_count_maximum),
            agent_count_maximum: mq9.agents,
            agent_body_bytes_maximum: mq9.agent_bytes,
            agent_bytes_maximum: share(256, 64 << 10, 8 << 20).max(mq9.agent_bytes),
            payload_encoding: mq9.payload_encoding.into(),
            cloud_mailboxes: cloud.map(|it| it.mailboxes.clone()).unwrap_or_default(),
            pulled: cloud.map(|it| it.pull.clone()).unwrap_or_default(),
            announces_agents: cloud.is_some_and(|it| it.announce_agents),
            seed,
            ..defaults
        })
    }

    /// The largest reply of the office to a NATS client.
    pub(crate) fn reply_bytes(&self) -> usize {
        let listeners = self.listeners.iter();
        let nats = listeners.filter(|listener| listener.protocol == Protocol::Nats);
        let message_bytes = nats.map(|listener| listener.packet_bytes).max();
        let headers_bytes = nats::Settings::default().headers_bytes_maximum;
        message_bytes.map_or(0, |bytes| nats::reply_bytes(bytes as usize, headers_bytes))
    }

    /// Its redb file, open for writing, what the office holds, and one large reply under way. What is
    /// not in redb yet is counted with the journal.
    pub(super) fn worst_mail(&self) -> u64 {
        let Some(settings) = self.office_settings(0) else {
            return 0;
        };
        let office = settings.memory_bytes() + settings.step_bytes_maximum;
        self.cache_bytes + REDB_FILE_BYTES + (office + self.reply_bytes()) as u64
    }

    pub(super) fn worst_mail_disk(&self) -> u64 {
        self.mq9
            .as_ref()
            .map_or(0, |mq9| mq9.mail_bytes * FULL_PART)
    }

    /// What `robustmq-edge check` prints of it.
    pub(super) fn fmt_mail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mq9) = &self.mq9 else {
            return writeln!(f, "mq9 = none");
        };
        writeln!(
            f,
            "mq9.mailboxes = {}, mailbox_messages = {}, mailbox_bytes = {}, mail_bytes = {}",
            mq9.mailboxes, mq9.mailbox_messages, mq9.mailbox_bytes, mq9.mail_bytes
        )?;
        writeln!(
            f,
            "mq9.mailbox_ttl_seconds = {}, fetch_wait_max_ms = {}, waiting_fetches = {}",
            mq9.mailbox_ttl_seconds, mq9.fetch_wait_max_ms, mq9.waiting_fetches
        )?;
        writeln!(
            f,
            "mq9.agents = {}, agent_bytes = {}",
            mq9.agents, mq9.agent_bytes
        )
    }
}

impl Check<'_> {
    /// What the file says of mail, or what holds because a listener speaks NATS or mail comes from
    /// the cloud.
    pub(super) fn mq9(&self, config: &Config) -> Result<Option<Mq9>, ConfigError> {
        let mut protocols = config.listener.iter().map(|listener| listener.protocol);
        let speaks_nats = protocols.any(|protocol| protocol == Protocol::Nats);
        let is_in_cloud = config.cloud.as_ref().is_some_and(|it| it.mq9.is_some());
        let Some(mq9) = &config.mq9 else {
            return Ok((speaks_nats || is_in_cloud).then(Mq9::default));
        };
        let (ttl, wait) = (mq9.mailbox_ttl_seconds, mq9.fetch_wait_max_ms);
        let bytes = 1 << 50;
        for (key, found, least, most) in [
            ("mq9.mailbox_ttl_seconds", ttl, 0, 100 * 365 * DAY),
            ("mq9.fetch_wait_max_ms", wait, 0, 60_000),
            ("mq9.mailboxes", mq9.mailboxes as u64, 1, MILLION),
            ("mq9.mailbox_messages", mq9.mailbox_messages, 1, 1 << 40),
            ("mq9.mailbox_bytes", mq9.mailbox_bytes, 1024, bytes),
            ("mq9.mail_bytes", mq9.mail_bytes, 1024, bytes),
            ("mq9.groups_per_mailbox", mq9.groups_per_mailbox, 1, MILLION),
            ("mq9.agents", mq9.agents as u64, 0, MILLION),
            ("mq9.agent_bytes", mq9.agent_bytes as u64, 64, 1 << 20),
            (
                "mq9.waiting_fetches",
                mq9.waiting_fetches as u64,
                0,
                MILLION,
            ),
            (
                "mq9.waiting_fetches_per_connection",
                mq9.waiting_fetches_per_connection as u64,
                0,
                1000,
            ),
        ] {
            self.within(key, found, least, most)?;
        }
        Ok(Some(mq9.clone()))
    }
}
