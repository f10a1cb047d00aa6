//! The part of opening that looks at `state.redb`, and makes it anew of what is left of it.

use super::super::database::{READ_CACHE_BYTES, SharedDatabase};
use super::super::state::exchange::{self, SALVAGED};
use super::super::state::{self, Facts, Rows};
use super::super::{LogError, reserve};
use super::Recovery;

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
        if !self.has(state::NAME) {
            return Ok(StateFound::Nothing);
        }
        let (state, is_sound) = match self.open_database(state::NAME) {
            Ok(state) => (state, true),
            // Not good for writing, or not trusted: reading may do.
            Err(error) if error.is_damage() => match self.open_to_read() {
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
            && state::are_whole(&state)?
        {
            return Ok(StateFound::Whole(state, facts.clone()));
        }
        let rows = state::rows(&state)?;
        // Whether it can be closed or not, it is not written any more.
        let _ = state.close();
        match facts {
            Some(facts) => {
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
        let cache_bytes = self.settings.cache_bytes;
        let prepared = match exchange::prepare(&self.directory, cache_bytes, facts, rows) {
            Err(error) if error.is_full() && self.has(reserve::NAME) => {
                reserve::give_back(self.directory.as_ref())?;
                self.names.retain(|known| known != reserve::NAME);
                exchange::prepare(&self.directory, cache_bytes, facts, rows)
            }
            prepared => prepared,
        };
        prepared?;
        self.report.lost_rows = rows.lost;
        self.set_aside(state::NAME)?;
        exchange::finish(self.directory.as_ref())?;
        self.names.push(state::NAME.to_owned());
        self.open_database(state::NAME)
    }

    /// Goes on with an exchange that was cut.
    pub(super) fn finish_exchange(&mut self) -> Result<(), LogError> {
        if !self.has(SALVAGED) {
            return Ok(());
        }
        self.names.retain(|known| known != SALVAGED);
        if self.has(state::NAME) {
            return self.remove(SALVAGED);
        }
        exchange::finish(self.directory.as_ref())?;
        self.names.push(state::NAME.to_owned());
        Ok(())
    }
}
