//! The driver's log: what is appended, committed, read and dropped.

use sync::{Input, Lane, Offset, Record, RecordParts, WallTime};

use super::{Event, World};
use crate::sim::checker::ensure;
use crate::sim::plan::{AGENTS, MAIL, Sabotage};
use crate::sim::{MS, SECOND, Violation};

/// What a read gave: records and where it stopped; `None` for a failure.
pub(super) type Answer = Option<(Vec<(Offset, Record)>, Offset)>;

impl World {
    pub(super) fn append(&mut self) -> Result<(), Violation> {
        if self.is_healed {
            return Ok(());
        }
        if self.engine.is_some() {
            for _ in 0..=self.generator.below(4) {
                let (lane, record) = self.invent();
                self.records += 1;
                self.log.append(lane, record);
            }
            self.want_commit();
        }
        let wait = self.chance(self.plan.append_micros);
        self.after(wait, Event::Append);
        Ok(())
    }

    pub(super) fn invent(&mut self) -> (Lane, Record) {
        let number = self.generator.below(self.plan.topic_count);
        let lane = Lane::ALL[(number % 3) as usize];
        let (lane, topic) = match self.generator.below(16) {
            0 | 1 => (lane, format!("local/{number}")),
            2..6 => (lane, format!("{MAIL}{number}")),
            // What is one topic has one lane.
            6 => (Lane::Normal, format!("{AGENTS}{number}")),
            _ => (lane, format!("plant/{number}")),
        };
        let size = match self.generator.below(30) {
            0 => 2_000,
            1..4 => 900,
            _ => self.generator.below(120) as usize,
        };
        let record = Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: self.generator.below(12) == 0,
            time: WallTime(self.now / MS),
            expiry_seconds: None,
            publisher: self.generator.draw(),
            topic: &topic,
            properties: &[],
            payload: &vec![7; size],
        });
        (lane, record)
    }

    pub(super) fn want_commit(&mut self) {
        if !self.is_commit_due {
            self.is_commit_due = true;
            let wait = self.chance(20 * MS);
            self.after(wait, Event::Commit);
        }
    }

    pub(super) fn commit(&mut self) -> Result<(), Violation> {
        self.is_commit_due = false;
        if self.engine.is_none() {
            return Ok(());
        }
        let fails = self.plan.has_log_failures && !self.is_healed && self.generator.below(8) == 0;
        if fails && self.is_checkpoint_outstanding && self.sabotage.is_none() {
            self.log.fail_checkpoint();
            self.is_checkpoint_outstanding = false;
            self.feed(Input::CheckpointFailed)?;
        }
        let committed = self.log.commit();
        let mut lanes = [false; 3];
        for ((lane, offset), record) in &committed.appended {
            self.checker.appended(&self.plan, (*lane, *offset), record);
            lanes[*lane as usize] = true;
        }
        let extents = self.log.extents();
        for lane in Lane::ALL.into_iter().filter(|lane| lanes[*lane as usize]) {
            let head = extents[lane].head;
            self.feed(Input::Appended { lane, head })?;
        }
        if committed.has_checkpoint && self.sabotage != Some(Sabotage::ConfirmsCheckpointsEarly) {
            self.is_checkpoint_outstanding = false;
            self.feed(Input::CheckpointDone)?;
        }
        Ok(())
    }

    pub(super) fn fetched(
        &mut self,
        life: u64,
        lane: Lane,
        answer: Answer,
    ) -> Result<(), Violation> {
        if life != self.life || self.engine.is_none() {
            return Ok(());
        }
        self.fetches_outstanding[lane as usize] = false;
        match answer {
            Some((records, next)) => self.feed(Input::Fetched {
                lane,
                records,
                next,
            }),
            None => self.feed(Input::FetchFailed { lane }),
        }
    }

    pub(super) fn retain(&mut self) -> Result<(), Violation> {
        self.after(SECOND, Event::Retain);
        for lane in Lane::ALL {
            let Some(engine) = &self.engine else {
                return Ok(());
            };
            let floor = match self.sabotage {
                Some(Sabotage::ReleasesAtAcknowledgement) => engine.ack_floor(lane),
                _ => engine.release_floor(lane),
            };
            let dropped = self.log.trim(lane, floor.0);
            self.checker.released(&dropped, &self.cloud)?;
            if !dropped.is_empty() {
                self.feed(Input::Trimmed { lane, first: floor })?;
            }
        }
        Ok(())
    }

    pub(super) fn exceed_quota(&mut self) -> Result<(), Violation> {
        let lane = Lane::ALL[self.generator.below(3) as usize];
        let extent = self.log.extents()[lane];
        let first = extent.first.0 + self.generator.below(12);
        let first = Offset(first.min(extent.head.0));
        if self.generator.below(2) == 0 {
            let (dropped, first) = self.log.thin(lane, first.0);
            self.checker.trimmed(&dropped, &self.cloud);
            self.feed(Input::Thinned { lane })?;
            let first = Offset(first);
            return self.feed(Input::Trimmed { lane, first });
        }
        let dropped = self.log.trim(lane, first.0);
        self.checker.trimmed(&dropped, &self.cloud);
        self.feed(Input::Trimmed { lane, first })
    }

    pub(super) fn fetch(
        &mut self,
        lane: Lane,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<(), Violation> {
        let outstanding = &mut self.fetches_outstanding[lane as usize];
        ensure(!*outstanding, || format!("{lane} is read twice at a time"))?;
        *outstanding = true;
        ensure(max_records > 0 && max_bytes > 0, || "reads nothing".into())?;
        let fails = self.plan.has_log_failures && !self.is_healed && self.generator.below(10) == 0;
        let mut answer = self.log.read(lane, from.0, max_records, max_bytes);
        if self.sabotage == Some(Sabotage::LosesWhatItReads) && self.generator.below(20) == 0 {
            answer.0.pop();
        }
        let answer = if fails { None } else { Some(answer) };
        let wait = self.chance(4 * MS);
        let life = self.life;
        self.after(wait, Event::Fetched { life, lane, answer });
        Ok(())
    }
}
