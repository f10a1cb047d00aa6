//! The topics of one lane that can't simply be sent: refused by the cloud, or waiting for a
//! connection. Of their records only the offsets are held; the records wait in the log.
//!
//! ```text
//! (absent)  hold a record              -> Open (pipelined), Probing (strict)
//! (absent)  admit a record             -> (absent) (pipelined), Probing (strict)
//! any       refuse                     -> Blocked
//! Blocked   its pause is over          -> Probing
//! Probing   a record is accepted       -> Open (pipelined), Probing (strict)
//! Open      nothing held               -> (absent)
//! Probing   nothing held or under way  -> (absent)
//! ```
//!
//! A topic is *free* when its first held record may be read from the log and sent now. Held
//! records of a topic leave in the order of their offsets, and while there are any, or the topic
//! is not open, later records of it are held as well: nothing overtakes.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::topic::Topic;
use crate::{Backoff, Generator, Instant, Offset, Order};

/// All troubled topics of a lane.
#[derive(Debug)]
pub(crate) struct Topics {
    order: Order,
    backoff: Backoff,
    topics: BTreeMap<Topic, Entry>,
    /// First held offset of each free topic.
    free: BTreeMap<Offset, Topic>,
    wake: BTreeSet<(Instant, Topic)>,
    held_count: usize,
}

#[derive(Debug)]
struct Entry {
    /// Sorted.
    held: VecDeque<Offset>,
    state: State,
    /// The key in `free`.
    listed: Option<Offset>,
}

#[derive(Debug)]
enum State {
    Open,
    Blocked { backoff: Backoff },
    Probing { backoff: Backoff },
}

impl Topics {
    /// Starts without trouble. `backoff` is what each refused topic begins with.
    pub(crate) const fn new(order: Order, backoff: Backoff) -> Self {
        Self {
            order,
            backoff,
            topics: BTreeMap::new(),
            free: BTreeMap::new(),
            wake: BTreeSet::new(),
            held_count: 0,
        }
    }

    /// Whether a record of the topic that was just read may be sent without waiting. Under strict
    /// order it is the last one until it is answered.
    pub(crate) fn admit(&mut self, topic: Topic) -> bool {
        if self.topics.contains_key(&topic) {
            return false;
        }
        if self.order == Order::Strict {
            self.insert(topic);
        }
        true
    }

    /// Leaves a record in the log for later. Call [`Topics::refresh`] afterwards.
    pub(crate) fn hold(&mut self, topic: Topic, offset: Offset) {
        if !self.topics.contains_key(&topic) {
            self.insert(topic);
        }
        let held = &mut self.topics.get_mut(&topic).expect("just made").held;
        if let Err(at) = held.binary_search(&offset) {
            held.insert(at, offset);
            self.held_count += 1;
        }
    }

    /// Takes the first held record of a free topic out, if it is this one: it is sent now. An open
    /// topic stays free for the next one.
    pub(crate) fn release(&mut self, topic: Topic, offset: Offset) -> bool {
        if self.free.get(&offset) != Some(&topic) {
            return false;
        }
        self.free.remove(&offset);
        let entry = self
            .topics
            .get_mut(&topic)
            .expect("free topics are held topics");
        let first = entry.held.pop_front();
        assert_eq!(first, Some(offset), "a free topic is listed by its first");
        entry.listed = None;
        self.held_count -= 1;
        self.refresh(topic, true, || true);
        true
    }

    /// The cloud refused a record of the topic: nothing of it is sent until a pause is over.
    pub(crate) fn refuse(&mut self, topic: Topic, now: Instant, generator: &mut Generator) {
        if !self.topics.contains_key(&topic) {
            self.insert(topic);
        }
        let entry = self.topics.get_mut(&topic).expect("just made");
        let mut backoff = match &entry.state {
            State::Open => self.backoff.clone(),
            State::Probing { backoff } => backoff.clone(),
            State::Blocked { .. } => return,
        };
        let until = now + backoff.pause(generator);
        entry.state = State::Blocked { backoff };
        self.wake.insert((until, topic));
    }

    /// The cloud took a record of the topic.
    pub(crate) fn succeed(&mut self, topic: Topic) {
        let Some(entry) = self.topics.get_mut(&topic) else {
            return;
        };
        if let State::Probing { backoff } = &mut entry.state {
            match self.order {
                Order::Strict => backoff.reset(),
                Order::Pipelined => entry.state = State::Open,
            }
        }
    }

    /// Takes one topic out whose pause is over; its [`Topics::refresh`] is then due.
    pub(crate) fn wake(&mut self, now: Instant) -> Option<Topic> {
        let (due, topic) = *self.wake.first()?;
        if due > now {
            return None;
        }
        self.wake.pop_first();
        let entry = self.topics.get_mut(&topic).expect("blocked topics stay");
        if let State::Blocked { backoff } = &entry.state {
            let backoff = backoff.clone();
            entry.state = State::Probing { backoff };
        }
        Some(topic)
    }

    /// Decides anew whether a topic is free, or forgotten. `is_open` says whether its connection
    /// takes records, `is_under_way` whether any record of it is between the log and its answer.
    pub(crate) fn refresh(
        &mut self,
        topic: Topic,
        is_open: bool,
        is_under_way: impl FnOnce() -> bool,
    ) {
        let Some(entry) = self.topics.get_mut(&topic) else {
            return;
        };
        let may_send = match entry.state {
            State::Open => true,
            State::Probing { .. } => !is_under_way(),
            State::Blocked { .. } => false,
        };
        if let Some(listed) = entry.listed.take() {
            self.free.remove(&listed);
        }
        match entry.held.front() {
            None if may_send => {
                self.topics.remove(&topic);
            }
            Some(first) if may_send && is_open => {
                entry.listed = Some(*first);
                self.free.insert(*first, topic);
            }
            _ => {}
        }
    }

