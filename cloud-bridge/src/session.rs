//! One life of a connection, from CONNACK to its end, as pure bookkeeping.
//!
//! It is told what rumqttc sent and received and says what that means: which record is answered,
//! which message came down, what the server must not have done, and when waiting has been long
//! enough. It promises one answer for each record and that nothing comes down twice under one
//! packet identifier before it is confirmed. It never touches a socket or a clock.

use core::time::Duration;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAck, Publish, SubAck};
use sync::{ConnectionId, Instant, Token};

use crate::downlink::{self, Message};
use crate::failure::Failure;
use crate::inflight::{Inflight, Place};
use crate::reason::{self, Verdict, verdict};
use crate::{Event, Rejection};

/// What a session was agreed to be, by configuration and CONNACK.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) connection: ConnectionId,
    /// Shared by every life of every connection.
    pub(crate) tokens: Tokens,
    /// Publishes that may be unanswered.
    pub(crate) window: u16,
    pub(crate) maximum_packet_bytes: u32,
    /// Messages that may be unconfirmed.
    pub(crate) downlink_window: u16,
    pub(crate) patience: Duration,
    /// Empty on connections that carry no downlink.
    pub(crate) filters: Vec<String>,
}

/// The state of one life.
#[derive(Debug)]
pub(crate) struct Session {
    terms: Terms,
    inflight: Inflight,
    /// Packet identifiers of messages that wait for the gateway.
    unconfirmed: BTreeMap<Token, u16>,
    subscription: Subscription,
    /// Since when something is unanswered and nothing has been heard.
    silent_since: Option<Instant>,
    /// Since when a publish is unanswered and none has been answered.
    owing_since: Option<Instant>,
    since: Instant,
    has_accepted: bool,
    output: VecDeque<Output>,
}

/// Gives each downlink message a name that no other one gets while the bridge runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    next: Rc<Cell<u64>>,
}

impl Tokens {
    pub(crate) fn take(&self) -> Token {
        Token(self.next.replace(self.next.get() + 1))
    }
}

/// What to do about what happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Tell the gateway.
    Say(Event),
    /// Acknowledge a message that nobody can be given.
    Acknowledge(u16),
}

/// ```text
/// Idle --SUBSCRIBE asked for--> Requested --written--> Sent --SUBACK--> Idle
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscription {
    Idle,
    Requested {
        since: Instant,
    },
    Sent {
        packet_identifier: u16,
        since: Instant,
    },
}

impl Session {
    /// Begins after a CONNACK; `now` starts the patience for the SUBACK, if there will be one.
    pub(crate) fn new(terms: Terms, now: Instant) -> Self {
        let subscription = if terms.filters.is_empty() {
            Subscription::Idle
        } else {
            Subscription::Requested { since: now }
        };
        Self {
            terms,
            inflight: Inflight::default(),
            unconfirmed: BTreeMap::new(),
            subscription,
            silent_since: None,
            owing_since: None,
            since: now,
            has_accepted: false,
            output: VecDeque::new(),
        }
    }

    /// A publish was handed to rumqttc.
    pub(crate) fn handle_submitted(&mut self, place: Place, now: Instant) {
        self.inflight.submit(place);
        self.silent_since.get_or_insert(now);
        self.owing_since.get_or_insert(now);
    }

    /// The gateway stored a message. Gives the identifier to acknowledge, if it still waits.
    pub(crate) fn handle_confirm(&mut self, token: Token) -> Option<u16> {
        self.unconfirmed.remove(&token)
    }

    /// rumqttc wrote a packet.
    pub(crate) fn handle_outgoing(
        &mut self,
        outgoing: &Outgoing,
        now: Instant,
    ) -> Result<(), Failure> {
        let is_known = match (outgoing, self.subscription) {
            (Outgoing::Publish(identifier), _) => self.inflight.send(*identifier),
            (Outgoing::AwaitAck(_), _) => self.inflight.park(),
            (Outgoing::Subscribe(identifier), Subscription::Requested { since }) => {
                self.subscription = Subscription::Sent {
                    packet_identifier: *identifier,
                    since,
                };
                true
            }
            (Outgoing::PingReq, _) => {
                self.silent_since.get_or_insert(now);
                true
            }
            _ => true,
        };
        if is_known {
            Ok(())
        } else {
            Err(Failure::violation("packet identifiers are out of step"))
        }
    }

