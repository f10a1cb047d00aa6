//! The connections of the gateway: a slab of protocol states with the signals of their tasks.
//!
//! A connection on which nothing happens may have no task. One that concerns it then is called for;
//! a task that is called for too often in a second stays until the next.

use std::rc::Rc;
use std::time::Duration;

use sync::Instant;

use super::client::Client;
use super::signal::{Cue, Signals};
use crate::broker::ConnectionId;

/// One connected client.
pub(crate) struct Peer {
    /// Its protocol state.
    pub(crate) connection: Client,
    /// What its task waits for; `None` while it has none.
    signals: Option<Rc<Signals>>,
    /// How often a task was called for in this second.
    calls: u8,
    /// Whether its task was told of something new in this turn.
    pub(crate) is_touched: bool,
    /// Whether its link is not read because the disk has to catch up.
    pub(crate) is_held_back: bool,
    /// When we decided to close it.
    pub(crate) closing_since: Option<Instant>,
    /// When its client began to take nothing although something waits for it.
    pub(crate) deaf_since: Option<Instant>,
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

/// Each connection has one, and most are idle.
const _: () = assert!(size_of::<Place>() <= 200);

/// A client whose connection we ended has this long to take the last bytes.
const CLOSING: Duration = Duration::from_secs(2);
/// A client for which something waits has this long to take anything; what it holds is memory that
/// others need.
pub(crate) const DEAF: Duration = Duration::from_secs(30);

/// So often in a second a task comes and goes; it costs less to keep one that is needed more often.
const CALLS: u8 = 8;

impl Peer {
    /// Wakes the connection's task for what concerns it. True when one is to be called for.
    pub(crate) fn tell(&self) -> bool {
        let has_to_write = self.connection.outbound_bytes() > 0 || self.connection.is_closed();
        if self.connection.wants_more() {
            self.raise(Cue::Read);
        }
        has_to_write && !self.raise(Cue::Write)
    }

    /// Gives its task a cue; false when it has none.
    pub(crate) fn raise(&self, cue: Cue) -> bool {
        let signals = self.signals.as_ref();
        signals.inspect(|signals| signals.raise(cue)).is_some()
    }

    /// Lets the task go.
    pub(crate) fn rest(&mut self) {
        self.connection.let_go();
        self.signals = None;
    }

    /// Makes the signals of a task that was called for; `None` when there is one already.
    pub(crate) fn attend(&mut self) -> Option<Rc<Signals>> {
        if self.signals.is_some() {
            return None;
        }
        self.calls = self.calls.saturating_add(1);
        let signals = Rc::new(Signals::new(self.calls > CALLS));
        Some(self.signals.insert(signals).clone())
    }

    /// Notes that a second has passed.
    pub(crate) fn relax(&mut self) {
        self.calls = 0;
        if let Some(signals) = &self.signals {
            signals.relax();
        }
    }

    /// Ends a connection that takes too long to take its last bytes, or that takes none at all.
    /// True when it was the latter.
    pub(crate) fn abandon_if_deaf(&mut self, now: Instant) -> bool {
        let is_closing = self.connection.is_closed();
        if is_closing && now - *self.closing_since.get_or_insert(now) >= CLOSING {
            self.raise(Cue::Abandon);
        }
        if self.connection.outbound_bytes() == 0 {
            self.deaf_since = None;
            return false;
        }
        let is_deaf = now - *self.deaf_since.get_or_insert(now) >= DEAF;
        if is_deaf {
            self.raise(Cue::Abandon);
        }
        is_deaf && !is_closing
    }
}

impl Peers {
    /// Takes a place for a connection that `make` makes from its name.
    pub(crate) fn insert(
        &mut self,
        make: impl FnOnce(ConnectionId) -> Client,
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
            signals: Some(signals.clone()),
            calls: 0,
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
