//! `burst`: messages at once for very many subscribers. Says how much memory the broker took at
//! most, and whether each subscriber got each message, in order.

use crate::args::Net;
use crate::codec::{self, Template, Version};
use crate::conn::{Conn, SEC, Session, now_ns, open};
use crate::procfs;
use crate::report::{Report, human_bytes, round};
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use std::time::Duration;

#[derive(clap::Args, Clone)]
pub struct BurstArgs {
    #[command(flatten)]
    pub net: Net,
    /// Subscribers of the one topic
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=28_000))]
    pub subs: u32,
    /// Of a hundred subscribers so many have a session that is kept
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub kept: u32,
    /// Of a hundred so many read and acknowledge nothing until the others have everything
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub mute: u32,
    /// Of a hundred so many do not even read until then
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub deaf: u32,
    /// Messages
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// Payload bytes
    #[arg(long, default_value_t = 108, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub size: u32,
    /// Of the messages and of the subscriptions
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub qos: u8,
    /// Seconds that it may take at most
    #[arg(long, default_value_t = 120)]
    pub seconds: u64,
    /// The broker's process, to measure its memory and CPU
    #[arg(long)]
    pub pid: u32,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// How a subscriber behaves until the others have everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Prompt,
    Mute,
    Deaf,
}

struct Subscriber {
    conn: Conn,
    id: String,
    is_kept: bool,
    manner: Manner,
    /// The number that comes next.
    next: u64,
    unanswered: Vec<(u8, u16)>,
    repeats: u64,
    out_of_order: u64,
}

impl Subscriber {
    fn is_done(&self, count: u32) -> bool {
        self.next >= count.into() && self.unanswered.is_empty()
    }

    fn read(&mut self, scratch: &mut Vec<u8>) -> Result<(), String> {
        if self.manner == Manner::Deaf {
            return Ok(());
        }
        while self.conn.wants_read() {
            let n = self.conn.fill(scratch);
            if n == 0 {
                continue;
            }
            let mut packets = codec::Packets::new(&scratch[..n]);
            while let Some((first, body)) = packets.next() {
                self.take(first, body)?;
            }
            self.conn.after(packets);
        }
        self.answer();
        match &self.conn.end {
            Some(why) => Err(format!("{}: {why}", self.id)),
            None => Ok(()),
        }
    }

    fn take(&mut self, first: u8, body: &[u8]) -> Result<(), String> {
        let bad = |e: codec::Bad| format!("{}: {}", self.id, e.0);
        match first >> 4 {
            codec::PUBLISH => {
                let p = codec::parse_publish(self.conn.ver, first, body).map_err(bad)?;
                let number = p.payload.get(..8).and_then(|it| it.try_into().ok());
                let number = u64::from_be_bytes(number.ok_or("a payload is too short")?);
                match number {
                    it if it == self.next => self.next += 1,
                    it if it < self.next => self.repeats += 1,
                    _ => self.out_of_order += 1,
                }
                let kind = if p.qos == 1 { codec::PUBACK } else { codec::PUBREC };
                if p.qos > 0 {
                    self.unanswered.push((kind, p.pid));
                }
            }
            codec::PUBREL => {
                let (pid, _) = codec::parse_ack(self.conn.ver, body).map_err(bad)?;
                self.unanswered.push((codec::PUBCOMP, pid));
            }
            _ => self.conn.other_packet(first, body),
        }
        Ok(())
    }

    fn answer(&mut self) {
        if self.manner == Manner::Prompt {
            for (kind, pid) in self.unanswered.drain(..) {
                codec::ack(&mut self.conn.out, kind, pid);
            }
            self.conn.flush();
        }
    }
}

