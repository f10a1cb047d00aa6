//! One life of the mail's connection after its greeting, as pure bookkeeping.
//!
//! It is told what the gateway wants and what the server said, and says what that means: which
//! record is answered, what is to be written, and when waiting has been long enough. It promises
//! one answer for each record. An answer finds its request by its subject alone: RobustMQ sends
//! replies under a subscription of number 0, which nobody made. It never touches a socket or a
//! clock.

mod order;
mod questions;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sync::{ConnectionId, Instant, Lane, Offset, Origin, Place, WallTime};
use wire::mq9::{Create, Identity, Kind, Reply, Request};
use wire::nats::{ClientOperation, Message, NO_RESPONDERS, Publish, ServerError, ServerOperation};

use self::order::Order;
use self::questions::{Question, Questions};
use super::incoming::Lost;
use super::pull::Puller;
use super::request;
use super::verdict::{Verdict, verdict};
use crate::failure::Failure;
use crate::reason::RECEIVE_MAXIMUM_EXCEEDED;
use crate::{Event, PublishCommand, Rejection};

/// What a session was agreed to be, by configuration and greeting.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) connection: ConnectionId,
    pub(super) origin: Origin,
    /// What the subjects of replies begin with.
    pub(super) inbox: String,
    /// Records that may be unanswered.
    pub(super) window: usize,
    /// Headers and payload of a request, as the server says.
    pub(super) maximum_message_bytes: usize,
    /// How long the server may take for an answer.
    pub(super) patience: Duration,
    pub(super) keep_alive: Duration,
    pub(super) create: bool,
    pub(super) agents_interval: Option<Duration>,
}

/// The state of one life.
#[derive(Debug)]
pub(super) struct Session {
    terms: Terms,
    questions: Questions,
    order: Order,
    /// Agents that could not be removed before they were registered anew, by record: there the
    /// former registration still counts.
    unremoved: BTreeMap<(Lane, Offset), Verdict>,
    /// What became of registrations whose agent is not known to be removed yet.
    registered: BTreeMap<(Lane, Offset), (Place, Verdict)>,
    /// Mailboxes that were made, and when: to be made again, if at all, after a while.
    made: BTreeMap<String, Instant>,
    /// Since when a PONG is owed.
    pinged: Option<Instant>,
    next_ping: Instant,
    next_agents: Option<Instant>,
    since: Instant,
    has_accepted: bool,
    events: VecDeque<Event>,
    outbound: Vec<u8>,
}

/// A mailbox that is still missing after this time is made once more.
const MADE_PAUSE: Duration = Duration::from_secs(30);
/// Mailboxes remembered as made; beyond, the one that was made first may be made again.
const MADE: usize = 256;
/// An idle server that lets itself be connected to for this long may have no fault.
const FAIR: Duration = Duration::from_secs(10);
/// MQTT's number for what the server says in words.
const UNSPECIFIED: u8 = 0x80;

impl Session {
    pub(super) fn new(terms: Terms, now: Instant) -> Self {
        Self {
            questions: Questions::new(&terms.inbox),
            order: Order::default(),
            unremoved: BTreeMap::new(),
            registered: BTreeMap::new(),
            made: BTreeMap::new(),
            pinged: None,
            next_ping: now + terms.keep_alive,
            next_agents: terms.agents_interval.map(|_| now),
            since: now,
            has_accepted: false,
            events: VecDeque::new(),
            outbound: Vec::new(),
            terms,
        }
    }

