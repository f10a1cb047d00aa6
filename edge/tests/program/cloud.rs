//! Debian's mosquitto as the cloud: up, down, cut, and back.

use super::support::{Gateway, Mosquitto, Tool};

fn with_cloud(mosquitto: &Mosquitto) -> Gateway {
    Gateway::start(&format!(
        "[cloud]\nendpoints = [\"mqtt://{}\"]\nuplink = [\"plant/#\"]\ndownlink = [\"command/#\"]\n\
         [sync]\nbackoff_max_seconds = 1\n",
        mosquitto.address
    ))
}

fn numbers(count: usize) -> (String, Vec<String>) {
    let lines: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    (lines.join("\n") + "\n", lines)
}

#[test]
fn a_publish_on_site_arrives_in_the_cloud() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let gateway = with_cloud(&mosquitto);
    gateway.expect_line("is up: mqtt://");
    keep_session(&mosquitto, "watch", "plant/#");
    Tool::start(
        "mosquitto_pub",
        gateway.address,
        &["-q", "1", "-t", "plant/temp", "-m", "21"],
    )
    .feed("");
    let arguments = [
        "-i", "watch", "-c", "-q", "1", "-t", "plant/#", "-C", "1", "-W", "20", "-v",
    ];
    let lines = Tool::start("mosquitto_sub", mosquitto.address, &arguments).lines();
    assert_eq!(lines, ["plant/temp 21"]);
}

#[test]
fn a_cloud_that_was_away_gets_everything_in_order() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        return;
    };
    let gateway = with_cloud(&mosquitto);
    gateway.expect_line("is up: mqtt://");
    keep_session(&mosquitto, "watch", "plant/#");
    mosquitto.end();
    let (text, lines) = numbers(10_000);
    Tool::start(
        "mosquitto_pub",
        gateway.address,
        &["-q", "1", "-t", "plant/temp", "-l"],
    )
    .feed(&text);
    gateway.expect_fact("normal.head", |head| head == 10_000);

    mosquitto.begin();
    gateway.expect_drained("normal");
    // All of it comes before this, of which there is only one.
    let end = ["-q", "1", "-t", "plant/end", "-m", "end"];
    Tool::start("mosquitto_pub", mosquitto.address, &end).feed("");
    let arguments = ["-i", "watch", "-c", "-q", "1", "-t", "plant/#"];
    let watch = Tool::start("mosquitto_sub", mosquitto.address, &arguments);
    let arrived = distinct(watch.lines_until("end"));
    assert_eq!(arrived.len(), lines.len());
    assert!(arrived == lines, "order is kept");
}

#[test]
fn a_command_from_the_cloud_reaches_a_device_that_was_away() {
    let Some(mosquitto) = Mosquitto::start() else {
        return;
    };
    let mut gateway = with_cloud(&mosquitto);
    gateway.expect_line("subscribed to the downlink");
    let session = ["-q", "1", "-t", "command/#", "-i", "valve", "-c"];
    Tool::start(
        "mosquitto_sub",
        gateway.address,
        &[&session[..], &["-E"]].concat(),
    )
    .lines();
    let (text, lines) = numbers(1000);
    Tool::start(
        "mosquitto_pub",
        mosquitto.address,
        &["-q", "1", "-t", "command/valve", "-l"],
    )
    .feed(&text);
    gateway.expect_fact("normal.head", |head| head == 1000);
    gateway.kill();
    gateway.restart();
    let valve = Tool::start(
        "mosquitto_sub",
        gateway.address,
        &[&session[..], &["-C", "1000", "-W", "30"]].concat(),
    );
    assert!(valve.lines() == lines, "all of them, in order");
    gateway.expect_fact("cloud.sent", |sent| sent == 0);
}

#[test]
fn replay_sends_again_what_the_cloud_has_forgotten() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        return;
    };
    let gateway = with_cloud(&mosquitto);
    gateway.expect_line("is up: mqtt://");
    let (text, _) = numbers(500);
    Tool::start(
        "mosquitto_pub",
        gateway.address,
        &["-q", "1", "-t", "plant/temp", "-l"],
    )
    .feed(&text);
    gateway.expect_fact("cloud.normal.acknowledged", |floor| floor == 500);

    mosquitto.forget();
    mosquitto.begin();
    let kept = [
        "-V", "5", "-x", "3600", "-i", "watch", "-c", "-q", "1", "-t", "plant/#",
    ];
    Tool::start(
        "mosquitto_sub",
        mosquitto.address,
        &[&kept[..], &["-E"]].concat(),
    )
    .lines();
    let config = gateway.config();
    let output =
        super::support::run(&["replay", "--config", config.to_str().expect("a plain path")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("normal: 500 records are sent again"),
        "{said}"
    );
    let read = ["-C", "500", "-W", "30", "-F", "%P %p"];
    let lines = Tool::start(
        "mosquitto_sub",
        mosquitto.address,
        &[&kept[..], &read].concat(),
    )
    .lines();
    assert_eq!(lines.len(), 500);
    for (offset, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!("edge-offset:{offset}")), "{line}");
        assert!(line.ends_with(&format!(" {offset}")), "{line}");
    }
}

/// Makes a session in the cloud that gathers what matches a filter.
fn keep_session(mosquitto: &Mosquitto, name: &str, filter: &str) {
    let arguments = ["-i", name, "-c", "-q", "1", "-t", filter, "-E"];
    Tool::start("mosquitto_sub", mosquitto.address, &arguments).lines();
}

/// Leaves out what came twice.
fn distinct(lines: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    lines
        .into_iter()
        .filter(|line| seen.insert(line.clone()))
        .collect()
}
