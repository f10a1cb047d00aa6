//! The way down: a message is stored, then confirmed, never the other way round.
//!
//! A message that is this gateway's own, or that was certainly stored before, is confirmed without
//! being stored. Whatever is unclear is stored: a repeat does less harm than a loss.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{ConnectionId, Counters, Epoch, Lane, Origin, Output, Place, Seen, Token, Watermark};

/// One origin's lane as a checkpoint keeps it: edge id, epoch, lane number, watermark.
pub(crate) type StoredWatermark = (String, Epoch, u8, Watermark);

/// What has come down and is not confirmed, and what was stored of other gateways.
#[derive(Debug)]
pub(crate) struct Downlink {
    own_id: String,
    unconfirmed_limit: usize,
    origin_limit: usize,
    unconfirmed: BTreeMap<Token, Unconfirmed>,
    watermarks: BTreeMap<(Origin, Lane), Heard>,
    /// Counts what was stored, to know who was not heard of for longest.
    turn: u64,
}

#[derive(Debug)]
struct Unconfirmed {
    /// `None` after the connection went down: there is nobody left to confirm to.
    connection: Option<ConnectionId>,
    place: Option<Place>,
}

#[derive(Debug)]
struct Heard {
    watermark: Watermark,
    turn: u64,
}

/// Ranges kept of an origin's lane. A range more is one more topic that may be late at a time.
const RANGES: u16 = 64;

