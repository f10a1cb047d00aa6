//! What the configuration means: every value checked, every bound derived, and the most memory
//! and disk that can come of it.
//!
//! Memory has one ceiling, `limits.memory_bytes`. What must be there is counted first; what is
//! left is shared out between buffers that make things faster. A configuration whose sum is over
//! the ceiling is refused here and never starts.

mod check;
mod cloud;
mod listener;
mod mail;
mod shares;
mod shown;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sync::{Lane, PerLane};

use self::check::Check;
pub use self::listener::{Address, Listener};
use crate::config::{
    Cloud, Config, ConfigError, LaneRetention, LimitsSection, Logging, Mq9, Overflow, Protocol,
};

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Names this gateway to the cloud.
    pub edge_id: String,
    /// The folder that holds everything.
    pub data: PathBuf,
    /// Whether the process gives up what it does not need.
    pub self_protection: bool,
    /// Where devices connect, in the order of their [`crate::broker::ListenerId`]; at least one.
    pub listeners: Vec<Listener>,
    /// The cluster, with its secrets still in their files.
    pub cloud: Option<Cloud>,
    /// Mailboxes and agents; `None` for none.
    pub mq9: Option<Mq9>,
    /// Filters of the lanes above normal.
    pub lane_filters: Vec<(String, Lane)>,
    /// How much of each lane is kept.
    pub retention: PerLane<LaneRetention>,
    /// How much of all lanes together.
    pub retention_bytes: Option<u64>,
    /// Filters of topics for which not their lane says what gives way.
    pub overflow_filters: Vec<(String, Overflow)>,
    /// How long a group of commits may wait for company.
    pub linger: Duration,
    /// How long QoS 0 records for the cloud may wait.
    pub relaxed_commit: Duration,
    /// Size of the journal file.
    pub journal_bytes: u64,
    /// Size at which a lane begins a new file.
    pub segment_bytes: u64,
    /// What may be written in a day.
    pub flash_bytes_per_day: Option<u64>,
    /// What the card is rated for.
    pub flash_rated_bytes: Option<u64>,
    /// Records in memory that are committed and not yet in redb.
    pub flush_bytes: u64,
    /// Cache of each open redb file.
    pub cache_bytes: u64,
    /// Records that may wait for the commit in progress; above it, links are not read.
    pub waiting_bytes: u64,
    /// What may wait for one connection's socket.
    pub outbound_bytes: usize,
    /// What may wait for all sockets together.
    pub outbound_total_bytes: usize,
    /// Packets that have arrived in part and topics behind clients' aliases, of all connections
    /// together.
    pub inbound_total_bytes: usize,
    /// Topics behind aliases that clients were given, of all connections together.
    pub alias_bytes: usize,
    /// Subscriptions of all NATS connections, beside what the broker keeps of them.
    pub nats_bytes: usize,
    /// Records read ahead for the uplink.
    pub read_ahead_bytes: usize,
    /// Records sent and not acknowledged on one connection to the cloud.
    pub flight_bytes: usize,
    /// Messages that the cloud may send before the first is stored and confirmed.
    pub downlink_window: u16,
    /// How long records stay after the cloud's acknowledgement.
    pub hold: Duration,
    /// Whether server offsets that go backwards begin a replay.
    pub watch_offsets: bool,
    /// How long the cloud may take to acknowledge.
    pub acknowledge_timeout: Duration,
    /// The longest wait between two tries to connect.
    pub backoff_max: Duration,
    /// From one look at the `$SYS` topics to the next; `None` for none of these topics.
    pub sys_interval: Option<Duration>,
    /// Filters and wills of all sessions, and groups of shared subscriptions.
    pub session_bytes: usize,
    /// Deliveries of all sessions that are not acknowledged yet.
    pub underway_bytes: usize,
    /// Exchanges of QoS 2 that clients of all sessions began and have not released.
    pub note_bytes: usize,
    /// Clients that are about to prove who they are, with what they said.
    pub login_bytes: usize,
    /// What users and access lists take, once they are read.
    pub access: AccessBytes,
    /// The section as written.
    pub section: LimitsSection,
    /// What is said on standard error.
    pub log: Logging,
    /// The most memory, part by part, in bytes.
    pub memory: Vec<(&'static str, u64)>,
    /// The most disk, part by part, in bytes.
    pub disk: Vec<(&'static str, u64)>,
}

/// What the files that say who may do what take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessBytes {
    /// All users and rules, once.
    pub held: u64,
    /// The most memory that the check of one password takes.
    pub check: u64,
    /// Whether there are passwords to check at all.
    pub has_users: bool,
}

