//! How much a connection may hold, of its own and beside all others.

use super::Connection;
use super::connection::State;
use crate::broker::{Input, Room};
use crate::memory::{Holding, PIECE_BYTES};

impl Connection {
    /// Whether no more should be added to the outbound buffer: by its own limit or, beyond the
    /// fair part, by the one that all connections share.
    pub(super) fn is_full(&self) -> bool {
        self.is_over() || self.is_crowded() && self.underway.outbound_bytes() > self.fair_bytes()
    }

    /// Whether a message that nobody promised can't be added.
    pub(super) fn has_no_room_for(&self, bytes: usize) -> bool {
        let all = self.underway.outbound_bytes() + bytes;
        self.is_over() || self.is_crowded() && all > self.fair_bytes()
    }

    /// Makes room for a packet in the outbound buffer: with some for the next one, unless memory is
    /// short.
    pub(super) fn make_room(&mut self, bytes: usize) {
        let spare = !self.is_crowded();
        self.underway.make_room(bytes, spare);
    }

    /// How much of a large message may be copied now, to be written.
    pub(super) fn piece_bytes(&self) -> usize {
        match self.is_crowded() {
            true => self.fair_bytes(),
            false => PIECE_BYTES,
        }
    }

    /// Whether the outbound buffer is over its own limit.
    pub(super) fn is_over(&self) -> bool {
        self.underway.outbound_bytes() > self.settings.outbound_bytes_maximum
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

    /// Counts the buffers as they are now.
    pub(super) fn count(&mut self) {
        let (mut inbound, mut outbound) = self.underway.held_bytes();
        let mut aliases = 0;
        if let State::Connected(established) = &self.state {
            inbound += established.aliases.held_bytes();
            outbound += established.inflight.keeping_bytes;
            aliases = established.given.as_ref().map_or(0, |it| it.held_bytes());
        }
        let now = Holding {
            inbound,
            outbound,
            aliases,
            subscriptions: 0,
        };
        self.settings
            .memory
            .exchange(self.id.index, &mut self.held, now);
    }

    /// Whether what came in part, and topics that have an alias, are too much together, and this
    /// connection has more than its fair part of them.
    pub(super) fn holds_too_much(&self) -> bool {
        let limit = self.settings.inbound_total_bytes_maximum;
        let (list, _) = self.underway.held_bytes();
        let memory = &self.settings.memory;
        memory.is_too_much_inbound(&self.held, list, limit)
    }

    /// What a topic may take that is to get an alias of ours.
    pub(super) fn alias_room(&self) -> usize {
        let limit = self.settings.outbound_alias_bytes_maximum;
        limit.saturating_sub(self.settings.memory.alias_bytes())
    }

    /// Gives back the memory of what is empty: most connections are idle most of the time.
    pub(crate) fn let_go(&mut self) {
        self.underway.let_go();
        self.count();
        if let State::Connected(established) = &mut self.state {
            established.inflight.let_go();
            if let Some(inflight) = established.inflight.held() {
                inflight.shrink();
            }
            established.answers.let_go();
        }
    }

    /// Tells the broker when deliveries have to wait, and when they need no longer: also one that it
    /// found no room for by itself.
    pub(super) fn note_congestion(&mut self) {
        let is_full = self.is_full();
        let place = self.id.index;
        let has_room = || !is_full && !self.is_crowded() && self.has_own_room();
        let memory = &self.settings.memory;
        let is_refused = memory.is_refused(place);
        let was_refused = is_refused && has_room() && memory.take_refusal(place);
        if is_refused && !was_refused && self.is_crowded() {
            // Its turn may have come while it held too much itself.
            memory.refuse(place);
        }
        if is_full != self.is_congested || was_refused {
            self.tell_of_room(is_full);
        }
    }

    /// Lets the broker use the fair part, which is all there is for one that waited for long.
    pub(super) fn look_for_room(&mut self) {
        self.note_congestion();
        if self.has_own_room() && self.settings.memory.take_refusal(self.id.index) {
            self.tell_of_room(false);
        }
    }

    /// Whether the broker would find room for anything at all, by its own count.
    fn has_own_room(&self) -> bool {
        let limits = self.settings.outbound_limits();
        self.settings.memory.has_room(self.id.index, 1, limits)
    }

    fn tell_of_room(&mut self, is_full: bool) {
        if matches!(self.state, State::Connected(_)) {
            self.is_congested = is_full;
            let room = if is_full { Room::Congested } else { Room::Free };
            self.underway.tell(Input::Room {
                connection: self.id,
                room,
            });
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.settings.memory.leave(self.id.index, &mut self.held);
    }
}
