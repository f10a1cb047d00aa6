//! Exchanges that are under way: the steps of QoS 1 and 2 by packet identifier, both directions,
//! and the order in which publishes are answered.
//!
//! Outbound, the packet identifier is the broker's name of the delivery:
//! ```text
//! QoS 1  published ----------------------------------------------> PUBACK, acknowledged
//! QoS 2  keeping -> published -> (PUBREC) releasing -> released -> PUBCOMP, note deleted
//! ```
//! `keeping` and `releasing` wait for a note to be kept; `awaiting` is a publish of an earlier
//! connection that the broker repeats.
//!
//! Inbound:
//! ```text
//! QoS 2  waiting -> received, (left) -> (PUBREL) completing -> PUBCOMP
//! ```
//! `left` is what an earlier connection received.
//!
//! Notes have the packet identifier as key, plus [`INBOUND`] for those of the client. Their value is
//! 1 published, 2 released, and for those of the client the digest of what it published.

use std::collections::{BTreeMap, VecDeque};

use wire::mqtt::ReasonCode;

use crate::broker::{Delivery, Note, Refusal, Token};
use crate::rare::Empty;

/// Marks the notes about packet identifiers of the client.
const INBOUND: u32 = 1 << 16;

/// What a note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Our PUBLISH left, or will.
    Published,
    /// Our PUBREL left, or will.
    Released,
    /// The client's PUBLISH of that digest is stored.
    Received(u32),
}

/// The key of the note about what a client published.
pub(super) const fn received_key(packet_identifier: u16) -> u32 {
    packet_identifier as u32 | INBOUND
}

impl Mark {
    /// Makes the note about a packet identifier.
    pub(super) const fn note(self, packet_identifier: u16) -> Note {
        Note {
            key: self.key(packet_identifier),
            value: match self {
                Self::Published => 1,
                Self::Released => 2,
                Self::Received(digest) => digest,
            },
        }
    }

    /// The key of the note about a packet identifier.
    pub(super) const fn key(self, packet_identifier: u16) -> u32 {
        match self {
            Self::Received(_) => received_key(packet_identifier),
            Self::Published | Self::Released => packet_identifier as u32,
        }
    }

    /// Reads a note; `None` for one that this version did not write.
    fn read(note: &Note) -> Option<(Self, u16)> {
        let packet_identifier = u16::try_from(note.key & !INBOUND).ok()?;
        match (note.key & INBOUND, note.value) {
            (0, 1) => Some((Self::Published, packet_identifier)),
            (0, 2) => Some((Self::Released, packet_identifier)),
            (INBOUND, digest) => Some((Self::Received(digest), packet_identifier)),
            _ => None,
        }
    }
}

/// The step of an outbound exchange.
#[derive(Clone, Debug)]
pub(super) enum Outbound {
    /// QoS 2: the note is not kept yet; PUBLISH leaves then.
    Keeping(Box<Delivery>),
    /// QoS 2 of an earlier connection: waits for the broker to repeat the message.
    Awaiting,
    /// QoS 2: waits for PUBREC.
    Published,
    /// QoS 2: the note is not kept yet; PUBREL leaves then.
    Releasing,
    /// QoS 2: waits for PUBCOMP.
    Released,
}

/// The step of an inbound QoS 2 exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    /// The publish of that digest is not answered yet; PUBREC leaves then.
    Waiting(u32),
    /// Waits for PUBREL.
    Received(u32),
    /// Waits for PUBREL, or for whatever else the client means by that packet identifier: it may have
    /// forgotten that it used it.
    Left(u32),
    /// The note is not deleted yet; PUBCOMP leaves then.
    Completing,
}

/// What a publish of QoS 2 is whose packet identifier is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// The same message once more. [MQTT-4.3.3-10]
    Repeat,
    /// Another message: the client lost its memory. It was never told that this one is stored.
    Another,
    /// Another message, of a client that must know that the packet identifier is in use.
    /// [MQTT-2.2.1-3]
    Clash,
}

impl Inbound {
    /// What a publish of that digest is at this step.
    pub(super) const fn meet(self, found: u32) -> Meeting {
        match self {
            Self::Completing => Meeting::Repeat,
            Self::Waiting(digest) | Self::Received(digest) | Self::Left(digest)
                if digest == found =>
            {
                Meeting::Repeat
            }
            Self::Waiting(_) | Self::Received(_) => Meeting::Clash,
            Self::Left(_) => Meeting::Another,
        }
    }
}

