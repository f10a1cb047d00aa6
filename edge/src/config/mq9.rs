//! `[mq9]` as it is written: mailboxes, what they hold, and how mail is read.

use serde::Deserialize;

/// `[mq9]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Mq9 {
    /// How long a mailbox lives for which nothing else was asked; 0 for ever.
    pub mailbox_ttl_seconds: u64,
    /// How long messages are kept for which nothing else was asked; 0 for ever.
    pub message_ttl_seconds: u64,
    /// How payloads are written in replies, unless the listener or the request says otherwise.
    pub payload_encoding: PayloadEncoding,
    /// The longest that a FETCH waits for its first message: below the five seconds after which the
    /// SDKs give a request up.
    pub fetch_wait_max_ms: u64,
    /// Mailboxes; one more is refused.
    pub mailboxes: usize,
    /// Messages of a mailbox, delayed ones included; for one more the oldest gives way that every
    /// group has acknowledged, or it is refused.
    pub mailbox_messages: u64,
    /// Bytes of the messages of a mailbox; for one that would be too much others give way, or it is
    /// refused.
    pub mailbox_bytes: u64,
    /// Bytes of all mail; a message that would be too much is refused.
    pub mail_bytes: u64,
    /// Groups of a mailbox; one more takes the place of an idle one, or is refused.
    pub groups_per_mailbox: u64,
    /// How long a group neither fetches nor acknowledges until it is idle: then it holds no room in a
    /// full mailbox that another group uses; 0 for never.
    pub group_idle_seconds: u64,
    /// Agents that register here; one more is refused.
    pub agents: usize,
    /// Bytes of what an agent says of itself; more are refused.
    pub agent_bytes: usize,
    /// FETCHes that wait for a message; one more is answered at once, with what is there.
    pub waiting_fetches: usize,
    /// Those of one connection.
    pub waiting_fetches_per_connection: usize,
}

/// How payloads are written in JSON.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PayloadEncoding {
    /// Base64: what the SDKs of mq9 decode.
    #[default]
    Base64,
    /// Text, as RobustMQ writes it.
    Utf8,
}

impl Default for Mq9 {
    fn default() -> Self {
        Self {
            mailbox_ttl_seconds: 86_400,
            message_ttl_seconds: 604_800,
            payload_encoding: PayloadEncoding::Base64,
            fetch_wait_max_ms: 4_500,
            mailboxes: 3_000,
            mailbox_messages: 100_000,
            mailbox_bytes: 64 << 20,
            mail_bytes: 128 << 20,
            groups_per_mailbox: 16,
            group_idle_seconds: 259_200,
            agents: 500,
            agent_bytes: 16 << 10,
            waiting_fetches: 512,
            waiting_fetches_per_connection: 16,
        }
    }
}

impl From<PayloadEncoding> for wire::mq9::PayloadEncoding {
    fn from(written: PayloadEncoding) -> Self {
        match written {
            PayloadEncoding::Base64 => Self::Base64,
            PayloadEncoding::Utf8 => Self::Utf8,
        }
    }
}
