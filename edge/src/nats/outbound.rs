//! What the broker says to a connected client, to operations.

use sync::Now;
use wire::mqtt::property::{Properties, PropertySet};
use wire::nats::{Message, ServerError, ServerOperation};
use wire::subject::Subject;
use wire::topic::TopicName;

use super::connection::{Connection, Established, State};
use super::error::PeerError;
use super::inbound::PING;
use super::properties::headers_of;
use crate::broker::{Delivery, Event, Outcome, Refusal, Token};

/// The most of a message that is neither subject, headers nor payload: two lengths, line ends.
pub(super) const FRAME_BYTES: usize = 40;

impl Connection {
    /// Takes an event for a connected client.
    pub(super) fn hear(&mut self, now: Now, event: Event) {
        if let State::Connected(mut established) =
            std::mem::replace(&mut self.state, State::Closing)
        {
            let outcome = self.handle_answer(now, &mut established, event);
            self.state = State::Connected(established);
            if let Err(error) = outcome {
                self.fail(error);
            }
        }
    }

    fn handle_answer(
        &mut self,
        now: Now,
        established: &mut Established,
        event: Event,
    ) -> Result<(), PeerError> {
        match event {
            Event::Deliver(delivery) => return self.deliver(established, &delivery),
            Event::Mail { token, reply } => self.handle_mail(now, established, token, reply),
            Event::NoReply { token } => self.handle_no_reply(established, token),
            Event::Published { outcome, .. } => {
                let Some(request) = established.requests.pop_front() else {
                    return Ok(());
                };
                match outcome {
                    Outcome::Accepted => {}
                    Outcome::NoSubscribers => {
                        return self.tell_no_responders(established, &request.reply);
                    }
                    Outcome::Refused(refusal) => self.tell_refused(&request.subject, refusal),
                }
            }
            Event::NotPublished { record, refusal } => {
                let mut text = String::new();
                let topic = TopicName::new(record.topic()).ok();
                if let Some(subject) = subject_of(topic, &mut text) {
                    self.tell_refused(subject, refusal);
                }
            }
            Event::Subscribed { token, codes } => match codes.first() {
                Some(Err(refusal)) => self.handle_refused(established, token, *refusal),
                _ => self.confirm(established.options),
            },
            Event::Unsubscribed { token: PING, .. } => self.say(&ServerOperation::Pong),
            // Nobody waits for the first; the others are of QoS over 0, or of another state.
            Event::Unsubscribed { .. }
            | Event::Gone { .. }
            | Event::Challenge { .. }
            | Event::Authenticated { .. }
            | Event::NoteKept { .. }
            | Event::Connected(_)
            | Event::Refused(_)
            | Event::Closed(_) => {}
        }
        Ok(())
    }

    /// Sends a message to every subscription that the broker found.
    fn deliver(
        &mut self,
        established: &mut Established,
        delivery: &Delivery,
    ) -> Result<(), PeerError> {
        let record = &delivery.record;
        let (mut text, mut reply_text) = (String::new(), String::new());
        let Some(subject) = subject_of(TopicName::new(record.topic()).ok(), &mut text) else {
            self.dropped_count += 1;
            return Ok(());
        };
        let properties = Properties::parse(record.properties(), PropertySet::FORWARDABLE);
        let properties = properties.unwrap_or(Properties::EMPTY);
        let reply_to = subject_of(properties.response_topic(), &mut reply_text);
        let headers = match established.options.takes_headers {
            true => headers_of(&properties),
            false => Vec::new(),
        };
        let message = Message {
            subject,
            sid: "",
            reply_to,
            headers: &headers,
            payload: record.payload(),
        };
        for identifier in delivery.identifiers.as_slice() {
            self.send(established, *identifier, &message)?;
        }
        Ok(())
    }

    /// Sends a message to the members of a filter whose turn it is, each under its own id.
    pub(super) fn send(
        &mut self,
        established: &mut Established,
        identifier: u32,
        message: &Message<'_>,
    ) -> Result<(), PeerError> {
        let ended = established.subscriptions.deliver(identifier, |sid| {
            let message = Message { sid, ..*message };
            self.send_one(&message)
        })?;
        self.leave(ended);
        Ok(())
    }

    fn send_one(&mut self, message: &Message<'_>) -> Result<(), PeerError> {
        let bytes = message.headers.len() + message.payload.len() + message.subject.len();
        if !self.has_room_for(bytes + FRAME_BYTES) {
            return Err(PeerError::SlowConsumer);
        }
        self.make_room(bytes + FRAME_BYTES);
        self.say(&ServerOperation::Message(*message));
        Ok(())
    }

    /// The broker did not take a message. That the log is full says nothing to a publisher who was
    /// promised nothing.
    fn tell_refused(&mut self, subject: &str, refusal: Refusal) {
        match refusal {
            Refusal::NotAuthorized => self.refuse(ServerError::PublishPermission { subject }),
            // The NATS server has no words for it: its core keeps nothing.
            Refusal::LogFull => self.refuse(ServerError::Other(LOG_FULL)),
            _ => {}
        }
    }

    /// The broker does not serve a filter.
    fn handle_refused(&mut self, established: &mut Established, token: Token, refusal: Refusal) {
        let identifier = u32::try_from(token.0).unwrap_or_default();
        let Some((subject, queue_group)) = established.subscriptions.remove(identifier) else {
            return;
        };
        self.refuse(match refusal {
            Refusal::Filter | Refusal::FilterTooLarge => ServerError::InvalidSubject,
            Refusal::NotAuthorized => ServerError::SubscriptionPermission {
                subject: &subject,
                queue_group: queue_group.as_deref(),
            },
            _ => ServerError::MaximumSubscriptionsExceeded,
        });
    }
}

/// What a client hears whose message is not stored, and that goes on.
const LOG_FULL: &str = "Storage Full";

/// The subject of a topic, written over `text`; some topics exist for MQTT alone.
pub(super) fn subject_of<'a>(
    topic: Option<TopicName<'_>>,
    text: &'a mut String,
) -> Option<&'a str> {
    let subject = Subject::from_topic(topic?, text).ok()?;
    Some(subject.as_str())
}
