//! Fetching: finding where to begin, keeping a group's position, reading, and waiting.
//!
//! ```text
//! Seek    where does it begin?        a group that has a position begins there
//! commit  the position of a group     when it is new or forced
//! Read    messages, most important first
//! wait    for the first that arrives, until the deadline; then Read again
//! ```

use std::sync::Arc;

use sync::Instant;
use wire::mq9::{Deliver, Failure, Fetch, PayloadEncoding, Reply};

use super::Office;
use super::commit::{Draft, Work};
use super::event::Ticket;
use super::groups::{GroupName, Position};
use super::mailbox::within;
use super::read::{Read, Reading};
use super::seek::{Seek, Sought};
use super::shelf::{Shelf, Unreadable};
use super::stored::Number;
use super::turn::Turn;

/// A fetch on its way.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) ticket: Ticket,
    pub(super) mailbox: Number,
    address: Arc<str>,
    group: Option<Arc<str>>,
    is_forced: bool,
    count: usize,
    /// Of what time on, in seconds, for who has no group: a group begins at the first such message
    /// and gets all that came after it.
    since: u64,
    encoding: PayloadEncoding,
    /// When it is answered at the latest.
    pub(super) until: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Looks for where to begin.
    Seek(Seek),
    /// Begins there, unless its group has a position.
    Read(Position),
    /// Goes on there, after a turn in which everything was over.
    GoOn(Reading),
}

impl Fetching {
    pub(super) const fn found_bytes(&self) -> usize {
        match &self.stage {
            Stage::GoOn(reading) => reading.bytes,
            Stage::Seek(_) | Stage::Read(_) => 0,
        }
    }
}

impl Office {
    pub(super) fn fetch(
        &mut self,
        ticket: Ticket,
        fetch: Fetch,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        self.refuse_cloud(&fetch.address)?;
        let Some(mailbox) = self.open(&fetch.address) else {
            return Err(Failure::NoMailbox(fetch.address));
        };
        let settings = &self.settings;
        let name = fetch.group.as_ref().map_or(0, String::len);
        within("group name", name, settings.group_name_bytes_maximum)?;
        let wait = fetch.wait_milliseconds.saturating_mul(1_000);
        let most = u64::try_from(settings.wait_maximum.as_micros()).unwrap_or(u64::MAX);
        let wait = std::time::Duration::from_micros(wait.min(most));
        let count = usize::try_from(fetch.count).unwrap_or(usize::MAX);
        let group = fetch.group.filter(|it| !it.is_empty()).map(Arc::from);
        let since = match fetch.deliver {
            Deliver::FromTime(seconds) if group.is_none() => seconds,
            _ => 0,
        };
        let fetching = Fetching {
            ticket,
            mailbox,
            address: fetch.address.into(),
            group,
            since,
            is_forced: fetch.is_forced,
            count: count.min(settings.answer_count_maximum),
            encoding: fetch.encoding.unwrap_or(settings.payload_encoding),
            until: self.now.instant + wait,
            stage: Stage::Seek(Seek::new(fetch.deliver)),
        };
        self.go_on_fetching(Box::new(fetching), shelf);
        Ok(())
    }

    /// Goes on until the fetch is answered, waits, or has had its turn.
    pub(super) fn go_on_fetching(&mut self, fetching: Box<Fetching>, shelf: &mut dyn Shelf) {
        let ticket = fetching.ticket;
        if let Err(failure) = self.try_fetching(fetching, shelf) {
            self.answer(ticket, Reply::Failed(failure));
        }
    }

    fn try_fetching(
        &mut self,
        mut fetching: Box<Fetching>,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        if self.open(&fetching.address) != Some(fetching.mailbox) {
            return Err(Failure::NoMailbox(fetching.address.to_string()));
        }
        if let Stage::Seek(seek) = &mut fetching.stage {
            let group = fetching
                .group
                .clone()
                .map(|group| (fetching.mailbox, group));
            let known = match &group {
                Some(group) => self.groups.position(group, shelf)?,
                None => None,
            };
            let known = known.filter(|_| !fetching.is_forced);
            let (position, is_known) = match known {
                Some(position) => (position, true),
                None => match self.seek(fetching.mailbox, seek, shelf)? {
                    Sought::Found(position) => (position, false),
                    Sought::More => {
                        self.running.push_back(Turn::Fetch(fetching));
                        return Ok(());
                    }
                },
            };
            fetching.stage = Stage::Read(position);
            if let Some(group) = group {
                if !is_known || !self.groups.is_pinned(&group) {
                    return self.pin(&group, position, fetching, shelf);
                }
                self.note_use(&group, position);
            }
        }
        self.read_or_wait(fetching, shelf)
    }