    /// The gateway wants a record sent.
    pub(super) fn handle_record(&mut self, now: Instant, wall: WallTime, command: PublishCommand) {
        let PublishCommand {
            lane,
            offset,
            record,
            ..
        } = command;
        let place = Place {
            origin: self.terms.origin.clone(),
            lane,
            offset,
            time: record.time(),
        };
        if self.questions.record_count() >= self.terms.window {
            return self.refuse(place, RECEIVE_MAXIMUM_EXCEEDED, None);
        }
        match request::read(&place, &record, wall) {
            Err(reason) => self.reject(place, reason),
            Ok(Request::Register(register)) => {
                // A second registration changes nothing there, so the first has to go before it.
                let agent = Request::Unregister(Identity {
                    name: Some(register.name.clone()),
                    mailbox: None,
                });
                let register = Request::Register(register);
                let (lane, offset) = (place.lane, place.offset);
                self.order.begin(lane, offset, AGENTS.to_owned());
                self.ask(now, &agent, Question::Remove { lane, offset });
                let address = None;
                self.ask(now, &register, Question::Record { place, address });
            }
            Ok(request) => {
                let address = match &request {
                    Request::Send(send) => Some(send.address.clone()),
                    _ => None,
                };
                let topic = address.clone().unwrap_or_else(|| AGENTS.to_owned());
                self.order.begin(place.lane, place.offset, topic);
                self.ask(now, &request, Question::Record { place, address });
            }
        }
    }

