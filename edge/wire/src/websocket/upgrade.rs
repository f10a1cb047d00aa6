//! The HTTP request that becomes a WebSocket, and the answers to it.
//!
//! Only what RFC 6455 asks for is understood; the path and every other header are passed over. The
//! digest of the key is the caller's business, since it takes SHA-1.

use core::fmt;

use embedded_io::Write;

use super::Origin;

/// The longest head of a request that is taken.
pub const HEAD_BYTES: usize = 8 << 10;
/// Goes behind the key before the digest is made.
pub const DIGEST_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// 24 characters of base64. The answer needs the SHA-1 of it with [`DIGEST_SUFFIX`] behind it.
    pub key: &'a str,
    /// What the client wants to speak.
    pub subprotocol: Subprotocol,
    /// Whose page asks, as its browser says; programs that are no browsers say nothing.
    pub origin: Option<&'a [u8]>,
}

/// What is spoken in the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// `mqtt`, of every version.
    Mqtt,
    /// `mqttv3.1`, as old clients call it.
    MqttV31,
}

/// Why a request is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not a GET of HTTP/1.1.
    NotHttp,
    /// Its head is longer than [`HEAD_BYTES`].
    HeadTooLong,
    /// A line is not a header.
    Header,
    /// `Host` is missing.
    Host,
    /// It does not ask for a WebSocket.
    NoUpgrade,
    /// Another version of WebSocket than 13.
    Version,
    /// The key is missing, there twice, or not 16 bytes in base64.
    Key,
    /// None of the subprotocols is MQTT. [MQTT-6.0.0-3]
    Subprotocol,
    /// The page comes from where it must not.
    Origin,
}

impl<'a> Upgrade<'a> {
    /// Reads the head of a request, as far as it has come; gives how many bytes it had. `None` when
    /// more has to come.
    ///
    /// # Errors
    /// As soon as it can't become a request that is granted.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Refusal> {
        let begun = bytes.len().min(METHOD.len());
        if bytes[..begun] != METHOD[..begun] {
            return Err(Refusal::NotHttp);
        }
        let head = &bytes[..bytes.len().min(HEAD_BYTES)];
        let Some(end) = head.windows(END.len()).position(|window| window == END) else {
            return match bytes.len() < HEAD_BYTES {
                true => Ok(None),
                false => Err(Refusal::HeadTooLong),
            };
        };
        let mut lines = Lines(&bytes[..end]);
        let request = lines.next().unwrap_or_default();
        if !request.ends_with(b" HTTP/1.1") {
            return Err(Refusal::NotHttp);
        }
        let mut asked = Asked::default();
        for line in lines {
            asked.hear(line)?;
        }
        Ok(Some((asked.upgrade()?, end + END.len())))
    }

    /// Holds the page that asks to a list of origins. Who names none is no browser, and passes.
    ///
    /// # Errors
    /// [`Refusal::Origin`] when the page's is not in the list.
    pub fn comes_from(&self, allowed: &[impl AsRef<str>]) -> Result<(), Refusal> {
        let Some(origin) = self.origin else {
            return Ok(());
        };
        let origin = core::str::from_utf8(origin).ok().and_then(Origin::parse);
        let mut allowed = allowed.iter().map(|text| Origin::parse(text.as_ref()));
        match origin.is_some() && allowed.any(|allowed| allowed == origin) {
            true => Ok(()),
            false => Err(Refusal::Origin),
        }
    }

    /// Writes the answer that grants the request, with the digest of its key.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn grant<W: Write>(&self, digest: &[u8; 20], out: &mut W) -> Result<(), W::Error> {
        out.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        )?;
        out.write_all(&base64(digest))?;
        out.write_all(b"\r\nSec-WebSocket-Protocol: ")?;
        out.write_all(self.subprotocol.name())?;
        out.write_all(b"\r\n\r\n")
    }
}

impl Subprotocol {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Mqtt => b"mqtt",
            Self::MqttV31 => b"mqttv3.1",
        }
    }
}

impl Refusal {
    /// Gives the whole answer; the link is closed behind it.
    #[must_use]
    pub const fn answer(self) -> &'static [u8] {
        match self {
            Self::NoUpgrade | Self::Version => {
                b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, \
                  close\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
            }
            Self::HeadTooLong => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\
                  Content-Length: 0\r\n\r\n"
            }
            Self::Origin => {
                b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
            _ => b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "the request is not a GET of HTTP/1.1",
            Self::HeadTooLong => {
                return write!(
                    f,
                    "the request's head exceeds the limit of {HEAD_BYTES} bytes"
                );
            }
            Self::Header => "a line of the request is not a header",
            Self::Host => "the request names no host",
            Self::NoUpgrade => "the request does not ask for a WebSocket",
            Self::Version => "the request asks for a version of WebSocket other than 13",
            Self::Key => "the request's key is not 16 bytes in base64",
            Self::Subprotocol => "none of the request's subprotocols is mqtt",
            Self::Origin => "the request comes from a page of an origin that is not allowed",
        })
    }
}

