//! What the broker is told about the mail office.

use sync::{Lane, Offset, Record};
use wire::mq9::{Reply, Request};

use super::{ConnectionId, Token};
use crate::mail::Ticket;

/// A fact about the mail office and who asks it.
#[derive(Clone, Debug)]
pub enum MailInput {
    /// A client wants something of the office. Answered, if it has a token, by
    /// [`Event::Mail`](super::Event::Mail), or by [`Event::NoReply`](super::Event::NoReply) and not
    /// done; not at all once its connection is gone.
    Request {
        /// Whose.
        connection: ConnectionId,
        /// What the client must be allowed to write to.
        topic: String,
        /// What.
        request: Box<Request>,
        /// Where the answer is to go; `None` when nobody wants to know.
        reply_topic: Option<String>,
        /// Given back with the answer; `None` when nobody wants to know.
        token: Option<Token>,
    },
    /// The office has done, or refused, what [`Output::Mail`](super::Output::Mail) asked it for.
    Answered {
        /// Of the request.
        ticket: Ticket,
        /// How it ended.
        reply: Reply,
    },
    /// A view has put a reply of the office into a message. Those who are connected hear it with
    /// QoS 0, whoever they are; it is never stored. No answer.
    Reply {
        /// Whose view it is: one that may neither hear nor say what goes there is told so instead.
        connection: ConnectionId,
        /// The message, with QoS 0.
        record: Record,
    },
    /// A record of the office went into the log, which is for no client. Told in the order of the
    /// commits.
    Passed {
        /// The lane.
        lane: Lane,
        /// Where it is.
        offset: Offset,
    },
}
