//! A WebSocket client that knows only what the tests need, and can break every rule.

use std::io::{self, ErrorKind, Read, Write};

/// A stream in binary frames, over any stream of bytes.
pub(crate) struct Web<S> {
    stream: S,
    /// Bytes from the gateway that are not yet taken apart.
    raw: Vec<u8>,
    /// Payload that is not yet read.
    payload: Vec<u8>,
    /// The largest payload of a frame that is sent.
    pub(crate) frame_bytes: usize,
    /// Frames that were no data, with what was in them.
    pub(crate) control: Vec<(u8, Vec<u8>)>,
}

/// What every client asks, and what it is told: RFC 6455 has them as examples.
pub(crate) const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";
pub(crate) const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

const KEY: [u8; 4] = [0x5a, 0xa5, 0x01, 0xff];

impl<S: Read + Write> Web<S> {
    /// Asks for the upgrade, which is granted.
    pub(crate) fn open(mut stream: S) -> Self {
        stream.write_all(REQUEST.as_bytes()).expect("it reads");
        stream.flush().expect("it reads");
        let mut answer = vec![0; GRANTED.len()];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(String::from_utf8_lossy(&answer), GRANTED);
        Self {
            stream,
            raw: Vec::new(),
            payload: Vec::new(),
            frame_bytes: usize::MAX,
            control: Vec::new(),
        }
    }

    /// Sends a masked frame.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).expect("short")),
            medium @ 126..=0xffff => {
                bytes.push(0xfe);
                bytes.extend(u16::try_from(medium).expect("medium").to_be_bytes());
            }
            long => {
                bytes.push(0xff);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(KEY);
        bytes.extend(
            payload
                .iter()
                .zip(KEY.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        self.send_raw(&bytes);
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // A gateway that closed is noticed by the next read.
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.flush();
    }

    /// Takes the next control frame, passing over data.
    pub(crate) fn expect_control(&mut self) -> (u8, Vec<u8>) {
        while self.control.is_empty() {
            assert!(
                self.receive().expect("it answers"),
                "it closed without a word"
            );
        }
        self.control.remove(0)
    }

    /// Waits for the end of the stream.
    pub(crate) fn expect_end(&mut self) {
        while self.receive().unwrap_or(false) {}
    }

    /// Reads once; false at the end.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer)?;
        self.raw.extend_from_slice(&buffer[..count]);
        while let Some((first, header, length)) = header(&self.raw) {
            if self.raw.len() < header + length {
                break;
            }
            let payload: Vec<u8> = self.raw.drain(..header + length).skip(header).collect();
            match first {
                0x82 => self.payload.extend(payload),
                first => self.control.push((first, payload)),
            }
        }
        Ok(count > 0)
    }
}

/// First byte, length of the header, length of the payload.
fn header(raw: &[u8]) -> Option<(u8, usize, usize)> {
    let second = *raw.get(1)?;
    assert!(second < 0x80, "a server's frames are not masked");
    let (header, length) = match second {
        126 => (
            4,
            u16::from_be_bytes(raw.get(2..4)?.try_into().expect("two")).into(),
        ),
        127 => panic!("the gateway sends small frames"),
        short => (2, short.into()),
    };
    Some((raw[0], header, length))
}

impl<S: Read + Write> Read for Web<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.payload.is_empty() {
            if self.control.iter().any(|(first, _)| *first == 0x88) {
                return Ok(0);
            }
            if !self.receive()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let count = self.payload.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.payload.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

impl<S: Read + Write> Write for Web<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.frame_bytes);
        self.send_frame(0x82, &bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
