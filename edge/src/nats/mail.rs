//! Requests for the mail office, and its replies.
//!
//! A message to a subject under [`PREFIX`] is a request of mq9 and heard by nobody. Its reply is a
//! JSON document to the reply subject, for whoever listens there, on whichever connection; without a
//! reply subject it is done in silence. The gateway says it in its own name, so it goes only where the
//! client might hear it or say it itself; a request for any other reply subject is not done.
//!
//! Replies may be large, so requests that read are asked for one at a time, and not while too much
//! waits to be written. A fetch first looks for what is there, and waits only when that is nothing,
//! while other requests go on. When there is no room for what came at last it finds nothing, and the
//! messages stay where they are.

use std::collections::BTreeMap;

use sync::{Now, Record, RecordParts};
use wire::mq9::{Failure, PREFIX, PayloadEncoding, Reply, Request};
use wire::nats::{Publish, ServerError};
use wire::topic::TopicName;

use super::Connection;
use super::connection::{Established, State};
use super::inbound::topic_of;
use super::outbound::{FRAME_BYTES, subject_of};
use crate::broker::{Input, MailInput, Token};

/// What a connection asked the office for and wants to hear of.
#[derive(Debug, Default)]
pub(super) struct Errands {
    open: BTreeMap<u64, Errand>,
    last: u64,
    /// Fetches that wait for a message.
    waiting_count: usize,
    /// The one that reads.
    reading: Option<u64>,
}

/// A request whose reply somebody wants.
#[derive(Debug)]
struct Errand {
    /// Where the reply goes.
    reply_topic: Box<str>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A fetch of what is there.
    Fetch,
    /// The same, and what to ask for when that is nothing.
    FetchAndWait(Box<Wait>),
    /// A fetch that waits.
    Waiting,
    Other,
}

/// A fetch that is to wait.
#[derive(Debug)]
struct Wait {
    topic: String,
    request: Request,
}

/// Says why a reply that is there does not come.
const NO_ROOM: &str = "too much waits to be sent";

impl Connection {
    /// Whether a subject is the mail office's.
    pub(super) fn is_for_office(subject: &str) -> bool {
        subject.starts_with(PREFIX)
    }

    pub(super) fn handle_request(
        &mut self,
        now: Now,
        established: &mut Established,
        publish: &Publish<'_>,
    ) {
        let mut reply_text = String::new();
        let reply_topic = match publish.reply_to.map(|it| topic_of(it, &mut reply_text)) {
            None => None,
            Some(Some(topic)) if topic.as_str().starts_with('$') => {
                let subject = publish.reply_to.unwrap_or_default();
                return self.refuse(ServerError::PublishPermission { subject });
            }
            Some(Some(topic)) => Some(topic.as_str()),
            Some(None) => return self.refuse(ServerError::InvalidPublishSubject),
        };
        let mut text = String::new();
        let topic = topic_of(publish.subject, &mut text);
        let request = Request::decode(publish.subject, publish.headers, publish.payload);
        let failure = match (topic, request) {
            (Some(topic), Ok(request)) => {
                let topic = topic.as_str().to_owned();
                self.ask(established, topic, request, reply_topic);
                None
            }
            (Some(_), Err(failure)) => Some(failure),
            (None, _) => Some(Failure::Subject(publish.subject.to_owned())),
        };
        if let (Some(failure), Some(topic)) = (failure, reply_topic) {
            let record = record_of(now, topic, &encode(&Reply::Failed(failure)));
            let connection = self.id;
            self.tell(Input::Mail(MailInput::Reply { connection, record }));
        }
        self.confirm(established.options);
    }

