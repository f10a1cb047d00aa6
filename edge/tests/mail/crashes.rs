//! Many requests under way at once, commits that fail, and power cuts at any moment: what was
//! answered is true afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use edge::mail::{Settings, Ticket};
use sync::{Generator, Table};
use wire::mq9::{Attributes, Deliver, Priority, Reply, Request};

use crate::desk::{Desk, acknowledge, create, delete, fetch, ids, query, send, texts};

const PRIORITIES: [Priority; 3] = [Priority::Critical, Priority::Urgent, Priority::Normal];

/// What may go wrong in a walk.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Crashes,
    Failures,
    Both,
}

/// What a request was about.
enum Asked {
    Send {
        text: String,
        priority: Priority,
        is_keyed: bool,
    },
    Delayed {
        text: String,
    },
    Acknowledge {
        id: u64,
    },
    Delete {
        id: u64,
    },
    Fetch {
        acknowledged: BTreeSet<u64>,
    },
}

struct Walk {
    generator: Generator,
    desk: Desk,
    trouble: Trouble,
    asked: BTreeMap<Ticket, Asked>,
    next_text: u64,
    /// Every id that was answered, and what it was for.
    given: BTreeMap<u64, String>,
    /// Messages that must be there: answered, without a key, never to be deleted.
    kept: BTreeMap<u64, Priority>,
    /// Whether the mailbox takes so few messages that some give way.
    is_small: bool,
    delayed: BTreeSet<String>,
    acknowledged: BTreeSet<u64>,
}

