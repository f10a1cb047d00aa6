//! Who is here: sessions by place, by client identifier and by connection.

use std::collections::BTreeMap;
use std::rc::Rc;

use sync::{Offset, PerLane};

use super::event::{ConnectionId, SessionId, Will};
use super::inflight::Tally;
use super::notes::KeptNote;
use super::session::Session;
use super::stored::Subscription;

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Registry {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_name: BTreeMap<Rc<str>, SessionId>,
    /// By the index of the connection.
    connections: Vec<Option<(ConnectionId, SessionId)>>,
    connected_count: usize,
    connected_most: usize,
    /// What the filters and wills of all sessions take.
    held_bytes: usize,
    /// What their notes take that are about no delivery.
    note_bytes: usize,
    /// What they were sent and have not acknowledged.
    underway: Tally,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
}

impl Registry {
    /// Makes a session that does not exist yet.
    pub(super) fn create(&mut self, name: &str, heads: PerLane<Offset>) -> &mut Session {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("sessions are bounded by their limit")
        });
        let slot = &mut self.slots[index as usize];
        let id = SessionId {
            index,
            generation: slot.generation,
        };
        let name: Rc<str> = name.into();
        let former = self.by_name.insert(name.clone(), id);
        assert!(former.is_none(), "a client identifier names one session");
        let session = Session::new(id, name, heads, self.underway.clone());
        slot.session.insert(Box::new(session))
    }

    /// Forgets a session and its connection.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Box<Session>> {
        self.get(id)?;
        let slot = &mut self.slots[id.index as usize];
        let session = slot.session.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.held_bytes -= session.held_bytes();
        self.note_bytes -= session.aside.notes.held_bytes();
        self.by_name.remove(&session.client_identifier);
        if let Some(connection) = session.holder() {
            self.unbind(connection);
        }
        Some(session)
    }

    /// Gives a session another will, or none; gives back the former.
    pub(super) fn set_will(&mut self, id: SessionId, will: Option<Will>) -> Option<Will> {
        let session = self.get_mut(id)?;
        let new = will.as_ref().map_or(0, Will::held_bytes);
        let former = std::mem::replace(&mut session.will, will.map(Box::new));
        self.held_bytes += new;
        self.held_bytes -= former.as_deref().map_or(0, Will::held_bytes);
        former.map(|will| *will)
    }

    /// Adds a subscription to a session; gives back the one that it replaces.
    pub(super) fn subscribe(
        &mut self,
        id: SessionId,
        filter: &str,
        subscription: Subscription,
    ) -> Option<Subscription> {
        let session = self.get_mut(id)?;
        let former = session.subscriptions.insert(filter.into(), subscription);
        if former.is_none() {
            self.held_bytes += Subscription::held_bytes(filter);
        }
        former
    }

    /// Takes a subscription from a session.
    pub(super) fn unsubscribe(&mut self, id: SessionId, filter: &str) -> Option<Subscription> {
        let former = self.get_mut(id)?.subscriptions.remove(filter)?;
        self.held_bytes -= Subscription::held_bytes(filter);
        Some(former)
    }

    /// Keeps a note of a session; gives back the one that it replaces.
    pub(super) fn keep_note(
        &mut self,
        id: SessionId,
        key: u32,
        note: KeptNote,
    ) -> Option<KeptNote> {
        let notes = &mut self.get_mut(id)?.aside.make().notes;
        let before = notes.held_bytes();
        let former = notes.insert(key, note);
        let now = notes.held_bytes();
        self.note_bytes = self.note_bytes + now - before;
        former
    }

    /// Forgets a note of a session.
    pub(super) fn drop_note(&mut self, id: SessionId, key: u32) {
        let session = self.get_mut(id);
        if let Some(aside) = session.and_then(|session| session.aside.held()) {
            let before = aside.notes.held_bytes();
            aside.notes.remove(key);
            let freed = before - aside.notes.held_bytes();
            self.note_bytes -= freed;
        }
    }

    /// Notes which session a connection holds.
    pub(super) fn bind(&mut self, connection: ConnectionId, session: SessionId) {
        let index = connection.index as usize;
        if self.connections.len() <= index {
            self.connections.resize(index + 1, None);
        }
        let former = self.connections[index].replace((connection, session));
        self.connected_count += usize::from(former.is_none());
        self.connected_most = self.connected_most.max(self.connected_count);
    }

    /// Forgets a connection. Gives back the session that it held.
    pub(super) fn unbind(&mut self, connection: ConnectionId) -> Option<SessionId> {
        let session = self.session_of(connection)?;
        self.connections[connection.index as usize] = None;
        self.connected_count -= 1;
        Some(session)
    }

    /// The session that a connection holds; `None` for one that is gone.
    pub(super) fn session_of(&self, connection: ConnectionId) -> Option<SessionId> {
        match self.connections.get(connection.index as usize)? {
            Some((bound, session)) if *bound == connection => Some(*session),
            _ => None,
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<SessionId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.at(id.index).filter(|session| session.id == id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.at_mut(id.index).filter(|session| session.id == id)
    }

    /// The session at a place, whichever it is.
    pub(super) fn at(&self, index: u32) -> Option<&Session> {
        self.slots.get(index as usize)?.session.as_deref()
    }

    /// The session at a place, whichever it is.
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Session> {
        self.slots.get_mut(index as usize)?.session.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|slot| slot.session.as_deref())
    }

    /// Connections that hold a session now, and the most that ever did at once.
    pub(super) const fn connected_counts(&self) -> (usize, usize) {
        (self.connected_count, self.connected_most)
    }

    /// What the filters and wills of all sessions take, in bytes.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// What notes take that are about no delivery, in bytes.
    pub(super) const fn note_bytes(&self) -> usize {
        self.note_bytes
    }

    /// What deliveries take that are not acknowledged, in bytes.
    pub(super) fn underway_bytes(&self) -> usize {
        self.underway.bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}
