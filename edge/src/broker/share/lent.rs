//! Records of groups that are in no log: each is here while a member has it with QoS 1, so that it goes
//! to another member when that one's session ends.

use sync::Record;

use super::super::Broker;
use super::super::event::GroupId;
use super::super::group::Member;
use super::super::inflight::Source;
use super::super::session::Session;

impl Broker {
    /// Whether a record that no log has may be handed to a member; one more goes through the log.
    pub(super) const fn has_room_to_lend(&self) -> bool {
        self.lent_bytes < self.settings.session_bytes_maximum / LENT_SHARE
    }

    /// Hands a record that is not in the log to a member.
    pub(super) fn lend(&mut self, id: GroupId, member: &Member, record: &Record) {
        let is_lent = member.qos.min(record.qos()) == 1;
        let source = match is_lent {
            true => Source::Lent(id, record.clone()),
            // Nobody else ever gets it. [MQTT-4.8.2-5]
            false => Source::Passing,
        };
        if self
            .hand_over(member, record, Some(source), false)
            .is_some()
            && is_lent
        {
            self.lent_bytes += record.as_bytes().len();
        }
    }

    /// Lends to others what a session had that is gone.
    pub(in super::super) fn lend_again(&mut self, gone: &Session) {
        let mut groups = Vec::new();
        for (id, record) in gone.inflight.lent() {
            match self.groups.get_mut(id) {
                Some(group) => {
                    group.returned.push_back(record.clone());
                    groups.push(id);
                }
                None => self.lent_bytes -= record.as_bytes().len(),
            }
        }
        groups.into_iter().for_each(|id| self.wake_group(id));
    }

    /// Hands on what members had that are gone, as far as others have room.
    pub(super) fn pass_returned(&mut self, id: GroupId) {
        while let Some(record) = self.groups.get(id).and_then(|it| it.returned.front()) {
            let record = record.clone();
            let Some(member) = self.pick_with_room(id, &record) else {
                return;
            };
            if let Some(group) = self.groups.get_mut(id) {
                group.returned.pop_front();
            }
            self.lent_bytes -= record.as_bytes().len();
            self.lend(id, &member, &record);
        }
    }
}

/// Of what sessions may take, this part is for what groups lend.
const LENT_SHARE: usize = 8;
