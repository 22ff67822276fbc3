//! `jims status --json` and its other pages, with everything in them and with nothing.

use std::collections::BTreeMap;

use jims::control::junos::{Junos, JunosCertificate};
use jims::control::kept::KeptRequest;
use jims::control::protocol::{
    Attention, CatchingUp, ClusterStatus, CollectorState, CollectorStatus, DirectoryTotals,
    EventTotals, FaultStatus, Kinds, Lag, LeaseStatus, MemberStatus, NatsStatus, PointStatus,
    PushState, PushStatus, RefusedStatus, Resynchronising, ServerStatus, SourceStatus, Status,
    StoredStatus, StrangerStatus, ThisCollector, Totals, WebApiStatus,
};
use serde_json::{Value, json};

use super::answers::at;
use super::{check_both_ways, json as value};

fn fault() -> FaultStatus {
    FaultStatus {
        message: "the bind was refused".into(),
        remedy: "look at the password".into(),
        since: at(),
    }
}

fn source(kind: &str, state: &str) -> SourceStatus {
    SourceStatus {
        name: "dc1".into(),
        kind: kind.into(),
        state: state.into(),
        detail: "following".into(),
        received: 12,
        interpreted: 10,
        ignored: BTreeMap::from([("no-rule".into(), 2)]),
        dropped: BTreeMap::from([("full".into(), 1)]),
        per_second: 0.5,
        facts: BTreeMap::from([
            ("delivery".into(), json!("push")),
            ("skew_ms".into(), json!(-7)),
        ]),
        last_received: Some(at()),
        fault: Some(fault()),
    }
}

fn bare_source() -> SourceStatus {
    SourceStatus {
        facts: BTreeMap::new(),
        ignored: BTreeMap::new(),
        last_received: None,
        fault: None,
        ..source("syslog", "quiet")
    }
}

fn web_api() -> WebApiStatus {
    WebApiStatus {
        url: "https://192.0.2.2:8443".into(),
        state: "failing".into(),
        entries_sent: 3,
        skipped: 1,
        cut: 1,
        behind: 2,
        last_success: Some(at()),
        last_full: Some(at()),
        fault: Some(fault()),
    }
}

fn point() -> PointStatus {
    PointStatus {
        name: "srx".into(),
        protocol: "both".into(),
        client_id: "srx".into(),
        addresses: vec!["192.0.2.0/24".into()],
        state: "refused".into(),
        last_query: Some(at()),
        last_address: Some("2001:db8::1".parse().expect("address")),
        last_token: Some(at()),
        last_batch: Some(at()),
        last_ip: Some(at()),
        last_user: Some(at()),
        last_full: Some(at()),
        behind: Some(4),
        answered: 9,
        entries_sent: 30,
        refused: 1,
        last_refused: Some(RefusedStatus {
            at: at(),
            reason: "bad-secret".into(),
        }),
        tokens: 1,
        web_api: Some(web_api()),
    }
}

fn kinds() -> Kinds {
    Kinds {
        domains: 1,
        users: 2,
        devices: 3,
        groups: 4,
        sessions: 5,
    }
}

fn push() -> PushStatus {
    PushStatus {
        name: "hq".into(),
        url: "https://hq.example.com".into(),
        state: PushState::Resynchronising,
        behind: 5,
        of: Some(10),
        last_push: Some(at()),
        pushed: kinds(),
        fault: Some(fault()),
        certificate_expires: Some(at()),
        certificate_fingerprint: Some("ab".repeat(32)),
    }
}

/// A Collector with every field set.
pub(super) fn collector() -> CollectorStatus {
    CollectorStatus {
        name: "branch-1".into(),
        identifier: "jims-branch".into(),
        version: "0.1.0".into(),
        description: "Zürich".into(),
        state: CollectorState::Disconnected,
        since: Some(at()),
        last_update: Some(at()),
        address: Some("192.0.2.30".parse().expect("address")),
        pushes: kinds(),
        totals: kinds(),
        lag: Some(Lag {
            behind: 3,
            seconds: Some(1),
        }),
        onboarded_at: Some(at()),
        invitation_expires: Some(at()),
        certificate_expires: Some(at()),
        clock_difference_ms: Some(-12),
        attention: vec!["its clock is wrong".into()],
        attention_there: 1,
        networks: vec!["10.2.0.0/16".into()],
        domains: vec!["corp.example.com".into()],
        roles: vec!["VPN-*".into()],
    }
}

fn server() -> ServerStatus {
    ServerStatus {
        listen: vec!["[::]:443".into()],
        fingerprint: "ab".repeat(32),
        self_signed: true,
        validator: vec!["[::]:8443".into()],
        debug_http: vec!["127.0.0.1:8080".into()],
        ingest: true,
        url: "https://jims.example.com".into(),
        not_understood: 1,
    }
}

