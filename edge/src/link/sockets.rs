//! The sockets of a thread's links, watched by the kernel and by nobody else: a link on which
//! nothing happens takes no memory of ours to wait.
//!
//! Each socket is told of once for each thing that happens on it, from its first watch to its end,
//! which is when its descriptor is closed. Whoever is told has to try until nothing is left.

use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use smol::Async;

/// Sockets by their tokens.
pub(crate) struct Sockets {
    epoll: Async<OwnedFd>,
}

/// What may be worth a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) token: u64,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// Nothing comes after what is there to be read, and its end is told of only this once.
    pub(crate) has_ended: bool,
}

/// Room for some news, to be used again.
pub(crate) struct Paper(Vec<Event>);

/// How much is asked for at a time.
const NEWS_COUNT: usize = 128;
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

impl Sockets {
    /// Starts without sockets.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Async::new_nonblocking(epoll::create(CreateFlags::CLOEXEC)?)?;
        Ok(Self { epoll })
    }

    /// Watches a socket until it is closed.
    ///
    /// # Errors
    /// When the system watches as many as it may.
    pub(crate) fn watch(&self, socket: &OwnedFd, token: u64) -> io::Result<()> {
        let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(token),
            all,
        )?)
    }

    /// Takes some of what has happened, without waiting.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn poll<'p>(
        &self,
        paper: &'p mut Paper,
    ) -> io::Result<impl ExactSizeIterator<Item = News> + 'p> {
        paper.0.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut paper.0), Some(&AT_ONCE))?;
        Ok(paper.0.iter().map(|event| {
            let flags = event.flags;
            let is_broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            let has_ended = is_broken || flags.contains(EventFlags::RDHUP);
            News {
                token: event.data.u64(),
                is_readable: has_ended || flags.contains(EventFlags::IN),
                is_writable: is_broken || flags.contains(EventFlags::OUT),
                has_ended,
            }
        }))
    }

    /// Waits until something has happened.
    ///
    /// # Errors
    /// When the system can't say.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        self.epoll.readable().await
    }
}

impl Default for Paper {
    fn default() -> Self {
        Self(Vec::with_capacity(NEWS_COUNT))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn news(sockets: &Sockets) -> Vec<News> {
        let mut paper = Paper::default();
        sockets.poll(&mut paper).unwrap().collect()
    }

    #[test]
    fn each_thing_that_happens_is_told_once() {
        let sockets = Sockets::new().unwrap();
        let (mut far, near) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = OwnedFd::from(near);
        sockets.watch(&near, 7).unwrap();
        let writable = News {
            token: 7,
            is_readable: false,
            is_writable: true,
            has_ended: false,
        };
        let readable = News {
            is_readable: true,
            ..writable
        };
        assert_eq!(news(&sockets), [writable]);
        assert_eq!(news(&sockets), []);
        far.write_all(b"first").unwrap();
        smol::block_on(sockets.wait()).unwrap();
        assert_eq!(news(&sockets), [readable]);
        // Unread, and yet not told again until more comes.
        assert_eq!(news(&sockets), []);
        far.write_all(b"second").unwrap();
        assert_eq!(news(&sockets), [readable]);
        let mut near = UnixStream::from(near);
        assert_eq!(near.read(&mut [0; 20]).unwrap(), 11);
        drop(far);
        let ended = News {
            has_ended: true,
            ..readable
        };
        assert_eq!(news(&sockets), [ended]);
        drop(near);
        assert_eq!(news(&sockets), []);
    }
}
