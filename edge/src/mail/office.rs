//! The office itself: what it holds, whom it hands a request to, and what the clock brings.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use sync::{Generator, Instant, Now, PerLane, WallTime};
use wire::mq9::{Failure, Reply, Request};

use super::age::{AgeClock, Aging};
use super::agents::{AGENT_BYTES, Agents};
use super::commit::{Draft, PENDING_BYTES, UnderWay, Work};
use super::event::{CommitTicket, Input, Output, Ticket};
use super::groups::Groups;
use super::intake::Intake;
use super::leave::Leaving;
use super::ledger::Ledger;
use super::mailbox::Mailboxes;
use super::settings::Settings;
use super::shelf::Shelf;
use super::stored::Number;
use super::turn::Turn;
use super::waiting::{WAITING_BYTES, Waiting};

/// How often the clock looks for what is over; nobody sees it from the moment it is.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// All mailboxes of the gateway, and the agents. See the [module](super).
#[derive(Debug)]
pub struct Office {
    pub(super) settings: Settings,
    /// What the log takes, as it was told last.
    pub(super) intake: PerLane<Intake>,
    pub(super) now: Now,
    pub(super) generator: Generator,
    pub(super) outputs: VecDeque<Output>,
    pub(super) mailboxes: Mailboxes,
    pub(super) groups: Groups,
    pub(super) agents: Agents,
    pub(super) ledger: Ledger,
    /// Oldest first.
    pub(super) commits: VecDeque<UnderWay>,
    pub(super) next_commit: CommitTicket,
    /// Fetches that wait for a message.
    pub(super) waiting: Waiting,
    /// Requests that go on in their next turn, oldest first.
    pub(super) running: VecDeque<Turn>,
    pub(super) leaving: Leaving,
    /// Whether a commit takes rows of a mailbox that leaves.
    pub(super) is_emptying: bool,
    /// Whether looking for such rows goes on in the next turn.
    pub(super) has_more_to_empty: bool,
    /// Whether a commit removes messages that are over.
    pub(super) is_sweeping: bool,
    /// Whether a commit hands out delayed messages.
    pub(super) is_releasing: bool,
    /// When the next delayed message is due.
    pub(super) next_due: Option<WallTime>,
    /// Whether that is all that is known; looked up again by the clock if not.
    pub(super) is_due_known: bool,
    /// When the clock looks again for what is over.
    next_sweep: Option<Instant>,
    /// The last mailbox that the clock looked at.
    pub(super) checked_until: Number,
    /// Mailboxes whose stored counts are those of a commit that failed.
    pub(super) wrong_tails: BTreeSet<Number>,
    /// Of each priority the number of the next message that ends unread.
    pub(super) next_unread: [u64; 3],
    pub(super) age_clock: AgeClock,
    /// The mailbox whose old messages go.
    pub(super) aging: Option<Aging>,
    /// Whether a commit removes some of them.
    pub(super) is_aging: bool,
    /// The last mailbox that was looked at for them.
    pub(super) aged_until: Number,
    /// When it began.
    pub(super) began: Now,
    pub(super) counters: Counters,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were taken.
    pub requests: u64,
    /// Requests that were refused: a limit, or what they ask for is not there.
    pub failures: u64,
    /// Messages that were removed because they were over.
    pub messages_over: u64,
    /// Messages whose time, or that of their mailbox, ended before all groups acknowledged them.
    pub messages_unread: u64,
    /// Messages that gave way in a full mailbox: all groups in use had acknowledged them.
    pub messages_gave_way: u64,
    /// Mailboxes that ended.
    pub mailboxes_over: u64,
    /// Fetches that were answered at once because too many wait.
    pub waits_refused: u64,
    /// Agents of the cloud that there was no room for, each time it named them.
    pub cloud_agents_left_out: u64,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Mailboxes that can be found.
    pub mailboxes: usize,
    /// Messages, delayed ones included, and those that are not removed yet.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Agents, the cloud's included.
    pub agents: usize,
    /// Fetches that wait.
    pub waiting: usize,
}

