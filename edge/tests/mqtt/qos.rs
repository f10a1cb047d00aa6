//! 4.3 QoS 1 and 2, both ways, over crashes at every point.

use edge::broker::Settings;
use edge::mqtt;
use sync::{Lane, Table};
use wire::mqtt::{Acknowledgement, Packet, ReasonCode};

use crate::world::*;

fn not_found(packet_identifier: u16) -> Acknowledgement<'static> {
    let reason_code = ReasonCode::PacketIdentifierNotFound;
    Acknowledgement::with_reason(packet_identifier.try_into().unwrap(), reason_code)
}

fn routed() -> World {
    let settings = Settings {
        routes: vec!["#".into()],
        ..Settings::default()
    };
    World::with(settings, mqtt::Settings::default())
}

/// [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]
#[test]
fn inbound_qos2_is_stored_once() {
    for version in [V311, V5] {
        for hello_a in [hello(version, "a"), hello(version, "a").durable()] {
            let mut world = routed();
            let client = world.join(&hello_a);
            let sent = message("t", "1", 2).id(7);
            world.publish(client, &sent);
            world.expect_pubrec(client, 7);
            world.publish(client, &sent.clone().again());
            world.expect_pubrec(client, 7);
            world.pubrel(client, 7);
            world.expect_pubcomp(client, 7);
            world.pubrel(client, 7);
            match version {
                V5 => world.expect(client, &Packet::Pubcomp(not_found(7))),
                _ => world.expect_pubcomp(client, 7),
            }
            assert_eq!(world.log_len(Lane::Normal), 1);
            assert_eq!(world.table(Table::Handshakes), 0);
            // The packet identifier is free again.
            world.publish(client, &sent);
            world.expect_pubrec(client, 7);
            assert_eq!(world.log_len(Lane::Normal), 2);
        }
    }
}

/// [MQTT-4.3.3-10]
#[test]
fn a_repeat_while_the_commit_waits_is_not_stored() {
    let mut world = routed();
    let client = world.join(&hello(V5, "a"));
    world.commits = Commits::Wait;
    for _ in 0..3 {
        world.publish(client, &message("t", "1", 2).id(7));
    }
    world.finish_commits(9);
    world.expect_pubrec(client, 7);
    world.expect_nothing(client);
    assert_eq!(world.log_len(Lane::Normal), 1);
}

/// A device that forgets its packet identifiers with its power, and keeps its session: its next
/// message was answered as if it were the one before, and was nowhere.
#[test]
fn a_packet_identifier_that_an_earlier_connection_left_may_mean_another_message() {
    for version in [V311, V5] {
        for crashes in [false, true] {
            let hello_a = hello(version, "a").durable();
            let mut world = routed();
            let client = world.join(&hello_a);
            world.publish(client, &message("t", "1", 2).id(7));
            world.expect_pubrec(client, 7);
            world.cut(client);
            if crashes {
                world.crash(0);
            }
            let client = world.rejoin(&hello_a);
            for sent in [message("t", "2", 2), message("t", "2", 2).again()] {
                world.publish(client, &sent.id(7));
                world.expect_pubrec(client, 7);
                assert_eq!(world.log_len(Lane::Normal), 2);
            }
            world.cut(client);
            let client = world.rejoin(&hello_a);
            world.publish(client, &message("t", "2", 2).id(7).again());
            world.expect_pubrec(client, 7);
            world.publish(client, &message("t/t", "2", 2).id(8));
            world.expect_pubrec(client, 8);
            for id in [7, 8] {
                world.pubrel(client, id);
                world.expect_pubcomp(client, id);
            }
            assert_eq!(world.log_len(Lane::Normal), 3);
            assert_eq!(world.table(Table::Handshakes), 0);
        }
    }
}

/// The value of one topic looked like the end of another: what was never stored was acknowledged.
#[test]
fn where_a_topic_ends_tells_messages_under_one_packet_identifier_apart() {
    let hello_a = hello(V311, "a").durable();
    let mut world = routed();
    let client = world.join(&hello_a);
    world.publish(client, &message("room/1", "23", 2).id(7));
    world.expect_pubrec(client, 7);
    world.cut(client);
    let client = world.rejoin(&hello_a);
    world.publish(client, &message("room/12", "3", 2).id(7));
    world.expect_pubrec(client, 7);
    assert_eq!(world.log_len(Lane::Normal), 2);
}

