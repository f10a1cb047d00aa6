//! What a session was sent with QoS over 0 and has not acknowledged, by the names that survive its
//! connections. Bounded by the window, and small: a record is found again by its place.

mod entries;

use std::collections::VecDeque;

use sync::{Lane, Offset, Record};

pub(super) use self::entries::Tally;
use self::entries::{Entries, Entry, Kind};
use super::event::{DeliveryId, GroupId};
use crate::rare::Rare;

/// Deliveries with QoS over 0 that are not acknowledged, by their names. Every pending offset of
/// the cursors has an entry here.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    entries: Rare<Entries>,
    /// What all sessions have under way.
    tally: Tally,
    /// The name given last.
    last: u16,
    /// How many were sent on the present connection.
    pub(super) sent_count: u16,
    /// Whether the session's read is for a delivery of a group that is to be sent again.
    pub(super) is_repeating: bool,
}

/// What is known of one unacknowledged delivery.
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
    /// In the log, for a group that shares a subscription.
    Shared(GroupId, Lane, Offset),
    /// Nowhere; its session ends with the connection.
    Passing,
    /// Here: of a group, and not in the log. When its session ends it goes to another member.
    Lent(GroupId, Record),
    /// Here: a retained message of a session that goes on.
    Kept {
        record: Record,
        /// Of the subscription that it was sent for.
        filter: Box<str>,
        /// Of the subscription that it was sent for.
        identifier: Option<u32>,
    },
    /// Nowhere, although its session went on: a restart forgot it.
    Lost,
}

/// A delivery of a group to one of its members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    pub(super) delivery: DeliveryId,
    pub(super) qos: u8,
    pub(super) group: GroupId,
    pub(super) lane: Lane,
    pub(super) offset: Offset,
}

/// A retained message that is to be sent again.
#[derive(Clone, Debug)]
pub(super) struct Repeat {
    pub(super) id: DeliveryId,
    pub(super) qos: u8,
    pub(super) record: Record,
    pub(super) identifier: Option<u32>,
}

impl Inflight {
    /// Starts without deliveries. Those that come are counted with all others.
    pub(super) fn counted_by(tally: Tally) -> Self {
        Self {
            entries: Rare::default(),
            tally,
            last: 0,
            sent_count: 0,
            is_repeating: false,
        }
    }

    /// Names a new delivery that is sent now.
    ///
    /// # Panics
    /// When 65,535 are unacknowledged; the window is smaller.
    pub(super) fn send(&mut self, source: Source, qos: u8) -> DeliveryId {
        let id = self.unused();
        self.sent_count += 1;
        self.insert(id, source, (qos, true));
        DeliveryId(id)
    }

    /// Takes over a delivery of an earlier run.
    pub(super) fn restore(&mut self, id: Option<DeliveryId>, source: Source, qos: u8) {
        let id = id.map_or_else(|| self.unused(), |id| id.0);
        self.remove(id);
        self.insert(id, source, (qos, false));
    }

    /// Settles a delivery; `None` for a repeat.
    pub(super) fn settle(&mut self, id: DeliveryId) -> Option<Sent> {
        let sent = self.remove(id.0)?;
        if sent.is_sent {
            self.sent_count -= 1;
        }
        Some(sent)
    }

    /// The delivery of an offset that is to be sent again, marked as sent.
    pub(super) fn repeat(&mut self, lane: Lane, offset: Offset) -> Option<(DeliveryId, u8)> {
        let id = self.entries.held()?.take_repeat(lane, offset)?;
        Some((DeliveryId(id), self.mark_sent(id)))
    }

    /// The next retained message that is to be sent again.
    pub(super) fn next_kept(&self) -> Option<Repeat> {
        // A session is asked each time it has room, and has nothing to send again nearly always.
        if self.is_all_sent() {
            return None;
        }
        let sources = self.entries.sources.iter();
        sources
            .filter_map(|(id, source)| match source {
                Source::Kept {
                    record, identifier, ..
                } => Some((self.entries.get(*id)?, record, *identifier)),
                _ => None,
            })
            .find(|(entry, ..)| !entry.is_sent)
            .map(|(entry, record, identifier)| Repeat {
                id: DeliveryId(entry.id),
                qos: entry.qos,
                record: record.clone(),
                identifier,
            })
    }

