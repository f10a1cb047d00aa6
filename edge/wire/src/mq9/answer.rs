//! Replies as a client reads them: from RobustMQ, which leaves out more than it says, or an edge.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::agent::text_of;
use super::attributes::unwrapped;
use super::body::Prefix;
use super::{Agent, BODY_DEPTH, Failure, Home, Kind, Message, PayloadEncoding, Priority, Reply};

impl Reply {
    /// Reads the answer to a request of this kind. An item that gives its payload as nothing but
    /// text has the bytes of that text. Agents live in the cloud from where the client stands, and
    /// those that can't be read or passed on are left out.
    ///
    /// # Errors
    /// If the bytes are no answer to such a request.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Self, InvalidReply> {
        let reply: Fields = serde_json::from_slice(bytes)?;
        if let Some(error) = reply.error.filter(|error| !error.is_empty()) {
            return Ok(Self::Failed(Failure::from_text(&error)));
        }
        Ok(match kind {
            Kind::Create => Self::Created {
                address: needed(reply.mail_address, "mail_address")?,
            },
            Kind::Send => Self::Sent {
                id: u64::try_from(needed(reply.msg_id, "msg_id")?).ok(),
            },
            Kind::Fetch | Kind::Query => {
                let items = needed(reply.messages, "messages")?;
                Self::Messages {
                    messages: items.into_iter().map(Message::from).collect(),
                    encoding: PayloadEncoding::default(),
                }
            }
            Kind::Delete => Self::Deleted {
                was_there: reply.deleted.unwrap_or(true),
            },
            Kind::Discover => {
                let items = needed(reply.agents, "agents")?;
                Self::Agents(items.into_iter().filter_map(agent).collect())
            }
            Kind::Acknowledge | Kind::Register | Kind::Unregister | Kind::Report => Self::Done,
        })
    }
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidReply {
    /// Not JSON, or a field is not what it must be, found at this line and column from 1 on.
    Json {
        /// The line.
        line: usize,
        /// The byte in it.
        column: usize,
    },
    /// A success without what was asked for.
    Missing {
        /// The field.
        field: &'static str,
    },
}

impl From<serde_json::Error> for InvalidReply {
    fn from(error: serde_json::Error) -> Self {
        Self::Json {
            line: error.line(),
            column: error.column(),
        }
    }
}

impl fmt::Display for InvalidReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, column } => {
                write!(
                    f,
                    "answer is not what mq9 answers, at line {line} column {column}"
                )
            }
            Self::Missing { field } => write!(f, "answer of success has no field {field}"),
        }
    }
}

impl core::error::Error for InvalidReply {}

fn needed<T>(value: Option<T>, field: &'static str) -> Result<T, InvalidReply> {
    value.ok_or(InvalidReply::Missing { field })
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    mail_address: Option<String>,
    msg_id: Option<i128>,
    #[serde(borrow)]
    messages: Option<Vec<Item<'a>>>,
    deleted: Option<bool>,
    #[serde(borrow)]
    agents: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    msg_id: u64,
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload_b64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    priority: Option<Cow<'a, str>>,
    header: Option<Vec<u8>>,
    create_time: Option<u64>,
}

impl From<Item<'_>> for Message {
    fn from(item: Item<'_>) -> Self {
        let decoded = item
            .payload_b64
            .and_then(|text| Base64::decode_vec(&text).ok());
        let text = || item.payload.unwrap_or_default().into_owned().into_bytes();
        let payload = decoded.unwrap_or_else(text);
        let headers = item.header.unwrap_or_default();
        let (headers, payload) = unwrapped(&headers, &payload).unwrap_or((headers, payload));
        Self {
            id: item.msg_id,
            priority: Priority::from_name(item.priority.as_deref().unwrap_or_default()),
            headers,
            payload,
            time: item.create_time.unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
struct AgentFields<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    mailbox: Option<Cow<'a, str>>,
    #[serde(borrow)]
    agent_info: Option<Cow<'a, str>>,
    last_seen: Option<u64>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    mailbox: Option<&'a RawValue>,
}

/// Reads one agent. What it said when it registered is found inside of what RobustMQ keeps, if an
/// edge registered it.
fn agent(item: &RawValue) -> Option<Agent> {
    let fields: AgentFields<'_> = serde_json::from_str(item.get()).ok()?;
    let name = fields.name.filter(|name| !name.is_empty())?;
    let said = fields.agent_info.as_deref().and_then(sound);
    let said = said.filter(|said| said.starts_with('{'));
    let inner: Option<Said<'_>> = said.and_then(|said| serde_json::from_str(said).ok());
    let inner = inner.and_then(|inner| text_of(inner.mailbox?));
    let mailbox = [fields.mailbox, inner].into_iter().flatten();
    Some(Agent {
        name: name.into_owned(),
        mailbox: mailbox
            .map(Cow::into_owned)
            .find(|mailbox| !mailbox.is_empty()),
        body: said.or_else(|| sound(item.get()))?.to_owned(),
        lives: Home::Cloud,
        seen: fields.last_seen.unwrap_or(0),
    })
}

/// Gives what can be passed on as it is.
fn sound(text: &str) -> Option<&str> {
    Prefix("").sound(text.as_bytes(), BODY_DEPTH).ok()
}
