//! Section 6.0: the cases that catch the most, as bytes. What is said there of client libraries is
//! told by these libraries in the tests of the program.

use serde_json::Value;
use wire::mq9::PayloadEncoding;

use super::cases::{
    Case, DONE, NOTHING, acknowledged, base64, error, fetched, five, ids, item, messages, payloads,
    sent,
};
use super::world::{ClientId, World};

const FETCH: &str = "MSG.FETCH.t.inbox";
const OF_G: &str = "{\"group_name\":\"g\",\"deliver\":\"earliest\",\"config\":{\"max_wait_ms\":0}}";

pub(crate) const CASES: &[Case] = &[
    (1, |world| {
        let made = "{\"error\":\"\",\"mail_address\":\"t.a\"}";
        for (name, hello) in HELLOS {
            let mut world = World::in_text();
            let client = world.join_saying(hello);
            let reply = world.ask(client, "MAILBOX.CREATE", "{\"name\":\"t.a\"}");
            assert_eq!(reply, made, "{name}");
        }
        // Of a world of its own each.
        world.pass(0);
    }),
    (2, |_| {
        let mut world = World::new();
        let client = world.join();
        world.mailbox(client, "t.inbox");
        let bytes = b"\xff\x00hello";
        assert_eq!(
            world.ask_with(client, "MSG.SEND.t.inbox", &[], bytes),
            sent(0)
        );
        let written = base64(bytes);
        for body in [
            "{\"deliver\":\"earliest\"}",
            "{\"payload_encoding\":\"base64\"}",
        ] {
            let reply = world.ask(client, FETCH, body);
            assert_eq!(payloads(&reply), std::slice::from_ref(&written));
            assert!(
                reply.contains(&format!("\"payload_b64\":\"{written}\"")),
                "{reply}"
            );
        }
        let reply = world.ask(client, FETCH, "{\"payload_encoding\":\"utf8\"}");
        assert_eq!(payloads(&reply), ["\u{fffd}\0hello"]);
        let reply = world.ask(
            client,
            "MSG.QUERY.t.inbox",
            "{\"payload_encoding\":\"utf8\"}",
        );
        assert_eq!(payloads(&reply), ["\u{fffd}\0hello"]);
        assert_eq!(PayloadEncoding::default(), PayloadEncoding::Base64);
    }),
    (3, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        let text = "{\"text\":\"hello\"}";
        assert_eq!(world.ask(client, "MSG.SEND.t.inbox", text), sent(0));
        let reply = world.ask(client, FETCH, "{\"deliver\":\"earliest\"}");
        assert_eq!(reply, messages(&[item(0, text)]));
        assert!(
            reply.contains("\"payload\":\"{\\\"text\\\":\\\"hello\\\"}\""),
            "{reply}"
        );
    }),
    (4, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        let again = world.ask(client, "MAILBOX.CREATE", "{\"name\":\"t.inbox\"}");
        assert_eq!(again, error("mailbox t.inbox already exists"));
    }),
    (5, |world| {
        let client = world.join();
        let reply = world.ask(client, "MSG.SEND.nope", "x");
        assert_eq!(reply, error("mailbox nope does not exist"));
    }),
    (6, |world| {
        let client = six(world);
        let reply = world.ask(
            client,
            FETCH,
            "{\"deliver\":\"earliest\",\"config\":{\"num_msgs\":10}}",
        );
        assert_eq!(payloads(&reply), ["c1", "c2", "u1", "u2", "n1", "n2"]);
    }),
    (7, |world| {
        let client = six(world);
        let pages = OF_G.replace("{\"max", "{\"num_msgs\":2,\"max");
        let mut all = Vec::new();
        loop {
            let reply = world.ask(client, FETCH, &pages);
            let Some(last) = ids(&reply).last().copied() else {
                break;
            };
            all.extend(payloads(&reply));
            acknowledged(world, client, "g", last);
        }
        assert_eq!(all, ["c1", "c2", "u1", "u2", "n1", "n2"]);
    }),
    (8, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        for number in 0..3 {
            assert_eq!(world.mail(client, "t.inbox", &[], "x"), number);
        }
        assert_eq!(fetched(world, client, OF_G), [0, 1, 2]);
        acknowledged(world, client, "g", 2);
        assert_eq!(world.ask(client, FETCH, OF_G), NOTHING);
    }),
    (9, |world| {
        let client = five(world);
        let body = "{\"group_name\":\"g\",\"deliver\":\"latest\"}";
        assert_eq!(fetched(world, client, body), [4]);
    }),
    (10, |world| {
        let client = five(world);
        assert_eq!(fetched(world, client, OF_G), [0, 1, 2, 3, 4]);
        acknowledged(world, client, "g", 4);
        let forced = OF_G.replace("\"config\"", "\"force_deliver\":true,\"config\"");
        assert_eq!(fetched(world, client, &forced), [0, 1, 2, 3, 4]);
        assert_eq!(fetched(world, client, OF_G), [0, 1, 2, 3, 4]);
    }),
    (11, |world| {
        let (client, other) = (world.join(), world.join());
        world.mailbox(client, "t.inbox");
        let inbox = world.begin(client, FETCH, "{\"config\":{\"max_wait_ms\":4000}}");
        world.pass(300);
        assert_eq!(world.reply(client, &inbox), None);
        world.mail(other, "t.inbox", &[], "x");
        let arrived = messages(&[item(0, "x")]);
        assert_eq!(world.reply(client, &inbox), Some(arrived));
    }),
    (12, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        for payload in ["1", "2", "3", "4", "5"] {
            world.mail(client, "t.inbox", &["mq9-key: k"], payload);
        }
        let reply = world.ask(client, FETCH, "{\"deliver\":\"earliest\"}");
        assert_eq!(payloads(&reply), ["5"]);
        let reply = world.ask(client, "MSG.QUERY.t.inbox", "{\"key\":\"k\"}");
        assert_eq!(payloads(&reply), ["5"]);
    }),
    (13, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        let reply = world.ask_with(client, "MSG.SEND.t.inbox", &["mq9-delay: 3"], b"x");
        assert_eq!(reply, "{\"error\":\"\",\"msg_id\":-1}");
        world.pass(2_500);
        assert_eq!(world.ask(client, "MSG.QUERY.t.inbox", ""), NOTHING);
        world.pass(2_500);
        let reply = world.ask(client, "MSG.QUERY.t.inbox", "");
        assert_eq!(
            (ids(&reply), payloads(&reply)),
            (vec![0], vec!["x".to_owned()])
        );
    }),
    (14, |world| {
        let client = world.join();
        let body = "{\"name\":\"n\",\"mailbox\":\"m\",\"payload\":\"p\"}";
        assert_eq!(world.ask(client, "AGENT.REGISTER", body), DONE);
        let reply: Value = serde_json::from_str(&world.ask(client, "AGENT.DISCOVER", "")).unwrap();
        let agent = &reply["agents"][0];
        assert_eq!(
            (&agent["name"], &agent["mailbox"], &agent["payload"]),
            (&"n".into(), &"m".into(), &"p".into())
        );
        assert_eq!(
            world.ask(client, "AGENT.UNREGISTER", "{\"mailbox\":\"m\"}"),
            DONE
        );
        let reply = world.ask(client, "AGENT.DISCOVER", "");
        assert_eq!(reply, "{\"error\":\"\",\"agents\":[]}");
    }),
    (15, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        world.tell(client, "MSG.SEND.t.inbox", "x");
        assert_eq!(
            (world.take(client), world.is_closed(client)),
            (String::new(), false)
        );
        assert_eq!(fetched(world, client, "{\"deliver\":\"earliest\"}"), [0]);
    }),
];

