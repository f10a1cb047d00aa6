//! INFO, CONNECT, and what keeps a connection or ends it.

use edge::{broker, nats};

use super::world::{HELLO, World};

const UNKNOWN: &str = "-ERR 'Unknown Protocol Operation'\r\n";

#[test]
fn info_says_what_clients_look_for_and_nothing_that_is_not_so() {
    let mut world = World::new();
    let client = world.open();
    world.expect(
        client,
        "INFO {\"server_id\":\"edge\",\"server_name\":\"edge\",\"version\":\"2.10.0\",\"proto\":1,\
         \"host\":\"10.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":1048576,\
         \"client_id\":0,\"client_ip\":\"10.0.0.7\",\"auth_required\":false,\
         \"tls_required\":false,\"jetstream\":false}\r\n",
    );
}

#[test]
fn connect_may_leave_out_or_repeat_any_field() {
    for hello in [
        "CONNECT {}",
        "CONNECT {\"name\":null,\"unknown\":[1,2],\"pedantic\":true}",
        "connect\t{\"verbose\":false,\"user\":\"u\",\"pass\":\"p\",\"auth_token\":\"t\"} ",
        "CONNECT {\"verbose\":true,\"verbose\":false,\"protocol\":1,\"lang\":\"x\"}",
    ] {
        let mut world = World::new();
        let client = world.join_saying(hello);
        world.say(client, "PING");
        let is_verbose = hello == "CONNECT {}" || hello.contains("pedantic");
        let expected = if is_verbose {
            "+OK\r\nPONG\r\n"
        } else {
            "PONG\r\n"
        };
        world.expect(client, expected);
    }
}

#[test]
fn the_first_line_behind_a_ping_is_its_pong_however_the_bytes_come() {
    let bytes = format!("{HELLO}\r\nPING\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n");
    for split in 1..bytes.len() {
        let mut world = World::new();
        let client = world.join_saying("PONG");
        world.send(client, &bytes.as_bytes()[..split]);
        world.send(client, &bytes.as_bytes()[split..]);
        // The last one says that all before it is dealt with.
        let expected = "PONG\r\nMSG a 1 2\r\nhi\r\nPONG\r\n";
        assert_eq!(world.take(client), expected, "{split}");
    }
}

#[test]
fn a_verbose_client_is_told_of_each_operation() {
    let mut world = World::new();
    let client = world.join_saying("CONNECT {\"verbose\":true}");
    world.expect(client, "+OK\r\n");
    for (line, answer) in [
        ("PUB a 0\n", "+OK\r\n"),
        ("SUB a 1", "+OK\r\n"),
        ("SUB a 1", "+OK\r\n"),
        ("SUB a 2", "+OK\r\n"),
        ("UNSUB 1", "+OK\r\n"),
        ("UNSUB 7", "+OK\r\n"),
        ("PING", "PONG\r\n"),
        ("PONG", ""),
        ("PUB a.* 0\n", "-ERR 'Invalid Publish Subject'\r\n"),
        ("SUB a..b 1", "-ERR 'Invalid Subject'\r\n"),
        ("PUB a 0\n", "+OK\r\nMSG a 2 0\r\n\r\n"),
    ] {
        world.say(client, line);
        world.expect(client, answer);
    }
}

#[test]
fn what_is_no_operation_ends_the_connection_in_the_words_for_it() {
    let violation = "-ERR 'Maximum Payload Violation'\r\n";
    let parser = "-ERR 'Parser Error'\r\n";
    let long = format!("SUB {} 1", "a".repeat(4097));
    for (line, words) in [
        ("HELO", UNKNOWN),
        ("GET / HTTP/1.1", UNKNOWN),
        ("PUB a 1\nxyz", UNKNOWN),
        ("INFO {}", UNKNOWN),
        (&long, "-ERR 'maximum control line exceeded'\r\n"),
        ("PUB a 1048577", violation),
        ("HPUB a 65537 70000", violation),
        ("HPUB a 12 4", parser),
        ("PUB a x", parser),
        ("PUB a", parser),
        ("SUB a", parser),
        ("UNSUB", parser),
        ("CONNECT {}", UNKNOWN),
    ] {
        let mut world = World::new();
        let client = world.join();
        world.say(client, line);
        world.expect_end(client, words);
        world.say(client, "PING");
        world.expect_nothing(client);
        assert_eq!(world.broker.session_count(), 0, "{line}");
    }
}

