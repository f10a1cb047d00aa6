//! What all connections together hold, whatever they speak: of packets that are not yet whole and
//! topics that clients gave aliases to, of packets that are not yet written, of topics that we gave
//! aliases to, and of the names of subscriptions.
//!
//! Each limit is shared, so that a few connections may hold much or many a little. Of buffers a
//! connection is always allowed its fair part, so that those who hold too much can't starve the
//! others; the fair parts of all who are connected are within the limit, not on top of it.
//!
//! What the broker is about to hand to a connection is promised first, and counts until the
//! connection counts itself. Who was refused is remembered until there is room again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Bytes held now; shared by all connections through their settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// How many connections there may be; 0 when nobody knows.
    places: usize,
    connections: Cell<usize>,
    inbound: Cell<usize>,
    outbound: Cell<usize>,
    aliases: Cell<usize>,
    subscriptions: Cell<usize>,
    /// What each connection is to have written, by its place.
    outbounds: RefCell<Vec<Outbound>>,
    /// Places that were refused room, in the order of that; some have it by now.
    waiting: RefCell<VecDeque<u32>>,
}

/// What one connection is to have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outbound {
    /// As the connection counted it last: far less than 512 MiB, and there are many.
    held: u32,
    /// What was promised since then, in 29 bits; the others are flags.
    promised: u32,
}

/// What one connection holds, by what it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holding {
    pub(crate) inbound: usize,
    pub(crate) outbound: usize,
    /// Of ours.
    pub(crate) aliases: usize,
    /// In the view itself; the broker counts its own.
    pub(crate) subscriptions: usize,
}

/// What one connection was counted with, but for what it is to have written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    inbound: u32,
    aliases: u32,
    subscriptions: u32,
    /// Whether it is counted at all.
    is_here: bool,
}

/// What may be held of packets that wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// By one connection.
    pub own: usize,
    /// By all together.
    pub total: usize,
}

/// What a connection may hold although the shared limit is reached, unless there are so many that
/// all of them together would then hold more than half of the limit.
const FAIR_BYTES: usize = 4 << 10;
/// It found no room, and was not told of any since.
const REFUSED: u32 = 1 << 31;
/// It is among those that wait.
const QUEUED: u32 = 1 << 30;
/// Somebody is there.
const HERE: u32 = 1 << 29;
const FLAGS: u32 = REFUSED | QUEUED | HERE;

/// How much of a message that others hold as well is copied at a time, to be written.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

impl Memory {
    /// Starts with nothing held, for so many connections.
    #[must_use]
    pub(crate) fn shared_by(places: usize) -> Self {
        Self {
            places,
            ..Self::default()
        }
    }

    /// A connection's fair part of a limit that all share: all together have half of it at most.
    pub(crate) fn fair_part_of(&self, limit: usize) -> usize {
        let parts = 2 * self.places.max(self.connections.get());
        let part = limit.checked_div(parts);
        part.map_or(FAIR_BYTES, |part| part.min(FAIR_BYTES))
    }

    /// What is left of a limit for whoever comes first, besides the fair parts of all who are
    /// connected.
    fn shared_part_of(&self, limit: usize) -> usize {
        limit.saturating_sub(self.connections.get() * self.fair_part_of(limit))
    }

    /// Whether a connection holds more than its fair part of what came in part, and all that is shared
    /// is held, not counting the list that its own packet is in: one packet arrives for certain, however
    /// large it is beside the limit.
    pub(crate) fn is_too_much_inbound(&self, held: &Held, list: usize, limit: usize) -> bool {
        self.inbound.get().saturating_sub(list) > self.shared_part_of(limit)
            && held.inbound as usize > self.fair_part_of(limit)
    }

    /// Whether only fair parts are left of what may wait to be written.
    pub(crate) fn is_crowded(&self, limit: usize) -> bool {
        // Fair parts are half of it at most: as a rule there is nothing to divide.
        let all = self.outbound.get();
        all >= limit / 2 && all >= self.shared_part_of(limit)
    }

    /// Whether it is nearly so.
    pub(crate) fn is_nearly_crowded(&self, limit: usize) -> bool {
        let all = self.outbound.get();
        all >= limit / 8 * 3 && all >= self.shared_part_of(limit) / 4 * 3
    }

    /// Whether so many more bytes would not make it so, whoever gets them.
    pub(crate) fn has_room_for_all(&self, bytes: usize, limit: usize) -> bool {
        self.outbound.get().saturating_add(bytes) <= self.shared_part_of(limit)
    }

    /// Whether a connection may be given so many more bytes to write.
    pub(crate) fn has_room(&self, place: u32, bytes: usize, limits: OutboundLimits) -> bool {
        let own = self.outbound_of(place);
        let is_fair = || own.saturating_add(bytes) <= self.fair_part_of(limits.total);
        own <= limits.own && (!self.is_crowded(limits.total) || is_fair())
    }

