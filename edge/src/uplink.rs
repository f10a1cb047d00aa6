//! The uplink's driver: joins the store-and-forward engine to the log, the broker and the bridge.
//!
//! It decides nothing about retries, order or pace; it translates. What the engine wants of the
//! gateway comes out of `Uplink::poll` as a `Wish`; what it wants of the bridge waits in
//! `Uplink::commands`.

mod mail;
mod news;

use std::collections::{BTreeMap, VecDeque};

use cloud_bridge::{Command, Downlink, Event, PublishCommand, Rejection};
use sync::{
    Change, ConnectionId, ConnectionPhase, ConnectionStatus, Engine, GapReason, Input, Instant,
    Lane, Now, Offset, Output, Place, Record, RecordParts, Table, Token, WallTime,
};
use tracing::{debug, info, warn};
use wire::mq9::{Agent, Send};
use wire::mqtt::ReasonCode;
use wire::mqtt::property::{Properties, PropertySet};
use wire::topic::{TopicFilter, TopicName};

use self::mail::Mail;
pub(crate) use self::mail::{apart, position_key};
use self::news::News;
use crate::broker::{self, Outcome, Urgency};
use crate::log::{Budget, Gap, Parts, Reason};

/// Key of the engine's checkpoint in [`Table::Cursors`].
pub(crate) const CURSOR_KEY: &[u8] = b"uplink";

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
    /// Write down what was given up, and say why.
    NoteGap { gap: Gap, why: String },
    /// Publish a message that came down; answered by [`Uplink::stored`].
    Store {
        record: Record,
        token: broker::Token,
    },
    /// Give a message that was pulled to the mail office, these changes with it; answered by
    /// [`Uplink::mailed`].
    Mail {
        send: Send,
        /// Those that are to be durable with it, behind it.
        more: Vec<Send>,
        changes: Vec<Change>,
        token: Token,
        /// Not `None` for one that can not be kept, and whose loss is: its bytes.
        too_large: Option<u64>,
    },
    /// Tell the mail office which agents the cloud knows.
    Agents(Vec<Agent>),
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
    downlinks: BTreeMap<Token, Unconfirmed>,
    mail: Mail,
    /// There are commands that no wish has told of.
    has_commands: bool,
    news: News,
    is_stopping: bool,
}

/// A message that came down and is not yet confirmed.
struct Unconfirmed {
    connection: ConnectionId,
    record: Record,
}

impl Uplink {
    pub(crate) fn new(engine: Engine, routes: Vec<String>) -> Self {
        Self {
            engine,
            commands: VecDeque::new(),
            routes,
            wall: WallTime::default(),
            downlinks: BTreeMap::new(),
            mail: Mail::default(),
            has_commands: false,
            news: News::default(),
            is_stopping: false,
        }
    }

    /// Takes what the bridge says.
    pub(crate) fn bridge_said(&mut self, now: Now, event: Event) {
        self.wall = now.wall;
        self.say(now.instant, &event);
        if let Some(input) = self.translate(now.wall, event) {
            self.engine.handle(now.instant, input);
        }
    }

    fn translate(&mut self, wall: WallTime, event: Event) -> Option<Input> {
        Some(match event {
            Event::Up {
                connection,
                receive_maximum,
                maximum_packet_bytes,
                ..
            } => Input::Up {
                connection,
                receive_maximum,
                maximum_packet_bytes,
            },
            Event::Down {
                connection, kind, ..
            } => {
                self.downlinks
                    .retain(|_, waiting| waiting.connection != connection);
                Input::Down { connection, kind }
            }
            Event::Accepted {
                connection,
                lane,
                offset,
                server_offset,
            } => Input::Accepted {
                connection,
                lane,
                offset,
                server_offset,
            },
            Event::Refused {
                connection,
                lane,
                offset,
                ..
            } => Input::Refused {
                connection,
                lane,
                offset,
            },
            Event::Rejected {
                connection,
                lane,
                offset,
                reason,
            } => Input::Rejected {
                connection,
                lane,
                offset,
                reason: reason.reason_code(),
            },
            Event::Received {
                connection,
                token,
                message,
            } => self.received(wall, connection, token, &message),
            Event::Pulled {
                connection,
                token,
                message,
            } => self.pulled(connection, token, *message),
            Event::Agents { agents, .. } => {
                self.know_agents(agents);
                return None;
            }
            Event::Subscribed { .. } | Event::SubscribeFailed { .. } | Event::Stopped => {
                return None;
            }
        })
    }

