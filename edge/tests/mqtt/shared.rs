//! 4.8.2 shared subscriptions: one of the group gets each message, whatever becomes of its members.

use edge::broker::Settings;
use edge::mqtt;
use sync::{Lane, Table};
use wire::mqtt::property::{Property, SubscriptionIdentifier};
use wire::mqtt::{Acknowledgement, Packet, ReasonCode, Subscription};
use wire::topic::TopicFilter;

use crate::world::*;

const SHARED: &str = "$share/g/t";

fn filter(text: &str, qos: u8) -> Subscription<'_> {
    Subscription::new(TopicFilter::new(text).unwrap(), qos_of(qos))
}

/// A client with a subscription of QoS 2 that it shares, so that messages come as published.
fn member(world: &mut World, hello: &Hello) -> ClientId {
    let client = world.join(hello);
    world.subscribe(client, SHARED, 2);
    client
}

/// Publishes numbered messages, from one number to another, and takes the answers.
fn publish_numbers(world: &mut World, writer: ClientId, qos: u8, numbers: std::ops::Range<u16>) {
    for number in numbers {
        let id = if qos > 0 { 9 } else { 0 };
        world.publish(writer, &message("t", &number.to_string(), qos).id(id));
        if qos == 2 {
            world.expect_pubrec(writer, 9);
            world.pubrel(writer, 9);
        }
        if qos > 0 {
            assert!(world.next_packet(writer).is_some());
        }
    }
}

/// Takes all messages that a client received, acknowledging those of QoS 1; gives the payloads.
fn drain(world: &mut World, client: ClientId) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(found) = world.next_message(client) {
        if found.qos == 1 {
            world.puback(client, found.packet_identifier);
        }
        payloads.push(found.payload);
    }
    payloads
}

/// Answers a message of QoS 2 to its end.
fn complete(world: &mut World, client: ClientId, packet_identifier: u16) {
    world.pubrec(client, packet_identifier);
    world.expect_pubrel(client, packet_identifier);
    world.pubcomp(client, packet_identifier);
}

#[test]
fn each_message_goes_to_one_member_and_they_take_turns() {
    for version in [V311, V5] {
        for qos in 0..3 {
            let mut world = World::new();
            let members = ["a", "b", "c"].map(|name| member(&mut world, &hello(version, name)));
            let writer = world.join(&hello(version, "w"));
            publish_numbers(&mut world, writer, qos, 0..6);
            let id = |id| if qos > 0 { id } else { 0 };
            for (first, client) in members.into_iter().enumerate() {
                let numbers = [first, first + 3].map(|number| number.to_string());
                world.expect_publish(client, &message("t", &numbers[0], qos).id(id(1)));
                world.expect_publish(client, &message("t", &numbers[1], qos).id(id(2)));
                world.expect_nothing(client);
            }
        }
    }
}

#[test]
fn a_share_name_is_there_and_has_no_wildcard() {
    // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    for text in [
        "$share//t",
        "$share/g",
        "$share/g/",
        "$share/g+/t",
        "$share/#/t",
    ] {
        let mut world = World::new();
        let client = world.join(&hello(V5, "a"));
        let length = u8::try_from(text.len()).unwrap();
        let mut bytes = vec![0x82, length + 6, 0, 77, 0, 0, length];
        bytes.extend(text.as_bytes());
        bytes.push(1);
        world.send_bytes(client, &bytes);
        assert!(world.next_packet(client).is_some(), "{text}");
        world.expect_closed(client);
    }
}

#[test]
fn each_name_and_each_filter_is_a_group_of_its_own() {
    let mut world = World::new();
    let writer = world.join(&hello(V5, "w"));
    let names = ["a", "b", "c"];
    let members = names.map(|name| world.join(&hello(V5, name)));
    for (client, filter) in members
        .into_iter()
        .zip(["$share/g/t", "$share/h/t", "$share/g/+"])
    {
        world.subscribe(client, filter, 1);
    }
    assert_eq!(world.broker.group_count(), 3);
    publish_numbers(&mut world, writer, 1, 0..1);
    for client in members {
        assert_eq!(drain(&mut world, client), ["0"]);
    }
}

