//! Each limit of the office, and what happens at it.

use std::time::Duration;

use edge::mail::{Input, Intake, Settings};
use sync::{PerLane, Table};
use wire::mq9::{
    Attributes, Create, Deliver, Discover, Fetch, Priority, Query, Register, Reply, Report, Request,
};

use crate::desk::{
    Desk, create, delete, fetch, ids, no_mailbox, priority, query, refusal, send, sent,
};

fn desk_with(change: impl FnOnce(&mut Settings)) -> Desk {
    let mut settings = Settings::default();
    change(&mut settings);
    let mut desk = Desk::new(settings);
    desk.create("m", 0);
    desk
}

fn keyed(key: &str) -> Attributes {
    Attributes {
        key: Some(key.to_owned()),
        ..Attributes::default()
    }
}

fn register(name: &str, text: &str) -> Request {
    Request::Register(Register {
        name: name.to_owned(),
        mailbox: None,
        body: text.to_owned(),
    })
}

#[test]
fn no_more_mailboxes_than_the_limit_and_room_again_when_one_is_over() {
    let mut desk = desk_with(|it| it.mailbox_count_maximum = 2);
    desk.create("n", 1);
    let reply = desk.create("o", 0);
    assert_eq!(refusal(&reply), "there are 2 mailboxes already");
    desk.pass(Duration::from_secs(10));
    assert!(matches!(desk.create("o", 0), Reply::Created { .. }));
}

/// A lane that keeps its old records would grow without end, and a disk that is full needs what is
/// left for those who make room.
#[test]
fn a_full_log_takes_no_mail_of_its_lane_and_refuses_nobody_who_makes_room() {
    use Intake::{Nothing, NothingUp, Open};
    let mut desk = desk_with(|it| {
        it.cloud_mailboxes = vec!["cloud.>".to_owned()];
        it.announces_agents = true;
    });
    desk.send("m", "first");
    let requests = [
        send("cloud.a", "x", priority(Priority::Critical)),
        send("cloud.a", "x", Attributes::default()),
        register("agent", ""),
        send("m", "x", Attributes::default()),
        create("n", 0),
    ];
    for (intake, taken) in [
        ([Open, Open, NothingUp], [true, false, false, true, true]),
        ([NothingUp, Open, Open], [false, true, true, true, true]),
        ([Open, Open, Nothing], [true, false, false, false, false]),
        ([Nothing, Nothing, Nothing], [false; 5]),
    ] {
        desk.give(Input::Intake(PerLane(intake)));
        for (request, is_taken) in requests.iter().zip(taken) {
            let reply = desk.ask(request.clone());
            let is_refused = matches!(&reply, Reply::Failed(it) if it.to_string() == "log is full");
            assert_eq!(is_refused, !is_taken, "{request:?} {reply:?}");
        }
    }
    assert_eq!(desk.acknowledge("m", "g", 0), Reply::Done);
    assert!(matches!(desk.ask(delete("m", 0)), Reply::Deleted { .. }));
    desk.give(Input::Intake(PerLane([Open; 3])));
    for request in requests.into_iter().take(4) {
        assert!(!matches!(desk.ask(request), Reply::Failed(_)));
    }
}

#[test]
fn too_long_names_are_refused() {
    let mut desk = desk_with(|it| {
        it.address_bytes_maximum = 4;
        it.description_bytes_maximum = 5;
        it.key_bytes_maximum = 3;
        it.tags_bytes_maximum = 6;
        it.group_name_bytes_maximum = 2;
    });
    let reply = desk.create("abcde", 0);
    assert_eq!(refusal(&reply), "address of 5 bytes exceeds the limit of 4");
    let reply = desk.ask(Request::Create(Create {
        name: Some("n".to_owned()),
        description: "longer".to_owned(),
        ttl_seconds: None,
    }));
    assert_eq!(
        refusal(&reply),
        "description of 6 bytes exceeds the limit of 5"
    );
    let reply = desk.send_as("m", "text", keyed("four"));
    assert_eq!(
        refusal(&reply),
        "message key of 4 bytes exceeds the limit of 3"
    );
    let tags = Attributes {
        tags: vec!["abc".to_owned(), "def".to_owned()],
        ..Attributes::default()
    };
    let reply = desk.send_as("m", "text", tags);
    assert_eq!(
        refusal(&reply),
        "list of tags of 8 bytes exceeds the limit of 6"
    );
    let asked = Request::Fetch(fetch("m", Some("abc"), Deliver::Latest));
    let reply = desk.ask(asked);
    assert_eq!(
        refusal(&reply),
        "group name of 3 bytes exceeds the limit of 2"
    );
    let reply = desk.acknowledge("m", "abc", 0);
    assert_eq!(
        refusal(&reply),
        "group name of 3 bytes exceeds the limit of 2"
    );
}

