//! The whole page, and what it says of a site that is well.

use super::*;
use crate::control::protocol::{
    Attention, CatchingUp, ClusterStatus, CollectorState, CollectorStatus, DirectoryTotals,
    EventTotals, FaultStatus, Kinds, Lag, LeaseStatus, MemberStatus, NatsStatus, PointStatus,
    PushState, PushStatus, ServerStatus, SourceStatus, StoredStatus, StrangerStatus, ThisCollector,
    Totals, WebApiStatus, timestamp,
};
use crate::identity::time::UtcMillis;
use std::collections::BTreeMap;
use unicode_width::UnicodeWidthStr;

fn at(seconds: i64) -> jiff::Timestamp {
    timestamp(UtcMillis((1_764_000_000 + seconds) * 1000))
}

fn source(name: &str, kind: &str, state: &str) -> SourceStatus {
    SourceStatus {
        name: name.into(),
        kind: kind.into(),
        state: state.into(),
        detail: String::new(),
        received: 1_234_567,
        interpreted: 1_200_000,
        ignored: BTreeMap::from([("no-rule".into(), 34_000), ("out-of-scope".into(), 567)]),
        dropped: BTreeMap::new(),
        per_second: 12.5,
        facts: BTreeMap::new(),
        last_received: Some(at(3_590)),
        fault: None,
    }
}

fn event_source() -> SourceStatus {
    SourceStatus {
        facts: BTreeMap::from([
            ("delivery".into(), "push".into()),
            ("authentication".into(), "kerberos".into()),
            ("lag_ms".into(), 84.into()),
            ("skew_ms".into(), (-61_000).into()),
            ("record".into(), 9_876_543_210_i64.into()),
        ]),
        ..source("dc1", "event-source", "active")
    }
}

fn probes() -> SourceStatus {
    let numbers = [
        ("unconfirmed", 1_204),
        ("running", 256),
        ("waiting", 948),
        ("oldest_waiting_ms", 71_000),
        ("answered_5m", 10_000),
        ("refused_5m", 12),
        ("unreachable_5m", 300),
        ("silent_networks", 1),
    ];
    SourceStatus {
        facts: numbers
            .map(|(name, number)| (name.to_owned(), number.into()))
            .into(),
        ..source("pc-probe", "pc-probe", "degraded")
    }
}

fn point() -> PointStatus {
    PointStatus {
        name: "srx-branch-1".into(),
        protocol: "query".into(),
        client_id: "srx-branch-1".into(),
        addresses: vec!["192.0.2.1".into()],
        state: "active".into(),
        last_query: Some(at(3_595)),
        last_address: None,
        last_token: None,
        last_batch: Some(at(3_595)),
        last_ip: None,
        last_user: None,
        last_full: None,
        behind: Some(0),
        answered: 703,
        entries_sent: 40,
        refused: 0,
        last_refused: None,
        tokens: 1,
        web_api: None,
    }
}

fn pushed_to() -> PointStatus {
    let web_api = WebApiStatus {
        url: "https://192.0.2.2:8443".into(),
        state: "following".into(),
        entries_sent: 100_023,
        skipped: 1,
        cut: 0,
        behind: 0,
        last_success: Some(at(3_595)),
        last_full: Some(at(2_000)),
        fault: None,
    };
    PointStatus::only_pushed_to("srx-branch-2".into(), web_api)
}

fn branch() -> CollectorStatus {
    let lag = Lag {
        behind: 12,
        seconds: Some(1),
    };
    let totals = Kinds {
        sessions: 40_000,
        ..Kinds::default()
    };
    CollectorStatus {
        name: "branch-1".into(),
        state: CollectorState::Resynchronising,
        last_update: Some(at(3_599)),
        lag: Some(lag),
        totals,
        ..CollectorStatus::default()
    }
}

fn push() -> PushStatus {
    PushStatus {
        name: "headquarters".into(),
        url: "https://jims.headquarters.example.com:8443".into(),
        state: PushState::Resynchronising,
        behind: 812_345,
        of: Some(1_000_000),
        last_push: Some(at(3_599)),
        certificate_expires: Some(at(3_600 + 86_400 * 300)),
        pushed: Kinds {
            sessions: 187_655,
            ..Kinds::default()
        },
        ..PushStatus::default()
    }
}

fn member(name: &str, roles: &[&str], state: &str, heard_s: u64) -> MemberStatus {
    MemberStatus {
        name: name.into(),
        version: "0.1.0".into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        state: state.into(),
        applied: 1_234_567,
        behind: 0,
        heard_s,
        alive: state != "gone",
        started: at(0),
    }
}

fn lease(name: &str, holder: Option<&str>, alive: bool) -> LeaseStatus {
    LeaseStatus {
        name: name.into(),
        holder: holder.map(str::to_owned),
        since: holder.map(|_| at(1_000)),
        alive,
    }
}

