//! Plays a script.

use std::time::Duration;

use edge::log::simulated::{Fault, Operation, SimulatedFolder};
use edge::log::{
    Batch, Budget, Event, Gap, Job, LaneLimits, Opened, Parts, Reason, Settings, announced, open,
};
use sync::{Change, Lane, Offset, PerLane, Record, WallTime};

use crate::books::Books;
use crate::hurt::{self, Files};
use crate::judge::TABLES;
use crate::log_parts::{contents, record_of};
use crate::script::{Append, End, Group, Script, Step};
use crate::turns::in_turns;

pub(crate) struct Play {
    folder: SimulatedFolder,
    settings: Settings,
    books: Books,
    wall: WallTime,
    serial: u64,
    handed_out: Vec<(u64, Gap)>,
    /// Something fails, or will.
    is_troubled: bool,
    /// Nothing is ever damaged, so that everything is known.
    is_spared: bool,
    kept: Files,
    /// The next job begins a copy for a backup.
    asks_copy: bool,
    /// What the one that is being made holds.
    begun: Option<Books>,
    /// What the one holds that there is.
    copied: Option<Books>,
}

impl Play {
    pub(crate) fn new(script: &Script) -> Self {
        let is = |bit: u8| script.limits & 1 << bit > 0;
        let mut lanes = PerLane::from_fn(|_| LaneLimits::default());
        if is(0) {
            lanes[Lane::Normal].max_bytes = 256 << 10;
        }
        if is(1) {
            lanes[Lane::Urgent].max_age = Some(Duration::from_secs(60));
        }
        let settings = Settings {
            journal_bytes: 128 << 10,
            flush_bytes: 16 << 10,
            direct_bytes: 1 << 10,
            segment_bytes: 64 << 10,
            cache_bytes: 256 << 10,
            read_cache_bytes: 64 << 10,
            open_segments: 2,
            max_bytes: is(2).then_some(512 << 10),
            keeps_latest: is(3),
            gap_count: if is(4) { 8 } else { 1024 },
            announces_gaps: is(5),
            has_mail: true,
            lanes,
            salt: 7,
        };
        let books = Books {
            is_limited: PerLane::from_fn(|lane| {
                let limits = settings.lanes[lane];
                let is_small = limits.max_bytes < 1 << 30 || settings.max_bytes.is_some();
                is_small || limits.max_age.is_some()
            }),
            keeps_latest: settings.keeps_latest,
            ..Books::default()
        };
        Self {
            folder: SimulatedFolder::new(),
            settings,
            books,
            wall: WallTime(1_000_000),
            serial: 0,
            handed_out: Vec::new(),
            is_troubled: false,
            is_spared: is(6),
            kept: Files::new(),
            asks_copy: false,
            begun: None,
            copied: None,
        }
    }

    pub(crate) fn run(mut self, script: &Script) {
        let mut log = self.start();
        let mut ends = 0;
        for step in &script.steps {
            if let Step::End(end) = step {
                ends += 1;
                if ends > ENDS {
                    break;
                }
                log = self.end(log, end);
            } else {
                self.play(&mut log, step);
            }
        }
        let end = End {
            is_closed: false,
            luck: Some(0),
            is_kept: false,
            hurts: Vec::new(),
            again: None,
        };
        log = self.end(log, &end);
        self.books.judge_all(&mut log, self.wall);
        drop(log);
        hurt::empty(&self.folder);
    }

    fn play(&mut self, log: &mut Opened, step: &Step) {
        self.wall.0 += 10;
        match step {
            Step::Commit(group) => self.commit(log, group),
            Step::Direct { lane, count, size } => self.direct(log, *lane, *count, *size),
            Step::Maintain => self.maintain(log),
            Step::Job { nth, amid } => self.job(log, *nth, amid),
            Step::Pass { seconds } => self.wall.0 += 1000 * u64::from(*seconds),
            Step::Release { lane, count } => self.release(log, *lane, *count),
            Step::Reject { lane, at } => self.reject(log, *lane, *at),
            Step::Announce => self.announce(log),
            Step::Copy => {
                self.asks_copy = true;
                log.writer.snapshot();
            }
            Step::Read { lane, from } => self.read(log, *lane, *from),
            Step::Room { pages } => {
                let used = self.folder.used_bytes();
                let capacity = pages.map(|pages| used + (u64::from(pages) << 12));
                self.folder.set_capacity(capacity);
            }
            Step::Fault { operation, file } => self.fault(*operation, *file),
            Step::Stop { changes } => {
                self.is_troubled = true;
                self.folder.stop_after(u64::from(*changes));
            }
            Step::End(_) => unreachable!("a run that ends is followed by another"),
        }
    }

