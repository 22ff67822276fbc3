//! `jims run` as systemd and operators run it: notifications, reload, stop, the demo.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;
use jims::control::client::Client;
use jims::control::protocol::{Answer, Request};
use jims::net::listener;

use crate::fake_srx::Srx;

/// Ends a wait that will never be over: far more than any step takes.
const GUARD: Duration = Duration::from_secs(60);

const LDIF: &str = "dn: CN=Alice,DC=corp,DC=example\nobjectClass: user\nsAMAccountName: alice\nuserAccountControl: 512\n";

/// A folder with a configuration, and the process that runs on it.
pub(crate) struct Service {
    folder: tempfile::TempDir,
    notify: UnixDatagram,
    child: Child,
}

impl Service {
    pub(crate) fn start(address: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("directory.ldif"), LDIF).expect("ldif");
        let secret = folder.path().join("secret");
        fs::write(&secret, "firewall-secret").expect("secret");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("mode");
        configure(folder.path(), address, "");
        let socket = folder.path().join("notify.sock");
        let notify = UnixDatagram::bind(&socket).expect("notify socket");
        notify.set_read_timeout(Some(GUARD)).expect("timeout");
        let log = fs::File::create(folder.path().join("log")).expect("log");
        let child = Command::cargo_bin("jims")
            .expect("binary")
            .arg("--config")
            .arg(folder.path().join("jims.toml"))
            .arg("run")
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "600000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("jims starts");
        Self {
            folder,
            notify,
            child,
        }
    }

    /// Waits for a notification that holds the word.
    #[track_caller]
    pub(crate) fn expect(&self, word: &str) -> String {
        let mut buffer = [0; 4096];
        for _ in 0..1000 {
            let size = self
                .notify
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("no {word}: {e}: {}", self.log()));
            let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
            if text.lines().any(|line| line.starts_with(word)) {
                return text;
            }
        }
        panic!("no {word} among many notifications: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    #[track_caller]
    fn status(&self) -> serde_json::Value {
        self.json(&["status", "--json"])
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut command = Command::cargo_bin("jims").expect("binary");
        command
            .arg("--config")
            .arg(self.path("jims.toml"))
            .args(arguments);
        let output = command.output().expect("jims answers");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!(
                "{e}: {} {}",
                String::from_utf8_lossy(&output.stderr),
                self.log()
            )
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(folder: &Path, address: &str, extra: &str) {
    let text = format!(
        r#"schema = 1
[collector]
name = "service-test"
state_dir = "state"
[control]
socket = "control.sock"
[[directory_service]]
name = "corp"
domain = "corp.example"
ldif_file = "directory.ldif"
[server]
listen = ["{address}:18443"]
certificate_names = ["jims1.corp.example"]
[[enforcement_point]]
name = "srx"
addresses = ["{address}"]
client_id = "srx"
client_secret_file = "secret"
{extra}
"#
    );
    fs::write(folder.join("jims.toml"), text).expect("configuration");
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .expect("kill");
    assert!(status.success());
}

#[test]
fn systemd_hears_ready_watchdog_reloading_and_stopping() {
    let mut service = Service::start("127.77.1.1");
    service.expect("READY=1");
    service.expect("WATCHDOG=1");
    service.expect("WATCHDOG=1");
    service.signal("HUP");
    let reloading = service.expect("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    service.expect("READY=1");
    service.signal("TERM");
    service.expect("STOPPING=1");
    let status = service.child.wait().expect("status");
    assert!(status.success(), "{status}: {}", service.log());
    assert!(service.path("state/snapshot").exists());
}

#[test]
fn a_broken_configuration_is_refused_at_reload_and_the_old_one_kept() {
    let service = Service::start("127.77.1.2");
    service.expect("READY=1");
    assert_eq!(
        service.status()["enforcement_points"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    let second = "[[enforcement_point]]\nname = \"srx2\"\naddresses = [\"127.77.1.99\"]\nclient_id = \"srx2\"\nclient_secret_file = \"secret\"\n";
    configure(
        service.folder.path(),
        "127.77.1.2",
        &format!("{second}typo = 1\n"),
    );
    service.signal("HUP");
    service.expect("RELOADING=1");
    service.expect("READY=1");
    let status = service.status();
    assert_eq!(
        status["enforcement_points"].as_array().map(Vec::len),
        Some(1)
    );
    assert!(status["attention"].to_string().contains("typo"), "{status}");

    configure(service.folder.path(), "127.77.1.2", second);
    service.signal("HUP");
    service.expect("RELOADING=1");
    service.expect("READY=1");
    let status = service.status();
    assert_eq!(
        status["enforcement_points"].as_array().map(Vec::len),
        Some(2)
    );
    assert!(
        !status["attention"].to_string().contains("typo"),
        "{status}"
    );
}

#[test]
fn what_needs_a_restart_is_refused_by_name() {
    let service = Service::start("127.77.1.3");
    service.expect("READY=1");
    let path = service.path("jims.toml");
    let text = fs::read_to_string(&path)
        .expect("configuration")
        .replace("service-test", "another-name");
    fs::write(&path, text).expect("configuration");
    service.signal("HUP");
    service.expect("RELOADING=1");
    service.expect("READY=1");
    let status = service.status();
    assert_eq!(status["collector"]["name"], "service-test");
    assert!(
        status["attention"].to_string().contains("collector.name"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_push_is_mentioned_once() {
    let service = Service::start("127.77.1.9");
    service.expect("READY=1");
    let folder = service.path("state/push");
    fs::create_dir_all(&folder).expect("folder");
    let pending = folder.join("branch.toml");
    let text = format!(
        "name = \"branch\"\nurl = \"https://jims1.corp.example\"\nclient_id = \"c\"\n\
         client_secret = \"s\"\nkey_sha256 = \"{}\"\nstate = \"pending\"\n",
        "07".repeat(32)
    );
    fs::write(&pending, text).expect("credential");
    fs::set_permissions(&pending, fs::Permissions::from_mode(0o600)).expect("mode");
    let mut client = Client::connect(&service.path("control.sock"))
        .await
        .expect("the service answers");
    let looked = client.ask(&Request::Onboarded).await;
    assert!(matches!(looked, Ok(Answer::Done { .. })), "{looked:?}");
    let status = service.status();
    assert_eq!(status["pushes"][0]["state"], "pending", "{status}");
    let attention = status["attention"].as_array().expect("a list");
    let told = attention
        .iter()
        .filter(|one| one["what"].to_string().contains("`branch`"));
    assert_eq!(told.count(), 1, "{attention:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_is_pushed_to_from_a_line_of_syslog_to_its_table() {
    let srx = Srx::start("firewall-secret").await;
    let mut service = Service::start("127.77.1.6");
    service.expect("READY=1");
    let push = format!(
        "[[enforcement_point]]\nname = \"pushed\"\n[enforcement_point.web_api]\n\
         url = \"https://{}\"\nuser = \"jims\"\npassword_file = \"secret\"\n\
         certificate_sha256 = \"{}\"\n",
        srx.address, srx.fingerprint
    );
    let syslog = "[syslog]\nudp = [\"127.77.1.6:18514\"]\ntcp = []\n\
         [[syslog_source]]\nname = \"vpn\"\nsenders = [\"127.77.1.6\"]\ntemplates = [\"own\"]\n\
         domain = \"corp.example\"\n[[syslog_template]]\nname = \"own\"\n\
         [[syslog_template.rule]]\nevent = \"logon\"\npattern = 'user=(?<user>\\S+) ip=(?<address>\\S+)'\n";
    configure(
        service.folder.path(),
        "127.77.1.6",
        &format!("{push}{syslog}"),
    );
    service.signal("HUP");
    service.expect("RELOADING=1");
    service.expect("READY=1");

    let sender =
        listener::udp("127.77.1.6:0".parse().expect("an address"), "test").expect("a sender");
    let line = b"<13>Jan 17 15:29:37 gate vpn: user=alice ip=10.1.2.50";
    let sent = sender.send_to(line, "127.77.1.6:18514").await;
    assert_eq!(sent.ok(), Some(line.len()));
    srx.until("told", |state| !state.table.is_empty()).await;
    assert_eq!(srx.holds(), ["10.1.2.50 alice --"]);

    srx.state.lock().table.clear();
    let refreshed = service.json(&["refresh", "pushed", "--json"]);
    assert_eq!(refreshed["begun"], true, "{refreshed}");
    srx.until("told again", |state| !state.table.is_empty())
        .await;
    srx.is_content();
    let asks = service.json(&["refresh", "srx", "--json"]);
    assert_eq!(asks["begun"], false, "it is not pushed to: {asks}");

    let status = service.status();
    let point = &status["enforcement_points"][1];
    let told = (&point["name"], &point["protocol"], &point["state"]);
    assert_eq!(
        told,
        (&"pushed".into(), &"web-api".into(), &"following".into())
    );
    assert_eq!(point["web_api"]["behind"], 0);
    assert_eq!(status["enforcement_points"][0]["protocol"], "query");

    srx.state.lock().password = "another".into();
    let refreshed = service.json(&["refresh", "pushed", "--json"]);
    assert_eq!(refreshed["begun"], true);
    srx.until("refused", |state| state.unauthorized > 0).await;
    let deadline = std::time::Duration::from_secs(60);
    let told = tokio::time::timeout(deadline, async {
        while !service.status()["attention"]
            .to_string()
            .contains("cannot push to `pushed`")
        {
            tokio::task::yield_now().await;
        }
    });
    told.await.expect("status tells at once");
    service.signal("TERM");
    let ended = service.child.wait().expect("status");
    assert!(ended.success(), "{}", service.log());
}

#[tokio::test]
async fn a_firewall_that_installs_what_is_printed_trusts_the_server() {
    let service = Service::start("127.77.1.4");
    service.expect("READY=1");
    let junos = service.json(&["status", "--junos", "srx", "--json"]);
    let configuration: Vec<&str> = (junos["configuration"].as_array().expect("commands").iter())
        .map(|command| command.as_str().expect("text"))
        .collect();
    let connection = "set services user-identification identity-management connection";
    for expected in [
        format!("{connection} port 18443"),
        format!("{connection} primary address jims1.corp.example"),
        format!("{connection} primary client-id srx"),
        format!("{connection} primary ca-profile jims"),
    ] {
        assert!(
            configuration.contains(&&*expected),
            "{expected}: {configuration:?}"
        );
    }
    let told = junos.to_string();
    assert!(!told.contains("firewall-secret"), "{told}");

    let pem = junos["certificate"]["pem"].as_str().expect("PEM");
    let ca = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .resolve(
            "jims1.corp.example",
            "127.77.1.4:18443".parse().expect("address"),
        )
        .timeout(GUARD)
        .build()
        .expect("a client");
    let answer = client
        .get("https://jims1.corp.example:18443/healthz")
        .send()
        .await;
    assert_eq!(answer.expect("trusted").status(), 200);
}

#[test]
fn the_demo_shows_sessions_that_appear_and_ends_well() {
    let mut child = Command::cargo_bin("jims")
        .expect("binary")
        .args(["run", "--demo"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("jims starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut logins = 0;
    let mut commands = false;
    for line in lines.map_while(Result::ok).take(200) {
        commands |= line.contains("query-user");
        logins += usize::from(line.trim_start().starts_with("login"));
        if logins >= 3 {
            break;
        }
    }
    assert!(commands, "the commands to try are printed");
    assert!(logins >= 3, "sessions reach the firewall");
    signal(child.id(), "TERM");
    assert!(child.wait().expect("status").success());
}
