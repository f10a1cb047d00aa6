//! The part of opening that looks at `state.redb`, and makes it anew of what is left of it.

use super::super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::super::exchange::{self, salvaged};
use super::super::rows::{Rows, are_whole};
use super::super::state::{self, Facts, TABLES};
use super::super::{LogError, mail, reserve};
use super::Recovery;
use sync::Table;

/// What there is of a state.
pub(super) enum StateFound {
    /// No file, or none of which anything could be saved.
    Nothing,
    /// All of it, or the file made anew of what was saved.
    Whole(SharedDatabase, Facts),
    /// Rows, but not what the log says of itself. The file is still in its place.
    Rows(Rows),
}

impl Recovery {
    pub(super) fn open_state(&mut self) -> Result<StateFound, LogError> {
        self.has_lost_gaps = true;
        if !self.has(state::NAME) {
            return Ok(StateFound::Nothing);
        }
        let (state, is_sound) = match self.open_database(state::NAME) {
            Ok(state) => (state, true),
            // Not good for writing, or not trusted: reading may do.
            Err(error) if error.is_unreadable() => match self.open_to_read() {
                Ok(state) => (state, false),
                Err(_) => {
                    self.set_aside(state::NAME)?;
                    return Ok(StateFound::Nothing);
                }
            },
            Err(error) => return Err(error),
        };
        let facts = match state::facts(&state) {
            Err(error) if !error.is_unreadable() => return Err(error),
            facts => facts.ok(),
        };
        if let Some(facts) = &facts
            && is_sound
            && are_whole(&state, TABLES)?
        {
            self.has_lost_gaps = false;
            return Ok(StateFound::Whole(state, facts.clone()));
        }
        let rows = Rows::of(&state, TABLES)?;
        self.has_lost_gaps = !are_whole(&state, &[Table::Gaps])?;
        state.abandon();
        match facts {
            Some(mut facts) => {
                self.count_on_copy(&mut facts)?;
                let state = self.exchange_state(&facts, &rows)?;
                Ok(StateFound::Whole(state, facts))
            }
            None if rows.is_empty() => {
                self.set_aside(state::NAME)?;
                Ok(StateFound::Nothing)
            }
            None => Ok(StateFound::Rows(rows)),
        }
    }

    fn open_to_read(&self) -> Result<SharedDatabase, LogError> {
        SharedDatabase::open_sealed(&self.directory, state::NAME, READ_CACHE_BYTES)
    }

    /// Puts a new file with these rows in the place of a damaged one, which is set aside. On a full
    /// disk the room comes from the reserve.
    pub(super) fn exchange_state(
        &mut self,
        facts: &Facts,
        rows: &Rows,
    ) -> Result<SharedDatabase, LogError> {
        let prepared = match self.prepare_state(facts, rows) {
            Err(error) if error.is_full() && self.has(reserve::NAME) => {
                reserve::give_back(self.directory.as_ref())?;
                self.names.retain(|known| known != reserve::NAME);
                self.prepare_state(facts, rows)
            }
            prepared => prepared,
        };
        prepared?;
        self.report.lost_rows = rows.lost;
        self.set_aside(state::NAME)?;
        exchange::finish(self.directory.as_ref(), state::NAME)?;
        self.names.push(state::NAME.to_owned());
        self.open_database(state::NAME)
    }

    fn prepare_state(&self, facts: &Facts, rows: &Rows) -> Result<(), LogError> {
        let (name, cache_bytes) = (salvaged(state::NAME), self.settings.cache_bytes);
        state::create(&self.directory, &name, cache_bytes, facts, rows)?.close()
    }

    /// Goes on with exchanges that were cut.
    pub(super) fn finish_exchanges(&mut self) -> Result<(), LogError> {
        for name in [state::NAME, mail::NAME] {
            let salvaged = salvaged(name);
            if !self.has(&salvaged) {
                continue;
            }
            self.names.retain(|known| *known != salvaged);
            if self.has(name) {
                self.remove(&salvaged)?;
                continue;
            }
            exchange::finish(self.directory.as_ref(), name)?;
            self.names.push(name.to_owned());
        }
        Ok(())
    }
}
