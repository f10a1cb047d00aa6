//! A TCP link with something between the socket and its bytes: TLS, WebSocket, or both.
//!
//! ```text
//! socket <-> TLS <-> WebSocket <-> bytes of the link
//! ```
//!
//! Both halves share the layers, since each may have to send: reading answers handshakes and pings.
//! Where the protocol says something before TLS begins, that leaves first, in the clear.
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

use super::websocket::{self, Origins, WebSocket};
use super::{Finish, Held, ReadBuffer, Source, Turnstile, tls};

/// What a listener puts on its links.
pub(crate) struct Layers {
    /// Certificates as they are now.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Whose pages may open the WebSocket on top, if there is one.
    pub(crate) websocket: Option<Origins>,
    /// Whether the client's certificate says who it is.
    pub(crate) names_clients: bool,
    /// What is said before TLS begins.
    pub(crate) words: Vec<u8>,
}

impl Layers {
    /// Whether the bytes of the socket are those of the link.
    pub(crate) const fn are_none(&self) -> bool {
        self.tls.is_none() && self.websocket.is_none()
    }
}

/// What one write takes at most: it is sealed or framed as a whole, and waits as a whole.
const CHUNK_BYTES: usize = 4 << 10;
/// What may come over TLS without a byte for the reader: the longest record (18,437 bytes), or a
/// handshake with a long chain of certificates. It is all held, so more ends the link.
const SILENT_BYTES: usize = 20 << 10;

/// The socket and its layers.
struct Link {
    stream: Async<TcpStream>,
    layers: RefCell<State>,
    names_clients: bool,
}

#[derive(Default)]
struct State {
    /// Boxed, since a WebSocket without TLS should not pay for its 1.2 KB.
    tls: Option<Box<ServerConnection>>,
    websocket: Option<WebSocket>,
    /// What goes to the socket, where there is no TLS that keeps it.
    outbound: Vec<u8>,
    /// An answer of the WebSocket, until all before it has left.
    answer: Vec<u8>,
    /// Bytes that came over TLS since the handshake, or since the last for the reader.
    silent_bytes: usize,
    is_finished: bool,
}