impl Downlink {
    pub(crate) fn new(own_id: &str, unconfirmed_limit: usize, origin_limit: usize) -> Self {
        Self {
            own_id: own_id.into(),
            unconfirmed_limit,
            origin_limit,
            unconfirmed: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Takes back what a checkpoint kept; lanes that this version does not know are left out.
    pub(crate) fn restore(&mut self, stored: Vec<StoredWatermark>) {
        for (edge_id, epoch, lane, watermark) in stored {
            let Some(lane) = Lane::from_number(lane) else {
                continue;
            };
            let origin = Origin { edge_id, epoch };
            let turn = self.turn;
            self.watermarks
                .insert((origin, lane), Heard { watermark, turn });
        }
        self.forget_the_oldest();
    }

    /// What a checkpoint keeps.
    pub(crate) fn to_stored(&self) -> Vec<StoredWatermark> {
        let stored = self.watermarks.iter().map(|((origin, lane), heard)| {
            let edge_id = origin.edge_id.clone();
            (edge_id, origin.epoch, *lane as u8, heard.watermark.clone())
        });
        stored.collect()
    }

    /// A message came down. Nothing is answered when too many are unconfirmed: the cloud sends it
    /// again.
    pub(crate) fn received(
        &mut self,
        connection: ConnectionId,
        token: Token,
        place: Option<Place>,
        counters: &mut Counters,
    ) -> Option<Output> {
        if place.as_ref().is_some_and(|place| self.is_known(place)) {
            counters.suppressed += 1;
            return Some(Output::Confirm { connection, token });
        }
        if self.unconfirmed.len() >= self.unconfirmed_limit {
            return None;
        }
        let connection = Some(connection);
        let entry = Unconfirmed { connection, place };
        match self.unconfirmed.insert(token, entry) {
            None => Some(Output::Store { token }),
            Some(_) => None,
        }
    }

    /// A message is durable.
    pub(crate) fn stored(&mut self, token: Token, counters: &mut Counters) -> Option<Output> {
        let Unconfirmed { connection, place } = self.unconfirmed.remove(&token)?;
        counters.stored += 1;
        if let Some(place) = place {
            self.observe(place);
        }
        let connection = connection?;
        Some(Output::Confirm { connection, token })
    }

    /// A message could not be stored.
    pub(crate) fn failed(&mut self, token: Token) {
        self.unconfirmed.remove(&token);
    }

    /// A connection went down: the cloud sends again what was not confirmed on it.
    pub(crate) fn down(&mut self, connection: ConnectionId) {
        for entry in self.unconfirmed.values_mut() {
            entry.connection = entry.connection.filter(|of| *of != connection);
        }
    }

    fn is_known(&self, place: &Place) -> bool {
        if place.origin.edge_id == self.own_id {
            return true;
        }
        let heard = self.watermarks.get(&(place.origin.clone(), place.lane));
        heard.is_some_and(|heard| heard.watermark.contains(place.offset))
    }

    fn observe(&mut self, place: Place) -> Seen {
        self.turn += 1;
        let turn = self.turn;
        let key = (place.origin, place.lane);
        let heard = self.watermarks.entry(key).or_insert_with(|| Heard {
            watermark: Watermark::new(RANGES),
            turn,
        });
        heard.turn = turn;
        let seen = heard.watermark.observe(place.offset);
        self.forget_the_oldest();
        seen
    }

    fn forget_the_oldest(&mut self) {
        while self.watermarks.len() > self.origin_limit * Lane::ALL.len() {
            let oldest = self.watermarks.iter().min_by_key(|(_, heard)| heard.turn);
            let Some((key, _)) = oldest else {
                return;
            };
            let key = key.clone();
            self.watermarks.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Offset, WallTime};

    const CONNECTION: ConnectionId = ConnectionId(0);

    fn place(edge_id: &str, offset: u64) -> Place {
        Place {
            origin: Origin {
                edge_id: edge_id.into(),
                epoch: Epoch(1),
            },
            lane: Lane::Normal,
            offset: Offset(offset),
            time: WallTime(0),
        }
    }

    fn confirm(token: u64) -> Option<Output> {
        Some(Output::Confirm {
            connection: CONNECTION,
            token: Token(token),
        })
    }

    fn store(token: u64) -> Option<Output> {
        let token = Token(token);
        Some(Output::Store { token })
    }

    struct Case {
        downlink: Downlink,
        counters: Counters,
    }

    impl Case {
        fn new() -> Self {
            Self {
                downlink: Downlink::new("me", 2, 1),
                counters: Counters::default(),
            }
        }

        fn receive(&mut self, token: u64, place: Option<Place>) -> Option<Output> {
            let counters = &mut self.counters;
            self.downlink
                .received(CONNECTION, Token(token), place, counters)
        }

        fn stored(&mut self, token: u64) -> Option<Output> {
            self.downlink.stored(Token(token), &mut self.counters)
        }
    }

    #[test]
    fn a_message_is_confirmed_after_it_is_stored_and_once() {
        let mut case = Case::new();
        assert_eq!(case.receive(1, None), store(1));
        assert_eq!(case.receive(1, None), None);
        assert_eq!(case.stored(1), confirm(1));
        assert_eq!(case.stored(1), None);
    }

    #[test]
    fn a_message_that_could_not_be_stored_is_never_confirmed() {
        let mut case = Case::new();
        assert_eq!(case.receive(1, Some(place("other", 5))), store(1));
        case.downlink.failed(Token(1));
        assert_eq!(case.stored(1), None);
        assert_eq!(case.receive(2, Some(place("other", 5))), store(2));
    }

    #[test]
    fn own_messages_and_repeats_are_confirmed_without_storing() {
        let mut case = Case::new();
        assert_eq!(case.receive(1, Some(place("me", 5))), confirm(1));
        assert_eq!(case.receive(2, Some(place("other", 5))), store(2));
        assert_eq!(case.stored(2), confirm(2));
        assert_eq!(case.receive(3, Some(place("other", 5))), confirm(3));
        assert_eq!(case.receive(4, Some(place("other", 6))), store(4));
        assert_eq!((case.counters.suppressed, case.counters.stored), (2, 1));
    }

    #[test]
    fn beyond_the_limit_a_message_is_left_for_the_cloud_to_send_again() {
        let mut case = Case::new();
        assert_eq!(case.receive(1, None), store(1));
        assert_eq!(case.receive(2, None), store(2));
        assert_eq!(case.receive(3, None), None);
        assert_eq!(case.stored(1), confirm(1));
        assert_eq!(case.receive(4, None), store(4));
    }

    #[test]
    fn a_fallen_connection_gets_no_confirmation_but_what_was_stored_is_remembered() {
        let mut case = Case::new();
        assert_eq!(case.receive(1, Some(place("other", 5))), store(1));
        case.downlink.down(CONNECTION);
        assert_eq!(case.stored(1), None);
        assert_eq!(case.receive(2, Some(place("other", 5))), confirm(2));
    }

    #[test]
    fn watermarks_outlive_a_restart_and_are_bounded() {
        let mut case = Case::new();
        for (token, edge_id) in ["a", "b", "c", "d"].into_iter().enumerate() {
            case.receive(token as u64, Some(place(edge_id, 5)));
            case.stored(token as u64);
        }
        let stored = case.downlink.to_stored();
        assert_eq!(stored.len(), 3);
        let mut case = Case::new();
        case.downlink.restore(stored);
        assert_eq!(case.receive(1, Some(place("d", 5))), confirm(1));
        assert_eq!(case.receive(2, Some(place("a", 5))), store(2));
    }
}
