//! Section 6.4: MSG.ACK.

use super::cases::{Case, DONE, NOTHING, acknowledged, begins, error, fetched, five, send_more};
use super::world::{ClientId, World};

const FETCH: &str = "MSG.FETCH.t.inbox";
const ACK: &str = "MSG.ACK.t.inbox";
const OF_G: &str = "{\"group_name\":\"g\",\"deliver\":\"earliest\",\"config\":{\"max_wait_ms\":0}}";

pub(crate) const CASES: &[Case] = &[
    (1, |world| {
        let client = fetched_by_g(world);
        let body = "{\"group_name\":\"g\",\"mail_address\":\"t.inbox\",\"msg_id\":4}";
        assert_eq!(world.ask(client, ACK, body), DONE);
        assert_eq!(world.ask(client, FETCH, OF_G), NOTHING);
    }),
    (2, |world| {
        let client = fetched_by_g(world);
        acknowledged(world, client, "g", 2);
        assert_eq!(fetched(world, client, OF_G), [3, 4]);
    }),
    (3, |world| {
        let client = fetched_by_g(world);
        acknowledged(world, client, "g", 4);
        acknowledged(world, client, "g", 1);
        assert_eq!(world.ask(client, FETCH, OF_G), NOTHING);
    }),
    (4, |world| {
        let client = mixed(world);
        for id in fetched(world, client, OF_G) {
            acknowledged(world, client, "g", id);
        }
        assert_eq!(world.ask(client, FETCH, OF_G), NOTHING);
    }),
    (5, |world| {
        let client = mixed(world);
        let batch = fetched(world, client, OF_G);
        acknowledged(world, client, "g", *batch.last().unwrap());
        assert_eq!(world.ask(client, FETCH, OF_G), NOTHING);
    }),
    (6, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        for priority in ["normal", "critical", "normal", "critical"] {
            let header = format!("mq9-priority: {priority}");
            world.mail(client, "t.inbox", &[&header], "x");
        }
        let pages = "{\"group_name\":\"g\",\"deliver\":\"earliest\",\"config\":{\"num_msgs\":2}}";
        assert_eq!(fetched(world, client, pages), [1, 3]);
        acknowledged(world, client, "g", 3);
        assert_eq!(fetched(world, client, pages), [0, 2]);
    }),
    (7, |world| {
        let client = fetched_by_g(world);
        let other = OF_G.replace("\"g\"", "\"h\"");
        assert_eq!(fetched(world, client, &other), [0, 1, 2, 3, 4]);
        acknowledged(world, client, "g", 4);
        assert_eq!(fetched(world, client, &other), [0, 1, 2, 3, 4]);
    }),
    (8, |world| {
        let client = five(world);
        acknowledged(world, client, "g", 2);
        assert_eq!(fetched(world, client, OF_G), [3, 4]);
    }),
    (9, |world| {
        let client = world.join();
        let body = "{\"group_name\":\"g\",\"mail_address\":\"nope\",\"msg_id\":0}";
        assert_eq!(
            world.ask(client, "MSG.ACK.nope", body),
            error("mailbox not found: nope")
        );
        assert_eq!(
            world.ask(client, ACK, body),
            error("mailbox not found: nope")
        );
    }),
    (10, |world| {
        let client = five(world);
        let reply = world.ask(
            client,
            ACK,
            "{\"group_name\":\"g\",\"mail_address\":\"t.inbox\"}",
        );
        begins(
            &reply,
            "{\"error\":\"missing field `msg_id` at line 1 column ",
        );
    }),
    (11, |world| {
        let client = five(world);
        let body = "{\"group_name\":\"g\",\"mail_address\":\"t.inbox\",\"msg_id\":-1}";
        let reply = world.ask(client, ACK, body);
        begins(
            &reply,
            "{\"error\":\"invalid value: integer `-1`, expected u64 at line 1 column ",
        );
    }),
    (12, |world| {
        let client = five(world);
        let body = "{\"group_name\":\"\",\"mail_address\":\"t.inbox\",\"msg_id\":0}";
        assert_eq!(world.ask(client, ACK, body), DONE);
    }),
    (13, |world| {
        let client = fetched_by_g(world);
        acknowledged(world, client, "g", 2);
        world.crash();
        let client = world.join();
        assert_eq!(fetched(world, client, OF_G), [3, 4]);
    }),
    (14, |world| {
        let client = fetched_by_g(world);
        acknowledged(world, client, "g", 2);
        world.cut(client);
        let client = world.join();
        assert_eq!(fetched(world, client, OF_G), [3, 4]);
    }),
    (15, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        send_more(world, client, 0);
        world.mail(client, "t.inbox", &["mq9-ttl: 2"], "short");
        assert_eq!(fetched(world, client, OF_G), [0, 1]);
        world.pass(4_000);
        acknowledged(world, client, "g", 1);
        assert_eq!(world.ask(client, FETCH, OF_G), NOTHING);
        world.mail(client, "t.inbox", &["mq9-key: k"], "a");
        assert_eq!(fetched(world, client, OF_G), [2]);
        world.mail(client, "t.inbox", &["mq9-key: k"], "b");
        acknowledged(world, client, "g", 2);
        assert_eq!(fetched(world, client, OF_G), [3]);
    }),
];

fn fetched_by_g(world: &mut World) -> ClientId {
    let client = five(world);
    assert_eq!(fetched(world, client, OF_G), [0, 1, 2, 3, 4]);
    client
}

/// Messages of all priorities, none of which is before a more important one.
fn mixed(world: &mut World) -> ClientId {
    let client = world.join();
    world.mailbox(client, "t.inbox");
    for priority in [
        "normal", "urgent", "critical", "normal", "critical", "urgent",
    ] {
        world.mail(
            client,
            "t.inbox",
            &[&format!("mq9-priority: {priority}")],
            "x",
        );
    }
    assert_eq!(fetched(world, client, OF_G), [2, 4, 1, 5, 0, 3]);
    client
}
