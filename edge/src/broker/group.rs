//! The group of one shared subscription: a reader of its own, like a session. It has a place in
//! each lane, members that take turns, and a list of what each of them has. Never a queue of
//! messages.
//!
//! A lane of a group is *live* or *behind*, as a session's is. A record that was handed to a member
//! is *held* by it until it acknowledges:
//!
//! ```text
//! (none)    -> held       handed to a member that has room
//! held      -> (none)     acknowledged, well or not: settled
//! held      -> takeable   QoS 1, the member's connection is lost: whoever has room first gets it
//! held      -> parked     QoS 2, the member's connection is lost: nobody else ever gets it
//! takeable  -> held       another member takes it, or its own one is back
//! parked    -> held       the member is back
//! parked    -> (none)     the member's session ended: settled
//! takeable  -> (none)     the member's session ended: pending, held by nobody, first in turn
//! ```
//!
//! A record that is not in the log, because no session of the group outlives its connection, is *lent*
//! to a member with QoS 1: when the member's session ends, it goes to another one.
//!
//! A group lives as long as it has a member. With none connected, its records wait in the log.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync::{Generator, Lane, Offset, PerLane, Record};
use wire::topic::{TopicName, pattern_matches};

use super::event::{DeliveryId, GroupId, SessionId};
use super::session::{Reader, lane_behind};
use super::stored::Subscription;

/// The group of a shared subscription.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    /// All of it, `$share/` and the name included: what identifies the group. [MQTT-4.8.2-1]
    pub(super) filter: Box<str>,
    members: Vec<Member>,
    /// The member whose turn it is.
    turn: usize,
    pub(super) lanes: [Reader; 3],
    /// Who has what is not acknowledged yet.
    held: BTreeMap<(Lane, Offset), Holder>,
    /// How many of these each has, of those that have any.
    held_counts: BTreeMap<SessionId, usize>,
    /// How many of these belong to members that are away.
    away_count: usize,
    /// What those who are here may not read and one who is away may: pending, and nobody's.
    parked: BTreeSet<(Lane, Offset)>,
    /// What members had that are gone, and is not in the log: for whoever has room first.
    pub(super) returned: VecDeque<Record>,
    /// The read that is not answered yet.
    pub(super) fetching: Option<(Lane, Offset)>,
    /// How many reads there were; wraps.
    pub(super) reads: u8,
    /// How many records to ask for in relation to the room; grows while nothing matches.
    pub(super) stride: u16,
    /// Whether the tables hold its cursors, or will.
    pub(super) is_stored: bool,
    /// Whether it waits in the list of those with something to do.
    pub(super) is_runnable: bool,
}

/// A session's part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) session: SessionId,
    pub(super) qos: u8,
    pub(super) identifier: Option<u32>,
    pub(super) is_retain_as_published: bool,
    /// Whether its session's own messages are for the others.
    pub(super) is_no_local: bool,
    /// Whether it takes turns with the members of other groups of the same name.
    pub(super) is_in_queue: bool,
}

/// Who has a record, and by which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) session: SessionId,
    pub(super) delivery: DeliveryId,
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_filter: BTreeMap<Box<str>, GroupId>,
    /// Draws one of several groups that take turns as one.
    draw: Draw,
    /// What each one counts for, without its filter.
    each_bytes: usize,
    held_bytes: usize,
}

/// Any fixed seed is good: which group is drawn matters to nobody, as long as all are.
#[derive(Debug)]
struct Draw(Generator);

impl Default for Draw {
    fn default() -> Self {
        Self(Generator::from_seed(0))
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    group: Option<Box<Group>>,
}

/// Begins the filter of a shared subscription, and no other.
pub(super) const SHARE_PREFIX: &str = "$share/";
/// A group does not read before this part of its window is free, so that each read is of use.
pub(super) const READ_SHARE: usize = 16;
/// What a record in flight costs a group: its places in the cursor, in the list of holders, and in
/// their counts.
const HELD_BYTES: usize = 88;

impl Groups {
    /// Counts each group with room for so many records in flight.
    pub(super) fn new(inflight_maximum: usize) -> Self {
        Self {
            each_bytes: size_of::<Group>() + size_of::<Slot>() + inflight_maximum * HELD_BYTES,
            ..Self::default()
        }
    }

