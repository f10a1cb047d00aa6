//! Deliveries that have a place: from the log, from the retained messages, and again; and their
//! acknowledgements.

use sync::{Lane, Offset, Record};
use wire::topic::{TopicName, pattern_matches};

use super::Broker;
use super::access::Deed;
use super::event::{ConnectionId, Delivery, DeliveryId, Event, Output, ReaderId, Room, SessionId};
use super::group::{Holder, is_shared};
use super::inflight::Source;
use super::publish::is_expired;
use super::retained::Step;
use super::session::{Match, Session};

/// Looks at the retained messages that one step takes, at most.
const STEP_LOOKS: usize = 8;

impl Broker {
    pub(super) fn handle_acknowledge(&mut self, connection: ConnectionId, delivery: DeliveryId) {
        if let Some(id) = self.registry.session_of(connection) {
            self.settle(id, delivery);
        }
    }

    pub(super) fn handle_room(&mut self, connection: ConnectionId, room: Room) {
        let Some(id) = self.registry.session_of(connection) else {
            return;
        };
        if let Some(session) = self.registry.get_mut(id) {
            session.is_congested = room == Room::Congested;
            self.wake(id);
        }
    }

    pub(super) fn handle_fetched(
        &mut self,
        reader: ReaderId,
        place: (Lane, Offset),
        records: &[(Offset, Record)],
        next: Offset,
    ) {
        match reader {
            ReaderId::Session(id) => self.fetched(id, place, records, next),
            ReaderId::Group(id) => self.fetched_shared(id, place, records, next),
        }
    }

