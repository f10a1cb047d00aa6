//! Commits: what they are made of, what waits for them, and what follows when they end.

use sync::{Change, Table, WallTime};
use wire::mq9::{Failure, Priority, Reply};

use super::Office;
use super::agents::AgentNews;
use super::event::{CommitTicket, Output, Ticket};
use super::fetch::Fetching;
use super::groups::GroupName;
use super::ledger::Holder;
use super::shelf::Shelf;
use super::stored::{
    Letter, MAIL_KEY_BYTES, NEVER, Number, Place, StoredKey, encode, expiry_key, named_key,
};
use super::unread::Tally;

/// Of a commit under way, in a queue that is half empty at worst, with what it names and its rows of
/// the ledger, keys aside.
pub(super) const PENDING_BYTES: usize = 2 * size_of::<UnderWay>() + 400;

/// Changes that are to be durable together, and what they mean for the counts.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) changes: Vec<Change>,
    /// Messages that come, and their bytes.
    added: Vec<(Place, u64)>,
    /// Messages that go, and their bytes.
    doomed: Vec<(Place, u64)>,
    /// Keys that are given: who may have it until now, and who has it from now on.
    keyed: Vec<(String, Vec<Holder>, Holder)>,
    mailboxes: Vec<Number>,
    pub(super) group: Option<GroupName>,
    /// What ends unread with it, by priority.
    unread: [Tally; 3],
    /// Whether counts change that are no messages.
    pub(super) is_counted: bool,
}

/// A commit that is not answered.
#[derive(Debug)]
pub(super) struct UnderWay {
    ticket: CommitTicket,
    added: Vec<(Place, u64)>,
    doomed: Vec<(Place, u64)>,
    keyed: Vec<(String, Place)>,
    mailboxes: Vec<Number>,
    group: Option<GroupName>,
    work: Work,
}

/// What follows a commit.
#[derive(Debug)]
pub(super) enum Work {
    Nothing,
    /// A request is answered.
    Answer(Ticket, Reply),
    /// A message is deleted, unless another commit did that before.
    Delete(Ticket),
    /// A fetch goes on, now that the group has its position.
    Fetch(Box<Fetching>),
    /// Agents are known or not any more, and a request may be answered.
    Agents(Option<Ticket>, Vec<AgentNews>),
    /// Delayed messages were handed out.
    Release,
    /// Messages that are over were removed.
    Sweep,
    /// Messages of a mailbox were removed that were kept for long enough.
    Age(Number),
    /// A group that was idle is forgotten.
    Forget(GroupName),
    /// A mailbox that is over can't be found any more.
    Retire(Number),
    /// Some rows of a mailbox that leaves are gone.
    Leave(Number),
}

impl Work {
    pub(super) const fn answer(ticket: Ticket, reply: Reply) -> Self {
        Self::Answer(ticket, reply)
    }
}

