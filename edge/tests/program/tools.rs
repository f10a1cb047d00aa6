//! `inspect`, `fsck`, `export` and `backup`, on a folder that is in use, killed, closed, damaged.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use edge::log::{Batch, Folder, Settings, open};
use sync::{Change, Table, WallTime};

use super::devices::Device;
use super::support::{Gateway, run, stderr, wait_until};

#[test]
fn a_folder_in_use_is_backed_up_and_the_backup_is_whole() {
    let gateway = Gateway::start("");
    let sent = publish(&gateway, 0..COUNT);
    let data = gateway.data();
    for command in ["inspect", "fsck"] {
        let refused = run(&[command, path(&data)]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            stderr(&refused).contains("a gateway runs here"),
            "{}",
            stderr(&refused)
        );
    }
    let refused = run(&["export", path(&data), "--lane", "normal"]);
    assert_eq!(refused.status.code(), Some(1));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("backup.tar");
    succeed(&["backup", path(&data), path(&archive)]);
    assert!(!data.join("snapshot").exists(), "it is not left behind");
    // The gateway goes on, and so does what it stores.
    let more = publish(&gateway, COUNT..2 * COUNT);
    assert_eq!(more.len() as u32, COUNT);
    let again = run(&["backup", path(&data), path(&archive)]);
    assert_eq!(again.status.code(), Some(1), "nothing is written over");

    let restored = extract(&archive, folder.path());
    succeed(&["fsck", path(&restored)]);
    assert_eq!(exported(&restored), sent);
    let facts = succeed(&["inspect", path(&restored)]);
    assert!(facts.contains(&format!("normal.head {COUNT}\n")), "{facts}");
    assert!(facts.contains("sessions 2\n"), "{facts}");
    assert!(facts.contains("cursor session/display 0 0 0\n"), "{facts}");
}

#[test]
fn a_restored_backup_is_served() {
    let mut gateway = Gateway::start("");
    publish(&gateway, 0..COUNT);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("backup.tar");
    let data = gateway.data();
    succeed(&["backup", path(&data), path(&archive)]);
    gateway.kill();
    std::fs::remove_dir_all(&data).expect("it is there");
    let restored = extract(&archive, folder.path());
    copy(&restored, &data);
    gateway.restart();
    assert_eq!(gateway.lines_with("WARN"), [""; 0]);
    let mut display = Device::connect(gateway.address, "display");
    assert!(display.session_present);
    for number in 0..COUNT {
        assert_eq!(display.take(), Some(payload(number)));
    }
}

#[test]
fn a_killed_folder_is_read_and_left_as_it_is() {
    let mut gateway = Gateway::start("");
    let sent = publish(&gateway, 0..COUNT);
    gateway.kill();
    let data = gateway.data();
    let before = contents(&data);
    let facts = succeed(&["inspect", path(&data)]);
    assert!(facts.contains(&format!("normal.head {COUNT}\n")), "{facts}");
    let checked = succeed(&["fsck", path(&data)]);
    assert_eq!(checked, format!("{COUNT} records are whole\n"));
    assert_eq!(exported(&data), sent);
    let some = succeed(&["export", path(&data), "--lane=normal", "--from=3", "--to=5"]);
    let lines: Vec<&str> = some.lines().collect();
    assert_eq!(lines.len(), 3);
    let first = format!(
        "\"topic\":\"plant/temp\",\"qos\":1,\"retain\":false,\"payload\":\"{}\"}}",
        payload(3)
    );
    assert!(
        lines[0].starts_with("{\"lane\":\"normal\",\"offset\":3,\"time\":"),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with(&first), "{}", lines[0]);
    let cbor = ["export", path(&data), "--lane=normal", "--format=cbor"];
    let mut cbor = run(&cbor).stdout.as_slice().to_vec();
    let mut count = 0;
    while !cbor.is_empty() {
        let mut rest = cbor.as_slice();
        let record: BTreeMap<String, ciborium::Value> =
            ciborium::from_reader(&mut rest).expect("a sequence of maps");
        assert_eq!(record["payload"], payload(count).into_bytes().into());
        assert_eq!(record["offset"], u64::from(count).into());
        cbor = rest.to_vec();
        count += 1;
    }
    assert_eq!(count, COUNT);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("backup.tar");
    succeed(&["backup", path(&data), path(&archive)]);
    assert_eq!(exported(&extract(&archive, folder.path())), sent);
    assert!(contents(&data) == before, "something was written");
}

