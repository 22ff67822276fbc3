//! What a service could have told: the same for every test of this room.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::message::{Message, Question};
use super::model::{Model, Setting};
use super::theme::Theme;
use super::update::update;
use crate::control::protocol::{
    Answer, Attention, Browse, CollectorState, CollectorStatus, DeviceSession, DirectoryTotals,
    EventTotals, Evidence, Explained, FaultStatus, Ignored, Kinds, Lag, NameKind, NameRow,
    NamesPage, PastSession, PointStatus, PushState, PushStatus, Query, RefusedStatus, Said,
    Session, SessionRow, SessionsPage, SourceStatus, Status, Tail, ThisCollector, Told, Totals,
    WebApiStatus,
};

/// The instant of every fixture, and so many seconds from it.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_764_000_000 + seconds).expect("in range")
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn utf8() -> Theme {
    Theme {
        colour: true,
        utf8: true,
    }
}

pub(super) fn ascii() -> Theme {
    Theme {
        colour: false,
        utf8: false,
    }
}

/// A dashboard that has connected and heard nothing yet.
pub(super) fn connected(theme: Theme, size: (u16, u16)) -> Model {
    let setting = Setting {
        ends: None,
        socket: "/run/jims/control.sock".into(),
    };
    let mut model = Model::new(theme, setting, size, at(0));
    update(&mut model, Message::Regained);
    model
}

/// A dashboard that has heard this status.
pub(super) fn with(status: Status, theme: Theme, size: (u16, u16)) -> Model {
    let mut model = connected(theme, size);
    hear(
        &mut model,
        Question::Status,
        Answer::Status(Box::new(status)),
    );
    model
}

/// A dashboard of a busy site with troubles.
pub(super) fn busy(size: (u16, u16)) -> Model {
    let mut model = with(status(), utf8(), size);
    // Two minutes of readings, a wave.
    for second in 1..=120_u64 {
        let mut next = status();
        next.events.total += second * 10_000 + (second % 12) * (second % 12) * 400;
        next.events.lag_ms = Some(60 + (second * 37) % 90);
        model.elapsed = Duration::from_secs(second);
        hear(&mut model, Question::Status, Answer::Status(Box::new(next)));
    }
    model
}

/// An answer arrives.
pub(super) fn hear(model: &mut Model, question: Question, answer: Answer) {
    let message = Message::Answered {
        question,
        answer: Ok(Box::new(answer)),
    };
    update(model, message);
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
        last_received: Some(at(-3)),
        fault: None,
    }
}

fn event_source() -> SourceStatus {
    SourceStatus {
        detail: "follows the Security log".into(),
        per_second: 9_870.3,
        facts: BTreeMap::from([
            ("host".into(), "dc1.corp.example.com".into()),
            ("delivery".into(), "push".into()),
            ("authentication".into(), "kerberos".into()),
            ("lag_ms".into(), 84.into()),
            ("skew_ms".into(), (-61_000).into()),
            ("record".into(), 9_876_543_210_i64.into()),
            ("record_time".into(), "2025-11-24T15:59:57Z".into()),
        ]),
        ..source("dc1", "event-source", "active")
    }
}

fn fault(message: &str, remedy: &str) -> Option<FaultStatus> {
    Some(FaultStatus {
        message: message.into(),
        remedy: remedy.into(),
        since: at(-720),
    })
}

/// A firewall that asks.
fn asking() -> PointStatus {
    PointStatus {
        name: "srx-branch-1".into(),
        protocol: "query".into(),
        client_id: "srx-branch-1".into(),
        addresses: vec!["192.0.2.1".into()],
        state: "active".into(),
        last_query: Some(at(-4)),
        last_address: Some(address("192.0.2.1")),
        last_token: Some(at(-3_000)),
        last_batch: Some(at(-4)),
        last_ip: Some(at(-400)),
        last_user: None,
        last_full: Some(at(-86_400)),
        behind: Some(12),
        answered: 12_345,
        entries_sent: 104_331,
        refused: 2,
        last_refused: Some(RefusedStatus {
            at: at(-9_000),
            reason: "token".into(),
        }),
        tokens: 1,
        web_api: None,
    }
}

