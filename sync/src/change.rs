//! What a commit is made of: the only way anything becomes durable.

use alloc::vec::Vec;

use crate::{Lane, Record};

/// One durable change. Changes of one commit become durable together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Appends a record to a lane; the log gives it the lane's next offset.
    Append {
        /// Where it goes.
        lane: Lane,
        /// What is kept.
        record: Record,
    },
    /// Sets a key of a state table. Last one wins, so replaying it is harmless.
    Put {
        /// The table.
        table: Table,
        /// At most 65,535 bytes.
        key: Vec<u8>,
        /// The owner's own format, versioned by its owner.
        value: Vec<u8>,
    },
    /// Removes a key of a state table; removing a missing one is harmless.
    Delete {
        /// The table.
        table: Table,
        /// At most 65,535 bytes.
        key: Vec<u8>,
    },
}

impl Change {
    /// What it takes in memory: itself and all that it owns. A record counts as a whole, whoever else
    /// has it.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let owned = match self {
            Self::Append { record, .. } => record.as_bytes().len() + SHARE_BYTES,
            Self::Put { key, value, .. } => key.capacity() + value.capacity(),
            Self::Delete { key, .. } => key.capacity(),
        };
        size_of::<Self>() + owned
    }
}

/// Beside the bytes of a record that several hold: where they are, and how many hold it.
const SHARE_BYTES: usize = 24;

/// The tables of `state.redb`. The number is the one in journal frames and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// The log's own facts: format version, identity, epoch, journal position.
    Meta = 0,
    /// One CBOR value a client identifier.
    Sessions = 1,
    /// Key: client identifier, one zero byte, topic filter.
    Subscriptions = 2,
    /// Reader name to encoded cursors.
    Cursors = 3,
    /// Unfinished QoS 2 exchanges: client identifier, one zero byte, four bytes of the view's own.
    Handshakes = 4,
    /// Topic name to record.
    Retained = 5,
    /// Dropped ranges, written by the log alone.
    Gaps = 6,
    /// Origin to watermark.
    Watermarks = 7,
    /// Of the mail, as are all that follow: mail address to what was asked for when it was made.
    /// These tables may be large; they have a file of their own, which no start reads as a whole.
    Mailboxes = 8,
    /// Number of a mailbox to its counts: the next id above all.
    MailTails = 9,
    /// Number of the mailbox, priority, id to message.
    Mail = 10,
    /// Number of the mailbox, message key to where the message with that key is.
    MailKeys = 11,
    /// When it is due, number of the mailbox, place in the queue to message.
    MailDelayed = 12,
    /// When it is over, number of the mailbox, priority, id; no value.
    MailExpiry = 13,
    /// Number of the mailbox, name of the group to its position.
    MailGroups = 14,
    /// Name to agent.
    Agents = 15,
}

impl Table {
    /// All tables in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Meta,
        Self::Sessions,
        Self::Subscriptions,
        Self::Cursors,
        Self::Handshakes,
        Self::Retained,
        Self::Gaps,
        Self::Watermarks,
        Self::Mailboxes,
        Self::MailTails,
        Self::Mail,
        Self::MailKeys,
        Self::MailDelayed,
        Self::MailExpiry,
        Self::MailGroups,
        Self::Agents,
    ];

    /// Whether it is one of the mail's.
    #[must_use]
    pub const fn is_mail(self) -> bool {
        self as u8 >= Self::Mailboxes as u8
    }

    /// Finds the table with a stored number; `None` for one that this version does not know.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_found_by_its_number() {
        for (number, table) in (0..).zip(Table::ALL) {
            assert_eq!(table as u8, number);
            assert_eq!(Table::from_number(number), Some(table));
        }
        assert_eq!(Table::from_number(16), None);
        assert_eq!(Table::from_number(255), None);
    }
}
