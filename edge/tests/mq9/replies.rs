//! Where replies go, and what a long wait costs others.

use std::rc::Rc;

use edge::broker::{AccessList, Policy};
use edge::mail;
use edge::nats;
use wire::mq9::PayloadEncoding;
use wire::mqtt::Version;

use super::cases::{DONE, NOTHING, error, fetched, five, ids, item, messages, sent};
use super::world::{World, publish};

const FETCH: &str = "MSG.FETCH.t.inbox";
const FETCH_SUBJECT: &str = "$mq9.AI.MSG.FETCH.t.inbox";
const WAITS: &str = "{\"deliver\":\"from_id\",\"from_id\":99,\"config\":{\"max_wait_ms\":4000}}";

fn in_text(change: impl FnOnce(&mut nats::Settings)) -> World {
    let mut settings = nats::Settings {
        payload_encoding: PayloadEncoding::Utf8,
        ..nats::Settings::default()
    };
    change(&mut settings);
    World::with(mail::Settings::default(), settings)
}

#[test]
fn a_reply_goes_to_every_subscription_of_its_subject_on_whichever_connection() {
    let mut world = World::in_text();
    let (asker, listener) = (world.join(), world.join());
    let device = world.join_mqtt(Version::V5, "device");
    world.subscribe_mqtt(device, "elsewhere/#");
    world.say(asker, "SUB elsewhere.* one\r\nSUB elsewhere.a two\r\n");
    world.say(listener, "SUB elsewhere.> three\r\n");
    let body = b"{\"name\":\"t.a\"}";
    let subject = "$mq9.AI.MAILBOX.CREATE";
    world.send(asker, &publish(subject, Some("elsewhere.a"), &[], body));
    let made = "{\"error\":\"\",\"mail_address\":\"t.a\"}";
    let message = |sid| format!("MSG elsewhere.a {sid} {}\r\n{made}\r\n", made.len());
    assert_eq!(world.take(asker), message("one") + &message("two"));
    assert_eq!(world.take(listener), message("three"));
    let packets = world.packets(device);
    assert!(
        packets.len() == 1 && packets[0].contains("elsewhere/a"),
        "{packets:?}"
    );
}

/// The gateway speaks in its own name, so that without this rule any client could have JSON said
/// where it may say nothing itself.
#[test]
fn a_reply_goes_only_where_its_client_may_hear_it_or_say_it_itself() {
    let mut world = World::in_text();
    let list = "topic write $mq9/#\ntopic read _INBOX/#\ntopic write said/#\n";
    world.rule(Policy {
        list: Some(Rc::new(AccessList::parse(list).unwrap())),
        ..Policy::default()
    });
    let client = world.join();
    world.mailbox(client, "t.inbox");
    let refused =
        |subject| format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n");
    let send = "$mq9.AI.MSG.SEND.t.inbox";
    for (subject, body) in [
        (send, "x"),
        (FETCH_SUBJECT, WAITS),
        ("$mq9.AI.MSG.QUERY.t.inbox", ""),
        ("$mq9.AI.NO.SUCH", ""),
    ] {
        for reply_to in ["plant.valve", "$SYS.broker"] {
            world.send(
                client,
                &publish(subject, Some(reply_to), &[], body.as_bytes()),
            );
            assert_eq!(world.take(client), refused(reply_to), "{subject}");
        }
    }
    // Nothing of it was done, and none of it stands in the way of the next request.
    assert_eq!(world.waiting_fetch_count(), 0);
    assert_eq!(world.ask(client, "MSG.QUERY.t.inbox", "{}"), NOTHING);
    // What it could say itself it may have said.
    world.send(client, &publish(send, Some("said.so"), &[], b"x"));
    assert_eq!(world.take(client), "");
    assert_eq!(world.mail(client, "t.inbox", &[], "y"), 1);
}

#[test]
fn a_fetch_that_waits_is_not_answered_where_that_is_forbidden_by_then() {
    let mut world = World::in_text();
    let client = world.join();
    world.mailbox(client, "t.inbox");
    world.say(client, "SUB other.* 1\r\n");
    let fetch = publish(FETCH_SUBJECT, Some("other.a"), &[], WAITS.as_bytes());
    world.send(client, &fetch);
    let list = "topic write $mq9/#\ntopic read _INBOX/#\n";
    world.rule(Policy {
        list: Some(Rc::new(AccessList::parse(list).unwrap())),
        ..Policy::default()
    });
    world.pass(4_500);
    let refused = "-ERR 'Permissions Violation for Publish to \"other.a\"'\r\n";
    assert_eq!(world.take(client), refused);
}

#[test]
fn a_client_that_does_not_hear_itself_hears_replies() {
    let mut world = World::in_text();
    let client = world.join_saying("CONNECT {\"verbose\":false,\"echo\":false}");
    world.mailbox(client, "t.inbox");
}

