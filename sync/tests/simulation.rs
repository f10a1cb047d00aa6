//! Many lives of the engine in worlds that go wrong, each from a seed.
//!
//! - `cargo test -p robustmq-sync --test simulation` lives 1,000 seeds.
//! - `SIM_SEEDS=10000 cargo test -p robustmq-sync --release --test simulation` lives 10,000.
//! - `SIM_SEED=7 cargo test -p robustmq-sync --test simulation -- --nocapture` lives one again.
//!   `SIM_TRACE=1` prints all that engine and driver say to each other.
//!
//! Each seed prints a line with a digest of everything the engine said: two runs of one build
//! print the same. The seed stands there before its life begins.

mod sim;

use std::io::Write;

use sim::{Sabotage, live};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, allowed is a number")),
    )
}

fn live_all(seeds: impl Iterator<Item = u64>) {
    let mut records = 0;
    let mut arrivals = 0;
    for seed in seeds {
        print!("seed {seed}: ");
        std::io::stdout().flush().expect("standard output is open");
        let report = live(seed, None).unwrap_or_else(|violation| panic!("{violation}"));
        println!(
            "digest {:016x}, {} steps, {} records, {} arrivals",
            report.digest, report.steps, report.records, report.arrivals
        );
        records += report.records;
        arrivals += report.arrivals;
    }
    println!("{records} records, {arrivals} arrivals");
}

#[test]
fn every_record_arrives_in_order_whatever_goes_wrong() {
    match number("SIM_SEED") {
        Some(seed) => live_all(seed..=seed),
        None => live_all(0..number("SIM_SEEDS").unwrap_or(1_000)),
    }
}

#[test]
fn a_seed_lives_the_same_life_twice() {
    for seed in 0..10 {
        let digests = [(); 2].map(|()| live(seed, None).unwrap().digest);
        assert_eq!(digests[0], digests[1]);
    }
}

/// The checker is worth something only if it catches drivers that break their rules, and for the
/// right reason.
fn assert_is_caught(sabotage: Sabotage, expected: &[&str]) {
    let caught = (0..300).find_map(|seed| live(seed, Some(sabotage)).err());
    let violation = caught.unwrap_or_else(|| panic!("nobody noticed that it {sabotage:?}"));
    println!("{sabotage:?}: {violation}");
    let is_meant = expected.iter().any(|words| violation.contains(words));
    assert!(is_meant, "{violation}");
}

#[test]
fn an_answer_before_the_cloud_has_the_record_is_caught() {
    assert_is_caught(Sabotage::AcknowledgesOnSend, &["the cloud never had it"]);
}

#[test]
fn flight_forgotten_on_a_fallen_connection_is_caught() {
    assert_is_caught(Sabotage::ForgetsFlightOnDown, &["the cloud never had it"]);
}

#[test]
fn retention_at_the_acknowledgement_is_caught() {
    let expected = ["retention passed the durable checkpoint", "never arrived"];
    assert_is_caught(Sabotage::ReleasesAtAcknowledgement, &expected);
}

#[test]
fn a_checkpoint_confirmed_before_it_is_durable_is_caught() {
    let expected = ["retention passed the durable checkpoint"];
    assert_is_caught(Sabotage::ConfirmsCheckpointsEarly, &expected);
}

#[test]
fn a_wire_without_order_is_caught() {
    assert_is_caught(Sabotage::Reorders, &["overtook", "came last"]);
}

#[test]
fn a_record_lost_between_log_and_engine_is_caught() {
    let expected = ["the cloud never had it", "overtook"];
    assert_is_caught(Sabotage::LosesWhatItReads, &expected);
}

#[test]
fn a_record_under_another_offset_is_caught() {
    assert_is_caught(
        Sabotage::MixesOffsetsUp,
        &["under a foreign topic", "overtook"],
    );
}
