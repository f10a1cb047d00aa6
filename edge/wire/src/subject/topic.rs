//! The same name in both protocols, by the rules that the NATS server publishes for MQTT clients.
//!
//! Levels are tokens. What one protocol can say and the other not is written so:
//!
//! | in a topic | in a subject |
//! | --- | --- |
//! | `/` between levels | `.` |
//! | an empty level | the token `/` |
//! | `.` | `//` |
//! | the level `+` of a filter | the token `*` |
//! | the level `#` of a filter | the token `>`, which does not match the parent level |
//!
//! Every name that is converted comes back as it was. A name that would not is refused, where the
//! NATS server makes two names one (the subjects `ab` and `a/b` the topic `ab`) or an ordinary
//! level a wildcard (`*`).

use alloc::string::String;

use super::{
    ALL_TOKENS, ConversionError, ONE_TOKEN, SEPARATOR, Subject, SubjectFilter, is_refused,
    is_wildcard,
};
use crate::TopicError;
use crate::topic::{TopicFilter, TopicName};

/// Separates the levels of a topic.
const LEVEL_SEPARATOR: char = '/';
/// Stands for one level.
const ONE_LEVEL: &str = "+";
/// Stands for all levels that follow, and for none.
const ALL_LEVELS: &str = "#";
/// The token of an empty level.
const EMPTY_LEVEL: &str = "/";
/// What a full stop in a level becomes.
const FULL_STOP: &str = "//";

impl<'a> Subject<'a> {
    /// Writes the subject that is the same name as `topic` over `text`.
    ///
    /// ```
    /// use wire::subject::Subject;
    /// use wire::topic::TopicName;
    ///
    /// let mut text = String::new();
    /// let subject = Subject::from_topic(TopicName::new("plant/v1.2//temp")?, &mut text)?;
    /// assert_eq!(subject.as_str(), "plant.v1//2./.temp");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If no subject can be the same name: such a topic exists for MQTT alone.
    pub fn from_topic(topic: TopicName<'_>, text: &'a mut String) -> Result<Self, ConversionError> {
        text.clear();
        for (place, level) in topic.levels().enumerate() {
            separate(place, SEPARATOR, text);
            push_token(level, text)?;
        }
        Ok(Self(text))
    }

    /// Writes the topic that is the same name over `text`.
    ///
    /// # Errors
    ///
    /// If no topic can be the same name: such a subject exists for NATS alone.
    pub fn to_topic(self, text: &mut String) -> Result<TopicName<'_>, ConversionError> {
        text.clear();
        for (place, token) in self.tokens().enumerate() {
            separate(place, LEVEL_SEPARATOR, text);
            push_level(token, text)?;
        }
        TopicName::new(text).map_err(refusal)
    }
}

impl<'a> SubjectFilter<'a> {
    /// Writes the subject filter that asks for what `filter` does over `text`. A share name is left
    /// out. Where the filter ends in `#`, [`SubjectFilter::level_up`] asks for the rest.
    ///
    /// # Errors
    ///
    /// If no subject filter can: such a filter asks for topics that exist for MQTT alone.
    pub fn from_topic_filter(
        filter: TopicFilter<'_>,
        text: &'a mut String,
    ) -> Result<Self, ConversionError> {
        text.clear();
        for (place, level) in filter.levels().enumerate() {
            separate(place, SEPARATOR, text);
            match level {
                ONE_LEVEL => text.push_str(ONE_TOKEN),
                ALL_LEVELS => text.push_str(ALL_TOKENS),
                _ => push_token(level, text)?,
            }
        }
        Ok(Self(text))
    }

    /// Writes the topic filter that asks for the same over `text`.
    ///
    /// It asks for a little more where this filter ends in `.>`, the parent level, and for less
    /// where it begins with a wildcard, nothing reserved: [`SubjectFilter::matches`] tells.
    ///
    /// # Errors
    ///
    /// If no topic filter can: such a filter asks for subjects that exist for NATS alone, or its
    /// topic filter means a shared subscription.
    pub fn to_topic_filter(self, text: &mut String) -> Result<TopicFilter<'_>, ConversionError> {
        text.clear();
        for (place, token) in self.tokens().enumerate() {
            separate(place, LEVEL_SEPARATOR, text);
            match token {
                ONE_TOKEN => text.push_str(ONE_LEVEL),
                ALL_TOKENS => text.push_str(ALL_LEVELS),
                _ => push_level(token, text)?,
            }
        }
        match TopicFilter::new(text).map_err(refusal)? {
            shared if shared.is_shared() => Err(ConversionError::ShareName),
            filter => Ok(filter),
        }
    }
}

fn separate(place: usize, separator: char, text: &mut String) {
    if place > 0 {
        text.push(separator);
    }
}

