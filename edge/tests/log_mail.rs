//! `mail.redb` as its readers see it: rows by key and in order, whatever is in the file and what is
//! still in memory; what becomes of damage; and what a start costs.

mod log_parts;
#[path = "log_jobs/turns.rs"]
mod turns;

use std::collections::BTreeMap;

use edge::log::directory::Directory;
use edge::log::simulated::SimulatedFolder;
use edge::log::{Batch, Budget, Damage, Event, Folder, Gap, Opened, Reader, Settings, open};
use redb::{ReadableDatabase, TableHandle};
use sync::{Change, Lane, Table, WallTime};

use self::log_parts::{Dice, contain_panics_quietly, contents, duplicate, follow, replace};
use self::turns::in_turns;

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

/// Whatever is wrong with a page: what is read is what was stored, what is missing is told by the
/// read, by the file that is made anew, or by the next start that is told to look; and messages that
/// are missing are written down, each once, also when they are found damaged again and again.
#[test]
fn damaged_mail_is_passed_over_and_written_down_once() {
    contain_panics_quietly();
    let (folder, model) = filled(MESSAGES);
    let whole = contents(&folder, "mail.redb");
    let pages = whole.chunks(4096).enumerate();
    let used = pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let used: Vec<usize> = used.map(|(number, _)| number).collect();
    let mut seen = Seen::default();
    for (index, number) in used.iter().enumerate().skip(1).step_by(3) {
        let mut bytes = whole.clone();
        let page = &mut bytes[number * 4096..][..4096];
        match index % 4 {
            0 => page.fill(0x55),
            1 => page[..8].fill(0),
            2 => page[2] ^= 1,
            _ => page[2500] ^= 0x10,
        }
        let folder = copy(&folder, "mail.redb", &bytes);
        let wrong = check_damaged(&folder, &model, &mut seen);
        wrong.unwrap_or_else(|wrong| panic!("page {number}, {}: {wrong}", index % 4));
    }
    println!("{} pages, {seen:?}", used.len());
    let Seen {
        harmless,
        rows,
        mended,
        at_start,
        when_told_to_look: _,
    } = seen;
    assert!([harmless, rows, mended, at_start].iter().all(|it| *it > 0));
}

/// Where damage was noticed.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    harmless: u64,
    rows: u64,
    mended: u64,
    at_start: u64,
    when_told_to_look: u64,
}

fn check_damaged(folder: &SimulatedFolder, model: &Model, seen: &mut Seen) -> Result<(), String> {
    let mut log = reopen(folder);
    let mut is_told = !log.report.is_clean();
    seen.at_start += u64::from(is_told);
    let mut found = read_all(&mut log, seen, &mut is_told);
    if found.len() < model.len() && !is_told {
        log.writer.close().map_err(|error| error.to_string())?;
        replace(folder, "starting", b"");
        log = reopen(folder);
        seen.when_told_to_look += 1;
        is_told = log.report.lost_mail_rows > 0 || log.report.is_mail_lost;
        found = read_all(&mut log, seen, &mut is_told);
    }
    seen.harmless += u64::from(found.len() == model.len());
    if found.len() < model.len() && !is_told {
        return Err(format!("{} rows without a word", model.len() - found.len()));
    }
    let wrong = found
        .iter()
        .find(|(place, value)| model.get(*place) != Some(value));
    if let Some((place, _)) = wrong {
        return Err(format!("{place:?} is wrong"));
    }
    // Three more starts, of which the first two may look at everything.
    for _ in 0..3 {
        settle(&mut log);
        drop(log);
        log = reopen(folder);
        read_all(&mut log, seen, &mut true);
    }
    if !log.report.is_clean() {
        return Err(format!("there is no end of it: {:?}", log.report));
    }
    let found = everything(&mut log.reader);
    let is_message = |(table, _): &&(Table, Vec<u8>)| *table == Table::Mail;
    let missing = model.keys().filter(is_message).count() - found.keys().filter(is_message).count();
    let gaps = log.reader.gaps(0).map_err(|error| error.to_string())?;
    let gaps = gaps.into_iter().map(|(_, gap)| gap);
    let gaps: Vec<Gap> = gaps.filter(Gap::is_of_mail).collect();
    let counted: u64 = gaps.iter().map(|gap| gap.count).sum();
    let is_uncountable = gaps.iter().any(|gap| gap.count == 0);
    // Where redb can't say how many rows a table had it is one more or less, and a page that says a
    // wrong number of rows shows some that never were.
    let is_counted = (missing as u64..missing as u64 + 20).contains(&(counted + 1));
    if !is_counted && !is_uncountable {
        return Err(format!(
            "{missing} are missing, {counted} are counted: {gaps:?}"
        ));
    }
    Ok(())
}

