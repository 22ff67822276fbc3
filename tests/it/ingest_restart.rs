//! A Server as a process: what its operator cannot ask for, and a Collector that pushes to it, over a restart and while
//! Collectors may not call.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt as _;
use jims::push::code::Code;
use jims::runtime::clock;
use reqwest::Client;
use serde_json::{Value, json};

use crate::ingest::{here, push};

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A process on a folder.
struct Process<'a> {
    folder: &'a Path,
    child: Child,
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(folder: &Path, ingest: bool) {
    let text = format!(
        "schema = 1\n[collector]\nname = \"hq\"\nstate_dir = \"state\"\n\
         [control]\nsocket = \"control.sock\"\n[server]\nlisten = [\"127.77.6.1:0\"]\n\
         [ingest]\nenabled = {ingest}\n"
    );
    fs::write(folder.join("jims.toml"), text).unwrap();
}

/// A process without a Server, which may push to one.
fn configure_collector(folder: &Path) {
    let text = "schema = 1\n[collector]\nname = \"branch\"\nstate_dir = \"state\"\n\
                [control]\nsocket = \"control.sock\"\n";
    fs::write(folder.join("jims.toml"), text).unwrap();
}

fn jims(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("jims").unwrap();
    command.arg("--config").arg(folder.join("jims.toml"));
    command
}

impl<'a> Process<'a> {
    async fn start(folder: &'a Path) -> Self {
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = jims(folder)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { folder, child };
        process.until(|status| status["version"].is_string()).await;
        process
    }

