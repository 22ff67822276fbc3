//! The control socket with a table behind it, asked by the binary and by hand.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assert_cmd::Command;
use jims::config;
use jims::control::junos::Junos;
use jims::control::kept::KeptRequest;
use jims::control::past::{Kept, PastWhom};
use jims::control::protocol::{
    Attention, ClusterStatus, CollectorChange, CollectorChanged, CollectorState, CollectorStatus,
    Invite, Invited, Kinds, Lag, PointStatus, Probed, ProbedStep, PushState, PushStatus, Refreshed,
    Refusal, ServerStatus, Told, WebApiStatus, timestamp,
};
use jims::control::server::Unparsed;
use jims::control::{ControlServer, Desk, Site, Unheeded};
use jims::identity::ended::Ended;
use jims::identity::event::{Claim, IdentityEvent, Logon, Qualifier, Strength, UserRef};
use jims::identity::name::Name;
use jims::identity::policy::Policy;
use jims::identity::time::UtcMillis;
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};
use jims::runtime::clock;
use jims::runtime::readiness::Readiness;
use jims::runtime::report::{Health, Kind, Report, Reports};
use jims::runtime::strangers::{Strangers, Tried};
use jims::runtime::supervisor::{Tasks, blocking};
use jims::writer::{Writer, WriterParts};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(30);

/// The composition's part, with answers that tests can recognise.
#[derive(Debug)]
struct Fake;

impl Site for Fake {
    fn document(&self, _: &str, _: &[std::net::IpAddr]) -> Option<String> {
        None
    }
    fn knows(&self, _: std::net::IpAddr) -> Vec<Told> {
        vec![Told {
            name: "srx".into(),
            protocol: "query".into(),
            state: "unknown".into(),
            entry: "whatever is there".into(),
            behind: Some(1),
            last: None,
        }]
    }
    fn cluster(&self) -> Option<ClusterStatus> {
        None
    }
    fn server(&self) -> Option<ServerStatus> {
        Some(ServerStatus {
            listen: vec!["127.77.9.1:443".into()],
            fingerprint: "ab".repeat(32),
            self_signed: true,
            validator: Vec::new(),
            debug_http: vec!["127.77.9.1:8080".into()],
            ingest: true,
            url: "https://127.77.9.1".into(),
            not_understood: 1,
        })
    }
    fn requests(&self) -> Vec<KeptRequest> {
        vec![KeptRequest {
            at: timestamp(UtcMillis(1_764_000_000_000)),
            count: 3,
            address: "127.77.9.10".parse().expect("an address"),
            point: "srx".into(),
            method: "GET".into(),
            target: "/api/user_query/v3/users?flavour=mint".into(),
            headers: vec!["accept: */*".into(), "authorization: Bearer …".into()],
            body: String::new(),
            reason: "there is no such path and method".into(),
        }]
    }
    fn junos(&self, point: &str) -> Result<Junos, Refusal> {
        Err(Refusal {
            message: format!("there is no enforcement point `{point}`"),
            remedy: String::new(),
        })
    }
    fn points(&self) -> Vec<PointStatus> {
        let web_api = WebApiStatus {
            url: "https://192.0.2.2:8443".into(),
            state: "following".into(),
            entries_sent: 0,
            skipped: 0,
            cut: 0,
            behind: 0,
            last_success: None,
            last_full: None,
            fault: None,
        };
        vec![PointStatus::only_pushed_to("srx".into(), web_api)]
    }
    fn told(&self, point: &str, addresses: &[IpAddr]) -> Option<Vec<Value>> {
        let entry = |a: &IpAddr| json!({ "ip-address": a.to_string() });
        (point == "srx").then(|| addresses.iter().map(entry).collect())
    }
    async fn past(&self, _: PastWhom, _: UtcMillis) -> Kept {
        Kept::default()
    }
    async fn ended_of(&self, _: PastWhom) -> Vec<Ended> {
        Vec::new()
    }
    fn attention(&self) -> Vec<Attention> {
        Vec::new()
    }
    fn unparsed(&self) -> Vec<Unparsed> {
        vec![Unparsed {
            received_at: UtcMillis(1_764_000_000_000),
            source: Arc::from("vpn"),
            line: "odd\\u{1b}".into(),
            reason: "no-rule",
        }]
    }
    async fn probe(&self, target: &str) -> Result<Probed, Refusal> {
        if target != "dc1" {
            return Err(Refusal {
                message: format!("no event source and no directory is called {target}"),
                remedy: "one of: dc1".into(),
            });
        }
        let step = |name: &str, ok, remedy: &str| ProbedStep {
            name: name.into(),
            ok,
            ms: 3,
            detail: "as it is".into(),
            remedy: remedy.into(),
        };
        Ok(Probed {
            answer: None,
            users: Vec::new(),
            target: target.into(),
            kind: "event-source".into(),
            ok: false,
            steps: vec![step("name", true, ""), step("rights", false, "add it")],
        })
    }

