//! The broker's limits and rules, with what happens at each limit.

use std::rc::Rc;

use sync::{Epoch, Lane, Offset, PerLane};

use super::intake::Overflow;
use crate::memory::{Memory, OutboundLimits};
use crate::password::Key;

/// Limits and rules; the defaults fit a gateway with 64 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sessions, connected or not. At the limit a new session is refused; one that exists is
    /// resumed. Default 10,000.
    pub session_count_maximum: usize,
    /// Subscriptions a session. At the limit a filter is refused. Default 1,000.
    pub subscription_count_maximum: usize,
    /// Levels of a topic filter. A deeper filter is refused. Default 64.
    pub filter_level_maximum: usize,
    /// Bytes of a topic filter. A longer one is refused. With a client identifier it is the key of a
    /// row, which has 65,535 bytes at most. Default 1,024.
    pub filter_bytes_maximum: usize,
    /// Bytes that the filters and wills of all sessions take, and the groups of shared
    /// subscriptions. At the limit a filter is refused, and a client that brings a will. Default
    /// 16 MiB.
    pub session_bytes_maximum: usize,
    /// Bytes of a client identifier. A longer one is refused. Default 256.
    pub client_identifier_bytes_maximum: usize,
    /// Seconds that a session may outlive its connection. More is cut to it. Default `u32::MAX`,
    /// for ever.
    pub session_expiry_maximum: u32,
    /// Unacknowledged deliveries a session, together with the client's own receive maximum. At
    /// the limit the session falls back to reading the log. Default 64.
    pub inflight_maximum: u16,
    /// Groups of shared subscriptions, each a share name with a filter. At the limit a filter that
    /// would make another one is refused. Default 64.
    pub group_count_maximum: usize,
    /// Bytes of a share name. A longer one is refused. Default 64.
    pub share_name_bytes_maximum: usize,
    /// Unacknowledged deliveries of a group to members that are connected. At the limit the group
    /// falls back to reading the log. It is counted in `session_bytes_maximum`. Default 256.
    pub group_inflight_maximum: usize,
    /// Notes a session about no delivery. At the limit one more is refused, and the publish it belongs
    /// to. Default 1,024.
    pub note_count_maximum: usize,
    /// Bytes that notes of all sessions take which are about no delivery: exchanges of QoS 2 that
    /// clients began and have not released. At the limit one more is refused, and the publish it
    /// belongs to; of a session that has some already at three quarters of it. Those that a restart
    /// finds stay, however many. Default 1 MiB.
    pub note_bytes_maximum: usize,
    /// Retained messages. At the limit one on a new topic is refused. Default 100,000.
    pub retained_count_maximum: usize,
    /// Bytes of retained messages. At the limit one that would add bytes is refused. Default
    /// 16 MiB.
    pub retained_bytes_maximum: usize,
    /// Records that a session that is behind asks for at once. Default 256.
    pub fetch_count_maximum: usize,
    /// Bytes that a session that is behind asks for at once. Default 64 KiB.
    pub fetch_bytes_maximum: usize,
    /// Records after which a stored cursor is renewed although its session only passed them by.
    /// Bounds what is read again after a restart. Default 4,096.
    pub cursor_lag_maximum: u64,
    /// Filters of records that go to another lane than the normal one; the first match counts.
    pub lanes: Vec<(String, Lane)>,
    /// What gives way when a lane is at its limit; default the oldest records.
    pub overflow: PerLane<Overflow>,
    /// Filters of records for which it is something else; the first match counts.
    pub overflow_rules: Vec<(String, Overflow)>,
    /// Filters of records that go up to the cloud, and so must be durable.
    pub routes: Vec<String>,
    /// Whether there is a mail office. Without one, whoever wants something of it is refused. Default
    /// false.
    pub has_mail: bool,
    /// Passwords that wait for their check. At the limit a client is asked to come back later.
    /// Default 64.
    pub check_count_maximum: usize,
    /// Bytes of clients that are not let in yet: what they said, and exchanges under way. At the
    /// limit a client is asked to come back later. Default 512 KiB.
    pub login_bytes_maximum: usize,
    /// Logins that are remembered, so that a client that comes back costs no hash. At the limit the
    /// oldest is forgotten. Default 1,024.
    pub login_memory_maximum: usize,
    /// Makes assigned client identifiers hard to guess; a fresh random number each start.
    pub seed: u64,
    /// Makes nonces and what is remembered of logins hard to guess; fresh random bytes each start.
    pub key: Key,
    /// Bytes that all sessions together have under way, which are deliveries with QoS over 0 that are
    /// not acknowledged. At the limit a session that has any gets no more until it acknowledges;
    /// then it reads the log. Default 2 MiB.
    pub underway_bytes_maximum: usize,
    /// What may wait to be written to a connection, and to all of them. At the limits a session
    /// falls back to reading the log. Default no limits but those of the connections themselves.
    pub outbound: OutboundLimits,
    /// What connections hold now, which they count themselves.
    pub memory: Rc<Memory>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_count_maximum: 10_000,
            subscription_count_maximum: 1_000,
            filter_level_maximum: 64,
            filter_bytes_maximum: 1_024,
            session_bytes_maximum: 16 << 20,
            client_identifier_bytes_maximum: 256,
            session_expiry_maximum: u32::MAX,
            inflight_maximum: 64,
            group_count_maximum: 64,
            share_name_bytes_maximum: 64,
            group_inflight_maximum: 256,
            note_count_maximum: 1_024,
            note_bytes_maximum: 1 << 20,
            retained_count_maximum: 100_000,
            retained_bytes_maximum: 16 << 20,
            fetch_count_maximum: 256,
            fetch_bytes_maximum: 64 << 10,
            cursor_lag_maximum: 4_096,
            lanes: Vec::new(),
            overflow: PerLane::from_fn(|_| Overflow::DropOldest),
            overflow_rules: Vec::new(),
            routes: Vec::new(),
            has_mail: false,
            check_count_maximum: 64,
            login_bytes_maximum: 512 << 10,
            login_memory_maximum: 1_024,
            seed: 0,
            key: Key::default(),
            underway_bytes_maximum: 2 << 20,
            outbound: OutboundLimits {
                own: usize::MAX,
                total: usize::MAX,
            },
            memory: Rc::default(),
        }
    }
}

