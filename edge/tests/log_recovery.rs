//! Opening: clean, after a power cut, and with every kind of file missing or damaged. The log opens
//! in every case and says what it found.

mod log_parts;

use std::path::Path;

use edge::log::directory::Directory;
use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{
    Batch, Budget, Folder, Gap, LogError, Opened, Parts, Reader, Reason, Report, Settings, Writer,
    open,
};
use sync::{Change, Epoch, Lane, Offset, Table, WallTime};

use self::log_parts::{contents, make_foreign, record_of, segments, small as settings, store};

const WALL: WallTime = WallTime(1_700_000_000_000);

#[test]
fn a_new_folder_begins_an_epoch_by_the_clock() {
    let folder = SimulatedFolder::new();
    let opened = reopen(&folder);
    assert_eq!(opened.epoch, Epoch(1_700_000_000));
    let expected = Report {
        is_new: true,
        ..Report::default()
    };
    assert_eq!(opened.report, expected);
    drop(opened);
    let opened = reopen(&folder);
    assert_eq!(
        (opened.epoch, opened.report),
        (Epoch(1_700_000_000), Report::default())
    );
}

#[test]
fn a_closed_log_has_nothing_to_replay() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 30);
    log.writer.close().unwrap();
    folder.power_cut(1);
    let mut log = reopen(&folder);
    assert_eq!(log.report, Report::default());
    assert_eq!(read_all(&mut log.reader), 300);
    assert_eq!(sessions(&log.reader), 30);
}

#[test]
fn opening_twice_writes_next_to_nothing() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 30);
    log.writer.close().unwrap();
    folder.reset_counts();
    let log = reopen(&folder);
    let bytes = folder.counts().bytes;
    assert!(bytes < 64 << 10, "{bytes} bytes to open");
    assert_eq!(log.report, Report::default());
}

/// `inspect` showed its own recovery, in memory, as wear of the card.
#[test]
fn what_was_written_before_a_start_is_told_apart_from_what_it_writes() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 10);
    let before = log.writer.meter().wear().written_bytes;
    drop(log);
    let log = reopen(&folder);
    assert!(
        log.wear.written_bytes <= before,
        "{} of {before}",
        log.wear.written_bytes
    );
    assert!(log.wear.written_bytes > 0);
    assert!(log.writer.meter().wear().written_bytes > log.wear.written_bytes);
}

#[test]
fn opening_does_not_read_what_is_stored() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 400);
    folder.power_cut(1);
    folder.reset_counts();
    reopen(&folder);
    let reads = folder.counts().reads;
    assert!(reads < 250, "{reads} reads to open");
}

/// The uplink notes what the cloud never takes and then commits the cursor that has passed it. The
/// gap waited for a flush, so a power cut between left a record missing without a word.
#[test]
fn a_noted_gap_is_durable_before_a_cursor_passes_it() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 1);
    let gap = Gap {
        lane: Lane::Normal,
        first: Offset(3),
        last: Offset(3),
        count: 1,
        bytes: 100,
        from: WALL,
        to: WALL,
        reason: Reason::Rejected,
        parts: Parts::default(),
    };
    log.writer.note_gap(gap.clone());
    let cursor = Change::Put {
        table: Table::Cursors,
        key: b"uplink".to_vec(),
        value: vec![4],
    };
    let batch = Batch {
        changes: vec![cursor],
    };
    log.writer.commit(&batch, WALL).unwrap();
    folder.power_cut(1);
    let mut log = reopen(&folder);
    assert_eq!(log.reader.gaps(0).unwrap(), [(0, gap.clone())]);

    let another = Gap {
        first: Offset(5),
        last: Offset(5),
        ..gap
    };
    log.writer.note_gap(another);
    log.writer.commit(&batch, WALL).unwrap();
    log.writer.maintain(WallTime(WALL.0 + 1000));
    assert_eq!(log.reader.gaps(0).unwrap().len(), 2, "seen a second later");
}

