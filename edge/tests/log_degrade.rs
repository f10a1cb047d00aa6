//! A disk that is full, or takes nothing more: the lower lanes stop first, alarms last, draining
//! goes on, and everything goes on by itself.

mod log_parts;

use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{Batch, Budget, Event, Intake, LogError, Opened, Reader, Settings, Writer, open};
use sync::{Change, Lane, Offset, PerLane, Table, WallTime};

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

struct Log {
    writer: Writer,
    reader: Reader,
    wall: WallTime,
    intake: PerLane<Intake>,
    floors: PerLane<Offset>,
    failures: u64,
}

impl Log {
    fn open(folder: &SimulatedFolder) -> Self {
        let wall = WallTime(1_000_000);
        let Opened { writer, reader, .. } =
            open(folder.directory(), settings(), wall).expect("the log works");
        Self {
            writer,
            reader,
            wall,
            intake: PerLane::from_fn(|_| Intake::Open),
            floors: PerLane::default(),
            failures: 0,
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
                Event::Failed { .. } => self.failures += 1,
                _ => {}
            }
        }
    }

    /// Reads a lane, which must be dense, and counts.
    fn read_all(&mut self, lane: Lane) -> u64 {
        let first = self.reader.first(lane);
        let mut at = first;
        while at < self.reader.head(lane) {
            let budget = Budget {
                records: 500,
                bytes: 1 << 20,
            };
            let chunk = self.reader.read(lane, at, budget).expect("the log is read");
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
        segment_bytes: 256 << 10,
        ..small()
    }
}
