//! The configuration file as it is written: TOML, units in the key names, unknown keys refused.
//!
//! No file at all is a good start: loopback listener, `./data`, no cloud. What the values mean
//! together, and whether they fit, is decided in [`crate::limits`].

mod cloud;
mod document;
mod error;
mod listener;
mod mq9;
mod retention;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::cloud::{Cloud, CloudMq9};
pub use self::error::ConfigError;
pub use self::listener::{
    Address, ClientCertificate, IdentityAsUser, Listener, ListenerTls, Protocol,
};
pub use self::mq9::{Mq9, PayloadEncoding};
pub use self::retention::{LaneRetention, Lanes, Overflow, Retention, Rule};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this gateway is and where it keeps its data.
    pub gateway: Gateway,
    /// Where devices connect; none written means one on 127.0.0.1:1883.
    pub listener: Vec<Listener>,
    /// The cluster; absent means that nothing goes up.
    pub cloud: Option<Cloud>,
    /// Mailboxes; absent means as many as by default where a listener speaks NATS, and none
    /// elsewhere.
    pub mq9: Option<Mq9>,
    /// Which topics are more important than others.
    pub lanes: Lanes,
    /// What holds for single topics; the first that fits counts.
    pub rule: Vec<Rule>,
    /// How much of each lane is kept.
    pub retention: Retention,
    /// When a commit is written.
    pub durability: Durability,
    /// How records go up and commands come down.
    pub sync: Sync,
    /// Bounds of everything that could grow.
    pub limits: LimitsSection,
    /// What is said on standard error.
    pub log: Logging,
}

/// `[gateway]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Names this gateway to the cloud: 1 to 18 of `A-Z a-z 0-9 _ -`, unique in the fleet. Needed
    /// once there is a `[cloud]`.
    pub id: Option<String>,
    /// The folder that holds everything; made if it is missing.
    pub data: PathBuf,
    /// Seconds from one look at the `$SYS` topics to the next; 0 for none of these topics.
    pub sys_interval_seconds: u64,
    /// Whether the process gives up privileges, capabilities and writes outside `data` at its start.
    pub self_protection: bool,
}

/// `[durability]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Durability {
    /// How long a group of commits may wait for company, in milliseconds.
    pub linger_ms: u64,
    /// How long QoS 0 records for the cloud may wait, in milliseconds.
    pub relaxed_commit_ms: u64,
    /// Size of the journal; half of it is the most that waits for redb.
    pub journal_bytes: u64,
    /// Size at which a lane begins a new file.
    pub segment_bytes: u64,
    /// What may be written in a day: groups wait for company, up to a second, to stay below it, but
    /// for those of the critical lane.
    pub flash_bytes_per_day: Option<u64>,
    /// What the card is rated for, in bytes written; makes `status` say how long it will last.
    pub flash_rated_bytes: Option<u64>,
}

