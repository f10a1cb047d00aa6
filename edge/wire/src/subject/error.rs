//! What can be wrong with a subject, and why a name of one protocol has none in the other.

use core::fmt;

/// Which rule a subject or a subject filter breaks. Reads on after "subject" or "subject filter".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubjectError {
    /// Empty.
    Empty,
    /// Begins or ends with `.`, or holds `..`.
    EmptyToken,
    /// Holds white space, the null character or DEL.
    Character,
    /// A subject has a token `*` or `>`.
    Wildcard,
    /// Something follows the token `>`.
    WildcardPlace,
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::EmptyToken => "has an empty token",
            Self::Character => "holds white space, the null character or DEL",
            Self::Wildcard => "has a wildcard as a token",
            Self::WildcardPlace => "has a token after >",
        })
    }
}

impl core::error::Error for SubjectError {}

/// Why a topic has no subject, or a subject no topic. Reads on after "topic" or "subject".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversionError {
    /// A topic holds white space or DEL, which a subject can't.
    Character,
    /// A wildcard of the other protocol stands where it means only itself: a level `*` or `>`, or
    /// `+` or `#` in a token.
    Wildcard,
    /// A token holds `/` neither alone nor in pairs, so that no topic becomes this subject.
    Slash,
    /// A subject filter would become the topic filter of a shared subscription.
    ShareName,
    /// The topic would be longer than 65,535 bytes.
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character => f.write_str("holds white space or DEL, which no subject has"),
            Self::Wildcard => f.write_str("holds what is a wildcard in the other protocol"),
            Self::Slash => f.write_str("has a slash that stands for nothing in a topic"),
            Self::ShareName => f.write_str("would be a shared subscription in MQTT"),
            Self::TooLong { bytes } => {
                write!(f, "becomes a topic of {bytes} bytes, the limit is 65535")
            }
        }
    }
}

impl core::error::Error for ConversionError {}
