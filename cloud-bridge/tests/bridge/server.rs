//! A server without a mind of its own. It decodes what the bridge sends, strictly, and sends the
//! bytes it is given.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use cloud_bridge::{Endpoint, Scheme};
use wire::mqtt::property::Properties;
use wire::mqtt::{Packet, RetainHandling, Version, decode};

use crate::rig::DEADLINE;

/// Waits for connections on a port of its own.
pub(crate) struct Server {
    host: &'static str,
    port: u16,
    streams: Receiver<TcpStream>,
}

impl Server {
    pub(crate) fn bind() -> Self {
        Self::bind_on("127.0.0.1").expect("a free port")
    }

    /// Waits on this address, if the machine has it.
    pub(crate) fn bind_on(host: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind((host, 0))?;
        let port = listener.local_addr().expect("a bound socket").port();
        let (sender, streams) = channel();
        // Ends with the first connection after the test.
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if sender.send(stream).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            host,
            port,
            streams,
        })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            scheme: Scheme::Mqtt,
            host: self.host.to_owned(),
            port: self.port,
        }
    }

    /// Takes the next connection as it is.
    pub(crate) fn accept_stream(&self) -> TcpStream {
        let stream = self.streams.recv_timeout(DEADLINE).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream
    }

    pub(crate) fn accept(&self) -> Peer<TcpStream> {
        Peer::new(self.accept_stream())
    }

    /// Takes the next connection and answers its CONNECT as RobustMQ does.
    pub(crate) fn welcome(&self) -> Peer<TcpStream> {
        self.welcome_with(&connack(0x00, &robustmq_properties()))
    }

    /// Takes the next connection and answers its CONNECT with these bytes.
    pub(crate) fn welcome_with(&self, connack: &[u8]) -> Peer<TcpStream> {
        let mut peer = self.accept();
        let connect = peer.receive();
        assert!(matches!(connect, Received::Connect { .. }), "{connect:?}");
        peer.send(connack);
        peer
    }
}

/// The server's end of one connection.
pub(crate) struct Peer<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// A packet of the bridge, or its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Connect {
        client_identifier: String,
        clean_start: bool,
        keep_alive: u16,
        user_name: Option<String>,
        password: Option<Vec<u8>>,
        session_expiry: Option<u32>,
        receive_maximum: Option<u16>,
        maximum_packet_bytes: Option<u32>,
    },
    Publish(Publish),
    Subscribe {
        packet_identifier: u16,
        filters: Vec<String>,
    },
    Puback(u16),
    Pingreq,
    Disconnect,
    Closed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) packet_identifier: u16,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) expiry: Option<u32>,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<Vec<u8>>,
    pub(crate) user_properties: Vec<(String, String)>,
    pub(crate) packet_bytes: usize,
}

impl<S: Read + Write> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the bridge to read");
        self.stream.flush().expect("the bridge to read");
    }

    /// Sends to a bridge that may be gone.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Receives the next packet, within the deadline.
    pub(crate) fn receive(&mut self) -> Received {
        loop {
            let decoded = decode(&self.buffer, Version::V5, u32::MAX).expect("valid packets");
            if let Some((packet, length)) = decoded {
                let received = own(&packet, length);
                self.buffer.drain(..length);
                return received;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Received::Closed,
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) if is_closed(&error) => return Received::Closed,
                Err(error) => panic!("nothing was received: {error}"),
            }
        }
    }

    /// Reads until the end, whatever comes and however it ends.
    pub(crate) fn receive_anything(&mut self) {
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    pub(crate) fn receive_publish(&mut self) -> Publish {
        match self.receive() {
            Received::Publish(publish) => publish,
            other => panic!("{other:?} instead of a PUBLISH"),
        }
    }
}

/// Closing with unread bytes on either side is a reset.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::UnexpectedEof
    )
}

