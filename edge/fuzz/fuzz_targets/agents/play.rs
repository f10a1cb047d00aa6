//! Plays a script, and checks what must hold.

use std::rc::Rc;

use edge::memory::Memory;
use edge::{mail, nats};
use wire::mq9::{
    Acknowledge, Create, Delete, Deliver, Discover, Fetch, Identity, Message, Query, Register,
    Report, Request, Send as Letter,
};

use crate::books;
use crate::judge::{Ear, Judge, LIMITS};
use crate::mailbox::Rules;
use crate::pick::pick;
use crate::script::{Command, Script, Step};
use crate::world::{ClientId, Commits, World, publish};

/// The last lives in the cloud; of none a client may make as many as it likes.
const ADDRESSES: [&str; 6] = ["a", "b.c", "c", "d", "e.f.g", "cloud.a"];
const GROUPS: [&str; 4] = ["g", "h", "", "i"];
const NAMES: [&str; 4] = ["anna", "bert", "carla", ""];
const WORDS: [&str; 4] = ["", "red", "blue anna", "green"];
/// Everybody's steps together.
const STEPS: usize = 200;
/// Clients of one run.
const CLIENTS: usize = 12;

/// A client of the script.
struct Client {
    id: ClientId,
    ear: Ear,
    /// The second part of a request that was split.
    rest: Vec<u8>,
    split: Option<u8>,
    flip: Option<u16>,
    is_reading: bool,
    /// Whether it was closed and had everything that was still to be said.
    is_over: bool,
}

pub(crate) struct Play {
    world: World,
    judge: Judge,
    memory: Rc<Memory>,
    memory_bytes: usize,
    clients: Vec<Client>,
    next_number: u32,
    /// The id of the message that was found last.
    found: u64,
    counts: Counts,
}

/// What the counts on the disk are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Exact,
    /// A commit may have failed: the clock sees to it.
    Late,
    /// It crashed before that.
    Wrong,
}

impl Play {
    pub(crate) fn new(script: &Script) -> Self {
        let has = |bit: u8| script.limits & 1 << bit > 0;
        let mail = mail::Settings {
            mailbox_count_maximum: 6,
            address_bytes_maximum: 32,
            message_count_maximum: if has(0) { 6 } else { 60 },
            group_count_maximum: if has(0) { 2 } else { 64 },
            group_memory_bytes_maximum: if has(1) { 600 } else { 512 << 10 },
            group_idle_seconds: if has(2) { 3 } else { 0 },
            message_ttl_seconds: if has(2) { 5 } else { 604_800 },
            pending_count_maximum: if has(3) { 3 } else { 1_024 },
            waiting_count_maximum: 3,
            step_rows_maximum: if has(4) { 2 } else { 256 },
            search_bytes_maximum: 4_000,
            agent_count_maximum: 3,
            agent_body_bytes_maximum: 200,
            cloud_mailboxes: vec!["cloud.>".to_owned()],
            announces_agents: has(5),
            ..mail::Settings::default()
        };
        let rules = Rules {
            message_ttl: mail.message_ttl_seconds * 1_000,
            is_tight: has(0),
            may_forget: has(0) && has(2),
        };
        let nats = nats::Settings {
            control_line_bytes_maximum: LIMITS.control_line_bytes,
            headers_bytes_maximum: LIMITS.headers_bytes,
            message_bytes_maximum: LIMITS.message_bytes,
            fetch_count_maximum: 2,
            outbound_bytes_maximum: if has(6) { 600 } else { 256 << 10 },
            publishes_per_second: if has(7) { 5 } else { 0 },
            publish_burst: 5,
            inbound_total_bytes_maximum: 8_000,
            ..nats::Settings::default()
        };
        let (memory, memory_bytes) = (nats.memory.clone(), mail.memory_bytes());
        let judge = Judge::new(rules, mail.mailbox_ttl_seconds);
        Self {
            world: World::with(mail, nats),
            judge,
            memory,
            memory_bytes,
            clients: Vec::new(),
            next_number: 0,
            found: 0,
            counts: Counts::Exact,
        }
    }

