//! The harness: NATS and MQTT connections over one broker and one mail office, with a disk in memory
//! that answers at once, or when the test says so, and a clock that only the test moves.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;
use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use edge::broker::{
    self, AccessInput, Broker, ConnectionId, Input, ListenerId, MailInput, Outcome, Output, Policy,
    Stored, Ticket, Token,
};
use edge::mail::{self, CommitTicket, Found, Office, Page, Shelf, Unreadable};
use edge::{mqtt, nats};
use sync::{Change, Instant, Lane, Now, Offset, PerLane, Record, RecordParts, Table, WallTime};
use wire::mq9::PayloadEncoding;
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter, UserProperty};
use wire::mqtt::{
    Connect, Packet, Publish, QoS, Subscribe, Subscription, Subscriptions, Version, Will, decode,
};
use wire::nats::{Limits, ServerOperation};
use wire::topic::{TopicFilter, TopicName};

/// When the world begins, in Unix seconds.
pub(crate) const BEGIN: u64 = 1_700_000_000;

/// A client of the test.
pub(crate) type ClientId = usize;

/// A request whose reply is still to come: the subject where it comes.
pub(crate) type Inbox = String;

pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) broker: Broker,
    pub(crate) office: Office,
    pub(crate) disk: Disk,
    pub(crate) commits: Commits,
    waiting: VecDeque<(Owner, Vec<Change>)>,
    settings: (broker::Settings, mail::Settings, Rc<nats::Settings>),
    clients: Vec<Client>,
    request_count: usize,
    /// How the last message from the cloud ended.
    stored: Option<Outcome>,
}

/// Everything that a crash leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(crate) lanes: PerLane<Vec<Record>>,
}

/// How commits end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    Succeed,
    Fail,
    Wait,
}

#[derive(Clone, Copy, Debug)]
enum Owner {
    Broker(Ticket),
    Office(CommitTicket),
}

struct Client {
    id: ConnectionId,
    connection: Option<Protocol>,
    received: Vec<u8>,
    is_reading: bool,
}

enum Protocol {
    Nats(Box<nats::Connection>),
    Mqtt(Version, Box<mqtt::Connection>),
}

impl Disk {
    /// Makes the changes of a commit; gives where its last record is.
    fn apply(&mut self, changes: Vec<Change>) -> Option<(Lane, Offset)> {
        let mut place = None;
        for change in changes {
            match change {
                Change::Append { lane, record } => {
                    place = Some((lane, Offset(self.lanes[lane].len() as u64)));
                    self.lanes[lane].push(record);
                }
                Change::Put { table, key, value } => {
                    self.tables.entry(table).or_default().insert(key, value);
                }
                Change::Delete { table, key } => {
                    self.tables.entry(table).or_default().remove(&key);
                }
            }
        }
        place
    }
}

