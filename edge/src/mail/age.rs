//! The longest time that messages are kept which have no time to live of their own. A message goes
//! some time after that, never before; nobody is refused it in between.
//!
//! A clock that is set forward ages nothing: devices without one begin in the past.

use std::time::Duration;

use sync::{Now, Table, WallTime};

use super::Office;
use super::commit::{Draft, Work};
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Letter, NEVER, Number, PRIORITIES, Place, mail_key};
use super::unread::Floors;

/// A clock that goes so much faster than time was set.
const JUMP: Duration = Duration::from_secs(60);
/// Mailboxes that one step reads in vain.
const READ_AT_ONCE: usize = 64;
/// Mailboxes that one step passes by.
const PASSED_AT_ONCE: usize = 4_096;

/// Says how old messages are.
#[derive(Debug, Default)]
pub(super) struct AgeClock {
    last: Option<Now>,
    /// The latest time that it was, before or after it was set.
    latest: WallTime,
    /// The latest time before the last jump; what is not younger was kept by the old clock.
    before: WallTime,
    /// By how many milliseconds the clock has jumped in all.
    jumped: u64,
}

impl AgeClock {
    /// Takes the time. Backwards needs no care: nothing ages by it.
    pub(super) fn tick(&mut self, now: Now) {
        if let Some(last) = self.last {
            let step = now.wall.0.saturating_sub(last.wall.0);
            let passed = now.instant - last.instant;
            let ahead = Duration::from_millis(step).saturating_sub(passed);
            if ahead > JUMP {
                self.before = self.latest;
                let ahead = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
                self.jumped = self.jumped.saturating_add(ahead);
            }
        }
        self.last = Some(now);
        self.latest = self.latest.max(now.wall);
    }

    /// Whether a time is so long ago, by a clock that nobody sets.
    pub(super) fn is_older(&self, time: WallTime, seconds: u64) -> bool {
        let jumped = match time <= self.before {
            true => self.jumped,
            false => 0,
        };
        let wall = self.last.map_or(WallTime(0), |last| last.wall);
        let age = wall.0.saturating_sub(time.0).saturating_sub(jumped);
        age >= seconds.saturating_mul(1_000)
    }
}

/// A mailbox whose old messages go.
#[derive(Debug)]
pub(super) struct Aging {
    mailbox: Number,
    /// Which of the priorities.
    priority: usize,
    /// Of which id on.
    next: u64,
    /// When the oldest message was kept that stays.
    oldest: WallTime,
}

impl Office {
    /// Removes some messages that were kept for long enough; the rest follows when they are gone.
    pub(super) fn sweep_aged(&mut self, shelf: &mut dyn Shelf) -> Result<(), Unreadable> {
        if self.is_aging || self.settings.message_ttl_seconds == 0 {
            return Ok(());
        }
        let mut draft = Draft::default();
        for _ in 0..READ_AT_ONCE {
            let Some(mut aging) = self.aging.take().or_else(|| self.next_to_age()) else {
                break;
            };
            let mailbox = aging.mailbox;
            let is_through = self.age_some(&mut aging, &mut draft, shelf)?;
            if is_through && let Some(found) = self.mailboxes.mailbox_mut(mailbox) {
                found.oldest = aging.oldest;
            }
            self.aging = (!is_through).then_some(aging);
            if !draft.is_empty() {
                self.is_aging = true;
                self.commit(draft, Work::Age(mailbox), false);
                break;
            }
            if !is_through {
                break;
            }
        }
        Ok(())
    }

    /// Removes old messages of a mailbox. Says whether it is through with it.
    fn age_some(
        &mut self,
        aging: &mut Aging,
        draft: &mut Draft,
        shelf: &mut dyn Shelf,
    ) -> Result<bool, Unreadable> {
        let seconds = self.settings.message_ttl_seconds;
        let mut floors = Floors::default();
        let mut rows = self.settings.step_rows_maximum.max(1);
        while let Some(&priority) = PRIORITIES.get(aging.priority) {
            let from = mail_key(aging.mailbox, priority, aging.next);
            let end = mail_key(aging.mailbox, priority, u64::MAX);
            let bytes = self.settings.step_bytes_maximum;
            let found = shelf.walk(Table::Mail, &from, &end, Page { rows, bytes })?;
            let mut is_done = found.next.is_none();
            for (key, value) in &found.rows {
                let Some(place @ Place::Mail { id, .. }) = Place::from_mail_key(key) else {
                    continue;
                };
                aging.next = id.saturating_add(1);
                rows = rows.saturating_sub(1);
                let letter = Letter::decode(value);
                let Some(letter) = letter.filter(|letter| letter.over == NEVER) else {
                    continue;
                };
                if !self.age_clock.is_older(letter.time, seconds) {
                    aging.oldest = aging.oldest.min(letter.time);
                    is_done = true;
                    break;
                }
                self.tell_unread(draft, &mut floors, (place, value), shelf)?;
                self.take_out(draft, place, value, shelf)?;
                self.counters.messages_over += 1;
            }
            if !is_done {
                return Ok(false);
            }
            aging.priority += 1;
            aging.next = 0;
            rows = rows.max(1);
        }
        Ok(true)
    }

    /// Finds the next mailbox that may have an old message; none at the end of a round.
    fn next_to_age(&mut self) -> Option<Aging> {
        let seconds = self.settings.message_ttl_seconds;
        let mut found = None;
        let mut last = None;
        let behind = self.mailboxes.after(self.aged_until);
        for (number, mailbox) in behind.take(PASSED_AT_ONCE) {
            last = Some(number);
            let is_known = mailbox.oldest.0 > 0;
            let is_due = !is_known || self.age_clock.is_older(mailbox.oldest, seconds);
            if is_due && mailbox.tail.count > 0 && !self.leaving.contains_key(&number) {
                found = last;
                break;
            }
        }
        self.aged_until = last.unwrap_or(Number(0));
        found.map(|mailbox| Aging {
            mailbox,
            priority: 0,
            next: 0,
            oldest: self.now.wall,
        })
    }

    /// Some old messages of a mailbox are gone, or not.
    pub(super) fn aged(&mut self, number: Number, is_done: bool, shelf: &mut dyn Shelf) {
        self.is_aging = false;
        if is_done {
            // What can't be read now is looked for again by the clock.
            self.sweep_aged(shelf).unwrap_or_default();
            return;
        }
        self.aging = None;
        if let Some(mailbox) = self.mailboxes.mailbox_mut(number) {
            mailbox.oldest = WallTime(0);
        }
        self.schedule_sweep();
    }
}
