//! Retained messages: the last durable one of each topic that wanted to be kept, bounded in count
//! and bytes. And beside them what the gateway says itself, which is never durable, and whose topics
//! are few and nobody else's.

use std::collections::BTreeMap;
use std::ops::Bound;

use sync::{Change, Record, Table, WallTime};
use wire::topic::{TopicName, pattern_matches};

use super::outcome::Refusal;
use super::publish::is_expired;

/// The store.
#[derive(Debug, Default)]
pub(super) struct Retained {
    records: BTreeMap<Box<str>, Kept>,
    /// How many of these are the gateway's own; they count for nothing else.
    announced_count: usize,
    bytes: usize,
    /// How many changes of a topic, by hash, are on their way into the table.
    changing: BTreeMap<u32, u32>,
    /// The topic after which the search for expired messages goes on.
    searched: Option<Box<str>>,
    count_maximum: usize,
    bytes_maximum: usize,
    /// Messages that came since the start.
    set_count: u64,
}

/// A message, and as the how manyth since the start it came; 0 before.
#[derive(Debug)]
struct Kept {
    record: Record,
    number: u64,
}

/// A moment in the life of the store, for telling what was there from what came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    number: u64,
    time: WallTime,
}

impl Moment {
    /// A moment before the start. Of what is as old as a millisecond it can't tell.
    pub(super) const fn before_start(time: WallTime) -> Self {
        Self { number: 0, time }
    }

    pub(super) const fn time(self) -> WallTime {
        self.time
    }
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
/// Topics that are looked at for each new one, so that no message pays for all that expired.
const SEARCH_TOPICS: usize = 16;

impl Retained {
    pub(super) fn new(count_maximum: usize, bytes_maximum: usize) -> Self {
        Self {
            count_maximum,
            bytes_maximum,
            ..Self::default()
        }
    }

    /// The change that keeps a message, or deletes the topic's one when the payload is empty.
    /// [`Retained::settle`] has to follow once it is known how the change ended.
    ///
    /// # Errors
    /// When a limit is reached. What other commits on their way will add is not counted.
    pub(super) fn change(&mut self, record: &Record) -> Result<Change, Refusal> {
        let change = self.change_of(record)?;
        *self.changing.entry(record.topic_hash()).or_default() += 1;
        Ok(change)
    }

    /// Notes that a change is durable, or never will be.
    pub(super) fn settle(&mut self, record: &Record) {
        let topic = record.topic_hash();
        if let Some(count) = self.changing.get_mut(&topic) {
            *count -= 1;
            if *count == 0 {
                self.changing.remove(&topic);
            }
        }
    }

    /// Forgets some of the messages whose time is over, if one on a new topic needs the room; gives
    /// their topics, whose rows are to be deleted.
    pub(super) fn forget_expired(&mut self, new: &Record, now: WallTime) -> Vec<Box<str>> {
        if self.records.contains_key(new.topic()) || new.payload().is_empty() {
            return Vec::new();
        }
        let start = match &self.searched {
            Some(topic) => Bound::Excluded(&**topic),
            None => Bound::Unbounded,
        };
        let topics = self.records.range::<str, _>((start, Bound::Unbounded));
        let looked_at: Vec<_> = topics.take(SEARCH_TOPICS).collect();
        let last = looked_at.last().map(|(topic, _)| (*topic).clone());
        let expired: Vec<Box<str>> = looked_at
            .iter()
            .filter(|(_, kept)| is_expired(&kept.record, now))
            // The row may already be the next message's.
            .filter(|(_, kept)| !self.changing.contains_key(&kept.record.topic_hash()))
            .map(|(topic, _)| (*topic).clone())
            .collect();
        self.searched = last.filter(|_| looked_at.len() == SEARCH_TOPICS);
        for topic in &expired {
            let old = self.records.remove(topic);
            self.bytes -= old.map_or(0, |kept| held_bytes(&kept.record));
        }
        expired
    }

