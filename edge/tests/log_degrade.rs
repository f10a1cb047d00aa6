//! A disk that is full, or takes nothing more: the lower lanes stop first, alarms last, draining
//! goes on, and everything goes on by itself.

mod log_parts;

use edge::log::directory::Directory as _;
use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{Batch, Budget, Event, Intake, LogError, Opened, Reader, Settings, Writer, open};
use sync::{Change, Epoch, Lane, Offset, PerLane, Table, WallTime};

use self::log_parts::{record_of, small};

#[test]
fn a_full_disk_stops_telemetry_first_and_alarms_last_and_ends_by_itself() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder);
    folder.set_capacity(Some(folder.used_bytes() + (2 << 20)));
    let mut stopped_at = PerLane::from_fn(|_| None);
    let mut stored = PerLane::<u64>::default();
    for turn in 0..60_000_u64 {
        for lane in Lane::ALL {
            match log.intake[lane] {
                Intake::Stopped => {
                    stopped_at[lane].get_or_insert(turn);
                }
                Intake::Open | Intake::Full => {
                    log.append(lane, 256).expect("what is taken is stored");
                    stored[lane] += 1;
                }
            }
        }
        log.maintain(10);
        if log.intake[Lane::Critical] == Intake::Stopped {
            break;
        }
    }
    let at = |lane: Lane| stopped_at[lane].unwrap_or(u64::MAX);
    assert!(at(Lane::Normal) < at(Lane::Urgent), "{stopped_at:?}");
    assert!(at(Lane::Urgent) < u64::MAX, "{stopped_at:?}");
    // Alarms went on for long after the others: from the reserve, and then in the journal.
    assert!(
        stored[Lane::Critical] > stored[Lane::Normal] + 500,
        "{stored:?}"
    );
    assert_eq!(log.intake, PerLane::from_fn(|_| Intake::Stopped));

    // Cursors are still stored, and everything is still read.
    for _ in 0..5 {
        log.put().expect("there is room for cursors");
        log.maintain(1000);
    }
    for lane in Lane::ALL {
        assert_eq!(log.read_all(lane), stored[lane], "{lane}");
    }

    // The backlog is delivered: space returns, and so does the service.
    for lane in Lane::ALL {
        log.floors[lane] = log.reader.head(lane);
    }
    log.writer.release(log.floors);
    let mut seconds = 0;
    while log.intake != PerLane::from_fn(|_| Intake::Open) {
        log.maintain(1000);
        seconds += 1;
        assert!(seconds < 10, "{:?}", log.intake);
    }
    for lane in Lane::ALL {
        log.append(lane, 256).expect("there is room");
    }
    assert!(log.reader.gaps(0).expect("the log works").is_empty());
}

#[test]
fn a_file_system_that_is_read_only_refuses_is_read_and_goes_on_when_it_is_not() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder);
    for _ in 0..200 {
        log.append(Lane::Normal, 1000).expect("the log works");
        log.maintain(10);
    }
    folder.set_read_only(true);
    for _ in 0..50 {
        assert!(log.append(Lane::Critical, 10).is_err());
        log.maintain(1000);
        assert_eq!(log.read_all(Lane::Normal), 200);
    }
    assert!(log.failures > 0);
    folder.set_read_only(false);
    log.maintain(1000);
    log.append(Lane::Critical, 10)
        .expect("it is writable again");
    assert_eq!(log.read_all(Lane::Critical), 1, "no offset was used up");
    folder.power_cut(1);
    let mut log = Log::open(&folder);
    assert_eq!(
        (log.read_all(Lane::Normal), log.read_all(Lane::Critical)),
        (200, 1)
    );
}

/// A folder on a read-only file system is served in no other way than by its tools.
#[test]
fn a_start_on_a_read_only_file_system_says_so_and_changes_nothing() {
    let folder = SimulatedFolder::new();
    drop(Log::open(&folder));
    folder.set_read_only(true);
    let refused = open(folder.directory(), settings(), WallTime(1));
    let text = refused.expect_err("nothing can be stored").to_string();
    assert!(
        text.contains("read-only") || text.contains("read only"),
        "{text}"
    );
    folder.set_read_only(false);
    drop(Log::open(&folder));
}

#[test]
fn errors_of_the_medium_anywhere_lose_nothing_and_end_by_themselves() {
    for operation in [Operation::Write, Operation::Sync] {
        for name in ["journal", "normal", "critical", "state"] {
            let folder = SimulatedFolder::new();
            let mut log = Log::open(&folder);
            let mut stored = PerLane::<u64>::default();
            for turn in 0..400 {
                if turn == 100 {
                    let times = 7;
                    let name = name.to_owned();
                    folder.inject(Fault {
                        operation,
                        name,
                        times,
                    });
                }
                for lane in [Lane::Critical, Lane::Normal] {
                    stored[lane] += u64::from(log.append(lane, 500).is_ok());
                }
                log.maintain(1000);
            }
            assert_eq!(
                log.intake,
                PerLane::from_fn(|_| Intake::Open),
                "{operation:?} {name}"
            );
            folder.power_cut(3);
            let mut log = Log::open(&folder);
            for lane in Lane::ALL {
                assert_eq!(
                    log.read_all(lane),
                    stored[lane],
                    "{operation:?} {name} {lane}"
                );
            }
        }
    }
}

