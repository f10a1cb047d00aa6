//! Mail and agents that came down, on their way to the mail office.

use sync::{Change, Now, Token};
use wire::mq9::{Agent, Send};

use super::Core;

impl Core {
    /// Gives a pulled message to the office, which makes it durable together with `changes`.
    pub(super) fn post(&mut self, now: Now, _send: Send, _changes: Vec<Change>, token: Token) {
        if let Some(uplink) = &mut self.uplink {
            uplink.mailed(now.instant, token, false);
        }
    }

    /// Tells the office which agents the cloud knows.
    pub(super) fn know_cloud_agents(&mut self, _now: Now, _agents: Vec<Agent>) {}
}
