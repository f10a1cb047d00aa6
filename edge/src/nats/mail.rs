//! Requests for the mail office, and its replies.
//!
//! A message to a subject under [`PREFIX`] is a request of mq9 and heard by nobody. Its reply is a
//! JSON document to the reply subject, for whoever listens there, on whichever connection; without a
//! reply subject it is done in silence.
//!
//! A fetch may wait for its first message while other requests of the connection are done. A reply
//! that may be large is not asked for while too much waits to be written; a fetch that has waited
//! finds, when there is no room for what it waited for, nothing, and the messages stay where they are.

use sync::{Now, Record, RecordParts};
use wire::mq9::{Failure, Fetch, PREFIX, PayloadEncoding, Reply, Request};
use wire::nats::{Publish, ServerError};

use super::Connection;
use super::connection::Established;
use super::inbound::topic_of;
use crate::broker::{Input, Token};

/// A request whose reply somebody wants.
#[derive(Debug)]
pub(super) struct Errand {
    /// Where the reply goes.
    reply_topic: Box<str>,
    kind: Kind,
}

/// Says why a reply does not come, though what was asked for is done.
const NO_ROOM: &str = "too much waits to be sent";

/// What becomes of a reply for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing is found: the client asks again.
    Fetch,
    /// The same, and it is counted.
    WaitingFetch,
    /// It fails.
    Other,
}

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
            Some(Some(topic)) => Some(topic.as_str()),
            Some(None) => return self.refuse(ServerError::InvalidPublishSubject),
        };
        let mut text = String::new();
        let topic = topic_of(publish.subject, &mut text);
        let request = Request::decode(publish.subject, publish.headers, publish.payload);
        match (topic, request) {
            (Some(topic), Ok(mut request)) => {
                let errand = self.prepare(established, &mut request, reply_topic);
                let token = errand.map(|errand| established.remember(errand));
                self.tell(Input::Mail {
                    connection: self.id,
                    topic: topic.as_str().to_owned(),
                    request,
                    token,
                });
            }
            (Some(_), Err(failure)) => self.reply(now, reply_topic, failure),
            (None, _) => {
                let failure = Failure::Subject(publish.subject.to_owned());
                self.reply(now, reply_topic, failure);
            }
        }
        self.confirm(established.options);
    }

    /// Gives a request what it leaves to the listener; says what to remember of it.
    fn prepare(
        &self,
        established: &Established,
        request: &mut Request,
        reply_topic: Option<&str>,
    ) -> Option<Errand> {
        let listeners = self.settings.payload_encoding;
        let mut kind = Kind::Other;
        match request {
            Request::Fetch(fetch) => {
                fetch.encoding.get_or_insert(listeners);
                let is_full = established.waiting_fetches >= self.settings.fetch_count_maximum;
                // Nobody would hear what it waited for, or too many wait.
                if is_full || reply_topic.is_none() {
                    fetch.wait_milliseconds = 0;
                }
                kind = kind_of(fetch);
            }
            Request::Query(query) => {
                query.encoding.get_or_insert(listeners);
            }
            _ => {}
        }
        let reply_topic = reply_topic?.into();
        Some(Errand { reply_topic, kind })
    }

    /// Takes an answer of the office to where it is waited for.
    pub(super) fn handle_mail(
        &mut self,
        now: Now,
        established: &mut Established,
        token: Token,
        reply: Reply,
    ) {
        let Some(errand) = established.forget(token) else {
            return;
        };
        let document = encode(&self.fitting(errand.kind, reply));
        self.send_reply(now, &errand.reply_topic, document);
    }

    /// Gives a reply, or what takes its place when it is too large or there is no room for it.
    fn fitting(&self, kind: Kind, reply: Reply) -> Reply {
        let (bytes, limit) = (encoded_bytes(&reply), self.settings.reply_bytes_maximum);
        if bytes > limit {
            let words = format!("reply of {bytes} bytes exceeds the limit of {limit}");
            return Reply::Failed(Failure::Refused(words));
        }
        match kind {
            _ if self.has_room_for_reply(bytes) => reply,
            Kind::Fetch | Kind::WaitingFetch => Reply::Messages {
                messages: Vec::new(),
                encoding: PayloadEncoding::default(),
            },
            Kind::Other => Reply::Failed(Failure::Refused(NO_ROOM.to_owned())),
        }
    }

    /// Replies that a request can't be understood.
    fn reply(&mut self, now: Now, topic: Option<&str>, failure: Failure) {
        if let Some(topic) = topic {
            self.send_reply(now, topic, encode(&Reply::Failed(failure)));
        }
    }

    fn send_reply(&mut self, now: Now, topic: &str, document: Vec<u8>) {
        let record = Record::new(&RecordParts {
            qos: 0,
            retain: false,
            from_cloud: false,
            time: now.wall,
            expiry_seconds: None,
            // Not the client's own, even if it is the one that wants to hear it.
            publisher: 0,
            topic,
            properties: &[],
            payload: &document,
        });
        self.tell(Input::Reply { record });
    }
}

impl Established {
    fn remember(&mut self, errand: Errand) -> Token {
        self.last_errand += 1;
        self.waiting_fetches += usize::from(errand.kind == Kind::WaitingFetch);
        self.errands.insert(self.last_errand, errand);
        Token(self.last_errand)
    }

    fn forget(&mut self, token: Token) -> Option<Errand> {
        let errand = self.errands.remove(&token.0)?;
        self.waiting_fetches -= usize::from(errand.kind == Kind::WaitingFetch);
        Some(errand)
    }
}

/// What becomes of a fetch's reply.
const fn kind_of(fetch: &Fetch) -> Kind {
    match fetch.wait_milliseconds {
        0 => Kind::Fetch,
        _ => Kind::WaitingFetch,
    }
}

fn encode(reply: &Reply) -> Vec<u8> {
    let mut document = Vec::with_capacity(encoded_bytes(reply));
    reply.encode(&mut document);
    document
}

/// What a reply takes that may be large, so that it is written into one piece of memory.
fn encoded_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::Messages { messages, encoding } => {
            let bytes = messages.iter().map(|it| it.encoded_bytes(*encoding));
            Reply::MESSAGES_BYTES + bytes.sum::<usize>()
        }
        _ => 0,
    }
}
