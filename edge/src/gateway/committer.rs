//! Group commit: whatever waits while one group is being written becomes the next group.
//!
//! Promises that commits reach the log in the order in which they were added, whole, and that at
//! most one group is on its way. Never acknowledges anything: it only remembers whom to tell.

use std::collections::VecDeque;
use std::time::Duration;

use sync::{Change, Instant, Lane};

use crate::broker::{COMMIT_BYTES, Ticket, Urgency};
use crate::log::Batch;
use crate::mail::CommitTicket;

/// Who is told when a commit is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The broker, by its ticket.
    Broker(Ticket),
    /// The uplink's checkpoint.
    Uplink,
    /// The mail office, by its ticket.
    Mail(CommitTicket),
}

/// Commits that travel together: one write, one sync.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// All their changes in order.
    pub(crate) batch: Batch,
    /// Whose they are, and how many changes each has.
    pub(crate) owners: Vec<(Owner, usize)>,
}

/// Bounds of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long a group waits for company although the disk is free.
    pub(crate) linger: Duration,
    /// How long commits that nobody waits for may wait.
    pub(crate) relaxed: Duration,
    /// A group closes before it takes more in the journal, but for a single commit.
    pub(crate) group_bytes: usize,
    /// Links are not read while what waits takes more memory.
    pub(crate) waiting_bytes: usize,
}

/// Collects commits and closes groups.
#[derive(Debug)]
pub(crate) struct Committer {
    settings: Settings,
    /// Of what is not critical.
    linger: Duration,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    due: Option<Instant>,
    is_busy: bool,
}

#[derive(Debug)]
struct Waiting {
    owner: Owner,
    changes: Box<[Change]>,
    /// In the journal.
    bytes: usize,
    /// In memory, with whoever waits for it.
    held_bytes: usize,
}

impl Committer {
    pub(crate) const fn new(settings: Settings) -> Self {
        Self {
            linger: settings.linger,
            settings,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            due: None,
            is_busy: false,
        }
    }

    /// Adds a commit; it is written with the next group that has room for it.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        owner: Owner,
        changes: Vec<Change>,
        urgency: Urgency,
    ) {
        let wait = match urgency {
            // Alarms do not wait to save flash.
            Urgency::Immediate if changes.iter().any(is_critical) => self.settings.linger,
            Urgency::Immediate => self.linger,
            Urgency::Relaxed => self.settings.relaxed.max(self.linger),
        };
        let due = now + wait;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        let held_bytes = changes.iter().map(Change::held_bytes).sum::<usize>() + WAITING_BYTES;
        self.waiting_bytes += held_bytes;
        self.waiting.push_back(Waiting {
            owner,
            bytes: changes.iter().map(journal_bytes).sum(),
            held_bytes,
            // A list that grew has room for four.
            changes: changes.into(),
        });
    }

    /// Changes how long groups without critical records wait for company.
    pub(crate) const fn set_linger(&mut self, linger: Duration) {
        self.linger = linger;
    }

    /// Closes a group if one is due and the disk is free; then it is busy until
    /// [`Committer::answered`].
    pub(crate) fn take(&mut self, now: Instant) -> Option<Group> {
        let is_due = self.due.is_some_and(|due| due <= now || self.is_full());
        if self.is_busy || !is_due {
            return None;
        }
        let (commits, changes) = self.next_group();
        let mut group = Group::default();
        // What waits was counted, and nothing beside it.
        group.owners.reserve_exact(commits);
        group.batch.changes.reserve_exact(changes);
        for next in self.waiting.drain(..commits) {
            self.waiting_bytes -= next.held_bytes;
            group.owners.push((next.owner, next.changes.len()));
            group.batch.changes.extend(next.changes);
        }
        if self.waiting.is_empty() {
            self.waiting.shrink_to(KEPT_PLACES);
        }
        self.due = (!self.waiting.is_empty()).then_some(now);
        self.is_busy = true;
        Some(group)
    }

    /// How many commits the next group has, and how many changes they have.
    fn next_group(&self) -> (usize, usize) {
        let (mut bytes, mut commits, mut changes) = (0, 0, 0);
        for next in &self.waiting {
            if bytes > 0 && bytes + next.bytes > self.settings.group_bytes {
                break;
            }
            bytes += next.bytes;
            commits += 1;
            changes += next.changes.len();
        }
        (commits, changes)
    }

    /// Notes that the group on its way was answered, well or not.
    pub(crate) const fn answered(&mut self) {
        self.is_busy = false;
    }

    /// When [`Committer::take`] will give a group; `None` while it waits for an answer or has
    /// nothing. Stale after any other call.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_busy)
    }

    /// Whether so much waits that links must not be read.
    pub(crate) const fn is_full(&self) -> bool {
        self.waiting_bytes >= self.settings.waiting_bytes
    }

    /// Whether nothing waits and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_busy
    }

    /// What waits is written now, whatever it was promised.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.due = self.due.map(|_| now);
    }
}

const fn is_critical(change: &Change) -> bool {
    matches!(
        change,
        Change::Append {
            lane: Lane::Critical,
            ..
        }
    )
}

/// About what a change takes in the journal.
fn journal_bytes(change: &Change) -> usize {
    const OVERHEAD: usize = 64;
    OVERHEAD
        + match change {
            Change::Append { record, .. } => record.as_bytes().len(),
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Delete { key, .. } => key.len(),
        }
}

