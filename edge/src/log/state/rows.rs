//! Rows of the state, each with its checksum, and what can be saved of a damaged file.
//!
//! A damaged table is read from both ends as far as redb gets, so one bad page costs its rows and
//! not the table. Order and number of the rows are held against what redb says of them: a tree
//! whose pages point astray is noticed, and can't lead in a circle.

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata};
use sync::Table;

use super::super::LogError;
use super::super::database::SharedDatabase;
use super::definition;

/// Intact rows, as their owners gave them.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Rows {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// Rows that are missing: an estimate where a whole table can't be counted.
    pub(in super::super) lost: u64,
}

impl Rows {
    /// Whether nothing could be saved.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows of a table, in the order of their keys.
    pub(super) fn range(
        &self,
        table: Table,
    ) -> impl Iterator<Item = (&(Table, Vec<u8>), &Vec<u8>)> {
        let from = self.rows.range((table, Vec::new())..);
        from.take_while(move |((of, _), _)| *of == table)
    }

    fn read_table(&mut self, state: &SharedDatabase, table: Table) -> Result<(), LogError> {
        let before = self.rows.len();
        let mut take = |key: &[u8], sealed: &[u8]| {
            if let Some(value) = unseal(table, key, sealed) {
                self.rows.insert((table, key.to_vec()), value.to_vec());
            }
        };
        let mut ends = Ends::default();
        let forwards = damage_is_an_end(state.read(|transaction| {
            let open = transaction.open_table(definition(table))?;
            ends.expected = Some(open.len()?);
            for pair in open.iter()? {
                let (key, value) = pair?;
                if !ends.rises_to(key.value()) {
                    break;
                }
                take(key.value(), value.value());
            }
            Ok(())
        }));
        forwards?;
        let backwards = damage_is_an_end(state.read(|transaction| {
            let open = transaction.open_table(definition(table))?;
            for pair in open.iter()?.rev() {
                let (key, value) = pair?;
                if !ends.falls_to(key.value()) {
                    break;
                }
                take(key.value(), value.value());
            }
            Ok(())
        }));
        let found = (self.rows.len() - before) as u64;
        // Where redb can't say how many there were, one at least.
        let expected = ends.expected.unwrap_or(found + 1);
        self.lost += expected.saturating_sub(found);
        backwards
    }
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

/// Reads what can be had of a damaged state.
///
/// # Errors
/// When the disk fails; damage is no error.
pub(in super::super) fn rows(state: &SharedDatabase) -> Result<Rows, LogError> {
    let mut rows = Rows::default();
    for table in Table::ALL {
        rows.read_table(state, table)?;
    }
    Ok(rows)
}

/// Whether all tables are there, and all rows of them, intact.
///
/// # Errors
/// When the disk fails; damage is no error.
pub(in super::super) fn are_whole(state: &SharedDatabase) -> Result<bool, LogError> {
    for table in Table::ALL {
        let mut ends = Ends::default();
        let checked = state.read(|transaction| {
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