/// [MQTT-4.3.3-9]
#[test]
fn a_message_that_is_refused_leaves_the_packet_identifier_as_it_was() {
    let hello_a = hello(V5, "a").durable();
    let mut world = routed();
    let client = world.join(&hello_a);
    world.publish(client, &message("t", "1", 2).id(7));
    world.expect_pubrec(client, 7);
    world.cut(client);
    let client = world.rejoin(&hello_a);
    world.commits = Commits::Fail;
    world.publish(client, &message("t", "2", 2).id(7));
    let refused = world.next_packet(client).expect("PUBREC");
    assert_eq!((refused[0] >> 4, refused[4]), (5, 0x97));
    world.commits = Commits::Succeed;
    world.cut(client);
    let client = world.rejoin(&hello_a);
    world.publish(client, &message("t", "1", 2).id(7).again());
    world.expect_pubrec(client, 7);
    assert_eq!(world.log_len(Lane::Normal), 1);
    world.publish(client, &message("t", "2", 2).id(7));
    world.expect_pubrec(client, 7);
    assert_eq!(world.log_len(Lane::Normal), 2);
}

/// The client broke [MQTT-2.2.1-3].
#[test]
fn a_packet_identifier_in_use_is_not_for_another_message_of_the_same_connection() {
    for waits in [false, true] {
        let mut world = routed();
        let client = world.join(&hello(V5, "a"));
        world.commits = if waits {
            Commits::Wait
        } else {
            Commits::Succeed
        };
        world.publish(client, &message("t", "1", 2).id(7));
        if !waits {
            world.expect_pubrec(client, 7);
        }
        world.publish(client, &message("t", "2", 2).id(7));
        world.expect_disconnect(client, ReasonCode::ProtocolError);
        world.finish_commits(9);
        assert_eq!(world.log_len(Lane::Normal), 1);
    }
}

/// Publishes with QoS 2 as a client that repeats what is not answered, with the power cut after
/// `durable` more commits became durable in the step that `crash_at` names.
fn publish_with_crash(version: wire::mqtt::Version, crash_at: usize, durable: usize) -> usize {
    let hello_a = hello(version, "a").durable();
    let mut world = routed();
    let mut client = world.join(&hello_a);
    let mut is_released = false;
    for turn in 0..8 {
        world.commits = if turn == crash_at {
            Commits::Wait
        } else {
            Commits::Succeed
        };
        if is_released {
            world.pubrel(client, 7);
        } else {
            let sent = message("t", "1", 2).id(7);
            world.publish(client, &if turn > 0 { sent.again() } else { sent });
        }
        if turn == crash_at {
            world.crash(durable);
            world.commits = Commits::Succeed;
            client = world.rejoin(&hello_a);
            continue;
        }
        let Some(bytes) = world.next_packet(client) else {
            continue;
        };
        match bytes[0] >> 4 {
            5 => is_released = true,
            7 => break,
            other => panic!("packet type {other}"),
        }
    }
    assert!(is_released);
    assert_eq!(world.table(Table::Handshakes), 0);
    world.log_len(Lane::Normal)
}

/// [MQTT-4.3.3-10]
#[test]
fn inbound_qos2_survives_restart_in_every_phase() {
    for version in [V311, V5] {
        for crash_at in 0..3 {
            for durable in 0..3 {
                let stored = publish_with_crash(version, crash_at, durable);
                assert_eq!(stored, 1, "{version} {crash_at} {durable}");
            }
        }
    }
}

/// [MQTT-4.3.3-4]
#[test]
fn outbound_qos2_goes_through_all_steps() {
    for version in [V311, V5] {
        for hello_r in [hello(version, "r"), hello(version, "r").durable()] {
            let mut world = World::new();
            let reader = world.join(&hello_r);
            world.subscribe(reader, "t", 2);
            let writer = world.join(&hello(version, "w"));
            world.publish(writer, &message("t", "1", 2).id(7));
            world.expect_publish(reader, &message("t", "1", 2).id(1));
            world.pubrec(reader, 1);
            world.expect_pubrel(reader, 1);
            world.pubrec(reader, 1);
            world.expect_pubrel(reader, 1);
            world.pubcomp(reader, 1);
            world.pubcomp(reader, 1);
            world.expect_nothing(reader);
            assert_eq!(world.table(Table::Handshakes), 0);
            world.pubrec(reader, 1);
            match version {
                V5 => world.expect(reader, &Packet::Pubrel(not_found(1))),
                _ => world.expect_pubrel(reader, 1),
            }
        }
    }
}

