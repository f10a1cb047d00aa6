//! Mail across everything that a real process goes through: kills, devices, agents that are programs
//! of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wire::mq9::{
    Acknowledge, Attributes, Create, Deliver, Fetch, PayloadEncoding, Priority, Query, Reply,
    Request, Send,
};
use wire::nats::{ClientOperation, Limits, ServerOperation};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::Publish;

use super::clients::fetched;
use super::devices::Device;
use super::support::{Gateway, PATIENCE, Tool, free_port, now, skip, wait_until};

#[path = "../../../examples/agent.rs"]
#[expect(dead_code, reason = "an example is a program of its own")]
mod agent;

/// How often the gateway is killed in the everyday run.
const KILLS: u32 = 10;
/// Requests that are answered between two kills, at least.
const WORK: u32 = 10;
const INBOX: &str = "_INBOX.test";

/// A client of mq9 over a socket, which survives that the gateway does not.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    /// Requests with a reply.
    answered: Arc<AtomicU32>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("a time above zero");
        let mut client = Self {
            stream,
            received: Vec::new(),
            answered: Arc::default(),
        };
        let hello = format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB {INBOX} 1\r\n");
        assert!(client.write(hello.as_bytes()));
        client
    }

    /// Makes a request and waits for its reply; `None` when the gateway is gone.
    fn ask(&mut self, request: &Request) -> Option<Reply> {
        let reply = self.tell(request).then(|| self.reply(request))??;
        self.answered.fetch_add(1, Ordering::Relaxed);
        Some(reply)
    }

    /// Makes a request; false when the gateway is gone.
    fn tell(&mut self, request: &Request) -> bool {
        let mut bytes = Vec::new();
        let (subject, headers, payload) = (request.subject(), request.headers(), request.body());
        let publish = ClientOperation::Publish(wire::nats::Publish {
            subject: &subject,
            reply_to: Some(INBOX),
            headers: &headers,
            payload: &payload,
        });
        publish.encode(&mut bytes).expect("a vector takes all");
        self.write(&bytes)
    }

    fn reply(&mut self, request: &Request) -> Option<Reply> {
        use std::io::Read as _;
        loop {
            let decoded = ServerOperation::decode(&self.received, &Limits::FROM_SERVER);
            let Some((operation, bytes)) = decoded.expect("a server of NATS") else {
                let mut buffer = [0; 4096];
                match self.stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return None,
                    Ok(count) => self.received.extend(&buffer[..count]),
                }
                continue;
            };
            let reply = match operation {
                ServerOperation::Message(message) => {
                    let reply = Reply::decode(request.kind(), message.payload);
                    Some(reply.expect("a reply"))
                }
                _ => None,
            };
            self.received.drain(..bytes);
            if reply.is_some() {
                return reply;
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        use std::io::Write as _;
        self.stream.write_all(bytes).is_ok()
    }
}

fn start() -> (Gateway, SocketAddr) {
    let address = free_port();
    let listener = format!("[[listener]]\naddress = \"{address}\"\nprotocol = \"nats\"\n");
    let gateway = Gateway::start(&listener);
    assert_eq!(gateway.address_of(1), address);
    (gateway, address)
}

fn send(address: &str, payload: &str, delay_seconds: Option<u64>) -> Request {
    Request::Send(Send {
        address: address.to_owned(),
        attributes: Attributes {
            delay_seconds,
            ..Attributes::default()
        },
        headers: Vec::new(),
        payload: payload.as_bytes().to_vec(),
    })
}

fn fetch(address: &str) -> Request {
    Request::Fetch(Fetch {
        address: address.to_owned(),
        group: Some("g".to_owned()),
        deliver: Deliver::Earliest,
        is_forced: false,
        count: 1000,
        wait_milliseconds: 0,
        encoding: Some(PayloadEncoding::Base64),
    })
}

fn create(address: &str) -> Request {
    Request::Create(Create {
        name: Some(address.to_owned()),
        ttl_seconds: Some(0),
        description: String::new(),
    })
}

/// What the clients of a story with kills were told.
#[derive(Default)]
struct Ledger {
    /// Mailboxes that are there.
    mailboxes: Vec<String>,
    /// Ids that were told, with their payloads.
    sent: BTreeMap<u64, String>,
    /// Messages that were taken and come later.
    delayed: BTreeSet<String>,
    /// Ids that were fetched and whose acknowledgement was asked for, answered or not.
    fetched: BTreeSet<u64>,
    /// Those of them whose acknowledgement was answered.
    acknowledged: BTreeSet<u64>,
    sent_count: u64,
    made_count: u64,
}

