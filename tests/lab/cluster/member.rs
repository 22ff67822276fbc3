//! Members of a cluster, each with its own state folder and address, and what they say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::disturb::OVER_WITHIN;
use super::hosts::Host;
use super::nats::Nats;
use crate::support::{Place, Site, wait_at_most, wait_for};

/// Where members listen.
pub(crate) const COLLECTORS: [&str; 2] = ["127.77.0.64", "127.77.0.65"];
pub(crate) const SERVERS: [&str; 4] = ["127.77.0.66", "127.77.0.67", "127.77.0.68", "127.77.0.69"];
/// Where a process listens that is in no cluster.
pub(crate) const ALONE: &str = "127.77.0.70";

/// Where syslog comes in.
pub(crate) const SYSLOG_PORT: u16 = 5514;
const HTTP_PORT: u16 = 8080;

/// For how long one answer may be waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One process.
pub(crate) struct Member {
    pub(crate) site: Site,
    pub(crate) address: &'static str,
    /// Where it runs, if apart from the tests.
    pub(crate) host: Option<Host>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Collector,
    Server,
    Both,
}

/// `[cluster]` of so many copies.
pub(crate) fn cluster(nats: &Nats) -> String {
    let replicas = if nats.nodes() == 3 { 3 } else { 1 };
    format!(
        "[cluster]\nnats = {}\nreplicas = {replicas}\n",
        nats.urls("nats")
    )
}

impl Member {
    /// One that is not started; `extra` are more tables, `[cluster]` among them.
    pub(crate) fn new(address: &'static str, role: Role, extra: &str) -> Self {
        let site = Site::bare(Place {
            address,
            ..Place::FIRST
        });
        site.secret("firewall.secret", Place::FIRST.secret);
        site.secret("directory.secret", "Svc-Jims!1");
        let name = address.rsplit('.').next().expect("a number");
        let mut text = format!(
            r#"schema = 1
[collector]
name = "m{name}"
state_dir = "state"
[session]
logoff_time = "8h"
snapshot_interval = "1s"
[control]
socket = "control.sock"
[metrics]
listen = ["{address}:9592"]
[[domain]]
name = "corp.example.com"
netbios = "CORP"
{extra}
"#
        );
        if role != Role::Server {
            text += &syslog(address);
        }
        if role != Role::Collector {
            text += &server(address);
        }
        site.write(&text);
        Self {
            site,
            address,
            host: None,
        }
    }

    /// One that runs.
    pub(crate) fn start(address: &'static str, role: Role, extra: &str) -> Self {
        let mut member = Self::new(address, role, extra);
        member.site.start();
        member
    }

    /// One that runs on a host of its own.
    pub(crate) fn start_on(host: Host, address: &'static str, role: Role, extra: &str) -> Self {
        let mut member = Self::new(address, role, extra);
        member.site.host = Some(host.pid());
        member.host = Some(host);
        member.site.start();
        member
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) {
        wait_for("a member to be ready", || {
            self.site.assert_running();
            (self.try_status()?["collector"]["state"] == "ready").then_some(())
        });
    }

    /// The last message that it applied, if it answers.
    pub(crate) fn applied(&self) -> Option<u64> {
        self.try_status()?["cluster"]["applied"].as_u64()
    }

    /// Reads its configuration again, in which something has changed that no table depends on.
    #[track_caller]
    pub(crate) fn reload(&self) {
        let reloads = || self.site.log().matches("configuration reloaded: ").count();
        let path = self.site.path("jims.toml");
        let text = fs::read_to_string(&path).expect("configuration");
        let (one, other) = ("snapshot_interval = \"1s\"", "snapshot_interval = \"2s\"");
        let changed = match text.contains(one) {
            true => text.replace(one, other),
            false => text.replace(other, one),
        };
        assert_ne!(changed, text);
        self.site.write(&changed);
        let before = reloads();
        self.site.signal("HUP");
        // The policy goes through the stream, and NATS may be away.
        wait_at_most(OVER_WITHIN, "a reload", || {
            (reloads() > before).then_some(())
        });
    }

    /// What it says of itself, if it answers.
    pub(crate) fn try_status(&self) -> Option<Value> {
        self.try_control(&json!({"request": "status"}))
    }

    /// An answer over the control socket.
    pub(crate) fn try_control(&self, request: &Value) -> Option<Value> {
        self.control().ask(request)
    }

