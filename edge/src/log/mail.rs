//! `mail.redb`: mailboxes, their messages, groups and agents, as far as the journal was emptied.
//!
//! A file of sealed rows (`log/rows.rs`) with the tables of which [`Table::is_mail`] holds. It may
//! be large, so no start reads it as a whole: rows are checked when they are read. What it says of
//! itself is CBOR, a map with text keys, under `mail` of a redb table `facts`; it changes in the
//! last transaction of a flush.
//!
//! | key | what |
//! | --- | --- |
//! | `v` | format of the file, 1; another one is refused and left alone |
//! | `flush` | how often it was flushed |
//! | `epoch`, `salt` | of the journal that was emptied into it |
//! | `sequence` | of the first frame of that journal that is not in it |
//!
//! A flush writes here first and into `state.redb`, with the position of the journal, after that: a
//! power cut between the two has the journal put the same rows here again, which changes nothing.
//! `state.redb` names the number of the flush, so a file that is missing, or an old copy, is noticed.
//! When `state.redb` is lost, `sequence` tells which frames are not in here yet.
//!
//! A file that took the place of a damaged one says under `lost`, for ever, what it was made without:
//! an array of gaps. So they are known even if the power goes before `state.redb` has them.
//!
//! It is made at the first flush that has something for it.

use std::sync::Arc;

use bytes::Bytes;
use redb::{TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use sync::{Epoch, Lane, Table};

use super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::directory::Directory;
use super::exchange;
use super::journal::Ownership;
use super::rows::{self, Put, Puts};
use super::{Gap, LogError, Progress};

/// The name of the file.
pub(super) const NAME: &str = "mail.redb";

/// Its tables.
pub(super) const TABLES: &[Table] = Table::ALL.split_at(Table::Mailboxes as usize).1;

/// The handle of the mail's file, shared by writer and reader.
#[derive(Clone, Debug)]
pub struct SharedMail(pub(super) SharedDatabase);

/// What the file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MailFacts {
    v: u8,
    pub(super) flush: u64,
    epoch: Epoch,
    salt: u64,
    pub(super) sequence: u64,
}

/// The part of [`MailFacts`] that every format has.
#[derive(Deserialize)]
struct Version {
    v: u8,
}

/// What a damaged file gave way to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchanged {
    /// The damaged file.
    pub(super) aside: String,
    /// Rows that the new one lacks; `None` when it lacks everything.
    pub(super) lost_rows: Option<u64>,
    /// The messages among them.
    pub(super) gaps: Vec<Gap>,
}

/// Rows that could not be saved: estimates where a whole table can't be counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lost {
    rows: u64,
    /// Keys of messages whose rows are there and damaged, up to a limit.
    keys: Vec<Bytes>,
    /// Other messages; `None` when nobody can tell.
    messages: Option<u64>,
}

impl Lost {
    /// What is to be written down about it, but for what is written down already.
    fn gaps(&self, aside: &str) -> Vec<Gap> {
        let gap = |key: &[u8], count| Gap::of_mail(Lane::Normal, key, count);
        let mut gaps: Vec<Gap> = self.keys.iter().map(|key| gap(key, 1)).collect();
        if self.messages != Some(0) {
            // Without a count a gap says that nobody can tell.
            gaps.push(gap(aside.as_bytes(), self.messages.unwrap_or(0)));
        }
        gaps
    }
}

impl MailFacts {
    pub(super) const fn new(flush: u64, journal: Ownership, sequence: u64) -> Self {
        Self {
            v: FORMAT,
            flush,
            epoch: journal.epoch,
            salt: journal.salt,
            sequence,
        }
    }

    /// Whether a journal is the one that [`MailFacts::sequence`] speaks of.
    pub(super) fn is_of(&self, journal: Ownership) -> bool {
        (self.epoch, self.salt) == (journal.epoch, journal.salt)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).expect("a vector takes every byte");
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let unreadable = |error| LogError::corrupt(NAME, format!("facts: {error}"));
        match ciborium::from_reader(bytes).map_err(unreadable)? {
            Version { v: FORMAT } => ciborium::from_reader(bytes).map_err(unreadable),
            Version { v } => Err(LogError::Format {
                path: NAME.to_owned(),
                found: v.into(),
                allowed: FORMAT.into(),
            }),
        }
    }
}

