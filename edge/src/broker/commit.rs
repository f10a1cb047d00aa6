//! Commits that are not answered yet, and what happens when they are.

use std::collections::VecDeque;

use sync::{Change, Lane, Offset, Table};

use super::Broker;
use super::event::{
    ConnectionId, Event, GroupId, NoteChange, Output, SessionFound, SessionId, Ticket, Token,
    Urgency,
};
use super::notes::KeptNote;
use super::outcome::{Outcome, Refusal};
use super::publish::{Origin, Publication};
use super::session::{Member, Session};
use super::stored::{StoredCursors, cursor_key, encode};
use super::subscribe::{SubscribeWaiting, UnsubscribeWaiting};

/// The commits that are not answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    waiting: VecDeque<(Waiting, usize)>,
    /// The ticket of the oldest.
    first: u64,
    bytes: usize,
}

/// Who waits for a commit.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A publisher.
    Publication(Box<Publication>),
    /// A client that wants its session.
    Connect {
        session: SessionId,
        connection: ConnectionId,
        found: SessionFound,
    },
    /// A client that subscribed.
    Subscribe(Box<SubscribeWaiting>),
    /// A client that unsubscribed.
    Unsubscribe(Box<UnsubscribeWaiting>),
    /// A view.
    Note(Box<NoteWaiting>),
    /// Nobody, but what failed is tried again at the next sweep.
    Sweep {
        sessions: Vec<SessionId>,
        members: Vec<(SessionId, Member)>,
    },
    /// Nobody, but the cursors of these groups are stored by the next sweep if it failed.
    Groups(Vec<GroupId>),
    /// Nobody, but the cursors of a group that ended are deleted by the next sweep if it failed.
    EndOfGroup(Box<str>),
    /// Nobody.
    Nobody,
}

/// A view that waits for a change of a note.
#[derive(Debug)]
pub(super) struct NoteWaiting {
    pub(super) session: SessionId,
    pub(super) connection: ConnectionId,
    pub(super) token: Token,
    pub(super) change: NoteChange,
    /// What a `Put` replaces.
    pub(super) former: Option<KeptNote>,
}

/// There may be many, in a list that doubles.
const _: () = assert!(size_of::<(Waiting, usize)>() <= 64);

/// What a commit takes in broker and view until it is answered, beside its changes.
pub(crate) const COMMIT_BYTES: usize = 320;
/// Places of commits that are kept while there is none.
const KEPT_PLACES: usize = 64;

impl Tickets {
    fn issue(&mut self, waiting: Waiting, bytes: usize) -> Ticket {
        let ticket = self.upcoming();
        self.bytes += bytes;
        self.waiting.push_back((waiting, bytes));
        ticket
    }

    /// The ticket of the next commit.
    fn upcoming(&self) -> Ticket {
        Ticket(self.first + self.waiting.len() as u64)
    }

