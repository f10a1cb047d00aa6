//! A model of RobustMQ's mq9: mailboxes with ids, priorities and lossy payloads, agents of which
//! the first registration counts, and the misbehaviour that a real server was seen to have, drawn
//! from a seed. It never makes a request better than RobustMQ does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sync::Generator;
use wire::nats::{ClientOperation, Headers, Limits, Publish};

/// Longer than anything here takes, shorter than a tester's patience.
const DEADLINE: Duration = Duration::from_secs(30);

/// The time of every message: nothing here is about time.
const TIME: u64 = 1_767_225_600;

const INFO: &str = concat!(
    r#"INFO {"server_id":"1","server_name":"server-1","version":"0.4.3","proto":1,"#,
    r#""host":"0.0.0.0","port":4222,"headers":true,"auth_required":false,"#,
    r#""tls_required":false,"tls_available":true,"max_payload":1048576,"jetstream":false,"#,
    r#""client_id":7,"client_ip":"127.0.0.1","nonce":"x"}"#,
    "\r\nPING\r\n"
);

/// A running server. It ends with the program.
#[derive(Clone)]
pub(crate) struct RobustMq {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// How often it goes wrong: once in so many requests; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// Closes before it does what was asked.
    pub(crate) closes_before: u64,
    /// Does it and closes before it says so.
    pub(crate) closes_behind: u64,
    /// Does it and never says so.
    pub(crate) falls_silent: u64,
    /// Says that the mailbox does not exist, as other nodes do for a while.
    pub(crate) forgets_mailboxes: u64,
    /// Refuses, as without a leader.
    pub(crate) refuses: u64,
}

pub(crate) struct State {
    pub(crate) mailboxes: BTreeMap<String, Vec<Message>>,
    pub(crate) agents: BTreeMap<String, String>,
    pub(crate) manners: Manners,
    pub(crate) is_away: bool,
    generator: Generator,
    streams: Vec<TcpStream>,
}

/// A message as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) block: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Deleted, or over: its id is a hole.
    pub(crate) is_gone: bool,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn rank(&self) -> usize {
        match self.header("mq9-priority") {
            Some("critical") => 0,
            Some("urgent") => 1,
            _ => 2,
        }
    }
}

