//! The part of opening that looks at `state.redb`, and makes it anew of what is left of it.
//!
//! The new file is complete before the damaged one is renamed, and both renamings may be cut: see
//! [`Recovery::finish_exchange`].

use super::super::database::SharedDatabase;
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
        let state = match self.open_database(state::NAME) {
            Ok(state) => state,
            Err(error) if error.is_damage() => {
                self.set_aside(state::NAME)?;
                return Ok(StateFound::Nothing);
            }
            Err(error) => return Err(error),
        };
        let facts = match state::facts(&state) {
            Err(error) if !error.is_unreadable() => return Err(error),
            facts => facts.ok(),
        };
        if let Some(facts) = &facts
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

    /// Puts a new file with these rows in the place of a damaged one, which is set aside. On a full
    /// disk the room comes from the reserve.
    pub(super) fn exchange_state(
        &mut self,
        facts: &Facts,
        rows: &Rows,
    ) -> Result<SharedDatabase, LogError> {
        let made = match self.create_salvaged(facts, rows) {
            Err(error) if error.is_full() && self.has(reserve::NAME) => {
                reserve::give_back(self.directory.as_ref())?;
                self.names.retain(|known| known != reserve::NAME);
                self.create_salvaged(facts, rows)
            }
            made => made,
        };
        made?.close()?;
        self.report.lost_rows = rows.lost;
        self.set_aside(state::NAME)?;
        self.take_salvaged()?;
        self.names.push(state::NAME.to_owned());
        self.open_database(state::NAME)
    }

    /// Goes on with an exchange that was cut.
    pub(super) fn finish_exchange(&mut self) -> Result<(), LogError> {
        if !self.has(SALVAGED) {
            return Ok(());
        }
        if self.has(state::NAME) {
            self.names.retain(|known| known != SALVAGED);
            return self.remove(SALVAGED);
        }
        self.take_salvaged()?;
        self.names.retain(|known| known != SALVAGED);
        self.names.push(state::NAME.to_owned());
        Ok(())
    }

    fn create_salvaged(&self, facts: &Facts, rows: &Rows) -> Result<SharedDatabase, LogError> {
        let cache_bytes = self.settings.cache_bytes;
        state::create(&self.directory, SALVAGED, cache_bytes, facts, rows)
    }

    fn take_salvaged(&self) -> Result<(), LogError> {
        self.directory
            .rename(SALVAGED, state::NAME)
            .and_then(|()| self.directory.sync())
            .map_err(LogError::file("rename", SALVAGED))
    }
}

/// A whole state that waits for its name.
pub(super) const SALVAGED: &str = "state.redb.salvaged";
