//! The gateway's own words: gathers what the `$SYS` topics say, and gives it to the broker.

use std::path::PathBuf;
use std::time::Duration;

use sync::{Instant, Lane, Now, Record, RecordParts};

use super::core::Core;
use crate::broker::Input;
use crate::log;
use crate::sys::{Board, Facts};

/// What is said, and where some of it is found.
#[derive(Debug)]
pub(crate) struct Announcer {
    board: Board,
    /// The data folder.
    folder: PathBuf,
}

/// What links did since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkCounts {
    pub(crate) accepted: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}

impl Announcer {
    /// Says something new every `interval`.
    pub(crate) const fn new(interval: Duration, folder: PathBuf) -> Self {
        Self {
            board: Board::new(interval, Instant::from_micros(0)),
            folder,
        }
    }
}

impl Core {
    /// Says what has changed, if it is time.
    pub(crate) fn announce(&mut self, now: Now) {
        let due = |announcer: &mut Announcer| announcer.board.is_due(now.instant);
        let Some(mut announcer) = self.announcer.take_if(due) else {
            return;
        };
        let facts = self.facts(now.instant, &announcer);
        for (topic, value) in announcer.board.update(now.instant, &facts) {
            let record = Record::new(&RecordParts {
                qos: 0,
                retain: true,
                from_cloud: false,
                time: now.wall,
                expiry_seconds: None,
                publisher: 0,
                topic: &topic,
                properties: &[],
                payload: value.as_bytes(),
            });
            self.broker.handle(now, Input::Announce { record });
            self.settle(now);
        }
        self.announcer = Some(announcer);
        self.pump(now);
    }

    fn facts(&self, now: Instant, announcer: &Announcer) -> Facts {
        let broker = &self.broker;
        let (connected_count, connected_most) = broker.connected_counts();
        let (subscription_count, shared_count) = broker.subscription_counts();
        let records = |lane| {
            let first = self.reader.first(lane).0;
            self.reader.head(lane).0.saturating_sub(first)
        };
        let record_count: u64 = Lane::ALL.into_iter().map(records).sum();
        // A folder that can't be read is told of by the log.
        let record_bytes = log::lane_bytes(&announcer.folder).unwrap_or_default();
        Facts {
            connected_count,
            connected_most,
            session_count: broker.session_count(),
            expired_count: broker.counters().expired,
            traffic: self.traffic(),
            accepted_count: self.links.accepted,
            bytes_received: self.links.bytes_received,
            bytes_sent: self.links.bytes_sent,
            inflight_count: broker.inflight_count(),
            stored_count: record_count + broker.retained_count() as u64,
            stored_bytes: record_bytes + broker.retained_bytes() as u64,
            subscription_count,
            shared_count,
            retained_count: broker.retained_count(),
            status: self.status(now),
        }
    }
}
