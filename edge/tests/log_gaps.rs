//! Gaps have two homes, `state.redb` and `gaps`: with either of them damaged all are known, what was
//! announced stays so, and only the loss of both is a loss, which is then written down itself.

mod log_parts;

use edge::log::directory::Directory;
use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{Batch, Budget, Event, Gap, Opened, Parts, Reason, Settings, announced, open};
use sync::{Change, Lane, Offset, WallTime};

use self::log_parts::{
    contain_panics_quietly, duplicate, flip_all, make_foreign as overwrite, record_of, segments,
};

/// They were rows of the state alone, and gone with it without a word.
#[test]
fn gaps_outlive_a_state_that_is_lost_and_are_not_announced_again() {
    let damages: [fn(&SimulatedFolder); 4] = [
        |folder| overwrite(folder, "state.redb"),
        |folder| folder.remove("state.redb").expect("it is there"),
        |folder| flip_gaps(folder),
        |folder| {
            overwrite(folder, "state.redb");
            overwrite(folder, "journal");
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let folder = SimulatedFolder::new();
        let before = make(&folder);
        damage(&folder);
        let mut log = reopen(&folder);
        let told = gaps(&log);
        assert_eq!(told[..3], before[..3], "damage {number}");
        assert_eq!(log.writer.announced_below(), 2, "damage {number}");
        let handed_out = maintain(&mut log, 5);
        assert_eq!(handed_out[0].1, before[2].1, "damage {number}");
        // Twice.
        drop(log);
        overwrite(&folder, "state.redb");
        assert_eq!(gaps(&reopen(&folder))[..3], before[..3], "damage {number}");
    }
}

#[test]
fn the_loss_of_both_homes_is_a_gap() {
    let folder = SimulatedFolder::new();
    make(&folder);
    overwrite(&folder, "state.redb");
    overwrite(&folder, "gaps");
    let log = reopen(&folder);
    let findings = log.report.findings();
    let words = "lane normal: earlier gaps may be lost, whatever they were";
    assert!(findings.iter().any(|it| it == words), "{findings:?}");
    let is_told = |gap: &Gap| (gap.reason, gap.count) == (Reason::Forgotten, 0);
    let told = gaps(&log);
    assert_eq!(told.iter().filter(|(_, gap)| is_told(gap)).count(), 1);
    // Said once, and in the way of nothing that is lost later.
    drop(log);
    let mut log = reopen(&folder);
    assert_eq!(gaps(&log), told);
    assert!(log.writer.note_gap(rejected(7)));
}

/// A batch without changes left it where it was.
#[test]
fn a_gap_is_durable_with_the_next_batch_whatever_is_in_it() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    log.writer.note_gap(rejected(7));
    assert!(commit(&mut log, &Batch::default()));
    folder.power_cut(1);
    let gap = gaps(&reopen(&folder)).pop();
    assert_eq!(gap.map(|(_, gap)| gap), Some(rejected(7)));
}

#[test]
fn a_copy_that_is_missing_or_damaged_is_made_anew_by_the_next_start() {
    let damages: [fn(&SimulatedFolder); 3] = [
        |folder| folder.remove("gaps").expect("it is there"),
        |folder| overwrite(folder, "gaps"),
        |folder| folder.flip("gaps", 9),
    ];
    for damage in damages {
        let folder = SimulatedFolder::new();
        let before = make(&folder);
        damage(&folder);
        let log = reopen(&folder);
        assert_eq!(gaps(&log), before);
        assert!(!log.report.is_state_lost && log.report.gaps.is_empty());
        drop(log);
        overwrite(&folder, "state.redb");
        assert_eq!(gaps(&reopen(&folder))[..3], before[..3]);
    }
}

/// The state had a gap, the copy was an old one that could be neither written nor removed, and
/// nothing wrote it again before the next gap: with the state went what only it had.
#[test]
fn a_copy_that_could_be_neither_written_nor_removed_is_written_before_anything_else_is_new() {
    let folder = SimulatedFolder::new();
    let mut settings = settings();
    settings.flush_bytes = 16 << 10;
    settings.lanes[Lane::Normal].max_bytes = 256 << 10;
    let reopen = || open(folder.directory(), settings.clone(), WALL).expect("the log works");
    let mut log = reopen();
    // The first copy is made.
    assert!(commit(&mut log, &append_of(&[b'x'; 20_000])));
    maintain(&mut log, 1);
    folder.inject(fault(Operation::Write, "gaps", 1));
    folder.inject(fault(Operation::Remove, "gaps", 1));
    let mut seconds = 1..100;
    while gaps(&log).is_empty() {
        let second = seconds.next().expect("the lane has a limit");
        assert!(commit(&mut log, &append_of(&[b'x'; 9000])));
        let wall = WallTime(WALL.0 + 2000 * second);
        let events = log.writer.maintain(wall);
        events.iter().for_each(|event| log.reader.apply(event));
    }
    maintain(&mut log, 300);
    let told = gaps(&log);
    assert_eq!(told.len(), 1);
    drop(log);
    overwrite(&folder, "state.redb");
    assert_eq!(gaps(&reopen())[..1], told);
}