/// The reading half.
pub(crate) struct Reader {
    link: Rc<Link>,
    held: Held,
    /// Until the layers are opened.
    words: Vec<u8>,
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
        Box::new(session)
    };
    let link = Rc::new(Link {
        stream,
        layers: RefCell::new(State {
            tls: layers.tls.map(session),
            websocket: layers.websocket.map(WebSocket::new),
            ..State::default()
        }),
        names_clients: layers.names_clients,
    });
    let held = Held::new(pool.clone());
    let reader = Reader {
        link: link.clone(),
        held,
        words: layers.words,
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
        let words = std::mem::take(&mut self.words);
        self.link.say_in_the_clear(&words).await?;
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

impl Source for Reader {}

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

    async fn say_in_the_clear(&self, mut words: &[u8]) -> io::Result<()> {
        while !words.is_empty() {
            let write = |mut socket: &TcpStream| socket.write(words);
            let count = self.stream.write_with(write).await?;
            words = &words[count..];
        }
        Ok(())
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
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::WouldBlock
        {
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
        let was_handshaking = tls.is_handshaking();
        let count = tls.read_tls(&mut stream.get_ref())?;
        self.silent_bytes += count;
        if self.silent_bytes > SILENT_BYTES {
            return Err(invalid(format!(
                "more than {SILENT_BYTES} bytes of TLS came without data"
            )));
        }
        if was_handshaking && count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        tls.process_new_packets().map_err(invalid)?;
        let outcome = tls.reader().read(buffer);
        if outcome.is_ok() || was_handshaking && !tls.is_handshaking() {
            self.silent_bytes = 0;
        }
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Takes bytes of the link. Nothing may wait to be sent.
    fn put_payload(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &self.websocket {
            Some(_) => self.put(websocket::header(bytes.len()).as_slice(), bytes),
            None => self.put(&[], bytes),
        }
    }

    fn put(&mut self, header: &[u8], bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            self.outbound.extend_from_slice(header);
            self.outbound.extend_from_slice(bytes);
            return Ok(());
        };
        let count = match header {
            [] => tls.writer().write(bytes)?,
            header => {
                let parts = [IoSlice::new(header), IoSlice::new(bytes)];
                tls.writer().write_vectored(&parts)?
            }
        };
        // There is room for a chunk and an answer; half a frame would be worse than none.
        match count == header.len() + bytes.len() {
            true => Ok(()),
            false => Err(ErrorKind::WriteZero.into()),
        }
    }

    fn say_goodbye(&mut self) -> io::Result<()> {
        if let Some(websocket) = &mut self.websocket {
            let goodbye = websocket.close();
            self.put(&[], &goodbye)?;
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
                    self.put(&[], &answer)?;
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

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::thread::{self, JoinHandle};

    use embedded_io_async::Write as _;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;

    type Client = StreamOwned<ClientConnection, TcpStream>;

    fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let key = KeyPair::generate().expect("ring makes keys");
        let params = CertificateParams::new(["gateway".to_owned()]).expect("a name");
        let certificate: CertificateDer<'static> =
            params.self_signed(&key).expect("signed").der().clone();
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions of ring")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.clone()],
                key.serialize_der().try_into().expect("its own key"),
            );
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a certificate");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of ring")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server.expect("its own key")), Arc::new(client))
    }

    /// A link over TLS, with a client on a thread of its own.
    fn tls_link<T: Send + 'static>(
        client: impl FnOnce(Client) -> T + Send + 'static,
    ) -> ((Reader, Writer), JoinHandle<T>) {
        let (server, config) = configs();
        let layers = Layers {
            tls: Some(server),
            websocket: None,
            names_clients: false,
            words: Vec::new(),
        };
        link_with(layers, move |stream| {
            let name = ServerName::try_from("gateway").expect("a name");
            let session = ClientConnection::new(config, name).expect("a configuration");
            client(StreamOwned::new(session, stream))
        })
    }

    fn link_with<T: Send + 'static>(
        layers: Layers,
        client: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> ((Reader, Writer), JoinHandle<T>) {
        let listener = Async::<TcpListener>::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = listener.expect("loopback has free ports");
        let address = listener.get_ref().local_addr().expect("bound");
        let client =
            thread::spawn(move || client(TcpStream::connect(address).expect("it listens")));
        let (stream, _) = smol::block_on(listener.accept()).expect("a client");
        (link(stream, &ReadBuffer::new(64 << 10), layers), client)
    }

    async fn read(reader: &mut Reader) -> io::Result<Vec<u8>> {
        let bytes = reader.fill_buf().await?.to_vec();
        reader.consume(bytes.len());
        Ok(bytes)
    }

    #[test]
    fn an_end_that_tls_did_not_announce_is_an_error() {
        for is_polite in [true, false] {
            let ((mut reader, writer), client) = tls_link(move |mut client| {
                client.write_all(b"hello").expect("it reads");
                if is_polite {
                    client.conn.send_close_notify();
                    client.flush().expect("it reads");
                }
                let mut socket = client.sock;
                let ended = socket.shutdown(std::net::Shutdown::Write);
                ended.expect("it is open");
                // A socket that is dropped with unread bytes takes back what it sent.
                let _ = socket.read_to_end(&mut Vec::new());
            });
            smol::block_on(async {
                let identity = reader.open(&Turnstile::new(100)).await;
                assert_eq!(identity.expect("a handshake"), None);
                assert_eq!(read(&mut reader).await.expect("a word"), b"hello");
                let end = read(&mut reader).await.map_err(|error| error.kind());
                let expected = if is_polite {
                    Ok(Vec::new())
                } else {
                    Err(ErrorKind::UnexpectedEof)
                };
                assert_eq!(end, expected);
            });
            drop((reader, writer));
            client.join().expect("the client is content");
        }
    }

    #[test]
    fn what_a_dropped_write_took_is_sent_and_nothing_else() {
        let (go, wait) = std::sync::mpsc::channel();
        let ((mut reader, mut writer), client) = tls_link(move |mut client| {
            client.flush().expect("a handshake");
            wait.recv().expect("the other side is ready");
            let mut all = Vec::new();
            client.read_to_end(&mut all).expect("an end");
            all
        });
        let sent: Vec<u8> = (0..64 << 20).map(|at: u32| (at >> 8) as u8).collect();
        let taken = smol::block_on(async {
            reader
                .open(&Turnstile::new(100))
                .await
                .expect("a handshake");
            let mut taken = 0;
            // A client that does not read: sooner or later a write waits, and is dropped.
            while let Some(count) = smol::future::poll_once(writer.write(&sent[taken..])).await {
                taken += count.expect("the client is there");
            }
            go.send(()).expect("the client waits");
            for _ in 0..10 {
                taken += writer
                    .write(&sent[taken..])
                    .await
                    .expect("the client reads");
            }
            writer.flush().await.expect("the client reads");
            writer.finish();
            taken
        });
        let all = client.join().expect("the client is content");
        assert!(all == sent[..taken], "{} bytes of {taken}", all.len());
    }

    #[test]
    fn what_comes_without_data_has_a_limit() {
        let ((mut reader, writer), client) = tls_link(|mut client| {
            // A ClientHello of 60,000 bytes in records of 16,000.
            let mut hello = vec![1, 0, 0xea, 0x60];
            hello.resize(60_004, 0);
            for part in hello.chunks(16_000) {
                let length = u16::try_from(part.len()).expect("short").to_be_bytes();
                let header = [&[22, 3, 1][..], &length].concat();
                let written = client.sock.write_all(&[&header[..], part].concat());
                if written.is_err() {
                    return;
                }
            }
            let _ = client.sock.read(&mut [0]);
        });
        let error = smol::block_on(reader.open(&Turnstile::new(100))).expect_err("refused");
        let expected = "more than 20480 bytes of TLS came without data";
        assert_eq!(error.to_string(), expected);
        drop((reader, writer));
        client.join().expect("the client is content");
    }

    #[test]
    fn a_websocket_that_breaks_off_is_an_error() {
        let layers = Layers {
            tls: None,
            websocket: Some(None),
            names_clients: false,
            words: Vec::new(),
        };
        let ((mut reader, writer), client) = link_with(layers, |mut client| {
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";
            client.write_all(request).expect("it reads");
            let frame = [0x82, 0x82, 0, 0, 0, 0, b'h', b'i', 0x82];
            client.write_all(&frame).expect("it reads");
            client
                .shutdown(std::net::Shutdown::Write)
                .expect("it is open");
            let _ = client.read_to_end(&mut Vec::new());
        });
        smol::block_on(async {
            reader.open(&Turnstile::new(100)).await.expect("an upgrade");
            assert_eq!(read(&mut reader).await.expect("a word"), b"hi");
            let end = read(&mut reader).await.map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::UnexpectedEof));
        });
        drop((reader, writer));
        client.join().expect("the client is content");
    }
}