#[test]
fn publish_and_pubrel_of_qos2_wait_for_their_notes() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    world.commits = Commits::Wait;
    world.publish(writer, &message("t", "1", 2).id(7));
    world.finish_commits(1);
    world.expect_nothing(reader);
    world.finish_commits(1);
    world.expect_publish(reader, &message("t", "1", 2).id(1));
    world.pubrec(reader, 1);
    world.expect_nothing(reader);
    world.finish_commits(1);
    world.expect_pubrel(reader, 1);
}

/// A subscriber that keeps what it received by packet identifier until released, as the
/// specification says; the power is cut at one turn with some of the commits durable.
fn receive_with_crash(version: wire::mqtt::Version, crash_at: usize, durable: usize) {
    let hello_r = hello(version, "r").durable();
    let mut world = World::new();
    let mut reader = world.join(&hello_r);
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(version, "w"));
    // Two messages, so that packet identifiers could be mixed up.
    for id in 1..=2 {
        world.publish(writer, &message("t", &id.to_string(), 2).id(id));
    }
    let mut unreleased = std::collections::BTreeSet::new();
    let mut received = Vec::new();
    for turn in 0..12 {
        if turn == crash_at {
            world.crash(durable);
            world.commits = Commits::Succeed;
            reader = world.rejoin(&hello_r);
        }
        world.commits = if turn + 1 == crash_at {
            Commits::Wait
        } else {
            Commits::Succeed
        };
        let Some(bytes) = world.next_packet(reader) else {
            continue;
        };
        let packet = wire::mqtt::decode(&bytes, version, u32::MAX)
            .unwrap()
            .unwrap()
            .0;
        match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_identifier.unwrap().get();
                if unreleased.insert(id) {
                    received.push(String::from_utf8(publish.payload.to_vec()).unwrap());
                } else {
                    assert!(publish.dup);
                }
                world.pubrec(reader, id);
            }
            Packet::Pubrel(pubrel) => {
                let id = pubrel.packet_identifier.get();
                unreleased.remove(&id);
                world.pubcomp(reader, id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, ["1", "2"], "{version} {crash_at} {durable}");
    assert!(unreleased.is_empty());
    assert_eq!(world.table(Table::Handshakes), 0);
    world.crash(0);
    let reader = world.rejoin(&hello_r);
    world.expect_nothing(reader);
}

/// [MQTT-4.4.0-1] [MQTT-4.3.3-3] [MQTT-4.3.3-5]
#[test]
fn qos2_survives_restart_in_every_phase() {
    for version in [V311, V5] {
        for crash_at in 0..8 {
            for durable in 0..4 {
                receive_with_crash(version, crash_at, durable);
            }
        }
    }
}

#[test]
fn a_record_that_is_gone_ends_its_qos2_exchange() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 2).id(7));
    world.expect_publish(reader, &message("t", "1", 2).id(1));
    world.cut(reader);
    world.trim(Lane::Normal, 1);
    let reader = world.rejoin(&hello_r);
    world.expect_pubrel(reader, 1);
    world.pubcomp(reader, 1);
    assert_eq!(world.table(Table::Handshakes), 0);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 1);
}

/// [MQTT-4.4.0-2]
#[test]
fn a_refused_message_is_settled() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 2).id(7));
    world.expect_publish(reader, &message("t", "1", 2).id(1));
    let refusal = Acknowledgement::with_reason(
        1.try_into().unwrap(),
        ReasonCode::ImplementationSpecificError,
    );
    world.send(reader, &Packet::Pubrec(refusal));
    world.expect_nothing(reader);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 1);
}

