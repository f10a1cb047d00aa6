//! mq9, the protocol of agent mailboxes, as values: ten requests, and what answers them.
//!
//! A request is a NATS message to a subject under [`PREFIX`]; its answer is a JSON document to the
//! reply subject. Both directions are here: a server decodes requests ([`Request::decode`]) and
//! encodes replies ([`Reply::encode`]), a client the other way round ([`Request::subject`],
//! [`Request::headers`], [`Request::body`], [`Reply::decode`]). A server is lenient in what it
//! reads, a client in what RobustMQ leaves out. Whether a mailbox exists, and what it holds, is not
//! decided here.
//!
//! ```
//! use wire::mq9::{Kind, Reply, Request};
//!
//! let request = Request::decode("$mq9.AI.MSG.SEND.plant.alarm", b"", b"too hot")?;
//! assert_eq!(request.address(), Some("plant.alarm"));
//! let mut answer = Vec::new();
//! Reply::Sent { id: Some(7) }.encode(&mut answer);
//! assert_eq!(answer, br#"{"error":"","msg_id":7}"#);
//! assert_eq!(Reply::decode(Kind::Send, &answer)?, Reply::Sent { id: Some(7) });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod agent;
mod answer;
mod attributes;
mod body;
mod client;
mod failure;
mod json;
mod mailbox;
mod message;
mod reply;
mod request;
mod texts;

use alloc::string::String;
use alloc::vec::Vec;

pub use self::address::{ADDRESS_BYTES, InvalidAddress, check_address};
pub use self::agent::BODY_DEPTH;
pub use self::answer::InvalidReply;
pub use self::attributes::TAGS;
pub use self::failure::Failure;
pub use self::message::QUERY_MESSAGES;
pub use self::request::Kind;
pub use self::texts::walk_texts;

/// What all subjects of requests begin with.
pub const PREFIX: &str = "$mq9.AI.";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `MAILBOX.CREATE`.
    Create(Create),
    /// `MSG.SEND.{address}`.
    Send(Send),
    /// `MSG.FETCH.{address}`.
    Fetch(Fetch),
    /// `MSG.ACK.{address}`.
    Acknowledge(Acknowledge),
    /// `MSG.QUERY.{address}`.
    Query(Query),
    /// `MSG.DELETE.{address}.{id}`.
    Delete(Delete),
    /// `AGENT.REGISTER`.
    Register(Register),
    /// `AGENT.UNREGISTER`.
    Unregister(Identity),
    /// `AGENT.REPORT`.
    Report(Report),
    /// `AGENT.DISCOVER`.
    Discover(Discover),
}

/// A mailbox is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// Its address, which the server makes up when there is none.
    pub name: Option<String>,
    /// How long it lives, in seconds; 0 for ever, and the server's default without it.
    pub ttl_seconds: Option<u64>,
    /// For people.
    pub description: String,
}

/// A message for a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Send {
    /// Of the mailbox.
    pub address: String,
    /// What the headers ask for.
    pub attributes: Attributes,
    /// The header block as it came, kept with the message; empty if there is none.
    pub headers: Vec<u8>,
    /// The application's bytes.
    pub payload: Vec<u8>,
}

/// How a message is to be kept: the `mq9-` headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `mq9-priority`.
    pub priority: Priority,
    /// `mq9-key`: the message takes the place of the former one with this key.
    pub key: Option<String>,
    /// `mq9-delay`: nobody sees it before so many seconds; never 0.
    pub delay_seconds: Option<u64>,
    /// `mq9-ttl`: nobody sees it after so many seconds; never 0.
    pub ttl_seconds: Option<u64>,
    /// `mq9-tags`.
    pub tags: Vec<String>,
}

/// What comes first; the lanes of the log have the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Before all others.
    Critical = 0,
    /// Before normal ones.
    Urgent = 1,
    /// What every message has that says nothing else.
    #[default]
    Normal = 2,
}

