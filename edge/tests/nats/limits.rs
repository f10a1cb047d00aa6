//! Limits: what happens at each, and that the connection goes on where it can.

use edge::{broker, nats};
use sync::PerLane;

use super::world::World;

const TOO_MANY: &str = "-ERR 'maximum subscriptions exceeded'\r\n";

fn with(settings: nats::Settings) -> World {
    World::with(broker::Settings::default(), settings)
}

#[test]
fn one_subscription_over_the_count_is_refused() {
    let mut world = with(nats::Settings {
        subscription_count_maximum: 2,
        ..nats::Settings::default()
    });
    let client = world.join();
    world.say(client, "SUB a 1\nSUB a 2\nSUB a 3");
    world.expect(client, TOO_MANY);
    world.say(client, "UNSUB 1\nSUB b 3\nPUB b 0\n");
    world.expect(client, "MSG b 3 0\r\n\r\n");
}

#[test]
fn one_filter_over_the_count_of_the_broker_is_refused_with_all_its_ids() {
    let settings = broker::Settings {
        subscription_count_maximum: 1,
        ..broker::Settings::default()
    };
    let mut world = World::with(settings, nats::Settings::default());
    let client = world.join();
    world.send(client, b"SUB a 1\r\nSUB b 2\r\nSUB b 3\r\n");
    world.expect(client, TOO_MANY);
    world.say(client, "UNSUB 1\nSUB b 2\nPUB b 0\n");
    world.expect(client, "MSG b 2 0\r\n\r\n");
}

#[test]
fn a_filter_of_too_many_levels_is_no_subject() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, &format!("SUB a{} 1", ".a".repeat(100)));
    world.expect(client, "-ERR 'Invalid Subject'\r\n");
}

#[test]
fn all_clients_share_what_subscriptions_may_take_and_give_it_back() {
    let settings = nats::Settings {
        subscription_bytes_maximum: 1_000,
        ..nats::Settings::default()
    };
    let memory = settings.memory.clone();
    let mut world = with(settings);
    let (first, second) = (world.join(), world.join());
    world.say(first, "SUB a 1\nSUB b 2");
    world.say(second, "SUB a 1\nSUB b 2\nSUB c 3");
    world.expect(second, TOO_MANY);
    assert_eq!(memory.subscription_bytes(), 4 * 203);
    world.say(first, "UNSUB 1");
    world.say(second, "SUB c 3");
    world.expect_nothing(second);
    world.cut(first);
    world.say(second, "UNSUB 1\nUNSUB 2\nUNSUB 3 1\nPUB c 0\n");
    assert_eq!(memory.subscription_bytes(), 0);
}

#[test]
fn one_who_does_not_keep_up_is_cut_off_and_told_and_others_go_on() {
    let mut world = with(nats::Settings {
        outbound_bytes_maximum: 1_000,
        ..nats::Settings::default()
    });
    let (slow, quick, publisher) = (world.join(), world.join(), world.join());
    world.say(slow, "SUB a 1");
    world.say(quick, "SUB a 1");
    world.set_reading(slow, false);
    let message = format!("MSG a 1 400\r\n{}\r\n", "x".repeat(400));
    for _ in 0..5 {
        world.publish(publisher, "a", &"x".repeat(400));
    }
    world.expect(quick, &message.repeat(5));
    world.set_reading(slow, true);
    world.expect_end(
        slow,
        &format!("{}-ERR 'Slow Consumer'\r\n", message.repeat(3)),
    );
    assert_eq!(world.broker.session_count(), 2);
}

#[test]
fn where_all_together_are_at_their_limit_only_a_fair_part_is_left_to_each() {
    let settings = nats::Settings {
        outbound_total_bytes_maximum: 10_000,
        ..nats::Settings::default()
    };
    let memory = settings.memory.clone();
    let mut world = with(settings);
    let (greedy, modest, publisher) = (world.join(), world.join(), world.join());
    world.say(greedy, "SUB a 1");
    world.say(modest, "SUB b 1");
    world.set_reading(greedy, false);
    world.set_reading(modest, false);
    world.publish(publisher, "a", &"x".repeat(10_000));
    assert!(memory.outbound_bytes() >= 10_000);
    world.publish(publisher, "b", "x");
    assert!(!world.nats(modest).is_closed());
    world.publish(publisher, "a", "x");
    assert!(world.nats(greedy).is_closed());
    world.cut(greedy);
    world.set_reading(modest, true);
    world.expect(modest, "MSG b 1 1\r\nx\r\n");
}

