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
use super::super::peers::Peer;
use super::super::signal::{Cue, Signals};
use super::super::terms::Terms;
use super::Core;
use crate::broker::{AccessInput, ConnectionId, Input, ListenerId, Policy};
use crate::limits::TURNED_AWAY;
use crate::link::sockets::News;
use crate::nats::Ends;

/// The limits of connections, and what is counted against them.
#[derive(Debug)]
pub(crate) struct Doors {
    count: usize,
    limit: usize,
    addresses: Addresses,
    turned_away_count: usize,
}

/// What a link was given, for as long as it is open, with what its task waits for.
pub(crate) struct Place {
    pub(crate) id: ConnectionId,
    pub(crate) signals: Rc<Signals>,
    door: Door,
}

/// The same without a task.
pub(crate) struct RestingPlace {
    id: ConnectionId,
    door: Door,
}

/// What a link is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// The limit of all connections, that of its listener, and that of its address if it has one.
    Open(ListenerId, Option<Address>),
    /// Only the number of those that wait to hear that there is no place.
    TurnedAway,
}

/// Why a link gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    Everywhere,
    AtItsListener,
    ForItsAddress,
}

impl RestingPlace {
    /// Whose it is.
    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }
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
    fn enter(
        &mut self,
        terms: &mut Terms,
        listener: ListenerId,
        address: Option<Address>,
    ) -> Result<Door, Full> {
        if self.count >= self.limit {
            return Err(Full::Everywhere);
        }
        if terms.of(listener).is_full() {
            return Err(Full::AtItsListener);
        }
        if address.is_some_and(|address| !self.addresses.enter(address)) {
            return Err(Full::ForItsAddress);
        }
        terms.enter(listener);
        self.count += 1;
        Ok(Door::Open(listener, address))
    }

    /// Counts a link that is to hear that it can't come in; `None` when there are enough of them.
    fn turn_away(&mut self) -> Option<Door> {
        let is_answered = self.turned_away_count < TURNED_AWAY;
        self.turned_away_count += usize::from(is_answered);
        is_answered.then_some(Door::TurnedAway)
    }

    fn leave(&mut self, terms: &mut Terms, door: Door) {
        match door {
            Door::TurnedAway => self.turned_away_count -= 1,
            Door::Open(listener, address) => {
                terms.leave(listener);
                self.count -= 1;
                if let Some(address) = address {
                    self.addresses.leave(address);
                }
            }
        }
    }
}

impl Core {
    /// A listener accepted a link, from `peer` or from this machine. `None`: drop it. `ends` is asked
    /// where the client is told.
    pub(crate) fn accept(
        &mut self,
        now: Now,
        listener: ListenerId,
        peer: Option<IpAddr>,
        ends: impl FnOnce() -> Ends,
    ) -> Option<Place> {
        let address = peer.and_then(Address::of);
        let entered = self.doors.enter(&mut self.terms, listener, address);
        let door = match entered {
            Ok(door) => {
                self.links.accepted += 1;
                door
            }
            Err(full) => {
                self.say_full(now, full, peer);
                self.doors.turn_away()?
            }
        };
        let protocol = self.terms.of(listener).protocol.clone();
        let (id, signals) = self.peers.insert(|id| {
            let mut connection = protocol.begin(id, listener, ends, now);
            if door == Door::TurnedAway {
                connection.handle_no_place(now);
            }
            connection
        });
        Some(Place { id, signals, door })
    }

    /// Who may do what has changed.
    pub(crate) fn take_policies(&mut self, now: Now, policies: Vec<Policy>) {
        self.terms.ask_for_credentials(&policies);
        self.tell_broker(now, Input::Access(AccessInput::Policies(policies)));
    }

    /// A link has nothing to do, and its task goes.
    pub(crate) fn rest(&mut self, place: Place) -> RestingPlace {
        let Place { id, door, .. } = place;
        if let Some(peer) = self.peers.find(id) {
            peer.rest();
        }
        RestingPlace { id, door }
    }

    /// A task attends to a link again. Its place is given back by that task alone.
    pub(crate) fn attend(&mut self, place: RestingPlace) -> Place {
        let RestingPlace { id, door } = place;
        let signals = self.peers.find(id).and_then(Peer::attend);
        let signals = signals.expect("a link that rests has a place, and no task");
        Place { id, signals, door }
    }

    /// A link without a task was served, and needs none.
    pub(crate) fn passed(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.find(id) {
            peer.pass();
        }
    }

    /// Passes on what happened on a link's socket; true when the link has no task and needs one, to
    /// which it is passed on again.
    pub(crate) fn stir(&mut self, id: ConnectionId, news: &News) -> bool {
        let Some(peer) = self.peers.find(id) else {
            return false;
        };
        if news.has_ended {
            peer.raise(Cue::Ended);
        }
        if news.is_writable {
            peer.raise(Cue::Writable);
        }
        news.is_readable && !peer.raise(Cue::Readable)
    }

    /// A link took some of what it was given to write, and is not done with it.
    pub(crate) fn took(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.find(id) {
            peer.note_heard();
        }
    }

    /// Gives the next link that rests and has something to write.
    pub(crate) fn next_called(&mut self) -> Option<ConnectionId> {
        let id = self.called.pop_front()?;
        if let Some(peer) = self.peers.find(id) {
            peer.hear_call();
        }
        Some(id)
    }

    /// A link is closed and its place free.
    pub(crate) fn left(&mut self, place: &Place) {
        self.doors.leave(&mut self.terms, place.door);
    }

    fn say_full(&mut self, now: Now, full: Full, peer: Option<IpAddr>) {
        let (kind, limit) = match full {
            Full::Everywhere => ("connections", "limits.connections"),
            Full::AtItsListener => ("connections of a listener", "listener.connections"),
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
    use super::super::super::terms::{Listener, Protocol};
    use super::*;
    use crate::mqtt;

    #[test]
    fn each_link_gives_back_what_it_took() {
        let settings = mqtt::Settings::default();
        let protocol = Protocol::Mqtt(Rc::new(settings.clone()));
        let listener = |limit| Listener::new(protocol.clone(), limit);
        let mut terms = Terms::new(settings, vec![listener(100), listener(1)]);
        let (wide, narrow) = (ListenerId(0), ListenerId(1));
        let mut doors = Doors::new(3, 2);
        let address = Address::of("10.0.0.1".parse().unwrap());
        let first = doors.enter(&mut terms, wide, address).unwrap();
        let second = doors.enter(&mut terms, wide, address).unwrap();
        let mut enter = |doors: &mut Doors, at, address| doors.enter(&mut terms, at, address);
        assert_eq!(enter(&mut doors, wide, address), Err(Full::ForItsAddress));
        let own = enter(&mut doors, narrow, None).unwrap();
        assert_eq!(enter(&mut doors, wide, None), Err(Full::Everywhere));
        let answered: Vec<Door> = (0..100).map_while(|_| doors.turn_away()).collect();
        assert_eq!(answered.len(), TURNED_AWAY);
        doors.leave(&mut terms, first);
        assert_eq!(
            doors.enter(&mut terms, narrow, None),
            Err(Full::AtItsListener)
        );
        for door in [own].into_iter().chain(answered) {
            doors.leave(&mut terms, door);
        }
        assert_eq!((doors.count, doors.turned_away_count), (1, 0));
        assert_eq!(doors.enter(&mut terms, wide, address), Ok(second));
        assert!(doors.enter(&mut terms, narrow, None).is_ok());
    }
}
