//! Pushing to Servers: whatever goes wrong on the way, what a Server holds ends up equal to our table.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails has failed its test"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jims::config::secret::Secret;
use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, DomainFacts, ObjectId, ObjectKind,
};
use jims::identity::event::{Claim, IdentityEvent, Logon, Strength};
use jims::identity::name::Name;
use jims::identity::policy::Policy;
use jims::identity::view::Epoch;
use jims::identity::{Batch, Core};
use jims::net::collector_client::Proxies;
use jims::net::resolve::Resolver;
use jims::push::credential::{Credential, FOLDER, Stage, file_name};
use jims::push::sender::{PushReading, Pushes, State, Surroundings, Wanted};
use jims::push::shape::Introduction;
use jims::push::target::Target;
use jims::runtime::clock;
use jims::runtime::readiness::{Latch, Readiness};
use jims::runtime::report::Reports;
use jims::runtime::state_dir::StateDir;
use jims::runtime::supervisor::Tasks;
use jims::writer::{Writer, WriterParts};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio_util::sync::CancellationToken;

use crate::fake_hub::{Fault, GUARD, Hub};
use crate::server_site::{event, reads, user_ref};

/// A table that is pushed to Servers.
struct Site {
    pushes: Pushes,
    writer: WriterParts,
    folder: tempfile::TempDir,
    latch: Latch,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Site {
    fn new() -> Self {
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let policy = Policy {
            logoff_time: Duration::from_hours(24),
            feed: true,
            ..Policy::default()
        };
        let (task, writer) = Writer::new(Core::new(Epoch(7), policy), Reports::default());
        let ending = stop.clone();
        tasks.spawn("writer", async move {
            task.run(ending).await.expect("the core does not panic");
        });
        let readiness = Readiness::new();
        let latch = readiness.latch("test");
        readiness.arm();
        let pushes = Pushes::new(Surroundings {
            reader: writer.reader.clone(),
            changes: writer.changes.clone(),
            readiness,
            resolver: Resolver::default(),
            proxies: Proxies::None,
            tasks: tasks.clone(),
            introduction: Introduction {
                name: "site-7".into(),
                version: "1".into(),
                description: String::new(),
            },
            started: clock::utc_now(),
        });
        Self {
            pushes,
            writer,
            folder: tempfile::tempdir().unwrap(),
            latch,
            stop,
            tasks,
        }
    }

    /// Keeps a credential, as `jims onboard` does, and has it looked at.
    async fn onboarded(&self, hub: &Hub, name: &str) -> PathBuf {
        let credential = Credential {
            name: name.into(),
            target: Target::parse(&hub.url()).unwrap(),
            collector: "branch-1".into(),
            server: "hub".into(),
            client_id: format!("collector-{name}"),
            client_secret: Secret::from("s3cret"),
            key_sha256: hub.key,
            trust: None,
            ca_file: None,
            stage: Stage::Onboarded,
            onboarded_at: Some(clock::utc_now()),
        };
        hub.state.lock().registered = Some((credential.client_id.clone(), "s3cret".into()));
        let folder = StateDir::open(&self.folder.path().join(FOLDER)).unwrap();
        let path = credential.write(&folder).unwrap();
        drop(folder);
        self.look().await;
        path
    }

    async fn look(&self) {
        let wanted = Wanted::read(&[], self.folder.path());
        self.pushes.commit(wanted, &self.stop).await;
    }

    fn reading(&self) -> PushReading {
        self.pushes.read().remove(0)
    }

    /// Waits until status says so.
    async fn until(&self, what: &str, is_so: impl Fn(&PushReading) -> bool) -> PushReading {
        reads(what, || self.reading(), is_so).await
    }

    async fn apply(&self, events: Vec<IdentityEvent>) {
        let batch = Batch::Events {
            events,
            bookmark: None,
        };
        self.writer.intake.apply(batch).await.unwrap();
    }

    async fn log_on(&self, range: std::ops::Range<usize>, user: &str) {
        // At one instant: each of its own would take a millisecond.
        let one = logon(range.start, user);
        let at = |number| IdentityEvent {
            address: Some(address(number).parse().unwrap()),
            ..one.clone()
        };
        self.apply(range.map(at).collect()).await;
    }

    /// What is known of every address.
    fn holds(&self) -> BTreeMap<String, String> {
        let core = self.writer.reader.read();
        let since = core.feed_since(jims::identity::view::Seq(0));
        since
            .filter_map(|(_, item)| match item {
                jims::identity::collector::FeedItem::Address(report) => {
                    let last = report.user.last()?.subject.as_ref()?.name.to_string();
                    Some((report.address.to_string(), last))
                }
                _ => None,
            })
            .collect()
    }

    async fn is_equal(&self, hub: &Hub) {
        let ours = self.holds();
        let equal = |state: &crate::fake_hub::State| holds(state) == ours;
        hub.until("equal to our table", equal).await;
        hub.is_content();
    }

    async fn end(self) {
        self.stop.cancel();
        assert!(self.tasks.finish(GUARD).await.is_empty());
    }
}

fn holds(state: &crate::fake_hub::State) -> BTreeMap<String, String> {
    let all = state.held.iter();
    all.map(|(address, told)| {
        let last = told["user"].as_array().and_then(|facts| facts.last());
        let name = last.and_then(|fact| fact["name"].as_str());
        (address.clone(), name.unwrap_or_default().to_owned())
    })
    .collect()
}

/// How often everything was told.
fn passes(hub: &Hub) -> usize {
    let state = hub.state.lock();
    let pushes = state.pushes.iter();
    pushes.filter(|push| push["begins"] == true).count()
}

fn address(number: usize) -> String {
    format!("10.1.{}.{}", number / 250, number % 250 + 1)
}

fn logon(number: usize, user: &str) -> IdentityEvent {
    let logon = Logon {
        user: user_ref("corp.example.com", user),
        groups: Vec::new(),
        strength: Strength::Strong,
        device: None,
        logon_id: None,
    };
    event(&address(number), Claim::Logon(logon))
}

#[tokio::test]
async fn everything_is_told_in_a_pass_and_then_each_change() {
    let (hub, site) = (Hub::start().await, Site::new());
    site.log_on(0..9_000, "alice").await;
    site.onboarded(&hub, "hq").await;
    assert_eq!(site.reading().state, State::Waiting);
    assert!(hub.state.lock().requests.is_empty(), "rule 15");
    site.latch.open();
    site.is_equal(&hub).await;
    assert_eq!(passes(&hub), 1);
    let reading = site
        .until("following", |r| r.state == State::Following)
        .await;
    assert_eq!((reading.behind, reading.pushed.sessions), (0, 9_000));
    let (pushes, http2) = {
        let state = hub.state.lock();
        (state.pushes.len(), state.http2)
    };
    assert!(pushes <= 5, "one asks, three tell: {pushes}");
    assert!(http2 >= pushes);

    let before = clock::monotonic_now();
    site.log_on(5..6, "bob").await;
    site.is_equal(&hub).await;
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "a change is there at once"
    );
    let last = hub.state.lock().pushes.last().cloned().unwrap();
    assert_eq!(last["changes"].as_array().unwrap().len(), 1);
    assert_eq!(last["collector"]["name"], "site-7");
    site.end().await;
}