    fn refresh(&self, point: &str) -> Refreshed {
        Refreshed {
            point: point.to_owned(),
            begun: point == "srx",
            detail: "as it is".into(),
        }
    }

    fn collectors(&self) -> Result<Vec<CollectorStatus>, Refusal> {
        let at = |seconds: i64| Some(timestamp(UtcMillis((1_764_000_000 + seconds) * 1000)));
        let branch = CollectorStatus {
            name: "branch-1".into(),
            identifier: "jims-branch".into(),
            version: "0.1.0".into(),
            description: "Zürich".into(),
            state: CollectorState::Disconnected,
            since: at(0),
            last_update: at(-90),
            address: Some("127.77.9.30".parse().expect("an address")),
            pushes: Kinds {
                users: 12,
                ..Kinds::default()
            },
            lag: Some(Lag {
                behind: 3,
                seconds: Some(1),
            }),
            onboarded_at: at(-4_000),
            ..CollectorStatus::default()
        };
        let invited = CollectorStatus {
            name: "branch-2".into(),
            invitation_expires: at(1_000_000_000),
            ..CollectorStatus::default()
        };
        Ok(vec![branch, invited])
    }
    fn pushes(&self) -> Vec<PushStatus> {
        vec![PushStatus {
            name: "hq".into(),
            url: "https://hq.example.com".into(),
            state: PushState::Pending,
            ..PushStatus::default()
        }]
    }
    async fn invite(&self, invite: Invite) -> Result<Invited, Refusal> {
        if invite.name == "taken" {
            return Err(Refusal {
                message: "there is a Collector `taken`".into(),
                remedy: "remove it first: jims onboard --remove taken".into(),
            });
        }
        assert_eq!(invite.networks, ["10.1.2.3/16", "192.0.2.1"]);
        assert_eq!((invite.domains.len(), invite.roles.len()), (1, 1));
        Ok(Invited {
            name: invite.name,
            code: "JIMS1-THE-CODE".into(),
            url: "https://hq.example.com".into(),
            url_guessed: false,
            fingerprint: "ab".repeat(32),
            expires: timestamp(clock::utc_now().after(Duration::from_secs(invite.expires_s))),
        })
    }
    async fn change_collector(
        &self,
        name: &str,
        change: CollectorChange,
    ) -> Result<CollectorChanged, Refusal> {
        let done = name == "branch-1";
        let left = (change == CollectorChange::Remove && done).then_some(Kinds {
            sessions: 23,
            users: 14,
            devices: 9,
            domains: 1,
            groups: 40,
        });
        Ok(CollectorChanged {
            name: name.into(),
            done,
            detail: if done {
                change.as_str().into()
            } else {
                "there is no such Collector".into()
            },
            left,
        })
    }
    async fn onboarded(&self) -> Result<String, Refusal> {
        Ok("pushing to hq".into())
    }

    async fn reload(&self) -> Result<String, Refusal> {
        Err(Refusal {
            message: "2 problems".into(),
            remedy: "mend them".into(),
        })
    }
    fn set_log_level(&self, level: &str) -> Result<(), Refusal> {
        assert_eq!(level, "debug");
        Ok(())
    }
}

/// A running control socket over an empty table.
pub(crate) struct Running {
    folder: tempfile::TempDir,
    pub(crate) parts: WriterParts,
    pub(crate) reports: Reports,
    strangers: Strangers,
    pub(crate) readiness: Readiness,
    stop: CancellationToken,
    tasks: Tasks,
}

