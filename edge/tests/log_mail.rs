//! `mail.redb` as its readers see it: rows by key and in order, whatever is in the file and what is
//! still in memory; what becomes of damage; and what a start costs.

use std::collections::BTreeMap;

use edge::log::directory::Directory;
use edge::log::simulated::SimulatedFolder;
use edge::log::{Batch, Budget, Opened, Reader, Settings, open};
use sync::{Change, Table, WallTime};

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

#[test]
fn finding_and_walking_agree_with_a_model_over_flushes_and_restarts() {
    for seed in 0..6 {
        let folder = SimulatedFolder::new();
        let mut dice = Dice(seed);
        let mut model = Model::new();
        let mut log = reopen(&folder);
        for step in 0..400 {
            let batch = random_batch(&mut dice);
            for change in &batch.changes {
                apply(&mut model, change);
            }
            commit(&mut log, &batch);
            match dice.below(40) {
                0 => log = reopen_closed(log, &folder),
                1 => {
                    drop(log);
                    log = reopen(&folder);
                }
                2..20 => maintain(&mut log),
                _ => {}
            }
            compare_some(&mut log.reader, &model, &mut dice).unwrap_or_else(|wrong| {
                panic!("seed {seed}, step {step}: {wrong}");
            });
        }
        assert_eq!(everything(&mut log.reader), model, "seed {seed}");
        assert!(folder.names().unwrap().contains(&"mail.redb".to_owned()));
    }
}

fn compare_some(reader: &mut Reader, model: &Model, dice: &mut Dice) -> Result<(), String> {
    let table = MAIL[dice.below(MAIL.len() as u64) as usize];
    let key = random_key(dice);
    let found = reader
        .find(table, &key)
        .map_err(|error| error.to_string())?;
    let expected = model.get(&(table, key.clone())).cloned();
    if found != expected {
        return Err(format!("{table:?} {key:?}: {found:?}, not {expected:?}"));
    }
    let end = random_key(dice);
    let budget = Budget {
        records: 1 + dice.below(20) as usize,
        bytes: 1 + dice.below(3000) as usize,
    };
    let walked = reader.walk(table, &key, &end, budget);
    let walked = walked.map_err(|error| error.to_string())?;
    let mut expected: Vec<_> = match key < end {
        true => model.range((table, key.clone())..(table, end)).collect(),
        false => Vec::new(),
    };
    let mut bytes = 0;
    let fits = expected
        .iter()
        .enumerate()
        .take_while(|(at, ((_, key), value))| {
            bytes += key.len() + value.len();
            *at == 0 || *at < budget.records && bytes <= budget.bytes
        });
    let count = fits.count();
    let next = expected.get(count).map(|((_, key), _)| key.clone());
    expected.truncate(count);
    let expected: Vec<_> = expected
        .into_iter()
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect();
    if (&walked.rows, &walked.next) != (&expected, &next) {
        return Err(format!(
            "{table:?} from {key:?}: {walked:?}, not {expected:?}, {next:?}"
        ));
    }
    Ok(())
}

#[test]
fn a_folder_without_mail_gets_no_file_for_it() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    commit(
        &mut log,
        &Batch {
            changes: vec![put(Table::Sessions, b"c", b"v")],
        },
    );
    assert_eq!(log.reader.find(Table::Mail, b"k").unwrap(), None);
    assert!(walk_all(&mut log.reader, Table::Mail).is_empty());
    log.writer.close().unwrap();
    assert!(!folder.names().unwrap().contains(&"mail.redb".to_owned()));
    assert!(reopen(&folder).report.is_clean());
}

fn everything(reader: &mut Reader) -> Model {
    let mut all = Model::new();
    for table in MAIL {
        let rows = walk_all(reader, table).into_iter();
        all.extend(rows.map(|(key, value)| ((table, key), value)));
    }
    all
}

fn walk_all(reader: &mut Reader, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let budget = Budget {
        records: 1000,
        bytes: 1 << 20,
    };
    let (mut rows, mut from) = (Vec::new(), Vec::new());
    loop {
        let mut walked = reader
            .walk(table, &from, &[0xff; 16], budget)
            .expect("the table can be read");
        rows.append(&mut walked.rows);
        match walked.next {
            Some(next) => from = next,
            None => return rows,
        }
    }
}

fn random_batch(dice: &mut Dice) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..1 + dice.below(6) {
        let table = MAIL[dice.below(MAIL.len() as u64) as usize];
        let key = random_key(dice);
        batch.changes.push(match dice.below(3) {
            0 => Change::Delete { table, key },
            _ => Change::Put {
                table,
                key,
                value: vec![dice.below(256) as u8; dice.below(800) as usize],
            },
        });
    }
    batch
}

fn random_key(dice: &mut Dice) -> Vec<u8> {
    let bytes = dice.below(4);
    (0..bytes).map(|_| dice.below(6) as u8).collect()
}

fn apply(model: &mut Model, change: &Change) {
    match change.clone() {
        Change::Put { table, key, value } => drop(model.insert((table, key), value)),
        Change::Delete { table, key } => drop(model.remove(&(table, key))),
        Change::Append { .. } => {}
    }
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Change {
    Change::Put {
        table,
        key: key.to_vec(),
        value: value.to_vec(),
    }
}

fn commit(log: &mut Opened, batch: &Batch) {
    let committed = log.writer.commit(batch, WALL).expect("the log works");
    log.reader.committed(batch, &committed);
}

fn maintain(log: &mut Opened) {
    for event in log.writer.maintain(WALL) {
        log.reader.apply(&event);
    }
}

fn reopen(folder: &SimulatedFolder) -> Opened {
    let mut log = open(folder.directory(), settings(), WALL).expect("the log opens");
    maintain(&mut log);
    log
}

fn reopen_closed(log: Opened, folder: &SimulatedFolder) -> Opened {
    log.writer.close().expect("the log works");
    reopen(folder)
}

fn settings() -> Settings {
    Settings {
        journal_bytes: 512 << 10,
        flush_bytes: 16 << 10,
        cache_bytes: 512 << 10,
        has_mail: true,
        ..Settings::default()
    }
}

/// A seeded generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const WALL: WallTime = WallTime(1_700_000_000_000);
const MAIL: [Table; 8] = [
    Table::Mailboxes,
    Table::MailTails,
    Table::Mail,
    Table::MailKeys,
    Table::MailDelayed,
    Table::MailExpiry,
    Table::MailGroups,
    Table::Agents,
];
