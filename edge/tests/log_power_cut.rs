//! The log against a model, with the power cut anywhere: in a commit, a flush, a trim, a recovery.
//!
//! After every cut the log is opened again and must hold what the model holds: every acknowledged
//! record at its offset, or below what was released or written down as a gap; every table as the
//! last acknowledged batch left it; and of a batch that was not acknowledged all, or nothing, or
//! nothing but a gap that says that it was torn; or where it was nothing but records the first of
//! each lane.
//!
//! A copy for a backup is made now and then, in mid-load, and survives the next cut whole: it opens
//! and holds what the model held when its job began, neither less nor more.
//!
//! Every other world keeps the latest of each topic where a lane is at its limit: what is missing
//! between records is then in a gap, and the latest of a topic is never missing.
//!
//! Half of the jobs run while commits go on, before them, after them, and between any two of their
//! writes and syncs.
//!
//! Some hundred cuts by default. The long run:
//! `POWER_CUTS=10000 cargo test --release -p robustmq-edge --test log_power_cut`, with another
//! seed in `POWER_SEED`.

mod log_parts;
#[path = "log_jobs/turns.rs"]
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use edge::log::directory::Directory;
use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{
    Batch, Budget, Event, Gap, Job, LaneLimits, LogError, Opened, Parts, Reader, Reason, Settings,
    Writer, announced, open,
};
use sync::{Change, Lane, Offset, PerLane, Record, Table, WallTime};

use self::log_parts::{Dice, record_of, variable};

use self::turns::in_turns;

#[test]
fn everything_acknowledged_survives_power_cuts() {
    let cuts = variable("POWER_CUTS").unwrap_or(250);
    let seed = variable("POWER_SEED").unwrap_or(1);
    println!("seed {seed}, {cuts} cuts");
    let mut seen = Seen::default();
    let mut number = 0;
    while seen.cuts < cuts {
        number += 1;
        let seed = seed * 1_000_003 + number;
        let mut world = World::new(seed, false);
        world.seen = seen;
        for life in 0..LIVES_A_WORLD {
            if let Err(wrong) = world.live_and_cut() {
                panic!("seed {seed}, life {life}: {wrong}");
            }
        }
        seen = world.seen;
    }
    println!("{seen:?}");
    assert!(seen.everything(), "a path was never taken: {seen:?}");
}

/// Rows of tables, by table and key.
type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// How often each path was taken, so that the test can't quietly stop testing.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    cuts: u64,
    cut_openings: u64,
    tight_openings: u64,
    commits: u64,
    refusals: u64,
    returned: u64,
    torn: u64,
    replayed_frames: u64,
    flushes: u64,
    seals: u64,
    trims: u64,
    thinned: u64,
    gaps: u64,
    failures: u64,
    recoveries: u64,
    announced: u64,
    mail_flushes: u64,
    mail_reads: u64,
    /// Commits while a job was under way, and failures of such jobs.
    amid: u64,
    failures_amid: u64,
    /// Commits with records that went straight into segments; batches that were refused and came
    /// to light, wholly or in part; and groups for which the journal had to stand in.
    direct: u64,
    come_to_light: u64,
    in_part: u64,
    fallbacks: u64,
    /// Copies for a backup that were there after a cut, of these those that were cut themselves, and
    /// jobs that went on with one.
    copies: u64,
    copies_cut: u64,
    copies_failed: u64,
    pieces: u64,
}

impl Seen {
    fn everything(&self) -> bool {
        // Once in some hundred cuts.
        let torn = self.torn + u64::from(self.cuts < 2000);
        let rare = [
            self.returned,
            torn,
            self.seals,
            self.trims,
            self.thinned,
            self.gaps,
        ];
        let common = [
            self.cut_openings,
            self.refusals,
            self.replayed_frames,
            self.flushes,
        ];
        let faults = [
            self.tight_openings,
            self.commits,
            self.failures,
            self.recoveries,
            self.announced,
            self.mail_flushes,
            self.mail_reads,
            self.amid,
            self.failures_amid,
            self.direct,
            self.come_to_light,
            self.in_part,
            self.fallbacks,
            self.copies,
            self.copies_failed,
            self.pieces,
        ];
        rare.iter()
            .chain(&common)
            .chain(&faults)
            .all(|count| *count > 0)
    }
}

/// The segment before a batch that was torn could not be closed for want of room, and the log not
/// opened: the reserve was not given back for that.
#[test]
fn a_torn_batch_on_a_full_disk_does_not_keep_the_log_closed() {
    let mut world = World::new(25_000_114, false);
    world.is_copied = false;
    for _ in 0..LIVES_A_WORLD {
        world.live_and_cut().expect("the log opens");
    }
}