/// [MQTT-4.13.1-1]
#[test]
fn answers_at_another_step_are_a_protocol_error() {
    for version in [V311, V5] {
        // The QoS of the message, and the packets before the wrong one.
        let cases: [(u8, &[u8], u8); 4] = [(1, &[], 5), (1, &[], 7), (2, &[], 4), (2, &[], 7)];
        for (qos, before, wrong) in cases.into_iter().chain([(2, &[5][..], 4)]) {
            let mut world = World::new();
            let reader = world.join(&hello(version, "r"));
            world.subscribe(reader, "t", 2);
            let writer = world.join(&hello(version, "w"));
            world.publish(writer, &message("t", "1", qos).id(7));
            world.expect_publish(reader, &message("t", "1", qos).id(1));
            for packet_type in before {
                world.send_bytes(reader, &[packet_type << 4, 2, 0, 1]);
                world.expect_pubrel(reader, 1);
            }
            world.send_bytes(reader, &[wrong << 4, 2, 0, 1]);
            world.expect_disconnect(reader, ReasonCode::ProtocolError);
        }
        // A PUBREL before its PUBREC.
        let mut world = routed();
        let writer = world.join(&hello(version, "w"));
        world.commits = Commits::Wait;
        world.publish(writer, &message("t", "1", 2).id(7));
        world.pubrel(writer, 7);
        world.expect_disconnect(writer, ReasonCode::ProtocolError);
    }
}

#[test]
fn a_note_that_can_not_be_kept_closes_and_the_message_comes_again() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 2);
    let writer = world.join(&hello(V5, "w"));
    world.commits = Commits::Wait;
    world.publish(writer, &message("t", "1", 2).id(7));
    world.finish_commits(1);
    world.commits = Commits::Fail;
    world.run();
    world.expect_disconnect(reader, ReasonCode::QuotaExceeded);
    world.commits = Commits::Succeed;
    let reader = world.rejoin(&hello_r);
    let found = world.next_message(reader).unwrap();
    assert_eq!((found.payload.as_str(), found.qos), ("1", 2));
}

#[test]
fn exchanges_over_the_limits_are_refused() {
    let settings = Settings {
        note_count_maximum: 1,
        ..Settings::default()
    };
    let limits = mqtt::Settings {
        exchange_count_maximum: 1,
        ..mqtt::Settings::default()
    };
    let mut world = World::with(settings, limits);
    let new = world.join(&hello(V5, "new").durable());
    world.publish(new, &message("t", "1", 2).id(1));
    assert!(world.next_packet(new).is_some());
    world.publish(new, &message("t", "2", 2).id(2));
    let full = Acknowledgement::with_reason(2.try_into().unwrap(), ReasonCode::QuotaExceeded);
    world.expect(new, &Packet::Pubrec(full));
    // Before MQTT 5 there is no word for it.
    let old = world.join(&hello(V311, "old"));
    world.publish(old, &message("t", "1", 2).id(1));
    world.expect_pubrec(old, 1);
    world.publish(old, &message("t", "2", 2).id(2));
    world.expect_closed(old);
}

/// Each delivery ended the connection, and so did the next one, before anything could be released.
#[test]
fn a_client_that_has_as_many_unreleased_as_it_may_still_gets_its_messages() {
    let settings = Settings {
        note_count_maximum: 2,
        routes: vec!["up".into()],
        ..Settings::default()
    };
    for version in [V311, V5] {
        for hello_a in [hello(version, "a"), hello(version, "a").durable()] {
            let mut world = World::with(settings.clone(), mqtt::Settings::default());
            let client = world.join(&hello_a);
            world.subscribe(client, "down", 2);
            for id in [1, 2] {
                world.publish(client, &message("up", "1", 2).id(id));
                world.expect_pubrec(client, id);
            }
            let writer = world.join(&hello(V5, "writer"));
            world.publish(writer, &message("down", "1", 2).id(1));
            let found = world.next_message(client).expect("it is connected");
            assert_eq!((found.payload.as_str(), found.qos), ("1", 2));
        }
    }
}

