//! `jims status`: how everything is, and what needs attention.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ask;
use super::exit::{Exit, Failure};
use super::render::{HEADING, WARNING, count, field, paragraph, relative, span, span_ms, table};
use crate::control::protocol::{
    Answer, CollectorStatus, PointStatus, PushStatus, Request, ServerStatus, SourceStatus, Status,
    StrangerStatus, WebApiStatus,
};
use crate::tui;

/// Show totals, directories, producers, firewalls, strangers, and what needs attention
///
/// Exit codes: 0 all is well; 1 something needs attention; 2 the service does not answer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims status
  jims status --watch
  jims status --json | jq .totals
  jims status --collectors
  jims status --requests
  jims status --junos srx-branch-1
  jims status > /dev/null || echo 'look at jims'")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show the Collectors that push to this Server instead; exit code 1 if one needs attention
    #[arg(long, conflicts_with_all = ["requests", "junos"])]
    collectors: bool,
    /// Show what firewalls asked that was not understood instead; exit code 1 if there is any
    #[arg(long)]
    requests: bool,
    /// Watch it live on this terminal: sessions, producers, firewalls, what happens now; `?` shows the keys
    #[arg(long, conflicts_with_all = ["json", "collectors", "requests", "junos"])]
    watch: bool,
    /// Print what to type on the firewall of this enforcement point instead
    #[arg(long, value_name = "POINT", conflicts_with = "requests")]
    junos: Option<String>,
}

/// Asks and prints.
pub(super) fn run(
    args: &Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    if args.watch {
        return watch(config);
    }
    if args.collectors {
        return super::collectors::page(args.json, config, out);
    }
    if args.requests {
        return super::requests::run(args.json, config, out);
    }
    if let Some(point) = &args.junos {
        return super::junos::run(point, args.json, config, out);
    }
    let Answer::Status(status) = ask::ask(config, &Request::Status)? else {
        return Err(ask::unexpected());
    };
    if args.json {
        ask::print_json(&status, out)?;
    } else {
        write!(out, "{}", render(&status))?;
    }
    Ok(if status.attention.is_empty() {
        Exit::Yes
    } else {
        Exit::No
    })
}

/// Shows the dashboard until it is left. That is a success, whatever it showed.
fn watch(config: Option<&Path>) -> Result<Exit, Failure> {
    let options = tui::Options {
        socket: super::config_file::socket(config)?,
        colour: super::render::colour(),
        ends: None,
        notice: String::new(),
    };
    let shown = ask::block_on(tui::run(options, CancellationToken::new()))?;
    match shown {
        Ok(_ended) => Ok(Exit::Yes),
        Err(error) => Err(Failure::new(error.to_string(), error.remedy())),
    }
}

fn render(status: &Status) -> String {
    let mut text = head(status);
    let mut group = |title: &str, body: String| {
        if !body.is_empty() {
            text.push_str(&format!("\n{HEADING}{title}{HEADING:#}\n{body}"));
        }
    };
    group("Directories", directories(status));
    group("Producers", producers(status));
    group("Event sources", event_sources(status));
    group("PC probe", pc_probe(status));
    group(
        "Server",
        status.server.as_ref().map(server).unwrap_or_default(),
    );
    group("Enforcement points", points(status));
    group("Web API", pushed_to(status));
    group("Collectors", collectors(status));
    group("Pushes", pushes(status));
    group("Strangers", strangers(status));
    text.push_str(&attention(status));
    text
}

fn head(status: &Status) -> String {
    let collector = &status.collector;
    let up = status.at.as_second() - collector.started.as_second();
    let up = span(Duration::from_secs(u64::try_from(up).unwrap_or(0)));
    let mut title = format!("jims {} on {}", status.version, collector.name);
    if !collector.description.is_empty() {
        title.push_str(&format!(" ({})", collector.description));
    }
    let totals = &status.totals;
    let directory = &status.directory;
    let active = format!(
        "{} ({}, {}) in {}",
        count(totals.sessions, "session"),
        count(totals.users, "user"),
        count(totals.devices, "device"),
        count(totals.domains, "domain"),
    );
    let read = format!(
        "{}, {}, {}",
        count(directory.users, "user"),
        count(directory.devices, "device"),
        count(directory.groups, "group"),
    );
    let state = format!("{}, up {up}", collector.state);
    paragraph(&format!("{title}: {state}"))
        + &field(2, "active", 9, &active)
        + &field(2, "directory", 9, &read)
}

fn rows<T>(list: &[T], row: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    list.iter().map(row).collect()
}

fn when(at: Option<jiff::Timestamp>, status: &Status) -> String {
    at.map_or_else(|| "never".to_owned(), |at| relative(at, status.at))
}

