//! The end of opening: what was found becomes the files of a writer.

use std::sync::Arc;

use sync::PerLane;

use super::super::database::SharedDatabase;
use super::super::files::{Cut, Files};
use super::super::gap::ledger::Marks;
use super::super::journal::Journal;
use super::super::mail as post;
use super::super::retention::AgeClock;
use super::super::{Progress, Writer, reserve};
use super::Recovery;
use super::found::Found;

impl Recovery {
    pub(super) fn writer(
        &mut self,
        journal: Journal,
        state: SharedDatabase,
        found: Found,
    ) -> Writer {
        let has_reserve = self.has(reserve::NAME) || reserve::take(self.directory.as_ref());
        let announced = found.announced.max(found.facts.announced);
        self.wear = found.wear.unwrap_or_else(|| {
            let mut wear = found.facts.wear;
            // The state does not know of it.
            wear.written_bytes += journal.used_bytes();
            wear
        });
        self.meter.add(self.wear);
        let cut = Cut {
            journal: journal.cut(),
            ownership: journal.ownership(),
            time: None,
            mail_changes: post::changes(&found.puts).count() as u64,
        };
        let unflushed_bytes = PerLane::from_fn(|lane| {
            let waiting = found.lanes[lane].waiting.iter();
            waiting.map(|record| record.as_bytes().len() as u64).sum()
        });
        let files = Files {
            directory: Arc::clone(&self.directory),
            settings: self.settings.clone(),
            state,
            facts: found.facts,
            lanes: found.lanes,
            mail: found.mail,
            bad_mail: None,
            puts: found.puts,
            gaps: [found.gaps, found.noted].concat(),
            marks: Marks {
                announced,
                handed_out: announced,
            },
            has_fresh_gaps: true,
            is_copy_old: false,
            unseen_since: None,
            waiting_bytes: found.waiting_bytes,
            unflushed_bytes,
            made: Vec::new(),
            ready: Vec::new(),
            doomed: Vec::new(),
            failed_at: None,
            has_reserve,
            no_reserve_at: None,
            has_freed: false,
            clock: AgeClock::default(),
            meter: self.meter.clone(),
            progress: Progress::default(),
            images: self.images.clone(),
            copying: None,
            cut,
            emptied: None,
            events: Vec::new(),
        };
        Writer::new(journal, files)
    }
}
