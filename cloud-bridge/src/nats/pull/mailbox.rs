//! One mailbox of the cloud: what of its answers is next, and what is missing in between.
//!
//! Ids grow by one with each message, but an answer has holes in it: messages that were deleted or
//! are over, and such as are on their way, since the server gives the more important first. So a
//! position passes a hole only when two complete answers, a while apart, both have it. An answer
//! is complete when it has fewer messages than were asked for; only then nothing was left out.

use std::collections::BTreeMap;
use std::time::Duration;

use sync::Instant;
use tracing::warn;
use wire::mq9::Message;

use super::super::incoming::{Cut, Lost};
use super::super::position::Position;
use crate::Pull;

#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) address: String,
    pub(super) position: Position,
    pub(super) due: Instant,
    /// The last pause, which doubles while nothing comes.
    pub(super) pause: Duration,
    /// How many messages to ask for.
    pub(super) count: u32,
    /// The gateway did not store its last message: the next request is for one.
    pub(super) is_full_here: bool,
    /// The next request makes it.
    pub(super) is_to_be_made: bool,
    /// It was made on this connection.
    pub(super) was_made: bool,
    /// Whether `count` may not grow any more.
    is_shrunk: bool,
    holes: Vec<Hole>,
    /// Messages that no answer has room for, and their bytes.
    lost: BTreeMap<u64, u64>,
    /// What was complained of last.
    complaint: String,
}

/// Ids that a complete answer did not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    first: u64,
    /// Behind the last.
    end: u64,
    since: Instant,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These are to be handed over, in this order.
    Messages(Vec<Message>),
    /// There is nothing new.
    Nothing,
    /// Ask again then.
    At(Instant),
}

/// How many messages are asked for at first,
const COUNT: u32 = 64;
/// and at most, where more important ones hide older ones.
const COUNT_MOST: u32 = 4096;
/// How long a message may be on its way while later ones are there.
const HOLE_PAUSE: Duration = Duration::from_secs(1);
/// Holes remembered; those beyond are looked at later.
const HOLES: usize = 256;
/// Messages remembered that no answer has room for.
const LOST: usize = 64;
/// Seconds by which clocks of the cloud's nodes may differ.
const SKEW: u64 = 10;

impl Mailbox {
    pub(super) fn new(pull: &Pull) -> Self {
        let position = pull.position.as_deref().map(Position::decode);
        if position == Some(None) {
            warn!(
                "the position in mailbox {} can't be read, all is fetched again",
                pull.address
            );
        }
        Self {
            address: pull.address.clone(),
            position: position.flatten().unwrap_or_default(),
            due: Instant::default(),
            pause: Duration::ZERO,
            count: COUNT,
            is_full_here: false,
            is_to_be_made: false,
            was_made: false,
            is_shrunk: false,
            holes: Vec::new(),
            lost: BTreeMap::new(),
            complaint: String::new(),
        }
    }

    /// Takes the answer to a request for `count` messages from the position on.
    pub(super) fn take(&mut self, now: Instant, count: u32, mut messages: Vec<Message>) -> Next {
        let is_complete = messages.len() < count as usize;
        let received = messages.len();
        messages.retain(|message| message.id != NO_ID);
        if messages.len() < received {
            self.complain("a message there has the highest id of all, behind which no position is");
        }
        let highest = messages.iter().map(|message| message.id).max();
        if highest.is_some_and(|id| id.saturating_add(1) < self.position.next) {
            self.begin_anew();
            return Next::At(now);
        }
        messages.retain(|message| message.id >= self.position.next);
        messages.sort_by_key(|message| message.id);
        let is_shared = |pair: &[Message]| pair[0].id == pair[1].id && pair[0] != pair[1];
        if messages.windows(2).any(is_shared) {
            self.complain(
                "two of its messages have one id; the server needs one partition a topic",
            );
            return Next::Nothing;
        }
        messages.dedup_by_key(|message| message.id);
        let run = self.run(now, is_complete, &messages);
        if is_complete {
            let from = messages[..run].last().map_or(self.position.next, after);
            self.remember(now, from, &messages[run..]);
        }
        if run > 0 {
            messages.truncate(run);
            return self.known_passed(now, messages);
        }
        match self.holes.first().copied() {
            _ if messages.is_empty() => Next::Nothing,
            // It was asked for fewer than it may be.
            _ if count == 1 && self.count > 1 => Next::At(now),
            _ if !is_complete => self.ask_for_more(now),
            Some(hole) => Next::At((hole.since + HOLE_PAUSE).max(now)),
            None => Next::Nothing,
        }
    }

