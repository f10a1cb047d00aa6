//! Every state that a data folder can be in, and what becomes of it.
//!
//! A row of the table makes one of a killed gateway's folder, whose last records are in the journal
//! alone. What has to hold for all: the log opens; what is readable is what was stored; it and the
//! gaps are together what was acknowledged; the start after it finds nothing new. Folders that can
//! not be written are in `program/disk.rs`.

mod log_parts;

use std::collections::BTreeSet;

use edge::log::directory::Directory;
use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{Batch, Budget, Event, Gap, LogError, Opened, Reason, Report, Settings, open};
use sync::{Change, Epoch, Lane, Offset, Record, Table, WallTime};

use self::log_parts::{
    contents, flip_all, follow, make_foreign, record_of, replace, segments, small, store,
};

/// A state, and what a start makes of it.
struct State {
    name: &'static str,
    make: fn(&SimulatedFolder),
    /// Files under their new names.
    set_aside: &'static [&'static str],
    /// Segments that stay although damaged.
    damaged: usize,
    /// Records in gaps: at least and at most.
    missing: std::ops::RangeInclusive<u64>,
    /// Sessions that are lost: at most.
    lost_sessions: usize,
    reason: Option<Reason>,
    flags: Flags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    is_state_lost: bool,
    is_journal_lost: bool,
    is_journal_mended: bool,
    has_lost_frames: bool,
    has_lost_rows: bool,
    is_new_epoch: bool,
}

const FINE: Flags = Flags {
    is_state_lost: false,
    is_journal_lost: false,
    is_journal_mended: false,
    has_lost_frames: false,
    has_lost_rows: false,
    is_new_epoch: false,
};
const STATE_LOST: Flags = Flags {
    is_state_lost: true,
    is_new_epoch: true,
    ..FINE
};
const JOURNAL_LOST: Flags = Flags {
    is_journal_lost: true,
    ..FINE
};

const HARMLESS: State = State {
    name: "killed",
    make: |_| {},
    set_aside: &[],
    damaged: 0,
    missing: 0..=0,
    lost_sessions: 0,
    reason: None,
    flags: FINE,
};

