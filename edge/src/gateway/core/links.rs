//! Links as they open and go, what they bring and what they take.

use std::fmt::Display;

use sync::Now;
use tracing::warn;

use super::{Core, Progress, Push};
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

    /// Bytes came from a client. [`Core::go_on`] deals with them.
    pub(crate) fn received(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) {
        self.links.bytes_received += bytes.len() as u64;
        if let Some(peer) = self.peers.find(id) {
            peer.connection.handle_bytes(now, bytes);
            self.touch(id);
        }
    }

    /// Deals with what a client said, packet by packet, so that a large fan-out never piles up.
    /// `Held` when others have to take their share first; call it again, or give it the push.
    pub(crate) fn go_on(&mut self, now: Now, id: ConnectionId, push: Push) -> Progress {
        let mut progress = Progress::Done;
        while let Some(input) = self.next_word(id) {
            self.broker.handle(now, input);
            self.settle(now);
            if push == Push::Gentle && self.terms.shared().is_nearly_crowded() {
                progress = Progress::Held;
                break;
            }
        }
        self.pump(now);
        progress
    }

    /// Takes what is to be written to a client in exchange for an empty buffer. False when
    /// everything was written and the connection is over.
    pub(crate) fn take_outbound(
        &mut self,
        now: Now,
        id: ConnectionId,
        bytes: &mut Vec<u8>,
    ) -> bool {
        let is_waited_for = self.terms.shared().is_waited_for();
        let Some(peer) = self.peers.find(id) else {
            return false;
        };
        *bytes = peer.connection.take_outbound(std::mem::take(bytes));
        self.links.bytes_sent += bytes.len() as u64;
        peer.note_given(bytes.len());
        let is_over = bytes.is_empty() && peer.connection.is_closed();
        // Room for a client is nearly always the client's own affair.
        if peer.connection.is_quiet() && !is_waited_for {
            peer.tell();
        } else {
            self.hear(now, id);
            self.pump(now);
        }
        !is_over
    }

    /// Whether a client's link may be read now; if not, its `read` signal tells when to ask again.
    pub(crate) fn may_read(&mut self, id: ConnectionId) -> bool {
        let is_full = self.has_enough();
        let Some(peer) = self.peers.find(id) else {
            return false;
        };
        if is_full && !peer.is_held_back {
            peer.is_held_back = true;
            self.held_back.push(id);
        }
        !is_full && peer.connection.wants_more()
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
        while let Some(input) = self.next_input(id) {
            self.broker.handle(now, input);
            self.settle(now);
        }
        self.peers.remove(id);
        self.pump(now);
    }
}
