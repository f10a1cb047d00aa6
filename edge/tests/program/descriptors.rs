//! Few file descriptors: clients never take those that the log needs, and one line says so.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::devices::Device;
use super::support::{Gateway, PATIENCE, wait_until};

/// A CONNECT of MQTT 3.1.1 without a client identifier.
const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
/// Small files, so that a few publishes need new ones.
const SMALL: &str = "[limits]\npacket_bytes = 65536\n[durability]\njournal_bytes = 1048576\n";

/// Clients that connect and say nothing took every descriptor, the log could not make its next
/// segment, and publishes were refused: whoever could reach the port could stop the gateway.
#[test]
fn silent_clients_leave_the_log_its_files() {
    let gateway = Gateway::start_with_files(SMALL, 96);
    gateway.expect_line("at most 32 connections at once, not limits.connections = 1024");
    Device::connect(gateway.address, "keeper").subscribe("plant/#");
    let mut sensor = Device::connect(gateway.address, "sensor");
    let connect = || TcpStream::connect(gateway.address).expect("the backlog has room");
    let silent: Vec<TcpStream> = (0..150).map(|_| connect()).collect();
    gateway.expect_line("connection refused: all 32 that open files allow are in use");
    let payload = "x".repeat(60_000);
    for number in 1..60 {
        sensor.publish("plant/a", number, &payload);
        assert!(sensor.is_acknowledged());
    }
    drop(silent);
    wait_until("their places are free again", || {
        Device::try_connect(gateway.address, "later").is_some()
    });
}

/// Each connection that came in between began the story anew, ten times a second.
#[test]
fn a_listener_that_can_not_accept_says_so_once() {
    let gateway = Gateway::start("");
    for _ in 0..3 {
        let before = gateway.limit_files(3);
        let mut client = TcpStream::connect(gateway.address).expect("the backlog has room");
        client.write_all(CONNECT).expect("the system takes it");
        let mut connack = [0; 4];
        let patience = Duration::from_millis(250);
        client.set_read_timeout(Some(patience)).expect("not zero");
        assert!(client.read(&mut connack).is_err(), "nobody accepts it");
        gateway.expect_line("can't accept connections: Too many open files");
        gateway.limit_files(before);
        client.set_read_timeout(Some(PATIENCE)).expect("not zero");
        client.read_exact(&mut connack).expect("it is accepted now");
    }
    assert_eq!(gateway.lines_with("can't accept").len(), 1);
}
