//! Holds `coverage.toml` to the statements of MQTT 5 and to the tests that exist: each statement
//! has a place, each that binds a server has tests, each test is there and names the statement.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// Statements that still wait for their tests.
const PENDING_COUNT: usize = 17;

const STATEMENTS: &str = include_str!("statements.txt");
const MAP: &str = include_str!("coverage.toml");

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    /// Tests, as `file::name`; unit tests as `file::tests::name`.
    server: BTreeMap<String, Vec<String>>,
    /// Why a server has nothing to do with it.
    client: BTreeMap<String, String>,
    #[serde(default)]
    pending: BTreeMap<String, Vec<String>>,
}

#[test]
fn every_statement_that_binds_a_server_is_tested() {
    let map: Map = toml::from_str(MAP).unwrap();
    let mut wrong = misplaced(&map);
    let mut sources = BTreeMap::new();
    for (statement, tests) in &map.server {
        if tests.is_empty() {
            wrong.push(format!("{statement} has no test"));
        }
        for test in tests {
            wrong.extend(fault_of(&mut sources, statement, test));
        }
    }
    let unexplained = map.client.iter().filter(|(_, why)| why.trim().is_empty());
    wrong.extend(unexplained.map(|(statement, _)| format!("{statement} has no reason")));
    if map.pending.len() != PENDING_COUNT {
        let (found, expected) = (map.pending.len(), PENDING_COUNT);
        wrong.push(format!("{found} statements are pending, not {expected}"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));

    let server = map.server.len() + map.pending.len();
    let (tested, client) = (map.server.len(), map.client.len());
    // Not `println`, which shows only what fails.
    writeln!(
        std::io::stdout(),
        "MQTT 5: server statements: {server}, tested: {tested}, of clients only: {client}"
    )
    .unwrap();
}

/// Statements that the map does not hold exactly once, and those that it invents.
fn misplaced(map: &Map) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let pending = map.pending.keys();
    for statement in map.server.keys().chain(map.client.keys()).chain(pending) {
        *counts.entry(statement).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for statement in STATEMENTS.lines() {
        match counts.remove(statement) {
            Some(1) => {}
            count => wrong.push(format!("{statement} stands {} times", count.unwrap_or(0))),
        }
    }
    wrong.extend(counts.keys().map(|it| format!("{it} is no statement")));
    wrong
}

/// What is wrong with a test of a statement.
fn fault_of(sources: &mut BTreeMap<String, String>, statement: &str, test: &str) -> Option<String> {
    let Some((file, name)) = test.split_once(".rs::") else {
        return Some(format!("{statement}: {test} is not file::name"));
    };
    let file = format!("{file}.rs");
    let name = name.strip_prefix("tests::").unwrap_or(name);
    let source = sources.entry(file).or_insert_with_key(|file| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::read_to_string(root.join(file)).unwrap_or_default()
    });
    match text_of_test(source, name) {
        None => Some(format!("{statement}: there is no test {test}")),
        Some(text) if !text.contains(&format!("[{statement}]")) => {
            Some(format!("{statement}: {test} does not name it"))
        }
        Some(_) => None,
    }
}

/// The comments, attributes and body of a test; `None` where no such function is a test.
fn text_of_test(source: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let head = format!("fn {name}(");
    let at = lines
        .iter()
        .position(|line| line.trim_start().starts_with(&head))?;
    let is_above = |line: &&&str| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[")
    };
    let start = at - lines[..at].iter().rev().take_while(is_above).count();
    let is_test = lines[start..at].iter().any(|line| line.trim() == "#[test]");
    let indent = lines[at].len() - lines[at].trim_start().len();
    let end = format!("{:indent$}}}", "");
    let length = lines[at..].iter().position(|line| *line == end)?;
    is_test.then(|| lines[start..=at + length].join("\n"))
}

#[test]
fn a_test_that_names_nothing_or_is_none_is_found_out() {
    let source = "/// [MQTT-1.1.1-1]\n#[test]\nfn named() {\n    // [MQTT-1.1.1-2]\n}\n\n\
        #[test]\nfn silent() {\n}\n\n// [MQTT-1.1.1-1]\nfn helper() {\n}\n";
    let mut sources = BTreeMap::from([("a.rs".to_owned(), source.to_owned())]);
    let mut fault = |statement, test| fault_of(&mut sources, statement, test);
    assert_eq!(fault("MQTT-1.1.1-1", "a.rs::named"), None);
    assert_eq!(fault("MQTT-1.1.1-2", "a.rs::tests::named"), None);
    for (statement, test) in [
        ("MQTT-1.1.1-3", "a.rs::named"),
        ("MQTT-1.1.1-1", "a.rs::silent"),
        ("MQTT-1.1.1-1", "a.rs::helper"),
        ("MQTT-1.1.1-1", "a.rs::missing"),
        ("MQTT-1.1.1-1", "no/such/file.rs::named"),
        ("MQTT-1.1.1-1", "named"),
    ] {
        assert!(fault(statement, test).is_some(), "{statement} {test}");
    }
}

#[test]
fn a_statement_twice_or_invented_or_left_out_is_found_out() {
    let mut map: Map = toml::from_str(MAP).unwrap();
    assert_eq!(misplaced(&map), Vec::<String>::new());
    let (statement, _) = map.client.pop_first().unwrap();
    map.client.insert("MQTT-9.9.9-9".into(), "No.".into());
    map.pending.insert("MQTT-3.1.0-1".into(), Vec::new());
    let expected = [
        "MQTT-3.1.0-1 stands 2 times".to_owned(),
        format!("{statement} stands 0 times"),
        "MQTT-9.9.9-9 is no statement".to_owned(),
    ];
    assert_eq!(misplaced(&map), expected);
}
