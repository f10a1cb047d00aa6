//! Writer, jobs and reader on three threads, as the gateway runs them, over a real folder.

mod log_parts;

use std::sync::mpsc;
use std::thread;

use edge::log::{
    Batch, Budget, Committed, Event, Folder, Job, LaneLimits, LogError, Reader, Settings, open,
};
use sync::{Change, Lane, Offset, PerLane, Record, WallTime};

use self::log_parts::record_of;

enum Report {
    Committed(Batch, Committed),
    Events(Vec<Event>),
}

/// Sealing once took the file from the reader until the event about it arrived: at every rotation
/// under load a reader that was behind had to stop for a second, and the log spoke of an error.
/// Now a segment can be read at every moment from its first record to its removal.
#[test]
fn a_reader_follows_a_writer_on_another_thread() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        journal_bytes: 512 << 10,
        flush_bytes: 32 << 10,
        segment_bytes: 64 << 10,
        cache_bytes: 512 << 10,
        // Every read goes to a file.
        read_cache_bytes: 0,
        lanes: PerLane::from_fn(|_| LaneLimits::default()),
        ..Settings::default()
    };
    let opened = open(Folder::open(folder.path()).unwrap(), settings, WallTime(1)).unwrap();
    let (mut writer, mut reader) = (opened.writer, opened.reader);
    let (sender, reports) = mpsc::channel();
    let committing = thread::spawn(move || {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (outbox, done) = mpsc::channel();
        let working = thread::spawn(move || {
            inbox
                .iter()
                .for_each(|job| outbox.send(job.run()).expect("the writer waits"));
        });
        let (mut sealed, mut amid) = (0, 0);
        for number in 0..BATCHES {
            let wall = WallTime(number);
            let batch = batch(number);
            let is_done = if writer.waits_for_job(&batch) {
                done.recv().ok()
            } else {
                done.try_recv().ok()
            };
            if let Some(done) = is_done {
                writer.finish(done);
            }
            let events = writer.events();
            let is_seal = |event: &&Event| matches!(event, Event::SegmentSealed { .. });
            sealed += events.iter().filter(is_seal).count();
            sender.send(Report::Events(events)).unwrap();
            amid += u64::from(writer.is_lent());
            let committed = writer.commit(&batch, wall).unwrap();
            sender.send(Report::Committed(batch, committed)).unwrap();
            if let Some(job) = writer.begin(wall) {
                jobs.send(job).unwrap();
            }
        }
        if writer.is_lent() {
            writer.finish(done.recv().unwrap());
            sender.send(Report::Events(writer.events())).unwrap();
        }
        drop((sender, jobs));
        working.join().unwrap();
        (writer, sealed, amid)
    });
    let mut follower = Follower::default();
    loop {
        match reports.try_recv() {
            Ok(Report::Committed(batch, committed)) => reader.committed(&batch, &committed),
            Ok(Report::Events(events)) => events.iter().for_each(|event| reader.apply(event)),
            // The time in which the writer is ahead of its events is where the trouble would be.
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => break,
        }
        follower.read(&mut reader);
    }
    let (writer, sealed, amid) = committing.join().unwrap();
    assert!(sealed > 20, "{sealed} rotations");
    assert!(amid > 20, "{amid} commits while a job was under way");
    while follower.at < reader.head(Lane::Normal) {
        follower.read(&mut reader);
    }
    writer.close().unwrap();
    assert_eq!(reader.head(Lane::Normal), Offset(BATCHES * 10));
}

/// Reads what is new, and also what is just below the tail: in the segment that is written.
#[derive(Default)]
struct Follower {
    at: Offset,
}

impl Follower {
    fn read(&mut self, reader: &mut Reader) {
        for from in [
            self.at,
            Offset(self.at.0 / 2),
            Offset(self.at.0.saturating_sub(120)),
        ] {
            let budget = Budget {
                records: 25,
                bytes: 1 << 20,
            };
            let chunk = reader
                .read(Lane::Normal, from, budget)
                .unwrap_or_else(|error: LogError| panic!("reading at {from}: {error}"));
            for (index, (offset, record)) in chunk.records.iter().enumerate() {
                assert_eq!(offset.0, from.0 + index as u64);
                assert_eq!(record.payload()[..8], offset.0.to_le_bytes());
            }
            assert_eq!(chunk.damaged, None);
            self.at = self.at.max(chunk.next);
        }
    }
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
    record_of("a/b", WallTime(1), &payload)
}

const BATCHES: u64 = 1000;
