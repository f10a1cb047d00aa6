//! The subscriptions of one connection: which of them the broker knows by which identifier.
//!
//! The broker has one subscription a filter; a client may subscribe to the same filter again and
//! again, each time under another subscription id. All of a filter's get each message; of one in a
//! queue group they take turns, since together they are one member of the group.

use std::num::NonZeroU32;

use wire::nats::Subscribe;
use wire::subject::{Subject, SubjectFilter};
use wire::topic::TopicFilter;

/// All subscriptions of a connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// The filter of each, in the order of the subscription ids. Rows instead of maps, since most
    /// clients have few.
    sids: Vec<(Box<str>, u32)>,
    /// What was asked for, in the order of the identifiers that the broker gives back with each
    /// message.
    filters: Vec<(u32, Filter)>,
    last_identifier: u32,
    held_bytes: usize,
}

#[derive(Debug)]
struct Filter {
    subject: Box<str>,
    queue_group: Option<Box<str>>,
    /// At least one.
    members: Vec<Member>,
    /// The member of a queue group whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Member {
    sid: Box<str>,
    /// It ends with so many messages.
    maximum: Option<NonZeroU32>,
    delivered_count: u32,
}

/// What became of a new subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It asks for what another one asked for.
    Member,
    /// It is the first of its filter: the broker has to be told.
    Filter(u32),
}

/// What a subscription takes beside its texts, each counted as often as it is kept: entries of
/// three lists with room to grow.
const ENTRY_BYTES: usize = 200;

impl Subscriptions {
    /// Adds a subscription whose id is new.
    pub(super) fn add(&mut self, subscribe: &Subscribe<'_>) -> Added {
        let known = self.filters.iter().find(|(_, filter)| {
            *filter.subject == *subscribe.subject
                && filter.queue_group.as_deref() == subscribe.queue_group
        });
        let known = known.map(|(identifier, _)| *identifier);
        let identifier = known.unwrap_or_else(|| self.next_identifier());
        self.held_bytes += Self::added_bytes(subscribe);
        if let Err(at) = self.place_of_sid(subscribe.sid) {
            insert(&mut self.sids, at, (subscribe.sid.into(), identifier));
        }
        let member = Member {
            sid: subscribe.sid.into(),
            maximum: None,
            delivered_count: 0,
        };
        match self.place_of(identifier) {
            Ok(at) => {
                self.filters[at].1.members.push(member);
                Added::Member
            }
            Err(at) => {
                let filter = Filter {
                    subject: subscribe.subject.into(),
                    queue_group: subscribe.queue_group.map(Into::into),
                    members: vec![member],
                    turn: 0,
                };
                insert(&mut self.filters, at, (identifier, filter));
                Added::Filter(identifier)
            }
        }
    }

    /// Ends a subscription after so many messages, counted from its beginning; at once without a
    /// number. Gives the topic filter that nobody needs any more.
    pub(super) fn limit(&mut self, sid: &str, maximum: Option<NonZeroU32>) -> Option<String> {
        let identifier = self.sids[self.place_of_sid(sid).ok()?].1;
        let filter = self.filter_mut(identifier)?;
        let member = filter.members.iter_mut().find(|it| *it.sid == *sid)?;
        // Without a number none is left to come.
        member.maximum = maximum.or(NonZeroU32::new(1));
        if maximum.is_none() {
            member.delivered_count = member.delivered_count.max(1);
        }
        self.drop_finished(identifier)
    }

