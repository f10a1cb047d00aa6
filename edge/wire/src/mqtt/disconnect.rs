//! DISCONNECT and AUTH: the end of a connection, and the steps of its extended authentication.

use embedded_io::Write;

use super::primitive::{Reader, Writer};
use super::property::{Properties, PropertySet};
use super::{PacketType, ReasonCode, Version};
use crate::{DecodeError, EncodeError, InvalidPacket};

/// The last packet of a connection. Before MQTT 5 only clients send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Always success, a normal disconnection, before MQTT 5.
    pub reason_code: ReasonCode,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
}

/// A step of extended authentication; only in MQTT 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue authentication, or re-authenticate.
    pub reason_code: ReasonCode,
    /// Holds the authentication method; may be empty only with success.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Disconnects with a reason and without properties.
    #[must_use]
    pub const fn new(reason_code: ReasonCode) -> Self {
        Self {
            reason_code,
            properties: Properties::EMPTY,
        }
    }

    pub(super) fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        if version < Version::V5 || reader.is_empty() {
            return Ok(Self::new(ReasonCode::Success));
        }
        let reason_code = ReasonCode::read(PacketType::Disconnect, reader)?;
        let properties = match reader.is_empty() {
            true => Properties::EMPTY,
            false => Properties::read(reader, version, PropertySet::DISCONNECT)?,
        };
        Ok(Self {
            reason_code,
            properties,
        })
    }

    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        if version < Version::V5 {
            return Ok(0);
        }
        self.reason_code.check(PacketType::Disconnect)?;
        match self.is_short() {
            true => Ok(0),
            false => Ok(1 + self
                .properties
                .encoded_len(version, PropertySet::DISCONNECT)?),
        }
    }

    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        if version < Version::V5 || self.is_short() {
            return Ok(());
        }
        // The property length may be left out where it is 0, but there are clients that refuse a
        // DISCONNECT without it, and so would not learn the reason.
        writer.byte(self.reason_code.number())?;
        self.properties.write(version, writer)
    }

    fn is_short(&self) -> bool {
        self.reason_code == ReasonCode::Success && self.properties.is_empty()
    }
}

impl<'a> Auth<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let auth = match reader.is_empty() {
            true => Self {
                reason_code: ReasonCode::Success,
                properties: Properties::EMPTY,
            },
            false => Self {
                reason_code: ReasonCode::read(PacketType::Auth, reader)?,
                properties: Properties::read(reader, version, PropertySet::AUTH)?,
            },
        };
        match auth.is_short() || auth.properties.authentication_method().is_some() {
            true => Ok(auth),
            false => Err(DecodeError::AuthenticationMethodMissing),
        }
    }

    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        if version < Version::V5 {
            return Err(InvalidPacket::PacketType {
                packet: PacketType::Auth,
                version,
            });
        }
        self.reason_code.check(PacketType::Auth)?;
        if self.is_short() {
            return Ok(0);
        }
        if self.properties.authentication_method().is_none() {
            return Err(InvalidPacket::AuthenticationMethodMissing);
        }
        Ok(1 + self.properties.encoded_len(version, PropertySet::AUTH)?)
    }

    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        if self.is_short() {
            return Ok(());
        }
        writer.byte(self.reason_code.number())?;
        self.properties.write(version, writer)
    }

    fn is_short(&self) -> bool {
        self.reason_code == ReasonCode::Success && self.properties.is_empty()
    }
}
