//! The durable log: three lanes of records and a few state tables, written by one thread, brought
//! into order by a second, and read by a third.
//!
//! It promises that what [`Writer::commit`] answered is on stable storage: a group of changes is
//! one write and one sync into a prewritten circular journal, and survives a power cut at any
//! point, recovery included. Later, by size and never by the clock, a [`Job`] empties the journal
//! into redb: lanes into chains of segment files, state into `state.redb`. Commits go on meanwhile.
//! A large group of nothing but records skips the detour, where nobody works on the segments: it is
//! brought into them at once, and the journal has a page that says so.
//!
//! A record is read back with its offset until retention removes it, and what retention removes while
//! somebody still wants it is written down as a [`Gap`] before it goes.
//!
//! It never reads a clock, never logs, never decides what is wanted, and never starts a thread:
//! facts come back as values and [`Event`]s, and times come in as arguments.
//!
//! ```text
//!  driver --- Batch ---> Writer --- one frame, one sync ---> journal
//!    ^                     | Job, or a large group             | by size
//!    |  Committed, Events  v                                   v
//!  Reader <-------- shared handles ------ {lane}-{first}.redb, mail.redb, state.redb
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `lock` | held by the one process that has the folder open |
//! | `journal` | the commit point; format in `log/journal.rs` and `log/frame.rs` |
//! | `state.redb` | the tables of [`Table`] but the mail's; format in `log/state.rs` |
//! | `mail.redb` | the tables of the mail, where there is some; format in `log/mail.rs` |
//! | `gaps` | the gaps once more; format in `log/gap/copy.rs` |
//! | `{lane}-{first offset, 20 digits}.redb` | a segment; format in `log/segment.rs` and `log/block.rs` |
//! | `{lane}-{first offset}-{end}.redb` | what outlived the segments up to `end`, see `log/kept.rs` |
//! | `state.redb.salvaged` | a state made of what was left of a damaged one, before it has its name |
//! | `mail.redb.salvaged` | the same of the mail |
//! | `reserve` | 1 MiB that is given back to get out of a full disk |
//! | `starting` | the next start checks every file: this one is under way, or found damage |
//! | `snapshot/` | a consistent copy of the log for a backup; segments are links where there can be some |
//! | `snapshot.new/` | one that is being made; removed at the next start |
//! | `*.new`, `{lane}-*.redb.salvaged` | a file being made; removed at the next start |
//! | `*.damaged-N` | a file that was damaged or foreign; never looked at again |

pub mod directory;
pub mod overlay;
pub mod simulated;

mod backend;
mod block;
mod cache;
mod database;
mod error;
mod event;
mod exchange;
mod files;
mod folder;
mod frame;
mod gap;
mod image;
mod intake;
mod journal;
mod kept;
mod lane;
mod latest;
mod mail;
mod pack;
mod reader;
mod rebuild;
mod recovery;
mod reserve;
mod retention;
mod rows;
mod run;
mod salvage;
#[cfg(test)]
mod samples;
mod segment;
mod settings;
mod snapshot;
mod standing;
mod state;
mod watch;
mod wear;
mod writer;

pub use database::contains_panics;
pub use error::LogError;
pub use event::Event;
pub use folder::{Folder, lane_bytes};
pub(crate) use gap::add_news;
pub use gap::{Gap, Parts, Reason, announced};
pub use intake::Intake;
pub use mail::SharedMail;
pub use reader::{Budget, Chunk, Damage, Reader, Walked};
pub use rebuild::rebuild_segment;
pub use recovery::{Opened, Report, distrust, is_of_a_log, open};
pub use segment::SharedSegment;
pub use settings::{LaneLimits, Overflow, Settings};
pub use wear::{Meter, Wear};
pub use writer::{Done, Job, Progress, Writer};

use bytes::Bytes;
use sync::{Change, Offset, PerLane, Table};

/// One group of changes: durable together in one journal frame, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they take effect. [`Table::Gaps`] and
    /// [`Table::Meta`] belong to the log itself and are not to be named, but for
    /// what [`announced`] gives.
    pub changes: Vec<Change>,
}

/// What a commit answers. Offsets are dense: the second append of the batch to a lane has the
/// offset after [`Committed::first`] of that lane, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the batch's first append to each lane; the lane's next offset where the batch
    /// has none.
    pub first: PerLane<Offset>,
    /// Its changes of the mail, in memory that writer and reader share.
    mail: Vec<((Table, Bytes), Option<Bytes>)>,
}
