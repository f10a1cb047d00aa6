//! Addresses of mailboxes: their grammar, checked when one is made.
//!
//! Other requests are not checked: an address that breaks the rules belongs to no mailbox.

use core::fmt;

/// The longest address, in bytes, which are characters.
pub const ADDRESS_BYTES: usize = 128;

/// Checks what a mailbox is to be called: 1 to [`ADDRESS_BYTES`] lower-case letters, digits and
/// dots, a letter or digit at either end, no two dots in a row.
///
/// # Errors
/// With the first rule that is broken, in the order of [`InvalidAddress`].
pub fn check_address(address: &str) -> Result<(), InvalidAddress> {
    let bytes = address.as_bytes();
    let is_inner = |byte: &u8| is_outer(*byte) || *byte == b'.';
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return Err(InvalidAddress::Empty);
    };
    if !bytes.iter().all(is_inner) {
        return Err(InvalidAddress::Character);
    }
    if !is_outer(first) || !is_outer(last) {
        return Err(InvalidAddress::Edge);
    }
    if bytes.len() > ADDRESS_BYTES {
        return Err(InvalidAddress::Length);
    }
    if address.contains("..") {
        return Err(InvalidAddress::Dots);
    }
    Ok(())
}

const fn is_outer(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Why a mailbox can't be called so; the words are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// It has no characters.
    Empty,
    /// A character is none of those allowed.
    Character,
    /// It begins or ends with a dot.
    Edge,
    /// It has more than [`ADDRESS_BYTES`].
    Length,
    /// Two dots stand in a row.
    Dots,
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("prefix must not be empty"),
            Self::Character => {
                f.write_str("name may only contain lowercase letters, digits, and dots")
            }
            Self::Edge => f.write_str("prefix must start and end with a lowercase letter or digit"),
            Self::Length => {
                write!(
                    f,
                    "invalid mail_address: longer than {ADDRESS_BYTES} characters"
                )
            }
            Self::Dots => f.write_str("invalid mail_address: consecutive dots"),
        }
    }
}

impl core::error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_obey_every_rule_in_its_order() {
        use InvalidAddress::{Character, Dots, Edge, Empty, Length};
        let longest = "a".repeat(ADDRESS_BYTES);
        let too_long = "a".repeat(ADDRESS_BYTES + 1);
        let table = [
            ("a", Ok(())),
            ("0", Ok(())),
            ("t.inbox", Ok(())),
            ("a.b.c.0", Ok(())),
            (&longest, Ok(())),
            ("", Err(Empty)),
            ("Task.001", Err(Character)),
            ("task-001", Err(Character)),
            ("task_001", Err(Character)),
            ("\u{e9}", Err(Character)),
            (".A", Err(Character)),
            ("a b", Err(Character)),
            (".a", Err(Edge)),
            ("a.", Err(Edge)),
            (".", Err(Edge)),
            ("..", Err(Edge)),
            (&too_long, Err(Length)),
            ("a..b", Err(Dots)),
        ];
        for (address, expected) in table {
            assert_eq!(check_address(address), expected, "{address}");
        }
    }
}
