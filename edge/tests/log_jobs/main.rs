//! Jobs on the files of the log while commits go on: nothing waits that has room, nothing is lost
//! wherever the power goes or the disk fails, and every record can be read at every moment.

mod copies;
#[path = "../log_parts/mod.rs"]
mod log_parts;
mod turns;

use std::collections::BTreeMap;

use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{
    Batch, Budget, Event, Folder, Gap, LogError, Opened, Parts, Reader, Reason, Settings, Writer,
    open,
};
use sync::{Change, Lane, Offset, Record, Table, WallTime};

use self::log_parts::{duplicate, record_of, small};

use self::turns::in_turns;

#[test]
fn commits_go_on_while_a_job_is_under_way_and_stay_for_the_next() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder);
    (0..8).for_each(|_| log.commit().expect("there is room"));
    let job = log.writer.begin(WALL).expect("the journal is due");
    assert!(log.writer.begin(WALL).is_none(), "one at a time");
    log.commit()
        .expect("the files are lent, the journal is not");
    log.check();
    let done = job.run();
    log.commit()
        .expect("the files are lent, the journal is not");
    log.check();
    let used = log.writer.journal_used_bytes();
    log.writer.finish(done);
    log.follow();
    log.check();
    // What was committed meanwhile is in the journal, and what the job brought over is not.
    assert_eq!(log.writer.journal_used_bytes(), used / 10 * 2);
    assert!(log.writer.begin(WALL).is_none(), "it is not due yet");
    folder.power_cut(1);
    let mut log = log.reopen(&folder);
    assert_eq!(log.replayed_frames, 2);
    log.check();
}

/// Counts what a job and the commits between its writes change, and cuts the power at each of them.
#[test]
fn the_power_may_go_at_every_change_of_a_job_and_of_the_commits_amid_it() {
    let changes = cut_after(None, 0);
    println!("{changes} changes");
    assert!(changes > 60, "{changes}");
    for cut in 0..changes {
        // Each with other luck.
        cut_after(Some(cut), cut);
    }
}

/// Runs two jobs amid commits, and has the power go after so many changes. Gives their number.
fn cut_after(cut: Option<u64>, luck: u64) -> u64 {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder);
    (0..6).for_each(|_| log.commit().expect("there is room"));
    folder.reset_counts();
    if let Some(cut) = cut {
        folder.stop_after(cut);
    }
    for round in 0..2 {
        let Some(job) = log.writer.begin(WallTime(WALL.0 + round * 2000)) else {
            assert!(cut.is_some(), "the journal is due");
            break;
        };
        let done = in_turns(job, &folder, 7, || drop(log.commit()));
        let _ = log.commit();
        log.writer.finish(done);
        log.follow();
        if cut.is_none() {
            log.check();
        }
    }
    let changes = folder.counts().changes;
    folder.power_cut(luck);
    let mut log = log.reopen(&folder);
    log.commit().expect("the disk works again");
    log.maintain();
    log.check();
    changes
}

/// A job that failed may have given files names that the disk was not asked to keep any more. The
/// next one finds them there, and must not rely on them.
#[test]
fn the_power_may_go_after_a_disk_that_failed_at_any_change_of_a_job_works_again() {
    let mut failures = 0;
    loop {
        for luck in 0..2 {
            let folder = SimulatedFolder::new();
            let mut log = Log::open(&folder);
            (0..6).for_each(|_| log.commit().expect("there is room"));
            folder.stop_after(failures);
            let job = log.writer.begin(WALL).expect("the journal is due");
            log.writer.finish(job.run());
            log.follow();
            folder.stop_after(u64::MAX);
            if log.failures == 0 {
                println!("{failures} changes");
                assert!(failures > 60, "{failures}");
                return;
            }
            log.maintain();
            assert_eq!(log.recoveries, 1, "{failures}");
            log.commit().expect("the disk works again");
            folder.power_cut(luck);
            log.reopen(&folder).check();
        }
        failures += 1;
    }
}

