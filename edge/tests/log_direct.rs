//! Large groups of records go straight into segments: written once, as durable as any, and with
//! their offsets used up whatever happens between the segment and the frame that names it.

mod log_parts;

use edge::log::directory::Directory;
use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{Batch, Budget, Event, Gap, LogError, Opened, Reader, Reason, Settings, open};
use sync::{Change, Lane, Offset, Record, Table, WallTime};

use self::log_parts::{duplicate, record_of, segments, small};

#[test]
fn a_large_group_is_written_once() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, Settings::default());
    log.commit(&group(Lane::Normal, 0, GROUP)).unwrap();
    folder.reset_counts();
    let before = log.opened.writer.journal_used_bytes();
    for number in 1..=20 {
        let batch = group(Lane::Normal, number * GROUP, GROUP);
        log.commit(&batch).unwrap();
    }
    let payload = 20 * GROUP * 256;
    let written = folder.counts().bytes;
    assert!(written * 10 < payload * 15, "{written} for {payload}");
    let frames = log.opened.writer.journal_used_bytes() - before;
    assert_eq!(frames, 20 * 4096, "a page a group");
    log.check(21 * GROUP);
}

#[test]
fn what_a_group_has_little_of_is_in_its_frame_and_a_change_of_the_state_keeps_all_of_it_there() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, Settings::default());
    let mut mixed = group(Lane::Normal, 0, GROUP);
    mixed.changes.insert(7, append(Lane::Critical, 0));
    log.commit(&mixed).unwrap();
    assert_eq!(log.opened.writer.journal_used_bytes(), 4096);
    let mut with_state = group(Lane::Normal, GROUP, GROUP);
    with_state.changes.push(Change::Put {
        table: Table::Handshakes,
        key: b"k".to_vec(),
        value: b"v".to_vec(),
    });
    log.commit(&with_state).unwrap();
    assert!(log.opened.writer.journal_used_bytes() > GROUP * 256);
    log.check(2 * GROUP);
    folder.power_cut(1);
    let mut log = Log::open(&folder, Settings::default());
    log.check(2 * GROUP);
    assert_eq!(serials(&mut log.opened.reader, Lane::Critical), [0]);
}

#[test]
fn the_power_may_go_at_every_write_of_a_group() {
    let changes = {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, settings());
        log.commit(&group(Lane::Normal, 0, 40)).unwrap();
        folder.reset_counts();
        log.commit(&group(Lane::Normal, 40, 40)).unwrap();
        folder.counts().changes
    };
    let mut found = [0; 2];
    for (cut, luck) in (0..=changes).flat_map(|cut| (0..3).map(move |luck| (cut, luck))) {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, settings());
        log.commit(&group(Lane::Normal, 0, 40)).unwrap();
        folder.stop_after(cut);
        let is_stored = log.commit(&group(Lane::Normal, 40, 40)).is_ok();
        folder.power_cut(luck);
        let mut log = Log::open(&folder, settings());
        let head = log.head();
        assert!(head == 80 || head == 40 && !is_stored, "cut {cut}: {head}");
        found[usize::from(head == 80)] += 1;
        log.check(head);
        // No offset is used twice, in a later life either.
        log.commit(&group(Lane::Normal, head, 40)).unwrap();
        log.check(head + 40);
        folder.power_cut(luck);
        let mut log = Log::open(&folder, settings());
        log.check(head + 40);
        assert_eq!(log.opened.report.gaps, [], "cut {cut}");
    }
    assert!(found.iter().all(|count| *count > 0), "{found:?}");
}

