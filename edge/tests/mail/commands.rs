//! The ten commands, case by case, numbered as the specification does.

use std::time::Duration;

use edge::mail::Settings;
use sync::Lane;
use wire::mq9::{
    Attributes, Create, Deliver, Discover, Failure, Fetch, Home, Identity, Priority, Query,
    Register, Reply, Report, Request,
};

use crate::desk::{Desk, delete, fetch, ids, no_mailbox, priority, query, refusal, sent, texts};

const BOX: &str = "t.inbox";

/// A desk with a mailbox and five messages, `m0` to `m4`.
fn desk_with_five() -> Desk {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    for at in 0..5 {
        let reply = desk.send(BOX, &format!("m{at}"));
        assert_eq!(reply, sent(at));
    }
    desk
}

fn keyed(key: &str) -> Attributes {
    Attributes {
        key: Some(key.to_owned()),
        ..Attributes::default()
    }
}

fn tagged(tags: &[&str]) -> Attributes {
    Attributes {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..Attributes::default()
    }
}

fn earliest(group: &str, count: u32) -> Fetch {
    Fetch {
        count,
        ..fetch(BOX, Some(group), Deliver::Earliest)
    }
}

#[test]
fn create_makes_a_mailbox_once_and_makes_up_addresses() {
    let mut desk = Desk::new(Settings::default());
    let created = |address: &str| Reply::Created {
        address: address.to_owned(),
    };
    assert_eq!(desk.create(BOX, 3600), created(BOX));
    let exists = Reply::Failed(Failure::MailboxExists(BOX.to_owned()));
    assert_eq!(desk.create(BOX, 3600), exists);
    let mut made_up = Vec::new();
    for _ in 0..3 {
        let Reply::Created { address } = desk.ask(Request::Create(Create::default())) else {
            panic!("not made");
        };
        assert_eq!(address.len(), 20);
        assert!(
            address
                .bytes()
                .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'v'))
        );
        assert!(!made_up.contains(&address));
        made_up.push(address);
    }
    // Without a time to live: one day.
    desk.pass(Duration::from_secs(86_399));
    assert_eq!(desk.send(&made_up[0], "text"), sent(0));
    desk.pass(Duration::from_secs(1));
    assert_eq!(desk.send(&made_up[0], "text"), no_mailbox(&made_up[0]));
}

#[test]
fn a_mailbox_that_is_over_takes_everything_along_and_its_address_is_free() {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 2);
    for at in 0..20 {
        desk.send_as(BOX, "old", keyed(&format!("k{at}")));
    }
    desk.fetch_ids(earliest("g", 100));
    desk.acknowledge(BOX, "g", 7);
    let delayed = Attributes {
        delay_seconds: Some(1_000),
        ..keyed("k")
    };
    desk.send_as(BOX, "late", delayed);
    // At once, not when the clock looks.
    desk.pass(Duration::from_secs(2));
    assert_eq!(desk.send(BOX, "text"), no_mailbox(BOX));
    assert_eq!(desk.ask(Request::Query(query(BOX))), no_mailbox(BOX));
    let not_found = Failure::NoMailboxToAcknowledge(BOX.to_owned());
    assert_eq!(desk.acknowledge(BOX, "g", 1), Reply::Failed(not_found));
    desk.create(BOX, 0);
    assert_eq!(desk.query(BOX), [0; 0]);
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [0; 0]);
    assert_eq!(desk.send(BOX, "new"), sent(0));
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [0]);
    desk.pass(Duration::from_secs(60));
    let counts = desk.office.counts();
    assert_eq!((counts.mailboxes, counts.messages), (1, 1));
    use sync::Table::{Mail, MailDelayed, MailExpiry, MailGroups, MailKeys, MailTails, Mailboxes};
    let rows = [
        Mail,
        MailKeys,
        MailDelayed,
        MailExpiry,
        MailGroups,
        MailTails,
        Mailboxes,
    ];
    let rows = rows.map(|table| desk.shelf.count(table));
    // Beside its own row of mailboxes: the next number, and how many messages ended unread.
    assert_eq!(rows, [1, 0, 0, 0, 1, 1, 3]);
    desk.crash();
    desk.pass(Duration::from_secs(2_000));
    assert_eq!(desk.query(BOX), [0]);
}

