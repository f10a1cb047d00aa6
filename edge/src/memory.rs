//! What all connections together hold, whatever they speak: of packets that are not yet whole and
//! topics that clients gave aliases to, of packets that are not yet written, of topics that we gave
//! aliases to, and of the names of subscriptions.
//!
//! Each limit is shared, so that a few connections may hold much or many a little. A connection is
//! always allowed its fair part, so that those who hold too much can't starve the others.

use std::cell::Cell;

/// Bytes held now; shared by all connections through their settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// How many connections there may be; 0 when nobody knows.
    places: usize,
    inbound: Cell<usize>,
    outbound: Cell<usize>,
    aliases: Cell<usize>,
    subscriptions: Cell<usize>,
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

/// What one connection was counted with: far less than 4 GiB of anything, and there are many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    inbound: u32,
    outbound: u32,
    aliases: u32,
    subscriptions: u32,
}

/// What a connection may hold although the shared limit is reached, unless there are so many that
/// all of them together would then hold more than the limit.
const FAIR_BYTES: usize = 4 << 10;

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

    /// A connection's fair part of a limit that all share. All fair parts together are not above it.
    pub(crate) fn fair_part_of(&self, limit: usize) -> usize {
        let part = limit.checked_div(self.places);
        part.map_or(FAIR_BYTES, |part| part.clamp(1, FAIR_BYTES))
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
    pub(crate) fn exchange(&self, before: &mut Held, now: Holding) {
        let now = Held::of(now);
        let change = |total: &Cell<usize>, before: u32, now: u32| {
            total.set(total.get() + now as usize - before as usize);
        };
        change(&self.inbound, before.inbound, now.inbound);
        change(&self.outbound, before.outbound, now.outbound);
        change(&self.aliases, before.aliases, now.aliases);
        change(&self.subscriptions, before.subscriptions, now.subscriptions);
        *before = now;
    }
}

impl Held {
    fn of(holding: Holding) -> Self {
        let count = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            inbound: count(holding.inbound),
            outbound: count(holding.outbound),
            aliases: count(holding.aliases),
            subscriptions: count(holding.subscriptions),
        }
    }

    /// Bytes of packets that have come in part, and of topics behind the client's aliases.
    pub(crate) const fn inbound(&self) -> usize {
        self.inbound as usize
    }

    /// Bytes of subscriptions in the view.
    pub(crate) const fn subscriptions(&self) -> usize {
        self.subscriptions as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of ten thousand was allowed its 4 KiB beyond a limit of 10 MB: 40 MB more.
    #[test]
    fn the_fair_parts_of_however_many_are_together_not_above_what_all_share() {
        const LIMIT: usize = 10_000_000;
        for places in [0, 1, 1_000, 10_000, 1_000_000] {
            let fair = Memory::shared_by(places).fair_part_of(LIMIT);
            assert!(fair * places <= LIMIT, "{places}: {fair}");
            assert!(places > 2_441 || fair == FAIR_BYTES, "{places}: {fair}");
        }
    }

    #[test]
    fn what_is_let_go_is_no_longer_counted() {
        let memory = Memory::default();
        let (mut first, mut second) = (Held::default(), Held::default());
        let held = |inbound, outbound| Holding {
            inbound,
            outbound,
            aliases: 3,
            subscriptions: 2,
        };
        memory.exchange(&mut first, held(100, 5));
        memory.exchange(&mut second, held(10, 0));
        memory.exchange(&mut first, held(30, 7));
        assert_eq!((memory.inbound_bytes(), memory.outbound_bytes()), (40, 7));
        assert_eq!((memory.alias_bytes(), memory.subscription_bytes()), (6, 4));
        memory.exchange(&mut first, Holding::default());
        memory.exchange(&mut second, Holding::default());
        assert_eq!(memory, Memory::default());
    }
}