#[test]
fn the_granted_qos_is_respected() {
    // [MQTT-4.8.2-3]
    for version in [V311, V5] {
        let mut world = World::new();
        let low = world.join(&hello(version, "a"));
        world.subscribe(low, SHARED, 1);
        let high = world.join(&hello(version, "b"));
        world.subscribe(high, SHARED, 2);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 2, 0..2);
        world.expect_publish(low, &message("t", "0", 1).id(1));
        world.expect_publish(high, &message("t", "1", 2).id(1));
        // A change of options counts from then on.
        world.subscribe(low, SHARED, 2);
        publish_numbers(&mut world, writer, 2, 2..3);
        world.expect_publish(low, &message("t", "2", 2).id(2));
    }
}

#[test]
fn a_member_with_qos_0_gets_nothing_that_another_would_acknowledge() {
    let mut world = World::new();
    let hello_b = hello(V5, "b").durable();
    let low = world.join(&hello(V5, "a"));
    world.subscribe(low, SHARED, 0);
    let writer = world.join(&hello(V5, "w"));
    // Alone, it gets everything with QoS 0, and nothing is logged.
    publish_numbers(&mut world, writer, 1, 0..1);
    world.expect_publish(low, &message("t", "0", 0));
    let high = world.join(&hello_b);
    world.subscribe(high, SHARED, 1);
    publish_numbers(&mut world, writer, 1, 1..3);
    assert_eq!(drain(&mut world, high), ["1", "2"]);
    world.cut(high);
    publish_numbers(&mut world, writer, 1, 3..4);
    publish_numbers(&mut world, writer, 0, 4..5);
    world.expect_publish(low, &message("t", "4", 0));
    world.expect_nothing(low);
    let high = world.rejoin(&hello_b);
    assert_eq!(drain(&mut world, high), ["3"]);
    assert_eq!(world.log_len(Lane::Normal), 3);
}

#[test]
fn qos_0_is_never_logged_and_goes_to_a_member_that_is_there() {
    let mut world = World::new();
    let away = member(&mut world, &hello(V5, "a").durable());
    let here = member(&mut world, &hello(V5, "b").durable());
    world.cut(away);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 0, 0..3);
    assert_eq!(drain(&mut world, here), ["0", "1", "2"]);
    world.cut(here);
    publish_numbers(&mut world, writer, 0, 3..4);
    assert_eq!(world.log_len(Lane::Normal), 0);
}

#[test]
fn qos_2_is_completed_with_the_member_that_comes_back() {
    // [MQTT-4.8.2-4]
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let first = member(&mut world, &hello_a);
        member(&mut world, &hello(version, "b").durable());
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 2, 0..4);
        world.expect_publish(first, &message("t", "0", 2).id(1));
        world.expect_publish(first, &message("t", "2", 2).id(2));
        world.pubrec(first, 2);
        world.expect_pubrel(first, 2);
        world.cut(first);
        world.crash(0);
        let other = world.rejoin(&hello(version, "b").durable());
        for (number, id) in [("1", 1), ("3", 2)] {
            world.expect_publish(other, &message("t", number, 2).id(id).again());
        }
        let first = world.rejoin(&hello_a);
        world.expect_pubrel(first, 2);
        world.expect_publish(first, &message("t", "0", 2).id(1).again());
        world.expect_nothing(first);
        world.pubcomp(first, 2);
        complete(&mut world, first, 1);
        complete(&mut world, other, 1);
        complete(&mut world, other, 2);
        world.crash(0);
        for name in ["a", "b"] {
            let client = world.rejoin(&hello(version, name).durable());
            world.expect_nothing(client);
        }
        assert_eq!(world.table(Table::Handshakes), 0);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 4);
    }
}

#[test]
fn qos_2_of_a_session_that_ended_goes_to_nobody() {
    // [MQTT-4.8.2-5]
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let first = member(&mut world, &hello_a);
        let other = member(&mut world, &hello(version, "b").durable());
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 2, 0..1);
        world.expect_publish(first, &message("t", "0", 2).id(1));
        world.cut(first);
        let first = world.join(&hello_a.clean());
        world.expect_nothing(first);
        world.expect_nothing(other);
        world.pass(2);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 1);
        world.crash(0);
        let other = world.rejoin(&hello(version, "b").durable());
        world.expect_nothing(other);
    }
}

