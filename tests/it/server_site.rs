//! A Server on loopback with a table behind it, and a firewall that is an independent HTTP client.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jims::access::Access;
use jims::config::Config;
use jims::enforcement::{Server, ServerParts};
use jims::identity::event::{Claim, IdentityEvent, Logon, Qualifier, Strength, UserRef};
use jims::identity::name::Name;
use jims::identity::policy::{DomainPolicy, Policy};
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};
use jims::net::http::Limits;
use jims::producer::firewall_push::{self, FirewallPushes};
use jims::push::ingest::{self, Ingest, Kept};
use jims::runtime::clock;
use jims::runtime::probing::Probing;
use jims::runtime::readiness::{Latch, Readiness};
use jims::runtime::report::Reports;
use jims::runtime::state_dir::StateDir;
use jims::runtime::strangers::Strangers;
use jims::runtime::supervisor::Tasks;
use jims::writer::{Writer, WriterParts};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; a test that meets it has failed.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

/// Waits until what is read is so.
pub(crate) async fn reads<R: std::fmt::Debug>(
    what: &str,
    read: impl Fn() -> R,
    is_so: impl Fn(&R) -> bool,
) -> R {
    let wait = async {
        loop {
            let reading = read();
            if is_so(&reading) {
                return reading;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(GUARD, wait).await {
        Ok(reading) => reading,
        Err(_) => panic!("not {what}: {:#?}", read()),
    }
}

/// Where the configured firewall calls from.
pub(crate) const FIREWALL: &str = "127.77.4.10";
pub(crate) const SECRET: &str = "a long secret";

/// The running Server of one test.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) writer: WriterParts,
    pub(crate) strangers: Strangers,
    /// Collectors that push; they may not call before a test lets them.
    pub(crate) ingest: Ingest,
    pub(crate) state: Arc<StateDir>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    latch: Latch,
    writer_stop: CancellationToken,
    stop: CancellationToken,
    pub(crate) tasks: Tasks,
}

/// A table without sessions that knows the domain `corp.example.com`.
pub(crate) fn table(epoch: u64, shared: &[&str]) -> Core {
    let name = |text: &str| Name::new(text).unwrap();
    let policy = Policy {
        logoff_time: Duration::from_secs(86_400),
        domains: vec![DomainPolicy {
            name: name("corp.example.com"),
            netbios: Some(name("CORP")),
            aliases: Vec::new(),
        }],
        directories: vec![(name("corp"), name("corp.example.com"))],
        shared_addresses: jims::identity::address::Networks::new(
            shared.iter().map(|n| n.parse().unwrap()),
        ),
        ..Policy::default()
    };
    Core::new(Epoch(epoch), policy)
}

impl Site {
    /// With one firewall, ready.
    pub(crate) async fn start() -> Self {
        let site = Self::start_with("", table(1, &[])).await;
        site.latch.open();
        site
    }

    /// Not ready yet; `point` is added to the firewall's table.
    pub(crate) async fn start_with(point: &str, core: Core) -> Self {
        Self::start_within(Limits::default(), point, core).await
    }

    /// The same with other bounds of its listeners.
    pub(crate) async fn start_within(limits: Limits, point: &str, core: Core) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_secret(folder.path(), "secret", SECRET);
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let (task, writer) = Writer::new(core, Reports::default());
        let writer_stop = stop.child_token();
        let ending = writer_stop.clone();
        write_secret(folder.path(), "portal.secret", "portal:secret");
        tasks.spawn("writer", async move {
            task.run(ending).await.expect("the core does not panic");
        });
        let readiness = Readiness::new();
        let latch = readiness.latch("test");
        readiness.arm();
        let strangers = Strangers::default();
        let access = Access::default();
        let pushes = FirewallPushes::new(firewall_push::Surroundings {
            intake: writer.intake.clone(),
            reports: writer.reports.clone(),
            strangers: strangers.clone(),
        });
        let state = Arc::new(StateDir::open(&folder.path().join("state")).unwrap());
        let ingest = Ingest::new(
            Kept::read(Arc::clone(&state)).unwrap(),
            ingest::Surroundings {
                intake: writer.intake.clone(),
                reader: writer.reader.clone(),
                policy: writer.policy.clone(),
                readiness: readiness.clone(),
                access: access.clone(),
                tasks: tasks.clone(),
                server: "test".to_owned(),
            },
        );
        let parts = ServerParts {
            reader: writer.reader.clone(),
            intake: writer.intake.clone(),
            readiness,
            strangers: strangers.clone(),
            access: access.clone(),
            beside: pushes.router(access),
            over_tls: ingest.router(),
            probing: Probing::default(),
            limits,
            tasks: tasks.clone(),
        };
        let configured = config(folder.path(), "", point);
        let server = Server::bind(&configured, parts).unwrap();
        pushes.replace(&configured.firewall_pushes);
        let (running, ending) = (server.clone(), stop.clone());
        tasks.spawn("server", async move { running.run(ending).await });
        let address = server.addresses()[0];
        Self {
            server,
            writer,
            strangers,
            ingest,
            state,
            folder,
            address,
            latch,
            writer_stop,
            stop,
            tasks,
        }
    }

    /// Stops the table, as the process does before its servers.
    pub(crate) async fn stop_writer(&self) {
        self.writer_stop.cancel();
        let nothing = || Batch::Events {
            events: Vec::new(),
            bookmark: None,
        };
        while self.writer.intake.send(nothing()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn become_ready(&self) {
        self.latch.open();
    }

    /// Takes another configuration of the firewall, as SIGHUP does.
    pub(crate) async fn reload(&self, point: &str) {
        self.server.reload(&self.config(point)).await.unwrap();
    }

    pub(crate) fn config(&self, point: &str) -> Config {
        config(self.folder.path(), "", point)
    }

    /// Takes more lines of `[server]`, as SIGHUP does.
    pub(crate) async fn reload_server(&self, server: &str, point: &str) {
        let config = config(self.folder.path(), server, point);
        self.server.reload(&config).await.unwrap();
    }

    pub(crate) fn write_secret(&self, file: &str, secret: &str) {
        write_secret(self.folder.path(), file, secret);
    }

    /// A client that trusts the Server's certificate and calls from the address.
    pub(crate) fn client_from(&self, address: &str) -> Client {
        self.client_with(address, None)
    }

    /// The same with a certificate of its own.
    pub(crate) fn client_with(&self, address: &str, own: Option<reqwest::Identity>) -> Client {
        let pem = std::fs::read(self.folder.path().join("state/tls/self-signed.pem")).unwrap();
        let builder = Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
            .local_address(address.parse::<IpAddr>().unwrap())
            .timeout(GUARD);
        let builder = match own {
            Some(own) => builder.identity(own),
            None => builder,
        };
        builder.build().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) fn validator_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.server.validator_addresses()[0])
    }

    /// The configured firewall with a token.
    pub(crate) async fn firewall(&self) -> Firewall<'_> {
        let client = self.client_from(FIREWALL);
        let answer = login(self, &client, SECRET).await;
        assert_eq!(answer.status(), 200);
        let token: Value = answer.json().await.unwrap();
        Firewall {
            site: self,
            client,
            token: token["access_token"].as_str().unwrap().to_owned(),
        }
    }

    /// A user's strong logon, now.
    pub(crate) async fn log_on(&self, user: &str, address: &str) {
        self.log_on_in("corp.example.com", user, address).await;
    }

    pub(crate) async fn log_on_in(&self, domain: &str, user: &str, address: &str) {
        let logon = Logon {
            user: user_ref(domain, user),
            device: None,
            groups: Vec::new(),
            strength: Strength::Strong,
            logon_id: None,
        };
        self.claim(address, Claim::Logon(logon)).await;
    }

    pub(crate) async fn log_off(&self, address: &str) {
        let claim = Claim::Logoff {
            user: None,
            logon_id: None,
        };
        self.claim(address, claim).await;
    }

    pub(crate) async fn claim(&self, address: &str, claim: Claim) {
        // At equal times a logoff loses, so every claim waits for a millisecond of its own.
        let before = clock::utc_now();
        while clock::utc_now() <= before {
            tokio::task::yield_now().await;
        }
        self.apply(vec![event(address, claim)]).await;
    }

    pub(crate) async fn apply(&self, events: Vec<IdentityEvent>) {
        let count = events.len();
        let batch = Batch::Events {
            events,
            bookmark: None,
        };
        let applied = self.writer.intake.apply(batch).await.unwrap();
        assert_eq!(applied.applied, count, "the table took it");
    }

    /// Stops everything and says what did not end.
    pub(crate) async fn stop(&self) -> Vec<String> {
        self.stop.cancel();
        self.tasks.finish(GUARD).await
    }
}

