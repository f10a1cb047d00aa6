//! Who may do what, beside Mosquitto and under load: files that `mosquitto_passwd` wrote, and rules
//! that change while clients are at work.

mod client;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wire::mqtt::{ReasonCode, Version};

use self::client::Client;
use super::authority::{Authority, tls_stream};
use super::devices::Device;
use super::support::{Gateway, Mosquitto, run, skip, stderr, wait_until};

/// An access list in the words of mosquitto.conf(5).
const LIST: &str = "\
# Clients without a name.
topic read public/#
topic deny public/secret
topic write in/+
topic marker

user root
topic #
topic $own/#
topic $SYS/x

user alice
topic plant/#
topic deny plant/+/valve
topic read log
topic write cmd
topic readwrite with space/x y
topic marker

user bob
topic read plant/1/#
topic marker

user wild+
topic plant/1
topic marker

user dave
topic read plant/2
topic marker

pattern readwrite dev/%c/#
pattern deny dev/%c/locked
pattern read user/%u
pattern write user/%u/in
pattern read +/broadcast/#
pattern deny +/broadcast/not
pattern read keep/%u
pattern readwrite $own/%u
pattern marker
";

/// Client identifier and user; everybody's password is `secret of` and the name.
const PEOPLE: [(&str, Option<&str>); 7] = [
    ("c-alice", Some("alice")),
    ("c-bob", Some("bob")),
    ("c-carol", Some("carol")),
    ("c-nobody", None),
    ("c-wild", Some("wild+")),
    ("c#dave", Some("dave")),
    ("c/erin", Some("erin")),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    /// Reading what was retained before.
    Retained,
}

use Access::{Read, Retained, Write};

/// Client identifier, what it does, the topic, and whether it may.
const TRIPLES: [(&str, Access, &str, bool); 61] = [
    ("c-alice", Write, "plant/1", true),
    ("c-alice", Write, "plant", true),
    ("c-alice", Write, "plant/1/valve", false),
    ("c-alice", Read, "plant/1/valve", false),
    ("c-alice", Read, "plant/a/b", true),
    ("c-alice", Write, "log", false),
    ("c-alice", Read, "log", true),
    ("c-alice", Write, "cmd", true),
    ("c-alice", Read, "cmd", false),
    ("c-alice", Write, "with space/x y", true),
    ("c-alice", Read, "with space/x y", true),
    ("c-alice", Read, "other", false),
    ("c-alice", Write, "public/a", false),
    ("c-alice", Read, "public/a", false),
    ("c-alice", Write, "dev/c-alice/1", true),
    ("c-alice", Read, "dev/c-alice/1", true),
    ("c-alice", Write, "dev/c-bob/1", false),
    ("c-alice", Read, "dev/c-alice/locked", false),
    ("c-alice", Write, "user/alice/in", true),
    ("c-alice", Write, "user/alice", false),
    ("c-alice", Read, "user/alice", true),
    ("c-alice", Read, "user/bob", false),
    ("c-alice", Read, "x/broadcast", true),
    ("c-alice", Read, "x/broadcast/y/z", true),
    ("c-alice", Read, "x/broadcast/not", false),
    ("c-alice", Write, "$own/alice", true),
    ("c-alice", Read, "$own/alice", true),
    ("c-alice", Write, "$own/bob", false),
    ("c-alice", Write, "$SYS/x", false),
    ("c-alice", Retained, "keep/alice", true),
    ("c-alice", Retained, "keep/bob", false),
    ("c-alice", Retained, "plant/k", true),
    ("c-alice", Retained, "plant/k/valve", false),
    ("c-bob", Read, "plant/1", true),
    ("c-bob", Read, "plant/1/x", true),
    ("c-bob", Read, "plant/2", false),
    ("c-bob", Write, "plant/1", false),
    ("c-bob", Retained, "keep/alice", false),
    ("c-bob", Retained, "keep/bob", true),
    ("c-carol", Read, "plant/1", false),
    ("c-carol", Write, "dev/c-carol/a/b", true),
    ("c-carol", Read, "user/carol", true),
    ("c-carol", Write, "in/1", false),
    ("c-nobody", Read, "public/a", true),
    ("c-nobody", Read, "public/secret", false),
    ("c-nobody", Write, "in/1", true),
    ("c-nobody", Write, "in/1/2", false),
    ("c-nobody", Read, "in/1", false),
    ("c-nobody", Read, "user/", false),
    ("c-nobody", Write, "dev/c-nobody/x", true),
    ("c-nobody", Retained, "public/k", true),
    ("c-nobody", Retained, "keep/alice", false),
    ("c-wild", Write, "plant/1", true),
    ("c-wild", Write, "dev/c-wild/1", false),
    ("c-wild", Read, "x/broadcast", false),
    ("c#dave", Read, "plant/2", true),
    ("c#dave", Read, "x/broadcast", false),
    ("c#dave", Write, "dev/x", false),
    ("c/erin", Write, "dev/c/erin/1", true),
    ("c/erin", Read, "dev/c/erin/locked", false),
    ("c/erin", Write, "dev/c", false),
];

