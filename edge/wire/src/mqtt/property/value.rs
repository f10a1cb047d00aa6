//! The types a property's value can have: how each is read, checked, measured and written.

use core::num::{NonZeroU16, NonZeroU32};

use embedded_io::Write;

use crate::mqtt::QoS;
use crate::mqtt::primitive::{
    self, MAXIMUM_VARIABLE_BYTE_INTEGER, Reader, Writer, variable_byte_integer_len,
};
use crate::topic::TopicName;
use crate::{DecodeError, EncodeError, InvalidPacket};

/// A value that stands behind a property's identifier.
pub(super) trait Value<'a>: Copy {
    /// Reads and checks; `identifier` names the property in an error.
    fn read(identifier: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Tells its length, once it is known to be valid.
    fn encoded_len(self) -> Result<usize, InvalidPacket>;

    /// Writes what `encoded_len` has found valid.
    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>>;
}

/// A number that a client gives its subscription: 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionIdentifier(NonZeroU32);

impl SubscriptionIdentifier {
    /// Takes a number; `None` if it is 0 or above 268,435,455.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(valid) if number <= MAXIMUM_VARIABLE_BYTE_INTEGER => Some(Self(valid)),
            _ => None,
        }
    }

    /// Gives the number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// A name and a value whose meaning is the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserProperty<'a> {
    /// May be there several times.
    pub name: &'a str,
    /// Any text.
    pub value: &'a str,
}

impl<'a> Value<'a> for bool {
    #[inline]
    fn read(identifier: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::PropertyValue { identifier }),
        }
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        Ok(1)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.byte(u8::from(self))
    }
}

/// The only property of this type, Maximum QoS, can't be 2: that is said by its absence.
impl<'a> Value<'a> for QoS {
    fn read(identifier: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match reader.byte()? {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            _ => Err(DecodeError::PropertyValue { identifier }),
        }
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        match self {
            Self::ExactlyOnce => Err(InvalidPacket::PropertyValue { identifier: 0x24 }),
            Self::AtMostOnce | Self::AtLeastOnce => Ok(1),
        }
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.byte(u8::from(self))
    }
}

impl<'a> Value<'a> for u16 {
    fn read(_: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.two_bytes()
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        Ok(2)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.two_bytes(self)
    }
}

impl<'a> Value<'a> for NonZeroU16 {
    #[inline]
    fn read(identifier: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::new(reader.two_bytes()?).ok_or(DecodeError::PropertyValue { identifier })
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        Ok(2)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.two_bytes(self.get())
    }
}

impl<'a> Value<'a> for u32 {
    #[inline]
    fn read(_: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.four_bytes()
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        Ok(4)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.four_bytes(self)
    }
}

impl<'a> Value<'a> for NonZeroU32 {
    fn read(identifier: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::new(reader.four_bytes()?).ok_or(DecodeError::PropertyValue { identifier })
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        Ok(4)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.four_bytes(self.get())
    }
}

impl<'a> Value<'a> for SubscriptionIdentifier {
    #[inline]
    fn read(identifier: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::new(reader.variable_byte_integer()?).ok_or(DecodeError::PropertyValue { identifier })
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        Ok(variable_byte_integer_len(self.number()))
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.variable_byte_integer(self.number())
    }
}

impl<'a> Value<'a> for &'a [u8] {
    #[inline]
    fn read(_: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.binary()
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        primitive::binary_len(self)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.binary(self)
    }
}

impl<'a> Value<'a> for &'a str {
    #[inline]
    fn read(_: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.string()
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        primitive::string_len(self)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.string(self)
    }
}

impl<'a> Value<'a> for TopicName<'a> {
    #[inline]
    fn read(_: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        // [MQTT-3.3.2-14]
        TopicName::new(reader.topic()?).map_err(DecodeError::TopicName)
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        primitive::binary_len(self.as_str().as_bytes())
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.string(self.as_str())
    }
}

impl<'a> Value<'a> for UserProperty<'a> {
    #[inline]
    fn read(_: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        // [MQTT-1.5.7-1]
        Ok(Self {
            name: reader.string()?,
            value: reader.string()?,
        })
    }

    fn encoded_len(self) -> Result<usize, InvalidPacket> {
        Ok(primitive::string_len(self.name)? + primitive::string_len(self.value)?)
    }

    fn write<W: Write>(self, writer: &mut Writer<'_, W>) -> Result<(), EncodeError<W::Error>> {
        writer.string(self.name)?;
        writer.string(self.value)
    }
}
