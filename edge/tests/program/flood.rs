//! A flood: connection attempts, trickling CONNECTs, a subscriber that never reads, subscribe bombs
//! and wills, while well-behaved clients go on. Memory stays under its ceiling, and what these see
//! is not much later than without the flood.
//!
//! Small here; in full by `edge/benches/flood.sh`, which also holds the latency to its bound: debug
//! builds beside other tests say nothing about time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, LastWill};

use super::devices::Device;
use super::support::{Gateway, now, wait_until};

/// `limits.memory_bytes` where nothing else is configured.
const CEILING: u64 = 64 << 20;
/// How much later a message may arrive, 99 of 100, than without the flood.
const LATER: u32 = 5;
/// Below this it does not matter: a timer of the system is no better.
const UNSEEN: Duration = Duration::from_millis(1);
/// What others may wait for while a client has the gateway do the most that one packet can ask for,
/// again and again.
const SERVED: Duration = Duration::from_millis(50);
const READERS: usize = 10;

pub(super) struct Scale {
    pub(super) attempts: usize,
    pub(super) trickles: usize,
    pub(super) bombs: usize,
    pub(super) wills: usize,
    /// How long nothing happens.
    pub(super) quiet: Duration,
    /// Between two bytes of a trickle.
    pub(super) drip: Duration,
    pub(super) holds_latency: bool,
}

impl Scale {
    /// Of seconds, for any machine.
    pub(super) const fn small() -> Self {
        Self {
            attempts: 300,
            trickles: 30,
            bombs: 5,
            wills: 50,
            quiet: Duration::from_millis(200),
            drip: Duration::from_millis(20),
            holds_latency: false,
        }
    }
}

#[test]
fn a_flood_stays_below_the_ceiling_and_others_are_served() {
    let is_full = std::env::var_os("FLOOD").is_some_and(|value| value == "full");
    let scale = if is_full {
        Scale {
            attempts: 20_000,
            trickles: 500,
            bombs: 3_000,
            wills: 1_000,
            quiet: Duration::from_secs(10),
            drip: Duration::from_secs(1),
            holds_latency: true,
        }
    } else {
        Scale::small()
    };
    let gateway = Gateway::start_at("0.0.0.0:0", "allow_anonymous = true\n");
    let address = at(gateway.address, 1);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..READERS {
            let mut reader = join(address, &format!("reader-{number}"));
            reader.subscribe_at_most_once("fan/#");
            let is_over = &is_over;
            scope.spawn(move || read_all(reader.stream(), is_over));
        }
        scope.spawn(|| publish_steadily(address, &is_over));
        let parts = Ends(&is_over);
        let mut probe = Probe::new(&gateway, address);
        let quiet = probe.during("quiet", || {
            thread::park_timeout(scale.quiet);
        });
        let mut deaf = join(address, "deaf");
        deaf.subscribe_at_most_once("fan/#");
        scope.spawn(|| trickle(address, &scale, &is_over));
        let flood = probe.during("attempts, trickles, a deaf subscriber", || {
            knock(gateway.address, scale.attempts);
        });
        let bombs = probe.during("trickles, subscribe bombs", || bomb(address, scale.bombs));
        wait_until("places are free", || gateway.fact("connections") < 50);
        let wills = probe.during("wills, all at once", || {
            die(address, scale.wills);
            thread::park_timeout(scale.quiet);
        });
        drop(parts);
        for (part, latency, bound) in [
            ("flood", flood, (quiet * LATER).max(UNSEEN)),
            ("bombs", bombs, SERVED),
            ("wills", wills, SERVED),
        ] {
            assert!(
                latency <= bound || !scale.holds_latency,
                "{part}: {latency:?}, {bound:?} are allowed"
            );
        }
    });
}

/// Tells the others to end, whether the test goes well or not.
pub(super) struct Ends<'a>(pub(super) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A well-behaved client: it publishes, and sees when that comes back.
struct Probe<'a> {
    gateway: &'a Gateway,
    device: Device,
}

impl<'a> Probe<'a> {
    fn new(gateway: &'a Gateway, address: SocketAddr) -> Self {
        let mut device = join(address, "probe");
        device.subscribe_at_most_once("probe");
        Self { gateway, device }
    }

