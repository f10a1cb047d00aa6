//! The books of the publishers, kept outside the gateway, and of those who receive.

use std::collections::BTreeMap;
use std::fmt;

/// One message: its publisher and its number, both from 0.
pub(super) type Message = (usize, u64);

/// Everything that was acknowledged, and everything that arrived where.
pub(super) struct Ledger {
    publishers: Vec<Publisher>,
    receivers: Vec<Receiver>,
    /// Offsets that the cloud has seen, a lane; what comes with one of them again is a repetition.
    offsets: BTreeMap<String, Vec<bool>>,
    sent_again: u64,
    sessions_lost: u64,
    retained_stale: u64,
}

struct Publisher {
    qos: u8,
    /// Its messages take turns on so many topics.
    topics: u64,
    /// How many were acknowledged: always the first.
    acknowledged: u64,
}

struct Receiver {
    name: String,
    qos: u8,
    /// How often each message of each publisher came.
    times: Vec<Vec<u8>>,
    /// The newest number, a publisher and topic.
    newest: BTreeMap<(usize, u64), u64>,
    out_of_order: u64,
}

/// Place of a receiver in the books.
#[derive(Clone, Copy)]
pub(super) struct Account(usize);

impl Ledger {
    /// Books for publishers, each by its QoS and on how many topics its messages take turns.
    pub(super) fn new(publishers: &[(u8, u64)]) -> Self {
        let publisher = |(qos, topics): &(u8, u64)| Publisher {
            qos: *qos,
            topics: *topics,
            acknowledged: 0,
        };
        Self {
            publishers: publishers.iter().map(publisher).collect(),
            receivers: Vec::new(),
            offsets: BTreeMap::new(),
            sent_again: 0,
            sessions_lost: 0,
            retained_stale: 0,
        }
    }

    /// Opens an account for a receiver that takes messages at this QoS at most.
    pub(super) fn open(&mut self, name: &str, qos: u8) -> Account {
        let publishers = self.publishers.len();
        self.receivers.push(Receiver {
            name: name.to_owned(),
            qos,
            times: vec![Vec::new(); publishers],
            newest: BTreeMap::new(),
            out_of_order: 0,
        });
        Account(self.receivers.len() - 1)
    }

    /// The gateway said PUBACK or PUBREC.
    pub(super) fn acknowledge(&mut self, (publisher, number): Message) {
        let acknowledged = &mut self.publishers[publisher].acknowledged;
        *acknowledged = (*acknowledged).max(number + 1);
    }

    /// A receiver got it as it was published.
    pub(super) fn arrive(&mut self, account: Account, message: Message) {
        if self.greet(account, message) {
            let (publisher, number) = message;
            let receiver = &mut self.receivers[account.0];
            let topic = number % self.publishers[publisher].topics;
            let newest = receiver.newest.entry((publisher, topic)).or_insert(number);
            receiver.out_of_order += u64::from(number < *newest);
            *newest = (*newest).max(number);
        }
    }

    /// A receiver got it because it is retained, which has no place in the order; whether it is
    /// the first time.
    pub(super) fn greet(&mut self, account: Account, (publisher, number): Message) -> bool {
        let times = &mut self.receivers[account.0].times[publisher];
        let place = usize::try_from(number).expect("counted by this process");
        times.resize(times.len().max(place + 1), 0);
        times[place] = times[place].saturating_add(1);
        times[place] == 1
    }

    /// The cloud got it with its place in the log: the same place is the same record, sent again.
    pub(super) fn arrive_at(
        &mut self,
        account: Account,
        lane: &str,
        offset: usize,
        message: Message,
    ) {
        let seen = self.offsets.entry(lane.to_owned()).or_default();
        seen.resize(seen.len().max(offset + 1), false);
        if std::mem::replace(&mut seen[offset], true) {
            self.sent_again += 1;
        } else {
            self.arrive(account, message);
        }
    }

    /// A session that the gateway had confirmed was not there any more.
    pub(super) const fn lose_session(&mut self) {
        self.sessions_lost += 1;
    }

    /// A retained message was older than one acknowledged before.
    pub(super) const fn find_retained_stale(&mut self) {
        self.retained_stale += 1;
    }

    /// How many messages of a publisher were acknowledged.
    pub(super) fn acknowledged_of(&self, publisher: usize) -> u64 {
        self.publishers[publisher].acknowledged
    }

    /// How many were acknowledged altogether.
    pub(super) fn acknowledged(&self) -> u64 {
        let publishers = self.publishers.iter();
        publishers.map(|publisher| publisher.acknowledged).sum()
    }

    /// How many have not arrived everywhere.
    pub(super) fn missing(&self) -> u64 {
        self.receivers
            .iter()
            .map(|receiver| self.missing_at(receiver))
            .sum()
    }