#[test]
fn what_is_left_of_a_mailbox_after_a_power_cut_goes_too() {
    let mut desk = Desk::new(Settings {
        step_rows_maximum: 2,
        ..Settings::default()
    });
    desk.create(BOX, 2);
    (0..10).for_each(|_| drop(desk.send(BOX, "text")));
    desk.is_holding = true;
    desk.pass(Duration::from_secs(6));
    // Its address is gone, and two of its messages.
    desk.settle(true);
    desk.pass(Duration::from_secs(6));
    desk.settle(true);
    assert_eq!(desk.shelf.count(sync::Table::Mail), 8);
    desk.crash();
    desk.is_holding = false;
    desk.settle_all();
    assert_eq!(desk.office.counts().messages, 8);
    desk.pass(Duration::from_secs(60));
    assert_eq!(desk.office.counts().messages, 0);
    assert_eq!(desk.shelf.count(sync::Table::MailTails), 0);
}

#[test]
fn send_gives_ids_replaces_by_key_and_keeps_what_was_asked() {
    let mut desk = desk_with_five();
    assert_eq!(desk.send("nope", "text"), no_mailbox("nope"));
    for (text, id) in [("a", 5), ("b", 6), ("c", 7)] {
        assert_eq!(desk.send_as(BOX, text, keyed("status")), sent(id));
    }
    let by_key = |desk: &mut Desk, key: &str| {
        let asked = Query {
            key: Some(key.to_owned()),
            ..query(BOX)
        };
        texts(&desk.ask(Request::Query(asked)))
    };
    assert_eq!(by_key(&mut desk, "status"), ["c"]);
    for (text, key) in [("1", "k1"), ("2", "k2"), ("3", "k1"), ("4", "k2")] {
        desk.send_as(BOX, text, keyed(key));
    }
    assert_eq!(by_key(&mut desk, "k1"), ["3"]);
    assert_eq!(by_key(&mut desk, "k2"), ["4"]);
    assert_eq!(desk.query(BOX), [0, 1, 2, 3, 4, 7, 10, 11]);
    let ttl = Attributes {
        ttl_seconds: Some(2),
        ..keyed("short")
    };
    desk.send_as(BOX, "short", ttl);
    assert_eq!(by_key(&mut desk, "short"), ["short"]);
    desk.pass(Duration::from_secs(2));
    assert_eq!(by_key(&mut desk, "short"), [""; 0]);
    desk.pass(Duration::from_secs(10));
    assert_eq!(desk.shelf.count(sync::Table::MailExpiry), 0);
    assert_eq!(desk.office.counts().messages, 8);
    let row = desk.shelf.count(sync::Table::MailKeys);
    assert_eq!(row, 3);
}

#[test]
fn a_delayed_message_comes_when_it_is_due_with_its_key_and_its_time_to_live() {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    let delayed = |delay, ttl, key: &str| Attributes {
        delay_seconds: Some(delay),
        ttl_seconds: ttl,
        ..keyed(key)
    };
    desk.send_as(BOX, "now", keyed("k"));
    let none = Reply::Sent { id: None };
    assert_eq!(desk.send_as(BOX, "late", delayed(3, Some(5), "k")), none);
    assert_eq!(
        desk.send_as(BOX, "never", delayed(3, Some(2), "other")),
        none
    );
    assert_eq!(desk.query(BOX), [0]);
    desk.crash();
    desk.pass(Duration::from_millis(2_999));
    assert_eq!(desk.query(BOX), [0]);
    desk.pass(Duration::from_millis(1));
    let reply = desk.ask(Request::Query(query(BOX)));
    assert_eq!(
        (ids(&reply), texts(&reply)),
        (vec![1], vec!["late".to_owned()])
    );
    // It lives from when it was sent.
    desk.pass(Duration::from_millis(1_999));
    assert_eq!(desk.query(BOX), [1]);
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.query(BOX), [0; 0]);
    desk.pass(Duration::from_secs(10));
    assert_eq!(desk.office.counts().messages, 0);
}

