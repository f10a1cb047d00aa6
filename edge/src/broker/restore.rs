//! From the tables to sessions, at the start.

use bytes::Bytes;
use sync::{Change, Cursor, Lane, Offset, Record, Table};

use super::Broker;
use super::commit::Waiting;
use super::connect::{Timer, end_of};
use super::event::{DeliveryId, Urgency, Will};
use super::inflight::Source;
use super::session::{KeptNote, Link, Session, Walk};
use super::settings::Stored;
use super::stored::{
    StoredCursors, StoredNote, StoredSession, Subscription, cursor_owner, decode, split_member_key,
};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl Broker {
    /// Takes the tables over. What belongs to no session any more is deleted.
    pub(super) fn restore(&mut self, stored: Stored) {
        let mut changes = Vec::new();
        self.restore_sessions(stored.sessions, &mut changes);
        self.restore_cursors(stored.cursors);
        self.restore_subscriptions(stored.subscriptions, &mut changes);
        self.restore_notes(stored.handshakes, &mut changes);
        for (_, value) in stored.retained {
            match Record::from_bytes(Bytes::from(value)) {
                Ok(record) => self.retained.set(record),
                Err(_) => self.counters.damaged += 1,
            }
        }
        let sessions: Vec<_> = self.registry.iter().map(|session| session.id).collect();
        for id in sessions {
            if let Some(session) = self.registry.get_mut(id) {
                session.name_pending();
            }
        }
        if !changes.is_empty() {
            self.commit(changes, Urgency::Relaxed, Waiting::Nobody);
        }
    }

    fn restore_sessions(&mut self, rows: Rows, changes: &mut Vec<Change>) {
        for (key, value) in rows {
            let name = String::from_utf8(key).ok();
            let (Some(name), Some(stored)) = (name, decode::<StoredSession>(&value)) else {
                self.counters.damaged += 1;
                continue;
            };
            let StoredSession(_, expiry, left_at, will) = stored;
            let now = self.now;
            let since = left_at.unwrap_or(now.wall);
            let session = self.registry.create(&name, self.first);
            session.expiry = expiry;
            session.is_stored = true;
            session.link = Link::Offline { since };
            let will = will.and_then(|(delay_seconds, record)| {
                Some(Will {
                    record: Record::from_bytes(record.0).ok()?,
                    delay_seconds,
                })
            });
            let will_due = will.as_ref().and_then(|will| {
                end_of(
                    will.delay_seconds.min(u32::MAX - 1),
                    since,
                    now.wall,
                    now.instant,
                )
            });
            let id = session.id;
            self.registry.set_will(id, will);
            if let Some(session) = self.registry.get(id).filter(|_| left_at.is_none()) {
                // The power was cut while the client was connected: it is away from now on.
                changes.push(Self::put_session(session));
            }
            if let Some(at) = will_due {
                self.schedule(id, Timer::Will, at);
            }
            if let Some(at) = end_of(expiry, since, now.wall, now.instant) {
                self.schedule(id, Timer::End, at);
            }
        }
    }

    /// A session without readable cursors begins at the oldest record: rather twice than never.
    fn restore_cursors(&mut self, rows: Rows) {
        for (key, value) in rows {
            let Some(name) = cursor_owner(&key) else {
                continue;
            };
            let Some(StoredCursors(_, epoch, cursors)) = decode(&value) else {
                self.counters.damaged += 1;
                continue;
            };
            let (first, head) = (self.first, self.head);
            let is_known = epoch == self.epoch;
            let id = self.registry.find(name);
            let Some(session) = id.and_then(|id| self.registry.get_mut(id)) else {
                continue;
            };
            for (lane, cursor) in Lane::ALL.into_iter().zip(cursors) {
                let cursor = match is_known {
                    true if cursor.delivered() <= head[lane] => cursor,
                    true => Cursor::starting_at(head[lane]),
                    false => Cursor::starting_at(first[lane]),
                };
                let reader = session.reader_mut(lane);
                reader.stored = cursor.delivered();
                reader.cursor = cursor;
            }
        }
    }

    fn restore_subscriptions(&mut self, rows: Rows, changes: &mut Vec<Change>) {
        for (key, value) in rows {
            let Some((name, filter)) = split_member_key(&key) else {
                self.counters.damaged += 1;
                continue;
            };
            let Some(id) = self.registry.find(name) else {
                changes.push(Change::Delete {
                    table: Table::Subscriptions,
                    key,
                });
                continue;
            };
            let filter = std::str::from_utf8(filter).ok();
            let subscription = Subscription::decode(&value, self.epoch);
            let (Some(filter), Some(subscription)) = (filter, subscription) else {
                self.counters.damaged += 1;
                continue;
            };
            self.add_subscription(id, filter, subscription);
            if let Some(session) = self.registry.get_mut(id)
                && subscription.is_walking
            {
                session.walks.push_back(Walk {
                    filter: filter.into(),
                    after: None,
                });
            }
        }
    }

    fn restore_notes(&mut self, rows: Rows, changes: &mut Vec<Change>) {
        for (key, value) in rows {
            let member = split_member_key(&key);
            let parts = member.and_then(|(name, note)| Some((name, note.try_into().ok()?)));
            let (Some((name, note)), Some(stored)) = (parts, decode::<StoredNote>(&value)) else {
                self.counters.damaged += 1;
                continue;
            };
            let id = self.registry.find(name);
            let Some(session) = id.and_then(|id| self.registry.get_mut(id)) else {
                changes.push(Change::Delete {
                    table: Table::Handshakes,
                    key,
                });
                continue;
            };
            let StoredNote(_, value, delivery) = stored;
            let delivery = delivery.map(|(id, place)| (DeliveryId(id), place));
            if let Some((id, place)) = delivery {
                let source = place.map_or(Source::Lost, |(lane, offset): (Lane, Offset)| {
                    Source::Logged(lane, offset)
                });
                session.inflight.restore(Some(id), source, 2);
            }
            let delivery = delivery.map(|(id, _)| id);
            session.notes.insert(
                u32::from_be_bytes(note),
                KeptNote {
                    value: value.0,
                    delivery,
                },
            );
        }
    }
}

impl Session {
    /// Gives every pending record that no note names a new name: its own was not stored.
    fn name_pending(&mut self) {
        for (lane, reader) in Lane::ALL.into_iter().zip(&self.lanes) {
            for offset in reader.cursor.pending() {
                if !self.inflight.holds(lane, offset) {
                    self.inflight.restore(None, Source::Logged(lane, offset), 0);
                }
            }
        }
    }
}
