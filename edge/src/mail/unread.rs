//! Messages that end unread: their own time is over, that of their mailbox, or the longest time that
//! messages are kept, before every group of the mailbox acknowledged them, or while it has no group.
//!
//! Each is counted in the commit that removes it, and has a number of its own, so that whoever reads
//! what the gateway dropped counts none twice. What somebody deletes, what a message with the same
//! key replaces, and what gives way after all groups acknowledged it, is not unread; what gives way
//! although an [idle](super::idle) group has not, is, and so is what comes from the cloud and is too
//! large to be kept.

use std::collections::BTreeMap;

use sync::{Change, Table, WallTime};
use wire::mq9::{Priority, Reply};

use super::Office;
use super::commit::{Draft, Work};
use super::event::{Ticket, Unread};
use super::groups::Position;
use super::shelf::{Shelf, Unreadable};
use super::stored::{
    Letter, Number, PRIORITIES, Place, StoredUnread, UNREAD_KEY, decode_delayed, encode,
};

/// Messages of one priority that end unread in one commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    count: u64,
    bytes: u64,
    from: WallTime,
    to: WallTime,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: u64, time: WallTime) {
        self.from = match self.count {
            0 => time,
            _ => self.from.min(time),
        };
        self.to = self.to.max(time);
        self.count += 1;
        self.bytes += bytes;
    }

    pub(super) fn join(&mut self, other: &Self) {
        if other.count > 0 {
            self.add(other.bytes, other.from);
            self.count += other.count - 1;
            self.to = self.to.max(other.to);
        }
    }
}

/// Asks for the positions of a mailbox's groups once, however many of its messages end.
#[derive(Debug, Default)]
pub(super) struct Floors(BTreeMap<Number, Option<Position>>);

impl Office {
    /// Counts a message that a draft removes, if it is unread.
    pub(super) fn tell_unread(
        &self,
        draft: &mut Draft,
        floors: &mut Floors,
        (place, value): (Place, &[u8]),
        shelf: &mut dyn Shelf,
    ) -> Result<(), Unreadable> {
        if self.ledger.is_doomed(place) {
            return Ok(());
        }
        match place {
            Place::Mail {
                mailbox,
                priority,
                id,
            } => {
                let floor = match floors.0.get(&mailbox) {
                    Some(floor) => *floor,
                    None => *floors
                        .0
                        .entry(mailbox)
                        .or_insert(self.groups.floor(mailbox, shelf)?),
                };
                if floor.is_none_or(|floor| id >= floor[priority as usize]) {
                    let time = Letter::decode(value).map_or(WallTime(0), |it| it.time);
                    draft.note_unread(priority, super::commit::weight(value), time);
                }
            }
            Place::Delayed { .. } => {
                if let Some((priority, letter)) = decode_delayed(value) {
                    draft.note_unread(priority, super::commit::weight(value), letter.time);
                }
            }
        }
        Ok(())
    }

    /// Notes durably that a message will never be kept.
    pub(super) fn lose(
        &mut self,
        ticket: Ticket,
        (priority, bytes): (Priority, u64),
        changes: Vec<Change>,
    ) {
        let mut draft = Draft::with(changes);
        draft.note_unread(priority, bytes, self.now.wall);
        self.commit(draft, Work::answer(ticket, Reply::Sent { id: None }), true);
    }

    /// Gives numbers to what ends unread, and keeps them.
    pub(super) fn number_unread(
        &mut self,
        tallies: &[Tally; 3],
        changes: &mut Vec<Change>,
    ) -> Vec<Unread> {
        let mut unread = Vec::new();
        for (priority, tally) in PRIORITIES.into_iter().zip(tallies) {
            if tally.count > 0 {
                let next = &mut self.next_unread[priority as usize];
                unread.push(Unread {
                    priority,
                    first: *next,
                    count: tally.count,
                    bytes: tally.bytes,
                    from: tally.from,
                    to: tally.to,
                });
                *next = next.saturating_add(tally.count);
                self.counters.messages_unread += tally.count;
            }
        }
        if !unread.is_empty() {
            changes.push(Change::Put {
                table: Table::Mailboxes,
                key: UNREAD_KEY.to_vec(),
                value: encode(&StoredUnread::new(self.next_unread)),
            });
        }
        unread
    }
}