/// The same for a start, which brings over what the journal has and makes one of another size.
#[test]
fn the_power_may_go_after_a_disk_that_failed_at_any_change_of_a_start_works_again() {
    let resized = Settings {
        journal_bytes: 512 << 10,
        ..settings()
    };
    let (mut failures, mut commits, mut is_through) = (0, 0, false);
    while !is_through {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder);
        (0..6).for_each(|_| log.commit().expect("there is room"));
        // A process that is killed closes nothing.
        let folder = duplicate(&folder);
        folder.stop_after(failures);
        let opened = open(folder.directory(), resized.clone(), WALL);
        is_through = folder.counts().changes <= failures;
        folder.stop_after(u64::MAX);
        let opened = opened.or_else(|_| open(folder.directory(), resized.clone(), WALL));
        let Opened { writer, reader, .. } = opened.expect("the disk works again");
        (log.writer, log.reader) = (writer, reader);
        log.follow();
        log.maintain();
        commits += u64::from(log.commit().is_ok());
        folder.power_cut(failures);
        log.reopen(&folder).check();
        failures += 1;
    }
    assert!(commits > 60, "{commits} of {failures}");
}

#[test]
fn a_job_that_fails_amid_commits_is_made_up_for_by_the_next() {
    for operation in [Operation::Write, Operation::Sync] {
        for name in ["normal", "mail", "state"] {
            let folder = SimulatedFolder::new();
            let mut log = Log::open(&folder);
            (0..8).for_each(|_| log.commit().expect("there is room"));
            folder.inject(Fault {
                operation,
                name: name.to_owned(),
                times: 1,
            });
            let job = log.writer.begin(WALL).expect("the journal is due");
            let before = log.writer.journal_used_bytes();
            let done = in_turns(job, &folder, 8, || log.commit().expect("there is room"));
            log.writer.finish(done);
            log.follow();
            assert_eq!(log.failures, 1, "{operation:?} {name}");
            assert!(log.writer.journal_used_bytes() >= before, "all is needed");
            log.check();
            assert!(log.writer.begin(WALL).is_none(), "a second later");
            let mut again = log.copy(&folder, 7);
            again.check();

            let later = WallTime(WALL.0 + 1000);
            let job = log.writer.begin(later).expect("it is tried again");
            log.commit().expect("there is room");
            log.writer.finish(job.run());
            log.follow();
            assert_eq!(log.recoveries, 1);
            log.check();
            assert!(log.writer.journal_used_bytes() < before);
            folder.power_cut(3);
            log.reopen(&folder).check();
        }
    }
}

#[test]
fn a_disk_that_fills_amid_commits_costs_nothing_that_was_acknowledged() {
    for room in (0..400 << 10).step_by(40 << 10) {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder);
        folder.set_capacity(Some(folder.used_bytes() + room));
        let mut wall = WALL;
        for _ in 0..12 {
            wall.0 += 1000;
            (0..4).for_each(|_| drop(log.commit()));
            let Some(job) = log.writer.begin(wall) else {
                continue;
            };
            let done = in_turns(job, &folder, 1, || drop(log.commit()));
            log.writer.finish(done);
            log.follow();
            log.check();
        }
        assert!(log.refusals > 0 || room > 200 << 10, "{room}");
        folder.set_capacity(None);
        log.wall = WallTime(wall.0 + 20_000);
        log.maintain();
        log.commit().expect("there is room again");
        log.check();
        folder.power_cut(room);
        log.reopen(&folder).check();
    }
}

/// Memory holds what a job has and twice as much, and the journal what it has room for.
#[test]
fn a_commit_waits_for_the_job_when_there_is_enough_for_the_next_or_no_room() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder);
    (0..6).for_each(|_| log.commit().expect("there is room"));
    let job = log.writer.begin(WALL).expect("the journal is due");
    let mut amid = 0;
    while !log.writer.waits_for_job(&log.next_batch()) {
        log.commit().expect("it has room");
        amid += 1;
    }
    assert_eq!(amid, 11, "twice as much as made the job due");
    // Nothing is refused that has room, whoever does not wait.
    while log.commit().is_ok() {
        amid += 1;
    }
    assert!(amid > 20, "{amid}");
    assert!(matches!(log.commit(), Err(LogError::Full { .. })));
    log.writer.finish(job.run());
    log.follow();
    assert!(!log.writer.waits_for_job(&log.next_batch()));
    log.commit().expect("there is room again");
    log.check();

    // Large ones wait for room before.
    let job = log.writer.begin(WALL).expect("the journal is due");
    let large = batch(0, 30_000);
    assert!(!log.writer.waits_for_job(&log.next_batch()));
    log.commit().expect("it has room");
    assert!(log.writer.waits_for_job(&large));
    log.writer.finish(job.run());
    assert!(!log.writer.waits_for_job(&large));
}

