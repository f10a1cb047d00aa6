//! A cloud that plays a part: it records what arrives, answers as the test says, and can die.
//!
//! It speaks MQTT 5 with the project's own codec on threads of the standard library. It stores
//! nothing and decides nothing; a message that it pushed down comes again on the next
//! subscription until it is confirmed, as MQTT wants it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sync::Place;
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter, UserProperty};
use wire::mqtt::{
    Acknowledgement, Connack, Packet, PacketType, Publish, QoS, ReasonCode, ReasonCodes, Suback,
    Version, decode,
};
use wire::topic::TopicName;

use super::support::{PATIENCE, free_port, now};

/// A server on loopback; it ends with its test.
pub(crate) struct Cloud {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// A record that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) lane: String,
    pub(crate) offset: u64,
    pub(crate) topic: String,
    pub(crate) payload: String,
    /// Whether it was answered with success.
    pub(crate) is_accepted: bool,
}

/// What the cloud does about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Acknowledge it.
    Accept,
    /// Acknowledge it with another reason.
    Say(ReasonCode),
    /// Acknowledge it when [`Cloud::answer_held`] is called.
    Hold,
    /// Never answer.
    Ignore,
    /// Cut the connection instead.
    Cut,
}

/// How connections begin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Greeting {
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_bytes: Option<u32>,
    pub(crate) manner: Manner,
}

/// How far the cloud goes with a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// CONNACK, and then service.
    #[default]
    Serve,
    /// CONNACK, and then the end.
    CloseAfterConnack,
    /// Not a word.
    Silent,
}

/// Everything that happened, and everything that is to happen.
pub(crate) struct State {
    pub(crate) arrivals: Vec<Arrival>,
    /// Connections that were accepted, and those of them that sent CONNECT.
    pub(crate) accepted: usize,
    pub(crate) greeted: usize,
    pub(crate) subscribed: usize,
    /// Payloads of pushed messages, in the order in which they were confirmed.
    pub(crate) confirmed: Vec<String>,
    is_running: bool,
    answer: Policy,
    greeting: Greeting,
    connections: BTreeMap<usize, Connection>,
    held: Vec<(usize, Vec<u8>)>,
    downlink: Option<usize>,
    unconfirmed: BTreeMap<u16, Push>,
    next_identifier: u16,
}

type Policy = Box<dyn FnMut(&Arrival) -> Answer + Send>;

struct Connection {
    stream: TcpStream,
    outbound: Vec<u8>,
}

struct Push {
    payload: String,
    packet: Vec<u8>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: Option<Arc<ServerConfig>>,
}

/// How soon a connection notices what others want it to write.
const TURN: Duration = Duration::from_millis(2);

