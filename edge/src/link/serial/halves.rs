//! The two halves of a link on a serial line.

use std::cell::Cell;
use std::io::{self, ErrorKind, Write as _};
use std::rc::Rc;

use embedded_io::Write as _;
use wire::serial::Encoder;

use super::super::{Finish, Source};
use super::Lent;
use super::line::{Heard, say_end};
use super::tty::{self, Tty};

/// How the link is doing, for both halves to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    /// Our side ended it and has said so.
    Finished,
    /// The device began anew.
    Superseded,
    /// The device ended it.
    Ended,
}

/// Makes a link that begins with the packet that the line heard last.
pub(super) fn new(line: Lent, tty: Rc<Tty>) -> (Reader, Writer) {
    let standing = Rc::new(Cell::new(Standing::Open));
    let reader = Reader {
        line,
        consumed: 0,
        standing: standing.clone(),
    };
    let writer = Writer {
        tty,
        frames: Encoder::new(Vec::new()),
        sent: 0,
        taken: 0,
        standing,
    };
    (reader, writer)
}

/// The reading half: one packet at a time, straight from the decoder's buffer.
pub(crate) struct Reader {
    line: Lent,
    /// Of the packet that was heard last.
    consumed: usize,
    standing: Rc<Cell<Standing>>,
}

impl embedded_io::ErrorType for Reader {
    type Error = io::Error;
}

impl embedded_io_async::Read for Reader {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use embedded_io_async::BufRead as _;
        let available = self.fill_buf().await?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl Source for Reader {}

impl embedded_io_async::BufRead for Reader {
    /// Ends as soon as our side has ended the link: nothing keeps the line from its next one.
    async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.standing.get() != Standing::Open {
            return Ok(&[]);
        }
        // Of a packet that is being overwritten nothing is left.
        if self.consumed >= self.line.packet().len() {
            let heard = self.line.hear().await?;
            self.consumed = 0;
            match heard {
                Heard::Packet => {}
                Heard::Connect => {
                    self.line.keep_connect();
                    self.standing.set(Standing::Superseded);
                    let message = "the device began anew";
                    return Err(io::Error::new(ErrorKind::ConnectionReset, message));
                }
                Heard::End => {
                    self.standing.set(Standing::Ended);
                    return Ok(&[]);
                }
            }
        }
        Ok(&self.line.packet()[self.consumed..])
    }

    fn consume(&mut self, count: usize) {
        self.consumed = (self.consumed + count).min(self.line.packet().len());
    }
}

/// The writing half: packets in any slices go in, frames go out.
pub(crate) struct Writer {
    tty: Rc<Tty>,
    /// Frames, of which `sent` bytes have left.
    frames: Encoder<Vec<u8>>,
    sent: usize,
    /// Bytes that were put into frames for a write that has not ended.
    taken: usize,
    standing: Rc<Cell<Standing>>,
}

/// The most that is put into frames at once, so that little is held.
const TAKEN_BYTES: usize = 512;
/// The most that is given to the device at once. Devices are ready for more when fewer than 256
/// bytes wait in them, so that 512 is the most that ever do.
const SENT_BYTES: usize = 256;

impl Writer {
    async fn send(&mut self) -> io::Result<()> {
        while let Some(unsent @ [_, ..]) = self.frames.sink().get(self.sent..) {
            let next = &unsent[..unsent.len().min(SENT_BYTES)];
            // Before the write and not only after a refusal: the device would take far more.
            self.tty.writable().await?;
            match self.tty.get_ref().write(next) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        self.frames.sink_mut().clear();
        self.sent = 0;
        Ok(())
    }
}

impl Finish for Writer {
    fn finish(&self) {
        if self.standing.replace(Standing::Finished) != Standing::Superseded {
            say_end(&self.tty);
        }
    }
}

impl Drop for Writer {
    /// A link that was given up, and not finished, takes back what the device has not taken.
    fn drop(&mut self) {
        if self.standing.get() == Standing::Open {
            tty::forget_unsent(&self.tty);
            say_end(&self.tty);
            self.standing.set(Standing::Finished);
        }
    }
}

impl embedded_io::ErrorType for Writer {
    type Error = io::Error;
}

impl embedded_io_async::Write for Writer {
    /// Dropped while it waits, it goes on where it was when it is called again with those bytes.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.taken == 0 {
            self.taken = bytes.len().min(TAKEN_BYTES);
            let Ok(()) = self.frames.write_all(&bytes[..self.taken]);
        }
        self.send().await?;
        Ok(std::mem::take(&mut self.taken))
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
