//! Shared subscriptions: who joins a group and leaves it, which member gets a record, and what
//! becomes of it when the member is lost.
//!
//! A record goes to one member that is connected and has room; the members take turns. One with
//! QoS over 0 is never spent on a member that subscribed with QoS 0 while another one would
//! acknowledge it. Order per topic is that of the log, as far as sharing allows: what a member did
//! not acknowledge comes to the next one late. A member is passed over for what it may not read; what only
//! members may read that are away waits for them, up to the group's window, and what none of them may
//! is not for the group.

mod lent;
mod queue;
mod reading;

use sync::{Change, Lane, Offset, Record, Table};

use super::Broker;
use super::access::Deed;
use super::commit::Waiting;
use super::event::{Delivery, DeliveryId, Event, GroupId, Output, ReaderId, SessionId, Urgency};
use super::group::{Group, Holder, Member, pattern_of};
use super::inflight::{Shared, Source};
use super::registry::Registry;
use super::session::{Match, Session};
use super::stored::{StoredCursors, Subscription, encode, group_key};
use super::subscriptions::Entry;

/// Who may read a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Somebody who is connected, or nobody is.
    Here,
    /// Only members that are away.
    Away,
    /// None of the members.
    Nobody,
}

/// A record that may be shared out, with its place in the log.
#[derive(Clone, Copy, Debug)]
struct Placed<'a> {
    lane: Lane,
    offset: Offset,
    record: &'a Record,
}

impl Broker {
    /// Makes a session a member of a filter's group, which begins at the heads when it is new.
    pub(super) fn join_group(&mut self, id: SessionId, filter: &str, subscription: &Subscription) {
        let head = self.head;
        let group = match self.groups.find(filter) {
            Some(group) => group,
            None => {
                let group = self.groups.create(filter, head).id;
                let entry = Entry::group(group.index);
                self.subscriptions.insert(pattern_of(filter), entry);
                group
            }
        };
        let is_stored = self.registry.get(id).is_some_and(|it| it.is_stored);
        let Some(joined) = self.groups.get_mut(group) else {
            return;
        };
        joined.is_stored |= is_stored;
        joined.join(id, subscription);
        joined.unpark();
        if !joined.has_readers() {
            joined.forget_log(head);
        }
        self.wake_group(group);
    }

    /// Ends a session's part in a group. The last one to leave ends the group.
    pub(super) fn leave_group(&mut self, id: SessionId, filter: &str) {
        let head = self.head;
        let Some(group) = self.groups.find(filter) else {
            return;
        };
        let Some(left) = self.groups.get_mut(group) else {
            return;
        };
        left.leave(id);
        if !left.members().is_empty() {
            left.unpark();
            if !left.has_readers() {
                left.forget_log(head);
            }
            return self.wake_group(group);
        }
        let is_stored = left.is_stored;
        let returned = left.returned.iter();
        self.lent_bytes -= returned.map(|it| it.as_bytes().len()).sum::<usize>();
        self.subscriptions
            .remove(pattern_of(filter), Entry::group(group.index).session);
        self.groups.remove(group);
        self.dirty_groups.remove(&group);
        if is_stored {
            self.delete_group(filter.into());
        }
    }

    /// Deletes the cursors of groups that ended while the log took nothing, unless there are such
    /// groups again: those write over them.
    pub(super) fn delete_ended_groups(&mut self) {
        for filter in std::mem::take(&mut self.ended_groups) {
            if self.groups.find(&filter).is_none() {
                self.delete_group(filter);
            }
        }
    }

    fn delete_group(&mut self, filter: Box<str>) {
        let (table, key) = (Table::Cursors, group_key(&filter));
        let changes = vec![Change::Delete { table, key }];
        self.commit(changes, Urgency::Relaxed, Waiting::EndOfGroup(filter));
    }

