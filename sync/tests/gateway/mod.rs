//! A gateway for timelines: an engine, a log that answers at once, and a clock that is turned by
//! hand.

use std::time::Duration;

use embedded_io::ErrorKind;
use sync::{
    ConnectionId, ConnectionPhase, Engine, Epoch, Input, Instant, Lane, LaneExtent, Offset, Origin,
    Output, PerLane, Record, RecordParts, Settings, Start, WallTime,
};

pub(crate) const NORMAL: Lane = Lane::Normal;
pub(crate) const FIRST: ConnectionId = ConnectionId(0);
pub(crate) const SECOND: ConnectionId = ConnectionId(1);

/// A gateway with a log that answers at once, and a clock.
pub(crate) struct Gateway {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) log: PerLane<Vec<Record>>,
    pub(crate) first: PerLane<u64>,
    /// Above the first, in any lane, and not there any more.
    pub(crate) given_up: Vec<u64>,
    pub(crate) millis: u64,
    pub(crate) checkpoint: Option<Vec<u8>>,
    /// What the engine said since it was last asked; without fetches and checkpoints, which are
    /// answered at once.
    pub(crate) said: Vec<Output>,
}

/// Large pauses only, and one connection, so that a timeline shows what it is about.
pub(crate) fn settings() -> Settings {
    Settings {
        origin: Origin {
            edge_id: "here".into(),
            epoch: Epoch(1),
        },
        connections: 1,
        hold: Duration::ZERO,
        reconnect_first: Duration::from_millis(100),
        reconnect_most: Duration::from_millis(100),
        refusal_first: Duration::from_millis(100),
        refusal_most: Duration::from_millis(100),
        ..Settings::default()
    }
}

fn engine(
    settings: &Settings,
    log: &PerLane<Vec<Record>>,
    first: &PerLane<u64>,
    checkpoint: Option<&[u8]>,
) -> Engine {
    let lanes = PerLane::from_fn(|lane| LaneExtent {
        first: Offset(first[lane]),
        head: Offset(log[lane].len() as u64),
    });
    Engine::new(&Start {
        settings: settings.clone(),
        seed: 1,
        lanes,
        checkpoint,
    })
    .expect("these settings and checkpoints are good")
}

impl Gateway {
    pub(crate) fn new(settings: Settings) -> Self {
        let (log, first) = (PerLane::default(), PerLane::default());
        Self {
            engine: engine(&settings, &log, &first, None),
            settings,
            log,
            first,
            given_up: Vec::new(),
            millis: 0,
            checkpoint: None,
            said: Vec::new(),
        }
    }

    /// One whose connections are up.
    pub(crate) fn connected(settings: Settings) -> Self {
        let connections = settings.connection_count() as u8;
        let mut gateway = Self::new(settings);
        gateway.pass(0);
        for connection in 0..connections {
            gateway.up(ConnectionId(connection));
        }
        gateway.said.clear();
        gateway
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.engine.handle(self.now(), input);
        self.obey();
    }

    /// Lets time pass, with every timer at its time.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.millis + millis;
        for _ in 0..100_000 {
            let due = self.engine.poll_timeout().map(Instant::as_micros);
            match due.map(|micros| micros.div_ceil(1_000).max(self.millis)) {
                Some(due) if due <= end => {
                    self.millis = due;
                    self.engine.handle_timeout(self.now());
                    self.obey();
                }
                _ => {
                    self.millis = end;
                    return;
                }
            }
        }
        panic!("a timer never ends");
    }

    pub(crate) fn obey(&mut self) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Fetch {
                    lane,
                    from,
                    max_records,
                    ..
                } => {
                    let records = self.log[lane].iter().cloned().enumerate();
                    let records = records.map(|(at, record)| (Offset(at as u64), record));
                    let from = from.max(Offset(self.first[lane]));
                    let mut records: Vec<_> =
                        records.skip(from.0 as usize).take(max_records).collect();
                    let next = Offset(from.0 + records.len() as u64);
                    records.retain(|(offset, _)| !self.given_up.contains(&offset.0));
                    let now = self.now();
                    let input = Input::Fetched {
                        lane,
                        records,
                        next,
                    };
                    self.engine.handle(now, input);
                }
                Output::Checkpoint { value } => {
                    self.checkpoint = Some(value);
                    self.engine.handle(self.now(), Input::CheckpointDone);
                }
                output => self.said.push(output),
            }
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(self.millis * 1_000)
    }

    pub(crate) fn up(&mut self, connection: ConnectionId) {
        self.handle(Input::Up {
            connection,
            receive_maximum: 65_535,
            maximum_packet_bytes: u32::MAX,
        });
    }

    pub(crate) fn down(&mut self, connection: ConnectionId) {
        let kind = ErrorKind::ConnectionReset;
        self.handle(Input::Down { connection, kind });
    }

    /// Makes a record durable in the normal lane.
    pub(crate) fn append(&mut self, topic: &str) {
        self.append_to(NORMAL, topic, 10);
    }

    pub(crate) fn append_to(&mut self, lane: Lane, topic: &str, payload_bytes: usize) {
        self.log[lane].push(record(topic, payload_bytes, false));
        let head = Offset(self.log[lane].len() as u64);
        self.handle(Input::Appended { lane, head });
    }

    pub(crate) fn accept(&mut self, connection: ConnectionId, offset: u64) {
        self.accept_at(connection, offset, None);
    }

    pub(crate) fn accept_at(
        &mut self,
        connection: ConnectionId,
        offset: u64,
        server_offset: Option<u64>,
    ) {
        self.handle(Input::Accepted {
            connection,
            lane: NORMAL,
            offset: Offset(offset),
            server_offset,
        });
    }

    pub(crate) fn refuse(&mut self, connection: ConnectionId, offset: u64) {
        self.handle(Input::Refused {
            connection,
            lane: NORMAL,
            offset: Offset(offset),
        });
    }

    /// Power is cut and comes back: the log and the last checkpoint are what is left.
    pub(crate) fn restart(&mut self) {
        let checkpoint = self.checkpoint.as_deref();
        self.engine = engine(&self.settings, &self.log, &self.first, checkpoint);
        self.said.clear();
        self.pass(0);
    }

    /// What was said since it was last asked.
    pub(crate) fn said(&mut self) -> Vec<Output> {
        core::mem::take(&mut self.said)
    }

    /// Offsets sent since it was last asked, in order.
    pub(crate) fn sent(&mut self) -> Vec<u64> {
        let sent = self.said().into_iter().filter_map(|output| match output {
            Output::Send { offset, .. } => Some(offset.0),
            _ => None,
        });
        sent.collect()
    }

    pub(crate) fn floor(&self) -> u64 {
        self.engine.ack_floor(NORMAL).0
    }

    pub(crate) fn phase(&self, connection: ConnectionId) -> ConnectionPhase {
        let status = self.engine.connection(connection);
        status.expect("there is such a connection").phase
    }
}

pub(crate) fn record(topic: &str, payload_bytes: usize, from_cloud: bool) -> Record {
    Record::new(&RecordParts {
        qos: 1,
        retain: false,
        from_cloud,
        time: WallTime(1),
        expiry_seconds: Some(1),
        publisher: 0,
        topic,
        properties: &[],
        payload: &vec![0; payload_bytes],
    })
}

/// A topic that takes this connection of two.
pub(crate) fn topic_of(connection: ConnectionId) -> String {
    let mut names = (0..).map(|number| format!("t/{number}"));
    let takes = |name: &String| sync::topic_hash(name) % 2 == u32::from(connection.0);
    names.find(takes).expect("every other name does")
}
