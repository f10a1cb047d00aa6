//! What a client may rely on of one mailbox, from what was asked for and what was answered. Where
//! more than one thing may have happened, nothing is demanded.

use std::collections::{BTreeMap, BTreeSet};

use wire::mq9::{Message, Priority, Send};

use crate::judge::Moment;

/// Times within one second, of what counts in seconds.
const SECOND: u64 = 1_000;

/// What is known of an address, over all its lives.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    lives: Vec<Life>,
    letters: Vec<Letter>,
    /// How often a payload was sent.
    payloads: BTreeMap<Vec<u8>, usize>,
    refused: BTreeSet<Vec<u8>>,
    /// Of a key, how often it was sent.
    keys: BTreeMap<String, usize>,
    /// Ids that somebody wanted to be deleted.
    pub(crate) doomed: BTreeSet<u64>,
    /// Of those that were, when that was answered.
    pub(crate) deleted: BTreeMap<u64, Moment>,
    pub(crate) has_acknowledgement: bool,
    /// Groups that somebody may have set back.
    pub(crate) set_back: BTreeSet<String>,
    /// What a group is done with: of each priority the last message, and when that was answered.
    done: BTreeMap<(String, Priority), (u64, Moment)>,
}

/// From when, at the earliest, it may be over; and when it is at the latest.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) asked: Moment,
    pub(crate) ttl: u64,
    pub(crate) made: Option<Moment>,
}

/// A message that was taken.
#[derive(Debug)]
struct Letter {
    /// None while it is delayed.
    id: Option<u64>,
    asked: Moment,
    taken: Moment,
    send: Send,
}

/// What is true of all mailboxes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long messages are kept, in milliseconds.
    pub(crate) message_ttl: u64,
    /// Whether messages may give way.
    pub(crate) is_tight: bool,
    /// Whether groups that are idle may be forgotten, so that they begin anew.
    pub(crate) may_forget: bool,
}

impl Mailbox {
    pub(crate) fn ask_life(&mut self, asked: Moment, ttl_seconds: u64) {
        if ttl_seconds > 0 {
            let (ttl, made) = (ttl_seconds.saturating_mul(SECOND), None);
            self.lives.push(Life { asked, ttl, made });
        }
    }

    /// Notes when a mailbox was there, or that it was not to be.
    pub(crate) fn end_life(&mut self, asked: Moment, made: Option<Moment>) {
        let Some(at) = self.lives.iter().position(|it| it.asked == asked) else {
            return;
        };
        match made {
            Some(_) => self.lives[at].made = made,
            None => drop(self.lives.remove(at)),
        }
    }

    /// Whether the mailbox may have ended between two moments.
    fn may_have_ended(&self, from: Moment, now: Moment) -> bool {
        self.lives.iter().any(|life| {
            let is_before = life.made.is_some_and(|it| it.time + life.ttl <= from.time);
            life.asked.time + life.ttl <= now.time && !is_before
        })
    }

    pub(crate) fn ask_send(&mut self, send: &Send) {
        *self.payloads.entry(send.payload.clone()).or_default() += 1;
        if let Some(key) = &send.attributes.key {
            *self.keys.entry(key.clone()).or_default() += 1;
        }
    }

    pub(crate) fn refuse(&mut self, send: Send) {
        self.refused.insert(send.payload);
    }

    pub(crate) fn take(&mut self, id: Option<u64>, send: Send, asked: Moment, taken: Moment) {
        for other in self.letters.iter().filter(|it| it.id.is_some()) {
            if id.is_none() || self.may_have_ended(other.asked, taken) {
                continue;
            }
            assert_ne!(id, other.id, "an id twice: {send:?}, {other:?}");
            let is_later = asked.turn > other.taken.turn;
            assert!(!is_later || id > other.id, "ids grow");
        }
        self.letters.push(Letter {
            id,
            asked,
            taken,
            send,
        });
    }

