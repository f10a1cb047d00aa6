//! Holds the counts of mailboxes, as the disk has them, to the rows that they are about. A client
//! sees a lost or an old count late, if ever: as an id that comes twice, as mailboxes that are full
//! of nothing, or as messages that nobody removes.

use std::collections::BTreeMap;

use sync::Table;

use crate::world::Disk;

/// The row that has the number of the next mailbox.
const NEXT_NUMBER_KEY: &[u8] = &[0];
/// What a message counts for beside its value.
const KEY_BYTES: u64 = 17;

/// What the rows of a mailbox amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    messages: u64,
    bytes: u64,
    delayed: u64,
    groups: u64,
    /// No id there is as high as this.
    end: u64,
    /// No place in the queue of delayed messages is.
    turn_end: u64,
}

/// The row of a mailbox's counts: version, next id, messages, bytes, groups, next turn, delayed,
/// ends of priorities.
type Tail = (u8, u64, u64, u64, u64, u64, u64, [u64; 3]);
/// The row of a mailbox: version, number, made at, seconds it lives, description.
type Row = (u8, u64, u64, u64, String);

/// Checks what holds at every moment: whoever has rows has counts, which no id and no place has
/// reached.
pub(crate) fn audit(disk: &Disk) {
    let tails = tails(disk);
    for (number, sum) in sums(disk) {
        let Some(tail) = tails.get(&number) else {
            panic!("mailbox {number} has rows and no counts: {sum:?}");
        };
        assert!(sum.end <= tail.1, "ids will come twice: {tail:?} {sum:?}");
        assert!(sum.turn_end <= tail.5, "places, too: {tail:?} {sum:?}");
    }
    for (address, number) in addresses(disk) {
        assert!(tails.contains_key(&number), "{address} has no counts");
        let next = next_number(disk);
        assert!(number < next, "{number} comes twice, behind {next}");
    }
}

/// Checks what holds unless a commit failed a short time ago: counts are exact. Gives the messages
/// of all mailboxes, and their bytes.
pub(crate) fn audit_exactly(disk: &Disk) -> (u64, u64) {
    audit(disk);
    let sums = sums(disk);
    let open: Vec<u64> = addresses(disk).into_values().collect();
    let mut all = (0, 0);
    for (number, tail) in tails(disk) {
        let sum = sums.get(&number).copied().unwrap_or_default();
        let counts = (tail.2, tail.3, tail.6);
        let found = (sum.messages, sum.bytes, sum.delayed);
        assert_eq!(counts, found, "mailbox {number}: {tail:?} {sum:?}");
        // Of a mailbox that leaves nobody asks how many groups it has.
        if open.contains(&number) {
            assert_eq!(tail.4, sum.groups, "mailbox {number}: {tail:?} {sum:?}");
        }
        all = (all.0 + tail.2, all.1 + tail.3);
    }
    all
}

fn sums(disk: &Disk) -> BTreeMap<u64, Sum> {
    let mut sums: BTreeMap<u64, Sum> = BTreeMap::new();
    for (key, value) in rows(disk, Table::Mail) {
        let sum = sums.entry(number_at(key, 0)).or_default();
        sum.messages += 1;
        sum.bytes += value.len() as u64 + KEY_BYTES;
        sum.end = sum.end.max(number_at(key, 9) + 1);
    }
    for (key, value) in rows(disk, Table::MailDelayed) {
        let sum = sums.entry(number_at(key, 8)).or_default();
        sum.messages += 1;
        sum.bytes += value.len() as u64 + KEY_BYTES;
        sum.delayed += 1;
        sum.turn_end = sum.turn_end.max(number_at(key, 16) + 1);
    }
    for (key, _) in rows(disk, Table::MailGroups) {
        sums.entry(number_at(key, 0)).or_default().groups += 1;
    }
    for (key, _) in rows(disk, Table::MailKeys) {
        sums.entry(number_at(key, 0)).or_default();
    }
    sums
}

fn tails(disk: &Disk) -> BTreeMap<u64, Tail> {
    let tails = rows(disk, Table::MailTails);
    tails
        .map(|(key, value)| (number_at(key, 0), read(value)))
        .collect()
}

fn addresses(disk: &Disk) -> BTreeMap<String, u64> {
    let mailboxes = rows(disk, Table::Mailboxes).filter(|(key, _)| key[0] > 1);
    mailboxes
        .map(|(key, value)| {
            let row: Row = read(value);
            (String::from_utf8(key.clone()).expect("an address"), row.1)
        })
        .collect()
}

fn next_number(disk: &Disk) -> u64 {
    let mut rows = rows(disk, Table::Mailboxes);
    let row = rows.find(|(key, _)| *key == NEXT_NUMBER_KEY);
    let (_, next): (u8, u64) = row.map_or((1, 0), |(_, value)| read(value));
    next
}

fn rows(disk: &Disk, table: Table) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    disk.tables.get(&table).into_iter().flatten()
}

fn number_at(key: &[u8], at: usize) -> u64 {
    let bytes = key[at..at + 8].try_into().expect("eight bytes");
    u64::from_be_bytes(bytes)
}

fn read<T: serde::de::DeserializeOwned>(value: &[u8]) -> T {
    ciborium::from_reader(value).expect("a row as it is described")
}