    /// A member's connection ended and its session goes on: what it has of QoS 1 may be taken by
    /// another. What it has of QoS 2 is its own. [MQTT-4.8.2-4]
    pub(super) fn offer_shared_of(&mut self, id: SessionId) {
        let Some(session) = self.registry.get(id) else {
            return;
        };
        let shared: Vec<Shared> = session.inflight.shared().collect();
        for it in &shared {
            if let Some(group) = self.groups.get_mut(it.group)
                && it.qos == 1
            {
                group.go_back(it.lane, it.offset);
            }
        }
        self.count_away(&shared);
    }

    /// A member's session ended: QoS 1 goes to another member, QoS 2 to nobody any more.
    /// [MQTT-4.8.2-5]
    pub(super) fn take_back_shared(&mut self, session: SessionId, shared: &[Shared]) {
        for it in shared {
            let delivery = it.delivery;
            let holder = Holder { session, delivery };
            let Some(group) = self.groups.get_mut(it.group) else {
                continue;
            };
            if it.qos == 1 {
                group.take_back(it.lane, it.offset, holder);
            } else {
                group.settle(it.lane, it.offset, holder);
                self.mark_group_dirty(it.group);
            }
        }
        self.count_away(shared);
    }

    /// A member is back, and has what it had.
    pub(super) fn return_shared_to(&mut self, id: SessionId) {
        if let Some(session) = self.registry.get(id) {
            let shared: Vec<Shared> = session.inflight.shared().collect();
            self.count_away(&shared);
        }
    }

    /// A member acknowledged, well or not: either way nobody else gets it. [MQTT-4.8.2-6]
    pub(super) fn settle_shared(&mut self, group: GroupId, at: (Lane, Offset), holder: Holder) {
        if let Some(found) = self.groups.get_mut(group) {
            found.settle(at.0, at.1, holder);
            self.mark_group_dirty(group);
            self.wake_group(group);
        }
    }

    /// Whether a group has a member whose session outlives its connection, so that its records must
    /// be in the log.
    fn is_durable(&self, group: &Group) -> bool {
        let mut readers = group.members().iter().filter(|it| it.is_reader());
        readers.any(|it| {
            let session = self.registry.get(it.session);
            session.is_some_and(|session| session.is_durable())
        })
    }

    /// Who of a group may read a topic. With nobody here it is for those who come.
    fn audience(&self, group: &Group, topic: &str) -> Audience {
        let mut audience = Audience::Nobody;
        let mut is_anybody_here = false;
        for member in group.members() {
            let Some(session) = self.registry.get(member.session) else {
                continue;
            };
            let is_here = session.online().is_some();
            is_anybody_here |= is_here;
            match session.may(Deed::Read, topic) {
                true if is_here => return Audience::Here,
                true if member.is_reader() => audience = Audience::Away,
                _ => {}
            }
        }
        match is_anybody_here {
            true => audience,
            false => Audience::Here,
        }
    }

    /// Whether a group wants a topic's records: not when none of its members may read it.
    pub(super) fn is_readable_by(&self, group: &Group, topic: &str) -> bool {
        self.audience(group, topic) != Audience::Nobody
    }

    /// Has groups look again at what was kept for members that were away.
    pub(super) fn unpark_groups_of(&mut self, id: SessionId) {
        let session = self.registry.get(id);
        let filters = session.into_iter().flat_map(Session::shared_filters);
        let groups: Vec<GroupId> = filters.filter_map(|it| self.groups.find(it)).collect();
        for id in groups {
            if let Some(group) = self.groups.get_mut(id) {
                group.unpark();
            }
            self.wake_group(id);
        }
    }

    /// Whether a record must go through the log for a group. `room` is what it needs at one member.
    pub(super) fn needs_log_shared(
        &self,
        group: &Group,
        (lane, topic): (Lane, &str),
        room: usize,
    ) -> bool {
        let mut members = group.members().iter();
        let maximum = self.settings.group_inflight_maximum;
        let is_fit = |member: &Member| {
            group.share_of(member.session, maximum) > 0
                && is_ready_for(&self.registry, member, room, topic)
        };
        let is_live = !group.reader(lane).is_behind && members.any(is_fit);
        !is_live || !self.has_room_to_lend() || self.is_durable(group)
    }

