//! WebSocket (RFC 6455) as a server speaks it: the upgrade of an HTTP request, and frames.
//!
//! A [`Decoder`] strips frames in place and keeps nothing but a header that came in part: what is
//! left of the bytes it was given is the stream that the client sent. It promises that nothing but
//! binary messages ever gets through. It never waits and never answers; pings and the end are
//! remembered until they are asked for.

mod origin;
mod upgrade;

use core::fmt;

pub use origin::Origin;
pub use upgrade::{DIGEST_SUFFIX, HEAD_BYTES, Refusal, Subprotocol, Upgrade};

/// Takes a client's frames apart.
#[derive(Clone, Debug)]
pub struct Decoder {
    frame_bytes_maximum: u64,
    stage: Stage,
    /// Whether the last data frame was not the last of its message.
    is_in_message: bool,
    /// The payload of a control frame, as far as it has come.
    control: Control,
    /// The last ping that was not taken.
    ping: Option<Control>,
}

/// What the next byte is part of.
#[derive(Clone, Debug)]
enum Stage {
    Header { bytes: [u8; 14], filled: usize },
    Payload { frame: Frame, left: u64 },
    Closed { code: Option<u16> },
}

/// A header that was understood.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    /// Of the next byte on.
    key: [u8; 4],
}

/// The frames that may come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message.
    Continuation,
    /// The beginning of a message, or all of it.
    Binary,
    /// The end.
    Close,
    /// A question whether somebody is there.
    Ping,
    /// The answer to it.
    Pong,
}

/// The payload of a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    bytes: [u8; CONTROL_BYTES],
    length: usize,
}

/// What a client may not do. The link must be closed with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A client's frame is not masked.
    Unmasked,
    /// A reserved bit is set, though no extension was agreed on.
    ReservedBits,
    /// No such frame is defined.
    Opcode {
        /// As found, 0 to 15.
        found: u8,
    },
    /// MQTT is never text. [MQTT-6.0.0-1]
    Text,
    /// A control frame is in parts, or longer than 125 bytes.
    Control,
    /// A continuation without a beginning, or a beginning before the end.
    Fragment,
    /// A length that is not in its shortest form, or has its highest bit set.
    Length,
    /// A frame is longer than is taken.
    TooLong {
        /// Its payload.
        bytes: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// The reason of the end has no code, one that may not be sent, or is not text.
    CloseReason,
}

impl Decoder {
    /// Begins after the upgrade. A frame with a longer payload is a violation; a message may have
    /// any number of them.
    #[must_use]
    pub const fn new(frame_bytes_maximum: u64) -> Self {
        Self {
            frame_bytes_maximum,
            stage: Stage::HEADER,
            is_in_message: false,
            control: Control::EMPTY,
            ping: None,
        }
    }

