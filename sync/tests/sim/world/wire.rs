//! The driver's bridge: connections, what travels on them and what the cloud answers.

use embedded_io::ErrorKind;
use sync::{ConnectionId, Input, Offset, Order, Record};

use super::{Event, World};
use crate::sim::checker::ensure;
use crate::sim::cloud::Verdict;
use crate::sim::link::{Manner, Phase};
use crate::sim::plan::Sabotage;
use crate::sim::{At, MS, Violation};

impl World {
    pub(super) fn connect(&mut self, at: usize) -> Result<(), Violation> {
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

    pub(super) fn connected(&mut self, at: usize, session: u64) -> Result<(), Violation> {
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

    pub(super) fn fallen(
        &mut self,
        at: usize,
        session: u64,
        kind: ErrorKind,
    ) -> Result<(), Violation> {
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

    pub(super) fn send(
        &mut self,
        at: usize,
        mut place: At,
        record: Record,
    ) -> Result<(), Violation> {
        ensure(self.links[at].is_up(), || {
            format!("{place:?} is sent on connection {at}, which is not up")
        })?;
        let topic_of = |place: &At| self.log.record(*place).map(Record::topic);
        let order = self.plan.order_of(record.topic());
        let is_of_topic =
            |sent: &At| topic_of(sent).map(|topic| self.plan.order_of(topic)) == Some(order);
        let is_alone = !self.links[at].unanswered.iter().any(is_of_topic);
        ensure(
            is_alone || self.plan.settings.order == Order::Pipelined,
            || format!("{place:?} is sent while its topic has another in flight"),
        )?;
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

    pub(super) fn transmit(&mut self, at: usize, place: At, record: Record) {
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

    pub(super) fn arrive(
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
            self.checker.arrived(&self.plan, place, &record)?;
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
}

pub(super) fn answer(at: usize, (lane, offset): At, verdict: Verdict) -> Input {
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
