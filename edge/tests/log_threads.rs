//! Writer and reader on two threads, as the gateway runs them, over a real folder.

use std::sync::mpsc;
use std::thread;

use edge::log::{Batch, Budget, Committed, Event, Folder, LaneLimits, Settings, open};
use sync::{Change, Lane, Offset, PerLane, Record, RecordParts, WallTime};

enum Report {
    Committed(Batch, Committed),
    Events(Vec<Event>),
}

#[test]
fn a_reader_follows_a_writer_on_another_thread() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        journal_bytes: 512 << 10,
        flush_bytes: 32 << 10,
        segment_bytes: 128 << 10,
        cache_bytes: 512 << 10,
        lanes: PerLane::from_fn(|_| LaneLimits::default()),
        ..Settings::default()
    };
    let opened = open(Folder::open(folder.path()).unwrap(), settings, WallTime(1)).unwrap();
    let (mut writer, mut reader) = (opened.writer, opened.reader);
    let (sender, reports) = mpsc::channel();
    let committing = thread::spawn(move || {
        for number in 0..300 {
            let batch = batch(number);
            let committed = writer.commit(&batch, WallTime(number)).unwrap();
            sender.send(Report::Committed(batch, committed)).unwrap();
            sender
                .send(Report::Events(writer.maintain(WallTime(number))))
                .unwrap();
        }
        writer.close().unwrap();
    });
    // One that keeps up, and one that always comes back to the middle of what is stored.
    let mut at = Offset(0);
    for report in reports {
        match report {
            Report::Committed(batch, committed) => reader.committed(&batch, &committed),
            Report::Events(events) => events.iter().for_each(|event| reader.apply(event)),
        }
        for from in [at, Offset(at.0 / 2)] {
            let budget = Budget {
                records: 25,
                bytes: 1 << 20,
            };
            // Sealing closes files under the reader; what it has to wait for comes with an event.
            let Ok(chunk) = reader.read(Lane::Normal, from, budget) else {
                continue;
            };
            for (index, (offset, record)) in chunk.records.iter().enumerate() {
                assert_eq!(offset.0, from.0 + index as u64);
                assert_eq!(record.payload()[..8], offset.0.to_le_bytes());
            }
            assert_eq!(chunk.damaged, None);
            at = at.max(chunk.next);
        }
    }
    committing.join().unwrap();
    assert_eq!(
        (at, reader.head(Lane::Normal)),
        (Offset(3000), Offset(3000))
    );
}

fn batch(number: u64) -> Batch {
    let append = |index| Change::Append {
        lane: Lane::Normal,
        record: record(number * 10 + index),
    };
    Batch {
        changes: (0..10).map(append).collect(),
    }
}

/// A record that says its own offset.
fn record(offset: u64) -> Record {
    let mut payload = offset.to_le_bytes().to_vec();
    payload.resize(300, 7);
    Record::new(&RecordParts {
        qos: 1,
        retain: false,
        from_cloud: false,
        time: WallTime(1),
        expiry_seconds: None,
        publisher: 0,
        topic: "a/b",
        properties: &[],
        payload: &payload,
    })
}
