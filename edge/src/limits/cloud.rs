//! The cloud's mail: what it may be set to, and the most memory that it takes.

use std::fmt;

use cloud_bridge::Endpoint;
use wire::mq9::check_address;
use wire::subject::{Subject, SubjectFilter};

use super::check::Check;
use super::{BRIDGE_CONNECTION_BYTES, Limits};
use crate::config::{Cloud, CloudMq9, Config, ConfigError};

/// Filters, and mailboxes that are pulled, each.
const NAMES: u64 = 64;
const HOUR_MS: u64 = 3_600_000;
const DAY: u64 = 86_400;

impl Check<'_> {
    /// `[cloud.mq9]`
    pub(super) fn cloud_mail(&self, config: &Config, mq9: &CloudMq9) -> Result<(), ConfigError> {
        let key = "cloud.mq9.endpoints";
        if mq9.endpoints.is_empty() {
            return self.refuse(key, "an empty list", "at least one nats:// address");
        }
        for url in &mq9.endpoints {
            if let Err(error) = Endpoint::for_mail(url) {
                return self.refuse(key, format!("\"{url}\""), error.allowed);
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
    /// Up: what is in flight, and the same once more as it is written, a third larger as base64.
    /// Down: one answer as it arrives, and its messages; beside them the list of agents.
    pub(super) fn worst_cloud_mail(&self, mq9: &CloudMq9) -> u64 {
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
