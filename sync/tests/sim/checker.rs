//! What must hold, whatever happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync::{ConnectionId, Engine, Lane, Offset, Order, PerLane, Record};

use super::cloud::{Cloud, is_rejected};
use super::log::Log;
use super::plan::{ENVELOPE_BYTES, PACKET_BYTES, Plan};
use super::{At, Violation};

#[derive(Debug)]
pub(crate) struct Checker {
    /// Every record that ever became durable and is to go up, by what orders it, in order.
    wanted: BTreeMap<String, Vec<At>>,
    all_wanted: BTreeSet<At>,
    /// Dropped by the quota before the cloud had them.
    trimmed: BTreeSet<At>,
    /// Dropped by the quota at all. One that had arrived may have waited to be sent behind
    /// another once more.
    dropped: BTreeSet<At>,
    /// Given up by the engine in any of its lives.
    gaps: BTreeSet<At>,
    /// First arrivals come in order; not so where refusals meet pipelining.
    first_arrivals_are_ordered: bool,
    has_rejections: bool,
    next_of_topic: BTreeMap<String, usize>,
    marks: PerLane<Marks>,
    /// `counters().replayed` at the last step: floors may go back when it grew.
    replayed: u64,
}

#[derive(Debug, Default)]
struct Marks {
    ack_floor: u64,
    release_floor: u64,
    /// When the ack floor stood where.
    history: VecDeque<(u64, u64)>,
    /// Held already when this life began.
    restored_release: u64,
}

impl Checker {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            wanted: BTreeMap::new(),
            all_wanted: BTreeSet::new(),
            trimmed: BTreeSet::new(),
            dropped: BTreeSet::new(),
            gaps: BTreeSet::new(),
            first_arrivals_are_ordered: !plan.has_refusals || plan.settings.order == Order::Strict,
            has_rejections: plan.has_rejections,
            next_of_topic: BTreeMap::new(),
            marks: PerLane::default(),
            replayed: 0,
        }
    }

    /// A record became durable.
    pub(crate) fn appended(&mut self, plan: &Plan, at: At, record: &Record) {
        if record.is_from_cloud() || record.topic().starts_with("local/") {
            return;
        }
        let topic = self
            .wanted
            .entry(plan.order_of(record.topic()).to_owned())
            .or_default();
        topic.push(at);
        self.all_wanted.insert(at);
    }

    pub(crate) fn is_wanted(&self, at: At) -> bool {
        self.all_wanted.contains(&at)
    }

    /// The quota dropped records.
    pub(crate) fn trimmed(&mut self, dropped: &[At], cloud: &Cloud) {
        self.dropped.extend(dropped);
        let lost = dropped.iter().filter(|at| !cloud.ever.contains(at));
        self.trimmed.extend(lost);
    }

    /// The engine gave a record up.
    pub(crate) fn gap(&mut self, plan: &Plan, at: At, log: &Log) -> Result<(), Violation> {
        let Some(record) = log.record(at) else {
            return Ok(());
        };
        let may = is_too_large(record) || (plan.has_rejections && is_rejected(at));
        self.gaps.insert(at);
        ensure(may, || format!("{at:?} was given up without a reason"))
    }

    /// The engine sends a record.
    pub(crate) fn sent(
        &self,
        plan: &Plan,
        connection: ConnectionId,
        at: At,
        record: &Record,
        log: &Log,
    ) -> Result<(), Violation> {
        ensure(connection == plan.connection_of(record), || {
            format!("{at:?} took connection {connection:?}")
        })?;
        ensure(self.is_wanted(at), || format!("{at:?} is not to go up"))?;
        ensure(!is_too_large(record), || format!("{at:?} is too large"))?;
        let same = log.record(at).is_none_or(|kept| kept == record);
        ensure(same, || format!("{at:?} carries another record"))
    }

    /// The cloud took a record.
    pub(crate) fn arrived(
        &mut self,
        plan: &Plan,
        at: At,
        record: &Record,
    ) -> Result<(), Violation> {
        let topic = plan.order_of(record.topic());
        let ordered = self.wanted.get(topic);
        let ordered = ordered.map_or(&[][..], Vec::as_slice);
        let position = ordered.binary_search(&at);
        let position = position.map_err(|_| format!("{at:?} arrived under a foreign topic"))?;
        let next = self.next_of_topic.entry(topic.to_owned()).or_default();
        while *next < position {
            let before = &ordered[*next];
            let is_excused = self.gaps.contains(before)
                || self.trimmed.contains(before)
                || (self.has_rejections && is_rejected(*before));
            if self.first_arrivals_are_ordered && !is_excused {
                return Err(format!("{at:?} overtook {before:?}"));
            }
            *next += 1;
        }
        *next = (*next).max(position + 1);
        Ok(())
    }

    /// Retention drops what the engine has released.
    pub(crate) fn released(&self, dropped: &[At], cloud: &Cloud) -> Result<(), Violation> {
        dropped.iter().try_for_each(|at| {
            let is_settled = self.is_settled(*at, cloud);
            ensure(is_settled, || format!("{at:?} was released unsettled"))
        })
    }

    /// A new life begins: what is not durable may be known no more.
    pub(crate) fn restarted(&mut self, engine: &Engine) {
        self.replayed = engine.counters().replayed;
        for lane in Lane::ALL {
            let release = engine.release_floor(lane).0;
            self.marks[lane] = Marks {
                ack_floor: engine.ack_floor(lane).0,
                release_floor: release,
                history: VecDeque::new(),
                restored_release: release,
            };
        }
    }

    /// What holds after every step.
    pub(crate) fn check(
        &mut self,
        now: u64,
        plan: &Plan,
        engine: &Engine,
        cloud: &Cloud,
    ) -> Result<(), Violation> {
        let replayed = engine.counters().replayed;
        let may_go_back = replayed != self.replayed;
        self.replayed = replayed;
        for lane in Lane::ALL {
            self.check_floors(now, plan, lane, engine, cloud, may_go_back)?;
            check_lane_bounds(plan, lane, engine)?;
        }
        (0..plan.settings.connection_count() as u8)
            .try_for_each(|at| check_window(plan, at, engine))
    }

    fn check_floors(
        &mut self,
        now: u64,
        plan: &Plan,
        lane: Lane,
        engine: &Engine,
        cloud: &Cloud,
        may_go_back: bool,
    ) -> Result<(), Violation> {
        let (ack, release) = (engine.ack_floor(lane).0, engine.release_floor(lane).0);
        let (old_ack, old_release) = {
            let marks = &self.marks[lane];
            (marks.ack_floor, marks.release_floor)
        };
        ensure(release <= ack, || {
            format!("{lane} released {release} above its ack floor {ack}")
        })?;
        let is_forward = ack >= old_ack && release >= old_release;
        ensure(is_forward || may_go_back, || {
            format!("{lane} went back from {old_ack} to {ack}, {old_release} to {release}")
        })?;
        for offset in old_ack..ack {
            ensure(self.is_settled((lane, offset), cloud), || {
                format!("{lane} {offset} is below the floor and the cloud never had it")
            })?;
        }
        let hold = plan.settings.hold.as_micros() as u64;
        let marks = &mut self.marks[lane];
        while marks.history.get(1).is_some_and(|(at, _)| at + hold <= now) {
            marks.history.pop_front();
        }
        let held = marks.history.front().filter(|(at, _)| at + hold <= now);
        let held = held.map_or(0, |(_, floor)| *floor);
        let mut allowed = held.max(marks.restored_release);
        if hold == 0 {
            allowed = ack;
        }
        if !is_forward {
            // A replay went back, and what it did not touch stays released.
            allowed = allowed.min(ack);
            marks.history.clear();
            marks.restored_release = allowed;
        }
        marks.history.push_back((now, ack));
        marks.ack_floor = ack;
        marks.release_floor = release;
        ensure(release <= allowed, || {
            format!("{lane} released {release} before its hold time, allowed is {allowed}")
        })
    }

    fn is_settled(&self, at: At, cloud: &Cloud) -> bool {
        !self.is_wanted(at)
            || cloud.ever.contains(&at)
            || self.gaps.contains(&at)
            || self.trimmed.contains(&at)
    }

    /// What holds in the end: everything is there, or is a durable gap, and each topic's last
    /// arrivals are in order.
    pub(crate) fn check_end(&self, log: &Log, cloud: &Cloud) -> Result<(), Violation> {
        let mut kept = BTreeSet::new();
        for (topic, list) in cloud.topics() {
            let mut later = BTreeSet::new();
            let mut before = None;
            for (at, _) in list.iter().rev() {
                if later.insert(*at) && !self.dropped.contains(at) {
                    ensure(before.is_none_or(|before| *at < before), || {
                        format!("{topic}: {at:?} came last after {before:?}")
                    })?;
                    before = Some(*at);
                }
            }
            kept.extend(later);
        }
        self.all_wanted.iter().try_for_each(|at| {
            let is_there = kept.contains(at) || log.gaps.contains(at) || self.trimmed.contains(at);
            ensure(is_there, || format!("{at:?} never arrived"))
        })
    }
}

