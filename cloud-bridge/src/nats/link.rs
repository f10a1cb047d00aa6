//! The byte stream of the mail's connection: TCP, or TLS over it, and what has arrived.
//!
//! TLS begins when the server has said INFO, as NATS has it, or at once where the server says nothing,
//! as a terminator in front of it has it. What came before it as plain text counts for nothing. An INFO
//! that was longer under way than the silence that tells the two apart is taken all the same: a server
//! that has said it reads our side of TLS next, whenever that was sent.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use embedded_io::ErrorKind;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;

use super::incoming::Incoming;
use crate::failure::Failure;

/// Read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// An empty buffer of up to this size is kept.
const KEPT_BYTES: usize = 64 << 10;

/// The connection, and what has arrived on it.
pub(super) struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    late: Late,
    reply_bytes: usize,
    pub(super) incoming: Incoming,
}

/// An INFO that may still be under way when TLS has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Late {
    /// The first byte that arrives tells.
    Possible,
    /// Its line has begun.
    Begun,
    /// It is there, or TLS was the answer.
    Over,
}

impl Link {
    pub(super) async fn connect(
        addresses: impl Iterator<Item = SocketAddr>,
        reply_bytes: usize,
    ) -> Result<Self, Failure> {
        let mut failure = Failure::new(ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self {
                        stream,
                        tls: None,
                        late: Late::Over,
                        reply_bytes,
                        incoming: Incoming::new(reply_bytes),
                    });
                }
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    /// Begins TLS, and forgets what has arrived before: the server's INFO, or nothing.
    pub(super) fn secure(
        &mut self,
        config: &Arc<ClientConfig>,
        host: &str,
        has_info: bool,
    ) -> Result<(), Failure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            let text = format!("{host} is no name that a certificate can have");
            Failure::new(ErrorKind::InvalidInput, text)
        })?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let connection = connection.map_err(|error| Failure::from(&error))?;
        self.tls = Some(Box::new(connection));
        self.late = match has_info {
            true => Late::Over,
            false => Late::Possible,
        };
        self.incoming = Incoming::new(self.reply_bytes);
        Ok(())
    }

    /// Whether there is something to be written that [`Link::write`] has taken before.
    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; CHUNK_BYTES];
        match self.stream.try_read(&mut chunk) {
            Ok(0) => Err(closed()),
            Ok(length) => self.take(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut bytes = self.take_late(bytes);
        let Some(tls) = &mut self.tls else {
            self.incoming.push(bytes);
            return Ok(());
        };
        while !bytes.is_empty() {
            // Behind the end of TLS nothing is taken any more, however often it is tried.
            if tls.read_tls(&mut bytes)? == 0 {
                return Err(closed());
            }
            let state = tls.process_new_packets();
            let state = state.map_err(|error| Failure::from(&error))?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut plain)?;
            self.incoming.push(&plain);
        }
        Ok(())
    }

    /// Takes what belongs to an INFO in front of TLS, whose records never begin with a letter; gives
    /// the rest.
    fn take_late<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.late == Late::Possible {
            self.late = match bytes.first() {
                Some(b'I') => Late::Begun,
                _ => Late::Over,
            };
        }
        if self.late == Late::Over {
            return bytes;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        self.incoming.push(line);
        if end.is_some() {
            self.late = Late::Over;
        }
        rest
    }

    /// Writes as much as the socket takes.
    pub(super) fn write(&mut self, outbound: &mut Vec<u8>) -> Result<(), Failure> {
        let mut socket = Socket(&self.stream);
        let Some(tls) = &mut self.tls else {
            let written = unless_blocked(socket.write(outbound))?;
            drain(outbound, written);
            return Ok(());
        };
        let taken = tls.writer().write(outbound)?;
        drain(outbound, taken);
        while tls.wants_write() {
            if unless_blocked(tls.write_tls(&mut socket))? == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn closed() -> Failure {
    let text = "the server closed the connection";
    Failure::new(ErrorKind::ConnectionAborted, text)
}

/// The socket as TLS writes to it.
struct Socket<'a>(&'a TcpStream);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes were written; none when the socket takes none.
fn unless_blocked(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

fn drain(outbound: &mut Vec<u8>, written: usize) {
    outbound.drain(..written);
    if outbound.is_empty() && outbound.capacity() > KEPT_BYTES {
        *outbound = Vec::new();
    }
}
