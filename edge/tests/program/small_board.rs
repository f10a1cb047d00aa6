//! The smallest board: with the profile for 64 MB of memory, held by the system to half of that, the
//! gateway stands the flood, and everything that it acknowledged meanwhile is there after a kill.
//!
//! Small here; in full, and for the static binary, by `targets/small.sh`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::devices::Device;
use super::flood::{Ends, Scale, at, bomb, die, join, knock, publish_steadily, read_all, trickle};
use super::support::{Gateway, wait_until};

/// Half of the board, files that the system has in memory included.
const HELD_TO: u64 = 32 << 20;
/// Unacknowledged at a time.
const WINDOW: u64 = 20;

/// A control group, where this process may make one.
struct Group {
    path: PathBuf,
    peak: &'static str,
}

impl Group {
    fn new() -> Option<Self> {
        let name = format!("robustmq-edge-test-{}", std::process::id());
        let of = |root: &str, limit: &str, peak| {
            let path = PathBuf::from(root).join(&name);
            std::fs::create_dir(&path).ok()?;
            let group = Self { path, peak };
            let limit = group.path.join(limit);
            std::fs::write(limit, HELD_TO.to_string()).ok()?;
            Some(group)
        };
        of(
            "/sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.max_usage_in_bytes",
        )
        .or_else(|| of("/sys/fs/cgroup", "memory.max", "memory.peak"))
    }

    fn peak_bytes(&self) -> u64 {
        let peak = std::fs::read_to_string(self.path.join(self.peak)).expect("its own file");
        peak.trim().parse().expect("a number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// What a shell does before it becomes a gateway that is held to its memory.
fn hold(group: Option<&Group>) -> String {
    match group {
        Some(group) => format!("echo $$ >{}/cgroup.procs", group.path.display()),
        // Addresses are many more than pages: stacks, arenas, the program itself.
        None => "export MALLOC_ARENA_MAX=1; ulimit -v 262144".to_owned(),
    }
}

/// The limits of the smallest board, without its place for data.
fn profile() -> &'static str {
    let profile = include_str!("../../../targets/openwrt/profile.toml");
    let (_, limits) = profile.split_once("[limits]").expect("it has limits");
    limits
}

/// Publishes numbers from 1 on; gives the last one that was acknowledged.
fn keep_a_ledger(address: std::net::SocketAddr, is_over: &AtomicBool) -> u64 {
    let mut sensor = Device::connect(address, "sensor");
    let mut acknowledged = 0;
    while !is_over.load(Ordering::Relaxed) {
        for number in acknowledged + 1..=acknowledged + WINDOW {
            let packet_identifier = u16::try_from(number % 60_000 + 1).expect("it fits");
            sensor.publish("plant/count", packet_identifier, &number.to_string());
        }
        for _ in 0..WINDOW {
            assert!(sensor.is_acknowledged());
        }
        acknowledged += WINDOW;
    }
    acknowledged
}

#[test]
fn the_smallest_board_loses_nothing_acknowledged_in_a_flood() {
    let is_full = std::env::var_os("FLOOD").is_some_and(|value| value == "full");
    let (attempts, bombs) = if is_full { (20_000, 300) } else { (300, 5) };
    let scale = Scale {
        attempts,
        trickles: 30,
        bombs,
        wills: 40,
        ..Scale::small()
    };
    let group = Group::new();
    let limits = format!("allow_anonymous = true\n[limits]{}", profile());
    let mut gateway = Gateway::start_behind(&hold(group.as_ref()), "0.0.0.0:0", &limits);
    let address = at(gateway.address, 1);
    Device::connect(address, "ledger").subscribe("plant/#");
    let is_over = AtomicBool::new(false);
    let acknowledged = thread::scope(|scope| {
        let parts = Ends(&is_over);
        let ledger = scope.spawn(|| keep_a_ledger(address, &is_over));
        for number in 0..5 {
            let mut reader = join(address, &format!("reader-{number}"));
            reader.subscribe_at_most_once("fan/#");
            let is_over = &is_over;
            scope.spawn(move || read_all(reader.stream(), is_over));
        }
        scope.spawn(|| publish_steadily(address, &is_over));
        scope.spawn(|| trickle(address, &scale, &is_over));
        knock(gateway.address, scale.attempts);
        wait_until("places", || gateway.fact("connections") < 50);
        bomb(address, scale.bombs);
        wait_until("places", || gateway.fact("connections") < 50);
        die(address, scale.wills);
        drop(parts);
        ledger.join().expect("every message is acknowledged")
    });
    match &group {
        Some(group) => println!("{acknowledged} acknowledged, {} B held", group.peak_bytes()),
        None => println!("{acknowledged} acknowledged, without a control group"),
    }
    gateway.kill();
    gateway.restart();
    let mut ledger = Device::connect(address, "ledger");
    assert!(ledger.session_present);
    for number in 1..=acknowledged {
        assert_eq!(ledger.take(), Some(number.to_string()));
    }
}
