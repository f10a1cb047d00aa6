//! Everyday clients, as they are, over every kind of link and in every version of MQTT they speak.
//!
//! Each tells the same story: a kept session subscribes at QoS 2; it publishes at each QoS, a large
//! payload, properties in MQTT 5, and a retained message, and gets all of it back; while it is away
//! another one gets the retained message, clears it, and publishes; it comes back to its session
//! and finds what it missed.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Gateway, skip};

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

/// Runs a story over one link in each version that the client speaks.
fn tell(folder: &Path, client: &str, link: &str, address: &str) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/clients");
    for version in ["31", "311", "5"] {
        let mut command = match client {
            "paho" => Command::new("python3"),
            _ => Command::new("node"),
        };
        let script = match client {
            "paho" => "paho_client.py",
            _ => "mqttjs_client.cjs",
        };
        let output = command
            .env("PYTHONPATH", folder.join("python"))
            .env("NODE_PATH", folder.join("node/node_modules"))
            .arg(scripts.join(script))
            .args([link, address, version])
            .output()
            .expect("it was there when the clients were fetched");
        assert!(
            output.status.success() && output.stdout == b"ok\n",
            "{client} over {link} in {version}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn paho_and_mqttjs_tell_their_story_over_tcp() {
    let Some(folder) = fetched() else { return };
    let gateway = Gateway::start("");
    for client in ["paho", "mqttjs"] {
        tell(&folder, client, "tcp", &gateway.address.to_string());
    }
}
