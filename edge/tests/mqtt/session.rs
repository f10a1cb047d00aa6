//! 4.1 sessions: resume, take-over, expiry, reading the log, restart.

use edge::broker::{Input, Settings};
use edge::mqtt;
use sync::{Lane, Offset, Table, WallTime};
use wire::mqtt::ReasonCode;
use wire::mqtt::property::Property;

use crate::world::*;

/// Publishes numbered messages with QoS 1, from one number to another, and takes the answers.
fn publish_numbers(world: &mut World, writer: ClientId, numbers: std::ops::Range<u16>) {
    for number in numbers {
        world.publish(writer, &message("t", &number.to_string(), 1).id(9));
        assert!(world.next_packet(writer).is_some());
    }
}

/// [MQTT-3.1.2-5] [MQTT-4.5.0-1] [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn offline_session_gets_all_in_order() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_r = hello(version, "r").durable();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 1);
        world.disconnect(reader);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 0..200);
        let reader = world.rejoin(&hello_r);
        for number in 0..200 {
            let found = world.next_message(reader).unwrap();
            assert_eq!(found.payload, number.to_string());
            world.puback(reader, found.packet_identifier);
        }
        world.expect_nothing(reader);
        publish_numbers(&mut world, writer, 200..201);
        assert_eq!(world.next_message(reader).unwrap().payload, "200");
    }
}

#[test]
fn qos_0_is_not_kept_for_an_offline_session() {
    let settings = Settings {
        routes: vec!["#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 0);
    world.subscribe(reader, "u", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    world.publish(writer, &message("t", "1", 1).id(9));
    world.publish(writer, &message("u", "2", 0));
    world.publish(writer, &message("u", "3", 1).id(9));
    assert_eq!(world.log_len(Lane::Normal), 3);
    let reader = world.rejoin(&hello_r);
    world.expect_publish(reader, &message("u", "3", 1).id(1));
    world.expect_nothing(reader);
}

#[test]
fn an_offline_session_costs_nothing_a_message() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 1);
    world.disconnect(reader);
    world.pass(2);
    let writer = world.join(&hello(V5, "w"));
    let before = world.commit_count;
    publish_numbers(&mut world, writer, 0..100);
    world.pass(2);
    // The appends alone: no cursor moved.
    assert_eq!(world.commit_count - before, 100);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 0);
}

/// [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.2-3]
#[test]
fn unacknowledged_messages_are_sent_again_under_their_packet_identifiers() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_r = hello(version, "r").durable();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 1);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1..4);
        for id in 1..4 {
            world.expect_publish(reader, &message("t", &id.to_string(), 1).id(id));
        }
        world.puback(reader, 2);
        world.cut(reader);
        publish_numbers(&mut world, writer, 4..5);
        let reader = world.rejoin(&hello_r);
        world.expect_publish(reader, &message("t", "1", 1).id(1).again());
        world.expect_publish(reader, &message("t", "3", 1).id(3).again());
        let found = world.next_message(reader).unwrap();
        assert_eq!((found.payload.as_str(), found.dup), ("4", false));
        world.expect_nothing(reader);
    }
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn a_smaller_window_is_kept_when_messages_are_sent_again() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..4);
    world.cut(reader);
    let reader = world.rejoin(&hello(V5, "r").durable().window(1));
    for id in 1..4 {
        world.expect_publish(reader, &message("t", &id.to_string(), 1).id(id).again());
        world.expect_nothing(reader);
        world.puback(reader, id);
    }
    world.expect_nothing(reader);
}

/// [MQTT-3.1.4-3]
#[test]
fn takeover_closes_the_old_connection_with_8e() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_a = hello(version, "a").durable();
        let old = world.join(&hello_a);
        world.subscribe(old, "t", 1);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1..2);
        world.expect_publish(old, &message("t", "1", 1).id(1));
        let new = world.rejoin(&hello_a);
        world.expect_disconnect(old, ReasonCode::SessionTakenOver);
        world.expect_publish(new, &message("t", "1", 1).id(1).again());
        world.cut(old);
        publish_numbers(&mut world, writer, 2..3);
        assert_eq!(world.next_message(new).unwrap().payload, "2");
    }
}

#[test]
fn a_session_that_ends_with_its_connection_is_not_taken_over() {
    let mut world = World::new();
    let resume = Hello {
        clean: false,
        ..hello(V5, "a")
    };
    let old = world.join(&resume);
    world.subscribe(old, "t", 1);
    let new = world.join(&resume);
    world.expect_disconnect(old, ReasonCode::SessionTakenOver);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..2);
    world.expect_nothing(new);
}

