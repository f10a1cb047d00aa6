//! Groups that read mailboxes: their positions, and what was delivered to them.
//!
//! The position is durable; what was delivered is remembered only, under a limit of bytes, and the
//! group that was idle longest is forgotten first. A group with a commit under way is never
//! forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use sync::{Change, Table, WallTime};
use wire::mq9::Priority;

use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Number, StoredGroup, encode, named_key, range_of};

/// A group of a mailbox.
pub(super) type GroupName = (Number, Arc<str>);
/// Of each priority the id below which a group is done.
pub(super) type Position = [u64; 3];

/// Answers that are remembered of a group: as many as its members may work on at the same time.
const BATCH_COUNT: usize = 8;
/// Groups of a mailbox whose positions are looked at together; where there are more, nothing counts
/// as acknowledged by all of them.
const GROUPS_ASKED: Page = Page {
    rows: 1_024,
    bytes: 512 << 10,
};
/// Of a group beside its name and its batches.
pub(super) const GROUP_BYTES: usize = 2 * (size_of::<Group>() + 2 * size_of::<GroupName>() + 16);

/// All groups that are in memory.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<GroupName, Group>,
    /// Oldest use first.
    by_use: BTreeMap<u64, GroupName>,
    next_use: u64,
    bytes: usize,
    /// Those that a commit under way takes out of the table.
    leaving: BTreeSet<GroupName>,
}

/// What is in memory of a group.
#[derive(Debug, Default)]
struct Group {
    /// As it is when all that is under way is done; none when that failed, and the table knows.
    position: Option<Position>,
    /// Whether the table has a position.
    is_pinned: bool,
    under_way: u32,
    /// Whether a commit failed since the last time that none was under way.
    is_stale: bool,
    /// Messages of former answers, oldest answer first.
    batches: VecDeque<Box<[(Priority, u64)]>>,
    /// When it was used, beside others.
    used: u64,
    /// When it was used last, and what the table says of that.
    used_at: WallTime,
    stored_use: WallTime,
}

