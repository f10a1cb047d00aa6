//! The NATS client protocol, both directions.
//!
//! [`ClientOperation::decode`] takes the first operation off what a client sends,
//! [`ServerOperation::decode`] off what a server does; each has an `encode`. An operation is a
//! control line, and a message of announced length behind some. What a control line announces is
//! held to [`Limits`] before it has arrived. Whether subjects are valid is not decided here, since a
//! bad one ends no connection; rules that need memory (CONNECT comes first, a subscription exists)
//! are not checked either.
//!
//! ```
//! use wire::nats::{ClientOperation, Limits, Message, ServerOperation};
//!
//! let received = b"SUB plant.> 7\r\nPING\r\nPUB plant.temp 4\r\n21.5\r\n";
//! let (mut at, mut answer, mut sid) = (0, Vec::new(), "");
//! while let Some((operation, length)) =
//!     ClientOperation::decode(&received[at..], &Limits::FROM_CLIENT)?
//! {
//!     at += length;
//!     let reply = match operation {
//!         ClientOperation::Subscribe(subscribe) => {
//!             sid = subscribe.sid;
//!             continue;
//!         }
//!         ClientOperation::Publish(publish) => ServerOperation::Message(Message {
//!             subject: publish.subject,
//!             sid,
//!             reply_to: publish.reply_to,
//!             headers: publish.headers,
//!             payload: publish.payload,
//!         }),
//!         ClientOperation::Ping => ServerOperation::Pong,
//!         other => return Err(format!("{} is not expected", other.verb()).into()),
//!     };
//!     reply.encode(&mut answer)?;
//! }
//! assert_eq!(answer, b"PONG\r\nMSG plant.temp 7 4\r\n21.5\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connect;
mod error;
mod header;
mod info;
mod json;
mod line;
mod message;
mod server_error;
mod subscription;
mod writer;

use alloc::boxed::Box;

use embedded_io::Write;

use self::json::object;
use self::line::Line;
use self::message::Head;
use self::writer::Writer;

pub use self::connect::Connect;
pub use self::error::{DecodeError, EncodeError, InvalidOperation};
pub use self::header::{HeaderError, HeaderWriter, Headers, NO_RESPONDERS, Status};
pub use self::info::Info;
pub use self::line::{Sender, Verb};
pub use self::message::{Message, MessageLine, Publish};
pub use self::server_error::ServerError;
pub use self::subscription::{Subscribe, Unsubscribe};

/// What a receiver takes of one operation. What is announced beyond it ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The arguments of a control line with what separates them, CONNECT and INFO included.
    pub control_line_bytes: usize,
    /// The header block of a message.
    pub headers_bytes: usize,
    /// Headers and payload of a message: what INFO calls `max_payload`.
    pub message_bytes: usize,
}

impl Limits {
    /// What the NATS server takes as it is configured by itself, which knows no limit for headers.
    pub const FROM_CLIENT: Self = Self {
        control_line_bytes: 4096,
        headers_bytes: 65_536,
        message_bytes: 1_048_576,
    };

    /// Enough for what such a server sends: its INFO may list the addresses of a large cluster.
    pub const FROM_SERVER: Self = Self {
        control_line_bytes: 65_536,
        ..Self::FROM_CLIENT
    };
}

/// What a client sends; messages borrow from the bytes they were decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOperation<'a> {
    /// Introduces itself.
    Connect(Box<Connect>),
    /// Publishes, with headers or without.
    Publish(Publish<'a>),
    /// Subscribes.
    Subscribe(Subscribe<'a>),
    /// Unsubscribes.
    Unsubscribe(Unsubscribe<'a>),
    /// Asks for a sign of life.
    Ping,
    /// Gives it.
    Pong,
}

/// What a server sends; messages borrow from the bytes they were decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOperation<'a> {
    /// Introduces itself.
    Info(Box<Info>),
    /// Delivers, with headers or without.
    Message(Message<'a>),
    /// Asks for a sign of life.
    Ping,
    /// Gives it.
    Pong,
    /// Has taken an operation of a verbose client.
    Ok,
    /// Refuses something.
    Err(ServerError<'a>),
}

impl<'a> ClientOperation<'a> {
    /// Decodes the first operation of `bytes`; gives it and its length, or `None` where more bytes
    /// are needed ([`operation_bytes`] says how many).
    ///
    /// # Errors
    ///
    /// If the bytes are not, and whatever follows will not become, an operation of a client within
    /// the limits.
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some(frame) = Frame::decode(bytes, Sender::Client, limits)? else {
            return Ok(None);
        };
        let line = &frame.line;
        let operation = match (line.verb, &frame.head) {
            (_, Some(head)) => match head.body(&bytes[line.bytes..])? {
                Some(body) => Self::Publish(Publish::new(head, body)),
                None => return Ok(None),
            },
            (Verb::Connect, _) => Self::Connect(Box::new(Connect::decode(line)?)),
            (Verb::Sub, _) => Self::Subscribe(Subscribe::decode(line)?),
            (Verb::Unsub, _) => Self::Unsubscribe(Unsubscribe::decode(line)?),
            (Verb::Ping, _) => Self::Ping,
            (Verb::Pong, _) => Self::Pong,
            _ => return Err(DecodeError::Verb),
        };
        Ok(Some((operation, frame.bytes)))
    }

    /// Says which kind it is.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Connect(_) => Verb::Connect,
            Self::Publish(publish) if publish.headers.is_empty() => Verb::Pub,
            Self::Publish(_) => Verb::Hpub,
            Self::Subscribe(_) => Verb::Sub,
            Self::Unsubscribe(_) => Verb::Unsub,
            Self::Ping => Verb::Ping,
            Self::Pong => Verb::Pong,
        }
    }

    /// Writes the operation and gives its length.
    ///
    /// # Errors
    ///
    /// If the value would not be a valid operation, with nothing written; if the sink fails.
    pub fn encode<W: Write>(&self, sink: &mut W) -> Result<usize, EncodeError<W::Error>> {
        match self {
            Self::Connect(connect) => write_line(Verb::Connect, &object(connect), sink),
            Self::Publish(publish) => publish.encode(sink),
            Self::Subscribe(subscribe) => subscribe.encode(sink),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(sink),
            Self::Ping | Self::Pong => write_line(self.verb(), &[], sink),
        }
    }
}

