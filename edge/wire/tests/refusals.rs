//! Every refusal is reached, with the reason that the peer is told.

use std::num::NonZeroU16;

use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter, UserProperty};
use wire::mqtt::{
    Acknowledgement, Auth, Connack, Connect, Disconnect, Packet, PacketType, Publish, QoS,
    ReasonCode, ReasonCodes, Suback, Subscription, Subscriptions, TopicFilters, Unsuback, Version,
    decode, decode_connect,
};
use wire::topic::{TopicFilter, TopicName};
use wire::{DecodeError, EncodeError, InvalidPacket, TopicError};

use Version::{V5, V31, V311};

/// Bytes of a version, why they are refused, and what the peer is told.
type Refusal = (Version, &'static [u8], DecodeError, ReasonCode);

const REFUSALS: &[Refusal] = &[
    (
        V5,
        b"\x30\xFF\xFF\xFF\x7F",
        DecodeError::PacketTooLarge {
            bytes: 268_435_460,
            limit: 1000,
        },
        ReasonCode::PacketTooLarge,
    ),
    (
        V5,
        b"\x30\x80\x80\x80\x80",
        DecodeError::VariableByteInteger,
        ReasonCode::MalformedPacket,
    ),
    // The remaining length takes two bytes where one is enough.
    (
        V5,
        b"\xC0\x80\0",
        DecodeError::VariableByteInteger,
        ReasonCode::MalformedPacket,
    ),
    (
        V311,
        b"\x10\x8F\0\0\x04MQTT\x05\x02\0\x3C\0\0\x02c1",
        DecodeError::VariableByteInteger,
        ReasonCode::MalformedPacket,
    ),
    // So does the property length.
    (
        V5,
        b"\x30\x05\0\x01a\x80\0",
        DecodeError::VariableByteInteger,
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x00",
        DecodeError::PacketType { found: 0 },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\xD1",
        DecodeError::FixedHeaderFlags {
            packet: PacketType::Pingresp,
            found: 1,
        },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x30\x02\0\x01",
        DecodeError::Truncated,
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x40\x06\0\x01\0\0\0\0",
        DecodeError::TrailingBytes { count: 2 },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x30\x04\0\x01\xFF\0",
        DecodeError::Utf8,
        ReasonCode::MalformedPacket,
    ),
    (
        V311,
        b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\0",
        DecodeError::NullCharacter,
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x10\x07\0\x04MQTX\x05",
        DecodeError::ProtocolName,
        ReasonCode::UnsupportedProtocolVersion,
    ),
    (
        V5,
        b"\x10\x07\0\x04MQTT\x06",
        DecodeError::ProtocolLevel { level: 6 },
        ReasonCode::UnsupportedProtocolVersion,
    ),
    // MQTT 3.1 has its own name, and the name has only MQTT 3.1.
    (
        V5,
        b"\x10\x07\0\x04MQTT\x03",
        DecodeError::ProtocolLevel { level: 3 },
        ReasonCode::UnsupportedProtocolVersion,
    ),
    (
        V5,
        b"\x10\x09\0\x06MQIsdp\x04",
        DecodeError::ProtocolLevel { level: 4 },
        ReasonCode::UnsupportedProtocolVersion,
    ),
    // What some brokers send to each other.
    (
        V5,
        b"\x10\x07\0\x04MQTT\x84",
        DecodeError::ProtocolLevel { level: 0x84 },
        ReasonCode::UnsupportedProtocolVersion,
    ),
    (
        V5,
        b"\x10\x0D\0\x04MQTT\x05\x01\0\0\0\0\0",
        DecodeError::ConnectFlags { found: 1 },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x10\x0D\0\x04MQTT\x05\x1C\0\0\0\0\0",
        DecodeError::ConnectFlags { found: 0x1C },
        ReasonCode::MalformedPacket,
    ),
    (
        V31,
        b"\x10\x10\0\x06MQIsdp\x03\x40\0\0\0\0\0\0",
        DecodeError::PasswordWithoutUserName,
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x20\x03\x02\0\0",
        DecodeError::ConnackFlags { found: 2 },
        ReasonCode::MalformedPacket,
    ),
    (
        V311,
        b"\x20\x02\x01\x05",
        DecodeError::ConnackFlags { found: 1 },
        ReasonCode::MalformedPacket,
    ),
    (
        V311,
        b"\x20\x02\0\x06",
        DecodeError::ReasonCode {
            packet: PacketType::Connack,
            found: 6,
        },
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x36\x03\0\x01a",
        DecodeError::PublishQos,
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x38\x04\0\x01a\0",
        DecodeError::DupWithoutQos,
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x32\x06\0\x01a\0\0\0",
        DecodeError::PacketIdentifier,
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\xB0\x04\0\0\0\0",
        DecodeError::PacketIdentifier,
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x30\x03\0\0\0",
        DecodeError::TopicMissing,
        ReasonCode::ProtocolError,
    ),
    (
        V311,
        b"\x30\x02\0\0",
        DecodeError::TopicMissing,
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x30\x04\0\x01#\0",
        DecodeError::TopicName(TopicError::Wildcard),
        ReasonCode::MalformedPacket,
    ),
    // An empty will topic, and an empty response topic.
    (
        V311,
        b"\x10\x10\0\x04MQTT\x04\x04\0\0\0\0\0\0\0\0",
        DecodeError::TopicName(TopicError::Empty),
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x30\x07\0\x01a\x03\x08\0\0",
        DecodeError::TopicName(TopicError::Empty),
        ReasonCode::MalformedPacket,
    ),
    (
        V311,
        b"\xA2\x05\0\x01\0\x01\0",
        DecodeError::TopicFilter(TopicError::NullCharacter),
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x82\x03\0\x01\0",
        DecodeError::EmptyList {
            packet: PacketType::Subscribe,
        },
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\xB0\x03\0\x01\0",
        DecodeError::EmptyList {
            packet: PacketType::Unsuback,
        },
        ReasonCode::ProtocolError,
    ),
    (
        V311,
        b"\x90\x02\0\x01",
        DecodeError::EmptyList {
            packet: PacketType::Suback,
        },
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x82\x07\0\x01\0\0\x01a\x80",
        DecodeError::SubscriptionOptions { found: 0x80 },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x82\x07\0\x01\0\0\x01a\x31",
        DecodeError::SubscriptionOptions { found: 0x31 },
        ReasonCode::ProtocolError,
    ),
    // No Local, before MQTT 5.
    (
        V311,
        b"\x82\x06\0\x01\0\x01a\x04",
        DecodeError::SubscriptionOptions { found: 0x04 },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x82\x10\0\x01\0\0\x0A$share/g/a\x05",
        DecodeError::SharedNoLocal,
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x62\x03\0\x01\x80",
        DecodeError::ReasonCode {
            packet: PacketType::Pubrel,
            found: 0x80,
        },
        ReasonCode::ProtocolError,
    ),
    // Refined reasons, before MQTT 5.
    (
        V311,
        b"\x90\x03\0\x01\x87",
        DecodeError::ReasonCode {
            packet: PacketType::Suback,
            found: 0x87,
        },
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x30\x06\0\x01a\x02\x7F\0",
        DecodeError::PropertyIdentifier { found: 0x7F },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\xE0\x05\0\x03\x21\0\x01",
        DecodeError::PropertyNotAllowed { identifier: 0x21 },
        ReasonCode::MalformedPacket,
    ),
    (
        V5,
        b"\x30\x08\0\x01a\x04\x01\0\x01\0",
        DecodeError::PropertyRepeated { identifier: 0x01 },
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x20\x05\0\0\x02\x24\x02",
        DecodeError::PropertyValue { identifier: 0x24 },
        ReasonCode::ProtocolError,
    ),
    (
        V5,
        b"\x30\x07\0\x01a\x03\x23\0\0",
        DecodeError::PropertyValue { identifier: 0x23 },
        ReasonCode::TopicAliasInvalid,
    ),
    (
        V5,
        b"\xF0\x02\x18\0",
        DecodeError::AuthenticationMethodMissing,
        ReasonCode::ProtocolError,
    ),
];

#[test]
fn what_is_not_a_packet_is_refused_for_its_reason() {
    for &(version, bytes, error, reason_code) in REFUSALS {
        assert_eq!(decode(bytes, version, 1000), Err(error), "{bytes:02x?}");
        assert_eq!(error.reason_code(), reason_code, "{error}");
    }
}

#[test]
fn refusals_are_told_in_words() {
    for (_, _, error, _) in REFUSALS {
        let text = error.to_string();
        assert!(text.is_ascii() && !text.ends_with('.'), "{text}");
        // Names of packets are in capitals.
        let mut letters = text.chars();
        let [first, second] = [letters.next(), letters.next()].map(Option::unwrap);
        assert!(
            !(first.is_ascii_uppercase() && second.is_ascii_lowercase()),
            "{text}"
        );
    }
    let too_large = DecodeError::PacketTooLarge {
        bytes: 300_000,
        limit: 262_144,
    };
    assert_eq!(
        too_large.to_string(),
        "packet of 300000 bytes exceeds the limit of 262144"
    );
}

#[test]
fn a_connection_begins_with_connect() {
    assert_eq!(decode_connect(b"", 100), Ok(None));
    assert_eq!(
        decode_connect(b"GET / HTTP/1.1", 100),
        Err(DecodeError::NotConnect { found: 4 })
    );
    assert_eq!(
        decode_connect(b"\xC0", 100),
        Err(DecodeError::NotConnect { found: 12 })
    );
    assert_eq!(
        DecodeError::NotConnect { found: 12 }.reason_code(),
        ReasonCode::ProtocolError
    );
    assert_eq!(decode_connect(b"\x10\x0E\0\x04MQTT", 100), Ok(None));
}

#[test]
fn connect_brings_its_own_version() {
    let packets: [(&[u8], Version); 3] = [
        (b"\x10\x10\0\x06MQIsdp\x03\x02\0\x3C\0\x02c1", V31),
        (b"\x10\x0E\0\x04MQTT\x04\x02\0\x3C\0\x02c1", V311),
        (b"\x10\x0F\0\x04MQTT\x05\x02\0\x3C\0\0\x02c1", V5),
    ];
    for (bytes, version) in packets {
        let (connect, length) = decode_connect(bytes, 100).unwrap().unwrap();
        assert_eq!((connect.version, length), (version, bytes.len()));
        assert_eq!((connect.client_identifier, connect.keep_alive), ("c1", 60));
        for other in Version::ALL {
            let mut encoded = Vec::new();
            Packet::Connect(connect)
                .encode(other, &mut encoded)
                .unwrap();
            assert_eq!(encoded, bytes);
        }
    }
}

/// The first byte of a CONNACK is reserved there; one that was read as session present could not
/// be written again.
#[test]
fn mqtt_3_1_has_no_session_present() {
    let connack = Connack {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: Properties::EMPTY,
    };
    for bytes in [b"\x20\x02\x01\0", b"\x20\x02\0\0", b"\x20\x02\xFF\0"] {
        assert_eq!(
            decode(bytes, V31, 100),
            Ok(Some((Packet::Connack(connack), 4)))
        );
    }
    let mut encoded = Vec::new();
    let present = Packet::Connack(Connack {
        session_present: true,
        ..connack
    });
    present.encode(V31, &mut encoded).unwrap();
    assert_eq!(encoded, b"\x20\x02\0\0");
}

#[test]
fn before_mqtt_5_a_long_form_of_the_remaining_length_is_read() {
    let decoded = decode(b"\xC0\x80\x80\0", V311, 100);
    assert_eq!(decoded, Ok(Some((Packet::Pingreq, 4))));
}

#[test]
fn a_password_does_not_show() {
    let connect = Connect {
        password: Some(b"secret"),
        user_name: Some("u"),
        ..connect(V5)
    };
    let shown = format!("{connect:?}");
    assert!(!shown.contains("secret") && !shown.contains(&format!("{:?}", b"secret")));
    assert!(shown.contains("has_password: true"));
}

/// [MQTT-2.2.1-2] [MQTT-3.3.1-2]
#[test]
fn what_would_not_be_a_packet_is_not_written() {
    let long = "x".repeat(65_536);
    let one = NonZeroU16::MIN;
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Some(TopicName::new("a").unwrap()),
        packet_identifier: None,
        properties: Properties::EMPTY,
        payload: b"",
    };
    let reason_codes = ReasonCodes::parse(&[0x01], PacketType::Suback).unwrap();
    let unfit = Properties::parse(b"\x11\0\0\0\x01", PropertySet::DISCONNECT).unwrap();
    let alone = Properties::parse(b"\x16\0\0", PropertySet::CONNECT).unwrap();
    let connack = Connack {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: Properties::EMPTY,
    };
    let auth = Auth {
        reason_code: ReasonCode::Success,
        properties: Properties::EMPTY,
    };
    let table = [
        (
            V5,
            Packet::Connect(Connect {
                client_identifier: &long,
                ..connect(V5)
            }),
            InvalidPacket::FieldTooLong {
                bytes: 65_536,
                limit: 65_535,
            },
        ),
        (
            V5,
            Packet::Connect(Connect {
                user_name: Some("a\0"),
                ..connect(V5)
            }),
            InvalidPacket::NullCharacter,
        ),
        (
            V311,
            Packet::Connect(Connect {
                password: Some(b""),
                ..connect(V311)
            }),
            InvalidPacket::PasswordWithoutUserName,
        ),
        (
            V5,
            Packet::Connect(Connect {
                properties: alone,
                ..connect(V5)
            }),
            InvalidPacket::AuthenticationMethodMissing,
        ),
        (
            V311,
            Packet::Auth(auth),
            InvalidPacket::PacketType {
                packet: PacketType::Auth,
                version: V311,
            },
        ),
        (
            V5,
            Packet::Auth(Auth {
                reason_code: ReasonCode::ReAuthenticate,
                ..auth
            }),
            InvalidPacket::AuthenticationMethodMissing,
        ),
        (
            V5,
            Packet::Connack(Connack {
                session_present: true,
                reason_code: ReasonCode::Banned,
                ..connack
            }),
            InvalidPacket::SessionPresent,
        ),
        (
            V311,
            Packet::Connack(Connack {
                reason_code: ReasonCode::MalformedPacket,
                ..connack
            }),
            InvalidPacket::ReasonCode {
                packet: PacketType::Connack,
                reason_code: ReasonCode::MalformedPacket,
            },
        ),
        (
            V5,
            Packet::Puback(Acknowledgement::with_reason(one, ReasonCode::GrantedQos1)),
            InvalidPacket::ReasonCode {
                packet: PacketType::Puback,
                reason_code: ReasonCode::GrantedQos1,
            },
        ),
        (
            V5,
            Packet::Publish(Publish {
                properties: unfit,
                ..publish
            }),
            InvalidPacket::PropertyNotAllowed { identifier: 0x11 },
        ),
        (
            V5,
            Packet::Publish(Publish {
                dup: true,
                ..publish
            }),
            InvalidPacket::DupWithoutQos,
        ),
        (
            V5,
            Packet::Publish(Publish {
                packet_identifier: Some(one),
                ..publish
            }),
            InvalidPacket::PacketIdentifier,
        ),
        (
            V5,
            Packet::Publish(Publish {
                qos: QoS::ExactlyOnce,
                ..publish
            }),
            InvalidPacket::PacketIdentifier,
        ),
        (
            V5,
            Packet::Publish(Publish {
                topic: None,
                ..publish
            }),
            InvalidPacket::TopicMissing,
        ),
        (
            V5,
            Packet::Unsuback(Unsuback {
                packet_identifier: one,
                properties: Properties::EMPTY,
                reason_codes: ReasonCodes::EMPTY,
            }),
            InvalidPacket::EmptyList {
                packet: PacketType::Unsuback,
            },
        ),
        // The reason codes of another packet.
        (
            V5,
            Packet::Unsuback(Unsuback {
                packet_identifier: one,
                properties: Properties::EMPTY,
                reason_codes,
            }),
            InvalidPacket::ReasonCode {
                packet: PacketType::Unsuback,
                reason_code: ReasonCode::GrantedQos1,
            },
        ),
    ];
    for (version, packet, expected) in table {
        let mut written = Vec::new();
        assert_eq!(packet.encoded_len(version), Err(expected));
        assert_eq!(
            packet.encode(version, &mut written),
            Err(EncodeError::Invalid(expected))
        );
        assert!(written.is_empty(), "{expected}");
    }
}