/// Tells messages under one packet identifier apart. Properties are left out: a repeat may have
/// less of its expiry interval.
pub(super) fn digest_of(topic: &str, payload: &[u8]) -> u32 {
    // No topic has a zero. [MQTT-4.7.3-2]
    let topic = crc32c::crc32c_append(crc32c::crc32c(topic.as_bytes()), &[0]);
    crc32c::crc32c_append(topic, payload)
}

/// All exchanges of a connection.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    /// Of QoS 2.
    pub(super) outbound: BTreeMap<u16, Outbound>,
    pub(super) inbound: BTreeMap<u16, Inbound>,
    /// Of QoS 1, which wait for PUBACK, as they were sent: answers come in the same order.
    published: VecDeque<u16>,
    /// What messages whose notes are not kept yet take.
    pub(super) keeping_bytes: usize,
}

/// A list of less room never gives any back while there is something in it.
const KEPT_ROOM: usize = 32;

impl Empty for Inflight {
    const EMPTY: &'static Self = &Self {
        outbound: BTreeMap::new(),
        inbound: BTreeMap::new(),
        published: VecDeque::new(),
        keeping_bytes: 0,
    };

    fn is_empty(&self) -> bool {
        self.outbound.is_empty() && self.inbound.is_empty() && self.published.is_empty()
    }
}

impl Inflight {
    /// Notes that a message of QoS 1 left.
    pub(super) fn publish_once(&mut self, packet_identifier: u16) {
        let published = &mut self.published;
        if published.len() == published.capacity() {
            published.reserve_exact((published.len() / 4).max(8));
        }
        published.push_back(packet_identifier);
    }

    /// Settles a message of QoS 1; false when none waits for that.
    pub(super) fn settle_once(&mut self, packet_identifier: u16) -> bool {
        let mut published = self.published.iter();
        let found = published.position(|it| *it == packet_identifier);
        let found = found.and_then(|at| self.published.remove(at));
        let (count, room) = (self.published.len(), self.published.capacity());
        if room > KEPT_ROOM && count * 4 <= room {
            self.published.shrink_to(room / 2);
        }
        found.is_some()
    }

    /// Whether a message of QoS 1 waits for its PUBACK.
    pub(super) fn is_published_once(&self, packet_identifier: u16) -> bool {
        self.published.contains(&packet_identifier)
    }

    /// Holds a message of QoS 2 until its note is kept.
    pub(super) fn keep(&mut self, packet_identifier: u16, delivery: Delivery) {
        self.keeping_bytes += kept_bytes(&delivery);
        let step = Outbound::Keeping(Box::new(delivery));
        self.outbound.insert(packet_identifier, step);
    }

    /// Takes a message whose note is kept, which counts as published from now on.
    pub(super) fn take_kept(&mut self, packet_identifier: u16) -> Option<Box<Delivery>> {
        let step = self.outbound.get_mut(&packet_identifier)?;
        match std::mem::replace(step, Outbound::Published) {
            Outbound::Keeping(delivery) => {
                self.keeping_bytes -= kept_bytes(&delivery);
                Some(delivery)
            }
            other => {
                *step = other;
                None
            }
        }
    }

    /// Takes over that a publish of QoS 2 is stored.
    pub(super) fn receive(&mut self, packet_identifier: u16) {
        if let Some(step) = self.inbound.get_mut(&packet_identifier)
            && let Inbound::Waiting(digest) = *step
        {
            *step = Inbound::Received(digest);
        }
    }

    /// Gives back room that is no longer needed.
    pub(super) fn shrink(&mut self) {
        if self.published.capacity() > KEPT_ROOM {
            let most = self.published.len() + self.published.len() / 4;
            self.published.shrink_to(most);
        }
    }

    /// Takes over what earlier connections left.
    pub(super) fn restore(notes: &[Note]) -> Self {
        let mut inflight = Self::default();
        for (mark, packet_identifier) in notes.iter().filter_map(Mark::read) {
            match mark {
                Mark::Published => {
                    inflight
                        .outbound
                        .insert(packet_identifier, Outbound::Awaiting);
                }
                Mark::Released => {
                    inflight
                        .outbound
                        .insert(packet_identifier, Outbound::Released);
                }
                Mark::Received(digest) => {
                    inflight
                        .inbound
                        .insert(packet_identifier, Inbound::Left(digest));
                }
            }
        }
        inflight
    }
}

/// What a message takes that is held for its note, though others may hold it as well.
fn kept_bytes(delivery: &Delivery) -> usize {
    size_of::<Delivery>() + delivery.record.as_bytes().len()
}