/// A look at the last segment, which redb has to repair, found no room, and the reserve was not given
/// back for that.
#[test]
fn a_segment_to_repair_on_a_full_disk_does_not_keep_the_log_closed() {
    let mut world = World::new(1_000_115, false);
    for _ in 0..LIVES_A_WORLD {
        world.live_and_cut().expect("the log opens");
    }
}

/// The offsets of a torn group were in one gap with others, and a start took them for damage of the
/// segment before them.
#[test]
fn a_torn_group_stays_what_it_is_when_its_gap_is_merged() {
    let mut world = World::new(77_000_477, false);
    for _ in 0..LIVES_A_WORLD {
        world.live_and_cut().expect("nothing is damaged");
    }
}

/// A torn batch was taken for one that came back and was thinned, and what it said of gaps for said:
/// the books were wrong, not the log.
#[test]
fn a_torn_batch_has_announced_nothing_where_the_latest_are_kept() {
    let mut world = World::new(102_000_309, false);
    for _ in 0..LIVES_A_WORLD {
        world.live_and_cut().expect("nothing is damaged");
    }
}

/// Records that came to light on a disk that did not let them be read were taken for those of a batch
/// that never was begun: the books were wrong, not the log.
#[test]
fn only_what_was_begun_comes_to_light() {
    let mut world = World::new(120_000_509, false);
    for _ in 0..LIVES_A_WORLD {
        world.live_and_cut().expect("nothing is missing");
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let noticed = (0..20).any(|seed| {
        // redb panics on some of what such a disk leaves behind; that does not count.
        let lived = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, true);
            (0..LIVES_A_WORLD).try_for_each(|_| world.live_and_cut())
        });
        matches!(lived, Ok(Err(_)))
    });
    assert!(noticed, "the checker accepts anything");
}

/// What the log must hold.
#[derive(Clone, Default)]
struct Model {
    /// `None` is a record of a batch that was torn.
    lanes: PerLane<Vec<Option<Record>>>,
    state: Rows,
    /// All gaps below this number were announced, and their bytes together.
    announced: (u64, u64),
}

impl Model {
    fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change.clone() {
                Change::Put {
                    table: Table::Meta,
                    value,
                    ..
                } => self.announced.0 = number(&value, u64::from_be_bytes),
                Change::Append { lane, record } if record.topic() == GAPS => {
                    self.announced.1 += number(record.payload(), u64::from_le_bytes);
                    self.lanes[lane].push(Some(record));
                }
                Change::Append { lane, record } => self.lanes[lane].push(Some(record)),
                Change::Put { table, key, value } => {
                    self.state.insert((table, key), value);
                }
                Change::Delete { table, key } => {
                    self.state.remove(&(table, key));
                }
            }
        }
    }

    /// Takes a batch whose frame was found torn: its offsets are used up.
    fn apply_torn(&mut self, batch: &Batch) {
        for change in &batch.changes {
            if let Change::Append { lane, .. } = change {
                self.lanes[*lane].push(None);
            }
        }
    }

    /// Takes the first records that a batch has for a lane.
    fn apply_some(&mut self, batch: &Batch, lane: Lane, records: std::ops::Range<usize>) {
        let records = records_of(batch, lane)
            .skip(records.start)
            .take(records.len());
        self.lanes[lane].extend(records.map(Some));
    }

    fn next(&self, lane: Lane) -> Offset {
        Offset(self.lanes[lane].len() as u64)
    }
}

/// A model with the first records of each lane of a refused batch, as many as there are, and the rest
/// of what it took torn.
fn found_of(model: &Model, refused: &Refused, reader: &mut Reader) -> Model {
    let mut found = model.clone();
    for lane in Lane::ALL {
        let (next, known) = (model.next(lane), refused.known[lane]);
        let all = records_of(&refused.batch, lane).count();
        let more = reader.head(lane).0.saturating_sub(next.0) as usize;
        let end = (known + more).min(all);
        let is_there = |number: &usize| {
            let at = Offset(next.0 + (*number - known) as u64);
            let one = Budget {
                records: 1,
                bytes: 1,
            };
            let chunk = reader.read(lane, at, one);
            chunk.is_ok_and(|chunk| chunk.records.first().is_some_and(|it| it.0 == at))
        };
        let whole = known + (known..end).take_while(is_there).count();
        found.apply_some(&refused.batch, lane, known..whole);
        found.lanes[lane].extend((whole..end).map(|_| None));
    }
    found
}

/// A batch that was refused.
#[derive(Clone)]
struct Refused {
    batch: Batch,
    /// The journal had room for it: it may come to light.
    is_begun: bool,
    /// How many of its records of each lane have come to light.
    known: PerLane<usize>,
}

fn records_of(batch: &Batch, of: Lane) -> impl Iterator<Item = Record> {
    batch.changes.iter().filter_map(move |change| match change {
        Change::Append { lane, record } if *lane == of => Some(record.clone()),
        _ => None,
    })
}

