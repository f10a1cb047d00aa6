//! Plays a script, and checks what must hold.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::{NonZeroU16, NonZeroU32};
use std::rc::Rc;
use std::time::Duration;

use edge::broker::{Input, Settings, Token};
use edge::memory::Memory;
use edge::mqtt;
use sync::{Lane, Offset, Record, RecordParts, Table};
use wire::mqtt::property::{Properties, Property, PropertySet, SubscriptionIdentifier};
use wire::mqtt::{
    Connect, Disconnect, Packet, Publish, ReasonCode, Subscribe, Subscriptions, TopicFilters,
    Unsubscribe, Version, Will,
};
use wire::topic::TopicName;

use crate::judge::{Judge, News, Owed};
use crate::pick::pick;
use crate::script::{Filter, Message, Script, Step};
use crate::world::{ClientId, Commits, Hello, World, encode, hello, properties_of, qos_of, step};

const NAMES: [&str; 5] = ["a", "b", "c", "d", ""];
/// Topics of the first two are routed, of the next in another lane.
const TOPICS: [&str; 8] = [
    "up/a",
    "up/b",
    "l/a",
    "a",
    "a/b",
    "a/b/c",
    "$x/a",
    "a/b/c/d/e",
];
const FILTERS: [&str; 14] = [
    "#",
    "+",
    "a",
    "a/#",
    "a/+",
    "+/b",
    "up/#",
    "l/+",
    "$x/#",
    "+/+/+",
    "$share/g/a",
    "a/b/c/d/e/f",
    "$share/g/#",
    "up/a",
];
/// Everybody's steps together.
const STEPS: usize = 200;

/// A client of the script.
struct Client {
    id: ClientId,
    version: Version,
    judge: Judge,
    /// The second part of a packet that was split.
    rest: Vec<u8>,
    split: Option<u8>,
    flip: Option<u16>,
}

pub(crate) struct Play {
    world: World,
    memory: Rc<Memory>,
    clients: Vec<Client>,
    witness: Client,
    witness_name: String,
    next_number: u32,
    /// Messages that were acknowledged and have no expiry.
    accepted: BTreeSet<u32>,
    witnessed: BTreeSet<u32>,
    /// Messages that the witness need not get.
    unclaimed: BTreeSet<u32>,
    was_trimmed: bool,
}

impl Play {
    pub(crate) fn new(script: &Script) -> Self {
        let is_tight = script.limits & 1 > 0;
        let broker = Settings {
            session_count_maximum: if is_tight { 4 } else { 100 },
            subscription_count_maximum: 5,
            filter_level_maximum: 5,
            session_bytes_maximum: if is_tight { 6_000 } else { 1 << 20 },
            inflight_maximum: if script.limits & 2 > 0 { 2 } else { 20 },
            note_count_maximum: 6,
            retained_count_maximum: 3,
            retained_bytes_maximum: 600,
            fetch_count_maximum: 4,
            cursor_lag_maximum: 8,
            session_expiry_maximum: 1 << 20,
            lanes: vec![("l/#".into(), Lane::Urgent)],
            routes: vec!["up/#".into()],
            ..Settings::default()
        };
        let is_narrow = script.limits & 4 > 0;
        let mqtt = mqtt::Settings {
            packet_bytes_maximum: 700,
            receive_maximum: if script.limits & 2 > 0 { 3 } else { 20 },
            exchange_count_maximum: 20,
            topic_alias_maximum: 3,
            topic_level_maximum: 4,
            filter_count_maximum: 6,
            publishes_per_second: if script.limits & 8 > 0 { 2 } else { 0 },
            publish_burst: 3,
            outbound_bytes_maximum: if is_narrow { 150 } else { 2_000 },
            inbound_total_bytes_maximum: 5_000,
            outbound_total_bytes_maximum: if is_narrow { 500 } else { 10_000 },
            keep_alive_maximum: if script.limits & 16 > 0 { 10 } else { 0 },
            ..mqtt::Settings::default()
        };
        let memory = mqtt.memory.clone();
        let mut world = World::with(broker, mqtt);
        let witness_name = secret_name(script);
        let witness = join_witness(&mut world, &witness_name);
        world.subscribe(witness.id, "#", 1);
        world.subscribe(witness.id, "$x/#", 1);
        Self {
            world,
            memory,
            clients: Vec::new(),
            witness,
            witness_name,
            next_number: 0,
            accepted: BTreeSet::new(),
            witnessed: BTreeSet::new(),
            unclaimed: BTreeSet::new(),
            was_trimmed: false,
        }
    }

