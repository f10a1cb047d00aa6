//! What the log costs, and what it does at each of its limits: counted, not timed.

mod log_parts;

use std::time::Duration;

use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{
    Batch, Budget, Committed, Event, Gap, LogError, Opened, Parts, Reader, Reason, Settings,
    Writer, open,
};
use sync::{
    Change, Instant, Lane, Offset, PerLane, Record, SteadyTime, Table, TimeStamp, WallTime,
};

use self::log_parts::{record_of, small};

#[test]
fn a_group_is_one_write_and_one_sync() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, Settings::default());
    // A larger one goes straight into a segment.
    for group in [1, 10, 100, 400] {
        folder.reset_counts();
        log.commit(&appends(group, 256)).unwrap();
        let counts = folder.counts();
        assert_eq!((counts.writes, counts.syncs), (1, 1), "group of {group}");
        log.maintain();
    }
}

#[test]
fn single_messages_cost_at_most_twenty_bytes_a_byte() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, Settings::default());
    folder.reset_counts();
    let count = 6000;
    for _ in 0..count {
        log.commit(&appends(1, 256)).unwrap();
        log.maintain();
    }
    let ratio = folder.counts().bytes as f64 / (count * 256) as f64;
    println!("{ratio:.2} bytes written a payload byte");
    assert!(ratio <= 20.0, "{ratio:.2} bytes written a payload byte");
}

#[test]
fn groups_cost_at_most_two_and_a_half_bytes_a_byte() {
    for (group, most) in [(100, 3.0), (1000, 2.5)] {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, Settings::default());
        folder.reset_counts();
        let rounds = 30_000 / group;
        for _ in 0..rounds {
            log.commit(&appends(group, 256)).unwrap();
            log.maintain();
        }
        let ratio = folder.counts().bytes as f64 / (rounds * group * 256) as f64;
        println!("groups of {group}: {ratio:.2} bytes written a payload byte");
        assert!(ratio <= most, "groups of {group}: {ratio:.2}");
    }
}

#[test]
fn small_reads_in_a_row_fetch_each_block_once() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    for _ in 0..100 {
        log.commit(&appends(10, 256)).unwrap();
        log.maintain();
    }
    let flushed = 900;
    let mut positions = [Offset(0), Offset(200), Offset(400)];
    folder.reset_counts();
    let mut read = 0;
    while positions.iter().any(|at| at.0 < flushed) {
        for at in &mut positions {
            let chunk = log.reader.read(Lane::Normal, *at, budget(20)).unwrap();
            read += chunk.records.len();
            *at = chunk.next;
        }
    }
    assert!(read > 2000);
    let reads = folder.counts().reads;
    assert!(reads < 200, "{reads} reads of files for {read} records");
}

#[test]
fn a_read_stays_within_its_budget() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    for _ in 0..40 {
        log.commit(&appends(10, 1000)).unwrap();
        log.maintain();
    }
    log.commit(&appends(3, 1000)).unwrap();
    let size = record(1000, WallTime(0)).as_bytes().len();
    let mut at = Offset(0);
    while at < log.reader.head(Lane::Normal) {
        let bytes = 5 * size + 10;
        let chunk = log
            .reader
            .read(Lane::Normal, at, Budget { records: 7, bytes })
            .unwrap();
        let left = log.reader.head(Lane::Normal).0 - at.0;
        assert_eq!(chunk.records.len() as u64, left.min(5), "from {at}");
        at = chunk.next;
    }
    let one = log.reader.read(
        Lane::Normal,
        Offset(0),
        Budget {
            records: 7,
            bytes: 1,
        },
    );
    assert_eq!(
        one.unwrap().records.len(),
        1,
        "one record whatever its size"
    );
    let none = log.reader.read(Lane::Normal, at, budget(7)).unwrap();
    assert_eq!((none.records.len(), none.next), (0, at));
}

#[test]
fn a_batch_beyond_the_journal_is_refused_for_good() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    let refused = log.commit(&appends(1, 600_000));
    assert!(
        matches!(refused, Err(LogError::TooLarge { .. })),
        "{refused:?}"
    );
    assert_eq!(
        log.commit(&appends(1, 10)).unwrap().first[Lane::Normal],
        Offset(0)
    );
}