/// The copy comes after the state: a cut between the two, and at every other point, changes nothing
/// of what is known of gaps, and no gap is there twice.
#[test]
fn a_cut_at_any_point_leaves_the_homes_in_agreement() {
    let mut cut = 0;
    loop {
        let folder = SimulatedFolder::new();
        make(&folder);
        let mut log = reopen(&folder);
        log.writer.note_gap(rejected(8));
        folder.reset_counts();
        folder.stop_after(cut);
        let is_stored = commit(&mut log, &append());
        maintain(&mut log, 1);
        let is_through = folder.counts().changes < cut;
        drop(log);
        folder.power_cut(cut);
        let told = gaps(&reopen(&folder));
        let count = told.iter().filter(|(_, gap)| *gap == rejected(8)).count();
        assert!(
            count == 1 || count == 0 && !is_stored,
            "cut {cut}: {told:?}"
        );
        overwrite(&folder, "state.redb");
        let again = gaps(&reopen(&folder));
        assert_eq!(again[..told.len()], told, "cut {cut}");
        if is_through {
            break;
        }
        cut += 1;
    }
    assert!(cut > 5, "{cut}");
}

/// A bad place of the medium under the copy kept the gateway from starting for good.
/// No backup could be had of a log that lacks nothing, because what it has twice could not be read
/// in one place.
#[test]
fn a_backup_has_all_gaps_although_their_copy_can_not_be_read() {
    let folder = SimulatedFolder::new();
    let before = make(&folder);
    let mut log = reopen(&folder);
    folder.inject(fault(Operation::Read, "gaps", u32::MAX));
    log.writer.snapshot();
    let events = log.writer.maintain(WALL);
    let is_made = |event: &Event| matches!(event, Event::Snapshot { result: Ok(()) });
    assert!(events.iter().any(is_made), "{events:?}");
    // The medium is good again.
    folder.power_cut(1);
    let backup = folder.backup().expect("it can be read");
    let backup = backup.expect("it is made");
    let copy = reopen(&backup);
    assert!(copy.report.is_clean(), "{:?}", copy.report);
    assert_eq!(gaps(&copy), before);
    drop(copy);
    overwrite(&backup, "state.redb");
    assert_eq!(gaps(&reopen(&backup))[..3], before[..3]);
}

#[test]
fn a_copy_on_a_bad_medium_is_as_good_as_none() {
    let folder = SimulatedFolder::new();
    let before = make(&folder);
    folder.inject(Fault {
        operation: Operation::Read,
        name: "gaps".to_owned(),
        times: u32::MAX,
    });
    let log = reopen(&folder);
    assert_eq!(gaps(&log), before);
    assert_eq!(log.report.damaged_files, ["gaps.damaged-1"]);
}

/// The journal brought the word back that they were announced, and no flush told the copy.
#[test]
fn what_was_announced_just_before_a_cut_is_so_in_both_homes() {
    for is_replayed_first in [true, false] {
        let folder = SimulatedFolder::new();
        let before = make(&folder);
        let mut log = reopen(&folder);
        let changes = vec![announced(3)];
        assert!(commit(&mut log, &Batch { changes }));
        drop(log);
        folder.power_cut(1);
        if is_replayed_first {
            assert_eq!(reopen(&folder).writer.announced_below(), 3);
        }
        for _ in 0..2 {
            overwrite(&folder, "state.redb");
            let mut log = reopen(&folder);
            assert_eq!(gaps(&log)[..3], before[..3]);
            assert_eq!(log.writer.announced_below(), 3, "{is_replayed_first}");
            let handed_out = maintain(&mut log, 5);
            assert!(handed_out.iter().all(|(number, _)| *number >= 3));
        }
    }
}

