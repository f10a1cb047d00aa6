//! What the tests of the log have in common: chance, small logs, records, commits that the reader
//! hears of, and changes of files behind the log's back. Each test takes what it needs.
#![allow(dead_code, unused_imports, reason = "each test takes some of it")]

mod dice;

use edge::log::directory::Directory;
use edge::log::simulated::SimulatedFolder;
use edge::log::{Batch, Reader, Settings, Writer, contains_panics};
use sync::{Record, RecordParts, WallTime};

pub(crate) use self::dice::{Dice, variable};

/// A log whose journal, segments and caches are filled by a few hundred records, and whose groups
/// go straight into segments when they are a page.
pub(crate) fn small() -> Settings {
    Settings {
        journal_bytes: 512 << 10,
        flush_bytes: 32 << 10,
        direct_bytes: 4 << 10,
        segment_bytes: 128 << 10,
        cache_bytes: 512 << 10,
        ..Settings::default()
    }
}

/// What a publisher at QoS 1 sends.
pub(crate) fn record_of(topic: &str, time: WallTime, payload: &[u8]) -> Record {
    Record::new(&RecordParts {
        qos: 1,
        retain: false,
        from_cloud: false,
        time,
        expiry_seconds: None,
        publisher: 0,
        topic,
        properties: &[],
        payload,
    })
}

/// Commits a batch, and does what is due then.
pub(crate) fn store(writer: &mut Writer, reader: &mut Reader, batch: &Batch, wall: WallTime) {
    let committed = writer.commit(batch, wall).expect("the log works");
    reader.committed(batch, &committed);
    follow(writer, reader, wall);
}

/// Does what is due, and lets the reader know.
pub(crate) fn follow(writer: &mut Writer, reader: &mut Reader, wall: WallTime) {
    for event in writer.maintain(wall) {
        reader.apply(&event);
    }
}

pub(crate) fn contents(folder: &SimulatedFolder, name: &str) -> Vec<u8> {
    let file = folder.open(name).expect("it is there");
    let mut bytes = vec![0; file.len().expect("the log works") as usize];
    file.read_at(0, &mut bytes).expect("the log works");
    bytes
}

pub(crate) fn replace(folder: &SimulatedFolder, name: &str, bytes: &[u8]) {
    let file = folder.create(name).expect("the log works");
    file.write_at(0, bytes).expect("the log works");
    file.sync_data().expect("the log works");
    folder.sync().expect("the log works");
}

/// A folder of its own with the same files, all of them durable.
pub(crate) fn duplicate(folder: &SimulatedFolder) -> SimulatedFolder {
    let other = SimulatedFolder::new();
    for name in folder.names().expect("the log works") {
        replace(&other, &name, &contents(folder, &name));
    }
    other.reset_counts();
    other
}

pub(crate) fn make_foreign(folder: &SimulatedFolder, name: &str) {
    let bytes = contents(folder, name).len();
    replace(folder, name, &vec![0x55; bytes]);
}

/// Flips a bit in each place where `what` stands.
pub(crate) fn flip_all(folder: &SimulatedFolder, name: &str, what: &[u8]) {
    let bytes = contents(folder, name);
    let places = bytes.windows(what.len()).enumerate();
    let places: Vec<usize> = places.filter(|it| it.1 == what).map(|it| it.0).collect();
    assert!(!places.is_empty(), "{name} has nothing to damage");
    places.iter().for_each(|at| folder.flip(name, *at as u64));
}

/// Segments of the normal lane, the oldest first.
pub(crate) fn segments(folder: &SimulatedFolder) -> Vec<String> {
    let mut names = folder.names().expect("the log works");
    names.retain(|name| name.starts_with("normal-"));
    names.sort();
    names
}

/// As the program does: what redb makes of a damaged page is nobody's news.
pub(crate) fn contain_panics_quietly() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let say = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !contains_panics() {
                say(panic);
            }
        }));
    });
}
