//! What holds of every format that comes in pieces over a link.

use std::fmt::{Debug, Display};

/// Reads all but the last of `bytes`, which is what comes next. What is there needs `needed` bytes,
/// fewer are none, and more never make an error good. Gives what was decoded.
pub(crate) fn decide<'a, T: Debug + PartialEq, E: Debug + Display + PartialEq>(
    bytes: &'a [u8],
    needed: impl Fn(&'a [u8]) -> Result<Option<usize>, E>,
    decode: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, E>,
) -> Option<T> {
    let so_far = &bytes[..bytes.len() - 1];
    let needed = needed(so_far);
    match decode(so_far) {
        Ok(Some((found, length))) => {
            assert_eq!(needed, Ok(Some(length)));
            assert_eq!(decode(&bytes[..length - 1]), Ok(None));
            return Some(found);
        }
        Ok(None) => assert!(!matches!(needed, Ok(Some(length)) if length <= so_far.len())),
        Err(error) => {
            let _ = format!("{error}");
            assert_eq!(decode(bytes), Err(error));
        }
    }
    None
}
