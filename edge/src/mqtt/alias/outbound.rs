//! Topic aliases that we give to topics on their way to one client, who said how many it takes.
//!
//! A topic has to come again soon to get one. When all are given, the one that was not used for
//! longest goes to the new topic, unless it was used lately: of more topics in turn than there are
//! aliases, some keep theirs and the others are written out.

use std::num::NonZeroU16;

/// The aliases of one client.
#[derive(Debug)]
pub(in crate::mqtt) struct OutboundAliases {
    limit: u16,
    /// What each alias stands for; the first is alias 1.
    given: Vec<Given>,
    /// Hashes of topics that were written out, the latest ones; begins over when it is full.
    seen: [u32; SEEN_COUNT],
    seen_count: usize,
    /// Messages so far.
    clock: u64,
    /// Bytes of the topics.
    topic_bytes: usize,
}

#[derive(Debug)]
struct Given {
    topic: Box<str>,
    /// When it was used last.
    used_at: u64,
}

/// How a message names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum Naming {
    /// By its name.
    Name,
    /// By its name and the alias that is to stand for it from now on, once the message left.
    Both(NonZeroU16),
    /// By its alias.
    Alias(NonZeroU16),
}

/// Topics without an alias that are remembered.
const SEEN_COUNT: usize = 32;
/// An alias that so many messages did not use may go to another topic.
const STALE_COUNT: u64 = 256;
/// The property with an alias; a topic that is not longer gets none.
const ALIAS_BYTES: usize = 3;

impl OutboundAliases {
    /// Starts without any, for a client that takes up to `limit`; `None` if it takes none.
    pub(in crate::mqtt) fn new(limit: u16) -> Option<Box<Self>> {
        (limit > 0).then(|| {
            Box::new(Self {
                limit,
                given: Vec::new(),
                seen: [0; SEEN_COUNT],
                seen_count: 0,
                clock: 0,
                topic_bytes: 0,
            })
        })
    }

    /// Decides how a message names its topic. `room_bytes` is what a new alias may take.
    pub(in crate::mqtt) fn choose(&mut self, topic: &str, hash: u32, room_bytes: usize) -> Naming {
        self.clock += 1;
        if topic.len() <= ALIAS_BYTES {
            return Naming::Name;
        }
        let known = self.given.iter().position(|given| *given.topic == *topic);
        if let Some(at) = known {
            self.given[at].used_at = self.clock;
            return alias_at(at).map_or(Naming::Name, Naming::Alias);
        }
        let filled = self.seen_count.min(SEEN_COUNT);
        if !self.seen[..filled].contains(&hash) {
            self.seen[self.seen_count % SEEN_COUNT] = hash;
            self.seen_count += 1;
            return Naming::Name;
        }
        let place = self.place().filter(|_| topic.len() <= room_bytes);
        place.and_then(alias_at).map_or(Naming::Name, Naming::Both)
    }

    /// Notes that a message with [`Naming::Both`] left.
    pub(in crate::mqtt) fn assign(&mut self, alias: NonZeroU16, topic: &str) {
        let given = Given {
            topic: topic.into(),
            used_at: self.clock,
        };
        self.topic_bytes += topic.len();
        match self.given.get_mut(usize::from(alias.get()) - 1) {
            Some(former) => {
                self.topic_bytes -= former.topic.len();
                *former = given;
            }
            None => self.given.push(given),
        }
    }

    /// What they take.
    pub(in crate::mqtt) const fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.given.capacity() * size_of::<Given>() + self.topic_bytes
    }

    /// Where a new alias can be, if anywhere.
    fn place(&self) -> Option<usize> {
        if self.given.len() < usize::from(self.limit) {
            return Some(self.given.len());
        }
        let stalest = (0..self.given.len()).min_by_key(|at| self.given[*at].used_at)?;
        let is_stale = self.clock - self.given[stalest].used_at > STALE_COUNT;
        is_stale.then_some(stalest)
    }
}

fn alias_at(at: usize) -> Option<NonZeroU16> {
    NonZeroU16::new(u16::try_from(at + 1).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(aliases: &mut OutboundAliases, topic: &str) -> Naming {
        let naming = aliases.choose(topic, sync::topic_hash(topic), 100);
        if let Naming::Both(alias) = naming {
            aliases.assign(alias, topic);
        }
        naming
    }

    fn alias(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    /// [MQTT-3.1.2-26]
    #[test]
    fn a_topic_that_comes_again_gets_an_alias() {
        let mut aliases = OutboundAliases::new(2).unwrap();
        for topic in ["first", "second"] {
            assert_eq!(send(&mut aliases, topic), Naming::Name);
        }
        assert_eq!(send(&mut aliases, "second"), Naming::Both(alias(1)));
        assert_eq!(send(&mut aliases, "first"), Naming::Both(alias(2)));
        assert_eq!(send(&mut aliases, "second"), Naming::Alias(alias(1)));
        assert_eq!(aliases.topic_bytes, 11);
        // All are given and in use.
        for _ in 0..2 {
            assert_eq!(send(&mut aliases, "third"), Naming::Name);
        }
        assert!(OutboundAliases::new(0).is_none());
    }

    #[test]
    fn short_topics_and_those_without_room_are_written_out() {
        let mut aliases = OutboundAliases::new(2).unwrap();
        for _ in 0..3 {
            assert_eq!(send(&mut aliases, "abc"), Naming::Name);
            assert_eq!(aliases.choose("long/topic", 1, 9), Naming::Name);
        }
        assert_eq!(aliases.choose("long/topic", 1, 10), Naming::Both(alias(1)));
    }

    #[test]
    fn an_alias_that_was_not_used_for_long_goes_to_another_topic() {
        let mut aliases = OutboundAliases::new(1).unwrap();
        send(&mut aliases, "old/topic");
        send(&mut aliases, "old/topic");
        for _ in 0..STALE_COUNT {
            assert_eq!(send(&mut aliases, "newer/topic"), Naming::Name);
        }
        assert_eq!(send(&mut aliases, "newer/topic"), Naming::Both(alias(1)));
        assert_eq!(send(&mut aliases, "newer/topic"), Naming::Alias(alias(1)));
        assert_eq!(send(&mut aliases, "old/topic"), Naming::Name);
        assert_eq!(aliases.topic_bytes, "newer/topic".len());
    }

    #[test]
    fn topics_in_turn_do_not_take_aliases_from_each_other() {
        let mut aliases = OutboundAliases::new(4).unwrap();
        let topics: Vec<String> = (0..20).map(|number| format!("topic/{number}")).collect();
        let mut new_count = 0;
        for _ in 0..50 {
            for topic in &topics {
                new_count += usize::from(matches!(send(&mut aliases, topic), Naming::Both(_)));
            }
        }
        assert_eq!(new_count, 4);
        assert_eq!(
            aliases.held_bytes(),
            size_of::<OutboundAliases>() + 4 * 24 + 4 * 7
        );
    }
}
