//! Writes JSON straight into bytes: what is answered is large, and a tree of it would be larger.

use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

/// An object that is being written, field by field.
pub(super) struct Object<'v> {
    into: &'v mut Vec<u8>,
    is_empty: bool,
}

impl<'v> Object<'v> {
    pub(super) fn new(into: &'v mut Vec<u8>) -> Self {
        into.push(b'{');
        Self {
            into,
            is_empty: true,
        }
    }

    /// Begins a field; the caller writes its value.
    pub(super) fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.is_empty {
            self.into.push(b',');
        }
        self.is_empty = false;
        write_text(name, self.into);
        self.into.push(b':');
        self.into
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        write_text(value, self.field(name));
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        write_number(value, self.field(name));
    }

    /// Writes a value that is JSON already.
    pub(super) fn raw(&mut self, name: &str, value: &str) {
        self.field(name).extend_from_slice(value.as_bytes());
    }

    pub(super) fn end(self) {
        self.into.push(b'}');
    }
}

/// Writes items between brackets.
pub(super) fn write_array<T>(
    items: impl IntoIterator<Item = T>,
    into: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    into.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        write(item, into);
    }
    into.push(b']');
}

pub(super) fn write_number(number: u64, into: &mut Vec<u8>) {
    let mut place = 1;
    while number / place > 9 {
        place *= 10;
    }
    while place > 0 {
        into.push(b'0' + (number / place % 10) as u8);
        place /= 10;
    }
}

/// Tells how long a number gets.
pub(super) fn number_bytes(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Writes text between quotation marks.
pub(super) fn write_text(text: &str, into: &mut Vec<u8>) {
    write_lossy(text.as_bytes(), into);
}

/// Writes bytes as text between quotation marks. What is no UTF-8 becomes U+FFFD.
pub(super) fn write_lossy(bytes: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for chunk in bytes.utf8_chunks() {
        write_escaped(chunk.valid().as_bytes(), into);
        if !chunk.invalid().is_empty() {
            into.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
    into.push(b'"');
}

/// Tells how long bytes get that are written as text.
pub(super) fn lossy_bytes(bytes: &[u8]) -> usize {
    let chunks = bytes.utf8_chunks().map(|chunk| {
        let replaced = if chunk.invalid().is_empty() {
            ""
        } else {
            REPLACEMENT
        };
        let escaped = chunk.valid().bytes().map(escaped_bytes).sum::<usize>();
        escaped + replaced.len()
    });
    chunks.sum::<usize>() + 2
}

/// Writes bytes as base64 between quotation marks.
pub(super) fn write_base64(bytes: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    let start = into.len();
    into.resize(start + Base64::encoded_len(bytes), 0);
    Base64::encode(bytes, &mut into[start..]).expect("as much room was made as is needed");
    into.push(b'"');
}

/// Tells how long bytes get that are written as base64.
pub(super) fn base64_bytes(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4 + 2
}

const REPLACEMENT: &str = "\u{FFFD}";

/// Copies runs of what needs no escape at once.
fn write_escaped(mut text: &[u8], into: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|&byte| escaped_bytes(byte) > 1) {
        into.extend_from_slice(&text[..at]);
        match short_escape(text[at]) {
            Some(letter) => into.extend_from_slice(&[b'\\', letter]),
            None => {
                into.extend_from_slice(b"\\u00");
                into.extend([text[at] >> 4, text[at] & 15].map(hexadecimal));
            }
        }
        text = &text[at + 1..];
    }
    into.extend_from_slice(text);
}

const fn escaped_bytes(byte: u8) -> usize {
    match (short_escape(byte), byte) {
        (Some(_), _) => 2,
        (None, 0..0x20) => 6,
        (None, _) => 1,
    }
}

const fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => return None,
    })
}

const fn hexadecimal(digit: u8) -> u8 {
    if digit < 10 {
        b'0' + digit
    } else {
        b'a' + digit - 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn text_is_escaped_as_every_reader_expects() {
        for code in 0..0x500_u32 {
            let text = String::from_iter(char::from_u32(code));
            let mut written = Vec::new();
            write_text(&text, &mut written);
            assert_eq!(written, serde_json::to_vec(&text).unwrap());
            assert_eq!(written.len(), lossy_bytes(text.as_bytes()));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let table: [&[u8]; 5] = [
            b"\xFF\x00bin",
            b"",
            b"\xE4\xBD",
            b"a\xC0\x80b",
            b"\xF0\x9F\x98x",
        ];
        for bytes in table {
            let mut written = Vec::new();
            write_lossy(bytes, &mut written);
            let text: String = serde_json::from_slice(&written).unwrap();
            assert_eq!(text, String::from_utf8_lossy(bytes));
            assert_eq!(written.len(), lossy_bytes(bytes));
        }
    }

    #[test]
    fn numbers_are_written_with_all_their_digits() {
        for number in [0, 1, 9, 10, 19, 99, 100, 12_345, u64::MAX - 1, u64::MAX] {
            let mut written = Vec::new();
            write_number(number, &mut written);
            assert_eq!(written, alloc::format!("{number}").as_bytes());
            assert_eq!(written.len(), number_bytes(number));
        }
    }

    #[test]
    fn base64_has_its_padding() {
        let table: [(&[u8], &[u8]); 5] = [
            (b"", b"\"\""),
            (b"h", b"\"aA==\""),
            (b"he", b"\"aGU=\""),
            (b"hello", b"\"aGVsbG8=\""),
            (b"\xFB\xFF", b"\"+/8=\""),
        ];
        for (bytes, expected) in table {
            let mut written = Vec::new();
            write_base64(bytes, &mut written);
            assert_eq!(written, expected);
            assert_eq!(written.len(), base64_bytes(bytes));
        }
    }
}
