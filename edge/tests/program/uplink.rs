//! What is promised of the way to the cloud and back, against a cloud that does its worst.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rumqttc::mqttbytes::v4::Packet;
use wire::mqtt::ReasonCode;

use super::devices::Device;
use super::scripted::{Answer, Cloud, Greeting, Manner, State};
use super::support::{Gateway, now, run};

/// A gateway that sends `plant/#` to these clouds, with `more` in its `[cloud]` and what follows.
fn gateway(clouds: &[&Cloud], more: &str) -> Gateway {
    let endpoints: Vec<String> = clouds
        .iter()
        .map(|cloud| format!("\"mqtt://{}\"", cloud.address))
        .collect();
    Gateway::start(&format!(
        "[cloud]\nendpoints = [{}]\nuplink = [\"plant/#\"]\n{more}",
        endpoints.join(", ")
    ))
}

/// Publishes and waits for the acknowledgements, so that everything is stored afterwards.
fn publish_all(device: &mut Device, messages: &[(&str, String)]) {
    for window in messages.chunks(50) {
        for (count, (topic, payload)) in (1..).zip(window) {
            device.publish(topic, count, payload);
        }
        for _ in window {
            assert!(device.is_acknowledged());
        }
    }
}

fn numbered<'a>(topics: &[&'a str], count: usize) -> Vec<(&'a str, String)> {
    let topics = topics.iter().cycle();
    topics
        .copied()
        .zip((0..count).map(|number| number.to_string()))
        .collect()
}

fn of_topic(messages: &[(&str, String)], topic: &str) -> Vec<String> {
    let mine = messages.iter().filter(|(of, _)| *of == topic);
    mine.map(|(_, payload)| payload.clone()).collect()
}

/// Everything arrived, in the order of each topic.
fn assert_complete(state: &State, messages: &[(&str, String)]) {
    let topics: BTreeSet<&str> = messages.iter().map(|(topic, _)| *topic).collect();
    for topic in topics {
        assert!(
            state.taken(topic) == of_topic(messages, topic),
            "{topic}: {:?}",
            state.taken(topic)
        );
    }
}

/// Publishes under two topics and gives how long it took until the cloud had the good one.
fn arrival_of(device: &mut Device, cloud: &Cloud, number: usize) -> Duration {
    let payload = number.to_string();
    device.publish("plant/bad", 1, &payload);
    let sent = now();
    device.publish("plant/good", 2, &payload);
    assert!(device.is_acknowledged() && device.is_acknowledged());
    cloud.wait_until("the good topic arrives", |state| {
        state.taken("plant/good").len() == number + 1
    });
    now() - sent
}

/// Seen beside a gateway where nothing is refused, in the same seconds.
#[test]
fn a_refused_topic_delays_no_other() {
    let calm_cloud = Cloud::start();
    let calm = gateway(&[&calm_cloud], "connections = 1\n");
    let mut calm_device = Device::connect(calm.address, "device");
    let cloud = Cloud::start();
    let is_refusing = Arc::new(AtomicBool::new(true));
    let refusing = is_refusing.clone();
    cloud.answer(move |arrival| {
        if arrival.topic == "plant/bad" && refusing.load(Ordering::SeqCst) {
            Answer::Say(ReasonCode::UnspecifiedError)
        } else {
            Answer::Accept
        }
    });
    let gateway = gateway(&[&cloud], "connections = 1\n");
    gateway.expect_line("is up: mqtt://");
    let mut device = Device::connect(gateway.address, "device");
    let start = now();
    let (mut latencies, mut calm_latencies) = (Vec::new(), Vec::new());
    while now() - start < Duration::from_secs(3) || latencies.len() < 20 {
        let number = latencies.len();
        calm_latencies.push(arrival_of(&mut calm_device, &calm_cloud, number));
        latencies.push(arrival_of(&mut device, &cloud, number));
    }
    latencies.sort();
    calm_latencies.sort();
    let middle = latencies.len() / 2;
    let (median, calm_median) = (latencies[middle], calm_latencies[middle]);
    assert!(
        median < Duration::from_millis(50) + 3 * calm_median,
        "median {median:?}, beside it {calm_median:?}"
    );
    // Not even as long as the shortest pause of what is refused; one may be the machine's own.
    let late = |all: &[Duration]| all.iter().filter(|it| it.as_millis() > 900).count();
    assert!(
        late(&latencies) <= 1 + late(&calm_latencies),
        "{latencies:?}"
    );
    println!("{median:?} {calm_median:?} of {}", latencies.len());
    assert!(cloud.state().taken("plant/bad").is_empty());

    is_refusing.store(false, Ordering::SeqCst);
    gateway.expect_drained("normal");
    let numbers: Vec<String> = (0..latencies.len())
        .map(|number| number.to_string())
        .collect();
    let state = cloud.state();
    assert!(
        state.taken("plant/bad") == numbers,
        "{:?}",
        state.taken("plant/bad")
    );
    assert_eq!(
        (state.greeted, state.taken("plant/good").len()),
        (1, numbers.len())
    );
}

