//! A file of sealed rows: a redb table for each [`Table`], bytes to bytes, in which every value has
//! a checksum. `state.redb` and `mail.redb` are such files.
//!
//! Every value has four bytes more than its owner gave: the CRC32C of table number, key and value,
//! little-endian, because redb checks its pages only when it repairs.
//!
//! A damaged table is read from both ends as far as redb gets, so one bad page costs its rows and
//! not the table. Order and number of the rows are held against what redb says of them: a tree
//! whose pages point astray is noticed, and can't lead in a circle.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use sync::Table;

use super::LogError;
use super::database::SharedDatabase;

/// Changes that wait for the next commit; the last one of a key wins. `None` removes it. Clones
/// share keys and values.
pub(super) type Puts = BTreeMap<(Table, Bytes), Option<Bytes>>;

/// A change as it is found in [`Puts`].
pub(super) type Put<'a> = (&'a (Table, Bytes), &'a Option<Bytes>);

/// Intact rows, as their owners gave them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Puts,
    /// Rows that are missing: an estimate where a whole table can't be counted.
    pub(super) lost: u64,
}

impl Rows {
    /// Reads what can be had of the tables of a damaged file.
    ///
    /// # Errors
    /// When the disk fails; damage is no error.
    pub(super) fn of(file: &SharedDatabase, tables: &[Table]) -> Result<Self, LogError> {
        let mut rows = Puts::new();
        let mut lost = 0;
        for table in tables {
            let missing = salvage(file, *table, |key, value| {
                if value.is_some() {
                    rows.insert((*table, key), value);
                }
                Ok(())
            })?;
            lost += missing.unwrap_or(1);
        }
        Ok(Self { rows, lost })
    }

