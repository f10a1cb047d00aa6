//! A small blocking MQTT 5 client: just what sensors and the cloud's subscriber need.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::time::Duration;

use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{
    Acknowledgement, Connect, Packet, Publish, QoS, ReasonCode, RetainHandling, Subscribe,
    Subscription, Subscriptions, Version, decode,
};
use wire::topic::{TopicFilter, TopicName};

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    inbound: Vec<u8>,
    consumed: usize,
    outbound: Vec<u8>,
}

/// How long an answer may take before the connection counts as dead.
const PATIENCE: Duration = Duration::from_secs(15);
const MAXIMUM_PACKET_BYTES: u32 = 1 << 20;

impl Client {
    /// Connects with a session that is kept for an hour.
    pub(super) fn connect(address: SocketAddr, client_identifier: &str) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            inbound: Vec::new(),
            consumed: 0,
            outbound: Vec::new(),
        };
        let mut properties = Vec::new();
        let mut writer = PropertyWriter::new(&mut properties, PropertySet::CONNECT);
        writer
            .write(&Property::SessionExpiryInterval(3600))
            .map_err(io::Error::other)?;
        client.send(&Packet::Connect(Connect {
            version: Version::V5,
            clean_start: false,
            keep_alive: 30,
            properties: Properties::parse(&properties, PropertySet::CONNECT)
                .map_err(io::Error::other)?,
            client_identifier,
            will: None,
            user_name: None,
            password: None,
        }))?;
        client.flush()?;
        let accepted = client.receive(PATIENCE, |packet| match packet {
            Packet::Connack(connack) => connack.reason_code == ReasonCode::Success,
            _ => false,
        })?;
        if accepted == Some(true) {
            Ok(client)
        } else {
            Err(ErrorKind::ConnectionRefused.into())
        }
    }

    /// Subscribes at QoS 1 and waits for the answer.
    pub(super) fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let subscription = Subscription {
            topic_filter: TopicFilter::new(filter).map_err(io::Error::other)?,
            maximum_qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::DoNotSend,
        };
        let mut list = Vec::new();
        subscription
            .encode(Version::V5, &mut list)
            .map_err(io::Error::other)?;
        self.send(&Packet::Subscribe(Subscribe {
            packet_identifier: NonZeroU16::MIN,
            properties: Properties::EMPTY,
            subscriptions: Subscriptions::parse(&list, Version::V5).map_err(io::Error::other)?,
        }))?;
        self.flush()?;
        let answer = self.receive(PATIENCE, |packet| matches!(packet, Packet::Suback(_)))?;
        if answer == Some(true) {
            Ok(())
        } else {
            Err(ErrorKind::TimedOut.into())
        }
    }

    /// Adds a QoS 1 publish to what [`Client::flush`] sends.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        packet_identifier: NonZeroU16,
        dup: bool,
        payload: &[u8],
    ) -> io::Result<()> {
        self.send(&Packet::Publish(Publish {
            dup,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: Some(TopicName::new(topic).map_err(io::Error::other)?),
            packet_identifier: Some(packet_identifier),
            properties: Properties::EMPTY,
            payload,
        }))
    }

    /// Adds a PUBACK to what [`Client::flush`] sends.
    pub(super) fn acknowledge(&mut self, packet_identifier: NonZeroU16) -> io::Result<()> {
        self.send(&Packet::Puback(Acknowledgement {
            packet_identifier,
            reason_code: ReasonCode::Success,
            properties: Properties::EMPTY,
        }))
    }

    /// Writes everything that was added.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outbound)?;
        self.outbound.clear();
        Ok(())
    }

    /// Gives the next packet to `take`; `None` when none comes within `patience`.
    pub(super) fn receive<T>(
        &mut self,
        patience: Duration,
        take: impl FnOnce(&Packet<'_>) -> T,
    ) -> io::Result<Option<T>> {
        loop {
            let bytes = &self.inbound[self.consumed..];
            if let Some((packet, length)) =
                decode(bytes, Version::V5, MAXIMUM_PACKET_BYTES).map_err(io::Error::other)?
            {
                let taken = take(&packet);
                self.consumed += length;
                return Ok(Some(taken));
            }
            self.inbound.drain(..self.consumed);
            self.consumed = 0;
            self.stream.set_read_timeout(Some(patience))?;
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.inbound.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        packet
            .encode(Version::V5, &mut self.outbound)
            .map_err(io::Error::other)?;
        Ok(())
    }
}
