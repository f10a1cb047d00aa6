//! Reads what a client is sent, byte by byte as the specification says and without the gateway's
//! codec, and holds it to what a client may rely on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What one connection was sent, and what it owes and is owed.
#[derive(Debug)]
pub(crate) struct Judge {
    is_5: bool,
    pub(crate) has_connack: bool,
    is_over: bool,
    /// What the client said in CONNECT.
    pub(crate) receive_maximum: usize,
    pub(crate) packet_bytes_maximum: usize,
    /// Messages with QoS over 0 that the client has not answered, by packet identifier.
    pub(crate) unanswered: BTreeMap<u16, u8>,
    /// What the client has to answer, in the order of what came.
    pub(crate) owed: VecDeque<(Owed, u16)>,
    /// Publishes of the client that wait for an answer: packet identifier, QoS, number.
    pub(crate) waiting: VecDeque<(u16, u8, u32)>,
    /// Whether the client sent something that it does not keep books of.
    pub(crate) is_tainted: bool,
    /// Whether that was in place of CONNECT, so that not even the version is known.
    pub(crate) is_lawless: bool,
}

/// What a client learns from one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Other,
    /// A publish was accepted.
    Accepted(u32),
    /// A message came.
    Message(Vec<u8>),
}

/// What a client has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

impl Judge {
    pub(crate) fn new(is_5: bool) -> Self {
        Self {
            is_5,
            has_connack: false,
            is_over: false,
            receive_maximum: 65_535,
            packet_bytes_maximum: usize::MAX,
            unanswered: BTreeMap::new(),
            owed: VecDeque::new(),
            waiting: VecDeque::new(),
            is_tainted: false,
            is_lawless: false,
        }
    }

    /// Notes that no more books are kept.
    pub(crate) const fn taint(&mut self) {
        self.is_tainted = true;
        self.is_lawless |= !self.has_connack;
    }

    /// Reads one packet.
    pub(crate) fn hear(&mut self, packet: &[u8]) -> News {
        if self.is_lawless {
            return News::Other;
        }
        assert!(!self.is_over, "a packet after the last one");
        assert!(
            packet.len() <= self.packet_bytes_maximum,
            "a packet over the client's maximum"
        );
        let mut bytes = Bytes(packet);
        let first = bytes.u8();
        let length = bytes.variable();
        assert_eq!(bytes.0.len(), length, "remaining length");
        let (kind, flags) = (first >> 4, first & 15);
        assert!(kind == 3 || flags == if kind == 6 { 2 } else { 0 }, "flags");
        assert_eq!(
            kind == 2,
            !self.has_connack,
            "CONNACK is the first and only"
        );
        let news = match kind {
            2 => self.connack(&mut bytes),
            3 => self.publish(flags, &mut bytes),
            4 | 5 => self.answer(kind, &mut bytes),
            6 => {
                let (identifier, _) = self.step(&mut bytes);
                self.owed.push_back((Owed::Pubcomp, identifier));
                News::Other
            }
            7 => {
                self.step(&mut bytes);
                News::Other
            }
            9 | 11 => self.list(kind, &mut bytes),
            13 => News::Other,
            14 => {
                assert!(self.is_5, "DISCONNECT before MQTT 5");
                self.is_over = true;
                if !bytes.0.is_empty() {
                    assert_ne!(bytes.u8(), 0, "a reason to leave");
                }
                if !bytes.0.is_empty() {
                    bytes.properties();
                }
                News::Other
            }
            _ => panic!("packet type {kind} from a server"),
        };
        assert!(bytes.0.is_empty(), "bytes behind the end");
        news
    }

    fn connack(&mut self, bytes: &mut Bytes<'_>) -> News {
        self.has_connack = true;
        let flags = bytes.u8();
        let code = bytes.u8();
        assert!(flags < 2, "CONNACK flags");
        assert!(code == 0 || flags == 0, "a session of a refused client");
        assert!(self.is_5 || code < 6, "return code");
        self.is_over = code > 0;
        if self.is_5 {
            bytes.properties();
        }
        News::Other
    }

