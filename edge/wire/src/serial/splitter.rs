//! Finds where the packets of a byte stream end, from their fixed headers alone.

/// How much of a packet has passed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Splitter {
    /// Nothing: a packet begins here.
    #[default]
    Start,
    /// Its first byte, and this much of its remaining length.
    Length { remaining: u32, shift: u32 },
    /// All but this many bytes, at least one.
    Body { remaining: u32 },
}

impl Splitter {
    /// Tells how many of `bytes` belong to the packet that they begin or go on with, and whether
    /// it ends with them. Bytes that are no packet, with a length of five bytes, end there.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (usize, Passed) {
        let mut count = 0;
        while let Some(&byte) = bytes.get(count) {
            match *self {
                Self::Start => {
                    count += 1;
                    *self = Self::Length {
                        remaining: 0,
                        shift: 0,
                    };
                }
                Self::Length { remaining, shift } => {
                    count += 1;
                    let remaining = remaining | u32::from(byte & 0x7F) << shift;
                    let is_last = byte & 0x80 == 0;
                    if is_last && remaining > 0 {
                        *self = Self::Body { remaining };
                    } else if is_last || shift == LAST_SHIFT {
                        return self.end(count);
                    } else {
                        let shift = shift + 7;
                        *self = Self::Length { remaining, shift };
                    }
                }
                Self::Body { remaining } => {
                    let wanted = remaining as usize;
                    let there = bytes.len() - count;
                    if wanted <= there {
                        return self.end(count + wanted);
                    }
                    // Less than `remaining`, so it fits.
                    let remaining = remaining - there as u32;
                    *self = Self::Body { remaining };
                    count += there;
                }
            }
        }
        (count, Passed::Part)
    }

    const fn end(&mut self, count: usize) -> (usize, Passed) {
        *self = Self::Start;
        (count, Passed::End)
    }
}

/// What part of a packet the bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// More must follow.
    Part,
    /// Its last.
    End,
}

/// Where the fourth byte of the remaining length goes.
const LAST_SHIFT: u32 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_wherever_the_stream_is_cut() {
        // PINGREQ, PUBLISH of 3, PUBLISH of 130.
        let mut stream = [7; 2 + 5 + 133];
        stream[..2].copy_from_slice(&[0xC0, 0]);
        stream[2..4].copy_from_slice(&[0x30, 3]);
        stream[7..10].copy_from_slice(&[0x30, 0x82, 1]);
        for cut in 0..=stream.len() {
            let (mut splitter, mut at, mut ends) = (Splitter::default(), 0, [0; 3]);
            let mut found = 0;
            for piece in [&stream[..cut], &stream[cut..]] {
                let mut rest = piece;
                while !rest.is_empty() {
                    let (count, passed) = splitter.pass(rest);
                    assert!(count > 0, "it goes on");
                    at += count;
                    rest = &rest[count..];
                    if passed == Passed::End {
                        ends[found] = at;
                        found += 1;
                    }
                }
            }
            assert_eq!((found, ends), (3, [2, 7, 140]), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_without_end_ends_at_its_fourth_byte() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.pass(&[0xFF; 9]), (5, Passed::End));
        assert_eq!(splitter.pass(&[0x30]), (1, Passed::Part));
    }
}
