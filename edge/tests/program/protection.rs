//! What a gateway can't do any more once it runs: the traps lie in its own data folder, as links that
//! lead out of it. Each is also stepped into without protection, so that it is known to be one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use landlock::{ABI, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};

use super::devices::Device;
use super::support::{Gateway, run, stderr, wait_until};

/// Whether the kernel can confine writes; a word about it where it can't.
fn kernel_confines() -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V1));
    let confines = ruleset.and_then(Ruleset::create).is_ok();
    if !confines {
        eprintln!("skipped: this kernel has no Landlock");
    }
    confines
}

/// Lets the next start do without protection.
fn turn_off(gateway: &Gateway) {
    let text = fs::read_to_string(gateway.config()).expect("it is there");
    let text = text.replace("[gateway]\n", "[gateway]\nself_protection = false\n");
    fs::write(gateway.config(), text).expect("writable");
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("a folder").next().is_none()
}

#[test]
fn a_start_makes_nothing_outside_the_data_folder() {
    if !kernel_confines() {
        return;
    }
    let outside = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = Gateway::start("");
    gateway.expect_line("writes below the data folder only (Landlock)");
    gateway.kill();
    let lock = gateway.data().join("lock");
    fs::remove_file(&lock).expect("it was locked");
    symlink(outside.path().join("lock"), &lock).expect("writable");

    let config = gateway.config();
    let output = run(&["run", "--config", config.to_str().expect("a plain name")]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("/data/lock: Permission denied"), "{said}");
    assert!(is_empty(outside.path()));

    turn_off(&gateway);
    gateway.restart();
    gateway.expect_line("self-protection is turned off");
    assert!(outside.path().join("lock").is_file());
}

#[test]
fn a_running_gateway_makes_nothing_outside_the_data_folder_and_acknowledges_nothing_into_it() {
    if !kernel_confines() {
        return;
    }
    let outside = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = Gateway::start("[durability]\njournal_bytes = 4194304\n");
    Device::connect(gateway.address, "display").subscribe("plant/#");
    gateway.kill();
    // What the journal holds is to become this file.
    let name = format!("normal-{:020}.redb", 0);
    let trap = gateway.data().join(format!("{name}.new"));
    symlink(outside.path().join("made"), &trap).expect("writable");
    gateway.restart();
    let refused_at = publish_until_refused(&gateway);
    assert!(
        refused_at.is_some(),
        "the journal has no room for all of it"
    );
    let line = gateway.expect_line("the journal still holds everything: can't create ");
    assert!(line.contains("Permission denied"), "{line}");
    assert!(is_empty(outside.path()));

    // Without the trap it goes on, with all that it acknowledged.
    fs::remove_file(&trap).expect("nothing took its place");
    wait_until("publishes are accepted again", || {
        publish_until_refused(&gateway).is_none()
    });
    assert!(gateway.data().join(name).is_file());
    assert!(is_empty(outside.path()));
}

#[test]
fn without_protection_the_same_link_leads_out() {
    let outside = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = Gateway::start("[durability]\njournal_bytes = 4194304\n");
    Device::connect(gateway.address, "display").subscribe("plant/#");
    gateway.kill();
    turn_off(&gateway);
    let trap = format!("normal-{:020}.redb.new", 0);
    symlink(outside.path().join("made"), gateway.data().join(trap)).expect("writable");
    gateway.restart();
    assert_eq!(publish_until_refused(&gateway), None);
    assert!(outside.path().join("made").is_file());
}

/// Publishes more than the journal holds; gives which was not acknowledged, if any was not.
fn publish_until_refused(gateway: &Gateway) -> Option<u16> {
    let payload = "x".repeat(8000);
    let mut sensor = Device::connect(gateway.address, "sensor");
    (1..=600).find(|number| {
        sensor.publish("plant/temp", *number, &payload);
        !sensor.is_acknowledged()
    })
}
