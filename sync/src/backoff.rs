//! How long to wait before the next try: exponential, with jitter from a seeded generator, so that
//! a thousand gateways that lost their cloud together do not come back together.

use core::time::Duration;

/// A small seeded generator (SplitMix64). Good enough for jitter and simulations, useless for
/// secrets.
#[derive(Clone, Debug)]
pub struct Generator {
    state: u64,
}

impl Generator {
    /// Starts a sequence; equal seeds give equal sequences.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Draws the next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Draws a number below `end`; 0 when `end` is 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        ((self.draw() as u128 * end as u128) >> 64) as u64
    }
}

/// The pauses of one thing that is tried again and again.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    attempt: u32,
}

impl Backoff {
    /// Starts with pauses of up to `first`, which double up to `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            attempt: 0,
        }
    }

    /// Gives the pause before the next try: between a quarter of `first` and the present ceiling,
    /// evenly spread.
    pub fn pause(&mut self, generator: &mut Generator) -> Duration {
        let ceiling = self
            .first
            .saturating_mul(1 << self.attempt.min(20))
            .min(self.most);
        let floor = (self.first / 4).min(ceiling);
        self.attempt = self.attempt.saturating_add(1);
        let spread = u64::try_from((ceiling - floor).as_micros()).unwrap_or(u64::MAX);
        floor + Duration::from_micros(generator.below(spread.saturating_add(1)))
    }

    /// Starts over, because a try went well.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_a_seed_never_changes() {
        // First draws of SplitMix64 from seed 0, as published with the algorithm.
        let mut generator = Generator::from_seed(0);
        assert_eq!(generator.draw(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(generator.draw(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(generator.below(0), 0);
        assert!((0..1000).all(|_| generator.below(7) < 7));
    }

    #[test]
    fn pauses_grow_to_their_ceiling_and_stay_there() {
        let first = Duration::from_millis(100);
        let most = Duration::from_secs(4);
        let mut generator = Generator::from_seed(1);
        let mut backoff = Backoff::new(first, most);
        for attempt in 0..100 {
            let pause = backoff.pause(&mut generator);
            assert!(pause >= first / 4);
            assert!(pause <= most.min(first * (1 << attempt.min(10))));
        }
        assert!((0..100).any(|_| backoff.pause(&mut generator) > most / 2));
        backoff.reset();
        assert!(backoff.pause(&mut generator) <= first);
    }

    #[test]
    fn pauses_of_two_seeds_differ() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
            let mut generator = Generator::from_seed(seed);
            [(); 8].map(|()| backoff.pause(&mut generator))
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}