/// Answers to publishes in the order in which these came. [MQTT-4.6.0-2] [MQTT-4.6.0-3]
#[derive(Debug, Default)]
pub(super) struct Answers {
    queue: VecDeque<Answer>,
    /// The token of the first in the queue.
    first: u64,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) packet_identifier: u16,
    pub(super) kind: AnswerKind,
    /// `None` while the publish is not decided.
    pub(super) reason_code: Option<ReasonCode>,
    /// Why not, if the publish is refused.
    pub(super) refusal: Option<Refusal>,
}

/// Which packet answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// QoS 1.
    Puback,
    /// QoS 2.
    Pubrec,
}

impl Empty for Answers {
    const EMPTY: &'static Self = &Self {
        queue: VecDeque::new(),
        first: 0,
    };

    /// Then every token was used, and the first may be given again.
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Answers {
    /// Reserves the next place.
    pub(super) fn push(&mut self, answer: Answer) -> Token {
        self.queue.push_back(answer);
        Token(self.first + self.queue.len() as u64 - 1)
    }

    /// Decides an answer; gives it back. `None` for a token that was never given.
    pub(super) fn decide(
        &mut self,
        token: Token,
        reason_code: ReasonCode,
        refusal: Option<Refusal>,
    ) -> Option<Answer> {
        let at = usize::try_from(token.0.checked_sub(self.first)?).ok()?;
        let answer = self.queue.get_mut(at)?;
        answer.reason_code = Some(reason_code);
        answer.refusal = refusal;
        Some(*answer)
    }

    /// Takes the first answer if it is decided.
    pub(super) fn pop(&mut self) -> Option<(Answer, ReasonCode)> {
        let reason_code = self.queue.front()?.reason_code?;
        let answer = self.queue.pop_front()?;
        self.first += 1;
        Some((answer, reason_code))
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

/// What a kept note lets happen; packed with its packet identifier into a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// PUBLISH leaves.
    Publish,
    /// PUBREL leaves.
    Release,
    /// PUBCOMP leaves.
    Complete,
    /// Nothing.
    Nothing,
}

impl Then {
    pub(super) const fn token(self, packet_identifier: u16) -> Token {
        Token((self as u64) << 16 | packet_identifier as u64)
    }

    pub(super) const fn read(token: Token) -> (Self, u16) {
        let then = match token.0 >> 16 {
            0 => Self::Publish,
            1 => Self::Release,
            2 => Self::Complete,
            _ => Self::Nothing,
        };
        (then, (token.0 & 0xFFFF) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_keep_their_bytes() {
        for (mark, key, value) in [
            (Mark::Published, 0x0102, 1),
            (Mark::Released, 0x0102, 2),
            (Mark::Received(0xFFFF_0003), 0x1_0102, 0xFFFF_0003),
        ] {
            let note = mark.note(0x0102);
            assert_eq!((note.key, note.value), (key, value));
            assert_eq!(Mark::read(&note), Some((mark, 0x0102)));
        }
        let newer = Note {
            key: 1 << 17,
            value: 1,
        };
        assert_eq!(Mark::read(&newer), None);
    }

    #[test]
    fn answers_leave_in_their_order() {
        let mut answers = Answers::default();
        let answer = |packet_identifier| Answer {
            packet_identifier,
            kind: AnswerKind::Puback,
            reason_code: None,
            refusal: None,
        };
        let tokens = [1, 2, 3].map(|number| answers.push(answer(number)));
        assert!(
            answers
                .decide(tokens[1], ReasonCode::Success, None)
                .is_some()
        );
        assert_eq!(answers.pop(), None);
        assert!(
            answers
                .decide(tokens[0], ReasonCode::Success, None)
                .is_some()
        );
        let left = [answers.pop(), answers.pop()].map(|it| it.map(|it| it.0.packet_identifier));
        assert_eq!(left, [Some(1), Some(2)]);
        assert_eq!(answers.pop(), None);
        assert!(
            answers
                .decide(tokens[2], ReasonCode::Success, None)
                .is_some()
        );
        assert!(
            answers
                .decide(Token(99), ReasonCode::Success, None)
                .is_none()
        );
        assert_eq!(answers.len(), 1);
    }

    #[test]
    fn tokens_say_what_comes_next() {
        for then in [Then::Publish, Then::Release, Then::Complete, Then::Nothing] {
            assert_eq!(Then::read(then.token(0xFFFF)), (then, 0xFFFF));
        }
    }
}