    fn redeem(&mut self, ticket: Ticket) -> Waiting {
        assert_eq!(ticket.0, self.first, "commits are answered in their order");
        let (waiting, bytes) = self
            .waiting
            .pop_front()
            .expect("every answer has its commit");
        self.first += 1;
        self.bytes -= bytes;
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEPT_PLACES);
        }
        waiting
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Broker {
    /// Asks for a commit.
    pub(super) fn commit(&mut self, changes: Vec<Change>, urgency: Urgency, waiting: Waiting) {
        let bytes = changes.iter().map(Change::held_bytes).sum::<usize>() + COMMIT_BYTES;
        let ticket = self.tickets.issue(waiting, bytes);
        self.outputs.push_back(Output::Commit {
            ticket,
            changes,
            urgency,
        });
    }

    pub(super) fn handle_committed(&mut self, ticket: Ticket, place: Option<(Lane, Offset)>) {
        self.leftovers.note_committed(ticket);
        match self.tickets.redeem(ticket) {
            Waiting::Publication(publication) => self.publication_committed(*publication, place),
            Waiting::Connect {
                session,
                connection,
                found,
            } => {
                self.attach(session, connection, found);
            }
            Waiting::Subscribe(waiting) => self.subscribe_committed(*waiting),
            Waiting::Unsubscribe(waiting) => self.unsubscribe_committed(*waiting),
            Waiting::Note(waiting) => {
                self.note_committed(waiting.session, waiting.change);
                let (token, outcome) = (waiting.token, Ok(()));
                self.tell(waiting.connection, Event::NoteKept { token, outcome });
            }
            Waiting::Sweep { .. }
            | Waiting::Groups(_)
            | Waiting::EndOfGroup(_)
            | Waiting::Nobody => {}
        }
    }

    pub(super) fn handle_commit_failed(&mut self, ticket: Ticket, refusal: Refusal) {
        if self.leftovers.note_failed(ticket) {
            self.schedule_sweep();
        }
        match self.tickets.redeem(ticket) {
            Waiting::Publication(publication) => self.publication_failed(*publication, refusal),
            Waiting::Connect {
                session,
                connection,
                found,
            } => {
                self.connect_failed(session, connection, found, refusal);
            }
            Waiting::Subscribe(waiting) => self.subscribe_failed(*waiting, refusal),
            Waiting::Unsubscribe(waiting) => self.unsubscribe_failed(*waiting, refusal),
            Waiting::Note(waiting) => {
                self.note_failed(waiting.session, waiting.change, waiting.former);
                let (token, outcome) = (waiting.token, Err(refusal));
                self.tell(waiting.connection, Event::NoteKept { token, outcome });
            }
            Waiting::Sweep { sessions, members } => {
                sessions.into_iter().for_each(|id| self.note_unsaved(id));
                let members = members.into_iter();
                members.for_each(|(id, member)| self.note_unsaved_member(id, member));
            }
            Waiting::Groups(groups) => {
                groups.into_iter().for_each(|id| self.mark_group_dirty(id));
            }
            Waiting::EndOfGroup(filter) => {
                self.ended_groups.insert(filter);
                self.schedule_sweep();
            }
            Waiting::Nobody => {}
        }
    }

    /// The changes that delete what a client's sessions left in the tables; they must go with the
    /// next commit.
    pub(super) fn delete_leftovers(&mut self, client_identifier: &str) -> Vec<Change> {
        let ticket = self.tickets.upcoming();
        self.leftovers.deletions(client_identifier, ticket)
    }

    /// Tells a connection, unless it is gone.
    pub(super) fn tell(&mut self, connection: ConnectionId, event: Event) {
        if self.registry.session_of(connection).is_some() {
            self.outputs
                .push_back(Output::ToConnection { connection, event });
        }
    }

    /// The change that stores a session's value.
    pub(super) fn put_session(session: &Session) -> Change {
        Change::Put {
            table: Table::Sessions,
            key: session.client_identifier.as_bytes().to_vec(),
            value: encode(&session.stored()),
        }
    }

    /// The change that stores a session's cursors; live lanes are stored at the head.
    pub(super) fn put_cursors(&mut self, id: SessionId) -> Option<Change> {
        let session = self.registry.get_mut(id)?;
        session.has_moved = false;
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut session.lanes) {
            if !reader.is_behind {
                reader.cursor.skip_to(self.head[lane]);
            }
            reader.stored = reader.cursor.delivered();
        }
        let cursors = session.lanes.each_ref().map(|reader| reader.cursor.clone());
        Some(Change::Put {
            table: Table::Cursors,
            key: cursor_key(&session.client_identifier),
            value: encode(&StoredCursors::new(self.epoch, cursors)),
        })
    }

    /// Answers a publisher, if it is one that waits.
    pub(super) fn answer(&mut self, publication: &Publication, outcome: Outcome) {
        match publication.origin {
            Origin::Client { connection, token } => {
                let record = publication.record.clone();
                match (token, outcome) {
                    (Some(token), _) => self.tell(connection, Event::Published { token, outcome }),
                    (None, Outcome::Refused(refusal)) => {
                        self.tell(connection, Event::NotPublished { record, refusal });
                    }
                    (None, Outcome::Accepted | Outcome::NoSubscribers) => {}
                }
            }
            Origin::Cloud { token } => {
                self.outputs
                    .push_back(Output::FromCloudStored { token, outcome });
            }
            Origin::Gateway => self.outputs.push_back(Output::Reported { outcome }),
            Origin::Will { .. } => {}
        }
    }
}
