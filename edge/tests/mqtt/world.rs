//! The harness: a broker, connections and a log in memory, under one virtual clock. Commits and
//! reads are answered at once, or held back until the test says so; a crash keeps the log and the
//! tables and nothing else.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use edge::broker::{
    AccessInput, Broker, ConnectionId, Input, ListenerId, LogInput, Outcome, Output, Password,
    Policy, ReaderId, Refusal, Settings, Stored, Ticket, Urgency, Verdict,
};
use edge::memory::OutboundLimits;
use edge::mqtt::{self, Connection};
use edge::password::Secret;
use sync::{
    Change, Epoch, Instant, Lane, Now, Offset, PerLane, Record, SteadyTime, Table, TimeStamp,
    WallTime,
};
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{
    Acknowledgement, Connack, Connect, Disconnect, Packet, Publish, QoS, ReasonCode, Subscribe,
    Subscription, Subscriptions, TopicFilters, Unsubscribe, Version, Will, decode, packet_bytes,
};
use wire::topic::{TopicFilter, TopicName};

pub(crate) use wire::mqtt::Version::{V5, V311};

/// Everything that a crash leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) lanes: [Vec<Record>; 3],
    pub(crate) first: PerLane<Offset>,
    pub(crate) tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

/// How commits end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    Succeed,
    Fail,
    Wait,
}

type Fetch = (ReaderId, Lane, Offset, usize);

pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) broker: Broker,
    pub(crate) disk: Disk,
    pub(crate) commits: Commits,
    pub(crate) holds_fetches: bool,
    pub(crate) waiting: VecDeque<(Ticket, Vec<Change>, Urgency)>,
    pub(crate) fetches: VecDeque<Fetch>,
    pub(crate) fetch_count: usize,
    pub(crate) commit_count: usize,
    /// Passwords whose hash is not computed yet.
    pub(crate) checks: VecDeque<(ConnectionId, Arc<Secret>, Password)>,
    pub(crate) holds_checks: bool,
    pub(crate) check_count: usize,
    /// How messages from the cloud ended.
    pub(crate) from_cloud: Vec<(u64, Outcome)>,
    pub(crate) reported: Vec<Outcome>,
    broker_settings: Settings,
    mqtt_settings: Rc<mqtt::Settings>,
    clients: Vec<Client>,
}

struct Client {
    id: ConnectionId,
    version: Version,
    connection: Option<Connection>,
    received: Vec<u8>,
    /// Whether it takes bytes off its connection.
    is_reading: bool,
}

/// A client of the test.
pub(crate) type ClientId = usize;

/// A message that a client received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) packet_identifier: u16,
    pub(crate) properties: Vec<u8>,
}

pub(crate) fn message(topic: &str, payload: &str, qos: u8) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.into(),
        qos,
        ..Message::default()
    }
}

impl Message {
    pub(crate) fn id(mut self, packet_identifier: u16) -> Self {
        self.packet_identifier = packet_identifier;
        self
    }

