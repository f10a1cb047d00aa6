//! Links with certificates, as mosquitto's clients, rumqttc and rustls see them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{Client, Event, Incoming, MqttOptions, QoS, TlsConfiguration, Transport};

use super::authority::{Authority, Identity, tls_stream};
use super::devices::Device;
use super::support::{Gateway, PATIENCE, Tool, now, skip, wait_until};

/// Keys of `[listener.tls]` that ask clients for a certificate of `authority`.
fn asking(authority: &Authority, how: &str) -> String {
    let ca = authority.ca.display();
    format!("client_ca_file = '{ca}'\nclient_certificate = \"{how}\"\n")
}

/// What mosquitto's clients call it.
fn tool_arguments<'a>(ca: &'a Path, identity: Option<&'a Identity>) -> Vec<&'a str> {
    let text = |path: &'a Path| path.to_str().expect("a plain path");
    let mut arguments = vec!["--cafile", text(ca)];
    if let Some(identity) = identity {
        arguments.extend(["--cert", text(&identity.certificate)]);
        arguments.extend(["--key", text(&identity.key)]);
    }
    arguments
}

fn has_mosquitto_clients() -> bool {
    let found = std::process::Command::new("mosquitto_pub")
        .arg("--help")
        .output();
    if found.is_err() {
        skip("mosquitto's clients are not installed");
    }
    found.is_ok()
}

/// Whether mosquitto_pub gets a message through at QoS 1.
fn publishes(gateway: &Gateway, arguments: &[&str]) -> bool {
    let message = ["-q", "1", "-t", "plant/temp", "-m", "21"];
    let arguments = [&message[..], arguments].concat();
    Tool::start("mosquitto_pub", gateway.address, &arguments).succeeds()
}

#[test]
fn mosquitto_clients_talk_over_both_versions_of_tls() {
    if !has_mosquitto_clients() {
        return;
    }
    let authority = Authority::new("ours");
    let gateway = Gateway::start(&authority.server().section(""));
    gateway.expect_line(", TLS");
    let trusting = tool_arguments(&authority.ca, None);
    for (client, tls, mqtt) in [("a", "tlsv1.2", "mqttv311"), ("b", "tlsv1.3", "mqttv5")] {
        let version = ["--tls-version", tls, "-V", mqtt];
        let session = ["-i", client, "-c", "-q", "1", "-t", "plant/#", "-W", "20"];
        let subscribe = |more: &[&str]| {
            let arguments = [&trusting[..], &version, &session, more].concat();
            Tool::start("mosquitto_sub", gateway.address, &arguments)
        };
        assert!(subscribe(&["-E"]).succeeds(), "{tls}");
        assert!(
            publishes(&gateway, &[&trusting[..], &version].concat()),
            "{tls}"
        );
        assert_eq!(subscribe(&["-C", "1"]).lines(), ["21"], "{tls}");
    }
    let stranger = Authority::new("theirs");
    let distrusting = tool_arguments(&stranger.ca, None);
    assert!(
        !publishes(&gateway, &distrusting),
        "the client is not fooled"
    );
}

#[test]
fn a_required_certificate_has_to_be_good() {
    if !has_mosquitto_clients() {
        return;
    }
    let authority = Authority::new("ours");
    let stranger = Authority::new("theirs");
    let crl = format!("crl_file = '{}'\n", authority.revoke(&[66]).display());
    let tls = authority
        .server()
        .section(&(asking(&authority, "required") + &crl));
    let gateway = Gateway::start(&tls);
    let good = authority.client("good", 7);
    let accepts =
        |identity: Option<&Identity>| publishes(&gateway, &tool_arguments(&authority.ca, identity));
    assert!(accepts(Some(&good)));
    assert!(!accepts(None), "none");
    gateway.expect_line("was turned away: peer sent no certificates");
    assert!(
        !accepts(Some(&stranger.client("good", 7))),
        "of another authority"
    );
    assert!(!accepts(Some(&authority.client("revoked", 66))), "revoked");
    assert!(!accepts(Some(&authority.expired_client())), "expired");
    assert!(accepts(Some(&good)));
}

#[test]
fn each_bad_certificate_has_its_line() {
    let authority = Authority::new("ours");
    let stranger = Authority::new("theirs");
    let crl = format!("crl_file = '{}'\n", authority.revoke(&[66]).display());
    let tls = authority
        .server()
        .section(&(asking(&authority, "optional") + &crl));
    for (identity, problem) in [
        (stranger.client("good", 7), "UnknownIssuer"),
        (authority.client("revoked", 66), "Revoked"),
        (authority.expired_client(), "expired"),
    ] {
        let gateway = Gateway::start(&tls);
        let config = authority.trusting_client(Some(&identity));
        let refused = Device::over(tls_stream(gateway.address, config), "a");
        assert!(refused.is_none(), "{problem}");
        let line = gateway.expect_line("was turned away: invalid peer certificate: ");
        assert!(line.contains(problem), "{line}");
        // Optional: without one there is nothing to be wrong with.
        let config = authority.trusting_client(None);
        assert!(Device::over(tls_stream(gateway.address, config), "b").is_some());
    }
}

