//! The details of what a status holds: producers, directories, enforcement points, pushes, Collectors.

use std::collections::BTreeMap;

use super::super::super::rows::point_state;
use super::super::super::theme::{Role, role_of};
use super::super::paint::Page;
use super::super::words::rate;
use super::fault;
use crate::control::protocol::{
    CollectorStatus, Kinds, PointStatus, PushStatus, SourceStatus, Status, WebApiStatus,
};
use crate::text::{ago, count, millis, signed_millis, thousands};

fn gone(page: &mut Page, name: &str) {
    page.title(name, "", "");
    page.text("It is not in the configuration any more.", Role::Warn);
}

/// A producer or directory.
pub(super) fn source(page: &mut Page, status: Option<&Status>, kind: &str, name: &str) {
    let all = status.map(|s| s.directories.iter().chain(&s.producers));
    let mut all = all.into_iter().flatten();
    let Some(source) = all.find(|s| s.kind == kind && s.name == name) else {
        return gone(page, name);
    };
    write_source(page, source);
}

fn write_source(page: &mut Page, source: &SourceStatus) {
    page.title(&source.name, &source.kind.replace('-', " "), &source.state);
    fault(page, source.fault.as_ref());
    let doing = if role_of(&source.state) == Role::Bad {
        "before that"
    } else {
        "doing"
    };
    page.field(doing, &source.detail);
    page.time("last record", source.last_received);
    page.field("per second", &rate(source.per_second));
    page.field("received", &thousands(source.received));
    page.field("events", &thousands(source.interpreted));
    if !source.facts.is_empty() {
        page.heading("What else it knows");
        for (name, fact) in &source.facts {
            let text = fact_text(page, name, fact);
            page.field(&name.replace("_ms", "").replace('_', " "), &text);
        }
    }
    counts(page, "What means nothing", &source.ignored);
    counts(page, "What was lost", &source.dropped);
}

fn fact_text(page: &Page, name: &str, fact: &serde_json::Value) -> String {
    if let Some(number) = fact.as_i64() {
        if name.ends_with("_ms") {
            return signed_millis(number);
        }
        let sign = if number < 0 { "-" } else { "" };
        return format!("{sign}{}", thousands(number.unsigned_abs()));
    }
    let text = fact
        .as_str()
        .map_or_else(|| fact.to_string(), str::to_owned);
    match text.parse() {
        Ok(at) if name.ends_with("time") => format!("{text}  ({})", ago(at, page.now)),
        _ => text,
    }
}

fn counts(page: &mut Page, heading: &str, counts: &BTreeMap<String, u64>) {
    if counts.is_empty() {
        return;
    }
    page.heading(heading);
    for (reason, count) in counts {
        page.field(&thousands(*count), &reason.replace('-', " "));
    }
}

/// An enforcement point.
pub(super) fn point(page: &mut Page, status: Option<&Status>, name: &str) {
    let found = status.and_then(|s| s.enforcement_points.iter().find(|p| p.name == name));
    let Some(point) = found else {
        return gone(page, name);
    };
    page.title(&point.name, "enforcement point", point_state(point));
    if point.protocol != "web-api" {
        queries(page, point);
    }
    if let Some(web_api) = &point.web_api {
        pushed(page, web_api);
    }
}

fn queries(page: &mut Page, point: &PointStatus) {
    page.heading("It asks");
    page.field("state", &point.state);
    page.field("client id", &point.client_id);
    page.field("calls from", &point.addresses.join(", "));
    let last = point.last_address.map(|a| a.to_string());
    page.field("called from", &last.unwrap_or_default());
    page.field("answered", &thousands(point.answered));
    page.field("entries", &thousands(point.entries_sent));
    let behind = point.behind.map(thousands);
    page.field("behind", &behind.unwrap_or_else(|| "not known".to_owned()));
    page.field("tokens", &point.tokens.to_string());
    page.time("last answer", point.last_query);
    page.time("last batch", point.last_batch);
    page.time("last by IP", point.last_ip);
    page.time("last by user", point.last_user);
    page.time("last full", point.last_full);
    page.time("last token", point.last_token);
    page.field("refused", &thousands(point.refused));
    if let Some(refused) = &point.last_refused {
        let text = format!("{}, {}", refused.reason, ago(refused.at, page.now));
        page.field_as("last refusal", &text, Role::Warn);
    }
    if point.state == "never" {
        page.blank();
        page.field(
            "try",
            &format!(
                "jims status --junos {} prints what to type on it",
                point.name
            ),
        );
    }
}

