//! The opening of a connection: from CONNECT to the session.

use sync::{Now, Record};
use wire::DecodeError;
use wire::mqtt::{ReasonCode, Version, decode_connect};

use super::alias::Aliases;
use super::connection::{Connection, Established, State};
use super::error::PeerError;
use super::greeting::{Greeting, packet_bytes_maximum, refuse};
use super::inbound::Step;
use super::inflight::{Answers, Inflight, Outbound};
use super::pace::Allowance;
use crate::broker::{Connected, Input};

impl Connection {
    /// Handles CONNECT, if it is whole; gives how many bytes it had.
    pub(super) fn consume_connect(&mut self, now: Now, bytes: &[u8]) -> Result<usize, PeerError> {
        let decoded = decode_connect(bytes, self.settings.packet_bytes_maximum);
        let Some((connect, taken)) = decoded.inspect_err(|error| self.refuse_version(*error))?
        else {
            return Ok(0);
        };
        let version = connect.version;
        let greeting = match &self.state {
            State::AwaitingConnect {
                is_turned_away: true,
                ..
            } => Err(PeerError::TurnedAway),
            _ => Greeting::read(&connect, &self.settings),
        };
        let greeting = greeting.inspect_err(|error| {
            let limit = packet_bytes_maximum(&connect);
            let connack = refuse(version, error.reason_code(), limit);
            self.outbound.extend(connack);
        })?;
        let asked = greeting.ask(now, self.id, &connect);
        self.inputs.push_back(Input::Connect(Box::new(asked)));
        self.state = State::Connecting(Box::new(greeting));
        Ok(taken)
    }

    /// The session is the client's: CONNACK, and what its earlier connection left undone.
    pub(super) fn establish(&mut self, now: Now, connected: &Connected) {
        let State::Connecting(greeting) = &self.state else {
            return;
        };
        let connack = greeting.accept(&self.settings, connected);
        if connack.len() > greeting.packet_bytes_maximum as usize {
            return self.handle_lost();
        }
        self.outbound.extend(connack);
        let established = Box::new(Established {
            version: greeting.version,
            publisher: Record::publisher_hash(&connected.client_identifier),
            patience: greeting.patience(&self.settings),
            packet_bytes_maximum: greeting.packet_bytes_maximum,
            session_expiry: greeting.session_expiry,
            aliases: Aliases::default(),
            inflight: Inflight::restore(&connected.notes),
            answers: Answers::default(),
            unanswered: 0,
            allowance: Allowance::new(now.instant, &self.settings),
            forwarded: Vec::new(),
        });
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

    /// Answers the CONNECT of a version that is not spoken here. [MQTT-3.1.2-2]
    fn refuse_version(&mut self, error: DecodeError) {
        if let DecodeError::ProtocolLevel { level } = error {
            let is_newer = level > Version::V5.protocol_level();
            let version = if is_newer { Version::V5 } else { Version::V311 };
            let connack = refuse(version, error.reason_code(), u32::MAX);
            self.outbound.extend(connack);
        }
    }
}
