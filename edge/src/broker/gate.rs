//! The gate of the mail office: who may ask it for what, whose answer is whose, and which publish
//! is a letter.
//!
//! A publish to `$mq9/{mail address}`, by whatever way it comes, is a request to send: its answer is
//! the office's, and what has to be durable with it travels with the letter. Its properties are
//! headers there. Nobody hears such a topic.

use std::collections::{BTreeMap, BTreeSet};

use sync::{Change, Lane, Offset, Record};
use wire::mq9::{Failure, PREFIX, Reply, Request};
use wire::mqtt::property::{Properties, PropertySet};
use wire::nats::HeaderWriter;

use super::Broker;
use super::access::Deed;
use super::commit::Waiting;
use super::event::{ConnectionId, Event, MailInput, Output, Token, Urgency};
use super::outcome::{Outcome, Refusal};
use super::publish::{Origin, Publication};
use crate::mail::{self, Ticket};

/// What the topics of letters begin with.
const LETTERS: &str = "$mq9/";

/// Requests that the office has not answered.
#[derive(Debug, Default)]
pub(super) struct Gate {
    waiting: BTreeMap<Ticket, Errand>,
    /// Those that are given up when their connection goes.
    fetches: BTreeSet<(ConnectionId, Ticket)>,
    last_ticket: u64,
}

/// Who waits for an answer of the office.
#[derive(Debug)]
enum Errand {
    /// A view, unless nobody wants to know.
    View {
        connection: ConnectionId,
        token: Option<Token>,
    },
    /// Whoever published a letter.
    Letter(Box<Publication>),
}

impl Broker {
    pub(super) fn handle_mail(&mut self, input: MailInput) {
        match input {
            MailInput::Request {
                connection,
                topic,
                request,
                reply_topic,
                token,
            } => {
                let topics = (&*topic, reply_topic.as_deref());
                self.handle_request(connection, topics, request, token);
            }
            MailInput::Answered { ticket, reply } => self.handle_answered(ticket, reply),
            MailInput::Reply { connection, record } => self.handle_reply(connection, &record),
            MailInput::Passed { lane, offset } => self.handle_passed(lane, offset),
        }
    }

    fn handle_request(
        &mut self,
        connection: ConnectionId,
        (topic, reply_topic): (&str, Option<&str>),
        request: Box<Request>,
        token: Option<Token>,
    ) {
        let Some(id) = self.registry.session_of(connection) else {
            return;
        };
        if let (Some(reply_topic), Some(token)) = (reply_topic, token)
            && !self.may_be_answered(id.index, reply_topic)
        {
            self.counters.refused += 1;
            return self.tell(connection, Event::NoReply { token });
        }
        let refusal = match self.settings.has_mail {
            false => Some(Refusal::NoMail),
            true if !self.may_ask(id.index, topic, &request) => Some(Refusal::NotAuthorized),
            true => None,
        };
        if let Some(refusal) = refusal {
            self.counters.refused += 1;
            let reply = Reply::Failed(Failure::Refused(refusal.to_string()));
            return self.tell_reply(connection, token, reply);
        }
        let is_fetch = matches!(*request, Request::Fetch(_));
        let ticket = self.ask_office(Errand::View { connection, token }, request, Vec::new());
        if is_fetch {
            self.gate.fetches.insert((connection, ticket));
        }
    }

    /// Whether a session may ask the office for something: by its topic, and by that of the mailbox
    /// that it is about, since the body of an acknowledgement may name another one.
    fn may_ask(&self, session: u32, topic: &str, request: &Request) -> bool {
        let may = |topic: &str| self.may(session, Deed::Write, topic);
        let may_touch = || match request {
            Request::Acknowledge(_) => may(&request.subject().replace('.', "/")),
            _ => true,
        };
        may(topic) && may_touch()
    }

    /// Whether the gateway may answer a session there. It speaks in its own name, whatever the topic
    /// and whoever listens: so only where the client could hear the answer, or say it itself.
    fn may_be_answered(&self, session: u32, reply_topic: &str) -> bool {
        let may = |deed| self.may(session, deed, reply_topic);
        may(Deed::Read) || may(Deed::Write)
    }

    /// Sends a letter on its way, committing `changes` with it.
    pub(super) fn post(&mut self, publication: Publication, mut changes: Vec<Change>) {
        let request = match self.settings.has_mail {
            false => Err(Refusal::NoMail),
            true => letter_of(&publication.record),
        };
        // The end of a session does not depend on its will. It comes behind the letter, so that a
        // will that was not sent is there after a power cut.
        let aside = match publication.origin {
            Origin::Will { .. } => std::mem::take(&mut changes),
            Origin::Client { .. } | Origin::Cloud { .. } | Origin::Gateway => Vec::new(),
        };
        match request {
            Ok(request) => {
                let errand = Errand::Letter(Box::new(publication));
                self.ask_office(errand, Box::new(request), changes);
            }
            Err(refusal) => self.turn_down(&publication, refusal),
        }
        if !aside.is_empty() {
            self.commit(aside, Urgency::Relaxed, Waiting::Nobody);
        }
    }

    fn handle_answered(&mut self, ticket: Ticket, reply: Reply) {
        match self.gate.waiting.remove(&ticket) {
            Some(Errand::View { connection, token }) => {
                self.gate.fetches.remove(&(connection, ticket));
                self.tell_reply(connection, token, reply);
            }
            Some(Errand::Letter(publication)) => match outcome_of(&reply) {
                Outcome::Refused(refusal) => self.turn_down(&publication, refusal),
                outcome => self.answer(&publication, outcome),
            },
            // Given up meanwhile.
            None => {}
        }
    }

