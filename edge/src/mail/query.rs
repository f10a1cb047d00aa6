//! Querying: messages in the order of their ids, whatever their priority, for which all is so that
//! is asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use sync::Table;
use wire::mq9::{Failure, Message, PayloadEncoding, Priority, Query, Reply};

use super::Office;
use super::event::Ticket;
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Letter, Number, PRIORITIES, Place, StoredKey, decode, mail_key, named_key};
use super::turn::Turn;

/// Messages of an answer, whatever is asked for.
const LIMIT_MAXIMUM: u64 = 100;
/// Beside its payload and header block a message in an answer counts for so much.
const MESSAGE_BYTES: usize = 64;
/// Rows of one priority that are looked at together.
const PAGE_ROWS: usize = 32;

/// A query on its way.
#[derive(Debug)]
pub(super) struct Querying {
    pub(super) ticket: Ticket,
    mailbox: Number,
    address: Arc<str>,
    tags: Vec<String>,
    since: u64,
    limit: usize,
    encoding: PayloadEncoding,
    /// Of each priority the next id, or none when all was seen.
    next: [Option<u64>; 3],
    found: Vec<Message>,
    bytes: usize,
}

impl Querying {
    pub(super) const fn found_bytes(&self) -> usize {
        self.bytes
    }
}

/// Rows of one priority that were read and not looked at.
#[derive(Default)]
struct Stretch {
    rows: VecDeque<(u64, Vec<u8>)>,
    is_last: bool,
}

impl Office {
    pub(super) fn query(
        &mut self,
        ticket: Ticket,
        query: Query,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        self.refuse_cloud(&query.address)?;
        let Some(mailbox) = self.open(&query.address) else {
            return Err(Failure::NoMailbox(query.address));
        };
        let mut querying = Querying {
            ticket,
            mailbox,
            address: query.address.into(),
            tags: query.tags,
            since: query.since.unwrap_or(0),
            limit: usize::try_from(query.limit.min(LIMIT_MAXIMUM)).unwrap_or(0),
            encoding: query.encoding.unwrap_or(self.settings.payload_encoding),
            next: [Some(0); 3],
            found: Vec::new(),
            bytes: 0,
        };
        match query.key {
            Some(key) => {
                self.query_key(&mut querying, &key, shelf)?;
                self.answer_query(querying);
            }
            None => self.go_on_querying(Box::new(querying), shelf),
        }
        Ok(())
    }

    /// Goes on until the query is answered or has had its turn.
    pub(super) fn go_on_querying(&mut self, mut querying: Box<Querying>, shelf: &mut dyn Shelf) {
        let ticket = querying.ticket;
        if self.open(&querying.address) != Some(querying.mailbox) {
            let failure = Failure::NoMailbox(querying.address.to_string());
            self.answer(ticket, Reply::Failed(failure));
            return;
        }
        match self.look_through(&mut querying, shelf) {
            Ok(is_all) if is_all || !self.has_room_for_found(querying.bytes) => {
                self.answer_query(*querying);
            }
            Ok(_) => self.running.push_back(Turn::Query(querying)),
            Err(error) => self.answer(ticket, Reply::Failed(error.into())),
        }
    }

    fn answer_query(&mut self, querying: Querying) {
        let reply = Reply::Messages {
            messages: querying.found,
            encoding: querying.encoding,
        };
        self.answer(querying.ticket, reply);
    }

    /// Looks at the one message with a key.
    fn query_key(
        &self,
        querying: &mut Querying,
        key: &str,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Unreadable> {
        let row = shelf.find(Table::MailKeys, &named_key(querying.mailbox, key))?;
        let stored = row.as_deref().and_then(decode::<StoredKey>);
        let place = stored.and_then(|stored| stored.place(querying.mailbox));
        if let Some(place @ Place::Mail { priority, id, .. }) = place
            && let Some(value) = shelf.find(Table::Mail, &place.key())?
        {
            self.look_at(querying, priority, id, &value);
        }
        Ok(())
    }

    /// Looks at messages for one turn; says whether that was all.
    fn look_through(
        &self,
        querying: &mut Querying,
        shelf: &mut dyn Shelf,
    ) -> Result<bool, Unreadable> {
        let mut stretches: [Stretch; 3] = Default::default();
        for _ in 0..self.settings.step_rows_maximum.max(1) {
            for (at, stretch) in stretches.iter_mut().enumerate() {
                if stretch.rows.is_empty() && !stretch.is_last {
                    let priority = PRIORITIES[at];
                    *stretch = self.stretch(querying, priority, shelf)?;
                }
            }
            let heads = stretches.iter().enumerate();
            let heads = heads.filter_map(|(at, it)| Some((it.rows.front()?.0, at)));
            let Some((id, at)) = heads.min() else {
                return Ok(true);
            };
            let row = stretches[at].rows.pop_front();
            querying.next[at] = match &stretches[at] {
                Stretch {
                    rows,
                    is_last: true,
                } if rows.is_empty() => None,
                _ => Some(id.saturating_add(1)),
            };
            if let Some((id, value)) = row
                && !self.look_at(querying, PRIORITIES[at], id, &value)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn stretch(
        &self,
        querying: &Querying,
        priority: Priority,
        shelf: &mut dyn Shelf,
    ) -> Result<Stretch, Unreadable> {
        let mut stretch = Stretch {
            is_last: true,
            ..Stretch::default()
        };
        let Some(next) = querying.next[priority as usize] else {
            return Ok(stretch);
        };
        let from = mail_key(querying.mailbox, priority, next);
        let end = mail_key(querying.mailbox, priority, u64::MAX);
        let page = Page {
            rows: PAGE_ROWS,
            bytes: self.settings.step_bytes_maximum / PRIORITIES.len(),
        };
        let found = shelf.walk(Table::Mail, &from, &end, page)?;
        stretch.is_last = found.next.is_none();
        for (key, value) in found.rows {
            if let Some(Place::Mail { id, .. }) = Place::from_mail_key(&key) {
                stretch.rows.push_back((id, value));
            }
        }
        stretch.is_last |= stretch.rows.is_empty();
        Ok(stretch)
    }

    /// Takes a message that is asked for; says whether more are wanted.
    fn look_at(&self, querying: &mut Querying, priority: Priority, id: u64, value: &[u8]) -> bool {
        if querying.found.len() >= querying.limit {
            return false;
        }
        let letter = Letter::decode(value).filter(|it| !it.is_over(self.now.wall));
        let Some(letter) = letter else {
            return true;
        };
        let is_tagged =
            querying.tags.is_empty() || querying.tags.iter().any(|it| letter.has_tag(it));
        if !is_tagged || letter.time.0 / 1_000 < querying.since {
            return true;
        }
        let bytes = letter.payload.len() + letter.headers.len() + MESSAGE_BYTES;
        let most = self.settings.answer_bytes_maximum;
        if !querying.found.is_empty() && querying.bytes + bytes > most {
            return false;
        }
        querying.bytes += bytes;
        querying.found.push(letter.message(priority, id));
        querying.found.len() < querying.limit
    }
}
