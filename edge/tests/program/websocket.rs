//! WebSocket as browsers and proxies use it, and as nobody should.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::authority::{Authority, tls_stream};
use super::devices::Device;
use super::support::{Gateway, PATIENCE, now};
use super::web::{GRANTED, REQUEST, Web};

const WEBSOCKET: &str = "protocol = \"websocket\"\n";

fn tcp_stream(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a gateway that takes connections");
    let wait = stream.set_read_timeout(Some(PATIENCE));
    wait.expect("a socket has time-outs");
    stream
}

/// A display and a sensor, one over WebSocket and one over WebSocket over TLS.
#[test]
fn messages_pass_over_websocket_plain_and_secured() {
    let authority = Authority::new("ours");
    let second = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{WEBSOCKET}");
    let secured = authority.server().section("");
    let gateway = Gateway::start(&[WEBSOCKET, &second, &secured].concat());
    gateway.expect_line(", WebSocket over TLS");

    let plain = Web::open(tcp_stream(gateway.address));
    let mut display = Device::over(plain, "display").expect("welcome");
    display.subscribe("plant/#");
    let mut config = authority.trusting_client(None);
    // As a browser does.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let secured = Web::open(tls_stream(gateway.address_of(1), config));
    let mut sensor = Device::over(secured, "sensor").expect("welcome");
    // Larger than any buffer between the two.
    let large = "x".repeat(900_000);
    for (count, payload) in [(1, "21"), (2, &large), (3, "22")] {
        sensor.publish("plant/temp", count, payload);
        assert!(sensor.is_acknowledged());
        assert!(display.take().is_some_and(|taken| taken == payload));
    }
}

/// [MQTT-6.0.0-2]
#[test]
fn frames_hold_parts_of_packets_or_several() {
    let gateway = Gateway::start(WEBSOCKET);
    let mut web = Web::open(tcp_stream(gateway.address));
    web.frame_bytes = 1;
    let mut trickling = Device::over(web, "trickling").expect("welcome");
    trickling.publish("plant/temp", 1, "21");
    assert!(trickling.is_acknowledged());

    let mut web = Web::open(tcp_stream(gateway.address));
    // CONNECT of MQTT 3.1.1, PINGREQ, PINGREQ: in two fragments with a ping between them.
    let packets = [
        &[0x10, 0x0d, 0, 4][..],
        b"MQTT",
        &[4, 2, 0, 60, 0, 1, b'a', 0xc0, 0, 0xc0, 0],
    ]
    .concat();
    web.send_frame(0x02, &packets[..9]);
    web.send_frame(0x89, b"are you there");
    web.send_frame(0x80, &packets[9..]);
    let mut answer = [0; 8];
    web.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, [0x20, 2, 0, 0, 0xd0, 0, 0xd0, 0]);
    assert_eq!(web.expect_control(), (0x8a, b"are you there".to_vec()));
}

#[test]
fn both_ends_say_goodbye() {
    let mut gateway = Gateway::start(WEBSOCKET);
    let mut web = Web::open(tcp_stream(gateway.address));
    web.send_frame(0x88, &1001_u16.to_be_bytes());
    assert_eq!(web.expect_control(), (0x88, vec![0x03, 0xe9]));
    web.expect_end();

    // A packet that is not MQTT ends the connection above; the frame layer ends well.
    let mut web = Web::open(tcp_stream(gateway.address));
    web.send_frame(0x82, &[0, 0]);
    assert_eq!(web.expect_control(), (0x88, vec![0x03, 0xe8]));
    web.expect_end();

    let mut web = Web::open(tcp_stream(gateway.address));
    assert!(gateway.terminate_soon().success());
    assert_eq!(web.expect_control(), (0x88, vec![0x03, 0xe8]));
}

