//! `state.redb`: everything that is not a record, and what the journal has been emptied into.
//!
//! One redb table for each [`Table`] but those of the mail, with its name in lower case, bytes to
//! bytes. The key `log` of `meta` holds CBOR, a map with text keys; it changes in the same transaction as everything
//! else that came from the journal, so the state is always that of one frame. A copy of it is in a
//! redb table of its own, `facts`, so that no single page takes both along.
//!
//! It is a file of sealed rows (`log/rows.rs`). A start reads all of them once and checks them; a
//! file with damage is made anew of the rows that are intact (`log/exchange.rs`).
//!
//! | key | what |
//! | --- | --- |
//! | `v` | format of the folder, 3; another one is refused and left alone |
//! | `epoch` | of the log |
//! | `salt` | of the journal |
//! | `last` | sequence of the youngest frame that was in the journal |
//! | `position` | `sequence` and `at` of the first frame that is not in redb |
//! | `first` | for each lane the first offset that is kept |
//! | `next` | for each lane the first offset that is not in a segment |
//! | `active_bytes` | for each lane the bytes of the segment that is written |
//! | `time` | `steady` and `device`, see [`TimeStamp`]; absent when nobody told |
//! | `wear` | `written_bytes` and `open_seconds`, see `log/wear.rs`; absent when nothing is known |
//! | `replaced` | for each lane: where the file of what outlived segments ends, see `log/kept.rs`; absent when all 0 |
//! | `kept_bytes` | for each lane the bytes of that file; absent when all 0 |
//! | `mail` | how often `mail.redb` was flushed, at least; missing where there never was one |
//! | `announced` | all gaps with lower numbers were announced; absent when 0 |
//! | `gaps` | how often gaps were changed, see `log/gap/copy.rs`; absent when 0 |
//!
//! The other tables belong to those who put into them; only `gaps` is the log's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use sync::{Epoch, Offset, PerLane, Table, TimeStamp};

use super::database::SharedDatabase;
use super::directory::Directory;
use super::gap::copy::Copy;
use super::gap::ledger::{Ledger, Marks};
use super::journal::{Ownership, Position};
use super::rows::{self, Puts, Rows, definition};
use super::{Gap, LogError, Wear, gap};

/// The name of the file.
pub(super) const NAME: &str = "state.redb";

/// Its tables.
pub(super) const TABLES: &[Table] = Table::ALL.split_at(Table::Mailboxes as usize).0;

/// What the log knows about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    v: u8,
    pub(super) epoch: Epoch,
    pub(super) salt: u64,
    pub(super) last: u64,
    pub(super) position: Position,
    pub(super) first: PerLane<Offset>,
    pub(super) next: PerLane<Offset>,
    pub(super) active_bytes: PerLane<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mail: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) announced: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) gaps: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<TimeStamp>,
    #[serde(default, skip_serializing_if = "Wear::is_nothing")]
    pub(super) wear: Wear,
    /// Where the file of what outlived segments ends.
    #[serde(default, rename = "replaced", skip_serializing_if = "is_nowhere")]
    pub(super) kept: PerLane<Offset>,
    /// What is in that file, in bytes.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) kept_bytes: PerLane<u64>,
}

/// The part of [`Facts`] that every format has.
#[derive(Deserialize)]
struct Version {
    v: u8,
}

impl Facts {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            v: FORMAT,
            epoch,
            salt: 0,
            last: 0,
            position: Position::default(),
            first: PerLane::default(),
            next: PerLane::default(),
            active_bytes: PerLane::default(),
            mail: None,
            announced: 0,
            gaps: 0,
            time: None,
            wear: Wear::default(),
            kept: PerLane::default(),
            kept_bytes: PerLane::default(),
        }
    }

    /// Whose the journal must be.
    pub(super) const fn journal(&self) -> Ownership {
        Ownership {
            epoch: self.epoch,
            salt: self.salt,
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
            return Err(Self::other_format(v));
        }
        ciborium::from_reader(bytes).map_err(unreadable)
    }

    fn other_format(found: u8) -> LogError {
        LogError::Format {
            path: NAME.to_owned(),
            found: found.into(),
            allowed: FORMAT.into(),
        }
    }
}

/// Makes the file, with all its tables and with `rows` in them.
pub(super) fn create(
    directory: &Arc<dyn Directory>,
    name: &str,
    cache_bytes: usize,
    facts: &Facts,
    rows: &Rows,
) -> Result<SharedDatabase, LogError> {
    SharedDatabase::create(directory, name, cache_bytes, |transaction| {
        rows::create(transaction, TABLES)?;
        rows::put(transaction, rows.rows.iter())?;
        put_facts(transaction, facts)
    })
}

/// Reads what the log knows about itself, from the copy where the entry is damaged.
///
/// # Errors
/// [`LogError::is_damage`] when the file or the entry is damaged; [`LogError::Format`] when it is
/// another version's.
pub(super) fn facts(state: &SharedDatabase) -> Result<Facts, LogError> {
    match facts_in(state, definition(Table::Meta)) {
        Err(error) if error.is_unreadable() => facts_in(state, COPY).map_err(|_| error),
        facts => facts,
    }
}

