//! What the operator may see of an engine: plain numbers, read at any time, never a decision.

use embedded_io::ErrorKind;

use crate::Offset;

/// What happened since the start of this run. Nothing here is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `Send` outputs.
    pub sent: u64,
    /// Of these, records whose answer never came, because the connection went down.
    pub unresolved: u64,
    /// Records the cloud took over.
    pub accepted: u64,
    /// Answers that asked to come back later.
    pub refused: u64,
    /// Records sent again behind a refused one, though the cloud had taken them.
    pub recalled: u64,
    /// Records given up as gaps, by the cloud's word or by their size.
    pub rejected: u64,
    /// Records that retention dropped before the cloud had them.
    pub trimmed: u64,
    /// Held records that the log no longer gave back.
    pub vanished: u64,
    /// Offsets that replays made wanted again.
    pub replayed: u64,
    /// How often the cloud's own offsets went backwards: it has lost records.
    pub cloud_regressions: u64,
    /// Answers to nothing that is in flight: repeats, or a fault of the bridge.
    pub stray_answers: u64,
    /// Times a connection came up.
    pub ups: u64,
    /// Times a connection went down or could not be made.
    pub downs: u64,
    /// Times a connection was left because it answered nothing.
    pub silences: u64,
    /// Checkpoints made durable.
    pub checkpoints: u64,
    /// Messages that came down and were stored.
    pub stored: u64,
    /// Messages that came down and were this gateway's own, or repeats.
    pub suppressed: u64,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionPhase {
    /// Down, and waiting before the next try.
    Waiting,
    /// Being made.
    Connecting,
    /// Taking records.
    Up,
    /// Up, but owing answers for more than a second: others do not wait for it.
    Stalled,
    /// Being left.
    Leaving,
    /// Down for good: the engine was told to stop.
    Stopped,
}

/// One connection as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Where it stands.
    pub phase: ConnectionPhase,
    /// Records sent and not answered.
    pub in_flight_count: usize,
    /// Their encoded bytes.
    pub in_flight_bytes: usize,
    /// Records that may be in flight now, after the pace.
    pub window_count: usize,
    /// Why it last went down.
    pub last_error: Option<ErrorKind>,
}

/// One lane as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// The offset that the next record will get.
    pub head: Offset,
    /// The next offset to look at.
    pub delivered: Offset,
    /// Everything below is settled.
    pub ack_floor: Offset,
    /// Everything below may be dropped by retention.
    pub release_floor: Offset,
    /// Offsets not settled: an upper bound of the records still to send, since records that the
    /// route does not want are only found when they are looked at.
    pub backlog_count: u64,
    /// Records read and not yet sent.
    pub ready_count: usize,
    /// Their encoded bytes.
    pub ready_bytes: usize,
    /// Records looked at that wait in the log for their topic or connection.
    pub held_count: usize,
    /// Topics that the cloud refused and that wait for their next try.
    pub refused_topics_count: usize,
}