/// Appends the token of a level that is no wildcard.
fn push_token(level: &str, text: &mut String) -> Result<(), ConversionError> {
    if level.is_empty() {
        text.push_str(EMPTY_LEVEL);
        return Ok(());
    }
    if is_wildcard(level.as_bytes()) {
        return Err(ConversionError::Wildcard);
    }
    if level.bytes().any(is_refused) {
        return Err(ConversionError::Character);
    }
    replace(level, ".", FULL_STOP, text);
    Ok(())
}

/// Appends the level of a token that is no wildcard.
fn push_level(token: &str, text: &mut String) -> Result<(), ConversionError> {
    if token == EMPTY_LEVEL {
        return Ok(());
    }
    if token.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(ConversionError::Wildcard);
    }
    let level = text.len();
    replace(token, FULL_STOP, ".", text);
    // A slash that had no other beside it is left.
    match text[level..].contains(LEVEL_SEPARATOR) {
        true => Err(ConversionError::Slash),
        false => Ok(()),
    }
}

/// Appends `from` with every `old` in it replaced. Few have one, and looking is cheap.
fn replace(from: &str, old: &str, new: &str, text: &mut String) {
    if !from.as_bytes().contains(&old.as_bytes()[0]) {
        text.push_str(from);
        return;
    }
    for (place, part) in from.split(old).enumerate() {
        if place > 0 {
            text.push_str(new);
        }
        text.push_str(part);
    }
}

