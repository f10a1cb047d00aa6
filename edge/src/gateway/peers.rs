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
    /// How often a task was called for in this second, or was not needed.
    calls: u8,
    /// Whether a task is called for now.
    is_called: bool,
    /// Whether its task was told of something new in this turn.
    pub(crate) is_touched: bool,
    /// Whether its link is not read because the disk has to catch up.
    pub(crate) is_held_back: bool,
    pub(crate) ear: Ear,
    /// What it has to take so that others come to their turn.
    debt: Option<Box<Debt>>,
}

/// What a client holds of the room that others wait for.
struct Debt {
    since: Instant,
    /// What it held then.
    held: usize,
    /// What it took since then.
    taken: usize,
    /// What is being written to it, which counts once it is taken.
    given: usize,
}

/// Whether a client takes what is there for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ear {
    Open,
    /// Something waits or is being written, and since then it has taken nothing.
    Deaf(Instant),
    /// We ended the connection; since then it may take the last bytes.
    Closing(Instant),
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
const _: () = assert!(size_of::<Place>() <= 160);

/// A client whose connection we ended has this long to take the last bytes.
const CLOSING: Duration = Duration::from_secs(2);
/// A client for which something waits, be it in the buffer that is being written, has this long to take
/// anything; what it holds is memory that others need.
pub(crate) const DEAF: Duration = Duration::from_secs(30);

/// A client that holds more than its fair part of what may wait to be written, while others find no
/// room, has this long to take as much as it holds. A line of 9,600 baud takes in it what one
/// connection may hold under the default ceiling.
pub(crate) const SLOW: Duration = Duration::from_secs(600);

/// So often in a second a task comes and goes; it costs less to keep one that is needed more often.
const CALLS: u8 = 8;

impl Peer {
    /// Wakes the connection's task for what concerns it. True when one is to be called for, which is
    /// once until the call is heard.
    pub(crate) fn tell(&mut self) -> bool {
        let has_to_write = self.connection.outbound_bytes() > 0 || self.connection.is_closed();
        if self.connection.wants_more() {
            self.raise(Cue::Read);
        }
        let is_missing = has_to_write && !self.raise(Cue::Write);
        is_missing && !std::mem::replace(&mut self.is_called, true)
    }

