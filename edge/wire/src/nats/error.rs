//! What can be wrong with bytes from a peer, and with an operation to be sent.
//!
//! Every decode error knows what a server answers before it closes the connection. No error owns
//! memory, and none repeats a peer's bytes beyond a number.

use core::fmt;

use super::{ServerError, Verb};

/// Why bytes are not an operation. The connection they came from must be closed: where the next
/// operation would begin is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// No operation that this side may send begins so.
    Verb,
    /// The control line does not end within the limit.
    ControlLineTooLong {
        /// The receiver's limit.
        limit: usize,
    },
    /// The control line is not well-formed UTF-8.
    Utf8,
    /// A carriage return stands before the end of the control line.
    CarriageReturn,
    /// Too few arguments, or too many.
    Arguments {
        /// The operation.
        verb: Verb,
    },
    /// A length or count is not 1 to 9 decimal digits.
    Number {
        /// The operation.
        verb: Verb,
    },
    /// The headers are announced as longer than the whole message.
    HeadersBeyondMessage {
        /// Their length.
        headers_bytes: usize,
        /// Length of headers and payload.
        message_bytes: usize,
    },
    /// The headers are announced as longer than the receiver takes.
    HeadersTooLarge {
        /// Their length.
        bytes: usize,
        /// The receiver's limit.
        limit: usize,
    },
    /// The message is announced as longer than the receiver takes.
    MessageTooLarge {
        /// Length of headers and payload.
        bytes: usize,
        /// The receiver's limit.
        limit: usize,
    },
    /// The message is not followed by CR LF: its length is not what was announced.
    MessageEnd,
    /// The argument of CONNECT or INFO is not one JSON object.
    Json {
        /// The operation.
        verb: Verb,
    },
    /// A field of CONNECT or INFO has a value of another type, or out of its range.
    Field {
        /// The operation.
        verb: Verb,
        /// The field's name.
        name: &'static str,
    },
}

impl DecodeError {
    /// Gives what a server says before it closes the connection.
    #[must_use]
    pub const fn answer(self) -> ServerError<'static> {
        match self {
            Self::Verb | Self::MessageEnd => ServerError::UnknownProtocolOperation,
            Self::ControlLineTooLong { .. } => ServerError::MaximumControlLineExceeded,
            Self::MessageTooLarge { .. } | Self::HeadersTooLarge { .. } => {
                ServerError::MaximumPayloadViolation
            }
            _ => ServerError::ParserError,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Verb => f.write_str("operation is none that this side may send"),
            Self::ControlLineTooLong { limit } => {
                write!(f, "control line exceeds the limit of {limit} bytes")
            }
            Self::Utf8 => f.write_str("control line is not well-formed UTF-8"),
            Self::CarriageReturn => {
                f.write_str("control line has a carriage return before its end")
            }
            Self::Arguments { verb } => write!(f, "{verb} has too few or too many arguments"),
            Self::Number { verb } => {
                write!(f, "{verb} has a number that is not 1 to 9 decimal digits")
            }
            Self::HeadersBeyondMessage {
                headers_bytes,
                message_bytes,
            } => write!(
                f,
                "headers of {headers_bytes} bytes exceed their message of {message_bytes}"
            ),
            Self::HeadersTooLarge { bytes, limit } => {
                write!(f, "headers of {bytes} bytes exceed the limit of {limit}")
            }
            Self::MessageTooLarge { bytes, limit } => {
                write!(f, "message of {bytes} bytes exceeds the limit of {limit}")
            }
            Self::MessageEnd => f.write_str("message is not followed by CR LF"),
            Self::Json { verb } => write!(f, "argument of {verb} is not one JSON object"),
            Self::Field { verb, name } => {
                write!(f, "field {name} of {verb} has another type or range")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a value can't be encoded: it would not be an operation. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidOperation {
    /// A subject, subscription id or queue group is empty or holds white space.
    Argument,
    /// The text of an error holds CR or LF.
    ErrorText,
    /// The message is longer than 9 digits can say.
    MessageTooLong {
        /// Length of headers and payload.
        bytes: usize,
    },
    /// A status code is not of three digits.
    StatusCode {
        /// The code.
        code: u16,
    },
    /// A header's name is empty, or not of printable ASCII without space and colon.
    HeaderName,
    /// A header's value or a status description holds CR or LF, or begins or ends with white space.
    HeaderValue,
}

impl fmt::Display for InvalidOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Argument => f.write_str("argument is empty or holds white space"),
            Self::ErrorText => f.write_str("text of an error holds CR or LF"),
            Self::MessageTooLong { bytes } => {
                write!(f, "message of {bytes} bytes exceeds the limit of 999999999")
            }
            Self::StatusCode { code } => write!(f, "status code {code} is not of three digits"),
            Self::HeaderName => {
                f.write_str("header name is empty, or not printable ASCII without space and colon")
            }
            Self::HeaderValue => {
                f.write_str("header value holds CR or LF, or is surrounded by white space")
            }
        }
    }
}

impl core::error::Error for InvalidOperation {}

/// Why encoding ended without an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError<E> {
    /// The value is not a valid operation; the sink got nothing.
    Invalid(InvalidOperation),
    /// The sink failed; it may hold the beginning of the operation.
    Sink(E),
}

impl<E> From<InvalidOperation> for EncodeError<E> {
    fn from(invalid: InvalidOperation) -> Self {
        Self::Invalid(invalid)
    }
}

impl<E: fmt::Display> fmt::Display for EncodeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Sink(error) => write!(f, "sink failed: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for EncodeError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Invalid(invalid) => Some(invalid),
            Self::Sink(error) => Some(error),
        }
    }
}
