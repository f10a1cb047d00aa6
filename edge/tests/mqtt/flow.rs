//! 3.3.4 and 4.9 receive maximum and flow control towards a client.

use wire::mqtt::{Acknowledgement, Packet, ReasonCode};

use crate::world::*;

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn no_more_is_sent_than_the_client_takes() {
    for durable in [true, false] {
        for limit in [1, 2, 5] {
            let mut world = World::new();
            let hello_r = hello(V5, "r").window(limit);
            let reader = world.join(&if durable { hello_r.durable() } else { hello_r });
            world.subscribe(reader, "t", 2);
            let writer = world.join(&hello(V5, "w"));
            for id in 1..=12 {
                world.publish(
                    writer,
                    &message("t", &id.to_string(), 1 + (id % 2) as u8).id(id),
                );
            }
            let mut unanswered = Vec::new();
            let (mut arrived, mut most) = (0, 0);
            while arrived < 12 {
                while let Some(found) = world.next_message(reader) {
                    unanswered.push(found);
                    arrived += 1;
                }
                assert!(unanswered.len() <= usize::from(limit));
                assert!(!unanswered.is_empty(), "{arrived} arrived");
                most = most.max(unanswered.len());
                let found = unanswered.remove(0);
                if found.qos == 1 {
                    world.puback(reader, found.packet_identifier);
                    continue;
                }
                // Half of an exchange makes no room.
                world.pubrec(reader, found.packet_identifier);
                world.expect_pubrel(reader, found.packet_identifier);
                world.expect_nothing(reader);
                world.pubcomp(reader, found.packet_identifier);
            }
            assert_eq!(most, usize::from(limit));
        }
    }
}

/// A refusal of the client ends the exchange as well. [MQTT-4.4.0-2] [MQTT-3.3.4-9]
#[test]
fn a_refused_message_makes_room() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable().window(1));
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    for id in 1..=3 {
        world.publish(
            writer,
            &message("t", &id.to_string(), 1 + (id % 2) as u8).id(id),
        );
    }
    for number in 1..=3 {
        let found = world.next_message(reader).unwrap();
        assert_eq!(found.payload, number.to_string());
        let packet_identifier = found.packet_identifier.try_into().unwrap();
        let answer = Acknowledgement::with_reason(packet_identifier, ReasonCode::NotAuthorized);
        world.send(
            reader,
            &if found.qos == 1 {
                Packet::Puback(answer)
            } else {
                Packet::Pubrec(answer)
            },
        );
    }
    world.expect_nothing(reader);
    world.cut(reader);
    let reader = world.rejoin(&hello(V5, "r").durable());
    world.expect_nothing(reader);
}

/// [MQTT-3.3.4-10] [MQTT-4.9.0-3]
#[test]
fn everything_else_goes_on_while_nothing_more_may_be_sent() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable().window(1));
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    for id in 1..=3 {
        world.publish(writer, &message("t", &id.to_string(), 1).id(id));
    }
    world.expect_publish(reader, &message("t", "1", 1).id(1));
    world.expect_nothing(reader);
    world.subscribe(reader, "u", 1);
    world.publish(reader, &message("v", "1", 2).id(9));
    let answer = world.next_packet(reader).unwrap();
    assert_eq!((answer[0], &answer[2..4]), (0x50, &[0, 9][..]));
    world.pubrel(reader, 9);
    world.expect_pubcomp(reader, 9);
    world.publish(reader, &message("v", "1", 1).id(10));
    assert_eq!(world.next_packet(reader).unwrap()[0], 0x40);
    world.unsubscribe(reader, "u");
    world.next_unsuback(reader);
    world.send(reader, &Packet::Pingreq);
    world.expect(reader, &Packet::Pingresp);
    // QoS 0 has no quota.
    world.publish(writer, &message("t", "4", 0));
    world.expect_publish(reader, &message("t", "4", 0));
    world.expect_nothing(reader);
}

/// The quota belongs to the connection, and what is repeated counts. [MQTT-4.9.0-1]
#[test]
fn the_quota_begins_anew_with_each_connection() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable().window(3));
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    for id in 1..=6 {
        world.publish(writer, &message("t", &id.to_string(), 1).id(id));
    }
    for id in 1..=3 {
        world.expect_publish(reader, &message("t", &id.to_string(), 1).id(id));
    }
    world.expect_nothing(reader);
    world.cut(reader);
    let reader = world.rejoin(&hello(V5, "r").durable().window(4));
    for id in 1..=3 {
        world.expect_publish(reader, &message("t", &id.to_string(), 1).id(id).again());
    }
    assert_eq!(world.next_message(reader).unwrap().payload, "4");
    world.expect_nothing(reader);
}
