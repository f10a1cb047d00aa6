//! The bridge's settings, their defaults, and what they may hold.

use core::fmt;
use core::ops::RangeInclusive;
use std::time::Duration;

use sync::{ConnectionId, Record};
use wire::topic::TopicFilter;

use crate::{ConfigError, Endpoint, MailConfig, Scheme, Tls};

/// Everything that decides how the bridge behaves. [`Config::new`] gives the defaults named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Servers of one cluster, tried in this order; 1 to 16.
    pub endpoints: Vec<Endpoint>,
    /// Start of every client identifier: up to 6 of `[A-Za-z0-9_-]`. Default `edge-`.
    pub client_id_prefix: String,
    /// User name and password; default none.
    pub credentials: Option<Credentials>,
    /// Connections that share the uplink, 1 to 16. Default 2: the server takes one connection's
    /// packets one at a time, and more than 4 gain nothing.
    pub connections: u8,
    /// Time between pings, 5 to 60 s. Default 12 s: a dead bridge stalls other subscribers of the
    /// server until twice this time has passed.
    pub keep_alive: Duration,
    /// How long the server keeps the downlink's session, up to 136 years. Default 1 day; the
    /// server may keep it shorter.
    pub session_expiry: Duration,
    /// Unanswered publishes on each connection, 1 to 1,000. Default 32: beyond 50 the server gives
    /// only latency.
    pub window: u16,
    /// Largest packet sent or received, 1,024 to 1,000,000. Default 990,000: a server with its
    /// limit of 1,000,000 freezes on a larger one.
    pub maximum_packet_bytes: u32,
    /// Message expiry interval of records without their own, 1 s to 136 years. Default 7 days;
    /// the server's own default would be 1 hour.
    pub message_expiry: Duration,
    /// What the gateway's time that does not jump is now; the bridge counts on from it. Expiry is
    /// counted by it, and `edge-time` put right where the device's clock says something else.
    /// Default the device's clock.
    pub steady_time: Option<sync::WallTime>,
    /// Put before every topic name, `plant/7/` for instance. Default empty.
    pub topic_prefix: String,
    /// Needed by `mqtts` endpoints; default none.
    pub tls: Option<Tls>,
    /// Topic filters to subscribe to on connection 0, up to 64. Default none.
    pub downlink_filters: Vec<String>,
    /// Downlink messages the server may send before the first is confirmed, 1 to 1,000. Default
    /// 32.
    pub downlink_window: u16,
    /// Time from `Connect` to CONNACK, name look-up and TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// Time to wait for a SUBACK, and for any sign of life while a publish is unanswered. Default
    /// 25 s: a retained message on a filter holds the server up for 20 s.
    pub patience: Duration,
    /// The mail of the cluster, by one connection more, behind all others. Default none.
    pub mail: Option<MailConfig>,
}

