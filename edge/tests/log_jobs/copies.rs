//! Copies for backups beside everything else: what they hold, and what waits for them.

use std::collections::BTreeMap;

use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{Batch, Event, Opened, Reader, Settings, Writer, open};
use sync::{Change, Lane, PerLane, Table, WallTime};

use super::log_parts::store;
use super::{WALL, batch, read_all, settings};

/// A copy took all of the mail with one job, and acknowledgements waited for it as soon as as much had
/// come as makes two flushes due: for minutes, on a slow card with much mail.
#[test]
fn commits_go_on_while_much_mail_is_copied() {
    let folder = SimulatedFolder::new();
    let (mut writer, mut reader) = log_of_mail(&folder);
    let before = mail_of(&mut reader);
    let bytes: usize = before.values().map(Vec::len).sum();
    writer.snapshot();
    let (mut pieces, mut commits, mut flushes) = (0, 0, 0);
    loop {
        let job = writer.begin(WALL).expect("the copy is not complete");
        pieces += 1;
        for _ in 0..4 {
            let batch = mail(commits % ROWS, b'n');
            assert!(!writer.waits_for_job(&batch), "beside piece {pieces}");
            let committed = writer.commit(&batch, WALL).expect("there is room");
            reader.committed(&batch, &committed);
            commits += 1;
        }
        writer.finish(job.run());
        let events = writer.events();
        events.iter().for_each(|event| reader.apply(event));
        let is_flushed = |event: &&Event| matches!(event, Event::MailFlushed { .. });
        flushes += events.iter().filter(is_flushed).count();
        if is_made(&events) {
            break;
        }
        assert!(pieces < 1000, "it ends");
    }
    println!("{commits} commits and {flushes} flushes beside {pieces} pieces of {bytes} bytes");
    assert!(pieces > bytes / FLUSH_BYTES, "{pieces}");
    assert!(flushes > 10, "what is committed goes where it belongs");
    assert!(writer.journal_used_bytes() < settings().journal_bytes / 2);

    // It is the log of the moment at which it was begun, of which nothing is left by now.
    let copy = folder.backup().expect("it can be read").expect("a copy");
    let mut copy = open(copy.directory(), roomy(), WALL).expect("it is as good a folder");
    assert!(copy.report.is_clean(), "{:?}", copy.report);
    assert!(mail_of(&mut copy.reader) == before);
    assert!(mail_of(&mut reader).values().all(|value| value[0] == b'n'));
}

#[test]
fn a_copy_that_is_not_gone_on_with_leaves_nothing_behind() {
    let folder = SimulatedFolder::new();
    let (mut writer, _) = log_of_mail(&folder);
    let before = folder.used_bytes();
    let one_piece = |writer: &mut Writer| {
        let job = writer.begin(WALL).expect("there is more to copy");
        writer.finish(job.run());
        assert!(!is_made(&writer.events()));
    };
    writer.snapshot();
    one_piece(&mut writer);
    one_piece(&mut writer);
    assert!(folder.used_bytes() > before + FLUSH_BYTES as u64);
    // Who asks again gets one that has what was committed before.
    writer.commit(&mail(0, b'x'), WALL).expect("there is room");
    writer.snapshot();
    one_piece(&mut writer);
    // The program ends.
    writer.close().expect("the log works");
    assert!(folder.used_bytes() <= before + FLUSH_BYTES as u64);

    // It is killed, with a copy that nobody goes on with.
    let mut writer = reopen(&folder).0;
    writer.snapshot();
    one_piece(&mut writer);
    drop(writer);
    let half = folder.used_bytes();
    folder.power_cut(1);
    let (mut writer, mut reader) = reopen(&folder);
    assert!(folder.used_bytes() < half);
    assert!(folder.backup().expect("it can be read").is_none());

    // One that fails goes, and the log goes on.
    let before = folder.used_bytes();
    folder.set_capacity(Some(before + (1 << 20)));
    writer.snapshot();
    let events = writer.maintain(WALL);
    let has_failed = |event: &Event| matches!(event, Event::Snapshot { result: Err(_) });
    assert!(events.iter().any(has_failed), "{events:?}");
    assert!(folder.used_bytes() <= before + (64 << 10));
    writer.commit(&mail(1, b'y'), WALL).expect("there is room");
    folder.set_capacity(None);

    writer.snapshot();
    let events = writer.maintain(WALL);
    assert!(is_made(&events), "{events:?}");
    events.iter().for_each(|event| reader.apply(event));
    let copy = folder.backup().expect("it can be read").expect("a copy");
    let mut copy = open(copy.directory(), roomy(), WALL).expect("it is as good a folder");
    let rows = mail_of(&mut copy.reader);
    assert_eq!([rows[&key(0)][0], rows[&key(1)][0]], *b"xy");
}

