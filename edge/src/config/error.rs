//! What is wrong with a configuration: file, line, key, what was found, what is allowed.

use std::fmt;
use std::path::{Path, PathBuf};

use super::document::Fault;

/// A configuration that can't be used. The program ends with exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file it was read from.
    pub file: PathBuf,
    /// The line, counted from 1, where one is to blame.
    pub line: Option<usize>,
    /// The key, with the section before it.
    pub key: String,
    /// What is there.
    pub found: String,
    /// What could be there.
    pub allowed: String,
}

impl ConfigError {
    pub(crate) fn from_toml(error: &toml::de::Error, text: &str, path: &Path) -> Self {
        Self::from_fault(&Fault::from_parser(error), text, path)
    }

    pub(super) fn from_fault(fault: &Fault, text: &str, path: &Path) -> Self {
        let message = fault.message.replace('\n', " ");
        let message = message.as_str();
        let (found, allowed) = message
            .rsplit_once(", expected ")
            .unwrap_or_else(|| (message, or_else(message)));
        let (found, allowed) = (as_written(found), as_allowed(allowed));
        let place = fault.at.map(|at| Place::of(text, at));
        Self {
            file: path.to_owned(),
            line: place.as_ref().map(|place| place.line),
            key: match place {
                Some(place) if fault.key.is_empty() => place.key,
                _ => fault.key.clone(),
            },
            found,
            allowed,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": found {}, allowed is {}", self.found, self.allowed)
    }
}

impl std::error::Error for ConfigError {}

/// What could be there, where the parser does not say.
fn or_else(message: &str) -> &'static str {
    if message.starts_with("missing field") {
        "a section that has it"
    } else if message.starts_with("integer") {
        WHOLE_NUMBER
    } else {
        "TOML"
    }
}

/// A value as it stands in the file, of what the parser says about it.
fn as_written(found: &str) -> String {
    let value = found.strip_prefix("invalid type: ");
    let value = value.or_else(|| found.strip_prefix("invalid value: "));
    let Some(value) = value else {
        return found.to_owned();
    };
    let names = ["string ", "integer ", "floating point ", "boolean "];
    let bare = names.iter().find_map(|name| value.strip_prefix(name));
    match (bare, value) {
        (Some(bare), _) => bare.trim_matches('`').to_owned(),
        (None, "sequence") => "a list".to_owned(),
        (None, "map") => "a section".to_owned(),
        (None, other) => other.to_owned(),
    }
}

/// What the parser asks for by the name of a type, for people.
fn as_allowed(expected: &str) -> String {
    match expected {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => WHOLE_NUMBER.to_owned(),
        "a string" | "path string" => "text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list in brackets".to_owned(),
        "a map" => "a section".to_owned(),
        section if section.starts_with("struct ") => "a section".to_owned(),
        words if words.starts_with("enum ") => "one of its words in quotes".to_owned(),
        other => other.to_owned(),
    }
}

/// What keys take whose numbers have no limit of their own here.
const WHOLE_NUMBER: &str = "a whole number, 0 or more";

/// Where in the file a value stands, by its lines alone.
struct Place {
    line: usize,
    key: String,
}