    /// Hands a record to one connected member of each group whose effective QoS is at most
    /// `qos_maximum`, without the log. `room` is what the first of them needs at one member.
    pub(super) fn pass_on_shared(
        &mut self,
        record: &Record,
        groups: &[Entry],
        (room, qos_maximum): (usize, u8),
    ) {
        for (already, entry) in groups.iter().enumerate() {
            let Some(group) = self.groups.at(entry.group_index()) else {
                continue;
            };
            let id = group.id;
            let is_acknowledged = record.qos() > 0 && group.has_readers();
            if !is_acknowledged {
                self.pass_unacknowledged(already, groups, record);
            } else if qos_maximum > 0
                && let Some(member) = self.pick(id, room - already, record.topic())
            {
                self.lend(id, &member, record);
            }
        }
    }

    /// Hands a committed record to a live group that wants it. Without a member that has room, the
    /// group is behind from here on.
    pub(super) fn offer_shared(&mut self, index: u32, lane: Lane, offset: Offset, record: &Record) {
        let Some(group) = self.groups.at(index).filter(|group| group.has_readers()) else {
            return;
        };
        let audience = self.audience(group, record.topic());
        if audience == Audience::Nobody {
            return;
        }
        let id = group.id;
        let has_room = group.room(self.settings.group_inflight_maximum) > 0;
        let reader = group.reader(lane);
        // A read may have been ahead of this commit's answer.
        if reader.is_behind || offset < reader.cursor.delivered() {
            return;
        }
        let member = has_room.then(|| self.pick_with_room(id, record)).flatten();
        if let Some(group) = self.groups.get_mut(id) {
            let reader = group.reader_mut(lane);
            reader.cursor.skip_to(offset);
            reader.is_behind = member.is_none();
        }
        if let Some(member) = member {
            let placed = Placed {
                lane,
                offset,
                record,
            };
            self.deliver_shared(id, &member, placed);
        } else if audience == Audience::Away {
            // Reading parks it.
            self.wake_group(id);
        }
    }

