//! Section 6.2: MSG.SEND.

use super::cases::{Case, NOTHING, error, item, messages, payloads, sent};
use super::world::{ClientId, World};

const SEND: &str = "MSG.SEND.t.inbox";
const FETCH: &str = "MSG.FETCH.t.inbox";
const QUERY: &str = "MSG.QUERY.t.inbox";
const EARLIEST: &str = "{\"deliver\":\"earliest\",\"config\":{\"max_wait_ms\":0}}";
const LATER: &str = "{\"error\":\"\",\"msg_id\":-1}";

pub(crate) const CASES: &[Case] = &[
    (1, |world| {
        let client = begin(world);
        assert_eq!(world.ask(client, SEND, "hello"), sent(0));
        let kept = messages(&[item(0, "hello")]);
        assert_eq!(world.ask(client, FETCH, EARLIEST), kept);
    }),
    (2, |world| {
        let client = begin(world);
        assert_eq!(world.ask(client, SEND, ""), sent(0));
        assert_eq!(world.ask(client, FETCH, EARLIEST), messages(&[item(0, "")]));
    }),
    (3, |world| {
        let client = begin(world);
        assert_eq!(world.ask_with(client, SEND, &[""], b"x"), sent(0));
        let reply = world.ask(client, FETCH, EARLIEST);
        assert_eq!(reply, messages(&[item(0, "x").with(&[""])]));
        let header = "\"header\":[78,65,84,83,47,49,46,48,13,10,13,10],";
        assert!(reply.contains(header), "{reply}");
    }),
    (4, |world| {
        let reply = with_priority(world, "urgent", "urgent");
        let header = "\"header\":[78,65,84,83,47,49,46,48,13,10,109,113,57,45,112,114,105,111,114,\
                      105,116,121,58,32,117,114,103,101,110,116,13,10,13,10],";
        assert!(reply.contains(header), "{reply}");
    }),
    (5, |world| {
        with_priority(world, "normal", "normal");
    }),
    (6, |world| {
        with_priority(world, "high", "normal");
    }),
    (7, |world| {
        let client = world.join();
        let words = "mailbox nope does not exist";
        assert_eq!(world.ask(client, "MSG.SEND.nope", "x"), error(words));
    }),
    (8, |world| {
        let client = begin(world);
        for (id, payload) in (0..).zip(["a", "b", "c"]) {
            let reply = world.ask_with(client, SEND, &["mq9-key: status"], payload.as_bytes());
            assert_eq!(reply, sent(id));
        }
        let kept = messages(&[item(2, "c").with(&["mq9-key: status"])]);
        assert_eq!(world.ask(client, QUERY, "{\"key\":\"status\"}"), kept);
        assert_eq!(world.ask(client, QUERY, ""), kept);
    }),
    (9, |world| {
        let client = begin(world);
        for (key, payload) in [("k1", "a"), ("k2", "b"), ("k1", "c"), ("k2", "d")] {
            world.mail(client, "t.inbox", &[&format!("mq9-key: {key}")], payload);
        }
        assert_eq!(payloads(&world.ask(client, QUERY, "")), ["c", "d"]);
    }),
    (10, |world| {
        let client = begin(world);
        assert_eq!(world.ask_with(client, SEND, &["mq9-delay: 2"], b"x"), LATER);
        assert_eq!(world.ask(client, QUERY, ""), NOTHING);
    }),
    (11, |world| {
        let client = begin(world);
        assert_eq!(
            world.ask_with(client, SEND, &["mq9-delay: abc"], b"x"),
            sent(0)
        );
    }),
    (12, |world| {
        let client = begin(world);
        assert_eq!(world.ask_with(client, SEND, &["mq9-ttl: 2"], b"x"), sent(0));
        let kept = messages(&[item(0, "x").with(&["mq9-ttl: 2"])]);
        assert_eq!(world.ask(client, QUERY, ""), kept);
        world.pass(4_000);
        assert_eq!(world.ask(client, QUERY, ""), NOTHING);
    }),
    (13, |world| {
        let client = begin(world);
        let headers = ["mq9-tags: billing, vip ,"];
        assert_eq!(world.ask_with(client, SEND, &headers, b"x"), sent(0));
        let kept = messages(&[item(0, "x").with(&headers)]);
        assert_eq!(world.ask(client, QUERY, "{\"tags\":[\"vip\"]}"), kept);
        assert_eq!(world.ask(client, QUERY, "{\"tags\":[\"\"]}"), NOTHING);
    }),
    (14, |world| {
        let client = begin(world);
        let headers = [
            "mq9-priority: critical",
            "mq9-key: k",
            "mq9-ttl: 2",
            "mq9-tags: a,b",
        ];
        assert_eq!(world.ask_with(client, SEND, &headers, b"1"), sent(0));
        assert_eq!(world.ask_with(client, SEND, &headers, b"2"), sent(1));
        let kept = messages(&[item(1, "2").critical().with(&headers)]);
        assert_eq!(world.ask(client, QUERY, "{\"tags\":[\"b\"]}"), kept);
        assert_eq!(world.ask(client, QUERY, "{\"key\":\"k\"}"), kept);
        assert_eq!(world.ask(client, FETCH, EARLIEST), kept);
        world.pass(4_000);
        assert_eq!(world.ask(client, QUERY, ""), NOTHING);
    }),
    (15, |world| {
        let client = begin(world);
        let bytes = (1 << 20) + 1;
        world.say(
            client,
            &format!("PUB $mq9.AI.{SEND} _INBOX.{client}.1 {bytes}\r\n"),
        );
        assert_eq!(world.take(client), "-ERR 'Maximum Payload Violation'\r\n");
        assert!(world.is_closed(client));
        let client = world.join();
        let payload = "x".repeat(1 << 20);
        assert_eq!(world.ask(client, SEND, &payload), sent(0));
        let kept = messages(&[item(0, &payload)]);
        assert!(
            world.ask(client, FETCH, EARLIEST) == kept,
            "the largest comes back"
        );
    }),
];

fn begin(world: &mut World) -> ClientId {
    let client = world.join();
    world.mailbox(client, "t.inbox");
    client
}

fn with_priority(world: &mut World, written: &str, priority: &str) -> String {
    let client = begin(world);
    let header = format!("mq9-priority: {written}");
    assert_eq!(world.ask_with(client, SEND, &[&header], b"x"), sent(0));
    let reply = world.ask(client, FETCH, EARLIEST);
    let headers = &[header.as_str()];
    let mut expected = item(0, "x").with(headers);
    expected.priority = priority;
    assert_eq!(reply, messages(&[expected]));
    reply
}
