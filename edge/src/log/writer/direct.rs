//! Large groups of records, straight into the segments of their lanes.
//!
//! ```text
//!   records of a lane --> its segment (commits of redb) --> one frame that names them --> answer
//!                             | fails
//!                             v
//!                         one frame that holds them, as for a small group
//! ```
//!
//! Promises that what was answered is durable in a segment and that the journal knows of it: where
//! the end of that segment is damaged later, the frame says up to where records were there. What a
//! group costs is then one copy of its records and a page, and not two copies.
//!
//! Only groups that are nothing but records go this way. After a cut between the two steps records
//! are found that nobody was told of, which for a record alone is what not acknowledging it means;
//! a record that comes with a change of the state has to be durable with it, or not at all. A lane
//! that a group has little for stays in the frame: a commit of redb rewrites some pages of its own.
//!
//! Readers hear of it behind the answer, so that they have the records in memory for that moment and
//! no longer.
//!
//! Never waits for a job: while the files are lent, or were refused by the disk last, groups go
//! through the journal. Never gives an offset twice: what was begun here has its offsets used up,
//! even where no frame can be written and nothing is answered. The records stay with the files
//! then, and nothing else is committed before they are in segments, because a journal that failed
//! waits for that.

use sync::{Change, Lane, PerLane, WallTime};

use super::super::files::Files;
use super::super::frame::Span;
use super::super::standing::Standing;
use super::super::{Batch, Event, LogError};
use super::Writer;

impl Writer {
    /// The lanes of a batch whose records go straight into segments.
    pub(super) fn direct_lanes(&self, batch: &Batch) -> Vec<Lane> {
        let is_ready = |files: &Files| files.failed_at.is_none();
        if !self.files.as_deref().is_some_and(is_ready) {
            return Vec::new();
        }
        let mut bytes = PerLane::<usize>::default();
        for change in &batch.changes {
            let Change::Append { lane, record } = change else {
                return Vec::new();
            };
            bytes[*lane] += record.as_bytes().len();
        }
        let least = self.settings.direct_bytes;
        let lanes = Lane::ALL.into_iter();
        lanes.filter(|lane| bytes[*lane] >= least).collect()
    }

    /// Makes a batch durable, records of some lanes in segments, in a journal that has room for all
    /// of it. Gives what of it is in the journal alone.
    ///
    /// # Errors
    /// When the journal can't be written. The records of these lanes may come to light later.
    pub(super) fn commit_directly(
        &mut self,
        batch: &Batch,
        lanes: &[Lane],
        wall: WallTime,
    ) -> Result<Batch, LogError> {
        let span = Span::of(batch, self.next);
        let (direct, others) = divided(batch, lanes);
        let mut frame = Batch { changes: others };
        let files = self.lend();
        let mut files = files.expect("no lane is direct while the files are lent");
        let stored = files.store(direct, lanes);
        let is_stored = stored.is_ok();
        if stored.is_err() {
            files.note_outcome(stored, wall);
        }
        let standing = Standing::new(self.meter.wear(), files.lanes.0.iter());
        let is_sealed = |event: &Event| matches!(event, Event::SegmentSealed { .. });
        self.is_look_due |= files.events.iter().any(is_sealed) || files.is_over_limits();
        let before = self.events.len();
        self.take_back(files);
        self.own_events = self.events.split_off(before);
        for lane in lanes {
            self.next[*lane] = span.next[*lane];
        }
        if !is_stored {
            self.journal.write_frame(batch, wall, span)?;
            return Ok(frame);
        }
        frame.changes.push(standing.to_change());
        self.journal.write_frame(&frame, wall, span)?;
        frame.changes.pop();
        Ok(frame)
    }
}

/// The records of some lanes, and the other changes of a batch.
fn divided(batch: &Batch, lanes: &[Lane]) -> (Vec<Change>, Vec<Change>) {
    let is_direct =
        |change: &Change| matches!(change, Change::Append { lane, .. } if lanes.contains(lane));
    batch.changes.iter().cloned().partition(is_direct)
}
