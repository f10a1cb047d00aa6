//! The NATS view: operations of one connection to inputs of the broker, events of the broker to
//! operations. Core NATS as its clients expect it; a subject is the MQTT topic of the same name.
//!
//! It promises what core NATS does: each message goes at most once to every subscription that is
//! there, and to one member of each queue group; whoever does not keep up is cut off and told so,
//! never left with holes. It never touches a socket or a clock, and keeps nothing: a session of a
//! NATS client ends with its connection, and no write is spent on it.

mod connection;
mod ending;
mod error;
mod inbound;
mod mail;
mod opening;
mod outbound;
mod properties;
mod room;
mod settings;
mod subscriptions;

pub use connection::Connection;
pub use error::PeerError;
pub use opening::Ends;
pub(crate) use room::reply_beyond;
pub use settings::{Settings, Tls, reply_bytes};
