//! WebSocket: any bytes give the same, whole or in two pieces, as a request and as frames.
//!
//! Run: `edge/benches/fuzz.sh 600 websocket`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::certificate::{common_name, validity};
use wire::websocket::{Decoder, Upgrade};

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (cut, bytes) = input;
    let _ = Upgrade::parse(&bytes);
    let _ = common_name(&bytes);
    let _ = validity(&bytes);

    let mut whole = bytes.clone();
    let expected = Decoder::new(1 << 16).decode(&mut whole);

    let mut decoder = Decoder::new(1 << 16);
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let (mut first, mut second) = (first.to_vec(), second.to_vec());
    let found = decoder.decode(&mut first).and_then(|one| {
        let two = decoder.decode(&mut second)?;
        Ok([&first[..one], &second[..two]].concat())
    });
    assert_eq!(found, expected.map(|length| whole[..length].to_vec()));
});