#[test]
fn qos_2_of_a_session_that_ends_with_its_connection_goes_to_nobody() {
    // [MQTT-4.8.2-5]
    let mut world = World::new();
    let first = member(&mut world, &hello(V5, "a"));
    let other = member(&mut world, &hello(V5, "b").durable());
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 2, 0..1);
    world.expect_publish(first, &message("t", "0", 2).id(1));
    world.cut(first);
    world.expect_nothing(other);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 1);
}

#[test]
fn qos_1_of_a_lost_member_goes_to_another_at_once() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let first = member(&mut world, &hello_a);
        let other = member(&mut world, &hello(version, "b"));
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1, 0..4);
        world.puback(first, 1);
        assert_eq!(drain(&mut world, other), ["1", "3"]);
        world.cut(first);
        world.expect_publish(other, &message("t", "2", 1).id(3).again());
        world.puback(other, 3);
        let first = world.rejoin(&hello_a);
        world.expect_nothing(first);
        world.cut(first);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 4);
    }
}

#[test]
fn of_what_a_lost_member_had_another_gets_qos_1_alone() {
    // [MQTT-4.8.2-4]
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let first = member(&mut world, &hello_a);
    let writer = world.join(&hello(V5, "w"));
    for number in 0..3 {
        publish_numbers(
            &mut world,
            writer,
            1 + u8::from(number == 1),
            number..number + 1,
        );
    }
    let other = member(&mut world, &hello(V5, "b"));
    world.cut(first);
    assert_eq!(drain(&mut world, other), ["0", "2"]);
    let first = world.rejoin(&hello_a);
    world.expect_publish(first, &message("t", "1", 2).id(2).again());
    world.expect_nothing(first);
    complete(&mut world, first, 2);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 3);
}

#[test]
fn qos_1_of_a_member_whose_session_ended_goes_to_another() {
    let mut world = World::new();
    let first = member(&mut world, &hello(V5, "a"));
    let hello_b = hello(V5, "b").durable();
    let other = member(&mut world, &hello_b);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..2);
    world.expect_publish(first, &message("t", "0", 1).id(1));
    world.expect_publish(other, &message("t", "1", 1).id(1));
    world.cut(other);
    world.expect_publish(first, &message("t", "1", 1).id(2).again());
    world.cut(first);
    let other = world.rejoin(&hello_b);
    for number in ["0", "1"] {
        let found = world.next_message(other).unwrap();
        assert_eq!((found.payload.as_str(), found.dup), (number, true));
    }
    world.expect_nothing(other);
}

#[test]
fn with_no_other_member_qos_1_is_sent_again_under_its_packet_identifier() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let first = member(&mut world, &hello_a);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1, 0..3);
        drop(world.next_message(first));
        world.puback(first, 1);
        world.cut(first);
        publish_numbers(&mut world, writer, 1, 3..4);
        let first = world.rejoin(&hello_a);
        world.expect_publish(first, &message("t", "1", 1).id(2).again());
        world.expect_publish(first, &message("t", "2", 1).id(3).again());
        let found = world.next_message(first).unwrap();
        assert_eq!((found.payload.as_str(), found.dup), ("3", false));
        world.expect_nothing(first);
    }
}

#[test]
fn a_taken_over_session_keeps_what_it_has() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let old = member(&mut world, &hello_a);
    let other = member(&mut world, &hello(V5, "b"));
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..1);
    world.expect_publish(old, &message("t", "0", 1).id(1));
    let new = world.rejoin(&hello_a);
    world.expect_disconnect(old, ReasonCode::SessionTakenOver);
    world.expect_publish(new, &message("t", "0", 1).id(1).again());
    world.expect_nothing(other);
}

#[test]
fn what_a_client_refuses_is_discarded() {
    // [MQTT-4.8.2-6]
    let mut world = World::new();
    let first = member(&mut world, &hello(V5, "a").durable());
    let other = member(&mut world, &hello(V5, "b").durable());
    let writer = world.join(&hello(V5, "w"));
    let no = |id: u16| {
        Acknowledgement::with_reason(id.try_into().unwrap(), ReasonCode::UnspecifiedError)
    };
    for (qos, number) in [(1, 0), (2, 2)] {
        publish_numbers(&mut world, writer, qos, number..number + 2);
        let found = world.next_message(first).unwrap();
        let no = no(found.packet_identifier);
        let packet = if qos == 1 {
            Packet::Puback(no)
        } else {
            Packet::Pubrec(no)
        };
        world.send(first, &packet);
        let found = world.next_message(other).unwrap();
        assert_eq!(found.payload, (number + 1).to_string());
        if qos == 1 {
            world.puback(other, found.packet_identifier);
        } else {
            complete(&mut world, other, found.packet_identifier);
        }
    }
    world.cut(first);
    world.expect_nothing(other);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 4);
}

