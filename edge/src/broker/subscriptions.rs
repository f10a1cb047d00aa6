//! Who subscribed to what: a tree of topic levels.
//!
//! Finding the subscribers of a topic visits only nodes that exist and allocates nothing once the
//! caller's buffer has grown. A node without subscribers and children is freed at once, so the
//! tree is never larger than the filters in it.

mod label;
mod node;

use wire::topic::TopicFilter;

use self::node::Node;

/// One session's subscription at one node, as small as matching allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Index of the session, or that of a group above [`Entry::GROUPS`], or [`Entry::ROUTE`].
    pub(super) session: u32,
    /// The subscription identifier; 0 for none.
    pub(super) identifier: u32,
    /// The granted QoS.
    pub(super) qos: u8,
    /// Whether the session does not hear itself.
    pub(super) is_no_local: bool,
    /// Whether the retain flag is sent as published.
    pub(super) is_retain_as_published: bool,
}

impl Entry {
    /// Stands for the uplink's routes instead of a session.
    pub(super) const ROUTE: u32 = u32::MAX;

    /// From here on up, indices are of groups. Sessions are far fewer.
    const GROUPS: u32 = 1 << 31;

    /// Makes the entry of a group; what its members want is asked of them.
    pub(super) const fn group(index: u32) -> Self {
        Self {
            session: Self::GROUPS | index,
            ..Self::route()
        }
    }

    /// Splits entries that are sorted, and without routes, into those of sessions and those of
    /// groups.
    pub(super) fn split(found: &[Self]) -> (&[Self], &[Self]) {
        match found.last() {
            Some(last) if last.session >= Self::GROUPS => {
                found.split_at(found.partition_point(|entry| entry.session < Self::GROUPS))
            }
            _ => (found, &[]),
        }
    }

    /// The group that it stands for.
    pub(super) const fn group_index(&self) -> u32 {
        self.session & !Self::GROUPS
    }

    /// Makes the entry of an uplink route.
    pub(super) const fn route() -> Self {
        Self {
            session: Self::ROUTE,
            identifier: 0,
            qos: 2,
            is_no_local: false,
            is_retain_as_published: true,
        }
    }
}

/// The tree.
#[derive(Debug)]
pub(super) struct Subscriptions {
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Of the names of all nodes, which may be as long as a filter.
    name_bytes: usize,
}

const ROOT: u32 = 0;
/// What a filter that shares nothing allocates a level on 64 bits beside its name: a node, room for it
/// to double, half of a map for the two children of its parent.
const NODE_BYTES: usize = 336;

impl Subscriptions {
    /// Starts without subscriptions.
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
            free: Vec::new(),
            name_bytes: 0,
        }
    }

    /// Adds a subscription, or replaces the session's one with the same filter.
    pub(super) fn insert(&mut self, filter: &str, entry: Entry) {
        let (path, is_below) = split_filter(filter);
        let mut node = ROOT;
        for level in path.into_iter().flat_map(|path| path.split('/')) {
            node = self.child_or_new(node, level);
        }
        let node = &mut self.nodes[node as usize];
        if is_below {
            node.below.insert(entry);
        } else {
            node.here.insert(entry);
        }
    }

    /// Removes a session's subscription; one that does not exist is left so.
    pub(super) fn remove(&mut self, filter: &str, session: u32) {
        let (path, is_below) = split_filter(filter);
        let mut trail = Vec::new();
        let mut node = ROOT;
        for level in path.into_iter().flat_map(|path| path.split('/')) {
            let Some(child) = self.child(node, level) else {
                return;
            };
            trail.push((node, level));
            node = child;
        }
        let leaf = &mut self.nodes[node as usize];
        if is_below {
            leaf.below.remove(session);
        } else {
            leaf.here.remove(session);
        }
        self.prune(&trail, node);
    }

    /// Appends all subscriptions that match a topic name, those of one session not always in a
    /// row.
    pub(super) fn collect(&self, topic: &str, found: &mut Vec<Entry>) {
        let root = &self.nodes[ROOT as usize];
        let (level, rest) = split_level(topic);
        // [MQTT-4.7.2-1]
        if !topic.starts_with('$') {
            found.extend_from_slice(root.below.as_slice());
            if let Some(any) = root.any {
                self.collect_below(any, rest, found);
            }
        }
        if let Some(child) = root.children.get(level) {
            self.collect_below(child, rest, found);
        }
    }

    /// What the tree takes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.node_count() * NODE_BYTES + self.name_bytes
    }

    /// The most that another filter adds, in bytes.
    pub(super) fn added_bytes(filter: TopicFilter<'_>) -> usize {
        filter.levels().map(|level| level.len() + NODE_BYTES).sum()
    }

    /// Counts the nodes in use, the root among them.
    fn node_count(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Recurses at most as deep as the deepest filter.
    fn collect_below(&self, node: u32, rest: Option<&str>, found: &mut Vec<Entry>) {
        let node = &self.nodes[node as usize];
        // `a/#` matches its parent `a` as well.
        found.extend_from_slice(node.below.as_slice());
        let Some(rest) = rest else {
            found.extend_from_slice(node.here.as_slice());
            return;
        };
        let (level, rest) = split_level(rest);
        if let Some(any) = node.any {
            self.collect_below(any, rest, found);
        }
        if let Some(child) = node.children.get(level) {
            self.collect_below(child, rest, found);
        }
    }

    fn child(&self, node: u32, level: &str) -> Option<u32> {
        let node = &self.nodes[node as usize];
        if level == "+" {
            node.any
        } else {
            node.children.get(level)
        }
    }

    fn child_or_new(&mut self, node: u32, level: &str) -> u32 {
        if let Some(child) = self.child(node, level) {
            return child;
        }
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            u32::try_from(self.nodes.len() - 1).expect("memory ends before four billion nodes")
        });
        let node = &mut self.nodes[node as usize];
        if level == "+" {
            node.any = Some(child);
        } else {
            node.children.insert(level, child);
            self.name_bytes += level.len();
        }
        child
    }

    /// Frees a node and its ancestors as far as they are empty.
    fn prune(&mut self, trail: &[(u32, &str)], mut node: u32) {
        for &(parent, level) in trail.iter().rev() {
            if !self.nodes[node as usize].is_empty() {
                return;
            }
            self.nodes[node as usize] = Node::default();
            self.free.push(node);
            let up = &mut self.nodes[parent as usize];
            if level == "+" {
                up.any = None;
            } else {
                up.children.remove(level);
                self.name_bytes -= level.len();
            }
            node = parent;
        }
    }
}

