//! How everything is, and what an operator should act on.
//!
//! Collects what the rooms report about themselves into one answer; decides nothing but what deserves attention.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::protocol::{
    Attention, CollectorState, CollectorStatus, DirectoryTotals, EventTotals, FaultStatus,
    PushState, PushStatus, ServerStatus, SourceStatus, Status, StrangerStatus, ThisCollector,
    Totals, timestamp,
};
use super::server::{Desk, Site};
use crate::identity::time::UtcMillis;
use crate::net::local_socket::Access;
use crate::runtime::report::{Fact, Health, Kind, Reading};
use crate::runtime::strangers::{Stranger, Tried};
use crate::writer::PulseReading;

/// How many strangers get a line of their own under attention; the list of strangers has them all.
const STRANGERS_SHOWN: usize = 5;

/// A line that is cut for less, or a Server that restarts, wants nobody.
const PUSH_OUTAGE_SECONDS: i64 = 60;

/// The whole status.
pub(super) fn status<S: Site>(desk: &Desk<S>, now: UtcMillis) -> Status {
    let totals = desk.reader.read().totals();
    let readings = desk.reports.read();
    let server = desk.site.server();
    let strangers = desk.strangers.read();
    let waiting_for = desk.readiness.waiting_for();
    let ready = desk.readiness.is_ready();
    // A process that receives none has none.
    let collectors = desk.site.collectors().unwrap_or_default();
    let pushes = desk.site.pushes();
    let mut attention = Vec::new();
    if !ready {
        attention.push(not_ready(&waiting_for));
    }
    attention.extend(readings.iter().filter_map(faulty));
    attention.extend(server.as_ref().and_then(plain_http));
    attention.extend(owner_only(&desk.access));
    attention.extend(desk.site.attention());
    attention.extend(collectors.iter().flat_map(collector_troubles));
    attention.extend(pushes.iter().filter_map(|push| push_trouble(push, now)));
    attention.extend(unknown_addresses(&strangers));
    let of_kind = |kind: Kind| -> Vec<SourceStatus> {
        let wanted = readings.iter().filter(|r| r.kind == kind);
        wanted.map(|reading| source(reading, now)).collect()
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: timestamp(now),
        collector: ThisCollector {
            name: desk.collector.name.clone(),
            description: desk.collector.description.clone(),
            state: if ready { "ready" } else { "starting" }.to_owned(),
            waiting_for,
            started: timestamp(desk.started),
        },
        totals: Totals {
            domains: totals.domains,
            users: totals.users,
            devices: totals.devices,
            groups: totals.groups,
            sessions: totals.sessions,
        },
        directory: DirectoryTotals {
            users: totals.directory_users,
            devices: totals.directory_devices,
            groups: totals.groups,
        },
        events: events(desk.pulse.read(now), desk.intake.waiting()),
        directories: of_kind(Kind::Directory),
        producers: [
            Kind::EventLog,
            Kind::Syslog,
            Kind::FirewallPush,
            Kind::PcProbe,
        ]
        .map(of_kind)
        .concat(),
        server,
        enforcement_points: desk.site.points(),
        pushes,
        collectors,
        strangers: strangers.iter().map(stranger).collect(),
        attention,
        cluster: desk.site.cluster(),
    }
}

fn events(pulse: PulseReading, queued: usize) -> EventTotals {
    let millis = |lag: Duration| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
    EventTotals {
        total: pulse.total,
        ignored: pulse.ignored,
        lag_ms: pulse.slowest.map(millis),
        queued,
    }
}

fn source(reading: &Reading, now: UtcMillis) -> SourceStatus {
    let by_reason = |counts: &BTreeMap<&'static str, u64>| {
        let owned = counts
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count));
        owned.collect()
    };
    SourceStatus {
        name: reading.name.clone(),
        kind: kind(reading.kind).to_owned(),
        state: reading.health.as_str().to_owned(),
        detail: reading.detail.clone(),
        received: reading.received,
        interpreted: reading.interpreted,
        ignored: by_reason(&reading.ignored),
        dropped: by_reason(&reading.dropped),
        per_second: (reading.rate.per_second(now) * 10.0).round() / 10.0,
        facts: (reading.facts.iter())
            .map(|(name, fact)| ((*name).to_owned(), json(fact)))
            .collect(),
        last_received: reading.last_received.map(timestamp),
        fault: reading.fault.as_ref().map(|fault| FaultStatus {
            message: fault.message.clone(),
            remedy: fault.remedy.clone(),
            since: timestamp(fault.since),
        }),
    }
}