    /// Its control socket, for whoever asks while it is disturbed.
    pub(crate) fn control(&self) -> Control {
        Control(self.site.path("control.sock"))
    }

    /// Every session, by address, as the control socket tells it.
    #[track_caller]
    pub(crate) fn sessions(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        let mut from = json!("start");
        loop {
            let request =
                json!({"request": "sessions", "sort": "address", "rows": 500, "from": from});
            let page = self.try_control(&request).expect("an answer");
            let rows = page["rows"].as_array().unwrap_or_else(|| panic!("{page}"));
            for row in rows {
                let address = row["address"].as_str().expect("an address");
                found.insert(address.to_owned(), row.clone());
            }
            if rows.len() < 500 {
                return found;
            }
            from = json!({"after": page["last"]});
        }
    }

    /// Where it serves firewalls.
    pub(crate) fn http(&self) -> SocketAddr {
        http_of(self.address)
    }

    /// Of a counter of events, the number by outcome.
    #[track_caller]
    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        let page = self.site.metrics();
        let mut found = BTreeMap::new();
        for line in page
            .lines()
            .filter(|line| line.starts_with("jims_events_total{"))
        {
            let (labels, number) = line.rsplit_once(' ').expect("a number");
            let outcome = labels.split("outcome=\"").nth(1).expect("an outcome");
            let outcome = outcome.split('"').next().expect("a word").to_owned();
            *found.entry(outcome).or_default() += number.parse::<u64>().expect("a number");
        }
        found
    }

    /// Events that counted: heard, and not a copy of what another Collector heard.
    #[track_caller]
    pub(crate) fn counted(&self) -> u64 {
        let outcomes = self.outcomes();
        let all: u64 = outcomes.values().sum();
        all - outcomes.get("duplicate").copied().unwrap_or(0)
    }

    /// Who is at an address, as an IP query tells it.
    pub(crate) fn user_at(&self, address: &str) -> Option<String> {
        self.control().user_at(address)
    }
}

/// A member's control socket.
#[derive(Clone, Debug)]
pub(crate) struct Control(PathBuf);

impl Control {
    /// An answer, if it gives one in time.
    pub(crate) fn ask(&self, request: &Value) -> Option<Value> {
        let stream = UnixStream::connect(&self.0).ok()?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
            .ok()?;
        line.clear();
        stream.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Who is at an address, as an IP query tells it.
    pub(crate) fn user_at(&self, address: &str) -> Option<String> {
        let answer = self.ask(&json!({"request": "query", "who": address}))?;
        let user = &answer["sessions"][0]["user"];
        user.as_str().map(str::to_owned)
    }
}

/// Where the Server at an address serves firewalls.
pub(crate) fn http_of(address: &str) -> SocketAddr {
    format!("{address}:{HTTP_PORT}")
        .parse()
        .expect("an address")
}

fn syslog(address: &str) -> String {
    format!(
        r#"[syslog]
udp = []
tcp = ["{address}:{SYSLOG_PORT}"]
[[syslog_source]]
name = "vpn"
senders = ["127.0.0.0/8", "10.77.0.0/16"]
templates = ["lab"]
domain = "corp.example.com"
[[syslog_template]]
name = "lab"
[[syslog_template.rule]]
name = "on"
pattern = 'login user=(?<user>\S+) ip=(?<address>\S+)'
event = "logon"
[[syslog_template.rule]]
name = "off"
pattern = 'logout user=(?<user>\S+) ip=(?<address>\S+)'
event = "logoff"
"#
    )
}

fn server(address: &str) -> String {
    format!(
        r#"[server]
listen = []
debug_http_listen = ["{address}:{HTTP_PORT}"]
[[enforcement_point]]
name = "srx-lab"
addresses = ["127.0.0.0/8", "10.77.0.0/16"]
client_id = "{}"
client_secret_file = "firewall.secret"
"#,
        Place::FIRST.client_id
    )
}

/// One request without TLS: status and body.
pub(crate) fn http(
    to: SocketAddr,
    head: &str,
    body: &str,
    within: Duration,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&to, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    let request = format!(
        "{head}Host: {to}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let broken = || std::io::Error::other(format!("not HTTP: {answer:.200}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(broken)?, body.to_owned()))
}