#[test]
fn fetch_begins_where_it_is_told() {
    let mut desk = desk_with_five();
    let mut got = |group, deliver| desk.fetch_ids(fetch(BOX, group, deliver));
    let all = [0, 1, 2, 3, 4];
    for (case, group, deliver, expected) in [
        ("6.3-1", None, Deliver::Earliest, &all[..]),
        ("6.3-2", None, Deliver::Latest, &[4]),
        ("6.3-3", Some("g"), Deliver::Earliest, &all),
        ("6.3-4", Some("g"), Deliver::Latest, &all),
        ("6.3-6", None, Deliver::FromId(3), &[3, 4]),
        ("6.3-7", None, Deliver::FromId(99), &[]),
        ("6.3-12", Some(""), Deliver::Latest, &[4]),
        ("6.3-12", Some(""), Deliver::Earliest, &all),
    ] {
        assert_eq!(got(group, deliver), expected, "{case}");
    }
    let nowhere = desk.ask(Request::Fetch(fetch("nope", None, Deliver::Latest)));
    assert_eq!(nowhere, no_mailbox("nope"));
}

#[test]
fn the_latest_message_is_where_a_group_stays() {
    // 6.3-5 and 6.0-9.
    let mut desk = desk_with_five();
    let latest = || fetch(BOX, Some("g2"), Deliver::Latest);
    assert_eq!(desk.fetch_ids(latest()), [4]);
    (5..8).for_each(|at| drop(desk.send(BOX, &format!("m{at}"))));
    assert_eq!(desk.fetch_ids(latest()), [4, 5, 6, 7]);
    desk.acknowledge(BOX, "g2", 4);
    assert_eq!(desk.fetch_ids(latest()), [5, 6, 7]);
    // On another mailbox it begins anew, 6.3-15.
    desk.create("other", 0);
    (0..5).for_each(|_| drop(desk.send("other", "text")));
    let on_other = fetch("other", Some("g2"), Deliver::Latest);
    assert_eq!(desk.fetch_ids(on_other), [4]);
}

#[test]
fn fetch_from_a_time_gives_what_came_then_or_later() {
    let mut desk = desk_with_five();
    desk.pass(Duration::from_secs(100));
    let middle = desk.now.wall.0 / 1_000;
    (5..10).for_each(|_| drop(desk.send(BOX, "late")));
    let from = |time| fetch(BOX, None, Deliver::FromTime(time));
    assert_eq!(desk.fetch_ids(from(middle)), [5, 6, 7, 8, 9]);
    assert_eq!(desk.fetch_ids(from(middle + 1)), [0; 0]);
    assert_eq!(desk.fetch_ids(from(0)).len(), 10);
}

#[test]
fn fetch_gives_the_most_important_first_and_pages_lose_nothing() {
    // 6.0-6 and 6.0-7.
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    use Priority::{Critical, Normal, Urgent};
    for (text, of) in [
        ("n1", Normal),
        ("c1", Critical),
        ("u1", Urgent),
        ("n2", Normal),
        ("c2", Critical),
        ("u2", Urgent),
    ] {
        desk.send_as(BOX, text, priority(of));
    }
    let expected = ["c1", "c2", "u1", "u2", "n1", "n2"];
    let reply = desk.ask(Request::Fetch(earliest("once", 10)));
    assert_eq!(texts(&reply), expected);
    let mut seen = Vec::new();
    loop {
        let reply = desk.ask(Request::Fetch(earliest("pages", 2)));
        let Some(last) = ids(&reply).last().copied() else {
            break;
        };
        seen.extend(texts(&reply));
        assert_eq!(desk.acknowledge(BOX, "pages", last), Reply::Done);
    }
    assert_eq!(seen, expected);
}

