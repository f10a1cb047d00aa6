//! The load: clients that do all that MQTT asks of them, whatever the gateway does.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Packet, PubAck, PubComp, PubRec, PubRel, Publish, Subscribe, SubscribeFilter,
};

use super::super::devices::Device;
use super::super::support::{Gateway, Mosquitto, PATIENCE, Tool, now};
use super::Dice;
use super::ledger::{Account, Balance, Ledger, Message};

/// Publishers and receivers, each in a thread of its own.
pub(super) struct Load {
    site: Site,
    publishers: Vec<JoinHandle<()>>,
    receivers: Vec<JoinHandle<()>>,
    cloud: Option<(Mosquitto, Child)>,
    is_over: Arc<AtomicBool>,
    pub(super) is_closed: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

/// What every client knows.
#[derive(Clone)]
struct Site {
    /// A Unix socket: it is there again after each cut, and nobody else gets its name meanwhile.
    socket: PathBuf,
    books: Arc<Mutex<Ledger>>,
}

impl Load {
    /// Starts a gateway, lets `prepare` do something with its folder while it does not run, and
    /// puts it under load; `None` when `prepare` says no.
    pub(super) fn start(mut prepare: impl FnMut(&Gateway) -> bool) -> Option<(Gateway, Self)> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("edge.sock");
        let mosquitto = Mosquitto::start();
        let cloud = mosquitto.as_ref().map_or_else(String::new, |cloud| {
            format!(
                "[cloud]\nendpoints = [\"mqtt://{}\"]\nuplink = [\"load/#\"]\n\
                 [sync]\nhold_seconds = 1\nbackoff_max_seconds = 1\n",
                cloud.address
            )
        });
        let mut gateway = Gateway::start(&format!(
            "[[listener]]\naddress = \"unix:{}\"\n[lanes]\ncritical = [\"load/alarm/#\"]\n\
             [retention.normal]\nmax_bytes = 8589934592\n{cloud}",
            socket.display()
        ));
        gateway.kill();
        if !prepare(&gateway) {
            return None;
        }
        gateway.restart();
        let publishers = PUBLISHERS
            .each_ref()
            .map(|manner| (manner.qos, manner.retained_topics.max(1)));
        let site = Site {
            socket,
            books: Arc::new(Mutex::new(Ledger::new(&publishers))),
        };
        let mut load = Self {
            site,
            publishers: Vec::new(),
            receivers: Vec::new(),
            cloud: None,
            is_over: Arc::default(),
            is_closed: Arc::default(),
            _folder: folder,
        };
        load.cloud = mosquitto.map(|mosquitto| load.watch(mosquitto));
        load.receive();
        load.publish();
        Some((gateway, load))
    }

