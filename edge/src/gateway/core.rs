//! Everything that thinks, joined: connections, broker, committer, log reader and uplink.
//!
//! The core is called with a fact and leaves nothing undone: each entry ends with a pump that
//! carries answers to and fro until nobody has anything left to say. It never waits; what has to
//! wait (sockets, the disk, the cloud) belongs to the tasks around it.

mod cloud;
mod commits;
mod doors;
mod gaps;
mod lines;
mod links;
mod mail;
mod reading;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use sync::{Instant, Lane, Now, Offset, PerLane, TimeStamp};
use tracing::warn;

pub(super) use self::doors::Doors;
pub(crate) use self::doors::{Place, RestingPlace};
pub(crate) use self::gaps::{GapNews, topic as gap_topic};
pub(super) use self::mail::Pigeonholes;
use super::announce::{Announcer, LinkCounts};
use super::checker::Check;
use super::committer::{Committer, Owner};
use super::disk::Request;
use super::expiry::Expiry;
use super::flash::Flash;
use super::peers::{DEAF, Peers, SLOW};
use super::quiet::Quiet;
use super::signal::Signal;
use super::terms::Terms;
use crate::broker::{Broker, ConnectionId, Event, Input, Output, ReaderId};
use crate::link::serial;
use crate::log::{self, Budget, Reader, Report};
use crate::mail::{Input as MailRequest, Office};
use crate::mqtt::TrafficCounts;
use crate::uplink::Uplink;

/// Wakes the tasks around the core.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// A group may be due.
    pub(crate) commit: Signal,
    /// A reader wants records.
    pub(crate) fetch: Signal,
    /// The bridge has something to do.
    pub(crate) bridge: Signal,
    /// A connection without a task needs one.
    pub(crate) links: Signal,
    /// A password is to be checked.
    pub(crate) check: Signal,
    /// A time-out may have come nearer.
    pub(crate) clock: Signal,
}

/// The parts, and what connects them.
pub(crate) struct Core {
    pub(crate) broker: Broker,
    pub(crate) committer: Committer,
    pub(crate) reader: Reader,
    pub(crate) uplink: Option<Uplink>,
    /// `None` where there is no mail.
    pub(crate) office: Option<Office>,
    /// Requests for the writer thread that are not commits.
    pub(crate) notes: VecDeque<Request>,
    /// Passwords for the hashing thread; the broker bounds them.
    pub(crate) checks: VecDeque<Check>,
    pub(crate) wakes: Rc<Wakes>,
    /// Who says what the `$SYS` topics say; `None` for nobody.
    pub(crate) announcer: Option<Announcer>,
    pub(super) links: LinkCounts,
    peers: Peers,
    terms: Terms,
    doors: Doors,
    fetches: VecDeque<Fetch>,
    touched: Vec<ConnectionId>,
    /// Connections without a task that need one, each once.
    called: VecDeque<ConnectionId>,
    held_back: Vec<ConnectionId>,
    /// Who has more to say, once what came of its last publish is delivered.
    talking: BTreeSet<ConnectionId>,
    /// Whose requests wait until the mail office is less busy.
    asking: BTreeSet<ConnectionId>,
    /// Whether mail was read in this turn, which is enough for one, and for whom it was last.
    has_read_mail: bool,
    last_reader: ConnectionId,
    /// Requests that did not wait to be asked for, until the mail office is less busy, oldest first.
    /// No link is read meanwhile, so they are what was read already.
    letters: VecDeque<MailRequest>,
    released: PerLane<Offset>,
    /// When the clock's task wakes by itself.
    alarm: Option<Instant>,
    /// What the start found.
    pub(super) found: Report,
    /// Commits are refused.
    pub(super) is_refusing: bool,
    /// The log can't be flushed or trimmed.
    pub(super) is_log_failing: bool,
    /// By the last look at it, only a start makes the log whole.
    is_log_unusable: bool,
    /// By the last two.
    pub(super) needs_start: bool,
    /// What lanes of the log take.
    pub(super) intake: PerLane<log::Intake>,
    pub(super) gap_news: GapNews,
    /// How often the writer had come round, and when that was seen first.
    pub(super) writer_turned: (u64, Instant),
    pub(super) flash: Flash,
    /// Of the certificates in use.
    pub(super) expiry: Expiry,
    /// Both times of day at the last sweep.
    pub(super) time: TimeStamp,
    quiet: Quiet,
    lines: Vec<Rc<serial::Counters>>,
}

/// Of those that found no room in memory, so many are told at a time that there is some.
const READERS: usize = 32;

/// Somebody wants records of the log.
enum Fetch {
    Broker {
        reader: ReaderId,
        lane: Lane,
        from: Offset,
        budget: Budget,
    },
    Uplink {
        lane: Lane,
        from: Offset,
        budget: Budget,
    },
}

