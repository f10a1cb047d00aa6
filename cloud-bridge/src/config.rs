//! The bridge's settings, their defaults, and what they may hold.

use core::fmt;
use core::str::FromStr;
use std::net::Ipv6Addr;
use std::time::Duration;

use sync::Record;

use crate::{ConfigError, ConnectionId, Tls};

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
            topic_prefix: String::new(),
            tls: None,
            downlink_filters: Vec::new(),
            downlink_window: 32,
            connect_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(25),
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

/// A server: `mqtt://host:port` or `mqtts://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Plain or secured.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port; 1883 or 8883 where the URL names none.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = ConfigError;

    fn from_str(url: &str) -> Result<Self, ConfigError> {
        let error = || ConfigError {
            key: "endpoints",
            found: url.to_owned(),
            allowed: Self::ALLOWED,
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(error)?;
        let scheme = match scheme {
            "mqtt" => Scheme::Mqtt,
            "mqtts" => Scheme::Mqtts,
            _ => return Err(error()),
        };
        let (host, port) = split_host(rest).ok_or_else(error)?;
        let port = match port {
            Some(digits) => parse_port(digits).ok_or_else(error)?,
            None => scheme.default_port(),
        };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{}://[{host}]:{port}", scheme.name())
        } else {
            write!(f, "{}://{host}:{port}", scheme.name())
        }
    }
}

/// How bytes travel to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// As they are.
    Mqtt,
    /// Through TLS.
    Mqtts,
}

impl Endpoint {
    const ALLOWED: &str = "mqtt://host:port or mqtts://host:port";
}

impl Scheme {
    /// Names the scheme as URLs do.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
        }
    }

    /// The port that IANA assigned.
    const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
        }
    }
}

/// Derives the client identifier of a connection: always the same for the same edge id, at most 23
/// characters of `[A-Za-z0-9_-]`, so that every server accepts it and no `@` selects a tenant.
///
/// An edge id that is too long or has other characters is replaced by its hash.
#[must_use]
pub fn client_id(prefix: &str, edge_id: &str, connection: ConnectionId) -> String {
    let plain = format!("{prefix}{edge_id}-{connection}");
    if plain.len() <= CLIENT_ID_BYTES && plain.bytes().all(is_client_id_byte) {
        return plain;
    }
    let hash = Record::publisher_hash(edge_id);
    let digits: String = (0..HASH_DIGITS)
        .map(|digit| {
            char::from(b"0123456789abcdefghijklmnopqrstuv"[(hash >> (5 * digit)) as usize & 31])
        })
        .collect();
    format!("{prefix}{digits}-{connection}")
}

const CLIENT_ID_BYTES: usize = 23;
/// 64 bits in digits of five.
const HASH_DIGITS: usize = 13;
const PREFIX_BYTES: usize = 6;

const _: () = assert!(
    PREFIX_BYTES + HASH_DIGITS + "-15".len() <= CLIENT_ID_BYTES,
    "a hashed edge id always fits"
);

const fn is_client_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_host(rest: &str) -> Option<(&str, Option<&str>)> {
    let (host, tail) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, tail) = bracketed.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, tail)
        }
        None => match rest.find(':') {
            Some(colon) => rest.split_at(colon),
            None => (rest, ""),
        },
    };
    let is_host_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_host_byte) {
        return None;
    }
    match tail.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => tail.is_empty().then_some((host, None)),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}