#[test]
fn an_unreadable_state_begins_a_new_epoch_and_keeps_the_records() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    let epoch = log.epoch;
    fill(&mut log.writer, &mut log.reader, 30);
    folder.power_cut(1);
    folder.flip("state.redb", 0);
    let mut log = reopen(&folder);
    assert!(log.epoch > epoch);
    assert!(log.report.is_state_lost && !log.report.is_journal_lost && !log.report.is_new);
    assert_eq!(log.report.damaged_files, ["state.redb.damaged-1"]);
    assert_eq!(log.report.gaps, []);
    assert_eq!(read_all(&mut log.reader), 300);
    assert_eq!(sessions(&log.reader), 0);
    fill(&mut log.writer, &mut log.reader, 1);
    folder.power_cut(2);
    assert_eq!(read_all(&mut reopen(&folder).reader), 310);
}

#[test]
fn an_unreadable_journal_is_replaced_and_reported() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 30);
    log.writer.close().unwrap();
    make_foreign(&folder, "journal");
    let mut log = reopen(&folder);
    assert!(log.report.is_journal_lost && !log.report.is_state_lost);
    assert_eq!(log.report.damaged_files, ["journal.damaged-1"]);
    assert_eq!(read_all(&mut log.reader), 300);
    fill(&mut log.writer, &mut log.reader, 1);
    folder.power_cut(3);
    let mut log = reopen(&folder);
    assert_eq!(log.report.damaged_files, [""; 0]);
    assert_eq!(read_all(&mut log.reader), 310);
}

#[test]
fn an_unreadable_last_segment_becomes_a_gap() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 60);
    log.writer.close().unwrap();
    let last = segments(&folder).pop().unwrap();
    make_foreign(&folder, &last);
    let mut log = reopen(&folder);
    assert_eq!(log.report.damaged_files, [format!("{last}.damaged-1")]);
    let gap = log.report.gaps[0].clone();
    assert_eq!((gap.reason, gap.last), (Reason::Damage, Offset(599)));
    assert_eq!(log.reader.gaps(0).unwrap(), [(0, gap.clone())]);
    assert_eq!(log.reader.head(Lane::Normal), Offset(600));
    assert_eq!(read_all(&mut log.reader) + gap.count, 600);
    fill(&mut log.writer, &mut log.reader, 1);
    assert_eq!(log.reader.head(Lane::Normal), Offset(610));
}

#[test]
fn a_missing_last_segment_becomes_a_gap() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 60);
    log.writer.close().unwrap();
    let last = segments(&folder).pop().unwrap();
    folder.directory().remove(&last).unwrap();
    let mut log = reopen(&folder);
    let gap = log.report.gaps[0].clone();
    assert_eq!((gap.reason, gap.last), (Reason::Damage, Offset(599)));
    assert_eq!(read_all(&mut log.reader) + gap.count, 600);
}

#[test]
fn a_missing_first_segment_becomes_a_gap() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 60);
    log.writer.close().unwrap();
    let first = segments(&folder).remove(0);
    folder.directory().remove(&first).unwrap();
    let mut log = reopen(&folder);
    let gap = log.report.gaps[0].clone();
    assert_eq!((gap.reason, gap.first), (Reason::Damage, Offset(0)));
    assert_eq!(log.reader.first(Lane::Normal), gap.last.next());
    assert_eq!(read_all(&mut log.reader) + gap.count, 600);
}

