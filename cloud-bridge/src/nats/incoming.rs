//! What has arrived and is not yet understood. Bounded, whatever the server sends: a message over
//! the limit is passed over as it arrives, and only its subject is told, or what is left of it without
//! what makes it too large.

mod trimmer;

use self::trimmer::Trimmer;
pub(super) use self::trimmer::{Cut, Lost};
use wire::nats::{DecodeError, Limits, Sender, ServerOperation, operation_bytes};

/// Bytes of one connection, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: usize,
    bytes: Vec<u8>,
    /// How many of `bytes` were understood.
    at: usize,
    /// How many bytes of a message that is too large are still to come.
    excess: usize,
    /// What is done about such a message.
    cut: Cut,
    /// The one that is being trimmed.
    trimming: Option<Trimming>,
}

/// A message that is too large, as it arrives.
#[derive(Debug)]
struct Trimming {
    subject: String,
    trimmer: Trimmer,
    /// How many bytes of its payload are still to come.
    payload_bytes: usize,
}

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// An operation.
    Operation(ServerOperation<'a>),
    /// A message that is too large, to this subject.
    TooLarge {
        /// Where it went.
        subject: String,
    },
    /// What is left of a message that is too large.
    Trimmed {
        /// Where it went.
        subject: String,
        /// Without the values that were left out.
        payload: Vec<u8>,
        /// Of which messages.
        lost: Vec<Lost>,
    },
}

/// What is taken of a message that is not read.
const ANY: Limits = Limits {
    headers_bytes: usize::MAX,
    message_bytes: usize::MAX,
    ..Limits::FROM_SERVER
};

impl Incoming {
    /// Takes operations up to so many bytes, at least those of the largest control line.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(2 * Limits::FROM_SERVER.control_line_bytes),
            bytes: Vec::new(),
            at: 0,
            excess: 0,
            cut: Cut::None,
            trimming: None,
        }
    }

    /// Says what is left out of messages that are too large from now on.
    pub(super) fn cut(&mut self, cut: Cut) {
        self.cut = cut;
    }

    /// Bytes arrived. [`Incoming::next`] gives what they are.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skipped = self.excess.min(bytes.len());
        self.excess -= skipped;
        if let Some(trimming) = &mut self.trimming {
            trimming.push(&bytes[..skipped]);
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(&bytes[skipped..]);
    }

    /// Whether nothing is there that was not understood.
    pub(super) const fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Gives the next thing that has arrived as a whole.
    ///
    /// # Errors
    /// When the server does not speak NATS; nothing after it is understood.
    pub(super) fn next(&mut self) -> Result<Option<Heard<'_>>, DecodeError> {
        if self.excess == 0
            && let Some(trimming) = self.trimming.take()
        {
            return Ok(Some(trimming.finish()));
        }
        if self.at == self.bytes.len() && self.bytes.capacity() > KEPT_BYTES {
            // A large answer is here once, or as what was made of it, and not for long as both.
            (self.bytes, self.at) = (Vec::new(), 0);
        }
        let rest = &self.bytes[self.at..];
        let Some(length) = operation_bytes(rest, Sender::Server, &ANY)? else {
            return Ok(None);
        };
        if length > self.limit {
            let subject = subject_of(rest);
            let there = rest.len().min(length);
            self.trimming = Trimming::begin(&self.cut, self.limit, (&rest[..there], length));
            self.at += there;
            self.excess = length - there;
            return match (self.excess, self.trimming.take()) {
                (0, Some(trimming)) => Ok(Some(trimming.finish())),
                (_, None) => Ok(Some(Heard::TooLarge { subject })),
                (_, trimming) => {
                    self.trimming = trimming;
                    Ok(None)
                }
            };
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.at += length;
        let rest = &self.bytes[self.at - length..];
        let decoded = ServerOperation::decode(rest, &ANY)?;
        Ok(decoded.map(|(operation, _)| Heard::Operation(operation)))
    }
}