#[tokio::test]
async fn whatever_is_lost_on_the_way_arrives_and_nothing_is_begun_anew() {
    let (hub, site) = (Hub::start().await, Site::new());
    site.latch.open();
    site.log_on(0..10, "alice").await;
    site.onboarded(&hub, "hq").await;
    site.is_equal(&hub).await;
    site.until("following", |r| r.state == State::Following)
        .await;
    let faults = [
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::Status(503),
        Fault::TokenEnded,
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        hub.state.lock().faults.push_back(fault);
        site.log_on(number..number + 1, "carol").await;
        site.is_equal(&hub).await;
        site.until("following", |r| {
            r.state == State::Following && r.fault.is_none()
        })
        .await;
    }
    assert_eq!(passes(&hub), 1);
    let tokens = hub.state.lock().tokens;
    assert_eq!(tokens, 2, "a token that ended is replaced once");
    assert!(hub.state.lock().faults.is_empty(), "each of them happened");
    site.end().await;
}

#[tokio::test]
async fn how_far_a_server_is_behind_is_measured_while_it_is_away() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let measured = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (hub, site) = (Hub::start().await, Site::new());
    site.latch.open();
    site.onboarded(&hub, "hq").await;
    site.until("following", |r| r.state == State::Following)
        .await;
    hub.end().await;
    site.log_on(0..3, "alice").await;
    let line = "jims_cursor_behind{output=\"hq\"} 3";
    site.until("measured", |r| {
        r.state == State::Failing && measured.render().contains(line)
    })
    .await;
    site.end().await;
}