#[test]
fn a_group_without_connected_members_waits_in_the_log() {
    for version in [V311, V5] {
        let mut world = World::new();
        let members = ["a", "b"].map(|name| hello(version, name).durable());
        for hello in &members {
            let client = member(&mut world, hello);
            world.cut(client);
        }
        world.pass(2);
        let writer = world.join(&hello(version, "w"));
        let before = world.commit_count;
        publish_numbers(&mut world, writer, 1, 0..200);
        world.pass(2);
        // The appends alone: no cursor moved.
        assert_eq!(world.commit_count - before, 200);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 0);
        world.crash(0);
        let clients = members.map(|hello| world.rejoin(&hello));
        let mut all = Vec::new();
        loop {
            let found: Vec<_> = clients
                .iter()
                .flat_map(|it| drain(&mut world, *it))
                .collect();
            if found.is_empty() {
                break;
            }
            all.extend(found);
        }
        all.sort_by_key(|number| number.parse::<u16>().unwrap());
        let expected: Vec<_> = (0..200).map(|number: u16| number.to_string()).collect();
        assert_eq!(all, expected);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 200);
    }
}

#[test]
fn a_group_of_sessions_that_do_not_last_costs_no_write() {
    let mut world = World::new();
    let members = ["a", "b"].map(|name| member(&mut world, &hello(V5, name)));
    let writer = world.join(&hello(V5, "w"));
    let before = world.commit_count;
    publish_numbers(&mut world, writer, 1, 0..20);
    assert_eq!(world.commit_count, before);
    for client in members {
        assert_eq!(drain(&mut world, client).len(), 10);
    }
}

/// What passes through memory was lost with the member that had it.
#[test]
fn what_a_member_has_that_does_not_last_goes_to_another_when_it_is_gone() {
    for version in [V311, V5] {
        let mut world = World::new();
        let gone = member(&mut world, &hello(version, "a"));
        let other = member(&mut world, &hello(version, "b").window(3));
        let writer = world.join(&hello(V5, "w"));
        let before = world.commit_count;
        publish_numbers(&mut world, writer, 1, 0..6);
        let first = world.next_message(gone).unwrap();
        world.puback(gone, first.packet_identifier);
        assert_eq!(world.next_message(other).unwrap().payload, "1");
        // Of 0 to 5 each has three; one of those is acknowledged, and there is room for none.
        world.cut(gone);
        let mut found: Vec<String> = Vec::new();
        while let Some(message) = world.next_message(other) {
            found.push(message.payload);
            world.puback(other, message.packet_identifier);
        }
        world.puback(other, 1);
        found.extend(drain(&mut world, other));
        found.sort();
        assert_eq!(found, ["2", "3", "4", "5"], "{version:?}");
        assert_eq!(world.commit_count, before);
    }
}

/// Of QoS 2 nobody else may get what one has begun with. [MQTT-4.8.2-5]
#[test]
fn what_a_member_has_of_qos_2_goes_to_nobody_else() {
    let mut world = World::new();
    let gone = member(&mut world, &hello(V5, "a"));
    let other = member(&mut world, &hello(V5, "b"));
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 2, 0..1);
    assert_eq!(world.next_message(gone).unwrap().payload, "0");
    world.cut(gone);
    world.expect_nothing(other);
}

