//! Ten stories of an address, each as `jims query-user --explain` tells it: what an operator reads is in the snapshots.
//!
//! Times and ages become words there, and folded lines one line again.

use std::net::IpAddr;
use std::time::Duration;

use jims::identity::Batch;
use jims::identity::address::Networks;
use jims::identity::collector::{AddressReport, CollectorBatch, FactKind, ToldFact, ToldSubject};
use jims::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind,
};
use jims::identity::event::{Claim, IdentityEvent, Logon, Qualifier, Strength, UserRef};
use jims::identity::name::Name;
use jims::identity::policy::{DomainPolicy, Filter, Globs, Policy, Scope};
use jims::identity::probe::{ProbeAnswer, ProbeReport};
use jims::identity::time::UtcMillis;
use jims::runtime::clock;
use jims::runtime::report::{Fact, Health, Kind, Report};
use regex::Regex;

use crate::cli_control::Running;

const ADDRESS: &str = "10.1.2.50";

/// Ends a wait that will never be over.
const GUARD: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn policy() -> Policy {
    Policy {
        logoff_time: Duration::from_secs(3600),
        grace: Duration::from_secs(3600),
        domains: vec![DomainPolicy {
            name: name("corp.example.com"),
            netbios: Some(name("CORP")),
            aliases: Vec::new(),
        }],
        directories: vec![(name("corp"), name("corp.example.com"))],
        filter: Filter {
            exclude_users: Globs::new(["backup", "svc-*"]).expect("globs"),
            ..Filter::default()
        },
        ..Policy::default()
    }
}

fn user(user: &str) -> UserRef {
    UserRef {
        name: name(user),
        qualifier: Qualifier::Domain(name("CORP")),
    }
}

/// What a producer says, so many seconds ago.
fn event(producer: &str, record: &str, ago: u64, claim: Claim) -> IdentityEvent {
    let now = clock::utc_now();
    IdentityEvent {
        producer: producer.into(),
        record: record.into(),
        occurred_at: now.before(Duration::from_secs(ago)),
        received_at: now,
        heard: None,
        address: Some(address(ADDRESS)),
        claim,
    }
}

fn logon(who: &str, strength: Strength) -> Claim {
    Claim::Logon(Logon {
        user: user(who),
        device: None,
        groups: Vec::new(),
        strength,
        logon_id: None,
    })
}

fn at(place: &str, event: IdentityEvent) -> IdentityEvent {
    IdentityEvent {
        address: Some(address(place)),
        ..event
    }
}

async fn hear(running: &Running, events: impl IntoIterator<Item = IdentityEvent>) {
    let batch = Batch::Events {
        events: events.into_iter().collect(),
        bookmark: None,
    };
    running.parts.intake.apply(batch).await.expect("running");
}

/// A full read of the directory with these users.
async fn directory(running: &Running, users: &[&str]) {
    let object = |user: &&str| DirectoryObject {
        id: ObjectId([u8::try_from(user.len()).expect("short"); 16]),
        sid: None,
        name: name(user),
        kind: ObjectKind::User {
            upn: None,
            enabled: true,
            primary_group: None,
        },
    };
    for step in [DirectoryStep::FullBegin, DirectoryStep::FullEnd] {
        let batch = DirectoryBatch {
            directory: name("corp"),
            domain: name("corp.example.com"),
            facts: None,
            step,
            upserts: users.iter().map(object).collect(),
            removed: Vec::new(),
            bookmark: None,
        };
        let batch = Batch::Directory(batch);
        running.parts.intake.apply(batch).await.expect("running");
    }
}

/// What `--explain` says of somebody, with times as words.
async fn explained(running: &Running, who: &str) -> String {
    let (_, text, errors) = running.jims(&["query-user", who, "--explain"]).await;
    assert_eq!(errors, "");
    let replaced = [
        (r"\n {10,}", " "),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ", "TIME"),
        (r"\b(in )?(\d+ (days?|h|min|s|ms) ?)+( ago)?\)", "AGE)"),
        (r", (\d+ (days?|h|min|s|ms) ?)+ ago", ", AGE"),
        (r"\(now\)", "(AGE)"),
    ];
    let replace = |text: String, (pattern, with): &(&str, &str)| {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&text, *with).into_owned()
    };
    replaced.iter().fold(text, replace)
}

/// What is said of somebody after these events.
async fn after(events: impl IntoIterator<Item = IdentityEvent>, who: &str) -> String {
    let running = Running::with(policy());
    hear(&running, events).await;
    let text = explained(&running, who).await;
    running.end().await;
    text
}

