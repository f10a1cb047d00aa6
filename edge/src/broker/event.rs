//! What the broker is told and what it answers: plain values, no behaviour.
//!
//! Every [`Input`] that names a connection comes from that connection's view. Every
//! [`Output::Commit`] is answered by exactly one [`Input::Committed`] or [`Input::CommitFailed`],
//! in the order of the commits; every [`Output::Fetch`] by one [`Input::Fetched`].

mod access;
mod connect;
mod delivery;
mod log;
mod mail_input;

use sync::{Change, Lane, Offset, Record};
use wire::mq9::Reply;

use std::sync::Arc;

pub use self::access::{AccessInput, AuthenticationStep, Verdict};
pub use self::connect::{
    Connect, Connected, Credentials, Entrance, Password, SessionFound, SessionStart, Will, WillFate,
};
pub use self::delivery::{Delivery, SubscriptionIdentifiers};
pub use self::log::LogInput;
pub use self::mail_input::MailInput;

use super::outcome::{CloseReason, Outcome, Refusal, Unsubscription};
use crate::mail;
use crate::password::Secret;

/// A connection's place in the driver's slab. A place that is used again has a new generation, so
/// that late words of the former holder are recognised and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The place; small, the broker keeps a table of this length.
    pub index: u32,
    /// How often the place was used before.
    pub generation: u32,
}

/// A listener, by its place in the configuration. Who may do what depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// A session's place in the broker's slab; the generation tells successors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A group's place in the broker's slab; the generation tells successors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Who reads the log: a session for itself, or a group of sessions that share a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReaderId {
    /// A client's session.
    Session(SessionId),
    /// The group of a shared subscription.
    Group(GroupId),
}

/// Names a commit until it is answered. Grows by one with each commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a view's request until it is answered; the broker only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names an unacknowledged delivery within its session: 1 to 65,535, free for another delivery
/// once acknowledged. It survives the connection, so that a view may use it as its protocol's
/// packet identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u16);

