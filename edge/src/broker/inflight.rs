//! What a session was sent with QoS over 0 and has not acknowledged, by the names that survive its
//! connections. Bounded by the window, and small: a record is found again by its place.

use std::collections::BTreeMap;

use sync::{Lane, Offset, Record};

use super::event::{DeliveryId, GroupId};
use crate::rare::{Empty, Rare};

/// Names of deliveries by their places.
type Repeats = BTreeMap<(Lane, Offset), u16>;

/// Deliveries by their names.
type Entries = BTreeMap<u16, Sent>;

impl Empty for Entries {
    const EMPTY: &'static Self = &Self::new();

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Empty for Repeats {
    const EMPTY: &'static Self = &Self::new();

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// Deliveries with QoS over 0 that are not acknowledged, by their names. Every pending offset of
/// the cursors has an entry here.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    entries: Rare<Entries>,
    /// The name given last.
    last: u16,
    /// How many were sent on the present connection.
    pub(super) sent_count: u16,
    /// Whether the session's read is for a delivery of a group that is to be sent again.
    pub(super) is_repeating: bool,
    /// Places of those that are to be sent again on the present connection.
    repeats: Rare<Repeats>,
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
    /// Names a new delivery that is sent now.
    ///
    /// # Panics
    /// When 65,535 are unacknowledged; the window is smaller.
    pub(super) fn send(&mut self, source: Source, qos: u8) -> DeliveryId {
        let id = self.unused();
        self.sent_count += 1;
        self.entries.make().insert(
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
        self.entries.make().insert(
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
        let sent = self.entries.held()?.remove(&id.0)?;
        if sent.is_sent {
            self.sent_count -= 1;
        } else if let Source::Logged(lane, offset) = sent.source {
            self.take_repeat(lane, offset);
        }
        Some(sent)
    }

    /// The delivery of an offset that is to be sent again, marked as sent.
    pub(super) fn repeat(&mut self, lane: Lane, offset: Offset) -> Option<(DeliveryId, u8)> {
        let id = self.take_repeat(lane, offset)?;
        Some((DeliveryId(id), self.mark_sent(id)))
    }

    /// The next retained message that is to be sent again, marked as sent.
    pub(super) fn repeat_kept(&mut self) -> Option<Repeat> {
        // A session is asked each time it has room, and has nothing to send again nearly always.
        if self.is_all_sent() {
            return None;
        }
        let (id, record, identifier) =
            self.entries
                .iter()
                .find_map(|(id, sent)| match &sent.source {
                    Source::Kept {
                        record, identifier, ..
                    } if !sent.is_sent => Some((*id, record.clone(), *identifier)),
                    _ => None,
                })?;
        Some(Repeat {
            id: DeliveryId(id),
            qos: self.mark_sent(id),
            record,
            identifier,
        })
    }

    /// The first delivery of a group that is to be sent again on the present connection.
    pub(super) fn next_shared(&self) -> Option<(DeliveryId, Lane, Offset)> {
        let unsent = self.entries.iter().filter(|(_, sent)| !sent.is_sent);
        let shared = unsent.filter_map(|(id, sent)| match sent.source {
            Source::Shared(_, lane, offset) => Some((lane, offset, *id)),
            _ => None,
        });
        let (lane, offset, id) = shared.min()?;
        Some((DeliveryId(id), lane, offset))
    }

    /// Marks a delivery as sent and gives its QoS; `None` for one that is settled or sent already.
    pub(super) fn repeat_shared(&mut self, id: DeliveryId) -> Option<u8> {
        self.entries.get(&id.0).filter(|sent| !sent.is_sent)?;
        Some(self.mark_sent(id.0))
    }

    /// Walks the deliveries of groups.
    pub(super) fn shared(&self) -> impl Iterator<Item = Shared> {
        self.entries
            .iter()
            .filter_map(|(id, sent)| match sent.source {
                Source::Shared(group, lane, offset) => Some(Shared {
                    delivery: DeliveryId(*id),
                    qos: sent.qos,
                    group,
                    lane,
                    offset,
                }),
                _ => None,
            })
    }

    /// Walks what groups have lent.
    pub(super) fn lent(&self) -> impl Iterator<Item = (GroupId, &Record)> {
        self.entries.values().filter_map(|sent| match &sent.source {
            Source::Lent(group, record) => Some((*group, record)),
            _ => None,
        })
    }

    /// Whether everything that earlier connections left was sent again.
    pub(super) fn is_all_sent(&self) -> bool {
        self.entries.len() == usize::from(self.sent_count)
    }

    /// Notes which QoS a delivery was given that a restart forgot.
    pub(super) fn set_qos(&mut self, id: DeliveryId, qos: u8) {
        if let Some(sent) = self
            .entries
            .held()
            .and_then(|entries| entries.get_mut(&id.0))
        {
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
            .any(|sent| matches!(sent.source, Source::Kept { .. }))
    }

    /// Walks the unacknowledged retained messages that were sent for a filter.
    pub(super) fn kept(&self, of: &str) -> impl Iterator<Item = (DeliveryId, &Record)> {
        self.entries
            .iter()
            .filter_map(move |(id, sent)| match &sent.source {
                Source::Kept { record, filter, .. } if **filter == *of => {
                    Some((DeliveryId(*id), record))
                }
                _ => None,
            })
    }

    /// Counts all unacknowledged deliveries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what the connection that ended was sent.
    pub(super) fn forget_sent(&mut self) {
        self.sent_count = 0;
        self.is_repeating = false;
        self.repeats = Rare::default();
        let entries = self.entries.held().into_iter();
        entries
            .flat_map(Entries::values_mut)
            .for_each(|sent| sent.is_sent = false);
    }

    /// Finds the places of what is to be sent again on a new connection.
    pub(super) fn begin_repeats(&mut self) {
        for (id, sent) in &*self.entries {
            if let Source::Logged(lane, offset) = sent.source {
                self.repeats.make().insert((lane, offset), *id);
            }
        }
    }

    /// Those that a restart forgot, marked as sent.
    pub(super) fn take_lost(&mut self) -> Vec<DeliveryId> {
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

    /// Gives back memory that nothing unacknowledged needs.
    pub(super) fn let_go(&mut self) {
        self.entries.let_go();
    }

    fn take_repeat(&mut self, lane: Lane, offset: Offset) -> Option<u16> {
        let id = self.repeats.held()?.remove(&(lane, offset));
        self.repeats.let_go();
        id
    }

    fn mark_sent(&mut self, id: u16) -> u8 {
        let sent = self.entries.held().and_then(|entries| entries.get_mut(&id));
        let sent = sent.expect("every repeat has an entry");
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

#[cfg(test)]
mod tests {
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
}