fn usual_policy() -> Policy {
    Policy {
        logoff_time: Duration::from_secs(3600),
        ..Policy::default()
    }
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::with(usual_policy())
    }

    /// Starts in the folder of one that stopped.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        Self::within(folder, usual_policy())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        Self::within(tempfile::tempdir().expect("folder"), policy)
    }

    fn within(folder: tempfile::TempDir, policy: Policy) -> Self {
        let (writer, parts) = Writer::new(Core::new(Epoch(1), policy), Reports::default());
        let running = Self {
            parts,
            reports: Reports::default(),
            strangers: Strangers::default(),
            readiness: Readiness::new(),
            stop: CancellationToken::new(),
            tasks: Tasks::new(),
            folder,
        };
        let control = ControlServer::bind(&config::Control {
            group: "no-such-group-here".into(),
            socket: running.socket(),
        })
        .expect("bound");
        let desk = running.desk(&control);
        let (tasks, stop) = (running.tasks.clone(), running.stop.clone());
        running
            .tasks
            .spawn("control", control.run(desk, tasks, stop.clone()));
        running.tasks.spawn("writer", async move {
            writer.run(stop).await.expect("no panic");
        });
        let text = format!("[control]\nsocket = \"{}\"\n", running.socket().display());
        std::fs::write(running.folder.path().join("config.toml"), text).expect("configuration");
        running
    }

    fn desk(&self, control: &ControlServer) -> Desk<Fake> {
        Desk {
            collector: config::Collector {
                name: "hq".into(),
                description: "head office".into(),
                state_dir: self.folder.path().to_owned(),
            },
            access: control.access().clone(),
            started: clock::utc_now(),
            reader: self.parts.reader.clone(),
            intake: self.parts.intake.clone(),
            outcomes: self.parts.outcomes.clone(),
            pulse: self.parts.pulse.clone(),
            unheeded: self.unheeded(),
            reports: self.reports.clone(),
            strangers: self.strangers.clone(),
            readiness: self.readiness.clone(),
            site: Fake,
        }
    }

    /// The configuration that names this service's socket.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Adds a source that reports about itself.
    pub(crate) fn add_source(&self, kind: Kind, name: &str) {
        self.reports.add(&Report::new(kind, name));
    }

    fn unheeded(&self) -> Unheeded {
        let unheeded = Unheeded::default();
        let outcomes = self.parts.outcomes.clone();
        let listening = unheeded.clone().listen(outcomes, self.stop.clone());
        self.tasks.spawn("ignored events", listening);
        unheeded
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/control.sock")
    }

    /// Runs `jims` on this service; exit code, stdout, stderr.
    pub(crate) async fn jims(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::cargo_bin("jims").expect("binary");
        command
            .arg("--config")
            .arg(self.folder.path().join("config.toml"));
        command.args(arguments).env("NO_COLOR", "1").timeout(GUARD);
        let output = blocking(move || command.output().expect("jims runs"))
            .await
            .expect("no panic");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = output.status.code().expect("an exit code");
        (code, text(output.stdout), text(output.stderr))
    }

    /// Opens the socket by hand, past the hello.
    pub(crate) fn by_hand(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.socket()).expect("connected");
        stream.set_read_timeout(Some(GUARD)).expect("timeout");
        let mut stream = BufReader::new(stream);
        let hello = line(&mut stream);
        assert_eq!(
            hello,
            json!({ "jims": env!("CARGO_PKG_VERSION"), "protocol": 1 })
        );
        stream
    }

    /// The configuration that names the socket.
    pub(crate) fn configuration(&self) -> String {
        let path = self.folder.path().join("config.toml");
        path.display().to_string()
    }

    pub(crate) async fn logon(&self, user: &str, address: &str) {
        let name = |text| Name::new(text).expect("name");
        let now = clock::utc_now();
        let event = IdentityEvent {
            producer: Arc::from("vpn"),
            record: "my-vpn/up".into(),
            occurred_at: now,
            received_at: now,
            heard: None,
            address: Some(address.parse().expect("address")),
            claim: Claim::Logon(Logon {
                user: UserRef {
                    name: name(user),
                    qualifier: Qualifier::Domain(name("corp.example.com")),
                },
                device: None,
                groups: Vec::new(),
                strength: Strength::Strong,
                logon_id: None,
            }),
        };
        let batch = Batch::Events {
            events: vec![event],
            bookmark: None,
        };
        let applied = self.parts.intake.apply(batch).await.expect("running");
        assert_eq!(applied.applied, 1);
    }

    pub(crate) async fn end(self) {
        drop(self.stop().await);
    }

    /// Ends, and leaves the folder for another start.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        assert!(self.tasks.finish(GUARD).await.is_empty());
        assert!(!self.socket().exists(), "the socket goes with the service");
        self.folder
    }
}