    /// Records became durable.
    pub(crate) fn appended(&mut self, now: Instant, lane: Lane, head: Offset) {
        self.engine.handle(now, Input::Appended { lane, head });
    }

    /// Retention dropped everything below `first`.
    pub(crate) fn trimmed(&mut self, now: Instant, lane: Lane, first: Offset) {
        self.engine.handle(now, Input::Trimmed { lane, first });
    }

    /// Retention left of some records only the latest of their topics.
    pub(crate) fn thinned(&mut self, now: Instant, lane: Lane) {
        self.engine.handle(now, Input::Thinned { lane });
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
        let input = match is_durable {
            true => Input::CheckpointDone,
            false => Input::CheckpointFailed,
        };
        self.engine.handle(now, input);
    }

    /// A message that came down is where it belongs, or was refused.
    pub(crate) fn stored(&mut self, now: Instant, token: broker::Token, outcome: Outcome) {
        let token = Token(token.0);
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
        self.is_stopping = true;
        self.engine.handle(now, Input::Stop);
    }

    /// Whether any connection to the cloud is there.
    pub(crate) fn is_up(&self) -> bool {
        self.connections().any(|it| it.phase == ConnectionPhase::Up)
    }

    /// The connections as they are now.
    pub(crate) fn connections(&self) -> impl Iterator<Item = ConnectionStatus> {
        (0..=u8::MAX).map_while(|number| self.engine.connection(ConnectionId(number)))
    }

    /// Gives the next thing that the engine wants of the gateway.
    pub(crate) fn poll(&mut self) -> Option<Wish> {
        if let Some(wish) = self.poll_mail() {
            return Some(wish);
        }
        if std::mem::take(&mut self.has_commands) {
            return Some(Wish::Bridge);
        }
        loop {
            let command = match self.engine.poll()? {
                Output::Connect { connection } => Command::Connect { connection },
                Output::Disconnect { connection } => Command::Disconnect { connection },
                Output::Send {
                    connection,
                    lane,
                    offset,
                    record,
                } => Command::Publish(PublishCommand {
                    connection,
                    lane,
                    offset,
                    record,
                }),
                Output::Confirm { connection, token } => {
                    if !self.may_confirm(connection, token) {
                        continue;
                    }
                    self.downlinks.remove(&token);
                    Command::Confirm { connection, token }
                }
                Output::Fetch {
                    lane,
                    from,
                    max_records: records,
                    max_bytes: bytes,
                } => {
                    let budget = Budget { records, bytes };
                    return Some(Wish::Fetch { lane, from, budget });
                }
                Output::Gap {
                    lane,
                    first,
                    count,
                    bytes,
                    reason,
                } => {
                    let why = self.news.rejection(lane, first);
                    let why = why.unwrap_or_else(|| words(&reason));
                    let gap = self.gap(lane, first, count, bytes, reason);
                    return Some(Wish::NoteGap { gap, why });
                }
                Output::Checkpoint { value } => {
                    let (table, key) = (Table::Cursors, CURSOR_KEY.to_vec());
                    let put = Change::Put { table, key, value };
                    return Some(Wish::Commit(vec![put], Urgency::Relaxed));
                }
                Output::Store { token } => match self.deliver(token) {
                    Some(wish) => return Some(wish),
                    // Its connection may be down again; then the cloud sends it once more.
                    None => continue,
                },
            };
            self.commands.push_back(command);
            return Some(Wish::Bridge);
        }
    }