/// How client libraries introduce themselves.
const HELLOS: [(&str, &str); 5] = [
    (
        "nats-py",
        "CONNECT {\"echo\":true,\"headers\":true,\"lang\":\"python3\",\"no_responders\":true,\
         \"pedantic\":false,\"protocol\":1,\"verbose\":false,\"version\":\"2.16.0\"}",
    ),
    (
        "nats.js",
        "CONNECT {\"protocol\":1,\"version\":\"2.28.2\",\"lang\":\"nats.js\",\"verbose\":false,\
         \"pedantic\":false,\"headers\":true,\"no_responders\":true}",
    ),
    (
        "async-nats",
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"jwt\":null,\"nkey\":null,\"sig\":null,\
         \"name\":null,\"echo\":false,\"lang\":\"rust\",\"version\":\"0.51.0\",\"protocol\":1,\
         \"tls_required\":false,\"headers\":true,\"no_responders\":true}",
    ),
    (
        "nats.go",
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"\",\
         \"lang\":\"go\",\"version\":\"1.37.0\",\"protocol\":1,\"echo\":true,\"headers\":true,\
         \"no_responders\":true}",
    ),
    (
        "jnats",
        "CONNECT {\"lang\":\"java\",\"version\":\"2.20.0\",\"protocol\":1,\"verbose\":false,\
         \"pedantic\":false,\"tls_required\":false,\"echo\":true,\"headers\":true,\
         \"no_responders\":true}",
    ),
];

/// Two messages of each priority, sent in an order that is not theirs.
fn six(world: &mut World) -> ClientId {
    let client = world.join();
    world.mailbox(client, "t.inbox");
    for payload in ["n1", "c1", "u1", "n2", "c2", "u2"] {
        let priority = match payload.as_bytes()[0] {
            b'c' => "critical",
            b'u' => "urgent",
            _ => "normal",
        };
        world.mail(
            client,
            "t.inbox",
            &[&format!("mq9-priority: {priority}")],
            payload,
        );
    }
    client
}
