//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK: what a client wants to hear, and what not any more.

mod list;

use core::num::NonZeroU16;

use embedded_io::Write;

use super::primitive::{Reader, Writer};
use super::property::{Properties, PropertySet};
use super::{PacketType, ReasonCode, Version};
use crate::{DecodeError, EncodeError, InvalidPacket};

pub use self::list::{ReasonCodes, RetainHandling, Subscription, Subscriptions, TopicFilters};

/// A client subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The SUBACK will have the same.
    pub packet_identifier: NonZeroU16,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
    /// What is subscribed to, in the order of the SUBACK's reason codes.
    pub subscriptions: Subscriptions<'a>,
}

/// The server's answer to SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// That of the SUBSCRIBE.
    pub packet_identifier: NonZeroU16,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
    /// One a subscription. Before MQTT 5 every failure is written as 0x80.
    pub reason_codes: ReasonCodes<'a>,
}

/// A client unsubscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The UNSUBACK will have the same.
    pub packet_identifier: NonZeroU16,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
    /// The filters to forget, in the order of the UNSUBACK's reason codes.
    pub topic_filters: TopicFilters<'a>,
}

/// The server's answer to UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// That of the UNSUBSCRIBE.
    pub packet_identifier: NonZeroU16,
    /// Empty before MQTT 5.
    pub properties: Properties<'a>,
    /// One a filter; empty, or left out, before MQTT 5.
    pub reason_codes: ReasonCodes<'a>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        Ok(Self {
            packet_identifier: reader.packet_identifier()?,
            properties: Properties::read(reader, version, PropertySet::SUBSCRIBE)?,
            subscriptions: Subscriptions::parse(reader.take_rest(), version)?,
        })
    }

    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let properties_len = self
            .properties
            .encoded_len(version, PropertySet::SUBSCRIBE)?;
        Ok(2 + properties_len + self.subscriptions.as_bytes().len())
    }

    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        write_front(self.packet_identifier, &self.properties, version, writer)?;
        for subscription in self.subscriptions.iter() {
            subscription.write(version, writer)?;
        }
        Ok(())
    }
}

impl<'a> Suback<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let properties = Properties::read(reader, version, PropertySet::ACKNOWLEDGEMENT)?;
        let reason_codes = ReasonCodes::parse(reader.take_rest(), PacketType::Suback)?;
        let refined = reason_codes
            .iter()
            .find(|&reason_code| before_5(reason_code) != reason_code);
        match refined {
            Some(reason_code) if version < Version::V5 => Err(DecodeError::ReasonCode {
                packet: PacketType::Suback,
                found: reason_code.number(),
            }),
            _ => Ok(Self {
                packet_identifier,
                properties,
                reason_codes,
            }),
        }
    }

    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let properties_len = self
            .properties
            .encoded_len(version, PropertySet::ACKNOWLEDGEMENT)?;
        Ok(2 + properties_len + self.reason_codes.encoded_len(PacketType::Suback)?)
    }

    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        write_front(self.packet_identifier, &self.properties, version, writer)?;
        if version == Version::V5 {
            return writer.bytes(self.reason_codes.as_bytes());
        }
        for reason_code in self.reason_codes.iter() {
            writer.byte(before_5(reason_code).number())?;
        }
        Ok(())
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        Ok(Self {
            packet_identifier: reader.packet_identifier()?,
            properties: Properties::read(reader, version, PropertySet::UNSUBSCRIBE)?,
            topic_filters: TopicFilters::parse(reader.take_rest())?,
        })
    }

    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let properties_len = self
            .properties
            .encoded_len(version, PropertySet::UNSUBSCRIBE)?;
        Ok(2 + properties_len + self.topic_filters.as_bytes().len())
    }

    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        write_front(self.packet_identifier, &self.properties, version, writer)?;
        writer.bytes(self.topic_filters.as_bytes())
    }
}

impl<'a> Unsuback<'a> {
    pub(super) fn decode(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let properties = Properties::read(reader, version, PropertySet::ACKNOWLEDGEMENT)?;
        let reason_codes = match version {
            Version::V5 => ReasonCodes::parse(reader.take_rest(), PacketType::Unsuback)?,
            Version::V31 | Version::V311 => ReasonCodes::EMPTY,
        };
        Ok(Self {
            packet_identifier,
            properties,
            reason_codes,
        })
    }

    pub(super) fn body_len(&self, version: Version) -> Result<usize, InvalidPacket> {
        let properties_len = self
            .properties
            .encoded_len(version, PropertySet::ACKNOWLEDGEMENT)?;
        let reason_codes_len = match version {
            Version::V5 => self.reason_codes.encoded_len(PacketType::Unsuback)?,
            Version::V31 | Version::V311 => 0,
        };
        Ok(2 + properties_len + reason_codes_len)
    }

    pub(super) fn write_body<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        write_front(self.packet_identifier, &self.properties, version, writer)?;
        match version {
            Version::V5 => writer.bytes(self.reason_codes.as_bytes()),
            Version::V31 | Version::V311 => Ok(()),
        }
    }
}

/// Says it as a SUBACK before MQTT 5 can: there is one failure only.
const fn before_5(reason_code: ReasonCode) -> ReasonCode {
    if reason_code.is_error() {
        ReasonCode::UnspecifiedError
    } else {
        reason_code
    }
}

fn write_front<W: Write>(
    packet_identifier: NonZeroU16,
    properties: &Properties<'_>,
    version: Version,
    writer: &mut Writer<'_, W>,
) -> Result<(), EncodeError<W::Error>> {
    writer.two_bytes(packet_identifier.get())?;
    properties.write(version, writer)
}