    /// The server said something.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        operation: &ServerOperation<'_>,
        puller: &mut Puller,
    ) -> Result<(), Failure> {
        match operation {
            ServerOperation::Message(message) => self.handle_message(now, message, puller),
            ServerOperation::Ping => self.write(&ClientOperation::Pong),
            ServerOperation::Pong => self.pinged = None,
            ServerOperation::Err(error) => self.handle_error(now, *error, puller)?,
            ServerOperation::Info(_) | ServerOperation::Ok => {}
        }
        Ok(())
    }

    /// A message came that is larger than what is taken.
    pub(super) fn handle_too_large(&mut self, now: Instant, subject: &str, puller: &mut Puller) {
        match self.questions.take(subject) {
            Some((Question::Pull, _)) => puller.too_large(now),
            Some((Question::Agents, _)) => {
                tracing::warn!("cloud: the list of agents is over reply_bytes, and not taken");
            }
            Some((question, _)) => {
                let text = "the answer is over reply_bytes".to_owned();
                self.decide(now, question, Verdict::Refused(text), puller);
            }
            None => {}
        }
    }

    /// A message came that is larger than what is taken, and this is left of it.
    pub(super) fn handle_trimmed(
        &mut self,
        now: Instant,
        (subject, payload): (&str, &[u8]),
        lost: &[Lost],
        puller: &mut Puller,
    ) {
        let is_pull = |question: &Question| matches!(question, Question::Pull);
        if self.questions.find(subject).is_some_and(is_pull)
            && let Ok(Reply::Messages { messages, .. }) = Reply::decode(Kind::Fetch, payload)
        {
            self.questions.take(subject);
            return puller.answered(now, messages, lost);
        }
        self.handle_too_large(now, subject, puller);
    }

    /// Does what is due: asks for mail and agents, and counts how long the server is silent.
    ///
    /// # Errors
    /// When something was waited for longer than patience allows.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        puller: &mut Puller,
    ) -> Result<(), Failure> {
        let patience = self.terms.patience;
        let oldest = self.questions.oldest();
        if oldest.is_some_and(|since| since + patience <= now) {
            return Err(Failure::late("no answer to a request", patience));
        }
        if self.pinged.is_some_and(|since| since + patience <= now) {
            return Err(Failure::late("no PONG", patience));
        }
        if self.next_ping <= now {
            self.next_ping = now + self.terms.keep_alive;
            self.pinged.get_or_insert(now);
            self.write(&ClientOperation::Ping);
        }
        if let Some(interval) = self.terms.agents_interval
            && self.next_agents.is_some_and(|due| due <= now)
        {
            self.next_agents = Some(now + interval);
            let discover = Request::Discover(wire::mq9::Discover {
                page: 1,
                ..wire::mq9::Discover::default()
            });
            self.ask(now, &discover, Question::Agents);
        }
        if let Some(request) = puller.next_request(now) {
            self.ask(now, &request, Question::Pull);
        }
        Ok(())
    }

    /// When [`Session::handle_timeout`] is due, but for what the puller wants.
    pub(super) fn poll_timeout(&self) -> Instant {
        let patience = self.terms.patience;
        let owed = self.questions.oldest().map(|since| since + patience);
        let pong = self.pinged.map(|since| since + patience);
        let due = [owed, pong, self.next_agents].into_iter().flatten();
        due.fold(self.next_ping, Instant::min)
    }

    /// Gives the next thing to tell the gateway.
    pub(super) fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be written to the server; take from its front what was.
    pub(super) const fn outbound(&mut self) -> &mut Vec<u8> {
        &mut self.outbound
    }

    /// Whether the endpoint was what it is there for: it took a record, or was there for a while.
    pub(super) fn was_useful(&self, now: Instant) -> bool {
        let is_owing = self.questions.oldest().is_some() || self.pinged.is_some();
        self.has_accepted || (!is_owing && now - self.since >= FAIR)
    }

    /// Why the connection is left, when the gateway says so.
    pub(super) fn parting(&self, now: Instant) -> Failure {
        match self.questions.oldest() {
            Some(since) => Failure::given_up("no answer to a request", now - since),
            None => Failure::asked(),
        }
    }

    fn handle_message(&mut self, now: Instant, message: &Message<'_>, puller: &mut Puller) {
        let Some((question, kind)) = self.questions.take(message.subject) else {
            return;
        };
        match (question, Reply::decode(kind, message.payload)) {
            (Question::Pull, Ok(Reply::Messages { messages, .. })) => {
                puller.answered(now, messages, &[]);
            }
            (Question::Agents, Ok(Reply::Agents(agents))) => {
                let connection = self.terms.connection;
                self.events.push_back(Event::Agents { connection, agents });
            }
            (question, reply) => {
                // Where nobody serves mq9, a NATS server says so by a status and nothing else.
                let verdict = match message.headers {
                    NO_RESPONDERS => Verdict::Refused("nobody serves mq9 there".to_owned()),
                    _ => verdict(reply),
                };
                self.decide(now, question, verdict, puller);
            }
        }
    }

    /// Tells whoever asked what became of the question.
    fn decide(&mut self, now: Instant, question: Question, verdict: Verdict, puller: &mut Puller) {
        match question {
            Question::Pull => puller.failed(now, &verdict),
            Question::Agents => tracing::debug!("cloud: no list of agents: {verdict:?}"),
            Question::Remove { lane, offset } => {
                if !matches!(verdict, Verdict::Done { .. }) {
                    self.unremoved.insert((lane, offset), verdict);
                }
                if let Some((place, verdict)) = self.registered.remove(&(lane, offset)) {
                    self.settle(place, verdict);
                }
            }
            question => self.conclude(now, question, verdict),
        }
    }

    /// What follows for a record from the verdict about its request.
    fn conclude(&mut self, now: Instant, question: Question, verdict: Verdict) {
        match (question, verdict) {
            (
                Question::Record {
                    place,
                    address: Some(address),
                },
                Verdict::Missing,
            ) if self.may_make(now, &address) => {
                let create = Request::Create(Create {
                    name: Some(address.clone()),
                    ttl_seconds: Some(0),
                    ..Create::default()
                });
                self.ask(now, &create, Question::Make { place, address });
            }
            // Nodes of the cluster learn of it one after the other, so it is sent a little later.
            (Question::Make { place, address }, Verdict::Done { .. }) => {
                let text = format!("mailbox {address} was made a moment ago");
                self.refuse(place, UNSPECIFIED, Some(text));
            }
            (question, verdict) => {
                let Some(place) = question.into_place() else {
                    return;
                };
                match self.questions.is_removing(place.lane, place.offset) {
                    true => {
                        let at = (place.lane, place.offset);
                        self.registered.insert(at, (place, verdict));
                    }
                    false => self.settle(place, verdict),
                }
            }
        }
    }

    /// Answers a record: as done only if nothing that had to go before it is left.
    fn settle(&mut self, place: Place, verdict: Verdict) {
        let unremoved = self.unremoved.remove(&(place.lane, place.offset));
        match unremoved.unwrap_or(verdict) {
            Verdict::Done { id } => self.accept(place, id),
            Verdict::Refused(text) => self.refuse(place, UNSPECIFIED, Some(text)),
            Verdict::Rejected(text) => self.reject(place, Rejection::Mail { text }),
            Verdict::Missing => {
                let text = "the mailbox does not exist there".to_owned();
                self.refuse(place, UNSPECIFIED, Some(text));
            }
        }
    }

    fn handle_error(
        &mut self,
        now: Instant,
        error: ServerError<'_>,
        puller: &mut Puller,
    ) -> Result<(), Failure> {
        use embedded_io::ErrorKind;

        let about = match error {
            ServerError::PublishPermission { subject } => {
                Some((subject, Verdict::Refused(format!("{error}"))))
            }
            ServerError::Other(text) => text
                .strip_prefix(UNRECOGNIZED)
                .map(|subject| (subject, Verdict::Rejected(text.to_owned()))),
            _ => None,
        };
        if let Some((subject, verdict)) = about {
            for question in self.questions.take_all_to(subject) {
                self.decide(now, question, verdict.clone(), puller);
            }
            return Ok(());
        }
        let kind = match error {
            ServerError::AuthorizationViolation
            | ServerError::AuthenticationTimeout
            | ServerError::SubscriptionPermission { .. } => ErrorKind::PermissionDenied,
            // RobustMQ says so of what it stores beside mq9, and goes on.
            ServerError::Other(_) => return Ok(()),
            _ => ErrorKind::ConnectionReset,
        };
        Err(Failure::new(kind, format!("the server says {error}")))
    }

    /// Whether a missing mailbox is to be made now; notes that it was.
    fn may_make(&mut self, now: Instant, address: &str) -> bool {
        let made = self.made.get(address);
        if !self.terms.create || made.is_some_and(|made| now - *made < MADE_PAUSE) {
            return false;
        }
        self.made.insert(address.to_owned(), now);
        if self.made.len() > MADE {
            let first = self.made.iter().min_by_key(|(_, made)| **made);
            let first = first.map(|(address, _)| address.clone());
            first.map(|address| self.made.remove(&address));
        }
        true
    }

    /// Writes a request whose answer decides a question.
    fn ask(&mut self, now: Instant, request: &Request, question: Question) {
        let (subject, headers, payload) = (request.subject(), request.headers(), request.body());
        let found = headers.len() + payload.len();
        let allowed = self.terms.maximum_message_bytes;
        if found > allowed {
            if let Some(place) = question.into_place() {
                let (found, allowed) = (found as u64, u32::try_from(allowed).unwrap_or(u32::MAX));
                self.reject(place, Rejection::TooLarge { found, allowed });
            }
            return;
        }
        let reply_to = self.questions.reply_to();
        let operation = ClientOperation::Publish(Publish {
            subject: &subject,
            reply_to: Some(&reply_to),
            headers: &headers,
            payload: &payload,
        });
        match operation.encode(&mut self.outbound) {
            Ok(_) => self.questions.add(now, request.kind(), subject, question),
            // A subject that NATS does not allow.
            Err(_) => {
                if let Some(place) = question.into_place() {
                    self.reject(place, Rejection::Topic);
                }
            }
        }
    }

    fn write(&mut self, operation: &ClientOperation<'_>) {
        let written = operation.encode(&mut self.outbound);
        written.expect("operations without arguments are always valid");
    }

    fn accept(&mut self, place: Place, server_offset: Option<u64>) {
        self.has_accepted = true;
        let event = Event::Accepted {
            connection: self.terms.connection,
            lane: place.lane,
            offset: place.offset,
            server_offset,
        };
        self.tell(&place, event);
    }

    fn refuse(&mut self, place: Place, reason: u8, text: Option<String>) {
        let event = Event::Refused {
            connection: self.terms.connection,
            lane: place.lane,
            offset: place.offset,
            reason,
            text,
        };
        self.tell(&place, event);
    }

    fn reject(&mut self, place: Place, reason: Rejection) {
        let event = Event::Rejected {
            connection: self.terms.connection,
            lane: place.lane,
            offset: place.offset,
            reason,
        };
        self.tell(&place, event);
    }

    /// Answers a record, behind those before it in its topic.
    fn tell(&mut self, place: &Place, event: Event) {
        let told = self.order.answer(place.lane, place.offset, event);
        self.events.extend(told);
    }
}

/// What orders records about agents; no address is like it.
const AGENTS: &str = "AGENT";
/// How RobustMQ says on the connection, and not in an answer, that it knows no such request.
const UNRECOGNIZED: &str = "unrecognized mq9 subject: ";
