//! Scenarios of NATS: exact operations in and out of connections over one broker, with MQTT clients
//! beside them.
#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod access;
mod hostile;
mod limits;
mod one_data_set;
mod opening;
mod queue_group;
mod request;
mod subscribe;
mod world;
