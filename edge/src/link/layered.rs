//! A TCP link with something between the socket and its bytes: TLS, WebSocket, or both.
//!
//! ```text
//! socket <-> TLS <-> WebSocket <-> bytes of the link
//! ```
//!
//! Both halves share the layers, since each may have to send: reading answers handshakes and pings.
//! An idle link holds no buffer of ours; what waits for the socket is at most one chunk and the
//! answers of the layers, of which none is given before the last has left. The end of the socket
//! without the layers' own goodbye is an error: the link was lost, or cut off by somebody.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;

use embedded_io_async::BufRead as _;
use rustls::{ServerConfig, ServerConnection};
use smol::Async;
use smol::future::FutureExt as _;

use super::websocket::{self, WebSocket};
use super::{Finish, Held, ReadBuffer, Turnstile, tls};

/// What a listener puts on its links.
pub(crate) struct Layers {
    /// Certificates as they are now.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Whether there is a WebSocket on top.
    pub(crate) has_websocket: bool,
    /// Whether the client's certificate says who it is.
    pub(crate) names_clients: bool,
}

impl Layers {
    /// Whether the bytes of the socket are those of the link.
    pub(crate) const fn are_none(&self) -> bool {
        self.tls.is_none() && !self.has_websocket
    }
}

/// What one write takes at most: it is sealed or framed as a whole, and waits as a whole.
const CHUNK_BYTES: usize = 4 << 10;
/// What a client may send until its TLS handshake is over: a long chain of certificates fits.
const HANDSHAKE_BYTES: usize = 32 << 10;

/// The socket and its layers.
struct Link {
    stream: Async<TcpStream>,
    layers: RefCell<State>,
    names_clients: bool,
}

#[derive(Default)]
struct State {
    tls: Option<ServerConnection>,
    websocket: Option<WebSocket>,
    /// What goes to the socket, where there is no TLS that keeps it.
    outbound: Vec<u8>,
    /// An answer of the WebSocket, until all before it has left.
    answer: Vec<u8>,
    /// Bytes of the TLS handshake so far.
    handshake_bytes: usize,
    is_finished: bool,
}

/// The reading half.
pub(crate) struct Reader {
    link: Rc<Link>,
    held: Held,
}

/// The writing half.
pub(crate) struct Writer {
    link: Rc<Link>,
}

/// Makes a connection a link with layers, which are not open yet.
pub(crate) fn link(
    stream: Async<TcpStream>,
    pool: &ReadBuffer,
    layers: Layers,
) -> (Reader, Writer) {
    let session = |config| {
        let session = ServerConnection::new(config);
        let mut session = session.expect("a configuration without fragment size is always taken");
        session.set_buffer_limit(Some(2 * CHUNK_BYTES));
        session
    };
    let link = Rc::new(Link {
        stream,
        layers: RefCell::new(State {
            tls: layers.tls.map(session),
            websocket: layers.has_websocket.then(WebSocket::new),
            ..State::default()
        }),
        names_clients: layers.names_clients,
    });
    let held = Held::new(pool.clone());
    let reader = Reader {
        link: link.clone(),
        held,
    };
    (reader, Writer { link })
}

impl Reader {
    /// Waits until all layers are open; names the client if its certificate is to. Nothing may be
    /// written before.
    ///
    /// # Errors
    /// When the client does not keep to the protocols, is not who it should be, or leaves.
    pub(crate) async fn open(&mut self, turnstile: &Turnstile) -> io::Result<Option<Box<str>>> {
        while self.link.is_shaking_hands() {
            self.link.wait().await?;
            turnstile.pass(|| self.advance()).await?;
        }
        let identity = self.link.identity()?;
        while !self.link.is_open() {
            self.go_on().await?;
        }
        Ok(identity)
    }

    /// Does one step, or waits for something to come.
    async fn go_on(&mut self) -> io::Result<()> {
        if !self.advance()? {
            self.link.wait().await?;
        } else if self.held.is_empty() {
            // Frames and records without bytes must not keep the thread.
            smol::future::yield_now().await;
        }
        Ok(())
    }