#[test]
fn replay_sends_what_the_cloud_forgot_under_the_old_offsets() {
    let cloud = Cloud::start();
    let gateway = gateway(&[&cloud], "");
    let mut device = Device::connect(gateway.address, "device");
    let messages = numbered(&["plant/a", "plant/b", "plant/c"], 1000);
    publish_all(&mut device, &messages);
    gateway.expect_fact("cloud.normal.acknowledged", |floor| floor == 1000);
    assert_complete(&cloud.state(), &messages);
    cloud.state().arrivals.clear();

    let config = gateway.config();
    let config = config.to_str().expect("a plain path");
    let output = run(&[
        "replay", "--config", config, "--lane", "normal", "--from", "500",
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "normal: 500 records are sent again\n");
    gateway.expect_drained("normal");
    let state = cloud.state();
    assert_complete(&state, &messages[500..]);
    assert_eq!(state.arrivals.len(), 500);
    for arrival in &state.arrivals {
        assert_eq!(arrival.offset.to_string(), arrival.payload);
    }
}

#[test]
fn a_cloud_that_stops_for_a_while_gets_nothing_twice() {
    let cloud = Cloud::start();
    let mut left = 25;
    cloud.answer(move |_| {
        left -= 1;
        if left > 0 {
            Answer::Accept
        } else {
            Answer::Hold
        }
    });
    let gateway = gateway(&[&cloud], "connections = 1\n");
    let mut device = Device::connect(gateway.address, "device");
    let messages = numbered(&["plant/a", "plant/b", "plant/c"], 300);
    publish_all(&mut device, &messages);
    // Owing answers for more than a second, it counts as stalled.
    cloud.wait_until("a window", |state| state.arrivals.len() >= 50);
    gateway.expect_fact("cloud.connection.0.up", |up| up == 0);
    cloud.answer(|_| Answer::Accept);
    cloud.answer_held();
    gateway.expect_drained("normal");
    let state = cloud.state();
    assert_complete(&state, &messages);
    assert_eq!((state.arrivals.len(), state.greeted), (300, 1));
}

#[test]
fn a_cloud_that_stops_for_too_long_is_left_and_gets_everything() {
    let cloud = Cloud::start();
    let mut left = 25;
    cloud.answer(move |_| {
        left -= 1;
        if left > 0 {
            Answer::Accept
        } else {
            Answer::Ignore
        }
    });
    let gateway = gateway(
        &[&cloud],
        "connections = 1\n[sync]\nacknowledge_timeout_seconds = 2\nbackoff_max_seconds = 1\n",
    );
    let mut device = Device::connect(gateway.address, "device");
    let messages = numbered(&["plant/a", "plant/b", "plant/c"], 300);
    publish_all(&mut device, &messages);
    let line = gateway.expect_line("connection 0 is down");
    assert!(line.contains("no answer within 2 s"), "{line}");
    cloud.answer(|_| Answer::Accept);
    gateway.expect_drained("normal");
    assert_complete(&cloud.state(), &messages);
}

#[test]
fn a_stop_in_mid_window_is_short_and_loses_nothing() {
    let cloud = Cloud::start();
    cloud.answer(|_| Answer::Ignore);
    let mut gateway = gateway(&[&cloud], "[sync]\nbackoff_max_seconds = 1\n");
    let mut device = Device::connect(gateway.address, "device");
    let messages = numbered(&["plant/a", "plant/b", "plant/c"], 300);
    publish_all(&mut device, &messages);
    cloud.wait_until("a window", |state| state.arrivals.len() >= 50);
    assert!(gateway.terminate_soon().success());
    assert!(gateway.lines_with("WARN").is_empty());
    cloud.answer(|_| Answer::Accept);
    gateway.restart();
    gateway.expect_drained("normal");
    assert_complete(&cloud.state(), &messages);
}

#[test]
fn a_record_that_is_rejected_for_ever_becomes_one_gap() {
    let cloud = Cloud::start();
    cloud.answer(|arrival| {
        if arrival.payload == "poison" {
            Answer::Say(ReasonCode::TopicNameInvalid)
        } else {
            Answer::Accept
        }
    });
    cloud.greet(Greeting {
        maximum_packet_bytes: Some(4096),
        receive_maximum: Some(5),
        ..Greeting::default()
    });
    let mut gateway = gateway(&[&cloud], "[sync]\nhold_seconds = 0\n");
    let mut device = Device::connect(gateway.address, "device");
    let mut messages = numbered(&["plant/a", "plant/b"], 100);
    messages.insert(50, ("plant/a", "poison".to_owned()));
    messages.insert(70, ("plant/b", "x".repeat(5000)));
    publish_all(&mut device, &messages);
    // Released means that a checkpoint behind the gaps is durable.
    gateway.expect_fact("cloud.normal.released", |floor| floor == 102);
    gateway.expect_fact("gaps", |gaps| gaps == 2);
    let lines = gateway.lines_with("WARN");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("record 50") && line.contains("0x90"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("record 70") && line.contains("4096"))
    );

    gateway.kill();
    gateway.restart();
    gateway.expect_fact("gaps", |gaps| gaps == 2);
    let mut device = Device::connect(gateway.address, "device");
    publish_all(&mut device, &[("plant/a", "last".to_owned())]);
    gateway.expect_fact("cloud.normal.released", |floor| floor == 103);
    let state = cloud.state();
    assert_eq!((state.count_of("poison"), state.count_of("last")), (1, 1));
    messages.retain(|(_, payload)| payload.len() < 4);
    messages.push(("plant/a", "last".to_owned()));
    assert_complete(&state, &messages);
    assert_eq!(gateway.fact("gaps"), 2);
}

