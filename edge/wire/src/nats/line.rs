//! The control line: which operation it is, and its arguments.
//!
//! A control line that can no longer become one is refused at its first wrong byte or beyond its
//! limit, so that nothing is buffered for a peer that speaks something else.
//!
//! What is taken, the NATS server takes too: any case, any spaces and tabs between and behind the
//! arguments, LF alone at the end. Not all that it takes: nothing may follow PING, no CR stands
//! inside a line, a count in UNSUB is a number, a client sends no INFO, +OK or -ERR.

use core::fmt;

use super::DecodeError;

/// Who sends an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// It is read by a server.
    Client,
    /// It is read by a client.
    Server,
}

/// What kind of operation it is, by the word it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// A server introduces itself, or tells that something has changed.
    Info,
    /// A client introduces itself.
    Connect,
    /// A client publishes.
    Pub,
    /// A client publishes with headers.
    Hpub,
    /// A client subscribes.
    Sub,
    /// A client unsubscribes.
    Unsub,
    /// A server delivers.
    Msg,
    /// A server delivers with headers.
    Hmsg,
    /// Either side asks for a sign of life.
    Ping,
    /// The other gives it.
    Pong,
    /// A server has taken what a verbose client sent.
    Ok,
    /// A server refuses something.
    Err,
}

impl Verb {
    /// Gives the word, in the case in which it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Connect => "CONNECT",
            Self::Pub => "PUB",
            Self::Hpub => "HPUB",
            Self::Sub => "SUB",
            Self::Unsub => "UNSUB",
            Self::Msg => "MSG",
            Self::Hmsg => "HMSG",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Ok => "+OK",
            Self::Err => "-ERR",
        }
    }

    /// Finds the verb of a sender that `bytes` begin with, in any case; `None` where more bytes are
    /// needed.
    fn find(bytes: &[u8], sender: Sender) -> Result<Option<Self>, DecodeError> {
        for &verb in sender.verbs() {
            let word = verb.as_str().as_bytes();
            let there = bytes.len().min(word.len());
            if !bytes[..there].eq_ignore_ascii_case(&word[..there]) {
                continue;
            }
            return match bytes.get(word.len()) {
                None => Ok(None),
                Some(b' ' | b'\t' | b'\r' | b'\n') => Ok(Some(verb)),
                Some(_) => Err(DecodeError::Verb),
            };
        }
        Err(DecodeError::Verb)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Sender {
    /// Lists what it may send, the frequent first. None is the beginning of another.
    const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Client => &[
                Verb::Pub,
                Verb::Hpub,
                Verb::Sub,
                Verb::Unsub,
                Verb::Ping,
                Verb::Pong,
                Verb::Connect,
            ],
            Self::Server => &[
                Verb::Msg,
                Verb::Hmsg,
                Verb::Ok,
                Verb::Ping,
                Verb::Pong,
                Verb::Info,
                Verb::Err,
            ],
        }
    }
}

/// A whole control line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) verb: Verb,
    /// Without white space around them.
    pub(super) arguments: &'a str,
    /// Of the whole line, its end included.
    pub(super) bytes: usize,
}

impl<'a> Line<'a> {
    /// Decodes the control line at the front; `None` where more bytes are needed. The limit is that
    /// of the arguments, what separates them included.
    pub(super) fn decode(
        bytes: &'a [u8],
        sender: Sender,
        limit: usize,
    ) -> Result<Option<Self>, DecodeError> {
        let Some(verb) = Verb::find(bytes, sender)? else {
            return Ok(None);
        };
        let too_long = DecodeError::ControlLineTooLong { limit };
        let (word, rest) = bytes.split_at(verb.as_str().len());
        // A separator, the arguments, CR LF.
        let longest = limit.saturating_add(3).min(rest.len());
        let Some(end) = rest[..longest].iter().position(|&byte| byte == b'\n') else {
            return match rest.len() > limit.saturating_add(2) {
                true => Err(too_long),
                false => Ok(None),
            };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if line.len() > limit.saturating_add(1) {
            return Err(too_long);
        }
        let arguments = core::str::from_utf8(line).map_err(|_| DecodeError::Utf8)?;
        if arguments.contains('\r') {
            return Err(DecodeError::CarriageReturn);
        }
        Ok(Some(Self {
            verb,
            arguments: arguments.trim_matches([' ', '\t']),
            bytes: word.len() + end + 1,
        }))
    }

    pub(super) fn split(&self) -> Arguments<'a> {
        let mut tokens = [""; MAXIMUM_ARGUMENTS + 1];
        let found = self.arguments.split([' ', '\t']);
        let found = found.filter(|token| !token.is_empty());
        let count = tokens
            .iter_mut()
            .zip(found)
            .map(|(place, token)| *place = token)
            .count();
        Arguments { tokens, count }
    }

    /// Reads a length or count. The NATS server takes as many digits, and zeros in front.
    pub(super) fn number(&self, token: &str) -> Result<u32, DecodeError> {
        let is_number = token.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || !(1..=MAXIMUM_DIGITS).contains(&token.len()) {
            return Err(DecodeError::Number { verb: self.verb });
        }
        Ok(token
            .bytes()
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    pub(super) const fn wrong_arguments(&self) -> DecodeError {
        DecodeError::Arguments { verb: self.verb }
    }
}

/// Arguments between white space; one more than any operation has is enough to refuse them.
pub(super) struct Arguments<'a> {
    tokens: [&'a str; MAXIMUM_ARGUMENTS + 1],
    count: usize,
}

impl<'a> Arguments<'a> {
    pub(super) fn as_slice(&self) -> &[&'a str] {
        &self.tokens[..self.count]
    }
}

/// Those of HMSG: subject, subscription id, reply subject, two lengths.
const MAXIMUM_ARGUMENTS: usize = 5;
/// The longest number.
const MAXIMUM_DIGITS: usize = 9;
