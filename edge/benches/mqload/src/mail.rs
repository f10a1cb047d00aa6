//! `mail`: mailboxes over NATS. Fills them, sends to them, or fetches from them; every client waits
//! for the answer of one request before it makes the next, but for `fill`.

use crate::conn::{SEC, now_ns};
use crate::engine::hist;
use crate::procfs;
use crate::report::{self, Report, human_bytes};
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Deed {
    /// make the mailboxes and send --messages to each
    Fill,
    /// send for --seconds
    Send,
    /// fetch for --seconds
    Fetch,
}

#[derive(clap::Args, Clone)]
pub struct MailArgs {
    /// What to do
    #[arg(value_enum)]
    pub deed: Deed,
    #[arg(long, default_value = "127.0.0.1:4222")]
    pub address: SocketAddr,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub mailboxes: u32,
    /// fill: messages for each mailbox
    #[arg(long, default_value_t = 100)]
    pub messages: u32,
    /// fill: requests that a client has under way
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub window: u32,
    /// fetch: messages to ask for
    #[arg(long, default_value_t = 10)]
    pub count: u32,
    /// fetch: as the group of each client, which acknowledges nothing; else as nobody
    #[arg(long)]
    pub group: bool,
    /// send: each client to a mailbox of its own, not to any of all
    #[arg(long)]
    pub own: bool,
    /// Bytes of a message
    #[arg(long, default_value_t = 256)]
    pub size: u32,
    /// Requests a second of all clients together; 0 for as fast as they are answered
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Seconds before the measured window
    #[arg(long, default_value_t = 1)]
    pub warmup: u64,
    /// The gateway's process
    #[arg(long)]
    pub pid: Option<u32>,
    #[arg(long)]
    pub json: bool,
}

struct Client {
    sock: mio::net::TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// Where answers go.
    inbox: String,
    /// When the requests under way were made, oldest first: answers keep their order here, since
    /// no request of these waits.
    asked: std::collections::VecDeque<u64>,
}