    fn publish(&mut self, flags: u8, bytes: &mut Bytes<'_>) -> News {
        let (qos, is_repeated) = (flags >> 1 & 3, flags & 8 > 0);
        assert!(qos < 3 && !(qos == 0 && is_repeated), "flags of PUBLISH");
        let topic = bytes.text();
        assert!(
            !topic.is_empty() && !topic.contains(['+', '#', '\0']),
            "topic"
        );
        if qos > 0 {
            let identifier = bytes.u16();
            assert_ne!(identifier, 0, "packet identifier");
            let owed = if qos == 1 { Owed::Puback } else { Owed::Pubrec };
            self.owed.push_back((owed, identifier));
            if !self.is_tainted {
                let former = self.unanswered.insert(identifier, qos);
                assert_eq!(former, None, "a packet identifier in use");
                assert!(
                    self.unanswered.len() <= self.receive_maximum,
                    "receive maximum"
                );
            }
        }
        if self.is_5 {
            bytes.properties();
        }
        News::Message(std::mem::take(&mut bytes.0).to_vec())
    }

    fn answer(&mut self, kind: u8, bytes: &mut Bytes<'_>) -> News {
        let (identifier, code) = self.step(bytes);
        if kind == 5 && code < 0x80 {
            self.owed.push_back((Owed::Pubrel, identifier));
        }
        if self.is_tainted {
            return News::Other;
        }
        // In the order of the publishes.
        let (expected, qos, number) = self.waiting.pop_front().expect("an answer to something");
        assert_eq!((identifier, kind), (expected, 3 + qos), "whose answer");
        assert_ne!(code, 0x10, "the witness subscribes to everything");
        match code {
            0 => News::Accepted(number),
            _ => News::Other,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) -> (u16, u8) {
        let identifier = bytes.u16();
        assert_ne!(identifier, 0, "packet identifier");
        assert!(self.is_5 || bytes.0.is_empty(), "an answer before MQTT 5");
        let code = if bytes.0.is_empty() { 0 } else { bytes.u8() };
        if !bytes.0.is_empty() {
            bytes.properties();
        }
        (identifier, code)
    }

    fn list(&mut self, kind: u8, bytes: &mut Bytes<'_>) -> News {
        assert_ne!(bytes.u16(), 0, "packet identifier");
        if self.is_5 {
            bytes.properties();
        }
        let codes = std::mem::take(&mut bytes.0);
        let allowed: &[u8] = match (kind, self.is_5) {
            (9, true) => &[
                0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
            ],
            (9, false) => &[0, 1, 2, 0x80],
            (_, true) => &[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
            (_, false) => &[],
        };
        assert!(
            codes.iter().all(|code| allowed.contains(code)),
            "{codes:x?}"
        );
        assert_eq!(codes.is_empty(), kind == 11 && !self.is_5, "codes");
        News::Other
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    fn text(&mut self) -> &'a str {
        let length = self.u16();
        std::str::from_utf8(self.take(length.into())).expect("UTF-8")
    }

    fn variable(&mut self) -> usize {
        let mut value = 0;
        for place in 0..4 {
            let byte = self.u8();
            value |= usize::from(byte & 127) << (7 * place);
            if byte < 128 {
                assert!(byte > 0 || place == 0, "a length in fewer bytes");
                return value;
            }
        }
        panic!("a length of more than four bytes");
    }

    fn properties(&mut self) {
        let length = self.variable();
        let mut bytes = Bytes(self.take(length));
        let mut seen = BTreeSet::new();
        while !bytes.0.is_empty() {
            let identifier = bytes.variable();
            let is_new = seen.insert(identifier);
            assert!(
                is_new || matches!(identifier, 0x0B | 0x26),
                "a property twice"
            );
            match identifier {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => {
                    bytes.u8();
                }
                0x13 | 0x21 | 0x22 | 0x23 => {
                    bytes.u16();
                }
                0x02 | 0x11 | 0x18 | 0x27 => {
                    bytes.take(4);
                }
                0x0B => {
                    assert_ne!(bytes.variable(), 0, "subscription identifier");
                }
                0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => {
                    bytes.text();
                }
                0x09 | 0x16 => {
                    let length = bytes.u16();
                    bytes.take(length.into());
                }
                0x26 => {
                    bytes.text();
                    bytes.text();
                }
                _ => panic!("property {identifier:#x}"),
            }
        }
    }
}