#[test]
fn a_connection_taken_over_before_its_connack_just_closes() {
    let mut world = World::new();
    world.commits = Commits::Wait;
    let first = world.say_hello(&hello(V5, "a").durable());
    let second = world.say_hello(&hello(V5, "a").durable());
    world.expect_closed(first);
    world.finish_commits(2);
    assert!(world.next_packet(second).is_some());
    assert!(!world.is_closed(second));
}

/// [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2]
#[test]
fn clean_start_discards_everything() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_r = hello(version, "r").durable();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 2);
        let writer = world.join(&hello(version, "w"));
        world.publish(writer, &message("t", "1", 2).id(9));
        world.expect_publish(reader, &message("t", "1", 2).id(1));
        world.cut(reader);
        let reader = world.join(&hello(version, "r"));
        world.expect_nothing(reader);
        for table in [
            Table::Sessions,
            Table::Subscriptions,
            Table::Handshakes,
            Table::Cursors,
        ] {
            assert_eq!(world.table(table), 0, "{table:?}");
        }
        world.crash(0);
        world.join(&hello_r);
    }
}

/// [MQTT-4.1.0-2] [MQTT-3.1.2-23]
#[test]
fn sessions_expire_by_the_wall_clock_across_restarts() {
    let expiry = [Property::SessionExpiryInterval(10)];
    let hello_a = Hello {
        clean: false,
        ..hello(V5, "a").with(&expiry)
    };
    let mut world = World::new();
    let client = world.join(&hello_a);
    world.cut(client);
    world.pass(9);
    let client = world.rejoin(&hello_a);
    world.cut(client);
    world.pass(4);
    world.crash(0);
    // The device is off for a while; only the wall clock knows.
    world.pass(5);
    assert_eq!(world.broker.session_count(), 1);
    world.pass(1);
    assert_eq!(
        (world.broker.session_count(), world.table(Table::Sessions)),
        (0, 0)
    );
    world.join(&hello_a);
    // Cut by the crash while connected: the interval begins at the restart.
    world.pass(30);
    world.crash(0);
    world.pass(9);
    world.rejoin(&hello_a);
}

/// A device without a clock begins in 1970, and one that learns the time is decades ahead at once.
#[test]
fn a_clock_that_jumps_across_restarts_ends_no_session_and_no_message_and_keeps_none_for_ever() {
    const YEAR: u64 = 365 * 86_400_000;
    let today = 1_700_000_000_000;
    for clock in [0, today - 20 * YEAR, today + 20 * YEAR] {
        let session = [Property::SessionExpiryInterval(10)];
        let hello_r = Hello {
            clean: false,
            ..hello(V5, "r").with(&session)
        };
        let mut world = World::new();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 1);
        world.cut(reader);
        let writer = world.join(&hello(V5, "w"));
        for (payload, seconds) in [("over", 6), ("left", 9)] {
            let expiry = [Property::MessageExpiryInterval(seconds)];
            let sent = message("t", payload, 1).id(7).with(&expiry);
            world.publish(writer, &sent);
        }
        world.pass(5);
        world.crash_and_set_clock(WallTime(today), WallTime(clock));
        world.pass(1);
        assert_eq!(world.broker.session_count(), 1, "{clock}");
        let reader = world.rejoin(&hello_r);
        let left = [Property::MessageExpiryInterval(3)];
        world.expect_publish(reader, &message("t", "left", 1).id(1).with(&left));
        world.expect_nothing(reader);
        world.cut(reader);
        world.pass(9);
        world.crash_and_set_clock(WallTime(clock), WallTime(today));
        assert_eq!(world.broker.session_count(), 1, "{clock}");
        world.pass(1);
        assert_eq!(world.broker.session_count(), 0, "{clock}");
    }
}

/// What was acknowledged must not come again for ever, until the log has no room for it and drops
/// what everybody had.
#[test]
fn lives_below_a_second_bring_a_session_on() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable().window(1);
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 1);
    world.cut(reader);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 0..10);
    world.pass(2);
    for number in 0..10 {
        world.crash(0);
        let reader = world.rejoin(&hello_r);
        let found = world.next_message(reader).unwrap();
        assert_eq!(found.payload, number.to_string());
        world.puback(reader, found.packet_identifier);
        world.pass_milliseconds(100);
    }
    assert_eq!(world.broker.release_floor(Lane::Normal), Offset(10));
}

