//! Mailboxes of the cloud on their way down.