    /// The position when this message, and with it all before it, is durable.
    pub(super) fn position_after(&self, message: &Message) -> Position {
        Position {
            next: after(message),
            newest: self.position.newest.max(message.time),
            ..self.position
        }
    }

    /// The position when all these are.
    pub(super) fn position_behind<'a>(
        &self,
        messages: impl Iterator<Item = &'a Message>,
    ) -> Position {
        messages.fold(self.position, |position, message| Position {
            next: after(message),
            newest: position.newest.max(message.time),
            ..position
        })
    }

    /// An answer to a request for `count` was too large. False when no smaller one is possible.
    pub(super) fn ask_for_fewer(&mut self, count: u32) -> bool {
        self.is_shrunk = true;
        self.count = (count / 4).max(1);
        count > 1
    }

    /// Notes messages that no answer has room for. False when there are too many of them.
    pub(super) fn note_lost(&mut self, lost: &[Lost]) -> bool {
        for Lost { id, bytes } in lost {
            let former = self.lost.insert(*id, *bytes);
            if former.is_none() {
                // Without what made it too large an answer may be as long as ever.
                (self.is_shrunk, self.count) = (false, COUNT);
            }
        }
        if self.lost.len() > LOST {
            self.lost.clear();
            return false;
        }
        true
    }

    /// What is to be left out of an answer that is too large.
    pub(super) fn cut(&self) -> Cut {
        match self.lost.is_empty() {
            true => Cut::None,
            false => Cut::Of(self.lost.keys().copied().collect()),
        }
    }

    /// The bytes of a message that no answer has room for.
    pub(super) fn lost_bytes(&self, id: u64) -> Option<u64> {
        self.lost.get(&id).copied()
    }

    /// Forgets those that the position has passed.
    pub(super) fn forget_lost(&mut self) {
        self.lost = self.lost.split_off(&self.position.next);
    }

    /// Begins with the shortest pause again.
    pub(super) fn reset_pause(&mut self) {
        self.pause = Duration::ZERO;
        self.complaint.clear();
    }

    /// Tells the operator why nothing comes, once until something does.
    pub(super) fn complain(&mut self, why: &str) {
        if self.complaint != why {
            warn!("cloud: mailbox {} is not pulled: {why}", self.address);
            why.clone_into(&mut self.complaint);
        }
    }

    /// How many of the messages follow one another, and the position, without a hole that has to
    /// be looked at again.
    fn run(&self, now: Instant, is_complete: bool, messages: &[Message]) -> usize {
        let mut expected = self.position.next;
        let mut count = 0;
        for message in messages {
            let (first, end) = (expected, message.id);
            let is_known = |hole: &Hole| {
                hole.first <= first && end <= hole.end && hole.since + HOLE_PAUSE <= now
            };
            if first != end && !(is_complete && self.holes.iter().any(is_known)) {
                break;
            }
            expected = after(message);
            count += 1;
        }
        count
    }

    /// Notes the holes of a complete answer from an id on; those that were known keep their age.
    fn remember(&mut self, now: Instant, from: u64, messages: &[Message]) {
        let known = std::mem::take(&mut self.holes);
        let mut first = from;
        for message in messages {
            let (end, next) = (message.id, after(message));
            if first < end && self.holes.len() < HOLES {
                let mut older = known.iter();
                let older = older.find(|hole| hole.first <= first && end <= hole.end);
                let since = older.map_or(now, |hole| hole.since);
                self.holes.push(Hole { first, end, since });
            }
            first = next;
        }
    }

    /// Leaves out what is known from before the server began to count anew.
    fn known_passed(&mut self, now: Instant, mut messages: Vec<Message>) -> Next {
        let known_before = self.position.known_before;
        let is_known = |message: &&Message| message.time < known_before;
        let known = messages.iter().take_while(is_known).count();
        if let Some(message) = messages[..known].last() {
            self.position = self.position_after(message);
        }
        messages.drain(..known);
        // Whatever comes after one that is not known is taken, in doubt twice.
        match messages.is_empty() {
            true => Next::At(now),
            false => Next::Messages(messages),
        }
    }

    /// More important messages, as many as were asked for, stand before older ones.
    fn ask_for_more(&mut self, now: Instant) -> Next {
        if self.is_shrunk || self.count >= COUNT_MOST {
            self.complain(
                "its important messages and older ones before them do not fit one answer; \
                 reply_bytes may be too small",
            );
            return Next::Nothing;
        }
        self.count = (self.count * 4).min(COUNT_MOST);
        Next::At(now)
    }

    /// The server lost messages and gives their ids out again. From the first one on all are
    /// looked at, and those that are older than what was had are passed over.
    fn begin_anew(&mut self) {
        warn!(
            "cloud: mailbox {} begins anew below message {}",
            self.address, self.position.next
        );
        self.holes.clear();
        self.lost.clear();
        self.position.next = 0;
        self.position.known_before = self.position.newest.saturating_sub(SKEW);
    }
}

