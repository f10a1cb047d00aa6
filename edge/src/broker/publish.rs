//! The way of a message: who wants it, whether it must be durable first, and who gets it.
//!
//! A message goes through the log when a reader needs it there: an uplink route, a session that
//! outlives its connection, a session that can't take it now or is still reading, or a message of
//! the same topic that is on its way into the log. Whatever is committed for another reason
//! (retain, exactly once) takes its readers with QoS over 0 along, so that nobody sees what its
//! publisher may send again. QoS 0 passes through memory at once, always.

use sync::{Change, Lane, Offset, Record, RecordParts, Table, WallTime};

use super::Broker;
use super::access::Deed;
use super::commit::Waiting;
use super::event::{ConnectionId, Delivery, Event, Note, Output, SessionId, Token, Urgency, Will};
use super::gate::is_letter;
use super::group::Group;
use super::inflight::Source;
use super::intake::Overflow;
use super::notes::KeptNote;
use super::outcome::{Outcome, Refusal};
use super::session::Match;
use super::share::room_for;
use super::subscriptions::Entry;

/// A message whose commit is not answered yet.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) record: Record,
    pub(super) origin: Origin,
    /// The note that is kept with it, and the one that it replaces.
    pub(super) note: Option<(SessionId, u32, Option<KeptNote>)>,
    pub(super) is_appended: bool,
    pub(super) outcome: Outcome,
}

/// Where a message comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A client published it.
    Client {
        connection: ConnectionId,
        /// Of the answer that is still to be given.
        token: Option<Token>,
    },
    /// It came down.
    Cloud { token: Token },
    /// The gateway says it.
    Gateway,
    /// A client is lost. The session, if it goes on, gets the will back when it can't be stored.
    Will {
        session: Option<SessionId>,
        will: Will,
    },
}

/// Who wants a record.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Anybody at all.
    is_wanted: bool,
    /// Somebody with QoS over 0.
    has_readers: bool,
    /// Somebody who must find it in the log.
    needs_log: bool,
}

impl Broker {
    pub(super) fn handle_publish(
        &mut self,
        connection: ConnectionId,
        record: Record,
        token: Option<Token>,
        note: Option<Note>,
    ) {
        let Some(id) = self.registry.session_of(connection) else {
            return;
        };
        self.counters.published += 1;
        let origin = Origin::Client { connection, token };
        if !self.may(id.index, Deed::Write, record.topic()) {
            return self.refuse(&Publication::new(record, origin), Refusal::NotAuthorized);
        }
        let (mut changes, mut kept) = (Vec::new(), None);
        if let Some(note) = note {
            let former = match self.put_note(id, &note, None) {
                Ok(put) => put.and_then(|(change, former)| {
                    changes.push(change);
                    former
                }),
                Err(refusal) => {
                    let publication = Publication::new(record, origin);
                    return self.refuse(&publication, refusal);
                }
            };
            kept = Some((id, note.key, former));
        }
        let publication = Publication {
            note: kept,
            ..Publication::new(record, origin)
        };
        self.distribute(publication, changes);
    }

    pub(super) fn handle_from_cloud(&mut self, record: Record, token: Token, changes: Vec<Change>) {
        let origin = Origin::Cloud { token };
        self.distribute(Publication::new(record, origin), changes);
    }

    pub(super) fn handle_report(&mut self, record: Record, changes: Vec<Change>) {
        self.distribute(Publication::new(record, Origin::Gateway), changes);
    }

    /// Says something of the gateway's own to whom it concerns.
    pub(super) fn handle_announce(&mut self, record: Record) {
        let mut found = std::mem::take(&mut self.found);
        self.look_up(record.topic(), &mut found);
        self.pass_on(&record, &found, 0);
        self.found = found;
        self.retained.announce(record);
    }

