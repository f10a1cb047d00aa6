//! What the writer tells the reader and the driver.

use sync::{Lane, Offset, PerLane};

use super::{Gap, Intake, LogError, SharedMail, SharedSegment};

/// A fact about the log's files. The driver hands every event to
/// [`Reader::apply`](super::Reader::apply), in order and after the commits that came before it,
/// and logs or counts what it likes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Everything of the lane below `up_to` is in segments; the reader lets its copies go.
    Flushed {
        /// The lane.
        lane: Lane,
        /// The first offset that is not yet in a segment.
        up_to: Offset,
    },
    /// A new segment is open for writing.
    SegmentOpened {
        /// The lane.
        lane: Lane,
        /// Its first offset.
        first: Offset,
        /// The handle that writer and reader share.
        segment: SharedSegment,
    },
    /// A segment is complete and closed; the reader opens it for itself when needed.
    SegmentSealed {
        /// The lane.
        lane: Lane,
        /// Its first offset.
        first: Offset,
        /// The offset after its last.
        next: Offset,
    },
    /// A segment's file is gone. A [`Event::Trimmed`] came before.
    SegmentRemoved {
        /// The lane.
        lane: Lane,
        /// Its first offset.
        first: Offset,
    },
    /// The lane begins later than before. Readers below `first` jump there
    /// ([`Cursor::skip_gap`](sync::Cursor::skip_gap)).
    Trimmed {
        /// The lane.
        lane: Lane,
        /// The first offset that can still be read.
        first: Offset,
        /// What was dropped although wanted; `None` when everything was released.
        gap: Option<Gap>,
    },
    /// The oldest segments of a lane gave way to one with what outlives them, under the offsets that
    /// it had. An [`Event::Trimmed`] follows: who reads on from below finds what is left, and nobody
    /// finds anything again.
    Thinned {
        /// The lane.
        lane: Lane,
        /// The first offset that is left.
        first: Offset,
        /// Where the last of these segments ended.
        next: Offset,
    },
    /// What lanes take has changed. Whoever appends refuses what they do not.
    Intake {
        /// As it is now.
        intake: PerLane<Intake>,
    },
    /// Gaps that were not announced yet, with their numbers; the next come when a batch with
    /// [`announced`](super::announced) has said that these are. After a restart they come again.
    Gaps {
        /// Oldest first.
        gaps: Vec<(u64, Gap)>,
    },
    /// The state could not be written because it is damaged. It goes on in a new file with the
    /// rows that are intact.
    StateExchanged {
        /// The damaged file.
        aside: String,
        /// Rows that are lost. What is in memory of them lives until the next start.
        lost_rows: u64,
    },
    /// Changes of the mail are in `mail.redb`; the reader lets its copies go.
    MailFlushed {
        /// How many, since the log was opened.
        up_to: u64,
        /// The handle that writer and reader share.
        file: SharedMail,
    },
    /// The mail could not be read or written because its file is damaged. It goes on in a new file
    /// with the rows that are intact.
    MailExchanged {
        /// The damaged file.
        aside: String,
        /// Rows that are lost; `None` when all are.
        lost_rows: Option<u64>,
    },
    /// The copy that [`Writer::snapshot`](super::Writer::snapshot) asked for was made, or not.
    Snapshot {
        /// What went wrong, if anything; the log itself is as before.
        result: Result<(), LogError>,
    },
    /// Flushing or retention failed. Nothing acknowledged is lost: the journal still holds it, and
    /// a later [`Job`](super::Job) tries again.
    Failed {
        /// What went wrong.
        error: LogError,
    },
    /// Flushing works again after [`Event::Failed`].
    Recovered,
}
