//! Mailboxes that are over: nobody finds them any more, and then their rows go, some at a time.
//!
//! ```text
//! Open      nobody found out that it is over
//! Closing   the address points at nothing, in memory; a commit says so to the table
//! Emptying  messages, keys, groups, delayed messages, then the counts: one commit at a time
//! ```
//!
//! The counts go last, so that what a power cut leaves is found at the next start.

use std::collections::BTreeMap;

use sync::Table;

use super::Office;
use super::commit::{Draft, Work, weight};
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Letter, NEVER, Number, Place, range_of};
use super::unread::Floors;

/// Mailboxes that the clock looks at in one turn.
const CHECKED_AT_ONCE: usize = 4_096;

/// Mailboxes that are over.
pub(super) type Leaving = BTreeMap<Number, Stage>;

/// How far a mailbox is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The table of addresses still has it.
    Closing { is_under_way: bool },
    /// Its rows go.
    Emptying(Rows),
}

/// Which rows go next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Those of a table whose keys begin with its number.
    Of(Table),
    /// Delayed messages from a key on.
    Delayed(Vec<u8>),
    /// Its counts.
    Tail,
    /// None are left.
    Gone,
}

impl Office {
    /// Closes a mailbox that is over.
    pub(super) fn retire(&mut self, number: Number) {
        self.mailboxes.close(number);
        self.counters.mailboxes_over += 1;
        self.groups.forget_mailbox(number);
        self.leaving.insert(
            number,
            Stage::Closing {
                is_under_way: false,
            },
        );
        self.retire_durably(number);
        self.schedule_sweep();
    }

    /// Takes the address out of the table, unless another mailbox has it by now.
    fn retire_durably(&mut self, number: Number) {
        let Some(mailbox) = self.mailboxes.mailbox(number) else {
            return;
        };
        let mut draft = Draft::default();
        match self.mailboxes.find(&mailbox.address) {
            None => draft.delete(Table::Mailboxes, mailbox.address.as_bytes().to_vec()),
            Some(heir) => {
                let is_made = self
                    .mailboxes
                    .mailbox(heir)
                    .is_some_and(|it| !it.is_unmade());
                if is_made {
                    self.retired(number, true);
                }
                return;
            }
        }
        self.leaving
            .insert(number, Stage::Closing { is_under_way: true });
        self.commit(draft, Work::Retire(number), false);
    }

    /// The table of addresses has it no more, or still.
    pub(super) fn retired(&mut self, number: Number, is_done: bool) {
        let stage = match is_done {
            true => Stage::Emptying(Rows::Of(Table::Mail)),
            false => Stage::Closing {
                is_under_way: false,
            },
        };
        self.leaving.insert(number, stage);
        self.schedule_sweep();
    }

    /// Looks for mailboxes that are over, and goes on with those that leave.
    pub(super) fn sweep_mailboxes(&mut self, shelf: &mut dyn Shelf) {
        let mailboxes = self.mailboxes.after(self.checked_until);
        let mut over = Vec::new();
        let mut last = None;
        for (number, mailbox) in mailboxes.take(CHECKED_AT_ONCE) {
            last = Some(number);
            if mailbox.over <= self.now.wall && !self.leaving.contains_key(&number) {
                over.push(number);
            }
        }
        self.checked_until = last.unwrap_or(Number(0));
        for number in over {
            self.retire(number);
            self.wake_mailbox(number);
        }
        let closing = self.leaving.iter();
        let closing = closing
            .filter(|(_, stage)| {
                **stage
                    == Stage::Closing {
                        is_under_way: false,
                    }
            })
            .map(|(number, _)| *number);
        for number in closing.take(CHECKED_AT_ONCE).collect::<Vec<_>>() {
            self.retire_durably(number);
        }
        self.empty_next(shelf);
    }

    /// Takes some rows of the first mailbox that leaves, one commit at a time.
    pub(super) fn empty_next(&mut self, shelf: &mut dyn Shelf) {
        if self.is_emptying {
            return;
        }
        let ready = self.leaving.iter().find_map(|(number, stage)| match stage {
            Stage::Emptying(rows) => {
                // What was sent while it was open comes first.
                let mailbox = self.mailboxes.mailbox(*number)?;
                (mailbox.under_way == 0).then(|| (*number, rows.clone()))
            }
            Stage::Closing { .. } => None,
        });
        self.has_more_to_empty = false;
        if let Some((number, rows)) = ready {
            // What can't be read now is looked for again by the clock.
            self.empty(number, rows, shelf).unwrap_or_default();
        }
    }

