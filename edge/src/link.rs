//! Links: connected byte streams, and where they come from.
//!
//! A link is two halves, `embedded_io_async::BufRead` to read and `embedded_io_async::Write` to
//! write, and the name of its peer. It carries bytes and knows no packet. Dropping a pending read
//! or write loses nothing; [`crate::serve`] relies on it.

pub(crate) mod serial;
pub(crate) mod socket;
pub(crate) mod tcp;
pub(crate) mod unix;

use std::cell::Cell;
use std::rc::Rc;

/// The end of a writing half.
pub(crate) trait Finish {
    /// Says that nothing more will be written, after what was written has been sent. A link that
    /// is dropped without it may take its last bytes back.
    fn finish(&self);
}

/// One read buffer that all links of a thread share, so that an idle link holds none.
///
/// A link takes the buffer while it holds unconsumed bytes and puts it back at once when they are
/// consumed; a second link that reads meanwhile gets a buffer of its own for that time.
#[derive(Clone)]
pub(crate) struct ReadBuffer {
    spare: Rc<Cell<Option<Box<[u8]>>>>,
    length: usize,
}

impl ReadBuffer {
    /// Makes the buffer of a thread. `length` is the most that one read brings, in bytes.
    #[must_use]
    pub(crate) fn new(length: usize) -> Self {
        Self {
            spare: Rc::default(),
            length,
        }
    }

    fn take(&self) -> Box<[u8]> {
        self.spare
            .take()
            .unwrap_or_else(|| vec![0; self.length].into_boxed_slice())
    }

    fn put_back(&self, buffer: Box<[u8]>) {
        self.spare.set(Some(buffer));
    }
}