/// Whether a batch is nothing but records.
fn is_records(batch: &Batch) -> bool {
    let is_record = |change: &Change| matches!(change, Change::Append { .. });
    batch.changes.iter().all(is_record)
}

/// What a copy for a backup must hold.
struct Copied {
    model: Model,
    refused: Vec<Refused>,
    floors: PerLane<Offset>,
    /// See [`World::durable_notes`].
    notes: (u64, u64),
    /// Its job was told that it failed: it need not be there.
    has_failed: bool,
}

struct World {
    folder: SimulatedFolder,
    dice: Dice,
    /// Whether copies for a backup are made, and when: the rest goes as it would without.
    is_copied: bool,
    copy_dice: Dice,
    wants_copy: bool,
    copying: Option<Copied>,
    copied: Option<Copied>,
    lies: bool,
    /// Whether the latest of a topic outlives its segment.
    thins: bool,
    /// The disk was without room: then it may not.
    was_full: bool,
    /// Below, only the latest of their topics may be there.
    thinned_to: PerLane<Offset>,
    wall: WallTime,
    model: Model,
    /// Refused since the last success: at most one of them may come back.
    refused: Vec<Refused>,
    floors: PerLane<Offset>,
    serial: u64,
    /// Gaps noted so far: those that a batch was committed after, and all.
    durable_notes: u64,
    notes: u64,
    /// Gaps that are to be announced.
    handed_out: Vec<(u64, Gap)>,
    seen: Seen,
}

