//! Puts arguments and numbers onto a sink, and counts the bytes.

use embedded_io::Write;

use super::{EncodeError, InvalidOperation, Verb};

/// Ends a control line, and a message.
const END: &[u8] = b"\r\n";

/// Writes what was checked before.
pub(super) struct Writer<'w, W> {
    sink: &'w mut W,
    written: usize,
}

impl<'w, W: Write> Writer<'w, W> {
    pub(super) const fn new(sink: &'w mut W) -> Self {
        Self { sink, written: 0 }
    }

    pub(super) fn verb(&mut self, verb: Verb) -> Result<(), EncodeError<W::Error>> {
        self.bytes(verb.as_str().as_bytes())
    }

    pub(super) fn argument(&mut self, argument: &str) -> Result<(), EncodeError<W::Error>> {
        self.bytes(b" ")?;
        self.bytes(argument.as_bytes())
    }

    pub(super) fn number(&mut self, number: u32) -> Result<(), EncodeError<W::Error>> {
        let mut digits = [b' '; 11];
        let mut rest = number;
        let mut begin = digits.len();
        loop {
            begin -= 1;
            digits[begin] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        // With the space in front that separates it.
        self.bytes(&digits[begin - 1..])
    }

    pub(super) fn end(&mut self) -> Result<(), EncodeError<W::Error>> {
        self.bytes(END)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError<W::Error>> {
        self.written += bytes.len();
        self.sink.write_all(bytes).map_err(EncodeError::Sink)
    }

    pub(super) const fn written(&self) -> usize {
        self.written
    }
}

/// Checks that an argument is one.
pub(super) fn check_argument(argument: &str) -> Result<(), InvalidOperation> {
    let is_separator = |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    match argument.is_empty() || argument.bytes().any(is_separator) {
        true => Err(InvalidOperation::Argument),
        false => Ok(()),
    }
}