    /// Writes a message to those of a filter whose turn it is: all, or one of a queue group. Gives
    /// the topic filter that nobody needs any more.
    ///
    /// # Errors
    /// When `write` fails; whoever comes after that gets nothing.
    pub(super) fn deliver<E>(
        &mut self,
        identifier: u32,
        mut write: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<Option<String>, E> {
        let Some(filter) = self.filter_mut(identifier) else {
            // Unsubscribed while the message was on its way.
            return Ok(None);
        };
        for member in filter.whose_turn() {
            write(&member.sid)?;
            member.delivered_count = member.delivered_count.saturating_add(1);
        }
        match filter.members.iter().any(Member::is_finished) {
            true => Ok(self.drop_finished(identifier)),
            false => Ok(None),
        }
    }

    /// Forgets a filter and all who asked for it; gives its subject and queue group.
    pub(super) fn remove(&mut self, identifier: u32) -> Option<(Box<str>, Option<Box<str>>)> {
        let at = self.place_of(identifier).ok()?;
        let (_, filter) = self.filters.remove(at);
        for member in &filter.members {
            self.forget(&member.sid, filter.held_bytes(member));
        }
        Some((filter.subject, filter.queue_group))
    }

    /// Whether there is a subscription with this id.
    pub(super) fn holds(&self, sid: &str) -> bool {
        self.place_of_sid(sid).is_ok()
    }

    /// Finds a filter that asks for a subject, in no queue group.
    pub(super) fn find(&self, subject: Subject<'_>) -> Option<u32> {
        let asks = |filter: &Filter| {
            let wanted = SubjectFilter::new(&filter.subject);
            filter.queue_group.is_none() && wanted.is_ok_and(|wanted| wanted.matches(subject))
        };
        let found = self.filters.iter().find(|(_, filter)| asks(filter));
        found.map(|(identifier, _)| *identifier)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sids.len()
    }

    /// What they take, in bytes.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The most that another one takes, in bytes.
    pub(super) fn added_bytes(subscribe: &Subscribe<'_>) -> usize {
        let queue_group = subscribe.queue_group.map_or(0, str::len);
        ENTRY_BYTES + subscribe.subject.len() + queue_group + 2 * subscribe.sid.len()
    }

    /// Drops the members of a filter that have got all they wanted, and the filter with the last.
    fn drop_finished(&mut self, identifier: u32) -> Option<String> {
        let filter = self.filter_mut(identifier)?;
        let finished = filter.members.extract_if(.., |member| member.is_finished());
        let finished: Vec<Member> = finished.collect();
        let is_over = filter.members.is_empty();
        let sizes: Vec<usize> = finished.iter().map(|it| filter.held_bytes(it)).collect();
        for (member, bytes) in finished.iter().zip(sizes) {
            self.forget(&member.sid, bytes);
        }
        if !is_over {
            return None;
        }
        let (subject, queue_group) = self.remove(identifier)?;
        topic_filter(&subject, queue_group.as_deref())
    }

    /// Not one that was used lately: messages for it may still be on their way.
    fn next_identifier(&mut self) -> u32 {
        loop {
            self.last_identifier = self.last_identifier.wrapping_add(1);
            if self.last_identifier > 0 && self.place_of(self.last_identifier).is_err() {
                return self.last_identifier;
            }
        }
    }

    fn filter_mut(&mut self, identifier: u32) -> Option<&mut Filter> {
        let at = self.place_of(identifier).ok()?;
        Some(&mut self.filters[at].1)
    }

    /// Where a filter is, or would be.
    fn place_of(&self, identifier: u32) -> Result<usize, usize> {
        let filters = &self.filters;
        filters.binary_search_by_key(&identifier, |(identifier, _)| *identifier)
    }

    /// Where a subscription id is, or would be.
    fn place_of_sid(&self, sid: &str) -> Result<usize, usize> {
        self.sids.binary_search_by(|(found, _)| (**found).cmp(sid))
    }

    fn forget(&mut self, sid: &str, held_bytes: usize) {
        if let Ok(at) = self.place_of_sid(sid) {
            self.sids.remove(at);
        }
        self.held_bytes -= held_bytes;
    }
}

impl Filter {
    fn whose_turn(&mut self) -> &mut [Member] {
        if self.queue_group.is_none() {
            return &mut self.members;
        }
        let turn = self.turn % self.members.len();
        self.turn = turn + 1;
        &mut self.members[turn..=turn]
    }

    /// What a member takes, in bytes.
    fn held_bytes(&self, member: &Member) -> usize {
        Subscriptions::added_bytes(&Subscribe {
            subject: &self.subject,
            queue_group: self.queue_group.as_deref(),
            sid: &member.sid,
        })
    }
}

impl Member {
    fn is_finished(&self) -> bool {
        self.maximum
            .is_some_and(|maximum| self.delivered_count >= maximum.get())
    }
}

/// Inserts into a row that most have for one.
fn insert<T>(row: &mut Vec<T>, at: usize, entry: T) {
    if row.is_empty() {
        row.reserve_exact(1);
    }
    row.insert(at, entry);
}

/// The topic filter that asks for exactly what a subject filter does, apart from names that begin
/// with `$`; `None` if there is none.
pub(super) fn topic_filter(subject: &str, queue_group: Option<&str>) -> Option<String> {
    let mut text = String::new();
    let filter = SubjectFilter::new(subject).ok()?;
    filter.to_topic_filter(&mut text).ok()?;
    // `a/#` asks for `a` as well, which `a.>` does not.
    if text.ends_with("/#") {
        text.truncate(text.len() - 1);
        text.push_str("+/#");
    }
    if let Some(queue_group) = queue_group {
        // What begins the filter, for a shared subscription.
        if queue_group.contains('/') {
            return None;
        }
        text = format!("$share/{queue_group}/{text}");
    }
    TopicFilter::new(&text).ok()?;
    Some(text)
}
