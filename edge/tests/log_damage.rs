//! Bytes of a data folder as a failing medium changes them, anywhere.
//!
//! A folder with sessions, retained messages, three lanes and gaps, of a gateway that was killed or
//! closed, has bits flipped, stretches overwritten and ends cut off in any of its files. It must
//! open; every record that is read is the one that was stored at its offset; every other one that
//! was acknowledged and not released is in exactly one gap, and no gap counts another, unless both
//! homes of the gaps are damaged, which a gap says then; every row of the tables is one that was stored
//! under its key, and the last one unless the start says that something of the state is lost. Then
//! the log takes new records, and the start after that finds all of it accounted for as well.
//!
//! Thirty by default. The long run:
//! `DAMAGES=10000 cargo test --release -p robustmq-edge --test log_damage`, with another seed in
//! `DAMAGE_SEED`, and the first to be done in `DAMAGE_FROM`.

mod log_parts;

use std::collections::{BTreeMap, BTreeSet};

use edge::log::directory::{Directory, File};
use edge::log::simulated::SimulatedFolder;
use edge::log::{
    Batch, Budget, Damage, Event, Gap, Opened, Parts, Reader, Reason, Settings, Writer, open,
};
use sync::{Change, Lane, Offset, PerLane, Record, Table, WallTime};

use self::log_parts::{
    Dice, contain_panics_quietly, contents, follow, record_of, replace, small, store, variable,
};

#[test]
fn whatever_is_damaged_the_log_opens_and_accounts_for_everything() {
    contain_panics_quietly();
    let damages = variable("DAMAGES").unwrap_or(30);
    let seed = variable("DAMAGE_SEED").unwrap_or(1);
    println!("seed {seed}, {damages} damaged folders");
    let bases: Vec<Base> = (0..4).map(Base::new).collect();
    let mut seen = Seen::default();
    let from = variable("DAMAGE_FROM").unwrap_or(0);
    for number in from..damages {
        let seed = seed * 1_000_003 + number;
        let base = &bases[number as usize % bases.len()];
        let mut dice = Dice(seed);
        let folder = base.copy();
        let done = damage(&folder, &mut dice);
        let check = std::panic::AssertUnwindSafe(|| base.check(&folder, &mut seen));
        let checked = std::panic::catch_unwind(check);
        if let Err(wrong) = checked.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            panic!("seed {seed}, {done:?}: {wrong}");
        }
    }
    println!("{seen:?}");
    assert!(
        damages - from < 2000 || seen.everything(),
        "a path was never taken: {seen:?}"
    );
}

/// The first flush of a start made the mail anew, and the report said that nothing was lost.
#[test]
fn a_start_tells_of_mail_that_its_first_flush_found_damaged() {
    assert_accounted_for(3, 1_003_470);
}

/// The first flush of a start wrote a damaged page of the mail anew, with a checksum that is right: not
/// even a start that looks at all of every file found that rows are missing.
#[test]
fn mail_that_a_flush_wrote_damage_into_is_looked_at_row_by_row() {
    assert_accounted_for(3, 125_002_538);
}

/// What was left of the journal did not fit into the last segment of a lane, which was damaged where
/// only a write comes by: the log could not be opened. (With debug assertions redb finds it earlier.)
#[test]
fn a_last_segment_that_takes_no_more_does_not_keep_the_log_closed() {
    assert_accounted_for(1, 3_000_530);
}

/// redb found one behind the offset that it was asked for, and the reader ended the process.
#[test]
fn a_tree_that_leads_to_a_later_block_is_damage_and_no_panic() {
    assert_accounted_for(3, 102_008_093);
}

/// Of the last frame only the beginning was left, and with the state lost nobody looked at it.
#[test]
fn what_only_the_beginning_of_a_frame_tells_of_is_missing_with_a_word() {
    assert_accounted_for(3, 103_003_676);
}

