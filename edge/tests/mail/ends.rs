//! How messages end by time: their own, the longest that any is kept, or that of their mailbox; and
//! what is said of those that nobody acknowledged.

use std::time::Duration;

use edge::mail::{Input, Settings, Ticket, Unread};
use sync::{Change, Table, WallTime};
use wire::mq9::{Attributes, Deliver, Priority, Reply, Request};

use crate::desk::{Desk, START, fetch, priority, refusal, send, sent};

const HOUR: Duration = Duration::from_secs(3_600);

fn desk_of(seconds: u64) -> Desk {
    let mut desk = Desk::new(Settings {
        message_ttl_seconds: seconds,
        step_rows_maximum: 3,
        ..Settings::default()
    });
    desk.create("m", 0);
    desk
}

fn living(seconds: u64) -> Attributes {
    Attributes {
        ttl_seconds: Some(seconds),
        ..Attributes::default()
    }
}

/// Numbers that were given, of all priorities, counted from the first.
fn numbers(unread: &[Unread]) -> Vec<(Priority, u64, u64)> {
    let each = unread.iter();
    each.map(|it| (it.priority, it.first - START, it.count))
        .collect()
}

#[test]
fn messages_are_kept_for_the_longest_time_and_no_less() {
    let mut desk = desk_of(7_200);
    for of in [Priority::Normal, Priority::Critical, Priority::Urgent] {
        (0..4).for_each(|_| drop(desk.send_as("m", "text", priority(of))));
    }
    desk.create("n", 0);
    desk.pass(HOUR);
    assert_eq!(desk.send("n", "later"), sent(0));
    desk.pass(HOUR - Duration::from_secs(6));
    assert_eq!(desk.query("m").len(), 12);
    desk.pass(Duration::from_secs(20));
    assert!(desk.query("m").is_empty());
    assert_eq!(desk.query("n"), [0]);
    assert_eq!(desk.shelf.count(Table::Mail), 1);
    assert_eq!(desk.office.counters().messages_over, 12);
    // Also what was there when the gateway started.
    desk.crash();
    desk.pass(HOUR);
    assert_eq!(desk.shelf.count(Table::Mail), 0);
    assert_eq!(desk.office.counts().messages, 0);
}

#[test]
fn a_message_s_own_time_goes_before_the_longest() {
    let mut desk = desk_of(3_600);
    desk.send_as("m", "short", living(60));
    (0..5).for_each(|_| drop(desk.send_as("m", "long", living(10_000))));
    desk.send("m", "text");
    let delayed = Attributes {
        delay_seconds: Some(5_000),
        ..Attributes::default()
    };
    desk.send_as("m", "late", delayed);
    desk.pass(Duration::from_secs(60));
    assert_eq!(desk.query("m"), [1, 2, 3, 4, 5, 6]);
    desk.pass(HOUR);
    assert_eq!(desk.query("m"), [1, 2, 3, 4, 5]);
    // A delayed message is kept from when it can be read.
    desk.pass(HOUR);
    assert_eq!(desk.query("m"), [1, 2, 3, 4, 5, 7]);
    desk.pass(HOUR);
    assert!(desk.query("m").is_empty());
    let mut desk = desk_of(0);
    desk.send("m", "text");
    desk.pass(1_000 * HOUR);
    assert_eq!(desk.query("m"), [0]);
}

#[test]
fn a_clock_that_is_set_ages_nothing() {
    let mut desk = desk_of(3_600);
    desk.send("m", "before");
    desk.pass(HOUR / 2);
    // From 1970, say, to now.
    desk.now.wall.0 += 1_700_000_000_000;
    desk.pass(HOUR / 4);
    desk.send("m", "behind");
    assert_eq!(desk.query("m"), [0, 1]);
    desk.pass(HOUR / 4 + Duration::from_secs(20));
    assert_eq!(desk.query("m"), [1]);
    desk.now.wall.0 -= 1_700_000_000_000;
    desk.pass(2 * HOUR);
    assert_eq!(desk.query("m"), [1]);
}

#[test]
fn every_message_that_ends_unread_is_told_of_once() {
    let mut desk = desk_of(3_600);
    (0..3).for_each(|_| drop(desk.send_as("m", "text", living(60))));
    desk.send_as(
        "m",
        "text",
        Attributes {
            priority: Priority::Urgent,
            ..living(60)
        },
    );
    desk.fetch_ids(fetch("m", Some("g"), Deliver::FromId(0)));
    desk.acknowledge("m", "g", 0);
    desk.ask(crate::desk::delete("m", 1));
    desk.pass(Duration::from_secs(120));
    // The urgent one came before the first in the same answer.
    assert_eq!(numbers(&desk.unread), [(Priority::Normal, 0, 1)]);
    let told = &desk.unread[0];
    assert_eq!((told.from, told.to), (WallTime(START), WallTime(START)));
    assert_eq!(told.bytes, 4 + 42);

    // By the longest time, by the end of a mailbox, and while delayed; numbers go on.
    desk.unread.clear();
    desk.crash();
    desk.send("m", "text");
    desk.create("n", 60);
    desk.send("n", "text");
    let delayed = Attributes {
        priority: Priority::Critical,
        delay_seconds: Some(7_200),
        ..Attributes::default()
    };
    desk.send_as("n", "text", delayed);
    desk.pass(Duration::from_secs(120));
    assert_eq!(
        numbers(&desk.unread),
        [(Priority::Normal, 1, 1), (Priority::Critical, 0, 1)]
    );
    desk.pass(HOUR);
    assert_eq!(numbers(&desk.unread)[2..], [(Priority::Normal, 2, 1)]);
    assert_eq!(desk.office.counters().messages_unread, 3);
}