impl Ledger {
    /// Does all that can be done to mail until the gateway is gone.
    fn work(&mut self, client: &mut Client) {
        loop {
            self.made_count += 1;
            let name = format!("made.{}", self.made_count);
            match client.ask(&create(&name)) {
                Some(Reply::Created { address }) => self.mailboxes.push(address),
                Some(other) => panic!("{other:?}"),
                None => return,
            }
            for _ in 0..5 {
                self.sent_count += 1;
                let payload = format!("message {}", self.sent_count);
                match client.ask(&send("t.inbox", &payload, None)) {
                    Some(Reply::Sent { id: Some(id) }) => {
                        let former = self.sent.insert(id, payload);
                        assert_eq!(former, None, "id {id} twice");
                    }
                    Some(other) => panic!("{other:?}"),
                    None => return,
                }
            }
            self.sent_count += 1;
            let payload = format!("delayed {}", self.sent_count);
            match client.ask(&send("t.inbox", &payload, Some(1))) {
                Some(Reply::Sent { id: None }) => drop(self.delayed.insert(payload)),
                Some(other) => panic!("{other:?}"),
                None => return,
            }
            if !self.read(client, 3) {
                return;
            }
        }
    }

    /// Fetches, and acknowledges so many messages; false when the gateway is gone.
    fn read(&mut self, client: &mut Client, count: usize) -> bool {
        let Some(Reply::Messages { messages, .. }) = client.ask(&fetch("t.inbox")) else {
            return false;
        };
        for message in &messages {
            let is_new = !self.acknowledged.contains(&message.id);
            assert!(is_new, "{} was acknowledged", message.id);
        }
        for message in messages.iter().take(count) {
            let payload = String::from_utf8(message.payload.clone()).expect("text");
            if let Some(expected) = self.sent.get(&message.id) {
                assert_eq!(*expected, payload, "id {} twice", message.id);
            }
            let acknowledge = Request::Acknowledge(Acknowledge {
                address: "t.inbox".to_owned(),
                group: "g".to_owned(),
                id: message.id,
            });
            // What is here is accounted for, whether its sender was answered or not.
            self.sent.insert(message.id, payload.clone());
            self.delayed.remove(&payload);
            self.fetched.insert(message.id);
            match client.ask(&acknowledge) {
                Some(Reply::Done) => drop(self.acknowledged.insert(message.id)),
                Some(other) => panic!("{other:?}"),
                None => return false,
            }
        }
        true
    }
}

/// The number of kills: more of them by the environment.
fn kills() -> u32 {
    let more = std::env::var("ROBUSTMQ_EDGE_TEST_KILLS");
    more.ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(KILLS)
}

/// Messages that nobody acknowledged, over by their own time and by the longest: gone, counted, and
/// written down in the folder.
#[test]
fn what_ends_unread_is_counted_and_written_down() {
    let address = free_port();
    let mut gateway = Gateway::start(&format!(
        "[[listener]]\naddress = \"{address}\"\nprotocol = \"nats\"\n\
         [mq9]\nmessage_ttl_seconds = 1\n"
    ));
    assert_eq!(gateway.address_of(1), address);
    let mut client = Client::connect(address);
    let create = Create {
        name: Some("short".to_owned()),
        ttl_seconds: Some(0),
        ..Create::default()
    };
    client.ask(&Request::Create(create)).expect("it lives");
    for (ttl_seconds, priority) in [(None, Priority::Normal), (Some(2), Priority::Urgent)] {
        let send = Request::Send(Send {
            address: "short".to_owned(),
            attributes: Attributes {
                ttl_seconds,
                priority,
                ..Attributes::default()
            },
            headers: Vec::new(),
            payload: b"text".to_vec(),
        });
        client.ask(&send).expect("it lives");
    }
    gateway.expect_fact("mail.messages_unread", |count| count == 2);
    gateway.expect_fact("mail.messages", |count| count == 0);
    gateway.terminate();
    let facts = super::support::run(&["inspect", &gateway.data().display().to_string()]);
    let facts = String::from_utf8(facts.stdout).expect("text");
    let told = |lane: &str| {
        let mut lines = facts.lines();
        lines.any(|line| line.contains("unread") && line.contains(lane))
    };
    assert!(told("normal") && told("urgent"), "{facts}");
}

#[test]
fn whatever_was_answered_outlives_kills() {
    let (mut gateway, address) = start();
    let mut client = Client::connect(address);
    let made = client.ask(&create("t.inbox"));
    assert!(matches!(made, Some(Reply::Created { .. })), "{made:?}");
    let mut ledger = Ledger::default();
    for kill in 0..kills() {
        let pause = Duration::from_millis(u64::from(20 + kill * 37 % 180));
        let answered = client.answered.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::park_timeout(pause);
                // A busy machine does nothing in this time.
                wait_until("work", || answered.load(Ordering::Relaxed) >= WORK);
                gateway.kill();
            });
            ledger.work(&mut client);
        });
        gateway.restart();
        gateway.address_of(1);
        client = Client::connect(address);
    }
    for mailbox in &ledger.mailboxes {
        let again = client
            .ask(&create(mailbox))
            .map(|reply| format!("{reply:?}"));
        assert!(
            again.is_some_and(|it| it.contains("MailboxExists")),
            "{mailbox}"
        );
    }
    // What was delayed comes; all that was answered is there, and nothing that was acknowledged.
    let deadline = now() + PATIENCE;
    while !ledger.delayed.is_empty() {
        assert!(now() < deadline, "not delivered: {:?}", ledger.delayed);
        assert!(ledger.read(&mut client, usize::MAX));
    }
    assert!(ledger.read(&mut client, usize::MAX));
    let left = ledger.sent.keys().filter(|id| !ledger.fetched.contains(id));
    assert_eq!(left.count(), 0, "all that was answered was fetched");
    assert!(
        ledger.sent.len() > 5 * kills() as usize / 2,
        "there was work"
    );
}

