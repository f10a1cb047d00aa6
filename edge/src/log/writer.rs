//! The writing side, on a thread of its own.

use sync::{Offset, PerLane, WallTime};

use super::{Batch, Committed, Event, Gap, LogError};

/// Makes batches durable and keeps the files in order. It owns everything that is written; there
/// is one a folder.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// Makes a batch durable: one write and one sync of the journal. When it returns, the batch
    /// may be acknowledged.
    ///
    /// # Errors
    /// When the batch can't be stored. Nothing of it counts then: no offset is used up.
    pub fn commit(&mut self, batch: &Batch, wall: WallTime) -> Result<Committed, LogError> {
        let _ = (batch, wall);
        Ok(Committed::default())
    }

    /// Does what can wait until the acknowledgements are out: empties the journal when it is due,
    /// begins new segments, removes what nobody wants and what is over a limit. Call it after
    /// every commit, and at least every few seconds for the limits of age and after failures.
    ///
    /// Never fails as a whole: failures are events, and are tried again at most once a second.
    pub fn maintain(&mut self, wall: WallTime) -> Vec<Event> {
        let _ = wall;
        Vec::new()
    }

    /// Sets the lowest offset of each lane that any reader still wants. Segments wholly below are
    /// removed by [`Writer::maintain`]. Until it is called everything is wanted.
    pub fn release(&mut self, floors: PerLane<Offset>) {
        let _ = floors;
    }

    /// Writes down a gap that the reader found. Durable with the next flush.
    pub fn note_gap(&mut self, gap: Gap) {
        let _ = gap;
    }

    /// Empties the journal and closes all files, so that the next start has nothing to repair.
    /// Dropping the writer instead is as safe and makes the next start slower.
    ///
    /// # Errors
    /// When the journal could not be emptied; it then keeps what it holds for the next start.
    pub fn close(self, wall: WallTime) -> Result<(), LogError> {
        let _ = wall;
        Ok(())
    }

    /// How much waits in the journal, in bytes of the file: for metrics and tests.
    #[must_use]
    pub fn journal_used_bytes(&self) -> u64 {
        0
    }

    /// How many bytes the segments of each lane hold.
    #[must_use]
    pub fn lane_bytes(&self) -> PerLane<u64> {
        PerLane::default()
    }
}