fn json(fact: &Fact) -> serde_json::Value {
    match fact {
        Fact::Text(text) => text.as_str().into(),
        Fact::Number(number) => (*number).into(),
        Fact::Time(at) => timestamp(*at).to_string().into(),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::EventLog => "event-source",
        Kind::Syslog => "syslog",
        Kind::FirewallPush => "firewall-push",
        Kind::Directory => "directory",
        Kind::PcProbe => "pc-probe",
        Kind::Snapshot => "snapshot",
    }
}

fn stranger(stranger: &Stranger) -> StrangerStatus {
    StrangerStatus {
        address: stranger.address,
        tried: match stranger.tried {
            Tried::Syslog => "syslog",
            Tried::Query => "query",
            Tried::Push => "push",
        }
        .to_owned(),
        count: stranger.count,
        last: timestamp(stranger.last),
        paste: paste(stranger.tried, stranger.address),
    }
}

/// A table for the configuration that would make the stranger known.
fn paste(tried: Tried, address: IpAddr) -> String {
    let name: String = address
        .to_string()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    match tried {
        Tried::Syslog => format!(
            "[[syslog_source]]\nname = \"sender-{name}\"\nsenders = [\"{address}\"]\n\
             templates = [\"…\"] # `jims syslog-test LINE` says which one reads its lines"
        ),
        Tried::Push => format!(
            "[[firewall_push]]\nname = \"portal-{name}\"\nsenders = [\"{address}\"]\nuser = \"portal-{name}\"\n\
             password_file = \"/etc/jims/portal-{name}.secret\"\nnetworks = [\"…\"] # the addresses of its users"
        ),
        Tried::Query => format!(
            "[[enforcement_point]]\nname = \"firewall-{name}\"\naddresses = [\"{address}\"]\n\
             client_id = \"firewall-{name}\"\nclient_secret_file = \"/etc/jims/firewall-{name}.secret\""
        ),
    }
}

fn not_ready(waiting_for: &[String]) -> Attention {
    let on = if waiting_for.is_empty() {
        "the start to finish".to_owned()
    } else {
        waiting_for.join(", ")
    };
    Attention {
        what: format!("not ready, firewalls are answered 503: waiting for {on}"),
        remedy: "wait; a directory that cannot be read is given up after 30 s".to_owned(),
        since: None,
    }
}

fn faulty(reading: &Reading) -> Option<Attention> {
    let named = format!(
        "{} `{}`",
        kind(reading.kind).replace('-', " "),
        reading.name
    );
    if let Some(fault) = &reading.fault {
        return Some(Attention {
            what: format!("{named} is {}: {}", reading.health.as_str(), fault.message),
            remedy: fault.remedy.clone(),
            since: Some(timestamp(fault.since)),
        });
    }
    matches!(reading.health, Health::Degraded | Health::Down).then(|| Attention {
        what: format!("{named} is {}", reading.health.as_str()),
        remedy: "look at the log of `jims run`".to_owned(),
        since: None,
    })
}

fn plain_http(server: &ServerStatus) -> Option<Attention> {
    (!server.debug_http.is_empty()).then(|| Attention {
        what: format!(
            "plain HTTP is spoken on {}: secrets and names pass in clear text",
            server.debug_http.join(", ")
        ),
        remedy: "remove `debug_http_listen` from [server] when the test is over".to_owned(),
        since: None,
    })
}

/// What an operator of the Server should know of a Collector.
fn collector_troubles(collector: &CollectorStatus) -> Vec<Attention> {
    if !collector.needs_attention() {
        return Vec::new();
    }
    let name = &collector.name;
    let disconnected = collector.state == CollectorState::Disconnected;
    let lost = disconnected.then(|| Attention {
        what: format!("Collector `{name}` is disconnected: its sessions are unconfirmed"),
        remedy: format!(
            "on the Collector: jims status; to forget it: jims onboard --remove {name}"
        ),
        since: collector.since.or(collector.last_update),
    });
    let others = collector.attention.iter().map(|what| Attention {
        what: format!("Collector `{name}`: {what}"),
        remedy: "jims status --collectors".to_owned(),
        since: None,
    });
    lost.into_iter().chain(others).collect()
}