    pub(crate) fn run(mut self, script: &Script) {
        self.open();
        // Two mailboxes are always there, so that most steps find one.
        for address in [0, 1] {
            self.ask(0, false, Command::Create { address, ttl: 0 });
        }
        for step in script.steps.iter().take(STEPS) {
            self.judge.pass(self.world.now.wall.0);
            self.play(step);
            self.judge.pass(self.world.now.wall.0);
            self.listen();
            let held = self.world.office.held_bytes();
            assert!(held <= self.memory_bytes, "the office holds {held} bytes");
        }
        self.heal();
        self.audit();
        self.audit_books();
        self.crash(0);
        self.audit();
        self.audit_books();
        self.leave_nothing();
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Open => self.open(),
            Step::Ask {
                client,
                is_told,
                command,
            } => self.ask(*client, *is_told, *command),
            Step::Round {
                client,
                address,
                group,
                priority,
            } => self.round(*client, *address, *group, *priority),
            Step::Raw { client, bytes } => {
                if let Some(client) = pick(&mut self.clients, *client) {
                    client.say(&mut self.world, &mut self.judge, bytes.clone());
                }
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
                    client.is_reading = *is_reading;
                    self.world.set_reading(client.id, *is_reading);
                }
            }
            Step::Cut { client } => {
                if let Some(client) = pick(&mut self.clients, *client) {
                    self.world.cut(client.id);
                    client.ear.hears_all = false;
                }
            }
            Step::Pass { tenths } => self.world.pass(u64::from(tenths % 64) * 100),
            Step::Commits { mode } => {
                self.world.commits =
                    [Commits::Succeed, Commits::Wait, Commits::Fail][usize::from(mode % 3)];
                if self.world.commits == Commits::Fail && self.counts == Counts::Exact {
                    self.counts = Counts::Late;
                }
            }
            Step::Finish { count } => {
                for _ in 0..*count {
                    self.world.finish_commit();
                }
            }
            Step::Crash { durable_count } => self.crash(usize::from(*durable_count)),
        }
    }

    fn crash(&mut self, durable_count: usize) {
        self.world.crash_after(durable_count);
        self.clients.clear();
        if self.counts == Counts::Late {
            self.counts = Counts::Wrong;
        }
        match self.counts {
            Counts::Exact => drop(books::audit_exactly(&self.world.disk)),
            Counts::Late | Counts::Wrong => books::audit(&self.world.disk),
        }
    }

    /// Compares what is counted in memory and on the disk with what is there.
    fn audit_books(&mut self) {
        if self.counts == Counts::Wrong {
            return books::audit(&self.world.disk);
        }
        // Some counts are seen to at a time.
        for _ in 0..60 {
            self.world.pass(1_000);
            self.judge.pass(self.world.now.wall.0);
            self.listen();
        }
        self.counts = Counts::Exact;
        let counts = self.world.office.counts();
        let found = books::audit_exactly(&self.world.disk);
        assert_eq!((counts.messages, counts.message_bytes), found, "in memory");
    }

    fn open(&mut self) {
        if self.clients.len() < CLIENTS {
            let id = self.world.join();
            self.clients.push(Client::new(id));
        }
    }

    fn ask(&mut self, client: u8, is_told: bool, command: Command) {
        let number = self.next_number;
        self.next_number += 1;
        let Some(client) = pick(&mut self.clients, client) else {
            return;
        };
        let inbox = format!("{}{number}", client.ear.inbox);
        let reply_to = (!is_told).then_some(inbox.as_str());
        let bytes = match command {
            Command::Send { .. } => send(command, number, reply_to),
            command => {
                let request = request(command, self.found);
                publish(&request.subject(), reply_to, &[], &request.body())
            }
        };
        client.say(&mut self.world, &mut self.judge, bytes);
    }

    fn round(&mut self, client: u8, address: u8, group: u8, priority: u8) {
        let commands = [
            Command::Send {
                address,
                priority,
                key: Some(priority / 3).filter(|it| *it < 3),
                delay: None,
                ttl: None,
                padding: 0,
            },
            Command::Fetch {
                address,
                group: group % 4,
                deliver: 3,
                is_forced: false,
                count: priority / 16,
                wait: 0,
            },
            Command::Acknowledge {
                address,
                group,
                id: 255,
            },
        ];
        for command in commands {
            self.ask(client, false, command);
            self.listen();
        }
    }

    /// Reads what everybody was sent.
    fn listen(&mut self) {
        for client in &mut self.clients {
            let bytes = self.world.take_bytes(client.id);
            assert!(!client.is_over || bytes.is_empty(), "words of the dead");
            let is_closed = self.world.is_closed(client.id);
            assert!(is_closed || !client.is_over, "a dead connection lives");
            client.is_over = is_closed && client.is_reading;
            client.ear.hears_all &= !is_closed;
            let found = self.judge.hear(&mut client.ear, &bytes);
            let last = found.as_ref().and_then(|it| it.last());
            self.found = last.map_or(self.found, |it| it.id);
        }
    }

    /// Ends all trouble; then every request has its answer.
    fn heal(&mut self) {
        self.world.finish_commits();
        for client in &mut self.clients {
            client.is_reading = true;
            self.world.set_reading(client.id, true);
        }
        // A fetch waits that long, and the slowest client needs that for what it sent.
        for _ in 0..6 {
            self.world.pass(1_000);
            self.judge.pass(self.world.now.wall.0);
            self.listen();
        }
        while self.is_anybody_held_back() {
            self.world.pass(1_000);
            self.judge.pass(self.world.now.wall.0);
            self.listen();
        }
        for client in self.clients.iter().filter(|it| it.ear.hears_all) {
            let request = self.judge.waits(&client.ear.inbox);
            assert!(request.is_none(), "nobody answers {request:?}");
        }
    }

    fn is_anybody_held_back(&self) -> bool {
        let open = self.clients.iter().filter(|it| it.ear.hears_all);
        open.into_iter().any(|it| !self.world.wants_more(it.id))
    }

    /// Looks whether everything is there, whether groups are given what they are not done with, and
    /// whether what comes next has a new id.
    fn audit(&mut self) {
        let mut witness = Client::new(self.world.join());
        for address in self.judge.addresses() {
            let query = Request::Query(Query {
                address: address.clone(),
                key: None,
                tags: Vec::new(),
                since: None,
                limit: 100,
                encoding: None,
            });
            let found = self.ask_as(&mut witness, &query);
            self.judge.audit(&address, &found.unwrap_or_default());
            for group in [GROUPS[0], GROUPS[1]] {
                let fetch = Request::Fetch(Fetch {
                    address: address.clone(),
                    group: Some(group.to_owned()),
                    deliver: Deliver::Earliest,
                    is_forced: false,
                    count: 100,
                    wait_milliseconds: 0,
                    encoding: None,
                });
                self.ask_as(&mut witness, &fetch);
            }
            let letter = Request::Send(Letter {
                address,
                payload: self.next_number.to_string().into_bytes(),
                ..Letter::default()
            });
            self.ask_as(&mut witness, &letter);
            self.world.pass(1_000);
            self.judge.pass(self.world.now.wall.0);
        }
        self.clients.push(witness);
    }

    /// Asks where nothing is in the way of an answer; gives the messages of it.
    fn ask_as(&mut self, client: &mut Client, request: &Request) -> Option<Vec<Message>> {
        self.next_number += 1;
        let reply_to = format!("{}{}", client.ear.inbox, self.next_number);
        let (subject, body) = (request.subject(), request.body());
        let bytes = publish(&subject, Some(&reply_to), &[], &body);
        client.say(&mut self.world, &mut self.judge, bytes);
        let bytes = self.world.take_bytes(client.id);
        let found = self.judge.hear(&mut client.ear, &bytes);
        assert!(
            self.judge.waits(&client.ear.inbox).is_none(),
            "the witness waits"
        );
        found
    }

    /// Lets everybody go.
    fn leave_nothing(mut self) {
        for client in &self.clients {
            self.world.cut(client.id);
        }
        self.world.pass(1_000);
        assert_eq!(self.world.waiting_fetch_count(), 0, "fetches");
        assert_eq!(self.world.broker.session_count(), 0, "sessions");
        let memory = self.memory.clone();
        drop(self);
        let held = [
            memory.inbound_bytes(),
            memory.outbound_bytes(),
            memory.subscription_bytes(),
        ];
        assert_eq!(held, [0; 3]);
    }
}