/// Makes the file, with all its tables, and with what it was made without.
pub(super) fn create(
    directory: &Arc<dyn Directory>,
    name: &str,
    cache_bytes: usize,
    facts: &MailFacts,
    lost: &[Gap],
) -> Result<SharedDatabase, LogError> {
    SharedDatabase::create(directory, name, cache_bytes, |transaction| {
        rows::create(transaction, TABLES)?;
        put_lost(transaction, lost)?;
        put_facts(transaction, facts)
    })
}

/// Reads what the file says of itself.
///
/// # Errors
/// [`LogError::is_damage`] when the file or the entry is damaged; [`LogError::Format`] when it is
/// another version's.
pub(super) fn facts(file: &SharedDatabase) -> Result<MailFacts, LogError> {
    let value = entry(file, KEY)?;
    let value = value.ok_or_else(|| LogError::corrupt(NAME, "its facts are damaged"))?;
    MailFacts::decode(&value)
}

/// Reads what the file was made without, as far as that can be read.
pub(super) fn lost(file: &SharedDatabase) -> Vec<Gap> {
    let value = entry(file, LOST).ok().flatten();
    let gaps = value.map(|value| ciborium::from_reader(value.as_slice()));
    gaps.and_then(Result::ok).unwrap_or_default()
}

fn entry(file: &SharedDatabase, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
    let sealed = file.read(|transaction| {
        let table = transaction.open_table(FACTS)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    })?;
    let value = sealed
        .as_deref()
        .and_then(|it| rows::unseal(Table::Meta, key, it));
    Ok(value.map(<[u8]>::to_vec))
}

/// The changes of the mail among others.
pub(super) fn changes(puts: &Puts) -> impl Iterator<Item = Put<'_>> {
    puts.range((Table::Mailboxes, Bytes::new())..)
}

/// Makes changes in transactions of about `step_bytes`, the last one with the facts.
pub(super) fn commit<'a>(
    file: &SharedDatabase,
    changes: impl Iterator<Item = Put<'a>>,
    step_bytes: usize,
    facts: &MailFacts,
) -> Result<(), LogError> {
    let mut step = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let ((_, key), value) = change;
        bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        step.push(change);
        if bytes >= step_bytes {
            file.write(|transaction| rows::put(transaction, step.iter().copied()))?;
            step.clear();
            bytes = 0;
        }
    }
    file.write(|transaction| {
        rows::put(transaction, step.iter().copied())?;
        put_facts(transaction, facts)
    })
}

/// Puts a file made of the intact rows in the place of a damaged one, row by row, so that it takes
/// no memory. Where nothing can be read, or there is no room for two, it is an empty one: the mail
/// that comes must not wait for the one that was. `aside` is the name that the damaged one gets.
///
/// # Errors
/// When the disk fails. Another attempt with the same name goes on from there.
pub(super) fn exchange(
    directory: &Arc<dyn Directory>,
    cache_bytes: usize,
    facts: &MailFacts,
    open: Option<&SharedDatabase>,
    aside: String,
    progress: &Progress,
) -> Result<Exchanged, LogError> {
    if exchange::take_back(directory.as_ref(), NAME, &aside)? {
        let gaps = lost(&SharedDatabase::open_sealed(
            directory,
            NAME,
            READ_CACHE_BYTES,
        )?);
        let is_counted = gaps.iter().all(|gap| gap.count > 0);
        let messages = gaps.iter().map(|gap| gap.count).sum();
        return Ok(Exchanged {
            lost_rows: is_counted.then_some(messages),
            aside,
            gaps,
        });
    }
    let lost = match salvage(directory, cache_bytes, facts, &aside, progress) {
        Ok(lost) => Some(lost),
        Err(error) if error.is_unreadable() || error.is_full() => None,
        Err(error) => return Err(error),
    };
    if let Some(open) = open {
        // All who share it open the new one.
        open.abandon();
    }
    exchange::set_aside(directory.as_ref(), NAME, &aside)?;
    let Some(lost) = lost else {
        let gaps = vec![Gap::of_mail(Lane::Normal, aside.as_bytes(), 0)];
        create(directory, NAME, cache_bytes, facts, &gaps)?.close()?;
        return Ok(Exchanged {
            aside,
            lost_rows: None,
            gaps,
        });
    };
    exchange::finish(directory.as_ref(), NAME)?;
    Ok(Exchanged {
        gaps: lost.gaps(&aside),
        lost_rows: Some(lost.rows),
        aside,
    })
}

