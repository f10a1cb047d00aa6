//! What happens by the clock: a sweep at most once a second while there is something to store, and
//! timers of wills and ends.

use std::time::Duration;

use sync::{Change, Lane};

use super::Broker;
use super::commit::Waiting;
use super::connect::Timer;
use super::event::{GroupId, ReaderId, SessionId, Urgency};
use super::session::{Member, Reader};

/// How long moved cursors may wait for their commit: what is read again after a power cut.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long the first to move wait after a pause. A gateway whose lives are shorter than the
/// interval gets on all the same.
const FIRST_SWEEP: Duration = Duration::from_millis(50);

/// Sessions that one commit of a sweep stores, at most.
const SWEEP_SESSIONS: usize = 256;

/// Groups that one commit of a sweep stores, at most; their cursors name all that is in flight.
const SWEEP_GROUPS: usize = 16;

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
                    session.aside.make().will_due = None;
                    self.publish_will(id);
                }
                Timer::End => {
                    session.aside.make().end_due = None;
                    self.counters.expired += 1;
                    self.end_session(id);
                }
            }
        }
    }

    pub(super) fn schedule_sweep(&mut self) {
        if self.next_sweep.is_none() {
            let soon = self.now.instant + FIRST_SWEEP;
            let next = self.last_sweep.map(|last| last + SWEEP_INTERVAL);
            self.next_sweep = Some(next.map_or(soon, |next| next.max(soon)));
        }
    }

    /// Notes that what is stored of a session is older than what is.
    pub(super) fn mark_dirty(&mut self, id: SessionId) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        session.has_moved = true;
        if session.is_stored && !session.is_dirty {
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

    /// Notes that a row of a session is not stored as it is.
    pub(super) fn note_unsaved_member(&mut self, id: SessionId, member: Member) {
        if let Some(session) = self.registry.get_mut(id)
            && session.is_stored
        {
            session.aside.make().unsaved.insert(member);
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
        self.last_sweep = Some(self.now.instant);
        for reader in std::mem::take(&mut self.stalled) {
            match reader {
                ReaderId::Session(id) => self.wake(id),
                ReaderId::Group(id) => self.wake_group(id),
            }
        }
        self.renew_lagging();
        self.delete_stranded();
        self.publish_refused_wills();
        let dirty: Vec<SessionId> = std::mem::take(&mut self.dirty).into_iter().collect();
        for sessions in dirty.chunks(SWEEP_SESSIONS) {
            let (mut changes, mut members) = (Vec::new(), Vec::new());
            for id in sessions {
                self.put_dirty(*id, &mut changes, &mut members);
            }
            let sessions = sessions.to_vec();
            if !changes.is_empty() {
                let waiting = Waiting::Sweep { sessions, members };
                self.commit(changes, Urgency::Relaxed, waiting);
            }
        }
        self.store_groups();
        self.delete_ended_groups();
    }

    fn store_groups(&mut self) {
        let dirty: Vec<GroupId> = std::mem::take(&mut self.dirty_groups).into_iter().collect();
        for groups in dirty.chunks(SWEEP_GROUPS) {
            let changes = groups.iter().filter_map(|id| self.put_group(*id));
            let changes: Vec<Change> = changes.collect();
            if !changes.is_empty() {
                let waiting = Waiting::Groups(groups.to_vec());
                self.commit(changes, Urgency::Relaxed, waiting);
            }
        }
    }

    /// Deletes what ended sessions left when the log refused.
    fn delete_stranded(&mut self) {
        let stranded = self.leftovers.stranded();
        let stranded = stranded.filter(|client| self.registry.find(client).is_none());
        let some: Vec<Box<str>> = stranded.take(SWEEP_SESSIONS).map(Box::from).collect();
        for client in some {
            let changes = self.delete_leftovers(&client);
            self.commit(changes, Urgency::Relaxed, Waiting::Nobody);
        }
    }

    /// The changes that bring what is stored of a session up to date, and the rows they are about.
    fn put_dirty(
        &mut self,
        id: SessionId,
        changes: &mut Vec<Change>,
        members: &mut Vec<(SessionId, Member)>,
    ) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        session.is_dirty = false;
        session.let_go();
        let has_moved = session.has_moved;
        if std::mem::take(&mut session.is_value_unsaved) {
            changes.push(Self::put_session(session));
        }
        if has_moved {
            changes.extend(self.put_cursors(id));
        }
        self.note_walked(id);
        self.put_unsaved(id, changes, members);
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
        let lags = |lanes: &[Reader; 3]| {
            let mut lanes = Lane::ALL.into_iter().zip(lanes);
            lanes.any(|(lane, reader)| {
                let at = if reader.is_behind {
                    reader.cursor.delivered()
                } else {
                    head[lane]
                };
                at.0.saturating_sub(reader.stored.0) >= maximum
            })
        };
        let sessions = self.registry.iter();
        let lagging = sessions.filter(|it| it.online().is_some() && lags(&it.lanes));
        let lagging: Vec<SessionId> = lagging.map(|session| session.id).collect();
        lagging.into_iter().for_each(|id| self.mark_dirty(id));
        let lagging = self.groups.iter().filter(|group| lags(&group.lanes));
        let lagging: Vec<GroupId> = lagging.map(|group| group.id).collect();
        lagging.into_iter().for_each(|id| self.mark_group_dirty(id));
    }

    /// Writes what memory says of rows that are older. A note is only ever deleted: one that is
    /// there came with a commit of its own.
    fn put_unsaved(
        &mut self,
        id: SessionId,
        changes: &mut Vec<Change>,
        members: &mut Vec<(SessionId, Member)>,
    ) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let aside = session.aside.held();
        let unsaved = aside.map(|aside| std::mem::take(&mut aside.unsaved));
        session.aside.let_go();
        for member in unsaved.unwrap_or_default() {
            let (table, key) = session.row(&member);
            let value = match &member {
                Member::Filter(filter) => session.subscriptions.get(filter),
                Member::Note(note) if session.aside.notes.contains(*note) => continue,
                Member::Note(_) => None,
            };
            changes.push(match value.map(|it| it.encode(self.epoch)) {
                Some(value) => Change::Put { table, key, value },
                None => Change::Delete { table, key },
            });
            members.push((id, member));
        }
    }
}
