//! What the office is told and what it answers: plain values, no behaviour.
//!
//! Every [`Input::Request`] is answered by exactly one [`Output::Answer`], unless it is cancelled
//! first; every [`Output::Commit`] by one [`Input::Committed`] or [`Input::CommitFailed`], in the
//! order of the commits.

use sync::{Change, PerLane, WallTime};
use wire::mq9::{Agent, Priority, Reply, Request, Send};

use super::intake::Intake;

/// Names a request until it is answered; the office only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a commit until it is answered. Grows by one with each commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitTicket(pub u64);

/// A fact that the office is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody who may do so wants something.
    Request {
        /// To answer with.
        ticket: Ticket,
        /// What.
        request: Box<Request>,
        /// Changes to commit with it (a note for exactly once, the position of a pull). Empty but
        /// for a request to send.
        changes: Vec<Change>,
    },
    /// Messages of the cloud, all to one mailbox, that are to be kept all or none, in one commit.
    /// Answered by [`Reply::Sent`] without an id, or by a failure where there is no room for all of
    /// them as it is: one by one they may make room, or some may have it.
    Bundle {
        /// To answer with.
        ticket: Ticket,
        /// At least one.
        sends: Vec<Send>,
        /// Changes to commit with them.
        changes: Vec<Change>,
    },
    /// A message that can never be kept here is to be written down as one that ended unread.
    /// Answered by [`Reply::Sent`] without an id when that is durable, or by a failure.
    Lost {
        /// To answer with.
        ticket: Ticket,
        /// Of the message.
        priority: Priority,
        /// Of the message.
        bytes: u64,
        /// Changes to commit with it.
        changes: Vec<Change>,
    },
    /// Whoever made a request is gone: a fetch of theirs need not wait any more. No answer.
    Cancel {
        /// Of the request; one that is answered already is ignored.
        ticket: Ticket,
    },
    /// What the log takes from now on. No answer.
    Intake(PerLane<Intake>),
    /// All agents that the cloud knows, as it said just now: they take the place of those that it
    /// knew before. No answer.
    CloudAgents {
        /// Without those that registered here; where they live and when they were seen is set by
        /// the office.
        agents: Vec<Agent>,
    },
    /// A commit is durable, and the shelf shows it.
    Committed {
        /// Which.
        ticket: CommitTicket,
    },
    /// A commit is not durable and never will be.
    CommitFailed {
        /// Which.
        ticket: CommitTicket,
        /// Why, for whoever made the request.
        why: String,
    },
}

/// An intention or answer of the office.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make these durable together. At most one of them is an append: a request for the cloud.
    Commit {
        /// To answer with.
        ticket: CommitTicket,
        /// What.
        changes: Vec<Change>,
        /// What these end although a group, or whoever else reads, may not have seen it: to be
        /// written down in the same commit. Empty most often.
        unread: Vec<Unread>,
        /// Whether somebody waits for it.
        is_urgent: bool,
    },
    /// A request is answered.
    Answer {
        /// Of the request.
        ticket: Ticket,
        /// How it ended.
        reply: Reply,
    },
}

/// Messages of a priority that their time ended, or that of their mailbox, before every group had
/// acknowledged them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Theirs.
    pub priority: Priority,
    /// They have numbers from here on, one each. All numbers of a priority follow each other, and
    /// none is given to the messages of two commits.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// None of them is older.
    pub from: WallTime,
    /// None of them is younger.
    pub to: WallTime,
}
