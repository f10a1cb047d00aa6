//! Section 6.1: MAILBOX.CREATE.

use super::cases::{Case, NOTHING, begins, error, sent};
use super::world::{ClientId, World};

const COMMAND: &str = "MAILBOX.CREATE";

pub(crate) const CASES: &[Case] = &[
    (1, |world| {
        made(world, "{\"name\":\"t.inbox\",\"ttl\":3600}", "t.inbox")
    }),
    (2, |world| {
        named_by_the_server(world, "");
    }),
    (3, |world| {
        let first = named_by_the_server(world, "{}");
        assert_ne!(first, named_by_the_server(world, "{}"));
    }),
    (4, |world| {
        named_by_the_server(world, "{\"name\":null,\"ttl\":null,\"desc\":null}");
    }),
    (5, |world| {
        made(world, "{\"ttl\":0,\"name\":\"t.forever\"}", "t.forever");
        // Years would take long second by second: a day is the default of one without a word.
        let client = world.join();
        world.now.wall.0 += 10 * 365 * 86_400 * 1000;
        world.pass(2_000);
        assert_eq!(world.ask(client, "MSG.SEND.t.forever", "x"), sent(0));
    }),
    (6, |world| {
        made(world, "{\"name\":\"t.inbox\",\"ttl\":3600}", "t.inbox");
        refused(
            world,
            "{\"name\":\"t.inbox\"}",
            "mailbox t.inbox already exists",
        );
    }),
    (7, |world| {
        refused(world, "{\"name\":\"\"}", "prefix must not be empty")
    }),
    (8, |world| {
        for name in ["Task.001", "task-001", "task_001"] {
            let body = format!("{{\"name\":\"{name}\"}}");
            let words = "name may only contain lowercase letters, digits, and dots";
            refused(world, &body, words);
        }
    }),
    (9, |world| {
        for name in [".a", "a."] {
            let body = format!("{{\"name\":\"{name}\"}}");
            let words = "prefix must start and end with a lowercase letter or digit";
            refused(world, &body, words);
        }
    }),
    (10, |world| {
        let words = "invalid mail_address: consecutive dots";
        refused(world, "{\"name\":\"a..b\"}", words);
    }),
    (11, |world| {
        let long = format!("{{\"name\":\"{}\"}}", "a".repeat(129));
        begins(&asked(world, &long), "{\"error\":\"invalid mail_address: ");
        let name = "a".repeat(128);
        made(world, &format!("{{\"name\":\"{name}\"}}"), &name);
    }),
    (12, |world| {
        let reply = asked(world, "{\"name\":\"t.x\",\"ttl\":-1}");
        begins(&reply, "{\"error\":\"invalid MAILBOX.CREATE payload: ");
    }),
    (13, |world| {
        let words = "invalid MAILBOX.CREATE payload: expected ident at line 1 column 2";
        refused(world, "not json", words);
    }),
    (14, |world| {
        made(world, "{\"name\":\"t.y\",\"desc\":\"d\",\"foo\":1}", "t.y")
    }),
    (15, |world| {
        made(world, "{\"name\":\"t.ttl\",\"ttl\":2}", "t.ttl");
        let client = world.join();
        assert_eq!(world.ask(client, "MSG.SEND.t.ttl", "old"), sent(0));
        world.pass(3_000);
        let gone = error("mailbox t.ttl does not exist");
        assert_eq!(world.ask(client, "MSG.SEND.t.ttl", "x"), gone);
        assert_eq!(world.ask(client, "MSG.QUERY.t.ttl", "{}"), gone);
        made(world, "{\"name\":\"t.ttl\",\"ttl\":2}", "t.ttl");
        assert_eq!(world.ask(client, "MSG.QUERY.t.ttl", "{}"), NOTHING);
    }),
];

fn asked(world: &mut World, body: &str) -> String {
    let client: ClientId = world.join();
    world.ask(client, COMMAND, body)
}

fn made(world: &mut World, body: &str, address: &str) {
    let expected = format!("{{\"error\":\"\",\"mail_address\":\"{address}\"}}");
    assert_eq!(asked(world, body), expected);
}

fn refused(world: &mut World, body: &str, words: &str) {
    assert_eq!(asked(world, body), error(words));
}

/// Gives the address that the server made up: 20 of `0-9a-v`.
fn named_by_the_server(world: &mut World, body: &str) -> String {
    let reply = asked(world, body);
    let address = reply.strip_prefix("{\"error\":\"\",\"mail_address\":\"");
    let address = address.and_then(|rest| rest.strip_suffix("\"}")).unwrap();
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'v');
    assert!(
        address.len() == 20 && address.bytes().all(is_digit),
        "{address}"
    );
    address.to_owned()
}