impl Office {
    pub(super) fn empty_with(settings: Settings, now: Now) -> Self {
        Self {
            generator: Generator::from_seed(settings.seed),
            settings,
            intake: PerLane::from_fn(|_| Intake::Open),
            now,
            outputs: VecDeque::new(),
            mailboxes: Mailboxes::default(),
            groups: Groups::default(),
            agents: Agents::default(),
            ledger: Ledger::default(),
            commits: VecDeque::new(),
            next_commit: CommitTicket(0),
            waiting: Waiting::default(),
            running: VecDeque::new(),
            leaving: Leaving::new(),
            is_emptying: false,
            has_more_to_empty: false,
            is_sweeping: false,
            is_releasing: false,
            next_due: None,
            is_due_known: false,
            next_sweep: None,
            checked_until: Number(0),
            wrong_tails: BTreeSet::new(),
            // Should the row be lost, no number comes twice: fewer than a thousand a second go.
            next_unread: [now.wall.0; 3],
            age_clock: AgeClock::default(),
            aging: None,
            is_aging: false,
            aged_until: Number(0),
            began: now,
            counters: Counters::default(),
        }
    }

    /// Takes a fact. Drain [`Self::poll`] afterwards.
    pub fn handle(&mut self, now: Now, input: Input, shelf: &mut dyn Shelf) {
        self.tick(now);
        match input {
            Input::Request {
                ticket,
                request,
                changes,
            } => {
                self.counters.requests += 1;
                if let Err(failure) = self.request(ticket, *request, changes, shelf) {
                    self.counters.failures += 1;
                    self.answer(ticket, Reply::Failed(failure));
                }
            }
            Input::Bundle {
                ticket,
                sends,
                changes,
            } => {
                self.counters.requests += 1;
                if let Err(failure) = self.send_bundle(ticket, &sends, changes, shelf) {
                    self.counters.failures += 1;
                    self.answer(ticket, Reply::Failed(failure));
                }
            }
            Input::Lost {
                ticket,
                priority,
                bytes,
                changes,
            } => self.lose(ticket, (priority, bytes), changes),
            Input::Cancel { ticket } => self.cancel(ticket),
            Input::Intake(intake) => self.intake = intake,
            Input::CloudAgents { agents } => self.know_cloud_agents(agents),
            Input::Committed { ticket } => self.settle(ticket, Ok(()), shelf),
            Input::CommitFailed { ticket, why } => self.settle(ticket, Err(why), shelf),
        }
        self.serve_roused(shelf);
        self.groups.shrink(self.settings.group_memory_bytes_maximum);
    }

    /// Does what is due: never much at once. Drain [`Self::poll`] afterwards.
    pub fn handle_timeout(&mut self, now: Now, shelf: &mut dyn Shelf) {
        self.tick(now);
        self.end_waiting();
        // What can't be read now is looked for again by the clock.
        if self.next_due.is_some_and(|due| due <= now.wall) && self.release(shelf).is_err() {
            self.next_due = None;
            self.is_due_known = false;
            self.schedule_sweep();
        }
        if self.next_sweep.is_some_and(|at| at <= now.instant) {
            self.sweep(shelf);
        } else if self.has_more_to_empty {
            self.empty_next(shelf);
        }
        self.take_turn(shelf);
        self.serve_roused(shelf);
        self.groups.shrink(self.settings.group_memory_bytes_maximum);
    }