    /// The server sent a packet.
    pub(crate) fn handle_incoming(&mut self, packet: Packet, now: Instant) -> Result<(), Failure> {
        match packet {
            Packet::PubAck(acknowledgement) => {
                self.handle_puback(&acknowledgement)?;
                self.owing_since = (self.inflight.count() > 0).then_some(now);
            }
            Packet::Publish(publish) => self.handle_publish(publish)?,
            Packet::SubAck(acknowledgement) => self.handle_suback(&acknowledgement)?,
            // A DISCONNECT comes back as an error with its reason.
            Packet::PingResp(_) | Packet::Disconnect(_) => {}
            _ => return Err(Failure::violation("the server sent a packet out of place")),
        }
        let is_waiting = self.inflight.count() > 0 || self.subscription != Subscription::Idle;
        self.silent_since = is_waiting.then_some(now);
        Ok(())
    }

    /// Time has passed. Fails when something was waited for longer than patience allows.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        let patience = self.terms.patience;
        let is_over = |since: Instant| since + patience <= now;
        if self.subscribing_since().is_some_and(is_over) {
            self.output.push_back(Output::Say(Event::SubscribeFailed {
                connection: self.terms.connection,
                filter: self.terms.filters[0].clone(),
                reason: None,
            }));
            return Err(Failure::late("no SUBACK", patience));
        }
        if self.silent_since.is_some_and(is_over) {
            return Err(Failure::late("no answer", patience));
        }
        Ok(())
    }

    /// Takes the next thing to do, until there is none.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Session::handle_timeout`] is due; every packet may move it.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let since = [self.silent_since, self.subscribing_since()];
        let earliest = since.into_iter().flatten().min();
        earliest.map(|since| since + self.terms.patience)
    }

    /// Says why the gateway, which can't say so itself, wants to leave.
    pub(crate) fn parting(&self, now: Instant) -> Failure {
        let owed = self.owing_since.map_or(Duration::ZERO, |since| now - since);
        Failure::given_up("no answer", owed)
    }

    /// Whether the server did what it is there for: it took a record, or was there for a while
    /// without owing anything.
    pub(crate) fn was_useful(&self, now: Instant) -> bool {
        self.has_accepted || (self.silent_since.is_none() && now - self.since >= FAIR)
    }

    /// Whether one more publish fits the window.
    pub(crate) fn has_room(&self) -> bool {
        self.inflight.count() < usize::from(self.terms.window)
    }

    /// Whether the server is so far over its receive maximum that it must not be read until
    /// something is confirmed. mosquitto 2.0.11 goes over it when acknowledgements come in bursts,
    /// and further with each burst, so this can't count as a violation.
    pub(crate) fn is_overrun(&self) -> bool {
        let offered = usize::from(self.terms.downlink_window);
        self.unconfirmed.len() >= OVERRUN * offered
    }

    /// The largest packet that may be sent.
    pub(crate) const fn maximum_packet_bytes(&self) -> u32 {
        self.terms.maximum_packet_bytes
    }

    fn handle_puback(&mut self, acknowledgement: &PubAck) -> Result<(), Failure> {
        let identifier = acknowledgement.pkid;
        let Some(Place { lane, offset }) = self.inflight.acknowledge(identifier) else {
            return Err(Failure::violation(format!(
                "the server acknowledges packet identifier {identifier}, which is not in flight"
            )));
        };
        let connection = self.terms.connection;
        let reason = reason::of_puback(acknowledgement.reason);
        let event = match verdict(reason) {
            Verdict::Accepted => {
                self.has_accepted = true;
                Event::Accepted {
                    connection,
                    lane,
                    offset,
                    server_offset: server_offset(acknowledgement),
                }
            }
            Verdict::Refused => Event::Refused {
                connection,
                lane,
                offset,
                reason,
                text: None,
            },
            Verdict::Rejected => Event::Rejected {
                connection,
                lane,
                offset,
                reason: Rejection::Server { reason },
            },
        };
        self.output.push_back(Output::Say(event));
        Ok(())
    }

    fn handle_publish(&mut self, publish: Publish) -> Result<(), Failure> {
        if self.terms.filters.is_empty() {
            return Err(Failure::violation(
                "the server sends what was not subscribed to",
            ));
        }
        let identifier = (publish.qos != QoS::AtMostOnce).then_some(publish.pkid);
        let mut waiting = self.unconfirmed.values();
        if identifier.is_some_and(|it| waiting.any(|unconfirmed| *unconfirmed == it)) {
            // The server sent it again while the gateway is still storing it.
            return Ok(());
        }
        let connection = self.terms.connection;
        match (downlink::read(publish)?, identifier) {
            (Message::Usable(message), _) => {
                let token = self.terms.tokens.take();
                self.unconfirmed.extend(identifier.map(|it| (token, it)));
                self.output.push_back(Output::Say(Event::Received {
                    connection,
                    token,
                    message,
                }));
            }
            (Message::Unusable, Some(it)) => self.output.push_back(Output::Acknowledge(it)),
            (Message::Unusable, None) => {}
        }
        Ok(())
    }

    fn handle_suback(&mut self, acknowledgement: &SubAck) -> Result<(), Failure> {
        let codes = &acknowledgement.return_codes;
        let is_ours = match self.subscription {
            Subscription::Sent {
                packet_identifier, ..
            } => packet_identifier == acknowledgement.pkid,
            _ => false,
        };
        if !is_ours || codes.len() != self.terms.filters.len() {
            return Err(Failure::violation(
                "the SUBACK does not belong to the SUBSCRIBE",
            ));
        }
        self.subscription = Subscription::Idle;
        let connection = self.terms.connection;
        let before = self.output.len();
        for (filter, code) in self.terms.filters.iter().zip(codes) {
            let reason = reason::of_suback(code);
            if reason >= 0x80 {
                self.output.push_back(Output::Say(Event::SubscribeFailed {
                    connection,
                    filter: filter.clone(),
                    reason: Some(reason),
                }));
            }
        }
        if self.output.len() == before {
            let event = Event::Subscribed { connection };
            self.output.push_back(Output::Say(event));
        }
        Ok(())
    }

    const fn subscribing_since(&self) -> Option<Instant> {
        match self.subscription {
            Subscription::Idle => None,
            Subscription::Requested { since } | Subscription::Sent { since, .. } => Some(since),
        }
    }
}

