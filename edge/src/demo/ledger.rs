//! The ledger: what was acknowledged on site, what arrived in the cloud, and what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One message of one sensor: its number and the count of the message, both from 0.
pub(super) type Message = (u32, u64);

/// Accounts of the whole demo. Arrivals are recognised by `edge-lane` and `edge-offset`: a record
/// that was sent twice counts once.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: BTreeSet<Message>,
    /// Place in the gateway's log to message.
    arrived: BTreeMap<(String, u64), Message>,
    duplicates: u64,
    out_of_order: u64,
    newest: BTreeMap<(String, u32), u64>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) acknowledged: u64,
    pub(super) stored: u64,
    pub(super) arrived: u64,
    pub(super) duplicates: u64,
    pub(super) out_of_order: u64,
    pub(super) gaps: u64,
    pub(super) missing: u64,
}

impl Ledger {
    /// The gateway acknowledged a message to its sensor.
    pub(super) fn acknowledge(&mut self, message: Message) {
        self.acknowledged.insert(message);
    }

    /// A record arrived at the cloud's subscriber.
    pub(super) fn arrive(&mut self, lane: &str, offset: u64, message: Message) {
        if self
            .arrived
            .insert((lane.to_owned(), offset), message)
            .is_some()
        {
            self.duplicates += 1;
            return;
        }
        let newest = self.newest.entry((lane.to_owned(), message.0)).or_insert(0);
        self.out_of_order += u64::from(offset < *newest);
        *newest = (*newest).max(offset);
    }

    /// How many messages were acknowledged and did not arrive.
    pub(super) fn missing(&self) -> u64 {
        let arrived: BTreeSet<&Message> = self.arrived.values().collect();
        self.acknowledged
            .iter()
            .filter(|message| !arrived.contains(message))
            .count() as u64
    }

    /// How many messages were acknowledged, and how many records arrived.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.acknowledged.len() as u64, self.arrived.len() as u64)
    }

    /// Closes the accounts with what the gateway says of its log.
    pub(super) fn balance(&self, stored: u64, gaps: u64) -> Balance {
        let (acknowledged, arrived) = self.counts();
        Balance {
            acknowledged,
            stored,
            arrived,
            duplicates: self.duplicates,
            out_of_order: self.out_of_order,
            gaps,
            missing: self.missing(),
        }
    }
}

impl Balance {
    /// Whether the gateway kept its promise.
    pub(super) const fn is_clean(&self) -> bool {
        self.missing == 0 && self.out_of_order == 0 && self.acknowledged > 0
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            (
                "acknowledged",
                self.acknowledged,
                "publishes the gateway answered with PUBACK",
            ),
            (
                "stored",
                self.stored,
                "records in its log (more: stored, but killed before the PUBACK)",
            ),
            (
                "arrived",
                self.arrived,
                "records seen by the subscriber in the cloud",
            ),
            (
                "duplicates",
                self.duplicates,
                "sent again after a cut, recognised by edge-offset",
            ),
            ("out of order", self.out_of_order, "within a sensor's topic"),
            ("gaps", self.gaps, "records dropped and written down"),
            ("missing", self.missing, "acknowledged and not arrived"),
        ];
        for (name, count, meaning) in lines {
            writeln!(f, "{name:>13} {count:>8}   {meaning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_and_did_not_arrive_is_missing() {
        let mut ledger = Ledger::default();
        for count in 0..3 {
            ledger.acknowledge((0, count));
        }
        ledger.arrive("normal", 0, (0, 0));
        ledger.arrive("normal", 2, (0, 2));
        let balance = ledger.balance(3, 0);
        assert_eq!((balance.arrived, balance.missing), (2, 1));
        assert!(!balance.is_clean());
    }

    #[test]
    fn a_record_sent_twice_counts_once() {
        let mut ledger = Ledger::default();
        ledger.acknowledge((0, 0));
        ledger.arrive("normal", 0, (0, 0));
        ledger.arrive("normal", 0, (0, 0));
        let balance = ledger.balance(1, 0);
        assert_eq!(
            (balance.arrived, balance.duplicates, balance.missing),
            (1, 1, 0)
        );
        assert!(balance.is_clean());
    }

    #[test]
    fn a_first_arrival_after_a_later_one_is_out_of_order() {
        let mut ledger = Ledger::default();
        ledger.acknowledge((0, 0));
        ledger.arrive("normal", 1, (0, 1));
        ledger.arrive("normal", 0, (0, 0));
        assert_eq!(ledger.balance(2, 0).out_of_order, 1);
    }
}
