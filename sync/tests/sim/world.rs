//! Time, chance and the driver: feeds the engine, obeys it, and lets misfortunes happen.

mod misfortune;
mod storage;
mod wire;

use std::collections::BTreeMap;

use embedded_io::ErrorKind;
use sync::{ConnectionId, Engine, Generator, Input, Instant, Lane, Output, Record};

use super::checker::{Checker, ensure};
use super::cloud::{Cloud, Verdict};
use super::link::Link;
use super::log::Log;
use super::plan::{Plan, Sabotage};
use super::{At, MS, Report, SECOND, Violation};

#[derive(Debug)]
pub(crate) struct World {
    plan: Plan,
    sabotage: Option<Sabotage>,
    generator: Generator,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    engine: Option<Engine>,
    /// Counts engines; answers to an older one are dropped.
    life: u64,
    log: Log,
    links: Vec<Link>,
    cloud: Cloud,
    checker: Checker,
    is_healed: bool,
    is_commit_due: bool,
    fetches_outstanding: [bool; 3],
    is_checkpoint_outstanding: bool,
    /// The operator knows that the cloud has lost records.
    has_forgotten: bool,
    replays_due: u32,
    records: u64,
    steps: u64,
    /// Steps since time last moved.
    idle_steps: u64,
    digest: u64,
    is_traced: bool,
}

#[derive(Debug)]
enum Event {
    Append,
    Commit,
    Fetched {
        life: u64,
        lane: Lane,
        answer: storage::Answer,
    },
    Connected {
        at: usize,
        session: u64,
    },
    Fallen {
        at: usize,
        session: u64,
        kind: ErrorKind,
    },
    Arrive {
        at: usize,
        session: u64,
        place: At,
        record: Record,
    },
    Answer {
        at: usize,
        session: u64,
        place: At,
        verdict: Verdict,
    },
    Retain,
    Misfortune,
    Crash,
    Restart,
    Replay,
    Heal,
}

/// After this much virtual time in a healed world, and a round trip for each record, everything
/// must have arrived.
const HEALING_MICROS: u64 = 100 * SECOND;