/// Messages of a mailbox are wanted, most important first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of the mailbox.
    pub address: String,
    /// Whose position counts; nobody's without it. Never empty.
    pub group: Option<String>,
    /// Where to begin, when the group has no position yet.
    pub deliver: Deliver,
    /// Begin there although it has.
    pub is_forced: bool,
    /// At most so many messages.
    pub count: u32,
    /// How long to wait for the first message.
    pub wait_milliseconds: u64,
    /// How payloads are written; the server's way without it.
    pub encoding: Option<PayloadEncoding>,
}

/// Where reading a mailbox begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliver {
    /// With all there is.
    Earliest,
    /// With the newest message there is.
    #[default]
    Latest,
    /// With what came at this time or later, in Unix seconds.
    FromTime(u64),
    /// With this message.
    FromId(u64),
}

/// How payloads are written in JSON. `payload_b64` is there in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadEncoding {
    /// Base64 with padding: what the SDKs of mq9 decode.
    #[default]
    Base64,
    /// Text, where bytes that are none are replaced: what RobustMQ sends.
    Utf8,
}

/// A group is done with a message and all that were delivered before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// Of the mailbox: the body's, or else the subject's.
    pub address: String,
    /// Whose; empty for nobody, which changes nothing.
    pub group: String,
    /// The message.
    pub id: u64,
}

/// Messages of a mailbox are looked for. What is asked for together must all be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Of the mailbox.
    pub address: String,
    /// The message with this key.
    pub key: Option<String>,
    /// Messages with any of these tags; all if there are none.
    pub tags: Vec<String>,
    /// Messages that came at this time or later, in Unix seconds.
    pub since: Option<u64>,
    /// At most so many messages, oldest first; never over 100.
    pub limit: u64,
    /// How payloads are written; the server's way without it.
    pub encoding: Option<PayloadEncoding>,
}

/// A message is not wanted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Of the mailbox.
    pub address: String,
    /// The message.
    pub id: u64,
}

/// An agent can be found from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Who: its name, or its mailbox if it has none.
    pub name: String,
    /// Where it is written to, as it says.
    pub mailbox: Option<String>,
    /// All it says, a JSON object as it came.
    pub body: String,
}

/// Which agent is meant. At least one of both is there, and none is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: Option<String>,
    /// Its mailbox.
    pub mailbox: Option<String>,
}

/// An agent says how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who.
    pub agent: Identity,
    /// All it says, a JSON object as it came.
    pub body: String,
}

/// Agents are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discover {
    /// Words, of which one is enough; none for all agents. `semantic` goes before `text`.
    pub words: Option<String>,
    /// At most so many agents a page; 20 if only a page is asked for. Without either a search gives
    /// the server's default, and a list all agents.
    pub limit: Option<u32>,
    /// Which page, from 1 on.
    pub page: u32,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A mailbox is there.
    Created {
        /// Its address.
        address: String,
    },
    /// A message is kept.
    Sent {
        /// Its id; `None` (written -1) while it is delayed, or when it goes to the cloud.
        id: Option<u64>,
    },
    /// Messages that were fetched or found.
    Messages {
        /// In the order of the request.
        messages: Vec<Message>,
        /// How their payloads are written.
        encoding: PayloadEncoding,
    },
    /// What was asked for is done.
    Done,
    /// A message is gone.
    Deleted {
        /// Whether it was there.
        was_there: bool,
    },
    /// Agents that were found.
    Agents(Vec<Agent>),
    /// It is not done.
    Failed(Failure),
}

/// A message of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique in its mailbox, growing.
    pub id: u64,
    /// Its priority.
    pub priority: Priority,
    /// The header block, or empty.
    pub headers: Vec<u8>,
    /// The application's bytes.
    pub payload: Vec<u8>,
    /// When it was kept, in Unix seconds.
    pub time: u64,
}

/// An agent as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Who it is.
    pub name: String,
    /// Where it is written to.
    pub mailbox: Option<String>,
    /// All it said when it registered.
    pub body: String,
    /// Where it lives: `edge` or `cloud`.
    pub lives: Home,
    /// When it was heard of last, in Unix seconds.
    pub seen: u64,
}

/// Where an agent lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// It registered here.
    Edge,
    /// The cloud knows it.
    Cloud,
}