/// The program without any load: code that was touched, stacks, runtime. Measured: 4 to 6 MiB.
const PROGRAM_BYTES: u64 = 6 << 20;
/// A connection's packet state, and the task that it has while there is something to do, with the
/// room that lists of them grow by. Idle, and with a session and one subscription, it takes 1.1 KB.
const CONNECTION_BYTES: u64 = 1280;
/// Connections beyond the limit that are kept until they heard that there is no place.
pub(crate) const TURNED_AWAY: usize = 16;
/// What a NATS connection takes more. Measured: 0.5 KB.
const NATS_BYTES: u64 = 512;
/// What a serial line keeps beside its longest packet.
const SERIAL_BYTES: u64 = 8 << 10;
/// A session's entry, with the nodes that one subscription takes.
const SESSION_BYTES: u64 = 768;
/// What the first delivery takes that a session has under way: lists in the broker and in the view.
const FIRST_DELIVERY_BYTES: u64 = 416;
/// What of it is counted with all others: room for four.
const FIRST_LIST_BYTES: usize = 104;
/// The same while its client is away.
const LEFT_DELIVERY_BYTES: u64 = 256;
/// What the first exchange of QoS 2 takes that a client begins. There is room for one of each
/// connection, as far as that is not much.
const FIRST_EXCHANGE_BYTES: u64 = 360;
/// A record on its way from the broker to a connection, with the room that the queue grows by.
const EVENT_BYTES: u64 = 256;
/// A login that is remembered, so that a client that comes back costs no hash.
const REMEMBERED_LOGIN_BYTES: u64 = 128;
/// A retained message's entry, without its record.
const RETAINED_ENTRY_BYTES: u64 = 256;
/// Files open for writing: the state and the last segment of each lane.
const WRITTEN_FILES: u64 = 4;
/// Closed segments that readers keep open, with a small cache each, and what they decoded last.
const READ_FILES: u64 = 4;
const READ_FILE_BYTES: u64 = 256 << 10;
const DECODED_BYTES: u64 = 512 << 10;
/// What redb takes beside its cache, each file.
const REDB_FILE_BYTES: u64 = 300 << 10;
/// Topics of the segments that go next, the one of these that is read, the places of what outlives them,
/// and the file of that while it is made.
const LATEST_BYTES: u64 = 2240 << 10;
/// What is found in damaged files of it, one a lane: a block for each topic at most, and one between,
/// which is there twice in the file that is searched.
const LATEST_FOUND_BYTES: u64 = (3 * 2 + 1) * 4096 * FOUND_BYTES;
/// Searches of damaged segments: what they read at a time, and what they found in those that are
/// open, for each block that a segment has.
const SEARCH_BYTES: u64 = 320 << 10;
const FOUND_BYTES: u64 = 64;
/// What a block has on the average, with those that end a flush.
const BLOCK_BYTES: u64 = 32 << 10;
/// Handed back to redb and the kernel at a full disk.
const RESERVE_BYTES: u64 = 1 << 20;
/// Sessions, retained messages and gaps on disk, and redb's own pages.
const STATE_FILE_BYTES: u64 = 32 << 20;

