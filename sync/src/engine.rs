//! Store-and-forward for one route: one cloud, one cursor a lane, a few connections.
//!
//! Promises, whatever connections, cloud and power do:
//! - Every record that the log keeps is accepted by the cloud or written down as a gap.
//! - A topic's records are sent in the order of their offsets on the connection that the topic's
//!   hash names, or on that of the topics apart, and what went unresolved or was refused is sent
//!   again in that order.
//! - A refused topic, a fallen or a silent connection delays no topic that does not need it.
//! - A floor only moves over what is settled; retention follows the durable checkpoint, late.
//! - Memory depends on [`Settings`], never on the backlog.
//!
//! It never sends a record that came from the cloud, never gives one up because time passed, and
//! never touches a clock, a socket or a file.

mod answers;
mod pump;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::checkpoint;
use crate::connection::{Connection, Fate};
use crate::downlink::Downlink;
use crate::topic::Topic;
use crate::uplink::{Openness, Uplink};
use crate::{
    ConnectionId, ConnectionStatus, Counters, Generator, Input, Instant, Lane, LaneStatus, Offset,
    Output, PerLane, Settings, Start, StartError,
};

/// The store-and-forward machine of one route to one cloud.
///
/// A driver waits until [`Engine::poll_timeout`] or a fact, feeds it, and obeys until
/// [`Engine::poll`] has nothing more to say:
///
/// ```
/// use sync::{ConnectionId, Engine, Input, Instant, Output, PerLane, Settings, Start};
///
/// let mut settings = Settings::default();
/// settings.origin.edge_id = "plant-7".into();
/// let start = Start { settings, seed: 7, lanes: PerLane::default(), checkpoint: None };
/// let mut engine = Engine::new(&start)?;
///
/// let now = Instant::from_micros(0);
/// assert_eq!(engine.poll_timeout(), Some(now));
/// engine.handle_timeout(now);
/// let connection = ConnectionId(0);
/// assert_eq!(engine.poll(), Some(Output::Connect { connection }));
/// engine.handle(now, Input::Up {
///     connection,
///     receive_maximum: 20,
///     maximum_packet_bytes: 1_000_000,
/// });
/// # Ok::<(), sync::StartError>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    generator: Generator,
    lanes: PerLane<Uplink>,
    connections: Vec<Connection>,
    downlink: Downlink,
    checkpoints: Checkpoints,
    is_stopping: bool,
    counters: Counters,
    outputs: VecDeque<Output>,
}

/// When to make a checkpoint.
#[derive(Debug)]
struct Checkpoints {
    /// Release floors of the one being made durable.
    outstanding: Option<PerLane<Offset>>,
    /// What the last one said, in short.
    last: Snapshot,
    changed: Option<Instant>,
    /// Do not wait: a replay must not be forgotten half way.
    is_urgent: bool,
    /// After a failure, when to try again.
    paused_until: Option<Instant>,
}

/// What a checkpoint is made for: ack floor, release floor and settled records of each lane, and
/// messages stored on the way down.
type Snapshot = (PerLane<(Offset, Offset, u64)>, u64);

impl Engine {
    /// Makes an engine that continues where its checkpoint says. It does nothing until the first
    /// [`Engine::handle_timeout`], which is due at once.
    ///
    /// # Errors
    /// When a setting is out of range, or the checkpoint is not one of this log. In the second
    /// case a start without it loses nothing.
    pub fn new(start: &Start<'_>) -> Result<Self, StartError> {
        let settings = start.settings.clone();
        settings.check()?;
        let mut downlink = Downlink::new(
            &settings.origin.edge_id,
            settings.unconfirmed_count,
            settings.watched_origins,
        );
        let mut restored = [None, None, None];
        if let Some(bytes) = start.checkpoint {
            let (_, _, lanes, watermarks) = checkpoint::decode(bytes, settings.origin.epoch)?;
            restored = lanes.map(Some);
            downlink.restore(watermarks);
        }
        let mut counters = Counters::default();
        let lanes = PerLane::from_fn(|lane| {
            let restored = restored[lane as usize].take();
            let (uplink, trimmed) = Uplink::new(&settings, start.lanes[lane], restored);
            counters.trimmed += trimmed;
            uplink
        });
        let mut engine = Self {
            generator: Generator::from_seed(start.seed),
            connections: (0..settings.connection_count())
                .map(|_| Connection::new(&settings))
                .collect(),
            settings,
            lanes,
            downlink,
            checkpoints: Checkpoints {
                outstanding: None,
                last: Snapshot::default(),
                changed: None,
                is_urgent: false,
                paused_until: None,
            },
            is_stopping: false,
            counters,
            outputs: VecDeque::new(),
        };
        engine.checkpoints.last = engine.snapshot();
        Ok(engine)
    }

