//! One connection to the cloud: its state, its window and what is in flight on it.
//!
//! ```text
//! Waiting     pause over, Connect        -> Connecting
//! Connecting  Up                         -> Up
//! Connecting  patience over, Disconnect  -> Leaving
//! Up          patience over, Disconnect  -> Leaving
//! any but Waiting and Stopped    Down    -> Waiting, or Stopped after a stop
//! Waiting     stop                       -> Stopped
//! Connecting, Up  stop, Disconnect       -> Leaving
//! ```
//!
//! Everything else is a fault of the driver and changes nothing.

use alloc::collections::VecDeque;
use core::time::Duration;

use embedded_io::ErrorKind;

use crate::topic::Topic;
use crate::{
    Backoff, ConnectionPhase, ConnectionStatus, Generator, Instant, Lane, Offset, PerLane,
    Settings, Window,
};

#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
    backoff: Backoff,
    window: Window,
    /// In the order of sending.
    in_flight: VecDeque<InFlight>,
    /// What is left of each lane's share in this round.
    credits: PerLane<u16>,
    last_error: Option<ErrorKind>,
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Connecting { since: Instant },
    Up(Session),
    Leaving,
    Stopped,
}

/// What exists only while the connection is up.
#[derive(Debug)]
struct Session {
    maximum_packet_bytes: u32,
    /// When it last answered anything, or began to owe an answer.
    answered: Instant,
    /// When it last took a record, or began to owe an answer.
    accepted: Instant,
    is_stalled: bool,
    /// Whether it has taken a record at all.
    is_of_use: bool,
}

/// A record between `Send` and its answer.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) lane: Lane,
    pub(crate) offset: Offset,
    pub(crate) topic: Topic,
    /// Names the topic for the watch over the cloud's offsets; 64 bits, since a collision there
    /// would replay without need.
    pub(crate) mark: u64,
    pub(crate) bytes: usize,
    pub(crate) sent: Instant,
    pub(crate) fate: Fate,
}

/// What the answer to a record in flight will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Settle it.
    Settle,
    /// Have it sent again: one before it in its topic was refused.
    Recall,
    /// Nothing: a replay has made it wanted anew, or retention has dropped it.
    Void,
}

/// What a connection does by itself as time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Wants to be made.
    Connect,
    /// Wants to be left: it owes an answer for too long.
    Disconnect,
    /// Owes answers for long enough that others should not wait for it.
    Stall,
}

/// A connection that takes no record for this long while it owes answers is stalled. Well above
/// a round trip over a satellite, well below a user's patience with alarms on other connections.
const STALL: Duration = Duration::from_secs(1);

