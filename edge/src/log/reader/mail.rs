//! The part of reading that looks into `mail.redb`, and at what is committed and not yet in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use redb::ReadTransaction;
use sync::{Lane, Table};

use super::super::database::SharedDatabase;
use super::super::files::Files;
use super::super::rows;
use super::super::{Committed, Gap, LogError, SharedMail, gap, mail};
use super::{Budget, Reader};

/// A run of rows of a mail table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Keys and values, in growing order of keys.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// The key of the next row; `None` when all was seen.
    pub next: Option<Vec<u8>>,
}

/// Damage that a read of the mail came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A row does not match its checksum. It is read as if it were not there.
    Row {
        /// Its table.
        table: Table,
        /// Its key.
        key: Vec<u8>,
    },
    /// redb can't go on in the file: [`Writer::mend_mail`](super::super::Writer::mend_mail) saves what is whole of it.
    File,
}

impl Damage {
    /// Makes the gap that a damaged message is written down as; `lane` is the priority that its key
    /// names. `None` for rows of other tables, which nobody was promised, and for the file.
    #[must_use]
    pub fn gap(&self, lane: Lane) -> Option<Gap> {
        match self {
            Self::Row {
                table: Table::Mail,
                key,
            } => Some(Gap::of_mail(lane, key, 1)),
            _ => None,
        }
    }
}

/// What the reader knows of the mail.
#[derive(Debug)]
pub(super) struct Mail {
    file: Option<SharedDatabase>,
    /// Committed and, for all that the reader heard, not yet in the file; with its number.
    waiting: BTreeMap<(Table, Bytes), (u64, Option<Bytes>)>,
    /// Changes since the log was opened.
    changes: u64,
    damage: VecDeque<Damage>,
    /// Damaged rows that were told.
    told: BTreeSet<u64>,
    is_file_told: bool,
}

impl Mail {
    pub(super) fn new(files: &Files) -> Self {
        let waiting = mail::changes(&files.puts);
        Self {
            file: files.mail.clone(),
            waiting: waiting
                .map(|(place, value)| (place.clone(), (0, value.clone())))
                .collect(),
            changes: files.cut.mail_changes,
            damage: VecDeque::new(),
            told: BTreeSet::new(),
            is_file_told: false,
        }
    }

    pub(super) fn take(&mut self, committed: &Committed) {
        for (place, value) in &committed.mail {
            self.waiting
                .insert(place.clone(), (self.changes, value.clone()));
            self.changes += 1;
        }
    }

    pub(super) fn flushed(&mut self, up_to: u64, file: &SharedMail) {
        self.waiting.retain(|_, (number, _)| *number >= up_to);
        self.file = Some(file.0.clone());
    }

    pub(super) const fn exchanged(&mut self) {
        self.is_file_told = false;
    }

    fn note_row(&mut self, table: Table, key: &[u8]) {
        if self.told.len() < TOLD_ROWS && self.told.insert(gap::fingerprint(table, key)) {
            let key = key.to_vec();
            self.damage.push_back(Damage::Row { table, key });
        }
    }

    /// Notes damage that keeps redb from reading on.
    fn note_failure(&mut self, error: &LogError) {
        if error.is_lasting() && !std::mem::replace(&mut self.is_file_told, true) {
            self.damage.push_back(Damage::File);
        }
    }
}

