//! Fetches that wait: until the first message, or until their time is over, and nobody else with
//! them.

use std::time::Duration;

use edge::mail::{Input, Settings, Ticket};
use sync::WallTime;
use wire::mq9::{Attributes, Deliver, Fetch, Priority, Reply, Request};

use crate::desk::{Desk, START, fetch, ids, no_mailbox, priority, send, sent};

const BOX: &str = "t.inbox";
const YEAR: u64 = 365 * 86_400_000;

fn desk() -> Desk {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 0);
    desk
}

fn wait(desk: &mut Desk, group: Option<&str>, milliseconds: u64) -> Ticket {
    let fetch = Fetch {
        wait_milliseconds: milliseconds,
        ..fetch(BOX, group, Deliver::Latest)
    };
    desk.begin(Request::Fetch(fetch))
}

#[test]
fn a_fetch_is_answered_at_the_first_arrival_and_only_when_it_is_durable() {
    let mut desk = desk();
    let (alone, grouped) = (
        wait(&mut desk, None, 4_000),
        wait(&mut desk, Some("g"), 4_000),
    );
    desk.pass(Duration::from_millis(300));
    assert!(!desk.answers.contains_key(&alone));
    desk.is_holding = true;
    desk.begin(send(BOX, "text", priority(Priority::Urgent)));
    assert!(!desk.answers.contains_key(&alone));
    desk.settle_all();
    assert_eq!(ids(&desk.answers[&alone]), [0]);
    assert_eq!(ids(&desk.answers[&grouped]), [0]);
    assert_eq!(desk.office.counts().waiting, 0);
    // What it gave can be acknowledged as any other answer.
    desk.is_holding = false;
    desk.acknowledge(BOX, "g", 0);
    let again = wait(&mut desk, Some("g"), 0);
    assert_eq!(ids(&desk.answers[&again]), [0; 0]);
}

#[test]
fn a_fetch_ends_with_nothing_at_its_deadline_and_never_later_than_the_limit() {
    let mut desk = desk();
    let short = wait(&mut desk, None, 500);
    let long = wait(&mut desk, None, u64::MAX);
    desk.pass(Duration::from_millis(499));
    assert!(!desk.answers.contains_key(&short));
    desk.pass(Duration::from_millis(1));
    assert_eq!(ids(&desk.answers[&short]), [0; 0]);
    desk.pass(Duration::from_millis(3_999));
    assert!(!desk.answers.contains_key(&long));
    // The clock of the device plays no part.
    desk.now.wall = WallTime(START + 20 * YEAR);
    desk.pass(Duration::from_millis(1));
    assert_eq!(ids(&desk.answers[&long]), [0; 0]);
}

#[test]
fn a_delayed_message_wakes_who_waits() {
    let mut desk = desk();
    let attributes = Attributes {
        delay_seconds: Some(1),
        ..Attributes::default()
    };
    desk.send_as(BOX, "late", attributes);
    let ticket = wait(&mut desk, None, 4_000);
    desk.pass(Duration::from_millis(999));
    assert!(!desk.answers.contains_key(&ticket));
    desk.pass(Duration::from_millis(1));
    assert_eq!(ids(&desk.answers[&ticket]), [0]);
}

#[test]
fn a_fetch_from_a_later_message_waits_on() {
    let mut desk = desk();
    let asked = Fetch {
        wait_milliseconds: 4_000,
        ..fetch(BOX, None, Deliver::FromId(2))
    };
    let ticket = desk.begin(Request::Fetch(asked));
    desk.send(BOX, "m0");
    desk.send(BOX, "m1");
    assert!(!desk.answers.contains_key(&ticket));
    desk.send(BOX, "m2");
    assert_eq!(ids(&desk.answers[&ticket]), [2]);
}

