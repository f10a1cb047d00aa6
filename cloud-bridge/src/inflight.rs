//! Which record an acknowledgement belongs to.
//!
//! rumqttc chooses packet identifiers after a publish was handed to it and only announces them.
//! Announcements come in the order in which publishes were handed over, except that one whose
//! identifier is still taken is parked until that identifier is free, and nothing overtakes it.

use std::collections::{BTreeMap, VecDeque};

use sync::{Lane, Offset};

/// The place of a record that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: Lane,
    pub(crate) offset: Offset,
}

/// Records handed to rumqttc and not yet answered. As large as the window, at most.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    submitted: VecDeque<Place>,
    parked: Option<Place>,
    sent: BTreeMap<u16, Place>,
}

impl Inflight {
    /// A publish was handed over.
    pub(crate) fn submit(&mut self, place: Place) {
        self.submitted.push_back(place);
    }

    /// A publish was written under an identifier. `false` when none was handed over, or that
    /// identifier has not been answered.
    #[must_use]
    pub(crate) fn send(&mut self, packet_identifier: u16) -> bool {
        let place = self.parked.take().or_else(|| self.submitted.pop_front());
        let Some(place) = place else { return false };
        self.sent.insert(packet_identifier, place).is_none()
    }

    /// The next publish waits for an identifier that is still taken. `false` when there is none,
    /// or another waits already.
    #[must_use]
    pub(crate) fn park(&mut self) -> bool {
        if self.parked.is_some() {
            return false;
        }
        self.parked = self.submitted.pop_front();
        self.parked.is_some()
    }

    /// An identifier was acknowledged: gives the record it stood for.
    pub(crate) fn acknowledge(&mut self, packet_identifier: u16) -> Option<Place> {
        self.sent.remove(&packet_identifier)
    }

    /// Counts the records that are not answered.
    pub(crate) fn count(&self) -> usize {
        self.submitted.len() + usize::from(self.parked.is_some()) + self.sent.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        Place {
            lane: Lane::Normal,
            offset: Offset(offset),
        }
    }

    #[test]
    fn answers_find_their_records_in_any_order() {
        let mut inflight = Inflight::default();
        for offset in 0..3 {
            inflight.submit(place(offset));
        }
        for packet_identifier in 1..=3 {
            assert!(inflight.send(packet_identifier));
        }
        assert_eq!(inflight.acknowledge(2), Some(place(1)));
        assert_eq!(inflight.acknowledge(2), None);
        assert_eq!(inflight.acknowledge(1), Some(place(0)));
        assert_eq!(inflight.acknowledge(3), Some(place(2)));
        assert_eq!(inflight.count(), 0);
    }

    #[test]
    fn a_parked_record_is_sent_before_any_later_one() {
        let mut inflight = Inflight::default();
        inflight.submit(place(0));
        assert!(inflight.send(1));
        inflight.submit(place(1));
        inflight.submit(place(2));
        assert!(inflight.park());
        assert_eq!(inflight.count(), 3);
        assert_eq!(inflight.acknowledge(1), Some(place(0)));
        assert!(inflight.send(1));
        assert!(inflight.send(2));
        assert_eq!(inflight.acknowledge(1), Some(place(1)));
        assert_eq!(inflight.acknowledge(2), Some(place(2)));
    }

    #[test]
    fn announcements_that_fit_nothing_are_noticed() {
        let mut inflight = Inflight::default();
        assert!(!inflight.send(1));
        assert!(!inflight.park());
        inflight.submit(place(0));
        inflight.submit(place(1));
        assert!(inflight.park());
        assert!(!inflight.park());
        assert!(inflight.send(1));
        assert!(!inflight.send(1));
    }
}
