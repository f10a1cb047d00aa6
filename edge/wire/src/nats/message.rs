//! PUB and HPUB, MSG and HMSG: a message on its way in, and on its way out.
//!
//! A message that goes to many is the same headers and payload behind different control lines:
//! [`MessageLine`] writes one of those alone.

use embedded_io::Write;

use super::line::Line;
use super::writer::{Writer, check_argument};
use super::{DecodeError, EncodeError, InvalidOperation, Limits, Verb};

/// The longest message: what 9 digits can say.
const MAXIMUM_MESSAGE_BYTES: u32 = 999_999_999;
/// CR LF behind a message.
const END_BYTES: usize = 2;

/// A client publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where, as it was sent: [`Subject::new`](crate::subject::Subject::new) says whether it is
    /// one. A wrong one is answered, and does not end the connection.
    pub subject: &'a str,
    /// Where answers are expected; not checked either.
    pub reply_to: Option<&'a str>,
    /// The header block as it was sent, or empty: [`Headers::parse`](super::Headers::parse) takes it
    /// apart. A server passes it on whatever it holds.
    pub headers: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
}

/// A server delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it was published.
    pub subject: &'a str,
    /// The subscription it is delivered for.
    pub sid: &'a str,
    /// Where answers are expected.
    pub reply_to: Option<&'a str>,
    /// The header block, or empty.
    pub headers: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
}

/// The control line of a delivery, whose headers, payload and CR LF the caller writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLine<'a> {
    /// Where the message was published.
    pub subject: &'a str,
    /// The subscription it is delivered for.
    pub sid: &'a str,
    /// Where answers are expected.
    pub reply_to: Option<&'a str>,
    /// Length of the header block; 0 if there is none.
    pub headers_bytes: usize,
    /// Length of the payload.
    pub payload_bytes: usize,
}

impl<'a> MessageLine<'a> {
    /// Writes the control line and gives its length.
    ///
    /// # Errors
    ///
    /// If an argument is none or the message too long, with nothing written; if the sink fails.
    pub fn encode<W: Write>(&self, sink: &mut W) -> Result<usize, EncodeError<W::Error>> {
        let head = self.head();
        let message_bytes = head.check()?;
        let mut writer = Writer::new(sink);
        head.write(message_bytes, &mut writer)?;
        Ok(writer.written())
    }

    const fn head(&self) -> Head<'a> {
        Head {
            subject: self.subject,
            sid: Some(self.sid),
            reply_to: self.reply_to,
            headers_bytes: self.headers_bytes,
            message_bytes: self.headers_bytes.saturating_add(self.payload_bytes),
        }
    }
}

impl<'a> Publish<'a> {
    pub(super) fn new(head: &Head<'a>, Body { headers, payload }: Body<'a>) -> Self {
        Self {
            subject: head.subject,
            reply_to: head.reply_to,
            headers,
            payload,
        }
    }

    pub(super) fn encode<W: Write>(&self, sink: &mut W) -> Result<usize, EncodeError<W::Error>> {
        let head = Head {
            subject: self.subject,
            sid: None,
            reply_to: self.reply_to,
            headers_bytes: self.headers.len(),
            message_bytes: self.headers.len().saturating_add(self.payload.len()),
        };
        head.encode(self.headers, self.payload, sink)
    }
}

impl<'a> Message<'a> {
    pub(super) fn new(head: &Head<'a>, Body { headers, payload }: Body<'a>) -> Self {
        Self {
            subject: head.subject,
            sid: head.sid.unwrap_or_default(),
            reply_to: head.reply_to,
            headers,
            payload,
        }
    }

    /// Gives its control line.
    #[must_use]
    pub const fn line(&self) -> MessageLine<'a> {
        MessageLine {
            subject: self.subject,
            sid: self.sid,
            reply_to: self.reply_to,
            headers_bytes: self.headers.len(),
            payload_bytes: self.payload.len(),
        }
    }

    pub(super) fn encode<W: Write>(&self, sink: &mut W) -> Result<usize, EncodeError<W::Error>> {
        let head = self.line().head();
        head.encode(self.headers, self.payload, sink)
    }
}

/// What the control line says of a message, in either direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    subject: &'a str,
    /// There exactly if a server sends it.
    sid: Option<&'a str>,
    reply_to: Option<&'a str>,
    headers_bytes: usize,
    /// Headers and payload.
    message_bytes: usize,
}

