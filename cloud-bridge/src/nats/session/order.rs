//! Answers about records of one topic, in the order of the records.
//!
//! A server may lose one answer and give those behind it. Told at once, these would be settled, and
//! the record before them, which is in doubt, would be sent again behind them: the last word of the
//! topic would be an old one. So an answer waits for those before it in its topic.

use std::collections::{BTreeMap, VecDeque};

use sync::{Lane, Offset};

use crate::Event;

/// Records on their way, by what orders them; as many as the window, at most.
#[derive(Debug, Default)]
pub(super) struct Order {
    topics: BTreeMap<Key, VecDeque<(Offset, Option<Event>)>>,
    keys: BTreeMap<(Lane, Offset), String>,
}

type Key = (Lane, String);

impl Order {
    /// A record is being sent; `topic` is what orders it.
    pub(super) fn begin(&mut self, lane: Lane, offset: Offset, topic: String) {
        let waiting = self.topics.entry((lane, topic.clone())).or_default();
        waiting.push_back((offset, None));
        self.keys.insert((lane, offset), topic);
    }

    /// A record is answered. Gives all that can be told now.
    pub(super) fn answer(&mut self, lane: Lane, offset: Offset, event: Event) -> Vec<Event> {
        let Some(topic) = self.keys.remove(&(lane, offset)) else {
            // It was never sent.
            return vec![event];
        };
        let key = (lane, topic);
        let Some(waiting) = self.topics.get_mut(&key) else {
            return vec![event];
        };
        if let Some(entry) = waiting.iter_mut().find(|(of, _)| *of == offset) {
            entry.1 = Some(event);
        }
        let mut told = Vec::new();
        while let Some((_, Some(_))) = waiting.front() {
            told.extend(waiting.pop_front().and_then(|(_, event)| event));
        }
        if waiting.is_empty() {
            self.topics.remove(&key);
        }
        told
    }
}
