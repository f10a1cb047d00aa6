//! One client's session: its subscriptions, its place in each lane, and what it was sent and has
//! not acknowledged. Never a queue of messages.
//!
//! A lane of a session is *live* or *behind*. Live: every committed record that matches is handed
//! over from memory. Behind: the session reads the log from its cursor on.
//!
//! ```text
//! live   -> behind  a record matches and the window is full; or the connection ends
//! behind -> live    reading has reached the head
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use sync::{Cursor, Instant, Lane, Offset, PerLane, Record, Table, WallTime};

use super::access::{Deed, Rights};
use super::event::{ConnectionId, DeliveryId, SessionId, SubscriptionIdentifiers, Will};
use super::filters::Filters;
use super::group::is_shared;
use super::inflight::{Inflight, Tally};
use super::leftovers::Row;
use super::notes::Notes;
use super::retained::Moment;
use super::stored::{Blob, StoredSession, Subscription, cursor_key, member_key};
use crate::rare::{Empty, Rare};

/// Of so many reads one is of the least important lane that is behind.
const READS_A_ROUND: u8 = 8;

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) client_identifier: Rc<str>,
    /// [`Record::publisher_hash`] of the client identifier.
    pub(super) publisher: u64,
    pub(super) link: Link,
    /// Who its client is and may do what; `None` while it was not here since the start.
    pub(super) rights: Option<Rc<Rights>>,
    /// Seconds that it outlives its connection.
    pub(super) expiry: u32,
    /// Whether the tables hold anything of it.
    pub(super) is_stored: bool,
    pub(super) will: Option<Box<Will>>,
    /// By their filters, shared ones among them.
    pub(super) subscriptions: Filters,
    pub(super) lanes: [Reader; 3],
    pub(super) inflight: Inflight,
    pub(super) aside: Rare<Aside>,
    /// The read that is not answered yet.
    pub(super) fetching: Option<(Lane, Offset)>,
    /// How many reads there were; wraps.
    pub(super) reads: u8,
    /// How many records to ask for in relation to the room; grows while nothing matches.
    pub(super) stride: u16,
    /// The most unacknowledged deliveries.
    pub(super) window: u16,
    pub(super) is_congested: bool,
    /// Whether it waits in the list of sessions with something to do.
    pub(super) is_runnable: bool,
    /// Whether the next sweep looks at it.
    pub(super) is_dirty: bool,
    /// Whether its cursors moved since they were stored.
    pub(super) has_moved: bool,
    /// Whether a commit of its value failed.
    pub(super) is_value_unsaved: bool,
}

/// Each client has one, and most are idle.
const _: () = assert!(size_of::<Session>() <= 272);

/// What a session has only now and then.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Of the view.
    pub(super) notes: Notes,
    /// Retained messages that are still to be sent.
    pub(super) walks: VecDeque<Walk>,
    /// Filters whose stored value still says that retained messages are to be sent.
    pub(super) walked: Vec<Box<str>>,
    /// Rows that a refused commit left as they were.
    pub(super) unsaved: BTreeSet<Member>,
    /// When to publish the will of a lost client.
    pub(super) will_due: Option<Instant>,
    /// When to end it.
    pub(super) end_due: Option<Instant>,
}

/// How a session is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not at all.
    Offline {
        /// Since when.
        since: WallTime,
    },
    /// The commit of its beginning is not answered yet.
    Connecting(ConnectionId),
    /// It gets deliveries.
    Online(ConnectionId),
}

/// A row below the session's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Member {
    /// A subscription, by its filter.
    Filter(Box<str>),
    /// A note, by its key.
    Note(u32),
}

/// A session's place in one lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    pub(super) cursor: Cursor,
    pub(super) is_behind: bool,
    /// Where the stored cursor stands.
    pub(super) stored: Offset,
}

/// Retained messages that match a filter, from a topic on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) filter: Box<str>,
    /// The last topic looked at.
    pub(super) after: Option<Box<str>>,
    /// When it was asked for. What came later comes as every message does.
    pub(super) since: Moment,
}

/// What matched a record, of all subscriptions of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) qos: u8,
    pub(super) is_retain_as_published: bool,
    pub(super) identifiers: SubscriptionIdentifiers,
}

impl Match {
    /// Adds one more matching subscription.
    pub(super) fn add(&mut self, qos: u8, is_retain_as_published: bool, identifier: u32) {
        self.qos = self.qos.max(qos);
        self.is_retain_as_published |= is_retain_as_published;
        if identifier > 0 {
            self.identifiers.push(identifier);
        }
    }
}

