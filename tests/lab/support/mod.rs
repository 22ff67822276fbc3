//! One `jims` with its folder, the firewall that asks it, and the directory behind it.

pub(crate) mod apart;
pub(crate) mod cut;
pub(crate) mod peer;
pub(crate) mod rsyslog;
pub(crate) mod srx;
pub(crate) mod wmi;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Where `jims` listens in every lab test.
pub(crate) const JIMS: &str = "127.77.0.30";
/// Where a second, independent `jims` listens.
pub(crate) const SECOND: &str = "127.77.0.31";
/// Where the firewall calls from.
pub(crate) const FIREWALL: &str = "127.77.0.41";
/// The domain controller.
pub(crate) const DC: &str = "127.77.0.10";

/// Ends a wait that will never be over: far more than any step takes.
const GUARD: Duration = Duration::from_secs(60);

/// The folder that `tests/run` made.
pub(crate) fn lab() -> PathBuf {
    std::env::var_os("JIMS_LAB")
        .expect("JIMS_LAB is set by tests/run, which starts the peers")
        .into()
}

/// The certificate authority of the lab.
pub(crate) fn ca_file() -> PathBuf {
    lab().join("ad/tls/ca.pem")
}

/// Waits until `probe` gives something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_at_most(GUARD, what, probe)
}

/// The same with a guard of its own, for what takes longer.
#[track_caller]
pub(crate) fn wait_at_most<T>(
    guard: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < guard, "waited {guard:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The binary under test; `JIMS_BIN` names another, such as one that was built for release.
fn binary() -> PathBuf {
    let own = || env!("CARGO_BIN_EXE_jims").into();
    std::env::var_os("JIMS_BIN").map_or_else(own, PathBuf::from)
}

/// A program that will run here, or in the network of a process.
pub(crate) fn program_at(host: Option<u32>, program: impl AsRef<OsStr>) -> Command {
    let Some(pid) = host else {
        return Command::new(program);
    };
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid.to_string(), "--net", "--"]);
    command.arg(program);
    command
}

/// Sends a signal by name.
pub(crate) fn send_signal(pid: u32, name: &str) {
    succeed(
        Command::new("kill")
            .arg(format!("-{name}"))
            .arg(pid.to_string()),
    );
}

/// Runs a command and returns what it printed; it must succeed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// `samba-tool` on the lab's directory.
#[track_caller]
pub(crate) fn samba_tool(arguments: &[&str]) -> String {
    let url = lab().join("ad/private/sam.ldb");
    let configuration = lab().join("ad/etc/smb.conf");
    succeed(
        Command::new("/usr/bin/samba-tool")
            .args(arguments)
            .arg("-H")
            .arg(url)
            .arg(format!("--configfile={}", configuration.display())),
    )
}

/// Where a site listens, and what the firewall shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: &'static str,
    pub(crate) client_id: &'static str,
    pub(crate) secret: &'static str,
}

impl Place {
    /// The one of most tests.
    pub(crate) const FIRST: Self = Self {
        address: JIMS,
        client_id: "srx-lab",
        secret: "s3cret-firewall",
    };
    /// Another one beside it.
    pub(crate) const SECOND: Self = Self {
        address: SECOND,
        client_id: "srx-lab-at-second",
        secret: "an0ther-secret",
    };
}

/// One `jims` process and its folder.
pub(crate) struct Site {
    /// Holds configuration, secrets, state and log.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) place: Place,
    /// A process in whose network it runs, if not in that of the tests.
    pub(crate) host: Option<u32>,
    /// More keys of `[session]`.
    session: String,
    child: Option<Child>,
}

impl Site {
    /// A folder with a configuration: the common part and `extra` tables.
    pub(crate) fn new(extra: &str) -> Self {
        Self::with_session("", extra)
    }

    /// The same with keys of `[session]`.
    pub(crate) fn with_session(session: &str, extra: &str) -> Self {
        Self::at(Place::FIRST, session, extra)
    }