fn line(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("json")
}

pub(crate) fn ask(stream: &mut BufReader<UnixStream>, request: &str) -> Value {
    stream
        .get_mut()
        .write_all(request.as_bytes())
        .expect("sent");
    line(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_an_operator_should_act_on() {
    let running = Running::start();
    let report = Report::new(Kind::Syslog, "vpn");
    report.set_fault(
        Health::Down,
        "port 514 is in use",
        "free it",
        clock::utc_now(),
    );
    running.reports.add(&report);
    let stranger = "127.77.9.66".parse().expect("address");
    running
        .strangers
        .note(Tried::Syslog, stranger, clock::utc_now());

    let (code, text, _) = running.jims(&["status", "--json"]).await;
    assert_eq!(code, 1, "something needs attention");
    let status: Value = serde_json::from_str(&text).expect("json");
    for key in [
        "version",
        "collector",
        "totals",
        "directory",
        "directories",
        "producers",
        "enforcement_points",
        "pushes",
        "collectors",
        "strangers",
        "attention",
        "cluster",
    ] {
        assert!(status.get(key).is_some(), "{key}");
    }
    assert_eq!(status["collector"]["state"], "starting");
    assert_eq!(status["producers"][0]["state"], "down");
    let attention: Vec<&str> = status["attention"]
        .as_array()
        .expect("list")
        .iter()
        .map(|item| item["what"].as_str().expect("text"))
        .collect();
    for expected in [
        "not ready",
        "syslog `vpn` is down: port 514 is in use",
        "plain HTTP is spoken on 127.77.9.1:8080",
        "only the user that runs jims can open the control socket",
        "127.77.9.66 sends syslog and is not configured (1 times)",
    ] {
        assert!(
            attention.iter().any(|what| what.starts_with(expected)),
            "{expected}: {attention:?}"
        );
    }

    running.readiness.arm();
    let (code, text, _) = running.jims(&["status"]).await;
    assert_eq!(code, 1);
    assert!(text.starts_with("6 things need attention\n  !  "), "{text}");
    assert!(
        text.contains(&format!(
            "\njims {} on hq (head office): ready, up ",
            env!("CARGO_PKG_VERSION")
        )),
        "{text}"
    );
    assert!(
        text.contains("senders = [\"127.77.9.66\"]"),
        "the lines to paste: {text}"
    );
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_nobody_understood_are_shown() {
    let running = Running::start();
    let (code, text, _) = running.jims(&["status", "--requests"]).await;
    assert_eq!(code, 1, "there is one");
    for part in [
        "srx (127.77.9.10): ",
        "3 times",
        "GET /api/user_query/v3/users?flavour=mint",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text, _) = running.jims(&["status", "--requests", "--json"]).await;
    let answer: Value = serde_json::from_str(&text).expect("json");
    assert_eq!((code, &answer["requests"][0]["method"]), (1, &json!("GET")));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_says_what_is_done_or_that_nobody_is_pushed_to() {
    let running = Running::start();
    let (code, text, _) = running.jims(&["refresh", "srx"]).await;
    assert_eq!((code, text.as_str()), (0, "srx: as it is\n"));
    let (code, text, _) = running.jims(&["refresh", "other", "--json"]).await;
    let answer: Value = serde_json::from_str(&text).expect("json");
    let expected = json!({ "point": "other", "begun": false, "detail": "as it is" });
    assert_eq!((code, answer), (1, expected));
    let (code, _, _) = running.jims(&["refresh"]).await;
    assert_eq!(code, 2, "no name");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_no_and_not_an_error() {
    let running = Running::start();
    let (code, text, _) = running.jims(&["query-user", "nobody"]).await;
    assert_eq!(
        (code, text.as_str()),
        (
            1,
            "no session of nobody: neither the table nor a directory has that name\n"
        )
    );
    let (code, _, text) = running.jims(&["query-user", "10.20.0.0/24"]).await;
    assert_eq!(code, 2);
    assert!(
        text.starts_with("jims: 10.20.0.0/24 is a network\ntry: "),
        "{text}"
    );
    let (code, text, _) = running.jims(&["log-off", "nobody"]).await;
    assert_eq!(
        (code, text.as_str()),
        (1, "no session of nobody, nothing to end\n")
    );
    let (code, _, text) = running
        .jims(&["query-user", "nobody", "--for", "elsewhere"])
        .await;
    assert_eq!(code, 2);
    assert_eq!(
        text,
        "jims: there is no enforcement point `elsewhere`\ntry: `jims status` lists them\n"
    );
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_bears_with_what_it_cannot_understand() {
    let running = Running::start();
    let mut stream = running.by_hand();
    let answer = ask(&mut stream, "{\"request\":\"frobnicate\"}\n");
    assert_eq!(answer["answer"], "error");
    assert!(
        answer["message"]
            .as_str()
            .expect("text")
            .starts_with("cannot understand the request")
    );
    let answer = ask(
        &mut stream,
        "{\"request\":\"log-level\",\"level\":\"debug\"}\n",
    );
    assert_eq!(
        answer,
        json!({ "answer": "done", "detail": "the log level is debug" })
    );
    let answer = ask(&mut stream, "{\"request\":\"reload\"}\n");
    assert_eq!(
        answer,
        json!({ "answer": "error", "message": "2 problems", "remedy": "mend them" })
    );
    let long = format!(
        "{{\"request\":\"query\",\"who\":\"{}\"}}\n",
        "a".repeat(20_000)
    );
    let answer = ask(&mut stream, &long);
    assert_eq!(
        answer["message"],
        "a line on the control connection is longer than 16384 bytes"
    );
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_shown_with_its_evidence_and_ended_by_the_operator() {
    let running = Running::start();
    running.logon("Alice", "10.1.2.50").await;
    running.logon("bob", "2001:db8::7").await;

    for who in [
        "alice",
        "CORP.example.com\\ALICE",
        "10.1.2.50",
        "::ffff:10.1.2.50",
    ] {
        let (code, text, error) = running.jims(&["query-user", who, "--json"]).await;
        assert_eq!(code, 0, "{who}: {text} {error}");
        let answer: Value = serde_json::from_str(&text).expect("json");
        let session = &answer["sessions"][0];
        assert_eq!(session["address"], "10.1.2.50", "{who}");
        assert_eq!(session["user"], "alice");
        assert_eq!(session["domain"], "corp.example.com");
        assert_eq!(session["state"], "active");
        assert_eq!(session["last_evidence"]["producer"], "vpn");
        assert_eq!(session["last_evidence"]["record"], "my-vpn/up");
        assert_eq!(answer["sessions"].as_array().expect("list").len(), 1);
    }
    let (code, text, _) = running.jims(&["query-user", "alice", "--for", "srx"]).await;
    assert_eq!(code, 0);
    assert!(
        text.starts_with("10.1.2.50\n  user      alice (corp.example.com), not in directory\n"),
        "{text}"
    );
    assert!(
        text.contains("srx would be told\n{\"ip-address\":\"10.1.2.50\"}\n"),
        "{text}"
    );

    let (code, text, _) = running.jims(&["log-off", "alice"]).await;
    assert_eq!(code, 0);
    assert_eq!(
        text,
        "ended 1 session\n  ADDRESS    USER   DEVICE  DOMAIN\n  10.1.2.50  alice  -       corp.example.com\n"
    );
    let (code, ..) = running.jims(&["query-user", "alice"]).await;
    assert_eq!(code, 1);
    let (code, text, _) = running.jims(&["log-off", "2001:db8::7", "--json"]).await;
    assert_eq!(code, 0);
    let answer: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(answer["ended"][0]["user"], "bob");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_tells_what_happens_and_what_nobody_could_read() {
    let running = Running::start();
    let mut stream = running.by_hand();
    let unparsed = ask(&mut stream, "{\"request\":\"tail\"}\n");
    assert_eq!(
        unparsed,
        json!({
            "answer": "tail", "tail": "unparsed", "received_at": "2025-11-24T16:00:00Z",
            "source": "vpn", "line": "odd\\u{1b}", "reason": "no-rule",
        })
    );
    let (mut stream, request) = blocking(move || {
        let request = line(&mut stream);
        (stream, request)
    })
    .await
    .expect("no panic");
    assert_eq!(
        (&request["tail"], &request["request"]["count"]),
        (&json!("request"), &json!(3))
    );
    running.logon("alice", "10.1.2.50").await;
    let outcome = blocking(move || line(&mut stream)).await.expect("no panic");
    assert_eq!(outcome["tail"], "outcome");
    assert_eq!(outcome["verdict"], "logged-on");
    assert_eq!(outcome["address"], "10.1.2.50");
    running.end().await;
}
