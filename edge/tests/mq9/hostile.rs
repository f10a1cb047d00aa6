//! Bad input: what is refused, in which words, and that the connection goes on where it should.

use std::rc::Rc;

use edge::broker::{AccessList, Policy};
use edge::{mail, nats};

use super::cases::{begins, error, fetched, five, ids, payloads, sent};
use super::world::{Commits, World, publish};

#[test]
fn an_unknown_command_is_answered_in_json_and_the_connection_goes_on() {
    let mut world = World::in_text();
    let client = five(&mut world);
    for command in [
        "NONSENSE",
        "MAILBOX",
        "MAILBOX.CREATE.t.inbox",
        "MAILBOX.LIST.t.inbox",
        "MAILBOX.MSG.t.inbox.high",
        "mailbox.create",
        "MSG.SEND",
        "MSG.SUB.t.inbox",
        "MSG.DELETE.7",
        "AGENT.SEARCH",
    ] {
        let words = format!("unrecognized mq9 subject: $mq9.AI.{command}");
        assert_eq!(world.ask(client, command, "{}"), error(&words));
    }
    assert_eq!(fetched(&mut world, client, "{}"), [4]);
}

#[test]
fn a_subject_that_is_none_is_answered_in_json() {
    let mut world = World::in_text();
    let client = five(&mut world);
    for command in ["MSG.SEND.*", "MSG.SEND.>", "MSG.SEND.a..b", "MSG.SEND.a."] {
        let reply = world.ask(client, command, "x");
        begins(
            &reply,
            "{\"error\":\"unrecognized mq9 subject: $mq9.AI.MSG.SEND.",
        );
    }
    assert!(!world.is_closed(client));
}

#[test]
fn a_reply_subject_that_is_none_is_refused() {
    let mut world = World::in_text();
    let client = five(&mut world);
    for reply in ["a.*", "a..b"] {
        world.send(
            client,
            &publish("$mq9.AI.MSG.SEND.t.inbox", Some(reply), &[], b"x"),
        );
        assert_eq!(world.take(client), "-ERR 'Invalid Publish Subject'\r\n");
    }
    assert_eq!(fetched(&mut world, client, "{}"), [4], "nothing was sent");
}

#[test]
fn reserved_subjects_are_refused_and_wildcards_in_a_publish() {
    let mut world = World::in_text();
    let client = world.join();
    for subject in [
        "$mq9",
        "$mq9.AI",
        "$mq9.AIX.MSG.SEND.a",
        "$mq9.t.inbox",
        "$SYS.a",
        "$JS.API.INFO",
    ] {
        world.send(client, &publish(subject, None, &[], b"x"));
        let refused = format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n");
        assert_eq!(world.take(client), refused);
    }
    world.send(client, &publish("a.*", None, &[], b"x"));
    assert_eq!(world.take(client), "-ERR 'Invalid Publish Subject'\r\n");
    assert!(!world.is_closed(client));
}

#[test]
fn what_is_no_operation_ends_the_connection_in_the_words_of_nats() {
    let long = "x".repeat(5_000);
    for (bytes, words) in [
        (
            format!("PUB $mq9.AI.MSG.SEND.a {}\r\n", 2 << 20),
            "Maximum Payload Violation",
        ),
        (format!("PUB {long}"), "maximum control line exceeded"),
        (
            "HPUB $mq9.AI.MSG.SEND.a 20 10\r\n".to_owned(),
            "Parser Error",
        ),
        ("CONNECT {\"verbose\":1}\r\n".to_owned(), "Parser Error"),
    ] {
        let mut world = World::in_text();
        let client = world.join();
        world.say(client, &bytes);
        let taken = world.take(client);
        assert!(world.is_closed(client), "{bytes:.40}");
        assert_eq!(taken, format!("-ERR '{words}'\r\n"), "{bytes:.40}");
    }
}

#[test]
fn one_mailbox_too_many_is_refused_and_a_hundred_thousand_are_not() {
    let limit = 100_000;
    let settings = mail::Settings {
        mailbox_count_maximum: limit,
        ..mail::Settings::default()
    };
    let mut world = World::with(settings, nats::Settings::default());
    let client = world.join();
    let mut bytes = Vec::new();
    for number in 0..limit {
        let body = format!("{{\"name\":\"m.{number}\"}}");
        bytes.extend(publish(
            "$mq9.AI.MAILBOX.CREATE",
            None,
            &[],
            body.as_bytes(),
        ));
        if bytes.len() > 60_000 {
            world.send(client, &std::mem::take(&mut bytes));
        }
    }
    world.send(client, &bytes);
    let reply = world.ask(client, "MAILBOX.CREATE", "{\"name\":\"one.more\"}");
    assert!(
        reply.starts_with("{\"error\":\"") && reply.contains("100000"),
        "{reply}"
    );
    let reply = world.ask(client, "MSG.SEND.m.99999", "x");
    assert_eq!(reply, "{\"error\":\"\",\"msg_id\":0}");
    let reply = world.ask(client, "MAILBOX.CREATE", "{\"name\":\"m.0\"}");
    assert_eq!(reply, error("mailbox m.0 already exists"));
}

