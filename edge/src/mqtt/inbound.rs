//! What a connected client sends, to inputs of the broker.

use sync::{Now, Record, RecordParts};
use wire::mqtt::property::PropertySet;
use wire::mqtt::{
    Acknowledgement, Disconnect, Packet, Publish, QoS, ReasonCode, RetainHandling, Subscribe,
    Unsubscribe, Version,
};
use wire::topic::TopicFilter;

use super::PeerError;
use super::connection::{Connection, Established};
use super::ending::Ending;
use super::inflight::{
    Answer, AnswerKind, Inbound, Mark, Meeting, Outbound, Then, digest_of, received_key,
};
use crate::broker::{
    self, DeliveryId, Echo, Input, NoteChange, RetainAs, SubscribeFilter, Token, Turns, WillFate,
};

/// A packet of an exchange, for [`Connection::send_step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ends QoS 1.
    Puback,
    /// Second of QoS 2.
    Pubrec,
    /// Third of QoS 2.
    Pubrel,
    /// Ends QoS 2.
    Pubcomp,
}

impl Step {
    pub(super) const fn packet(self, answer: Acknowledgement<'_>) -> Packet<'_> {
        match self {
            Self::Puback => Packet::Puback(answer),
            Self::Pubrec => Packet::Pubrec(answer),
            Self::Pubrel => Packet::Pubrel(answer),
            Self::Pubcomp => Packet::Pubcomp(answer),
        }
    }
}

impl Connection {
    pub(super) fn handle_packet(
        &mut self,
        now: Now,
        established: &mut Established,
        packet: Packet<'_>,
    ) -> Result<(), Ending> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(now, established, &publish)?,
            Packet::Puback(answer) => self.handle_puback(established, &answer)?,
            Packet::Pubrec(answer) => self.handle_pubrec(established, &answer)?,
            Packet::Pubrel(answer) => self.handle_pubrel(established, &answer)?,
            Packet::Pubcomp(answer) => self.handle_pubcomp(established, &answer)?,
            Packet::Subscribe(subscribe) => self.handle_subscribe(&subscribe)?,
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(&unsubscribe)?,
            Packet::Auth(auth) => self.handle_auth(established, &auth)?,
            Packet::Pingreq => self.send(established, &Packet::Pingresp),
            Packet::Disconnect(disconnect) => {
                self.handle_disconnect(established, &disconnect)?;
                return Err(Ending::Goodbye);
            }
            // [MQTT-3.1.0-2]
            Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp => {
                return Err(PeerError::Unexpected {
                    packet: packet.packet_type(),
                }
                .into());
            }
        }
        Ok(())
    }

    fn handle_publish(
        &mut self,
        now: Now,
        established: &mut Established,
        publish: &Publish<'_>,
    ) -> Result<(), PeerError> {
        let properties = &publish.properties;
        // [MQTT-3.3.4-6]
        if properties.subscription_identifiers().next().is_some() {
            return Err(PeerError::SubscriptionIdentifier);
        }
        let limit = self.settings.topic_alias_maximum;
        // Also that of a repeat: the client counts on it from here on.
        if let (Some(alias), Some(topic)) = (properties.topic_alias(), publish.topic) {
            established
                .aliases
                .make()
                .assign(alias.get(), topic, limit)?;
        }
        let packet_identifier = publish.packet_identifier.map_or(0, u16::from);
        if publish.qos == QoS::ExactlyOnce
            && let Some(step) = established.inflight.inbound.get(&packet_identifier)
        {
            let topic = topic_of(publish, established, limit).ok();
            let digest = topic.map(|topic| digest_of(topic, publish.payload));
            match digest.map_or(Meeting::Repeat, |digest| step.meet(digest)) {
                Meeting::Repeat => {
                    self.answer_repeat(*step, established, packet_identifier);
                    return Ok(());
                }
                Meeting::Another => {}
                Meeting::Clash => {
                    return Err(wrong_step(&Packet::Publish(*publish), packet_identifier));
                }
            }
        }
        let topic = topic_of(publish, established, limit)?;
        if let Err(error) = self.settings.admit_topic(topic) {
            return self.refuse_publish(established, publish.qos, packet_identifier, error);
        }
        if publish.qos > QoS::AtMostOnce {
            self.admit_unanswered(established)?;
        }

        let mut copied = Vec::new();
        let forwarded = match PropertySet::FORWARDABLE.includes(properties.present()) {
            true => properties.as_bytes(),
            false => {
                let outcome = properties.copy_forwardable(&mut copied);
                outcome.expect("a vector takes every byte");
                copied.as_slice()
            }
        };
        let topic = topic_of(publish, established, limit)?;
        let record = Record::new(&RecordParts {
            qos: publish.qos.into(),
            retain: publish.retain,
            from_cloud: false,
            time: now.wall,
            expiry_seconds: properties.message_expiry_interval(),
            publisher: established.publisher,
            topic,
            properties: forwarded,
            payload: publish.payload,
        });
        self.publish(established, record, publish.qos, packet_identifier);
        Ok(())
    }

    fn publish(
        &mut self,
        established: &mut Established,
        record: Record,
        qos: QoS,
        packet_identifier: u16,
    ) {
        let answer = |kind| Answer {
            packet_identifier,
            kind,
            reason_code: None,
            refusal: None,
        };
        let (token, note) = match qos {
            QoS::AtMostOnce => (None, None),
            QoS::AtLeastOnce => {
                let token = established.answers.make().push(answer(AnswerKind::Puback));
                (Some(token), None)
            }
            QoS::ExactlyOnce => {
                let digest = digest_of(record.topic(), record.payload());
                let inbound = &mut established.inflight.make().inbound;
                inbound.insert(packet_identifier, Inbound::Waiting(digest));
                let token = established.answers.make().push(answer(AnswerKind::Pubrec));
                (
                    Some(token),
                    Some(Mark::Received(digest).note(packet_identifier)),
                )
            }
        };
        self.underway.tell(Input::Publish {
            connection: self.id,
            record,
            token,
            note,
        });
    }

    /// Answers a publish that goes no further; where there is no such answer, the connection ends.
    fn refuse_publish(
        &mut self,
        established: &mut Established,
        qos: QoS,
        packet_identifier: u16,
        error: PeerError,
    ) -> Result<(), PeerError> {
        let kind = match qos {
            QoS::AtLeastOnce if established.version == Version::V5 => AnswerKind::Puback,
            QoS::ExactlyOnce if established.version == Version::V5 => AnswerKind::Pubrec,
            _ => return Err(error),
        };
        established.answers.make().push(Answer {
            packet_identifier,
            kind,
            reason_code: Some(error.reason_code()),
            refusal: None,
        });
        self.send_answers(established);
        Ok(())
    }

    /// Counts one more exchange. [MQTT-3.3.4-7]
    fn admit_unanswered(&self, established: &mut Established) -> Result<(), PeerError> {
        let limit = match established.version {
            Version::V5 => self.settings.receive_maximum,
            _ => self.settings.exchange_count_maximum,
        };
        if established.unanswered >= limit {
            return Err(PeerError::ReceiveMaximum { limit });
        }
        established.unanswered += 1;
        Ok(())
    }

    /// Answers a message of QoS 2 that is here already. [MQTT-4.3.3-10]
    fn answer_repeat(
        &mut self,
        step: Inbound,
        established: &mut Established,
        packet_identifier: u16,
    ) {
        if !matches!(step, Inbound::Waiting(_)) {
            let kind = AnswerKind::Pubrec;
            let reason_code = Some(ReasonCode::Success);
            established.answers.make().push(Answer {
                packet_identifier,
                kind,
                reason_code,
                refusal: None,
            });
            self.send_answers(established);
        }
    }

    fn handle_puback(
        &mut self,
        established: &mut Established,
        answer: &Acknowledgement<'_>,
    ) -> Result<(), PeerError> {
        let packet_identifier = answer.packet_identifier.get();
        let inflight = established.inflight.held();
        if inflight.is_some_and(|it| it.settle_once(packet_identifier)) {
            self.acknowledge(packet_identifier);
            return Ok(());
        }
        match established.inflight.outbound.get(&packet_identifier) {
            // An answer to an earlier connection.
            None | Some(Outbound::Awaiting) => Ok(()),
            Some(_) => Err(wrong_step(&Packet::Puback(*answer), packet_identifier)),
        }
    }

    fn handle_pubrec(
        &mut self,
        established: &mut Established,
        answer: &Acknowledgement<'_>,
    ) -> Result<(), PeerError> {
        let packet_identifier = answer.packet_identifier.get();
        let is_once = established.inflight.is_published_once(packet_identifier);
        let inflight = established.inflight.held();
        match inflight.and_then(|it| it.outbound.get_mut(&packet_identifier)) {
            // [MQTT-4.4.0-2]
            Some(Outbound::Published | Outbound::Awaiting) if answer.reason_code.is_error() => {
                self.complete(established, packet_identifier);
            }
            Some(step @ (Outbound::Published | Outbound::Awaiting)) => {
                *step = Outbound::Releasing;
                self.keep(Mark::Released, packet_identifier, Then::Release);
            }
            Some(Outbound::Releasing) => {}
            Some(Outbound::Released) => {
                self.send_step(
                    established,
                    Step::Pubrel,
                    packet_identifier,
                    ReasonCode::Success,
                );
            }
            None if is_once => {
                return Err(wrong_step(&Packet::Pubrec(*answer), packet_identifier));
            }
            None => {
                let reason_code = ReasonCode::PacketIdentifierNotFound;
                self.send_step(established, Step::Pubrel, packet_identifier, reason_code);
            }
            Some(Outbound::Keeping(_)) => {
                return Err(wrong_step(&Packet::Pubrec(*answer), packet_identifier));
            }
        }
        Ok(())
    }

    fn handle_pubcomp(
        &mut self,
        established: &mut Established,
        answer: &Acknowledgement<'_>,
    ) -> Result<(), PeerError> {
        let packet_identifier = answer.packet_identifier.get();
        match established.inflight.outbound.get(&packet_identifier) {
            Some(Outbound::Released) => {
                self.complete(established, packet_identifier);
                Ok(())
            }
            None if !established.inflight.is_published_once(packet_identifier) => Ok(()),
            _ => Err(wrong_step(&Packet::Pubcomp(*answer), packet_identifier)),
        }
    }

    fn handle_pubrel(
        &mut self,
        established: &mut Established,
        answer: &Acknowledgement<'_>,
    ) -> Result<(), PeerError> {
        let packet_identifier = answer.packet_identifier.get();
        let inflight = established.inflight.held();
        match inflight.and_then(|it| it.inbound.get_mut(&packet_identifier)) {
            Some(step @ (Inbound::Received(_) | Inbound::Left(_))) => {
                *step = Inbound::Completing;
                self.underway.tell(Input::ChangeNote {
                    connection: self.id,
                    token: Then::Complete.token(packet_identifier),
                    change: NoteChange::Delete {
                        key: received_key(packet_identifier),
                        delivery: None,
                    },
                });
            }
            Some(Inbound::Completing) => {}
            Some(Inbound::Waiting(_)) => {
                return Err(wrong_step(&Packet::Pubrel(*answer), packet_identifier));
            }
            None => {
                let reason_code = ReasonCode::PacketIdentifierNotFound;
                self.send_step(established, Step::Pubcomp, packet_identifier, reason_code);
            }
        }
        Ok(())
    }

    fn handle_subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<(), PeerError> {
        self.admit_filters(subscribe.subscriptions.iter().count())?;
        let identifier = subscribe.properties.subscription_identifiers().next();
        let filters = subscribe
            .subscriptions
            .iter()
            .map(|subscription| SubscribeFilter {
                filter: subscription.topic_filter.as_str().to_owned(),
                qos: subscription.maximum_qos.into(),
                identifier: identifier.map(|identifier| identifier.number()),
                echo: if subscription.no_local {
                    Echo::Suppressed
                } else {
                    Echo::Heard
                },
                retain_as: match subscription.retain_as_published {
                    true => RetainAs::Published,
                    false => RetainAs::Stored,
                },
                retain_handling: match subscription.retain_handling {
                    RetainHandling::Send => broker::RetainHandling::Always,
                    RetainHandling::SendIfNew => broker::RetainHandling::WhenNew,
                    RetainHandling::DoNotSend => broker::RetainHandling::Never,
                },
                turns: Turns::InFilter,
            });
        self.underway.tell(Input::Subscribe {
            connection: self.id,
            token: Token(subscribe.packet_identifier.get().into()),
            filters: filters.collect(),
        });
        Ok(())
    }

    fn handle_unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>) -> Result<(), PeerError> {
        self.admit_filters(unsubscribe.topic_filters.iter().count())?;
        let filters = unsubscribe.topic_filters.iter().map(TopicFilter::as_str);
        self.underway.tell(Input::Unsubscribe {
            connection: self.id,
            token: Token(unsubscribe.packet_identifier.get().into()),
            filters: filters.map(str::to_owned).collect(),
        });
        Ok(())
    }

    /// What a list of filters is unpacked to is many times its bytes.
    fn admit_filters(&self, count: usize) -> Result<(), PeerError> {
        let limit = self.settings.filter_count_maximum;
        if count > limit {
            return Err(PeerError::Filters { limit });
        }
        Ok(())
    }

    fn handle_disconnect(
        &mut self,
        established: &Established,
        disconnect: &Disconnect<'_>,
    ) -> Result<(), PeerError> {
        let session_expiry = disconnect.properties.session_expiry_interval();
        if established.session_expiry == 0 && session_expiry.is_some_and(|expiry| expiry > 0) {
            return Err(PeerError::SessionExpiry);
        }
        // [MQTT-3.14.4-3]
        let will = match disconnect.reason_code {
            ReasonCode::Success => WillFate::Discard,
            _ => WillFate::Publish,
        };
        self.underway.tell(Input::Disconnect {
            connection: self.id,
            will,
            session_expiry,
        });
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, packet_identifier: u16) {
        let delivery = DeliveryId(packet_identifier);
        self.underway.tell(Input::Acknowledge {
            connection: self.id,
            delivery,
        });
    }

    /// Keeps a note about one of our deliveries.
    pub(super) fn keep(&mut self, mark: Mark, packet_identifier: u16, then: Then) {
        self.underway.tell(Input::ChangeNote {
            connection: self.id,
            token: then.token(packet_identifier),
            change: NoteChange::Put {
                note: mark.note(packet_identifier),
                delivery: Some(DeliveryId(packet_identifier)),
            },
        });
    }

    /// Ends an outbound QoS 2 exchange.
    pub(super) fn complete(&mut self, established: &mut Established, packet_identifier: u16) {
        if let Some(inflight) = established.inflight.held() {
            inflight.outbound.remove(&packet_identifier);
        }
        self.underway.tell(Input::ChangeNote {
            connection: self.id,
            token: Then::Nothing.token(packet_identifier),
            change: NoteChange::Delete {
                key: Mark::Published.key(packet_identifier),
                delivery: Some(DeliveryId(packet_identifier)),
            },
        });
    }
}

/// The topic that a PUBLISH names, or that its alias stands for.
fn topic_of<'a>(
    publish: &Publish<'a>,
    established: &'a Established,
    limit: u16,
) -> Result<&'a str, PeerError> {
    match (publish.topic, publish.properties.topic_alias()) {
        (Some(topic), _) => Ok(topic.as_str()),
        (None, alias) => {
            let alias = alias.map_or(0, u16::from);
            established.aliases.topic(alias.max(1), limit)
        }
    }
}

fn wrong_step(packet: &Packet<'_>, packet_identifier: u16) -> PeerError {
    PeerError::WrongStep {
        packet: packet.packet_type(),
        packet_identifier,
    }
}
