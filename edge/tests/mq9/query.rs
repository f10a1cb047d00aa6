//! Section 6.5: MSG.QUERY.

use super::cases::{Case, NOTHING, begins, error, fetched, ids, item, messages, payloads};
use super::world::{BEGIN, ClientId, World};

const QUERY: &str = "MSG.QUERY.t.inbox";

pub(crate) const CASES: &[Case] = &[
    (1, |world| {
        let client = with(world, 10);
        assert_eq!(queried(world, client, ""), Vec::from_iter(0..10));
    }),
    (2, |world| {
        let client = with(world, 10);
        assert_eq!(queried(world, client, "{}"), Vec::from_iter(0..10));
    }),
    (3, |world| {
        let client = with(world, 10);
        let body = "{\"key\":null,\"tags\":null,\"since\":null,\"limit\":null}";
        assert_eq!(queried(world, client, body), Vec::from_iter(0..10));
    }),
    (4, |world| {
        let client = with(world, 10);
        assert_eq!(queried(world, client, "{\"limit\":3}"), [0, 1, 2]);
    }),
    (5, |world| {
        let client = with(world, 10);
        assert_eq!(world.ask(client, QUERY, "{\"limit\":0}"), NOTHING);
    }),
    (6, |world| {
        let client = with(world, 150);
        assert_eq!(
            queried(world, client, "{\"limit\":1000}"),
            Vec::from_iter(0..100)
        );
    }),
    (7, |world| {
        let client = with(world, 2);
        world.mail(client, "t.inbox", &["mq9-key: status"], "a");
        world.mail(client, "t.inbox", &["mq9-key: status"], "b");
        let latest = messages(&[item(3, "b").with(&["mq9-key: status"])]);
        assert_eq!(world.ask(client, QUERY, "{\"key\":\"status\"}"), latest);
    }),
    (8, |world| {
        let client = with(world, 2);
        assert_eq!(world.ask(client, QUERY, "{\"key\":\"none\"}"), NOTHING);
    }),
    (9, |world| {
        let client = tagged(world);
        let reply = world.ask(client, QUERY, "{\"tags\":[\"billing\"]}");
        assert_eq!(payloads(&reply), ["a", "c"]);
    }),
    (10, |world| {
        let client = tagged(world);
        let reply = world.ask(client, QUERY, "{\"tags\":[\"billing\",\"urgent\"]}");
        assert_eq!(payloads(&reply), ["a", "b", "c"]);
    }),
    (11, |world| {
        let client = tagged(world);
        assert_eq!(world.ask(client, QUERY, "{\"tags\":[\"nope\"]}"), NOTHING);
    }),
    (12, |world| {
        let client = with(world, 2);
        world.pass(10_000);
        world.mail(client, "t.inbox", &[], "late");
        let body = format!("{{\"since\":{}}}", BEGIN + 5);
        assert_eq!(queried(world, client, &body), [2]);
        let body = format!("{{\"since\":{}}}", BEGIN + 10);
        assert_eq!(queried(world, client, &body), [2]);
        let body = format!("{{\"since\":{}}}", BEGIN + 11);
        assert_eq!(world.ask(client, QUERY, &body), NOTHING);
    }),
    (13, |world| {
        let client = with(world, 3);
        assert_eq!(queried(world, client, "{}"), [0, 1, 2]);
        let body = "{\"group_name\":\"g\",\"deliver\":\"earliest\"}";
        assert_eq!(fetched(world, client, body), [0, 1, 2]);
    }),
    (14, |world| {
        let client = with(world, 1);
        begins(
            &world.ask(client, QUERY, "[1]"),
            "{\"error\":\"invalid query request: ",
        );
    }),
    (15, |world| {
        let client = world.join();
        let reply = world.ask(client, "MSG.QUERY.nope", "{}");
        assert_eq!(reply, error("mailbox nope does not exist"));
    }),
];

fn with(world: &mut World, count: u64) -> ClientId {
    let client = world.join();
    world.mailbox(client, "t.inbox");
    for number in 0..count {
        assert_eq!(world.mail(client, "t.inbox", &[], "x"), number);
    }
    client
}

fn tagged(world: &mut World) -> ClientId {
    let client = with(world, 0);
    for (tags, payload) in [("billing", "a"), ("urgent", "b"), ("billing,urgent", "c")] {
        world.mail(client, "t.inbox", &[&format!("mq9-tags: {tags}")], payload);
    }
    client
}

fn queried(world: &mut World, client: ClientId, body: &str) -> Vec<u64> {
    ids(&world.ask(client, QUERY, body))
}
