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
    use super::*;

    /// In a thread of its own: the rest of the tests stay as they are.
    #[test]
    fn a_protected_thread_writes_where_it_may_and_nowhere_else() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [inside.path().to_owned(), PathBuf::from("/does/not/exist")];
        let (kept, refused) = (inside.path().join("a"), outside.path().join("a"));
        let protected = std::thread::spawn(move || {
            let protection = protect(&folders, &[]);
            let left = capabilities(None).unwrap();
            let wrote = (std::fs::write(kept, "1"), std::fs::write(refused, "1"));
            (protection, left, wrote)
        });
        let (protection, left, (kept, refused)) = protected.join().unwrap();
        assert!(protection.no_new_privileges && protection.capabilities);
        assert!(KEPT.contains(left.permitted | left.effective));
        assert!(kept.is_ok());
        assert_eq!(refused.is_err(), protection.writes, "{protection}");
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
