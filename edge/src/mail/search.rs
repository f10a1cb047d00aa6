//! Finds agents by words of what they say: those that say more of them, and rarer ones, first.
//!
//! The order is that of BM25 over words weighted by the field they stand in. A word that is not
//! there but begins as one that is (`translate`, `translation`) counts for less. Equal agents come
//! in the order of their names, so a search is the same wherever it runs.
//!
//! What is kept of an agent is a sorted list of its words and no more than [`Index::AGENT_BYTES`]
//! and its name; a search looks through all agents. Never fails: words that nobody says find
//! nobody.

mod words;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use wire::mq9::walk_texts;

use self::words::{WORD_BYTES, is_single_dense, walk_words};

/// What registered agents say, ready to be searched.
#[derive(Debug, Default)]
pub(super) struct Index {
    agents: BTreeMap<String, Agent>,
    held_bytes: usize,
    /// Of the lengths of all agents.
    total_length: u64,
}

impl Index {
    /// What one agent takes at most, its name aside.
    pub(super) const AGENT_BYTES: usize = TEXT_BYTES + WORDS * size_of::<Word>() + ROW_BYTES;

    /// Takes in what an agent says, a JSON object, in the place of what it said before. Of very
    /// much only the beginning counts, names and descriptions before all else.
    pub(super) fn put(&mut self, name: &str, body: &str) {
        self.remove(name);
        let agent = Agent::read(name, body);
        self.held_bytes += agent.held_bytes(name);
        self.total_length += u64::from(agent.length);
        self.agents.insert(name.to_owned(), agent);
    }

    /// Forgets an agent, if it is there.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(agent) = self.agents.remove(name) {
            self.held_bytes -= agent.held_bytes(name);
            self.total_length -= u64::from(agent.length);
        }
    }

    /// Finds agents by any of these words and gives the names of one page, from 1 on, of so many.
    pub(super) fn search(&self, words: &str, limit: u32, page: u32) -> Vec<&str> {
        let mut scores = vec![0.0; self.agents.len()];
        for word in wanted(words) {
            self.add_scores(&word, &mut scores);
        }
        let mut found: Vec<(f64, &str)> = scores
            .into_iter()
            .zip(self.agents.keys().map(String::as_str))
            .filter(|&(score, _)| score > 0.0)
            .collect();
        // Stable, so that equal ones stay in the order of their names.
        found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let limit = limit as usize;
        let before = limit.saturating_mul(page.saturating_sub(1) as usize);
        let page = found.into_iter().skip(before).take(limit);
        page.map(|(_, name)| name).collect()
    }

    /// Tells how much memory is held.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds what a word is worth for each agent: the BM25 of that word.
    fn add_scores(&self, word: &str, scores: &mut [f64]) {
        let weights: Vec<f64> = self
            .agents
            .values()
            .map(|agent| agent.weight(word))
            .collect();
        let saying = weights.iter().filter(|&&weight| weight > 0.0).count() as f64;
        let count = weights.len() as f64;
        let rarity = ((count - saying + 0.5) / (saying + 0.5)).ln_1p();
        let mean_length = (self.total_length as f64 / count).max(1.0);
        let agents = weights.into_iter().zip(self.agents.values());
        for (score, (weight, agent)) in scores.iter_mut().zip(agents) {
            let length = f64::from(agent.length) / mean_length;
            let damping = SATURATION * (1.0 - LENGTH_COUNTS + LENGTH_COUNTS * length);
            *score += rarity * weight * (SATURATION + 1.0) / (weight + damping);
        }
    }
}

/// What an agent says.
#[derive(Debug)]
struct Agent {
    /// Its words in growing order, without anything between them.
    text: Box<str>,
    words: Box<[Word]>,
    /// The sum of their weights.
    length: u32,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    /// Where it ends in the text; it begins where the one before ends.
    end: u16,
    weight: u16,
}

impl Agent {
    fn read(name: &str, body: &str) -> Self {
        let mut counted = Counted::default();
        counted.add(name, NAME_WEIGHT);
        // In two rounds, so that there is room for what says most.
        for is_first in [true, false] {
            walk_texts(body, |field, text| {
                let weight = weight_of(field);
                let is_name = weight == NAME_WEIGHT && text == name;
                if (weight > 1) == is_first && !is_name {
                    counted.add(text, weight);
                }
            });
        }
        let mut text = String::with_capacity(counted.text_bytes);
        let mut words = Vec::with_capacity(counted.weights.len());
        for (word, &weight) in &counted.weights {
            text.push_str(word);
            let end = u16::try_from(text.len()).expect("the text was kept to its limit");
            words.push(Word { end, weight });
        }
        Self {
            length: words.iter().map(|word| u32::from(word.weight)).sum(),
            text: text.into(),
            words: words.into(),
        }
    }

