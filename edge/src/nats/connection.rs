//! One NATS connection: a state machine over bytes.
//!
//! ```text
//! awaiting connect -> connecting  CONNECT
//! awaiting connect -> closing     anything else but PING and PONG, or the deadline
//! connecting       -> connected   the broker has a session for it
//! connecting       -> closing     the broker refuses, or the deadline
//! connected        -> closing     a peer's mistake, silence, more than it takes
//! ```

use std::collections::VecDeque;
use std::rc::Rc;

use sync::{Instant, Now};
use wire::nats::{ClientOperation, DecodeError, ServerOperation};

use super::Settings;
use super::error::PeerError;
use super::mail::Errands;
use super::opening::{Ends, Options};
use super::subscriptions::Subscriptions;
use crate::broker::{ConnectionId, Entrance, Event, Input, ListenerId, Refusal};
use crate::memory::{Held, PIECE_BYTES};
use crate::pace::Allowance;
use crate::underway::Underway;

/// The NATS state of one connected byte stream.
#[derive(Debug)]
pub struct Connection {
    pub(super) id: ConnectionId,
    pub(super) settings: Rc<Settings>,
    pub(super) entrance: Entrance,
    pub(super) state: State,
    pub(super) underway: Underway,
    /// Whether whole operations in the tail wait, since the client publishes too fast.
    is_holding_back: bool,
    /// When the last whole operation came.
    last_received: Instant,
    /// Pings since then.
    unanswered_pings: u8,
    pub(super) peer_error: Option<PeerError>,
    pub(super) dropped_count: u64,
    /// Bytes waiting to be written of replies that were asked for, however slow the client is.
    pub(super) reply_bytes: usize,
    pub(super) held: Held,
}

#[derive(Debug)]
pub(super) enum State {
    AwaitingConnect { deadline: Instant },
    Connecting { options: Options, deadline: Instant },
    Connected(Box<Established>),
    Closing,
}

/// What a connected client has.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) options: Options,
    /// [`sync::Record::publisher_hash`] of the session's client identifier.
    pub(super) publisher: u64,
    pub(super) allowance: Allowance,
    pub(super) subscriptions: Subscriptions,
    /// Those that nobody may hear, in their order, until that is known.
    pub(super) requests: VecDeque<Request>,
    /// What the mail office was asked for.
    pub(super) errands: Errands,
}

/// A message whose publisher wants to know whether nobody hears it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) subject: Box<str>,
    /// Where it is told.
    pub(super) reply: Box<str>,
}

impl Connection {
    /// Starts with an accepted link, to which it says who we are.
    #[must_use]
    pub fn new(
        id: ConnectionId,
        settings: Rc<Settings>,
        listener: ListenerId,
        ends: &Ends,
        now: Now,
    ) -> Self {
        let mut connection = Self {
            id,
            entrance: Entrance {
                listener,
                identity: None,
            },
            state: State::AwaitingConnect {
                deadline: now.instant + settings.connect_timeout,
            },
            settings,
            underway: Underway::default(),
            is_holding_back: false,
            last_received: now.instant,
            unanswered_pings: 0,
            peer_error: None,
            dropped_count: 0,
            reply_bytes: 0,
            held: Held::default(),
        };
        connection.introduce(ends);
        connection.count();
        connection
    }

