//! The settings of the mail: which cluster, which of its mailboxes are pulled, and how often.

use std::time::Duration;

use crate::config::{range, refuse};
use crate::{ConfigError, Credentials, Endpoint, Scheme};

/// How to get mail to and from a cluster. [`MailConfig::new`] gives the defaults named here.
///
/// RobustMQ's own NATS has no TLS that works, so mail travels as it is where the network is trusted;
/// where something in front of the cluster speaks TLS, `tls://` takes the bridge's
/// [`Tls`](crate::Tls).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailConfig {
    /// NATS servers of one cluster, tried in this order; 1 to 16.
    pub endpoints: Vec<Endpoint>,
    /// User name and password; default none.
    pub credentials: Option<Credentials>,
    /// Whether a mailbox that is missing in the cloud is created there, without an end. Default
    /// so; otherwise its mail waits until somebody does.
    pub create: bool,
    /// Mailboxes to be fetched from the cloud, up to 64; default none. They are taken in turns.
    pub pull: Vec<Pull>,
    /// Time from one look into a mailbox that was empty to the next, 10 ms to 1 h; doubles up to
    /// `pull_interval_most`. Default 1 s.
    pub pull_interval: Duration,
    /// Longest time between two looks, at least `pull_interval`, up to 1 h. Default 5 s.
    pub pull_interval_most: Duration,
    /// Largest answer that is taken, 64 KiB to 16 MiB; fewer messages are asked for where one is
    /// larger. Default 512 KiB.
    pub reply_bytes: usize,
    /// Time from one look at the cloud's agents to the next, 1 s to 1 day; `None` for no look.
    /// Default 60 s.
    pub agents_interval: Option<Duration>,
}

/// A mailbox to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Of the mailbox, there and here.
    pub address: String,
    /// [`crate::PulledMessage::position`] of the last message that is durable; without one, or
    /// with one that can't be read, everything is fetched that is there.
    pub position: Option<Vec<u8>>,
}

impl MailConfig {
    /// Takes the defaults for everything but the servers.
    #[must_use]
    pub const fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            credentials: None,
            create: true,
            pull: Vec::new(),
            pull_interval: Duration::from_secs(1),
            pull_interval_most: Duration::from_secs(5),
            reply_bytes: 512 << 10,
            agents_interval: Some(Duration::from_secs(60)),
        }
    }

    /// Holds every setting against what it may be.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let key = "mail.endpoints";
        range(key, self.endpoints.len() as u64, 1..=16, "1 to 16")?;
        let is_own = |scheme| matches!(scheme, Scheme::Nats | Scheme::Tls);
        let foreign = self.endpoints.iter().find(|it| !is_own(it.scheme));
        if let Some(endpoint) = foreign {
            let allowed = "nats://host:port or tls://host:port";
            return refuse(key, &endpoint.to_string(), allowed);
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let least = millis(self.pull_interval);
        let key = "mail.pull_interval";
        range(key, least, 10..=HOUR_MILLIS, "10 ms to 1 h")?;
        let key = "mail.pull_interval_most";
        let most = millis(self.pull_interval_most);
        range(key, most, least..=HOUR_MILLIS, "pull_interval to 1 h")?;
        let key = "mail.reply_bytes";
        let allowed = "65536 to 16777216";
        range(key, self.reply_bytes as u64, 65_536..=16 << 20, allowed)?;
        if let Some(interval) = self.agents_interval {
            let key = "mail.agents_interval";
            range(key, interval.as_secs(), 1..=86_400, "1 s to 1 day")?;
        }
        self.validate_pulls()
    }

    fn validate_pulls(&self) -> Result<(), ConfigError> {
        let key = "mail.pull";
        range(key, self.pull.len() as u64, 0..=64, "up to 64 mailboxes")?;
        for (at, pull) in self.pull.iter().enumerate() {
            let is_subject = wire::subject::Subject::new(&pull.address).is_ok();
            let is_repeated = self.pull[..at].iter().any(|it| it.address == pull.address);
            if !is_subject || is_repeated {
                return refuse(key, &pull.address, "addresses of mailboxes, each once");
            }
        }
        Ok(())
    }
}

const HOUR_MILLIS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MailConfig {
        MailConfig::new(vec![Endpoint::for_mail("nats://localhost").unwrap()])
    }

    fn pull(address: &str) -> Pull {
        let address = address.to_owned();
        let position = None;
        Pull { address, position }
    }

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(config().validate(), Ok(()));
    }

    #[test]
    fn every_limit_is_held() {
        type Change = fn(&mut MailConfig);
        let table: [(&str, Change); 9] = [
            ("mail.endpoints", |c| c.endpoints.clear()),
            ("mail.endpoints", |c| c.endpoints[0].scheme = Scheme::Mqtt),
            ("mail.pull_interval", |c| c.pull_interval = Duration::ZERO),
            ("mail.pull_interval_most", |c| {
                c.pull_interval_most = c.pull_interval / 2;
            }),
            ("mail.reply_bytes", |c| c.reply_bytes = 1024),
            ("mail.agents_interval", |c| {
                c.agents_interval = Some(Duration::ZERO);
            }),
            ("mail.pull", |c| c.pull = vec![pull("a.*")]),
            ("mail.pull", |c| c.pull = vec![pull("a"), pull("a")]),
            ("mail.pull", |c| {
                c.pull = (0..65).map(|at| pull(&at.to_string())).collect();
            }),
        ];
        for (key, change) in table {
            let mut config = config();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().key, key);
        }
    }
}
