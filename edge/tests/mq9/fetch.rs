//! Section 6.3: MSG.FETCH.

use super::cases::{
    Case, NOTHING, acknowledged, error, fetched, five, ids, item, messages, send_more,
};
use super::world::{BEGIN, World};

const FETCH: &str = "MSG.FETCH.t.inbox";

pub(crate) const CASES: &[Case] = &[
    (1, |world| {
        let client = five(world);
        let payloads = ["m0", "m1", "m2", "m3", "m4"];
        let items: Vec<_> = (0..).zip(payloads).map(|(id, it)| item(id, it)).collect();
        let reply = world.ask(client, FETCH, "{\"deliver\":\"earliest\"}");
        assert_eq!(reply, messages(&items));
    }),
    (2, |world| {
        let client = five(world);
        assert_eq!(world.ask(client, FETCH, "{}"), messages(&[item(4, "m4")]));
        assert_eq!(world.ask(client, FETCH, ""), messages(&[item(4, "m4")]));
    }),
    (3, |world| {
        let client = five(world);
        assert_eq!(fetched(world, client, &of_tests("g")), [0, 1, 2, 3, 4]);
    }),
    (4, |world| {
        let client = five(world);
        for _ in 0..2 {
            assert_eq!(fetched(world, client, &of_tests("g")), [0, 1, 2, 3, 4]);
        }
    }),
    (5, |world| {
        for is_acknowledged in [false, true] {
            let mut world = World::in_text();
            let client = five(&mut world);
            let latest = "{\"group_name\":\"g2\",\"deliver\":\"latest\"}";
            assert_eq!(fetched(&mut world, client, latest), [4]);
            if is_acknowledged {
                acknowledged(&mut world, client, "g2", 4);
            }
            for number in 5..8 {
                send_more(&mut world, client, number);
            }
            let expected: &[u64] = if is_acknowledged {
                &[5, 6, 7]
            } else {
                &[4, 5, 6, 7]
            };
            assert_eq!(fetched(&mut world, client, latest), expected);
        }
        // Of a world of its own each.
        world.pass(0);
    }),
    (6, |world| {
        let client = five(world);
        let body = "{\"deliver\":\"from_id\",\"from_id\":3}";
        assert_eq!(fetched(world, client, body), [3, 4]);
    }),
    (7, |world| {
        let client = five(world);
        let body = "{\"deliver\":\"from_id\",\"from_id\":99,\"config\":{\"max_wait_ms\":0}}";
        assert_eq!(world.ask(client, FETCH, body), NOTHING);
    }),
    (8, |world| {
        let client = five(world);
        world.pass(10_000);
        for number in 5..10 {
            send_more(world, client, number);
        }
        let body = format!("{{\"deliver\":\"from_time\",\"from_time\":{}}}", BEGIN + 5);
        assert_eq!(fetched(world, client, &body), [5, 6, 7, 8, 9]);
    }),
    (9, |world| {
        let client = five(world);
        let body = format!(
            "{{\"deliver\":\"from_time\",\"from_time\":{},\"config\":{{\"max_wait_ms\":0}}}}",
            BEGIN + 3600
        );
        assert_eq!(world.ask(client, FETCH, &body), NOTHING);
    }),
    (10, |world| {
        let client = five(world);
        for number in 5..9 {
            send_more(world, client, number);
        }
        let body = "{\"group_name\":\"g3\",\"deliver\":\"earliest\",\
                    \"config\":{\"num_msgs\":3,\"max_wait_ms\":0}}";
        for expected in [[0, 1, 2], [3, 4, 5], [6, 7, 8]] {
            assert_eq!(fetched(world, client, body), expected);
            acknowledged(world, client, "g3", expected[2]);
        }
        assert_eq!(world.ask(client, FETCH, body), NOTHING);
    }),
    (11, |world| {
        let client = world.join();
        world.mailbox(client, "t.inbox");
        let body = "{\"deliver\":\"latest\",\"force_deliver\":false,\
                    \"config\":{\"num_msgs\":100,\"max_wait_ms\":500}}";
        let inbox = world.begin(client, FETCH, body);
        world.pass(400);
        assert_eq!(world.reply(client, &inbox), None);
        world.pass(200);
        assert_eq!(world.reply(client, &inbox).as_deref(), Some(NOTHING));
    }),
    (12, |world| {
        let client = five(world);
        let body = "{\"group_name\":\"\",\"deliver\":\"earliest\",\"from_time\":0,\"from_id\":0,\
                    \"force_deliver\":false,\"config\":{\"num_msgs\":100,\"max_wait_ms\":500}}";
        assert_eq!(fetched(world, client, body), [0, 1, 2, 3, 4]);
        acknowledged(world, client, "", 4);
        assert_eq!(fetched(world, client, body), [0, 1, 2, 3, 4]);
    }),
    (13, |world| {
        let client = five(world);
        let words = "unknown variant `newest`, expected one of `earliest`, `latest`, \
                     `from_time`, `from_id` at line 1 column 19";
        let reply = world.ask(client, FETCH, "{\"deliver\":\"newest\"}");
        assert_eq!(reply, error(words));
    }),
    (14, |world| {
        let client = five(world);
        let reply = world.ask(client, "MSG.FETCH.nope", "{}");
        assert_eq!(reply, error("mailbox nope does not exist"));
    }),
    (15, |world| {
        let client = five(world);
        assert_eq!(fetched(world, client, &of_tests("g")), [0, 1, 2, 3, 4]);
        acknowledged(world, client, "g", 4);
        world.mailbox(client, "t.other");
        for number in 0..5 {
            assert_eq!(world.mail(client, "t.other", &[], "x"), number);
        }
        let body = "{\"group_name\":\"g\",\"deliver\":\"latest\"}";
        assert_eq!(ids(&world.ask(client, "MSG.FETCH.t.other", body)), [4]);
    }),
];

/// A fetch of everything as the server's own tests write it.
fn of_tests(group: &str) -> String {
    format!(
        "{{\"group_name\":\"{group}\",\"deliver\":\"earliest\",\"from_time\":null,\
         \"from_id\":null,\"force_deliver\":null,\"config\":null}}"
    )
}
