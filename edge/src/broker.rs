//! The broker: who is connected, who subscribed to what, who gets which record, and what must be
//! durable before anybody is answered.
//!
//! It promises that a publish with QoS over 0 is answered only when every reader that outlives its
//! connection can find it in the log, and that a session gets the records of one topic in the
//! order of their publication. Sessions are cursors over the log, never queues: an offline session
//! costs nothing a message; a group that shares a subscription is one more such cursor, and hands
//! each record to one of its members. It never touches a socket, a file or a clock: time comes with each
//! call, commits and reads are outputs that inputs answer, and it knows no protocol.
//!
//! A driver feeds [`Broker::handle`], and drains [`Broker::poll`]: it gives each event to its
//! connection, and what the connection says thereupon back to the broker, *before* the next
//! `poll`. Reading for sessions that are behind happens inside `poll`, a bounded step at a time,
//! so that a congested connection is heard in time.

mod access;
mod commit;
mod connect;
mod deliver;
mod event;
mod filters;
mod gate;
mod group;
mod inflight;
mod intake;
mod leftovers;
mod login;
mod note;
mod notes;
mod outcome;
mod publish;
mod registry;
mod restore;
mod retained;
mod room;
mod session;
mod settings;
mod share;
mod stored;
mod subscribe;
mod subscriptions;
mod sweep;
mod walk;

pub(crate) use self::commit::COMMIT_BYTES;
pub use access::{AccessList, Policy, Strangers};
pub use event::{
    AccessInput, AuthenticationStep, Connect, Connected, ConnectionId, Credentials, Delivery,
    DeliveryId, Echo, Entrance, Event, GroupId, Input, ListenerId, LogInput, MailInput, Note,
    NoteChange, Output, Password, ReaderId, RetainAs, RetainHandling, Room, SessionFound,
    SessionId, SessionStart, SubscribeFilter, SubscriptionIdentifiers, Ticket, Token, Turns,
    Urgency, Verdict, Will, WillFate,
};
pub use intake::{Intake, Overflow};
pub use outcome::{CloseReason, Outcome, Refusal, Unsubscription};
pub use settings::{Counters, Settings, Stored};

pub use crate::password::METHOD as SCRAM;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sync::{Epoch, Instant, Lane, Now, Offset, PerLane};

use self::access::Access;
use self::commit::Tickets;
use self::connect::Timer;
use self::gate::Gate;
use self::group::Groups;
use self::leftovers::Leftovers;
use self::login::Logins;
use self::registry::Registry;
use self::retained::Retained;
use self::room::Room as RoomForAll;
use self::subscriptions::{Entry, Subscriptions};

/// Sessions, groups, subscriptions, retained messages and wills of one gateway.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    now: Now,
    epoch: Epoch,
    /// The first offset that is left.
    first: PerLane<Offset>,
    /// The offset that comes next, as far as commits are answered.
    head: PerLane<Offset>,
    intake: PerLane<Intake>,
    access: Access,
    gate: Gate,
    logins: Logins,
    registry: Registry,
    room: RoomForAll,
    groups: Groups,
    subscriptions: Subscriptions,
    retained: Retained,
    tickets: Tickets,
    leftovers: Leftovers,
    /// Wills of sessions that ended, which the log refused; tried again at each sweep.
    refused_wills: Vec<Will>,
    /// Topics, by hash, of the records that are on their way into the log.
    appending: BTreeMap<u32, u32>,
    /// Sessions and groups with something to read.
    runnable: VecDeque<ReaderId>,
    /// Those whose log could not be read; tried again at the next sweep.
    stalled: Vec<ReaderId>,
    /// Sessions whose stored cursors are old.
    dirty: BTreeSet<SessionId>,
    /// Groups whose stored cursors are old.
    dirty_groups: BTreeSet<GroupId>,
    /// Filters of groups that ended and whose cursors the log refused to delete. Each was stored
    /// once, so that they are as few as groups may be.
    ended_groups: BTreeSet<Box<str>>,
    /// Bytes of records that groups have lent to members, or are to lend again.
    lent_bytes: usize,
    timers: BTreeSet<(Instant, Timer, SessionId)>,
    next_sweep: Option<Instant>,
    last_sweep: Option<Instant>,
    /// The heads when lagging cursors were looked for.
    swept_head: PerLane<Offset>,
    /// The buffer of every search, kept for its capacity.
    found: Vec<Entry>,
    outputs: VecDeque<Output>,
    counters: Counters,
    assigned_count: u64,
}

impl Broker {
    /// Starts from what the tables held. Values that can't be read are left out and counted in
    /// [`Counters::damaged`]. Poll it: old leftovers may be deleted.
    #[must_use]
    pub fn new(settings: Settings, stored: Stored, now: Now) -> Self {
        let mut subscriptions = Subscriptions::new();
        for route in &settings.routes {
            subscriptions.insert(route, Entry::route());
        }
        let mut broker = Self {
            retained: Retained::new(
                settings.retained_count_maximum,
                settings.retained_bytes_maximum,
            ),
            access: Access::new(settings.key.clone(), settings.login_memory_maximum),
            gate: Gate::default(),
            logins: Logins::default(),
            groups: Groups::new(settings.group_inflight_maximum),
            room: RoomForAll::new(&settings),
            settings,
            now,
            epoch: stored.epoch,
            first: stored.first,
            head: stored.head,
            intake: PerLane::from_fn(|_| Intake::Open),
            registry: Registry::default(),
            subscriptions,
            tickets: Tickets::default(),
            leftovers: Leftovers::default(),
            refused_wills: Vec::new(),
            appending: BTreeMap::new(),
            runnable: VecDeque::new(),
            stalled: Vec::new(),
            dirty: BTreeSet::new(),
            dirty_groups: BTreeSet::new(),
            ended_groups: BTreeSet::new(),
            lent_bytes: 0,
            timers: BTreeSet::new(),
            next_sweep: None,
            last_sweep: None,
            swept_head: stored.head,
            found: Vec::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            assigned_count: 0,
        };
        broker.restore(stored);
        broker
    }

