//! Self-protection: before the first thread starts, the process gives up what it will never need.
//!
//! It promises that afterwards no privilege can come back, that no capability is left but those to
//! bind low ports and to use files of other users, and, where the kernel has Landlock, that nothing
//! is written or made outside the data folder and the places that listeners name. It never ends
//! the program: what a kernel does not have is said once and gone without.

use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// What holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protection {
    /// Programs that it starts can't gain privileges, and it starts none.
    pub(crate) no_new_privileges: bool,
    /// Capabilities are those in [`KEPT`] at most.
    pub(crate) capabilities: bool,
    /// Writes go to the named places only.
    pub(crate) writes: bool,
}

/// Needed to bind ports below 1024, and by a root that keeps its data with another user.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE.union(CapabilitySet::DAC_OVERRIDE);
/// The rights that are known to this program; a kernel with fewer applies those it has.
const NEWEST: ABI = ABI::V5;

/// Protects this thread and all that it starts from now on. `folders` may be written below;
/// `devices` may be written. One that does not exist is left out.
#[must_use]
pub(crate) fn protect(folders: &[PathBuf], devices: &[PathBuf]) -> Protection {
    Protection {
        no_new_privileges: rustix::thread::set_no_new_privs(true).is_ok(),
        capabilities: drop_capabilities().is_ok(),
        writes: restrict_writes(folders, devices)
            .is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced),
    }
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let held = capabilities(None)?;
    if KEPT.contains(held.permitted | held.inheritable) {
        return Ok(());
    }
    let kept = held.permitted & KEPT;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

fn restrict_writes(
    folders: &[PathBuf],
    devices: &[PathBuf],
) -> Result<RestrictionStatus, RulesetError> {
    let writes = AccessFs::from_write(NEWEST);
    let mut ruleset = Ruleset::default()
        .handle_access(writes | AccessFs::Execute)?
        .create()?;
    for folder in folders {
        ruleset = allow(ruleset, folder, writes)?;
    }
    for device in devices {
        ruleset = allow(ruleset, device, AccessFs::WriteFile | AccessFs::IoctlDev)?;
    }
    ruleset.restrict_self()
}

fn allow(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(place) => ruleset.add_rule(PathBeneath::new(place, access)),
        Err(_) => Ok(ruleset),
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.no_new_privileges, "no new privileges"),
            (self.capabilities, "capabilities dropped"),
            (self.writes, "writes below the data folder only (Landlock)"),
        ];
        let named = |holds: bool| {
            let named: Vec<_> = parts.iter().filter(|part| part.0 == holds).collect();
            named
                .iter()
                .map(|part| part.1)
                .collect::<Vec<_>>()
                .join(", ")
        };
        write!(f, "self-protection: {}", named(true))?;
        if parts.iter().any(|part| !part.0) {
            write!(f, "; not on this system: {}", named(false))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use landlock::{CompatLevel, Compatible as _};

    use super::*;

    /// Protects a thread of its own, so that the rest of the tests stay as they are, and gives what
    /// holds in it and what `attempt` found there.
    fn protected<T: Send + 'static>(
        folder: &Path,
        attempt: impl FnOnce() -> T + Send + 'static,
    ) -> (Protection, T) {
        let folders = [folder.to_owned(), PathBuf::from("/does/not/exist")];
        let thread = std::thread::spawn(move || (protect(&folders, &[]), attempt()));
        thread.join().unwrap()
    }

    /// Whether this kernel can do what is asked of it.
    fn kernel_has_landlock() -> bool {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let ruleset = ruleset.handle_access(AccessFs::from_write(ABI::V1));
        ruleset.and_then(Ruleset::create).is_ok()
    }

    #[test]
    fn a_kernel_that_has_landlock_confines_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (protection, ()) = protected(folder.path(), || ());
        assert!(protection.no_new_privileges && protection.capabilities);
        assert_eq!(protection.writes, kernel_has_landlock(), "{protection}");
    }

    #[test]
    fn a_protected_thread_changes_what_it_may_and_nothing_else() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (inside.path().to_owned(), outside.path().to_owned());
        fs::write(theirs.join("file"), "theirs").unwrap();
        symlink(&theirs, ours.join("way-out")).unwrap();
        let mine = ours.clone();
        let (protection, (done, refused)) = protected(&ours, move || {
            let done = [
                ("make a file", fs::write(mine.join("a"), "1")),
                ("rename", fs::rename(mine.join("a"), mine.join("b"))),
                ("link", fs::hard_link(mine.join("b"), mine.join("c"))),
                ("delete", fs::remove_file(mine.join("b"))),
                ("make a folder", fs::create_dir(mine.join("d"))),
                ("read", fs::read(theirs.join("file")).map(drop)),
            ];
            let refused = [
                ("make a file", fs::write(theirs.join("a"), "1")),
                (
                    "make it behind a link",
                    fs::write(mine.join("way-out/a"), "1"),
                ),
                ("write into one", fs::write(theirs.join("file"), "ours")),
                (
                    "empty one",
                    File::options()
                        .append(true)
                        .open(theirs.join("file"))
                        .map(drop),
                ),
                ("delete one", fs::remove_file(theirs.join("file"))),
                (
                    "move ours out",
                    fs::rename(mine.join("c"), theirs.join("c")),
                ),
                (
                    "move theirs in",
                    fs::rename(theirs.join("file"), mine.join("e")),
                ),
                (
                    "link theirs",
                    fs::hard_link(theirs.join("file"), mine.join("f")),
                ),
                ("make a folder", fs::create_dir(theirs.join("d"))),
                (
                    "run a program",
                    Command::new("/bin/true").status().map(drop),
                ),
            ];
            (done, refused)
        });
        for (what, outcome) in done {
            assert!(outcome.is_ok(), "{what}: {outcome:?}");
        }
        if protection.writes {
            for (what, outcome) in refused {
                assert!(outcome.is_err(), "{what}");
            }
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
            let theirs = fs::read_to_string(outside.path().join("file"));
            assert_eq!(theirs.unwrap(), "theirs");
        }
    }

    #[test]
    fn what_was_given_up_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let (_, (left, regained, after)) = protected(folder.path(), || {
            let left = capabilities(None).unwrap();
            let wanted = CapabilitySets {
                effective: left.effective | CapabilitySet::SYS_ADMIN,
                permitted: left.permitted | CapabilitySet::SYS_ADMIN,
                inheritable: left.inheritable,
            };
            let regained = set_capabilities(None, wanted);
            let turned_back = rustix::thread::set_no_new_privs(false);
            (left, (regained, turned_back), capabilities(None).unwrap())
        });
        assert!(KEPT.contains(left.permitted | left.effective | left.inheritable));
        assert!(regained.0.is_err() && regained.1.is_err());
        assert_eq!(after, left);
    }

    #[test]
    fn what_holds_and_what_does_not_is_named() {
        let mut protection = Protection {
            no_new_privileges: true,
            capabilities: true,
            writes: true,
        };
        let all = "self-protection: no new privileges, capabilities dropped, writes below the data \
                   folder only (Landlock)";
        assert_eq!(protection.to_string(), all);
        protection.writes = false;
        let some = "self-protection: no new privileges, capabilities dropped; not on this system: \
                    writes below the data folder only (Landlock)";
        assert_eq!(protection.to_string(), some);
    }
}
