//! Fetches that wait for a message: found by their mailbox, their deadline and their ticket.

use std::collections::{BTreeMap, BTreeSet};

use sync::Instant;

use super::Office;
use super::event::Ticket;
use super::fetch::Fetching;
use super::shelf::Shelf;
use super::stored::{Number, Place};

/// Of a fetch that waits, beside the name of its group.
pub(super) const WAITING_BYTES: usize =
    2 * (size_of::<Fetching>() + size_of::<(Instant, Ticket, Number, Ticket)>() + 64);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    all: BTreeMap<Ticket, Box<Fetching>>,
    by_mailbox: BTreeSet<(Number, Ticket)>,
    by_deadline: BTreeSet<(Instant, Ticket)>,
}

impl Waiting {
    pub(super) fn add(&mut self, fetching: Box<Fetching>) {
        let ticket = fetching.ticket;
        self.by_mailbox.insert((fetching.mailbox, ticket));
        self.by_deadline.insert((fetching.until, ticket));
        self.all.insert(ticket, fetching);
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Box<Fetching>> {
        let fetching = self.all.remove(&ticket)?;
        self.by_mailbox.remove(&(fetching.mailbox, ticket));
        self.by_deadline.remove(&(fetching.until, ticket));
        Some(fetching)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(until, _)| *until)
    }

    fn of_mailbox(&self, mailbox: Number) -> Vec<Ticket> {
        let range = (mailbox, Ticket(0))..=(mailbox, Ticket(u64::MAX));
        self.by_mailbox
            .range(range)
            .map(|(_, ticket)| *ticket)
            .collect()
    }

    fn is_awaited(&self, mailbox: Number) -> bool {
        let range = (mailbox, Ticket(0))..=(mailbox, Ticket(u64::MAX));
        self.by_mailbox.range(range).next().is_some()
    }
}

impl Office {
    /// A message is there for everybody to see.
    pub(super) fn wake(&mut self, place: Place, shelf: &mut dyn Shelf) {
        if let Place::Mail { mailbox, .. } = place
            && self.waiting.is_awaited(mailbox)
        {
            self.wake_mailbox(mailbox, shelf);
        }
    }

    /// Lets all fetches of a mailbox look again.
    pub(super) fn wake_mailbox(&mut self, mailbox: Number, shelf: &mut dyn Shelf) {
        for ticket in self.waiting.of_mailbox(mailbox) {
            if let Some(fetching) = self.waiting.take(ticket) {
                self.go_on_fetching(fetching, shelf);
            }
        }
    }

    /// Answers the fetches whose time is over.
    pub(super) fn end_waiting(&mut self, shelf: &mut dyn Shelf) {
        while let Some(&(until, ticket)) = self.waiting.by_deadline.first()
            && until <= self.now.instant
        {
            if let Some(fetching) = self.waiting.take(ticket) {
                self.go_on_fetching(fetching, shelf);
            }
        }
    }
}