fn pushed_to() -> PointStatus {
    let web_api = WebApiStatus {
        url: "https://192.0.2.2:8443".into(),
        state: "refused".into(),
        entries_sent: 1_204,
        skipped: 3,
        cut: 0,
        behind: 1_208_331,
        last_success: Some(at(-7_300)),
        last_full: Some(at(-90_000)),
        fault: fault("user or password is not accepted", "set password_file"),
    };
    PointStatus::only_pushed_to("srx-branch-2".into(), web_api)
}

fn collector() -> CollectorStatus {
    CollectorStatus {
        name: "branch-1".into(),
        identifier: "jims-branch".into(),
        version: "0.1.0".into(),
        description: "Zürich".into(),
        state: CollectorState::Disconnected,
        since: Some(at(-95)),
        last_update: Some(at(-95)),
        address: Some(address("192.0.2.30")),
        totals: Kinds {
            sessions: 1_204,
            users: 1_100,
            devices: 900,
            groups: 40,
            domains: 1,
        },
        lag: Some(Lag {
            behind: 3,
            seconds: Some(1),
        }),
        onboarded_at: Some(at(-400_000)),
        clock_difference_ms: Some(-75_000),
        attention: vec!["its clock is 75 s behind ours".into()],
        networks: vec!["10.9.0.0/16".into()],
        ..CollectorStatus::default()
    }
}

fn push() -> PushStatus {
    PushStatus {
        name: "hq".into(),
        url: "https://hq.example.com".into(),
        state: PushState::Resynchronising,
        behind: 12_000,
        of: Some(1_000_000),
        last_push: Some(at(-1)),
        pushed: Kinds {
            sessions: 988_000,
            ..Kinds::default()
        },
        fault: None,
        certificate_expires: Some(at(86_400 * 60)),
        certificate_fingerprint: Some("ab".repeat(32)),
    }
}

fn attention() -> Vec<Attention> {
    let one = |what: &str, remedy: &str, since| Attention {
        what: what.into(),
        remedy: remedy.into(),
        since,
    };
    vec![
        one(
            "syslog `vpn` is down: port 514 is in use",
            "stop what listens there (ss -ulpn), or name another port in [syslog]",
            Some(at(-720)),
        ),
        one(
            "Collector `branch-1` is disconnected: its sessions are unconfirmed",
            "on the Collector: jims status; to forget it: jims onboard --remove branch-1",
            Some(at(-95)),
        ),
        one(
            "198.51.100.66 sends syslog and is not configured (1204 times)",
            "[[syslog_source]]\nname = \"sender-198-51-100-66\"\nsenders = [\"198.51.100.66\"]",
            None,
        ),
        one(
            "plain HTTP is spoken on 192.0.2.9:8080: secrets and names pass in clear text",
            "remove `debug_http_listen` from [server] when the test is over",
            None,
        ),
    ]
}

/// A busy site with troubles.
pub(super) fn status() -> Status {
    let vpn = SourceStatus {
        per_second: 0.0,
        last_received: Some(at(-720)),
        dropped: BTreeMap::from([("queue-full".into(), 17)]),
        fault: fault("port 514 is in use", "stop what listens there (ss -ulpn)"),
        ..source("vpn", "syslog", "down")
    };
    Status {
        totals: Totals {
            domains: 3,
            users: 980_112,
            devices: 1_100_345,
            groups: 12_400,
            sessions: 1_204_331,
        },
        directory: DirectoryTotals {
            users: 1_000_000,
            devices: 1_100_345,
            groups: 12_400,
        },
        events: EventTotals {
            total: 98_765_432,
            ignored: 2_100_000,
            lag_ms: Some(84),
            queued: 0,
        },
        directories: vec![SourceStatus {
            detail: "1,000,000 users, every 30 s".into(),
            ..source("corp", "directory", "active")
        }],
        producers: vec![
            event_source(),
            vpn,
            source("wifi-nürnberg", "syslog", "active"),
            source("clearpass", "firewall-push", "quiet"),
        ],
        enforcement_points: vec![asking(), pushed_to()],
        pushes: vec![push()],
        collectors: vec![collector()],
        attention: attention(),
        ..quiet_status()
    }
}