    /// Sends a record on its way, committing `changes` with it.
    pub(super) fn distribute(&mut self, mut publication: Publication, mut changes: Vec<Change>) {
        if is_letter(publication.record.topic()) {
            return self.post(publication, changes);
        }
        let mut record = publication.record.clone();
        let mut found = std::mem::take(&mut self.found);
        let lane = self.lane_of(&record);
        let demand = self.weigh(&record, lane, &mut found);
        let has_changes = record.is_retained() || !changes.is_empty();
        let is_logged = demand.needs_log || (has_changes && demand.has_readers);
        let overflow = self.overflow_of(&record, lane);
        if is_logged && overflow == Overflow::KeepLatest {
            record = record.keeping_latest();
            publication.record = record.clone();
        }
        if let Err(refusal) = self.prepare((lane, overflow), is_logged, &record, &mut changes) {
            self.found = found;
            // The end of a session does not depend on its will.
            if matches!(publication.origin, Origin::Will { .. }) && !changes.is_empty() {
                self.commit(changes, Urgency::Relaxed, Waiting::Nobody);
            }
            return self.refuse(&publication, refusal);
        }
        publication.outcome = if demand.is_wanted {
            Outcome::Accepted
        } else {
            Outcome::NoSubscribers
        };
        if is_logged {
            publication.is_appended = true;
            *self.appending.entry(record.topic_hash()).or_default() += 1;
            changes.push(Change::Append {
                lane,
                record: record.clone(),
            });
        }
        let is_durable = !changes.is_empty();
        let delivered_before = self.counters.delivered;
        self.pass_on(&record, &found, if is_durable { 0 } else { 2 });
        self.found = found;
        if record.qos() == 0 {
            let is_reached = is_logged || self.counters.delivered > delivered_before;
            self.answer_at_once(&mut publication, is_reached);
        }

        if is_durable {
            let urgency = if record.qos() > 0 {
                Urgency::Immediate
            } else {
                Urgency::Relaxed
            };
            self.commit(
                changes,
                urgency,
                Waiting::Publication(Box::new(publication)),
            );
        } else {
            let outcome = publication.outcome;
            self.answer(&publication, outcome);
        }
    }

    /// Looks whether there is room for a record, in the log and among the retained ones.
    fn prepare(
        &mut self,
        (lane, overflow): (Lane, Overflow),
        is_logged: bool,
        record: &Record,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        if is_logged {
            self.check_intake(lane, overflow)?;
        }
        if record.is_retained() {
            self.forget_expired_retained(record);
            changes.push(self.retained.change(record)?);
        }
        Ok(())
    }

    pub(super) fn publication_committed(
        &mut self,
        publication: Publication,
        place: Option<(Lane, Offset)>,
    ) {
        if publication.is_appended {
            let (lane, offset) = place.expect("the place of a record comes with its commit");
            assert!(offset >= self.head[lane], "offsets of a lane only grow");
            self.head[lane] = offset.next();
            self.note_head_moved(lane);
            self.forget_appending(&publication.record);
            self.offer(&publication.record, lane, offset);
        }
        if publication.record.is_retained() {
            self.retained.settle(&publication.record);
            self.retained.set(publication.record.clone());
        }
        let outcome = publication.outcome;
        self.answer(&publication, outcome);
    }

    pub(super) fn publication_failed(&mut self, publication: Publication, refusal: Refusal) {
        if publication.is_appended {
            self.forget_appending(&publication.record);
        }
        if publication.record.is_retained() {
            self.retained.settle(&publication.record);
        }
        if let Origin::Will { session, will } = &publication.origin {
            self.restore_will(*session, will.clone());
        }
        self.refuse(&publication, refusal);
    }

    /// Tells the publisher of a message with QoS 0 whether there is anybody who got it or will: not
    /// whoever would have, were he connected.
    fn answer_at_once(&mut self, publication: &mut Publication, is_reached: bool) {
        let outcome = match is_reached {
            true => Outcome::Accepted,
            false => Outcome::NoSubscribers,
        };
        if let Origin::Client { connection, token } = &mut publication.origin
            && let (connection, Some(token)) = (*connection, token.take())
        {
            self.tell(connection, Event::Published { token, outcome });
        }
    }

