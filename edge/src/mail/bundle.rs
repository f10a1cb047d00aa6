//! Messages that come from the cloud together and are kept together: one commit for all of them,
//! and for where their mailbox is pulled on. A position never passes a message that is not kept.

use sync::Change;
use wire::mq9::{Failure, Reply, Send};

use super::Office;
use super::cloud::lane_of;
use super::commit::{Draft, Work};
use super::event::Ticket;
use super::shelf::Shelf;

impl Office {
    /// Keeps all or none. Nothing gives way for a bundle, nor has any message of it a delay.
    pub(super) fn send_bundle(
        &mut self,
        ticket: Ticket,
        sends: &[Send],
        changes: Vec<Change>,
        shelf: &mut dyn Shelf,
    ) -> Result<(), Failure> {
        let address = sends.first().map_or("", |send| &send.address);
        for send in sends {
            self.check_lane(lane_of(send.attributes.priority), false)?;
            self.check_attributes(&send.attributes)?;
        }
        self.refuse_cloud(address)?;
        let mailbox = self.open_to_send(address)?;
        let tags = sends.iter().map(|send| send.attributes.tags.join(","));
        let tags: Vec<String> = tags.collect();
        let pairs = sends.iter().zip(&tags);
        let bytes = pairs
            .clone()
            .map(|(send, tags)| self.letter(send, tags).bytes());
        if let Some(why) = self.lack_for(mailbox, sends.len() as u64, bytes.sum()) {
            return Err(Failure::Refused(why));
        }
        let mut draft = Draft::with(changes);
        for (send, tags) in pairs {
            let letter = self.letter(send, tags);
            let former = match draft.holder(mailbox, letter.key) {
                Some(holder) => vec![holder],
                None => self.former_with_key(mailbox, letter.key, shelf)?,
            };
            let id = self.next_id(mailbox, send.attributes.priority)?;
            draft.add((mailbox, send.attributes.priority, id), &letter, former);
        }
        self.commit(draft, Work::answer(ticket, Reply::Sent { id: None }), true);
        Ok(())
    }
}