    /// Makes a group that does not exist yet, without members.
    pub(super) fn create(&mut self, filter: &str, starts: PerLane<Offset>) -> &mut Group {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("groups are bounded by their limit")
        });
        self.held_bytes += self.added_bytes(filter);
        let slot = &mut self.slots[index as usize];
        let id = GroupId {
            index,
            generation: slot.generation,
        };
        let former = self.by_filter.insert(filter.into(), id);
        assert!(former.is_none(), "a filter names one group");
        slot.group.insert(Box::new(Group::new(id, filter, starts)))
    }

    /// Forgets a group.
    pub(super) fn remove(&mut self, id: GroupId) -> Option<Box<Group>> {
        self.get(id)?;
        let slot = &mut self.slots[id.index as usize];
        let group = slot.group.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.by_filter.remove(&group.filter);
        self.held_bytes -= self.added_bytes(&group.filter);
        Some(group)
    }

    pub(super) fn find(&self, filter: &str) -> Option<GroupId> {
        self.by_filter.get(filter).copied()
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.at(id.index).filter(|group| group.id == id)
    }

    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.group.as_deref_mut().filter(|group| group.id == id)
    }

    /// The group at a place, whichever it is.
    pub(super) fn at(&self, index: u32) -> Option<&Group> {
        self.slots.get(index as usize)?.group.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.slots.iter().filter_map(|slot| slot.group.as_deref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        let slots = self.slots.iter_mut();
        slots.filter_map(|slot| slot.group.as_deref_mut())
    }

    pub(super) fn len(&self) -> usize {
        self.by_filter.len()
    }

    /// Draws a number below `end`.
    pub(super) fn draw_below(&mut self, end: usize) -> usize {
        let drawn = self.draw.0.below(end as u64);
        usize::try_from(drawn).expect("what is drawn is below a usize")
    }

    /// What one more group takes, in bytes.
    pub(super) const fn added_bytes(&self, filter: &str) -> usize {
        self.each_bytes + 2 * filter.len()
    }

    /// What all groups take, in bytes, their members and the tree of subscriptions aside.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

impl Group {
    fn new(id: GroupId, filter: &str, starts: PerLane<Offset>) -> Self {
        let mut lanes = starts.0.map(Reader::starting_at);
        lanes.iter_mut().for_each(|lane| lane.is_behind = false);
        Self {
            id,
            filter: filter.into(),
            members: Vec::new(),
            turn: 0,
            lanes,
            held: BTreeMap::new(),
            held_counts: BTreeMap::new(),
            away_count: 0,
            parked: BTreeSet::new(),
            returned: VecDeque::new(),
            fetching: None,
            reads: 1,
            stride: 1,
            is_stored: false,
            is_runnable: false,
        }
    }

    /// Adds a member, or gives it other options.
    pub(super) fn join(&mut self, session: SessionId, subscription: &Subscription) {
        let member = Member {
            session,
            qos: subscription.qos,
            identifier: subscription.identifier,
            is_retain_as_published: subscription.is_retain_as_published,
            is_no_local: subscription.is_no_local,
            is_in_queue: false,
        };
        match self.members.iter_mut().find(|it| it.session == session) {
            Some(former) => *former = member,
            None => self.members.push(member),
        }
    }

    /// Lets a member take turns with those of other groups of the same name.
    pub(super) fn join_queue(&mut self, session: SessionId) {
        let mut members = self.members.iter_mut();
        if let Some(member) = members.find(|it| it.session == session) {
            member.is_in_queue = true;
        }
    }

    /// Takes a member out. What it has stays with it until it acknowledges or is lost.
    pub(super) fn leave(&mut self, session: SessionId) {
        self.members.retain(|it| it.session != session);
    }

    /// Lets the log go, for want of members with QoS over 0.
    pub(super) fn forget_log(&mut self, heads: PerLane<Offset>) {
        self.fetching = None;
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            reader.cursor.skip_to(heads[lane]);
            reader.is_behind = false;
        }
    }

    /// Gives the next member in turn that fits, and the turn to the one after.
    pub(super) fn pick(&mut self, is_fit: impl Fn(&Self, &Member) -> bool) -> Option<Member> {
        let count = self.members.len();
        let at = (self.turn..self.turn + count)
            .map(|at| at % count)
            .find(|at| is_fit(self, &self.members[*at]))?;
        self.turn = at + 1;
        Some(self.members[at])
    }

    /// Notes that a member has a record. One that had it before was away: only then is it taken.
    pub(super) fn hold(&mut self, lane: Lane, offset: Offset, holder: Holder) {
        if let Some(former) = self.held.insert((lane, offset), holder) {
            self.away_count = self.away_count.saturating_sub(1);
            self.count_less(former.session);
        }
        *self.held_counts.entry(holder.session).or_default() += 1;
    }

    /// Settles a record, unless somebody else has it by now.
    pub(super) fn settle(&mut self, lane: Lane, offset: Offset, holder: Holder) {
        if self.drop_hold(lane, offset, holder) {
            self.reader_mut(lane).cursor.acknowledge(offset);
        }
    }

    /// Takes a record from a member: it is pending, and nobody's.
    pub(super) fn take_back(&mut self, lane: Lane, offset: Offset, holder: Holder) {
        if self.drop_hold(lane, offset, holder) {
            self.go_back(lane, offset);
        }
    }

    /// Reads again from a record on that somebody may take.
    pub(super) fn go_back(&mut self, lane: Lane, offset: Offset) {
        let reader = self.reader_mut(lane);
        if reader.cursor.wants(offset) {
            reader.cursor.rewind_to(offset);
            reader.is_behind = true;
            self.fetching = None;
        }
    }

    /// Keeps a record for a member that is away.
    pub(super) fn park(&mut self, lane: Lane, offset: Offset) {
        self.reader_mut(lane).cursor.deliver(offset);
        self.parked.insert((lane, offset));
    }

    /// Reads again what was kept for members that were away: who is here is not who was.
    pub(super) fn unpark(&mut self) {
        for (lane, offset) in std::mem::take(&mut self.parked).into_iter().rev() {
            self.go_back(lane, offset);
        }
    }

    /// Begins after a restart: what is pending and held by nobody is sent again. Returns how many
    /// records the group missed.
    pub(super) fn resume(&mut self, firsts: PerLane<Offset>, heads: PerLane<Offset>) -> u64 {
        if !self.has_readers() {
            self.forget_log(heads);
            return 0;
        }
        let mut missed = 0;
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            missed += reader.cursor.skip_gap(firsts[lane]);
            let held = &self.held;
            let is_free = |offset: &Offset| !held.contains_key(&(lane, *offset));
            let free = reader.cursor.pending().find(is_free);
            if let Some(offset) = free {
                reader.cursor.rewind_to(offset);
            }
            reader.is_behind = reader.cursor.delivered() < heads[lane];
        }
        missed
    }

    /// Counts anew what members that are away have.
    pub(super) fn count_away(&mut self, is_away: impl Fn(SessionId) -> bool) {
        let held = self.held.values();
        self.away_count = held.filter(|holder| is_away(holder.session)).count();
    }

    /// Who has a record.
    pub(super) fn holder(&self, lane: Lane, offset: Offset) -> Option<Holder> {
        self.held.get(&(lane, offset)).copied()
    }

    /// How many more records may be in flight. What members that are away have does not count:
    /// they must not stop the others.
    pub(super) fn room(&self, inflight_maximum: usize) -> usize {
        (inflight_maximum + self.away_count).saturating_sub(self.held.len() + self.parked.len())
    }

    /// How many more records a member may have. Half of the window is for whoever takes it; of the
    /// other half each member has a part, so that those who acknowledge nothing never stop the rest.
    pub(super) fn share_of(&self, session: SessionId, inflight_maximum: usize) -> usize {
        let in_flight = self.held.len().saturating_sub(self.away_count);
        let half = inflight_maximum / 2;
        if self.members.len() < 2 || in_flight < half {
            return usize::MAX;
        }
        let part = (half - inflight_maximum / READ_SHARE) / self.members.len();
        let has = self.held_counts.get(&session).copied().unwrap_or_default();
        part.max(1).saturating_sub(has)
    }

    /// The members, in the order of their coming.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether any member wants records of the log; QoS 0 is not kept for later.
    pub(super) fn has_readers(&self) -> bool {
        self.members.iter().any(|member| member.qos > 0)
    }

    /// The share name, if a member takes turns with those of other groups that have it.
    pub(super) fn queue_name(&self) -> Option<&str> {
        let is_queue = self.members.iter().any(|member| member.is_in_queue);
        self.filter.split('/').nth(1).filter(|_| is_queue)
    }

    /// The lane's reader.
    pub(super) const fn reader(&self, lane: Lane) -> &Reader {
        &self.lanes[lane as usize]
    }

    /// The lane's reader, to move it.
    pub(super) const fn reader_mut(&mut self, lane: Lane) -> &mut Reader {
        &mut self.lanes[lane as usize]
    }

    /// Whether there is something to read that was not noticed yet; it is from now on.
    pub(super) fn begins_to_run(&mut self) -> bool {
        let is_behind = self.fetching.is_none() && self.lanes.iter().any(|lane| lane.is_behind);
        let has_work = is_behind || !self.returned.is_empty();
        has_work && !std::mem::replace(&mut self.is_runnable, true)
    }

    /// The most important lane that is behind.
    pub(super) fn lane_to_read(&self) -> Option<Lane> {
        lane_behind(&self.lanes, self.reads).filter(|_| self.fetching.is_none())
    }

    /// The lowest offset of a lane that the group still wants.
    pub(super) fn floor(&self, lane: Lane, head: Offset) -> Offset {
        let reader = self.reader(lane);
        if reader.is_behind {
            return reader.cursor.ack_floor();
        }
        reader.cursor.pending().next().unwrap_or(head)
    }

    /// Whether a topic belongs to the group.
    pub(super) fn matches(&self, topic: &str) -> bool {
        let pattern = pattern_of(&self.filter);
        TopicName::new(topic).is_ok_and(|topic| pattern_matches(pattern, topic))
    }

    fn drop_hold(&mut self, lane: Lane, offset: Offset, holder: Holder) -> bool {
        let is_its = self.holder(lane, offset) == Some(holder);
        if is_its {
            self.held.remove(&(lane, offset));
            self.count_less(holder.session);
        }
        is_its
    }

    fn count_less(&mut self, session: SessionId) {
        if let Entry::Occupied(mut count) = self.held_counts.entry(session) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Member {
    /// A member with QoS 0 gets nothing that another one would acknowledge.
    pub(super) const fn is_reader(&self) -> bool {
        self.qos > 0
    }
}

/// Whether a filter that was checked is of a shared subscription.
pub(super) fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARE_PREFIX)
}