    /// The change that stores a group's cursors; live lanes are stored at the head.
    pub(super) fn put_group(&mut self, id: GroupId) -> Option<Change> {
        let group = self.groups.get_mut(id).filter(|group| group.is_stored)?;
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut group.lanes) {
            if !reader.is_behind {
                reader.cursor.skip_to(self.head[lane]);
            }
            reader.stored = reader.cursor.delivered();
        }
        let cursors = group.lanes.each_ref().map(|reader| reader.cursor.clone());
        Some(Change::Put {
            table: Table::Cursors,
            key: group_key(&group.filter),
            value: encode(&StoredCursors::new(self.epoch, cursors)),
        })
    }

    /// Notes that the stored cursors of a group are older than what is.
    pub(super) fn mark_group_dirty(&mut self, id: GroupId) {
        if self.groups.get(id).is_some_and(|group| group.is_stored) && self.dirty_groups.insert(id)
        {
            self.schedule_sweep();
        }
    }

    /// Puts a group into the list of those with something to do.
    pub(super) fn wake_group(&mut self, id: GroupId) {
        if self.groups.get_mut(id).is_some_and(Group::begins_to_run) {
            self.runnable.push_back(ReaderId::Group(id));
        }
    }

    /// A session may have room: so may its groups.
    pub(super) fn wake_groups_of(&mut self, id: SessionId) {
        if self.groups.len() == 0 {
            return;
        }
        let session = self.registry.get(id);
        for filter in session.into_iter().flat_map(Session::shared_filters) {
            let group = self.groups.find(filter);
            let group = group.and_then(|id| self.groups.get_mut(id));
            if let Some(group) = group
                && group.begins_to_run()
            {
                self.runnable.push_back(ReaderId::Group(group.id));
            }
        }
    }

    /// Counts anew, for the groups of some deliveries, what members that are away have.
    fn count_away(&mut self, shared: &[Shared]) {
        let mut groups: Vec<GroupId> = shared.iter().map(|it| it.group).collect();
        groups.sort_unstable();
        groups.dedup();
        for id in groups {
            if let Some(group) = self.groups.get_mut(id) {
                let registry = &self.registry;
                group.count_away(|id| registry.get(id).is_none_or(|it| it.holder().is_none()));
            }
            self.wake_group(id);
        }
    }

    /// The next member in turn that may read a topic and has room for so many records with QoS
    /// over 0.
    fn pick(&mut self, id: GroupId, room: usize, topic: &str) -> Option<Member> {
        let (registry, maximum) = (&self.registry, self.settings.group_inflight_maximum);
        let group = self.groups.get_mut(id)?;
        group.pick(|group, member| {
            group.share_of(member.session, maximum) > 0
                && is_ready_for(registry, member, room, topic)
        })
    }

    /// The next member in turn that may read a record and has room for it, also in memory.
    fn pick_with_room(&mut self, id: GroupId, record: &Record) -> Option<Member> {
        let (registry, maximum) = (&self.registry, self.settings.group_inflight_maximum);
        let (room, topic) = (&self.room, record.topic());
        let has_room = |member: &Member| {
            let session = registry.get(member.session);
            session.is_some_and(|session| room.has_room_for(session, record))
        };
        let group = self.groups.get_mut(id)?;
        group.pick(|group, member| {
            group.share_of(member.session, maximum) > 0
                && is_ready_for(registry, member, 1, topic)
                && has_room(member)
        })
    }

    /// Hands a record with a place to a member, which holds it from now on.
    fn deliver_shared(&mut self, id: GroupId, member: &Member, placed: Placed<'_>) {
        let (lane, offset) = (placed.lane, placed.offset);
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let cursor = &mut group.reader_mut(lane).cursor;
        let is_repeated = offset < cursor.high();
        cursor.deliver(offset);
        let source = Some(Source::Shared(id, lane, offset));
        if let Some(delivery) = self.hand_over(member, placed.record, source, is_repeated)
            && let Some(group) = self.groups.get_mut(id)
        {
            let session = member.session;
            group.hold(lane, offset, Holder { session, delivery });
        }
        self.mark_group_dirty(id);
    }

    /// Tells a member's view of a record; without a source, with QoS 0. Gives the name of the
    /// delivery.
    fn hand_over(
        &mut self,
        member: &Member,
        record: &Record,
        source: Option<Source>,
        is_repeated: bool,
    ) -> Option<DeliveryId> {
        let session = self.registry.get_mut(member.session)?;
        let connection = session.online()?;
        let qos = match source {
            // [MQTT-4.8.2-3]
            Some(_) => member.qos.min(record.qos()),
            None => 0,
        };
        let id = source.map(|source| session.inflight.send(source, qos));
        if id.is_some() {
            self.room.promise(connection, record);
        }
        let mut matched = Match::default();
        matched.add(
            qos,
            member.is_retain_as_published,
            member.identifier.unwrap_or(0),
        );
        let delivery = Delivery {
            record: record.clone(),
            id,
            qos,
            retain: matched.is_retain_as_published && record.is_retained(),
            is_repeated: is_repeated && qos == 1,
            identifiers: matched.identifiers,
        };
        self.counters.delivered += 1;
        let event = Event::Deliver(delivery);
        self.outputs
            .push_back(Output::ToConnection { connection, event });
        id
    }
}

/// What the first of several groups needs at one member, so that there is room for all that the
/// member may get of one record: once from each group, and once for itself.
pub(super) const fn room_for(sessions: &[Entry], groups: &[Entry]) -> usize {
    groups.len() + !sessions.is_empty() as usize
}

/// Whether a member can be handed so many records with QoS over 0 now.
fn is_ready(registry: &Registry, member: &Member, room: usize) -> bool {
    let session = registry.get(member.session);
    member.is_reader() && session.is_some_and(|session| session.takes_shared(room))
}

/// Whether a member can be handed so many records of a topic with QoS over 0 now.
fn is_ready_for(registry: &Registry, member: &Member, room: usize, topic: &str) -> bool {
    let session = registry.get(member.session);
    let may_read = session.is_some_and(|session| session.may(Deed::Read, topic));
    may_read && is_ready(registry, member, room)
}
