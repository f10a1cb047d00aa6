//! What goes wrong: links, cloud, power and the disk's quota.

use embedded_io::ErrorKind;
use sync::{Engine, Input, Lane, Start};

use super::{Event, World};
use crate::sim::checker::ensure;
use crate::sim::link::{Manner, Phase};
use crate::sim::plan::{AGENTS, MAIL};
use crate::sim::{MS, SECOND, Violation};

impl World {
    pub(super) fn misfortune(&mut self) -> Result<(), Violation> {
        if self.is_healed {
            return Ok(());
        }
        let wait = self.chance(self.plan.misfortune_micros);
        self.after(wait, Event::Misfortune);
        let at = self.generator.below(self.links.len() as u64) as usize;
        let session = self.links[at].session;
        let kind = ErrorKind::ConnectionReset;
        match self.generator.below(10) {
            0 | 1 => self.fallen(at, session, kind),
            2 => {
                self.links[at].partitioned_until = self.now + self.chance(6 * SECOND);
                self.fallen(at, session, kind)
            }
            3 | 4 => {
                if self.links[at].phase == Phase::Up(Manner::Normal) {
                    let is_mute = self.generator.below(2) == 0;
                    let manner = if is_mute {
                        Manner::Mute
                    } else {
                        Manner::HalfOpen
                    };
                    self.links[at].phase = Phase::Up(manner);
                }
                Ok(())
            }
            5 | 6 if self.plan.has_refusals => {
                let topic = self.generator.below(self.plan.topic_count);
                let until = self.now + self.chance(4 * SECOND);
                let prefix = ["plant/", "plant/", MAIL, AGENTS][self.generator.below(4) as usize];
                self.cloud.refuse(format!("{prefix}{topic}"), until);
                Ok(())
            }
            7 if self.plan.has_crashes => self.crash(),
            8 if self.plan.has_quota && self.engine.is_some() => self.exceed_quota(),
            9 if self.plan.has_forgetting => {
                let hold = self.plan.settings.hold.as_micros() as u64;
                let since = self.now.saturating_sub(hold / 2);
                self.cloud.forget(since, &mut self.generator);
                self.has_forgotten = true;
                self.replays_due += 1;
                let wait = self.chance(hold / 4);
                self.after(wait, Event::Replay);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn crash(&mut self) -> Result<(), Violation> {
        if self.is_traced {
            println!("{:>10} crash", self.now);
        }
        if self.engine.take().is_none() {
            return Ok(());
        }
        self.log.cut_power();
        for at in 0..self.links.len() {
            let last_arrival = self.now + self.chance(self.plan.round_trip_micros);
            self.links[at].fall(last_arrival);
        }
        let wait = self.chance(2 * SECOND);
        self.after(wait, Event::Restart);
        if self.generator.below(2) == 0 && !self.is_healed {
            let wait = wait + self.chance(300 * MS);
            self.after(wait, Event::Crash);
        }
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<(), Violation> {
        if self.engine.is_some() {
            return Ok(());
        }
        self.life += 1;
        self.fetches_outstanding = [false; 3];
        self.is_checkpoint_outstanding = false;
        // Now and then the checkpoint can't be read, which may only send records again.
        let is_readable = self.generator.below(16) != 0;
        if !is_readable {
            self.log.checkpoint = None;
        }
        let engine = Engine::new(&Start {
            settings: self.plan.settings.clone(),
            seed: self.generator.draw(),
            lanes: self.log.extents(),
            checkpoint: self.log.checkpoint.as_deref(),
        });
        let engine = engine.map_err(|error| format!("does not start: {error}"))?;
        // What the last durable checkpoint still wants must be there, or a crash would count
        // gaps of what had arrived.
        let is_exact = !self.plan.has_quota;
        ensure(!is_exact || engine.counters().trimmed == 0, || {
            "retention passed the durable checkpoint".into()
        })?;
        self.checker.restarted(&engine);
        self.engine = Some(engine);
        if self.has_forgotten {
            self.replay_all()
        } else {
            Ok(())
        }
    }

    pub(super) fn replay_all(&mut self) -> Result<(), Violation> {
        for lane in Lane::ALL {
            if let Some(engine) = &self.engine {
                let from = engine.release_floor(lane);
                self.feed(Input::Replay { lane, from })?;
            }
        }
        Ok(())
    }
}