/// The part of a filter that is matched.
pub(super) fn pattern_of(filter: &str) -> &str {
    filter.splitn(3, '/').nth(2).unwrap_or(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(index: u32) -> SessionId {
        SessionId {
            index,
            generation: 0,
        }
    }

    fn holder(index: u32, delivery: u16) -> Holder {
        Holder {
            session: session(index),
            delivery: DeliveryId(delivery),
        }
    }

    fn group_of(count: u32) -> Group {
        let subscription = Subscription {
            qos: 1,
            identifier: None,
            is_no_local: false,
            is_retain_as_published: false,
            begin: PerLane::default(),
            is_walking: false,
        };
        let mut groups = Groups::new(10);
        let group = groups.create("$share/g/t", PerLane::default());
        let id = group.id;
        for index in 0..count {
            group.join(session(index), &subscription);
        }
        *groups.remove(id).unwrap()
    }

    #[test]
    fn members_take_turns_and_those_that_do_not_fit_are_passed_over() {
        let mut group = group_of(3);
        let mut next = |but: u32| {
            let picked = group.pick(|_, member| member.session != session(but));
            picked.map(|member| member.session.index)
        };
        let picked = [9, 9, 9, 0, 0, 1].map(&mut next);
        assert_eq!(picked, [0, 1, 2, 1, 2, 0].map(Some));
        assert_eq!(group.pick(|_, _| false), None);
        group.leave(session(0));
        group.leave(session(1));
        group.leave(session(2));
        assert_eq!(group.pick(|_, _| true), None);
    }

    #[test]
    fn a_record_is_settled_only_by_the_one_who_has_it() {
        let (lane, offset) = (Lane::Normal, Offset(4));
        let mut group = group_of(2);
        group.reader_mut(lane).cursor.deliver(offset);
        group.hold(lane, offset, holder(0, 7));
        group.go_back(lane, offset);
        assert_eq!(group.floor(lane, Offset(9)), offset);
        // Another member has taken it.
        group.reader_mut(lane).cursor.deliver(offset);
        group.hold(lane, offset, holder(1, 1));
        group.settle(lane, offset, holder(0, 7));
        assert_eq!(group.reader(lane).cursor.pending_count(), 1);
        group.settle(lane, offset, holder(1, 1));
        assert_eq!(group.reader(lane).cursor.pending_count(), 0);
        assert_eq!(group.room(10), 10);
    }

    #[test]
    fn what_members_have_that_are_away_takes_no_room() {
        let mut group = group_of(2);
        for offset in 0..4 {
            group
                .reader_mut(Lane::Normal)
                .cursor
                .deliver(Offset(offset));
            let holder = holder(u32::from(offset > 0), 1);
            group.hold(Lane::Normal, Offset(offset), holder);
        }
        assert_eq!(group.room(5), 1);
        group.count_away(|id| id == session(1));
        assert_eq!(group.room(5), 4);
    }

    #[test]
    fn what_is_taken_over_from_a_member_that_is_away_takes_room_again() {
        // Without it each member that went away left its room behind, and the next one got more
        // than the window.
        let lane = Lane::Normal;
        let mut group = group_of(2);
        for offset in 0..4 {
            group.reader_mut(lane).cursor.deliver(Offset(offset));
            group.hold(lane, Offset(offset), holder(0, 1));
        }
        group.count_away(|id| id == session(0));
        assert_eq!(group.room(4), 4);
        for offset in 0..3 {
            group.hold(lane, Offset(offset), holder(1, 1));
        }
        assert_eq!(group.room(4), 1);
    }

    #[test]
    fn a_member_has_half_of_the_window_and_its_part_of_the_rest() {
        let mut group = group_of(4);
        let share = |group: &Group, index| group.share_of(session(index), 32);
        for offset in 0..16 {
            assert_eq!(share(&group, 0), usize::MAX);
            group.hold(Lane::Normal, Offset(offset), holder(0, 1));
        }
        assert_eq!([0, 1, 2].map(|index| share(&group, index)), [0, 3, 3]);
        group.hold(Lane::Normal, Offset(16), holder(1, 1));
        assert_eq!(share(&group, 1), 2);
        group.settle(Lane::Normal, Offset(16), holder(1, 1));
        assert_eq!(share(&group, 1), 3);
    }

    #[test]
    fn after_a_restart_only_what_nobody_holds_is_read_again() {
        let lane = Lane::Normal;
        let mut group = group_of(2);
        for offset in 0..6 {
            group.reader_mut(lane).cursor.deliver(Offset(offset));
        }
        group.hold(lane, Offset(2), holder(0, 1));
        let mut firsts = PerLane::default();
        firsts[lane] = Offset(2);
        let mut heads = PerLane::default();
        heads[lane] = Offset(6);
        assert_eq!(group.resume(firsts, heads), 2);
        assert_eq!(group.reader(lane).cursor.delivered(), Offset(3));
        assert!(group.reader(lane).is_behind);
        assert!(!group.reader(Lane::Urgent).is_behind);
    }

    #[test]
    fn a_group_is_counted_while_it_exists() {
        let mut groups = Groups::new(256);
        let id = groups.create("$share/g/t", PerLane::default()).id;
        assert_eq!(groups.find("$share/g/t"), Some(id));
        assert!(groups.held_bytes() > 256 * HELD_BYTES);
        assert!(groups.remove(id).is_some());
        assert_eq!((groups.held_bytes(), groups.len()), (0, 0));
        // A late word about it meets nobody, though its place is taken again.
        let _ = groups.create("$share/g/u", PerLane::default());
        assert!(groups.get(id).is_none());
    }
}