/// `[sync]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Sync {
    /// How long records stay after the cloud's acknowledgement, so that they can be replayed.
    pub hold_seconds: u64,
    /// Whether a server offset that goes backwards means that the cloud lost records, and a replay
    /// begins by itself. Only for clusters whose topics have one partition: several count on their
    /// own, which looks the same.
    pub watch_offsets: bool,
    /// How long an acknowledgement may take before the connection is given up.
    pub acknowledge_timeout_seconds: u64,
    /// The longest wait between two tries to connect.
    pub backoff_max_seconds: u64,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// What the process may use; caches and buffers are shares of it.
    pub memory_bytes: u64,
    /// Connections of devices; one more is refused.
    pub connections: usize,
    /// Connections of one address, this machine's own excepted; 0 sets no limit.
    pub connections_per_address: u32,
    /// The largest packet a device may send or is sent.
    pub packet_bytes: u32,
    /// Seconds until a connection has to have sent its CONNECT, from accept on: TLS and WebSocket
    /// have to be done by then.
    pub connect_timeout_seconds: u64,
    /// Share of the core thread that TLS handshakes may take; the rest of a storm of them waits.
    pub handshake_percent: u32,
    /// The longest keep alive, and that of clients that ask for none; 0 leaves it to them. Clients
    /// before MQTT 5 can't be told.
    pub keep_alive_max_seconds: u16,
    /// Unacknowledged messages a client, either way.
    pub inflight_count: u16,
    /// Sessions, connected or kept.
    pub sessions: usize,
    /// Subscriptions a session.
    pub subscriptions_per_session: usize,
    /// Bytes of a topic filter.
    pub filter_bytes: usize,
    /// Levels of a topic filter.
    pub filter_levels: usize,
    /// Bytes of a topic that a device publishes to.
    pub topic_bytes: usize,
    /// Levels of a topic that a device publishes to.
    pub topic_levels: usize,
    /// Messages a second that one device may publish; 0 sets no limit.
    pub publishes_per_second: u32,
    /// Messages that it may publish at once although that is faster.
    pub publish_burst: u32,
    /// Groups of shared subscriptions.
    pub shared_groups: usize,
    /// Bytes of a share name.
    pub share_name_bytes: usize,
    /// The longest a session is kept after its client left.
    pub session_expiry_seconds: u32,
    /// Retained messages.
    pub retained_count: usize,
    /// Bytes of all retained messages.
    pub retained_bytes: u64,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug` (or `off`).
    pub level: Level,
    /// Levels of single modules, such as `"edge::broker" = "debug"`.
    pub modules: std::collections::BTreeMap<String, Level>,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// What an operator has to act on.
    Error,
    /// What will need acting on if it goes on.
    Warn,
    /// Starts, stops, links up and down.
    #[default]
    Info,
    /// Connections and refusals, one by one.
    Debug,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            id: None,
            data: PathBuf::from("./data"),
            sys_interval_seconds: 10,
            self_protection: true,
        }
    }
}

impl Default for Durability {
    fn default() -> Self {
        Self {
            linger_ms: 0,
            relaxed_commit_ms: 200,
            journal_bytes: 8 << 20,
            segment_bytes: 64 << 20,
            flash_bytes_per_day: None,
            flash_rated_bytes: None,
        }
    }
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            hold_seconds: 120,
            watch_offsets: false,
            acknowledge_timeout_seconds: 30,
            backoff_max_seconds: 60,
        }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            connections: 1024,
            connections_per_address: 256,
            packet_bytes: 1 << 20,
            connect_timeout_seconds: 10,
            handshake_percent: 50,
            keep_alive_max_seconds: 0,
            inflight_count: 100,
            sessions: 4_000,
            subscriptions_per_session: 1000,
            filter_bytes: 1024,
            filter_levels: 64,
            topic_bytes: 1024,
            topic_levels: 64,
            publishes_per_second: 0,
            publish_burst: 1000,
            shared_groups: 64,
            share_name_bytes: 64,
            session_expiry_seconds: 30 * 86_400,
            retained_count: 5_000,
            retained_bytes: 4 << 20,
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: Level::Info,
            modules: std::collections::BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads a file, or gives the defaults for none.
    ///
    /// # Errors
    /// When the file can't be read, is not TOML, has a key that does not exist, or a value of
    /// another kind.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            file: path.to_owned(),
            line: None,
            key: String::new(),
            found: error.to_string(),
            allowed: "a file that can be read".to_owned(),
        })?;
        Self::parse(&text, path)
    }

    /// Reads text as the file `path` would hold it.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        document::read(text).map_err(|fault| ConfigError::from_fault(&fault, text, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("edge.toml"))
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("", Path::new("x")), Ok(Config::default()));
    }

    #[test]
    fn every_section_is_read() {
        let text = include_str!("../../examples/gateway.toml");
        let config = Config::parse(text, Path::new("example.toml")).expect("the example is valid");
        assert_eq!(config.listener.len(), 1);
        assert!(config.cloud.is_some());
    }

    #[test]
    fn errors_name_file_line_key_found_and_allowed() {
        let table = [
            (
                "[sync]\nhold_secs = 3\n",
                "edge.toml:2: sync.hold_secs: found unknown field `hold_secs`, allowed is one of \
                 `hold_seconds`, `watch_offsets`, `acknowledge_timeout_seconds`, \
                 `backoff_max_seconds`",
            ),
            (
                "[sync]\nhold_seconds = \"2m\"\n",
                "edge.toml:2: sync.hold_seconds: found \"2m\", allowed is a whole number, 0 or \
                 more",
            ),
            (
                "\n[limits]\nmemory_bytes = -1\n",
                "edge.toml:3: limits.memory_bytes: found -1, allowed is a whole number, 0 or more",
            ),
            (
                "[[listener]]\naddress = \"localhost\"\n",
                "edge.toml:2: listener.address: found \"localhost\", allowed is an IP \
                 address and port such as 127.0.0.1:1883, unix:PATH or serial:DEVICE",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::read(Some(Path::new("/nonexistent/edge.toml"))).expect_err("refused");
        assert!(
            error
                .to_string()
                .starts_with("/nonexistent/edge.toml: found No such file"),
            "{error}"
        );
    }
}