impl Empty for Aside {
    const EMPTY: &'static Self = &Self {
        notes: Notes::EMPTY,
        walks: VecDeque::new(),
        walked: Vec::new(),
        unsaved: BTreeSet::new(),
        will_due: None,
        end_due: None,
    };

    fn is_empty(&self) -> bool {
        self.notes.is_empty()
            && self.walks.is_empty()
            && self.walked.is_empty()
            && self.unsaved.is_empty()
            && self.will_due.is_none()
            && self.end_due.is_none()
    }
}

impl Will {
    /// What keeping it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.record.as_bytes().len()
    }
}

impl Session {
    /// Starts a session that wants everything from the heads on.
    pub(super) fn new(
        id: SessionId,
        client_identifier: Rc<str>,
        heads: PerLane<Offset>,
        underway: Tally,
    ) -> Self {
        Self {
            id,
            publisher: Record::publisher_hash(&client_identifier),
            client_identifier,
            link: Link::Offline { since: WallTime(0) },
            rights: None,
            expiry: 0,
            is_stored: false,
            will: None,
            subscriptions: Filters::default(),
            lanes: heads.0.map(Reader::starting_at),
            inflight: Inflight::counted_by(underway),
            aside: Rare::default(),
            fetching: None,
            reads: 1,
            stride: 1,
            window: 1,
            is_congested: false,
            is_runnable: false,
            is_dirty: false,
            has_moved: false,
            is_value_unsaved: false,
        }
    }

    /// Gives back memory that only deliveries need, if there are none.
    pub(super) fn let_go(&mut self) {
        self.inflight.let_go();
        for reader in &mut self.lanes {
            reader.cursor.let_go();
        }
    }

