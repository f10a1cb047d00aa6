//! Fetches that wait for a message: found by their mailbox, their deadline and their ticket.
//!
//! One message may be for all of them. So those that are to look again do so in turns, each of which
//! gives no more bytes than an answer may have, or one message.

use std::collections::{BTreeMap, BTreeSet};

use sync::Instant;
use wire::mq9::Reply;

use super::Office;
use super::event::{Output, Ticket};
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
    /// Those that are to look again, and are found in no other way.
    awake: BTreeSet<Ticket>,
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
        self.awake.remove(&ticket);
        Some(fetching)
    }

    /// Lets a fetch look again in one of the next turns.
    fn rouse(&mut self, ticket: Ticket) {
        if let Some(fetching) = self.all.get(&ticket) {
            self.by_mailbox.remove(&(fetching.mailbox, ticket));
            self.by_deadline.remove(&(fetching.until, ticket));
            self.awake.insert(ticket);
        }
    }

    /// Whether some are to look again now.
    pub(super) fn is_roused(&self) -> bool {
        !self.awake.is_empty()
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
}

impl Office {
    /// A message is there for everybody to see.
    pub(super) fn wake(&mut self, place: Place) {
        if let Place::Mail { mailbox, .. } = place {
            self.wake_mailbox(mailbox);
        }
    }

    /// Lets all fetches of a mailbox look again.
    pub(super) fn wake_mailbox(&mut self, mailbox: Number) {
        for ticket in self.waiting.of_mailbox(mailbox) {
            self.waiting.rouse(ticket);
        }
    }

    /// Lets those fetches look again whose time is over.
    pub(super) fn end_waiting(&mut self) {
        while let Some(&(until, ticket)) = self.waiting.by_deadline.first()
            && until <= self.now.instant
        {
            self.waiting.rouse(ticket);
        }
    }

    /// Lets fetches look again until they gave as much as a turn may give.
    pub(super) fn serve_roused(&mut self, shelf: &mut dyn Shelf) {
        let mut given = 0;
        while given < self.settings.answer_bytes_maximum
            && let Some(ticket) = self.waiting.awake.pop_first()
        {
            let said = self.outputs.len();
            if let Some(fetching) = self.waiting.take(ticket) {
                self.go_on_fetching(fetching, shelf);
            }
            let answers = self.outputs.range(said..);
            given += answers.map(message_bytes).sum::<usize>();
        }
    }
}

/// What the messages of an answer take.
fn message_bytes(output: &Output) -> usize {
    match output {
        Output::Answer {
            reply: Reply::Messages { messages, .. },
            ..
        } => {
            let bytes = messages
                .iter()
                .map(|it| it.payload.len() + it.headers.len());
            bytes.sum()
        }
        _ => 0,
    }
}
