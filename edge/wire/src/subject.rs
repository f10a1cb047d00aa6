//! NATS subjects and subject filters: what they may be, which filter matches which subject, and
//! which MQTT topic is the same name.
//!
//! A [`Subject`] or [`SubjectFilter`] that exists obeys the rules, so that nobody behind the check
//! checks again. `*` and `>` are wildcards only as whole tokens: `a*` is an ordinary token. Unlike
//! in MQTT a leading wildcard matches names that begin with `$`; who may see those is not decided
//! here, and neither is who may publish to them.

mod error;
mod topic;

use core::fmt;
use core::str::Split;

pub use self::error::{ConversionError, SubjectError};

/// Separates the tokens of a subject.
const SEPARATOR: char = '.';
/// Stands for one token.
const ONE_TOKEN: &str = "*";
/// Stands for one token or more, at the end.
const ALL_TOKENS: &str = ">";

/// A subject to publish to: tokens of one character or more, none of them a wildcard.
///
/// ```
/// use wire::subject::{Subject, SubjectFilter};
///
/// let subject = Subject::new("plant.line1.temp")?;
/// assert!(SubjectFilter::new("plant.*.temp")?.matches(subject));
/// # Ok::<(), wire::subject::SubjectError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject<'a>(&'a str);

impl<'a> Subject<'a> {
    /// Checks a subject. A NATS server checks so only for a client that calls itself pedantic, and
    /// lets any other publish what no subscription can ask for.
    ///
    /// # Errors
    ///
    /// If it or one of its tokens is empty, if it holds white space, the null character or DEL, or
    /// if a token is a wildcard.
    pub fn new(text: &'a str) -> Result<Self, SubjectError> {
        for token in tokens_of(text)? {
            check_token(token)?;
            if is_wildcard(token) {
                return Err(SubjectError::Wildcard);
            }
        }
        Ok(Self(text))
    }

    /// Gives the text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Walks the tokens; there is at least one, and none is empty.
    pub fn tokens(self) -> Split<'a, char> {
        self.0.split(SEPARATOR)
    }

    /// Says whether the first character is `$`: the subjects of servers and their services.
    #[must_use]
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What is subscribed to: a subject in which `*` may stand for a token, and `>` for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectFilter<'a>(&'a str);

impl<'a> SubjectFilter<'a> {
    /// Checks a subject filter, as a NATS server does for every client.
    ///
    /// # Errors
    ///
    /// If it or one of its tokens is empty, if it holds white space, the null character or DEL, or
    /// if something follows `>`.
    pub fn new(text: &'a str) -> Result<Self, SubjectError> {
        let mut is_over = false;
        for token in tokens_of(text)? {
            if is_over {
                return Err(SubjectError::WildcardPlace);
            }
            check_token(token)?;
            is_over = token == ALL_TOKENS.as_bytes();
        }
        Ok(Self(text))
    }

    /// Gives the text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Walks the tokens; there is at least one, and none is empty.
    pub fn tokens(self) -> Split<'a, char> {
        self.0.split(SEPARATOR)
    }

    /// Says whether a token is `*` or `>`.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        self.tokens().any(|token| is_wildcard(token.as_bytes()))
    }

    /// Says whether a message published to `subject` belongs to this filter.
    #[must_use]
    pub fn matches(self, subject: Subject<'_>) -> bool {
        let mut found = subject.tokens();
        for expected in self.tokens() {
            match (expected, found.next()) {
                (_, None) => return false,
                (ALL_TOKENS, Some(_)) => return true,
                (ONE_TOKEN, Some(_)) => {}
                (literal, Some(token)) if literal == token => {}
                _ => return false,
            }
        }
        found.next().is_none()
    }

    /// Gives the filter one level up, `a` for `a.>`: what the topic filter `a/#` matches besides.
    #[must_use]
    pub fn level_up(self) -> Option<Self> {
        self.0.strip_suffix(".>").map(Self)
    }
}

impl<'a> From<Subject<'a>> for SubjectFilter<'a> {
    fn from(subject: Subject<'a>) -> Self {
        Self(subject.0)
    }
}

impl fmt::Display for SubjectFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Walks the tokens of what may be a subject, as bytes: every publish is checked.
fn tokens_of(text: &str) -> Result<impl Iterator<Item = &[u8]>, SubjectError> {
    match text.is_empty() {
        true => Err(SubjectError::Empty),
        false => Ok(text.as_bytes().split(|&byte| byte == SEPARATOR as u8)),
    }
}

/// Checks what is true of a token in a subject and in a filter.
fn check_token(token: &[u8]) -> Result<(), SubjectError> {
    if token.is_empty() {
        return Err(SubjectError::EmptyToken);
    }
    match token.iter().any(|&byte| is_refused(byte)) {
        true => Err(SubjectError::Character),
        false => Ok(()),
    }
}