#[test]
fn nothing_acknowledged_is_lost_when_connections_and_gateway_die() {
    let cloud = Cloud::start();
    let mut count = 0;
    cloud.answer(move |_| {
        count += 1;
        match count % 251 {
            0 => Answer::Cut,
            _ => Answer::Accept,
        }
    });
    let mut gateway = gateway(&[&cloud], "[sync]\nbackoff_max_seconds = 1\n");
    let topics = ["plant/a", "plant/b", "plant/c", "plant/d"];
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut device = Device::connect(gateway.address, "device");
        let mut waiting = BTreeMap::new();
        for number in 0..500 {
            let payload = format!("{round}-{number}");
            let topic = topics[number % topics.len()];
            let identifier = u16::try_from(number + 1).expect("few");
            device.publish(topic, identifier, &payload);
            waiting.insert(identifier, (topic, payload));
        }
        while acknowledged.len() < 400 * (round + 1) {
            match device.receive() {
                Some(Packet::PubAck(puback)) => {
                    acknowledged.extend(waiting.remove(&puback.pkid));
                }
                other => panic!("{other:?} instead of a PUBACK"),
            }
        }
        gateway.kill();
        while let Some(packet) = device.receive() {
            if let Packet::PubAck(puback) = packet {
                acknowledged.extend(waiting.remove(&puback.pkid));
            }
        }
        gateway.restart();
    }
    gateway.expect_drained("normal");

    let state = cloud.state();
    let mut by_offset = BTreeMap::new();
    for arrival in &state.arrivals {
        let known = by_offset.entry(arrival.offset).or_insert(&arrival.payload);
        assert_eq!(
            *known, &arrival.payload,
            "an offset always means the same record"
        );
    }
    let payloads: BTreeSet<&String> = by_offset.values().copied().collect();
    assert_eq!(
        payloads.len(),
        by_offset.len(),
        "a record always has the same offset"
    );
    for (topic, payload) in &acknowledged {
        assert!(
            payloads.contains(payload),
            "{topic} {payload} was acknowledged"
        );
    }
    for topic in topics {
        let taken = state.taken(topic);
        let mine: Vec<&String> = by_offset
            .values()
            .copied()
            .filter(|payload| taken.contains(payload))
            .collect();
        assert!(
            taken.iter().collect::<Vec<_>>() == mine,
            "{topic} is in order"
        );
    }
}