#[test]
fn a_certificate_without_a_name_names_nobody() {
    let authority = Authority::new("ours");
    let more = asking(&authority, "required") + "identity_as_user = \"common-name\"\n";
    let gateway = Gateway::start(&authority.server().section(&more));
    let connect = |identity: &Identity| {
        let config = authority.trusting_client(Some(identity));
        Device::over(tls_stream(gateway.address, config), "device")
    };
    assert!(connect(&authority.client("sensor-7", 7)).is_some());
    assert!(connect(&authority.client("", 8)).is_none());
    gateway.expect_line("was turned away: the client's certificate has no common name");
}

#[test]
fn a_client_of_other_protocols_only_is_refused() {
    let authority = Authority::new("ours");
    let gateway = Gateway::start(&authority.server().section(""));
    let connect = |names: &[&str]| {
        let mut config = authority.trusting_client(None);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Device::over(tls_stream(gateway.address, config), "device")
    };
    assert!(connect(&["mqtt"]).is_some());
    assert!(connect(&["h2", "mqtt"]).is_some());
    assert!(connect(&[]).is_some(), "nobody has to name one");
    assert!(connect(&["h2"]).is_none());
    gateway.expect_line("was turned away: peer doesn't support any known protocol");
}

#[test]
fn rumqttc_talks_over_tls_with_its_certificate() {
    let authority = Authority::new("ours");
    let tls = authority.server().section(&asking(&authority, "required"));
    let gateway = Gateway::start(&tls);
    let config = authority.trusting_client(Some(&authority.client("device", 7)));
    let mut options = MqttOptions::new("device", "127.0.0.1", gateway.address.port());
    let tls = TlsConfiguration::Rustls(Arc::new(config));
    options.set_transport(Transport::tls_with_config(tls));
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("plant/#", QoS::AtLeastOnce).expect("room");
    client
        .publish("plant/temp", QoS::AtLeastOnce, false, "21")
        .expect("room");
    let deadline = now() + PATIENCE;
    loop {
        let event = connection.recv_timeout(deadline.saturating_duration_since(now()));
        let event = event.expect("in time").expect("a connection that lasts");
        if let Event::Incoming(Incoming::Publish(publish)) = event {
            assert_eq!(publish.payload, "21");
            return;
        }
    }
}

#[test]
fn large_messages_pass_in_both_directions() {
    let authority = Authority::new("ours");
    let gateway = Gateway::start(&authority.server().section(""));
    let connect = |name: &str| {
        let stream = tls_stream(gateway.address, authority.trusting_client(None));
        Device::over(stream, name).expect("welcome")
    };
    let (mut display, mut sensor) = (connect("display"), connect("sensor"));
    display.subscribe("plant/#");
    for count in 1..=4 {
        let payload = count.to_string().repeat(1_000_000);
        sensor.publish("plant/temp", count, &payload);
        assert!(sensor.is_acknowledged());
        assert!(display.take().is_some_and(|taken| taken == payload));
    }
}

#[test]
fn certificates_are_replaced_without_a_drop_or_not_at_all() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = old.server();
    let gateway = Gateway::start(&files.section(""));
    let connect = |authority: &Authority, name: &str| {
        let config = authority.trusting_client(None);
        Device::over(tls_stream(gateway.address, config), name)
    };
    let mut before = connect(&old, "before").expect("welcome");
    let mut expect_traffic = || {
        before.publish("plant/temp", 1, "21");
        assert!(before.is_acknowledged());
    };
    let replace = |from: &Path, to: &Path| {
        std::fs::copy(from, to).expect("a writable folder");
    };

    // A key that does not fit changes nothing.
    let others = new.server();
    replace(&others.key, &files.key);
    gateway.hang_up();
    gateway.expect_line("reload refused, nothing changed: listener ");
    assert!(connect(&old, "still").is_some());
    expect_traffic();

    replace(&others.certificate, &files.certificate);
    gateway.hang_up();
    gateway.expect_line("reloaded: 0 users, 1 certificates");
    assert!(connect(&new, "after").is_some());
    assert!(connect(&old, "late").is_none(), "the old authority is gone");
    expect_traffic();
}

#[test]
fn a_reloaded_list_revokes_at_once() {
    let authority = Authority::new("ours");
    let crl = authority.revoke(&[]);
    let more = format!(
        "{}crl_file = '{}'\n",
        asking(&authority, "required"),
        crl.display()
    );
    let gateway = Gateway::start(&authority.server().section(&more));
    let config = authority.trusting_client(Some(&authority.client("lost", 66)));
    // The same configuration would take its session up again, if it were given one.
    let connect = || Device::over(tls_stream(gateway.address, config.clone()), "lost");
    assert!(connect().is_some());
    assert_eq!(authority.revoke(&[66]), crl);
    gateway.hang_up();
    gateway.expect_line("reloaded: 0 users, 1 certificates");
    assert!(connect().is_none());
}