#[test]
fn a_client_that_reads_no_answers_is_not_read() {
    let mut world = with(nats::Settings {
        outbound_bytes_maximum: 100,
        ..nats::Settings::default()
    });
    let client = world.join();
    world.set_reading(client, false);
    world.send(client, "PING\r\n".repeat(20).as_bytes());
    assert!(!world.nats(client).wants_more());
    world.set_reading(client, true);
    assert!(world.nats(client).wants_more());
}

#[test]
fn parts_of_operations_are_held_only_while_there_is_memory_for_them() {
    let settings = nats::Settings {
        inbound_total_bytes_maximum: 10_000,
        ..nats::Settings::default()
    };
    let memory = settings.memory.clone();
    let mut world = with(settings);
    let (first, second, third) = (world.join(), world.join(), world.join());
    let part = |bytes: usize| [&b"PUB a 100000\r\n"[..], &vec![0; bytes]].concat();
    // Half is for whoever comes first, a sixth is the fair part of each.
    world.send(first, &part(4_800));
    world.send(second, &part(1_600));
    world.send(third, &part(1_800));
    world.expect_end(third, "-ERR 'Maximum Payload Violation'\r\n");
    assert!(!world.nats(first).is_closed() && !world.nats(second).is_closed());
    world.cut(first);
    world.cut(second);
    world.cut(third);
    assert_eq!(memory.inbound_bytes(), 0);
}

#[test]
fn a_subject_that_is_too_long_or_too_deep_for_a_topic_is_refused() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB > 1");
    let refused = "-ERR 'Invalid Publish Subject'\r\n";
    let deep = |levels: usize| "a.".repeat(levels - 1) + "a";
    for (subject, is_taken) in [
        ("a".repeat(1_024), true),
        ("a".repeat(1_025), false),
        (deep(64), true),
        (deep(65), false),
    ] {
        world.publish(client, &subject, "x");
        let message = format!("MSG {subject} 1 1\r\nx\r\n");
        world.expect(client, if is_taken { &message } else { refused });
    }
}

#[test]
fn a_client_for_which_there_is_no_place_is_told_so() {
    let mut world = World::new();
    let client = world.open_without_place();
    let got = world.take(client);
    let (info, words) = got.split_once("\r\n").unwrap();
    assert!(info.starts_with("INFO {"), "{info}");
    assert_eq!(words, "-ERR 'maximum connections exceeded'\r\n");
    world.expect_end(client, "");
}

#[test]
fn whoever_publishes_too_fast_is_slowed_down_and_loses_nothing() {
    let mut world = with(nats::Settings {
        publishes_per_second: 3,
        publish_burst: 5,
        ping_interval: std::time::Duration::from_secs(4),
        ..nats::Settings::default()
    });
    let (fast, other) = (world.join(), world.join());
    world.say(other, "SUB a 1");
    let message = |number: u32| format!("MSG a 1 2\r\n{number:02}\r\n");
    let all: String = (0..20)
        .map(|number| format!("PUB a 2\r\n{number:02}\r\n"))
        .collect();
    world.send(fast, format!("{all}PING\r\n").as_bytes());
    world.expect(other, &(0..5).map(message).collect::<String>());
    assert!(!world.nats(fast).wants_more());
    for second in 0..5 {
        world.expect_nothing(fast);
        world.pass(1);
        world.say(other, "PONG");
        let came = second * 3 + 5..second * 3 + 8;
        world.expect(other, &came.map(message).collect::<String>());
    }
    world.expect(fast, "PONG\r\n");
    assert!(world.nats(fast).wants_more());
}

#[test]
fn what_the_log_does_not_take_is_an_error_and_the_connection_goes_on() {
    let settings = broker::Settings {
        routes: vec!["up/#".into()],
        ..broker::Settings::default()
    };
    let mut world = World::with(settings, nats::Settings::default());
    let stopped = PerLane::from_fn(|_| broker::Intake::Stopped);
    world.tell_broker(broker::Input::Log(broker::LogInput::Intake(stopped)));
    let client = world.join();
    world.say(client, "PUB up.a 1\nx");
    world.expect(client, "-ERR 'Storage Full'\r\n");
    world.tell_broker(broker::Input::Log(broker::LogInput::Intake(
        PerLane::default(),
    )));
    world.say(client, "SUB up.a 1\nPUB up.a 1\nx");
    world.expect(client, "MSG up.a 1 1\r\nx\r\n");
}
