//! Pushing to firewalls: whatever goes wrong on the way, the firewall's table ends up equal to ours.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::net::IpAddr;
use std::time::Duration;

use jims::config::Config;
use jims::enforcement::web_api::{Prepared, State, Surroundings, WebApiReading, WebApis};
use jims::identity::event::{Claim, DeviceRef, IdentityEvent, Logon, Qualifier, Strength};
use jims::identity::name::Name;
use jims::identity::policy::{Globs, Policy, Scope};
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};
use jims::net::resolve::Resolver;
use jims::runtime::clock;
use jims::runtime::readiness::{Latch, Readiness};
use jims::runtime::report::Reports;
use jims::runtime::supervisor::Tasks;
use jims::writer::{Writer, WriterParts};
use tokio_util::sync::CancellationToken;

use crate::fake_srx::{Fault, Srx};
use crate::server_site::{GUARD, event, reads, user_ref};

const PASSWORD: &str = "a push secret";

/// A table that is pushed to one firewall.
struct Site {
    apis: WebApis,
    writer: WriterParts,
    folder: tempfile::TempDir,
    latch: Latch,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let mut policy = Policy {
            logoff_time: Duration::from_hours(24),
            ..Policy::default()
        };
        let scope = Scope {
            roles: Globs::new(["*"]).unwrap(),
            ..Scope::default()
        };
        policy.scopes.insert("vpn".into(), scope);
        let (task, writer) = Writer::new(Core::new(Epoch(7), policy), Reports::default());
        let ending = stop.clone();
        tasks.spawn("writer", async move {
            task.run(ending).await.expect("the core does not panic");
        });
        let readiness = Readiness::new();
        let latch = readiness.latch("test");
        readiness.arm();
        let apis = WebApis::new(Surroundings {
            reader: writer.reader.clone(),
            changes: writer.changes.clone(),
            readiness,
            resolver: Resolver::default(),
            look_every: Duration::from_millis(100),
            tasks: tasks.clone(),
        });
        let site = Self {
            apis,
            writer,
            folder,
            latch,
            stop,
            tasks,
        };
        site.write_password(PASSWORD);
        site
    }

    /// Pushes to the firewall as soon as the table is ready, which it is.
    async fn pushing_to(srx: &Srx) -> Self {
        let site = Self::new();
        site.latch.open();
        site.configure(srx, "").await;
        site
    }

    fn write_password(&self, password: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("password");
        std::fs::write(&path, password).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Takes a configuration, as a start, a reload and the look at files do; `more` goes below `web_api`.
    async fn configure(&self, srx: &Srx, more: &str) {
        let trust = format!("ca_file = \"{}\"", srx.certificate().display());
        self.configure_with(srx, &trust, more).await;
    }

    async fn configure_with(&self, srx: &Srx, trust: &str, more: &str) {
        let text = format!(
            "schema = 1\n[[enforcement_point]]\nname = \"srx\"\n[enforcement_point.web_api]\n\
             url = \"https://{}\"\nuser = \"jims\"\npassword_file = \"password\"\n{trust}\n{more}",
            srx.address
        );
        self.take(&text).await;
    }

    async fn take(&self, text: &str) {
        let loaded = Config::from_toml(text, &self.folder.path().join("config.toml"));
        let config = loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config;
        let prepared = Prepared::from_config(&config).unwrap();
        self.apis.commit(prepared, &self.stop).await;
    }

    fn reading(&self) -> WebApiReading {
        self.apis.read().remove(0)
    }

    /// Waits until status says so.
    async fn until(&self, what: &str, is_so: impl Fn(&WebApiReading) -> bool) -> WebApiReading {
        reads(what, || self.reading(), is_so).await
    }

    async fn apply(&self, events: Vec<IdentityEvent>) {
        let count = events.len();
        let batch = Batch::Events {
            events,
            bookmark: None,
        };
        let applied = self.writer.intake.apply(batch).await.unwrap();
        assert_eq!(applied.applied, count, "the table took it");
    }

    async fn log_on(&self, user: &str, address: &str) {
        self.apply(vec![logon(user, address, &[])]).await;
    }

    async fn log_off(&self, address: &str) {
        let claim = Claim::Logoff {
            user: None,
            logon_id: None,
        };
        self.apply(vec![event(address, claim)]).await;
    }

    async fn device(&self, name: &str, address: &str) {
        let device = DeviceRef {
            name: Name::new(name).unwrap(),
            qualifier: Qualifier::Domain(Name::new("corp.example.com").unwrap()),
        };
        let claim = Claim::DeviceLogon {
            device,
            strength: Strength::Weak,
            own_kerberos: false,
        };
        self.apply(vec![event(address, claim)]).await;
    }

    /// `u0` at `10.9.0.0`, `u1` at `10.9.0.1`, and so on.
    async fn log_on_many(&self, count: u32) {
        let events = (0..count).map(|n| logon(&format!("u{n}"), &address_of(n).to_string(), &[]));
        self.apply(events.collect()).await;
    }

    /// What the firewall should hold: `ADDRESS USER|-- DEVICE|--`, sorted.
    fn table(&self) -> Vec<String> {
        let core = self.writer.reader.read();
        let mut addresses: Vec<IpAddr> = core
            .addresses_since(jims::identity::view::Seq(0))
            .map(|(_, address)| address)
            .collect();
        addresses.sort_unstable();
        let one = |address: IpAddr| {
            let view = core.address(address)?;
            let user = view.user.as_ref().map_or("--", |s| s.user.name);
            let device = view.device.as_ref().map_or("--", |s| s.device.name);
            let anybody = view.user.is_some() || view.device.is_some();
            anybody.then(|| format!("{address} {user} {device}"))
        };
        addresses.into_iter().filter_map(one).collect()
    }

    /// The firewall holds what we hold, and every document was as documented.
    async fn is_equal(&self, srx: &Srx) {
        let wanted = self.table();
        srx.until("equal to our table", |state| {
            let dash = |name: &Option<String>| name.clone().unwrap_or_else(|| "--".into());
            let held = state.table.iter();
            held.map(|(a, h)| format!("{a} {} {}", dash(&h.user), dash(&h.device)))
                .eq(wanted.iter().cloned())
        })
        .await;
        self.until("up to date", |reading| reading.behind == 0)
            .await;
        srx.is_content();
    }

    async fn stop(self) {
        self.stop.cancel();
        assert!(self.tasks.finish(GUARD).await.is_empty(), "it stops");
    }
}