#[test]
fn a_damaged_sealed_segment_is_passed_and_reported_once() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 60);
    log.writer.close().unwrap();
    let first = segments(&folder).remove(0);
    make_foreign(&folder, &first);
    let mut log = reopen(&folder);
    assert_eq!(
        log.report,
        Report::default(),
        "sealed segments are not looked into"
    );
    let mut at = Offset(0);
    let chunk = log.reader.read(Lane::Normal, at, budget()).unwrap();
    let gap = chunk.damaged.expect("the first segment can't be opened");
    assert_eq!((gap.first, gap.last.next()), (at, chunk.next));
    let again = log.reader.read(Lane::Normal, at, budget()).unwrap();
    assert_eq!((again.damaged, again.next), (None, chunk.next));
    at = chunk.next;
    while at < log.reader.head(Lane::Normal) {
        let chunk = log.reader.read(Lane::Normal, at, budget()).unwrap();
        assert!(chunk.damaged.is_none() && chunk.next > at);
        at = chunk.next;
    }
    log.writer.note_gap(gap.clone());
    log.writer.close().unwrap();
    assert_eq!(reopen(&folder).reader.gaps(0).unwrap(), [(0, gap)]);
}

#[test]
fn a_damaged_block_is_passed_and_its_neighbours_are_read() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 60);
    log.writer.close().unwrap();
    let first = segments(&folder).remove(0);
    let bytes = contents(&folder, &first);
    let payload = bytes.windows(400).position(|window| window == [7; 400]);
    folder.flip(&first, payload.unwrap() as u64);
    let mut log = reopen(&folder);
    let (mut at, mut read, mut damaged) = (Offset(0), 0, 0);
    while at < log.reader.head(Lane::Normal) {
        let chunk = log.reader.read(Lane::Normal, at, budget()).unwrap();
        read += chunk.records.len() as u64;
        damaged += chunk.damaged.map_or(0, |gap| gap.count);
        at = chunk.next;
    }
    assert_eq!(read + damaged, 600);
    assert!(
        (1..300).contains(&damaged),
        "{damaged} of 600 records lost by one byte"
    );
}

/// Behind a group that was cut while it was written a lane goes on in a new segment. After one more
/// start the offsets between looked like damage of the segment before: the whole file was searched
/// for them, and an error told of what was written down already.
#[test]
fn offsets_that_a_torn_group_used_up_are_no_damage() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 30);
    folder.inject(Fault {
        operation: Operation::Write,
        name: "journal".to_owned(),
        times: 1,
    });
    log.writer.commit(&batch(30), WALL).unwrap_err();
    drop(log);
    let mut log = reopen(&folder);
    let gap = log.report.gaps.pop().expect("one group was cut");
    assert_eq!((gap.reason, gap.count), (Reason::Torn, 10));
    for _ in 0..2 {
        fill(&mut log.writer, &mut log.reader, 30);
        log.writer.close().unwrap();
        log = reopen(&folder);
        folder.reset_counts();
        let (mut at, mut read) = (Offset(0), 0);
        while at < log.reader.head(Lane::Normal) {
            let chunk = log.reader.read(Lane::Normal, at, budget()).unwrap();
            assert_eq!(chunk.damaged, None);
            read += chunk.records.len() as u64;
            at = chunk.next;
        }
        assert_eq!(read + gap.count, log.reader.head(Lane::Normal).0);
    }
}

#[test]
fn a_gap_of_an_earlier_start_is_not_told_again() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 60);
    log.writer.close().unwrap();
    let last = segments(&folder).pop().unwrap();
    folder.directory().remove(&last).unwrap();
    assert_eq!(reopen(&folder).report.gaps.len(), 1);
    let log = reopen(&folder);
    assert_eq!(log.report, Report::default());
    assert_eq!(log.reader.gaps(0).unwrap().len(), 1);
}

