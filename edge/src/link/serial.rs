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
//! The device is locked as terminal programs do (`flock`), so that two gateways do not share its
//! bytes. The listener never gives up on a device that is not there, and says so once, not each time.

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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read as _, Write as _};

    use embedded_io_async::{BufRead as _, Write as _};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use smol::Async;
    use smol::future::{block_on, poll_once};
    use wire::serial::{Decoder, Encoder, Frame};

    use super::super::Finish as _;
    use super::*;

    const CONNECT: &[u8] = &[0x10, 2, 0, 0];
    const PINGREQ: &[u8] = &[0xC0, 0];
    const PINGRESP: &[u8] = &[0xD0, 0];

    /// The device's end of a line.
    struct Device {
        end: Async<File>,
        path: PathBuf,
        decoder: Decoder<[u8; 64]>,
    }

    impl Device {
        fn wire_up() -> (Self, Listener) {
            let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
            grantpt(&end).expect("ours");
            unlockpt(&end).expect("ours");
            let name = ptsname(&end, Vec::new()).expect("it has a name");
            let path = PathBuf::from(name.to_str().expect("ASCII"));
            let listener = Listener::open(Settings {
                path: path.clone(),
                baud: 250_000,
                packet_bytes: 64,
            });
            let device = Self {
                end: Async::new(end.into()).expect("one can wait for a terminal"),
                path,
                decoder: Decoder::new([0; 64]),
            };
            (device, listener)
        }

        fn send(&self, bytes: &[u8]) {
            self.end.get_ref().write_all(bytes).expect("a line");
        }

        /// The next packet, empty at the end of the connection.
        async fn hear(&mut self) -> Vec<u8> {
            let mut byte = [0];
            loop {
                match self.end.get_ref().read(&mut byte) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.end.readable().await.expect("a line");
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                }
                match self.decoder.push(byte[0]) {
                    None => {}
                    Some(Ok(Frame::Packet(packet))) => return packet.to_vec(),
                    Some(Ok(Frame::End)) => return Vec::new(),
                    Some(Err(damage)) => panic!("{damage}"),
                }
            }
        }
    }

    fn frame(packet: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        embedded_io::Write::write_all(&mut encoder, packet).expect("a vector");
        encoder.sink().clone()
    }

    async fn begin(device: &Device, listener: &Listener) -> (Reader, Writer) {
        device.send(&frame(CONNECT));
        let (mut reader, writer) = listener.accept().await.expect("never fails");
        assert_eq!(reader.fill_buf().await.expect("it is there"), CONNECT);
        reader.consume(CONNECT.len());
        (reader, writer)
    }

    #[test]
    fn the_device_is_made_raw_at_any_speed_and_has_one_user() {
        let (device, listener) = Device::wire_up();
        let second = tty::open(&device.path, 9600).expect_err("in use");
        assert_eq!(second.kind(), ErrorKind::ResourceBusy);
        drop(listener);
        tty::open(&device.path, 250_000).expect("no longer in use");
        let modes = rustix::termios::tcgetattr(device.end.get_ref()).expect("a terminal");
        assert_eq!(
            (modes.input_speed(), modes.output_speed()),
            (250_000, 250_000)
        );
        let mut raw = modes.clone();
        raw.make_raw();
        assert_eq!(modes.local_modes, raw.local_modes);
        assert_eq!(modes.output_modes, raw.output_modes);
        assert!(
            !modes
                .control_modes
                .contains(rustix::termios::ControlModes::HUPCL)
        );
    }

    #[test]
    fn what_is_no_terminal_is_waited_for() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let listener = Listener::open(Settings {
            path: file.path().to_owned(),
            baud: 9600,
            packet_bytes: 64,
        });
        assert!(block_on(poll_once(listener.accept())).is_none());
    }

    #[test]
    fn packets_pass_both_ways() {
        block_on(async {
            let (mut device, listener) = Device::wire_up();
            let (mut reader, mut writer) = begin(&device, &listener).await;
            writer
                .write_all(&[PINGRESP, PINGRESP].concat())
                .await
                .expect("a line");
            assert_eq!(
                [device.hear().await, device.hear().await],
                [PINGRESP, PINGRESP]
            );
            device.send(&frame(PINGREQ));
            assert_eq!(reader.fill_buf().await.expect("a line"), PINGREQ);
            assert_eq!(listener.counters().frames(), 2);
        });
    }

    #[test]
    fn a_pending_read_that_is_dropped_loses_nothing() {
        block_on(async {
            let (device, listener) = Device::wire_up();
            let (mut reader, _writer) = begin(&device, &listener).await;
            let line = frame(PINGREQ);
            for byte in &line[..line.len() - 1] {
                device.send(&[*byte]);
                assert!(poll_once(reader.fill_buf()).await.is_none());
                assert!(poll_once(reader.fill_buf()).await.is_none());
            }
            device.send(&[0]);
            assert_eq!(reader.fill_buf().await.expect("a line"), PINGREQ);
            reader.consume(1);
            assert_eq!(reader.fill_buf().await.expect("a line"), &PINGREQ[1..]);
        });
    }

    #[test]
    fn a_link_that_ends_says_so_and_leaves_the_line_to_the_next() {
        block_on(async {
            let (mut device, listener) = Device::wire_up();
            for is_finished in [true, false] {
                let (mut reader, writer) = begin(&device, &listener).await;
                // One link at a time.
                assert!(poll_once(listener.accept()).await.is_none());
                if is_finished {
                    writer.finish();
                    assert_eq!(reader.fill_buf().await.expect("its end"), b"");
                }
                drop((reader, writer));
                assert_eq!(device.hear().await, b"");
            }
            // The next link does not begin before a CONNECT.
            device.send(&frame(PINGREQ));
            let answer = async { Some(device.hear().await) };
            let link = async { listener.accept().await.map(|_| None).expect("never fails") };
            assert_eq!(smol::future::or(answer, link).await, Some(Vec::new()));
            assert_eq!(listener.counters().strays(), 1);
            begin(&device, &listener).await;
        });
    }

    #[test]
    fn a_connect_in_the_midst_ends_one_link_and_begins_the_next() {
        block_on(async {
            let (mut device, listener) = Device::wire_up();
            let (mut reader, writer) = begin(&device, &listener).await;
            device.send(&frame(CONNECT));
            let error = reader.fill_buf().await.expect_err("it began anew");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            drop((reader, writer));
            let (mut reader, mut writer) = listener.accept().await.expect("never fails");
            assert_eq!(reader.fill_buf().await.expect("kept"), CONNECT);
            // No word of an end comes between.
            writer.write_all(PINGRESP).await.expect("a line");
            assert_eq!(device.hear().await, PINGRESP);
        });
    }

    #[test]
    fn a_device_may_end_its_connection() {
        block_on(async {
            let (device, listener) = Device::wire_up();
            let (mut reader, _writer) = begin(&device, &listener).await;
            let mut end = Encoder::new(Vec::new());
            end.end().expect("a vector");
            device.send(end.sink());
            assert_eq!(reader.fill_buf().await.expect("the end"), b"");
        });
    }
}
