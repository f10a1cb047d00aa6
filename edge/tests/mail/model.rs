//! The office against a naive model of the protocol: random requests, a virtual clock, and restarts
//! in between; every reply must be the model's.

use std::collections::BTreeMap;
use std::time::Duration;

use edge::mail::Settings;
use sync::{Generator, WallTime};
use wire::mq9::{Attributes, Deliver, Failure, Fetch, Priority, Query, Reply, Request};

use crate::desk::{Desk, acknowledge, create, delete, ids, no_mailbox, query, send};

const PRIORITIES: [Priority; 3] = [Priority::Critical, Priority::Urgent, Priority::Normal];

#[derive(Clone, Debug)]
struct Letter {
    id: u64,
    attributes: Attributes,
    time: u64,
    over: u64,
}

#[derive(Default)]
struct Group {
    position: [u64; 3],
    batches: Vec<Vec<(Priority, u64)>>,
}

#[derive(Default)]
struct Mailbox {
    over: u64,
    next_id: u64,
    /// Behind the last of each priority.
    ends: [u64; 3],
    letters: Vec<Letter>,
    /// By due time and turn.
    delayed: BTreeMap<(u64, u64), Letter>,
    turn: u64,
    groups: BTreeMap<String, Group>,
}

#[derive(Default)]
struct Model {
    now: u64,
    /// Messages a mailbox.
    most: usize,
    mailboxes: BTreeMap<String, Mailbox>,
}

impl Model {
    fn advance(&mut self, to: u64) {
        self.now = to;
        for mailbox in self.mailboxes.values_mut() {
            while let Some((&(due, turn), _)) = mailbox.delayed.first_key_value()
                && due <= to
            {
                let mut letter = mailbox.delayed.remove(&(due, turn)).unwrap();
                if due < mailbox.over && due < letter.over {
                    letter.time = due;
                    mailbox.add(letter);
                }
            }
        }
        self.mailboxes.retain(|_, mailbox| mailbox.over > to);
    }

    fn send(&mut self, address: &str, attributes: &Attributes) -> Reply {
        let now = self.now;
        let Some(mailbox) = self.mailboxes.get_mut(address) else {
            return no_mailbox(address);
        };
        let letter = Letter {
            id: 0,
            attributes: attributes.clone(),
            time: now,
            over: attributes
                .ttl_seconds
                .map_or(u64::MAX, |ttl| now + ttl * 1000),
        };
        let replaces = attributes.delay_seconds.is_none() && attributes.key.is_some();
        let key = attributes.key.clone().filter(|_| replaces);
        if !mailbox.make_room(self.most, key) {
            let why = format!(
                "mailbox {address} is full: its messages would exceed the limit of {}",
                self.most
            );
            return Reply::Failed(Failure::Refused(why));
        }
        if let Some(delay) = attributes.delay_seconds {
            mailbox.turn += 1;
            let place = (now + delay * 1000, mailbox.turn);
            mailbox.delayed.insert(place, letter);
            return Reply::Sent { id: None };
        }
        let id = Some(mailbox.add(letter));
        Reply::Sent { id }
    }