#[test]
fn a_connect_that_can_not_be_served_is_refused_in_the_words_for_it() {
    for (hello, words) in [
        (
            "CONNECT {\"protocol\":2}",
            "-ERR 'invalid client protocol'\r\n",
        ),
        (
            "CONNECT {\"no_responders\":true}",
            "-ERR 'no responders requires headers support'\r\n",
        ),
        ("CONNECT {\"verbose\":\"yes\"}", "-ERR 'Parser Error'\r\n"),
        ("CONNECT []", "-ERR 'Parser Error'\r\n"),
        ("CONNECT", "-ERR 'Parser Error'\r\n"),
        ("SUB a 1", "-ERR 'Authorization Violation'\r\n"),
        ("PUB a 0\n", "-ERR 'Authorization Violation'\r\n"),
    ] {
        let mut world = World::new();
        let client = world.join_saying(hello);
        world.expect_end(client, words);
    }
}

#[test]
fn without_connect_there_is_only_so_much_time() {
    let mut world = World::new();
    let client = world.join_saying("PING");
    world.expect(client, "PONG\r\n");
    world.pass(9);
    world.expect_nothing(client);
    world.pass(1);
    world.expect_end(client, "-ERR 'Authentication Timeout'\r\n");
}

#[test]
fn a_silent_client_is_asked_twice_and_then_stale() {
    let mut world = World::new();
    let client = world.join();
    world.pass(119);
    world.expect_nothing(client);
    world.pass(1);
    world.expect(client, "PING\r\n");
    world.say(client, "PONG");
    world.pass(240);
    world.expect(client, "PING\r\nPING\r\n");
    world.pass(119);
    world.expect_nothing(client);
    world.pass(1);
    world.expect_end(client, "-ERR 'Stale Connection'\r\n");
}

#[test]
fn any_operation_is_a_sign_of_life_and_half_of_one_is_none() {
    let mut world = World::new();
    let (client, slow) = (world.join(), world.join());
    for _ in 0..5 {
        world.pass(100);
        world.say(client, "UNSUB 1");
        world.send(slow, b"PUB a");
        if world.nats(slow).is_closed() {
            break;
        }
        world.send(slow, b" ");
    }
    world.expect_nothing(client);
    world.expect_end(slow, "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
}

#[test]
fn a_client_that_talks_on_before_its_session_is_held_to_one_message() {
    let settings = nats::Settings {
        message_bytes_maximum: 100,
        ..nats::Settings::default()
    };
    let mut world = World::with(broker::Settings::default(), settings);
    let client = world.open();
    let bytes = format!("{HELLO}\r\n{}", "PING\r\n".repeat(800));
    world.send(client, bytes.as_bytes());
    world.send(client, b"");
    assert!(world.nats(client).is_closed());
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn a_client_without_a_session_below_the_limit_is_told() {
    let settings = broker::Settings {
        session_count_maximum: 1,
        ..broker::Settings::default()
    };
    let mut world = World::with(settings, nats::Settings::default());
    let first = world.join();
    let second = world.join_saying(HELLO);
    world.expect_end(second, "-ERR 'maximum connections exceeded'\r\n");
    world.cut(first);
    world.join();
}

#[test]
fn nothing_is_said_at_a_shutdown_so_that_clients_come_back() {
    let mut world = World::new();
    let client = world.join();
    world.shut_down(client);
    world.expect_end(client, "");
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn sessions_and_subscriptions_are_never_stored() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB a.> 1\nSUB b q 2\nUNSUB 1");
    world.publish(client, "b", "x");
    world.cut(client);
    assert!(world.changes.is_empty());
    assert_eq!(world.broker.session_count(), 0);
    assert_eq!(world.broker.group_count(), 0);
}
