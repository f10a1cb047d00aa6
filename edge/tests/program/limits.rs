//! Limits of links, as clients meet them: which answer comes, and that places are given back.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use super::devices::Device;
use super::support::{Gateway, PATIENCE, wait_until};

/// CONNECT of MQTT 5, clean, with client identifier `x`, that wants codes without words.
const CONNECT_5: &[u8] = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x02\x17\x00\x00\x01x";
/// The same in 3.1.1.
const CONNECT_311: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x";

/// What comes until the other side closes.
fn answer(address: SocketAddr, connect: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("accepted by the system");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket has time-outs");
    stream.write_all(connect).expect("open");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closed");
    answer
}

#[test]
fn a_client_that_comes_one_too_many_hears_why() {
    let gateway = Gateway::start("[limits]\nconnections = 1\n");
    let first = Device::connect(gateway.address, "first");
    assert_eq!(answer(gateway.address, CONNECT_5), [0x20, 3, 0, 0x97, 0]);
    assert_eq!(answer(gateway.address, CONNECT_311), [0x20, 2, 0, 3]);
    drop(first);
    wait_until("a place is free", || {
        Device::try_connect(gateway.address, "second").is_some()
    });
}

/// However many come, few are kept to hear it, and none of them for long.
#[test]
fn a_flood_above_the_limit_leaves_nothing_open() {
    let gateway = Gateway::start("[limits]\nconnections = 1\n");
    let mut first = Device::connect(gateway.address, "first");
    let flood: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(gateway.address).expect("accepted by the system"))
        .collect();
    gateway.expect_fact("connections", |count| count <= 17);
    first.publish("a", 1, "x");
    assert!(first.is_acknowledged());
    gateway.expect_fact("connections", |count| count == 1);
    drop(flood);
}

#[test]
fn an_address_has_its_own_limit_and_this_machine_has_none() {
    let Some(address) = own_address() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let more = "allow_anonymous = true\n[limits]\nconnections_per_address = 2\n";
    let gateway = Gateway::start_at("0.0.0.0:0", more);
    let local = SocketAddr::from(([127, 0, 0, 1], gateway.address.port()));
    let far = SocketAddr::new(address, gateway.address.port());
    let own: Vec<Device> = (0..4)
        .map(|number| Device::connect(local, &format!("own-{number}")))
        .collect();
    let one = Device::connect(far, "one");
    let two = Device::connect(far, "two");
    assert_eq!(answer(far, CONNECT_5), [0x20, 3, 0, 0x97, 0]);
    gateway.expect_line("limits.connections_per_address is reached");
    drop(one);
    wait_until("a place is free", || {
        Device::try_connect(far, "three").is_some()
    });
    drop((own, two));
}

/// An address of this machine that others would use, without a word to anybody.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
