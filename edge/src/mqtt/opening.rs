//! The opening of a connection: from CONNECT to the session.

use sync::{Instant, Now, Record};
use wire::DecodeError;
use wire::mqtt::{ReasonCode, Version, connect_version, decode_connect};

use super::alias::OutboundAliases;
use super::connection::{Connection, Established, State};
use super::error::PeerError;
use super::greeting::{Greeting, packet_bytes_maximum, refuse, wants_words};
use super::inbound::Step;
use super::inflight::{Inflight, Outbound};
use super::words::Words;
use crate::broker::{Connected, Input, Refusal, WillFate};
use crate::pace::Allowance;
use crate::rare::Rare;

impl Connection {
    /// Handles CONNECT, if it is whole; gives how many bytes it had.
    pub(super) fn consume_connect(
        &mut self,
        now: Now,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<usize, PeerError> {
        let decoded = decode_connect(bytes, self.settings.packet_bytes_maximum);
        let Some((connect, taken)) =
            decoded.inspect_err(|error| self.refuse_bytes(bytes, *error))?
        else {
            return Ok(0);
        };
        self.settings.traffic.note_connect();
        let version = connect.version;
        let greeting = match &self.state {
            State::AwaitingConnect {
                is_turned_away: true,
                ..
            } => Err(PeerError::TurnedAway),
            _ => Greeting::read(&connect, &self.settings, deadline),
        };
        let greeting = greeting.inspect_err(|error| {
            let words = match wants_words(&connect) {
                true => Words::of(error),
                false => Words::NONE,
            };
            let limit = packet_bytes_maximum(&connect);
            let connack = refuse(version, error.reason_code(), &words, limit);
            self.send_encoded(&connack);
        })?;
        let asked = greeting.ask(now, (self.id, self.entrance.clone()), &connect);
        self.underway.tell(Input::Connect(Box::new(asked)));
        self.state = State::Connecting(Box::new(greeting));
        Ok(taken)
    }

    /// The session is the client's: CONNACK, and what its earlier connection left undone.
    pub(super) fn establish(&mut self, now: Now, connected: &Connected) {
        let State::Connecting(greeting) = &self.state else {
            return;
        };
        let connack = greeting.accept(&self.settings, connected);
        if connack.is_empty() {
            return self.withdraw();
        }
        self.last_received = now.instant;
        let alias_maximum = greeting
            .topic_alias_maximum
            .min(self.settings.outbound_alias_maximum);
        // Even the empty table takes something.
        let has_room = self.alias_room() >= size_of::<OutboundAliases>();
        let established = Box::new(Established {
            version: greeting.version,
            publisher: Record::publisher_hash(&connected.client_identifier),
            patience: greeting.patience(&self.settings),
            packet_bytes_maximum: greeting.packet_bytes_maximum,
            wants_words: greeting.wants_words,
            session_expiry: greeting.session_expiry,
            authentication: greeting.authentication,
            aliases: Rare::default(),
            given: OutboundAliases::new(alias_maximum).filter(|_| has_room),
            inflight: Rare::new(Inflight::restore(&connected.notes)),
            answers: Rare::default(),
            unanswered: 0,
            allowance: Allowance::new(now.instant, self.settings.rate()),
        });
        self.send_encoded(&connack);
        // [MQTT-4.4.0-1]
        for (packet_identifier, step) in &established.inflight.outbound {
            if matches!(step, Outbound::Released) {
                let reason_code = ReasonCode::Success;
                self.send_step(&established, Step::Pubrel, *packet_identifier, reason_code);
            }
        }
        self.state = State::Connected(established);
        self.consume_tail(now);
    }

    /// The broker does not let the client in.
    pub(super) fn turn_away(&mut self, refusal: Refusal) {
        if let State::Connecting(greeting) = &self.state {
            let connack = greeting.refuse(refusal);
            self.send_encoded(&connack);
        }
        let error = match refusal {
            Refusal::Credentials => Some(PeerError::Credentials),
            Refusal::NotAuthorized => Some(PeerError::NotAuthorized),
            Refusal::AuthenticationMethod => Some(PeerError::AuthenticationMethod),
            _ => None,
        };
        if let Some(error) = error {
            self.peer_error = Some(Box::new(error));
        }
        self.state = State::Closing;
    }

    /// Leaves without having been connected, as far as the client knows.
    fn withdraw(&mut self) {
        self.underway.tell(Input::Disconnect {
            connection: self.id,
            will: WillFate::Discard,
            session_expiry: None,
        });
        self.state = State::Closing;
    }

    /// Answers a CONNECT of a version that is not spoken here, or one that says at least that it
    /// is of MQTT 5. [MQTT-3.1.2-2]
    fn refuse_bytes(&mut self, bytes: &[u8], error: DecodeError) {
        let version = match error {
            DecodeError::ProtocolLevel { level } if level < Version::V5.protocol_level() => {
                Some(Version::V311)
            }
            DecodeError::ProtocolLevel { .. } => Some(Version::V5),
            _ => connect_version(bytes).filter(|version| *version == Version::V5),
        };
        if let Some(version) = version {
            let connack = refuse(version, error.reason_code(), &Words::of(error), u32::MAX);
            self.send_encoded(&connack);
        }
    }
}
