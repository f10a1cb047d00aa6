//! Retained messages: the last one of each topic that wanted to be kept, bounded in count and
//! bytes. Memory is ahead of the table by the commits that are not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use sync::{Change, Record, Table};
use wire::topic::{TopicFilter, TopicName};

use super::outcome::Refusal;

/// The store.
#[derive(Debug, Default)]
pub(super) struct Retained {
    records: BTreeMap<Box<str>, Record>,
    bytes: usize,
    /// Topics whose change could not be committed; tried again at each sweep.
    unsaved: BTreeSet<Box<str>>,
    count_maximum: usize,
    bytes_maximum: usize,
}

/// One step of looking for retained messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This one matches.
    Found(Record),
    /// None up to this topic; go on after it.
    Passed(Box<str>),
    /// There are no more.
    Done,
}

/// Topics that one step looks at, at most: bounds the time of a step.
const STEP_TOPICS: usize = 256;

impl Retained {
    pub(super) fn new(count_maximum: usize, bytes_maximum: usize) -> Self {
        Self {
            count_maximum,
            bytes_maximum,
            ..Self::default()
        }
    }

    /// Takes a stored message over, whatever the limits.
    pub(super) fn restore(&mut self, record: Record) {
        self.insert(record);
    }

    /// Keeps a message, or forgets the topic's one when the payload is empty.
    ///
    /// # Errors
    /// When a limit is reached; nothing changes then.
    pub(super) fn set(&mut self, record: &Record) -> Result<Change, Refusal> {
        let topic = record.topic();
        // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
        if record.payload().is_empty() {
            return Ok(self.delete(topic));
        }
        let old = self.records.get(topic).map(|old| old.as_bytes().len());
        let is_full = match old {
            None => {
                self.records.len() >= self.count_maximum
                    || self.bytes + record.as_bytes().len() > self.bytes_maximum
            }
            Some(old) => {
                let added = record.as_bytes().len().saturating_sub(old);
                added > 0 && self.bytes + added > self.bytes_maximum
            }
        };
        if is_full {
            return Err(Refusal::Retained);
        }
        self.insert(record.clone());
        Ok(put(record))
    }

    /// Forgets a topic's message.
    pub(super) fn delete(&mut self, topic: &str) -> Change {
        if let Some(old) = self.records.remove(topic) {
            self.bytes -= old.as_bytes().len();
        }
        Change::Delete {
            table: Table::Retained,
            key: topic.into(),
        }
    }

    /// Notes that the change of a topic is not durable.
    pub(super) fn note_unsaved(&mut self, topic: &str) {
        self.unsaved.insert(topic.into());
    }

    /// The changes that are still to be made durable, and their topics.
    pub(super) fn take_unsaved(&mut self) -> (Vec<Change>, BTreeSet<Box<str>>) {
        let topics = std::mem::take(&mut self.unsaved);
        let changes = topics.iter().map(|topic| match self.records.get(topic) {
            Some(record) => put(record),
            None => Change::Delete {
                table: Table::Retained,
                key: topic.as_bytes().to_vec(),
            },
        });
        (changes.collect(), topics)
    }

    /// Looks for the next message that matches a filter, after a topic.
    pub(super) fn step(&self, filter: TopicFilter<'_>, after: Option<&str>) -> Step {
        let pattern = filter.pattern();
        let prefix = &pattern[..pattern.find(['+', '#']).unwrap_or(pattern.len())];
        // `a/#` also matches `a`, which comes before `a/`.
        let prefix = if pattern.ends_with("/#") {
            prefix.trim_end_matches('/')
        } else {
            prefix
        };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut last = None;
        let topics = self.records.range::<str, _>((start, Bound::Unbounded));
        for (looked_at, (topic, record)) in topics.enumerate() {
            if !topic.starts_with(prefix) {
                return Step::Done;
            }
            if looked_at == STEP_TOPICS {
                return last.map_or(Step::Done, |topic: &str| Step::Passed(topic.into()));
            }
            if TopicName::new(topic).is_ok_and(|name| filter.matches(name)) {
                return Step::Found(record.clone());
            }
            last = Some(&**topic);
        }
        Step::Done
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    fn insert(&mut self, record: Record) {
        self.bytes += record.as_bytes().len();
        if let Some(old) = self.records.insert(record.topic().into(), record) {
            self.bytes -= old.as_bytes().len();
        }
    }
}

fn put(record: &Record) -> Change {
    Change::Put {
        table: Table::Retained,
        key: record.topic().into(),
        value: record.as_bytes().to_vec(),
    }
}
