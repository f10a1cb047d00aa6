//! Room in a full mailbox: what every group has acknowledged gives way, and nothing else.

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
    desk.ask(acknowledge("m", "h", 0));
    assert_eq!(refusal(&desk.send("m", &small)), full);
}
