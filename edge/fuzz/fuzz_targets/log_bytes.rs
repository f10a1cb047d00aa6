//! Bytes as they lie in the files of a log. Any bytes in the place of a journal's frames or of a
//! segment's blocks, under checksums that match, are decided without panic, and no more comes out
//! of them than a stated multiple; and whatever records are stored come back bit for bit from a
//! frame, from a block, and from a block that redb can't be asked for.
//!
//! Run: `edge/benches/fuzz.sh 600 log_bytes`
#![no_main]

#[path = "../../tests/log_parts/mod.rs"]
mod log_parts;

use edge::log::directory::Directory;
use edge::log::simulated::SimulatedFolder;
use edge::log::{Batch, Budget, Opened, Reader, Settings, open};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sync::{Change, Lane, Offset, Record, RecordParts, WallTime};

use crate::log_parts::{contain_panics_quietly, contents, record_of, replace};

fuzz_target!(|input: Input<'_>| {
    contain_panics_quietly();
    match input {
        Input::Journal { frames } => read_frames(&frames),
        Input::Segment { blocks } => read_blocks(&blocks),
        Input::Records { groups } => store_and_read(&groups),
    }
});

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Journal { frames: Vec<Frame<'a>> },
    Segment { blocks: Vec<Block<'a>> },
    Records { groups: Vec<Vec<Parts<'a>>> },
}

/// The body of a frame, and what its header says.
#[derive(Arbitrary, Debug)]
struct Frame<'a> {
    /// `None` for as many as there are.
    change_count: Option<u8>,
    first: [u16; 3],
    next: [u16; 3],
    /// A bit of the frame that is another one in the file.
    flip: Option<u16>,
    body: Vec<Piece<'a>>,
}

/// The body of a block, and what its header says.
#[derive(Arbitrary, Debug)]
struct Block<'a> {
    first: u16,
    count: Option<u8>,
    mark: bool,
    flip: Option<u16>,
    body: Vec<Piece<'a>>,
}

/// What bodies are made of: what a writer writes, or nearly so, or anything.
#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Whole {
        lane: u8,
        /// `None` for that of the record.
        length: Option<u16>,
        topic: u8,
        payload: u16,
    },
    Reference {
        lane: u8,
        number: u8,
        time: u64,
        length: Option<u64>,
        payload: u8,
    },
    Put {
        table: u8,
        key_length: u16,
        value_length: u32,
        bytes: &'a [u8],
    },
    Bytes(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
struct Parts<'a> {
    lane: u8,
    qos: u8,
    flags: u8,
    time: u64,
    expiry_seconds: Option<u32>,
    publisher: u8,
    topic: &'a str,
    properties: &'a [u8],
    payload: &'a [u8],
    /// How many of them, each a little later.
    count: u8,
}

