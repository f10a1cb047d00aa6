//! An ext4 file system in an image, on a drive whose power can fail. Needs root, e2fsprogs, loop
//! devices and python3, and says so where something is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::support::{skip, wait_until};

/// The gateway's folder on an ext4 file system of its own, in an image on a loop device; the image
/// in turn is a file of a second ext4 file system, which plays the drive.
///
/// A power failure is ext4's own: `EXT4_IOC_SHUTDOWN` without a flush of its journal, as
/// xfstests does it. From that instant nothing more reaches the device, whatever was on its
/// way, and what was only in the page cache is gone when the file system is mounted again and
/// replays its journal. Of the inner file system this is a cut in front of a drive that keeps all
/// it was handed. Of the outer one it is a cut inside the drive: the loop device keeps what it is handed in
/// the outer page cache, as a drive in its volatile cache, and only a flush (the end of an `fdatasync`)
/// brings it to the outer file system; so everything since the last flush is gone, and of a flush
/// in progress any part, in the order of places and not of writes.
///
/// So acknowledgements are shown to need nothing but what `fdatasync` and directory syncs promise,
/// with the kernel's own ext4, block layer and flushes in the way. Not shown: a drive that confirms a
/// flush and loses it all the same, pages torn by the drive itself (those are in `log_power_cut`),
/// and other file systems.
pub(super) struct Image {
    folder: tempfile::TempDir,
    data: PathBuf,
    drive: String,
    disk: Option<String>,
}

/// What is gone after a power failure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loses {
    /// What the file system had not handed to the drive.
    PageCache,
    /// And what the drive was handed since its last flush.
    PageCacheAndDriveCache,
}

impl Image {
    /// Makes one and mounts it over a folder; `None`, with a word about it, where that can't be.
    pub(super) fn mount(data: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (image, outer) = (folder.path().join("drive.img"), folder.path().join("drive"));
        std::fs::create_dir(&outer).expect("writable");
        let file = std::fs::File::create(&image).expect("writable");
        file.set_len(DRIVE_BYTES).expect("a sparse file");
        let made = succeeds("mkfs.ext4", &["-q", text(&image)]) && succeeds("python3", &["-c", ""]);
        let options = ["--direct-io=on", "--find", "--show", text(&image)];
        let drive = made.then(|| says("losetup", &options)).flatten();
        let Some(drive) = drive else {
            skip_unprivileged();
            return None;
        };
        let mut made = Self {
            folder,
            data: data.to_owned(),
            drive,
            disk: None,
        };
        if !succeeds("mount", &[&made.drive, text(&outer)]) {
            skip_unprivileged();
            return None;
        }
        let disk = made.disk_image();
        assert!(succeeds("fallocate", &["-l", DISK, text(&disk)]));
        assert!(succeeds("mkfs.ext4", &["-q", text(&disk)]));
        made.mount_disk();
        Some(made)
    }

    /// Power fails now.
    pub(super) fn fail(&self, loses: Loses) {
        let mounted = match loses {
            Loses::PageCache => self.data.clone(),
            Loses::PageCacheAndDriveCache => self.outer(),
        };
        assert!(succeeds("python3", &["-c", SHUT_DOWN, text(&mounted)]));
    }

    /// Power is back: both file systems are mounted as the failure left them. Nobody uses them.
    pub(super) fn recover(&mut self) {
        self.unmount();
        assert!(succeeds("mount", &[&self.drive, text(&self.outer())]));
        self.mount_disk();
    }

    fn mount_disk(&mut self) {
        let options = ["--find", "--show", text(&self.disk_image())].map(str::to_owned);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let disk = says("losetup", &options).expect("a loop device");
        assert!(succeeds("mount", &[&disk, text(&self.data)]));
        self.disk = Some(disk);
    }

    fn unmount(&mut self) {
        wait_until("the disk is free", || {
            succeeds("umount", &[text(&self.data)])
        });
        if let Some(disk) = self.disk.take() {
            assert!(succeeds("losetup", &["--detach", &disk]));
        }
        let outer = self.outer();
        wait_until("the drive is free", || succeeds("umount", &[text(&outer)]));
    }

    fn outer(&self) -> PathBuf {
        self.folder.path().join("drive")
    }

    fn disk_image(&self) -> PathBuf {
        self.outer().join("disk.img")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Lazily: a gateway may still be running on it.
        succeeds("umount", &["--lazy", text(&self.data)]);
        if let Some(disk) = &self.disk {
            succeeds("losetup", &["--detach", disk]);
        }
        succeeds("umount", &["--lazy", text(&self.outer())]);
        succeeds("losetup", &["--detach", &self.drive]);
    }
}

fn skip_unprivileged() {
    skip("ext4 images on loop devices need root, e2fsprogs and python3");
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, of Linux's `fs/ext4/ext4.h`.
const SHUT_DOWN: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
const DRIVE_BYTES: u64 = 3 << 30;
const DISK: &str = "2560M";
