//! PUBACK, PUBREC, PUBREL and PUBCOMP: four steps, one shape.

use core::num::NonZeroU16;

use embedded_io::Write;

use super::primitive::{Reader, Writer};
use super::property::{Properties, PropertySet};
use super::{PacketType, ReasonCode, Version};
use crate::{DecodeError, EncodeError, InvalidPacket};

/// A step of a QoS 1 or 2 exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// That of the PUBLISH.
    pub packet_identifier: NonZeroU16,
    /// Always success before MQTT 5: it is not decoded and left out when encoded.
    pub reason_code: ReasonCode,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> Acknowledgement<'a> {
    /// Acknowledges with success and without properties.
    #[must_use]
    pub const fn new(packet_identifier: NonZeroU16) -> Self {
        Self::with_reason(packet_identifier, ReasonCode::Success)
    }

    /// Acknowledges with a reason and without properties.
    #[must_use]
    pub const fn with_reason(packet_identifier: NonZeroU16, reason_code: ReasonCode) -> Self {
        Self {
            packet_identifier,
            reason_code,
            properties: Properties::EMPTY,
        }
    }

    #[inline]
    pub(super) fn decode(
        packet: PacketType,
        reader: &mut Reader<'a>,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        if version < Version::V5 || reader.is_empty() {
            return Ok(Self::new(packet_identifier));
        }
        let reason_code = ReasonCode::read(packet, reader)?;
        let properties = match reader.is_empty() {
            true => Properties::EMPTY,
            false => Properties::read(reader, version, PropertySet::ACKNOWLEDGEMENT)?,
        };
        Ok(Self {
            packet_identifier,
            reason_code,
            properties,
        })
    }

    #[inline]
    pub(super) fn body_len(
        &self,
        packet: PacketType,
        version: Version,
    ) -> Result<usize, InvalidPacket> {
        if version < Version::V5 {
            return Ok(2);
        }
        self.reason_code.check(packet)?;
        match (self.reason_code, self.properties.is_empty()) {
            (ReasonCode::Success, true) => Ok(2),
            (_, true) => Ok(3),
            (_, false) => Ok(3 + self
                .properties
                .encoded_len(version, PropertySet::ACKNOWLEDGEMENT)?),
        }
    }

    #[inline]
    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        writer.two_bytes(self.packet_identifier.get())?;
        if version < Version::V5 {
            return Ok(());
        }
        match (self.reason_code, self.properties.is_empty()) {
            (ReasonCode::Success, true) => Ok(()),
            (reason_code, true) => writer.byte(reason_code.number()),
            (reason_code, false) => {
                writer.byte(reason_code.number())?;
                self.properties.write(version, writer)
            }
        }
    }
}
