//! Packets go in, frames come out, block by block.

use embedded_io::{ErrorType, Write};

use super::checksum::Checksum;
use super::splitter::{Passed, Splitter};
use super::{BLOCK_BYTES, DELIMITER, FULL_BLOCK};

/// Puts each packet of the stream that is written to it into a frame, in a sink.
///
/// It finds the packets by their fixed headers, in any slices: [`crate::mqtt::Packet::encode`] may
/// write straight to it, and so may who passes on what others encoded. A frame has been written as
/// soon as its packet has; of an unfinished packet up to 254 bytes are held back.
///
/// When the sink fails, the frame is broken and so is the encoder; begin with a new one, whose
/// first byte ends the broken frame on the other side.
#[derive(Debug)]
pub struct Encoder<W> {
    sink: W,
    splitter: Splitter,
    frame: Option<Begun>,
    /// The code byte and what stands behind it.
    block: [u8; 1 + BLOCK_BYTES],
}

/// A frame of which the delimiter has been written.
#[derive(Clone, Copy, Debug)]
struct Begun {
    checksum: Checksum,
    /// Bytes in the block, without its code.
    filled: usize,
    /// Whether the block before was full, so that an empty one may be left out at the end.
    follows_full: bool,
}

impl<W: Write> Encoder<W> {
    /// Frames packets for a sink.
    pub const fn new(sink: W) -> Self {
        Self {
            sink,
            splitter: Splitter::Start,
            frame: None,
            block: [0; 1 + BLOCK_BYTES],
        }
    }

    /// Says that there is no connection, or no longer; a packet that was begun is given up.
    ///
    /// # Errors
    ///
    /// If the sink fails.
    pub fn end(&mut self) -> Result<(), W::Error> {
        self.splitter = Splitter::Start;
        self.frame = None;
        self.begin()?;
        self.finish()
    }

    /// The sink, with what has been written to it.
    pub const fn sink(&self) -> &W {
        &self.sink
    }

    /// The sink, to take from it what has been written.
    pub const fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    fn begin(&mut self) -> Result<(), W::Error> {
        self.frame = Some(Begun {
            checksum: Checksum::new(),
            filled: 0,
            follows_full: false,
        });
        self.sink.write_all(&[DELIMITER])
    }

    fn finish(&mut self) -> Result<(), W::Error> {
        let Some(frame) = self.frame else {
            return Ok(());
        };
        for byte in frame.checksum.bytes() {
            self.stuff(byte)?;
        }
        if let Some(frame) = self.frame.take()
            && !(frame.follows_full && frame.filled == 0)
        {
            self.write_block(frame.filled)?;
        }
        self.sink.write_all(&[DELIMITER])
    }

    fn add(&mut self, byte: u8) -> Result<(), W::Error> {
        if let Some(frame) = &mut self.frame {
            frame.checksum.add(byte);
        }
        self.stuff(byte)
    }

    #[inline]
    fn stuff(&mut self, byte: u8) -> Result<(), W::Error> {
        let Some(frame) = &mut self.frame else {
            return Ok(());
        };
        let mut filled = frame.filled;
        if byte != DELIMITER {
            filled += 1;
            self.block[filled] = byte;
        }
        let is_full = filled == BLOCK_BYTES;
        if byte != DELIMITER && !is_full {
            frame.filled = filled;
            return Ok(());
        }
        frame.filled = 0;
        frame.follows_full = is_full;
        self.write_block(filled)
    }

    fn write_block(&mut self, filled: usize) -> Result<(), W::Error> {
        self.block[0] = u8::try_from(1 + filled).unwrap_or(FULL_BLOCK);
        self.sink.write_all(&self.block[..=filled])
    }
}

impl<W: ErrorType> ErrorType for Encoder<W> {
    type Error = W::Error;
}

impl<W: Write> Write for Encoder<W> {
    /// Takes all bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, W::Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (count, passed) = self.splitter.pass(rest);
            let (part, later) = rest.split_at(count);
            if self.frame.is_none() {
                self.begin()?;
            }
            for &byte in part {
                self.add(byte)?;
            }
            if passed == Passed::End {
                self.finish()?;
            }
            rest = later;
        }
        Ok(bytes.len())
    }

    /// Flushes the sink; what is held back of an unfinished packet stays.
    fn flush(&mut self) -> Result<(), W::Error> {
        self.sink.flush()
    }
}