/// Says why what became of a subject is no topic.
fn refusal(error: TopicError) -> ConversionError {
    match error {
        TopicError::TooLong { bytes } => ConversionError::TooLong { bytes },
        TopicError::ShareName => ConversionError::ShareName,
        // The subject `/` alone: one empty level is no topic.
        _ => ConversionError::Slash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConversionError::{Character, ShareName, Slash, TooLong, Wildcard};

    /// The table of the NATS server's own test, `TestMQTTTopicAndSubjectConversion`.
    #[test]
    fn topics_become_subjects_and_topics_again() {
        let table = [
            ("/", "/./"),
            ("//", "/././"),
            ("///", "/./././"),
            ("////", "/././././"),
            ("foo", "foo"),
            ("/foo", "/.foo"),
            ("//foo", "/./.foo"),
            ("///foo", "/././.foo"),
            ("///foo/", "/././.foo./"),
            ("///foo//", "/././.foo././"),
            ("///foo///", "/././.foo./././"),
            ("//.foo.//", "/././/foo//././"),
            ("foo/bar", "foo.bar"),
            ("/foo/bar", "/.foo.bar"),
            ("/foo/bar/", "/.foo.bar./"),
            ("foo/bar/baz", "foo.bar.baz"),
            ("/foo/bar/baz", "/.foo.bar.baz"),
            ("/foo/bar/baz/", "/.foo.bar.baz./"),
            ("bar/", "bar./"),
            ("bar//", "bar././"),
            ("bar///", "bar./././"),
            ("foo//bar", "foo./.bar"),
            ("foo///bar", "foo././.bar"),
            ("foo////bar", "foo./././.bar"),
            (".", "//"),
            ("..", "////"),
            ("...", "//////"),
            ("./", "//./"),
            (".//.", "//././/"),
            ("././.", "//.//.//"),
            ("././/.", "//.//././/"),
            (".foo", "//foo"),
            ("foo.", "foo//"),
            (".foo.", "//foo//"),
            ("foo../bar/", "foo////.bar./"),
            ("foo../bar/.", "foo////.bar.//"),
            ("/foo/", "/.foo./"),
            ("./foo/.", "//.foo.//"),
            ("foo.bar/baz", "foo//bar.baz"),
            // Not in that table.
            ("$SYS/broker", "$SYS.broker"),
            ("$share/g/a", "$share.g.a"),
            ("a*/>b", "a*.>b"),
            ("\u{e9}/\u{1f600}", "\u{e9}.\u{1f600}"),
        ];
        let (mut subject, mut topic) = (String::new(), String::from("what was there"));
        for (text, expected) in table {
            let name = TopicName::new(text).unwrap();
            let converted = Subject::from_topic(name, &mut subject).unwrap();
            assert_eq!(converted.as_str(), expected, "{text}");
            assert_eq!(Subject::new(expected), Ok(converted));
            assert_eq!(converted.to_topic(&mut topic), Ok(name), "{text}");
        }
    }

    /// The table of the NATS server's own test, `TestMQTTFilterConversion`.
    #[test]
    fn topic_filters_become_subject_filters_and_topic_filters_again() {
        let table = [
            ("+", "*"),
            ("/+", "/.*"),
            ("+/", "*./"),
            ("/+/", "/.*./"),
            ("foo/+", "foo.*"),
            ("foo/+/", "foo.*./"),
            ("foo/+/bar", "foo.*.bar"),
            ("foo/+/+", "foo.*.*"),
            ("foo/+/+/", "foo.*.*./"),
            ("foo/+/+/bar", "foo.*.*.bar"),
            ("foo//+", "foo./.*"),
            ("foo//+/", "foo./.*./"),
            ("foo//+//", "foo./.*././"),
            ("foo//+//bar", "foo./.*./.bar"),
            ("foo///+///bar", "foo././.*././.bar"),
            ("foo.bar///+///baz", "foo//bar././.*././.baz"),
            ("#", ">"),
            ("/#", "/.>"),
            ("/foo/#", "/.foo.>"),
            ("foo/#", "foo.>"),
            ("foo//#", "foo./.>"),
            ("foo///#", "foo././.>"),
            ("foo/bar/#", "foo.bar.>"),
            ("foo/bar.baz/#", "foo.bar//baz.>"),
        ];
        let (mut subject, mut topic) = (String::new(), String::new());
        for (text, expected) in table {
            let filter = TopicFilter::new(text).unwrap();
            let converted = SubjectFilter::from_topic_filter(filter, &mut subject).unwrap();
            assert_eq!(converted.as_str(), expected, "{text}");
            assert_eq!(SubjectFilter::new(expected), Ok(converted));
            assert_eq!(converted.to_topic_filter(&mut topic), Ok(filter), "{text}");
        }
        let shared = TopicFilter::new("$share/group/a/+").unwrap();
        let converted = SubjectFilter::from_topic_filter(shared, &mut subject).unwrap();
        assert_eq!(converted.as_str(), "a.*");
    }

    #[test]
    fn topics_that_only_mqtt_has_are_refused() {
        let table = [
            ("foo bar", Character),
            ("foo\tbar", Character),
            ("foo\nbar", Character),
            ("foo\rbar", Character),
            ("foo\x0Cbar", Character),
            ("foo\x7Fbar", Character),
            ("*", Wildcard),
            ("a/*/b", Wildcard),
            ("a/>", Wildcard),
            (">/a", Wildcard),
        ];
        let mut subject = String::new();
        for (text, error) in table {
            let name = TopicName::new(text).unwrap();
            assert_eq!(Subject::from_topic(name, &mut subject), Err(error));
            let filter = TopicFilter::new(text).unwrap();
            let refused = SubjectFilter::from_topic_filter(filter, &mut subject);
            assert_eq!(refused, Err(error), "{text:?}");
        }
    }

    #[test]
    fn subjects_that_only_nats_has_are_refused() {
        let table = [
            ("/", Slash),
            ("a/b", Slash),
            ("a/.b", Slash),
            ("///", Slash),
            ("a.b///c", Slash),
            ("a.+.b", Wildcard),
            ("a#", Wildcard),
            ("+/", Wildcard),
        ];
        let mut topic = String::new();
        for (text, error) in table {
            let subject = Subject::new(text).unwrap();
            assert_eq!(subject.to_topic(&mut topic), Err(error), "{text}");
            let refused = SubjectFilter::from(subject).to_topic_filter(&mut topic);
            assert_eq!(refused, Err(error), "{text}");
        }
        for text in ["$share.g.a", "$share.g.>", "$share.g", "$share.*.a"] {
            let filter = SubjectFilter::new(text).unwrap();
            assert_eq!(filter.to_topic_filter(&mut topic), Err(ShareName), "{text}");
        }
        let long = "a.".repeat(32_768) + "a";
        let subject = Subject::new(&long).unwrap();
        assert_eq!(subject.to_topic(&mut topic), Err(TooLong { bytes: 65_537 }));
    }

    /// What the NATS server's `TestMQTTSub` expects of a subscription with the level up.
    #[test]
    fn a_subject_filter_and_its_level_up_ask_for_what_the_topic_filter_does() {
        let table = [
            ("foo", "foo", true),
            ("foo", "bar", false),
            ("foo/bar", "foo/bar", true),
            ("/foo/bar", "/foo/baz", false),
            ("foo/+", "foo/bar/baz", false),
            ("foo/+", "foo/bar/", false),
            ("foo/+", "foo/bar", true),
            ("foo/+", "foo/", true),
            ("foo/+", "foo", false),
            ("foo/+", "/foo", false),
            ("foo/#", "foo/bar/baz/", true),
            ("foo/#", "foo/bar", true),
            ("foo/#", "foo/", true),
            ("foo/#", "foo", true),
            ("foo/#", "/foo", false),
            ("#", "a.b", true),
        ];
        let (mut filter_text, mut subject_text) = (String::new(), String::new());
        for (filter, name, expected) in table {
            let filter = TopicFilter::new(filter).unwrap();
            let name = TopicName::new(name).unwrap();
            assert_eq!(filter.matches(name), expected);
            let asked = SubjectFilter::from_topic_filter(filter, &mut filter_text).unwrap();
            let subject = Subject::from_topic(name, &mut subject_text).unwrap();
            let up = asked.level_up();
            let found = asked.matches(subject) || up.is_some_and(|up| up.matches(subject));
            assert_eq!(found, expected, "{filter} and {name}");
        }
    }
}
