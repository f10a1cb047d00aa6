//! SUB, UNSUB and PUB: who gets a message, how often, and under which subscription id.

use super::world::World;

#[test]
fn wildcards_ask_for_what_they_do_in_nats() {
    let table = [
        ("plant.*.temp", "plant.line1.temp", true),
        ("plant.*.temp", "plant.line1.x.temp", false),
        ("plant.>", "plant.line1.temp", true),
        ("plant.>", "plant.line1", true),
        // Unlike `plant/#`.
        ("plant.>", "plant", false),
        ("*.>", "plant", false),
        ("*.>", "plant.line1", true),
        (">", "plant", true),
        ("*", "plant", true),
        ("*", "plant.line1", false),
        ("foo*", "foo*", true),
        ("foo*", "foobar", false),
        ("a//b.c", "a//b.c", true),
        ("_INBOX.x.*", "_INBOX.x.1", true),
    ];
    let mut world = World::new();
    let publisher = world.join();
    for (filter, subject, is_wanted) in table {
        let client = world.join();
        world.say(client, &format!("SUB {filter} 1"));
        world.publish(publisher, subject, "x");
        let message = format!("MSG {subject} 1 1\r\nx\r\n");
        world.expect(client, if is_wanted { &message } else { "" });
        world.cut(client);
    }
}

fn expect_in_any_order(world: &mut World, client: usize, expected: &[String]) {
    let got = world.take(client);
    let mut got: Vec<&str> = got.split_inclusive("x\r\n").collect();
    got.sort_unstable();
    assert_eq!(got, expected);
}

#[test]
fn each_subscription_gets_a_message_under_its_own_id() {
    let mut world = World::new();
    let client = world.join();
    world.say(
        client,
        "SUB a.b 1\nSUB a.b zwei\nSUB a.* 3\nSUB a.> 4\nSUB c 5",
    );
    world.publish(client, "a.b", "x");
    let lines = ["1", "3", "4", "zwei"].map(|sid| format!("MSG a.b {sid} 1\r\nx\r\n"));
    expect_in_any_order(&mut world, client, &lines);
    world.say(client, "UNSUB 1\nUNSUB 3");
    world.publish(client, "a.b", "x");
    expect_in_any_order(&mut world, client, &lines[2..]);
    world.say(client, "UNSUB zwei\nUNSUB 4\nUNSUB 5");
    world.publish(client, "a.b", "x");
    world.expect_nothing(client);
}

#[test]
fn a_subscription_id_that_is_in_use_stays_what_it_is() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB a 1\nSUB b 1");
    world.publish(client, "b", "x");
    world.expect_nothing(client);
    world.say(client, "UNSUB 1\nSUB b 1");
    world.publish(client, "b", "x");
    world.expect(client, "MSG b 1 1\r\nx\r\n");
}

#[test]
fn unsub_with_a_number_counts_from_the_beginning() {
    let mut world = World::new();
    let client = world.join();
    let got = |sid: u32| format!("MSG a {sid} 1\r\nx\r\n");
    // 1 has two to come, 2 has had enough, 3 is told before any came, 4 goes on.
    world.say(client, "SUB a 1\nSUB a 2\nSUB a 3\nSUB a 4\nUNSUB 3 1");
    world.publish(client, "a", "x");
    world.expect(client, &(1..5).map(got).collect::<String>());
    world.say(client, "UNSUB 1 3\nUNSUB 2 1\nUNSUB 4 0\nSUB a 4");
    for _ in 0..2 {
        world.publish(client, "a", "x");
        world.expect(client, &[1, 4].map(got).concat());
    }
    world.publish(client, "a", "x");
    world.expect(client, &got(4));
}

#[test]
fn a_client_hears_itself_unless_it_does_not_want_to() {
    let mut world = World::new();
    let deaf = "CONNECT {\"verbose\":false,\"echo\":false}";
    let (client, other) = (world.join_saying(deaf), world.join());
    world.say(client, "SUB a 1");
    world.publish(client, "a", "own");
    world.expect_nothing(client);
    world.publish(other, "a", "hers");
    world.expect(client, "MSG a 1 4\r\nhers\r\n");
}

#[test]
fn payloads_and_replies_arrive_as_they_were_sent() {
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB > 1");
    world.send(client, b"PUB a.b _INBOX.q.1 5\r\n\r\n\0\xFF'\r\n");
    let expected = b"MSG a.b 1 _INBOX.q.1 5\r\n\r\n\0\xFF'\r\n";
    world.expect(client, &String::from_utf8_lossy(expected));
    world.send(client, b"PUB\ta   0  \r\n\r\n");
    world.expect(client, "MSG a 1 0\r\n\r\n");
}

#[test]
fn headers_go_only_to_those_who_take_them() {
    let mut world = World::new();
    let (client, old) = (
        world.join(),
        world.join_saying("CONNECT {\"verbose\":false}"),
    );
    world.say(client, "SUB a 1");
    world.say(old, "SUB a 1");
    let block = "NATS/1.0\r\nb: 2\r\nA: 1\r\nb: 3\r\nempty: \r\n\r\n";
    let message = format!("{block}hi");
    let sizes = format!("{} {}", block.len(), message.len());
    world.say(client, &format!("HPUB a r {sizes}\n{message}"));
    world.expect(client, &format!("HMSG a 1 r {sizes}\r\n{message}\r\n"));
    world.expect(old, "MSG a 1 r 2\r\nhi\r\n");
    // No fields, and what no headers are: the message counts.
    for block in ["NATS/1.0\r\n\r\n", "NATS/1.0\r\nno field\r\n\r\n"] {
        let sizes = format!("{} {}", block.len(), block.len() + 2);
        world.say(client, &format!("HPUB a {sizes}\n{block}hi"));
        world.expect(client, "MSG a 1 2\r\nhi\r\n");
        world.expect(old, "MSG a 1 2\r\nhi\r\n");
    }
}

#[test]
fn what_is_no_name_here_is_refused_and_the_connection_goes_on() {
    let invalid = "-ERR 'Invalid Publish Subject'\r\n";
    let reserved = "-ERR 'Permissions Violation for Publish to \"$SYS.a\"'\r\n";
    let mut world = World::new();
    let client = world.join();
    world.say(client, "SUB > 1");
    for (lines, words) in [
        ("PUB a.* 1\nx", invalid),
        ("PUB a.> 1\nx", invalid),
        ("PUB .a 1\nx", invalid),
        // There is no such topic.
        ("PUB a/b 1\nx", invalid),
        ("PUB a.+ 1\nx", invalid),
        ("PUB a b..c 1\nx", invalid),
        ("PUB $SYS.a 1\nx", reserved),
        ("SUB a..b 2", "-ERR 'Invalid Subject'\r\n"),
        ("SUB a.>.b 2", "-ERR 'Invalid Subject'\r\n"),
        ("SUB a/b 2", "-ERR 'Invalid Subject'\r\n"),
        ("SUB $share.a.b 2", "-ERR 'Invalid Subject'\r\n"),
        ("SUB a q/2 2", "-ERR 'Invalid Subject'\r\n"),
        ("PING", "PONG\r\n"),
    ] {
        world.say(client, lines);
        assert_eq!(world.take(client), words, "{lines}");
    }
}

#[test]
fn a_client_that_is_gone_gets_and_holds_nothing() {
    let mut world = World::new();
    let (client, other) = (world.join(), world.join());
    world.say(client, "SUB a 1");
    world.cut(client);
    world.publish(other, "a", "x");
    let client = world.join();
    world.publish(other, "a", "x");
    world.expect_nothing(client);
}