/// A segment may be made and never be given a record, and the frame of the group that goes to the
/// journal instead may be torn. Its offsets are used up then, and the segment has lost nothing.
#[test]
fn a_segment_that_was_never_given_a_record_is_no_damage() {
    let empty = (1..).find_map(|cut| {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, settings());
        folder.stop_after(cut);
        let stored = log.commit(&group(Lane::Normal, 0, 40));
        folder.power_cut(0);
        stored.expect_err("there is a cut before the first record");
        Some(folder).filter(|folder| !segments(folder).is_empty())
    });
    let empty = empty.expect("its name comes before its first record");
    let mut torn = 0;
    for (cut, luck) in (0..8).flat_map(|cut| (0..4).map(move |luck| (cut, luck))) {
        let folder = duplicate(&empty);
        let mut log = Log::open(&folder, settings());
        folder.inject(fault("normal", Operation::Write));
        folder.stop_after(cut);
        let _ = log.commit(&group(Lane::Normal, 0, 40));
        folder.power_cut(luck);
        for life in 0..2 {
            let log = Log::open(&folder, settings());
            let report = &log.opened.report;
            torn += usize::from(life == 0) * report.gaps.len();
            let is_torn = |gap: &Gap| gap.reason == Reason::Torn;
            assert!(report.gaps.iter().all(is_torn), "{cut} {luck}: {report:?}");
            let damaged = &report.damaged_files;
            assert!(damaged.is_empty(), "{cut} {luck}, {life}: {damaged:?}");
        }
    }
    assert!(torn > 0);
}

/// The segments alone say what was stored, and nobody says up to where it was acknowledged: all of
/// it is read, once and in its order, the group of which nobody was told at its end among it, and what
/// comes next is far behind whatever the journal may have held.
#[test]
fn groups_in_segments_are_read_when_the_journal_is_lost() {
    let another = {
        let folder = SimulatedFolder::new();
        drop(open(folder.directory(), settings(), WallTime(5_000_000)));
        let file = folder.open("journal").unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    };
    let mut came_to_light = 0;
    for (cut, luck) in (0..30)
        .step_by(2)
        .flat_map(|cut| (0..3).map(move |luck| (cut, luck)))
    {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, settings());
        for number in 0..3 {
            log.commit(&group(Lane::Normal, number * 40, 40)).unwrap();
        }
        folder.stop_after(cut);
        let is_stored = log.commit(&group(Lane::Normal, 120, 40)).is_ok();
        drop(log);
        folder.power_cut(luck);
        folder.remove("journal").unwrap();
        if luck > 0 {
            let contents = [&[7; 1 << 16], another.as_slice()][luck as usize - 1];
            let file = folder.create("journal").unwrap();
            file.write_at(0, contents).unwrap();
            file.sync_data().unwrap();
        }
        folder.sync().unwrap();
        let mut log = Log::open(&folder, settings());
        assert!(log.opened.report.is_journal_lost);
        let found = serials(&mut log.opened.reader, Lane::Normal);
        let count = found.len() as u64;
        assert!(found.into_iter().eq(0..count), "cut {cut}");
        assert!(
            count == 160 || count == 120 && !is_stored,
            "cut {cut}: {count}"
        );
        came_to_light += u64::from(count == 160 && !is_stored);
        let gaps = log.opened.reader.gaps(0).unwrap();
        let mut gaps = gaps.iter().filter(|(_, gap)| gap.lane == Lane::Normal);
        let (_, gap) = gaps
            .next()
            .expect("what was in the journal alone is told of");
        assert_eq!((gap.first, gap.count), (Offset(count), 0));
        let head = log.head();
        assert_eq!(gap.last.next(), Offset(head));
        log.commit(&group(Lane::Normal, head, 40)).unwrap();
        assert_eq!(log.head(), head + 40);
    }
    assert!(came_to_light > 0);
}

#[test]
fn a_segment_that_fails_amid_a_group_is_made_up_for_by_the_journal() {
    for operation in [Operation::Write, Operation::Sync] {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, settings());
        log.commit(&group(Lane::Normal, 0, 40)).unwrap();
        folder.inject(fault("normal", operation));
        log.commit(&group(Lane::Normal, 40, 40)).unwrap();
        assert!(log.has_failed, "{operation:?}");
        // The next do not try again before its time.
        log.commit(&group(Lane::Normal, 80, 40)).unwrap();
        log.check(120);
        folder.power_cut(2);
        Log::open(&folder, settings()).check(120);
    }
}