/// With the state lost, a file of the mail that was damaged where only a write comes by kept the log
/// closed.
#[test]
fn mail_that_takes_nothing_from_the_journal_does_not_keep_the_log_closed() {
    assert_accounted_for(2, 120_000_934);
}

/// redb panics on these while it unwinds, in a commit, which nothing contains: the process ends.
/// What it leaves has the next start look at all of every file, and that one gets through.
#[test]
fn a_start_behind_one_that_redb_has_ended_accounts_for_everything() {
    contain_panics_quietly();
    for (base, seed) in [(1, 127_009_986), (3, 123_001_296)] {
        let base = Base::new(base);
        let folder = base.copy();
        let done = damage(&folder, &mut Dice(seed));
        mark(&folder);
        let checked = base.check(&folder, &mut Seen::default());
        assert_eq!(checked, Ok(()), "{done:?}");
    }
}

/// Does to a folder what the long run does with this seed.
fn assert_accounted_for(base: u64, seed: u64) {
    contain_panics_quietly();
    let base = Base::new(base);
    let folder = base.copy();
    let done = damage(&folder, &mut Dice(seed));
    let checked = base.check(&folder, &mut Seen::default());
    assert_eq!(checked, Ok(()), "{done:?}");
}

/// What came of the damage, so that the test can't quietly stop testing.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    harmless: u64,
    records_read: u64,
    records_missing: u64,
    missing_later: u64,
    files_set_aside: u64,
    segments_kept: u64,
    journals_mended: u64,
    journals_lost: u64,
    frames_lost: u64,
    states_lost: u64,
    rows_lost: u64,
    mail_rows_told: u64,
    mail_rows_lost: u64,
    mails_lost: u64,
    mails_mended: u64,
    mails_checked: u64,
    torn: u64,
}

impl Seen {
    fn everything(&self) -> bool {
        let Self {
            harmless,
            records_read,
            records_missing,
            missing_later: _,
            files_set_aside,
            segments_kept,
            journals_mended,
            journals_lost,
            frames_lost,
            states_lost,
            rows_lost,
            // What else becomes of mail is in `log_mail.rs`: its file is a small part of a folder.
            mail_rows_told: _,
            mail_rows_lost: _,
            mails_lost,
            mails_mended: _,
            mails_checked: _,
            torn,
        } = *self;
        let records = [harmless, records_read, records_missing, torn];
        let files = [files_set_aside, segments_kept, journals_mended];
        let losses = [journals_lost, frames_lost, states_lost, rows_lost];
        let losses = losses.into_iter().chain([mails_lost]);
        let all = records.into_iter().chain(files).chain(losses);
        all.into_iter().all(|count| count > 0)
    }
}

/// What a key had, one after the other.
type Values = Vec<Option<Vec<u8>>>;

/// A folder as it was left, and what it must hold.
struct Base {
    files: Vec<(String, Vec<u8>)>,
    lanes: PerLane<Vec<Record>>,
    /// Every value that a key ever had; `None` where it had none.
    history: BTreeMap<(Table, Vec<u8>), Values>,
    /// Below, nothing is wanted.
    floors: PerLane<Offset>,
    /// Below, only the latest of their topics are there.
    thinned_to: PerLane<Offset>,
    /// A record of lane `normal` that the cloud did not take.
    rejected: u64,
}

