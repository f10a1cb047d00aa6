//! What is held is at most what is counted: broker and connections are filled up to each of their
//! limits, until the limit says no, and every byte that was allocated meanwhile is held against the
//! part of `limits.memory_bytes` that `check` names for it.
//!
//! Allocations are counted by the allocator of this program; nothing is stored, so that nothing but
//! broker and connections holds anything. What the process takes besides (stacks, redb, sockets)
//! is held to its ceiling in `program/memory.rs`.

use std::alloc::System;
use std::num::NonZeroU16;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cap::Cap;
use edge::broker::{self, Broker, ConnectionId, Input, ListenerId, Output, Stored, Ticket};
use edge::config::Config;
use edge::limits::Limits;
use edge::memory::OutboundLimits;
use edge::mqtt::{self, Connection};
use sync::{Change, Instant, Lane, Now, Offset, WallTime};
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter};
use wire::mqtt::{
    Acknowledgement, Connect, Packet, Publish, QoS, ReasonCode, Subscribe, Subscription,
    Subscriptions, Version, decode,
};
use wire::topic::{TopicFilter, TopicName};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time: they count what the whole program allocates.
static TURN: Mutex<()> = Mutex::new(());

/// All that takes memory, so that buffers have given way as far as they do.
const EVERYTHING: &str = "[gateway]\nid = \"plant-7\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\n\
    [listener.tls]\ncertificate_file = \"c.pem\"\nkey_file = \"c.key\"\n\
    client_certificate = \"required\"\nclient_ca_file = \"ca.pem\"\ncrl_file = \"crl.pem\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"nats\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"websocket\"\n\
    [cloud]\nendpoints = [\"mqtt://127.0.0.1:1\"]\nuplink = [\"#\"]\ndownlink = [\"down\"]\n\
    [cloud.mq9]\nendpoints = [\"nats://127.0.0.1:2\"]\n";

#[test]
fn sessions_with_their_filters_are_at_most_what_is_counted() {
    for (more, filter_bytes) in [("", 12), ("", 40), ("", 250), ("", 1000), (EVERYTHING, 40)] {
        let limits = "[limits]\nsessions = 300\nsubscriptions_per_session = 100\n";
        let mut site = Site::new(&format!("{limits}{more}"));
        let mut refused = 0;
        for session in 0..300 {
            let client = site.open();
            assert_eq!(
                site.join(client, &format!("a-device-{session}"), 0),
                SUCCESS
            );
            for number in 0..100 {
                let filter = long(&format!("{session}/{number}/"), filter_bytes);
                refused += u32::from(site.subscribe(client, &filter, QoS::AtLeastOnce) == QUOTA);
            }
            site.leave(client);
            site.pass_seconds(2);
        }
        let late = site.open();
        assert_eq!(site.join(late, "one-too-many", 0), QUOTA);
        site.leave(late);
        assert!(refused > 0, "the limit of bytes was reached");
        site.assert_counted(&["sessions"], &format!("filters of {filter_bytes} bytes"));
    }
}

#[test]
fn retained_messages_are_at_most_what_is_counted() {
    for (payload_bytes, topic_bytes) in [(1, 8), (100, 60), (1, 900), (5000, 20)] {
        let mut site = Site::new("");
        let client = site.open();
        assert_eq!(site.join(client, "publisher", 0), SUCCESS);
        let payload = vec![b'x'; payload_bytes];
        let mut kept = 0;
        loop {
            let topic = long(&format!("{kept}/"), topic_bytes);
            match site.retain(client, &topic, &payload) {
                ReasonCode::NoMatchingSubscribers => kept += 1,
                QUOTA => break,
                other => panic!("{other:?}"),
            }
        }
        let shape = format!("{kept} of {payload_bytes} bytes on topics of {topic_bytes}");
        assert!(kept > 100, "{shape}");
        site.leave(client);
        site.assert_counted(&["retained messages"], &shape);
    }
}

