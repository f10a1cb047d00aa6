//! The log as groups read it, a bounded batch at a time, and as members are sent again what they
//! had when they were lost.

use sync::{Lane, Offset, Record};

use super::super::Broker;
use super::super::access::Deed;
use super::super::event::{Delivery, DeliveryId, Event, GroupId, Output, ReaderId, SessionId};
use super::super::group::{Holder, READ_SHARE};
use super::super::inflight::Source;
use super::super::publish::is_expired;
use super::super::registry::Registry;
use super::super::session::Match;
use super::{Audience, Placed, is_ready};

impl Broker {
    /// Does one bounded piece of a group's reading.
    pub(in super::super) fn step_shared(&mut self, id: GroupId) {
        let maximum = self.settings.group_inflight_maximum;
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        group.is_runnable = false;
        self.pass_returned(id);
        let registry = &self.registry;
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let Some(lane) = group.lane_to_read() else {
            return;
        };
        let (mut room, mut is_worth) = (0, false);
        for member in group
            .members()
            .iter()
            .filter(|it| is_ready(registry, it, 1))
        {
            let share = group.share_of(member.session, maximum);
            if let Some(session) = registry.get(member.session).filter(|_| share > 0) {
                let free = session.free_window();
                is_worth |= free >= session.window.div_ceil(2);
                room += usize::from(free).min(share);
            }
        }
        let free = group.room(maximum);
        if !is_worth || free == 0 || free * READ_SHARE < maximum {
            return;
        }
        let from = group.reader(lane).cursor.delivered();
        group.fetching = Some((lane, from));
        group.reads = group.reads.wrapping_add(1);
        let wish = room.min(free) * usize::from(group.stride);
        self.outputs.push_back(Output::Fetch {
            reader: ReaderId::Group(id),
            lane,
            from,
            maximum_count: wish.min(self.settings.fetch_count_maximum),
            maximum_bytes: self.settings.fetch_bytes_maximum,
        });
    }