#[test]
fn a_removal_that_fails_is_tried_again() {
    let mut desk = desk_of(3_600);
    (0..5).for_each(|_| drop(desk.send("m", "text")));
    desk.is_holding = true;
    desk.pass(HOUR);
    desk.pass(Duration::from_secs(6));
    assert_eq!(desk.held.len(), 1);
    desk.settle(false);
    assert_eq!(desk.office.counts().messages, 5);
    desk.is_holding = false;
    desk.pass(Duration::from_secs(20));
    desk.settle_all();
    desk.pass(Duration::from_secs(20));
    assert_eq!(desk.shelf.count(Table::Mail), 0);
    assert_eq!(desk.office.counts().messages, 0);
}

/// It comes from the cloud, which is told that it is done with, so it must not be lost in silence.
#[test]
fn a_message_that_can_never_be_kept_is_told_of_when_that_is_durable() {
    let mut desk = Desk::new(Settings::default());
    desk.is_holding = true;
    let position = Change::Put {
        table: Table::Cursors,
        key: b"p".to_vec(),
        value: vec![1],
    };
    let lose = |ticket| Input::Lost {
        ticket: Ticket(ticket),
        priority: Priority::Critical,
        bytes: 700_000,
        changes: vec![position.clone()],
    };
    desk.give(lose(7));
    desk.give(lose(8));
    assert!(desk.answers.is_empty());
    desk.settle(true);
    desk.settle(false);
    assert_eq!(desk.answers[&Ticket(7)], Reply::Sent { id: None });
    assert_eq!(refusal(&desk.answers[&Ticket(8)]), "the disk is full");
    assert_eq!(desk.shelf.row(Table::Cursors, b"p"), Some(&vec![1]));
    let unread: Vec<_> = desk
        .unread
        .iter()
        .map(|it| (it.priority, it.bytes))
        .collect();
    assert_eq!(unread, [(Priority::Critical, 700_000); 2]);
    assert_ne!(desk.unread[0].first, desk.unread[1].first);
}

fn bundle(desk: &mut Desk, ticket: u64, payloads: &[(&str, Option<&str>)]) {
    let sends = payloads.iter().map(|(payload, key)| {
        let attributes = Attributes {
            key: key.map(str::to_owned),
            ..Attributes::default()
        };
        match send("m", payload, attributes) {
            Request::Send(send) => send,
            _ => unreachable!("it is one"),
        }
    });
    let sends = sends.collect();
    let changes = vec![Change::Put {
        table: Table::Cursors,
        key: b"p".to_vec(),
        value: vec![u8::try_from(ticket).unwrap()],
    }];
    desk.give(Input::Bundle {
        ticket: Ticket(ticket),
        sends,
        changes,
    });
}

#[test]
fn messages_that_come_together_are_kept_in_one_commit_or_not_at_all() {
    let mut desk = Desk::new(Settings {
        message_count_maximum: 4,
        pulled: vec!["m".to_owned()],
        ..Settings::default()
    });
    desk.is_holding = true;
    bundle(
        &mut desk,
        7,
        &[("a", Some("k")), ("b", None), ("c", Some("k"))],
    );
    assert_eq!(desk.held.len(), 1);
    assert!(desk.answers.is_empty());
    desk.settle(true);
    assert_eq!(desk.answers[&Ticket(7)], Reply::Sent { id: None });
    // The last with a key replaces the one before it.
    assert_eq!(desk.query("m"), [1, 2]);
    bundle(&mut desk, 8, &[("d", None), ("e", None)]);
    desk.settle(false);
    assert_eq!(refusal(&desk.answers[&Ticket(8)]), "the disk is full");
    assert_eq!(desk.query("m"), [1, 2]);
    bundle(&mut desk, 9, &[("d", None), ("e", None), ("f", None)]);
    let full = "mailbox m is full: its messages would exceed the limit of 4";
    assert_eq!(refusal(&desk.answers[&Ticket(9)]), full);
    bundle(&mut desk, 10, &[("d", None), ("e", None)]);
    desk.settle(true);
    assert_eq!(desk.query("m"), [1, 2, 5, 6]);
    assert_eq!(desk.shelf.row(Table::Cursors, b"p"), Some(&vec![10]));
    desk.crash();
    assert_eq!(desk.query("m"), [1, 2, 5, 6]);
    assert_eq!(desk.office.counts().messages, 4);
}
