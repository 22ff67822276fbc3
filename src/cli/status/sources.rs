//! Where identities come from: directories and identity producers, with what some kinds know beside their counts.

use super::{or_dash, rows};
use crate::cli::render::{ago_or_never, millis, number, state, table, text, thousands};
use crate::control::protocol::{SourceStatus, Status};
use crate::text::signed_millis;

pub(super) fn directories(status: &Status) -> String {
    if status.directories.is_empty() {
        return String::new();
    }
    let row = |d: &SourceStatus| {
        vec![
            d.name.clone(),
            d.state.clone(),
            thousands(d.received),
            ago_or_never(d.last_received, status.at),
            d.detail.clone(),
        ]
    };
    let heading = [
        text("NAME"),
        state("STATE"),
        number("READ"),
        text("LAST"),
        text("DETAIL"),
    ];
    table(2, &heading, &rows(&status.directories, row))
}

pub(super) fn producers(status: &Status) -> String {
    if status.producers.is_empty() {
        return String::new();
    }
    let row = |p: &SourceStatus| {
        vec![
            p.name.clone(),
            p.state.clone(),
            thousands(p.received),
            thousands(p.interpreted),
            thousands(p.ignored.values().sum()),
            thousands(p.dropped.values().sum()),
            ago_or_never(p.last_received, status.at),
        ]
    };
    let heading = [
        text("NAME"),
        state("STATE"),
        number("RECEIVED"),
        number("EVENTS"),
        number("IGNORED"),
        number("DROPPED"),
        text("LAST"),
    ];
    table(2, &heading, &rows(&status.producers, row))
}

fn of_kind<'a>(kind: &str, status: &'a Status) -> Vec<&'a SourceStatus> {
    let wanted = status.producers.iter().filter(|p| p.kind == kind);
    wanted.collect()
}

/// What event sources know beside their counts.
pub(super) fn event_sources(status: &Status) -> String {
    let sources = of_kind("event-source", status);
    if sources.is_empty() {
        return String::new();
    }
    let row = |p: &&SourceStatus| {
        let words = |name: &str| p.facts.get(name).and_then(|fact| fact.as_str());
        let signed = |name: &str| p.facts.get(name).and_then(serde_json::Value::as_i64);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            p.name.clone(),
            or_none(words("delivery").map(str::to_owned)),
            or_none(words("authentication").map(str::to_owned)),
            format!("{:.1}", p.per_second),
            or_none(signed("lag_ms").map(signed_millis)),
            or_none(signed("skew_ms").map(signed_millis)),
            // A number to look for, not to compare: without separators.
            or_none(signed("record").map(|record| record.to_string())),
        ]
    };
    let heading = [
        text("NAME"),
        text("BY"),
        text("SIGN-ON"),
        number("PER S"),
        number("LAG"),
        number("CLOCK"),
        number("RECORD"),
    ];
    table(2, &heading, &rows(&sources, row))
}

pub(super) fn pc_probe(status: &Status) -> String {
    let probes = of_kind("pc-probe", status);
    if probes.is_empty() {
        return String::new();
    }
    let row = |p: &&SourceStatus| {
        let fact = |name: &str| p.facts.get(name).and_then(serde_json::Value::as_u64);
        let shown = |name: &str| or_dash(fact(name));
        let oldest = fact("oldest_waiting_ms").filter(|oldest| *oldest > 0);
        vec![
            shown("unconfirmed"),
            shown("running"),
            shown("waiting"),
            oldest.map_or_else(|| "-".to_owned(), millis),
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
    table(2, &heading.map(number), &rows(&probes, row))
}