/// What nobody can count of one lane took the count of another one's gap along.
#[test]
fn a_gap_is_counted_although_state_and_journal_are_lost_with_it() {
    contain_panics_quietly();
    let folder = SimulatedFolder::new();
    for payload in [[b'1'; 400], [b'2'; 400], [b'3'; 400]] {
        let mut log = reopen(&folder);
        for _ in 0..5 {
            assert!(commit(&mut log, &append_of(&payload)));
        }
        log.writer.close().expect("the log works");
    }
    let segment = "normal-00000000000000000000.redb";
    flip_all(&folder, segment, &[b'2'; 400]);
    overwrite(&folder, "state.redb");
    overwrite(&folder, "journal");
    let log = reopen(&folder);
    let of_block = |gap: &&Gap| (gap.first, gap.last) == (Offset(5), Offset(9));
    let told = log.report.gaps;
    assert_eq!(
        told.iter().find(of_block).map(|gap| gap.count),
        Some(5),
        "{told:?}"
    );
}

/// Nothing was in a segment yet: what the journal held before a bad frame was taken for released,
/// and what the frame held was in no gap.
#[test]
fn a_bad_frame_is_a_gap_although_state_and_segments_are_missing() {
    contain_panics_quietly();
    for bad in [3, 1] {
        let folder = SimulatedFolder::new();
        let mut log = reopen(&folder);
        for number in 0..6 {
            assert!(commit(&mut log, &append_of(&[b'0' + number; 400])));
        }
        drop(log);
        flip_all(&folder, "journal", &[b'0' + bad; 400]);
        overwrite(&folder, "state.redb");
        let mut log = reopen(&folder);
        let told: Vec<Gap> = gaps(&log).into_iter().map(|(_, gap)| gap).collect();
        assert_eq!(told.iter().map(|gap| gap.count).sum::<u64>(), 1, "{told:?}");
        assert!(told[0].has(Offset(bad.into())), "{told:?}");
        assert_eq!(log.reader.first(Lane::Normal), Offset(0));
        let budget = Budget {
            records: 10,
            bytes: 1 << 20,
        };
        let chunk = log.reader.read(Lane::Normal, Offset(0), budget);
        let records = chunk.expect("the log works").records;
        let offsets = records.iter().map(|(offset, _)| offset.0);
        let others = (0..6).filter(|it| *it != u64::from(bad));
        assert!(offsets.eq(others), "all but what the gap is of");
    }
}

/// The frame of a gap was damaged, and those around it had no hole between their offsets: the gap
/// was lost, and nothing said so.
#[test]
fn a_gap_that_only_a_damaged_frame_held_is_a_gap_without_a_count() {
    contain_panics_quietly();
    for is_state_lost in [false, true] {
        let folder = SimulatedFolder::new();
        let mut log = reopen(&folder);
        assert!(commit(&mut log, &append()));
        maintain(&mut log, 1);
        assert!(log.writer.note_gap(rejected(0)));
        for _ in 0..3 {
            assert!(commit(&mut log, &append()));
        }
        drop(log);
        flip_all(&folder, "journal", b"rejected");
        if is_state_lost {
            overwrite(&folder, "state.redb");
        }
        let log = reopen(&folder);
        let findings = log.report.findings().join("; ");
        assert!(findings.contains("earlier gaps may be lost"), "{findings}");
        let told = gaps(&log);
        let is_told = |gap: &Gap| (gap.reason, gap.count) == (Reason::Forgotten, 0);
        assert!(told.iter().any(|(_, gap)| is_told(gap)), "{told:?}");
        drop(log);
        assert_eq!(gaps(&reopen(&folder)), told, "said once");
    }
}

/// Their copy is whole, so no earlier gaps are forgotten: what only the journal held was in none.
#[test]
fn what_only_a_lost_journal_held_is_a_gap_although_the_copy_of_the_gaps_is_whole() {
    contain_panics_quietly();
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    assert!(log.writer.note_gap(Gap::of_mail(Lane::Normal, b"key", 1)));
    assert!(commit(&mut log, &append()));
    maintain(&mut log, 3);
    log.writer.close().expect("the log works");
    for name in segments(&folder) {
        folder.remove(&name).expect("it is there");
    }
    overwrite(&folder, "state.redb");
    overwrite(&folder, "journal");
    let log = reopen(&folder);
    assert!(log.report.is_state_lost && log.report.is_journal_lost);
    let told = gaps(&log);
    assert!(told.iter().any(|(_, gap)| gap.has(Offset(0))), "{told:?}");
    drop(log);
    assert_eq!(gaps(&reopen(&folder)), told, "said once");
}