/// Reads what can be read, as a gateway does: what is damaged is written down or mended.
fn read_all(log: &mut Opened, seen: &mut Seen, is_told: &mut bool) -> Model {
    let mut found = Model::new();
    for table in MAIL {
        let budget = Budget {
            records: 10_000,
            bytes: 1 << 24,
        };
        let mut walked = log.reader.walk(table, b"", &[0xff; 16], budget);
        while let Some(damage) = log.reader.poll_damage() {
            *is_told = true;
            if damage == Damage::File {
                seen.mended += 1;
                log.writer.mend_mail();
                maintain(log);
                walked = log.reader.walk(table, b"", &[0xff; 16], budget);
            } else {
                seen.rows += 1;
                if let Some(gap) = damage.gap(Lane::Urgent) {
                    log.writer.note_gap(gap);
                }
            }
        }
        let rows = walked.expect("the file is mended").rows.into_iter();
        found.extend(rows.map(|(key, value)| ((table, key), value)));
    }
    found
}

/// A reader finds a message damaged before or while a job makes the file anew, which finds it too.
#[test]
fn a_message_that_a_reader_and_a_job_find_damaged_counts_once() {
    for is_cut in [false, true] {
        for (is_before, is_committed) in [(true, true), (true, false), (false, true)] {
            let (folder, _) = filled(MESSAGES);
            let mut bytes = contents(&folder, "mail.redb");
            let value = 77_u64.to_le_bytes().repeat(20);
            let at = bytes.windows(value.len()).rposition(|it| it == value);
            bytes[at.expect("it is stored") + 30] ^= 1;
            let folder = copy(&folder, "mail.redb", &bytes);
            let mut log = reopen(&folder);
            let key = 77_u64.to_be_bytes();
            assert_eq!(log.reader.find(Table::Mail, &key).ok().flatten(), None);
            let damage = log.reader.poll_damage().expect("it is damaged");
            let gap = damage.gap(Lane::Urgent).expect("it is a message");
            log.writer.mend_mail();
            if is_before {
                assert!(log.writer.note_gap(gap.clone()));
            }
            let job = log.writer.begin(WALL).expect("it was asked for");
            if !is_before {
                assert!(log.writer.note_gap(gap));
            }
            if is_committed {
                settle(&mut log);
            }
            let done = job.run();
            if is_cut {
                drop((done, log));
                log = reopen(&folder);
            } else {
                log.writer.finish(done);
            }
            settle(&mut log);
            let gaps = log.reader.gaps(0).expect("the log works");
            let counted: u64 = gaps.iter().map(|(_, gap)| gap.count).sum();
            assert_eq!(counted, 1, "{is_cut} {is_before} {is_committed}: {gaps:?}");
        }
    }
}

/// A mend that failed was not asked for again before the next start: the mail could not be read
/// until then, and what came stayed in the journal.
#[test]
fn a_mend_that_fails_at_any_point_is_tried_again_a_second_later() {
    contain_panics_quietly();
    let (before, model) = filled(100);
    let mut bytes = contents(&before, "mail.redb");
    let row = 7_u64.to_le_bytes().repeat(20);
    let at = bytes.windows(row.len()).position(|window| window == row);
    bytes[at.expect("a message is there")] ^= 1;
    let damaged = copy(&before, "mail.redb", &bytes);
    let whole = mend(&damaged, u64::MAX, &model);
    // Copying is the same step again and again; all that is special comes behind it.
    let (mut failures, mut missing) = (0, 0);
    let behind = whole.changes - 42..whole.changes - 32;
    for fails_at in [0, 1, 80].into_iter().chain(behind) {
        let found = mend(&damaged, fails_at, &model);
        failures += u64::from(found.has_failed);
        missing += u64::from(found.is_missing);
    }
    assert!(!whole.has_failed);
    assert!(failures > 8 && missing > 0, "{failures} {missing}");
}