pub(crate) fn user_ref(domain: &str, user: &str) -> UserRef {
    UserRef {
        name: Name::new(user).unwrap(),
        qualifier: Qualifier::Domain(Name::new(domain).unwrap()),
    }
}

/// An event that happens now.
pub(crate) fn event(address: &str, claim: Claim) -> IdentityEvent {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    static LAST: AtomicI64 = AtomicI64::new(0);
    // A logoff in the same millisecond as the logon would lose the tie.
    let mut now = clock::utc_now();
    while LAST.fetch_max(now.0, Ordering::Relaxed) >= now.0 {
        std::hint::spin_loop();
        now = clock::utc_now();
    }
    IdentityEvent {
        producer: "vpn".into(),
        record: NUMBER.fetch_add(1, Ordering::Relaxed).to_string().into(),
        occurred_at: now,
        received_at: now,
        heard: None,
        address: Some(address.parse().unwrap()),
        claim,
    }
}

/// A firewall that asks.
pub(crate) struct Firewall<'a> {
    pub(crate) site: &'a Site,
    pub(crate) client: Client,
    pub(crate) token: String,
}

impl Firewall<'_> {
    pub(crate) async fn ask(&self, path: &str) -> Response {
        self.client
            .get(self.site.url(path))
            .bearer_auth(&self.token)
            .send()
            .await
            .unwrap()
    }

    /// What a query brings; waits as it is told to if it asks faster than any firewall would.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let begun = clock::monotonic_now();
        let mut answer = self.ask(path).await;
        while answer.status() == 429 && begun.elapsed() < GUARD {
            let wait: u64 = answer.headers()["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            tokio::time::sleep(Duration::from_secs(wait)).await;
            answer = self.ask(path).await;
        }
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        answer.json().await.unwrap()
    }

    /// A batch by query text, as `(what is told, answer)`.
    pub(crate) async fn batch(&self, query: &str) -> (Vec<String>, Value) {
        let answer = self
            .json(&format!("/user_query/v2/users/endpoints?{query}"))
            .await;
        (told(&answer), answer)
    }

    pub(crate) async fn resume(&self, answer: &Value) -> (Vec<String>, Value) {
        self.batch(&format!("cookie={}", answer["cookie"].as_str().unwrap()))
            .await
    }
}