    /// Tells how much it says a word: as often as it stands there, each time with the weight of its
    /// field. Words that are only related count for less.
    fn weight(&self, wanted: &str) -> f64 {
        // All that can match begins alike.
        let alike_bytes = wanted.char_indices().nth(ALIKE_CHARACTERS);
        let alike = alike_bytes.map_or(wanted, |(end, _)| &wanted[..end]);
        let is_before = |at: &usize| self.word(*at) < alike;
        let from = partition(self.words.len(), is_before);
        let candidates = (from..self.words.len())
            .map(|at| (self.word(at), self.words[at].weight))
            .take_while(|(word, _)| word.starts_with(alike));
        let weights = candidates.map(|(word, weight)| {
            let share = if word == wanted || is_single_dense(wanted) {
                1.0
            } else if are_related(word, wanted) {
                RELATED
            } else {
                0.0
            };
            f64::from(weight) * share
        });
        weights.sum()
    }

    fn word(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.words[before].end);
        &self.text[usize::from(start)..usize::from(self.words[at].end)]
    }

    const fn held_bytes(&self, name: &str) -> usize {
        name.len() + self.text.len() + size_of_val(&*self.words) + ROW_BYTES
    }
}

/// Words that are being counted, within the limits of one agent.
#[derive(Default)]
struct Counted {
    weights: BTreeMap<String, u16>,
    text_bytes: usize,
}

