//! Compares an open log with the books.

use std::collections::BTreeMap;

use edge::log::{Batch, Budget, Damage, Gap, Opened, Reason};
use sync::{Change, Lane, Offset, Record, Table, WallTime};

use crate::books::{Books, Place, Slot, records_of, rows_of};
use crate::log_parts::record_of;

/// Tables that scripts change.
pub(crate) const TABLES: [Table; 4] = [
    Table::Sessions,
    Table::Cursors,
    Table::Mail,
    Table::MailTails,
];

/// What was read of a lane, by offset.
type Found = BTreeMap<u64, Record>;

impl Books {
    /// Judges what a start has made of the folder, and goes on from there.
    pub(crate) fn judge_start(&mut self, log: &mut Opened, wall: WallTime) {
        let report = &log.report;
        if self.harm.times == 0 {
            let is_torn = report.gaps.iter().all(|gap| gap.reason == Reason::Torn);
            let is_lossless = report.damaged_files.is_empty() && report.damaged_segments.is_empty();
            let counts = report.lost_frames + report.lost_rows + report.lost_mail_rows;
            let is_lost = report.is_state_lost || report.is_journal_lost || report.is_mail_lost;
            assert!(
                is_torn && is_lossless && counts == 0 && !is_lost,
                "no damage, and yet {report:?}"
            );
        }
        let before = self.lanes.clone().0.map(|slots| slots.len());
        for lane in Lane::ALL {
            self.judge_end(lane, log.reader.head(lane).0);
            self.begin_at(lane, log.reader.first(lane).0);
            let last = log.reader.segments(lane).last().map_or(0, |it| it.1.0);
            self.flushed[lane] = log.reader.first(lane).0.max(last);
        }
        for lane in Lane::ALL {
            let found = read_lane(log, lane);
            self.judge_records(lane, &found);
        }
        self.judge_rows(log, before, wall);
        self.give_up_refused();
        self.maybe_rejected.append(&mut self.fresh_rejected);
    }

    /// Judges everything, when all gaps are there for readers to see.
    pub(crate) fn judge_all(&mut self, log: &mut Opened, wall: WallTime) {
        for lane in Lane::ALL {
            let found = read_lane(log, lane);
            self.judge_records(lane, &found);
        }
        self.store_one(log, wall);
        if self.harm.times > 0 {
            return;
        }
        let gaps = log.reader.gaps(0).expect("the disk works");
        let mut gaps: Vec<Gap> = gaps.into_iter().map(|(_, gap)| gap).collect();
        gaps.retain(|gap| !gap.is_of_mail());
        for lane in Lane::ALL {
            let of_lane: Vec<&Gap> = gaps.iter().filter(|gap| gap.lane == lane).collect();
            let found = read_lane(log, lane);
            self.judge_gaps(lane, &found, &of_lane);
        }
    }

    /// A lane ends where it did, or behind that. It ends before only where damage took the end, or
    /// where nobody wanted the last any more and what knew of them is gone.
    fn judge_end(&mut self, lane: Lane, head: u64) {
        for at in head..self.next(lane) {
            let slot = &self.lanes[lane][at as usize];
            let is_settled = slot.stored().is_some();
            let is_forgotten = self.harm.state && at < self.floors[lane];
            assert!(
                !is_settled || is_forgotten || self.may_be_lost(lane, at),
                "{lane} {at}: the lane ends at {head}; {:?}",
                self.harm
            );
        }
        self.lanes[lane].truncate(head as usize);
        self.first[lane] = self.first[lane].min(head);
        self.floors[lane] = self.floors[lane].min(head);
        self.extend(lane, head);
    }

