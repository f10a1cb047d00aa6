//! The reading side, on the core thread.

use sync::{Lane, Offset, Record, Table};

use super::{Batch, Committed, Event, Gap, LogError};

/// How much one [`Reader::read`] may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At most this many records.
    pub records: usize,
    /// At most this many bytes of encoded records, but always one record when there is one.
    pub bytes: usize,
}

/// A run of records of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// In growing order. They start later than asked for when what was asked for is gone.
    pub records: Vec<(Offset, Record)>,
    /// Where to read on; equals [`Reader::head`] when everything was read.
    pub next: Offset,
    /// A damaged block that this read passed, for the first time: the driver hands it to
    /// [`Writer::note_gap`](super::Writer::note_gap).
    pub damaged: Option<Gap>,
}

/// Reads what is committed: segments, then what is in memory because it is not yet in a segment.
/// It is told about everything new, so it never waits for the writer, and holds no snapshot
/// between calls.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// Takes the records of a batch that was committed, in the order of the commits.
    pub fn committed(&mut self, batch: &Batch, committed: &Committed) {
        let _ = (batch, committed);
    }

    /// Follows a change of the files. Events are applied in order, after the commits before them.
    pub fn apply(&mut self, event: &Event) {
        let _ = event;
    }

    /// Reads records of a lane from `from` on. Sequential small reads are cheap: the block they
    /// come from is kept decoded.
    ///
    /// # Errors
    /// When a segment can't be opened or read at the moment. Damage is not an error, it is passed
    /// and reported in [`Chunk::damaged`].
    pub fn read(&mut self, lane: Lane, from: Offset, budget: Budget) -> Result<Chunk, LogError> {
        let _ = (lane, from, budget);
        Ok(Chunk::default())
    }

    /// The first offset of the lane that can still be read; equals [`Reader::head`] when none can.
    #[must_use]
    pub fn first(&self, lane: Lane) -> Offset {
        let _ = lane;
        Offset(0)
    }

    /// The offset after the last committed record of the lane.
    #[must_use]
    pub fn head(&self, lane: Lane) -> Offset {
        let _ = lane;
        Offset(0)
    }

    /// Reads a whole state table in the order of its keys. For the start: right after
    /// [`open`](super::open) it is exact, later it lacks what was committed and not yet flushed.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn read_state(
        &self,
        table: Table,
        entry: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), LogError> {
        let _ = (table, entry);
        Ok(())
    }

    /// Lists the gaps that are kept, oldest first, each with its growing number, from `from` on.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn gaps(&self, from: u64) -> Result<Vec<(u64, Gap)>, LogError> {
        let _ = from;
        Ok(Vec::new())
    }
}
