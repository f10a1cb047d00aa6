//! The frame of what outlives a segment: the latest of their topics, appended anew.

use sync::{Change, Record, WallTime};

use super::super::files::Anew;
use super::super::{Batch, Committed, Event, Gap, frame, gap, latest};
use super::Writer;

impl Writer {
    /// Appends the latest of their topics anew, with the gap that counts the others. What was
    /// committed since the files were lent has a say: a record with a younger one of its topic
    /// behind it goes with the others. Without room it is left for another time.
    pub(super) fn store_anew(&mut self, anew: Anew, wall: WallTime) {
        let lane = anew.lane();
        let (mut trim, records) = anew.without_topics_of(&self.fresh.records[lane]);
        // A reader may have found damage meanwhile in what the job has looked at.
        let known = self.known_gaps();
        trim.gap = trim.gap.take_if(|gap| gap::leave_out(gap, &known));
        let append = |record: &Record| Change::Append {
            lane,
            record: record.clone(),
        };
        let mut changes: Vec<Change> = records.iter().map(append).collect();
        changes.push(latest::replaced(lane, trim.first));
        let noted = trim.gap.iter().map(Gap::to_change);
        let batch = Batch {
            changes: noted.chain(changes.iter().cloned()).collect(),
        };
        if !self.has_room_for(frame::padded_bytes(&batch)) {
            return;
        }
        let first = self.next;
        if let Err(error) = self.journal.write(&batch, wall, first) {
            self.note_outcome(Err(error), wall);
            return;
        }
        let mut committed = Committed::default();
        changes
            .iter()
            .for_each(|change| self.take(change, &mut committed));
        if let Some(gap) = &trim.gap {
            self.fresh.gaps.push(gap.clone());
            self.fresh.unseen_since.get_or_insert(wall);
        }
        if !records.is_empty() {
            self.events.push(Event::StoredAnew {
                lane,
                first: first[lane],
                records,
            });
        }
        if let Some(files) = &mut self.files {
            files.ready.push(trim);
        }
    }
}