    /// Takes the session from its connection: what was sent and not acknowledged is to be sent
    /// again, and the log is the only source until the next one.
    pub(super) fn detach(&mut self, since: WallTime, heads: PerLane<Offset>) {
        self.link = Link::Offline { since };
        self.fetching = None;
        self.is_congested = false;
        self.inflight.forget_sent();
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            if !reader.is_behind {
                reader.cursor.skip_to(heads[lane]);
                reader.is_behind = true;
            }
        }
    }

    /// Gives the session to a connection. Returns the deliveries that can't be repeated since
    /// their records are gone, and how many records the session missed.
    pub(super) fn attach(
        &mut self,
        connection: ConnectionId,
        firsts: PerLane<Offset>,
        heads: PerLane<Offset>,
    ) -> (Vec<DeliveryId>, u64) {
        self.link = Link::Online(connection);
        let mut missed = 0;
        let wants_log = self.wants_log();
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            if !wants_log && reader.cursor.pending_count() == 0 {
                reader.cursor.skip_to(heads[lane]);
            }
            missed += reader.cursor.skip_gap(firsts[lane]);
            reader.cursor.rewind();
            reader.is_behind = reader.cursor.delivered() < heads[lane];
        }
        self.inflight.begin_repeats();
        let mut gone = self.inflight.take_lost();
        for (lane, reader) in Lane::ALL.into_iter().zip(&self.lanes) {
            gone.extend(self.inflight.take_passed(lane, reader.cursor.delivered()));
        }
        (gone, missed)
    }

    /// Whether its client may do something with a topic.
    pub(super) fn may(&self, deed: Deed, topic: &str) -> bool {
        let rights = self.rights.as_ref();
        rights.is_none_or(|rights| rights.grant(&self.client_identifier, deed, topic))
    }

    /// The filters of its shared subscriptions.
    pub(super) fn shared_filters(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.keys().filter(|filter| is_shared(filter))
    }

    /// The lane's reader.
    pub(super) const fn reader(&self, lane: Lane) -> &Reader {
        &self.lanes[lane as usize]
    }

    /// The lane's reader, to move it.
    pub(super) const fn reader_mut(&mut self, lane: Lane) -> &mut Reader {
        &mut self.lanes[lane as usize]
    }

    /// Whether the session goes on after its connection.
    pub(super) const fn is_durable(&self) -> bool {
        self.expiry > 0
    }

    /// The connection that gets deliveries.
    pub(super) const fn online(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Online(connection) => Some(connection),
            Link::Offline { .. } | Link::Connecting(_) => None,
        }
    }

    /// The connection that holds the session, whether it gets deliveries yet or not.
    pub(super) const fn holder(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Online(connection) | Link::Connecting(connection) => Some(connection),
            Link::Offline { .. } => None,
        }
    }

    /// Whether a delivery with QoS over 0 can leave now.
    pub(super) const fn has_room(&self) -> bool {
        self.inflight.sent_count < self.window && !self.is_congested
    }

    /// Whether a record of a lane can be handed over from memory now.
    pub(super) const fn takes_live(&self, lane: Lane) -> bool {
        !self.reader(lane).is_behind && self.has_room()
    }

    /// Whether a group can hand it a record: after what earlier connections left, and with room
    /// for so many.
    pub(super) fn takes_shared(&self, room: usize) -> bool {
        self.online().is_some()
            && !self.is_congested
            && usize::from(self.free_window()) >= room
            && self.inflight.is_all_sent()
    }

    /// How many more deliveries may be unacknowledged.
    pub(super) fn free_window(&self) -> u16 {
        self.window.saturating_sub(self.inflight.sent_count)
    }

    /// Whether it is connected and waits for something that is there.
    pub(super) fn has_work(&self) -> bool {
        self.online().is_some()
            && (self.lanes.iter().any(|reader| reader.is_behind)
                || !self.aside.walks.is_empty()
                || self.inflight.len() > usize::from(self.inflight.sent_count))
    }

    /// The most important lane that is worth reading now. Waits until half of the window is free,
    /// so that each read is of use.
    pub(super) fn lane_to_read(&self) -> Option<Lane> {
        let is_worth = self.has_room() && self.free_window() >= self.window.div_ceil(2);
        if !is_worth || self.fetching.is_some() {
            return None;
        }
        lane_behind(&self.lanes, self.reads)
    }

    /// The lowest offset of a lane that the session still wants.
    pub(super) fn floor(&self, lane: Lane, head: Offset) -> Offset {
        let reader = self.reader(lane);
        if reader.is_behind && self.wants_log() {
            return reader.cursor.ack_floor();
        }
        reader.cursor.pending().next().unwrap_or(head)
    }

    /// What its filters and its will take, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let filters = self.subscriptions.keys();
        let will = self.will.as_deref().map_or(0, Will::held_bytes);
        will + filters.map(Subscription::held_bytes).sum::<usize>()
    }

    /// Names the row of a member.
    pub(super) fn row(&self, member: &Member) -> Row {
        let name = &self.client_identifier;
        match member {
            Member::Filter(filter) => (Table::Subscriptions, member_key(name, filter.as_bytes())),
            Member::Note(key) => (Table::Handshakes, member_key(name, &key.to_be_bytes())),
        }
    }

    /// Names every row that it may have.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let name = &self.client_identifier;
        let filters = self.subscriptions.keys();
        let filters = filters.map(|it| Member::Filter(it.into()));
        let notes = self.aside.notes.iter().map(|(key, _)| Member::Note(*key));
        let members = filters
            .chain(notes)
            .chain(self.aside.unsaved.iter().cloned());
        [
            (Table::Sessions, name.as_bytes().to_vec()),
            (Table::Cursors, cursor_key(name)),
        ]
        .into_iter()
        .chain(members.map(|member| self.row(&member)))
    }

    /// Whether any subscription wants records of the log; QoS 0 is not kept for later.
    fn wants_log(&self) -> bool {
        let mut subscriptions = self.subscriptions.iter();
        subscriptions.any(|(filter, wanted)| wanted.qos > 0 && !is_shared(filter))
    }

    /// The value of the session's table.
    pub(super) fn stored(&self) -> StoredSession {
        let left_at = match self.link {
            Link::Offline { since } => Some(since),
            Link::Connecting(_) | Link::Online(_) => None,
        };
        let will = self.will.as_ref();
        let will = will.map(|will| (will.delay_seconds, Blob(will.record.as_bytes().clone())));
        StoredSession::new(self.expiry, left_at, will)
    }
}

impl Reader {
    /// Not live before it is connected.
    pub(super) fn starting_at(offset: Offset) -> Self {
        Self {
            cursor: Cursor::starting_at(offset),
            is_behind: true,
            stored: offset,
        }
    }
}

/// The most important lane that is behind; now and then the least important one, so that none waits
/// for ever.
pub(super) fn lane_behind(lanes: &[Reader; 3], reads: u8) -> Option<Lane> {
    let mut behind = Lane::ALL
        .into_iter()
        .filter(|lane| lanes[*lane as usize].is_behind);
    if reads.is_multiple_of(READS_A_ROUND) {
        behind.next_back()
    } else {
        behind.next()
    }
}