    /// Takes a fact in. Facts that make no sense, such as an answer to nothing, change nothing but
    /// [`Counters::stray_answers`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Appended { lane, head } => self.lanes[lane].appended(head),
            Input::Fetched {
                lane,
                records,
                next,
            } => {
                let openness = self.openness();
                let vanished = self.lanes[lane].fetched(now, records, next, openness);
                self.counters.vanished += vanished;
            }
            Input::FetchFailed { lane } => self.lanes[lane].fetch_failed(now),
            Input::Trimmed { lane, first } => self.trimmed(lane, first),
            Input::Thinned { lane } => self.thinned(lane),
            Input::Up {
                connection,
                receive_maximum,
                maximum_packet_bytes,
            } => self.up(now, connection, receive_maximum, maximum_packet_bytes),
            Input::Down { connection, kind } => self.down(now, connection, kind),
            Input::Accepted {
                connection,
                lane,
                offset,
                server_offset,
            } => self.accepted(now, connection, (lane, offset), server_offset),
            Input::Refused {
                connection,
                lane,
                offset,
            } => self.refused(now, connection, (lane, offset)),
            Input::Rejected {
                connection,
                lane,
                offset,
                reason,
            } => self.rejected(now, connection, (lane, offset), reason),
            Input::Replay { lane, from } => self.replay(lane, from),
            Input::CheckpointDone => self.checkpoint_done(),
            Input::CheckpointFailed => self.checkpoint_failed(now),
            Input::Received {
                connection,
                token,
                place,
            } => {
                let counters = &mut self.counters;
                let output = self.downlink.received(connection, token, place, counters);
                self.outputs.extend(output);
            }
            Input::Stored { token } => {
                let output = self.downlink.stored(token, &mut self.counters);
                self.outputs.extend(output);
            }
            Input::StoreFailed { token } => self.downlink.failed(token),
            Input::Stop => self.stop(),
        }
        self.pump(now);
    }

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pump(now);
    }

    /// Gives the next intention, in the order in which they must be carried out.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells when [`Engine::handle_timeout`] is due; stale after each `handle*` call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.settings.patience;
        let connections = self.connections.iter();
        let connections = connections.filter_map(|connection| connection.next_due(patience));
        let lanes = self.lanes.iter();
        let lanes = lanes.filter_map(|(_, uplink)| uplink.next_due());
        connections.chain(lanes).chain(self.checkpoint_due()).min()
    }

    /// The lowest offset of a lane that must be kept: what lies below was acknowledged by the
    /// cloud, the hold time ago, and a durable checkpoint says so. Goes back only by a replay.
    #[must_use]
    pub const fn release_floor(&self, lane: Lane) -> Offset {
        self.lanes.0[lane as usize].durable_release
    }

    /// Every offset of a lane below this one is settled: accepted by the cloud, not wanted there,
    /// or a gap. Goes back only by a replay.
    #[must_use]
    pub fn ack_floor(&self, lane: Lane) -> Offset {
        self.lanes[lane].cursor.ack_floor()
    }

    /// Whether all that [`Input::Stop`] asked for is done.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.connections.iter().all(Connection::is_stopped)
            && self.checkpoints.outstanding.is_none()
            && self.snapshot() == self.checkpoints.last
            && self.outputs.is_empty()
    }

    /// What happened since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// One lane as it is now. Walks the troubled topics, so ask now and then only.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> LaneStatus {
        self.lanes[lane].status()
    }

    /// One connection as it is now; `None` when there is no such one.
    #[must_use]
    pub fn connection(&self, connection: ConnectionId) -> Option<ConnectionStatus> {
        let connection = self.connections.get(usize::from(connection.0))?;
        Some(connection.status())
    }

    fn trimmed(&mut self, lane: Lane, first: Offset) {
        self.counters.trimmed += self.lanes[lane].trimmed(first);
        self.void(lane, |offset| offset < first);
        self.refresh_all(None);
    }

    /// What is gone of what was ready is found missing when it is read again.
    fn thinned(&mut self, lane: Lane) {
        for at in 0..self.connections.len() {
            self.lanes[lane].hold_ready(at, None);
        }
        self.refresh_all(None);
    }

    fn replay(&mut self, lane: Lane, from: Offset) {
        let (from, count) = self.lanes[lane].replay(from);
        self.counters.replayed += count;
        if count > 0 {
            self.checkpoints.is_urgent = true;
            self.void(lane, |offset| offset >= from);
            self.refresh_all(None);
        }
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        for at in 0..self.connections.len() {
            if self.connections[at].stop() {
                self.leave(at);
            }
        }
    }

    /// Says that a connection is left; what is ready for it waits in the log again. What is in
    /// flight may still be answered until it is down.
    fn leave(&mut self, at: usize) {
        let connection = id(at);
        self.outputs.push_back(Output::Disconnect { connection });
        self.hold_ready(at);
    }

    fn hold_ready(&mut self, at: usize) {
        for lane in Lane::ALL {
            self.lanes[lane].hold_ready(at, None);
        }
        self.refresh_all(Some(at));
    }

    /// Makes answers to these records mean nothing.
    fn void(&mut self, lane: Lane, is_meant: impl Fn(Offset) -> bool) {
        let in_flight = self
            .connections
            .iter_mut()
            .flat_map(Connection::in_flight_mut);
        for entry in in_flight.filter(|entry| entry.lane == lane && is_meant(entry.offset)) {
            entry.fate = Fate::Void;
        }
    }

    /// Decides anew whether a topic may be read from the log.
    fn refresh(&mut self, lane: Lane, topic: Topic) {
        let Self {
            lanes, connections, ..
        } = self;
        let uplink = &mut lanes[lane];
        if !uplink.topics.knows(topic) {
            return;
        }
        let connection = &connections[uplink.connection_of(topic)];
        let has_ready = uplink.has_ready(topic);
        uplink.topics.refresh(topic, connection.is_open(), || {
            has_ready || connection.carries(lane, topic)
        });
    }

    /// The same for all topics, or those of one connection.
    fn refresh_all(&mut self, only: Option<usize>) {
        for lane in Lane::ALL {
            let uplink = &self.lanes[lane];
            let is_meant = |topic: &Topic| only.is_none_or(|at| uplink.connection_of(*topic) == at);
            let topics: Vec<Topic> = uplink.topics.names().filter(is_meant).collect();
            for topic in topics {
                self.refresh(lane, topic);
            }
        }
    }

    fn openness(&self) -> Openness {
        let open = self.connections.iter().enumerate();
        let open = open.filter(|(_, connection)| connection.is_open());
        Openness(open.fold(0, |bits, (at, _)| bits | 1 << at))
    }

    fn snapshot(&self) -> Snapshot {
        let marks = PerLane::from_fn(|lane| {
            let uplink = &self.lanes[lane];
            let floor = uplink.cursor.ack_floor();
            (floor, uplink.release.released(), uplink.settled_count)
        });
        (marks, self.counters.stored)
    }
}

fn id(at: usize) -> ConnectionId {
    ConnectionId(u8::try_from(at).expect("there are at most nine connections"))
}