    fn fetch(&mut self, fetch: &Fetch) -> Result<Vec<u64>, Reply> {
        let now = self.now;
        let Some(mailbox) = self.mailboxes.get_mut(&fetch.address) else {
            return Err(no_mailbox(&fetch.address));
        };
        let begin = mailbox.begin(fetch.deliver, now);
        let position = match &fetch.group {
            None => begin,
            Some(group) => {
                let is_new = !mailbox.groups.contains_key(group);
                let group = mailbox.groups.entry(group.clone()).or_default();
                if is_new || fetch.is_forced {
                    group.position = begin;
                }
                group.position
            }
        };
        let mut found = Vec::new();
        for priority in PRIORITIES {
            let letters = mailbox.letters.iter();
            let wanted = letters.filter(|it| {
                let is_there = it.attributes.priority == priority && it.over > now;
                is_there && it.id >= position[priority as usize]
            });
            found.extend(wanted.map(|it| (priority, it.id)));
        }
        found.truncate(fetch.count as usize);
        if let Some(group) = &fetch.group
            && !found.is_empty()
        {
            let group = mailbox.groups.get_mut(group).unwrap();
            if group.batches.last() != Some(&found) {
                group.batches.push(found.clone());
                if group.batches.len() > 8 {
                    group.batches.remove(0);
                }
            }
        }
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    fn acknowledge(&mut self, address: &str, name: &str, id: u64) -> Reply {
        let Some(mailbox) = self.mailboxes.get_mut(address) else {
            let address = address.to_owned();
            return Reply::Failed(Failure::NoMailboxToAcknowledge(address));
        };
        let mut done = [0; 3];
        let group = mailbox.groups.get(name);
        let batch = group.and_then(|group| {
            let mut batches = group.batches.iter().rev();
            batches.find(|it| it.iter().any(|(_, found)| *found == id))
        });
        if let Some(batch) = batch {
            for (priority, found) in batch {
                done[*priority as usize] = found + 1;
                if *found == id {
                    break;
                }
            }
        } else if let Some(letter) = mailbox.letters.iter().find(|it| it.id == id) {
            done[letter.attributes.priority as usize] = id + 1;
        } else if group.is_some()
            && let Some(most) = mailbox.ends.iter().position(|end| id < *end)
        {
            done[..=most].fill(id + 1);
        }
        if group.is_none() && done == [0; 3] {
            return Reply::Done;
        }
        let group = mailbox.groups.entry(name.to_owned()).or_default();
        for (end, done) in group.position.iter_mut().zip(done) {
            *end = (*end).max(done);
        }
        let position = group.position;
        let last = group.batches.len().saturating_sub(1);
        let mut at = 0;
        group.batches.retain(|batch| {
            at += 1;
            let is_done = batch.iter().all(|(it, id)| *id < position[*it as usize]);
            at > last || !is_done
        });
        Reply::Done
    }

    fn query(&self, query: &Query) -> Result<Vec<u64>, Reply> {
        let Some(mailbox) = self.mailboxes.get(&query.address) else {
            return Err(no_mailbox(&query.address));
        };
        let mut found: Vec<u64> = mailbox
            .letters
            .iter()
            .filter(|it| {
                let tags = &it.attributes.tags;
                it.over > self.now
                    && (query.key.is_none() || query.key == it.attributes.key)
                    && (query.tags.is_empty() || query.tags.iter().any(|tag| tags.contains(tag)))
                    && it.time / 1000 >= query.since.unwrap_or(0)
            })
            .map(|it| it.id)
            .collect();
        found.truncate(query.limit.min(100) as usize);
        Ok(found)
    }

    fn delete(&mut self, address: &str, id: u64) -> Reply {
        let now = self.now;
        let Some(mailbox) = self.mailboxes.get_mut(address) else {
            return no_mailbox(address);
        };
        let before = mailbox.letters.len();
        mailbox.letters.retain(|it| it.id != id || it.over <= now);
        let was_there = mailbox.letters.len() < before;
        Reply::Deleted { was_there }
    }
}

impl Mailbox {
    /// Lets the oldest message give way that all groups have acknowledged, but none that goes
    /// anyway because of its key. Says whether there is room.
    fn make_room(&mut self, most: usize, key: Option<String>) -> bool {
        let is_leaving = |it: &Letter| key.is_some() && it.attributes.key == key;
        let leaving = self.letters.iter().filter(|it| is_leaving(it)).count();
        if self.letters.len() + self.delayed.len() - leaving < most {
            return true;
        }
        let positions = self.groups.values().map(|group| group.position);
        let lower = |a: [u64; 3], b: [u64; 3]| [0, 1, 2].map(|at| a[at].min(b[at]));
        let floor = positions.reduce(lower).unwrap_or([0; 3]);
        let found = PRIORITIES.into_iter().rev().find_map(|priority| {
            self.letters.iter().position(|it| {
                let is_of_it = it.attributes.priority == priority && !is_leaving(it);
                is_of_it && it.id < floor[priority as usize]
            })
        });
        if let Some(at) = found {
            self.letters.remove(at);
        }
        found.is_some()
    }

