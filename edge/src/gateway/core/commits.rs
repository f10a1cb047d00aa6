//! What the writer answered, told to everybody whom it concerns.

use sync::{Change, Lane, Now};
use tracing::{error, info};

use super::super::committer::{Group, Owner};
use super::super::signal::Cue;
use super::Core;
use crate::broker::{Input, Refusal};
use crate::log::{Committed, LogError};

impl Core {
    /// A group was answered by the writer, as the committer knows already.
    pub(crate) fn committed(
        &mut self,
        now: Now,
        group: &Group,
        result: Result<Committed, LogError>,
    ) {
        match result {
            Ok(committed) => self.spread(now, group, &committed),
            Err(error) => self.refuse(now, group, &error),
        }
        self.pump(now);
    }

    /// Tells everybody where their commits of a durable group went.
    fn spread(&mut self, now: Now, group: &Group, committed: &Committed) {
        if std::mem::take(&mut self.is_refusing) {
            info!("publishes are accepted again");
        }
        self.reader.committed(&group.batch, committed);
        let mut next = committed.first;
        let mut changes = group.batch.changes.iter();
        for (owner, count) in &group.owners {
            let mut place = None;
            for change in changes.by_ref().take(*count) {
                if let Change::Append { lane, .. } = change {
                    place = Some((*lane, next[*lane]));
                    next[*lane] = next[*lane].next();
                }
            }
            match owner {
                Owner::Broker(ticket) => {
                    self.broker.handle(
                        now,
                        Input::Committed {
                            ticket: *ticket,
                            place,
                        },
                    );
                }
                Owner::Uplink => self.uplink_answered(now, true),
                Owner::Mail(ticket) => self.mail_committed(now, *ticket, place),
            }
            // One after the other, so that the deliveries of a large group never pile up.
            self.settle(now);
        }
        for lane in Lane::ALL {
            if next[lane] != committed.first[lane]
                && let Some(uplink) = &mut self.uplink
            {
                uplink.appended(now.instant, lane, next[lane]);
            }
        }
    }

    fn refuse(&mut self, now: Now, group: &Group, error: &LogError) {
        if !std::mem::replace(&mut self.is_refusing, true) {
            match error {
                LogError::Displaced { .. } => error!("publishes are refused: {error}"),
                _ => error!("publishes are refused until there is room: {error}"),
            }
        }
        let refusal = match error {
            LogError::Full { .. } | LogError::TooLarge { .. } => Refusal::LogFull,
            _ => Refusal::LogFailed,
        };
        for (owner, _) in &group.owners {
            match owner {
                Owner::Broker(ticket) => {
                    self.broker.handle(
                        now,
                        Input::CommitFailed {
                            ticket: *ticket,
                            refusal,
                        },
                    );
                }
                Owner::Uplink => self.uplink_answered(now, false),
                Owner::Mail(ticket) => self.mail_refused(now, *ticket, refusal),
            }
        }
    }

    fn uplink_answered(&mut self, now: Now, is_durable: bool) {
        if let Some(uplink) = &mut self.uplink {
            uplink.checkpointed(now.instant, is_durable);
        }
    }

    /// Whether so much waits for the disk that links must not be read.
    pub(super) fn has_enough(&self) -> bool {
        self.committer.is_full() || self.is_office_busy()
    }

    /// Lets links be read again after the disk has caught up.
    pub(super) fn read_on(&mut self) {
        if !self.held_back.is_empty() && !self.has_enough() {
            for id in std::mem::take(&mut self.held_back) {
                if let Some(peer) = self.peers.find(id) {
                    peer.is_held_back = false;
                    peer.raise(Cue::Read);
                }
            }
        }
    }
}