pub(crate) fn is_too_large(record: &Record) -> bool {
    let body = record.as_bytes().len() - Record::HEADER_BYTES;
    body > (PACKET_BYTES - ENVELOPE_BYTES) as usize
}

/// Bytes of the largest record that any plan writes.
const LARGEST_RECORD: usize = 2_100;

fn check_lane_bounds(plan: &Plan, lane: Lane, engine: &Engine) -> Result<(), Violation> {
    let (status, settings) = (engine.lane(lane), &plan.settings);
    ensure(status.ready_count <= settings.read_ahead_count, || {
        format!("{lane} has {} records ready", status.ready_count)
    })?;
    let bytes = settings.read_ahead_bytes + LARGEST_RECORD;
    ensure(status.ready_bytes <= bytes, || {
        format!("{lane} has {} bytes ready", status.ready_bytes)
    })?;
    let flight = settings.connection_count() * settings.window_count;
    let held = settings.held_count + flight + settings.read_ahead_count;
    ensure(status.held_count <= held, || {
        format!("{lane} holds {} offsets", status.held_count)
    })?;
    ensure(
        status.delivered >= Offset(0) && status.ack_floor <= status.head,
        || format!("{lane} has its floor above its head"),
    )
}

fn check_window(plan: &Plan, at: u8, engine: &Engine) -> Result<(), Violation> {
    let Some(status) = engine.connection(ConnectionId(at)) else {
        return Err(format!("connection {at} is missing"));
    };
    let settings = &plan.settings;
    let most = settings.window_count.min(usize::from(plan.receive_maximum));
    ensure(status.in_flight_count <= most, || {
        format!("connection {at} has {} in flight", status.in_flight_count)
    })?;
    let is_within = status.in_flight_bytes <= settings.window_bytes;
    ensure(is_within || status.in_flight_count == 1, || {
        format!(
            "connection {at} has {} bytes in flight",
            status.in_flight_bytes
        )
    })
}

pub(crate) fn ensure(holds: bool, violation: impl FnOnce() -> Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation()) }
}