#[test]
fn a_damaged_folder_is_told_and_what_is_whole_is_had_of_it() {
    let mut gateway = Gateway::start("");
    let mut sent = publish(&gateway, 0..COUNT);
    let data = gateway.data();
    empty_journal(&mut gateway, COUNT - 1);
    // One block more, so that there is a damaged and a whole one.
    gateway.restart();
    sent.extend(publish(&gateway, COUNT..2 * COUNT));
    empty_journal(&mut gateway, 2 * COUNT - 1);
    damage(&data, payload(7).as_bytes());

    let before = contents(&data);
    let found = run(&["fsck", path(&data)]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{text}");
    let told = format!(
        "lane normal: {COUNT} records, 0 to {}, are gone: damage",
        COUNT - 1
    );
    assert!(text.contains(&told), "{text}");
    assert!(
        text.contains(&format!("{COUNT} records are whole")),
        "{text}"
    );
    assert!(text.contains("nothing was changed"), "{text}");
    let output = run(&["export", path(&data), "--lane=normal"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing = format!(
        "{{\"lane\":\"normal\",\"first\":0,\"last\":{},\"missing\":\"damage\"}}\n",
        COUNT - 1
    );
    assert!(lines.starts_with(&missing), "{lines}");
    assert_eq!(lines.lines().count() as u32, 1 + COUNT);
    assert!(contents(&data) == before, "something was written");

    let repaired = run(&["fsck", "--repair", path(&data)]);
    let text = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert_eq!(repaired.status.code(), Some(1), "{text}");
    assert!(text.contains(&told), "{text}");
    succeed(&["fsck", path(&data)]);
    let facts = succeed(&["inspect", path(&data)]);
    let gap = format!(
        "gap 0 normal 0 {} {COUNT} 0 damage 0 0 not-announced\n",
        COUNT - 1
    );
    assert!(facts.contains(&gap), "{facts}");
    // The gateway counts it once, and serves the rest.
    gateway.restart();
    let mut display = Device::connect(gateway.address, "display");
    assert_eq!(display.take(), Some(payload(COUNT)));
    assert_eq!(gateway.fact("gaps"), u64::from(COUNT));
}

#[test]
fn the_mail_of_a_folder_is_counted_checked_and_had() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let opened = open(
        Folder::open(&data).expect("writable"),
        Settings {
            has_mail: true,
            ..Settings::default()
        },
        WallTime(1_700_000_000_000),
    );
    let mut log = opened.expect("the log opens");
    let put = |table, key: &[u8], value: &[u8]| Change::Put {
        table,
        key: key.to_vec(),
        value: value.to_vec(),
    };
    let changes = vec![
        put(Table::Mailboxes, b"agent.one", b"\xa0"),
        put(Table::Mail, b"\x80\x01", b"hello, mail"),
        put(Table::Mail, b"\x80\x02", b"and again"),
    ];
    let committed = log.writer.commit(&Batch { changes }, WallTime(1));
    committed.expect("the log works");
    log.writer.close().expect("the log works");
    // It keeps the folder locked.
    drop(log.reader);
    // A program that another test is just starting holds a copy of the lock for a moment.
    wait_until("the folder is free", || {
        let output = run(&["inspect", path(&data)]);
        !String::from_utf8_lossy(&output.stderr).contains("is locked")
    });
    let facts = succeed(&["inspect", path(&data)]);
    for fact in ["mailboxes 1\n", "mail 2\n", "agents 0\n", "mail.bytes 34\n"] {
        assert!(facts.contains(fact), "{facts}");
    }
    let checked = succeed(&["fsck", path(&data)]);
    assert!(
        checked.contains("3 rows of the mail are whole\n"),
        "{checked}"
    );
    let rows = concat!(
        "{\"table\":\"mailboxes\",\"key\":\"agent.one\",\"value_base64\":\"oA==\"}\n",
        "{\"table\":\"mail\",\"key_base64\":\"gAE=\",\"value\":\"hello, mail\"}\n",
        "{\"table\":\"mail\",\"key_base64\":\"gAI=\",\"value\":\"and again\"}\n",
    );
    assert_eq!(succeed(&["export", path(&data), "--mail"]), rows);
    let archive = folder.path().join("backup.tar");
    succeed(&["backup", path(&data), path(&archive)]);
    let restored = extract(&archive, folder.path());
    assert_eq!(succeed(&["export", path(&restored), "--mail"]), rows);
    assert_eq!(run(&["export", path(&data)]).status.code(), Some(2));

    damage_in(&data, "mail.redb", b"hello, mail");
    let checked = run(&["fsck", path(&data)]);
    assert_eq!(checked.status.code(), Some(1));
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        text.contains("1 mailboxes, messages, groups or agents are damaged"),
        "{text}"
    );
    let left = run(&["export", path(&data), "--mail"]);
    assert_eq!(left.status.code(), Some(1));
    let text = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(
        text.contains("\"key_base64\":\"gAE=\",\"missing\":\"damage\"}"),
        "{text}"
    );
    assert_eq!(
        run(&["fsck", path(&data), "--repair"]).status.code(),
        Some(1)
    );
    let checked = succeed(&["fsck", path(&data)]);
    assert!(
        checked.contains("2 rows of the mail are whole\n"),
        "{checked}"
    );
    let facts = succeed(&["inspect", path(&data)]);
    assert!(
        facts.contains("gaps 1\n") && facts.contains(" mail "),
        "{facts}"
    );
}

#[test]
fn what_is_no_log_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for command in ["inspect", "fsck"] {
        let refused = run(&[command, path(folder.path())]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            stderr(&refused).contains("has no log in it"),
            "{}",
            stderr(&refused)
        );
    }
    let refused = run(&["fsck", "--repair", path(folder.path())]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        std::fs::read_dir(folder.path())
            .expect("it is there")
            .count(),
        0
    );
    assert_eq!(run(&["inspect", "/no/such"]).status.code(), Some(1));
    assert_eq!(run(&["inspect"]).status.code(), Some(2));
    assert_eq!(run(&["export", path(folder.path())]).status.code(), Some(2));
    let format = [
        "export",
        path(folder.path()),
        "--lane=normal",
        "--format=xml",
    ];
    assert_eq!(run(&format).status.code(), Some(2));
}