fn address_of(number: u32) -> IpAddr {
    let [_, b, c, d] = number.to_be_bytes();
    IpAddr::from([10, 9 + b, c, d])
}

fn logon(user: &str, address: &str, groups: &[&str]) -> IdentityEvent {
    let logon = Logon {
        user: user_ref("corp.example.com", user),
        device: None,
        groups: groups
            .iter()
            .map(|group| Name::new(group).unwrap())
            .collect(),
        strength: Strength::Strong,
        logon_id: None,
    };
    event(address, Claim::Logon(logon))
}

#[tokio::test]
async fn everything_is_told_at_the_start_and_then_what_changes() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::new();
    site.log_on("alice", "10.1.1.1").await;
    site.log_on("bob", "2001:db8::7").await;
    site.log_on("carol", "10.1.1.3").await;
    site.log_off("10.1.1.3").await;
    site.configure(&srx, "source = \"hq\"").await;
    assert_eq!(site.reading().state, State::Waiting);
    assert_eq!(srx.state.lock().connections, 0, "rule 15: not ready");
    site.latch.open();
    site.is_equal(&srx).await;
    assert_eq!(srx.holds(), ["10.1.1.1 alice --", "2001:db8::7 bob --"]);
    assert!(srx.told().contains(&"logoff 10.1.1.3".into()), "rule 16");

    site.log_off("10.1.1.1").await;
    site.log_on("dave", "2001:db8::7").await;
    site.is_equal(&srx).await;
    assert_eq!(srx.holds(), ["2001:db8::7 dave --"]);
    let reading = site
        .until("following", |r| r.state == State::Following)
        .await;
    assert!(reading.last_full.is_some() && reading.last_success.is_some());
    assert_eq!((reading.fault, reading.skipped), (None, 0));
    assert_eq!(srx.state.lock().sources, ["hq"]);
    assert_eq!(
        srx.state.lock().connections,
        1,
        "one connection for all of it"
    );
    site.stop().await;
}

