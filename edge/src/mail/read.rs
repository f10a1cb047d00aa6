//! Reading a mailbox from a position on: the most important messages first, the oldest of them
//! before the others.

use sync::Table;
use wire::mq9::Message;

use super::Office;
use super::groups::Position;
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Letter, Number, PRIORITIES, Place, mail_key};

/// Beside its payload and header block a message in an answer counts for so much.
const MESSAGE_BYTES: usize = 64;

/// Where reading is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Where it began.
    pub(super) position: Position,
    /// One above the highest id when it began.
    pub(super) seen_end: u64,
    /// Which of the priorities.
    priority: usize,
    /// Of which id.
    next: u64,
}

/// What reading gave.
pub(super) enum Read {
    /// One message or more.
    Found(Vec<Message>),
    /// None up to the end.
    Nothing,
    /// None so far, but many rows that are over: it goes on there in another turn.
    More(Reading),
}

impl Reading {
    pub(super) const fn new(position: Position, seen_end: u64) -> Self {
        Self {
            position,
            seen_end,
            priority: 0,
            next: position[0],
        }
    }
}

impl Office {
    /// Reads up to so many messages, and no more bytes than an answer may have.
    pub(super) fn read(
        &self,
        mailbox: Number,
        mut reading: Reading,
        count: usize,
        shelf: &mut dyn Shelf,
    ) -> Result<Read, Unreadable> {
        let mut messages: Vec<Message> = Vec::new();
        let mut bytes = 0;
        let mut turns = self.settings.step_rows_maximum.max(1);
        while let Some(&priority) = PRIORITIES.get(reading.priority) {
            let page = Page {
                rows: (count - messages.len()).min(turns),
                bytes: self.settings.answer_bytes_maximum.saturating_sub(bytes),
            };
            if turns == 0 && messages.is_empty() && count > 0 {
                return Ok(Read::More(reading));
            }
            if page.rows == 0 || (page.bytes == 0 && !messages.is_empty()) {
                break;
            }
            let from = mail_key(mailbox, priority, reading.next);
            let end = mail_key(mailbox, priority, u64::MAX);
            let found = shelf.walk(Table::Mail, &from, &end, page)?;
            for (key, value) in &found.rows {
                let Some(Place::Mail { id, .. }) = Place::from_mail_key(key) else {
                    break;
                };
                let letter = Letter::decode(value);
                reading.next = id.saturating_add(1);
                let Some(letter) = letter.filter(|it| !it.is_over(self.now.wall)) else {
                    turns -= 1;
                    continue;
                };
                let more = letter.payload.len() + letter.headers.len() + MESSAGE_BYTES;
                if !messages.is_empty() && bytes + more > self.settings.answer_bytes_maximum {
                    return Ok(Read::Found(messages));
                }
                bytes += more;
                messages.push(letter.message(priority, id));
            }
            if found.next.is_none() {
                reading.priority += 1;
                let next = reading.position.get(reading.priority);
                reading.next = next.copied().unwrap_or(0);
            }
        }
        match messages.is_empty() {
            true => Ok(Read::Nothing),
            false => Ok(Read::Found(messages)),
        }
    }
}
