//! What the broker says to a connected client, to bytes.

use std::num::NonZeroU16;

use sync::{Now, Record};
use wire::mqtt::property::{Properties, PropertySet, SubscriptionIdentifier};
use wire::mqtt::{
    Acknowledgement, Packet, PublishHeader, QoS, ReasonCode, ReasonCodes, Suback, Unsuback, Version,
};
use wire::topic::TopicName;

use super::alias::Naming;
use super::authentication::Message;
use super::connection::{Connection, Established};
use super::ending::Ending;
use super::inbound::Step;
use super::inflight::{AnswerKind, Answers, Mark, Outbound, Then};
use super::words::Words;
use crate::broker::{
    Delivery, DeliveryId, Event, Outcome, Refusal, SubscriptionIdentifiers, Token, Unsubscription,
};

impl Connection {
    pub(super) fn handle_answer(
        &mut self,
        now: Now,
        established: &mut Established,
        event: Event,
    ) -> Result<(), Ending> {
        match event {
            Event::Deliver(delivery) => self.deliver(now, established, delivery),
            Event::Gone { delivery } => self.handle_gone(established, delivery),
            Event::Published { token, outcome } => {
                self.handle_published(established, token, outcome)?;
            }
            Event::Subscribed { token, codes } => {
                self.handle_subscribed(established, token, &codes)
            }
            Event::Unsubscribed { token, codes } => {
                self.handle_unsubscribed(established, token, &codes);
            }
            Event::NoteKept { token, outcome } => {
                self.handle_note_kept(now, established, token, outcome)?;
            }
            Event::Challenge { message: data } => {
                let reason_code = ReasonCode::ContinueAuthentication;
                let message = Message {
                    reason_code,
                    data: &data,
                };
                self.send_auth(established, message)?;
            }
            Event::Authenticated { proof: data } => {
                let reason_code = ReasonCode::Success;
                let message = Message {
                    reason_code,
                    data: &data,
                };
                self.send_auth(established, message)?;
            }
            // Belong to another state; nothing to do here.
            Event::Connected(_) | Event::Refused(_) | Event::Closed(_) => {}
            // Of QoS 0, which nothing is said about.
            Event::NotPublished { .. } => {}
            // Only who asks the mail office is answered by it.
            Event::Mail { .. } | Event::NoReply { .. } => {}
        }
        Ok(())
    }

    /// Sends the answers that are decided and whose turn it is.
    pub(super) fn send_answers(&mut self, established: &mut Established) {
        while let Some((answer, reason_code)) = established.answers.held().and_then(Answers::pop) {
            let step = match answer.kind {
                AnswerKind::Puback => Step::Puback,
                AnswerKind::Pubrec => Step::Pubrec,
            };
            let Some(refusal) = answer.refusal else {
                self.send_step(established, step, answer.packet_identifier, reason_code);
                continue;
            };
            let Ok(packet_identifier) = answer.packet_identifier.try_into() else {
                continue;
            };
            self.send_saying(established, &Words::of(refusal), |properties| {
                step.packet(Acknowledgement {
                    packet_identifier,
                    reason_code,
                    properties,
                })
            });
        }
    }

    fn deliver(&mut self, now: Now, established: &mut Established, delivery: Delivery) {
        let Some(DeliveryId(packet_identifier)) = delivery.id else {
            if self.has_no_room_for(delivery.record.as_bytes().len())
                || !self.send_publish(now, established, &delivery)
            {
                self.note_dropped();
            }
            return;
        };
        if delivery.qos == 1 {
            if self.send_publish(now, established, &delivery) {
                established.inflight.make().publish_once(packet_identifier);
            } else {
                // [MQTT-3.1.2-25]
                self.note_dropped();
                self.acknowledge(packet_identifier);
            }
            return;
        }
        match established.inflight.outbound.get(&packet_identifier) {
            Some(Outbound::Awaiting) => self.publish_kept(now, established, &delivery),
            // Its PUBREL left: the message must not be sent again. [MQTT-4.3.3-6]
            Some(_) => {}
            None => {
                established
                    .inflight
                    .make()
                    .keep(packet_identifier, delivery);
                self.keep(Mark::Published, packet_identifier, Then::Publish);
            }
        }
    }