/// Cursors are stored once a second, however soon the first of them is.
#[test]
fn a_busy_session_is_stored_once_a_second() {
    let mut world = World::new();
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 1);
    world.pass(2);
    let writer = world.join(&hello(V5, "w"));
    let before = world.commit_count;
    for number in 0..100 {
        publish_numbers(&mut world, writer, number..number + 1);
        let found = world.next_message(reader).unwrap();
        world.puback(reader, found.packet_identifier);
        world.pass_milliseconds(100);
    }
    let sweeps = world.commit_count - before - 100;
    assert!((9..=11).contains(&sweeps), "{sweeps}");
}

#[test]
fn slow_subscriber_reads_from_the_log() {
    for hello_r in [hello(V5, "r").window(2), hello(V5, "r").durable().window(2)] {
        let mut world = World::new();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 1);
        let writer = world.join(&hello(V5, "w"));
        publish_numbers(&mut world, writer, 1..50);
        for number in 1..50 {
            let found = world.next_message(reader).unwrap();
            assert_eq!(found.payload, number.to_string());
            world.puback(reader, found.packet_identifier);
        }
        world.expect_nothing(reader);
        assert!(world.log_len(Lane::Normal) >= 47);
        assert_eq!(
            world.broker.release_floor(Lane::Normal).0,
            world.log_len(Lane::Normal) as u64
        );
        // It has caught up: what it can take passes through memory again.
        let before = world.fetch_count;
        publish_numbers(&mut world, writer, 50..51);
        assert_eq!(world.next_message(reader).unwrap().payload, "50");
        assert_eq!(world.fetch_count, before);
    }
}

#[test]
fn records_before_a_subscription_are_not_for_it() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable().window(1);
    let reader = world.join(&hello_r);
    world.subscribe(reader, "other", 1);
    let keeper = world.join(&hello(V5, "keeper").durable());
    world.subscribe(keeper, "#", 1);
    let writer = world.join(&hello(V5, "w"));
    // Behind, with an unacknowledged message before everything.
    world.publish(writer, &message("other", "0", 1).id(1));
    world.publish(writer, &message("other", "1", 1).id(1));
    world.publish(writer, &message("t", "before", 1).id(1));
    world.subscribe_quietly(reader, "t", 1);
    world.publish(writer, &message("t", "after", 1).id(1));
    let mut found = Vec::new();
    while let Some(message) = world.next_message(reader) {
        found.push(message.payload);
        world.puback(reader, message.packet_identifier);
    }
    assert_eq!(found, ["0", "1", "after"]);
}

#[test]
fn critical_records_are_read_first() {
    let settings = Settings {
        lanes: vec![("alarm".into(), Lane::Critical)],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "#", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..3);
    world.publish(writer, &message("alarm", "!", 1).id(1));
    let reader = world.rejoin(&hello_r);
    assert_eq!(world.next_message(reader).unwrap().payload, "!");
    assert_eq!(world.next_message(reader).unwrap().payload, "1");
}

#[test]
fn records_that_were_dropped_are_passed_and_counted() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 0..1);
    world.next_packet(reader);
    world.cut(reader);
    publish_numbers(&mut world, writer, 1..10);
    world.trim(Lane::Normal, 5);
    let reader = world.rejoin(&hello_r);
    for number in 5..10 {
        assert_eq!(
            world.next_message(reader).unwrap().payload,
            number.to_string()
        );
    }
    assert_eq!(world.broker.counters().missed, 5);
    // While it is connected and behind.
    let slow = world.join(&hello(V5, "s").durable().window(1));
    world.subscribe(slow, "t", 1);
    world.holds_fetches = true;
    publish_numbers(&mut world, writer, 10..20);
    assert_eq!(world.next_message(slow).unwrap().payload, "10");
    world.trim(Lane::Normal, 15);
    world.puback(slow, 1);
    world.holds_fetches = false;
    world.run();
    assert_eq!(world.next_message(slow).unwrap().payload, "15");
}