/// What lies between gaps that are known was delivered and removed, for all that anybody knows.
#[test]
fn only_known_gaps_are_counted_where_nothing_else_is_left() {
    contain_panics_quietly();
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    for at in [5000, 5010] {
        assert!(log.writer.note_gap(rejected(at)));
    }
    assert!(commit(&mut log, &append()));
    maintain(&mut log, 3);
    let before = gaps(&log);
    drop(log);
    for name in folder.names().expect("the log works") {
        if name != "gaps" {
            folder.remove(&name).expect("it is there");
        }
    }
    let log = reopen(&folder);
    let told = gaps(&log);
    assert_eq!(told[..2], before[..2]);
    assert!(told[2..].iter().all(|(_, gap)| gap.count == 0), "{told:?}");
    assert!(log.reader.head(Lane::Normal) > Offset(5010));
}

/// What only the old journal said of gaps went with it, when a start that lost the state was cut.
#[test]
fn a_start_without_a_state_that_is_cut_at_any_point_loses_no_gap() {
    contain_panics_quietly();
    for has_copy in [true, false] {
        let before = SimulatedFolder::new();
        if has_copy {
            make(&before);
        }
        let mut log = reopen(&before);
        for _ in 0..10 {
            assert!(commit(&mut log, &append()));
        }
        log.writer.note_gap(rejected(8));
        assert!(commit(&mut log, &append()));
        drop(log);
        overwrite(&before, "state.redb");
        let mut cut = 0;
        loop {
            let folder = duplicate(&before);
            folder.stop_after(cut);
            drop(open(folder.directory(), settings(), WALL));
            let is_through = folder.counts().changes < cut;
            folder.power_cut(cut);
            let told = gaps(&reopen(&folder));
            let count = told.iter().filter(|(_, gap)| *gap == rejected(8)).count();
            assert_eq!(count, 1, "copy {has_copy}, cut {cut}: {told:?}");
            if is_through {
                break;
            }
            // The same steps, but for one.
            cut += if has_copy { 1 } else { 5 };
        }
        assert!(cut > 5, "{cut}");
    }
}

/// A log with three gaps that are apart, two of them announced.
fn make(folder: &SimulatedFolder) -> Vec<(u64, Gap)> {
    contain_panics_quietly();
    let mut log = reopen(folder);
    for _ in 0..10 {
        assert!(commit(&mut log, &append()));
    }
    for at in [1, 3, 5] {
        log.writer.note_gap(rejected(at));
        assert!(commit(&mut log, &append()));
        if at == 3 {
            let handed_out = maintain(&mut log, 1);
            assert_eq!(handed_out.len(), 2);
            let changes = vec![announced(2)];
            let batch = Batch { changes };
            assert!(commit(&mut log, &batch));
        }
    }
    maintain(&mut log, 3);
    let gaps = gaps(&log);
    assert_eq!(gaps.len(), 3);
    gaps
}

fn commit(log: &mut Opened, batch: &Batch) -> bool {
    let committed = log.writer.commit(batch, WALL);
    if let Ok(committed) = &committed {
        log.reader.committed(batch, committed);
    }
    committed.is_ok()
}

fn maintain(log: &mut Opened, seconds: u64) -> Vec<(u64, Gap)> {
    let mut handed_out = Vec::new();
    for second in 0..2 * seconds {
        let events = log.writer.maintain(WallTime(WALL.0 + 1000 * second));
        for event in events {
            log.reader.apply(&event);
            if let Event::Gaps { gaps } = event {
                handed_out.extend(gaps);
            }
        }
    }
    handed_out
}

fn reopen(folder: &SimulatedFolder) -> Opened {
    open(folder.directory(), settings(), WALL).expect("the log works")
}

fn settings() -> Settings {
    Settings {
        journal_bytes: 128 << 10,
        announces_gaps: true,
        ..Settings::default()
    }
}

fn gaps(log: &Opened) -> Vec<(u64, Gap)> {
    log.reader.gaps(0).expect("the log works")
}

/// Damages every row of the table, wherever it is, and has the next start look.
fn flip_gaps(folder: &SimulatedFolder) {
    flip_all(folder, "state.redb", b"rejected");
}

fn append() -> Batch {
    append_of(b"b")
}

fn append_of(payload: &[u8]) -> Batch {
    let record = record_of("a", WALL, payload);
    Batch {
        changes: vec![Change::Append {
            lane: Lane::Normal,
            record,
        }],
    }
}

fn fault(operation: Operation, name: &str, times: u32) -> Fault {
    Fault {
        operation,
        name: name.to_owned(),
        times,
    }
}

fn rejected(offset: u64) -> Gap {
    Gap {
        lane: Lane::Normal,
        first: Offset(offset),
        last: Offset(offset),
        count: 1,
        bytes: 10,
        from: WALL,
        to: WALL,
        reason: Reason::Rejected,
        parts: Parts::default(),
    }
}

const WALL: WallTime = WallTime(1_000_000);
