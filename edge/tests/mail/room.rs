//! Room in a full mailbox: what every group has acknowledged gives way, and nothing else.

use std::time::Duration;

use edge::mail::Settings;
use sync::Table;
use wire::mq9::{Attributes, Deliver, Fetch, Priority, Reply, Request};

use crate::desk::{Desk, acknowledge, fetch, priority, refusal, send, sent};

const FULL: &str = "mailbox m is full: its messages would exceed the limit of 4";

fn desk_of(count: u64) -> Desk {
    let mut desk = Desk::new(Settings {
        message_count_maximum: count,
        ..Settings::default()
    });
    desk.create("m", 0);
    desk
}

fn read(desk: &mut Desk, group: &str) -> Vec<u64> {
    desk.fetch_ids(fetch("m", Some(group), Deliver::Earliest))
}

#[test]
fn a_mailbox_that_is_read_takes_messages_for_ever() {
    let mut desk = desk_of(10);
    for id in 0..1_000 {
        assert_eq!(desk.send("m", "text"), sent(id));
        if id % 7 == 6 {
            let last = *read(&mut desk, "g").last().unwrap();
            desk.acknowledge("m", "g", last);
        }
    }
    assert_eq!(desk.query("m"), (990..1_000).collect::<Vec<_>>());
    assert_eq!(desk.shelf.count(Table::Mail), 10);
    assert_eq!(desk.office.counters().messages_gave_way, 990);
    assert_eq!(desk.unread, []);
}

#[test]
fn nothing_gives_way_that_a_group_has_not_acknowledged_or_that_no_group_reads() {
    let mut desk = desk_of(4);
    (0..4).for_each(|id| assert_eq!(desk.send("m", "text"), sent(id)));
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    read(&mut desk, "g");
    read(&mut desk, "h");
    desk.acknowledge("m", "g", 3);
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    desk.acknowledge("m", "h", 1);
    // Positions are found again after a restart.
    desk.crash();
    assert_eq!(desk.send("m", "text"), sent(4));
    assert_eq!(desk.send("m", "text"), sent(5));
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    assert_eq!(read(&mut desk, "h"), [2, 3, 4, 5]);
    assert_eq!(read(&mut desk, "g"), [4, 5]);
}

#[test]
fn the_least_important_gives_way_first_and_of_these_the_oldest() {
    let mut desk = desk_of(4);
    for of in [
        Priority::Critical,
        Priority::Normal,
        Priority::Urgent,
        Priority::Normal,
    ] {
        desk.send_as("m", "text", priority(of));
    }
    let last = *read(&mut desk, "g").last().unwrap();
    desk.acknowledge("m", "g", last);
    let mut left = |of: Priority| {
        assert!(matches!(
            desk.send_as("m", "text", priority(of)),
            Reply::Sent { .. }
        ));
        desk.query("m")
    };
    assert_eq!(left(Priority::Normal), [0, 2, 3, 4]);
    assert_eq!(left(Priority::Normal), [0, 2, 4, 5]);
    assert_eq!(left(Priority::Normal), [0, 4, 5, 6]);
    assert_eq!(left(Priority::Normal), [4, 5, 6, 7]);
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
}

#[test]
fn messages_under_way_take_the_places_of_different_ones() {
    let mut desk = desk_of(4);
    (0..4).for_each(|_| drop(desk.send("m", "text")));
    read(&mut desk, "g");
    desk.acknowledge("m", "g", 2);
    desk.is_holding = true;
    let tickets = [0; 4].map(|_| desk.begin(send("m", "text", Attributes::default())));
    // Three have room, and the last one not.
    assert_eq!(refusal(&desk.answers[&tickets[3]]), FULL);
    // One fails: what was to give way is there again, and can give way again.
    desk.settle(true);
    desk.settle(false);
    desk.settle(true);
    assert_eq!(desk.query("m"), [1, 3, 4, 6]);
    desk.is_holding = false;
    assert_eq!(desk.send("m", "text"), sent(7));
    assert_eq!(desk.query("m"), [3, 4, 6, 7]);
    assert_eq!(desk.office.counts().messages, 4);
}

#[test]
fn what_a_group_goes_back_to_stays_although_that_is_not_durable_yet() {
    let mut desk = desk_of(4);
    (0..4).for_each(|_| drop(desk.send("m", "text")));
    read(&mut desk, "g");
    desk.acknowledge("m", "g", 3);
    desk.is_holding = true;
    let back = Fetch {
        is_forced: true,
        ..fetch("m", Some("g"), Deliver::FromId(1))
    };
    let back = desk.begin(Request::Fetch(back));
    let first = desk.begin(send("m", "text", Attributes::default()));
    let second = desk.begin(send("m", "text", Attributes::default()));
    assert_eq!(refusal(&desk.answers[&second]), FULL);
    desk.settle_all();
    assert_eq!(desk.answers[&first], sent(4));
    assert_eq!(crate::desk::ids(&desk.answers[&back]), [1, 2, 3]);
}