/// Whether everything that a client said was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// What waits to be written to all clients together is near its limit.
    Held,
}

/// What to do when clients do not keep up with what they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// Hold the sender up.
    Gentle,
    /// Go on; at the limit, QoS 0 is dropped.
    Hard,
}

impl Core {
    pub(crate) fn new(
        broker: Broker,
        committer: Committer,
        reader: Reader,
        uplink: Option<Uplink>,
        terms: Terms,
        doors: Doors,
        (gap_news, flash): (GapNews, Flash),
    ) -> Self {
        Self {
            broker,
            committer,
            reader,
            uplink,
            office: None,
            notes: VecDeque::new(),
            checks: VecDeque::new(),
            wakes: Rc::default(),
            announcer: None,
            links: LinkCounts::default(),
            peers: Peers::default(),
            terms,
            doors,
            fetches: VecDeque::new(),
            touched: Vec::new(),
            called: VecDeque::new(),
            held_back: Vec::new(),
            talking: BTreeSet::new(),
            asking: BTreeSet::new(),
            has_read_mail: false,
            last_reader: ConnectionId {
                index: 0,
                generation: 0,
            },
            letters: VecDeque::new(),
            released: PerLane::default(),
            alarm: None,
            found: Report::default(),
            is_refusing: false,
            is_log_failing: false,
            is_log_unusable: false,
            needs_start: false,
            intake: PerLane::from_fn(|_| log::Intake::Open),
            gap_news,
            flash,
            expiry: Expiry::default(),
            time: TimeStamp::default(),
            writer_turned: (0, Instant::from_micros(0)),
            quiet: Quiet::default(),
            lines: Vec::new(),
        }
    }

    /// Gives the broker a fact that is not a client's.
    pub(crate) fn tell_broker(&mut self, now: Now, input: Input) {
        self.broker.handle(now, input);
        self.pump(now);
    }

    /// Does what is due and says when to come back.
    pub(crate) fn handle_timeout(&mut self, now: Now) -> Option<Instant> {
        self.broker.handle_timeout(now);
        self.wake_office(now);
        if let Some(uplink) = &mut self.uplink {
            uplink.engine.handle_timeout(now.instant);
        }
        self.pump(now);
        self.alarm = self.poll_timeout(now);
        self.alarm
    }

    fn poll_timeout(&self, now: Now) -> Option<Instant> {
        let uplink = self
            .uplink
            .as_ref()
            .and_then(|uplink| uplink.engine.poll_timeout());
        let office = self.office.as_ref().and_then(Office::poll_timeout);
        let is_asked = !self.asking.is_empty() && !self.is_office_busy();
        let asking = is_asked.then_some(now.instant);
        let clients = sooner(self.broker.poll_timeout(), asking);
        sooner(clients, sooner(uplink, office))
    }

    /// Looks at every connection, and tells the writer what may go. Called once a second.
    pub(crate) fn sweep(&mut self, now: Now, writer_turns: u64, time: TimeStamp) {
        self.time = time;
        self.watch_writer(now.instant, writer_turns);
        if let Some(linger) = self.flash.update(now.instant) {
            self.committer.set_linger(linger);
        }
        // The silence of a client whose link is not read on our account does not count.
        for id in &self.held_back {
            if let Some(peer) = self.peers.find(*id) {
                peer.connection.handle_held_back(now);
            }
        }
        for id in self.peers.ids() {
            let Some(peer) = self.peers.find(id) else {
                continue;
            };
            peer.relax();
            peer.connection.handle_timeout(now);
            if peer.abandon_if_deaf(now.instant)
                && let Some(times) = self.quiet.may_say(now.instant, "deaf")
            {
                warn!("a client was disconnected: it took nothing for {DEAF:?}{times}");
            }
            let shared = self.terms.shared();
            let surplus = shared.surplus_of(id.index);
            if peer.abandon_if_slow(now.instant, surplus, shared.is_room_scarce())
                && let Some(times) = self.quiet.may_say(now.instant, "slow")
            {
                warn!("a client was disconnected: others waited {SLOW:?} for its room{times}");
            }
            self.hear(now, id);
        }
        self.remind_of_certificates(now.instant);
        self.tell_of_damage(now);
        self.note_damaged_mail(now);
        self.tell_next_gap(now);
        self.release();
        self.announce(now);
        self.note(Request::Maintain);
        self.pump(now);
    }

    /// Says which certificates end soon, if it is time to.
    pub(super) fn remind_of_certificates(&mut self, now: Instant) {
        for line in self.expiry.remind(now, self.time.device) {
            warn!("{line}");
        }
    }

