//! Mail and agents between the engine, the bridge and the mail office.
//!
//! A pulled message is kept until the office has it, whatever becomes of the connection that
//! brought it: the bridge waits for one answer, and would otherwise never pull that mailbox again.
//! So its answer is said here as soon as it is known, and the engine, which forgets whom to confirm
//! to when a connection falls, decides only whether it is a repeat.

use std::collections::BTreeMap;

use cloud_bridge::{Command, PulledMessage};
use sync::{Apart, Change, ConnectionId, Input, Instant, Place, Record, Table, Token};
use wire::mq9::{Agent, Send};
use wire::nats::Headers;

use super::{Uplink, Wish};

/// What the topics of all requests for the cloud begin with,
const REQUESTS: &str = "$mq9/AI/";
/// and those about agents: who comes and goes must not be told in another order.
const AGENTS: &str = "$mq9/AI/AGENT/";
/// What the key of a mailbox's position in [`Table::Cursors`] begins with; its address follows.
const POSITION_KEY: &str = "mq9-pull/";

/// Mail on its way down, and what is known of the cloud's agents.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// The connection that carries it; `None` where there is no mail.
    connection: Option<ConnectionId>,
    pulled: BTreeMap<Token, PulledMessage>,
    /// Those that the office has not been told of.
    agents: Option<Vec<Agent>>,
    counts: MailCounts,
}

/// What came down since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MailCounts {
    /// Messages that were stored.
    pub(crate) stored: u64,
    /// Messages that could not be stored, each time.
    pub(crate) declined: u64,
    /// Agents that the cloud knew when it was asked last.
    pub(crate) agents: usize,
}

/// Which topics go by the connection for mail.
pub(crate) fn apart() -> Apart {
    Apart {
        prefix: REQUESTS.to_owned(),
        joined: Some(AGENTS.to_owned()),
    }
}

/// The key of a pulled mailbox's position in [`Table::Cursors`].
pub(crate) fn position_key(address: &str) -> Vec<u8> {
    [POSITION_KEY, address].concat().into_bytes()
}

impl Uplink {
    /// Carries mail, too, by this connection.
    pub(crate) fn with_mail(mut self, connection: Option<ConnectionId>) -> Self {
        self.mail.connection = connection;
        self
    }

    /// The office has a pulled message, or could not store it.
    pub(crate) fn mailed(&mut self, now: Instant, token: Token, is_stored: bool) {
        let (Some(_), Some(connection)) = (self.mail.pulled.remove(&token), self.mail.connection)
        else {
            return;
        };
        let counts = &mut self.mail.counts;
        let (input, command) = if is_stored {
            counts.stored += 1;
            let confirm = Command::Confirm { connection, token };
            (Input::Stored { token }, confirm)
        } else {
            counts.declined += 1;
            let decline = Command::Decline { connection, token };
            (Input::StoreFailed { token }, decline)
        };
        self.engine.handle(now, input);
        self.commands.push_back(command);
        self.has_commands = true;
    }

    /// The connection for mail, and what came down by it; `None` where there is no mail.
    pub(crate) fn mail_counts(&self) -> Option<(ConnectionId, MailCounts)> {
        Some((self.mail.connection?, self.mail.counts))
    }

    pub(super) fn pulled(
        &mut self,
        connection: ConnectionId,
        token: Token,
        message: PulledMessage,
    ) -> Input {
        let headers = Headers::parse(&message.send.headers).ok();
        let place = Place::from_properties(headers.iter().flat_map(Headers::fields));
        self.mail.pulled.insert(token, message);
        Input::Received {
            connection,
            token,
            place: place.ok().flatten(),
        }
    }

    pub(super) fn know_agents(&mut self, agents: Vec<Agent>) {
        self.mail.counts.agents = agents.len();
        self.mail.agents = Some(agents);
    }

    /// What the mail wants of the gateway by itself.
    pub(super) fn poll_mail(&mut self) -> Option<Wish> {
        self.mail.agents.take().map(Wish::Agents)
    }

    /// Gives a pulled message to the office, with where its mailbox is pulled on.
    pub(super) fn deliver_mail(&self, token: Token) -> Option<Wish> {
        let PulledMessage { send, position } = self.mail.pulled.get(&token)?;
        let put = Change::Put {
            table: Table::Cursors,
            key: position_key(&send.address),
            value: position.clone(),
        };
        let changes = vec![put];
        let send: Send = send.clone();
        Some(Wish::Mail {
            send,
            changes,
            token,
        })
    }

    /// Whether a confirmation is for the bridge: for mail, if the message is a repeat of what is
    /// stored; one that was just stored is confirmed already.
    pub(super) fn may_confirm(&mut self, connection: ConnectionId, token: Token) -> bool {
        match self.mail.connection == Some(connection) {
            true => self.mail.pulled.remove(&token).is_some(),
            false => true,
        }
    }

    /// Whether a record is a request for the cloud's mail.
    pub(super) fn is_mail(&self, record: &Record) -> bool {
        self.mail.connection.is_some() && record.topic().starts_with(REQUESTS)
    }
}