impl Trimming {
    /// Begins with what is there of a message; `None` when nothing is to be left out, and for one with
    /// headers, which no answer has.
    fn begin(cut: &Cut, limit: usize, (there, length): (&[u8], usize)) -> Option<Self> {
        let line = there.windows(2).position(|pair| pair == b"\r\n")? + 2;
        if *cut == Cut::None || !there[..line].to_ascii_uppercase().starts_with(b"MSG") {
            return None;
        }
        let mut trimming = Self {
            subject: subject_of(there),
            trimmer: Trimmer::new(cut.clone(), limit),
            payload_bytes: length - line - 2,
        };
        trimming.push(&there[line..]);
        Some(trimming)
    }

    fn push(&mut self, bytes: &[u8]) {
        let own = self.payload_bytes.min(bytes.len());
        self.payload_bytes -= own;
        self.trimmer.push(&bytes[..own]);
    }

    fn finish(self) -> Heard<'static> {
        let subject = self.subject;
        match self.trimmer.finish() {
            None => Heard::TooLarge { subject },
            Some((payload, lost)) => Heard::Trimmed {
                subject,
                payload,
                lost,
            },
        }
    }
}

/// The first argument of a control line.
fn subject_of(line: &[u8]) -> String {
    let mut words = line.split(|byte| byte.is_ascii_whitespace());
    let subject = words.by_ref().skip(1).find(|word| !word.is_empty());
    String::from_utf8_lossy(subject.unwrap_or_default()).into_owned()
}

/// An empty buffer of up to this size is kept.
const KEPT_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, length: usize) -> Vec<u8> {
        let head = format!("MSG {subject} 0 {length}\r\n");
        [head.as_bytes(), &vec![b'x'; length], b"\r\n"].concat()
    }

    fn heard(incoming: &mut Incoming) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(heard) = incoming.next().unwrap() {
            all.push(match heard {
                Heard::Operation(ServerOperation::Message(message)) => {
                    format!("{} {}", message.subject, message.payload.len())
                }
                Heard::Operation(other) => other.verb().to_string(),
                Heard::TooLarge { subject } => format!("{subject} too large"),
                Heard::Trimmed {
                    subject,
                    payload,
                    lost,
                } => {
                    let payload = String::from_utf8(payload).unwrap();
                    let ids: Vec<u64> = lost.iter().map(|it| it.id).collect();
                    format!("{subject} {payload} {ids:?}")
                }
            });
        }
        all
    }

    #[test]
    fn a_message_over_the_limit_is_passed_over_wherever_it_is_cut() {
        let limit = 2 * Limits::FROM_SERVER.control_line_bytes;
        let all = [
            b"PING\r\n".to_vec(),
            message("a", limit),
            message("b", 3),
            message("c", limit - 100),
        ]
        .concat();
        let expected = ["PING", "a too large", "b 3", &format!("c {}", limit - 100)];
        for step in [1, 7, 4096, all.len()] {
            let mut incoming = Incoming::new(1);
            let mut said = Vec::new();
            for bytes in all.chunks(step) {
                incoming.push(bytes);
                said.extend(heard(&mut incoming));
                assert!(incoming.bytes.len() <= limit + step);
            }
            assert_eq!(said, expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_trimmed_wherever_it_is_cut() {
        let limit = 2 * Limits::FROM_SERVER.control_line_bytes;
        let payload = format!("{{\"msg_id\":3,\"payload\":\"{}\"}}", "x".repeat(limit));
        let all = [
            format!("MSG a 1 {}\r\n{payload}\r\n", payload.len()).into_bytes(),
            message("b", 3),
            message("c", 2 * limit),
            message("d", 3),
        ]
        .concat();
        for step in [1, 7, 4096, all.len()] {
            let mut incoming = Incoming::new(1);
            incoming.cut(Cut::All);
            let mut said = Vec::new();
            for bytes in all.chunks(step) {
                incoming.push(bytes);
                said.extend(heard(&mut incoming));
            }
            let trimmed = "a {\"msg_id\":3,\"payload\":\"\"} [3]";
            assert_eq!(
                said,
                [trimmed, "b 3", "c too large", "d 3"],
                "in steps of {step}"
            );
        }
    }

    #[test]
    fn what_is_not_nats_is_an_error() {
        let mut incoming = Incoming::new(1);
        incoming.push(b"HTTP/1.1 400 Bad Request\r\n");
        assert!(incoming.next().is_err());
    }
}