#[test]
fn a_full_mailbox_takes_what_replaces_and_nothing_more() {
    let mut desk = desk_with(|it| it.message_count_maximum = 2);
    desk.send_as("m", "text", keyed("k"));
    desk.send("m", "text");
    let full = "mailbox m is full: its messages would exceed the limit of 2";
    assert_eq!(refusal(&desk.send("m", "text")), full);
    let delayed = Attributes {
        delay_seconds: Some(1),
        ..Attributes::default()
    };
    assert_eq!(refusal(&desk.send_as("m", "text", delayed)), full);
    assert_eq!(desk.send_as("m", "newer", keyed("k")), sent(2));
    desk.ask(delete("m", 1));
    assert_eq!(desk.send("m", "text"), sent(3));
    // As many again after a restart.
    desk.crash();
    assert_eq!(refusal(&desk.send("m", "text")), full);
}

#[test]
fn bytes_are_bounded_for_a_mailbox_and_for_all() {
    let mut desk = desk_with(|it| {
        it.mailbox_bytes_maximum = 200;
        it.mail_bytes_maximum = 300;
    });
    desk.create("n", 1);
    let text = "x".repeat(100);
    assert_eq!(desk.send("m", &text), sent(0));
    let full = "mailbox m is full: its bytes would exceed the limit of 200";
    assert_eq!(refusal(&desk.send("m", &text)), full);
    assert_eq!(desk.send("n", &text), sent(0));
    desk.create("o", 0);
    let full = "all mailboxes are full: their bytes would exceed the limit of 300";
    assert_eq!(refusal(&desk.send("o", &text)), full);
    // The room of a mailbox that is over comes back.
    desk.pass(Duration::from_secs(10));
    assert_eq!(desk.send("o", &text), sent(0));
}

#[test]
fn no_more_groups_than_the_limit_and_known_ones_go_on() {
    let mut desk = desk_with(|it| it.group_count_maximum = 2);
    desk.send("m", "text");
    for group in ["a", "b", "a"] {
        let asked = fetch("m", Some(group), Deliver::Latest);
        assert_eq!(desk.fetch_ids(asked), [0]);
    }
    desk.crash();
    let full = "there are 2 groups of this mailbox already";
    let reply = desk.ask(Request::Fetch(fetch("m", Some("c"), Deliver::Latest)));
    assert_eq!(refusal(&reply), full);
    assert_eq!(refusal(&desk.acknowledge("m", "c", 0)), full);
    assert_eq!(desk.acknowledge("m", "b", 0), Reply::Done);
}

#[test]
fn an_answer_ends_at_its_limits_but_not_before_its_first_message() {
    let mut desk = desk_with(|it| {
        it.answer_bytes_maximum = 500;
        it.answer_count_maximum = 3;
    });
    let large = "x".repeat(10_000);
    desk.send("m", &large);
    (0..10).for_each(|_| drop(desk.send("m", "small")));
    assert_eq!(desk.fetch_ids(fetch("m", None, Deliver::Earliest)), [0]);
    let from = |id| fetch("m", None, Deliver::FromId(id));
    assert_eq!(desk.fetch_ids(from(1)), [1, 2, 3]);
    assert_eq!(desk.query("m"), [0]);
    let asked = Query {
        since: Some(0),
        ..query("m")
    };
    assert_eq!(ids(&desk.ask(Request::Query(asked))), [0]);
}

