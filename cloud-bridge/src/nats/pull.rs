//! Which mailbox is pulled when, and what of an answer is handed over.
//!
//! ```text
//! Idle     a mailbox is due            -> Asked
//! Asked    messages, in order          -> Handing
//! Asked    nothing, a failure, Down    -> Idle
//! Handing  stored, more left           -> Handing
//! Handing  stored, none left           -> Idle
//! Handing  several not stored, at once -> Handing, the first of them alone
//! Handing  one not stored, no others   -> Handing, after a pause
//! Handing  one not stored, others      -> Idle
//! ```
//!
//! One mailbox at a time is asked, and what it gave is handed over in bundles, one at a time and each
//! to be made durable as one, so that what is held is one answer however many mailboxes there are,
//! and a position never passes what is not durable. A bundle that could not be stored comes again
//! message by message: some of them may be. Where even one could not be, its mailbox leaves its turn
//! to the others, and is tried with one message until that is stored. Down changes nothing in Handing:
//! the message is with the gateway, not on the wire.

mod mailbox;

use std::collections::VecDeque;
use std::time::Duration;

use sync::{Instant, Token, WallTime};
use tracing::warn;
use wire::mq9::{Create, Deliver, Fetch, Message, Priority, Request, Send};

use self::mailbox::{Mailbox, Next};
use super::incoming::{Cut, Lost};
use super::verdict::Verdict;
use crate::session::Tokens;
use crate::{MailConfig, PulledMessage};

/// All mailboxes to be pulled. Outlives the connections that it is done by.
#[derive(Debug)]
pub(super) struct Puller {
    mailboxes: Vec<Mailbox>,
    pace: Pace,
    create: bool,
    tokens: Tokens,
    turn: Turn,
    /// Whether the last bundle could not be stored.
    is_single: bool,
}

/// How often to ask.
#[derive(Clone, Copy, Debug)]
struct Pace {
    least: Duration,
    most: Duration,
}

#[derive(Debug)]
enum Turn {
    Idle,
    Asked {
        at: usize,
        count: u32,
    },
    Handing {
        at: usize,
        /// In the order of their ids.
        messages: VecDeque<Message>,
        hand: Hand,
    },
}

/// The first message of those that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    /// It waits until then.
    Waiting(Instant),
    /// The gateway stores it.
    Given {
        token: Token,
        /// How many of them.
        count: usize,
    },
}

/// A message that could not be stored is handed over again after this time.
const DECLINE_PAUSE: Duration = Duration::from_secs(1);

impl Puller {
    pub(super) fn new(config: &MailConfig, tokens: Tokens) -> Self {
        Self {
            mailboxes: config.pull.iter().map(Mailbox::new).collect(),
            pace: Pace {
                least: config.pull_interval,
                most: config.pull_interval_most,
            },
            create: config.create,
            tokens,
            turn: Turn::Idle,
            is_single: false,
        }
    }

    /// Gives the next request for the server, if one is due; its answer belongs to
    /// [`Puller::answered`].
    pub(super) fn next_request(&mut self, now: Instant) -> Option<Request> {
        let Turn::Idle = self.turn else { return None };
        let due = |at: &usize| self.mailboxes[*at].due;
        let at = (0..self.mailboxes.len()).min_by_key(due)?;
        let mailbox = &mut self.mailboxes[at];
        if mailbox.due > now {
            return None;
        }
        let count = match mailbox.is_full_here {
            true => 1,
            false => mailbox.count,
        };
        self.turn = Turn::Asked { at, count };
        Some(match std::mem::take(&mut mailbox.is_to_be_made) {
            true => Request::Create(Create {
                name: Some(mailbox.address.clone()),
                ttl_seconds: Some(0),
                ..Create::default()
            }),
            false => Request::Fetch(Fetch {
                address: mailbox.address.clone(),
                group: None,
                deliver: Deliver::FromId(mailbox.position.next),
                is_forced: false,
                count,
                // Waiting there holds up others, and ends no earlier when a message comes.
                wait_milliseconds: 0,
                encoding: None,
            }),
        })
    }

