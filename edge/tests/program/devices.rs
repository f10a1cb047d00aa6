//! A device on site: a blocking MQTT 3.1.1 client made by rumqttc's codec, so that nothing of the
//! gateway's own is on both sides. And the tests of what a device may rely on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Packet, PubAck, Publish, Subscribe,
    SubscribeFilter,
};

use super::support::{Gateway, PATIENCE};

/// One connected client with a kept session.
pub(crate) struct Device<S = TcpStream> {
    stream: S,
    inbound: bytes::BytesMut,
    pub(crate) session_present: bool,
}

impl Device {
    /// Connects, or fails the test.
    pub(crate) fn connect(address: SocketAddr, client_identifier: &str) -> Self {
        Self::try_connect(address, client_identifier).expect("a gateway that takes connections")
    }

    /// Connects; `None` when the gateway does not want it.
    pub(crate) fn try_connect(address: SocketAddr, client_identifier: &str) -> Option<Self> {
        Self::try_connect_saying(address, &kept(client_identifier))
    }

    /// Connects with a packet; `None` when the gateway does not want it.
    pub(crate) fn try_connect_saying(address: SocketAddr, connect: &Connect) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket has time-outs");
        Self::over_saying(stream, connect)
    }

    /// The connection itself, for what no codec would send.
    pub(crate) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// Asks for a session that is kept, and for no keep-alive: a device of a test sends no PINGREQ, and a
/// busy machine may let more time pass between two of its steps than the usual one allows.
fn kept(client_identifier: &str) -> Connect {
    let mut connect = Connect::new(client_identifier);
    connect.clean_session = false;
    connect.keep_alive = 0;
    connect
}

impl<S: Read + Write> Device<S> {
    /// Says CONNECT over any stream of bytes; `None` when the gateway does not want it.
    pub(crate) fn over(stream: S, client_identifier: &str) -> Option<Self> {
        Self::over_saying(stream, &kept(client_identifier))
    }

    fn over_saying(stream: S, connect: &Connect) -> Option<Self> {
        let mut device = Self {
            stream,
            inbound: bytes::BytesMut::new(),
            session_present: false,
        };
        device.send(|out| connect.write(out).map(drop));
        match device.receive()? {
            Packet::ConnAck(ConnAck {
                session_present,
                code: ConnectReturnCode::Success,
            }) => {
                device.session_present = session_present;
                Some(device)
            }
            _ => None,
        }
    }

    /// Publishes at QoS 1 without waiting.
    pub(crate) fn publish(&mut self, topic: &str, packet_identifier: u16, payload: &str) {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
        publish.pkid = packet_identifier;
        self.send(|out| publish.write(out).map(drop));
    }

    /// The same with a message that is retained.
    pub(crate) fn publish_retained(&mut self, topic: &str, payload: &str) {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
        (publish.pkid, publish.retain) = (1, true);
        self.send(|out| publish.write(out).map(drop));
    }

    /// Subscribes at QoS 1 and waits for the answer.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.send(|out| subscribe.write(out).map(drop));
        assert!(matches!(self.receive(), Some(Packet::SubAck(_))));
    }

    /// Publishes at QoS 0.
    pub(crate) fn publish_at_most_once(&mut self, topic: &str, payload: &str) {
        let publish = Publish::new(topic, QoS::AtMostOnce, payload);
        self.send(|out| publish.write(out).map(drop));
    }

    /// Subscribes at QoS 0 and waits for the answer.
    pub(crate) fn subscribe_at_most_once(&mut self, filter: &str) {
        self.subscribe_to_all(&[filter.to_owned()]);
    }

    /// Subscribes to many filters at QoS 0 and waits for the answer, whatever it is.
    pub(crate) fn subscribe_to_all(&mut self, filters: &[String]) {
        let filter = |path: &String| SubscribeFilter::new(path.clone(), QoS::AtMostOnce);
        let mut subscribe = Subscribe::new_many(filters.iter().map(filter));
        subscribe.pkid = 1;
        self.send(|out| subscribe.write(out).map(drop));
        // Messages may come before it.
        loop {
            match self.receive() {
                Some(Packet::Publish(_)) => {}
                Some(Packet::SubAck(_)) => return,
                other => panic!("SUBACK expected, not {other:?}"),
            }
        }
    }

    /// Whether the next packet is a PUBACK.
    pub(crate) fn is_acknowledged(&mut self) -> bool {
        matches!(self.receive(), Some(Packet::PubAck(_)))
    }

    /// Takes the next message, acknowledges it, and gives its payload.
    pub(crate) fn take(&mut self) -> Option<String> {
        loop {
            match self.receive()? {
                Packet::Publish(publish) => {
                    if publish.qos != QoS::AtMostOnce {
                        let acknowledgement = PubAck::new(publish.pkid);
                        self.send(|out| acknowledgement.write(out).map(drop));
                    }
                    return Some(String::from_utf8_lossy(&publish.payload).into_owned());
                }
                _ => continue,
            }
        }
    }

    /// The next packet; `None` at the end of the connection.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        loop {
            if let Ok(packet) = Packet::read(&mut self.inbound, 1 << 20) {
                return Some(packet);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.inbound.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return None,
                // What TLS says of a connection that was refused or cut off.
                Err(error) if error.kind() == ErrorKind::InvalidData => return None,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Writes any packet.
    pub(crate) fn send<E: std::fmt::Debug>(
        &mut self,
        write: impl FnOnce(&mut bytes::BytesMut) -> Result<(), E>,
    ) {
        let mut out = bytes::BytesMut::new();
        write(&mut out).expect("a valid packet");
        // A gateway that was killed is noticed by the next read.
        let _ = self.stream.write_all(&out);
        let _ = self.stream.flush();
    }
}