/// A gap that was noted has a frame of its own before that of the next batch: a batch that has room
/// alone was refused for want of it.
#[test]
fn a_commit_waits_for_the_job_when_there_is_no_room_for_it_and_for_the_gaps_noted_before() {
    for alone in 0..3 {
        let folder = SimulatedFolder::new();
        let mut settings = settings();
        settings.flush_bytes = 1 << 20;
        let opened = open(folder.directory(), settings, WALL).expect("the log works");
        let mut writer = opened.writer;
        writer.maintain(WALL);
        let mut number = 0;
        let job = loop {
            number += 1;
            writer
                .commit(&batch(number, BYTES), WALL)
                .expect("there is room");
            if let Some(job) = writer.begin(WALL) {
                break job;
            }
        };
        let before = number;
        loop {
            number += 1;
            if number > before + alone {
                assert!(writer.note_gap(damage(Offset(number))));
            }
            let batch = batch(number, BYTES);
            if writer.waits_for_job(&batch) {
                break;
            }
            writer.commit(&batch, WALL).expect("it has room");
        }
        assert!(number > before + 5, "{number} {before}");
        writer.finish(job.run());
        writer
            .commit(&batch(number, BYTES), WALL)
            .expect("there is room again");
    }
}

/// A write to the journal that fails while a job is under way gives up a place that the job does
/// not know of: the next one does.
#[test]
fn a_journal_that_fails_amid_a_job_goes_on_after_the_next() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder);
    (0..8).for_each(|_| log.commit().expect("there is room"));
    let job = log.writer.begin(WALL).expect("the journal is due");
    log.commit().expect("the journal works");
    folder.inject(Fault {
        operation: Operation::Sync,
        name: "journal".to_owned(),
        times: 1,
    });
    assert!(log.commit().is_err());
    assert!(log.writer.waits_for_job(&log.next_batch()));
    log.writer.finish(job.run());
    log.follow();
    // The job was begun before the failure; a commit that can't wait any more does the next.
    log.commit().expect("the place is given up");
    log.check();
    folder.power_cut(5);
    log.reopen(&folder).check();
}

/// A record that was the latest of its topic when a job looked, and has a younger one behind it by
/// the time the job is done, must not be appended anew behind that.
#[test]
fn the_latest_of_a_topic_is_never_overtaken_by_an_older_one_that_outlives_its_segment() {
    let folder = SimulatedFolder::new();
    let mut settings = settings();
    settings.keeps_latest = true;
    settings.lanes[Lane::Normal].max_bytes = 256 << 10;
    let opened = open(folder.directory(), settings.clone(), WALL).expect("the log works");
    let (mut writer, mut reader) = (opened.writer, opened.reader);
    let (mut thinned, mut serial) = (0, 0_u64);
    let mut latest = BTreeMap::new();
    let mut append = |writer: &mut Writer, reader: &mut Reader, topic: String| {
        serial += 1;
        let record = record(&topic, serial, 600).keeping_latest();
        latest.insert(topic, serial);
        let lane = Lane::Normal;
        let batch = Batch {
            changes: vec![Change::Append { lane, record }],
        };
        let committed = writer.commit(&batch, WALL).expect("there is room");
        reader.committed(&batch, &committed);
    };
    for turn in 0..1500 {
        append(&mut writer, &mut reader, format!("busy/{}", turn % 3));
        if turn % 9 == 0 {
            append(&mut writer, &mut reader, format!("rare/{}", turn % 40));
        }
        let Some(job) = writer.begin(WALL) else {
            continue;
        };
        let mut at = turn;
        let done = in_turns(job, &folder, 8, || {
            at += 1;
            append(&mut writer, &mut reader, format!("rare/{}", at % 40));
        });
        writer.finish(done);
        for event in writer.events() {
            reader.apply(&event);
            thinned += u64::from(matches!(event, Event::Thinned { .. }));
        }
    }
    assert!(thinned > 3, "{thinned}");
    let mut found = BTreeMap::new();
    for (_, record) in read_all(&mut reader, Lane::Normal) {
        found.insert(record.topic().to_owned(), serial_of(&record));
    }
    assert_eq!(found, latest);
}