    /// What is to be left out of an answer that is too large. One message is the smallest answer:
    /// where that is too large the message is, and is passed over wherever it stands from then on.
    pub(super) fn cut(&self) -> Cut {
        match self.turn {
            Turn::Asked { count: 1, .. } => Cut::All,
            Turn::Asked { at, .. } => self.mailboxes[at].cut(),
            Turn::Idle | Turn::Handing { .. } => Cut::None,
        }
    }

    /// The mailbox that was asked gave these, and of some of them only what is left.
    pub(super) fn answered(&mut self, now: Instant, messages: Vec<Message>, lost: &[Lost]) {
        let Some((mailbox, at, count)) = self.asked() else {
            return;
        };
        mailbox.is_full_here = false;
        if !mailbox.note_lost(lost) {
            mailbox.complain("too many of its next messages are over reply_bytes");
            return self.pause(now, at);
        }
        match mailbox.take(now, count, messages) {
            Next::Messages(messages) => {
                self.turn = Turn::Handing {
                    at,
                    messages: messages.into(),
                    hand: Hand::Waiting(now),
                };
            }
            Next::Nothing => self.pause(now, at),
            Next::At(due) => mailbox.due = due,
        }
    }

    /// The mailbox that was asked gave none.
    pub(super) fn failed(&mut self, now: Instant, verdict: &Verdict) {
        let create = self.create;
        let Some((mailbox, at, _)) = self.asked() else {
            return;
        };
        match verdict {
            // Once made, it may be missing on this node for some seconds still.
            Verdict::Missing if create && !mailbox.was_made => {
                mailbox.is_to_be_made = true;
                mailbox.was_made = true;
                mailbox.due = now;
                return;
            }
            Verdict::Refused(text) | Verdict::Rejected(text) => mailbox.complain(text),
            Verdict::Missing => mailbox.complain("there is no such mailbox in the cloud"),
            Verdict::Done { .. } => {}
        }
        self.pause(now, at);
    }

    /// The answer is over the limit, and was not read.
    pub(super) fn too_large(&mut self, now: Instant) {
        if let Some((mailbox, at, count)) = self.asked() {
            if mailbox.ask_for_fewer(count) {
                mailbox.due = now;
            } else {
                mailbox.complain("its next message is over reply_bytes");
                self.pause(now, at);
            }
        }
    }

    /// What was asked will not be answered.
    pub(super) fn disconnected(&mut self) {
        if let Turn::Asked { .. } = self.turn {
            self.turn = Turn::Idle;
        }
        for mailbox in &mut self.mailboxes {
            mailbox.was_made = false;
        }
    }

    /// Gives messages for the gateway, if some are due.
    pub(super) fn poll(&mut self, now: Instant, wall: WallTime) -> Option<(Token, PulledMessage)> {
        let Turn::Handing { at, messages, hand } = &mut self.turn else {
            return None;
        };
        match hand {
            Hand::Waiting(until) if *until <= now => {}
            Hand::Waiting(_) | Hand::Given { .. } => return None,
        }
        let mailbox = &self.mailboxes[*at];
        let count = match self.is_single {
            true => 1,
            false => bundle_of(mailbox, messages),
        };
        let token = self.tokens.take();
        *hand = Hand::Given { token, count };
        let message = messages.front().expect("messages are handed as they are");
        let position = mailbox
            .position_behind(messages.iter().take(count))
            .encode();
        let send = |message: &Message| send_of(&mailbox.address, message.clone(), wall);
        let pulled = PulledMessage {
            send: send(message),
            more: messages.iter().take(count).skip(1).map(send).collect(),
            position,
            too_large: mailbox.lost_bytes(message.id),
        };
        Some((token, pulled))
    }

    /// What was handed over is durable, and its position with it.
    pub(super) fn confirm(&mut self, now: Instant, token: Token) {
        if let Turn::Handing { at, messages, hand } = &mut self.turn
            && let Some(count) = hand.count_of(token)
        {
            self.is_single = false;
            let mailbox = &mut self.mailboxes[*at];
            mailbox.position = mailbox.position_behind(messages.iter().take(count));
            messages.drain(..count);
            mailbox.forget_lost();
            mailbox.reset_pause();
            *hand = Hand::Waiting(now);
            if messages.is_empty() {
                // There may be more, but others come first if they have waited for longer.
                mailbox.due = now;
                self.turn = Turn::Idle;
            }
        }
    }

