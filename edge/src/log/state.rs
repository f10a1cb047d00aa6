//! `state.redb`: everything that is not a record, and what the journal has been emptied into.
//!
//! One redb table for each [`Table`], with its name in lower case, bytes to bytes. The key `log`
//! of `meta` holds CBOR, a map with text keys; it changes in the same transaction as everything
//! else that came from the journal, so the state is always that of one frame.
//!
//! | key | what |
//! | --- | --- |
//! | `v` | format of the folder, 1; a later one is refused and left alone |
//! | `epoch` | of the log |
//! | `position` | `sequence` and `at` of the first frame that is not in redb |
//! | `first` | for each lane the first offset that is kept |
//! | `next` | for each lane the first offset that is not in a segment |
//! | `active_bytes` | for each lane the bytes of the segment that is written |
//!
//! The other tables belong to those who put into them; only `gaps` is the log's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};
use sync::{Epoch, Offset, PerLane, Table};

use super::database::SharedDatabase;
use super::directory::Directory;
use super::journal::Position;
use super::{Gap, LogError, gap};

/// The name of the file.
pub(super) const NAME: &str = "state.redb";

/// What the log knows about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    v: u8,
    pub(super) epoch: Epoch,
    pub(super) position: Position,
    pub(super) first: PerLane<Offset>,
    pub(super) next: PerLane<Offset>,
    pub(super) active_bytes: PerLane<u64>,
}

/// The part of [`Facts`] that every format has.
#[derive(Deserialize)]
struct Version {
    v: u8,
}

/// Changes that wait for the next commit; the last one of a key wins. `None` removes it.
pub(super) type Puts = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

impl Facts {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            v: FORMAT,
            epoch,
            position: Position::default(),
            first: PerLane::default(),
            next: PerLane::default(),
            active_bytes: PerLane::default(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).expect("a vector takes every byte");
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let unreadable = |error| LogError::corrupt(NAME, format!("meta: {error}"));
        let Version { v } = ciborium::from_reader(bytes).map_err(unreadable)?;
        if v != FORMAT {
            return Err(LogError::Format {
                path: NAME.to_owned(),
                found: v.into(),
                allowed: FORMAT.into(),
            });
        }
        ciborium::from_reader(bytes).map_err(unreadable)
    }
}

/// Makes the file, with all its tables.
pub(super) fn create(
    directory: &Arc<dyn Directory>,
    cache_bytes: usize,
    facts: &Facts,
) -> Result<SharedDatabase, LogError> {
    SharedDatabase::create(directory, NAME, cache_bytes, |transaction| {
        for table in Table::ALL {
            transaction.open_table(definition(table))?;
        }
        put_facts(transaction, facts)
    })
}

/// Reads what the log knows about itself.
pub(super) fn facts(state: &SharedDatabase) -> Result<Facts, LogError> {
    let bytes = state.read(|transaction| {
        let table = transaction.open_table(definition(Table::Meta))?;
        Ok(table.get(FACTS)?.map(|value| value.value().to_vec()))
    })?;
    Facts::decode(&bytes.ok_or_else(|| LogError::corrupt(NAME, "it has no meta entry"))?)
}

/// Commits changes, gaps and facts together.
pub(super) fn commit(
    state: &SharedDatabase,
    puts: &Puts,
    gaps: &[Gap],
    gap_count: usize,
    facts: &Facts,
) -> Result<(), LogError> {
    state.write(|transaction| {
        for table in Table::ALL {
            let mut changed = puts.range((table, Vec::new())..).peekable();
            if changed.peek().is_none_or(|((of, _), _)| *of != table) {
                continue;
            }
            let mut open = transaction.open_table(definition(table))?;
            for ((_, key), value) in changed.take_while(|((of, _), _)| *of == table) {
                match value {
                    Some(value) => open.insert(key.as_slice(), value.as_slice())?,
                    None => open.remove(key.as_slice())?,
                };
            }
        }
        if !gaps.is_empty() {
            put_gaps(transaction, gaps, gap_count)?;
        }
        put_facts(transaction, facts)
    })
}

/// Walks a table in the order of its keys.
pub(super) fn read(
    state: &SharedDatabase,
    table: Table,
    mut entry: impl FnMut(&[u8], &[u8]),
) -> Result<(), LogError> {
    state.read(|transaction| {
        let table = match transaction.open_table(definition(table)) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            opened => opened?,
        };
        for pair in table.iter()? {
            let (key, value) = pair?;
            entry(key.value(), value.value());
        }
        Ok(())
    })
}

/// Lists the gaps with their numbers, oldest first.
pub(super) fn gaps(state: &SharedDatabase) -> Result<Vec<(u64, Gap)>, LogError> {
    let mut gaps = Vec::new();
    read(state, Table::Gaps, |key, value| {
        gaps.extend(gap::number(key).zip(Gap::decode(value)));
    })?;
    Ok(gaps)
}

fn put_facts(transaction: &WriteTransaction, facts: &Facts) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(definition(Table::Meta))?;
    meta.insert(FACTS, facts.encode().as_slice())?;
    Ok(())
}

/// Adds gaps under growing numbers; beyond the limit the oldest two of a lane become one.
fn put_gaps(
    transaction: &WriteTransaction,
    gaps: &[Gap],
    gap_count: usize,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(definition(Table::Gaps))?;
    let last = table.last()?.and_then(|(key, _)| gap::number(key.value()));
    for (number, gap) in (last.map_or(0, |last| last + 1)..).zip(gaps) {
        table.insert(number.to_be_bytes().as_slice(), gap.encode().as_slice())?;
    }
    while table.len()? > gap_count.max(FEWEST_GAPS) as u64 {
        let mut oldest = Vec::new();
        for pair in table.iter()?.take(FEWEST_GAPS) {
            let (key, value) = pair?;
            oldest.push((key.value().to_vec(), Gap::decode(value.value())));
        }
        let (removed, kept) = gap::merge_oldest(&oldest);
        table.remove(removed.as_slice())?;
        if let Some((key, gap)) = kept {
            table.insert(key.as_slice(), gap.encode().as_slice())?;
        }
    }
    Ok(())
}

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Meta => "meta",
        Table::Sessions => "sessions",
        Table::Subscriptions => "subscriptions",
        Table::Cursors => "cursors",
        Table::Handshakes => "handshakes",
        Table::Retained => "retained",
        Table::Gaps => "gaps",
        Table::Watermarks => "watermarks",
    })
}

const FACTS: &[u8] = b"log";
const FORMAT: u8 = 1;
/// One more than there are lanes: among so many gaps two are of the same lane.
const FEWEST_GAPS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_meta_entry_never_change() {
        let mut facts = Facts::new(Epoch(7));
        facts.position = Position {
            sequence: 5,
            at: 4096,
        };
        facts.next = PerLane([Offset(1), Offset(2), Offset(3)]);
        let golden = b"\xa6av\x01eepoch\x07hposition\xa2hsequence\x05bat\x19\x10\x00\
            efirst\x83\x00\x00\x00dnext\x83\x01\x02\x03lactive_bytes\x83\x00\x00\x00";
        assert_eq!(facts.encode(), golden);
        assert_eq!(Facts::decode(golden).unwrap(), facts);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut facts = Facts::new(Epoch(7));
        facts.v = 2;
        let refused = Facts::decode(&facts.encode());
        assert!(matches!(refused, Err(LogError::Format { found: 2, .. })));
        let later = b"\xa2av\x03cnew\x01";
        assert!(matches!(
            Facts::decode(later),
            Err(LogError::Format { found: 3, .. })
        ));
    }
}
