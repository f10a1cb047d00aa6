//! Finding where a fetch begins that has no position.

use sync::Table;
use wire::mq9::{Deliver, Priority};

use super::Office;
use super::groups::Position;
use super::shelf::{Page, Shelf, Unreadable};
use super::stored::{Letter, Number, PRIORITIES, Place, mail_key};

/// What is looked for, and how far that is.
#[derive(Debug)]
pub(super) enum Seek {
    /// It is known.
    Known(Position),
    /// The newest message below an id, or all there is.
    Newest(u64),
    /// The first message of each priority that came at a time or later.
    Since {
        seconds: u64,
        /// Which of the priorities.
        priority: usize,
        position: Position,
    },
}

/// What a step gave.
pub(super) enum Sought {
    Found(Position),
    /// It takes another turn.
    More,
}

impl Seek {
    pub(super) const fn new(deliver: Deliver) -> Self {
        match deliver {
            Deliver::Earliest => Self::Known([0; 3]),
            Deliver::FromId(id) => Self::Known([id; 3]),
            Deliver::Latest => Self::Newest(u64::MAX),
            Deliver::FromTime(seconds) => Self::Since {
                seconds,
                priority: 0,
                position: [0; 3],
            },
        }
    }
}

impl Office {
    /// Looks for where to begin, for one turn.
    pub(super) fn seek(
        &self,
        mailbox: Number,
        seek: &mut Seek,
        shelf: &mut dyn Shelf,
    ) -> Result<Sought, Unreadable> {
        let seen_end = self.mailboxes.mailbox(mailbox).map_or(0, |it| it.seen_end);
        match seek {
            Seek::Known(position) => Ok(Sought::Found(*position)),
            Seek::Newest(below) => self.seek_newest(mailbox, (below, seen_end), shelf),
            Seek::Since {
                seconds,
                priority,
                position,
            } => {
                let since = *seconds;
                self.seek_since(mailbox, since, (priority, position), seen_end, shelf)
            }
        }
    }

    /// Walks backwards over what is over.
    fn seek_newest(
        &self,
        mailbox: Number,
        (below, seen_end): (&mut u64, u64),
        shelf: &mut dyn Shelf,
    ) -> Result<Sought, Unreadable> {
        *below = (*below).min(seen_end);
        for _ in 0..self.settings.step_rows_maximum.max(1) {
            let mut newest = None;
            for priority in PRIORITIES {
                let found = last_below(mailbox, priority, *below, shelf)?;
                newest = newest.max(found);
            }
            let Some((id, value)) = newest else {
                return Ok(Sought::Found([seen_end; 3]));
            };
            if Letter::decode(&value).is_some_and(|letter| !letter.is_over(self.now.wall)) {
                return Ok(Sought::Found([id; 3]));
            }
            *below = id;
        }
        Ok(Sought::More)
    }

    /// Walks forwards over what came too early: clocks jump, so that no half of it can be left out.
    fn seek_since(
        &self,
        mailbox: Number,
        since: u64,
        (at, position): (&mut usize, &mut Position),
        seen_end: u64,
        shelf: &mut dyn Shelf,
    ) -> Result<Sought, Unreadable> {
        let mut rows = self.settings.step_rows_maximum.max(1);
        while let Some(&priority) = PRIORITIES.get(*at) {
            if rows == 0 {
                return Ok(Sought::More);
            }
            let from = mail_key(mailbox, priority, position[*at]);
            let end = mail_key(mailbox, priority, u64::MAX);
            let bytes = self.settings.step_bytes_maximum;
            let found = shelf.walk(Table::Mail, &from, &end, Page { rows, bytes })?;
            let is_early = |value: &[u8]| {
                let letter = Letter::decode(value).filter(|it| !it.is_over(self.now.wall));
                letter.is_none_or(|letter| letter.time.0 / 1_000 < since)
            };
            let mut is_found = found.next.is_none();
            if is_found {
                position[*at] = position[*at].max(seen_end);
            }
            for (key, value) in &found.rows {
                let id = id_of(key);
                if !is_early(value) {
                    position[*at] = id;
                    is_found = true;
                    break;
                }
                rows = rows.saturating_sub(1);
                position[*at] = position[*at].max(id.saturating_add(1));
            }
            *at += usize::from(is_found);
            if !is_found && found.next.is_some() && rows > 0 {
                // The page ended by its bytes: enough for one turn.
                return Ok(Sought::More);
            }
        }
        Ok(Sought::Found(*position))
    }
}

/// Finds the last row of a priority below an id, in few steps however many rows there are.
pub(super) fn last_below(
    mailbox: Number,
    priority: Priority,
    below: u64,
    shelf: &mut dyn Shelf,
) -> Result<Option<(u64, Vec<u8>)>, Unreadable> {
    let end = mail_key(mailbox, priority, below);
    let mut first_from = |from: u64| {
        let page = Page { rows: 1, bytes: 1 };
        let from = mail_key(mailbox, priority, from);
        let found = shelf.walk(Table::Mail, &from, &end, page)?;
        let row = found.rows.into_iter().next();
        Ok(row.map(|(key, value)| (id_of(&key), value)))
    };
    // Most often the newest is close to the end: look back further and further.
    let mut back = 1;
    let mut found = None;
    let mut from = below;
    while found.is_none() && from > 0 {
        from = below.saturating_sub(back);
        found = first_from(from)?;
        back = back.saturating_mul(8);
    }
    let Some(mut found) = found else {
        return Ok(None);
    };
    // Between it and the end, halves are left out until nothing is behind it.
    let mut nothing_from = below;
    while found.0 + 1 < nothing_from {
        let middle = found.0 + 1 + (nothing_from - found.0 - 1) / 2;
        match first_from(middle)? {
            Some(later) => found = later,
            None => nothing_from = middle,
        }
    }
    Ok(Some(found))
}

fn id_of(key: &[u8]) -> u64 {
    match Place::from_mail_key(key) {
        Some(Place::Mail { id, .. }) => id,
        _ => 0,
    }
}