impl World {
    fn new(seed: u64, lies: bool) -> Self {
        let folder = SimulatedFolder::new();
        folder.lie_about_syncs(lies);
        Self {
            folder,
            dice: Dice(seed),
            is_copied: !lies,
            copy_dice: Dice(!seed),
            wants_copy: false,
            copying: None,
            copied: None,
            lies,
            thins: seed % 2 == 1,
            was_full: false,
            thinned_to: PerLane::default(),
            wall: WallTime(1_000_000),
            model: Model::default(),
            refused: Vec::new(),
            floors: PerLane::default(),
            serial: 0,
            durable_notes: 0,
            notes: 0,
            handed_out: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Opens, works for a while, and has the power cut; then opens again and checks.
    fn live_and_cut(&mut self) -> Result<(), String> {
        let mut opened = self.open_and_check()?;
        let stop = 1 + [60, 250, 900][self.dice.below(3) as usize];
        let stop = self.dice.below(stop);
        self.folder.stop_after(stop);
        for _ in 0..200 {
            if !self.step(&mut opened.writer, &mut opened.reader)? {
                break;
            }
        }
        if self.dice.below(8) == 0 {
            self.folder.stop_after(self.dice.below(40));
            let _ = opened.writer.close();
        }
        self.cut();
        self.check_copy()?;
        self.open_and_check().map(drop)?;
        self.cut();
        Ok(())
    }

    /// Opens what a backup would have, and compares it with the model of its time.
    fn check_copy(&mut self) -> Result<(), String> {
        let copy = self.folder.backup().map_err(|error| error.to_string())?;
        self.folder.remove_backup();
        let Some(copied) = self.copied.take() else {
            return copy.map_or(Ok(()), |_| Err("a copy that nobody made".to_owned()));
        };
        let Some(copy) = copy else {
            return match copied.has_failed {
                true => Ok(()),
                false => Err("the copy is gone".to_owned()),
            };
        };
        self.seen.copies += 1;
        self.seen.copies_cut += u64::from(copied.has_failed);
        let opened = open(copy.directory(), self.settings(), self.wall);
        let mut opened = opened.map_err(|error| format!("can't open the copy: {error}"))?;
        if !opened.report.is_clean() {
            return Err(format!("the copy: {:?}", opened.report));
        }
        let now = (self.floors, (self.durable_notes, self.notes));
        (self.floors, (self.durable_notes, self.notes)) = (copied.floors, copied.notes);
        let mut compared = self.compare(&copied.model, &mut opened.reader);
        for refused in copied.refused.iter().filter(|it| is_records(&it.batch)) {
            if compared.is_err() {
                // It waited for the files, and went into the copy with all that did.
                let model = found_of(&copied.model, refused, &mut opened.reader);
                compared = self.compare(&model, &mut opened.reader);
            }
        }
        (self.floors, (self.durable_notes, self.notes)) = now;
        compared.map_err(|wrong| format!("the copy: {wrong}"))
    }

    /// Asks for a copy once in a while.
    fn ask_for_copy(&mut self, writer: &mut Writer) {
        let is_none = self.copied.is_none() && self.copying.is_none();
        if self.is_copied && is_none && self.copy_dice.below(COPIES) == 0 {
            writer.snapshot();
            self.wants_copy = true;
        }
    }

    /// Begins a job. Remembers what a copy holds that it begins.
    fn begin(&mut self, writer: &mut Writer) -> Option<Job> {
        let job = writer.begin(self.wall)?;
        self.seen.pieces += u64::from(self.copying.is_some());
        if std::mem::take(&mut self.wants_copy) {
            self.copying = Some(Copied {
                model: self.model.clone(),
                refused: self.refused.clone(),
                floors: self.floors,
                notes: (self.durable_notes, self.notes),
                has_failed: false,
            });
        }
        Some(job)
    }

    fn cut(&mut self) {
        (self.wants_copy, self.copying) = (false, None);
        let seed = self.dice.next();
        self.folder.power_cut(seed);
        self.seen.cuts += 1;
        self.folder.lie_about_syncs(self.lies);
        self.folder.set_capacity(None);
    }

    /// Opens the folder, with the power cut again during recovery some of the time.
    fn open_and_check(&mut self) -> Result<Opened, String> {
        while self.dice.below(3) == 0 {
            self.folder.stop_after(self.dice.below(40));
            let opened = open(self.folder.directory(), self.settings(), self.wall);
            self.seen.cut_openings += u64::from(opened.is_err());
            drop(opened);
            self.cut();
        }
        let has_reserve = self
            .folder
            .names()
            .is_ok_and(|names| names.contains(&RESERVE.into()));
        let is_tight = has_reserve && self.dice.below(3) == 0;
        if is_tight {
            self.tighten();
        }
        let opened = open(self.folder.directory(), self.settings(), self.wall);
        // They come again.
        self.handed_out.clear();
        let mut opened = opened.map_err(|error| format!("can't open: {error}"))?;
        let report = &opened.report;
        if !report.damaged_files.is_empty() || report.is_state_lost || report.is_journal_lost {
            return Err(format!("{report:?}"));
        }
        if report.gaps.iter().any(|gap| gap.reason != Reason::Torn) || report.lost_frames > 0 {
            return Err(format!("missing: {report:?}"));
        }
        self.seen.replayed_frames += report.replayed_frames;
        self.check(&mut opened.reader)?;
        if is_tight {
            self.seen.tight_openings += 1;
            self.folder.set_capacity(None);
        }
        Ok(opened)
    }

    /// Leaves the disk next to no room.
    fn tighten(&mut self) {
        self.was_full = true;
        let room = self.dice.below(200 << 10);
        self.folder
            .set_capacity(Some(self.folder.used_bytes() + room));
    }

    /// One random act; false when the power is going.
    fn step(&mut self, writer: &mut Writer, reader: &mut Reader) -> Result<bool, String> {
        self.wall.0 += self.dice.below(400);
        match self.dice.below(20) {
            0..15 => return self.commit(writer, reader),
            15..18 => self.maintain(writer, reader)?,
            18 => self.release(writer),
            _ if self.dice.below(3) == 0 => self.folder.inject(Fault {
                operation: [Operation::Write, Operation::Sync][self.dice.below(2) as usize],
                name: ["journal", "normal", "state", "mail"][self.dice.below(4) as usize]
                    .to_owned(),
                times: 1,
            }),
            _ if self.dice.below(3) == 0 => self.note_gap(writer),
            _ if self.dice.below(4) == 0 => self.tighten(),
            _ if self.dice.below(2) == 0 => self.folder.set_capacity(None),
            _ if self.dice.below(2) == 0 => self.read_mail(reader)?,
            _ => self.read_somewhere(reader)?,
        }
        Ok(true)
    }

    fn commit(&mut self, writer: &mut Writer, reader: &mut Reader) -> Result<bool, String> {
        let is_stored = self.commit_one(writer, reader)?;
        if is_stored && self.dice.below(2) == 0 {
            self.maintain(writer, reader)?;
        }
        Ok(is_stored || self.refused.len() < 10)
    }

    /// Commits a batch; false when it was refused.
    fn commit_one(&mut self, writer: &mut Writer, reader: &mut Reader) -> Result<bool, String> {
        let batch = self.batch();
        let committed = writer.commit(&batch, self.wall);
        for event in writer.events() {
            self.follow(&event, reader);
        }
        self.bring_to_light(reader)?;
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                self.refuse(batch, &error);
                for event in writer.events() {
                    self.follow(&event, reader);
                }
                self.bring_to_light(reader)?;
                return Ok(false);
            }
        };
        for lane in Lane::ALL {
            let expected = self.model.next(lane);
            if committed.first[lane] != expected {
                let found = committed.first[lane];
                return Err(format!("{lane}: offset {found}, not {expected}"));
            }
        }
        reader.committed(&batch, &committed);
        self.seen.commits += 1;
        self.durable_notes = self.notes;
        self.model.apply(&batch);
        self.follow_direct(writer, reader);
        let announced = self.model.announced.0;
        self.handed_out.retain(|(number, _)| *number >= announced);
        self.refused.clear();
        Ok(true)
    }