/// What follows the control line.
pub(super) struct Body<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads the arguments of the operations that have a message; the others give `None`.
    pub(super) fn decode(line: &Line<'a>, limits: &Limits) -> Result<Option<Self>, DecodeError> {
        let arguments = line.arguments();
        let (subject, sid, reply_to, headers, message) = match (line.verb, arguments.as_slice()) {
            (Verb::Pub, &[subject, message]) => (subject, None, None, "0", message),
            (Verb::Pub, &[subject, reply, message]) => (subject, None, Some(reply), "0", message),
            (Verb::Hpub, &[subject, headers, message]) => (subject, None, None, headers, message),
            (Verb::Hpub, &[subject, reply, headers, message]) => {
                (subject, None, Some(reply), headers, message)
            }
            (Verb::Msg, &[subject, sid, message]) => (subject, Some(sid), None, "0", message),
            (Verb::Msg, &[subject, sid, reply, message]) => {
                (subject, Some(sid), Some(reply), "0", message)
            }
            (Verb::Hmsg, &[subject, sid, headers, message]) => {
                (subject, Some(sid), None, headers, message)
            }
            (Verb::Hmsg, &[subject, sid, reply, headers, message]) => {
                (subject, Some(sid), Some(reply), headers, message)
            }
            (Verb::Pub | Verb::Hpub | Verb::Msg | Verb::Hmsg, _) => {
                return Err(line.wrong_arguments());
            }
            _ => return Ok(None),
        };
        let head = Self {
            subject,
            sid,
            reply_to,
            headers_bytes: line.number(headers)? as usize,
            message_bytes: line.number(message)? as usize,
        };
        head.check_limits(limits)?;
        Ok(Some(head))
    }

    /// Tells how many bytes follow the control line.
    pub(super) const fn following_bytes(&self) -> usize {
        self.message_bytes + END_BYTES
    }

    /// Takes the message from what follows the control line; `None` where more bytes are needed.
    pub(super) fn body(&self, following: &'a [u8]) -> Result<Option<Body<'a>>, DecodeError> {
        let Some((message, end)) = following.split_at_checked(self.message_bytes) else {
            return Ok(None);
        };
        let (headers, payload) = message.split_at(self.headers_bytes);
        match end {
            [b'\r', b'\n', ..] => Ok(Some(Body { headers, payload })),
            [] | [b'\r'] => Ok(None),
            _ => Err(DecodeError::MessageEnd),
        }
    }

    fn check_limits(&self, limits: &Limits) -> Result<(), DecodeError> {
        let (headers_bytes, message_bytes) = (self.headers_bytes, self.message_bytes);
        if message_bytes > limits.message_bytes {
            return Err(DecodeError::MessageTooLarge {
                bytes: message_bytes,
                limit: limits.message_bytes,
            });
        }
        if headers_bytes > message_bytes {
            return Err(DecodeError::HeadersBeyondMessage {
                headers_bytes,
                message_bytes,
            });
        }
        match headers_bytes > limits.headers_bytes {
            true => Err(DecodeError::HeadersTooLarge {
                bytes: headers_bytes,
                limit: limits.headers_bytes,
            }),
            false => Ok(()),
        }
    }

    fn encode<W: Write>(
        &self,
        headers: &[u8],
        payload: &[u8],
        sink: &mut W,
    ) -> Result<usize, EncodeError<W::Error>> {
        let message_bytes = self.check()?;
        let mut writer = Writer::new(sink);
        self.write(message_bytes, &mut writer)?;
        writer.bytes(headers)?;
        writer.bytes(payload)?;
        writer.end()?;
        Ok(writer.written())
    }

    /// Checks that it can be written, and gives the length of the message.
    fn check(&self) -> Result<u32, InvalidOperation> {
        check_argument(self.subject)?;
        self.sid.map_or(Ok(()), check_argument)?;
        self.reply_to.map_or(Ok(()), check_argument)?;
        match u32::try_from(self.message_bytes) {
            Ok(bytes) if bytes <= MAXIMUM_MESSAGE_BYTES => Ok(bytes),
            _ => Err(InvalidOperation::MessageTooLong {
                bytes: self.message_bytes,
            }),
        }
    }

    fn write<W: Write>(
        &self,
        message_bytes: u32,
        writer: &mut Writer<'_, W>,
    ) -> Result<(), EncodeError<W::Error>> {
        let has_headers = self.headers_bytes > 0;
        writer.verb(match (self.sid, has_headers) {
            (None, false) => Verb::Pub,
            (None, true) => Verb::Hpub,
            (Some(_), false) => Verb::Msg,
            (Some(_), true) => Verb::Hmsg,
        })?;
        writer.argument(self.subject)?;
        for name in [self.sid, self.reply_to].into_iter().flatten() {
            writer.argument(name)?;
        }
        if has_headers {
            // Not more than the whole message.
            writer.number(self.headers_bytes as u32)?;
        }
        writer.number(message_bytes)?;
        writer.end()
    }
}
