//! The cloud: keeps what it took, a list a topic, and has its moods.

use std::collections::{BTreeMap, BTreeSet};

use sync::{Generator, Record};

use super::At;
use super::plan::Plan;

#[derive(Debug, Default)]
pub(crate) struct Cloud {
    /// What a topic, or the joined topics, hold now, in the order of arrival, with the time.
    topics: BTreeMap<String, Vec<(At, u64)>>,
    /// Everything that was ever taken, also what is forgotten.
    pub(crate) ever: BTreeSet<At>,
    refusing_until: BTreeMap<String, u64>,
    pub(crate) arrivals: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted { server_offset: u64 },
    Refused,
    Rejected,
}

impl Cloud {
    pub(crate) fn take(&mut self, now: u64, plan: &Plan, at: At, record: &Record) -> Verdict {
        let topic = record.topic();
        if plan.has_rejections && is_rejected(at) {
            return Verdict::Rejected;
        }
        if self
            .refusing_until
            .get(topic)
            .is_some_and(|until| now < *until)
        {
            return Verdict::Refused;
        }
        self.arrivals += 1;
        self.ever.insert(at);
        let list = self
            .topics
            .entry(plan.order_of(topic).to_owned())
            .or_default();
        list.push((at, now));
        let server_offset = list.len() as u64 - 1;
        Verdict::Accepted { server_offset }
    }

    pub(crate) fn refuse(&mut self, topic: String, until: u64) {
        self.refusing_until.insert(topic, until);
    }

    pub(crate) fn heal(&mut self) {
        self.refusing_until.clear();
    }

    /// Loses the newest records of a topic, none older than `since`.
    pub(crate) fn forget(&mut self, since: u64, generator: &mut Generator) {
        let chosen = generator.below(self.topics.len() as u64) as usize;
        let Some(list) = self.topics.values_mut().nth(chosen) else {
            return;
        };
        for _ in 0..=generator.below(6) {
            if list.last().is_some_and(|(_, arrived)| *arrived >= since) {
                list.pop();
            }
        }
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, &[(At, u64)])> {
        let all = self.topics.iter();
        all.map(|(topic, list)| (topic.as_str(), list.as_slice()))
    }
}

/// Which records the cloud rejects for ever, where it rejects at all.
pub(crate) fn is_rejected((lane, offset): At) -> bool {
    (offset * 3 + lane as u64) % 17 == 5
}
