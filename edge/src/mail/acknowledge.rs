//! Acknowledging: the position of a group moves on, never back.

use wire::mq9::{Acknowledge, Failure, Reply};

use super::Office;
use super::commit::Work;
use super::event::Ticket;
use super::groups::{GroupName, Position};
use super::mailbox::within;
use super::shelf::{Shelf, Unreadable};
use super::stored::{Number, Place};

impl Office {
    pub(super) fn acknowledge(
        &mut self,
        ticket: Ticket,
        acknowledge: Acknowledge,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        self.refuse_cloud(&acknowledge.address)?;
        let Some(mailbox) = self.open(&acknowledge.address) else {
            return Err(Failure::NoMailboxToAcknowledge(acknowledge.address));
        };
        let name = acknowledge.group;
        if name.is_empty() {
            self.answer(ticket, Reply::Done);
            return Ok(());
        }
        let most = self.settings.group_name_bytes_maximum;
        within("group name", name.len(), most)?;
        let group = (mailbox, name.into());
        let known = self.groups.position(&group, shelf)?;
        let former = known.unwrap_or([0; 3]);
        let done = match self.done_with(&group, acknowledge.id, shelf)? {
            Some(done) => done,
            // Who never fetched was never given it.
            None if known.is_none() => former,
            None => self.done_with_gone(mailbox, acknowledge.id),
        };
        let mut position = former;
        for (end, done) in position.iter_mut().zip(done) {
            *end = (*end).max(done);
        }
        // The answer waits for what is under way, even when it changes nothing itself.
        let is_settled = known.is_none() || self.groups.is_settled(&group);
        if position == former && is_settled {
            if known.is_some() {
                self.note_use(&group, position);
            }
            self.answer(ticket, Reply::Done);
            return Ok(());
        }
        let draft = self.place_group(&group, position, shelf)?;
        self.groups.prune(&group);
        self.commit(draft, Work::answer(ticket, Reply::Done), true);
        Ok(())
    }

    /// What an acknowledgement says: of each priority the id below which all is done. `None` for a
    /// message that is not there, of which no answer is remembered.
    fn done_with(
        &self,
        group: &GroupName,
        id: u64,
        shelf: &mut dyn Shelf,
    ) -> Result<Option<Position>, Unreadable> {
        if let Some(position) = self.groups.delivered_until(group, id) {
            return Ok(Some(position));
        }
        let found = self.message(group.0, id, shelf)?;
        let Some((Place::Mail { priority, .. }, _)) = found else {
            return Ok(None);
        };
        let mut position = [0; 3];
        position[priority as usize] = id.saturating_add(1);
        Ok(Some(position))
    }

    /// The same of a message that is gone. Its priority is not known, but that it was not one that no
    /// id so late was given to. Of the most important that it may have had, and of those above, all
    /// with lower ids were delivered before it; what is less important may not have been.
    fn done_with_gone(&self, mailbox: Number, id: u64) -> Position {
        let tail = self.mailboxes.mailbox(mailbox).map(|it| it.tail);
        let ends = tail.map_or([0; 3], |tail| tail.ends);
        let mut position = [0; 3];
        if let Some(most) = ends.iter().position(|end| id < *end) {
            position[..=most].fill(id.saturating_add(1));
        }
        position
    }
}
