//! What commits under way do to messages: which rows they delete, and which messages they give a
//! key. So that no row is counted twice, whatever order requests come in and whichever commits fail.

use std::collections::BTreeMap;

use sync::WallTime;

use super::event::CommitTicket;
use super::stored::{Number, Place};

/// A message that may have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) place: Place,
    /// What it counts for.
    pub(super) bytes: u64,
    /// When it is over.
    pub(super) over: WallTime,
}

/// Rows and keys that commits under way are about.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Rows that are being deleted: their bytes, and the commits that do so.
    doomed: BTreeMap<Place, (u64, Vec<CommitTicket>)>,
    /// Keys that are being given: every message that may have it, oldest first, and the commit that
    /// brings the message unless it is there.
    keys: BTreeMap<(Number, String), Holders>,
}

/// Messages that may have a key, and the commits that bring them.
type Holders = Vec<(Holder, Option<CommitTicket>)>;

impl Ledger {
    /// Notes that a commit deletes a row. Says whether it is the first one to do so.
    pub(super) fn doom(&mut self, place: Place, bytes: u64, ticket: CommitTicket) -> bool {
        let (_, tickets) = self
            .doomed
            .entry(place)
            .or_insert_with(|| (bytes, Vec::new()));
        tickets.push(ticket);
        tickets.len() == 1
    }

    pub(super) fn is_doomed(&self, place: Place) -> bool {
        self.doomed.contains_key(&place)
    }

    /// Rows that are being deleted.
    pub(super) fn doomed_count(&self) -> usize {
        self.doomed.len()
    }

    /// Notes that a commit deleted a row.
    pub(super) fn gone(&mut self, place: Place) {
        self.doomed.remove(&place);
    }

    /// Notes that a commit did not delete a row. Gives its bytes if nothing else deletes it.
    pub(super) fn spare(&mut self, place: Place, ticket: CommitTicket) -> Option<u64> {
        let (bytes, tickets) = self.doomed.get_mut(&place)?;
        let bytes = *bytes;
        tickets.retain(|found| *found != ticket);
        let is_spared = tickets.is_empty();
        if is_spared {
            self.doomed.remove(&place);
        }
        is_spared.then_some(bytes)
    }

    /// Notes that a row will never be there. Says whether it was to be deleted already.
    pub(super) fn never_born(&mut self, place: Place) -> bool {
        self.doomed.remove(&place).is_some()
    }

    /// Every message that may have a key once all is done; `None` when no commit under way gives it,
    /// so that the table knows.
    pub(super) fn with_key(
        &self,
        mailbox: Number,
        key: &str,
    ) -> Option<&[(Holder, Option<CommitTicket>)]> {
        // A key of a map of pairs can't be borrowed in parts.
        let rows = self.keys.get(&(mailbox, key.to_owned()))?;
        Some(rows)
    }

    /// Notes that a commit gives a key to a new message.
    pub(super) fn give_key(
        &mut self,
        (mailbox, key): (Number, &str),
        former: &[Holder],
        holder: Holder,
        ticket: CommitTicket,
    ) {
        let rows = self.keys.entry((mailbox, key.to_owned()));
        let rows = rows.or_insert_with(|| former.iter().map(|it| (*it, None)).collect());
        if rows.len() < 2 {
            // Most often there are no more.
            rows.reserve_exact(1);
        }
        rows.push((holder, Some(ticket)));
    }

    /// Notes how the commit ended that gives a key.
    pub(super) fn settle_key(
        &mut self,
        mailbox: Number,
        key: &str,
        ticket: CommitTicket,
        is_durable: bool,
    ) {
        let name = (mailbox, key.to_owned());
        let Some(rows) = self.keys.get_mut(&name) else {
            return;
        };
        let Some(at) = rows.iter().position(|(_, found)| *found == Some(ticket)) else {
            return;
        };
        if is_durable {
            // It deleted all that had the key before.
            rows.drain(..at);
            rows[0].1 = None;
        } else {
            rows.remove(at);
        }
        if rows.iter().all(|(_, ticket)| ticket.is_none()) {
            self.keys.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAILBOX: Number = Number(7);

    fn place(id: u64) -> Place {
        Place::Delayed {
            mailbox: MAILBOX,
            due: WallTime(0),
            turn: id,
        }
    }

    fn holder(id: u64) -> Holder {
        Holder {
            place: place(id),
            bytes: 1,
            over: WallTime(0),
        }
    }

    #[test]
    fn a_row_that_two_commits_delete_is_counted_once_and_spared_only_by_both() {
        let mut ledger = Ledger::default();
        assert!(ledger.doom(place(1), 10, CommitTicket(1)));
        assert!(!ledger.doom(place(1), 10, CommitTicket(2)));
        assert_eq!(ledger.spare(place(1), CommitTicket(1)), None);
        assert!(ledger.is_doomed(place(1)));
        assert_eq!(ledger.spare(place(1), CommitTicket(2)), Some(10));
        assert!(!ledger.is_doomed(place(1)));
        assert_eq!(ledger.spare(place(1), CommitTicket(2)), None);
    }

    #[test]
    fn a_key_names_all_messages_that_may_have_it_until_nothing_is_under_way() {
        let mut ledger = Ledger::default();
        let holders = |ledger: &Ledger| {
            let rows = ledger.with_key(MAILBOX, "k")?;
            Some(rows.iter().map(|(holder, _)| *holder).collect::<Vec<_>>())
        };
        ledger.give_key((MAILBOX, "k"), &[holder(0)], holder(1), CommitTicket(1));
        ledger.give_key((MAILBOX, "k"), &[], holder(2), CommitTicket(2));
        assert_eq!(
            holders(&ledger),
            Some(vec![holder(0), holder(1), holder(2)])
        );
        // The first fails, so that the oldest is still there when the second comes.
        ledger.settle_key(MAILBOX, "k", CommitTicket(1), false);
        assert_eq!(holders(&ledger), Some(vec![holder(0), holder(2)]));
        ledger.give_key((MAILBOX, "k"), &[], holder(3), CommitTicket(3));
        ledger.settle_key(MAILBOX, "k", CommitTicket(2), true);
        assert_eq!(holders(&ledger), Some(vec![holder(2), holder(3)]));
        ledger.settle_key(MAILBOX, "k", CommitTicket(3), true);
        assert_eq!(holders(&ledger), None);
    }
}