    /// How many bytes a connection may be given to write, about.
    pub(crate) fn room_of(&self, place: u32, limits: OutboundLimits) -> usize {
        let own = self.outbound_of(place);
        let shared = self.shared_part_of(limits.total);
        let shared = shared.saturating_sub(self.outbound.get());
        let fair = self.fair_part_of(limits.total).saturating_sub(own);
        limits.own.saturating_sub(own).min(shared.max(fair))
    }

    /// Counts bytes that a connection is about to be given.
    pub(crate) fn promise(&self, place: u32, bytes: usize) {
        let mut all = self.outbounds.borrow_mut();
        if let Some(it) = all.get_mut(place as usize).filter(|it| it.is_here()) {
            let bytes = small(bytes).min(!FLAGS - (it.promised & !FLAGS));
            it.promised += bytes;
            self.outbound.set(self.outbound.get() + bytes as usize);
        }
    }

    /// Remembers that a connection found no room.
    pub(crate) fn refuse(&self, place: u32) {
        let mut all = self.outbounds.borrow_mut();
        if let Some(it) = all.get_mut(place as usize).filter(|it| it.is_here()) {
            let is_queued = it.promised & QUEUED != 0;
            it.promised |= REFUSED | QUEUED;
            if !is_queued {
                self.waiting.borrow_mut().push_back(place);
            }
        }
    }

    /// Whether a connection found no room, and was not told of any since.
    pub(crate) fn is_refused(&self, place: u32) -> bool {
        let all = self.outbounds.borrow();
        all.get(place as usize)
            .is_some_and(|it| it.promised & REFUSED != 0)
    }

    /// Whether a connection found no room, which is forgotten by this.
    pub(crate) fn take_refusal(&self, place: u32) -> bool {
        let mut all = self.outbounds.borrow_mut();
        let found = all.get_mut(place as usize);
        found.is_some_and(|it| {
            let was_refused = it.promised & REFUSED != 0;
            it.promised &= !REFUSED;
            was_refused
        })
    }

    /// Whether anybody was refused and waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// The place that waits longest for room, once there is some.
    pub(crate) fn next_waiting(&self, limit: usize) -> Option<u32> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() || self.is_nearly_crowded(limit) {
            return None;
        }
        let next = waiting.pop_front();
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
        let mut all = self.outbounds.borrow_mut();
        if let Some(it) = next.and_then(|place| all.get_mut(place as usize)) {
            it.promised &= !QUEUED;
        }
        next
    }

    /// Whether nobody is connected and nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let held = self.inbound.get() + self.outbound.get();
        let kept = self.aliases.get() + self.subscriptions.get();
        self.connections.get() + held + kept == 0
    }

    /// Bytes of packets that have come in part, and of topics behind the aliases of clients.
    #[must_use]
    pub const fn inbound_bytes(&self) -> usize {
        self.inbound.get()
    }

    /// Bytes of packets that wait to be written.
    #[must_use]
    pub const fn outbound_bytes(&self) -> usize {
        self.outbound.get()
    }

    /// Bytes of topics that we gave aliases to.
    #[must_use]
    pub const fn alias_bytes(&self) -> usize {
        self.aliases.get()
    }

    /// Bytes of subscriptions that views keep themselves.
    #[must_use]
    pub const fn subscription_bytes(&self) -> usize {
        self.subscriptions.get()
    }

    /// Counts a connection with what it holds now instead of what it held before.
    pub(crate) fn exchange(&self, place: u32, before: &mut Held, now: Holding) {
        if !before.is_here {
            self.enter(place);
            before.is_here = true;
        }
        let change = |total: &Cell<usize>, before: &mut u32, now: usize| {
            let former = std::mem::replace(before, small(now));
            total.set(total.get() + *before as usize - former as usize);
        };
        change(&self.inbound, &mut before.inbound, now.inbound);
        change(&self.aliases, &mut before.aliases, now.aliases);
        let subscriptions = now.subscriptions;
        change(
            &self.subscriptions,
            &mut before.subscriptions,
            subscriptions,
        );
        self.exchange_outbound(place, now.outbound);
    }

    /// Forgets a connection.
    pub(crate) fn leave(&self, place: u32, before: &mut Held) {
        if before.is_here {
            self.exchange(place, before, Holding::default());
            self.connections.set(self.connections.get() - 1);
            before.is_here = false;
            if let Some(it) = self.outbounds.borrow_mut().get_mut(place as usize) {
                it.promised &= QUEUED;
            }
        }
    }

    fn enter(&self, place: u32) {
        self.connections.set(self.connections.get() + 1);
        let mut all = self.outbounds.borrow_mut();
        if all.len() <= place as usize {
            all.resize(place as usize + 1, Outbound::default());
        }
        all[place as usize].promised |= HERE;
    }

    fn exchange_outbound(&self, place: u32, now: usize) {
        if let Some(it) = self.outbounds.borrow_mut().get_mut(place as usize) {
            let former = it.all();
            it.held = small(now);
            it.promised &= FLAGS;
            self.outbound.set(self.outbound.get() + it.all() - former);
        }
    }

    /// What a connection is to have written beyond its fair part.
    pub(crate) fn surplus_of(&self, place: u32, limit: usize) -> usize {
        let own = self.outbound_of(place);
        own.saturating_sub(self.fair_part_of(limit))
    }

    /// What a connection is to have written, with what was promised.
    fn outbound_of(&self, place: u32) -> usize {
        let all = self.outbounds.borrow();
        all.get(place as usize).map_or(0, Outbound::all)
    }
}