    /// What was read is what was stored, and what was not read may be missing.
    fn judge_records(&mut self, lane: Lane, found: &Found) {
        for (at, record) in found {
            let slot = &self.lanes[lane][*at as usize];
            let is_right = self.may_be(lane, *at, record);
            assert!(is_right, "{lane} {at}: {record:?} and not {slot:?}");
            self.lanes[lane][*at as usize] = Slot::Stored(record.clone());
        }
        let from = self.first[lane].max(self.floors[lane]);
        for at in from..self.next(lane) {
            let is_stored = self.lanes[lane][at as usize].stored().is_some();
            let is_missing = is_stored && !found.contains_key(&at);
            let may_be_missing = self.may_be_lost(lane, at) || self.may_be_thinned(lane, at);
            assert!(
                !is_missing || may_be_missing,
                "{lane} {at}: missing, and nothing was damaged there; {:?}",
                self.harm
            );
        }
    }

    /// Every offset is served, or stands in exactly one gap, or was not wanted. Where damage was
    /// nobody can tell: it may be mended by damage, and an older state knows nothing of what went.
    fn judge_gaps(&self, lane: Lane, found: &Found, gaps: &[&Gap]) {
        let counted: Vec<&&Gap> = gaps.iter().filter(|gap| gap.count > 0).collect();
        let mut sum = 0;
        for at in 0..self.next(lane) {
            let times = counted.iter().filter(|gap| gap.has(Offset(at))).count();
            sum += times as u64;
            let is_read = found.contains_key(&at);
            let is_rejected = self.rejected.contains(&(lane, at));
            let may_be_rejected = is_rejected || self.maybe_rejected.contains(&(lane, at));
            let most = usize::from(!is_read || may_be_rejected);
            let least = usize::from(is_rejected);
            assert!(
                (least..=most).contains(&times),
                "{lane} {at}: in {times} gaps, and served: {is_read}; {gaps:?}"
            );
            assert!(
                is_read || times > 0 || at < self.floors[lane],
                "{lane} {at}: missing without a word; {gaps:?}"
            );
        }
        let told: u64 = counted.iter().map(|gap| gap.count).sum();
        assert_eq!(told, sum, "{lane}: counts and offsets of {gaps:?}");
    }

    /// Rows are those that were acknowledged, with all of one refused group or nothing of any;
    /// where damage took some, each is one that was stored under its key.
    fn judge_rows(&mut self, log: &mut Opened, before: [usize; 3], wall: WallTime) {
        let (found, is_mail_hurt) = self.read_rows(log, wall);
        let is_sound = self.harm.times == 0;
        assert!(!is_mail_hurt || !is_sound, "no damage, and yet in the mail");
        if !is_sound {
            return self.judge_old_rows(&found);
        }
        let mut outcomes: Vec<Option<usize>> = (0..self.refused.len()).map(Some).collect();
        outcomes.insert(0, None);
        outcomes.retain(|number| self.rows(number.map(|it| &self.refused[it])) == found);
        for (number, batch) in self.refused.iter().enumerate() {
            if rows_of(batch).next().is_some() && self.is_there(batch, before) {
                outcomes.retain(|it| *it == Some(number));
            }
        }
        let is_whole = |number: &Option<usize>| {
            number.is_none_or(|it| {
                let batch = &self.refused[it];
                let is_empty = Lane::ALL
                    .iter()
                    .all(|lane| records_of(batch, *lane).next().is_none());
                is_empty || self.is_there(batch, before)
            })
        };
        let outcome = outcomes.into_iter().find(is_whole);
        let outcome = outcome.expect("rows of what was acknowledged, or with all of a group");
        if let Some(number) = outcome {
            let batch = self.refused[number].clone();
            self.take_rows(&batch);
        }
    }

    /// Whether the first record of a refused group that has some was found behind what was there.
    fn is_there(&self, batch: &Batch, before: [usize; 3]) -> bool {
        Lane::ALL.into_iter().any(|lane| {
            let new = self.lanes[lane].iter().skip(before[lane as usize]);
            let new: Vec<&Record> = new.filter_map(Slot::stored).collect();
            let mut records = records_of(batch, lane);
            records.next().is_some_and(|record| new.contains(&&record))
        })
    }

