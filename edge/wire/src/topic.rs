//! Topic names and topic filters: what they may be, and which filter matches which name.
//!
//! A [`TopicName`] or [`TopicFilter`] that exists obeys the specification's rules, so that nobody
//! behind the decoder checks again. Nothing is normalised: two topics are equal when their bytes
//! are. Whether a client may use a topic is not decided here.

use core::fmt;
use core::str::Split;

use crate::TopicError;

/// Separates the levels of a topic.
const SEPARATOR: char = '/';
/// Begins the filter of a shared subscription.
const SHARE_PREFIX: &str = "$share/";
/// The longest string that a two-byte length can announce.
const MAXIMUM_TOPIC_BYTES: usize = u16::MAX as usize;

/// A topic to publish to: 1 to 65,535 bytes, no wildcard, no null character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a topic name.
    ///
    /// # Errors
    ///
    /// If it is empty, too long, or holds `+`, `#` or the null character.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_length(text)?;
        let is_suspicious = holds_wildcard_or_null(text.as_bytes());
        match is_suspicious {
            false => Ok(Self(text)),
            true if text.contains('\0') => Err(TopicError::NullCharacter),
            // [MQTT-4.7.1-1], [MQTT-3.3.2-2]
            true => Err(TopicError::Wildcard),
        }
    }

    /// Gives the text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Walks the levels; there is at least one, and any may be empty.
    pub fn levels(self) -> Split<'a, char> {
        self.0.split(SEPARATOR)
    }

    /// Says whether the first character is `$`, which a leading wildcard does not match.
    #[must_use]
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A topic filter: 1 to 65,535 bytes, wildcards at their places, with a share name or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a> {
    text: &'a str,
    /// Bytes before the part that is matched: `$share/{group}/`, or none.
    prefix_bytes: usize,
}

impl<'a> TopicFilter<'a> {
    /// Checks a topic filter. `$share/{group}/{filter}` is a shared one in every version.
    ///
    /// # Errors
    ///
    /// If it is empty, too long, holds the null character, has a wildcard out of place, or begins
    /// with `$share/` without naming a group and a filter.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_length(text)?;
        if text.bytes().any(|byte| byte == 0) {
            return Err(TopicError::NullCharacter);
        }
        let prefix_bytes = share_prefix_bytes(text)?;
        let pattern = &text[prefix_bytes..];
        // [MQTT-4.7.3-1]
        if pattern.is_empty() {
            return Err(TopicError::Empty);
        }
        check_wildcards(pattern)?;
        Ok(Self { text, prefix_bytes })
    }

    /// Gives the whole text, `$share/{group}/` included: what identifies the subscription.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// Gives the part that is matched against names.
    #[must_use]
    pub fn pattern(self) -> &'a str {
        &self.text[self.prefix_bytes..]
    }

    /// Names the group of a shared subscription.
    #[must_use]
    pub fn group(self) -> Option<&'a str> {
        self.text
            .get(SHARE_PREFIX.len()..self.prefix_bytes.checked_sub(1)?)
    }

    /// Says whether the subscription is a shared one.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        self.prefix_bytes > 0
    }

    /// Says whether `+` or `#` is in the part that is matched.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        self.pattern().contains(['+', '#'])
    }

    /// Walks the levels of the part that is matched.
    pub fn levels(self) -> Split<'a, char> {
        self.pattern().split(SEPARATOR)
    }

    /// Says whether a message published to `name` belongs to this filter.
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        pattern_matches(self.pattern(), name)
    }
}

/// Says whether a message published to `name` belongs to a filter without a share name, which was
/// checked before; checking again takes several times as long as matching. One that never was
/// matches something or nothing.
#[must_use]
pub fn pattern_matches(pattern: &str, name: TopicName<'_>) -> bool {
    // [MQTT-4.7.2-1]
    if name.is_reserved() && pattern.starts_with(['+', '#']) {
        return false;
    }
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_str().as_bytes());
    // A wildcard in a filter is always a whole level, and `#` the last.
    loop {
        match (pattern, name) {
            ([b'#', ..], _) => return true,
            // `a/#` also matches its parent `a`.
            ([], []) | ([b'/', b'#'], []) => return true,
            ([b'+', rest @ ..], _) => {
                let level_bytes = name.iter().take_while(|&&byte| byte != b'/').count();
                (pattern, name) = (rest, &name[level_bytes..]);
            }
            ([one, rest @ ..], [other, more @ ..]) if one == other => {
                (pattern, name) = (rest, more);
            }
            _ => return false,
        }
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

fn check_length(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        // [MQTT-4.7.3-3]
        bytes if bytes > MAXIMUM_TOPIC_BYTES => Err(TopicError::TooLong { bytes }),
        _ => Ok(()),
    }
}

/// Says whether `+`, `#` or the null character is there, eight bytes at a time: every publish asks.
#[inline]
fn holds_wildcard_or_null(bytes: &[u8]) -> bool {
    /// The highest bit of some byte is set exactly if some byte is zero.
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(u64::from_ne_bytes([0x01; 8])) & !word & u64::from_ne_bytes([0x80; 8])
    }
    const fn found(eight: [u8; 8]) -> u64 {
        let word = u64::from_ne_bytes(eight);
        zero(word)
            | zero(word ^ u64::from_ne_bytes([b'+'; 8]))
            | zero(word ^ u64::from_ne_bytes([b'#'; 8]))
    }
    // The last eight overlap those before them.
    match bytes.last_chunk() {
        Some(&last) => {
            let (eights, _) = bytes.as_chunks();
            eights
                .iter()
                .fold(found(last), |all, &eight| all | found(eight))
                != 0
        }
        None => bytes.iter().any(|byte| matches!(byte, b'+' | b'#' | 0)),
    }
}