fn read_frames(frames: &[Frame<'_>]) {
    let mut journal = vec![0; JOURNAL_BYTES];
    journal[..36].copy_from_slice(&journal_header());
    let mut at = PAGE;
    for (sequence, frame) in frames.iter().enumerate() {
        let bytes = frame_bytes(frame, sequence as u64);
        let Some(place) = journal.get_mut(at..at + bytes.len()) else {
            break;
        };
        place.copy_from_slice(&bytes);
        at += bytes.len();
    }
    let folder = SimulatedFolder::new();
    replace(&folder, "journal", &journal);
    let mut log = start(&folder);
    // A frame is at most four times as long once decoded.
    assert!(total(&read_all(&mut log.reader)) <= 4 * at);
}

fn read_blocks(blocks: &[Block<'_>]) {
    let file: Vec<u8> = blocks.iter().flat_map(block_bytes).collect();
    let folder = SimulatedFolder::new();
    replace(&folder, SEGMENT, &file);
    let mut log = start(&folder);
    // A block is at most sixteen times as long once decoded, and every one is read once.
    assert!(total(&read_all(&mut log.reader)) <= 16 * file.len());
}

fn store_and_read(groups: &[Vec<Parts<'_>>]) {
    let folder = SimulatedFolder::new();
    let mut log = start(&folder);
    let mut stored = Vec::new();
    for group in groups.iter().take(GROUPS) {
        let records: Vec<(Lane, Record)> = group.iter().take(GROUPS).flat_map(records_of).collect();
        let append = |(lane, record): &(Lane, Record)| Change::Append {
            lane: *lane,
            record: record.clone(),
        };
        let changes = records.iter().map(append).collect();
        if log.writer.commit(&Batch { changes }, WALL).is_ok() {
            stored.extend(records);
        }
    }
    stored.sort_by_key(|(lane, _)| *lane);
    for place in ["a frame", "a block"] {
        drop(log);
        log = start(&folder);
        assert_eq!(read_all(&mut log.reader), stored, "from {place}");
    }
    // Only the journal and the segments are left, and redb can't open these.
    log.writer.close().expect("the disk works");
    for name in folder.names().expect("the disk works") {
        let mut file = contents(&folder, &name);
        match name.ends_with("0.redb") {
            true => file[..64].fill(0),
            false => file.clear(),
        }
        replace(&folder, &name, &file);
    }
    let mut log = start(&folder);
    assert_eq!(
        read_all(&mut log.reader),
        stored,
        "from a block that is searched for"
    );
}

fn records_of(parts: &Parts<'_>) -> Vec<(Lane, Record)> {
    let lane = Lane::ALL[usize::from(parts.lane) % Lane::ALL.len()];
    let record = |number: u8| {
        Record::new(&RecordParts {
            qos: parts.qos % 3,
            retain: parts.flags & 1 > 0,
            from_cloud: parts.flags & 2 > 0,
            time: WallTime(parts.time.wrapping_add(u64::from(number))),
            expiry_seconds: parts.expiry_seconds,
            publisher: parts.publisher.into(),
            topic: parts.topic,
            properties: parts.properties,
            payload: parts.payload,
        })
    };
    (0..=parts.count % 16)
        .map(|number| (lane, record(number)))
        .collect()
}

fn start(folder: &SimulatedFolder) -> Opened {
    let settings = Settings {
        journal_bytes: JOURNAL_BYTES as u64,
        cache_bytes: 256 << 10,
        salt: SALT,
        ..Settings::default()
    };
    open(folder.directory(), settings, WALL).expect("a log starts, whatever is in its files")
}

fn read_all(reader: &mut Reader) -> Vec<(Lane, Record)> {
    let mut all = Vec::new();
    for lane in Lane::ALL {
        let mut at = Offset(0);
        while at < reader.head(lane) {
            let chunk = reader.read(lane, at, BUDGET).expect("the disk works");
            assert!(chunk.next > at, "{lane}: no way past {at}");
            at = chunk.next;
            all.extend(chunk.records.into_iter().map(|(_, record)| (lane, record)));
        }
    }
    all
}

fn total(records: &[(Lane, Record)]) -> usize {
    records
        .iter()
        .map(|(_, record)| record.as_bytes().len())
        .sum()
}

fn journal_header() -> [u8; 36] {
    let mut header = [0; 36];
    header[..6].copy_from_slice(b"RMQJ\x03\0");
    header[8..16].copy_from_slice(&SALT.to_le_bytes());
    header[16..20].copy_from_slice(&EPOCH.to_le_bytes());
    header[24..32].copy_from_slice(&(JOURNAL_BYTES as u64).to_le_bytes());
    let crc = crc32c::crc32c(&header[..32]);
    header[32..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn frame_bytes(frame: &Frame<'_>, sequence: u64) -> Vec<u8> {
    let body: Vec<u8> = frame.body.iter().flat_map(|it| piece(it, true)).collect();
    let change_count = frame.change_count.unwrap_or(frame.body.len() as u8);
    let mut bytes = vec![0; FRAME_HEADER];
    bytes[..6].copy_from_slice(b"RMQF\x03\0");
    bytes[8..16].copy_from_slice(&SALT.to_le_bytes());
    bytes[16..20].copy_from_slice(&EPOCH.to_le_bytes());
    bytes[20] = change_count;
    bytes[24..32].copy_from_slice(&sequence.to_le_bytes());
    for (at, offset) in (40..).step_by(8).zip(frame.first.iter().chain(&frame.next)) {
        bytes[at..at + 2].copy_from_slice(&offset.to_le_bytes());
    }
    bytes[88..92].copy_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..92]);
    bytes[92..96].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..96]), &body);
    bytes[96..].copy_from_slice(&crc.to_le_bytes());
    let header = bytes.clone();
    bytes.extend_from_slice(&body);
    let padded = (bytes.len() + FRAME_HEADER).next_multiple_of(PAGE);
    bytes.resize(padded - FRAME_HEADER, 0);
    bytes.extend_from_slice(&header);
    flip(bytes, frame.flip)
}