/// A gap was durable with the next flush only, and the cursor that had passed it with the next
/// batch: a power cut between the two lost records without a word. Now the gap is in the journal
/// before any batch that follows it.
#[test]
fn a_noted_gap_is_as_durable_as_the_batch_after_it() {
    let gap = |first: u64| Gap {
        lane: Lane::Normal,
        first: Offset(first),
        last: Offset(first),
        count: 1,
        bytes: 512,
        from: WALL,
        to: WALL,
        reason: Reason::Rejected,
        parts: Parts::default(),
    };
    for seed in 0..20 {
        let folder = SimulatedFolder::new();
        let mut log = reopen(&folder);
        fill(&mut log.writer, &mut log.reader, 1);
        log.writer.note_gap(gap(3));
        log.writer.note_gap(gap(5));
        folder.reset_counts();
        fill(&mut log.writer, &mut log.reader, 1);
        let counts = folder.counts();
        assert_eq!(
            (counts.writes, counts.syncs),
            (2, 2),
            "a frame of their own"
        );
        log.writer.note_gap(gap(7));
        folder.power_cut(seed);
        let log = reopen(&folder);
        let expected = [(0, gap(3)), (1, gap(5))];
        assert_eq!(log.reader.gaps(0).unwrap(), expected, "seed {seed}");
        assert_eq!(log.report.gaps, [], "none of them is this start's");
        // Opening again, or being cut while opening, does not count them twice.
        folder.power_cut(seed);
        assert_eq!(reopen(&folder).reader.gaps(0).unwrap(), expected);
    }
}

/// Messages that end unread come with the commit that removes them: their gap is in its frame.
#[test]
fn a_gap_inside_a_batch_is_as_durable_as_the_batch_and_counted_once() {
    let unread = |first: u64, count: u64| Gap {
        lane: Lane::Urgent,
        first: Offset(first),
        last: Offset(first + count - 1),
        count,
        bytes: 100 * count,
        from: WALL,
        to: WALL,
        reason: Reason::Unread,
        parts: Parts::default(),
    };
    let batch = |gap: &Gap| Batch {
        changes: vec![Change::Put {
            table: Table::Gaps,
            key: Vec::new(),
            value: gap.encode(),
        }],
    };
    for seed in 0..20 {
        let folder = SimulatedFolder::new();
        let mut log = reopen(&folder);
        log.writer.commit(&batch(&unread(7, 2)), WALL).unwrap();
        log.writer.commit(&batch(&unread(9, 3)), WALL).unwrap();
        folder.power_cut(seed);
        let mut log = reopen(&folder);
        let expected = [(0, unread(7, 5))];
        assert_eq!(log.reader.gaps(0).unwrap(), expected, "seed {seed}");
        // The same when a flush brings it there, and when the gateway stops.
        log.writer.commit(&batch(&unread(12, 1)), WALL).unwrap();
        log.writer.close().unwrap();
        let log = reopen(&folder);
        assert_eq!(log.reader.gaps(0).unwrap(), [(0, unread(7, 6))]);
    }
}

#[test]
fn a_batch_is_not_stored_without_the_gap_before_it() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 1);
    let gap = Gap {
        lane: Lane::Normal,
        first: Offset(3),
        last: Offset(3),
        count: 1,
        bytes: 512,
        from: WALL,
        to: WALL,
        reason: Reason::TooLarge,
        parts: Parts::default(),
    };
    log.writer.note_gap(gap.clone());
    folder.inject(Fault {
        operation: Operation::Sync,
        name: "journal".to_owned(),
        times: 1,
    });
    let put = Change::Put {
        table: Table::Cursors,
        key: b"uplink".to_vec(),
        value: vec![1],
    };
    let batch = Batch { changes: vec![put] };
    assert!(log.writer.commit(&batch, WALL).is_err());
    log.writer.commit(&batch, WALL).unwrap();
    folder.power_cut(4);
    assert_eq!(reopen(&folder).reader.gaps(0).unwrap(), [(0, gap)]);
}

