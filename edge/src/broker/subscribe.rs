//! Subscribing and unsubscribing: effective at once, answered when durable.

use std::collections::{BTreeMap, BTreeSet};

use sync::Change;
use wire::topic::TopicFilter;

use super::Broker;
use super::commit::Waiting;
use super::event::{
    ConnectionId, Echo, Event, RetainAs, RetainHandling, SessionId, SubscribeFilter, Token, Turns,
    Urgency,
};
use super::group::is_shared;
use super::outcome::{Refusal, Unsubscription};
use super::retained::Moment;
use super::session::{Member, Session, Walk};
use super::stored::Subscription;
use super::subscriptions::{Entry, Subscriptions};

/// A subscribe whose commit is not answered yet.
#[derive(Debug)]
pub(super) struct SubscribeWaiting {
    session: SessionId,
    connection: ConnectionId,
    token: Token,
    codes: Vec<Result<u8, Refusal>>,
    /// What is to be stored, by filter.
    replaced: Box<[(Box<str>, Replaced)]>,
    /// Filters whose retained messages are to be sent, in order.
    walks: Box<[Box<str>]>,
    /// When they were asked for.
    since: Moment,
}

/// What a packet asks for, while it is gone through. Waiting it is smaller.
#[derive(Debug, Default)]
struct Wishes {
    replaced: BTreeMap<Box<str>, Replaced>,
    walks: BTreeSet<Box<str>>,
}

/// A filter's subscription from now on, and the one before.
#[derive(Debug)]
struct Replaced {
    subscription: Subscription,
    former: Option<Subscription>,
}