    /// The books, while clients go on writing to them.
    pub(super) fn books(&self) -> MutexGuard<'_, Ledger> {
        self.site.books()
    }

    /// Stops publishing and waits until everything acknowledged has arrived, as long as something
    /// still arrives.
    pub(super) fn settle(&self, gateway: &Gateway) {
        self.is_over.store(true, Ordering::SeqCst);
        let is_done = || self.publishers.iter().all(JoinHandle::is_finished);
        let (mut missing, mut since) = (u64::MAX, now());
        while !is_done() || self.books().missing() > 0 {
            let left = self.books().missing();
            if left < missing {
                (missing, since) = (left, now());
            }
            if now() - since > PATIENCE {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        self.look_at_retained(gateway.address);
    }

    /// Ends all clients; the gateway has ended.
    pub(super) fn end(mut self) -> Balance {
        if let Some((_, mut watching)) = self.cloud.take() {
            let _ = watching.kill();
            let _ = watching.wait();
        }
        for thread in self.publishers.drain(..).chain(self.receivers.drain(..)) {
            thread.join().expect("no client met anything unexpected");
        }
        self.books().balance()
    }

    fn publish(&mut self) {
        for (number, manner) in PUBLISHERS.iter().enumerate() {
            let publisher = Publisher {
                number,
                manner,
                site: self.site.clone(),
                next: 0,
                flight: VecDeque::new(),
                is_known: false,
            };
            let is_over = Arc::clone(&self.is_over);
            let run = move || publisher.run(&is_over);
            self.publishers.push(std::thread::spawn(run));
        }
    }

    /// Returns when all subscriptions are made: nothing may be missed before them.
    fn receive(&mut self) {
        for (name, qos, is_steady) in RECEIVERS {
            let account = self.books().open(name, qos);
            let mut receiver = Receiver {
                name,
                account,
                site: self.site.clone(),
                held: BTreeSet::new(),
            };
            receiver.subscribe(qos);
            let (is_over, is_closed) = (self.is_over.clone(), self.is_closed.clone());
            let run = move || receiver.run(is_steady, &is_over, &is_closed);
            self.receivers.push(std::thread::spawn(run));
        }
    }

    /// Takes everything that arrives in the cloud to the books.
    fn watch(&mut self, mosquitto: Mosquitto) -> (Mosquitto, Child) {
        let port = mosquitto.address.port().to_string();
        let session = [
            "-V", "mqttv5", "-i", "ledger", "-c", "-q", "1", "-t", "load/#",
        ];
        // What comes before the subscription is made would never be seen.
        let subscribed = Tool::start(
            "mosquitto_sub",
            mosquitto.address,
            &[&session, &["-E"][..]].concat(),
        );
        assert!(subscribed.succeeds(), "the cloud takes a subscription");
        let mut watching = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port, "-F", "%P|%p"])
            .args(session)
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto's clients come with it");
        let lines = BufReader::new(watching.stdout.take().expect("it was asked for")).lines();
        let account = self.books().open("cloud", 2);
        let site = self.site.clone();
        self.receivers.push(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (properties, payload) = line.split_once('|').expect("the format says so");
                let of = |name: &str| {
                    let mut all = properties.split_whitespace();
                    all.find_map(|property| property.strip_prefix(name))
                };
                let lane = of("edge-lane:").expect("each record has one");
                let offset = of("edge-offset:").expect("each record has one");
                let offset = offset.parse().expect("a number");
                let message = message(payload.as_bytes());
                site.books().arrive_at(account, lane, offset, message);
            }
        }));
        (mosquitto, watching)
    }

    /// Each retained message is the last acknowledged one of its topic, or a later one.
    fn look_at_retained(&self, address: SocketAddr) {
        let mut looking = Device::connect(address, "looking");
        looking.subscribe("load/retained/#");
        let topics = PUBLISHERS.iter().map(|publisher| publisher.retained_topics);
        for _ in 0..topics.sum() {
            let payload = looking.take().expect("it is retained");
            let (publisher, number) = message(payload.as_bytes());
            let mut books = self.books();
            let topics = PUBLISHERS[publisher].retained_topics;
            if number + topics < books.acknowledged_of(publisher) {
                books.find_retained_stale();
            }
        }
    }
}