#[test]
fn agents_are_bounded_in_number_and_bytes() {
    let mut desk = desk_with(|it| {
        it.agent_count_maximum = 2;
        it.agent_body_bytes_maximum = 50;
        it.agent_bytes_maximum = 60;
    });
    let long = "x".repeat(51);
    let what = "description of an agent of 51 bytes exceeds the limit of 50";
    assert_eq!(refusal(&desk.ask(register("a", &long))), what);
    assert_eq!(desk.ask(register("a", &long[..49])), Reply::Done);
    let what = "all agents would take 61 bytes, which exceeds the limit of 60";
    assert_eq!(refusal(&desk.ask(register("b", &long[..10]))), what);
    assert_eq!(desk.ask(register("b", "")), Reply::Done);
    let what = "there are 2 agents already";
    assert_eq!(refusal(&desk.ask(register("c", ""))), what);
    // In the place of itself it has room.
    assert_eq!(desk.ask(register("a", &long[..50])), Reply::Done);
    let agent = wire::mq9::Identity {
        name: Some("a".to_owned()),
        mailbox: None,
    };
    let body = long;
    let reply = desk.ask(Request::Report(Report { agent, body }));
    let what = "report of 51 bytes exceeds the limit of 50";
    assert_eq!(refusal(&reply), what);
    let of_cloud = |name: &str| wire::mq9::Agent {
        name: name.to_owned(),
        mailbox: None,
        body: String::new(),
        lives: wire::mq9::Home::Cloud,
        seen: 0,
    };
    let agents = vec![of_cloud("d")];
    desk.give(Input::CloudAgents { agents });
    assert_eq!(desk.office.counts().agents, 2);
    assert_eq!(desk.office.counters().cloud_agents_left_out, 1);
}

#[test]
fn too_many_requests_under_way_are_refused() {
    let mut desk = desk_with(|it| it.pending_count_maximum = 3);
    desk.is_holding = true;
    let request = || send("m", "text", Attributes::default());
    for _ in 0..3 {
        desk.begin(request());
    }
    let ticket = desk.begin(request());
    let what = "3 requests are under way already";
    assert_eq!(refusal(&desk.answers[&ticket]), what);
    desk.settle(true);
    let ticket = desk.begin(request());
    assert!(!desk.answers.contains_key(&ticket));
}

#[test]
fn delivered_messages_are_remembered_within_the_limit() {
    let mut desk = desk_with(|it| {
        it.group_count_maximum = 10_000;
        it.group_memory_bytes_maximum = 20_000;
    });
    (0..10).for_each(|_| drop(desk.send("m", "text")));
    for at in 0..500 {
        let group = format!("g{at}");
        let asked = fetch("m", Some(&group), Deliver::Earliest);
        assert_eq!(desk.fetch_ids(asked).len(), 10);
    }
    assert!(desk.office.held_bytes() < 20_000 + 2_000);
    assert_eq!(desk.shelf.count(Table::MailGroups), 500);
    // The position of one that was forgotten is read again.
    desk.acknowledge("m", "g0", 4);
    let asked = fetch("m", Some("g0"), Deliver::Earliest);
    assert_eq!(desk.fetch_ids(asked), [5, 6, 7, 8, 9]);
}

#[test]
fn memory_follows_the_count_at_the_limit_of_everything() {
    let mut desk = desk_with(|it| {
        it.mailbox_count_maximum = 50;
        it.waiting_count_maximum = 20;
        it.agent_count_maximum = 30;
        it.agent_bytes_maximum = 3_000;
        it.group_memory_bytes_maximum = 4_000;
        it.pending_count_maximum = 100;
    });
    for at in 0..200 {
        let name = format!("{}{at}", "n".repeat(100));
        desk.create(&name, 0);
        desk.ask(register(&name[90..], "body"));
        let asked = Fetch {
            wait_milliseconds: 4_000,
            ..fetch(&name, Some("group"), Deliver::Latest)
        };
        desk.begin(Request::Fetch(asked));
    }
    desk.is_holding = true;
    for _ in 0..200 {
        desk.begin(send("m", "text", Attributes::default()));
    }
    let counts = desk.office.counts();
    let reached = (
        counts.mailboxes,
        counts.agents,
        counts.waiting,
        desk.held.len(),
    );
    assert_eq!(reached, (50, 30, 20, 100));
    assert!(desk.office.held_bytes() <= desk.settings.memory_bytes());
}