/// How the job of a mend ended that could change nothing more from one change on.
struct Mend {
    changes: u64,
    has_failed: bool,
    is_missing: bool,
}

fn mend(damaged: &SimulatedFolder, fails_at: u64, model: &Model) -> Mend {
    let folder = duplicate(damaged);
    let mut log = reopen(&folder);
    log.writer.mend_mail();
    let job = log.writer.begin(WALL).expect("it was asked for");
    let mut changes = 0;
    let done = in_turns(job, &folder, 1, || {
        folder.set_read_only(changes >= fails_at);
        changes += 1;
    });
    folder.set_read_only(false);
    log.writer.finish(done);
    let mut events = log.writer.events();
    let has_failed = events.iter().any(|it| matches!(it, Event::Failed { .. }));
    let names = folder.names().expect("the log works");
    let is_missing = !names.iter().any(|name| name == "mail.redb");
    if has_failed {
        let soon = log.writer.begin(WallTime(WALL.0 + 999));
        assert!(soon.is_none(), "{fails_at}");
    }
    events.extend(log.writer.maintain(WallTime(WALL.0 + 1000)));
    let is_exchange = |event: &&Event| matches!(event, Event::MailExchanged { .. });
    assert_eq!(events.iter().filter(is_exchange).count(), 1, "{fails_at}");
    events.iter().for_each(|event| log.reader.apply(event));
    let found = read_all(&mut log, &mut Seen::default(), &mut false);
    assert_eq!(found.len(), model.len() - 1, "{fails_at}");
    settle(&mut log);
    let gaps = log.reader.gaps(0).expect("the log works");
    let counted: u64 = gaps.iter().map(|(_, gap)| gap.count).sum();
    assert_eq!(counted, 1, "{fails_at}: {gaps:?}");
    Mend {
        changes,
        has_failed,
        is_missing,
    }
}

/// Makes what was noted durable and seen.
fn settle(log: &mut Opened) {
    commit(
        log,
        &Batch {
            changes: vec![put(Table::Cursors, b"c", b"v")],
        },
    );
    for wall in [WallTime(WALL.0 + 2000), WallTime(WALL.0 + 4000)] {
        follow(&mut log.writer, &mut log.reader, wall);
    }
}

#[test]
fn a_missing_file_and_an_old_copy_are_noticed_once() {
    for is_old in [true, false] {
        let (folder, model) = filled(100);
        let old = contents(&folder, "mail.redb");
        let mut log = reopen(&folder);
        commit(
            &mut log,
            &Batch {
                changes: vec![put(Table::Mail, b"new", b"v")],
            },
        );
        log.writer.close().unwrap();
        match is_old {
            true => replace(&folder, "mail.redb", &old),
            false => folder.remove("mail.redb").unwrap(),
        }
        let mut log = reopen(&folder);
        assert!(log.report.is_mail_lost, "old {is_old}");
        assert_eq!(
            log.report.findings().len(),
            2,
            "{:?}",
            log.report.findings()
        );
        let expected = if is_old { model.clone() } else { Model::new() };
        assert_eq!(everything(&mut log.reader), expected);
        drop(log);
        let mut log = reopen(&folder);
        assert!(log.report.is_clean(), "{:?}", log.report);
        let gaps = log.reader.gaps(0).unwrap();
        assert!(gaps.len() == 1 && gaps[0].1.is_of_mail(), "{gaps:?}");
        commit(
            &mut log,
            &Batch {
                changes: vec![put(Table::Agents, b"a", b"v")],
            },
        );
        log.writer.close().unwrap();
        let mut log = reopen(&folder);
        assert!(log.report.is_clean(), "{:?}", log.report);
        assert_eq!(everything(&mut log.reader).len(), expected.len() + 1);
    }
}