impl Limits {
    /// Checks a configuration and derives what it means. `file` is for the error only.
    ///
    /// # Errors
    /// When a value is outside its range or the parts do not fit together; the error names the
    /// first such key.
    pub fn resolve(config: &Config, file: &Path) -> Result<Self, ConfigError> {
        let check = Check { file };
        check.ranges(config)?;
        let section = config.limits.clone();
        let mq9 = check.mq9(config)?;
        let listeners = check.listeners(config)?;
        let mut limits = Self {
            edge_id: config
                .gateway
                .id
                .clone()
                .unwrap_or_else(|| "edge".to_owned()),
            data: config.gateway.data.clone(),
            self_protection: config.gateway.self_protection,
            listeners,
            cloud: config.cloud.clone(),
            lane_filters: check.lane_filters(config)?,
            retention: PerLane::from_fn(|lane| config.retention.of(lane)),
            retention_bytes: config.retention.max_bytes,
            overflow_filters: check.overflow_filters(config)?,
            linger: Duration::from_millis(config.durability.linger_ms),
            relaxed_commit: Duration::from_millis(config.durability.relaxed_commit_ms),
            journal_bytes: config.durability.journal_bytes,
            segment_bytes: config.durability.segment_bytes,
            flash_bytes_per_day: config.durability.flash_bytes_per_day,
            flash_rated_bytes: config.durability.flash_rated_bytes,
            flush_bytes: 0,
            cache_bytes: 0,
            waiting_bytes: 0,
            outbound_bytes: 0,
            outbound_total_bytes: 0,
            inbound_total_bytes: 0,
            alias_bytes: 0,
            nats_bytes: 0,
            read_ahead_bytes: 0,
            flight_bytes: 0,
            downlink_window: 0,
            hold: Duration::from_secs(config.sync.hold_seconds),
            watch_offsets: config.sync.watch_offsets,
            acknowledge_timeout: Duration::from_secs(config.sync.acknowledge_timeout_seconds),
            backoff_max: Duration::from_secs(config.sync.backoff_max_seconds),
            sys_interval: (config.gateway.sys_interval_seconds > 0)
                .then(|| Duration::from_secs(config.gateway.sys_interval_seconds)),
            session_bytes: 0,
            underway_bytes: 0,
            note_bytes: 0,
            login_bytes: 0,
            mq9,
            access: AccessBytes::default(),
            section,
            log: config.log.clone(),
            memory: Vec::new(),
            disk: Vec::new(),
        };
        limits.take_fixed();
        limits.share_out();
        limits.disk = limits.worst_disk();
        check.memory(&limits)?;
        Ok(limits)
    }

    /// Counts what users and access lists take, before anything uses what is shared out: buffers give
    /// way to them. `file` is for the error only.
    ///
    /// # Errors
    /// When it does not fit below the ceiling even so.
    pub(crate) fn begin_with_access(
        &mut self,
        access: AccessBytes,
        file: &Path,
    ) -> Result<(), ConfigError> {
        self.access = access;
        self.share_out();
        Check { file }.memory(self)
    }

    /// Counts what users and access lists take that a reload brings. `file` is for the error only.
    ///
    /// # Errors
    /// When it does not fit below the ceiling; then everything is as it was.
    pub(crate) fn admit_access(
        &mut self,
        access: AccessBytes,
        file: &Path,
    ) -> Result<(), ConfigError> {
        let former = std::mem::replace(&mut self.access, access);
        self.memory = self.worst_memory();
        let admitted = Check { file }.memory(self);
        if admitted.is_err() {
            self.access = former;
            self.memory = self.worst_memory();
        }
        admitted
    }

    /// Whether the latest of any topic outlives its segment.
    pub(crate) fn keeps_latest(&self) -> bool {
        let rules = self.overflow_filters.iter().map(|(_, overflow)| *overflow);
        let lanes = self.retention.iter().map(|(_, lane)| lane.overflow);
        rules.chain(lanes).any(|it| it == Overflow::KeepLatest)
    }

