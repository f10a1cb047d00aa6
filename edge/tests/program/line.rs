//! Serial lines made of pseudoterminals, the boards at their ends, and what happens in between.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::mqttbytes::v4::{ConnAck, Connect, LastWill, Packet, PubAck, Publish, Subscribe};
use rumqttc::mqttbytes::{Error, QoS};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use wire::serial::{Decoder, Encoder, Frame};

use super::support::{PATIENCE, now};

/// One end of a line, held by the test; the other has a path that stays the same when the line is
/// unplugged and plugged in again.
pub(crate) struct Line {
    end: Option<File>,
    folder: tempfile::TempDir,
}

impl Line {
    /// Wires up a line.
    pub(crate) fn new() -> Self {
        let mut line = Self {
            end: None,
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        line.plug_in();
        line
    }

    /// What a gateway needs to listen there.
    pub(crate) fn listener(&self) -> String {
        let path = self.path();
        format!("[[listener]]\naddress = 'serial:{}'\n", path.display())
    }

    /// Where the other end is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("tty")
    }

    /// Takes the device away from whoever has it open.
    pub(crate) fn unplug(&mut self) {
        self.end = None;
        std::fs::remove_file(self.path()).expect("it was plugged in");
    }

    /// Brings a device at the same path.
    pub(crate) fn plug_in(&mut self) {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let end = end.expect("a pseudoterminal");
        grantpt(&end).expect("ours");
        unlockpt(&end).expect("ours");
        let name = ptsname(&end, Vec::new()).expect("it has a name");
        let name = Path::new(name.to_str().expect("ASCII"));
        std::os::unix::fs::symlink(name, self.path()).expect("a writable folder");
        // Set from this end, so that nothing is echoed even before the other has been opened.
        let mut modes = rustix::termios::tcgetattr(&end).expect("a terminal");
        modes.make_raw();
        let when = rustix::termios::OptionalActions::Now;
        rustix::termios::tcsetattr(&end, when, &modes).expect("a terminal");
        self.end = Some(end.into());
    }

    /// The bytes that have arrived, after waiting for a while; none if nobody has the other end
    /// open.
    pub(crate) fn receive(&self, patience: Duration) -> Vec<u8> {
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).expect("short"),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut waiting = [PollFd::new(self.end(), PollFlags::IN)];
        poll(&mut waiting, Some(&timeout)).expect("one can wait for a terminal");
        if !waiting[0].revents().contains(PollFlags::IN) {
            // Where nobody has the other end open there is no waiting.
            std::thread::park_timeout(Duration::from_millis(1));
            return Vec::new();
        }
        let mut bytes = vec![0; 4096];
        let count = self.end().read(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    /// Puts bytes on the line as they are.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.end().write_all(bytes).expect("the line takes them");
    }

    fn end(&self) -> &File {
        self.end.as_ref().expect("it is plugged in")
    }
}

/// A board at the test's end of a line: MQTT 3.1.1 by rumqttc's codec, frames by ours.
pub(crate) struct Board {
    pub(crate) line: Line,
    decoder: Decoder<Vec<u8>>,
    arrived: VecDeque<Option<Packet>>,
}

impl Board {
    /// A board that has said nothing yet.
    pub(crate) fn new(line: Line) -> Self {
        Self {
            line,
            decoder: Decoder::new(vec![0; 1 << 20]),
            arrived: VecDeque::new(),
        }
    }

    /// Connects with a kept session; tells whether there was one.
    pub(crate) fn connect(&mut self, client_identifier: &str, will: Option<LastWill>) -> bool {
        let mut connect = Connect::new(client_identifier);
        connect.clean_session = false;
        connect.last_will = will;
        self.line.send(&frame(|out| connect.write(out)));
        match self.receive() {
            Some(Packet::ConnAck(ConnAck {
                session_present, ..
            })) => session_present,
            other => panic!("{other:?} is no CONNACK"),
        }
    }