    /// Does one step with what has come; false when there was nothing.
    fn advance(&mut self) -> io::Result<bool> {
        let link = &self.link;
        match self.held.fill(|buffer| link.receive(buffer)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl embedded_io::ErrorType for Reader {
    type Error = io::Error;
}

impl embedded_io_async::Read for Reader {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf().await?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl embedded_io_async::BufRead for Reader {
    async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.held.is_empty() {
            self.go_on().await?;
        }
        Ok(self.held.as_slice())
    }

    fn consume(&mut self, count: usize) {
        self.held.consume(count);
    }
}

impl embedded_io::ErrorType for Writer {
    type Error = io::Error;
}

impl embedded_io_async::Write for Writer {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush().await?;
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let mut layers = self.link.layers.borrow_mut();
        layers.put_payload(chunk)?;
        layers.send(&self.link.stream)?;
        Ok(chunk.len())
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.link.send()? {
            self.link.stream.writable().await?;
        }
        Ok(())
    }
}

impl Finish for Writer {
    fn finish(&self) {
        let mut layers = self.link.layers.borrow_mut();
        // The peer may have closed already; there is nobody left to tell.
        let _ = layers.say_goodbye();
        let _ = layers.send(&self.link.stream);
        let _ = self
            .link
            .stream
            .get_ref()
            .shutdown(std::net::Shutdown::Write);
        *layers = State {
            is_finished: true,
            ..State::default()
        };
    }
}

impl Link {
    fn is_shaking_hands(&self) -> bool {
        let layers = self.layers.borrow();
        layers.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    fn is_open(&self) -> bool {
        let layers = self.layers.borrow();
        layers.websocket.as_ref().is_none_or(WebSocket::is_open)
    }

    fn identity(&self) -> io::Result<Option<Box<str>>> {
        let layers = self.layers.borrow();
        let chain = layers.tls.as_ref().and_then(|tls| tls.peer_certificates());
        let Some(chain) = chain.filter(|_| self.names_clients) else {
            return Ok(None);
        };
        let name = tls::common_name(chain);
        name.map(Some)
            .ok_or_else(|| invalid("the client's certificate has no common name"))
    }

    /// Waits until there is something to read, and sends what waits to be sent.
    async fn wait(&self) -> io::Result<()> {
        if self.send()? {
            self.stream.readable().await
        } else {
            self.stream.readable().or(self.stream.writable()).await
        }
    }

    /// Sends what it can without waiting; true when nothing is left.
    fn send(&self) -> io::Result<bool> {
        self.layers.borrow_mut().send(&self.stream)
    }

    /// Reads once, through all layers, to the front of `buffer`. `None` when something came that
    /// has no bytes for the reader; 0 at the end, which every layer has announced.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let layers = &mut *self.layers.borrow_mut();
        if layers.is_finished {
            return self.stream.get_ref().read(buffer).map(Some);
        }
        let outcome = layers.receive(&self.stream, buffer);
        if outcome.is_err() {
            // The answer says why, if it can still leave.
            let _ = layers.send(&self.stream);
        }
        outcome
    }
}

impl State {
    fn receive(
        &mut self,
        stream: &Async<TcpStream>,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        if self.websocket.as_ref().is_some_and(WebSocket::has_ended) {
            return Ok(Some(0));
        }
        let count = match self.tls {
            Some(_) => self.unseal(stream, buffer)?,
            None => Some(stream.get_ref().read(buffer)?),
        };
        let (Some(count), Some(websocket)) = (count, &mut self.websocket) else {
            return Ok(count);
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let taken = websocket.take(buffer, count);
        let has_ended = websocket.has_ended();
        // A client that has not taken the last answer gets no other.
        if self.answer.is_empty() {
            self.answer = taken.answer;
        }
        match taken.failure {
            Some(failure) => Err(invalid(failure)),
            None if taken.payload_bytes > 0 || has_ended => Ok(Some(taken.payload_bytes)),
            None => Ok(None),
        }
    }

    /// Reads records from the socket and takes the seal off.
    fn unseal(
        &mut self,
        stream: &Async<TcpStream>,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else {
            return Ok(None);
        };
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            outcome => return outcome.map(Some),
        }
        let count = tls.read_tls(&mut stream.get_ref())?;
        if tls.is_handshaking() {
            self.handshake_bytes += count;
            if self.handshake_bytes > HANDSHAKE_BYTES {
                return Err(invalid(format!(
                    "a TLS handshake exceeds the limit of {HANDSHAKE_BYTES} bytes"
                )));
            }
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        tls.process_new_packets().map_err(invalid)?;
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Takes bytes of the link. Nothing may wait to be sent.
    fn put_payload(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &self.websocket {
            Some(_) => self.put(&[websocket::header(bytes.len()).as_slice(), bytes]),
            None => self.put(&[bytes]),
        }
    }

    fn put(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            parts.iter().for_each(|part| self.outbound.extend(*part));
            return Ok(());
        };
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let count = tls.writer().write_vectored(&slices)?;
        debug_assert!(
            count == parts.iter().map(|part| part.len()).sum::<usize>(),
            "there is room for a chunk and an answer"
        );
        Ok(())
    }

    fn say_goodbye(&mut self) -> io::Result<()> {
        if let Some(websocket) = &mut self.websocket {
            let goodbye = websocket.close();
            self.put(&[&goodbye])?;
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        Ok(())
    }

    /// Sends what it can without waiting; true when nothing is left.
    fn send(&mut self, stream: &Async<TcpStream>) -> io::Result<bool> {
        let mut socket = stream.get_ref();
        loop {
            let sent = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut socket),
                None if !self.outbound.is_empty() => socket.write(&self.outbound),
                _ if !self.answer.is_empty() => {
                    let answer = std::mem::take(&mut self.answer);
                    self.put(&[&answer])?;
                    continue;
                }
                _ => break,
            };
            match sent {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) if self.tls.is_none() => drop(self.outbound.drain(..count)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // No buffer is kept while there is nothing to send.
        self.outbound = Vec::new();
        Ok(true)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
