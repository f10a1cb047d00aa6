//! The header block of a message: a version, perhaps a status, and fields.
//!
//! ```text
//! NATS/1.0 503 No Responders    status and description may be missing
//! mq9-priority: urgent          name, colon, value
//!                               an empty line ends it
//! ```
//!
//! A server passes a header block on as it is, so a bad one is no reason to close a connection.
//! Names are compared as they are: their case matters in NATS. A name may stand more than once.

use core::fmt;

use embedded_io::Write;

use super::writer::Writer;
use super::{EncodeError, InvalidOperation};

/// The block that tells who made a request that nobody hears it.
pub const NO_RESPONDERS: &[u8] = b"NATS/1.0 503\r\n\r\n";

const VERSION: &str = "NATS/1.0";
const LINE_END: &str = "\r\n";
/// Surrounds a value without being part of it.
const BLANK: [char; 2] = [' ', '\t'];

/// What a server, rather than an application, says in a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// 100 to 999, such as 503 for a request that nobody hears.
    pub code: u16,
    /// The same for people, or empty.
    pub description: &'a str,
}

/// A header block whose every line was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    status: Option<Status<'a>>,
    /// Whole lines, without the empty one.
    fields: &'a str,
}

impl<'a> Headers<'a> {
    /// Takes a header block apart, up to its empty line; what follows that is passed over.
    ///
    /// ```
    /// use wire::nats::Headers;
    ///
    /// let headers = Headers::parse(b"NATS/1.0\r\nmq9-priority: urgent\r\nmq9-key:7\r\n\r\n")?;
    /// assert_eq!(headers.value("mq9-priority"), Some("urgent"));
    /// assert_eq!(headers.fields().count(), 2);
    /// # Ok::<(), wire::nats::HeaderError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it is not UTF-8, has no version, has a status that is not 100 to 999 or a field
    /// without a proper name, or does not end.
    pub fn parse(block: &'a [u8]) -> Result<Self, HeaderError> {
        let text = core::str::from_utf8(block).map_err(|_| HeaderError::Utf8)?;
        let (first, fields) = text.split_once(LINE_END).ok_or(HeaderError::Unterminated)?;
        let status = first.strip_prefix(VERSION).ok_or(HeaderError::Version)?;
        let status = Status::parse(status)?;
        let mut rest = fields;
        loop {
            let (line, following) = rest.split_once(LINE_END).ok_or(HeaderError::Unterminated)?;
            if line.is_empty() {
                let fields = &fields[..fields.len() - rest.len()];
                return Ok(Self { status, fields });
            }
            let (name, value) = line.split_once(':').ok_or(HeaderError::Field)?;
            if !is_name(name) || value.contains(['\r', '\n']) {
                return Err(HeaderError::Field);
            }
            rest = following;
        }
    }

    /// Gives the status, if a server speaks.
    #[must_use]
    pub const fn status(&self) -> Option<Status<'a>> {
        self.status
    }

    /// Walks names and values, in the order in which they stand.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let lines = self.fields.split_terminator(LINE_END);
        lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim_matches(BLANK)))
    }

    /// Finds the first value of a name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.fields()
            .find(|&(found, _)| found == name)
            .map(|(_, value)| value)
    }

    /// Walks all values of a name.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.fields()
            .filter(move |&(found, _)| found == name)
            .map(|(_, value)| value)
    }
}

impl<'a> Status<'a> {
    /// Reads what follows the version.
    fn parse(text: &'a str) -> Result<Option<Self>, HeaderError> {
        if text.trim_matches(BLANK).is_empty() {
            return Ok(None);
        }
        let status = text.strip_prefix(BLANK).ok_or(HeaderError::Version)?;
        let status = status.trim_matches(BLANK);
        let (code, description) = status.split_once(BLANK).unwrap_or((status, ""));
        let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        let code = code.parse().ok().filter(|&code| is_code && code >= 100);
        if description.contains(['\r', '\n']) {
            return Err(HeaderError::Status);
        }
        Ok(Some(Self {
            code: code.ok_or(HeaderError::Status)?,
            description: description.trim_start_matches(BLANK),
        }))
    }
}

/// Writes a header block, field by field, as it must stand before a payload.
///
/// ```
/// use wire::nats::{HeaderWriter, Headers};
///
/// let mut block = Vec::new();
/// let mut headers = HeaderWriter::new(None, &mut block)?;
/// headers.field("mq9-priority", "urgent")?;
/// headers.finish()?;
/// assert_eq!(block, b"NATS/1.0\r\nmq9-priority: urgent\r\n\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HeaderWriter<'w, W> {
    writer: Writer<'w, W>,
}

