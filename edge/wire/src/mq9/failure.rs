//! Why a request is not done, in the exact words that clients know.

use alloc::string::String;
use core::fmt;

use super::InvalidAddress;

/// Why a request is not done; its words are the protocol's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The subject names no request.
    Subject(String),
    /// The body is not what the request needs; in the words of the parser, behind the prefix that
    /// this request has.
    Body(String),
    /// A mailbox can't be called so.
    Address(InvalidAddress),
    /// The subject names a message by something that is no id.
    MessageId(String),
    /// No mailbox has this address.
    NoMailbox(String),
    /// No mailbox has this address, as an acknowledgement says it.
    NoMailboxToAcknowledge(String),
    /// A mailbox has this address already.
    MailboxExists(String),
    /// A limit or the disk says no; the words say which.
    Refused(String),
}

impl Failure {
    /// Understands the text of an error. One whose words are none of ours is a refusal.
    pub(super) fn from_text(text: &str) -> Self {
        let between = |start: &str, end: &str| {
            let inner = text.strip_prefix(start)?.strip_suffix(end)?;
            (!inner.is_empty()).then(|| String::from(inner))
        };
        if let Some(subject) = between(SUBJECT, "") {
            return Self::Subject(subject);
        }
        if let Some(id) = between(MESSAGE_ID, "") {
            return Self::MessageId(id);
        }
        let missing = between(MAILBOX, MISSING)
            // RobustMQ says so where it looks for messages and not for the mailbox.
            .or_else(|| between("Tenant default topic '", "' not found in broker cache"));
        if let Some(address) = missing {
            return Self::NoMailbox(address);
        }
        if let Some(address) = between(NOT_FOUND, "") {
            return Self::NoMailboxToAcknowledge(address);
        }
        if let Some(address) = between(MAILBOX, EXISTS) {
            return Self::MailboxExists(address);
        }
        Self::Refused(text.into())
    }
}

const SUBJECT: &str = "unrecognized mq9 subject: ";
const MESSAGE_ID: &str = "invalid msg_id: ";
const MAILBOX: &str = "mailbox ";
const MISSING: &str = " does not exist";
const NOT_FOUND: &str = "mailbox not found: ";
const EXISTS: &str = " already exists";

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(subject) => write!(f, "{SUBJECT}{subject}"),
            Self::Body(text) | Self::Refused(text) => f.write_str(text),
            Self::Address(invalid) => invalid.fmt(f),
            Self::MessageId(id) => write!(f, "{MESSAGE_ID}{id}"),
            Self::NoMailbox(address) => write!(f, "{MAILBOX}{address}{MISSING}"),
            Self::NoMailboxToAcknowledge(address) => write!(f, "{NOT_FOUND}{address}"),
            Self::MailboxExists(address) => write!(f, "{MAILBOX}{address}{EXISTS}"),
        }
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn errors_of_robustmq_are_understood() {
        let table = [
            (
                "mailbox nope does not exist",
                Failure::NoMailbox("nope".into()),
            ),
            (
                "Tenant default topic 'nope' not found in broker cache",
                Failure::NoMailbox("nope".into()),
            ),
            (
                "mailbox not found: nope",
                Failure::NoMailboxToAcknowledge("nope".into()),
            ),
            (
                "mailbox t.inbox already exists",
                Failure::MailboxExists("t.inbox".into()),
            ),
            (
                "unrecognized mq9 subject: $mq9.AI.X",
                Failure::Subject("$mq9.AI.X".into()),
            ),
            ("invalid msg_id: abc", Failure::MessageId("abc".into())),
            (
                "Shard a does not exist",
                Failure::Refused("Shard a does not exist".into()),
            ),
            (
                "mailbox  does not exist",
                Failure::Refused("mailbox  does not exist".into()),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(Failure::from_text(text), expected);
            if !text.starts_with("Tenant") {
                assert_eq!(expected.to_string(), text);
            }
        }
    }
}
