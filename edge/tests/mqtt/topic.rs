//! 4.7 topic names and topic filters, through a broker.

use edge::broker::Settings;
use edge::mqtt;

use crate::world::*;

/// Subscribes to each filter with a client of its own, publishes to each name, and says which
/// names each filter got.
fn heard(filters: &[&'static str], names: &[&str]) -> Vec<Vec<String>> {
    let mut world = World::new();
    let readers: Vec<_> = filters
        .iter()
        .map(|filter| {
            let reader = world.join(&hello(V5, *filter));
            world.subscribe(reader, filter, 0);
            reader
        })
        .collect();
    let writer = world.join(&hello(V311, "writer"));
    for name in names {
        world.publish(writer, &message(name, "1", 0));
    }
    let mut all = Vec::new();
    for reader in readers {
        let mut topics = Vec::new();
        while let Some(found) = world.next_message(reader) {
            topics.push(found.topic);
        }
        all.push(topics);
    }
    all
}

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-3.3.2-3]: the examples of 4.7.1.
#[test]
fn wildcards_match_whole_levels() {
    let names = [
        "sport",
        "sport/",
        "sport/tennis",
        "sport/tennis/player1",
        "sport/tennis/player1/ranking",
        "/finance",
        "sports",
    ];
    let filters = [
        "#",
        "sport/#",
        "sport/tennis/+",
        "sport/+",
        "+",
        "+/+",
        "/+",
        "+/tennis/#",
    ];
    let expected: [&[usize]; 8] = [
        &[0, 1, 2, 3, 4, 5, 6],
        &[0, 1, 2, 3, 4],
        &[3],
        &[1, 2],
        &[0, 6],
        &[1, 2, 5],
        &[5],
        &[2, 3, 4],
    ];
    let found = heard(&filters, &names);
    for ((filter, found), expected) in filters.iter().zip(found).zip(expected) {
        let expected: Vec<_> = expected.iter().map(|at| names[*at]).collect();
        assert_eq!(found, expected, "{filter}");
    }
}

/// [MQTT-4.7.2-1]
#[test]
fn a_leading_wildcard_does_not_match_a_dollar() {
    let names = ["$dollar", "$dollar/a", "a/$dollar"];
    let filters = ["#", "+", "+/a", "+/#", "$dollar/#", "$dollar/+", "a/+"];
    let found = heard(&filters, &names);
    let expected: [&[&str]; 7] = [
        &["a/$dollar"],
        &[],
        &[],
        &["a/$dollar"],
        &["$dollar", "$dollar/a"],
        &["$dollar/a"],
        &["a/$dollar"],
    ];
    assert_eq!(found, expected);
}

/// [MQTT-4.7.3-4]: one letter in two forms, case, empty levels, spaces, a dot.
#[test]
fn topics_are_compared_byte_by_byte() {
    let topics = [
        "\u{e9}", "e\u{301}", "E", "e", "a/b", "a//b", "a/b/", " a/b", "a/./b", "\u{fffd}",
    ];
    for (topic, found) in topics.iter().zip(heard(&topics, &topics)) {
        assert_eq!(found, [*topic]);
    }
}

/// [MQTT-4.7.3-1]
#[test]
fn topics_of_every_length_arrive() {
    let limits = mqtt::Settings {
        topic_bytes_maximum: 65_535,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(Settings::default(), limits);
    let client = world.join(&hello(V5, "a"));
    world.subscribe(client, "#", 0);
    for length in [1, 2, 127, 128, 129, 1_024] {
        let topic = "x".repeat(length);
        world.publish(client, &message(&topic, "1", 0));
        world.expect_publish(client, &message(&topic, "1", 0));
    }
}