impl<'w, W: Write> HeaderWriter<'w, W> {
    /// Begins a block, for a server with a status.
    ///
    /// # Errors
    ///
    /// If the status can't be written so that it comes back, with nothing written; if the sink
    /// fails.
    pub fn new(status: Option<Status<'_>>, sink: &'w mut W) -> Result<Self, EncodeError<W::Error>> {
        let mut writer = Writer::new(sink);
        if let Some(Status { code, description }) = status {
            if !(100..=999).contains(&code) {
                return Err(InvalidOperation::StatusCode { code }.into());
            }
            check_value(description)?;
        }
        writer.bytes(VERSION.as_bytes())?;
        if let Some(Status { code, description }) = status {
            writer.number(code.into())?;
            if !description.is_empty() {
                writer.argument(description)?;
            }
        }
        writer.end()?;
        Ok(Self { writer })
    }

    /// Writes a field.
    ///
    /// # Errors
    ///
    /// If name or value can't be written so that they come back, with nothing written; if the sink
    /// fails.
    pub fn field(&mut self, name: &str, value: &str) -> Result<(), EncodeError<W::Error>> {
        if !is_name(name) {
            return Err(InvalidOperation::HeaderName.into());
        }
        check_value(value)?;
        self.writer.bytes(name.as_bytes())?;
        self.writer.bytes(b":")?;
        self.writer.argument(value)?;
        self.writer.end()
    }

    /// Ends the block and gives its length.
    ///
    /// # Errors
    ///
    /// If the sink fails.
    pub fn finish(mut self) -> Result<usize, EncodeError<W::Error>> {
        self.writer.end()?;
        Ok(self.writer.written())
    }
}

/// Printable ASCII without space and colon.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn check_value(value: &str) -> Result<(), InvalidOperation> {
    match value.contains(['\r', '\n']) || value.trim_matches(BLANK) != value {
        true => Err(InvalidOperation::HeaderValue),
        false => Ok(()),
    }
}

/// Why bytes are not a header block. No reason to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not well-formed UTF-8.
    Utf8,
    /// Does not begin with `NATS/1.0` and the end of a line or a status.
    Version,
    /// The status is not 100 to 999.
    Status,
    /// A line is not a name of printable ASCII, a colon and a value.
    Field,
    /// The empty line at the end is missing.
    Unterminated,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "header block is not well-formed UTF-8",
            Self::Version => "header block does not begin with NATS/1.0",
            Self::Status => "header block has a status that is not 100 to 999",
            Self::Field => "header block has a line that is not name, colon and value",
            Self::Unterminated => "header block does not end with an empty line",
        })
    }
}