impl Base {
    fn new(seed: u64) -> Self {
        let folder = SimulatedFolder::new();
        let mut base = Self {
            files: Vec::new(),
            lanes: PerLane::default(),
            history: BTreeMap::new(),
            floors: PerLane::default(),
            thinned_to: PerLane::default(),
            rejected: 0,
        };
        let mut dice = Dice(seed);
        let mut limited = settings();
        // In half of them the latest of each topic outlives its segment.
        limited.keeps_latest = seed >= 2;
        let most = if seed >= 2 { 140 } else { 300 };
        limited.lanes[Lane::Urgent].max_bytes = most << 10;
        let mut log = reopen_with(&folder, limited);
        for number in 0..120 {
            // The last has pages enough to be hit.
            let count = if number < 119 { 12 } else { 24 };
            let batch = base.batch(&mut dice, count, seed < 2 && number % 2 == 0);
            if number == 60 {
                base.floors[Lane::Urgent] = log.reader.head(Lane::Urgent);
                base.floors[Lane::Normal] = Offset(20);
                log.writer.release(base.floors);
                base.rejected = log.reader.head(Lane::Normal).0;
                log.writer.note_gap(rejected(Offset(base.rejected)));
            }
            let committed = log.writer.commit(&batch, WALL).expect("the log works");
            log.reader.committed(&batch, &committed);
            base.take(&batch);
            // What came last is in the journal alone.
            if number < 117 {
                for event in log.writer.maintain(WALL) {
                    log.reader.apply(&event);
                    if let Event::Thinned { lane, next, .. } = event {
                        base.thinned_to[lane] = next;
                    }
                }
            }
        }
        assert_eq!(base.thinned_to[Lane::Urgent].0 > 0, seed >= 2);
        if seed.is_multiple_of(2) {
            log.writer.close().expect("the log works");
        }
        for name in folder.names().expect("the log works") {
            let contents = contents(&folder, &name);
            base.files.push((name, contents));
        }
        base
    }

    fn batch(&self, dice: &mut Dice, count: u64, is_records: bool) -> Batch {
        let mut batch = Batch::default();
        let mut next = PerLane::from_fn(|lane| self.lanes[lane].len());
        for _ in 0..1 + dice.below(count) {
            let lane = Lane::ALL[dice.below(4).min(2) as usize];
            let record = record(lane, next[lane], dice);
            next[lane] += 1;
            batch.changes.push(Change::Append { lane, record });
        }
        if is_records {
            // Straight into segments, if it is large.
            return batch;
        }
        let (table, key) = (
            TABLES[dice.below(TABLES.len() as u64) as usize],
            vec![b'k', dice.below(40) as u8],
        );
        batch.changes.push(match dice.below(5) {
            0 => Change::Delete { table, key },
            _ => Change::Put {
                table,
                key,
                value: dice
                    .next()
                    .to_le_bytes()
                    .repeat(1 + dice.below(20) as usize),
            },
        });
        batch
    }

    fn take(&mut self, batch: &Batch) {
        for change in batch.changes.clone() {
            let (place, value) = match change {
                Change::Append { lane, record } => {
                    self.lanes[lane].push(record);
                    continue;
                }
                Change::Put { table, key, value } => ((table, key), Some(value)),
                Change::Delete { table, key } => ((table, key), None),
            };
            self.history
                .entry(place)
                .or_insert_with(|| vec![None])
                .push(value);
        }
    }

    fn copy(&self) -> SimulatedFolder {
        let folder = SimulatedFolder::new();
        for (name, contents) in &self.files {
            let file = folder.create(name).expect("the log works");
            file.write_at(0, contents).expect("the log works");
            file.sync_data().expect("the log works");
        }
        folder.sync().expect("the log works");
        folder
    }

