//! Bad input: what is refused, in which words, and that the connection goes on where it should.

use std::rc::Rc;

use edge::broker::{AccessList, Policy};
use edge::{mail, nats};

use super::cases::{begins, error, fetched, five};
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
