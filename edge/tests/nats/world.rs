//! The harness: a broker and connections of both protocols under one virtual clock, with a disk
//! that answers at once.

use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use edge::broker::{
    self, AccessInput, Broker, ConnectionId, Event, Input, ListenerId, Output, Password, Policy,
    Stored, Verdict,
};
use edge::password::Secret;
use edge::{mqtt, nats};
use sync::{Change, Instant, Lane, Now, Offset, WallTime};
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{
    Connect, Packet, Publish, QoS, Subscribe, Subscription, Subscriptions, Version, decode,
};
use wire::topic::{TopicFilter, TopicName};

/// What a client says who wants everything that can be had.
pub(crate) const HELLO: &str =
    "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}";

/// A client of the test.
pub(crate) type ClientId = usize;

pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) broker: Broker,
    /// Changes that were to be made durable.
    pub(crate) changes: Vec<Change>,
    head: u64,
    /// Passwords whose hash is not computed yet.
    checks: Vec<(ConnectionId, Arc<Secret>, Password)>,
    settings: Rc<nats::Settings>,
    clients: Vec<Client>,
}

struct Client {
    id: ConnectionId,
    connection: Option<Protocol>,
    received: Vec<u8>,
    is_reading: bool,
}

enum Protocol {
    Nats(Box<nats::Connection>),
    Mqtt(Box<mqtt::Connection>),
}