    fn add(&mut self, mut letter: Letter) -> u64 {
        let key = &letter.attributes.key;
        if key.is_some() {
            self.letters.retain(|it| it.attributes.key != *key);
        }
        letter.id = self.next_id;
        self.next_id += 1;
        self.ends[letter.attributes.priority as usize] = self.next_id;
        self.letters.push(letter);
        self.next_id - 1
    }

    fn begin(&self, deliver: Deliver, now: u64) -> [u64; 3] {
        let visible = || self.letters.iter().filter(|it| it.over > now);
        match deliver {
            Deliver::Earliest => [0; 3],
            Deliver::Latest => [visible().next_back().map_or(self.next_id, |it| it.id); 3],
            Deliver::FromId(id) => [id; 3],
            Deliver::FromTime(since) => PRIORITIES.map(|priority| {
                let mut of_it = visible().filter(|it| it.attributes.priority == priority);
                let first = of_it.find(|it| it.time / 1000 >= since);
                first.map_or(self.next_id, |it| it.id)
            }),
        }
    }
}

struct Walk {
    generator: Generator,
    desk: Desk,
    model: Model,
}

impl Walk {
    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }

    fn below(&mut self, end: u64) -> u64 {
        self.generator.below(end)
    }

    fn maybe<T>(&mut self, one_in: u64, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(one_in) == 0).then(|| value(self))
    }

    fn address(&mut self) -> String {
        self.pick(&["a", "b", "c.d", "gone"]).to_owned()
    }

    fn attributes(&mut self) -> Attributes {
        Attributes {
            priority: PRIORITIES[self.below(3) as usize],
            key: self.maybe(3, |it| it.pick(&["k1", "k2"]).to_owned()),
            delay_seconds: self.maybe(6, |it| 1 + it.below(20)),
            // When what is over is counted no more is not the model's business.
            ttl_seconds: self
                .maybe(3, |it| 1 + it.below(30))
                .filter(|_| self.model.most == usize::MAX),
            tags: match self.below(4) {
                0 => vec!["x".to_owned()],
                1 => vec!["x".to_owned(), "y".to_owned()],
                _ => Vec::new(),
            },
        }
    }

    fn known_id(&mut self, address: &str, group: &str) -> u64 {
        let Some(mailbox) = self.model.mailboxes.get(address) else {
            return 0;
        };
        let now = self.model.now;
        let letters = mailbox.letters.iter().filter(|it| it.over > now);
        let mut ids: Vec<u64> = letters.map(|it| it.id).collect();
        if let Some(group) = mailbox.groups.get(group) {
            // Those of the latest answer count more often, as in life.
            let latest = group.batches.last().into_iter().flatten();
            ids.extend(latest.map(|(_, id)| *id));
        }
        ids.push(mailbox.next_id + 3);
        let at = self.below(ids.len() as u64) as usize;
        ids[at]
    }

    fn step(&mut self) {
        let address = self.address();
        let group = self.pick(&["g", "h"]).to_owned();
        match self.below(20) {
            0 => {
                let ttl = self.pick(&[&0, &40, &200]);
                let reply = self.desk.ask(create(&address, *ttl));
                let is_there = self.model.mailboxes.contains_key(&address);
                let expected = match is_there {
                    true => Reply::Failed(Failure::MailboxExists(address.clone())),
                    false => Reply::Created {
                        address: address.clone(),
                    },
                };
                assert_eq!(reply, expected);
                let over = match ttl {
                    0 => u64::MAX,
                    ttl => self.model.now + ttl * 1000,
                };
                let mailbox = self.model.mailboxes.entry(address).or_default();
                if !is_there {
                    mailbox.over = over;
                }
            }
            1..=7 => {
                let attributes = self.attributes();
                let reply = self.desk.ask(send(&address, "text", attributes.clone()));
                assert_eq!(reply, self.model.send(&address, &attributes));
            }
            8..=11 => self.fetch(address, group),
            12..=13 => {
                let id = self.known_id(&address, &group);
                let reply = self.desk.ask(acknowledge(&address, &group, id));
                assert_eq!(reply, self.model.acknowledge(&address, &group, id));
            }
            14..=15 => {
                let asked = Query {
                    key: self.maybe(4, |it| it.pick(&["k1", "k2", "k3"]).to_owned()),
                    tags: match self.below(3) {
                        0 => vec!["y".to_owned(), "z".to_owned()],
                        _ => Vec::new(),
                    },
                    since: self.maybe(3, |it| (it.model.now / 1000).saturating_sub(it.below(60))),
                    limit: self.below(12),
                    ..query(&address)
                };
                let reply = self.desk.ask(Request::Query(asked.clone()));
                match self.model.query(&asked) {
                    Ok(expected) => assert_eq!(ids(&reply), expected, "{asked:?}"),
                    Err(failure) => assert_eq!(reply, failure),
                }
            }
            16 => {
                let id = self.known_id(&address, &group);
                let reply = self.desk.ask(delete(&address, id));
                assert_eq!(reply, self.model.delete(&address, id));
            }
            17 => {
                self.desk.crash();
                let mailboxes = self.model.mailboxes.values_mut();
                let groups = mailboxes.flat_map(|it| it.groups.values_mut());
                groups.for_each(|group| group.batches.clear());
            }
            _ => {
                let seconds = self.below(9);
                self.desk.pass(Duration::from_secs(seconds));
                self.model.advance(self.desk.now.wall.0);
            }
        }
    }

    fn fetch(&mut self, address: String, group: String) {
        let since = self.below(60);
        let asked = Fetch {
            address,
            group: self.maybe(2, |_| group),
            deliver: match self.below(4) {
                0 => Deliver::Earliest,
                1 => Deliver::Latest,
                2 => Deliver::FromId(self.below(40)),
                _ => Deliver::FromTime((self.model.now / 1000).saturating_sub(since)),
            },
            is_forced: self.below(8) == 0,
            count: 1 + self.below(12) as u32,
            wait_milliseconds: 0,
            encoding: None,
        };
        let reply = self.desk.ask(Request::Fetch(asked.clone()));
        match self.model.fetch(&asked) {
            Ok(expected) => assert_eq!(ids(&reply), expected, "{asked:?}"),
            Err(failure) => assert_eq!(reply, failure),
        }
    }
}

