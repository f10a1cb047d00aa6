//! The `$SYS` topics: numbers of the running gateway under the names that Mosquitto gives them, in
//! its formats, so that what graphs a Mosquitto graphs a gateway. Below `$SYS/broker/edge` are
//! those of `robustmq-edge status`.
//!
//! A board remembers what it said last and says only what has changed. It reads no clock and counts
//! nothing itself; what it holds grows with the number of names, which is fixed.

use std::collections::BTreeMap;
use std::time::Duration;

use sync::Instant;

use crate::mqtt::TrafficCounts;

/// What a board is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Clients that are connected.
    pub(crate) connected_count: usize,
    /// The most that ever were at once.
    pub(crate) connected_most: usize,
    /// Sessions, connected or kept.
    pub(crate) session_count: usize,
    /// Sessions that ended because their clients stayed away.
    pub(crate) expired_count: u64,
    /// Packets and messages.
    pub(crate) traffic: TrafficCounts,
    /// Links that were accepted.
    pub(crate) accepted_count: u64,
    /// Bytes that links brought.
    pub(crate) bytes_received: u64,
    /// Bytes that links took.
    pub(crate) bytes_sent: u64,
    /// Deliveries that are not acknowledged.
    pub(crate) inflight_count: usize,
    /// Records in the log and retained messages.
    pub(crate) stored_count: u64,
    /// What these take.
    pub(crate) stored_bytes: u64,
    /// Subscriptions of all sessions.
    pub(crate) subscription_count: usize,
    /// Those of them that are shared.
    pub(crate) shared_count: usize,
    /// Retained messages.
    pub(crate) retained_count: usize,
    /// What an operator is told, a name and a number a line.
    pub(crate) status: String,
}

/// A topic and its value.
pub(crate) type Announcement = (String, String);

/// What was said, and what the next averages need.
#[derive(Debug)]
pub(crate) struct Board {
    interval: Duration,
    start: Instant,
    updated: Option<Instant>,
    loads: [Load; LOADS.len()],
    said: BTreeMap<String, String>,
}

/// How fast one count grows.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    count: u64,
    /// A minute, over the times of [`AVERAGES`].
    rates: [f64; AVERAGES.len()],
}

/// The counts whose growth is averaged, in the order of [`Facts::loads`].
const LOADS: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];
/// Names and seconds.
const AVERAGES: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];
const ROOT: &str = "$SYS/broker";
const VERSION: &str = concat!("robustmq-edge version ", env!("CARGO_PKG_VERSION"));

impl Board {
    /// Starts with nothing said.
    pub(crate) const fn new(interval: Duration, start: Instant) -> Self {
        Self {
            interval,
            start,
            updated: None,
            loads: [Load {
                count: 0,
                rates: [0.0; AVERAGES.len()],
            }; LOADS.len()],
            said: BTreeMap::new(),
        }
    }

    /// Whether it is time for [`Board::update`].
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.updated.is_none_or(|at| now - at >= self.interval)
    }

    /// Takes the facts and gives what has changed.
    pub(crate) fn update(&mut self, now: Instant, facts: &Facts) -> Vec<Announcement> {
        self.average(now, facts);
        let mut all = facts.counts();
        all.push(("version".to_owned(), VERSION.to_owned()));
        let uptime = (now - self.start).as_secs();
        all.push(("uptime".to_owned(), format!("{uptime} seconds")));
        for (load, name) in self.loads.iter().zip(LOADS) {
            for (rate, (time, _)) in load.rates.iter().zip(AVERAGES) {
                all.push((format!("load/{name}/{time}"), format!("{rate:.2}")));
            }
        }
        let edge = facts.status.lines().filter_map(|line| line.split_once(' '));
        all.extend(edge.map(|(name, value)| {
            let name = name.replace('.', "/");
            (format!("edge/{name}"), value.to_owned())
        }));
        all.retain(|(name, value)| self.said.get(name) != Some(value));
        self.said.extend(all.iter().cloned());
        let topic = |(name, value)| (format!("{ROOT}/{name}"), value);
        all.into_iter().map(topic).collect()
    }

    /// Brings the averages up to date: exponential ones, as Mosquitto's.
    fn average(&mut self, now: Instant, facts: &Facts) {
        let elapsed = self.updated.replace(now).map(|at| (now - at).as_secs_f64());
        for (load, count) in self.loads.iter_mut().zip(facts.loads()) {
            let more = count.saturating_sub(load.count) as f64;
            load.count = count;
            let Some(elapsed) = elapsed.filter(|elapsed| *elapsed > 0.0) else {
                continue;
            };
            let present = more * 60.0 / elapsed;
            for (rate, (_, seconds)) in load.rates.iter_mut().zip(AVERAGES) {
                *rate = present + (-elapsed / seconds).exp() * (*rate - present);
            }
        }
    }
}