    /// Says goodbye to every client. Sessions that are kept stay; wills are published and committed,
    /// but for those with a delay, which wait in their sessions for the clients to come back.
    pub(crate) fn shut_down(&mut self, now: Now) {
        for id in self.peers.ids() {
            if let Some(peer) = self.peers.find(id) {
                peer.connection.handle_shutdown();
            }
            self.touch(id);
        }
        if let Some(uplink) = &mut self.uplink {
            uplink.stop(now.instant);
        }
        self.committer.hurry(now.instant);
        self.pump(now);
    }

    /// What all connections received and sent.
    pub(super) fn traffic(&self) -> TrafficCounts {
        self.terms.shared().traffic.counts()
    }

    /// How many clients are connected.
    pub(crate) const fn connection_count(&self) -> usize {
        self.peers.count()
    }

    /// Carries answers between the parts until all are quiet, and wakes whom it concerns.
    pub(crate) fn pump(&mut self, now: Now) {
        self.settle(now);
        self.tell_of_room(now);
        self.let_ask(now);
        self.read_on();
        for id in self.touched.drain(..) {
            if let Some(peer) = self.peers.find(id) {
                peer.is_touched = false;
                if peer.tell() {
                    self.called.push_back(id);
                }
            }
        }
        if !self.called.is_empty() {
            self.wakes.links.raise();
        }
        if self.committer.poll_timeout().is_some() {
            self.wakes.commit.raise();
        }
        let due = self.poll_timeout(now);
        if due.is_some_and(|due| self.alarm.is_none_or(|alarm| due < alarm)) {
            self.alarm = due;
            self.wakes.clock.raise();
        }
    }

    /// Has sessions go on that found no room in memory.
    fn tell_of_room(&mut self, now: Now) {
        // Each may read much: a few at a time use what room there is.
        for _ in self.fetches.len()..READERS {
            let Some(place) = self.terms.shared().next_waiting() else {
                return;
            };
            let id = self.peers.at(place);
            if let Some((id, peer)) = id.and_then(|id| Some((id, self.peers.find(id)?))) {
                peer.connection.handle_room();
                self.hear(now, id);
                self.settle(now);
            }
        }
    }

    /// Carries answers between the parts until all are quiet.
    pub(super) fn settle(&mut self, now: Now) {
        loop {
            // Its commits keep their place among those of the broker.
            if let Some(output) = self.office.as_mut().and_then(Office::poll) {
                self.obey_office(now, output);
            } else if let Some(output) = self.broker.poll() {
                self.obey(now, output);
            } else if let Some(id) = self.talking.pop_first() {
                self.hear(now, id);
            } else if let Some(wish) = self.uplink.as_mut().and_then(Uplink::poll) {
                self.grant(now, wish);
            } else {
                break;
            }
        }
    }

    /// Carries out what the broker wants.
    fn obey(&mut self, now: Now, output: Output) {
        match output {
            Output::Commit {
                ticket,
                changes,
                urgency,
            } => {
                self.committer
                    .add(now.instant, Owner::Broker(ticket), changes, urgency);
            }
            Output::Fetch {
                reader,
                lane,
                from,
                maximum_count,
                maximum_bytes,
            } => {
                let budget = Budget {
                    records: maximum_count,
                    bytes: maximum_bytes,
                };
                self.fetches.push_back(Fetch::Broker {
                    reader,
                    lane,
                    from,
                    budget,
                });
                self.wakes.fetch.raise();
            }
            Output::Verify {
                connection,
                secret,
                password,
            } => {
                self.checks.push_back(Check {
                    connection,
                    secret,
                    password,
                });
                self.wakes.check.raise();
            }
            Output::Mail(input) => self.hand_in(now, input),
            Output::ToConnection { connection, event } => self.deliver(now, connection, event),
            Output::Reported { outcome } => self.gap_told(now, outcome),
            Output::FromCloudStored { token, outcome } => {
                if let Some(uplink) = &mut self.uplink {
                    uplink.stored(now.instant, token, outcome);
                }
            }
        }
    }

    fn deliver(&mut self, now: Now, id: ConnectionId, event: Event) {
        if let Some(peer) = self.peers.find(id) {
            peer.connection.handle_event(now, event);
            self.hear(now, id);
        }
    }

    /// Gives the broker what a connection has to say, up to a publish: what was held back may be many
    /// of them, and each may be for everybody.
    fn hear(&mut self, now: Now, id: ConnectionId) {
        self.touch(id);
        while let Some(input) = self.next_input(id) {
            let is_publish = matches!(input, Input::Publish { .. });
            self.broker.handle(now, input);
            if is_publish {
                self.talking.insert(id);
                return;
            }
        }
    }

    fn next_input(&mut self, id: ConnectionId) -> Option<Input> {
        self.peers.find(id)?.connection.poll()
    }

    /// Marks a connection, so that its task is told at the end of the turn.
    fn touch(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.find(id)
            && !peer.is_touched
        {
            peer.is_touched = true;
            self.touched.push(id);
        }
    }
}

/// The earlier of two times that may come.
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