    /// Asks the office for something.
    fn ask(
        &mut self,
        established: &mut Established,
        topic: String,
        mut request: Request,
        reply_topic: Option<&str>,
    ) {
        let listeners = self.settings.payload_encoding;
        let mut kind = Kind::Other;
        match &mut request {
            Request::Fetch(fetch) => {
                fetch.encoding.get_or_insert(listeners);
                let wait = std::mem::take(&mut fetch.wait_milliseconds);
                kind = match wait {
                    0 => Kind::Fetch,
                    wait => Kind::FetchAndWait(Box::new(Wait::new(&topic, &request, wait))),
                };
            }
            Request::Query(query) => {
                query.encoding.get_or_insert(listeners);
            }
            _ => {}
        }
        let token = reply_topic.map(|topic| {
            let reply_topic = topic.into();
            established.errands.add(Errand { reply_topic, kind })
        });
        self.tell(Input::Mail(MailInput::Request {
            connection: self.id,
            topic,
            request: Box::new(request),
            reply_topic: reply_topic.map(str::to_owned),
            token,
        }));
    }

    /// Says that an answer may not go where it is wanted.
    pub(super) fn handle_no_reply(&mut self, established: &mut Established, token: Token) {
        let errand = established.errands.take(token);
        let topic = errand.as_ref().map(|errand| &*errand.reply_topic);
        let mut text = String::new();
        let topic = topic.and_then(|it| TopicName::new(it).ok());
        if let Some(subject) = subject_of(topic, &mut text) {
            self.refuse(ServerError::PublishPermission { subject });
        }
    }

    /// Takes an answer of the office to where it is waited for.
    pub(super) fn handle_mail(
        &mut self,
        now: Now,
        established: &mut Established,
        token: Token,
        reply: Reply,
    ) {
        let Some(errand) = established.errands.take(token) else {
            return;
        };
        let Some(errand) = self.wait(established, token, errand, &reply) else {
            return;
        };
        let document = self.document(&errand.kind, &reply);
        drop(reply);
        let record = record_of(now, &errand.reply_topic, &document);
        // With its frame. It may be delivered elsewhere: what waits here bounds what is let pass.
        let bytes = document.len() + FRAME_BYTES + errand.reply_topic.len();
        self.reply_bytes = self.reply_bytes.min(self.underway.outbound_bytes()) + bytes;
        // Before all that the client said meanwhile: until then it is not known what is to be written.
        let connection = self.id;
        let input = Input::Mail(MailInput::Reply { connection, record });
        self.underway.tell_first(input);
    }

    /// Lets a fetch wait that found nothing, and may. Gives any other errand back.
    fn wait(
        &mut self,
        established: &mut Established,
        token: Token,
        errand: Errand,
        reply: &Reply,
    ) -> Option<Errand> {
        let found_nothing =
            matches!(reply, Reply::Messages { messages, .. } if messages.is_empty());
        let is_full = established.errands.waiting_count >= self.settings.fetch_count_maximum;
        let Errand { reply_topic, kind } = errand;
        let wait = match kind {
            Kind::FetchAndWait(wait) if found_nothing && !is_full => wait,
            kind => return Some(Errand { reply_topic, kind }),
        };
        let kind = Kind::Waiting;
        let topic = reply_topic.to_string();
        established
            .errands
            .put_back(token, Errand { reply_topic, kind });
        self.tell(Input::Mail(MailInput::Request {
            connection: self.id,
            topic: wait.topic,
            request: Box::new(wait.request),
            reply_topic: Some(topic),
            token: Some(token),
        }));
        None
    }

    /// Writes a reply, or what takes its place when it is too large or there is no room for it.
    fn document(&self, kind: &Kind, reply: &Reply) -> Vec<u8> {
        let limit = self.settings.reply_bytes_maximum;
        let fits = |bytes| bytes <= limit && self.has_room_for_reply(bytes);
        // What is known before it is written costs nothing when it does not fit.
        let mut bytes = known_bytes(reply);
        if fits(bytes) {
            let document = encode(reply);
            if fits(document.len()) {
                return document;
            }
            bytes = document.len();
        }
        let refused = |words: String| Reply::Failed(Failure::Refused(words));
        encode(&match kind {
            _ if bytes > limit => refused(format!(
                "reply of {bytes} bytes exceeds the limit of {limit}"
            )),
            Kind::Fetch | Kind::FetchAndWait(_) | Kind::Waiting => Reply::Messages {
                messages: Vec::new(),
                encoding: PayloadEncoding::default(),
            },
            Kind::Other => refused(NO_ROOM.to_owned()),
        })
    }

