//! What a client sends, to inputs of the broker.

use sync::{Now, Record, RecordParts};
use wire::nats::{
    ClientOperation, Message, NO_RESPONDERS, Publish, ServerError, ServerOperation, Subscribe,
    Unsubscribe,
};
use wire::subject::Subject;
use wire::topic::TopicName;

use super::connection::{Connection, Established, Request, State};
use super::error::PeerError;
use super::properties::properties_of;
use super::subscriptions::{Added, Subscriptions, topic_filter};
use crate::broker::{Input, RetainAs, RetainHandling, SubscribeFilter, Token, Turns};

/// Names the unsubscribe from nothing that a PING becomes: the broker's answer to it comes behind
/// all that came of what the client said before.
pub(super) const PING: Token = Token(1);

impl Connection {
    pub(super) fn handle_operation(
        &mut self,
        now: Now,
        operation: ClientOperation<'_>,
    ) -> Result<(), PeerError> {
        let mut established = match std::mem::replace(&mut self.state, State::Closing) {
            State::Connected(established) => established,
            state => {
                self.state = state;
                return self.handle_first(&operation);
            }
        };
        let outcome = match &operation {
            ClientOperation::Publish(publish) => {
                self.handle_publish(now, &mut established, publish)
            }
            ClientOperation::Subscribe(subscribe) => {
                self.handle_subscribe(&mut established, subscribe);
                Ok(())
            }
            ClientOperation::Unsubscribe(unsubscribe) => {
                self.handle_unsubscribe(&mut established, unsubscribe);
                Ok(())
            }
            ClientOperation::Ping => {
                // It says that all before it was dealt with, so it goes the same way.
                self.unsubscribe(PING, Vec::new());
                Ok(())
            }
            ClientOperation::Pong => Ok(()),
            ClientOperation::Connect(_) => Err(PeerError::ConnectedTwice),
        };
        self.state = State::Connected(established);
        outcome
    }

    /// Handles what comes before the session.
    fn handle_first(&mut self, operation: &ClientOperation<'_>) -> Result<(), PeerError> {
        match operation {
            ClientOperation::Connect(connect) => {
                if let State::AwaitingConnect { deadline } = self.state {
                    return self.handle_connect(connect, deadline);
                }
            }
            ClientOperation::Ping => self.say(&ServerOperation::Pong),
            ClientOperation::Pong => {}
            other => {
                let verb = other.verb();
                return Err(PeerError::NotConnected { verb });
            }
        }
        Ok(())
    }

    /// A message is one of QoS 0 for everybody: its publisher is told of no fate.
    fn handle_publish(
        &mut self,
        now: Now,
        established: &mut Established,
        publish: &Publish<'_>,
    ) -> Result<(), PeerError> {
        if Self::is_for_office(publish.subject) {
            self.handle_request(now, established, publish);
            return Ok(());
        }
        let (subject, mut topic, mut reply_topic) = (publish.subject, String::new(), String::new());
        let topic = topic_of(subject, &mut topic).filter(|topic| self.settings.admits(*topic));
        let reply = publish.reply_to.map(|it| topic_of(it, &mut reply_topic));
        let (Some(topic), None | Some(Some(_))) = (topic, reply) else {
            self.refuse(ServerError::InvalidPublishSubject);
            return Ok(());
        };
        let wants_answer = established.options.wants_no_responders;
        let request = publish.reply_to.filter(|_| wants_answer);
        let request = request.map(|reply| Request {
            subject: subject.into(),
            reply: reply.into(),
        });
        // Names of servers and their services, none of which is here but the mail office.
        if subject.starts_with('$') {
            self.refuse(ServerError::PublishPermission { subject });
            return match request {
                Some(request) => self.tell_no_responders(established, &request.reply),
                None => Ok(()),
            };
        }
        let properties = properties_of(reply.flatten(), publish.headers);
        let record = Record::new(&RecordParts {
            qos: 0,
            retain: false,
            from_cloud: false,
            time: now.wall,
            expiry_seconds: None,
            publisher: established.publisher,
            topic: topic.as_str(),
            properties: &properties,
            payload: publish.payload,
        });
        // Answers come in the order of the requests.
        let token = request.is_some().then_some(Token(0));
        established.requests.extend(request);
        self.tell(Input::Publish {
            connection: self.id,
            record,
            token,
            note: None,
        });
        self.confirm(established.options);
        Ok(())
    }

    fn handle_subscribe(&mut self, established: &mut Established, subscribe: &Subscribe<'_>) {
        let Some(filter) = topic_filter(subscribe.subject, subscribe.queue_group) else {
            return self.refuse(ServerError::InvalidSubject);
        };
        let subscriptions = &mut established.subscriptions;
        // As the NATS server does: it goes on as it was.
        if subscriptions.holds(subscribe.sid) {
            return self.confirm(established.options);
        }
        if !self.has_room_to_subscribe(subscriptions, Subscriptions::added_bytes(subscribe)) {
            return self.refuse(ServerError::MaximumSubscriptionsExceeded);
        }
        match subscriptions.add(subscribe) {
            Added::Member => self.confirm(established.options),
            Added::Filter(identifier) => self.tell(Input::Subscribe {
                connection: self.id,
                token: Token(identifier.into()),
                filters: vec![SubscribeFilter {
                    filter,
                    qos: 0,
                    identifier: Some(identifier),
                    echo: established.options.echo,
                    retain_as: RetainAs::Stored,
                    retain_handling: RetainHandling::Never,
                    turns: Turns::UnderName,
                }],
            }),
        }
    }

    fn handle_unsubscribe(&mut self, established: &mut Established, unsubscribe: &Unsubscribe<'_>) {
        let (sid, maximum) = (unsubscribe.sid, unsubscribe.max_messages);
        let ended = established.subscriptions.limit(sid, maximum);
        self.leave(ended);
        self.confirm(established.options);
    }

    /// Ends the broker's part of a subscription that nobody needs any more.
    pub(super) fn leave(&mut self, filter: Option<String>) {
        if let Some(filter) = filter {
            self.unsubscribe(Token(0), vec![filter]);
        }
    }

    fn unsubscribe(&mut self, token: Token, filters: Vec<String>) {
        let connection = self.id;
        self.tell(Input::Unsubscribe {
            connection,
            token,
            filters,
        });
    }

    /// Tells the maker of a request, where it wants the reply, that nobody heard it.
    pub(super) fn tell_no_responders(
        &mut self,
        established: &mut Established,
        reply: &str,
    ) -> Result<(), PeerError> {
        let subject = Subject::new(reply).ok();
        let subscription = subject.and_then(|it| established.subscriptions.find(it));
        let Some(identifier) = subscription else {
            return Ok(());
        };
        let message = Message {
            subject: reply,
            sid: "",
            reply_to: None,
            headers: NO_RESPONDERS,
            payload: &[],
        };
        self.send(established, identifier, &message)
    }

    /// Refuses an operation; the connection goes on.
    pub(super) fn refuse(&mut self, error: ServerError<'_>) {
        self.say(&ServerOperation::Err(error));
    }
}

/// The topic of a subject, written over `text`.
pub(super) fn topic_of<'a>(subject: &'a str, text: &'a mut String) -> Option<TopicName<'a>> {
    text.reserve(subject.len());
    Subject::new(subject).ok()?.to_topic(text).ok()
}