/// The disk fails under a copy between its pieces: that costs the copy, and no flush.
#[test]
fn a_copy_that_fails_fails_alone() {
    for operation in [Operation::Write, Operation::Sync, Operation::Read] {
        let folder = SimulatedFolder::new();
        let (mut writer, _) = log_of_mail(&folder);
        writer.snapshot();
        let job = writer.begin(WALL).expect("it was asked for");
        writer.finish(job.run());
        // Changes are copied ahead, into a file of the same name.
        for number in 0..ROWS {
            writer
                .commit(&mail(number, b'n'), WALL)
                .expect("there is room");
        }
        folder.inject(Fault {
            operation,
            name: "mail".to_owned(),
            times: 1,
        });
        let mut events = writer.maintain(WALL);
        events.extend(writer.maintain(WallTime(WALL.0 + 2000)));
        let is_told = |event: &Event| matches!(event, Event::Snapshot { .. });
        assert_eq!(
            events.iter().filter(|it| is_told(it)).count(),
            1,
            "{operation:?}"
        );
        writer.commit(&mail(1, b'o'), WALL).expect("there is room");
        drop(writer);
        folder.power_cut(7);
        let rows = mail_of(&mut reopen(&folder).1);
        assert_eq!(rows.len(), ROWS as usize, "{operation:?}");
        let old = rows.values().filter(|value| value[0] == b'm');
        assert_eq!((old.count(), rows[&key(1)][0]), (0, b'o'), "{operation:?}");
    }
}

/// Where they can't be linked, as under Landlock before Linux 5.19, all segments were copied by the
/// first job: no commit found room meanwhile, nobody saw it come on, and none of it was counted as
/// wear.
#[test]
fn segments_that_can_not_be_linked_are_copied_in_pieces_and_counted() {
    let folder = SimulatedFolder::new();
    folder.inject(Fault {
        operation: Operation::Link,
        name: "normal".to_owned(),
        times: u32::MAX,
    });
    let mut settings = settings();
    settings.lanes[Lane::Normal].max_bytes = 512 << 10;
    let opened = open(folder.directory(), settings.clone(), WALL).expect("the log works");
    let Opened {
        mut writer,
        mut reader,
        ..
    } = opened;
    (0..300).for_each(|number| store(&mut writer, &mut reader, &batch(number, 300), WALL));
    let before = read_all(&mut reader, Lane::Normal);
    let bytes: usize = before.iter().map(|(_, it)| it.as_bytes().len()).sum();

    let (written, counted) = (folder.counts().bytes, writer.meter().wear().written_bytes);
    writer.snapshot();
    let (mut number, mut pieces) = (300, 0);
    loop {
        let job = writer.begin(WALL).expect("the copy is not complete");
        let step = folder.counts().bytes;
        writer.finish(job.run());
        let step = folder.counts().bytes - step;
        assert!(step < 512 << 10, "{step} bytes with piece {pieces}");
        let events = writer.events();
        events.iter().for_each(|event| reader.apply(event));
        if is_made(&events) {
            break;
        }
        pieces += 1;
        // What the copy still lacks gives way meanwhile.
        for _ in 0..50 {
            let batch = batch(number, 300);
            let committed = writer.commit(&batch, WALL).expect("there is room");
            reader.committed(&batch, &committed);
            number += 1;
        }
    }
    assert!(pieces > bytes / settings.flush_bytes / 2, "{pieces}");
    assert!(reader.first(Lane::Normal) > before[before.len() - 1].0);
    let written = folder.counts().bytes - written;
    let counted = writer.meter().wear().written_bytes - counted;
    let all = written..=written * 13 / 10;
    assert!(all.contains(&counted), "{counted} of {written}");

    let copy = folder.backup().expect("it can be read").expect("a copy");
    let mut copy = open(copy.directory(), settings, WALL).expect("it is as good a folder");
    assert!(copy.report.is_clean(), "{:?}", copy.report);
    assert!(read_all(&mut copy.reader, Lane::Normal) == before);
}

/// A folder of a file system that has no hard links.
fn without_links() -> SimulatedFolder {
    let folder = SimulatedFolder::new();
    folder.inject(Fault {
        operation: Operation::Link,
        name: String::new(),
        times: u32::MAX,
    });
    folder
}

