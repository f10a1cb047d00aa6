//! An office with its shelf and clock, driven by a test.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use edge::mail::{
    CommitTicket, Found, Input, Office, Output, Page, Settings, Shelf, Ticket, Unread, Unreadable,
};
use sync::{Change, Instant, Now, Record, Table, WallTime};
use wire::mq9::{
    Acknowledge, Attributes, Create, Delete, Deliver, Failure, Fetch, Priority, Query, Reply,
    Request, Send,
};

/// Tables in memory.
#[derive(Clone, Default)]
pub(crate) struct Tables {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(crate) records: Vec<Record>,
    pub(crate) is_unreadable: bool,
    /// Rows that were given, ever.
    pub(crate) rows_read: usize,
}

impl Tables {
    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Append { record, .. } => self.records.push(record),
                Change::Put { table, key, value } => {
                    self.rows.insert((table, key), value);
                }
                Change::Delete { table, key } => {
                    self.rows.remove(&(table, key));
                }
            }
        }
    }

    pub(crate) fn count(&self, table: Table) -> usize {
        self.rows
            .keys()
            .filter(|(found, _)| *found == table)
            .count()
    }

    pub(crate) fn keys_of(&self, table: Table) -> Vec<Vec<u8>> {
        let keys = self.rows.keys().filter(|(found, _)| *found == table);
        keys.map(|(_, key)| key.clone()).collect()
    }

    pub(crate) fn row(&self, table: Table, key: &[u8]) -> Option<&Vec<u8>> {
        self.rows.get(&(table, key.to_vec()))
    }
}

impl Shelf for Tables {
    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        if self.is_unreadable {
            return Err(Unreadable);
        }
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn walk(
        &mut self,
        table: Table,
        from: &[u8],
        end: &[u8],
        page: Page,
    ) -> Result<Found, Unreadable> {
        if self.is_unreadable {
            return Err(Unreadable);
        }
        assert!(page.rows > 0, "a walk that gives nothing");
        let mut found = Found::default();
        let mut bytes = 0;
        if from >= end {
            return Ok(found);
        }
        for ((_, key), value) in self
            .rows
            .range((table, from.to_vec())..(table, end.to_vec()))
        {
            bytes += key.len() + value.len();
            let is_full = found.rows.len() == page.rows || bytes > page.bytes;
            if is_full && !found.rows.is_empty() {
                found.next = Some(key.clone());
                break;
            }
            found.rows.push((key.clone(), value.clone()));
        }
        self.rows_read += found.rows.len();
        Ok(found)
    }
}

/// An office at work.
pub(crate) struct Desk {
    pub(crate) office: Office,
    pub(crate) shelf: Tables,
    pub(crate) now: Now,
    pub(crate) settings: Settings,
    /// Commits that are not answered, oldest first.
    pub(crate) held: VecDeque<(CommitTicket, Vec<Change>)>,
    /// Whether commits wait for the test.
    pub(crate) is_holding: bool,
    pub(crate) answers: BTreeMap<Ticket, Reply>,
    /// What ended unread, as the office said.
    pub(crate) unread: Vec<Unread>,
    next_ticket: u64,
}

pub(crate) const START: u64 = 1_767_225_600_000;

impl Desk {
    pub(crate) fn new(settings: Settings) -> Self {
        let now = Now {
            instant: Instant::from_micros(1_000_000),
            wall: WallTime(START),
        };
        let mut shelf = Tables::default();
        let office = Office::new(settings.clone(), &mut shelf, now).unwrap();
        Self {
            office,
            shelf,
            now,
            settings,
            held: VecDeque::new(),
            is_holding: false,
            answers: BTreeMap::new(),
            unread: Vec::new(),
            next_ticket: 0,
        }
    }

    /// Power is cut: what is not committed never was.
    pub(crate) fn crash(&mut self) {
        self.held.clear();
        self.answers.clear();
        self.office = Office::new(self.settings.clone(), &mut self.shelf, self.now).unwrap();
        self.drive();
    }

    pub(crate) fn begin(&mut self, request: Request) -> Ticket {
        self.begin_with(request, Vec::new())
    }

    pub(crate) fn begin_with(&mut self, request: Request, changes: Vec<Change>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let input = Input::Request {
            ticket,
            request: Box::new(request),
            changes,
        };
        self.give(input);
        ticket
    }

    pub(crate) fn give(&mut self, input: Input) {
        self.office.handle(self.now, input, &mut self.shelf);
        self.drive();
    }

