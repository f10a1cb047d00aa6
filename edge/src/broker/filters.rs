//! The subscriptions of one session, by filter. Nearly always one or a few, so they lie in a row:
//! a map's first node would take ten times the memory of the subscription in it.

use super::stored::Subscription;

/// Subscriptions in the order of their filters.
#[derive(Debug, Default)]
pub(super) struct Filters {
    sorted: Vec<(Box<str>, Subscription)>,
}

/// Up to so many there is no room for more than there are.
const EXACT_COUNT: usize = 4;

impl Filters {
    /// Adds a subscription; gives back the one that it replaces.
    pub(super) fn insert(
        &mut self,
        filter: Box<str>,
        subscription: Subscription,
    ) -> Option<Subscription> {
        match self.find(&filter) {
            Ok(at) => Some(std::mem::replace(&mut self.sorted[at].1, subscription)),
            Err(at) => {
                if self.sorted.len() < EXACT_COUNT {
                    self.sorted.reserve_exact(1);
                }
                self.sorted.insert(at, (filter, subscription));
                None
            }
        }
    }

    /// Takes a subscription out.
    pub(super) fn remove(&mut self, filter: &str) -> Option<Subscription> {
        let (_, subscription) = self.sorted.remove(self.find(filter).ok()?);
        if self.sorted.capacity() > 2 * self.sorted.len() {
            self.sorted.shrink_to_fit();
        }
        Some(subscription)
    }

    pub(super) fn get(&self, filter: &str) -> Option<&Subscription> {
        self.find(filter).ok().map(|at| &self.sorted[at].1)
    }

    pub(super) fn get_mut(&mut self, filter: &str) -> Option<&mut Subscription> {
        self.find(filter).ok().map(|at| &mut self.sorted[at].1)
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Subscription)> {
        self.sorted
            .iter()
            .map(|(filter, subscription)| (&**filter, subscription))
    }

    /// All filters, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(filter, _)| filter)
    }

    pub(super) const fn len(&self) -> usize {
        self.sorted.len()
    }

    fn find(&self, filter: &str) -> Result<usize, usize> {
        self.sorted
            .binary_search_by(|(held, _)| (**held).cmp(filter))
    }
}

#[cfg(test)]
mod tests {
    use sync::PerLane;

    use super::*;

    fn subscription(qos: u8) -> Subscription {
        Subscription {
            qos,
            identifier: None,
            is_no_local: false,
            is_retain_as_published: false,
            begin: PerLane::default(),
            is_walking: false,
        }
    }

    #[test]
    fn filters_are_found_replaced_and_taken_out_in_any_order() {
        let mut filters = Filters::default();
        for filter in ["b", "d", "a", "c", "f", "e"] {
            assert_eq!(filters.insert(filter.into(), subscription(1)), None);
        }
        assert!(filters.keys().eq(["a", "b", "c", "d", "e", "f"]));
        let former = filters.insert("c".into(), subscription(2));
        assert_eq!(former, Some(subscription(1)));
        assert_eq!(filters.get("c"), Some(&subscription(2)));
        assert_eq!(filters.get("g"), None);
        for filter in ["f", "a", "c", "b", "e", "d"] {
            assert!(filters.remove(filter).is_some(), "{filter}");
            assert_eq!(filters.remove(filter), None, "{filter}");
        }
        assert_eq!((filters.len(), filters.sorted.capacity()), (0, 0));
    }

    #[test]
    fn one_filter_takes_the_room_of_one() {
        let mut filters = Filters::default();
        filters.insert("a".into(), subscription(1));
        assert_eq!(filters.sorted.capacity(), 1);
    }
}