    /// Takes bytes as they came and leaves what they carry at their front; gives how many bytes
    /// that are. Bytes after the end are ignored.
    ///
    /// # Errors
    /// At the first byte that is not allowed; what came before it in `bytes` is lost.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<usize, Violation> {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            match &mut self.stage {
                Stage::Closed { .. } => break,
                Stage::Header {
                    bytes: header,
                    filled,
                } => {
                    header[*filled] = bytes[from];
                    (*filled, from) = (*filled + 1, from + 1);
                    let header = *header;
                    self.begin(&header, self.filled())?;
                }
                Stage::Payload { frame, left } => {
                    let rest = bytes.len() - from;
                    let count = usize::try_from(*left).map_or(rest, |left| left.min(rest));
                    unmask(&mut bytes[from..from + count], &mut frame.key);
                    *left -= count as u64;
                    if frame.opcode.is_control() {
                        self.control.append(&bytes[from..from + count]);
                    } else {
                        bytes.copy_within(from..from + count, to);
                        to += count;
                    }
                    from += count;
                    self.end_frame()?;
                }
            }
        }
        Ok(to)
    }

    /// Takes the last ping that came since the former call; a pong with its payload is due.
    pub const fn take_ping(&mut self) -> Option<Control> {
        self.ping.take()
    }

    /// Whether the client has said that nothing more comes.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed { .. })
    }

    /// The code that the client closed with, if it gave one; it is to be sent back.
    #[must_use]
    pub const fn close_code(&self) -> Option<u16> {
        match self.stage {
            Stage::Closed { code } => code,
            _ => None,
        }
    }

    const fn filled(&self) -> usize {
        match self.stage {
            Stage::Header { filled, .. } => filled,
            _ => 0,
        }
    }

    /// Begins the payload once the header is whole; refuses as soon as its first bytes are wrong.
    fn begin(&mut self, header: &[u8; 14], filled: usize) -> Result<(), Violation> {
        if filled == 1 {
            return self.check_first(header[0]);
        }
        if header[1] & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short = header[1] & 0x7f;
        let key_at = match short {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if filled < key_at + 4 {
            return Ok(());
        }
        let left = match short {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&header[2..10]);
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        let opcode = Opcode::of(header[0])?;
        self.check_length(opcode, header[0] & FINAL != 0, short, left)?;
        let mut key = [0; 4];
        key.copy_from_slice(&header[key_at..key_at + 4]);
        if opcode.is_control() {
            self.control = Control::EMPTY;
        } else {
            self.is_in_message = header[0] & FINAL == 0;
        }
        let frame = Frame { opcode, key };
        self.stage = Stage::Payload { frame, left };
        self.end_frame()
    }

    fn check_first(&self, byte: u8) -> Result<(), Violation> {
        if byte & RESERVED != 0 {
            return Err(Violation::ReservedBits);
        }
        match Opcode::of(byte)? {
            Opcode::Continuation if !self.is_in_message => Err(Violation::Fragment),
            Opcode::Binary if self.is_in_message => Err(Violation::Fragment),
            opcode if opcode.is_control() && byte & FINAL == 0 => Err(Violation::Control),
            _ => Ok(()),
        }
    }

    const fn check_length(
        &self,
        opcode: Opcode,
        is_final: bool,
        short: u8,
        length: u64,
    ) -> Result<(), Violation> {
        let is_shortest = match short {
            126 => length > 125,
            127 => length > 0xffff && length >> 63 == 0,
            _ => true,
        };
        if !is_shortest {
            return Err(Violation::Length);
        }
        if opcode.is_control() && (!is_final || length > CONTROL_BYTES as u64) {
            return Err(Violation::Control);
        }
        if length > self.frame_bytes_maximum {
            return Err(Violation::TooLong {
                bytes: length,
                limit: self.frame_bytes_maximum,
            });
        }
        Ok(())
    }

    /// Goes on to the next header once the payload is whole.
    fn end_frame(&mut self) -> Result<(), Violation> {
        let Stage::Payload { frame, left: 0 } = &self.stage else {
            return Ok(());
        };
        let opcode = frame.opcode;
        self.stage = Stage::HEADER;
        match opcode {
            Opcode::Ping => self.ping = Some(self.control),
            Opcode::Close => {
                let code = close_code(self.control.as_slice())?;
                self.stage = Stage::Closed { code };
            }
            Opcode::Continuation | Opcode::Binary | Opcode::Pong => {}
        }
        Ok(())
    }
}

impl Stage {
    const HEADER: Self = Self::Header {
        bytes: [0; 14],
        filled: 0,
    };
}

