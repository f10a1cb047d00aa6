//! Mail and agents between a gateway and a cloud that is a model of RobustMQ's mq9.

#[path = "../../../cloud-bridge/tests/bridge/robustmq.rs"]
mod robustmq;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use self::robustmq::{Manners, RobustMq};
use super::support::{Gateway, PATIENCE, free_port, wait_until};

/// A gateway with mail to and from a cloud whose MQTT is away, and where it speaks NATS.
fn start(cloud: &RobustMq) -> (Gateway, SocketAddr) {
    let address = free_port();
    let gateway = Gateway::start(&format!(
        "[[listener]]\naddress = \"{address}\"\nprotocol = \"nats\"\n\
         [cloud]\nendpoints = [\"mqtt://{}\"]\nuplink = [\"plant/#\"]\nconnections = 1\n\
         [cloud.mq9]\nendpoints = [\"nats://{}\"]\nmailboxes = [\"cloud.>\"]\n\
         pull = [\"plant7.commands\"]\npull_interval_ms = 20\npull_interval_max_ms = 50\n\
         agents_interval_seconds = 1\n\
         [sync]\nbackoff_max_seconds = 1\n",
        free_port(),
        cloud.address,
    ));
    assert_eq!(gateway.address_of(1), address);
    (gateway, address)
}

/// A client that asks one thing at a time.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("a time above zero");
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        client.say(b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB answers 1\r\n");
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        let sent = self.stream.get_mut().write_all(bytes);
        sent.expect("it is read");
    }

    fn ask(&mut self, command: &str, headers: &str, payload: &[u8]) -> Value {
        let block = match headers {
            "" => String::new(),
            fields => format!("NATS/1.0\r\n{fields}\r\n\r\n"),
        };
        let (headers, all) = (block.len(), block.len() + payload.len());
        let line = match headers {
            0 => format!("PUB $mq9.AI.{command} answers {all}\r\n"),
            _ => format!("HPUB $mq9.AI.{command} answers {headers} {all}\r\n"),
        };
        self.say(&[line.as_bytes(), block.as_bytes(), payload, b"\r\n"].concat());
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("in time");
            if line.starts_with("PING") {
                self.say(b"PONG\r\n");
            }
            if let Some(length) = line.strip_prefix("MSG answers 1 ") {
                let length: usize = length.trim().parse().expect("a number");
                let mut answer = vec![0; length + 2];
                self.stream.read_exact(&mut answer).expect("in time");
                return serde_json::from_slice(&answer[..length]).expect("JSON");
            }
        }
    }

    fn send(&mut self, address: &str, headers: &str, payload: &[u8]) -> Value {
        self.ask(&format!("MSG.SEND.{address}"), headers, payload)
    }

    /// All texts of a mailbox that its group has not acknowledged; acknowledges them.
    fn take(&mut self, address: &str) -> Vec<String> {
        let fetch = json!({
            "group_name": "g",
            "deliver": "earliest",
            "config": {"num_msgs": 1000, "max_wait_ms": 1000},
            "payload_encoding": "utf8",
        });
        let command = format!("MSG.FETCH.{address}");
        let answer = self.ask(&command, "", fetch.to_string().as_bytes());
        let Some(messages) = answer["messages"].as_array() else {
            return Vec::new();
        };
        if let Some(last) = messages.last() {
            let id = &last["msg_id"];
            let body = json!({"group_name": "g", "mail_address": address, "msg_id": id});
            let command = format!("MSG.ACK.{address}");
            let answer = self.ask(&command, "", body.to_string().as_bytes());
            assert_eq!(answer["error"], "", "{answer}");
        }
        let text = |it: &Value| it["payload"].as_str().expect("a text").to_owned();
        messages.iter().map(text).collect()
    }

    /// Name, home and mailbox of each agent.
    fn agents(&mut self) -> Vec<[String; 3]> {
        let found = self.ask("AGENT.DISCOVER", "", b"{}");
        let agents = found["agents"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let agent = |it: &Value| ["name", "home", "mailbox"].map(|field| text(&it[field]));
        agents.iter().map(agent).collect()
    }

    /// Takes until there are so many texts.
    fn take_all(&mut self, address: &str, count: usize) -> Vec<String> {
        let start = super::support::now();
        let mut texts = Vec::new();
        while texts.len() < count && start.elapsed() < PATIENCE {
            texts.extend(self.take(address));
        }
        texts
    }
}

fn owned((name, home, mailbox): (&str, &str, &str)) -> [String; 3] {
    [name, home, mailbox].map(str::to_owned)
}