fn cluster() -> ClusterStatus {
    ClusterStatus {
        stream: "jims".into(),
        state: "following".into(),
        nats: NatsStatus {
            connected: true,
            server: Some("nats-1.example.com:4222".into()),
        },
        epoch: "00000000000000ab".into(),
        applied: 1_234_567,
        applied_at: Some(at(3_599)),
        behind: 12,
        lag_ms: 1_000,
        stored: Some(StoredStatus {
            at: at(3_500),
            seq: 1_230_000,
        }),
        members: vec![
            member("hq", &["collector", "server"], "following", 0),
            member("branch\u{202e}-2", &["collector"], "resynchronising", 2),
            member(
                "a-member-with-a-name-that-is-quite-long",
                &["server"],
                "gone",
                90_000,
            ),
        ],
        leases: vec![
            lease("clock", Some("hq"), true),
            lease("directory/corp", Some("branch-2"), false),
            lease("event-source/dc1", None, false),
        ],
        ..ClusterStatus::default()
    }
}

fn server() -> ServerStatus {
    ServerStatus {
        listen: vec!["[::]:443".into()],
        fingerprint: "ab".repeat(32),
        self_signed: true,
        validator: vec![],
        debug_http: vec![],
        ingest: true,
        url: "https://jims.example.com".into(),
        not_understood: 2,
    }
}

fn status() -> Status {
    let mut corp = source("corp", "directory", "down");
    corp.detail = "dc1.corp.example.com, then dc2.corp.example.com".into();
    corp.fault = Some(FaultStatus {
        message: "the bind was refused".into(),
        remedy: "look at the password".into(),
        since: at(3_000),
    });
    Status {
        version: "0.1.0".into(),
        at: at(3_600),
        collector: ThisCollector {
            name: "hq".into(),
            description: "Zürich".into(),
            state: "ready".into(),
            waiting_for: vec![],
            started: at(0),
        },
        totals: Totals {
            domains: 1,
            users: 14,
            devices: 9,
            groups: 40,
            sessions: 23,
        },
        directory: DirectoryTotals {
            users: 2_013,
            devices: 120,
            groups: 40,
        },
        events: EventTotals {
            total: 4_321_000,
            ignored: 34_567,
            lag_ms: Some(84),
            queued: 1,
        },
        directories: vec![corp],
        producers: vec![
            source(
                "vpn-gateways-of-the-whole-company-in-every-country-we-are-in",
                "syslog",
                "active",
            ),
            event_source(),
            source("東京のゲートウェイ", "syslog", "quiet"),
            probes(),
        ],
        server: Some(server()),
        enforcement_points: vec![point(), pushed_to()],
        pushes: vec![push()],
        collectors: vec![branch()],
        strangers: vec![StrangerStatus {
            address: "10.0.0.5".parse().expect("address"),
            tried: "syslog".into(),
            count: 12,
            last: at(3_540),
            paste: String::new(),
        }],
        attention: vec![Attention {
            what: "directory `corp` is down: the bind was\u{1b}[2J refused".into(),
            remedy: "[[syslog_source]]\nname = \"sender-10-0-0-5\"".into(),
            since: Some(at(3_000)),
        }],
        cluster: Some(cluster()),
    }
}

#[test]
fn the_screen_fits_80_columns_and_needs_no_colour() {
    let text = anstream::adapter::strip_str(&render(&status())).to_string();
    assert!(text.lines().all(|line| line.width() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'));
    insta::assert_snapshot!(text);
}

#[test]
fn a_quiet_site_says_that_all_is_well() {
    let mut status = status();
    status.attention.clear();
    status.producers.clear();
    status.cluster = None;
    let text = anstream::adapter::strip_str(&render(&status)).to_string();
    assert!(
        text.starts_with("all is well\n\njims 0.1.0 on hq"),
        "{text}"
    );
    assert!(!text.contains("Producers"));
    assert!(!text.contains("Cluster") && !text.contains("Leases"));
}

#[test]
fn a_member_that_begins_says_how_far_it_is() {
    let mut status = status();
    status.cluster = Some(ClusterStatus {
        state: "catching-up".into(),
        applied: 7,
        catching_up: Some(CatchingUp { left: 1 }),
        nats: NatsStatus::default(),
        stored: None,
        members: Vec::new(),
        leases: Vec::new(),
        ..cluster()
    });
    let text = super::cluster::cluster(&status);
    assert_eq!(
        text,
        "  here    catching-up, at message 7, 1 message behind (1,000 ms)\n  stream  jims, not connected to NATS\n"
    );
    assert_eq!(super::cluster::leases(&status), "");
}