impl Connection {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            state: State::Waiting {
                until: Instant::default(),
            },
            backoff: Backoff::new(settings.reconnect_first, settings.reconnect_most),
            window: window(settings, settings.window_count),
            in_flight: VecDeque::new(),
            credits: settings.weights,
            last_error: None,
        }
    }

    /// Moves on with time. Call it until it gives `None`.
    pub(crate) fn turn(&mut self, now: Instant, patience: Duration) -> Option<Turn> {
        let owes = !self.in_flight.is_empty();
        match &mut self.state {
            State::Waiting { until } if now >= *until => {
                self.state = State::Connecting { since: now };
                Some(Turn::Connect)
            }
            State::Connecting { since } if now >= *since + patience => {
                self.state = State::Leaving;
                Some(Turn::Disconnect)
            }
            State::Up(session) if owes && now >= session.answered + patience => {
                self.state = State::Leaving;
                Some(Turn::Disconnect)
            }
            State::Up(session)
                if owes && !session.is_stalled && now >= session.accepted + STALL =>
            {
                session.is_stalled = true;
                Some(Turn::Stall)
            }
            _ => None,
        }
    }

    /// When [`Connection::turn`] has something to say.
    pub(crate) fn next_due(&self, patience: Duration) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Connecting { since } => Some(*since + patience),
            State::Up(session) if !self.in_flight.is_empty() => {
                let silent = session.answered + patience;
                if session.is_stalled {
                    Some(silent)
                } else {
                    Some(silent.min(session.accepted + STALL))
                }
            }
            State::Up(_) | State::Leaving | State::Stopped => None,
        }
    }

    /// The connection was made. False when it was not being made: the fact is too late.
    pub(crate) fn up(
        &mut self,
        now: Instant,
        settings: &Settings,
        receive_maximum: u16,
        maximum_packet_bytes: u32,
    ) -> bool {
        if !matches!(self.state, State::Connecting { .. }) {
            return false;
        }
        let count = settings.window_count.min(usize::from(receive_maximum));
        self.window = window(settings, count);
        self.credits = settings.weights;
        self.state = State::Up(Session {
            maximum_packet_bytes: maximum_packet_bytes.min(settings.maximum_packet_bytes),
            answered: now,
            accepted: now,
            is_stalled: false,
            is_of_use: false,
        });
        true
    }

    /// The connection ended. Gives back what was in flight, in the order of sending; `None` when
    /// there was no connection to end.
    pub(crate) fn down(
        &mut self,
        now: Instant,
        kind: ErrorKind,
        is_stopping: bool,
        generator: &mut Generator,
    ) -> Option<VecDeque<InFlight>> {
        match self.state {
            State::Waiting { .. } | State::Stopped => return None,
            State::Connecting { .. } | State::Up(_) | State::Leaving => {}
        }
        self.last_error = Some(kind);
        self.state = if is_stopping {
            State::Stopped
        } else {
            let until = now + self.backoff.pause(generator);
            State::Waiting { until }
        };
        for entry in &self.in_flight {
            self.window.leave(entry.bytes);
        }
        Some(core::mem::take(&mut self.in_flight))
    }

    /// Ends it for good. True when there is a connection to leave.
    pub(crate) fn stop(&mut self) -> bool {
        match self.state {
            State::Waiting { .. } => {
                self.state = State::Stopped;
                false
            }
            State::Connecting { .. } | State::Up(_) => {
                self.state = State::Leaving;
                true
            }
            State::Leaving | State::Stopped => false,
        }
    }

    /// Counts a record out that is being sent.
    pub(crate) fn send(&mut self, entry: InFlight) {
        let State::Up(session) = &mut self.state else {
            panic!("records are sent on connections that are up");
        };
        if self.in_flight.is_empty() {
            session.answered = entry.sent;
            session.accepted = entry.sent;
        }
        self.window.enter(entry.bytes);
        self.in_flight.push_back(entry);
    }

    /// Takes the record out that an answer is about; `None` when no such record is in flight.
    pub(crate) fn answer(&mut self, now: Instant, lane: Lane, offset: Offset) -> Option<InFlight> {
        let is_named = |entry: &InFlight| entry.lane == lane && entry.offset == offset;
        let at = self.in_flight.iter().position(is_named)?;
        let entry = self.in_flight.remove(at)?;
        self.window.leave(entry.bytes);
        if let State::Up(session) = &mut self.state {
            session.answered = now;
        }
        Some(entry)
    }

    /// Learns from an answer that took a record. True when the connection was stalled and is no
    /// longer.
    pub(crate) fn accepted_after(&mut self, now: Instant, latency: Duration) -> bool {
        self.backoff.reset();
        self.window.answered_after(latency);
        let State::Up(session) = &mut self.state else {
            return false;
        };
        session.accepted = now;
        core::mem::take(&mut session.is_stalled)
    }

    /// Whether this is the first record that it took since it is up: the cloud is well again.
    pub(crate) const fn proves_itself(&mut self) -> bool {
        match &mut self.state {
            State::Up(session) => !core::mem::replace(&mut session.is_of_use, true),
            _ => false,
        }
    }

    /// Waits no longer than `pause` before the next try, since the cloud is well again.
    pub(crate) fn hurry(&mut self, now: Instant, pause: Duration) {
        if let State::Waiting { until } = &mut self.state {
            *until = (*until).min(now + pause);
        }
    }

    /// Ends a stall when nothing is owed any more. True when there was one.
    pub(crate) fn recover(&mut self) -> bool {
        match &mut self.state {
            State::Up(session) if self.in_flight.is_empty() => {
                core::mem::take(&mut session.is_stalled)
            }
            _ => false,
        }
    }

    /// Chooses the lane that may send next among those that have something to send: by their
    /// weights, and what a lane leaves unused goes to the others.
    pub(crate) fn next_lane(
        &mut self,
        weights: &PerLane<u16>,
        has_record: impl Fn(Lane) -> bool,
    ) -> Option<Lane> {
        let with_record = || Lane::ALL.into_iter().filter(|lane| has_record(*lane));
        if let Some(lane) = with_record().find(|lane| self.credits[*lane] > 0) {
            return Some(lane);
        }
        let lane = with_record().next()?;
        self.credits = *weights;
        Some(lane)
    }

    /// Uses one credit of a lane up.
    pub(crate) fn charge(&mut self, lane: Lane) {
        self.credits[lane] = self.credits[lane].saturating_sub(1);
    }

    /// What is in flight, for a change of fates.
    pub(crate) fn in_flight_mut(&mut self) -> impl Iterator<Item = &mut InFlight> {
        self.in_flight.iter_mut()
    }

    /// Whether a record of this topic is in flight.
    pub(crate) fn carries(&self, lane: Lane, topic: Topic) -> bool {
        let is_of_topic = |entry: &InFlight| entry.lane == lane && entry.topic == topic;
        self.in_flight.iter().any(is_of_topic)
    }

    /// Whether a record of this topic is in flight that will be sent again.
    pub(crate) fn recalls(&self, lane: Lane, topic: Topic) -> bool {
        let is_recalled = |entry: &InFlight| {
            entry.fate == Fate::Recall && entry.lane == lane && entry.topic == topic
        };
        self.in_flight.iter().any(is_recalled)
    }

    /// Whether records may be read for it.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(&self.state, State::Up(session) if !session.is_stalled)
    }

    /// Whether it has ended for good.
    pub(crate) const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Whether a record of this size may be sent on it now.
    pub(crate) const fn has_room_for(&self, bytes: usize) -> bool {
        self.is_open() && self.window.has_room_for(bytes)
    }

    /// The largest packet it takes; 0 while it is not up.
    pub(crate) const fn maximum_packet_bytes(&self) -> u32 {
        match &self.state {
            State::Up(session) => session.maximum_packet_bytes,
            _ => 0,
        }
    }

    pub(crate) const fn status(&self) -> ConnectionStatus {
        let phase = match &self.state {
            State::Waiting { .. } => ConnectionPhase::Waiting,
            State::Connecting { .. } => ConnectionPhase::Connecting,
            State::Up(session) if session.is_stalled => ConnectionPhase::Stalled,
            State::Up(_) => ConnectionPhase::Up,
            State::Leaving => ConnectionPhase::Leaving,
            State::Stopped => ConnectionPhase::Stopped,
        };
        ConnectionStatus {
            phase,
            in_flight_count: self.window.count(),
            in_flight_bytes: self.window.bytes(),
            window_count: self.window.limit_count(),
            last_error: self.last_error,
        }
    }
}