fn walk(seed: u64, steps: u32) {
    println!("seed {seed}");
    let most = match seed % 3 {
        0 => 5 + (seed % 5) as usize,
        _ => usize::MAX,
    };
    let settings = Settings {
        message_count_maximum: most as u64,
        step_rows_maximum: 1 + (seed % 7) as usize,
        step_bytes_maximum: 100 + 50 * (seed % 5) as usize,
        ..Settings::default()
    };
    let desk = Desk::new(settings);
    let now = desk.now.wall.0;
    let mut walk = Walk {
        generator: Generator::from_seed(seed),
        desk,
        model: Model {
            now,
            most,
            ..Model::default()
        },
    };
    for _ in 0..steps {
        walk.step();
    }
    // What is counted is what is there.
    walk.desk.pass(Duration::from_secs(300));
    walk.model.advance(walk.desk.now.wall.0);
    let mailboxes = walk.model.mailboxes.values();
    let letters = mailboxes.map(|it| {
        let now = WallTime(walk.model.now).0;
        it.letters.iter().filter(|it| it.over > now).count() + it.delayed.len()
    });
    let counts = walk.desk.office.counts();
    assert_eq!(counts.messages, letters.sum::<usize>() as u64);
    assert_eq!(counts.mailboxes, walk.model.mailboxes.len());
    let gave_way = walk.desk.office.counters().messages_gave_way;
    assert!(most < usize::MAX || gave_way == 0);
    assert!(walk.desk.office.held_bytes() <= walk.desk.settings.memory_bytes());
}

#[test]
fn every_reply_is_that_of_a_naive_model() {
    for seed in 0..40 {
        walk(seed, 1_000);
    }
}