    fn check(&self, folder: &SimulatedFolder, seen: &mut Seen) -> Result<(), String> {
        let opened = open(folder.directory(), settings(), WALL);
        let mut log = opened.map_err(|error| format!("can't open: {error}"))?;
        let report = log.report.clone();
        if report.is_new {
            return Err("it is taken for new".to_owned());
        }
        if variable("DAMAGE_FROM").is_some() {
            println!("{report:?}");
        }
        seen.files_set_aside += report.damaged_files.len() as u64;
        seen.segments_kept += report.damaged_segments.len() as u64;
        seen.journals_mended += u64::from(report.is_journal_mended);
        seen.journals_lost += u64::from(report.is_journal_lost);
        seen.frames_lost += report.lost_frames;
        seen.states_lost += u64::from(report.is_state_lost);
        seen.rows_lost += report.lost_rows;
        let is_torn = report.gaps.iter().any(|gap| gap.reason == Reason::Torn);
        seen.torn += u64::from(is_torn);
        let is_some_state_lost = report.is_state_lost
            || report.is_journal_lost
            || report.lost_frames > 0
            || report.lost_rows > 0
            || report.gaps.iter().any(|gap| !gap.is_of_mail());
        self.check_state(&log.reader, is_some_state_lost)?;
        let is_mail_lost = report.is_mail_lost || report.lost_mail_rows > 0;
        seen.mails_lost += u64::from(report.is_mail_lost);
        seen.mail_rows_lost += report.lost_mail_rows;
        let may_be_old = is_some_state_lost || is_mail_lost;
        if !self.check_mail(&mut log, may_be_old, seen)? {
            // Pages that lead astray are found by a start that looks at all of them.
            drop(log);
            mark(folder);
            let opened = open(folder.directory(), settings(), WALL);
            log = opened.map_err(|error| format!("can't open when told to look: {error}"))?;
            if log.report.lost_mail_rows == 0 && !log.report.is_mail_lost {
                return Err("mail is missing without a word".to_owned());
            }
            seen.mails_checked += 1;
        }
        let missing = self.check_lanes(&mut log, seen)?;
        seen.records_missing += missing;
        seen.harmless += u64::from(missing == 0 && !is_some_state_lost);
        let told = gaps(&log.reader);

        let heads = PerLane::from_fn(|lane| log.reader.head(lane));
        drop(log);
        let opened = open(folder.directory(), settings(), WALL);
        let mut log = opened.map_err(|error| format!("can't open again: {error}"))?;
        let again = log.report.clone();
        let is_news =
            again.is_state_lost || again.is_journal_lost || again.lost_frames + again.lost_rows > 0;
        if is_news {
            return Err(format!("the next start finds {again:?} after {report:?}"));
        }
        for lane in Lane::ALL {
            let head = log.reader.head(lane);
            if head != heads[lane] {
                return Err(format!("{lane}: head {head}, not {}", heads[lane]));
            }
        }
        let missing_again = self.check_lanes(&mut log, &mut Seen::default())?;
        // What was brought from the journal into a segment whose damage had not shown yet may be a
        // gap now; nothing else may.
        seen.missing_later += missing_again.saturating_sub(missing);
        let is_same = missing_again == missing && gaps(&log.reader) == told;
        if missing_again < missing || missing_again == missing && !is_same {
            let gaps = gaps(&log.reader);
            return Err(format!(
                "{missing} missing, then {missing_again}; {told:?}, {gaps:?}"
            ));
        }
        Ok(())
    }

