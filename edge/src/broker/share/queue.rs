//! QoS 0 for groups, and queue groups of NATS: there all members of one name whose filters match a
//! message take turns, whichever filter each has. So groups of one name that a NATS client is in are
//! one for such a message, devices in them included; groups that only devices are in stay apart, as
//! MQTT has it.

use sync::Record;

use super::super::Broker;
use super::super::access::Deed;
use super::super::event::{GroupId, SessionId};
use super::super::group::Member;
use super::super::subscriptions::Entry;

impl Broker {
    /// Lets a member of a group take turns with those of all groups of its name.
    pub(in super::super) fn join_queue(&mut self, session: SessionId, group: GroupId) {
        if let Some(group) = self.groups.get_mut(group) {
            group.join_queue(session);
        }
    }

    /// Hands a record that nobody will acknowledge to a member of the group at a place among those
    /// that match, unless it is another group's turn: best to one whose connection takes it, or else
    /// to whoever is connected.
    pub(super) fn pass_unacknowledged(&mut self, at: usize, groups: &[Entry], record: &Record) {
        if let [only] = groups
            && let Some(group) = self.groups.at(only.group_index())
        {
            let id = group.id;
            return self.pass_to_one_of(&[id], 0, record);
        }
        let queue = self.queue(at, groups, record);
        let first = self.draw_from(&queue);
        self.pass_to_one_of(&queue, first, record);
    }

    fn pass_to_one_of(&mut self, queue: &[GroupId], first: usize, record: &Record) {
        for is_congested in [false, true] {
            let turns = (0..queue.len()).map(|turn| queue[(first + turn) % queue.len()]);
            for id in turns {
                if self.pass_on_within(id, record, is_congested) {
                    return;
                }
            }
        }
    }

    /// The groups that take turns with one, itself included; none where another one of them has the
    /// say.
    fn queue(&self, at: usize, groups: &[Entry], record: &Record) -> Vec<GroupId> {
        let found = |entry: &Entry| self.groups.at(entry.group_index());
        let Some(own) = found(&groups[at]) else {
            return Vec::new();
        };
        let name = (groups.len() > 1).then(|| own.queue_name()).flatten();
        let Some(name) = name else {
            return vec![own.id];
        };
        let matching = groups.iter().filter_map(found);
        let queue: Vec<_> = matching
            .filter(|it| it.queue_name() == Some(name))
            .collect();
        // It is never spent on who does not acknowledge while another one would.
        let is_acknowledged = record.qos() > 0 && queue.iter().any(|it| it.has_readers());
        if is_acknowledged || queue[0].id != own.id {
            return Vec::new();
        }
        queue.iter().map(|it| it.id).collect()
    }

    /// Draws the place of a group, those with more members more often.
    fn draw_from(&mut self, queue: &[GroupId]) -> usize {
        if queue.len() < 2 {
            return 0;
        }
        let count = |id: &GroupId| self.groups.get(*id).map_or(0, |it| it.members().len());
        let counts: Vec<usize> = queue.iter().map(count).collect();
        let mut drawn = self.groups.draw_below(counts.iter().sum());
        let is_it = |count: &usize| match drawn.checked_sub(*count) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        };
        counts.iter().position(is_it).unwrap_or(0)
    }

    /// Hands a record to the next member in turn of those who are connected, may read it, and want it
    /// though it may be their own. False when there is none.
    fn pass_on_within(&mut self, id: GroupId, record: &Record, is_congested: bool) -> bool {
        let registry = &self.registry;
        let Some(group) = self.groups.get_mut(id) else {
            return false;
        };
        let is_fit = |member: &Member| {
            registry.get(member.session).is_some_and(|session| {
                session.online().is_some()
                    && session.is_congested == is_congested
                    && !(member.is_no_local && session.publisher == record.publisher())
                    && session.may(Deed::Read, record.topic())
            })
        };
        let Some(member) = group.pick(|_, member| is_fit(member)) else {
            return false;
        };
        self.hand_over(&member, record, None, false);
        true
    }
}
