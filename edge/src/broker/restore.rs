//! From the tables to sessions, at the start.

use bytes::Bytes;
use sync::{Change, Cursor, Lane, Offset, PerLane, Record, Table};

use super::Broker;
use super::commit::Waiting;
use super::connect::{Timer, end_of};
use super::event::{DeliveryId, SessionId, Urgency, Will};
use super::group::{Groups, Holder};
use super::inflight::Source;
use super::notes::KeptNote;
use super::retained::{Moment, Retained};
use super::session::{Link, Reader, Session, Walk};
use super::settings::Stored;
use super::stored::{
    KeptPlace, ReadNote, StoredCursors, StoredSession, Subscription, cursor_owner, decode,
    group_of, split_member_key,
};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl Broker {
    /// Takes the tables over. What belongs to no session any more is deleted.
    pub(super) fn restore(&mut self, stored: Stored) {
        let mut changes = Vec::new();
        self.restore_sessions(stored.sessions, &mut changes);
        self.restore_subscriptions(stored.subscriptions, &mut changes);
        self.begin_groups();
        self.restore_cursors(stored.cursors, &mut changes);
        for (_, value) in stored.retained {
            match Record::from_bytes(Bytes::from(value)) {
                Ok(record) => self.retained.restore(record),
                Err(_) => self.counters.damaged += 1,
            }
        }
        self.restore_notes(stored.handshakes, &mut changes);
        let sessions: Vec<_> = self.registry.iter().map(|session| session.id).collect();
        for id in sessions {
            if let Some(session) = self.registry.get_mut(id) {
                session.name_pending();
            }
        }
        for group in self.groups.iter_mut() {
            self.counters.missed += group.resume(self.first, self.head);
            group.count_away(|_| true);
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
    fn restore_cursors(&mut self, rows: Rows, changes: &mut Vec<Change>) {
        for (key, value) in rows {
            if cursor_owner(&key).or_else(|| group_of(&key)).is_none() {
                continue;
            }
            let Some(StoredCursors(_, epoch, cursors)) = decode(&value) else {
                self.counters.damaged += 1;
                continue;
            };
            let (first, head) = (self.first, self.head);
            let is_known = epoch == self.epoch;
            let Some(readers) = self.readers_of(&key) else {
                if group_of(&key).is_some() {
                    let table = Table::Cursors;
                    changes.push(Change::Delete { table, key });
                }
                continue;
            };
            for (lane, cursor) in Lane::ALL.into_iter().zip(cursors) {
                let cursor = match is_known {
                    true if cursor.delivered() <= head[lane] => cursor,
                    true => Cursor::starting_at(head[lane]),
                    false => Cursor::starting_at(first[lane]),
                };
                let reader = &mut readers[lane as usize];
                reader.stored = cursor.delivered();
                reader.cursor = cursor;
            }
        }
    }

    /// Whose cursors a row is for.
    fn readers_of(&mut self, key: &[u8]) -> Option<&mut [Reader; 3]> {
        if let Some(filter) = group_of(key) {
            let group = self.groups.find(filter)?;
            return self.groups.get_mut(group).map(|group| &mut group.lanes);
        }
        let session = self.registry.find(cursor_owner(key)?)?;
        let session = self.registry.get_mut(session);
        session.map(|session| &mut session.lanes)
    }

    /// Lets a group without readable cursors begin where its first member did: rather twice than
    /// never.
    fn begin_groups(&mut self) {
        let (first, registry) = (self.first, &self.registry);
        for group in self.groups.iter_mut() {
            let members = group.members().iter();
            let begins = members.filter_map(|it| {
                let session = registry.get(it.session)?;
                Some(session.subscriptions.get(&group.filter)?.begin)
            });
            let begins: Vec<PerLane<Offset>> = begins.collect();
            group.lanes = PerLane::from_fn(|lane| {
                let begin = begins.iter().map(|begin| begin[lane]).min();
                Reader::starting_at(begin.unwrap_or_default().max(first[lane]))
            })
            .0;
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
            let (Some(filter), Some((subscription, walk))) = (filter, subscription) else {
                self.counters.damaged += 1;
                continue;
            };
            self.add_subscription(id, filter, subscription);
            if let Some(session) = self.registry.get_mut(id)
                && subscription.is_walking
            {
                session.aside.make().walks.push_back(Walk {
                    filter: filter.into(),
                    after: walk.after,
                    since: Moment::before_start(walk.since),
                });
            }
        }
    }

    fn restore_notes(&mut self, rows: Rows, changes: &mut Vec<Change>) {
        for (key, value) in rows {
            let member = split_member_key(&key);
            let parts = member.and_then(|(name, note)| Some((name, note.try_into().ok()?)));
            let (Some((name, note)), Some(stored)) = (parts, ReadNote::decode(&value)) else {
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
            let Ok(value) = stored.value.0.as_ref().try_into().map(u32::from_be_bytes) else {
                self.counters.damaged += 1;
                continue;
            };
            let delivery = stored.delivery.map(|(id, _)| DeliveryId(id));
            if let Some(delivery) = delivery {
                let source = match stored.kept {
                    Some(place) => session.regain_kept(&self.retained, place),
                    None => self.groups.regain(session.id, delivery, &stored),
                };
                session.inflight.restore(Some(delivery), source, 2);
            }
            let note = u32::from_be_bytes(note);
            let id = session.id;
            self.registry
                .keep_note(id, note, KeptNote { value, delivery });
        }
    }
}

impl Groups {
    /// Finds where a delivery of an earlier run is; one of a group is held again.
    fn regain(&mut self, session: SessionId, delivery: DeliveryId, note: &ReadNote) -> Source {
        let Some((lane, offset)) = note.delivery.and_then(|(_, place)| place) else {
            return Source::Lost;
        };
        let Some(filter) = &note.group else {
            return Source::Logged(lane, offset);
        };
        let id = self.find(filter);
        let Some(group) = id.and_then(|id| self.get_mut(id)) else {
            return Source::Lost;
        };
        group.hold(lane, offset, Holder { session, delivery });
        Source::Shared(group.id, lane, offset)
    }
}

impl Session {
    /// Finds a retained message that an earlier run sent, unless another one took its place.
    fn regain_kept(&self, retained: &Retained, place: KeptPlace) -> Source {
        let KeptPlace(filter, topic, digest) = place;
        let found = retained.find(&topic).filter(|it| it.digest() == digest);
        let Some(record) = found.cloned() else {
            return Source::Lost;
        };
        let subscription = self.subscriptions.get(&filter);
        Source::Kept {
            record,
            identifier: subscription.and_then(|subscription| subscription.identifier),
            filter,
        }
    }

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
