//! CRC-16/IBM-SDLC, four bits at a time: a table of 32 bytes fits the smallest device.

/// A checksum in the making.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksum(u16);

/// What one nibble does to the remainder; the polynomial is 0x1021, bits reflected.
const TABLE: [u16; 16] = {
    let mut table = [0; 16];
    let mut nibble = 0;
    while nibble < 16 {
        let mut remainder = nibble;
        let mut bit = 0;
        while bit < 4 {
            remainder = if remainder & 1 == 1 {
                remainder >> 1 ^ 0x8408
            } else {
                remainder >> 1
            };
            bit += 1;
        }
        table[nibble as usize] = remainder;
        nibble += 1;
    }
    table
};

impl Checksum {
    /// Of no bytes.
    pub(super) const fn new() -> Self {
        Self(0xFFFF)
    }

    #[inline]
    pub(super) const fn add(&mut self, byte: u8) {
        let low = (self.0 ^ byte as u16) & 15;
        self.0 = self.0 >> 4 ^ TABLE[low as usize];
        let high = (self.0 ^ (byte >> 4) as u16) & 15;
        self.0 = self.0 >> 4 ^ TABLE[high as usize];
    }

    /// The bytes that stand behind those added so far.
    pub(super) const fn bytes(self) -> [u8; 2] {
        (!self.0).to_le_bytes()
    }

    /// Whether the last two bytes added are the checksum of those before.
    pub(super) const fn is_right(self) -> bool {
        self.0 == 0xF0B8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Checksum {
        let mut checksum = Checksum::new();
        for &byte in bytes {
            checksum.add(byte);
        }
        checksum
    }

    #[test]
    fn the_checksum_has_the_check_value_of_the_catalogue() {
        assert_eq!(of(b"123456789").bytes(), 0x906E_u16.to_le_bytes());
        assert_eq!(of(b"").bytes(), [0, 0]);
    }

    #[test]
    fn bytes_with_their_checksum_behind_are_right_until_a_zero_is_added() {
        assert!(of(b"123456789\x6E\x90").is_right());
        assert!(!of(b"123456789\x6E\x90\0").is_right());
        assert!(!of(b"123456789\x90\x6E").is_right());
        assert!(!of(b"").is_right());
    }
}