impl Cloud {
    /// Starts on a free port and accepts everything.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// The same, behind TLS.
    pub(crate) fn start_secured(tls: Arc<ServerConfig>) -> Self {
        Self::start_with(Some(tls))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let state = State {
            arrivals: Vec::new(),
            accepted: 0,
            greeted: 0,
            subscribed: 0,
            confirmed: Vec::new(),
            is_running: false,
            answer: Box::new(|_| Answer::Accept),
            greeting: Greeting::default(),
            connections: BTreeMap::new(),
            held: Vec::new(),
            downlink: None,
            unconfirmed: BTreeMap::new(),
            next_identifier: 1,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            tls,
        });
        let listener = TcpListener::bind(free_port()).expect("a port");
        let mut cloud = Self {
            address: listener.local_addr().expect("bound"),
            shared,
            acceptor: None,
        };
        cloud.listen(listener);
        cloud
    }

    /// Cuts every connection and takes no new one.
    pub(crate) fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.state().is_running = false;
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        acceptor.join().expect("it ends");
        self.cut();
    }

    /// Listens again, on the same port.
    pub(crate) fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).expect("its own port");
        self.listen(listener);
    }

    /// Decides what becomes of each record from now on.
    pub(crate) fn answer(&self, answer: impl FnMut(&Arrival) -> Answer + Send + 'static) {
        self.state().answer = Box::new(answer);
    }

    /// Decides how connections begin from now on.
    pub(crate) fn greet(&self, greeting: Greeting) {
        self.state().greeting = greeting;
    }

    /// Gives the answers that were held, in their order.
    pub(crate) fn answer_held(&self) {
        let mut state = self.state();
        for (number, packet) in std::mem::take(&mut state.held) {
            state.send(number, &packet);
        }
    }

    /// Sends a message down, now or with the next subscription, until it is confirmed.
    pub(crate) fn push(&self, topic: &str, payload: &str, properties: &[(&str, &str)]) {
        let mut state = self.state();
        let identifier = state.next_identifier;
        state.next_identifier += 1;
        let packet = publish(identifier, topic, payload, properties);
        if let Some(number) = state.downlink {
            state.send(number, &packet);
        }
        let payload = payload.to_owned();
        let push = Push { payload, packet };
        state.unconfirmed.insert(identifier, push);
    }

    /// Forgets what was pushed and not confirmed.
    pub(crate) fn forget_unconfirmed(&self) {
        self.state().unconfirmed.clear();
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        for connection in self.state().connections.values() {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits until what happened is as it should be.
    pub(crate) fn wait_until(&self, what: &str, is_true: impl Fn(&State) -> bool) {
        let deadline = now() + PATIENCE;
        let mut state = self.state();
        while !is_true(&state) {
            let left = deadline.saturating_duration_since(now());
            assert!(
                !left.is_zero(),
                "not in time: {what}; {} arrivals, {} connections",
                state.arrivals.len(),
                state.greeted
            );
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.expect("no panic holds it").0;
        }
    }

    /// What happened so far.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn listen(&mut self, listener: TcpListener) {
        self.state().is_running = true;
        let shared = self.shared.clone();
        self.acceptor = Some(std::thread::spawn(move || accept(&shared, &listener)));
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

impl State {
    /// The records of a topic that were taken, each once, in the order of their first arrival.
    pub(crate) fn taken(&self, topic: &str) -> Vec<String> {
        let mut seen = std::collections::BTreeSet::new();
        let of_topic = |arrival: &&Arrival| arrival.is_accepted && arrival.topic == topic;
        let mut taken: Vec<&Arrival> = self.arrivals.iter().filter(of_topic).collect();
        taken.retain(|arrival| seen.insert((&arrival.lane, arrival.offset)));
        taken
            .iter()
            .map(|arrival| arrival.payload.clone())
            .collect()
    }

    /// How often a record with this payload arrived.
    pub(crate) fn count_of(&self, payload: &str) -> usize {
        let same = |arrival: &&Arrival| arrival.payload == payload;
        self.arrivals.iter().filter(same).count()
    }

    fn send(&mut self, number: usize, packet: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.outbound.extend_from_slice(packet);
        }
    }

    /// Answers one packet. False when the connection is to end.
    fn obey(&mut self, number: usize, packet: &Packet<'_>) -> bool {
        match packet {
            Packet::Connect(_) => {
                let greeting = self.greeting;
                self.greeted += 1;
                if greeting.manner != Manner::Silent {
                    self.send(number, &connack(greeting));
                }
                greeting.manner != Manner::CloseAfterConnack
            }
            Packet::Publish(publish) => self.take(number, publish),
            Packet::Subscribe(subscribe) => {
                self.subscribed += 1;
                self.downlink = Some(number);
                let codes = vec![1; subscribe.subscriptions.iter().count()];
                self.send(number, &suback(subscribe.packet_identifier, &codes));
                let again: Vec<u8> = self
                    .unconfirmed
                    .values()
                    .flat_map(|push| push.packet.clone())
                    .collect();
                self.send(number, &again);
                true
            }
            Packet::Puback(acknowledgement) => {
                let identifier = acknowledgement.packet_identifier.get();
                let push = self.unconfirmed.remove(&identifier);
                self.confirmed.extend(push.map(|push| push.payload));
                true
            }
            Packet::Pingreq => {
                self.send(number, &encode(&Packet::Pingresp));
                true
            }
            Packet::Disconnect(_) => false,
            other => panic!("a gateway never sends {other:?}"),
        }
    }

    fn take(&mut self, number: usize, publish: &Publish<'_>) -> bool {
        let pairs = publish.properties.user_properties();
        let place = Place::from_properties(pairs.map(|pair| (pair.name, pair.value)))
            .expect("a place that can be read")
            .expect("every record has its place");
        let mut arrival = Arrival {
            lane: place.lane.name().to_owned(),
            offset: place.offset.0,
            topic: publish.topic.expect("no aliases").as_str().to_owned(),
            payload: String::from_utf8_lossy(publish.payload).into_owned(),
            is_accepted: false,
        };
        let identifier = publish.packet_identifier.expect("QoS 1");
        let answer = (self.answer)(&arrival);
        arrival.is_accepted = matches!(answer, Answer::Accept | Answer::Hold);
        self.arrivals.push(arrival);
        match answer {
            Answer::Accept => self.send(number, &puback(identifier, ReasonCode::Success)),
            Answer::Say(reason) => self.send(number, &puback(identifier, reason)),
            Answer::Hold => {
                let packet = puback(identifier, ReasonCode::Success);
                self.held.push((number, packet));
            }
            Answer::Ignore => {}
            Answer::Cut => return false,
        }
        true
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        let mut state = shared.state();
        if !state.is_running {
            return;
        }
        let number = state.accepted;
        state.accepted += 1;
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(TURN)).expect("a socket");
        let connection = Connection {
            stream: stream.try_clone().expect("a socket"),
            outbound: Vec::new(),
        };
        state.connections.insert(number, connection);
        drop(state);
        let shared = shared.clone();
        std::thread::spawn(move || {
            match shared.tls.clone() {
                None => serve(&shared, number, stream),
                Some(tls) => {
                    let session = ServerConnection::new(tls).expect("a valid configuration");
                    let socket = stream.try_clone().expect("a socket");
                    serve(&shared, number, StreamOwned::new(session, stream));
                    leave(socket);
                }
            }
            let connection = shared.state().connections.remove(&number);
            if let Some(connection) = connection {
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
            shared.changed.notify_all();
        });
    }
}

/// Serves one connection to its end, from either side.
fn serve(shared: &Shared, number: usize, mut link: impl Read + Write) {
    let mut inbound = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match link.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => inbound.extend_from_slice(&chunk[..count]),
            Err(error) if is_pause(error.kind()) => {}
            Err(_) => return,
        }
        let mut state = shared.state();
        let mut at = 0;
        let mut is_over = false;
        while let Some((packet, length)) =
            decode(&inbound[at..], Version::V5, u32::MAX).expect("valid packets")
        {
            at += length;
            if !state.obey(number, &packet) {
                is_over = true;
                break;
            }
        }
        inbound.drain(..at);
        let connection = state.connections.get_mut(&number);
        let connection = connection.expect("its own thread removes it");
        let outbound = std::mem::take(&mut connection.outbound);
        drop(state);
        if at > 0 {
            shared.changed.notify_all();
        }
        // A flush with nothing to say would wait for the rest of a handshake, as long as a turn.
        let is_cut =
            !outbound.is_empty() && (link.write_all(&outbound).is_err() || link.flush().is_err());
        if is_cut || is_over {
            return;
        }
    }
}