/// Cuts the power anywhere in jobs that give segments up, with commits amid them. Whatever was
/// acknowledged is there or counted, once, and the latest of every topic is there and is the latest.
#[test]
fn the_latest_of_every_topic_outlives_cuts_amid_jobs() {
    let mut settings = settings();
    settings.keeps_latest = true;
    settings.lanes[Lane::Normal].max_bytes = 256 << 10;
    let mut thinned = 0;
    for seed in 0..6_u64 {
        let folder = SimulatedFolder::new();
        let (mut acknowledged, mut refused) = (BTreeMap::new(), BTreeMap::new());
        let mut serial = 0;
        for life in 0..8 {
            let opened = open(folder.directory(), settings.clone(), WALL).expect("the log works");
            let (mut writer, mut reader) = (opened.writer, opened.reader);
            folder.stop_after(150 + (seed * 7919 + life * 104_729) % 700);
            let mut append = |writer: &mut Writer, reader: &mut Reader| {
                serial += 1;
                let topic = match serial % 7 {
                    0 => format!("rare/{}", serial % 60),
                    busy => format!("busy/{}", busy % 2),
                };
                let record = record(&topic, serial, 600).keeping_latest();
                let lane = Lane::Normal;
                let batch = Batch {
                    changes: vec![Change::Append { lane, record }],
                };
                match writer.commit(&batch, WALL) {
                    Ok(committed) => {
                        reader.committed(&batch, &committed);
                        acknowledged.insert(serial, topic);
                        true
                    }
                    Err(_) => {
                        refused.insert(serial, topic);
                        false
                    }
                }
            };
            while append(&mut writer, &mut reader) {
                let Some(job) = writer.begin(WALL) else {
                    continue;
                };
                let nth = 1 + (seed + life) % 5;
                let mut left = 12;
                let done = in_turns(job, &folder, nth, || {
                    if left > 0 && append(&mut writer, &mut reader) {
                        left -= 1;
                    }
                });
                writer.finish(done);
                for event in writer.events() {
                    reader.apply(&event);
                    thinned += u64::from(matches!(event, Event::Thinned { .. }));
                }
            }
            drop(writer);
            folder.power_cut(seed * 31 + life);
            let opened = open(folder.directory(), settings.clone(), WALL).expect("the log works");
            let (mut writer, mut reader) = (opened.writer, opened.reader);
            for second in 1..4 {
                let events = writer.maintain(WallTime(WALL.0 + second * 2000));
                events.iter().for_each(|event| reader.apply(event));
            }
            let mut found = BTreeMap::new();
            let mut readable = 0;
            for (_, record) in read_all(&mut reader, Lane::Normal) {
                readable += 1;
                found.insert(record.topic().to_owned(), serial_of(&record));
                let serial = serial_of(&record);
                // One that was refused and came back.
                if let Some(topic) = refused.remove(&serial) {
                    acknowledged.insert(serial, topic);
                }
            }
            let mut latest = BTreeMap::new();
            for (serial, topic) in &acknowledged {
                latest.insert(topic.clone(), *serial);
            }
            assert_eq!(found, latest, "seed {seed}, life {life}");
            let gaps = reader.gaps(0).expect("the log works");
            let is_torn = |gap: &Gap| gap.reason == Reason::Torn;
            let counted = gaps.iter().filter(|(_, gap)| !is_torn(gap));
            let counted: u64 = counted.map(|(_, gap)| gap.count).sum();
            assert_eq!(
                counted + readable,
                acknowledged.len() as u64,
                "seed {seed}, life {life}: {gaps:?}"
            );
        }
    }
    assert!(thinned > 3, "{thinned}");
}