#[test]
fn the_message_that_a_key_replaces_is_not_counted_twice() {
    let mut desk = desk_of(4);
    let keyed = |key: &str| Attributes {
        key: Some(key.to_owned()),
        ..Attributes::default()
    };
    desk.send_as("m", "text", keyed("k"));
    (0..3).for_each(|_| drop(desk.send("m", "text")));
    read(&mut desk, "g");
    desk.acknowledge("m", "g", 3);
    assert_eq!(desk.send_as("m", "newer", keyed("k")), sent(4));
    assert_eq!(desk.query("m"), [1, 2, 3, 4]);
    assert_eq!(desk.send_as("m", "other", keyed("l")), sent(5));
    assert_eq!(desk.query("m"), [2, 3, 4, 5]);
    // What gave way has left its key.
    desk.acknowledge("m", "g", 4);
    (0..4).for_each(|_| drop(desk.send("m", "text")));
    assert_eq!(desk.shelf.count(Table::MailKeys), 1);
}

#[test]
fn a_large_message_finds_room_step_by_step_and_none_that_fits_nowhere() {
    let mut desk = Desk::new(Settings {
        mailbox_bytes_maximum: 2_000,
        step_rows_maximum: 5,
        ..Settings::default()
    });
    desk.create("m", 0);
    let small = "x".repeat(58);
    (0..20).for_each(|id| assert_eq!(desk.send("m", &small), sent(id)));
    read(&mut desk, "g");
    desk.acknowledge("m", "g", 18);
    let full = "mailbox m is full: its bytes would exceed the limit of 2000";
    let larger = "x".repeat(1_960);
    assert_eq!(refusal(&desk.send("m", &larger)), full);
    assert_eq!(desk.office.counts().messages, 20);
    let large = "x".repeat(1_058);
    assert_eq!(refusal(&desk.send("m", &large)), full);
    assert_eq!(desk.office.counts().messages, 15);
    assert_eq!(refusal(&desk.send("m", &large)), full);
    assert_eq!(desk.send("m", &large), sent(20));
    assert_eq!(desk.office.counts().message_bytes, 2_000);
    desk.acknowledge("m", "g", 18);
    read(&mut desk, "h");
    assert_eq!(refusal(&desk.send("m", &small)), full);
}

/// The time after which a group is idle, and more.
const LONG: Duration = Duration::from_secs(7_300);

fn desk_with_idle_groups(count: u64) -> Desk {
    let mut desk = Desk::new(Settings {
        message_count_maximum: count,
        group_count_maximum: 2,
        group_idle_seconds: 7_200,
        ..Settings::default()
    });
    desk.create("m", 0);
    desk
}

/// A group that nobody uses any more kept a full mailbox refusing until the end of its messages.
#[test]
fn a_group_that_nobody_uses_any_more_does_not_hold_the_room_of_a_full_mailbox() {
    let mut desk = desk_with_idle_groups(4);
    (0..4).for_each(|id| assert_eq!(desk.send("m", "text"), sent(id)));
    read(&mut desk, "gone");
    desk.acknowledge("m", "gone", 0);
    read(&mut desk, "g");
    desk.acknowledge("m", "g", 2);
    assert_eq!(desk.send("m", "text"), sent(4));
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    desk.pass(LONG);
    // Both are idle, so that nobody is left out.
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    assert_eq!(read(&mut desk, "g"), [3, 4]);
    assert_eq!(desk.send("m", "text"), sent(5));
    assert_eq!(desk.send("m", "text"), sent(6));
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    // What the idle one misses is told of, and its position is kept.
    let counts: Vec<(u64, u64)> = desk.unread.iter().map(|it| (it.first, it.count)).collect();
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert!(counts.iter().all(|(_, count)| *count == 1), "{counts:?}");
    assert_eq!(read(&mut desk, "gone"), [3, 4, 5, 6]);
    // It is back, and holds room again.
    desk.acknowledge("m", "g", 6);
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
}

