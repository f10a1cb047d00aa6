//! Subscribing and unsubscribing: effective at once, answered when durable.

use sync::{Change, Table};
use wire::topic::TopicFilter;

use super::Broker;
use super::commit::Waiting;
use super::event::{
    ConnectionId, Echo, Event, RetainAs, RetainHandling, SessionId, SubscribeFilter, Token, Urgency,
};
use super::outcome::{Refusal, Unsubscription};
use super::session::Walk;
use super::stored::{Subscription, member_key};
use super::subscriptions::Entry;

/// A subscribe whose commit is not answered yet.
#[derive(Debug)]
pub(super) struct SubscribeWaiting {
    session: SessionId,
    connection: ConnectionId,
    token: Token,
    codes: Vec<Result<u8, Refusal>>,
    /// Filters that were not there before.
    added: Vec<String>,
    /// Filters whose retained messages are to be sent.
    walks: Vec<String>,
}

impl Broker {
    pub(super) fn handle_subscribe(
        &mut self,
        connection: ConnectionId,
        token: Token,
        filters: &[SubscribeFilter],
    ) {
        let Some(session) = self.registry.session_of(connection) else {
            return;
        };
        let mut waiting = SubscribeWaiting {
            session,
            connection,
            token,
            codes: Vec::with_capacity(filters.len()),
            added: Vec::new(),
            walks: Vec::new(),
        };
        let mut changes = Vec::new();
        for filter in filters {
            let code = self.subscribe(filter, &mut waiting, &mut changes);
            waiting.codes.push(code);
        }
        if changes.is_empty() {
            self.subscribe_committed(waiting);
        } else {
            self.commit(
                changes,
                Urgency::Immediate,
                Waiting::Subscribe(Box::new(waiting)),
            );
        }
    }

    fn subscribe(
        &mut self,
        wanted: &SubscribeFilter,
        waiting: &mut SubscribeWaiting,
        changes: &mut Vec<Change>,
    ) -> Result<u8, Refusal> {
        let filter = wanted.filter.as_str();
        let session = self
            .registry
            .get_mut(waiting.session)
            .ok_or(Refusal::SessionGone)?;
        // An invalid filter never gets here: the view decoded it.
        let parsed = TopicFilter::new(filter).map_err(|_| Refusal::FilterLevels)?;
        if parsed.is_shared() {
            return Err(Refusal::SharedSubscription);
        }
        if parsed.levels().count() > self.settings.filter_level_maximum {
            return Err(Refusal::FilterLevels);
        }
        let former = session.subscriptions.get(filter).copied();
        let is_full = session.subscriptions.len() >= self.settings.subscription_count_maximum;
        if is_full && former.is_none() {
            return Err(Refusal::Subscriptions);
        }

        let is_walking = match wanted.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::WhenNew => former.is_none(),
            RetainHandling::Never => false,
        };
        let subscription = Subscription {
            qos: wanted.qos,
            identifier: wanted.identifier,
            is_no_local: wanted.echo == Echo::Suppressed,
            is_retain_as_published: wanted.retain_as == RetainAs::Published,
            // [MQTT-3.8.4-4]: a replaced subscription goes on where it was.
            begin: former
                .filter(|former| former.qos > 0)
                .map_or(self.head, |it| it.begin),
            is_walking: is_walking || former.is_some_and(|former| former.is_walking),
        };
        session.subscriptions.insert(filter.into(), subscription);
        self.subscriptions
            .insert(filter, subscription.entry(waiting.session.index));
        if former.is_none() {
            waiting.added.push(filter.to_owned());
        }
        if is_walking {
            waiting.walks.push(filter.to_owned());
        }
        if session.is_stored {
            changes.push(Change::Put {
                table: Table::Subscriptions,
                key: member_key(&session.client_identifier, filter.as_bytes()),
                value: subscription.encode(self.epoch),
            });
        }
        Ok(wanted.qos)
    }

    pub(super) fn subscribe_committed(&mut self, waiting: SubscribeWaiting) {
        let SubscribeWaiting {
            session: id,
            connection,
            token,
            codes,
            walks,
            ..
        } = waiting;
        self.tell(connection, Event::Subscribed { token, codes });
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        for filter in walks {
            session.walks.retain(|walk| *walk.filter != *filter);
            session.walks.push_back(Walk {
                filter: filter.into(),
                after: None,
            });
        }
        self.wake(id);
    }

    pub(super) fn subscribe_failed(&mut self, waiting: SubscribeWaiting, refusal: Refusal) {
        let SubscribeWaiting {
            session: id,
            connection,
            token,
            codes,
            added,
            ..
        } = waiting;
        if let Some(session) = self.registry.get_mut(id) {
            for filter in added {
                session.subscriptions.remove(filter.as_str());
                self.subscriptions.remove(&filter, id.index);
            }
        }
        let codes = codes
            .into_iter()
            .map(|code| code.and(Err(refusal)))
            .collect();
        self.tell(connection, Event::Subscribed { token, codes });
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        connection: ConnectionId,
        token: Token,
        filters: &[String],
    ) {
        let Some(id) = self.registry.session_of(connection) else {
            return;
        };
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        let (mut codes, mut changes) = (Vec::with_capacity(filters.len()), Vec::new());
        for filter in filters {
            if session.subscriptions.remove(filter.as_str()).is_none() {
                codes.push(Ok(Unsubscription::NotFound));
                continue;
            }
            codes.push(Ok(Unsubscription::Removed));
            self.subscriptions.remove(filter, id.index);
            session.walks.retain(|walk| *walk.filter != **filter);
            if session.is_stored {
                let key = member_key(&session.client_identifier, filter.as_bytes());
                changes.push(Change::Delete {
                    table: Table::Subscriptions,
                    key,
                });
            }
        }
        if changes.is_empty() {
            self.tell(connection, Event::Unsubscribed { token, codes });
        } else {
            let waiting = Waiting::Unsubscribe {
                connection,
                token,
                codes,
            };
            self.commit(changes, Urgency::Immediate, waiting);
        }
    }
}

impl Subscription {
    /// The entry of the tree that finds this subscription.
    pub(super) fn entry(&self, session: u32) -> Entry {
        Entry {
            session,
            identifier: self.identifier.unwrap_or(0),
            qos: self.qos,
            is_no_local: self.is_no_local,
            is_retain_as_published: self.is_retain_as_published,
        }
    }
}