    /// Remembers a batch that was refused, and lets time pass.
    fn refuse(&mut self, batch: Batch, error: &LogError) {
        self.seen.refusals += 1;
        self.refused.push(Refused {
            batch,
            is_begun: !matches!(error, LogError::Full { .. }),
            known: PerLane::default(),
        });
        let wait = 1 + self.dice.below(1500);
        self.wall.0 += wait;
    }

    /// Follows what a commit did to segments itself, some of the time at once.
    fn follow_direct(&mut self, writer: &mut Writer, reader: &mut Reader) {
        if self.dice.below(2) == 0 {
            return;
        }
        let (failures, flushes) = (self.seen.failures, self.seen.flushes);
        for event in writer.events() {
            self.follow(&event, reader);
        }
        self.seen.direct += u64::from(self.seen.flushes > flushes);
        self.seen.fallbacks += u64::from(self.seen.failures > failures);
    }

    /// Takes records of a refused batch into the model that the log tells of while it is open.
    fn bring_to_light(&mut self, reader: &mut Reader) -> Result<(), String> {
        for lane in Lane::ALL {
            let next = self.model.next(lane);
            let more = (reader.head(lane).0 - next.0) as usize;
            if more == 0 {
                continue;
            }
            self.seen.come_to_light += 1;
            // Which of several it is, unless the disk does not let them be read.
            let one = Budget {
                records: 1,
                bytes: 1,
            };
            let first = reader.read(lane, next, one).ok();
            let first = first.and_then(|chunk| chunk.records.into_iter().next());
            let is_it = |it: &&mut Refused| {
                let mut left = records_of(&it.batch, lane).skip(it.known[lane]);
                let is_first = left.next().is_some_and(|record| {
                    let known = first.as_ref();
                    known.is_none_or(|found| *found == (next, record))
                });
                it.is_begun && is_records(&it.batch) && is_first && left.count() + 1 >= more
            };
            // The youngest: nothing is begun before all that was has come to light.
            let Some(refused) = self.refused.iter_mut().rev().find(is_it) else {
                return Err(format!("{lane}: {more} records of nobody's"));
            };
            let known = refused.known[lane];
            self.model
                .apply_some(&refused.batch, lane, known..known + more);
            refused.known[lane] += more;
        }
        Ok(())
    }

    fn maintain(&mut self, writer: &mut Writer, reader: &mut Reader) -> Result<(), String> {
        self.ask_for_copy(writer);
        if self.dice.below(2) == 0 {
            while let Some(job) = self.begin(writer) {
                writer.finish(job.run());
            }
            for event in writer.events() {
                self.follow(&event, reader);
                self.note_copy(&event);
            }
        } else if let Some(job) = self.begin(writer) {
            self.commit_amid(writer, reader, 2);
            let folder = self.folder.clone();
            let nth = 1 + self.dice.below(16);
            let done = in_turns(job, &folder, nth, || self.commit_amid(writer, reader, 2));
            self.commit_amid(writer, reader, 2);
            writer.finish(done);
            let before = self.seen.failures;
            for event in writer.events() {
                self.follow(&event, reader);
                self.note_copy(&event);
            }
            self.seen.failures_amid += self.seen.failures - before;
        }
        self.bring_to_light(reader)
    }

    /// Remembers what became of a copy.
    fn note_copy(&mut self, event: &Event) {
        if let Event::Snapshot { result } = event {
            self.seen.copies_failed += u64::from(result.is_err());
            let copied = self.copying.take();
            self.copied = copied.map(|it| Copied {
                has_failed: result.is_err(),
                ..it
            });
        }
    }

    /// Commits while a job is under way, once in a while.
    fn commit_amid(&mut self, writer: &mut Writer, reader: &mut Reader, seldom: u64) {
        if self.refused.len() < 10 && self.dice.below(seldom) == 0 {
            match self.commit_one(writer, reader) {
                Ok(is_stored) => self.seen.amid += u64::from(is_stored),
                Err(wrong) => panic!("{wrong}"),
            }
        }
    }

    fn follow(&mut self, event: &Event, reader: &mut Reader) {
        reader.apply(event);
        match event {
            Event::Trimmed { lane, first, gap } => {
                assert_eq!(reader.first(*lane), *first);
                self.seen.trims += 1;
                self.seen.gaps += u64::from(gap.is_some());
            }
            Event::Thinned { lane, next, .. } => {
                self.thinned_to[*lane] = *next;
                self.seen.thinned += 1;
            }
            Event::Gaps { gaps } => {
                assert_eq!(self.handed_out, [], "a few at a time");
                self.handed_out.clone_from(gaps);
            }
            Event::Flushed { .. } => self.seen.flushes += 1,
            Event::SegmentSealed { .. } => self.seen.seals += 1,
            Event::MailFlushed { .. } => self.seen.mail_flushes += 1,
            Event::Failed { .. } => self.seen.failures += 1,
            Event::Recovered => self.seen.recoveries += 1,
            _ => {}
        }
    }