#[test]
fn connections_are_at_most_what_is_counted() {
    let mut site = Site::new("[limits]\nsessions = 1024\nconnections = 1024\n");
    for number in 0..1024 {
        let client = site.open();
        assert_eq!(site.join(client, &format!("device-{number}"), 16), SUCCESS);
        let filter = format!("plant/{number}");
        assert_eq!(site.subscribe(client, &filter, QoS::AtLeastOnce), GRANTED);
    }
    site.assert_counted(
        &["connections", "sessions"],
        "1024 with a subscription each",
    );
}

/// What an idle client takes of broker and view: its connection, its session, a subscription of its
/// own. The gateway's own part is held to its size where it is declared.
const IDLE_BYTES: usize = 860;

#[test]
fn an_idle_client_takes_little_and_as_little_again_after_messages() {
    const CLIENTS: usize = 1000;
    let mut site = Site::new("[limits]\nsessions = 1025\nconnections = 1025\n");
    for number in 0..CLIENTS {
        let client = site.open();
        assert_eq!(site.join(client, &format!("device-{number}"), 0), SUCCESS);
        let filter = format!("plant/{number}");
        assert_eq!(site.subscribe(client, &filter, QoS::AtLeastOnce), GRANTED);
    }
    let at_rest = site.idle_bytes() / CLIENTS;
    let publisher = site.open();
    assert_eq!(site.join(publisher, "publisher", 0), SUCCESS);
    for number in 0..CLIENTS {
        let topic = format!("plant/{number}");
        let code = site.publish(publisher, &topic, &[b'x'; 100], QoS::AtLeastOnce, false);
        assert_eq!(code, SUCCESS);
        site.acknowledge(number);
    }
    site.leave(publisher);
    let afterwards = site.idle_bytes() / CLIENTS;
    println!("{at_rest} bytes each, {afterwards} after a message");
    assert!(at_rest <= IDLE_BYTES, "{at_rest} bytes");
    assert!(afterwards <= at_rest + 32, "{at_rest}, {afterwards} bytes");
}

#[test]
fn packets_that_arrive_in_part_are_at_most_what_is_counted() {
    let sizes = [(1 << 20, 900_000), (40_000, 30_000), (6000, 5000)];
    let sizes = ["", EVERYTHING].map(|more| sizes.map(|size| (more, size)));
    for (more, (packet_bytes, sent_bytes)) in sizes.into_iter().flatten() {
        let mut site = Site::new(&format!("[limits]\nconnections = 1024\n{more}"));
        let mut closed = 0;
        for number in 0..1000 {
            let client = site.open();
            assert_eq!(site.join(client, &format!("device-{number}"), 0), SUCCESS);
            site.begin_packet(client, packet_bytes, sent_bytes);
            closed += u32::from(site.is_closed(client));
            if closed > 20 {
                break;
            }
        }
        assert!(closed > 0, "the limit was reached");
        let parts = ["connections", "sessions", "packets arriving"];
        site.assert_counted(&parts, &format!("{sent_bytes} of {packet_bytes} bytes"));
    }
}

/// Where buffers give way, the room for what came in part is hardly larger than one packet may be: a
/// large one ended the connection each time it was sent.
#[test]
fn the_largest_packet_arrives_whatever_has_given_way_to_what() {
    for more in ["", EVERYTHING] {
        let mut site = Site::new(&format!("[limits]\nconnections = 1024\n{more}"));
        let packet_bytes = site.limits.section.packet_bytes as usize;
        for number in 0..500 {
            let client = site.open();
            assert_eq!(site.join(client, &format!("device-{number}"), 0), SUCCESS);
        }
        site.begin_packet(0, packet_bytes, packet_bytes - 1);
        assert!(!site.is_closed(0), "{more}");
    }
}