#[test]
fn a_long_search_leaves_others_their_turn() {
    let mut desk = desk_with(|it| it.step_rows_maximum = 10);
    let old = Attributes {
        ttl_seconds: Some(1),
        ..Attributes::default()
    };
    (0..200).for_each(|_| drop(desk.send_as("m", "text", old.clone())));
    desk.send("m", "kept");
    // Over, but not swept yet.
    desk.now.wall.0 += 1_000;
    let asked = Query {
        tags: vec!["none".to_owned()],
        ..query("m")
    };
    let requests = [
        Request::Query(asked),
        Request::Fetch(fetch("m", None, Deliver::Earliest)),
        Request::Fetch(fetch("m", Some("g"), Deliver::FromTime(1))),
    ];
    for request in requests {
        let before = desk.shelf.rows_read;
        let ticket = desk.begin(request);
        assert!(desk.shelf.rows_read - before <= 3 * 32, "too much at once");
        assert!(!desk.answers.contains_key(&ticket));
        // Another one is answered in between.
        assert_eq!(desk.send("nowhere", "text"), no_mailbox("nowhere"));
        desk.take_turns();
        assert!(desk.answers.contains_key(&ticket));
    }
}

#[test]
fn a_search_that_holds_too_much_ends_with_what_it_has() {
    let mut desk = desk_with(|it| {
        it.step_rows_maximum = 10;
        it.search_bytes_maximum = 1_000;
    });
    (0..100).for_each(|_| drop(desk.send("m", "text")));
    let found = desk.query("m").len();
    assert!((10..30).contains(&found), "{found}");
}

#[test]
fn finding_the_newest_message_reads_few_rows() {
    let mut desk = desk_with(|_| ());
    (0..2_000).for_each(|_| drop(desk.send("m", "text")));
    (1_000..2_000).for_each(|id| drop(desk.ask(delete("m", id))));
    let before = desk.shelf.rows_read;
    assert_eq!(desk.fetch_ids(fetch("m", None, Deliver::Latest)), [999]);
    assert!(desk.shelf.rows_read - before < 50);
}

#[test]
fn a_shelf_that_can_t_be_read_refuses_and_works_again_later() {
    let mut desk = desk_with(|_| ());
    desk.send_as("m", "text", keyed("k"));
    desk.shelf.is_unreadable = true;
    let what = "mail can't be read at the moment";
    for request in [
        send("m", "text", keyed("k")),
        Request::Fetch(fetch("m", None, Deliver::Earliest)),
        Request::Fetch(fetch("m", Some("g"), Deliver::Latest)),
        Request::Query(query("m")),
        delete("m", 0),
        crate::desk::acknowledge("m", "g", 0),
    ] {
        let reply = desk.ask(request);
        assert_eq!(refusal(&reply), what);
    }
    // What needs nothing from the disk goes on.
    assert_eq!(desk.send("m", "text"), sent(1));
    let list = desk.ask(Request::Discover(Discover::default()));
    assert_eq!(list, Reply::Agents(Vec::new()));
    desk.pass(Duration::from_secs(20));
    desk.shelf.is_unreadable = false;
    assert_eq!(desk.query("m"), [0, 1]);
}

#[test]
fn counts_that_were_lost_begin_beyond_all_ids() {
    let mut desk = desk_with(|_| ());
    (0..5).for_each(|_| drop(desk.send("m", "text")));
    let tails = desk.shelf.keys_of(Table::MailTails);
    desk.shelf.apply(vec![sync::Change::Delete {
        table: Table::MailTails,
        key: tails[0].clone(),
    }]);
    desk.crash();
    let Reply::Sent { id: Some(id) } = desk.send("m", "text") else {
        panic!("not sent");
    };
    assert!(id > 1_000_000);
    assert_eq!(desk.query("m"), [0, 1, 2, 3, 4, id]);
}