const STATES: &[State] = &[
    HARMLESS,
    State {
        name: "closed",
        make: |folder| reopen(folder).writer.close().expect("the log works"),
        ..HARMLESS
    },
    State {
        name: "the journal's last frame is torn",
        make: |folder| folder.flip("journal", frames(folder).pop().expect("frames") + 4096),
        missing: 10..=10,
        lost_sessions: 1,
        reason: Some(Reason::Torn),
        ..HARMLESS
    },
    State {
        name: "the header of the last frame is damaged",
        make: |folder| folder.flip("journal", frames(folder).pop().expect("frames") + 45),
        // It has another one.
        ..HARMLESS
    },
    State {
        name: "neither the header of the last frame is whole nor its body",
        make: |folder| {
            let at = frames(folder).pop().expect("frames");
            folder.flip("journal", at + 45);
            folder.flip("journal", at + 145);
        },
        missing: 10..=10,
        lost_sessions: 1,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "the beginning of the last frame is overwritten",
        make: |folder| {
            let at = frames(folder).pop().expect("frames");
            let journal = folder.open("journal").expect("it is there");
            journal.write_at(at, &[0; 2048]).expect("the log works");
        },
        missing: 10..=10,
        lost_sessions: 1,
        reason: Some(Reason::Torn),
        ..HARMLESS
    },
    State {
        name: "what is known of a header beforehand is damaged",
        make: |folder| {
            for at in frames(folder) {
                for byte in [0, 5, 9, 17, 30] {
                    folder.flip("journal", at + byte);
                }
            }
        },
        ..HARMLESS
    },
    State {
        name: "a frame in the middle of the journal is damaged",
        make: |folder| folder.flip("journal", frames(folder)[frames(folder).len() - 2] + 60),
        missing: 10..=10,
        lost_sessions: 1,
        reason: Some(Reason::Damage),
        flags: Flags {
            has_lost_frames: true,
            ..FINE
        },
        ..HARMLESS
    },
    State {
        name: "the journal's header is damaged",
        make: |folder| folder.flip("journal", 9),
        flags: Flags {
            is_journal_mended: true,
            ..FINE
        },
        ..HARMLESS
    },
    State {
        name: "the end of the journal is cut off",
        make: |folder| {
            let end = frames(folder).pop().expect("frames") + 8192;
            resize(folder, "journal", end);
        },
        // The frame after the last would be behind the cut.
        missing: 0..=0,
        reason: Some(Reason::Damage),
        flags: Flags {
            is_journal_mended: true,
            ..FINE
        },
        ..HARMLESS
    },
    State {
        // The frame had a header, and the ones behind it were cut off without a word.
        name: "the journal is cut within a frame that is not the last",
        make: |folder| {
            let frames = frames(folder);
            resize(folder, "journal", frames[frames.len() - 2] + 4096);
        },
        missing: 20..=20,
        lost_sessions: 2,
        reason: Some(Reason::Damage),
        flags: Flags {
            is_journal_mended: true,
            ..FINE
        },
        ..HARMLESS
    },
    State {
        name: "the journal is cut in its first page",
        make: |folder| resize(folder, "journal", 100),
        set_aside: &["journal.damaged-1"],
        missing: 20..=60,
        lost_sessions: 6,
        reason: Some(Reason::Damage),
        flags: JOURNAL_LOST,
        ..HARMLESS
    },
    State {
        name: "the journal is missing",
        make: |folder| folder.remove("journal").expect("it is there"),
        missing: 20..=60,
        lost_sessions: 6,
        reason: Some(Reason::Damage),
        flags: JOURNAL_LOST,
        ..HARMLESS
    },
    State {
        name: "the journal is empty",
        make: |folder| resize(folder, "journal", 0),
        set_aside: &["journal.damaged-1"],
        missing: 20..=60,
        lost_sessions: 6,
        reason: Some(Reason::Damage),
        flags: JOURNAL_LOST,
        ..HARMLESS
    },
    State {
        name: "the journal is something else",
        make: |folder| make_foreign(folder, "journal"),
        set_aside: &["journal.damaged-1"],
        missing: 20..=60,
        lost_sessions: 6,
        reason: Some(Reason::Damage),
        flags: JOURNAL_LOST,
        ..HARMLESS
    },
    State {
        name: "the journal is of another epoch",
        make: |folder| {
            let other = SimulatedFolder::new();
            drop(open(other.directory(), settings(), WallTime(5000)));
            replace(folder, "journal", &contents(&other, "journal"));
        },
        set_aside: &["journal.damaged-1"],
        missing: 20..=60,
        lost_sessions: 6,
        reason: Some(Reason::Damage),
        flags: JOURNAL_LOST,
        ..HARMLESS
    },
    State {
        name: "the journal is an old copy of itself",
        make: |folder| {
            let old = contents(folder, "journal");
            fill(folder, 20);
            drop(reopen(folder).writer.close());
            replace(folder, "journal", &old);
        },
        set_aside: &["journal.damaged-1"],
        reason: Some(Reason::Damage),
        flags: JOURNAL_LOST,
        ..HARMLESS
    },
    State {
        name: "the state is missing",
        make: |folder| folder.remove("state.redb").expect("it is there"),
        lost_sessions: ALL_SESSIONS,
        flags: STATE_LOST,
        ..HARMLESS
    },
    State {
        name: "the state is empty",
        make: |folder| resize(folder, "state.redb", 0),
        set_aside: &["state.redb.damaged-1"],
        lost_sessions: ALL_SESSIONS,
        flags: STATE_LOST,
        ..HARMLESS
    },
    State {
        name: "the state is something else",
        make: |folder| make_foreign(folder, "state.redb"),
        set_aside: &["state.redb.damaged-1"],
        lost_sessions: ALL_SESSIONS,
        flags: STATE_LOST,
        ..HARMLESS
    },
    State {
        name: "the state is cut in half",
        make: |folder| {
            let bytes = contents(folder, "state.redb").len() as u64;
            resize(folder, "state.redb", bytes / 2);
        },
        set_aside: &["state.redb.damaged-1"],
        lost_sessions: ALL_SESSIONS,
        flags: STATE_LOST,
        ..HARMLESS
    },
    State {
        name: "a row of the state is damaged",
        make: |folder| {
            flip_all(folder, "state.redb", &session(10));
        },
        set_aside: &["state.redb.damaged-1"],
        lost_sessions: 2,
        flags: Flags {
            has_lost_rows: true,
            ..FINE
        },
        ..HARMLESS
    },
    State {
        name: "what the state says of the log is damaged, and its copy",
        make: |folder| {
            flip_all(folder, "state.redb", b"lactive_bytes");
        },
        set_aside: &["state.redb.damaged-1"],
        lost_sessions: 6,
        flags: Flags {
            has_lost_frames: true,
            has_lost_rows: true,
            ..FINE
        },
        ..HARMLESS
    },
    State {
        name: "a whole state waits for its name",
        make: |folder| {
            let renamed = folder.rename("state.redb", "state.redb.salvaged");
            renamed.expect("it is there");
        },
        ..HARMLESS
    },
    State {
        name: "a state was being made anew",
        make: |folder| {
            replace(folder, "state.redb.salvaged", b"half");
            replace(folder, "state.redb.salvaged.new", b"half");
            replace(folder, "journal.new", b"half");
            replace(folder, "normal-00000000000000000300.redb.new", b"half");
        },
        ..HARMLESS
    },
    State {
        name: "the first segment is missing",
        make: |folder| folder.remove(&segments(folder)[0]).expect("it is there"),
        missing: 20..=300,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "a segment in the middle is missing",
        make: |folder| folder.remove(&segments(folder)[1]).expect("it is there"),
        missing: 20..=300,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "the last segment is missing",
        make: |folder| {
            let last = segments(folder).pop().expect("segments");
            folder.remove(&last).expect("it is there");
        },
        missing: 20..=300,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "the first segment is something else",
        make: |folder| make_foreign(folder, &segments(folder)[0]),
        missing: 20..=300,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "the last segment is empty",
        make: |folder| resize(folder, &segments(folder).pop().expect("segments"), 0),
        set_aside: &["normal-00000000000000000414.redb.damaged-1"],
        missing: 20..=300,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "the head of the last segment is damaged",
        make: |folder| folder.flip(&segments(folder).pop().expect("segments"), 0),
        damaged: 1,
        ..HARMLESS
    },
    State {
        name: "all blocks of the last segment are damaged",
        make: |folder| {
            let name = segments(folder).pop().expect("segments");
            // Each block has more records than that.
            (415..490)
                .step_by(5)
                .for_each(|offset| damage_a_block(folder, &name, offset));
        },
        set_aside: &["normal-00000000000000000414.redb.damaged-1"],
        missing: 10..=130,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "a block of the first segment is damaged",
        make: |folder| damage_a_block(folder, &segments(folder)[0], 15),
        missing: 10..=130,
        reason: Some(Reason::Damage),
        ..HARMLESS
    },
    State {
        name: "damaged files of an earlier start",
        make: |folder| {
            replace(folder, "journal.damaged-1", b"old");
            make_foreign(folder, "journal");
        },
        set_aside: &["journal.damaged-2"],
        missing: 20..=60,
        lost_sessions: 6,
        reason: Some(Reason::Damage),
        flags: JOURNAL_LOST,
        ..HARMLESS
    },
    State {
        name: "files of somebody else",
        make: |folder| {
            for name in UNKNOWN {
                replace(folder, name, b"not ours");
            }
        },
        ..HARMLESS
    },
    State {
        name: "the last start did not get through",
        make: |folder| replace(folder, "starting", b""),
        ..HARMLESS
    },
];