#[test]
fn what_groups_lend_is_bounded_and_the_rest_goes_through_the_log() {
    let settings = Settings {
        session_bytes_maximum: 64 << 10,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let members = ["a", "b"].map(|name| member(&mut world, &hello(V5, name)));
    let writer = world.join(&hello(V5, "w"));
    let payload = "x".repeat(3_000);
    for _ in 0..20 {
        world.publish(writer, &message("t", &payload, 1).id(9));
        assert!(world.next_packet(writer).is_some());
    }
    let logged = world.log_len(Lane::Normal);
    assert!((15..=18).contains(&logged), "{logged}");
    // Whoever goes, all of it arrives; and what is acknowledged makes room again.
    world.cut(members[0]);
    assert_eq!(drain(&mut world, members[1]).len(), 20);
    world.publish(writer, &message("t", &payload, 1).id(9));
    assert_eq!(world.log_len(Lane::Normal), logged);
}

#[test]
fn a_group_without_room_falls_back_to_the_log_and_loses_nothing() {
    let mut world = World::new();
    let members = ["a", "b"].map(|name| member(&mut world, &hello(V5, name).window(2)));
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..20);
    // Four pass through memory; the rest waits.
    assert_eq!(world.log_len(Lane::Normal), 16);
    for client in members {
        assert_eq!(world.connection_bytes(client), 0);
    }
    let mut all = Vec::new();
    while all.len() < 20 {
        for client in members {
            let found = world.next_message(client).unwrap();
            world.puback(client, found.packet_identifier);
            all.push(found.payload.parse::<u16>().unwrap());
        }
    }
    assert!(all.iter().copied().eq(0..20), "{all:?}");
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 16);
    // Live again: no write.
    publish_numbers(&mut world, writer, 1, 20..21);
    assert_eq!(world.log_len(Lane::Normal), 16);
}

#[test]
fn a_member_that_takes_nothing_does_not_stop_the_others() {
    let mut world = World::new();
    let deaf = member(&mut world, &hello(V5, "a").durable().window(3));
    let busy = member(&mut world, &hello(V5, "b").durable().window(3));
    let writer = world.join(&hello(V5, "w"));
    let mut received = Vec::new();
    for number in 0..50 {
        publish_numbers(&mut world, writer, 1, number..number + 1);
        received.extend(drain(&mut world, busy));
    }
    assert_eq!(received.len(), 47);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 0);
    world.cut(deaf);
    received.extend(drain(&mut world, busy));
    assert_eq!(received.len(), 50);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 50);
}

/// Members that acknowledge nothing filled the window of the whole group, and the one that worked
/// got no more.
#[test]
fn members_that_acknowledge_nothing_leave_the_others_their_part_of_the_window() {
    for silent_count in [1, 3, 9, 40] {
        let mut world = World::new();
        for number in 0..silent_count {
            let name = format!("silent-{number}");
            member(&mut world, &hello(V5, name).durable());
        }
        let worker = member(&mut world, &hello(V5, "worker").durable());
        let writer = world.join(&hello(V5, "w"));
        let mut done = 0;
        for number in 0..2_000 {
            publish_numbers(&mut world, writer, 1, number..number + 1);
            done += drain(&mut world, worker).len();
        }
        let kept = 2_000 - done;
        assert!(kept < 256, "{silent_count} silent members keep {kept}");
    }
}

#[test]
fn the_window_of_a_group_bounds_what_is_in_flight() {
    let settings = Settings {
        group_inflight_maximum: 5,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = member(&mut world, &hello(V5, "a").durable());
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..12);
    for number in 0..12 {
        let found = world.next_message(client).unwrap();
        assert_eq!(found.payload, number.to_string());
        if number == 4 {
            world.expect_nothing(client);
            (1..=5).for_each(|id| world.puback(client, id));
        }
        if number > 4 {
            world.puback(client, found.packet_identifier);
        }
    }
    world.expect_nothing(client);
}

#[test]
fn the_receive_maximum_holds_for_own_and_shared_messages_together() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").window(2));
    for filter in ["t", "$share/g/t", "$share/h/t"] {
        world.subscribe(client, filter, 1);
    }
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..3);
    let mut seen = std::collections::BTreeMap::new();
    while seen.values().sum::<u32>() < 9 {
        let one = world.next_message(client).unwrap();
        let two = world.next_message(client);
        world.expect_nothing(client);
        for found in [one].into_iter().chain(two) {
            world.puback(client, found.packet_identifier);
            *seen.entry(found.payload).or_insert(0) += 1;
        }
    }
    assert!(seen.values().all(|count| *count == 3), "{seen:?}");
}

#[test]
fn a_member_whose_room_its_own_copy_takes_is_passed_over() {
    let mut world = World::new();
    let small = member(&mut world, &hello(V5, "a").window(1));
    world.subscribe(small, "t", 1);
    let large = member(&mut world, &hello(V5, "b"));
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..1);
    assert_eq!(world.log_len(Lane::Normal), 0);
    world.expect_publish(small, &message("t", "0", 1).id(1));
    world.expect_nothing(small);
    assert_eq!(drain(&mut world, large), ["0"]);
}