#[test]
fn what_breaks_the_rules_is_told_its_code_and_closed() {
    let gateway = Gateway::start(WEBSOCKET);
    let mut polite = Device::over(Web::open(tcp_stream(gateway.address)), "polite").expect("in");
    let table: [(&[u8], u16); 6] = [
        (&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'], 1003), // [MQTT-6.0.0-1]
        (&[0x82, 0x02, b'h', b'i'], 1002),
        (&[0xc2, 0x80, 0, 0, 0, 0], 1002),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        (&[0x89, 0xfe, 0, 200, 0, 0, 0, 0], 1002),
        (&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ];
    for (bytes, code) in table {
        let mut web = Web::open(tcp_stream(gateway.address));
        web.send_raw(bytes);
        let expected = (0x88, code.to_be_bytes().to_vec());
        assert_eq!(web.expect_control(), expected, "{bytes:?}");
        web.expect_end();
    }
    polite.publish("plant/temp", 1, "21");
    assert!(polite.is_acknowledged());
}

/// What the gateway says to a request, to its end.
fn answer(gateway: &Gateway, request: &[u8]) -> String {
    let mut stream = tcp_stream(gateway.address);
    let _ = stream.write_all(request);
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("an answer and the end");
    answer
}

#[test]
fn requests_that_are_not_granted_get_the_right_status() {
    let gateway = Gateway::start(WEBSOCKET);
    let long = "a".repeat(9_000);
    let table = [
        (REQUEST.replace("GET ", "POST "), "400 "),
        (REQUEST.replace(": mqtt\r", ": chat\r"), "400 "),
        (REQUEST.replace("Host: gateway\r\n", ""), "400 "),
        (REQUEST.replace("Version: 13", "Version: 8"), "426 "),
        (REQUEST.replace("Upgrade: websocket\r\n", ""), "426 "),
        (
            REQUEST.replace("Host: gateway", &format!("Host: {long}")),
            "431 ",
        ),
        ("\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a".to_owned(), "400 "),
    ];
    for (request, status) in table {
        let answer = answer(&gateway, request.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    gateway.expect_line("was turned away: the request is not a GET of HTTP/1.1");
}

#[test]
fn only_pages_of_listed_origins_come_in_and_programs_without_one() {
    let gateway = Gateway::start(&format!(
        "{WEBSOCKET}allowed_origins = [\"https://panel.example.com\"]\n"
    ));
    let from = |origin: &str| {
        let line = format!("Host: gateway\r\nOrigin: {origin}\r\n");
        REQUEST.replace("Host: gateway\r\n", &line)
    };
    for origin in [
        "http://panel.example.com",
        "https://evil.example.com",
        "null",
    ] {
        let answer = answer(&gateway, from(origin).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    gateway.expect_line("was turned away: the request comes from a page of an origin");
    let mut page = tcp_stream(gateway.address);
    let request = from("https://panel.example.com");
    page.write_all(request.as_bytes()).expect("it reads");
    let mut granted = [0; GRANTED.len()];
    page.read_exact(&mut granted).expect("it answers");
    assert_eq!(granted, GRANTED.as_bytes());
    let program = Web::open(tcp_stream(gateway.address));
    assert!(Device::over(program, "program").is_some());
}

#[test]
fn a_request_that_trickles_is_cut_off_at_the_time_of_connect() {
    let gateway = Gateway::start(&format!(
        "{WEBSOCKET}[limits]\nconnect_timeout_seconds = 1\n"
    ));
    let mut stream = tcp_stream(gateway.address);
    let start = now();
    let wait = std::time::Duration::from_millis(50);
    stream.set_read_timeout(Some(wait)).expect("a time-out");
    stream
        .write_all(&REQUEST.as_bytes()[..30])
        .expect("it reads");
    let is_over = |stream: &mut TcpStream| matches!(stream.read(&mut [0; 1]), Ok(0));
    while !is_over(&mut stream) {
        assert!(now() - start < PATIENCE, "it goes on and on");
        let _ = stream.write_all(b"a");
    }
}
