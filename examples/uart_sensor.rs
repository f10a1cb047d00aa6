//! A microcontroller on a serial line: publishes a temperature at QoS 1 and takes commands.
//!
//! ```sh
//! # Two terminals wired to each other stand for the line; with a real one, name its two ends.
//! socat pty,raw,echo=0,link=/tmp/line-a pty,raw,echo=0,link=/tmp/line-b &
//! printf '[[listener]]\naddress = "serial:/tmp/line-a"\n[[listener]]\naddress = "127.0.0.1:1883"\n' \
//!     > /tmp/line.toml
//! cargo run --release -p robustmq-edge -- run --config /tmp/line.toml &
//! cargo run -p robustmq-edge --example uart_sensor -- /tmp/line-b 115200 boiler &
//! mosquitto_sub -t 'readings/#' -v
//! mosquitto_pub -q 1 -t commands/boiler -m 200    # from now on every 200 ms
//! ```
//!
//! `Sensor` is what the firmware would be: `embedded-io` and `wire`, fixed arrays, and a clock that
//! counts milliseconds. It trusts no single frame: what is not answered in time, and what arrives
//! damaged, makes it connect again with its session, and then either side sends again what the
//! other has not acknowledged. The file's end puts a terminal in the place of the UART.

use std::fmt::Write as _;
use std::num::{NonZeroU16, NonZeroU32};

use embedded_io::{Read, ReadReady, Write};
use wire::EncodeError;
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{
    Acknowledgement, Connect, Packet, Publish, QoS, ReasonCode, Subscribe, Subscription,
    Subscriptions, Version, decode,
};
use wire::serial::{CHECKSUM_BYTES, Damage, Decoder, Encoder, Frame};
use wire::topic::{TopicFilter, TopicName};

/// The largest packet it takes; the gateway is told so and keeps to it.
const PACKET_BYTES: usize = 256;
/// Names and topics have to fit.
const TEXT_BYTES: usize = 64;
const KEEP_ALIVE_SECONDS: u16 = 10;
/// How long the gateway keeps what is meant for the sensor while it is away.
const SESSION_SECONDS: u32 = 3600;

/// One thermometer, its UART, and what it has to say.
pub(crate) struct Sensor<U> {
    uart: Encoder<U>,
    decoder: Decoder<[u8; PACKET_BYTES + CHECKSUM_BYTES]>,
    name: Text,
    readings: Text,
    commands: Text,
    pace: Pace,
    state: State,
    /// When the answer that the state waits for was asked for, or the last packet sent.
    asked_at: Millis,
    measured_at: Millis,
    /// The reading that is not acknowledged yet; empty when there is none.
    reading: Text,
    is_repeated: bool,
    count: u32,
}

/// Milliseconds of a clock that may wrap around.
type Millis = u32;

/// What the sensor takes its time for, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Between two readings.
    pub(crate) period: Millis,
    /// For an answer. Longer than the line takes for the longest packets both ways.
    pub(crate) patience: Millis,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Connecting,
    Subscribing,
    Idle,
    Publishing,
    Pinging,
}

/// What is worth a light on the board.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum News {
    /// It connects, for the first time or again.
    Connecting,
    /// The reading of this number is on the gateway's disk.
    Stored(u32),
    /// The period was changed to so many milliseconds.
    Commanded(u32),
}

/// What a frame means to a sensor.
enum Heard {
    Connected {
        session_present: bool,
    },
    Subscribed,
    Stored,
    Command(Option<NonZeroU16>, Option<u32>),
    Alive,
    /// A frame was damaged, or the gateway has no connection: nothing can be relied on.
    Broken,
}

impl<U: Read + ReadReady + Write> Sensor<U> {
    /// Begins as after a reset: knows nothing, and connects with the first step.
    pub(crate) fn new(uart: U, name: &str, pace: Pace) -> Self {
        Self {
            uart: Encoder::new(uart),
            decoder: Decoder::new([0; PACKET_BYTES + CHECKSUM_BYTES]),
            name: Text::of(format_args!("{name}")),
            readings: Text::of(format_args!("readings/{name}")),
            commands: Text::of(format_args!("commands/{name}")),
            pace,
            state: State::Connecting,
            asked_at: 0_u32.wrapping_sub(pace.patience),
            measured_at: 0,
            reading: Text::default(),
            is_repeated: false,
            count: 0,
        }
    }