/// Publishes for a session that is not there, and gives what was acknowledged.
fn publish(gateway: &Gateway, numbers: std::ops::Range<u32>) -> Vec<String> {
    let mut display = Device::connect(gateway.address, "display");
    if !display.session_present {
        display.subscribe("plant/#");
    }
    drop(display);
    let mut sensor = Device::connect(gateway.address, "sensor");
    let mut acknowledged = Vec::new();
    for number in numbers {
        sensor.publish("plant/temp", (number + 1) as u16, &payload(number));
        assert!(sensor.is_acknowledged());
        acknowledged.push(payload(number));
    }
    acknowledged
}

/// Stops the gateway, and starts and stops it again for as long as this record is in the journal
/// alone: a stop does not wait for a slow disk.
fn empty_journal(gateway: &mut Gateway, last: u32) {
    let last = payload(last).into_bytes();
    assert!(gateway.terminate().success());
    wait_until("it is in a segment", || {
        let mut files = contents(&gateway.data()).into_iter();
        let is_there = files.any(|(name, bytes)| {
            name.to_string_lossy().starts_with(SEGMENTS)
                && bytes.windows(last.len()).any(|it| it == last)
        });
        if !is_there {
            gateway.restart();
            assert!(gateway.terminate().success());
        }
        is_there
    });
}

fn payload(number: u32) -> String {
    format!("reading {number:06} of many")
}

/// The payloads of the normal lane.
fn exported(data: &Path) -> Vec<String> {
    let lines = succeed(&["export", path(data), "--lane", "normal"]);
    let line = |line: &str| -> BTreeMap<String, serde_json::Value> {
        serde_json::from_str(line).expect("a line is an object")
    };
    lines
        .lines()
        .map(|text| line(text)["payload"].as_str().expect("text").to_owned())
        .collect()
}

fn extract(archive: &Path, folder: &Path) -> std::path::PathBuf {
    let restored = folder.join("restored");
    std::fs::create_dir(&restored).expect("writable");
    let extracted = Command::new("tar")
        .args(["-xf", path(archive), "-C", path(&restored)])
        .status();
    assert!(extracted.is_ok_and(|status| status.success()));
    restored
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("it is there").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("writable");
    }
}

fn contents(data: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = std::fs::read_dir(data).expect("it is there").flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files
        .map(|entry| {
            let contents = std::fs::read(entry.path()).expect("readable");
            (entry.file_name(), contents)
        })
        .collect()
}

/// Changes a byte of every copy of `what` in the segments.
fn damage(data: &Path, what: &[u8]) {
    damage_in(data, SEGMENTS, what);
}

/// Changes a byte of every copy of `what` in files whose names begin so.
fn damage_in(data: &Path, begin: &str, what: &[u8]) {
    for (name, mut bytes) in contents(data) {
        if name.to_string_lossy().starts_with(begin) {
            let places = bytes.windows(what.len()).enumerate();
            let places: Vec<usize> = places.filter(|it| it.1 == what).map(|it| it.0).collect();
            places.iter().for_each(|at| bytes[*at] ^= 1);
            std::fs::write(data.join(name), bytes).expect("writable");
        }
    }
}

fn succeed(arguments: &[&str]) -> String {
    let output: Output = run(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {text}{}",
        stderr(&output)
    );
    text
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

const COUNT: u32 = 40;
/// How the names of the normal lane's segments begin.
const SEGMENTS: &str = "normal-";
