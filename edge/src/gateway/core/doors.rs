//! Who gets in: places in all, and for each address.
//!
//! A link for which there is no place is not dropped at once, so that its client may hear why: a few
//! at a time are kept until they have sent their CONNECT, or for a second. All others are dropped,
//! and cost nothing. A place is taken until its link is closed, whatever became of its client.

use std::net::IpAddr;
use std::rc::Rc;

use sync::Now;
use tracing::warn;

use super::super::addresses::{Address, Addresses};
use super::super::peers::Signals;
use super::Core;
use crate::broker::{ConnectionId, ListenerId};
use crate::limits::TURNED_AWAY;
use crate::mqtt::Connection;

/// The limits of connections, and what is counted against them.
#[derive(Debug)]
pub(crate) struct Doors {
    count: usize,
    limit: usize,
    addresses: Addresses,
    turned_away_count: usize,
}

/// What a link was given, for as long as it is open.
pub(crate) struct Place {
    pub(crate) id: ConnectionId,
    pub(crate) signals: Rc<Signals>,
    door: Door,
}

/// What a link is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// The limit of all connections, and that of its address if it has one.
    Open(Option<Address>),
    /// Only the number of those that wait to hear that there is no place.
    TurnedAway,
}

/// Why a link gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    Everywhere,
    ForItsAddress,
}

impl Doors {
    /// Starts without connections; `address_limit` 0 is none.
    pub(crate) const fn new(limit: usize, address_limit: u32) -> Self {
        Self {
            count: 0,
            limit,
            addresses: Addresses::new(address_limit),
            turned_away_count: 0,
        }
    }

    /// Counts a link.
    fn enter(&mut self, address: Option<Address>) -> Result<Door, Full> {
        if self.count >= self.limit {
            return Err(Full::Everywhere);
        }
        if address.is_some_and(|address| !self.addresses.enter(address)) {
            return Err(Full::ForItsAddress);
        }
        self.count += 1;
        Ok(Door::Open(address))
    }

    /// Counts a link that is to hear that it can't come in; `None` when there are enough of them.
    fn turn_away(&mut self) -> Option<Door> {
        let is_answered = self.turned_away_count < TURNED_AWAY;
        self.turned_away_count += usize::from(is_answered);
        is_answered.then_some(Door::TurnedAway)
    }

    fn leave(&mut self, door: Door) {
        match door {
            Door::TurnedAway => self.turned_away_count -= 1,
            Door::Open(address) => {
                self.count -= 1;
                if let Some(address) = address {
                    self.addresses.leave(address);
                }
            }
        }
    }
}

impl Core {
    /// A link was accepted, from `peer` or from this machine. `None`: drop it.
    pub(crate) fn accept(&mut self, now: Now, peer: Option<IpAddr>) -> Option<Place> {
        let entered = self.doors.enter(peer.and_then(Address::of));
        let door = match entered {
            Ok(door) => door,
            Err(full) => {
                self.say_full(now, full, peer);
                self.doors.turn_away()?
            }
        };
        let settings = self.mqtt.clone();
        let (id, signals) = self.peers.insert(|id| {
            let mut connection = Connection::new(id, settings, ListenerId::default(), now);
            if door == Door::TurnedAway {
                connection.handle_no_place(now);
            }
            connection
        });
        Some(Place { id, signals, door })
    }

    /// A link is closed and its place free.
    pub(crate) fn left(&mut self, place: &Place) {
        self.doors.leave(place.door);
    }

    fn say_full(&mut self, now: Now, full: Full, peer: Option<IpAddr>) {
        let (kind, limit) = match full {
            Full::Everywhere => ("connections", "limits.connections"),
            Full::ForItsAddress => ("connections of one", "limits.connections_per_address"),
        };
        if let Some(times) = self.quiet.may_say(now.instant, kind) {
            let peer = peer.map_or_else(|| "this machine".to_owned(), |peer| peer.to_string());
            warn!("connection refused from {peer}: {limit} is reached{times}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_gives_back_what_it_took() {
        let mut doors = Doors::new(3, 2);
        let address = Address::of("10.0.0.1".parse().unwrap());
        let first = doors.enter(address).unwrap();
        let second = doors.enter(address).unwrap();
        assert_eq!(doors.enter(address), Err(Full::ForItsAddress));
        let own = doors.enter(None).unwrap();
        assert_eq!(doors.enter(None), Err(Full::Everywhere));
        let answered: Vec<Door> = (0..100).map_while(|_| doors.turn_away()).collect();
        assert_eq!(answered.len(), TURNED_AWAY);
        assert_eq!(
            doors.enter(None),
            Err(Full::Everywhere),
            "they take no place"
        );
        for door in [first, own].into_iter().chain(answered) {
            doors.leave(door);
        }
        assert_eq!((doors.count, doors.turned_away_count), (1, 0));
        assert_eq!(doors.enter(address), Ok(second));
    }
}
