//! A serial line as a listener that has one link at a time.
//!
//! A line knows no connect and no disconnect, only bytes, and loses some of them. [`wire::serial`]
//! makes packets of what arrives; here these packets become links, one after the other:
//!
//! ```text
//!          CONNECT                                    connection over, either side
//! Waiting ---------> Linked, read from the CONNECT on -----------------------------> Waiting
//!    | other packet    | CONNECT: the device began anew
//!    +-> End, Waiting  +-> the link fails, and a new one begins with that CONNECT
//!
//! any, the device is gone -> closed: the link fails, opened again with growing pauses -> Waiting
//! ```
//!
//! - A CONNECT in the midst of a link means that the device was restarted: to the gateway the old
//!   connection is lost, so its will is published and its session kept.
//! - The gateway says the end of a link with an empty frame, and answers packets outside of a link
//!   with one: a device learns that its connection is over although no line went down.
//! - A device that says nothing is found by its keep alive, as on every link.
//! - A damaged frame is dropped, counted and nothing else: nobody can tell whose it was. What was
//!   lost at QoS 1 and 2 comes again when the device connects again with its session; within a
//!   connection MQTT sends nothing twice.
//! - The queue of the kernel is kept short, so that a device nobody reads from is noticed, what is
//!   sent is fresh, and closing the line does not hold up the gateway's end.
//! - There is no flow control. While the gateway reads nothing, because its disk is slow, the
//!   kernel keeps 4 KiB and loses the rest, which is damage like any other.
//!
//! It never gives up on a device that is not there, and says so once, not each time.

mod counters;
mod halves;
mod line;
mod tty;

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::rc::Rc;

use smol::channel::{self, Receiver, Sender};

pub(crate) use self::counters::Counters;
pub(crate) use self::halves::{Reader, Writer};
use self::line::Line;

/// Where a line is, and what it takes.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The device; it may come and go.
    pub(crate) path: PathBuf,
    /// Bits a second, as far as the device can.
    pub(crate) baud: u32,
    /// The longest packet that is taken from it, in bytes. A buffer of that size is kept.
    pub(crate) packet_bytes: u32,
}

/// Waits for links on one serial line.
pub(crate) struct Listener {
    /// The line, while no link has it.
    home: (Sender<Line>, Receiver<Line>),
    counters: Rc<Counters>,
}

impl Listener {
    /// Opens the line, or sees to it later: a device may be plugged in after the gateway's start.
    #[must_use]
    pub(crate) fn open(settings: Settings) -> Self {
        let mut line = Line::new(settings);
        line.try_open();
        let listener = Self {
            home: channel::bounded(1),
            counters: line.counters().clone(),
        };
        drop(Lent::new(line, listener.home.0.clone()));
        listener
    }

    /// What has happened on the line so far.
    pub(crate) const fn counters(&self) -> &Rc<Counters> {
        &self.counters
    }

    /// Waits until there is no link and a device begins one. Dropped while it waits, it loses
    /// nothing.
    ///
    /// # Errors
    /// Never: a line that is not there is waited for.
    pub(crate) async fn accept(&self) -> io::Result<(Reader, Writer)> {
        let (home, waiting) = &self.home;
        let line = waiting.recv().await.map_err(io::Error::other)?;
        let mut line = Lent::new(line, home.clone());
        let tty = line.begin_link().await;
        Ok(halves::new(line, tty))
    }
}

/// The line in somebody's hands; it goes home when they drop it.
struct Lent {
    line: Option<Line>,
    home: Sender<Line>,
}

impl Lent {
    const fn new(line: Line, home: Sender<Line>) -> Self {
        Self {
            line: Some(line),
            home,
        }
    }
}

const TAKEN_ON_DROP: &str = "the line is taken only when its borrower is dropped";

impl Deref for Lent {
    type Target = Line;

    fn deref(&self) -> &Line {
        self.line.as_ref().expect(TAKEN_ON_DROP)
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Line {
        self.line.as_mut().expect(TAKEN_ON_DROP)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            // There is one line and room for it; without a listener nobody needs it any more.
            let _ = self.home.try_send(line);
        }
    }
}