fn facts_in(
    state: &SharedDatabase,
    table: TableDefinition<'static, &'static [u8], &'static [u8]>,
) -> Result<Facts, LogError> {
    let bytes = state.read(|transaction| {
        let table = transaction.open_table(table)?;
        Ok(table.get(FACTS)?.map(|value| value.value().to_vec()))
    })?;
    let bytes = bytes.ok_or_else(|| LogError::corrupt(NAME, "it has no meta entry"))?;
    match rows::unseal(Table::Meta, FACTS, &bytes) {
        Some(value) => Facts::decode(value),
        // The first format had no checksums.
        None => match ciborium::from_reader(bytes.as_slice()) {
            Ok(Version { v: 1 }) => Err(Facts::other_format(1)),
            _ => Err(LogError::corrupt(NAME, "its meta entry is damaged")),
        },
    }
}

/// Commits changes, but those of the mail, with what is new of the gaps, and facts.
pub(super) fn commit(
    state: &SharedDatabase,
    puts: &Puts,
    gaps: Option<&Ledger>,
    facts: &Facts,
) -> Result<(), LogError> {
    state.write(|transaction| {
        rows::put(transaction, puts.range(..(Table::Mailboxes, Bytes::new())))?;
        if let Some(gaps) = gaps {
            put_gaps(transaction, gaps)?;
        }
        put_facts(transaction, facts)
    })
}

/// Reads the gaps for a change of them.
pub(super) fn ledger(state: &SharedDatabase, marks: Marks) -> Result<Ledger, LogError> {
    let rows = state.read(|transaction| {
        let mut rows = BTreeMap::new();
        for pair in transaction.open_table(definition(Table::Gaps))?.iter()? {
            let (key, value) = pair?;
            let value = rows::unseal(Table::Gaps, key.value(), value.value());
            let gap = value.and_then(Gap::decode);
            rows.extend(gap::number(key.value()).map(|number| (number, gap)));
        }
        Ok(rows)
    })?;
    Ok(Ledger::new(rows, marks))
}

/// Puts the gaps of the copy in the place of those that are there, and notes in the facts that this
/// was done.
pub(super) fn restore_gaps(
    state: &SharedDatabase,
    facts: &mut Facts,
    copy: &Copy,
) -> Result<(), LogError> {
    facts.gaps = copy.change;
    facts.announced = facts.announced.max(copy.announced);
    state.write(|transaction| {
        let mut table = transaction.open_table(definition(Table::Gaps))?;
        table.retain(|_, _| false)?;
        for (number, gap) in &copy.rows {
            put_gap(&mut table, *number, gap)?;
        }
        drop(table);
        put_facts(transaction, facts)
    })
}

/// Lists the gaps with their numbers, oldest first.
pub(super) fn gaps(state: &SharedDatabase) -> Result<Vec<(u64, Gap)>, LogError> {
    let mut gaps = Vec::new();
    rows::read(state, Table::Gaps, |key, value| {
        gaps.extend(gap::number(key).zip(Gap::decode(value)));
    })?;
    Ok(gaps)
}

fn put_facts(transaction: &WriteTransaction, facts: &Facts) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(definition(Table::Meta))?;
    let sealed = rows::seal(Table::Meta, FACTS, &facts.encode());
    meta.insert(FACTS, sealed.as_slice())?;
    transaction
        .open_table(COPY)?
        .insert(FACTS, sealed.as_slice())?;
    Ok(())
}

/// Writes the rows that have changed.
fn put_gaps(transaction: &WriteTransaction, gaps: &Ledger) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(definition(Table::Gaps))?;
    for (number, gap) in gaps.changes() {
        match gap {
            Some(gap) => put_gap(&mut table, number, gap)?,
            None => {
                table.remove(number.to_be_bytes().as_slice())?;
            }
        }
    }
    Ok(())
}

fn put_gap(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    number: u64,
    gap: &Gap,
) -> Result<(), redb::Error> {
    let key = number.to_be_bytes();
    let sealed = rows::seal(Table::Gaps, &key, &gap.encode());
    table.insert(key.as_slice(), sealed.as_slice())?;
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_empty(bytes: &PerLane<u64>) -> bool {
    *bytes == PerLane::default()
}

fn is_nowhere(offsets: &PerLane<Offset>) -> bool {
    *offsets == PerLane::default()
}

const COPY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("facts");
const FACTS: &[u8] = b"log";
const FORMAT: u8 = 3;

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
        (facts.salt, facts.last) = (9, 4);
        facts.next = PerLane([Offset(1), Offset(2), Offset(3)]);
        let golden =
            b"\xa8av\x03eepoch\x07dsalt\x09dlast\x04hposition\xa2hsequence\x05bat\x19\x10\x00\
            efirst\x83\x00\x00\x00dnext\x83\x01\x02\x03lactive_bytes\x83\x00\x00\x00";
        assert_eq!(facts.encode(), golden);
        assert_eq!(Facts::decode(golden).unwrap(), facts);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut facts = Facts::new(Epoch(7));
        facts.v = 4;
        let refused = Facts::decode(&facts.encode());
        assert!(matches!(refused, Err(LogError::Format { found: 4, .. })));
        let later = b"\xa2av\x05cnew\x01";
        assert!(matches!(
            Facts::decode(later),
            Err(LogError::Format { found: 5, .. })
        ));
    }
}