impl core::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;
    use HeaderError::{Field, Unterminated, Utf8, Version};
    use alloc::vec;
    use alloc::vec::Vec;

    const fn status(code: u16, description: &str) -> Option<Status<'_>> {
        Some(Status { code, description })
    }

    #[test]
    fn status_lines_are_read() {
        let table: [(&[u8], Option<Status<'_>>); 9] = [
            (b"NATS/1.0\r\n\r\n", None),
            (b"NATS/1.0 \r\n\r\n", None),
            (NO_RESPONDERS, status(503, "")),
            (
                b"NATS/1.0 503 No Responders\r\n\r\n",
                status(503, "No Responders"),
            ),
            (
                b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
                status(100, "Idle Heartbeat"),
            ),
            (
                b"NATS/1.0  404\tNo  Messages \r\n\r\n",
                status(404, "No  Messages"),
            ),
            (
                b"NATS/1.0 408 Request Timeout\r\nNats-Pending: 1\r\n\r\n",
                status(408, "Request Timeout"),
            ),
            (b"NATS/1.0 999\r\n\r\n", status(999, "")),
            (b"NATS/1.0 100\r\n\r\n", status(100, "")),
        ];
        for (block, expected) in table {
            let headers = Headers::parse(block).unwrap();
            assert_eq!(headers.status(), expected);
        }
    }

    #[test]
    fn fields_are_walked_and_found_by_their_exact_name() {
        let block = b"NATS/1.0\r\nA: 1\r\na:2\r\nA:\t 3 \t\r\nempty:\r\ncolon: x: y\r\n\r\nignored";
        let headers = Headers::parse(block).unwrap();
        let fields: Vec<_> = headers.fields().collect();
        let expected = [
            ("A", "1"),
            ("a", "2"),
            ("A", "3"),
            ("empty", ""),
            ("colon", "x: y"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(headers.value("A"), Some("1"));
        assert_eq!(headers.values("A").collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(headers.values("A").last(), Some("3"));
        assert_eq!(headers.value("a"), Some("2"));
        assert_eq!(headers.value("empty"), Some(""));
        assert_eq!(headers.value("EMPTY"), None);
        assert_eq!(headers.value("ignored"), None);
    }

    #[test]
    fn what_is_no_header_block_is_refused_for_its_reason() {
        let table: [(&[u8], HeaderError); 19] = [
            (b"", Unterminated),
            (b"NATS/1.0", Unterminated),
            (b"NATS/1.0\r\n", Unterminated),
            (b"NATS/1.0\n\n", Unterminated),
            (b"NATS/1.0\r\na: b\r\n", Unterminated),
            (b"NATS/1.0\r\na: b\r\n\n", Unterminated),
            (b"name:derek\r\n\r\n", Version),
            (b"nats/1.0\r\n\r\n", Version),
            (b"NATS/1.1\r\n\r\n", Version),
            (b"NATS/1.0503\r\n\r\n", Version),
            (b"NATS/1.0\r\r\n\r\n", Version),
            (b"NATS/1.0 50\r\n\r\n", HeaderError::Status),
            (b"NATS/1.0 099\r\n\r\n", HeaderError::Status),
            (b"NATS/1.0 5034 x\r\n\r\n", HeaderError::Status),
            (b"NATS/1.0 503 a\nb\r\n\r\n", HeaderError::Status),
            (b"NATS/1.0\r\nname\r\n\r\n", Field),
            (b"NATS/1.0\r\nna me: x\r\n\r\n", Field),
            (b"NATS/1.0\r\na: b\nc\r\n\r\n", Field),
            (b"NATS/1.0\r\na: \xFF\r\n\r\n", Utf8),
        ];
        for (block, error) in table {
            assert_eq!(
                Headers::parse(block),
                Err(error),
                "{}",
                block.escape_ascii()
            );
        }
        // A folded line, and no name.
        for block in [
            &b"NATS/1.0\r\na: b\r\n c\r\n\r\n"[..],
            b"NATS/1.0\r\n: b\r\n\r\n",
        ] {
            assert_eq!(Headers::parse(block), Err(Field));
        }
    }

    #[test]
    fn what_would_not_come_back_is_not_written() {
        let names = ["", "a b", "a:b", "a\r\n", "\u{e9}", "a\0"];
        let values = ["a\rb", "a\nb", " a", "a ", "\ta"];
        let mut block = Vec::new();
        let mut writer = HeaderWriter::new(None, &mut block).unwrap();
        for name in names {
            let refused = EncodeError::Invalid(InvalidOperation::HeaderName);
            assert_eq!(writer.field(name, "x"), Err(refused), "{name:?}");
        }
        for value in values {
            let refused = EncodeError::Invalid(InvalidOperation::HeaderValue);
            assert_eq!(writer.field("x", value), Err(refused), "{value:?}");
        }
        assert_eq!(writer.finish(), Ok(12));
        assert_eq!(block, b"NATS/1.0\r\n\r\n");

        for code in [0, 99, 1000, u16::MAX] {
            let mut block = vec![];
            let refused = HeaderWriter::new(status(code, ""), &mut block).err();
            let reason = InvalidOperation::StatusCode { code };
            assert_eq!(refused, Some(EncodeError::Invalid(reason)));
            assert!(block.is_empty());
        }
        for description in ["a\r\nb", " a"] {
            let refused = HeaderWriter::new(status(503, description), &mut block).err();
            let reason = InvalidOperation::HeaderValue;
            assert_eq!(refused, Some(EncodeError::Invalid(reason)));
        }
    }

    #[test]
    fn a_status_is_written_with_its_description_or_without() {
        let mut block = Vec::new();
        let writer = HeaderWriter::new(status(503, ""), &mut block).unwrap();
        assert_eq!(writer.finish(), Ok(NO_RESPONDERS.len()));
        assert_eq!(block, NO_RESPONDERS);
        block.clear();
        let mut writer = HeaderWriter::new(status(100, "Idle Heartbeat"), &mut block).unwrap();
        writer.field("Nats-Last-Consumer", "7").unwrap();
        writer.finish().unwrap();
        let expected: &[u8] = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n";
        assert_eq!(block, expected);
    }
}