#[test]
fn a_batch_beyond_the_free_journal_empties_it_first() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    for turn in 0..6 {
        let committed = log.commit(&appends(1, 300_000)).unwrap();
        assert_eq!(committed.first[Lane::Normal], Offset(turn));
    }
    log.maintain();
    assert_eq!(log.read_all(Lane::Normal), 6);
}

#[test]
fn an_empty_batch_writes_nothing() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    folder.reset_counts();
    log.commit(&Batch::default()).unwrap();
    assert_eq!(folder.counts().changes, 0);
}

#[test]
fn a_failed_sync_refuses_one_batch_and_burns_no_offset() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    log.commit(&appends(2, 10)).unwrap();
    for operation in [Operation::Sync, Operation::Write] {
        folder.inject(Fault {
            operation,
            name: "journal".to_owned(),
            times: 1,
        });
        let head = log.reader.head(Lane::Normal);
        assert!(matches!(
            log.commit(&appends(1, 10)),
            Err(LogError::File { .. })
        ));
        assert_eq!(
            log.commit(&appends(1, 10)).unwrap().first[Lane::Normal],
            head
        );
    }
    folder.power_cut(1);
    let mut log = Log::open(&folder, small());
    assert_eq!(log.read_all(Lane::Normal), 4);
}

#[test]
fn a_full_disk_keeps_what_was_acknowledged_and_goes_on_when_there_is_room() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    log.commit(&appends(10, 256)).unwrap();
    folder.set_capacity(Some(folder.used_bytes() + (200 << 10)));
    let mut acknowledged = 10;
    let refused = loop {
        match log.commit(&appends(10, 256)) {
            Ok(_) => acknowledged += 10,
            Err(error) => break error,
        }
        log.maintain();
        assert!(acknowledged < 100_000, "the disk never fills");
    };
    assert!(matches!(refused, LogError::Full { .. }), "{refused}");
    assert!(acknowledged > 2000, "the reserve was not used");
    assert!(log.failures > 0);
    assert_eq!(log.read_all(Lane::Normal), acknowledged);

    // A restart on the full disk finds everything, and still can't take more.
    folder.power_cut(3);
    let mut log = Log::open(&folder, small());
    assert_eq!(log.read_all(Lane::Normal), acknowledged);
    log.wall.0 += 2000;
    log.maintain();
    folder.set_capacity(None);
    log.wall.0 += 2000;
    log.maintain();
    assert_eq!(log.recoveries, 1);
    log.commit(&appends(1, 256)).unwrap();
    assert_eq!(log.read_all(Lane::Normal), acknowledged + 1);
}

#[test]
fn released_segments_make_room_on_a_full_disk() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    folder.set_capacity(Some(folder.used_bytes() + (1 << 20)));
    while log.commit(&appends(10, 256)).is_ok() {
        log.maintain();
    }
    let head = log.reader.head(Lane::Normal);
    log.writer.release(PerLane::from_fn(|_| head));
    for _ in 0..3 {
        log.wall.0 += 2000;
        log.maintain();
    }
    log.commit(&appends(10, 256)).unwrap();
    assert!(log.reader.first(Lane::Normal) > Offset(0));
    assert!(log.gaps.is_empty());
}

