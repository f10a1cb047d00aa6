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

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use sync::{Cursor, Instant, Lane, Offset, PerLane, Record, WallTime};

use super::event::{ConnectionId, DeliveryId, SessionId, SubscriptionIdentifiers, Will};
use super::stored::{Blob, StoredSession, Subscription};

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) client_identifier: Box<str>,
    /// [`Record::publisher_hash`] of the client identifier.
    pub(super) publisher: u64,
    pub(super) link: Link,
    /// Seconds that it outlives its connection.
    pub(super) expiry: u32,
    /// Whether the tables hold anything of it.
    pub(super) is_stored: bool,
    pub(super) will: Option<Will>,
    pub(super) subscriptions: BTreeMap<Box<str>, Subscription>,
    pub(super) notes: BTreeMap<u32, KeptNote>,
    pub(super) lanes: [Reader; 3],
    pub(super) inflight: Inflight,
    /// Retained messages that are still to be sent.
    pub(super) walks: VecDeque<Walk>,
    /// Filters whose stored value still says that retained messages are to be sent.
    pub(super) walked: Vec<Box<str>>,
    /// The read that is not answered yet.
    pub(super) fetching: Option<(Lane, Offset)>,
    /// How many records to ask for in relation to the room; grows while nothing matches.
    pub(super) stride: u16,
    /// The most unacknowledged deliveries.
    pub(super) window: u16,
    pub(super) is_congested: bool,
    /// Whether it waits in the list of sessions with something to do.
    pub(super) is_runnable: bool,
    /// Whether its cursors moved since they were stored.
    pub(super) is_dirty: bool,
    /// Whether a commit of its value failed.
    pub(super) is_value_unsaved: bool,
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

/// A note of the view with the delivery it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptNote {
    pub(super) value: Bytes,
    pub(super) delivery: Option<DeliveryId>,
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

impl Session {
    /// Starts a session that wants everything from the heads on.
    pub(super) fn new(id: SessionId, client_identifier: &str, heads: PerLane<Offset>) -> Self {
        Self {
            id,
            client_identifier: client_identifier.into(),
            publisher: Record::publisher_hash(client_identifier),
            link: Link::Offline { since: WallTime(0) },
            expiry: 0,
            is_stored: false,
            will: None,
            subscriptions: BTreeMap::new(),
            notes: BTreeMap::new(),
            lanes: heads.0.map(Reader::starting_at),
            inflight: Inflight::default(),
            walks: VecDeque::new(),
            walked: Vec::new(),
            fetching: None,
            stride: 1,
            window: 1,
            is_congested: false,
            is_runnable: false,
            is_dirty: false,
            is_value_unsaved: false,
            will_due: None,
            end_due: None,
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
        for (lane, reader) in Lane::ALL.into_iter().zip(&mut self.lanes) {
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

    /// Whether it is connected and waits for something that is there.
    pub(super) fn has_work(&self) -> bool {
        self.online().is_some()
            && (self.lanes.iter().any(|reader| reader.is_behind)
                || !self.walks.is_empty()
                || self.inflight.len() > usize::from(self.inflight.sent_count))
    }

    /// The most important lane that is worth reading now. Waits until half of the window is free,
    /// so that each read is of use.
    pub(super) fn lane_to_read(&self) -> Option<Lane> {
        let room = self.window - self.inflight.sent_count.min(self.window);
        let is_worth = self.has_room() && room >= self.window.div_ceil(2);
        if !is_worth || self.fetching.is_some() {
            return None;
        }
        Lane::ALL
            .into_iter()
            .find(|lane| self.reader(*lane).is_behind)
    }

    /// The lowest offset of a lane that the session still wants.
    pub(super) fn floor(&self, lane: Lane, head: Offset) -> Offset {
        let reader = self.reader(lane);
        let wants_nothing_new = !self.subscriptions.values().any(|wanted| wanted.qos > 0);
        if reader.is_behind && !wants_nothing_new {
            return reader.cursor.ack_floor();
        }
        reader.cursor.pending().next().unwrap_or(head)
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
    fn starting_at(offset: Offset) -> Self {
        Self {
            cursor: Cursor::starting_at(offset),
            is_behind: true,
            stored: offset,
        }
    }
}

/// Deliveries with QoS over 0 that are not acknowledged, by their names. Every pending offset of
/// the cursors has an entry here.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    entries: BTreeMap<u16, Sent>,
    /// The name given last.
    last: u16,
    /// How many were sent on the present connection.
    pub(super) sent_count: u16,
    /// Places of those that are to be sent again on the present connection.
    repeats: BTreeMap<(Lane, Offset), u16>,
}

/// One unacknowledged delivery.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) source: Source,
    /// As delivered; 0 when a restart forgot it.
    pub(super) qos: u8,
    /// Whether it was sent on the present connection.
    pub(super) is_sent: bool,
}

/// Where a delivery can be found again.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// In the log.
    Logged(Lane, Offset),
    /// Nowhere; its session ends with the connection.
    Passing,
    /// Here: a retained message of a session that goes on.
    Kept(Record),
    /// Nowhere, although its session went on: a restart forgot it.
    Lost,
}

impl Inflight {
    /// Names a new delivery that is sent now.
    ///
    /// # Panics
    /// When 65,535 are unacknowledged; the window is smaller.
    pub(super) fn send(&mut self, source: Source, qos: u8) -> DeliveryId {
        let id = self.unused();
        self.sent_count += 1;
        self.entries.insert(
            id,
            Sent {
                source,
                qos,
                is_sent: true,
            },
        );
        DeliveryId(id)
    }