#[test]
fn what_is_no_mail_file_is_set_aside_and_the_log_goes_on() {
    contain_panics_quietly();
    for foreign in [Vec::new(), vec![0x55; 40_000]] {
        let (folder, _) = filled(50);
        replace(&folder, "mail.redb", &foreign);
        let mut log = reopen(&folder);
        assert!(log.report.is_mail_lost);
        assert_eq!(log.report.damaged_files, ["mail.redb.damaged-1"]);
        assert!(everything(&mut log.reader).is_empty());
        commit(
            &mut log,
            &Batch {
                changes: vec![put(Table::Mail, b"new", b"v")],
            },
        );
        log.writer.close().unwrap();
        let mut log = reopen(&folder);
        assert!(log.report.is_clean(), "{:?}", log.report);
        assert_eq!(everything(&mut log.reader).len(), 1);
        assert_eq!(contents(&folder, "mail.redb.damaged-1"), foreign);
    }
}

/// The writer comes upon damage at a flush: it goes on in a file made of what is whole.
#[test]
fn a_flush_into_a_damaged_file_has_it_made_anew() {
    contain_panics_quietly();
    // More than its cache holds.
    let (folder, _) = filled(2500);
    let mut log = reopen(&folder);
    for at in (0..contents(&folder, "mail.redb").len() as u64)
        .step_by(4096)
        .skip(1)
    {
        folder.flip("mail.redb", at);
    }
    let mut exchanged = None;
    for number in 0..200_u64 {
        let key = (number * 12).to_be_bytes();
        let batch = Batch {
            changes: vec![put(Table::Mail, &key, &[7; 900])],
        };
        commit(&mut log, &batch);
        for event in log.writer.maintain(WallTime(WALL.0 + 2000 * number)) {
            log.reader.apply(&event);
            if let Event::MailExchanged { aside, .. } = event {
                exchanged = Some(aside);
            }
        }
    }
    assert_eq!(exchanged.as_deref(), Some("mail.redb.damaged-1"));
    for number in 0..200_u64 {
        let key = (number * 12).to_be_bytes();
        let found = log.reader.find(Table::Mail, &key).unwrap();
        assert_eq!(found.as_deref(), Some(&[7; 900][..]), "{number}");
    }
    log.writer.close().unwrap();
    let log = reopen(&folder);
    assert!(
        log.reader
            .gaps(0)
            .unwrap()
            .iter()
            .any(|(_, gap)| gap.is_of_mail())
    );
}

/// A start that lost the state begins a new epoch; mail does not depend on it, and the journal has
/// what was acknowledged last.
#[test]
fn mail_outlives_the_state() {
    for is_flushed in [true, false] {
        let (folder, mut model) = filled(if is_flushed { 200 } else { 0 });
        let mut log = reopen(&folder);
        for number in 0..10 {
            let batch = Batch {
                changes: vec![put(Table::Mail, &[b'z', number], b"late")],
            };
            apply(&mut model, &batch.changes[0]);
            commit(&mut log, &batch);
        }
        drop(log);
        folder.remove("state.redb").unwrap();
        let mut log = reopen(&folder);
        assert!(log.report.is_state_lost);
        assert!(!log.report.is_mail_lost);
        assert_eq!(everything(&mut log.reader), model, "flushed {is_flushed}");
        log.writer.close().unwrap();
        let mut log = reopen(&folder);
        assert!(log.report.is_clean(), "{:?}", log.report);
        assert_eq!(everything(&mut log.reader), model);
    }
}

/// The mail's tables are in no state: folders that were made before there was mail have none there,
/// and are of the same format.
#[test]
fn the_state_is_as_it_was_without_mail() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(Folder::open(folder.path()).unwrap(), settings(), WALL).unwrap();
    log.writer.close().unwrap();
    let state = redb::Database::open(folder.path().join("state.redb")).unwrap();
    let tables = state.begin_read().unwrap();
    let names = tables.list_tables().unwrap();
    let names: Vec<String> = names.map(|table| table.name().to_owned()).collect();
    let known = "cursors facts gaps handshakes meta retained sessions subscriptions watermarks";
    assert_eq!(names.join(" "), known);
}