fn share_prefix_bytes(text: &str) -> Result<usize, TopicError> {
    let Some(rest) = text.strip_prefix(SHARE_PREFIX) else {
        return Ok(0);
    };
    // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    match rest.split_once(SEPARATOR) {
        Some((group, _)) if !group.is_empty() && !group.contains(['+', '#']) => {
            Ok(SHARE_PREFIX.len() + group.len() + 1)
        }
        _ => Err(TopicError::ShareName),
    }
}

fn check_wildcards(pattern: &str) -> Result<(), TopicError> {
    let mut levels = pattern.split(SEPARATOR).peekable();
    while let Some(level) = levels.next() {
        let is_right = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            _ => !level.contains(['+', '#']),
        };
        // [MQTT-4.7.1-1], [MQTT-4.7.1-2]
        if !is_right {
            return Err(TopicError::WildcardPlace);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use TopicError::{Empty, NullCharacter, ShareName, TooLong, Wildcard, WildcardPlace};

    /// [MQTT-3.3.2-2] [MQTT-4.7.0-1]
    #[test]
    fn names_are_accepted_or_refused_for_their_reason() {
        let table = [
            ("a", None),
            ("/", None),
            ("//", None),
            ("a/b/c", None),
            (" ", None),
            ("$SYS/broker", None),
            ("$share/group/a", None),
            ("\u{e9}\u{4e2d}\u{1f600}", None),
            // Not normalised, not stripped. [MQTT-1.5.4-3]
            ("\u{feff}a", None),
            ("", Some(Empty)),
            ("a/+", Some(Wildcard)),
            ("#", Some(Wildcard)),
            ("a+b", Some(Wildcard)),
            ("a\0b", Some(NullCharacter)),
            ("+\0", Some(NullCharacter)),
        ];
        for (text, error) in table {
            assert_eq!(TopicName::new(text).err(), error, "{text:?}");
        }
    }

    /// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2]
    #[test]
    fn filters_are_accepted_or_refused_for_their_reason() {
        let table = [
            ("#", None),
            ("+", None),
            ("/", None),
            ("+/+", None),
            ("/+", None),
            ("a/#", None),
            ("+/a/#", None),
            ("a/+/b", None),
            ("$SYS/#", None),
            ("$share", None),
            ("$shares/g", None),
            ("$share/g/#", None),
            ("$share/g//", None),
            ("$share/g/$share/h/a", None),
            ("", Some(Empty)),
            ("$share/g/", Some(Empty)),
            ("a\0", Some(NullCharacter)),
            ("a#", Some(WildcardPlace)),
            ("a/#/b", Some(WildcardPlace)),
            ("#/", Some(WildcardPlace)),
            ("##", Some(WildcardPlace)),
            ("a+", Some(WildcardPlace)),
            ("+a/b", Some(WildcardPlace)),
            ("$share/g/a#", Some(WildcardPlace)),
            ("$share/", Some(ShareName)),
            ("$share/g", Some(ShareName)),
            ("$share//a", Some(ShareName)),
            ("$share/+/a", Some(ShareName)),
            ("$share/g#/a", Some(ShareName)),
        ];
        for (text, error) in table {
            assert_eq!(TopicFilter::new(text).err(), error, "{text:?}");
        }
    }

    /// [MQTT-4.7.3-3]
    #[test]
    fn length_ends_at_what_two_bytes_can_say() {
        let long = [b'a'; 65_536];
        let text = core::str::from_utf8(&long).unwrap();
        assert!(TopicName::new(&text[1..]).is_ok());
        assert!(TopicFilter::new(&text[1..]).is_ok());
        assert_eq!(TopicName::new(text), Err(TooLong { bytes: 65_536 }));
        assert_eq!(TopicFilter::new(text), Err(TooLong { bytes: 65_536 }));
    }

    #[test]
    fn shared_filters_are_taken_apart() {
        let table = [
            ("a/b", None, "a/b"),
            ("$share", None, "$share"),
            ("$share/g/a/b", Some("g"), "a/b"),
            ("$share/g//", Some("g"), "/"),
            ("$share/\u{e9}/#", Some("\u{e9}"), "#"),
        ];
        for (text, group, pattern) in table {
            let filter = TopicFilter::new(text).unwrap();
            assert_eq!(
                (filter.group(), filter.pattern()),
                (group, pattern),
                "{text}"
            );
            assert_eq!(
                (filter.is_shared(), filter.as_str()),
                (group.is_some(), text)
            );
        }
    }

    /// The examples of section 4.7, and what they leave open.
    /// [MQTT-4.7.2-1] [MQTT-4.7.1-1] [MQTT-4.7.1-2]
    #[test]
    fn filters_match_names() {
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/ranking",
                true,
            ),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/tennis/player1/#", "sport/tennis/player10", false),
            ("sport/#", "sport", true),
            ("sport/#", "sports", false),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("+", "finance", true),
            ("#", "a/b", true),
            ("#", "/", true),
            ("+/#", "a", true),
            ("+/b/#", "a/b", true),
            ("a", "a", true),
            ("a", "A", false),
            ("a", "a/", false),
            ("a/", "a", false),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
            ("a/b/#", "a", false),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("$SYS/#", "$SYS", true),
            ("$SYS/monitor/+", "$SYS/monitor/clients", true),
            ("a/#", "a/$SYS", true),
            ("+/$x", "a/$x", true),
            ("$share/g/#", "$SYS/uptime", false),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/a", "$share/g/a", false),
        ];
        for (filter, name, expected) in table {
            let (filter, name) = (
                TopicFilter::new(filter).unwrap(),
                TopicName::new(name).unwrap(),
            );
            assert_eq!(filter.matches(name), expected, "{filter} and {name}");
        }
    }
}