    /// Whether the client of the session at a place may do something with a topic.
    pub(super) fn may(&self, session: u32, deed: Deed, topic: &str) -> bool {
        let may = || {
            self.registry
                .at(session)
                .is_some_and(|it| it.may(deed, topic))
        };
        !self.access.restricts(topic) || may()
    }

    /// Finds out who wants a record. Leaves the sessions' subscriptions in `found`, those of one
    /// session in a row, and then the groups.
    fn weigh(&self, record: &Record, lane: Lane, found: &mut Vec<Entry>) -> Demand {
        let is_routed = self.look_up(record.topic(), found);
        let is_routed = is_routed && !record.is_from_cloud();
        let mut demand = Demand {
            is_wanted: is_routed || !found.is_empty(),
            has_readers: false,
            needs_log: is_routed,
        };
        if record.qos() == 0 {
            return demand;
        }
        let (sessions, groups) = Entry::split(found);
        let (mut rest, mut readers) = (sessions, 0);
        while let Some((index, matched)) = self.next_match(&mut rest, record) {
            if matched.qos > 0 {
                demand.has_readers = true;
                readers += 1;
                let session = self.registry.at(index);
                demand.needs_log |=
                    session.is_some_and(|it| it.is_durable() || !it.takes_live(lane));
            }
        }
        let room = room_for(sessions, groups);
        for entry in groups {
            let group = self.groups.at(entry.group_index());
            let topic = record.topic();
            let is_reader =
                |group: &&Group| group.has_readers() && self.is_readable_by(group, topic);
            if let Some(group) = group.filter(is_reader) {
                demand.has_readers = true;
                demand.needs_log |= self.needs_log_shared(group, (lane, topic), room);
            }
        }
        readers += groups.len();
        let underway = self.registry.underway_bytes();
        demand.needs_log |=
            demand.has_readers && !self.room.has_room_for_all(readers, record, underway);
        // A later message of a topic must not overtake an earlier one.
        demand.needs_log |= demand.has_readers && self.appending.contains_key(&record.topic_hash());
        demand
    }

    /// Collects the subscriptions that match a topic, by session; says whether a route does.
    pub(super) fn look_up(&self, topic: &str, found: &mut Vec<Entry>) -> bool {
        found.clear();
        self.subscriptions.collect(topic, found);
        if !found.is_sorted_by_key(|entry| entry.session) {
            found.sort_unstable_by_key(|entry| entry.session);
        }
        let routes = found
            .iter()
            .rev()
            .take_while(|entry| entry.session == Entry::ROUTE)
            .count();
        found.truncate(found.len() - routes);
        routes > 0
    }

    /// Joins the subscriptions of the next session that may read the topic, without those that must
    /// not hear their own session's messages. The QoS is the effective one.
    fn next_match(&self, rest: &mut &[Entry], record: &Record) -> Option<(u32, Match)> {
        loop {
            let session = rest.first()?.session;
            let mut matched = Match::default();
            let mut is_heard = false;
            while let Some((entry, behind)) = rest
                .split_first()
                .filter(|(entry, _)| entry.session == session)
            {
                *rest = behind;
                // [MQTT-3.8.3-3]
                let is_own = entry.is_no_local
                    && self
                        .registry
                        .at(session)
                        .is_some_and(|it| it.publisher == record.publisher());
                if !is_own {
                    is_heard = true;
                    matched.add(entry.qos, entry.is_retain_as_published, entry.identifier);
                }
            }
            if is_heard && self.may(session, Deed::Read, record.topic()) {
                matched.qos = matched.qos.min(record.qos());
                return Some((session, matched));
            }
        }
    }

