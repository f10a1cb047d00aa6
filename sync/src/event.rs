//! What the engine is told and what it answers: the whole contract with its driver.
//!
//! The driver keeps four rules. It reports facts in the order in which they happened. It drains
//! [`crate::Engine::poll`] after each input, in order: what stands first must be durable first. It
//! answers each `Fetch`, `Checkpoint` and `Store` exactly once, and each `Connect` by exactly one
//! `Down` in the end, with at most one `Up` before it; a `Disconnect` that crosses with a `Down` is
//! obeyed already. And it never sends anything twice by
//! itself: retries belong to the engine alone.

use alloc::vec::Vec;

use embedded_io::ErrorKind;

use crate::{Lane, Offset, PerLane, Place, Record, Settings};

/// One of the engine's connections to the cloud, counted from 0; that of the topics apart is the
/// last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u8);

/// The driver's name for one message that came down and is not yet confirmed. Never used twice
/// within one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a lane of the log holds when the engine starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneExtent {
    /// The oldest record that still exists, or `head` when none does.
    pub first: Offset,
    /// The offset that the next record will get.
    pub head: Offset,
}

/// All that an engine begins with.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// Checked by [`crate::Engine::new`].
    pub settings: Settings,
    /// Of the generator behind the jitter. Equal seeds and inputs give equal outputs.
    pub seed: u64,
    /// What the log holds, read before the first append of this run.
    pub lanes: PerLane<LaneExtent>,
    /// The value of the last durable [`Output::Checkpoint`]; `None` sends everything there is.
    pub checkpoint: Option<&'a [u8]>,
}

/// A fact the driver reports.
#[derive(Clone, Debug)]
pub enum Input {
    /// Records became durable in a lane.
    Appended {
        /// The lane.
        lane: Lane,
        /// The offset that the next record will get.
        head: Offset,
    },
    /// The answer to [`Output::Fetch`].
    Fetched {
        /// The lane that was asked for.
        lane: Lane,
        /// What the route wants of the scanned range, in the order of offsets. Records that came
        /// from the cloud may be among them; the engine passes them over.
        records: Vec<(Offset, Record)>,
        /// Where the scan stopped: everything below was looked at.
        next: Offset,
    },
    /// The log could not be read; the engine asks again after a pause.
    FetchFailed {
        /// The lane that was asked for.
        lane: Lane,
    },
    /// Retention dropped everything below `first`. The log has written its gap itself.
    Trimmed {
        /// The lane.
        lane: Lane,
        /// The oldest record that still exists.
        first: Offset,
    },
    /// Retention dropped some records of a lane and left others between them. The log has written its
    /// gap itself; what was read and not yet sent is read again.
    Thinned {
        /// The lane.
        lane: Lane,
    },
    /// A connection is ready for records.
    Up {
        /// Which one.
        connection: ConnectionId,
        /// CONNACK's receive maximum; 65,535 when it named none, and 0 counts as 1.
        receive_maximum: u16,
        /// CONNACK's maximum packet size; `u32::MAX` when it named none.
        maximum_packet_bytes: u32,
    },
    /// A connection ended, or the attempt to make it failed. All that was in flight on it is
    /// unresolved from here on, and no answer to it may follow.
    Down {
        /// Which one.
        connection: ConnectionId,
        /// Why, for the operator and for the length of the pause.
        kind: ErrorKind,
    },
    /// The cloud took a record over. (PUBACK below 0x80.)
    Accepted {
        /// Where it was sent.
        connection: ConnectionId,
        /// Of the record.
        lane: Lane,
        /// Of the record.
        offset: Offset,
        /// The cloud's own position of the record in its topic, where it says so.
        server_offset: Option<u64>,
    },
    /// The cloud can't take a record of this topic now. (PUBACK 0x80, 0x97 and the like.)
    Refused {
        /// Where it was sent.
        connection: ConnectionId,
        /// Of the record.
        lane: Lane,
        /// Of the record.
        offset: Offset,
    },
    /// The cloud, or the bridge for it, will never take this record. (PUBACK 0x90, 0x99, and
    /// packets that can't be encoded.)
    Rejected {
        /// Where it was sent.
        connection: ConnectionId,
        /// Of the record.
        lane: Lane,
        /// Of the record.
        offset: Offset,
        /// The reason code, kept in the gap.
        reason: u8,
    },
    /// The operator wants everything from `from` on to be sent again, as far as it still exists.
    Replay {
        /// The lane.
        lane: Lane,
        /// The first offset to send again.
        from: Offset,
    },
    /// The value of the last [`Output::Checkpoint`] is durable.
    CheckpointDone,
    /// The value of the last [`Output::Checkpoint`] could not be made durable.
    CheckpointFailed,
    /// A message came down.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// The driver's name for it.
        token: Token,
        /// Where it was first stored, if its properties say so.
        place: Option<Place>,
    },
    /// The message of [`Output::Store`] is durable.
    Stored {
        /// Which message.
        token: Token,
    },
    /// The message of [`Output::Store`] could not be stored. It is never confirmed, so the cloud
    /// sends it again.
    StoreFailed {
        /// Which message.
        token: Token,
    },
    /// The gateway wants to end: a last checkpoint is made and every connection is left.
    Stop,
}

/// An intention the driver carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make this connection. Answered by `Up` and in the end by one `Down`.
    Connect {
        /// Which one.
        connection: ConnectionId,
    },
    /// Leave this connection, politely if it still listens. Answered by `Down`.
    Disconnect {
        /// Which one.
        connection: ConnectionId,
    },
    /// Read a lane. At most one is outstanding a lane. Answered by `Fetched` or `FetchFailed`.
    Fetch {
        /// The lane.
        lane: Lane,
        /// The first offset to look at.
        from: Offset,
        /// Stop after this many records.
        max_records: usize,
        /// Stop before exceeding this, but give one record however large it is.
        max_bytes: usize,
    },
    /// Publish a record, with the properties of [`crate::Place`]. Answered by `Accepted`,
    /// `Refused` or `Rejected`, or resolved by `Down`.
    Send {
        /// Where to.
        connection: ConnectionId,
        /// Of the record.
        lane: Lane,
        /// Of the record.
        offset: Offset,
        /// What to send; a repeat is byte for byte the same.
        record: Record,
    },
    /// Write down that records were given up. Must be durable no later than the next
    /// `Checkpoint`; may come again for the same offsets after a crash.
    Gap {
        /// The lane.
        lane: Lane,
        /// The first offset given up.
        first: Offset,
        /// How many offsets from there.
        count: u64,
        /// Encoded bytes of these records.
        bytes: u64,
        /// Why.
        reason: GapReason,
    },
    /// Put this value durably. Answered by `CheckpointDone` or `CheckpointFailed`; at most one is
    /// outstanding.
    Checkpoint {
        /// The engine's own format, a few bytes to some 30 KB.
        value: Vec<u8>,
    },
    /// Make a message that came down durable. Answered by `Stored` or `StoreFailed`.
    Store {
        /// Which message.
        token: Token,
    },
    /// Acknowledge a message to the cloud: it is durable, or a repeat of what is.
    Confirm {
        /// Where it came from.
        connection: ConnectionId,
        /// Which message.
        token: Token,
    },
}

/// Why the engine gave a record up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// Larger than the cloud or [`Settings::maximum_packet_bytes`] allows.
    TooLarge {
        /// Bytes of the packet it would have been.
        found: u64,
        /// Bytes allowed.
        allowed: u32,
    },
    /// The cloud named a reason that never heals.
    Rejected {
        /// The PUBACK reason code.
        reason: u8,
    },
}