impl Site {
    fn books(&self) -> MutexGuard<'_, Ledger> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until the gateway is there, or never will be again. `patience` is for what comes later.
    fn connect(
        &self,
        name: &str,
        patience: Option<Duration>,
        is_closed: &AtomicBool,
    ) -> Option<Device<UnixStream>> {
        while !is_closed.load(Ordering::SeqCst) {
            if let Ok(stream) = UnixStream::connect(&self.socket) {
                let wait = |patience| {
                    let set = stream.set_read_timeout(patience);
                    set.expect("a socket has time-outs");
                };
                wait(Some(PATIENCE));
                let twin = stream.try_clone().expect("a socket can be cloned");
                if let Some(device) = Device::over(twin, name) {
                    wait(patience);
                    return Some(device);
                }
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        None
    }
}

/// How a publisher publishes.
struct Manner {
    topic: &'static str,
    qos: u8,
    payload_bytes: usize,
    /// Retained, on so many topics in turn; 0 for one topic and not retained.
    retained_topics: u64,
}

/// A device with a kept session: it sends again whatever was not acknowledged, in order.
struct Publisher {
    number: usize,
    manner: &'static Manner,
    site: Site,
    next: u64,
    /// Numbers without an answer, and whether the PUBREC has come.
    flight: VecDeque<(u64, bool)>,
    is_known: bool,
}

impl Publisher {
    fn run(mut self, is_over: &AtomicBool) {
        let name = format!("publisher-{}", self.number);
        while !(is_over.load(Ordering::SeqCst) && self.flight.is_empty()) {
            let never = AtomicBool::new(false);
            let Some(mut device) = self.site.connect(&name, Some(PATIENCE), &never) else {
                return;
            };
            if self.is_known && !device.session_present {
                self.site.books().lose_session();
            }
            self.is_known = true;
            self.resume(&mut device);
            self.work(&mut device, is_over);
        }
    }

    fn resume(&self, device: &mut Device<UnixStream>) {
        for (number, is_received) in &self.flight {
            match is_received {
                true => device.release(identifier(*number)),
                false => self.send(device, *number, true),
            }
        }
    }

    /// Until the connection ends.
    fn work(&mut self, device: &mut Device<UnixStream>, is_over: &AtomicBool) {
        loop {
            while self.flight.len() < WINDOW && !is_over.load(Ordering::SeqCst) {
                self.flight.push_back((self.next, false));
                self.send(device, self.next, false);
                self.next += 1;
            }
            if self.flight.is_empty() {
                return;
            }
            let Some(packet) = device.receive() else {
                return;
            };
            self.settle(device, &packet);
        }
    }

    fn settle(&mut self, device: &mut Device<UnixStream>, packet: &Packet) {
        let place = |pkid: u16| {
            let mut flight = self.flight.iter();
            flight.position(|(number, _)| identifier(*number) == pkid)
        };
        match packet {
            Packet::PubAck(PubAck { pkid }) => {
                let place = place(*pkid).expect("it was sent");
                self.acknowledge(place);
                self.finish(place);
            }
            Packet::PubRec(PubRec { pkid }) => {
                let place = place(*pkid).expect("it was sent");
                self.flight[place].1 = true;
                self.acknowledge(place);
                device.release(*pkid);
            }
            Packet::PubComp(PubComp { pkid }) => {
                let place = place(*pkid).expect("it was sent");
                self.finish(place);
            }
            other => panic!("an acknowledgement expected, not {other:?}"),
        }
    }

    fn acknowledge(&self, place: usize) {
        let (number, _) = self.flight[place];
        self.site.books().acknowledge((self.number, number));
    }

    fn finish(&mut self, place: usize) {
        let (number, _) = self.flight.remove(place).expect("it was found there");
        // A device has a pace, or the books would outgrow the test.
        if number % BURST == 0 {
            std::thread::park_timeout(PAUSE);
        }
    }

    fn send(&self, device: &mut Device<UnixStream>, number: u64, is_repeated: bool) {
        let Manner {
            topic,
            qos,
            payload_bytes,
            retained_topics,
        } = self.manner;
        let topic = match number.checked_rem(*retained_topics) {
            Some(of) => format!("{topic}/{of}"),
            None => (*topic).to_owned(),
        };
        let mut payload = format!("{} {number} ", self.number);
        payload.extend(std::iter::repeat_n('x', *payload_bytes));
        let mut publish = Publish::new(topic, quality(*qos), payload);
        publish.dup = is_repeated;
        publish.retain = *retained_topics > 0;
        publish.pkid = identifier(number);
        device.send(|out| publish.write(out).map(drop));
    }
}

/// A display with a kept session that knows which QoS 2 messages it has.
struct Receiver {
    name: &'static str,
    account: Account,
    site: Site,
    held: BTreeSet<u16>,
}

impl Receiver {
    fn subscribe(&self, qos: u8) {
        let never = AtomicBool::new(false);
        let device = self.site.connect(self.name, Some(PATIENCE), &never);
        let mut device = device.expect("the gateway runs");
        let mut subscribe = Subscribe {
            pkid: 1,
            filters: vec![SubscribeFilter::new("load/#".to_owned(), quality(qos))],
        };
        subscribe.pkid = 1;
        device.send(|out| subscribe.write(out).map(drop));
        assert!(matches!(device.receive(), Some(Packet::SubAck(_))));
    }

    /// One that is not steady takes a bite, leaves without a word, and comes back for the next one.
    fn run(&mut self, is_steady: bool, is_over: &AtomicBool, is_closed: &AtomicBool) {
        let mut dice = Dice(self.name.len() as u64);
        // Who has everything waits for as long as others still get something.
        while let Some(mut device) = self.site.connect(self.name, None, is_closed) {
            if !device.session_present {
                self.site.books().lose_session();
            }
            let bite = 1 + dice.below(4000);
            let mut taken = 0;
            while is_steady || is_over.load(Ordering::SeqCst) || taken < bite {
                let Some(packet) = device.receive() else {
                    break;
                };
                self.take(&mut device, packet);
                taken += 1;
            }
            drop(device);
            if !is_steady && !is_over.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(dice.below(700)));
            }
        }
    }