impl Client {
    fn new(id: ClientId) -> Self {
        Self {
            id,
            ear: Ear::new(format!("_INBOX.{id}.")),
            rest: Vec::new(),
            split: None,
            flip: None,
            is_reading: true,
            is_over: false,
        }
    }

    /// Sends a request, with what is to be done to it.
    fn say(&mut self, world: &mut World, judge: &mut Judge, mut request: Vec<u8>) {
        if let Some(at) = self.flip.take().filter(|_| !request.is_empty()) {
            let at = usize::from(at) % (request.len() * 8);
            request[at / 8] ^= 1 << (at % 8);
        }
        let mut bytes = std::mem::take(&mut self.rest);
        if let Some(at) = self.split.take() {
            self.rest = request.split_off(usize::from(at) % (request.len() + 1));
        }
        bytes.extend(request);
        judge.note_said(&mut self.ear, &bytes);
        world.send(self.id, &bytes);
    }
}

fn send(command: Command, number: u32, reply_to: Option<&str>) -> Vec<u8> {
    let Command::Send {
        address,
        priority,
        key,
        delay,
        ttl,
        padding,
    } = command
    else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    if let Some(priority) = ["critical", "urgent"].get(usize::from(priority % 3)) {
        headers.push(format!("mq9-priority: {priority}"));
    }
    let fields = [
        ("key", key.map(|it| it % 3)),
        ("delay", delay.map(|it| it % 8)),
        ("ttl", ttl),
    ];
    for (name, value) in fields {
        headers.extend(value.map(|value| format!("mq9-{name}: {value}")));
    }
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let subject = format!("$mq9.AI.MSG.SEND.{}", pick_of(&ADDRESSES, address));
    let mut payload = number.to_string().into_bytes();
    payload.resize(payload.len() + usize::from(padding), b'.');
    publish(&subject, reply_to, &headers, &payload)
}