impl Facts {
    /// The counts of [`LOADS`].
    const fn loads(&self) -> [u64; LOADS.len()] {
        let traffic = &self.traffic;
        [
            traffic.packets_received,
            traffic.packets_sent,
            traffic.publishes_dropped,
            traffic.publishes_received,
            traffic.publishes_sent,
            self.bytes_received,
            self.bytes_sent,
            self.accepted_count,
            traffic.connects,
        ]
    }

    fn counts(&self) -> Vec<Announcement> {
        let traffic = &self.traffic;
        let connected = self.connected_count as u64;
        let total = self.session_count as u64;
        let away = total.saturating_sub(connected);
        let counts = [
            ("clients/total", total),
            ("clients/connected", connected),
            ("clients/disconnected", away),
            ("clients/maximum", self.connected_most as u64),
            ("clients/expired", self.expired_count),
            // Former names, which old dashboards use.
            ("clients/active", connected),
            ("clients/inactive", away),
            ("messages/received", traffic.packets_received),
            ("messages/sent", traffic.packets_sent),
            ("messages/inflight", self.inflight_count as u64),
            ("messages/stored", self.stored_count),
            ("store/messages/count", self.stored_count),
            ("store/messages/bytes", self.stored_bytes),
            ("publish/messages/received", traffic.publishes_received),
            ("publish/messages/sent", traffic.publishes_sent),
            ("publish/messages/dropped", traffic.publishes_dropped),
            ("publish/bytes/received", traffic.payload_bytes_received),
            ("publish/bytes/sent", traffic.payload_bytes_sent),
            ("bytes/received", self.bytes_received),
            ("bytes/sent", self.bytes_sent),
            ("subscriptions/count", self.subscription_count as u64),
            ("shared_subscriptions/count", self.shared_count as u64),
            ("retained messages/count", self.retained_count as u64),
        ];
        let shown = |(name, count): (&str, u64)| (name.to_owned(), count.to_string());
        counts.into_iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Debian's mosquitto 2.0.11 says, but for `heap/current` and `heap/maximum`, which only
    /// an allocator that counts could tell.
    const MOSQUITTO: [&str; 51] = [
        "version",
        "uptime",
        "clients/total",
        "clients/inactive",
        "clients/disconnected",
        "clients/active",
        "clients/connected",
        "clients/expired",
        "clients/maximum",
        "load/messages/received/1min",
        "load/messages/received/5min",
        "load/messages/received/15min",
        "load/messages/sent/1min",
        "load/messages/sent/5min",
        "load/messages/sent/15min",
        "load/publish/dropped/1min",
        "load/publish/dropped/5min",
        "load/publish/dropped/15min",
        "load/publish/received/1min",
        "load/publish/received/5min",
        "load/publish/received/15min",
        "load/publish/sent/1min",
        "load/publish/sent/5min",
        "load/publish/sent/15min",
        "load/bytes/received/1min",
        "load/bytes/received/5min",
        "load/bytes/received/15min",
        "load/bytes/sent/1min",
        "load/bytes/sent/5min",
        "load/bytes/sent/15min",
        "load/sockets/1min",
        "load/sockets/5min",
        "load/sockets/15min",
        "load/connections/1min",
        "load/connections/5min",
        "load/connections/15min",
        "messages/stored",
        "messages/received",
        "messages/sent",
        "store/messages/count",
        "store/messages/bytes",
        "subscriptions/count",
        "shared_subscriptions/count",
        "retained messages/count",
        "publish/messages/dropped",
        "publish/messages/received",
        "publish/messages/sent",
        "publish/bytes/received",
        "publish/bytes/sent",
        "bytes/received",
        "bytes/sent",
    ];

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn facts() -> Facts {
        Facts {
            connected_count: 2,
            connected_most: 5,
            session_count: 3,
            expired_count: 4,
            traffic: TrafficCounts {
                connects: 6,
                packets_received: 1000,
                packets_sent: 2000,
                publishes_received: 300,
                publishes_sent: 400,
                publishes_dropped: 7,
                payload_bytes_received: 5000,
                payload_bytes_sent: 6000,
            },
            accepted_count: 8,
            bytes_received: 10_000,
            bytes_sent: 20_000,
            inflight_count: 9,
            stored_count: 10,
            stored_bytes: 11,
            subscription_count: 12,
            shared_count: 13,
            retained_count: 14,
            status: "gaps 15\ncloud.normal.backlog 16\n".to_owned(),
        }
    }

    #[test]
    fn every_name_of_mosquitto_is_there() {
        let mut board = Board::new(Duration::from_secs(10), at(0));
        let said: BTreeMap<_, _> = board.update(at(0), &facts()).into_iter().collect();
        for name in MOSQUITTO {
            assert!(said.contains_key(&format!("$SYS/broker/{name}")), "{name}");
        }
        // Those of older versions, and our own.
        assert_eq!(said.len(), MOSQUITTO.len() + 1 + 2);
    }

    #[test]
    fn values_have_mosquittos_formats() {
        let mut board = Board::new(Duration::from_secs(10), at(5));
        board.update(at(5), &Facts::default());
        let said: BTreeMap<_, _> = board.update(at(65), &facts()).into_iter().collect();
        let table = [
            ("uptime", "60 seconds"),
            ("clients/connected", "2"),
            ("clients/disconnected", "1"),
            ("clients/maximum", "5"),
            ("clients/expired", "4"),
            ("messages/inflight", "9"),
            ("publish/messages/dropped", "7"),
            ("publish/bytes/sent", "6000"),
            ("store/messages/bytes", "11"),
            ("retained messages/count", "14"),
            // 1000 in a minute that counts 1 - 1/e, 1 - e^(-1/5), 1 - e^(-1/15).
            ("load/messages/received/1min", "632.12"),
            ("load/messages/received/5min", "181.27"),
            ("load/messages/received/15min", "64.49"),
            ("load/connections/1min", "3.79"),
            ("edge/gaps", "15"),
            ("edge/cloud/normal/backlog", "16"),
        ];
        for (name, value) in table {
            let found = said.get(&format!("$SYS/broker/{name}"));
            assert_eq!(found.map(String::as_str), Some(value), "{name}");
        }
        assert!(VERSION.starts_with("robustmq-edge version "));
    }

    #[test]
    fn only_what_has_changed_is_said_again() {
        let mut board = Board::new(Duration::from_secs(10), at(0));
        assert!(board.is_due(at(0)));
        board.update(at(0), &Facts::default());
        assert!(!board.is_due(at(9)));
        assert!(board.is_due(at(10)));
        let changed = Facts {
            retained_count: 1,
            ..Facts::default()
        };
        let said = board.update(at(10), &changed);
        let names: Vec<&str> = said.iter().map(|(topic, _)| topic.as_str()).collect();
        let expected = ["$SYS/broker/retained messages/count", "$SYS/broker/uptime"];
        assert_eq!(names, expected);
    }
}