#[test]
fn a_forced_fetch_goes_exactly_where_it_is_told() {
    // 6.0-10.
    let mut desk = desk_with_five();
    assert_eq!(desk.fetch_ids(earliest("g", 100)).len(), 5);
    desk.acknowledge(BOX, "g", 4);
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [0; 0]);
    let forced = Fetch {
        is_forced: true,
        ..earliest("g", 100)
    };
    assert_eq!(desk.fetch_ids(forced), [0, 1, 2, 3, 4]);
    desk.crash();
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [0, 1, 2, 3, 4]);
}

#[test]
fn acknowledgements_count_for_what_was_delivered_before_and_never_go_back() {
    let after = |acknowledged: &[u64]| {
        let mut desk = desk_with_five();
        assert_eq!(desk.fetch_ids(earliest("g", 100)).len(), 5);
        for id in acknowledged {
            assert_eq!(desk.acknowledge(BOX, "g", *id), Reply::Done);
        }
        // 6.4-13 and 6.4-14: the position outlives a restart.
        desk.crash();
        desk.fetch_ids(earliest("g", 100))
    };
    assert_eq!(after(&[4]), [0; 0]);
    assert_eq!(after(&[2]), [3, 4]);
    assert_eq!(after(&[4, 1]), [0; 0]);
    assert_eq!(after(&[0, 1, 2]), [3, 4]);
    let mut desk = desk_with_five();
    // 6.4-8: before any fetch.
    assert_eq!(desk.acknowledge(BOX, "g", 2), Reply::Done);
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [3, 4]);
    // 6.4-12: nobody's.
    assert_eq!(desk.acknowledge(BOX, "", 4), Reply::Done);
    assert_eq!(desk.fetch_ids(fetch(BOX, None, Deliver::Earliest)).len(), 5);
    // 6.4-9.
    let failure = Failure::NoMailboxToAcknowledge("nope".to_owned());
    assert_eq!(desk.acknowledge("nope", "g", 0), Reply::Failed(failure));
    // 6.4-7: another group.
    assert_eq!(desk.fetch_ids(earliest("h", 100)).len(), 5);
    // 6.4-15: a message that is gone still counts for what came before.
    desk.ask(delete(BOX, 3));
    assert_eq!(desk.acknowledge(BOX, "h", 3), Reply::Done);
    assert_eq!(desk.fetch_ids(earliest("h", 100)), [4]);
    // Far beyond the end: of nothing that anybody got.
    desk.acknowledge(BOX, "h", 1_000_000);
    assert_eq!(desk.fetch_ids(earliest("h", 100)), [4]);
}

/// Nobody knows what came before it, and what did not was passed over in silence.
#[test]
fn a_message_that_is_gone_and_not_remembered_acknowledges_nothing_that_was_not_delivered() {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    desk.send(BOX, "normal");
    let critical = Attributes {
        ttl_seconds: Some(1),
        ..priority(Priority::Critical)
    };
    desk.send_as(BOX, "critical", critical);
    assert_eq!(desk.fetch_ids(earliest("g", 1)), [1]);
    desk.crash();
    desk.pass(Duration::from_secs(30));
    assert_eq!(desk.acknowledge(BOX, "g", 1), Reply::Done);
    assert_eq!(desk.fetch_ids(earliest("g", 1)), [0]);
}

/// It moved nothing, so all that was delivered came again.
#[test]
fn a_message_that_is_gone_and_not_remembered_acknowledges_what_was_delivered_before_it() {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    for _ in 0..5 {
        desk.send(BOX, "normal");
    }
    assert_eq!(desk.fetch_ids(earliest("g", 4)), [0, 1, 2, 3]);
    desk.crash();
    desk.ask(delete(BOX, 3));
    // Nobody was given it.
    assert_eq!(desk.acknowledge(BOX, "g", 5), Reply::Done);
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [0, 1, 2, 4]);
    desk.crash();
    assert_eq!(desk.acknowledge(BOX, "g", 3), Reply::Done);
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [4]);
    desk.crash();
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [4], "it is durable");

    // It can only have been urgent: what is less important has not come yet.
    desk.send(BOX, "normal");
    desk.send_as(BOX, "critical", priority(Priority::Critical));
    desk.send_as(BOX, "urgent", priority(Priority::Urgent));
    assert_eq!(desk.fetch_ids(earliest("g", 2)), [6, 7]);
    desk.crash();
    desk.ask(delete(BOX, 7));
    desk.acknowledge(BOX, "g", 7);
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [4, 5]);
}