#[test]
fn at_the_byte_limit_what_is_dropped_is_written_down() {
    let folder = SimulatedFolder::new();
    let mut settings = small();
    settings.lanes[Lane::Normal].max_bytes = 300 << 10;
    let mut log = Log::open(&folder, settings.clone());
    for _ in 0..300 {
        log.commit(&appends(10, 256)).unwrap();
        log.maintain();
        assert!(log.writer.lane_bytes()[Lane::Normal] <= (300 + 75 + 64) << 10);
    }
    let dropped: u64 = log.gaps.iter().map(|gap| gap.count).sum();
    assert!(dropped > 1000);
    assert!(
        log.gaps
            .iter()
            .all(|gap| gap.reason == Reason::Limit && gap.bytes > 0)
    );
    assert_eq!(log.read_all(Lane::Normal) + dropped, 3000);
    assert_eq!(log.reader.first(Lane::Normal), Offset(dropped));
    // Each goes on where the one before it ended.
    let stored = log.reader.gaps(0).unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!((stored[0].1.first, stored[0].1.count), (Offset(0), dropped));
    assert_eq!(stored[0].1.last.next(), Offset(dropped));

    folder.power_cut(5);
    let log = Log::open(&folder, settings);
    assert_eq!(log.reader.first(Lane::Normal), Offset(dropped));
    assert_eq!(log.reader.gaps(0).unwrap(), stored);
}

#[test]
fn only_what_is_still_wanted_counts_as_dropped() {
    let folder = SimulatedFolder::new();
    let mut settings = small();
    settings.lanes[Lane::Normal].max_bytes = 300 << 10;
    let mut log = Log::open(&folder, settings);
    log.writer
        .release(PerLane([Offset(0), Offset(0), Offset(100)]));
    for _ in 0..300 {
        log.commit(&appends(10, 256)).unwrap();
        log.maintain();
    }
    assert_eq!(log.gaps[0].first, Offset(100));
    let dropped: u64 = log.gaps.iter().map(|gap| gap.count).sum();
    assert_eq!(log.read_all(Lane::Normal) + dropped, 2900);
}

#[test]
fn old_records_go_with_a_gap() {
    let folder = SimulatedFolder::new();
    let mut settings = small();
    settings.lanes[Lane::Normal].max_age = Some(Duration::from_secs(60));
    let mut log = Log::open(&folder, settings.clone());
    for _ in 0..50 {
        log.commit(&appends(10, 256)).unwrap();
        log.maintain();
    }
    assert!(log.gaps.is_empty());
    folder.power_cut(1);
    let mut log = Log::open(&folder, settings);
    let (from, to) = (WallTime(1_000_000), WallTime(1_010_000));
    log.wall.0 += 61_000;
    log.maintain();
    let gap = log.gaps.first().expect("the records are over their age");
    assert_eq!((gap.reason, gap.first), (Reason::Age, Offset(0)));
    assert!(from <= gap.from && gap.from <= gap.to && gap.to <= to);
}

/// A device that starts in 1970 and learns the time when the link comes back lost everything that
/// it had kept for that moment: all of it was over its age at once.
#[test]
fn a_clock_that_is_set_ahead_drops_nothing() {
    let folder = SimulatedFolder::new();
    let mut settings = small();
    settings.lanes[Lane::Normal].max_age = Some(Duration::from_secs(60));
    let mut log = Log::open(&folder, settings);
    for _ in 0..50 {
        log.commit(&appends(10, 256)).unwrap();
        log.maintain();
    }
    log.wall.0 += 1_700_000_000_000;
    log.maintain();
    assert_eq!(log.gaps, []);
    for _ in 0..61 {
        log.wall.0 += 1000;
        log.maintain();
    }
    assert_eq!(log.gaps[0].reason, Reason::Age, "their time goes on");
}

/// Without room for it the reserve was begun again after every commit: up to 1 MiB each time.
#[test]
fn a_reserve_that_has_no_room_is_not_tried_all_the_time() {
    let folder = SimulatedFolder::new();
    let full = SimulatedFolder::new();
    drop(Log::open(&folder, small()));
    full.set_capacity(Some(folder.used_bytes() - (100 << 10)));
    let mut log = Log::open(&full, small());
    assert!(
        !full
            .directory()
            .names()
            .unwrap()
            .contains(&"reserve".to_owned())
    );
    full.reset_counts();
    for _ in 0..20 {
        log.commit(&appends(1, 256)).unwrap();
        log.maintain();
    }
    let bytes = full.counts().bytes;
    assert!(bytes < 2 << 20, "{bytes} bytes written for 5 KB");
    full.set_capacity(None);
    log.wall.0 += 60_000;
    log.maintain();
    assert!(
        full.directory()
            .names()
            .unwrap()
            .contains(&"reserve".to_owned())
    );
}

