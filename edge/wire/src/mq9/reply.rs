//! Replies as a server writes them: all fields of a success, nothing but the error of a failure.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::json::{
    Object, base64_bytes, lossy_bytes, number_bytes, write_array, write_base64, write_lossy,
    write_number,
};
use super::{Message, PayloadEncoding, Reply};

impl Reply {
    /// Appends the JSON document of this reply, on one line.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let mut reply = Object::new(into);
        if let Self::Failed(failure) = self {
            reply.text("error", &failure.to_string());
            return reply.end();
        }
        reply.text("error", "");
        match self {
            Self::Created { address } => reply.text("mail_address", address),
            Self::Sent { id: Some(id) } => reply.number("msg_id", *id),
            Self::Sent { id: None } => reply.raw("msg_id", "-1"),
            Self::Messages { messages, encoding } => {
                let into = reply.field("messages");
                write_array(messages, into, |message, into| {
                    message.encode(*encoding, into)
                });
            }
            Self::Deleted { was_there } => reply.raw("deleted", &format!("{was_there}")),
            Self::Agents(agents) => {
                let into = reply.field("agents");
                write_array(agents, into, |agent, into| agent.encode(into));
            }
            Self::Done | Self::Failed(_) => {}
        }
        reply.end();
    }
}

impl Message {
    /// Tells exactly how many bytes this message takes in a reply, with the comma before it. The
    /// reply around its messages takes less than [`Reply::MESSAGES_BYTES`].
    #[must_use]
    pub fn encoded_bytes(&self, encoding: PayloadEncoding) -> usize {
        let payload_base64 = base64_bytes(&self.payload);
        let payload = match encoding {
            PayloadEncoding::Base64 => payload_base64,
            PayloadEncoding::Utf8 => lossy_bytes(&self.payload),
        };
        let digits = |byte: &u8| number_bytes(u64::from(*byte)) + 1;
        let header = match self.headers.as_slice() {
            [] => NULL.len(),
            bytes => bytes.iter().map(digits).sum::<usize>() + 1,
        };
        FRAME.len()
            + number_bytes(self.id)
            + number_bytes(self.time)
            + self.priority.name().len()
            + payload
            + payload_base64
            + header
    }

    fn encode(&self, encoding: PayloadEncoding, into: &mut Vec<u8>) {
        let mut item = Object::new(into);
        item.number("msg_id", self.id);
        match encoding {
            PayloadEncoding::Base64 => write_base64(&self.payload, item.field("payload")),
            PayloadEncoding::Utf8 => write_lossy(&self.payload, item.field("payload")),
        }
        item.text("priority", self.priority.name());
        match self.headers.as_slice() {
            [] => item.raw("header", NULL),
            bytes => write_array(bytes, item.field("header"), |byte, into| {
                write_number(u64::from(*byte), into);
            }),
        }
        item.number("create_time", self.time);
        write_base64(&self.payload, item.field("payload_b64"));
        item.end();
    }
}

impl Reply {
    /// What a reply with messages takes besides them, at most.
    pub const MESSAGES_BYTES: usize = 32;
}

const _: () = assert!(r#"{"error":"","messages":[]}"#.len() < Reply::MESSAGES_BYTES);

const NULL: &str = "null";

/// What surrounds the values of a message.
const FRAME: &str = concat!(
    r#",{"msg_id":,"payload":,"priority":"","header":,"create_time":,"#,
    r#""payload_b64":}"#
);
