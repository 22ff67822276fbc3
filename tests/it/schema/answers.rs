//! The other commands' answers, with everything in them and with nothing.

use std::net::IpAddr;

use jims::control::past::{Hole, Past, SessionThen};
use jims::control::protocol::{
    CollectorChanged, CollectorStatus, DeviceSession, Ended, Evidence, Explained, Ignored, Invited,
    Kinds, KnownDevice, KnownUser, LogOff, PastSession, PointView, Probed, ProbedStep, Query,
    Refreshed, Said, Session, Told, timestamp,
};
use jims::identity::time::UtcMillis;
use serde_json::json;

use super::status::collector;
use super::{check_both_ways, json as value};

/// The time of everything here.
pub(super) fn at() -> jiff::Timestamp {
    timestamp(UtcMillis(1_764_000_000_123))
}

fn address() -> IpAddr {
    "10.1.2.50".parse().expect("address")
}

fn evidence() -> Evidence {
    Evidence {
        producer: "dc1".into(),
        record: "4768#12".into(),
        strength: "strong".into(),
        occurred_at: at(),
        received_at: at(),
    }
}

fn device_session() -> DeviceSession {
    DeviceSession {
        domain: "corp.example.com".into(),
        groups: vec!["workstations".into()],
        os: Some("Windows 11".into()),
        os_version: Some("10.0".into()),
        since: at(),
        last_evidence: evidence(),
        deadline: at(),
    }
}

fn session() -> Session {
    Session {
        address: address(),
        user: Some("alice".into()),
        domain: "corp.example.com".into(),
        device: Some("ws-0042".into()),
        groups: vec!["staff".into()],
        since: at(),
        last_evidence: evidence(),
        deadline: at(),
        state: "unconfirmed".into(),
        doubt: Some("its source is down".into()),
        then: "a probe decides".into(),
        also_at: vec!["2001:db8::7".parse().expect("address")],
        standing: Some("in-directory".into()),
        device_session: Some(device_session()),
    }
}

fn bare_session() -> Session {
    let device_session = DeviceSession {
        os: None,
        os_version: None,
        ..device_session()
    };
    Session {
        user: None,
        device: None,
        state: "active".into(),
        doubt: None,
        then: String::new(),
        also_at: Vec::new(),
        standing: None,
        device_session: Some(device_session),
        ..session()
    }
}

fn user() -> KnownUser {
    KnownUser {
        user: "alice".into(),
        domain: "corp.example.com".into(),
        groups: vec!["staff".into()],
        standing: "in-directory".into(),
        addresses: vec![address()],
    }
}

fn device() -> KnownDevice {
    KnownDevice {
        device: "ws-0042".into(),
        domain: "corp.example.com".into(),
        groups: vec!["workstations".into()],
        os: Some("Windows 11".into()),
        os_version: Some("10.0".into()),
        addresses: vec![address()],
    }
}

fn past_session() -> PastSession {
    PastSession {
        address: address(),
        user: "corp.example.com\\bob".into(),
        at: at(),
        reason: "logoff".into(),
        by: "dc1".into(),
    }
}

fn said() -> Said {
    Said {
        what: "logon".into(),
        subject: Some("corp.example.com\\alice".into()),
        evidence: evidence(),
        source: Some("dc1.corp.example.com".into()),
        effect: "holds".into(),
        why: "strong evidence displaces all".into(),
    }
}

fn told() -> Told {
    Told {
        name: "srx".into(),
        protocol: "query".into(),
        state: "behind".into(),
        entry: "login".into(),
        behind: Some(2),
        last: Some(at()),
    }
}

fn explained() -> Explained {
    let without = Said {
        subject: None,
        source: None,
        ..said()
    };
    let never = Told {
        behind: None,
        last: None,
        ..told()
    };
    Explained {
        address: address(),
        user: vec![said()],
        device: vec![without],
        before: vec![past_session()],
        ignored: vec![Ignored {
            at: at(),
            count: 2,
            subject: "corp.example.com\\carol".into(),
            producer: "dc1".into(),
            record: "4769#9".into(),
            reason: "weaker".into(),
            why: "weak displaces only weak".into(),
        }],
        told: vec![told(), never],
    }
}

fn query() -> Query {
    Query {
        who: "alice".into(),
        at: at(),
        sessions: vec![session(), bare_session()],
        users: vec![user()],
        devices: vec![device()],
        ended: vec![past_session()],
        explained: vec![explained()],
        remark: None,
        truncated: false,
        point: Some(PointView {
            name: "srx".into(),
            report_entries: vec![json!({ "ip-address": "10.1.2.50" })],
            document: Some("<userfw-entries/>".into()),
        }),
    }
}

