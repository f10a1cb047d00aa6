//! Gaps on their way to the cloud: one message each, on `$edge/{edge id}/gaps`.
//!
//! A message is a record as any other, so it is durable and arrives at least once, with its own
//! place by which a consumer drops repeats. The same commit marks its gap as announced: exactly one
//! record a gap, whatever happens in between. They are made one after the other, and only while
//! the cloud is there: in an outage gaps that go on where others end merge, and nothing is written
//! about them. A message that is itself dropped is no gap, or there would be no end.

use std::collections::VecDeque;

use sync::{Lane, Now, Offset, Record, RecordParts, SteadyTime};
use tracing::warn;

use super::Core;
use crate::broker::{Input, Outcome};
use crate::log::{Budget, Gap, announced};
use crate::uplink::Uplink;

/// What is said of gaps, and how far it is.
#[derive(Debug)]
pub(crate) struct GapNews {
    topic: String,
    /// Handed out by the log, which gives no more before these are announced.
    waiting: VecDeque<(u64, Gap)>,
    /// The first of them is being committed.
    is_under_way: bool,
    /// Since the start.
    announced_count: u64,
}

impl GapNews {
    pub(crate) fn new(edge_id: &str) -> Self {
        Self {
            topic: topic(edge_id),
            waiting: VecDeque::new(),
            is_under_way: false,
            announced_count: 0,
        }
    }

    /// Messages made since the start.
    pub(crate) const fn announced_count(&self) -> u64 {
        self.announced_count
    }
}

/// The topic on which a gateway tells the cloud what was dropped.
pub(crate) fn topic(edge_id: &str) -> String {
    format!("$edge/{edge_id}/gaps")
}

impl Core {
    /// The log has gaps that nobody told the cloud of.
    pub(super) fn gaps_found(&mut self, now: Now, gaps: &[(u64, Gap)]) {
        self.gap_news.waiting.extend(gaps.iter().cloned());
        self.tell_next_gap(now);
    }

    /// Tells the cloud of the next gap, if it is there and no other one is under way.
    pub(super) fn tell_next_gap(&mut self, now: Now) {
        let is_cloud_there = self.uplink.as_ref().is_some_and(Uplink::is_up);
        let news = &mut self.gap_news;
        let Some((number, gap)) = news.waiting.front() else {
            return;
        };
        if news.is_under_way || !is_cloud_there {
            return;
        }
        news.is_under_way = true;
        let outward = |time| SteadyTime::outward(time, self.time);
        let gap = Gap {
            from: outward(gap.from),
            to: outward(gap.to),
            ..gap.clone()
        };
        let record = Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: false,
            time: now.wall,
            expiry_seconds: None,
            publisher: 0,
            topic: &news.topic,
            properties: JSON,
            payload: gap.to_json().as_bytes(),
        });
        let changes = vec![announced(number + 1)];
        self.broker.handle(now, Input::Report { record, changes });
    }

    /// The message about a gap is durable, or is tried again with the next sweep.
    pub(super) fn gap_told(&mut self, now: Now, outcome: Outcome) {
        self.gap_news.is_under_way = false;
        if !matches!(outcome, Outcome::Refused(_)) {
            self.gap_news.waiting.pop_front();
            self.gap_news.announced_count += 1;
            self.tell_next_gap(now);
        }
    }

    /// Whether a record that the cloud never takes is one about a gap.
    pub(super) fn is_about_gap(&mut self, lane: Lane, offset: Offset) -> bool {
        let budget = Budget {
            records: 1,
            bytes: 0,
        };
        let topic = &self.gap_news.topic;
        let read = self.reader.read(lane, offset, budget);
        let is_it = read.is_ok_and(|chunk| {
            let mut records = chunk.records.iter();
            records.any(|(at, record)| *at == offset && record.topic() == topic)
        });
        if is_it {
            warn!("the cloud does not take what it is told on {topic}");
        }
        is_it
    }
}

/// Payload format indicator: text. Content type: JSON.
const JSON: &[u8] = b"\x01\x01\x03\x00\x10application/json";