#[test]
fn a_client_gets_its_own_copy_beside_the_shared_one() {
    for version in [V311, V5] {
        let mut world = World::new();
        let client = member(&mut world, &hello(version, "a").durable());
        world.subscribe(client, "t", 1);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1, 0..2);
        assert_eq!(drain(&mut world, client), ["0", "0", "1", "1"]);
        assert_eq!(world.log_len(Lane::Normal), 2);
    }
}

#[test]
fn retained_messages_are_not_sent_and_the_flag_is_each_members_own_option() {
    let mut world = World::new();
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "old", 1).id(9).retained());
    let plain = world.join(&hello(V5, "a"));
    world.subscribe(plain, SHARED, 1);
    let keeping = world.join(&hello(V5, "b"));
    let mut options = filter(SHARED, 1);
    options.retain_as_published = true;
    world.subscribe_with(
        keeping,
        &[options],
        &[Property::SubscriptionIdentifier(
            SubscriptionIdentifier::new(7).unwrap(),
        )],
    );
    assert_eq!(world.next_suback(keeping), [ReasonCode::GrantedQos1]);
    for number in ["1", "2"] {
        world.publish(writer, &message("t", number, 1).id(9).retained());
    }
    world.expect_publish(plain, &message("t", "1", 1).id(1));
    let identified = message("t", "2", 1).id(1).retained();
    let identifier = [Property::SubscriptionIdentifier(
        SubscriptionIdentifier::new(7).unwrap(),
    )];
    world.expect_publish(keeping, &identified.with(&identifier));
    world.expect_nothing(plain);
    world.expect_nothing(keeping);
}

#[test]
fn no_local_is_a_protocol_error() {
    // [MQTT-3.8.3-4]
    let mut world = World::new();
    let client = world.join(&hello(V5, "a"));
    let mut bytes = vec![0x82, 16, 0, 77, 0, 0, 10];
    bytes.extend(SHARED.as_bytes());
    bytes.push(0b0000_0101);
    world.send_bytes(client, &bytes);
    world.expect_disconnect(client, ReasonCode::ProtocolError);
}

#[test]
fn limits_are_told_with_their_reasons() {
    for (version, codes) in [(V311, [1, 0x80, 1, 0x80]), (V5, [1, 0x97, 1, 0x97])] {
        let settings = Settings {
            group_count_maximum: 1,
            share_name_bytes_maximum: 3,
            ..Settings::default()
        };
        let mut world = World::with(settings, mqtt::Settings::default());
        let client = world.join(&hello(version, "a"));
        let filters = ["$share/g/t", "$share/h/t", "$share/g/t", "$share/long/t"];
        let filters = filters.map(|text| filter(text, 1));
        world.subscribe_with(client, &filters, &[]);
        let codes = codes.map(|code| ReasonCode::from_number(code).unwrap());
        assert_eq!(world.next_suback(client), codes);
    }
}

#[test]
fn groups_are_counted_with_filters_and_wills() {
    let settings = Settings {
        session_bytes_maximum: 52_000,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let client = world.join(&hello(V5, "a"));
    let filters = ["$share/g/t", "$share/h/t", "$share/i/t"];
    world.subscribe_with(client, &filters.map(|text| filter(text, 1)), &[]);
    let codes = world.next_suback(client);
    let granted = ReasonCode::GrantedQos1;
    assert_eq!(codes, [granted, granted, ReasonCode::QuotaExceeded]);
    // Room comes back with the group's end.
    world.unsubscribe(client, "$share/g/t");
    assert_eq!(world.next_unsuback(client), [ReasonCode::Success]);
    world.subscribe(client, "$share/i/t", 1);
}

#[test]
fn the_last_member_ends_the_group() {
    for version in [V311, V5] {
        let mut world = World::new();
        let members = ["a", "b"].map(|name| member(&mut world, &hello(version, name).durable()));
        world.cut(members[0]);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1, 0..1);
        assert_eq!(drain(&mut world, members[1]), ["0"]);
        assert_eq!(world.table(Table::Cursors), 3);
        world.unsubscribe(members[1], SHARED);
        assert!(world.next_packet(members[1]).is_some());
        publish_numbers(&mut world, writer, 1, 1..3);
        world.expect_nothing(members[1]);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 1);
        let clean = world.join(&hello(version, "a"));
        assert_eq!(world.broker.group_count(), 0);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 3);
        assert_eq!(
            (
                world.table(Table::Cursors),
                world.table(Table::Subscriptions)
            ),
            (1, 0)
        );
        world.expect_nothing(clean);
        publish_numbers(&mut world, writer, 1, 3..4);
        assert_eq!(world.log_len(Lane::Normal), 3);
    }
}