#[test]
fn packets_that_nobody_takes_are_at_most_what_is_counted() {
    for (more, payload_bytes) in [("", 100), ("", 1000), (EVERYTHING, 100), (EVERYTHING, 1000)] {
        let mut site = Site::new(&format!("[limits]\nconnections = 1024\n{more}"));
        for number in 0..500 {
            let client = site.open();
            assert_eq!(site.join(client, &format!("deaf-{number}"), 0), SUCCESS);
            assert_eq!(site.subscribe(client, "plant/#", QoS::AtMostOnce), SUCCESS);
            site.clients[client].is_deaf = true;
        }
        let publisher = site.open();
        assert_eq!(site.join(publisher, "publisher", 0), SUCCESS);
        let payload = vec![b'x'; payload_bytes];
        for _ in 0..12_000_000 / 500 / payload_bytes + 20 {
            site.publish(publisher, "plant/temp", &payload, QoS::AtMostOnce, false);
        }
        let deaf = site.clients.iter().filter_map(|it| it.connection.as_ref());
        let dropped: u64 = deaf.map(|it| it.dropped_count()).sum();
        assert!(dropped > 0, "the limit was reached");
        let parts = ["connections", "sessions", "packets leaving"];
        site.assert_counted(&parts, &format!("payloads of {payload_bytes} bytes"));
    }
}

/// A delivery that is not acknowledged took 170 bytes of memory that nobody counted, and a burst was
/// written out for everybody before anybody looked at the limit of what waits to be written.
#[test]
fn a_burst_for_many_sessions_is_at_most_what_is_counted() {
    const SUBSCRIBERS: usize = 800;
    let hearing = (
        "memory_bytes = 50000000\n",
        false,
        &["deliveries under way"][..],
    );
    let deaf = &["deliveries under way", "packets leaving"][..];
    for (more, is_deaf, parts) in [
        hearing,
        ("memory_bytes = 50000000\n", true, deaf),
        (EVERYTHING, true, deaf),
    ] {
        let mut site = Site::new(&format!("[limits]\nsessions = 1024\n{more}"));
        for number in 0..SUBSCRIBERS {
            let client = site.open();
            assert_eq!(site.join(client, &format!("device-{number}"), 0), SUCCESS);
            let code = site.subscribe(client, "plant/#", QoS::AtLeastOnce);
            assert_eq!(code, GRANTED);
            site.clients[client].is_deaf = is_deaf;
        }
        let publisher = site.open();
        assert_eq!(site.join(publisher, "publisher", 0), SUCCESS);
        let at_rest = site.idle_bytes();
        for _ in 0..99 {
            let code = site.publish(publisher, "plant/1", &[b'x'; 108], QoS::AtLeastOnce, false);
            assert_eq!(code, SUCCESS);
        }
        // What is there without deliveries is no part of it.
        site.before += at_rest - site.slab_bytes() + (SUBSCRIBERS + 1) * size_of::<Client>();
        site.assert_counted(parts, &format!("99 messages, deaf {is_deaf}"));
        let counted = site.broker.inflight_bytes();
        let each = counted / site.broker.inflight_count();
        assert!(each <= 40, "{each} bytes a delivery");
        for client in 0..SUBSCRIBERS {
            site.clients[client].is_deaf = false;
            site.take(client);
            site.leave(client);
        }
        site.leave(publisher);
    }
}

/// It was copied for each before anybody could say that there was no room: 500 subscribers and one
/// message of 250 KB took 125 MB of the 64 there are.
#[test]
fn a_large_message_that_nobody_takes_is_held_once() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut site = Site::new("[limits]\nconnections = 1024\n");
        for number in 0..500 {
            let client = site.open();
            assert_eq!(site.join(client, &format!("deaf-{number}"), 0), SUCCESS);
            site.subscribe(client, "plant/#", qos);
            site.clients[client].is_deaf = true;
        }
        let publisher = site.open();
        assert_eq!(site.join(publisher, "publisher", 0), SUCCESS);
        let idle = ALLOCATOR.allocated();
        for number in 0..3 {
            let payload = vec![number; 250_000];
            site.publish(publisher, "plant/image", &payload, qos, false);
        }
        let held = ALLOCATOR.allocated() - idle;
        assert!(held > 250_000, "some wait: {held} bytes");
        assert!(held < 3 * 250_000 + 500 * 2000, "{held} bytes of {qos:?}");

        // What is being written is a copy, and small where there is little room.
        let deaf = site.clients.iter_mut().filter(|client| client.is_deaf);
        let connections = deaf.filter_map(|client| client.connection.as_mut());
        let taken: Vec<_> = connections.map(|it| it.take_outbound(Vec::new())).collect();
        let bytes: usize = taken.iter().map(Vec::capacity).sum();
        assert!(
            (500..3_000_000).contains(&bytes),
            "{bytes} bytes of {qos:?}"
        );
    }
}

