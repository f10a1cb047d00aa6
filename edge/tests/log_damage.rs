//! Bytes of a segment as a failing medium changes them, anywhere in the file.

use edge::log::directory::Directory;
use edge::log::simulated::SimulatedFolder;
use edge::log::{Batch, Budget, Opened, Reader, Settings, Writer, open};
use sync::{Change, Lane, Offset, Record, RecordParts, WallTime};

/// redb panicked on one damaged page in six: one bad sector, and no reader that came by lived.
/// Now whatever a page says, the rest of the lane is read, and what is missing is written down.
#[test]
fn a_damaged_page_is_a_gap_and_not_the_end() {
    let folder = SimulatedFolder::new();
    let mut log = reopen(&folder);
    fill(&mut log.writer, &mut log.reader, RECORDS);
    log.writer.close().unwrap();
    let mut names = folder.names().unwrap();
    names.retain(|name| name.starts_with("normal-"));
    names.sort();
    let name = names[0].clone();
    let pages = folder.open(&name).unwrap().len().unwrap() / 4096;
    let mut damaged = 0;
    // The heads of pages: the flags of the file, the kinds and lengths of nodes.
    for page in 0..pages {
        let at = page * 4096 + [0, 2, 4, 9, 17][page as usize % 5];
        folder.flip(&name, at);
        let mut log = reopen(&folder);
        let (read, missing) = read_all(&mut log.reader);
        assert!(read + missing >= RECORDS, "byte {at}: {read} and {missing}");
        damaged += u64::from(missing > 0);
        drop(log);
        folder.flip(&name, at);
    }
    assert!(damaged > 5, "{damaged} of {pages} pages were missed");
    let (read, missing) = read_all(&mut reopen(&folder).reader);
    assert_eq!((read, missing), (RECORDS, 0), "nothing was made worse");
}

fn reopen(folder: &SimulatedFolder) -> Opened {
    let settings = Settings {
        journal_bytes: 512 << 10,
        flush_bytes: 32 << 10,
        segment_bytes: 128 << 10,
        cache_bytes: 512 << 10,
        ..Settings::default()
    };
    let mut opened = open(folder.directory(), settings, WALL).expect("the log works");
    let events = opened.writer.maintain(WALL);
    events.iter().for_each(|event| opened.reader.apply(event));
    opened
}

fn fill(writer: &mut Writer, reader: &mut Reader, count: u64) {
    let record = Record::new(&RecordParts {
        qos: 1,
        retain: false,
        from_cloud: false,
        time: WALL,
        expiry_seconds: None,
        publisher: 0,
        topic: "a/b",
        properties: &[],
        payload: &[7; 2000],
    });
    for _ in 0..count {
        let append = Change::Append {
            lane: Lane::Normal,
            record: record.clone(),
        };
        let batch = Batch {
            changes: vec![append],
        };
        let committed = writer.commit(&batch, WALL).expect("the log works");
        reader.committed(&batch, &committed);
        for event in writer.maintain(WALL) {
            reader.apply(&event);
        }
    }
}

/// How many records were read, and how many the reader said it could not read.
fn read_all(reader: &mut Reader) -> (u64, u64) {
    let (mut at, mut read, mut missing) = (Offset(0), 0, 0);
    while at < reader.head(Lane::Normal) {
        let budget = Budget {
            records: 50,
            bytes: 1 << 20,
        };
        let chunk = reader
            .read(Lane::Normal, at, budget)
            .expect("the log works");
        assert!(chunk.next > at, "no way past {at}");
        read += chunk.records.len() as u64;
        missing += chunk.damaged.map_or(0, |gap| gap.count);
        at = chunk.next;
    }
    (read, missing)
}

const WALL: WallTime = WallTime(1_000_000);
const RECORDS: u64 = 150;
