//! 1.5 data types, 2 packet format, 4.13 errors: what is no packet closes the connection, with the
//! reason in MQTT 5, and has no effect.

use wire::mqtt::{Connack, Packet, ReasonCode, Version};

use ReasonCode::{MalformedPacket, ProtocolError, TopicAliasInvalid};

use crate::world::*;

/// Statements, bytes that break them, and what the client of MQTT 5 is told.
type Row = (&'static str, &'static [u8], ReasonCode);

/// Sends each row from a connected client.
fn refuse_each(version: Version, rows: &[Row]) {
    for &(statements, bytes, reason_code) in rows {
        println!("{statements} {version} {bytes:02x?}");
        let mut world = World::new();
        let witness = world.join(&hello(V5, "witness"));
        world.subscribe(witness, "#", 0);
        let client = world.join(&hello(version, "a"));
        world.send_bytes(client, bytes);
        // What follows is not looked at either.
        world.send_bytes(client, b"\x30\x05\0\x01t\0x");
        world.expect_disconnect(client, reason_code);
        assert!(world.connection(client).peer_error().is_some());
        world.expect_nothing(witness);
    }
}

#[test]
fn data_types_are_checked() {
    refuse_each(
        V5,
        &[
            // A surrogate, an overlong form, and bytes that are no UTF-8 in a filter.
            (
                "[MQTT-1.5.4-1]",
                b"\x30\x06\0\x03\xED\xA0\x80\0",
                MalformedPacket,
            ),
            (
                "[MQTT-1.5.4-1]",
                b"\x30\x05\0\x02\xC0\xAF\0",
                MalformedPacket,
            ),
            (
                "[MQTT-1.5.4-1]",
                b"\x82\x07\0\x01\0\0\x01\xFF\0",
                MalformedPacket,
            ),
            ("[MQTT-1.5.4-2]", b"\x30\x06\0\x03a\0b\0", MalformedPacket),
            (
                "[MQTT-1.5.4-2]",
                b"\x30\x0B\0\x01t\x07\x03\0\x04a\0bc",
                MalformedPacket,
            ),
            // The remaining length and the property length, each in two bytes instead of one.
            ("[MQTT-1.5.5-1]", b"\xC0\x80\0", MalformedPacket),
            ("[MQTT-1.5.5-1]", b"\x30\x05\0\x01t\x80\0", MalformedPacket),
            ("[MQTT-1.5.5-1]", b"\x30\xFF\xFF\xFF\xFF", MalformedPacket),
            // The name, then the value of a user property.
            (
                "[MQTT-1.5.7-1]",
                b"\x30\x0B\0\x01t\x07\x26\0\x01\xFF\0\x01v",
                MalformedPacket,
            ),
            (
                "[MQTT-1.5.7-1]",
                b"\x30\x0B\0\x01t\x07\x26\0\x01k\0\x01\xFF",
                MalformedPacket,
            ),
        ],
    );
}

#[test]
fn reserved_flags_are_checked_in_every_packet() {
    let rows: &[Row] = &[
        ("[MQTT-2.1.3-1]", b"\x41\x02\0\x01", MalformedPacket),
        ("[MQTT-2.1.3-1]", b"\x52\x02\0\x01", MalformedPacket),
        ("[MQTT-3.6.1-1]", b"\x60\x02\0\x01", MalformedPacket),
        ("[MQTT-3.6.1-1]", b"\x6A\x02\0\x01", MalformedPacket),
        ("[MQTT-2.1.3-1]", b"\x74\x02\0\x01", MalformedPacket),
        (
            "[MQTT-3.8.1-1]",
            b"\x80\x06\0\x01\0\x01t\0",
            MalformedPacket,
        ),
        ("[MQTT-3.10.1-1]", b"\xA0\x05\0\x01\0\x01t", MalformedPacket),
        ("[MQTT-2.1.3-1]", b"\xC8\x00", MalformedPacket),
        ("[MQTT-3.14.1-1]", b"\xE1\x00", MalformedPacket),
    ];
    refuse_each(V5, rows);
    refuse_each(V311, rows);
}