fn directories(status: &Status) -> String {
    if status.directories.is_empty() {
        return String::new();
    }
    let row = |d: &SourceStatus| {
        vec![
            d.name.clone(),
            d.state.clone(),
            d.received.to_string(),
            when(d.last_received, status),
            d.detail.clone(),
        ]
    };
    let heading = ["NAME", "STATE", "READ", "LAST", "DETAIL"];
    table(2, &heading, &rows(&status.directories, row))
}

fn producers(status: &Status) -> String {
    if status.producers.is_empty() {
        return String::new();
    }
    let row = |p: &SourceStatus| {
        vec![
            p.name.clone(),
            p.state.clone(),
            p.received.to_string(),
            p.interpreted.to_string(),
            p.ignored.values().sum::<u64>().to_string(),
            p.dropped.values().sum::<u64>().to_string(),
            when(p.last_received, status),
        ]
    };
    let heading = [
        "NAME", "STATE", "RECEIVED", "EVENTS", "IGNORED", "DROPPED", "LAST",
    ];
    table(2, &heading, &rows(&status.producers, row))
}

/// What event sources know beside their counts.
fn event_sources(status: &Status) -> String {
    let sources: Vec<&SourceStatus> = (status.producers.iter())
        .filter(|p| p.kind == "event-source")
        .collect();
    if sources.is_empty() {
        return String::new();
    }
    let row = |p: &&SourceStatus| {
        let text = |name: &str| p.facts.get(name).and_then(|fact| fact.as_str());
        let number = |name: &str| p.facts.get(name).and_then(serde_json::Value::as_i64);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            p.name.clone(),
            or_none(text("delivery").map(str::to_owned)),
            or_none(text("authentication").map(str::to_owned)),
            format!("{:.1}", p.per_second),
            or_none(number("lag_ms").map(signed_ms)),
            or_none(number("skew_ms").map(signed_ms)),
            or_none(number("record").map(|record| record.to_string())),
        ]
    };
    let heading = ["NAME", "BY", "SIGN-ON", "PER S", "LAG", "CLOCK", "RECORD"];
    table(2, &heading, &rows(&sources, row))
}

fn pc_probe(status: &Status) -> String {
    let probes: Vec<&SourceStatus> = (status.producers.iter())
        .filter(|p| p.kind == "pc-probe")
        .collect();
    if probes.is_empty() {
        return String::new();
    }
    let row = |p: &&SourceStatus| {
        let number = |name: &str| p.facts.get(name).and_then(serde_json::Value::as_u64);
        let shown = |name: &str| number(name).unwrap_or_default().to_string();
        let oldest = number("oldest_waiting_ms").filter(|oldest| *oldest > 0);
        vec![
            shown("unconfirmed"),
            shown("running"),
            shown("waiting"),
            oldest.map_or_else(|| "-".to_owned(), span_ms),
            shown("answered_5m"),
            shown("refused_5m"),
            shown("unreachable_5m"),
            shown("silent_networks"),
        ]
    };
    let heading = [
        "IN DOUBT",
        "RUNNING",
        "WAITING",
        "OLDEST",
        "ANSWERED",
        "REFUSED",
        "NO ANSWER",
        "SILENT",
    ];
    table(2, &heading, &rows(&probes, row))
}

fn signed_ms(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    format!("{sign}{}", span_ms(millis.unsigned_abs()))
}

fn server(server: &ServerStatus) -> String {
    let certificate = if server.self_signed {
        format!("of its own CA, SHA-256 {}", server.fingerprint)
    } else {
        format!("SHA-256 {}", server.fingerprint)
    };
    let mut text = field(2, "https", 11, &server.listen.join(", "));
    if !server.validator.is_empty() {
        text.push_str(&field(2, "validator", 11, &server.validator.join(", ")));
    }
    if !server.debug_http.is_empty() {
        text.push_str(&field(2, "plain http", 11, &server.debug_http.join(", ")));
    }
    text.push_str(&field(2, "certificate", 11, &certificate));
    if server.ingest {
        let found = format!("received at {}", server.url);
        text.push_str(&field(2, "collectors", 11, &found));
    }
    if server.not_understood > 0 {
        let odd = count(server.not_understood, "request");
        let odd = format!("{odd} not understood: jims status --requests");
        text.push_str(&field(2, "odd", 11, &odd));
    }
    text
}

