//! Whole NATS connections with mq9: several agents, what they send whole, split, broken or out of
//! turn, commits that are late or refused, crashes, and time. Whatever they do: nothing panics, all
//! that is said to them can be read, every message that was taken can be found until it is over, ids
//! never come twice in a mailbox's life, what a group acknowledged never comes back, the counts on the
//! disk are those of the rows there, whenever it crashes, and when all have gone, nothing is left of
//! them.
//!
//! Run: `edge/benches/fuzz.sh 600 agents`
#![no_main]

mod books;
mod judge;
mod mailbox;
#[path = "../pick.rs"]
mod pick;
mod play;
mod script;
#[path = "../../../tests/mq9/world.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: script::Script| play::Play::new(&script).run(&script));