const fn is_wildcard(token: &[u8]) -> bool {
    matches!(token, b"*" | b">")
}

/// Says whether a byte can't be in a subject: white space ends an argument of a control line, and
/// the others a NATS server refuses in what it takes over from MQTT.
const fn is_refused(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0C' | b'\r' | 0 | 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubjectError::{Character, Empty, EmptyToken, Wildcard, WildcardPlace};

    #[test]
    fn subjects_are_accepted_or_refused_for_their_reason() {
        let table = [
            ("a", None),
            ("foo.bar.BAZ-9_x", None),
            ("$SYS.REQ.SERVER.PING", None),
            ("_INBOX.q0rBZ3kUKm.1", None),
            ("a/b", None),
            ("/./", None),
            ("foo*", None),
            ("foo**.>x", None),
            ("a.+.#", None),
            ("\u{e9}.\u{4e2d}.\u{1f600}", None),
            ("", Some(Empty)),
            (".", Some(EmptyToken)),
            (".a", Some(EmptyToken)),
            ("a.", Some(EmptyToken)),
            ("a..b", Some(EmptyToken)),
            ("a b", Some(Character)),
            ("a\tb", Some(Character)),
            ("a\r", Some(Character)),
            ("\n", Some(Character)),
            ("a.\x0C", Some(Character)),
            ("a.\0", Some(Character)),
            ("a\x7F", Some(Character)),
            ("*", Some(Wildcard)),
            (">", Some(Wildcard)),
            ("a.*.b", Some(Wildcard)),
            ("a.>", Some(Wildcard)),
            ("a.>.b", Some(Wildcard)),
        ];
        for (text, error) in table {
            assert_eq!(Subject::new(text).err(), error, "{text:?}");
        }
    }

    #[test]
    fn filters_are_accepted_or_refused_for_their_reason() {
        let table = [
            ("*", None),
            (">", None),
            ("*.*", None),
            ("a.*.b.>", None),
            ("*.>", None),
            (">a.b", None),
            ("a.b>", None),
            ("**", None),
            (">>", None),
            ("", Some(Empty)),
            ("*.", Some(EmptyToken)),
            ("..", Some(EmptyToken)),
            ("a. .b", Some(Character)),
            (">.a", Some(WildcardPlace)),
            (">.>", Some(WildcardPlace)),
            ("a.>.b", Some(WildcardPlace)),
        ];
        for (text, error) in table {
            assert_eq!(SubjectFilter::new(text).err(), error, "{text:?}");
        }
    }

    #[test]
    fn filters_match_subjects() {
        let table = [
            ("foo", "foo", true),
            ("foo", "FOO", false),
            ("foo", "foo.bar", false),
            ("foo.bar", "foo", false),
            ("foo.*", "foo.bar", true),
            ("foo.*", "foo", false),
            ("foo.*", "foo.bar.baz", false),
            ("*", "foo", true),
            ("*", "foo.bar", false),
            ("*.bar", "foo.bar", true),
            ("*.*", "foo", false),
            ("foo.*.baz", "foo.bar.baz", true),
            ("foo.*.baz", "foo.bar.bar", false),
            (">", "foo", true),
            (">", "foo.bar.baz", true),
            ("foo.>", "foo.bar.baz", true),
            ("foo.>", "foo.bar", true),
            ("foo.>", "foo", false),
            ("foo.>", "fo.bar", false),
            ("foo.*.>", "foo.bar", false),
            ("foo.*.>", "foo.bar.baz", true),
            // Not whole tokens, so not wildcards.
            ("foo*", "foo*", true),
            ("foo*", "foobar", false),
            ("foo.>x", "foo.>x", true),
            ("foo.>x", "foo.bar", false),
            ("a.*b.c", "a.*b.c", true),
            // Reserved names are matched as any other.
            (">", "$SYS.a", true),
            ("*.a", "$SYS.a", true),
            ("_INBOX.abc.*", "_INBOX.abc.7", true),
        ];
        for (filter, subject, expected) in table {
            let filter = SubjectFilter::new(filter).unwrap();
            let subject = Subject::new(subject).unwrap();
            assert_eq!(filter.matches(subject), expected, "{filter} and {subject}");
            assert!(SubjectFilter::from(subject).matches(subject));
        }
    }

    #[test]
    fn only_a_filter_that_ends_in_all_tokens_has_a_level_up() {
        let table = [
            ("a.>", Some("a")),
            ("a.*.>", Some("a.*")),
            (">", None),
            ("a.b>", None),
            ("a.b", None),
        ];
        for (text, expected) in table {
            let up = SubjectFilter::new(text).unwrap().level_up();
            assert_eq!(up.map(SubjectFilter::as_str), expected, "{text}");
        }
    }
}
