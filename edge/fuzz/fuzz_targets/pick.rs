//! How a number of a script chooses.

/// One of those that are there, if any is.
pub(crate) fn pick<T>(from: &mut [T], number: u8) -> Option<&mut T> {
    let count = from.len().max(1);
    from.get_mut(usize::from(number) % count)
}
