//! Notes that views keep with their sessions, for exactly once. Memory is ahead of the table while a
//! note is put, and behind it while one is deleted, so that a session that ends meanwhile knows the
//! rows it may have; but what a settled delivery leaves is forgotten at once, since the next
//! delivery may have its name.

use bytes::Bytes;
use sync::{Change, Table};

use super::Broker;
use super::commit::{NoteWaiting, Waiting};
use super::event::{ConnectionId, DeliveryId, Event, Note, NoteChange, SessionId, Token, Urgency};
use super::group::Groups;
use super::inflight::Source;
use super::notes::KeptNote;
use super::outcome::Refusal;
use super::session::Member;
use super::stored::{
    Blob, KeptPlace, StoredKeptNote, StoredNote, StoredSharedNote, encode, member_key,
};

/// This part of the room for notes about no delivery is for sessions that have none: whoever never
/// releases does not shut out whoever does.
const FIRST_PART: usize = 4;

/// A change of the table, and the note that it replaces.
type NotePut = (Change, Option<KeptNote>);

impl Groups {
    /// Encodes a note with where in the log its delivery can be found after a restart.
    fn encode_note(&self, value: Blob, delivery: Option<(u16, Source)>) -> Vec<u8> {
        let place = match delivery {
            Some((id, Source::Shared(group, lane, offset))) => {
                if let Some(group) = self.get(group) {
                    let place = (id, lane, offset);
                    return encode(&StoredSharedNote::new(value, place, &group.filter));
                }
                Some((id, None))
            }
            Some((id, Source::Logged(lane, offset))) => Some((id, Some((lane, offset)))),
            Some((id, Source::Kept { record, filter, .. })) => {
                let place = KeptPlace(filter, record.topic().into(), record.digest());
                return encode(&StoredKeptNote::new(value, id, place));
            }
            Some((id, Source::Passing | Source::Lent(..) | Source::Lost)) => Some((id, None)),
            None => None,
        };
        encode(&StoredNote::new(value, place))
    }
}

impl Broker {
    /// Keeps, changes or deletes a note. One about a delivery takes the cursors along, so that
    /// tables never disagree about it.
    pub(super) fn handle_change_note(
        &mut self,
        connection: ConnectionId,
        token: Token,
        change: NoteChange,
    ) {
        let Some(id) = self.registry.session_of(connection) else {
            return;
        };
        let (NoteChange::Put { delivery, .. } | NoteChange::Delete { delivery, .. }) = change;
        let source = delivery.and_then(|delivery| self.source_of(id, delivery));
        let put = match &change {
            NoteChange::Put { note, .. } => self.put_note(id, note, delivery),
            NoteChange::Delete { key, .. } => {
                if let Some(delivery) = delivery {
                    self.settle(id, delivery);
                }
                Ok(self.delete_note(id, *key, delivery))
            }
        };
        let (change_of_table, former) = match put {
            Ok(Some((change_of_table, former))) => (change_of_table, former),
            Ok(None) => {
                let outcome = Ok(());
                return self.tell(connection, Event::NoteKept { token, outcome });
            }
            Err(refusal) => {
                let outcome = Err(refusal);
                return self.tell(connection, Event::NoteKept { token, outcome });
            }
        };
        let mut changes = vec![change_of_table];
        changes.extend(match (delivery, &source) {
            (None, _) => None,
            (Some(_), Some(Source::Shared(group, ..))) => self.put_group(*group),
            (Some(_), _) => self.put_cursors(id),
        });
        if delivery.is_some() {
            let is_begun = matches!(change, NoteChange::Put { .. }) && former.is_none();
            let begun = source.as_ref().filter(|_| is_begun);
            self.put_walks(id, begun, &mut changes);
        }
        let waiting = NoteWaiting {
            session: id,
            connection,
            token,
            change,
            former,
        };
        self.commit(
            changes,
            Urgency::Immediate,
            Waiting::Note(Box::new(waiting)),
        );
    }

    /// Keeps a note, about a delivery or not. `None` when the session is not stored: its view
    /// remembers as long as it lasts.
    pub(super) fn put_note(
        &mut self,
        id: SessionId,
        note: &Note,
        delivery: Option<DeliveryId>,
    ) -> Result<Option<NotePut>, Refusal> {
        let session = self.registry.get(id).ok_or(Refusal::SessionGone)?;
        let notes = &session.aside.notes;
        // One about a delivery is bounded by the window, and counted with the delivery.
        if delivery.is_none() && !notes.contains(note.key) {
            let (all, count) = (self.registry.note_bytes(), notes.own_count());
            let limit = self.settings.note_bytes_maximum;
            let limit = limit - if count > 0 { limit / FIRST_PART } else { 0 };
            if all + notes.added_bytes() > limit || count >= self.settings.note_count_maximum {
                return Err(Refusal::Notes);
            }
        }
        let (value, is_stored) = (note.value, session.is_stored);
        let kept = KeptNote { value, delivery };
        if !is_stored {
            // Its view remembers as well, and this counts it.
            self.registry.keep_note(id, note.key, kept);
            return Ok(None);
        }
        let source = delivery.and_then(|it| Some((it.0, session.inflight.find(it)?.source)));
        let value = Blob(Bytes::copy_from_slice(&value.to_be_bytes()));
        let change = Change::Put {
            table: Table::Handshakes,
            key: member_key(&session.client_identifier, &note.key.to_be_bytes()),
            value: self.groups.encode_note(value, source),
        };
        let former = self.registry.keep_note(id, note.key, kept);
        Ok(Some((change, former)))
    }

    /// The change that deletes a note.
    pub(super) fn delete_note(
        &mut self,
        id: SessionId,
        key: u32,
        delivery: Option<DeliveryId>,
    ) -> Option<NotePut> {
        let is_stored = self.registry.get(id)?.is_stored;
        if delivery.is_some() || !is_stored {
            self.registry.drop_note(id, key);
        }
        let session = self.registry.get(id).filter(|it| it.is_stored)?;
        let (table, key) = session.row(&Member::Note(key));
        Some((Change::Delete { table, key }, None))
    }

    /// Takes over that a change is durable.
    pub(super) fn note_committed(&mut self, id: SessionId, change: NoteChange) {
        if let NoteChange::Delete {
            key,
            delivery: None,
        } = change
        {
            self.registry.drop_note(id, key);
        }
    }

    /// Takes a change back that is not durable.
    pub(super) fn note_failed(
        &mut self,
        id: SessionId,
        change: NoteChange,
        former: Option<KeptNote>,
    ) {
        match (change, former) {
            (NoteChange::Put { note, .. }, Some(former)) => {
                self.registry.keep_note(id, note.key, former);
            }
            (NoteChange::Put { note, .. }, None) => {
                self.registry.drop_note(id, note.key);
                self.note_unsaved_member(id, Member::Note(note.key));
            }
            (NoteChange::Delete { key, delivery }, _) if delivery.is_some() => {
                self.note_unsaved_member(id, Member::Note(key));
            }
            (NoteChange::Delete { .. }, _) => {}
        }
    }
}
