//! The part of flushing that fills `mail.redb`.

use std::io;

use super::super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::super::mail::{self, MailFacts, SharedMail};
use super::super::{Event, LogError, exchange, gap, recovery};
use super::Files;

impl Files {
    /// Puts a new file in the place of `mail.redb`, with the rows of it that are intact: a reader
    /// came upon [`Damage::File`](super::super::Damage). Takes as long as reading and writing it
    /// does. What fails is done by the next job.
    pub(in super::super) fn mend_mail(&mut self) -> Result<(), LogError> {
        self.exchange_mail()?;
        self.commit_mail()
    }

    /// Brings what waits for it into `mail.redb`, made or opened now if it was not before.
    pub(super) fn flush_mail(&mut self) -> Result<(), LogError> {
        if mail::changes(&self.puts).next().is_none() {
            return Ok(());
        }
        if self.bad_mail.is_some() {
            return self.mend_mail();
        }
        match self.commit_mail() {
            Err(error)
                if error.is_damage() || error.is_unreadable() && self.is_mail_unreadable() =>
            {
                self.exchange_mail()?;
                self.commit_mail()
            }
            done => done,
        }
    }

    /// Whether not even the beginning of the file can be read, a second after it could not either, on
    /// a disk that takes other files. All of the mail is given up for it, so less is no reason: a disk
    /// that fails as a whole may come back.
    fn is_mail_unreadable(&self) -> bool {
        let opened = || SharedDatabase::open_sealed(&self.directory, mail::NAME, READ_CACHE_BYTES);
        self.failed_at.is_some()
            && opened().is_err_and(|error| error.is_unreadable())
            && recovery::is_distrusted(self.directory.as_ref())
    }

    fn commit_mail(&mut self) -> Result<(), LogError> {
        let facts = self.mail_facts();
        let file = match &self.mail {
            Some(file) => file.clone(),
            None => self.open_mail(&facts)?,
        };
        self.mail = Some(file.clone());
        let step_bytes = self.settings.cache_bytes / 2;
        mail::commit(&file, mail::changes(&self.puts), step_bytes, &facts)?;
        // Nothing of it is needed any more, whatever becomes of the rest of the flush.
        self.puts.retain(|(table, _), _| !table.is_mail());
        self.facts.mail = Some(facts.flush);
        self.events.push(Event::MailFlushed {
            up_to: self.cut.mail_changes,
            file: SharedMail(file),
        });
        Ok(())
    }

    /// Opens the file, or makes it.
    fn open_mail(&self, facts: &MailFacts) -> Result<SharedDatabase, LogError> {
        let (directory, cache_bytes) = (&self.directory, self.settings.cache_bytes);
        // One that is there may be that of an attempt which failed behind giving it its name.
        let path = directory.path();
        directory.sync().map_err(LogError::file("sync", &path))?;
        match SharedDatabase::open(directory, mail::NAME, cache_bytes) {
            Err(LogError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                mail::create(directory, mail::NAME, cache_bytes, facts, &[])
            }
            opened => opened,
        }
    }

    fn exchange_mail(&mut self) -> Result<(), LogError> {
        let (cache_bytes, facts) = (self.settings.cache_bytes, self.mail_facts());
        let open = self.mail.as_ref();
        let (directory, progress) = (&self.directory, &self.progress);
        let aside = match self.bad_mail.take() {
            Some(aside) => aside,
            None => exchange::free_name(directory.as_ref(), mail::NAME)?,
        };
        self.bad_mail = Some(aside.clone());
        let exchanged = mail::exchange(directory, cache_bytes, &facts, open, aside, progress)?;
        self.bad_mail = None;
        if !exchanged.gaps.is_empty() {
            // Damage is seldom alone, and no other start looks at all of the mail.
            recovery::distrust(self.directory.as_ref());
            // The new file says itself what it was made without, so they are durable already.
            let known = self.known_gaps();
            let news = exchanged.gaps.into_iter();
            let news = news.filter_map(|mut gap| gap::leave_out(&mut gap, &known).then_some(gap));
            let before = self.gaps.len();
            self.gaps.extend(news);
            self.made.extend_from_slice(&self.gaps[before..]);
        }
        self.events.push(Event::MailExchanged {
            aside: exchanged.aside,
            lost_rows: exchanged.lost_rows,
        });
        Ok(())
    }

    /// What the file says of itself after a flush now.
    fn mail_facts(&self) -> MailFacts {
        let flush = self.facts.mail.map_or(1, |flush| flush + 1);
        let sequence = self.cut.journal.position.sequence;
        MailFacts::new(flush, self.cut.ownership, sequence)
    }
}