#[test]
fn every_state_of_a_folder_opens_and_accounts_for_all_it_held() {
    let mut wrong = Vec::new();
    for state in STATES {
        let folder = SimulatedFolder::new();
        fill(&folder, BATCHES);
        (state.make)(&folder);
        let acknowledged = if state.name.contains("old copy") {
            (BATCHES + 20) * 10
        } else {
            BATCHES * 10
        };
        if let Err(what) = check(state, &folder, acknowledged) {
            wrong.push(format!("{}: {what}", state.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check(state: &State, folder: &SimulatedFolder, acknowledged: u64) -> Result<(), String> {
    let mut log = reopen(folder);
    let report = log.report.clone();
    let found = Flags {
        is_state_lost: report.is_state_lost,
        is_journal_lost: report.is_journal_lost,
        is_journal_mended: report.is_journal_mended,
        has_lost_frames: report.lost_frames > 0,
        has_lost_rows: report.lost_rows > 0,
        is_new_epoch: log.epoch != Epoch(1_700_000_000),
    };
    expect("flags", found, state.flags)?;
    expect(
        "set aside",
        report.damaged_files.as_slice(),
        state.set_aside,
    )?;
    expect("damaged", report.damaged_segments.len(), state.damaged)?;
    // A start that finds damage has done with it, also when nothing is stored before the next.
    drop(log);
    log = reopen(folder);
    let nothing = Report {
        damaged_segments: log.report.damaged_segments.clone(),
        replayed_frames: log.report.replayed_frames,
        ..Report::default()
    };
    expect("a start after it", &log.report, &nothing)?;
    let sessions = sessions(&log).len();
    if sessions + state.lost_sessions < SESSIONS.min(sessions + state.lost_sessions + 1) {
        return Err(format!("{sessions} sessions are left"));
    }
    let (read, missing) = account(&mut log, acknowledged)?;
    if read + missing != acknowledged || !state.missing.contains(&missing) {
        return Err(format!("{read} read, {missing} missing: {report:?}"));
    }
    let gaps = gaps(&log);
    let is_lost = |gap: &Gap| gap.reason == Reason::Forgotten;
    let is_frame_lost = state.name.contains("a frame in the middle");
    expect("lost gaps", gaps.iter().any(is_lost), is_frame_lost)?;
    let mut others = gaps.iter().filter(|gap| !is_lost(gap));
    if let Some(gap) = others.find(|gap| Some(gap.reason) != state.reason) {
        return Err(format!("{gap:?}"));
    }
    for name in UNKNOWN {
        let is_there = folder
            .names()
            .expect("the log works")
            .contains(&(*name).into());
        expect(name, is_there, state.name.contains("somebody"))?;
    }
    drop(log);
    let mut log = reopen(folder);
    let nothing = Report {
        damaged_segments: log.report.damaged_segments.clone(),
        replayed_frames: log.report.replayed_frames,
        ..Report::default()
    };
    expect("the next start", log.report.clone(), nothing)?;
    expect("then", account(&mut log, acknowledged)?, (read, missing))?;
    expect("gaps", self::gaps(&log), gaps)
}

/// Reads everything; gives how many of the acknowledged are there and how many are in gaps.
fn account(log: &mut Opened, acknowledged: u64) -> Result<(u64, u64), String> {
    let (mut at, mut read) = (Offset(0), BTreeSet::new());
    while at < log.reader.head(Lane::Normal) {
        let budget = Budget {
            records: 50,
            bytes: 1 << 20,
        };
        let chunk = log.reader.read(Lane::Normal, at, budget);
        let chunk = chunk.map_err(|error| error.to_string())?;
        for (offset, found) in chunk.records {
            expect("record", &found, &record(offset.0))?;
            read.insert(offset.0);
        }
        if let Some(gap) = chunk.damaged {
            log.writer.note_gap(gap);
        }
        at = chunk.next;
    }
    // As the gateway does every second.
    let put = Change::Put {
        table: Table::Cursors,
        key: b"reader".to_vec(),
        value: vec![1],
    };
    let batch = Batch { changes: vec![put] };
    let committed = log.writer.commit(&batch, WALL);
    let committed = committed.map_err(|error| error.to_string())?;
    log.reader.committed(&batch, &committed);
    let events = log.writer.maintain(WallTime(WALL.0 + 2000));
    events.iter().for_each(|event| log.reader.apply(event));
    log.writer.maintain(WallTime(WALL.0 + 4000));
    let gaps = gaps(log);
    let covers = |offset: u64| {
        let mut covering = gaps.iter();
        covering.any(|gap| gap.first.0 <= offset && offset <= gap.last.0)
    };
    if let Some(offset) = (0..acknowledged).find(|it| !read.contains(it) && !covers(*it)) {
        return Err(format!("{offset} is missing without a word"));
    }
    let counted: u64 = gaps.iter().map(|gap| gap.count).sum();
    let missing = acknowledged - read.len() as u64;
    let is_unknown = gaps.iter().any(|gap| gap.count == 0);
    if counted != missing && !is_unknown {
        return Err(format!("{missing} are missing, {counted} are counted"));
    }
    Ok((read.len() as u64, missing))
}

#[test]
fn a_folder_of_another_version_is_refused_and_left_as_it_is() {
    let folder = SimulatedFolder::new();
    fill(&folder, 3);
    let mut header = contents(&folder, "journal")[..36].to_vec();
    header[4] = 1;
    let crc = crc32c::crc32c(&header[..32]);
    header[32..].copy_from_slice(&crc.to_le_bytes());
    let journal = folder.open("journal").expect("it is there");
    journal.write_at(0, &header).expect("the log works");
    let refused = open(folder.directory(), settings(), WALL);
    match refused.map(|opened| opened.report) {
        Err(LogError::Format { found: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(contents(&folder, "journal")[..36], header);
}

/// The folder was asked for twice, and when it came back in between, a snapshot that nobody made was
/// said to be there.
#[test]
fn a_snapshot_that_could_not_begin_is_never_said_to_be_there() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    log.writer.snapshot();
    folder.inject(Fault {
        operation: Operation::Identify,
        name: "journal".to_owned(),
        times: 1,
    });
    let events = log.writer.maintain(WALL);
    let is_said = |event: &Event| matches!(event, Event::Snapshot { result: Err(_) });
    assert!(events.iter().any(is_said), "{events:?}");
    assert!(folder.backup().expect("it can be read").is_none());
}

#[test]
fn a_folder_that_is_replaced_while_it_is_open_takes_nothing_until_it_is_back() {
    let folder = SimulatedFolder::new();
    fill(&folder, 3);
    let mut log = reopen(&folder);
    folder.rename("journal", "elsewhere").expect("it is there");
    let refused = log.writer.commit(&batch(30), WALL);
    assert!(
        matches!(refused, Err(LogError::Displaced { .. })),
        "{refused:?}"
    );
    replace(&folder, "journal", b"another");
    assert!(log.writer.commit(&batch(30), WALL).is_err());
    let events = log.writer.maintain(WALL);
    assert!(
        events
            .iter()
            .any(|event| format!("{event:?}").contains("Displaced"))
    );
    folder.rename("elsewhere", "journal").expect("it is there");
    log.writer.commit(&batch(30), WALL).expect("it is back");
    let events = log.writer.maintain(WallTime(WALL.0 + 1000));
    assert!(
        events
            .iter()
            .any(|event| format!("{event:?}") == "Recovered")
    );
    drop(log);
    let (read, missing) = account(&mut reopen(&folder), 40).expect("all is there");
    assert_eq!((read, missing), (40, 0));
}

/// A batch of ten records from offset `first` on, and a session.
fn batch(first: u64) -> Batch {
    let append = |offset| Change::Append {
        lane: Lane::Normal,
        record: record(offset),
    };
    let mut changes: Vec<Change> = (first..first + 10).map(append).collect();
    changes.push(Change::Put {
        table: Table::Sessions,
        key: first.to_be_bytes().to_vec(),
        value: session(first),
    });
    Batch { changes }
}

fn session(first: u64) -> Vec<u8> {
    first.to_be_bytes().repeat(3)
}

fn record(offset: u64) -> Record {
    let mut payload = offset.to_le_bytes().to_vec();
    payload.resize(500, offset as u8);
    record_of("a/b", WALL, &payload)
}

/// Commits batches and dies.
fn fill(folder: &SimulatedFolder, count: u64) {
    let mut log = reopen(folder);
    for _ in 0..count {
        let batch = batch(log.reader.head(Lane::Normal).0);
        store(&mut log.writer, &mut log.reader, &batch, WALL);
    }
}

fn reopen(folder: &SimulatedFolder) -> Opened {
    let mut log = open(folder.directory(), settings(), WALL).expect("the log opens");
    follow(&mut log.writer, &mut log.reader, WALL);
    log
}

fn sessions(log: &Opened) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let read = log
        .reader
        .read_state(Table::Sessions, |key, _| keys.push(key.to_vec()));
    read.expect("the log works");
    keys
}

fn gaps(log: &Opened) -> Vec<Gap> {
    let gaps = log.reader.gaps(0).expect("the log works");
    let normal = gaps.into_iter().map(|(_, gap)| gap);
    normal.filter(|gap| gap.lane == Lane::Normal).collect()
}

/// Where the frames are that are not in redb.
fn frames(folder: &SimulatedFolder) -> Vec<u64> {
    let journal = contents(folder, "journal");
    let mut found: Vec<(u64, u64)> = Vec::new();
    for (number, page) in journal.chunks(4096).enumerate() {
        if page.starts_with(b"RMQF") {
            let sequence = u64::from_le_bytes(page[24..32].try_into().expect("eight bytes"));
            found.push((sequence, number as u64 * 4096));
        }
    }
    found.sort_unstable();
    let youngest = found.len() - 3;
    found[youngest..].iter().map(|(_, at)| *at).collect()
}

/// Damages the block of a record, in all copies that redb has left behind.
fn damage_a_block(folder: &SimulatedFolder, name: &str, offset: u64) {
    flip_all(folder, name, &record(offset).payload()[..100]);
}

fn resize(folder: &SimulatedFolder, name: &str, bytes: u64) {
    let file = folder.open(name).expect("it is there");
    file.set_len(bytes).expect("the log works");
}

fn expect<T: std::fmt::Debug + PartialEq<U>, U: std::fmt::Debug>(
    what: &str,
    found: T,
    expected: U,
) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?} and not {expected:?}"))
}

fn settings() -> Settings {
    Settings {
        segment_bytes: 96 << 10,
        ..small()
    }
}

const WALL: WallTime = WallTime(1_700_000_000_000);
/// The last of them are in the journal alone.
const BATCHES: u64 = 54;
const SESSIONS: usize = BATCHES as usize;
const ALL_SESSIONS: usize = 100;
const UNKNOWN: &[&str] = &[
    "notes",
    "notes.new",
    "lost+found.txt",
    "normal-1.redb",
    "backup.redb",
];