#[test]
fn topics_behind_aliases_are_at_most_what_is_counted() {
    let mut site = Site::new("[limits]\nconnections = 1024\n");
    for number in 0..300 {
        let client = site.open();
        assert_eq!(site.join(client, &format!("reader-{number}"), 16), SUCCESS);
        assert_eq!(site.subscribe(client, "#", QoS::AtMostOnce), SUCCESS);
    }
    let publisher = site.open();
    assert_eq!(site.join(publisher, "publisher", 0), SUCCESS);
    for round in 0..3 {
        for alias in 0..16 {
            let topic = long(&format!("{alias}/"), 500);
            site.publish(publisher, &topic, &[round], QoS::AtMostOnce, false);
        }
    }
    assert!(site.settings.memory.alias_bytes() > 0, "aliases were given");
    let parts = ["connections", "sessions", "topic aliases"];
    site.assert_counted(&parts, "16 aliases of 500 bytes for 300 clients");
}

/// A client may begin exchanges of QoS 2 over many sessions and release none of them: they are kept
/// until the sessions end, and were in no part of the ceiling.
#[test]
fn exchanges_that_are_never_released_are_at_most_what_is_counted() {
    for (sessions, expiry_seconds) in [(1000, 3600), (1000, 0), (40, 3600)] {
        let mut site = Site::new("[limits]\nsessions = 1024\nconnections = 1024\n");
        for number in 0..sessions {
            let client = site.open();
            let name = format!("device-{number}");
            assert_eq!(site.join_for(client, &name, 0, expiry_seconds), SUCCESS);
        }
        let at_rest = site.idle_bytes();
        site.before += at_rest - site.slab_bytes() + sessions * size_of::<Client>();
        let (mut kept, mut refused) = (0, 0);
        for packet_identifier in 1..=400 {
            for client in 0..sessions {
                // A connection may have 100 of its own.
                if packet_identifier % 100 == 0 {
                    site.leave(client);
                    site.reopen(client);
                    site.join_for(client, &format!("device-{client}"), 0, expiry_seconds);
                }
                match site.begin_exchange(client, packet_identifier) {
                    QUOTA => refused += 1,
                    _ => kept += 1,
                }
            }
            if refused > 2000 {
                break;
            }
        }
        let shape = format!("{kept} in {sessions} sessions of {expiry_seconds} s");
        assert!(refused > 0, "{shape}: the limit was reached");
        site.idle_bytes();
        site.assert_counted(&["exchanges not released"], &shape);
        // Who releases has room again.
        let release = Acknowledgement::with_reason(NonZeroU16::MIN, SUCCESS);
        site.send(0, &Packet::Pubrel(release));
        assert_ne!(site.begin_exchange(0, 500), QUOTA);
    }
}

/// What waits for the disk was counted with 64 bytes beside its own, and took two to three times that:
/// a storm of small commits went over its part before links were no longer read.
#[test]
fn commits_that_wait_are_at_most_what_is_counted() {
    const CLIENTS: usize = 400;
    let mut site = Site::new("[limits]\nsessions = 1024\nconnections = 1024\n");
    for number in 0..CLIENTS {
        let client = site.open();
        assert_eq!(site.join(client, &format!("device-{number}"), 0), SUCCESS);
    }
    let reader = site.open();
    assert_eq!(site.join(reader, "reader", 0), SUCCESS);
    assert_eq!(site.subscribe(reader, "up/#", QoS::AtLeastOnce), GRANTED);
    site.leave(reader);
    site.withhold();
    // Twice: the first time leaves what later ones find.
    for is_known in [false, true] {
        for number in 0..CLIENTS {
            let filter = format!("plant/{number}/+");
            site.subscribe(number, &filter, QoS::ExactlyOnce);
        }
        site.answer_commits("SUBSCRIBE", is_known);
        site.publish_to_all("plant", QoS::AtLeastOnce, CLIENTS);
        site.answer_commits("deliveries", is_known);
        site.answer_all(Packet::Puback, CLIENTS);
        site.publish_to_all("up", QoS::AtLeastOnce, CLIENTS);
        site.answer_commits("PUBLISH with QoS 1", is_known);
        site.publish_to_all("plant", QoS::ExactlyOnce, CLIENTS);
        site.answer_commits("PUBLISH with QoS 2", is_known);
        site.answer_all(Packet::Pubrel, CLIENTS);
        site.answer_commits("PUBREL", is_known);
        site.answer_all(Packet::Pubrec, CLIENTS);
        site.answer_commits("PUBREC", is_known);
        site.answer_all(Packet::Pubcomp, CLIENTS);
        site.answer_commits("PUBCOMP", is_known);
    }
}

