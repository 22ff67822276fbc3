//! The real binary with thousands of enforcement points, a directory and a table full of sessions.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jims::runtime::clock::monotonic_now;

/// Where the Server, its syslog and its metrics are.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 77, 60, 1);
pub(crate) const PORT: u16 = 8443;
const SYSLOG_PORT: u16 = 5514;
/// Users of the directory; each is in some of the groups.
const USERS: u32 = 2_000;
const GROUPS: u32 = 50;
const GROUPS_OF_USER: u32 = 6;
/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(300);

/// A folder and the process that runs in it.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    child: Child,
}

/// Where a point calls from: 127.77.64.0/18 has room for 16,000.
pub(crate) fn address_of_point(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f4d_4001 + number)
}

pub(crate) fn secret_of_point(number: u32) -> String {
    format!("the-secret-of-{number}")
}

/// Where a session is.
fn address_of_session(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a40_0001 + number)
}

impl Site {
    /// Starts the binary and waits until it answers.
    pub(crate) fn start(points: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write_config(folder.path(), points);
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_jims"))
            .arg("--config")
            .arg(folder.path().join("jims.toml"))
            .arg("run")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("jims starts");
        let mut site = Self { folder, child };
        site.wait("its syslog to listen", |_| {
            TcpStream::connect((ADDRESS, SYSLOG_PORT)).is_ok()
        });
        site
    }

    /// Who signed the Server's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("state/tls/self-signed.pem")
    }

    /// The Server's certificate and its key.
    pub(crate) fn certificate(&self) -> [PathBuf; 2] {
        let tls = self.folder.path().join("state/tls");
        [tls.join("server.pem"), tls.join("server.key")]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fills the table and waits until it is full.
    pub(crate) fn fill(&mut self, sessions: u32) {
        let mut syslog = Syslog::open();
        syslog.send((0..sessions).map(|number| (number, number)));
        self.wait("the sessions", |site| {
            site.sessions() >= u64::from(sessions)
        });
    }

    /// What status counts.
    fn sessions(&self) -> u64 {
        let output = Command::new(env!("CARGO_BIN_EXE_jims"))
            .arg("--config")
            .arg(self.folder.path().join("jims.toml"))
            .args(["status", "--json"])
            .output();
        let status = output.ok().map(|output| output.stdout).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap_or_default();
        status["totals"]["sessions"].as_u64().unwrap_or_default()
    }

    fn wait(&mut self, what: &str, mut probe: impl FnMut(&Self) -> bool) {
        let begun = monotonic_now();
        while !probe(self) {
            let ended = self.child.try_wait().expect("status");
            assert!(ended.is_none(), "jims ended: {}", self.log());
            assert!(begun.elapsed() < GUARD, "waited for {what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection over which sessions begin.
pub(crate) struct Syslog(TcpStream);

impl Syslog {
    pub(crate) fn open() -> Self {
        Self(TcpStream::connect((ADDRESS, SYSLOG_PORT)).expect("syslog listens"))
    }

    /// Tunnels of users go up at addresses.
    pub(crate) fn send(&mut self, sessions: impl Iterator<Item = (u32, u32)>) {
        let mut lines = String::new();
        for (user, address) in sessions {
            let (user, address) = (user % USERS, address_of_session(address));
            writeln!(
                lines,
                "<134>iked[7]: IKE_VPN_UP_ALARM_USER: VPN RA-VPN from 198.51.100.7 is up. Local-ip: 192.0.2.1, gateway name: \
                 RA-GW, vpn name: RA-VPN, tunnel-id: 500051, local tunnel-if: st0.0, remote tunnel-ip: Not-Available, \
                 Local IKE-ID: 192.0.2.1, Remote IKE-ID: ra@corp.example.com, AAA username: u{user:06}, VR id: 0, \
                 Traffic-selector: TS1, Traffic-selector local ID: ipv4(0,0-65535,0.0.0.0-255.255.255.255), \
                 Traffic-selector remote ID: ipv4(0,0-65535,{address}-{address}), SA Type: Static"
            )
            .expect("text");
            if lines.len() > 1 << 16 {
                self.0.write_all(lines.as_bytes()).expect("taken");
                lines.clear();
            }
        }
        self.0.write_all(lines.as_bytes()).expect("taken");
    }
}

fn write_config(folder: &Path, points: u32) {
    fs::write(folder.join("directory.ldif"), ldif()).expect("a directory");
    let mut text = format!(
        r#"schema = 1
[collector]
name = "bench"
state_dir = "state"
[server]
listen = ["{ADDRESS}:{PORT}"]
[control]
socket = "control.sock"
[[directory_service]]
name = "corp"
domain = "corp.example.com"
ldif_file = "directory.ldif"
[syslog]
udp = []
tcp = ["{ADDRESS}:{SYSLOG_PORT}"]
[[syslog_source]]
name = "vpn"
senders = ["127.0.0.0/8"]
templates = ["juniper-secure-connect"]
domain = "corp.example.com"
"#
    );
    for number in 0..points {
        let file = format!("secret.{number}");
        write_secret(&folder.join(&file), &secret_of_point(number));
        let address = IpAddr::from(address_of_point(number));
        write!(
            text,
            "[[enforcement_point]]\nname = \"fw-{number}\"\naddresses = [\"{address}\"]\nclient_id = \"fw-{number}\"\n\
             client_secret_file = \"{file}\"\n"
        )
        .expect("text");
    }
    fs::write(folder.join("jims.toml"), text).expect("a configuration");
}

fn write_secret(path: &Path, secret: &str) {
    fs::write(path, secret).expect("a secret");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

fn ldif() -> String {
    const BASE: &str = "DC=corp,DC=example,DC=com";
    let mut text = format!("dn: {BASE}\nobjectClass: domain\n\n");
    for user in 0..USERS {
        write!(
            text,
            "dn: CN=User {user},{BASE}\nobjectClass: user\nsAMAccountName: u{user:06}\nuserAccountControl: 512\n\n"
        )
        .expect("text");
    }
    for group in 0..GROUPS {
        write!(
            text,
            "dn: CN=Group {group},{BASE}\nobjectClass: group\nsAMAccountName: Department-{group:02}\n"
        )
        .expect("text");
        let within = |user: u32| (0..GROUPS_OF_USER).any(|n| (user + n * 7) % GROUPS == group);
        for user in (0..USERS).filter(|user| within(*user)) {
            writeln!(text, "member: CN=User {user},{BASE}").expect("text");
        }
        text.push('\n');
    }
    text
}