#[test]
fn crash_repeats_at_most_what_was_not_swept() {
    for version in [V311, V5] {
        let mut world = World::new();
        let hello_r = hello(version, "r").durable();
        let reader = world.join(&hello_r);
        world.subscribe(reader, "t", 1);
        let writer = world.join(&hello(version, "w"));
        publish_numbers(&mut world, writer, 1..4);
        for id in 1..4 {
            world.expect_publish(reader, &message("t", &id.to_string(), 1).id(id));
        }
        world.puback(reader, 1);
        world.pass(1);
        world.puback(reader, 2);
        world.crash(0);
        let reader = world.rejoin(&hello_r);
        let mut found = Vec::new();
        while let Some(message) = world.next_message(reader) {
            assert!(message.dup);
            found.push(message.payload);
        }
        assert_eq!(found, ["2", "3"]);
    }
}

#[test]
fn cursors_of_live_sessions_are_renewed_without_traffic_of_their_own() {
    let settings = Settings {
        routes: vec!["#".into()],
        cursor_lag_maximum: 10,
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "quiet", 1);
    let writer = world.join(&hello(V5, "w"));
    for _ in 0..25 {
        world.publish(writer, &message("t", "", 0));
        world.pass(1);
    }
    world.crash(0);
    assert!(world.broker.release_floor(Lane::Normal).0 >= 10);
}

#[test]
fn damaged_values_are_left_out() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.subscribe(client, "t", 1);
    for (table, key) in [
        (Table::Sessions, b"b".as_slice()),
        (Table::Subscriptions, b"a\0u"),
        (Table::Cursors, b"session/b"),
        (Table::Handshakes, b"a\0tttt"),
    ] {
        let rows = world.disk.tables.entry(table).or_default();
        rows.insert(key.to_vec(), vec![0xFF]);
    }
    world.crash(0);
    assert_eq!(
        (
            world.broker.session_count(),
            world.broker.counters().damaged
        ),
        (1, 4)
    );
    world.rejoin(&hello(V5, "a").durable());
}

#[test]
fn leftovers_of_no_session_are_deleted_at_the_start() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.subscribe(client, "t", 1);
    world.disk.tables.get_mut(&Table::Sessions).unwrap().clear();
    world.crash(0);
    assert_eq!(world.table(Table::Subscriptions), 0);
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn a_log_that_can_not_be_read_is_asked_again_at_the_sweep() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..2);
    world.holds_fetches = true;
    let reader = world.rejoin(&hello_r);
    let (asking, lane, from, _) = world.fetches.pop_front().unwrap();
    let records = Vec::new();
    let input = Input::Fetched {
        reader: asking,
        lane,
        from,
        records,
        next: from,
    };
    world.broker.handle(world.now, input);
    world.holds_fetches = false;
    world.run();
    world.expect_nothing(reader);
    world.pass(1);
    assert_eq!(world.next_message(reader).unwrap().payload, "1");
}

#[test]
fn a_session_that_leaves_wants_nothing_from_before() {
    let settings = Settings {
        routes: vec!["#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let reader = world.join(&hello(V5, "r").durable());
    world.subscribe(reader, "t", 1);
    let writer = world.join(&hello(V5, "w"));
    for _ in 0..5 {
        world.publish(writer, &message("u", "", 0));
    }
    world.disconnect(reader);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 5);
    world.crash(0);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 5);
}

#[test]
fn a_read_may_be_ahead_of_the_answers_to_commits() {
    let mut world = World::new();
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..2);
    world.holds_fetches = true;
    let reader = world.rejoin(&hello_r);
    world.commits = Commits::Wait;
    world.publish(writer, &message("t", "2", 1).id(9));
    let (asking, lane, from, _) = world.fetches.pop_front().unwrap();
    let Some(sync::Change::Append { record, .. }) = world.waiting[0].1.first().cloned() else {
        panic!("a record is on its way");
    };
    let first = world.disk.lanes[lane as usize][0].clone();
    let records = vec![(Offset(0), first), (Offset(1), record)];
    let next = Offset(2);
    world.broker.handle(
        world.now,
        Input::Fetched {
            reader: asking,
            lane,
            from,
            records,
            next,
        },
    );
    world.commits = Commits::Succeed;
    world.run();
    assert_eq!(world.next_message(reader).unwrap().payload, "1");
    assert_eq!(world.next_message(reader).unwrap().payload, "2");
    world.expect_nothing(reader);
}