    fn judge_old_rows(&mut self, found: &BTreeMap<Place, Vec<u8>>) {
        let is_any_refused = !self.refused.is_empty();
        self.give_up_refused();
        for (place, values) in &mut self.history {
            let value = found.get(place).cloned();
            let is_hurt = match place.0.is_mail() {
                true => self.harm.mail || self.harm.state || self.harm.journal,
                false => self.harm.state || self.harm.journal,
            };
            let is_last = values.last() == Some(&value) || is_any_refused;
            assert!(
                is_last || is_hurt,
                "{place:?} is not what it was, and nothing was damaged there"
            );
            assert!(values.contains(&value), "{place:?} was never so");
            values.push(value);
        }
        let stray = found
            .keys()
            .find(|place| !self.history.contains_key(*place));
        assert_eq!(stray, None, "a row that nobody stored");
    }

    /// Reads all rows, and has the mail mended if it can't be read. Says whether it could not.
    fn read_rows(&mut self, log: &mut Opened, wall: WallTime) -> (BTreeMap<Place, Vec<u8>>, bool) {
        let mut rows = BTreeMap::new();
        let mut is_hurt = false;
        for table in TABLES {
            if !table.is_mail() {
                let read = log.reader.read_state(table, |key, value| {
                    rows.insert((table, key.to_vec()), value.to_vec());
                });
                read.expect("the disk works");
                continue;
            }
            let walked = match log.reader.walk(table, b"", b"\xff", BUDGET) {
                Ok(walked) => walked,
                Err(error) => {
                    is_hurt = true;
                    assert_eq!(log.reader.poll_damage(), Some(Damage::File), "{error}");
                    log.writer.mend_mail();
                    maintain(log, self, wall);
                    let walked = log.reader.walk(table, b"", b"\xff", BUDGET);
                    walked.expect("it was mended")
                }
            };
            while let Some(damage) = log.reader.poll_damage() {
                is_hurt = true;
                assert_ne!(damage, Damage::File, "it was read");
            }
            assert_eq!(walked.next, None, "there are few rows");
            let found = walked.rows.into_iter();
            rows.extend(found.map(|(key, value)| ((table, key), value)));
        }
        (rows, is_hurt)
    }

    /// Stores a record, and has all gaps seen.
    fn store_one(&mut self, log: &mut Opened, wall: WallTime) {
        let record = record_of("last", wall, b"last");
        let lane = Lane::Critical;
        let batch = Batch {
            changes: vec![Change::Append { lane, record }],
        };
        self.ask(&batch);
        let committed = log.writer.commit(&batch, wall);
        for event in log.writer.events() {
            log.reader.apply(&event);
            self.follow(&event);
        }
        self.bring_to_light(&log.reader);
        let committed = committed.expect("the disk works");
        log.reader.committed(&batch, &committed);
        self.acknowledge(&batch, &committed);
        for later in [2000, 4000] {
            maintain(log, self, WallTime(wall.0 + later));
        }
    }
}

/// Reads a lane from its beginning, and tells the writer of damage that is passed.
fn read_lane(log: &mut Opened, lane: Lane) -> Found {
    let (mut found, mut at) = (Found::new(), log.reader.first(lane));
    while at < log.reader.head(lane) {
        let chunk = log.reader.read(lane, at, BUDGET);
        let chunk = chunk.expect("the disk works");
        assert!(chunk.next > at, "{lane}: no way past {at}");
        for (offset, record) in chunk.records {
            assert!(offset >= at, "{lane}: {offset} is before {at}");
            found.insert(offset.0, record);
        }
        if let Some(gap) = chunk.damaged {
            log.writer.note_gap(gap);
        }
        at = chunk.next;
    }
    found
}

/// Does what is due, and lets readers know.
fn maintain(log: &mut Opened, books: &mut Books, wall: WallTime) {
    for event in log.writer.maintain(wall) {
        log.reader.apply(&event);
        books.follow(&event);
    }
    books.bring_to_light(&log.reader);
}

const BUDGET: Budget = Budget {
    records: 1000,
    bytes: 1 << 20,
};
