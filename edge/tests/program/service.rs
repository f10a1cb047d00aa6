//! The gateway as a service: what its manager hears, and what it gives up at its start.

use std::os::unix::net::UnixDatagram;

use super::support::{Gateway, PATIENCE};

/// The next notice to the service manager.
fn notice(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = manager.recv(&mut buffer).expect("a notice in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn the_manager_hears_of_readiness_life_and_the_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out");
    let socket = socket
        .to_str()
        .expect("a temporary folder has a plain name");
    let cloud = "[cloud]\nendpoints = [\"mqtt://127.0.0.1:1\"]\nuplink = [\"#\"]\n";
    let environment = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "60000000")];
    let mut gateway = Gateway::start_with(cloud, &environment);
    assert!(notice(&manager).starts_with("READY=1"));
    for _ in 0..2 {
        assert_eq!(notice(&manager), "WATCHDOG=1");
    }
    gateway.terminate();
    let mut rest = std::iter::repeat_with(|| notice(&manager));
    let last = rest.find(|notice| notice != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

#[test]
fn privileges_are_given_up_at_the_start() {
    /// The bits of binding low ports and of using files of other users.
    const KEPT: u64 = 1 << 10 | 1 << 1;
    let gateway = Gateway::start("");
    gateway.expect_line("self-protection: no new privileges, capabilities dropped");
    assert_eq!(gateway.status_of("NoNewPrivs:"), "1");
    let held = u64::from_str_radix(&gateway.status_of("CapPrm:"), 16).expect("a number");
    assert_eq!(held & !KEPT, 0, "{held:x}");
}
