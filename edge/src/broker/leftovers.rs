//! Rows of sessions that ended, until their deletion is durable: a later session of the same
//! client must not find them after a restart.
//!
//! Empty but for moments, unless the log refuses commits. Bounded by the limit of sessions, which
//! counts these clients as well.

use std::collections::{BTreeMap, BTreeSet};

use sync::{Change, Table};

use super::event::Ticket;

/// A row of a table.
pub(super) type Row = (Table, Vec<u8>);

/// What is left, by client identifier.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    clients: BTreeMap<Box<str>, Rows>,
    /// Whose rows the commits on their way delete.
    carried: BTreeMap<Ticket, Box<str>>,
}

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeSet<Row>,
    /// The last commit on its way that deletes all of them.
    carrier: Option<Ticket>,
}

impl Leftovers {
    /// Adds the rows of a session that ended.
    pub(super) fn add(&mut self, client_identifier: &str, rows: impl Iterator<Item = Row>) {
        let left = self.clients.entry(client_identifier.into()).or_default();
        left.rows.extend(rows);
    }

    /// The changes that delete what a client left; they must go with the commit of `ticket`.
    pub(super) fn deletions(&mut self, client_identifier: &str, ticket: Ticket) -> Vec<Change> {
        let Some(left) = self.clients.get_mut(client_identifier) else {
            return Vec::new();
        };
        left.carrier = Some(ticket);
        self.carried.insert(ticket, client_identifier.into());
        let rows = left.rows.iter().cloned();
        rows.map(|(table, key)| Change::Delete { table, key })
            .collect()
    }

    /// Notes that a commit is durable: what it carried is gone.
    pub(super) fn note_committed(&mut self, ticket: Ticket) {
        if let Some(client) = self.carried.remove(&ticket)
            && self.carrier(&client) == Some(ticket)
        {
            self.clients.remove(&client);
        }
    }

    /// Notes that a commit failed; says whether it leaves rows that no other commit deletes.
    pub(super) fn note_failed(&mut self, ticket: Ticket) -> bool {
        let Some(client) = self.carried.remove(&ticket) else {
            return false;
        };
        let left = self.clients.get_mut(&client);
        left.filter(|left| left.carrier == Some(ticket))
            .map(|left| left.carrier = None)
            .is_some()
    }

    /// Clients with rows that no commit on its way deletes.
    pub(super) fn stranded(&self) -> impl Iterator<Item = &str> {
        let stranded = self
            .clients
            .iter()
            .filter(|(_, left)| left.carrier.is_none());
        stranded.map(|(client, _)| &**client)
    }

    /// Whether rows of a client are left.
    pub(super) fn holds(&self, client_identifier: &str) -> bool {
        self.clients.contains_key(client_identifier)
    }

    /// Counts the clients.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    fn carrier(&self, client: &str) -> Option<Ticket> {
        self.clients.get(client)?.carrier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u8) -> Row {
        (Table::Sessions, vec![key])
    }

    #[test]
    fn rows_stay_until_the_last_commit_that_deletes_all_of_them_is_durable() {
        let mut leftovers = Leftovers::default();
        assert!(leftovers.deletions("a", Ticket(0)).is_empty());
        leftovers.add("a", [row(1)].into_iter());
        assert_eq!(leftovers.deletions("a", Ticket(1)).len(), 1);
        leftovers.add("a", [row(1), row(2)].into_iter());
        assert_eq!(leftovers.deletions("a", Ticket(2)).len(), 2);
        // The first knew nothing of the second row.
        leftovers.note_committed(Ticket(1));
        assert!(leftovers.holds("a"));
        assert!(leftovers.note_failed(Ticket(2)));
        assert!(leftovers.stranded().eq(["a"]));
        assert_eq!(leftovers.deletions("a", Ticket(3)).len(), 2);
        assert_eq!(leftovers.stranded().count(), 0);
        leftovers.note_committed(Ticket(3));
        assert_eq!(leftovers.len(), 0);
    }
}