#[test]
fn gaps_beyond_their_limit_are_merged_and_lose_no_count() {
    let folder = SimulatedFolder::new();
    let mut settings = small();
    settings.gap_count = 5;
    let mut log = Log::open(&folder, settings);
    let noted: u64 = (0..300)
        .map(|number| {
            let first = Offset(number * 10);
            log.writer.note_gap(Gap {
                lane: Lane::Normal,
                first,
                last: first,
                count: 1,
                bytes: 10,
                from: log.wall,
                to: log.wall,
                reason: Reason::Rejected,
                parts: Parts::default(),
            });
            log.commit(&appends(10, 256)).unwrap();
            log.wall.0 += 1000;
            log.maintain();
            1
        })
        .sum();
    let stored = log.reader.gaps(0).unwrap();
    assert_eq!(stored.len(), 5);
    assert_eq!(stored.last().unwrap().0, noted - 1, "the younger's number");
    let count: u64 = stored.iter().map(|(_, gap)| gap.count).sum();
    assert_eq!(count, noted);
    assert_eq!(stored[0].1.first, Offset(0));
}

#[test]
fn released_space_returns_without_a_gap() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    let empty = folder.used_bytes();
    for _ in 0..400 {
        log.commit(&appends(10, 256)).unwrap();
        log.maintain();
        let head = log.reader.head(Lane::Normal);
        log.writer.release(PerLane::from_fn(|_| head));
    }
    log.maintain();
    assert!(log.gaps.is_empty());
    let used = folder.used_bytes() - empty;
    assert!(used < 700 << 10, "{used} bytes for nothing");
}

#[test]
fn a_read_of_what_was_just_removed_waits_for_the_event() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    for _ in 0..100 {
        log.commit(&appends(10, 256)).unwrap();
        log.maintain();
    }
    log.writer.release(PerLane::from_fn(|_| Offset(900)));
    let events = log.writer.maintain(log.wall);
    let early = log.reader.read(Lane::Normal, Offset(0), budget(1));
    assert!(matches!(early, Err(LogError::Removed { .. })), "{early:?}");
    events.iter().for_each(|event| log.reader.apply(event));
    let chunk = log.reader.read(Lane::Normal, Offset(0), budget(1)).unwrap();
    assert_eq!(chunk.records[0].0, log.reader.first(Lane::Normal));
    assert!(chunk.damaged.is_none());
}

#[test]
fn key_over_its_limit_is_refused_and_harms_nothing() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, small());
    let change = Change::Delete {
        table: Table::Sessions,
        key: vec![0; 65_536],
    };
    let refused = log.commit(&Batch {
        changes: vec![change],
    });
    assert!(matches!(
        refused,
        Err(LogError::KeyTooLong { found: 65_536 })
    ));
    log.commit(&appends(1, 10)).unwrap();
}

/// A device without a clock begins in 1970, and learns the time when its link comes back.
#[test]
fn what_was_stored_before_a_clock_was_set_is_neither_too_old_nor_lives_for_ever() {
    const YEARS: u64 = 20 * 365 * 86_400_000;
    for (before, after) in [(5000, 5000 + YEARS), (YEARS, 5000), (YEARS, 2 * YEARS)] {
        let folder = SimulatedFolder::new();
        let mut settings = small();
        settings.lanes[Lane::Normal].max_age = Some(Duration::from_secs(3600));
        let mut log = Log::open(&folder, settings.clone());
        log.wall = WallTime(before);
        for _ in 0..500 {
            log.writer.note_time(TimeStamp {
                steady: log.wall,
                device: log.wall,
            });
            let record = record(256, log.wall);
            let lane = Lane::Normal;
            let changes = vec![Change::Append { lane, record }];
            log.commit(&Batch { changes }).unwrap();
            log.maintain();
        }
        let last = log.wall;
        folder.power_cut(1);

        let opened = open(folder.directory(), settings, WallTime(after)).unwrap();
        let time = opened.time.expect("both clocks were told");
        let steady = SteadyTime::resume(Some(time), WallTime(after));
        let start = steady.at(Instant::default());
        assert!(start.0.abs_diff(last.0) < 1000, "{start:?} {last:?}");
        let mut log = Log {
            writer: opened.writer,
            reader: opened.reader,
            wall: start,
            gaps: Vec::new(),
            failures: 0,
            recoveries: 0,
        };
        for second in 0..3000 {
            log.wall = steady.at(Instant::from_micros(second * 1_000_000));
            log.maintain();
        }
        assert_eq!(log.gaps, [], "{before} {after}");
        log.wall = steady.at(Instant::from_micros(3700 * 1_000_000));
        log.maintain();
        let dropped: u64 = log.gaps.iter().map(|gap| gap.count).sum();
        assert_eq!(dropped, 500, "{before} {after}");
    }
}

