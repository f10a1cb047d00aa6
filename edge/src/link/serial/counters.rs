//! What has happened on a line, for who looks at it from outside.

use std::cell::Cell;
use std::path::Path;

use wire::serial::Damage;

/// Counts of one line since the start.
#[derive(Debug)]
pub(crate) struct Counters {
    name: String,
    /// Undamaged frames that arrived.
    frames: Cell<u64>,
    /// Damaged ones, dropped.
    damaged: Cell<u64>,
    /// Packets outside of a link, dropped.
    strays: Cell<u64>,
    last: Cell<Option<Damage>>,
    told: Cell<u64>,
}

impl Counters {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            name: format!("serial:{}", path.display()),
            frames: Cell::new(0),
            damaged: Cell::new(0),
            strays: Cell::new(0),
            last: Cell::new(None),
            told: Cell::new(0),
        }
    }

    /// Names the line as the configuration does.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Undamaged frames that arrived.
    pub(crate) const fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// Frames that were dropped because they were damaged.
    pub(crate) const fn damaged(&self) -> u64 {
        self.damaged.get()
    }

    /// Packets that were dropped because their device had no connection.
    pub(crate) const fn strays(&self) -> u64 {
        self.strays.get()
    }

    /// The last damage, when there was one since this was asked before.
    pub(crate) fn news(&self) -> Option<Damage> {
        let is_new = self.told.replace(self.damaged.get()) != self.damaged.get();
        self.last.get().filter(|_| is_new)
    }

    pub(super) fn count_frame(&self) {
        self.frames.set(self.frames.get() + 1);
    }

    pub(super) fn count_stray(&self) {
        self.strays.set(self.strays.get() + 1);
    }

    pub(super) fn count_damage(&self, damage: Damage) {
        self.damaged.set(self.damaged.get() + 1);
        self.last.set(Some(damage));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_news_once() {
        let counters = Counters::new(Path::new("/dev/ttyS0"));
        assert_eq!(counters.name(), "serial:/dev/ttyS0");
        assert_eq!(counters.news(), None);
        counters.count_damage(Damage::Stuffing);
        counters.count_damage(Damage::Checksum);
        assert_eq!(counters.news(), Some(Damage::Checksum));
        assert_eq!((counters.news(), counters.damaged()), (None, 2));
    }
}