    fn answer(&self, arguments: &[&str]) -> Option<Value> {
        let output = jims(self.folder).args(arguments).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// A command that cannot be done: exit code 2, nothing on stdout, and the reason.
    fn refuses(&self, arguments: &[&str], said: &str) {
        let output = jims(self.folder).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }

    /// Waits for a status that holds what is expected.
    async fn until(&self, expected: impl Fn(&Value) -> bool) -> Value {
        let begun = clock::monotonic_now();
        loop {
            let status = self.answer(&["status", "--json"]).unwrap_or_default();
            if expected(&status) {
                return status;
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < GUARD, "{status} {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let sent = kill
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string());
        assert!(sent.status().unwrap().success());
    }

    async fn url(&self, path: &str) -> String {
        let status = self.until(|status| status["server"].is_object()).await;
        let listens = status["server"]["listen"][0].as_str().unwrap();
        format!("https://{listens}{path}")
    }

    fn client(&self) -> Client {
        let pem = fs::read(self.folder.join("state/tls/self-signed.pem")).unwrap();
        let trusted = reqwest::Certificate::from_pem(&pem).unwrap();
        let builder = Client::builder().tls_certs_only([trusted]).timeout(GUARD);
        builder.build().unwrap()
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = self.client().post(self.url(path).await).bearer_auth(token);
        let answer = request.json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Onboards a Collector; its token.
    async fn onboard(&self, name: &str) -> String {
        let invited = self
            .answer(&["onboard", "--invite", name, "--json"])
            .unwrap();
        let code = Code::parse(invited["code"].as_str().unwrap()).unwrap();
        let registration = json!({
            "protocol": 1, "invitation": data_encoding::HEXLOWER.encode(&code.secret),
            "client_id": "collector-1", "client_secret": SECRET, "sent_at": 0,
            "collector": { "name": name, "version": "0.1.0" }
        });
        let (status, answer) = self.post("/collector/v1/onboard", "", &registration).await;
        assert_eq!((status, &answer["server"]), (200, &json!("hq")), "{answer}");
        let asked = json!({
            "grant_type": "client_credentials", "client_id": "collector-1", "client_secret": SECRET
        });
        let (status, given) = self.post("/oauth_token/oauth", "", &asked).await;
        assert_eq!(status, 200, "{given}");
        given["access_token"].as_str().unwrap().to_owned()
    }

    async fn push(&self, token: &str, body: &Value) -> (u16, Value) {
        self.post("/collector/v1/push", token, body).await
    }

    async fn stop(mut self) {
        self.signal("TERM");
        let begun = clock::monotonic_now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < GUARD);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    configure(folder.path(), true);
    folder
}

fn all(position: u64) -> Value {
    let directory = json!({ "is": "domain", "directory": "ad", "domain": "corp.example.com" });
    let alice = json!({
        "is": "object", "directory": "ad", "domain": "corp.example.com", "kind": "user",
        "enabled": true, "name": "alice", "id": format!("{:032x}", 1)
    });
    push(json!({
        "begins": true, "position": position,
        "changes": [directory, alice, here("alice", "10.8.0.1"), here("bob", "10.8.0.2")]
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_push_of_a_running_collector_is_the_last_step_of_its_onboarding() {
    let (at_server, at_branch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    configure(at_server.path(), true);
    configure_collector(at_branch.path());
    let server = Process::start(at_server.path()).await;
    let branch = Process::start(at_branch.path()).await;
    let invited = server.answer(&["onboard", "--invite", "branch", "--json"]);
    let code = invited.unwrap()["code"].as_str().unwrap().to_owned();
    let url = server.url("").await;
    let joined = branch.answer(&["onboard", &url, "--code", &code, "--json"]);
    let steps = joined.unwrap()["steps"].clone();
    let last = steps.as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["name"], &last["ok"]),
        (&json!("push"), &json!(true)),
        "{steps}"
    );
    let told = server.until(|status| status["collectors"][0]["state"] == "connected");
    assert_eq!(told.await["collectors"][0]["identifier"], "branch");

    let disable = jims(at_server.path())
        .args(["onboard", "--disable", "branch"])
        .output();
    assert!(disable.unwrap().status.success());
    let mut again = jims(at_branch.path());
    let again = again.args(["onboard", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(0), "it is onboarded: {said}");
    assert!(
        said.contains("NO  push") && said.contains("disabled"),
        "{said}"
    );
    branch.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_cannot_ask_for_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), true);
    let server = Process::start(folder.path()).await;
    server.onboard("branch-1").await;
    let invite = ["onboard", "--invite"];
    let too_long = "x".repeat(65);
    for (arguments, said) in [
        (&["a/b"][..], "cannot be the name of a Collector"),
        (&[""], "cannot be the name of a Collector"),
        (&[&too_long], "cannot be the name of a Collector"),
        (&["BRANCH-1"], "there is a Collector"),
        (&["a", "--expires", "59s"], "use 1 minute to 30 days"),
        (&["a", "--expires", "31d"], "use 1 minute to 30 days"),
        (&["a", "--networks", "10.1"], "is no address or network"),
        (&["a", "--domains", "a\u{1b}b"], "the scope cannot be used"),
        (&["a", "--roles", "a["], "the scope cannot be used"),
    ] {
        server.refuses(&[&invite[..], arguments].concat(), said);
    }
    let describe = ["onboard", "--describe", "branch-1", "two\nlines"];
    server.refuses(&describe, "the description cannot be used");
    let list = server.answer(&["onboard", "--list", "--json"]).unwrap();
    assert_eq!(list["collectors"].as_array().unwrap().len(), 1, "{list}");
    let narrow = ["a", "--networks", "10.1.2.3/16,::ffff:192.0.2.1", "--json"];
    assert!(server.answer(&[&invite[..], &narrow].concat()).is_some());
    let list = server.answer(&["onboard", "--list", "--json"]).unwrap();
    let kept = &list["collectors"][0]["networks"];
    assert_eq!(*kept, json!(["10.1.0.0/16", "192.0.2.1/32"]), "{list}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_and_its_position_outlive_a_restart() {
    let folder = folder();
    let process = Process::start(folder.path()).await;
    let token = process.onboard("berlin").await;
    assert_eq!(process.push(&token, &all(4)).await.0, 200);
    let status = process
        .until(|status| status["collectors"][0]["state"] == "connected")
        .await;
    assert_eq!(status["totals"]["sessions"], 2, "{status}");
    let berlin = &status["collectors"][0];
    assert_eq!(berlin["pushes"]["sessions"], 2, "{berlin}");
    process.stop().await;

    let process = Process::start(folder.path()).await;
    let status = process
        .until(|status| status["collectors"].is_array())
        .await;
    assert_eq!(status["collectors"][0]["state"], "disconnected", "{status}");
    assert_eq!(status["totals"]["sessions"], 2, "{status}");
    let next = push(json!({ "after": 4, "position": 5, "changes": [here("carol", "10.8.0.3")] }));
    let (code, answer) = process.push(&token, &next).await;
    assert_eq!(
        (code, &answer["accepted"]["position"]),
        (200, &json!(5)),
        "{answer}"
    );
    let status = process
        .until(|status| status["totals"]["sessions"] == 3)
        .await;
    assert_eq!(status["collectors"][0]["state"], "connected");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_collectors_may_not_call_nobody_is_heard_and_then_all_is_told_anew() {
    let folder = folder();
    let process = Process::start(folder.path()).await;
    let token = process.onboard("berlin").await;
    assert_eq!(process.push(&token, &all(4)).await.0, 200);
    configure(folder.path(), false);
    process.signal("HUP");
    process
        .until(|status| status["server"]["ingest"] == false)
        .await;
    let heartbeat = push(json!({ "after": 4, "position": 4 }));
    assert_eq!(process.push(&token, &heartbeat).await.0, 403);
    configure(folder.path(), true);
    process.signal("HUP");
    process
        .until(|status| status["server"]["ingest"] == true)
        .await;
    let asked = json!({
        "grant_type": "client_credentials", "client_id": "collector-1", "client_secret": SECRET
    });
    let (code, given) = process.post("/oauth_token/oauth", "", &asked).await;
    assert_eq!(code, 200, "its credential is kept");
    let token = given["access_token"].as_str().unwrap();
    let (code, answer) = process.push(token, &heartbeat).await;
    assert_eq!((code, &answer["accepted"]), (409, &Value::Null), "{answer}");
    assert_eq!(process.push(token, &all(4)).await.0, 200);

    let removed = process
        .answer(&["onboard", "--remove", "berlin", "--json"])
        .unwrap();
    assert_eq!(removed["done"], true, "{removed}");
    assert_eq!(removed["left"]["sessions"], 2, "{removed}");
    let status = process
        .until(|status| status["totals"]["sessions"] == 0)
        .await;
    assert_eq!(status["collectors"], json!([]), "{status}");
    process.stop().await;
}