/// A broker with its connections, whose commits succeed and are forgotten.
struct Site {
    limits: Limits,
    broker: Broker,
    settings: Rc<mqtt::Settings>,
    clients: Vec<Client>,
    next_offset: u64,
    now: Now,
    /// Bytes allocated before there was anything.
    before: usize,
    /// Commits that are to wait, and what was allocated before the first.
    withheld: Option<(usize, Vec<Withheld>)>,
    /// The last to go: by then nothing else is allocated.
    _turn: MutexGuard<'static, ()>,
}

/// A commit that waits, as the committer keeps it.
type Withheld = (Ticket, Box<[Change]>);

struct Client {
    connection: Option<Connection>,
    /// Whether it leaves what it is sent where it is.
    is_deaf: bool,
}

impl Site {
    fn new(text: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let file = Path::new("edge.toml");
        let config = Config::parse(text, file).expect("valid");
        let limits = Limits::resolve(&config, file).expect("valid");
        let settings = Rc::new(mqtt_settings(&limits));
        let broker = broker::Settings {
            memory: settings.memory.clone(),
            ..broker_settings(&limits)
        };
        let mut site = Self {
            _turn: turn,
            limits,
            broker: Broker::new(broker, Stored::default(), NOW),
            settings,
            clients: Vec::with_capacity(2000),
            next_offset: 0,
            now: NOW,
            before: 0,
            withheld: None,
        };
        site.before = ALLOCATOR.allocated();
        site
    }

    /// Holds what was allocated since the beginning against parts of the ceiling.
    fn assert_counted(&self, parts: &[&str], what: &str) {
        // Connections are held in a slab, which has its length from the beginning here.
        let slab = size_of::<Client>() * self.clients.iter().filter(|it| it.is_open()).count();
        let held = ALLOCATOR.allocated() - self.before + slab;
        let part = |name: &&str| {
            let mut all = self.limits.memory.iter();
            let found = all.find(|(part, _)| part == name);
            usize::try_from(found.expect("it is a part").1).expect("valid")
        };
        let counted: usize = parts.iter().map(part).sum();
        println!("{what}: {held} bytes held, {counted} counted");
        assert!(
            held <= counted,
            "{what}: {held} bytes held, {counted} counted"
        );
        // Or the test would prove nothing.
        assert!(held * 20 > counted, "{what}: {held} of {counted} bytes");
    }

    /// What the driver holds for those who are connected.
    fn slab_bytes(&self) -> usize {
        let open = self.clients.iter().filter(|it| it.connection.is_some());
        open.count() * size_of::<Connection>()
    }

    /// What is allocated since the beginning, once a sweep has found everybody idle.
    fn idle_bytes(&mut self) -> usize {
        for client in 0..self.clients.len() {
            self.run(client);
        }
        self.pass_seconds(2);
        let mut open = 0;
        for client in &mut self.clients {
            if let Some(connection) = &mut client.connection {
                connection.handle_timeout(self.now);
                open += 1;
            }
        }
        ALLOCATOR.allocated() - self.before + open * size_of::<Connection>()
    }

    /// Lets commits wait from now on.
    fn withhold(&mut self) {
        let commits = Vec::with_capacity(40_000);
        self.withheld = Some((ALLOCATOR.allocated(), commits));
    }

