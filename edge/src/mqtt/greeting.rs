//! The beginning of a connection: CONNECT to the broker, its answer to CONNACK.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use sync::{Now, Record, RecordParts};
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{Connack, Connect, Packet, ReasonCode, Version, Will};

use super::words::Words;
use super::{PeerError, Settings};
use crate::broker::{self, Connected, ConnectionId, Refusal, SessionFound, SessionStart};

/// What CONNECT said and CONNACK needs.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    pub(super) version: Version,
    /// Seconds; 0 for none.
    keep_alive: u16,
    /// Seconds, as the client asked.
    pub(super) session_expiry: u32,
    has_client_identifier: bool,
    /// The largest packet that the client takes.
    pub(super) packet_bytes_maximum: u32,
    /// The highest topic alias that the client takes.
    pub(super) topic_alias_maximum: u16,
    /// Whether the client takes reason strings.
    pub(super) wants_words: bool,
    wants_response_information: bool,
}

/// What response topics begin with; the client identifier follows.
const RESPONSE_ROOT: &str = "response/";

impl Greeting {
    /// Reads a CONNECT.
    pub(super) fn read(connect: &Connect<'_>) -> Result<Self, PeerError> {
        let properties = &connect.properties;
        // [MQTT-4.12.0-1]
        if properties.authentication_method().is_some() {
            return Err(PeerError::AuthenticationMethod);
        }
        let may_be_empty = match connect.version {
            Version::V31 => false,
            Version::V311 => connect.clean_start,
            Version::V5 => true,
        };
        if connect.client_identifier.is_empty() && !may_be_empty {
            return Err(PeerError::ClientIdentifier);
        }
        let session_expiry = match connect.version {
            Version::V5 => properties.session_expiry_interval().unwrap_or(0),
            Version::V31 | Version::V311 if connect.clean_start => 0,
            Version::V31 | Version::V311 => u32::MAX,
        };
        Ok(Self {
            version: connect.version,
            keep_alive: connect.keep_alive,
            session_expiry,
            has_client_identifier: !connect.client_identifier.is_empty(),
            packet_bytes_maximum: packet_bytes_maximum(connect),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            wants_words: wants_words(connect),
            wants_response_information: properties.request_response_information().unwrap_or(false),
        })
    }

    /// Asks the broker for the session.
    pub(super) fn ask(
        &self,
        now: Now,
        connection: ConnectionId,
        connect: &Connect<'_>,
    ) -> broker::Connect {
        let receive_maximum = connect.properties.receive_maximum();
        broker::Connect {
            connection,
            client_identifier: connect.client_identifier.to_owned(),
            start: match connect.clean_start {
                true => SessionStart::Clean,
                false => SessionStart::Resume,
            },
            session_expiry: self.session_expiry,
            receive_maximum: receive_maximum.map_or(u16::MAX, NonZeroU16::get),
            will: connect
                .will
                .map(|will| will_of(now, &will, connect.client_identifier)),
        }
    }

    /// Encodes the CONNACK of a session; nothing where the client does not take one so large.
    pub(super) fn accept(&self, settings: &Settings, connected: &Connected) -> Vec<u8> {
        let mut response = self.response_information(connected);
        let mut connack = self.accept_with(settings, connected, response.as_deref());
        if connack.len() > self.packet_bytes_maximum as usize && response.take().is_some() {
            connack = self.accept_with(settings, connected, None);
        }
        if connack.len() > self.packet_bytes_maximum as usize {
            connack.clear();
        }
        connack
    }

    /// Encodes the CONNACK of a broker's refusal.
    pub(super) fn refuse(&self, refusal: Refusal) -> Vec<u8> {
        let words = if self.wants_words {
            Words::of(refusal)
        } else {
            Words::NONE
        };
        let limit = self.packet_bytes_maximum;
        refuse(self.version, connect_reason(refusal), &words, limit)
    }

    fn accept_with(
        &self,
        settings: &Settings,
        connected: &Connected,
        response: Option<&str>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.version == Version::V5 {
            self.write_properties(settings, connected, response, &mut bytes);
        }
        let properties = Properties::parse(&bytes, PropertySet::CONNACK)
            .expect("what the property writer wrote can be read");
        connack(
            self.version,
            &Connack {
                session_present: connected.session == SessionFound::Present,
                reason_code: ReasonCode::Success,
                properties,
            },
        )
    }

