//! The life of a session: beginning, take-over, goodbye, loss, will, end.
//!
//! ```text
//! (none)     -> connecting  CONNECT, something must be stored or discarded first
//! (none)     -> online      CONNECT, nothing to store
//! connecting -> online      committed
//! online     -> offline     connection ends, expiry over 0
//! online     -> (none)      connection ends, expiry 0
//! offline    -> connecting  CONNECT that resumes
//! offline    -> (none)      expired, or CONNECT that begins clean
//! ```

use std::rc::Rc;
use std::time::Duration;

use sync::{Instant, WallTime};

use super::Broker;
use super::access::{Deed, Rights};
use super::commit::Waiting;
use super::event::{
    Connect, Connected, ConnectionId, Event, Note, Output, SessionFound, SessionId, SessionStart,
    Urgency, Will, WillFate,
};
use super::group::is_shared;
use super::inflight::Shared;
use super::outcome::{CloseReason, Refusal};
use super::publish::{Origin, Publication, published_at};
use super::session::{Link, Session};
use super::subscriptions::Entry;

/// What is due for a session. A session has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Its will is to be published.
    Will,
    /// It ends.
    End,
}

/// Whatever the settings say: what three lanes and the retained messages may leave unacknowledged
/// over several connections still has names, of which there are 65,535.
const WINDOW_CEILING: u16 = 16_000;

const _: () = assert!(WINDOW_CEILING as u32 * 4 < u16::MAX as u32);

/// A session that never expires.
const FOR_EVER: u32 = u32::MAX;

impl Broker {
    /// Gives a client that was let in its session.
    pub(super) fn open_session(&mut self, connect: Connect, rights: Rc<Rights>) {
        // A session whose end is due must not be found, however late the clock is.
        self.run_timers();
        let connection = connect.connection;
        let name = match self.admit(&connect) {
            Ok(name) => name,
            Err(refusal) => return self.refuse_connection(connection, refusal),
        };
        let former = self.registry.find(&name);
        let former = former.and_then(|id| self.leave_former(id, connect.start));
        let found = if former.is_some() {
            SessionFound::Present
        } else {
            SessionFound::New
        };

        let head = self.head;
        let expiry = connect
            .session_expiry
            .min(self.settings.session_expiry_maximum);
        let limit = self.settings.inflight_maximum.min(WINDOW_CEILING);
        let window = connect.receive_maximum.min(limit).max(1);
        let id = former.unwrap_or_else(|| self.registry.create(&name, head).id);
        // As Mosquitto does: the client may come in, and its will is never published.
        let will = connect
            .will
            .filter(|will| rights.grant(&name, Deed::Write, will.record.topic()));
        self.registry.set_will(id, will);
        let mut changes = self.delete_leftovers(&name);
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        session.rights = Some(rights);
        session.expiry = expiry;
        session.window = window;
        session.link = Link::Connecting(connection);
        session.is_stored |= expiry > 0;
        if session.is_stored {
            let is_unstored = found == SessionFound::New || !changes.is_empty();
            changes.push(Self::put_session(session));
            if is_unstored {
                changes.extend(self.put_cursors(id));
            }
        }
        self.registry.bind(connection, id);
        if changes.is_empty() {
            self.attach(id, connection, found);
        } else {
            let waiting = Waiting::Connect {
                session: id,
                connection,
                found,
            };
            self.commit(changes, Urgency::Immediate, waiting);
        }
    }