#[test]
fn publish_is_checked() {
    let rows: &[Row] = &[
        ("[MQTT-3.3.1-2]", b"\x38\x04\0\x01t\0", MalformedPacket),
        (
            "[MQTT-3.3.1-4]",
            b"\x36\x06\0\x01t\0\x01\0",
            MalformedPacket,
        ),
        ("[MQTT-3.3.2-1]", b"\x30\x04\0\x01\xFF\0", MalformedPacket),
        (
            "[MQTT-3.3.2-2] [MQTT-4.7.0-1]",
            b"\x30\x04\0\x01#\0",
            MalformedPacket,
        ),
        (
            "[MQTT-3.3.2-2] [MQTT-4.7.0-1]",
            b"\x30\x06\0\x03a/+\0",
            MalformedPacket,
        ),
        ("[MQTT-4.7.3-2]", b"\x30\x05\0\x02t\0\0", MalformedPacket),
        // No packet identifier where one belongs, or zero.
        ("[MQTT-2.2.1-3]", b"\x32\x06\0\x01t\0\0\0", ProtocolError),
        ("[MQTT-2.2.1-3]", b"\x34\x06\0\x01t\0\0\0", ProtocolError),
    ];
    refuse_each(V5, rows);
    refuse_each(V311, rows);
    refuse_each(
        V5,
        &[
            // Neither a topic name nor an alias.
            ("[MQTT-4.7.3-1]", b"\x30\x03\0\0\0", ProtocolError),
            (
                "[MQTT-3.3.2-8]",
                b"\x30\x07\0\x01t\x03\x23\0\0",
                TopicAliasInvalid,
            ),
            (
                "[MQTT-3.3.2-13]",
                b"\x30\x08\0\x01t\x04\x08\0\x01\xFF",
                MalformedPacket,
            ),
            (
                "[MQTT-3.3.2-14]",
                b"\x30\x08\0\x01t\x04\x08\0\x01+",
                MalformedPacket,
            ),
            (
                "[MQTT-3.3.2-14]",
                b"\x30\x0A\0\x01t\x06\x08\0\x03a/#",
                MalformedPacket,
            ),
            (
                "[MQTT-3.3.2-19]",
                b"\x30\x08\0\x01t\x04\x03\0\x01\xFF",
                MalformedPacket,
            ),
            (
                "[MQTT-3.3.4-6]",
                b"\x30\x06\0\x01t\x02\x0B\x01",
                ProtocolError,
            ),
            // A property twice that may stand once; one that belongs elsewhere.
            (
                "[MQTT-4.13.1-1]",
                b"\x30\x08\0\x01t\x04\x01\0\x01\0",
                ProtocolError,
            ),
            (
                "[MQTT-4.13.1-1]",
                b"\x30\x07\0\x01t\x03\x21\0\x01",
                MalformedPacket,
            ),
        ],
    );
    refuse_each(V311, &[("[MQTT-4.7.3-1]", b"\x30\x02\0\0", ProtocolError)]);
}

#[test]
fn answers_of_clients_are_checked() {
    refuse_each(
        V5,
        &[
            ("[MQTT-3.4.2-1]", b"\x40\x03\0\x01\x01", ProtocolError),
            ("[MQTT-3.5.2-1]", b"\x50\x03\0\x01\x92", ProtocolError),
            ("[MQTT-3.6.2-1]", b"\x62\x03\0\x01\x10", ProtocolError),
            ("[MQTT-3.7.2-1]", b"\x70\x03\0\x01\x80", ProtocolError),
            ("[MQTT-3.14.2-1]", b"\xE0\x01\x01", ProtocolError),
            ("[MQTT-2.2.1-5]", b"\x40\x02\0\0", ProtocolError),
        ],
    );
}