impl Place {
    fn of(text: &str, at: usize) -> Self {
        let before = &text[..at.min(text.len())];
        let line = before.matches('\n').count() + 1;
        let section = before
            .lines()
            .rev()
            .skip(usize::from(!before.ends_with('\n') && !before.is_empty()))
            .find(|line| line.trim_start().starts_with('['))
            .map_or("", |line| {
                line.trim().trim_start_matches('[').trim_end_matches(']')
            });
        let own = text.lines().nth(line - 1).unwrap_or_default();
        let name = own.split('=').next().unwrap_or_default().trim();
        let key = match (section, name) {
            (_, header) if header.starts_with('[') => header.trim_matches(['[', ']']).to_owned(),
            ("", name) => name.to_owned(),
            (section, name) => format!("{section}.{name}"),
        };
        Self { line, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Every key with a whole number: the section as it is opened, and the section's other keys.
    const SECTIONS: [(&str, &[&str]); 10] = [
        ("[gateway]", &["sys_interval_seconds"]),
        (
            "[[listener]]\naddress = \"127.0.0.1:1883\"",
            &["baud", "connections", "packet_bytes"],
        ),
        (
            "[cloud]\nendpoints = []",
            &[
                "connections",
                "window_count",
                "keep_alive_seconds",
                "packet_bytes",
                "message_expiry_seconds",
            ],
        ),
        (
            "[cloud]\nendpoints = []\n[cloud.mq9]\nendpoints = []",
            &[
                "agents_interval_seconds",
                "pull_interval_ms",
                "pull_interval_max_ms",
                "reply_bytes",
            ],
        ),
        (
            "[mq9]",
            &[
                "mailbox_ttl_seconds",
                "message_ttl_seconds",
                "fetch_wait_max_ms",
                "mailboxes",
                "mailbox_messages",
                "mailbox_bytes",
                "mail_bytes",
                "groups_per_mailbox",
                "group_idle_seconds",
                "agents",
                "agent_bytes",
                "waiting_fetches",
                "waiting_fetches_per_connection",
            ],
        ),
        ("[retention]", &["max_bytes", "max_age_seconds"]),
        ("[retention.urgent]", &["max_bytes", "max_age_seconds"]),
        (
            "[durability]",
            &[
                "linger_ms",
                "relaxed_commit_ms",
                "journal_bytes",
                "segment_bytes",
                "flash_bytes_per_day",
                "flash_rated_bytes",
            ],
        ),
        (
            "[sync]",
            &[
                "hold_seconds",
                "acknowledge_timeout_seconds",
                "backoff_max_seconds",
            ],
        ),
        (
            "[limits]",
            &[
                "memory_bytes",
                "connections",
                "connections_per_address",
                "packet_bytes",
                "connect_timeout_seconds",
                "handshake_percent",
                "keep_alive_max_seconds",
                "inflight_count",
                "sessions",
                "subscriptions_per_session",
                "filter_bytes",
                "filter_levels",
                "topic_bytes",
                "topic_levels",
                "publishes_per_second",
                "publish_burst",
                "shared_groups",
                "share_name_bytes",
                "session_expiry_seconds",
                "retained_count",
                "retained_bytes",
            ],
        ),
    ];

    /// The keys with whole numbers, and their types, as the sources declare them.
    fn declared() -> Vec<(&'static str, &'static str)> {
        let sources = [
            include_str!("../config.rs"),
            include_str!("cloud.rs"),
            include_str!("listener.rs"),
            include_str!("mq9.rs"),
            include_str!("retention.rs"),
        ];
        let fields = sources.into_iter().flat_map(str::lines);
        let fields = fields.filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "));
        let fields = fields.map(|(name, kind)| {
            let kind = kind.trim_end_matches(',');
            let inner = kind.strip_prefix("Option<");
            (name, inner.map_or(kind, |it| it.trim_end_matches('>')))
        });
        let is_number = |kind: &str| ["u8", "u16", "u32", "u64", "usize"].contains(&kind);
        fields.filter(|(_, kind)| is_number(kind)).collect()
    }

    #[test]
    fn a_wrong_number_is_told_of_in_the_words_of_the_file_whatever_its_key() {
        let listed = || SECTIONS.iter().flat_map(|(_, keys)| keys.iter());
        for (name, _) in declared() {
            assert!(listed().any(|key| *key == name), "{name} has no place here");
        }
        for (section, keys) in SECTIONS {
            let opening = section.lines().rfind(|line| line.starts_with('['));
            let name = opening.unwrap().trim_matches(['[', ']']);
            for key in keys {
                for (written, said) in [
                    ("-1", "-1"),
                    ("1.5", "1.5"),
                    ("\"many\"", "\"many\""),
                    ("true", "true"),
                    ("[1]", "a list"),
                    ("99999999999999999999", ""),
                ] {
                    let text = format!("{section}\n{key} = {written}\n");
                    let error = Config::parse(&text, Path::new("edge.toml"));
                    let error = error.expect_err(&text).to_string();
                    let line = section.lines().count() + 1;
                    let begin = format!("edge.toml:{line}: {name}.{key}: found {said}");
                    assert!(error.starts_with(&begin), "{text}{error}");
                    let allowed = ", allowed is a whole number";
                    assert!(error.contains(allowed), "{text}{error}");
                }
            }
        }
    }

    /// Where the type is the limit, it is told.
    #[test]
    fn a_number_that_is_too_large_for_its_key_is_told_the_largest() {
        for (text, expected) in [
            (
                "[limits]\ninflight_count = 70000\n",
                "limits.inflight_count: found 70000, allowed is a whole number from 0 to 65535",
            ),
            (
                "[limits]\npacket_bytes = 5000000000\n",
                "limits.packet_bytes: found 5000000000, allowed is a whole number from 0 to \
                 4294967295",
            ),
            (
                "[mq9]\nmailboxes = -1\n",
                "mq9.mailboxes: found -1, allowed is a whole number, 0 or more",
            ),
            (
                "[sync]\nwatch_offsets = 1\n",
                "sync.watch_offsets: found 1, allowed is true or false",
            ),
            (
                "[gateway]\nid = 7\n",
                "gateway.id: found 7, allowed is text in quotes",
            ),
            (
                "[lanes]\ncritical = \"a\"\n",
                "lanes.critical: found \"a\", allowed is a list in brackets",
            ),
            ("mq9 = 3\n", "mq9: found 3, allowed is a section"),
        ] {
            let error = Config::parse(text, Path::new("edge.toml")).expect_err(text);
            let line = text.lines().count();
            assert_eq!(error.to_string(), format!("edge.toml:{line}: {expected}"));
        }
    }

    /// The key was read off the line: an entry of a list on a line of its own was one, and the
    /// comment behind a section's name belonged to it.
    #[test]
    fn the_key_is_named_however_it_is_written() {
        for (text, line, expected) in [
            (
                "[lanes]\ncritical = [\n  \"[a]\",\n  7,\n]\n",
                4,
                "lanes.critical: found 7, allowed is text in quotes",
            ),
            (
                "[sync] # [x]\nwatch_offsets = 1\n",
                2,
                "sync.watch_offsets: found 1, allowed is true or false",
            ),
            (
                "sync = { watch_offsets = 1 }\n",
                1,
                "sync.watch_offsets: found 1, allowed is true or false",
            ),
            (
                "\u{feff}[ \"sync\" ]\r\nwatch_offsets = 1\r\n",
                2,
                "sync.watch_offsets: found 1, allowed is true or false",
            ),
            (
                "[gateway]\nid = \"\"\"\n[sync]\"\"\"\nself_protection = 1\n",
                4,
                "gateway.self_protection: found 1, allowed is true or false",
            ),
            (
                "[gateway]\nself_protection = \"a, expected b\"\n",
                2,
                "gateway.self_protection: found \"a, expected b\", allowed is true or false",
            ),
            (
                "[log]\nlevel = 3\n",
                2,
                "log.level: found 3, allowed is one of its words in quotes",
            ),
        ] {
            let error = Config::parse(text, Path::new("edge.toml")).expect_err(text);
            assert_eq!(error.to_string(), format!("edge.toml:{line}: {expected}"));
        }
    }
}
