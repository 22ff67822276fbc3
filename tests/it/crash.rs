//! What a crash leaves: the real binary is killed while syslog flows and a portal pushes, again and again.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt as _;
use jims::control::client::Client as Control;
use jims::control::protocol::{Answer, Browse, From, Request, Sort};
use jims::net::tls;
use jims::runtime::clock;
use reqwest::Client;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);

/// Crashes.
const ROUNDS: u32 = 5;

/// Pushes that are acknowledged before the first crash; before each further one some more.
const PUSHES: u32 = 8;

/// Lines of syslog that are sent at once.
const LINES: u32 = 20;

const LISTENER: &str = "127.77.96.1";

/// A folder that processes run on, one after the other.
struct Site {
    folder: tempfile::TempDir,
    /// Where it listens for syslog.
    syslog: String,
    child: Option<Child>,
}

impl Site {
    #[expect(
        clippy::disallowed_methods,
        reason = "a port that is free; it is let go of at once"
    )]
    fn new() -> Self {
        let listener = TcpListener::bind((LISTENER, 0)).expect("a port");
        let syslog = listener.local_addr().expect("an address").to_string();
        let folder = tempfile::tempdir().expect("folder");
        let text = format!(
            r#"schema = 1
[collector]
state_dir = "state"
[control]
socket = "control.sock"
[server]
listen = ["{LISTENER}:0"]
[syslog]
udp = []
tcp = ["{syslog}"]
[[syslog_source]]
name = "vpn"
senders = ["127.0.0.0/8"]
templates = ["mine"]
domain = "corp.example.com"
networks = ["10.8.0.0/13"]
[[syslog_template]]
name = "mine"
[[syslog_template.rule]]
event = "logon"
pattern = 'in user=(?<user>\S+) ip=(?<address>\S+)'
[[firewall_push]]
name = "portal"
senders = ["127.0.0.0/8"]
user = "portal"
password_file = "portal.secret"
domain = "corp.example.com"
networks = ["10.16.0.0/16"]
"#
        );
        let secret = folder.path().join("portal.secret");
        fs::write(folder.path().join("jims.toml"), text).expect("configuration");
        fs::write(&secret, "0123456789abcdef").expect("secret");
        fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).expect("secret");
        Self {
            folder,
            syslog,
            child: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the service; where it listens for HTTPS.
    async fn start(&mut self) -> String {
        let log = fs::File::create(self.path("log")).expect("log");
        let mut command = Command::cargo_bin("jims").expect("binary");
        command.arg("--config").arg(self.path("jims.toml"));
        command.arg("run").stdin(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("jims starts"));
        let begun = clock::monotonic_now();
        loop {
            if let Some(listens) = self.listens().await {
                return listens;
            }
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < GUARD, "{}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, request: &Request) -> Option<Answer> {
        let mut control = Control::connect(&self.path("control.sock")).await.ok()?;
        control.ask(request).await.ok()
    }

    async fn listens(&self) -> Option<String> {
        let Some(Answer::Status(status)) = self.ask(&Request::Status).await else {
            return None;
        };
        let listens = status.server.as_ref()?.listen.first()?;
        Some(listens.clone())
    }

    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    fn client(&self) -> Client {
        let pem = fs::read(self.path("state/tls/self-signed.pem")).expect("certificate");
        let trusted = reqwest::Certificate::from_pem(&pem).expect("certificate");
        let builder = Client::builder().tls_certs_only([trusted]).timeout(GUARD);
        builder.build().expect("client")
    }

    /// Waits until a line of syslog is in the table.
    async fn until_heard(&self, number: u32) {
        let begun = clock::monotonic_now();
        let who = format!("s{number:07}");
        loop {
            let query = Request::Query {
                who: who.clone(),
                point: None,
                explain: false,
            };
            if let Some(Answer::Query(query)) = self.ask(&query).await
                && !query.sessions.is_empty()
            {
                return;
            }
            assert!(begun.elapsed() < GUARD, "{who} is not heard");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everybody who has a session.
    async fn users(&self) -> BTreeSet<String> {
        let (mut users, mut from) = (BTreeSet::new(), From::Start);
        loop {
            let page = Browse {
                sort: Sort::Address,
                from,
                rows: 500,
                ..Browse::default()
            };
            let Some(Answer::Sessions(page)) = self.ask(&Request::Sessions(page)).await else {
                panic!("no page of sessions");
            };
            if page.rows.is_empty() {
                return users;
            }
            users.extend(page.rows.into_iter().filter_map(|row| row.user));
            from = From::After(page.last);
        }
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

/// Sends numbered logons, some thousand a second, until the connection ends.
async fn flood(syslog: &str, next: &mut u32) {
    let mut sender = TcpStream::connect(syslog).await.expect("connected");
    loop {
        let lines: String = (*next..*next + LINES)
            .map(|number| {
                let [_, a, b, c] = number.to_be_bytes();
                format!("<13>gw: in user=s{number:07} ip=10.{}.{b}.{c}\n", 8 + a)
            })
            .collect();
        // What was sent counts as sent also if the connection ended in the middle.
        *next += LINES;
        if sender.write_all(lines.as_bytes()).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Pushes numbered logons one by one until so many are acknowledged.
async fn push(client: &Client, server: &str, next: &mut u32, acknowledged: u32) {
    let end = *next + acknowledged;
    let begun = clock::monotonic_now();
    while *next < end {
        assert!(begun.elapsed() < GUARD, "pushes are not taken");
        let [_, _, b, c] = next.to_be_bytes();
        let body = format!(
            "<userfw-entries><userfw-entry><source>portal</source><operation>logon</operation>\
             <IP>10.16.{b}.{c}</IP><user>p{next:07}</user></userfw-entry></userfw-entries>"
        );
        let url = format!("https://{server}/api/userfw/v1/post-entry");
        let request = client
            .post(url)
            .basic_auth("portal", Some("0123456789abcdef"))
            .header("Content-Type", "application/xml")
            .body(body);
        let answer = request.send().await.expect("an answer");
        // 503 says that it is not ready yet: nothing was taken.
        if answer.status() == 200 {
            let told: Value = answer.json().await.expect("JSON");
            assert_eq!(told["applied"], 1, "{told}");
            *next += 1;
        }
    }
}

#[tokio::test]
async fn rule_22_a_crash_loses_nothing_that_was_acknowledged_and_of_syslog_only_its_end() {
    tls::install_provider();
    let mut site = Site::new();
    let (mut pushed, mut sent) = (0, 0);
    let mut server = site.start().await;
    for round in 0..ROUNDS {
        let first = sent;
        let pushes = async {
            site.until_heard(first).await;
            push(&site.client(), &server, &mut pushed, PUSHES + round).await;
        };
        tokio::select! {
            () = flood(&site.syslog, &mut sent) => panic!("the connection ended"),
            () = pushes => {}
        }
        site.kill();
        server = site.start().await;
        let users = site.users().await;
        for number in 0..pushed {
            let user = format!("p{number:07}");
            assert!(users.contains(&user), "{user} was acknowledged");
        }
        let heard = users.iter().filter_map(|user| user.strip_prefix('s'));
        let heard: Vec<u32> = heard
            .map(|number| number.parse().expect("a number"))
            .collect();
        let there = u32::try_from(heard.len()).expect("few");
        assert!(
            heard.into_iter().eq(0..there),
            "one is missing before the last of {there}"
        );
        // What was acknowledged later is there.
        assert!(there > first, "none of this round is there");
        // The next round goes on where this one was cut off.
        sent = there;
    }
}
