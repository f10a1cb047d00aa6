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
    /// Between the verb and the end of the line.
    rest: &'a str,
    /// Of the whole line, its end included.
    pub(super) bytes: usize,
}

impl<'a> Line<'a> {
    /// Decodes the control line at the front; `None` where more bytes are needed. The limit is that
    /// of the arguments, what separates them included.
    #[inline]
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
        if line.contains(&b'\r') {
            return Err(DecodeError::CarriageReturn);
        }
        Ok(Some(Self {
            verb,
            rest: core::str::from_utf8(line).map_err(|_| DecodeError::Utf8)?,
            bytes: word.len() + end + 1,
        }))
    }

    /// Gives all arguments as one, without white space around it.
    pub(super) fn argument(&self) -> &'a str {
        self.rest.trim_matches([' ', '\t'])
    }

    /// Takes the arguments apart, byte by byte: splitting by characters takes several times as long.
    #[inline]
    pub(super) fn arguments(&self) -> Arguments<'a> {
        let bytes = self.rest.as_bytes();
        let (mut tokens, mut count, mut at) = ([""; MAXIMUM_ARGUMENTS + 1], 0, 0);
        for place in &mut tokens {
            while at < bytes.len() && is_blank(bytes[at]) {
                at += 1;
            }
            let begin = at;
            while at < bytes.len() && !is_blank(bytes[at]) {
                at += 1;
            }
            if begin == at {
                break;
            }
            *place = &self.rest[begin..at];
            count += 1;
        }
        Arguments { tokens, count }
    }

    /// Reads a length or count. The NATS server takes as many digits, and zeros in front.
    #[inline]
    pub(super) fn number(&self, token: &str) -> Result<u32, DecodeError> {
        let mut number = 0;
        for digit in token.bytes() {
            if !digit.is_ascii_digit() || token.len() > MAXIMUM_DIGITS {
                return Err(DecodeError::Number { verb: self.verb });
            }
            number = number * 10 + u32::from(digit - b'0');
        }
        Ok(number)
    }

    pub(super) const fn wrong_arguments(&self) -> DecodeError {
        DecodeError::Arguments { verb: self.verb }
    }
}

/// Arguments between white space, none of them empty; one more than any operation has is enough to
/// refuse them.
pub(super) struct Arguments<'a> {
    tokens: [&'a str; MAXIMUM_ARGUMENTS + 1],
    count: usize,
}

impl<'a> Arguments<'a> {
    #[inline]
    pub(super) fn as_slice(&self) -> &[&'a str] {
        &self.tokens[..self.count]
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Those of HMSG: subject, subscription id, reply subject, two lengths.
const MAXIMUM_ARGUMENTS: usize = 5;
/// The longest number.
const MAXIMUM_DIGITS: usize = 9;
