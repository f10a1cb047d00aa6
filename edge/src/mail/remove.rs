//! Removing messages: one that somebody deletes, and all that are over, some at a time.

use sync::Table;
use wire::mq9::{Delete, Failure, Reply};

use super::Office;
use super::commit::{Draft, Work, weight};
use super::event::Ticket;
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Letter, NEVER, Number, PRIORITIES, Place, StoredKey, decode, named_key};
use super::unread::Floors;

impl Office {
    pub(super) fn delete(
        &mut self,
        ticket: Ticket,
        delete: &Delete,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        self.refuse_cloud(&delete.address)?;
        let Some(mailbox) = self.open(&delete.address) else {
            return Err(Failure::NoMailbox(delete.address.clone()));
        };
        let found = self.message(mailbox, delete.id, shelf)?;
        let is_over = |value: &[u8]| {
            let letter = Letter::decode(value);
            letter.is_none_or(|letter| letter.is_over(self.now.wall))
        };
        let found = found.filter(|(_, value)| !is_over(value));
        let Some((place, value)) = found else {
            self.answer(ticket, Reply::Deleted { was_there: false });
            return Ok(());
        };
        let mut draft = Draft::default();
        self.take_out(&mut draft, place, &value, shelf)?;
        // Another commit under way may delete it, or fail.
        self.commit(draft, Work::Delete(ticket), true);
        Ok(())
    }

    /// Finds a message by its id, as it is kept.
    pub(super) fn message(
        &self,
        mailbox: Number,
        id: u64,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<(Place, Vec<u8>)>, Unreadable> {
        for priority in PRIORITIES.into_iter().rev() {
            let place = Place::Mail {
                mailbox,
                priority,
                id,
            };
            if let Some(value) = shelf.find(Table::Mail, &place.key())? {
                return Ok(Some((place, value)));
            }
        }
        Ok(None)
    }

    /// Removes a message with its other rows.
    pub(super) fn take_out(
        &self,
        draft: &mut Draft,
        place: Place,
        value: &[u8],
        shelf: &mut dyn Shelf,
    ) -> Result<(), Unreadable> {
        let letter = Letter::decode(value);
        let over = letter.map_or(NEVER, |letter| letter.over);
        draft.remove(place, weight(value), over);
        let Some(letter) = letter.filter(|letter| !letter.key.is_empty()) else {
            return Ok(());
        };
        let mailbox = place.mailbox();
        // A message under way that has the key overwrites the row.
        if self.ledger.with_key(mailbox, letter.key).is_none() {
            let key = named_key(mailbox, letter.key);
            let row = shelf.find(Table::MailKeys, &key)?;
            let stored = row.as_deref().and_then(decode::<StoredKey>);
            if stored.and_then(|stored| stored.place(mailbox)) == Some(place) {
                draft.delete(Table::MailKeys, key);
            }
        }
        Ok(())
    }

    /// Removes some messages that are over; the rest follows when they are gone.
    pub(super) fn sweep_messages(&mut self, shelf: &mut dyn Shelf) -> Result<(), Unreadable> {
        if self.is_sweeping {
            return Ok(());
        }
        let end = self.now.wall.0.saturating_add(1).to_be_bytes();
        let page = Page {
            rows: self.settings.step_rows_maximum.max(1),
            bytes: self.settings.step_bytes_maximum,
        };
        let found = shelf.walk(Table::MailExpiry, &[], &end, page)?;
        let mut draft = Draft::default();
        let mut floors = Floors::default();
        let mut bytes = 0;
        for (key, _) in found.rows {
            if bytes > self.settings.step_bytes_maximum {
                break;
            }
            draft.delete(Table::MailExpiry, key.clone());
            let Some(place) = Place::from_expiry_key(&key) else {
                continue;
            };
            if let Some(value) = shelf.find(Table::Mail, &place.key())? {
                bytes += value.len();
                self.tell_unread(&mut draft, &mut floors, (place, &value), shelf)?;
                self.take_out(&mut draft, place, &value, shelf)?;
                self.counters.messages_over += 1;
            }
        }
        if !draft.is_empty() {
            self.is_sweeping = true;
            self.commit(draft, Work::Sweep, false);
        }
        Ok(())
    }

    /// Some messages that are over are gone, or not.
    pub(super) fn swept(&mut self, is_done: bool, shelf: &mut dyn Shelf) {
        self.is_sweeping = false;
        // What can't be removed or read now is looked for again by the clock.
        if is_done {
            self.sweep_messages(shelf).unwrap_or_default();
        }
    }
}
