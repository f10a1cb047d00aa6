//! Any bytes, read as a server reads a client, are decided without panic, alike however they arrive,
//! and what is an operation comes back as it was.
//!
//! Run from `edge/wire`: `RUSTC_BOOTSTRAP=1 cargo fuzz run nats_server`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::nats::{ClientOperation, Headers, Limits, Sender, operation_bytes};
use wire::subject::{Subject, SubjectFilter};

/// Small enough to be reached.
const LIMITS: &Limits = &Limits {
    control_line_bytes: 256,
    headers_bytes: 64,
    message_bytes: 128,
};

fuzz_target!(|bytes: &[u8]| {
    let needed = operation_bytes(bytes, Sender::Client, LIMITS);
    match ClientOperation::decode(bytes, LIMITS) {
        Ok(Some((operation, length))) => {
            assert_eq!(needed, Ok(Some(length)));
            assert_eq!(
                ClientOperation::decode(&bytes[..length - 1], LIMITS),
                Ok(None)
            );
            use_up(&operation);
        }
        Ok(None) => assert!(!matches!(needed, Ok(Some(length)) if length <= bytes.len())),
        Err(error) => {
            let _ = format!("{error} {}", error.answer());
            // More bytes never make an error good.
            let mut more = bytes.to_vec();
            more.push(b'\n');
            assert_eq!(ClientOperation::decode(&more, LIMITS), Err(error));
        }
    }
});

fn use_up(operation: &ClientOperation<'_>) {
    let mut encoded = Vec::new();
    let length = operation
        .encode(&mut encoded)
        .expect("a decoded operation is valid");
    assert_eq!(length, encoded.len());
    // CONNECT may be longer when every field is written.
    let again = ClientOperation::decode(&encoded, &Limits::FROM_SERVER);
    assert_eq!(again, Ok(Some((operation.clone(), length))));
    match operation {
        ClientOperation::Publish(publish) => {
            let _ = Subject::new(publish.subject);
            if let Ok(headers) = Headers::parse(publish.headers) {
                for (name, value) in headers.fields() {
                    assert!(headers.values(name).any(|found| found == value));
                }
            }
        }
        ClientOperation::Subscribe(subscribe) => {
            let _ = SubjectFilter::new(subscribe.subject);
        }
        other => {
            let _ = format!("{other:?}");
        }
    }
}