#[test]
fn who_fetches_or_acknowledges_in_vain_is_in_use_and_that_outlives_a_restart() {
    let mut desk = desk_with_idle_groups(4);
    (0..4).for_each(|id| assert_eq!(desk.send("m", "text"), sent(id)));
    read(&mut desk, "slow");
    read(&mut desk, "g");
    desk.acknowledge("m", "g", 3);
    for turn in 0..8 {
        desk.pass(Duration::from_secs(2_000));
        match turn % 2 {
            0 => drop(read(&mut desk, "slow")),
            _ => drop(desk.acknowledge("m", "slow", 0)),
        }
        read(&mut desk, "g");
    }
    desk.acknowledge("m", "g", 3);
    desk.send("m", "text");
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    desk.crash();
    desk.pass(Duration::from_secs(5_000));
    read(&mut desk, "g");
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    assert_eq!(desk.unread, []);
}

/// Time goes by while the gateway is off.
#[test]
fn after_a_start_nobody_is_idle_before_all_had_the_time_to_come_back() {
    let mut desk = desk_with_idle_groups(4);
    (0..4).for_each(|id| assert_eq!(desk.send("m", "text"), sent(id)));
    read(&mut desk, "slow");
    read(&mut desk, "g");
    desk.acknowledge("m", "g", 3);
    desk.now.wall.0 += 30_000_000;
    desk.crash();
    read(&mut desk, "g");
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    desk.pass(Duration::from_secs(3_500));
    read(&mut desk, "g");
    assert_eq!(refusal(&desk.send("m", "text")), FULL);
    desk.pass(Duration::from_secs(200));
    read(&mut desk, "g");
    assert_eq!(desk.send("m", "text"), sent(4));
}

#[test]
fn at_the_limit_of_groups_the_one_that_was_idle_longest_gives_its_place() {
    let mut desk = desk_with_idle_groups(10);
    desk.send("m", "text");
    read(&mut desk, "first");
    desk.pass(Duration::from_secs(60));
    read(&mut desk, "second");
    let none = "there are 2 groups of this mailbox already";
    let third = || Request::Fetch(fetch("m", Some("third"), Deliver::Earliest));
    assert_eq!(refusal(&desk.ask(third())), none);
    desk.pass(LONG);
    assert_eq!(
        desk.fetch_ids(fetch("m", Some("third"), Deliver::Earliest)),
        [0]
    );
    assert_eq!(desk.shelf.count(Table::MailGroups), 2);
    // The second one is idle as well; the first one begins anew in its place.
    desk.acknowledge("m", "third", 0);
    assert_eq!(read(&mut desk, "first"), [0]);
    assert_eq!(refusal(&desk.ask(acknowledge("m", "second", 0))), none);
    desk.crash();
    assert_eq!(refusal(&desk.ask(acknowledge("m", "second", 0))), none);
    assert_eq!(read(&mut desk, "third"), Vec::<u64>::new());
}

#[test]
fn a_group_that_could_not_be_forgotten_still_counts() {
    let mut desk = desk_with_idle_groups(10);
    desk.send("m", "text");
    read(&mut desk, "first");
    read(&mut desk, "second");
    desk.pass(LONG);
    desk.is_holding = true;
    let ticket = desk.begin(Request::Fetch(fetch("m", Some("third"), Deliver::Earliest)));
    desk.settle(false);
    desk.settle(false);
    assert_eq!(refusal(&desk.answers[&ticket]), "the disk is full");
    desk.is_holding = false;
    read(&mut desk, "first");
    read(&mut desk, "second");
    desk.pass(Duration::from_secs(60));
    assert_eq!(
        refusal(&desk.ask(Request::Fetch(fetch("m", Some("third"), Deliver::Earliest)))),
        "there are 2 groups of this mailbox already"
    );
}

#[test]
fn a_group_that_came_back_while_it_could_not_be_forgotten_still_counts() {
    let mut desk = desk_with_idle_groups(10);
    desk.send("m", "text");
    read(&mut desk, "first");
    read(&mut desk, "second");
    desk.pass(LONG);
    desk.is_holding = true;
    let fetched = |group| Request::Fetch(fetch("m", Some(group), Deliver::Earliest));
    desk.begin(fetched("third"));
    desk.begin(fetched("first"));
    // The first one is not forgotten, nor does it begin anew in the place of the second one.
    for is_durable in [false, true, true, false] {
        desk.settle(is_durable);
    }
    desk.is_holding = false;
    assert_eq!(desk.shelf.count(Table::MailGroups), 2);
    let none = "there are 2 groups of this mailbox already";
    assert_eq!(refusal(&desk.ask(fetched("fourth"))), none);
    desk.pass(Duration::from_secs(60));
    desk.crash();
    assert_eq!(refusal(&desk.ask(fetched("fourth"))), none);
}