#[tokio::test]
async fn rule_17_a_device_without_its_user_comes_after_a_logoff() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::pushing_to(&srx).await;
    site.device("ws-1", "10.1.1.1").await;
    site.log_on("alice", "10.1.1.1").await;
    site.is_equal(&srx).await;
    assert_eq!(srx.holds(), ["10.1.1.1 alice ws-1"]);
    site.log_off("10.1.1.1").await;
    site.is_equal(&srx).await;
    assert_eq!(srx.holds(), ["10.1.1.1 -- ws-1"]);
    let last = srx
        .state
        .lock()
        .told
        .last()
        .map(|told| told.entries.clone());
    let pair = ["logoff 10.1.1.1".to_owned(), "logon 10.1.1.1 --".to_owned()];
    assert_eq!(last.as_deref(), Some(&pair[..]), "in one document");
    site.stop().await;
}

#[tokio::test]
async fn documents_are_bounded_and_pairs_stay_together() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::new();
    site.log_on_many(25).await;
    for n in 0..25 {
        let address = address_of(n).to_string();
        site.device(&format!("ws-{n}"), &address).await;
        site.log_off(&address).await;
    }
    site.latch.open();
    site.configure(&srx, "entries_per_document = 3\ndocuments_per_second = 100")
        .await;
    site.is_equal(&srx).await;
    let state = srx.state.lock();
    for told in &state.told {
        let logoffs = told.entries.iter().filter(|e| e.starts_with("logoff"));
        assert_eq!((told.entries.len(), logoffs.count()), (2, 1), "{told:?}");
    }
    assert_eq!(state.told.len(), 25);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_the_right_one_counts_at_once() {
    let srx = Srx::start("another").await;
    let site = Site::pushing_to(&srx).await;
    site.log_on("alice", "10.1.1.1").await;
    let reading = site.until("refused", |r| r.state == State::Refused).await;
    let fault = reading.fault.unwrap();
    assert!(fault.remedy.contains("client"), "{fault:?}");
    assert_eq!(reading.behind, 1);
    assert!(srx.holds().is_empty());
    site.write_password("another");
    site.configure(&srx, "").await;
    site.is_equal(&srx).await;
    let reading = site
        .until("following", |r| r.state == State::Following)
        .await;
    assert_eq!(reading.fault, None);
    site.stop().await;
}

