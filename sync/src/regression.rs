//! Watches the cloud's own offsets: where they go backwards, the cloud has lost records that it
//! had acknowledged.

use alloc::collections::BTreeMap;

/// The last cloud offset of a bounded number of topics.
#[derive(Debug)]
pub(crate) struct Watch {
    topic_limit: usize,
    topics: BTreeMap<u64, Topic>,
    /// Turn to topic: who was not heard of for longest.
    turns: BTreeMap<u64, u64>,
    turn: u64,
}

#[derive(Debug)]
struct Topic {
    last: u64,
    /// Whether its offsets were ever seen to grow. A cloud that always answers the same number
    /// says nothing by it.
    grows: bool,
    turn: u64,
}

impl Watch {
    pub(crate) const fn new(topic_limit: usize) -> Self {
        Self {
            topic_limit,
            topics: BTreeMap::new(),
            turns: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Whether anything is watched at all.
    pub(crate) const fn is_on(&self) -> bool {
        self.topic_limit > 0
    }

    /// Notes the cloud's offset of a record it took for the first time. True when offsets of this
    /// topic grew before and this one does not.
    pub(crate) fn observe(&mut self, topic: u64, offset: u64) -> bool {
        if !self.is_on() {
            return false;
        }
        self.turn += 1;
        let turn = self.turn;
        self.turns.insert(turn, topic);
        let Some(known) = self.topics.get_mut(&topic) else {
            let (last, grows) = (offset, false);
            self.topics.insert(topic, Topic { last, grows, turn });
            self.forget_the_oldest();
            return false;
        };
        self.turns.remove(&known.turn);
        known.turn = turn;
        let is_higher = offset > known.last;
        let has_regressed = known.grows && !is_higher;
        known.grows = is_higher;
        known.last = offset;
        has_regressed
    }

    /// Forgets everything: what follows is measured anew.
    pub(crate) fn clear(&mut self) {
        self.topics.clear();
        self.turns.clear();
    }

    fn forget_the_oldest(&mut self) {
        if self.topics.len() > self.topic_limit
            && let Some((_, topic)) = self.turns.pop_first()
        {
            self.topics.remove(&topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn an_offset_that_comes_again_or_goes_back_is_a_regression() {
        let mut watch = Watch::new(8);
        for (offset, expected) in [(5, false), (6, false), (6, true), (7, false), (0, true)] {
            assert_eq!(watch.observe(1, offset), expected);
        }
    }

    #[test]
    fn a_cloud_that_always_says_the_same_says_nothing() {
        let mut watch = Watch::new(8);
        assert!((0..9).all(|_| !watch.observe(1, 0)));
    }

    #[test]
    fn the_topic_not_heard_of_for_longest_is_forgotten() {
        let mut watch = Watch::new(2);
        for topic in [1, 2, 1] {
            watch.observe(topic, 5 + watch.turn);
        }
        watch.observe(3, 5);
        assert_eq!(watch.topics.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert!(watch.observe(1, 1));
        assert_eq!(watch.turns.len(), 2);
        watch.clear();
        assert!(!watch.observe(1, 0));
        assert!(!Watch::new(0).observe(1, 1));
    }
}
