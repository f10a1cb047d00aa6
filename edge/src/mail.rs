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
//!
//! Times of day come from the device's clock and may jump: what has a time to live, or a delay, is
//! over or due by that clock. How long a fetch waits is counted by the one that never jumps.

mod acknowledge;
mod age;
mod agents;
mod bundle;
mod cloud;
mod commit;
mod delayed;
mod event;
mod fetch;
mod groups;
mod idle;
mod intake;
mod leave;
mod ledger;
mod load;
mod mailbox;
mod office;
mod query;
mod read;
mod remove;
mod room;
mod search;
mod seek;
mod send;
mod settings;
mod shelf;
mod stored;
mod turn;
mod unread;
mod waiting;

use self::agents::AGENT_BYTES_MAXIMUM;
use self::commit::PENDING_BYTES;
pub use self::event::{CommitTicket, Input, Output, Ticket, Unread};
use self::groups::GROUP_BYTES;
pub use self::intake::Intake;
use self::mailbox::MAILBOX_BYTES;
pub use self::office::{Counters, Counts, Office};
pub use self::settings::Settings;
pub use self::shelf::{Found, Page, Shelf, Unreadable};
use self::waiting::WAITING_BYTES;