    /// Shares out what the log holds from a position on, as far as members have room.
    pub(in super::super) fn fetched_shared(
        &mut self,
        id: GroupId,
        (lane, from): (Lane, Offset),
        records: &[(Offset, Record)],
        next: Offset,
    ) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if group.fetching != Some((lane, from)) {
            return;
        }
        group.fetching = None;
        if next <= from {
            self.stalled.push(ReaderId::Group(id));
            return self.schedule_sweep();
        }
        let delivered_before = self.counters.delivered;
        let is_consumed = records.iter().all(|(offset, record)| {
            let placed = Placed {
                lane,
                offset: *offset,
                record,
            };
            self.share_out(id, placed)
        });
        let (head, first) = (self.head[lane], self.first[lane]);
        let has_matched = self.counters.delivered > delivered_before;
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let reader = group.reader_mut(lane);
        if is_consumed {
            reader.cursor.skip_to(next.max(first));
        }
        reader.is_behind = reader.cursor.delivered() < head;
        group.stride = if has_matched {
            1
        } else {
            group.stride.saturating_mul(2)
        };
        self.mark_group_dirty(id);
        // With nothing shared out, only a member that finds room changes anything.
        if is_consumed || has_matched {
            self.wake_group(id);
        }
    }

    /// Looks at one record of the log; false when there is no room for it.
    fn share_out(&mut self, id: GroupId, placed: Placed<'_>) -> bool {
        let wall = self.now.wall;
        let (lane, offset, record) = (placed.lane, placed.offset, placed.record);
        let readers = self.groups.get(id);
        let audience = readers.map(|it| self.audience(it, record.topic()));
        let is_readable = audience.is_some_and(|it| it != Audience::Nobody);
        let Some(group) = self.groups.get_mut(id) else {
            return false;
        };
        let holder = group.holder(lane, offset);
        let is_takeable = holder.is_some_and(|holder| is_takeable(&self.registry, holder));
        let is_wanted = record.qos() > 0 && !is_expired(record, wall);
        let is_wanted = is_wanted && group.matches(record.topic()) && is_readable;
        let has_room = group.room(self.settings.group_inflight_maximum) > 0;
        let cursor = &mut group.reader_mut(lane).cursor;
        if offset < cursor.delivered() {
            return true;
        }
        if !cursor.wants(offset) {
            cursor.skip_to(offset.next());
            return true;
        }
        match holder {
            // It stays with the one that has it, whatever became of its time.
            Some(_) if !is_wanted || !is_takeable || audience == Some(Audience::Away) => {
                cursor.deliver(offset);
                return true;
            }
            None if !is_wanted => {
                cursor.skip_to(offset.next());
                return true;
            }
            None if audience == Some(Audience::Away) => {
                if has_room {
                    group.park(lane, offset);
                }
                return has_room;
            }
            _ => {}
        }
        // What is taken over is in flight already.
        let member = if has_room || holder.is_some() {
            self.pick_with_room(id, record)
        } else {
            None
        };
        let Some(member) = member else {
            return false;
        };
        if let Some(holder) = holder
            && let Some(session) = self.registry.get_mut(holder.session)
        {
            session.inflight.settle(holder.delivery);
        }
        self.deliver_shared(id, &member, placed);
        true
    }

    /// Asks the log for the next record that a member had when it was lost.
    pub(in super::super) fn fetch_repeat(&mut self, id: SessionId) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let is_nothing_left = session.inflight.is_all_sent();
        if is_nothing_left || session.fetching.is_some() || !session.has_room() {
            return;
        }
        let Some((_, lane, from)) = session.inflight.next_shared() else {
            return;
        };
        session.fetching = Some((lane, from));
        session.inflight.is_repeating = true;
        self.outputs.push_back(Output::Fetch {
            reader: ReaderId::Session(id),
            lane,
            from,
            maximum_count: 1,
            maximum_bytes: self.settings.fetch_bytes_maximum,
        });
    }

    /// Sends a member again what it had, under its name. [MQTT-4.4.0-1] [MQTT-4.8.2-4]
    pub(in super::super) fn repeat_shared(
        &mut self,
        id: SessionId,
        place: (Lane, Offset),
        found: Option<&Record>,
    ) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let Some(connection) = session.online() else {
            return;
        };
        // It may have been settled meanwhile.
        let next = session.inflight.next_shared();
        let next = next.filter(|(_, lane, offset)| session.has_room() && place == (*lane, *offset));
        let found = found.filter(|record| session.may(Deed::Read, record.topic()));
        if next.is_some()
            && let Some(record) = found
            && !self.room.admit_again(session, record)
        {
            // It is told when there is room.
            return;
        }
        if let Some((delivery, ..)) = next
            && let Some(qos) = session.inflight.send_again(delivery)
        {
            let event = match found {
                None => Event::Gone { delivery },
                Some(record) => Event::Deliver(Delivery {
                    record: record.clone(),
                    id: Some(delivery),
                    qos,
                    is_repeated: true,
                    ..self.options_of(id, delivery, record)
                }),
            };
            self.outputs
                .push_back(Output::ToConnection { connection, event });
        }
        self.wake(id);
    }

    /// A delivery as the member's subscription wants it; as a plain one, when it has unsubscribed.
    fn options_of(&self, id: SessionId, delivery: DeliveryId, record: &Record) -> Delivery {
        let subscription = self.registry.get(id).and_then(|session| {
            let Source::Shared(group, ..) = session.inflight.find(delivery)?.source else {
                return None;
            };
            let group = self.groups.get(group)?;
            session.subscriptions.get(&group.filter)
        });
        let mut matched = Match::default();
        if let Some(it) = subscription {
            let identifier = it.identifier.unwrap_or(0);
            matched.add(it.qos, it.is_retain_as_published, identifier);
        }
        Delivery {
            record: record.clone(),
            id: None,
            qos: 0,
            retain: matched.is_retain_as_published && record.is_retained(),
            is_repeated: false,
            identifiers: matched.identifiers,
        }
    }

    /// Passes what is gone from a lane. What a member has stays its own until it acknowledges.
    pub(in super::super) fn trim_shared(&mut self, lane: Lane, first: Offset) {
        let head = self.head[lane];
        let mut trimmed = Vec::new();
        for group in self.groups.iter_mut() {
            let reader = group.reader_mut(lane);
            if reader.is_behind {
                self.counters.missed += first.0.saturating_sub(reader.cursor.delivered().0);
                reader.cursor.skip_to(first);
                reader.is_behind = reader.cursor.delivered() < head;
                trimmed.push(group.id);
            }
        }
        trimmed.into_iter().for_each(|id| self.mark_group_dirty(id));
    }
}

/// Whether another member may have what this one has: it is away, and saw it with QoS 1.
fn is_takeable(registry: &Registry, holder: Holder) -> bool {
    registry.get(holder.session).is_none_or(|session| {
        let sent = session.inflight.find(holder.delivery);
        session.holder().is_none() && sent.is_none_or(|sent| sent.qos == 1)
    })
}
