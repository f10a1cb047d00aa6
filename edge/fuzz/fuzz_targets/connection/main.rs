//! Whole connections: several clients of both versions, what they send whole, split, broken or out
//! of turn, commits that are late or refused, reads that are late, crashes, and time. Whatever they
//! do: nothing panics, each client is sent only what the specification allows, everything that was
//! acknowledged reaches a session that is kept, and when all have gone, nothing is left of them.
//!
//! Run: `edge/benches/fuzz.sh 600 connection`
#![no_main]

mod judge;
#[path = "../pick.rs"]
mod pick;
mod play;
mod script;
#[path = "../../../tests/mqtt/world.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: script::Script| play::Play::new(&script).run(&script));
