//! One lane on its way up: what is read from the log, what is ready to be sent, what is held, and
//! where the lane's marks stand.
//!
//! Two scans read the log, one at a time. The main scan follows the cursor. The held scan goes
//! back for records whose topic or connection is free again; it comes first, since they are older.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::regression::Watch;
use crate::release::Release;
use crate::topic::{Routing, Topic};
use crate::topics::Topics;
use crate::{
    Backoff, Cursor, Instant, Lane, LaneExtent, LaneStatus, Offset, Output, Record, Settings,
};

#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) cursor: Cursor,
    pub(crate) topics: Topics,
    pub(crate) release: Release,
    pub(crate) watch: Watch,
    /// The release floor in the last durable checkpoint.
    pub(crate) durable_release: Offset,
    /// Records settled in this run: part of what makes a checkpoint worth making.
    pub(crate) settled_count: u64,
    /// When the engine last replayed the lane by itself, and when it has to again.
    pub(crate) replayed: Option<Instant>,
    pub(crate) replay_due: Option<Instant>,
    routing: Routing,
    extent: LaneExtent,
    fetch: Option<Fetch>,
    paused_until: Option<Instant>,
    /// Read and not yet sent, by connection, in the order of sending.
    ready: Vec<VecDeque<Ready>>,
    ready_count: usize,
    ready_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    Main { from: Offset },
    Held { from: Offset },
}

/// A record between the log and its `Send`.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) offset: Offset,
    pub(crate) topic: Topic,
    pub(crate) record: Record,
}

/// Which connections take records now: a bit each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Openness(pub(crate) u16);

impl Openness {
    const fn includes(self, connection: usize) -> bool {
        self.0 & (1 << connection) != 0
    }
}

/// How long the lane is not read after the log failed or gave nothing.
const LOG_PAUSE: Duration = Duration::from_millis(200);

impl Uplink {
    /// Continues with what a checkpoint kept of the lane, or with everything there is. Gives the
    /// lane and how many offsets retention dropped meanwhile.
    pub(crate) fn new(
        settings: &Settings,
        extent: LaneExtent,
        restored: Option<(Cursor, Offset)>,
    ) -> (Self, u64) {
        let (mut cursor, released) =
            restored.unwrap_or_else(|| (Cursor::starting_at(extent.first), extent.first));
        // A log that lost its end gives these offsets out again.
        cursor.replay_from(extent.head);
        let trimmed = cursor.skip_gap(extent.first);
        cursor.rewind();
        let released = released.max(extent.first).min(cursor.ack_floor());
        let backoff = Backoff::new(settings.refusal_first, settings.refusal_most);
        let connections = settings.connection_count();
        let lane = Self {
            routing: Routing::new(settings),
            cursor,
            topics: Topics::new(settings.order, backoff),
            release: Release::new(settings.hold, released),
            watch: Watch::new(settings.watched_topics),
            durable_release: released,
            settled_count: 0,
            replayed: None,
            replay_due: None,
            extent,
            fetch: None,
            paused_until: None,
            ready: (0..connections).map(|_| VecDeque::new()).collect(),
            ready_count: 0,
            ready_bytes: 0,
        };
        (lane, trimmed)
    }

    /// The log grew.
    pub(crate) fn appended(&mut self, head: Offset) {
        self.extent.head = self.extent.head.max(head);
    }

    /// The log shrank. Gives how many offsets were not settled.
    pub(crate) fn trimmed(&mut self, first: Offset) -> u64 {
        self.extent.first = self.extent.first.max(first);
        self.appended(first);
        self.keep(|offset| offset >= first);
        self.cursor.skip_gap(first)
    }

    /// Wants everything from `from` on again, as far as it exists. Gives the first offset that is
    /// wanted again and how many were.
    pub(crate) fn replay(&mut self, from: Offset) -> (Offset, u64) {
        let from = from.max(self.extent.first);
        let count = self.cursor.high().0.saturating_sub(from.0);
        if count > 0 {
            self.keep(|offset| offset < from);
            self.cursor.replay_from(from);
            let floor = self.cursor.ack_floor();
            self.release.lower_to(floor);
            self.durable_release = self.durable_release.min(floor);
            self.watch.clear();
        }
        (from, count)
    }

