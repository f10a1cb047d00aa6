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

#[cfg(test)]
mod tests {
    use sync::ConnectionId;

    use super::*;

    const LANE: Lane = Lane::Normal;

    fn accepted(lane: Lane, offset: u64) -> Event {
        Event::Accepted {
            connection: ConnectionId(0),
            lane,
            offset: Offset(offset),
            server_offset: None,
        }
    }

    fn answer(order: &mut Order, offset: u64) -> Vec<Event> {
        order.answer(LANE, Offset(offset), accepted(LANE, offset))
    }

    #[test]
    fn answers_wait_for_those_before_them_in_their_topic_and_for_no_others() {
        let mut order = Order::default();
        for (offset, topic) in [(0, "a"), (1, "a"), (2, "b"), (3, "a")] {
            order.begin(LANE, Offset(offset), topic.to_owned());
        }
        // The same topic in another lane is another one.
        order.begin(Lane::Urgent, Offset(0), "a".to_owned());
        assert!(answer(&mut order, 3).is_empty());
        assert_eq!(answer(&mut order, 2), [accepted(LANE, 2)]);
        assert_eq!(answer(&mut order, 0), [accepted(LANE, 0)]);
        let urgent = accepted(Lane::Urgent, 0);
        let told = order.answer(Lane::Urgent, Offset(0), urgent.clone());
        assert_eq!(told, [urgent]);
        let both = [accepted(LANE, 1), accepted(LANE, 3)];
        assert_eq!(answer(&mut order, 1), both);
        assert!(order.topics.is_empty() && order.keys.is_empty());
    }

    #[test]
    fn a_record_that_was_never_sent_is_answered_at_once() {
        let mut order = Order::default();
        assert_eq!(answer(&mut order, 7), [accepted(LANE, 7)]);
    }
}