#[test]
fn a_group_ends_with_the_expiry_of_its_last_member() {
    let mut world = World::new();
    let expiry = [Property::SessionExpiryInterval(10)];
    let client = member(&mut world, &hello(V5, "a").with(&expiry));
    world.cut(client);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..1);
    world.pass(11);
    assert_eq!(world.broker.group_count(), 0);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 1);
    assert_eq!(world.table(Table::Cursors), 0);
}

#[test]
fn a_subscription_that_can_not_be_stored_makes_no_group() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.commits = Commits::Fail;
    world.subscribe_with(client, &[filter(SHARED, 1)], &[]);
    assert_eq!(world.next_suback(client), [ReasonCode::QuotaExceeded]);
    assert_eq!(world.broker.group_count(), 0);
    world.commits = Commits::Succeed;
    world.pass(2);
    world.crash(0);
    assert_eq!(world.broker.group_count(), 0);
    assert_eq!(world.table(Table::Cursors), 1);
}

#[test]
fn what_a_member_has_is_not_lost_when_it_unsubscribes() {
    let mut world = World::new();
    let first = member(&mut world, &hello(V5, "a").durable());
    let other = member(&mut world, &hello(V5, "b").durable());
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..4);
    world.expect_publish(first, &message("t", "0", 1).id(1));
    world.expect_publish(first, &message("t", "2", 1).id(2));
    assert_eq!(drain(&mut world, other), ["1", "3"]);
    world.unsubscribe(first, SHARED);
    assert_eq!(world.next_unsuback(first), [ReasonCode::Success]);
    publish_numbers(&mut world, writer, 1, 4..5);
    assert_eq!(drain(&mut world, other), ["4"]);
    world.puback(first, 1);
    world.cut(first);
    assert_eq!(drain(&mut world, other), ["2"]);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 5);
}

#[test]
fn what_is_in_flight_when_its_group_ends_is_completed() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let client = member(&mut world, &hello_a);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 2, 0..2);
        world.expect_publish(client, &message("t", "0", 2).id(1));
        world.expect_publish(client, &message("t", "1", 2).id(2));
        world.unsubscribe(client, SHARED);
        assert!(world.next_packet(client).is_some());
        complete(&mut world, client, 1);
        world.crash(0);
        // Nothing says any more where it is: it is released.
        let client = world.rejoin(&hello_a);
        world.expect_pubrel(client, 2);
        world.pubcomp(client, 2);
        world.expect_nothing(client);
        assert_eq!(world.table(Table::Handshakes), 0);
    }
}

#[test]
fn records_that_are_gone_are_passed_and_counted() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = member(&mut world, &hello_a);
    world.cut(client);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..10);
    world.trim(Lane::Normal, 6);
    let client = world.rejoin(&hello_a);
    assert_eq!(drain(&mut world, client), ["6", "7", "8", "9"]);
    assert_eq!(world.broker.counters().missed, 6);
    world.cut(client);
    publish_numbers(&mut world, writer, 1, 10..14);
    // The start finds them gone.
    world.pass(2);
    world.disk.first[Lane::Normal] = sync::Offset(12);
    world.crash(0);
    assert_eq!(world.broker.counters().missed, 2);
    let client = world.rejoin(&hello_a);
    assert_eq!(drain(&mut world, client), ["12", "13"]);
}

#[test]
fn what_a_member_had_and_is_gone_is_released() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let client = member(&mut world, &hello_a);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1, 0..1);
        publish_numbers(&mut world, writer, 2, 1..2);
        world.cut(client);
        world.trim(Lane::Normal, 2);
        let client = world.rejoin(&hello_a);
        world.expect_pubrel(client, 2);
        world.pubcomp(client, 2);
        world.expect_nothing(client);
        publish_numbers(&mut world, writer, 1, 2..3);
        assert_eq!(drain(&mut world, client), ["2"]);
        assert_eq!(world.broker.release_floor(Lane::Normal).0, 3);
    }
}