#[test]
fn a_packet_too_long_for_its_length_is_not_written() {
    let payload = vec![0; 268_435_455];
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: Some(TopicName::new("a").unwrap()),
        packet_identifier: None,
        properties: Properties::EMPTY,
        payload: &payload[..268_435_452],
    };
    assert_eq!(Packet::Publish(publish).encoded_len(V311), Ok(268_435_460));
    let longer = Publish {
        payload: &payload,
        ..publish
    };
    assert_eq!(
        Packet::Publish(longer).encoded_len(V311),
        Err(InvalidPacket::PacketTooLong { bytes: 268_435_458 })
    );
}

#[test]
fn a_writer_of_properties_refuses_and_goes_on() {
    let mut bytes = Vec::new();
    let mut writer = PropertyWriter::new(&mut bytes, PropertySet::CONNACK);
    let long = "x".repeat(65_536);
    let pair = Property::UserProperty(UserProperty {
        name: "k",
        value: "v",
    });
    let table = [
        (Property::ServerKeepAlive(7), Ok(())),
        (
            Property::ServerKeepAlive(8),
            Err(InvalidPacket::PropertyRepeated { identifier: 0x13 }),
        ),
        (
            Property::TopicAlias(NonZeroU16::MIN),
            Err(InvalidPacket::PropertyNotAllowed { identifier: 0x23 }),
        ),
        (
            Property::MaximumQos(QoS::ExactlyOnce),
            Err(InvalidPacket::PropertyValue { identifier: 0x24 }),
        ),
        (
            Property::ReasonString(&long),
            Err(InvalidPacket::FieldTooLong {
                bytes: 65_536,
                limit: 65_535,
            }),
        ),
        (
            Property::ReasonString("\0"),
            Err(InvalidPacket::NullCharacter),
        ),
        (pair, Ok(())),
        (pair, Ok(())),
    ];
    for (property, expected) in table {
        assert_eq!(
            writer.write(&property),
            expected.map_err(EncodeError::Invalid)
        );
    }
    assert_eq!(writer.finish(), 3 + 2 * 7);
    assert_eq!(bytes, b"\x13\0\x07\x26\0\x01k\0\x01v\x26\0\x01k\0\x01v");
}

