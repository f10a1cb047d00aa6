//! A WebSocket on a link: the upgrade first, then frames.
//!
//! ```text
//! opening -> open     the head of a request that can be granted; 101
//! opening -> closed   any other; 400, 403, 426 or 431
//! open    -> closed   a close frame, a violation; a close frame with the code
//! ```
//!
//! It takes bytes and says what is to be sent; it never touches the socket.

use std::rc::Rc;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use wire::websocket::{
    DIGEST_SUFFIX, Decoder, FrameHeader, HEAD_BYTES, Opcode, Refusal, Upgrade, Violation,
};

/// The longest frame that is taken. It is not kept in memory: the limit only ends what nobody means.
const FRAME_BYTES: u64 = 64 << 20;
/// Nothing more comes, and nothing was wrong.
const NORMAL: u16 = 1000;

/// The state of one.
pub(super) struct WebSocket {
    stage: Stage,
}

/// Whose pages may open one; `None` for everybody's.
pub(crate) type Origins = Option<Rc<[String]>>;

enum Stage {
    /// The head of the request, as far as it has come.
    Opening(Vec<u8>, Origins),
    Open(Box<Decoder>),
    Closed,
}

/// What became of bytes that came.
#[derive(Default)]
pub(super) struct Taken {
    /// What they carry, at their front.
    pub(super) payload_bytes: usize,
    /// What is to be sent.
    pub(super) answer: Vec<u8>,
    /// Why the link ends; after the answer.
    pub(super) failure: Option<Failure>,
}

/// What a client did wrong.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Refusal),
    Violated(Violation),
}

impl WebSocket {
    pub(super) const fn new(origins: Origins) -> Self {
        Self {
            stage: Stage::Opening(Vec::new(), origins),
        }
    }

    /// Whether the request was granted.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Whether the client has said that nothing more comes.
    pub(super) fn has_ended(&self) -> bool {
        matches!(&self.stage, Stage::Open(decoder) if decoder.is_closed())
    }

    /// Takes `bytes[..count]` as they came. All of `bytes` may be written to.
    pub(super) fn take(&mut self, bytes: &mut [u8], count: usize) -> Taken {
        match &mut self.stage {
            Stage::Opening(head, origins) => {
                let behind = head.len();
                head.extend_from_slice(&bytes[..count]);
                let (head, origins) = (std::mem::take(head), origins.take());
                self.upgrade(head, origins, behind, bytes)
            }
            Stage::Open(decoder) => match decoder.decode(&mut bytes[..count]) {
                Ok(payload_bytes) => Taken {
                    payload_bytes,
                    answer: pong(decoder),
                    failure: None,
                },
                Err(violation) => {
                    self.stage = Stage::Closed;
                    Taken {
                        answer: close(violation.close_code()),
                        failure: Some(Failure::Violated(violation)),
                        ..Taken::default()
                    }
                }
            },
            Stage::Closed => Taken::default(),
        }
    }

    /// Tells what is to be sent at the end, once.
    pub(super) fn close(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Open(decoder) => close(decoder.close_code().unwrap_or(NORMAL)),
            Stage::Opening(..) | Stage::Closed => Vec::new(),
        }
    }

    /// Looks at the head of the request, of which `behind` bytes had come before. What stands
    /// behind the head in the last bytes is frames already.
    fn upgrade(
        &mut self,
        head: Vec<u8>,
        origins: Origins,
        behind: usize,
        bytes: &mut [u8],
    ) -> Taken {
        let mut taken = Taken::default();
        match read(&head, origins.as_deref()) {
            Ok(None) => {
                debug_assert!(head.len() < HEAD_BYTES, "a longer head is refused");
                self.stage = Stage::Opening(head, origins);
            }
            Ok(Some((upgrade, head_bytes))) => {
                let granted = upgrade.grant(&digest(upgrade.key), &mut taken.answer);
                granted.expect("a vector takes all that is written");
                self.stage = Stage::Open(Box::new(Decoder::new(FRAME_BYTES)));
                let last = head.len() - behind;
                let frames = head_bytes.saturating_sub(behind)..last;
                let count = frames.len();
                bytes.copy_within(frames, 0);
                let rest = self.take(bytes, count);
                taken.answer.extend(rest.answer);
                taken.payload_bytes = rest.payload_bytes;
                taken.failure = rest.failure;
            }
            Err(refusal) => {
                self.stage = Stage::Closed;
                taken.answer.extend_from_slice(refusal.answer());
                taken.failure = Some(Failure::Refused(refusal));
            }
        }
        taken
    }
}

