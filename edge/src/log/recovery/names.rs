//! The names of files that a log has, or leaves half made.

use super::super::gap::copy;
use super::super::{journal, mail, reserve, segment, state};

/// Whether a file of this name holds a part of a log.
#[must_use]
pub fn is_of_a_log(name: &str) -> bool {
    let plain = name.strip_suffix(".salvaged").unwrap_or(name);
    [journal::NAME, copy::NAME].contains(&name)
        || is_of_rows(plain)
        || segment::parse(name).is_some()
}

/// Whether a file was being made when the power went. Others' files are none of our business.
pub(super) fn is_half_made(name: &str) -> bool {
    // One of the mail is made in steps, so it is new twice over.
    let begun = name.trim_end_matches(".new");
    let plain = begun.strip_suffix(".salvaged").unwrap_or(begun);
    let is_segment = segment::parse(plain).is_some();
    if begun == name {
        return is_segment && plain != name;
    }
    [journal::NAME, copy::NAME, reserve::NAME].contains(&begun) || is_of_rows(plain) || is_segment
}

fn is_of_rows(name: &str) -> bool {
    [state::NAME, mail::NAME].contains(&name)
}