    fn change_of(&self, record: &Record) -> Result<Change, Refusal> {
        let topic = record.topic();
        // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
        if record.payload().is_empty() {
            return Ok(Change::Delete {
                table: Table::Retained,
                key: topic.into(),
            });
        }
        let old = self.records.get(topic).map(|kept| held_bytes(&kept.record));
        let is_full = match old {
            None => {
                self.len() >= self.count_maximum
                    || self.bytes + held_bytes(record) > self.bytes_maximum
            }
            Some(old) => {
                let added = held_bytes(record).saturating_sub(old);
                added > 0 && self.bytes + added > self.bytes_maximum
            }
        };
        if is_full {
            return Err(Refusal::Retained);
        }
        Ok(Change::Put {
            table: Table::Retained,
            key: topic.into(),
            value: record.as_bytes().to_vec(),
        })
    }

    /// Takes over what the table had at the start.
    pub(super) fn restore(&mut self, record: Record) {
        self.keep(record, 0);
    }

    /// Takes over what is durable: a message, or that its topic has none when the payload is
    /// empty.
    pub(super) fn set(&mut self, record: Record) {
        self.set_count += 1;
        self.keep(record, self.set_count);
    }

    fn keep(&mut self, record: Record, number: u64) {
        let topic = record.topic();
        let old = if record.payload().is_empty() {
            self.records.remove(topic)
        } else {
            self.bytes += held_bytes(&record);
            self.records.insert(topic.into(), Kept { record, number })
        };
        self.bytes -= old.map_or(0, |kept| held_bytes(&kept.record));
    }

    /// Takes over what the gateway says itself.
    pub(super) fn announce(&mut self, record: Record) {
        let topic = record.topic().into();
        let former = self.records.insert(topic, Kept { record, number: 0 });
        self.announced_count += usize::from(former.is_none());
    }

    /// What [`Retained::came_after`] compares with.
    pub(super) const fn moment(&self, now: WallTime) -> Moment {
        Moment {
            number: self.set_count,
            time: now,
        }
    }

    /// Whether the message of a topic came later than a moment.
    pub(super) fn came_after(&self, topic: &str, moment: Moment) -> bool {
        let kept = self.records.get(topic);
        kept.is_some_and(|it| it.number > moment.number || it.record.time() > moment.time)
    }

    /// Looks for the next message that matches a filter, after a topic.
    pub(super) fn step(&self, filter: &str, after: Option<&str>) -> Step {
        let prefix = &filter[..filter.find(['+', '#']).unwrap_or(filter.len())];
        // `a/#` also matches `a`, which comes before `a/`.
        let prefix = if filter.ends_with("/#") {
            prefix.trim_end_matches('/')
        } else {
            prefix
        };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        // There is at most one, the first.
        let is_plain = prefix == filter;
        let mut last = None;
        let topics = self.records.range::<str, _>((start, Bound::Unbounded));
        for (looked_at, (topic, kept)) in topics.enumerate() {
            if !topic.starts_with(prefix) || is_plain && **topic != *filter {
                return Step::Done;
            }
            if looked_at == STEP_TOPICS {
                return last.map_or(Step::Done, |topic: &str| Step::Passed(topic.into()));
            }
            if TopicName::new(topic).is_ok_and(|name| pattern_matches(filter, name)) {
                return Step::Found(kept.record.clone());
            }
            last = Some(&**topic);
        }
        Step::Done
    }

    /// The message of a topic.
    pub(super) fn find(&self, topic: &str) -> Option<&Record> {
        self.records.get(topic).map(|kept| &kept.record)
    }

    /// Counts the messages, without the gateway's own.
    pub(super) fn len(&self) -> usize {
        self.records.len() - self.announced_count
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What keeping a message takes: the topic is there twice, in the record and as the name of its place.
fn held_bytes(record: &Record) -> usize {
    record.as_bytes().len() + record.topic().len()
}