    pub(crate) fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn again(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn with(mut self, properties: &[Property<'_>]) -> Self {
        self.properties = properties_of(PropertySet::PUBLISH, properties);
        self
    }
}

/// What CONNECT says.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) version: Version,
    pub(crate) id: Cow<'static, str>,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) will: Option<Testament>,
    pub(crate) user: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Testament {
    pub(crate) topic: &'static str,
    pub(crate) payload: &'static str,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<u8>,
}

pub(crate) fn hello(version: Version, id: impl Into<Cow<'static, str>>) -> Hello {
    Hello {
        version,
        id: id.into(),
        clean: true,
        keep_alive: 0,
        properties: Vec::new(),
        will: None,
        user: None,
    }
}

impl Hello {
    /// A session that outlives its connection.
    pub(crate) fn durable(self) -> Self {
        let is_new = self.version == V5;
        let hello = Self {
            clean: false,
            ..self
        };
        if is_new {
            hello.with(&[Property::SessionExpiryInterval(3600)])
        } else {
            hello
        }
    }

    pub(crate) fn clean(mut self) -> Self {
        self.clean = true;
        self
    }

    pub(crate) fn with(mut self, properties: &[Property<'_>]) -> Self {
        self.properties
            .extend(properties_of(PropertySet::CONNECT, properties));
        self
    }

    pub(crate) fn window(self, receive_maximum: u16) -> Self {
        self.with(&[Property::ReceiveMaximum(
            NonZeroU16::new(receive_maximum).unwrap(),
        )])
    }

    pub(crate) fn will(mut self, topic: &'static str, delay: u32) -> Self {
        let properties = match (self.version, delay) {
            (V5, 1..) => properties_of(PropertySet::WILL, &[Property::WillDelayInterval(delay)]),
            _ => Vec::new(),
        };
        let (qos, retain) = (QoS::AtLeastOnce, false);
        self.will = Some(Testament {
            topic,
            payload: "gone",
            qos,
            retain,
            properties,
        });
        self
    }

    pub(crate) fn user(mut self, name: &'static str, password: &'static str) -> Self {
        self.user = Some((name, password));
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }
}

pub(crate) fn properties_of(allowed: PropertySet, properties: &[Property<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PropertyWriter::new(&mut bytes, allowed);
    properties
        .iter()
        .for_each(|property| writer.write(property).unwrap());
    bytes
}

pub(crate) fn encode(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), mqtt::Settings::default())
    }

    /// As the gateway does it: what the broker hands over counts against the limits of connections.
    pub(crate) fn with(broker: Settings, mqtt: mqtt::Settings) -> Self {
        let broker = Settings {
            memory: mqtt.memory.clone(),
            outbound: OutboundLimits {
                own: mqtt.outbound_bytes_maximum,
                total: mqtt.outbound_total_bytes_maximum,
            },
            ..broker
        };
        let now = Now {
            instant: Instant::from_micros(1_000_000),
            wall: WallTime(1_700_000_000_000),
        };
        Self {
            now,
            broker: Broker::new(broker.clone(), Stored::default(), now),
            disk: Disk::default(),
            commits: Commits::Succeed,
            holds_fetches: false,
            waiting: VecDeque::new(),
            fetches: VecDeque::new(),
            fetch_count: 0,
            commit_count: 0,
            checks: VecDeque::new(),
            holds_checks: false,
            check_count: 0,
            from_cloud: Vec::new(),
            reported: Vec::new(),
            broker_settings: broker,
            mqtt_settings: Rc::new(mqtt),
            clients: Vec::new(),
        }
    }

    // Clients.

    /// Opens a link without saying anything.
    pub(crate) fn open(&mut self, version: Version) -> ClientId {
        let index = u32::try_from(self.clients.len()).unwrap();
        let id = ConnectionId {
            index,
            generation: index,
        };
        let connection = Connection::new(
            id,
            self.mqtt_settings.clone(),
            ListenerId::default(),
            self.now,
        );
        self.clients.push(Client {
            id,
            version,
            connection: Some(connection),
            received: Vec::new(),
            is_reading: true,
        });
        self.clients.len() - 1
    }

    /// Opens a link and sends CONNECT.
    pub(crate) fn say_hello(&mut self, hello: &Hello) -> ClientId {
        let client = self.open(hello.version);
        self.introduce(client, hello);
        client
    }

    /// Notes who a certificate says the client is.
    pub(crate) fn identify(&mut self, client: ClientId, name: &str) {
        let connection = self.clients[client].connection.as_mut().unwrap();
        connection.handle_identity(name.into());
    }

    /// Sends CONNECT on an open link.
    pub(crate) fn introduce(&mut self, client: ClientId, hello: &Hello) {
        let will = hello.will.as_ref().map(|will| Will {
            qos: will.qos,
            retain: will.retain,
            properties: Properties::parse(&will.properties, PropertySet::WILL).unwrap(),
            topic: TopicName::new(will.topic).unwrap(),
            payload: will.payload.as_bytes(),
        });
        let connect = Connect {
            version: hello.version,
            clean_start: hello.clean,
            keep_alive: hello.keep_alive,
            properties: Properties::parse(&hello.properties, PropertySet::CONNECT).unwrap(),
            client_identifier: &hello.id,
            will,
            user_name: hello.user.map(|user| user.0),
            password: hello.user.map(|user| user.1.as_bytes()),
        };
        self.send(client, &Packet::Connect(connect));
    }

    /// Connects and expects success; says whether a session was present.
    pub(crate) fn connect(&mut self, hello: &Hello) -> (ClientId, bool) {
        let client = self.say_hello(hello);
        let bytes = self.next_packet(client).expect("CONNACK");
        match decode(&bytes, hello.version, u32::MAX).unwrap() {
            Some((Packet::Connack(connack), _)) => {
                assert_eq!(connack.reason_code, ReasonCode::Success);
                (client, connack.session_present)
            }
            other => panic!("CONNACK expected, not {other:?}"),
        }
    }

    /// Connects a session that is new.
    pub(crate) fn join(&mut self, hello: &Hello) -> ClientId {
        let (client, is_present) = self.connect(hello);
        assert!(!is_present, "a new session is expected");
        client
    }

    /// Connects a session that is there.
    pub(crate) fn rejoin(&mut self, hello: &Hello) -> ClientId {
        let (client, is_present) = self.connect(hello);
        assert!(is_present, "a present session is expected");
        client
    }

    pub(crate) fn send(&mut self, client: ClientId, packet: &Packet<'_>) {
        let bytes = encode(self.clients[client].version, packet);
        self.send_bytes(client, &bytes);
    }

    pub(crate) fn send_bytes(&mut self, client: ClientId, bytes: &[u8]) {
        let now = self.now;
        if let Some(connection) = &mut self.clients[client].connection {
            connection.handle_bytes(now, bytes);
        }
        self.run();
    }

    /// Cuts the link.
    pub(crate) fn cut(&mut self, client: ClientId) {
        if let Some(connection) = &mut self.clients[client].connection {
            connection.handle_lost();
        }
        self.run();
        self.clients[client].connection = None;
    }

    /// Tells a connection that the server stops.
    pub(crate) fn shut_down(&mut self, client: ClientId) {
        if let Some(connection) = &mut self.clients[client].connection {
            connection.handle_shutdown();
        }
        self.run();
    }

    pub(crate) fn disconnect(&mut self, client: ClientId) {
        self.send(
            client,
            &Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
        );
        self.expect_closed(client);
    }

    pub(crate) fn subscribe(&mut self, client: ClientId, filter: &str, qos: u8) {
        let options = Subscription::new(TopicFilter::new(filter).unwrap(), qos_of(qos));
        self.subscribe_with(client, &[options], &[]);
        let granted = ReasonCode::granted(qos_of(qos));
        assert_eq!(self.next_suback(client), [granted]);
    }

    /// Subscribes when messages may come before the SUBACK, which is taken away.
    pub(crate) fn subscribe_quietly(&mut self, client: ClientId, filter: &str, qos: u8) {
        let before = self.clients[client].received.len();
        let options = Subscription::new(TopicFilter::new(filter).unwrap(), qos_of(qos));
        self.subscribe_with(client, &[options], &[]);
        let suback = self.clients[client].received.split_off(before);
        assert_eq!(suback[0] >> 4, 9);
    }

    pub(crate) fn subscribe_with(
        &mut self,
        client: ClientId,
        filters: &[Subscription<'_>],
        properties: &[Property<'_>],
    ) {
        let version = self.clients[client].version;
        let mut bytes = Vec::new();
        filters
            .iter()
            .for_each(|filter| filter.encode(version, &mut bytes).unwrap());
        let properties = properties_of(PropertySet::SUBSCRIBE, properties);
        let subscribe = Subscribe {
            packet_identifier: NonZeroU16::new(77).unwrap(),
            properties: Properties::parse(&properties, PropertySet::SUBSCRIBE).unwrap(),
            subscriptions: Subscriptions::parse(&bytes, version).unwrap(),
        };
        self.send(client, &Packet::Subscribe(subscribe));
    }

    pub(crate) fn unsubscribe(&mut self, client: ClientId, filter: &str) {
        let length = u16::try_from(filter.len()).unwrap();
        let bytes = [&length.to_be_bytes(), filter.as_bytes()].concat();
        self.send(
            client,
            &Packet::Unsubscribe(Unsubscribe {
                packet_identifier: NonZeroU16::new(78).unwrap(),
                properties: Properties::EMPTY,
                topic_filters: TopicFilters::parse(&bytes).unwrap(),
            }),
        );
    }

    pub(crate) fn publish(&mut self, client: ClientId, message: &Message) {
        let version = self.clients[client].version;
        let publish = Publish {
            dup: message.dup,
            qos: qos_of(message.qos),
            retain: message.retain,
            topic: (!message.topic.is_empty()).then(|| TopicName::new(&message.topic).unwrap()),
            packet_identifier: NonZeroU16::new(message.packet_identifier),
            properties: match version {
                V5 => Properties::parse(&message.properties, PropertySet::PUBLISH).unwrap(),
                _ => Properties::EMPTY,
            },
            payload: message.payload.as_bytes(),
        };
        self.send(client, &Packet::Publish(publish));
    }

    pub(crate) fn puback(&mut self, client: ClientId, packet_identifier: u16) {
        self.send(client, &Packet::Puback(step(packet_identifier)));
    }

    pub(crate) fn pubrec(&mut self, client: ClientId, packet_identifier: u16) {
        self.send(client, &Packet::Pubrec(step(packet_identifier)));
    }

    pub(crate) fn pubrel(&mut self, client: ClientId, packet_identifier: u16) {
        self.send(client, &Packet::Pubrel(step(packet_identifier)));
    }

    pub(crate) fn pubcomp(&mut self, client: ClientId, packet_identifier: u16) {
        self.send(client, &Packet::Pubcomp(step(packet_identifier)));
    }

    /// Lets a client take no bytes, or take them again.
    pub(crate) fn set_reading(&mut self, client: ClientId, is_reading: bool) {
        self.clients[client].is_reading = is_reading;
        self.run();
    }

    // Expectations.

    /// Takes the next packet that a client received.
    pub(crate) fn next_packet(&mut self, client: ClientId) -> Option<Vec<u8>> {
        let received = &mut self.clients[client].received;
        let length = packet_bytes(received, u32::MAX).unwrap()?;
        assert!(received.len() >= length, "a whole packet is sent");
        Some(received.drain(..length).collect())
    }

    /// Expects exactly a packet. Where it has no properties, the words of a reason string are not
    /// looked at.
    pub(crate) fn expect(&mut self, client: ClientId, packet: &Packet<'_>) {
        let version = self.clients[client].version;
        let found = self
            .next_packet(client)
            .unwrap_or_else(|| panic!("nothing, not {packet:?}"));
        let decoded = decode(&found, version, u32::MAX).unwrap().unwrap().0;
        let plain = without_words(decoded);
        if plain == *packet {
            assert_eq!(found, encode(version, &decoded));
        } else {
            assert_eq!(decoded, *packet);
            assert_eq!(found, encode(version, packet));
        }
    }

    /// Takes the next packet and gives its reason string.
    pub(crate) fn next_words(&mut self, client: ClientId) -> Option<String> {
        let bytes = self.next_packet(client).expect("a packet");
        let mut packet = decode(&bytes, V5, u32::MAX).unwrap().unwrap().0;
        let words = properties_in(&mut packet)?.reason_string();
        words.map(str::to_owned)
    }

    pub(crate) fn expect_bytes(&mut self, client: ClientId, bytes: &[u8]) {
        assert_eq!(self.next_packet(client).as_deref(), Some(bytes));
    }

    /// Takes the next packet, which is a CONNACK, and looks at it.
    pub(crate) fn look_at_connack<T>(
        &mut self,
        client: ClientId,
        look: impl FnOnce(&Connack<'_>) -> T,
    ) -> T {
        let bytes = self.next_packet(client).expect("CONNACK");
        match decode(&bytes, self.clients[client].version, u32::MAX).unwrap() {
            Some((Packet::Connack(connack), _)) => look(&connack),
            other => panic!("CONNACK expected, not {other:?}"),
        }
    }

    pub(crate) fn expect_nothing(&mut self, client: ClientId) {
        if let Some(bytes) = self.next_packet(client) {
            let version = self.clients[client].version;
            panic!("unexpected {:?}", decode(&bytes, version, u32::MAX));
        }
    }

    pub(crate) fn expect_puback(&mut self, client: ClientId, packet_identifier: u16) {
        self.expect(client, &Packet::Puback(step(packet_identifier)));
    }

    pub(crate) fn expect_pubrec(&mut self, client: ClientId, packet_identifier: u16) {
        self.expect(client, &Packet::Pubrec(step(packet_identifier)));
    }

    pub(crate) fn expect_pubrel(&mut self, client: ClientId, packet_identifier: u16) {
        self.expect(client, &Packet::Pubrel(step(packet_identifier)));
    }

    pub(crate) fn expect_pubcomp(&mut self, client: ClientId, packet_identifier: u16) {
        self.expect(client, &Packet::Pubcomp(step(packet_identifier)));
    }

    pub(crate) fn expect_publish(&mut self, client: ClientId, expected: &Message) {
        assert_eq!(self.next_message(client).as_ref(), Some(expected));
    }

    /// Takes the next packet, which is a PUBLISH if there is one.
    pub(crate) fn next_message(&mut self, client: ClientId) -> Option<Message> {
        let bytes = self.next_packet(client)?;
        let version = self.clients[client].version;
        match decode(&bytes, version, u32::MAX).unwrap() {
            Some((Packet::Publish(publish), _)) => Some(Message {
                topic: publish.topic.map_or("", TopicName::as_str).into(),
                payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                qos: publish.qos.into(),
                retain: publish.retain,
                dup: publish.dup,
                packet_identifier: publish.packet_identifier.map_or(0, NonZeroU16::get),
                properties: publish.properties.as_bytes().to_vec(),
            }),
            other => panic!("PUBLISH expected, not {other:?}"),
        }
    }

    pub(crate) fn next_suback(&mut self, client: ClientId) -> Vec<ReasonCode> {
        let bytes = self.next_packet(client).expect("SUBACK");
        match decode(&bytes, self.clients[client].version, u32::MAX).unwrap() {
            Some((Packet::Suback(suback), _)) => suback.reason_codes.iter().collect(),
            other => panic!("SUBACK expected, not {other:?}"),
        }
    }

    pub(crate) fn next_unsuback(&mut self, client: ClientId) -> Vec<ReasonCode> {
        let bytes = self.next_packet(client).expect("UNSUBACK");
        match decode(&bytes, self.clients[client].version, u32::MAX).unwrap() {
            Some((Packet::Unsuback(unsuback), _)) => unsuback.reason_codes.iter().collect(),
            other => panic!("UNSUBACK expected, not {other:?}"),
        }
    }

    /// Expects DISCONNECT with a reason where there is one, and the end.
    pub(crate) fn expect_disconnect(&mut self, client: ClientId, reason_code: ReasonCode) {
        if self.clients[client].version == V5 {
            self.expect(client, &Packet::Disconnect(Disconnect::new(reason_code)));
        }
        self.expect_closed(client);
    }

    pub(crate) fn expect_closed(&mut self, client: ClientId) {
        self.expect_nothing(client);
        assert!(self.is_closed(client), "a closed connection is expected");
    }

    pub(crate) fn is_closed(&self, client: ClientId) -> bool {
        self.clients[client]
            .connection
            .as_ref()
            .is_none_or(Connection::is_closed)
    }

    pub(crate) fn connection(&self, client: ClientId) -> &Connection {
        self.clients[client].connection.as_ref().unwrap()
    }

    /// Bytes that wait for a client, in its connection and unread.
    pub(crate) fn connection_bytes(&self, client: ClientId) -> usize {
        self.clients[client]
            .connection
            .as_ref()
            .map_or(0, Connection::outbound_bytes)
    }

    /// Changes who may do what.
    pub(crate) fn rule(&mut self, policy: Policy) {
        self.broker
            .handle(self.now, Input::Access(AccessInput::Policies(vec![policy])));
        self.run();
    }

    /// Computes the hashes that wait.
    pub(crate) fn finish_checks(&mut self) {
        while let Some(check) = self.checks.pop_front() {
            self.answer_check(&check);
            self.run();
        }
    }

    // Time, log, crashes.

    /// Lets time pass, doing what is due on the way.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.pass_milliseconds(1000);
        }
    }

    /// Lets some time pass at once, and does what is due then.
    pub(crate) fn pass_milliseconds(&mut self, count: u64) {
        self.now.instant = self.now.instant + Duration::from_millis(count);
        self.now.wall.0 += count;
        let now = self.now;
        if self
            .broker
            .poll_timeout()
            .is_some_and(|due| due <= now.instant)
        {
            self.broker.handle_timeout(now);
        }
        for client in &mut self.clients {
            if let Some(connection) = &mut client.connection
                && connection
                    .poll_timeout()
                    .is_some_and(|due| due <= now.instant)
            {
                connection.handle_timeout(now);
            }
        }
        self.run();
    }

    /// Cuts the power, and starts again with another time on the device's clock, as the driver does
    /// with a log that remembers both.
    pub(crate) fn crash_and_set_clock(&mut self, from: WallTime, to: WallTime) {
        let remembered = TimeStamp {
            steady: self.now.wall,
            device: from,
        };
        self.now.instant = Instant::default();
        self.now.wall = SteadyTime::resume(Some(remembered), to).at(self.now.instant);
        self.crash(0);
    }

    /// Ends commits that wait, oldest first.
    pub(crate) fn finish_commits(&mut self, count: usize) {
        for _ in 0..count.min(self.waiting.len()) {
            self.finish_commit();
            self.run();
        }
    }

    /// Cuts the power after some of the waiting commits became durable. Links are cut.
    pub(crate) fn crash(&mut self, durable_count: usize) {
        for _ in 0..durable_count {
            if let Some((_, changes, _)) = self.waiting.pop_front() {
                self.apply(changes);
            }
        }
        self.waiting.clear();
        self.fetches.clear();
        self.clients
            .iter_mut()
            .for_each(|client| client.connection = None);
        self.broker = Broker::new(self.broker_settings.clone(), self.stored(), self.now);
        self.run();
    }

    /// Lets records below an offset go.
    pub(crate) fn trim(&mut self, lane: Lane, first: u64) {
        self.disk.first[lane] = Offset(first);
        self.broker.handle(
            self.now,
            Input::Log(LogInput::Trimmed {
                lane,
                first: Offset(first),
            }),
        );
        self.run();
    }

    pub(crate) fn table(&self, table: Table) -> usize {
        self.disk.tables.get(&table).map_or(0, BTreeMap::len)
    }

    pub(crate) fn record(&self, lane: Lane, offset: usize) -> &Record {
        &self.disk.lanes[lane as usize][offset]
    }

    pub(crate) fn log_len(&self, lane: Lane) -> usize {
        self.disk.lanes[lane as usize].len()
    }

    /// Moves everything until nothing moves.
    pub(crate) fn run(&mut self) {
        loop {
            let mut has_moved = false;
            for index in 0..self.clients.len() {
                has_moved |= self.drain_connection(index);
            }
            if let Some(output) = self.broker.poll() {
                self.obey(output);
                continue;
            }
            if self.commits != Commits::Wait && !self.waiting.is_empty() {
                self.finish_commit();
                continue;
            }
            if !self.holds_checks
                && let Some(check) = self.checks.pop_front()
            {
                self.answer_check(&check);
                continue;
            }
            if !self.holds_fetches
                && let Some(fetch) = self.fetches.pop_front()
            {
                self.answer_fetch(fetch);
                continue;
            }
            if let Some(place) = self.mqtt_settings.next_waiting() {
                if let Some(connection) = &mut self.clients[place as usize].connection {
                    connection.handle_room();
                }
                continue;
            }
            if !has_moved {
                return;
            }
        }
    }

    fn drain_connection(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        let Some(connection) = &mut client.connection else {
            return false;
        };
        let mut has_moved = false;
        while client.is_reading && connection.outbound_bytes() > 0 {
            client.received.extend(connection.take_outbound(Vec::new()));
            has_moved = true;
        }
        if has_moved {
            // All of it is written.
            assert!(connection.take_outbound(Vec::new()).is_empty());
        }
        while let Some(input) = connection.poll() {
            self.broker.handle(self.now, input);
            has_moved = true;
        }
        has_moved
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Commit {
                ticket,
                changes,
                urgency,
            } => {
                let appends = changes
                    .iter()
                    .filter(|it| matches!(it, Change::Append { .. }));
                assert!(appends.count() <= 1, "a commit holds at most one record");
                self.commit_count += 1;
                self.waiting.push_back((ticket, changes, urgency));
            }
            Output::Fetch {
                reader,
                lane,
                from,
                maximum_count,
                ..
            } => {
                self.fetch_count += 1;
                self.fetches.push_back((reader, lane, from, maximum_count));
            }
            Output::Mail(input) => panic!("no scenario here has mail: {input:?}"),
            Output::Verify {
                connection,
                secret,
                password,
            } => {
                self.check_count += 1;
                self.checks.push_back((connection, secret, password));
            }
            Output::ToConnection { connection, event } => {
                let now = self.now;
                let client = &mut self.clients[connection.index as usize];
                assert_eq!(client.id, connection);
                if let Some(connection) = &mut client.connection {
                    connection.handle_event(now, event);
                }
            }
            Output::Reported { outcome } => self.reported.push(outcome),
            Output::FromCloudStored { token, outcome } => self.from_cloud.push((token.0, outcome)),
        }
    }

    fn answer_check(
        &mut self,
        (connection, secret, password): &(ConnectionId, Arc<Secret>, Password),
    ) {
        let verdict = match secret.matches(password.as_bytes()) {
            true => Verdict::Right,
            false => Verdict::Wrong,
        };
        let connection = *connection;
        self.broker.handle(
            self.now,
            Input::Access(AccessInput::Verified {
                connection,
                verdict,
            }),
        );
    }

    fn finish_commit(&mut self) {
        let Some((ticket, changes, _)) = self.waiting.pop_front() else {
            return;
        };
        let input = if self.commits == Commits::Fail {
            Input::CommitFailed {
                ticket,
                refusal: Refusal::LogFull,
            }
        } else {
            Input::Committed {
                ticket,
                place: self.apply(changes),
            }
        };
        self.broker.handle(self.now, input);
    }

    fn apply(&mut self, changes: Vec<Change>) -> Option<(Lane, Offset)> {
        let mut place = None;
        for change in changes {
            match change {
                Change::Append { lane, record } => {
                    let records = &mut self.disk.lanes[lane as usize];
                    place = Some((lane, Offset(records.len() as u64)));
                    records.push(record);
                }
                Change::Put { table, key, value } => {
                    self.disk
                        .tables
                        .entry(table)
                        .or_default()
                        .insert(key, value);
                }
                Change::Delete { table, key } => {
                    self.disk.tables.entry(table).or_default().remove(&key);
                }
            }
        }
        place
    }

    fn answer_fetch(&mut self, (reader, lane, from, maximum_count): Fetch) {
        let records = &self.disk.lanes[lane as usize];
        let start = from.max(self.disk.first[lane]);
        let found: Vec<_> = (start.0..records.len() as u64)
            .take(maximum_count)
            .map(|offset| (Offset(offset), records[offset as usize].clone()))
            .collect();
        let next = found.last().map_or(start, |(offset, _)| offset.next());
        let input = Input::Fetched {
            reader,
            lane,
            from,
            records: found,
            next,
        };
        self.broker.handle(self.now, input);
    }

    fn stored(&self) -> Stored {
        let rows = |table| {
            let rows = self.disk.tables.get(&table).into_iter().flatten();
            rows.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        Stored {
            sessions: rows(Table::Sessions),
            subscriptions: rows(Table::Subscriptions),
            handshakes: rows(Table::Handshakes),
            cursors: rows(Table::Cursors),
            retained: rows(Table::Retained),
            epoch: Epoch(0),
            first: self.disk.first,
            head: PerLane::from_fn(|lane| Offset(self.log_len(lane) as u64)),
        }
    }
}

/// A packet whose only property is a reason string, without it.
fn without_words(mut packet: Packet<'_>) -> Packet<'_> {
    if let Some(properties) = properties_in(&mut packet)
        && properties
            .iter()
            .all(|it| matches!(it, Property::ReasonString(_)))
    {
        *properties = Properties::EMPTY;
    }
    packet
}

/// The properties of a packet that may have a reason string.
pub(crate) fn properties_in<'p, 'a>(packet: &'p mut Packet<'a>) -> Option<&'p mut Properties<'a>> {
    match packet {
        Packet::Connack(connack) => Some(&mut connack.properties),
        Packet::Puback(answer)
        | Packet::Pubrec(answer)
        | Packet::Pubrel(answer)
        | Packet::Pubcomp(answer) => Some(&mut answer.properties),
        Packet::Suback(suback) => Some(&mut suback.properties),
        Packet::Unsuback(unsuback) => Some(&mut unsuback.properties),
        Packet::Disconnect(disconnect) => Some(&mut disconnect.properties),
        Packet::Auth(auth) => Some(&mut auth.properties),
        _ => None,
    }
}

pub(crate) fn step(packet_identifier: u16) -> Acknowledgement<'static> {
    Acknowledgement::new(NonZeroU16::new(packet_identifier).unwrap())
}

pub(crate) fn qos_of(qos: u8) -> QoS {
    QoS::try_from(qos).unwrap()
}
