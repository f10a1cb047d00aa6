//! How far the retained messages of subscriptions were sent, as the table knows it.
//!
//! A subscription's row says that its retained messages are still to be sent until the sweep after
//! the last acknowledgement; a restart before begins again. For QoS 2 that would be a second time,
//! so every stored step of an exchange takes along how far it has come: what the table knows to be
//! with the client is never begun again, whichever way it came. At QoS 1 it is left to the sweep.

use sync::{Change, WallTime};

use super::Broker;
use super::event::{DeliveryId, SessionId};
use super::inflight::Source;
use super::session::{Member, Session, Walk};

impl Broker {
    /// Adds the rows that keep what has come of the retained messages from being sent again, beside
    /// the note of an exchange; `begun` is what it is about when the note is its first. Exchanges
    /// begin in the order of topics, so the table never goes back.
    pub(super) fn put_walks(
        &mut self,
        id: SessionId,
        begun: Option<&Source>,
        changes: &mut Vec<Change>,
    ) {
        let Some(session) = self.registry.get(id).filter(|it| it.is_stored) else {
            return;
        };
        let mut put = |filter: &str, progress: Progress| {
            let Some(subscription) = session.subscriptions.get(filter) else {
                return;
            };
            let (table, key) = session.row(&Member::Filter(filter.into()));
            let value = match progress {
                Progress::Until(topic, since) => {
                    subscription.encode_walk(self.epoch, Some(topic), since)
                }
                Progress::Done => subscription.walked().encode(self.epoch),
            };
            changes.push(Change::Put { table, key, value });
        };
        for filter in &session.aside.walked {
            if session.first_open(filter).is_none() {
                put(filter, Progress::Done);
            }
        }
        if let Some(Source::Kept { record, filter, .. }) = begun {
            let topic = record.topic();
            let is_first = session.first_open(filter).is_none_or(|open| topic < open);
            let has_passed =
                |walk: &Walk| walk.filter == *filter && walk.after.as_deref() >= Some(topic);
            let walk = session.aside.walks.iter().find(|walk| has_passed(walk));
            if let Some(walk) = walk.filter(|_| is_first) {
                put(filter, Progress::Until(topic, walk.since.time()));
            }
        }
    }

    /// Notes that the retained messages of subscriptions were sent, once all are acknowledged.
    pub(super) fn note_walked(&mut self, id: SessionId) {
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let Some(aside) = session.aside.held() else {
            return;
        };
        if aside.walked.is_empty() || session.inflight.has_kept() {
            return;
        }
        for filter in std::mem::take(&mut aside.walked) {
            let Some(subscription) = session.subscriptions.get_mut(&filter) else {
                continue;
            };
            if aside.walks.iter().any(|walk| walk.filter == filter) {
                continue;
            }
            subscription.is_walking = false;
            aside.unsaved.insert(Member::Filter(filter));
        }
    }
}

/// How far the retained messages of one subscription were sent and stored as received.
enum Progress<'a> {
    /// Up to this topic, of those that came no later than this.
    Until(&'a str, WallTime),
    /// All of them.
    Done,
}

impl Session {
    /// The first topic of the retained messages, sent for a filter, that a restart would forget.
    fn first_open(&self, filter: &str) -> Option<&str> {
        let notes = &self.aside.notes;
        let is_noted = |id: DeliveryId| notes.iter().any(|(_, note)| note.delivery == Some(id));
        let open = self.inflight.kept(filter).filter(|(id, _)| !is_noted(*id));
        open.map(|(_, record)| record.topic()).min()
    }
}
