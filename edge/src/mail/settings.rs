//! The office's limits and rules, with what happens at each limit.

use std::time::Duration;

use wire::mq9::PayloadEncoding;

/// Limits and rules; the defaults fit a gateway with 64 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Mailboxes. At the limit a new one is refused. Default 10,000.
    pub mailbox_count_maximum: usize,
    /// Bytes of an address. A mailbox with a longer one is refused. Default 128.
    pub address_bytes_maximum: usize,
    /// Bytes of a mailbox's description. A longer one is refused. Default 1,024.
    pub description_bytes_maximum: usize,
    /// Seconds that a mailbox lives whose maker says nothing about it; 0 for ever. Default 86,400,
    /// one day.
    pub mailbox_ttl_seconds: u64,
    /// Seconds that messages are kept at most which have no time to live of their own, from when
    /// they can be read; 0 for ever. What ends unread by it is told of. Default 604,800, one week.
    pub message_ttl_seconds: u64,
    /// Messages a mailbox, delayed ones included. At the limit those give way that every group has
    /// acknowledged; where that is not enough a message is refused. Default 100,000.
    pub message_count_maximum: u64,
    /// Bytes of the messages a mailbox, delayed ones included. At the limit as above. Default
    /// 64 MiB.
    pub mailbox_bytes_maximum: u64,
    /// Bytes of the messages of all mailboxes, also of those that are being removed. At the limit as
    /// above, but only what is in the mailbox of the message gives way. Default 1 GiB.
    pub mail_bytes_maximum: u64,
    /// Bytes of a message's key. A message with a longer one is refused. Default 256.
    pub key_bytes_maximum: usize,
    /// Bytes of a message's tags together. A message with more is refused. Default 1,024.
    pub tags_bytes_maximum: usize,
    /// Groups a mailbox. At the limit one that is idle is forgotten for a new one; where none is, its
    /// fetch or acknowledgement is refused. Default 64.
    pub group_count_maximum: u64,
    /// Seconds after which a group that neither fetches nor acknowledges is idle: it holds no room in
    /// a full mailbox that another group uses, and its place is given to a new one at the limit; 0
    /// for never. Default 259,200, three days, so that nobody is idle by a weekend.
    pub group_idle_seconds: u64,
    /// Bytes of a group's name. A longer one is refused. Default 256.
    pub group_name_bytes_maximum: usize,
    /// Bytes that the positions of groups take in memory, and what was delivered to them. At the
    /// limit the group that was idle longest is forgotten: its position is read again, but an
    /// acknowledgement of the last message of a batch then counts for the messages of the same
    /// priority only, so that more important ones come once more. Default 512 KiB.
    pub group_memory_bytes_maximum: usize,
    /// Fetches that wait for a message. At the limit a fetch is answered at once, with nothing.
    /// Default 1,000.
    pub waiting_count_maximum: usize,
    /// How long a fetch waits, whatever it asks for. Default 4.5 s: clients give up after 5.
    pub wait_maximum: Duration,
    /// Messages in one answer, whatever is asked for. Default 1,000.
    pub answer_count_maximum: usize,
    /// Bytes of the messages in one answer. At the limit the answer ends, but never before its first
    /// message. Default 256 KiB.
    pub answer_bytes_maximum: usize,
    /// Rows that a request or a sweep looks at in vain before others have their turn. Default 256.
    pub step_rows_maximum: usize,
    /// Bytes of the rows that one step of a sweep takes up. Default 256 KiB.
    pub step_bytes_maximum: usize,
    /// Bytes of messages that searches hold between two turns. At the limit a search ends with what
    /// it has found. Default 256 KiB.
    pub search_bytes_maximum: usize,
    /// Requests that are under way: commits that are not answered, and searches that go on. At the
    /// limit a request is refused. Default 1,024.
    pub pending_count_maximum: usize,
    /// Agents, the cloud's included. At the limit a new one is refused, and further ones of the
    /// cloud are left out. Default 1,000.
    pub agent_count_maximum: usize,
    /// Bytes of what an agent says of itself, or reports. More is refused. Default 16 KiB.
    pub agent_body_bytes_maximum: usize,
    /// Bytes of what all agents say of themselves, which is held in memory. At the limit a new agent
    /// is refused, and further ones of the cloud are left out. Default 1 MiB.
    pub agent_bytes_maximum: usize,
    /// How payloads are written for those who do not say. Default base64.
    pub payload_encoding: PayloadEncoding,
    /// Which addresses live in the cloud: subject filters, such as `cloud.>`. Mail to them is not
    /// kept here but goes up. Default none.
    pub cloud_mailboxes: Vec<String>,
    /// Mailboxes whose messages are pulled from the cloud: made when the first one comes, and for
    /// ever. Default none.
    pub pulled: Vec<String>,
    /// Whether the cloud hears of the agents that register here. Default not.
    pub announces_agents: bool,
    /// Makes addresses that the office makes up hard to meet twice; a fresh random number each
    /// start.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mailbox_count_maximum: 10_000,
            address_bytes_maximum: 128,
            description_bytes_maximum: 1_024,
            mailbox_ttl_seconds: 86_400,
            message_ttl_seconds: 604_800,
            message_count_maximum: 100_000,
            mailbox_bytes_maximum: 64 << 20,
            mail_bytes_maximum: 1 << 30,
            key_bytes_maximum: 256,
            tags_bytes_maximum: 1_024,
            group_count_maximum: 64,
            group_idle_seconds: 259_200,
            group_name_bytes_maximum: 256,
            group_memory_bytes_maximum: 512 << 10,
            waiting_count_maximum: 1_000,
            wait_maximum: Duration::from_millis(4_500),
            answer_count_maximum: 1_000,
            answer_bytes_maximum: 256 << 10,
            step_rows_maximum: 256,
            step_bytes_maximum: 256 << 10,
            search_bytes_maximum: 256 << 10,
            pending_count_maximum: 1_024,
            agent_count_maximum: 1_000,
            agent_body_bytes_maximum: 16 << 10,
            agent_bytes_maximum: 1 << 20,
            payload_encoding: PayloadEncoding::Base64,
            cloud_mailboxes: Vec::new(),
            pulled: Vec::new(),
            announces_agents: false,
            seed: 0,
        }
    }
}

impl Settings {
    /// The most memory that an office with these settings holds between two calls, as
    /// [`Office::held_bytes`](super::Office::held_bytes) counts it.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        let mailbox = super::MAILBOX_BYTES + self.address_bytes_maximum;
        let waiting = super::WAITING_BYTES + self.group_name_bytes_maximum;
        // A commit under way may hold on to a group. Sweeps have their commits beside the requests.
        let group = super::GROUP_BYTES + self.group_name_bytes_maximum;
        let keys = 2 * self.key_bytes_maximum;
        let pending = super::PENDING_BYTES + keys + group;
        let pending_count = self.pending_count_maximum.saturating_add(8);
        let agent = super::AGENT_BYTES_MAXIMUM;
        self.mailbox_count_maximum
            .saturating_mul(mailbox)
            .saturating_add(self.waiting_count_maximum.saturating_mul(waiting))
            .saturating_add(pending_count.saturating_mul(pending))
            .saturating_add(self.agent_count_maximum.saturating_mul(agent))
            .saturating_add(self.agent_bytes_maximum)
            // Names stand in the index once more; what an agent says has its name in it.
            .saturating_add(self.agent_bytes_maximum / 2)
            .saturating_add(self.group_memory_bytes_maximum)
            .saturating_add(self.search_bytes_maximum)
    }
}