#[test]
fn handshakes_that_trickle_hold_up_nobody() {
    let authority = Authority::new("ours");
    let gateway = Gateway::start(&authority.server().section(AGES));
    let trickling = trickle(gateway.address);
    let config = authority.trusting_client(None);
    let mut device = Device::over(tls_stream(gateway.address, config), "a").expect("welcome");
    device.publish("plant/temp", 1, "21");
    assert!(device.is_acknowledged());
    for mut stream in trickling {
        stream.set_nonblocking(true).expect("a socket that can");
        let goes_on = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(goes_on, Err(ErrorKind::WouldBlock), "none was waited for");
    }
}

#[test]
fn handshakes_that_trickle_end_in_time() {
    let authority = Authority::new("ours");
    let section = authority
        .server()
        .section("[limits]\nconnect_timeout_seconds = 1\n");
    let gateway = Gateway::start(&section);
    let start = now();
    for mut stream in trickle(gateway.address) {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok_and(|_| now() - start >= Duration::from_secs(1)));
    }
}

/// Links on which the beginning of a record comes, and never its end.
fn trickle(address: SocketAddr) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(&[22, 3, 1, 2, 0, 1]).expect("it reads");
        stream
    };
    (0..50).map(open).collect()
}

/// More than any test takes.
const AGES: &str = "[limits]\nconnect_timeout_seconds = 300\n";

#[test]
fn each_listener_has_its_own_number_of_places() {
    let more = "connections = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\nconnections = 2\n";
    let gateway = Gateway::start(more);
    let _first = Device::connect(gateway.address, "first");
    assert!(Device::try_connect(gateway.address, "second").is_none());
    gateway.expect_line("listener.connections is reached");
    let other = gateway.address_of(1);
    let third = Device::connect(other, "third");
    let _fourth = Device::connect(other, "fourth");
    assert!(Device::try_connect(other, "fifth").is_none());
    drop(third);
    wait_until("a free place", || {
        Device::try_connect(other, "sixth").is_some()
    });
}

#[test]
fn idle_and_deaf_links_cost_no_time() {
    let authority = Authority::new("ours");
    let gateway = Gateway::start(&authority.server().section(AGES));
    let connect = |name: &str| {
        let stream = tls_stream(gateway.address, authority.trusting_client(None));
        Device::over(stream, name).expect("welcome")
    };
    let mut deaf = connect("deaf");
    deaf.subscribe_at_most_once("plant/#");
    let mut sensor = connect("sensor");
    let payload = "x".repeat(100_000);
    for count in 1..=100 {
        sensor.publish("plant/temp", count, &payload);
        assert!(sensor.is_acknowledged());
    }
    // And one that never says anything.
    let mut silent = tls_stream(gateway.address, authority.trusting_client(None));
    silent
        .sock
        .set_read_timeout(Some(Duration::from_millis(700)))
        .expect("a time-out");
    silent.flush().expect("a handshake");
    // It may have something left to do at first. A tick is 10 ms.
    wait_until("it rests", || {
        let ticks = gateway.processor_ticks();
        let waited = silent.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(
            waited,
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)
        ));
        gateway.processor_ticks() - ticks < 15
    });
}

/// A storm of clients that come back all at once.
#[test]
fn a_storm_of_handshakes_leaves_others_their_time() {
    let authority = Authority::new("ours");
    let more = authority
        .server()
        .section("[[listener]]\naddress = \"127.0.0.1:0\"\n");
    let gateway = Gateway::start(&more);
    let mut sensor = Device::connect(gateway.address_of(1), "sensor");
    sensor.subscribe_at_most_once("plant/#");
    // Nothing of it waits for the disk.
    let mut is_served = || {
        sensor.publish_at_most_once("plant/temp", "21");
        sensor.take().is_some()
    };
    // The same words for all of them: only the answer takes work.
    let mut hello = Vec::new();
    let mut client = tls_stream(gateway.address, authority.trusting_client(None));
    client
        .conn
        .write_tls(&mut hello)
        .expect("a vector takes all");
    let storm: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address).expect("it listens");
            stream.write_all(&hello).expect("it reads");
            stream
        })
        .collect();
    let mut turns = 0;
    for mut stream in storm {
        stream.set_nonblocking(true).expect("a socket that can");
        while stream.read(&mut [0; 1]).is_err() {
            assert!(is_served());
            turns += 1;
        }
    }
    println!("{turns} turns");
    // Handshakes that come first leave one or two.
    assert!(turns > 20, "{turns} turns");
}
