//! The connections of the gateway: a slab of MQTT states with the signals of their tasks.

use std::rc::Rc;

use sync::Instant;

use super::signal::Signal;
use crate::broker::{ConnectionId, ListenerId};
use crate::mqtt::Connection;

/// One connected client.
pub(crate) struct Peer {
    /// Its protocol state.
    pub(crate) connection: Connection,
    /// Where it came in.
    pub(crate) listener: ListenerId,
    /// What its task waits for.
    pub(crate) signals: Rc<Signals>,
    /// Whether its task was told of something new in this turn.
    pub(crate) is_touched: bool,
    /// Whether its link is not read because the disk has to catch up.
    pub(crate) is_held_back: bool,
    /// When we decided to close it.
    pub(crate) closing_since: Option<Instant>,
    /// When its client began to take nothing although something waits for it.
    pub(crate) deaf_since: Option<Instant>,
}

/// What the task of a connection waits for beside its socket.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// There are bytes to write, or the end has come.
    pub(crate) write: Signal,
    /// Reading may go on.
    pub(crate) read: Signal,
    /// It took too long; close without writing what is left.
    pub(crate) abandon: Signal,
}

/// All connections, by place. A place that is used again has a new generation.
#[derive(Default)]
pub(crate) struct Peers {
    places: Vec<Place>,
    free: Vec<u32>,
    count: usize,
}

struct Place {
    generation: u32,
    peer: Option<Peer>,
}

impl Peers {
    /// Takes a place for a connection that `make` makes from its name.
    pub(crate) fn insert(
        &mut self,
        listener: ListenerId,
        make: impl FnOnce(ConnectionId) -> Connection,
    ) -> (ConnectionId, Rc<Signals>) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                peer: None,
            });
            u32::try_from(self.places.len() - 1).expect("connections are far fewer than 4 billion")
        });
        let place = &mut self.places[index as usize];
        let id = ConnectionId {
            index,
            generation: place.generation,
        };
        let signals = Rc::new(Signals::default());
        place.peer = Some(Peer {
            connection: make(id),
            listener,
            signals: signals.clone(),
            is_touched: false,
            is_held_back: false,
            closing_since: None,
            deaf_since: None,
        });
        self.count += 1;
        (id, signals)
    }

    /// Gives the place back.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Peer> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let peer = place.peer.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        self.count -= 1;
        Some(peer)
    }

    /// Finds a connection; `None` when it has gone, though its place may be taken.
    pub(crate) fn find(&mut self, id: ConnectionId) -> Option<&mut Peer> {
        let place = self.places.get_mut(id.index as usize)?;
        place
            .peer
            .as_mut()
            .filter(|_| place.generation == id.generation)
    }

    /// Lists the connections that exist now, by place.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        let used = |(index, place): (usize, &Place)| {
            let index = u32::try_from(index).expect("places are counted in 32 bits");
            place.peer.as_ref().map(|_| ConnectionId {
                index,
                generation: place.generation,
            })
        };
        self.places.iter().enumerate().filter_map(used).collect()
    }

    /// How many connections exist.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }
}
