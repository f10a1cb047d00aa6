//! Time, chance and the driver: feeds the engine, obeys it, and lets misfortunes happen.

use std::collections::BTreeMap;

use embedded_io::ErrorKind;
use sync::{
    ConnectionId, Engine, Generator, Input, Instant, Lane, Offset, Output, Record, RecordParts,
    Start, WallTime,
};

use super::checker::{Checker, ensure};
use super::cloud::{Cloud, Verdict};
use super::link::{Link, Manner, Phase};
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
        answer: Option<(Vec<(Offset, Record)>, Offset)>,
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
            links: (0..plan.settings.connections)
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
                self.feed(answer(at, place, verdict))
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

    // The log.

    fn append(&mut self) -> Result<(), Violation> {
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

    fn invent(&mut self) -> (Lane, Record) {
        let number = self.generator.below(self.plan.topic_count);
        let lane = Lane::ALL[(number % 3) as usize];
        let is_local = self.generator.below(8) == 0;
        let topic = format!("{}/{number}", if is_local { "local" } else { "plant" });
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

    fn want_commit(&mut self) {
        if !self.is_commit_due {
            self.is_commit_due = true;
            let wait = self.chance(20 * MS);
            self.after(wait, Event::Commit);
        }
    }

    fn commit(&mut self) -> Result<(), Violation> {
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
            self.checker.appended((*lane, *offset), record);
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

    fn fetched(
        &mut self,
        life: u64,
        lane: Lane,
        answer: Option<(Vec<(Offset, Record)>, Offset)>,
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

    fn retain(&mut self) -> Result<(), Violation> {
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

    fn exceed_quota(&mut self) -> Result<(), Violation> {
        let lane = Lane::ALL[self.generator.below(3) as usize];
        let extent = self.log.extents()[lane];
        let first = extent.first.0 + self.generator.below(12);
        let first = Offset(first.min(extent.head.0));
        let dropped = self.log.trim(lane, first.0);
        self.checker.trimmed(&dropped, &self.cloud);
        self.feed(Input::Trimmed { lane, first })
    }

    // The wire and the cloud.

    fn connect(&mut self, at: usize) -> Result<(), Violation> {
        let is_idle = self.links[at].phase == Phase::Idle;
        ensure(is_idle, || format!("connection {at} is made twice"))?;
        self.links[at].phase = Phase::Connecting;
        self.links[at].session += 1;
        let session = self.links[at].session;
        let wait = self.plan.round_trip_micros + self.chance(50 * MS);
        if self.now >= self.links[at].partitioned_until {
            self.after(wait, Event::Connected { at, session });
        } else if self.generator.below(2) == 0 {
            let kind = ErrorKind::ConnectionRefused;
            self.after(wait, Event::Fallen { at, session, kind });
        }
        Ok(())
    }

    fn connected(&mut self, at: usize, session: u64) -> Result<(), Violation> {
        let link = &mut self.links[at];
        if link.session != session || link.phase != Phase::Connecting {
            return Ok(());
        }
        let manner = match self.generator.below(12) {
            0 if !self.is_healed => Manner::Mute,
            1 if !self.is_healed => Manner::HalfOpen,
            _ => Manner::Normal,
        };
        link.phase = Phase::Up(manner);
        link.last_up = self.now;
        link.last_down = self.now;
        self.feed(Input::Up {
            connection: ConnectionId(at as u8),
            receive_maximum: self.plan.receive_maximum,
            maximum_packet_bytes: u32::MAX,
        })
    }

    fn fallen(&mut self, at: usize, session: u64, kind: ErrorKind) -> Result<(), Violation> {
        if self.links[at].session != session || self.links[at].phase == Phase::Idle {
            return Ok(());
        }
        if self.sabotage == Some(Sabotage::ForgetsFlightOnDown) {
            for place in core::mem::take(&mut self.links[at].unanswered) {
                let server_offset = 0;
                self.feed(answer(at, place, Verdict::Accepted { server_offset }))?;
            }
        }
        let last_arrival = self.now + self.chance(self.plan.round_trip_micros);
        self.links[at].fall(last_arrival);
        let connection = ConnectionId(at as u8);
        self.feed(Input::Down { connection, kind })
    }

    fn send(&mut self, at: usize, mut place: At, record: Record) -> Result<(), Violation> {
        ensure(self.links[at].is_up(), || {
            format!("{place:?} is sent on connection {at}, which is not up")
        })?;
        self.links[at].unanswered.push(place);
        match self.sabotage {
            Some(Sabotage::AcknowledgesOnSend) => {
                let server_offset = 0;
                self.feed_later(answer(at, place, Verdict::Accepted { server_offset }))?;
            }
            Some(Sabotage::MixesOffsetsUp) if self.generator.below(5) == 0 => place.1 += 1,
            _ => {}
        }
        self.transmit(at, place, record);
        Ok(())
    }

    fn transmit(&mut self, at: usize, place: At, record: Record) {
        let travel = self.plan.round_trip_micros / 2 + self.chance(5 * MS);
        let link = &mut self.links[at];
        let mut due = (self.now + travel).max(link.last_up) + self.plan.service_micros;
        link.last_up = due;
        let session = link.session;
        if self.sabotage == Some(Sabotage::Reorders) {
            due += self.chance(20 * MS);
        }
        self.at(
            due,
            Event::Arrive {
                at,
                session,
                place,
                record,
            },
        );
    }

    fn arrive(
        &mut self,
        at: usize,
        session: u64,
        place: At,
        record: Record,
    ) -> Result<(), Violation> {
        if !self.links[at].carries(self.now, session) {
            return Ok(());
        }
        let verdict = self.cloud.take(self.now, &self.plan, place, &record);
        if matches!(verdict, Verdict::Accepted { .. }) {
            self.checker.arrived(place, &record)?;
        }
        let travel = self.plan.round_trip_micros / 2 + self.chance(5 * MS);
        let due = (self.now + travel).max(self.links[at].last_down);
        self.links[at].last_down = due;
        let repeats = if self.generator.below(20) == 0 { 2 } else { 1 };
        for _ in 0..repeats {
            self.at(
                due,
                Event::Answer {
                    at,
                    session,
                    place,
                    verdict,
                },
            );
        }
        Ok(())
    }

    // Misfortunes.

    fn misfortune(&mut self) -> Result<(), Violation> {
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
                self.cloud.refuse(format!("plant/{topic}"), until);
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

    fn crash(&mut self) -> Result<(), Violation> {
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

    fn restart(&mut self) -> Result<(), Violation> {
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

    fn replay_all(&mut self) -> Result<(), Violation> {
        for lane in Lane::ALL {
            if let Some(engine) = &self.engine {
                let from = engine.release_floor(lane);
                self.feed(Input::Replay { lane, from })?;
            }
        }
        Ok(())
    }

    // The driver.

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

    fn fetch(
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

    // Small things.

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
        let links = (0..self.plan.settings.connections)
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

fn answer(at: usize, (lane, offset): At, verdict: Verdict) -> Input {
    let connection = ConnectionId(at as u8);
    let offset = Offset(offset);
    match verdict {
        Verdict::Accepted { server_offset } => {
            let server_offset = Some(server_offset);
            Input::Accepted {
                connection,
                lane,
                offset,
                server_offset,
            }
        }
        Verdict::Refused => Input::Refused {
            connection,
            lane,
            offset,
        },
        Verdict::Rejected => {
            let reason = 0x99;
            Input::Rejected {
                connection,
                lane,
                offset,
                reason,
            }
        }
    }
}
