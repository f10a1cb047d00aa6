//! Any subject, headers and body are decided without panic; what is a request means the same after
//! it has travelled, and any bytes are an answer or none.
//!
//! Run: `edge/benches/fuzz.sh 600 mq9`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::mq9::{Kind, PayloadEncoding, Reply, Request};

fuzz_target!(|input: (u8, &str, &[u8], &[u8])| {
    let (choice, rest, headers, body) = input;
    let kind = Kind::ALL[usize::from(choice) % Kind::ALL.len()];
    let subject = format!("$mq9.AI.{}{rest}", kind.command());
    match Request::decode(&subject, headers, body) {
        Ok(request) => {
            // Agents are known by name and one text to the other side, so that one is wrapped.
            let subject = request.subject();
            let again = Request::decode(&subject, &request.headers(), &request.body());
            let again = again.unwrap_or_else(|failure| panic!("{request:?}: {failure}"));
            assert_eq!(again.kind(), kind);
            assert_eq!(again.address(), request.address());
            if let (Request::Send(one), Request::Send(other)) = (&request, &again) {
                assert_eq!(one.payload, other.payload);
                if std::str::from_utf8(headers).is_ok() {
                    assert_eq!(one.attributes, other.attributes);
                }
            }
        }
        Err(failure) => {
            let mut answer = Vec::new();
            Reply::Failed(failure).encode(&mut answer);
            assert!(matches!(Reply::decode(kind, &answer), Ok(Reply::Failed(_))));
        }
    }
    if let Ok(reply) = Reply::decode(kind, body) {
        use_up(kind, &reply);
    }
});

fn use_up(kind: Kind, reply: &Reply) {
    let mut answer = Vec::new();
    reply.encode(&mut answer);
    let again = Reply::decode(kind, &answer).expect("what was encoded is an answer");
    match (reply, again) {
        // Their fields go through the form that this side shows.
        (Reply::Agents(agents), Reply::Agents(again)) => {
            let bound = agents.iter().map(wire::mq9::Agent::encoded_bytes_at_most);
            assert!(answer.len() <= bound.sum::<usize>() + 32);
            assert!(again.len() <= agents.len());
        }
        (Reply::Messages { messages, encoding }, again) => {
            let bytes = |message: &wire::mq9::Message| message.encoded_bytes(*encoding);
            let told: usize = messages.iter().map(bytes).sum();
            assert!(answer.len() <= told + Reply::MESSAGES_BYTES);
            assert_eq!(*encoding, PayloadEncoding::Base64);
            assert_eq!(&again, reply);
        }
        (_, again) => assert_eq!(&again, reply),
    }
}
