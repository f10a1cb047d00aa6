//! The cloud: what its mail may be set to, and the most memory that all of it takes.

use std::fmt;

use cloud_bridge::{Endpoint, Scheme};
use wire::mq9::check_address;
use wire::subject::{Subject, SubjectFilter};

use super::Limits;
use super::check::Check;
use crate::config::{Cloud, CloudMq9, Config, ConfigError};

/// Filters, and mailboxes that are pulled, each.
const NAMES: u64 = 64;
const HOUR_MS: u64 = 3_600_000;
const DAY: u64 = 86_400;
/// TLS sessions, rumqttc and its runtime, a connection. Measured: 96 KiB and its buffers.
const BRIDGE_CONNECTION_BYTES: u64 = 256 << 10;

impl Check<'_> {
    /// `[cloud.mq9]`
    pub(super) fn cloud_mail(&self, config: &Config, mq9: &CloudMq9) -> Result<(), ConfigError> {
        let key = "cloud.mq9.endpoints";
        let has_authority = config.cloud.as_ref().is_some_and(|it| it.ca_file.is_some());
        if mq9.endpoints.is_empty() {
            let allowed = "at least one nats:// or tls:// address";
            return self.refuse(key, "an empty list", allowed);
        }
        for url in &mq9.endpoints {
            match Endpoint::for_mail(url) {
                Err(error) => return self.refuse(key, format!("\"{url}\""), error.allowed),
                Ok(endpoint) if endpoint.scheme == Scheme::Tls && !has_authority => {
                    let found = "nothing, though an endpoint of mail is tls://";
                    let allowed = "the PEM file of who signed its certificate";
                    return self.refuse("cloud.ca_file", found, allowed);
                }
                Ok(_) => {}
            }
        }
        self.within(key, mq9.endpoints.len() as u64, 1, 16)?;
        let interval = mq9.agents_interval_seconds;
        self.within("cloud.mq9.agents_interval_seconds", interval, 0, DAY)?;
        let interval = mq9.pull_interval_ms;
        self.within("cloud.mq9.pull_interval_ms", interval, 10, HOUR_MS)?;
        let most = mq9.pull_interval_max_ms;
        self.within("cloud.mq9.pull_interval_max_ms", most, interval, HOUR_MS)?;
        let bytes = mq9.reply_bytes as u64;
        self.within("cloud.mq9.reply_bytes", bytes, 64 << 10, 16 << 20)?;
        // A message that is pulled is one commit, and that is a frame of the journal.
        let most = config.durability.journal_bytes / 4;
        if bytes > most {
            let allowed = format!("at most {most}, a quarter of durability.journal_bytes");
            return self.refuse("cloud.mq9.reply_bytes", bytes, allowed);
        }
        self.cloud_mailboxes(mq9)
    }

    /// A mailbox lives in one place, or its messages would be looked for in the wrong one.
    fn cloud_mailboxes(&self, mq9: &CloudMq9) -> Result<(), ConfigError> {
        let key = "cloud.mq9.mailboxes";
        self.within(key, mq9.mailboxes.len() as u64, 0, NAMES)?;
        let mut filters = Vec::new();
        for text in &mq9.mailboxes {
            match SubjectFilter::new(text) {
                Ok(filter) => filters.push(filter),
                Err(_) => {
                    let allowed = "filters of mail addresses, such as cloud.> or ops.*.inbox";
                    return self.refuse(key, format!("\"{text}\""), allowed);
                }
            }
        }
        let key = "cloud.mq9.pull";
        self.within(key, mq9.pull.len() as u64, 0, NAMES)?;
        for (at, address) in mq9.pull.iter().enumerate() {
            let found = format!("\"{address}\"");
            if let Err(error) = check_address(address) {
                let allowed = format!("mail addresses, but: {error}");
                return self.refuse(key, found, allowed);
            }
            if mq9.pull[..at].contains(address) {
                return self.refuse(key, found, "each mailbox once");
            }
            let subject = Subject::new(address).ok();
            if filters
                .iter()
                .any(|filter| subject.is_some_and(|it| filter.matches(it)))
            {
                let allowed = "mailboxes that live here, so none of cloud.mq9.mailboxes";
                return self.refuse(key, found, allowed);
            }
        }
        Ok(())
    }
}

impl Limits {
    /// Messages from the cloud that are kept while they are being stored. Twice the window, because
    /// servers have been seen to go over it; and one of mail, since one mailbox at a time hands over
    /// one bundle at a time.
    pub(crate) fn unconfirmed_count(&self) -> usize {
        let has_mail = self.cloud.as_ref().is_some_and(|cloud| cloud.mq9.is_some());
        2 * usize::from(self.downlink_window) + usize::from(has_mail)
    }

    /// Up: what is in flight on each connection and what was read ahead. Down: messages that are
    /// being stored, each at its largest.
    pub(super) fn worst_cloud(&self, cloud: &Cloud) -> u64 {
        let connection = BRIDGE_CONNECTION_BYTES + self.flight_bytes as u64;
        let unconfirmed = match cloud.downlink.is_empty() {
            true => 0,
            false => 2 * u64::from(self.downlink_window),
        };
        let mail = cloud.mq9.as_ref();
        cloud.connections as u64 * connection
            + self.read_ahead_bytes as u64
            + unconfirmed * u64::from(cloud.packet_bytes)
            + mail.map_or(0, |mq9| self.worst_mail_of_cloud(mq9))
    }

    /// Up: what is in flight, and the same once more as it is written, a third larger as base64.
    /// Down: one answer as it arrives, its messages, and the list of agents.
    fn worst_mail_of_cloud(&self, mq9: &CloudMq9) -> u64 {
        let flight = self.flight_bytes as u64;
        let up = flight + flight * 4 / 3;
        BRIDGE_CONNECTION_BYTES + up + 3 * mq9.reply_bytes as u64
    }
}

/// What `robustmq-edge check` says of it.
pub(super) fn show(cloud: &Cloud, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(mq9) = &cloud.mq9 else {
        return writeln!(f, "cloud.mq9 = none");
    };
    writeln!(f, "cloud.mq9.endpoints = {}", mq9.endpoints.join(" "))?;
    writeln!(f, "cloud.mq9.mailboxes = {}", mq9.mailboxes.join(" "))?;
    writeln!(f, "cloud.mq9.pull = {}", mq9.pull.join(" "))?;
    writeln!(
        f,
        "cloud.mq9.announce_agents = {}, create = {}",
        mq9.announce_agents, mq9.create
    )
}
