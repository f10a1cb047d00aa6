//! The gateway's log as the engine's driver knows it: appends, gaps and checkpoints become durable
//! in order, together, some time after they were asked for; a power cut takes the rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync::{Lane, LaneExtent, Offset, PerLane, Record};

use super::At;

#[derive(Debug, Default)]
pub(crate) struct Log {
    records: BTreeMap<At, Record>,
    first: PerLane<u64>,
    head: PerLane<u64>,
    pub(crate) checkpoint: Option<Vec<u8>>,
    pub(crate) gaps: BTreeSet<At>,
    /// Asked for and not durable.
    queue: VecDeque<Wanted>,
}

#[derive(Debug)]
enum Wanted {
    Append(Lane, Record),
    Gap(At),
    Checkpoint(Vec<u8>),
}

/// What a commit made durable.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) appended: Vec<(At, Record)>,
    pub(crate) has_checkpoint: bool,
}

impl Log {
    pub(crate) fn append(&mut self, lane: Lane, record: Record) {
        self.queue.push_back(Wanted::Append(lane, record));
    }

    pub(crate) fn gap(&mut self, at: At) {
        self.queue.push_back(Wanted::Gap(at));
    }

    pub(crate) fn put_checkpoint(&mut self, value: Vec<u8>) {
        self.queue.push_back(Wanted::Checkpoint(value));
    }

    /// Drops a checkpoint that was asked for, as a full disk does.
    pub(crate) fn fail_checkpoint(&mut self) {
        self.queue
            .retain(|wanted| !matches!(wanted, Wanted::Checkpoint(_)));
    }

    pub(crate) fn commit(&mut self) -> Committed {
        let mut committed = Committed::default();
        for wanted in self.queue.drain(..) {
            match wanted {
                Wanted::Append(lane, record) => {
                    let at = (lane, self.head[lane]);
                    self.head[lane] += 1;
                    self.records.insert(at, record.clone());
                    committed.appended.push((at, record));
                }
                Wanted::Gap(at) => {
                    self.gaps.insert(at);
                }
                Wanted::Checkpoint(value) => {
                    self.checkpoint = Some(value);
                    committed.has_checkpoint = true;
                }
            }
        }
        committed
    }

    pub(crate) fn cut_power(&mut self) {
        self.queue.clear();
    }

    /// Drops everything below an offset; gives what that was.
    pub(crate) fn trim(&mut self, lane: Lane, first: u64) -> Vec<At> {
        let range = (lane, self.first[lane])..(lane, first);
        if range.is_empty() {
            return Vec::new();
        }
        let dropped: Vec<At> = self.records.range(range).map(|(at, _)| *at).collect();
        for at in &dropped {
            self.records.remove(at);
        }
        self.first[lane] = first;
        dropped
    }

    /// Drops everything below an offset but the latest of each topic; gives what went, and where the
    /// lane begins.
    pub(crate) fn thin(&mut self, lane: Lane, next: u64) -> (Vec<At>, u64) {
        let all = (lane, 0)..(lane, self.head[lane]);
        let latest: BTreeMap<&str, At> = self
            .records
            .range(all)
            .map(|(at, record)| (record.topic(), *at))
            .collect();
        let latest: BTreeSet<At> = latest.into_values().collect();
        let going = self.records.range((lane, 0)..(lane, next));
        let going = going.map(|(at, _)| *at).filter(|at| !latest.contains(at));
        let dropped: Vec<At> = going.collect();
        for at in &dropped {
            self.records.remove(at);
        }
        let kept = self.records.range((lane, 0)..(lane, next)).next();
        self.first[lane] = kept.map_or(next, |((_, offset), _)| *offset);
        (dropped, self.first[lane])
    }

    /// Reads as the driver does: what the route wants, and some that came from the cloud.
    pub(crate) fn read(
        &self,
        lane: Lane,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> (Vec<(Offset, Record)>, Offset) {
        let mut found = Vec::new();
        let mut bytes = 0;
        let from = from.max(self.first[lane]);
        for ((_, offset), record) in self.records.range((lane, from)..(lane, self.head[lane])) {
            if record.topic().starts_with("local/") {
                continue;
            }
            bytes += record.as_bytes().len();
            if found.len() == max_records || (bytes > max_bytes && !found.is_empty()) {
                return (found, Offset(*offset));
            }
            found.push((Offset(*offset), record.clone()));
        }
        (found, Offset(self.head[lane]))
    }

    pub(crate) fn record(&self, at: At) -> Option<&Record> {
        self.records.get(&at)
    }

    pub(crate) fn extents(&self) -> PerLane<LaneExtent> {
        PerLane::from_fn(|lane| LaneExtent {
            first: Offset(self.first[lane]),
            head: Offset(self.head[lane]),
        })
    }
}
