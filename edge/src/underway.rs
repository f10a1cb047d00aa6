//! What is underway at one connection, whatever it speaks: bytes of the client's that are not yet
//! whole, inputs that the broker has not taken, and bytes that the client has not taken.
//!
//! Nearly all connections have nothing of it nearly all the time, and then it takes a pointer. It
//! knows no limits; who holds it counts it against those of [`crate::memory`].

use std::collections::VecDeque;

use bytes::Bytes;

use crate::broker::Input;
use crate::rare::{Empty, Rare};

/// Bytes and inputs on their way.
#[derive(Debug, Default)]
pub(crate) struct Underway(Rare<Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// The beginning of a packet whose end has not come, or packets that are held back.
    tail: Vec<u8>,
    inputs: VecDeque<Input>,
    outbound: Vec<u8>,
    /// What leaves between bytes of `outbound`, and is not copied before its turn: a large message
    /// for many is in memory once.
    shared: VecDeque<Shared>,
    shared_bytes: usize,
    /// Bytes that the driver is writing.
    taken_bytes: usize,
}

#[derive(Debug)]
struct Shared {
    /// So many bytes of `outbound` leave before it.
    at: usize,
    bytes: Bytes,
}

/// A tail larger than this gives its memory back when it is used up.
const TAIL_BYTES_KEPT: usize = 1024;

/// A queue with room for more inputs than this gives its memory back when it is used up.
const INPUTS_KEPT: usize = 8;

/// A buffer grows to twice its length, but by no more than this or a quarter.
const SPARE_BYTES: usize = 4096;

impl Underway {
    /// Adds an input for the broker.
    pub(crate) fn tell(&mut self, input: Input) {
        self.0.make().inputs.push_back(input);
    }

    /// Adds an input before all that are there.
    pub(crate) fn tell_first(&mut self, input: Input) {
        self.0.make().inputs.push_front(input);
    }

    /// Takes the next input for the broker.
    pub(crate) fn poll(&mut self) -> Option<Input> {
        let inputs = &mut self.0.held()?.inputs;
        let next = inputs.pop_front();
        if inputs.is_empty() && inputs.capacity() > INPUTS_KEPT {
            // Who acknowledged a hundred messages at once would keep as much room as they take.
            *inputs = VecDeque::new();
        }
        next
    }

    /// Keeps only some of the inputs.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&Input) -> bool) {
        if let Some(parts) = self.0.held() {
            parts.inputs.retain(is_kept);
        }
    }

    /// Keeps bytes until more have come.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let tail = &mut self.0.make().tail;
            make_room(tail, bytes.len(), true);
            tail.extend_from_slice(bytes);
        }
    }

    /// Takes what is kept, to be given back by [`Underway::keep_rest`].
    pub(crate) fn take_tail(&mut self) -> Vec<u8> {
        let parts = self.0.held();
        parts.map_or_else(Vec::new, |parts| std::mem::take(&mut parts.tail))
    }

    /// Keeps what is left of a tail, of which so many bytes were used up.
    pub(crate) fn keep_rest(&mut self, mut tail: Vec<u8>, consumed: usize) {
        tail.drain(..consumed);
        let is_worth_it = !tail.is_empty() || tail.capacity() <= TAIL_BYTES_KEPT;
        if is_worth_it && tail.capacity() > 0 {
            self.0.make().tail = tail;
        }
    }

    /// The buffer of what is to be written, to add to it.
    pub(crate) fn outbound(&mut self) -> &mut Vec<u8> {
        &mut self.0.make().outbound
    }

    /// Makes room for so many bytes more to be written, and with `spare` for some of what comes
    /// after them.
    pub(crate) fn make_room(&mut self, bytes: usize, spare: bool) {
        make_room(&mut self.0.make().outbound, bytes, spare);
    }

    /// Adds bytes that others hold as well to what is to be written.
    pub(crate) fn share_outbound(&mut self, bytes: Bytes) {
        let parts = self.0.make();
        parts.shared_bytes += bytes.len();
        let at = parts.outbound.len();
        parts.shared.push_back(Shared { at, bytes });
    }

    /// Takes what is to be written, leaving `empty` (a buffer to use again) in its place, or takes
    /// nothing and lets go of both buffers. Of what is shared no more is copied than fits `most`
    /// bytes; the rest is for the next call. What was taken before has been written.
    pub(crate) fn take_outbound(&mut self, empty: Vec<u8>, most: usize) -> Vec<u8> {
        debug_assert!(
            empty.is_empty(),
            "what is left in place of the bytes holds none"
        );
        let Some(parts) = self.0.held() else {
            return Vec::new();
        };
        // Who has nothing to write holds no buffer.
        let taken = match (parts.outbound.is_empty(), parts.shared.is_empty()) {
            (true, true) => {
                parts.outbound = Vec::new();
                parts.shared = VecDeque::new();
                Vec::new()
            }
            (false, true) => std::mem::replace(&mut parts.outbound, empty),
            (_, false) => parts.take_shared(empty, most),
        };
        parts.taken_bytes = taken.capacity();
        taken
    }

    /// Gives back the memory of what is empty.
    pub(crate) fn let_go(&mut self) {
        self.0.let_go();
        if let Some(parts) = self.0.held() {
            if parts.inputs.is_empty() {
                parts.inputs = VecDeque::new();
            }
            if parts.tail.is_empty() {
                parts.tail = Vec::new();
            }
        }
    }

    /// The next input for the broker.
    pub(crate) fn next(&self) -> Option<&Input> {
        self.0.inputs.front()
    }

    /// Bytes that are kept until more have come.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.0.tail.len()
    }

    /// Bytes that wait to be taken.
    pub(crate) fn outbound_bytes(&self) -> usize {
        self.0.outbound.len() + self.0.shared_bytes
    }

    /// Bytes that are being written.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.0.taken_bytes
    }

    /// What the kept bytes take, and what all that has to leave does: what is shared as if it were
    /// not, since the others may let go of it.
    pub(crate) fn held_bytes(&self) -> (usize, usize) {
        let parts = &*self.0;
        let shared = parts.shared_bytes + parts.shared.capacity() * size_of::<Shared>();
        let outbound = parts.outbound.capacity() + parts.taken_bytes;
        (parts.tail.capacity(), outbound + shared)
    }
}