#[test]
fn what_the_disk_refuses_is_an_error_and_comes_not_back() {
    let mut world = World::in_text();
    let client = five(&mut world);
    world.commits = Commits::Fail;
    for (command, body) in [
        ("MAILBOX.CREATE", "{\"name\":\"t.other\"}"),
        ("MSG.SEND.t.inbox", "x"),
        ("MSG.DELETE.t.inbox.0", ""),
        ("AGENT.REGISTER", "{\"name\":\"a\"}"),
    ] {
        let reply = world.ask(client, command, body);
        assert!(
            reply.starts_with("{\"error\":\"") && reply.contains("log is full"),
            "{reply}"
        );
    }
    world.commits = Commits::Succeed;
    let body = "{\"deliver\":\"earliest\"}";
    assert_eq!(fetched(&mut world, client, body), [0, 1, 2, 3, 4]);
    world.mailbox(client, "t.other");
    assert_eq!(
        world.ask(client, "AGENT.DISCOVER", ""),
        "{\"error\":\"\",\"agents\":[]}"
    );
    assert_eq!(world.waiting_count(), 0);
}

#[test]
fn what_power_left_on_the_disk_is_there_though_nobody_was_told() {
    let mut world = World::in_text();
    let client = five(&mut world);
    world.commits = Commits::Wait;
    let refused = world.begin(client, "MSG.SEND.t.inbox", "refused");
    world.begin(client, "MSG.SEND.t.inbox", "on the disk");
    world.begin(client, "MSG.SEND.t.inbox", "lost");
    world.commits = Commits::Fail;
    world.finish_commit();
    let reply = world.reply(client, &refused).unwrap();
    assert!(reply.contains("log is full"), "{reply}");
    world.commits = Commits::Succeed;
    world.crash_after(1);
    let client = world.join();
    let body = "{\"deliver\":\"earliest\"}";
    let reply = world.ask(client, "MSG.FETCH.t.inbox", body);
    assert_eq!(payloads(&reply)[5..], ["on the disk"], "{reply}");
    let id = *ids(&reply).last().unwrap();
    assert!(world.mail(client, "t.inbox", &[], "next") > id);
}

#[test]
fn who_may_not_ask_is_told_so_in_json() {
    let list = AccessList::parse("topic readwrite #\ntopic write $mq9/AI/MSG/SEND/#\n");
    let mut world = World::in_text();
    let client = five(&mut world);
    world.rule(Policy {
        list: Some(Rc::new(list.unwrap())),
        ..Policy::default()
    });
    assert_eq!(world.mail(client, "t.inbox", &[], "x"), 5);
    for (command, body) in [
        ("MAILBOX.CREATE", "{}"),
        ("MSG.FETCH.t.inbox", "{}"),
        ("MSG.QUERY.t.inbox", "{}"),
        ("MSG.DELETE.t.inbox.0", ""),
        ("AGENT.DISCOVER", "{}"),
    ] {
        let reply = world.ask(client, command, body);
        assert_eq!(reply, error("not allowed to this client"), "{command}");
    }
    assert!(!world.is_closed(client));
}

#[test]
fn who_asks_faster_than_the_disk_can_follow_waits_and_nobody_is_refused() {
    let settings = mail::Settings {
        pending_count_maximum: 8,
        ..mail::Settings::default()
    };
    let mut world = World::with(settings, nats::Settings::default());
    let client = world.join();
    world.mailbox(client, "t.inbox");
    world.commits = Commits::Wait;
    let mut bytes = Vec::new();
    for number in 0..200 {
        let inbox = format!("_INBOX.{client}.fast{number}");
        bytes.extend(publish("$mq9.AI.MSG.SEND.t.inbox", Some(&inbox), &[], b"x"));
    }
    world.send(client, &bytes);
    assert!(world.waiting_count() <= 8);
    assert!(!world.wants_more(client), "what it says next is not read");
    world.finish_commits();
    for number in 0..200 {
        let reply = world.reply(client, &format!("_INBOX.{client}.fast{number}"));
        assert_eq!(reply, Some(sent(number)));
    }
    assert!(world.wants_more(client));
}

