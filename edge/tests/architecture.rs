//! Holds the imports to the layer table of the README, and the sources to their ceilings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a module may name of this crate and of other crates; `*` is everything.
struct Layer {
    module: &'static str,
    inside: &'static [&'static str],
    crates: &'static [&'static str],
    never: &'static [&'static str],
}

const CLOCKS_AND_IO: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "smol",
];

const LAYERS: &[Layer] = &[
    Layer {
        module: "password",
        inside: &["password"],
        crates: &["std", "core", "ring", "argon2", "base64ct"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "rare",
        inside: &["rare"],
        crates: &["std", "core"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "mail",
        inside: &["mail"],
        crates: &["sync", "wire", "std", "core", "bytes", "serde", "ciborium"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "broker",
        inside: &["broker", "mail", "memory", "password", "rare"],
        crates: &["sync", "wire", "std", "core", "bytes", "serde", "ciborium"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "memory",
        inside: &["memory"],
        crates: &["std"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "underway",
        inside: &["underway", "broker", "rare"],
        crates: &["std", "bytes"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "pace",
        inside: &["pace"],
        crates: &["sync", "std"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "mqtt",
        inside: &["mqtt", "broker", "memory", "pace", "rare", "underway"],
        crates: &["sync", "wire", "std", "core", "bytes"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "nats",
        inside: &["nats", "broker", "mail", "memory", "pace", "underway"],
        crates: &["sync", "wire", "std", "core", "bytes"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "sys",
        inside: &["sys", "mqtt"],
        crates: &["sync", "std", "core"],
        never: CLOCKS_AND_IO,
    },
    Layer {
        module: "log",
        inside: &["log"],
        crates: &[
            "sync", "redb", "std", "core", "bytes", "serde", "ciborium", "crc32c",
        ],
        never: &["std::net", "std::thread", "smol"],
    },
    Layer {
        module: "link",
        inside: &["link"],
        crates: &[
            "std",
            "core",
            "smol",
            "ring",
            "rustls",
            "rustix",
            "tracing",
            "embedded_io",
            "embedded_io_async",
            "wire",
        ],
        // What a link carries is not its business.
        never: &["wire::mqtt", "wire::topic", "std::thread"],
    },
];

#[test]
fn imports_follow_the_layers() {
    let mut broken = Vec::new();
    for (path, text) in sources(&root().join("edge/src")) {
        let module = module_of(&path);
        let Some(layer) = LAYERS.iter().find(|layer| layer.module == module) else {
            continue;
        };
        let children = children(&text);
        let is_child = |name: &str| {
            children
                .iter()
                .any(|child| name.split("::").next() == Some(child))
        };
        for name in paths_named(&text).iter().filter(|name| !is_child(name)) {
            if let Some(reason) = layer.refuses(name) {
                broken.push(format!("{}: `{name}` {reason}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_pure_crates_need_no_operating_system() {
    for folder in ["sync/src", "edge/wire/src"] {
        let lib =
            fs::read_to_string(root().join(folder).join("lib.rs")).expect("a crate has a lib.rs");
        assert!(lib.contains("#![no_std]"), "{folder} is not no_std");
        for (path, text) in sources(&root().join(folder)) {
            let named = paths_named(&text);
            assert!(
                !named.iter().any(|name| name.starts_with("std::")),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn files_and_functions_keep_their_ceilings() {
    let mut broken = Vec::new();
    for folder in ["edge/src", "edge/wire/src", "sync/src", "cloud-bridge/src"] {
        for (path, text) in sources(&root().join(folder)) {
            let text = before_tests(&text);
            let name = path.display();
            if text.lines().count() > 500 {
                broken.push(format!(
                    "{name}: {} lines, 500 are allowed",
                    text.lines().count()
                ));
            }
            for (function, length) in functions(&text) {
                if length > 70 {
                    broken.push(format!(
                        "{name}: fn {function} has {length} lines, 70 are allowed"
                    ));
                }
            }
            if !text.starts_with("//!") {
                broken.push(format!("{name}: does not say what it is"));
            }
            if !text.is_ascii() {
                broken.push(format!("{name}: is not ASCII"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn dependencies_have_a_reason() {
    let manifest =
        fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let table = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .expect("a dependency table");
    let table = table.split("\n[").next().expect("the table ends somewhere");
    let mut before = "";
    for line in table.lines().filter(|line| !line.is_empty()) {
        let ours = line.starts_with("robustmq-");
        if !line.starts_with('#') && !ours {
            assert!(before.starts_with('#'), "no reason above: {line}");
            assert!(
                line.contains("default-features = false"),
                "default features are on: {line}"
            );
        }
        before = line;
    }
}

#[test]
fn the_checks_see_what_they_should() {
    let broker = LAYERS.iter().find(|layer| layer.module == "broker");
    let layer = broker.expect("the broker is a layer");
    assert!(layer.refuses("crate::log::Writer").is_some());
    assert!(layer.refuses("std::net::TcpStream").is_some());
    assert!(layer.refuses("redb::Database").is_some());
    assert!(layer.refuses("sync::Cursor").is_none());
    assert_eq!(
        paths_named("use crate::{log::Writer, broker};\nuse std::net::{TcpStream};\n"),
        ["crate::log::Writer", "crate::broker", "std::net::TcpStream"]
    );
    assert_eq!(
        paths_named("    let x = crate::log::open();"),
        ["crate::log::open"]
    );
    assert_eq!(functions("fn a() {\n    x;\n}\n"), [("a".to_owned(), 3)]);
}

impl Layer {
    fn refuses(&self, path: &str) -> Option<&'static str> {
        if self
            .never
            .iter()
            .any(|never| path == *never || path.starts_with(&format!("{never}::")))
        {
            return Some("is not for this layer");
        }
        let mut parts = path.split("::");
        match parts.next() {
            Some("crate") => {
                let module = parts.next().unwrap_or_default();
                (!self.inside.contains(&module)).then_some("is a module of another layer")
            }
            Some("super" | "self" | "alloc") | None => None,
            Some(first) => (!self.crates.contains(&first)).then_some("is a crate of another layer"),
        }
    }
}

/// Modules that a file declares.
fn children(text: &str) -> Vec<String> {
    let declared = text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    declared
        .map(|name| name.trim_end_matches(';').to_owned())
        .collect()
}

/// Full paths of `use` lines (groups unfolded), and `crate::` and `std::` paths inside the code.
fn paths_named(text: &str) -> Vec<String> {
    let text = before_tests(text);
    let mut paths = Vec::new();
    let mut rest = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line
            .trim_start()
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ");
        let trimmed = trimmed.trim_start_matches("pub ");
        if let Some(import) = trimmed
            .strip_prefix("use ")
            .filter(|_| !line.starts_with("    "))
        {
            let mut import = import.to_owned();
            while !import.contains(';') {
                import.push_str(
                    lines
                        .next()
                        .expect("an import ends with a semicolon")
                        .trim(),
                );
            }
            unfold("", import.trim_end_matches(';').trim(), &mut paths);
        } else if !trimmed.starts_with("//") {
            rest.push_str(line);
            rest.push('\n');
        }
    }
    for start in ["crate::", "std::", "smol::", "redb::", "tracing::"] {
        for (at, _) in rest.match_indices(start) {
            let alone =
                !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let end = rest[at..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            if alone {
                paths.push(
                    rest[at..at + end.unwrap_or(rest.len() - at)]
                        .trim_end_matches(':')
                        .to_owned(),
                );
            }
        }
    }
    paths
}

fn unfold(prefix: &str, import: &str, paths: &mut Vec<String>) {
    let Some(open) = import.find('{') else {
        let name = import.split(" as ").next().unwrap_or_default().trim();
        paths.push(format!("{prefix}{name}"));
        return;
    };
    let prefix = format!("{prefix}{}", import[..open].trim());
    let inner = import[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[start..at].trim();
                if !part.is_empty() {
                    let part = if part.contains('{') && !part.ends_with('}') {
                        format!("{part}}}")
                    } else {
                        part.to_owned()
                    };
                    unfold(&prefix, &part, paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Name and length of each function, by the indentation that rustfmt gives its closing brace.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let head = line.trim_start();
        let indent = &line[..line.len() - head.len()];
        let head = ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "]
            .iter()
            .fold(head, |head, word| head.strip_prefix(word).unwrap_or(head));
        let Some(name) = head.strip_prefix("fn ") else {
            continue;
        };
        let name = name.split(['(', '<']).next().unwrap_or_default();
        let close = format!("{indent}}}");
        if let Some(length) = lines[at..].iter().position(|line| *line == close) {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

fn before_tests(text: &str) -> String {
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn module_of(path: &Path) -> String {
    let relative = path
        .strip_prefix(root().join("edge/src"))
        .expect("a source of edge");
    let first = relative.components().next().expect("a file name");
    first
        .as_os_str()
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

fn sources(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            found.insert(path, text);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("edge is below the workspace")
        .to_owned()
}