    fn fetched(
        &mut self,
        id: SessionId,
        (lane, from): (Lane, Offset),
        records: &[(Offset, Record)],
        next: Offset,
    ) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        if session.fetching != Some((lane, from)) {
            return;
        }
        session.fetching = None;
        let is_repeating = std::mem::take(&mut session.inflight.is_repeating);
        if next <= from {
            self.stalled.push(ReaderId::Session(id));
            return self.schedule_sweep();
        }
        if is_repeating {
            let found = records.iter().find(|(offset, _)| *offset == from);
            return self.repeat_shared(id, (lane, from), found.map(|(_, record)| record));
        }
        let delivered_before = self.counters.delivered;
        let is_consumed = records
            .iter()
            .all(|(offset, record)| self.read_one(id, lane, *offset, record));
        let (head, first) = (self.head[lane], self.first[lane]);
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let reader = session.reader_mut(lane);
        if is_consumed {
            reader.cursor.skip_to(next.max(first));
        }
        let position = reader.cursor.delivered();
        reader.is_behind = position < head;
        let has_matched = self.counters.delivered > delivered_before;
        session.stride = if has_matched {
            1
        } else {
            session.stride.saturating_mul(2)
        };
        self.pass_gone(id, lane, position);
        self.mark_dirty(id);
        self.wake(id);
    }

    /// Looks at one record of the log; false when there is no room for it.
    fn read_one(&mut self, id: SessionId, lane: Lane, offset: Offset, record: &Record) -> bool {
        let wall = self.now.wall;
        let Some(session) = self.registry.get_mut(id) else {
            return false;
        };
        let cursor = &mut session.reader_mut(lane).cursor;
        if offset < cursor.delivered() {
            return true;
        }
        if !cursor.wants(offset) {
            cursor.skip_to(offset.next());
            return true;
        }
        // What was sent once is sent again, whatever became of its subscription and time; but not to
        // somebody who may not read it.
        let is_pending =
            session.inflight.is_to_repeat(lane, offset) && session.may(Deed::Read, record.topic());
        let matched = session.match_own(record, lane, offset);
        let is_wanted = matched.qos > 0 && !is_expired(record, wall);
        if !is_pending && !is_wanted {
            session.reader_mut(lane).cursor.skip_to(offset.next());
            return true;
        }
        let is_admitted = match is_pending {
            true => self.room.admit_again(session, record),
            false => self.room.admit(session, record),
        };
        if !is_admitted {
            return false;
        }
        self.deliver_logged(id.index, lane, offset, record, matched);
        true
    }

    /// Hands a record with a place to a session that has room.
    pub(super) fn deliver_logged(
        &mut self,
        index: u32,
        lane: Lane,
        offset: Offset,
        record: &Record,
        matched: Match,
    ) {
        let Some(session) = self.registry.at_mut(index) else {
            return;
        };
        let Some(connection) = session.online() else {
            return;
        };
        let (delivery, qos, is_repeated) = match session.inflight.repeat(lane, offset) {
            Some((delivery, 0)) => {
                let qos = matched.qos.max(1);
                session.inflight.set_qos(delivery, qos);
                (delivery, qos, qos == 1)
            }
            Some((delivery, qos)) => (delivery, qos, true),
            None => {
                let source = Source::Logged(lane, offset);
                (
                    session.inflight.send(source, matched.qos),
                    matched.qos,
                    false,
                )
            }
        };
        session.reader_mut(lane).cursor.deliver(offset);
        let id = session.id;
        self.counters.delivered += 1;
        let event = Event::Deliver(Delivery {
            record: record.clone(),
            id: Some(delivery),
            qos,
            retain: matched.is_retain_as_published && record.is_retained(),
            is_repeated,
            identifiers: matched.identifiers,
        });
        self.outputs
            .push_back(Output::ToConnection { connection, event });
        self.mark_dirty(id);
    }

    pub(super) fn handle_trimmed(&mut self, lane: Lane, first: Offset) {
        self.first[lane] = self.first[lane].max(first);
        let online: Vec<SessionId> = self
            .registry
            .iter()
            .filter(|session| session.online().is_some() && session.reader(lane).is_behind)
            .map(|session| session.id)
            .collect();
        for id in online {
            let Some(session) = self.registry.get_mut(id) else {
                continue;
            };
            let reader = session.reader_mut(lane);
            // What was handed to the client stays pending until it is acknowledged.
            self.counters.missed += first.0.saturating_sub(reader.cursor.delivered().0);
            reader.cursor.skip_to(first);
            reader.is_behind = reader.cursor.delivered() < self.head[lane];
            let position = reader.cursor.delivered();
            self.pass_gone(id, lane, position);
        }
        self.trim_shared(lane, first);
    }

    /// Puts a session into the list of those with something to do.
    pub(super) fn wake(&mut self, id: SessionId) {
        if let Some(session) = self.registry.get_mut(id)
            && session.has_work()
            && !session.is_runnable
        {
            session.is_runnable = true;
            self.runnable.push_back(ReaderId::Session(id));
        }
        self.wake_groups_of(id);
    }

    /// Does one bounded piece of a session's reading.
    pub(super) fn step(&mut self, id: SessionId) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        session.is_runnable = false;
        let Some(connection) = session.online() else {
            return;
        };
        while let Some(repeat) = session.inflight.next_kept() {
            let may_read = session.may(Deed::Read, repeat.record.topic());
            if may_read && !self.room.admit_again(session, &repeat.record) {
                break;
            }
            session.inflight.send_again(repeat.id);
            let event = match may_read {
                false => Event::Gone {
                    delivery: repeat.id,
                },
                true => Event::Deliver(Delivery {
                    record: repeat.record,
                    id: Some(repeat.id),
                    qos: repeat.qos,
                    retain: true,
                    is_repeated: true,
                    identifiers: repeat.identifier.into(),
                }),
            };
            self.outputs
                .push_back(Output::ToConnection { connection, event });
        }
        self.walk_retained(id, connection);
        self.fetch_repeat(id);
        self.fetch(id);
        self.wake_groups_of(id);
    }

    fn fetch(&mut self, id: SessionId) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let Some(lane) = session.lane_to_read() else {
            return;
        };
        let Some(bytes) = self.room.bytes_to_read(session) else {
            return;
        };
        let from = session.reader(lane).cursor.delivered();
        session.fetching = Some((lane, from));
        session.reads = session.reads.wrapping_add(1);
        let wish = self.room.count_to_read(session) * usize::from(session.stride);
        self.outputs.push_back(Output::Fetch {
            reader: ReaderId::Session(id),
            lane,
            from,
            maximum_count: wish.min(self.settings.fetch_count_maximum),
            maximum_bytes: bytes.min(self.settings.fetch_bytes_maximum),
        });
    }

    /// Sends the next of the retained messages that a session waits for. Only one, so that a
    /// congested connection is heard before the one after.
    fn walk_retained(&mut self, id: SessionId, connection: ConnectionId) {
        for _ in 0..STEP_LOOKS {
            let Some(session) = self.registry.get_mut(id) else {
                return;
            };
            let Some(aside) = session.aside.held() else {
                return;
            };
            let Some(walk) = aside.walks.front_mut() else {
                return;
            };
            let subscription = session.subscriptions.get(&walk.filter).copied();
            let Some(subscription) = subscription else {
                aside.walks.pop_front();
                continue;
            };
            let rights = session.rights.as_ref();
            let may_read = |topic: &str| {
                rights.is_none_or(|it| it.grant(&session.client_identifier, Deed::Read, topic))
            };
            match self.retained.step(&walk.filter, walk.after.as_deref()) {
                Step::Done => {
                    let done = aside.walks.pop_front().map(|walk| walk.filter);
                    aside.walked.extend(done.filter(|_| session.is_stored));
                    session.aside.let_go();
                    self.mark_dirty(id);
                }
                Step::Passed(topic) => walk.after = Some(topic),
                Step::Found(record)
                    if is_expired(&record, self.now.wall) || !may_read(record.topic()) =>
                {
                    walk.after = Some(record.topic().into());
                }
                // It goes through the log, for this session as well.
                Step::Found(record)
                    if record.qos().min(subscription.qos) > 0
                        && self.retained.came_after(record.topic(), walk.since) =>
                {
                    walk.after = Some(record.topic().into());
                }
                Step::Found(record) => {
                    let qos = record.qos().min(subscription.qos);
                    let topic = Box::from(record.topic());
                    let (filter, identifier) = (walk.filter.clone(), subscription.identifier);
                    let is_admitted = match qos {
                        0 => self.room.admit_unpromised(session, &record),
                        _ => self.room.admit(session, &record),
                    };
                    if !is_admitted {
                        return;
                    }
                    let delivery = session.send_retained(record, filter, qos, identifier);
                    let aside = session.aside.held();
                    if let Some(walk) = aside.and_then(|aside| aside.walks.front_mut()) {
                        walk.after = Some(topic);
                    }
                    self.counters.delivered += 1;
                    let event = Event::Deliver(delivery);
                    self.outputs
                        .push_back(Output::ToConnection { connection, event });
                    break;
                }
            }
        }
        self.wake(id);
    }

    pub(super) fn settle(&mut self, id: SessionId, delivery: DeliveryId) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let Some(sent) = session.inflight.settle(delivery) else {
            return;
        };
        match sent.source {
            Source::Logged(lane, offset) => {
                session.reader_mut(lane).cursor.acknowledge(offset);
                self.mark_dirty(id);
            }
            Source::Shared(group, lane, offset) => {
                let session = id;
                let holder = Holder { session, delivery };
                self.settle_shared(group, (lane, offset), holder);
            }
            Source::Kept { .. } => self.mark_dirty(id),
            Source::Lent(_, record) => self.lent_bytes -= record.as_bytes().len(),
            Source::Passing | Source::Lost => {}
        }
        self.wake(id);
    }

    pub(super) fn source_of(&self, id: SessionId, delivery: DeliveryId) -> Option<Source> {
        let sent = self.registry.get(id)?.inflight.find(delivery)?;
        Some(sent.source.clone())
    }

    /// Says that deliveries before a position can't be repeated.
    fn pass_gone(&mut self, id: SessionId, lane: Lane, position: Offset) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let Some(connection) = session.online() else {
            return;
        };
        for delivery in session.inflight.take_passed(lane, position) {
            self.tell(connection, Event::Gone { delivery });
        }
    }
}

