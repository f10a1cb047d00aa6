//! Programs on the same host, over a Unix socket.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS, Transport};

use super::devices::Device;
use super::support::{Gateway, run, stderr};

fn listener(path: &Path) -> String {
    format!("[[listener]]\naddress = 'unix:{}'\n", path.display())
}

#[test]
fn mosquittos_own_clients_talk_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("edge.sock");
    let gateway = Gateway::start(&listener(&path));
    gateway.expect_line("listening on unix:");
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    for version in ["mqttv311", "mqttv5"] {
        let sent = Command::new("mosquitto_pub")
            .args(["--unix", path.to_str().expect("ASCII"), "-V", version])
            .args(["-q", "1", "-t", "plant/temp", "-m", version])
            .status();
        let Ok(status) = sent else {
            eprintln!("skipped: mosquitto's clients are not installed");
            return;
        };
        assert!(status.success());
        assert_eq!(display.take().as_deref(), Some(version));
    }
    let hears = Command::new("mosquitto_sub")
        .args(["--unix", path.to_str().expect("ASCII"), "-q", "1"])
        .args(["-C", "1", "-W", "20", "-t", "plant/#"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it comes with mosquitto_pub");
    gateway.expect_fact("connections", |count| count == 2);
    // It is subscribed at the latest when it has been answered; what comes before is published
    // again.
    let mut count = 0;
    let mut publish = || {
        count += 1;
        display.publish("plant/hum", count, "40");
    };
    let mut child = hears;
    while child.try_wait().expect("it can be waited for").is_none() {
        publish();
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let Output { stdout, .. } = child.wait_with_output().expect("it has ended");
    assert_eq!(stdout, b"40\n");
}

#[test]
fn rumqttc_talks_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("edge.sock");
    let gateway = Gateway::start(&listener(&path));
    gateway.expect_line("listening on unix:");
    let mut options = MqttOptions::new("local", path.to_str().expect("ASCII"), 0);
    options.set_transport(Transport::Unix);
    let (client, mut connection) = Client::new(options, 4);
    client.subscribe("a/#", QoS::AtLeastOnce).expect("room");
    client
        .publish("a/b", QoS::AtLeastOnce, false, "hello")
        .expect("room");
    let message = connection.iter().find_map(|event| match event {
        Ok(Event::Incoming(Packet::Publish(publish))) => Some(publish.payload),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    });
    assert_eq!(message.as_deref(), Some(&b"hello"[..]));
}

#[test]
fn the_socket_belongs_to_the_gateway_that_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("edge.sock");
    let mut gateway = Gateway::start(&format!("{}mode = \"0600\"\n", listener(&path)));
    gateway.expect_line("listening on unix:");
    let found = || std::fs::metadata(&path).expect("it is there");
    assert_eq!(found().permissions().mode() & 0o777, 0o600);
    // Another gateway does not take it away.
    let other = folder.path().join("other.toml");
    let data = folder.path().join("data");
    let text = format!(
        "[gateway]\ndata = '{}'\n{}",
        data.display(),
        listener(&path)
    );
    std::fs::write(&other, text).expect("a writable folder");
    let before = found().ino();
    let refused = run(&["run", "--config", other.to_str().expect("ASCII")]);
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("another program listens there"));
    assert_eq!(found().ino(), before);
    // One that was killed leaves it, and it is replaced.
    gateway.kill();
    assert!(path.exists());
    gateway.restart();
    gateway.expect_line("listening on unix:");
    std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    assert!(gateway.terminate().success());
    assert!(!path.exists());
}
