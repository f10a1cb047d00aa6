//! CONNECT: a client introduces itself, and says how it wants to be talked to.

use alloc::string::String;
use core::fmt;

use serde::Serialize;

use super::DecodeError;
use super::json::Fields;
use super::line::Line;

/// A client introduces itself. What it leaves out is as in [`Connect::default`].
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Connect {
    /// Whether each operation is to be answered with +OK; yes if it does not say.
    pub verbose: bool,
    /// Whether subjects are to be checked strictly; yes if it does not say.
    pub pedantic: bool,
    /// Whether the client insists on TLS.
    pub tls_required: bool,
    /// Whether the client's own messages go to its own subscriptions; yes if it does not say.
    pub echo: bool,
    /// Whether the client understands headers.
    pub headers: bool,
    /// Whether a request that nobody hears is to be answered with status 503.
    pub no_responders: bool,
    /// 0, or 1 from a client that takes INFO at any time.
    pub protocol: u32,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language of its library.
    pub lang: String,
    /// The version of its library.
    pub version: String,
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(rename = "pass", skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A secret that stands for a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<String>,
    /// The public key of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<String>,
    /// A signed statement about the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
    /// The server's nonce, signed by the user's key.
    #[serde(rename = "sig", skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Default for Connect {
    /// What a NATS server makes of an empty object.
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            tls_required: false,
            echo: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            name: None,
            lang: String::new(),
            version: String::new(),
            user: None,
            password: None,
            auth_token: None,
            nkey: None,
            jwt: None,
            signature: None,
        }
    }
}

impl Connect {
    pub(super) fn decode(line: &Line<'_>) -> Result<Self, DecodeError> {
        let fields = Fields::parse(line)?;
        Ok(Self {
            verbose: fields.read("verbose")?.unwrap_or(true),
            pedantic: fields.read("pedantic")?.unwrap_or(true),
            tls_required: fields.read("tls_required")?.unwrap_or(false),
            echo: fields.read("echo")?.unwrap_or(true),
            headers: fields.read("headers")?.unwrap_or(false),
            no_responders: fields.read("no_responders")?.unwrap_or(false),
            protocol: fields.read("protocol")?.unwrap_or(0),
            name: fields.read("name")?,
            lang: fields.read("lang")?.unwrap_or_default(),
            version: fields.read("version")?.unwrap_or_default(),
            user: fields.read("user")?,
            password: fields.read("pass")?,
            auth_token: fields.read("auth_token")?,
            nkey: fields.read("nkey")?,
            jwt: fields.read("jwt")?,
            signature: fields.read("sig")?,
        })
    }
}

/// Leaves out what is secret.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("verbose", &self.verbose)
            .field("pedantic", &self.pedantic)
            .field("tls_required", &self.tls_required)
            .field("echo", &self.echo)
            .field("headers", &self.headers)
            .field("no_responders", &self.no_responders)
            .field("protocol", &self.protocol)
            .field("name", &self.name)
            .field("lang", &self.lang)
            .field("version", &self.version)
            .field("user", &self.user)
            .field("has_password", &self.password.is_some())
            .field("has_auth_token", &self.auth_token.is_some())
            .field("nkey", &self.nkey)
            .field("has_jwt", &self.jwt.is_some())
            .field("has_signature", &self.signature.is_some())
            .finish()
    }
}