    /// Measures while something is done; gives what 99 of 100 messages took at most.
    fn during(&mut self, what: &str, attack: impl FnOnce() + Send) -> Duration {
        let is_done = AtomicBool::new(false);
        let mut took = Vec::new();
        let mut resident = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                let done = Ends(&is_done);
                attack();
                drop(done);
            });
            while !is_done.load(Ordering::Relaxed) || took.is_empty() {
                took.push(self.measure());
                if took.len() % 50 == 0 {
                    resident = self.gateway.resident_bytes().max(resident);
                }
                thread::park_timeout(Duration::from_millis(1));
            }
        });
        resident = self.gateway.resident_bytes().max(resident);
        took.sort_unstable();
        let part = |percent: usize| took[(took.len() - 1) * percent / 100];
        let (half, most) = (part(50), part(99));
        println!(
            "{what:<38} p50 {half:>10.1?}  p99 {most:>10.1?}  max {:>10.1?}  RSS {:>5.1} MB  \
             connections {}",
            part(100),
            resident as f64 / 1e6,
            self.gateway.fact("connections")
        );
        assert!(resident < CEILING, "{what}: {resident} bytes are resident");
        most
    }

    fn measure(&mut self) -> Duration {
        let start = now();
        self.device.publish_at_most_once("probe", "x");
        assert_eq!(self.device.take().as_deref(), Some("x"));
        now() - start
    }
}

pub(super) fn join(address: SocketAddr, client_identifier: &str) -> Device {
    Device::try_connect_saying(address, &hello(client_identifier)).expect("a place")
}

/// CONNECT of a client that leaves nothing behind, and that may be silent.
fn hello(client_identifier: &str) -> Connect {
    let mut connect = Connect::new(client_identifier);
    connect.keep_alive = 0;
    connect
}

/// Another of this machine's own addresses for each number: one has 28,000 ports.
pub(super) fn at(gateway: SocketAddr, number: usize) -> SocketAddr {
    let last = u8::try_from(1 + number % 16).expect("16 fit");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), gateway.port())
}

/// What is normal: 500 messages of 4 KB a second to all readers.
pub(super) fn publish_steadily(address: SocketAddr, is_over: &AtomicBool) {
    let mut device = join(address, "publisher");
    let payload = "x".repeat(4_000);
    while !is_over.load(Ordering::Relaxed) {
        device.publish_at_most_once("fan/out", &payload);
        thread::park_timeout(Duration::from_millis(2));
    }
}

pub(super) fn read_all(stream: &mut TcpStream, is_over: &AtomicBool) {
    let patience = Some(Duration::from_millis(100));
    stream.set_read_timeout(patience).expect("a time-out");
    let mut buffer = vec![0; 64 << 10];
    while !is_over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if is_pause(error.kind()) => {}
            Err(_) => return,
        }
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Comes and goes, some without a word, some with half a CONNECT, some with garbage.
pub(super) fn knock(gateway: SocketAddr, count: usize) {
    let next = AtomicU64::new(0);
    let words: [&[u8]; 4] = [
        b"",
        b"\x10\x0e\x00\x04MQ",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\xff",
    ];
    let knock = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) as usize;
            if number >= count {
                return;
            }
            // A full queue of the system is an answer as well.
            if let Ok(mut stream) = TcpStream::connect(at(gateway, number)) {
                let _ = stream.write_all(words[number % words.len()]);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(knock);
        scope.spawn(knock);
    });
}

/// Keeps links open on which a CONNECT comes byte by byte, until the gateway has closed them all.
pub(super) fn trickle(address: SocketAddr, scale: &Scale, is_over: &AtomicBool) {
    let hello = b"\x10\x1e\x00\x04MQTT\x04\x02\x00\x00\x00\x12trickle-trickle-tri";
    let open = |_| TcpStream::connect(address).ok();
    let mut streams: Vec<TcpStream> = (0..scale.trickles).filter_map(open).collect();
    for byte in hello {
        streams.retain_mut(|stream| stream.write_all(&[*byte]).is_ok());
        if streams.is_empty() || is_over.load(Ordering::Relaxed) {
            return;
        }
        thread::park_timeout(scale.drip);
    }
}

/// Subscribes to what takes the most to keep and to match, until that is refused.
pub(super) fn bomb(address: SocketAddr, count: usize) {
    for number in 0..count {
        let mut device = join(address, &format!("bomb-{number}"));
        let filters: Vec<String> = (0..100)
            .map(|at| format!("{}{number}/{at}", "+/".repeat(60)))
            .collect();
        device.subscribe_to_all(&filters);
        let hit = "a/".repeat(60);
        device.publish_at_most_once(&format!("{hit}{number}/1"), "x");
    }
}

/// Connects clients with wills, and cuts them off all at once.
pub(super) fn die(address: SocketAddr, count: usize) {
    let connect = |number| {
        let mut connect = hello(&format!("dying-{number}"));
        let payload = "x".repeat(500);
        connect.last_will = Some(LastWill::new("fan/will", payload, QoS::AtLeastOnce, false));
        Device::try_connect_saying(address, &connect).expect("a place")
    };
    let clients: Vec<Device> = (0..count).map(connect).collect();
    drop(clients);
}
