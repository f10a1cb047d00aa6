//! One MQTT connection: a state machine over bytes.
//!
//! ```text
//! awaiting connect -> connecting  CONNECT
//! awaiting connect -> closing     anything else, or the deadline; turned away, with CONNACK
//! connecting       -> connected   the broker has the session; CONNACK
//! connecting       -> closing     the broker refuses; CONNACK with the reason
//! connecting      <-> authenticating  AUTH, as often as the broker asks
//! connected        -> closing     DISCONNECT, a peer's mistake, silence, taken over
//! ```

use std::rc::Rc;
use std::time::Duration;

use sync::{Instant, Now};
use wire::DecodeError;
use wire::mqtt::{Acknowledgement, Packet, ReasonCode, Version, decode};

use super::Settings;
use super::alias::{Aliases, OutboundAliases};
use super::authentication::Authentication;
use super::ending::{Ending, close_reason};
use super::error::PeerError;
use super::greeting::Greeting;
use super::inbound::Step;
use super::inflight::{Answers, Inflight};
use super::words::Words;
use crate::broker::{CloseReason, ConnectionId, Entrance, Event, Input, ListenerId, Refusal};
use crate::memory::Held;
use crate::pace::Allowance;
use crate::rare::Rare;
use crate::underway::Underway;

/// The MQTT state of one connected byte stream.
#[derive(Debug)]
pub struct Connection {
    pub(super) id: ConnectionId,
    pub(super) settings: Rc<Settings>,
    pub(super) entrance: Entrance,
    pub(super) state: State,
    pub(super) underway: Underway,
    /// Whether whole packets in the tail wait: for answers to earlier ones, or for their time.
    is_holding_back: bool,
    pub(super) is_congested: bool,
    /// When the last whole packet came.
    pub(super) last_received: Instant,
    pub(super) peer_error: Option<Box<PeerError>>,
    pub(super) dropped_count: u64,
    pub(super) held: Held,
}

/// Each client has one, and most are idle.
const _: () = assert!(size_of::<Connection>() <= 128);

#[derive(Debug)]
pub(super) enum State {
    AwaitingConnect {
        deadline: Instant,
        /// Whether the only answer is that there is no place for the client.
        is_turned_away: bool,
    },
    Connecting(Box<Greeting>),
    Authenticating(Box<Greeting>),
    Connected(Box<Established>),
    Closing,
}

/// What a connected client has.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) version: Version,
    /// [`sync::Record::publisher_hash`] of the client identifier.
    pub(super) publisher: u64,
    /// How long the client may be silent.
    pub(super) patience: Option<Duration>,
    /// The largest packet that the client takes.
    pub(super) packet_bytes_maximum: u32,
    /// Whether the client takes reason strings.
    pub(super) wants_words: bool,
    /// As the client asked in CONNECT.
    pub(super) session_expiry: u32,
    pub(super) authentication: Authentication,
    pub(super) aliases: Rare<Aliases>,
    /// Aliases that we gave; `None` for a client that takes none.
    pub(super) given: Option<Box<OutboundAliases>>,
    pub(super) inflight: Rare<Inflight>,
    pub(super) answers: Rare<Answers>,
    /// Publishes of this connection whose exchange is not over.
    pub(super) unanswered: u16,
    pub(super) allowance: Allowance,
}

/// Each client that is connected has one.
const _: () = assert!(size_of::<Established>() <= 88);

/// How long a client for which there is no place may take to its CONNECT.
const TURNED_AWAY_TIMEOUT: Duration = Duration::from_secs(1);

impl Connection {
    /// Starts with an accepted link, waiting for CONNECT.
    #[must_use]
    pub fn new(id: ConnectionId, settings: Rc<Settings>, listener: ListenerId, now: Now) -> Self {
        Self {
            id,
            entrance: Entrance {
                listener,
                identity: None,
            },
            state: State::AwaitingConnect {
                deadline: now.instant + settings.connect_timeout,
                is_turned_away: false,
            },
            settings,
            underway: Underway::default(),
            is_holding_back: false,
            is_congested: false,
            last_received: now.instant,
            peer_error: None,
            dropped_count: 0,
            held: Held::default(),
        }
    }

