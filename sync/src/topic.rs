//! A topic as the engine knows it, and the connection that carries it.
//!
//! A name of any length is remembered by its hash; two topics of one hash share their fate. The
//! topics of [`Apart`] never share one with others, since they take another connection.

use alloc::string::String;

use crate::record::topic_hash;
use crate::{Record, Settings};

/// Topics that go by a connection of their own, one more than [`Settings::connections`].
///
/// That connection has the same window, pauses and patience as each of the others. Where it is
/// down or full, only these topics wait, and where others are, these do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// What the names of these topics begin with.
    pub prefix: String,
    /// Of these topics, those whose names begin with this are one as far as order goes: the cloud
    /// takes them in the order of their offsets, whatever their names. `None` for none.
    pub joined: Option<String>,
}

/// Names a topic among those of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Topic {
    is_apart: bool,
    hash: u32,
}

impl Topic {
    #[cfg(test)]
    pub(crate) const fn of_hash(hash: u32) -> Self {
        let is_apart = false;
        Self { is_apart, hash }
    }
}

/// Which connection carries which topic; never changes in an engine's life.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    connections: u8,
    apart: Option<Apart>,
}

impl Routing {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            connections: settings.connections,
            apart: settings.apart.clone(),
        }
    }

    /// The topic of a record.
    pub(crate) fn topic_of(&self, record: &Record) -> Topic {
        let name = record.topic();
        let apart = self.apart.as_ref();
        let apart = apart.filter(|apart| name.starts_with(&apart.prefix));
        let joined = apart.and_then(|apart| apart.joined.as_deref());
        let hash = match joined.filter(|joined| name.starts_with(joined)) {
            Some(joined) => topic_hash(joined),
            None => record.topic_hash(),
        };
        let is_apart = apart.is_some();
        Topic { is_apart, hash }
    }

    /// The place among all connections of the one that carries a topic.
    pub(crate) fn connection_of(&self, topic: Topic) -> usize {
        match topic.is_apart {
            true => usize::from(self.connections),
            false => topic.hash as usize % usize::from(self.connections),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;
    use crate::{RecordParts, WallTime};

    fn routing(apart: Option<Apart>) -> Routing {
        let connections = 3;
        Routing { connections, apart }
    }

    fn record(topic: &str) -> Record {
        Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: false,
            time: WallTime(0),
            expiry_seconds: None,
            publisher: 0,
            topic,
            properties: &[],
            payload: &[],
        })
    }

    #[test]
    fn topics_apart_take_the_last_connection_and_all_others_one_by_their_hash() {
        let routing = routing(Some(Apart {
            prefix: "$mail/".to_string(),
            joined: None,
        }));
        for (name, expected) in [
            ("$mail/a", 3),
            ("$mail/", 3),
            ("$mail", topic_hash("$mail") as usize % 3),
            ("a/$mail/", topic_hash("a/$mail/") as usize % 3),
        ] {
            let topic = routing.topic_of(&record(name));
            assert_eq!(routing.connection_of(topic), expected, "{name}");
        }
    }

    #[test]
    fn joined_topics_are_one() {
        let routing = routing(Some(Apart {
            prefix: "$mail/".to_string(),
            joined: Some("$mail/agents/".to_string()),
        }));
        let topic_of = |name| routing.topic_of(&record(name));
        assert_eq!(topic_of("$mail/agents/in"), topic_of("$mail/agents/out"));
        assert_ne!(topic_of("$mail/agents"), topic_of("$mail/agents/out"));
        assert_ne!(topic_of("$mail/in"), topic_of("$mail/out"));
    }

    #[test]
    fn without_topics_apart_the_hash_alone_decides() {
        let routing = routing(None);
        let names = ["$mail/a", "$mail/agents/in", "b"];
        let found: Vec<_> = names.map(|name| routing.topic_of(&record(name))).into();
        assert_eq!(found, names.map(|name| Topic::of_hash(topic_hash(name))));
    }
}
