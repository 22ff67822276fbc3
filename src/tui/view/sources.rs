//! Producers, and directories: how each does and how much it brings, problems first.
//!
//! ```text
//!  4 producers · 1 down                                            12,345.0 records/s
//!
//!    NAME   KIND          STATE        PER S   RECEIVED   EVENTS  IGNORED  DROPPED  LAST
//!  ▸ vpn    syslog        ✗ down         0.0    123,456  120,000    3,456        0  12 min
//!    dc1    event-source  ● active      12.5  1,234,567  …
//! ```

use ratatui::layout::Rect;

use super::super::model::{Model, View};
use super::super::rows;
use super::super::theme::{Role, role_of};
use super::paint::{Paint, Spans};
use super::table::{Cell, Column, Table, number, text, whole};
use super::words::{rate as per_second, short_or_never};
use super::{empty, summary};
use crate::control::protocol::SourceStatus;
use crate::text::{count, thousands};

const PRODUCERS: [Column; 9] = [
    text("NAME", 12, 0),
    text("KIND", 12, 4),
    whole("STATE", 0),
    number("PER S", 2),
    number("RECEIVED", 1),
    number("EVENTS", 5),
    number("IGNORED", 6),
    number("DROPPED", 3),
    number("LAST", 1),
];

const DIRECTORIES: [Column; 6] = [
    text("NAME", 12, 0),
    whole("STATE", 0),
    number("READ", 1),
    number("LAST", 1),
    text("DETAIL", 12, 2),
    number("IGNORED", 3),
];

pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let Some(status) = &model.status else {
        return;
    };
    let sources = rows::sources(status, model.view);
    let directories = model.view == View::Directories;
    if sources.is_empty() && directories {
        let hint =
            "Without one, users have no groups: add a [[directory_service]] to the configuration.";
        return empty(paint, area, "No directory is configured.", hint);
    }
    if sources.is_empty() {
        let hint = "Nothing tells who is where yet: add [[event_source]], [[syslog_source]] or [[firewall_push]] to the configuration.";
        return empty(paint, area, "No producer is configured.", hint);
    }
    let noun = if directories { "directory" } else { "producer" };
    head(paint, area, &sources, noun);
    let shown = model.list_rows();
    let cursor = model.cursor(model.view);
    let visible = sources.iter().skip(cursor.offset).take(shown);
    let rows = visible
        .map(|source| {
            if directories {
                directory(model, source)
            } else {
                producer(model, source)
            }
        })
        .collect();
    let table = Table {
        columns: if directories {
            &DIRECTORIES
        } else {
            &PRODUCERS
        },
        rows,
        selected: cursor.selected.checked_sub(cursor.offset),
        sorted: None,
    };
    table.draw(paint, area, 2);
}

fn head(paint: &mut Paint<'_>, area: Rect, sources: &[&SourceStatus], noun: &str) {
    let theme = paint.theme;
    let length = u64::try_from(sources.len()).unwrap_or(u64::MAX);
    let text = count(length, noun).replace("directorys", "directories");
    let mut left = vec![theme.say(&text, Role::Strong)];
    left.extend(troubled(paint, sources.iter().map(|s| s.state.as_str())));
    let rate: f64 = sources.iter().map(|s| s.per_second).sum();
    let right = vec![theme.say(&format!("{} records/s", per_second(rate)), Role::Dim)];
    summary(paint, area, left, right);
}

/// ` · 1 down · 2 degraded`
pub(super) fn troubled<'a>(paint: &Paint<'_>, states: impl Iterator<Item = &'a str>) -> Spans {
    let theme = paint.theme;
    let mut counts = std::collections::BTreeMap::new();
    for state in states.filter(|s| matches!(role_of(s), Role::Bad | Role::Warn)) {
        *counts.entry(state).or_insert(0_u64) += 1;
    }
    let dot = theme.marks().dot;
    let said = counts.into_iter().map(|(state, number)| {
        theme.say(
            &format!(" {dot} {} {state}", thousands(number)),
            role_of(state),
        )
    });
    said.collect()
}

fn sum(counts: &std::collections::BTreeMap<String, u64>) -> u64 {
    counts.values().fold(0, |sum, n| sum.saturating_add(*n))
}

fn producer(model: &Model, source: &SourceStatus) -> Vec<Cell> {
    let lost = sum(&source.dropped);
    let role = if lost > 0 { Role::Warn } else { Role::Plain };
    vec![
        Cell::new(&source.name),
        Cell::of(&source.kind, Role::Dim),
        Cell::state(&source.state, model.theme),
        Cell::new(per_second(source.per_second)),
        Cell::new(thousands(source.received)),
        Cell::new(thousands(source.interpreted)),
        Cell::new(thousands(sum(&source.ignored))),
        Cell::of(thousands(lost), role),
        Cell::new(short_or_never(source.last_received, model.seen_at())),
    ]
}

fn directory(model: &Model, source: &SourceStatus) -> Vec<Cell> {
    let detail = match &source.fault {
        Some(fault) => Cell::of(&fault.message, Role::Warn),
        // What it held says nothing of what is wrong.
        None if role_of(&source.state) == Role::Bad => Cell::new(""),
        None => Cell::of(&source.detail, Role::Dim),
    };
    vec![
        Cell::new(&source.name),
        Cell::state(&source.state, model.theme),
        Cell::new(thousands(source.received)),
        Cell::new(short_or_never(source.last_received, model.seen_at())),
        detail,
        Cell::new(thousands(sum(&source.ignored))),
    ]
}
