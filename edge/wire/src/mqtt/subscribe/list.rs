//! The lists in the packets of this family, and their entries.
//!
//! A list stays the bytes it was on the wire. It is checked when it is made, and has at least one
//! entry unless it is [`ReasonCodes::EMPTY`].

use core::fmt;

use embedded_io::Write;

use crate::mqtt::primitive::{Reader, Writer};
use crate::mqtt::{PacketType, QoS, ReasonCode, Version};
use crate::topic::TopicFilter;
use crate::{DecodeError, EncodeError, InvalidPacket};

/// Subscription options, by bit.
const QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RESERVED: u8 = 0b1100_0000;

/// When the retained messages that match a new subscription are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Always; the only way before MQTT 5.
    #[default]
    Send = 0,
    /// Only if the subscription did not exist before.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// One entry of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Which messages.
    pub topic_filter: TopicFilter<'a>,
    /// The highest QoS at which they are wanted.
    pub maximum_qos: QoS,
    /// Whether the client's own messages are left out; `false` before MQTT 5, and for a shared
    /// subscription.
    pub no_local: bool,
    /// Whether RETAIN stays as the publisher set it; `false` before MQTT 5.
    pub retain_as_published: bool,
    /// Whether retained messages are wanted now; always before MQTT 5.
    pub retain_handling: RetainHandling,
}

impl<'a> Subscription<'a> {
    /// Subscribes as before MQTT 5: everything that the options can say is left at 0.
    #[must_use]
    pub const fn new(topic_filter: TopicFilter<'a>, maximum_qos: QoS) -> Self {
        Self {
            topic_filter,
            maximum_qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }

    /// Writes the entry, for [`Subscriptions::parse`] to read.
    ///
    /// # Errors
    ///
    /// If it asks for No Local on a shared subscription; if the sink fails.
    pub fn encode<W: Write>(
        &self,
        version: Version,
        sink: &mut W,
    ) -> Result<(), EncodeError<W::Error>> {
        // [MQTT-3.8.3-4]
        if self.no_local && self.topic_filter.is_shared() {
            return Err(InvalidPacket::SharedNoLocal.into());
        }
        self.write(version, &mut Writer::new(sink))
    }

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let topic_filter = read_filter(reader)?;
        let found = reader.byte()?;
        let invalid = DecodeError::SubscriptionOptions { found };
        let allowed = if version == Version::V5 {
            !RESERVED
        } else {
            QOS
        };
        // [MQTT-3.8.3-5]
        if found & !allowed != 0 {
            return Err(invalid);
        }
        let subscription = Self {
            topic_filter,
            maximum_qos: QoS::try_from(found & QOS).map_err(|_| invalid)?,
            no_local: found & NO_LOCAL != 0,
            retain_as_published: found & RETAIN_AS_PUBLISHED != 0,
            retain_handling: match found >> RETAIN_HANDLING_SHIFT {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(invalid),
            },
        };
        // [MQTT-3.8.3-4]
        if subscription.no_local && topic_filter.is_shared() {
            return Err(DecodeError::SharedNoLocal);
        }
        Ok(subscription)
    }

    pub(super) fn write<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        writer.string(self.topic_filter.as_str())?;
        let mut options = u8::from(self.maximum_qos);
        if version == Version::V5 {
            options |= (self.retain_handling as u8) << RETAIN_HANDLING_SHIFT;
            options |= if self.no_local { NO_LOCAL } else { 0 };
            options |= if self.retain_as_published {
                RETAIN_AS_PUBLISHED
            } else {
                0
            };
        }
        writer.byte(options)
    }
}

/// The entries of a SUBSCRIBE, checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subscriptions<'a> {
    bytes: &'a [u8],
}

impl<'a> Subscriptions<'a> {
    /// Checks the payload of a SUBSCRIBE.
    ///
    /// # Errors
    ///
    /// If there is no entry, or one is cut off, or has a bad filter or bad options.
    pub fn parse(bytes: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        // [MQTT-3.8.3-2]
        if bytes.is_empty() {
            return Err(DecodeError::EmptyList {
                packet: PacketType::Subscribe,
            });
        }
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            Subscription::read(&mut reader, version)?;
        }
        Ok(Self { bytes })
    }

    /// Walks the entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = Subscription<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // The bytes were checked, so an error can only be their end. Options of an older version
        // mean the same in MQTT 5.
        core::iter::from_fn(move || Subscription::read(&mut reader, Version::V5).ok())
    }

    /// Gives the bytes, as on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The entries of an UNSUBSCRIBE, checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TopicFilters<'a> {
    bytes: &'a [u8],
}

impl<'a> TopicFilters<'a> {
    /// Checks the payload of an UNSUBSCRIBE: filters, each behind its two-byte length.
    ///
    /// # Errors
    ///
    /// If there is no entry, or one is cut off or not a topic filter.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        // [MQTT-3.10.3-2]
        if bytes.is_empty() {
            return Err(DecodeError::EmptyList {
                packet: PacketType::Unsubscribe,
            });
        }
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            read_filter(&mut reader)?;
        }
        Ok(Self { bytes })
    }

    /// Walks the filters in their order.
    pub fn iter(&self) -> impl Iterator<Item = TopicFilter<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // The bytes were checked, so an error can only be their end.
        core::iter::from_fn(move || read_filter(&mut reader).ok())
    }

    /// Gives the bytes, as on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl fmt::Debug for TopicFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The reason codes of a SUBACK or UNSUBACK, checked: a byte each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReasonCodes<'a> {
    bytes: &'a [u8],
}

impl<'a> ReasonCodes<'a> {
    /// No reason code: right only for an UNSUBACK before MQTT 5.
    pub const EMPTY: Self = Self { bytes: &[] };

    /// Checks the payload of a SUBACK or UNSUBACK, as [`ReasonCode::number`] gives it.
    ///
    /// # Errors
    ///
    /// If there is none, or one is not allowed in that packet.
    pub fn parse(bytes: &'a [u8], packet: PacketType) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::EmptyList { packet });
        }
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            ReasonCode::read(packet, &mut reader)?;
        }
        Ok(Self { bytes })
    }

    /// Walks the reason codes in their order.
    pub fn iter(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        self.bytes
            .iter()
            .filter_map(|&number| ReasonCode::from_number(number))
    }

    pub(super) fn encoded_len(&self, packet: PacketType) -> Result<usize, InvalidPacket> {
        if self.bytes.is_empty() {
            return Err(InvalidPacket::EmptyList { packet });
        }
        for reason_code in self.iter() {
            reason_code.check(packet)?;
        }
        Ok(self.bytes.len())
    }

    /// Gives the bytes, as on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn read_filter<'a>(reader: &mut Reader<'a>) -> Result<TopicFilter<'a>, DecodeError> {
    TopicFilter::new(reader.topic()?).map_err(DecodeError::TopicFilter)
}
