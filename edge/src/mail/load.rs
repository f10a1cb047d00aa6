//! What a start reads: mailboxes, their counts, and agents; no message and no group.

use std::collections::BTreeMap;

use sync::{Now, Table};

use super::agents::{CLOUD, EDGE, Known, REPORT};
use super::leave::{Rows, Stage};
use super::seek::last_below;
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{
    NEVER, NEXT_NUMBER_KEY, Number, PRIORITIES, StoredAgent, StoredMailbox, StoredNumber,
    StoredReport, StoredUnread, Tail, UNREAD_KEY, decode,
};
use super::{Office, Settings};

/// Rows that are read at once.
const PAGE: Page = Page {
    rows: 1_024,
    bytes: 256 << 10,
};
/// How far ids go on where the counts of a mailbox are lost: beyond all that can have been given.
const LOST_IDS: u64 = 1 << 32;

impl Office {
    /// Begins with what is on the shelf.
    ///
    /// # Errors
    /// When the shelf can't be read.
    pub fn new(settings: Settings, shelf: &mut dyn Shelf, now: Now) -> Result<Self, Unreadable> {
        let mut office = Self::empty_with(settings, now);
        let mut tails = BTreeMap::new();
        walk_all(Table::MailTails, shelf, |key, value| {
            if let (Ok(number), Some(tail)) = (key.try_into(), Tail::decode(value)) {
                tails.insert(Number(u64::from_be_bytes(number)), tail);
            }
        })?;
        let mut mailboxes = Vec::new();
        walk_all(Table::Mailboxes, shelf, |key, value| {
            if key == NEXT_NUMBER_KEY {
                let next = decode::<StoredNumber>(value).map_or(0, |it| it.1);
                let known = office.mailboxes.next_number;
                office.mailboxes.next_number = known.max(Number(next));
            } else if key == UNREAD_KEY {
                let next = decode::<StoredUnread>(value);
                office.next_unread = next.map_or(office.next_unread, |it| it.1);
            } else if let (Ok(address), Some(stored)) = (str::from_utf8(key), decode(value)) {
                let stored: StoredMailbox = stored;
                mailboxes.push((address.to_owned(), stored));
            }
        })?;
        for (address, stored) in mailboxes {
            let number = Number(stored.1);
            let tail = match tails.remove(&number) {
                Some(tail) => tail,
                None => lost_tail(number, shelf)?,
            };
            office.mailboxes.add(number, &stored, &address, tail);
        }
        // What has counts but no address was over when the power went.
        for (number, tail) in tails {
            office
                .mailboxes
                .add_nameless(number, "".into(), NEVER, tail);
            let stage = Stage::Emptying(Rows::Of(Table::Mail));
            office.leaving.insert(number, stage);
        }
        office.load_agents(shelf)?;
        office.find_next_due(shelf)?;
        office.schedule_sweep();
        Ok(office)
    }

    fn load_agents(&mut self, shelf: &mut dyn Shelf) -> Result<(), Unreadable> {
        let agents = &mut self.agents;
        walk_all(Table::Agents, shelf, |key, value| {
            let Some((&kind, name)) = key.split_first() else {
                return;
            };
            let Ok(name) = str::from_utf8(name) else {
                return;
            };
            match kind {
                EDGE | CLOUD => {
                    if let Some(StoredAgent(_, mailbox, body, seen)) = decode(value) {
                        let known = Known {
                            mailbox,
                            body,
                            seen,
                            stored: seen,
                        };
                        agents.add(kind, name.to_owned(), known);
                    }
                }
                // Reports are behind the agents.
                REPORT => {
                    if let Some(StoredReport(_, _, seen)) = decode(value) {
                        agents.note_seen(name, seen);
                    }
                }
                _ => {}
            }
        })
    }
}

/// Counts as far as they can be found again.
fn lost_tail(number: Number, shelf: &mut dyn Shelf) -> Result<Tail, Unreadable> {
    let mut last = 0;
    for priority in PRIORITIES {
        let found = last_below(number, priority, u64::MAX, shelf)?;
        last = last.max(found.map_or(0, |(id, _)| id));
    }
    let next_id = last.saturating_add(LOST_IDS);
    Ok(Tail {
        next_id,
        ends: [next_id; 3],
        next_turn: LOST_IDS,
        ..Tail::default()
    })
}

fn walk_all(
    table: Table,
    shelf: &mut dyn Shelf,
    mut each: impl FnMut(&[u8], &[u8]),
) -> Result<(), Unreadable> {
    let mut from = Some(Vec::new());
    while let Some(begin) = from {
        // No key begins with so many ones.
        let found = shelf.walk(table, &begin, &[0xFF; 9], PAGE)?;
        for (key, value) in &found.rows {
            each(key, value);
        }
        from = found.next;
    }
    Ok(())
}
