//! Requests about agents, and how an agent is shown to who looks for one.
//!
//! What an agent says of itself is a JSON object that is kept as it came. Its fields are shown as
//! they are, behind those that every agent has:
//!
//! ```text
//! name         of the agent
//! mailbox      "" if it has none
//! payload      its own, or else as agent_info
//! agent_info   always a text: its own, its payload, or else all it says
//! agent_id     made of the name
//! description  its own, or that of its payload or agent_info, or ""
//! home         edge or cloud
//! last_seen    in Unix seconds
//! ```

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::body::{Prefix, given};
use super::json::Object;
use super::{Agent, Discover, Failure, Home, Identity, Register, Report};

/// As many levels of objects and arrays what an agent says may have: it stands inside of other
/// documents, and readers of JSON give up at some depth.
pub const BODY_DEPTH: usize = 32;

/// As many agents a page has if only the page is asked for.
const PAGE_AGENTS: u32 = 20;

/// Reads `AGENT.REGISTER`.
pub(super) fn register(body: &[u8]) -> Result<Register, Failure> {
    let prefix = Prefix("invalid AGENT.REGISTER payload: ");
    if body.trim_ascii().is_empty() {
        return Err(Failure::Body("payload must not be empty".into()));
    }
    let fields: AgentFields = prefix.fields(body)?;
    let body = prefix.sound(body, BODY_DEPTH)?;
    if fields
        .payload
        .is_some_and(|payload| payload.get() == "\"\"")
    {
        return Err(Failure::Body("agent_info must not be empty".into()));
    }
    let agent = fields.identity(prefix)?;
    let mailbox = agent.mailbox.clone();
    Ok(Register {
        name: agent.into_name(),
        mailbox,
        body: body.to_owned(),
    })
}

/// Reads `AGENT.UNREGISTER`.
pub(super) fn unregister(body: &[u8]) -> Result<Identity, Failure> {
    let prefix = Prefix("invalid AGENT.UNREGISTER payload: ");
    prefix.fields::<AgentFields>(body)?.identity(prefix)
}

/// Reads `AGENT.REPORT`.
pub(super) fn report(body: &[u8]) -> Result<Report, Failure> {
    let prefix = Prefix("invalid AGENT.REPORT payload: ");
    let agent = prefix.fields::<AgentFields>(body)?.identity(prefix)?;
    Ok(Report {
        agent,
        body: prefix.sound(body, BODY_DEPTH)?.to_owned(),
    })
}

/// Reads `AGENT.DISCOVER`.
pub(super) fn discover(body: &[u8]) -> Result<Discover, Failure> {
    let fields: DiscoverFields = Prefix("invalid AGENT.DISCOVER payload: ").fields(body)?;
    Ok(Discover {
        words: given(fields.semantic).or_else(|| given(fields.text)),
        limit: fields.limit.or_else(|| fields.page.map(|_| PAGE_AGENTS)),
        page: fields.page.unwrap_or(1).max(1),
    })
}

#[derive(Deserialize)]
struct AgentFields<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    mailbox: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl AgentFields<'_> {
    fn identity(self, prefix: Prefix) -> Result<Identity, Failure> {
        if self.name.is_none() && self.mailbox.is_none() {
            return Err(prefix.failure("missing field `name`"));
        }
        let agent = Identity {
            name: given(self.name),
            mailbox: given(self.mailbox),
        };
        match agent {
            Identity {
                name: None,
                mailbox: None,
            } => Err(Failure::Body("agent name must not be empty".into())),
            agent => Ok(agent),
        }
    }
}

impl Identity {
    /// Gives what the agent is called: its name, or else its mailbox.
    pub(super) fn into_name(self) -> String {
        self.name.or(self.mailbox).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct DiscoverFields<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    semantic: Option<Cow<'a, str>>,
    limit: Option<u32>,
    page: Option<u32>,
}

impl Agent {
    /// Tells how many bytes this agent takes in a reply at most, with the comma before it.
    #[must_use]
    pub fn encoded_bytes_at_most(&self) -> usize {
        // An escape has up to six bytes. What agents say has passed a parser, where only quotation
        // marks, backslashes and ends of lines become longer.
        let mailbox = self.mailbox.as_deref().unwrap_or_default();
        let names = (2 * self.name.len() + mailbox.len()) * 6;
        let body = self.body.len() * 2;
        let (payload, agent_info, description, others) = (body, body, body, self.body.len());
        names + payload + agent_info + description + others + FRAME_BYTES
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let body: ShownFields = serde_json::from_str(&self.body).unwrap_or_default();
        let agent_info = body.agent_info(&self.body);
        let mut item = Object::new(into);
        item.text("name", &self.name);
        item.text("mailbox", self.mailbox.as_deref().unwrap_or_default());
        match body.payload {
            Some(payload) => item.raw("payload", payload.get()),
            None => item.text("payload", &agent_info),
        }
        item.text("agent_info", &agent_info);
        item.text("agent_id", &format!("default\0{}", self.name));
        item.text("description", &body.description(&agent_info));
        item.text("home", self.lives.name());
        item.number("last_seen", self.seen);
        // A body that is no object has no fields; nothing of it is written then.
        let _ = serde_json::Deserializer::from_str(&self.body).deserialize_map(Others(&mut item));
        item.end();
    }
}

impl Home {
    /// Gives the word that an agent is shown with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
        }
    }
}

/// What is written of an agent besides the values.
const FRAME_BYTES: usize = 192;

/// The fields that every agent is shown with.
const SHOWN: [&str; 8] = [
    "name",
    "mailbox",
    "payload",
    "agent_info",
    "agent_id",
    "description",
    "home",
    "last_seen",
];

#[derive(Default, Deserialize)]
struct ShownFields<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    agent_info: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
}

impl<'a> ShownFields<'a> {
    fn agent_info(&self, body: &'a str) -> Cow<'a, str> {
        let own = self.agent_info.and_then(text_of);
        let payload = || {
            let payload = self.payload?;
            Some(text_of(payload).unwrap_or_else(|| Cow::Borrowed(payload.get())))
        };
        own.or_else(payload).unwrap_or(Cow::Borrowed(body))
    }

    fn description(&self, agent_info: &str) -> String {
        let own = self.description.and_then(text_of);
        let inner = || {
            let card: ShownFields<'_> = serde_json::from_str(agent_info).ok()?;
            card.description.and_then(text_of).map(Cow::into_owned)
        };
        own.map(Cow::into_owned).or_else(inner).unwrap_or_default()
    }
}

/// Gives the text that a value is, if it is one.
pub(super) fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get())
        .ok()
        .map(|Text(text)| text)
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Copies the fields of a body that are not shown otherwise.
struct Others<'o, 'v>(&'o mut Object<'v>);

impl<'de> Visitor<'de> for Others<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some((Text(name), value)) = fields.next_entry::<Text<'de>, &'de RawValue>()? {
            if !SHOWN.contains(&name.as_ref()) {
                self.0.raw(&name, value.get());
            }
        }
        Ok(())
    }
}