/// Reads the head of a request from a page that may send one.
fn read<'a>(
    head: &'a [u8],
    origins: Option<&[String]>,
) -> Result<Option<(Upgrade<'a>, usize)>, Refusal> {
    let found = Upgrade::parse(head)?;
    if let (Some((upgrade, _)), Some(origins)) = (&found, origins) {
        upgrade.comes_from(origins)?;
    }
    Ok(found)
}

/// Makes a frame of what follows, one whole message.
pub(super) fn header(payload_bytes: usize) -> FrameHeader {
    FrameHeader::new(Opcode::Binary, payload_bytes)
}

fn pong(decoder: &mut Decoder) -> Vec<u8> {
    let Some(ping) = decoder.take_ping() else {
        return Vec::new();
    };
    let payload = ping.as_slice();
    let header = FrameHeader::new(Opcode::Pong, payload.len());
    [header.as_slice(), payload].concat()
}

fn close(code: u16) -> Vec<u8> {
    let header = FrameHeader::new(Opcode::Close, 2);
    [header.as_slice(), &code.to_be_bytes()].concat()
}

fn digest(key: &str) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(DIGEST_SUFFIX.as_bytes());
    let digest = context.finish();
    let mut bytes = [0; 20];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Violated(violation) => violation.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

    /// A binary frame with `hi`, and a ping with `?`, masked with zeros.
    const FRAMES: &[u8] = &[
        0x82, 0x82, 0, 0, 0, 0, b'h', b'i', 0x89, 0x81, 0, 0, 0, 0, b'?',
    ];

    #[test]
    fn the_answer_has_the_digest_of_the_key() {
        let mut websocket = WebSocket::new(None);
        let taken = websocket.take(&mut REQUEST.to_vec(), REQUEST.len());
        let text = String::from_utf8(taken.answer).expect("text");
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(websocket.is_open() && taken.failure.is_none());
    }

    #[test]
    fn frames_right_behind_the_request_are_taken_wherever_it_is_cut() {
        let all = [REQUEST, FRAMES].concat();
        for cut in 0..all.len() {
            let mut websocket = WebSocket::new(None);
            let (mut payload, mut answer) = (Vec::new(), Vec::new());
            for piece in [&all[..cut], &all[cut..]] {
                let mut bytes = piece.to_vec();
                let taken = websocket.take(&mut bytes, piece.len());
                payload.extend_from_slice(&bytes[..taken.payload_bytes]);
                answer.extend(taken.answer);
                assert!(taken.failure.is_none(), "{cut}");
            }
            assert_eq!(payload, b"hi", "{cut}");
            assert!(answer.ends_with(&[0x8a, 1, b'?']), "{cut}");
        }
    }

    #[test]
    fn a_violation_is_answered_with_its_code_and_nothing_follows() {
        let mut websocket = WebSocket::new(None);
        websocket.take(&mut REQUEST.to_vec(), REQUEST.len());
        let taken = websocket.take(&mut [0x81], 1);
        assert_eq!(taken.answer, [0x88, 2, 0x03, 0xeb]);
        assert!(matches!(
            taken.failure,
            Some(Failure::Violated(Violation::Text))
        ));
        assert!(websocket.close().is_empty());
    }

    #[test]
    fn a_refusal_is_a_whole_answer() {
        let mut websocket = WebSocket::new(None);
        let taken = websocket.take(&mut [0x10, 0x0d, 0x00, 0x04], 4);
        assert!(taken.answer.starts_with(b"HTTP/1.1 400 "));
        assert!(matches!(
            taken.failure,
            Some(Failure::Refused(Refusal::NotHttp))
        ));
        assert!(!websocket.is_open());
    }

    #[test]
    fn the_end_is_answered_with_the_code_of_the_client() {
        let mut websocket = WebSocket::new(None);
        websocket.take(&mut REQUEST.to_vec(), REQUEST.len());
        websocket.take(&mut [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9], 8);
        assert!(websocket.has_ended());
        assert_eq!(websocket.close(), [0x88, 2, 0x03, 0xe9]);
        assert!(websocket.close().is_empty(), "once");
    }
}