/// A password file and an access list, in a folder of their own.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder }
    }

    fn passwords(&self) -> PathBuf {
        self.folder.path().join("passwords")
    }

    fn list(&self) -> PathBuf {
        self.folder.path().join("acl")
    }

    fn write_list(&self, text: &str) {
        std::fs::write(self.list(), text).expect("a writable folder");
    }

    /// Keys of a gateway's listener.
    fn keys(&self) -> String {
        let (passwords, list) = (self.passwords(), self.list());
        let (passwords, list) = (passwords.display(), list.display());
        format!("password_file = '{passwords}'\nacl_file = '{list}'\n")
    }

    /// Sets a password by Debian's program; false where it is not installed.
    fn set_by_mosquitto(&self, arguments: &[&str], user: &str) -> bool {
        let mut command = Command::new("mosquitto_passwd");
        if !self.passwords().exists() {
            command.arg("-c");
        }
        let password = password_of(user);
        let status = command
            .args(arguments)
            .arg("-b")
            .arg(self.passwords())
            .args([user, &password])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    /// Sets a password by ours.
    fn set(&self, user: &str) {
        let output = passwd(&self.passwords(), &[user], Some(&password_of(user)));
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

fn passwd(file: &Path, arguments: &[&str], typed: Option<&str>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_robustmq-edge"))
        .arg("passwd")
        .arg(file)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it was asked for");
    if let Some(typed) = typed {
        // It may have ended before it reads.
        let _ = writeln!(stdin, "{typed}");
    }
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn password_of(user: &str) -> String {
    format!("secret of {user}")
}

fn enter(
    address: SocketAddr,
    version: Version,
    id: &str,
    user: Option<&str>,
) -> Result<Client, ReasonCode> {
    let password = password_of(user.unwrap_or_default());
    Client::connect(address, version, id, user.map(|user| (user, &*password)))
}

/// What comes of each triple at a server.
fn outcomes(address: SocketAddr, version: Version) -> Vec<bool> {
    let mut root = enter(address, version, "c-root", Some("root")).expect("root comes in");
    for filter in ["#", "$own/#", "$SYS/x"] {
        root.subscribe(filter);
    }
    for (_, access, topic, _) in TRIPLES {
        if access == Retained {
            root.publish((topic, "kept"), true);
        }
    }
    let mut outcomes = vec![false; TRIPLES.len()];
    for (id, user) in PEOPLE {
        let mut client = enter(address, version, id, user)
            .unwrap_or_else(|reason| panic!("{id} at {address}: {reason:?}"));
        for filter in ["#", "$own/#"] {
            client.subscribe(filter);
        }
        let of = |wanted: Access| {
            let triples = TRIPLES.iter().enumerate();
            triples.filter(move |(_, triple)| triple.0 == id && triple.1 == wanted)
        };
        let mut codes = Vec::new();
        for (_, (_, _, topic, _)) in of(Write) {
            let code = client.publish((topic, "written"), false);
            codes.push(code.unwrap_or_else(|| panic!("{id} to {topic} at {address}")));
        }
        for (_, (_, _, topic, _)) in of(Read) {
            root.publish((topic, "read"), false);
        }
        let end = format!("end of {id}");
        client.publish(("marker", &end), false);
        let written = root.take_until(&end);
        let read = client.take_until(&end);
        let holds = |messages: &[client::Message], topic: &str, payload: &str| {
            let mut messages = messages.iter();
            messages.any(|message| message.0 == topic && message.1 == payload)
        };
        for ((place, (_, _, topic, _)), code) in of(Write).zip(codes) {
            outcomes[place] = holds(&written, topic, "written");
            if version == Version::V5 {
                assert_eq!(code.is_error(), !outcomes[place], "{topic}: {code:?}");
            }
        }
        for (wanted, payload) in [(Read, "read"), (Retained, "kept")] {
            for (place, (_, _, topic, _)) in of(wanted) {
                outcomes[place] = holds(&read, topic, payload);
            }
        }
    }
    outcomes
}

#[test]
fn files_of_mosquitto_mean_here_what_they_mean_there() {
    let files = Files::new();
    files.write_list(LIST);
    let old = ["-H", "sha512"];
    let is_here = files.set_by_mosquitto(&[], "root")
        && files.set_by_mosquitto(&[], "alice")
        && files.set_by_mosquitto(&old, "bob");
    if !is_here {
        return skip("mosquitto_passwd is not installed");
    }
    for user in ["carol", "wild+", "dave"] {
        assert!(files.set_by_mosquitto(&[], user));
    }
    // The two programs share the file.
    files.set("erin");
    let shared = format!(
        "allow_anonymous true\npassword_file {}\nacl_file {}\n",
        files.passwords().display(),
        files.list().display()
    );
    let Some(mosquitto) = Mosquitto::start_with(&shared) else {
        return;
    };
    for version in [Version::V311, Version::V5] {
        let gateway = Gateway::start(&format!("allow_anonymous = true\n{}", files.keys()));
        let (ours, theirs) = (
            outcomes(gateway.address, version),
            outcomes(mosquitto.address, version),
        );
        for ((triple, ours), theirs) in TRIPLES.iter().zip(ours).zip(theirs) {
            let expected = triple.3;
            assert_eq!(
                (ours, theirs),
                (expected, expected),
                "{version:?} {triple:?}"
            );
        }
        for (user, password, is_right) in [
            ("alice", "secret of alice", true),
            ("alice", "secret of alic", false),
            ("alice", "", false),
            ("bob", "secret of bob", true),
            ("bob", "secret of alice", false),
            ("erin", "secret of erin", true),
            ("erin", "x", false),
            ("mallory", "secret of mallory", false),
            ("", "whatever", true),
        ] {
            for address in [gateway.address, mosquitto.address] {
                let entered = Client::connect(address, version, "c", Some((user, password)));
                assert_eq!(entered.is_ok(), is_right, "{version:?} {user} {password}");
            }
        }
    }
}

/// Clients that publish one message after the other until they are told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<bool>>,
}

impl Load {
    fn start(address: SocketAddr, count: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let threads = (0..count).map(|number| {
            let (is_over, acknowledged) = (is_over.clone(), acknowledged.clone());
            std::thread::spawn(move || {
                let id = format!("load-{number}");
                let mut client =
                    enter(address, Version::V5, &id, Some("alice")).expect("alice comes in");
                let topic = format!("plant/{number}");
                while !is_over.load(Ordering::Relaxed) {
                    match client.publish((&topic, "x"), false) {
                        Some(reason) if !reason.is_error() => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => return false,
                    }
                }
                true
            })
        });
        Self {
            threads: threads.collect(),
            is_over,
            acknowledged,
        }
    }

    /// Waits until everybody has done more work.
    fn expect_progress(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_until("work goes on", || {
            self.acknowledged.load(Ordering::Relaxed) >= before + 100
        });
    }

    /// Says whether all were served to the end.
    fn end(self) -> bool {
        self.is_over.store(true, Ordering::Relaxed);
        let joined = self.threads.into_iter();
        let served: Vec<bool> = joined.map(|it| it.join().unwrap_or(false)).collect();
        !served.contains(&false)
    }
}

#[test]
fn users_and_access_list_are_replaced_under_load() {
    let files = Files::new();
    let list = "user alice\ntopic plant/#\ntopic extra\nuser bob\ntopic read plant/#\n\
                topic marker\nuser carol\ntopic #\n";
    files.write_list(list);
    for user in ["alice", "bob"] {
        files.set(user);
    }
    let gateway = Gateway::start(&files.keys());
    let load = Load::start(gateway.address, 10);
    let enter = |id: &str, user| enter(gateway.address, Version::V5, id, Some(user));
    let mut bob = enter("c-bob", "bob").expect("bob comes in");
    bob.subscribe("#");
    let mut alice = enter("c-alice", "alice").expect("alice comes in");
    assert!(
        !alice
            .publish(("extra", "x"), false)
            .expect("PUBACK")
            .is_error()
    );
    assert!(enter("c-carol", "carol").is_err());
    load.expect_progress();

    // Bob goes, carol comes, and alice may do less.
    let output = passwd(&files.passwords(), &["bob", "--delete"], None);
    assert!(output.status.success(), "{}", stderr(&output));
    files.set("carol");
    files.write_list(&list.replace("topic extra\n", ""));
    gateway.hang_up();
    gateway.expect_line("reloaded: 2 users");
    bob.expect_end();
    assert!(enter("c-bob", "bob").is_err());
    let mut carol = enter("c-carol", "carol").expect("carol comes in");
    let refused = alice.publish(("extra", "x"), false);
    assert_eq!(refused, Some(ReasonCode::NotAuthorized));
    assert!(
        carol
            .publish(("extra", "x"), false)
            .is_some_and(|it| !it.is_error())
    );
    load.expect_progress();

    // A broken list changes nothing, although the password file beside it is good.
    files.set("dave");
    files.write_list("user alice\ntopics plant/#\n");
    gateway.hang_up();
    let line = gateway.expect_line("reload refused");
    let place = format!("{}:2: found \"topics plant/#\"", files.list().display());
    assert!(line.contains(&place), "{line}");
    assert!(line.contains("allowed is topic, user or pattern"), "{line}");
    assert!(enter("c-dave", "dave").is_err());
    let refused = alice.publish(("extra", "x"), false);
    assert_eq!(refused, Some(ReasonCode::NotAuthorized));
    load.expect_progress();

    // Nor does a configuration that is none.
    let config = std::fs::read_to_string(gateway.config()).expect("it was written");
    std::fs::write(gateway.config(), format!("{config}nonsense\n")).expect("a writable folder");
    gateway.hang_up();
    gateway.expect_line("gateway.toml:");
    assert!(enter("c-dave", "dave").is_err());
    load.expect_progress();

    // What needs a restart is named, and the rest is taken over.
    files.write_list("user alice\ntopic #\n");
    let config = config.replace(&gateway.address.to_string(), "127.0.0.1:0");
    let config = format!("{config}[limits]\nconnections = 77\n");
    std::fs::write(gateway.config(), config).expect("a writable folder");
    gateway.hang_up();
    let line = gateway.expect_line("restart: limits");
    assert!(line.contains("limits, listener.address"), "{line}");
    assert!(enter("c-dave", "dave").is_ok());
    assert!(
        !alice
            .publish(("extra", "x"), false)
            .expect("PUBACK")
            .is_error()
    );
    load.expect_progress();
    assert!(load.end(), "nobody who may stay was dropped");
}

#[test]
fn each_listener_has_its_own_rules_and_a_reload_takes_all_or_nothing() {
    let files = Files::new();
    files.write_list("user alice\ntopic #\n");
    files.set("alice");
    let authority = Authority::new("ours");
    let server = authority.server();
    let second = server.section("");
    let keys = files.keys();
    let gateway = Gateway::start(&format!(
        "{keys}[[listener]]\naddress = \"127.0.0.1:0\"\n{second}"
    ));
    let enter = |user| enter(gateway.address, Version::V5, "c", user);
    assert!(enter(Some("alice")).is_ok());
    assert_eq!(enter(None).err(), Some(ReasonCode::NotAuthorized));
    let config = authority.trusting_client(None);
    let stranger = Device::over(tls_stream(gateway.address_of(1), config), "stranger");
    assert!(stranger.is_some());

    // The certificate's key is broken, so alice stays a user.
    let output = passwd(&files.passwords(), &["alice", "--delete"], None);
    assert!(output.status.success(), "{}", stderr(&output));
    let key = std::fs::read(&server.key).expect("it is there");
    std::fs::write(&server.key, "broken").expect("a writable folder");
    gateway.hang_up();
    gateway.expect_line("reload refused, nothing changed: listener ");
    assert!(enter(Some("alice")).is_ok());
    std::fs::write(&server.key, key).expect("a writable folder");
    gateway.hang_up();
    gateway.expect_line("reloaded: 0 users, 1 certificates");
    assert!(enter(Some("alice")).is_err());
}

#[test]
fn passwd_sets_changes_and_deletes_users() {
    let files = Files::new();
    let file = files.passwords();
    let read = || std::fs::read_to_string(&file).expect("it is there");
    files.set("alice");
    let mode = std::fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = read();
    assert!(first.starts_with("alice:$7$20000$"), "{first}");

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("ours");
    let output = passwd(&file, &["bob", "-b", "secret", "--scram"], None);
    assert!(output.status.success(), "{}", stderr(&output));
    let both = read();
    assert!(both.starts_with(&first) && both.contains("\nbob:$scram-sha-256$20000$"));
    let mode = std::fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640, "a mode that somebody chose stays");

    files.set("alice");
    assert_ne!(read(), both, "a new salt");
    let output = passwd(&file, &["alice", "--delete"], None);
    assert!(output.status.success() && !read().contains("alice"));
    let left: Vec<_> = std::fs::read_dir(files.folder.path())
        .expect("a folder")
        .collect();
    assert_eq!(left.len(), 1, "nothing is left beside it");
}

#[test]
fn passwd_says_why_it_changes_nothing() {
    let files = Files::new();
    let file = files.passwords();
    for (arguments, typed, expected) in [
        (&["a:b"][..], Some("x"), "passwd: a user name has"),
        (&["#a"], Some("x"), "passwd: a user name has"),
        (&["a"], Some(""), "passwd: a password has 1 to 65535 bytes"),
        (&["a"], None, "passwd: a password has 1 to 65535 bytes"),
        (&["a", "--delete"], None, "No such file"),
    ] {
        let output = passwd(&file, arguments, typed);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert!(!file.exists());
    }
    files.set("a");
    let output = passwd(&file, &["b", "--delete"], None);
    assert!(
        stderr(&output).contains("there is no such user"),
        "{}",
        stderr(&output)
    );
    let output = run(&["passwd", "x", "y", "--delete", "-b", "z"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn check_reads_users_and_access_lists() {
    let files = Files::new();
    let config = files.folder.path().join("edge.toml");
    let text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{}", files.keys());
    std::fs::write(&config, text).expect("a writable folder");
    let path = config.to_str().expect("a plain path");
    let check = || {
        let output = run(&["check", "--config", path]);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), stdout, stderr(&output))
    };
    files.write_list("user a\ntopic x\n");
    let (code, _, error) = check();
    assert_eq!(code, Some(2), "there is no password file");
    assert!(error.contains("passwords: found No such file"), "{error}");
    files.set("a");
    let (code, stdout, error) = check();
    assert_eq!(code, Some(0), "{error}");
    assert!(stdout.contains("users and access lists"), "{stdout}");

    std::fs::write(files.passwords(), "a:$7$101$x\n").expect("ours");
    let (code, _, error) = check();
    assert_eq!(code, Some(2));
    assert!(
        error.contains("passwords:1: found a hash with a part missing"),
        "{error}"
    );
    // A gateway that could not check the password without going over its ceiling does not start.
    let hash =
        "$argon2id$v=19$m=47104,t=3,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    std::fs::write(files.passwords(), format!("a:{hash}\n")).expect("ours");
    let (code, _, error) = check();
    assert_eq!(code, Some(2));
    assert!(
        error.contains("limits.memory_bytes: found 67108864, allowed is at least"),
        "{error}"
    );
    let run = run(&["run", "--config", path]);
    assert_eq!(
        (
            run.status.code(),
            stderr(&run).contains("limits.memory_bytes")
        ),
        (Some(2), true)
    );
}

#[test]
fn names_that_nobody_proves_are_told_of() {
    let files = Files::new();
    files.write_list("user a\ntopic x\n");
    let gateway = Gateway::start(&format!("acl_file = '{}'\n", files.list().display()));
    gateway.expect_line("they are whoever they say they are");
}
