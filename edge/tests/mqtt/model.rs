//! Random clients, crashes and slow readers against what must hold: QoS 1 loses nothing and keeps
//! the order of each topic, QoS 2 arrives exactly once, and nothing queues without bound. The
//! members of a group together are one more such reader, but for the order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use edge::broker::Settings;
use edge::mqtt;
use sync::{Lane, Table};
use wire::mqtt::property::Property;
use wire::mqtt::{Packet, Publish, Subscription, decode};
use wire::topic::TopicFilter;

use crate::dice::Dice;
use crate::world::*;

/// A publisher that sends each message until it is answered, one exchange after the other.
struct Writer {
    hello: Hello,
    topic: &'static str,
    qos: u8,
    client: Option<ClientId>,
    next: u32,
    step: WriterStep,
    is_repeated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterStep {
    Idle,
    Published,
    Released,
}

/// A subscriber that acknowledges when it likes.
struct Reader {
    hello: Hello,
    /// With their QoS.
    filters: &'static [(&'static str, u8)],
    /// Whether its session outlives its connection; otherwise it subscribes anew each time.
    is_durable: bool,
    client: Option<ClientId>,
    /// What the aliases of the present connection stand for.
    aliases: BTreeMap<u16, String>,
    /// First deliveries, by topic.
    received: BTreeMap<String, Vec<u32>>,
    unreleased: BTreeSet<u16>,
    /// Answers that it has not given yet.
    owed: VecDeque<(u8, u16)>,
}

struct Play {
    world: World,
    random: Dice,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    /// A client that comes and goes in every way, and follows no protocol.
    stranger: Option<ClientId>,
    weather: Weather,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Links are cut and the gateway crashes.
    Rough,
    /// No connection is ever lost.
    Calm,
}

/// What those subscribe who read for themselves.
const OWN: &[(&str, u8)] = &[("one/+", 1), ("two/#", 2)];
/// What those subscribe who share. One whose session ends with its connection takes QoS 2 along, so
/// it only shares the rest.
const SHARED: &[(&str, u8)] = &[("$share/m/one/+", 1), ("$share/m/two/#", 2)];
/// What those subscribe who share messages of each QoS in one group.
const MIXED: &[(&str, u8)] = &[("$share/n/+/+", 2)];

const TOPICS: [(&str, u8); 3] = [("one/a", 1), ("one/b", 1), ("two/c", 2)];

impl Play {
    fn new(seed: u64, weather: Weather) -> Self {
        let settings = Settings {
            routes: vec!["one/b".into()],
            lanes: match seed % 2 {
                0 => vec![("two/#".into(), Lane::Urgent)],
                _ => Vec::new(),
            },
            cursor_lag_maximum: 50,
            ..Settings::default()
        };
        let limits = mqtt::Settings {
            outbound_bytes_maximum: 300,
            ..mqtt::Settings::default()
        };
        let names = [("w0", "r0"), ("w1", "r1"), ("w2", "r2")];
        let version = |index: usize| if index == 1 { V311 } else { V5 };
        let writers = names
            .iter()
            .zip(TOPICS)
            .enumerate()
            .map(|(index, ((name, _), topic))| Writer {
                hello: hello(version(index), *name).durable(),
                topic: topic.0,
                qos: topic.1,
                client: None,
                next: 0,
                step: WriterStep::Idle,
                is_repeated: false,
            });
        let reader = |hello: Hello, filters, is_durable| Reader {
            hello,
            filters,
            is_durable,
            client: None,
            aliases: BTreeMap::new(),
            received: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            owed: VecDeque::new(),
        };
        // There are more topics than this one takes.
        let one_alias = [Property::TopicAliasMaximum(1)];
        let readers = vec![
            reader(
                hello(V5, "r0").durable().window(3).with(&one_alias),
                OWN,
                true,
            ),
            reader(hello(V311, "r1").durable(), OWN, true),
            reader(hello(V5, "r2").durable().window(5), OWN, true),
            reader(hello(V5, "r3").window(4).with(&one_alias), OWN, false),
            reader(hello(V5, "m0").durable().window(3), SHARED, true),
            reader(hello(V311, "m1").durable(), SHARED, true),
            reader(hello(V5, "m2").window(4), &SHARED[..1], false),
            reader(hello(V5, "n0").durable().window(4), MIXED, true),
            reader(hello(V311, "n1").durable(), MIXED, true),
        ];
        let mut play = Self {
            world: World::with(settings, limits),
            random: Dice(seed),
            writers: writers.collect(),
            readers,
            stranger: None,
            weather,
        };
        for index in 0..play.readers.len() {
            play.reconnect_reader(index);
            if play.readers[index].is_durable {
                play.subscribe_reader(index);
            }
        }
        for index in 0..play.writers.len() {
            let hello = play.writers[index].hello.clone();
            play.writers[index].client = Some(play.world.join(&hello));
        }
        play
    }

