//! Devices on a serial line: what a lost byte costs, and how connections begin and end where no
//! line goes up or down.

use std::sync::mpsc::{Receiver, channel};

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::LastWill;

use super::devices::Device;
use super::line::{Board, Line, Running, Wire, publish};
use super::support::{Gateway, PATIENCE};
use uart_sensor::{News, Pace, Sensor, Uart};

#[path = "../../../examples/uart_sensor.rs"]
#[expect(dead_code, reason = "the tests are its `main`")]
mod uart_sensor;

#[test]
fn a_damaged_frame_costs_its_packet_and_nothing_else() {
    let mut board = Board::new(Line::new());
    let gateway = Gateway::start(&board.line.listener());
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    assert!(!board.connect("board", None));
    board.line.send(&publish("plant/temp", 1, "first"));
    let mut hit = publish("plant/temp", 2, "second");
    hit.remove(hit.len() / 2);
    board.line.send(&hit);
    board.line.send(&publish("plant/temp", 3, "third"));
    assert_eq!([board.acknowledged(), board.acknowledged()], [1, 3]);
    assert_eq!(display.take().as_deref(), Some("first"));
    assert_eq!(display.take().as_deref(), Some("third"));
    assert_eq!(gateway.fact("serial.damaged"), 1);
    gateway.expect_line("frames were damaged and dropped, the last one: frame ends");
    // The board misses its PUBACK, and what it does then repairs the loss.
    assert!(board.connect("board", None));
    board.line.send(&publish("plant/temp", 2, "second"));
    assert_eq!(board.acknowledged(), 2);
    assert_eq!(display.take().as_deref(), Some("second"));
}

#[test]
fn a_connect_in_the_midst_means_that_the_device_was_restarted() {
    let mut board = Board::new(Line::new());
    let gateway = Gateway::start(&board.line.listener());
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    let will = LastWill::new("plant/state", "gone", QoS::AtLeastOnce, false);
    assert!(!board.connect("board", Some(will)));
    board.subscribe("commands/#");
    // In the middle of a packet.
    let half = publish("plant/temp", 1, "never whole");
    board.line.send(&half[..half.len() / 2]);
    assert!(board.connect("board", None), "the session is kept");
    assert_eq!(display.take().as_deref(), Some("gone"));
    display.publish("commands/go", 1, "now");
    assert_eq!(board.take(), "now");
    gateway.expect_fact("connections", |count| count == 2);
}

#[test]
fn a_device_without_a_connection_is_told_so() {
    let mut board = Board::new(Line::new());
    let mut gateway = Gateway::start(&board.line.listener());
    board.line.send(&publish("plant/temp", 1, "stray"));
    assert_eq!(board.receive(), None);
    assert!(!board.connect("board", None));
    gateway.kill();
    gateway.restart();
    // No line went down; the board can't know yet.
    board.line.send(&publish("plant/temp", 1, "stray"));
    assert_eq!(board.receive(), None);
    assert_eq!(gateway.fact("serial.strays"), 1);
    assert!(board.connect("board", None));
    assert!(gateway.terminate_soon().success());
    assert_eq!(board.receive(), None);
}

#[test]
fn a_line_that_is_unplugged_is_opened_again() {
    let mut board = Board::new(Line::new());
    let gateway = Gateway::start(&board.line.listener());
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("plant/#");
    let will = LastWill::new("plant/state", "gone", QoS::AtLeastOnce, false);
    board.connect("board", Some(will));
    board.line.unplug();
    assert_eq!(display.take().as_deref(), Some("gone"));
    gateway.expect_line("can't be used, it is opened again when it is there");
    board.line.plug_in();
    board.connect("board", None);
    gateway.expect_line("is open again");
    assert_eq!(gateway.lines_with("can't be used").len(), 1);
}

#[test]
fn a_line_that_is_not_there_holds_nothing_up() {
    let mut line = Line::new();
    line.unplug();
    let gateway = Gateway::start(&line.listener());
    gateway.expect_line("can't be used, it is opened again when it is there");
    let _ = Device::connect(gateway.address, "another");
    line.plug_in();
    let mut board = Board::new(line);
    board.connect("board", None);
}

#[test]
fn nobody_reading_holds_up_neither_others_nor_the_end() {
    let mut board = Board::new(Line::new());
    let mut gateway = Gateway::start(&board.line.listener());
    board.connect("board", None);
    board.subscribe("plant/#");
    let mut sensor = Device::connect(gateway.address, "sensor");
    let payload = "x".repeat(1000);
    for count in 1..=500 {
        sensor.publish("plant/temp", count, &payload);
        assert!(sensor.is_acknowledged());
    }
    assert!(gateway.terminate_soon().success());
}

#[test]
fn the_example_loses_nothing_on_a_line_that_loses_bytes() {
    const READINGS: u32 = 60;
    let lines = [Line::new(), Line::new()];
    let device = lines[1].path();
    let mut gateway = Gateway::start(&lines[0].listener());
    let wire = Wire::join(lines, 397);
    let mut display = Device::connect(gateway.address, "display");
    display.subscribe("readings/#");
    let (sensor, news) = sensor(&device);
    // It subscribes before it publishes, so from here on a command reaches it, whatever the line
    // does to the first try.
    wait_for(&news, |news| news == News::Stored(0));
    display.publish("commands/boiler", 7, "1");
    assert_eq!(display.take(), Some(reading(0)));
    wait_for(&news, |news| news == News::Commanded(1));
    let mut next = 1;
    while next < READINGS {
        let payload = display.take().expect("the connection stays");
        // Sent again, with its own number, or the next one.
        if payload != reading(next - 1) {
            assert_eq!(payload, reading(next));
            next += 1;
        }
    }
    assert!(gateway.fact("serial.damaged") > 0);
    // It outlives its gateway as well.
    gateway.kill();
    gateway.restart();
    news.try_iter().for_each(drop);
    wait_for(&news, |news| news == News::Connecting);
    wait_for(&news, |news| matches!(news, News::Stored(_)));
    drop((sensor, wire));
}

/// The example, on a line of its own, as eager as a test needs it.
fn sensor(device: &std::path::Path) -> (Running, Receiver<News>) {
    let (sender, news) = channel();
    let pace = Pace {
        period: 20,
        patience: 200,
    };
    let uart = Uart::open(device.to_str().expect("ASCII"), 115_200).expect("it is plugged in");
    let mut sensor = Sensor::new(uart, "boiler", pace);
    let running = Running::start(move || {
        // The test may have heard enough.
        let tell = |news| sender.send(news).unwrap_or_default();
        sensor.step(Uart::clock(), tell).expect("the line is there");
        sensor.uart().wait(5).map(drop)
    });
    (running, news)
}

fn wait_for(news: &Receiver<News>, is_it: impl Fn(News) -> bool) {
    while !is_it(news.recv_timeout(PATIENCE).expect("it goes on")) {}
}

fn reading(count: u32) -> String {
    let tenths = 200 + count % 100;
    format!(
        "{{\"count\":{count},\"celsius\":{}.{}}}",
        tenths / 10,
        tenths % 10
    )
}
