//! The `mq9-` headers of a message: how it is to be kept.
//!
//! ```text
//! NATS/1.0                  as much of a header block as is UTF-8
//! mq9-priority: urgent      critical, urgent or normal; anything else is normal
//! mq9-key: status           not empty
//! mq9-delay: 30             seconds; 0, or what is no number, counts as not there
//! mq9-ttl: 3600             the same
//! mq9-tags: billing, vip    at most [`TAGS`], empty ones left out, repeated ones counted once
//! mq9-edge-enc: b64         the payload is base64: bytes that RobustMQ would not give back
//! ```
//!
//! Names are taken in any case; of two with the same name the last one counts.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

use super::{Attributes, Failure, Priority, Send};

/// As many tags a message may have, and a query may ask for.
pub const TAGS: usize = 64;

const PRIORITY: &str = "mq9-priority";
const KEY: &str = "mq9-key";
const DELAY: &str = "mq9-delay";
const TTL: &str = "mq9-ttl";
const TAG_LIST: &str = "mq9-tags";
/// Says how a payload is written that is not text. Ours, and nobody else's.
const ENCODING: &str = "mq9-edge-enc";
const BASE64: &str = "b64";
const VERSION: &str = "NATS/1.0";

impl Attributes {
    /// Reads what a header block asks for; nothing if there is none, or it is not UTF-8.
    ///
    /// # Errors
    /// If there are more than [`TAGS`] tags.
    pub fn from_headers(block: &[u8]) -> Result<Self, Failure> {
        Self::from_fields(fields(core::str::from_utf8(block).unwrap_or_default()))
    }

    /// Reads what fields ask for, wherever they stand: in a header block or as user properties.
    /// Other fields are passed over.
    ///
    /// # Errors
    /// If there are more than [`TAGS`] tags.
    pub fn from_fields<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Failure> {
        let [mut priority, mut key, mut delay, mut ttl, mut tags] = [""; 5];
        for (name, value) in fields {
            let known = [
                (PRIORITY, &mut priority),
                (KEY, &mut key),
                (DELAY, &mut delay),
                (TTL, &mut ttl),
                (TAG_LIST, &mut tags),
            ];
            for (known, place) in known {
                if name.eq_ignore_ascii_case(known) {
                    *place = value.trim();
                }
            }
        }
        let seconds = |text: &str| text.parse().ok().filter(|&seconds| seconds > 0);
        Ok(Self {
            priority: Priority::from_name(priority),
            key: (!key.is_empty()).then(|| key.to_owned()),
            delay_seconds: seconds(delay),
            ttl_seconds: seconds(ttl),
            tags: tag_list(tags)?,
        })
    }

    fn for_each_field(&self, mut write: impl FnMut(&str, &str)) {
        if self.priority != Priority::Normal {
            write(PRIORITY, self.priority.name());
        }
        if let Some(key) = &self.key {
            write(KEY, key);
        }
        if let Some(seconds) = self.delay_seconds {
            write(DELAY, &format!("{seconds}"));
        }
        if let Some(seconds) = self.ttl_seconds {
            write(TTL, &format!("{seconds}"));
        }
        if !self.tags.is_empty() {
            write(TAG_LIST, &self.tags.join(","));
        }
    }
}

impl Priority {
    /// Gives the word of the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Urgent => "urgent",
            Self::Normal => "normal",
        }
    }

    /// Understands the exact word of the protocol; every other text is [`Self::Normal`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "critical" => Self::Critical,
            "urgent" => Self::Urgent,
            _ => Self::Normal,
        }
    }
}

impl Send {
    /// Writes the header block with which RobustMQ, which knows `mq9-` names in lower case only and
    /// counts a 0, keeps the message as it is to be kept. Empty if nothing need be said.
    pub(super) fn plain_headers(&self) -> Vec<u8> {
        let Ok(block) = core::str::from_utf8(&self.headers) else {
            return self.headers.clone();
        };
        let mut lines = Vec::new();
        self.attributes
            .for_each_field(|name, value| lines.push(format!("{name}: {}", one_line(value))));
        if self.is_wrapped() {
            lines.push(format!("{ENCODING}: {BASE64}"));
        }
        if block.is_empty() && lines.is_empty() {
            return Vec::new();
        }
        lines.extend(other_lines(block).map(str::to_owned));
        block_of(block, lines.iter().map(String::as_str))
    }

    /// Gives the payload as it is sent to RobustMQ, which gives back text and nothing else.
    pub(super) fn plain_payload(&self) -> Vec<u8> {
        match self.is_wrapped() {
            true => Base64::encode_string(&self.payload).into_bytes(),
            false => self.payload.clone(),
        }
    }

    /// Says whether the payload must be base64. Not behind headers that can't say so.
    fn is_wrapped(&self) -> bool {
        core::str::from_utf8(&self.payload).is_err() && core::str::from_utf8(&self.headers).is_ok()
    }
}

/// Gives headers and payload as they were before [`Send::plain_payload`]; `None` if they are so.
pub(super) fn unwrapped(headers: &[u8], payload: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let block = core::str::from_utf8(headers).ok()?;
    let encodings = fields(block).filter(|(name, _)| name.eq_ignore_ascii_case(ENCODING));
    if encodings.last()?.1 != BASE64 {
        return None;
    }
    let payload = Base64::decode_vec(core::str::from_utf8(payload).ok()?).ok()?;
    let mut lines = lines(block)
        .filter(|line| !has_name(line, &[ENCODING]))
        .peekable();
    let headers = match lines.peek() {
        Some(_) => block_of(block, lines),
        None => Vec::new(),
    };
    Some((headers, payload))
}

/// Walks names and values up to the empty line, both without the blanks around them.
fn fields(block: &str) -> impl Iterator<Item = (&str, &str)> {
    lines(block)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
}

/// Walks the lines behind the version, up to the empty one, that nobody takes for two.
fn lines(block: &str) -> impl Iterator<Item = &str> {
    let lines = block.lines().take_while(|line| !line.trim().is_empty());
    lines.filter(|line| !line.starts_with(VERSION) && !line.contains('\r'))
}

/// Walks the lines that say nothing of how a message is to be kept.
fn other_lines(block: &str) -> impl Iterator<Item = &str> {
    let ours = [PRIORITY, KEY, DELAY, TTL, TAG_LIST, ENCODING];
    lines(block).filter(move |line| line.contains(':') && !has_name(line, &ours))
}

fn has_name(line: &str, names: &[&str]) -> bool {
    let name = line.split(':').next().unwrap_or_default().trim();
    names.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// Makes a block of lines, behind the version as it stands in `before`.
fn block_of<'a>(before: &str, lines: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let first = before.lines().next().unwrap_or_default();
    let is_version = first.starts_with(VERSION) && !first.contains('\r');
    let mut block = String::from(if is_version { first } else { VERSION });
    for line in lines {
        block.push_str("\r\n");
        block.push_str(line);
    }
    block.push_str("\r\n\r\n");
    block.into_bytes()
}

/// Keeps a value, which may come from anywhere, from ending its line.
fn one_line(value: &str) -> String {
    value.replace(['\r', '\n'], " ")
}

fn tag_list(list: &str) -> Result<Vec<String>, Failure> {
    let mut tags: Vec<String> = Vec::new();
    let given = list.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    for tag in given {
        if tags.iter().any(|known| known == tag) {
            continue;
        }
        if tags.len() == TAGS {
            let text = format!("{TAG_LIST} has more than the {TAGS} tags that are allowed");
            return Err(Failure::Refused(text));
        }
        tags.push(tag.to_owned());
    }
    Ok(tags)
}