#[test]
fn what_is_written_is_counted_over_restarts_and_power_cuts() {
    let folder = SimulatedFolder::new();
    let (mut counted, mut open_seconds) = (0, 0);
    for life in 0..6_u64 {
        let mut log = Log::open(&folder, small());
        for _ in 0..300 {
            log.wall.0 += 100;
            log.commit(&appends(10, 256)).unwrap();
            log.maintain();
        }
        counted = log.writer.meter().wear().written_bytes;
        open_seconds = log.writer.meter().wear().open_seconds;
        if life % 2 == 0 {
            folder.power_cut(life);
        } else {
            log.writer.close().unwrap();
        }
    }
    let written = folder.counts().bytes;
    // Whole pages are counted, and the journal that a cut left is counted for what it held.
    assert!(counted >= written * 9 / 10, "{counted} of {written}");
    assert!(counted <= written * 13 / 10, "{counted} of {written}");
    assert!((170..=200).contains(&open_seconds), "{open_seconds}");
}

struct Log {
    writer: Writer,
    reader: Reader,
    wall: WallTime,
    gaps: Vec<Gap>,
    failures: u64,
    recoveries: u64,
}

impl Log {
    fn open(folder: &SimulatedFolder, settings: Settings) -> Self {
        let wall = WallTime(1_000_000);
        let Opened { writer, reader, .. } =
            open(folder.directory(), settings, wall).expect("the log works");
        Self {
            writer,
            reader,
            wall,
            gaps: Vec::new(),
            failures: 0,
            recoveries: 0,
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<Committed, LogError> {
        self.wall.0 += 10;
        let committed = self.writer.commit(batch, self.wall)?;
        self.reader.committed(batch, &committed);
        Ok(committed)
    }

    fn maintain(&mut self) {
        for event in self.writer.maintain(self.wall) {
            self.reader.apply(&event);
            match event {
                Event::Trimmed { gap, .. } => self.gaps.extend(gap),
                Event::Failed { .. } => self.failures += 1,
                Event::Recovered => self.recoveries += 1,
                _ => {}
            }
        }
    }

    /// Reads a lane from its first offset on, checks that it is dense, and counts.
    fn read_all(&mut self, lane: Lane) -> u64 {
        let first = self.reader.first(lane);
        let mut at = first;
        while at < self.reader.head(lane) {
            let chunk = self
                .reader
                .read(lane, at, budget(100))
                .expect("the log works");
            for (offset, _) in &chunk.records {
                assert_eq!(*offset, at);
                at = at.next();
            }
            assert_eq!((chunk.next, chunk.damaged), (at, None));
        }
        at.0 - first.0
    }
}

fn appends(count: usize, payload_bytes: usize) -> Batch {
    let record = record(payload_bytes, WallTime(1_000_100));
    let append = Change::Append {
        lane: Lane::Normal,
        record,
    };
    Batch {
        changes: vec![append; count],
    }
}

fn record(payload_bytes: usize, time: WallTime) -> Record {
    record_of("a/b", time, &vec![7; payload_bytes])
}

fn budget(records: usize) -> Budget {
    Budget {
        records,
        bytes: 1 << 20,
    }
}