/// What a commit takes beside its changes: in a queue that doubles, and with whoever waits for it.
const WAITING_BYTES: usize = 2 * size_of::<Waiting>() + COMMIT_BYTES;
/// Places that are kept while nothing waits.
const KEPT_PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use sync::{Record, RecordParts, Table, WallTime};

    use super::*;

    const SETTINGS: Settings = Settings {
        linger: Duration::from_millis(2),
        relaxed: Duration::from_millis(200),
        group_bytes: 1000,
        waiting_bytes: 2000,
    };

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn put(bytes: usize) -> Vec<Change> {
        vec![Change::Put {
            table: Table::Sessions,
            key: vec![0; 10],
            value: vec![0; bytes],
        }]
    }

    fn tickets(group: &Group) -> Vec<u64> {
        let ticket = |(owner, _): &(Owner, usize)| match owner {
            Owner::Broker(ticket) => ticket.0,
            Owner::Uplink | Owner::Mail(_) => 0,
        };
        group.owners.iter().map(ticket).collect()
    }

    #[test]
    fn a_group_lingers_for_company() {
        let mut committer = Committer::new(SETTINGS);
        committer.add(at(0), Owner::Broker(Ticket(1)), put(1), Urgency::Immediate);
        assert!(committer.take(at(1)).is_none());
        committer.add(at(1), Owner::Broker(Ticket(2)), put(1), Urgency::Immediate);
        assert_eq!(committer.poll_timeout(), Some(at(2)));
        assert_eq!(tickets(&committer.take(at(2)).expect("due")), [1, 2]);
    }

    #[test]
    fn critical_records_do_not_wait_to_save_flash() {
        let append = |lane| {
            let record = Record::new(&RecordParts {
                qos: 1,
                retain: false,
                from_cloud: false,
                time: WallTime(0),
                expiry_seconds: None,
                publisher: 0,
                topic: "a",
                properties: &[],
                payload: &[],
            });
            vec![Change::Append { lane, record }]
        };
        let mut committer = Committer::new(SETTINGS);
        committer.set_linger(Duration::from_millis(500));
        let (normal, critical) = (append(Lane::Normal), append(Lane::Critical));
        committer.add(at(0), Owner::Broker(Ticket(1)), normal, Urgency::Immediate);
        assert_eq!(committer.poll_timeout(), Some(at(500)));
        committer.add(at(0), Owner::Uplink, put(1), Urgency::Relaxed);
        assert_eq!(committer.poll_timeout(), Some(at(500)));
        committer.add(
            at(10),
            Owner::Broker(Ticket(2)),
            critical,
            Urgency::Immediate,
        );
        assert_eq!(committer.poll_timeout(), Some(at(12)));
        assert_eq!(tickets(&committer.take(at(12)).expect("due")), [1, 0, 2]);
    }

    #[test]
    fn what_waits_for_the_disk_is_the_next_group() {
        let mut committer = Committer::new(Settings {
            linger: Duration::ZERO,
            ..SETTINGS
        });
        committer.add(at(0), Owner::Broker(Ticket(1)), put(1), Urgency::Immediate);
        assert_eq!(tickets(&committer.take(at(0)).expect("due")), [1]);
        committer.add(at(0), Owner::Broker(Ticket(2)), put(1), Urgency::Immediate);
        committer.add(at(0), Owner::Uplink, put(1), Urgency::Relaxed);
        assert!(committer.take(at(5)).is_none(), "the disk is busy");
        assert_eq!(committer.poll_timeout(), None);
        committer.answered();
        assert_eq!(tickets(&committer.take(at(5)).expect("due")), [2, 0]);
    }

    #[test]
    fn a_relaxed_commit_waits_and_rides_along() {
        let mut committer = Committer::new(SETTINGS);
        committer.add(at(0), Owner::Broker(Ticket(1)), put(1), Urgency::Relaxed);
        assert_eq!(committer.poll_timeout(), Some(at(200)));
        committer.add(at(10), Owner::Broker(Ticket(2)), put(1), Urgency::Immediate);
        assert_eq!(tickets(&committer.take(at(12)).expect("due")), [1, 2]);
    }

    #[test]
    fn groups_are_bounded_and_a_full_committer_says_so() {
        let mut committer = Committer::new(SETTINGS);
        for ticket in 1..=3 {
            committer.add(
                at(0),
                Owner::Broker(Ticket(ticket)),
                put(600),
                Urgency::Relaxed,
            );
        }
        assert!(committer.is_full());
        for ticket in 1..=3 {
            let group = committer.take(at(0)).expect("full is due");
            assert_eq!(tickets(&group), [ticket]);
            committer.answered();
        }
        assert!(committer.is_idle());
    }

    /// A list of changes that grew has room for four, and so has the queue for twice as many.
    #[test]
    fn all_that_waits_is_counted_and_its_room_given_back() {
        let mut committer = Committer::new(Settings {
            group_bytes: 1 << 20,
            ..SETTINGS
        });
        let mut changes = 0;
        for ticket in 0..1000 {
            let mut grown = Vec::new();
            grown.extend(put(1));
            changes += grown[0].held_bytes();
            committer.add(
                at(0),
                Owner::Broker(Ticket(ticket)),
                grown,
                Urgency::Immediate,
            );
        }
        let lists = committer.waiting.iter().map(|it| &it.changes);
        let lists: usize = lists.map(|it| size_of_val(&**it)).sum();
        assert_eq!(lists, 1000 * size_of::<Change>());
        let places = committer.waiting.capacity() * size_of::<Waiting>();
        let held = changes + places + 1000 * COMMIT_BYTES;
        assert!(committer.waiting_bytes >= held, "{held}");
        let group = committer.take(at(2)).expect("due");
        assert_eq!(group.batch.changes.capacity(), 1000);
        assert_eq!(group.owners.capacity(), 1000);
        assert_eq!(committer.waiting_bytes, 0);
        assert!(committer.waiting.capacity() <= KEPT_PLACES);
    }
}