impl Counted {
    fn add(&mut self, text: &str, weight: u16) {
        let _ = walk_words(text, &mut |word| {
            if let Some(known) = self.weights.get_mut(word) {
                *known = known.saturating_add(weight);
            } else if self.weights.len() < WORDS && self.text_bytes + word.len() <= TEXT_BYTES {
                self.weights.insert(word.to_owned(), weight);
                self.text_bytes += word.len();
            } else {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
    }
}

/// Takes the words that are looked for, each once.
fn wanted(text: &str) -> Vec<String> {
    let mut wanted: Vec<String> = Vec::new();
    let _ = walk_words(text, &mut |word| {
        // The last character of a run says less than the pair it ends.
        let is_in_pair = is_single_dense(word)
            && wanted
                .last()
                .is_some_and(|pair| pair != word && pair.ends_with(word));
        if !is_in_pair && !wanted.iter().any(|known| known == word) {
            wanted.push(word.to_owned());
        }
        match wanted.len() < WANTED_WORDS {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    wanted
}

/// Says how much a word counts by the field it stands in.
fn weight_of(field: &str) -> u16 {
    match field {
        "name" => NAME_WEIGHT,
        "mailbox" | "tags" | "skills" => 3,
        "description" | "payload" | "agent_info" | "capabilities" => 2,
        _ => 1,
    }
}

/// Says whether two words are probably forms of one: a plural, or the same beginning of at least
/// five letters and half of the longer word. Numbers have no forms.
fn are_related(one: &str, other: &str) -> bool {
    let is_word = |word: &str| word.chars().all(char::is_alphabetic);
    if !is_word(one) || !is_word(other) {
        return false;
    }
    let (short, long) = match one.len() <= other.len() {
        true => (one, other),
        false => (other, one),
    };
    if short.len() >= ALIKE_CHARACTERS && long.strip_prefix(short) == Some("s") {
        return true;
    }
    let pairs = short.chars().zip(long.chars());
    let alike = pairs.take_while(|(one, other)| one == other).count();
    alike >= 5 && alike * 2 >= long.chars().count()
}

/// Counts the indexes from 0 on for which something holds, which it does for the first ones only.
fn partition(count: usize, holds: impl Fn(&usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match holds(&middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// Different words of one agent that are kept; the rest is not found.
const WORDS: usize = 128;
/// Bytes of these words.
const TEXT_BYTES: usize = 1024;
/// What a row of the index takes besides: its part of a node, the name's place and two boxes, which
/// are counted as an allocator rounds them up.
const ROW_BYTES: usize = 160;
/// Words of a search that count; the rest is passed over.
const WANTED_WORDS: usize = 32;
/// Words with fewer characters alike at their beginning are not related.
const ALIKE_CHARACTERS: usize = 3;

const NAME_WEIGHT: u16 = 4;
/// What a related word counts for.
const RELATED: f64 = 0.4;
/// The usual constants of BM25: how soon saying a word again adds nothing, and how much it counts
/// that an agent says little else.
const SATURATION: f64 = 1.2;
const LENGTH_COUNTS: f64 = 0.75;

const _: () = assert!(TEXT_BYTES <= u16::MAX as usize && WORD_BYTES <= TEXT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn index(agents: &[(&str, &str)]) -> Index {
        let mut index = Index::default();
        for (name, body) in agents {
            index.put(name, body);
        }
        index
    }

    fn found(index: &Index, words: &str) -> Vec<String> {
        let names = index.search(words, 20, 1);
        names.into_iter().map(str::to_owned).collect()
    }

    fn office() -> Index {
        index(&[
            (
                "a.t",
                r#"{"name":"a.t","mailbox":"a.t","payload":"EN ZH translation"}"#,
            ),
            (
                "plant.alarm",
                r#"{"name":"plant.alarm","description":"watches the temperature of line 1",
                    "skills":[{"id":"x","name":"Alarms","tags":["temperature","pump"]}]}"#,
            ),
            (
                "review",
                r#"{"name":"review","payload":"{\"description\":\"reads code, finds bugs\"}"}"#,
            ),
            (
                "fanyi",
                "{\"name\":\"fanyi\",\"payload\":\"\u{4E2D}\u{6587}\u{7FFB}\u{8BD1}\u{52A9}\u{624B}\"}",
            ),
            (
                "ocr",
                r#"{"name":"ocr","agent_card":{"provider":{"organization":"ImageOCRService"}}}"#,
            ),
        ])
    }

    #[test]
    fn agents_are_found_by_what_they_say() {
        let table: [(&str, &[&str]); 17] = [
            ("translation", &["a.t"]),
            ("translate Chinese text into English", &["a.t"]),
            ("TRANSLATIONS", &["a.t"]),
            ("zzz", &[]),
            ("", &[]),
            ("...", &[]),
            ("a.t", &["a.t"]),
            ("plant.alarm", &["plant.alarm"]),
            ("pumps", &["plant.alarm"]),
            ("temperatures alarm", &["plant.alarm"]),
            ("bug", &["review"]),
            ("description", &[]),
            ("service", &["ocr"]),
            ("imageocrservice", &["ocr"]),
            ("\u{7FFB}\u{8BD1}", &["fanyi"]),
            ("\u{624B}", &["fanyi"]),
            ("\u{8BD1}\u{4E2D}", &[]),
        ];
        let office = office();
        for (words, expected) in table {
            assert_eq!(found(&office, words), expected, "{words}");
        }
    }

    #[test]
    fn a_single_character_finds_words_that_begin_or_end_with_it() {
        let office = office();
        for character in "\u{4E2D}\u{6587}\u{7FFB}\u{8BD1}\u{52A9}\u{624B}".chars() {
            assert_eq!(found(&office, &character.to_string()), ["fanyi"]);
        }
    }

    #[test]
    fn rarer_words_more_words_and_names_come_first() {
        let ranked = index(&[
            (
                "a",
                r#"{"payload":"pump and valve and much more that nobody asks for"}"#,
            ),
            ("b", r#"{"payload":"pump"}"#),
            ("c", r#"{"payload":"pump valve"}"#),
            ("d", r#"{"payload":"pump"}"#),
            ("valve", r#"{"payload":"nothing"}"#),
            ("valves", r#"{"payload":"nothing"}"#),
        ]);
        assert_eq!(found(&ranked, "pump")[..2], ["b", "d"]);
        assert_eq!(found(&ranked, "pump valve")[0], "c");
        assert_eq!(found(&ranked, "valve"), ["valve", "c", "valves", "a"]);
        let rare = index(&[
            ("a", r#"{"payload":"common rare"}"#),
            ("b", r#"{"payload":"common usual"}"#),
            ("c", r#"{"payload":"common usual"}"#),
        ]);
        assert_eq!(found(&rare, "usual rare")[0], "a");
    }

    #[test]
    fn pages_follow_each_other() {
        let names = ["a", "b", "c", "d", "e"];
        let mut index = Index::default();
        for name in names {
            index.put(name, r#"{"payload":"pump"}"#);
        }
        assert_eq!(index.search("pump", 2, 1), ["a", "b"]);
        assert_eq!(index.search("pump", 2, 0), ["a", "b"]);
        assert_eq!(index.search("pump", 2, 3), ["e"]);
        for (limit, page) in [(2, 4), (0, 1), (u32::MAX, u32::MAX), (u32::MAX, 2)] {
            assert!(index.search("pump", limit, page).is_empty());
        }
    }

    #[test]
    fn who_is_gone_or_says_something_else_is_not_found() {
        let mut office = office();
        let held = office.held_bytes();
        office.put("a.t", r#"{"payload":"weather"}"#);
        assert!(found(&office, "translation").is_empty());
        assert_eq!(found(&office, "weather"), ["a.t"]);
        office.put(
            "a.t",
            r#"{"name":"a.t","mailbox":"a.t","payload":"EN ZH translation"}"#,
        );
        assert_eq!(office.held_bytes(), held);
        for name in ["a.t", "plant.alarm", "review", "fanyi", "ocr", "nobody"] {
            office.remove(name);
            assert!(found(&office, name).is_empty());
        }
        assert_eq!((office.held_bytes(), office.total_length), (0, 0));
    }

    #[test]
    fn of_very_much_the_beginning_counts_and_what_says_most() {
        let many: Vec<String> = (0..WORDS * 10).map(|word| format!("word{word}")).collect();
        let body = format!(
            r#"{{"notes":"{}","description":"pump","skills":["valve"]}}"#,
            many.join(" ")
        );
        let index = index(&[("a", &body)]);
        for word in ["a", "pump", "valve", "word0"] {
            assert_eq!(found(&index, word), ["a"], "{word}");
        }
        assert!(found(&index, many.last().expect("there are many")).is_empty());
        assert!(index.held_bytes() <= "a".len() + Index::AGENT_BYTES);

        let wanted = format!("{} pump", many[WORDS * 9..].join(" "));
        assert!(found(&index, &wanted).is_empty());
    }

    #[test]
    fn words_are_related_by_their_beginning() {
        let related = [
            ("translate", "translation"),
            ("monitor", "monitoring"),
            ("summarize", "summarization"),
            ("category", "categories"),
            ("bot", "bots"),
            ("agent", "agents"),
        ];
        let strangers = [
            ("internet", "international"),
            ("plan", "plant"),
            ("as", "ass"),
            ("12345", "123456"),
            ("line12345", "line12346"),
            ("\u{4E2D}\u{6587}", "\u{4E2D}"),
        ];
        for (one, other) in related {
            assert!(are_related(one, other) && are_related(other, one), "{one}");
        }
        for (one, other) in strangers {
            assert!(
                !are_related(one, other) && !are_related(other, one),
                "{one}"
            );
        }
    }

    proptest! {
        #[test]
        fn who_says_a_word_is_found_by_it(
            before in vec("\\PC{0,10}", 0..4),
            word in "[a-zA-Z0-9\u{E4}-\u{F6}\u{3041}-\u{3050}\u{4E00}-\u{4E10}]{1,12}",
            others in vec("\\PC{0,20}", 0..4),
        ) {
            let mut index = Index::default();
            for (number, other) in others.iter().enumerate() {
                let body = serde_json::json!({ "payload": other }).to_string();
                index.put(&format!("other{number}"), &body);
            }
            let text = format!("{} {word}", before.join(" "));
            index.put("it", &serde_json::json!({ "card": [{ "x": text }] }).to_string());
            let names = index.search(&word, u32::MAX, 1);
            prop_assert!(names.contains(&"it"), "{}", word);
        }

        #[test]
        fn any_agents_and_words_are_searched_within_the_limits(
            agents in vec(("[a-c]", "\\PC{0,300}", any::<bool>()), 0..8),
            words in "\\PC{0,300}",
            limit in 0..5_u32,
        ) {
            let mut index = Index::default();
            for (name, body, is_put) in &agents {
                match is_put {
                    true => index.put(name, &serde_json::json!({ "x": body }).to_string()),
                    false => index.remove(name),
                }
                let bound = index.agents.len() * (Index::AGENT_BYTES + 1);
                prop_assert!(index.held_bytes() <= bound);
                let lengths = index.agents.values().map(|agent| u64::from(agent.length));
                prop_assert_eq!(index.total_length, lengths.sum::<u64>());
            }
            index.put("a", &words);
            let names = index.search(&words, limit, 1);
            prop_assert!(names.len() <= limit as usize);
            let again = index.search(&words, limit, 1);
            prop_assert_eq!(names, again);
        }
    }
}
