//! What packets are made of, owned, so that property tests can choose and shrink it.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::num::{NonZeroU16, NonZeroU32};

use proptest::collection::vec;
use proptest::prelude::*;
use wire::mqtt::property::{
    Properties, Property, PropertySet, PropertyWriter, SubscriptionIdentifier, UserProperty,
};
use wire::mqtt::{
    Acknowledgement, Auth, Connack, Connect, Disconnect, Packet, PacketType, Publish, QoS,
    ReasonCode, ReasonCodes, RetainHandling, Suback, Subscribe, Subscription, Subscriptions,
    TopicFilters, Unsuback, Unsubscribe, Version, Will,
};
use wire::topic::{TopicFilter, TopicName};

/// A version, a packet type, and enough of everything to make one.
#[derive(Clone, Debug)]
pub(crate) struct Ingredients {
    pub(crate) version: Version,
    pub(crate) packet_type: PacketType,
    packet_identifier: NonZeroU16,
    qos: QoS,
    bits: [bool; 6],
    number: u16,
    topic: String,
    texts: [String; 2],
    data: [Vec<u8>; 2],
    reason_code: ReasonCode,
    properties: Vec<u8>,
    will_properties: Vec<u8>,
    list: Vec<u8>,
}

/// Gives every version with every packet type that it has.
pub(crate) fn kinds() -> Vec<(Version, PacketType)> {
    let types = (1..=15).filter_map(PacketType::from_number);
    let pairs = types.flat_map(|type_| Version::ALL.map(|version| (version, type_)));
    pairs
        .filter(|&(version, type_)| version == Version::V5 || type_ != PacketType::Auth)
        .collect()
}

/// Chooses a valid packet of a version and type.
pub(crate) fn ingredients_of(
    version: Version,
    packet_type: PacketType,
) -> impl Strategy<Value = Ingredients> {
    let [allowed, will_allowed] = match version {
        Version::V5 => [PropertySet::allowed_in(packet_type), PropertySet::WILL],
        Version::V31 | Version::V311 => [PropertySet::NONE; 2],
    };
    let choices = (1..=u16::MAX, 0_u8..3, any::<[bool; 6]>(), any::<u16>());
    let fields = (
        topic_name(),
        [text(), text()],
        [data(), data()],
        reason_code(version, packet_type),
    );
    let lists = (
        properties(allowed),
        properties(will_allowed),
        list(version, packet_type),
    );
    (choices, fields, lists).prop_map(move |(choices, fields, lists)| Ingredients {
        version,
        packet_type,
        packet_identifier: NonZeroU16::new(choices.0).unwrap(),
        qos: QoS::try_from(choices.1).unwrap(),
        bits: choices.2,
        number: choices.3,
        topic: fields.0,
        texts: fields.1,
        data: fields.2,
        reason_code: fields.3,
        properties: with_method(packet_type, lists.0),
        will_properties: lists.1,
        list: lists.2,
    })
}