    /// Says what to read next, if there is room for it and it is worth reading.
    pub(crate) fn next_fetch(
        &mut self,
        now: Instant,
        lane: Lane,
        settings: &Settings,
        openness: Openness,
    ) -> Option<Output> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let has_room = self.ready_count <= settings.read_ahead_count / 2
            && self.ready_bytes <= settings.read_ahead_bytes / 2;
        if self.fetch.is_some() || self.paused_until.is_some() || openness.0 == 0 || !has_room {
            return None;
        }
        let mut max_records = settings.read_ahead_count - self.ready_count;
        let from = if let Some((from, _)) = self.topics.first_free(Offset(0)) {
            self.fetch = Some(Fetch::Held { from });
            let span = usize::try_from(self.topics.free_span()).unwrap_or(usize::MAX);
            max_records = max_records.min(span);
            from
        } else {
            let from = self.cursor.delivered();
            let may_hold = settings.held_count.saturating_sub(self.topics.held_count());
            max_records = max_records.min(may_hold);
            if from >= self.extent.head || max_records == 0 {
                return None;
            }
            self.fetch = Some(Fetch::Main { from });
            from
        };
        Some(Output::Fetch {
            lane,
            from,
            max_records,
            max_bytes: settings.read_ahead_bytes - self.ready_bytes,
        })
    }

    /// Takes in what was read. Gives how many held records the log no longer has.
    pub(crate) fn fetched(
        &mut self,
        now: Instant,
        records: Vec<(Offset, Record)>,
        next: Offset,
        openness: Openness,
    ) -> u64 {
        let last = records.last().map_or(next, |(offset, _)| offset.next());
        let next = next.max(last);
        let from = match self.fetch.take() {
            Some(Fetch::Main { from } | Fetch::Held { from }) if next <= from => {
                self.paused_until = Some(now + LOG_PAUSE);
                return 0;
            }
            // A replay or a trim has moved the cursor meanwhile.
            Some(Fetch::Main { from }) if from != self.cursor.delivered() => return 0,
            Some(Fetch::Main { .. }) => {
                self.take_main(records, next, openness);
                return 0;
            }
            Some(Fetch::Held { from }) => from,
            None => return 0,
        };
        self.take_held(records, from, next)
    }

    /// The log could not be read.
    pub(crate) fn fetch_failed(&mut self, now: Instant) {
        self.fetch = None;
        self.paused_until = Some(now + LOG_PAUSE);
    }

    /// Settles a record: it is acknowledged or given up.
    pub(crate) fn settle(&mut self, offset: Offset) {
        if self.cursor.acknowledge(offset) {
            self.settled_count += 1;
        }
    }

    /// Gives back to the log what is ready for a connection, or of it only what is of one topic.
    /// Refreshing these topics is then due.
    pub(crate) fn hold_ready(&mut self, connection: usize, only: Option<Topic>) {
        for ready in core::mem::take(&mut self.ready[connection])
            .into_iter()
            .rev()
        {
            if only.is_none_or(|only| only == ready.topic) {
                self.count_out(&ready);
                self.topics.hold(ready.topic, ready.offset);
            } else {
                self.ready[connection].push_front(ready);
            }
        }
    }

    /// The next record to send on a connection.
    pub(crate) fn peek(&self, connection: usize) -> Option<&Ready> {
        self.ready[connection].front()
    }

    /// Takes the next record to send on a connection out.
    pub(crate) fn take(&mut self, connection: usize) -> Option<Ready> {
        let ready = self.ready[connection].pop_front()?;
        self.count_out(&ready);
        Some(ready)
    }

    /// Whether a record of this topic is ready to be sent.
    pub(crate) fn has_ready(&self, topic: Topic) -> bool {
        let connection = self.connection_of(topic);
        let is_of_topic = |ready: &Ready| ready.topic == topic;
        self.ready[connection].iter().any(is_of_topic)
    }

    /// The connection that carries a topic.
    pub(crate) fn connection_of(&self, topic: Topic) -> usize {
        self.routing.connection_of(topic)
    }

    /// When the lane has something to do by itself.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let release = self.release.next_due(self.cursor.ack_floor());
        let topics = self.topics.next_due();
        [release, topics, self.paused_until, self.replay_due]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn status(&self) -> LaneStatus {
        let unread = self.extent.head.0.saturating_sub(self.cursor.high().0);
        LaneStatus {
            head: self.extent.head,
            delivered: self.cursor.delivered(),
            ack_floor: self.cursor.ack_floor(),
            release_floor: self.durable_release,
            backlog_count: unread + self.cursor.pending_count() as u64,
            ready_count: self.ready_count,
            ready_bytes: self.ready_bytes,
            held_count: self.topics.held_count(),
            refused_topics_count: self.topics.refused_count(),
        }
    }

    fn take_main(&mut self, records: Vec<(Offset, Record)>, next: Offset, openness: Openness) {
        for (offset, record) in records {
            let is_ahead = offset >= self.cursor.delivered();
            if !is_ahead || record.is_from_cloud() || !self.cursor.wants(offset) {
                continue;
            }
            self.cursor.deliver(offset);
            let topic = self.routing.topic_of(&record);
            let is_open = openness.includes(self.connection_of(topic));
            if is_open && self.topics.admit(topic) {
                self.push(offset, topic, record);
            } else {
                self.topics.hold(topic, offset);
            }
        }
        self.cursor.skip_to(next);
        self.appended(next);
    }

    fn take_held(&mut self, records: Vec<(Offset, Record)>, from: Offset, next: Offset) -> u64 {
        let found: Vec<Offset> = records.iter().map(|(offset, _)| *offset).collect();
        for (offset, record) in records {
            let topic = self.routing.topic_of(&record);
            if self.topics.release(topic, offset) {
                self.push(offset, topic, record);
            }
        }
        let mut vanished = 0;
        let mut at = from;
        while let Some((offset, topic)) = self.topics.first_free(at) {
            if offset >= next {
                break;
            }
            at = offset.next();
            if found.binary_search(&offset).is_err() && self.topics.release(topic, offset) {
                self.topics.refresh(topic, true, || false);
                self.settle(offset);
                vanished += 1;
            }
        }
        vanished
    }

    fn push(&mut self, offset: Offset, topic: Topic, record: Record) {
        self.ready_count += 1;
        self.ready_bytes += record.as_bytes().len();
        let connection = self.connection_of(topic);
        self.ready[connection].push_back(Ready {
            offset,
            topic,
            record,
        });
    }

    fn count_out(&mut self, ready: &Ready) {
        self.ready_count -= 1;
        self.ready_bytes -= ready.record.as_bytes().len();
    }

    /// Forgets ready and held records outside of `kept`.
    fn keep(&mut self, kept: impl Fn(Offset) -> bool) {
        self.topics.keep(&kept);
        for queue in &mut self.ready {
            queue.retain(|ready| kept(ready.offset));
        }
        let all = || self.ready.iter().flatten();
        self.ready_count = all().count();
        self.ready_bytes = all().map(|ready| ready.record.as_bytes().len()).sum();
    }
}
