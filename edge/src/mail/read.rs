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
#[derive(Debug)]
pub(super) struct Reading {
    /// Where it began.
    pub(super) position: Position,
    /// One above the highest id when it began.
    pub(super) seen_end: u64,
    /// Only what came at that time or later, in seconds: an older one may stand behind a younger,
    /// where the clock went back.
    since: u64,
    /// Which of the priorities.
    priority: usize,
    /// Of which id.
    next: u64,
    /// What was found.
    pub(super) messages: Vec<Message>,
    /// What that counts for.
    pub(super) bytes: usize,
}

/// What reading gave.
pub(super) enum Read {
    /// All there is, or as much as an answer may have.
    All(Vec<Message>),
    /// Many rows were over: it goes on there in another turn.
    More(Reading),
}

impl Reading {
    pub(super) const fn new(position: Position, seen_end: u64, since: u64) -> Self {
        Self {
            position,
            seen_end,
            since,
            priority: 0,
            next: position[0],
            messages: Vec::new(),
            bytes: 0,
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
        let most = self.settings.answer_bytes_maximum;
        let mut turns = self.settings.step_rows_maximum.max(1);
        while let Some(&priority) = PRIORITIES.get(reading.priority) {
            let wanted = count - reading.messages.len();
            let room = most.saturating_sub(reading.bytes);
            if wanted == 0 || (room == 0 && !reading.messages.is_empty()) {
                break;
            }
            if turns == 0 {
                return Ok(Read::More(reading));
            }
            let page = Page {
                rows: wanted.min(turns),
                bytes: room,
            };
            let from = mail_key(mailbox, priority, reading.next);
            let end = mail_key(mailbox, priority, u64::MAX);
            let found = shelf.walk(Table::Mail, &from, &end, page)?;
            for (key, value) in &found.rows {
                let Some(Place::Mail { id, .. }) = Place::from_mail_key(key) else {
                    break;
                };
                let letter = Letter::decode(value);
                reading.next = id.saturating_add(1);
                let is_wanted = |letter: &Letter<'_>| {
                    !letter.is_over(self.now.wall) && letter.time.0 / 1_000 >= reading.since
                };
                let Some(letter) = letter.filter(is_wanted) else {
                    turns -= 1;
                    continue;
                };
                let bytes = letter.payload.len() + letter.headers.len() + MESSAGE_BYTES;
                if !reading.messages.is_empty() && reading.bytes + bytes > most {
                    return Ok(Read::All(reading.messages));
                }
                reading.bytes += bytes;
                reading.messages.push(letter.message(priority, id));
            }
            if found.next.is_none() {
                reading.priority += 1;
                let next = reading.position.get(reading.priority);
                reading.next = next.copied().unwrap_or(0);
            }
        }
        Ok(Read::All(reading.messages))
    }
}