impl Shelf for Disk {
    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let rows = self.tables.get(&table);
        Ok(rows.and_then(|rows| rows.get(key)).cloned())
    }

    fn walk(
        &mut self,
        table: Table,
        from: &[u8],
        end: &[u8],
        page: Page,
    ) -> Result<Found, Unreadable> {
        let (mut found, mut bytes) = (Found::default(), 0);
        let Some(rows) = self.tables.get(&table).filter(|_| from < end) else {
            return Ok(found);
        };
        let range = (
            Bound::Included(from.to_vec()),
            Bound::Excluded(end.to_vec()),
        );
        for (key, value) in rows.range(range) {
            bytes += key.len() + value.len();
            let is_full = found.rows.len() >= page.rows || bytes > page.bytes;
            if is_full && !found.rows.is_empty() {
                found.next = Some(key.clone());
                break;
            }
            found.rows.push((key.clone(), value.clone()));
        }
        Ok(found)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(mail::Settings::default(), nats::Settings::default())
    }

    /// One whose listeners write payloads as text, which is easier to compare.
    pub(crate) fn in_text() -> Self {
        Self::with(
            mail::Settings::default(),
            nats::Settings {
                payload_encoding: PayloadEncoding::Utf8,
                ..nats::Settings::default()
            },
        )
    }

    pub(crate) fn with(mail: mail::Settings, nats: nats::Settings) -> Self {
        let now = Now {
            instant: Instant::from_micros(1_000_000),
            wall: WallTime(BEGIN * 1000),
        };
        let broker = broker::Settings {
            has_mail: true,
            ..broker::Settings::default()
        };
        let mut disk = Disk::default();
        Self {
            now,
            broker: Broker::new(broker.clone(), Stored::default(), now),
            office: Office::new(mail.clone(), &mut disk, now).unwrap(),
            disk,
            commits: Commits::Succeed,
            waiting: VecDeque::new(),
            settings: (broker, mail, Rc::new(nats)),
            clients: Vec::new(),
            request_count: 0,
            stored: None,
        }
    }

    /// Loses everything but the disk; all clients are gone.
    pub(crate) fn crash(&mut self) {
        self.crash_after(0);
    }

    /// The same, when the disk has taken so many of the commits that wait.
    pub(crate) fn crash_after(&mut self, durable_count: usize) {
        for _ in 0..durable_count.min(self.waiting.len()) {
            if let Some((_, changes)) = self.waiting.pop_front() {
                self.disk.apply(changes);
            }
        }
        let rows = |table| {
            let rows = self.disk.tables.get(&table);
            let rows = rows.into_iter().flatten();
            rows.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        let stored = Stored {
            sessions: rows(Table::Sessions),
            subscriptions: rows(Table::Subscriptions),
            handshakes: rows(Table::Handshakes),
            cursors: rows(Table::Cursors),
            retained: rows(Table::Retained),
            head: PerLane::from_fn(|lane| Offset(self.disk.lanes[lane].len() as u64)),
            ..Stored::default()
        };
        self.waiting.clear();
        self.broker = Broker::new(self.settings.0.clone(), stored, self.now);
        let settings = self.settings.1.clone();
        self.office = Office::new(settings, &mut self.disk, self.now).unwrap();
        for client in &mut self.clients {
            client.connection = None;
        }
        self.run();
    }

    // NATS.

    /// Connects a client that hears all its replies through one subscription.
    pub(crate) fn join(&mut self) -> ClientId {
        self.join_saying("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}")
    }

    /// The same in its own words.
    pub(crate) fn join_saying(&mut self, hello: &str) -> ClientId {
        let (id, client) = (self.next_id(), self.clients.len());
        let settings = self.settings.2.clone();
        let ends = nats::Ends::default();
        let connection = nats::Connection::new(id, settings, ListenerId(0), &ends, self.now);
        self.add(id, Protocol::Nats(Box::new(connection)));
        self.say(client, &format!("{hello}\r\nSUB _INBOX.{client}.* mux\r\n"));
        self.clients[client].received.clear();
        client
    }

    /// Sends lines as they are.
    pub(crate) fn say(&mut self, client: ClientId, text: &str) {
        self.send(client, text.as_bytes());
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, client: ClientId, bytes: &[u8]) {
        let now = self.now;
        match &mut self.clients[client].connection {
            Some(Protocol::Nats(it)) => it.handle_bytes(now, bytes),
            Some(Protocol::Mqtt(_, it)) => it.handle_bytes(now, bytes),
            None => {}
        }
        self.run();
    }

    /// Makes a request (such as `MSG.SEND.t.inbox`) and gives its reply.
    pub(crate) fn ask(&mut self, client: ClientId, command: &str, body: &str) -> String {
        self.ask_with(client, command, &[], body.as_bytes())
    }

    /// The same with headers.
    pub(crate) fn ask_with(
        &mut self,
        client: ClientId,
        command: &str,
        headers: &[&str],
        body: &[u8],
    ) -> String {
        let inbox = self.begin_with(client, command, headers, body);
        let reply = self.reply(client, &inbox);
        reply.unwrap_or_else(|| panic!("{command} has no reply"))
    }

    /// Makes a request and does not wait.
    pub(crate) fn begin(&mut self, client: ClientId, command: &str, body: &str) -> Inbox {
        self.begin_with(client, command, &[], body.as_bytes())
    }

    pub(crate) fn begin_with(
        &mut self,
        client: ClientId,
        command: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Inbox {
        self.request_count += 1;
        let inbox = format!("_INBOX.{client}.{}", self.request_count);
        self.send(
            client,
            &publish(&subject_of(command), Some(&inbox), headers, body),
        );
        inbox
    }

    /// Publishes a request without a reply subject.
    pub(crate) fn tell(&mut self, client: ClientId, command: &str, body: &str) {
        self.send(
            client,
            &publish(&subject_of(command), None, &[], body.as_bytes()),
        );
    }

    /// Takes the reply to a request, if it is there, out of what was received.
    pub(crate) fn reply(&mut self, client: ClientId, inbox: &str) -> Option<String> {
        let limits = Limits {
            message_bytes: 16 << 20,
            ..Limits::FROM_CLIENT
        };
        let received = &mut self.clients[client].received;
        let mut at = 0;
        while let Some((operation, bytes)) =
            ServerOperation::decode(&received[at..], &limits).unwrap()
        {
            if let ServerOperation::Message(message) = operation
                && message.subject == inbox
            {
                assert_eq!(
                    (message.sid, message.reply_to, message.headers),
                    ("mux", None, &b""[..])
                );
                let reply = String::from_utf8(message.payload.to_vec()).unwrap();
                received.drain(at..at + bytes);
                return Some(reply);
            }
            at += bytes;
        }
        None
    }

    /// Takes everything that was received since the last time.
    pub(crate) fn take(&mut self, client: ClientId) -> String {
        let received = std::mem::take(&mut self.clients[client].received);
        String::from_utf8_lossy(&received).into_owned()
    }

    pub(crate) fn is_closed(&self, client: ClientId) -> bool {
        match &self.clients[client].connection {
            Some(Protocol::Nats(it)) => it.is_closed(),
            Some(Protocol::Mqtt(_, it)) => it.is_closed(),
            None => true,
        }
    }

    /// Whether a NATS client's link would be read.
    pub(crate) fn wants_more(&self, client: ClientId) -> bool {
        match &self.clients[client].connection {
            Some(Protocol::Nats(it)) => it.wants_more(),
            _ => panic!("a NATS client is expected"),
        }
    }

    /// Fetches that wait in the office.
    pub(crate) fn waiting_fetch_count(&self) -> usize {
        self.office.counts().waiting
    }

    /// Makes a mailbox that lives for an hour.
    pub(crate) fn mailbox(&mut self, client: ClientId, address: &str) {
        let body = format!("{{\"name\":\"{address}\",\"ttl\":3600}}");
        let made = format!("{{\"error\":\"\",\"mail_address\":\"{address}\"}}");
        assert_eq!(self.ask(client, "MAILBOX.CREATE", &body), made);
    }

    /// Sends a message that is kept; gives its id.
    pub(crate) fn mail(
        &mut self,
        client: ClientId,
        address: &str,
        headers: &[&str],
        payload: &str,
    ) -> u64 {
        let command = format!("MSG.SEND.{address}");
        let reply = self.ask_with(client, &command, headers, payload.as_bytes());
        let id = reply.strip_prefix("{\"error\":\"\",\"msg_id\":");
        let id = id.and_then(|rest| rest.strip_suffix('}'));
        id.and_then(|id| id.parse().ok())
            .unwrap_or_else(|| panic!("{reply}"))
    }

    // MQTT.

    /// Connects a client.
    pub(crate) fn join_mqtt(&mut self, version: Version, name: &str) -> ClientId {
        self.join_mqtt_with(version, name, true)
    }

    /// Connects a client of MQTT 5 that leaves a letter behind.
    pub(crate) fn join_mqtt_with_will(&mut self, name: &str, topic: &str) -> ClientId {
        let will = Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::EMPTY,
            topic: TopicName::new(topic).unwrap(),
            payload: b"gone",
        };
        self.connect_mqtt(Version::V5, name, true, Some(will))
    }

    pub(crate) fn join_mqtt_with(&mut self, version: Version, name: &str, clean: bool) -> ClientId {
        self.connect_mqtt(version, name, clean, None)
    }

    fn connect_mqtt(
        &mut self,
        version: Version,
        name: &str,
        clean: bool,
        will: Option<Will<'_>>,
    ) -> ClientId {
        let (settings, id) = (Rc::new(mqtt::Settings::default()), self.next_id());
        let connection = mqtt::Connection::new(id, settings, ListenerId(1), self.now);
        let client = self.add(id, Protocol::Mqtt(version, Box::new(connection)));
        let mut properties = Vec::new();
        let mut writer = PropertyWriter::new(&mut properties, PropertySet::CONNECT);
        if version == Version::V5 {
            writer.write(&Property::SessionExpiryInterval(300)).unwrap();
        }
        self.packet(
            client,
            &Packet::Connect(Connect {
                version,
                clean_start: clean,
                keep_alive: 0,
                properties: Properties::parse(&properties, PropertySet::CONNECT).unwrap(),
                client_identifier: name,
                will,
                user_name: None,
                password: None,
            }),
        );
        assert_eq!(self.clients[client].received[0] >> 4, 2);
        self.clients[client].received.clear();
        client
    }

    pub(crate) fn subscribe_mqtt(&mut self, client: ClientId, filter: &str) {
        let mut bytes = Vec::new();
        let wanted = Subscription::new(TopicFilter::new(filter).unwrap(), QoS::ExactlyOnce);
        wanted.encode(Version::V5, &mut bytes).unwrap();
        let subscribe = Subscribe {
            packet_identifier: NonZeroU16::new(7).unwrap(),
            properties: Properties::EMPTY,
            subscriptions: Subscriptions::parse(&bytes, Version::V5).unwrap(),
        };
        self.packet(client, &Packet::Subscribe(subscribe));
        assert_eq!(self.take_bytes(client), [0x90, 4, 0, 7, 0, 2]);
    }

    /// Publishes under packet identifier 9.
    pub(crate) fn publish_mqtt(
        &mut self,
        client: ClientId,
        (topic, payload): (&str, &str),
        (qos, retain): (u8, bool),
        users: &[(&str, &str)],
    ) {
        let users: Vec<Property<'_>> = users
            .iter()
            .map(|&(name, value)| Property::UserProperty(UserProperty { name, value }))
            .collect();
        self.publish_mqtt_with(client, (topic, payload), (qos, retain), &users);
    }

    pub(crate) fn publish_mqtt_with(
        &mut self,
        client: ClientId,
        (topic, payload): (&str, &str),
        (qos, retain): (u8, bool),
        properties: &[Property<'_>],
    ) {
        let mut bytes = Vec::new();
        let mut writer = PropertyWriter::new(&mut bytes, PropertySet::PUBLISH);
        properties.iter().for_each(|it| writer.write(it).unwrap());
        let publish = Publish {
            dup: false,
            qos: QoS::try_from(qos).unwrap(),
            retain,
            topic: Some(TopicName::new(topic).unwrap()),
            packet_identifier: NonZeroU16::new(if qos > 0 { 9 } else { 0 }),
            properties: Properties::parse(&bytes, PropertySet::PUBLISH).unwrap(),
            payload: payload.as_bytes(),
        };
        self.packet(client, &Packet::Publish(publish));
    }

    /// Takes the packets that an MQTT client received, each as text.
    pub(crate) fn packets(&mut self, client: ClientId) -> Vec<String> {
        let Some(Protocol::Mqtt(version, _)) = &self.clients[client].connection else {
            panic!("an MQTT client is expected");
        };
        let version = *version;
        let received = self.take_bytes(client);
        let (mut rest, mut packets) = (&received[..], Vec::new());
        while let Some((packet, bytes)) = decode(rest, version, u32::MAX).unwrap() {
            packets.push(match packet {
                Packet::Puback(it) => {
                    format!("PUBACK {:?} {}", it.reason_code, words(&it.properties))
                }
                Packet::Pubrec(it) => {
                    format!("PUBREC {:?} {}", it.reason_code, words(&it.properties))
                }
                Packet::Pubcomp(it) => {
                    format!("PUBCOMP {:?} {}", it.reason_code, words(&it.properties))
                }
                other => format!("{other:?}"),
            });
            rest = &rest[bytes..];
        }
        packets
    }

    pub(crate) fn take_bytes(&mut self, client: ClientId) -> Vec<u8> {
        std::mem::take(&mut self.clients[client].received)
    }

    pub(crate) fn packet(&mut self, client: ClientId, packet: &Packet<'_>) {
        let Some(Protocol::Mqtt(version, _)) = &self.clients[client].connection else {
            panic!("an MQTT client is expected");
        };
        let mut bytes = Vec::new();
        packet.encode(*version, &mut bytes).unwrap();
        self.send(client, &bytes);
    }

    /// Lets a message come down from the cloud; gives how that ended.
    pub(crate) fn deliver_from_cloud(&mut self, topic: &str, payload: &str) -> Option<Outcome> {
        let record = Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: true,
            time: self.now.wall,
            expiry_seconds: None,
            publisher: 0,
            topic,
            properties: &[],
            payload: payload.as_bytes(),
        });
        let input = Input::FromCloud {
            record,
            token: Token(7),
            changes: Vec::new(),
        };
        self.broker.handle(self.now, input);
        self.run();
        self.stored.take()
    }

    // Links and time.

    /// Cuts the link.
    pub(crate) fn cut(&mut self, client: ClientId) {
        match &mut self.clients[client].connection {
            Some(Protocol::Nats(it)) => it.handle_lost(),
            Some(Protocol::Mqtt(_, it)) => it.handle_lost(),
            None => {}
        }
        self.run();
        self.clients[client].connection = None;
    }

    /// Lets a client take no bytes, or take them again.
    pub(crate) fn set_reading(&mut self, client: ClientId, is_reading: bool) {
        self.clients[client].is_reading = is_reading;
        self.run();
    }

    /// Lets time pass, a tenth of a second at a time.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 100 {
            self.now.instant = self.now.instant + Duration::from_millis(100);
            self.now.wall.0 += 100;
            let now = self.now;
            for client in &mut self.clients {
                match &mut client.connection {
                    Some(Protocol::Nats(it)) => it.handle_timeout(now),
                    Some(Protocol::Mqtt(_, it)) => it.handle_timeout(now),
                    None => {}
                }
            }
            self.broker.handle_timeout(now);
            self.run();
        }
    }

    /// The present time, in Unix seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.now.wall.0 / 1000
    }

    /// Changes who may do what.
    pub(crate) fn rule(&mut self, policy: Policy) {
        let policies = AccessInput::Policies(vec![policy.clone(), policy]);
        self.broker.handle(self.now, Input::Access(policies));
        self.run();
    }

    /// Ends the oldest commit that waits: it fails if commits do.
    pub(crate) fn finish_commit(&mut self) {
        if let Some((owner, changes)) = self.waiting.pop_front() {
            self.finish(owner, changes);
            self.run();
        }
    }

    /// Lets commits that wait succeed.
    pub(crate) fn finish_commits(&mut self) {
        self.commits = Commits::Succeed;
        while let Some((owner, changes)) = self.waiting.pop_front() {
            self.finish(owner, changes);
            self.run();
        }
    }

    /// How many commits wait.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    fn next_id(&self) -> ConnectionId {
        ConnectionId {
            index: u32::try_from(self.clients.len()).unwrap(),
            generation: 0,
        }
    }

    fn add(&mut self, id: ConnectionId, protocol: Protocol) -> ClientId {
        self.clients.push(Client {
            id,
            connection: Some(protocol),
            received: Vec::new(),
            is_reading: true,
        });
        self.run();
        self.clients.len() - 1
    }

    /// Lets everybody say what there is to say, until all are quiet.
    fn run(&mut self) {
        loop {
            let mut is_quiet = true;
            for index in 0..self.clients.len() {
                while let Some(input) = self.poll(index).or_else(|| self.poll_request(index)) {
                    is_quiet = false;
                    self.broker.handle(self.now, input);
                    self.settle();
                }
            }
            self.settle();
            for index in 0..self.clients.len() {
                is_quiet &= !self.read(index);
            }
            if is_quiet {
                return;
            }
        }
    }

    fn settle(&mut self) {
        loop {
            if let Some(output) = self.office.poll() {
                self.obey_office(output);
            } else if let Some(output) = self.broker.poll() {
                self.obey(output);
            } else if self
                .office
                .poll_timeout()
                .is_some_and(|due| due <= self.now.instant)
            {
                self.office.handle_timeout(self.now, &mut self.disk);
            } else {
                return;
            }
        }
    }

    fn poll(&mut self, index: usize) -> Option<Input> {
        match self.clients[index].connection.as_mut()? {
            Protocol::Nats(it) => it.poll(),
            Protocol::Mqtt(_, it) => it.poll(),
        }
    }

    fn poll_request(&mut self, index: usize) -> Option<Input> {
        match self.clients[index].connection.as_mut()? {
            Protocol::Nats(it) if !self.office.is_busy() => it.poll_request(),
            Protocol::Nats(_) | Protocol::Mqtt(..) => None,
        }
    }

    /// Takes what is to be written; whether there was something.
    fn read(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        let Some(connection) = client.connection.as_mut().filter(|_| client.is_reading) else {
            return false;
        };
        let mut is_something = false;
        loop {
            let bytes = match connection {
                Protocol::Nats(it) => it.take_outbound(Vec::new()),
                Protocol::Mqtt(_, it) => it.take_outbound(Vec::new()),
            };
            if bytes.is_empty() {
                return is_something;
            }
            client.received.extend(&bytes);
            is_something = true;
        }
    }

    fn obey_office(&mut self, output: mail::Output) {
        match output {
            mail::Output::Commit {
                ticket, changes, ..
            } => self.commit(Owner::Office(ticket), changes),
            mail::Output::Answer { ticket, reply } => {
                let answered = MailInput::Answered { ticket, reply };
                self.broker.handle(self.now, Input::Mail(answered));
            }
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Mail(input) => self.office.handle(self.now, input, &mut self.disk),
            Output::ToConnection { connection, event } => {
                let index = connection.index as usize;
                let client = &mut self.clients[index];
                assert_eq!(client.id, connection);
                match &mut client.connection {
                    Some(Protocol::Nats(it)) => it.handle_event(self.now, event),
                    Some(Protocol::Mqtt(_, it)) => it.handle_event(self.now, event),
                    None => {}
                }
                while let Some(input) = self.poll(index) {
                    self.broker.handle(self.now, input);
                }
            }
            Output::Commit {
                ticket, changes, ..
            } => self.commit(Owner::Broker(ticket), changes),
            Output::Fetch {
                reader, lane, from, ..
            } => {
                let records = &self.disk.lanes[lane];
                let start = usize::try_from(from.0).unwrap();
                let found = records.iter().enumerate().skip(start);
                let records = found.map(|(at, record)| (Offset(at as u64), record.clone()));
                let records: Vec<_> = records.collect();
                let next = Offset(self.disk.lanes[lane].len() as u64);
                self.broker.handle(
                    self.now,
                    Input::Fetched {
                        reader,
                        lane,
                        from,
                        records,
                        next,
                    },
                );
            }
            Output::FromCloudStored { outcome, .. } => self.stored = Some(outcome),
            other => panic!("no scenario here has {other:?}"),
        }
    }

    fn commit(&mut self, owner: Owner, changes: Vec<Change>) {
        if self.commits == Commits::Wait || !self.waiting.is_empty() {
            return self.waiting.push_back((owner, changes));
        }
        self.finish(owner, changes);
    }

    fn finish(&mut self, owner: Owner, changes: Vec<Change>) {
        if self.commits == Commits::Fail {
            let now = self.now;
            return match owner {
                Owner::Broker(ticket) => {
                    let refusal = broker::Refusal::LogFull;
                    self.broker
                        .handle(now, Input::CommitFailed { ticket, refusal });
                }
                Owner::Office(ticket) => {
                    let why = broker::Refusal::LogFull.to_string();
                    let failed = mail::Input::CommitFailed { ticket, why };
                    self.office.handle(now, failed, &mut self.disk);
                }
            };
        }
        let place = self.disk.apply(changes);
        match owner {
            Owner::Broker(ticket) => {
                self.broker
                    .handle(self.now, Input::Committed { ticket, place });
            }
            Owner::Office(ticket) => {
                if let Some((lane, offset)) = place {
                    let passed = MailInput::Passed { lane, offset };
                    self.broker.handle(self.now, Input::Mail(passed));
                }
                let committed = mail::Input::Committed { ticket };
                self.office.handle(self.now, committed, &mut self.disk);
            }
        }
    }
}

/// A message as a client writes it.
pub(crate) fn publish(
    subject: &str,
    reply: Option<&str>,
    headers: &[&str],
    body: &[u8],
) -> Vec<u8> {
    let reply = reply.map_or_else(String::new, |reply| format!(" {reply}"));
    let block = block_of(headers);
    let mut bytes = match block.is_empty() {
        true => format!("PUB {subject}{reply} {}\r\n", body.len()).into_bytes(),
        false => {
            let (headers, all) = (block.len(), block.len() + body.len());
            format!("HPUB {subject}{reply} {headers} {all}\r\n").into_bytes()
        }
    };
    bytes.extend(block);
    bytes.extend(body);
    bytes.extend(b"\r\n");
    bytes
}

/// The header block with these lines; a line without a colon makes an empty one.
pub(crate) fn block_of(headers: &[&str]) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    let lines = headers.iter().filter(|line| line.contains(':'));
    let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
    format!("NATS/1.0\r\n{lines}\r\n").into_bytes()
}

fn subject_of(command: &str) -> String {
    format!("$mq9.AI.{command}")
}

fn words(properties: &Properties<'_>) -> String {
    properties.reason_string().unwrap_or("-").to_owned()
}