/// A reader that finds damage in a segment while a job gives that segment up counted what was lost
/// once more.
#[test]
fn damage_that_is_found_in_what_a_job_gives_up_counts_once() {
    let folder = SimulatedFolder::new();
    let mut settings = settings();
    settings.lanes[Lane::Normal].max_bytes = 256 << 10;
    let opened = open(folder.directory(), settings, WALL).expect("the log works");
    let (mut writer, mut reader) = (opened.writer, opened.reader);
    let mut news = 0;
    for number in 0..300 {
        let batch = batch(number, 600);
        let committed = writer.commit(&batch, WALL).expect("there is room");
        reader.committed(&batch, &committed);
        let Some(job) = writer.begin(WALL) else {
            continue;
        };
        let first = reader.first(Lane::Normal);
        let is_stored = first
            < reader
                .segments(Lane::Normal)
                .next()
                .map_or(first, |it| it.1);
        news += u64::from(is_stored && writer.note_gap(damage(first)));
        writer.finish(job.run());
        writer.events().iter().for_each(|event| reader.apply(event));
    }
    writer.maintain(WALL);
    let later = WallTime(WALL.0 + 1000);
    for _ in 0..2 {
        let batch = batch(0, 1);
        let committed = writer.commit(&batch, WALL).expect("there is room");
        reader.committed(&batch, &committed);
        let events = writer.maintain(later);
        events.iter().for_each(|event| reader.apply(event));
    }
    let first = reader.first(Lane::Normal);
    assert!(first > Offset(500), "{first}");
    assert!(news > 3, "{news}");
    let gaps = reader.gaps(0).expect("the log works");
    let counted: u64 = gaps.iter().map(|(_, gap)| gap.count).sum();
    let is_there = |gap: &Gap| gap.first <= first && first <= gap.last;
    let found = u64::from(gaps.iter().any(|(_, gap)| is_there(gap)));
    assert_eq!(counted, first.0 + found, "{gaps:?}");
}

/// The same where the latest of their topics outlive the segment.
#[test]
fn damage_that_is_found_in_what_the_latest_of_a_topic_outlive_counts_once() {
    let folder = SimulatedFolder::new();
    let mut settings = settings();
    settings.keeps_latest = true;
    settings.lanes[Lane::Normal].max_bytes = 256 << 10;
    let opened = open(folder.directory(), settings, WALL).expect("the log works");
    let (mut writer, mut reader) = (opened.writer, opened.reader);
    let lane = Lane::Normal;
    // By offset, whether a later one of its topic is sure to come, and no damage was found there.
    let mut is_busy = Vec::new();
    let (mut news, mut thinned, mut serial) = (0, 0, 0);
    for number in 0..1500 {
        let mut append = |writer: &mut Writer, reader: &mut Reader, is_busy: &mut Vec<bool>| {
            serial += 1;
            let topic = match serial % 20 {
                0 => format!("rare/{serial}"),
                _ => "busy".to_owned(),
            };
            let record = record(&topic, serial, 600).keeping_latest();
            let batch = Batch {
                changes: vec![Change::Append { lane, record }],
            };
            let committed = writer.commit(&batch, WALL).expect("there is room");
            reader.committed(&batch, &committed);
            is_busy.push(topic == "busy");
        };
        append(&mut writer, &mut reader, &mut is_busy);
        let Some(job) = writer.begin(WALL) else {
            continue;
        };
        let stored = reader.segments(lane).take(2).last();
        let stored = stored.map_or(Offset(0), |(_, next)| next);
        // Another one in every job, and durable before it is done.
        let found = (0..stored.0).find(|at| std::mem::take(&mut is_busy[*at as usize]));
        news += found.map_or(0, |at| u64::from(writer.note_gap(damage(Offset(at)))));
        if number % 3 > 0 {
            append(&mut writer, &mut reader, &mut is_busy);
        }
        writer.finish(job.run());
        for event in writer.events() {
            reader.apply(&event);
            thinned += u64::from(matches!(event, Event::Thinned { .. }));
        }
    }
    assert!(news > 3 && thinned > 3, "{news} {thinned}");
    drop(reader);
    writer.close().expect("the log works");
    let mut reader = open(folder.directory(), self::settings(), WALL)
        .expect("the log works")
        .reader;
    let gaps = reader.gaps(0).expect("the log works");
    let counted: u64 = gaps.iter().map(|(_, gap)| gap.count).sum();
    let readable = read_all(&mut reader, lane);
    // Damage that was found in what stays.
    let is_counted = |at: Offset| gaps.iter().any(|(_, gap)| gap.has(at));
    let both = readable.iter().filter(|(at, _)| is_counted(*at)).count();
    let all = counted + readable.len() as u64 - both as u64;
    assert_eq!(all, serial, "{gaps:?}");
}