/// A fact that the broker is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client wants its session. Answered by [`Event::Connected`] or [`Event::Refused`].
    Connect(Box<Connect>),
    /// A fact about who a client is or what it may do.
    Access(AccessInput),
    /// A client publishes. Answered by [`Event::Published`] if it has a token.
    Publish {
        /// Whose.
        connection: ConnectionId,
        /// The message; its `publisher` is the hash of the session's client identifier.
        record: Record,
        /// Given back with the answer. With QoS 0 that comes at once, in the order of such
        /// publishes, and promises nothing but that somebody was there or not.
        token: Option<Token>,
        /// A note to keep in the same commit, for exactly once.
        note: Option<Note>,
    },
    /// A client subscribes. Answered by [`Event::Subscribed`].
    Subscribe {
        /// Whose.
        connection: ConnectionId,
        /// Given back with the answer.
        token: Token,
        /// Filters with options, in the order of the answer's codes.
        filters: Vec<SubscribeFilter>,
    },
    /// A client unsubscribes. Answered by [`Event::Unsubscribed`].
    Unsubscribe {
        /// Whose.
        connection: ConnectionId,
        /// Given back with the answer.
        token: Token,
        /// Filters as they were subscribed.
        filters: Vec<String>,
    },
    /// A delivery with QoS over 0 is settled. A repeat is ignored.
    Acknowledge {
        /// Whose.
        connection: ConnectionId,
        /// Which.
        delivery: DeliveryId,
    },
    /// A view keeps, changes or deletes a note. Answered by [`Event::NoteKept`].
    ChangeNote {
        /// Whose.
        connection: ConnectionId,
        /// Given back with the answer.
        token: Token,
        /// What.
        change: NoteChange,
    },
    /// The connection's outbound buffer crossed its limit one way or the other. Deliveries with
    /// QoS over 0 wait while it is congested.
    Room {
        /// Whose.
        connection: ConnectionId,
        /// How it is now.
        room: Room,
    },
    /// A client said goodbye. The broker forgets the connection; no answer.
    Disconnect {
        /// Whose.
        connection: ConnectionId,
        /// What becomes of its will.
        will: WillFate,
        /// A new session expiry interval in seconds; `None` leaves it.
        session_expiry: Option<u32>,
    },
    /// The connection is gone without a goodbye. Ignored after `Disconnect` or [`Event::Closed`].
    Lost {
        /// Whose.
        connection: ConnectionId,
    },
    /// A commit is durable.
    Committed {
        /// Which.
        ticket: Ticket,
        /// Where its record went, if it had one. A commit holds at most one record.
        place: Option<(Lane, Offset)>,
    },
    /// A commit is not durable and never will be.
    CommitFailed {
        /// Which.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// What the log holds from a position on.
    Fetched {
        /// For whom it was asked.
        reader: ReaderId,
        /// The lane that was asked for.
        lane: Lane,
        /// The position that was asked for.
        from: Offset,
        /// In growing order, none below `from`; ones that the reader does not want are harmless.
        records: Vec<(Offset, Record)>,
        /// Where to go on: everything below was looked at. `from` says that nothing could be
        /// read; it is asked again at the next sweep.
        next: Offset,
    },
    /// The log changes by itself.
    Log(LogInput),
    /// The gateway has something of its own to say on a `$SYS` topic. Those who are connected hear
    /// it with QoS 0, and later subscribers find it as a retained message. It is never stored. No
    /// answer.
    Announce {
        /// The message, with QoS 0.
        record: Record,
    },
    /// A fact about the mail office and who asks it.
    Mail(MailInput),
    /// The gateway has something to say that has to arrive. Answered by [`Output::Reported`].
    Report {
        /// The message.
        record: Record,
        /// Changes to commit with it.
        changes: Vec<Change>,
    },
    /// A message came down from the cloud. Answered by [`Output::FromCloudStored`].
    FromCloud {
        /// The message; it is marked as coming from the cloud.
        record: Record,
        /// Given back with the answer.
        token: Token,
        /// Changes to commit with it (a watermark).
        changes: Vec<Change>,
    },
}

/// An intention or answer of the broker.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make these durable together.
    Commit {
        /// To answer with.
        ticket: Ticket,
        /// At most one of them is an `Append`.
        changes: Vec<Change>,
        /// Whether somebody waits for it.
        urgency: Urgency,
    },
    /// Check a password, which takes a while. Answered by one
    /// [`AccessInput::Verified`], in any order.
    Verify {
        /// To answer with.
        connection: ConnectionId,
        /// What it is checked against.
        secret: Arc<Secret>,
        /// What the client sent.
        password: Password,
    },
    /// Read a lane for a session or group that is behind.
    Fetch {
        /// To answer with.
        reader: ReaderId,
        /// The lane.
        lane: Lane,
        /// The first offset to look at.
        from: Offset,
        /// At most so many records.
        maximum_count: usize,
        /// About so many bytes; the first record is given whatever its size.
        maximum_bytes: usize,
    },
    /// Tell the mail office. Each request in it is answered by one [`MailInput::Answered`], unless
    /// it is cancelled first.
    Mail(mail::Input),
    /// Tell a connection's view.
    ToConnection {
        /// Whose; dropped when the driver has closed it meanwhile.
        connection: ConnectionId,
        /// What.
        event: Event,
    },
    /// A message from the cloud is where it belongs, or was refused.
    FromCloudStored {
        /// Of the input.
        token: Token,
        /// How it ended; confirm to the cloud unless it was refused.
        outcome: Outcome,
    },
    /// What the gateway has to say is where it belongs, or was refused.
    Reported {
        /// How it ended.
        outcome: Outcome,
    },
}

