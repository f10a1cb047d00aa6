//! The disk as it fails on site: full, and read-only. Needs the right to mount a file system, and
//! says so where it has not.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::devices::Device;
use super::flood::join;
use super::service::Manager;
use super::support::{Gateway, PATIENCE, now, run, stderr, wait_until};

/// Journal and reserve take 5 MiB of the 24, the ballast half.
const SMALL: &str = "[durability]\njournal_bytes = 4194304\nsegment_bytes = 4194304\n\
    [lanes]\ncritical = [\"alarm/#\"]\n";
const DISK_BYTES: usize = 24 << 20;
const BALLAST_BYTES: usize = 12 << 20;

#[test]
fn a_full_disk_is_told_loses_nothing_and_is_left_without_a_restart() {
    let mut gateway = Gateway::start(SMALL);
    gateway.kill();
    let Some(disk) = Disk::mount(&gateway.data(), DISK_BYTES) else {
        return;
    };
    disk.fill(BALLAST_BYTES);
    gateway.restart();
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    drop(display);

    let mut sensor = Sensor::default();
    assert!(sensor.publish_until_refused(gateway.address) > 100);
    gateway.expect_line("lane normal takes nothing: the disk is full or fails");
    assert_eq!(publish_v5(gateway.address), QUOTA_EXCEEDED);
    // Some seconds of a full disk, with clients that never give up.
    let start = now();
    while now() - start < Duration::from_secs(4) {
        assert_eq!(sensor.publish_until_refused(gateway.address), 0);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let lines = gateway.lines_with("lane normal takes nothing");
    assert_eq!(lines.len(), 1, "once, not once a second: {lines:#?}");
    assert_eq!(gateway.fact("normal.stopped"), 1);

    disk.remove_ballast();
    wait_until("publishes are accepted again", || {
        sensor.publish_one(gateway.address)
    });
    gateway.expect_line("lane normal takes everything again");
    assert_eq!(publish_v5(gateway.address), SUCCESS);

    // Full again, and stopped and started while it is.
    sensor.publish_until_refused(gateway.address);
    let status = gateway.terminate_soon();
    assert!(status.code().is_some(), "it was not killed");
    gateway.restart();
    let mut display = Device::connect(gateway.address, "display");
    assert!(display.session_present);
    let mut expected = sensor.acknowledged.iter().peekable();
    while expected.peek().is_some() {
        // What was not acknowledged may come all the same, and once more than it was sent.
        let payload = display.take().expect("the connection stays");
        expected.next_if(|number| payload.starts_with(&format!("{number:08} ")));
    }
}

/// Of a real file system, on a device of 64 MB that nothing else is on: telemetry is refused with
/// its reason, alarms are still stored, what was stored is drained, space returns by that alone, and
/// so does the service, without a restart and without an operator.
#[test]
fn a_full_device_still_takes_alarms_is_freed_by_draining_and_the_service_resumes_alone() {
    let mut gateway = Gateway::start(SMALL);
    gateway.kill();
    let Some(device) = Disk::mount_device(&gateway.data(), 64 << 20) else {
        return;
    };
    // Most of it from the beginning, to save time.
    device.fill(36 << 20);
    gateway.restart();
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("#");
    drop(display);

    let mut sensor = Sensor::default();
    let stored = sensor.publish_until_refused(gateway.address);
    gateway.expect_line("lane normal takes nothing: the disk is full or fails");
    assert_eq!(publish_v5(gateway.address), QUOTA_EXCEEDED);
    let stored_bytes = u64::from(stored) * PAYLOAD_BYTES as u64;
    assert!(stored_bytes > 6 << 20, "{stored_bytes} bytes");
    let mut siren = Device::connect(gateway.address, "siren");
    for number in 1..=50 {
        siren.publish("alarm/fire", number, &format!("alarm {number}"));
        assert!(siren.is_acknowledged(), "alarm {number}");
    }
    assert_eq!(gateway.fact("gaps"), 0, "nothing gave way");

    // A subscriber that comes gets everything, though nothing of the kind can be stored.
    let mut display = Device::connect(gateway.address, "display");
    assert!(display.session_present);
    let alarms = (1..=50).map(|number| format!("alarm {number}"));
    let readings = sensor
        .acknowledged
        .iter()
        .map(|number| format!("{number:08}"));
    let mut missing: BTreeSet<String> = alarms.chain(readings).collect();
    while !missing.is_empty() {
        let payload = display.take().expect("the connection stays");
        let (name, _) = payload.split_once(" x").unwrap_or((&payload, ""));
        missing.remove(name);
    }
    wait_until("publishes are accepted again", || {
        sensor.publish_one(gateway.address)
    });
    gateway.expect_line("lane normal takes everything again");
    wait_until("an MQTT 5 client is told so", || {
        publish_v5(gateway.address) == SUCCESS
    });
    // The space does return, not only a little of it.
    drop(display);
    for _ in 0..stored / 2 {
        wait_until("there is room for more", || {
            sensor.publish_one(gateway.address)
        });
    }
}

/// A card that is busy with itself for half a minute: nothing is acknowledged, everything that needs
/// no disk goes on, and the service manager hears nothing until it is over.
#[test]
fn a_disk_that_hangs_holds_up_acknowledgements_alone_and_starves_the_watchdog() {
    let manager = Manager::new();
    let mut gateway = manager.start("");
    manager.expect_ready();
    gateway.kill();
    let Some(device) = Disk::mount_device(&gateway.data(), 64 << 20) else {
        return;
    };
    gateway.restart();
    manager.expect_ready();
    let mut watcher = join(gateway.address, "watcher");
    watcher.subscribe_at_most_once("live/#");
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    let mut sensor = Device::connect(gateway.address, "sensor");
    let frozen = device.freeze();
    sensor.publish("plant/temp", 1, "21");
    manager.expect_silence();
    gateway.expect_fact("log.silent_seconds", |seconds| seconds >= 2);
    let mut live = join(gateway.address, "live");
    live.publish_at_most_once("live/temp", "22");
    assert_eq!(watcher.take().as_deref(), Some("22"));
    drop(frozen);
    assert!(sensor.is_acknowledged());
    assert_eq!(display.take().as_deref(), Some("21"));
    assert_eq!(manager.notice(), "WATCHDOG=1");
}

/// A gateway whose data folder was deleted went on acknowledging into files that nobody would ever
/// find again. Now it refuses until the folder is back, and says so.
#[test]
fn a_data_folder_that_is_moved_away_is_told_and_nothing_is_acknowledged_until_it_is_back() {
    let gateway = Gateway::start("");
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    drop(display);
    let mut sensor = Sensor::default();
    assert!(sensor.publish_one(gateway.address));
    let (data, elsewhere) = (gateway.data(), gateway.data().with_extension("moved"));
    std::fs::rename(&data, &elsewhere).expect("writable");
    assert!(!sensor.publish_one(gateway.address));
    std::fs::create_dir(&data).expect("writable");
    assert!(!sensor.publish_one(gateway.address));
    gateway.expect_line("publishes are refused: ");
    gateway.expect_line("the data folder was deleted, moved or replaced");
    std::fs::remove_dir(&data).expect("nothing was written to it");
    std::fs::rename(&elsewhere, &data).expect("writable");
    wait_until("publishes are accepted again", || {
        sensor.publish_one(gateway.address)
    });
    gateway.expect_line("publishes are accepted again");
    gateway.expect_fact("log.failing", |failing| failing == 0);
    gateway.expect_fact("log.refusing", |refusing| refusing == 0);
}

/// A state of which nothing can be read any more failed every flush until an operator came. Now the
/// program ends, so that its manager starts it again, and that start begins what is lost anew.
#[test]
fn a_state_that_is_lost_while_it_runs_ends_the_program_and_the_next_start_goes_on() {
    let manager = Manager::new();
    let mut gateway = manager.start("");
    manager.expect_ready();
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    drop(display);
    let mut sensor = Device::connect(gateway.address, "sensor");
    let payload = "x".repeat(8000);
    // More than is kept of the file in memory.
    for number in 0..400 {
        sensor.publish_retained(&format!("plant/{number}"), &payload);
        assert!(sensor.is_acknowledged());
    }
    let state = gateway.data().join("state.redb");
    let state = std::fs::File::options().write(true).open(state);
    let emptied = state.and_then(|file| file.set_len(0));
    emptied.expect("it is a file of ours");
    let begun = now();
    let mut acknowledged = 400;
    for number in (0..400).cycle() {
        sensor.publish_retained(&format!("plant/{number}"), &payload);
        if !sensor.is_acknowledged() {
            break;
        }
        acknowledged += 1;
        assert!(
            now() - begun < PATIENCE,
            "it goes on as if nothing were the matter"
        );
    }
    assert_eq!(gateway.expect_end().code(), Some(1));
    gateway.expect_line("stopping: state.redb is damaged and nothing of it can be read");
    let is_last = |notice: &String| notice.starts_with("STOPPING=1\nSTATUS=state.redb is damaged");
    wait_until("the manager is told", || is_last(&manager.notice()));

    gateway.restart();
    manager.expect_ready();
    assert_eq!(gateway.fact("start.lost_state"), 1);
    assert!(gateway.fact("start.set_aside") > 0);
    assert_eq!(gateway.fact("log.failing"), 0);
    assert!(
        gateway.fact("normal.head") >= acknowledged,
        "no record is lost with it"
    );
    let mut display = Device::connect(gateway.address, "display");
    assert!(!display.session_present, "it subscribes anew");
    display.subscribe("plant/#");
    let mut sensor = Device::connect(gateway.address, "sensor");
    sensor.publish("plant/temp", 1, "21");
    assert!(sensor.is_acknowledged());
    assert_eq!(display.take().as_deref(), Some("21"));
}

#[test]
fn a_read_only_data_folder_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("writable");
    let Some(disk) = Disk::mount(&data, 1 << 20) else {
        return;
    };
    disk.make_read_only();
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, format!("[gateway]\ndata = '{}'\n", data.display())).expect("writable");
    let output = run(&["run", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = stderr(&output);
    assert!(stderr.contains(&data.display().to_string()), "{stderr}");
    assert!(stderr.contains("Read-only file system"), "{stderr}");
    let said = stderr.lines().filter(|line| !line.starts_with(" INFO"));
    assert_eq!(said.count(), 1, "{stderr}");
}

#[test]
fn a_first_start_without_room_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("writable");
    let Some(_disk) = Disk::mount(&data, 2 << 20) else {
        return;
    };
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, format!("[gateway]\ndata = '{}'\n", data.display())).expect("writable");
    let output = run(&["run", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = stderr(&output);
    assert!(stderr.contains(&data.display().to_string()), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(!data.join("journal.new").exists());
}

/// A file system of its own over a folder, until it is dropped.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one; `None`, with a word about it, where that is not allowed.
    fn mount(path: &Path, bytes: usize) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: mounting a file system is not allowed");
            return None;
        }
        Some(Self {
            path: path.to_owned(),
        })
    }

    /// Mounts ext4 on a loop device; `None`, with a word about it, where that is not allowed.
    fn mount_device(path: &Path, bytes: u64) -> Option<Self> {
        let image = path.with_extension("img");
        let file = std::fs::File::create(&image).expect("writable");
        file.set_len(bytes).expect("a sparse file");
        let succeeds = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let (image, folder) = (image.to_str()?, path.to_str()?);
        if !succeeds("mkfs.ext4", &["-q", "-m", "0", image])
            || !succeeds("mount", &["-o", "loop", image, folder])
        {
            eprintln!("skipped: mounting ext4 on a loop device is not allowed");
            return None;
        }
        Some(Self {
            path: path.to_owned(),
        })
    }

    /// Lets every write wait until what it gives is dropped.
    fn freeze(&self) -> FrozenDisk<'_> {
        let frozen = Command::new("fsfreeze").arg("-f").arg(&self.path).status();
        assert!(frozen.is_ok_and(|status| status.success()));
        FrozenDisk(self)
    }

    fn fill(&self, bytes: usize) {
        std::fs::write(self.path.join(BALLAST), vec![1; bytes]).expect("there is room");
    }

    fn remove_ballast(&self) {
        std::fs::remove_file(self.path.join(BALLAST)).expect("it is there");
    }

    fn make_read_only(&self) {
        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&self.path)
            .status();
        assert!(remounted.is_ok_and(|status| status.success()));
    }
}

