//! File descriptors: how many links may be open, so that the log always gets those it needs.
//!
//! Whoever connects takes one before it has said a word. It promises that clients never use those
//! of the log, the cloud and the operator, however many come: without it, silent ones could keep
//! the log from making its next segment.

use std::fmt;
use std::rc::Rc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Those that links may take.
#[derive(Debug)]
pub(super) struct Descriptors {
    taken: Rc<()>,
    limit: usize,
}

/// A client, and the descriptor that goes back when its link is closed.
#[derive(Debug)]
pub(super) struct Guest<P> {
    peer: P,
    _descriptor: Rc<()>,
}

/// Set aside for the gateway itself, which has some 20 open, and a few more for each connection to
/// the cloud.
const RESERVED: u64 = 64;

impl Descriptors {
    /// Raises the process's limit as far as so many links need and the system lets it.
    pub(super) fn claim(connections: usize) -> Self {
        let needed = RESERVED.saturating_add(connections as u64);
        // Links that say goodbye have theirs for a moment longer.
        let found = raise(needed.saturating_add(connections as u64));
        let limit = links_within(found);
        if limit < connections {
            warn!(
                "at most {limit} connections at once, not limits.connections = {connections}: the \
                 system allows {found} open files, and {needed} are needed"
            );
        }
        Self::new(limit)
    }

    fn new(limit: usize) -> Self {
        let taken = Rc::default();
        Self { taken, limit }
    }

    /// Gives a client its descriptor; `None` when there is none for links.
    pub(super) fn welcome<P>(&self, peer: P) -> Option<Guest<P>> {
        let is_there = Rc::strong_count(&self.taken) <= self.limit;
        is_there.then(|| Guest {
            peer,
            _descriptor: self.taken.clone(),
        })
    }

    /// How many links may be open at once.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }
}

impl<P> Guest<P> {
    /// Who it is.
    pub(super) const fn peer(&self) -> &P {
        &self.peer
    }
}

impl<P: fmt::Display> fmt::Display for Guest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)
    }
}

/// Lets the process open so many files, if it may; gives how many it can open from now on.
fn raise(wanted: u64) -> u64 {
    let found = getrlimit(Resource::Nofile);
    let has = found.current.unwrap_or(u64::MAX);
    if has >= wanted {
        return has;
    }
    let most = found.maximum.unwrap_or(u64::MAX).min(wanted);
    let raised = Rlimit {
        current: Some(most),
        maximum: found.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_or(has, |()| most)
}

fn links_within(files: u64) -> usize {
    let left = usize::try_from(files.saturating_sub(RESERVED));
    left.unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_get_what_the_gateway_leaves() {
        assert_eq!(links_within(1024), 960);
        assert_eq!(links_within(20), 1);
    }

    #[test]
    fn a_descriptor_comes_back_with_the_end_of_its_link() {
        let descriptors = Descriptors::new(2);
        let first = descriptors.welcome("a").unwrap();
        let second = descriptors.welcome("b").unwrap();
        assert!(descriptors.welcome("c").is_none());
        assert_eq!(first.to_string(), "a");
        drop(first);
        assert!(descriptors.welcome("c").is_some());
        drop(second);
    }
}
