//! NATS clients, as they are, and MQTT clients beside them.
//!
//! nats-py, nats.js and, where it was built, async-nats tell the same story: two clients subscribe with wildcards, share a queue
//! group, ask each other and nobody, send headers and the largest payload, and come back with their
//! subscriptions after the gateway was killed; all of it in the clear, and through TLS. In nats-py's story there is a device besides, which
//! speaks MQTT 5: it is heard, it asks, and it is asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::authority::{Authority, tls_over};
use super::clients::fetched;
use super::support::{Gateway, PATIENCE, Tool, free_port, skip};

/// A gateway that speaks NATS on a port that stays the same.
fn start(more: &str) -> (Gateway, SocketAddr) {
    let address = free_port();
    let listener = format!("[[listener]]\naddress = \"{address}\"\nprotocol = \"nats\"\n{more}");
    let gateway = Gateway::start(&listener);
    assert_eq!(gateway.address_of(1), address);
    (gateway, address)
}

/// Lets a client tell its story, in the clear and through TLS.
fn tell(interpreter: &str, script: &str) {
    let Some(folder) = fetched() else { return };
    let authority = Authority::new("ours");
    let ca = authority.ca.to_str().expect("a plain path");
    tell_over(interpreter, script, &folder, start(""), &[]);
    let gateway = start(&authority.server().section(""));
    tell_over(interpreter, script, &folder, gateway, &[ca]);
}

fn tell_over(
    interpreter: &str,
    script: &str,
    folder: &Path,
    gateway: (Gateway, SocketAddr),
    more: &[&str],
) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/clients");
    let mut command = Command::new(interpreter);
    command
        .env("PYTHONPATH", folder.join("python"))
        .env("NODE_PATH", folder.join("node/node_modules"))
        .arg(scripts.join(script));
    tell_by(command, script, gateway, more);
}

/// Lets a program tell its story of a gateway, which is killed when it asks for that.
fn tell_by(
    mut command: Command,
    script: &str,
    (mut gateway, address): (Gateway, SocketAddr),
    more: &[&str],
) {
    let mut child = command
        .args([
            // The name that is in the certificate.
            format!("localhost:{}", address.port()),
            gateway.address.to_string(),
        ])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was there for the fetching");
    let stdout = child.stdout.take().expect("it was asked for");
    let mut said = Vec::new();
    for line in BufReader::new(stdout).lines() {
        said.push(line.expect("text"));
        if said == ["kill"] {
            gateway.kill();
            gateway.restart();
            let mut stdin = child.stdin.take().expect("it was asked for");
            stdin.write_all(b"back\n").expect("it reads");
        }
    }
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}:\n{errors}");
    assert_eq!(said, ["kill", "ok"], "{script}:\n{errors}");
}

#[test]
fn nats_py_tells_its_story() {
    tell("python3", "nats_client.py");
}

#[test]
fn nats_js_tells_its_story() {
    tell("node", "natsjs_client.cjs");
}

#[test]
fn async_nats_tells_its_story() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = package.join("../target/clients/async-nats/debug/async-nats-client");
    if !program.exists() {
        return skip("async-nats is not built: see tests/program/clients/async_nats/build.sh");
    }
    let authority = Authority::new("ours");
    let ca = authority.ca.to_str().expect("a plain path");
    tell_by(Command::new(&program), "async-nats", start(""), &[]);
    let gateway = start(&authority.server().section(""));
    tell_by(Command::new(&program), "async-nats", gateway, &[ca]);
}

/// A client that is nothing but its bytes.
struct Plain<S> {
    stream: BufReader<S>,
}

impl Plain<TcpStream> {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("a time above zero");
        let stream = BufReader::new(stream);
        Self { stream }
    }
}

impl<S: std::io::Read + std::io::Write> Plain<S> {
    fn say(&mut self, bytes: &str) {
        let sent = self.stream.get_mut().write_all(bytes.as_bytes());
        sent.expect("it is read");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("in time");
        line
    }
}

