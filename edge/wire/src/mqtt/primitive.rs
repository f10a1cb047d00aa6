//! The data types that every packet is made of: integers, strings, binary data.
//!
//! A [`Reader`] never reads past its slice; a [`Writer`] trusts lengths that were checked by the
//! functions below, which a packet calls to learn its own length before anything is written.

use core::num::NonZeroU16;

use embedded_io::Write;

use crate::{DecodeError, EncodeError, InvalidPacket};

/// The largest value of a variable byte integer: four bytes of seven bits.
pub(super) const MAXIMUM_VARIABLE_BYTE_INTEGER: u32 = 268_435_455;
/// The longest string or binary data: its length has two bytes.
const MAXIMUM_FIELD_BYTES: usize = u16::MAX as usize;

/// Takes fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (field, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (field, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*field)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn two_bytes(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(super) fn four_bytes(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn packet_identifier(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.two_bytes()?).ok_or(DecodeError::PacketIdentifier)
    }

    /// Reads a variable byte integer and insists on the shortest form. [MQTT-1.5.5-1]
    #[inline]
    pub(super) fn variable_byte_integer(&mut self) -> Result<u32, DecodeError> {
        let (value, bytes) = variable_byte_integer(self.rest)?.ok_or(DecodeError::Truncated)?;
        if bytes != variable_byte_integer_len(value) {
            return Err(DecodeError::VariableByteInteger);
        }
        self.rest = &self.rest[bytes..];
        Ok(value)
    }

    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.two_bytes()?;
        self.take(usize::from(length))
    }

    /// Reads UTF-8 without looking for what its user looks for anyway.
    #[inline]
    pub(super) fn topic(&mut self) -> Result<&'a str, DecodeError> {
        // [MQTT-1.5.4-1]
        core::str::from_utf8(self.binary()?).map_err(|_| DecodeError::Utf8)
    }

    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let text = self.topic()?;
        // [MQTT-1.5.4-2]
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::NullCharacter);
        }
        Ok(text)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Gives the bytes that were read since `self` was `later`'s copy.
    pub(super) fn read_until(&self, later: &Self) -> &'a [u8] {
        &self.rest[..self.rest.len() - later.rest.len()]
    }

    /// Insists that nothing is left.
    pub(super) const fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }
}

/// Reads a variable byte integer of any form; gives the value and its length, or `None` where
/// more bytes are needed.
#[inline]
pub(super) fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    match bytes.len() {
        0..4 => Ok(None),
        _ => Err(DecodeError::VariableByteInteger),
    }
}

/// Tells how many bytes the shortest form has.
#[inline]
pub(super) const fn variable_byte_integer_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Tells how many bytes binary data takes with its length.
pub(super) const fn binary_len(bytes: &[u8]) -> Result<usize, InvalidPacket> {
    match bytes.len() {
        bytes if bytes > MAXIMUM_FIELD_BYTES => Err(InvalidPacket::FieldTooLong {
            bytes,
            limit: MAXIMUM_FIELD_BYTES,
        }),
        bytes => Ok(2 + bytes),
    }
}

/// Tells how many bytes a string takes with its length.
pub(super) fn string_len(text: &str) -> Result<usize, InvalidPacket> {
    if text.as_bytes().contains(&0) {
        return Err(InvalidPacket::NullCharacter);
    }
    binary_len(text.as_bytes())
}

/// Puts fields into a sink.
pub(super) struct Writer<'w, W> {
    sink: &'w mut W,
}

