//! The properties of MQTT 5: one table of them, a validated list, and a writer.
//!
//! [`Properties`] that exist were checked against the packet they came in: allowed there, of the
//! right type, in range, and repeated only where they may be. They stay the bytes they were, so
//! that a message can go on to its subscribers without being taken apart.

mod set;
mod value;

use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use embedded_io::Write;

use self::set::Misplaced;
use self::value::Value;
use super::header::remaining_length;
use super::primitive::{Reader, Writer, variable_byte_integer_len};
use super::{QoS, Version};
use crate::topic::TopicName;
use crate::{DecodeError, EncodeError, InvalidPacket};

pub use self::set::PropertySet;
pub use self::value::{SubscriptionIdentifier, UserProperty};

/// Builds the enum of properties, its codec, and the getters of those that stand once.
macro_rules! properties {
    ($($identifier:literal $variant:ident($value:ty) $(= $getter:ident)?, $doc:literal;)*) => {
        /// One property and its value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Property<'a> {
            $(#[doc = $doc] $variant($value),)*
        }

        impl<'a> Property<'a> {
            /// Gives the number that stands before the value.
            #[must_use]
            pub const fn identifier(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => $identifier,)*
                }
            }

            /// Tells how many bytes identifier and value take.
            ///
            /// # Errors
            ///
            /// If the value can't be encoded.
            pub fn encoded_len(&self) -> Result<usize, InvalidPacket> {
                let value_len = match *self {
                    $(Self::$variant(value) => value.encoded_len()?,)*
                };
                Ok(1 + value_len)
            }

            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                match reader.byte()? {
                    $($identifier => Ok(Self::$variant(Value::read($identifier, reader)?)),)*
                    found => Err(DecodeError::PropertyIdentifier { found }),
                }
            }

            pub(super) fn write<W: Write>(
                &self,
                writer: &mut Writer<'_, W>,
            ) -> Result<(), EncodeError<W::Error>> {
                writer.byte(self.identifier())?;
                match *self {
                    $(Self::$variant(value) => value.write(writer),)*
                }
            }
        }

        /// One getter for each property that stands once; `None` where it is absent.
        impl<'a> Properties<'a> {
            $($(
                #[doc = $doc]
                #[must_use]
                pub fn $getter(&self) -> Option<$value> {
                    if !self.present.contains($identifier) {
                        return None;
                    }
                    self.iter().find_map(|property| match property {
                        Property::$variant(value) => Some(value),
                        _ => None,
                    })
                }
            )?)*
        }
    };
}

