//! Any bytes, read as a server reads a client, are decided without panic, alike however they arrive,
//! and what is an operation comes back as it was.
//!
//! Run: `edge/benches/fuzz.sh 600 nats_server`
#![no_main]

mod alike;

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
    let more = [bytes, b"\n"].concat();
    let operation = alike::decide(
        &more,
        |bytes| operation_bytes(bytes, Sender::Client, LIMITS),
        |bytes| ClientOperation::decode(bytes, LIMITS),
    );
    if let Some(operation) = operation {
        use_up(&operation);
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