    /// Reads all lanes; gives how many wanted records are missing.
    fn check_lanes(&self, log: &mut Opened, seen: &mut Seen) -> Result<u64, String> {
        let mut read = PerLane::<BTreeSet<u64>>::default();
        for lane in Lane::ALL {
            let mut at = Offset(0);
            while at < log.reader.head(lane) {
                let chunk = log.reader.read(lane, at, BUDGET);
                let chunk = chunk.map_err(|error| format!("{lane} {at}: {error}"))?;
                if chunk.next <= at {
                    return Err(format!("{lane}: no way past {at}"));
                }
                for (offset, record) in chunk.records {
                    let stored = self.lanes[lane].get(offset.0 as usize);
                    if stored != Some(&record) && !is_new(&record) {
                        return Err(format!("{lane} {offset}: another record"));
                    }
                    read[lane].insert(offset.0);
                }
                if let Some(gap) = chunk.damaged {
                    log.writer.note_gap(gap);
                }
                at = chunk.next;
            }
        }
        go_on(&mut log.writer, &mut log.reader)?;
        let gaps = gaps(&log.reader);
        // What both homes of the gaps have lost is said so.
        let is_forgotten = |lane: Lane| {
            gaps.iter()
                .any(|gap| (gap.lane, gap.reason) == (lane, Reason::Forgotten))
        };
        let mut missing = 0;
        for lane in Lane::ALL {
            let first = log.reader.first(lane);
            let of_lane = gaps.iter().filter(|gap| gap.lane == lane && gap.count > 0);
            let of_lane: Vec<&Gap> = of_lane.collect();
            let mut counted = 0;
            for offset in 0..log.reader.head(lane).0 {
                let times = of_lane.iter().filter(|gap| gap.has(Offset(offset))).count();
                counted += times as u64;
                let is_read = read[lane].contains(&offset);
                let is_rejected = lane == Lane::Normal && offset == self.rejected;
                if times > 1 || is_read && times > 0 && !is_rejected {
                    return Err(format!(
                        "{lane} {offset} is counted {times} times: {gaps:?}"
                    ));
                }
                if is_read {
                    seen.records_read += 1;
                    continue;
                }
                if offset < self.floors[lane].0 || offset >= self.lanes[lane].len() as u64 {
                    continue;
                }
                missing += 1;
                let is_in = gaps
                    .iter()
                    .any(|gap| gap.lane == lane && gap.has(Offset(offset)));
                let is_given_up = offset < first.0.max(self.thinned_to[lane].0);
                if !(is_in || is_forgotten(lane) && is_given_up) {
                    let head = log.reader.head(lane);
                    return Err(format!(
                        "{lane} {offset} of {head} is missing without a word: {gaps:?}"
                    ));
                }
            }
            let told: u64 = of_lane.iter().map(|gap| gap.count).sum();
            if told != counted {
                return Err(format!(
                    "{lane}: {told} are told, {counted} are meant: {gaps:?}"
                ));
            }
        }
        Ok(missing)
    }

    /// Reads all mail, and has a file mended that can't be read. False when rows are missing and
    /// no read noticed it.
    fn check_mail(
        &self,
        log: &mut Opened,
        mut may_be_old: bool,
        seen: &mut Seen,
    ) -> Result<bool, String> {
        let mut told = BTreeSet::new();
        let mut found = BTreeMap::new();
        for table in TABLES.into_iter().filter(|table| table.is_mail()) {
            let walked = match log.reader.walk(table, b"", b"z", BUDGET) {
                Ok(walked) => walked,
                Err(error) => {
                    if log.reader.poll_damage() != Some(Damage::File) {
                        return Err(format!("{error} is no damage"));
                    }
                    log.writer.mend_mail();
                    for event in log.writer.maintain(WALL) {
                        log.reader.apply(&event);
                        may_be_old |= matches!(event, Event::MailExchanged { .. });
                    }
                    seen.mails_mended += 1;
                    let walked = log.reader.walk(table, b"", b"z", BUDGET);
                    walked.map_err(|error| format!("mended: {error}"))?
                }
            };
            while let Some(damage) = log.reader.poll_damage() {
                let Damage::Row { table, key } = damage else {
                    return Err("the file was read".to_owned());
                };
                if table == Table::Mail {
                    let gap = Gap::of_mail(Lane::Normal, &key, 1);
                    log.writer.note_gap(gap);
                }
                seen.mail_rows_told += 1;
                told.insert((table, key));
            }
            let rows = walked.rows.into_iter();
            found.extend(rows.map(|(key, value)| ((table, key), value)));
        }
        let mut is_complete = true;
        for (place, values) in self
            .history
            .iter()
            .filter(|((table, _), _)| table.is_mail())
        {
            let value = found.remove(place);
            let is_told = may_be_old || told.contains(place);
            if values.last() == Some(&value) || is_told && values.contains(&value) {
                continue;
            }
            if value.is_some() && !values.contains(&value) {
                return Err(format!("{place:?} has another value"));
            }
            is_complete = false;
        }
        match found.first_key_value() {
            Some((place, _)) => Err(format!("{place:?} was never stored")),
            None => Ok(is_complete),
        }
    }