    /// Ends with the answer to CONNECT: there is no place for the client. Call it before the first
    /// bytes, for a few links at a time.
    pub fn handle_no_place(&mut self, now: Now) {
        self.state = State::AwaitingConnect {
            deadline: now.instant + TURNED_AWAY_TIMEOUT.min(self.settings.connect_timeout),
            is_turned_away: true,
        };
    }

    /// Notes who the link's certificate says the client is. Call it before the first bytes.
    pub fn handle_identity(&mut self, identity: Box<str>) {
        self.entrance.identity = Some(identity);
    }

    /// Takes bytes as they came. Drain [`Connection::poll`] afterwards.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        if self.underway.tail_bytes() == 0 {
            let consumed = self.consume(now, bytes);
            if !self.is_closed() {
                self.underway.keep(&bytes[consumed..]);
            }
        } else {
            self.underway.keep(bytes);
            self.consume_tail(now);
        }
        self.check_tail();
        self.count();
        if self.holds_too_much() {
            drop(self.underway.take_tail());
            self.fail(PeerError::Memory);
            self.count();
        }
    }

    /// Takes an event of the broker for this connection. Drain [`Connection::poll`] afterwards.
    pub fn handle_event(&mut self, now: Now, event: Event) {
        match (&self.state, event) {
            (State::Connecting(_), Event::Connected(connected)) => {
                self.establish(now, &connected);
            }
            (State::Connecting(_), Event::Refused(refusal)) => self.turn_away(refusal),
            (State::Connecting(_), Event::Challenge { message }) => {
                self.challenge(&message);
                self.consume_tail(now);
            }
            (State::Connecting(_), Event::Authenticated { proof }) => self.keep_proof(proof),
            (State::Connected(_), Event::Closed(reason)) => {
                self.say_goodbye(close_reason(reason), &Words::NONE);
                self.state = State::Closing;
            }
            (State::Connecting(_), Event::Closed(CloseReason::NotAuthorized)) => {
                self.turn_away(Refusal::NotAuthorized);
            }
            (State::Connecting(_), Event::Closed(_)) => {
                self.state = State::Closing;
            }
            (State::Connected(_), event) => self.hear(now, event),
            // The connection closed while the event was on its way.
            (_, _) => {}
        }
        self.count();
        self.note_congestion();
    }

    /// Does what is due: the deadline of CONNECT, the keep alive. One sweep a second over all
    /// connections is precise enough.
    pub fn handle_timeout(&mut self, now: Now) {
        match &self.state {
            State::AwaitingConnect { deadline, .. } if *deadline <= now.instant => {
                self.fail(PeerError::ConnectTimeout);
            }
            State::Authenticating(greeting) if greeting.deadline <= now.instant => {
                self.fail(PeerError::ConnectTimeout);
            }
            // Its packets wait for answers of ours, or for their time.
            State::Connected(established) if self.is_slowed(established) => {
                self.last_received = now.instant;
                self.go_on(now);
            }
            State::Connected(established) => {
                let due = established
                    .patience
                    .map(|patience| self.last_received + patience);
                if due.is_some_and(|due| due <= now.instant) {
                    self.fail(PeerError::KeepAliveTimeout);
                }
            }
            State::AwaitingConnect { .. }
            | State::Connecting(_)
            | State::Authenticating(_)
            | State::Closing => {}
        }
        self.let_go();
        // Others may have let go of what they held.
        self.look_for_room();
    }

    /// Notes that the link is not read because others have to go first: the client's silence does
    /// not count.
    pub const fn handle_held_back(&mut self, now: Now) {
        self.last_received = now.instant;
    }

    /// Others let go of memory, and this one waits for some. Drain [`Connection::poll`] afterwards.
    pub fn handle_room(&mut self) {
        self.note_congestion();
    }

    /// Notes that the link is gone; the broker hears it by [`Connection::poll`].
    pub fn handle_lost(&mut self) {
        self.leave_broker();
        self.state = State::Closing;
    }

    /// Says goodbye because the server stops. The will is published as after a loss
    /// [MQTT-3.1.2-8], or waits for its delay in the session, over a restart if need be.
    pub fn handle_shutdown(&mut self) {
        self.give_up(ReasonCode::ServerShuttingDown, &Words::NONE);
    }

    /// Gives the next input for the broker.
    pub fn poll(&mut self) -> Option<Input> {
        self.underway.poll()
    }

    /// Whether there is nothing for the broker, and nothing that waits for its time.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.underway.next().is_none()
    }

    /// When [`Connection::handle_timeout`] is due; stale after any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::AwaitingConnect { deadline, .. } => Some(*deadline),
            State::Authenticating(greeting) => Some(greeting.deadline),
            State::Connected(established) => {
                let patience = established.patience;
                let silence = patience.map(|patience| self.last_received + patience);
                let pace = established.allowance.due(self.settings.rate());
                let pace = pace.filter(|_| self.is_holding_back);
                [silence, pace].into_iter().flatten().min()
            }
            State::Connecting(_) | State::Closing => None,
        }
    }

    /// Takes what is to be written, or some of it, leaving `empty` (a buffer to use again) in its
    /// place, or nothing and letting go of both buffers. Call it
    /// when the bytes of the former call are written, and drain [`Connection::poll`] afterwards.
    pub fn take_outbound(&mut self, empty: Vec<u8>) -> Vec<u8> {
        let taken = self.underway.take_outbound(empty, self.piece_bytes());
        self.count();
        self.note_congestion();
        taken
    }

    /// Bytes waiting to be taken.
    #[must_use]
    pub fn outbound_bytes(&self) -> usize {
        self.underway.outbound_bytes()
    }

    /// What was taken takes, until it is known to be written.
    #[must_use]
    pub fn taken_bytes(&self) -> usize {
        self.underway.taken_bytes()
    }

    /// Whether the link should be read: false while the broker looks for the session, while too
    /// much waits for answers or to be written, and when closed.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        match &self.state {
            State::AwaitingConnect { .. } | State::Authenticating(_) => true,
            State::Connected(established) => !self.is_over() && !self.is_slowed(established),
            State::Connecting(_) | State::Closing => false,
        }
    }

    /// Whether the link is to be closed once the outbound bytes are written.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// Why we closed the connection, if the peer is to blame.
    #[must_use]
    pub fn peer_error(&self) -> Option<&PeerError> {
        self.peer_error.as_deref()
    }

    /// Messages that were not sent: QoS 0 over the outbound limit, and any over the client's
    /// maximum packet size.
    #[must_use]
    pub const fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    /// Sends a packet, unless the client does not take one so large. [MQTT-3.1.2-24]
    pub(super) fn send(&mut self, established: &Established, packet: &Packet<'_>) {
        let version = established.version;
        let fits = packet
            .encoded_len(version)
            .is_ok_and(|bytes| bytes <= established.packet_bytes_maximum as usize);
        if fits {
            let sent = packet.encode(version, self.underway.outbound());
            debug_assert!(sent.is_ok(), "a packet that has a length can be encoded");
            self.settings.traffic.note_sent();
        }
    }

    /// Sends an encoded packet, if there is one.
    pub(super) fn send_encoded(&mut self, packet: &[u8]) {
        if !packet.is_empty() {
            self.underway.outbound().extend_from_slice(packet);
            self.settings.traffic.note_sent();
        }
    }

    /// Sends one of the four packets that have only a packet identifier and a reason.
    pub(super) fn send_step(
        &mut self,
        established: &Established,
        step: Step,
        packet_identifier: u16,
        reason_code: ReasonCode,
    ) {
        let Ok(packet_identifier) = packet_identifier.try_into() else {
            return;
        };
        let answer = Acknowledgement::with_reason(packet_identifier, reason_code);
        self.send(established, &step.packet(answer));
    }

    /// Handles whole packets from the front of `bytes`; gives how many bytes they had.
    fn consume(&mut self, now: Now, bytes: &[u8]) -> usize {
        let mut consumed = 0;
        if let State::AwaitingConnect { deadline, .. } = self.state {
            match self.consume_connect(now, bytes, deadline) {
                Ok(bytes) => consumed = bytes,
                Err(error) => self.fail(error),
            }
        }
        if let State::Authenticating(_) = self.state {
            match self.consume_auth(bytes) {
                Ok(bytes) => consumed = bytes,
                Err(error) => self.fail_authentication(error),
            }
        }
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Connected(mut established) => {
                let outcome = self.consume_packets(now, &mut established, bytes, &mut consumed);
                self.state = State::Connected(established);
                self.note_congestion();
                if let Err(ending) = outcome {
                    self.end(ending);
                }
            }
            state => self.state = state,
        }
        // Bytes alone are no sign of life. [MQTT-3.1.2-22]
        if consumed > 0 {
            self.last_received = now.instant;
        }
        consumed
    }

    fn keep_proof(&mut self, proof: Vec<u8>) {
        if let State::Connecting(greeting) = &mut self.state {
            greeting.proof = Some(proof);
        }
    }

    /// Holds a client that goes on talking before its CONNACK to one packet.
    fn check_tail(&mut self) {
        let limit = self.settings.packet_bytes_maximum;
        let bytes = u32::try_from(self.underway.tail_bytes()).unwrap_or(u32::MAX);
        if matches!(self.state, State::Connecting(_)) && bytes > limit {
            drop(self.underway.take_tail());
            self.fail(DecodeError::PacketTooLarge { bytes, limit }.into());
        }
    }

    fn consume_packets(
        &mut self,
        now: Now,
        established: &mut Established,
        bytes: &[u8],
        consumed: &mut usize,
    ) -> Result<(), Ending> {
        let (version, maximum) = (established.version, self.settings.packet_bytes_maximum);
        loop {
            // A client of MQTT 5 knows how much it may send, and is told when it sends more.
            self.is_holding_back = version < Version::V5 && self.waits_for_answers(established);
            if self.is_holding_back {
                return Ok(());
            }
            let decoded = decode(&bytes[*consumed..], version, maximum)?;
            let Some((packet, taken)) = decoded else {
                return Ok(());
            };
            if matches!(packet, Packet::Publish(_))
                && !established
                    .allowance
                    .take(now.instant, self.settings.rate())
            {
                self.is_holding_back = true;
                return Ok(());
            }
            self.settings.traffic.note_received(&packet);
            self.handle_packet(now, established, packet)?;
            *consumed += taken;
        }
    }

    pub(super) fn consume_tail(&mut self, now: Now) {
        let tail = self.underway.take_tail();
        let consumed = self.consume(now, &tail);
        if !self.is_closed() {
            self.underway.keep_rest(tail, consumed);
        }
    }

    /// Takes an event for a connected client.
    fn hear(&mut self, now: Now, event: Event) {
        if let State::Connected(mut established) =
            std::mem::replace(&mut self.state, State::Closing)
        {
            let outcome = self.handle_answer(now, &mut established, event);
            self.state = State::Connected(established);
            if let Err(ending) = outcome {
                self.end(ending);
            }
        }
        self.go_on(now);
    }

    /// Handles packets that were held back, many at a time.
    fn go_on(&mut self, now: Now) {
        if let State::Connected(established) = &self.state
            && self.is_holding_back
            && established.answers.len() <= usize::from(self.settings.receive_maximum) / 2
            && established
                .allowance
                .due(self.settings.rate())
                .is_none_or(|due| due <= now.instant)
        {
            self.consume_tail(now);
            self.count();
        }
    }

    /// Whether the client's packets wait, unread or held back, for answers of ours or their time.
    fn is_slowed(&self, established: &Established) -> bool {
        self.is_holding_back || self.waits_for_answers(established)
    }

    fn waits_for_answers(&self, established: &Established) -> bool {
        established.answers.len() >= usize::from(self.settings.receive_maximum)
    }
}