#[test]
fn a_full_disk_gives_the_reserve_before_a_group_goes_through_the_journal() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, settings());
    log.commit(&group(Lane::Normal, 0, 40)).unwrap();
    folder.set_capacity(Some(folder.used_bytes()));
    for number in 1..20 {
        log.commit(&group(Lane::Normal, number * 40, 40)).unwrap();
    }
    assert!(!log.has_failed, "there is room in the place of the reserve");
    assert!(!folder.names().unwrap().contains(&"reserve".to_owned()));
    log.check(800);
}

/// Neither takes it: nobody is answered, and nobody else gets its offsets.
#[test]
fn a_group_that_was_refused_comes_to_light_before_the_next_is_answered() {
    let cases = [None, Some(Operation::Write), Some(Operation::Sync)];
    for of_segment in cases {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder, settings());
        log.commit(&group(Lane::Normal, 0, 40)).unwrap();
        if let Some(operation) = of_segment {
            folder.inject(fault("normal", operation));
        }
        folder.inject(fault("journal", Operation::Sync));
        let refused = log.commit(&group(Lane::Normal, 40, 40));
        assert!(refused.is_err(), "{of_segment:?}");
        let reached = if of_segment.is_none() { 80 } else { 40 };
        assert_eq!(log.head(), reached, "what is in segments is read");
        // Nothing is stored before what waits is.
        log.wall.0 += 2000;
        log.commit(&group(Lane::Normal, 80, 40)).unwrap();
        log.check(120);
        folder.power_cut(3);
        let mut log = Log::open(&folder, settings());
        log.check(120);
        assert_eq!(log.opened.report.gaps, []);
    }
}

/// The state is from before, and a start would have taken the segment's end for the lane's.
/// It was answered at once, with offsets that no reader had heard of yet.
#[test]
fn nothing_is_answered_before_a_group_that_was_refused_has_come_to_light() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, settings());
    log.commit(&group(Lane::Normal, 0, 40)).unwrap();
    folder.inject(fault("normal", Operation::Write));
    folder.inject(fault("journal", Operation::Sync));
    log.commit(&group(Lane::Normal, 40, 40)).unwrap_err();
    let nothing = Batch::default();
    assert!(matches!(log.commit(&nothing), Err(LogError::Full { .. })));
    log.wall.0 += 2000;
    log.commit(&nothing).unwrap();
    log.check(80);
}

#[test]
fn a_segment_whose_end_is_damaged_later_loses_nothing_uncounted() {
    let (mut missed, mut lost) = (0, 0);
    let pages = {
        let (folder, name) = killed_after_groups();
        folder.open(&name).unwrap().len().unwrap() / 4096
    };
    for page in (0..pages).step_by(3) {
        let (folder, name) = killed_after_groups();
        let file = folder.open(&name).unwrap();
        // The heads of pages and what is in them: redb goes back to the commit before, or stops.
        let at = page * 4096 + [0, 2, 9, 17, 64, 700, 3000][page as usize / 3 % 7];
        let mut byte = [0];
        file.read_at(at, &mut byte).unwrap();
        file.write_at(at, &[byte[0] ^ 0x41]).unwrap();
        file.sync_data().unwrap();
        let mut log = Log::open(&folder, settings());
        let (read, counted) = log.read_and_counted();
        assert_eq!(read + counted, 400, "page {page}: {read}, {counted}");
        assert!(counted <= 120, "page {page} took {counted} along");
        lost += u64::from(counted > 0);
        missed += u64::from(counted == 0);
    }
    assert!(missed > 0 && lost > 0, "{missed} harmless, {lost} not");
    // The file itself.
    let (folder, name) = killed_after_groups();
    folder.directory().remove(&name).unwrap();
    let mut log = Log::open(&folder, settings());
    assert_eq!(log.read_and_counted(), (0, 400));
    assert_eq!(log.opened.report.gaps[0].reason, Reason::Damage);
}

