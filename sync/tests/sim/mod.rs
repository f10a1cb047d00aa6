//! A world around the engine, driven by a seed and virtual time: a log that power cuts shorten,
//! links that fall, fall silent and lose answers, and a cloud that refuses, rejects and forgets.
//!
//! After every step the checker looks at what must always hold. In the end the world is healed
//! and everything must have arrived, or be a gap, within bounded time.

pub(crate) mod checker;
pub(crate) mod cloud;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod world;

pub(crate) use plan::{Plan, Sabotage};
pub(crate) use world::World;

use sync::Lane;

/// A record's place in the log of this gateway.
pub(crate) type At = (Lane, u64);

/// Microseconds in a millisecond and in a second.
pub(crate) const MS: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// What a world ended with.
#[derive(Debug)]
pub(crate) struct Report {
    /// Of everything the engine said and when; equal for equal seeds.
    pub(crate) digest: u64,
    pub(crate) steps: u64,
    pub(crate) records: u64,
    pub(crate) arrivals: u64,
}

/// A rule of [`checker`] that was broken, in words.
pub(crate) type Violation = String;

/// Lives one seed's world to its end.
pub(crate) fn live(seed: u64, sabotage: Option<Sabotage>) -> Result<Report, Violation> {
    World::new(Plan::from_seed(seed), sabotage).live()
}