impl Opcode {
    const fn of(byte: u8) -> Result<Self, Violation> {
        match byte & 0x0f {
            0 => Ok(Self::Continuation),
            1 => Err(Violation::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            found => Err(Violation::Opcode { found }),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Control {
    const EMPTY: Self = Self {
        bytes: [0; CONTROL_BYTES],
        length: 0,
    };

    /// Gives the payload, 125 bytes at most.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }
}

/// The header of one of our frames, which are whole messages and not masked.
#[derive(Clone, Copy, Debug)]
pub struct FrameHeader {
    bytes: [u8; 10],
    length: usize,
}

impl FrameHeader {
    /// Makes the header of a frame; its payload follows as it is. Control frames may have 125 bytes
    /// at most.
    #[must_use]
    pub fn new(opcode: Opcode, payload_bytes: usize) -> Self {
        debug_assert!(
            !opcode.is_control() || payload_bytes <= CONTROL_BYTES,
            "a control frame is short"
        );
        let mut bytes = [0; 10];
        bytes[0] = FINAL | opcode.number();
        let length = if let Ok(short @ 0..=125) = u8::try_from(payload_bytes) {
            bytes[1] = short;
            2
        } else if let Ok(medium) = u16::try_from(payload_bytes) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        } else {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        };
        Self { bytes, length }
    }

    /// Gives the bytes that go before the payload.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Violation {
    /// The code to close the link with.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Text => 1003,
            Self::TooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmasked => f.write_str("a frame is not masked, clients have to"),
            Self::ReservedBits => f.write_str("a frame has a reserved bit set"),
            Self::Opcode { found } => write!(f, "no frame has opcode {found}"),
            Self::Text => f.write_str("a text frame, MQTT takes binary ones"),
            Self::Control => {
                f.write_str("a control frame in parts or over 125 bytes, both are not allowed")
            }
            Self::Fragment => f.write_str("a fragment is out of place"),
            Self::Length => f.write_str("the length of a frame is not in its shortest form"),
            Self::TooLong { bytes, limit } => {
                write!(f, "frame of {bytes} bytes exceeds the limit of {limit}")
            }
            Self::CloseReason => f.write_str("the reason of a close frame is not valid"),
        }
    }
}

impl core::error::Error for Violation {}

/// Takes the mask off, and turns the key so that it fits the byte after.
fn unmask(bytes: &mut [u8], key: &mut [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(*key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(*key) {
        *byte ^= key;
    }
    key.rotate_left(rest.len());
}

/// Reads what a close frame says.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Violation::CloseReason),
        };
    };
    let code = u16::from_be_bytes(*code);
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !may_be_sent || core::str::from_utf8(reason).is_err() {
        return Err(Violation::CloseReason);
    }
    Ok(Some(code))
}