/// Makes the new file, complete, under the name that it has until it has its own.
fn salvage(
    directory: &Arc<dyn Directory>,
    cache_bytes: usize,
    facts: &MailFacts,
    aside: &str,
    progress: &Progress,
) -> Result<Lost, LogError> {
    let damaged = SharedDatabase::open_sealed(directory, NAME, READ_CACHE_BYTES)?;
    let facts = &self::facts(&damaged).unwrap_or(*facts);
    let name = exchange::salvaged(NAME);
    let begun = format!("{name}.new");
    let made = create(directory, &begun, cache_bytes, facts, &[])?;
    let copied = copy(&damaged, &made, cache_bytes / 2, facts, progress);
    let done = copied.and_then(|lost| {
        made.write(|transaction| put_lost(transaction, &lost.gaps(aside)))?;
        made.close()?;
        directory
            .rename(&begun, &name)
            .and_then(|()| directory.sync())
            .map_err(LogError::file("rename", &begun))?;
        Ok(lost)
    });
    damaged.abandon();
    if done.is_err() {
        // What is there of it must not be what keeps the disk full.
        drop(made);
        let _ = directory.remove(&begun);
    }
    done
}

fn copy(
    from: &SharedDatabase,
    to: &SharedDatabase,
    step_bytes: usize,
    facts: &MailFacts,
    progress: &Progress,
) -> Result<Lost, LogError> {
    let mut lost = Lost::default();
    for table in TABLES {
        let mut step = Puts::new();
        let mut bytes = 0;
        let mut is_any_whole = false;
        let missing = rows::salvage(from, *table, |key, value| {
            let Some(value) = value else {
                if *table == Table::Mail && lost.keys.len() < KEYS {
                    lost.keys.push(key);
                }
                return Ok(());
            };
            is_any_whole = true;
            bytes += key.len() + value.len();
            step.insert((*table, key), Some(value));
            if bytes < step_bytes {
                return Ok(());
            }
            bytes = 0;
            progress.step();
            let step = std::mem::take(&mut step);
            to.write(|transaction| rows::put(transaction, step.iter()))
        })?;
        commit(to, step.iter(), step_bytes, facts)?;
        lost.rows += missing.unwrap_or(1);
        if *table == Table::Mail {
            let told = lost.keys.len() as u64;
            // What led to none of them may be wrong about their number as well.
            let missing = missing.filter(|missing| *missing == 0 || is_any_whole);
            lost.messages = missing.map(|missing| missing.saturating_sub(told));
        }
    }
    Ok(lost)
}

fn put_facts(transaction: &WriteTransaction, facts: &MailFacts) -> Result<(), redb::Error> {
    let sealed = rows::seal(Table::Meta, KEY, &facts.encode());
    transaction
        .open_table(FACTS)?
        .insert(KEY, sealed.as_slice())?;
    Ok(())
}

fn put_lost(transaction: &WriteTransaction, gaps: &[Gap]) -> Result<(), redb::Error> {
    let mut bytes = Vec::new();
    ciborium::into_writer(gaps, &mut bytes).expect("a vector takes every byte");
    let sealed = rows::seal(Table::Meta, LOST, &bytes);
    transaction
        .open_table(FACTS)?
        .insert(LOST, sealed.as_slice())?;
    Ok(())
}

const FACTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("facts");
const KEY: &[u8] = b"mail";
const LOST: &[u8] = b"lost";
const FORMAT: u8 = 1;
/// Damaged messages that are told one by one.
const KEYS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_facts_never_change() {
        let journal = Ownership {
            epoch: Epoch(7),
            salt: 9,
        };
        let facts = MailFacts::new(3, journal, 5);
        let golden = b"\xa5av\x01eflush\x03eepoch\x07dsalt\x09hsequence\x05";
        assert_eq!(facts.encode(), golden);
        assert_eq!(MailFacts::decode(golden).unwrap(), facts);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let refused = MailFacts::decode(b"\xa2av\x02cnew\x01");
        assert!(matches!(refused, Err(LogError::Format { found: 2, .. })));
    }
}