impl core::error::Error for Refusal {}

/// What the headers said so far.
#[derive(Default)]
struct Asked<'a> {
    has_host: bool,
    upgrades: bool,
    connects: bool,
    version: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    key_count: usize,
    subprotocol: Option<Subprotocol>,
    origin: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn hear(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(Refusal::Header)?);
        let is_name = |byte: &u8| byte.is_ascii_graphic();
        let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        if name.is_empty() || !name.iter().all(is_name) || line.iter().any(is_control) {
            return Err(Refusal::Header);
        }
        let value = value[1..].trim_ascii();
        let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("host") {
            self.has_host = true;
        } else if is("upgrade") {
            self.upgrades |= tokens.any(|token| token.eq_ignore_ascii_case(b"websocket"));
        } else if is("connection") {
            self.connects |= tokens.any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        } else if is("sec-websocket-version") {
            self.version = Some(value);
        } else if is("sec-websocket-key") {
            (self.key, self.key_count) = (Some(value), self.key_count + 1);
        } else if is("origin") {
            if self.origin.replace(value).is_some() {
                return Err(Refusal::Header);
            }
        } else if is("sec-websocket-protocol") {
            // The standard's own name, wherever it stands; the older one for those who have no other.
            for token in tokens {
                if token == Subprotocol::Mqtt.name() {
                    self.subprotocol = Some(Subprotocol::Mqtt);
                } else if token == Subprotocol::MqttV31.name() {
                    self.subprotocol.get_or_insert(Subprotocol::MqttV31);
                }
            }
        }
        Ok(())
    }

    fn upgrade(self) -> Result<Upgrade<'a>, Refusal> {
        if !self.has_host {
            return Err(Refusal::Host);
        }
        if !self.upgrades || !self.connects {
            return Err(Refusal::NoUpgrade);
        }
        if self.version != Some(b"13") {
            return Err(Refusal::Version);
        }
        let key = self.key.filter(|key| self.key_count == 1 && is_key(key));
        let key = key.and_then(|key| core::str::from_utf8(key).ok());
        Ok(Upgrade {
            key: key.ok_or(Refusal::Key)?,
            subprotocol: self.subprotocol.ok_or(Refusal::Subprotocol)?,
            origin: self.origin,
        })
    }
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_digit)
}

/// Lines that end in CR LF.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.windows(2).position(|window| window == b"\r\n");
        let (line, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 2..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        Some(line)
    }
}

fn base64(digest: &[u8; 20]) -> [u8; 28] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 28];
    for (three, four) in digest.chunks(3).zip(text.chunks_mut(4)) {
        let mut bits = [0; 4];
        bits[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(bits);
        // Two bytes have three digits, and the last digit is the sign that was there before.
        for (at, digit) in four.iter_mut().enumerate().take(three.len() + 1) {
            *digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
        }
    }
    text
}