#[test]
fn the_last_of_a_mixed_answer_acknowledges_all_of_it() {
    // 6.4-5: the last one has a lower id than the first.
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    desk.send(BOX, "n");
    desk.send_as(BOX, "c", priority(Priority::Critical));
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [1, 0]);
    desk.acknowledge(BOX, "g", 0);
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [0; 0]);
    // Not remembered any more: what is more important comes again, nothing is lost.
    desk.fetch_ids(earliest("h", 100));
    desk.crash();
    desk.acknowledge(BOX, "h", 0);
    assert_eq!(desk.fetch_ids(earliest("h", 100)), [1]);
}

#[test]
fn query_finds_what_all_filters_let_through() {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    for tags in [&["billing"][..], &["urgent"], &["billing", "urgent"]] {
        desk.send_as(BOX, "text", tagged(tags));
    }
    desk.send_as(BOX, "text", priority(Priority::Critical));
    desk.pass(Duration::from_secs(50));
    let middle = desk.now.wall.0 / 1_000;
    desk.send_as(BOX, "text", tagged(&["billing"]));
    let mut found = |tags: &[&str], since, limit| {
        let asked = Query {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            since,
            limit,
            ..query(BOX)
        };
        ids(&desk.ask(Request::Query(asked)))
    };
    assert_eq!(found(&[], None, 100), [0, 1, 2, 3, 4]);
    assert_eq!(found(&[], None, 3), [0, 1, 2]);
    assert_eq!(found(&[], None, 0), [0; 0]);
    assert_eq!(found(&["billing"], None, 100), [0, 2, 4]);
    assert_eq!(found(&["billing", "urgent"], None, 100), [0, 1, 2, 4]);
    assert_eq!(found(&["nope"], None, 100), [0; 0]);
    assert_eq!(found(&["bill"], None, 100), [0; 0]);
    assert_eq!(found(&[], Some(middle), 100), [4]);
    assert_eq!(found(&["urgent"], Some(middle), 100), [0; 0]);
    for _ in 0..145 {
        desk.send(BOX, "text");
    }
    let asked = Query {
        limit: 1_000,
        ..query(BOX)
    };
    let all = ids(&desk.ask(Request::Query(asked)));
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    // 6.5-13: positions stay where they are.
    assert_eq!(desk.fetch_ids(earliest("g", 2)), [3, 0]);
}

#[test]
fn delete_says_whether_the_message_was_there() {
    let mut desk = desk_with_five();
    let deleted = |was_there| Reply::Deleted { was_there };
    assert_eq!(desk.ask(delete(BOX, 1)), deleted(true));
    assert_eq!(desk.ask(delete(BOX, 1)), deleted(false));
    assert_eq!(desk.ask(delete("nope", 1)), no_mailbox("nope"));
    assert_eq!(desk.fetch_ids(earliest("g", 100)), [0, 2, 3, 4]);
    // 6.6-11: the newest.
    desk.ask(delete(BOX, 4));
    assert_eq!(desk.fetch_ids(fetch(BOX, None, Deliver::Latest)), [3]);
    // 6.6-12: with its key.
    desk.send_as(BOX, "text", keyed("k"));
    assert_eq!(desk.ask(delete(BOX, 5)), deleted(true));
    assert_eq!(desk.shelf.count(sync::Table::MailKeys), 0);
    // Two at once: only one of them finds it.
    desk.is_holding = true;
    let first = desk.begin(delete(BOX, 0));
    let second = desk.begin(delete(BOX, 0));
    desk.settle_all();
    assert_eq!(desk.answers[&first], deleted(true));
    assert_eq!(desk.answers[&second], deleted(false));
    assert_eq!(desk.office.counts().messages, 2);
}