/// A push that an operator should look at: a short outage wants nobody, a refusal at once.
#[must_use]
pub fn push_trouble(push: &PushStatus, now: UtcMillis) -> Option<Attention> {
    let name = &push.name;
    if push.state == PushState::Pending {
        return Some(Attention {
            what: format!("`{name}` waits for the end of its onboarding"),
            remedy: format!("jims onboard {}", push.url),
            since: None,
        });
    }
    let fault = push.fault.as_ref()?;
    let lasts = timestamp(now).as_second() - fault.since.as_second();
    let refused = push.state == PushState::Refused;
    (refused || lasts >= PUSH_OUTAGE_SECONDS).then(|| Attention {
        what: format!("cannot push to `{name}`: {}", fault.message),
        remedy: fault.remedy.clone(),
        since: Some(fault.since),
    })
}

fn owner_only(access: &Access) -> Option<Attention> {
    let Access::OwnerOnly { reason } = access else {
        return None;
    };
    Some(Attention {
        what: format!("only the user that runs jims can open the control socket: {reason}"),
        remedy: "create the group and restart, or name another `group` in [control]".to_owned(),
        since: None,
    })
}

fn unknown_addresses(strangers: &[Stranger]) -> Vec<Attention> {
    let mut list: Vec<Attention> = strangers
        .iter()
        .take(STRANGERS_SHOWN)
        .map(|s| {
            let did = match s.tried {
                Tried::Syslog => "sends syslog",
                Tried::Query => "asks for reports",
                Tried::Push => "pushes logons",
            };
            Attention {
                what: format!(
                    "{} {did} and is not configured ({} times)",
                    s.address, s.count
                ),
                remedy: paste(s.tried, s.address),
                since: None,
            }
        })
        .collect();
    let more = strangers.len().saturating_sub(STRANGERS_SHOWN);
    if more > 0 {
        list.push(Attention {
            what: format!("{more} more addresses sent or asked and are not configured"),
            remedy: "`jims status --json` lists them under `strangers`".to_owned(),
            since: None,
        });
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_800_000_000_000);

    fn push(name: &str, state: PushState, failing_for: Option<u64>) -> PushStatus {
        PushStatus {
            name: name.into(),
            url: "https://jims.example.com".into(),
            state,
            fault: failing_for.map(|seconds| FaultStatus {
                message: "cannot connect".into(),
                remedy: "look".into(),
                since: timestamp(NOW.before(Duration::from_secs(seconds))),
            }),
            ..PushStatus::default()
        }
    }

    #[test]
    fn a_short_cut_wants_nobody_and_a_refusal_at_once() {
        let all = [
            push("well", PushState::Following, None),
            push("short", PushState::Failing, Some(59)),
            push("long", PushState::Failing, Some(60)),
            push("refused", PushState::Refused, Some(0)),
            push("half", PushState::Pending, None),
        ];
        let troubles = all.iter().filter_map(|push| push_trouble(push, NOW));
        let told: Vec<(String, String)> = troubles.map(|a| (a.what, a.remedy)).collect();
        let said = |what: &str, remedy: &str| (what.to_owned(), remedy.to_owned());
        assert_eq!(
            told,
            [
                said("cannot push to `long`: cannot connect", "look"),
                said("cannot push to `refused`: cannot connect", "look"),
                said(
                    "`half` waits for the end of its onboarding",
                    "jims onboard https://jims.example.com"
                ),
            ]
        );
    }

    #[test]
    fn each_trouble_of_a_collector_is_said_and_an_unused_invitation_is_none() {
        let collector = CollectorStatus {
            name: "branch-1".into(),
            state: CollectorState::Disconnected,
            attention: vec!["its clock is 75 s behind ours".into()],
            ..CollectorStatus::default()
        };
        let told = |collector: &CollectorStatus| -> Vec<String> {
            let troubles = collector_troubles(collector).into_iter();
            troubles.map(|trouble| trouble.what).collect()
        };
        assert_eq!(
            told(&collector),
            [
                "Collector `branch-1` is disconnected: its sessions are unconfirmed",
                "Collector `branch-1`: its clock is 75 s behind ours",
            ]
        );
        for state in [CollectorState::Invited, CollectorState::Disabled] {
            let quiet = CollectorStatus {
                state,
                invitation_expires: Some(timestamp(NOW.before(Duration::from_secs(9)))),
                ..collector.clone()
            };
            assert_eq!(told(&quiet), Vec::<String>::new());
        }
    }
}
