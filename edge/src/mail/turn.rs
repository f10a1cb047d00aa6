//! Requests that take more than one turn, so that nobody else waits for them.

use super::Office;
use super::event::Ticket;
use super::fetch::Fetching;
use super::query::Querying;
use super::shelf::Shelf;

/// A request that goes on in its next turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// A fetch that passes over much that is over.
    Fetch(Box<Fetching>),
    /// A query that passes over much that is not asked for.
    Query(Box<Querying>),
}

impl Turn {
    pub(super) const fn ticket(&self) -> Ticket {
        match self {
            Self::Fetch(fetching) => fetching.ticket,
            Self::Query(querying) => querying.ticket,
        }
    }

    /// What it has found so far counts for.
    pub(super) const fn found_bytes(&self) -> usize {
        match self {
            Self::Fetch(fetching) => fetching.found_bytes(),
            Self::Query(querying) => querying.found_bytes(),
        }
    }
}

impl Office {
    /// Whether there is room for what a search found, between its turns and besides that of others.
    pub(super) fn has_room_for_found(&self, bytes: usize) -> bool {
        let others: usize = self.running.iter().map(Turn::found_bytes).sum();
        bytes == 0 || others + bytes <= self.settings.search_bytes_maximum
    }

    /// Gives the request that waited longest its turn.
    pub(super) fn take_turn(&mut self, shelf: &mut dyn Shelf) {
        match self.running.pop_front() {
            Some(Turn::Fetch(fetching)) => self.go_on_fetching(fetching, shelf),
            Some(Turn::Query(querying)) => self.go_on_querying(querying, shelf),
            None => {}
        }
    }
}