    /// Opens the folder, and judges what is there.
    fn start(&mut self) -> Opened {
        self.folder.reset_counts();
        let opened = open(self.folder.directory(), self.settings.clone(), self.wall);
        let mut log = opened.expect("a log starts, whatever became of it");
        let reads = self.folder.counts().reads;
        assert!(reads < READS, "a start took {reads} reads");
        self.handed_out.clear();
        self.books.judge_start(&mut log, self.wall);
        log
    }

    /// Ends a run of the program, and begins the next.
    fn end(&mut self, log: Opened, end: &End) -> Opened {
        let Opened { writer, reader, .. } = log;
        drop(reader);
        if end.is_closed {
            let _ = writer.close();
        } else {
            drop(writer);
        }
        if self.is_troubled || end.luck.is_some() {
            self.folder.power_cut(end.luck.unwrap_or(0).into());
        }
        self.is_troubled = false;
        self.folder.set_capacity(None);
        self.judge_copy();
        if end.is_kept {
            let names = hurt::names(&self.folder).into_iter();
            let file = |name: String| (name.clone(), contents(&self.folder, &name));
            self.kept = names.map(file).collect();
        }
        hurt::end_segments(&self.folder, &mut self.books);
        if !self.is_spared {
            hurt::hurt(&self.folder, &end.hurts, &self.kept, &mut self.books);
        }
        if let Some((changes, luck)) = end.again {
            self.folder.stop_after(changes.into());
            drop(open(
                self.folder.directory(),
                self.settings.clone(),
                self.wall,
            ));
            self.folder.power_cut(luck.into());
        }
        self.start()
    }

    /// Opens what a backup would have, and judges it as of when it was made.
    fn judge_copy(&mut self) {
        let copy = self.folder.backup().expect("the disk works");
        self.folder.remove_backup();
        (self.asks_copy, self.begun) = (false, None);
        let Some(mut books) = self.copied.take().filter(|it| it.harm.times == 0) else {
            return;
        };
        let copy = copy.expect("a copy that was made stays");
        let opened = open(copy.directory(), self.settings.clone(), self.wall);
        let mut log = opened.expect("a copy is as good a folder");
        books.judge_start(&mut log, self.wall);
        books.judge_all(&mut log, self.wall);
        drop(log);
        hurt::empty(&copy);
    }

    fn commit(&mut self, log: &mut Opened, group: &Group) {
        let mut changes = Vec::new();
        for append in group.appends.iter().take(CHANGES) {
            changes.push(self.append(append));
        }
        for row in group.rows.iter().take(CHANGES) {
            let table = TABLES[usize::from(row.table) % TABLES.len()];
            let key = vec![b'k', row.key % 8];
            changes.push(match row.size {
                Some(size) => Change::Put {
                    table,
                    key,
                    value: [&self.serial.to_le_bytes()[..], &vec![1; size.into()]].concat(),
                },
                None => Change::Delete { table, key },
            });
            self.serial += 1;
        }
        if !changes.is_empty() {
            self.store(log, Batch { changes });
        }
    }

    fn direct(&mut self, log: &mut Opened, lane: u8, count: u8, size: u8) {
        let append = Append {
            lane,
            topic: lane,
            size,
        };
        let changes = (0..=count % 64).map(|_| self.append(&append)).collect();
        self.store(log, Batch { changes });
    }

    fn store(&mut self, log: &mut Opened, batch: Batch) {
        self.books.ask(&batch);
        let committed = log.writer.commit(&batch, self.wall);
        if committed.is_err() {
            self.books.refused.push(batch.clone());
        }
        self.follow(log);
        if let Ok(committed) = committed {
            log.reader.committed(&batch, &committed);
            self.books.acknowledge(&batch, &committed);
        }
    }

    /// Lets readers know what happened before the last answer.
    fn follow(&mut self, log: &mut Opened) {
        for event in log.writer.events() {
            self.hear(log, &event);
        }
        self.books.bring_to_light(&log.reader);
    }

    fn hear(&mut self, log: &mut Opened, event: &Event) {
        log.reader.apply(event);
        self.books.follow(event);
        match event {
            Event::Gaps { gaps } => self.handed_out.clone_from(gaps),
            Event::Snapshot { result } => {
                let begun = self.begun.take();
                self.copied = begun.filter(|_| result.is_ok());
            }
            _ => {}
        }
    }

    fn maintain(&mut self, log: &mut Opened) {
        while let Some(job) = self.begin(log) {
            log.writer.finish(job.run());
        }
        self.follow(log);
    }