    /// What was handed over could not be stored.
    pub(super) fn decline(&mut self, now: Instant, token: Token) {
        if let Turn::Handing { at, hand, .. } = &mut self.turn
            && let Some(count) = hand.count_of(token)
        {
            self.is_single = true;
            match (count, *at) {
                (1, at) if self.mailboxes.len() > 1 => {
                    self.mailboxes[at].is_full_here = true;
                    self.turn = Turn::Idle;
                    self.pause(now, at);
                }
                (1, _) => *hand = Hand::Waiting(now + DECLINE_PAUSE),
                // Perhaps some of several have room, at once.
                _ => *hand = Hand::Waiting(now),
            }
        }
    }

    /// When there is something to do without an answer.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.turn {
            Turn::Idle => self.mailboxes.iter().map(|mailbox| mailbox.due).min(),
            Turn::Handing {
                hand: Hand::Waiting(until),
                ..
            } => Some(*until),
            Turn::Asked { .. } | Turn::Handing { .. } => None,
        }
    }

    /// The mailbox that was asked, which from here on is not.
    fn asked(&mut self) -> Option<(&mut Mailbox, usize, u32)> {
        let Turn::Asked { at, count } = self.turn else {
            return None;
        };
        self.turn = Turn::Idle;
        Some((&mut self.mailboxes[at], at, count))
    }

    fn pause(&mut self, now: Instant, at: usize) {
        let mailbox = &mut self.mailboxes[at];
        mailbox.pause = (mailbox.pause * 2).clamp(self.pace.least, self.pace.most);
        mailbox.due = now + mailbox.pause;
    }
}

impl Hand {
    /// How many messages were given under a token, if it is theirs.
    fn count_of(self, token: Token) -> Option<usize> {
        match self {
            Self::Given {
                token: given,
                count,
            } if given == token => Some(count),
            Self::Given { .. } | Self::Waiting(_) => None,
        }
    }
}

/// How many of the first messages may be made durable as one: one that is itself lost, or that
/// another gateway sent and may have sent before, is dealt with alone.
fn bundle_of(mailbox: &Mailbox, messages: &VecDeque<Message>) -> usize {
    let is_alone = |message: &Message| {
        mailbox.lost_bytes(message.id).is_some() || is_from_gateway(&message.headers)
    };
    let mut bytes = 0;
    let together = messages.iter().take(BUNDLE_COUNT).take_while(|message| {
        bytes += message.headers.len() + message.payload.len();
        bytes <= BUNDLE_BYTES && !is_alone(message)
    });
    together.count().max(1)
}

/// Whether headers name the place of a record in another gateway, or perhaps do.
fn is_from_gateway(headers: &[u8]) -> bool {
    const NAME: &[u8] = b"edge-id";
    let mut found = headers.windows(NAME.len());
    found.any(|bytes| bytes.eq_ignore_ascii_case(NAME))
}

/// Messages of one bundle, and their bytes: what a commit may well have.
const BUNDLE_COUNT: usize = 64;
const BUNDLE_BYTES: usize = 64 << 10;