#[test]
fn info_names_both_ends_and_the_limit_of_the_listener() {
    let (_gateway, address) = start("packet_bytes = 2000\n");
    let mut client = Plain::connect(address);
    let info = client.line();
    for part in [
        "INFO {\"server_id\":\"",
        "\"server_name\":\"test\",\"version\":\"2.10.0\",\"proto\":1,\"host\":\"127.0.0.1\"",
        &format!(
            "\"port\":{},\"headers\":true,\"max_payload\":2000",
            address.port()
        ),
        "\"client_ip\":\"127.0.0.1\",\"auth_required\":false",
    ] {
        assert!(info.contains(part), "{part} in {info}");
    }
    client.say("CONNECT {\"verbose\":false}\r\nPUB a 2001\r\n");
    assert_eq!(client.line(), "-ERR 'Maximum Payload Violation'\r\n");
    assert_eq!(client.line(), "", "the end");
}

#[test]
fn a_unix_socket_speaks_nats_as_well() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("nats.sock");
    let listener = format!(
        "[[listener]]\naddress = \"unix:{}\"\nprotocol = \"nats\"\n",
        path.display()
    );
    let gateway = Gateway::start(&listener);
    gateway.expect_line("nats.sock, NATS");
    let stream = UnixStream::connect(&path).expect("it listens");
    let mut client = Plain {
        stream: BufReader::new(stream),
    };
    assert!(client.line().contains("nats.sock\",\"port\":0,"));
    client.say("CONNECT {\"verbose\":false}\r\nPING\r\n");
    assert_eq!(client.line(), "PONG\r\n");
}

#[test]
fn a_subscriber_that_reads_nothing_is_cut_off_and_others_go_on() {
    let (gateway, address) = start("");
    let mut slow = Plain::connect(address);
    slow.say("CONNECT {\"verbose\":false}\r\nSUB flood 1\r\nPING\r\n");
    slow.line();
    assert_eq!(slow.line(), "PONG\r\n");
    let mut publisher = Plain::connect(address);
    publisher.say("CONNECT {\"verbose\":false}\r\nSUB end 1\r\n");
    publisher.line();
    let message = format!("PUB flood 65536\r\n{}\r\n", "x".repeat(65_536));
    for _ in 0..400 {
        publisher.say(&message);
    }
    publisher.say("PUB end 0\r\n\r\n");
    assert_eq!(publisher.line(), "MSG end 1 0\r\n");
    gateway.expect_line("slow consumer");
    let mut rest = Vec::new();
    // The last words may be lost behind what was not read.
    let _ = slow.stream.read_to_end(&mut rest);
    assert!(rest.len() < 400 * 65_536);
}

