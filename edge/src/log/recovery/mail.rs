//! The part of opening that looks at `mail.redb`. It reads no more of it than one page, unless the
//! last start did not get through.

use sync::{Lane, Table};

use super::super::database::SharedDatabase;
use super::super::exchange;
use super::super::journal::{Journal, Ownership, Replayed};
use super::super::mail::{self, MailFacts};
use super::super::rows;
use super::super::state::Facts;
use super::super::{Gap, LogError, Progress, reserve};
use super::Recovery;
use super::found::Found;

impl Recovery {
    /// Opens the mail of a log whose state is there, and notes in `facts` when it is lost.
    pub(super) fn open_mail(&mut self, found: &mut Found) -> Result<(), LogError> {
        if !self.settings.has_mail {
            return Ok(());
        }
        let known = found.facts.mail;
        let opened = self.find_mail(&told(&found.facts), found)?;
        // What is said now is not said again.
        found.facts.mail = opened.as_ref().map(|(_, of_file)| of_file.flush);
        if found.facts.mail < known {
            self.report.is_mail_lost = true;
            let name = format!("{} {known:?}", mail::NAME);
            found
                .gaps
                .push(Gap::of_mail(Lane::Normal, name.as_bytes(), 0));
        }
        found.mail = opened.map(|(file, _)| file);
        Ok(())
    }

    /// Opens the mail of a log whose state is lost and brings into it what the old journal has for
    /// it, before that goes.
    pub(super) fn rescue_mail(
        &mut self,
        found: &mut Found,
        journal: Option<&Journal>,
        replayed: &Replayed,
    ) -> Result<(), LogError> {
        let told = told(&found.facts);
        let known = self.find_mail(&told, found)?;
        let ownership = journal.map(Journal::ownership);
        let from = match (&known, ownership) {
            (Some((_, of_file)), Some(journal)) if of_file.is_of(journal) => of_file.sequence,
            // Nobody can say which of the frames it has already.
            (Some(_), _) => u64::MAX,
            // It was never flushed, for all that is known.
            (None, _) => 0,
        };
        let frames = replayed.frames.iter();
        for frame in frames.filter(|frame| frame.identity.sequence >= from) {
            found.take_puts(frame, Table::is_mail);
        }
        let flush = known.as_ref().map_or(0, |(_, of_file)| of_file.flush);
        let is_changed = mail::changes(&found.puts).next().is_some();
        found.facts.mail = (known.is_some() || is_changed).then_some(flush + 1);
        let sequence = replayed
            .frames
            .last()
            .map(|frame| frame.identity.sequence + 1);
        let journal = ownership.unwrap_or_else(|| found.facts.journal());
        let facts = MailFacts::new(flush + 1, journal, sequence.unwrap_or(0));
        let file = match known {
            Some((file, _)) => file,
            None if is_changed => {
                let cache_bytes = self.settings.cache_bytes;
                mail::create(&self.directory, mail::NAME, cache_bytes, &facts, &[])?
            }
            None => return Ok(()),
        };
        let step_bytes = self.settings.cache_bytes / 2;
        let changes = std::mem::take(&mut found.puts);
        let bring = |file| mail::commit(file, mail::changes(&changes), step_bytes, &facts);
        let file = match bring(&file) {
            // It was good for reading alone.
            Err(error) if error.is_unreadable() => {
                file.abandon();
                let (anew, _) = self.make_mail_anew(&told, found)?;
                bring(&anew)?;
                anew
            }
            done => done.map(|()| file)?,
        };
        found.mail = Some(file);
        Ok(())
    }

    /// Opens the file if it is there. A damaged one is made anew.
    fn find_mail(
        &mut self,
        told: &MailFacts,
        found: &mut Found,
    ) -> Result<Option<(SharedDatabase, MailFacts)>, LogError> {
        if !self.has(mail::NAME) {
            return Ok(None);
        }
        let opened = self.open_database(mail::NAME);
        match opened.and_then(|file| Ok((mail::facts(&file)?, file))) {
            // A flush may have written a damaged page anew, which redb's own checksums take for good.
            Ok((_, file)) if self.is_suspicious && !rows::are_whole(&file, mail::TABLES)? => {
                file.abandon();
                self.make_mail_anew(told, found).map(Some)
            }
            Ok((facts, file)) => {
                found.add_missing(mail::lost(&file));
                Ok(Some((file, facts)))
            }
            Err(error) if error.is_unreadable() => self.make_mail_anew(told, found).map(Some),
            Err(error) => Err(error),
        }
    }

    /// Puts what can be had of a damaged file into a new one.
    fn make_mail_anew(
        &mut self,
        told: &MailFacts,
        found: &mut Found,
    ) -> Result<(SharedDatabase, MailFacts), LogError> {
        let exchanged = self.exchange_mail(told)?;
        found.add_missing(exchanged.gaps);
        self.report
            .note_exchanged_mail(exchanged.aside, exchanged.lost_rows);
        let file = self.open_database(mail::NAME)?;
        let facts = mail::facts(&file)?;
        Ok((file, facts))
    }

    fn exchange_mail(&mut self, told: &MailFacts) -> Result<mail::Exchanged, LogError> {
        let cache_bytes = self.settings.cache_bytes;
        if self.has(reserve::NAME) {
            // Two files at a time take room, and the next maintenance takes it back.
            reserve::give_back(self.directory.as_ref())?;
            self.names.retain(|known| known != reserve::NAME);
        }
        let aside = exchange::free_name(self.directory.as_ref(), mail::NAME)?;
        let unwatched = Progress::default();
        mail::exchange(&self.directory, cache_bytes, told, None, aside, &unwatched)
    }
}

/// What a file says of itself that can't say it any more.
fn told(facts: &Facts) -> MailFacts {
    let Ownership { epoch, salt } = facts.journal();
    let flush = facts.mail.unwrap_or(0);
    MailFacts::new(flush, Ownership { epoch, salt }, facts.position.sequence)
}