/// Splits a filter into the levels before a final `#` and whether there is one.
fn split_filter(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some("") => (None, true),
        Some(path) => (Some(path.strip_suffix('/').unwrap_or(path)), true),
        None => (Some(filter), false),
    }
}

fn split_level(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

#[cfg(test)]
mod tests {
    use wire::topic::TopicName;

    use super::*;

    const FILTERS: [&str; 22] = [
        "#", "+", "/", "a", "a/", "/a", "a/#", "a/+", "+/a", "+/+", "+/#", "a/b", "a/+/c", "a/b/#",
        "a//c", "a/b/c", "+/b/+", "$SYS/#", "$SYS/+", "/#", "/+", "a/+/#",
    ];
    const TOPICS: [&str; 14] = [
        "a", "/", "a/", "/a", "a/b", "a/b/c", "a//c", "b", "b/a", "$SYS", "$SYS/a", "$SYS/a/b",
        "//", "a/b/c/d",
    ];

    fn entry(session: u32) -> Entry {
        Entry {
            session,
            ..Entry::route()
        }
    }

    #[test]
    fn finds_exactly_what_each_filter_alone_matches() {
        let mut tree = Subscriptions::new();
        for (session, filter) in (0..).zip(FILTERS) {
            tree.insert(filter, entry(session));
        }
        for topic in TOPICS {
            let mut found = Vec::new();
            tree.collect(topic, &mut found);
            let mut found: Vec<u32> = found.iter().map(|entry| entry.session).collect();
            found.sort_unstable();
            let name = TopicName::new(topic).unwrap();
            let expected: Vec<u32> = (0..)
                .zip(FILTERS)
                .filter(|(_, filter)| TopicFilter::new(filter).unwrap().matches(name))
                .map(|(session, _)| session)
                .collect();
            assert_eq!(found, expected, "{topic}");
        }
    }

    #[test]
    fn removing_everything_leaves_only_the_root() {
        let mut tree = Subscriptions::new();
        for filter in FILTERS {
            tree.insert(filter, entry(1));
            tree.insert(filter, entry(2));
        }
        for session in [1, 2] {
            for filter in FILTERS {
                tree.remove(filter, session);
                tree.remove(filter, session);
            }
        }
        tree.remove("never/was", 1);
        assert_eq!(tree.node_count(), 1);
        let mut found = Vec::new();
        tree.collect("a", &mut found);
        assert!(found.is_empty());
    }

    #[test]
    fn the_same_filter_again_replaces() {
        let mut tree = Subscriptions::new();
        tree.insert("a/+", entry(1));
        tree.insert("a/+", Entry { qos: 0, ..entry(1) });
        let mut found = Vec::new();
        tree.collect("a/b", &mut found);
        assert_eq!(found, [Entry { qos: 0, ..entry(1) }]);
    }
}
