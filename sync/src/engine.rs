//! Store-and-forward for one route.

use alloc::collections::VecDeque;

use crate::{
    ConnectionId, ConnectionStatus, Counters, Input, Instant, Lane, LaneStatus, Offset, Output,
    Start, StartError,
};

/// The store-and-forward machine of one route to one cloud.
pub struct Engine {
    outputs: VecDeque<Output>,
}

impl Engine {
    /// Makes an engine that continues where its checkpoint says. It does nothing until the first
    /// [`Engine::handle_timeout`], which is due at once.
    ///
    /// # Errors
    /// When a setting is out of range, or the checkpoint is not one of this log. In the second
    /// case a start without it loses nothing.
    pub fn new(start: &Start<'_>) -> Result<Self, StartError> {
        start.settings.check()?;
        Ok(Self {
            outputs: VecDeque::new(),
        })
    }

    /// Takes a fact in.
    pub fn handle(&mut self, _now: Instant, _input: Input) {}

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// Gives the next intention, in the order in which they must be carried out.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells when [`Engine::handle_timeout`] is due; stale after each `handle*` call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The lowest offset of a lane that must be kept: durably acknowledged by the cloud and held
    /// long enough below. Retention may drop what lies below; the oldest there may be.
    #[must_use]
    pub fn release_floor(&self, _lane: Lane) -> Offset {
        Offset(0)
    }

    /// Every offset of a lane below this one is settled.
    #[must_use]
    pub fn ack_floor(&self, _lane: Lane) -> Offset {
        Offset(0)
    }

    /// Whether all that [`Input::Stop`] asked for is done.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        true
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// One lane as it is now.
    #[must_use]
    pub fn lane(&self, _lane: Lane) -> LaneStatus {
        LaneStatus {
            head: Offset(0),
            delivered: Offset(0),
            ack_floor: Offset(0),
            release_floor: Offset(0),
            backlog_count: 0,
            ready_count: 0,
            ready_bytes: 0,
            held_count: 0,
            refused_topics_count: 0,
        }
    }

    /// One connection as it is now; `None` when there is no such one.
    #[must_use]
    pub fn connection(&self, _connection: ConnectionId) -> Option<ConnectionStatus> {
        None
    }
}
