//! Everyday clients, as they are, over every kind of link and in every version of MQTT they speak.
//!
//! paho and MQTT.js each tell the same story: a kept session subscribes at QoS 2; it publishes at
//! each QoS, a large payload, properties in MQTT 5, and a retained message, and gets all of it
//! back; while it is away another one gets the retained message, clears it, and publishes; it comes
//! back to its session and finds what it missed. mosquitto's clients and rumqttc keep a session and
//! come back to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rumqttc::{TlsConfiguration, Transport};

use super::authority::Authority;
use super::support::{Gateway, PATIENCE, Tool, now, skip};

/// A gateway that listens in every way.
struct Everywhere {
    gateway: Gateway,
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Everywhere {
    fn start() -> Self {
        let authority = Authority::new("ours");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tls = authority.server().section("");
        let socket = folder.path().join("mqtt.sock");
        let place =
            |address: &str, more: &str| format!("[[listener]]\naddress = \"{address}\"\n{more}");
        let more = [
            place("127.0.0.1:0", &tls),
            place("127.0.0.1:0", "protocol = \"websocket\"\n"),
            place("127.0.0.1:0", &format!("protocol = \"websocket\"\n{tls}")),
            place(&format!("unix:{}", socket.display()), ""),
        ];
        Self {
            gateway: Gateway::start(&more.concat()),
            authority,
            folder,
        }
    }

    /// The way in that a client knows by this name.
    fn address(&self, link: &str) -> String {
        let index = match link {
            "tcp" => 0,
            "tls" => 1,
            "websockets" => 2,
            "websockets+tls" => 3,
            _ => return self.folder.path().join("mqtt.sock").display().to_string(),
        };
        let address = self.gateway.address_of(index).to_string();
        // The name that is in the certificate and that every client looks for.
        address.replace("127.0.0.1", "localhost")
    }

    fn ca(&self) -> &str {
        self.authority.ca.to_str().expect("a plain path")
    }
}

/// Fetches paho and MQTT.js; `None`, with a word about it, where that is not possible.
fn fetched() -> Option<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = package.join("tests/program/clients/fetch.sh");
    let output = Command::new("bash")
        .arg(script)
        .output()
        .expect("bash is there");
    match output.status.code() {
        Some(0) => Some(package.join("../target/clients")),
        Some(3) => {
            skip(String::from_utf8_lossy(&output.stdout).trim());
            None
        }
        _ => panic!(
            "clients can't be fetched:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// Lets a client tell its story over every link in each version that it speaks.
fn tell(interpreter: &str, script: &str) {
    let Some(folder) = fetched() else { return };
    let everywhere = Everywhere::start();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/clients");
    for link in ["tcp", "tls", "websockets", "websockets+tls", "unix"] {
        for version in ["31", "311", "5"] {
            let mut command = Command::new(interpreter);
            command
                .env("PYTHONPATH", folder.join("python"))
                .env("NODE_PATH", folder.join("node/node_modules"))
                .arg(scripts.join(script))
                .args([link, &everywhere.address(link), version]);
            if link.contains("tls") {
                command.arg(everywhere.ca());
            }
            let output = command.output().expect("it was there for the fetching");
            assert!(
                output.status.success() && output.stdout == b"ok\n",
                "{script} over {link} in {version}:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn paho_tells_its_story_over_every_link_in_every_version() {
    tell("python3", "paho_client.py");
}

#[test]
fn mqttjs_tells_its_story_over_every_link_in_every_version() {
    tell("node", "mqttjs_client.cjs");
}

#[test]
fn mosquitto_clients_come_back_to_their_session_over_every_link_in_every_version() {
    if Command::new("mosquitto_pub")
        .arg("--help")
        .output()
        .is_err()
    {
        return skip("mosquitto's clients are not installed");
    }
    let everywhere = Everywhere::start();
    for link in ["tcp", "tls", "unix"] {
        let address = everywhere.address(link);
        let mut way = match link {
            "unix" => vec!["--unix", &address],
            _ => {
                let (host, port) = address.rsplit_once(':').expect("a port");
                vec!["-h", host, "-p", port]
            }
        };
        if link == "tls" {
            way.extend(["--cafile", everywhere.ca()]);
        }
        for version in ["mqttv31", "mqttv311", "mqttv5"] {
            let topic = format!("clients/{link}/{version}");
            let session = ["-i", &topic[8..], "-c", "-q", "2", "-t", &topic, "-W", "20"];
            let start = |program, more: &[&str]| {
                Tool::start_with(program, &[&way[..], &["-V", version], more].concat())
            };
            let subscribe = |more: &[&str]| start("mosquitto_sub", &[&session, more].concat());
            assert!(subscribe(&["-E"]).succeeds(), "{link} {version}");
            for qos in ["0", "1", "2"] {
                let message = ["-t", &topic, "-q", qos, "-m", qos];
                assert!(
                    start("mosquitto_pub", &message).succeeds(),
                    "{link} {version}"
                );
            }
            // QoS 0 is not kept for those who are away.
            assert_eq!(
                subscribe(&["-C", "2"]).lines(),
                ["1", "2"],
                "{link} {version}"
            );
        }
    }
}

/// How rumqttc reaches each link that it knows.
fn transport(everywhere: &Everywhere, link: &str) -> (String, u16, Transport) {
    let address = everywhere.address(link);
    let Some((host, port)) = address.rsplit_once(':') else {
        return (address, 0, Transport::Unix);
    };
    let transport = match link {
        "tls" => {
            let config = everywhere.authority.trusting_client(None);
            Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config)))
        }
        _ => Transport::Tcp,
    };
    (host.to_owned(), port.parse().expect("a port"), transport)
}

/// The same code for both of rumqttc's modules, whose types differ by version.
macro_rules! come_back_with_rumqttc {
    ($version:ident, $($module:ident)::+, $keep:expr) => {
        mod $version {
            use super::*;
            use $($module)::+::mqttbytes::QoS;
            use $($module)::+::{Client, Connection, Event, Incoming, MqttOptions};

            fn connect(everywhere: &Everywhere, link: &str) -> (Client, Connection) {
                let (host, port, transport) = transport(everywhere, link);
                let name = format!("rumqttc-{}-{link}", stringify!($version));
                let mut options = MqttOptions::new(name, host, port);
                options.set_transport(transport);
                let keep: fn(&mut MqttOptions) = $keep;
                keep(&mut options);
                Client::new(options, 10)
            }

            /// Takes what comes until `is_last`.
            fn wait(connection: &mut Connection, is_last: impl Fn(&Incoming) -> bool) -> Incoming {
                let deadline = now() + PATIENCE;
                loop {
                    let left = deadline.saturating_duration_since(now());
                    let event = connection.recv_timeout(left).expect("in time");
                    match event.expect("a connection that lasts") {
                        Event::Incoming(incoming) if is_last(&incoming) => return incoming,
                        _ => {}
                    }
                }
            }

            #[test]
            fn comes_back_to_its_session_over_every_link() {
                let everywhere = Everywhere::start();
                for link in ["tcp", "tls", "unix"] {
                    let (client, mut connection) = connect(&everywhere, link);
                    let topic = format!("clients/rumqttc/{link}");
                    client.subscribe(&topic, QoS::ExactlyOnce).expect("room");
                    wait(&mut connection, |it| matches!(it, Incoming::SubAck(_)));
                    drop((client, connection));

                    let (client, mut connection) = connect(&everywhere, link);
                    let back = wait(&mut connection, |it| matches!(it, Incoming::ConnAck(_)));
                    let Incoming::ConnAck(connack) = back else { unreachable!() };
                    assert!(connack.session_present, "{link}");
                    client.publish(&topic, QoS::ExactlyOnce, false, "21").expect("room");
                    let got = wait(&mut connection, |it| matches!(it, Incoming::Publish(_)));
                    let Incoming::Publish(publish) = got else { unreachable!() };
                    assert_eq!((&publish.payload[..], publish.qos), (&b"21"[..], QoS::ExactlyOnce));
                }
            }
        }
    };
}

come_back_with_rumqttc!(rumqttc_in_311, rumqttc, |options| {
    options.set_clean_session(false);
});
come_back_with_rumqttc!(rumqttc_in_5, rumqttc::v5, |options| {
    options.set_clean_start(false);
    let mut properties = rumqttc::v5::mqttbytes::v5::ConnectProperties::new();
    properties.session_expiry_interval = Some(300);
    options.set_connect_properties(properties);
});