    fn step(&mut self) {
        let who = self.random.below(self.readers.len() as u64) as usize;
        let writer = who % self.writers.len();
        match self.random.below(100) {
            // A client whose note can't be stored is disconnected as well.
            76..83 | 96 | 99 if self.weather == Weather::Calm => {}
            0..38 => self.write(writer),
            38..76 => self.read(who),
            76..80 => self.cut_reader(who),
            80..83 => self.cut_writer(writer),
            83..87 => {
                let is_reading = self.random.below(2) == 0;
                if let Some(client) = self.readers[who].client {
                    self.world.set_reading(client, is_reading);
                }
            }
            87..89 => self.world.pass(1),
            89 => self.be_strange(),
            90..92 => self.world.holds_fetches = !self.world.holds_fetches,
            92..94 => self.trim(),
            94..96 => self.world.commits = Commits::Wait,
            96..97 => self.world.commits = Commits::Fail,
            97..99 => self.heal(),
            _ => self.crash(),
        }
        if self.world.waiting.len() > 20 {
            self.heal();
        }
        self.check_bounds();
    }

    fn be_strange(&mut self) {
        let client = match self.stranger {
            Some(client) if !self.world.is_closed(client) => client,
            _ => {
                let hello = match self.random.below(3) {
                    0 => hello(V5, "s"),
                    1 => hello(V5, "s").durable(),
                    _ => hello(V5, "s").durable().clean(),
                };
                self.stranger
                    .insert(self.world.say_hello(&hello))
                    .to_owned()
            }
        };
        for _ in 0..self.random.below(6) {
            let kinds = if self.weather == Weather::Calm { 2 } else { 3 };
            let filters = ["one/a", "three/#", "$share/m/one/+"];
            let filter = filters[self.random.below(kinds) as usize];
            let qos = self.random.below(3) as u8;
            let id = 1 + self.random.below(3) as u16;
            match self.random.below(6) {
                0 => {
                    let options = Subscription::new(TopicFilter::new(filter).unwrap(), qos_of(qos));
                    self.world.subscribe_with(client, &[options], &[]);
                }
                1 => self.world.unsubscribe(client, filter),
                2 => self
                    .world
                    .publish(client, &message("three/d", "", 2).id(id)),
                3 => self.world.pubrec(client, id),
                4 => self.world.pubcomp(client, id),
                _ => self.world.pubrel(client, id),
            }
        }
        if self.random.below(3) == 0 {
            self.world.cut(client);
            self.stranger = None;
        }
    }

    fn heal(&mut self) {
        self.world.commits = Commits::Succeed;
        self.world.holds_fetches = false;
        self.world.run();
    }

    /// Lets go what no session wants any more.
    fn trim(&mut self) {
        for lane in Lane::ALL {
            let floor = self.world.broker.release_floor(lane);
            if floor > self.world.disk.first[lane] {
                self.world.trim(lane, floor.0);
            }
        }
    }

    fn write(&mut self, who: usize) {
        let Some(client) = self.writers[who].client else {
            return self.reconnect_writer(who);
        };
        self.hear(who, client);
        let writer = &mut self.writers[who];
        if writer.step == WriterStep::Idle && writer.next < 1000 {
            writer.step = WriterStep::Published;
            writer.is_repeated = false;
            self.say(who, client);
        }
    }

    /// Sends the packet of the writer's step.
    fn say(&mut self, who: usize, client: ClientId) {
        let writer = &self.writers[who];
        match writer.step {
            WriterStep::Idle => {}
            WriterStep::Published => {
                let sent = message(writer.topic, &writer.next.to_string(), writer.qos).id(5);
                let sent = if writer.is_repeated {
                    sent.again()
                } else {
                    sent
                };
                self.world.publish(client, &sent);
            }
            WriterStep::Released => self.world.pubrel(client, 5),
        }
        self.hear(who, client);
    }