    /// Takes one fact. Drain [`Broker::poll`] afterwards.
    ///
    /// # Panics
    /// When commits are answered out of their order, or an `Append` without its place.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Connect(connect) => self.handle_connect(connect),
            Input::Access(input) => self.handle_access(input),
            Input::Publish {
                connection,
                record,
                token,
                note,
            } => {
                self.handle_publish(connection, record, token, note);
            }
            Input::Subscribe {
                connection,
                token,
                filters,
            } => {
                self.handle_subscribe(connection, token, &filters);
            }
            Input::Unsubscribe {
                connection,
                token,
                filters,
            } => {
                self.handle_unsubscribe(connection, token, &filters);
            }
            Input::Acknowledge {
                connection,
                delivery,
            } => self.handle_acknowledge(connection, delivery),
            Input::ChangeNote {
                connection,
                token,
                change,
            } => {
                self.handle_change_note(connection, token, change);
            }
            Input::Room { connection, room } => self.handle_room(connection, room),
            Input::Disconnect {
                connection,
                will,
                session_expiry,
            } => {
                self.handle_disconnect(connection, will, session_expiry);
            }
            Input::Lost { connection } => self.handle_lost(connection),
            Input::Committed { ticket, place } => self.handle_committed(ticket, place),
            Input::CommitFailed { ticket, refusal } => self.handle_commit_failed(ticket, refusal),
            Input::Fetched {
                reader,
                lane,
                from,
                records,
                next,
            } => {
                self.handle_fetched(reader, (lane, from), &records, next);
            }
            Input::Log(input) => self.handle_log(input),
            Input::Announce { record } => self.handle_announce(record),
            Input::Mail(input) => self.handle_mail(input),
            Input::Report { record, changes } => self.handle_report(record, changes),
            Input::FromCloud {
                record,
                token,
                changes,
            } => self.handle_from_cloud(record, token, changes),
        }
    }

    /// Does what is due: sweeps, delayed wills, ends of sessions.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.run_timers();
    }

    /// Gives the next output, and does a bounded step of background reading when there is none.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            match self.runnable.pop_front()? {
                ReaderId::Session(session) => self.step(session),
                ReaderId::Group(group) => self.step_shared(group),
            }
        }
    }

    /// When to call [`Broker::handle_timeout`] next; stale after any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, ..)| *at);
        [timer, self.next_sweep].into_iter().flatten().min()
    }

    /// The lowest offset of a lane that any session or group still wants. Walks all of them.
    #[must_use]
    pub fn release_floor(&self, lane: Lane) -> Offset {
        let head = self.head[lane];
        let sessions = self.registry.iter();
        let sessions = sessions.map(|session| session.floor(lane, head));
        let groups = self.groups.iter().map(|group| group.floor(lane, head));
        sessions.chain(groups).min().unwrap_or(head)
    }

    /// What filters, wills and groups take, in bytes.
    fn held_bytes(&self) -> usize {
        self.registry.held_bytes()
            + self.subscriptions.held_bytes()
            + self.groups.held_bytes()
            + self.lent_bytes
    }

    /// What commits take that are not answered yet, in bytes. A driver stops reading from links above
    /// its limit.
    #[must_use]
    pub const fn uncommitted_bytes(&self) -> usize {
        self.tickets.bytes()
    }

    /// Counts since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Sessions that exist, connected or not.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.registry.len()
    }

    /// Subscriptions of all sessions, and how many of these are shared. Walks all sessions.
    #[must_use]
    pub fn subscription_counts(&self) -> (usize, usize) {
        let counts = self.registry.iter().map(|session| {
            let shared = session.shared_filters().count();
            (session.subscriptions.len(), shared)
        });
        counts.fold((0, 0), |(all, shared), (more, more_shared)| {
            (all + more, shared + more_shared)
        })
    }

    /// Groups of shared subscriptions that exist.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Clients that are connected now, and the most that ever were at once.
    #[must_use]
    pub const fn connected_counts(&self) -> (usize, usize) {
        self.registry.connected_counts()
    }

    /// Deliveries that are not acknowledged, of all sessions. Walks all sessions.
    #[must_use]
    pub fn inflight_count(&self) -> usize {
        self.registry.iter().map(|it| it.inflight.len()).sum()
    }

    /// Bytes that these take, beside the retained messages and loans among them.
    #[must_use]
    pub fn inflight_bytes(&self) -> usize {
        self.registry.underway_bytes()
    }

    /// Retained messages that exist, without what the gateway says itself.
    #[must_use]
    pub fn retained_count(&self) -> usize {
        self.retained.len()
    }

    /// Bytes of the retained messages.
    #[must_use]
    pub const fn retained_bytes(&self) -> usize {
        self.retained.bytes()
    }
}