    /// Subscribes at QoS 1.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.line.send(&frame(|out| subscribe.write(out)));
        assert!(matches!(self.receive(), Some(Packet::SubAck(_))));
    }

    /// The next packet, or `None` when the gateway says that there is no connection.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        let deadline = now() + PATIENCE;
        loop {
            if let Some(packet) = self.arrived.pop_front() {
                return packet;
            }
            assert!(now() < deadline, "nothing came");
            for byte in self.line.receive(Duration::from_millis(100)) {
                match self.decoder.push(byte) {
                    None => {}
                    Some(Ok(Frame::Packet(packet))) => {
                        let mut bytes = packet.into();
                        let packet = Packet::read(&mut bytes, 1 << 20).expect("a packet");
                        self.arrived.push_back(Some(packet));
                    }
                    Some(Ok(Frame::End)) => self.arrived.push_back(None),
                    Some(Err(damage)) => panic!("{damage}"),
                }
            }
        }
    }

    /// Takes the next message, acknowledges it, and gives its payload.
    pub(crate) fn take(&mut self) -> String {
        match self.receive() {
            Some(Packet::Publish(publish)) => {
                let answer = PubAck::new(publish.pkid);
                self.line.send(&frame(|out| answer.write(out)));
                String::from_utf8_lossy(&publish.payload).into_owned()
            }
            other => panic!("{other:?} is no PUBLISH"),
        }
    }

    /// The packet identifier of the next packet, which has to be a PUBACK.
    pub(crate) fn acknowledged(&mut self) -> u16 {
        match self.receive() {
            Some(Packet::PubAck(answer)) => answer.pkid,
            other => panic!("{other:?} is no PUBACK"),
        }
    }
}

/// The frame of a PUBLISH at QoS 1.
pub(crate) fn publish(topic: &str, packet_identifier: u16, payload: &str) -> Vec<u8> {
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
    publish.pkid = packet_identifier;
    frame(|out| publish.write(out))
}

fn frame(write: impl FnOnce(&mut bytes::BytesMut) -> Result<usize, Error>) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    write(&mut out).expect("a valid packet");
    let mut encoder = Encoder::new(Vec::new());
    embedded_io::Write::write_all(&mut encoder, &out).expect("a vector takes all");
    encoder.sink().clone()
}

/// Carries bytes between two lines, and damages one now and then.
pub(crate) struct Wire {
    is_over: Arc<AtomicBool>,
    carrying: Option<JoinHandle<()>>,
}

impl Wire {
    /// Joins two lines; one byte of `damaged_of` is lost, flipped, or followed by one too many, in
    /// turn.
    pub(crate) fn join(lines: [Line; 2], damaged_of: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        let carrying = std::thread::spawn(move || {
            let mut count = 0;
            while !told.load(Ordering::Relaxed) {
                for (from, to) in [(0, 1), (1, 0)] {
                    let arrived = lines[from].receive(Duration::from_millis(1));
                    lines[to].send(&damage(&arrived, &mut count, damaged_of));
                }
            }
        });
        Self {
            is_over,
            carrying: Some(carrying),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        end(&self.is_over, self.carrying.take());
    }
}

fn damage(arrived: &[u8], count: &mut usize, damaged_of: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for &byte in arrived {
        *count += 1;
        match (*count % damaged_of, *count / damaged_of % 3) {
            (0, 0) => {}
            (0, 1) => sent.push(byte ^ 0x10),
            (0, _) => sent.extend([byte, 0x55]),
            _ => sent.push(byte),
        }
    }
    sent
}

/// Runs something in a thread of its own until it is dropped.
pub(crate) struct Running {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Calls `step` again and again.
    pub(crate) fn start(mut step: impl FnMut() -> std::io::Result<()> + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                match step() {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&self.is_over, self.thread.take());
    }
}

fn end(is_over: &AtomicBool, thread: Option<JoinHandle<()>>) {
    is_over.store(true, Ordering::Relaxed);
    // In a test that has failed it may wait for what never comes, and a second panic would hide the
    // first.
    if !std::thread::panicking() {
        let ended = thread.map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "it went on to the end");
    }
}