    fn check_state(&self, reader: &Reader, may_be_old: bool) -> Result<(), String> {
        let mut found = BTreeMap::new();
        for table in TABLES.into_iter().filter(|table| !table.is_mail()) {
            let read = reader.read_state(table, |key, value| {
                found.insert((table, key.to_vec()), value.to_vec());
            });
            read.map_err(|error| error.to_string())?;
        }
        for (place, values) in self
            .history
            .iter()
            .filter(|((table, _), _)| !table.is_mail())
        {
            let value = found.remove(place);
            let is_right = values.last() == Some(&value) || may_be_old && values.contains(&value);
            if !is_right {
                return Err(format!("{place:?} has another value"));
            }
        }
        match found.first_key_value() {
            Some((place, _)) => Err(format!("{place:?} was never stored")),
            None => Ok(()),
        }
    }
}

/// Does one to four things to the files.
fn damage(folder: &SimulatedFolder, dice: &mut Dice) -> Vec<String> {
    let mut done = Vec::new();
    let names = folder.names().expect("the log works");
    for _ in 0..[1, 1, 2, 4][dice.below(4) as usize] {
        let name = &names[dice.below(names.len() as u64) as usize];
        let file = folder.open(name).expect("it is there");
        let bytes = file.len().expect("the log works");
        if bytes == 0 {
            continue;
        }
        let at = match name == "journal" && dice.below(2) == 0 {
            true => near_the_last_frame(file.as_ref(), dice).min(bytes - 1),
            false => dice.below(bytes),
        };
        match dice.below(8) {
            0 => {
                file.set_len(at).expect("the log works");
                done.push(format!("{name} cut at {at}"));
            }
            1 => {
                let sector = at - at % 512;
                let count = (512 << dice.below(4)).min(bytes - sector);
                let garbage = vec![dice.below(3) as u8 * 0x55; count as usize];
                file.write_at(sector, &garbage).expect("the log works");
                done.push(format!("{name} overwritten at {sector}, {count} bytes"));
            }
            _ => {
                let mut byte = [0];
                file.read_at(at, &mut byte).expect("the log works");
                byte[0] ^= 1 << dice.below(8);
                file.write_at(at, &byte).expect("the log works");
                done.push(format!("{name} flipped at {at}"));
            }
        }
        file.sync_data().expect("the log works");
    }
    done
}

/// A place in the few pages of a journal that the next start needs.
fn near_the_last_frame(journal: &dyn File, dice: &mut Dice) -> u64 {
    let mut last = (0, 0);
    let mut head = [0; 32];
    for at in (0..).step_by(PAGE_BYTES as usize) {
        if journal.read_at(at, &mut head).is_err() {
            break;
        }
        let sequence = u64::from_le_bytes(head[24..].try_into().expect("it has 8 bytes"));
        if head.starts_with(b"RMQF") {
            last = last.max((sequence, at));
        }
    }
    last.1.saturating_sub(3 * PAGE_BYTES) + dice.below(5 * PAGE_BYTES)
}

/// Has the next start look at everything.
fn mark(folder: &SimulatedFolder) {
    folder.create("starting").expect("the log works");
    folder.sync().expect("the log works");
}

/// What a gateway does next: it stores a record, and has the gaps seen.
fn go_on(writer: &mut Writer, reader: &mut Reader) -> Result<(), String> {
    let record = new_record();
    let before = reader.head(Lane::Critical);
    let append = Change::Append {
        lane: Lane::Critical,
        record: record.clone(),
    };
    let batch = Batch {
        changes: vec![append],
    };
    let committed = writer.commit(&batch, WALL);
    let committed = committed.map_err(|error| error.to_string())?;
    reader.committed(&batch, &committed);
    for wall in [WallTime(WALL.0 + 2000), WallTime(WALL.0 + 4000)] {
        follow(writer, reader, wall);
    }
    let chunk = reader.read(Lane::Critical, before, BUDGET);
    let chunk = chunk.map_err(|error| error.to_string())?;
    if chunk.records != [(before, record)] {
        return Err("what is stored now is not read".to_owned());
    }
    Ok(())
}