#[test]
fn a_verbose_client_is_told_that_its_request_was_taken() {
    let mut world = World::in_text();
    let client = world.join_saying("CONNECT {\"verbose\":true}");
    world.take(client);
    world.tell(client, "MSG.SEND.nope", "x");
    assert_eq!(world.take(client), "+OK\r\n");
    let inbox = world.begin(client, "MSG.SEND.nope", "x");
    let reply = error("mailbox nope does not exist");
    let expected = format!("+OK\r\nMSG {inbox} mux {}\r\n{reply}\r\n", reply.len());
    assert_eq!(world.take(client), expected);
}

#[test]
fn a_fetch_that_waits_holds_nobody_up() {
    let mut world = World::in_text();
    let client = five(&mut world);
    let waiting = world.begin(client, FETCH, WAITS);
    let body = "{\"deliver\":\"earliest\"}";
    assert_eq!(fetched(&mut world, client, body), [0, 1, 2, 3, 4]);
    world.say(client, "PING\r\n");
    assert_eq!(world.take(client), "PONG\r\n");
    assert_eq!(world.mail(client, "t.inbox", &[], "x"), 5);
    assert_eq!(world.reply(client, &waiting), None);
    world.pass(4_100);
    assert_eq!(world.reply(client, &waiting).as_deref(), Some(NOTHING));
}

#[test]
fn several_fetches_of_one_connection_wait_side_by_side() {
    let mut world = World::in_text();
    let client = world.join();
    let addresses = ["t.a", "t.b", "t.c"];
    addresses
        .iter()
        .for_each(|address| world.mailbox(client, address));
    let inboxes = addresses.map(|address| {
        let body = "{\"config\":{\"max_wait_ms\":4000}}";
        world.begin(client, &format!("MSG.FETCH.{address}"), body)
    });
    for place in [2, 0, 1] {
        world.mail(client, addresses[place], &[], "x");
        let arrived = Some(messages(&[item(0, "x")]));
        assert_eq!(world.reply(client, &inboxes[place]), arrived);
    }
}

#[test]
fn one_fetch_too_many_is_answered_at_once_with_what_is_there() {
    let mut world = in_text(|settings| settings.fetch_count_maximum = 2);
    let client = five(&mut world);
    let waiting = [(); 2].map(|()| world.begin(client, FETCH, WAITS));
    assert_eq!(world.ask(client, FETCH, WAITS), NOTHING);
    assert_eq!(world.ask(client, FETCH, "{}"), messages(&[item(4, "m4")]));
    world.pass(4_100);
    for inbox in waiting {
        assert_eq!(world.reply(client, &inbox).as_deref(), Some(NOTHING));
    }
    // And they count no more.
    let waiting = world.begin(client, FETCH, WAITS);
    assert_eq!(world.reply(client, &waiting), None);
}

#[test]
fn a_fetch_whose_reply_nobody_wants_waits_for_nothing() {
    let mut world = in_text(|settings| settings.fetch_count_maximum = 1);
    let client = five(&mut world);
    world.tell(client, FETCH, WAITS);
    let waiting = world.begin(client, FETCH, WAITS);
    assert_eq!(world.reply(client, &waiting), None);
}

#[test]
fn a_fetch_ends_with_its_connection() {
    let mut world = World::with(
        mail::Settings {
            waiting_count_maximum: 1,
            ..mail::Settings::default()
        },
        nats::Settings::default(),
    );
    let client = five(&mut world);
    world.begin(client, FETCH, WAITS);
    assert_eq!(
        world.ask(client, FETCH, WAITS),
        NOTHING,
        "one waits already"
    );
    world.cut(client);
    let client = world.join();
    let waiting = world.begin(client, FETCH, WAITS);
    assert_eq!(world.reply(client, &waiting), None, "its place is free");
}

#[test]
fn large_replies_come_one_after_the_other_to_a_client_that_reads() {
    let mut world = in_text(|_| {});
    let client = world.join();
    world.mailbox(client, "t.inbox");
    let payload = "x".repeat(1 << 20);
    assert_eq!(world.ask(client, "MSG.SEND.t.inbox", &payload), sent(0));
    // All of them in one piece, with something small behind.
    let mut bytes = Vec::new();
    for number in 0..20 {
        let inbox = format!("_INBOX.{client}.large{number}");
        bytes.extend(publish(
            "$mq9.AI.MSG.FETCH.t.inbox",
            Some(&inbox),
            &[],
            b"{}",
        ));
    }
    bytes.extend(b"PING\r\n");
    world.set_reading(client, false);
    world.send(client, &bytes);
    world.set_reading(client, true);
    for number in 0..20 {
        let inbox = format!("_INBOX.{client}.large{number}");
        let reply = world.reply(client, &inbox).unwrap();
        assert_eq!(ids(&reply), [0]);
    }
    assert_eq!(world.take(client), "PONG\r\n");
    assert!(!world.is_closed(client));
}

