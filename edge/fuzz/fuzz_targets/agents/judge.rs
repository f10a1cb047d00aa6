//! Reads what clients sent and were sent, and holds the answers to what a client may rely on.

use std::collections::BTreeMap;

use wire::mq9::{PREFIX, Reply, Request};
use wire::nats::{ClientOperation, Limits, Message, Publish, ServerOperation};

use crate::mailbox::{Mailbox, Rules};

/// What all connections take.
pub(crate) const LIMITS: Limits = Limits {
    control_line_bytes: 512,
    headers_bytes: 512,
    message_bytes: 1_024,
};

/// A time of day in milliseconds, and a count of what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) time: u64,
    pub(crate) turn: u64,
}

pub(crate) struct Judge {
    rules: Rules,
    default_ttl_seconds: u64,
    now: Moment,
    mailboxes: BTreeMap<String, Mailbox>,
    /// By the subject of the reply.
    asked: BTreeMap<String, Asked>,
}

/// What became of a request.
enum Asked {
    Waits(Box<Request>, Moment),
    Answered,
    /// Somebody else may be answered there, too.
    Unclear,
}

/// What a client sent and is sent, as far as it is not whole.
pub(crate) struct Ear {
    /// What the subjects of its replies begin with.
    pub(crate) inbox: String,
    said: Vec<u8>,
    heard: Vec<u8>,
    /// Whether the client sent what is no operation.
    is_lawless: bool,
    /// Whether it hears all its replies.
    pub(crate) hears_all: bool,
}

impl Ear {
    /// Of a client that hears all its replies.
    pub(crate) const fn new(inbox: String) -> Self {
        Self {
            inbox,
            said: Vec::new(),
            heard: Vec::new(),
            is_lawless: false,
            hears_all: true,
        }
    }
}

