//! What all tables of cases have in common, and their number: none is to be forgotten.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::{BEGIN, ClientId, World, block_of};
use super::{acknowledge, agents, create, delete, essentials, fetch, query, send};

/// A case by its number, played in a world of its own.
pub(crate) type Case = (u32, fn(&mut World));

/// The tables, by the section of the specification, with the number of cases that each has there.
const TABLES: &[(&str, &[Case], u32)] = &[
    ("6.0", essentials::CASES, 15),
    ("6.1", create::CASES, 15),
    ("6.2", send::CASES, 15),
    ("6.3", fetch::CASES, 15),
    ("6.4", acknowledge::CASES, 15),
    ("6.5", query::CASES, 15),
    ("6.6", delete::CASES, 12),
    ("6.7", agents::REGISTER, 11),
    ("6.8", agents::UNREGISTER, 6),
    ("6.9", agents::REPORT, 7),
    ("6.10", agents::DISCOVER, 13),
];

#[test]
fn no_case_of_the_specification_is_forgotten() {
    let mut count = 0;
    for (section, cases, expected) in TABLES {
        let numbers = cases.iter().map(|(number, _)| *number);
        assert!(numbers.eq(1..=*expected), "section {section}");
        count += expected;
    }
    assert_eq!(count, 139);
}

#[test]
fn every_case_of_the_specification_is_as_it_says() {
    let mut failed = Vec::new();
    for (section, cases, _) in TABLES {
        for (number, case) in *cases {
            let played = catch_unwind(AssertUnwindSafe(|| case(&mut World::in_text())));
            if played.is_err() {
                failed.push(format!("{section} #{number}"));
            }
        }
    }
    assert!(failed.is_empty(), "not as specified: {failed:?}");
}

/// What a success without more to say is.
pub(crate) const DONE: &str = "{\"error\":\"\"}";
/// What a reply without messages is.
pub(crate) const NOTHING: &str = "{\"error\":\"\",\"messages\":[]}";

/// What a refusal in these words is.
pub(crate) fn error(text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!("{{\"error\":{text}}}")
}

/// What the reply to a message that is kept is.
pub(crate) fn sent(id: u64) -> String {
    format!("{{\"error\":\"\",\"msg_id\":{id}}}")
}

/// A message in a reply, in a world in text.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) id: u64,
    pub(crate) payload: &'a str,
    pub(crate) priority: &'a str,
    pub(crate) headers: &'a [&'a str],
    pub(crate) time: u64,
}

/// A normal message of the first second.
pub(crate) const fn item(id: u64, payload: &str) -> Item<'_> {
    Item {
        id,
        payload,
        priority: "normal",
        headers: &[],
        time: BEGIN,
    }
}

impl<'a> Item<'a> {
    /// The same with a priority, and the header that asked for it.
    pub(crate) fn urgent(self) -> Self {
        let headers = &["mq9-priority: urgent"];
        Self {
            priority: "urgent",
            headers,
            ..self
        }
    }

    pub(crate) fn critical(self) -> Self {
        let headers = &["mq9-priority: critical"];
        Self {
            priority: "critical",
            headers,
            ..self
        }
    }

    /// The same with headers.
    pub(crate) fn with(self, headers: &'a [&'a str]) -> Self {
        Self { headers, ..self }
    }

    fn json(&self) -> String {
        let Item {
            id, priority, time, ..
        } = self;
        let payload = serde_json::to_string(self.payload).unwrap();
        let header = match self.headers {
            [] => "null".to_owned(),
            headers => serde_json::to_string(&block_of(headers)).unwrap(),
        };
        let base64 = base64(self.payload.as_bytes());
        format!(
            "{{\"msg_id\":{id},\"payload\":{payload},\"priority\":\"{priority}\",\
             \"header\":{header},\"create_time\":{time},\"payload_b64\":\"{base64}\"}}"
        )
    }
}

/// What the reply with these messages is.
pub(crate) fn messages(items: &[Item<'_>]) -> String {
    let items: Vec<String> = items.iter().map(Item::json).collect();
    format!("{{\"error\":\"\",\"messages\":[{}]}}", items.join(","))
}

/// The ids in a reply with messages.
pub(crate) fn ids(reply: &str) -> Vec<u64> {
    let value: serde_json::Value = serde_json::from_str(reply).unwrap();
    assert_eq!(value["error"], "", "{reply}");
    let messages = value["messages"].as_array().unwrap().iter();
    messages.map(|it| it["msg_id"].as_u64().unwrap()).collect()
}

/// The payloads in a reply with messages.
pub(crate) fn payloads(reply: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(reply).unwrap();
    let messages = value["messages"].as_array().unwrap().iter();
    messages
        .map(|it| it["payload"].as_str().unwrap().to_owned())
        .collect()
}

/// A client, and the mailbox `t.inbox` with `m0` to `m4`, all normal.
pub(crate) fn five(world: &mut World) -> ClientId {
    let client = world.join();
    world.mailbox(client, "t.inbox");
    for number in 0..5 {
        send_more(world, client, number);
    }
    client
}

/// Sends `m` and its number, which is the id that it gets.
pub(crate) fn send_more(world: &mut World, client: ClientId, number: u64) {
    let id = world.mail(client, "t.inbox", &[], &format!("m{number}"));
    assert_eq!(id, number);
}

/// Fetches from `t.inbox`.
pub(crate) fn fetched(world: &mut World, client: ClientId, body: &str) -> Vec<u64> {
    ids(&world.ask(client, "MSG.FETCH.t.inbox", body))
}

/// Acknowledges a message of `t.inbox`.
pub(crate) fn acknowledged(world: &mut World, client: ClientId, group: &str, id: u64) {
    let body =
        format!("{{\"group_name\":\"{group}\",\"mail_address\":\"t.inbox\",\"msg_id\":{id}}}");
    assert_eq!(world.ask(client, "MSG.ACK.t.inbox", &body), DONE);
}

/// Fails unless a text begins so: for errors in the words of the parser.
pub(crate) fn begins(text: &str, expected: &str) {
    assert!(
        text.starts_with(expected),
        "{text}\ndoes not begin with {expected}"
    );
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > chunk.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}
