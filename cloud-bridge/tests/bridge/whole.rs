//! The engine and the bridge together, against a cloud that closes, falls silent, forgets and
//! repeats: in the end everything is there, and recognisable exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant as Clock};

use cloud_bridge::{Bridge, Command, Config, Endpoint, Event, MailConfig, PublishCommand, Pull};
use sync::{
    Apart, ConnectionId, Engine, Epoch, Input, Instant, Lane, LaneExtent, Offset, Origin, Output,
    PerLane, Record, Settings, Start, WallTime, Watermark,
};

use crate::mq9::MAIL;
use crate::rig::parts;
use crate::robustmq::{Manners, RobustMq};

const LANE: Lane = Lane::Normal;
const INBOX: &str = "plant7.commands";

/// A gateway without clients: a log in memory, the engine and the bridge.
struct Edge {
    engine: Engine,
    bridge: Bridge,
    events: Receiver<Event>,
    start: Clock,
    log: Vec<Record>,
    /// What was pulled and stored, in this order.
    stored: Vec<wire::mq9::Send>,
    agents: Vec<String>,
    /// Refuses to store one message in so many.
    declines: u64,
    pulled: u64,
    /// Tries of the mail's connection since the last one that came up.
    fallen_in_a_row: u32,
}

impl Edge {
    fn start(server: &RobustMq) -> Self {
        let url = format!("nats://{}", server.address);
        let mut mail = MailConfig::new(vec![Endpoint::for_mail(&url).expect("a URL")]);
        let (address, position) = (INBOX.to_owned(), None);
        mail.pull = vec![Pull { address, position }];
        mail.pull_interval = Duration::from_millis(10);
        mail.pull_interval_most = Duration::from_millis(40);
        mail.agents_interval = Some(Duration::from_secs(1));
        let mut config = Config::new(vec!["mqtt://127.0.0.1:1".parse().expect("a URL")]);
        config.connections = 1;
        config.patience = Duration::from_secs(1);
        config.mail = Some(mail);
        let bridge = Bridge::start(config, "plant-7", Epoch(3)).expect("allowed settings");
        let source = bridge.events().clone();
        let (sender, events) = channel();
        thread::spawn(move || {
            while let Ok(event) = source.recv_blocking() {
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let settings = Settings {
            origin: Origin {
                edge_id: "plant-7".to_owned(),
                epoch: Epoch(3),
            },
            connections: 1,
            apart: Some(Apart {
                prefix: "$mq9/AI/".to_owned(),
                joined: Some("$mq9/AI/AGENT/".to_owned()),
            }),
            reconnect_first: Duration::from_millis(10),
            reconnect_most: Duration::from_millis(50),
            refusal_first: Duration::from_millis(10),
            refusal_most: Duration::from_millis(50),
            watched_topics: 0,
            ..Settings::default()
        };
        let start = Start {
            settings,
            seed: 7,
            lanes: PerLane::from_fn(|_| LaneExtent::default()),
            checkpoint: None,
        };
        Self {
            engine: Engine::new(&start).expect("allowed settings"),
            bridge,
            events,
            start: now(),
            log: Vec::new(),
            stored: Vec::new(),
            agents: Vec::new(),
            declines: 0,
            pulled: 0,
            fallen_in_a_row: 0,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }

    fn append(&mut self, topic: &str, payload: &[u8]) {
        let mut parts = parts(topic);
        parts.payload = payload;
        parts.time = WallTime(1);
        self.log.push(Record::new(&parts));
        let head = Offset(self.log.len() as u64);
        let lane = LANE;
        self.engine
            .handle(self.now(), Input::Appended { lane, head });
        self.obey();
    }

    /// Lives until something holds, for a minute at most.
    fn live_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = self.start.elapsed() + Duration::from_secs(60);
        while !holds(self) {
            assert!(self.start.elapsed() < deadline, "{what} did not happen");
            let due = self.engine.poll_timeout();
            let wait = due.map_or(Duration::from_millis(100), |due| due - self.now());
            match self
                .events
                .recv_timeout(wait.min(Duration::from_millis(100)))
            {
                Ok(event) => self.hear(event),
                Err(RecvTimeoutError::Timeout) => self.engine.handle_timeout(self.now()),
                Err(RecvTimeoutError::Disconnected) => panic!("the bridge ended"),
            }
            self.obey();
        }
    }

    fn is_settled(&self) -> bool {
        self.engine.ack_floor(LANE).0 == self.log.len() as u64
    }

    fn hear(&mut self, event: Event) {
        let input = match event {
            Event::Up {
                connection,
                receive_maximum,
                maximum_packet_bytes,
                ..
            } => {
                self.fallen_in_a_row = 0;
                Input::Up {
                    connection,
                    receive_maximum,
                    maximum_packet_bytes,
                }
            }
            Event::Down {
                connection, kind, ..
            } => {
                self.fallen_in_a_row += u32::from(connection == MAIL);
                Input::Down { connection, kind }
            }
            Event::Accepted {
                connection,
                lane,
                offset,
                server_offset,
            } => Input::Accepted {
                connection,
                lane,
                offset,
                server_offset,
            },
            Event::Refused {
                connection,
                lane,
                offset,
                ..
            } => Input::Refused {
                connection,
                lane,
                offset,
            },
            Event::Pulled { token, message, .. } => {
                let connection = MAIL;
                self.pulled += 1;
                let declines = self.declines > 0 && self.pulled.is_multiple_of(self.declines);
                if !declines {
                    let message = *message;
                    self.stored.push(message.send);
                    self.stored.extend(message.more);
                }
                return self.tell(match declines {
                    true => Command::Decline { connection, token },
                    false => Command::Confirm { connection, token },
                });
            }
            Event::Agents { agents, .. } => {
                self.agents = agents.into_iter().map(|agent| agent.name).collect();
                return;
            }
            other => panic!("{other:?}"),
        };
        self.engine.handle(self.now(), input);
    }

    fn tell(&self, command: Command) {
        let told = self.bridge.commands().send_blocking(command);
        told.expect("it listens");
    }

    fn obey(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Connect { connection } => self.tell(Command::Connect { connection }),
                Output::Disconnect { connection } => self.tell(Command::Disconnect { connection }),
                Output::Send {
                    connection,
                    lane,
                    offset,
                    record,
                } => {
                    assert_eq!(connection, ConnectionId(1), "mail has its own connection");
                    self.tell(Command::Publish(PublishCommand {
                        connection,
                        lane,
                        offset,
                        record,
                    }));
                }
                Output::Fetch {
                    lane,
                    from,
                    max_records,
                    ..
                } => {
                    let from = from.0 as usize;
                    let records = self.log.iter().enumerate().skip(from).take(max_records);
                    let records = records.map(|(at, it)| (Offset(at as u64), it.clone()));
                    let records: Vec<_> = records.collect();
                    let next = Offset((from + records.len()) as u64);
                    let input = Input::Fetched {
                        lane,
                        records,
                        next,
                    };
                    self.engine.handle(self.now(), input);
                }
                Output::Checkpoint { .. } => {
                    self.engine.handle(self.now(), Input::CheckpointDone);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine's driver is here")]
fn now() -> Clock {
    Clock::now()
}

fn address(number: usize) -> String {
    format!("cloud.box{}", number % 3)
}

#[test]
fn mail_and_agents_arrive_whatever_goes_wrong() {
    let manners = Manners {
        closes_before: 40,
        closes_behind: 40,
        falls_silent: 400,
        forgets_mailboxes: 10,
        refuses: 20,
    };
    let server = RobustMq::start(11, manners);
    for id in 0..60 {
        let priority = ["critical", "urgent", "normal"][id % 3];
        let payload = format!("down {id}");
        server.post(INBOX, payload.as_bytes(), &[("mq9-priority", priority)]);
    }
    for gone in [3, 4, 17] {
        server.state().mailboxes.get_mut(INBOX).expect("just made")[gone].is_gone = true;
    }
    let mut edge = Edge::start(&server);
    edge.declines = 25;
    for number in 0..150_usize {
        let topic = format!("$mq9/AI/MSG/SEND/{}", address(number).replace('.', "/"));
        let payload = match number % 5 {
            0 => vec![0xff, number as u8],
            _ => number.to_string().into_bytes(),
        };
        edge.append(&topic, &payload);
        if number % 30 == 0 {
            let card = format!(r#"{{"name":"alpha","mailbox":"a.in","version":"{number}"}}"#);
            edge.append("$mq9/AI/AGENT/REGISTER", card.as_bytes());
            edge.append(
                "$mq9/AI/AGENT/REGISTER",
                br#"{"name":"beta","mailbox":"b.in"}"#,
            );
            edge.append("$mq9/AI/AGENT/UNREGISTER", br#"{"name":"beta"}"#);
        }
    }
    let leaving = server.clone();
    let leaving = thread::spawn(move || {
        leaving.wait("mail", |state| state.messages("cloud.box0").len() >= 5);
        leaving.go_away();
    });
    edge.live_until("an outage", |edge| edge.fallen_in_a_row >= 5);
    leaving.join().expect("mail came");
    server.come_back();
    edge.live_until("everything up and down", |edge| {
        edge.is_settled() && edge.stored.len() >= 57
    });
    server.state().manners = Manners::default();

    let state = server.state();
    let mut seen = Watermark::new(64);
    let mut arrived = BTreeMap::<String, BTreeSet<u64>>::new();
    for (mailbox, messages) in state.mailboxes.iter().filter(|(name, _)| *name != INBOX) {
        let mut last = None;
        for message in messages.iter().rev() {
            let offset: u64 = message
                .header("edge-offset")
                .expect("a place")
                .parse()
                .expect("it");
            assert_eq!(message.header("edge-id"), Some("plant-7"));
            if arrived.entry(mailbox.clone()).or_default().insert(offset) {
                assert!(last.is_none_or(|last| offset < last), "{offset} came last");
                last = Some(offset);
            }
            let is_wrapped = message.header("mq9-edge-enc") == Some("b64");
            let record = &edge.log[offset as usize];
            assert_eq!(is_wrapped, str::from_utf8(record.payload()).is_err());
            assert!(is_wrapped || message.payload == record.payload());
            seen.observe(Offset(offset));
        }
    }
    assert_eq!(arrived.values().map(BTreeSet::len).sum::<usize>(), 150);
    for (at, record) in edge.log.iter().enumerate() {
        let is_mail = record.topic().contains("SEND");
        assert_eq!(seen.contains(Offset(at as u64)), is_mail, "{at}");
    }
    // The last word of each agent counts, though the first registration wins there.
    let agents: Vec<_> = state.agents.iter().collect();
    let [(name, info)] = agents[..] else {
        panic!("{agents:?} are registered");
    };
    assert_eq!(name, "alpha");
    assert!(info.contains(r#""version":"120""#), "{info}");
    drop(state);

    let down: Vec<_> = edge
        .stored
        .iter()
        .map(|send| send.payload.clone())
        .collect();
    let expected = (0..60).filter(|id| ![3, 4, 17].contains(id));
    let expected: Vec<_> = expected
        .map(|id| format!("down {id}").into_bytes())
        .collect();
    assert!(down == expected, "each once and in order");
    edge.live_until("the list of agents", |edge| edge.agents == ["alpha"]);
}