properties! {
    0x01 PayloadFormatIndicator(bool) = payload_format_indicator,
        "Whether the payload is UTF-8; absent means unspecified bytes, like `false`.";
    0x02 MessageExpiryInterval(u32) = message_expiry_interval,
        "Seconds for which the message is worth delivering; absent means forever.";
    0x03 ContentType(&'a str) = content_type, "What the payload is, in the application's words.";
    0x08 ResponseTopic(TopicName<'a>) = response_topic, "Where a response is expected.";
    0x09 CorrelationData(&'a [u8]) = correlation_data,
        "What the requester tells responses apart by.";
    0x0B SubscriptionIdentifier(SubscriptionIdentifier),
        "Which subscription asked for the message; several where several did.";
    0x11 SessionExpiryInterval(u32) = session_expiry_interval,
        "Seconds the session outlives its connection; absent means 0, `u32::MAX` forever.";
    0x12 AssignedClientIdentifier(&'a str) = assigned_client_identifier,
        "The client identifier the server chose for a client that came without.";
    0x13 ServerKeepAlive(u16) = server_keep_alive,
        "Seconds the client must use in place of its own keep alive.";
    0x15 AuthenticationMethod(&'a str) = authentication_method,
        "The name of the extended authentication method.";
    0x16 AuthenticationData(&'a [u8]) = authentication_data,
        "What the authentication method says.";
    0x17 RequestProblemInformation(bool) = request_problem_information,
        "Whether reason strings and user properties may come in any packet; absent means `true`.";
    0x18 WillDelayInterval(u32) = will_delay_interval,
        "Seconds between the connection's end and the will; absent means 0.";
    0x19 RequestResponseInformation(bool) = request_response_information,
        "Whether the client wants response information in the CONNACK; absent means `false`.";
    0x1A ResponseInformation(&'a str) = response_information,
        "What response topics can be made from.";
    0x1C ServerReference(&'a str) = server_reference, "Another server to use.";
    0x1F ReasonString(&'a str) = reason_string, "The reason in words, for people.";
    0x21 ReceiveMaximum(NonZeroU16) = receive_maximum,
        "Unacknowledged messages of QoS 1 and 2 that the sender takes; absent means 65,535.";
    0x22 TopicAliasMaximum(u16) = topic_alias_maximum,
        "The highest topic alias that the sender takes; absent means 0, none.";
    0x23 TopicAlias(NonZeroU16) = topic_alias, "The number that stands for the topic name.";
    0x24 MaximumQos(QoS) = maximum_qos,
        "The highest QoS the server takes, 0 or 1; absent means 2.";
    0x25 RetainAvailable(bool) = retain_available,
        "Whether the server keeps retained messages; absent means `true`.";
    0x26 UserProperty(UserProperty<'a>), "A pair of the application's own, in order.";
    0x27 MaximumPacketSize(NonZeroU32) = maximum_packet_size,
        "Bytes of the largest packet that the sender takes; absent means no limit.";
    0x28 WildcardSubscriptionAvailable(bool) = wildcard_subscription_available,
        "Whether the server has wildcard subscriptions; absent means `true`.";
    0x29 SubscriptionIdentifierAvailable(bool) = subscription_identifier_available,
        "Whether the server has subscription identifiers; absent means `true`.";
    0x2A SharedSubscriptionAvailable(bool) = shared_subscription_available,
        "Whether the server has shared subscriptions; absent means `true`.";
}

/// Properties of one packet, checked, as they are on the wire without their length.
///
/// Equal when their bytes are: the same properties in another order are not.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    bytes: &'a [u8],
    present: PropertySet,
}

impl<'a> Properties<'a> {
    /// No properties; also those of every packet before MQTT 5.
    pub const EMPTY: Self = Self {
        bytes: &[],
        present: PropertySet::NONE,
    };

    /// Checks the bytes behind a property length; `allowed` is a constant of [`PropertySet`].
    ///
    /// Costs a few nanoseconds a property, so that bytes which were checked once and then stored
    /// are simply checked again.
    ///
    /// # Errors
    ///
    /// If a property is cut off, unknown, not allowed, repeated, or has a value out of its range.
    #[inline]
    pub fn parse(bytes: &'a [u8], allowed: PropertySet) -> Result<Self, DecodeError> {
        let mut present = PropertySet::NONE;
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let identifier = Property::read(&mut reader)?.identifier();
            present
                .admit(identifier, allowed)
                .map_err(|misplaced| match misplaced {
                    Misplaced::NotAllowed => DecodeError::PropertyNotAllowed { identifier },
                    Misplaced::Repeated => DecodeError::PropertyRepeated { identifier },
                })?;
        }
        Ok(Self { bytes, present })
    }

    /// Reads a property length and that many bytes of properties, where the version has them.
    #[inline]
    pub(super) fn read(
        reader: &mut Reader<'a>,
        version: Version,
        allowed: PropertySet,
    ) -> Result<Self, DecodeError> {
        if version < Version::V5 {
            return Ok(Self::EMPTY);
        }
        let length = reader.variable_byte_integer()?;
        if length == 0 {
            return Ok(Self::EMPTY);
        }
        Self::parse(reader.take(length as usize)?, allowed)
    }

    /// Walks the properties in their order.
    #[must_use]
    pub const fn iter(&self) -> PropertyIter<'a> {
        PropertyIter {
            reader: Reader::new(self.bytes),
        }
    }

    /// Walks the user properties in their order.
    pub fn user_properties(&self) -> impl Iterator<Item = UserProperty<'a>> + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(pair) => Some(pair),
            _ => None,
        })
    }

    /// Walks the subscription identifiers: at most one in SUBSCRIBE, any number in PUBLISH.
    pub fn subscription_identifiers(
        &self,
    ) -> impl Iterator<Item = SubscriptionIdentifier> + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(identifier) => Some(identifier),
            _ => None,
        })
    }

    /// Gives the bytes, without their length.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Says which properties are there.
    #[must_use]
    pub const fn present(&self) -> PropertySet {
        self.present
    }

    /// Says whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies what goes on to subscribers, [`PropertySet::FORWARDABLE`], unparsed and in order;
    /// gives the number of bytes. What was written can be read with [`Properties::parse`].
    ///
    /// # Errors
    ///
    /// If the sink fails.
    pub fn copy_forwardable<W: Write>(&self, sink: &mut W) -> Result<usize, W::Error> {
        if PropertySet::FORWARDABLE.includes(self.present) {
            sink.write_all(self.bytes)?;
            return Ok(self.bytes.len());
        }
        let mut count = 0;
        let mut reader = Reader::new(self.bytes);
        loop {
            let start = reader;
            match Property::read(&mut reader) {
                Ok(property) if PropertySet::FORWARDABLE.contains(property.identifier()) => {
                    let bytes = start.read_until(&reader);
                    sink.write_all(bytes)?;
                    count += bytes.len();
                }
                Ok(_) => {}
                // Checked bytes hold no broken property, so this is their end.
                Err(_) => return Ok(count),
            }
        }
    }

    /// Tells how many bytes length and properties take, if the packet allows them.
    #[inline]
    pub(super) fn encoded_len(
        &self,
        version: Version,
        allowed: PropertySet,
    ) -> Result<usize, InvalidPacket> {
        if version < Version::V5 {
            return Ok(0);
        }
        if let Some(identifier) = allowed.lowest_missing(self.present) {
            return Err(InvalidPacket::PropertyNotAllowed { identifier });
        }
        let length = remaining_length(self.bytes.len())?;
        Ok(variable_byte_integer_len(length) + self.bytes.len())
    }

    /// Writes length and properties, where the version has them.
    #[inline]
    pub(super) fn write<W: Write>(
        &self,
        version: Version,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        if version < Version::V5 {
            return Ok(());
        }
        writer.variable_byte_integer(self.bytes.len() as u32)?;
        writer.bytes(self.bytes)
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// Walks properties in their order.
#[derive(Clone, Debug)]
pub struct PropertyIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        // The bytes were checked, so an error can only be their end.
        Property::read(&mut self.reader).ok()
    }
}

/// Writes properties one by one, for [`Properties::parse`] to read.
///
/// ```
/// use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
///
/// let mut buffer = [0; 32];
/// let mut writer = PropertyWriter::new(&mut buffer[..], PropertySet::CONNACK);
/// writer.write(&Property::TopicAliasMaximum(16))?;
/// writer.write(&Property::RetainAvailable(true))?;
/// let bytes = writer.finish();
/// let properties = Properties::parse(&buffer[..bytes], PropertySet::CONNACK)?;
/// assert_eq!(properties.topic_alias_maximum(), Some(16));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PropertyWriter<W> {
    sink: W,
    allowed: PropertySet,
    present: PropertySet,
    written_bytes: usize,
}

