//! The uplink's driver: joins the store-and-forward engine to the log, the broker and the bridge.
//!
//! It decides nothing about retries, order or pace; it translates. What the engine wants of the
//! gateway comes out of [`Uplink::poll`] as a [`Wish`]; what it wants of the bridge waits in
//! [`Uplink::commands`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cloud_bridge::{Command, Downlink, Event, PublishCommand};
use sync::{
    Change, Engine, GapReason, Input, Instant, Lane, Offset, Origin, Output, Place, Record,
    RecordParts, Table, WallTime,
};
use tracing::{debug, info, warn};
use wire::mqtt::property::{Properties, PropertySet};
use wire::topic::{TopicFilter, TopicName};

use crate::broker::{self, Outcome, Urgency};
use crate::log::{Budget, Gap, Reason};

/// Key of the engine's checkpoint in [`Table::Cursors`].
pub const CURSOR_KEY: &[u8] = b"uplink";

/// What the engine wants of the gateway.
pub(crate) enum Wish {
    /// Read a lane; answered by [`Uplink::fetched`].
    Fetch {
        lane: Lane,
        from: Offset,
        budget: Budget,
    },
    /// Make durable; answered by [`Uplink::checkpointed`].
    Commit(Vec<Change>, Urgency),
    /// Write down what was given up.
    NoteGap(Gap),
    /// Publish a message that came down; answered by [`Uplink::stored`].
    Store {
        record: Record,
        token: broker::Token,
    },
    /// Look at [`Uplink::commands`].
    Bridge,
}

/// One route to one cloud.
pub(crate) struct Uplink {
    /// Thinks.
    pub(crate) engine: Engine,
    /// What the bridge is to do, in order.
    pub(crate) commands: VecDeque<Command>,
    routes: Vec<String>,
    /// The clock of the last input, for gaps.
    wall: WallTime,
    downlinks: BTreeMap<u64, Unconfirmed>,
    next_token: u64,
    health: Vec<Health>,
}

/// A message that came down and is not yet confirmed.
struct Unconfirmed {
    token: cloud_bridge::Token,
    connection: sync::ConnectionId,
    record: Record,
}

/// What was last said about a connection.
#[derive(Clone, Default)]
struct Health {
    is_up: bool,
    said: Option<(String, Instant)>,
}

/// A trouble that stays the same is said again after this time.
const REMIND: Duration = Duration::from_secs(600);

impl Uplink {
    pub(crate) fn new(engine: Engine, routes: Vec<String>, connections: usize) -> Self {
        Self {
            engine,
            commands: VecDeque::new(),
            routes,
            wall: WallTime::default(),
            downlinks: BTreeMap::new(),
            next_token: 0,
            health: vec![Health::default(); connections],
        }
    }

    /// Takes what the bridge says.
    pub(crate) fn bridge_said(&mut self, now: sync::Now, event: Event) {
        self.wall = now.wall;
        let instant = now.instant;
        match event {
            Event::Up {
                connection,
                endpoint,
                window,
                maximum_packet_bytes,
                ..
            } => {
                self.say_up(connection, &endpoint.to_string());
                let connection = sync::ConnectionId(connection.0);
                let receive_maximum = window;
                self.engine.handle(
                    instant,
                    Input::Up {
                        connection,
                        receive_maximum,
                        maximum_packet_bytes,
                    },
                );
            }
            Event::Down {
                connection,
                kind,
                text,
            } => {
                self.say_down(instant, connection, text);
                let connection = sync::ConnectionId(connection.0);
                self.downlinks
                    .retain(|_, waiting| waiting.connection != connection);
                self.engine
                    .handle(instant, Input::Down { connection, kind });
            }
            Event::Accepted {
                connection,
                lane,
                offset,
                server_offset,
            } => {
                let connection = sync::ConnectionId(connection.0);
                self.engine.handle(
                    instant,
                    Input::Accepted {
                        connection,
                        lane,
                        offset,
                        server_offset,
                    },
                );
            }
            Event::Refused {
                connection,
                lane,
                offset,
                reason,
            } => {
                debug!("the cloud refused {lane} {offset} for now: {reason:#04x}");
                let connection = sync::ConnectionId(connection.0);
                self.engine.handle(
                    instant,
                    Input::Refused {
                        connection,
                        lane,
                        offset,
                    },
                );
            }
            Event::Rejected {
                connection,
                lane,
                offset,
                reason,
            } => {
                warn!("lane {lane}: record {offset} can't go to the cloud: {reason}");
                let connection = sync::ConnectionId(connection.0);
                let reason = reason.reason_code();
                self.engine.handle(
                    instant,
                    Input::Rejected {
                        connection,
                        lane,
                        offset,
                        reason,
                    },
                );
            }
            Event::Received { token, message } => self.received(now, token, message),
            Event::Subscribed { .. } => info!("cloud: subscribed to the downlink"),
            Event::SubscribeFailed { filter, reason, .. } => {
                warn!("cloud: no subscription to {filter}: reason {reason:?}");
            }
            Event::Stopped => {}
        }
    }