    /// The same at a place of its own.
    pub(crate) fn at(place: Place, session: &str, extra: &str) -> Self {
        let mut site = Self::bare(place);
        session.clone_into(&mut site.session);
        site.secret("directory.secret", "Svc-Jims!1");
        site.secret("firewall.secret", place.secret);
        site.configure(extra);
        site
    }

    /// A folder without a configuration.
    pub(crate) fn bare(place: Place) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("site.")
            .tempdir_in(lab())
            .expect("folder");
        Self {
            folder,
            place,
            host: None,
            session: String::new(),
            child: None,
        }
    }

    /// Writes a whole configuration.
    pub(crate) fn write(&self, configuration: &str) {
        fs::write(self.path("jims.toml"), configuration).expect("configuration");
    }

    /// A file below the site's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a secret that only its owner can read.
    pub(crate) fn secret(&self, name: &str, value: &str) {
        fs::write(self.path(name), value).expect("secret");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).expect("mode");
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, extra: &str) {
        let tls = lab().join("ad/tls");
        let text = format!(
            r#"schema = 1
[collector]
name = "lab"
state_dir = "state"
[session]
snapshot_interval = "1s"
{session}
[server]
listen = ["{address}:8443"]
certificate_file = "{tls}/cert.pem"
key_file = "{tls}/key.pem"
[control]
socket = "control.sock"
[metrics]
listen = ["{address}:9592"]
[[enforcement_point]]
name = "srx-lab"
addresses = ["{FIREWALL}"]
client_id = "{client_id}"
client_secret_file = "firewall.secret"
[syslog]
udp = ["{address}:5514"]
tcp = ["{address}:5514"]
tls = ["{address}:6514"]
certificate_file = "{tls}/cert.pem"
key_file = "{tls}/key.pem"
[[syslog_source]]
name = "vpn"
senders = ["127.0.0.1", "{address}"]
templates = ["juniper-secure-connect"]
domain = "corp.example.com"
networks = ["10.0.0.0/8"]
{extra}
"#,
            tls = tls.display(),
            session = self.session,
            address = self.place.address,
            client_id = self.place.client_id,
        );
        self.write(&text);
    }

    /// The binary with this site's configuration.
    pub(crate) fn command(&self) -> Command {
        let mut command = program_at(self.host, binary());
        command
            .arg("--config")
            .arg(self.path("jims.toml"))
            .env_remove("NOTIFY_SOCKET");
        command
    }

    /// Starts `jims run`, without waiting.
    pub(crate) fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("log");
        let errors = log.try_clone().expect("log");
        let mut command = self.command();
        command
            .arg("run")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        self.child = Some(command.spawn().expect("jims starts"));
    }

    /// Starts `jims run` and waits until it answers queries.
    pub(crate) fn start_ready(&mut self) {
        self.start();
        self.wait_ready();
    }

    /// Waits until `/readyz` says 200.
    pub(crate) fn wait_ready(&mut self) {
        wait_for("readiness", || {
            self.assert_running();
            (self.curl(&["-o", "/dev/null", "-w", "%{http_code}"], "/readyz") == "200")
                .then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        let child = self.child.as_mut().expect("jims was started");
        if let Some(status) = child.try_wait().expect("status") {
            panic!("jims ended with {status}: {}", self.log());
        }
    }

    /// What `jims` wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("jims was started").id()
    }

    /// Resident memory in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse().ok())
            .expect("a size")
    }

    /// The Prometheus page.
    pub(crate) fn metrics(&self) -> String {
        let url = format!("http://{}:9592/metrics", self.place.address);
        succeed(Command::new("curl").args(["--silent", "--noproxy", "*", "--max-time", "20", &url]))
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    /// Ends the process by SIGTERM; it must end well.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let status = self
            .child
            .take()
            .expect("jims was started")
            .wait()
            .expect("status");
        assert!(status.success(), "jims ended with {status}: {}", self.log());
    }

    /// Ends the process by SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("jims was started");
        child.kill().expect("kill");
        child.wait().expect("status");
    }

    /// Runs a command of this site and returns what came of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command()
            .args(arguments)
            .output()
            .expect("jims starts")
    }

    /// Runs a command with `--json` and parses its answer.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{arguments:?}: {error}: {} {}",
                text(&output.stdout),
                text(&output.stderr)
            )
        })
    }

    /// curl from the firewall's address: what the server answered.
    pub(crate) fn curl(&self, arguments: &[&str], path: &str) -> String {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--interface",
                FIREWALL,
            ])
            .arg("--cacert")
            .arg(ca_file())
            .args(arguments)
            .arg(format!("https://{}:8443{path}", self.place.address))
            .output()
            .expect("curl starts");
        text(&output.stdout)
    }

    /// An access token.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let Place {
            client_id, secret, ..
        } = self.place;
        let form =
            format!("grant_type=client_credentials&client_id={client_id}&client_secret={secret}");
        let answer = self.curl(&["--data", &form], "/api/oauth_token/oauth");
        let answer: Value = serde_json::from_str(&answer)
            .unwrap_or_else(|e| panic!("{e}: {answer}: {}", self.log()));
        answer["access_token"].as_str().expect("token").to_owned()
    }

    /// A query with a token.
    #[track_caller]
    pub(crate) fn query(&self, token: &str, path: &str) -> Value {
        let answer = self.curl(
            &["-H", &format!("Authorization: Bearer {token}")],
            &format!("/api/user_query/v2/{path}"),
        );
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// The first entry that an IP query gives.
    pub(crate) fn entry(&self, token: &str, address: &str) -> Option<Value> {
        self.query(token, &format!("ip/{address}"))["report_entries"]
            .get(0)
            .cloned()
    }

    /// Waits until an IP query gives this user.
    #[track_caller]
    pub(crate) fn wait_user(&self, token: &str, address: &str, user: &str) -> Value {
        wait_for(&format!("{user} at {address}"), || {
            self.entry(token, address)
                .filter(|entry| entry["user-name"] == user)
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            drop(writeln!(std::io::stderr(), "log of jims:\n{}", self.log()));
        }
    }
}

/// The directory table that every directory test begins with.
pub(crate) fn directory(more: &str) -> String {
    format!(
        r#"[[directory_service]]
name = "corp"
domain = "corp.example.com"
hosts = ["{DC}"]
ca_file = "{ca}"
user = "svc-jims@corp.example.com"
password_file = "directory.secret"
poll_interval = "1s"
{more}
"#,
        ca = ca_file().display()
    )
}

/// A Secure Connect tunnel going up, as `iked` words it.
pub(crate) fn tunnel_up(user: &str, address: &str) -> String {
    tunnel("IKE_VPN_UP_ALARM_USER", "up", user, address)
}

/// The same tunnel going down.
pub(crate) fn tunnel_down(user: &str, address: &str) -> String {
    tunnel("IKE_VPN_DOWN_ALARM_USER", "down", user, address)
}

fn tunnel(message: &str, state: &str, user: &str, address: &str) -> String {
    format!(
        "{message}: VPN RA-VPN from 198.51.100.7 is {state}. Local-ip: 192.0.2.1, gateway name: RA-GW, vpn name: RA-VPN, \
         tunnel-id: 500051, local tunnel-if: st0.0, remote tunnel-ip: Not-Available, Local IKE-ID: 192.0.2.1, \
         Remote IKE-ID: ra@corp.example.com, AAA username: {user}, VR id: 0, Traffic-selector: TS1, \
         Traffic-selector local ID: ipv4(0,0-65535,0.0.0.0-255.255.255.255), \
         Traffic-selector remote ID: ipv4(0,0-65535,{address}-{address}), SA Type: Static{end}",
        end = if state == "down" {
            ", Reason: IPSec SAs cleared as corresponding IKE SA deleted"
        } else {
            ""
        }
    )
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a path exists; for waits.
pub(crate) fn exists(path: &Path) -> Option<()> {
    path.exists().then_some(())
}
