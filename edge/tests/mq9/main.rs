//! Scenarios of mq9: exact JSON in and out of connections over one mail office, with MQTT clients
//! beside them. The cases of the specification are tables, one module a command, numbered as there.
#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod acknowledge;
mod agents;
#[path = "../../fuzz/fuzz_targets/agents/books.rs"]
mod books;
mod cases;
mod counts;
mod create;
mod delete;
mod essentials;
mod fetch;
mod hostile;
mod letters;
mod query;
mod replies;
mod send;
mod upward;
mod world;