impl Config {
    /// Takes the defaults for everything but the servers.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            client_id_prefix: "edge-".to_owned(),
            credentials: None,
            connections: 2,
            keep_alive: Duration::from_secs(12),
            session_expiry: Duration::from_secs(24 * 3600),
            window: 32,
            maximum_packet_bytes: 990_000,
            message_expiry: Duration::from_secs(7 * 24 * 3600),
            steady_time: None,
            topic_prefix: String::new(),
            tls: None,
            downlink_filters: Vec::new(),
            downlink_window: 32,
            connect_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(25),
            mail: None,
        }
    }

    /// Holds every setting against what it may be. [`crate::Bridge::start`] does this too.
    ///
    /// # Errors
    /// The first setting that is not allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_server()?;
        self.validate_limits()?;
        self.validate_texts()?;
        self.mail.as_ref().map_or(Ok(()), MailConfig::validate)
    }

    /// Names the connection that carries mail: the last, if there is one.
    #[must_use]
    pub fn mail_connection(&self) -> Option<ConnectionId> {
        self.mail.as_ref().map(|_| ConnectionId(self.connections))
    }

    /// Counts all connections.
    pub(crate) fn connection_count(&self) -> usize {
        usize::from(self.connections) + usize::from(self.mail.is_some())
    }

    /// Tells whether a connection carries the downlink: the first, if there are filters at all.
    pub(crate) fn carries_downlink(&self, connection: ConnectionId) -> bool {
        connection == ConnectionId(0) && !self.downlink_filters.is_empty()
    }

    fn validate_server(&self) -> Result<(), ConfigError> {
        let key = "endpoints";
        range(key, self.endpoints.len() as u64, 1..=16, "1 to 16")?;
        let of = |scheme| self.endpoints.iter().find(move |it| it.scheme == scheme);
        if let Some(endpoint) = of(Scheme::Nats).or_else(|| of(Scheme::Tls)) {
            let allowed = "mqtt://host:port or mqtts://host:port";
            return refuse(key, &endpoint.to_string(), allowed);
        }
        let mail = self.mail.iter().flat_map(|mail| &mail.endpoints);
        let secured = mail.chain(&self.endpoints);
        let mut secured = secured.filter(|it| matches!(it.scheme, Scheme::Mqtts | Scheme::Tls));
        match (secured.next(), &self.tls) {
            (Some(_), None) => refuse("tls", "none", "a CA file, which mqtts and tls need"),
            _ => Ok(()),
        }
    }

    fn validate_limits(&self) -> Result<(), ConfigError> {
        let seconds =
            |key, time: Duration, allowed, text| range(key, time.as_secs(), allowed, text);
        let ages = 1..=u64::from(u32::MAX);
        range("connections", self.connections.into(), 1..=16, "1 to 16")?;
        range("window", self.window.into(), 1..=1000, "1 to 1000")?;
        range(
            "downlink_window",
            self.downlink_window.into(),
            1..=1000,
            "1 to 1000",
        )?;
        let packet_bytes = self.maximum_packet_bytes.into();
        range(
            "maximum_packet_bytes",
            packet_bytes,
            1024..=1_000_000,
            "1024 to 1000000",
        )?;
        seconds("keep_alive", self.keep_alive, 5..=60, "5 to 60 s")?;
        seconds(
            "session_expiry",
            self.session_expiry,
            ages.clone(),
            "1 to 4294967295 s",
        )?;
        seconds(
            "message_expiry",
            self.message_expiry,
            ages,
            "1 to 4294967295 s",
        )?;
        seconds(
            "connect_timeout",
            self.connect_timeout,
            1..=300,
            "1 to 300 s",
        )?;
        seconds("patience", self.patience, 1..=300, "1 to 300 s")
    }

    fn validate_texts(&self) -> Result<(), ConfigError> {
        let prefix = &self.client_id_prefix;
        if prefix.len() > PREFIX_BYTES || !prefix.bytes().all(is_client_id_byte) {
            return refuse("client_id_prefix", prefix, "up to 6 of A-Z a-z 0-9 - _");
        }
        if self.topic_prefix.len() > TOPIC_PREFIX_BYTES
            || self.topic_prefix.contains(['+', '#', '\0'])
        {
            let allowed = "up to 1024 bytes without + # or NUL";
            return refuse("topic_prefix", &self.topic_prefix, allowed);
        }
        if let Some(Credentials {
            user_name,
            password,
        }) = &self.credentials
        {
            let allowed = "up to 65535 bytes, a password not without a user name";
            let is_orphan = user_name.is_empty() && !password.is_empty();
            if is_orphan || user_name.len().max(password.len()) > usize::from(u16::MAX) {
                return refuse("credentials", user_name, allowed);
            }
        }
        range(
            "downlink_filters",
            self.downlink_filters.len() as u64,
            0..=64,
            "up to 64 filters",
        )?;
        match self
            .downlink_filters
            .iter()
            .find(|filter| TopicFilter::new(filter).is_err())
        {
            Some(filter) => refuse("downlink_filters", filter, "MQTT topic filters"),
            None => Ok(()),
        }
    }
}

/// User name and password of the CONNECT packet.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name, up to 65,535 bytes.
    pub user_name: String,
    /// Password, up to 65,535 bytes; never shown by `Debug`.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", self.user_name)
    }
}

/// Derives the client identifier of a connection: always the same for the same edge id, at most 23
/// characters of `[A-Za-z0-9_-]`, so that every server accepts it and no `@` selects a tenant.
///
/// An edge id that is too long or has other characters is replaced by its hash.
#[must_use]
pub fn client_id(prefix: &str, edge_id: &str, connection: ConnectionId) -> String {
    let ConnectionId(index) = connection;
    let plain = format!("{prefix}{edge_id}-{index}");
    if plain.len() <= CLIENT_ID_BYTES && plain.bytes().all(is_client_id_byte) {
        return plain;
    }
    let hash = Record::publisher_hash(edge_id);
    let digits: String = (0..HASH_DIGITS)
        .map(|digit| {
            char::from(b"0123456789abcdefghijklmnopqrstuv"[(hash >> (5 * digit)) as usize & 31])
        })
        .collect();
    format!("{prefix}{digits}-{index}")
}