impl Draft {
    /// Begins with changes that somebody else wants durable along with the rest.
    pub(super) fn with(changes: Vec<Change>) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// Notes that the commit is about a mailbox.
    pub(super) fn touch(&mut self, mailbox: Number) {
        if !self.mailboxes.contains(&mailbox) {
            push_first(&mut self.mailboxes, mailbox);
        }
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change::Put { table, key, value });
    }

    pub(super) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.changes.push(Change::Delete { table, key });
    }

    /// Adds a message for everybody to see, with its other rows, and removes those that may have its
    /// key until now.
    pub(super) fn add(
        &mut self,
        (mailbox, priority, id): (Number, Priority, u64),
        letter: &Letter<'_>,
        former: Vec<Holder>,
    ) {
        let place = Place::Mail {
            mailbox,
            priority,
            id,
        };
        let mut value = Vec::new();
        letter.encode(&mut value);
        let key = place.key();
        if letter.over != NEVER {
            self.put(Table::MailExpiry, expiry_key(letter.over, &key), Vec::new());
        }
        if !letter.key.is_empty() {
            let row = encode(&StoredKey::new(priority, id));
            self.put(Table::MailKeys, named_key(mailbox, letter.key), row);
            for former in &former {
                self.remove(former.place, former.bytes, former.over);
            }
            let holder = Holder {
                place,
                bytes: weight(&value),
                over: letter.over,
            };
            self.keyed.push((letter.key.to_owned(), former, holder));
        }
        self.add_row(place, key, value);
    }

    /// Adds the row of a message.
    pub(super) fn add_row(&mut self, place: Place, key: Vec<u8>, value: Vec<u8>) {
        self.touch(place.mailbox());
        push_first(&mut self.added, (place, weight(&value)));
        self.put(place.table(), key, value);
    }

    /// Removes a message, its key aside.
    pub(super) fn remove(&mut self, place: Place, bytes: u64, over: WallTime) {
        self.touch(place.mailbox());
        self.doomed.push((place, bytes));
        let key = place.key();
        if over != NEVER && matches!(place, Place::Mail { .. }) {
            self.delete(Table::MailExpiry, expiry_key(over, &key));
        }
        self.delete(place.table(), key);
    }

    /// Takes in another draft, which appends nothing and gives no keys.
    pub(super) fn absorb(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.doomed.extend(other.doomed);
        for (own, other) in self.unread.iter_mut().zip(&other.unread) {
            own.join(other);
        }
        for mailbox in other.mailboxes {
            self.touch(mailbox);
        }
    }

    /// Notes that a message ends unread.
    pub(super) fn note_unread(&mut self, priority: Priority, bytes: u64, time: WallTime) {
        self.unread[priority as usize].add(bytes, time);
    }

    /// Who gets a key with this commit, so far.
    pub(super) fn holder(&self, mailbox: Number, key: &str) -> Option<Holder> {
        let given = self.keyed.iter().rev();
        let mut given = given.filter(|(given, ..)| !key.is_empty() && given == key);
        let holder = given.find(|(.., holder)| holder.place.mailbox() == mailbox);
        holder.map(|(.., holder)| *holder)
    }

    /// How many mailboxes it is about.
    pub(super) const fn mailbox_count(&self) -> usize {
        self.mailboxes.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Adds to what most often has one item only, and is held until the commit is answered.
fn push_first<T>(items: &mut Vec<T>, item: T) {
    if items.is_empty() {
        items.reserve_exact(1);
    }
    items.push(item);
}

/// What a message counts for, by the bytes of its value: with its key.
pub(super) const fn weight(value: &[u8]) -> u64 {
    (value.len() + MAIL_KEY_BYTES) as u64
}

impl Office {
    /// Hands out a commit and counts as if it were done.
    pub(super) fn commit(&mut self, draft: Draft, work: Work, is_urgent: bool) {
        let ticket = self.next_commit;
        self.next_commit = CommitTicket(ticket.0.wrapping_add(1));
        for (place, bytes) in &draft.added {
            self.mailboxes.count_in(*place, *bytes);
        }
        for (place, bytes) in &draft.doomed {
            if self.ledger.doom(*place, *bytes, ticket) {
                self.mailboxes.count_out(*place, *bytes);
            }
        }
        let keyed = draft.keyed.into_iter().map(|(key, former, holder)| {
            let name = (holder.place.mailbox(), key.as_str());
            self.ledger.give_key(name, &former, holder, ticket);
            (key, holder.place)
        });
        let keyed = keyed.collect();
        let mut changes = draft.changes;
        let unread = self.number_unread(&draft.unread, &mut changes);
        let is_counted = draft.is_counted || !draft.added.is_empty() || !draft.doomed.is_empty();
        for number in &draft.mailboxes {
            if let Some(mailbox) = self.mailboxes.mailbox_mut(*number) {
                mailbox.under_way += 1;
                mailbox.changes(*number, is_counted, &mut changes);
            }
        }
        if let Some(group) = &draft.group {
            self.groups.begin_commit(group);
        }
        self.commits.push_back(UnderWay {
            ticket,
            added: draft.added,
            doomed: draft.doomed,
            keyed,
            mailboxes: draft.mailboxes,
            group: draft.group,
            work,
        });
        self.outputs.push_back(Output::Commit {
            ticket,
            changes,
            unread,
            is_urgent,
        });
    }

    /// Takes the end of the oldest commit.
    pub(super) fn settle(
        &mut self,
        ticket: CommitTicket,
        outcome: Result<(), String>,
        shelf: &mut dyn Shelf,
    ) {
        let Some(commit) = self.commits.pop_front_if(|oldest| oldest.ticket == ticket) else {
            return;
        };
        let mut rows = commit.doomed.iter();
        let was_there = rows.all(|(place, _)| self.ledger.is_doomed(*place));
        match outcome.is_ok() {
            true => self.count_done(&commit),
            false => self.count_failed(&commit),
        }
        for (key, place) in &commit.keyed {
            let mailbox = place.mailbox();
            self.ledger
                .settle_key(mailbox, key, ticket, outcome.is_ok());
        }
        if let Some(group) = &commit.group
            && self.groups.end_commit(group, outcome.is_ok())
            && let Some(mailbox) = self.mailboxes.mailbox_mut(group.0)
        {
            mailbox.tail.groups = mailbox.tail.groups.saturating_sub(1);
            self.wrong_tails.insert(group.0);
        }
        let arrived = match outcome.is_ok() {
            true => commit.added,
            false => Vec::new(),
        };
        let work = match commit.work {
            Work::Delete(ticket) => Work::answer(ticket, Reply::Deleted { was_there }),
            work => work,
        };
        self.follow(work, outcome, shelf);
        for (place, _) in arrived {
            self.wake(place);
        }
    }

    fn count_done(&mut self, commit: &UnderWay) {
        for (place, _) in &commit.doomed {
            self.ledger.gone(*place);
        }
        for number in &commit.mailboxes {
            if let Some(mailbox) = self.mailboxes.mailbox_mut(*number) {
                mailbox.under_way -= 1;
                mailbox.is_made();
            }
        }
        for (place, _) in &commit.added {
            match *place {
                Place::Delayed { due, .. } => self.note_due(due),
                Place::Mail { mailbox, id, .. } => {
                    if let Some(mailbox) = self.mailboxes.mailbox_mut(mailbox) {
                        mailbox.seen_end = mailbox.seen_end.max(id + 1);
                    }
                }
            }
        }
    }

    fn count_failed(&mut self, commit: &UnderWay) {
        for (place, bytes) in &commit.added {
            if !self.ledger.never_born(*place) {
                self.mailboxes.count_out(*place, *bytes);
            }
        }
        for (place, _) in &commit.doomed {
            if let Some(bytes) = self.ledger.spare(*place, commit.ticket) {
                self.mailboxes.count_in(*place, bytes);
            }
        }
        for number in &commit.mailboxes {
            let Some(mailbox) = self.mailboxes.mailbox_mut(*number) else {
                continue;
            };
            mailbox.under_way -= 1;
            if mailbox.is_unmade() && mailbox.under_way == 0 {
                self.forget_mailbox(*number);
            } else {
                self.wrong_tails.insert(*number);
                self.schedule_sweep();
            }
        }
    }

    fn follow(&mut self, work: Work, outcome: Result<(), String>, shelf: &mut dyn Shelf) {
        let is_done = outcome.is_ok();
        let failed = |why: String| Reply::Failed(Failure::Refused(why));
        match work {
            Work::Nothing | Work::Delete(_) => {}
            Work::Answer(ticket, reply) => {
                let reply = outcome.map_or_else(failed, |()| reply);
                self.answer(ticket, reply);
            }
            Work::Fetch(fetching) => match outcome {
                Ok(()) => self.go_on_fetching(fetching, shelf),
                Err(why) => self.answer(fetching.ticket, failed(why)),
            },
            Work::Agents(ticket, news) => {
                self.agents.take_news(news, is_done);
                if let Some(ticket) = ticket {
                    let reply = outcome.map_or_else(failed, |()| Reply::Done);
                    self.answer(ticket, reply);
                }
            }
            Work::Release => self.released(is_done, shelf),
            Work::Sweep => self.swept(is_done, shelf),
            Work::Age(number) => self.aged(number, is_done, shelf),
            Work::Forget(name) => self.forgotten(&name, is_done),
            Work::Retire(number) => self.retired(number, is_done),
            Work::Leave(number) => self.left(number, is_done, shelf),
        }
    }

    /// Nobody waits for an answer any more.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.waiting.take(ticket);
        self.running.retain(|search| search.ticket() != ticket);
        for commit in &mut self.commits {
            if matches!(&commit.work, Work::Fetch(fetching) if fetching.ticket == ticket) {
                commit.work = Work::Nothing;
            }
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, reply: Reply) {
        self.outputs.push_back(Output::Answer { ticket, reply });
    }
}