#[test]
fn groups_go_through_the_journal_while_the_files_are_lent_and_wait_for_nothing() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, settings());
    log.opened.writer.snapshot();
    let job = log.opened.writer.begin(log.wall).expect("it was asked for");
    let before = log.opened.writer.journal_used_bytes();
    log.commit(&group(Lane::Normal, 0, 40)).unwrap();
    assert!(log.opened.writer.journal_used_bytes() > before + 40 * 256);
    log.opened.writer.finish(job.run());
    log.follow();
    // The next takes along what waits since.
    log.commit(&group(Lane::Normal, 40, 40)).unwrap();
    assert_eq!(log.flushed, Offset(80));
    log.check(80);
}

#[test]
fn a_start_knows_what_an_open_segment_holds_and_what_was_written() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, settings());
    for number in 0..5 {
        log.commit(&group(Lane::Normal, number * 40, 40)).unwrap();
    }
    let bytes = log.opened.writer.lane_bytes();
    let written = log.opened.writer.meter().wear().written_bytes;
    assert!(bytes[Lane::Normal] > 5 * 40 * 256);
    drop(log);
    folder.power_cut(4);
    let log = Log::open(&folder, settings());
    assert_eq!(log.opened.writer.lane_bytes(), bytes);
    let known = log.opened.wear.written_bytes;
    assert!((written - 4096..=written).contains(&known), "{known}");
}

#[test]
fn limits_hold_although_nothing_is_ever_due_to_be_flushed() {
    let folder = SimulatedFolder::new();
    let mut settings = settings();
    settings.lanes[Lane::Normal].max_bytes = 512 << 10;
    let mut log = Log::open(&folder, settings);
    for number in 0..80 {
        log.commit(&group(Lane::Normal, number * 40, 40)).unwrap();
        for event in log.opened.writer.maintain(log.wall) {
            log.take(&event);
        }
        let bytes = log.opened.writer.lane_bytes()[Lane::Normal];
        assert!(bytes <= 512 << 10, "{bytes} after {number}");
    }
    assert!(log.opened.reader.first(Lane::Normal) > Offset(0));
}

#[test]
fn a_start_after_hundreds_of_groups_reads_no_records() {
    let folder = SimulatedFolder::new();
    let large = Settings {
        journal_bytes: 4 << 20,
        ..settings()
    };
    let mut log = Log::open(&folder, large.clone());
    for number in 0..500 {
        log.commit(&group(Lane::Normal, number * 10, 10)).unwrap();
    }
    let state = folder.open("state.redb").unwrap().len().unwrap();
    folder.power_cut(5);
    folder.reset_counts();
    let mut log = Log::open(&folder, large);
    assert_eq!(log.opened.report.replayed_frames, 500);
    let counts = folder.counts();
    assert!(counts.reads < 3 * 500, "{counts:?}");
    assert!(counts.bytes < 256 << 10, "{counts:?}, a state of {state}");
    log.check(5000);
}

/// A log, and what was heard of it.
struct Log {
    opened: Opened,
    wall: WallTime,
    has_failed: bool,
    flushed: Offset,
}

impl Log {
    fn open(folder: &SimulatedFolder, settings: Settings) -> Self {
        let opened = open(folder.directory(), settings, WALL).expect("the log works");
        let mut log = Self {
            opened,
            wall: WALL,
            has_failed: false,
            flushed: Offset(0),
        };
        for event in log.opened.writer.maintain(WALL) {
            log.take(&event);
        }
        log
    }

    /// As the driver does.
    fn commit(&mut self, batch: &Batch) -> Result<(), LogError> {
        let committed = self.opened.writer.commit(batch, self.wall);
        self.follow();
        if let Ok(committed) = &committed {
            self.opened.reader.committed(batch, committed);
        }
        self.follow();
        committed.map(drop)
    }

    fn follow(&mut self) {
        for event in self.opened.writer.events() {
            self.take(&event);
        }
    }