/// A medium that is bad where one of the files is, for good: a start goes on without that file, and
/// says so. What was in it and nowhere else is missing, and counted.
#[test]
fn a_start_goes_on_without_a_file_that_can_not_be_read() {
    for name in FILES {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder);
        for _ in 0..100 {
            log.append(Lane::Normal, 500).expect("the log works");
            log.append(Lane::Critical, 500).expect("the log works");
            log.put_mail().expect("the log works");
            log.maintain(10);
        }
        log.put().expect("the log works");
        drop(log);
        folder.open(name).expect("it is there");
        folder.spoil(name);
        let opened = open(folder.directory(), settings(), WallTime(1_000_000));
        let opened = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_clean = opened.report.is_clean();
        assert_eq!(is_clean, name == "reserve", "{name}: {:?}", opened.report);
        drop(opened);
        // From here on it works without, and finds nothing new.
        let mut log = Log::open(&folder);
        let before = PerLane::from_fn(|lane| log.reader.head(lane));
        log.append(Lane::Normal, 500).expect("the log works");
        log.append(Lane::Critical, 500).expect("the log works");
        log.put_mail().expect("the log works");
        log.maintain(1000);
        log.maintain(1000);
        assert_eq!(log.intake, PerLane::from_fn(|_| Intake::Open), "{name}");
        for lane in [Lane::Normal, Lane::Critical] {
            assert_eq!(log.reader.head(lane).0, before[lane].0 + 1, "{name}");
            let (read, counted) = log.account(lane);
            assert!(read + counted >= 101, "{name} {lane}: {read} and {counted}");
        }
    }
}

/// The same in mid-run: what is only written is not missed, and what has to be read is made anew with
/// what can be had of it.
#[test]
fn a_file_that_can_not_be_read_any_more_stops_nothing_for_long() {
    for name in FILES {
        let folder = SimulatedFolder::new();
        let mut log = Log::open(&folder);
        let mut stored = 0;
        for turn in 0..200 {
            if turn == 50 {
                folder.open(name).expect("it is there");
                folder.spoil(name);
                // What was kept of it in memory is gone, as after any failure.
                folder.inject(Fault {
                    operation: Operation::Sync,
                    name: name.to_owned(),
                    times: 1,
                });
            }
            stored += u64::from(log.append(Lane::Normal, 2000).is_ok());
            let put = log.put().and_then(|()| log.put_mail());
            assert!(turn < 60 || put.is_ok(), "{name}: {put:?}");
            log.maintain(1000);
            if log.needs_start {
                assert_eq!(name, "state.redb");
                let epoch = log.epoch;
                drop(log);
                log = Log::open(&folder);
                assert!(log.epoch > epoch);
            }
        }
        assert!(stored > 195, "{name}: {stored}");
        assert_eq!(log.intake, PerLane::from_fn(|_| Intake::Open), "{name}");
        assert!(!log.is_failing, "{name}");
        if name == SEGMENT {
            // Not one page of it: that is no damage yet, and may be over when the disk is.
            continue;
        }
        let (read, counted) = log.account(Lane::Normal);
        assert!(read >= stored, "{name}: {read} of {stored}");
        assert_eq!(counted, 0, "{name}");
    }
}

/// A disk that fails as a whole for some seconds, as one does that lost its contact, comes back with
/// everything: nothing that could not be read meanwhile is given up.
#[test]
fn a_disk_that_is_gone_for_a_while_costs_no_mail_and_no_row() {
    let folder = SimulatedFolder::new();
    let mut log = Log::open(&folder);
    for _ in 0..50 {
        log.append(Lane::Normal, 500).expect("the log works");
        log.put().expect("the log works");
        log.put_mail().expect("the log works");
        log.maintain(10);
    }
    folder.set_read_only(true);
    for operation in [Operation::Read, Operation::Write, Operation::Sync] {
        folder.inject(Fault {
            operation,
            name: String::new(),
            times: 300,
        });
    }
    for _ in 0..20 {
        assert!(log.append(Lane::Normal, 500).is_err());
        log.maintain(1000);
    }
    folder.set_read_only(false);
    for _ in 0..1000 {
        log.maintain(1000);
    }
    assert!(!log.is_failing && !log.needs_start);
    log.append(Lane::Normal, 500).expect("it is back");
    assert_eq!(log.read_all(Lane::Normal), 51);
    let row = log.reader.find(Table::Mail, &[1]).expect("the log is read");
    assert_eq!(row, Some(vec![2; 500]));
    drop(log);
    folder.power_cut(3);
    let opened = open(folder.directory(), settings(), WallTime(1_000_000));
    let mut opened = opened.expect("the log works");
    assert!(opened.report.is_clean(), "{:?}", opened.report);
    let row = opened
        .reader
        .find(Table::Mail, &[1])
        .expect("the log is read");
    assert_eq!(row, Some(vec![2; 500]));
    let names = folder.names().expect("the log works");
    assert!(
        names.iter().all(|name| !name.contains("damaged")),
        "{names:?}"
    );
}

