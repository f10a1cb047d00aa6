//! What lanes take, as the writer sees it: in files, lent or not, and in memory.

use sync::Lane;

use super::super::Event;
use super::super::intake::{Filling, Pressure};
use super::Writer;

impl Writer {
    /// Says what lanes take, when that has changed.
    pub(super) fn tell_intake(&mut self) {
        let mut files = self.holding;
        for lane in Lane::ALL {
            let filling = &mut files.lanes[lane];
            filling.waiting += self.fresh.lane_bytes[lane];
            if self.floors[lane] >= self.next[lane] {
                // It goes as soon as it is in a segment, and nobody hurries that.
                filling.waiting = 0;
            }
        }
        let pressure = Pressure {
            files,
            most: self.settings.max_bytes,
            journal: Filling {
                bytes: self.journal.used_bytes(),
                waiting: 0,
                most: self.journal.capacity(),
                segment: 0,
            },
        };
        let intake = pressure.intake();
        if intake != self.intake {
            self.intake = intake;
            self.events.push(Event::Intake { intake });
        }
    }
}