impl Ingredients {
    /// Makes the packet.
    pub(crate) fn packet(&self) -> Packet<'_> {
        let allowed = PropertySet::allowed_in(self.packet_type);
        let properties = Properties::parse(&self.properties, allowed).unwrap();
        let packet_identifier = self.packet_identifier;
        let reason_code = self.reason_code;
        let acknowledgement = Acknowledgement {
            packet_identifier,
            reason_code,
            properties,
        };
        match self.packet_type {
            PacketType::Connect => Packet::Connect(self.connect(properties)),
            PacketType::Connack => Packet::Connack(Connack {
                session_present: self.bits[0]
                    && reason_code == ReasonCode::Success
                    && self.version != Version::V31,
                reason_code,
                properties,
            }),
            PacketType::Publish => Packet::Publish(self.publish(properties)),
            PacketType::Puback => Packet::Puback(acknowledgement),
            PacketType::Pubrec => Packet::Pubrec(acknowledgement),
            PacketType::Pubrel => Packet::Pubrel(acknowledgement),
            PacketType::Pubcomp => Packet::Pubcomp(acknowledgement),
            PacketType::Subscribe => {
                let subscriptions = Subscriptions::parse(&self.list, self.version).unwrap();
                Packet::Subscribe(Subscribe {
                    packet_identifier,
                    properties,
                    subscriptions,
                })
            }
            PacketType::Suback => {
                let reason_codes = ReasonCodes::parse(&self.list, PacketType::Suback).unwrap();
                Packet::Suback(Suback {
                    packet_identifier,
                    properties,
                    reason_codes,
                })
            }
            PacketType::Unsubscribe => {
                let topic_filters = TopicFilters::parse(&self.list).unwrap();
                Packet::Unsubscribe(Unsubscribe {
                    packet_identifier,
                    properties,
                    topic_filters,
                })
            }
            PacketType::Unsuback => {
                let reason_codes = match self.version {
                    Version::V5 => ReasonCodes::parse(&self.list, PacketType::Unsuback).unwrap(),
                    _ => ReasonCodes::EMPTY,
                };
                Packet::Unsuback(Unsuback {
                    packet_identifier,
                    properties,
                    reason_codes,
                })
            }
            PacketType::Pingreq => Packet::Pingreq,
            PacketType::Pingresp => Packet::Pingresp,
            PacketType::Disconnect => Packet::Disconnect(Disconnect {
                reason_code,
                properties,
            }),
            PacketType::Auth => Packet::Auth(Auth {
                reason_code,
                properties,
            }),
        }
    }

    /// Makes the packet and encodes it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.packet().encode(self.version, &mut bytes).unwrap();
        bytes
    }

    fn connect<'a>(&'a self, properties: Properties<'a>) -> Connect<'a> {
        let has_user_name = self.bits[2];
        let has_password = self.bits[3] && (has_user_name || self.version == Version::V5);
        Connect {
            version: self.version,
            clean_start: self.bits[0],
            keep_alive: self.number,
            properties,
            client_identifier: &self.texts[0],
            will: self.bits[1].then(|| Will {
                qos: self.qos,
                retain: self.bits[4],
                properties: Properties::parse(&self.will_properties, PropertySet::WILL).unwrap(),
                topic: TopicName::new(&self.topic).unwrap(),
                payload: &self.data[1],
            }),
            user_name: has_user_name.then_some(&self.texts[1]),
            password: has_password.then_some(&self.data[0]),
        }
    }

    fn publish<'a>(&'a self, properties: Properties<'a>) -> Publish<'a> {
        let is_acknowledged = self.qos > QoS::AtMostOnce;
        let has_topic = self.bits[2] || properties.topic_alias().is_none();
        Publish {
            dup: self.bits[0] && is_acknowledged,
            qos: self.qos,
            retain: self.bits[1],
            topic: has_topic.then(|| TopicName::new(&self.topic).unwrap()),
            packet_identifier: is_acknowledged.then_some(self.packet_identifier),
            properties,
            payload: &self.data[0],
        }
    }
}

/// Chooses a topic name, with few levels so that filters meet it.
pub(crate) fn topic_name() -> impl Strategy<Value = String> {
    vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("empty", |topic| !topic.is_empty())
}

/// Chooses a valid topic filter, sometimes a shared one.
pub(crate) fn topic_filter() -> impl Strategy<Value = String> {
    let levels = vec(prop_oneof![4 => level(), 2 => Just("+".to_owned())], 1..5);
    let tail = prop_oneof![3 => Just(""), 1 => Just("/#")];
    let group = prop_oneof![3 => Just(""), 1 => Just("$share/group/")];
    let plain =
        (group, levels, tail).prop_map(|(group, levels, tail)| (group, levels.join("/") + tail));
    prop_oneof![9 => plain, 1 => Just(("", "#".to_owned()))]
        .prop_filter("empty", |(_, pattern)| !pattern.is_empty())
        .prop_map(|(group, pattern)| format!("{group}{pattern}"))
        .prop_filter("not a filter", |text| TopicFilter::new(text).is_ok())
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "sport", "tennis", "", "$SYS", "\u{e9}\u{4e2d}"])
            .prop_map(str::to_owned),
        1 => "[a-z0-9 $.]{0,12}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9]{0,8}", 1 => "[^\u{0}]{0,40}"]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..16), 1 => vec(any::<u8>(), 100..300)]
}

fn reason_code(version: Version, packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let exists = |reason_code: &ReasonCode| match (version, packet) {
        (Version::V5, _) => reason_code.is_allowed_in(packet),
        (_, PacketType::Connack) => reason_code
            .return_code()
            .is_some_and(|code| ReasonCode::from_return_code(code) == Some(*reason_code)),
        _ => *reason_code == ReasonCode::Success,
    };
    let mut reason_codes: Vec<ReasonCode> =
        ReasonCode::ALL.iter().copied().filter(exists).collect();
    if reason_codes.is_empty() {
        // The packet has none.
        reason_codes.push(ReasonCode::Success);
    }
    prop::sample::select(reason_codes)
}