    /// Takes what has arrived and does what is due; to be called whenever bytes arrive, and every
    /// few milliseconds.
    pub(crate) fn step(
        &mut self,
        now: Millis,
        mut tell: impl FnMut(News),
    ) -> Result<(), EncodeError<U::Error>> {
        let mut bytes = [0; 32];
        while self
            .uart
            .sink_mut()
            .read_ready()
            .map_err(EncodeError::Sink)?
        {
            let count = self.uart.sink_mut().read(&mut bytes);
            for &byte in &bytes[..count.map_err(EncodeError::Sink)?] {
                if let Some(frame) = self.decoder.push(byte) {
                    let heard = Heard::of(frame);
                    self.hear(now, heard, &mut tell)?;
                }
            }
        }
        let waited = now.wrapping_sub(self.asked_at);
        match self.state {
            State::Idle if self.is_due(now) => self.publish(now),
            State::Idle if waited >= u32::from(KEEP_ALIVE_SECONDS) * 500 => {
                self.ask(now, State::Pinging, &Packet::Pingreq)
            }
            State::Idle => Ok(()),
            _ if waited >= self.pace.patience => self.connect(now, &mut tell),
            _ => Ok(()),
        }
    }

    /// The UART, to wait for its next byte.
    pub(crate) fn uart(&mut self) -> &mut U {
        self.uart.sink_mut()
    }