    /// The first delivery of a group that is to be sent again on the present connection.
    pub(super) fn next_shared(&self) -> Option<(DeliveryId, Lane, Offset)> {
        let sources = self.entries.sources.iter();
        let shared = sources.filter_map(|(id, source)| match source {
            Source::Shared(_, lane, offset) => Some((*lane, *offset, *id)),
            _ => None,
        });
        let is_unsent = |id: u16| self.entries.get(id).is_some_and(|it| !it.is_sent);
        let (lane, offset, id) = shared.filter(|(.., id)| is_unsent(*id)).min()?;
        Some((DeliveryId(id), lane, offset))
    }

    /// Marks a delivery as sent again and gives its QoS; `None` for one that is settled or sent
    /// already.
    pub(super) fn send_again(&mut self, id: DeliveryId) -> Option<u8> {
        self.entries.get(id.0).filter(|sent| !sent.is_sent)?;
        Some(self.mark_sent(id.0))
    }

    /// Walks the deliveries of groups.
    pub(super) fn shared(&self) -> impl Iterator<Item = Shared> {
        let sources = self.entries.sources.iter();
        sources.filter_map(|(id, source)| match source {
            Source::Shared(group, lane, offset) => Some(Shared {
                delivery: DeliveryId(*id),
                qos: self.entries.get(*id)?.qos,
                group: *group,
                lane: *lane,
                offset: *offset,
            }),
            _ => None,
        })
    }

    /// Walks what groups have lent.
    pub(super) fn lent(&self) -> impl Iterator<Item = (GroupId, &Record)> {
        let sources = self.entries.sources.values();
        sources.filter_map(|source| match source {
            Source::Lent(group, record) => Some((*group, record)),
            _ => None,
        })
    }

    /// Whether everything that earlier connections left was sent again.
    pub(super) fn is_all_sent(&self) -> bool {
        self.len() == usize::from(self.sent_count)
    }

    /// Notes which QoS a delivery was given that a restart forgot.
    pub(super) fn set_qos(&mut self, id: DeliveryId, qos: u8) {
        if let Some(entries) = self.entries.held()
            && let Some(at) = entries.at(id.0)
        {
            let former = std::mem::replace(&mut entries.list[at].qos, qos);
            entries.aside_bytes += entries::exchange_bytes(qos);
            entries.aside_bytes -= entries::exchange_bytes(former);
            self.count();
        }
    }

    /// Those of a lane that were to be sent again and whose place reading has passed, marked as
    /// sent: their records are gone.
    pub(super) fn take_passed(&mut self, lane: Lane, delivered: Offset) -> Vec<DeliveryId> {
        let at = |offset| {
            let at = self.entries.repeat_at(lane, offset);
            at.unwrap_or_else(|at| at)
        };
        let passed = at(Offset(0))..at(delivered);
        let Some(entries) = self.entries.held().filter(|_| !passed.is_empty()) else {
            return Vec::new();
        };
        let passed: Vec<u16> = entries.repeats.drain(passed).collect();
        let mark = |id: u16| {
            self.mark_sent(id);
            DeliveryId(id)
        };
        passed.into_iter().map(mark).collect()
    }

    /// Looks at a delivery.
    pub(super) fn find(&self, id: DeliveryId) -> Option<Sent> {
        let entry = self.entries.get(id.0)?;
        Some(Sent {
            source: self.entries.source(entry),
            qos: entry.qos,
            is_sent: entry.is_sent,
        })
    }

    /// Whether an offset is to be sent again on the present connection.
    pub(super) fn is_to_repeat(&self, lane: Lane, offset: Offset) -> bool {
        self.entries.repeat_at(lane, offset).is_ok()
    }

    /// Whether an offset has a name. Walks all deliveries.
    pub(super) fn holds(&self, lane: Lane, offset: Offset) -> bool {
        let mut entries = self.entries.list.iter();
        entries.any(|it| it.kind == Kind::Logged && (it.lane, it.offset) == (lane, offset))
    }

    /// Whether retained messages are unacknowledged.
    pub(super) fn has_kept(&self) -> bool {
        let mut sources = self.entries.sources.values();
        sources.any(|source| matches!(source, Source::Kept { .. }))
    }