    pub(crate) fn run(mut self, script: &Script) {
        for step in script.steps.iter().take(STEPS) {
            self.play(step);
            self.listen();
        }
        self.heal();
        self.leave_nothing();
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Open { is_5 } => drop(self.open(*is_5)),
            Step::Hello { .. } => self.hello(step),
            Step::Publish { client, message } => self.publish(*client, message),
            Step::Subscribe {
                client,
                filters,
                identifier,
            } => {
                self.subscribe(*client, filters, *identifier);
            }
            Step::Unsubscribe { client, filter } => self.unsubscribe(*client, *filter),
            Step::Answer { client, count } => self.answer(*client, *count),
            Step::Ping { client } => {
                self.send(*client, |version| encode(version, &Packet::Pingreq))
            }
            Step::Disconnect {
                client,
                reason,
                expiry,
            } => {
                self.disconnect(*client, *reason, *expiry);
            }
            Step::Stray {
                client,
                kind,
                identifier,
            } => self.stray(*client, *kind, *identifier),
            Step::Raw { client, bytes } => {
                self.taint(*client);
                self.send(*client, |_| bytes.clone());
            }
            Step::Split { client, at } => {
                if let Some(client) = pick(&mut self.clients, *client) {
                    client.split = Some(*at);
                }
            }
            Step::Flip { client, at } => {
                if let Some(client) = pick(&mut self.clients, *client) {
                    client.flip = Some(*at);
                }
            }
            Step::Reading { client, is_reading } => {
                if let Some(client) = pick(&mut self.clients, *client) {
                    self.world.set_reading(client.id, *is_reading);
                }
            }
            Step::Cut { client } => {
                if let Some(client) = pick(&mut self.clients, *client) {
                    self.world.cut(client.id);
                }
            }
            step => self.happen(step),
        }
    }

    /// What is nobody's doing.
    fn happen(&mut self, step: &Step) {
        match step {
            Step::Pass { seconds } => self.world.pass(u64::from(*seconds) % 20),
            Step::Commits { mode } => {
                self.world.commits =
                    [Commits::Succeed, Commits::Wait, Commits::Fail][usize::from(mode % 3)];
                self.world.run();
            }
            Step::Finish { count } => self.world.finish_commits(usize::from(*count)),
            Step::Fetches { are_held } => {
                self.world.holds_fetches = *are_held;
                self.world.run();
            }
            Step::Trim { lane, count } => self.trim(*lane, *count),
            Step::Crash { durable_count } => {
                self.world.crash(usize::from(*durable_count));
                self.clients.clear();
            }
            Step::FromCloud { topic } => {
                let record = Record::new(&RecordParts {
                    qos: 1,
                    retain: false,
                    from_cloud: true,
                    time: self.world.now.wall,
                    expiry_seconds: None,
                    publisher: 0,
                    topic: TOPICS[usize::from(*topic) % TOPICS.len()],
                    properties: &[],
                    payload: b"down",
                });
                let input = Input::FromCloud {
                    record,
                    token: Token(1),
                    changes: Vec::new(),
                };
                self.world.broker.handle(self.world.now, input);
                self.world.run();
            }
            _ => {}
        }
    }

    fn open(&mut self, is_5: bool) -> usize {
        let version = if is_5 { Version::V5 } else { Version::V311 };
        self.clients
            .push(Client::new(self.world.open(version), version));
        self.clients.len() - 1
    }

    fn hello(&mut self, step: &Step) {
        let Step::Hello {
            name,
            is_5,
            is_clean,
            keep_alive,
            expiry,
            receive_maximum,
            packet_bytes_maximum,
            will,
        } = step
        else {
            return;
        };
        let at = self.open(*is_5);
        let mut properties = Vec::new();
        let receive_maximum = NonZeroU16::new(u16::from(*receive_maximum));
        let packet_bytes = NonZeroU32::new(u32::from(*packet_bytes_maximum) * 4);
        if *is_5 {
            let client = &mut self.clients[at];
            properties.push(Property::SessionExpiryInterval(u32::from(*expiry)));
            if let Some(maximum) = receive_maximum {
                properties.push(Property::ReceiveMaximum(maximum));
                client.judge.receive_maximum = maximum.get().into();
            }
            if let Some(maximum) = packet_bytes {
                properties.push(Property::MaximumPacketSize(maximum));
                client.judge.packet_bytes_maximum = maximum.get() as usize;
            }
        }
        let properties = properties_of(PropertySet::CONNECT, &properties);
        let will_properties = will.filter(|_| *is_5).map_or_else(Vec::new, |will| {
            properties_of(
                PropertySet::WILL,
                &[Property::WillDelayInterval(will.delay.into())],
            )
        });
        let will = will.as_ref().map(|will| Will {
            qos: qos_of(will.qos % 3),
            retain: will.is_retained,
            properties: Properties::parse(&will_properties, PropertySet::WILL).unwrap(),
            topic: TopicName::new(TOPICS[usize::from(will.topic) % TOPICS.len()]).unwrap(),
            payload: &b"gone"[usize::from(will.is_empty) * 4..],
        });
        let version = self.clients[at].version;
        let connect = Packet::Connect(Connect {
            version,
            clean_start: *is_clean,
            keep_alive: (*keep_alive).into(),
            properties: Properties::parse(&properties, PropertySet::CONNECT).unwrap(),
            client_identifier: NAMES[usize::from(*name) % NAMES.len()],
            will,
            user_name: None,
            password: None,
        });
        let bytes = encode(version, &connect);
        self.world.send_bytes(self.clients[at].id, &bytes);
    }

    fn publish(&mut self, client: u8, message: &Message) {
        let number = self.next_number;
        self.next_number += 1;
        let Some(client) = pick(&mut self.clients, client) else {
            return;
        };
        let qos = message.qos % 3;
        let topic = TOPICS[usize::from(message.topic) % TOPICS.len()];
        let is_empty = message.is_empty && message.is_retained;
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(4 + usize::from(message.padding), b'.');
        let mut identifier = 0;
        if qos > 0 {
            // Of nobody else: who takes over a session must not use what it has not released.
            identifier = 1 + number as u16;
            client.judge.waiting.push_back((identifier, qos, number));
        }
        let alias = NonZeroU16::new(u16::from(message.alias % 6));
        let is_5 = client.version == Version::V5;
        let mut properties = Vec::new();
        if is_5 {
            properties.extend(
                message
                    .expiry
                    .map(|it| Property::MessageExpiryInterval(it.into())),
            );
            properties.extend(alias.map(Property::TopicAlias));
        }
        // The witness has no claim to it.
        if message.expiry.is_some() || is_empty {
            self.unclaimed.insert(number);
        }
        let properties = properties_of(PropertySet::PUBLISH, &properties);
        let is_named = !(is_5 && alias.is_some() && message.delay & 1 > 0);
        let publish = Publish {
            dup: false,
            qos: qos_of(qos),
            retain: message.is_retained,
            topic: is_named.then(|| TopicName::new(topic).unwrap()),
            packet_identifier: NonZeroU16::new(identifier),
            properties: Properties::parse(&properties, PropertySet::PUBLISH).unwrap(),
            payload: if is_empty { &[] } else { &payload },
        };
        let bytes = encode(client.version, &Packet::Publish(publish));
        client.send(&mut self.world, bytes);
    }

    fn subscribe(&mut self, client: u8, filters: &[Filter], identifier: u8) {
        let Some(client) = pick(&mut self.clients, client) else {
            return;
        };
        let is_5 = client.version == Version::V5;
        let mut bytes = Vec::new();
        for filter in filters {
            let text = FILTERS[usize::from(filter.filter) % FILTERS.len()];
            let options = if is_5 {
                filter.options & 0x3F
            } else {
                filter.options & 3
            };
            let qos = if options & 3 == 3 { 2 } else { options & 3 };
            let no_local = options & 4 > 0 && !text.starts_with("$share");
            let handling = if options & 0x30 == 0x30 {
                0
            } else {
                options & 0x30
            };
            let options = qos | u8::from(no_local) << 2 | options & 8 | handling;
            bytes.extend((text.len() as u16).to_be_bytes());
            bytes.extend(text.as_bytes());
            bytes.push(options);
        }
        let identifier = SubscriptionIdentifier::new(identifier.into());
        let identifier = identifier
            .filter(|_| is_5)
            .map(Property::SubscriptionIdentifier);
        let properties = properties_of(PropertySet::SUBSCRIBE, identifier.as_slice());
        let Ok(subscriptions) = Subscriptions::parse(&bytes, client.version) else {
            return;
        };
        let packet = Packet::Subscribe(Subscribe {
            packet_identifier: NonZeroU16::new(60_000).unwrap(),
            properties: Properties::parse(&properties, PropertySet::SUBSCRIBE).unwrap(),
            subscriptions,
        });
        let bytes = encode(client.version, &packet);
        client.send(&mut self.world, bytes);
    }

    fn unsubscribe(&mut self, client: u8, filter: u8) {
        let text = FILTERS[usize::from(filter) % FILTERS.len()];
        let bytes = [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
        let packet = Packet::Unsubscribe(Unsubscribe {
            packet_identifier: NonZeroU16::new(60_001).unwrap(),
            properties: Properties::EMPTY,
            topic_filters: TopicFilters::parse(&bytes).unwrap(),
        });
        self.send(client, |version| encode(version, &packet));
    }

    fn answer(&mut self, client: u8, count: u8) {
        let Some(client) = pick(&mut self.clients, client) else {
            return;
        };
        for _ in 0..count % 8 {
            let Some((owed, identifier)) = client.judge.owed.pop_front() else {
                return;
            };
            client.answer(&mut self.world, owed, identifier);
        }
    }

    fn disconnect(&mut self, client: u8, reason: u8, expiry: Option<u8>) {
        let expiry = expiry.map(|it| Property::SessionExpiryInterval(it.into()));
        let properties = properties_of(PropertySet::DISCONNECT, expiry.as_slice());
        let reasons = [ReasonCode::Success, ReasonCode::DisconnectWithWill];
        self.send(client, |version| {
            let mut disconnect = Disconnect::new(ReasonCode::Success);
            if version == Version::V5 {
                disconnect.reason_code = reasons[usize::from(reason % 2)];
                disconnect.properties =
                    Properties::parse(&properties, PropertySet::DISCONNECT).unwrap();
            }
            encode(version, &Packet::Disconnect(disconnect))
        });
    }

    fn stray(&mut self, client: u8, kind: u8, identifier: u8) {
        self.taint(client);
        let identifier = 1 + u16::from(identifier % 8);
        let packet = [
            Packet::Puback,
            Packet::Pubrec,
            Packet::Pubrel,
            Packet::Pubcomp,
        ];
        let packet = packet[usize::from(kind % 4)](step(identifier));
        self.send(client, |version| encode(version, &packet));
    }

    fn trim(&mut self, lane: u8, count: u8) {
        let lane = Lane::ALL[usize::from(lane) % Lane::ALL.len()];
        let first = self.world.disk.first[lane];
        let wanted =
            Offset(first.0 + u64::from(count % 8)).min(Offset(self.world.log_len(lane) as u64));
        if wanted > first {
            self.was_trimmed = true;
            self.world.trim(lane, wanted.0);
        }
    }

    fn taint(&mut self, client: u8) {
        if let Some(client) = pick(&mut self.clients, client) {
            client.judge.taint();
        }
    }

    fn send(&mut self, client: u8, packet: impl FnOnce(Version) -> Vec<u8>) {
        if let Some(client) = pick(&mut self.clients, client) {
            let bytes = packet(client.version);
            client.send(&mut self.world, bytes);
        }
    }

    /// Lets all judges read what came.
    fn listen(&mut self) {
        for client in &mut self.clients {
            client.listen(&mut self.world, &mut self.accepted);
        }
        let messages = self.witness.listen(&mut self.world, &mut self.accepted);
        for payload in messages {
            if let Some(number) = payload.first_chunk() {
                self.witnessed.insert(u32::from_be_bytes(*number));
            }
        }
    }

    /// Ends all trouble; then everything that was acknowledged has to come.
    fn heal(&mut self) {
        self.world.commits = Commits::Succeed;
        self.world.holds_fetches = false;
        self.world.run();
        for client in &self.clients {
            self.world.set_reading(client.id, true);
            self.world.cut(client.id);
        }
        self.world.set_reading(self.witness.id, true);
        self.listen();
        self.world.cut(self.witness.id);
        self.clients.clear();
        self.witness = join_witness(&mut self.world, &self.witness_name);
        for _ in 0..5 {
            self.listen();
            while let Some((owed, identifier)) = self.witness.judge.owed.pop_front() {
                self.witness.answer(&mut self.world, owed, identifier);
                self.listen();
            }
            self.world.pass(1);
        }
        let missing = self.accepted.difference(&self.witnessed);
        let missing: Vec<_> = missing.filter(|it| !self.unclaimed.contains(it)).collect();
        assert!(
            self.was_trimmed || missing.is_empty(),
            "acknowledged and not delivered: {missing:?}"
        );
    }

    /// Lets everybody go, for longer than any session is kept.
    fn leave_nothing(mut self) {
        self.world.cut(self.witness.id);
        self.world.now.instant = self.world.now.instant + Duration::from_secs(1 << 21);
        self.world.now.wall.0 += 1000 << 21;
        self.world.pass(3);
        let broker = &self.world.broker;
        assert_eq!(broker.session_count(), 0, "sessions");
        assert_eq!(broker.uncommitted_bytes(), 0, "uncommitted bytes");
        for table in [
            Table::Sessions,
            Table::Subscriptions,
            Table::Handshakes,
            Table::Cursors,
        ] {
            assert_eq!(self.world.table(table), 0, "{table:?}");
        }
        let memory = self.memory.clone();
        drop(self);
        assert_eq!((memory.inbound_bytes(), memory.outbound_bytes()), (0, 0));
    }
}