#[test]
fn a_departure_that_can_not_be_stored_is_stored_later() {
    let mut world = World::new();
    let expiry = [Property::SessionExpiryInterval(10)];
    let hello_a = Hello {
        clean: false,
        ..hello(V5, "a").with(&expiry)
    };
    let client = world.join(&hello_a);
    world.commits = Commits::Fail;
    world.cut(client);
    // A session that is there goes on although nothing can be written.
    let client = world.rejoin(&hello_a);
    world.cut(client);
    world.pass(2);
    world.commits = Commits::Succeed;
    world.pass(2);
    world.crash(0);
    world.pass(6);
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn a_sweep_of_many_sessions_is_cut_into_commits() {
    let mut world = World::new();
    let mut readers = Vec::new();
    for number in 0..300 {
        let id: &'static str = Box::leak(format!("r{number}").into_boxed_str());
        let reader = world.join(&hello(V5, id).durable());
        world.subscribe(reader, "t", 1);
        readers.push(reader);
    }
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..2);
    let before = world.commit_count;
    world.pass(1);
    assert_eq!(world.commit_count - before, 2);
    for reader in readers {
        world.expect_publish(reader, &message("t", "1", 1).id(1));
    }
}

#[test]
fn no_lane_waits_for_ever() {
    let settings = Settings {
        lanes: vec![("alarm".into(), Lane::Critical)],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let hello_r = hello(V5, "r").durable().window(1);
    let reader = world.join(&hello_r);
    world.subscribe(reader, "#", 1);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..2);
    for _ in 0..20 {
        world.publish(writer, &message("alarm", "!", 1).id(1));
    }
    let reader = world.rejoin(&hello_r);
    let mut found = Vec::new();
    while let Some(message) = world.next_message(reader) {
        found.push(message.payload);
        world.puback(reader, message.packet_identifier);
    }
    let at = found.iter().position(|payload| payload == "1");
    assert_eq!((found.len(), at), (21, Some(7)));
}

#[test]
fn a_session_with_qos_0_alone_never_reads_the_log() {
    let settings = Settings {
        routes: vec!["#".into()],
        ..Settings::default()
    };
    let mut world = World::with(settings, mqtt::Settings::default());
    let hello_r = hello(V5, "r").durable();
    let reader = world.join(&hello_r);
    world.subscribe(reader, "t", 0);
    world.disconnect(reader);
    let writer = world.join(&hello(V5, "w"));
    publish_numbers(&mut world, writer, 1..9);
    assert_eq!(world.broker.release_floor(Lane::Normal).0, 8);
    world.trim(Lane::Normal, 8);
    world.rejoin(&hello_r);
    assert_eq!((world.fetch_count, world.broker.counters().missed), (0, 0));
}

/// The rows of a session that ended while the log refused used to stay, and the next session of
/// the client had its subscriptions and exchanges after a restart: a publish whose packet
/// identifier was among them was answered and not kept.
#[test]
fn a_successor_inherits_nothing_when_the_end_could_not_be_stored() {
    for is_swept in [true, false] {
        let mut world = World::new();
        let hello_a = hello(V5, "a").durable();
        let client = world.join(&hello_a);
        world.subscribe(client, "t", 1);
        world.publish(client, &message("u", "1", 2).id(7));
        assert_eq!(world.table(Table::Handshakes), 1);
        world.cut(client);
        world.commits = Commits::Fail;
        world.pass(3601);
        assert_eq!(world.broker.session_count(), 0);
        // Nor can the client begin anew before the rows are gone.
        let refused = world.say_hello(&hello_a);
        assert!(world.is_closed(refused));
        world.commits = Commits::Succeed;
        if is_swept {
            world.pass(2);
            assert_eq!(world.table(Table::Sessions), 0);
        }
        world.join(&hello_a);
        assert_eq!(world.table(Table::Sessions), 1);
        assert_eq!(world.table(Table::Subscriptions), 0);
        assert_eq!(world.table(Table::Handshakes), 0);
        world.pass(2);
        world.crash(0);
        world.rejoin(&hello_a);
    }
}

#[test]
fn a_refused_clean_start_leaves_nothing_behind_either() {
    let mut world = World::new();
    let hello_a = hello(V5, "a").durable();
    let client = world.join(&hello_a);
    world.subscribe(client, "t", 1);
    world.cut(client);
    world.commits = Commits::Fail;
    let refused = world.say_hello(&hello_a.clone().clean());
    assert!(world.is_closed(refused));
    world.commits = Commits::Succeed;
    world.join(&hello(V5, "a"));
    for table in [Table::Sessions, Table::Subscriptions, Table::Cursors] {
        assert_eq!(world.table(table), 0, "{table:?}");
    }
}