    /// Sends a message of QoS 2 whose note is kept.
    fn publish_kept(&mut self, now: Now, established: &mut Established, delivery: &Delivery) {
        let packet_identifier = delivery.id.map_or(0, |id| id.0);
        if self.send_publish(now, established, delivery) {
            let outbound = &mut established.inflight.make().outbound;
            outbound.insert(packet_identifier, Outbound::Published);
        } else {
            self.note_dropped();
            self.complete(established, packet_identifier);
        }
    }

    /// Encodes a PUBLISH; false when the client does not take one so large.
    fn send_publish(
        &mut self,
        now: Now,
        established: &mut Established,
        delivery: &Delivery,
    ) -> bool {
        let record = &delivery.record;
        let version = established.version;
        let Ok(topic) = TopicName::new(record.topic()) else {
            return false;
        };
        let mut forwarded = Properties::EMPTY;
        let mut identifiers = Identifiers::None;
        let mut expiry = None;
        if version == Version::V5 {
            forwarded = Properties::parse(record.properties(), PropertySet::FORWARDABLE)
                .unwrap_or(Properties::EMPTY);
            identifiers = Identifiers::new(&delivery.identifiers);
            // [MQTT-3.3.2-6]
            let waited = now.wall.seconds_since(record.time());
            expiry = record.expiry_seconds().map(|seconds| {
                u32::try_from(u64::from(seconds).saturating_sub(waited)).unwrap_or(seconds)
            });
        }
        let header = PublishHeader {
            dup: delivery.is_repeated && delivery.qos > 0,
            qos: QoS::try_from(delivery.qos).unwrap_or(QoS::AtMostOnce),
            retain: delivery.retain,
            topic: Some(topic),
            packet_identifier: delivery.id.and_then(|id| NonZeroU16::new(id.0)),
            topic_alias: None,
            message_expiry_interval: expiry,
            subscription_identifiers: identifiers.as_slice(),
            forwarded,
        };
        let Some(given) = &mut established.given else {
            return self.write_publish(established, &header, record);
        };
        let naming = given.choose(record.topic(), record.topic_hash(), self.alias_room());
        let (shown, topic_alias) = match naming {
            Naming::Name => (Some(topic), None),
            Naming::Both(alias) => (Some(topic), Some(alias)),
            Naming::Alias(alias) => (None, Some(alias)),
        };
        let named = PublishHeader {
            topic: shown,
            topic_alias,
            ..header
        };
        let is_written = self.write_publish(established, &named, record);
        match (naming, &mut established.given) {
            (Naming::Both(alias), Some(given)) if is_written => given.assign(alias, record.topic()),
            // The alias may have been too much.
            (Naming::Both(_), _) => return self.write_publish(established, &header, record),
            _ => {}
        }
        is_written
    }

    /// Writes a PUBLISH, unless the client does not take one so large. [MQTT-3.1.2-24]
    fn write_publish(
        &mut self,
        established: &Established,
        header: &PublishHeader<'_>,
        record: &Record,
    ) -> bool {
        let payload = record.payload();
        let (version, limit) = (established.version, established.packet_bytes_maximum);
        let fits = || {
            let bytes = header.packet_bytes(version, payload.len());
            bytes.is_ok_and(|bytes| bytes <= limit as usize)
        };
        if limit < u32::MAX && !fits() {
            return false;
        }
        let is_copied = payload.len() < SHARED_BYTES;
        let copied = if is_copied { payload.len() } else { 0 };
        let names = header.topic.map_or(0, |topic| topic.as_str().len());
        let identifiers = 5 * header.subscription_identifiers.len();
        self.make_room(HEADER_BYTES + names + record.properties().len() + identifiers + copied);
        let outbound = self.underway.outbound();
        let written = header.encode(version, payload.len(), outbound);
        if written.is_ok() {
            match is_copied {
                true => outbound.extend_from_slice(payload),
                false => self.underway.share_outbound(record.payload_shared()),
            }
            self.settings.traffic.note_publish_sent(payload);
        }
        written.is_ok()
    }