impl Client {
    fn new(id: ClientId, version: Version) -> Self {
        Self {
            id,
            version,
            judge: Judge::new(version == Version::V5),
            rest: Vec::new(),
            split: None,
            flip: None,
        }
    }

    /// Sends a packet, with what is to be done to it.
    fn send(&mut self, world: &mut World, mut packet: Vec<u8>) {
        if let Some(at) = self.flip.take()
            && !packet.is_empty()
        {
            let at = usize::from(at) % (packet.len() * 8);
            packet[at / 8] ^= 1 << (at % 8);
            self.judge.taint();
        }
        let mut bytes = std::mem::take(&mut self.rest);
        if let Some(at) = self.split.take() {
            self.rest = packet.split_off(usize::from(at) % (packet.len() + 1));
        }
        bytes.extend(packet);
        world.send_bytes(self.id, &bytes);
    }

    fn answer(&mut self, world: &mut World, owed: Owed, identifier: u16) {
        let packet = match owed {
            Owed::Puback => Packet::Puback(step(identifier)),
            Owed::Pubrec => Packet::Pubrec(step(identifier)),
            Owed::Pubrel => Packet::Pubrel(step(identifier)),
            Owed::Pubcomp => Packet::Pubcomp(step(identifier)),
        };
        if matches!(owed, Owed::Puback | Owed::Pubcomp) {
            self.judge.unanswered.remove(&identifier);
        }
        let bytes = encode(self.version, &packet);
        self.send(world, bytes);
    }

    /// Reads what came; gives the payloads of messages.
    fn listen(&mut self, world: &mut World, accepted: &mut BTreeSet<u32>) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(packet) = world.next_packet(self.id) {
            match self.judge.hear(&packet) {
                News::Other => {}
                News::Accepted(number) => drop(accepted.insert(number)),
                News::Message(payload) => messages.push(payload),
            }
        }
        messages
    }
}

/// A name that no client of a script takes, whatever its raw bytes are: it follows from the script.
fn secret_name(script: &Script) -> String {
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    format!("witness-{:016x}", hasher.finish())
}

/// The session that must get everything.
fn join_witness(world: &mut World, name: &str) -> Client {
    let forever = [Property::SessionExpiryInterval(1 << 20)];
    let hello = hello(Version::V5, name.to_owned());
    let hello = Hello {
        clean: false,
        ..hello
    }
    .with(&forever);
    let (id, _) = world.connect(&hello);
    let mut witness = Client::new(id, Version::V5);
    // Its CONNACK was taken already.
    witness.judge.has_connack = true;
    witness
}