fn damage(at: Offset) -> Gap {
    Gap {
        lane: Lane::Normal,
        first: at,
        last: at,
        count: 1,
        bytes: 0,
        from: WALL,
        to: WALL,
        reason: Reason::Damage,
        parts: Parts::default(),
    }
}

#[test]
fn a_copy_for_a_backup_has_what_was_there_when_its_job_began() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(
        Folder::open(folder.path()).expect("a folder"),
        settings(),
        WALL,
    );
    let Opened { mut writer, .. } = opened.expect("the log works");
    let commit = |writer: &mut Writer, number: u64| {
        writer
            .commit(&batch(number, 300), WALL)
            .expect("there is room")
    };
    commit(&mut writer, 1);
    writer.snapshot();
    let job = writer.begin(WALL).expect("it was asked for");
    commit(&mut writer, 2);
    let done = job.run();
    commit(&mut writer, 3);
    writer.finish(done);
    let mut events = writer.events();
    events.extend(writer.maintain(WALL));
    let is_made = |event: &Event| matches!(event, Event::Snapshot { result: Ok(()) });
    assert!(events.iter().any(is_made), "{events:?}");

    let copy = Folder::open(&folder.path().join("snapshot")).expect("a folder");
    let mut copy = open(copy, settings(), WALL).expect("it is as good a folder");
    assert!(copy.report.is_clean(), "{:?}", copy.report);
    let records = read_all(&mut copy.reader, Lane::Normal);
    assert!(records.iter().all(|(_, record)| serial_of(record) == 1));
    assert_eq!(records.len(), 5);
    drop((writer, events));
    let log = open(
        Folder::open(folder.path()).expect("a folder"),
        settings(),
        WALL,
    );
    let mut log = log.expect("the log works");
    assert_eq!(read_all(&mut log.reader, Lane::Normal).len(), 15);
}

/// A log and what it must hold.
struct Log {
    writer: Writer,
    reader: Reader,
    wall: WallTime,
    replayed_frames: u64,
    /// Numbers of the batches that were acknowledged, in their order.
    acknowledged: Vec<u64>,
    /// The first since whose write failed: it may be there all the same.
    refused: Option<u64>,
    number: u64,
    refusals: u64,
    failures: u64,
    recoveries: u64,
}

impl Log {
    fn open(folder: &SimulatedFolder) -> Self {
        let opened = open(folder.directory(), settings(), WALL).expect("the log works");
        let report = &opened.report;
        assert!(report.damaged_files.is_empty(), "{report:?}");
        assert!(report.gaps.iter().all(|gap| gap.reason == Reason::Torn));
        assert!(!report.is_state_lost && !report.is_journal_lost && report.lost_frames == 0);
        Self {
            replayed_frames: report.replayed_frames,
            writer: opened.writer,
            reader: opened.reader,
            wall: WALL,
            acknowledged: Vec::new(),
            refused: None,
            number: 0,
            refusals: 0,
            failures: 0,
            recoveries: 0,
        }
    }

    fn reopen(self, folder: &SimulatedFolder) -> Self {
        let Self {
            acknowledged,
            refused,
            number,
            ..
        } = self;
        let mut log = Self::open(folder);
        (log.acknowledged, log.number) = (acknowledged, number);
        log.settle(refused);
        log
    }

    /// Finds out whether a batch that was refused is there.
    fn settle(&mut self, refused: Option<u64>) {
        let records = read_all(&mut self.reader, Lane::Normal);
        let last = records.last().map(|(_, record)| serial_of(record));
        self.acknowledged
            .extend(refused.filter(|it| Some(*it) == last));
    }

    /// Opens what a cut of the power would leave of the folder, and lets the folder be.
    fn copy(&self, folder: &SimulatedFolder, luck: u64) -> Self {
        let copy = duplicate(folder);
        copy.power_cut(luck);
        let mut log = Self::open(&copy);
        log.acknowledged.clone_from(&self.acknowledged);
        log.settle(self.refused);
        log
    }