fn register(name: &str, mailbox: Option<&str>, text: &str) -> Request {
    Request::Register(Register {
        name: name.to_owned(),
        mailbox: mailbox.map(str::to_owned),
        body: format!("{{\"name\":\"{name}\",\"payload\":\"{text}\"}}"),
    })
}

fn names(desk: &mut Desk, words: Option<&str>, limit: Option<u32>, page: u32) -> Vec<String> {
    let discover = Discover {
        words: words.map(str::to_owned),
        limit,
        page,
    };
    match desk.ask(Request::Discover(discover)) {
        Reply::Agents(agents) => agents.into_iter().map(|it| it.name).collect(),
        other => panic!("{other:?}"),
    }
}

fn identity(name: Option<&str>, mailbox: Option<&str>) -> Identity {
    Identity {
        name: name.map(str::to_owned),
        mailbox: mailbox.map(str::to_owned),
    }
}

#[test]
fn agents_register_are_found_report_and_go() {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(names(&mut desk, None, None, 1), [""; 0]);
    desk.ask(register("a.t", Some("a.t"), "EN ZH translation"));
    desk.ask(register("b.pay", Some("mq9://broker/b"), "payment"));
    desk.ask(register("c.only", None, "nothing"));
    assert_eq!(names(&mut desk, None, None, 1), ["a.t", "b.pay", "c.only"]);
    assert_eq!(names(&mut desk, None, Some(1), 2), ["b.pay"]);
    assert_eq!(names(&mut desk, None, Some(20), 1).len(), 3);
    assert_eq!(names(&mut desk, Some("translation"), None, 1), ["a.t"]);
    assert_eq!(names(&mut desk, Some("zzz"), None, 1), [""; 0]);
    desk.pass(Duration::from_secs(60));
    let report = |name| {
        Request::Report(Report {
            agent: identity(name, None),
            body: "{\"load\":1}".to_owned(),
        })
    };
    assert_eq!(desk.ask(report(Some("a.t"))), Reply::Done);
    assert_eq!(desk.ask(report(Some("never.registered"))), Reply::Done);
    desk.crash();
    let Reply::Agents(agents) = desk.ask(Request::Discover(Discover::default())) else {
        panic!("no list");
    };
    let now = desk.now.wall.0 / 1_000;
    let seen: Vec<u64> = agents.iter().map(|it| now - it.seen).collect();
    assert_eq!(seen, [0, 60, 60]);
    assert!(agents[0].body.contains("EN ZH translation"));
    // Registered again: the latest counts.
    desk.ask(register("a.t", Some("elsewhere"), "other"));
    assert_eq!(names(&mut desk, Some("translation"), None, 1), [""; 0]);
    for (name, mailbox) in [
        (Some("unknown"), None),
        (None, Some("mq9://broker/b")),
        (None, Some("c.only")),
    ] {
        let gone = Request::Unregister(identity(name, mailbox));
        assert_eq!(desk.ask(gone), Reply::Done);
    }
    desk.crash();
    assert_eq!(names(&mut desk, None, None, 1), ["a.t"]);
    desk.ask(Request::Unregister(identity(Some("a.t"), None)));
    assert_eq!(desk.shelf.count(sync::Table::Agents), 0);
}

#[test]
fn an_agent_goes_that_is_only_about_to_come() {
    let mut desk = Desk::new(Settings::default());
    desk.is_holding = true;
    desk.begin(register("a", Some("m"), "text"));
    let gone = desk.begin(Request::Unregister(identity(None, Some("m"))));
    assert!(desk.answers.is_empty());
    desk.settle_all();
    assert_eq!(desk.answers[&gone], Reply::Done);
    assert_eq!(names(&mut desk, None, None, 1), [""; 0]);
}