    /// Whether anything is remembered of the topic.
    pub(crate) fn knows(&self, topic: Topic) -> bool {
        self.topics.contains_key(&topic)
    }

    /// Forgets the held records outside of `kept`; they are settled or will be read again.
    /// Calling [`Topics::refresh`] for each of [`Topics::names`] is then due.
    pub(crate) fn keep(&mut self, kept: impl Fn(Offset) -> bool) {
        self.held_count = 0;
        for entry in self.topics.values_mut() {
            entry.held.retain(|offset| kept(*offset));
            self.held_count += entry.held.len();
        }
    }

    /// The topics there are now.
    pub(crate) fn names(&self) -> impl Iterator<Item = Topic> {
        self.topics.keys().copied()
    }

    /// The first record at or above `from` that may be read from the log and sent, with its topic.
    pub(crate) fn first_free(&self, from: Offset) -> Option<(Offset, Topic)> {
        let (offset, topic) = self.free.range(from..).next()?;
        Some((*offset, *topic))
    }

    /// How many records from the first free one on it is worth to read at once.
    pub(crate) fn free_span(&self) -> u64 {
        match self.free.first_key_value() {
            Some((first, topic)) if self.free.len() == 1 => {
                let entry = &self.topics[topic];
                let last = match entry.state {
                    State::Open => entry.held.back().unwrap_or(first),
                    _ => first,
                };
                last.0 - first.0 + 1
            }
            _ => u64::MAX,
        }
    }

    /// Held records of all topics.
    pub(crate) const fn held_count(&self) -> usize {
        self.held_count
    }

    /// Topics that were refused and wait for their next try.
    pub(crate) fn refused_count(&self) -> usize {
        let refused = |entry: &&Entry| matches!(entry.state, State::Blocked { .. });
        self.topics.values().filter(refused).count()
    }

    /// When [`Topics::wake`] is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.wake.first().map(|(due, _)| *due)
    }

    fn insert(&mut self, topic: Topic) {
        let state = match self.order {
            Order::Pipelined => State::Open,
            Order::Strict => State::Probing {
                backoff: self.backoff.clone(),
            },
        };
        let entry = Entry {
            held: VecDeque::new(),
            state,
            listed: None,
        };
        self.topics.insert(topic, entry);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const TOPIC: Topic = Topic::of_hash(7);

    fn topics(order: Order) -> Topics {
        let second = Duration::from_secs(1);
        Topics::new(order, Backoff::new(second, second))
    }

    fn refresh(topics: &mut Topics, is_under_way: bool) -> Option<Offset> {
        topics.refresh(TOPIC, true, || is_under_way);
        topics.first_free(Offset(0)).map(|(offset, _)| offset)
    }

    #[test]
    fn a_refused_topic_walks_every_line_of_its_machine() {
        let mut topics = topics(Order::Pipelined);
        let (now, mut generator) = (Instant::default(), Generator::from_seed(1));
        assert!(topics.admit(TOPIC));
        topics.refuse(TOPIC, now, &mut generator);
        for offset in [5, 9, 7] {
            topics.hold(TOPIC, Offset(offset));
        }
        assert!(!topics.admit(TOPIC));
        assert_eq!(refresh(&mut topics, false), None);
        assert_eq!(topics.wake(now), None);
        let due = topics.next_due().unwrap();
        assert_eq!(topics.wake(due), Some(TOPIC));
        assert_eq!(refresh(&mut topics, true), None);
        assert_eq!(refresh(&mut topics, false), Some(Offset(5)));
        assert_eq!(topics.free_span(), 1);
        assert!(!topics.release(TOPIC, Offset(7)));
        assert!(topics.release(TOPIC, Offset(5)));
        assert_eq!(refresh(&mut topics, true), None);
        topics.succeed(TOPIC);
        assert_eq!(refresh(&mut topics, true), Some(Offset(7)));
        assert_eq!(topics.free_span(), 3);
        assert!(topics.release(TOPIC, Offset(7)));
        assert_eq!(refresh(&mut topics, true), Some(Offset(9)));
        assert!(topics.release(TOPIC, Offset(9)));
        assert_eq!(refresh(&mut topics, true), None);
        assert_eq!((topics.names().count(), topics.held_count()), (0, 0));
        // Nothing to wake and nothing to release is no harm.
        topics.succeed(TOPIC);
        assert!(!topics.release(TOPIC, Offset(9)));
    }

    #[test]
    fn strict_order_lets_one_record_out_at_a_time() {
        let mut topics = topics(Order::Strict);
        assert!(topics.admit(TOPIC));
        assert!(!topics.admit(TOPIC));
        topics.hold(TOPIC, Offset(2));
        topics.hold(TOPIC, Offset(3));
        assert_eq!(refresh(&mut topics, true), None);
        topics.succeed(TOPIC);
        assert_eq!(refresh(&mut topics, false), Some(Offset(2)));
        assert!(topics.release(TOPIC, Offset(2)));
        assert_eq!(refresh(&mut topics, true), None);
        topics.succeed(TOPIC);
        assert_eq!(refresh(&mut topics, false), Some(Offset(3)));
    }

    #[test]
    fn a_closed_connection_frees_nothing_and_keeps_everything() {
        let mut topics = topics(Order::Pipelined);
        topics.hold(TOPIC, Offset(2));
        topics.refresh(TOPIC, false, || false);
        assert_eq!(topics.first_free(Offset(0)), None);
        assert_eq!(refresh(&mut topics, false), Some(Offset(2)));
        topics.keep(|offset| offset > Offset(2));
        assert_eq!(refresh(&mut topics, false), None);
        assert_eq!(topics.names().count(), 0);
    }
}