    /// Walks the unacknowledged retained messages that were sent for a filter.
    pub(super) fn kept(&self, of: &str) -> impl Iterator<Item = (DeliveryId, &Record)> {
        let sources = self.entries.sources.iter();
        sources.filter_map(move |(id, source)| match source {
            Source::Kept { record, filter, .. } if **filter == *of => {
                Some((DeliveryId(*id), record))
            }
            _ => None,
        })
    }

    /// Bytes that the deliveries of all sessions take.
    pub(super) fn underway_bytes(&self) -> usize {
        self.tally.bytes()
    }

    /// Counts all unacknowledged deliveries.
    pub(super) fn len(&self) -> usize {
        self.entries.list.len()
    }

    /// Forgets what the connection that ended was sent.
    pub(super) fn forget_sent(&mut self) {
        self.sent_count = 0;
        self.is_repeating = false;
        if let Some(entries) = self.entries.held() {
            entries.repeats = VecDeque::new();
            entries.list.iter_mut().for_each(|it| it.is_sent = false);
        }
    }

    /// Finds the places of what is to be sent again on a new connection.
    pub(super) fn begin_repeats(&mut self) {
        if let Some(entries) = self.entries.held() {
            let logged = entries.list.iter().filter(|it| it.kind == Kind::Logged);
            let mut places: Vec<_> = logged.map(|it| (it.lane, it.offset, it.id)).collect();
            places.sort_unstable();
            entries.repeats = places.into_iter().map(|(.., id)| id).collect();
        }
    }

    /// Those that a restart forgot, marked as sent.
    pub(super) fn take_lost(&mut self) -> Vec<DeliveryId> {
        let entries = self.entries.list.iter();
        let lost = entries.filter(|it| it.kind == Kind::Lost);
        let lost: Vec<u16> = lost.map(|it| it.id).collect();
        let mark = |id| {
            self.mark_sent(id);
            DeliveryId(id)
        };
        lost.into_iter().map(mark).collect()
    }

    /// Gives back memory that nothing unacknowledged needs.
    pub(super) fn let_go(&mut self) {
        if let Some(entries) = self.entries.held() {
            if entries.list.capacity() > entries::KEPT_ROOM {
                let most = entries.list.len() + entries.list.len() / 4;
                entries.list.shrink_to(most);
            }
            if entries.list.is_empty() {
                entries.list = VecDeque::new();
            }
        }
        self.count();
        self.entries.let_go();
    }

    fn insert(&mut self, id: u16, source: Source, (qos, is_sent): (u8, bool)) {
        let entries = self.entries.make();
        entries.aside_bytes += source.held_bytes() + entries::exchange_bytes(qos);
        let (lane, offset, kind) = match source {
            Source::Logged(lane, offset) => (lane, offset, Kind::Logged),
            Source::Passing => (Lane::Normal, Offset(0), Kind::Passing),
            Source::Lost => (Lane::Normal, Offset(0), Kind::Lost),
            Source::Shared(..) | Source::Lent(..) | Source::Kept { .. } => {
                (Lane::Normal, Offset(0), Kind::Aside)
            }
        };
        if kind == Kind::Aside {
            entries.sources.insert(id, source);
        }
        entries.insert(Entry {
            offset,
            id,
            lane,
            kind,
            qos,
            is_sent,
        });
        self.count();
    }

    fn remove(&mut self, id: u16) -> Option<Sent> {
        let entries = self.entries.held()?;
        let at = entries.at(id)?;
        let Entry {
            lane, offset, kind, ..
        } = entries.list[at];
        if kind == Kind::Logged && !entries.repeats.is_empty() {
            entries.take_repeat(lane, offset);
        }
        let entry = entries.list.remove(at)?;
        let source = match kind {
            Kind::Aside => entries.sources.remove(&id).unwrap_or(Source::Lost),
            Kind::Logged | Kind::Passing | Kind::Lost => entries.source(&entry),
        };
        entries.give_back();
        entries.aside_bytes -= source.held_bytes() + entries::exchange_bytes(entry.qos);
        self.count();
        Some(Sent {
            source,
            qos: entry.qos,
            is_sent: entry.is_sent,
        })
    }

    /// Counts what there is now instead of what there was.
    fn count(&mut self) {
        if let Some(entries) = self.entries.held() {
            let now = entries.held_bytes();
            self.tally.exchange(entries.counted_bytes, now);
            entries.counted_bytes = now;
        }
    }

