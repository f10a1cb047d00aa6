//! Commits that are not answered yet, and what happens when they are.

use std::collections::VecDeque;

use sync::{Change, Lane, Offset, Table};

use super::Broker;
use super::event::{
    ConnectionId, Event, NoteChange, Output, SessionFound, SessionId, Ticket, Token, Urgency,
};
use super::outcome::{Outcome, Refusal, Unsubscription};
use super::publish::{Origin, Publication};
use super::session::Session;
use super::stored::{StoredCursors, cursor_key, encode};
use super::subscribe::SubscribeWaiting;

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
    Unsubscribe {
        connection: ConnectionId,
        token: Token,
        codes: Vec<Result<Unsubscription, Refusal>>,
    },
    /// A view.
    Note {
        session: SessionId,
        connection: ConnectionId,
        token: Token,
        change: NoteChange,
    },
    /// Nobody, but what failed is tried again at the next sweep.
    Sweep {
        sessions: Vec<SessionId>,
        topics: Vec<Box<str>>,
    },
    /// Nobody.
    Nobody,
}

/// What a ticket costs beside the bytes of its changes.
const TICKET_BYTES: usize = 64;

impl Tickets {
    fn issue(&mut self, waiting: Waiting, bytes: usize) -> Ticket {
        let ticket = Ticket(self.first + self.waiting.len() as u64);
        self.bytes += bytes;
        self.waiting.push_back((waiting, bytes));
        ticket
    }

    fn redeem(&mut self, ticket: Ticket) -> Waiting {
        assert_eq!(ticket.0, self.first, "commits are answered in their order");
        let (waiting, bytes) = self
            .waiting
            .pop_front()
            .expect("every answer has its commit");
        self.first += 1;
        self.bytes -= bytes;
        waiting
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Broker {
    /// Asks for a commit.
    pub(super) fn commit(&mut self, changes: Vec<Change>, urgency: Urgency, waiting: Waiting) {
        let bytes = changes.iter().map(change_bytes).sum::<usize>() + TICKET_BYTES;
        let ticket = self.tickets.issue(waiting, bytes);
        self.outputs.push_back(Output::Commit {
            ticket,
            changes,
            urgency,
        });
    }

    pub(super) fn handle_committed(&mut self, ticket: Ticket, place: Option<(Lane, Offset)>) {
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
            Waiting::Unsubscribe {
                connection,
                token,
                codes,
            } => {
                self.tell(connection, Event::Unsubscribed { token, codes });
            }
            Waiting::Note {
                session,
                connection,
                token,
                change,
            } => {
                self.note_committed(session, change);
                self.tell(
                    connection,
                    Event::NoteKept {
                        token,
                        outcome: Ok(()),
                    },
                );
            }
            Waiting::Sweep { .. } | Waiting::Nobody => {}
        }
    }

    pub(super) fn handle_commit_failed(&mut self, ticket: Ticket, refusal: Refusal) {
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
            Waiting::Unsubscribe {
                connection,
                token,
                codes,
            } => {
                let codes = codes.iter().map(|_| Err(refusal)).collect();
                self.tell(connection, Event::Unsubscribed { token, codes });
            }
            Waiting::Note {
                session,
                connection,
                token,
                change,
            } => {
                // A settled delivery's name may be given again before the table is right.
                let is_settled = matches!(
                    change,
                    NoteChange::Delete {
                        delivery: Some(_),
                        ..
                    }
                );
                if is_settled {
                    self.note_committed(session, change);
                }
                self.tell(
                    connection,
                    Event::NoteKept {
                        token,
                        outcome: Err(refusal),
                    },
                );
            }
            Waiting::Sweep { sessions, topics } => {
                sessions
                    .into_iter()
                    .for_each(|session| self.note_unsaved(session));
                topics
                    .iter()
                    .for_each(|topic| self.retained.note_unsaved(topic));
                self.schedule_sweep();
            }
            Waiting::Nobody => {}
        }
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
        session.is_dirty = false;
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
                if publication.record.qos() > 0 {
                    self.tell(connection, Event::Published { token, outcome });
                }
            }
            Origin::Cloud { token } => {
                self.outputs
                    .push_back(Output::FromCloudStored { token, outcome });
            }
            Origin::Will { .. } => {}
        }
    }
}

fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Append { record, .. } => record.as_bytes().len(),
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { key, .. } => key.len(),
    }
}
