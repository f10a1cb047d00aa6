//! The limits of the log, and what happens at each of them.

use std::time::Duration;

use sync::PerLane;

/// How large the log's files and memory may grow. All sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Size of the journal file, rounded down to whole 4 KiB pages, at least 16 of them. The
    /// largest batch fits once; when half of it is used the journal is emptied into redb.
    pub journal_bytes: u64,
    /// The journal is emptied into redb when it holds this much of records and state. Twice as much
    /// may come meanwhile; then commits wait. What waits is also in memory, twice counted but once kept:
    /// writer and reader share the records.
    pub flush_bytes: usize,
    /// Records of one lane that have at least this much in a group of nothing but records go straight
    /// into a segment, and not through the journal first. At least 1 KiB. With less than a commit
    /// of redb rewrites of its own it costs more flash than it saves.
    pub direct_bytes: usize,
    /// A segment that holds this much is sealed and a new one begins. Effective at most a quarter
    /// of the lane's `max_bytes`, so that small limits hold too.
    pub segment_bytes: u64,
    /// Page cache of each file that is open for writing: three segments, the state, the mail. Of a
    /// transaction at most half of it waits there; pages beyond are in the file before the commit.
    pub cache_bytes: usize,
    /// Decoded blocks that the reader keeps, for readers that come back for the next few records.
    pub read_cache_bytes: usize,
    /// Sealed segments that the reader keeps open; the least recently used is closed.
    pub open_segments: usize,
    /// Whether `mail.redb` is opened where it is there, so that mail can be read. Without, it is
    /// left alone, unless the journal holds rows for it.
    pub has_mail: bool,
    /// Gaps kept one by one; beyond it the oldest two of a lane become one. At
    /// least 7.
    pub gap_count: usize,
    /// Whether somebody announces gaps: they are handed out with
    /// [`Event::Gaps`](super::Event::Gaps).
    pub announces_gaps: bool,
    /// How much each lane may keep.
    pub lanes: PerLane<LaneLimits>,
    /// How much all lanes together may keep; `None` for as much as each may. Above it the lower
    /// lanes give way first.
    pub max_bytes: Option<u64>,
    /// Whether there may be records whose latest of a topic outlives its segment
    /// ([`Record::keeps_latest`](sync::Record::keeps_latest)).
    pub keeps_latest: bool,
    /// A number that nobody outside knows, fresh at each start. A journal made in this run is
    /// marked with it, so that no payload can be crafted to look like one of its frames.
    pub salt: u64,
}

/// How much one lane may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Bytes of all segments of the lane together.
    pub max_bytes: u64,
    /// Age of the newest record of a segment at which the segment goes; `None` keeps it. Measured
    /// with the time that the writer is given, which should be a
    /// [`SteadyTime`](sync::SteadyTime). Where it jumps forward all the same, that makes nothing
    /// older while the log is open.
    pub max_age: Option<Duration>,
    /// What gives way at the limit.
    pub overflow: Overflow,
}

/// What gives way when a lane is at its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest segment goes, wanted or not; what was still wanted becomes a gap.
    #[default]
    DropOldest,
    /// Nothing goes: who appends is told ([`Event::Intake`](super::Event::Intake)) and has to stop.
    Reject,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_age: None,
            overflow: Overflow::DropOldest,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            journal_bytes: 8 << 20,
            flush_bytes: 1 << 20,
            direct_bytes: 128 << 10,
            segment_bytes: 64 << 20,
            cache_bytes: 4 << 20,
            read_cache_bytes: 512 << 10,
            open_segments: 4,
            has_mail: false,
            gap_count: 1024,
            announces_gaps: false,
            lanes: PerLane::from_fn(|_| LaneLimits::default()),
            max_bytes: None,
            keeps_latest: false,
            salt: 0,
        }
    }
}
