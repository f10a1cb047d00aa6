//! A level of the tree. Nearly all have one child or one subscription, which takes no memory
//! beside the node.

use std::collections::BTreeMap;

use super::Entry;
use super::label::Label;

/// A topic level; its name is the key in its parent.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) children: Children,
    /// The child for `+`.
    pub(super) any: Option<u32>,
    /// Filters that end here.
    pub(super) here: Entries,
    /// Filters that end in `#` below here.
    pub(super) below: Entries,
}

/// A node is all that a level takes beside its name and its place in its parent.
const _: () = assert!(size_of::<Node>() <= 64);

/// Places of nodes, by their names.
#[expect(clippy::box_collection, reason = "a map would make every node larger")]
#[derive(Debug, Default)]
pub(super) enum Children {
    #[default]
    None,
    One(Label, u32),
    /// Two or more, boxed since few nodes have them.
    Many(Box<BTreeMap<Label, u32>>),
}

/// Subscriptions, by session.
#[expect(
    clippy::box_collection,
    reason = "a vector would make every node larger"
)]
#[derive(Debug, Default)]
pub(super) enum Entries {
    #[default]
    None,
    One(Entry),
    /// Two or more, sorted; boxed since few nodes have them.
    Many(Box<Vec<Entry>>),
}

impl Node {
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.children, Children::None)
            && self.any.is_none()
            && matches!(self.here, Entries::None)
            && matches!(self.below, Entries::None)
    }
}

impl Children {
    pub(super) fn get(&self, level: &str) -> Option<u32> {
        match self {
            Self::One(name, child) if name.as_bytes() == level.as_bytes() => Some(*child),
            Self::Many(all) => all.get(level.as_bytes()).copied(),
            Self::None | Self::One(..) => None,
        }
    }

    /// Adds a child that is not there yet.
    pub(super) fn insert(&mut self, level: &str, child: u32) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(Label::new(level), child),
            Self::One(name, only) => {
                let both = BTreeMap::from([(name, only), (Label::new(level), child)]);
                Self::Many(Box::new(both))
            }
            Self::Many(mut all) => {
                all.insert(Label::new(level), child);
                Self::Many(all)
            }
        };
    }

    pub(super) fn remove(&mut self, level: &str) {
        *self = match std::mem::take(self) {
            Self::One(name, _) if name.as_bytes() == level.as_bytes() => Self::None,
            Self::Many(mut all) => {
                all.remove(level.as_bytes());
                match all.len() {
                    1 => all.pop_first().map_or(Self::None, |(k, v)| Self::One(k, v)),
                    _ => Self::Many(all),
                }
            }
            other => other,
        };
    }
}

impl Entries {
    #[inline]
    pub(super) fn as_slice(&self) -> &[Entry] {
        match self {
            Self::None => &[],
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(all) => all,
        }
    }

    /// Adds a subscription, or replaces that of the same session.
    pub(super) fn insert(&mut self, entry: Entry) {
        match self {
            Self::None => *self = Self::One(entry),
            Self::One(held) if held.session == entry.session => *held = entry,
            Self::One(held) => {
                let mut both = vec![*held, entry];
                both.sort_unstable_by_key(|entry| entry.session);
                *self = Self::Many(Box::new(both));
            }
            Self::Many(all) => match find(all, entry.session) {
                Ok(at) => all[at] = entry,
                Err(at) => all.insert(at, entry),
            },
        }
    }

    pub(super) fn remove(&mut self, session: u32) {
        match self {
            Self::One(held) if held.session == session => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(all) => {
                if let Ok(at) = find(all, session) {
                    all.remove(at);
                    all.shrink_to(all.len() * 2);
                }
                if let [only] = all[..] {
                    *self = Self::One(only);
                }
            }
        }
    }
}

fn find(sorted: &[Entry], session: u32) -> Result<usize, usize> {
    sorted.binary_search_by_key(&session, |entry| entry.session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_come_and_go_in_any_order() {
        let mut children = Children::default();
        for (level, child) in [("b", 1), ("a", 2), ("c", 3)] {
            assert_eq!(children.get(level), None);
            children.insert(level, child);
        }
        let found = ["a", "b", "c", "d"].map(|level| children.get(level));
        assert_eq!(found, [Some(2), Some(1), Some(3), None]);
        children.remove("d");
        children.remove("a");
        children.remove("c");
        assert!(matches!(&children, Children::One(name, 1) if name.as_bytes() == b"b"));
        children.remove("a");
        children.remove("b");
        assert!(matches!(children, Children::None));
    }

    #[test]
    fn entries_are_sorted_replaced_and_taken_out() {
        let entry = |session, qos| Entry {
            session,
            qos,
            ..Entry::route()
        };
        let mut entries = Entries::default();
        for (session, qos) in [(5, 0), (5, 1), (3, 0), (9, 0), (3, 2), (9, 1)] {
            entries.insert(entry(session, qos));
        }
        let expected = [entry(3, 2), entry(5, 1), entry(9, 1)];
        assert_eq!(entries.as_slice(), expected);
        for session in [4, 3, 9, 9] {
            entries.remove(session);
        }
        assert!(matches!(entries, Entries::One(only) if only == entry(5, 1)));
        entries.remove(5);
        assert!(entries.as_slice().is_empty());
    }
}