impl RobustMq {
    pub(crate) fn start(seed: u64, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let state = State {
            mailboxes: BTreeMap::new(),
            agents: BTreeMap::new(),
            manners,
            is_away: false,
            generator: Generator::from_seed(seed),
            streams: Vec::new(),
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let server = Self { address, shared };
        let serving = server.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let server = serving.clone();
                let mut state = server.state();
                if !state.is_away {
                    state.streams.extend(stream.try_clone());
                    drop(state);
                    thread::spawn(move || server.serve(stream));
                }
            }
        });
        server
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no test panics inside")
    }

    /// Lets nobody in any more, and closes on those that are there.
    pub(crate) fn go_away(&self) {
        let mut state = self.state();
        state.is_away = true;
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    pub(crate) fn come_back(&self) {
        self.state().is_away = false;
    }

    /// Keeps a message in a mailbox, as if somebody in the cloud had sent it.
    pub(crate) fn post(&self, mailbox: &str, payload: &[u8], headers: &[(&str, &str)]) -> u64 {
        let mut block = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers {
            block += &format!("{name}: {value}\r\n");
        }
        block += "\r\n";
        let block = match headers {
            [] => Vec::new(),
            _ => block.into_bytes(),
        };
        let id = self.state().keep(mailbox, &block, payload);
        self.shared.1.notify_all();
        id
    }

    /// Waits until something holds.
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut(&State) -> bool) {
        let (_, condition) = &*self.shared;
        let state = self.state();
        let waited = condition.wait_timeout_while(state, DEADLINE, |state| !holds(state));
        let (_state, timeout) = waited.expect("no test panics inside");
        assert!(!timeout.timed_out(), "{what} did not happen");
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        if stream.write_all(INFO.as_bytes()).is_err() {
            return;
        }
        let mut chunk = [0; 4096];
        loop {
            while let Some((operation, length)) =
                ClientOperation::decode(&buffer, &Limits::FROM_CLIENT).expect("valid operations")
            {
                let answer = match operation {
                    ClientOperation::Publish(publish) => self.answer(&publish),
                    ClientOperation::Ping => Some("PONG\r\n".to_owned()),
                    _ => Some(String::new()),
                };
                buffer.drain(..length);
                self.shared.1.notify_all();
                let Some(answer) = answer else {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    return;
                };
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(length) => buffer.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// What to write; `None` to close.
    fn answer(&self, publish: &Publish<'_>) -> Option<String> {
        let mut state = self.state();
        let manners = state.manners;
        if state.happens(manners.closes_before) {
            return None;
        }
        let reply = match state.happens(manners.refuses) {
            true => json!({"error": "Grpc call of the node failed"}),
            false => state.obey(publish),
        };
        if state.happens(manners.closes_behind) {
            return None;
        }
        if state.happens(manners.falls_silent) {
            return Some(String::new());
        }
        let (subject, text) = (publish.reply_to?, reply.to_string());
        Some(format!("MSG {subject} 0 {}\r\n{text}\r\n", text.len()))
    }
}

impl State {
    /// The messages of a mailbox that are there, each once.
    pub(crate) fn messages(&self, mailbox: &str) -> &[Message] {
        self.mailboxes.get(mailbox).map_or(&[], Vec::as_slice)
    }

    fn happens(&mut self, once_in: u64) -> bool {
        once_in > 0 && self.generator.below(once_in) == 0
    }

    fn keep(&mut self, mailbox: &str, block: &[u8], payload: &[u8]) -> u64 {
        let headers = Headers::parse(block).ok();
        let headers = headers.iter().flat_map(Headers::fields);
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let message = Message {
            headers: headers.collect(),
            block: block.to_vec(),
            payload: payload.to_vec(),
            is_gone: false,
        };
        let messages = self.mailboxes.entry(mailbox.to_owned()).or_default();
        messages.push(message);
        messages.len() as u64 - 1
    }

    fn obey(&mut self, publish: &Publish<'_>) -> Value {
        let command = publish.subject.strip_prefix("$mq9.AI.").expect("of mq9");
        let body: Value = serde_json::from_slice(publish.payload).unwrap_or_default();
        let forgets = self.manners.forgets_mailboxes;
        if let Some(address) = command.strip_prefix("MSG.SEND.") {
            if !self.mailboxes.contains_key(address) || self.happens(forgets) {
                return json!({"error": format!("mailbox {address} does not exist")});
            }
            let id = self.keep(address, publish.headers, publish.payload);
            return json!({"error": "", "msg_id": id});
        }
        if let Some(address) = command.strip_prefix("MSG.FETCH.") {
            if !self.mailboxes.contains_key(address) || self.happens(forgets) {
                let error = format!("Tenant default topic '{address}' not found in broker cache");
                return json!({"error": error});
            }
            return self.fetch(address, &body);
        }
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        match command {
            "MAILBOX.CREATE" if self.mailboxes.contains_key(&name) => {
                json!({"error": format!("mailbox {name} already exists")})
            }
            "MAILBOX.CREATE" => {
                self.mailboxes.insert(name.clone(), Vec::new());
                json!({"error": "", "mail_address": name})
            }
            "AGENT.REGISTER" => {
                let info = body["payload"].as_str().expect("a text").to_owned();
                self.agents.entry(name).or_insert(info);
                json!({"error": ""})
            }
            "AGENT.UNREGISTER" => {
                self.agents.remove(&name);
                json!({"error": ""})
            }
            "AGENT.DISCOVER" => {
                let agents = self.agents.iter();
                let item = |(name, info)| json!({"name": name, "agent_info": info});
                json!({"error": "", "agents": agents.map(item).collect::<Vec<_>>()})
            }
            other => panic!("{other} is not asked for"),
        }
    }

    fn fetch(&self, address: &str, body: &Value) -> Value {
        let messages = &self.mailboxes[address];
        assert_eq!(body["deliver"], "from_id");
        assert_eq!(body["config"]["max_wait_ms"], 0, "it holds up others");
        let count = body["config"]["num_msgs"].as_u64().expect("a number") as usize;
        let from = body["from_id"].as_u64().expect("a number");
        // Beyond the end it gives the last message again.
        let from = from.min((messages.len() as u64).saturating_sub(1)) as usize;
        let mut items = Vec::new();
        for (rank, priority) in ["critical", "urgent", "normal"].into_iter().enumerate() {
            if items.len() >= count {
                break;
            }
            let of_rank = messages.iter().enumerate().skip(from);
            let of_rank = of_rank.filter(|(_, it)| it.rank() == rank && !it.is_gone);
            items.extend(of_rank.take(count).map(|(id, message)| {
                let block = &message.block;
                json!({
                    "msg_id": id,
                    "payload": String::from_utf8_lossy(&message.payload),
                    "priority": priority,
                    "header": (!block.is_empty()).then_some(block),
                    "create_time": TIME,
                })
            }));
        }
        json!({"error": "", "messages": items})
    }
}