#[test]
fn a_folder_of_another_version_is_refused_and_left_as_it_is() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 3);
    drop(log);
    let directory = folder.directory();
    for format in [2, 4] {
        let mut header = contents(&folder, "journal");
        header.truncate(36);
        header[4] = format;
        let crc = crc32c::crc32c(&header[..32]);
        header[32..].copy_from_slice(&crc.to_le_bytes());
        let journal = directory.open("journal").unwrap();
        journal.write_at(0, &header).unwrap();
        let Err(refused) = open(folder.directory(), settings(), WALL) else {
            panic!("format {format}");
        };
        let is_it = |found| found == u32::from(format);
        assert!(
            matches!(refused, LogError::Format { found, allowed: 3, .. } if is_it(found)),
            "{refused}"
        );
        assert_eq!(contents(&folder, "journal")[..36], header);
    }
}

#[test]
fn a_journal_of_another_log_is_set_aside() {
    let (folder, other) = (SimulatedFolder::new(), SimulatedFolder::new());
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 3);
    log.writer.close().unwrap();
    drop(open(other.directory(), settings(), WallTime(5000)).unwrap());
    let foreign = contents(&other, "journal");
    let journal = folder.directory().open("journal").unwrap();
    journal.write_at(0, &foreign).unwrap();
    let mut log = reopen(&folder);
    assert!(log.report.is_journal_lost);
    assert_eq!(log.report.damaged_files, ["journal.damaged-1"]);
    assert_eq!(contents(&folder, "journal.damaged-1"), foreign);
    assert_eq!(read_all(&mut log.reader), 30);
}

/// Before the first flush the state knows of no frame, and something else in the place of the journal
/// passed for one without frames whose header had to be mended: what was acknowledged was gone without
/// a word.
#[test]
fn something_else_in_the_place_of_a_young_journal_is_no_journal() {
    let whole = 0..usize::MAX;
    // Of a file that was never written to only the header can be damaged.
    for (stored, damaged, is_lost) in [
        (1, whole.clone(), true),
        (0, whole, true),
        (0, 9..12, false),
    ] {
        for byte in [0, 7] {
            let folder = SimulatedFolder::new();
            let mut log = reopen(&folder);
            fill(&mut log.writer, &mut log.reader, stored);
            drop(log);
            let file = folder.open("journal").unwrap();
            let end = damaged.end.min(file.len().unwrap() as usize);
            let contents = vec![byte; end - damaged.start];
            file.write_at(damaged.start as u64, &contents).unwrap();
            file.sync_data().unwrap();
            let report = reopen(&folder).report;
            assert_eq!(report.is_journal_lost, is_lost, "{stored} {byte}");
            assert_eq!(
                report.gaps.iter().any(|gap| gap.count == 0),
                is_lost,
                "{report:?}"
            );
        }
    }
}

#[test]
fn only_what_the_log_was_making_is_removed() {
    let folder = SimulatedFolder::new();
    let directory = folder.directory();
    directory.create("journal.new").unwrap();
    directory.create("notes.new").unwrap();
    drop(reopen(&folder));
    let names = directory.names().unwrap();
    assert!(names.contains(&"notes.new".to_owned()), "{names:?}");
    assert!(!names.contains(&"journal.new".to_owned()), "{names:?}");
}

#[test]
fn a_first_start_without_room_fails_and_leaves_nothing_behind() {
    let folder = SimulatedFolder::new();
    folder.set_capacity(Some(64 << 10));
    let refused = open(folder.directory(), settings(), WALL).expect_err("there is no room");
    assert!(refused.to_string().contains("journal"), "{refused}");
    assert_eq!(folder.used_bytes(), 0);
    folder.set_capacity(None);
    assert!(reopen(&folder).report.is_new);
}

