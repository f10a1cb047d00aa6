//! Links: connected byte streams, and where they come from.
//!
//! A link is two halves, `embedded_io_async::BufRead` to read and `embedded_io_async::Write` to
//! write, and the name of its peer. It carries bytes and knows no MQTT packet. Dropping a pending
//! read or write loses nothing; [`crate::serve`] relies on it. What was written has left only after
//! a flush.

pub(crate) mod layered;
pub(crate) mod serial;
pub(crate) mod socket;
pub(crate) mod sockets;
pub(crate) mod tcp;
pub(crate) mod tls;
mod turnstile;
pub(crate) mod unix;
pub(crate) mod websocket;

use std::cell::Cell;
use std::rc::Rc;

use embedded_io_async::BufRead;

pub(crate) use self::turnstile::Turnstile;

/// A reading half.
pub(crate) trait Source: BufRead {
    /// Whether it is known that a read would have to wait. Whoever reads on need not stand aside for
    /// others first.
    fn is_drained(&self) -> bool {
        false
    }
}

/// The end of a writing half.
pub(crate) trait Finish {
    /// Says that nothing more will be written, after what was flushed has been sent. A link that
    /// is dropped without it may take its last bytes back. What is read afterwards has no meaning.
    fn finish(&self);
}

/// One read buffer that all links of a thread share, so that an idle link holds none.
///
/// A link takes the buffer while it holds unconsumed bytes and puts it back at once when they are
/// consumed; a second link that reads meanwhile gets a buffer of its own for that time.
#[derive(Clone)]
pub(crate) struct ReadBuffer {
    spare: Rc<Spare>,
}

/// Behind one pointer, as each link has it.
struct Spare {
    part: Cell<Option<Box<Part>>>,
    length: usize,
}

impl ReadBuffer {
    /// Makes the buffer of a thread. `length` is the most that one read brings, in bytes.
    #[must_use]
    pub(crate) fn new(length: usize) -> Self {
        let part = Cell::new(None);
        Self {
            spare: Rc::new(Spare { part, length }),
        }
    }

    fn take(&self) -> Box<Part> {
        self.spare.part.take().unwrap_or_else(|| {
            Box::new(Part {
                buffer: vec![0; self.spare.length].into_boxed_slice(),
                from: 0,
                to: 0,
            })
        })
    }

    fn put_back(&self, part: Box<Part>) {
        self.spare.part.set(Some(part));
    }

    /// Whether nobody holds the buffer that was taken first.
    #[cfg(test)]
    fn is_spare(&self) -> bool {
        let part = self.spare.part.take();
        let is_spare = part.is_some();
        self.spare.part.set(part);
        is_spare
    }
}

/// Bytes that were read and not yet consumed, in a buffer taken from the pool.
struct Held {
    pool: ReadBuffer,
    part: Option<Box<Part>>,
}

/// A buffer, and what of it was read and is not yet consumed.
struct Part {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Held {
    const fn new(pool: ReadBuffer) -> Self {
        Self { pool, part: None }
    }

    const fn is_empty(&self) -> bool {
        self.part.is_none()
    }

    /// Holds what `read` puts at the front of a buffer, if it gives a count; 0 is held too, as the
    /// end of the stream.
    fn fill<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<Option<usize>, E>,
    ) -> Result<(), E> {
        debug_assert!(self.is_empty(), "what was held has been consumed");
        let mut part = self.pool.take();
        let outcome = read(&mut part.buffer);
        if let Ok(Some(to)) = outcome {
            (part.from, part.to) = (0, to);
            self.part = Some(part);
        } else {
            self.pool.put_back(part);
        }
        outcome.map(drop)
    }

    fn as_slice(&self) -> &[u8] {
        let part = self.part.as_ref();
        part.map_or(&[], |part| &part.buffer[part.from..part.to])
    }

    fn consume(&mut self, count: usize) {
        if let Some(mut part) = self.part.take() {
            part.from = (part.from + count).min(part.to);
            if part.from == part.to {
                self.pool.put_back(part);
            } else {
                self.part = Some(part);
            }
        }
    }
}