impl Judge {
    pub(crate) const fn new(rules: Rules, default_ttl_seconds: u64) -> Self {
        Self {
            rules,
            default_ttl_seconds,
            now: Moment { time: 0, turn: 0 },
            mailboxes: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    pub(crate) const fn pass(&mut self, time: u64) {
        self.now.time = time;
    }

    fn step(&mut self) -> Moment {
        self.now.turn += 1;
        self.now
    }

    fn mailbox(&mut self, address: &str) -> &mut Mailbox {
        self.mailboxes.entry(address.to_owned()).or_default()
    }

    /// Reads what a client sends.
    pub(crate) fn note_said(&mut self, ear: &mut Ear, bytes: &[u8]) {
        if ear.is_lawless {
            return;
        }
        ear.said.extend(bytes);
        let (said, mut at) = (std::mem::take(&mut ear.said), 0);
        loop {
            match ClientOperation::decode(&said[at..], &LIMITS) {
                Ok(Some((operation, length))) => {
                    match &operation {
                        ClientOperation::Publish(it) => self.ask(it, &ear.inbox),
                        ClientOperation::Ping | ClientOperation::Pong => {}
                        _ => ear.hears_all = false,
                    }
                    at += length;
                }
                Ok(None) => break,
                Err(_) => {
                    ear.is_lawless = true;
                    ear.hears_all = false;
                    break;
                }
            }
        }
        ear.said = said[at..].to_vec();
    }

    fn ask(&mut self, publish: &Publish<'_>, inbox: &str) {
        // Others can answer in the office's place.
        if let Some(asked) = self.asked.get_mut(publish.subject) {
            *asked = Asked::Unclear;
        } else if !publish.subject.starts_with(PREFIX) {
            let subject = publish.subject.to_owned();
            self.asked.insert(subject, Asked::Unclear);
        }
        // Nor does it hear what goes to the inbox of another.
        let is_unclear = publish
            .reply_to
            .is_some_and(|it| self.asked.contains_key(it) || !it.starts_with(inbox));
        let (headers, payload) = (publish.headers, publish.payload);
        let Ok(request) = Request::decode(publish.subject, headers, payload) else {
            let subject = publish.reply_to.map(str::to_owned);
            self.asked.extend(subject.map(|it| (it, Asked::Unclear)));
            return;
        };
        let now = self.step();
        match &request {
            Request::Create(it) => {
                let ttl = it.ttl_seconds.unwrap_or(self.default_ttl_seconds);
                if let Some(name) = &it.name {
                    self.mailbox(name).ask_life(now, ttl);
                }
            }
            Request::Send(it) => self.mailbox(&it.address).ask_send(it),
            Request::Fetch(it) => {
                if let Some(group) = it.group.clone().filter(|_| it.is_forced) {
                    self.mailbox(&it.address).set_back.insert(group);
                }
            }
            Request::Acknowledge(it) => self.mailbox(&it.address).has_acknowledgement = true,
            Request::Delete(it) => drop(self.mailbox(&it.address).doomed.insert(it.id)),
            _ => {}
        }
        if let Some(reply_to) = publish.reply_to {
            let asked = match is_unclear {
                true => Asked::Unclear,
                false => Asked::Waits(Box::new(request), now),
            };
            self.asked.insert(reply_to.to_owned(), asked);
        }
    }

    /// Reads what a client is sent; gives the messages of the last answer that has some.
    pub(crate) fn hear(&mut self, ear: &mut Ear, bytes: &[u8]) -> Option<Vec<wire::mq9::Message>> {
        ear.heard.extend(bytes);
        let limits = Limits {
            message_bytes: 1 << 20,
            ..Limits::FROM_SERVER
        };
        let (heard, mut at, mut found) = (std::mem::take(&mut ear.heard), 0, None);
        while let Some((operation, length)) =
            ServerOperation::decode(&heard[at..], &limits).expect("what a server says")
        {
            if let ServerOperation::Message(message) = operation
                && message.sid == "mux"
            {
                found = self.hear_message(&message).or(found);
            }
            at += length;
        }
        assert_eq!(at, heard.len(), "an operation in part");
        found
    }

    fn hear_message(&mut self, message: &Message<'_>) -> Option<Vec<wire::mq9::Message>> {
        let asked = self.asked.get_mut(message.subject)?;
        if matches!(asked, Asked::Unclear) {
            return None;
        }
        let Asked::Waits(request, asked) = std::mem::replace(asked, Asked::Answered) else {
            panic!("answered twice: {message:?}");
        };
        assert!(message.headers.is_empty(), "nobody answers: {message:?}");
        let reply = Reply::decode(request.kind(), message.payload).expect("a reply");
        self.answer(*request, reply, asked)
    }

    fn answer(
        &mut self,
        request: Request,
        reply: Reply,
        asked: Moment,
    ) -> Option<Vec<wire::mq9::Message>> {
        let now = self.step();
        let may_forget = self.rules.may_forget;
        let is_failed = matches!(reply, Reply::Failed(_));
        match (request, reply) {
            (Request::Create(it), _) => {
                let name = it.name?;
                let made = (!is_failed).then_some(now);
                self.mailbox(&name).end_life(asked, made);
            }
            (Request::Send(it), Reply::Sent { id }) => {
                // Mail to the cloud is not kept here.
                if !it.address.starts_with("cloud.") {
                    let address = it.address.clone();
                    self.mailbox(&address).take(id, it, asked, now);
                }
            }
            (Request::Send(it), _) => {
                let address = it.address.clone();
                self.mailbox(&address).refuse(it);
            }
            (Request::Fetch(it), Reply::Messages { messages, .. }) => {
                let mailbox = self.mailbox(&it.address);
                mailbox.find(&messages, asked, now);
                if let Some(group) = it.group.as_ref().filter(|_| !may_forget) {
                    mailbox.fetch(group, &messages, asked, now);
                }
                return Some(messages);
            }
            (Request::Query(it), Reply::Messages { messages, .. }) => {
                self.mailbox(&it.address).find(&messages, asked, now);
                return Some(messages);
            }
            (Request::Acknowledge(it), Reply::Done) => {
                let mailbox = self.mailbox(&it.address);
                mailbox.acknowledge(it.group, it.id, asked, now);
            }
            (Request::Delete(it), Reply::Deleted { was_there: true }) => {
                self.mailbox(&it.address).deleted.insert(it.id, now);
            }
            _ => {}
        }
        None
    }

    /// A request that still waits for its answer at a numbered subject below this.
    pub(crate) fn waits(&self, inbox: &str) -> Option<&Request> {
        self.asked.iter().find_map(|(subject, asked)| match asked {
            Asked::Waits(request, _) => {
                let number = subject.strip_prefix(inbox)?.parse::<u32>();
                number.is_ok().then_some(&**request)
            }
            _ => None,
        })
    }

    /// Addresses that somebody sent to.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.mailboxes.keys().cloned().collect()
    }

    /// Checks what is in a mailbox.
    pub(crate) fn audit(&mut self, address: &str, messages: &[wire::mq9::Message]) {
        let (rules, now) = (self.rules, self.now);
        self.mailbox(address).audit(messages, rules, now);
    }
}