struct Log {
    writer: Writer,
    reader: Reader,
    wall: WallTime,
    intake: PerLane<Intake>,
    floors: PerLane<Offset>,
    failures: u64,
    is_failing: bool,
    needs_start: bool,
    epoch: Epoch,
}

impl Log {
    fn open(folder: &SimulatedFolder) -> Self {
        let wall = WallTime(1_000_000);
        let opened = open(folder.directory(), settings(), wall).expect("the log works");
        let Opened {
            writer,
            reader,
            epoch,
            ..
        } = opened;
        Self {
            writer,
            reader,
            wall,
            intake: PerLane::from_fn(|_| Intake::Open),
            floors: PerLane::default(),
            failures: 0,
            is_failing: false,
            needs_start: false,
            epoch,
        }
    }

    fn append(&mut self, lane: Lane, bytes: usize) -> Result<(), LogError> {
        let record = record_of("a/b", self.wall, &vec![7; bytes]);
        self.commit(Change::Append { lane, record })
    }

    fn put(&mut self) -> Result<(), LogError> {
        self.commit(Change::Put {
            table: Table::Cursors,
            key: vec![1],
            value: vec![2; 500],
        })
    }

    fn put_mail(&mut self) -> Result<(), LogError> {
        self.commit(Change::Put {
            table: Table::Mail,
            key: vec![1],
            value: vec![2; 500],
        })
    }

    fn commit(&mut self, change: Change) -> Result<(), LogError> {
        let batch = Batch {
            changes: vec![change],
        };
        let committed = self.writer.commit(&batch, self.wall)?;
        self.reader.committed(&batch, &committed);
        Ok(())
    }

    fn maintain(&mut self, milliseconds: u64) {
        self.wall.0 += milliseconds;
        for event in self.writer.maintain(self.wall) {
            self.reader.apply(&event);
            match event {
                Event::Intake { intake } => self.intake = intake,
                Event::Failed { error } => {
                    self.needs_start |= matches!(error, LogError::Unusable { .. });
                    self.failures += 1;
                    self.is_failing = true;
                }
                Event::Recovered => self.is_failing = false,
                _ => {}
            }
        }
    }

    /// What can be read of a lane, and how many others there were, of which all are in gaps: more
    /// offsets than records where nobody can tell how many there were.
    fn account(&mut self, lane: Lane) -> (u64, u64) {
        let gaps = self.reader.gaps(0).expect("the log is read");
        let has = |at| gaps.iter().any(|(_, gap)| gap.lane == lane && gap.has(at));
        let (mut at, mut read) = (Offset(0), 0);
        while at < self.reader.head(lane) {
            let chunk = self.reader.read(lane, at, BUDGET).expect("the log is read");
            let found: Vec<u64> = chunk.records.iter().map(|(at, _)| at.0).collect();
            for missing in (at.0..chunk.next.0).filter(|it| !found.contains(it)) {
                let is_told = chunk
                    .damaged
                    .as_ref()
                    .is_some_and(|it| it.has(Offset(missing)));
                assert!(
                    is_told || has(Offset(missing)),
                    "{lane} {missing}: {gaps:?}"
                );
            }
            read += found.len() as u64;
            at = chunk.next;
        }
        (read, at.0 - read)
    }

    /// Reads a lane, which must be dense, and counts.
    fn read_all(&mut self, lane: Lane) -> u64 {
        let first = self.reader.first(lane);
        let mut at = first;
        while at < self.reader.head(lane) {
            let chunk = self.reader.read(lane, at, BUDGET).expect("the log is read");
            assert_eq!((chunk.records[0].0, chunk.damaged), (at, None));
            at = chunk.next;
        }
        at.0 - first.0
    }
}

fn settings() -> Settings {
    Settings {
        journal_bytes: 1 << 20,
        flush_bytes: 64 << 10,
        direct_bytes: 4 << 10,
        has_mail: true,
        segment_bytes: 256 << 10,
        ..small()
    }
}

const SEGMENT: &str = "normal-00000000000000000000.redb";
/// One of each kind.
const FILES: [&str; 6] = [
    "journal",
    "state.redb",
    "mail.redb",
    SEGMENT,
    "gaps",
    "reserve",
];
const BUDGET: Budget = Budget {
    records: 500,
    bytes: 1 << 20,
};
