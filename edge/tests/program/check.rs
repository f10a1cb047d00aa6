//! `check`, and the configuration errors that `run` shows as well.

use super::authority::Authority;
use super::support::{run, stderr};

fn check(text: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, text).expect("a writable folder");
    let path = file.to_str().expect("a plain path");
    let output = run(&["check", "--config", path]);
    let place = format!("{}/", folder.path().display());
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.code(),
        stdout,
        stderr(&output).replace(&place, ""),
    )
}

#[test]
fn no_configuration_is_a_good_one() {
    let output = run(&["check"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for line in [
        "listener.address = 127.0.0.1:1883",
        "cloud = none",
        "worst case memory: ",
        "worst case disk: ",
    ] {
        assert!(stdout.contains(line), "{line} is not in\n{stdout}");
    }
}

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// `profile.toml` of each board.
fn profiles() -> Vec<String> {
    let boards = std::fs::read_dir(format!("{ROOT}/targets")).expect("boards");
    let profiles = boards
        .flatten()
        .map(|entry| entry.path().join("profile.toml"));
    profiles
        .filter(|profile| profile.exists())
        .map(|profile| read(&profile.display().to_string()))
        .collect()
}

/// With its TLS, users, mail and cloud: a new user's first file must not be refused.
#[test]
fn the_configuration_in_the_readme_can_be_used() {
    let authority = Authority::new("plant");
    let server = authority.server();
    let path = |path: &std::path::Path| path.display().to_string();
    let users = authority.folder.path().join("users");
    std::fs::write(&users, "").expect("a writable folder");
    let readme = read(&format!("{ROOT}/README.md"));
    let (_, rest) = readme.split_once("```toml\n").expect("it shows a file");
    let (text, _) = rest.split_once("```").expect("the file ends");
    let mut lines = Vec::new();
    for line in text.lines() {
        let key = line.split_once("_file = ").map(|(key, _)| key);
        let file = match key {
            Some("password") => Some(path(&users)),
            Some("certificate") => Some(path(&server.certificate)),
            Some("key") => Some(path(&server.key)),
            Some("ca") => Some(path(&authority.ca)),
            _ => None,
        };
        lines.push(match (key, file) {
            (Some(key), Some(file)) => format!("{key}_file = {file:?}"),
            _ => line.to_owned(),
        });
    }
    let (code, _, stderr) = check(&lines.join("\n"));
    assert_eq!(code, Some(0), "{stderr}{}", lines.join("\n"));
}

#[test]
fn the_example_and_every_profile_can_be_used() {
    let mut texts = profiles();
    assert!(!texts.is_empty());
    texts.push(read(&format!("{ROOT}/examples/gateway.toml")));
    for text in texts {
        // The files of a real gateway are not here.
        let is_here = |line: &&str| !line.contains("_file = ");
        let text: Vec<&str> = text.lines().filter(is_here).collect();
        let text = text.join("\n").replace("mqtts://", "mqtt://");
        let (code, _, stderr) = check(&text);
        assert_eq!(code, Some(0), "{stderr}{text}");
    }
}

/// What a profile says of its board: `# Board: 64 MB of memory, 256 MB of disk.`
struct Board {
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Board {
    fn of(profile: &str) -> Self {
        let line = profile
            .lines()
            .find_map(|line| line.strip_prefix("# Board: "));
        let words: Vec<&str> = line.expect("a board").split(' ').collect();
        let [
            memory,
            memory_unit,
            "of",
            "memory,",
            disk,
            disk_unit,
            "of",
            "disk.",
        ] = words[..]
        else {
            panic!("{words:?} is no board");
        };
        let bytes = |count: &str, unit: &str| {
            let unit = if unit == "GB" { 1 << 30 } else { 1 << 20 };
            count.parse::<u64>().expect("a number") * unit
        };
        Self {
            memory_bytes: bytes(memory, memory_unit),
            disk_bytes: bytes(disk, disk_unit),
        }
    }
}

/// With the cloud and the mail that a profile has as comments, since they take memory and disk.
fn with_everything(profile: &str) -> String {
    let (devices, comments) = profile
        .split_once("# With a cloud")
        .expect("every profile shows a cloud");
    let devices = devices.replacen("[gateway]\n", "[gateway]\nid = \"board\"\n", 1);
    let lines = comments
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with('[') || !line.ends_with(':'));
    let nats = "[[listener]]\naddress = \"127.0.0.1:4222\"\nprotocol = \"nats\"\n";
    format!("{devices}{}\n{nats}", lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_profile_fits_its_board_with_a_cloud_nats_and_mail_as_well() {
    let mut boards = std::collections::BTreeSet::new();
    for profile in profiles() {
        let board = Board::of(&profile);
        boards.insert(board.memory_bytes >> 20);
        let text = with_everything(&profile);
        let (code, stdout, stderr) = check(&text);
        assert_eq!(code, Some(0), "{stderr}{text}");
        let memory = fact(&stdout, "bytes of ");
        let disk = fact(&stdout, "worst case disk: ");
        // The rest is for the system, its page cache, and other programs.
        assert!(memory <= board.memory_bytes / 2, "{memory} bytes: {text}");
        assert!(disk <= board.disk_bytes, "{disk} bytes on disk: {text}");
    }
    for board in [64, 128, 512, 1024] {
        assert!(boards.contains(&board), "no profile for {board} MB");
    }
}

/// The number behind a word.
fn fact(text: &str, before: &str) -> u64 {
    let (_, rest) = text.split_once(before).expect("check says it");
    let number = rest.split_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[test]
fn the_example_has_room_for_the_mail_that_it_shows() {
    let example = read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/gateway.toml"
    ));
    let mut is_mail = false;
    let shown = example.lines().map(|line| {
        is_mail =
            line.starts_with("# [cloud.mq9]") || (is_mail && line.trim_start().starts_with('#'));
        match is_mail {
            true => line.strip_prefix("# ").unwrap_or(line),
            false => line,
        }
    });
    let is_here = |line: &&str| !line.contains("_file = ");
    let text: Vec<&str> = shown.filter(is_here).collect();
    let text = text.join("\n").replace("mqtts://", "mqtt://");
    let (code, stdout, stderr) = check(&text);
    assert_eq!(code, Some(0), "{stderr}{text}");
    for line in [
        "cloud.mq9.mailboxes = cloud.>",
        "cloud.mq9.pull = plant7.commands",
    ] {
        assert!(stdout.contains(line), "{line} is not in\n{stdout}");
    }
}

#[test]
fn files_that_the_cloud_needs_are_looked_at() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let garbled = folder.path().join("ca.pem");
    std::fs::write(&garbled, "not PEM").expect("a writable folder");
    let cloud = "[gateway]\nid = \"a\"\n[cloud]\nendpoints = [\"mqtts://x\"]\n";
    let table = [
        (
            "ca_file = '/nonexistent/ca.pem'".to_owned(),
            "cannot read /nonexistent/ca.pem",
        ),
        (
            format!("ca_file = '{}'", garbled.display()),
            "ca.pem holds no certificate",
        ),
        (
            format!(
                "username = \"a\"\nca_file = '{}'\npassword_file = '/nonexistent/p'",
                garbled.display()
            ),
            "cloud.password_file /nonexistent/p: No such file",
        ),
    ];
    for (line, expected) in table {
        let (code, _, stderr) = check(&format!("{cloud}{line}\n"));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}is not {expected}");
    }
}

#[test]
fn the_file_that_the_clouds_mail_needs_is_looked_at() {
    let (code, _, stderr) = check(
        "[gateway]\nid = \"a\"\n[cloud]\nendpoints = [\"mqtt://x\"]\n\
         [cloud.mq9]\nendpoints = [\"nats://x\"]\nusername = \"a\"\n\
         password_file = '/nonexistent/p'\n",
    );
    assert_eq!(code, Some(2), "{stderr}");
    let expected = "cloud.mq9.password_file /nonexistent/p: No such file";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn files_that_a_listener_needs_are_looked_at() {
    let tls = "certificate_file = '/nonexistent/c.pem'\nkey_file = '/nonexistent/c.key'\n";
    let (code, _, stderr) = check(&format!(
        "[[listener]]\naddress = \"127.0.0.1:8883\"\n[listener.tls]\n{tls}"
    ));
    assert_eq!(code, Some(2), "{stderr}");
    let expected = "listener 127.0.0.1:8883: cannot read /nonexistent/c.pem: No such file";
    assert!(stderr.contains(expected), "{stderr}");
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).expect("a file of the project")
}

#[test]
fn mistakes_are_named_with_file_key_found_and_allowed() {
    let cloud = "[gateway]\nid = \"a\"\n[cloud]\nendpoints = [\"mqtt://x\"]\n";
    let mail = format!("{cloud}[cloud.mq9]\nendpoints = [\"nats://x\"]\n");
    let table = [
        (
            "[sync]\nhold = 3\n",
            "edge.toml:2: sync.hold: found unknown field `hold`, allowed is one of",
        ),
        (
            "[durability]\nlinger_ms = \"5ms\"\n",
            "edge.toml:2: durability.linger_ms: found \"5ms\", allowed is a whole number, 0 or \
             more",
        ),
        (
            "[limits]\nmemory_bytes = 1000\n",
            "edge.toml: limits.memory_bytes: found 1000, allowed is 16777216 to",
        ),
        (
            "[limits]\nmemory_bytes = 16777216\nconnections = 100000\n",
            "edge.toml: limits.memory_bytes: found 16777216, allowed is at least ",
        ),
        (
            "[limits]\nshared_groups = 10001\n",
            "edge.toml: limits.shared_groups: found 10001, allowed is 0 to 10000",
        ),
        (
            "[limits]\nshare_name_bytes = 0\n",
            "edge.toml: limits.share_name_bytes: found 0, allowed is 1 to 512",
        ),
        (
            "[gateway]\nsys_interval_seconds = 86401\n",
            "edge.toml: gateway.sys_interval_seconds: found 86401, allowed is 0 to 86400",
        ),
        (
            "[[listener]]\naddress = \"0.0.0.0:1883\"\n",
            "edge.toml: listener.allow_anonymous: found nothing for 0.0.0.0:1883, which others can reach, \
             allowed is true, written out, or a password_file or required client certificates",
        ),
        (
            "[cloud]\nendpoints = [\"mqtt://x\"]\n",
            "edge.toml: gateway.id: found nothing, though there is a [cloud], allowed is 1 to 18 of",
        ),
        (
            &format!("{cloud}uplink = [\"a/#/b\"]\n"),
            "edge.toml: cloud.uplink: found \"a/#/b\", allowed is topic filters",
        ),
        (
            &cloud.replace("mqtt://x", "http://x"),
            "edge.toml: cloud.endpoints: found \"http://x\", allowed is",
        ),
        (
            &cloud.replace("mqtt://x", "mqtts://x"),
            "edge.toml: cloud.ca_file: found nothing, though an endpoint is mqtts://",
        ),
        (
            &format!("{cloud}[cloud.mq9]\nendpoints = [\"nats+tls://x\"]\n"),
            "edge.toml: cloud.mq9.endpoints: found \"nats+tls://x\", allowed is nats://host:port \
             or tls://host:port",
        ),
        (
            &format!("{mail}mailboxes = [\"cloud.>.x\"]\n"),
            "edge.toml: cloud.mq9.mailboxes: found \"cloud.>.x\", allowed is filters of mail",
        ),
        (
            &format!("{mail}pull = [\"Plant 7\"]\n"),
            "edge.toml: cloud.mq9.pull: found \"Plant 7\", allowed is mail addresses, but: name may",
        ),
        (
            &format!("{mail}mailboxes = [\"a.>\"]\npull = [\"b\", \"a.b\"]\n"),
            "edge.toml: cloud.mq9.pull: found \"a.b\", allowed is mailboxes that live here",
        ),
        (
            &format!("{mail}pull_interval_ms = 1\n"),
            "edge.toml: cloud.mq9.pull_interval_ms: found 1, allowed is 10 to 3600000",
        ),
        (
            &format!("{mail}reply_bytes = 8388608\n"),
            "edge.toml: cloud.mq9.reply_bytes: found 8388608, allowed is at most 2097152",
        ),
        ("nonsense\n", "edge.toml:1:"),
    ];
    for (text, expected) in table {
        let (code, _, stderr) = check(text);
        assert_eq!(code, Some(2), "{text}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with(&format!("robustmq-edge: {expected}")),
            "\n{stderr}is not\n{expected}"
        );
    }
}

#[test]
fn a_missing_file_and_a_missing_command_are_the_users_mistake() {
    let output = run(&["run", "--config", "/nonexistent/edge.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nonexistent/edge.toml: found No such file"));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["walk"]).status.code(), Some(2));
}
