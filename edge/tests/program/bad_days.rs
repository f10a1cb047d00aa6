//! Bad days: each gives one clear line, loses nothing and hurts nobody else.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::devices::Device;
use super::support::{Gateway, PATIENCE, free_port, run, stderr, wait_until};

/// A CONNECT that claims a remaining length of 268,435,455.
const HUGE: &[u8] = &[0x10, 0xff, 0xff, 0xff, 0x7f, 0x00, 0x04];
/// The first half of a valid CONNECT.
const HALF: &[u8] = &[0x10, 0x0e, 0x00, 0x04, b'M', b'Q'];

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("edge.toml");
    let data = folder.path().join("data");
    let text = format!(
        "[gateway]\ndata = '{}'\n[[listener]]\naddress = \"{address}\"\n",
        data.display()
    );
    std::fs::write(&file, text).expect("writable");
    let output = run(&["run", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = stderr(&output);
    assert!(
        stderr.contains(&format!("listener {address}: Address already in use")),
        "{stderr}"
    );
}

#[test]
fn a_data_folder_serves_one_gateway() {
    let gateway = Gateway::start("");
    let config = gateway.config();
    let output = run(&["run", "--config", config.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("locked by another process"),
        "{}",
        stderr(&output)
    );
    Device::connect(gateway.address, "still-served");
}

#[test]
fn a_data_folder_that_is_a_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::write(&data, "not a folder").expect("writable");
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, format!("[gateway]\ndata = '{}'\n", data.display())).expect("writable");
    let output = run(&["run", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&data.display().to_string()),
        "{}",
        stderr(&output)
    );
}

#[test]
fn garbage_costs_its_own_connection_only() {
    let gateway = Gateway::start("");
    let mut device = Device::connect(gateway.address, "polite");
    for bytes in [
        HUGE,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0xff; 64],
        &[0x00, 0x00],
    ] {
        for _ in 0..5 {
            let mut stream = TcpStream::connect(gateway.address).expect("accepted");
            // It may be closed before all is written.
            let _ = stream.write_all(bytes);
            assert!(is_closed(&mut stream), "{bytes:?}");
        }
    }
    device.publish("still/here", 1, "1");
    assert!(device.is_acknowledged());
    gateway.expect_line("was disconnected");
    let lines = gateway.lines_with("was disconnected");
    assert!(
        (1..=4).contains(&lines.len()),
        "one line a kind, not one a connection: {lines:#?}"
    );
}

#[test]
fn a_client_that_never_says_connect_is_closed() {
    let gateway = Gateway::start("[limits]\nconnect_timeout_seconds = 1\n");
    let patient = Gateway::start("[limits]\nconnect_timeout_seconds = 60\n");
    let mut unhurried = TcpStream::connect(patient.address).expect("accepted");
    let mut silent = TcpStream::connect(gateway.address).expect("accepted");
    let mut slow = TcpStream::connect(gateway.address).expect("accepted");
    slow.write_all(HALF).expect("open");
    assert!(is_closed(&mut silent) && is_closed(&mut slow));
    // The time is the one that is configured.
    unhurried.set_nonblocking(true).expect("a socket that can");
    let waits = unhurried.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(waits, Err(ErrorKind::WouldBlock));
}

#[test]
fn a_client_is_told_the_longest_keep_alive() {
    let gateway = Gateway::start("[limits]\nkeep_alive_max_seconds = 10\n");
    let mut stream = TcpStream::connect(gateway.address).expect("accepted");
    let connect = b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01k";
    stream.write_all(connect).expect("open");
    let mut connack = [0; 64];
    let length = stream.read(&mut connack).expect("an answer");
    // The property with its value.
    let said = connack[..length].windows(3).any(|it| it == [0x13, 0, 10]);
    assert!(said, "{:02x?}", &connack[..length]);
}

#[test]
fn connections_above_the_limit_are_refused_and_the_others_served() {
    let gateway = Gateway::start("[limits]\nconnections = 2\n");
    let mut first = Device::connect(gateway.address, "first");
    let second = Device::connect(gateway.address, "second");
    // Whether it says hello and hears why not, or nothing.
    assert!(Device::try_connect(gateway.address, "third").is_none());
    let mut silent = TcpStream::connect(gateway.address).expect("accepted by the system");
    assert!(is_closed(&mut silent));
    gateway.expect_line("connection refused from 127.0.0.1: limits.connections is reached");
    first.publish("a", 1, "x");
    assert!(first.is_acknowledged());
    drop(second);
    wait_until("a place is free", || {
        Device::try_connect(gateway.address, "third").is_some()
    });
}

#[test]
fn a_dead_cloud_is_one_line_and_delays_nothing() {
    let refusing = free_port().to_string();
    let (silent, _silent_listener) = silent_cloud();
    let table = [
        ("mqtt://no-such-host.invalid:1883".to_owned(), "is down: "),
        (format!("mqtt://{refusing}"), "is down: "),
        (format!("mqtt://{silent}"), ""),
    ];
    for (endpoint, expected) in table {
        let mut gateway = Gateway::start(&format!(
            "[cloud]\nendpoints = [\"{endpoint}\"]\nuplink = [\"#\"]\nconnections = 1\n\
             [sync]\nbackoff_max_seconds = 1\n"
        ));
        let mut device = Device::connect(gateway.address, "device");
        for count in 1..=20 {
            device.publish("plant/temp", count, "21");
            assert!(device.is_acknowledged(), "{endpoint}");
        }
        gateway.expect_fact("normal.head", |head| head == 20);
        if !expected.is_empty() {
            gateway.expect_line(expected);
            assert!(
                gateway.lines_with("is down").len() <= 2,
                "{:#?}",
                gateway.lines_with("is down")
            );
        }
        assert!(gateway.terminate_soon().success(), "{endpoint}");
    }
}

/// Whether the other side closes before the test's patience ends.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket has time-outs");
    let mut rest = [0; 256];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset => return true,
                ErrorKind::Interrupted => {}
                _ => panic!("{error}"),
            },
        }
    }
}

/// A cloud that accepts and never says a word.
fn silent_cloud() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    (listener.local_addr().expect("bound"), listener)
}
