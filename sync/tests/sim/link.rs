//! One connection's wire and the bridge behind it: an unreliable pipe that keeps order, until it
//! falls, and then what was under way arrives up to some point and the answers do not.

use super::At;

#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) phase: Phase,
    /// Grows with each connection made: what belongs to an older one is dead.
    pub(crate) session: u64,
    /// Nothing can be connected until then.
    pub(crate) partitioned_until: u64,
    /// When the last record sent arrives, and the last answer: order is kept.
    pub(crate) last_up: u64,
    pub(crate) last_down: u64,
    /// After a fall: what was under way on this session arrives until this time.
    pub(crate) cut: (u64, u64),
    /// Sent and not answered.
    pub(crate) unanswered: Vec<At>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    Connecting,
    Up(Manner),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Normal,
    /// The cloud hears and is not heard.
    Mute,
    /// Nothing passes and nobody says so.
    HalfOpen,
}

impl Link {
    /// Whether what was sent on a session still gets to the cloud.
    pub(crate) fn carries(&self, now: u64, session: u64) -> bool {
        match self.phase {
            Phase::Up(Manner::HalfOpen) => false,
            Phase::Up(_) => session == self.session,
            Phase::Idle | Phase::Connecting => session == self.cut.0 && now <= self.cut.1,
        }
    }

    /// Whether an answer of a session still gets to the gateway.
    pub(crate) fn answers(&self, session: u64) -> bool {
        self.phase == Phase::Up(Manner::Normal) && session == self.session
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Ends it, as seen from the gateway.
    pub(crate) fn fall(&mut self, last_arrival: u64) {
        // What a half-open connection swallowed is not followed by anything.
        if matches!(self.phase, Phase::Up(Manner::Normal | Manner::Mute)) {
            self.cut = (self.session, last_arrival);
        }
        self.phase = Phase::Idle;
        self.unanswered.clear();
    }
}