    fn take(&mut self, device: &mut Device<UnixStream>, packet: Packet) {
        match packet {
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                if self.held.insert(publish.pkid) {
                    self.note(&publish);
                }
                let received = PubRec::new(publish.pkid);
                device.send(|out| received.write(out).map(drop));
            }
            Packet::Publish(publish) => {
                self.note(&publish);
                let acknowledgement = PubAck::new(publish.pkid);
                device.send(|out| acknowledgement.write(out).map(drop));
            }
            Packet::PubRel(PubRel { pkid }) => {
                self.held.remove(&pkid);
                let complete = PubComp::new(pkid);
                device.send(|out| complete.write(out).map(drop));
            }
            other => panic!("a message expected, not {other:?}"),
        }
    }

    fn note(&self, publish: &Publish) {
        let message = message(&publish.payload);
        let mut books = self.site.books();
        match publish.retain {
            true => drop(books.greet(self.account, message)),
            false => books.arrive(self.account, message),
        }
    }
}

impl Device<UnixStream> {
    fn release(&mut self, packet_identifier: u16) {
        let release = PubRel::new(packet_identifier);
        self.send(|out| release.write(out).map(drop));
    }
}

fn quality(qos: u8) -> QoS {
    match qos {
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// Free again long before it comes round.
fn identifier(number: u64) -> u16 {
    u16::try_from(number % 65_535 + 1).expect("a remainder fits")
}

/// What a publisher wrote.
fn message(payload: &[u8]) -> Message {
    let text = std::str::from_utf8(payload).expect("publishers write text");
    let mut words = text.split(' ');
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let publisher: u64 = number().expect("the publisher comes first");
    let number = number().expect("then the message's number");
    (usize::try_from(publisher).expect("a few"), number)
}

const PUBLISHERS: [Manner; 6] = [
    Manner {
        topic: "load/one",
        qos: 1,
        payload_bytes: 200,
        retained_topics: 0,
    },
    Manner {
        topic: "load/two",
        qos: 2,
        payload_bytes: 200,
        retained_topics: 0,
    },
    Manner {
        topic: "load/retained/one",
        qos: 1,
        payload_bytes: 50,
        retained_topics: 8,
    },
    Manner {
        topic: "load/retained/two",
        qos: 2,
        payload_bytes: 50,
        retained_topics: 8,
    },
    Manner {
        topic: "load/alarm/two",
        qos: 2,
        payload_bytes: 20,
        retained_topics: 0,
    },
    Manner {
        topic: "load/large",
        qos: 1,
        payload_bytes: 9000,
        retained_topics: 0,
    },
];
/// Name, QoS of the subscription, and whether it stays connected.
const RECEIVERS: [(&str, u8, bool); 4] = [
    ("display", 2, true),
    ("visitor", 2, false),
    ("guest", 2, false),
    ("passer-by", 1, false),
];
/// Messages without an answer.
const WINDOW: usize = 20;
/// A pause after so many.
const BURST: u64 = 10;
const PAUSE: Duration = Duration::from_millis(10);