#[test]
fn subscribe_and_unsubscribe_are_checked() {
    refuse_each(
        V5,
        &[
            (
                "[MQTT-3.8.3-1]",
                b"\x82\x07\0\x01\0\0\x01\xFF\0",
                MalformedPacket,
            ),
            ("[MQTT-3.8.3-2]", b"\x82\x03\0\x01\0", ProtocolError),
            // No Local on a shared subscription, reserved bits, QoS 3, retain handling 3.
            (
                "[MQTT-3.8.3-4]",
                b"\x82\x10\0\x01\0\0\x0A$share/g/t\x04",
                ProtocolError,
            ),
            (
                "[MQTT-3.8.3-5]",
                b"\x82\x07\0\x01\0\0\x01t\x40",
                MalformedPacket,
            ),
            (
                "[MQTT-3.8.3-5]",
                b"\x82\x07\0\x01\0\0\x01t\x80",
                MalformedPacket,
            ),
            (
                "[MQTT-3.8.3-5]",
                b"\x82\x07\0\x01\0\0\x01t\x03",
                MalformedPacket,
            ),
            (
                "[MQTT-4.13.1-1]",
                b"\x82\x07\0\x01\0\0\x01t\x30",
                ProtocolError,
            ),
            (
                "[MQTT-3.10.3-1]",
                b"\xA2\x06\0\x01\0\0\x01\xFF",
                MalformedPacket,
            ),
            ("[MQTT-3.10.3-2]", b"\xA2\x03\0\x01\0", ProtocolError),
            (
                "[MQTT-4.7.1-1]",
                b"\x82\x0B\0\x01\0\0\x05a/#/b\0",
                MalformedPacket,
            ),
            (
                "[MQTT-4.7.1-1]",
                b"\x82\x08\0\x01\0\0\x02a#\0",
                MalformedPacket,
            ),
            (
                "[MQTT-4.7.1-2]",
                b"\x82\x08\0\x01\0\0\x02a+\0",
                MalformedPacket,
            ),
            (
                "[MQTT-4.7.1-2]",
                b"\xA2\x09\0\x01\0\0\x04+a/b",
                MalformedPacket,
            ),
            ("[MQTT-4.7.3-1]", b"\x82\x06\0\x01\0\0\0\0", MalformedPacket),
            (
                "[MQTT-4.7.3-2]",
                b"\x82\x08\0\x01\0\0\x02t\0\0",
                MalformedPacket,
            ),
            ("[MQTT-2.2.1-3]", b"\x82\x07\0\0\0\0\x01t\0", ProtocolError),
            ("[MQTT-2.2.1-3]", b"\xA2\x06\0\0\0\0\x01t", ProtocolError),
        ],
    );
    refuse_each(
        V311,
        &[
            ("[MQTT-3.8.3-2]", b"\x82\x02\0\x01", ProtocolError),
            // The options of MQTT 5 are reserved bits.
            (
                "[MQTT-3.8.3-5]",
                b"\x82\x06\0\x01\0\x01t\x04",
                MalformedPacket,
            ),
            ("[MQTT-3.10.3-2]", b"\xA2\x02\0\x01", ProtocolError),
        ],
    );
}

