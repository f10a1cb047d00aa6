//! Links as they open and go.

use std::fmt::Display;

use sync::Now;
use tracing::warn;

use super::Core;
use crate::broker::ConnectionId;

impl Core {
    /// A listener accepted a link that has to be dropped: so many have all descriptors for links.
    pub(crate) fn no_descriptor(&mut self, now: Now, limit: usize) {
        if let Some(times) = self.quiet.may_say(now.instant, "descriptors") {
            warn!("connection refused: all {limit} that open files allow are in use{times}");
        }
    }

    /// A listener could not accept; it tries again.
    pub(crate) fn not_accepted(&mut self, now: Now, error: &dyn Display) {
        if let Some(times) = self.quiet.may_say(now.instant, "accept") {
            warn!("can't accept connections: {error}{times}");
        }
    }

    /// A link is open, and its certificate says who the client is.
    pub(crate) fn identify(&mut self, id: ConnectionId, identity: Option<Box<str>>) {
        if let (Some(peer), Some(identity)) = (self.peers.find(id), identity) {
            peer.connection.handle_identity(identity);
        }
    }

    /// What all links have carried, both ways.
    pub(crate) const fn carried_bytes(&self) -> u64 {
        self.links.bytes_received + self.links.bytes_sent
    }

    /// Whether a connection goes on.
    pub(crate) fn is_open(&mut self, id: ConnectionId) -> bool {
        self.peers
            .find(id)
            .is_some_and(|peer| !peer.connection.is_closed())
    }

    /// A link could not be opened: its client is not who it should be, or breaks the rules below
    /// its protocol.
    pub(crate) fn not_opened(
        &mut self,
        now: Now,
        id: ConnectionId,
        name: &dyn Display,
        error: &dyn Display,
    ) {
        if let Some(times) = self.quiet.may_say(now.instant, "turned away") {
            warn!("{name} was turned away: {error}{times}");
        }
        self.lost(now, id, name);
    }

    /// A link is gone, from either side.
    pub(crate) fn lost(&mut self, now: Now, id: ConnectionId, name: &dyn Display) {
        let Some(peer) = self.peers.find(id) else {
            return;
        };
        if let Some((kind, error)) = peer.connection.mistake()
            && let Some(times) = self.quiet.may_say(now.instant, kind)
        {
            warn!("{name} was disconnected: {error}{times}");
        }
        peer.connection.handle_lost();
        self.hear(now, id);
        self.peers.remove(id);
        self.pump(now);
    }
}