impl Groups {
    /// Finds the position of a group, in memory or in the table; `None` when it has none.
    pub(super) fn position(
        &mut self,
        name: &GroupName,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<Position>, Unreadable> {
        if let Some(position) = self.all.get(name).and_then(|group| group.position) {
            self.touch(name);
            return Ok(Some(position));
        }
        if self.leaving.contains(name) {
            return Ok(None);
        }
        let key = named_key(name.0, &name.1);
        let row = shelf.find(Table::MailGroups, &key)?;
        let Some(stored) = row.as_deref().and_then(StoredGroup::decode) else {
            return Ok(None);
        };
        let StoredGroup(_, position, used) = stored;
        let group = self.open(name);
        group.position = Some(position);
        group.is_pinned = true;
        group.used_at = group.used_at.max(used);
        group.stored_use = used;
        Ok(Some(position))
    }

    /// What every group of a mailbox is done with: of each priority the id below which none of them
    /// wants anything. `None` without a group, and with more than [`GROUPS_ASKED`].
    pub(super) fn floor(
        &self,
        mailbox: Number,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<Position>, Unreadable> {
        self.floor_of(mailbox, |_| true, shelf)
    }

    /// The same of those groups only that were used at a time for which something holds.
    pub(super) fn floor_of(
        &self,
        mailbox: Number,
        counts: impl Fn(WallTime) -> bool,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<Position>, Unreadable> {
        let (from, end) = range_of(mailbox);
        let stored = shelf.walk(Table::MailGroups, &from, &end, GROUPS_ASKED)?;
        if stored.next.is_some() {
            return Ok(None);
        }
        let stored = stored.rows.iter();
        let stored = stored.filter_map(|(key, value)| match StoredGroup::decode(value) {
            Some(StoredGroup(_, position, used)) => {
                let used_at = used.max(self.used_at(mailbox, key));
                counts(used_at).then_some(position)
            }
            // One that is damaged claims everything.
            None => Some([0; 3]),
        });
        // Where a commit under way moves a group back, what it wants again stays.
        let held = self.of_mailbox(mailbox);
        let held = held.filter(|(_, group)| counts(group.used_at));
        let held = held.filter_map(|(_, group)| group.position);
        let lower = |floor: Position, position: Position| {
            [0, 1, 2].map(|at: usize| floor[at].min(position[at]))
        };
        Ok(stored.chain(held).reduce(lower))
    }

    /// Sets a position; the change must go with the next commit, which names the group.
    pub(super) fn place(&mut self, name: &GroupName, position: Position, now: WallTime) -> Change {
        let group = self.open(name);
        group.position = Some(position);
        (group.used_at, group.stored_use) = (now, now);
        Change::Put {
            table: Table::MailGroups,
            key: named_key(name.0, &name.1),
            value: encode(&StoredGroup::new(position, now)),
        }
    }

    /// Notes that a group that is in memory is used. Gives the time that the table has of that.
    pub(super) fn note_use(&mut self, name: &GroupName, now: WallTime) -> Option<WallTime> {
        let group = self.all.get_mut(name)?;
        group.used_at = now;
        Some(group.stored_use)
    }

    /// Finds the group of a mailbox that was not used for longest, of those for which something
    /// holds and that no commit under way is about.
    pub(super) fn idlest(
        &self,
        mailbox: Number,
        is_idle: impl Fn(WallTime) -> bool,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<GroupName>, Unreadable> {
        let (from, end) = range_of(mailbox);
        let stored = shelf.walk(Table::MailGroups, &from, &end, GROUPS_ASKED)?;
        let idle = stored.rows.iter().filter_map(|(key, value)| {
            let StoredGroup(_, _, used) = StoredGroup::decode(value)?;
            let used_at = used.max(self.used_at(mailbox, key));
            let name = (mailbox, Arc::from(name_in(key)?));
            let is_free = self.all.get(&name).is_none_or(|it| it.under_way == 0);
            let is_it = is_free && is_idle(used_at) && !self.leaving.contains(&name);
            is_it.then_some((used_at, name))
        });
        Ok(idle.min().map(|(_, name)| name))
    }

    /// Forgets a group; the change must go with the next commit, whose end is told by
    /// [`Groups::left`].
    pub(super) fn leave(&mut self, name: &GroupName) -> Change {
        self.forget(name);
        self.leaving.insert(name.clone());
        Change::Delete {
            table: Table::MailGroups,
            key: named_key(name.0, &name.1),
        }
    }

    /// Notes the end of that commit. Says whether the group is there all the same, and not counted.
    pub(super) fn left(&mut self, name: &GroupName, is_durable: bool) -> bool {
        self.leaving.remove(name);
        if is_durable {
            return false;
        }
        let placed = self.all.get_mut(name).filter(|group| group.under_way > 0);
        match placed {
            // It was counted when it was placed anew, and has the former row if that fails.
            Some(group) => {
                group.is_pinned = true;
                false
            }
            None => true,
        }
    }

    /// Whether the table has the position that is in memory.
    pub(super) fn is_settled(&self, name: &GroupName) -> bool {
        let group = self.all.get(name);
        group.is_some_and(|group| group.is_pinned && group.under_way == 0)
    }

    /// Whether the group has a position in the table, though perhaps an older one.
    pub(super) fn is_pinned(&self, name: &GroupName) -> bool {
        self.all.get(name).is_some_and(|group| group.is_pinned)
    }

    /// Notes a commit that a group's position goes with.
    pub(super) fn begin_commit(&mut self, name: &GroupName) {
        self.open(name).under_way += 1;
    }

    /// Notes its end. Says whether the group was new and is not there after all.
    pub(super) fn end_commit(&mut self, name: &GroupName, is_durable: bool) -> bool {
        let Some(group) = self.all.get_mut(name) else {
            return false;
        };
        group.under_way = group.under_way.saturating_sub(1);
        group.is_pinned |= is_durable;
        group.is_stale |= !is_durable;
        if group.under_way > 0 {
            return false;
        }
        if std::mem::take(&mut group.is_stale) {
            group.position = None;
        }
        let is_gone = !group.is_pinned;
        if is_gone {
            self.forget(name);
        }
        is_gone
    }

    /// Remembers what was delivered.
    pub(super) fn deliver(&mut self, name: &GroupName, batch: Vec<(Priority, u64)>) {
        let group = self.open(name);
        if group.batches.back().is_some_and(|last| **last == *batch) {
            return;
        }
        let mut added = batch_bytes(&batch);
        let mut removed = 0;
        group.batches.push_back(batch.into());
        if group.batches.len() > BATCH_COUNT {
            let oldest = group.batches.pop_front();
            removed = oldest.map_or(0, |oldest| batch_bytes(&oldest));
        }
        added += self.bytes;
        self.bytes = added.saturating_sub(removed);
    }

    /// What a group is done with when it acknowledges a message: that message and all that came
    /// before it in the same answer, the latest one that has it. `None` when no answer that is
    /// remembered does.
    pub(super) fn delivered_until(&self, name: &GroupName, id: u64) -> Option<Position> {
        let batches = &self.all.get(name)?.batches;
        let mut found = batches.iter().rev().filter_map(|batch| {
            let at = batch.iter().position(|(_, found)| *found == id)?;
            Some(&batch[..=at])
        });
        let mut position = [0; 3];
        for (priority, id) in found.next()? {
            let end = &mut position[*priority as usize];
            *end = (*end).max(id.saturating_add(1));
        }
        Some(position)
    }

    /// Forgets answers whose messages are all acknowledged, but for the latest: so that who
    /// acknowledges twice says the same twice.
    pub(super) fn prune(&mut self, name: &GroupName) {
        let Some(group) = self.all.get_mut(name) else {
            return;
        };
        let Some(position) = group.position else {
            return;
        };
        let is_done = |(priority, id): &(Priority, u64)| *id < position[*priority as usize];
        let mut freed = 0;
        let mut behind = group.batches.len();
        group.batches.retain(|batch| {
            behind -= 1;
            let is_kept = behind == 0 || !batch.iter().all(is_done);
            freed += if is_kept { 0 } else { batch_bytes(batch) };
            is_kept
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// Forgets groups until the rest takes no more than so many bytes.
    pub(super) fn shrink(&mut self, most: usize) {
        let mut next = 0;
        while self.bytes > most {
            let Some((&used, name)) = self.by_use.range(next..).next() else {
                return;
            };
            next = used + 1;
            let name = name.clone();
            if self.all.get(&name).is_some_and(|it| it.under_way == 0) {
                self.forget(&name);
            }
        }
    }

    /// Forgets all groups of a mailbox.
    pub(super) fn forget_mailbox(&mut self, mailbox: Number) {
        let of_mailbox = self.of_mailbox(mailbox);
        let names: Vec<GroupName> = of_mailbox.map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.forget(name));
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// When a group was used, by the key of its row, as far as memory knows.
    fn used_at(&self, mailbox: Number, key: &[u8]) -> WallTime {
        let name = name_in(key).map(|name| (mailbox, Arc::from(name)));
        let group = name.and_then(|name| self.all.get(&name));
        group.map_or(WallTime(0), |group| group.used_at)
    }

    fn of_mailbox(&self, mailbox: Number) -> impl Iterator<Item = (&GroupName, &Group)> {
        let first: GroupName = (mailbox, "".into());
        let behind = self.all.range(first..);
        behind.take_while(move |((found, _), _)| *found == mailbox)
    }

    fn open(&mut self, name: &GroupName) -> &mut Group {
        if !self.all.contains_key(name) {
            self.bytes += GROUP_BYTES + name.1.len();
            self.all.insert(name.clone(), Group::default());
        }
        self.touch(name);
        self.all.entry(name.clone()).or_default()
    }

    fn touch(&mut self, name: &GroupName) {
        let Some(group) = self.all.get_mut(name) else {
            return;
        };
        self.by_use.remove(&group.used);
        // Counted from 1, so that no group that was never used takes another one's place.
        self.next_use += 1;
        group.used = self.next_use;
        self.by_use.insert(group.used, name.clone());
    }

    fn forget(&mut self, name: &GroupName) {
        let Some(group) = self.all.remove(name) else {
            return;
        };
        self.by_use.remove(&group.used);
        let batches: usize = group.batches.iter().map(|batch| batch_bytes(batch)).sum();
        let freed = GROUP_BYTES + name.1.len() + batches;
        self.bytes = self.bytes.saturating_sub(freed);
    }
}

/// The name of a group in the key of its row.
fn name_in(key: &[u8]) -> Option<&str> {
    str::from_utf8(key.get(size_of::<u64>()..)?).ok()
}

const fn batch_bytes(batch: &[(Priority, u64)]) -> usize {
    size_of_val(batch) + size_of::<Box<[(Priority, u64)]>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Critical, Normal, Urgent};

    fn name(text: &str) -> GroupName {
        (Number(1), text.into())
    }

    #[test]
    fn an_acknowledgement_counts_for_what_came_before_in_the_latest_answer() {
        let mut groups = Groups::default();
        let group = name("g");
        groups.deliver(&group, vec![(Normal, 3), (Normal, 4), (Normal, 5)]);
        groups.deliver(&group, vec![(Critical, 9), (Urgent, 7), (Normal, 3)]);
        assert_eq!(groups.delivered_until(&group, 3), Some([10, 8, 4]));
        assert_eq!(groups.delivered_until(&group, 4), Some([0, 0, 5]));
        assert_eq!(groups.delivered_until(&group, 9), Some([10, 0, 0]));
        assert_eq!(groups.delivered_until(&group, 6), None);
        assert_eq!(groups.delivered_until(&name("other"), 3), None);
    }

    #[test]
    fn the_group_that_was_idle_longest_is_forgotten_and_none_with_a_commit_under_way() {
        let mut groups = Groups::default();
        for text in ["a", "b", "c"] {
            groups.deliver(&name(text), vec![(Normal, 1)]);
        }
        let of_one = groups.held_bytes() / 3;
        groups.begin_commit(&name("a"));
        groups.begin_commit(&name("a"));
        groups.deliver(&name("b"), vec![(Normal, 1)]);
        groups.shrink(2 * of_one);
        assert!(groups.delivered_until(&name("c"), 1).is_none());
        assert!(groups.delivered_until(&name("a"), 1).is_some());
        groups.shrink(0);
        assert!(groups.delivered_until(&name("a"), 1).is_some());
        assert!(groups.delivered_until(&name("b"), 1).is_none());
        assert!(!groups.end_commit(&name("a"), false));
        assert!(groups.end_commit(&name("a"), false));
        assert_eq!(groups.held_bytes(), 0);
    }

    #[test]
    fn no_more_answers_are_remembered_than_the_limit_and_none_that_is_acknowledged() {
        let mut groups = Groups::default();
        let group = name("g");
        for id in 0..20 {
            groups.deliver(&group, vec![(Normal, id)]);
            groups.deliver(&group, vec![(Normal, id)]);
        }
        assert_eq!(groups.delivered_until(&group, 11), None);
        assert_eq!(groups.delivered_until(&group, 12), Some([0, 0, 13]));
        groups.place(&group, [0, 0, 20], WallTime(1));
        groups.prune(&group);
        let latest = batch_bytes(&[(Normal, 19)]);
        assert_eq!(groups.held_bytes(), GROUP_BYTES + 1 + latest);
    }
}