fn points(status: &Status) -> String {
    let asking: Vec<&PointStatus> = (status.enforcement_points.iter())
        .filter(|p| p.protocol != "web-api")
        .collect();
    if asking.is_empty() {
        return String::new();
    }
    let row = |p: &&PointStatus| {
        vec![
            p.name.clone(),
            p.state.clone(),
            p.answered.to_string(),
            p.behind.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            p.refused.to_string(),
            when(p.last_query, status),
        ]
    };
    let heading = ["NAME", "STATE", "ANSWERED", "BEHIND", "REFUSED", "LAST"];
    table(2, &heading, &rows(&asking, row))
}

/// Firewalls that are pushed to.
fn pushed_to(status: &Status) -> String {
    let pushed: Vec<(&str, &WebApiStatus)> = (status.enforcement_points.iter())
        .filter_map(|p| Some((p.name.as_str(), p.web_api.as_ref()?)))
        .collect();
    if pushed.is_empty() {
        return String::new();
    }
    let row = |(name, web_api): &(&str, &WebApiStatus)| {
        vec![
            (*name).to_owned(),
            web_api.state.clone(),
            web_api.entries_sent.to_string(),
            web_api.behind.to_string(),
            web_api.skipped.to_string(),
            when(web_api.last_full, status),
            when(web_api.last_success, status),
        ]
    };
    let heading = ["NAME", "STATE", "SENT", "BEHIND", "SKIPPED", "FULL", "LAST"];
    table(2, &heading, &rows(&pushed, row))
}

fn collectors(status: &Status) -> String {
    if status.collectors.is_empty() {
        return String::new();
    }
    let row = |c: &CollectorStatus| {
        vec![
            c.name.clone(),
            c.state.as_str().to_owned(),
            c.lag
                .map_or_else(|| "-".to_owned(), |lag| lag.behind.to_string()),
            c.totals.sessions.to_string(),
            when(c.last_update, status),
        ]
    };
    let heading = ["NAME", "STATE", "BEHIND", "SESSIONS", "LAST"];
    table(2, &heading, &rows(&status.collectors, row))
}

/// Servers that this Collector pushes to.
fn pushes(status: &Status) -> String {
    if status.pushes.is_empty() {
        return String::new();
    }
    let row = |p: &PushStatus| {
        let pushed = &p.pushed;
        let parts = [
            pushed.domains,
            pushed.users,
            pushed.devices,
            pushed.groups,
            pushed.sessions,
        ];
        vec![
            p.name.clone(),
            p.state.as_str().to_owned(),
            parts.iter().sum::<u64>().to_string(),
            behind(p),
            when(p.last_push, status),
            (p.certificate_expires)
                .map_or_else(|| "-".to_owned(), |until| relative(until, status.at)),
        ]
    };
    let heading = ["NAME", "STATE", "PUSHED", "BEHIND", "LAST", "CERT ENDS"];
    table(2, &heading, &rows(&status.pushes, row))
}

/// How far it is behind; of a pass from the beginning with its size.
fn behind(push: &PushStatus) -> String {
    let behind = push.behind;
    push.of
        .map_or_else(|| behind.to_string(), |of| format!("{behind} of {of}"))
}

fn strangers(status: &Status) -> String {
    if status.strangers.is_empty() {
        return String::new();
    }
    let row = |s: &StrangerStatus| {
        vec![
            s.address.to_string(),
            s.tried.clone(),
            s.count.to_string(),
            when(Some(s.last), status),
        ]
    };
    let heading = ["ADDRESS", "TRIED", "TIMES", "LAST"];
    table(2, &heading, &rows(&status.strangers, row))
}

fn attention(status: &Status) -> String {
    if status.attention.is_empty() {
        return "\nNothing needs attention.\n".to_owned();
    }
    let mut text = format!(
        "\n{WARNING}Attention ({}){WARNING:#}\n",
        status.attention.len()
    );
    for item in &status.attention {
        let since = item
            .since
            .map(|at| format!(" ({})", relative(at, status.at)));
        let what = format!("{}{}", item.what, since.unwrap_or_default());
        text.push_str(&field(2, "!", 1, &what));
        for (number, line) in item.remedy.lines().enumerate() {
            let label = if number == 0 { "try" } else { "" };
            text.push_str(&field(5, label, 3, line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{
        Attention, CollectorState, DirectoryTotals, EventTotals, FaultStatus, Kinds, Lag,
        PushState, ThisCollector, Totals, timestamp,
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
            events: EventTotals::default(),
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
            server: Some(ServerStatus {
                listen: vec!["[::]:443".into()],
                fingerprint: "ab".repeat(32),
                self_signed: true,
                validator: vec![],
                debug_http: vec![],
                ingest: true,
                url: "https://jims.example.com".into(),
                not_understood: 2,
            }),
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
            cluster: None,
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
        let text = render(&status);
        assert!(text.ends_with("\nNothing needs attention.\n"));
        assert!(!text.contains("Producers"));
    }
}
