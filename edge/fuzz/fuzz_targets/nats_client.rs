//! Any bytes, read as a client reads a server, are decided without panic, alike however they arrive,
//! and what is an operation comes back as it was.
//!
//! Run: `edge/benches/fuzz.sh 600 nats_client`
#![no_main]

mod alike;

use libfuzzer_sys::fuzz_target;
use wire::nats::{Headers, Limits, Sender, ServerOperation, operation_bytes};

/// Small enough to be reached.
const LIMITS: &Limits = &Limits {
    control_line_bytes: 256,
    headers_bytes: 64,
    message_bytes: 128,
};

fuzz_target!(|bytes: &[u8]| {
    let more = [bytes, b"\n"].concat();
    let operation = alike::decide(
        &more,
        |bytes| operation_bytes(bytes, Sender::Server, LIMITS),
        |bytes| ServerOperation::decode(bytes, LIMITS),
    );
    if let Some(operation) = operation {
        use_up(&operation);
    }
});

fn use_up(operation: &ServerOperation<'_>) {
    let mut encoded = Vec::new();
    let length = operation
        .encode(&mut encoded)
        .expect("a decoded operation is valid");
    assert_eq!(length, encoded.len());
    // INFO may be longer when every field is written.
    let again = ServerOperation::decode(&encoded, &Limits::FROM_SERVER);
    assert_eq!(again, Ok(Some((operation.clone(), length))));
    match operation {
        ServerOperation::Message(message) => {
            if let Ok(headers) = Headers::parse(message.headers) {
                let _ = format!("{:?} {}", headers.status(), headers.fields().count());
            }
        }
        ServerOperation::Err(error) => {
            let _ = format!("{error} {}", error.closes_connection());
        }
        other => {
            let _ = format!("{other:?}");
        }
    }
}