impl Client {
    fn flush(&mut self) -> Result<(), String> {
        while self.written < self.output.len() {
            match self.sock.write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(format!("write: {e}")),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    fn ask(&mut self, subject: &str, body: &[u8]) {
        self.asked.push_back(now_ns());
        let line = format!("PUB {subject} {} {}\r\n", self.inbox, body.len());
        self.output.extend(line.as_bytes());
        self.output.extend(body);
        self.output.extend(b"\r\n");
    }

    /// Reads what is there; gives the payload of each answer.
    fn read(&mut self, scratch: &mut [u8], mut each: impl FnMut(&[u8])) -> Result<(), String> {
        loop {
            match self.sock.read(scratch) {
                Ok(0) => return Err("the gateway closed a connection".into()),
                Ok(n) => self.input.extend(&scratch[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(format!("read: {e}")),
            }
        }
        let mut at = 0;
        while let Some(end) = find_end(&self.input[at..]) {
            let line = String::from_utf8_lossy(&self.input[at..at + end]).into_owned();
            let next = at + end + 2;
            let Some(rest) = line.strip_prefix("MSG ") else {
                if line.starts_with("-ERR") {
                    return Err(line);
                }
                if line == "PING" {
                    self.output.extend(b"PONG\r\n");
                }
                at = next;
                continue;
            };
            let length = rest.rsplit(' ').next().and_then(|n| n.parse().ok());
            let length: usize = length.ok_or("malformed MSG")?;
            if self.input.len() < next + length + 2 {
                break;
            }
            each(&self.input[next..next + length]);
            at = next + length + 2;
        }
        self.input.drain(..at);
        Ok(())
    }
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

fn count(body: &[u8], what: &[u8]) -> u64 {
    body.windows(what.len()).filter(|it| *it == what).count() as u64
}

/// What is asked next.
struct Asker {
    args: MailArgs,
    next: u64,
    seed: u64,
    payload: Vec<u8>,
}

impl Asker {
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % below
    }

    /// Makes the next request, of client `i`. Says no when all is asked.
    fn ask(&mut self, i: usize, client: &mut Client) -> bool {
        let a = &self.args;
        let all = a.mailboxes as u64;
        let at = self.next;
        self.next += 1;
        match a.deed {
            // First all mailboxes, then round after round of messages.
            Deed::Fill if at < all => {
                let body = format!("{{\"name\":\"box.{at}\",\"ttl\":0}}");
                client.ask("$mq9.AI.MAILBOX.CREATE", body.as_bytes());
            }
            Deed::Fill if at >= all * (1 + a.messages as u64) => return false,
            Deed::Fill => {
                client.ask(&format!("$mq9.AI.MSG.SEND.box.{}", at % all), &self.payload);
            }
            Deed::Send => {
                let to = match a.own {
                    true => i as u64 * 97 % all,
                    false => self.random(all),
                };
                client.ask(&format!("$mq9.AI.MSG.SEND.box.{to}"), &self.payload);
            }
            Deed::Fetch => {
                let group = match a.group {
                    true => format!("\"group_name\":\"g{i}\","),
                    false => String::new(),
                };
                let body = format!(
                    "{{{group}\"deliver\":\"earliest\",\
                     \"config\":{{\"num_msgs\":{},\"max_wait_ms\":0}}}}",
                    a.count
                );
                let from = self.random(all);
                client.ask(&format!("$mq9.AI.MSG.FETCH.box.{from}"), body.as_bytes());
            }
        }
        true
    }
}

pub fn mail(a: MailArgs) -> Result<i32, String> {
    if !a.address.ip().is_loopback() {
        return Err(format!("{} is not a loopback address", a.address));
    }
    procfs::check_open_files(a.clients as usize)?;
    let ep = |e: std::io::Error| format!("epoll: {e}");
    let mut poll = Poll::new().map_err(ep)?;
    let mut events = Events::with_capacity(1024);
    let mut clients = Vec::new();
    for i in 0..a.clients as usize {
        let sock = std::net::TcpStream::connect(a.address).map_err(|e| format!("connect: {e}"))?;
        let made = sock.set_nodelay(true).and(sock.set_nonblocking(true));
        made.map_err(|e| format!("socket: {e}"))?;
        let mut sock = mio::net::TcpStream::from_std(sock);
        let wanted = Interest::READABLE | Interest::WRITABLE;
        let token = Token(i);
        poll.registry()
            .register(&mut sock, token, wanted)
            .map_err(ep)?;
        let inbox = format!("_INBOX.load.{i}");
        let hello = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
        clients.push(Client {
            sock,
            input: Vec::new(),
            output: format!("{hello}SUB {inbox} 1\r\n").into_bytes(),
            written: 0,
            inbox,
            asked: std::collections::VecDeque::new(),
        });
    }
    let mut asker = Asker {
        args: a.clone(),
        next: 0,
        seed: 0x9E37_79B9_7F4A_7C15,
        payload: vec![b'x'; a.size as usize],
    };
    let window = if a.deed == Deed::Fill { a.window } else { 1 } as usize;
    let before = a.pid.and_then(procfs::sample);
    let start = now_ns();
    let warm = if a.deed == Deed::Fill {
        start
    } else {
        start + a.warmup * SEC
    };
    let end = match a.deed {
        Deed::Fill => u64::MAX,
        _ => warm + a.seconds * SEC,
    };
    let (mut took, mut answered, mut messages, mut errors) = (hist(), 0_u64, 0_u64, 0_u64);
    let mut first_error = None;
    let mut scratch = vec![0; 128 << 10];
    let mut turn = 0;
    let mut asked = 0_u64;
    let mut is_done = false;
    loop {
        let now = now_ns();
        is_done |= now >= end;
        if is_done && clients.iter().all(|c| c.asked.is_empty())
            || now > end.saturating_add(30 * SEC)
        {
            break;
        }
        // Whose turn it is goes around, so that a paced run uses all of them.
        for _ in 0..clients.len() {
            turn = (turn + 1) % clients.len();
            let client = &mut clients[turn];
            while !is_done && client.asked.len() < window {
                let due = match a.rate {
                    0 => true,
                    rate => asked * SEC / rate <= now - start,
                };
                // Nothing is sent before all mailboxes are there.
                let made = a.mailboxes as u64;
                let must_wait = a.deed == Deed::Fill && asker.next == made && answered < made;
                if !due || must_wait {
                    break;
                }
                if !asker.ask(turn, client) {
                    is_done = true;
                    break;
                }
                asked += 1;
            }
            client.flush()?;
        }
        let wait = Duration::from_millis(1);
        poll.poll(&mut events, Some(wait)).map_err(ep)?;
        let now = now_ns();
        for event in &events {
            let client = &mut clients[event.token().0];
            let mut answers = 0;
            let deed = a.deed;
            client.read(&mut scratch, |body| {
                answers += 1;
                let is_counted = now >= warm && now < end;
                if count(body, b"\"error\":\"") == count(body, b"\"error\":\"\"") {
                    if is_counted && deed == Deed::Fetch {
                        messages += count(body, b"\"msg_id\"");
                    }
                } else {
                    errors += 1;
                    first_error.get_or_insert_with(|| String::from_utf8_lossy(body).into_owned());
                }
            })?;
            for _ in 0..answers {
                let began = client.asked.pop_front().ok_or("an answer to nothing")?;
                if now >= warm && now < end {
                    answered += 1;
                    took.saturating_record(now - began);
                }
            }
        }
    }
    let last = now_ns().min(end);
    let after = a.pid.and_then(procfs::sample);
    let mut r = Report::new("mail");
    let name = match a.deed {
        Deed::Fill => "fill",
        Deed::Send => "send",
        Deed::Fetch => "fetch",
    };
    r.title(format!(
        "{name}, {} clients, {} mailboxes",
        a.clients, a.mailboxes
    ));
    let rate = answered as f64 / ((last - warm) as f64 / 1e9);
    r.line("answered", format!("{answered}, {rate:.0} a second"));
    r.set("rate", json!(report::round(rate, 1)));
    r.set("messages", json!(messages));
    r.latency("latency", "latency", &took);
    if errors > 0 {
        r.line(
            "errors",
            format!("{errors}, the first: {}", first_error.unwrap_or_default()),
        );
    }
    r.set("errors", json!(errors));
    if let (Some(before), Some(after)) = (before, after) {
        let text = format!(
            "{} before, {} after",
            human_bytes(before.rss),
            human_bytes(after.rss)
        );
        r.line("RSS", text);
        r.set("rss_before", json!(before.rss));
        r.set("rss_after", json!(after.rss));
        r.set("rss_most", json!(after.hwm));
        r.line("CPU", format!("{:.2} s", after.cpu_s - before.cpu_s));
    }
    r.print(a.json);
    Ok(if errors > 0 { 1 } else { 0 })
}