#[test]
fn a_fetch_whose_client_is_gone_waits_no_more() {
    let mut desk = desk();
    let ticket = wait(&mut desk, Some("g"), 4_000);
    desk.is_holding = true;
    let other = wait(&mut desk, Some("h"), 4_000);
    desk.give(Input::Cancel { ticket });
    desk.give(Input::Cancel { ticket: other });
    desk.settle_all();
    desk.is_holding = false;
    assert_eq!(desk.send(BOX, "text"), sent(0));
    assert!(desk.answers.is_empty());
    assert_eq!(desk.office.counts().waiting, 0);
}

#[test]
fn at_the_limit_a_fetch_is_answered_at_once() {
    let mut desk = Desk::new(Settings {
        waiting_count_maximum: 1,
        ..Settings::default()
    });
    desk.create(BOX, 0);
    let first = wait(&mut desk, None, 4_000);
    let second = wait(&mut desk, None, 4_000);
    assert_eq!(ids(&desk.answers[&second]), [0; 0]);
    assert!(!desk.answers.contains_key(&first));
    assert_eq!(desk.office.counters().waits_refused, 1);
}

#[test]
fn who_waits_hears_that_the_mailbox_is_over() {
    let mut desk = Desk::new(Settings::default());
    desk.create(BOX, 1);
    let ticket = wait(&mut desk, None, 4_000);
    desk.pass(Duration::from_secs(6));
    assert_eq!(desk.answers[&ticket], no_mailbox(BOX));
}

#[test]
fn a_clock_that_jumps_loses_nothing_that_is_not_over_by_it() {
    let mut desk = desk();
    let sent_with = |ttl, delay| Attributes {
        ttl_seconds: ttl,
        delay_seconds: delay,
        ..Attributes::default()
    };
    desk.send(BOX, "for ever");
    desk.send_as(BOX, "very long", sent_with(Some(u64::MAX), None));
    desk.send_as(BOX, "an hour", sent_with(Some(3_600), None));
    desk.send_as(BOX, "late", sent_with(None, Some(3_600)));
    let never = desk.send_as(BOX, "never", sent_with(None, Some(u64::MAX)));
    assert!(matches!(never, Reply::Failed(_)));
    desk.now.wall = WallTime(START - 20 * YEAR);
    desk.pass(Duration::from_secs(20));
    assert_eq!(desk.query(BOX), [0, 1, 2]);
    desk.now.wall = WallTime(0);
    desk.pass(Duration::from_secs(20));
    assert_eq!(desk.query(BOX), [0, 1, 2]);
    desk.now.wall = WallTime(START + 20 * YEAR);
    desk.pass(Duration::from_secs(20));
    assert_eq!(desk.query(BOX), [0, 1, 3]);
    desk.now.wall = WallTime(u64::MAX - 1);
    desk.send_as(BOX, "at the end", sent_with(Some(5), None));
    desk.crash();
    assert_eq!(desk.query(BOX), [0, 1, 3, 4]);
}

/// What a message is that a thousand wait for: a thousand times its bytes in memory at once.
#[test]
fn a_large_message_that_many_wait_for_goes_to_one_after_the_other() {
    let mut desk = desk();
    let tickets: Vec<Ticket> = (0..20).map(|_| wait(&mut desk, None, 4_000)).collect();
    let text = "x".repeat(desk.settings.answer_bytes_maximum / 2);
    desk.begin(send(BOX, &text, Attributes::default()));
    let answered = |desk: &Desk| {
        let answers = tickets.iter().filter(|it| desk.answers.contains_key(it));
        answers.count()
    };
    for turn in 1..=10 {
        assert_eq!(answered(&desk), 2 * turn);
        assert_eq!(desk.office.counts().waiting, 20 - 2 * turn);
        let is_due = desk.office.poll_timeout() <= Some(desk.now.instant);
        assert_eq!(is_due, turn < 10, "turn {turn}");
        desk.turn();
    }
    assert!(tickets.iter().all(|it| ids(&desk.answers[it]) == [0]));
}