    fn hear(&mut self, who: usize, client: ClientId) {
        while let Some(bytes) = self.world.next_packet(client) {
            let writer = &mut self.writers[who];
            let is_refused = bytes.get(4).is_some_and(|code| *code >= 0x80);
            match bytes[0] >> 4 {
                // Refused: it is sent again as a new message.
                4 | 5 if is_refused => writer.step = WriterStep::Idle,
                4 | 7 => {
                    writer.step = WriterStep::Idle;
                    writer.next += 1;
                }
                5 => {
                    writer.step = WriterStep::Released;
                    self.world.pubrel(client, 5);
                }
                2 | 14 => {}
                other => panic!("packet type {other}"),
            }
        }
        if self.world.is_closed(client) {
            self.cut_writer(who);
        }
    }

    fn read(&mut self, who: usize) {
        let Some(client) = self.readers[who].client else {
            return self.reconnect_reader(who);
        };
        while let Some(bytes) = self.world.next_packet(client) {
            let version = self.readers[who].hello.version;
            let packet = decode(&bytes, version, u32::MAX).unwrap().unwrap().0;
            match packet {
                Packet::Publish(publish) => self.readers[who].receive(&publish),
                Packet::Pubrel(pubrel) => {
                    let id = pubrel.packet_identifier.get();
                    self.readers[who].unreleased.remove(&id);
                    self.readers[who].owed.push_back((7, id));
                }
                Packet::Connack(_) | Packet::Suback(_) | Packet::Disconnect(_) => {}
                other => panic!("{other:?}"),
            }
        }
        if self.world.is_closed(client) {
            return self.cut_reader(who);
        }
        let count = self.random.below(9);
        for _ in 0..count {
            match self.readers[who].owed.pop_front() {
                Some((4, id)) => self.world.puback(client, id),
                Some((5, id)) => self.world.pubrec(client, id),
                Some((_, id)) => self.world.pubcomp(client, id),
                None => break,
            }
        }
    }

    fn cut_reader(&mut self, who: usize) {
        if let Some(client) = self.readers[who].client.take() {
            self.world.cut(client);
        }
        self.readers[who].leave();
    }

    fn cut_writer(&mut self, who: usize) {
        if let Some(client) = self.writers[who].client.take() {
            self.world.cut(client);
        }
    }

    fn reconnect_reader(&mut self, who: usize) {
        let hello = self.readers[who].hello.clone();
        self.readers[who].client = Some(self.world.say_hello(&hello));
        if !self.readers[who].is_durable {
            self.subscribe_reader(who);
        }
    }

    fn subscribe_reader(&mut self, who: usize) {
        let Some(client) = self.readers[who].client else {
            return;
        };
        for (filter, qos) in self.readers[who].filters {
            let filter = TopicFilter::new(filter).unwrap();
            let options = Subscription::new(filter, qos_of(*qos));
            self.world.subscribe_with(client, &[options], &[]);
        }
    }

    fn reconnect_writer(&mut self, who: usize) {
        let hello = self.writers[who].hello.clone();
        self.heal();
        let client = self.world.rejoin(&hello);
        self.writers[who].client = Some(client);
        self.writers[who].is_repeated = true;
        self.say(who, client);
    }

    fn crash(&mut self) {
        let durable = self.random.below(self.world.waiting.len() as u64 + 1) as usize;
        self.world.crash(durable);
        self.world.commits = Commits::Succeed;
        self.world.run();
        for reader in &mut self.readers {
            reader.client = None;
            reader.leave();
        }
        self.writers
            .iter_mut()
            .for_each(|writer| writer.client = None);
        self.stranger = None;
    }

    fn check_bounds(&self) {
        for client in self.readers.iter().filter_map(|reader| reader.client) {
            let bytes = self.world.connection_bytes(client);
            assert!(bytes < 300 + 64 * 64, "{bytes} bytes wait for a reader");
        }
    }

    /// Heals the world and lets everything arrive.
    fn finish(&mut self) {
        self.heal();
        for who in 0..self.writers.len() {
            for _ in 0..4 {
                self.write(who);
            }
            assert_eq!(self.writers[who].step, WriterStep::Idle);
        }
        for who in 0..self.readers.len() {
            if self.weather == Weather::Rough {
                self.cut_reader(who);
                self.reconnect_reader(who);
            } else if let Some(client) = self.readers[who].client {
                self.world.set_reading(client, true);
            }
            for _ in 0..5000 {
                self.read(who);
            }
        }
        let stranger = self.world.join(&hello(V5, "s"));
        self.world.cut(stranger);
        // What a member was sent when another one was cut.
        for _ in 0..100 {
            (0..self.readers.len()).for_each(|who| self.read(who));
        }
        self.world.pass(3);
    }

