//! Sending: a message gets its id and takes the place of the one with its key.

use sync::{Change, Table};
use wire::mq9::{Attributes, Failure, Priority, Reply, Send};

use super::Office;
use super::commit::{Draft, Work, weight};
use super::event::Ticket;
use super::ledger::Holder;
use super::mailbox::within;
use super::shelf::{Shelf, Unreadable};
use super::stored::{
    Letter, NEVER, Number, Place, StoredKey, after, decode, encode_delayed, named_key,
};

/// The highest id: what every client can read as a number.
const ID_MAXIMUM: u64 = (1 << 53) - 1;

impl Office {
    pub(super) fn send(
        &mut self,
        ticket: Ticket,
        send: Send,
        changes: Vec<Change>,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        if self.lives_in_cloud(&send.address) {
            return self.send_to_cloud(ticket, send, changes);
        }
        let mailbox = self.open_to_send(&send.address)?;
        self.check_attributes(&send.attributes)?;
        let attributes = &send.attributes;
        let tags = attributes.tags.join(",");
        let letter = self.letter(&send, &tags);
        let mut draft = Draft::with(changes);
        let id = match attributes.delay_seconds {
            Some(delay) => {
                let value = encode_delayed(attributes.priority, &letter);
                self.make_room(mailbox, weight(&value), &[], &mut draft, shelf)?;
                self.queue(mailbox, delay, value, &mut draft)?;
                None
            }
            None => {
                let former = self.former_with_key(mailbox, letter.key, shelf)?;
                let bytes = letter.bytes();
                self.make_room(mailbox, bytes, &former, &mut draft, shelf)?;
                let id = self.next_id(mailbox, attributes.priority)?;
                draft.add((mailbox, attributes.priority, id), &letter, former);
                Some(id)
            }
        };
        self.commit(draft, Work::answer(ticket, Reply::Sent { id }), true);
        Ok(())
    }

    /// A message as it is kept here and now, with its tags in a row.
    pub(super) fn letter<'a>(&self, send: &'a Send, tags: &'a str) -> Letter<'a> {
        let attributes = &send.attributes;
        let ttl = attributes.ttl_seconds;
        Letter {
            time: self.now.wall,
            over: ttl.map_or(NEVER, |ttl| after(self.now.wall, ttl)),
            key: attributes.key.as_deref().unwrap_or_default(),
            tags,
            headers: &send.headers,
            payload: &send.payload,
        }
    }

    /// Puts a message where nobody sees it before it is due.
    fn queue(
        &mut self,
        mailbox: Number,
        delay_seconds: u64,
        value: Vec<u8>,
        draft: &mut Draft,
    ) -> Result<(), Failure> {
        let due = after(self.now.wall, delay_seconds);
        if due == NEVER {
            let why = format!("a delay of {delay_seconds} seconds is beyond all times");
            return Err(Failure::Refused(why));
        }
        let Some(found) = self.mailboxes.mailbox_mut(mailbox) else {
            return Ok(());
        };
        let turn = found.tail.next_turn;
        found.tail.next_turn += 1;
        let place = Place::Delayed { mailbox, due, turn };
        draft.add_row(place, place.key(), value);
        Ok(())
    }

    /// Takes the next id of a mailbox for a message of a priority.
    pub(super) fn next_id(&mut self, mailbox: Number, priority: Priority) -> Result<u64, Failure> {
        let found = self.mailboxes.mailbox_mut(mailbox);
        let id = found.as_ref().map_or(0, |it| it.tail.next_id);
        if id > ID_MAXIMUM {
            let why = format!("ids of this mailbox ended with {ID_MAXIMUM}");
            return Err(Failure::Refused(why));
        }
        if let Some(found) = found {
            found.tail.next_id += 1;
            found.tail.ends[priority as usize] = found.tail.next_id;
        }
        Ok(id)
    }

    /// Finds every message that may have a key when the next commit comes.
    pub(super) fn former_with_key(
        &mut self,
        mailbox: Number,
        key: &str,
        shelf: &mut dyn Shelf,
    ) -> Result<Vec<Holder>, Unreadable> {
        if key.is_empty() {
            return Ok(Vec::new());
        }
        let mut former = Vec::new();
        let mut kept = Vec::new();
        match self.ledger.with_key(mailbox, key) {
            Some(rows) => {
                for (holder, ticket) in rows {
                    match ticket {
                        Some(_) => former.push(*holder),
                        None => kept.push(holder.place),
                    }
                }
            }
            None => {
                let row = shelf.find(Table::MailKeys, &named_key(mailbox, key))?;
                let stored = row.as_deref().and_then(decode::<StoredKey>);
                kept.extend(stored.and_then(|stored| stored.place(mailbox)));
            }
        }
        // What was there may have been deleted in the meantime.
        for place in kept {
            let value = shelf.find(Table::Mail, &place.key())?;
            former.extend(value.map(|value| Holder {
                place,
                bytes: weight(&value),
                over: Letter::decode(&value).map_or(NEVER, |letter| letter.over),
            }));
        }
        Ok(former)
    }

    /// Leaves out what a message would be refused for however often it is sent: a key and tags that
    /// are too long. For a message from the cloud, whose sender hears nothing of a refusal.
    pub fn trim_attributes(&self, attributes: &mut Attributes) {
        let settings = &self.settings;
        let is_fit = |key: &String| key.len() <= settings.key_bytes_maximum;
        attributes.key = attributes.key.take().filter(is_fit);
        let mut bytes = 0;
        attributes.tags.retain(|tag| {
            bytes += tag.len() + 1;
            bytes <= settings.tags_bytes_maximum
        });
    }

    pub(super) fn check_attributes(&self, attributes: &Attributes) -> Result<(), Failure> {
        let settings = &self.settings;
        let key = attributes.key.as_ref().map_or(0, String::len);
        within("message key", key, settings.key_bytes_maximum)?;
        let tags: usize = attributes.tags.iter().map(|tag| tag.len() + 1).sum();
        within("list of tags", tags, settings.tags_bytes_maximum)
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::Refused(error.to_string())
    }
}