fn request(command: Command, found: u64) -> Request {
    let id_of = |id: u8| if id > 127 { found } else { (id % 16).into() };
    let address = |it| pick_of(&ADDRESSES, it).to_owned();
    let named = |it| Some(pick_of(&NAMES, it).to_owned()).filter(|it| !it.is_empty());
    match command {
        Command::Create { address: it, ttl } => Request::Create(Create {
            name: Some(address(it)).filter(|_| it < 250),
            // Most live as long as the run.
            ttl_seconds: Some((ttl % 16).into()).filter(|it| *it < 8),
            description: "d".repeat((ttl / 16).into()),
        }),
        Command::Send { .. } => unreachable!("is made elsewhere"),
        Command::Fetch {
            address: it,
            group,
            deliver,
            is_forced,
            count,
            wait,
        } => Request::Fetch(Fetch {
            address: address(it),
            group: Some(pick_of(&GROUPS, group).to_owned()).filter(|it| !it.is_empty()),
            deliver: match deliver % 6 {
                0 => Deliver::Latest,
                1 => Deliver::FromId(u64::from(deliver / 6)),
                2 => Deliver::FromTime(crate::world::BEGIN + u64::from(deliver / 6)),
                _ => Deliver::Earliest,
            },
            is_forced: is_forced && group >= 128,
            count: (1 + count % 8).into(),
            wait_milliseconds: u64::from(wait % 8) * 1_000,
            encoding: None,
        }),
        Command::Acknowledge {
            address: it,
            group,
            id,
        } => Request::Acknowledge(Acknowledge {
            address: address(it),
            group: pick_of(&GROUPS, group).to_owned(),
            id: id_of(id),
        }),
        Command::Query {
            address: it,
            key,
            limit,
        } => Request::Query(Query {
            address: address(it),
            key: key.map(|it| (it % 3).to_string()),
            tags: Vec::new(),
            since: None,
            limit: limit.into(),
            encoding: None,
        }),
        Command::Delete { address: it, id } => Request::Delete(Delete {
            address: address(it),
            id: id_of(id),
        }),
        Command::Register { name } => Request::Register(Register {
            name: pick_of(&NAMES, name).to_owned(),
            mailbox: Some(address(name / 4)).filter(|_| name >= 128),
            body: format!("{{\"says\":\"{}\"}}", pick_of(&WORDS, name / 4)),
        }),
        Command::Unregister { name } => Request::Unregister(Identity {
            name: named(name),
            mailbox: None,
        }),
        Command::Report { name } => Request::Report(Report {
            agent: Identity {
                name: named(name),
                mailbox: None,
            },
            body: "{\"load\":1}".to_owned(),
        }),
        Command::Discover { word, page } => Request::Discover(Discover {
            words: Some(pick_of(&WORDS, word).to_owned()),
            limit: Some((1 + page % 4).into()),
            page: (page / 64).into(),
        }),
    }
}

fn pick_of<'a>(list: &[&'a str], number: u8) -> &'a str {
    list[usize::from(number) % list.len()]
}
