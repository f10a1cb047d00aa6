//! What the bridge is told, and what it says.
//!
//! The words are values without behaviour: they cross the thread and nothing else. A publish is
//! answered once, by [`Event::Accepted`], [`Event::Refused`], [`Event::Rejected`], or, together
//! with everything else unanswered on its connection, by [`Event::Down`].

use core::fmt;

use bytes::Bytes;
use embedded_io::ErrorKind;
use sync::{ConnectionId, Lane, Offset, Record, Token};
use wire::mq9::Agent;

use crate::Endpoint;

/// What the bridge is told to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Try one endpoint: the last one if it was of use, or else the next in the list. Answered by
    /// [`Event::Up`] or [`Event::Down`]; without effect on a connection that is up or trying.
    Connect {
        /// The connection to open.
        connection: ConnectionId,
    },
    /// Say DISCONNECT and close. Answered by [`Event::Down`], within a second, if the connection
    /// was up or trying; not at all otherwise.
    Disconnect {
        /// The connection to close.
        connection: ConnectionId,
    },
    /// Send a record upward at QoS 1. On a connection that is not up it is dropped in silence,
    /// since its `Down` is already on the way.
    Publish(PublishCommand),
    /// Acknowledge a downlink message to the cloud. Without effect when the token's connection
    /// has been lost since: the cloud sends the message again.
    Confirm {
        /// Where the message came from.
        connection: ConnectionId,
        /// Came with the message.
        token: Token,
    },
    /// Drop a pulled message that could not be stored: after a while it comes again, under another
    /// token. Without effect for any other token.
    Decline {
        /// Where the message came from.
        connection: ConnectionId,
        /// Came with the message.
        token: Token,
    },
    /// Say DISCONNECT on every connection and end the thread. Answered by [`Event::Stopped`].
    Stop,
}

/// A record, and where its answer belongs.
#[derive(Clone, Debug)]
pub struct PublishCommand {
    /// The connection to send it on.
    pub connection: ConnectionId,
    /// The record's lane, named in `edge-lane`.
    pub lane: Lane,
    /// The record's offset in its lane, named in `edge-offset`.
    pub offset: Offset,
    /// The record; its payload is shared, not copied.
    pub record: Record,
}

/// What the bridge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server accepted the connection.
    Up {
        /// The connection that is open now.
        connection: ConnectionId,
        /// Where it leads.
        endpoint: Endpoint,
        /// Whether the server still knew this client.
        session: SessionState,
        /// How many publishes may be unanswered: the configured window, or less if the server
        /// allows less. One more is refused with `0x93`.
        receive_maximum: u16,
        /// The largest packet that is sent, in bytes: as configured, or less if the server
        /// allows less.
        maximum_packet_bytes: u32,
    },
    /// The connection ended, or could not be made. Every publish on it that was not answered is
    /// in doubt and every token of it is void. Nothing happens until the next `Connect`.
    Down {
        /// The connection that is closed now.
        connection: ConnectionId,
        /// Why, in the words of `embedded-io`.
        kind: ErrorKind,
        /// Why, for a human: names the endpoint.
        text: String,
    },
    /// The server stored the record.
    Accepted {
        /// Where it was sent.
        connection: ConnectionId,
        /// The record's lane.
        lane: Lane,
        /// The record's offset.
        offset: Offset,
        /// Where the server says it stored the record, if it says so.
        server_offset: Option<u64>,
    },
    /// The server did not store the record but may later: try that topic again after a while, and
    /// keep the connection.
    Refused {
        /// Where it was sent.
        connection: ConnectionId,
        /// The record's lane.
        lane: Lane,
        /// The record's offset.
        offset: Offset,
        /// MQTT 5 reason code, `0x80` and above.
        reason: u8,
        /// What the server said, where it says so in words.
        text: Option<String>,
    },
    /// The record will never be stored, whoever sends it when.
    Rejected {
        /// Where it was sent, or would have been.
        connection: ConnectionId,
        /// The record's lane.
        lane: Lane,
        /// The record's offset.
        offset: Offset,
        /// Why.
        reason: Rejection,
    },
    /// A message of a mailbox was pulled. Answer it by `Confirm` once it is durable together with
    /// its position, or by `Decline`: until then the mailbox is pulled no further, whatever becomes
    /// of the connection.
    Pulled {
        /// Where it came from.
        connection: ConnectionId,
        /// To answer it with; never used twice by one bridge.
        token: Token,
        /// The message.
        message: Box<PulledMessage>,
    },
    /// The agents that the cloud knows, all of them. Needs no answer.
    Agents {
        /// Where they were asked for.
        connection: ConnectionId,
        /// Each as the cloud shows it; some may be this gateway's own.
        agents: Vec<Agent>,
    },
    /// A message came down. The server waits for its `Confirm`, so store it soon.
    Received {
        /// Where it came from.
        connection: ConnectionId,
        /// To confirm it with. Never used twice by one bridge, and void after the connection's
        /// `Down`.
        token: Token,
        /// The message.
        message: Downlink,
    },
    /// The server accepted every downlink filter.
    Subscribed {
        /// The connection that carries the downlink.
        connection: ConnectionId,
    },
    /// The server refused a downlink filter, or did not answer in time (then `Down` follows).
    SubscribeFailed {
        /// The connection that carries the downlink.
        connection: ConnectionId,
        /// The filter, as configured.
        filter: String,
        /// Reason code of the SUBACK; `None` when none came within the patience.
        reason: Option<u8>,
    },
    /// The thread is about to end; nothing follows.
    Stopped,
}