/// A message that an MQTT client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) properties: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(broker::Settings::default(), nats::Settings::default())
    }

    pub(crate) fn with(broker: broker::Settings, nats: nats::Settings) -> Self {
        let now = Now {
            instant: Instant::from_micros(1_000_000),
            wall: WallTime(1_700_000_000_000),
        };
        Self {
            now,
            broker: Broker::new(broker, Stored::default(), now),
            changes: Vec::new(),
            head: 0,
            checks: Vec::new(),
            settings: Rc::new(nats),
            clients: Vec::new(),
        }
    }

    // NATS.

    /// Opens a link without saying anything.
    pub(crate) fn open(&mut self) -> ClientId {
        let (id, connection) = self.connection();
        self.add(id, Protocol::Nats(connection))
    }

    /// Opens a link that is one too many.
    pub(crate) fn open_without_place(&mut self) -> ClientId {
        let (id, mut connection) = self.connection();
        connection.handle_no_place();
        self.add(id, Protocol::Nats(connection))
    }

    fn connection(&self) -> (ConnectionId, Box<nats::Connection>) {
        let (settings, now, id) = (self.settings.clone(), self.now, self.next_id());
        let ends = nats::Ends {
            host: "10.0.0.1".to_owned(),
            port: 4222,
            client_ip: Some("10.0.0.7".to_owned()),
        };
        let connection = nats::Connection::new(id, settings, ListenerId(0), &ends, now);
        (id, Box::new(connection))
    }

    /// Opens a link and introduces a client in its own words.
    pub(crate) fn join_saying(&mut self, hello: &str) -> ClientId {
        let client = self.open();
        self.run();
        self.clients[client].received.clear();
        self.say(client, hello);
        client
    }

    /// The same for one that wants everything, up to the answer to its first ping.
    pub(crate) fn join(&mut self) -> ClientId {
        let client = self.join_saying(HELLO);
        self.say(client, "PING");
        self.expect(client, "PONG\r\n");
        client
    }

    /// Sends lines, each of which gets its end.
    pub(crate) fn say(&mut self, client: ClientId, lines: &str) {
        let lines = lines.replace("\r\n", "\n").replace('\n', "\r\n");
        self.send(client, format!("{lines}\r\n").as_bytes());
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, client: ClientId, bytes: &[u8]) {
        let now = self.now;
        match &mut self.clients[client].connection {
            Some(Protocol::Nats(it)) => it.handle_bytes(now, bytes),
            Some(Protocol::Mqtt(it)) => it.handle_bytes(now, bytes),
            None => {}
        }
        self.run();
    }

    /// Sends a message without headers.
    pub(crate) fn publish(&mut self, client: ClientId, subject: &str, payload: &str) {
        self.say(
            client,
            &format!("PUB {subject} {}\n{payload}", payload.len()),
        );
    }

    /// Expects exactly what was received since the last expectation.
    pub(crate) fn expect(&mut self, client: ClientId, expected: &str) {
        assert_eq!(self.take(client), expected);
    }

    /// Takes what was received since the last expectation.
    pub(crate) fn take(&mut self, client: ClientId) -> String {
        let received = std::mem::take(&mut self.clients[client].received);
        String::from_utf8_lossy(&received).into_owned()
    }

    pub(crate) fn expect_nothing(&mut self, client: ClientId) {
        self.expect(client, "");
    }

    /// Expects last words and the end.
    pub(crate) fn expect_end(&mut self, client: ClientId, expected: &str) {
        self.expect(client, expected);
        assert!(
            self.nats(client).is_closed(),
            "a closed connection is expected"
        );
    }

    pub(crate) fn nats(&self, client: ClientId) -> &nats::Connection {
        match &self.clients[client].connection {
            Some(Protocol::Nats(it)) => it,
            _ => panic!("a NATS client is expected"),
        }
    }

    // MQTT.

    /// Connects a client of MQTT 5.
    pub(crate) fn join_mqtt(&mut self, name: &str) -> ClientId {
        let (settings, id) = (Rc::new(mqtt::Settings::default()), self.next_id());
        let connection = mqtt::Connection::new(id, settings, ListenerId(1), self.now);
        let client = self.add(id, Protocol::Mqtt(Box::new(connection)));
        self.packet(
            client,
            &Packet::Connect(Connect {
                version: Version::V5,
                clean_start: true,
                keep_alive: 0,
                properties: Properties::EMPTY,
                client_identifier: name,
                will: None,
                user_name: None,
                password: None,
            }),
        );
        assert_eq!(self.clients[client].received[0] >> 4, 2);
        self.clients[client].received.clear();
        client
    }

    pub(crate) fn subscribe_mqtt(&mut self, client: ClientId, filter: &str, qos: u8) {
        let mut bytes = Vec::new();
        let wanted = Subscription::new(
            TopicFilter::new(filter).unwrap(),
            QoS::try_from(qos).unwrap(),
        );
        wanted.encode(Version::V5, &mut bytes).unwrap();
        let subscribe = Subscribe {
            packet_identifier: NonZeroU16::new(7).unwrap(),
            properties: Properties::EMPTY,
            subscriptions: Subscriptions::parse(&bytes, Version::V5).unwrap(),
        };
        self.packet(client, &Packet::Subscribe(subscribe));
        assert_eq!(self.clients[client].received, [0x90, 4, 0, 7, 0, qos]);
        self.clients[client].received.clear();
    }

    pub(crate) fn publish_mqtt(
        &mut self,
        client: ClientId,
        (topic, payload): (&str, &str),
        (qos, retain): (u8, bool),
        properties: &[Property<'_>],
    ) {
        let properties = properties_of(properties);
        let publish = Publish {
            dup: false,
            qos: QoS::try_from(qos).unwrap(),
            retain,
            topic: Some(TopicName::new(topic).unwrap()),
            packet_identifier: NonZeroU16::new(if qos > 0 { 9 } else { 0 }),
            properties: Properties::parse(&properties, PropertySet::PUBLISH).unwrap(),
            payload: payload.as_bytes(),
        };
        self.packet(client, &Packet::Publish(publish));
    }

    /// Takes the next message that an MQTT client received.
    pub(crate) fn next_message(&mut self, client: ClientId) -> Option<Received> {
        let received = &mut self.clients[client].received;
        let (packet, bytes) = decode(received, Version::V5, u32::MAX).unwrap()?;
        let Packet::Publish(publish) = packet else {
            panic!("PUBLISH expected, not {packet:?}");
        };
        let message = Received {
            topic: publish.topic.unwrap().as_str().to_owned(),
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.qos.into(),
            properties: publish.properties.as_bytes().to_vec(),
        };
        received.drain(..bytes);
        Some(message)
    }

    fn packet(&mut self, client: ClientId, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).unwrap();
        self.send(client, &bytes);
    }

    // Links and time.

    /// Cuts the link.
    pub(crate) fn cut(&mut self, client: ClientId) {
        match &mut self.clients[client].connection {
            Some(Protocol::Nats(it)) => it.handle_lost(),
            Some(Protocol::Mqtt(it)) => it.handle_lost(),
            None => {}
        }
        self.run();
        self.clients[client].connection = None;
    }

    /// Tells a NATS connection that the server stops.
    pub(crate) fn shut_down(&mut self, client: ClientId) {
        if let Some(Protocol::Nats(it)) = &mut self.clients[client].connection {
            it.handle_shutdown();
        }
        self.run();
    }

    /// Lets a client take no bytes, or take them again.
    pub(crate) fn set_reading(&mut self, client: ClientId, is_reading: bool) {
        self.clients[client].is_reading = is_reading;
        self.run();
    }

    /// Lets time pass, second by second.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now.instant = self.now.instant + Duration::from_secs(1);
            self.now.wall.0 += 1000;
            let now = self.now;
            for client in &mut self.clients {
                if let Some(Protocol::Nats(it)) = &mut client.connection {
                    it.handle_timeout(now);
                }
            }
            self.broker.handle_timeout(now);
            self.run();
        }
    }

    /// Changes who may do what.
    pub(crate) fn rule(&mut self, policy: Policy) {
        let policies = AccessInput::Policies(vec![policy]);
        self.broker.handle(self.now, Input::Access(policies));
        self.run();
    }

    /// Gives the broker a fact that is no client's.
    pub(crate) fn tell_broker(&mut self, input: Input) {
        self.broker.handle(self.now, input);
        self.run();
    }

    /// Computes the hashes that wait.
    pub(crate) fn finish_checks(&mut self) {
        for (connection, secret, password) in std::mem::take(&mut self.checks) {
            let verdict = match secret.matches(password.as_bytes()) {
                true => Verdict::Right,
                false => Verdict::Wrong,
            };
            let verified = AccessInput::Verified {
                connection,
                verdict,
            };
            self.broker.handle(self.now, Input::Access(verified));
            self.run();
        }
    }

    fn next_id(&self) -> ConnectionId {
        ConnectionId {
            index: u32::try_from(self.clients.len()).unwrap(),
            generation: 0,
        }
    }

    fn add(&mut self, id: ConnectionId, protocol: Protocol) -> ClientId {
        self.clients.push(Client {
            id,
            connection: Some(protocol),
            received: Vec::new(),
            is_reading: true,
        });
        self.run();
        self.clients.len() - 1
    }

    /// Gives the broker what connections have to say, one after the other, and clients what they
    /// have to hear.
    fn run(&mut self) {
        for index in 0..self.clients.len() {
            while let Some(input) = self.poll(index) {
                self.broker.handle(self.now, input);
                self.settle();
            }
        }
        self.settle();
        for index in 0..self.clients.len() {
            self.read(index);
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.broker.poll() {
            self.obey(output);
        }
    }

    fn poll(&mut self, index: usize) -> Option<Input> {
        self.clients[index].connection.as_mut()?.poll()
    }

    fn read(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if let Some(connection) = &mut client.connection
            && client.is_reading
        {
            let bytes = match connection {
                Protocol::Nats(it) => it.take_outbound(Vec::new()),
                Protocol::Mqtt(it) => it.take_outbound(Vec::new()),
            };
            client.received.extend(bytes);
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::ToConnection { connection, event } => {
                let client = &mut self.clients[connection.index as usize];
                assert_eq!(client.id, connection);
                if let Some(protocol) = &mut client.connection {
                    protocol.handle_event(self.now, event);
                }
                while let Some(input) = self.poll(connection.index as usize) {
                    self.broker.handle(self.now, input);
                }
            }
            Output::Commit {
                ticket, changes, ..
            } => {
                let mut place = None;
                for change in &changes {
                    if let Change::Append { .. } = change {
                        place = Some((Lane::Normal, Offset(self.head)));
                        self.head += 1;
                    }
                }
                self.changes.extend(changes);
                self.broker
                    .handle(self.now, Input::Committed { ticket, place });
            }
            Output::Verify {
                connection,
                secret,
                password,
            } => self.checks.push((connection, secret, password)),
            other => panic!("no scenario here has {other:?}"),
        }
    }
}

impl Protocol {
    fn poll(&mut self) -> Option<Input> {
        match self {
            Self::Nats(it) => it.poll(),
            Self::Mqtt(it) => it.poll(),
        }
    }

    fn handle_event(&mut self, now: Now, event: Event) {
        match self {
            Self::Nats(it) => it.handle_event(now, event),
            Self::Mqtt(it) => it.handle_event(now, event),
        }
    }
}

pub(crate) fn properties_of(properties: &[Property<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PropertyWriter::new(&mut bytes, PropertySet::PUBLISH);
    properties
        .iter()
        .for_each(|property| writer.write(property).unwrap());
    bytes
}
