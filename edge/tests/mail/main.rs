//! The mail office from outside: requests in, replies out, a table in memory as its shelf, and a
//! clock that only the test moves.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod commands;
mod crashes;
mod desk;
mod ends;
mod limits;
mod model;
mod room;
mod waiting;