fn left(who: &str) -> Claim {
    Claim::Logoff {
        user: Some(user(who)),
        logon_id: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moved() {
    let strong = || logon("alice", Strength::Strong);
    let events = [
        at(
            "10.1.9.9",
            event("wifi", "freeradius/connect", 1800, strong()),
        ),
        event("dc1", "4768 #1200", 600, strong()),
        at(
            "10.1.9.9",
            event("wifi", "freeradius/disconnect", 590, left("alice")),
        ),
    ];
    insta::assert_snapshot!(after(events, "alice").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn displaced_by_stronger_evidence() {
    let events = [
        event(
            "dc1",
            "4624 type 3 #1201",
            600,
            logon("bob", Strength::Weak),
        ),
        event(
            "dc1",
            "4624 type 2 #1300",
            60,
            logon("alice", Strength::Strong),
        ),
    ];
    insta::assert_snapshot!(after(events, ADDRESS).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn weaker_evidence_is_rejected() {
    let weak = |record: &str, ago| event("dc2", record, ago, logon("bob", Strength::Weak));
    let events = [
        event(
            "dc1",
            "4624 type 2 #1300",
            600,
            logon("alice", Strength::Strong),
        ),
        weak("4624 type 3 #88", 300),
        weak("4624 type 3 #89", 200),
    ];
    insta::assert_snapshot!(after(events, ADDRESS).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered() {
    let noisy = event(
        "dc1",
        "4624 type 3 #7",
        3,
        logon("svc-scanner", Strength::Strong),
    );
    insta::assert_snapshot!(after([noisy.clone(), noisy], ADDRESS).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_confirmed_by_a_probe() {
    let running = Running::with(Policy {
        logoff_time: Duration::from_secs(30),
        probe_networks: Networks::new(["10.1.0.0/16".parse().expect("a network")]),
        ..policy()
    });
    // Half a second of its logoff time is left.
    let mut early = event("dc1", "4768 #1", 0, logon("alice", Strength::Strong));
    early.occurred_at = early.occurred_at.before(Duration::from_millis(29_500));
    hear(&running, [early]).await;
    let reader = running.parts.reader.clone();
    let doubted = tokio::time::timeout(GUARD, async {
        while reader.read().doubted_count() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    doubted.await.expect("its logoff time ends");
    let in_doubt = explained(&running, ADDRESS).await;
    assert!(
        in_doubt.contains("unconfirmed: its logoff time was over at TIME"),
        "{in_doubt}"
    );
    let now = clock::utc_now();
    let ticket = reader.read().probe_subject(address(ADDRESS)).ticket;
    let answer = ProbeReport {
        address: address(ADDRESS),
        producer: "pc-probe".into(),
        record: "wmi ws-0042".into(),
        ticket,
        asked_at: now,
        answered_at: now,
        healthy: true,
        answer: ProbeAnswer::Users(vec![user("alice")]),
        device: None,
    };
    let intake = &running.parts.intake;
    intake.apply(Batch::Probe(answer)).await.expect("running");
    insta::assert_snapshot!(explained(&running, ADDRESS).await);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logged_off_by_syslog() {
    let events = [
        event("dc1", "4768 #1", 600, logon("alice", Strength::Strong)),
        event("vpn", "juniper-secure-connect/down", 30, left("alice")),
    ];
    insta::assert_snapshot!(after(events, ADDRESS).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_user() {
    let running = Running::with(policy());
    directory(&running, &["alice", "bob"]).await;
    hear(
        &running,
        [event(
            "dc1",
            "4768 #1",
            600,
            logon("alice", Strength::Strong),
        )],
    )
    .await;
    directory(&running, &["bob"]).await;
    hear(
        &running,
        [event("dc1", "4769 #2", 1, logon("alice", Strength::Strong))],
    )
    .await;
    insta::assert_snapshot!(explained(&running, ADDRESS).await);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn source_down() {
    let running = Running::with(policy());
    hear(
        &running,
        [event(
            "dc1",
            "4768 #1",
            600,
            logon("alice", Strength::Strong),
        )],
    )
    .await;
    let report = Report::new(Kind::EventLog, "dc1");
    report.set_fact("host", Fact::Text("dc1.corp.example.com".into()));
    let (what, remedy) = ("cannot connect", "look at its network");
    report.set_fault(Health::Down, what, remedy, clock::utc_now());
    running.reports.add(&report);
    insta::assert_snapshot!(explained(&running, ADDRESS).await);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skewed_clock() {
    let running = Running::with(policy());
    let report = Report::new(Kind::EventLog, "dc2");
    report.set_fact("host", Fact::Text("dc2.corp.example.com".into()));
    report.set_fact("skew_ms", Fact::Number(-312_000));
    running.reports.add(&report);
    // Heard later, happened before: the corrected time decides.
    hear(
        &running,
        [
            event("dc1", "4768 #9", 60, logon("alice", Strength::Strong)),
            event("dc2", "4768 #4", 90, logon("bob", Strength::Strong)),
            event("dc2", "4768 #5", 30, logon("carol", Strength::Strong)),
        ],
    )
    .await;
    insta::assert_snapshot!(explained(&running, ADDRESS).await);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_from_two_collectors() {
    let collectors = ["branch-1", "branch-2"];
    let scopes = collectors.map(|collector| (collector.into(), Scope::default()));
    let running = Running::with(Policy {
        collectors: scopes.into(),
        ..policy()
    });
    let now = clock::utc_now();
    for (collector, who, kind, ago) in [
        ("branch-1", "alice", FactKind::Strong, 300),
        ("branch-2", "bob", FactKind::Weak, 100),
    ] {
        let at: UtcMillis = now.before(Duration::from_secs(ago));
        let fact = ToldFact {
            kind,
            at,
            received_at: at,
            subject: Some(ToldSubject {
                name: name(who),
                domain: name("corp.example.com"),
                by_upn: false,
            }),
            producer: "dc1".into(),
            record: "4624 type 3 #5".into(),
            groups: None,
        };
        let report = AddressReport {
            address: address(ADDRESS),
            user: vec![fact],
            device: Vec::new(),
        };
        let batch = Batch::Collector(CollectorBatch {
            collector: collector.into(),
            reports: vec![report],
            bookmark: None,
        });
        running.parts.intake.apply(batch).await.expect("running");
    }
    insta::assert_snapshot!(explained(&running, ADDRESS).await);
    running.end().await;
}