    /// Hands a record to the connected sessions and groups whose effective QoS is at most
    /// `qos_maximum`, without the log.
    pub(super) fn pass_on(&mut self, record: &Record, found: &[Entry], qos_maximum: u8) {
        let (mut rest, groups) = Entry::split(found);
        self.pass_on_shared(record, groups, (room_for(rest, groups), qos_maximum));
        while let Some((index, matched)) = self.next_match(&mut rest, record) {
            let Some(session) = self.registry.at_mut(index) else {
                continue;
            };
            let Some(connection) = session.online() else {
                continue;
            };
            if matched.qos > qos_maximum {
                continue;
            }
            let id = (matched.qos > 0).then(|| session.inflight.send(Source::Passing, matched.qos));
            if id.is_some() {
                self.room.promise(connection, record);
            }
            let delivery = Delivery {
                record: record.clone(),
                id,
                qos: matched.qos,
                retain: matched.is_retain_as_published && record.is_retained(),
                is_repeated: false,
                identifiers: matched.identifiers,
            };
            self.counters.delivered += 1;
            let event = Event::Deliver(delivery);
            self.outputs
                .push_back(Output::ToConnection { connection, event });
        }
    }

    /// Hands a committed record to the live sessions and groups that want it with QoS over 0. One
    /// without room is behind from here on.
    fn offer(&mut self, record: &Record, lane: Lane, offset: Offset) {
        // A commit may have taken long. [MQTT-3.3.2-5]
        if record.qos() == 0 || is_expired(record, self.now.wall) {
            return;
        }
        let mut found = std::mem::take(&mut self.found);
        self.look_up(record.topic(), &mut found);
        let (mut rest, groups) = Entry::split(&found);
        for entry in groups {
            self.offer_shared(entry.group_index(), lane, offset, record);
        }
        while let Some((index, matched)) = self.next_match(&mut rest, record) {
            let Some(session) = self.registry.at_mut(index) else {
                continue;
            };
            let reader = session.reader_mut(lane);
            // A read may have been ahead of this commit's answer.
            let is_read = offset < reader.cursor.delivered();
            if matched.qos == 0 || reader.is_behind || is_read {
                continue;
            }
            reader.cursor.skip_to(offset);
            if self.room.admit(session, record) {
                self.deliver_logged(index, lane, offset, record, matched);
            } else {
                session.reader_mut(lane).is_behind = true;
            }
        }
        self.found = found;
    }

    /// Makes room for a retained message on a new topic.
    fn forget_expired_retained(&mut self, new: &Record) {
        let expired = self.retained.forget_expired(new, self.now.wall);
        if expired.is_empty() {
            return;
        }
        let table = Table::Retained;
        let changes = expired.into_iter().map(|topic| Change::Delete {
            table,
            key: topic.as_bytes().to_vec(),
        });
        self.commit(changes.collect(), Urgency::Relaxed, Waiting::Nobody);
    }

    fn forget_appending(&mut self, record: &Record) {
        let topic = record.topic_hash();
        if let Some(count) = self.appending.get_mut(&topic) {
            *count -= 1;
            if *count == 0 {
                self.appending.remove(&topic);
            }
        }
    }

    pub(super) fn refuse(&mut self, publication: &Publication, refusal: Refusal) {
        self.counters.refused += 1;
        match publication.note {
            Some((id, key, Some(former))) => drop(self.registry.keep_note(id, key, former)),
            Some((id, key, None)) => self.registry.drop_note(id, key),
            None => {}
        }
        self.answer(publication, Outcome::Refused(refusal));
    }
}

impl Publication {
    pub(super) const fn new(record: Record, origin: Origin) -> Self {
        Self {
            record,
            origin,
            note: None,
            is_appended: false,
            outcome: Outcome::Accepted,
        }
    }
}

/// Copies a will's message with the time of its publication.
pub(super) fn published_at(record: &Record, time: WallTime) -> Record {
    Record::new(&RecordParts {
        qos: record.qos(),
        retain: record.is_retained(),
        from_cloud: record.is_from_cloud(),
        time,
        expiry_seconds: record.expiry_seconds(),
        publisher: record.publisher(),
        topic: record.topic(),
        properties: record.properties(),
        payload: record.payload(),
    })
}

/// Whether a record's expiry interval has passed. One of 0 counts as a second, so that those who
/// are there get the message whatever way it takes.
pub(super) fn is_expired(record: &Record, now: WallTime) -> bool {
    let age = now.seconds_since(record.time());
    record
        .expiry_seconds()
        .is_some_and(|expiry| age >= u64::from(expiry.max(1)))
}