#[test]
fn a_session_that_is_due_to_end_is_not_resumed_because_the_clock_is_late() {
    let mut world = World::new();
    let client = world.join(&hello(V5, "a").durable());
    world.cut(client);
    // Nobody has called for the timers yet.
    world.now.instant = world.now.instant + std::time::Duration::from_secs(3600);
    world.now.wall.0 += 3_600_000;
    world.join(&hello(V5, "a").durable());
}

/// [MQTT-4.1.0-1]: whatever its interval says, which begins when the connection ends.
#[test]
fn a_session_lasts_at_least_as_long_as_its_connection() {
    let expiry = [Property::SessionExpiryInterval(1)];
    for greeting in [
        hello(V5, "a"),
        hello(V5, "a").with(&expiry),
        hello(V311, "a"),
    ] {
        let mut world = World::new();
        let client = world.join(&greeting);
        world.subscribe(client, "t", 2);
        world.publish(client, &message("u", "1", 2).id(7));
        world.next_packet(client);
        world.pass(1_000);
        world.publish(client, &message("u", "1", 2).id(7).again());
        world.expect_pubrec(client, 7);
        world.publish(client, &message("t", "1", 0));
        world.expect_publish(client, &message("t", "1", 0));
        world.pubrel(client, 7);
        world.expect_pubcomp(client, 7);
    }
}

/// [MQTT-4.1.0-2] [MQTT-3.1.2-23]: with nothing left of it.
#[test]
fn a_session_is_discarded_when_its_time_is_over() {
    for (seconds, version) in [(0, V5), (0, V311), (5, V5)] {
        let mut world = World::new();
        let expiry = [Property::SessionExpiryInterval(seconds)];
        let greeting = match version {
            V5 => hello(V5, "a").with(&expiry),
            _ => hello(V311, "a"),
        };
        let client = world.join(&greeting);
        world.subscribe(client, "t", 2);
        world.publish(client, &message("t", "1", 2).id(7));
        world.cut(client);
        if seconds > 0 {
            world.pass(u64::from(seconds) - 1);
            assert_eq!(world.broker.session_count(), 1);
            world.pass(1);
        }
        assert_eq!(world.broker.session_count(), 0);
        for table in [
            Table::Sessions,
            Table::Subscriptions,
            Table::Handshakes,
            Table::Cursors,
        ] {
            assert_eq!(world.table(table), 0, "{table:?}");
        }
        assert_eq!(
            world.broker.release_floor(Lane::Normal).0,
            world.log_len(Lane::Normal) as u64
        );
        let client = world.join(&Hello {
            clean: false,
            ..greeting
        });
        world.publish(client, &message("t", "1", 0));
        world.expect_nothing(client);
    }
}

/// [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-4.5.0-1]: subscriptions, messages of QoS 1 and 2 on their
/// way, in both directions, and those that came meanwhile; after a restart as after a cut.
#[test]
fn a_session_that_is_resumed_has_everything() {
    for version in [V311, V5] {
        for is_crashed in [false, true] {
            let mut world = World::new();
            let hello_a = hello(version, "a").durable();
            let client = world.join(&hello_a);
            world.subscribe(client, "t", 2);
            let writer = world.join(&hello(version, "w"));
            for id in 1..=2 {
                world.publish(writer, &message("t", "sent", 2).id(id));
                world.expect_publish(client, &message("t", "sent", 2).id(id));
            }
            world.pubrec(client, 1);
            world.expect_pubrel(client, 1);
            world.publish(client, &message("u", "mine", 2).id(9));
            world.next_packet(client);
            world.cut(client);
            world.publish(writer, &message("t", "missed", 1).id(3));
            if is_crashed {
                world.crash(0);
            }
            let client = world.rejoin(&hello_a);
            world.expect_pubrel(client, 1);
            world.expect_publish(client, &message("t", "sent", 2).id(2).again());
            let missed = world.next_message(client).unwrap();
            assert_eq!((missed.payload.as_str(), missed.dup), ("missed", false));
            let stored = world.log_len(Lane::Normal);
            world.publish(client, &message("u", "mine", 2).id(9).again());
            world.expect_pubrec(client, 9);
            assert_eq!(world.log_len(Lane::Normal), stored);
            world.pubrel(client, 9);
            world.expect_pubcomp(client, 9);
            world.publish(client, &message("t", "new", 0));
            world.expect_publish(client, &message("t", "new", 0));
        }
    }
}
