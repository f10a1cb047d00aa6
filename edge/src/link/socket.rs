//! Links on sockets of any family, whose bytes are carried as they are.
//!
//! A link here is a descriptor and nothing else: both halves borrow it, and whoever attends to the
//! sockets says when one is worth another try. So it can be put away while nothing happens on it,
//! and taken out again.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use rustix::net::{self, RecvFlags, SendFlags};
use smol::Async;

use super::{Finish, Held, ReadBuffer};

/// Who knows when a socket is worth another try. A try that finds nothing comes before each wait,
/// and what happens between the two is not missed.
pub(crate) trait Attendant {
    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// When nobody can know.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Waits until there may be room to write.
    ///
    /// # Errors
    /// When nobody can know.
    fn writable(&self) -> impl Future<Output = io::Result<()>>;
}

impl Attendant for Async<OwnedFd> {
    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.readable()
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.writable()
    }
}

/// Makes a socket that does not block a link.
pub(crate) fn link<'a, A: Attendant>(
    socket: &'a OwnedFd,
    attendant: &'a A,
    pool: &ReadBuffer,
) -> (Reader<'a, A>, Writer<'a, A>) {
    let held = Held::new(pool.clone());
    let reader = Reader {
        socket,
        attendant,
        held,
    };
    (reader, Writer { socket, attendant })
}

/// The reading half.
pub(crate) struct Reader<'a, A> {
    socket: &'a OwnedFd,
    attendant: &'a A,
    held: Held,
}

impl<A> Reader<'_, A> {
    /// Reads once, into nothing held; true when there is nothing to read yet.
    fn fill(&mut self) -> io::Result<bool> {
        let receive = |buffer: &mut [u8]| {
            let (count, _) = net::recv(self.socket, buffer, RecvFlags::empty())?;
            Ok(Some(count))
        };
        match self.held.fill(receive) {
            Ok(()) => Ok(false),
            Err(error) => shall_wait(error),
        }
    }
}

impl<A> embedded_io::ErrorType for Reader<'_, A> {
    type Error = io::Error;
}

impl<A: Attendant> embedded_io_async::Read for Reader<'_, A> {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use embedded_io_async::BufRead as _;
        let available = self.fill_buf().await?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<A: Attendant> embedded_io_async::BufRead for Reader<'_, A> {
    /// Tries to read first and waits only if there is nothing: a busy link costs no extra poll.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and each busy connection has one of these"
    )]
    fn fill_buf(&mut self) -> impl Future<Output = io::Result<&[u8]>> {
        async move {
            while self.held.is_empty() {
                if self.fill()? {
                    self.attendant.readable().await?;
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
pub(crate) struct Writer<'a, A> {
    socket: &'a OwnedFd,
    attendant: &'a A,
}

impl<A> Finish for Writer<'_, A> {
    fn finish(&self) {
        // The peer may have closed already; there is nobody left to tell.
        let _ = net::shutdown(self.socket, net::Shutdown::Write);
    }
}

impl<A> embedded_io::ErrorType for Writer<'_, A> {
    type Error = io::Error;
}

impl<A: Attendant> embedded_io_async::Write for Writer<'_, A> {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and each busy connection has one of these"
    )]
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        async move {
            loop {
                match net::send(self.socket, bytes, SendFlags::NOSIGNAL) {
                    Ok(count) => return Ok(count),
                    Err(error) if shall_wait(error.into())? => self.attendant.writable().await?,
                    Err(_) => {}
                }
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether to try again only when something has happened, and not at once.
fn shall_wait(error: io::Error) -> io::Result<bool> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(true),
        ErrorKind::Interrupted => Ok(false),
        _ => Err(error),
    }
}
