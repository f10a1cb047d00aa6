//! 3.1.2.11.6 and 3.1.2.11.7 what a client asks for beside the packets: response information and
//! problem information; reason strings in every packet that has them.

use edge::broker::Settings;
use edge::mqtt;
use wire::mqtt::property::Property;
use wire::mqtt::{PacketType, ReasonCode, Subscription, decode};
use wire::topic::TopicFilter;

use crate::world::*;

/// Makes the server refuse something in every packet that can say so, to a client that said this;
/// gives the packets.
fn refusals(with: &[Property<'_>]) -> Vec<Vec<u8>> {
    let settings = Settings {
        session_count_maximum: 2,
        filter_level_maximum: 2,
        routes: vec!["up".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = world.join(&hello(V5, "a").durable().with(with));
    world.subscribe(client, "t", 1);
    let deep = Subscription::new(TopicFilter::new("a/b/c").unwrap(), qos_of(1));
    world.subscribe_with(client, &[deep], &[]);
    world.commits = Commits::Fail;
    world.unsubscribe(client, "t");
    world.publish(client, &message("up", "1", 1).id(1));
    world.publish(client, &message("up", "1", 2).id(2));
    world.commits = Commits::Succeed;
    // Names nothing, in both directions.
    world.pubrec(client, 9);
    world.pubrel(client, 9);
    world.send_bytes(client, &[0]);
    world.join(&hello(V5, "b"));
    let refused = world.say_hello(&hello(V5, "c").with(with));
    let mut packets = Vec::new();
    for client in [client, refused] {
        assert!(world.is_closed(client));
        while let Some(packet) = world.next_packet(client) {
            packets.push(packet);
        }
    }
    packets
}

/// The type of a packet, its reason string, and whether it has user properties.
fn words_of(bytes: &[u8]) -> (PacketType, Option<String>) {
    let mut packet = decode(bytes, V5, u32::MAX).unwrap().unwrap().0;
    let packet_type = packet.packet_type();
    let properties = properties_in(&mut packet).unwrap();
    assert!(properties.user_properties().next().is_none());
    (packet_type, properties.reason_string().map(str::to_owned))
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2] [MQTT-3.11.3-2]
/// [MQTT-3.14.2-1] [MQTT-3.2.2-8]: decoding checks the reason codes.
#[test]
fn refusals_come_with_words() {
    let found: Vec<_> = refusals(&[]).iter().map(|it| words_of(it)).collect();
    let words = |text: &str| Some(text.to_owned());
    let full = || words("log is full");
    let expected = [
        (
            PacketType::Suback,
            words("topic filter is longer or has more levels than the limit"),
        ),
        (PacketType::Unsuback, full()),
        (PacketType::Puback, full()),
        (PacketType::Pubrec, full()),
        (PacketType::Pubrel, None),
        (PacketType::Pubcomp, None),
        (
            PacketType::Disconnect,
            words("packet type 0 does not exist in this version"),
        ),
        (
            PacketType::Connack,
            words("no session is left below the limit"),
        ),
    ];
    assert_eq!(found, expected);
}

/// [MQTT-3.1.2-29]: nor in CONNACK and DISCONNECT, where they would be allowed.
#[test]
fn a_client_that_wants_no_problem_information_gets_no_words() {
    let none = refusals(&[Property::RequestProblemInformation(false)]);
    assert_eq!(none.len(), 8);
    for packet in none {
        assert_eq!(words_of(&packet).1, None);
    }
    let some = refusals(&[Property::RequestProblemInformation(true)]);
    assert!(some.iter().any(|packet| words_of(packet).1.is_some()));
}

/// The user properties and reason strings of messages and clients go on or end here; none is ever
/// added by the server. [MQTT-3.2.2-20] [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.6.2-3]
/// [MQTT-3.7.2-3] [MQTT-3.9.2-2] [MQTT-3.11.2-2] [MQTT-3.14.2-4] for user properties;
/// [MQTT-3.2.2-19] [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2] [MQTT-3.9.2-1]
/// [MQTT-3.11.2-1] [MQTT-3.14.2-3] for reason strings.
#[test]
fn words_are_left_out_where_they_would_make_a_packet_too_large() {
    let lengths: Vec<_> = refusals(&[]).iter().map(Vec::len).collect();
    let bare = refusals(&[Property::RequestProblemInformation(false)]);
    // The CONNACK of a success needs more than 20.
    for limit in 20..120 {
        let size = [Property::MaximumPacketSize(limit.try_into().unwrap())];
        let found = refusals(&size);
        assert_eq!(found.len(), 8, "none is lost");
        for ((packet, full), bare) in found.iter().zip(&lengths).zip(&bare) {
            let has_words = words_of(packet).1.is_some();
            let is_larger = *full > bare.len();
            assert_eq!(has_words, is_larger && *full <= limit as usize);
            if !has_words {
                assert_eq!(packet, bare);
            }
        }
    }
}

#[test]
fn a_broken_connect_is_answered_with_words() {
    let mut world = World::new();
    let client = world.open(V5);
    world.send_bytes(client, b"\x10\x0F\0\x04MQTT\x05\x03\0\x3C\0\0\x02c1");
    let words = "connect flags 0b00000011 are reserved or contradict each other";
    assert_eq!(world.next_words(client).as_deref(), Some(words));
    world.expect_closed(client);
    // Too large, which its header says.
    let client = world.open(V5);
    world.send_bytes(client, b"\x10\xFF\xFF\xFF\x7F\0\x04MQTT\x05");
    let code = world.look_at_connack(client, |it| it.reason_code);
    assert_eq!(code, ReasonCode::PacketTooLarge);
    world.expect_closed(client);
}

/// [MQTT-3.1.2-28]
#[test]
fn response_information_is_for_those_who_ask() {
    let mut world = World::new();
    let ask = |wanted| [Property::RequestResponseInformation(wanted)];
    for (hello, expected) in [
        (hello(V5, "a"), None),
        (hello(V5, "a").with(&ask(false)), None),
        (hello(V5, "a").with(&ask(true)), Some("response/a")),
        // No topic could be made of it.
        (hello(V5, "a/#").with(&ask(true)), None),
    ] {
        let client = world.say_hello(&hello);
        world.look_at_connack(client, |connack| {
            assert_eq!(connack.properties.response_information(), expected);
        });
    }
    let size = [Property::MaximumPacketSize(25.try_into().unwrap())];
    let client = world.say_hello(&hello(V5, "b").with(&ask(true)).with(&size));
    world.look_at_connack(client, |connack| {
        assert_eq!(connack.properties.response_information(), None);
    });
}