#[test]
fn fetches_that_waited_find_nothing_when_there_is_no_room_and_nothing_is_lost() {
    let mut world = in_text(|_| {});
    let (client, other) = (world.join(), world.join());
    world.mailbox(client, "t.inbox");
    let of_g = "{\"group_name\":\"g\",\"deliver\":\"earliest\",\"config\":{\"max_wait_ms\":4000}}";
    let waiting = [(); 8].map(|()| world.begin(client, FETCH, of_g));
    world.set_reading(client, false);
    let payload = "x".repeat(1 << 20);
    assert_eq!(world.ask(other, "MSG.SEND.t.inbox", &payload), sent(0));
    world.set_reading(client, true);
    let replies = waiting.map(|inbox| ids(&world.reply(client, &inbox).unwrap()));
    assert!(
        replies.contains(&vec![0]) && replies.contains(&vec![]),
        "{replies:?}"
    );
    assert_eq!(fetched(&mut world, client, of_g), [0]);
    assert!(!world.is_closed(client));
}

#[test]
fn a_reply_over_the_limit_is_refused_and_comes_in_base64() {
    let mut world = in_text(|_| {});
    let client = world.join();
    world.mailbox(client, "t.inbox");
    // Each byte is six in text.
    let payload = "\u{1}".repeat(1 << 20);
    assert_eq!(world.ask(client, "MSG.SEND.t.inbox", &payload), sent(0));
    let reply = world.ask(client, FETCH, "{}");
    assert!(
        reply.starts_with("{\"error\":\"reply of ") && reply.len() < 100,
        "{reply}"
    );
    let reply = world.ask(client, FETCH, "{\"payload_encoding\":\"base64\"}");
    assert_eq!(ids(&reply), [0]);
}

#[test]
fn listeners_differ_in_how_they_write_payloads() {
    for (encoding, expected) in [
        (PayloadEncoding::Base64, "\"payload\":\"aGVsbG8=\""),
        (PayloadEncoding::Utf8, "\"payload\":\"hello\""),
    ] {
        let mut world = in_text(|settings| settings.payload_encoding = encoding);
        let client = world.join();
        world.mailbox(client, "t.inbox");
        world.mail(client, "t.inbox", &[], "hello");
        for command in ["MSG.FETCH.t.inbox", "MSG.QUERY.t.inbox"] {
            let reply = world.ask(client, command, "");
            assert!(reply.contains(expected), "{reply}");
            assert!(reply.contains("\"payload_b64\":\"aGVsbG8=\""), "{reply}");
        }
    }
}

#[test]
fn requests_without_a_reply_subject_are_done_in_silence() {
    let mut world = World::in_text();
    let client = five(&mut world);
    world.tell(client, "MSG.DELETE.t.inbox.0", "");
    world.tell(client, "MSG.SEND.t.inbox", "m5");
    world.tell(client, "MSG.SEND.nope", "x");
    world.tell(client, "NONSENSE", "x");
    world.tell(client, "MAILBOX.CREATE", "nonsense");
    world.tell(client, "AGENT.REGISTER", "{\"name\":\"a\"}");
    assert_eq!(world.take(client), "");
    let body = "{\"deliver\":\"earliest\"}";
    assert_eq!(fetched(&mut world, client, body), [1, 2, 3, 4, 5]);
    assert_eq!(
        world.ask(client, "AGENT.UNREGISTER", "{\"name\":\"a\"}"),
        DONE
    );
}

#[test]
fn where_all_connections_are_at_their_limit_a_fetch_finds_nothing_and_a_query_says_why() {
    let mut world = in_text(|settings| {
        settings.outbound_total_bytes_maximum = 10_000;
        settings.reply_bytes_maximum = 20_000;
    });
    let (client, slow) = (world.join(), world.join());
    world.mailbox(client, "t.inbox");
    assert_eq!(world.mail(client, "t.inbox", &[], &"x".repeat(7_500)), 0);
    world.say(slow, "SUB t 1\r\n");
    world.set_reading(slow, false);
    world.say(client, &format!("PUB t 4000\r\n{}\r\n", "x".repeat(4_000)));
    assert_eq!(
        world.ask(
            client,
            FETCH,
            "{\"deliver\":\"earliest\",\"config\":{\"max_wait_ms\":0}}"
        ),
        NOTHING
    );
    let reply = world.ask(client, "MSG.QUERY.t.inbox", "");
    assert_eq!(reply, error("too much waits to be sent"));
    for number in 0..50 {
        let body = format!(
            "{{\"name\":\"agent.{number}\",\"payload\":\"{}\"}}",
            "x".repeat(100)
        );
        assert_eq!(world.ask(client, "AGENT.REGISTER", &body), DONE);
    }
    let reply = world.ask(client, "AGENT.DISCOVER", "");
    assert_eq!(reply, error("too much waits to be sent"));
    let reply = world.ask(client, "AGENT.DISCOVER", "{\"limit\":2}");
    assert!(reply.starts_with("{\"error\":\"\""), "{reply}");
    // What is small always comes.
    assert_eq!(world.mail(client, "t.inbox", &[], "small"), 1);
    assert_eq!(fetched(&mut world, client, "{\"deliver\":\"latest\"}"), [1]);
    // The largest comes when nothing else waits, although it is over the limit.
    world.set_reading(slow, true);
    let earliest = "{\"deliver\":\"earliest\",\"config\":{\"num_msgs\":1}}";
    assert_eq!(fetched(&mut world, client, earliest), [0]);
    assert!(!world.is_closed(client));
}
