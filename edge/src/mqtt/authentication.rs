//! AUTH: a client proves its name in several steps, before its CONNACK or at any time after it.
//!
//! ```text
//! connecting     -> authenticating  the broker's challenge; AUTH continue
//! authenticating -> connecting      AUTH continue
//! authenticating -> closing         any other packet, or the deadline of CONNECT
//! idle           -> asked           connected, AUTH re-authenticate
//! asked          -> challenged      the broker's challenge; AUTH continue
//! challenged     -> asked           AUTH continue
//! asked          -> idle            proven again; AUTH success
//! ```
//!
//! What the messages say is the broker's business.

use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{Auth, Packet, ReasonCode, Version, decode};

use super::connection::{Connection, Established, State};
use super::ending::Ending;
use super::error::PeerError;
use super::greeting::refuse;
use super::words::Words;
use crate::broker::{AccessInput, AuthenticationStep, Input, Refusal, SCRAM};

/// How a connected client proves its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    /// Not by AUTH.
    None,
    /// It may do so again.
    Idle,
    /// The broker looks at what it said.
    Asked,
    /// It has to answer.
    Challenged,
}

/// What a challenge comes with, or the end of an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) reason_code: ReasonCode,
    pub(super) data: &'a [u8],
}

impl Connection {
    /// Asks a client that is not connected yet for its next message.
    pub(super) fn challenge(&mut self, message: &[u8]) {
        let State::Connecting(greeting) = std::mem::replace(&mut self.state, State::Closing) else {
            return;
        };
        let limit = greeting.packet_bytes_maximum;
        self.state = State::Authenticating(greeting);
        let message = Message {
            reason_code: ReasonCode::ContinueAuthentication,
            data: message,
        };
        let auth = message.encode();
        if auth.len() > limit as usize {
            return self.handle_lost();
        }
        self.send_encoded(&auth);
    }

    /// Handles the answer to a challenge, if it is whole; gives how many bytes it had.
    pub(super) fn consume_auth(&mut self, bytes: &[u8]) -> Result<usize, PeerError> {
        let decoded = decode(bytes, Version::V5, self.settings.packet_bytes_maximum)?;
        let Some((packet, taken)) = decoded else {
            return Ok(0);
        };
        match packet {
            Packet::Auth(auth) if auth.reason_code == ReasonCode::ContinueAuthentication => {
                let message = message_of(&auth)?;
                self.authenticate(AuthenticationStep::Answer, message);
            }
            // The client thought better of it. [MQTT-3.1.2-30]
            Packet::Disconnect(_) => {
                self.handle_lost();
                return Ok(taken);
            }
            _ => {
                let packet = packet.packet_type();
                return Err(PeerError::Unexpected { packet });
            }
        }
        if let State::Authenticating(greeting) = std::mem::replace(&mut self.state, State::Closing)
        {
            self.state = State::Connecting(greeting);
        }
        Ok(taken)
    }

    /// Closes because of a client that was not let in yet. [MQTT-4.12.0-4]
    pub(super) fn fail_authentication(&mut self, error: PeerError) {
        if let State::Authenticating(greeting) = &self.state {
            let words = match greeting.wants_words {
                true => Words::of(error),
                false => Words::NONE,
            };
            let limit = greeting.packet_bytes_maximum;
            let connack = refuse(Version::V5, error.reason_code(), &words, limit);
            self.send_encoded(&connack);
        }
        self.fail(error);
    }

    /// Handles AUTH of a connected client. [MQTT-4.12.0-7] [MQTT-4.12.1-1]
    pub(super) fn handle_auth(
        &mut self,
        established: &mut Established,
        auth: &Auth<'_>,
    ) -> Result<(), PeerError> {
        let step = match (established.authentication, auth.reason_code) {
            (Authentication::Idle, ReasonCode::ReAuthenticate) => AuthenticationStep::Begin,
            (Authentication::Challenged, ReasonCode::ContinueAuthentication) => {
                AuthenticationStep::Answer
            }
            _ => {
                let packet = Packet::Auth(*auth).packet_type();
                return Err(PeerError::Unexpected { packet });
            }
        };
        let message = message_of(auth)?;
        established.authentication = Authentication::Asked;
        self.authenticate(step, message);
        Ok(())
    }

    /// Sends what the broker says to a connected client.
    pub(super) fn send_auth(
        &mut self,
        established: &mut Established,
        message: Message<'_>,
    ) -> Result<(), Ending> {
        established.authentication = match message.reason_code {
            ReasonCode::Success => Authentication::Idle,
            _ => Authentication::Challenged,
        };
        let auth = message.encode();
        if auth.len() > established.packet_bytes_maximum as usize {
            return Err(Ending::Refused(Refusal::NotAuthorized));
        }
        self.send_encoded(&auth);
        Ok(())
    }

    fn authenticate(&mut self, step: AuthenticationStep, message: Vec<u8>) {
        self.underway.tell(Input::Access(AccessInput::Authenticate {
            connection: self.id,
            step,
            message,
        }));
    }
}

impl Message<'_> {
    /// Encodes it as AUTH. [MQTT-4.12.0-5]
    fn encode(&self) -> Vec<u8> {
        let mut properties = Vec::new();
        let mut writer = PropertyWriter::new(&mut properties, PropertySet::AUTH);
        for property in [
            Property::AuthenticationMethod(SCRAM),
            Property::AuthenticationData(self.data),
        ] {
            writer
                .write(&property)
                .expect("a vector takes every property of AUTH");
        }
        let properties = Properties::parse(&properties, PropertySet::AUTH)
            .expect("what the property writer wrote can be read");
        let mut bytes = Vec::new();
        let auth = Auth {
            reason_code: self.reason_code,
            properties,
        };
        let encoded = Packet::Auth(auth).encode(Version::V5, &mut bytes);
        debug_assert!(encoded.is_ok(), "messages of the broker are short");
        bytes
    }
}

/// What a client says. [MQTT-4.12.0-5]
fn message_of(auth: &Auth<'_>) -> Result<Vec<u8>, PeerError> {
    if auth.properties.authentication_method() != Some(SCRAM) {
        return Err(PeerError::AuthenticationMethodChanged);
    }
    let data = auth.properties.authentication_data();
    Ok(data.unwrap_or_default().to_vec())
}
