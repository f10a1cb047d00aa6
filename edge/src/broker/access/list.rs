//! An access list in Mosquitto's format, with Mosquitto's rules.
//!
//! ```text
//! topic [read|write|readwrite|deny] FILTER    of the user named last, or of clients without one
//! user NAME
//! pattern [read|write|readwrite|deny] FILTER  of everybody; %c is the client identifier, %u the user
//! ```
//!
//! What is not granted is refused. A client's own lines are looked at first, then the patterns; in
//! each of the two, `deny` comes before what is granted. So a denying pattern does not take back
//! what a user's own line grants. A wildcard at the beginning does not match a topic that begins
//! with `$`. Patterns grant nothing to a client whose name or identifier holds a wildcard, and those
//! with `%u` nothing to a client without a user. A subscription is never refused: what may not be
//! read is not delivered.

use std::collections::BTreeMap;
use std::rc::Rc;

use wire::topic::{TopicFilter, TopicName, pattern_matches};

use crate::password::LineError;

/// Who may do what, as one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Of clients without a user.
    general: Rc<[Rule]>,
    users: BTreeMap<Box<str>, Rc<[Rule]>>,
    patterns: Vec<Rule>,
}

/// What a client wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Deed {
    Read,
    Write,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    filter: Box<str>,
    grant: Grant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    Deny,
    Read,
    Write,
    ReadWrite,
}

/// What a rule takes beside its filter.
const RULE_BYTES: usize = 64;
/// What a user's section takes beside its rules.
const SECTION_BYTES: usize = 128;
const LINES: &str = "topic, user or pattern";
const GRANTS: &str = "read, write, readwrite or deny, and then the filter";
const FILTERS: &str = "a topic filter, such as plant/+/temp or plant/#";

impl AccessList {
    /// Reads a file's text.
    ///
    /// # Errors
    /// At the first line that is neither a comment nor one of the three kinds.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let mut general = Vec::new();
        let mut users: BTreeMap<Box<str>, Vec<Rule>> = BTreeMap::new();
        let mut patterns = Vec::new();
        let mut user: Option<Box<str>> = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let rest = rest.trim();
            let rule = || {
                Rule::parse(rest).map_err(|(found, allowed)| LineError {
                    line: index + 1,
                    found,
                    allowed,
                })
            };
            match (word, &user) {
                ("", _) => {}
                (comment, _) if comment.starts_with('#') => {}
                ("topic", None) => general.push(rule()?),
                ("topic", Some(user)) => users.entry(user.clone()).or_default().push(rule()?),
                ("pattern", _) => patterns.push(rule()?),
                ("user", _) if !rest.is_empty() => user = Some(rest.into()),
                _ => {
                    return Err(LineError {
                        line: index + 1,
                        found: format!("\"{line}\""),
                        allowed: LINES,
                    });
                }
            }
        }
        Ok(Self {
            general: in_order(general).into(),
            users: users
                .into_iter()
                .map(|(user, rules)| (user, in_order(rules).into()))
                .collect(),
            patterns: in_order(patterns),
        })
    }

    /// About what it takes, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let of = |rules: &[Rule]| -> usize {
            let each = rules.iter();
            each.map(|rule| RULE_BYTES + rule.filter.len()).sum()
        };
        let users = self.users.iter();
        let users = users.map(|(user, rules)| SECTION_BYTES + user.len() + of(rules));
        of(&self.general) + of(&self.patterns) + users.sum::<usize>()
    }

    /// Whether any line names a user: then somebody has to prove who is one.
    #[must_use]
    pub fn names_users(&self) -> bool {
        let is_about_users = |rule: &Rule| rule.filter.contains("%u");
        !self.users.is_empty() || self.patterns.iter().any(is_about_users)
    }

    /// The lines that are a client's own.
    pub(super) fn section(&self, user: Option<&str>) -> Rc<[Rule]> {
        match user {
            None => self.general.clone(),
            Some(user) => self.users.get(user).cloned().unwrap_or_default(),
        }
    }

    /// Whether a client with a section may do something. Allocates nothing.
    pub(super) fn grants(
        &self,
        section: &[Rule],
        (client, user): (&str, Option<&str>),
        deed: Deed,
        topic: &str,
    ) -> bool {
        let Ok(name) = TopicName::new(topic) else {
            return false;
        };
        let mut own = section.iter().filter(|rule| rule.grant.concerns(deed));
        if let Some(rule) = own.find(|rule| pattern_matches(&rule.filter, name)) {
            return rule.grant != Grant::Deny;
        }
        let holds_wildcard = |text: &str| text.contains(['+', '#']);
        if holds_wildcard(client) || user.is_some_and(holds_wildcard) {
            return false;
        }
        let mut patterns = self
            .patterns
            .iter()
            .filter(|rule| rule.grant.concerns(deed));
        let rule = patterns.find(|rule| matches_filled(&rule.filter, (client, user), name));
        rule.is_some_and(|rule| rule.grant != Grant::Deny)
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let (grant, filter) = match text.split_once([' ', '\t']) {
            None => (Grant::ReadWrite, text),
            Some((word, filter)) => {
                let grant = match word {
                    "read" => Grant::Read,
                    "write" => Grant::Write,
                    "readwrite" => Grant::ReadWrite,
                    "deny" => Grant::Deny,
                    _ => return Err((format!("\"{word}\""), GRANTS)),
                };
                (grant, filter.trim())
            }
        };
        match TopicFilter::new(filter) {
            Ok(_) => Ok(Self {
                filter: filter.into(),
                grant,
            }),
            Err(error) => Err((format!("\"{filter}\", {error}"), FILTERS)),
        }
    }
}