fn query_of_one_that_asks() -> Query {
    let point = query().point.map(|point| PointView {
        document: None,
        ..point
    });
    Query { point, ..query() }
}

fn empty_query() -> Query {
    Query {
        sessions: Vec::new(),
        users: Vec::new(),
        devices: Vec::new(),
        ended: Vec::new(),
        explained: Vec::new(),
        remark: Some("neither the table nor a directory has that name".into()),
        point: None,
        ..query()
    }
}

#[test]
fn a_question_about_somebody_is_answered_as_its_schema_says() {
    check_both_ways(
        "query-user",
        &[
            value(query()),
            value(query_of_one_that_asks()),
            value(empty_query()),
        ],
    );
}

#[test]
fn a_log_off_is_as_its_schema_says() {
    let ended = |user: Option<&str>, device: Option<&str>| Ended {
        address: address(),
        user: user.map(str::to_owned),
        device: device.map(str::to_owned),
        domain: "corp.example.com".into(),
    };
    let log_off = |ended| LogOff {
        who: "alice".into(),
        ended,
    };
    let full = log_off(vec![ended(Some("alice"), Some("ws")), ended(None, None)]);
    check_both_ways("log-off", &[value(full), value(log_off(Vec::new()))]);
}

#[test]
fn a_refresh_is_as_its_schema_says() {
    let refreshed = Refreshed {
        point: "srx".into(),
        begun: true,
        detail: "100 entries".into(),
    };
    check_both_ways("refresh", &[value(refreshed)]);
}

fn step() -> ProbedStep {
    ProbedStep {
        name: "name".into(),
        ok: false,
        ms: 3,
        detail: "there is no such name".into(),
        remedy: "look at DNS".into(),
    }
}

#[test]
fn a_probe_is_as_its_schema_says() {
    let full = Probed {
        target: "10.1.2.50".into(),
        kind: "pc".into(),
        ok: true,
        answer: Some("same-user".into()),
        users: vec!["CORP\\alice".into()],
        steps: vec![step()],
    };
    let bare = Probed {
        kind: "directory".into(),
        answer: None,
        users: Vec::new(),
        ..full.clone()
    };
    check_both_ways("probe", &[value([full, bare]), json!([])]);
}

#[test]
fn an_onboarding_is_as_its_schema_says() {
    let invited = Invited {
        name: "branch-1".into(),
        code: "JIMS1-CODE".into(),
        url: "https://jims.example.com".into(),
        url_guessed: true,
        fingerprint: "ab".repeat(32),
        expires: at(),
    };
    let changed = CollectorChanged {
        name: "branch-1".into(),
        done: true,
        detail: "removed".into(),
        left: Some(Kinds {
            domains: 1,
            users: 2,
            devices: 3,
            groups: 4,
            sessions: 5,
        }),
    };
    let no = CollectorChanged {
        done: false,
        left: None,
        ..changed.clone()
    };
    let listed = json!({ "collectors": [collector(), CollectorStatus::default()] });
    let joined = json!({
        "ending": "onboarded",
        "target": "hq",
        "collector": "branch-1",
        "credential_file": null,
        "steps": [step()],
    });
    let documents = [value(invited), value(changed), value(no), listed, joined];
    check_both_ways("onboard", &documents);
}

#[test]
fn who_was_there() {
    let gone = SessionThen {
        address: address(),
        kind: "user".into(),
        name: "alice".into(),
        domain: "corp.example.com".into(),
        device: Some("corp.example.com\\ws-0042$".into()),
        since: at(),
        until: Some(at()),
        ended: Some(at()),
        stale: true,
        reason: Some("displaced".into()),
        by: Some("dc1: 4768 #13".into()),
        next: Some("corp.example.com\\bob".into()),
        evidence: evidence(),
    };
    let there = SessionThen {
        kind: "device".into(),
        device: None,
        until: None,
        ended: None,
        stale: false,
        reason: None,
        by: None,
        next: None,
        ..gone.clone()
    };
    let hole = Hole {
        from: Some(at()),
        until: Some(at()),
        why: "lost".into(),
        lost: Some(12),
    };
    let off = Hole {
        from: None,
        until: None,
        why: "off".into(),
        lost: None,
    };
    let past = Past {
        who: "alice".into(),
        at: at(),
        now: at(),
        sessions: vec![gone, there],
        kept: true,
        begins: Some(at()),
        holes: vec![hole, off],
        damaged: vec!["20261120T140500123Z.jh: a block of it is damaged".into()],
        truncated: false,
    };
    let nothing = Past {
        sessions: Vec::new(),
        begins: None,
        ..past.clone()
    };
    check_both_ways("query-user-at", &[value(past), value(nothing)]);
}
