//! The part of opening that looks at the gaps: those of the state, and their copy.

use sync::{PerLane, Table};

use super::super::database::SharedDatabase;
use super::super::gap::copy::{self, Copy};
use super::super::gap::ledger::{Ledger, Marks};
use super::super::rows::Rows;
use super::super::state::{self as tables, Facts};
use super::super::{Gap, LogError, gap, reserve};
use super::Recovery;
use super::found::Found;

impl Recovery {
    /// Reads the copy of the gaps. A damaged one is set aside.
    pub(super) fn read_copy(&mut self) -> Result<Option<Copy>, LogError> {
        let copy = Copy::read(self.directory.as_ref())?;
        if copy.is_none() && self.has(copy::NAME) {
            self.set_aside(copy::NAME)?;
        }
        Ok(copy)
    }

    /// Takes gaps from their copy that the state has not, or not any more. Gives how often those of
    /// the copy were changed.
    pub(super) fn bring_gaps_back(
        &mut self,
        state: &SharedDatabase,
        facts: &mut Facts,
    ) -> Result<Option<u64>, LogError> {
        let Some(mut copy) = self.read_copy()? else {
            return Ok(None);
        };
        let change = copy.change;
        if change > facts.gaps {
            if facts.gaps == 0 {
                // A program that counts no changes may have gone on without the copy.
                add_rows(&mut copy, tables::gaps(state)?);
            }
            match tables::restore_gaps(state, facts, &copy) {
                Err(error) if error.is_full() && self.has(reserve::NAME) => {
                    reserve::give_back(self.directory.as_ref())?;
                    self.names.retain(|known| known != reserve::NAME);
                    tables::restore_gaps(state, facts, &copy)?;
                }
                restored => restored?,
            }
        }
        Ok(Some(change))
    }

    /// Has the gaps of a state that lost them taken from their copy, if that has them.
    pub(super) fn count_on_copy(&mut self, facts: &mut Facts) -> Result<(), LogError> {
        if self.has_lost_gaps {
            let copy = Copy::read(self.directory.as_ref())?;
            if copy.is_some_and(|copy| copy.change >= facts.gaps) {
                facts.gaps = 0;
                self.has_lost_gaps = false;
            }
        }
        Ok(())
    }

    /// Writes down that gaps are lost: with state and copy, or with a frame that held them.
    pub(super) fn tell_of_lost_gaps(&self, found: &mut Found) {
        if self.has_lost_gaps && !self.report.is_new {
            let heads = PerLane::from_fn(|lane| found.lanes[lane].next());
            found.gaps.extend(Gap::forgotten(heads));
        }
    }

    /// Gives all gaps of a log whose state is lost: those of the copy, or rows that were saved, and
    /// what of the others these do not count already. Also old frames name gaps that are rows.
    pub(super) fn settle_gaps(
        &mut self,
        copy: Option<Copy>,
        rows: &Rows,
        found: &mut Found,
    ) -> Copy {
        let saved = || Copy::new(0, 0, saved_gaps(rows).collect());
        let copy = copy.unwrap_or_else(saved);
        let announced = found.announced.max(copy.announced);
        let known: Vec<Gap> = copy.gaps().collect();
        for gaps in [&mut found.gaps, &mut found.noted] {
            gaps.retain_mut(|gap| gap::leave_out(gap, &known));
        }
        self.report.gaps.clone_from(&found.gaps);
        let rows = copy.rows.into_iter();
        let rows = rows.map(|(number, gap)| (number, Some(gap))).collect();
        let marks = Marks {
            announced,
            handed_out: announced,
        };
        let mut ledger = Ledger::new(rows, marks);
        let news = found.gaps.drain(..).chain(found.noted.drain(..));
        news.for_each(|gap| ledger.add(&gap));
        ledger.shrink(self.settings.gap_count);
        Copy::new(copy.change + 1, announced, ledger.readable())
    }
}

/// Adds rows of a state that the copy does not count, and says that it has changed.
fn add_rows(copy: &mut Copy, rows: Vec<(u64, Gap)>) {
    let known: Vec<Gap> = copy.gaps().collect();
    for (number, mut gap) in rows {
        if gap::leave_out(&mut gap, &known) {
            let last = copy.rows.last().map_or(0, |(last, _)| last + 1);
            copy.rows.push((number.max(last), gap));
        }
    }
    copy.change += u64::from(copy.rows.len() > known.len());
}

fn saved_gaps(rows: &Rows) -> impl Iterator<Item = (u64, Gap)> {
    let gaps = rows
        .rows
        .iter()
        .filter(|((table, _), _)| *table == Table::Gaps);
    gaps.filter_map(|((_, key), value)| gap::number(key).zip(Gap::decode(value.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use sync::{Lane, WallTime};

    use super::super::super::rows::Puts;
    use super::super::super::simulated::SimulatedFolder;
    use super::super::super::{Opened, Settings, open};
    use super::*;

    fn reopen(folder: &SimulatedFolder) -> Opened {
        open(folder.directory(), Settings::default(), WallTime(1_000_000)).unwrap()
    }

    /// An older program went on without the copy, and what it wrote down was gone with the next start
    /// of this one.
    #[test]
    fn gaps_that_a_program_without_the_copy_has_written_down_are_kept() {
        let folder = SimulatedFolder::new();
        let directory = folder.directory();
        let gaps = [2, 3].map(|count| Gap::of_mail(Lane::Normal, &[count], count.into()));
        let mut log = reopen(&folder);
        assert!(log.writer.note_gap(gaps[0].clone()));
        log.writer.close().unwrap();
        let copy = Copy::read(directory.as_ref()).unwrap().unwrap();
        let mut log = reopen(&folder);
        assert!(log.writer.note_gap(gaps[1].clone()));
        log.writer.close().unwrap();
        let state = SharedDatabase::open(&directory, tables::NAME, 1 << 20).unwrap();
        let mut facts = tables::facts(&state).unwrap();
        facts.gaps = 0;
        tables::commit(&state, &Puts::new(), None, &facts).unwrap();
        state.close().unwrap();
        copy.write(directory.as_ref()).unwrap();
        for _ in 0..2 {
            let rows = reopen(&folder).reader.gaps(0).unwrap();
            assert_eq!(rows, [(0, gaps[0].clone()), (1, gaps[1].clone())]);
            directory.remove(tables::NAME).unwrap();
        }
    }
}