    fn take(&mut self, event: &Event) {
        self.opened.reader.apply(event);
        match event {
            Event::Failed { .. } => self.has_failed = true,
            Event::Flushed { up_to, .. } => self.flushed = *up_to,
            _ => {}
        }
    }

    fn head(&self) -> u64 {
        self.opened.reader.head(Lane::Normal).0
    }

    /// Every record is there, in its place.
    fn check(&mut self, count: u64) {
        let found = serials(&mut self.opened.reader, Lane::Normal);
        assert!(found.into_iter().eq(0..count), "not all of {count}");
        assert_eq!(self.head(), count);
    }

    /// How many records are read, and how many are in gaps when all was read.
    fn read_and_counted(&mut self) -> (u64, u64) {
        let (mut at, mut read) = (Offset(0), 0);
        while at < self.opened.reader.head(Lane::Normal) {
            let chunk = self.opened.reader.read(Lane::Normal, at, BUDGET);
            let chunk = chunk.expect("damage is no error");
            read += chunk.records.len() as u64;
            for (offset, record) in &chunk.records {
                assert_eq!(serial_of(record), offset.0);
            }
            if let Some(gap) = chunk.damaged {
                self.opened.writer.note_gap(gap);
            }
            at = chunk.next;
        }
        let stored = self.commit(&group(Lane::Critical, 0, 1));
        stored.expect("the log works");
        self.wall.0 += 5000;
        for event in self.opened.writer.maintain(self.wall) {
            self.take(&event);
        }
        let gaps = self.opened.reader.gaps(0).expect("the log works");
        let gaps = gaps.iter().filter(|(_, gap)| gap.lane == Lane::Normal);
        (read, gaps.map(|(_, gap)| gap.count).sum())
    }
}

/// A folder with ten groups in an open segment that the state knows nothing of, and its name.
fn killed_after_groups() -> (SimulatedFolder, String) {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder, settings());
    for number in 0..10 {
        let stored = log.commit(&group(Lane::Normal, number * 40, 40));
        stored.expect("the log works");
    }
    drop(log);
    folder.power_cut(6);
    let names = folder.names().expect("the log works");
    let mut names = names.into_iter().filter(|name| name.starts_with("normal"));
    (folder, names.next().expect("it is there"))
}

fn group(lane: Lane, first: u64, count: u64) -> Batch {
    Batch {
        changes: (first..first + count).map(|it| append(lane, it)).collect(),
    }
}

fn append(lane: Lane, serial: u64) -> Change {
    let mut payload = serial.to_le_bytes().to_vec();
    payload.resize(256, serial as u8);
    let record = record_of("a/b", WALL, &payload);
    Change::Append { lane, record }
}

fn serials(reader: &mut Reader, lane: Lane) -> Vec<u64> {
    let mut at = reader.first(lane);
    let mut found = Vec::new();
    while at < reader.head(lane) {
        let chunk = reader.read(lane, at, BUDGET).expect("the log works");
        assert!(chunk.next > at && chunk.damaged.is_none(), "{lane} {at}");
        found.extend(chunk.records.iter().map(|(_, record)| serial_of(record)));
        at = chunk.next;
    }
    found
}

fn serial_of(record: &Record) -> u64 {
    let bytes = record.payload()[..8].try_into();
    u64::from_le_bytes(bytes.expect("a serial has eight bytes"))
}

fn fault(name: &str, operation: Operation) -> Fault {
    Fault {
        operation,
        name: name.to_owned(),
        times: 1,
    }
}

fn settings() -> Settings {
    Settings {
        direct_bytes: 1 << 10,
        segment_bytes: 1 << 20,
        flush_bytes: 1 << 20,
        ..small()
    }
}

const WALL: WallTime = WallTime(1_700_000_000_000);
const BUDGET: Budget = Budget {
    records: 100,
    bytes: 1 << 20,
};
/// Messages of 256 bytes, as the goal for flash is stated.
const GROUP: u64 = 1000;
