//! Logins that were right a while ago: a client that comes back with the same name and password
//! costs no hash, so that a thousand of them may come back at once.
//!
//! Kept is a keyed hash of both, never the password. The oldest goes when there is no room.

use std::collections::{BTreeSet, VecDeque};

/// Proof that a name and password were checked.
pub(in super::super) type Seal = [u8; 32];

/// The last of them.
#[derive(Debug)]
pub(super) struct Seals {
    known: BTreeSet<Seal>,
    order: VecDeque<Seal>,
    count_maximum: usize,
}

impl Seals {
    pub(super) fn new(count_maximum: usize) -> Self {
        Self {
            known: BTreeSet::new(),
            order: VecDeque::new(),
            count_maximum,
        }
    }

    pub(super) fn holds(&self, seal: &Seal) -> bool {
        self.known.contains(seal)
    }

    /// Keeps one more, in place of the oldest when there is no room.
    pub(super) fn keep(&mut self, seal: Seal) {
        if self.count_maximum == 0 || !self.known.insert(seal) {
            return;
        }
        if self.order.len() >= self.count_maximum
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(seal);
    }

    /// Forgets all: passwords may have changed.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let mut seals = Seals::new(2);
        for number in [1, 2, 1, 3] {
            seals.keep([number; 32]);
        }
        let held = [1, 2, 3].map(|number| seals.holds(&[number; 32]));
        assert_eq!(held, [false, true, true]);
        seals.clear();
        assert!(!seals.holds(&[3; 32]));
        let mut none = Seals::new(0);
        none.keep([1; 32]);
        assert!(!none.holds(&[1; 32]));
    }
}