/// More letters at once than requests may be under way: links are read before it is known what they
/// say, and who is refused for haste may never write again.
#[test]
fn letters_that_come_faster_than_the_disk_can_follow_wait_and_none_is_refused() {
    use std::io::Write as _;
    const DEVICES: u16 = 40;
    const LETTERS: u16 = 50;
    let (gateway, address) = start();
    assert!(Client::connect(address).ask(&create("busy")).is_some());
    let devices = (0..DEVICES).map(|at| Device::connect(gateway.address, &format!("d{at}")));
    let mut devices: Vec<Device> = devices.collect();
    let mut letters = bytes::BytesMut::new();
    for identifier in 1..=LETTERS {
        let mut letter = Publish::new("$mq9/busy", QoS::AtLeastOnce, "x");
        letter.pkid = identifier;
        letter.write(&mut letters).expect("a valid packet");
    }
    for device in &mut devices {
        device.stream().write_all(&letters).expect("it is open");
    }
    for device in &mut devices {
        assert!((0..LETTERS).all(|_| device.is_acknowledged()));
    }
    let all = u64::from(DEVICES) * u64::from(LETTERS);
    assert_eq!(gateway.fact("mail.messages"), all);
    assert_eq!(gateway.fact("mail.failures"), 0);
}

#[test]
fn mosquitto_pub_writes_to_an_agent() {
    if Command::new("mosquitto_pub")
        .arg("--help")
        .output()
        .is_err()
    {
        return skip("mosquitto's clients are not installed");
    }
    let (gateway, address) = start();
    let mut client = Client::connect(address);
    assert!(client.ask(&create("agent.alarm")).is_some());
    let letter = |more: &[&str]| {
        let all = ["-V", "mqttv5", "-t", "$mq9/agent.alarm", "-m", "too hot"];
        Tool::start("mosquitto_pub", gateway.address, &[&all, more].concat()).succeeds()
    };
    let urgent = ["-D", "publish", "user-property", "mq9-priority", "urgent"];
    assert!(letter(&[&["-q", "1"], &urgent[..]].concat()));
    assert!(letter(&["-q", "2"]));
    assert!(letter(&["-q", "0"]));
    let query = Request::Query(Query {
        address: "agent.alarm".to_owned(),
        key: None,
        tags: Vec::new(),
        since: None,
        limit: 100,
        encoding: Some(PayloadEncoding::Base64),
    });
    let mut messages = Vec::new();
    wait_until("three letters", || {
        if let Some(Reply::Messages {
            messages: found, ..
        }) = client.ask(&query)
        {
            messages = found;
        }
        messages.len() == 3
    });
    let priorities: Vec<Priority> = messages.iter().map(|it| it.priority).collect();
    use Priority::{Normal, Urgent};
    assert_eq!(priorities, [Urgent, Normal, Normal]);
    assert!(messages.iter().all(|it| it.payload == b"too hot"));
    assert_eq!(gateway.fact("mail.mailboxes"), 1);
    assert_eq!(gateway.fact("mail.messages"), 3);
    assert_eq!(
        gateway.fact("mail.bytes") > 0,
        gateway.fact("mail.agents") == 0
    );
}

/// What both agents say, whose names begin so.
fn story(name: &str) -> String {
    format!(
        "reviewer found {name}.translator\n\
         translator got the title\ntranslator got page 1\ntranslator got page 2\n\
         reviewer got the title, translated\nreviewer got page 1, translated\n\
         reviewer got page 2, translated\n"
    )
}

#[test]
fn two_agents_in_rust_write_to_each_other_while_the_other_one_is_away() {
    let (_gateway, address) = start();
    let mut said = String::new();
    let played = agent::play(&address.to_string(), |line| said += &(line + "\n"));
    played.expect("both do their work");
    assert_eq!(said, story("rs"));
}

#[test]
fn two_agents_in_python_write_to_each_other_while_the_other_one_is_away() {
    let Some(folder) = fetched() else { return };
    let (_gateway, address) = start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/agent.py");
    let output = Command::new("python3")
        .env("PYTHONPATH", folder.join("python"))
        .arg(script)
        .arg(address.to_string())
        .output()
        .expect("it was there for the fetching");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        story("py"),
        "{errors}"
    );
}