    /// Takes the next intention or answer.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called. Stale after any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.running.is_empty() || self.has_more_to_empty || self.waiting.is_roused() {
            return Some(self.now.instant);
        }
        let due = self.next_due.filter(|_| !self.is_releasing).map(|due| {
            let wait = Duration::from_millis(due.0.saturating_sub(self.now.wall.0));
            // The clock of the device may jump: look again before long.
            self.now.instant + wait.min(SWEEP_INTERVAL)
        });
        let deadline = self.waiting.next_deadline();
        [self.next_sweep, due, deadline].into_iter().flatten().min()
    }

    /// Whether so much is under way that whoever asks next should wait until a commit is answered:
    /// half of what is allowed. Nobody is refused before the whole of it is reached.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let under_way = self.commits.len() + self.running.len();
        under_way >= self.settings.pending_count_maximum.div_ceil(2)
    }

    /// What there is, for the status.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            mailboxes: self.mailboxes.open_count(),
            messages: self.mailboxes.count,
            message_bytes: self.mailboxes.bytes,
            agents: self.agents.len(),
            waiting: self.waiting.len(),
        }
    }

    /// What happened since the start, for the status.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What it holds in memory, at most [`Settings::memory_bytes`]. Messages on their way through
    /// are not counted.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let waiting = WAITING_BYTES + self.settings.group_name_bytes_maximum;
        self.mailboxes.held_bytes()
            + self.groups.held_bytes()
            + self.agents.len() * AGENT_BYTES
            + self.agents.held_bytes()
            + self.waiting.len() * waiting
            + (self.commits.len() + self.running.len())
                * (PENDING_BYTES + 2 * self.settings.key_bytes_maximum)
            + self.running.iter().map(Turn::found_bytes).sum::<usize>()
    }

    fn tick(&mut self, now: Now) {
        self.now = now;
        self.age_clock.tick(now);
    }

    /// Lets the clock look for what is over.
    pub(super) fn schedule_sweep(&mut self) {
        if self.next_sweep.is_none() {
            self.next_sweep = Some(self.now.instant + SWEEP_INTERVAL);
        }
    }

    fn request(
        &mut self,
        ticket: Ticket,
        request: Request,
        changes: Vec<sync::Change>,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        let most = self.settings.pending_count_maximum;
        if self.commits.len() + self.running.len() >= most {
            let why = format!("{most} requests are under way already");
            return Err(Failure::Refused(why));
        }
        self.check_intake(&request)?;
        match request {
            Request::Create(create) => self.create(ticket, create),
            Request::Send(send) => self.send(ticket, send, changes, shelf),
            Request::Fetch(fetch) => self.fetch(ticket, fetch, shelf),
            Request::Acknowledge(acknowledge) => self.acknowledge(ticket, acknowledge, shelf),
            Request::Query(query) => self.query(ticket, query, shelf),
            Request::Delete(delete) => self.delete(ticket, &delete, shelf),
            Request::Register(register) => self.register(ticket, register),
            Request::Unregister(identity) => {
                self.unregister(ticket, &identity);
                Ok(())
            }
            Request::Report(report) => self.report(ticket, report),
            Request::Discover(discover) => {
                self.discover(ticket, &discover);
                Ok(())
            }
        }
    }

    fn sweep(&mut self, shelf: &mut dyn Shelf) {
        self.next_sweep = None;
        self.sweep_mailboxes(shelf);
        self.correct_tails();
        let outcome = self.sweep_messages(shelf);
        let outcome = outcome.and_then(|()| self.sweep_aged(shelf));
        let outcome = outcome.and_then(|()| match self.is_due_known || self.is_releasing {
            true => Ok(()),
            false => self.find_next_due(shelf),
        });
        let is_idle = self.mailboxes.len() == 0 && self.wrong_tails.is_empty();
        if outcome.is_err() || !is_idle {
            self.schedule_sweep();
        }
    }

    /// Stores counts again that a failed commit left wrong.
    fn correct_tails(&mut self) {
        let mut draft = Draft::default();
        while draft.mailbox_count() < self.settings.step_rows_maximum.max(1)
            && let Some(number) = self.wrong_tails.pop_first()
        {
            if self.mailboxes.mailbox(number).is_some() {
                draft.touch(number);
            }
        }
        if draft.mailbox_count() > 0 {
            draft.is_counted = true;
            self.commit(draft, Work::Nothing, false);
        }
    }
}