    /// A message came down: it is named, marked, and stored before it is confirmed.
    fn received(&mut self, now: sync::Now, token: cloud_bridge::Token, message: Downlink) {
        let connection = sync::ConnectionId(token.connection().0);
        let name = sync::Token(self.next_token);
        self.next_token += 1;
        let place = place_of(&message.properties);
        let record = Record::new(&RecordParts {
            qos: message.qos,
            retain: message.retain,
            from_cloud: true,
            time: now.wall,
            expiry_seconds: message.expiry_seconds,
            publisher: 0,
            topic: &message.topic,
            properties: &message.properties,
            payload: &message.payload,
        });
        self.downlinks.insert(
            name.0,
            Unconfirmed {
                token,
                connection,
                record,
            },
        );
        self.engine.handle(
            now.instant,
            Input::Received {
                connection,
                token: name,
                place,
            },
        );
    }

    /// Records became durable.
    pub(crate) fn appended(&mut self, now: Instant, lane: Lane, head: Offset) {
        self.engine.handle(now, Input::Appended { lane, head });
    }

    /// Retention dropped everything below `first`.
    pub(crate) fn trimmed(&mut self, now: Instant, lane: Lane, first: Offset) {
        self.engine.handle(now, Input::Trimmed { lane, first });
    }

    /// The log answered, or could not.
    pub(crate) fn fetched(
        &mut self,
        now: Instant,
        lane: Lane,
        read: Option<(Vec<(Offset, Record)>, Offset)>,
    ) {
        let input = match read {
            Some((mut records, next)) => {
                records.retain(|(_, record)| self.goes_up(record));
                Input::Fetched {
                    lane,
                    records,
                    next,
                }
            }
            None => Input::FetchFailed { lane },
        };
        self.engine.handle(now, input);
    }

    /// The last checkpoint is durable, or is not.
    pub(crate) fn checkpointed(&mut self, now: Instant, is_durable: bool) {
        let input = if is_durable {
            Input::CheckpointDone
        } else {
            Input::CheckpointFailed
        };
        self.engine.handle(now, input);
    }

    /// A message that came down is where it belongs, or was refused.
    pub(crate) fn stored(&mut self, now: Instant, token: broker::Token, outcome: Outcome) {
        let token = sync::Token(token.0);
        let input = match outcome {
            Outcome::Accepted | Outcome::NoSubscribers => Input::Stored { token },
            Outcome::Refused(_) => Input::StoreFailed { token },
        };
        self.engine.handle(now, input);
    }

    /// Sends a lane up again.
    pub(crate) fn replay(&mut self, now: Instant, lane: Lane, from: Offset) {
        self.engine.handle(now, Input::Replay { lane, from });
    }

