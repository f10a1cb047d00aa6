//! A whole log on a simulated disk: groups of records and rows, small and large, trims, gaps,
//! copies for a backup, jobs with commits between their writes, a disk that is full or fails, power
//! cuts at any write, and files that are damaged, swapped or replaced by older copies in between.
//!
//! Without damage everything is known, and judged so: every record that was acknowledged is served
//! bit for bit under its offset or stands in exactly one gap, counts of gaps add up, and rows are
//! those of whole groups. With damage nobody can tell what must be left: it starts within bounds,
//! serves every record of a file that was not hurt, and no record and no row that was never stored.
//!
//! Run: `edge/benches/fuzz.sh 600 log`
#![no_main]

mod books;
mod hurt;
mod judge;
#[path = "../../../tests/log_parts/mod.rs"]
mod log_parts;
mod play;
mod script;
#[path = "../../../tests/log_jobs/turns.rs"]
mod turns;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: script::Script| {
    log_parts::contain_panics_quietly();
    play::Play::new(&script).run(&script);
});