    fn hear(
        &mut self,
        now: Millis,
        heard: Option<Heard>,
        tell: &mut impl FnMut(News),
    ) -> Result<(), EncodeError<U::Error>> {
        match (self.state, heard) {
            (State::Connecting, Some(Heard::Connected { session_present })) => {
                self.is_repeated &= session_present;
                if !session_present {
                    return self.subscribe(now);
                }
                self.state = State::Idle;
            }
            // Of the connection before.
            (State::Connecting, _) => {}
            (_, Some(Heard::Broken)) => return self.connect(now, tell),
            (State::Subscribing, Some(Heard::Subscribed))
            | (State::Pinging, Some(Heard::Alive)) => self.state = State::Idle,
            (State::Publishing, Some(Heard::Stored)) => {
                tell(News::Stored(self.count));
                self.count += 1;
                self.reading = Text::default();
                self.state = State::Idle;
            }
            (_, Some(Heard::Command(packet_identifier, period))) => {
                if let Some(period) = period {
                    self.pace.period = period;
                    tell(News::Commanded(period));
                }
                if let Some(packet_identifier) = packet_identifier {
                    let answer = Packet::Puback(Acknowledgement::new(packet_identifier));
                    answer.encode(Version::V5, &mut self.uart)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connect(
        &mut self,
        now: Millis,
        tell: &mut impl FnMut(News),
    ) -> Result<(), EncodeError<U::Error>> {
        tell(News::Connecting);
        self.is_repeated = !self.reading.as_str().is_empty();
        let name = self.name;
        let mut bytes = [0; 16];
        let mut properties = PropertyWriter::new(&mut bytes[..], PropertySet::CONNECT);
        let room = NonZeroU32::new(PACKET_BYTES as u32);
        let written = [
            Some(Property::SessionExpiryInterval(SESSION_SECONDS)),
            Some(Property::ReceiveMaximum(NonZeroU16::MIN)),
            room.map(Property::MaximumPacketSize),
        ];
        for property in written.iter().flatten() {
            // Sixteen bytes are enough for these three.
            let _ = properties.write(property);
        }
        let length = properties.finish();
        let properties = Properties::parse(&bytes[..length], PropertySet::CONNECT);
        let connect = Packet::Connect(Connect {
            version: Version::V5,
            clean_start: false,
            keep_alive: KEEP_ALIVE_SECONDS,
            properties: properties.unwrap_or_default(),
            client_identifier: name.as_str(),
            will: None,
            user_name: None,
            password: None,
        });
        self.ask(now, State::Connecting, &connect)
    }

    fn subscribe(&mut self, now: Millis) -> Result<(), EncodeError<U::Error>> {
        let commands = self.commands;
        let mut bytes = [0; TEXT_BYTES + 3];
        let mut rest = &mut bytes[..];
        let Ok(topic_filter) = TopicFilter::new(commands.as_str()) else {
            return Ok(());
        };
        // The filter is at most as long as a text, and two bytes of length and one of options.
        let _ = Subscription::new(topic_filter, QoS::AtLeastOnce).encode(Version::V5, &mut rest);
        let left = rest.len();
        let used = &bytes[..bytes.len() - left];
        let Ok(subscriptions) = Subscriptions::parse(used, Version::V5) else {
            return Ok(());
        };
        let subscribe = Packet::Subscribe(Subscribe {
            packet_identifier: NonZeroU16::MIN,
            properties: Properties::EMPTY,
            subscriptions,
        });
        self.ask(now, State::Subscribing, &subscribe)
    }

    fn is_due(&self, now: Millis) -> bool {
        let is_new = now.wrapping_sub(self.measured_at) >= self.pace.period;
        is_new || !self.reading.as_str().is_empty()
    }

    /// Publishes the reading that was not acknowledged, or else a new one.
    fn publish(&mut self, now: Millis) -> Result<(), EncodeError<U::Error>> {
        if self.reading.as_str().is_empty() {
            let (count, tenths) = (self.count, 200 + self.count % 100);
            self.reading = Text::of(format_args!(
                "{{\"count\":{count},\"celsius\":{}.{}}}",
                tenths / 10,
                tenths % 10
            ));
            self.measured_at = now;
            self.is_repeated = false;
        }
        let (topic, reading) = (self.readings, self.reading);
        let publish = Packet::Publish(Publish {
            dup: self.is_repeated,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicName::new(topic.as_str()).ok(),
            packet_identifier: Some(NonZeroU16::MAX),
            properties: Properties::EMPTY,
            payload: reading.as_str().as_bytes(),
        });
        self.ask(now, State::Publishing, &publish)
    }

    fn ask(
        &mut self,
        now: Millis,
        state: State,
        packet: &Packet<'_>,
    ) -> Result<(), EncodeError<U::Error>> {
        self.state = state;
        self.asked_at = now;
        packet.encode(Version::V5, &mut self.uart).map(drop)
    }
}

impl Heard {
    /// `None` for what a sensor need not understand.
    fn of(frame: Result<Frame<'_>, Damage>) -> Option<Self> {
        let Ok(Frame::Packet(bytes)) = frame else {
            return Some(Self::Broken);
        };
        match decode(bytes, Version::V5, PACKET_BYTES as u32) {
            Ok(Some((Packet::Connack(answer), _))) => {
                let is_success = answer.reason_code == ReasonCode::Success;
                let session_present = answer.session_present;
                is_success.then_some(Self::Connected { session_present })
            }
            Ok(Some((Packet::Suback(_), _))) => Some(Self::Subscribed),
            Ok(Some((Packet::Puback(_), _))) => Some(Self::Stored),
            Ok(Some((Packet::Pingresp, _))) => Some(Self::Alive),
            Ok(Some((Packet::Publish(command), _))) => {
                let text = core::str::from_utf8(command.payload);
                let period = text.ok().and_then(|text| text.trim().parse().ok());
                Some(Self::Command(command.packet_identifier, period))
            }
            Ok(Some(_)) => None,
            Ok(None) | Err(_) => Some(Self::Broken),
        }
    }
}

/// A short text without an allocator; what does not fit is cut off.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; TEXT_BYTES],
    length: usize,
}

impl Text {
    fn of(arguments: std::fmt::Arguments<'_>) -> Self {
        let mut text = Self::default();
        let _ = text.write_fmt(arguments);
        text
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; TEXT_BYTES],
            length: 0,
        }
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = TEXT_BYTES - self.length;
        let fits = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.length..][..fits.len()].copy_from_slice(fits);
        self.length += fits.len();
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(baud)) = (arguments.next(), arguments.next()) else {
        return Err("usage: uart_sensor DEVICE BAUD [NAME]".into());
    };
    let name = arguments.next().unwrap_or_else(|| "uart-sensor".to_owned());
    let pace = Pace {
        period: 1000,
        patience: 2000,
    };
    let mut sensor = Sensor::new(Uart::open(&path, baud.parse()?)?, &name, pace);
    loop {
        sensor.step(Uart::clock(), |news| println!("{news:?}"))?;
        sensor.uart().wait(10)?;
    }
}

/// A terminal in the place of a UART.
pub(crate) struct Uart(std::fs::File);

impl Uart {
    pub(crate) fn open(path: &str, baud: u32) -> std::io::Result<Self> {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        let file = std::fs::File::options().read(true).write(true).open(path)?;
        let mut modes = tcgetattr(&file)?;
        modes.make_raw();
        modes.set_speed(baud)?;
        tcsetattr(&file, OptionalActions::Now, &modes)?;
        Ok(Self(file))
    }

    /// Waits for a byte, but no longer than so many milliseconds.
    pub(crate) fn wait(&self, millis: u32) -> std::io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(millis) * 1_000_000,
        };
        let mut waiting = [PollFd::new(&self.0, PollFlags::IN)];
        Ok(poll(&mut waiting, Some(&timeout))? > 0)
    }

    /// Milliseconds since some moment.
    pub(crate) fn clock() -> Millis {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        since.map_or(0, |since| since.as_millis() as Millis)
    }
}

impl embedded_io::ErrorType for Uart {
    type Error = std::io::Error;
}

impl Read for Uart {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match std::io::Read::read(&mut self.0, buffer)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> std::io::Result<bool> {
        self.wait(0)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut self.0, bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::Write::flush(&mut self.0)
    }
}
