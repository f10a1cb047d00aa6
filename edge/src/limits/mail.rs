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
            message_ttl_seconds: mq9.message_ttl_seconds,
            message_count_maximum: mq9.mailbox_messages,
            mailbox_bytes_maximum: mq9.mailbox_bytes,
            mail_bytes_maximum: mq9.mail_bytes,
            group_count_maximum: mq9.groups_per_mailbox,
            group_idle_seconds: mq9.group_idle_seconds,
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

    /// What a reply of the office may take above the limit of all connections.
    pub(super) fn worst_reply_beyond(&self) -> u64 {
        let reply_bytes = self.mq9.as_ref().map_or(0, |_| self.reply_bytes());
        nats::reply_beyond(reply_bytes, self.outbound_total_bytes) as u64
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
            "mq9.mailbox_ttl_seconds = {}, message_ttl_seconds = {}, group_idle_seconds = {}",
            mq9.mailbox_ttl_seconds, mq9.message_ttl_seconds, mq9.group_idle_seconds
        )?;
        writeln!(
            f,
            "mq9.fetch_wait_max_ms = {}, waiting_fetches = {}",
            mq9.fetch_wait_max_ms, mq9.waiting_fetches
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
        let (kept, idle) = (mq9.message_ttl_seconds, mq9.group_idle_seconds);
        let bytes = 1 << 50;
        for (key, found, least, most) in [
            ("mq9.mailbox_ttl_seconds", ttl, 0, 100 * 365 * DAY),
            ("mq9.message_ttl_seconds", kept, 0, 100 * 365 * DAY),
            ("mq9.fetch_wait_max_ms", wait, 0, 60_000),
            ("mq9.mailboxes", mq9.mailboxes as u64, 1, MILLION),
            ("mq9.mailbox_messages", mq9.mailbox_messages, 1, 1 << 40),
            ("mq9.mailbox_bytes", mq9.mailbox_bytes, 1024, bytes),
            ("mq9.mail_bytes", mq9.mail_bytes, 1024, bytes),
            ("mq9.groups_per_mailbox", mq9.groups_per_mailbox, 1, MILLION),
            ("mq9.group_idle_seconds", idle, 0, 100 * 365 * DAY),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn resolve(text: &str) -> Result<Limits, String> {
        let file = Path::new("edge.toml");
        let config = Config::parse(text, file).map_err(|error| error.to_string())?;
        Limits::resolve(&config, file).map_err(|error| error.to_string())
    }

    const NATS: &str = "[[listener]]\naddress = \"127.0.0.1:4222\"\nprotocol = \"nats\"\n";

    #[test]
    fn there_is_mail_where_somebody_may_ask_for_it() {
        for (text, has_mail) in [("", false), ("[mq9]\n", true), (NATS, true)] {
            let limits = resolve(text).expect("good");
            assert_eq!(limits.has_mail(), has_mail, "{text}");
            assert_eq!(limits.worst_mail() > 0, has_mail, "{text}");
            assert_eq!(limits.worst_mail_disk() > 0, has_mail, "{text}");
        }
    }

    #[test]
    fn what_the_file_says_is_what_the_office_is_told() {
        let text = "[mq9]\nmailboxes = 7\nfetch_wait_max_ms = 100\nagents = 3\n\
                    group_idle_seconds = 60\npayload_encoding = \"utf8\"\n";
        let settings = resolve(text).expect("good").office_settings(5);
        let settings = settings.expect("mail is on");
        assert_eq!(settings.mailbox_count_maximum, 7);
        assert_eq!(settings.wait_maximum, Duration::from_millis(100));
        assert_eq!(settings.agent_count_maximum, 3);
        assert_eq!(settings.group_idle_seconds, 60);
        assert_eq!(settings.payload_encoding, wire::mq9::PayloadEncoding::Utf8);
        assert_eq!(settings.seed, 5);
    }

    #[test]
    fn mailboxes_that_memory_does_not_hold_are_refused() {
        let error = resolve("[mq9]\nmailboxes = 1000000\n").expect_err("too many");
        assert!(
            error.contains("limits.memory_bytes: found 67108864"),
            "{error}"
        );
        let enough = "[limits]\nmemory_bytes = 1073741824\n[mq9]\nmailboxes = 1000000\n";
        assert!(resolve(enough).is_ok());
    }

    #[test]
    fn values_out_of_their_range_are_named() {
        for (line, expected) in [
            (
                "mailboxes = 0",
                "mq9.mailboxes: found 0, allowed is 1 to 1000000",
            ),
            (
                "fetch_wait_max_ms = 60001",
                "mq9.fetch_wait_max_ms: found 60001, allowed is 0 to 60000",
            ),
            (
                "agent_bytes = 1",
                "mq9.agent_bytes: found 1, allowed is 64 to 1048576",
            ),
            (
                "payload_encoding = \"hex\"",
                "mq9.payload_encoding: found unknown variant `hex`, allowed is `base64` or `utf8`",
            ),
            (
                "fetch_wait_ms = 1",
                "mq9.fetch_wait_ms: found unknown field `fetch_wait_ms`",
            ),
        ] {
            let error = resolve(&format!("[mq9]\n{line}\n")).expect_err("refused");
            assert!(
                error.contains(expected),
                "{error}\ndoes not contain\n{expected}"
            );
        }
    }
}
