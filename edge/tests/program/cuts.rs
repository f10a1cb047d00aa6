//! Gateways that are cut off in the middle of their work, again and again, under mixed load: six
//! publishers (QoS 1 and 2, retained, large, critical lane), a display that is always there and
//! three that come and go, each with a kept session, and Debian's mosquitto as the cloud.
//!
//! What was acknowledged is written down outside the gateway. At the end each receiver has all of
//! it, in the order of each publisher; what travelled at QoS 2 came once; the log in the cloud's
//! eyes has each QoS 2 message at one offset; retained messages are at least as new as the last
//! acknowledged one; every session was still there after every cut; and nothing is in a gap but the
//! last group before a cut, of which nobody was told that it is stored.
//!
//! Eight cuts of each kind by default. The long runs: `edge/benches/kills.sh` and
//! `edge/benches/powercut.sh`, which set `KILLS` and `POWER_FAILURES`; another seed in `CUT_SEED`.

#[path = "../log_parts/dice.rs"]
mod dice;
mod image;
mod ledger;
mod load;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use self::dice::{Dice, variable};
use self::image::{Image, Loses};
use self::load::Load;
use super::support::{Gateway, now, run};

#[test]
fn nothing_acknowledged_is_lost_by_kills_at_any_moment() {
    let kills = variable("KILLS").unwrap_or(8);
    let mut dice = Dice::seeded();
    let (mut gateway, load) = Load::start(|_| true).expect("it needs nothing");
    for kill in 1..=kills {
        let moment = dice.moment();
        load.progress("kill", kill, kills);
        pause(moment.into_work);
        gateway.kill();
        if let Some(into_start) = moment.into_start {
            gateway.kill_while_it_starts(into_start, || {});
        }
        gateway.restart();
    }
    load.close(gateway, &format!("{kills} kills"));
}

/// Of a file system and of the drive below it. What this proves and what not: [`Image`].
#[test]
fn nothing_acknowledged_is_lost_by_power_failures_of_a_real_file_system() {
    let failures = variable("POWER_FAILURES").unwrap_or(8);
    let mut dice = Dice::seeded();
    let mut image = None;
    let mounted = |gateway: &Gateway| {
        image = Image::mount(&gateway.data());
        image.is_some()
    };
    let Some((mut gateway, load)) = Load::start(mounted) else {
        return;
    };
    let mut image = image.expect("it was mounted");
    for failure in 1..=failures {
        let moment = dice.moment();
        let loses = match dice.below(2) {
            0 => Loses::PageCache,
            _ => Loses::PageCacheAndDriveCache,
        };
        load.progress("power failure", failure, failures);
        pause(moment.into_work);
        image.fail(loses);
        gateway.kill();
        image.recover();
        if let Some(into_start) = moment.into_start {
            gateway.kill_while_it_starts(into_start, || image.fail(loses));
            image.recover();
        }
        gateway.restart();
    }
    load.close(gateway, &format!("{failures} power failures"));
}

/// When the next cut comes.
struct Moment {
    /// After the gateway listens.
    into_work: Duration,
    /// After the start that follows, for a second cut, one time in four.
    into_start: Option<Duration>,
}

impl Dice {
    fn seeded() -> Self {
        let seed = variable("CUT_SEED").unwrap_or(1);
        println!("seed {seed}");
        Self(seed)
    }

    fn moment(&mut self) -> Moment {
        // Once in a while longer than what is done each second: cursors stored, segments let go.
        let longest = if self.below(8) == 0 { 2500 } else { 400 };
        let into_work = Duration::from_micros(self.below(longest * 1000));
        let into_start = Duration::from_micros(self.below(30_000));
        Moment {
            into_work,
            into_start: (self.below(4) == 0).then_some(into_start),
        }
    }
}

impl Load {
    /// One line in a long run, so that it is seen to go on.
    fn progress(&self, what: &str, number: u64, of: u64) {
        if number.is_multiple_of(50) {
            let acknowledged = self.books().acknowledged();
            println!("{what} {number} of {of}: {acknowledged} acknowledged");
        }
    }

    /// Lets everything arrive, prints the balance and checks it.
    fn close(self, mut gateway: Gateway, what: &str) {
        self.settle(&gateway);
        let is_closed = Arc::clone(&self.is_closed);
        is_closed.store(true, Ordering::SeqCst);
        gateway.kill();
        let facts = run(&["inspect", &gateway.data().display().to_string()]);
        let facts = String::from_utf8_lossy(&facts.stdout);
        let gaps = facts.lines().filter(|line| line.starts_with("gap "));
        let (torn, gaps): (Vec<_>, Vec<_>) = gaps.partition(|line| line.contains("torn"));
        let balance = self.end();
        println!(
            "{what}, groups cut while they were written {}\n{balance}",
            torn.len()
        );
        assert!(balance.is_clean(), "{what}:\n{balance}");
        assert!(gaps.is_empty(), "{what}: {gaps:?}");
    }
}

fn pause(length: Duration) {
    let end = now() + length;
    while now() < end {
        std::thread::park_timeout(end - now());
    }
}