    /// Notes that the call for a task was heard.
    pub(crate) const fn hear_call(&mut self) {
        self.is_called = false;
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

    /// Notes that there was something to do that needed no task. Who has little to do keeps no memory
    /// for the next time.
    pub(crate) fn pass(&mut self) {
        self.calls = self.calls.saturating_add(1);
        if self.calls <= CALLS {
            self.connection.let_go();
        }
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

    /// Notes that the client took something.
    pub(crate) fn note_heard(&mut self) {
        if let Ear::Deaf(_) = self.ear {
            self.ear = Ear::Open;
        }
    }

    /// Notes that the client is given so many bytes more, because it took all that it was given before.
    pub(crate) fn note_given(&mut self, bytes: usize) {
        self.note_heard();
        if let Some(debt) = &mut self.debt {
            debt.taken += std::mem::replace(&mut debt.given, bytes);
        }
    }

    /// Ends a connection that holds room which others wait for, and takes too long to let go of it.
    /// `held` is what it holds beyond its fair part; room is scarce when others wait for some. True
    /// when it does.
    pub(crate) fn abandon_if_slow(&mut self, now: Instant, held: usize, is_scarce: bool) -> bool {
        let debt = self.debt.take().filter(|it| held > 0 && it.taken < it.held);
        let debt = debt.or_else(|| {
            let debt = Debt {
                since: now,
                held,
                taken: 0,
                given: self.connection.taken_bytes(),
            };
            (held > 0 && is_scarce).then(|| Box::new(debt))
        });
        let is_over = debt.as_ref().is_some_and(|it| now - it.since >= SLOW);
        let is_over = is_over && is_scarce && !self.connection.is_closed();
        self.debt = debt;
        if is_over {
            self.raise(Cue::Abandon);
        }
        is_over
    }

    /// Ends a connection that takes too long to take its last bytes, or that takes none at all.
    /// True when it was the latter.
    pub(crate) fn abandon_if_deaf(&mut self, now: Instant) -> bool {
        let is_closing = self.connection.is_closed();
        self.ear = match self.ear {
            Ear::Open | Ear::Deaf(_) if is_closing => Ear::Closing(now),
            Ear::Open | Ear::Deaf(_) if !self.connection.is_owed_anything() => Ear::Open,
            Ear::Open => Ear::Deaf(now),
            since => since,
        };
        let is_over = match self.ear {
            Ear::Open => false,
            Ear::Deaf(since) => now - since >= DEAF,
            Ear::Closing(since) => now - since >= CLOSING,
        };
        if is_over {
            self.raise(Cue::Abandon);
        }
        is_over && !is_closing
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
            is_called: false,
            is_touched: false,
            is_held_back: false,
            ear: Ear::Open,
            debt: None,
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

    /// The connection that has a place now.
    pub(crate) fn at(&self, index: u32) -> Option<ConnectionId> {
        let place = self.places.get(index as usize)?;
        let generation = place.generation;
        place
            .peer
            .is_some()
            .then_some(ConnectionId { index, generation })
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

#[cfg(test)]
mod tests {
    use smol::block_on;
    use smol::future::poll_once;
    use sync::{Now, WallTime};

    use super::*;
    use crate::broker::{Connected, Event, ListenerId, SessionFound};
    use crate::{mqtt, nats};

    const NOW: Now = Now {
        instant: Instant::from_micros(1),
        wall: WallTime(1),
    };

    /// Does as a task that has nothing to do.
    fn rests(signals: &Signals) -> bool {
        let is_given = |cue| block_on(poll_once(signals.wait(cue))).is_some();
        assert!(!is_given(Cue::Write) && !is_given(Cue::Readable));
        block_on(poll_once(signals.rest())).is_some()
    }

    fn at(seconds: u64) -> Instant {
        NOW.instant + Duration::from_secs(seconds)
    }

    /// One whose whole backlog was in the buffer that was being written counted as one that had
    /// taken everything, and held that memory for ever.
    #[test]
    fn who_takes_nothing_of_what_is_being_written_is_deaf_as_well() {
        let mqtt = |id| {
            let mut it = mqtt::Connection::new(id, Rc::default(), ListenerId::default(), NOW);
            it.handle_bytes(NOW, b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01a");
            let connected = Connected {
                client_identifier: "a".to_owned(),
                session: SessionFound::New,
                session_expiry: 0,
                notes: Vec::new(),
            };
            it.handle_event(NOW, Event::Connected(Box::new(connected)));
            Client::Mqtt(it)
        };
        let nats = |id| {
            let (listener, ends) = (ListenerId::default(), nats::Ends::default());
            let it = nats::Connection::new(id, Rc::default(), listener, &ends, NOW);
            Client::Nats(Box::new(it))
        };
        let clients: [fn(ConnectionId) -> Client; 2] = [mqtt, nats];
        for client in clients {
            let mut peers = Peers::default();
            let (id, _) = peers.insert(client);
            let peer = peers.find(id).expect("it was inserted");
            let written = peer.connection.take_outbound(Vec::new());
            assert!(!written.is_empty() && !peer.connection.is_closed());
            assert_eq!(
                peer.connection.outbound_bytes(),
                0,
                "all of it is being written"
            );
            for second in 0..30 {
                assert!(!peer.abandon_if_deaf(at(second)), "{second}");
            }
            // It takes a piece.
            peer.note_heard();
            for second in 30..60 {
                assert!(!peer.abandon_if_deaf(at(second)), "{second}");
            }
            assert!(peer.abandon_if_deaf(at(60)));
            // It takes the rest.
            peer.note_heard();
            assert!(peer.connection.take_outbound(Vec::new()).is_empty());
            assert!(!peer.abandon_if_deaf(at(61)) && !peer.abandon_if_deaf(at(999)));
        }
    }

    /// Some forty that took a byte now and then could hold all the room there is, for as long as they
    /// liked, and never counted as deaf.
    #[test]
    fn who_takes_too_slowly_what_others_wait_for_is_cut() {
        let mut peers = Peers::default();
        let begin = |id| mqtt::Connection::new(id, Rc::default(), ListenerId::default(), NOW);
        let (id, _) = peers.insert(|id| Client::Mqtt(begin(id)));
        let peer = peers.find(id).expect("it was inserted");
        let last = SLOW.as_secs() - 1;
        // Nobody waits, or it holds no more than its part.
        assert!((0..2000).all(|it| !peer.abandon_if_slow(at(it), 5000, false)));
        assert!((0..2000).all(|it| !peer.abandon_if_slow(at(it), 0, true)));
        // A byte now and then is too little.
        for second in 0..=last {
            assert!(!peer.abandon_if_slow(at(second), 5000, true), "{second}");
            peer.note_given(1);
        }
        assert!(peer.abandon_if_slow(at(last + 1), 5000, true));
        // Who takes as much as it held begins anew, however much it holds by then.
        peer.note_given(5000);
        peer.note_given(9);
        for second in 0..2000 {
            let second = last + 2 + second;
            assert!(!peer.abandon_if_slow(at(second), 5000, true), "{second}");
            peer.note_given(9);
        }
        // One wait that ends in time is forgotten.
        assert!(!peer.abandon_if_slow(at(4000), 0, true));
        assert!(!peer.abandon_if_slow(at(4001), 5000, true));
        assert!(!peer.abandon_if_slow(at(4000 + last), 5000, true));
        // It is cut only while somebody waits.
        assert!(!peer.abandon_if_slow(at(9000), 5000, false));
        assert!(peer.abandon_if_slow(at(9001), 5000, true));
    }

    /// What counted was what it was given next, which may be little: a line that took in nine minutes
    /// all that it held was cut in the tenth.
    #[test]
    fn what_was_being_written_when_others_began_to_wait_counts_once_it_is_taken() {
        let mut peers = Peers::default();
        let (id, _) = peers.insert(|id| {
            let (listener, ends) = (ListenerId::default(), nats::Ends::default());
            let it = nats::Connection::new(id, Rc::default(), listener, &ends, NOW);
            Client::Nats(Box::new(it))
        });
        let peer = peers.find(id).expect("it was inserted");
        let written = peer.connection.take_outbound(Vec::new());
        peer.note_given(written.len());
        let held = written.capacity();
        let last = SLOW.as_secs() - 1;
        assert!((0..=last).all(|it| !peer.abandon_if_slow(at(it), held, true)));
        peer.note_given(1);
        assert!(!peer.abandon_if_slow(at(last + 1), held, true));
    }

    #[test]
    fn a_task_that_is_called_for_too_often_stays_until_the_second_is_over() {
        let mut peers = Peers::default();
        let begin = |id| mqtt::Connection::new(id, Rc::default(), ListenerId::default(), NOW);
        let (id, _) = peers.insert(|id| Client::Mqtt(begin(id)));
        let peer = peers.find(id).expect("it was inserted");
        assert!(peer.attend().is_none(), "it has a task from the beginning");
        for call in 1..=CALLS {
            peer.rest();
            let signals = peer.attend().expect("it has none");
            assert!(rests(&signals), "{call}");
        }
        peer.rest();
        let signals = peer.attend().expect("it has none");
        assert!(!rests(&signals));
        peer.relax();
        assert!(rests(&signals));
        peer.rest();
        assert!(peer.attend().is_some_and(|signals| rests(&signals)));
    }

    #[test]
    fn who_is_served_without_a_task_keeps_memory_only_if_that_is_often() {
        // MQTT 3.1.1 without anything optional, in two pieces.
        const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a";
        for time in [1, CALLS, CALLS + 1, u8::MAX] {
            let settings = Rc::new(mqtt::Settings::default());
            let mut peers = Peers::default();
            let (id, _) = peers.insert(|id| {
                let listener = ListenerId::default();
                Client::Mqtt(mqtt::Connection::new(id, settings.clone(), listener, NOW))
            });
            let peer = peers.find(id).expect("it was inserted");
            peer.calls = time - 1;
            for piece in CONNECT.chunks(8) {
                peer.connection.handle_bytes(NOW, piece);
            }
            assert!(peer.connection.poll().is_some(), "it is whole");
            peer.pass();
            assert_eq!(
                settings.memory.inbound_bytes() == 0,
                time <= CALLS,
                "{time}"
            );
        }
    }

    #[test]
    fn a_connection_without_a_task_calls_for_one_only_when_there_is_something_to_write() {
        let mut peers = Peers::default();
        let begin = |id| mqtt::Connection::new(id, Rc::default(), ListenerId::default(), NOW);
        let (id, signals) = peers.insert(|id| Client::Mqtt(begin(id)));
        let peer = peers.find(id).expect("it was inserted");
        peer.rest();
        assert!(!peer.tell());
        // Which is no CONNECT.
        peer.connection.handle_bytes(NOW, &[0xc0, 0]);
        assert!(peer.tell() && rests(&signals));
        let signals = peer.attend().expect("it has none");
        assert!(!peer.tell());
        assert!(block_on(poll_once(signals.wait(Cue::Write))).is_some());
    }

    #[test]
    fn a_task_is_called_for_once_until_the_call_is_heard() {
        let mut peers = Peers::default();
        let begin = |id| mqtt::Connection::new(id, Rc::default(), ListenerId::default(), NOW);
        let (id, _) = peers.insert(|id| Client::Mqtt(begin(id)));
        let peer = peers.find(id).expect("it was inserted");
        peer.rest();
        // Which is no CONNECT.
        peer.connection.handle_bytes(NOW, &[0xc0, 0]);
        assert!(peer.tell());
        assert!((0..1000).all(|_| !peer.tell()), "it is called for already");
        peer.hear_call();
        assert!(peer.tell());
    }
}
