//! Who was there at an earlier time, asked of the real binary across an end in order and a kill.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;
use jims::control::protocol::timestamp;
use jims::runtime::clock;
use serde_json::Value;

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);

const ADDRESS: &str = "10.8.0.7";

struct Site {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Site {
    #[expect(
        clippy::disallowed_methods,
        reason = "a port that is free, without a runtime; it is let go of at once"
    )]
    fn new() -> Self {
        let listener = TcpListener::bind("127.77.95.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let folder = tempfile::tempdir().expect("folder");
        let text = format!(
            r#"schema = 1
[collector]
state_dir = "state"
[session]
snapshot_interval = "1s"
[control]
socket = "control.sock"
[syslog]
udp = []
tcp = ["127.77.95.1:{port}"]
[[syslog_source]]
name = "vpn"
senders = ["127.0.0.0/8"]
templates = ["mine"]
domain = "corp.example.com"
networks = ["10.8.0.0/16"]
[[syslog_template]]
name = "mine"
[[syslog_template.rule]]
event = "logon"
pattern = 'in user=(?<user>\S+) ip=(?<address>\S+)'
[[syslog_template.rule]]
event = "logoff"
pattern = 'out user=(?<user>\S+) ip=(?<address>\S+)'
"#
        );
        std::fs::write(folder.path().join("jims.toml"), text).expect("configuration");
        Self {
            folder,
            port,
            child: None,
        }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("jims.toml")
    }

    fn start(&mut self) {
        let mut command = jims(&self.configuration());
        command
            .arg("run")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("jims starts"));
        until("it answers", || self.ask(&["status", "--json"]).0 != 2);
    }

    /// Ends it, in order or not.
    fn end(&mut self, signal: &str) {
        let mut child = self.child.take().expect("it runs");
        let id = child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill runs").success());
        child.wait().expect("it ends");
    }

    fn ask(&self, arguments: &[&str]) -> (i32, Value) {
        let output = jims(&self.configuration()).args(arguments).output();
        let output = output.expect("jims runs");
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().expect("an exit code"), answer)
    }

    fn say(&self, line: &str) {
        let mut sender = TcpStream::connect(("127.77.95.1", self.port)).expect("connected");
        writeln!(sender, "<13>gw: {line}").expect("sent");
    }

    fn is_there(&self, user: &str) -> bool {
        let (_, answer) = self.ask(&["query-user", ADDRESS, "--json"]);
        answer["sessions"][0]["user"] == user
    }

    /// Why not all is known of then.
    fn holes(&self, at: &str) -> Vec<Value> {
        let (_, answer) = self.then(ADDRESS, at);
        let holes = answer["holes"].as_array().expect("a list");
        holes.iter().map(|hole| hole["why"].clone()).collect()
    }

    /// Who was there then, by address and by name.
    fn then(&self, who: &str, at: &str) -> (i32, Value) {
        self.ask(&["query-user", who, "--at", at, "--json"])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn jims(configuration: &Path) -> Command {
    let mut command = Command::cargo_bin("jims").expect("binary");
    command.arg("--config").arg(configuration);
    command
}

fn now() -> String {
    timestamp(clock::utc_now()).to_string()
}

/// An instant that is over: whatever comes now comes later.
fn a_moment_ago() -> String {
    let moment = now();
    until("the clock goes on", || now() != moment);
    moment
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = clock::monotonic_now();
    while !is_so() {
        let waited = clock::monotonic_now().saturating_duration_since(begun);
        assert!(waited < GUARD, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_was_there_is_known_after_an_end_in_order_and_after_a_kill() {
    let mut site = Site::new();
    site.start();
    let before = a_moment_ago();
    site.say(&format!("in user=alice ip={ADDRESS}"));
    until("alice is there", || site.is_there("alice"));
    let with_alice = a_moment_ago();
    let (code, still) = site.then(ADDRESS, &with_alice);
    assert_eq!(
        (code, &still["sessions"][0]["until"]),
        (0, &Value::Null),
        "{still}"
    );
    site.say(&format!("out user=alice ip={ADDRESS}"));
    until("alice left", || !site.is_there("alice"));
    let is_alice = |site: &Site| {
        let (code, answer) = site.then(ADDRESS, &with_alice);
        let session = &answer["sessions"][0];
        code == 0 && session["name"] == "alice" && session["reason"] == "logoff"
    };
    until("the history has alice", || is_alice(&site));
    assert_eq!(site.then(ADDRESS, &before).0, 1, "nobody was there yet");
    assert_eq!(site.then(ADDRESS, &now()).0, 1, "nobody is there any more");
    let (code, by_name) = site.then("CORP.example.com\\Alice", &with_alice);
    assert_eq!(
        (code, &by_name["sessions"][0]["address"]),
        (0, &ADDRESS.into()),
        "{by_name}"
    );

    site.end("-TERM");
    site.start();
    assert!(is_alice(&site), "{:?}", site.then(ADDRESS, &with_alice));
    assert_eq!(site.holes(&with_alice), Vec::<Value>::new());
    site.say(&format!("in user=bob ip={ADDRESS}"));
    until("bob is there", || site.is_there("bob"));
    let with_bob = a_moment_ago();
    site.say(&format!("in user=carol ip={ADDRESS}"));
    until("carol is there", || site.is_there("carol"));
    let is_bob = |site: &Site| {
        let (_, answer) = site.then(ADDRESS, &with_bob);
        let session = &answer["sessions"][0];
        session["name"] == "bob" && session["reason"] == "displaced"
    };
    until("the history has bob", || is_bob(&site));
    // What is on disk by now stays, however it ends.
    let segments = site.folder.path().join("state/history");
    let bytes = || -> u64 {
        let files = std::fs::read_dir(&segments).expect("segments");
        files
            .map(|file| file.expect("a file").metadata().expect("its size").len())
            .sum()
    };
    let mut size = bytes();
    until("bob is on disk", || {
        let (last, found) = (std::mem::replace(&mut size, bytes()), is_bob(&site));
        std::thread::sleep(Duration::from_millis(1500));
        found && last == bytes()
    });
    let just_before = a_moment_ago();
    site.end("-KILL");
    site.start();
    assert!(is_alice(&site), "{:?}", site.then(ADDRESS, &with_alice));
    assert!(is_bob(&site), "{:?}", site.then(ADDRESS, &with_bob));
    assert!(site.holes(&just_before).contains(&"crashed".into()));
    let (_, explained) = site.ask(&["query-user", ADDRESS, "--explain", "--json"]);
    let ended = explained["explained"][0]["before"]
        .as_array()
        .expect("a list");
    let users: Vec<&Value> = ended.iter().map(|past| &past["user"]).collect();
    assert_eq!(users, ["corp.example.com\\bob", "corp.example.com\\alice"]);
}

#[test]
fn who_was_in_a_table_that_cannot_be_read_any_more_is_not_taken_for_nobody() {
    let mut site = Site::new();
    site.start();
    site.say(&format!("in user=alice ip={ADDRESS}"));
    until("alice is there", || site.is_there("alice"));
    let with_alice = a_moment_ago();
    site.end("-TERM");
    let snapshot = site.folder.path().join("state/snapshot");
    for file in std::fs::read_dir(snapshot).expect("a folder") {
        std::fs::write(
            file.expect("a file").path(),
            "damaged, and long enough for it",
        )
        .expect("written");
    }
    site.start();
    let (code, answer) = site.then(ADDRESS, &with_alice);
    assert_eq!((code, &answer["sessions"]), (1, &Value::Array(Vec::new())));
    assert_eq!(site.holes(&with_alice), ["crashed"]);
    let output = jims(&site.configuration())
        .args(["query-user", ADDRESS, "--at", &with_alice])
        .output();
    let text = String::from_utf8(output.expect("jims runs").stdout).expect("text");
    assert!(text.contains("not known: no session of"), "{text}");
}