#[tokio::test]
async fn only_a_trusted_certificate_gets_the_password() {
    let srx = Srx::start(PASSWORD).await;
    let other = Srx::start(PASSWORD).await;
    let site = Site::new();
    site.latch.open();
    site.log_on("alice", "10.1.1.1").await;
    let pin = |srx: &Srx| format!("certificate_sha256 = \"{}\"", srx.fingerprint);
    let ca = |srx: &Srx| format!("ca_file = \"{}\"", srx.certificate().display());
    let untrusted = [
        ca(&other),
        pin(&other),
        format!("{}\n{}", ca(&srx), pin(&other)),
        format!("{}\n{}", ca(&other), pin(&srx)),
    ];
    for trust in untrusted {
        site.configure_with(&srx, &trust, "").await;
        let reading = site.until("failing", |r| r.state == State::Failing).await;
        let fault = reading.fault.unwrap();
        assert!(
            fault.message.contains("certificate is not trusted"),
            "{trust}: {fault:?}"
        );
        assert!(fault.remedy.contains(&srx.fingerprint), "{fault:?}");
    }
    assert_eq!(srx.state.lock().requests, 0);
    let bare = pin(&srx).replace(':', "").to_lowercase();
    // Each another than the one before, so that the firewall gets a new task.
    let both = format!("{}\n{}", ca(&srx), pin(&srx));
    let trusted = [ca(&srx), pin(&srx), both, bare];
    for trust in trusted {
        srx.state.lock().table.clear();
        site.configure_with(&srx, &trust, "").await;
        site.is_equal(&srx).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn failures_in_the_middle_lose_nothing() {
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::ErrorInBody,
    ] {
        let srx = Srx::start(PASSWORD).await;
        let site = Site::new();
        site.log_on_many(40).await;
        site.latch.open();
        site.configure(
            &srx,
            "entries_per_document = 10\ndocuments_per_second = 100",
        )
        .await;
        srx.until("begun", |state| !state.told.is_empty()).await;
        srx.state.lock().faults.push_back(fault);
        for n in 0..10 {
            site.log_off(&address_of(n * 3).to_string()).await;
        }
        site.log_on("zoe", "10.9.0.3").await;
        site.is_equal(&srx).await;
        let reading = site
            .until("following", |r| r.state == State::Following)
            .await;
        assert_eq!((reading.fault, reading.skipped), (None, 0), "{fault:?}");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_firewall_that_restarted_is_told_everything() {
    let mut srx = Srx::start(PASSWORD).await;
    let site = Site::pushing_to(&srx).await;
    site.log_on_many(10).await;
    site.is_equal(&srx).await;
    srx.restart(async || {
        site.log_off("10.9.0.0").await;
        let reading = site.until("failing", |r| r.state == State::Failing).await;
        assert!(reading.fault.unwrap().message.starts_with("cannot connect"));
    })
    .await;
    site.is_equal(&srx).await;
    assert_eq!(srx.holds().len(), 9);
    site.stop().await;
}

#[tokio::test]
async fn a_firewall_that_restarted_while_nothing_changed_is_told_everything() {
    let mut srx = Srx::start(PASSWORD).await;
    let site = Site::pushing_to(&srx).await;
    site.log_on_many(10).await;
    site.is_equal(&srx).await;
    srx.restart(async || {
        let reading = site.until("failing", |r| r.state == State::Failing).await;
        assert!(reading.fault.unwrap().message.starts_with("cannot connect"));
    })
    .await;
    site.is_equal(&srx).await;
    assert_eq!(srx.holds().len(), 10);
    site.stop().await;
}

#[tokio::test]
async fn one_entry_that_is_refused_is_left_out_alone() {
    let srx = Srx::start(PASSWORD).await;
    let poison = address_of(13);
    srx.state.lock().poison = Some(poison);
    let site = Site::new();
    site.log_on_many(30).await;
    site.latch.open();
    site.configure(&srx, "documents_per_second = 100").await;
    let reading = site
        .until("following", |r| {
            r.state == State::Following && r.behind == 0
        })
        .await;
    assert_eq!((reading.skipped, reading.fault), (1, None));
    let mut wanted = site.table();
    wanted.retain(|entry| !entry.starts_with(&format!("{poison} ")));
    assert_eq!(srx.holds(), wanted);
    assert_eq!(wanted.len(), 29);
    let ended = format!("logoff {poison}");
    assert!(
        srx.told().contains(&ended),
        "a user from before does not stay"
    );
    srx.is_content();
    // 30 entries are halved at most five times.
    assert!(
        srx.state.lock().requests <= 12,
        "{}",
        srx.state.lock().requests
    );
    site.stop().await;
}

#[tokio::test]
async fn a_firewall_that_takes_nothing_is_no_fault_of_the_entries() {
    let srx = Srx::start(PASSWORD).await;
    srx.state.lock().refuses_all = true;
    let site = Site::new();
    site.log_on_many(100).await;
    site.latch.open();
    site.configure(&srx, "documents_per_second = 100").await;
    let reading = site.until("failing", |r| r.state == State::Failing).await;
    assert!(reading.fault.unwrap().message.contains("every entry"));
    assert_eq!(reading.skipped, 0);
    assert!(srx.state.lock().requests < 64);
    srx.state.lock().refuses_all = false;
    site.is_equal(&srx).await;
    site.stop().await;
}

#[tokio::test]
async fn a_document_that_is_too_large_is_parted_and_later_ones_are_smaller() {
    let srx = Srx::start(PASSWORD).await;
    srx.state.lock().max_entries = Some(60);
    let site = Site::new();
    site.log_on_many(400).await;
    site.latch.open();
    site.configure(&srx, "documents_per_second = 100").await;
    site.is_equal(&srx).await;
    let requests = srx.state.lock().requests;
    // 200 in one, then 100 and its halves of 50, then 50 from the start.
    assert!(requests <= 12, "{requests}");
    assert_eq!(site.reading().skipped, 0);
    site.stop().await;
}

#[tokio::test]
async fn everything_is_told_again_on_demand() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::pushing_to(&srx).await;
    site.log_on_many(5).await;
    site.is_equal(&srx).await;
    srx.state.lock().table.clear();
    assert!(site.apis.refresh("other").is_none());
    assert!(site.apis.refresh("srx").is_some());
    site.is_equal(&srx).await;
    assert_eq!(srx.holds().len(), 5);
    site.stop().await;
}

#[tokio::test]
async fn rule_18_addresses_that_a_new_filter_hides_are_logged_off() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::pushing_to(&srx).await;
    site.log_on("alice", "10.1.1.1").await;
    site.log_on("bob", "10.2.1.1").await;
    site.is_equal(&srx).await;
    site.configure(
        &srx,
        "[enforcement_point.filter]\ninclude_addresses = [\"10.2.0.0/16\"]",
    )
    .await;
    srx.until("filtered", |state| state.table.len() == 1).await;
    assert_eq!(srx.holds(), ["10.2.1.1 bob --"]);
    site.configure(
        &srx,
        "[enforcement_point.filter]\ndomains = [\"lab.example.com\"]",
    )
    .await;
    srx.until("empty", |state| state.table.is_empty()).await;
    site.configure(&srx, "").await;
    site.is_equal(&srx).await;
    assert_eq!(srx.holds().len(), 2);
    site.stop().await;
}

#[tokio::test]
async fn documents_keep_to_their_rate_and_gather_what_changes_meanwhile() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::new();
    site.latch.open();
    let begun = clock::monotonic_now();
    site.configure(&srx, "documents_per_second = 20").await;
    for n in 0..200 {
        site.log_on(&format!("u{n}"), &address_of(n % 50).to_string())
            .await;
    }
    site.is_equal(&srx).await;
    let state = srx.state.lock();
    let told = u32::try_from(state.told.len()).unwrap();
    let took = state.told.last().unwrap().at.duration_since(begun);
    let least = Duration::from_millis(50) * (told - 1);
    assert!(took >= least, "{told} documents in {took:?}");
    assert!(state.told.len() < 200, "changes are gathered");
}