impl Reader {
    /// Finds a row of a mail table. A damaged one is as none, and is noted for
    /// [`Reader::poll_damage`].
    ///
    /// # Errors
    /// When the file can't be read at the moment.
    ///
    /// # Panics
    /// When the table is none of the mail's.
    ///
    /// # Caveats
    /// What is durable is shown, a commit whose answer is still on its way to the reader maybe a
    /// moment early, and in part.
    pub fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        assert!(table.is_mail(), "other tables are read at the start only");
        let place = (table, Bytes::copy_from_slice(key));
        if let Some((_, value)) = self.mail.waiting.get(&place) {
            return Ok(value.as_ref().map(|value| value.to_vec()));
        }
        let Some(file) = &self.mail.file else {
            return Ok(None);
        };
        let sealed = file.read(|transaction| {
            let open = transaction.open_table(rows::definition(table))?;
            Ok(open.get(key)?.map(|value| value.value().to_vec()))
        });
        let Some(mut sealed) = sealed.inspect_err(|error| self.mail.note_failure(error))? else {
            return Ok(None);
        };
        match rows::unseal(table, key, &sealed).map(<[u8]>::len) {
            Some(bytes) => {
                sealed.truncate(bytes);
                Ok(Some(sealed))
            }
            None => {
                self.mail.note_row(table, key);
                Ok(None)
            }
        }
    }

    /// Walks the rows of a mail table from `from` on, up to before `end`. Damaged ones are passed
    /// over, and are noted for [`Reader::poll_damage`].
    ///
    /// # Errors
    /// When the file can't be read at the moment.
    ///
    /// # Panics
    /// When the table is none of the mail's.
    ///
    /// # Caveats
    /// Those of [`Reader::find`].
    pub fn walk(
        &mut self,
        table: Table,
        from: &[u8],
        end: &[u8],
        budget: Budget,
    ) -> Result<Walked, LogError> {
        assert!(table.is_mail(), "other tables are read at the start only");
        if from >= end {
            return Ok(Walked::default());
        }
        let place = |key: &[u8]| (table, Bytes::copy_from_slice(key));
        let waiting = self.mail.waiting.range(place(from)..place(end));
        let waiting = waiting.map(|((_, key), (_, value))| (key, value));
        let mut walk = Walk {
            table,
            budget,
            walked: Walked::default(),
            bytes: 0,
            damaged: Vec::new(),
            waiting: waiting.peekable(),
        };
        let done = match &self.mail.file {
            Some(file) => file.read(|transaction| walk.stored(transaction, from, end)),
            None => Ok(true),
        };
        if matches!(done, Ok(true)) {
            walk.waiting_before(None);
        }
        let Walk {
            walked, damaged, ..
        } = walk;
        for key in &damaged {
            self.mail.note_row(table, key);
        }
        done.inspect_err(|error| self.mail.note_failure(error))?;
        Ok(walked)
    }

    /// Gives damage that reads of the mail came by, each row and the file once. Beyond 1024 rows
    /// no more are told until the next start.
    pub fn poll_damage(&mut self) -> Option<Damage> {
        self.mail.damage.pop_front()
    }
}

/// A walk under way: two runs of rows, of which the one in memory counts where both have a key.
struct Walk<'a, W: Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>> {
    table: Table,
    budget: Budget,
    walked: Walked,
    bytes: usize,
    damaged: Vec<Vec<u8>>,
    waiting: std::iter::Peekable<W>,
}

impl<'a, W: Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>> Walk<'a, W> {
    /// Takes what the file has, with what is in memory between it. False when the budget is used
    /// up.
    fn stored(
        &mut self,
        transaction: &ReadTransaction,
        from: &[u8],
        end: &[u8],
    ) -> Result<bool, redb::Error> {
        let open = transaction.open_table(rows::definition(self.table))?;
        for pair in open.range::<&[u8]>(from..end)? {
            let (key, sealed) = pair?;
            let key = key.value();
            if !self.waiting_before(Some(key)) {
                return Ok(false);
            }
            if self
                .waiting
                .peek()
                .is_some_and(|(waiting, _)| waiting[..] == *key)
            {
                continue;
            }
            match rows::unseal(self.table, key, sealed.value()) {
                Some(value) if !self.push(key, value) => return Ok(false),
                Some(_) => {}
                None => self.damaged.push(key.to_vec()),
            }
        }
        Ok(true)
    }

    /// Takes what is in memory up to before a key, or all. False when the budget is used up.
    fn waiting_before(&mut self, key: Option<&[u8]>) -> bool {
        let is_before = |waiting: &Bytes| key.is_none_or(|key| waiting[..] < *key);
        while let Some((key, value)) = self.waiting.next_if(|(waiting, _)| is_before(waiting)) {
            if let Some(value) = value
                && !self.push(key, value)
            {
                return false;
            }
        }
        true
    }

    fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        let bytes = self.bytes + key.len() + value.len();
        let count = self.walked.rows.len();
        if count >= self.budget.records || (count > 0 && bytes > self.budget.bytes) {
            self.walked.next = Some(key.to_vec());
            return false;
        }
        self.bytes = bytes;
        self.walked.rows.push((key.to_vec(), value.to_vec()));
        true
    }
}

/// Damaged rows that are told one by one: with more of them the file is what is damaged.
const TOLD_ROWS: usize = 1024;