impl World {
    pub(crate) fn new(plan: Plan, sabotage: Option<Sabotage>) -> Self {
        Self {
            generator: Generator::from_seed(plan.seed),
            links: (0..plan.settings.connection_count())
                .map(|_| Link::default())
                .collect(),
            checker: Checker::new(&plan),
            plan,
            sabotage,
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            engine: None,
            life: 0,
            log: Log::default(),
            cloud: Cloud::default(),
            is_healed: false,
            is_commit_due: false,
            fetches_outstanding: [false; 3],
            is_checkpoint_outstanding: false,
            has_forgotten: false,
            replays_due: 0,
            records: 0,
            steps: 0,
            idle_steps: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            is_traced: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    /// Lives to the end, and tells the first rule that was broken.
    pub(crate) fn live(mut self) -> Result<Report, Violation> {
        self.live_on()
            .map_err(|violation| format!("seed {} at {} us: {violation}", self.plan.seed, self.now))
    }

    fn live_on(&mut self) -> Result<Report, Violation> {
        self.restart()?;
        self.after(0, Event::Append);
        self.after(SECOND, Event::Retain);
        let misfortune = self.chance(self.plan.misfortune_micros);
        self.after(misfortune, Event::Misfortune);
        self.after(self.plan.troubled_micros, Event::Heal);
        while !self.is_finished() {
            self.step()?;
            ensure(self.now < self.deadline(), || {
                format!("no progress in a healed world: {:?}", self.standing())
            })?;
        }
        self.checker.check_end(&self.log, &self.cloud)?;
        self.end()?;
        Ok(Report {
            digest: self.digest,
            steps: self.steps,
            records: self.records,
            arrivals: self.cloud.arrivals,
        })
    }

    /// The gateway is told to stop, and does within bounded time.
    fn end(&mut self) -> Result<(), Violation> {
        self.feed(Input::Stop)?;
        let deadline = self.now + 30 * SECOND;
        while self
            .engine
            .as_ref()
            .is_some_and(|engine| !engine.is_stopped())
        {
            self.step()?;
            ensure(self.now < deadline, || {
                format!("does not stop: {:?}", self.standing())
            })?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.steps += 1;
        let timer = self.engine.as_ref().and_then(Engine::poll_timeout);
        let timer = timer.map_or(u64::MAX, |due| due.as_micros().max(self.now));
        let event = self.events.first_key_value().map(|((due, _), _)| *due);
        let next = timer.min(event.unwrap_or(u64::MAX));
        ensure(next < u64::MAX, || "nothing will ever happen again".into())?;
        self.idle_steps = if next > self.now {
            0
        } else {
            self.idle_steps + 1
        };
        ensure(self.idle_steps < 10_000, || "time stands still".into())?;
        self.now = next;
        if event.is_none_or(|event| timer < event) {
            let now = self.instant();
            if let Some(engine) = &mut self.engine {
                engine.handle_timeout(now);
            }
            return self.obey();
        }
        match self.events.pop_first() {
            Some((_, event)) => self.happen(event),
            None => Ok(()),
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Append => self.append(),
            Event::Commit => self.commit(),
            Event::Fetched { life, lane, answer } => self.fetched(life, lane, answer),
            Event::Connected { at, session } => self.connected(at, session),
            Event::Fallen { at, session, kind } => self.fallen(at, session, kind),
            Event::Arrive {
                at,
                session,
                place,
                record,
            } => self.arrive(at, session, place, record),
            Event::Answer {
                at,
                session,
                place,
                verdict,
            } => {
                if !self.links[at].answers(session) {
                    return Ok(());
                }
                self.links[at].unanswered.retain(|sent| *sent != place);
                self.feed(wire::answer(at, place, verdict))
            }
            Event::Retain => self.retain(),
            Event::Misfortune => self.misfortune(),
            Event::Crash => self.crash(),
            Event::Restart => self.restart(),
            Event::Replay => {
                self.replays_due -= 1;
                self.replay_all()
            }
            Event::Heal => {
                self.is_healed = true;
                self.cloud.heal();
                for link in &mut self.links {
                    link.partitioned_until = 0;
                }
                Ok(())
            }
        }
    }

    fn feed(&mut self, input: Input) -> Result<(), Violation> {
        self.feed_later(input)?;
        self.obey()
    }

    fn feed_later(&mut self, input: Input) -> Result<(), Violation> {
        let now = self.instant();
        if self.is_traced {
            println!("{:>10} <- {input:?}", self.now);
        }
        if let Some(engine) = &mut self.engine {
            engine.handle(now, input);
        }
        Ok(())
    }

    fn obey(&mut self) -> Result<(), Violation> {
        while let Some(output) = self.engine.as_mut().and_then(Engine::poll) {
            self.obey_one(output)?;
        }
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        self.checker
            .check(self.now, &self.plan, engine, &self.cloud)
    }

    fn obey_one(&mut self, output: Output) -> Result<(), Violation> {
        self.note(&output);
        match output {
            Output::Connect { connection } => self.connect(usize::from(connection.0)),
            Output::Disconnect { connection } => {
                let at = usize::from(connection.0);
                let (session, kind) = (self.links[at].session, ErrorKind::TimedOut);
                let wait = self.chance(20 * MS);
                self.after(wait, Event::Fallen { at, session, kind });
                Ok(())
            }
            Output::Fetch {
                lane,
                from,
                max_records,
                max_bytes,
            } => self.fetch(lane, from, max_records, max_bytes),
            Output::Send {
                connection,
                lane,
                offset,
                record,
            } => {
                let place = (lane, offset.0);
                let (plan, log) = (&self.plan, &self.log);
                self.checker.sent(plan, connection, place, &record, log)?;
                self.send(usize::from(connection.0), place, record)
            }
            Output::Gap {
                lane, first, count, ..
            } => {
                ensure(count == 1, || "a gap of many".into())?;
                let place = (lane, first.0);
                self.log.gap(place);
                self.want_commit();
                self.checker.gap(&self.plan, place, &self.log)
            }
            Output::Checkpoint { value } => {
                let is_first = !self.is_checkpoint_outstanding;
                ensure(is_first, || "two checkpoints are outstanding".into())?;
                self.is_checkpoint_outstanding = true;
                if self.sabotage == Some(Sabotage::ConfirmsCheckpointsEarly) {
                    self.is_checkpoint_outstanding = false;
                    self.feed_later(Input::CheckpointDone)?;
                    if self.generator.below(4) > 0 {
                        return Ok(());
                    }
                }
                self.log.put_checkpoint(value);
                self.want_commit();
                Ok(())
            }
            Output::Store { .. } | Output::Confirm { .. } => Err("nothing came down".into()),
        }
    }

    fn is_finished(&self) -> bool {
        let Some(engine) = &self.engine else {
            return false;
        };
        let extents = self.log.extents();
        let is_through = |lane: Lane| engine.ack_floor(lane) == extents[lane].head;
        self.is_healed
            && self.replays_due == 0
            && !self.is_commit_due
            && Lane::ALL.into_iter().all(is_through)
    }

    fn deadline(&self) -> u64 {
        let each = self.plan.round_trip_micros + self.plan.service_micros + 30 * MS;
        self.plan.troubled_micros + HEALING_MICROS + self.records * each
    }

    fn standing(&self) -> Vec<String> {
        let Some(engine) = &self.engine else {
            return Vec::new();
        };
        let lanes = Lane::ALL.map(|lane| format!("{:?}", engine.lane(lane)));
        let links = (0..self.links.len() as u8)
            .map(|at| format!("{:?}", engine.connection(ConnectionId(at))));
        lanes.into_iter().chain(links).collect()
    }

    fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// Draws from nothing to twice a mean.
    fn chance(&mut self, mean: u64) -> u64 {
        self.generator.below(2 * mean + 1)
    }

    fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    fn at(&mut self, due: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((due, self.sequence), event);
    }

    /// Mixes an output into the digest.
    fn note(&mut self, output: &Output) {
        if self.is_traced {
            println!("{:>10} -> {output:?}", self.now);
        }
        let (kind, a, b) = match output {
            Output::Connect { connection } => (1, u64::from(connection.0), 0),
            Output::Disconnect { connection } => (2, u64::from(connection.0), 0),
            Output::Fetch {
                lane,
                from,
                max_records,
                ..
            } => (3 + 10 * *lane as u64, from.0, *max_records as u64),
            Output::Send {
                connection,
                lane,
                offset,
                ..
            } => (4 + 10 * *lane as u64, offset.0, u64::from(connection.0)),
            Output::Gap {
                lane, first, bytes, ..
            } => (5 + 10 * *lane as u64, first.0, *bytes),
            Output::Checkpoint { value } => (6, value.len() as u64, 0),
            Output::Store { token } => (7, token.0, 0),
            Output::Confirm { token, .. } => (8, token.0, 0),
        };
        for word in [self.now, kind, a, b] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
