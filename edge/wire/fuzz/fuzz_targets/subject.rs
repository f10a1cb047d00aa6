//! A filter and a name, one a line: what has the same name in the other protocol comes back, and both
//! protocols match alike.
//!
//! Run from `edge/wire`: `RUSTC_BOOTSTRAP=1 cargo fuzz run subject`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::subject::{Subject, SubjectFilter};
use wire::topic::{TopicFilter, TopicName};

fuzz_target!(|text: &str| {
    let Some((filter, name)) = text.split_once('\n') else {
        return;
    };
    let mut texts = [const { String::new() }; 4];
    let [first, second, third, fourth] = &mut texts;
    if let (Ok(filter), Ok(name)) = (TopicFilter::new(filter), TopicName::new(name)) {
        let subjects = (
            SubjectFilter::from_topic_filter(filter, first),
            Subject::from_topic(name, second),
        );
        if let Ok(asked) = subjects.0 {
            assert_eq!(SubjectFilter::new(asked.as_str()), Ok(asked));
            if let Ok(again) = asked.to_topic_filter(third) {
                assert_eq!(again.as_str(), filter.pattern());
            }
        }
        if let Ok(subject) = subjects.1 {
            assert_eq!(Subject::new(subject.as_str()), Ok(subject));
            assert_eq!(subject.to_topic(fourth), Ok(name));
        }
        if let (Ok(asked), Ok(subject)) = subjects {
            let up = asked.level_up();
            let found = asked.matches(subject) || up.is_some_and(|up| up.matches(subject));
            let is_hidden = name.is_reserved() && filter.pattern().starts_with(['+', '#']);
            assert_eq!(filter.matches(name), found && !is_hidden);
        }
    }
    if let (Ok(filter), Ok(subject)) = (SubjectFilter::new(filter), Subject::new(name)) {
        let tokens: Vec<&str> = filter.tokens().collect();
        let found: Vec<&str> = subject.tokens().collect();
        assert_eq!(filter.matches(subject), tokens_match(&tokens, &found));
        if let Ok(topic) = filter.to_topic_filter(first) {
            assert_eq!(SubjectFilter::from_topic_filter(topic, second), Ok(filter));
        }
        if let Ok(topic) = subject.to_topic(third) {
            assert_eq!(Subject::from_topic(topic, fourth), Ok(subject));
        }
    }
});

fn tokens_match(filter: &[&str], subject: &[&str]) -> bool {
    match (filter, subject) {
        ([">"], [_, ..]) | ([], []) => true,
        (["*", filter @ ..], [_, subject @ ..]) => tokens_match(filter, subject),
        ([token, filter @ ..], [found, subject @ ..]) => {
            token == found && tokens_match(filter, subject)
        }
        _ => false,
    }
}