fn cluster() -> ClusterStatus {
    ClusterStatus {
        stream: "jims".into(),
        state: "catching-up".into(),
        nats: NatsStatus {
            connected: true,
            server: Some("192.0.2.9:4222".into()),
        },
        epoch: "00000000000000ab".into(),
        applied: 100,
        applied_at: Some(at()),
        behind: 7,
        lag_ms: 1_200,
        policy_differs: true,
        stored: Some(StoredStatus { at: at(), seq: 90 }),
        catching_up: Some(CatchingUp { left: 7 }),
        resynchronising: Some(Resynchronising { bytes: 10, of: 20 }),
        members: vec![MemberStatus {
            name: "hq".into(),
            version: "0.1.0".into(),
            roles: vec!["collector".into(), "server".into()],
            state: "following".into(),
            applied: 107,
            behind: 0,
            heard_s: 1,
            alive: true,
            started: at(),
        }],
        leases: vec![
            LeaseStatus {
                name: "clock".into(),
                holder: Some("hq".into()),
                since: Some(at()),
                alive: true,
            },
            LeaseStatus::default(),
        ],
    }
}

/// A cluster that nobody has reached yet.
fn unreached() -> ClusterStatus {
    ClusterStatus {
        stream: "jims".into(),
        state: "connecting".into(),
        ..ClusterStatus::default()
    }
}

fn this_collector() -> ThisCollector {
    ThisCollector {
        name: "hq".into(),
        description: "head office".into(),
        state: "starting".into(),
        waiting_for: vec!["corp".into()],
        started: at(),
    }
}

fn full() -> Status {
    Status {
        version: "0.1.0".into(),
        at: at(),
        collector: this_collector(),
        totals: Totals {
            domains: 1,
            users: 2,
            devices: 3,
            groups: 4,
            sessions: 5,
        },
        directory: DirectoryTotals {
            users: 6,
            devices: 7,
            groups: 8,
        },
        events: EventTotals {
            total: 9,
            ignored: 1,
            lag_ms: Some(84),
            queued: 2,
        },
        directories: vec![source("directory", "down")],
        producers: vec![source("event-source", "active"), bare_source()],
        server: Some(server()),
        enforcement_points: vec![point(), PointStatus::only_pushed_to("b".into(), web_api())],
        pushes: vec![push(), PushStatus::default()],
        collectors: vec![collector(), CollectorStatus::default()],
        strangers: vec![StrangerStatus {
            address: "10.0.0.5".parse().expect("address"),
            tried: "syslog".into(),
            count: 12,
            last: at(),
            paste: "[[syslog_source]]".into(),
        }],
        attention: vec![
            Attention {
                what: "not ready".into(),
                remedy: "wait".into(),
                since: Some(at()),
            },
            Attention {
                what: "plain HTTP".into(),
                remedy: String::new(),
                since: None,
            },
        ],
        cluster: Some(cluster()),
    }
}

fn empty() -> Status {
    Status {
        events: EventTotals {
            lag_ms: None,
            ..full().events
        },
        directories: Vec::new(),
        producers: Vec::new(),
        server: None,
        enforcement_points: Vec::new(),
        pushes: Vec::new(),
        collectors: Vec::new(),
        strangers: Vec::new(),
        attention: Vec::new(),
        cluster: None,
        ..full()
    }
}

#[test]
fn status_is_as_its_schema_says() {
    let begun = Status {
        cluster: Some(unreached()),
        ..empty()
    };
    check_both_ways("status", &[value(full()), value(empty()), value(begun)]);
}

#[test]
fn the_page_of_collectors_is_as_its_schema_says() {
    let page = |status: &Status| {
        json!({
            "version": status.version,
            "at": status.at,
            "totals": status.totals,
            "collectors": status.collectors,
        })
    };
    check_both_ways("status-collectors", &[page(&full()), page(&empty())]);
}

#[test]
fn requests_that_were_not_understood_are_as_their_schema_says() {
    let request = KeptRequest {
        at: at(),
        count: 3,
        address: "192.0.2.1".parse().expect("address"),
        point: "srx".into(),
        method: "GET".into(),
        target: "/api".into(),
        headers: vec!["accept: */*".into()],
        body: "x".into(),
        reason: "there is no such path".into(),
    };
    let page = |requests: &[KeptRequest]| json!({ "requests": requests });
    check_both_ways("status-requests", &[page(&[request]), page(&[])]);
}

#[test]
fn what_to_type_is_as_its_schema_says() {
    let full = Junos {
        name: "srx".into(),
        configuration: vec!["set a".into()],
        fill_in: vec!["<secret>".into()],
        certificate: Some(JunosCertificate {
            file: "/var/lib/jims/tls/ca.pem".into(),
            pem: "-----BEGIN CERTIFICATE-----".into(),
            on_firewall: "/var/tmp/ca.pem".into(),
            load: "request security".into(),
        }),
        check: vec!["show services".into()],
        notes: vec!["it calls from there".into()],
    };
    let bare = Junos {
        certificate: None,
        ..full.clone()
    };
    let documents: Vec<Value> = vec![value(full), value(bare)];
    check_both_ways("status-junos", &documents);
}