#[test]
fn a_cloud_that_was_away_gets_everything_when_it_is_back() {
    let mut cloud = Cloud::start();
    let gateway = gateway(&[&cloud], "[sync]\nbackoff_max_seconds = 1\n");
    let mut device = Device::connect(gateway.address, "device");
    let messages = numbered(&["plant/a", "plant/b", "plant/c"], 600);
    publish_all(&mut device, &messages[..200]);
    gateway.expect_drained("normal");
    cloud.stop();
    publish_all(&mut device, &messages[200..]);
    cloud.restart();
    gateway.expect_drained("normal");
    let state = cloud.state();
    assert_complete(&state, &messages);
    assert_eq!(state.arrivals.len(), messages.len());
}

#[test]
fn a_second_endpoint_takes_over_from_one_that_died() {
    let mut first = Cloud::start();
    let second = Cloud::start();
    let gateway = gateway(&[&first, &second], "[sync]\nbackoff_max_seconds = 1\n");
    let mut device = Device::connect(gateway.address, "device");
    let messages = numbered(&["plant/a", "plant/b"], 200);
    publish_all(&mut device, &messages[..100]);
    gateway.expect_drained("normal");
    assert_complete(&first.state(), &messages[..100]);
    first.stop();
    publish_all(&mut device, &messages[100..]);
    gateway.expect_drained("normal");
    assert_complete(&second.state(), &messages[100..]);
    gateway.expect_line(&format!("is up: mqtt://{}", second.address));
}

#[test]
fn a_command_is_confirmed_only_when_it_is_stored() {
    let cloud = Cloud::start();
    let mut gateway = gateway(&[&cloud], "downlink = [\"plant/command/#\"]\n");
    let mut valve = Device::connect(gateway.address, "valve");
    valve.subscribe("plant/command/valve");
    drop(valve);
    cloud.wait_until("a subscription", |state| state.subscribed == 1);
    for number in 0..300 {
        cloud.push("plant/command/valve", &number.to_string(), &[]);
    }
    cloud.wait_until("some confirmations", |state| state.confirmed.len() >= 20);
    gateway.kill();
    cloud.forget_unconfirmed();
    let confirmed = cloud.state().confirmed.clone();
    gateway.restart();

    let mut valve = Device::connect(gateway.address, "valve");
    assert!(valve.session_present);
    cloud.wait_until("a subscription", |state| state.subscribed == 2);
    cloud.push("plant/command/valve", "last", &[]);
    let mut taken = Vec::new();
    while taken.last().is_none_or(|payload| payload != "last") {
        taken.extend(valve.take());
    }
    assert_eq!(taken[..confirmed.len()], confirmed);
    // What came down matches the uplink too, and yet only this goes up.
    publish_all(&mut valve, &[("plant/here", "up".to_owned())]);
    gateway.expect_drained("normal");
    let state = cloud.state();
    assert_eq!((state.arrivals.len(), state.count_of("up")), (1, 1));
}

