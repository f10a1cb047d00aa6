//! Groups that nobody uses any more: that have neither fetched nor acknowledged for some time.
//!
//! A position is never given up for that alone: what its group has acknowledged does not come back,
//! and what it has not does. But such a group holds no room. In a full mailbox what the groups in use
//! have acknowledged gives way, and what the idle ones miss by it ends unread and is told of; and at
//! the limit of groups the one that was idle longest gives its place to a new one. Where no group is
//! in use, a full mailbox refuses as before: its reader may be away.
//!
//! Time goes by while the gateway is off, so after a start nobody is idle until all had the time to
//! come back.

use std::time::Duration;

use sync::WallTime;

use super::Office;
use super::commit::{Draft, Work};
use super::groups::{GroupName, Position};
use super::shelf::{Shelf, Unreadable};
use super::stored::Number;

/// After a start nobody is idle for this long, or for the time that makes a group idle.
const RETURN: Duration = Duration::from_secs(3_600);
/// Part of the time that makes a group idle, by which the table may be late.
const LATE_PART: u64 = 8;

impl Office {
    /// What gives way in a full mailbox: of each priority the messages below an id. `None` when
    /// nothing does.
    pub(super) fn floor_for_room(
        &self,
        mailbox: Number,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<Position>, Unreadable> {
        let is_used = |used| !self.is_idle(used);
        match self.groups.floor_of(mailbox, is_used, shelf)? {
            None => self.groups.floor(mailbox, shelf),
            floor => Ok(floor),
        }
    }

    /// Notes that a group is used, durably once in a while.
    pub(super) fn note_use(&mut self, group: &GroupName, position: Position) {
        let now = self.now.wall;
        let stored = self.groups.note_use(group, now);
        let late = self.settings.group_idle_seconds / LATE_PART;
        let is_late = |stored: &WallTime| now.seconds_since(*stored) > late;
        if self.settings.group_idle_seconds == 0
            || !stored.is_some_and(|stored| is_late(&stored))
            || !self.groups.is_settled(group)
        {
            return;
        }
        let mut draft = Draft::default();
        draft.changes.push(self.groups.place(group, position, now));
        draft.touch(group.0);
        draft.group = Some(group.clone());
        self.commit(draft, Work::Nothing, false);
    }

    /// Forgets the group of a mailbox that was idle longest. Says whether there was one.
    pub(super) fn forget_idlest(
        &mut self,
        mailbox: Number,
        shelf: &mut dyn Shelf,
    ) -> Result<bool, Unreadable> {
        let is_idle = |used| self.is_idle(used);
        let Some(name) = self.groups.idlest(mailbox, is_idle, shelf)? else {
            return Ok(false);
        };
        if let Some(found) = self.mailboxes.mailbox_mut(mailbox) {
            found.tail.groups = found.tail.groups.saturating_sub(1);
        }
        let mut draft = Draft::default();
        draft.changes.push(self.groups.leave(&name));
        draft.touch(mailbox);
        draft.is_counted = true;
        self.commit(draft, Work::Forget(name), false);
        Ok(true)
    }

    /// A group is forgotten, or not.
    pub(super) fn forgotten(&mut self, name: &GroupName, is_done: bool) {
        if self.groups.left(name, is_done)
            && let Some(mailbox) = self.mailboxes.mailbox_mut(name.0)
        {
            mailbox.tail.groups += 1;
            self.wrong_tails.insert(name.0);
            self.schedule_sweep();
        }
    }

    /// Whether a group is idle that was used then; 0 is not known.
    fn is_idle(&self, used: WallTime) -> bool {
        let seconds = self.settings.group_idle_seconds;
        let used = match used {
            WallTime(0) => self.began.wall,
            used => used,
        };
        let waits = RETURN.min(Duration::from_secs(seconds));
        let had_time = self.now.instant - self.began.instant >= waits;
        seconds > 0 && had_time && self.age_clock.is_older(used, seconds)
    }
}
