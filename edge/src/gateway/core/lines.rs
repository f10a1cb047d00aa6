//! What serial lines lose, told quietly.

use std::rc::Rc;

use sync::Now;
use tracing::warn;

use super::Core;
use crate::link::serial::Counters;

impl Core {
    /// Keeps an eye on a serial line from now on.
    pub(crate) fn watch_line(&mut self, line: Rc<Counters>) {
        self.lines.push(line);
    }

    /// Says which line has damaged frames, one line a minute. Called once a second.
    pub(super) fn tell_of_damage(&mut self, now: Now) {
        for line in &self.lines {
            let Some(damage) = line.news() else {
                continue;
            };
            if let Some(times) = self.quiet.may_say(now.instant, "serial") {
                warn!(
                    "{}: {} of {} frames were damaged and dropped, the last one: {damage}{times}",
                    line.name(),
                    line.damaged(),
                    line.damaged() + line.frames()
                );
            }
        }
    }

    /// Counts of all serial lines together, for the operator: whole, damaged, without a connection.
    pub(crate) fn line_counts(&self) -> Option<[(&'static str, u64); 3]> {
        let sum = |count: fn(&Counters) -> u64| self.lines.iter().map(|line| count(line)).sum();
        (!self.lines.is_empty()).then(|| {
            [
                ("serial.frames", sum(Counters::frames)),
                ("serial.damaged", sum(Counters::damaged)),
                ("serial.strays", sum(Counters::strays)),
            ]
        })
    }
}