    /// Makes a position durable before anything is read from there.
    fn pin(
        &mut self,
        group: &GroupName,
        position: Position,
        fetching: Box<Fetching>,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        let draft = self.place_group(group, position, shelf)?;
        self.commit(draft, Work::Fetch(fetching), true);
        Ok(())
    }

    /// Sets the position of a group.
    pub(super) fn place_group(
        &mut self,
        group: &GroupName,
        position: Position,
        shelf: &mut dyn Shelf,
    ) -> Result<Draft, Failure> {
        let is_known = self.groups.position(group, shelf)?.is_some();
        let most = self.settings.group_count_maximum;
        let count = self
            .mailboxes
            .mailbox(group.0)
            .map_or(0, |it| it.tail.groups);
        if !is_known && count >= most {
            self.forget_idlest(group.0, shelf)?;
        }
        let mut draft = Draft::default();
        if let Some(mailbox) = self.mailboxes.mailbox_mut(group.0)
            && !is_known
        {
            if mailbox.tail.groups >= most {
                let why = format!("there are {most} groups of this mailbox already");
                return Err(Failure::Refused(why));
            }
            mailbox.tail.groups += 1;
            draft.is_counted = true;
        }
        let now = self.now.wall;
        draft.changes.push(self.groups.place(group, position, now));
        draft.touch(group.0);
        draft.group = Some(group.clone());
        Ok(draft)
    }

    fn read_or_wait(
        &mut self,
        mut fetching: Box<Fetching>,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        let position = self.position_of(&fetching, shelf)?;
        let mailbox = fetching.mailbox;
        let seen_end = self.mailboxes.mailbox(mailbox).map_or(0, |it| it.seen_end);
        let stage = std::mem::replace(&mut fetching.stage, Stage::Read(position));
        let reading = match stage {
            Stage::GoOn(reading) => reading,
            _ => Reading::new(position, seen_end, fetching.since),
        };
        let has_grown = reading.seen_end < seen_end;
        let messages = match self.read(mailbox, reading, fetching.count, shelf)? {
            // What came in the meantime may be more important than where reading was.
            Read::All(messages) if messages.is_empty() && has_grown => {
                self.running.push_back(Turn::Fetch(fetching));
                return Ok(());
            }
            Read::All(messages) => messages,
            Read::More(reading) if !self.has_room_for_found(reading.bytes) => reading.messages,
            Read::More(reading) => {
                fetching.stage = Stage::GoOn(reading);
                self.running.push_back(Turn::Fetch(fetching));
                return Ok(());
            }
        };
        if messages.is_empty() && fetching.count > 0 && fetching.until > self.now.instant {
            if self.waiting.len() < self.settings.waiting_count_maximum {
                self.waiting.add(fetching);
                return Ok(());
            }
            self.counters.waits_refused += 1;
        }
        if let Some(group) = &fetching.group
            && !messages.is_empty()
        {
            let batch = messages.iter().map(|it| (it.priority, it.id)).collect();
            self.groups.deliver(&(mailbox, Arc::clone(group)), batch);
        }
        let encoding = fetching.encoding;
        self.answer(fetching.ticket, Reply::Messages { messages, encoding });
        Ok(())
    }

    /// Where a fetch reads from: its group may have moved on while it waited.
    fn position_of(
        &mut self,
        fetching: &Fetching,
        shelf: &mut dyn Shelf,
    ) -> Result<Position, Unreadable> {
        let own = match &fetching.stage {
            Stage::Seek(_) => [0; 3],
            Stage::Read(position) => *position,
            Stage::GoOn(reading) => reading.position,
        };
        let Some(group) = &fetching.group else {
            return Ok(own);
        };
        let group = (fetching.mailbox, Arc::clone(group));
        Ok(self.groups.position(&group, shelf)?.unwrap_or(own))
    }
}