impl<'a> ServerOperation<'a> {
    /// Decodes the first operation of `bytes`; gives it and its length, or `None` where more bytes
    /// are needed ([`operation_bytes`] says how many).
    ///
    /// # Errors
    ///
    /// If the bytes are not, and whatever follows will not become, an operation of a server within
    /// the limits.
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some(frame) = Frame::decode(bytes, Sender::Server, limits)? else {
            return Ok(None);
        };
        let line = &frame.line;
        let operation = match (line.verb, &frame.head) {
            (_, Some(head)) => match head.body(&bytes[line.bytes..])? {
                Some(body) => Self::Message(Message::new(head, body)),
                None => return Ok(None),
            },
            (Verb::Info, _) => Self::Info(Box::new(Info::decode(line)?)),
            (Verb::Err, _) => Self::Err(ServerError::from_text(unquoted(line.argument()))),
            (Verb::Ping, _) => Self::Ping,
            (Verb::Pong, _) => Self::Pong,
            (Verb::Ok, _) => Self::Ok,
            _ => return Err(DecodeError::Verb),
        };
        Ok(Some((operation, frame.bytes)))
    }

    /// Says which kind it is.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Info(_) => Verb::Info,
            Self::Message(message) if message.headers.is_empty() => Verb::Msg,
            Self::Message(_) => Verb::Hmsg,
            Self::Ping => Verb::Ping,
            Self::Pong => Verb::Pong,
            Self::Ok => Verb::Ok,
            Self::Err(_) => Verb::Err,
        }
    }

    /// Writes the operation and gives its length.
    ///
    /// # Errors
    ///
    /// If the value would not be a valid operation, with nothing written; if the sink fails.
    pub fn encode<W: Write>(&self, sink: &mut W) -> Result<usize, EncodeError<W::Error>> {
        match self {
            Self::Info(info) => write_line(Verb::Info, &object(info), sink),
            Self::Message(message) => message.encode(sink),
            Self::Err(error) if error.breaks_line() => Err(InvalidOperation::ErrorText.into()),
            Self::Err(error) => {
                let quoted = alloc::format!("'{error}'");
                write_line(Verb::Err, quoted.as_bytes(), sink)
            }
            Self::Ping | Self::Pong | Self::Ok => write_line(self.verb(), &[], sink),
        }
    }
}

/// Tells how many bytes the first operation of `bytes` has, as soon as its control line is there;
/// `None` where more bytes are needed. Until that many are there nothing need be decoded.
///
/// # Errors
///
/// If the control line is none of `sender`, or announces more than the limits allow.
pub fn operation_bytes(
    bytes: &[u8],
    sender: Sender,
    limits: &Limits,
) -> Result<Option<usize>, DecodeError> {
    Ok(Frame::decode(bytes, sender, limits)?.map(|frame| frame.bytes))
}

/// A whole control line, and what it says of the message behind it.
struct Frame<'a> {
    line: Line<'a>,
    /// There for the operations that have a message.
    head: Option<Head<'a>>,
    /// Of the whole operation.
    bytes: usize,
}

impl<'a> Frame<'a> {
    fn decode(
        bytes: &'a [u8],
        sender: Sender,
        limits: &Limits,
    ) -> Result<Option<Self>, DecodeError> {
        let Some(line) = Line::decode(bytes, sender, limits.control_line_bytes)? else {
            return Ok(None);
        };
        let is_bare = matches!(line.verb, Verb::Ping | Verb::Pong | Verb::Ok);
        if is_bare && !line.argument().is_empty() {
            return Err(line.wrong_arguments());
        }
        let head = Head::decode(&line, limits)?;
        let following_bytes = head.as_ref().map_or(0, Head::following_bytes);
        Ok(Some(Self {
            bytes: line.bytes + following_bytes,
            line,
            head,
        }))
    }
}

/// Writes an operation without a message.
fn write_line<W: Write>(
    verb: Verb,
    arguments: &[u8],
    sink: &mut W,
) -> Result<usize, EncodeError<W::Error>> {
    let mut writer = Writer::new(sink);
    writer.verb(verb)?;
    if !arguments.is_empty() {
        writer.bytes(b" ")?;
        writer.bytes(arguments)?;
    }
    writer.end()?;
    Ok(writer.written())
}

/// Takes the quotation marks off the text of an error, where it has them.
fn unquoted(text: &str) -> &str {
    let inner = text
        .strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''));
    inner.unwrap_or(text)
}