#[tokio::test]
async fn a_server_that_forgot_is_told_everything_and_one_that_knows_only_the_rest() {
    let (hub, site) = (Hub::start().await, Site::new());
    site.latch.open();
    site.log_on(0..5_000, "alice").await;
    // It is asked where it stands, takes the first part of the pass, and restarts.
    hub.state.lock().faults = [Fault::No, Fault::No, Fault::Restart].into();
    site.onboarded(&hub, "hq").await;
    site.is_equal(&hub).await;
    site.until("following", |r| r.state == State::Following)
        .await;

    // It holds something that we never said, and nothing of where it stands.
    {
        let mut state = hub.state.lock();
        state.stands = None;
        state.held.insert(
            "10.9.9.9".into(),
            serde_json::json!({ "user": [{ "name": "ghost" }] }),
        );
        state.pushes.clear();
    }
    site.log_on(1..2, "bob").await;
    site.is_equal(&hub).await;
    assert_eq!(passes(&hub), 1);

    // Our process starts again in the same epoch: it asks, and goes on.
    let position = hub.state.lock().stands.clone();
    hub.state.lock().pushes.clear();
    let path = site.folder.path().join(FOLDER).join(file_name("hq"));
    let aside = site.folder.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    site.look().await;
    assert!(
        site.pushes.read().is_empty(),
        "a credential that is gone ends its task"
    );
    std::fs::rename(&aside, &path).unwrap();
    site.look().await;
    site.log_on(2..3, "dora").await;
    site.is_equal(&hub).await;
    assert_eq!(passes(&hub), 0);
    assert!(hub.state.lock().stands > position);
    site.end().await;
}

/// A directory tells of its domain and of one user.
fn directory() -> Batch {
    let name = |text| Name::new(text).unwrap();
    Batch::Directory(DirectoryBatch {
        directory: name("corp"),
        domain: name("corp.example.com"),
        facts: Some(DomainFacts {
            netbios: Some(name("CORP")),
            upn_suffixes: Vec::new(),
        }),
        step: DirectoryStep::Poll,
        upserts: vec![DirectoryObject {
            id: ObjectId([7; 16]),
            sid: None,
            name: name("alice"),
            kind: ObjectKind::User {
                upn: None,
                enabled: true,
                primary_group: None,
            },
        }],
        removed: Vec::new(),
        bookmark: None,
    })
}

#[tokio::test]
async fn what_the_feed_forgot_makes_a_pass_that_sweeps_it() {
    let (hub, site) = (Hub::start().await, Site::new());
    let mut policy = site.writer.reader.read().policy().clone();
    let without = policy.clone();
    let (corp, domain) = (
        Name::new("corp").unwrap(),
        Name::new("corp.example.com").unwrap(),
    );
    policy.directories = vec![(corp, domain)];
    site.writer.policy.replace(policy).await.unwrap();
    site.writer.intake.apply(directory()).await.unwrap();
    site.latch.open();
    site.onboarded(&hub, "hq").await;
    let id = "07".repeat(16);
    hub.until("told of the directory", |state| {
        state.held.contains_key(&id) && state.held.contains_key("corp.example.com")
    })
    .await;
    let told = site
        .until("following", |r| r.state == State::Following)
        .await;
    assert_eq!((told.pushed.users, told.pushed.domains), (1, 1));
    site.writer.policy.replace(without).await.unwrap();
    hub.until("without the directory", |state| state.held.is_empty())
        .await;
    assert_eq!(passes(&hub), 2);
    hub.is_content();
    site.end().await;
}

#[tokio::test]
async fn several_servers_are_told_each_for_itself() {
    let (one, two, site) = (Hub::start().await, Hub::of_old(), Site::new());
    site.latch.open();
    site.log_on(0..100, "alice").await;
    site.onboarded(&one, "one").await;
    site.onboarded(&two, "two").await;
    site.is_equal(&one).await;
    site.is_equal(&two).await;
    two.state.lock().registered = None;
    two.state.lock().faults.push_back(Fault::TokenEnded);
    site.log_on(0..50, "bob").await;
    site.is_equal(&one).await;
    let refused = |site: &Site| {
        let two = site.pushes.read().into_iter().find(|r| r.name == "two");
        two.filter(|reading| reading.state == State::Refused)
    };
    let wait = async {
        loop {
            if let Some(reading) = refused(&site) {
                return reading;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reading = tokio::time::timeout(GUARD, wait).await.expect("refused");
    assert!(reading.fault.unwrap().message.contains("does not know"));
    assert!(reading.behind > 0);

    let folder = StateDir::open(&site.folder.path().join(FOLDER)).unwrap();
    folder.replace("three.toml", b"nonsense").unwrap();
    drop(folder);
    site.look().await;
    let states: Vec<_> = site
        .pushes
        .read()
        .into_iter()
        .map(|r| (r.name, r.state))
        .collect();
    assert_eq!(
        states[1],
        ("three".into(), State::Failing),
        "it stops no other: {states:?}"
    );
    assert_eq!(states.len(), 3);
    site.end().await;
}