/// Whether the server still knew the client when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// The server continues an earlier session.
    Present,
    /// The server starts from nothing.
    New,
}

/// A message from the cloud, parsed but not interpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downlink {
    /// Topic name; valid UTF-8 without wildcards, as the server wrote it.
    pub topic: String,
    /// The application's bytes.
    pub payload: Bytes,
    /// Properties to forward, as on the MQTT 5 wire, without their length: payload format,
    /// content type, response topic, correlation data, user properties.
    pub properties: Bytes,
    /// 0 or 1.
    pub qos: u8,
    /// The RETAIN flag.
    pub retain: bool,
    /// Message expiry interval in seconds from now.
    pub expiry_seconds: Option<u32>,
    /// Whether the server says it may have sent this before.
    pub duplicate: bool,
}

/// A message of a mailbox in the cloud, on its way to the mailbox of the same address here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledMessage {
    /// As if it were sent here and now: without the delay that is over, with the rest of its time
    /// to live.
    pub send: wire::mq9::Send,
    /// Messages of the same mailbox that come behind it, to be made durable with it: all or none.
    pub more: Vec<wire::mq9::Send>,
    /// Where the pull of this mailbox goes on when all this is durable; the bridge's own format, for
    /// [`crate::Pull::position`].
    pub position: Vec<u8>,
    /// Not `None` for a message that no answer has room for, of at least so many bytes as JSON: it
    /// can't be stored, and its loss is to be made durable instead. Nothing of `send` but its address
    /// and priority is to be relied on.
    pub too_large: Option<u64>,
}

/// Why a record can never be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The server answered with a permanent reason code.
    Server {
        /// MQTT 5 reason code.
        reason: u8,
    },
    /// The server of the mail will never take it.
    Mail {
        /// In its words.
        text: String,
    },
    /// Its message expiry interval had passed before it was sent.
    Expired,
    /// Its packet is over the limit.
    TooLarge {
        /// Bytes of the packet.
        found: u64,
        /// Bytes allowed.
        allowed: u32,
    },
    /// Its topic is empty, has a wildcard or NUL, or is too long behind the prefix.
    Topic,
    /// Its properties are not well-formed.
    Properties,
}

impl Rejection {
    /// Gives the MQTT 5 reason code that says the same; `0x00` is never among them.
    #[must_use]
    pub const fn reason_code(&self) -> u8 {
        match self {
            Self::Server { reason } => *reason,
            Self::Expired | Self::Mail { .. } => 0x83,
            Self::TooLarge { .. } => 0x95,
            Self::Topic => 0x90,
            Self::Properties => 0x81,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { reason } => write!(f, "the server answered {reason:#04x}"),
            Self::Mail { text } => write!(f, "the server answered: {text}"),
            Self::Expired => f.write_str("message expiry interval has passed"),
            Self::TooLarge { found, allowed } => {
                write!(f, "packet of {found} bytes exceeds the limit of {allowed}")
            }
            Self::Topic => f.write_str("topic name is empty, too long, or has a wildcard or NUL"),
            Self::Properties => f.write_str("properties are not well-formed"),
        }
    }
}
