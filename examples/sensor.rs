//! A sensor: publishes a temperature each second at QoS 1, and says when the gateway has it.
//!
//! ```sh
//! cargo run --release -p robustmq-edge -- run &
//! cargo run -p robustmq-edge --example sensor -- plant/line1/temp
//! ```
//!
//! The line `stored` comes with the PUBACK: from then on the message is on the gateway's disk.

use std::env;
use std::thread;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{Client, Event, Incoming, MqttOptions};

fn main() {
    let topic = env::args()
        .nth(1)
        .unwrap_or_else(|| "plant/line1/temp".to_owned());
    let mut options = MqttOptions::new("example-sensor", "127.0.0.1", 1883);
    options.set_keep_alive(Duration::from_secs(10));
    let (client, mut connection) = Client::new(options, 16);

    thread::spawn(move || {
        for count in 0_u32.. {
            let degrees = 20.0 + f64::from(count % 100) / 10.0;
            let payload = format!("{{\"count\":{count},\"celsius\":{degrees:.1}}}");
            if client
                .publish(&topic, QoS::AtLeastOnce, false, payload)
                .is_err()
            {
                return;
            }
            thread::park_timeout(Duration::from_secs(1));
        }
    });

    for event in connection.iter() {
        match event {
            Ok(Event::Incoming(Incoming::PubAck(ack))) => println!("stored {}", ack.pkid),
            Ok(_) => {}
            Err(error) => {
                eprintln!("not connected: {error}");
                thread::park_timeout(Duration::from_secs(1));
            }
        }
    }
}