/// Over TCP. [MQTT-4.2-1]
#[test]
fn a_kept_session_gets_everything_after_a_kill() {
    let mut gateway = Gateway::start("");
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    drop(display);
    let mut sensor = Device::connect(gateway.address, "sensor");
    for count in 1..=500_u16 {
        sensor.publish("plant/temp", count, &count.to_string());
    }
    for _ in 1..=500 {
        assert!(sensor.is_acknowledged());
    }
    gateway.kill();
    gateway.restart();
    let mut display = Device::connect(gateway.address, "display");
    assert!(display.session_present);
    for count in 1..=500 {
        assert_eq!(display.take(), Some(count.to_string()));
    }
}

/// [MQTT-3.1.2-8]: a will is published when its connection ends, also when the server ends it. What
/// says so is stored before the program ends.
#[test]
fn a_stop_publishes_wills_and_keeps_them_for_who_is_away() {
    let mut gateway = Gateway::start("");
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/state");
    drop(display);
    let mut connect = Connect::new("sensor");
    connect.last_will = Some(LastWill::new("plant/state", "gone", QoS::AtLeastOnce, true));
    let sensor = Device::try_connect_saying(gateway.address, &connect);
    assert!(gateway.terminate().success());
    drop(sensor);
    gateway.restart();
    let mut display = Device::connect(gateway.address, "display");
    assert_eq!(display.take().as_deref(), Some("gone"));
    let mut other = Device::connect(gateway.address, "other");
    other.subscribe("plant/state");
    assert_eq!(other.take().as_deref(), Some("gone"), "it is retained");
}

#[test]
fn a_stop_by_sigterm_is_clean_and_short() {
    let mut gateway = Gateway::start("");
    let mut sensor = Device::connect(gateway.address, "sensor");
    sensor.publish("plant/temp", 1, "21");
    assert!(sensor.is_acknowledged());
    assert!(gateway.terminate_soon().success());
    assert!(sensor.receive().is_none(), "the connection ends");
}

#[test]
fn ten_thousand_messages_for_an_offline_session_cost_no_memory() {
    let gateway = Gateway::start("");
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    drop(display);
    let mut sensor = Device::connect(gateway.address, "sensor");
    let payload = "x".repeat(1000);
    let mut publish = |from: u16, to: u16| {
        for count in from..=to {
            sensor.publish("plant/temp", count, &payload);
            if count % 50 == 0 {
                for _ in 0..50 {
                    assert!(sensor.is_acknowledged());
                }
            }
        }
    };
    // Buffers and caches have their size after this.
    publish(1, 5000);
    let before = gateway.resident_bytes();
    publish(5001, 15_000);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(
        grown < 4 << 20,
        "10 MB of backlog cost {grown} bytes of memory"
    );
    let mut display = Device::connect(gateway.address, "display");
    for _ in 1..=15_000 {
        assert_eq!(display.take().map(|payload| payload.len()), Some(1000));
    }
}
