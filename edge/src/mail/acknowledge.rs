//! Acknowledging: the position of a group moves on, never back.

use wire::mq9::{Acknowledge, Failure, Reply};

use super::Office;
use super::commit::Work;
use super::event::Ticket;
use super::groups::{GroupName, Position};
use super::mailbox::within;
use super::shelf::{Shelf, Unreadable};
use super::stored::Place;

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
        let done = self.done_with(&group, acknowledge.id, shelf)?;
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

    /// What an acknowledgement says: of each priority the id below which all is done.
    fn done_with(
        &self,
        group: &GroupName,
        id: u64,
        shelf: &mut dyn Shelf,
    ) -> Result<Position, Unreadable> {
        if let Some(position) = self.groups.delivered_until(group, id) {
            return Ok(position);
        }
        let end = id.saturating_add(1);
        if let Some((Place::Mail { priority, .. }, _)) = self.message(group.0, id, shelf)? {
            let mut position = [0; 3];
            position[priority as usize] = end;
            return Ok(position);
        }
        // It is gone, and what was delivered before it is not known: that may come again.
        Ok([0; 3])
    }
}
