//! Links on sockets of any family: both halves share one socket.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown as Direction, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use smol::Async;

use super::{Finish, Held, ReadBuffer};

/// What ends one direction of a socket.
pub(crate) trait Shutdown {
    /// Ends it, after what was written has been sent.
    ///
    /// # Errors
    /// When the peer has closed already.
    fn shutdown(&self, direction: Direction) -> io::Result<()>;
}

impl Shutdown for TcpStream {
    fn shutdown(&self, direction: Direction) -> io::Result<()> {
        Self::shutdown(self, direction)
    }
}

impl Shutdown for UnixStream {
    fn shutdown(&self, direction: Direction) -> io::Result<()> {
        Self::shutdown(self, direction)
    }
}

/// Makes a connection a link that carries its bytes as they are.
pub(crate) fn link<S>(stream: Async<S>, pool: &ReadBuffer) -> (Reader<S>, Writer<S>) {
    let stream = Rc::new(stream);
    let held = Held::new(pool.clone());
    let reader = Reader {
        stream: stream.clone(),
        held,
    };
    (reader, Writer { stream })
}

/// The reading half.
pub(crate) struct Reader<S> {
    stream: Rc<Async<S>>,
    held: Held,
}

impl<S> Reader<S>
where
    for<'a> &'a S: Read,
{
    /// Reads once, into nothing held; true when there is nothing to read yet.
    fn fill(&mut self) -> io::Result<bool> {
        let mut stream = self.stream.get_ref();
        match self.held.fill(|buffer| stream.read(buffer).map(Some)) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl<S> embedded_io::ErrorType for Reader<S> {
    type Error = io::Error;
}

impl<S> embedded_io_async::Read for Reader<S>
where
    for<'a> &'a S: Read,
{
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use embedded_io_async::BufRead as _;
        let available = self.fill_buf().await?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<S> embedded_io_async::BufRead for Reader<S>
where
    for<'a> &'a S: Read,
{
    /// Tries to read first and waits only if there is nothing: a busy link costs no extra poll.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and each connection has one of these"
    )]
    fn fill_buf(&mut self) -> impl Future<Output = io::Result<&[u8]>> {
        async move {
            while self.held.is_empty() {
                if self.fill()? {
                    poll_fn(|context| self.stream.poll_readable(context)).await?;
                }
            }
            Ok(self.held.as_slice())
        }
    }

    fn consume(&mut self, count: usize) {
        self.held.consume(count);
    }
}

/// The writing half.
pub(crate) struct Writer<S> {
    stream: Rc<Async<S>>,
}

impl<S: Shutdown> Finish for Writer<S> {
    fn finish(&self) {
        // The peer may have closed already; there is nobody left to tell.
        let _ = self.stream.get_ref().shutdown(Direction::Write);
    }
}

impl<S> embedded_io::ErrorType for Writer<S> {
    type Error = io::Error;
}

impl<S> embedded_io_async::Write for Writer<S>
where
    for<'a> &'a S: Write,
{
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and each connection has one of these"
    )]
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        async move {
            loop {
                match self.stream.get_ref().write(bytes) {
                    Ok(count) => return Ok(count),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
                poll_fn(|context| self.stream.poll_writable(context)).await?;
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