#[test]
fn agents_of_the_cloud_stay_known_and_one_of_the_edge_goes_first() {
    let mut desk = Desk::new(Settings::default());
    let agent = |name: &str, body: &str| wire::mq9::Agent {
        name: name.to_owned(),
        mailbox: None,
        body: body.to_owned(),
        lives: Home::Cloud,
        seen: 0,
    };
    let agents = vec![agent("x", "{}"), agent("y", "{}"), agent("z", "{}")];
    desk.give(edge::mail::Input::CloudAgents { agents });
    desk.ask(register("y", None, "mine"));
    desk.crash();
    let list = |desk: &mut Desk| -> Vec<(String, Home)> {
        match desk.ask(Request::Discover(Discover::default())) {
            Reply::Agents(agents) => agents.into_iter().map(|it| (it.name, it.lives)).collect(),
            other => panic!("{other:?}"),
        }
    };
    let of = |name: &str, lives| (name.to_owned(), lives);
    let expected: Vec<(String, Home)> = vec![
        of("x", Home::Cloud),
        of("y", Home::Edge),
        of("z", Home::Cloud),
    ];
    assert_eq!(list(&mut desk), expected);
    let agents = vec![agent("z", "{\"new\":1}")];
    desk.give(edge::mail::Input::CloudAgents { agents });
    assert_eq!(list(&mut desk), expected[1..]);
    desk.crash();
    assert_eq!(list(&mut desk), expected[1..]);
}

/// What had been sent before could not be read any more, and nobody said so.
#[test]
fn a_mailbox_that_was_here_before_its_address_was_the_clouds_can_still_be_read() {
    let mut desk = Desk::new(Settings::default());
    desk.create("cloud.desk", 60);
    desk.send("cloud.desk", "before");
    desk.settings.cloud_mailboxes = vec!["cloud.>".to_owned()];
    desk.crash();
    assert_eq!(desk.send("cloud.desk", "after"), Reply::Sent { id: None });
    let all = || fetch("cloud.desk", None, Deliver::Earliest);
    assert_eq!(desk.fetch_ids(all()), [0]);
    let deleted = desk.ask(delete("cloud.desk", 0));
    assert_eq!(deleted, Reply::Deleted { was_there: true });
    desk.pass(Duration::from_secs(61));
    let reply = desk.ask(Request::Fetch(all()));
    assert!(refusal(&reply).contains("lives in the cloud"));
}

#[test]
fn mail_to_the_cloud_goes_up_in_the_lane_of_its_priority() {
    let mut desk = Desk::new(Settings {
        cloud_mailboxes: vec!["cloud.>".to_owned()],
        announces_agents: true,
        ..Settings::default()
    });
    let address = "cloud.desk".to_owned();
    let created = Reply::Created {
        address: address.clone(),
    };
    assert_eq!(desk.create(&address, 0), created);
    assert_eq!(desk.create(&address, 0), created);
    desk.is_holding = true;
    let attributes = Attributes {
        ttl_seconds: Some(60),
        tags: vec!["x".to_owned()],
        priority: Priority::Critical,
        ..keyed("k")
    };
    let ticket = desk.begin(crate::desk::send(&address, "alarm", attributes));
    assert!(desk.answers.is_empty());
    let lanes: Vec<Lane> = desk.held[0]
        .1
        .iter()
        .filter_map(|change| match change {
            sync::Change::Append { lane, .. } => Some(*lane),
            _ => None,
        })
        .collect();
    assert_eq!(lanes, [Lane::Critical]);
    desk.is_holding = false;
    desk.settle_all();
    assert_eq!(desk.answers[&ticket], Reply::Sent { id: None });
    let record = &desk.shelf.records[0];
    assert_eq!(record.topic(), "$mq9/AI/MSG/SEND/cloud/desk");
    assert_eq!(record.payload(), b"alarm");
    let properties = String::from_utf8_lossy(record.properties()).into_owned();
    for word in ["mq9-priority", "critical", "mq9-key", "mq9-ttl", "mq9-tags"] {
        assert!(properties.contains(word), "{word} in {properties:?}");
    }
    for request in [
        Request::Fetch(fetch(&address, None, Deliver::Latest)),
        Request::Query(query(&address)),
        crate::desk::acknowledge(&address, "g", 0),
        delete(&address, 0),
    ] {
        let reply = desk.ask(request);
        assert!(refusal(&reply).contains("lives in the cloud"));
    }
    desk.ask(register("a", Some("a"), "text"));
    desk.ask(Request::Unregister(identity(Some("a"), None)));
    let topics: Vec<&str> = desk.shelf.records.iter().map(sync::Record::topic).collect();
    assert_eq!(
        topics[1..],
        ["$mq9/AI/AGENT/REGISTER", "$mq9/AI/AGENT/UNREGISTER"]
    );
    assert!(
        desk.shelf.records[1]
            .payload()
            .starts_with(b"{\"name\":\"a\",\"payload\"")
    );
    assert_eq!(desk.shelf.records[2].payload(), b"{\"name\":\"a\"}");
}