    fn check(&self) {
        // Nothing is left of the stranger, and of the others what they have.
        let rows = [
            Table::Sessions,
            Table::Cursors,
            Table::Subscriptions,
            Table::Handshakes,
        ];
        assert_eq!(rows.map(|table| self.world.table(table)), [10, 13, 12, 0]);
        for lane in Lane::ALL {
            let floor = self.world.broker.release_floor(lane);
            assert_eq!(floor.0, self.world.log_len(lane) as u64, "{lane}");
        }
        let durable = self.readers.iter().filter(|reader| reader.is_durable);
        let durable = durable.filter(|reader| !reader.is_member());
        self.check_shared("$share/m/");
        self.check_shared("$share/n/");
        for (who, reader) in durable.enumerate() {
            for writer in &self.writers {
                let received = reader
                    .received
                    .get(writer.topic)
                    .cloned()
                    .unwrap_or_default();
                let mut firsts = Vec::new();
                for number in &received {
                    if !firsts.contains(number) {
                        firsts.push(*number);
                    }
                }
                let expected: Vec<u32> = (0..writer.next).collect();
                assert_eq!(firsts, expected, "reader {who}, {}", writer.topic);
                if writer.qos == 2 {
                    assert_eq!(received, expected, "reader {who}, {} twice", writer.topic);
                }
            }
        }
    }
}

impl Play {
    /// The members together have everything, and but for what was lost with a connection, once.
    fn check_shared(&self, name: &str) {
        for writer in &self.writers {
            let members = self.readers.iter();
            let members = members.filter(|reader| reader.filters[0].0.starts_with(name));
            let mut received: Vec<u32> = members
                .filter_map(|member| member.received.get(writer.topic))
                .flatten()
                .copied()
                .collect();
            received.sort_unstable();
            if self.weather == Weather::Rough && writer.qos == 1 {
                received.dedup();
            }
            let expected: Vec<u32> = (0..writer.next).collect();
            assert_eq!(received, expected, "{name}{}", writer.topic);
        }
    }
}

impl Reader {
    fn is_member(&self) -> bool {
        self.filters[0].0.starts_with("$share/")
    }

    /// Ends a connection. What a session that ends with it received must be without a gap.
    fn leave(&mut self) {
        self.owed.clear();
        self.aliases.clear();
        if self.is_durable {
            return;
        }
        self.unreleased.clear();
        if self.is_member() {
            return;
        }
        for (topic, received) in std::mem::take(&mut self.received) {
            let mut highest = received[0];
            for number in received {
                assert!(number <= highest + 1, "{topic}: {number} after {highest}");
                highest = highest.max(number);
            }
        }
    }

    fn receive(&mut self, publish: &Publish<'_>) {
        let topic = self.topic_of(publish);
        let id = publish.packet_identifier.unwrap().get();
        let is_twice = u8::from(publish.qos) == 2;
        // The stranger's messages have no numbers.
        if (!is_twice || self.unreleased.insert(id)) && !publish.payload.is_empty() {
            let number = std::str::from_utf8(publish.payload)
                .unwrap()
                .parse()
                .unwrap();
            self.received.entry(topic).or_default().push(number);
        }
        self.owed.push_back((if is_twice { 5 } else { 4 }, id));
    }

    fn topic_of(&mut self, publish: &Publish<'_>) -> String {
        let name = publish.topic.map(|topic| topic.as_str().to_owned());
        match (publish.properties.topic_alias(), name) {
            (None, name) => name.unwrap(),
            (Some(alias), None) => self.aliases[&alias.get()].clone(),
            (Some(alias), Some(name)) => {
                self.aliases.insert(alias.get(), name.clone());
                name
            }
        }
    }
}

fn play(seed: u64, steps: usize, weather: Weather) {
    println!("seed {seed}");
    let mut play = Play::new(seed, weather);
    for _ in 0..steps {
        play.step();
    }
    play.finish();
    play.check();
    assert!(
        play.writers.iter().any(|writer| writer.next > 5),
        "something happened"
    );
}

#[test]
fn random_clients_and_crashes_lose_nothing_and_repeat_nothing_of_qos_2() {
    for seed in 0..60 {
        play(seed, 400, Weather::Rough);
    }
}

#[test]
fn while_no_connection_is_lost_a_group_gets_each_message_once() {
    for seed in 0..20 {
        play(seed, 400, Weather::Calm);
    }
}

#[test]
fn a_long_play_holds_as_well() {
    play(1000, 6000, Weather::Rough);
}