pub fn burst(a: BurstArgs) -> Result<i32, String> {
    let t = a.net.target()?;
    procfs::check_open_files(a.subs as usize)?;
    procfs::sample(a.pid).ok_or(format!("no process {}", a.pid))?;
    let ep = |e: std::io::Error| format!("epoll: {e}");
    let mut poll = Poll::new().map_err(ep)?;
    let mut subs = Vec::with_capacity(a.subs as usize);
    for i in 0..a.subs {
        let mut sub = subscribe(&a, i)?;
        let token = Token(i as usize);
        poll.registry()
            .register(&mut sub.conn.sock, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(ep)?;
        subs.push(sub);
    }
    let mut publisher = Publisher::new(&a)?;
    let token = Token(subs.len());
    poll.registry()
        .register(&mut publisher.conn.sock, token, Interest::READABLE | Interest::WRITABLE)
        .map_err(ep)?;
    // The broker has answered the last of them; it may still put things away.
    std::thread::sleep(Duration::from_millis(2500));
    let before = procfs::sample(a.pid).ok_or("the broker is gone")?;

    let start = now_ns();
    publisher.send();
    let mut prompt_done = None;
    let mut scratch = Vec::new();
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, Some(Duration::from_millis(50))).map_err(ep)?;
        for event in events.iter() {
            let i = event.token().0;
            let conn = if i < subs.len() { &mut subs[i].conn } else { &mut publisher.conn };
            conn.writable |= event.is_writable();
            conn.read_again |= event.is_readable() || event.is_read_closed();
            conn.flush();
            if let Some(sub) = subs.get_mut(i) {
                sub.read(&mut scratch)?;
            } else {
                publisher.read(&mut scratch)?;
            }
        }
        let is_done = |sub: &Subscriber| sub.is_done(a.count);
        if prompt_done.is_none() && subs.iter().all(|it| it.manner != Manner::Prompt || is_done(it))
        {
            prompt_done = Some(now_ns());
            for sub in &mut subs {
                sub.manner = Manner::Prompt;
                sub.read(&mut scratch)?;
            }
        }
        let is_late = now_ns() - start > a.seconds * SEC;
        if subs.iter().all(is_done) && publisher.acknowledged >= a.count || is_late {
            break;
        }
    }
    let end = now_ns();
    std::thread::sleep(Duration::from_millis(2500));
    let after = procfs::sample(a.pid).ok_or("the broker is gone")?;
    let missing: u64 = subs.iter().map(|it| u64::from(a.count).saturating_sub(it.next)).sum();
    let repeats: u64 = subs.iter().map(|it| it.repeats).sum();
    let out_of_order: u64 = subs.iter().map(|it| it.out_of_order).sum();

    let unacknowledged = a.count - publisher.acknowledged;

    let mut r = Report::new("burst");
    let delivered = u64::from(a.count) * u64::from(a.subs);
    let kept = subs.iter().filter(|it| it.is_kept).count();
    r.title(format!(
        "MQTT {}, {} messages of {} B at QoS {} for {} subscribers, {kept} of them kept",
        t.ver.name(), a.count, a.size, a.qos, a.subs
    ));
    let seconds = |ns: u64| ns.saturating_sub(start) as f64 / 1e9;
    let prompt_s = prompt_done.map_or(f64::NAN, seconds);
    r.line("delivered", format!("to all who read at once in {prompt_s:.2} s, to the rest in {:.2} s", seconds(end)));
    r.line("checked", format!("{delivered} expected, missing {missing}, repeated {repeats}, out of order {out_of_order}, unacknowledged publishes {unacknowledged}"));
    r.line("broker", format!("RSS {} before, {} after, {} at most; CPU {:.2} s", human_bytes(before.rss), human_bytes(after.rss), human_bytes(after.hwm), after.cpu_s - before.cpu_s));
    for (key, value) in [
        ("missing", missing), ("repeated", repeats), ("out_of_order", out_of_order),
        ("rss_before", before.rss), ("rss_after", after.rss), ("rss_most", after.hwm),
    ] {
        r.set(key, json!(value));
    }
    r.set("acknowledged", json!(publisher.acknowledged));
    r.set("prompt_s", json!(round(prompt_s, 2)));
    r.set("all_s", json!(round(seconds(end), 2)));
    r.set("cpu_s", json!(round(after.cpu_s - before.cpu_s, 2)));
    r.print(a.json);
    for sub in &mut subs {
        sub.conn.disconnect();
    }
    // No connection was lost, so nothing may come again.
    Ok(i32::from(missing + repeats + out_of_order + u64::from(unacknowledged) > 0))
}

fn subscribe(a: &BurstArgs, i: u32) -> Result<Subscriber, String> {
    let t = a.net.target()?;
    let id = format!("burst-{i}");
    let is_kept = i * 7 % 100 < a.kept;
    // All manners among both kinds of sessions.
    let manner = match i * 13 % 100 {
        it if it < a.mute => Manner::Mute,
        it if it < a.mute + a.deaf => Manner::Deaf,
        _ => Manner::Prompt,
    };
    let mut session = match is_kept {
        true => Session::kept(id.clone(), 3600),
        false => Session::clean(id.clone()),
    };
    session.receive_max = (t.ver == Version::V5).then_some(u16::MAX);
    let mut opened = open(&t, &session)?;
    opened.subscribe(&["burst/all".into()], a.qos)?;
    Ok(Subscriber {
        conn: opened.into_conn()?,
        id,
        is_kept,
        manner,
        next: 0,
        unanswered: Vec::new(),
        repeats: 0,
        out_of_order: 0,
    })
}

/// Sends all messages at once; at QoS 2 as many as every broker takes.
struct Publisher {
    conn: Conn,
    template: Template,
    count: u32,
    window: u32,
    sent: u32,
    acknowledged: u32,
}

impl Publisher {
    fn new(a: &BurstArgs) -> Result<Publisher, String> {
        let t = a.net.target()?;
        let session = Session::clean("burst-publisher".into());
        Ok(Publisher {
            conn: open(&t, &session)?.into_conn()?,
            template: Template::new(t.ver, "burst/all", a.qos, false, &vec![b'x'; a.size as usize]),
            count: a.count,
            window: if a.qos == 1 { a.count } else { 20 },
            sent: 0,
            acknowledged: 0,
        })
    }

    fn send(&mut self) {
        let out = &mut self.conn.out;
        while self.sent < self.count && self.sent - self.acknowledged < self.window {
            let at = out.len();
            out.extend_from_slice(&self.template.bytes);
            let pid = (self.sent as u16 + 1).to_be_bytes();
            out[at + self.template.pid_at..][..2].copy_from_slice(&pid);
            let number = u64::from(self.sent).to_be_bytes();
            out[at + self.template.payload_at..][..8].copy_from_slice(&number);
            self.sent += 1;
        }
        self.conn.flush();
    }

    fn read(&mut self, scratch: &mut Vec<u8>) -> Result<(), String> {
        while self.conn.wants_read() {
            let n = self.conn.fill(scratch);
            if n == 0 {
                continue;
            }
            let mut packets = codec::Packets::new(&scratch[..n]);
            while let Some((first, body)) = packets.next() {
                match first >> 4 {
                    codec::PUBACK | codec::PUBCOMP => self.acknowledged += 1,
                    codec::PUBREC => {
                        let (pid, _) = codec::parse_ack(self.conn.ver, body)
                            .map_err(|e| format!("the publisher: {}", e.0))?;
                        codec::ack(&mut self.conn.out, codec::PUBREL, pid);
                    }
                    _ => self.conn.other_packet(first, body),
                }
            }
            self.conn.after(packets);
        }
        self.send();
        match &self.conn.end {
            Some(why) => Err(format!("the publisher: {why}")),
            None => Ok(()),
        }
    }
}
