//! The name of a level. Nearly all are short, and lie where a pointer to them would.

use std::borrow::Borrow;
use std::cmp::Ordering;

/// A name, in the room of a string's pointer. Ordered as its bytes are.
#[derive(Debug)]
pub(super) struct Label(Form);

#[derive(Debug)]
enum Form {
    Short {
        length: u8,
        bytes: [u8; SHORT_BYTES],
    },
    /// Boxed twice, since a string's pointer has its length beside it.
    Long(Box<Box<[u8]>>),
}

/// As many as fit beside what tells the forms apart, and the length.
const SHORT_BYTES: usize = 14;
const _: () = assert!(size_of::<Label>() == 16);

impl Label {
    /// Keeps a name.
    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        Self(match bytes.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name.as_bytes());
                let length = u8::try_from(name.len()).expect("a short name is short");
                Form::Short { length, bytes }
            }
            None => Form::Long(Box::new(name.as_bytes().into())),
        })
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Short { length, bytes } => &bytes[..usize::from(*length)],
            Form::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Label {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Label {}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_come_back_and_keep_their_order() {
        let long = "x".repeat(300);
        let names = [
            "",
            "a",
            "a thousand one",
            "a thousand ones",
            "b",
            "\u{e4}",
            &long,
        ];
        let labels: Vec<Label> = names.iter().map(|name| Label::new(name)).collect();
        for (name, label) in names.iter().zip(&labels) {
            assert_eq!(label.as_bytes(), name.as_bytes());
            let is_short = matches!(label.0, Form::Short { .. });
            assert_eq!(is_short, name.len() <= SHORT_BYTES, "{name}");
        }
        for (one, label) in names.iter().zip(&labels) {
            for (other, other_label) in names.iter().zip(&labels) {
                assert_eq!(label.cmp(other_label), one.cmp(other), "{one} {other}");
            }
        }
    }
}