impl Session {
    /// Joins the session's subscriptions that match a record of the log; QoS 0 for none.
    fn match_own(&self, record: &Record, lane: Lane, offset: Offset) -> Match {
        let mut matched = Match::default();
        let Ok(topic) = TopicName::new(record.topic()) else {
            return matched;
        };
        if record.qos() == 0 || !self.may(Deed::Read, record.topic()) {
            return matched;
        }
        let is_own = self.publisher == record.publisher();
        for (filter, subscription) in self.subscriptions.iter() {
            let is_heard = !(is_own && subscription.is_no_local);
            let is_new_enough = subscription.begin[lane] <= offset;
            let is_its = is_new_enough && is_heard && !is_shared(filter);
            if is_its && pattern_matches(filter, topic) {
                matched.add(
                    subscription.qos,
                    subscription.is_retain_as_published,
                    subscription.identifier.unwrap_or(0),
                );
            }
        }
        matched.qos = matched.qos.min(record.qos());
        matched
    }

    fn send_retained(
        &mut self,
        record: Record,
        filter: Box<str>,
        qos: u8,
        identifier: Option<u32>,
    ) -> Delivery {
        let is_kept = self.is_stored;
        let source = if is_kept {
            Source::Kept {
                record: record.clone(),
                filter,
                identifier,
            }
        } else {
            Source::Passing
        };
        let id = (qos > 0).then(|| self.inflight.send(source, qos));
        Delivery {
            record,
            id,
            qos,
            retain: true,
            is_repeated: false,
            identifiers: identifier.into(),
        }
    }
}
