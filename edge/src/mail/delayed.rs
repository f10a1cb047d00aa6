//! Delayed messages: handed out when they are due, each exactly once: the row of the queue goes in
//! the commit that makes the message visible.

use sync::{Table, WallTime};

use super::Office;
use super::commit::{Draft, Work, weight};
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Letter, NEVER, Place, decode_delayed};
use super::unread::Floors;

impl Office {
    /// Hands out messages that are due; the rest follows when they are there.
    pub(super) fn release(&mut self, shelf: &mut dyn Shelf) -> Result<(), Unreadable> {
        if self.is_releasing {
            return Ok(());
        }
        let end = self.now.wall.0.saturating_add(1).to_be_bytes();
        let page = Page {
            rows: self.settings.step_rows_maximum.max(1),
            bytes: self.settings.step_bytes_maximum,
        };
        let found = shelf.walk(Table::MailDelayed, &[], &end, page)?;
        let mut draft = Draft::default();
        for (key, value) in &found.rows {
            match Place::from_delayed_key(key) {
                Some(place) => self.release_one(place, value, &mut draft, shelf)?,
                None => draft.delete(Table::MailDelayed, key.clone()),
            }
        }
        if draft.is_empty() {
            return self.find_next_due(shelf);
        }
        self.is_releasing = true;
        self.commit(draft, Work::Release, true);
        Ok(())
    }

    fn release_one(
        &mut self,
        place: Place,
        value: &[u8],
        draft: &mut Draft,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Unreadable> {
        let mailbox = place.mailbox();
        let delayed = decode_delayed(value).filter(|(_, letter)| {
            let is_open = self.mailboxes.is_open(mailbox);
            is_open && !letter.is_over(self.now.wall)
        });
        let Some((priority, letter)) = delayed else {
            self.tell_unread(draft, &mut Floors::default(), (place, value), shelf)?;
            draft.remove(place, weight(value), NEVER);
            return Ok(());
        };
        let former = draft.holder(mailbox, letter.key);
        let former = match former {
            Some(holder) => vec![holder],
            None => self.former_with_key(mailbox, letter.key, shelf)?,
        };
        draft.remove(place, weight(value), NEVER);
        // After 2^53 messages a mailbox takes no more, not even late ones.
        let Ok(id) = self.next_id(mailbox, priority) else {
            return Ok(());
        };
        let letter = Letter {
            time: self.now.wall,
            ..letter
        };
        draft.add((mailbox, priority, id), &letter, former);
        Ok(())
    }

    /// Due messages are handed out, or not.
    pub(super) fn released(&mut self, is_done: bool, shelf: &mut dyn Shelf) {
        self.is_releasing = false;
        let outcome = match is_done {
            true => self.release(shelf),
            false => Err(Unreadable),
        };
        if outcome.is_err() {
            self.next_due = None;
            self.is_due_known = false;
            self.schedule_sweep();
        }
    }

    /// Looks up when the next message is due.
    pub(super) fn find_next_due(&mut self, shelf: &mut dyn Shelf) -> Result<(), Unreadable> {
        let page = Page { rows: 1, bytes: 1 };
        let end = u64::MAX.to_be_bytes();
        let found = shelf.walk(Table::MailDelayed, &[], &end, page)?;
        self.is_due_known = true;
        self.next_due = found.rows.first().and_then(|(key, _)| {
            let due = key.first_chunk()?;
            Some(WallTime(u64::from_be_bytes(*due)))
        });
        Ok(())
    }

    /// Notes that a message is due at some time.
    pub(super) fn note_due(&mut self, due: WallTime) {
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }
}