impl<W: Write> PropertyWriter<W> {
    /// Begins an empty list for a packet that allows `allowed`.
    pub const fn new(sink: W, allowed: PropertySet) -> Self {
        Self {
            sink,
            allowed,
            present: PropertySet::NONE,
            written_bytes: 0,
        }
    }

    /// Adds a property.
    ///
    /// # Errors
    ///
    /// If the packet does not allow it, or not again; if its value can't be encoded; if the sink
    /// fails. What was written before stays good, except after a failure of the sink.
    pub fn write(&mut self, property: &Property<'_>) -> Result<(), EncodeError<W::Error>> {
        let identifier = property.identifier();
        let bytes = property.encoded_len()?;
        self.present
            .admit(identifier, self.allowed)
            .map_err(|misplaced| match misplaced {
                Misplaced::NotAllowed => InvalidPacket::PropertyNotAllowed { identifier },
                Misplaced::Repeated => InvalidPacket::PropertyRepeated { identifier },
            })?;
        property.write(&mut Writer::new(&mut self.sink))?;
        self.written_bytes += bytes;
        Ok(())
    }

    /// Ends the list and gives its bytes' number.
    pub fn finish(self) -> usize {
        self.written_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each property that CONNACK may carry once, each with another value.
    const CONNACK: &[u8] = b"\x11\0\0\0\x01\x12\0\x01c\x13\0\x02\x15\0\x01m\x16\0\x01\xFF\
        \x1A\0\x01i\x1C\0\x01s\x1F\0\x01r\x21\0\x03\x22\0\x04\x24\x01\x25\0\
        \x27\0\0\0\x05\x28\0\x29\0\x2A\0";

    #[test]
    fn getters_of_connack_give_their_own_property() {
        let properties = Properties::parse(CONNACK, PropertySet::CONNACK).unwrap();
        assert_eq!(properties.session_expiry_interval(), Some(1));
        assert_eq!(properties.assigned_client_identifier(), Some("c"));
        assert_eq!(properties.server_keep_alive(), Some(2));
        assert_eq!(properties.authentication_method(), Some("m"));
        assert_eq!(properties.authentication_data(), Some(&[0xFF][..]));
        assert_eq!(properties.response_information(), Some("i"));
        assert_eq!(properties.server_reference(), Some("s"));
        assert_eq!(properties.reason_string(), Some("r"));
        assert_eq!(properties.receive_maximum(), NonZeroU16::new(3));
        assert_eq!(properties.topic_alias_maximum(), Some(4));
        assert_eq!(properties.maximum_qos(), Some(QoS::AtLeastOnce));
        assert_eq!(properties.retain_available(), Some(false));
        assert_eq!(properties.maximum_packet_size(), NonZeroU32::new(5));
        assert_eq!(properties.wildcard_subscription_available(), Some(false));
        assert_eq!(properties.subscription_identifier_available(), Some(false));
        assert_eq!(properties.shared_subscription_available(), Some(false));
        assert_eq!(properties.iter().count(), 16);
    }

    #[test]
    fn getters_of_the_others_give_their_own_property() {
        let bytes = b"\x01\x01\x02\0\0\0\x07\x03\0\x01t\x08\0\x01r\x09\0\x01\xFE\x23\0\x08\
            \x0B\x09\x0B\x0A\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w";
        let properties = Properties::parse(bytes, PropertySet::PUBLISH).unwrap();
        assert_eq!(properties.payload_format_indicator(), Some(true));
        assert_eq!(properties.message_expiry_interval(), Some(7));
        assert_eq!(properties.content_type(), Some("t"));
        assert_eq!(properties.response_topic(), TopicName::new("r").ok());
        assert_eq!(properties.correlation_data(), Some(&[0xFE][..]));
        assert_eq!(properties.topic_alias(), NonZeroU16::new(8));
        let identifiers = properties
            .subscription_identifiers()
            .map(|found| found.number());
        assert!(identifiers.eq([9, 10]));
        assert!(
            properties
                .user_properties()
                .map(|pair| pair.value)
                .eq(["v", "w"])
        );

        let properties = Properties::parse(b"\x17\0\x19\x01", PropertySet::CONNECT).unwrap();
        assert_eq!(properties.request_problem_information(), Some(false));
        assert_eq!(properties.request_response_information(), Some(true));

        let properties = Properties::parse(b"\x18\0\0\0\x0B", PropertySet::WILL).unwrap();
        assert_eq!(properties.will_delay_interval(), Some(11));
    }

    #[test]
    fn absent_properties_are_none() {
        let properties = Properties::EMPTY;
        assert_eq!(properties.session_expiry_interval(), None);
        assert_eq!(properties.topic_alias(), None);
        assert!(properties.user_properties().next().is_none());
    }
}