    /// Ends with the answer that there is no place for the client. Call it before the first bytes, for
    /// a few links at a time.
    pub fn handle_no_place(&mut self) {
        self.turn_away(Refusal::Sessions);
        self.count();
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
            self.fail(PeerError::Memory);
            self.count();
        }
    }

    /// Takes an event of the broker for this connection. Drain [`Connection::poll`] afterwards.
    pub fn handle_event(&mut self, now: Now, event: Event) {
        match (&self.state, event) {
            (State::Connecting { options, .. }, Event::Connected(connected)) => {
                self.establish(now, *options, &connected);
            }
            (State::Connecting { .. }, Event::Refused(refusal)) => self.turn_away(refusal),
            (State::Connecting { .. } | State::Connected(_), Event::Closed(reason)) => {
                self.close(reason);
            }
            (State::Connected(_), event) => self.hear(now, event),
            // The connection closed while the event was on its way.
            (State::AwaitingConnect { .. } | State::Connecting { .. } | State::Closing, _) => {}
        }
        self.count();
    }

    /// Does what is due: the deadline of CONNECT and of the login, pings, what was held back. One sweep a second over all connections is
    /// precise enough.
    pub fn handle_timeout(&mut self, now: Now) {
        self.let_go();
        if self.poll_timeout().is_none_or(|due| due > now.instant) {
            return;
        }
        match &self.state {
            State::Connected(_) if self.is_holding_back => {
                self.is_holding_back = false;
                self.consume_tail(now);
            }
            State::AwaitingConnect { .. } | State::Connecting { .. } => {
                self.fail(PeerError::ConnectTimeout);
            }
            State::Connected(_) if self.unanswered_pings >= self.settings.ping_count_maximum => {
                self.fail(PeerError::Stale);
            }
            State::Connected(_) => {
                self.unanswered_pings += 1;
                self.say(&ServerOperation::Ping);
            }
            State::Closing => {}
        }
        self.count();
    }

    /// Notes that the link is not read because others have to go first: the client's silence does
    /// not count.
    pub const fn handle_held_back(&mut self, now: Now) {
        self.note_heard(now.instant);
    }

    /// Notes that the link is gone; the broker hears it by [`Connection::poll`].
    pub fn handle_lost(&mut self) {
        self.leave_broker();
        self.state = State::Closing;
    }

    /// Ends because the server stops. Nothing is said: some clients take any word for a reason not
    /// to come back.
    pub fn handle_shutdown(&mut self) {
        self.handle_lost();
    }

    /// Gives the next input for the broker. `None` also when that is a request for the mail office:
    /// see [`Connection::poll_request`].
    pub fn poll(&mut self) -> Option<Input> {
        match self.is_asking() {
            true => None,
            false => self.underway.poll(),
        }
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
            State::AwaitingConnect { deadline } | State::Connecting { deadline, .. } => {
                Some(*deadline)
            }
            State::Connected(established) if self.is_holding_back => {
                let due = established.allowance.due(self.settings.rate());
                Some(due.unwrap_or(self.last_received))
            }
            State::Connected(_) => {
                let intervals = u32::from(self.unanswered_pings) + 1;
                Some(self.last_received + self.settings.ping_interval * intervals)
            }
            State::Closing => None,
        }
    }

    /// Takes what is to be written, leaving `empty` (a buffer to use again) in its place. Call it
    /// when the bytes of the former call are written.
    pub fn take_outbound(&mut self, empty: Vec<u8>) -> Vec<u8> {
        let taken = self.underway.take_outbound(empty, PIECE_BYTES);
        self.reply_bytes = 0;
        self.count();
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

    /// Whether the link should be read: false while the broker makes the session, while requests or
    /// too much that is to be written wait, and when closed.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        let has_none_waiting = self.underway.next().is_none();
        self.takes_operations() && has_none_waiting && !self.is_holding_back && !self.is_over()
    }

    /// Whether the link is to be closed once the outbound bytes are written.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    /// Why we closed the connection, if the peer is to blame.
    #[must_use]
    pub const fn peer_error(&self) -> Option<&PeerError> {
        self.peer_error.as_ref()
    }

    /// Messages that were not sent because their topic has no name in NATS.
    #[must_use]
    pub const fn dropped_count(&self) -> u64 {
        self.dropped_count
    }

    /// Tells the broker something.
    pub(super) fn tell(&mut self, input: Input) {
        self.underway.tell(input);
    }

    /// Sends an operation.
    pub(super) fn say(&mut self, operation: &ServerOperation<'_>) {
        let said = operation.encode(self.underway.outbound());
        debug_assert!(said.is_ok(), "what we say ourselves can be encoded");
    }

    pub(super) fn consume_tail(&mut self, now: Now) {
        let tail = self.underway.take_tail();
        let consumed = self.consume(now, &tail);
        if !self.is_closed() {
            self.underway.keep_rest(tail, consumed);
        }
    }

    pub(super) const fn note_heard(&mut self, now: Instant) {
        self.last_received = now;
        self.unanswered_pings = 0;
    }

    /// Handles whole operations from the front of `bytes`; gives how many bytes they had.
    fn consume(&mut self, now: Now, bytes: &[u8]) -> usize {
        let (limits, mut consumed) = (self.settings.limits(), 0);
        while self.takes_operations() {
            let outcome = match ClientOperation::decode(&bytes[consumed..], &limits) {
                Ok(None) => break,
                Ok(Some((ClientOperation::Publish(_), _))) if !self.may_publish(now) => {
                    self.is_holding_back = true;
                    break;
                }
                Ok(Some((operation, taken))) => {
                    consumed += taken;
                    self.handle_operation(now, operation)
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                self.fail(error);
            }
        }
        // Bytes alone are no sign of life.
        if consumed > 0 {
            self.note_heard(now.instant);
        }
        consumed
    }

    /// Gives back the memory of what is empty: most connections are idle most of the time.
    pub(crate) fn let_go(&mut self) {
        self.underway.let_go();
        self.count();
        if let State::Connected(established) = &mut self.state
            && established.requests.is_empty()
        {
            established.requests = VecDeque::new();
        }
    }

    /// Uses up one publish of the client's, unless it has none left.
    fn may_publish(&mut self, now: Now) -> bool {
        let rate = self.settings.rate();
        match &mut self.state {
            State::Connected(established) => established.allowance.take(now.instant, rate),
            // It is refused for another reason.
            State::AwaitingConnect { .. } | State::Connecting { .. } | State::Closing => true,
        }
    }

    /// Holds a client that goes on talking before it has its session to one message.
    fn check_tail(&mut self) {
        let limit = self.settings.message_bytes_maximum + self.settings.control_line_bytes_maximum;
        let bytes = self.underway.tail_bytes();
        if matches!(self.state, State::Connecting { .. }) && bytes > limit {
            self.fail(DecodeError::MessageTooLarge { bytes, limit }.into());
        }
    }

    const fn takes_operations(&self) -> bool {
        matches!(
            self.state,
            State::AwaitingConnect { .. } | State::Connected(_)
        )
    }
}