    /// Gives a message that came down to where it belongs.
    fn deliver(&mut self, token: Token) -> Option<Wish> {
        let mail = self.deliver_mail(token);
        let message = || {
            let record = self.downlinks.get(&token)?.record.clone();
            let token = broker::Token(token.0);
            Some(Wish::Store { record, token })
        };
        mail.or_else(message)
    }

    /// Takes a message that came down: marked, so that it never goes up again, and kept until it
    /// is stored.
    fn received(
        &mut self,
        wall: WallTime,
        connection: ConnectionId,
        token: Token,
        message: &Downlink,
    ) -> Input {
        let record = Record::new(&RecordParts {
            qos: message.qos,
            retain: message.retain,
            from_cloud: true,
            time: wall,
            expiry_seconds: message.expiry_seconds,
            publisher: 0,
            topic: &message.topic,
            properties: &message.properties,
            payload: &message.payload,
        });
        self.downlinks
            .insert(token, Unconfirmed { connection, record });
        Input::Received {
            connection,
            token,
            place: place_of(&message.properties),
        }
    }

    /// Whether a record is one of the route's.
    fn goes_up(&self, record: &Record) -> bool {
        if self.is_mail(record) {
            return true;
        }
        let Ok(topic) = TopicName::new(record.topic()) else {
            return false;
        };
        self.routes
            .iter()
            .filter_map(|filter| TopicFilter::new(filter).ok())
            .any(|filter| filter.matches(topic))
    }

    fn gap(&self, lane: Lane, first: Offset, count: u64, bytes: u64, reason: GapReason) -> Gap {
        Gap {
            lane,
            first,
            last: Offset((first.0 + count).saturating_sub(1)),
            count,
            bytes,
            from: self.wall,
            to: self.wall,
            reason: match reason {
                GapReason::TooLarge { .. } => Reason::TooLarge,
                _ => Reason::Rejected,
            },
            parts: Parts::default(),
        }
    }

    /// Tells the operator what he has to know, once.
    fn say(&mut self, now: Instant, event: &Event) {
        match event {
            Event::Up {
                connection,
                endpoint,
                ..
            } => {
                if self.news.up(*connection) {
                    info!("cloud: connection {} is up: {endpoint}", connection.0);
                }
            }
            Event::Down {
                connection, text, ..
            } => {
                // At a stop that is as it should be.
                if !self.is_stopping && self.news.down(now, *connection, text) {
                    warn!("cloud: connection {} is down: {text}", connection.0);
                }
            }
            Event::Refused {
                lane,
                offset,
                reason,
                text,
                ..
            } => {
                let name = ReasonCode::from_number(*reason).map_or("", ReasonCode::name);
                let code = || format!("{reason:#04x} {name}");
                let why = text.clone().unwrap_or_else(code);
                debug!("the cloud refused {lane} {offset} for now: {why}");
                if let Some(since) = self.news.refused(now, *reason, text.is_some()) {
                    warn!(
                        "cloud: records are refused for {} s now, such as {offset} of lane {lane}: \
                         {why}; they wait, and are tried again",
                        since.as_secs()
                    );
                }
            }
            Event::Rejected {
                lane,
                offset,
                reason,
                ..
            } => self.news.rejected(*lane, *offset, reason.to_string()),
            Event::Subscribed { .. } => info!("cloud: subscribed to the downlink"),
            Event::SubscribeFailed { filter, reason, .. } => {
                warn!("cloud: no subscription to {filter}: reason {reason:?}");
            }
            Event::Accepted { .. } => self.news.accepted(now),
            Event::Received { .. }
            | Event::Pulled { .. }
            | Event::Agents { .. }
            | Event::Stopped => {}
        }
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

/// Says why a record was given up, in the words that the bridge has for it.
fn words(reason: &GapReason) -> String {
    let rejection = match *reason {
        GapReason::TooLarge { found, allowed } => Rejection::TooLarge { found, allowed },
        GapReason::Rejected { reason } => Rejection::Server { reason },
        other => return format!("{other:?}"),
    };
    rejection.to_string()
}