    pub(crate) fn acknowledge(&mut self, group: String, id: u64, asked: Moment, now: Moment) {
        let is_it = |it: &&Letter| it.id == Some(id) && it.taken.turn < asked.turn;
        let found = self.letters.iter().filter(is_it).next_back();
        let Some(letter) = found.filter(|it| !self.may_have_ended(it.asked, now)) else {
            return;
        };
        let place = (group, letter.send.attributes.priority);
        let former = self.done.get(&place);
        if former.is_none_or(|it| it.0 <= id || self.may_have_ended(it.1, now)) {
            self.done.insert(place, (id, now));
        }
    }

    /// Checks what somebody found there who asked then.
    pub(crate) fn find(&self, messages: &[Message], asked: Moment, now: Moment) {
        for message in messages {
            let is_once = self.payloads.get(&message.payload).copied() == Some(1);
            let is_refused = self.refused.contains(&message.payload);
            assert!(!(is_once && is_refused), "refused, and there: {message:?}");
            if let Some(at) = self.deleted.get(&message.id) {
                let is_before = at.turn < asked.turn && !self.may_have_ended(*at, now);
                assert!(!is_before, "deleted, and there: {message:?}");
            }
            for letter in self.letters.iter().filter(|it| it.id == Some(message.id)) {
                if !self.may_have_ended(letter.asked, now) {
                    assert_eq!(letter.send.payload, message.payload, "another message");
                }
            }
        }
    }

    /// Checks what a group was given that asked then.
    pub(crate) fn fetch(&self, group: &str, messages: &[Message], asked: Moment, now: Moment) {
        if self.set_back.contains(group) {
            return;
        }
        for message in messages {
            let Some((id, at)) = self.done.get(&(group.to_owned(), message.priority)) else {
                continue;
            };
            let is_before = at.turn < asked.turn && !self.may_have_ended(*at, now);
            assert!(
                !is_before || message.id > *id,
                "{group} is done with {id}, and is given {message:?}"
            );
        }
    }

    /// Checks that everything is there that must be, in an answer that has room for all.
    pub(crate) fn audit(&self, messages: &[Message], rules: Rules, now: Moment) {
        for letter in &self.letters {
            if self.may_be_gone(letter, rules, now) {
                continue;
            }
            let is_it = |it: &Message| match letter.id {
                Some(id) => it.id == id,
                None => it.payload == letter.send.payload,
            };
            let is_there = messages.iter().any(is_it);
            assert!(
                is_there,
                "taken and lost: {letter:?}, there are {messages:?}"
            );
        }
        for message in messages {
            let letters = self.letters.iter();
            for letter in letters.filter(|it| it.id == Some(message.id)) {
                let ttl = letter
                    .send
                    .attributes
                    .ttl_seconds
                    .unwrap_or(u64::MAX / SECOND);
                let is_over = letter.taken.time.saturating_add(ttl * SECOND) <= now.time;
                let is_it = !self.may_have_ended(letter.asked, now);
                assert!(!(is_it && is_over), "over, and there: {letter:?}");
            }
        }
    }

    fn may_be_gone(&self, letter: &Letter, rules: Rules, now: Moment) -> bool {
        let attributes = &letter.send.attributes;
        let delay = attributes.delay_seconds.unwrap_or(0).saturating_mul(SECOND);
        let ttl = attributes.ttl_seconds.map(|it| it.saturating_mul(SECOND));
        // A time to live of its own goes by while it is delayed.
        let over = ttl.unwrap_or(rules.message_ttl.saturating_add(delay));
        let is_doomed = match letter.id {
            Some(id) => self.doomed.contains(&id),
            None => {
                let is_due = letter.taken.time.saturating_add(delay + SECOND) <= now.time;
                !is_due || !self.doomed.is_empty()
            }
        };
        let is_replaced = attributes
            .key
            .as_ref()
            .is_some_and(|key| self.keys[key] > 1);
        is_doomed
            || is_replaced
            || letter.asked.time.saturating_add(over) <= now.time
            || (rules.is_tight && self.has_acknowledgement)
            || self.may_have_ended(letter.asked, now)
    }
}