fn window(settings: &Settings, count: usize) -> Window {
    Window::new(
        count,
        settings.window_least,
        settings.window_bytes,
        settings.pace,
    )
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const KIND: ErrorKind = ErrorKind::ConnectionReset;

    struct Case {
        connection: Connection,
        settings: Settings,
        generator: Generator,
        now: Instant,
    }

    impl Case {
        fn new() -> Self {
            let mut settings = Settings::default();
            settings.origin.edge_id = "e".to_string();
            Self {
                connection: Connection::new(&settings),
                settings,
                generator: Generator::from_seed(1),
                now: Instant::default(),
            }
        }

        fn turn(&mut self) -> Option<Turn> {
            self.connection.turn(self.now, PATIENCE)
        }

        fn up(&mut self) -> bool {
            self.connection.up(self.now, &self.settings, 9, u32::MAX)
        }

        fn down(&mut self, is_stopping: bool) -> Option<usize> {
            let generator = &mut self.generator;
            let flight = self.connection.down(self.now, KIND, is_stopping, generator);
            flight.map(|flight| flight.len())
        }

        fn send(&mut self, offset: u64) {
            self.connection.send(InFlight {
                lane: Lane::Normal,
                offset: Offset(offset),
                topic: Topic::of_hash(1),
                mark: 1,
                bytes: 10,
                sent: self.now,
                fate: Fate::Settle,
            });
        }

        fn wait(&mut self, seconds: u64) {
            self.now = self.now + Duration::from_secs(seconds);
        }

        fn phase(&self) -> ConnectionPhase {
            self.connection.status().phase
        }
    }

    #[test]
    fn it_walks_every_line_of_its_machine() {
        let mut case = Case::new();
        assert_eq!(case.turn(), Some(Turn::Connect));
        assert_eq!(case.turn(), None);
        case.wait(30);
        assert_eq!(case.turn(), Some(Turn::Disconnect));
        assert_eq!(
            (case.phase(), case.turn()),
            (ConnectionPhase::Leaving, None)
        );
        assert_eq!(case.down(false), Some(0));
        assert_eq!(
            (case.phase(), case.turn()),
            (ConnectionPhase::Waiting, None)
        );
        case.wait(1);
        assert_eq!(case.turn(), Some(Turn::Connect));
        assert!(case.up());
        assert_eq!(case.connection.status().window_count, 9);
        case.wait(1_000);
        assert_eq!((case.phase(), case.turn()), (ConnectionPhase::Up, None));
        case.send(5);
        case.send(6);
        case.wait(1);
        assert_eq!(case.turn(), Some(Turn::Stall));
        assert_eq!(
            (case.phase(), case.turn()),
            (ConnectionPhase::Stalled, None)
        );
        case.wait(29);
        assert_eq!(case.turn(), Some(Turn::Disconnect));
        assert_eq!(case.down(false), Some(2));
        case.wait(1);
        assert_eq!(case.turn(), Some(Turn::Connect));
        assert!(case.up());
        assert!(case.connection.stop());
        assert_eq!(case.phase(), ConnectionPhase::Leaving);
        assert_eq!(case.down(true), Some(0));
        assert_eq!(case.phase(), ConnectionPhase::Stopped);
        assert_eq!(case.connection.next_due(PATIENCE), None);
    }

    #[test]
    fn facts_that_make_no_sense_change_nothing() {
        let mut case = Case::new();
        assert!(!case.up());
        assert_eq!(case.down(false), None);
        assert_eq!(
            case.connection
                .answer(case.now, Lane::Normal, Offset(1))
                .map(|_| ()),
            None
        );
        assert!(!case.connection.stop());
        assert_eq!(case.phase(), ConnectionPhase::Stopped);
        assert_eq!((case.turn(), case.down(true)), (None, None));
        assert!(!case.up());
    }

    #[test]
    fn an_accepted_record_ends_a_stall_and_a_refused_one_only_when_nothing_is_owed() {
        let mut case = Case::new();
        case.turn();
        case.up();
        for offset in [1, 2, 3] {
            case.send(offset);
        }
        case.wait(1);
        assert_eq!(case.turn(), Some(Turn::Stall));
        let lane = Lane::Normal;
        assert!(case.connection.answer(case.now, lane, Offset(1)).is_some());
        assert!(!case.connection.recover());
        assert!(case.connection.answer(case.now, lane, Offset(3)).is_some());
        assert!(
            case.connection
                .accepted_after(case.now, Duration::from_secs(1))
        );
        assert!(case.connection.is_open());
        case.wait(1);
        assert_eq!(case.turn(), Some(Turn::Stall));
        assert!(case.connection.answer(case.now, lane, Offset(2)).is_some());
        assert!(case.connection.recover());
    }
}
