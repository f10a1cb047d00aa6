//! What holds for every packet: it comes back as it was, in any slices, and no bytes whatever
//! make the decoder panic.

mod corpus_file;
mod ingredients;

use std::num::NonZeroU16;

use ingredients::{Ingredients, ingredients_of, kinds, properties, topic_filter, topic_name};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::mqtt::property::{Properties, PropertySet, SubscriptionIdentifier};
use wire::mqtt::{
    Packet, Publish, PublishHeader, QoS, Version, decode, decode_connect, packet_bytes,
};
use wire::topic::{TopicFilter, TopicName};
use wire::{DecodeError, InvalidPacket};

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL.to_vec())
}

/// Chooses a valid packet of any version and type.
fn ingredients() -> impl Strategy<Value = Ingredients> {
    prop::sample::select(kinds())
        .prop_flat_map(|(version, packet_type)| ingredients_of(version, packet_type))
}

/// Decodes and uses everything that is decoded, as a server would.
fn use_up(bytes: &[u8], version: Version) {
    let _ = packet_bytes(bytes, u32::MAX);
    let _ = decode_connect(bytes, u32::MAX);
    let Ok(Some((packet, length))) = decode(bytes, version, u32::MAX) else {
        return;
    };
    assert!(length <= bytes.len());
    let _ = format!("{packet:?}");
    let spoken = match packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    let mut encoded = Vec::new();
    packet
        .encode(version, &mut encoded)
        .expect("what was decoded can be encoded");
    assert_eq!(
        decode(&encoded, spoken, u32::MAX),
        Ok(Some((packet, encoded.len())))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_packet_comes_back_as_it_was(ingredients in ingredients()) {
        let packet = ingredients.packet();
        let bytes = ingredients.bytes();
        prop_assert_eq!(packet.encoded_len(ingredients.version), Ok(bytes.len()));
        let decoded = decode(&bytes, ingredients.version, u32::MAX);
        prop_assert_eq!(decoded, Ok(Some((packet, bytes.len()))));
    }

    #[test]
    fn a_packet_is_not_there_before_its_last_byte(ingredients in ingredients()) {
        let bytes = ingredients.bytes();
        for end in 0..bytes.len() {
            let decoded = decode(&bytes[..end], ingredients.version, u32::MAX);
            prop_assert_eq!(decoded, Ok(None), "at {} of {:02x?}", end, bytes);
            let needed = packet_bytes(&bytes[..end], u32::MAX).unwrap();
            prop_assert!(needed.is_none_or(|needed| needed == bytes.len()));
        }
    }

    #[test]
    fn bytes_of_the_next_packet_are_left_alone(
        ingredients in ingredients(),
        next in vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = ingredients.bytes();
        let length = bytes.len();
        bytes.extend_from_slice(&next);
        let decoded = decode(&bytes, ingredients.version, u32::MAX);
        prop_assert_eq!(decoded, Ok(Some((ingredients.packet(), length))));
    }

    #[test]
    fn the_limit_is_the_whole_packet(ingredients in ingredients()) {
        let bytes = ingredients.bytes();
        let limit = bytes.len() as u32;
        prop_assert!(decode(&bytes, ingredients.version, limit).unwrap().is_some());
        prop_assert_eq!(
            decode(&bytes, ingredients.version, limit - 1),
            Err(DecodeError::PacketTooLarge { bytes: limit, limit: limit - 1 })
        );
    }

    #[test]
    fn a_short_sink_fails_without_panic(
        ingredients in ingredients(),
        cut in any::<prop::sample::Index>(),
    ) {
        let length = ingredients.bytes().len();
        let mut buffer = vec![0; cut.index(length)];
        let encoded = ingredients.packet().encode(ingredients.version, &mut &mut buffer[..]);
        prop_assert!(encoded.is_err());
    }

    #[test]
    fn changed_packets_never_panic(
        ingredients in ingredients(),
        version in version(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = ingredients.bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        use_up(&bytes, version);
    }

    #[test]
    fn what_a_version_does_not_have_is_left_out_or_refused(ingredients in ingredients()) {
        let packet = ingredients.packet();
        let mut bytes = Vec::new();
        match packet.encode(Version::V311, &mut bytes) {
            Ok(length) => {
                prop_assert_eq!(length, bytes.len());
                prop_assert!(decode(&bytes, Version::V311, u32::MAX).unwrap().is_some());
            }
            Err(_) => prop_assert!(bytes.is_empty(), "{:?}", packet),
        }
    }

    #[test]
    fn a_publish_header_and_its_payload_are_the_packet(
        topic in topic_name(),
        properties in properties(PropertySet::FORWARDABLE),
        choices in (any::<[bool; 3]>(), 0_u8..3, 1..=u16::MAX, any::<u32>(), any::<bool>()),
        identifiers in vec(1_u32..300_000, 0..3),
        payload in vec(any::<u8>(), 0..200),
        version in version(),
    ) {
        let (bits, qos, number, expiry, has_alias) = choices;
        let qos = QoS::try_from(qos).unwrap();
        let number = NonZeroU16::new(number).unwrap();
        let identifiers: Vec<_> =
            identifiers.into_iter().filter_map(SubscriptionIdentifier::new).collect();
        let header = PublishHeader {
            dup: bits[0] && qos > QoS::AtMostOnce,
            qos,
            retain: bits[1],
            topic: Some(TopicName::new(&topic).unwrap()),
            packet_identifier: (qos > QoS::AtMostOnce).then_some(number),
            topic_alias: has_alias.then_some(number),
            message_expiry_interval: bits[2].then_some(expiry),
            subscription_identifiers: &identifiers,
            forwarded: Properties::parse(&properties, PropertySet::FORWARDABLE).unwrap(),
        };
        let mut bytes = Vec::new();
        let layout = header.encode(version, payload.len(), &mut bytes).unwrap();
        prop_assert_eq!(layout.header_bytes, bytes.len());
        bytes.extend_from_slice(&payload);
        prop_assert_eq!(header.packet_bytes(version, payload.len()), Ok(bytes.len()));

        let (packet, _) = decode(&bytes, version, u32::MAX).unwrap().unwrap();
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        check_publish(&publish, &header, version, &payload);
        if let Some(at) = layout.packet_identifier_at {
            prop_assert_eq!(&bytes[at..at + 2], number.get().to_be_bytes());
        }
    }

    #[test]
    fn only_forwardable_properties_are_copied(bytes in properties(PropertySet::PUBLISH)) {
        let all = Properties::parse(&bytes, PropertySet::PUBLISH).unwrap();
        let mut copied = Vec::new();
        prop_assert_eq!(all.copy_forwardable(&mut copied), Ok(copied.len()));
        let forwarded = Properties::parse(&copied, PropertySet::FORWARDABLE).unwrap();
        let expected: Vec<_> = all
            .iter()
            .filter(|property| PropertySet::FORWARDABLE.contains(property.identifier()))
            .collect();
        prop_assert_eq!(forwarded.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_filter_without_wildcards_matches_itself_only(one in topic_name(), other in topic_name()) {
        let filter = TopicFilter::new(&one);
        prop_assume!(filter.is_ok_and(|filter| !filter.is_shared()));
        let filter = filter.unwrap();
        prop_assert!(filter.matches(TopicName::new(&one).unwrap()));
        prop_assert_eq!(filter.matches(TopicName::new(&other).unwrap()), one == other);
    }

    #[test]
    fn matching_is_what_the_specification_says(filter in topic_filter(), name in topic_name()) {
        let filter = TopicFilter::new(&filter).unwrap();
        let expected = matches_by_definition(filter.pattern(), &name);
        prop_assert_eq!(filter.matches(TopicName::new(&name).unwrap()), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn random_bytes_never_panic(
        first_byte in any::<u8>(),
        body in vec(any::<u8>(), 0..60),
        version in version(),
    ) {
        // With a right length, so that fields are reached.
        let mut bytes = vec![first_byte, body.len() as u8];
        bytes.extend_from_slice(&body);
        use_up(&bytes, version);
        use_up(&body, version);
    }

    #[test]
    fn random_text_is_never_half_a_topic(text in "[a/+#$\u{0}sh re]{0,12}") {
        let name = TopicName::new(&text);
        let filter = TopicFilter::new(&text);
        if let Ok(name) = name {
            prop_assert!(!text.is_empty() && !text.contains(['+', '#', '\0']));
            prop_assert_eq!(name.levels().collect::<Vec<_>>().join("/"), text.clone());
        }
        if let Ok(filter) = filter {
            prop_assert_eq!(filter.is_shared(), filter.group().is_some());
            let whole = match filter.group() {
                Some(group) => format!("$share/{group}/{}", filter.pattern()),
                None => filter.pattern().to_owned(),
            };
            prop_assert_eq!(whole, text);
        }
    }
}

#[test]
fn every_corpus_packet_with_one_byte_changed_is_decided_without_panic() {
    for case in corpus_file::cases() {
        assert_eq!(
            decode(&case.bytes, case.version, u32::MAX).is_ok(),
            case.is_valid
        );
        for at in 0..case.bytes.len() {
            for byte in [
                0,
                1,
                2,
                0x7F,
                0x80,
                0xFF,
                case.bytes[at] ^ 1,
                case.bytes[at] ^ 0x80,
            ] {
                let mut bytes = case.bytes.clone();
                bytes[at] = byte;
                use_up(&bytes, case.version);
            }
        }
    }
}

#[test]
fn a_header_without_topic_and_alias_is_refused_before_the_first_byte() {
    let header = PublishHeader {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: None,
        packet_identifier: None,
        topic_alias: NonZeroU16::new(1),
        message_expiry_interval: None,
        subscription_identifiers: &[],
        forwarded: Properties::EMPTY,
    };
    assert_eq!(header.packet_bytes(Version::V5, 0), Ok(8));
    assert_eq!(
        header.packet_bytes(Version::V311, 0),
        Err(InvalidPacket::TopicMissing)
    );
    let mut bytes = Vec::new();
    header.encode(Version::V311, 0, &mut bytes).unwrap_err();
    assert!(bytes.is_empty());
}

fn check_publish(
    publish: &Publish<'_>,
    header: &PublishHeader<'_>,
    version: Version,
    payload: &[u8],
) {
    assert_eq!(publish.dup, header.dup);
    assert_eq!(publish.qos, header.qos);
    assert_eq!(publish.retain, header.retain);
    assert_eq!(publish.topic, header.topic);
    assert_eq!(publish.packet_identifier, header.packet_identifier);
    assert_eq!(publish.payload, payload);
    if version < Version::V5 {
        assert!(publish.properties.is_empty());
        return;
    }
    let properties = publish.properties;
    assert_eq!(properties.topic_alias(), header.topic_alias);
    assert_eq!(
        properties.message_expiry_interval(),
        header.message_expiry_interval
    );
    let identifiers: Vec<_> = properties.subscription_identifiers().collect();
    assert_eq!(identifiers, header.subscription_identifiers);
    let mut forwarded = Vec::new();
    properties.copy_forwardable(&mut forwarded).unwrap();
    assert_eq!(forwarded, header.forwarded.as_bytes());
}

/// Section 4.7 of the specification, recursively and without regard to cost.
fn matches_by_definition(pattern: &str, name: &str) -> bool {
    fn levels_match(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            (["#"], _) => true,
            ([], []) => true,
            (["+", pattern @ ..], [_, name @ ..]) => levels_match(pattern, name),
            ([level, pattern @ ..], [found, name @ ..]) if level == found => {
                levels_match(pattern, name)
            }
            _ => false,
        }
    }
    if name.starts_with('$') && pattern.starts_with(['+', '#']) {
        return false;
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    levels_match(&pattern, &name)
}