/// A service to which nothing is connected.
pub(super) fn quiet_status() -> Status {
    Status {
        version: "0.1.0".into(),
        at: at(0),
        collector: ThisCollector {
            name: "hq".into(),
            description: "head office".into(),
            state: "ready".into(),
            waiting_for: Vec::new(),
            started: at(-11_000),
        },
        totals: Totals::default(),
        directory: DirectoryTotals::default(),
        events: EventTotals::default(),
        directories: Vec::new(),
        producers: Vec::new(),
        server: None,
        enforcement_points: Vec::new(),
        pushes: Vec::new(),
        collectors: Vec::new(),
        strangers: Vec::new(),
        attention: Vec::new(),
        cluster: None,
    }
}

fn session_row(address_text: &str, user: Option<&str>, state: &str, age: i64) -> SessionRow {
    SessionRow {
        address: address(address_text),
        user: user.map(str::to_owned),
        domain: "corp.example.com".into(),
        device: Some("ws-0042".into()),
        since: at(-age * 40),
        producer: "dc1".into(),
        seen: at(-age),
        deadline: at(80_000 - age),
        state: state.into(),
    }
}

/// A page in the middle of a million.
pub(super) fn sessions() -> SessionsPage {
    let rows = vec![
        session_row("10.1.2.50", Some("alice"), "active", 12),
        session_row("10.1.2.51", Some("łukasz.wiśniewski"), "unconfirmed", 70),
        session_row("10.1.9.7", None, "active", 800),
        session_row("2001:db8:0:17::2a", Some("山田太郎"), "active", 4_000),
        session_row("10.44.0.9", Some("svc-terminal"), "shared", 60_000),
    ];
    SessionsPage {
        rows,
        total: 1_000_000,
        before: 12_344,
        first: "place-1".into(),
        last: "place-5".into(),
        took_ms: 3,
    }
}

/// A name with two sessions.
pub(super) fn name(name: &str) -> NameRow {
    NameRow {
        name: name.into(),
        domain: "corp.example.com".into(),
        standing: "in-directory".into(),
        addresses: vec![address("10.1.2.50"), address("10.1.9.7")],
        sessions: 2,
        groups: 14,
    }
}

pub(super) fn names(kind: NameKind) -> NamesPage {
    let mut rows = match kind {
        NameKind::Users => vec![name("alice"), name("łukasz.wiśniewski"), name("bob")],
        NameKind::Devices => vec![name("ws-0042"), name("ws-0043")],
        NameKind::Groups => vec![name("Domain Users"), name("Engineering")],
    };
    if let Some(last) = rows.last_mut() {
        last.addresses.clear();
        last.sessions = 0;
        last.standing = "gone".into();
    }
    if kind == NameKind::Groups {
        rows.iter_mut().for_each(|row| row.addresses.clear());
    }
    NamesPage {
        total: 1_000_000,
        before: 0,
        first: "a".into(),
        last: "z".into(),
        took_ms: 2,
        rows,
    }
}

/// A line about an event.
pub(super) fn outcome(subject: &str, verdict: &str, detail: &str) -> Tail {
    Tail::Outcome {
        occurred_at: at(-2),
        producer: "vpn".into(),
        record: "juniper-secure-connect/up".into(),
        address: Some(address("10.1.2.50")),
        subject: subject.into(),
        verdict: verdict.into(),
        detail: detail.into(),
    }
}

pub(super) fn tail() -> Vec<Tail> {
    vec![
        outcome(
            "corp.example.com\\alice",
            "logged-on",
            "displaced corp.example.com\\bob",
        ),
        outcome("corp.example.com\\carol", "renewed", ""),
        outcome("corp.example.com\\svc-backup", "ignored", "excluded-user"),
        outcome("corp.example.com\\dave", "logged-off", "expired"),
        Tail::Unparsed {
            received_at: at(-1),
            source: "vpn".into(),
            line: "odd line \\u{1b}[2J".into(),
            reason: "no-rule".into(),
        },
        Tail::Skipped { count: 1_204 },
    ]
}