impl Parts {
    /// Takes bytes in their order, until there are `most` or all that is shared is taken.
    fn take_shared(&mut self, mut taken: Vec<u8>, most: usize) -> Vec<u8> {
        let mut at = 0;
        while let Some(next) = self.shared.front_mut() {
            taken.extend_from_slice(&self.outbound[at..next.at]);
            at = next.at;
            let room = most.saturating_sub(taken.len()).min(next.bytes.len());
            taken.extend_from_slice(&next.bytes.split_to(room));
            self.shared_bytes -= room;
            if !next.bytes.is_empty() {
                break;
            }
            self.shared.pop_front();
        }
        self.outbound.drain(..at);
        for later in &mut self.shared {
            later.at -= at;
        }
        taken
    }
}

fn make_room(buffer: &mut Vec<u8>, bytes: usize, spare: bool) {
    if buffer.capacity() - buffer.len() < bytes {
        let length = buffer.len();
        let more = (length / 4).max(length.min(SPARE_BYTES));
        buffer.reserve_exact(bytes + if spare { more } else { 0 });
    }
}

impl Empty for Parts {
    const EMPTY: &'static Self = &Self {
        tail: Vec::new(),
        inputs: VecDeque::new(),
        outbound: Vec::new(),
        shared: VecDeque::new(),
        shared_bytes: 0,
        taken_bytes: 0,
    };

    fn is_empty(&self) -> bool {
        self.tail.is_empty()
            && self.inputs.is_empty()
            && self.outbound.is_empty()
            && self.shared.is_empty()
            && self.taken_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ConnectionId;

    const MOST: usize = 100;
    const LOST: Input = Input::Lost {
        connection: ConnectionId {
            index: 1,
            generation: 2,
        },
    };

    /// Two thousand clients that once took a hundred messages each at QoS 2 held 30 MB of nothing.
    #[test]
    fn a_client_that_said_much_at_once_keeps_no_room_for_as_much_again() {
        let mut underway = Underway::default();
        for _ in 0..100 {
            underway.tell(LOST);
        }
        while underway.poll().is_some() {}
        assert!(underway.0.inputs.capacity() <= INPUTS_KEPT);
    }

    #[test]
    fn a_connection_with_nothing_underway_holds_a_pointer() {
        let mut underway = Underway::default();
        assert_eq!(size_of_val(&underway), size_of::<usize>());
        underway.keep(&[]);
        assert!(underway.take_tail().is_empty());
        underway.keep_rest(Vec::new(), 0);
        assert_eq!(
            underway
                .take_outbound(Vec::with_capacity(9), MOST)
                .capacity(),
            0
        );
        assert!(underway.poll().is_none() && underway.0.held().is_none());

        underway.tell(LOST);
        underway.keep(b"abc");
        underway.outbound().extend_from_slice(b"def");
        underway.let_go();
        assert!(underway.poll().is_some());
        let tail = underway.take_tail();
        underway.keep_rest(tail, 2);
        underway.let_go();
        assert_eq!((underway.tail_bytes(), underway.outbound_bytes()), (1, 3));
        let tail = underway.take_tail();
        underway.keep_rest(tail, 1);
        let taken = underway.take_outbound(Vec::new(), MOST);
        underway.let_go();
        assert_eq!(
            underway.held_bytes(),
            (0, taken.capacity()),
            "being written"
        );
        underway.take_outbound(taken.into_iter().take(0).collect(), MOST);
        underway.let_go();
        assert!(underway.0.held().is_none());
    }

    #[test]
    fn a_large_tail_is_not_kept_when_it_is_used_up() {
        let mut underway = Underway::default();
        for (bytes, kept) in [(10, true), (2000, false)] {
            underway.keep(&vec![0; bytes]);
            let tail = underway.take_tail();
            underway.keep_rest(tail, bytes);
            assert_eq!(underway.held_bytes().0 > 0, kept);
        }
    }

    #[test]
    fn what_is_shared_leaves_in_its_place_and_in_pieces() {
        let message = Bytes::from(vec![b'm'; 25]);
        for most in [1, 7, 10, 36, 1000] {
            let mut underway = Underway::default();
            underway.outbound().extend_from_slice(b"head");
            underway.share_outbound(message.clone());
            underway.outbound().extend_from_slice(b"between");
            underway.share_outbound(message.clone());
            underway.outbound().extend_from_slice(b"end");
            assert_eq!(underway.outbound_bytes(), 64);
            let (mut all, mut buffer) = (Vec::new(), Vec::new());
            loop {
                let left = underway.outbound_bytes();
                buffer = underway.take_outbound(buffer, most);
                if buffer.is_empty() {
                    break;
                }
                assert!(buffer.len() <= most + b"between".len());
                assert_eq!(underway.outbound_bytes() + buffer.len(), left);
                all.append(&mut buffer);
            }
            let expected = [b"head", &message[..], b"between", &message, b"end"].concat();
            assert_eq!(all, expected, "{most}");
            underway.let_go();
            assert_eq!(underway.held_bytes(), (0, 0));
        }
    }
}