/// Reads RobustMQ's user property `offset`, which holds `Some("[7]")`.
fn server_offset(acknowledgement: &PubAck) -> Option<u64> {
    let pairs = &acknowledgement.properties.as_ref()?.user_properties;
    let (_, value) = pairs.iter().find(|(name, _)| name == "offset")?;
    let digits = value.trim_matches(|character: char| !character.is_ascii_digit());
    digits.parse().ok()
}

/// An idle server that lets itself be connected to for this long may have no fault.
const FAIR: Duration = Duration::from_secs(10);

/// Times the receive maximum that may be unconfirmed.
pub(crate) const OVERRUN: usize = 2;

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::{
        PingReq, PubAckProperties, PubAckReason, SubscribeReasonCode,
    };
    use sync::{Lane, Offset};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn session(filters: &[&str]) -> Session {
        let terms = Terms {
            connection: ConnectionId(0),
            tokens: Tokens::default(),
            window: 2,
            maximum_packet_bytes: 1000,
            downlink_window: 2,
            patience: 25 * SECOND,
            filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
        };
        Session::new(terms, at(0))
    }

    fn place(offset: u64) -> Place {
        Place {
            lane: Lane::Urgent,
            offset: Offset(offset),
        }
    }

    fn puback(pkid: u16) -> Packet {
        Packet::PubAck(PubAck::new(pkid, None))
    }

    fn suback(pkid: u16, count: usize) -> Packet {
        Packet::SubAck(SubAck {
            pkid,
            return_codes: vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); count],
            properties: None,
        })
    }

    #[test]
    fn nothing_is_awaited_from_an_idle_server() {
        let mut session = session(&[]);
        assert_eq!(session.poll_timeout(), None);
        assert_eq!(session.handle_timeout(at(1_000_000)), Ok(()));
    }

    #[test]
    fn every_sign_of_life_renews_the_patience_for_publishes() {
        let mut session = session(&[]);
        session.handle_submitted(place(0), at(1));
        session.handle_submitted(place(1), at(9));
        assert!(!session.has_room());
        assert_eq!(session.poll_timeout(), Some(at(26)));
        for identifier in [1, 2] {
            let sent = Outgoing::Publish(identifier);
            session.handle_outgoing(&sent, at(9)).unwrap();
        }
        session.handle_incoming(puback(1), at(20)).unwrap();
        assert!(session.has_room());
        assert_eq!(session.poll_timeout(), Some(at(45)));
        assert_eq!(session.handle_timeout(at(44)), Ok(()));
        let failure = session.handle_timeout(at(45)).unwrap_err();
        assert_eq!(failure.text, "no answer within 25 s");
        session.handle_incoming(puback(2), at(46)).unwrap();
        assert_eq!(session.poll_timeout(), None);
    }

    #[test]
    fn a_ping_without_answer_runs_out_of_patience() {
        let mut session = session(&[]);
        session.handle_outgoing(&Outgoing::PingReq, at(12)).unwrap();
        session.handle_outgoing(&Outgoing::PingReq, at(24)).unwrap();
        assert_eq!(session.poll_timeout(), Some(at(37)));
        assert!(session.handle_timeout(at(37)).is_err());
    }

    #[test]
    fn the_patience_for_a_suback_is_not_renewed() {
        let mut session = session(&["a", "b"]);
        session
            .handle_outgoing(&Outgoing::Subscribe(1), at(1))
            .unwrap();
        session.handle_submitted(place(0), at(20));
        session
            .handle_outgoing(&Outgoing::Publish(2), at(20))
            .unwrap();
        session.handle_incoming(puback(2), at(21)).unwrap();
        assert_eq!(session.poll_timeout(), Some(at(25)));
        assert!(session.handle_timeout(at(25)).is_err());
    }

    #[test]
    fn a_suback_ends_the_subscription_once() {
        let mut session = session(&["a", "b"]);
        assert!(session.handle_incoming(suback(1, 2), at(1)).is_err());
        session
            .handle_outgoing(&Outgoing::Subscribe(1), at(1))
            .unwrap();
        assert!(session.handle_incoming(suback(2, 2), at(2)).is_err());
        assert!(session.handle_incoming(suback(1, 1), at(2)).is_err());
        session.handle_incoming(suback(1, 2), at(2)).unwrap();
        let connection = ConnectionId(0);
        let subscribed = Output::Say(Event::Subscribed { connection });
        assert_eq!(session.poll(), Some(subscribed));
        assert_eq!(session.poll_timeout(), None);
        assert!(session.handle_incoming(suback(1, 2), at(3)).is_err());
    }

    #[test]
    fn packets_out_of_place_are_violations() {
        let mut session = session(&[]);
        assert!(session.handle_incoming(puback(1), at(0)).is_err());
        let ping = Packet::PingReq(PingReq);
        assert!(session.handle_incoming(ping, at(0)).is_err());
        assert!(
            session
                .handle_outgoing(&Outgoing::Publish(1), at(0))
                .is_err()
        );
        assert!(
            session
                .handle_outgoing(&Outgoing::AwaitAck(1), at(0))
                .is_err()
        );
    }

    #[test]
    fn robustmqs_offsets_are_read() {
        let table = [
            ("offset", "Some(\"[0]\")", Some(0)),
            ("offset", "Some(\"[18446744073709551615]\")", Some(u64::MAX)),
            ("offset", "Some(\"[18446744073709551616]\")", None),
            ("offset", "Some(\"[1,2]\")", None),
            ("offset", "None", None),
            ("offset", "7", Some(7)),
            ("other", "7", None),
        ];
        for (name, value, expected) in table {
            let acknowledgement = PubAck {
                pkid: 1,
                reason: PubAckReason::Success,
                properties: Some(PubAckProperties {
                    reason_string: None,
                    user_properties: vec![(name.to_owned(), value.to_owned())],
                }),
            };
            assert_eq!(server_offset(&acknowledgement), expected, "{value}");
        }
    }
}