impl Grant {
    /// Whether a line has a say in a deed.
    const fn concerns(self, deed: Deed) -> bool {
        match deed {
            Deed::Read => !matches!(self, Self::Write),
            Deed::Write => !matches!(self, Self::Read),
        }
    }
}

/// Denying lines first.
fn in_order(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort_by_key(|rule| rule.grant != Grant::Deny);
    rules
}

/// Whether a pattern matches once `%c` and `%u` are filled in, neither of which holds a wildcard.
fn matches_filled(
    pattern: &str,
    (client, user): (&str, Option<&str>),
    name: TopicName<'_>,
) -> bool {
    if name.is_reserved() && pattern.starts_with(['+', '#']) {
        return false;
    }
    if user.is_none() && pattern.contains("%u") {
        return false;
    }
    let mut filled = Filled {
        pattern: pattern.as_bytes(),
        filling: &[],
        client: client.as_bytes(),
        user: user.unwrap_or_default().as_bytes(),
    };
    let mut name = name.as_str().as_bytes();
    loop {
        match (filled.next(), name) {
            (Some(b'#'), _) | (None, []) => return true,
            // `a/#` also matches its parent `a`.
            (Some(b'/'), []) => return filled.next() == Some(b'#'),
            (Some(b'+'), _) => {
                let level_bytes = name.iter().take_while(|&&byte| byte != b'/').count();
                name = &name[level_bytes..];
            }
            (Some(one), [other, more @ ..]) if one == *other => name = more,
            _ => return false,
        }
    }
}

/// The bytes of a pattern with `%c` and `%u` filled in.
struct Filled<'a> {
    pattern: &'a [u8],
    /// What is left of the name that is being filled in.
    filling: &'a [u8],
    client: &'a [u8],
    user: &'a [u8],
}