impl Walk {
    fn new(seed: u64, trouble: Trouble) -> Self {
        println!("seed {seed}");
        let is_small = seed % 2 == 1;
        let settings = Settings {
            step_rows_maximum: 4,
            message_count_maximum: if is_small { 12 } else { 100_000 },
            ..Settings::default()
        };
        let mut desk = Desk::new(settings);
        desk.create("m", 0);
        desk.is_holding = true;
        Self {
            generator: Generator::from_seed(seed),
            desk,
            trouble,
            asked: BTreeMap::new(),
            next_text: 0,
            given: BTreeMap::new(),
            kept: BTreeMap::new(),
            is_small,
            delayed: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        match self.generator.below(20) {
            0..=6 => self.send(),
            7..=8 => self.ask_about_one(),
            9..=10 => {
                let asked = Asked::Fetch {
                    acknowledged: self.acknowledged.clone(),
                };
                let request = Request::Fetch(fetch("m", Some("g"), Deliver::Earliest));
                self.begin(request, asked);
            }
            11 => self.desk.pass(Duration::from_millis(700)),
            12 if self.trouble != Trouble::Crashes => self.desk.settle(false),
            13 if self.trouble != Trouble::Failures && self.generator.below(4) == 0 => self.crash(),
            _ => self.desk.settle(true),
        }
        self.desk.take_turns();
        self.look_at_answers();
    }

    fn begin(&mut self, request: Request, asked: Asked) {
        let ticket = self.desk.begin(request);
        self.asked.insert(ticket, asked);
    }

    fn send(&mut self) {
        self.next_text += 1;
        let text = format!("text {}", self.next_text);
        let is_keyed = self.generator.below(3) == 0;
        let is_delayed = self.generator.below(5) == 0;
        let attributes = Attributes {
            priority: PRIORITIES[self.generator.below(3) as usize],
            key: is_keyed.then(|| ["k", "l"][self.generator.below(2) as usize].to_owned()),
            delay_seconds: (is_delayed && !is_keyed).then_some(1),
            ..Attributes::default()
        };
        let request = send("m", &text, attributes.clone());
        let asked = match attributes.delay_seconds {
            Some(_) => Asked::Delayed { text },
            None => Asked::Send {
                text,
                priority: attributes.priority,
                is_keyed,
            },
        };
        self.begin(request, asked);
    }

    fn ask_about_one(&mut self) {
        let ids: Vec<u64> = self.given.keys().copied().collect();
        let recent = ids.len().saturating_sub(6);
        let Some(id) = ids.get(recent + self.generator.below(6) as usize).copied() else {
            return;
        };
        match self.generator.below(3) {
            0 => {
                self.kept.remove(&id);
                self.begin(delete("m", id), Asked::Delete { id });
            }
            _ => self.begin(acknowledge("m", "g", id), Asked::Acknowledge { id }),
        }
    }

    fn crash(&mut self) {
        // Some commits made it to the disk, but nobody heard of it.
        for _ in 0..self.generator.below(4) {
            if let Some((_, changes)) = self.desk.held.pop_front() {
                self.desk.shelf.apply(changes);
            }
        }
        self.desk.crash();
        self.asked.clear();
    }

    fn look_at_answers(&mut self) {
        for (ticket, reply) in std::mem::take(&mut self.desk.answers) {
            let Some(asked) = self.asked.remove(&ticket) else {
                continue;
            };
            match (asked, reply) {
                (Asked::Send { .. } | Asked::Delayed { .. }, Reply::Failed(_)) if self.is_small => {
                }
                (_, Reply::Failed(_)) => assert!(self.trouble != Trouble::Crashes),
                (
                    Asked::Send {
                        text,
                        priority,
                        is_keyed,
                    },
                    Reply::Sent { id: Some(id) },
                ) => {
                    let former = self.given.insert(id, text);
                    assert_eq!(former, None, "id {id} is given twice");
                    if !is_keyed {
                        self.kept.insert(id, priority);
                    }
                }
                (Asked::Delayed { text }, Reply::Sent { id: None }) => {
                    self.delayed.insert(text);
                }
                (Asked::Acknowledge { id }, Reply::Done) => {
                    self.acknowledged.insert(id);
                }
                (Asked::Delete { id }, Reply::Deleted { .. }) => {
                    self.kept.remove(&id);
                }
                (Asked::Fetch { acknowledged }, reply) => {
                    for id in ids(&reply) {
                        assert!(!acknowledged.contains(&id), "id {id} comes back");
                    }
                }
                (_, reply) => panic!("{reply:?}"),
            }
        }
    }

    fn end(mut self) {
        self.desk.settle_all();
        self.desk.take_turns();
        self.look_at_answers();
        self.desk.is_holding = false;
        self.desk.settle_all();
        self.desk.pass(Duration::from_secs(30));
        let mut asked = fetch("m", None, Deliver::Earliest);
        asked.count = u32::MAX;
        let reply = self.desk.ask(Request::Fetch(asked));
        let found: BTreeMap<u64, String> = ids(&reply).into_iter().zip(texts(&reply)).collect();
        let position = self.position();
        for (id, priority) in &self.kept {
            if self.is_small && *id < position[*priority as usize] {
                // Acknowledged, so that it may have given way.
                continue;
            }
            assert_eq!(found.get(id), self.given.get(id), "message {id} is lost");
        }
        let mut times: BTreeMap<&String, usize> = BTreeMap::new();
        for text in found.values() {
            *times.entry(text).or_default() += 1;
        }
        assert!(times.values().all(|times| *times == 1), "a message twice");
        // In a small mailbox it may have been read and have given way since.
        for text in self.delayed.iter().filter(|_| !self.is_small) {
            // Nobody can have deleted it, for nobody was told its id.
            assert_eq!(times.get(text), Some(&1), "{text} was delayed");
        }
        for key in ["k", "l"] {
            let mut asked = query("m");
            asked.key = Some(key.to_owned());
            let of_key = ids(&self.desk.ask(Request::Query(asked)));
            assert!(of_key.len() <= 1);
        }
        let keyed = found.len() - self.unkeyed_count(&found);
        assert!(keyed <= 2, "{keyed} messages with two keys");
        if self.trouble != Trouble::Both {
            let rows =
                self.desk.shelf.count(Table::Mail) + self.desk.shelf.count(Table::MailDelayed);
            assert_eq!(self.desk.office.counts().messages, rows as u64);
        }
    }

    /// What the group is done with, as its row says.
    fn position(&self) -> [u64; 3] {
        let groups = self.desk.shelf.keys_of(Table::MailGroups);
        let row = groups.first();
        let row = row.and_then(|key| self.desk.shelf.row(Table::MailGroups, key));
        row.map_or([0; 3], |row| {
            let (_, position): (u8, [u64; 3]) = ciborium::from_reader(row.as_slice()).unwrap();
            position
        })
    }

    fn unkeyed_count(&self, found: &BTreeMap<u64, String>) -> usize {
        let keys = self.desk.shelf.keys_of(Table::Mail);
        let unkeyed = keys.iter().filter(|key| {
            let row = self.desk.shelf.row(Table::Mail, key).unwrap();
            row[17..19] == [0, 0]
        });
        let count = unkeyed.count();
        assert!(count <= found.len());
        count
    }
}

fn walk(seed: u64, trouble: Trouble) {
    let mut walk = Walk::new(seed, trouble);
    for _ in 0..600 {
        walk.step();
    }
    let gave_way = walk.desk.office.counters().messages_gave_way;
    assert!(walk.is_small || gave_way == 0);
    walk.end();
}

#[test]
fn what_was_answered_outlives_power_cuts() {
    (0..25).for_each(|seed| walk(seed, Trouble::Crashes));
}

#[test]
fn commits_that_fail_leave_counts_and_messages_right() {
    (100..125).for_each(|seed| walk(seed, Trouble::Failures));
}

#[test]
fn commits_that_fail_before_a_power_cut_lose_nothing() {
    (200..225).for_each(|seed| walk(seed, Trouble::Both));
}

#[test]
fn a_mailbox_is_there_when_only_the_first_message_to_it_is_durable() {
    let mut desk = Desk::new(Settings::default());
    desk.is_holding = true;
    let made = desk.begin(create("m", 60));
    let sent = desk.begin(send("m", "text", Attributes::default()));
    desk.settle(false);
    desk.settle(true);
    assert!(matches!(desk.answers[&made], Reply::Failed(_)));
    assert_eq!(desk.answers[&sent], crate::desk::sent(0));
    desk.is_holding = false;
    desk.crash();
    assert_eq!(desk.query("m"), [0]);
    assert_eq!(desk.send("m", "more"), crate::desk::sent(1));
}

#[test]
fn a_mailbox_whose_making_failed_is_not_there() {
    let mut desk = Desk::new(Settings::default());
    desk.is_holding = true;
    desk.begin(create("m", 60));
    desk.settle(false);
    desk.is_holding = false;
    assert_eq!(desk.send("m", "text"), crate::desk::no_mailbox("m"));
    assert_eq!(desk.office.counts().mailboxes, 0);
    let address = "m".to_owned();
    assert_eq!(desk.create("m", 60), Reply::Created { address });
}