/// What the log and its tables held when the broker starts. Tables as (key, value) in any order;
/// of [`sync::Table::Cursors`] those of others are left alone.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// [`sync::Table::Sessions`].
    pub sessions: Vec<(Vec<u8>, Vec<u8>)>,
    /// [`sync::Table::Subscriptions`].
    pub subscriptions: Vec<(Vec<u8>, Vec<u8>)>,
    /// [`sync::Table::Handshakes`].
    pub handshakes: Vec<(Vec<u8>, Vec<u8>)>,
    /// [`sync::Table::Cursors`].
    pub cursors: Vec<(Vec<u8>, Vec<u8>)>,
    /// [`sync::Table::Retained`].
    pub retained: Vec<(Vec<u8>, Vec<u8>)>,
    /// The log's epoch: positions of an earlier one begin at `first` again.
    pub epoch: Epoch,
    /// The first offset of each lane that is left.
    pub first: PerLane<Offset>,
    /// The offset that each lane gives next.
    pub head: PerLane<Offset>,
}

/// Counts since the start; they only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages published by clients.
    pub published: u64,
    /// Messages that were refused.
    pub refused: u64,
    /// Messages handed to views.
    pub delivered: u64,
    /// Sessions that ended because their clients stayed away for too long.
    pub expired: u64,
    /// Records that were dropped before a session had looked at them, whether it would have wanted
    /// them or not. After a power cut this may count ones that it had looked at since its cursor
    /// was stored.
    pub missed: u64,
    /// Values of the tables that could not be read at the start, and were left out.
    pub damaged: u64,
}
