//! Positions and store-and-forward: what has been stored, what has been sent, what has been
//! acknowledged, and what to do next.
//!
//! The crate promises that a record handed to it is either acknowledged by its reader or written
//! down as a gap, in the order of its lane and topic, whatever links and power do. It never opens
//! a file, a socket or a clock: it is told facts and the time, and it answers with intentions.
#![no_std]

extern crate alloc;

mod backoff;
mod change;
mod checkpoint;
mod connection;
mod cursor;
mod downlink;
mod engine;
mod error;
mod event;
mod limits;
mod origin;
mod record;
mod regression;
mod release;
mod status;
mod steady;
mod time;
mod topic;
mod topics;
mod uplink;
mod watermark;
mod window;

pub use backoff::{Backoff, Generator};
pub use change::{Change, Table};
pub use cursor::{Cursor, CursorError};
pub use engine::Engine;
pub use error::{CheckpointError, PlaceError, SettingsError, StartError};
pub use event::{ConnectionId, GapReason, Input, LaneExtent, Output, Start, Token};
pub use limits::{Order, Pace, Settings};
pub use origin::{Origin, Place, property};
pub use record::{Epoch, Lane, Offset, PerLane, Record, RecordError, RecordParts, topic_hash};
pub use status::{ConnectionPhase, ConnectionStatus, Counters, LaneStatus};
pub use steady::{SteadyTime, TimeStamp};
pub use time::{Instant, Now, WallTime};
pub use topic::Apart;
pub use watermark::{Seen, Watermark};
pub use window::Window;