    /// Notes a gap that covers nothing and can be counted, however often it is merged.
    fn note_gap(&mut self, writer: &mut Writer) {
        self.notes += 1;
        let far = Offset((1 << 40) + self.notes);
        writer.note_gap(Gap {
            lane: Lane::Critical,
            first: far,
            last: far,
            count: 1,
            bytes: NOTE_BYTES,
            from: self.wall,
            to: self.wall,
            reason: Reason::Rejected,
            parts: Parts::default(),
        });
    }

    fn release(&mut self, writer: &mut Writer) {
        for lane in Lane::ALL {
            let wanted = self.model.next(lane).0 - self.floors[lane].0;
            self.floors[lane].0 += self.dice.below(wanted + 1);
        }
        writer.release(self.floors);
    }

    fn read_somewhere(&mut self, reader: &mut Reader) -> Result<(), String> {
        let lane = Lane::ALL[self.dice.below(3) as usize];
        let from = Offset(self.dice.below(reader.head(lane).0 + 1));
        let Ok(chunk) = reader.read(lane, from, self.budget()) else {
            return Ok(());
        };
        let mut at = from.max(reader.first(lane));
        for (offset, record) in chunk.records {
            self.pass_over(reader, lane, at, offset)?;
            let expected = self.model.lanes[lane].get(offset.0 as usize);
            if expected != Some(&Some(record)) {
                return Err(format!("{lane}: read {offset}, not {expected:?}"));
            }
            at = offset.next();
        }
        self.pass_over(reader, lane, at, chunk.next)
    }

    /// What a read left out is torn, or was given up: which of the two, a start can't tell where the
    /// latest of topics are kept, and takes a batch that was refused for one that came back.
    fn pass_over(&self, reader: &Reader, lane: Lane, at: Offset, to: Offset) -> Result<(), String> {
        let lane_of_model = &self.model.lanes[lane];
        // A disk that is full or failing may keep the state closed for a while.
        let Ok(gaps) = reader.gaps(0) else {
            return Ok(());
        };
        let is_told = |it: u64| gaps.iter().any(|(_, gap)| is_in(lane, Offset(it), gap));
        let is_missing = |it: &u64| {
            let is_torn = lane_of_model.get(*it as usize).is_some_and(Option::is_none);
            let is_given_up = *it < self.thinned_to[lane].0 || self.thins && is_told(*it);
            !(is_torn || is_given_up)
        };
        match (at.0..to.0).find(is_missing) {
            Some(missing) => Err(format!("{lane} {missing} is passed over")),
            None => Ok(()),
        }
    }

