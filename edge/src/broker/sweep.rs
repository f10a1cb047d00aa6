//! What happens by the clock: one sweep a second while there is something to store, and timers of
//! wills and ends.

use std::time::Duration;

use sync::{Change, Lane, Table};

use super::Broker;
use super::commit::Waiting;
use super::connect::Timer;
use super::event::{SessionId, Urgency};
use super::stored::member_key;

/// How long moved cursors may wait for their commit: what is read again after a power cut.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Sessions that one commit of a sweep stores, at most.
const SWEEP_SESSIONS: usize = 256;

impl Broker {
    pub(super) fn run_timers(&mut self) {
        if self.next_sweep.is_some_and(|at| at <= self.now.instant) {
            self.sweep();
        }
        while let Some(&(at, timer, id)) = self.timers.first() {
            if at > self.now.instant {
                return;
            }
            self.timers.pop_first();
            let Some(session) = self.registry.get_mut(id) else {
                continue;
            };
            match timer {
                Timer::Will => {
                    session.will_due = None;
                    self.publish_will(id);
                }
                Timer::End => {
                    session.end_due = None;
                    self.end_session(id);
                }
            }
        }
    }

    pub(super) fn schedule_sweep(&mut self) {
        if self.next_sweep.is_none() {
            self.next_sweep = Some(self.now.instant + SWEEP_INTERVAL);
        }
    }

    /// Notes that what is stored of a session is older than what is.
    pub(super) fn mark_dirty(&mut self, id: SessionId) {
        if let Some(session) = self.registry.get_mut(id)
            && session.is_stored
            && !session.is_dirty
        {
            session.is_dirty = true;
            self.dirty.insert(id);
            self.schedule_sweep();
        }
    }

    /// Notes that not even the session's value is stored as it is.
    pub(super) fn note_unsaved(&mut self, id: SessionId) {
        if let Some(session) = self.registry.get_mut(id) {
            session.is_value_unsaved = true;
            self.mark_dirty(id);
        }
    }

    /// Looks for stored cursors that the heads have left far behind.
    pub(super) fn note_head_moved(&mut self, lane: Lane) {
        let lag = self.head[lane].0.saturating_sub(self.swept_head[lane].0);
        if lag >= self.settings.cursor_lag_maximum {
            self.schedule_sweep();
        }
    }

    fn sweep(&mut self) {
        self.next_sweep = None;
        for id in std::mem::take(&mut self.stalled) {
            self.wake(id);
        }
        self.renew_lagging();
        let (mut changes, topics) = self.retained.take_unsaved();
        let mut topics: Vec<_> = topics.into_iter().collect();
        let dirty: Vec<SessionId> = std::mem::take(&mut self.dirty).into_iter().collect();
        for some in dirty.chunks(SWEEP_SESSIONS) {
            for id in some {
                self.put_dirty(*id, &mut changes);
            }
            self.commit_sweep(
                std::mem::take(&mut changes),
                some,
                std::mem::take(&mut topics),
            );
        }
        self.commit_sweep(changes, &[], topics);
    }

    fn commit_sweep(&mut self, changes: Vec<Change>, some: &[SessionId], topics: Vec<Box<str>>) {
        if !changes.is_empty() {
            let sessions = some.to_vec();
            let waiting = Waiting::Sweep { sessions, topics };
            self.commit(changes, Urgency::Relaxed, waiting);
        }
    }

    /// The changes that bring what is stored of a session up to date.
    fn put_dirty(&mut self, id: SessionId, changes: &mut Vec<Change>) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        if !session.is_dirty {
            return;
        }
        if std::mem::take(&mut session.is_value_unsaved) {
            changes.push(Self::put_session(session));
        }
        changes.extend(self.put_cursors(id));
        self.put_walked(id, changes);
    }

    fn renew_lagging(&mut self) {
        let maximum = self.settings.cursor_lag_maximum;
        let head = self.head;
        let has_moved =
            |lane: Lane| head[lane].0 - self.swept_head[lane].0.min(head[lane].0) >= maximum;
        if !Lane::ALL.into_iter().any(has_moved) {
            return;
        }
        self.swept_head = head;
        let lagging = self.registry.iter().filter(|session| {
            session.online().is_some()
                && Lane::ALL.into_iter().any(|lane| {
                    let reader = session.reader(lane);
                    let at = if reader.is_behind {
                        reader.cursor.delivered()
                    } else {
                        head[lane]
                    };
                    at.0.saturating_sub(reader.stored.0) >= maximum
                })
        });
        let lagging: Vec<SessionId> = lagging.map(|session| session.id).collect();
        lagging.into_iter().for_each(|id| self.mark_dirty(id));
    }

    /// Stores that the retained messages of subscriptions were sent, once all are acknowledged.
    fn put_walked(&mut self, id: SessionId, changes: &mut Vec<Change>) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        if session.walked.is_empty() || session.inflight.has_kept() {
            return;
        }
        for filter in std::mem::take(&mut session.walked) {
            let Some(subscription) = session.subscriptions.get_mut(&filter) else {
                continue;
            };
            if session.walks.iter().any(|walk| walk.filter == filter) {
                continue;
            }
            subscription.is_walking = false;
            changes.push(Change::Put {
                table: Table::Subscriptions,
                key: member_key(&session.client_identifier, filter.as_bytes()),
                value: subscription.encode(self.epoch),
            });
        }
    }
}