/// Lets the other side read the last word, an alert perhaps: closing over what it still writes would
/// reset the connection, and whoever writes then hears of nothing else.
fn leave(mut socket: TcpStream) {
    let _ = socket.shutdown(Shutdown::Write);
    let mut rest = [0; 1024];
    loop {
        match socket.read(&mut rest) {
            Ok(1..) => {}
            Err(error) if is_pause(error.kind()) => {}
            _ => return,
        }
    }
}

const fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet
        .encode(Version::V5, &mut bytes)
        .expect("a valid packet");
    bytes
}

fn connack(greeting: Greeting) -> Vec<u8> {
    let mut list = Vec::new();
    let mut writer = PropertyWriter::new(&mut list, PropertySet::CONNACK);
    let receive_maximum = greeting.receive_maximum.and_then(NonZeroU16::new);
    let maximum_packet_bytes = greeting.maximum_packet_bytes.and_then(NonZeroU32::new);
    let properties = [
        receive_maximum.map(Property::ReceiveMaximum),
        maximum_packet_bytes.map(Property::MaximumPacketSize),
    ];
    for property in properties.iter().flatten() {
        writer.write(property).expect("allowed in a CONNACK");
    }
    encode(&Packet::Connack(Connack {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: Properties::parse(&list, PropertySet::CONNACK).expect("just written"),
    }))
}

fn puback(packet_identifier: NonZeroU16, reason: ReasonCode) -> Vec<u8> {
    let acknowledgement = Acknowledgement::with_reason(packet_identifier, reason);
    encode(&Packet::Puback(acknowledgement))
}

fn suback(packet_identifier: NonZeroU16, codes: &[u8]) -> Vec<u8> {
    encode(&Packet::Suback(Suback {
        packet_identifier,
        properties: Properties::EMPTY,
        reason_codes: ReasonCodes::parse(codes, PacketType::Suback).expect("granted"),
    }))
}

fn publish(identifier: u16, topic: &str, payload: &str, properties: &[(&str, &str)]) -> Vec<u8> {
    let mut list = Vec::new();
    let mut writer = PropertyWriter::new(&mut list, PropertySet::PUBLISH);
    for (name, value) in properties {
        let pair = Property::UserProperty(UserProperty { name, value });
        writer.write(&pair).expect("allowed in a PUBLISH");
    }
    encode(&Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: Some(TopicName::new(topic).expect("a topic name")),
        packet_identifier: NonZeroU16::new(identifier),
        properties: Properties::parse(&list, PropertySet::PUBLISH).expect("just written"),
        payload: payload.as_bytes(),
    }))
}
