//! How many connections each address has, so that one of them can't take all places.
//!
//! This machine's own addresses are not counted: its processes look all alike from here, a proxy
//! among them. An IPv6 address counts by its first 64 bits, which is what one customer of a network
//! has. The table holds an entry only for an address that has a connection, so that it is never
//! longer than the connections are many.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU64;

/// What connections are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(NonZeroU64);

/// Multicast as IPv6, so that no sender's first 64 bits are the same.
const IPV4: u64 = 0xFFFF << 48;

impl Address {
    /// What a peer is counted by; `None` for one on this machine.
    pub(crate) fn of(peer: IpAddr) -> Option<Self> {
        let bits = match peer.to_canonical() {
            own if own.is_loopback() => return None,
            IpAddr::V4(address) => IPV4 | u64::from(address.to_bits()),
            IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
        };
        NonZeroU64::new(bits).map(Self)
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Addresses {
    counts: BTreeMap<Address, u32>,
    limit: u32,
}

impl Addresses {
    /// Starts without connections. A `limit` of 0 counts nothing.
    pub(crate) const fn new(limit: u32) -> Self {
        Self {
            counts: BTreeMap::new(),
            limit,
        }
    }

    /// Counts a connection of an address; false, uncounted, when it has as many as it may.
    pub(crate) fn enter(&mut self, address: Address) -> bool {
        if self.limit == 0 {
            return true;
        }
        let count = self.counts.entry(address).or_default();
        let has_place = *count < self.limit;
        *count += u32::from(has_place);
        has_place
    }

    /// Takes back what was counted by [`Addresses::enter`].
    pub(crate) fn leave(&mut self, address: Address) {
        if let Some(count) = self.counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<Address> {
        Address::of(text.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_own_count_and_gives_places_back() {
        let mut addresses = Addresses::new(2);
        let (one, other) = (address("10.0.0.1").unwrap(), address("10.0.0.2").unwrap());
        let entered = [one, one, one, other].map(|it| addresses.enter(it));
        assert_eq!(entered, [true, true, false, true]);
        addresses.leave(one);
        assert!(addresses.enter(one));
        assert!(!addresses.enter(one));
        for left in [one, one, other] {
            addresses.leave(left);
        }
        assert!(addresses.counts.is_empty());
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let mut addresses = Addresses::new(0);
        let one = address("10.0.0.1").unwrap();
        assert!((0..1000).all(|_| addresses.enter(one)));
        addresses.leave(one);
        assert!(addresses.counts.is_empty());
    }

    #[test]
    fn addresses_are_alike_by_what_one_customer_has() {
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(address(own), None, "{own}");
        }
        assert_eq!(address("10.0.0.1"), address("::ffff:10.0.0.1"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }
}