/// `login ADDRESS USER|--` and `logout ADDRESS`, in order.
pub(crate) fn told(answer: &Value) -> Vec<String> {
    let entries = answer["report_entries"].as_array().unwrap();
    let one = |entry: &Value| {
        let address = entry["ip-address"].as_str().unwrap();
        match entry["activity"].as_str().unwrap() {
            "login" => format!(
                "login {address} {}",
                entry["user-name"].as_str().unwrap_or("--")
            ),
            other => format!("{other} {address}"),
        }
    };
    entries.iter().map(one).collect()
}

/// Asks for a token with a form.
pub(crate) async fn login(site: &Site, client: &Client, secret: &str) -> Response {
    let body = format!(
        "grant_type=client_credentials&client_id=srx-1&client_secret={}",
        secret.replace(' ', "+")
    );
    client
        .post(site.url("/api/oauth_token/oauth"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap()
}

fn write_secret(folder: &Path, name: &str, secret: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn config(folder: &Path, server: &str, point: &str) -> Config {
    let text = format!(
        r#"
schema = 1
[collector]
name = "test"
state_dir = "{folder}/state"
[server]
listen = ["127.77.4.1:0"]
validator_listen = ["127.77.4.1:0"]
{server}
[[enforcement_point]]
name = "srx"
addresses = ["{FIREWALL}", "127.77.4.12"]
client_id = "srx-1"
client_secret_file = "{folder}/secret"
{point}
"#,
        folder = folder.display()
    );
    match Config::from_toml(&text, &folder.join("config.toml")) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}