/// A copy can't hold all segments open that go at once, as when the cloud is back, and one job that
/// copied the rest of them held up commits for as long as that took.
#[test]
fn segments_that_all_go_before_their_turn_are_in_the_copy_a_piece_with_each_job() {
    let folder = without_links();
    let settings = Settings {
        segment_bytes: 64 << 10,
        ..settings()
    };
    let opened = open(folder.directory(), settings.clone(), WALL).expect("the log works");
    let Opened {
        mut writer,
        mut reader,
        ..
    } = opened;
    (0..150).for_each(|number| store(&mut writer, &mut reader, &batch(number, 3000), WALL));
    let before = Lane::ALL.map(|lane| read_all(&mut reader, lane));
    writer.snapshot();
    let job = writer.begin(WALL).expect("it was asked for");
    writer.finish(job.run());
    writer.release(PerLane::from_fn(|lane| reader.head(lane)));
    let mut events = Vec::new();
    while let Some(job) = writer.begin(WALL) {
        let step = folder.counts().bytes;
        writer.finish(job.run());
        let step = folder.counts().bytes - step;
        assert!(step < 512 << 10, "{step} bytes with one job");
        events.extend(writer.events());
    }
    assert!(is_made(&events), "{events:?}");
    let is_removed = |event: &&Event| matches!(event, Event::SegmentRemoved { .. });
    assert!(events.iter().filter(is_removed).count() > 20);

    let copy = folder.backup().expect("it can be read").expect("a copy");
    let mut copy = open(copy.directory(), settings, WALL).expect("it is as good a folder");
    assert!(copy.report.is_clean(), "{:?}", copy.report);
    assert!(Lane::ALL.map(|lane| read_all(&mut copy.reader, lane)) == before);
}

/// What stays for a copy takes no room for ever: where the disk is full the copy goes, and they too.
#[test]
fn segments_that_stay_for_a_copy_go_with_it_where_the_disk_is_full() {
    let folder = without_links();
    let settings = Settings {
        segment_bytes: 64 << 10,
        ..settings()
    };
    let opened = open(folder.directory(), settings, WALL).expect("the log works");
    let Opened {
        mut writer,
        mut reader,
        ..
    } = opened;
    (0..150).for_each(|number| store(&mut writer, &mut reader, &batch(number, 3000), WALL));
    writer.snapshot();
    let job = writer.begin(WALL).expect("it was asked for");
    writer.finish(job.run());
    let before = folder.used_bytes();
    folder.set_capacity(Some(before));
    writer.release(PerLane::from_fn(|lane| reader.head(lane)));
    let mut events = Vec::new();
    for seconds in 0..5 {
        events.extend(writer.maintain(WallTime(WALL.0 + seconds * 1500)));
    }
    let has_failed = |event: &Event| matches!(event, Event::Snapshot { result: Err(_) });
    assert!(events.iter().any(has_failed), "{events:?}");
    let is_removed = |event: &&Event| matches!(event, Event::SegmentRemoved { .. });
    assert!(events.iter().filter(is_removed).count() > 20);
    assert!(folder.used_bytes() < before / 2);
}

fn is_made(events: &[Event]) -> bool {
    let is_made = |event: &Event| matches!(event, Event::Snapshot { result: Ok(()) });
    events.iter().any(is_made)
}

fn log_of_mail(folder: &SimulatedFolder) -> (Writer, Reader) {
    let mut writer = reopen(folder).0;
    for number in 0..ROWS {
        writer
            .commit(&mail(number, b'm'), WALL)
            .expect("there is room");
        writer.maintain(WALL);
    }
    writer.close().expect("the log works");
    reopen(folder)
}

fn reopen(folder: &SimulatedFolder) -> (Writer, Reader) {
    let opened = open(folder.directory(), roomy(), WALL).expect("the log works");
    (opened.writer, opened.reader)
}

fn mail(number: u32, text: u8) -> Batch {
    let put = Change::Put {
        table: Table::Mail,
        key: key(number),
        value: vec![text; ROW_BYTES],
    };
    Batch { changes: vec![put] }
}

fn key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn mail_of(reader: &mut Reader) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let find = |number| Some((key(number), reader.find(Table::Mail, &key(number)).ok()??));
    (0..ROWS).filter_map(find).collect()
}

fn roomy() -> Settings {
    Settings {
        has_mail: true,
        flush_bytes: FLUSH_BYTES,
        cache_bytes: 1 << 20,
        ..settings()
    }
}

const ROWS: u32 = 150;
const ROW_BYTES: usize = 20_000;
const FLUSH_BYTES: usize = 64 << 10;