const CLIENT_ID_BYTES: usize = 23;
/// 64 bits in digits of five.
const HASH_DIGITS: usize = 13;
const PREFIX_BYTES: usize = 6;
/// Leaves a topic name most of its 65,535 bytes.
const TOPIC_PREFIX_BYTES: usize = 1024;

const _: () = assert!(
    PREFIX_BYTES + HASH_DIGITS + "-15".len() <= CLIENT_ID_BYTES,
    "a hashed edge id always fits"
);

pub(crate) fn range(
    key: &'static str,
    found: u64,
    range: RangeInclusive<u64>,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if range.contains(&found) {
        Ok(())
    } else {
        refuse(key, &found.to_string(), allowed)
    }
}

pub(crate) fn refuse(
    key: &'static str,
    found: &str,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    Err(ConfigError {
        key,
        found: found.to_owned(),
        allowed,
    })
}

const fn is_client_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(vec!["mqtt://localhost".parse().unwrap()])
    }

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(config().validate(), Ok(()));
    }

    #[test]
    fn every_limit_is_held() {
        type Change = fn(&mut Config);
        let table: [(&str, Change); 16] = [
            ("endpoints", |c| c.endpoints.clear()),
            ("tls", |c| c.endpoints[0].scheme = Scheme::Mqtts),
            ("connections", |c| c.connections = 17),
            ("window", |c| c.window = 0),
            ("downlink_window", |c| c.downlink_window = 1001),
            ("maximum_packet_bytes", |c| {
                c.maximum_packet_bytes = 1_000_001
            }),
            ("keep_alive", |c| c.keep_alive = Duration::from_secs(4)),
            ("session_expiry", |c| c.session_expiry = Duration::ZERO),
            ("message_expiry", |c| c.message_expiry = Duration::MAX),
            ("connect_timeout", |c| c.connect_timeout = Duration::ZERO),
            ("patience", |c| c.patience = Duration::from_secs(301)),
            ("client_id_prefix", |c| c.client_id_prefix = "a@b".into()),
            ("topic_prefix", |c| c.topic_prefix = "a/+/".into()),
            ("credentials", |c| {
                c.credentials = Some(Credentials {
                    user_name: String::new(),
                    password: "p".into(),
                });
            }),
            ("downlink_filters", |c| {
                c.downlink_filters = vec!["a#".into()]
            }),
            ("downlink_filters", |c| {
                c.downlink_filters = vec!["a".into(); 65]
            }),
        ];
        for (key, change) in table {
            let mut config = config();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().key, key);
        }
    }

    #[test]
    fn errors_name_what_was_found_and_what_is_allowed() {
        let mut config = config();
        config.window = 0;
        let text = config.validate().unwrap_err().to_string();
        assert_eq!(text, "window is \"0\", allowed is 1 to 1000");
    }

    #[test]
    fn passwords_are_never_shown() {
        let credentials = Credentials {
            user_name: "admin".into(),
            password: "secret".into(),
        };
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[test]
    fn client_ids_fit_every_server() {
        assert_eq!(
            client_id("edge-", "plant-7", ConnectionId(0)),
            "edge-plant-7-0"
        );
        let long = "3e5c1f0a-6a3e-4b6f-9df5-2f1f5b8f9a10";
        for edge_id in [long, "plant@7", "", "\u{fc}ber"] {
            for connection in [0, 15] {
                let id = client_id("abcdef", edge_id, ConnectionId(connection));
                assert!(id.len() <= CLIENT_ID_BYTES, "{id}");
                assert!(id.bytes().all(is_client_id_byte), "{id}");
            }
        }
        let other = "3e5c1f0a-6a3e-4b6f-9df5-2f1f5b8f9a11";
        let ids = [long, other].map(|edge_id| client_id("edge-", edge_id, ConnectionId(0)));
        assert_ne!(ids[0], ids[1]);
    }
}