/// What a view is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The session is the client's.
    Connected(Box<Connected>),
    /// The session was refused and the connection is forgotten.
    Refused(Refusal),
    /// The client has to answer this to prove its name.
    Challenge {
        /// The server's message.
        message: Vec<u8>,
    },
    /// The client proved its name. One that is not connected yet is told of its session next.
    Authenticated {
        /// The server's last message.
        proof: Vec<u8>,
    },
    /// A message for the client.
    Deliver(Delivery),
    /// A delivery of an earlier connection can't be repeated, its record is gone. It counts as
    /// unacknowledged until it is acknowledged.
    Gone {
        /// Which.
        delivery: DeliveryId,
    },
    /// A publish is where it belongs, or was refused.
    Published {
        /// Of the input.
        token: Token,
        /// How it ended.
        outcome: Outcome,
    },
    /// A publish without a token was refused, or one whose answer was given before.
    NotPublished {
        /// The message.
        record: Record,
        /// Why.
        refusal: Refusal,
    },
    /// A subscribe is done.
    Subscribed {
        /// Of the input.
        token: Token,
        /// One a filter: the granted QoS or a refusal.
        codes: Vec<Result<u8, Refusal>>,
    },
    /// An unsubscribe is done.
    Unsubscribed {
        /// Of the input.
        token: Token,
        /// One a filter.
        codes: Vec<Result<Unsubscription, Refusal>>,
    },
    /// The mail office answers.
    Mail {
        /// Of the input.
        token: Token,
        /// How it ended.
        reply: Reply,
    },
    /// The client may not have the answer of the mail office sent there, so nothing was done.
    NoReply {
        /// Of the input.
        token: Token,
    },
    /// A change of a note is durable, or as durable as its session is.
    NoteKept {
        /// Of the input.
        token: Token,
        /// A refusal leaves the note as it was.
        outcome: Result<(), Refusal>,
    },
    /// The broker forgot the connection: close it.
    Closed(CloseReason),
}

/// A small value of a view's own, kept with its session as durably as the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The view's own.
    pub key: u32,
    /// The view's own.
    pub value: u32,
}

/// A change of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteChange {
    /// Keeps a note. With a delivery, the delivery's name and place are kept in the same commit,
    /// so that after a restart it is repeated under the same name.
    Put {
        /// What to keep.
        note: Note,
        /// The delivery that the note is about.
        delivery: Option<DeliveryId>,
    },
    /// Deletes a note. With a delivery, that is acknowledged in the same commit.
    Delete {
        /// The note's key.
        key: u32,
        /// The delivery that is settled with it.
        delivery: Option<DeliveryId>,
    },
}

/// Whether a connection's outbound buffer takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Free,
    /// It is over its limit.
    Congested,
}

/// A filter to subscribe, with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// The filter; the view checked its form.
    pub filter: String,
    /// The highest QoS the client wants.
    pub qos: u8,
    /// Given back with each delivery; `None` for none.
    pub identifier: Option<u32>,
    /// Whether the client hears itself.
    pub echo: Echo,
    /// What the retain flag of a delivery says.
    pub retain_as: RetainAs,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
    /// With whom it takes turns, if the filter is of a shared subscription.
    pub turns: Turns,
}

/// Who gets a message in place of whom, among the members of shared subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Those of one filter take turns: MQTT.
    InFilter,
    /// Those of all filters of one share name that match the message: a queue group of NATS.
    UnderName,
}

/// Whether a client hears what it publishes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It does.
    Heard,
    /// It does not: No Local.
    Suppressed,
}

/// What the retain flag of a delivery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainAs {
    /// Set only on messages that were retained before the subscription.
    Stored,
    /// As the publisher set it.
    Published,
}

/// When retained messages are sent for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    /// At every subscribe.
    Always,
    /// When the subscription is new.
    WhenNew,
    /// Never.
    Never,
}

/// Whether anybody waits for a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// An answer hangs on it.
    Immediate,
    /// It may wait for company.
    Relaxed,
}
