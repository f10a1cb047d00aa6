//! TCP links and their listener.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use smol::Async;

use super::{Finish, ReadBuffer};

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

    /// Waits for the next link.
    ///
    /// # Errors
    /// When the system has no more file descriptors or memory, or the peer has gone already; the
    /// listener stays usable.
    pub(crate) async fn accept(
        &self,
        buffer: &ReadBuffer,
    ) -> std::io::Result<(Reader, Writer, SocketAddr)> {
        let (stream, peer) = self.socket.accept().await?;
        // Acknowledgements are small and waited for.
        stream.get_ref().set_nodelay(true)?;
        let stream = Rc::new(stream);
        let reader = Reader {
            stream: stream.clone(),
            pool: buffer.clone(),
            held: None,
        };
        Ok((reader, Writer { stream }, peer))
    }
}

/// The reading half: bytes read and not yet consumed, in a buffer taken from the pool.
pub(crate) struct Reader {
    stream: Rc<Async<TcpStream>>,
    pool: ReadBuffer,
    held: Option<Held>,
}

struct Held {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
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
        while self.held.is_none() {
            let mut buffer = self.pool.take();
            match self.stream.get_ref().read(&mut buffer) {
                Ok(to) => {
                    self.held = Some(Held {
                        buffer,
                        from: 0,
                        to,
                    })
                }
                Err(error) => {
                    self.pool.put_back(buffer);
                    match error.kind() {
                        ErrorKind::WouldBlock => self.stream.readable().await?,
                        ErrorKind::Interrupted => {}
                        _ => return Err(error),
                    }
                }
            }
        }
        let held = self
            .held
            .as_ref()
            .expect("the loop ends with bytes or the end of the stream");
        Ok(&held.buffer[held.from..held.to])
    }

    fn consume(&mut self, count: usize) {
        if let Some(mut held) = self.held.take() {
            held.from = (held.from + count).min(held.to);
            if held.from == held.to {
                self.pool.put_back(held.buffer);
            } else {
                self.held = Some(held);
            }
        }
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
                    self.stream.writable().await?
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