    /// Asks, and takes the turns that it needs, without time going by.
    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        let ticket = self.begin(request);
        self.take_turns();
        self.answers.remove(&ticket).expect("a request is answered")
    }

    pub(crate) fn turn(&mut self) {
        self.office.handle_timeout(self.now, &mut self.shelf);
        self.drive();
    }

    pub(crate) fn take_turns(&mut self) {
        let mut turns = 0;
        while self
            .office
            .poll_timeout()
            .is_some_and(|at| at <= self.now.instant)
        {
            self.turn();
            turns += 1;
            assert!(turns < 10_000, "turns without end");
        }
    }

    /// Lets time go by, and the office do what is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        loop {
            let next = self.office.poll_timeout().filter(|at| *at <= end);
            let next = next.unwrap_or(end).max(self.now.instant);
            let step = next - self.now.instant;
            // The wall counts milliseconds, and is late rather than early.
            self.now.instant = next;
            let wall = self.now.wall.0 + u64::try_from(step.as_millis()).unwrap();
            self.now.wall = WallTime(wall);
            self.take_turns();
            if next == end {
                return;
            }
        }
    }

    pub(crate) fn drive(&mut self) {
        while let Some(output) = self.office.poll() {
            match output {
                Output::Answer { ticket, reply } => {
                    let former = self.answers.insert(ticket, reply);
                    assert!(former.is_none(), "{ticket:?} is answered twice");
                }
                Output::Commit {
                    ticket,
                    changes,
                    unread,
                    ..
                } => {
                    self.unread.extend(unread);
                    let appends = changes.iter();
                    let appends = appends.filter(|it| matches!(it, Change::Append { .. }));
                    assert!(appends.count() <= 1, "two appends in one commit");
                    self.held.push_back((ticket, changes));
                    if !self.is_holding {
                        self.settle(true);
                    }
                }
            }
        }
    }

    /// Ends the oldest commit.
    pub(crate) fn settle(&mut self, is_durable: bool) {
        let Some((ticket, changes)) = self.held.pop_front() else {
            return;
        };
        let input = match is_durable {
            true => {
                self.shelf.apply(changes);
                Input::Committed { ticket }
            }
            false => Input::CommitFailed {
                ticket,
                why: "the disk is full".to_owned(),
            },
        };
        self.office.handle(self.now, input, &mut self.shelf);
        self.drive();
    }

    pub(crate) fn settle_all(&mut self) {
        while !self.held.is_empty() {
            self.settle(true);
        }
    }

    pub(crate) fn create(&mut self, name: &str, ttl: u64) -> Reply {
        self.ask(create(name, ttl))
    }

    pub(crate) fn send(&mut self, address: &str, payload: &str) -> Reply {
        self.ask(send(address, payload, Attributes::default()))
    }

    pub(crate) fn send_as(
        &mut self,
        address: &str,
        payload: &str,
        attributes: Attributes,
    ) -> Reply {
        self.ask(send(address, payload, attributes))
    }

    /// Ids of what a fetch gives.
    pub(crate) fn fetch_ids(&mut self, fetch: Fetch) -> Vec<u64> {
        ids(&self.ask(Request::Fetch(fetch)))
    }

    pub(crate) fn acknowledge(&mut self, address: &str, group: &str, id: u64) -> Reply {
        self.ask(acknowledge(address, group, id))
    }

    pub(crate) fn query(&mut self, address: &str) -> Vec<u64> {
        ids(&self.ask(Request::Query(query(address))))
    }
}

pub(crate) fn create(name: &str, ttl: u64) -> Request {
    Request::Create(Create {
        name: Some(name.to_owned()),
        ttl_seconds: Some(ttl),
        description: String::new(),
    })
}

pub(crate) fn send(address: &str, payload: &str, attributes: Attributes) -> Request {
    Request::Send(Send {
        address: address.to_owned(),
        attributes,
        headers: Vec::new(),
        payload: payload.as_bytes().to_vec(),
    })
}

pub(crate) fn fetch(address: &str, group: Option<&str>, deliver: Deliver) -> Fetch {
    Fetch {
        address: address.to_owned(),
        group: group.map(str::to_owned),
        deliver,
        is_forced: false,
        count: 100,
        wait_milliseconds: 0,
        encoding: None,
    }
}

pub(crate) fn acknowledge(address: &str, group: &str, id: u64) -> Request {
    Request::Acknowledge(Acknowledge {
        address: address.to_owned(),
        group: group.to_owned(),
        id,
    })
}

pub(crate) fn query(address: &str) -> Query {
    Query {
        address: address.to_owned(),
        key: None,
        tags: Vec::new(),
        since: None,
        limit: 100,
        encoding: None,
    }
}

pub(crate) fn delete(address: &str, id: u64) -> Request {
    Request::Delete(Delete {
        address: address.to_owned(),
        id,
    })
}

pub(crate) fn priority(priority: Priority) -> Attributes {
    Attributes {
        priority,
        ..Attributes::default()
    }
}

pub(crate) fn ids(reply: &Reply) -> Vec<u64> {
    match reply {
        Reply::Messages { messages, .. } => messages.iter().map(|it| it.id).collect(),
        other => panic!("{other:?} instead of messages"),
    }
}

pub(crate) fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Messages { messages, .. } => {
            let texts = messages.iter().map(|it| it.payload.clone());
            texts.map(|it| String::from_utf8(it).unwrap()).collect()
        }
        other => panic!("{other:?} instead of messages"),
    }
}

pub(crate) fn no_mailbox(address: &str) -> Reply {
    Reply::Failed(Failure::NoMailbox(address.to_owned()))
}

pub(crate) fn sent(id: u64) -> Reply {
    Reply::Sent { id: Some(id) }
}

/// The words of a refusal.
pub(crate) fn refusal(reply: &Reply) -> &str {
    match reply {
        Reply::Failed(Failure::Refused(why)) => why,
        other => panic!("{other:?} instead of a refusal"),
    }
}