fn evidence(producer: &str, strength: &str, age: i64) -> Evidence {
    Evidence {
        producer: producer.into(),
        record: "4624/9876543210".into(),
        strength: strength.into(),
        occurred_at: at(-age),
        received_at: at(-age + 1),
    }
}

fn said(what: &str, subject: &str, evidence: Evidence, effect: &str, why: &str) -> Said {
    Said {
        what: what.into(),
        subject: Some(subject.into()),
        evidence,
        source: Some("dc1.corp.example.com".into()),
        effect: effect.into(),
        why: why.into(),
    }
}

fn explained() -> Explained {
    let told = |name: &str, protocol: &str, state: &str, behind| Told {
        name: name.into(),
        protocol: protocol.into(),
        state: state.into(),
        entry: "login corp.example.com\\alice (12 roles)".into(),
        behind,
        last: Some(at(-4)),
    };
    Explained {
        address: address("10.1.2.50"),
        user: vec![
            said(
                "logon",
                "corp.example.com\\bob",
                evidence("dc1", "strong", 9_000),
                "displaced",
                "alice was seen later with strong evidence",
            ),
            said(
                "weaker-logon",
                "corp.example.com\\carol",
                evidence("wifi-nürnberg", "weak", 700),
                "lost",
                "weak evidence displaces only weak evidence",
            ),
            said(
                "logon",
                "corp.example.com\\alice",
                evidence("dc1", "strong", 480),
                "holds",
                "strong evidence displaces all; the latest wins",
            ),
        ],
        device: vec![said(
            "logon",
            "corp.example.com\\ws-0042",
            evidence("dc1", "strong", 470),
            "holds",
            "the device's own Kerberos evidence",
        )],
        before: vec![PastSession {
            address: address("10.1.2.50"),
            user: "corp.example.com\\bob".into(),
            at: at(-480),
            reason: "displaced".into(),
            by: "dc1".into(),
        }],
        ignored: vec![Ignored {
            at: at(-30),
            count: 14,
            subject: "corp.example.com\\svc-backup".into(),
            producer: "dc1".into(),
            record: "4624/9876543999".into(),
            reason: "excluded-user".into(),
            why: "`svc-*` is left out by [filter] exclude_users".into(),
        }],
        told: vec![
            told("srx-branch-1", "query", "told", Some(0)),
            told("srx-branch-2", "web-api", "behind", Some(1_208_331)),
        ],
    }
}

/// Everything of one address.
pub(super) fn query() -> Query {
    let session = Session {
        address: address("10.1.2.50"),
        user: Some("alice".into()),
        domain: "corp.example.com".into(),
        device: Some("ws-0042".into()),
        groups: vec!["Engineering".into(), "Staff".into()],
        since: at(-480),
        last_evidence: evidence("dc1", "strong", 480),
        deadline: at(85_920),
        state: "active".into(),
        doubt: None,
        then: "a PC probe asks ws-0042 who is signed on".into(),
        also_at: vec![address("10.1.9.7")],
        standing: Some("in-directory".into()),
        device_session: Some(DeviceSession {
            domain: "corp.example.com".into(),
            groups: vec!["Workstations".into()],
            os: Some("Windows 11 Enterprise".into()),
            os_version: Some("10.0 (22631)".into()),
            since: at(-470),
            last_evidence: evidence("dc1", "strong", 470),
            deadline: at(85_930),
        }),
    };
    Query {
        who: "10.1.2.50".into(),
        at: at(0),
        sessions: vec![session],
        users: Vec::new(),
        devices: Vec::new(),
        ended: Vec::new(),
        explained: vec![explained()],
        remark: None,
        truncated: false,
        point: None,
    }
}

/// The page that is asked for first on a screen.
pub(super) fn first_page(model: &Model) -> Browse {
    Browse {
        rows: model.list_rows(),
        ..Browse::default()
    }
}