    /// Looks for a row while the log is at work.
    fn read_mail(&mut self, reader: &mut Reader) -> Result<(), String> {
        let table = [Table::Mail, Table::MailTails][self.dice.below(2) as usize];
        let key = vec![b'k', self.dice.below(20) as u8];
        // A disk that is full or failing may keep it closed for a while.
        if let Ok(found) = reader.find(table, &key) {
            self.seen.mail_reads += 1;
            let expected = self.model.state.get(&(table, key.clone()));
            if found.as_ref() != expected {
                return Err(format!("{table:?} {key:?}: {found:?}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// Compares everything with the model, or with the model and one refused batch.
    fn check(&mut self, reader: &mut Reader) -> Result<(), String> {
        let mut first_wrong = None;
        let mut models = vec![(0, 0, 0, self.model.clone())];
        let (mut all_torn, mut others) = (Vec::new(), Vec::new());
        for refused in &self.refused {
            let Refused { batch, known, .. } = refused;
            let (mut returned, mut torn) = (self.model.clone(), self.model.clone());
            if known.0 == [0; 3] {
                returned.apply(batch);
                torn.apply_torn(batch);
                others.push((1, 0, 0, returned));
                all_torn.push((0, 1, 0, torn));
            }
            if is_records(batch) {
                others.push((0, 0, 1, found_of(&self.model, refused, reader)));
            }
        }
        // Where the latest of topics are kept, what is torn could have come back and gone again.
        models.append(&mut all_torn);
        models.append(&mut others);
        for (returned, torn, in_part, model) in models {
            match self.compare(&model, reader) {
                Ok(()) => {
                    self.seen.returned += returned;
                    self.seen.torn += torn;
                    self.seen.in_part += in_part;
                    self.model = model;
                    self.refused.clear();
                    return Ok(());
                }
                Err(wrong) => first_wrong = first_wrong.or(Some(wrong)),
            }
        }
        Err(first_wrong.expect("the model itself was compared"))
    }

    fn compare(&mut self, model: &Model, reader: &mut Reader) -> Result<(), String> {
        let gaps = reader.gaps(0).map_err(|error| error.to_string())?;
        let noted: u64 = gaps.iter().map(|(_, gap)| gap.bytes / NOTE_BYTES).sum();
        if !(self.durable_notes..=self.notes).contains(&noted) {
            let (low, high) = (self.durable_notes, self.notes);
            return Err(format!("{noted} noted gaps, not {low} to {high}"));
        }
        (self.durable_notes, self.notes) = (noted, noted);
        // Exactly one message a gap: what was said is what was dropped, and no more.
        let (below, said) = model.announced;
        let announced = gaps.iter().filter(|(number, _)| *number < below);
        let announced: u64 = announced.map(|(_, gap)| gap.bytes).sum();
        if announced != said {
            return Err(format!(
                "{said} bytes of gaps were announced, not {announced}"
            ));
        }
        for lane in Lane::ALL {
            let (first, head) = (reader.first(lane), reader.head(lane));
            if head != model.next(lane) {
                return Err(format!("{lane}: head {head}, not {}", model.next(lane)));
            }
            let mut covered = self.floors[lane];
            // By offset: one that is torn has its number long before what is trimmed below it.
            let mut of_lane: Vec<&Gap> = gaps.iter().map(|(_, gap)| gap).collect();
            of_lane.retain(|gap| gap.lane == lane);
            of_lane.sort_by_key(|gap| gap.first);
            for gap in of_lane {
                if gap.first <= covered {
                    covered = covered.max(gap.last.next());
                }
            }
            if first > covered {
                return Err(format!("{lane}: begins at {first}, gone from {covered} on"));
            }
            let found = self.read_all(lane, reader)?;
            let latest = self.latest_of(&model.lanes[lane]);
            for (at, expected) in (0..).zip(&model.lanes[lane]).skip(first.0 as usize) {
                let at = Offset(at);
                let is_told = gaps.iter().any(|(_, gap)| is_in(lane, at, gap));
                match (found.get(&at), expected) {
                    (Some(record), Some(expected)) if record == expected => {}
                    (None, None) if is_told => {}
                    (None, Some(_)) if is_told && self.thins && !latest.contains(&at) => {}
                    // Nobody wants it, and so nothing is told of it.
                    (None, Some(_)) if self.thins && at < self.floors[lane] => {}
                    (found, _) => return Err(format!("{lane} {at}: found {found:?}")),
                }
            }
            let wanted = latest.range(self.floors[lane]..);
            if let Some(at) = wanted.clone().find(|at| !found.contains_key(at)) {
                return Err(format!("{lane} {at}: the latest of its topic is gone"));
            }
        }
        compare_state(model, reader)
    }

    fn read_all(
        &mut self,
        lane: Lane,
        reader: &mut Reader,
    ) -> Result<BTreeMap<Offset, Record>, String> {
        let mut found = BTreeMap::new();
        let mut at = reader.first(lane);
        while at < reader.head(lane) {
            let chunk = reader.read(lane, at, self.budget());
            let chunk = chunk.map_err(|error| error.to_string())?;
            if chunk.next <= at || chunk.damaged.is_some() {
                return Err(format!("{lane} {at}: no way on"));
            }
            found.extend(chunk.records);
            at = chunk.next;
        }
        Ok(found)
    }

    /// The offsets of the latest of each topic that has to be there, whatever went.
    fn latest_of(&self, records: &[Option<Record>]) -> BTreeSet<Offset> {
        let mut latest = BTreeMap::new();
        for (at, record) in (0..).zip(records) {
            if let Some(record) = record
                && record.topic().starts_with(RARE)
            {
                latest.insert(record.topic(), Offset(at));
            }
        }
        match self.was_full {
            true => BTreeSet::new(),
            false => latest.into_values().collect(),
        }
    }

    fn budget(&mut self) -> Budget {
        Budget {
            records: 1 + self.dice.below(50) as usize,
            bytes: 1 + self.dice.below(20_000) as usize,
        }
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        let others = [10, 7][self.dice.below(2) as usize];
        for _ in 0..1 + self.dice.below(8) {
            let change = match self.dice.below(others) {
                0..7 => Change::Append {
                    lane: [Lane::Critical, Lane::Urgent, Lane::Normal, Lane::Normal]
                        [self.dice.below(4) as usize],
                    record: self.record(),
                },
                7..9 => Change::Put {
                    table: TABLES[self.dice.below(TABLES.len() as u64) as usize],
                    key: vec![b'k', self.dice.below(20) as u8],
                    value: vec![self.dice.below(256) as u8; self.dice.below(300) as usize],
                },
                _ => Change::Delete {
                    table: TABLES[self.dice.below(TABLES.len() as u64) as usize],
                    key: vec![b'k', self.dice.below(20) as u8],
                },
            };
            batch.changes.push(change);
        }
        if self.dice.below(4) == 0 && !self.handed_out.is_empty() {
            self.announce(&mut batch);
        }
        batch
    }

    /// Says what was dropped, as a gateway does: in the commit that marks it as said.
    fn announce(&mut self, batch: &mut Batch) {
        let count = 1 + self.dice.below(self.handed_out.len() as u64) as usize;
        let gaps = &self.handed_out[..count];
        let bytes: u64 = gaps.iter().map(|(_, gap)| gap.bytes).sum();
        let below = gaps[count - 1].0 + 1;
        self.seen.announced += count as u64;
        batch.changes.push(Change::Append {
            lane: Lane::Critical,
            record: record_of(GAPS, self.wall, &bytes.to_le_bytes()),
        });
        batch.changes.push(announced(below));
    }

    fn record(&mut self) -> Record {
        self.serial += 1;
        let bytes = match self.dice.below(40) {
            0 => 60_000 + self.dice.below(20_000),
            1..4 => self.dice.below(9_000),
            _ => self.dice.below(400),
        };
        let mut payload = self.serial.to_le_bytes().to_vec();
        payload.resize(8 + bytes as usize, self.serial as u8);
        if self.thins && self.serial.is_multiple_of(16) {
            let topic = format!("{RARE}{}", self.serial / 16 % 6);
            payload.truncate(400);
            return record_of(&topic, self.wall, &payload).keeping_latest();
        }
        let record = record_of("a/b", self.wall, &payload);
        if self.thins {
            record.keeping_latest()
        } else {
            record
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            keeps_latest: self.thins,
            ..settings()
        }
    }
}

fn number(bytes: &[u8], read: fn([u8; 8]) -> u64) -> u64 {
    read(bytes.try_into().expect("a number has eight bytes"))
}

fn is_in(lane: Lane, at: Offset, gap: &Gap) -> bool {
    gap.lane == lane && gap.first <= at && at <= gap.last
}

fn compare_state(model: &Model, reader: &mut Reader) -> Result<(), String> {
    for table in TABLES {
        let found = read_table(table, reader).map_err(|error| error.to_string())?;
        let expected = model.state.iter().filter(|((of, _), _)| *of == table);
        if !found.iter().eq(expected) {
            return Err(format!("{table:?} is not what was committed"));
        }
    }
    match reader.poll_damage() {
        None => Ok(()),
        Some(damage) => Err(format!("{damage:?}")),
    }
}

fn read_table(table: Table, reader: &mut Reader) -> Result<Rows, LogError> {
    let mut found = BTreeMap::new();
    if !table.is_mail() {
        reader.read_state(table, |key, value| {
            found.insert((table, key.to_vec()), value.to_vec());
        })?;
        return Ok(found);
    }
    let mut from = Some(Vec::new());
    while let Some(key) = from {
        let budget = Budget {
            records: 7,
            bytes: 1000,
        };
        let walked = reader.walk(table, &key, &[0xff], budget)?;
        let rows = walked.rows.into_iter();
        found.extend(rows.map(|(key, value)| ((table, key), value)));
        from = walked.next;
    }
    Ok(found)
}

fn settings() -> Settings {
    let mut lanes = PerLane::from_fn(|_| LaneLimits::default());
    lanes[Lane::Normal].max_bytes = 256 << 10;
    Settings {
        journal_bytes: 512 << 10,
        flush_bytes: 32 << 10,
        direct_bytes: 1 << 10,
        segment_bytes: 128 << 10,
        cache_bytes: 512 << 10,
        read_cache_bytes: 128 << 10,
        open_segments: 2,
        has_mail: true,
        gap_count: 8,
        announces_gaps: true,
        max_bytes: None,
        keeps_latest: false,
        lanes,
        salt: 7,
    }
}

/// What topics begin with of which there are few records.
const RARE: &str = "rare/";
/// Where gaps are announced.
const GAPS: &str = "$edge/test/gaps";
/// More than all other gaps of a run have together.
const NOTE_BYTES: u64 = 1 << 40;

const TABLES: [Table; 5] = [
    Table::Sessions,
    Table::Cursors,
    Table::Handshakes,
    Table::Mail,
    Table::MailTails,
];
/// With it a log opens on a full disk; a new one, that has none, needs room.
const RESERVE: &str = "reserve";
const LIVES_A_WORLD: u64 = 12;
/// Times of maintenance for each copy that is asked for.
const COPIES: u64 = 20;
