//! Logins and access lists: users are those of devices, and what they may not do is said.

use std::rc::Rc;

use edge::broker::{AccessList, Policy, Strangers};
use edge::password::Users;

use super::world::{HELLO, World};

/// Each has the password `secret`.
const USERS: &str = "\
alice:$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==
token:$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==
";
const VIOLATION: &str = "-ERR 'Authorization Violation'\r\n";

fn users() -> Policy {
    Policy {
        strangers: Strangers::Refused,
        users: Some(Rc::new(Users::parse(USERS).unwrap())),
        list: None,
    }
}

fn list(text: &str) -> Policy {
    Policy {
        list: Some(Rc::new(AccessList::parse(text).unwrap())),
        ..Policy::default()
    }
}

fn hello(fields: &str) -> String {
    format!("CONNECT {{\"verbose\":false,{fields}}}\nPING")
}

#[test]
fn a_right_password_or_token_lets_in_and_everything_else_does_not() {
    let mut world = World::new();
    world.rule(users());
    for (fields, answer) in [
        ("\"user\":\"alice\",\"pass\":\"secret\"", "PONG\r\n"),
        ("\"auth_token\":\"secret\"", "PONG\r\n"),
        ("\"user\":\"alice\",\"auth_token\":\"secret\"", VIOLATION),
        ("\"user\":\"alice\",\"pass\":\"Secret\"", VIOLATION),
        ("\"user\":\"bob\",\"pass\":\"secret\"", VIOLATION),
        ("\"user\":\"\",\"pass\":\"secret\"", VIOLATION),
        ("\"user\":\"alice\"", VIOLATION),
        ("\"pass\":\"secret\"", VIOLATION),
        ("\"echo\":true", VIOLATION),
    ] {
        let client = world.join_saying(&hello(fields));
        world.finish_checks();
        assert_eq!(world.take(client), answer, "{fields}");
        assert_eq!(
            world.nats(client).is_closed(),
            answer == VIOLATION,
            "{fields}"
        );
        world.cut(client);
    }
}

#[test]
fn a_login_has_no_more_time_than_there_is_for_connect() {
    let mut world = World::new();
    world.rule(users());
    let client = world.join_saying(&hello("\"user\":\"alice\",\"pass\":\"secret\""));
    world.expect_nothing(client);
    assert!(!world.nats(client).wants_more());
    world.pass(10);
    world.expect_end(client, "-ERR 'Authentication Timeout'\r\n");
    world.finish_checks();
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn whoever_is_no_longer_welcome_is_told_and_closed() {
    let mut world = World::new();
    let client = world.join();
    world.rule(users());
    world.expect_end(client, "-ERR 'User Authentication Revoked'\r\n");
    let client = world.join_saying(HELLO);
    world.expect_end(client, VIOLATION);
}

#[test]
fn what_may_not_be_published_is_refused_with_its_subject() {
    let mut world = World::new();
    world.rule(list("topic write open/#\ntopic read #\n"));
    let client = world.join();
    world.say(client, "SUB > 1\nPUB closed.a 1\nx\nPUB open.a 1\nx");
    let refused = "-ERR 'Permissions Violation for Publish to \"closed.a\"'\r\n";
    world.expect(client, &format!("{refused}MSG open.a 1 1\r\nx\r\n"));
    // A request is refused in the same words, and not answered.
    world.say(client, "SUB _INBOX.a.* 2\nPUB closed.a _INBOX.a.1 0\n");
    world.expect(client, refused);
}

#[test]
fn what_may_not_be_read_is_not_delivered_and_nobody_hears_a_request_for_it() {
    let mut world = World::new();
    world.rule(list(
        "topic write #\ntopic read open/#\ntopic read _INBOX/#\n",
    ));
    let client = world.join();
    world.say(client, "SUB _INBOX.a.* 2\nSUB *.a 1");
    world.publish(client, "closed.a", "x");
    world.publish(client, "open.a", "x");
    world.expect(client, "MSG open.a 1 1\r\nx\r\n");
    world.say(client, "PUB closed.a _INBOX.a.1 0\n");
    world.expect(
        client,
        "HMSG _INBOX.a.1 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
    );
}