    fn empty(
        &mut self,
        number: Number,
        rows: Rows,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Unreadable> {
        let mut draft = Draft::default();
        let mut rows = rows;
        self.has_more_to_empty = false;
        // Tables that have nothing of it are passed by at once.
        while draft.is_empty() && !self.has_more_to_empty {
            rows = match rows {
                Rows::Of(table) => self.empty_table(number, table, &mut draft, shelf)?,
                Rows::Delayed(from) => {
                    let rows = self.empty_queue(number, from, &mut draft, shelf)?;
                    self.has_more_to_empty = draft.is_empty() && rows != Rows::Tail;
                    rows
                }
                Rows::Tail | Rows::Gone => {
                    draft.delete(Table::MailTails, number.0.to_be_bytes().to_vec());
                    Rows::Gone
                }
            };
        }
        self.leaving.insert(number, Stage::Emptying(rows));
        if self.has_more_to_empty {
            return Ok(());
        }
        self.is_emptying = true;
        self.commit(draft, Work::Leave(number), false);
        Ok(())
    }

    /// Removes some rows of a table; says which rows go next.
    fn empty_table(
        &self,
        number: Number,
        table: Table,
        draft: &mut Draft,
        shelf: &mut dyn Shelf,
    ) -> Result<Rows, Unreadable> {
        let (from, end) = range_of(number);
        let found = shelf.walk(table, &from, &end, self.step())?;
        let mut floors = Floors::default();
        for (key, value) in found.rows {
            if table == Table::Mail {
                let over = Letter::decode(&value).map_or(NEVER, |letter| letter.over);
                match Place::from_mail_key(&key) {
                    Some(place) => {
                        self.tell_unread(draft, &mut floors, (place, &value), shelf)?;
                        draft.remove(place, weight(&value), over);
                    }
                    None => draft.delete(table, key),
                }
            } else {
                draft.delete(table, key);
            }
        }
        let has_delayed = self
            .mailboxes
            .mailbox(number)
            .is_some_and(|it| it.tail.delayed > 0);
        Ok(match (found.next, table) {
            (Some(_), _) => Rows::Of(table),
            (None, Table::Mail) => Rows::Of(Table::MailKeys),
            (None, Table::MailKeys) => Rows::Of(Table::MailGroups),
            (None, _) if has_delayed => Rows::Delayed(Vec::new()),
            (None, _) => Rows::Tail,
        })
    }

    /// Removes its messages from some rows of the queue, which has those of all mailboxes.
    fn empty_queue(
        &self,
        number: Number,
        from: Vec<u8>,
        draft: &mut Draft,
        shelf: &mut dyn Shelf,
    ) -> Result<Rows, Unreadable> {
        let end = u64::MAX.to_be_bytes();
        let found = shelf.walk(Table::MailDelayed, &from, &end, self.step())?;
        for (key, value) in &found.rows {
            let place = Place::from_delayed_key(key).filter(|place| place.mailbox() == number);
            if let Some(place) = place {
                self.tell_unread(draft, &mut Floors::default(), (place, value), shelf)?;
                draft.remove(place, weight(value), NEVER);
            }
        }
        Ok(found.next.map_or(Rows::Tail, Rows::Delayed))
    }

    /// Some rows of a mailbox that leaves are gone, or not.
    pub(super) fn left(&mut self, number: Number, is_done: bool, shelf: &mut dyn Shelf) {
        self.is_emptying = false;
        match (self.leaving.get(&number), is_done) {
            (Some(Stage::Emptying(Rows::Gone)), true) => {
                self.leaving.remove(&number);
                self.mailboxes.forget(number);
            }
            // From the beginning: rows that are gone cost nothing.
            (Some(_), false) => self.retired(number, true),
            _ => {}
        }
        if is_done {
            self.empty_next(shelf);
        }
    }

    fn step(&self) -> Page {
        Page {
            rows: self.settings.step_rows_maximum.max(1),
            bytes: self.settings.step_bytes_maximum,
        }
    }

    /// Drops a mailbox that never came to be.
    pub(super) fn forget_mailbox(&mut self, number: Number) {
        self.mailboxes.forget(number);
        self.groups.forget_mailbox(number);
        self.leaving.remove(&number);
        self.wrong_tails.remove(&number);
    }
}
