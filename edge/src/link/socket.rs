//! Links on sockets of any family, whose bytes are carried as they are.
//!
//! A link here is a descriptor and nothing else: both halves borrow it, and whoever attends to the
//! sockets says when one is worth another try. So it can be put away while nothing happens on it,
//! and taken out again.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use rustix::net::{self, RecvFlags, SendFlags};
use smol::Async;

use super::{Finish, Held, ReadBuffer, Source};

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

    /// Whether whatever there is to read is told of once, even while nobody waits. Then the first
    /// wait may come before the first try, and after a read that had room for more: what is not
    /// told of is not there.
    fn tells_of_more(&self) -> bool;
}

impl Attendant for Async<OwnedFd> {
    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.readable()
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.writable()
    }

    fn tells_of_more(&self) -> bool {
        false
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
        is_drained: attendant.tells_of_more(),
    };
    (reader, Writer { socket, attendant })
}

/// Reads at most so many bytes, if there are any, and shows them. `None` when there is nothing to
/// read yet.
///
/// # Errors
/// When the link is broken.
pub(crate) fn read_once<T>(
    socket: &OwnedFd,
    pool: &ReadBuffer,
    most: usize,
    show: impl FnOnce(&[u8]) -> T,
) -> io::Result<Option<T>> {
    let mut held = Held::new(pool.clone());
    let receive = |buffer: &mut [u8]| {
        let most = most.min(buffer.len());
        let (count, _) = net::recv(socket, &mut buffer[..most], RecvFlags::empty())?;
        Ok(Some(count))
    };
    while let Err(error) = held.fill(receive) {
        if shall_wait(error)? {
            return Ok(None);
        }
    }
    let bytes = held.as_slice();
    let (shown, count) = (show(bytes), bytes.len());
    held.consume(count);
    Ok(Some(shown))
}

/// Writes as much as there is room for now; tells how many bytes that was.
///
/// # Errors
/// When the link is broken.
pub(crate) fn write_once(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    match net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(count) => Ok(count),
        Err(error) => shall_wait(error.into()).map(|_| 0),
    }
}

/// The reading half.
pub(crate) struct Reader<'a, A> {
    socket: &'a OwnedFd,
    attendant: &'a A,
    held: Held,
    /// There is nothing to read until that is told.
    is_drained: bool,
}

impl<A: Attendant> Reader<'_, A> {
    /// Reads once, into nothing held; true when there is nothing to read yet.
    fn fill(&mut self) -> io::Result<bool> {
        let receive = |buffer: &mut [u8]| {
            let (count, _) = net::recv(self.socket, &mut *buffer, RecvFlags::empty())?;
            self.is_drained = count < buffer.len() && self.attendant.tells_of_more();
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
    /// Tries to read first and waits only if there is nothing: a busy link costs no extra poll. Nor
    /// does it cost a try that is known to find nothing.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and each busy connection has one of these"
    )]
    fn fill_buf(&mut self) -> impl Future<Output = io::Result<&[u8]>> {
        async move {
            while self.held.is_empty() {
                if self.is_drained || self.fill()? {
                    self.attendant.readable().await?;
                    self.is_drained = false;
                }
            }
            Ok(self.held.as_slice())
        }
    }

    fn consume(&mut self, count: usize) {
        self.held.consume(count);
    }
}

impl<A: Attendant> Source for Reader<'_, A> {
    fn is_drained(&self) -> bool {
        self.is_drained && self.held.is_empty()
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::task::Poll;

    use embedded_io_async::BufRead as _;
    use smol::block_on;
    use smol::future::poll_once;

    use super::*;

    /// Tells of what a test says.
    #[derive(Default)]
    struct Teller {
        is_told: Cell<bool>,
        has_ended: Cell<bool>,
    }

    impl Attendant for Teller {
        async fn readable(&self) -> io::Result<()> {
            poll_fn(|_| match self.is_told.take() {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            })
            .await
        }

        async fn writable(&self) -> io::Result<()> {
            Ok(())
        }

        fn tells_of_more(&self) -> bool {
            !self.has_ended.get()
        }
    }

    /// Reads once, if there is no wait.
    fn read(reader: &mut Reader<'_, Teller>) -> Option<Vec<u8>> {
        let bytes = block_on(poll_once(reader.fill_buf()))?
            .expect("the socket works")
            .to_vec();
        reader.consume(bytes.len());
        Some(bytes)
    }

    fn pair() -> (UnixStream, OwnedFd) {
        let (far, near) = UnixStream::pair().expect("the system gives one");
        near.set_nonblocking(true).expect("it can");
        (far, near.into())
    }

    #[test]
    fn one_read_brings_no_more_than_is_asked_for_and_keeps_no_buffer() {
        let (mut far, near) = pair();
        let pool = ReadBuffer::new(4);
        let read = |most| {
            let shown = read_once(&near, &pool, most, <[u8]>::to_vec).expect("the socket works");
            assert!(pool.is_spare(), "it is given back");
            shown
        };
        assert_eq!(read(2), None, "nothing is there");
        far.write_all(b"abcdefg").expect("there is room");
        assert_eq!(read(2).as_deref(), Some(&b"ab"[..]));
        assert_eq!(read(9).as_deref(), Some(&b"cdef"[..]));
        drop(far);
        assert_eq!(read(9).as_deref(), Some(&b"g"[..]));
        assert_eq!(read(9).as_deref(), Some(&b""[..]), "the end");
    }

    #[test]
    fn one_write_takes_what_there_is_room_for_and_says_when_there_is_none() {
        let (mut far, near) = pair();
        let sent: Vec<u8> = (0..4 << 20).map(|at: u32| (at >> 8) as u8).collect();
        let mut count = 0;
        loop {
            match write_once(&near, &sent[count..]).expect("the socket works") {
                0 => break,
                more => count += more,
            }
        }
        assert!(count < sent.len(), "nobody reads");
        let mut found = vec![0; count];
        far.read_exact(&mut found).expect("it was written");
        assert!(found == sent[..count]);
        drop(far);
        write_once(&near, &sent).expect_err("nobody is there");
    }

    #[test]
    fn nothing_is_tried_that_is_known_to_find_nothing() {
        let (mut far, near) = pair();
        let teller = Teller::default();
        let (mut reader, _) = link(&near, &teller, &ReadBuffer::new(4));
        far.write_all(b"first").expect("there is room");
        assert_eq!(read(&mut reader), None, "not told yet");
        teller.is_told.set(true);
        assert_eq!(read(&mut reader).as_deref(), Some(&b"firs"[..]));
        assert_eq!(
            read(&mut reader).as_deref(),
            Some(&b"t"[..]),
            "the buffer was full"
        );
        far.write_all(b"more").expect("there is room");
        assert_eq!(read(&mut reader), None, "not told yet");
        teller.is_told.set(true);
        assert_eq!(read(&mut reader).as_deref(), Some(&b"more"[..]));
        assert_eq!(
            read(&mut reader),
            None,
            "the buffer was full and nothing was left"
        );
    }

    #[test]
    fn the_end_is_found_although_it_is_told_of_once_with_the_last_bytes() {
        let (mut far, near) = pair();
        let teller = Teller::default();
        let (mut reader, _) = link(&near, &teller, &ReadBuffer::new(100));
        far.write_all(b"last").expect("there is room");
        drop(far);
        teller.is_told.set(true);
        teller.has_ended.set(true);
        assert_eq!(read(&mut reader).as_deref(), Some(&b"last"[..]));
        assert_eq!(read(&mut reader).as_deref(), Some(&b""[..]));
    }
}
