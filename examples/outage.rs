//! An outage: the cloud is away while a device publishes a thousand messages; then it comes back.
//!
//! ```sh
//! cargo build --release && cargo run --release -p robustmq-edge --example outage
//! ```
//!
//! Starts two instances of `robustmq-edge`, one as the gateway and one as the cloud, in a temporary
//! folder. The device is never told of the outage: its PUBACKs come as before.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{Client, Connection, Event, Incoming, MqttOptions};

const MESSAGES: u32 = 1000;

#[expect(clippy::disallowed_methods, reason = "an example measures real time")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("outage-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut cloud = Instance::start(&folder, "cloud", "")?;
    let cloud_port = cloud.port;
    let upward = format!(
        "[cloud]\nendpoints = [\"mqtt://127.0.0.1:{cloud_port}\"]\nuplink = [\"plant/#\"]\n\
         [sync]\nbackoff_max_seconds = 1\n"
    );
    let gateway = Instance::start(&folder, "gateway", &upward)?;

    // The subscriber in the cloud has a session that outlives the outage.
    let (client, mut connection) = client("dashboard", cloud.port);
    client.subscribe("plant/#", QoS::AtLeastOnce)?;
    wait_for(&mut connection, 1, |packet| {
        matches!(packet, Incoming::SubAck(_))
    })?;
    drop((client, connection));

    cloud.stop()?;
    println!("the cloud is away");
    let start = Instant::now();
    let (client, mut connection) = client_of("device", gateway.port, MESSAGES as usize);
    for count in 0..MESSAGES {
        client.publish(
            "plant/line1/temp",
            QoS::AtLeastOnce,
            false,
            count.to_string(),
        )?;
    }
    wait_for(&mut connection, MESSAGES, |packet| {
        matches!(packet, Incoming::PubAck(_))
    })?;
    println!(
        "{MESSAGES} messages are on the gateway's disk after {:?}",
        start.elapsed()
    );

    let mut cloud = Instance::start(&folder, "cloud", "")?;
    println!("the cloud is back");
    let start = Instant::now();
    let (_client, mut connection) = self::client("dashboard", cloud.port);
    let mut expected = 0;
    wait_for(&mut connection, MESSAGES, |packet| match packet {
        Incoming::Publish(publish) => {
            let is_next = publish.payload == expected.to_string();
            expected += u32::from(is_next);
            is_next
        }
        _ => false,
    })?;
    println!(
        "{MESSAGES} messages are in the cloud, in order, after {:?}",
        start.elapsed()
    );
    cloud.stop()?;
    drop(gateway);
    Ok(std::fs::remove_dir_all(&folder)?)
}

/// Counts packets until there are `count` of the wanted kind.
fn wait_for(
    connection: &mut Connection,
    count: u32,
    mut is_wanted: impl FnMut(&Incoming) -> bool,
) -> Result<(), Box<dyn Error>> {
    let mut found = 0;
    for event in connection.iter() {
        if let Event::Incoming(packet) = event? {
            found += u32::from(is_wanted(&packet));
        }
        if found == count {
            return Ok(());
        }
    }
    Err("the connection ended".into())
}

fn client(name: &str, port: u16) -> (Client, Connection) {
    client_of(name, port, 16)
}

fn client_of(name: &str, port: u16, capacity: usize) -> (Client, Connection) {
    let mut options = MqttOptions::new(name, "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(10));
    options.set_clean_start(false);
    options.set_session_expiry_interval(Some(3600));
    Client::new(options, capacity)
}

/// One running `robustmq-edge`; killed when it is dropped.
struct Instance {
    child: Child,
    port: u16,
}

impl Instance {
    /// Starts an instance, on the port of its first start if there was one.
    fn start(folder: &Path, name: &str, more: &str) -> Result<Self, Box<dyn Error>> {
        let config = folder.join(format!("{name}.toml"));
        if !config.exists() {
            let text = |port: u16| {
                format!(
                    "[gateway]\nid = \"{name}\"\ndata = '{}'\n[[listener]]\naddress = \"127.0.0.1:{port}\"\n{more}",
                    folder.join(name).display()
                )
            };
            std::fs::write(&config, text(0))?;
            let first = Self::spawn(&config)?;
            std::fs::write(&config, text(first.port))?;
            return Ok(first);
        }
        Self::spawn(&config)
    }

    fn spawn(config: &Path) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(program()?)
            .args(["run".as_ref(), "--config".as_ref(), config.as_os_str()])
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        while let Some(line) = lines.next().transpose()? {
            if let Some((_, port)) = line
                .rsplit_once(':')
                .filter(|_| line.contains("listening on"))
            {
                let port = port.parse()?;
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self { child, port });
            }
        }
        Err("the gateway did not start".into())
    }

    fn stop(&mut self) -> Result<(), Box<dyn Error>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have been stopped before.
        let _ = self.stop();
    }
}

/// The program beside this example, in the same build.
fn program() -> Result<PathBuf, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).ok_or("no folder above")?;
    Ok(folder.join("robustmq-edge"))
}