impl Iterator for Filled<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            if let [byte, rest @ ..] = self.filling {
                self.filling = rest;
                return Some(*byte);
            }
            (self.filling, self.pattern) = match self.pattern {
                [b'%', b'c', rest @ ..] => (self.client, rest),
                [b'%', b'u', rest @ ..] => (self.user, rest),
                [byte, rest @ ..] => {
                    self.pattern = rest;
                    return Some(*byte);
                }
                [] => return None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Deed::{Read, Write};
    use super::*;

    const TEXT: &str = "\
# general
topic read news/#
topic deny news/secret

user alice
topic readwrite plant/#
topic write log
topic deny plant/+/valve
topic a topic with spaces
topic read a topic with spaces

user bob
pattern read state/%u/%c
pattern write %c/up
pattern read +/all/#
pattern deny +/all/not
pattern readwrite $own/%u
user alice
topic read late
";

    fn may(who: (&str, Option<&str>), deed: Deed, topic: &str) -> bool {
        let text = TEXT.replace("topic a topic with spaces\n", "");
        let list = AccessList::parse(&text).unwrap();
        list.grants(&list.section(who.1), who, deed, topic)
    }

    #[test]
    fn each_rule_of_mosquitto_holds() {
        let alice = ("c1", Some("alice"));
        let bob = ("c2", Some("bob"));
        let nobody = ("c3", None);
        let table = [
            (alice, Read, "plant/1/temp", true),
            (alice, Write, "plant", true),
            (alice, Read, "plant/1/valve", false),
            (alice, Write, "plant/1/valve", false),
            (alice, Write, "log", true),
            (alice, Read, "log", false),
            (alice, Read, "a topic with spaces", true),
            (alice, Write, "a topic with spaces", false),
            (alice, Read, "late", true),
            (alice, Read, "news/today", false),
            (nobody, Read, "news/today", true),
            (nobody, Write, "news/today", false),
            (nobody, Read, "news/secret", false),
            (nobody, Read, "plant/1/temp", false),
            (bob, Read, "plant/1/temp", false),
            (bob, Read, "state/bob/c2", true),
            (bob, Read, "state/alice/c2", false),
            (bob, Write, "c2/up", true),
            (bob, Write, "c1/up", false),
            (nobody, Write, "c3/up", true),
            (nobody, Read, "state//c3", false),
            (bob, Read, "x/all", true),
            (bob, Read, "x/all/y/z", true),
            (bob, Read, "x/all/not", false),
            (bob, Read, "$SYS/all", false),
            (bob, Write, "$own/bob", true),
            (bob, Write, "", false),
        ];
        for (who, deed, topic, expected) in table {
            assert_eq!(may(who, deed, topic), expected, "{who:?} {deed:?} {topic}");
        }
    }

    #[test]
    fn a_denying_pattern_does_not_take_back_an_own_line() {
        let list = AccessList::parse("user a\ntopic read x\npattern deny x\n").unwrap();
        let grants = |user| list.grants(&list.section(Some(user)), ("c", Some(user)), Read, "x");
        assert!(grants("a") && !grants("b"));
    }

    #[test]
    fn patterns_grant_nothing_to_names_with_wildcards() {
        for (client, user) in [("+", "bob"), ("c", "#"), ("a+", "bob"), ("c", "b/#")] {
            for topic in ["x/all", "state/bob/c", "c/up"] {
                assert!(
                    !may((client, Some(user)), Read, topic),
                    "{client} {user} {topic}"
                );
                assert!(
                    !may((client, Some(user)), Write, topic),
                    "{client} {user} {topic}"
                );
            }
        }
        // A slash is no wildcard.
        assert!(may(("a/b", None), Write, "a/b/up"));
        // Their own lines hold all the same.
        assert!(may(("+", Some("alice")), Read, "late"));
    }

    #[test]
    fn wildcards_at_the_beginning_do_not_match_reserved_topics() {
        let list = AccessList::parse("topic #\ntopic $SYS/broker/#\n").unwrap();
        let grants = |topic| list.grants(&list.section(None), ("c", None), Read, topic);
        assert!(grants("a") && grants("$SYS/broker/uptime"));
        assert!(!grants("$SYS/other") && !grants("$other"));
    }

    #[test]
    fn an_empty_list_grants_nothing() {
        let list = AccessList::parse("# nothing\n").unwrap();
        assert!(!list.grants(&list.section(None), ("c", None), Read, "a"));
        assert!(!list.names_users());
        assert!(
            AccessList::parse(TEXT.split("topic a ").next().unwrap())
                .unwrap()
                .names_users()
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let table = [
            (TEXT, 9, "\"a\"", GRANTS),
            ("\ntopics a\n", 2, "\"topics a\"", LINES),
            ("user\n", 1, "\"user\"", LINES),
            ("user \n", 1, "\"user\"", LINES),
            ("topic\n", 1, "\"\", is empty", FILTERS),
            ("topic read a/#/b\n", 1, "\"a/#/b\"", FILTERS),
        ];
        for (text, line, found, allowed) in table {
            let error = AccessList::parse(text).unwrap_err();
            assert_eq!((error.line, error.allowed), (line, allowed), "{error}");
            assert!(error.found.starts_with(found), "{error}");
        }
    }
}