    /// Begins to leave the cloud.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.engine.handle(now, Input::Stop);
    }

    /// Gives the next thing that the engine wants of the gateway.
    pub(crate) fn poll(&mut self) -> Option<Wish> {
        loop {
            let command = match self.engine.poll()? {
                Output::Connect { connection } => Command::Connect {
                    connection: cloud_bridge::ConnectionId(connection.0),
                },
                Output::Disconnect { connection } => Command::Disconnect {
                    connection: cloud_bridge::ConnectionId(connection.0),
                },
                Output::Send {
                    connection,
                    lane,
                    offset,
                    record,
                } => {
                    let connection = cloud_bridge::ConnectionId(connection.0);
                    Command::Publish(PublishCommand {
                        connection,
                        lane,
                        offset,
                        record,
                    })
                }
                Output::Confirm { token, .. } => match self.downlinks.remove(&token.0) {
                    Some(waiting) => Command::Confirm {
                        token: waiting.token,
                    },
                    None => continue,
                },
                Output::Fetch {
                    lane,
                    from,
                    max_records,
                    max_bytes,
                } => {
                    let budget = Budget {
                        records: max_records,
                        bytes: max_bytes,
                    };
                    return Some(Wish::Fetch { lane, from, budget });
                }
                Output::Gap {
                    lane,
                    first,
                    count,
                    bytes,
                    reason,
                } => {
                    return Some(Wish::NoteGap(self.gap(lane, first, count, bytes, reason)));
                }
                Output::Checkpoint { value } => {
                    let key = CURSOR_KEY.to_vec();
                    let put = Change::Put {
                        table: Table::Cursors,
                        key,
                        value,
                    };
                    return Some(Wish::Commit(vec![put], Urgency::Relaxed));
                }
                Output::Store { token } => match self.downlinks.get(&token.0) {
                    Some(waiting) => {
                        let record = waiting.record.clone();
                        return Some(Wish::Store {
                            record,
                            token: broker::Token(token.0),
                        });
                    }
                    None => continue,
                },
            };
            self.commands.push_back(command);
            return Some(Wish::Bridge);
        }
    }

    /// Whether a record is one of the route's.
    fn goes_up(&self, record: &Record) -> bool {
        let Ok(topic) = TopicName::new(record.topic()) else {
            return false;
        };
        self.routes
            .iter()
            .filter_map(|filter| TopicFilter::new(filter).ok())
            .any(|filter| filter.matches(topic))
    }

    fn gap(&self, lane: Lane, first: Offset, count: u64, bytes: u64, reason: GapReason) -> Gap {
        let last = Offset((first.0 + count).saturating_sub(1));
        let reason = match reason {
            GapReason::TooLarge { .. } => Reason::TooLarge,
            _ => Reason::Rejected,
        };
        Gap {
            lane,
            first,
            last,
            count,
            bytes,
            from: self.wall,
            to: self.wall,
            reason,
        }
    }

    fn say_up(&mut self, connection: cloud_bridge::ConnectionId, endpoint: &str) {
        let health = &mut self.health[usize::from(connection.0)];
        *health = Health {
            is_up: true,
            said: None,
        };
        info!("cloud: connection {connection} is up: {endpoint}");
    }

    fn say_down(&mut self, now: Instant, connection: cloud_bridge::ConnectionId, text: String) {
        let health = &mut self.health[usize::from(connection.0)];
        let is_new = match &health.said {
            Some((said, at)) => *said != text || now - *at >= REMIND,
            None => true,
        };
        if is_new || health.is_up {
            warn!("cloud: connection {connection} is down: {text}");
            health.said = Some((text, now));
        }
        health.is_up = false;
    }
}

/// Where a message was first stored, if it says so and can be believed.
fn place_of(properties: &[u8]) -> Option<Place> {
    let properties = Properties::parse(properties, PropertySet::FORWARDABLE).ok()?;
    let pairs = properties
        .user_properties()
        .map(|pair| (pair.name, pair.value));
    Place::from_properties(pairs).ok().flatten()
}

/// Names this gateway's log.
pub(crate) fn origin(edge_id: &str, epoch: sync::Epoch) -> Origin {
    Origin {
        edge_id: edge_id.to_owned(),
        epoch,
    }
}