    fn mark_sent(&mut self, id: u16) -> u8 {
        let entries = self.entries.held();
        let sent = entries.and_then(|it| it.at(id).map(|at| &mut it.list[at]));
        let sent = sent.expect("every repeat has an entry");
        if !sent.is_sent {
            sent.is_sent = true;
            self.sent_count += 1;
        }
        sent.qos
    }

    fn unused(&mut self) -> u16 {
        assert!(
            self.len() < usize::from(u16::MAX),
            "the window is below 65,535"
        );
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            let is_highest = self.entries.list.back().is_none_or(|it| it.id < self.last);
            if is_highest || self.entries.at(self.last).is_none() {
                return self.last;
            }
        }
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        self.tally.exchange(self.entries.counted_bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::entries::{ENTRY_BYTES, EXCHANGE_BYTES};
    use super::*;

    /// [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
    #[test]
    fn a_name_in_use_is_not_given_again() {
        let mut inflight = Inflight::default();
        inflight.restore(Some(DeliveryId(2)), Source::Passing, 1);
        let names = [(); 3].map(|()| inflight.send(Source::Passing, 1).0);
        assert_eq!(names, [1, 3, 4]);
        assert!(inflight.settle(DeliveryId(3)).is_some());
        assert!(inflight.settle(DeliveryId(3)).is_none());
        inflight.last = u16::MAX;
        let names = [(); 2].map(|()| inflight.send(Source::Passing, 1).0);
        assert_eq!(names, [3, 5]);
        assert_eq!((inflight.sent_count, inflight.len()), (4, 5));
    }

    #[test]
    fn what_was_sent_is_repeated_once_by_its_place() {
        let mut inflight = Inflight::default();
        let places = [4, 5, 6].map(Offset);
        let names = places.map(|at| inflight.send(Source::Logged(Lane::Normal, at), 1));
        inflight.forget_sent();
        inflight.begin_repeats();
        assert!(inflight.is_to_repeat(Lane::Normal, places[1]));
        let again = inflight.repeat(Lane::Normal, places[1]);
        assert_eq!(again, Some((names[1], 1)));
        assert_eq!(inflight.repeat(Lane::Normal, places[1]), None);
        // Reading has passed the two others: the one below is gone, the one above is not.
        assert_eq!(inflight.take_passed(Lane::Normal, places[2]), [names[0]]);
        assert!(inflight.is_to_repeat(Lane::Normal, places[2]));
        assert_eq!(inflight.sent_count, 2);
    }

    #[test]
    fn what_all_have_under_way_is_counted_and_given_back() {
        let tally = Tally::default();
        let mut first = Inflight::counted_by(tally.clone());
        let mut second = Inflight::counted_by(tally.clone());
        let names = [0, 1, 2, 3, 4].map(|at| {
            second.send(Source::Logged(Lane::Normal, Offset(at)), 1);
            first.send(Source::Logged(Lane::Normal, Offset(at)), 1)
        });
        assert_eq!(tally.bytes(), 2 * 8 * ENTRY_BYTES);
        let once = tally.bytes();
        let exactly = first.send(Source::Passing, 2);
        assert_eq!(tally.bytes(), once + EXCHANGE_BYTES);
        first.settle(exactly);
        assert_eq!(tally.bytes(), once);
        drop(second);
        assert_eq!(tally.bytes(), once / 2);
        names
            .into_iter()
            .for_each(|id| assert!(first.settle(id).is_some()));
        first.let_go();
        assert_eq!(tally.bytes(), 0);
    }

    #[test]
    fn many_that_are_settled_in_any_order_are_found_by_their_names() {
        let mut inflight = Inflight::default();
        inflight.last = u16::MAX - 50;
        let names: Vec<_> = (0..100)
            .map(|at| inflight.send(Source::Logged(Lane::Urgent, Offset(at)), 1))
            .collect();
        for (at, id) in names.iter().enumerate().filter(|(at, _)| at % 3 == 1) {
            let sent = inflight.settle(*id).expect("it was sent");
            let place = Offset(at as u64);
            assert!(matches!(sent.source, Source::Logged(Lane::Urgent, it) if it == place));
        }
        inflight.forget_sent();
        inflight.begin_repeats();
        for (at, id) in names.iter().enumerate() {
            let again = inflight.repeat(Lane::Urgent, Offset(at as u64));
            assert_eq!(again, (at % 3 != 1).then_some((*id, 1)));
        }
        assert!(inflight.is_all_sent());
    }
}