    /// Gives a session to its connection and says so.
    pub(super) fn attach(&mut self, id: SessionId, connection: ConnectionId, found: SessionFound) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        if session.link != Link::Connecting(connection) {
            return;
        }
        let (gone, missed) = session.attach(connection, self.first, self.head);
        self.counters.missed += missed;
        self.return_shared_to(id);
        self.unpark_groups_of(id);
        let Some(session) = self.registry.get(id) else {
            return;
        };
        let notes = session.aside.notes.iter();
        let connected = Connected {
            client_identifier: session.client_identifier.to_string(),
            session: found,
            session_expiry: session.expiry,
            notes: notes
                .map(|(key, kept)| Note {
                    key: *key,
                    value: kept.value,
                })
                .collect(),
        };
        self.tell(connection, Event::Connected(Box::new(connected)));
        for delivery in gone {
            self.tell(connection, Event::Gone { delivery });
        }
        self.wake(id);
    }

    /// A session that is stored already goes on without the commit; its renewed value is stored
    /// by the next sweep.
    pub(super) fn connect_failed(
        &mut self,
        id: SessionId,
        connection: ConnectionId,
        found: SessionFound,
        refusal: Refusal,
    ) {
        let is_held = self.registry.session_of(connection) == Some(id);
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let has_leftovers = self.leftovers.holds(&session.client_identifier);
        if found == SessionFound::Present && !has_leftovers {
            self.note_unsaved(id);
            return self.attach(id, connection, found);
        }
        // Taken over meanwhile: the later commit decides.
        if is_held || session.holder().is_none() {
            session.is_stored = false;
            if is_held {
                self.tell(connection, Event::Refused(refusal));
            }
            self.remove_session(id);
        }
    }

    pub(super) fn handle_lost(&mut self, connection: ConnectionId) {
        self.handle_disconnect(connection, WillFate::Publish, None);
    }

    pub(super) fn handle_disconnect(
        &mut self,
        connection: ConnectionId,
        fate: WillFate,
        session_expiry: Option<u32>,
    ) {
        self.logins.forget(connection);
        self.cancel_fetches(connection);
        let Some(id) = self.registry.unbind(connection) else {
            return;
        };
        let (now, head) = (self.now, self.head);
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let was_online = session.online().is_some();
        if let Some(expiry) = session_expiry
            && session.is_durable()
        {
            session.expiry = expiry.min(self.settings.session_expiry_maximum);
        }
        session.detach(now.wall, head);
        let expiry = session.expiry;
        let delay = session.will.as_ref().map(|will| will.delay_seconds);
        let delay = delay.filter(|_| fate == WillFate::Publish && was_online);
        if delay.is_none() {
            self.registry.set_will(id, None);
        }
        if expiry == 0 {
            return self.end_session(id);
        }
        self.offer_shared_of(id);
        self.schedule_end(id);
        if delay == Some(0) {
            return self.publish_will(id);
        }
        if let Some(delay) = delay {
            self.schedule(id, Timer::Will, now.instant + seconds(delay.min(expiry)));
        }
        self.store_departure(id);
    }

    /// Publishes a will that waits, and stores the session without it.
    pub(super) fn publish_will(&mut self, id: SessionId) {
        let Some(will) = self.registry.set_will(id, None) else {
            return;
        };
        let mut changes = Vec::new();
        if let Some(session) = self.registry.get(id)
            && session.is_stored
        {
            changes.push(Self::put_session(session));
            changes.extend(self.put_cursors(id));
        }
        self.distribute(self.will_publication(Some(id), will), changes);
    }

    /// Ends a session: its will leaves, and nothing remains.
    pub(super) fn end_session(&mut self, id: SessionId) {
        let Some(mut session) = self.remove_session(id) else {
            return;
        };
        let changes = self.delete_leftovers(&session.client_identifier);
        match session.will.take() {
            Some(will) => self.distribute(self.will_publication(None, *will), changes),
            None if changes.is_empty() => {}
            None => self.commit(changes, Urgency::Relaxed, Waiting::Nobody),
        }
    }

    /// A will that could not be stored waits for the next second, unless the client is back.
    pub(super) fn restore_will(&mut self, id: Option<SessionId>, will: Will) {
        let again = self.now.instant + Duration::from_secs(1);
        match id.and_then(|id| self.registry.get(id)) {
            Some(session) if session.will.is_none() && session.holder().is_none() => {
                let id = session.id;
                self.registry.set_will(id, Some(will));
                self.schedule(id, Timer::Will, again);
            }
            Some(_) => {}
            None if self.refused_wills.len() < self.settings.session_count_maximum => {
                self.refused_wills.push(will);
                self.schedule_sweep();
            }
            None => {}
        }
    }

    /// Publishes once more what the log refused.
    pub(super) fn publish_refused_wills(&mut self) {
        for will in std::mem::take(&mut self.refused_wills) {
            self.distribute(self.will_publication(None, will), Vec::new());
        }
    }

    /// Plans something for a session, in place of what was planned.
    pub(super) fn schedule(&mut self, id: SessionId, timer: Timer, at: Instant) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let due = match timer {
            Timer::Will => &mut session.aside.make().will_due,
            Timer::End => &mut session.aside.make().end_due,
        };
        if let Some(former) = due.replace(at) {
            self.timers.remove(&(former, timer, id));
        }
        self.timers.insert((at, timer, id));
    }

    /// Plans the end of a session whose connection ended now.
    fn schedule_end(&mut self, id: SessionId) {
        let Some(expiry) = self.registry.get(id).map(|session| session.expiry) else {
            return;
        };
        if expiry != FOR_EVER {
            self.schedule(id, Timer::End, self.now.instant + seconds(expiry));
        }
    }

    fn store_departure(&mut self, id: SessionId) {
        let Some(session) = self.registry.get(id) else {
            return;
        };
        let mut changes = vec![Self::put_session(session)];
        changes.extend(self.put_cursors(id));
        let waiting = Waiting::Sweep {
            sessions: vec![id],
            members: Vec::new(),
        };
        self.commit(changes, Urgency::Relaxed, waiting);
    }

    /// Checks the limits; gives the client identifier.
    fn admit(&mut self, connect: &Connect) -> Result<String, Refusal> {
        let name = match connect.client_identifier.as_str() {
            "" => self.assign_name(),
            name if name.len() > self.settings.client_identifier_bytes_maximum => {
                return Err(Refusal::ClientIdentifier);
            }
            name => name.to_owned(),
        };
        let count = self.registry.len() + self.leftovers.len();
        let is_full = count >= self.settings.session_count_maximum;
        let is_known = self.registry.find(&name).is_some() || self.leftovers.holds(&name);
        if is_full && !is_known {
            return Err(Refusal::Sessions);
        }
        let will = connect.will.as_ref().map_or(0, Will::held_bytes);
        if will > 0 && self.held_bytes() + will > self.settings.session_bytes_maximum {
            return Err(Refusal::SessionBytes);
        }
        Ok(name)
    }

    /// Takes the session with the client's identifier from whoever holds it. Gives it back if it
    /// goes on.
    fn leave_former(&mut self, id: SessionId, start: SessionStart) -> Option<SessionId> {
        let (wall, head) = (self.now.wall, self.head);
        let session = self.registry.get_mut(id)?;
        let holder = session.holder();
        let was_online = session.online().is_some();
        // A session that does not outlive its connection ends with it, now.
        let ends = start == SessionStart::Clean || (holder.is_some() && !session.is_durable());
        let is_will_due = match &session.will {
            Some(will) if was_online => ends || will.delay_seconds == 0,
            Some(_) => ends && holder.is_none(),
            None => false,
        };
        if let Some(holder) = holder {
            session.detach(wall, head);
            let event = Event::Closed(CloseReason::TakenOver);
            self.tell(holder, event);
            self.registry.unbind(holder);
        }
        self.cancel_timers(id);
        let will = self.registry.set_will(id, None);
        if let Some(will) = will.filter(|_| is_will_due) {
            self.distribute(self.will_publication(None, will), Vec::new());
        }
        if ends {
            self.remove_session(id);
        }
        (!ends).then_some(id)
    }

    /// Forgets a session and everything that points to it.
    fn remove_session(&mut self, id: SessionId) -> Option<Box<Session>> {
        self.cancel_timers(id);
        let session = self.registry.remove(id)?;
        let shared: Vec<Shared> = session.inflight.shared().collect();
        self.take_back_shared(id, &shared);
        for filter in session.subscriptions.keys() {
            if is_shared(filter) {
                self.leave_group(id, filter);
            } else {
                self.subscriptions.remove(filter, id.index);
            }
        }
        self.lend_again(&session);
        if session.is_stored {
            self.leftovers
                .add(&session.client_identifier, session.rows());
        }
        debug_assert_ne!(id.index, Entry::ROUTE);
        Some(session)
    }

    fn cancel_timers(&mut self, id: SessionId) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let Some(aside) = session.aside.held() else {
            return;
        };
        let planned = [
            (Timer::Will, aside.will_due.take()),
            (Timer::End, aside.end_due.take()),
        ];
        session.aside.let_go();
        for (timer, due) in planned {
            if let Some(at) = due {
                self.timers.remove(&(at, timer, id));
            }
        }
    }

    /// Says no to a client that has no session.
    pub(super) fn refuse_connection(&mut self, connection: ConnectionId, refusal: Refusal) {
        let event = Event::Refused(refusal);
        self.outputs
            .push_back(Output::ToConnection { connection, event });
    }

    fn will_publication(&self, session: Option<SessionId>, will: Will) -> Publication {
        let record = published_at(&will.record, self.now.wall);
        Publication::new(record, Origin::Will { session, will })
    }

    /// Makes a client identifier that no session has.
    fn assign_name(&mut self) -> String {
        loop {
            self.assigned_count += 1;
            let number = scramble(self.settings.seed.wrapping_add(self.assigned_count));
            let name = format!("edge-{number:016x}");
            if self.registry.find(&name).is_none() {
                return name;
            }
        }
    }
}

/// When a session of an earlier run ends, by the wall clock.
pub(super) fn end_of(
    expiry: u32,
    left_at: WallTime,
    wall: WallTime,
    now: Instant,
) -> Option<Instant> {
    let passed = wall.seconds_since(left_at);
    let left = u64::from(expiry).saturating_sub(passed);
    (expiry != FOR_EVER).then(|| now + Duration::from_secs(left))
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

/// `SplitMix64`: a bijection, so that numbers that differ stay different.
const fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