/// The last frame of a message.
const FINAL: u8 = 0x80;
/// Bits that only extensions use.
const RESERVED: u8 = 0x70;
/// The most that a control frame carries.
const CONTROL_BYTES: usize = 125;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// A client's frame with a payload of up to 125 bytes.
    fn frame<const N: usize>(first: u8, payload: &[u8]) -> [u8; N] {
        let mut bytes = [0; N];
        bytes[0] = first;
        bytes[1] = 0x80 | u8::try_from(payload.len()).expect("short");
        bytes[2..6].copy_from_slice(&KEY);
        bytes[6..].copy_from_slice(payload);
        unmask(&mut bytes[6..], &mut KEY.clone());
        bytes
    }

    #[test]
    fn each_violation_is_seen_at_once_and_has_its_code() {
        let table: [(&[u8], Violation, u16); 14] = [
            (&[0x82, 0x05], Violation::Unmasked, 1002),
            (&[0xc2], Violation::ReservedBits, 1002),
            (&[0xa2], Violation::ReservedBits, 1002),
            (&[0x92], Violation::ReservedBits, 1002),
            (&[0x83], Violation::Opcode { found: 3 }, 1002),
            (&[0x8f], Violation::Opcode { found: 15 }, 1002),
            (&[0x81], Violation::Text, 1003),
            (&[0x01], Violation::Text, 1003),
            (&[0x09], Violation::Control, 1002),
            (&[0x89, 0xfe, 0, 126, 0, 0, 0, 0], Violation::Control, 1002),
            (&[0x80], Violation::Fragment, 1002),
            (&[0x82, 0xfe, 0, 125, 0, 0, 0, 0], Violation::Length, 1002),
            (
                &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
                Violation::Length,
                1002,
            ),
            (
                &[0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                Violation::Length,
                1002,
            ),
        ];
        for (bytes, violation, code) in table {
            let mut decoder = Decoder::new(1 << 20);
            let mut input = [0; 14];
            input[..bytes.len()].copy_from_slice(bytes);
            let found = decoder.decode(&mut input[..bytes.len()]);
            assert_eq!(found, Err(violation), "{bytes:?}");
            assert_eq!(violation.close_code(), code);
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_header() {
        let mut decoder = Decoder::new(1000);
        let mut header = [0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0];
        let (bytes, limit) = (1001, 1000);
        let expected = Violation::TooLong { bytes, limit };
        assert_eq!(decoder.decode(&mut header), Err(expected));
        assert_eq!(expected.close_code(), 1009);
    }

    #[test]
    fn a_message_goes_on_around_control_frames() {
        let mut decoder = Decoder::new(1000);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&frame::<8>(0x02, b"ab"));
        bytes[8..16].copy_from_slice(&frame::<8>(0x89, b"hi"));
        bytes[16..22].copy_from_slice(&frame::<6>(0x8a, b""));
        bytes[22..31].copy_from_slice(&frame::<9>(0x80, b"cde"));
        assert_eq!(decoder.decode(&mut bytes[..31]), Ok(5));
        assert_eq!(&bytes[..5], b"abcde");
        let ping = decoder.take_ping().expect("it came");
        assert_eq!(ping.as_slice(), b"hi");
        assert_eq!(decoder.take_ping(), None);
    }

    #[test]
    fn a_second_beginning_before_the_end_is_refused() {
        let mut decoder = Decoder::new(1000);
        assert_eq!(decoder.decode(&mut frame::<7>(0x02, b"a")), Ok(1));
        assert_eq!(decoder.decode(&mut [0x82]), Err(Violation::Fragment));
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let mut decoder = Decoder::new(1000);
        let mut bytes = [0; 15];
        bytes[..8].copy_from_slice(&frame::<8>(0x88, &1001_u16.to_be_bytes()));
        bytes[8..].copy_from_slice(&frame::<7>(0x82, b"a"));
        assert_eq!(decoder.decode(&mut bytes), Ok(0));
        assert!(decoder.is_closed());
        assert_eq!(decoder.close_code(), Some(1001));
    }

    #[test]
    fn the_end_needs_no_reason_but_a_good_one() {
        let reason = |payload: &[u8]| close_code(payload);
        assert_eq!(reason(b""), Ok(None));
        assert_eq!(reason(&[0x0f, 0xa0, b'x']), Ok(Some(4000)));
        for bad in [
            &[3][..],
            &[0, 0],
            &[0x03, 0xec], // 1004
            &[0x03, 0xed], // 1005: never sent
            &[0x03, 0xee], // 1006: never sent
            &[0x13, 0x88], // 5000
            &[0x03, 0xe8, 0xff],
        ] {
            assert_eq!(reason(bad), Err(Violation::CloseReason), "{bad:?}");
        }
    }

    #[test]
    fn our_headers_have_the_shortest_length() {
        let header = |bytes| FrameHeader::new(Opcode::Binary, bytes);
        assert_eq!(header(0).as_slice(), [0x82, 0]);
        assert_eq!(header(125).as_slice(), [0x82, 125]);
        assert_eq!(header(126).as_slice(), [0x82, 126, 0, 126]);
        assert_eq!(header(65_535).as_slice(), [0x82, 126, 255, 255]);
        assert_eq!(
            header(65_536).as_slice(),
            [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(FrameHeader::new(Opcode::Close, 2).as_slice(), [0x88, 2]);
        assert_eq!(FrameHeader::new(Opcode::Pong, 0).as_slice(), [0x8a, 0]);
    }
}
