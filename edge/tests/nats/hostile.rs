//! Whatever bytes come, nothing panics and nothing is held when the link is gone.

use edge::{broker, nats};

use super::world::{HELLO, World};

/// What clients may say, some of it wrong.
const LINES: [&[u8]; 24] = [
    b"PING\r\n",
    b"PONG\r\n",
    b"SUB a.> 1\r\n",
    b"SUB a.* q 2\r\n",
    b"SUB a.b q 3\r\n",
    b"SUB a.b 1\r\n",
    b"SUB > 4\r\n",
    b"SUB _INBOX.x.* 5\r\n",
    b"UNSUB 1\r\n",
    b"UNSUB 2 3\r\n",
    b"UNSUB 4 1\r\n",
    b"UNSUB 9\r\n",
    b"PUB a.b 2\r\nhi\r\n",
    b"PUB a.b _INBOX.x.1 2\r\nhi\r\n",
    b"PUB none _INBOX.x.1 0\r\n\r\n",
    b"PUB $JS.API.INFO _INBOX.x.1 0\r\n\r\n",
    b"HPUB a.b 22 24\r\nNATS/1.0\r\nA: 1\r\n b\r\n\r\nhi\r\n",
    b"HPUB a.b r 20 22\r\nNATS/1.0\r\nA: \xFF\r\n\r\n\r\nhi\r\n",
    b"PUB a..b 2\r\nhi\r\n",
    b"PUB a/b 2\r\nhi\r\n",
    b"SUB a/b 6\r\n",
    b"CONNECT {}\r\n",
    b"PUB a 9999999\r\n",
    b"\r\n",
];

/// A generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn random_operations_in_random_pieces_leave_nothing_behind() {
    for seed in 1..=300 {
        let mut numbers = Numbers(seed * 0x9E37_79B9_7F4A);
        let settings = nats::Settings {
            outbound_bytes_maximum: 2_000,
            ..nats::Settings::default()
        };
        let memory = settings.memory.clone();
        let mut world = World::with(broker::Settings::default(), settings);
        let clients: Vec<usize> = (0..3).map(|_| world.join_saying(HELLO)).collect();
        for _ in 0..60 {
            let client = clients[numbers.below(clients.len())];
            let mut bytes = Vec::new();
            for _ in 0..=numbers.below(4) {
                bytes
                    .extend_from_slice(LINES[numbers.below(LINES.len() - 3 * (seed % 2) as usize)]);
            }
            if numbers.below(20) == 0 {
                let at = numbers.below(bytes.len());
                bytes[at] = u8::try_from(numbers.below(256)).unwrap();
            }
            let split = numbers.below(bytes.len());
            world.send(client, &bytes[..split]);
            world.send(client, &bytes[split..]);
            world.set_reading(client, numbers.below(8) > 0);
            if numbers.below(30) == 0 {
                world.pass(130);
            }
        }
        for client in clients {
            world.cut(client);
        }
        assert_eq!(world.broker.session_count(), 0, "{seed}");
        assert_eq!(world.broker.group_count(), 0, "{seed}");
        assert!(memory.is_empty(), "{seed}: {memory:?}");
        assert!(world.changes.is_empty(), "{seed}");
    }
}
