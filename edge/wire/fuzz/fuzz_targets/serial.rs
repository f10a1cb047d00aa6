//! Whatever a serial line brings is decided without panic, frame by frame, and what was taken for
//! a packet comes back from a line of its own; the first byte chooses the limit.
//!
//! Run from `edge/wire`: `RUSTC_BOOTSTRAP=1 cargo fuzz run serial`
#![no_main]

use embedded_io::Write as _;
use libfuzzer_sys::fuzz_target;
use wire::serial::{CHECKSUM_BYTES, Decoder, Encoder, Frame};

fuzz_target!(|input: &[u8]| {
    let Some((&limit, line)) = input.split_first() else {
        return;
    };
    let limit = 4 * usize::from(limit);
    let mut decoder = Decoder::new(vec![0; limit]);
    let mut packets = Vec::new();
    for (at, &byte) in line.iter().enumerate() {
        let found = decoder.push(byte);
        // A frame ends with a zero, and only there.
        let may_end = byte == 0 && at > 0 && line[at - 1] != 0;
        assert!(found.is_none() || may_end);
        match found {
            Some(Ok(Frame::Packet(packet))) => {
                assert!(packet.len() + CHECKSUM_BYTES <= limit);
                packets.push(packet.to_vec());
            }
            Some(Err(damage)) => drop(format!("{damage}")),
            Some(Ok(Frame::End)) | None => {}
        }
    }
    let mut encoder = Encoder::new(Vec::new());
    for slice in packets.concat().chunks(7) {
        encoder.write_all(slice).expect("a vector takes all");
    }
    // Ends what the input left unfinished.
    let _ = decoder.push(0);
    let mut again = packets.iter();
    for &byte in encoder.sink() {
        if let Some(frame) = decoder.push(byte) {
            assert_eq!(
                Some(frame),
                again.next().map(|packet| Ok(Frame::Packet(packet)))
            );
        }
    }
    assert_eq!(again.next(), None);
});
