//! Topic aliases of one connection: numbers that stand for topics, in each direction its own.
//! They end with the connection. [MQTT-3.3.2-7]

mod outbound;

pub(super) use self::outbound::{Naming, OutboundAliases};

use wire::topic::TopicName;

use super::PeerError;
use crate::rare::Empty;

/// What each alias of the client stands for. Grows to the highest alias in use, at most the agreed
/// maximum.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    topics: Vec<Box<str>>,
    held_bytes: usize,
}

impl Empty for Aliases {
    const EMPTY: &'static Self = &Self {
        topics: Vec::new(),
        held_bytes: 0,
    };

    fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

impl Aliases {
    /// Gives an alias to a topic, in place of its former one.
    pub(super) fn assign(
        &mut self,
        alias: u16,
        topic: TopicName<'_>,
        limit: u16,
    ) -> Result<(), PeerError> {
        // [MQTT-3.3.2-9]
        if alias > limit {
            return Err(PeerError::TopicAlias {
                found: alias,
                limit,
            });
        }
        let at = usize::from(alias) - 1;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, Box::default());
        }
        if *self.topics[at] != *topic.as_str() {
            self.held_bytes += topic.as_str().len();
            self.held_bytes -= self.topics[at].len();
            self.topics[at] = topic.as_str().into();
        }
        Ok(())
    }

    /// What the topics take, in bytes.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Finds the topic of an alias.
    pub(super) fn topic(&self, alias: u16, limit: u16) -> Result<&str, PeerError> {
        if alias > limit {
            return Err(PeerError::TopicAlias {
                found: alias,
                limit,
            });
        }
        match self.topics.get(usize::from(alias) - 1) {
            Some(topic) if !topic.is_empty() => Ok(topic),
            _ => Err(PeerError::TopicAliasUnknown { found: alias }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alias_stood_for_is_no_longer_held() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.held_bytes(), 0);
        aliases
            .assign(1, TopicName::new("long/topic").unwrap(), 1)
            .unwrap();
        let held = aliases.held_bytes();
        aliases
            .assign(1, TopicName::new("short").unwrap(), 1)
            .unwrap();
        assert_eq!(held - aliases.held_bytes(), 5);
    }

    #[test]
    fn aliases_are_known_after_they_are_assigned() {
        let mut aliases = Aliases::default();
        let topic = |text| TopicName::new(text).unwrap();
        assert_eq!(
            aliases.topic(2, 3),
            Err(PeerError::TopicAliasUnknown { found: 2 })
        );
        aliases.assign(3, topic("a"), 3).unwrap();
        assert_eq!(aliases.topic(3, 3), Ok("a"));
        assert_eq!(
            aliases.topic(2, 3),
            Err(PeerError::TopicAliasUnknown { found: 2 })
        );
        aliases.assign(3, topic("b"), 3).unwrap();
        assert_eq!(aliases.topic(3, 3), Ok("b"));
        assert_eq!(aliases.held_bytes(), 1);
        let too_high = PeerError::TopicAlias { found: 4, limit: 3 };
        assert_eq!(aliases.assign(4, topic("a"), 3), Err(too_high));
        assert_eq!(aliases.topic(4, 3), Err(too_high));
    }
}
