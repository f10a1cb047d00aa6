//! The line itself: opened, lost and opened again, and the frames that arrive on it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::rc::Rc;
use std::time::Duration;

use smol::Timer;
use tracing::{info, warn};
use wire::serial::{CHECKSUM_BYTES, Decoder, Encoder, Frame};

use super::tty::{self, Tty};
use super::{Counters, Settings};

/// A serial line with its buffers, in the hands of the listener or of the link's reading half.
pub(super) struct Line {
    settings: Settings,
    tty: Option<Rc<Tty>>,
    arrived: Arrived,
    decoder: Decoder<Box<[u8]>>,
    /// Whether the decoder holds the CONNECT that begins the next link.
    is_beginning: bool,
    pause: Duration,
    said: Said,
    counters: Rc<Counters>,
}

/// Bytes that were read and not yet looked at.
struct Arrived {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A CONNECT; [`Line::packet`] has it.
    Connect,
    /// Another packet; [`Line::packet`] has it.
    Packet,
    /// The device has no connection.
    End,
}

/// What the operator was told of the device since it last worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Lost,
    /// That it is there again; if it goes again before a frame came, that is no news.
    Back,
}

/// The most that one read brings.
const READ_BYTES: usize = 1 << 10;
/// Between two tries to open a device that is not there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Line {
    pub(super) fn new(settings: Settings) -> Self {
        let packet_bytes = usize::try_from(settings.packet_bytes).unwrap_or(usize::MAX);
        let buffer = vec![0; packet_bytes.saturating_add(CHECKSUM_BYTES)];
        let counters = Rc::new(Counters::new(&settings.path));
        Self {
            settings,
            tty: None,
            arrived: Arrived {
                buffer: vec![0; READ_BYTES].into_boxed_slice(),
                from: 0,
                to: 0,
            },
            decoder: Decoder::new(buffer.into_boxed_slice()),
            is_beginning: false,
            pause: FIRST_PAUSE,
            said: Said::Nothing,
            counters,
        }
    }

    pub(super) const fn counters(&self) -> &Rc<Counters> {
        &self.counters
    }

    /// The packet that was heard last.
    pub(super) fn packet(&self) -> &[u8] {
        self.decoder.packet()
    }

    /// Keeps the CONNECT that was heard last for the link that begins with it.
    pub(super) const fn keep_connect(&mut self) {
        self.is_beginning = true;
    }

    /// Opens the device if it is not open.
    pub(super) fn try_open(&mut self) -> Option<Rc<Tty>> {
        if self.tty.is_none() {
            match tty::open(&self.settings.path, self.settings.baud) {
                Ok(tty) => self.found(tty),
                Err(error) => self.lose(&error),
            }
        }
        self.tty.clone()
    }

    /// Waits for the CONNECT that begins a link; gives the device to write to.
    pub(super) async fn begin_link(&mut self) -> Rc<Tty> {
        loop {
            let Some(tty) = self.try_open() else {
                Timer::after(self.pause).await;
                self.pause = (2 * self.pause).min(LONGEST_PAUSE);
                continue;
            };
            if std::mem::take(&mut self.is_beginning) {
                return tty;
            }
            // An error has closed the device, and the next turn opens it.
            match self.hear().await {
                Ok(Heard::Connect) => self.is_beginning = true,
                Ok(Heard::Packet) => {
                    self.counters.count_stray();
                    say_end(&tty);
                }
                Ok(Heard::End) | Err(_) => {}
            }
        }
    }

    /// Waits for the next undamaged frame. Dropped while it waits, it loses nothing.
    ///
    /// # Errors
    /// When the device is gone; it is closed then.
    pub(super) async fn hear(&mut self) -> io::Result<Heard> {
        loop {
            while let Some(byte) = self.arrived.next() {
                let heard = match self.decoder.push(byte) {
                    None => continue,
                    Some(Ok(frame)) if frame.is_connect() => Heard::Connect,
                    Some(Ok(Frame::Packet(_))) => Heard::Packet,
                    Some(Ok(Frame::End)) => Heard::End,
                    Some(Err(damage)) => {
                        self.counters.count_damage(damage);
                        continue;
                    }
                };
                self.counters.count_frame();
                self.pause = FIRST_PAUSE;
                self.said = Said::Nothing;
                return Ok(heard);
            }
            let Some(tty) = self.tty.clone() else {
                return Err(ErrorKind::NotConnected.into());
            };
            if let Err(error) = self.arrived.fill(&tty).await {
                self.lose(&error);
                return Err(error);
            }
        }
    }

    fn found(&mut self, tty: Tty) {
        if self.said == Said::Lost {
            info!("{} is open again", self.counters.name());
            self.said = Said::Back;
        }
        self.tty = Some(Rc::new(tty));
        // What came before belongs to no frame that could still be whole.
        self.arrived.to = self.arrived.from;
        self.is_beginning = false;
        let _ = self.decoder.push(0);
    }

    fn lose(&mut self, error: &io::Error) {
        if self.said == Said::Nothing {
            let name = self.counters.name();
            warn!("{name} can't be used, it is opened again when it is there: {error}");
            self.said = Said::Lost;
        }
        self.tty = None;
    }
}

impl Arrived {
    fn next(&mut self) -> Option<u8> {
        let byte = self.buffer[..self.to].get(self.from)?;
        self.from += 1;
        Some(*byte)
    }

    async fn fill(&mut self, tty: &Tty) -> io::Result<()> {
        loop {
            match tty.get_ref().read(&mut self.buffer) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it was hung up")),
                Ok(to) => {
                    (self.from, self.to) = (0, to);
                    // Noise without end, faster than it can be looked at, is not for us alone.
                    smol::future::yield_now().await;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => tty.readable().await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Tells the device that it has no connection, as well as can be: what it does not hear, it will
/// be told again when it next sends a packet.
pub(super) fn say_end(tty: &Tty) {
    let mut frame = Encoder::new(Vec::new());
    let Ok(()) = frame.end();
    let _ = tty.get_ref().write(frame.sink());
}
