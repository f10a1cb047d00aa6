//! Who can be handed a record now, as far as memory goes: what waits to be written to its connection
//! and to all of them, and what all sessions have under way.
//!
//! Whoever is refused reads the log later: when it is told that its connection has room again, or,
//! where too much is under way, when it acknowledges. A session that has nothing to acknowledge may
//! always have one delivery, and is sent again what it had; a connection may always have its fair part
//! of what waits to be written.

use std::rc::Rc;

use sync::Record;

use super::event::ConnectionId;
use super::session::Session;
use super::settings::Settings;
use crate::memory::{Memory, OutboundLimits};

/// The limits that all sessions share.
#[derive(Debug)]
pub(super) struct Room {
    memory: Rc<Memory>,
    outbound: OutboundLimits,
    /// Of what is under way.
    underway_bytes_maximum: usize,
}

/// What a record takes at a connection beside its own bytes, at most.
const FRAME_BYTES: usize = 96;
/// What a delivery counts before it is there.
const DELIVERY_BYTES: usize = 32;

impl Room {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            memory: settings.memory.clone(),
            outbound: settings.outbound,
            underway_bytes_maximum: settings.underway_bytes_maximum,
        }
    }

    /// Whether a session takes one more record with QoS over 0. If so, its bytes are promised.
    pub(super) fn admit(&self, session: &Session, record: &Record) -> bool {
        self.has_share(session) && self.admit_again(session, record)
    }

    /// The same for one that it has already, and did not acknowledge.
    pub(super) fn admit_again(&self, session: &Session, record: &Record) -> bool {
        let connection = session.online().filter(|_| session.has_room());
        let connection = connection.filter(|it| self.fits(*it, record));
        if let Some(connection) = connection {
            self.promise(connection, record);
        }
        connection.is_some()
    }

    /// Whether a session takes one more record with QoS 0. Its connection looks for room once more,
    /// and would find the bytes in its way that are promised to itself.
    pub(super) fn admit_unpromised(&self, session: &Session, record: &Record) -> bool {
        let connection = session.online();
        !session.is_congested && connection.is_some_and(|it| self.fits(it, record))
    }

    /// Whether a member of a group takes one more record with QoS over 0.
    pub(super) fn has_room_for(&self, session: &Session, record: &Record) -> bool {
        let connection = session.online();
        self.has_share(session) && connection.is_some_and(|it| self.fits(it, record))
    }

    /// Counts a record that a connection is about to be handed.
    pub(super) fn promise(&self, connection: ConnectionId, record: &Record) {
        self.memory.promise(connection.index, bytes_of(record));
    }

    /// Whether so many can be handed a record that they would not find in the log.
    pub(super) fn has_room_for_all(&self, count: usize, record: &Record, underway: usize) -> bool {
        let (bytes, deliveries) = (count * bytes_of(record), count * DELIVERY_BYTES);
        self.memory.has_room_for_all(bytes, self.outbound.total)
            && underway + deliveries <= self.underway_bytes_maximum
    }

    /// How many bytes a session should read at once; `None` when it has to wait.
    pub(super) fn bytes_to_read(&self, session: &Session) -> Option<usize> {
        let place = session.online()?.index;
        if self.memory.is_refused(place) || !self.has_share(session) {
            return None;
        }
        if !self.memory.has_room(place, 1, self.outbound) {
            self.memory.refuse(place);
            return None;
        }
        Some(self.memory.room_of(place, self.outbound))
    }

    /// How many more deliveries a session should ask for.
    pub(super) fn count_to_read(&self, session: &Session) -> usize {
        let underway = session.inflight.underway_bytes();
        let left = self.underway_bytes_maximum.saturating_sub(underway) / DELIVERY_BYTES;
        // What it has already takes no more room when it is sent again.
        let unsent = session.inflight.len() - usize::from(session.inflight.sent_count);
        usize::from(session.free_window()).min(left.max(unsent).max(1))
    }

    /// Whether a session may have one more delivery under way: without any that it was sent and can
    /// acknowledge, nothing would ever make it ask again.
    fn has_share(&self, session: &Session) -> bool {
        let inflight = &session.inflight;
        inflight.sent_count == 0 || inflight.underway_bytes() < self.underway_bytes_maximum
    }

    fn fits(&self, connection: ConnectionId, record: &Record) -> bool {
        let place = connection.index;
        let fits = self.memory.has_room(place, bytes_of(record), self.outbound);
        if !fits {
            self.memory.refuse(place);
        }
        fits
    }
}

fn bytes_of(record: &Record) -> usize {
    record.as_bytes().len() + FRAME_BYTES
}