/// A CONNECT with these flags, and `rest` behind the properties.
fn connect(version: Version, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend([version.protocol_level(), flags, 0, 60]);
    if version == V5 {
        body.push(0);
    }
    body.extend(rest);
    [&[0x10, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

/// [MQTT-3.1.4-1] [MQTT-3.1.4-6] [MQTT-3.2.2-6] [MQTT-3.2.2-7]
#[test]
fn connect_is_checked() {
    // Flags: 0x02 clean start, 0x04 will, 0x08 and 0x10 its QoS, 0x20 its retain, 0x40 password,
    // 0x80 user name. In MQTT 5 a will begins with its properties.
    let rows: &[(&str, u8, &[u8])] = &[
        ("[MQTT-3.1.2-3]", 0x03, b"\0\x01a"),
        ("[MQTT-3.1.2-9]", 0x06, b"\0\x01a"),
        ("[MQTT-3.1.2-9]", 0x06, b"\0\x01a\0\0\x01w"),
        ("[MQTT-3.1.2-11]", 0x0A, b"\0\x01a"),
        ("[MQTT-3.1.2-12]", 0x1E, b"\0\x01a\0\0\x01w\0\0"),
        ("[MQTT-3.1.2-13]", 0x22, b"\0\x01a"),
        ("[MQTT-3.1.2-16]", 0x02, b"\0\x01a\0\x01u"),
        ("[MQTT-3.1.2-17]", 0x82, b"\0\x01a"),
        ("[MQTT-3.1.2-18]", 0x82, b"\0\x01a\0\x01u\0\x01p"),
        ("[MQTT-3.1.2-19]", 0xC2, b"\0\x01a\0\x01u"),
        ("[MQTT-3.1.3-3]", 0x02, b""),
        ("[MQTT-3.1.3-4]", 0x02, b"\0\x01\xFF"),
        ("[MQTT-3.1.3-4] [MQTT-1.5.4-2]", 0x02, b"\0\x02a\0"),
        ("[MQTT-3.1.3-11]", 0x06, b"\0\x01a\0\0\x01\xFF\0\0"),
        ("[MQTT-3.1.3-12]", 0x82, b"\0\x01a\0\x01\xFF"),
    ];
    for version in [V311, V5] {
        for &(statements, flags, rest) in rows {
            println!("{statements} {version} {rest:02x?}");
            let mut world = World::new();
            let witness = world.join(&hello(V5, "witness"));
            world.subscribe(witness, "#", 0);
            let client = world.open(version);
            let mut bytes = connect(version, flags, rest);
            // Nothing that follows is looked at.
            bytes.extend(b"\x30\x05\0\x01t\0x");
            world.send_bytes(client, &bytes);
            if version == V5 {
                world.expect(client, &refusal(MalformedPacket));
            }
            world.expect_closed(client);
            world.expect_nothing(witness);
            assert_eq!(world.broker.session_count(), 1);
        }
    }
}

/// [MQTT-3.1.4-1] [MQTT-4.13.1-1]
#[test]
fn properties_of_connect_are_checked() {
    let rows: &[(&[u8], ReasonCode)] = &[
        // Receive maximum 0 and maximum packet size 0, flags that are neither 0 nor 1.
        (b"\x21\0\0", ProtocolError),
        (b"\x27\0\0\0\0", ProtocolError),
        (b"\x17\x02", ProtocolError),
        (b"\x19\x02", ProtocolError),
        // Twice, of another packet, unknown, cut off, data without a method.
        (b"\x21\0\x09\x21\0\x09", ProtocolError),
        (b"\x23\0\x01", MalformedPacket),
        (b"\x7F\0", MalformedPacket),
        (b"\x21\0", MalformedPacket),
        (b"\x16\0\x01x", ProtocolError),
        (b"\x26\0\x01\xFF\0\x01v", MalformedPacket),
    ];
    for &(properties, reason_code) in rows {
        let mut world = World::new();
        let client = world.open(V5);
        let mut body = b"\0\x04MQTT\x05\x02\0\0".to_vec();
        body.push(properties.len() as u8);
        body.extend([properties, b"\0\x01a"].concat());
        world.send_bytes(
            client,
            &[&[0x10, body.len() as u8], body.as_slice()].concat(),
        );
        world.expect(client, &refusal(reason_code));
        world.expect_closed(client);
    }
}

fn refusal(reason_code: ReasonCode) -> Packet<'static> {
    Packet::Connack(Connack {
        session_present: false,
        reason_code,
        properties: wire::mqtt::property::Properties::EMPTY,
    })
}

/// [MQTT-3.1.3-1] [MQTT-3.1.2-7] [MQTT-3.1.2-9]: the fields are read in their order, and each is
/// what it is.
#[test]
fn connect_with_everything_is_read_in_its_order() {
    let mut world = World::new();
    let watcher = world.join(&hello(V5, "watcher"));
    world.subscribe(watcher, "#", 2);
    let client = world.open(V5);
    let will_properties = b"\x0E\x03\0\x01c\x26\0\x01k\0\x01v\x01\x01\x18";
    let will_properties = [&will_properties[..], &[0, 0, 0, 0]].concat();
    // One byte of length, then content type, user property, format indicator, delay.
    let mut rest = b"\0\x02id".to_vec();
    rest.push(u8::try_from(will_properties.len() - 1).unwrap());
    rest.extend(&will_properties[1..]);
    rest.extend(b"\0\x01w\0\x04gone\0\x04user\0\x02\xFF\0");
    world.send_bytes(client, &connect(V5, 0xD6, &rest));
    assert_eq!(world.next_packet(client).unwrap()[3], 0);
    world.cut(client);
    let found = world.next_message(watcher).unwrap();
    assert_eq!(
        (found.topic.as_str(), found.payload.as_str()),
        ("w", "gone")
    );
    assert_eq!((found.qos, found.retain), (2, false));
    assert_eq!(found.properties, b"\x03\0\x01c\x26\0\x01k\0\x01v\x01\x01");
}

/// [MQTT-1.5.4-3]: U+FEFF is a character like others, in names and in filters.
#[test]
fn a_byte_order_mark_is_part_of_its_string() {
    for version in [V311, V5] {
        let mut world = World::new();
        let marked = world.join(&hello(version, "\u{feff}a"));
        let plain = world.join(&hello(version, "a"));
        // Two clients, not one that was taken over.
        assert_eq!(world.broker.session_count(), 2);
        world.subscribe(marked, "\u{feff}t", 0);
        world.subscribe(plain, "t", 0);
        world.publish(plain, &message("\u{feff}t", "\u{feff}x", 0));
        world.expect_publish(marked, &message("\u{feff}t", "\u{feff}x", 0));
        world.expect_nothing(plain);
    }
}

/// [MQTT-2.2.2-1] [MQTT-2.2.1-2] [MQTT-2.2.1-6] [MQTT-1.5.5-1]
#[test]
fn packets_of_the_server_have_their_exact_bytes() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    world.send_bytes(client, b"\x82\x07\xAB\xCD\0\0\x01t\x02");
    world.expect_bytes(client, b"\x90\x04\xAB\xCD\0\x02");
    world.send_bytes(client, b"\x30\x05\0\x01t\0x");
    world.expect_bytes(client, b"\x30\x05\0\x01t\0x");
    world.send_bytes(client, b"\x34\x07\0\x01t\x12\x34\0x");
    world.expect_bytes(client, b"\x50\x02\x12\x34");
    world.expect_bytes(client, b"\x34\x07\0\x01t\0\x01\0x");
    world.send_bytes(client, b"\x62\x02\x12\x34\x50\x02\0\x01");
    world.expect_bytes(client, b"\x70\x02\x12\x34");
    world.expect_bytes(client, b"\x62\x02\0\x01");
    world.send_bytes(client, b"\xA2\x06\xAB\xCE\0\0\x01t\xC0\0");
    // The pong does not go through the broker.
    world.expect_bytes(client, b"\xD0\0");
    world.expect_bytes(client, b"\xB0\x04\xAB\xCE\0\0");

    let old = world.join(&hello(V311, "old"));
    world.send_bytes(old, b"\x82\x06\xAB\xCD\0\x01t\x02");
    world.expect_bytes(old, b"\x90\x03\xAB\xCD\x02");
    world.send_bytes(old, b"\x30\x04\0\x01tx");
    world.expect_bytes(old, b"\x30\x04\0\x01tx");
    world.send_bytes(old, b"\xA2\x05\xAB\xCE\0\x01t");
    world.expect_bytes(old, b"\xB0\x02\xAB\xCE");
}