    /// Refuses a letter. One that nobody can ever take is not kept by whoever would send it again.
    fn turn_down(&mut self, publication: &Publication, refusal: Refusal) {
        let may_come_again = refusal == Refusal::Mail;
        match &publication.origin {
            Origin::Will { session, will } if may_come_again => {
                self.restore_will(*session, will.clone());
            }
            Origin::Cloud { .. } if !may_come_again => {
                self.counters.refused += 1;
                return self.answer(publication, Outcome::NoSubscribers);
            }
            _ => {}
        }
        self.refuse(publication, refusal);
    }

    /// Hands a reply of the office, as a message, to whoever listens now. It goes out before anything
    /// else, so that a view knows its room before it takes the next answer.
    fn handle_reply(&mut self, connection: ConnectionId, record: &Record) {
        let Some(id) = self.registry.session_of(connection) else {
            return;
        };
        if !self.may_be_answered(id.index, record.topic()) {
            self.counters.refused += 1;
            let (record, refusal) = (record.clone(), Refusal::NotAuthorized);
            return self.tell(connection, Event::NotPublished { record, refusal });
        }
        let mut found = std::mem::take(&mut self.found);
        self.look_up(record.topic(), &mut found);
        let waiting = self.outputs.len();
        self.pass_on(record, &found, 0);
        self.found = found;
        self.outputs.rotate_left(waiting);
    }

    /// Notes that a record went into the log that no client wants.
    fn handle_passed(&mut self, lane: Lane, offset: Offset) {
        assert!(offset >= self.head[lane], "offsets of a lane only grow");
        self.head[lane] = offset.next();
        self.note_head_moved(lane);
    }

    /// Gives up what a connection that is gone waits for.
    pub(super) fn cancel_fetches(&mut self, connection: ConnectionId) {
        let own = (connection, Ticket(0))..=(connection, Ticket(u64::MAX));
        let tickets: Vec<Ticket> = self.gate.fetches.range(own).map(|(_, it)| *it).collect();
        for ticket in tickets {
            self.gate.fetches.remove(&(connection, ticket));
            self.gate.waiting.remove(&ticket);
            let input = mail::Input::Cancel { ticket };
            self.outputs.push_back(Output::Mail(input));
        }
    }

    fn ask_office(
        &mut self,
        errand: Errand,
        request: Box<Request>,
        changes: Vec<Change>,
    ) -> Ticket {
        self.gate.last_ticket += 1;
        let ticket = Ticket(self.gate.last_ticket);
        self.gate.waiting.insert(ticket, errand);
        let input = mail::Input::Request {
            ticket,
            request,
            changes,
        };
        self.outputs.push_back(Output::Mail(input));
        ticket
    }

    fn tell_reply(&mut self, connection: ConnectionId, token: Option<Token>, reply: Reply) {
        if let Some(token) = token {
            self.tell(connection, Event::Mail { token, reply });
        }
    }
}

/// Whether a topic is a mailbox's, or would be: nobody hears it.
pub(super) fn is_letter(topic: &str) -> bool {
    topic.starts_with(LETTERS)
}

/// What a message to a mailbox's topic asks the office for.
fn letter_of(record: &Record) -> Result<Request, Refusal> {
    let address = record.topic().strip_prefix(LETTERS).unwrap_or_default();
    if address.is_empty() || address.contains('/') {
        return Err(Refusal::MailAddress);
    }
    let subject = format!("{PREFIX}MSG.SEND.{address}");
    let headers = headers_of(record);
    let request = Request::decode(&subject, &headers, record.payload());
    match request.map_err(|failure| refusal_of(&failure))? {
        Request::Send(mut send) => {
            let ttl = &mut send.attributes.ttl_seconds;
            // An interval of 0 counts as a second, as for every message.
            let expiry = record.expiry_seconds().map(|it| u64::from(it.max(1)));
            *ttl = ttl.or(expiry);
            Ok(Request::Send(send))
        }
        _ => Err(Refusal::MailAddress),
    }
}

/// The user properties of a message as a header block; empty if there are none. What a header can't
/// say is left out.
fn headers_of(record: &Record) -> Vec<u8> {
    let mut block = Vec::new();
    let properties = Properties::parse(record.properties(), PropertySet::FORWARDABLE);
    let properties = properties.unwrap_or(Properties::EMPTY);
    let Ok(mut writer) = HeaderWriter::new(None, &mut block) else {
        return Vec::new();
    };
    let mut count = 0;
    for property in properties.user_properties() {
        count += u32::from(writer.field(property.name, property.value).is_ok());
    }
    match writer.finish() {
        Ok(_) if count > 0 => block,
        _ => Vec::new(),
    }
}

/// What the publisher of a letter is told.
const fn outcome_of(reply: &Reply) -> Outcome {
    match reply {
        Reply::Failed(failure) => Outcome::Refused(refusal_of(failure)),
        _ => Outcome::Accepted,
    }
}

const fn refusal_of(failure: &Failure) -> Refusal {
    match failure {
        Failure::NoMailbox(_) => Refusal::NoMailbox,
        Failure::Subject(_) | Failure::Address(_) => Refusal::MailAddress,
        _ => Refusal::Mail,
    }
}