/// A start took a state whose rows were whole, and no flush ever succeeded, because redb's own
/// pages were not: gaps were never seen, and the journal filled up. Now it is made anew.
#[test]
fn a_damaged_page_of_the_state_does_not_stop_the_log() {
    contain_panics_quietly();
    let base = Base::new(1);
    let of_state = base.files.iter().find(|(name, _)| name == "state.redb");
    let contents = &of_state.expect("it is there").1;
    let is_used = |page: &&[u8]| page.iter().any(|byte| *byte != 0);
    let pages = contents.chunks(4096).enumerate();
    let used: Vec<usize> = pages.filter(|it| is_used(&it.1)).map(|it| it.0).collect();
    let mut seen = Seen::default();
    for number in used.iter().step_by(used.len().div_ceil(25)) {
        let folder = base.copy();
        let state = folder.open("state.redb").expect("it is there");
        let at = *number as u64 * 4096;
        state.write_at(at, &[0x55; 4096]).expect("the log works");
        if let Err(wrong) = base.check(&folder, &mut seen) {
            panic!("page {number}: {wrong}");
        }
    }
    assert!(seen.records_read > 5_000, "{seen:?}");
}

/// redb panicked on one damaged page in six: one bad sector, and no reader that came by lived.
/// Now whatever a page says, the rest of the lane is read, and what is missing is written down.
#[test]
fn a_damaged_page_is_a_gap_and_not_the_end() {
    contain_panics_quietly();
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, RECORDS);
    log.writer.close().unwrap();
    let mut names = folder.names().unwrap();
    names.retain(|name| name.starts_with("normal-"));
    names.sort();
    let name = names[0].clone();
    let pages = folder.open(&name).unwrap().len().unwrap() / 4096;
    let mut damaged = 0;
    // The heads of pages: the flags of the file, the kinds and lengths of nodes.
    for page in 0..pages {
        let at = page * 4096 + [0, 2, 4, 9, 17][page as usize % 5];
        folder.flip(&name, at);
        let mut log = reopen(&folder);
        let (read, missing) = read_all(&mut log.reader);
        assert_eq!(read + missing, RECORDS, "byte {at}: {read} and {missing}");
        assert!(missing < 80, "byte {at} took {missing} records along");
        damaged += u64::from(missing > 0);
        drop(log);
        folder.flip(&name, at);
    }
    assert!(damaged > 3, "{damaged} of {pages} pages were missed");
    let (read, missing) = read_all(&mut reopen(&folder).reader);
    assert_eq!((read, missing), (RECORDS, 0), "nothing was made worse");
}

/// A file said nowhere whose lane it was of: restored under another's name, its records were served
/// as that one's, in the place of those that had been stored there. Now a block names its lane.
#[test]
fn a_segment_of_another_lane_is_not_taken_for_one_of_its_own() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    let lanes = [Lane::Urgent, Lane::Normal];
    for number in 0..10 {
        let record = |lane: Lane| with_payload("a/b", &[lane as u8, number]);
        let append = |lane| Change::Append {
            lane,
            record: record(lane),
        };
        let changes = lanes.map(append).to_vec();
        store(&mut log.writer, &mut log.reader, &Batch { changes }, WALL);
    }
    log.writer.close().unwrap();
    drop(log.reader);
    let names = lanes.map(|lane| format!("{}-{:020}.redb", lane.name(), 0));
    let files = names.clone().map(|name| contents(&folder, &name));
    replace(&folder, &names[0], &files[1]);
    replace(&folder, &names[1], &files[0]);
    let log = reopen(&folder);
    let missing = gaps(&log.reader);
    for lane in lanes {
        let is_it = |gap: &&Gap| gap.lane == lane && gap.reason == Reason::Damage;
        let missing: u64 = missing.iter().filter(is_it).map(|gap| gap.count).sum();
        assert_eq!((missing, log.reader.head(lane)), (10, Offset(10)), "{lane}");
        assert_eq!(log.reader.segments(lane).count(), 0, "{lane}");
    }
    assert_eq!(log.report.damaged_files.len(), 2, "{:?}", log.report);
}