    /// A message of an earlier connection that can't be sent again. What the client may have
    /// seen with QoS 2 is released all the same, so that its packet identifier is free.
    fn handle_gone(&mut self, established: &mut Established, delivery: DeliveryId) {
        let DeliveryId(packet_identifier) = delivery;
        let inflight = established.inflight.held();
        match inflight.and_then(|it| it.outbound.get_mut(&packet_identifier)) {
            None => self.acknowledge(packet_identifier),
            Some(step @ Outbound::Awaiting) => {
                *step = Outbound::Releasing;
                self.keep(Mark::Released, packet_identifier, Then::Release);
            }
            Some(_) => {}
        }
    }

    fn handle_published(
        &mut self,
        established: &mut Established,
        token: Token,
        outcome: Outcome,
    ) -> Result<(), Ending> {
        let (reason_code, refusal) = match outcome {
            Outcome::Accepted => (ReasonCode::Success, None),
            Outcome::NoSubscribers => (ReasonCode::NoMatchingSubscribers, None),
            // Before MQTT 5 there is no way to tell. [MQTT-3.3.5-2]
            Outcome::Refused(Refusal::NotAuthorized) if established.version < Version::V5 => {
                (ReasonCode::Success, None)
            }
            // Without an answer the client keeps the message and sends it again.
            Outcome::Refused(refusal) if established.version < Version::V5 => {
                return Err(Ending::Refused(refusal));
            }
            Outcome::Refused(refusal) => (refusal_reason(refusal), Some(refusal)),
        };
        let answers = established.answers.held();
        let answer = answers.and_then(|it| it.decide(token, reason_code, refusal));
        let Some(answer) = answer else {
            return Ok(());
        };
        let packet_identifier = answer.packet_identifier;
        let is_over = match answer.kind {
            AnswerKind::Puback => true,
            AnswerKind::Pubrec if reason_code.is_error() => {
                if let Some(inflight) = established.inflight.held() {
                    inflight.inbound.remove(&packet_identifier);
                }
                true
            }
            AnswerKind::Pubrec => {
                established.inflight.make().receive(packet_identifier);
                false
            }
        };
        if is_over {
            established.unanswered = established.unanswered.saturating_sub(1);
        }
        self.send_answers(established);
        Ok(())
    }

