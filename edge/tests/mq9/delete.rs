//! Section 6.6: MSG.DELETE.

use super::cases::{Case, NOTHING, acknowledged, error, fetched, five};
use super::world::World;

const EARLIEST: &str = "{\"deliver\":\"earliest\"}";
const GONE: &str = "{\"error\":\"\",\"deleted\":true}";
const NONE: &str = "{\"error\":\"\",\"deleted\":false}";

pub(crate) const CASES: &[Case] = &[
    (1, |world| deletes_the_second(world, "")),
    (2, |world| deletes_the_second(world, "\"\"")),
    (3, |world| deletes_the_second(world, "{}")),
    (4, |world| {
        let client = five(world);
        assert_eq!(world.ask(client, "MSG.DELETE.t.inbox.1", ""), GONE);
        assert_eq!(world.ask(client, "MSG.DELETE.t.inbox.1", ""), NONE);
        assert_eq!(world.ask(client, "MSG.DELETE.t.inbox.99", ""), NONE);
    }),
    (5, |world| {
        refused(world, "t.inbox.abc", "invalid msg_id: abc")
    }),
    (6, |world| {
        refused(world, "t.inbox.-1", "invalid msg_id: -1")
    }),
    (7, |world| {
        refused(world, "nope.1", "mailbox nope does not exist")
    }),
    (8, |world| {
        refused(world, "7", "unrecognized mq9 subject: $mq9.AI.MSG.DELETE.7")
    }),
    (9, |world| {
        let client = five(world);
        world.mailbox(client, "task.001");
        world.mail(client, "task.001", &[], "x");
        assert_eq!(world.ask(client, "MSG.DELETE.task.001.0", ""), GONE);
        assert_eq!(world.ask(client, "MSG.QUERY.task.001", ""), NOTHING);
    }),
    (10, |world| {
        let client = five(world);
        let of_g = "{\"group_name\":\"g\",\"deliver\":\"earliest\"}";
        assert_eq!(fetched(world, client, of_g), [0, 1, 2, 3, 4]);
        acknowledged(world, client, "g", 2);
        assert_eq!(world.ask(client, "MSG.DELETE.t.inbox.1", ""), GONE);
        assert_eq!(fetched(world, client, of_g), [3, 4]);
    }),
    (11, |world| {
        let client = five(world);
        assert_eq!(world.ask(client, "MSG.DELETE.t.inbox.4", ""), GONE);
        assert_eq!(fetched(world, client, "{\"deliver\":\"latest\"}"), [3]);
    }),
    (12, |world| {
        let client = five(world);
        assert_eq!(world.mail(client, "t.inbox", &["mq9-key: k"], "x"), 5);
        assert_eq!(world.ask(client, "MSG.DELETE.t.inbox.5", ""), GONE);
        assert_eq!(
            world.ask(client, "MSG.QUERY.t.inbox", "{\"key\":\"k\"}"),
            NOTHING
        );
    }),
];

fn deletes_the_second(world: &mut World, body: &str) {
    let client = five(world);
    assert_eq!(world.ask(client, "MSG.DELETE.t.inbox.1", body), GONE);
    assert_eq!(fetched(world, client, EARLIEST), [0, 2, 3, 4]);
}

fn refused(world: &mut World, rest: &str, words: &str) {
    let client = five(world);
    assert_eq!(
        world.ask(client, &format!("MSG.DELETE.{rest}"), ""),
        error(words)
    );
    assert_eq!(fetched(world, client, EARLIEST), [0, 1, 2, 3, 4]);
}