    /// Adds up [`Limits::memory`] or [`Limits::disk`].
    #[must_use]
    pub fn sum(parts: &[(&'static str, u64)]) -> u64 {
        parts.iter().map(|(_, bytes)| bytes).sum()
    }

    fn worst_memory(&self) -> Vec<(&'static str, u64)> {
        let section = &self.section;
        let packet_bytes = u64::from(section.packet_bytes);
        let connections = (section.connections + TURNED_AWAY) as u64;
        let cloud = self.cloud.as_ref();
        let cloud = cloud.map_or(0, |cloud| self.worst_cloud(cloud));
        let redb = WRITTEN_FILES * (self.cache_bytes + REDB_FILE_BYTES)
            + READ_FILES * (READ_FILE_BYTES + REDB_FILE_BYTES)
            + DECODED_BYTES;
        let found = READ_FILES * (self.segment_bytes / BLOCK_BYTES) * FOUND_BYTES;
        vec![
            ("program", PROGRAM_BYTES),
            ("connections", connections * CONNECTION_BYTES),
            (
                "their TLS and WebSocket",
                listener::worst_layers(&self.listeners, section.connections),
            ),
            (
                "sessions",
                section.sessions as u64 * SESSION_BYTES + self.session_bytes as u64,
            ),
            (
                "deliveries under way",
                self.underway_bytes as u64 + self.worst_first_deliveries(),
            ),
            ("exchanges not released", self.note_bytes as u64),
            (
                "retained messages",
                section.retained_bytes + section.retained_count as u64 * RETAINED_ENTRY_BYTES,
            ),
            (
                // One may be there beside all that others hold, in a list that grew by a quarter.
                "packets arriving",
                self.inbound_total_bytes as u64 + packet_bytes * 5 / 4,
            ),
            (
                "packets leaving",
                self.outbound_total_bytes as u64 + packet_bytes.max(self.worst_reply_beyond()),
            ),
            ("serial lines", self.worst_lines()),
            ("topic aliases", self.alias_bytes as u64),
            ("NATS clients", self.worst_nats()),
            ("waiting for a commit", 2 * self.waiting_bytes),
            // All of the journal, when the disk is full and nothing can be flushed.
            ("committed, not yet in redb", self.journal_bytes),
            ("redb", redb),
            (
                "latest of topics",
                match self.keeps_latest() {
                    true => LATEST_BYTES + LATEST_FOUND_BYTES,
                    false => 0,
                },
            ),
            ("damaged segments", SEARCH_BYTES + found),
            ("mail", self.worst_mail()),
            ("cloud", cloud),
            ("users and access lists", self.worst_access()),
        ]
    }

    /// Deliveries under way with the lists that those at rest begin with.
    #[must_use]
    pub fn underway_bytes_with_first(&self) -> usize {
        self.underway_bytes + self.section.sessions * FIRST_LIST_BYTES
    }

    /// What the first delivery of each session takes, whose room nobody else can use up; and one for
    /// each connection, on its way there.
    fn worst_first_deliveries(&self) -> u64 {
        let connections = (self.section.connections as u64).min(self.section.sessions as u64);
        let offline = self.section.sessions as u64 - connections;
        connections * (FIRST_DELIVERY_BYTES + EVENT_BYTES) + offline * LEFT_DELIVERY_BYTES
    }

    /// The buffer that frames are put together in, and small ones.
    fn worst_lines(&self) -> u64 {
        let line = |listener: &Listener| match listener.address {
            Address::Serial { .. } => u64::from(listener.packet_bytes) + SERIAL_BYTES,
            Address::Tcp(_) | Address::Unix { .. } => 0,
        };
        self.listeners.iter().map(line).sum()
    }

    /// What its connections take beside all that is counted with others.
    fn worst_nats(&self) -> u64 {
        let listeners = self.listeners.iter();
        let nats = listeners.filter(|listener| listener.protocol == Protocol::Nats);
        let places: usize = nats.map(|listener| listener.connections).sum();
        match places.min(self.section.connections) as u64 {
            0 => 0,
            places => self.nats_bytes as u64 + places * NATS_BYTES,
        }
    }

    /// Both the old files and the new ones during a reload, and one hash at a time.
    fn worst_access(&self) -> u64 {
        let remembered = self.section.connections as u64 * REMEMBERED_LOGIN_BYTES;
        let logins = match self.access.has_users {
            true => self.login_bytes as u64 + remembered,
            false => 0,
        };
        2 * self.access.held + self.access.check + logins
    }

    fn worst_disk(&self) -> Vec<(&'static str, u64)> {
        let lanes: u64 = self.retention.iter().map(|(_, lane)| lane.max_bytes).sum();
        let lanes = self.retention_bytes.map_or(lanes, |all| all.min(lanes));
        let lanes = lanes + Lane::ALL.len() as u64 * self.segment_bytes;
        vec![
            ("journal", self.journal_bytes),
            ("lanes, with one segment each on top", lanes),
            ("mail", self.worst_mail_disk()),
            ("state", STATE_FILE_BYTES),
            ("reserve", RESERVE_BYTES),
        ]
    }
}

fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
