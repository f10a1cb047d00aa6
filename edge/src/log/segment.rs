//! A segment: one redb file with consecutive blocks of one lane.

/// The handle of a segment that is open for writing, shared by writer and reader.
#[derive(Clone, Debug)]
pub struct SharedSegment {}
