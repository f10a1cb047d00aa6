//! Requests about messages: sent, fetched, acknowledged, looked for.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::attributes::unwrapped;
use super::body::{Prefix, given};
use super::{Acknowledge, Attributes, Deliver, Failure, Fetch, PayloadEncoding, Query, Send, TAGS};

/// As many messages a query gives at most, and if it does not say.
pub const QUERY_MESSAGES: u64 = 100;
/// As many messages a fetch gives if it does not say.
const FETCH_MESSAGES: u32 = 100;
/// As long a fetch waits if it does not say.
const FETCH_WAIT_MILLISECONDS: u64 = 500;

/// Reads `MSG.SEND`.
pub(super) fn send(address: &str, headers: &[u8], payload: &[u8]) -> Result<Send, Failure> {
    let attributes = Attributes::from_headers(headers)?;
    let (headers, payload) =
        unwrapped(headers, payload).unwrap_or_else(|| (headers.to_owned(), payload.to_owned()));
    Ok(Send {
        address: address.to_owned(),
        attributes,
        headers,
        payload,
    })
}

/// Reads `MSG.FETCH`.
pub(super) fn fetch(address: &str, body: &[u8]) -> Result<Fetch, Failure> {
    let fields: FetchFields = Prefix("").fields(body)?;
    let config = fields.config.unwrap_or_default();
    Ok(Fetch {
        address: address.to_owned(),
        group: given(fields.group_name),
        deliver: match fields.deliver.unwrap_or(Start::Latest) {
            Start::Earliest => Deliver::Earliest,
            Start::Latest => Deliver::Latest,
            Start::FromTime => Deliver::FromTime(fields.from_time.unwrap_or(0)),
            Start::FromId => Deliver::FromId(fields.from_id.unwrap_or(0)),
        },
        is_forced: fields.force_deliver.unwrap_or(false),
        count: config.num_msgs.unwrap_or(FETCH_MESSAGES),
        wait_milliseconds: config.max_wait_ms.unwrap_or(FETCH_WAIT_MILLISECONDS),
        encoding: fields.payload_encoding.map(PayloadEncoding::from),
    })
}

/// Reads `MSG.ACK`. Its body decides, since RobustMQ does not look at the subject; the subject
/// stands in where the body says nothing.
pub(super) fn acknowledge(address: &str, body: &[u8]) -> Result<Acknowledge, Failure> {
    let fields: AcknowledgeFields = Prefix("").fields(body)?;
    Ok(Acknowledge {
        address: given(fields.mail_address).unwrap_or_else(|| address.to_owned()),
        group: fields.group_name,
        id: fields.msg_id,
    })
}

/// Reads `MSG.QUERY`.
pub(super) fn query(address: &str, body: &[u8]) -> Result<Query, Failure> {
    let fields: QueryFields = Prefix("invalid query request: ").fields(body)?;
    Ok(Query {
        address: address.to_owned(),
        key: given(fields.key),
        tags: fields.tags.map(|Tags(tags)| tags).unwrap_or_default(),
        since: fields.since,
        limit: fields.limit.unwrap_or(QUERY_MESSAGES).min(QUERY_MESSAGES),
        encoding: fields.payload_encoding.map(PayloadEncoding::from),
    })
}

#[derive(Deserialize)]
struct FetchFields<'a> {
    #[serde(borrow)]
    group_name: Option<Cow<'a, str>>,
    deliver: Option<Start>,
    from_time: Option<u64>,
    from_id: Option<u64>,
    force_deliver: Option<bool>,
    config: Option<FetchConfig>,
    payload_encoding: Option<Encoding>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Start {
    Earliest,
    Latest,
    FromTime,
    FromId,
}

#[derive(Default, Deserialize)]
struct FetchConfig {
    num_msgs: Option<u32>,
    max_wait_ms: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    Base64,
    Utf8,
}

impl From<Encoding> for PayloadEncoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Base64 => Self::Base64,
            Encoding::Utf8 => Self::Utf8,
        }
    }
}

#[derive(Deserialize)]
struct AcknowledgeFields<'a> {
    group_name: String,
    #[serde(borrow)]
    mail_address: Option<Cow<'a, str>>,
    msg_id: u64,
}

#[derive(Deserialize)]
struct QueryFields<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    tags: Option<Tags>,
    since: Option<u64>,
    limit: Option<u64>,
    payload_encoding: Option<Encoding>,
}

/// At most [`TAGS`] of them: a body has room for many times its size in empty texts.
struct Tags(Vec<String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TagsVisitor).map(Self)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {TAGS} tags")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
        let mut tags = Vec::new();
        while let Some(tag) = items.next_element()? {
            if tags.len() == TAGS {
                return Err(de::Error::invalid_length(TAGS + 1, &self));
            }
            tags.push(tag);
        }
        Ok(tags)
    }
}