/// A file system whose writes wait.
struct FrozenDisk<'a>(&'a Disk);

impl Drop for FrozenDisk<'_> {
    fn drop(&mut self) {
        let path = &self.0.path;
        let thawed = Command::new("fsfreeze").arg("-u").arg(path).status();
        assert!(thawed.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a gateway may still be running on it.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A 3.1.1 device that numbers what it sends and remembers what was acknowledged.
#[derive(Default)]
struct Sensor {
    device: Option<Device>,
    sent: u32,
    acknowledged: Vec<u32>,
}

impl Sensor {
    /// Publishes one by one; gives how many were acknowledged before one was not.
    fn publish_until_refused(&mut self, address: SocketAddr) -> u32 {
        let mut count = 0;
        while self.publish_one(address) {
            count += 1;
        }
        count
    }

    /// Whether it was acknowledged. If not, the connection has ended: 3.1.1 has no other word.
    fn publish_one(&mut self, address: SocketAddr) -> bool {
        let mut device = match self.device.take() {
            Some(device) => device,
            None => Device::connect(address, "sensor"),
        };
        self.sent += 1;
        let payload = format!("{:08} {}", self.sent, "x".repeat(PAYLOAD_BYTES));
        device.publish("plant/temp", (self.sent % 65_535 + 1) as u16, &payload);
        if device.is_acknowledged() {
            self.acknowledged.push(self.sent);
            self.device = Some(device);
            return true;
        }
        false
    }
}

/// Publishes with an MQTT 5 connection of its own and gives the reason code of the PUBACK.
fn publish_v5(address: SocketAddr) -> u8 {
    let mut stream = TcpStream::connect(address).expect("a gateway that takes connections");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket has time-outs");
    let connect = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02v5";
    stream.write_all(connect).expect("open");
    assert_eq!(packet(&mut stream)[..3], [0x20, 0, 0]);
    let mut publish = b"\x00\x0aplant/temp\x00\x07\x00".to_vec();
    publish.resize(publish.len() + PAYLOAD_BYTES, b'y');
    let length = [publish.len() as u8 | 0x80, (publish.len() >> 7) as u8];
    let header = [&[0x32, length[0]], &length[1..]].concat();
    stream.write_all(&[header, publish].concat()).expect("open");
    let acknowledgement = packet(&mut stream);
    assert_eq!(acknowledgement[..3], [0x40, 0, 7]);
    acknowledgement.get(3).copied().unwrap_or(SUCCESS)
}

/// The next short packet: its first byte and what follows its length.
fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 2];
    stream.read_exact(&mut header).expect("a packet");
    let mut body = vec![0; header[1].into()];
    stream.read_exact(&mut body).expect("all of it");
    [vec![header[0]], body].concat()
}

const BALLAST: &str = "ballast";
const PAYLOAD_BYTES: usize = 8000;
const SUCCESS: u8 = 0;
const QUOTA_EXCEEDED: u8 = 0x97;