#[test]
fn mail_to_a_cloud_that_is_away_arrives_when_it_is_back() {
    let cloud = RobustMq::start(1, Manners::default());
    cloud.go_away();
    let (mut gateway, address) = start(&cloud);
    let mut client = Client::connect(address);
    let later = json!({"error": "", "msg_id": -1});
    for number in 0..20 {
        let priority = ["critical", "urgent", "normal"][number % 3];
        let headers = format!("mq9-priority: {priority}");
        let text = format!("mail {number}");
        assert_eq!(client.send("cloud.alarm", &headers, text.as_bytes()), later);
    }
    assert_eq!(client.send("cloud.bin", "", &[0xff, 0, 1]), later);
    for (name, mailbox) in [("alpha", "a.in"), ("beta", "b.in")] {
        let card = json!({"name": name, "mailbox": mailbox});
        let answer = client.ask("AGENT.REGISTER", "", card.to_string().as_bytes());
        assert_eq!(answer["error"], "");
    }
    // As the SDKs say it, and RobustMQ would not understand.
    let gone = client.ask("AGENT.UNREGISTER", "", br#"{"mailbox":"b.in"}"#);
    assert_eq!(gone["error"], "");
    let answer = client.ask("MSG.FETCH.cloud.alarm", "", b"{}");
    assert!(
        answer["error"]
            .as_str()
            .is_some_and(|it| it.contains("cloud")),
        "{answer}"
    );

    gateway.kill();
    gateway.restart();
    cloud.come_back();
    cloud.wait("all mail in the cloud", |state| {
        let texts = state.messages("cloud.alarm").iter();
        let texts: BTreeSet<_> = texts.map(|message| message.payload.clone()).collect();
        texts.len() == 20 && !state.messages("cloud.bin").is_empty() && state.agents.len() == 1
    });
    gateway.expect_drained("normal");
    assert_eq!(gateway.fact("cloud.mail.up"), 1);
    assert_eq!(gateway.fact("cloud.connection.0.up"), 0);
    let state = cloud.state();
    for message in state.messages("cloud.alarm") {
        assert!(
            message.header("edge-offset").is_some()
                && message.header("mq9-priority") != Some("normal")
        );
    }
    let binary = &state.messages("cloud.bin")[0];
    assert_eq!(
        (binary.payload.as_slice(), binary.header("mq9-edge-enc")),
        (&b"/wAB"[..], Some("b64"))
    );
    let info = state.agents.get("alpha").expect("the one that stayed");
    assert!(info.contains(r#""mailbox":"a.in""#), "{info}");
}

#[test]
fn mail_in_the_cloud_is_fetched_on_site_each_once_whatever_happens() {
    let manners = Manners {
        closes_before: 20,
        closes_behind: 20,
        refuses: 20,
        ..Manners::default()
    };
    let cloud = RobustMq::start(2, manners);
    let (mut gateway, address) = start(&cloud);
    let mut expected = Vec::new();
    let mut texts = Vec::new();
    for round in 0..3 {
        for number in 0..10 {
            let text = format!("command {round}.{number}");
            cloud.post("plant7.commands", text.as_bytes(), &[("mq9-tags", "a")]);
            expected.push(text);
        }
        // The last round is fetched while nobody is killed.
        if round < 2 {
            gateway.expect_fact("cloud.mail.pulled", |pulled| pulled > 0);
            gateway.kill();
            gateway.restart();
            assert_eq!(gateway.address_of(1), address);
            // Somebody there fetches as well, and takes nothing away.
            texts.extend(Client::connect(address).take("plant7.commands"));
        }
    }
    let mut client = Client::connect(address);
    texts.extend(client.take_all("plant7.commands", expected.len() - texts.len()));
    assert_eq!(texts, expected);
    assert!(client.take("plant7.commands").is_empty());
}

#[test]
fn agents_of_the_cloud_are_found_on_site_also_when_it_is_away() {
    let cloud = RobustMq::start(3, Manners::default());
    let card = json!({"name": "gamma", "mailbox": "cloud.gamma", "skills": ["weld"]});
    cloud
        .state()
        .agents
        .insert("gamma".to_owned(), card.to_string());
    let (mut gateway, address) = start(&cloud);
    let mut client = Client::connect(address);
    let own = json!({"name": "alpha", "mailbox": "a.in"});
    client.ask("AGENT.REGISTER", "", own.to_string().as_bytes());
    // The cloud gives back what it was told.
    gateway.expect_fact("cloud.mail.agents", |count| count == 2);
    wait_until("an agent that is kept", || client.agents().len() == 2);
    cloud.go_away();
    gateway.kill();
    gateway.restart();
    assert_eq!(gateway.address_of(1), address);
    let agents = Client::connect(address).agents();
    assert_eq!(
        agents,
        [("alpha", "edge", "a.in"), ("gamma", "cloud", "cloud.gamma")].map(owned)
    );
}