#[tokio::test]
async fn of_more_than_200_groups_the_preferred_are_told() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::new();
    let names: Vec<String> = (0..250).map(|n| format!("g{n:03}")).collect();
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    site.apply(vec![logon("alice", "10.1.1.1", &groups)]).await;
    site.latch.open();
    site.configure(&srx, "preferred_groups = [\"G24?\", \"g200\"]")
        .await;
    site.is_equal(&srx).await;
    site.log_off("10.1.1.1").await;
    site.apply(vec![logon("alice", "10.1.1.1", &groups)]).await;
    site.is_equal(&srx).await;
    let roles = srx
        .state
        .lock()
        .table
        .values()
        .next()
        .unwrap()
        .roles
        .clone();
    assert_eq!(roles.len(), 200);
    assert_eq!(roles[..3], ["g200", "g240", "g241"]);
    assert_eq!(roles[11], "g000");
    assert_eq!(site.reading().cut, 1, "once a user");
    site.stop().await;
}

#[tokio::test]
async fn a_firewall_that_is_removed_is_left_alone() {
    let srx = Srx::start(PASSWORD).await;
    let site = Site::pushing_to(&srx).await;
    site.log_on("alice", "10.1.1.1").await;
    site.is_equal(&srx).await;
    site.take("schema = 1").await;
    assert!(site.apis.read().is_empty());
    let requests = srx.state.lock().requests;
    site.log_on("bob", "10.1.1.2").await;
    site.configure(&srx, "").await;
    site.is_equal(&srx).await;
    assert_eq!(srx.state.lock().requests, requests + 1, "one full pass");
    site.stop().await;
}
