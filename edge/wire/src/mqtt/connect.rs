//! CONNECT and CONNACK: a client introduces itself, the server takes it or not.

use core::fmt;

use embedded_io::Write;

use super::primitive::{Reader, Writer, binary_len, string_len, variable_byte_integer};
use super::property::{Properties, PropertySet};
use super::{PacketType, QoS, ReasonCode, Version};
use crate::topic::TopicName;
use crate::{DecodeError, EncodeError, InvalidPacket};

/// Connect flags, by bit.
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// The one flag of CONNACK.
const SESSION_PRESENT: u8 = 1;

/// A client asks for a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version of this packet and of the connection.
    pub version: Version,
    /// Whether an earlier session is to be forgotten; before MQTT 5, this one too at its end.
    pub clean_start: bool,
    /// Seconds within which the client promises to send something; 0 promises nothing.
    pub keep_alive: u16,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
    /// Empty if the server is to choose one.
    pub client_identifier: &'a str,
    /// What to publish if the connection ends without DISCONNECT.
    pub will: Option<Will<'a>>,
    /// Who the client says it is.
    pub user_name: Option<&'a str>,
    /// Any bytes. Before MQTT 5 never without a user name.
    pub password: Option<&'a [u8]>,
}

/// A message left with the server, to be published if the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Of the message.
    pub qos: QoS,
    /// Whether it becomes the retained message of its topic.
    pub retain: bool,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// At most 65,535 bytes.
    pub payload: &'a [u8],
}

/// The server's answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether the server continues an earlier session; never with a refusal. MQTT 3.1 does not
    /// have it.
    pub session_present: bool,
    /// Success, or why not. Before MQTT 5 it must have a [`ReasonCode::return_code`].
    pub reason_code: ReasonCode,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let version = decode_version(reader)?;
        let flags = reader.byte()?;
        check_flags(flags, version)?;
        let keep_alive = reader.two_bytes()?;
        let properties = Properties::read(reader, version, PropertySet::CONNECT)?;
        let client_identifier = reader.string()?;
        let will = match flags & WILL {
            0 => None,
            _ => Some(Will::decode(flags, reader, version)?),
        };
        // [MQTT-3.1.2-17]
        let user_name = match flags & USER_NAME {
            0 => None,
            _ => Some(reader.string()?),
        };
        // [MQTT-3.1.2-19]
        let password = match flags & PASSWORD {
            0 => None,
            _ => Some(reader.binary()?),
        };
        if has_data_without_method(&properties) {
            return Err(DecodeError::AuthenticationMethodMissing);
        }
        let clean_start = flags & CLEAN_START != 0;
        Ok(Self {
            version,
            clean_start,
            keep_alive,
            properties,
            client_identifier,
            will,
            user_name,
            password,
        })
    }

    pub(super) fn body_len(&self) -> Result<usize, InvalidPacket> {
        if self.password.is_some() && self.user_name.is_none() && self.version < Version::V5 {
            return Err(InvalidPacket::PasswordWithoutUserName);
        }
        // Name with length, level, flags, keep alive.
        let mut length = 2 + self.version.protocol_name().len() + 4;
        length += self
            .properties
            .encoded_len(self.version, PropertySet::CONNECT)?;
        if self.version == Version::V5 && has_data_without_method(&self.properties) {
            return Err(InvalidPacket::AuthenticationMethodMissing);
        }
        length += string_len(self.client_identifier)?;
        if let Some(will) = &self.will {
            length += will.len(self.version)?;
        }
        if let Some(user_name) = self.user_name {
            length += string_len(user_name)?;
        }
        if let Some(password) = self.password {
            length += binary_len(password)?;
        }
        Ok(length)
    }

    pub(super) fn write_body<W: Write>(
        &self,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        writer.string(self.version.protocol_name())?;
        writer.byte(self.version.protocol_level())?;
        writer.byte(self.flags())?;
        writer.two_bytes(self.keep_alive)?;
        self.properties.write(self.version, writer)?;
        writer.string(self.client_identifier)?;
        if let Some(will) = &self.will {
            will.write(self.version, writer)?;
        }
        if let Some(user_name) = self.user_name {
            writer.string(user_name)?;
        }
        if let Some(password) = self.password {
            writer.binary(password)?;
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= WILL | u8::from(will.qos) << WILL_QOS_SHIFT;
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if self.user_name.is_some() {
            flags |= USER_NAME;
        }
        if self.password.is_some() {
            flags |= PASSWORD;
        }
        flags
    }
}

/// Shows everything but the password.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("properties", &self.properties)
            .field("client_identifier", &self.client_identifier)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("has_password", &self.password.is_some())
            .finish()
    }
}

