//! What it costs to tell a Server everything: two real processes, a Collector whose table holds a million sessions and
//! one Server that has just onboarded it, over TLS on loopback.
//!
//! Run by `cargo bench --bench collectors [-- --sessions 1000000]`. The Collector starts from a snapshot that was written
//! by the library. Then the Server is stopped and reads the same table from its own snapshot: that is the peer, the same
//! table in the same core without JSON, compression, TLS and acknowledgements. Both processes and this one share the
//! machine's cores. Status 1 if the Server does not hold exactly as many sessions.

#![expect(clippy::print_stdout, reason = "a measurement speaks to a terminal")]

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use jims::identity::event::{Claim, IdentityEvent, Logon, Strength, user_ref};
use jims::identity::policy::Policy;
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};
use jims::runtime::clock::{monotonic_now, utc_now};
use jims::snapshot::Store;
use serde_json::Value;

/// Where the Server listens.
const SERVER: &str = "127.77.61.1:8443";
/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(600);
/// The goal for a million sessions.
const GOAL: Duration = Duration::from_secs(30);
/// Events in one batch.
const BATCH: u32 = 4096;

/// A folder and the process that runs in it.
struct Site {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Site {
    fn new(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jims.toml");
        fs::write(path, configuration).expect("a configuration");
        let child = None;
        Self { folder, child }
    }

    fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"));
        let log = log.expect("a log");
        let child = self
            .command(&["run"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("jims starts"));
    }

    fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill").success());
        child.wait().expect("an end");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jims"));
        command
            .arg("--config")
            .arg(self.path("jims.toml"))
            .args(arguments)
            .env_remove("NOTIFY_SOCKET");
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().expect("jims starts");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn sessions(&self) -> u64 {
        let status = self.json(&["status", "--json"]);
        status["totals"]["sessions"].as_u64().unwrap_or_default()
    }

    fn memory_kib(&self) -> u64 {
        let pid = self.child.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_default()
    }

    fn wait(&self, what: &str, mut probe: impl FnMut(&Self) -> bool) -> Duration {
        let begun = monotonic_now();
        while !probe(self) {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < GUARD, "waited for {what}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Writes a snapshot with so many sessions, as a clean stop leaves it.
fn write_snapshot(sessions: u32, folder: &Path) {
    let policy = Policy {
        logoff_time: Duration::from_secs(24 * 3600),
        ..Policy::default()
    };
    let (mut core, mut outcomes) = (Core::new(Epoch(1), policy), Vec::new());
    let now = utc_now();
    let logon = |number: u32| IdentityEvent {
        producer: "vpn".into(),
        record: "juniper-secure-connect".into(),
        occurred_at: now,
        received_at: now,
        heard: None,
        address: Some(IpAddr::from(Ipv4Addr::from(0x0a40_0001 + number))),
        claim: Claim::Logon(Logon {
            user: user_ref(&format!("u{number:07}@corp.example.com"), None, None).expect("a user"),
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        }),
    };
    let (mut begin, begun) = (0, monotonic_now());
    while begin < sessions {
        let end = sessions.min(begin + BATCH);
        let events = (begin..end).map(logon).collect();
        let batch = Batch::Events {
            events,
            bookmark: None,
        };
        core.apply(batch, now, &mut outcomes);
        outcomes.clear();
        begin = end;
    }
    let took = begun.elapsed();
    let rate = f64::from(sessions) / took.as_secs_f64();
    println!("the core alone, from events: {took:.1?}, {rate:.0}/s");
    let mut store = Store::open(folder).expect("an empty folder").store;
    while core.has_changes() {
        store.add(&core.take_changes(4096));
        store.write().expect("written");
    }
    store.add_instant(true);
    store.write().expect("written");
}

fn collector(sessions: u32) -> Site {
    let mut site = Site::new(
        "schema = 1\n[collector]\nname = \"collector\"\nstate_dir = \"state\"\n[control]\nsocket = \"control.sock\"\n",
    );
    let state = site.path("state");
    fs::create_dir(&state).expect("a folder");
    write_snapshot(sessions, &state.join("snapshot"));
    site.start();
    site.wait("the Collector's table", |site| {
        site.sessions() == u64::from(sessions)
    });
    site
}

fn server() -> Site {
    let mut site = Site::new(&format!(
        "schema = 1\n[collector]\nname = \"server\"\nstate_dir = \"state\"\n[control]\nsocket = \"control.sock\"\n\
         [server]\nlisten = [\"{SERVER}\"]\n[ingest]\nenabled = true\n"
    ));
    site.start();
    site.wait("the Server", |_| TcpStream::connect(SERVER).is_ok());
    site
}

fn onboard(server: &Site, collector: &Site) {
    let invited = server.json(&["onboard", "--invite", "collector", "--json"]);
    let code = invited["code"].as_str().expect("a code").to_owned();
    let url = format!("https://{SERVER}");
    let mut child = collector
        .command(&["onboard", &url, "--code-stdin", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("jims starts");
    let mut typed = child.stdin.take().expect("a pipe");
    writeln!(typed, "{code}").expect("typed");
    drop(typed);
    assert!(child.wait().expect("an end").success(), "onboarded");
}

/// Every second what status says, as an operator sees it.
fn tell_progress(collector: &Site) {
    let status = collector.json(&["status", "--json"]);
    let push = &status["pushes"][0];
    println!(
        "  {}: {} behind of {}",
        push["state"], push["behind"], push["of"]
    );
}

/// Of all files in a folder.
fn bytes_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let place = arguments.iter().position(|one| one == "--sessions");
    let sessions = place.and_then(|place| arguments.get(place + 1)?.parse().ok());
    let sessions: u32 = sessions.unwrap_or(1_000_000);
    let (collector, mut server) = (collector(sessions), server());
    let begun = monotonic_now();
    onboard(&server, &collector);
    println!("onboarded after {:?}", begun.elapsed());
    let mut told = monotonic_now();
    server.wait("all sessions", |site| {
        if told.elapsed() > Duration::from_secs(1) {
            told = monotonic_now();
            tell_progress(&collector);
        }
        site.sessions() >= u64::from(sessions)
    });
    let took = begun.elapsed();
    let rate = f64::from(sessions) / took.as_secs_f64();
    println!(
        "{sessions} sessions in {took:.1?}, {rate:.0}/s; Collector {} MiB, Server {} MiB",
        collector.memory_kib() >> 10,
        server.memory_kib() >> 10
    );
    let exact = server.sessions() == u64::from(sessions);
    server.stop();
    let begun = monotonic_now();
    server.start();
    server.wait("the Server's own table", |site| {
        site.sessions() == u64::from(sessions)
    });
    let own = begun.elapsed();
    println!(
        "the same table from the Server's own snapshot of {} MiB: {own:.1?}; told by the Collector it took {:.1} times as long",
        bytes_of(&server.path("state/snapshot")) >> 20,
        took.as_secs_f64() / own.as_secs_f64()
    );
    let in_time = took <= GOAL * sessions.div_ceil(1_000_000);
    println!("goal {GOAL:?} for a million: {in_time}; none lost, none twice: {exact}");
    ExitCode::from(u8::from(!exact))
}
