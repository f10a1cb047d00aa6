//! The mail office: mailboxes, their messages, the groups that read them, and the agents that have
//! them. One for the whole gateway, whatever protocol a request comes by.
//!
//! Promises that a request is answered as done only when it is durable; that ids of a mailbox grow
//! and never come twice; that what a group has acknowledged never comes back, and what it has not
//! does. Memory depends on the number of mailboxes, groups and agents, never on that of messages:
//! these are read from the [`Shelf`] when somebody wants them.
//!
//! It never touches a clock, a socket or a file, and knows no protocol but the values of
//! [`wire::mq9`].

mod event;
pub mod search;
mod shelf;

pub use self::event::{CommitTicket, Input, Output, Ticket};
pub use self::shelf::{Found, Page, Shelf, Unreadable};
