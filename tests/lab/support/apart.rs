//! Collectors and a Server in processes of their own, and what really happened to the users that they hear of.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{DC, FIREWALL, JIMS, Place, Site, lab, text, tunnel_down, tunnel_up};

/// The domain controller of the second forest.
const BRANCH_DC: &str = "127.77.0.11";

/// Lines of so long before a kill are sent again, as a relay does that was told of no receipt.
pub(crate) const SENT_AGAIN: Duration = Duration::from_secs(15);

/// A Collector's site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch {
    /// What the Server calls it.
    pub(crate) name: &'static str,
    /// Where its syslog listens.
    pub(crate) address: &'static str,
    /// Its forest.
    pub(crate) domain: &'static str,
    pub(crate) dc: &'static str,
    /// The lab's folder of that domain controller.
    pub(crate) folder: &'static str,
    /// How many users the directory has.
    pub(crate) users: u32,
    /// Its own addresses are 10.N.
    pub(crate) network: u8,
}

/// The first forest.
pub(crate) const HEADQUARTERS: Branch = Branch {
    name: "headquarters",
    address: "127.77.0.32",
    domain: "corp.example.com",
    dc: DC,
    folder: "ad",
    users: 2000,
    network: 12,
};

/// The second.
pub(crate) const BRANCH: Branch = Branch {
    name: "branch",
    address: "127.77.0.33",
    domain: "branch.example.net",
    dc: BRANCH_DC,
    folder: "branch",
    users: 200,
    network: 13,
};

/// A Server that receives, and has no source of its own.
pub(crate) fn server() -> Site {
    let site = Site::bare(Place::FIRST);
    site.secret("firewall.secret", Place::FIRST.secret);
    let tls = lab().join("ad/tls");
    site.write(&format!(
        r#"schema = 1
[collector]
name = "server"
state_dir = "state"
[session]
snapshot_interval = "1s"
[server]
listen = ["{JIMS}:8443"]
certificate_file = "{tls}/cert.pem"
key_file = "{tls}/key.pem"
[ingest]
enabled = true
[control]
socket = "control.sock"
[[enforcement_point]]
name = "srx-lab"
addresses = ["{FIREWALL}"]
client_id = "{id}"
client_secret_file = "firewall.secret"
"#,
        tls = tls.display(),
        id = Place::FIRST.client_id,
    ));
    site
}

/// A Collector that has no Server.
pub(crate) fn collector(branch: Branch) -> Site {
    let site = Site::bare(Place {
        address: branch.address,
        ..Place::FIRST
    });
    site.secret("directory.secret", "Svc-Jims!1");
    site.write(&format!(
        r#"schema = 1
[collector]
name = "{name}-host"
description = "{name} of the lab"
state_dir = "state"
[session]
snapshot_interval = "1s"
[control]
socket = "control.sock"
[syslog]
udp = ["{address}:5514"]
tcp = ["{address}:5514"]
[[syslog_source]]
name = "vpn"
senders = ["127.0.0.1", "{address}"]
templates = ["juniper-secure-connect"]
domain = "{domain}"
networks = ["10.0.0.0/8"]
[[directory_service]]
name = "forest"
domain = "{domain}"
hosts = ["{dc}"]
ca_file = "{ca}"
user = "svc-jims@{domain}"
password_file = "directory.secret"
poll_interval = "1s"
"#,
        name = branch.name,
        address = branch.address,
        domain = branch.domain,
        dc = branch.dc,
        ca = lab().join(branch.folder).join("tls/ca.pem").display(),
    ));
    site
}

/// `jims onboard URL` by a script: what it answered.
pub(crate) fn onboard(site: &Site, url: &str, code: &str) -> Output {
    let mut command = site.command();
    command.args(["onboard", url, "--code-stdin", "--json"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("jims starts");
    let mut typed = child.stdin.take().expect("a pipe");
    writeln!(typed, "{code}").expect("a code");
    drop(typed);
    child.wait_with_output().expect("an answer")
}

/// Invites on the Server: the answer of `--json`.
pub(crate) fn invite(server: &Site, name: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["onboard", "--invite", name, "--json"];
    arguments.extend(more);
    server.json(&arguments)
}

/// A Collector that is running and onboarded at the URL.
#[track_caller]
pub(crate) fn join(server: &Site, branch: Branch, url: &str) -> Site {
    let mut site = collector(branch);
    site.start();
    let invitation = invite(server, branch.name, &[]);
    let code = invitation["code"].as_str().expect("a code");
    let output = onboard(&site, url, code);
    assert!(
        output.status.success(),
        "{} {}",
        text(&output.stdout),
        text(&output.stderr)
    );
    site
}

/// The page's line about a Collector.
pub(crate) fn on_the_page(server: &Site, name: &str) -> Value {
    let status = server.json(&["status", "--json"]);
    let collectors = status["collectors"].as_array().cloned().unwrap_or_default();
    let mut named = collectors.into_iter().filter(|line| line["name"] == name);
    named.next().unwrap_or_default()
}

/// A full report to the firewall: `domain\user` at every address where somebody is.
pub(crate) fn report(server: &Site) -> BTreeMap<String, String> {
    let token = server.token();
    let mut held = BTreeMap::new();
    let mut cookie = String::new();
    loop {
        let answer = server.query(
            &token,
            &format!("users/endpoints?begintime=0&entry_count=1000{cookie}"),
        );
        for entry in answer["report_entries"].as_array().expect("entries") {
            let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let address = word("ip-address");
            if entry["activity"] == "login" && entry["user-name"].is_string() {
                held.insert(
                    address,
                    format!("{}\\{}", word("domain-name"), word("user-name")),
                );
            } else {
                held.remove(&address);
            }
        }
        if answer["more"] != json!(true) {
            return held;
        }
        cookie = format!("&cookie={}", answer["cookie"].as_str().expect("a cookie"));
    }
}

/// What happened at all addresses, by the clock of those who were there.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    holders: BTreeMap<String, String>,
    stamps: BTreeMap<String, i64>,
}

impl Truth {
    /// Somebody comes; the line that says so.
    pub(crate) fn comes(&mut self, branch: Branch, user: u32, address: &str) -> String {
        let who = format!("{}\\u{user:06}", branch.domain);
        self.holders.insert(address.to_owned(), who);
        self.line(address, &tunnel_up(&format!("u{user:06}"), address))
    }

    /// Somebody goes, whoever is there now; the line that says so.
    pub(crate) fn goes(&mut self, branch: Branch, user: u32, address: &str) -> String {
        let who = format!("{}\\u{user:06}", branch.domain);
        if self.holders.get(address) == Some(&who) {
            self.holders.remove(address);
        }
        self.line(address, &tunnel_down(&format!("u{user:06}"), address))
    }

    /// Who is where.
    pub(crate) fn table(&self) -> &BTreeMap<String, String> {
        &self.holders
    }

    /// A line of RFC 5424; of one address no two have the same stamp.
    fn line(&mut self, address: &str, said: &str) -> String {
        let now = jiff::Timestamp::now().as_millisecond();
        let stamp = self.stamps.entry(address.to_owned()).or_default();
        *stamp = now.max(*stamp + 1);
        let at = jiff::Timestamp::from_millisecond(*stamp).expect("an instant");
        format!("<134>1 {at:.3} vpn iked 7 - - {said}\n")
    }
}

/// Lines over one TCP connection.
pub(crate) fn send(branch: Branch, lines: &[String]) {
    let mut stream = TcpStream::connect((branch.address, 5514)).expect("syslog listens");
    stream.write_all(lines.concat().as_bytes()).expect("sent");
}