/// Chooses properties in any order, of those allowed.
pub(crate) fn properties(allowed: PropertySet) -> impl Strategy<Value = Vec<u8>> {
    let identifiers: Vec<u8> = (1..=0x2A)
        .filter(|&identifier| allowed.contains(identifier))
        .collect();
    let count = if identifiers.is_empty() { 0..1 } else { 0..8 };
    let identifiers = if identifiers.is_empty() {
        vec![0x26]
    } else {
        identifiers
    };
    let picks = (
        prop::sample::select(identifiers),
        any::<u32>(),
        text(),
        data(),
        topic_name(),
    );
    vec(picks, count).prop_map(move |picks| {
        let mut bytes = Vec::new();
        let mut writer = PropertyWriter::new(&mut bytes, allowed);
        for (identifier, number, text, data, topic) in &picks {
            // One that is there already is refused and left out.
            let _ = writer.write(&property(*identifier, *number, text, data, topic));
        }
        assert_eq!(writer.finish(), bytes.len());
        bytes
    })
}

/// Adds the authentication method where it must not be missing.
fn with_method(packet: PacketType, mut properties: Vec<u8>) -> Vec<u8> {
    let parsed = Properties::parse(&properties, PropertySet::allowed_in(packet)).unwrap();
    let is_needed = match packet {
        PacketType::Auth => true,
        PacketType::Connect => parsed.authentication_data().is_some(),
        _ => false,
    };
    if is_needed && parsed.authentication_method().is_none() {
        properties.extend_from_slice(b"\x15\x00\x04SCRA");
    }
    properties
}

fn property<'a>(
    identifier: u8,
    number: u32,
    text: &'a str,
    data: &'a [u8],
    topic: &'a str,
) -> Property<'a> {
    let bit = number & 1 == 1;
    let short = number as u16;
    let short_above_0 = NonZeroU16::new(short).unwrap_or(NonZeroU16::MIN);
    match identifier {
        0x01 => Property::PayloadFormatIndicator(bit),
        0x02 => Property::MessageExpiryInterval(number),
        0x03 => Property::ContentType(text),
        0x08 => Property::ResponseTopic(TopicName::new(topic).unwrap()),
        0x09 => Property::CorrelationData(data),
        0x0B => Property::SubscriptionIdentifier(
            // Every length of the variable byte integer, about as often.
            SubscriptionIdentifier::new((number >> 4 >> (number % 4 * 7)).max(1)).unwrap(),
        ),
        0x11 => Property::SessionExpiryInterval(number),
        0x12 => Property::AssignedClientIdentifier(text),
        0x13 => Property::ServerKeepAlive(short),
        0x15 => Property::AuthenticationMethod(text),
        0x16 => Property::AuthenticationData(data),
        0x17 => Property::RequestProblemInformation(bit),
        0x18 => Property::WillDelayInterval(number),
        0x19 => Property::RequestResponseInformation(bit),
        0x1A => Property::ResponseInformation(text),
        0x1C => Property::ServerReference(text),
        0x1F => Property::ReasonString(text),
        0x21 => Property::ReceiveMaximum(short_above_0),
        0x22 => Property::TopicAliasMaximum(short),
        0x23 => Property::TopicAlias(short_above_0),
        0x24 => Property::MaximumQos(if bit {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        }),
        0x25 => Property::RetainAvailable(bit),
        0x26 => Property::UserProperty(UserProperty {
            name: topic,
            value: text,
        }),
        0x27 => Property::MaximumPacketSize(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)),
        0x28 => Property::WildcardSubscriptionAvailable(bit),
        0x29 => Property::SubscriptionIdentifierAvailable(bit),
        0x2A => Property::SharedSubscriptionAvailable(bit),
        other => panic!("no property {other}"),
    }
}

fn list(version: Version, packet: PacketType) -> impl Strategy<Value = Vec<u8>> {
    let entries = (
        topic_filter(),
        any::<u8>(),
        reason_code(Version::V5, packet),
    );
    vec(entries, 1..5).prop_map(move |entries| {
        let mut bytes = Vec::new();
        for (filter, number, reason_code) in &entries {
            match packet {
                PacketType::Subscribe => {
                    let topic_filter = TopicFilter::new(filter).unwrap();
                    subscription(topic_filter, *number, version)
                        .encode(version, &mut bytes)
                        .unwrap();
                }
                PacketType::Unsubscribe => {
                    bytes.extend_from_slice(&(filter.len() as u16).to_be_bytes());
                    bytes.extend_from_slice(filter.as_bytes());
                }
                _ if version < Version::V5 && reason_code.is_error() => bytes.push(0x80),
                _ => bytes.push(reason_code.number()),
            }
        }
        bytes
    })
}

fn subscription(topic_filter: TopicFilter<'_>, number: u8, version: Version) -> Subscription<'_> {
    let maximum_qos = QoS::try_from(number % 3).unwrap();
    if version < Version::V5 {
        return Subscription::new(topic_filter, maximum_qos);
    }
    Subscription {
        topic_filter,
        maximum_qos,
        no_local: number & 4 != 0 && !topic_filter.is_shared(),
        retain_as_published: number & 8 != 0,
        retain_handling: match number >> 4 & 3 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        },
    }
}