/// What clients may say, some of it wrong.
const LINES: [&str; 18] = [
    "PUB $mq9.AI.MAILBOX.CREATE _INBOX.x.1 14\r\n{\"name\":\"t.a\"}\r\n",
    "PUB $mq9.AI.MSG.SEND.t.a _INBOX.x.1 2\r\nhi\r\n",
    "PUB $mq9.AI.MSG.SEND.t.a 2\r\nhi\r\n",
    "HPUB $mq9.AI.MSG.SEND.t.a _INBOX.x.1 24 26\r\nNATS/1.0\r\nmq9-key: k\r\n\r\nhi\r\n",
    "PUB $mq9.AI.MSG.FETCH.t.a _INBOX.x.1 2\r\n{}\r\n",
    "PUB $mq9.AI.MSG.FETCH.t.a _INBOX.x.1 37\r\n{\"deliver\":\"from_id\",\"from_id\":99999}\r\n",
    "PUB $mq9.AI.MSG.FETCH.t.a _INBOX.x.1 18\r\n{\"group_name\":\"g\"}\r\n",
    "PUB $mq9.AI.MSG.FETCH.t.a 2\r\n{}\r\n",
    "PUB $mq9.AI.MSG.QUERY.t.a _INBOX.x.1 0\r\n\r\n",
    "PUB $mq9.AI.MSG.DELETE.t.a.1 _INBOX.x.1 0\r\n\r\n",
    "PUB $mq9.AI.MSG.NONSENSE _INBOX.x.1 0\r\n\r\n",
    "PUB $mq9.AI.AGENT.REGISTER _INBOX.x.1 12\r\n{\"name\":\"a\"}\r\n",
    "PUB $mq9.AI.AGENT.DISCOVER _INBOX.x.1 0\r\n\r\n",
    "PUB $mq9.AI.MSG.ACK.t.a _INBOX.x.1 32\r\n{\"group_name\":\"g\",\"msg_id\":1000}\r\n",
    "SUB _INBOX.x.* 5\r\n",
    "SUB > 6\r\n",
    "UNSUB 5\r\n",
    "PING\r\n",
];

#[test]
fn random_requests_in_random_pieces_leave_nothing_behind() {
    let mut closed_count = 0;
    for seed in 1..=100 {
        let mut numbers = Numbers(seed * 0x9E37_79B9_7F4A);
        let settings = nats::Settings {
            outbound_bytes_maximum: 2_000,
            ..nats::Settings::default()
        };
        let memory = settings.memory.clone();
        let mut world = World::with(mail::Settings::default(), settings);
        let clients: Vec<usize> = (0..3).map(|_| world.join()).collect();
        for _ in 0..60 {
            let client = clients[numbers.below(clients.len())];
            let line = LINES[numbers.below(LINES.len())].as_bytes();
            let cut = numbers.below(line.len() + 1);
            world.send(client, &line[..cut]);
            world.send(client, &line[cut..]);
            closed_count += usize::from(world.is_closed(client));
            match numbers.below(8) {
                0 => world.set_reading(client, numbers.below(2) == 0),
                1 => world.pass(500),
                2 => world.commits = Commits::Wait,
                3 => world.finish_commits(),
                _ => {}
            }
        }
        world.finish_commits();
        for client in clients {
            world.cut(client);
        }
        assert_eq!(memory.outbound_bytes(), 0, "seed {seed}");
        assert_eq!(memory.inbound_bytes(), 0, "seed {seed}");
        assert_eq!(world.waiting_fetch_count(), 0, "seed {seed}");
    }
    // Slow ones are; whoever only asks is not.
    assert!(closed_count < 600, "{closed_count} of 6000");
}

/// A generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn an_acknowledgement_needs_the_right_to_the_mailbox_that_its_body_names() {
    let mut world = World::new();
    let client = world.join();
    for address in ["mine", "theirs"] {
        world.mailbox(client, address);
        world.mail(client, address, &[], "x");
    }
    let begin = "{\"group_name\":\"g\",\"deliver\":\"earliest\"}";
    let all = world.ask(client, "MSG.FETCH.theirs", begin);
    let list = "topic readwrite #\ntopic write $mq9/AI/MSG/FETCH/#\n\
                topic write $mq9/AI/MSG/ACK/mine\n";
    world.rule(Policy {
        list: Some(Rc::new(AccessList::parse(list).unwrap())),
        ..Policy::default()
    });
    let body =
        |address| format!("{{\"group_name\":\"g\",\"mail_address\":\"{address}\",\"msg_id\":0}}");
    let refused = world.ask(client, "MSG.ACK.mine", &body("theirs"));
    assert_eq!(refused, error("not allowed to this client"));
    assert_eq!(world.ask(client, "MSG.FETCH.theirs", begin), all);
    let allowed = world.ask(client, "MSG.ACK.mine", &body("mine"));
    assert_eq!(allowed, "{\"error\":\"\"}");
}