impl<'w, W: Write> Writer<'w, W> {
    pub(super) const fn new(sink: &'w mut W) -> Self {
        Self { sink }
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError<W::Error>> {
        self.sink.write_all(bytes).map_err(EncodeError::Sink)
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) -> Result<(), EncodeError<W::Error>> {
        self.bytes(&[byte])
    }

    #[inline]
    pub(super) fn two_bytes(&mut self, value: u16) -> Result<(), EncodeError<W::Error>> {
        self.bytes(&value.to_be_bytes())
    }

    #[inline]
    pub(super) fn four_bytes(&mut self, value: u32) -> Result<(), EncodeError<W::Error>> {
        self.bytes(&value.to_be_bytes())
    }

    #[inline]
    pub(super) fn variable_byte_integer(
        &mut self,
        value: u32,
    ) -> Result<(), EncodeError<W::Error>> {
        let mut form = [0x80; 4];
        let count = variable_byte_integer_len(value);
        for (at, byte) in form[..count].iter_mut().enumerate() {
            let seven_bits = (value >> (7 * at)) as u8 & 0x7F;
            *byte = if at + 1 == count {
                seven_bits
            } else {
                seven_bits | 0x80
            };
        }
        self.bytes(&form[..count])
    }

    /// Writes data whose length [`binary_len`] has checked.
    #[inline]
    pub(super) fn binary(&mut self, bytes: &[u8]) -> Result<(), EncodeError<W::Error>> {
        debug_assert!(bytes.len() <= MAXIMUM_FIELD_BYTES, "length was checked");
        self.two_bytes(bytes.len() as u16)?;
        self.bytes(bytes)
    }

    /// Writes a string that [`string_len`] or a topic's type has checked.
    #[inline]
    pub(super) fn string(&mut self, text: &str) -> Result<(), EncodeError<W::Error>> {
        self.binary(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 1-1 of the specification.
    const VARIABLE_BYTE_INTEGERS: &[(u32, &[u8])] = &[
        (0, &[0x00]),
        (127, &[0x7F]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xFF, 0x7F]),
        (16_384, &[0x80, 0x80, 0x01]),
        (2_097_151, &[0xFF, 0xFF, 0x7F]),
        (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
    ];

    /// [MQTT-1.5.5-1]
    #[test]
    fn variable_byte_integers_have_one_shortest_form() {
        for &(value, bytes) in VARIABLE_BYTE_INTEGERS {
            assert_eq!(Reader::new(bytes).variable_byte_integer(), Ok(value));
            assert_eq!(variable_byte_integer_len(value), bytes.len());
            let mut buffer = [0; 4];
            Writer::new(&mut &mut buffer[..])
                .variable_byte_integer(value)
                .unwrap();
            assert_eq!(&buffer[..bytes.len()], bytes);
            for end in 0..bytes.len() {
                assert_eq!(variable_byte_integer(&bytes[..end]), Ok(None));
            }
        }
    }

    /// [MQTT-1.5.5-1]
    #[test]
    fn longer_forms_are_read_only_where_they_are_allowed() {
        let long: &[u8] = &[0x81, 0x00];
        assert_eq!(variable_byte_integer(long), Ok(Some((1, 2))));
        let refused = Err(DecodeError::VariableByteInteger);
        assert_eq!(Reader::new(long).variable_byte_integer(), refused);
        assert_eq!(Reader::new(&[0xFF; 4]).variable_byte_integer(), refused);
        assert_eq!(
            Reader::new(&[0xFF; 3]).variable_byte_integer(),
            Err(DecodeError::Truncated)
        );
    }

    #[test]
    fn fields_end_with_their_slice() {
        let mut reader = Reader::new(&[0, 2, b'a']);
        assert_eq!(reader.binary(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0]).two_bytes(), Err(DecodeError::Truncated));
        assert_eq!(
            Reader::new(&[0; 3]).four_bytes(),
            Err(DecodeError::Truncated)
        );
        assert_eq!(Reader::new(&[]).byte(), Err(DecodeError::Truncated));
        assert_eq!(
            Reader::new(&[7]).finish(),
            Err(DecodeError::TrailingBytes { count: 1 })
        );
    }

    /// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.4-3]
    #[test]
    fn strings_are_well_formed() {
        // Overlong, a surrogate, above U+10FFFF, cut off.
        for bytes in [
            &b"\0\x02\xC0\x80"[..],
            b"\0\x03\xED\xA0\x80",
            b"\0\x04\xF4\x90\x80\x80",
        ] {
            assert_eq!(Reader::new(bytes).string(), Err(DecodeError::Utf8));
        }
        assert_eq!(Reader::new(b"\0\x01\xC3").string(), Err(DecodeError::Utf8));
        assert_eq!(
            Reader::new(b"\0\x02a\0").string(),
            Err(DecodeError::NullCharacter)
        );
        assert_eq!(Reader::new(b"\0\x03\xEF\xBB\xBF").string(), Ok("\u{feff}"));
    }
}