    fn next_batch(&self) -> Batch {
        batch(self.number + 1, BYTES)
    }

    fn commit(&mut self) -> Result<(), LogError> {
        let batch = self.next_batch();
        self.number += 1;
        match self.writer.commit(&batch, self.wall) {
            Ok(committed) => {
                self.reader.committed(&batch, &committed);
                self.acknowledged.push(self.number);
                self.refused = None;
                Ok(())
            }
            Err(error) => {
                self.refusals += 1;
                if !matches!(error, LogError::Full { .. }) {
                    self.refused.get_or_insert(self.number);
                }
                Err(error)
            }
        }
    }

    fn maintain(&mut self) {
        self.wall.0 += 1000;
        for event in self.writer.maintain(self.wall) {
            self.apply(&event);
        }
    }

    fn follow(&mut self) {
        for event in self.writer.events() {
            self.apply(&event);
        }
    }

    fn apply(&mut self, event: &Event) {
        self.reader.apply(event);
        self.failures += u64::from(matches!(event, Event::Failed { .. }));
        self.recoveries += u64::from(matches!(event, Event::Recovered));
    }

    /// Every acknowledged batch is there, whole and in its order, and of others at most the first
    /// that was refused.
    fn check(&mut self) {
        let mut last = BTreeMap::new();
        for lane in [Lane::Critical, Lane::Normal] {
            let records = read_all(&mut self.reader, lane);
            let mut found: Vec<u64> = records.iter().map(|(_, it)| serial_of(it)).collect();
            found.dedup();
            let mut expected = self.acknowledged.clone();
            let extra = found.last().copied().filter(|it| self.refused == Some(*it));
            expected.extend(extra);
            assert_eq!(found, expected, "{lane}, refused {:?}", self.refused);
            let each = if lane == Lane::Normal { 5 } else { 1 };
            assert_eq!(records.len(), expected.len() * each, "{lane}");
            last.insert(lane, expected.last().copied());
        }
        assert_eq!(last[&Lane::Critical], last[&Lane::Normal], "all or nothing");
        // A row of the mail is that of the last batch: in memory, in the file, or again in both.
        let Some(last) = last[&Lane::Normal] else {
            return;
        };
        if let Ok(row) = self.reader.find(Table::Mail, b"last") {
            assert_eq!(row, Some(last.to_le_bytes().to_vec()));
        }
    }
}

fn read_all(reader: &mut Reader, lane: Lane) -> Vec<(Offset, Record)> {
    let mut all = Vec::new();
    let mut at = reader.first(lane);
    while at < reader.head(lane) {
        let budget = Budget {
            records: 100,
            bytes: 1 << 20,
        };
        let chunk = reader.read(lane, at, budget).expect("the log can be read");
        at = chunk.next;
        all.extend(chunk.records);
    }
    all
}

/// One record of the critical lane and five of the normal one, a row of the state and of the mail.
fn batch(number: u64, bytes: usize) -> Batch {
    let append = |lane| Change::Append {
        lane,
        record: record("a/b", number, bytes),
    };
    let put = |table, key: &[u8]| Change::Put {
        table,
        key: key.to_vec(),
        value: number.to_le_bytes().to_vec(),
    };
    let mut changes = vec![append(Lane::Critical)];
    changes.extend((0..5).map(|_| append(Lane::Normal)));
    changes.push(put(Table::Cursors, b"last"));
    changes.push(put(Table::Mail, b"last"));
    Batch { changes }
}

fn record(topic: &str, serial: u64, bytes: usize) -> Record {
    let mut payload = serial.to_le_bytes().to_vec();
    payload.resize(8 + bytes, serial as u8);
    record_of(topic, WALL, &payload)
}

fn serial_of(record: &Record) -> u64 {
    let (serial, _) = record.payload().split_first_chunk().expect("a serial");
    u64::from_le_bytes(*serial)
}

fn settings() -> Settings {
    Settings {
        journal_bytes: 256 << 10,
        flush_bytes: 32 << 10,
        has_mail: true,
        ..small()
    }
}

const WALL: WallTime = WallTime(1_000_000);
/// Of a record's payload: six of them and their rows make a frame of two pages.
const BYTES: usize = 1000;
