//! Where the office finds what it made durable.
//!
//! An interface and not an intention, because every read is bounded, answered at once, and says
//! nothing but what was committed: with a table in memory behind it the office is as deterministic
//! as without.

use std::fmt;

use sync::Table;

/// Rows of the mail tables as they are committed: what is durable, in the journal or behind it.
pub trait Shelf {
    /// Finds a row. A damaged one is as none.
    ///
    /// # Errors
    /// When the table can't be read at the moment.
    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Unreadable>;

    /// Walks the rows of a table from `from` on, in the order of their keys, up to before `end`.
    ///
    /// # Errors
    /// When the table can't be read at the moment.
    fn walk(
        &mut self,
        table: Table,
        from: &[u8],
        end: &[u8],
        page: Page,
    ) -> Result<Found, Unreadable>;
}

/// How much one walk gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many rows.
    pub rows: usize,
    /// At most so many bytes of keys and values, but always one row when there is one.
    pub bytes: usize,
}

/// A run of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Keys and values, in growing order of keys.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where to go on; `None` when all was seen.
    pub next: Option<Vec<u8>>,
}

/// The disk does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mail can't be read at the moment")
    }
}
