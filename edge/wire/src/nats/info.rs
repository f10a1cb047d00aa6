//! INFO: a server introduces itself, and says what it takes.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::json::Fields;
use super::line::Line;
use super::{DecodeError, Limits};

/// A server introduces itself, as the first operation of a connection and when something changes.
///
/// What must not be promised is left out where it is not so: nats.js begins TLS wherever
/// `tls_available` is set, and refuses a server whose `version` is not three numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Names the server's run.
    pub server_id: String,
    /// Names the server.
    pub server_name: String,
    /// Three numbers with full stops between, by which clients choose what they use.
    pub version: String,
    /// 1 from a server that may send INFO at any time.
    pub proto: u32,
    /// Where the server listens.
    pub host: String,
    /// Where the server listens; 0 if it does not say.
    pub port: u16,
    /// Whether it takes headers.
    pub headers: bool,
    /// Length of the longest message, headers included; 1 MiB if it does not say.
    #[serde(rename = "max_payload")]
    pub message_bytes_maximum: u64,
    /// The number of this connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<u64>,
    /// Where the client is, as the server sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// Whether CONNECT must hold credentials.
    pub auth_required: bool,
    /// Whether TLS begins behind this line.
    pub tls_required: bool,
    /// Whether the client needs a certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Whether TLS may begin behind this line.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Whether the server has streams.
    pub jetstream: bool,
    /// What a client with a key has to sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Other addresses of the cluster, each to be reached by every client.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Whether the server is about to stop, and clients should go elsewhere.
    #[serde(rename = "ldm", skip_serializing_if = "is_false")]
    pub lame_duck_mode: bool,
}

impl Default for Info {
    /// What an empty object says.
    fn default() -> Self {
        Self {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            proto: 0,
            host: String::new(),
            port: 0,
            headers: false,
            message_bytes_maximum: Limits::FROM_CLIENT.message_bytes as u64,
            client_id: None,
            client_ip: None,
            auth_required: false,
            tls_required: false,
            tls_verify: false,
            tls_available: false,
            jetstream: false,
            nonce: None,
            connect_urls: Vec::new(),
            lame_duck_mode: false,
        }
    }
}

impl Info {
    pub(super) fn decode(line: &Line<'_>) -> Result<Self, DecodeError> {
        let fields = Fields::parse(line)?;
        let default = Self::default();
        Ok(Self {
            server_id: fields.read("server_id")?.unwrap_or_default(),
            server_name: fields.read("server_name")?.unwrap_or_default(),
            version: fields.read("version")?.unwrap_or_default(),
            proto: fields.read("proto")?.unwrap_or_default(),
            host: fields.read("host")?.unwrap_or_default(),
            port: fields.read("port")?.unwrap_or_default(),
            headers: fields.read("headers")?.unwrap_or_default(),
            message_bytes_maximum: fields
                .read("max_payload")?
                .unwrap_or(default.message_bytes_maximum),
            client_id: fields.read("client_id")?,
            client_ip: fields.read("client_ip")?,
            auth_required: fields.read("auth_required")?.unwrap_or_default(),
            tls_required: fields.read("tls_required")?.unwrap_or_default(),
            tls_verify: fields.read("tls_verify")?.unwrap_or_default(),
            tls_available: fields.read("tls_available")?.unwrap_or_default(),
            jetstream: fields.read("jetstream")?.unwrap_or_default(),
            nonce: fields.read("nonce")?,
            connect_urls: fields.read("connect_urls")?.unwrap_or_default(),
            lame_duck_mode: fields.read("ldm")?.unwrap_or_default(),
        })
    }
}

/// As serde asks it.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