/// They stay until their sessions end, so all sessions share a limit: a client that releases nothing
/// would take the memory of everybody. A delivery of QoS 2 has its own account.
#[test]
fn exchanges_that_nobody_releases_are_refused_at_the_limit_of_all_sessions() {
    for is_durable in [false, true] {
        let settings = Settings {
            note_bytes_maximum: 1_000,
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let hello_of = |name| match is_durable {
            true => hello(V5, name).durable(),
            false => hello(V5, name),
        };
        let reader = world.join(&hello(V5, "reader").durable());
        world.subscribe(reader, "t", 2);
        let (mut first, mut other) = (world.join(&hello_of("a")), world.join(&hello_of("b")));
        let full = |id: u16| {
            let id = id.try_into().unwrap();
            Packet::Pubrec(Acknowledgement::with_reason(id, ReasonCode::QuotaExceeded))
        };
        let mut kept = 0;
        while kept < 100 {
            world.publish(first, &message("t", "1", 2).id(kept + 1));
            match world.next_packet(first) {
                Some(bytes) if bytes.get(4) == Some(&0x97) => break,
                found => assert!(found.is_some()),
            }
            kept += 1;
        }
        assert!((10..30).contains(&kept), "{kept}");
        world.publish(other, &message("t", "2", 2).id(1));
        world.expect(other, &full(1));
        assert!(world.next_message(reader).is_some());
        if is_durable {
            // They are there after a restart, and count.
            world.crash(0);
            first = world.rejoin(&hello_of("a"));
            other = world.rejoin(&hello_of("b"));
            world.publish(other, &message("t", "2", 2).id(1));
            world.expect(other, &full(1));
        }
        // Those that were begun go on.
        world.publish(first, &message("t", "1", 2).id(1).again());
        world.expect_pubrec(first, 1);
        for id in 1..=kept {
            world.pubrel(first, id);
            world.expect_pubcomp(first, id);
        }
        // With a session its exchanges go.
        for id in 1..=kept {
            world.publish(other, &message("t", "2", 2).id(id));
            world.expect_pubrec(other, id);
        }
        world.publish(first, &message("t", "1", 2).id(1));
        world.expect(first, &full(1));
        world.disconnect(other);
        world.join(&hello_of("b").clean());
        world.publish(first, &message("t", "1", 2).id(1));
        world.expect_pubrec(first, 1);
    }
}

/// A few clients that never release shut everybody else out from QoS 2, for as long as their sessions
/// lasted.
#[test]
fn whoever_has_nothing_unreleased_may_begin_although_others_release_nothing() {
    for is_durable in [false, true] {
        let settings = Settings {
            note_bytes_maximum: 2_000,
            routes: vec!["t".into()],
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let hello_of = |name| match is_durable {
            true => hello(V5, name).durable(),
            false => hello(V5, name),
        };
        let (broken, other) = (world.join(&hello_of("a")), world.join(&hello_of("b")));
        for id in 1..=60 {
            world.publish(broken, &message("t", "1", 2).id(id));
            assert!(world.next_packet(broken).is_some());
        }
        for _ in 0..3 {
            world.publish(other, &message("t", "2", 2).id(1));
            world.expect_pubrec(other, 1);
            world.pubrel(other, 1);
            world.expect_pubcomp(other, 1);
        }
    }
}

/// [MQTT-4.3.3-9]
#[test]
fn a_refused_message_of_qos_2_leaves_its_packet_identifier_free() {
    let settings = Settings {
        retained_count_maximum: 0,
        routes: vec!["#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let hello_a = hello(V5, "a").durable();
    let client = world.join(&hello_a);
    world.publish(client, &message("t", "1", 2).id(7).retained());
    let full = Acknowledgement::with_reason(7.try_into().unwrap(), ReasonCode::QuotaExceeded);
    world.expect(client, &Packet::Pubrec(full));
    world.commits = Commits::Fail;
    world.publish(client, &message("t", "1", 2).id(7));
    world.expect(client, &Packet::Pubrec(full));
    world.commits = Commits::Succeed;
    world.cut(client);
    let client = world.rejoin(&hello_a);
    world.publish(client, &message("t", "1", 2).id(7));
    world.expect_pubrec(client, 7);
    assert_eq!(world.log_len(Lane::Normal), 1);
}

/// A session that was begun anew while a message of QoS 2 was on its way into the log inherited
/// the packet identifier after a restart, and the next message with it was answered and not kept.
#[test]
fn an_exchange_on_its_way_ends_with_its_session() {
    let mut world = routed();
    let hello_a = hello(V5, "a").durable();
    let client = world.join(&hello_a);
    world.commits = Commits::Wait;
    world.publish(client, &message("t", "1", 2).id(7));
    world.say_hello(&hello_a.clone().clean());
    world.commits = Commits::Succeed;
    world.run();
    assert_eq!(world.table(Table::Handshakes), 0);
    world.crash(0);
    let client = world.rejoin(&hello_a);
    world.publish(client, &message("t", "2", 2).id(7));
    world.expect_pubrec(client, 7);
    assert_eq!(world.log_len(Lane::Normal), 2);
}

/// [MQTT-4.3.3-6] [MQTT-4.3.3-5] [MQTT-4.4.0-1]: from PUBREL on, PUBREL alone is sent again.
#[test]
fn a_message_that_was_released_is_not_sent_again() {
    for version in [V311, V5] {
        for is_crashed in [false, true] {
            let mut world = World::new();
            let hello_r = hello(version, "r").durable();
            let mut reader = world.join(&hello_r);
            world.subscribe(reader, "t", 2);
            let writer = world.join(&hello(version, "w"));
            world.publish(writer, &message("t", "1", 2).id(7));
            world.expect_publish(reader, &message("t", "1", 2).id(1));
            world.pubrec(reader, 1);
            world.expect_pubrel(reader, 1);
            for _ in 0..3 {
                if is_crashed {
                    world.crash(0);
                } else {
                    world.cut(reader);
                }
                reader = world.rejoin(&hello_r);
                world.expect_pubrel(reader, 1);
                world.expect_nothing(reader);
            }
            world.pubcomp(reader, 1);
            world.cut(reader);
            let reader = world.rejoin(&hello_r);
            world.expect_nothing(reader);
        }
    }
}

/// [MQTT-4.4.0-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3]: while a connection lasts nothing is sent twice,
/// however long the client takes; afterwards everything unacknowledged is, as it was.
#[test]
fn only_a_new_connection_brings_a_message_again() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_r = hello(version, "r").durable();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 2);
        let writer = world.join(&hello(version, "w"));
        for qos in 1..=2 {
            world.publish(writer, &message("t", "1", qos).id(qos.into()));
            world.expect_publish(reader, &message("t", "1", qos).id(qos.into()));
        }
        world.pass(10_000);
        world.expect_nothing(reader);
        for _ in 0..2 {
            let reader = world.rejoin(&hello_r);
            for qos in 1..=2 {
                world.expect_publish(reader, &message("t", "1", qos).id(qos.into()).again());
            }
            world.pass(100);
            world.expect_nothing(reader);
        }
    }
}

/// [MQTT-4.3.3-4] [MQTT-3.6.2-1] [MQTT-2.2.1-5]: also one that nobody knows, which MQTT 5 says.
#[test]
fn every_pubrec_is_answered_with_a_pubrel_of_its_packet_identifier() {
    for version in [V311, V5] {
        let mut world = World::new();
        let reader = world.join(&hello(version, "r"));
        world.subscribe(reader, "t", 2);
        let writer = world.join(&hello(version, "w"));
        for id in 1..=2 {
            world.publish(writer, &message("t", "1", 2).id(id));
        }
        while world.next_message(reader).is_some() {}
        for id in [2, 1, 2] {
            world.pubrec(reader, id);
            world.expect_bytes(reader, &[0x62, 2, 0, id as u8]);
        }
        world.pubrec(reader, 0x0809);
        match version {
            V5 => world.expect_bytes(reader, &[0x62, 3, 8, 9, 0x92]),
            _ => world.expect_bytes(reader, &[0x62, 2, 8, 9]),
        }
    }
}

/// [MQTT-4.3.3-11] [MQTT-3.7.2-1] [MQTT-2.2.1-5]
#[test]
fn every_pubrel_is_answered_with_a_pubcomp_of_its_packet_identifier() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = world.join(&hello(version, "a"));
        for id in [0x0102, 0x0304] {
            world.publish(client, &message("t", "1", 2).id(id));
            world.next_packet(client);
        }
        world.pubrel(client, 0x0304);
        world.expect_bytes(client, &[0x70, 2, 3, 4]);
        world.pubrel(client, 0x0102);
        world.expect_bytes(client, &[0x70, 2, 1, 2]);
        world.pubrel(client, 0x0506);
        match version {
            V5 => world.expect_bytes(client, &[0x70, 3, 5, 6, 0x92]),
            _ => world.expect_bytes(client, &[0x70, 2, 5, 6]),
        }
    }
}