    /// The keep alive that holds, in seconds; 0 for none.
    pub(super) fn keep_alive(&self, settings: &Settings) -> u16 {
        let limit = settings.keep_alive_maximum;
        // Before MQTT 5 there is no way to tell the client another one.
        let is_over = self.keep_alive == 0 || self.keep_alive > limit;
        if limit > 0 && is_over && self.version == Version::V5 {
            limit
        } else {
            self.keep_alive
        }
    }

    /// How long the client may be silent. [MQTT-3.1.2-22]
    pub(super) fn patience(&self, settings: &Settings) -> Option<Duration> {
        let keep_alive = self.keep_alive(settings);
        (keep_alive > 0).then(|| Duration::from_millis(u64::from(keep_alive) * 1500))
    }

    /// A place for responses that is the client's own, if it can be a topic. [MQTT-3.1.2-28]
    fn response_information(&self, connected: &Connected) -> Option<String> {
        let client = &connected.client_identifier;
        let is_topic = !client.contains(['+', '#']);
        (self.wants_response_information && is_topic).then(|| format!("{RESPONSE_ROOT}{client}"))
    }

    fn write_properties(
        &self,
        settings: &Settings,
        connected: &Connected,
        response: Option<&str>,
        bytes: &mut Vec<u8>,
    ) {
        let keep_alive = self.keep_alive(settings);
        let changed_expiry = connected.session_expiry != self.session_expiry;
        let properties = [
            changed_expiry.then_some(Property::SessionExpiryInterval(connected.session_expiry)),
            NonZeroU16::new(settings.receive_maximum).map(Property::ReceiveMaximum),
            NonZeroU32::new(settings.packet_bytes_maximum).map(Property::MaximumPacketSize),
            // [MQTT-3.2.2-16]
            (!self.has_client_identifier).then_some(Property::AssignedClientIdentifier(
                &connected.client_identifier,
            )),
            (settings.topic_alias_maximum > 0)
                .then_some(Property::TopicAliasMaximum(settings.topic_alias_maximum)),
            (keep_alive != self.keep_alive).then_some(Property::ServerKeepAlive(keep_alive)),
            response.map(Property::ResponseInformation),
        ];
        let mut writer = PropertyWriter::new(bytes, PropertySet::CONNACK);
        for property in properties.iter().flatten() {
            writer
                .write(property)
                .expect("a vector takes every property of CONNACK");
        }
    }
}

/// Encodes the CONNACK of a refusal; nothing where an old version has no return code for it, or
/// where the client does not take one so large.
pub(super) fn refuse(
    version: Version,
    reason_code: ReasonCode,
    words: &Words,
    packet_bytes_maximum: u32,
) -> Vec<u8> {
    words.encode(version, packet_bytes_maximum, |properties| {
        Packet::Connack(Connack {
            session_present: false,
            reason_code,
            properties,
        })
    })
}

/// Whether a client takes reason strings. [MQTT-3.1.2-29]
pub(super) fn wants_words(connect: &Connect<'_>) -> bool {
    let wanted = connect.properties.request_problem_information();
    wanted.unwrap_or(true)
}

/// The largest packet that a client takes.
pub(super) fn packet_bytes_maximum(connect: &Connect<'_>) -> u32 {
    let limit = connect.properties.maximum_packet_size();
    limit.map_or(u32::MAX, NonZeroU32::get)
}

/// The reason code of a broker's refusal.
const fn connect_reason(refusal: Refusal) -> ReasonCode {
    match refusal {
        Refusal::ClientIdentifier => ReasonCode::ClientIdentifierNotValid,
        Refusal::LogFailed => ReasonCode::ServerUnavailable,
        _ => ReasonCode::QuotaExceeded,
    }
}

fn connack(version: Version, connack: &Connack<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match Packet::Connack(*connack).encode(version, &mut bytes) {
        Ok(_) => bytes,
        Err(_) => Vec::new(),
    }
}

fn will_of(now: Now, will: &Will<'_>, client_identifier: &str) -> broker::Will {
    let properties = &will.properties;
    let mut forwarded = Vec::new();
    let copied = properties.copy_forwardable(&mut forwarded);
    copied.expect("a vector takes every byte");
    broker::Will {
        record: Record::new(&RecordParts {
            qos: will.qos.into(),
            retain: will.retain,
            from_cloud: false,
            time: now.wall,
            expiry_seconds: properties.message_expiry_interval(),
            publisher: Record::publisher_hash(client_identifier),
            topic: will.topic.as_str(),
            properties: &forwarded,
            payload: will.payload,
        }),
        delay_seconds: properties.will_delay_interval().unwrap_or(0),
    }
}
