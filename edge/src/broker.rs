//! The broker: who is connected, who subscribed to what, who gets which record, and what must be
//! durable before anybody is answered.
//!
//! It promises that a publish with QoS over 0 is answered only when every reader that outlives its
//! connection can find it in the log, and that a session gets the records of one topic in the
//! order of their publication. Sessions are cursors over the log, never queues: an offline session
//! costs nothing a message. It never touches a socket, a file or a clock: time comes with each
//! call, commits and reads are outputs that inputs answer, and it knows no protocol.
//!
//! A driver feeds [`Broker::handle`], and drains [`Broker::poll`]: it gives each event to its
//! connection, and what the connection says thereupon back to the broker, *before* the next
//! `poll`. Reading for sessions that are behind happens inside `poll`, a bounded step at a time,
//! so that a congested connection is heard in time.

mod event;
mod settings;

pub use event::{
    CloseReason, Connect, Connected, ConnectionId, Delivery, DeliveryId, Echo, Event, Input, Note,
    NoteChange, Outcome, Output, Refusal, RetainAs, RetainHandling, Room, SessionFound, SessionId,
    SessionStart, SubscribeFilter, SubscriptionIdentifiers, Ticket, Token, Unsubscription, Urgency,
    Will, WillFate,
};
pub use settings::{Counters, Settings, Stored};

use std::collections::VecDeque;

use sync::{Instant, Lane, Now, Offset};

/// Sessions, subscriptions, retained messages and wills of one gateway.
#[derive(Debug)]
pub struct Broker {
    outputs: VecDeque<Output>,
}

impl Broker {
    /// Starts from what the tables held. Values that can't be read are left out and counted in
    /// [`Counters::damaged`].
    #[must_use]
    pub fn new(_settings: Settings, _stored: Stored, _now: Now) -> Self {
        Self {
            outputs: VecDeque::new(),
        }
    }

    /// Takes one fact. Drain [`Broker::poll`] afterwards.
    ///
    /// # Panics
    /// When commits are answered out of their order.
    pub fn handle(&mut self, _now: Now, _input: Input) {}

    /// Does what is due: sweeps, delayed wills, ends of sessions.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// Gives the next output, and does a bounded step of background reading when there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Broker::handle_timeout`] next; stale after any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The lowest offset of a lane that any session still wants. Walks all sessions.
    #[must_use]
    pub fn release_floor(&self, _lane: Lane) -> Offset {
        Offset(0)
    }

    /// Whether a session that is behind may want records of a topic. Lets a reader skip blocks.
    #[must_use]
    pub fn wants(&self, _session: SessionId, _topic: &str) -> bool {
        true
    }

    /// Bytes of commits that are not answered yet. A driver stops reading from links above its
    /// limit.
    #[must_use]
    pub fn uncommitted_bytes(&self) -> usize {
        0
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Sessions that exist, connected or not.
    #[must_use]
    pub fn session_count(&self) -> usize {
        0
    }

    /// Retained messages that exist.
    #[must_use]
    pub fn retained_count(&self) -> usize {
        0
    }
}
