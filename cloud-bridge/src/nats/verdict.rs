//! What an answer means for the request: one table of RobustMQ's words.

use wire::mq9::{Failure, InvalidReply, Reply};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done; with the id that a message got, where it got one.
    Done {
        /// Of the message.
        id: Option<u64>,
    },
    /// There is no such mailbox, or not yet.
    Missing,
    /// Not now; in the server's words.
    Refused(String),
    /// Never: the fault is in the request itself; in the server's words.
    Rejected(String),
}

/// How the words begin that never change, however often they are asked.
const PERMANENT: [&str; 8] = [
    // Of CREATE.
    "name may only contain",
    "prefix must",
    "invalid mail_address",
    // Of AGENT.
    "invalid AGENT.",
    "payload must not be empty",
    "agent_info must not be empty",
    "agent name must not be empty",
    // Of all.
    "unrecognized mq9 subject",
];

/// Decides what an answer means. Whatever is not known to be permanent may pass: a quota is
/// raised, a leader elected, a right granted.
pub(super) fn verdict(reply: Result<Reply, InvalidReply>) -> Verdict {
    match reply {
        Ok(Reply::Failed(failure)) => of_failure(&failure),
        Ok(Reply::Sent { id }) => Verdict::Done { id },
        Ok(_) => Verdict::Done { id: None },
        // Of a message that is kept nobody has to know the id.
        Err(InvalidReply::Missing { .. }) => Verdict::Done { id: None },
        Err(error) => Verdict::Refused(error.to_string()),
    }
}

/// Decides what a failure means.
fn of_failure(failure: &Failure) -> Verdict {
    let text = failure.to_string();
    match failure {
        Failure::NoMailbox(_) | Failure::NoMailboxToAcknowledge(_) => Verdict::Missing,
        // It is there, which is what was asked for.
        Failure::MailboxExists(_) => Verdict::Done { id: None },
        _ if PERMANENT.iter().any(|words| text.starts_with(words)) => Verdict::Rejected(text),
        _ => Verdict::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use wire::mq9::Kind;

    use super::*;

    fn verdict(kind: Kind, payload: &[u8]) -> Verdict {
        super::verdict(Reply::decode(kind, payload))
    }

    #[test]
    fn answers_mean_what_they_say() {
        let refused = |text: &str| Verdict::Refused(text.to_owned());
        let rejected = |text: &str| Verdict::Rejected(text.to_owned());
        let grpc = "Grpc call of the node failed,Grpc status was Internal error";
        let table = [
            (
                Kind::Send,
                r#"{"error":"","msg_id":7}"#,
                Verdict::Done { id: Some(7) },
            ),
            (
                Kind::Send,
                r#"{"error":"","msg_id":-1}"#,
                Verdict::Done { id: None },
            ),
            (Kind::Send, r#"{"error":""}"#, Verdict::Done { id: None }),
            (
                Kind::Send,
                r#"{"error":"mailbox a.b does not exist"}"#,
                Verdict::Missing,
            ),
            (
                Kind::Fetch,
                r#"{"error":"Tenant default topic 'a' not found in broker cache"}"#,
                Verdict::Missing,
            ),
            (
                Kind::Send,
                r#"{"error":"write to mailbox a failed: no offset returned"}"#,
                refused("write to mailbox a failed: no offset returned"),
            ),
            (
                Kind::Create,
                r#"{"error":"","mail_address":"a"}"#,
                Verdict::Done { id: None },
            ),
            (
                Kind::Create,
                r#"{"error":"mailbox a already exists"}"#,
                Verdict::Done { id: None },
            ),
            (
                Kind::Create,
                r#"{"error":"name may only contain lowercase letters, digits, and dots"}"#,
                rejected("name may only contain lowercase letters, digits, and dots"),
            ),
            (
                Kind::Create,
                r#"{"error":"Timeout waiting for topic 'a' to be created after 5 seconds"}"#,
                refused("Timeout waiting for topic 'a' to be created after 5 seconds"),
            ),
            (
                Kind::Register,
                r#"{"error":""}"#,
                Verdict::Done { id: None },
            ),
            (
                Kind::Register,
                r#"{"error":"invalid AGENT.REGISTER payload: EOF"}"#,
                rejected("invalid AGENT.REGISTER payload: EOF"),
            ),
            (
                Kind::Unregister,
                r#"{"error":"agent name must not be empty"}"#,
                rejected("agent name must not be empty"),
            ),
        ];
        for (kind, reply, expected) in table {
            assert_eq!(verdict(kind, reply.as_bytes()), expected, "{reply}");
        }
        let reply = format!(r#"{{"error":"{grpc}"}}"#);
        assert_eq!(verdict(Kind::Register, reply.as_bytes()), refused(grpc));
        assert!(matches!(verdict(Kind::Send, b"OK"), Verdict::Refused(_)));
    }
}