    /// Whether the next input is a request for the office.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.underway.next().is_some_and(is_request)
    }

    /// Whether it is one that reads mail.
    #[must_use]
    pub fn is_asking_to_read(&self) -> bool {
        matches!(
            self.underway.next(),
            Some(Input::Mail(MailInput::Request { request, .. })) if may_be_large(request)
        )
    }

    /// Gives the next input for the broker if that is a request for the office whose time has come.
    /// Call it when there are no outputs of the broker left, and [`Connection::poll`] afterwards; and
    /// again after an event, or when bytes were taken.
    pub fn poll_request(&mut self) -> Option<Input> {
        let limit = self.settings.outbound_bytes_maximum;
        let is_over = self
            .underway
            .outbound_bytes()
            .max(self.underway.taken_bytes())
            > limit;
        let State::Connected(established) = &mut self.state else {
            return None;
        };
        let Some(Input::Mail(MailInput::Request { request, token, .. })) = self.underway.next()
        else {
            return None;
        };
        let (reads, errands) = (may_be_large(request), &mut established.errands);
        if is_over || reads && errands.reading.is_some() {
            return None;
        }
        if let (true, Some(token)) = (reads, token) {
            errands.reading = Some(token.0);
        }
        self.underway.poll()
    }

    /// Forgets requests that nobody waits for any more.
    pub(super) fn forget_requests(&mut self) {
        self.underway.retain(|input| !is_request(input));
    }
}

impl Errands {
    fn add(&mut self, errand: Errand) -> Token {
        self.last += 1;
        self.open.insert(self.last, errand);
        Token(self.last)
    }

    /// Lets an errand wait.
    fn put_back(&mut self, token: Token, errand: Errand) {
        self.waiting_count += 1;
        self.open.insert(token.0, errand);
    }

    fn take(&mut self, token: Token) -> Option<Errand> {
        let errand = self.open.remove(&token.0)?;
        self.reading.take_if(|reading| *reading == token.0);
        self.waiting_count -= usize::from(matches!(errand.kind, Kind::Waiting));
        Some(errand)
    }
}

impl Wait {
    fn new(topic: &str, request: &Request, milliseconds: u64) -> Self {
        let mut request = request.clone();
        if let Request::Fetch(fetch) = &mut request {
            fetch.wait_milliseconds = milliseconds;
            // That was done when it looked for what is there.
            fetch.is_forced = false;
        }
        Self {
            topic: topic.to_owned(),
            request,
        }
    }
}

const fn is_request(input: &Input) -> bool {
    matches!(input, Input::Mail(MailInput::Request { .. }))
}

/// Whether the reply comes soon and may be large. A fetch that waits has found nothing before.
const fn may_be_large(request: &Request) -> bool {
    match request {
        Request::Fetch(fetch) => fetch.wait_milliseconds == 0,
        Request::Query(_) | Request::Discover(_) => true,
        _ => false,
    }
}

fn encode(reply: &Reply) -> Vec<u8> {
    let mut document = Vec::with_capacity(known_bytes(reply));
    reply.encode(&mut document);
    document
}

/// What a reply with messages takes; of others nothing is known.
fn known_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::Messages { messages, encoding } => {
            let bytes = messages.iter().map(|it| it.encoded_bytes(*encoding));
            Reply::MESSAGES_BYTES + bytes.sum::<usize>()
        }
        _ => 0,
    }
}

fn record_of(now: Now, topic: &str, document: &[u8]) -> Record {
    Record::new(&RecordParts {
        qos: 0,
        retain: false,
        from_cloud: false,
        time: now.wall,
        expiry_seconds: None,
        // Not the client's own, even if it is the one that wants to hear it.
        publisher: 0,
        topic,
        properties: &[],
        payload: document,
    })
}