    /// Ten messages from each of the first clients, on a topic of its own.
    fn publish_to_all(&mut self, topic: &str, qos: QoS, clients: usize) {
        for client in 0..clients {
            let topic = format!("{topic}/{client}/a");
            for packet_identifier in 1..=10 {
                let publish = Publish {
                    dup: false,
                    qos,
                    retain: false,
                    topic: Some(TopicName::new(&topic).expect("valid")),
                    packet_identifier: NonZeroU16::new(packet_identifier),
                    properties: Properties::EMPTY,
                    payload: b"21.5",
                };
                self.send(client, &Packet::Publish(publish));
            }
        }
    }

    /// The same packet from each of the first clients, about every exchange that there may be.
    fn answer_all(
        &mut self,
        packet: fn(Acknowledgement<'static>) -> Packet<'static>,
        clients: usize,
    ) {
        for client in 0..clients {
            for identifier in (1..=40).filter_map(NonZeroU16::new) {
                let packet = packet(Acknowledgement::with_reason(identifier, SUCCESS));
                self.send(client, &packet);
            }
        }
    }

    /// Answers the commits that wait, and holds what came and went with them against what is counted,
    /// if it is known what stays.
    fn answer_commits(&mut self, what: &str, is_known: bool) {
        let (before, mut commits) = self.withheld.take().expect("they wait");
        let waiting = ALLOCATOR.allocated();
        let counted = self.broker.uncommitted_bytes();
        let count = commits.len();
        for (ticket, changes) in commits.drain(..) {
            let (changes, urgency) = (changes.into(), broker::Urgency::Immediate);
            self.obey(Output::Commit {
                ticket,
                changes,
                urgency,
            });
            while let Some(output) = self.broker.poll() {
                self.obey(output);
            }
        }
        for client in 0..self.clients.len() {
            self.run(client);
        }
        self.pass_seconds(2);
        let after = ALLOCATOR.allocated();
        // What stays there was not held for the commits, nor was what had been there.
        let held = waiting.saturating_sub(before.max(after));
        println!("{what}: {count} commits, {held} bytes held, {counted} counted");
        assert!(count > 0, "{what}: nothing waited");
        assert!(!is_known || held <= counted, "{what}: {held} of {counted}");
        assert!(
            !is_known || held * 4 > counted,
            "{what}: {held} of {counted}"
        );
        drop(commits);
        self.withhold();
    }

    fn acknowledge(&mut self, client: usize) {
        let puback = Packet::Puback(Acknowledgement::with_reason(NonZeroU16::MIN, SUCCESS));
        self.run(client);
        self.send(client, &puback);
    }

    fn open(&mut self) -> usize {
        self.clients.push(Client {
            connection: None,
            is_deaf: false,
        });
        self.reopen(self.clients.len() - 1);
        self.clients.len() - 1
    }

    /// Gives the place of a client that left to a new connection.
    fn reopen(&mut self, client: usize) {
        let (id, settings) = (connection_id(client), self.settings.clone());
        let connection = Connection::new(id, settings, ListenerId::default(), self.now);
        self.clients[client].connection = Some(connection);
    }

    /// PUBLISH with QoS 2 that nobody wants; gives the reason code of PUBREC.
    fn begin_exchange(&mut self, client: usize, packet_identifier: u16) -> ReasonCode {
        let publish = Publish {
            dup: false,
            qos: QoS::ExactlyOnce,
            retain: false,
            topic: Some(TopicName::new("nobody/wants").expect("valid")),
            packet_identifier: NonZeroU16::new(packet_identifier),
            properties: Properties::EMPTY,
            payload: b"21.5",
        };
        self.send(client, &Packet::Publish(publish))
    }

    /// CONNECT with a session that is kept; gives the reason code.
    fn join(&mut self, client: usize, client_identifier: &str, alias_maximum: u16) -> ReasonCode {
        self.join_for(client, client_identifier, alias_maximum, 3600)
    }

    /// The same with a session that is kept so long.
    fn join_for(
        &mut self,
        client: usize,
        client_identifier: &str,
        alias_maximum: u16,
        expiry_seconds: u32,
    ) -> ReasonCode {
        let mut properties = vec![Property::SessionExpiryInterval(expiry_seconds)];
        if alias_maximum > 0 {
            properties.push(Property::TopicAliasMaximum(alias_maximum));
        }
        let properties = encoded(PropertySet::CONNECT, &properties);
        self.send(
            client,
            &Packet::Connect(Connect {
                version: Version::V5,
                clean_start: false,
                keep_alive: 0,
                properties: Properties::parse(&properties, PropertySet::CONNECT).expect("valid"),
                client_identifier,
                will: None,
                user_name: None,
                password: None,
            }),
        )
    }

    fn subscribe(&mut self, client: usize, filter: &str, qos: QoS) -> ReasonCode {
        let mut subscription = Subscription::new(TopicFilter::new(filter).expect("valid"), qos);
        subscription.retain_as_published = true;
        let mut list = Vec::new();
        subscription.encode(Version::V5, &mut list).expect("valid");
        self.send(
            client,
            &Packet::Subscribe(Subscribe {
                packet_identifier: NonZeroU16::MIN,
                properties: Properties::EMPTY,
                subscriptions: Subscriptions::parse(&list, Version::V5).expect("valid"),
            }),
        )
    }

    fn retain(&mut self, client: usize, topic: &str, payload: &[u8]) -> ReasonCode {
        self.publish(client, topic, payload, QoS::AtLeastOnce, true)
    }

    fn publish(
        &mut self,
        client: usize,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> ReasonCode {
        self.send(
            client,
            &Packet::Publish(Publish {
                dup: false,
                qos,
                retain,
                topic: Some(TopicName::new(topic).expect("valid")),
                packet_identifier: (qos != QoS::AtMostOnce).then_some(NonZeroU16::MIN),
                properties: Properties::EMPTY,
                payload,
            }),
        )
    }

    /// Announces a PUBLISH and sends some of it.
    fn begin_packet(&mut self, client: usize, announced: usize, sent: usize) {
        let mut bytes = vec![0x30];
        let mut rest = announced - 5;
        while rest > 0 {
            let digit = u8::try_from(rest % 128).expect("valid");
            rest /= 128;
            bytes.push(if rest > 0 { digit | 128 } else { digit });
        }
        bytes.extend_from_slice(&[0, 1, b'a']);
        bytes.resize(sent, 0);
        // As a socket gives them.
        for chunk in bytes.chunks(16 << 10) {
            if let Some(connection) = &mut self.clients[client].connection {
                connection.handle_bytes(self.now, chunk);
            }
            self.run(client);
        }
    }

    fn leave(&mut self, client: usize) {
        if let Some(mut connection) = self.clients[client].connection.take() {
            connection.handle_lost();
            while let Some(input) = connection.poll() {
                self.broker.handle(self.now, input);
            }
        }
        self.run(client);
    }

    /// Lets the broker do what it does each second.
    fn pass_seconds(&mut self, seconds: u64) {
        self.now.instant = self.now.instant + Duration::from_secs(seconds);
        self.broker.handle_timeout(self.now);
        while let Some(output) = self.broker.poll() {
            self.obey(output);
        }
    }

    fn is_closed(&self, client: usize) -> bool {
        !self.clients[client].is_open()
    }

    /// Sends a packet and gives the reason code of the last answer.
    fn send(&mut self, client: usize, packet: &Packet<'_>) -> ReasonCode {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).expect("valid");
        let connection = self.clients[client].connection.as_mut();
        connection
            .expect("it is open")
            .handle_bytes(self.now, &bytes);
        drop(bytes);
        self.run(client)
    }

    /// Until nothing moves; gives the reason code of the last packet that the client got.
    fn run(&mut self, client: usize) -> ReasonCode {
        let mut code = SUCCESS;
        loop {
            let mut has_moved = false;
            if let Some(connection) = &mut self.clients[client].connection {
                while let Some(input) = connection.poll() {
                    self.broker.handle(self.now, input);
                    has_moved = true;
                }
            }
            while let Some(output) = self.broker.poll() {
                code = self.obey(output).unwrap_or(code);
                has_moved = true;
            }
            code = self.take(client).unwrap_or(code);
            if !has_moved {
                return code;
            }
        }
    }

    fn obey(&mut self, output: Output) -> Option<ReasonCode> {
        match output {
            Output::Commit {
                ticket, changes, ..
            } => {
                if let Some((_, withheld)) = &mut self.withheld {
                    withheld.push((ticket, changes.into()));
                    return None;
                }
                let mut appends = changes.iter().filter_map(|change| match change {
                    Change::Append { lane, .. } => Some(*lane),
                    _ => None,
                });
                let lane: Option<Lane> = appends.next();
                let place = lane.map(|lane| (lane, Offset(self.next_offset)));
                self.next_offset += u64::from(lane.is_some());
                let committed = Input::Committed { ticket, place };
                self.broker.handle(self.now, committed);
                None
            }
            Output::ToConnection { connection, event } => {
                let client = connection.index as usize;
                if let Some(connection) = &mut self.clients[client].connection {
                    connection.handle_event(self.now, event);
                }
                self.take(client)
            }
            _ => None,
        }
    }

    /// Takes what a client was sent off its connection.
    fn take(&mut self, client: usize) -> Option<ReasonCode> {
        let client = &mut self.clients[client];
        if client.is_deaf {
            return None;
        }
        let bytes = client.connection.as_mut()?.take_outbound(Vec::new());
        let mut rest = &bytes[..];
        let mut code = None;
        while let Ok(Some((packet, length))) = decode(rest, Version::V5, u32::MAX) {
            code = match packet {
                Packet::Connack(connack) => Some(connack.reason_code),
                Packet::Puback(answer) | Packet::Pubrec(answer) => Some(answer.reason_code),
                Packet::Suback(suback) => suback.reason_codes.iter().next(),
                _ => code,
            };
            rest = &rest[length..];
        }
        code
    }
}

impl Client {
    fn is_open(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.peer_error().is_none())
    }
}

/// As the gateway sets them.
fn broker_settings(limits: &Limits) -> broker::Settings {
    let section = &limits.section;
    broker::Settings {
        session_count_maximum: section.sessions,
        subscription_count_maximum: section.subscriptions_per_session,
        session_bytes_maximum: limits.session_bytes,
        inflight_maximum: section.inflight_count,
        note_bytes_maximum: limits.note_bytes,
        retained_count_maximum: section.retained_count,
        retained_bytes_maximum: usize::try_from(section.retained_bytes).expect("valid"),
        underway_bytes_maximum: limits.underway_bytes_with_first(),
        outbound: OutboundLimits {
            own: limits.outbound_bytes,
            total: limits.outbound_total_bytes,
        },
        ..broker::Settings::default()
    }
}

/// As the gateway sets them.
fn mqtt_settings(limits: &Limits) -> mqtt::Settings {
    mqtt::Settings {
        connect_timeout: Duration::from_secs(10),
        packet_bytes_maximum: limits.section.packet_bytes,
        receive_maximum: limits.section.inflight_count,
        outbound_bytes_maximum: limits.outbound_bytes,
        inbound_total_bytes_maximum: limits.inbound_total_bytes,
        outbound_total_bytes_maximum: limits.outbound_total_bytes,
        outbound_alias_bytes_maximum: limits.alias_bytes,
        ..mqtt::Settings::default()
    }
}

fn connection_id(place: usize) -> ConnectionId {
    ConnectionId {
        index: u32::try_from(place).expect("valid"),
        generation: 0,
    }
}

/// A name with this beginning and of this length, if it is not longer already.
fn long(beginning: &str, bytes: usize) -> String {
    let mut name = beginning.to_owned();
    name.extend(std::iter::repeat_n(
        'x',
        bytes.saturating_sub(beginning.len()),
    ));
    name
}

fn encoded(allowed: PropertySet, properties: &[Property<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PropertyWriter::new(&mut bytes, allowed);
    for property in properties {
        writer.write(property).expect("valid");
    }
    bytes
}

const NOW: Now = Now {
    instant: Instant::from_micros(1_000_000),
    wall: WallTime(1_700_000_000_000),
};
const SUCCESS: ReasonCode = ReasonCode::Success;
const QUOTA: ReasonCode = ReasonCode::QuotaExceeded;
const GRANTED: ReasonCode = ReasonCode::granted(QoS::AtLeastOnce);