/// An unsubscribe whose commit is not answered yet.
#[derive(Debug)]
pub(super) struct UnsubscribeWaiting {
    session: SessionId,
    connection: ConnectionId,
    token: Token,
    codes: Vec<Result<Unsubscription, Refusal>>,
    removed: Vec<Box<str>>,
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
        let mut wishes = Wishes::default();
        let codes = filters.iter();
        let codes = codes.map(|filter| self.subscribe(session, filter, &mut wishes));
        let waiting = SubscribeWaiting {
            session,
            connection,
            token,
            codes: codes.collect(),
            replaced: wishes.replaced.into_iter().collect(),
            walks: wishes.walks.into_iter().collect(),
            since: self.retained.moment(self.now.wall),
        };
        // However often a packet repeats a filter, it is one row.
        let mut changes = Vec::new();
        for (filter, it) in &waiting.replaced {
            changes.extend(self.put_subscription(session, filter, &it.subscription));
            if let Some(group) = self.groups.find(filter) {
                changes.extend(self.put_group(group));
            }
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
        id: SessionId,
        wanted: &SubscribeFilter,
        wishes: &mut Wishes,
    ) -> Result<u8, Refusal> {
        let filter = wanted.filter.as_str();
        let session = self.registry.get(id).ok_or(Refusal::SessionGone)?;
        let former = session.subscriptions.get(filter).copied();
        self.admit_filter(session, filter, former.is_none())?;
        let is_walking = match wanted.retain_handling {
            // Retained messages are not for groups.
            _ if is_shared(filter) => false,
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
        if session.is_stored {
            let new = Replaced {
                subscription,
                former,
            };
            let replaced = wishes.replaced.entry(filter.into()).or_insert(new);
            replaced.subscription = subscription;
        }
        if is_walking {
            wishes.walks.insert(filter.into());
            let session = self.registry.get_mut(id);
            if let Some(aside) = session.and_then(|session| session.aside.held()) {
                aside.walked.retain(|walked| **walked != *filter);
            }
        }
        self.add_subscription(id, filter, subscription);
        if let (Turns::UnderName, Some(group)) = (wanted.turns, self.groups.find(filter)) {
            self.join_queue(id, group);
        }
        Ok(wanted.qos)
    }

    /// Checks a filter against the limits.
    fn admit_filter(&self, session: &Session, filter: &str, is_new: bool) -> Result<(), Refusal> {
        // An invalid filter never gets here: the view decoded it.
        let parsed = TopicFilter::new(filter).map_err(|_| Refusal::Filter)?;
        let settings = &self.settings;
        let has_more_levels = parsed.levels().count() > settings.filter_level_maximum;
        let name_bytes = parsed.group().map_or(0, str::len);
        let has_longer_name = name_bytes > settings.share_name_bytes_maximum;
        if filter.len() > settings.filter_bytes_maximum || has_more_levels || has_longer_name {
            return Err(Refusal::FilterTooLarge);
        }
        let is_new_group = parsed.is_shared() && self.groups.find(filter).is_none();
        if is_new_group && self.groups.len() >= settings.group_count_maximum {
            return Err(Refusal::Groups);
        }
        if is_new && session.subscriptions.len() >= settings.subscription_count_maximum {
            return Err(Refusal::Subscriptions);
        }
        let mut added = Subscriptions::added_bytes(parsed) + Subscription::held_bytes(filter);
        if is_new_group {
            added += self.groups.added_bytes(filter);
        }
        if is_new && self.held_bytes() + added > settings.session_bytes_maximum {
            return Err(Refusal::SessionBytes);
        }
        Ok(())
    }

    /// The change that stores a subscription.
    fn put_subscription(
        &self,
        id: SessionId,
        filter: &str,
        subscription: &Subscription,
    ) -> Option<Change> {
        let (table, key) = self.registry.get(id)?.row(&Member::Filter(filter.into()));
        let value = match subscription.is_walking {
            true => subscription.encode_walk(self.epoch, None, self.now.wall),
            false => subscription.encode(self.epoch),
        };
        Some(Change::Put { table, key, value })
    }

    pub(super) fn add_subscription(
        &mut self,
        id: SessionId,
        filter: &str,
        subscription: Subscription,
    ) {
        self.registry.subscribe(id, filter, subscription);
        if is_shared(filter) {
            self.join_group(id, filter, &subscription);
        } else {
            let entry = subscription.entry(id.index);
            self.subscriptions.insert(filter, entry);
        }
    }

    /// False when there was none.
    fn remove_subscription(&mut self, id: SessionId, filter: &str) -> bool {
        let is_there = self.registry.unsubscribe(id, filter).is_some();
        if is_there && is_shared(filter) {
            self.leave_group(id, filter);
        } else if is_there {
            self.subscriptions.remove(filter, id.index);
        }
        is_there
    }

    pub(super) fn subscribe_committed(&mut self, waiting: SubscribeWaiting) {
        let SubscribeWaiting {
            session: id,
            connection,
            token,
            codes,
            walks,
            since,
            ..
        } = waiting;
        self.tell(connection, Event::Subscribed { token, codes });
        let Some(session) = self.registry.get_mut(id) else {
            return;
        };
        if let Some(aside) = session.aside.held() {
            let is_new = |walk: &Walk| walks.binary_search(&walk.filter).is_ok();
            aside.walks.retain(|walk| !is_new(walk));
        }
        for filter in walks {
            session.aside.make().walks.push_back(Walk {
                filter,
                after: None,
                since,
            });
        }
        self.wake(id);
    }

    /// Goes back to the subscriptions before, unless they were changed again meanwhile.
    pub(super) fn subscribe_failed(&mut self, waiting: SubscribeWaiting, refusal: Refusal) {
        let id = waiting.session;
        for (filter, replaced) in waiting.replaced {
            let session = self.registry.get(id);
            let found = session.and_then(|session| session.subscriptions.get(&filter));
            if found == Some(&replaced.subscription) {
                match replaced.former {
                    Some(former) => self.add_subscription(id, &filter, former),
                    None => {
                        self.remove_subscription(id, &filter);
                    }
                }
            }
            self.note_unsaved_member(id, Member::Filter(filter));
        }
        let (connection, token) = (waiting.connection, waiting.token);
        let codes = waiting.codes.into_iter();
        let codes = codes.map(|code| code.and(Err(refusal))).collect();
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
        let mut waiting = UnsubscribeWaiting {
            session: id,
            connection,
            token,
            codes: Vec::with_capacity(filters.len()),
            removed: Vec::new(),
        };
        let mut changes = Vec::new();
        for filter in filters {
            if !self.remove_subscription(id, filter) {
                waiting.codes.push(Ok(Unsubscription::NotFound));
                continue;
            }
            waiting.codes.push(Ok(Unsubscription::Removed));
            let Some(session) = self.registry.get_mut(id) else {
                return;
            };
            if let Some(aside) = session.aside.held() {
                aside.walks.retain(|walk| *walk.filter != **filter);
            }
            if session.is_stored {
                let member = Member::Filter(filter.as_str().into());
                let (table, key) = session.row(&member);
                changes.push(Change::Delete { table, key });
                waiting.removed.push(filter.as_str().into());
            }
        }
        if changes.is_empty() {
            self.unsubscribe_committed(waiting);
        } else {
            let waiting = Waiting::Unsubscribe(Box::new(waiting));
            self.commit(changes, Urgency::Immediate, waiting);
        }
    }

    pub(super) fn unsubscribe_committed(&mut self, waiting: UnsubscribeWaiting) {
        let (token, codes) = (waiting.token, waiting.codes);
        self.tell(waiting.connection, Event::Unsubscribed { token, codes });
    }

    /// The subscriptions stay removed, and are removed from the table later.
    pub(super) fn unsubscribe_failed(&mut self, waiting: UnsubscribeWaiting, refusal: Refusal) {
        for filter in waiting.removed {
            self.note_unsaved_member(waiting.session, Member::Filter(filter));
        }
        let token = waiting.token;
        let codes = waiting.codes.iter().map(|_| Err(refusal)).collect();
        self.tell(waiting.connection, Event::Unsubscribed { token, codes });
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