impl<'a> Will<'a> {
    fn decode(flags: u8, reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let invalid = |_| DecodeError::ConnectFlags { found: flags };
        let qos = QoS::try_from(flags >> WILL_QOS_SHIFT & 0b11).map_err(invalid)?;
        let properties = Properties::read(reader, version, PropertySet::WILL)?;
        Ok(Self {
            qos,
            retain: flags & WILL_RETAIN != 0,
            properties,
            topic: TopicName::new(reader.topic()?).map_err(DecodeError::TopicName)?,
            payload: reader.binary()?,
        })
    }

    fn len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let properties_len = self.properties.encoded_len(version, PropertySet::WILL)?;
        let topic_len = binary_len(self.topic.as_str().as_bytes())?;
        Ok(properties_len + topic_len + binary_len(self.payload)?)
    }

    fn write<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        self.properties.write(version, writer)?;
        writer.string(self.topic.as_str())?;
        writer.binary(self.payload)
    }
}

impl<'a> Connack<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let flags = match (version, reader.byte()?) {
            // Reserved there, and not used.
            (Version::V31, _) => 0,
            (Version::V311 | Version::V5, flags) => flags,
        };
        let reason_code = match version {
            Version::V31 | Version::V311 => {
                let found = reader.byte()?;
                ReasonCode::from_return_code(found).ok_or(DecodeError::ReasonCode {
                    packet: PacketType::Connack,
                    found,
                })?
            }
            Version::V5 => ReasonCode::read(PacketType::Connack, reader)?,
        };
        // [MQTT-3.2.2-1], [MQTT-3.2.2-6]
        if flags > SESSION_PRESENT || flags != 0 && reason_code != ReasonCode::Success {
            return Err(DecodeError::ConnackFlags { found: flags });
        }
        let properties = Properties::read(reader, version, PropertySet::CONNACK)?;
        Ok(Self {
            session_present: flags != 0,
            reason_code,
            properties,
        })
    }

    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let reason_code = self.reason_code;
        if self.session_present && reason_code != ReasonCode::Success {
            return Err(InvalidPacket::SessionPresent);
        }
        if version == Version::V5 {
            reason_code.check(PacketType::Connack)?;
            return Ok(2 + self.properties.encoded_len(version, PropertySet::CONNACK)?);
        }
        let packet = PacketType::Connack;
        match reason_code.return_code() {
            Some(_) => Ok(2),
            None => Err(InvalidPacket::ReasonCode {
                packet,
                reason_code,
            }),
        }
    }

    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        let number = self.reason_code.number();
        match version {
            Version::V5 => {
                writer.bytes(&[u8::from(self.session_present), number])?;
                self.properties.write(version, writer)
            }
            Version::V31 | Version::V311 => {
                let flags = u8::from(self.session_present && version == Version::V311);
                // A reason without a return code was refused with the length.
                writer.bytes(&[flags, self.reason_code.return_code().unwrap_or(number)])
            }
        }
    }
}

/// Finds the version that a CONNECT says it is of, whatever is wrong with the rest of it; `None` where
/// its beginning is wrong, or not there yet.
#[must_use]
pub fn connect_version(bytes: &[u8]) -> Option<Version> {
    let (first_byte, rest) = bytes.split_first()?;
    if first_byte >> 4 != PacketType::Connect as u8 {
        return None;
    }
    let (_, length_bytes) = variable_byte_integer(rest).ok()??;
    decode_version(&mut Reader::new(&rest[length_bytes..])).ok()
}

fn decode_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    // [MQTT-3.1.2-1]
    let name = reader.binary()?;
    if !matches!(name, b"MQTT" | b"MQIsdp") {
        return Err(DecodeError::ProtocolName);
    }
    // [MQTT-3.1.2-2]
    match (name, reader.byte()?) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (_, level) => Err(DecodeError::ProtocolLevel { level }),
    }
}

fn check_flags(flags: u8, version: Version) -> Result<(), DecodeError> {
    // [MQTT-3.1.2-3]
    let is_reserved_set = flags & 1 != 0;
    // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    let is_will_contradicted =
        flags & WILL == 0 && flags & (0b11 << WILL_QOS_SHIFT | WILL_RETAIN) != 0;
    if is_reserved_set || is_will_contradicted {
        return Err(DecodeError::ConnectFlags { found: flags });
    }
    if version < Version::V5 && flags & (PASSWORD | USER_NAME) == PASSWORD {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    Ok(())
}

fn has_data_without_method(properties: &Properties<'_>) -> bool {
    properties.authentication_data().is_some() && properties.authentication_method().is_none()
}
