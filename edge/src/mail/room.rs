//! Room for one more message. In a mailbox that is full, those give way that every group of it has
//! acknowledged, in the commit of the message that takes their place: the least important first, and
//! of these the oldest.
//!
//! What nobody has acknowledged is never dropped for room: without a group, or while one of them has
//! not acknowledged enough, a full mailbox refuses. Only a group that is [idle](super::idle) while
//! another one is in use holds no room. A group that begins with the latest message, or
//! with an id, has no claim to what came before. One step looks at a bounded number of rows; where
//! they are not enough for a large message it is refused, they go all the same, and the next attempt
//! finds more room.

use sync::Table;
use wire::mq9::Failure;

use super::Office;
use super::commit::{Draft, Work, weight};
use super::ledger::Holder;
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Number, PRIORITIES, Place, mail_key};
use super::unread::Floors;

/// What is missing.
#[derive(Debug)]
struct Lack {
    count: u64,
    bytes: u64,
    /// What is said of it.
    why: String,
}

impl Lack {
    const fn is_filled(&self) -> bool {
        self.count == 0 && self.bytes == 0
    }
}

impl Office {
    /// Refuses a message that a mailbox has no room for, even without those that it replaces and
    /// those that give way, which the draft then removes.
    pub(super) fn make_room(
        &mut self,
        mailbox: Number,
        bytes: u64,
        former: &[Holder],
        draft: &mut Draft,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        let Some(mut lack) = self.lack(mailbox, bytes, former) else {
            return Ok(());
        };
        if bytes
            > self
                .settings
                .mailbox_bytes_maximum
                .min(self.settings.mail_bytes_maximum)
        {
            return Err(Failure::Refused(lack.why));
        }
        let mut giving = Draft::default();
        self.give_way(mailbox, &mut lack, former, &mut giving, shelf)?;
        if lack.is_filled() {
            draft.absorb(giving);
            return Ok(());
        }
        if !giving.is_empty() {
            self.commit(giving, Work::Nothing, false);
        }
        Err(Failure::Refused(lack.why))
    }

    /// Removes messages that all groups have acknowledged until enough is there.
    fn give_way(
        &mut self,
        mailbox: Number,
        lack: &mut Lack,
        former: &[Holder],
        giving: &mut Draft,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Unreadable> {
        let Some(floor) = self.floor_for_room(mailbox, shelf)? else {
            return Ok(());
        };
        let mut floors = Floors::default();
        let settings = &self.settings;
        let doomed = self.ledger.doomed_count();
        // What is under way is held in memory.
        let most = settings.pending_count_maximum + settings.step_rows_maximum.max(1);
        let mut left = settings
            .step_rows_maximum
            .max(1)
            .min(most.saturating_sub(doomed));
        let bytes = settings.step_bytes_maximum;
        for priority in PRIORITIES.into_iter().rev() {
            let end = mail_key(mailbox, priority, floor[priority as usize]);
            let mut from = Some(mail_key(mailbox, priority, 0));
            let mut rows = usize::try_from(lack.count).unwrap_or(usize::MAX).max(1);
            while let Some(begin) = from
                && left > 0
                && !lack.is_filled()
            {
                rows = rows.min(left + doomed);
                let found = shelf.walk(Table::Mail, &begin, &end, Page { rows, bytes })?;
                for (key, value) in &found.rows {
                    let Some(place) = Place::from_mail_key(key) else {
                        continue;
                    };
                    let is_going = |former: &Holder| former.place == place;
                    if self.ledger.is_doomed(place) || former.iter().any(is_going) {
                        continue;
                    }
                    if left == 0 || lack.is_filled() {
                        break;
                    }
                    self.tell_unread(giving, &mut floors, (place, value), shelf)?;
                    self.take_out(giving, place, value, shelf)?;
                    lack.count = lack.count.saturating_sub(1);
                    lack.bytes = lack.bytes.saturating_sub(weight(value));
                    left -= 1;
                    self.counters.messages_gave_way += 1;
                }
                from = found.next;
                // What is going already stands at the beginning.
                rows = rows.saturating_mul(2);
            }
        }
        Ok(())
    }

    /// What is missing for so many messages beside all that there is, if anything is.
    pub(super) fn lack_for(&self, mailbox: Number, count: u64, bytes: u64) -> Option<String> {
        let lack = self.lack_of(mailbox, (count, bytes), &[]);
        lack.map(|lack| lack.why)
    }

    fn lack(&self, mailbox: Number, bytes: u64, former: &[Holder]) -> Option<Lack> {
        self.lack_of(mailbox, (1, bytes), former)
    }

    fn lack_of(
        &self,
        mailbox: Number,
        (added, bytes): (u64, u64),
        former: &[Holder],
    ) -> Option<Lack> {
        let found = self.mailboxes.mailbox(mailbox)?;
        let is_new = |former: &&Holder| !self.ledger.is_doomed(former.place);
        let leaving = former.iter().filter(is_new);
        let (leaving_count, leaving_bytes) = leaving.fold((0, 0), |(count, sum), former| {
            (count + 1, sum + former.bytes)
        });
        let missing = |value: u64, leaving: u64, more: u64, most: u64| {
            let wanted = value.saturating_sub(leaving).saturating_add(more);
            wanted.saturating_sub(most)
        };
        let settings = &self.settings;
        let (count_most, bytes_most) = (
            settings.message_count_maximum,
            settings.mailbox_bytes_maximum,
        );
        let all_most = settings.mail_bytes_maximum;
        let count = missing(found.tail.count, leaving_count, added, count_most);
        let own = missing(found.tail.bytes, leaving_bytes, bytes, bytes_most);
        let all = missing(self.mailboxes.bytes, leaving_bytes, bytes, all_most);
        let address = &found.address;
        let why = if count > 0 {
            format!(
                "mailbox {address} is full: its messages would exceed the limit of {count_most}"
            )
        } else if own > 0 {
            format!("mailbox {address} is full: its bytes would exceed the limit of {bytes_most}")
        } else if all > 0 {
            format!("all mailboxes are full: their bytes would exceed the limit of {all_most}")
        } else {
            return None;
        };
        let bytes = own.max(all);
        Some(Lack { count, bytes, why })
    }
}
