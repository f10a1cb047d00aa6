//! `[cloud]` as it is written: the cluster, what goes up and comes down, our name there, and its
//! mail.

use std::path::PathBuf;

use serde::Deserialize;

/// `[cloud]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// `mqtt://host:port` or `mqtts://host:port`, tried in this order.
    pub endpoints: Vec<String>,
    /// Topic filters of what goes up.
    #[serde(default)]
    pub uplink: Vec<String>,
    /// Topic filters subscribed to in the cloud.
    #[serde(default)]
    pub downlink: Vec<String>,
    /// Put before each topic on its way up.
    #[serde(default)]
    pub topic_prefix: String,
    /// User name at the cluster.
    pub username: Option<String>,
    /// File with the password, one line.
    pub password_file: Option<PathBuf>,
    /// Certificates that sign the cluster's; needed for `mqtts`.
    pub ca_file: Option<PathBuf>,
    /// This gateway's own certificate chain, PEM.
    pub certificate_file: Option<PathBuf>,
    /// The key of `certificate_file`, PEM.
    pub key_file: Option<PathBuf>,
    /// The name in the cluster's certificate, if it is not the host of the endpoint.
    pub server_name: Option<String>,
    /// Parallel connections; a topic always takes the same one.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Unacknowledged records a connection.
    #[serde(default = "default_window_count")]
    pub window_count: u16,
    /// Seconds between pings.
    #[serde(default = "default_keep_alive_seconds")]
    pub keep_alive_seconds: u16,
    /// Largest packet sent up; RobustMQ goes silent above 1,000,000.
    #[serde(default = "default_packet_bytes")]
    pub packet_bytes: u32,
    /// Expiry of records that name none of their own.
    #[serde(default = "default_message_expiry_seconds")]
    pub message_expiry_seconds: u32,
    /// Mail to and from the cluster; absent means that all mail stays here.
    pub mq9: Option<CloudMq9>,
}

/// `[cloud.mq9]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CloudMq9 {
    /// `nats://host:port` or `tls://host:port`, tried in this order. RobustMQ's own NATS has no TLS
    /// that works; a terminator in front of it may, with the certificates of `[cloud]`.
    pub endpoints: Vec<String>,
    /// Filters of the mailboxes that live in the cloud: mail to them goes up.
    #[serde(default)]
    pub mailboxes: Vec<String>,
    /// Mailboxes that live here and are written to in the cloud: what is there comes down.
    #[serde(default)]
    pub pull: Vec<String>,
    /// Whether the cloud hears of the agents that register here.
    #[serde(default = "default_true")]
    pub announce_agents: bool,
    /// Seconds from one look at the cloud's agents to the next; 0 for none.
    #[serde(default = "default_agents_interval_seconds")]
    pub agents_interval_seconds: u64,
    /// Milliseconds from one look into an empty mailbox to the next; doubles
    #[serde(default = "default_pull_interval_ms")]
    pub pull_interval_ms: u64,
    /// up to this.
    #[serde(default = "default_pull_interval_max_ms")]
    pub pull_interval_max_ms: u64,
    /// Largest answer that is taken, and so the largest message that can be pulled, with all that
    /// JSON makes of it.
    #[serde(default = "default_reply_bytes")]
    pub reply_bytes: usize,
    /// Whether mailboxes that are missing in the cloud are created there.
    #[serde(default = "default_true")]
    pub create: bool,
    /// User name at the cluster's NATS.
    pub username: Option<String>,
    /// File with the password, one line.
    pub password_file: Option<PathBuf>,
}

const fn default_true() -> bool {
    true
}

const fn default_agents_interval_seconds() -> u64 {
    60
}

const fn default_pull_interval_ms() -> u64 {
    1_000
}

const fn default_pull_interval_max_ms() -> u64 {
    5_000
}

const fn default_reply_bytes() -> usize {
    512 << 10
}

const fn default_connections() -> usize {
    2
}

const fn default_window_count() -> u16 {
    50
}

const fn default_keep_alive_seconds() -> u16 {
    12
}

const fn default_packet_bytes() -> u32 {
    990_000
}

const fn default_message_expiry_seconds() -> u32 {
    7 * 86_400
}