    /// Begins a job. Of a copy that it begins everything is known that will be in it.
    fn begin(&mut self, log: &mut Opened) -> Option<Job> {
        let job = log.writer.begin(self.wall)?;
        if std::mem::take(&mut self.asks_copy) {
            (self.begun, self.copied) = (Some(self.books.clone()), None);
        }
        Some(job)
    }

    fn job(&mut self, log: &mut Opened, nth: u8, amid: &[Group]) {
        let Some(job) = self.begin(log) else {
            return self.follow(log);
        };
        let mut groups = amid.iter().take(AMID);
        let folder = self.folder.clone();
        let done = in_turns(job, &folder, 1 + u64::from(nth % 16), || {
            if let Some(group) = groups.next() {
                self.commit(log, group);
            }
        });
        log.writer.finish(done);
        self.follow(log);
    }

    fn release(&mut self, log: &mut Opened, lane: u8, count: u8) {
        let lane = lane_of(lane);
        let floor = self.books.floors[lane] + u64::from(count);
        self.books.floors[lane] = floor.min(self.books.next(lane));
        let floors = PerLane::from_fn(|lane| Offset(self.books.floors[lane]));
        log.writer.release(floors);
    }

    fn reject(&mut self, log: &mut Opened, lane: u8, at: u8) {
        let (lane, at) = (lane_of(lane), u64::from(at));
        let slot = self.books.lanes[lane].get(at as usize);
        let is_there = at >= self.books.first[lane] && slot.is_some_and(|it| it.stored().is_some());
        if !is_there {
            return;
        }
        let is_news = log.writer.note_gap(Gap {
            lane,
            first: Offset(at),
            last: Offset(at),
            count: 1,
            bytes: 0,
            from: self.wall,
            to: self.wall,
            reason: Reason::Rejected,
            parts: Parts::default(),
        });
        if is_news {
            self.books.fresh_rejected.insert((lane, at));
        }
    }

    fn announce(&mut self, log: &mut Opened) {
        if let Some((last, _)) = self.handed_out.pop() {
            self.handed_out.clear();
            let changes = vec![announced(last + 1)];
            self.store(log, Batch { changes });
        }
    }

    /// Reads while the log is at work: what is read is what was stored.
    fn read(&mut self, log: &mut Opened, lane: u8, from: u8) {
        let lane = lane_of(lane);
        let budget = Budget {
            records: 20,
            bytes: 4000,
        };
        let from = Offset(u64::from(from) % (log.reader.head(lane).0 + 1));
        // A disk that fails may keep it from being read for a while.
        let Ok(chunk) = log.reader.read(lane, from, budget) else {
            return;
        };
        for (at, record) in chunk.records {
            let slot = &self.books.lanes[lane][at.0 as usize];
            let is_right = self.books.may_be(lane, at.0, &record);
            assert!(is_right, "{lane} {at}: {record:?} and not {slot:?}");
        }
        if let Some(gap) = chunk.damaged {
            log.writer.note_gap(gap);
        }
    }

    fn fault(&mut self, operation: u8, file: u8) {
        let operations = [Operation::Write, Operation::Sync, Operation::Remove];
        let files = ["journal", "normal", "urgent", "state", "mail", "gaps", ""];
        self.is_troubled = true;
        self.folder.inject(Fault {
            operation: operations[usize::from(operation) % operations.len()],
            name: files[usize::from(file) % files.len()].to_owned(),
            times: 1,
        });
    }

    fn append(&mut self, append: &Append) -> Change {
        self.serial += 1;
        let bytes = match append.size {
            0..200 => 2 * usize::from(append.size),
            large => 1500 * usize::from(large - 199),
        };
        let mut payload = self.serial.to_le_bytes().to_vec();
        payload.resize(8 + bytes, self.serial as u8);
        let topic = ["a", "b", "a/b", "c/d/e"][usize::from(append.topic % 4)];
        let record = record_of(topic, self.wall, &payload);
        let record: Record = match append.topic & 4 > 0 {
            true => record.keeping_latest(),
            false => record,
        };
        Change::Append {
            lane: lane_of(append.lane),
            record,
        }
    }
}

fn lane_of(number: u8) -> Lane {
    Lane::ALL[usize::from(number) % Lane::ALL.len()]
}

const ENDS: usize = 6;
/// Of a start: several of each page that there is.
const READS: u64 = 20_000;
/// In a group.
const CHANGES: usize = 16;
/// Groups that come while a job is under way.
const AMID: usize = 4;
