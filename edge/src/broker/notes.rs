//! The notes of one session, in little room: there is one for each exchange of QoS 2 under way, and a
//! client may leave as many behind as it likes. What those take that are about no delivery, which has
//! its own account, is counted here.

use super::event::DeliveryId;

/// A note of the view with the delivery it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeptNote {
    pub(super) value: u32,
    pub(super) delivery: Option<DeliveryId>,
}

/// Notes in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Notes {
    sorted: Vec<(u32, KeptNote)>,
    /// Those about no delivery.
    own_count: usize,
}

const _: () = assert!(size_of::<(u32, KeptNote)>() == 12);

/// Room for so many comes at a time, at least.
const FIRST_ROOM: usize = 4;
/// What a note takes here, where half of the room may be free, and its step in the view.
const NOTE_BYTES: usize = 2 * size_of::<(u32, KeptNote)>() + 16;
/// What the first takes more: the lists and what holds them, here and in the view.
const FIRST_BYTES: usize = 320;

impl Notes {
    /// Stands for all that are empty.
    pub(super) const EMPTY: Self = Self {
        sorted: Vec::new(),
        own_count: 0,
    };

    /// Adds a note; gives back the one that it replaces.
    pub(super) fn insert(&mut self, key: u32, note: KeptNote) -> Option<KeptNote> {
        self.own_count += usize::from(note.is_own());
        match self.find(key) {
            Ok(at) => {
                let former = std::mem::replace(&mut self.sorted[at].1, note);
                self.own_count -= usize::from(former.is_own());
                Some(former)
            }
            Err(at) => {
                if self.sorted.len() == self.sorted.capacity() {
                    self.sorted
                        .reserve_exact((self.sorted.len() / 4).max(FIRST_ROOM));
                }
                self.sorted.insert(at, (key, note));
                None
            }
        }
    }

    /// Takes a note out.
    pub(super) fn remove(&mut self, key: u32) -> Option<KeptNote> {
        let (_, former) = self.sorted.remove(self.find(key).ok()?);
        self.own_count -= usize::from(former.is_own());
        let (count, room) = (self.sorted.len(), self.sorted.capacity());
        if room > FIRST_ROOM && count * 2 <= room {
            self.sorted.shrink_to(count + count / 4);
        }
        Some(former)
    }

    pub(super) fn contains(&self, key: u32) -> bool {
        self.find(key).is_ok()
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(u32, KeptNote)> {
        self.sorted.iter()
    }

    /// How many are about no delivery.
    pub(super) const fn own_count(&self) -> usize {
        self.own_count
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// What those about no delivery take, here and in the view.
    pub(super) const fn held_bytes(&self) -> usize {
        match self.own_count {
            0 => 0,
            count => FIRST_BYTES + count * NOTE_BYTES,
        }
    }

    /// What one more of them would take.
    pub(super) const fn added_bytes(&self) -> usize {
        match self.own_count {
            0 => FIRST_BYTES + NOTE_BYTES,
            _ => NOTE_BYTES,
        }
    }

    fn find(&self, key: u32) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&key, |(held, _)| *held)
    }
}

impl KeptNote {
    const fn is_own(&self) -> bool {
        self.delivery.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn own(value: u32) -> KeptNote {
        KeptNote {
            value,
            delivery: None,
        }
    }

    #[test]
    fn only_notes_about_no_delivery_are_counted() {
        let mut notes = Notes::default();
        let about = KeptNote {
            value: 1,
            delivery: Some(DeliveryId(7)),
        };
        assert_eq!(notes.insert(9, about), None);
        assert_eq!(notes.held_bytes(), 0);
        let added = notes.added_bytes();
        assert_eq!(notes.insert(3, own(3)), None);
        assert_eq!(notes.held_bytes(), added);
        let added = added + notes.added_bytes();
        assert_eq!(notes.insert(9, own(2)), Some(about));
        assert_eq!(notes.held_bytes(), added);
        assert_eq!(notes.insert(9, own(4)), Some(own(2)));
        assert_eq!(notes.held_bytes(), added);
        let keys: Vec<u32> = notes.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [3, 9]);
        assert_eq!(notes.remove(9), Some(own(4)));
        assert_eq!((notes.remove(9), notes.contains(3)), (None, true));
        notes.remove(3);
        assert!(notes.is_empty() && notes.held_bytes() == 0);
    }

    #[test]
    fn at_most_half_of_the_room_is_free() {
        let mut notes = Notes::default();
        for key in 0..1000 {
            notes.insert(key, own(3));
        }
        for key in (0..1000).rev() {
            let room = notes.sorted.capacity();
            assert!(room <= 2 * notes.sorted.len() + FIRST_ROOM, "{room}");
            notes.remove(key);
        }
    }
}