fn own(packet: &Packet<'_>, packet_bytes: usize) -> Received {
    match packet {
        Packet::Connect(connect) => Received::Connect {
            client_identifier: connect.client_identifier.to_owned(),
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            user_name: connect.user_name.map(str::to_owned),
            password: connect.password.map(<[u8]>::to_vec),
            session_expiry: connect.properties.session_expiry_interval(),
            receive_maximum: connect.properties.receive_maximum().map(u16::from),
            maximum_packet_bytes: connect.properties.maximum_packet_size().map(u32::from),
        },
        Packet::Publish(publish) => Received::Publish(Publish {
            packet_identifier: publish.packet_identifier.map_or(0, u16::from),
            qos: publish.qos.into(),
            retain: publish.retain,
            dup: publish.dup,
            topic: publish.topic.expect("no aliases").as_str().to_owned(),
            payload: publish.payload.to_vec(),
            expiry: publish.properties.message_expiry_interval(),
            content_type: publish.properties.content_type().map(str::to_owned),
            response_topic: publish
                .properties
                .response_topic()
                .map(|topic| topic.as_str().to_owned()),
            correlation_data: publish.properties.correlation_data().map(<[u8]>::to_vec),
            user_properties: pairs(&publish.properties),
            packet_bytes,
        }),
        Packet::Subscribe(subscribe) => {
            assert_eq!(subscribe.properties.subscription_identifiers().count(), 0);
            let filter = |it: wire::mqtt::Subscription<'_>| {
                assert_eq!(it.retain_handling, RetainHandling::DoNotSend);
                assert_eq!(u8::from(it.maximum_qos), 1);
                it.topic_filter.as_str().to_owned()
            };
            Received::Subscribe {
                packet_identifier: subscribe.packet_identifier.into(),
                filters: subscribe.subscriptions.iter().map(filter).collect(),
            }
        }
        Packet::Puback(acknowledgement) => {
            Received::Puback(acknowledgement.packet_identifier.into())
        }
        Packet::Pingreq => Received::Pingreq,
        Packet::Disconnect(_) => Received::Disconnect,
        other => panic!("the bridge never sends {other:?}"),
    }
}

fn pairs(properties: &Properties<'_>) -> Vec<(String, String)> {
    properties
        .user_properties()
        .map(|pair| (pair.name.to_owned(), pair.value.to_owned()))
        .collect()
}

/// Any packet: first byte, length, the parts of its body.
pub(crate) fn packet(first_byte: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    assert!(body.len() < 16_384, "two bytes of length are enough here");
    let mut bytes = vec![first_byte];
    if body.len() < 128 {
        bytes.push(body.len() as u8);
    } else {
        bytes.extend([(body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8]);
    }
    bytes.extend(body);
    bytes
}

pub(crate) fn connack(reason: u8, properties: &[u8]) -> Vec<u8> {
    packet(0x20, &[&[0, reason, properties.len() as u8], properties])
}

/// What RobustMQ's CONNACK carries, a Maximum QoS of 2 included, which MQTT 5 does not know.
pub(crate) fn robustmq_properties() -> Vec<u8> {
    [
        &[0x11, 0, 0, 0, 30][..],
        &receive_maximum(65_535),
        &[0x24, 2],
        &[0x25, 1],
        &maximum_packet_size(10_485_760),
        &[0x22, 0xff, 0xff],
        &[0x28, 1, 0x29, 1, 0x2a, 1],
        &[0x13, 0, 12],
    ]
    .concat()
}

pub(crate) fn receive_maximum(count: u16) -> Vec<u8> {
    [&[0x21][..], &count.to_be_bytes()].concat()
}

pub(crate) fn maximum_packet_size(bytes: u32) -> Vec<u8> {
    [&[0x27][..], &bytes.to_be_bytes()].concat()
}

pub(crate) fn puback(packet_identifier: u16, reason: u8) -> Vec<u8> {
    packet(0x40, &[&packet_identifier.to_be_bytes(), &[reason, 0]])
}

/// A PUBACK as RobustMQ sends it: the offset in a user property, written as Rust's `Debug` does.
pub(crate) fn puback_with_offset(packet_identifier: u16, offset: u64) -> Vec<u8> {
    let value = format!("Some(\"[{offset}]\")");
    let property = [&[0x26][..], &string("offset"), &string(&value)].concat();
    let length = [0x00, property.len() as u8];
    packet(
        0x40,
        &[&packet_identifier.to_be_bytes(), &length, &property],
    )
}

pub(crate) fn suback(packet_identifier: u16, reasons: &[u8]) -> Vec<u8> {
    packet(0x90, &[&packet_identifier.to_be_bytes(), &[0], reasons])
}

/// A PUBLISH of QoS 1 with properties as on the wire, without their length.
pub(crate) fn publish(packet_identifier: u16, topic: &[u8], properties: &[u8]) -> Vec<u8> {
    let topic_bytes = (topic.len() as u16).to_be_bytes();
    let identifier = packet_identifier.to_be_bytes();
    let length = [properties.len() as u8];
    packet(
        0x32,
        &[
            &topic_bytes,
            topic,
            &identifier,
            &length,
            properties,
            b"down",
        ],
    )
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

pub(crate) const PINGRESP: [u8; 2] = [0xd0, 0];