    /// Takes over a delivery of an earlier run.
    pub(super) fn restore(&mut self, id: Option<DeliveryId>, source: Source, qos: u8) {
        let id = id.map_or_else(|| self.unused(), |id| id.0);
        self.entries.insert(
            id,
            Sent {
                source,
                qos,
                is_sent: false,
            },
        );
    }

    /// Settles a delivery; `None` for a repeat.
    pub(super) fn settle(&mut self, id: DeliveryId) -> Option<Sent> {
        let sent = self.entries.remove(&id.0)?;
        if sent.is_sent {
            self.sent_count -= 1;
        } else if let Source::Logged(lane, offset) = sent.source {
            self.repeats.remove(&(lane, offset));
        }
        Some(sent)
    }

    /// The delivery of an offset that is to be sent again, marked as sent.
    pub(super) fn repeat(&mut self, lane: Lane, offset: Offset) -> Option<(DeliveryId, u8)> {
        let id = self.repeats.remove(&(lane, offset))?;
        Some((DeliveryId(id), self.mark_sent(id)))
    }

    /// The next retained message that is to be sent again, marked as sent.
    pub(super) fn repeat_kept(&mut self) -> Option<(DeliveryId, u8, Record)> {
        let (id, record) = self
            .entries
            .iter()
            .find_map(|(id, sent)| match &sent.source {
                Source::Kept(record) if !sent.is_sent => Some((*id, record.clone())),
                _ => None,
            })?;
        Some((DeliveryId(id), self.mark_sent(id), record))
    }

    /// Notes which QoS a delivery was given that a restart forgot.
    pub(super) fn set_qos(&mut self, id: DeliveryId, qos: u8) {
        if let Some(sent) = self.entries.get_mut(&id.0) {
            sent.qos = qos;
        }
    }

    /// Those of a lane that were to be sent again and whose place reading has passed, marked as
    /// sent: their records are gone.
    pub(super) fn take_passed(&mut self, lane: Lane, delivered: Offset) -> Vec<DeliveryId> {
        let passed: Vec<_> = self
            .repeats
            .range((lane, Offset(0))..(lane, delivered))
            .map(|(key, _)| *key)
            .collect();
        passed
            .into_iter()
            .filter_map(|(lane, offset)| self.repeat(lane, offset).map(|(id, _)| id))
            .collect()
    }

    /// Looks at a delivery.
    pub(super) fn find(&self, id: DeliveryId) -> Option<&Sent> {
        self.entries.get(&id.0)
    }

    /// Whether an offset is to be sent again on the present connection.
    pub(super) fn is_to_repeat(&self, lane: Lane, offset: Offset) -> bool {
        self.repeats.contains_key(&(lane, offset))
    }

    /// Whether an offset has a name. Walks all deliveries.
    pub(super) fn holds(&self, lane: Lane, offset: Offset) -> bool {
        let wanted = (lane, offset);
        self.entries
            .values()
            .any(|sent| matches!(sent.source, Source::Logged(lane, at) if (lane, at) == wanted))
    }

    /// Whether retained messages are unacknowledged.
    pub(super) fn has_kept(&self) -> bool {
        self.entries
            .values()
            .any(|sent| matches!(sent.source, Source::Kept(_)))
    }

    /// Counts all unacknowledged deliveries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what the connection that ended was sent.
    fn forget_sent(&mut self) {
        self.sent_count = 0;
        self.repeats.clear();
        self.entries
            .values_mut()
            .for_each(|sent| sent.is_sent = false);
    }

    fn begin_repeats(&mut self) {
        for (id, sent) in &self.entries {
            if let Source::Logged(lane, offset) = sent.source {
                self.repeats.insert((lane, offset), *id);
            }
        }
    }

    fn take_lost(&mut self) -> Vec<DeliveryId> {
        let lost = self
            .entries
            .iter()
            .filter(|(_, sent)| matches!(sent.source, Source::Lost));
        let lost: Vec<u16> = lost.map(|(id, _)| *id).collect();
        lost.into_iter()
            .map(|id| {
                self.mark_sent(id);
                DeliveryId(id)
            })
            .collect()
    }

    fn mark_sent(&mut self, id: u16) -> u8 {
        let sent = self
            .entries
            .get_mut(&id)
            .expect("every repeat has an entry");
        if !sent.is_sent {
            sent.is_sent = true;
            self.sent_count += 1;
        }
        sent.qos
    }

    fn unused(&mut self) -> u16 {
        assert!(
            self.entries.len() < usize::from(u16::MAX),
            "the window is below 65,535"
        );
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.entries.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}