#[test]
fn damaged_rows_are_left_out_and_the_next_start_checks_everything() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 30);
    log.writer.close().unwrap();
    let state = contents(&folder, "state.redb");
    // Values, which redb does not look at.
    for (at, _) in state
        .windows(20)
        .enumerate()
        .filter(|(_, window)| *window == [1; 20])
    {
        folder.flip("state.redb", at as u64);
    }
    let log = reopen(&folder);
    assert_eq!(log.report.lost_rows, 30);
    assert_eq!(log.report.damaged_files, ["state.redb.damaged-1"]);
    assert!(!log.report.is_state_lost);
    assert_eq!(sessions(&log.reader), 0);
    drop(log);
    // The mark of the start before is still there: all pages are checked, and are well.
    let mut log = reopen(&folder);
    assert_eq!(log.report, Report::default());
    assert!(folder.names().unwrap().contains(&"starting".to_owned()));
    log.writer.maintain(WALL);
    assert!(!folder.names().unwrap().contains(&"starting".to_owned()));
}

#[test]
fn another_journal_size_takes_effect_at_the_next_start() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, 3);
    folder.power_cut(1);
    let larger = Settings {
        journal_bytes: 1 << 20,
        ..settings()
    };
    let mut log = open(folder.directory(), larger, WALL).unwrap();
    assert_eq!(log.report.replayed_frames, 3);
    let length = folder.directory().open("journal").unwrap().len().unwrap();
    assert_eq!(length, 1 << 20);
    fill(&mut log.writer, &mut log.reader, 3);
    folder.power_cut(2);
    let mut log = reopen(&folder);
    assert_eq!(read_all(&mut log.reader), 60);
    assert_eq!(sessions(&log.reader), 3);
}

#[test]
fn a_real_folder_is_made_locked_and_found_again() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("not/yet/there");
    let mut log = open(Folder::open(&path).unwrap(), settings(), WALL).unwrap();
    fill(&mut log.writer, &mut log.reader, 60);
    match Folder::open(&path) {
        Err(LogError::InUse { path }) => assert!(path.ends_with("lock")),
        other => panic!("a second gateway got {other:?}"),
    }
    drop(log);
    let mut log = open(Folder::open(&path).unwrap(), settings(), WALL).unwrap();
    assert_eq!(read_all(&mut log.reader), 600);
    assert_eq!(sessions(&log.reader), 60);
    log.writer.close().unwrap();
}

#[test]
fn a_folder_that_can_not_be_used_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let refused = Folder::open(&file).expect_err("a file is no folder");
    assert!(
        refused.to_string().contains(file.to_str().unwrap()),
        "{refused}"
    );
    let below = Folder::open(Path::new("/proc/no/such")).expect_err("nobody writes there");
    assert!(below.to_string().contains("/proc/no/such"), "{below}");
}

fn reopen(folder: &SimulatedFolder) -> Opened {
    open(folder.directory(), settings(), WALL).expect("the log works")
}

/// Commits batches of ten records and one session each.
fn fill(writer: &mut Writer, reader: &mut Reader, count: u64) {
    for number in 0..count {
        let batch = batch(number);
        store(writer, reader, &batch, WALL);
    }
}

fn batch(number: u64) -> Batch {
    let record = record_of("a/b", WALL, &[7; 500]);
    let append = Change::Append {
        lane: Lane::Normal,
        record,
    };
    let mut changes = vec![append; 10];
    changes.push(Change::Put {
        table: Table::Sessions,
        key: number.to_be_bytes().to_vec(),
        value: vec![1; 20],
    });
    Batch { changes }
}

fn read_all(reader: &mut Reader) -> u64 {
    let (mut at, mut count) = (reader.first(Lane::Normal), 0);
    while at < reader.head(Lane::Normal) {
        let chunk = reader
            .read(Lane::Normal, at, budget())
            .expect("the log works");
        for (offset, _) in &chunk.records {
            assert!(*offset >= at);
            count += 1;
        }
        at = chunk.next;
    }
    count
}

fn sessions(reader: &Reader) -> usize {
    let mut count = 0;
    reader
        .read_state(Table::Sessions, |_, _| count += 1)
        .expect("the log works");
    count
}

fn budget() -> Budget {
    Budget {
        records: 50,
        bytes: 1 << 20,
    }
}
