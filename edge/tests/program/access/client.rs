//! A small blocking client: one packet, one answer.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;

use wire::mqtt::property::Properties;
use wire::mqtt::{
    Connect, Packet, Publish, QoS, ReasonCode, Subscribe, Subscription, Subscriptions, Version,
    decode,
};
use wire::topic::{TopicFilter, TopicName};

use crate::support::PATIENCE;

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    inbound: Vec<u8>,
    version: Version,
    /// Messages that came while something else was waited for.
    messages: VecDeque<Message>,
}

/// Topic and payload.
pub(super) type Message = (String, String);

/// What a server says, as far as it matters here.
#[derive(Debug)]
enum Heard {
    Message(Message),
    Answer(ReasonCode),
    End,
}

impl Client {
    /// Connects; the reason when it is refused.
    pub(super) fn connect(
        address: SocketAddr,
        version: Version,
        id: &str,
        user: Option<(&str, &str)>,
    ) -> Result<Self, ReasonCode> {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let mut client = Self {
            stream,
            inbound: Vec::new(),
            version,
            messages: VecDeque::new(),
        };
        client.send(&Packet::Connect(Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_identifier: id,
            will: None,
            user_name: user.map(|user| user.0),
            password: user.map(|user| user.1.as_bytes()),
        }));
        match client.answer() {
            Some(ReasonCode::Success) => Ok(client),
            refused => Err(refused.expect("CONNACK comes before the end")),
        }
    }

    pub(super) fn subscribe(&mut self, filter: &str) {
        let filter = TopicFilter::new(filter).expect("a filter");
        let subscription = Subscription::new(filter, QoS::AtMostOnce);
        let mut list = Vec::new();
        subscription.encode(self.version, &mut list).expect("short");
        self.send(&Packet::Subscribe(Subscribe {
            packet_identifier: NonZeroU16::MIN,
            properties: Properties::EMPTY,
            subscriptions: Subscriptions::parse(&list, self.version).expect("as written"),
        }));
        assert_eq!(self.answer(), Some(ReasonCode::Success));
    }

    /// Publishes at QoS 1; gives the answer's reason, `None` when the connection has ended.
    pub(super) fn publish(&mut self, message: (&str, &str), retain: bool) -> Option<ReasonCode> {
        self.send(&Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain,
            topic: Some(TopicName::new(message.0).expect("a topic")),
            packet_identifier: Some(NonZeroU16::MIN),
            properties: Properties::EMPTY,
            payload: message.1.as_bytes(),
        }));
        self.answer()
    }

    /// Takes messages up to one with this payload, which is left out; all that come when the
    /// connection ends first.
    pub(super) fn take_until(&mut self, payload: &str) -> Vec<Message> {
        let mut taken = Vec::new();
        loop {
            let message = match self.messages.pop_front() {
                Some(message) => message,
                None => match self.hear() {
                    Heard::Message(message) => message,
                    Heard::Answer(reason) => panic!("{reason:?} to nothing"),
                    Heard::End => return taken,
                },
            };
            if message.1 == payload {
                return taken;
            }
            taken.push(message);
        }
    }

    /// Waits until the server ends the connection; messages do not count.
    pub(super) fn expect_end(&mut self) {
        while !matches!(self.hear(), Heard::End) {}
    }

    /// Waits for an answer; `None` at the end.
    fn answer(&mut self) -> Option<ReasonCode> {
        loop {
            match self.hear() {
                Heard::Message(message) => self.messages.push_back(message),
                Heard::Answer(reason) => return Some(reason),
                Heard::End => return None,
            }
        }
    }

    fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.decode() {
                return heard;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Heard::End,
                Ok(count) => self.inbound.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing within {PATIENCE:?}")
                }
                Err(_) => return Heard::End,
            }
        }
    }

    fn decode(&mut self) -> Option<Heard> {
        let decoded = decode(&self.inbound, self.version, u32::MAX).expect("a packet");
        let (packet, bytes) = decoded?;
        let heard = match packet {
            Packet::Publish(publish) => Heard::Message((
                publish.topic.expect("no aliases").as_str().to_owned(),
                String::from_utf8_lossy(publish.payload).into_owned(),
            )),
            Packet::Connack(connack) => Heard::Answer(connack.reason_code),
            Packet::Puback(puback) => Heard::Answer(puback.reason_code),
            Packet::Suback(suback) => {
                Heard::Answer(suback.reason_codes.iter().next().expect("one code"))
            }
            Packet::Disconnect(_) => Heard::End,
            other => panic!("unexpected {other:?}"),
        };
        self.inbound.drain(..bytes);
        Some(heard)
    }

    fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("a vector");
        // Who has ended the connection is noticed when its answer is missing.
        let _ = self.stream.write_all(&bytes);
    }
}