#[test]
fn without_readable_cursors_a_group_begins_where_its_first_member_did() {
    for damage in [None, Some(b"\xff".to_vec())] {
        let mut world = World::new();
        let writer = world.join(&hello(V5, "w"));
        let witness = world.join(&hello(V5, "r").durable());
        world.subscribe(witness, "t", 1);
        publish_numbers(&mut world, writer, 1, 0..3);
        let client = member(&mut world, &hello(V5, "a").durable());
        publish_numbers(&mut world, writer, 1, 3..5);
        assert_eq!(drain(&mut world, client), ["3", "4"]);
        world.pass(2);
        let cursors = world.disk.tables.get_mut(&Table::Cursors).unwrap();
        let key = b"group/$share/g/t".to_vec();
        assert!(cursors.remove(&key).is_some());
        let damaged = u64::from(damage.is_some());
        cursors.extend(damage.map(|value| (key, value)));
        world.crash(0);
        assert_eq!(world.broker.counters().damaged, damaged);
        let client = world.rejoin(&hello(V5, "a").durable());
        assert_eq!(drain(&mut world, client), ["3", "4"]);
    }
}

#[test]
fn cursors_of_a_group_that_has_no_members_are_deleted_at_the_start() {
    let mut world = World::new();
    let client = member(&mut world, &hello(V5, "a").durable());
    world.cut(client);
    for table in [Table::Sessions, Table::Subscriptions] {
        world.disk.tables.remove(&table);
    }
    world.crash(0);
    assert_eq!(world.broker.group_count(), 0);
    let cursors = &world.disk.tables[&Table::Cursors];
    assert!(cursors.keys().all(|key| key.starts_with(b"session/")));
}

#[test]
fn a_read_that_fails_is_tried_again() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = member(&mut world, &hello_a);
    world.cut(client);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..1);
    world.holds_fetches = true;
    let client = world.rejoin(&hello_a);
    let (reader, lane, from, _) = world.fetches.pop_front().unwrap();
    let now = world.now;
    let (records, next) = (Vec::new(), from);
    world.broker.handle(
        now,
        edge::broker::Input::Fetched {
            reader,
            lane,
            from,
            records,
            next,
        },
    );
    world.holds_fetches = false;
    world.run();
    world.expect_nothing(client);
    world.pass(2);
    assert_eq!(drain(&mut world, client), ["0"]);
}

#[test]
fn expired_messages_are_passed() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = member(&mut world, &hello_a);
    world.cut(client);
    let writer = world.join(&hello(V5, "w"));
    let expiry = [Property::MessageExpiryInterval(5)];
    world.publish(writer, &message("t", "old", 1).id(9).with(&expiry));
    publish_numbers(&mut world, writer, 1, 0..0);
    world.pass(6);
    world.publish(writer, &message("t", "new", 1).id(9));
    let client = world.rejoin(&hello_a);
    assert_eq!(drain(&mut world, client), ["new"]);
}

#[test]
fn a_subscription_from_before_the_group_had_readers_begins_when_one_comes() {
    let mut world = World::new();
    let routes = world.join(&hello(V5, "r").durable());
    world.subscribe(routes, "t", 1);
    let client = world.join(&hello(V5, "a").durable());
    world.subscribe(client, SHARED, 0);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1, 0..3);
    assert_eq!(drain(&mut world, client).len(), 3);
    world.subscribe(client, SHARED, 1);
    publish_numbers(&mut world, writer, 1, 3..4);
    let found = world.next_message(client).unwrap();
    assert_eq!((found.payload.as_str(), found.qos), ("3", 1));
}

/// The row was left for ever, and a later group of the same name could have begun from it.
#[test]
fn a_group_that_ends_while_the_log_refuses_leaves_no_cursors() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.subscribe(client, "$share/g/t", 1);
    world.pass(2);
    world.commits = Commits::Fail;
    world.cut(client);
    world.pass(3_700);
    world.commits = Commits::Succeed;
    world.pass(3);
    assert_eq!(world.table(Table::Cursors), 0);
}
