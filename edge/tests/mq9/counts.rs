//! The counts that are stored beside the messages, as the fuzz target of agents holds them to these.

use std::panic::catch_unwind;

use sync::Table;

use super::books::{audit, audit_exactly};
use super::world::{Disk, World};

/// A world in which mailboxes have all kinds of rows, some of them gone again.
fn busy_world() -> World {
    let mut world = World::new();
    let client = world.join();
    for address in ["t.a", "t.b"] {
        world.mailbox(client, address);
        for (headers, payload) in [
            (&[][..], "one"),
            (&["mq9-key: k", "mq9-priority: urgent"], "two"),
            (&["mq9-key: k"], "three"),
            (&["mq9-ttl: 1"], "four"),
        ] {
            world.mail(client, address, headers, payload);
        }
        let delayed = ["mq9-delay: 60"];
        let command = format!("MSG.SEND.{address}");
        world.ask_with(client, &command, &delayed, b"later");
        let command = format!("MSG.FETCH.{address}");
        world.ask(
            client,
            &command,
            "{\"group_name\":\"g\",\"deliver\":\"earliest\"}",
        );
        world.ask(client, &format!("MSG.DELETE.{address}.0"), "");
    }
    world.pass(20_000);
    world
}

fn is_seen(disk: &Disk, change: impl FnOnce(&mut Disk)) -> bool {
    let mut disk = disk.clone();
    change(&mut disk);
    catch_unwind(|| audit(&disk)).is_err()
}

#[test]
fn the_counts_on_the_disk_are_those_of_the_rows_there_and_a_lost_one_is_seen() {
    let mut world = busy_world();
    let counts = world.office.counts();
    let found = audit_exactly(&world.disk);
    // The third of each, and the one that is delayed.
    assert_eq!(counts.messages, 4);
    assert_eq!((counts.messages, counts.message_bytes), found);
    world.crash();
    assert_eq!(audit_exactly(&world.disk), found);

    let former = busy_world().disk.tables[&Table::MailTails].clone();
    let client = world.join();
    world.mail(client, "t.a", &[], "five");
    let tails = |disk: &mut Disk| disk.tables.remove(&Table::MailTails);
    assert!(is_seen(&world.disk, |disk| drop(tails(disk))));
    // Those of before the last message, whose id would come twice.
    assert!(is_seen(&world.disk, |disk| {
        disk.tables.insert(Table::MailTails, former);
    }));
    assert!(!is_seen(&world.disk, |_| {}));
}