fn block_bytes(block: &Block<'_>) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_HEADER];
    bytes[..2].copy_from_slice(&[3, Lane::Normal as u8]);
    bytes[8..10].copy_from_slice(&block.first.to_le_bytes());
    bytes[16] = block.count.unwrap_or(block.body.len() as u8);
    bytes[20] = block.mark.into();
    bytes.extend(block.body.iter().flat_map(|it| piece(it, false)));
    let length = bytes.len() as u32;
    bytes[40..44].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    flip(bytes, block.flip)
}

/// A piece of a body; in a frame, behind the kind of its change.
fn piece(piece: &Piece<'_>, is_in_frame: bool) -> Vec<u8> {
    let kind = |lane: u8| is_in_frame.then_some(16 + lane % 4);
    let mut bytes = Vec::new();
    match piece {
        Piece::Whole {
            lane,
            length,
            topic,
            payload,
        } => {
            let payload = vec![*topic; usize::from(*payload) % 6000];
            let topic = "t".repeat((*topic).into());
            let record = record_of(&topic, WALL, &payload);
            let length = length.map_or(record.as_bytes().len() as u64, u64::from);
            bytes.extend(kind(*lane));
            put(&mut bytes, 0);
            put(&mut bytes, length);
            bytes.extend_from_slice(record.as_bytes());
        }
        Piece::Reference {
            lane,
            number,
            time,
            length,
            payload,
        } => {
            bytes.extend(kind(*lane));
            put(&mut bytes, 1 + u64::from(*number % 8));
            put(&mut bytes, *time);
            put(&mut bytes, length.unwrap_or((*payload).into()));
            bytes.resize(bytes.len() + usize::from(*payload), *payload);
        }
        Piece::Put {
            table,
            key_length,
            value_length,
            bytes: rest,
        } => {
            bytes.extend([2, *table]);
            bytes.extend(key_length.to_le_bytes());
            bytes.extend(value_length.to_le_bytes());
            bytes.extend_from_slice(rest);
        }
        Piece::Bytes(any) => bytes.extend_from_slice(any),
    }
    bytes
}

/// Seven bits a byte, the lowest first.
fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn flip(mut bytes: Vec<u8>, at: Option<u16>) -> Vec<u8> {
    if let Some(at) = at {
        let at = usize::from(at) % (bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
    }
    bytes
}

const SEGMENT: &str = "normal-00000000000000000000.redb";
const WALL: WallTime = WallTime(1_000_000);
const SALT: u64 = 7;
const EPOCH: u32 = 1000;
const JOURNAL_BYTES: usize = 64 << 10;
const PAGE: usize = 4096;
const FRAME_HEADER: usize = 100;
const BLOCK_HEADER: usize = 44;
const GROUPS: usize = 8;
const BUDGET: Budget = Budget {
    records: 1000,
    bytes: 1 << 20,
};