    /// What it comes to.
    pub(super) fn balance(&self) -> Balance {
        let line = |receiver: &Receiver| Line {
            name: receiver.name.clone(),
            arrived: receiver.count(|_, times| u64::from(times > 0)),
            missing: self.missing_at(receiver),
            again: self.repeated_at(receiver, 1),
            again_exactly_once: self.repeated_at(receiver, 2),
            out_of_order: receiver.out_of_order,
        };
        Balance {
            acknowledged: self.acknowledged(),
            lines: self.receivers.iter().map(line).collect(),
            sent_again: self.sent_again,
            sessions_lost: self.sessions_lost,
            retained_stale: self.retained_stale,
        }
    }

    fn missing_at(&self, receiver: &Receiver) -> u64 {
        let missing = |(publisher, times): (&Publisher, &Vec<u8>)| {
            let count = publisher.acknowledged;
            let count = usize::try_from(count).expect("counted by this process");
            let arrived = times.iter().take(count).filter(|times| **times > 0).count();
            (count - arrived) as u64
        };
        self.publishers
            .iter()
            .zip(&receiver.times)
            .map(missing)
            .sum()
    }

    /// Messages too many, of those that travelled all the way at this QoS.
    fn repeated_at(&self, receiver: &Receiver, qos: u8) -> u64 {
        receiver.count(|publisher, times| {
            let all_the_way = self.publishers[publisher].qos.min(receiver.qos);
            let extra = u64::from(times.saturating_sub(1));
            if all_the_way == qos { extra } else { 0 }
        })
    }
}

impl Receiver {
    fn count(&self, of: impl Fn(usize, u8) -> u64) -> u64 {
        let all = self.times.iter().enumerate();
        all.flat_map(|(publisher, times)| times.iter().map(move |times| (publisher, *times)))
            .map(|(publisher, times)| of(publisher, times))
            .sum()
    }
}

/// The books when they are closed.
pub(super) struct Balance {
    acknowledged: u64,
    lines: Vec<Line>,
    sent_again: u64,
    sessions_lost: u64,
    retained_stale: u64,
}

struct Line {
    name: String,
    arrived: u64,
    missing: u64,
    again: u64,
    again_exactly_once: u64,
    out_of_order: u64,
}

impl Balance {
    /// Whether the gateway kept its promise.
    pub(super) fn is_clean(&self) -> bool {
        let is_clean =
            |line: &Line| line.missing + line.again_exactly_once + line.out_of_order == 0;
        self.acknowledged > 0
            && self.lines.iter().all(is_clean)
            && self.sessions_lost + self.retained_stale == 0
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acknowledged = self.acknowledged;
        writeln!(f, "acknowledged {acknowledged}, at each receiver:")?;
        let head = ["arrived", "missing", "QoS 1 twice", "QoS 2 twice", "order"];
        write!(f, "{:>10}", "")?;
        for name in head {
            write!(f, " {name:>12}")?;
        }
        writeln!(f)?;
        for line in &self.lines {
            write!(f, "{:>10}", line.name)?;
            let counts = [line.arrived, line.missing, line.again];
            for count in [&counts[..], &[line.again_exactly_once, line.out_of_order]].concat() {
                write!(f, " {count:>12}")?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "sent to the cloud again {} (recognised by edge-offset), sessions lost {}, retained stale {}",
            self.sent_again, self.sessions_lost, self.retained_stale
        )
    }
}

/// What is missing, twice or out of order is seen, or a long run would prove nothing.
#[test]
fn the_books_see_each_kind_of_fault() {
    let mut ledger = Ledger::new(&[(1, 1), (2, 1)]);
    let display = ledger.open("display", 2);
    for message in [(0, 0), (0, 1), (1, 0)] {
        ledger.acknowledge(message);
    }
    ledger.arrive(display, (0, 1));
    ledger.arrive(display, (1, 0));
    assert_eq!(ledger.missing(), 1);
    assert!(!ledger.balance().is_clean());
    ledger.arrive(display, (0, 0));
    assert_eq!(
        (ledger.missing(), ledger.balance().lines[0].out_of_order),
        (0, 1)
    );

    let mut ledger = Ledger::new(&[(1, 1), (2, 1)]);
    let cloud = ledger.open("cloud", 2);
    ledger.acknowledge((1, 0));
    ledger.arrive_at(cloud, "normal", 7, (1, 0));
    ledger.arrive_at(cloud, "normal", 7, (1, 0));
    assert!(ledger.balance().is_clean(), "one record, sent twice");
    ledger.arrive_at(cloud, "normal", 8, (1, 0));
    assert_eq!(ledger.balance().lines[0].again_exactly_once, 1);
    assert!(!ledger.balance().is_clean(), "two records");
}