fn reopen(folder: &SimulatedFolder) -> Opened {
    reopen_with(folder, settings())
}

fn reopen_with(folder: &SimulatedFolder, settings: Settings) -> Opened {
    let mut opened = open(folder.directory(), settings, WALL).expect("the log works");
    let events = opened.writer.maintain(WALL);
    events.iter().for_each(|event| opened.reader.apply(event));
    opened
}

fn settings() -> Settings {
    Settings {
        journal_bytes: 256 << 10,
        flush_bytes: 48 << 10,
        has_mail: true,
        ..small()
    }
}

fn fill(writer: &mut Writer, reader: &mut Reader, count: u64) {
    let record = with_payload("a/b", &[7; 2000]);
    for _ in 0..count {
        let append = Change::Append {
            lane: Lane::Normal,
            record: record.clone(),
        };
        let batch = Batch {
            changes: vec![append],
        };
        store(writer, reader, &batch, WALL);
    }
}

/// How many records were read, and how many the reader said it could not read.
fn read_all(reader: &mut Reader) -> (u64, u64) {
    let (mut at, mut read, mut missing) = (Offset(0), 0, 0);
    while at < reader.head(Lane::Normal) {
        let budget = Budget {
            records: 50,
            bytes: 1 << 20,
        };
        let chunk = reader
            .read(Lane::Normal, at, budget)
            .expect("the log works");
        assert!(chunk.next > at, "no way past {at}");
        read += chunk.records.len() as u64;
        missing += chunk.damaged.map_or(0, |gap| gap.count);
        at = chunk.next;
    }
    (read, missing)
}

const WALL: WallTime = WallTime(1_000_000);
const RECORDS: u64 = 150;
/// Frames begin at such places.
const PAGE_BYTES: u64 = 4096;

const TABLES: [Table; 6] = [
    Table::Sessions,
    Table::Cursors,
    Table::Retained,
    Table::Handshakes,
    Table::Mail,
    Table::MailKeys,
];
const BUDGET: Budget = Budget {
    records: 50,
    bytes: 1 << 20,
};

fn gaps(reader: &Reader) -> Vec<Gap> {
    let gaps = reader.gaps(0).expect("the log works");
    let gaps = gaps.into_iter().map(|(_, gap)| gap);
    gaps.filter(|gap| !gap.is_of_mail()).collect()
}

fn rejected(offset: Offset) -> Gap {
    Gap {
        lane: Lane::Normal,
        first: offset,
        last: offset,
        count: 1,
        bytes: 100,
        from: WALL,
        to: WALL,
        reason: Reason::Rejected,
        parts: Parts::default(),
    }
}

fn record(lane: Lane, offset: usize, dice: &mut Dice) -> Record {
    let bytes = match dice.below(30) {
        0 => 70_000,
        1..4 => dice.below(6_000),
        _ => dice.below(600),
    };
    let mut payload = vec![lane as u8];
    payload.extend(offset.to_le_bytes());
    payload.extend((0..bytes).map(|at| (at ^ offset as u64) as u8));
    match offset % 9 {
        0 => with_payload(&format!("rare/{}", offset % 11), &payload).keeping_latest(),
        _ => with_payload("a/b", &payload),
    }
}

fn new_record() -> Record {
    with_payload("new", b"new")
}

fn is_new(record: &Record) -> bool {
    *record == new_record()
}

fn with_payload(topic: &str, payload: &[u8]) -> Record {
    record_of(topic, WALL, payload)
}
