//! How much a connection may hold, of its own and beside all others.

use super::Connection;
use super::connection::State;
use super::subscriptions::Subscriptions;
use crate::memory::Holding;

/// What a reply may take above the limit of all connections, in bytes: what the largest one needs more
/// than the half of it that is shared for certain.
pub(crate) const fn reply_beyond(reply_bytes_maximum: usize, limit: usize) -> usize {
    reply_bytes_maximum.saturating_sub(limit / 2)
}

impl Connection {
    /// Whether one more message can be added to the outbound buffer: not above its own limit nor,
    /// beyond the fair part, above the one that all connections share.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let own = self
            .underway
            .outbound_bytes()
            .saturating_sub(self.reply_bytes);
        let is_greedy = own + bytes.saturating_sub(self.reply_bytes) > self.fair_bytes();
        let is_slow = own > self.settings.outbound_bytes_maximum;
        !(is_slow || self.is_crowded() && is_greedy)
    }

    /// Whether a reply of the mail office fits, which may be larger than any message: all of it has
    /// to fit below the limit of all connections, or within [`reply_beyond`] above it. So the largest
    /// one comes where nothing else waits, however small the limit is.
    pub(super) fn has_room_for_reply(&self, bytes: usize) -> bool {
        let limit = self.settings.outbound_total_bytes_maximum;
        let beyond = reply_beyond(self.settings.reply_bytes_maximum, limit);
        let memory = &self.settings.memory;
        let fits = memory.has_room_for_all(bytes.saturating_sub(beyond), limit);
        bytes <= self.fair_bytes() || fits && !self.is_over()
    }

    /// Whether the outbound buffer is over its own limit.
    pub(super) fn is_over(&self) -> bool {
        self.underway.outbound_bytes() > self.settings.outbound_bytes_maximum
    }

    /// Whether so many more bytes of subscriptions fit beside those of all connections.
    pub(super) fn has_room_to_subscribe(&self, own: &Subscriptions, added_bytes: usize) -> bool {
        let all = self.settings.memory.subscription_bytes() - self.held.subscriptions();
        let limit = self.settings.subscription_bytes_maximum;
        own.len() < self.settings.subscription_count_maximum
            && all + own.held_bytes() + added_bytes <= limit
    }

    /// Counts the buffers as they are now.
    pub(super) fn count(&mut self) {
        let subscriptions = match &self.state {
            State::Connected(established) => established.subscriptions.held_bytes(),
            State::AwaitingConnect { .. } | State::Connecting { .. } | State::Closing => 0,
        };
        let (inbound, outbound) = self.underway.held_bytes();
        let now = Holding {
            inbound,
            outbound,
            aliases: 0,
            subscriptions,
        };
        self.settings
            .memory
            .exchange(self.id.index, &mut self.held, now);
    }

    /// Whether what came in part is too much of all connections together, and this one has more
    /// than its fair part of it.
    pub(super) fn holds_too_much(&self) -> bool {
        let limit = self.settings.inbound_total_bytes_maximum;
        let (list, _) = self.underway.held_bytes();
        let memory = &self.settings.memory;
        memory.is_too_much_inbound(&self.held, list, limit)
    }

    /// Makes room for an operation in the outbound buffer: with some for the next one, unless memory
    /// is short.
    pub(super) fn make_room(&mut self, bytes: usize) {
        let spare = !self.is_crowded();
        self.underway.make_room(bytes, spare);
    }

    /// Whether all connections together are at their limit.
    fn is_crowded(&self) -> bool {
        let limit = self.settings.outbound_total_bytes_maximum;
        self.settings.memory.is_crowded(limit)
    }

    /// What may be added to the outbound buffer although they are.
    fn fair_bytes(&self) -> usize {
        let limit = self.settings.outbound_total_bytes_maximum;
        self.settings.memory.fair_part_of(limit)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.settings.memory.leave(self.id.index, &mut self.held);
    }
}
