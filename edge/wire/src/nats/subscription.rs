//! SUB and UNSUB: a client begins to listen, and ends it.

use core::num::NonZeroU32;

use embedded_io::Write;

use super::line::Line;
use super::writer::{Writer, check_argument};
use super::{DecodeError, EncodeError, Verb};

/// A client subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What to, as it was sent: [`SubjectFilter::new`](crate::subject::SubjectFilter::new) says
    /// whether it is one. A wrong one is answered, and does not end the connection.
    pub subject: &'a str,
    /// The group of which one member gets each message.
    pub queue_group: Option<&'a str>,
    /// The subscription id: any word, chosen by the client, unique in its connection.
    pub sid: &'a str,
}

/// A client unsubscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The subscription id.
    pub sid: &'a str,
    /// After how many messages, counted from the SUB on; at once if that many were delivered, and
    /// with `None`.
    pub max_messages: Option<NonZeroU32>,
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(line: &Line<'a>) -> Result<Self, DecodeError> {
        let (subject, queue_group, sid) = match *line.arguments().as_slice() {
            [subject, sid] => (subject, None, sid),
            [subject, queue_group, sid] => (subject, Some(queue_group), sid),
            _ => return Err(line.wrong_arguments()),
        };
        Ok(Self {
            subject,
            queue_group,
            sid,
        })
    }

    pub(super) fn encode<W: Write>(&self, sink: &mut W) -> Result<usize, EncodeError<W::Error>> {
        let arguments = [Some(self.subject), self.queue_group, Some(self.sid)];
        for argument in arguments.into_iter().flatten() {
            check_argument(argument)?;
        }
        let mut writer = Writer::new(sink);
        writer.verb(Verb::Sub)?;
        for argument in arguments.into_iter().flatten() {
            writer.argument(argument)?;
        }
        writer.end()?;
        Ok(writer.written())
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(line: &Line<'a>) -> Result<Self, DecodeError> {
        match *line.arguments().as_slice() {
            [sid] => Ok(Self {
                sid,
                max_messages: None,
            }),
            // A maximum of 0 is none, as for the NATS server.
            [sid, maximum] => Ok(Self {
                sid,
                max_messages: NonZeroU32::new(line.number(maximum)?),
            }),
            _ => Err(line.wrong_arguments()),
        }
    }

    pub(super) fn encode<W: Write>(&self, sink: &mut W) -> Result<usize, EncodeError<W::Error>> {
        check_argument(self.sid)?;
        let mut writer = Writer::new(sink);
        writer.verb(Verb::Unsub)?;
        writer.argument(self.sid)?;
        if let Some(maximum) = self.max_messages {
            writer.number(maximum.get().min(MAXIMUM_MESSAGES))?;
        }
        writer.end()?;
        Ok(writer.written())
    }
}

/// What 9 digits can say; more messages than that are the same as so many.
const MAXIMUM_MESSAGES: u32 = 999_999_999;