#[test]
fn a_pulled_mailbox_is_made_with_its_first_message_and_the_position_goes_along() {
    let mut desk = Desk::new(Settings {
        pulled: vec!["site.orders".to_owned()],
        ..Settings::default()
    });
    let key = b"mq9-pull/site.orders".to_vec();
    let cursor = sync::Change::Put {
        table: sync::Table::Cursors,
        key: key.clone(),
        value: vec![7],
    };
    let request = crate::desk::send("site.orders", "order", Attributes::default());
    let ticket = desk.begin_with(request, vec![cursor]);
    assert_eq!(desk.answers[&ticket], sent(0));
    assert_eq!(desk.shelf.row(sync::Table::Cursors, &key), Some(&vec![7]));
    desk.crash();
    assert_eq!(desk.query("site.orders"), [0]);
}

#[test]
fn a_second_delete_answers_by_how_the_first_one_ends() {
    for (is_first_durable, expected) in [(true, [true, false]), (false, [false, true])] {
        let mut desk = Desk::new(Settings::default());
        desk.create(BOX, 0);
        desk.send_as(BOX, "text", keyed("k"));
        desk.is_holding = true;
        let tickets = [0; 2].map(|_| desk.begin(delete(BOX, 0)));
        desk.settle(is_first_durable);
        desk.settle(true);
        let said = tickets.map(|it| desk.answers[&it] == Reply::Deleted { was_there: true });
        assert_eq!(said, expected);
        assert_eq!(desk.office.counts().messages, 0);
        assert_eq!(desk.shelf.count(sync::Table::MailKeys), 0);
    }
}

#[test]
fn from_a_time_on_leaves_out_what_a_clock_that_went_back_put_behind_it() {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    desk.send(BOX, "now");
    desk.now.wall.0 -= 100_000;
    desk.send(BOX, "before");
    desk.now.wall.0 += 200_000;
    desk.send(BOX, "later");
    let since = Deliver::FromTime(crate::desk::START / 1_000);
    assert_eq!(desk.fetch_ids(fetch(BOX, None, since)), [0, 2]);
    assert_eq!(desk.fetch_ids(fetch(BOX, Some("g"), since)), [0, 1, 2]);
}

#[test]
fn agents_of_one_mailbox_leave_in_one_commit() {
    for announces_agents in [false, true] {
        let mut desk = Desk::new(Settings {
            announces_agents,
            ..Settings::default()
        });
        for name in ["a", "b", "c"] {
            desk.ask(Request::Register(Register {
                name: name.to_owned(),
                mailbox: Some(BOX.to_owned()),
                body: "{}".to_owned(),
            }));
        }
        desk.is_holding = true;
        let ticket = desk.begin(Request::Unregister(Identity {
            name: None,
            mailbox: Some(BOX.to_owned()),
        }));
        while desk.held.len() > 1 {
            desk.settle(true);
        }
        assert_eq!(desk.office.counts().agents, 3);
        assert_eq!(desk.shelf.count(sync::Table::Agents), 3);
        desk.settle(true);
        assert_eq!(desk.answers[&ticket], Reply::Done);
        assert_eq!(desk.office.counts().agents, 0);
        assert_eq!(desk.shelf.count(sync::Table::Agents), 0);
        assert_eq!(desk.shelf.records.len(), 6 * usize::from(announces_agents));
    }
}
