//! Requests as a client makes them, so that RobustMQ does what they mean.
//!
//! An edge understands them too and reads the same request again, but for what an agent says:
//! RobustMQ keeps the name and one text of it, so all of it travels as that text.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::json::{Object, write_array, write_text};
use super::{
    Acknowledge, Create, Deliver, Discover, Fetch, Identity, PREFIX, PayloadEncoding, Query,
    Request,
};

impl Request {
    /// Gives the subject to publish to.
    #[must_use]
    pub fn subject(&self) -> String {
        let command = self.kind().command();
        match (self, self.address()) {
            (Self::Delete(delete), _) => {
                format!("{PREFIX}{command}.{}.{}", delete.address, delete.id)
            }
            (Self::Create(_), _) | (_, None) => format!("{PREFIX}{command}"),
            (_, Some(address)) => format!("{PREFIX}{command}.{address}"),
        }
    }

    /// Gives the header block; empty if none is needed, as for all but messages to send.
    #[must_use]
    pub fn headers(&self) -> Vec<u8> {
        match self {
            Self::Send(send) => send.plain_headers(),
            _ => Vec::new(),
        }
    }

    /// Gives what is to be published.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Send(send) => return send.plain_payload(),
            Self::Delete(_) => return body,
            Self::Create(create) => write_create(create, &mut body),
            Self::Fetch(fetch) => write_fetch(fetch, &mut body),
            Self::Acknowledge(acknowledge) => write_acknowledge(acknowledge, &mut body),
            Self::Query(query) => write_query(query, &mut body),
            Self::Register(register) => {
                let mailbox = register.mailbox.as_deref();
                write_agent(
                    &register.name,
                    mailbox,
                    Some(("payload", &register.body)),
                    &mut body,
                );
            }
            Self::Unregister(agent) => write_identity(agent, None, &mut body),
            Self::Report(report) => {
                write_identity(
                    &report.agent,
                    Some(("report_info", &report.body)),
                    &mut body,
                );
            }
            Self::Discover(discover) => write_discover(discover, &mut body),
        }
        body
    }
}

fn write_create(create: &Create, body: &mut Vec<u8>) {
    let mut fields = Object::new(body);
    if let Some(name) = &create.name {
        fields.text("name", name);
    }
    if let Some(seconds) = create.ttl_seconds {
        fields.number("ttl", seconds);
    }
    if !create.description.is_empty() {
        fields.text("desc", &create.description);
    }
    fields.end();
}

fn write_fetch(fetch: &Fetch, body: &mut Vec<u8>) {
    let mut fields = Object::new(body);
    if let Some(group) = &fetch.group {
        fields.text("group_name", group);
    }
    match fetch.deliver {
        Deliver::Earliest => fields.text("deliver", "earliest"),
        Deliver::Latest => fields.text("deliver", "latest"),
        Deliver::FromTime(time) => {
            fields.text("deliver", "from_time");
            fields.number("from_time", time);
        }
        Deliver::FromId(id) => {
            fields.text("deliver", "from_id");
            fields.number("from_id", id);
        }
    }
    fields.raw(
        "force_deliver",
        if fetch.is_forced { "true" } else { "false" },
    );
    let mut config = Object::new(fields.field("config"));
    config.number("num_msgs", fetch.count.into());
    config.number("max_wait_ms", fetch.wait_milliseconds);
    config.end();
    write_encoding(fetch.encoding, &mut fields);
    fields.end();
}

fn write_acknowledge(acknowledge: &Acknowledge, body: &mut Vec<u8>) {
    let mut fields = Object::new(body);
    fields.text("group_name", &acknowledge.group);
    fields.text("mail_address", &acknowledge.address);
    fields.number("msg_id", acknowledge.id);
    fields.end();
}

fn write_query(query: &Query, body: &mut Vec<u8>) {
    let mut fields = Object::new(body);
    if let Some(key) = &query.key {
        fields.text("key", key);
    }
    if !query.tags.is_empty() {
        write_array(&query.tags, fields.field("tags"), |tag, body| {
            write_text(tag, body)
        });
    }
    if let Some(since) = query.since {
        fields.number("since", since);
    }
    fields.number("limit", query.limit);
    write_encoding(query.encoding, &mut fields);
    fields.end();
}

fn write_encoding(encoding: Option<PayloadEncoding>, fields: &mut Object<'_>) {
    match encoding {
        Some(PayloadEncoding::Base64) => fields.text("payload_encoding", "base64"),
        Some(PayloadEncoding::Utf8) => fields.text("payload_encoding", "utf8"),
        None => {}
    }
}

/// RobustMQ knows agents by their names alone, so a mailbox stands in for a missing one.
fn write_identity(agent: &Identity, said: Option<(&str, &str)>, body: &mut Vec<u8>) {
    let mailbox = agent.mailbox.as_deref();
    let name = agent.name.as_deref().or(mailbox).unwrap_or_default();
    write_agent(name, mailbox, said, body);
}

fn write_agent(name: &str, mailbox: Option<&str>, said: Option<(&str, &str)>, body: &mut Vec<u8>) {
    let mut fields = Object::new(body);
    fields.text("name", name);
    if let Some(mailbox) = mailbox {
        fields.text("mailbox", mailbox);
    }
    if let Some((field, said)) = said {
        fields.text(field, said);
    }
    fields.end();
}

fn write_discover(discover: &Discover, body: &mut Vec<u8>) {
    let mut fields = Object::new(body);
    if let Some(words) = &discover.words {
        fields.text("text", words);
    }
    if let Some(limit) = discover.limit {
        fields.number("limit", limit.into());
        fields.number("page", discover.page.into());
    }
    fields.end();
}