/// Adds a user to a password file, which is made if it is missing.
fn add_user(passwords: &Path, user: &str, password: &str) {
    let file = passwords.to_str().expect("a plain path");
    let mut child = Command::new(env!("CARGO_BIN_EXE_robustmq-edge"))
        .args(["passwd", file, user])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it was asked for");
    let written = stdin.write_all(format!("{password}\n").as_bytes());
    written.expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn users_of_devices_are_users_of_services() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (passwords, list) = (folder.path().join("passwords"), folder.path().join("list"));
    for (user, password) in [("alice", "secret"), ("token", "t0ken")] {
        add_user(&passwords, user, password);
    }
    std::fs::write(&list, "user alice\ntopic readwrite open/#\n").expect("a writable folder");
    let (_gateway, address) = start(&format!(
        "password_file = '{}'\nacl_file = '{}'\n",
        passwords.display(),
        list.display()
    ));
    let greet = |fields: &str| {
        let mut client = Plain::connect(address);
        assert!(client.line().contains("\"auth_required\":true"));
        client.say(&format!(
            "CONNECT {{\"verbose\":false{fields}}}\r\nPING\r\n"
        ));
        let answer = client.line();
        (client, answer)
    };
    let violation = "-ERR 'Authorization Violation'\r\n";
    for (fields, answer) in [
        (",\"user\":\"alice\",\"pass\":\"secret\"", "PONG\r\n"),
        (",\"auth_token\":\"t0ken\"", "PONG\r\n"),
        (",\"user\":\"alice\",\"pass\":\"Secret\"", violation),
        (",\"user\":\"bob\",\"pass\":\"secret\"", violation),
        (",\"auth_token\":\"secret\"", violation),
        ("", violation),
    ] {
        assert_eq!(greet(fields).1, answer, "{fields}");
    }
    let (mut alice, _) = greet(",\"user\":\"alice\",\"pass\":\"secret\"");
    alice.say("SUB > 1\r\nPUB closed.a 1\r\nx\r\nPUB open.a 1\r\nx\r\n");
    let refused = "-ERR 'Permissions Violation for Publish to \"closed.a\"'\r\n";
    assert_eq!(alice.line(), refused);
    assert_eq!(alice.line(), "MSG open.a 1 1\r\n");
}

#[test]
fn info_asks_for_a_password_once_there_is_one() {
    let (gateway, address) = start("");
    let info = || Plain::connect(address).line();
    assert!(info().contains("\"auth_required\":false"));
    let file = gateway.config();
    let passwords = gateway.data().with_file_name("passwords");
    add_user(&passwords, "alice", "secret");
    let text = std::fs::read_to_string(&file).expect("it was written");
    let more = format!("{text}password_file = '{}'\n", passwords.display());
    std::fs::write(&file, more).expect("a writable folder");
    gateway.hang_up();
    gateway.expect_line("reloaded: 1 users");
    assert!(info().contains("\"auth_required\":true"));
}

#[test]
fn mosquitto_and_a_service_hear_each_other() {
    if Command::new("mosquitto_pub")
        .arg("--help")
        .output()
        .is_err()
    {
        return skip("mosquitto's clients are not installed");
    }
    let (gateway, address) = start("");
    let mut service = Plain::connect(address);
    service.say("CONNECT {\"verbose\":false}\r\nSUB plant.*.temp 1\r\nPING\r\n");
    service.line();
    assert_eq!(service.line(), "PONG\r\n");
    let message = ["-t", "plant/line1/temp", "-q", "2", "-m", "21.5"];
    assert!(Tool::start("mosquitto_pub", gateway.address, &message).succeeds());
    assert_eq!(service.line(), "MSG plant.line1.temp 1 4\r\n");
}

#[test]
fn info_in_the_clear_says_that_tls_begins_and_a_certificate_says_who_the_user_is() {
    let authority = Authority::new("ours");
    let section = authority.server().section(&format!(
        "client_ca_file = '{}'\nclient_certificate = \"required\"\n\
         identity_as_user = \"common-name\"\n",
        authority.ca.display()
    ));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = folder.path().join("list");
    std::fs::write(&list, "user sensor-7\ntopic readwrite own/#\n").expect("a writable folder");
    let (_gateway, address) = start(&format!("acl_file = '{}'\n{section}", list.display()));
    let mut client = Plain::connect(address);
    let info = client.line();
    assert!(
        info.contains("\"tls_required\":true,\"tls_verify\":true"),
        "{info}"
    );
    let config = authority.trusting_client(Some(&authority.client("sensor-7", 7)));
    let socket = client.stream.into_inner();
    let mut client = Plain {
        stream: BufReader::new(tls_over(socket, config)),
    };
    client.say("CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPUB other 0\r\n\r\nPUB own.a 0\r\n\r\n");
    let refused = "-ERR 'Permissions Violation for Publish to \"other\"'\r\n";
    assert_eq!(client.line(), refused);
    assert_eq!(client.line(), "MSG own.a 1 0\r\n");
}
