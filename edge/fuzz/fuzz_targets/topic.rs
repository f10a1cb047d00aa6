//! A filter and a name, one a line, match exactly if section 4.7 of the specification says so.
//!
//! Run: `edge/benches/fuzz.sh 600 topic`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::topic::{TopicFilter, TopicName};

fuzz_target!(|text: &str| {
    let Some((filter, name)) = text.split_once('\n') else {
        return;
    };
    let (Ok(filter), Ok(name)) = (TopicFilter::new(filter), TopicName::new(name)) else {
        return;
    };
    let pattern: Vec<&str> = filter.levels().collect();
    let levels: Vec<&str> = name.levels().collect();
    let is_hidden = name.is_reserved() && matches!(pattern[0], "+" | "#");
    assert_eq!(
        filter.matches(name),
        !is_hidden && levels_match(&pattern, &levels)
    );
});

fn levels_match(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        (["#"], _) | ([], []) => true,
        (["+", pattern @ ..], [_, name @ ..]) => levels_match(pattern, name),
        ([level, pattern @ ..], [found, name @ ..]) => {
            level == found && levels_match(pattern, name)
        }
        _ => false,
    }
}