fn pushed(page: &mut Page, web_api: &WebApiStatus) {
    page.heading("It is pushed to (Web API)");
    page.field("where", &web_api.url);
    page.field("state", &web_api.state);
    page.field("behind", &thousands(web_api.behind));
    page.field("sent", &thousands(web_api.entries_sent));
    page.field("left out", &thousands(web_api.skipped));
    page.field("groups cut", &thousands(web_api.cut));
    page.time("last success", web_api.last_success);
    page.time("last full", web_api.last_full);
    fault(page, web_api.fault.as_ref());
}

fn kinds(kinds: &Kinds) -> String {
    let parts = [
        (kinds.sessions, "session"),
        (kinds.users, "user"),
        (kinds.devices, "device"),
        (kinds.groups, "group"),
        (kinds.domains, "domain"),
    ];
    let said = parts.map(|(number, noun)| count(number, noun));
    said.join(", ")
}

/// A Server that is pushed to.
pub(super) fn push(page: &mut Page, status: Option<&Status>, name: &str) {
    let found: Option<&PushStatus> = status.and_then(|s| s.pushes.iter().find(|p| p.name == name));
    let Some(push) = found else {
        return gone(page, name);
    };
    page.title(&push.name, "push to a Server", push.state.as_str());
    fault(page, push.fault.as_ref());
    page.field("where", &push.url);
    let behind = thousands(push.behind);
    let behind = match push.of {
        Some(of) => format!("{behind} of {}", thousands(of)),
        None => behind,
    };
    page.field("behind", &behind);
    page.time("last push", push.last_push);
    page.field("pushed", &kinds(&push.pushed));
    page.time("certificate", push.certificate_expires);
    let fingerprint = push.certificate_fingerprint.as_deref();
    page.field("SHA-256", fingerprint.unwrap_or_default());
}

/// A Collector that pushes to us.
pub(super) fn collector(page: &mut Page, status: Option<&Status>, name: &str) {
    let found = status.and_then(|s| s.collectors.iter().find(|c| c.name == name));
    let Some(collector) = found else {
        return gone(page, name);
    };
    page.title(&collector.name, "Collector", collector.state.as_str());
    for what in &collector.attention {
        page.item(Role::Warn, what, "");
    }
    write_collector(page, collector);
}

fn write_collector(page: &mut Page, collector: &CollectorStatus) {
    page.field("calls itself", &collector.identifier);
    page.field("version", &collector.version);
    page.field("description", &collector.description);
    page.time("gone since", collector.since);
    page.time("last push", collector.last_update);
    let address = collector.address.map(|a| a.to_string());
    page.field("called from", &address.unwrap_or_default());
    if let Some(lag) = collector.lag {
        let seconds = lag.seconds.map(|s| format!(", {s} s"));
        let text = count(lag.behind, "change") + &seconds.unwrap_or_default();
        page.field("behind", &text);
    }
    page.field("holds", &kinds(&collector.totals));
    page.field("pushed", &kinds(&collector.pushes));
    page.time("onboarded", collector.onboarded_at);
    page.time("invited until", collector.invitation_expires);
    page.time("certificate", collector.certificate_expires);
    if let Some(difference) = collector.clock_difference_ms {
        let way = if difference < 0 { "behind" } else { "ahead of" };
        let text = format!("{} {way} ours", millis(difference.unsigned_abs()));
        page.field("clock", &text);
    }
    if collector.attention_there > 0 {
        let text = format!(
            "{} things there need its operator",
            collector.attention_there
        );
        page.field_as("there", &text, Role::Warn);
    }
    let all = |list: &[String]| {
        if list.is_empty() {
            "all".to_owned()
        } else {
            list.join(", ")
        }
    };
    page.heading("What it may speak for");
    page.field("networks", &all(&collector.networks));
    page.field("domains", &all(&collector.domains));
    page.field("roles", &collector.roles.join(", "));
}