#[test]
fn a_snapshot_has_the_mail_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(Folder::open(folder.path()).unwrap(), settings(), WALL).unwrap();
    let mut model = Model::new();
    for number in 0..50 {
        let batch = Batch {
            changes: vec![put(Table::Mail, &[number], &[7; 2000])],
        };
        apply(&mut model, &batch.changes[0]);
        commit(&mut log, &batch);
        maintain(&mut log);
    }
    log.writer.snapshot();
    maintain(&mut log);
    commit(
        &mut log,
        &Batch {
            changes: vec![put(Table::Mail, b"later", b"v")],
        },
    );
    let snapshot = Folder::open(&folder.path().join("snapshot")).unwrap();
    let mut copy = open(snapshot, settings(), WALL).unwrap();
    let report = copy.report.clone();
    assert!(
        !report.is_mail_lost && report.damaged_files.is_empty(),
        "{report:?}"
    );
    assert_eq!(everything(&mut copy.reader), model);
}

/// An exchange may be cut at every step: a start goes on with it, or begins it again.
#[test]
fn an_exchange_of_the_mail_can_be_cut_anywhere() {
    contain_panics_quietly();
    let (folder, model) = filled(100);
    let mut bytes = contents(&folder, "mail.redb");
    // redb does not take it, and reading does.
    bytes[9] |= 2;
    let row = 7_u64.to_le_bytes().repeat(20);
    let at = bytes.windows(row.len()).position(|window| window == row);
    bytes[at.expect("a message is there")] ^= 1;
    let mut cuts = 0;
    // Not all of them, for the time it takes.
    for stop in (2..).step_by(9) {
        let folder = copy(&folder, "mail.redb", &bytes);
        replace(&folder, "starting", b"");
        folder.stop_after(stop);
        let is_through = open(folder.directory(), settings(), WALL).is_ok();
        folder.power_cut(stop);
        let mut log = reopen(&folder);
        assert!(!log.report.is_mail_lost, "{stop}: {:?}", log.report);
        let mut is_told = false;
        let found = read_all(&mut log, &mut Seen::default(), &mut is_told);
        assert_eq!(found.len(), model.len() - 1, "{stop}");
        assert!(
            found
                .iter()
                .all(|(place, value)| model.get(place) == Some(value))
        );
        settle(&mut log);
        let gaps = log.reader.gaps(0).unwrap();
        let counted: Vec<u64> = gaps.iter().map(|(_, gap)| gap.count).collect();
        assert_eq!(counted, [1], "{stop}: {gaps:?}");
        let names = folder.names().unwrap();
        let is_left = |name: &&String| name.contains("salvaged");
        assert_eq!(names.iter().find(is_left), None, "{stop}");
        if is_through {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn mail_that_is_switched_off_keeps_its_rows() {
    let (folder, mut model) = filled(100);
    let mut log = reopen(&folder);
    let batch = Batch {
        changes: vec![put(Table::Mail, b"late", b"v")],
    };
    apply(&mut model, &batch.changes[0]);
    commit(&mut log, &batch);
    drop(log);
    let off = Settings {
        has_mail: false,
        ..settings()
    };
    // The rows in the journal go where they belong all the same.
    for replayed in [1, 0] {
        let mut log = open(folder.directory(), off.clone(), WALL).unwrap();
        assert_eq!(log.report.replayed_frames, replayed);
        maintain(&mut log);
        log.writer.close().unwrap();
    }
    let mut log = reopen(&folder);
    assert!(log.report.is_clean(), "{:?}", log.report);
    assert_eq!(everything(&mut log.reader), model);
}

#[test]
fn a_start_reads_as_much_however_many_messages_there_are() {
    let mut counts = Vec::new();
    for count in [10_000, 100_000] {
        let folder = SimulatedFolder::new();
        let mut log = open(folder.directory(), large(), WALL).unwrap();
        for first in (0..count).step_by(1000) {
            let rows = first..first + 1000;
            let changes = rows.map(|id| put(Table::Mail, &u64::to_be_bytes(id), &[7; 32]));
            commit(
                &mut log,
                &Batch {
                    changes: changes.collect(),
                },
            );
            maintain(&mut log);
        }
        folder.power_cut(1);
        folder.reset_counts();
        let mut log = open(folder.directory(), large(), WALL).unwrap();
        assert!(log.report.is_clean());
        let last = u64::to_be_bytes(count - 1);
        assert!(log.reader.find(Table::Mail, &last).unwrap().is_some());
        counts.push((
            folder.counts().reads,
            contents(&folder, "mail.redb").len() as u64,
        ));
    }
    // Where redb is built with assertions it looks at every page once by itself.
    let redb = |pages: u64| if cfg!(debug_assertions) { pages } else { 0 };
    for (reads, bytes) in &counts {
        let most = 100 + redb(bytes / 4096);
        assert!(
            *reads < most,
            "{counts:?} reads to open a file of so many bytes"
        );
    }
}

#[test]
fn a_full_disk_keeps_mail_in_the_journal_until_there_is_room() {
    let (folder, mut model) = filled(500);
    let mut log = reopen(&folder);
    folder.set_capacity(Some(folder.used_bytes()));
    let mut failures = 0;
    for number in 0..2000_u32 {
        let change = put(Table::Mail, &number.to_le_bytes(), &[7; 3000]);
        let batch = Batch {
            changes: vec![change],
        };
        let Ok(committed) = log.writer.commit(&batch, WALL) else {
            break;
        };
        log.reader.committed(&batch, &committed);
        apply(&mut model, &batch.changes[0]);
        for event in log.writer.maintain(WALL) {
            failures += u64::from(matches!(event, Event::Failed { .. }));
            log.reader.apply(&event);
        }
    }
    assert!(failures > 0, "the disk was never full");
    assert_eq!(everything(&mut log.reader), model);
    // A start on the full disk has all of it as well.
    drop(log);
    folder.power_cut(1);
    let mut log = reopen(&folder);
    assert_eq!(everything(&mut log.reader), model);
    folder.set_capacity(None);
    for event in log.writer.maintain(WallTime(WALL.0 + 2000)) {
        log.reader.apply(&event);
    }
    assert_eq!(everything(&mut log.reader), model);
    drop(log);
    let mut log = reopen(&folder);
    assert!(log.report.is_clean());
    assert_eq!(everything(&mut log.reader), model);
}

/// A folder in whose file so many messages are, and rows of other tables; closed.
fn filled(count: u64) -> (SimulatedFolder, Model) {
    let folder = SimulatedFolder::new();
    let mut model = Model::new();
    let mut log = reopen(&folder);
    for id in 0..count {
        let value = id.to_le_bytes().repeat(20 + id as usize % 30);
        let mut changes = vec![put(Table::Mail, &id.to_be_bytes(), &value)];
        if id % 10 == 0 {
            changes.push(put(Table::Mailboxes, &id.to_be_bytes(), b"mailbox"));
        }
        let batch = Batch { changes };
        batch
            .changes
            .iter()
            .for_each(|change| apply(&mut model, change));
        commit(&mut log, &batch);
        maintain(&mut log);
    }
    log.writer.close().expect("the log works");
    (folder, model)
}

fn copy(folder: &SimulatedFolder, other: &str, bytes: &[u8]) -> SimulatedFolder {
    let copy = duplicate(folder);
    replace(&copy, other, bytes);
    copy
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
    follow(&mut log.writer, &mut log.reader, WALL);
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

fn large() -> Settings {
    Settings {
        journal_bytes: 1 << 20,
        flush_bytes: 256 << 10,
        cache_bytes: 512 << 10,
        has_mail: true,
        ..Settings::default()
    }
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

const MESSAGES: u64 = 400;
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