    /// Whether nothing could be saved.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Gives the rows of a damaged table, each once, those that do not match their checksum without a
/// value. Says how many are lost, these included; `None` where redb can't say how many there were.
///
/// # Errors
/// When the disk fails, or `take` does; damage is no error.
pub(super) fn salvage(
    file: &SharedDatabase,
    table: Table,
    mut take: impl FnMut(Bytes, Option<Bytes>) -> Result<(), LogError>,
) -> Result<Option<u64>, LogError> {
    let mut found = 0;
    let mut failure = None;
    // Whether to go on.
    let mut row = |key: &[u8], sealed: &[u8]| {
        let value = unseal(table, key, sealed).map(Bytes::copy_from_slice);
        found += u64::from(value.is_some());
        failure = take(Bytes::copy_from_slice(key), value).err();
        failure.is_none()
    };
    let mut ends = Ends::default();
    damage_is_an_end(file.read(|transaction| {
        let open = transaction.open_table(definition(table))?;
        ends.expected = Some(open.len()?);
        for pair in open.iter()? {
            let (key, value) = pair?;
            if !ends.rises_to(key.value()) || !row(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }))?;
    file.renew();
    damage_is_an_end(file.read(|transaction| {
        let open = transaction.open_table(definition(table))?;
        for pair in open.iter()?.rev() {
            let (key, value) = pair?;
            if !ends.falls_to(key.value()) || !row(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }))?;
    file.renew();
    if let Some(failure) = failure {
        return Err(failure);
    }
    Ok(ends.expected.map(|expected| expected.saturating_sub(found)))
}

/// Whether tables are there, and all rows of them, intact.
///
/// # Errors
/// When the disk fails; damage is no error.
pub(super) fn are_whole(file: &SharedDatabase, tables: &[Table]) -> Result<bool, LogError> {
    for table in tables {
        let table = *table;
        let mut ends = Ends::default();
        let checked = file.read(|transaction| {
            let open = transaction.open_table(definition(table))?;
            let mut count = 0;
            for pair in open.iter()? {
                let (key, value) = pair?;
                let is_intact = unseal(table, key.value(), value.value()).is_some();
                if !is_intact || !ends.rises_to(key.value()) {
                    return Ok(false);
                }
                count += 1;
            }
            Ok(count == open.len()?)
        });
        match checked {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if error.is_unreadable() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Makes tables, so that none is missing later although nothing was ever put into it.
pub(super) fn create(transaction: &WriteTransaction, tables: &[Table]) -> Result<(), redb::Error> {
    for table in tables {
        transaction.open_table(definition(*table))?;
    }
    Ok(())
}

/// Makes changes, given in the order of [`Puts`].
pub(super) fn put<'a>(
    transaction: &WriteTransaction,
    changes: impl Iterator<Item = Put<'a>>,
) -> Result<(), redb::Error> {
    let mut changes = changes.peekable();
    while let Some(((table, _), _)) = changes.peek() {
        let table = *table;
        let mut open = transaction.open_table(definition(table))?;
        while let Some(((_, key), value)) = changes.next_if(|((of, _), _)| *of == table) {
            match value {
                Some(value) => open.insert(&key[..], seal(table, key, value).as_slice())?,
                None => open.remove(&key[..])?,
            };
        }
    }
    Ok(())
}

/// Walks a table in the order of its keys. Damaged rows are left out.
pub(super) fn read(
    file: &SharedDatabase,
    table: Table,
    mut entry: impl FnMut(&[u8], &[u8]),
) -> Result<(), LogError> {
    file.read(|transaction| {
        for pair in transaction.open_table(definition(table))?.iter()? {
            let (key, value) = pair?;
            if let Some(value) = unseal(table, key.value(), value.value()) {
                entry(key.value(), value);
            }
        }
        Ok(())
    })
}

/// How far a damaged table was read from either end.
#[derive(Default)]
struct Ends {
    expected: Option<u64>,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

impl Ends {
    fn rises_to(&mut self, key: &[u8]) -> bool {
        let rises = self.low.as_deref().is_none_or(|low| low < key);
        if rises {
            self.low = Some(key.to_vec());
        }
        rises
    }

    fn falls_to(&mut self, key: &[u8]) -> bool {
        let falls = self.high.as_deref().is_none_or(|high| key < high)
            && self.low.as_deref().is_none_or(|low| low < key);
        self.high = Some(key.to_vec());
        falls
    }
}

fn damage_is_an_end(read: Result<(), LogError>) -> Result<(), LogError> {
    match read {
        Err(error) if !error.is_unreadable() => Err(error),
        _ => Ok(()),
    }
}

/// Adds the checksum to a value.
pub(super) fn seal(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(value.len() + CRC_BYTES);
    sealed.extend_from_slice(value);
    sealed.extend_from_slice(&checksum(table, key, value).to_le_bytes());
    sealed
}

/// Gives the value without its checksum; `None` when it does not match.
pub(super) fn unseal<'a>(table: Table, key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (value, crc) = sealed.split_last_chunk::<CRC_BYTES>()?;
    (checksum(table, key, value) == u32::from_le_bytes(*crc)).then_some(value)
}

fn checksum(table: Table, key: &[u8], value: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&[table as u8]), key);
    crc32c::crc32c_append(place, value)
}

/// The redb table of a table.
pub(super) const fn definition(
    table: Table,
) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Meta => "meta",
        Table::Sessions => "sessions",
        Table::Subscriptions => "subscriptions",
        Table::Cursors => "cursors",
        Table::Handshakes => "handshakes",
        Table::Retained => "retained",
        Table::Gaps => "gaps",
        Table::Watermarks => "watermarks",
        Table::Mailboxes => "mailboxes",
        Table::MailTails => "mail_tails",
        Table::Mail => "mail",
        Table::MailKeys => "mail_keys",
        Table::MailDelayed => "mail_delayed",
        Table::MailExpiry => "mail_expiry",
        Table::MailGroups => "mail_groups",
        Table::Agents => "agents",
    })
}

const CRC_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_row_never_change() {
        let sealed = seal(Table::Cursors, b"k", b"value");
        assert_eq!(sealed[..5], *b"value");
        assert_eq!(sealed[5..], 0x78e3_f4c0_u32.to_le_bytes());
    }

    #[test]
    fn a_row_belongs_to_its_place() {
        let sealed = seal(Table::Cursors, b"k", b"value");
        assert_eq!(unseal(Table::Cursors, b"k", &sealed), Some(&b"value"[..]));
        assert_eq!(unseal(Table::Sessions, b"k", &sealed), None);
        assert_eq!(unseal(Table::Cursors, b"l", &sealed), None);
        assert_eq!(unseal(Table::Cursors, b"k", &sealed[..3]), None);
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(unseal(Table::Cursors, b"k", &damaged), None, "byte {at}");
        }
    }
}
