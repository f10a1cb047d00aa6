//! TCP links and their listener.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use smol::Async;

use super::{Finish, Held, ReadBuffer};

/// Accepts TCP links on one address.
pub(crate) struct Listener {
    socket: Async<TcpListener>,
}

impl Listener {
    /// Opens the port.
    ///
    /// # Errors
    /// When the address is taken, not this host's, or needs more rights.
    pub(crate) fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self {
            socket: Async::<TcpListener>::bind(address)?,
        })
    }

    /// Tells the address in use, with the port that was chosen for port 0.
    ///
    /// # Errors
    /// When the socket was closed by the system.
    pub(crate) fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// When the system has no more file descriptors or memory, or the peer has gone already; the
    /// listener stays usable.
    pub(crate) async fn accept(&self) -> std::io::Result<(Async<TcpStream>, SocketAddr)> {
        let (stream, peer) = self.socket.accept().await?;
        // Acknowledgements are small and waited for.
        stream.get_ref().set_nodelay(true)?;
        Ok((stream, peer))
    }
}

/// Makes a connection a link that carries its bytes as they are.
pub(crate) fn link(stream: Async<TcpStream>, pool: &ReadBuffer) -> (Reader, Writer) {
    let stream = Rc::new(stream);
    let held = Held::new(pool.clone());
    let reader = Reader {
        stream: stream.clone(),
        held,
    };
    (reader, Writer { stream })
}

/// The reading half.
pub(crate) struct Reader {
    stream: Rc<Async<TcpStream>>,
    held: Held,
}

impl embedded_io::ErrorType for Reader {
    type Error = std::io::Error;
}

impl embedded_io_async::Read for Reader {
    async fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use embedded_io_async::BufRead as _;
        let available = self.fill_buf().await?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl embedded_io_async::BufRead for Reader {
    /// Tries to read first and waits only if there is nothing: a busy link costs no extra poll.
    async fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.held.is_empty() {
            let mut stream = self.stream.get_ref();
            match self.held.fill(|buffer| stream.read(buffer).map(Some)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll_fn(|context| self.stream.poll_readable(context)).await?
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => outcome?,
            }
        }
        Ok(self.held.as_slice())
    }

    fn consume(&mut self, count: usize) {
        self.held.consume(count);
    }
}

/// The writing half.
pub(crate) struct Writer {
    stream: Rc<Async<TcpStream>>,
}

impl Finish for Writer {
    fn finish(&self) {
        // The peer may have closed already; there is nobody left to tell.
        let _ = self.stream.get_ref().shutdown(std::net::Shutdown::Write);
    }
}

impl embedded_io::ErrorType for Writer {
    type Error = std::io::Error;
}

impl embedded_io_async::Write for Writer {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.get_ref().write(bytes) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll_fn(|context| self.stream.poll_writable(context)).await?
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