impl Outbound {
    const fn is_here(&self) -> bool {
        self.promised & HERE != 0
    }

    const fn all(&self) -> usize {
        self.held as usize + (self.promised & !FLAGS) as usize
    }
}

impl Held {
    /// Bytes of subscriptions in the view.
    pub(crate) const fn subscriptions(&self) -> usize {
        self.subscriptions as usize
    }
}

fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min(!FLAGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(inbound: usize, outbound: usize) -> Holding {
        Holding {
            inbound,
            outbound,
            aliases: 3,
            subscriptions: 2,
        }
    }

    /// Each of ten thousand was allowed its 4 KiB beyond a limit of 10 MB: 40 MB more.
    #[test]
    fn however_many_there_are_they_are_not_allowed_more_than_what_all_share() {
        const LIMIT: usize = 10_000_000;
        let limits = OutboundLimits {
            own: LIMIT,
            total: LIMIT,
        };
        for places in [1, 1_000, 10_000] {
            let memory = Memory::shared_by(places as usize);
            let mut all: Vec<_> = (0..places).map(|_| Held::default()).collect();
            for (place, one) in all.iter_mut().enumerate() {
                memory.exchange(place as u32, one, Holding::default());
            }
            let fair = memory.fair_part_of(LIMIT);
            assert!(places > 1_000 || fair == FAIR_BYTES, "{places}: {fair}");
            // The first take what they can, and then all take their part.
            for _ in 0..2 {
                for place in 0..places {
                    while memory.has_room(place, 100, limits) {
                        memory.promise(place, 100);
                    }
                }
            }
            assert!(memory.outbound_bytes() <= LIMIT + 100, "{places}");
            assert!(memory.outbound_bytes() > LIMIT / 10 * 7, "{places}");
            assert!((1..places).all(|place| memory.outbound_of(place) > fair - 100));
            all.iter_mut()
                .enumerate()
                .for_each(|(place, it)| memory.leave(place as u32, it));
            assert_eq!(memory.outbound_bytes() + memory.connections.get(), 0);
        }
    }

    #[test]
    fn what_is_let_go_is_no_longer_counted() {
        let memory = Memory::default();
        let (mut first, mut second) = (Held::default(), Held::default());
        memory.exchange(0, &mut first, held(100, 5));
        memory.exchange(1, &mut second, held(10, 0));
        memory.exchange(0, &mut first, held(30, 7));
        assert_eq!((memory.inbound_bytes(), memory.outbound_bytes()), (40, 7));
        assert_eq!((memory.alias_bytes(), memory.subscription_bytes()), (6, 4));
        memory.leave(0, &mut first);
        memory.leave(1, &mut second);
        assert_eq!((memory.inbound_bytes(), memory.outbound_bytes()), (0, 0));
        assert_eq!((memory.alias_bytes(), memory.subscription_bytes()), (0, 0));
    }

    #[test]
    fn a_promise_counts_until_the_connection_counts_itself() {
        let (memory, mut one) = (Memory::default(), Held::default());
        memory.promise(0, 50);
        assert_eq!(memory.outbound_bytes(), 0, "nobody is there");
        memory.exchange(0, &mut one, held(0, 5));
        memory.promise(0, 50);
        assert_eq!(memory.outbound_bytes(), 55);
        memory.exchange(0, &mut one, held(0, 40));
        assert_eq!(memory.outbound_bytes(), 40);
        memory.promise(0, 50);
        memory.leave(0, &mut one);
        assert_eq!(memory.outbound_bytes(), 0);
    }

    #[test]
    fn who_was_refused_is_named_once_when_there_is_room() {
        let memory = Memory::default();
        let (mut first, mut second) = (Held::default(), Held::default());
        memory.exchange(0, &mut first, held(0, 90_000));
        memory.exchange(1, &mut second, held(0, 0));
        memory.refuse(1);
        memory.refuse(1);
        assert_eq!(memory.next_waiting(100_000), None);
        memory.exchange(0, &mut first, held(0, 10));
        assert_eq!(memory.next_waiting(100_000), Some(1));
        assert!(memory.take_refusal(1) && !memory.take_refusal(1));
        assert_eq!(memory.next_waiting(100_000), None);
    }

    #[test]
    fn what_is_beyond_the_fair_part_is_a_surplus() {
        let memory = Memory::shared_by(100);
        let mut one = Held::default();
        assert_eq!(memory.surplus_of(0, 1 << 20), 0, "nobody is there");
        memory.exchange(0, &mut one, held(9000, FAIR_BYTES));
        assert_eq!(memory.surplus_of(0, 1 << 20), 0);
        memory.promise(0, 77);
        assert_eq!(memory.surplus_of(0, 1 << 20), 77);
        memory.leave(0, &mut one);
        assert_eq!(memory.surplus_of(0, 1 << 20), 0);
    }
}
