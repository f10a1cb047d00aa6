//! What is nearly always empty, in the room of a pointer: a gateway has many sessions and
//! connections, and most of them are idle.
//!
//! Reads as if it were there. Takes memory from the first change until [`Rare::let_go`] finds it
//! empty again, so that one who is busy does not pay for each change.

use std::ops::Deref;

/// A value, or the memory of a pointer to none.
#[derive(Clone, Debug)]
pub(crate) struct Rare<T>(Option<Box<T>>);

/// What can be empty.
pub(crate) trait Empty: Default + 'static {
    /// Stands for all that are.
    const EMPTY: &'static Self;

    /// Whether it is like [`Empty::EMPTY`], but for memory that it keeps.
    fn is_empty(&self) -> bool;
}

impl<T: Empty> Rare<T> {
    /// Holds a value, without memory for one that is empty.
    pub(crate) fn new(value: T) -> Self {
        Self((!value.is_empty()).then(|| Box::new(value)))
    }

    /// What is there, to be changed; made if nothing is.
    pub(crate) fn make(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// What is there, to take something out of it.
    #[inline]
    pub(crate) fn held(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn let_go(&mut self) {
        self.0 = self.0.take().filter(|value| !value.is_empty());
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Empty for Vec<u8> {
        const EMPTY: &'static Self = &Self::new();

        fn is_empty(&self) -> bool {
            self.is_empty()
        }
    }

    #[test]
    fn memory_is_taken_by_the_first_change_and_given_back_when_it_is_empty() {
        let mut rare = Rare::new(Vec::new());
        assert_eq!(size_of_val(&rare), size_of::<usize>());
        assert!(rare.is_empty() && rare.held().is_none());
        rare.make().push(1);
        rare.let_go();
        assert_eq!(*rare, [1]);
        rare.make().clear();
        assert!(rare.held().is_some(), "kept for the next change");
        rare.let_go();
        assert!(rare.is_empty() && rare.held().is_none());
        assert!(Rare::new(vec![1]).held().is_some());
    }
}