#[test]
fn what_comes_back_from_the_cloud_is_confirmed_and_stays_there() {
    let cloud = Cloud::start();
    let gateway = gateway(&[&cloud], "downlink = [\"plant/#\"]\n");
    let mut device = Device::connect(gateway.address, "device");
    device.subscribe("plant/#");
    cloud.wait_until("a subscription", |state| state.subscribed == 1);
    let place = [
        ("edge-id", "test"),
        ("edge-epoch", "1"),
        ("edge-lane", "normal"),
        ("edge-offset", "0"),
        ("edge-time", "0"),
    ];
    cloud.push("plant/temp", "own", &place);
    cloud.push(
        "plant/temp",
        "other",
        &[("edge-id", "other"), place[1], place[2], place[3], place[4]],
    );
    cloud.wait_until("confirmations", |state| state.confirmed.len() == 2);
    cloud.push(
        "plant/temp",
        "other again",
        &[("edge-id", "other"), place[1], place[2], place[3], place[4]],
    );
    cloud.push("plant/temp", "foreign", &[]);
    cloud.wait_until("all confirmations", |state| state.confirmed.len() == 4);
    assert_eq!(device.take().as_deref(), Some("other"));
    assert_eq!(device.take().as_deref(), Some("foreign"));
    assert_eq!(
        (gateway.fact("normal.head"), gateway.fact("cloud.sent")),
        (2, 0)
    );
}

#[test]
fn a_cloud_that_greets_and_leaves_is_no_news_each_time() {
    let cloud = Cloud::start();
    cloud.greet(Greeting {
        manner: Manner::CloseAfterConnack,
        ..Greeting::default()
    });
    let gateway = gateway(&[&cloud], "[sync]\nbackoff_max_seconds = 1\n");
    cloud.wait_until("some tries", |state| state.greeted >= 4);
    let (start, ticks) = (now(), gateway.processor_ticks());
    cloud.wait_until("more tries", |state| state.greeted >= 12);
    let (took, ticks) = (now() - start, gateway.processor_ticks() - ticks);
    assert!(
        u128::from(ticks) * 10 < took.as_millis() / 10,
        "{ticks} ticks in {took:?}"
    );
    let lines = gateway.lines_with("cloud: ");
    assert!(lines.len() <= 4, "{lines:#?}");
    cloud.greet(Greeting::default());
    let mut device = Device::connect(gateway.address, "device");
    publish_all(&mut device, &[("plant/temp", "21".to_owned())]);
    cloud.wait_until("an arrival", |state| state.arrivals.len() == 1);
}

#[test]
fn a_cloud_that_never_says_a_word_is_one_line() {
    let cloud = Cloud::start();
    cloud.greet(Greeting {
        manner: Manner::Silent,
        ..Greeting::default()
    });
    let gateway = gateway(
        &[&cloud],
        "[sync]\nacknowledge_timeout_seconds = 2\nbackoff_max_seconds = 1\n",
    );
    let line = gateway.expect_line("is down");
    assert!(
        line.contains(&format!("mqtt://{}: no CONNACK", cloud.address)),
        "{line}"
    );
    let (start, ticks) = (now(), gateway.processor_ticks());
    cloud.wait_until("more tries", |state| state.greeted >= 6);
    let (took, ticks) = (now() - start, gateway.processor_ticks() - ticks);
    assert!(
        u128::from(ticks) * 10 < took.as_millis() / 10,
        "{ticks} ticks in {took:?}"
    );
    let lines = gateway.lines_with("cloud: ");
    assert_eq!(lines.len(), 1, "{lines:#?}");
}
