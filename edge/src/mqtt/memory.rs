//! What all connections together hold of packets that are not yet whole and topics that clients
//! gave aliases to, of packets that are not yet written, and of topics that we gave aliases to.
//!
//! Each limit is shared, so that a few connections may hold much or many a little. A connection is
//! always allowed its fair part, so that those who hold too much can't starve the others.

use std::cell::Cell;

/// Bytes held now; shared by all connections through their settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    inbound: Cell<usize>,
    outbound: Cell<usize>,
    aliases: Cell<usize>,
}

/// What one connection was counted with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) inbound: usize,
    pub(super) outbound: usize,
    /// Of ours.
    pub(super) aliases: usize,
}

/// What a connection may hold although the shared limit is reached.
pub(super) const FAIR_BYTES: usize = 4 << 10;

impl Memory {
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

    /// Counts a connection with what it holds now instead of what it held before.
    pub(super) fn exchange(&self, before: &mut Held, now: Held) {
        let change = |total: &Cell<usize>, before: usize, now: usize| {
            total.set(total.get() + now - before);
        };
        change(&self.inbound, before.inbound, now.inbound);
        change(&self.outbound, before.outbound, now.outbound);
        change(&self.aliases, before.aliases, now.aliases);
        *before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_is_no_longer_counted() {
        let memory = Memory::default();
        let (mut first, mut second) = (Held::default(), Held::default());
        let held = |inbound, outbound| Held {
            inbound,
            outbound,
            aliases: 3,
        };
        memory.exchange(&mut first, held(100, 5));
        memory.exchange(&mut second, held(10, 0));
        memory.exchange(&mut first, held(30, 7));
        assert_eq!((memory.inbound_bytes(), memory.outbound_bytes()), (40, 7));
        assert_eq!(memory.alias_bytes(), 6);
        memory.exchange(&mut first, Held::default());
        memory.exchange(&mut second, Held::default());
        assert_eq!(memory, Memory::default());
    }
}