/// An id behind which there is none, so that its message would be the next one for ever.
const NO_ID: u64 = u64::MAX;

/// The id behind a message.
const fn after(message: &Message) -> u64 {
    message.id.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use wire::mq9::Priority;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn mailbox(next: u64) -> Mailbox {
        let position = Position {
            next,
            newest: 1000,
            known_before: 0,
        };
        Mailbox::new(&Pull {
            address: "a".to_owned(),
            position: Some(position.encode()),
        })
    }

    fn messages(ids: &[u64]) -> Vec<Message> {
        let message = |id: &u64| Message {
            id: *id,
            priority: Priority::Normal,
            headers: Vec::new(),
            payload: Vec::new(),
            time: id.saturating_add(1000),
        };
        ids.iter().map(message).collect()
    }

    /// The ids that are handed over; they count as stored.
    fn taken(mailbox: &mut Mailbox, now: Instant, count: u32, ids: &[u64]) -> Vec<u64> {
        match mailbox.take(now, count, messages(ids)) {
            Next::Messages(messages) => {
                let last = messages.last().expect("never none");
                mailbox.position = mailbox.position_after(last);
                messages.iter().map(|message| message.id).collect()
            }
            Next::Nothing | Next::At(_) => Vec::new(),
        }
    }

    #[test]
    fn repeats_and_what_lies_below_are_left_out_whatever_their_order() {
        let mut mailbox = mailbox(3);
        assert_eq!(
            taken(&mut mailbox, at(0), 64, &[5, 2, 3, 3, 4, 5]),
            [3, 4, 5]
        );
        // The last record again is all that is there.
        assert_eq!(mailbox.take(at(0), 64, messages(&[5])), Next::Nothing);
    }

    /// It was taken, and was the next one again at once, for ever.
    #[test]
    fn a_message_behind_which_no_position_is_is_left_where_it_is() {
        let mut mailbox = mailbox(3);
        assert_eq!(mailbox.take(at(0), 64, messages(&[NO_ID])), Next::Nothing);
        assert!(mailbox.complaint.contains("the highest id"));
        assert_eq!(taken(&mut mailbox, at(0), 64, &[3, NO_ID]), [3]);
        assert_eq!(taken(&mut mailbox, at(9000), 64, &[NO_ID]), [0; 0]);
        assert_eq!(mailbox.position.next, 4);
        assert_eq!(taken(&mut mailbox, at(9000), 64, &[4, NO_ID]), [4]);
    }

    /// A server with several partitions counts in each of them, and one of two would be lost.
    #[test]
    fn two_messages_with_one_id_are_left_where_they_are() {
        let mut mailbox = mailbox(0);
        let mut messages = messages(&[0, 0, 1]);
        messages[1].payload = b"another".to_vec();
        assert_eq!(mailbox.take(at(0), 64, messages), Next::Nothing);
        assert!(mailbox.complaint.contains("one partition"));
        assert_eq!(mailbox.position.next, 0);
    }

    #[test]
    fn a_hole_is_passed_when_it_is_still_there_a_while_later() {
        let mut mailbox = mailbox(0);
        assert_eq!(taken(&mut mailbox, at(0), 64, &[0, 2, 3, 6]), [0]);
        assert_eq!(
            mailbox.take(at(10), 64, messages(&[2, 3, 6])),
            Next::At(at(1000))
        );
        // One that was on its way has come.
        assert_eq!(
            taken(&mut mailbox, at(1000), 64, &[1, 2, 3, 6]),
            [1, 2, 3, 6]
        );
        assert_eq!(taken(&mut mailbox, at(1000), 64, &[8]), [0; 0]);
        assert_eq!(taken(&mut mailbox, at(1999), 64, &[8]), [0; 0]);
        assert_eq!(taken(&mut mailbox, at(2000), 64, &[8]), [8]);
    }

    /// More important messages fill an answer, and the older ones behind them would be lost.
    #[test]
    fn an_answer_that_is_not_complete_has_no_holes() {
        let mut mailbox = mailbox(0);
        let critical: Vec<u64> = (100..164).collect();
        for now in [0, 5000] {
            assert_eq!(
                mailbox.take(at(now), 64, messages(&critical)),
                Next::At(at(now))
            );
        }
        assert_eq!(mailbox.count, 1024);
        let all: Vec<u64> = (0..164).collect();
        assert_eq!(taken(&mut mailbox, at(5000), 1024, &all), all);
        // Nor does one that is too large let it ask for more.
        assert!(mailbox.ask_for_fewer(1024));
        assert_eq!(mailbox.count, 256);
        let critical: Vec<u64> = (500..756).collect();
        assert_eq!(mailbox.take(at(0), 256, messages(&critical)), Next::Nothing);
        assert!(mailbox.complaint.contains("reply_bytes"));
        mailbox.count = 1;
        assert!(!mailbox.ask_for_fewer(1));
    }

    #[test]
    fn a_server_that_counts_anew_is_followed_and_old_messages_are_passed_over() {
        let mut mailbox = mailbox(500);
        assert_eq!(mailbox.take(at(0), 64, messages(&[3])), Next::At(at(0)));
        let position = mailbox.position;
        assert_eq!((position.next, position.known_before), (0, 990));
        let mut messages = messages(&[0, 1, 2, 3]);
        messages[0].time = 10;
        messages[1].time = 989;
        let Next::Messages(taken) = mailbox.take(at(0), 64, messages.clone()) else {
            panic!("messages that are not known");
        };
        assert_eq!(taken, messages[2..]);
        messages.truncate(2);
        mailbox.position.next = 0;
        assert_eq!(mailbox.take(at(0), 64, messages), Next::At(at(0)));
        assert_eq!(mailbox.position.next, 2);
    }

    /// Their ids are those of others now.
    #[test]
    fn a_server_that_counts_anew_lost_no_message_yet() {
        let mut mailbox = mailbox(500);
        assert!(mailbox.note_lost(&[Lost { id: 501, bytes: 9 }]));
        assert_eq!(mailbox.take(at(0), 64, messages(&[3])), Next::At(at(0)));
        assert_eq!(mailbox.lost_bytes(501), None);
        assert_eq!(mailbox.cut(), Cut::None);
    }

    #[test]
    fn a_position_that_can_not_be_read_begins_at_the_beginning() {
        let mailbox = Mailbox::new(&Pull {
            address: "a".to_owned(),
            position: Some(vec![9; 25]),
        });
        assert_eq!(mailbox.position, Position::default());
    }

    #[test]
    fn holes_are_few() {
        let mut mailbox = mailbox(0);
        let ids: Vec<u64> = (0..2000).map(|id| 2 * id + 1).collect();
        assert_eq!(taken(&mut mailbox, at(0), 4096, &ids), [0; 0]);
        assert_eq!(mailbox.holes.len(), HOLES);
        assert_eq!(taken(&mut mailbox, at(1000), 4096, &ids).len(), HOLES);
    }
}