/// Makes what was kept there a message that is sent here and now.
fn send_of(address: &str, message: Message, wall: WallTime) -> Send {
    let Message {
        priority,
        headers,
        payload,
        time,
        ..
    } = message;
    let mut attributes = wire::mq9::Attributes::from_headers(&headers).unwrap_or_else(|failure| {
        warn!("a message of {address} keeps none of its attributes: {failure}");
        wire::mq9::Attributes::default()
    });
    // What the server says goes before what its sender asked for.
    attributes.priority = match priority {
        Priority::Normal => attributes.priority,
        known => known,
    };
    attributes.delay_seconds = None;
    let age = (wall.0 / 1000).saturating_sub(time);
    let rest = |seconds: u64| seconds.saturating_sub(age).max(1);
    attributes.ttl_seconds = attributes.ttl_seconds.map(rest);
    Send {
        address: address.to_owned(),
        attributes,
        headers,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, Pull};

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn puller(addresses: &[&str]) -> Puller {
        let endpoint = Endpoint::for_mail("nats://localhost").unwrap();
        let mut config = MailConfig::new(vec![endpoint]);
        let pull = |address: &&str| Pull {
            address: (*address).to_owned(),
            position: None,
        };
        config.pull = addresses.iter().map(pull).collect();
        Puller::new(&config, Tokens::default())
    }

    fn message(id: u64, headers: &str) -> Message {
        Message {
            id,
            priority: Priority::Urgent,
            headers: headers.as_bytes().to_vec(),
            payload: b"x".to_vec(),
            time: 1000,
        }
    }

    fn asked(puller: &mut Puller, now: u64) -> Option<String> {
        let request = puller.next_request(at(now))?;
        Some(format!("{} {}", request.subject(), request.headers().len()))
    }

    fn given(puller: &mut Puller, now: u64) -> Option<(Token, PulledMessage)> {
        puller.poll(at(now), WallTime(1_000_000))
    }

    #[test]
    fn it_walks_every_line_of_its_machine() {
        let mut puller = puller(&["a"]);
        assert!(asked(&mut puller, 0).is_some());
        assert_eq!((asked(&mut puller, 0), puller.poll_timeout()), (None, None));
        let alone = message(0, "NATS/1.0\r\nEdge-Id: a\r\n\r\n");
        let messages = vec![alone, message(1, ""), message(2, "")];
        puller.answered(at(0), messages, &[]);
        let (first, pulled) = given(&mut puller, 0).unwrap();
        assert!(pulled.more.is_empty());
        assert_eq!((given(&mut puller, 0), asked(&mut puller, 9)), (None, None));
        // The gateway still has it.
        puller.disconnected();
        puller.confirm(at(9), Token(77));
        puller.confirm(at(9), first);
        let (several, pulled) = given(&mut puller, 9).unwrap();
        assert_eq!(pulled.more.len(), 1);
        puller.decline(at(9), several);
        assert_eq!(puller.poll_timeout(), Some(at(9)));
        let (second, pulled) = given(&mut puller, 9).unwrap();
        assert!(pulled.more.is_empty());
        puller.decline(at(9), second);
        assert_eq!(puller.poll_timeout(), Some(at(1009)));
        assert_eq!(given(&mut puller, 1008), None);
        let (again, _) = given(&mut puller, 1009).unwrap();
        puller.confirm(at(1009), second);
        assert_eq!(asked(&mut puller, 1009), None);
        puller.confirm(at(1009), again);
        let (third, _) = given(&mut puller, 1009).unwrap();
        puller.confirm(at(1009), third);
        let request = puller.next_request(at(1009)).unwrap();
        assert!(matches!(request, Request::Fetch(fetch) if fetch.deliver == Deliver::FromId(3)));
        puller.disconnected();
        assert!(asked(&mut puller, 1009).is_some());
        puller.answered(at(1009), Vec::new(), &[]);
        assert_eq!(puller.poll_timeout(), Some(at(2009)));
    }

    #[test]
    fn an_empty_mailbox_is_asked_less_and_less_often_and_others_have_their_turn() {
        let mut puller = puller(&["a", "b"]);
        let mut now = 0;
        for pause in [1000, 2000, 4000, 5000, 5000] {
            for name in ["a", "b"] {
                let subject = format!("$mq9.AI.MSG.FETCH.{name} 0");
                assert_eq!(asked(&mut puller, now), Some(subject));
                puller.answered(at(now), Vec::new(), &[]);
            }
            assert_eq!(puller.poll_timeout(), Some(at(now + pause)));
            now += pause;
        }
    }

    /// The gateway has no room for the next message of one of them, perhaps for days.
    #[test]
    fn a_mailbox_that_is_full_here_holds_up_no_other_and_is_tried_with_one_message() {
        let mut puller = puller(&["a", "b"]);
        let mut counts = Vec::new();
        for now in [0, 1000, 3000] {
            let Some(Request::Fetch(fetch)) = puller.next_request(at(now)) else {
                panic!("a is due");
            };
            assert_eq!((&*fetch.address, fetch.deliver), ("a", Deliver::FromId(0)));
            counts.push(fetch.count);
            let ids = 0..u64::from(fetch.count.min(3));
            puller.answered(at(now), ids.map(|id| message(id, "")).collect(), &[]);
            while let Some((token, _)) = given(&mut puller, now) {
                puller.decline(at(now), token);
            }
            let other = asked(&mut puller, now);
            assert_eq!(other.as_deref(), Some("$mq9.AI.MSG.FETCH.b 0"));
            puller.answered(at(now), Vec::new(), &[]);
        }
        assert_eq!(counts, [64, 1, 1]);
        // More important ones hide it: as many are asked for as before, at once.
        asked(&mut puller, 7000);
        puller.answered(at(7000), vec![message(9, "")], &[]);
        asked(&mut puller, 7000);
        puller.answered(at(7000), Vec::new(), &[]);
        let request = puller.next_request(at(7000));
        assert!(matches!(request, Some(Request::Fetch(fetch)) if fetch.count == 64));
        puller.answered(at(7000), vec![message(0, "")], &[]);
        let (token, _) = given(&mut puller, 7000).unwrap();
        puller.confirm(at(7000), token);
        let request = puller.next_request(at(7000));
        assert!(matches!(request, Some(Request::Fetch(fetch)) if fetch.count == 64));
    }

    #[test]
    fn a_missing_mailbox_is_made_once_a_connection() {
        let mut puller = puller(&["a"]);
        asked(&mut puller, 0);
        puller.failed(at(0), &Verdict::Missing);
        let request = puller.next_request(at(0)).unwrap();
        assert_eq!(request.subject(), "$mq9.AI.MAILBOX.CREATE");
        puller.failed(at(0), &Verdict::Done { id: None });
        assert_eq!(puller.poll_timeout(), Some(at(1000)));
        asked(&mut puller, 1000);
        puller.failed(at(1000), &Verdict::Missing);
        assert_eq!(puller.poll_timeout(), Some(at(3000)));
        assert_eq!(
            asked(&mut puller, 3000).as_deref(),
            Some("$mq9.AI.MSG.FETCH.a 0")
        );
    }

    #[test]
    fn a_message_is_as_if_it_were_sent_here_and_now() {
        let mut puller = puller(&["a"]);
        asked(&mut puller, 0);
        let headers = "NATS/1.0\r\nmq9-key: k\r\nmq9-delay: 9\r\nmq9-ttl: 60\r\n\r\n";
        puller.answered(at(0), vec![message(0, headers)], &[]);
        // 20 s after it was kept.
        let (_, message) = puller.poll(at(0), WallTime(1_020_999)).unwrap();
        let attributes = message.send.attributes;
        assert_eq!(attributes.priority, Priority::Urgent);
        assert_eq!(attributes.key.as_deref(), Some("k"));
        assert_eq!(
            (attributes.delay_seconds, attributes.ttl_seconds),
            (None, Some(40))
        );
        assert_eq!(
            (message.send.address.as_str(), message.send.payload),
            ("a", b"x".to_vec())
        );
        assert_eq!(message.send.headers, headers.as_bytes());
    }

    #[test]
    fn an_answer_that_is_too_large_is_asked_for_in_smaller_parts() {
        let mut puller = puller(&["a"]);
        let mut counts = Vec::new();
        while let Some(Request::Fetch(fetch)) = puller.next_request(at(0)) {
            counts.push(fetch.count);
            puller.too_large(at(0));
        }
        assert_eq!(counts, [64, 16, 4, 1]);
        assert_eq!(puller.poll_timeout(), Some(at(1000)));
    }

    #[test]
    fn a_mailbox_of_nothing_but_an_impossible_id_is_asked_less_and_less_often() {
        let mut puller = puller(&["a"]);
        let mut now = 0;
        for pause in [1000, 2000, 4000, 5000] {
            assert!(asked(&mut puller, now).is_some());
            puller.answered(at(now), vec![message(u64::MAX, "")], &[]);
            assert_eq!(given(&mut puller, now), None);
            assert_eq!(puller.poll_timeout(), Some(at(now + pause)));
            now += pause;
        }
    }
}