const METHOD: &[u8] = b"GET ";
const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: gateway:9001\r\nupgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: chat, mqttv3.1, mqtt\r\nSec-WebSocket-Version: 13\r\n\
        Cookie: a=b\r\n\r\n";

    /// [MQTT-6.0.0-4]
    #[test]
    fn mqtt_is_chosen_wherever_it_stands_and_its_older_name_only_alone() {
        let choose = |offered: &str| {
            let request = REQUEST.replace("chat, mqttv3.1, mqtt", offered);
            let (upgrade, _) = Upgrade::parse(request.as_bytes()).ok()??;
            Some(upgrade.subprotocol)
        };
        let header = "mqttv3.1\r\nSec-WebSocket-Protocol: mqtt";
        for (offered, chosen) in [
            ("mqtt", Some(Subprotocol::Mqtt)),
            ("mqtt, mqttv3.1", Some(Subprotocol::Mqtt)),
            ("chat, mqttv3.1, mqtt", Some(Subprotocol::Mqtt)),
            (header, Some(Subprotocol::Mqtt)),
            ("mqttv3.1", Some(Subprotocol::MqttV31)),
            ("chat", None),
        ] {
            assert_eq!(choose(offered), chosen, "{offered}");
        }
    }

    #[test]
    fn a_request_is_granted_with_its_key_and_its_subprotocol() {
        let (upgrade, bytes) = Upgrade::parse(REQUEST.as_bytes())
            .expect("valid")
            .expect("whole");
        assert_eq!(bytes, REQUEST.len());
        assert_eq!(upgrade.key, "dGhlIHNhbXBsZSBub25jZQ==");
        // The example of RFC 6455, section 1.3.
        let digest = [
            0xb3, 0x7a, 0x4f, 0x2c, 0xc0, 0x62, 0x4f, 0x16, 0x90, 0xf6, 0x46, 0x06, 0xcf, 0x38,
            0x59, 0x45, 0xb2, 0xbe, 0xc4, 0xea,
        ];
        let mut out = [0; 256];
        let mut rest = &mut out[..];
        upgrade.grant(&digest, &mut rest).expect("room");
        let left = rest.len();
        let text = core::str::from_utf8(&out[..256 - left]).expect("text");
        assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        assert!(text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(text.ends_with("\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"));
    }

    #[test]
    fn a_request_may_come_byte_by_byte() {
        for end in 0..REQUEST.len() {
            assert_eq!(
                Upgrade::parse(&REQUEST.as_bytes()[..end]),
                Ok(None),
                "{end}"
            );
        }
    }

    /// Replaces a line of the request.
    fn parse_with(old: &str, new: &str) -> Result<Option<usize>, Refusal> {
        let mut text = [0; 1024];
        let at = REQUEST.find(old).expect("a part of the request");
        let parts = [&REQUEST[..at], new, &REQUEST[at + old.len()..]];
        let mut length = 0;
        for part in parts {
            text[length..length + part.len()].copy_from_slice(part.as_bytes());
            length += part.len();
        }
        Upgrade::parse(&text[..length]).map(|parsed| parsed.map(|(_, bytes)| bytes))
    }

    #[test]
    fn each_refusal_is_reached() {
        let table = [
            ("GET ", "PUT ", Refusal::NotHttp),
            ("GET ", "\x10\x10\x00\x04", Refusal::NotHttp),
            ("HTTP/1.1", "HTTP/1.0", Refusal::NotHttp),
            ("Host: gateway:9001\r\n", "", Refusal::Host),
            ("Host:", "Host", Refusal::Header),
            ("Host: ", " Host: ", Refusal::Header),
            ("Host: ", "Ho st: ", Refusal::Header),
            ("Host: ", "Host: \0", Refusal::Header),
            ("Host: ", "Host: \n", Refusal::Header),
            ("WebSocket\r\n", "h2c\r\n", Refusal::NoUpgrade),
            ("keep-alive, Upgrade", "keep-alive", Refusal::NoUpgrade),
            ("Version: 13", "Version: 8", Refusal::Version),
            ("Sec-WebSocket-Version: 13\r\n", "", Refusal::Version),
            (
                "dGhlIHNhbXBsZSBub25jZQ==",
                "dGhlIHNhbXBsZSBub25j",
                Refusal::Key,
            ),
            (
                "dGhlIHNhbXBsZSBub25jZQ==",
                "dGhlIHNhbXBsZSBub25j!Q==",
                Refusal::Key,
            ),
            (
                "Cookie: a=",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                Refusal::Key,
            ),
            ("chat, mqttv3.1, mqtt", "chat, MQTT", Refusal::Subprotocol),
            (
                "Cookie: a=b\r\n",
                "Origin: http://a\r\nOrigin: http://a\r\n",
                Refusal::Header,
            ),
        ];
        for (old, new, expected) in table {
            assert_eq!(parse_with(old, new), Err(expected), "{new}");
            assert!(expected.answer().ends_with(b"\r\n\r\n"));
        }
        assert!(parse_with("/mqtt", "/any/path?x").is_ok_and(|parsed| parsed.is_some()));
    }

    #[test]
    fn a_page_has_to_come_from_a_listed_origin_and_a_program_from_none() {
        let outcome = |line: &str, allowed: &[&str]| {
            let request = REQUEST.replace("Cookie: a=b\r\n", line);
            let (upgrade, _) = Upgrade::parse(request.as_bytes())
                .expect("valid")
                .expect("whole");
            upgrade.comes_from(allowed)
        };
        let allowed = ["http://b.example", "https://panel.example"];
        let from_panel = "Origin: https://panel.example\r\n";
        assert_eq!(outcome(from_panel, &allowed), Ok(()));
        assert_eq!(outcome("", &allowed), Ok(()));
        assert_eq!(outcome("", &[]), Ok(()));
        for (line, allowed) in [
            (from_panel, &allowed[..1]),
            (from_panel, &[]),
            ("Origin: null\r\n", &["null"]),
            ("Origin: https://panel.example.evil\r\n", &allowed),
            ("Origin: \r\n", &allowed),
        ] {
            assert_eq!(outcome(line, allowed), Err(Refusal::Origin), "{line}");
        }
        assert!(Refusal::Origin.answer().starts_with(b"HTTP/1.1 403 "));
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_limit() {
        let mut head = [b'a'; HEAD_BYTES + 1];
        head[..4].copy_from_slice(b"GET ");
        assert_eq!(Upgrade::parse(&head[..HEAD_BYTES - 1]), Ok(None));
        assert_eq!(
            Upgrade::parse(&head[..HEAD_BYTES]),
            Err(Refusal::HeadTooLong)
        );
        // An end beyond the limit is none.
        head[HEAD_BYTES - 3..].copy_from_slice(b"\r\n\r\n");
        assert_eq!(Upgrade::parse(&head), Err(Refusal::HeadTooLong));
        assert!(Refusal::HeadTooLong.answer().starts_with(b"HTTP/1.1 431 "));
        assert!(Refusal::Version.answer().starts_with(b"HTTP/1.1 426 "));
        assert!(Refusal::Key.answer().starts_with(b"HTTP/1.1 400 "));
    }
}