    fn handle_note_kept(
        &mut self,
        now: Now,
        established: &mut Established,
        token: Token,
        outcome: Result<(), Refusal>,
    ) -> Result<(), Ending> {
        let (then, packet_identifier) = Then::read(token);
        if then == Then::Nothing {
            return Ok(());
        }
        // The client comes again, and so do the notes that are kept.
        outcome.map_err(Ending::Refused)?;
        let inflight = established.inflight.held();
        if then == Then::Publish
            && let Some(delivery) = inflight.and_then(|it| it.take_kept(packet_identifier))
        {
            self.publish_kept(now, established, &delivery);
            return Ok(());
        }
        let inflight = established.inflight.held();
        let step = inflight.and_then(|it| it.outbound.get_mut(&packet_identifier));
        match (then, step) {
            (Then::Release, Some(step @ Outbound::Releasing)) => {
                *step = Outbound::Released;
                self.send_step(
                    established,
                    Step::Pubrel,
                    packet_identifier,
                    ReasonCode::Success,
                );
            }
            (Then::Complete, _) => {
                if let Some(inflight) = established.inflight.held() {
                    inflight.inbound.remove(&packet_identifier);
                }
                established.unanswered = established.unanswered.saturating_sub(1);
                self.send_step(
                    established,
                    Step::Pubcomp,
                    packet_identifier,
                    ReasonCode::Success,
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_subscribed(
        &mut self,
        established: &Established,
        token: Token,
        codes: &[Result<u8, Refusal>],
    ) {
        let refusal = codes.iter().find_map(|code| code.err());
        let granted =
            |qos| QoS::try_from(qos).map_or(ReasonCode::UnspecifiedError, ReasonCode::granted);
        let refused = |refusal| match established.version {
            // It has no word for a failure: what is granted is nothing to count on.
            Version::V31 => ReasonCode::Success,
            Version::V311 | Version::V5 => subscribe_reason(refusal),
        };
        let codes: Vec<u8> = codes
            .iter()
            .map(|code| code.map_or_else(refused, granted).number())
            .collect();
        let (Some(packet_identifier), Ok(reason_codes)) = (
            packet_identifier_of(token),
            ReasonCodes::parse(&codes, wire::mqtt::PacketType::Suback),
        ) else {
            return;
        };
        let words = refusal.map_or(Words::NONE, Words::of);
        self.send_saying(established, &words, |properties| {
            Packet::Suback(Suback {
                packet_identifier,
                properties,
                reason_codes,
            })
        });
    }

    fn handle_unsubscribed(
        &mut self,
        established: &Established,
        token: Token,
        codes: &[Result<Unsubscription, Refusal>],
    ) {
        let refusal = codes.iter().find_map(|code| code.err());
        let codes: Vec<u8> = codes
            .iter()
            .map(|code| match code {
                Ok(Unsubscription::Removed) => ReasonCode::Success.number(),
                Ok(Unsubscription::NotFound) => ReasonCode::NoSubscriptionExisted.number(),
                Err(_) => ReasonCode::UnspecifiedError.number(),
            })
            .collect();
        let (Some(packet_identifier), Ok(reason_codes)) = (
            packet_identifier_of(token),
            ReasonCodes::parse(&codes, wire::mqtt::PacketType::Unsuback),
        ) else {
            return;
        };
        let words = refusal.map_or(Words::NONE, Words::of);
        self.send_saying(established, &words, |properties| {
            Packet::Unsuback(Unsuback {
                packet_identifier,
                properties,
                reason_codes,
            })
        });
    }
}

/// A payload of so many bytes is not copied for each subscriber: it waits where all find it.
const SHARED_BYTES: usize = 1 << 10;

/// The most of a PUBLISH that is neither names, properties of the message nor payload.
const HEADER_BYTES: usize = 32;

/// Subscription identifiers in the form that the encoder takes. One, the usual case, costs no
/// allocation.
#[derive(Debug)]
enum Identifiers {
    None,
    One(SubscriptionIdentifier),
    Many(Vec<SubscriptionIdentifier>),
}

impl Identifiers {
    fn new(identifiers: &SubscriptionIdentifiers) -> Self {
        let numbers = identifiers.as_slice().iter().copied();
        let mut numbers = numbers.filter_map(SubscriptionIdentifier::new);
        match (identifiers, numbers.next()) {
            (_, None) => Self::None,
            (SubscriptionIdentifiers::Many(_), Some(first)) => {
                Self::Many([first].into_iter().chain(numbers).collect())
            }
            (_, Some(only)) => Self::One(only),
        }
    }

    fn as_slice(&self) -> &[SubscriptionIdentifier] {
        match self {
            Self::None => &[],
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(all) => all,
        }
    }
}

pub(super) const fn refusal_reason(refusal: Refusal) -> ReasonCode {
    match refusal {
        Refusal::LogFailed | Refusal::SessionGone => ReasonCode::UnspecifiedError,
        Refusal::NotAuthorized => ReasonCode::NotAuthorized,
        Refusal::NoMail | Refusal::MailAddress | Refusal::NoMailbox => ReasonCode::TopicNameInvalid,
        _ => ReasonCode::QuotaExceeded,
    }
}

const fn subscribe_reason(refusal: Refusal) -> ReasonCode {
    match refusal {
        Refusal::Filter => ReasonCode::TopicFilterInvalid,
        _ => refusal_reason(refusal),
    }
}

fn packet_identifier_of(token: Token) -> Option<NonZeroU16> {
    NonZeroU16::new(u16::try_from(token.0).ok()?)
}