#[test]
fn a_shared_subscription_without_its_own_messages_is_not_written() {
    let topic_filter = TopicFilter::new("$share/g/a").unwrap();
    let subscription = Subscription::new(topic_filter, QoS::AtMostOnce);
    let mut bytes = Vec::new();
    let refused = Subscription {
        no_local: true,
        ..subscription
    }
    .encode(V5, &mut bytes);
    assert_eq!(
        refused,
        Err(EncodeError::Invalid(InvalidPacket::SharedNoLocal))
    );
    assert!(bytes.is_empty());
}

#[test]
fn lists_without_an_entry_are_not_made() {
    let refused = |packet| Err(DecodeError::EmptyList { packet });
    assert_eq!(
        Subscriptions::parse(b"", V5).map(|_| ()),
        refused(PacketType::Subscribe)
    );
    assert_eq!(
        TopicFilters::parse(b"").map(|_| ()),
        refused(PacketType::Unsubscribe)
    );
    assert_eq!(
        ReasonCodes::parse(b"", PacketType::Suback).map(|_| ()),
        refused(PacketType::Suback)
    );
}

#[test]
fn before_mqtt_5_a_suback_has_one_failure() {
    let reason_codes = ReasonCodes::parse(&[0x02, 0x87, 0x97], PacketType::Suback).unwrap();
    let suback = Packet::Suback(Suback {
        packet_identifier: NonZeroU16::MIN,
        properties: Properties::EMPTY,
        reason_codes,
    });
    let mut bytes = Vec::new();
    suback.encode(V311, &mut bytes).unwrap();
    assert_eq!(bytes, b"\x90\x05\0\x01\x02\x80\x80");
}

#[test]
fn before_mqtt_5_reasons_and_properties_are_left_out() {
    let properties = Properties::parse(b"\x1F\0\x01x", PropertySet::DISCONNECT).unwrap();
    let reason_code = ReasonCode::ServerShuttingDown;
    let mut bytes = Vec::new();
    let disconnect = Packet::Disconnect(Disconnect {
        reason_code,
        properties,
    });
    disconnect.encode(V311, &mut bytes).unwrap();
    assert_eq!(bytes, b"\xE0\0");
    bytes.clear();
    disconnect.encode(V5, &mut bytes).unwrap();
    assert_eq!(bytes, b"\xE0\x06\x8B\x04\x1F\0\x01x");
}

fn connect(version: Version) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::EMPTY,
        client_identifier: "c",
        will: None,
        user_name: None,
        password: None,
    }
}
