//! The first lines: health in a few words, what needs an operator and how to mend it, then the site in numbers.

use std::time::Duration;

use crate::cli::render::{
    GOOD, HEADING, WARNING, ago, count, field, millis, paragraph, span, styled, thousands,
};
use crate::control::protocol::{Attention, Status};

/// Width of the labels before the numbers.
const LABELS: usize = 9;

/// Health in a few words, then each thing that needs attention with its remedy.
pub(super) fn health(status: &Status) -> String {
    let list = &status.attention;
    let verdict = match list.len() {
        0 => return format!("{}\n", styled("all is well", GOOD.bold())),
        1 => "1 thing needs attention".to_owned(),
        many => format!("{many} things need attention"),
    };
    let items = list.iter().map(|item| attention(item, status));
    format!(
        "{}\n{}",
        styled(&verdict, WARNING),
        items.collect::<String>()
    )
}

fn attention(item: &Attention, status: &Status) -> String {
    let since = item.since.map(|at| format!(" ({})", ago(at, status.at)));
    let what = format!("{}{}", item.what, since.unwrap_or_default());
    let mut text = field(2, "!", 1, &what);
    for (number, line) in item.remedy.lines().enumerate() {
        let label = if number == 0 { "try" } else { "" };
        text.push_str(&field(5, label, 3, line));
    }
    text
}

/// Who this is, how long it runs, and its numbers.
pub(super) fn site(status: &Status) -> String {
    let collector = &status.collector;
    let up = status.at.as_second() - collector.started.as_second();
    let up = span(Duration::from_secs(u64::try_from(up).unwrap_or(0)));
    let mut title = format!("jims {} on {}", status.version, collector.name);
    if !collector.description.is_empty() {
        title.push_str(&format!(" ({})", collector.description));
    }
    let title = paragraph(&format!("{title}: {}, up {up}", collector.state));
    styled(title.trim_end(), HEADING)
        + "\n"
        + &field(2, "active", LABELS, &active(status))
        + &field(2, "directory", LABELS, &directory(status))
        + &field(2, "events", LABELS, &events(status))
}

fn active(status: &Status) -> String {
    let totals = &status.totals;
    format!(
        "{} ({}, {}) in {}",
        count(totals.sessions, "session"),
        count(totals.users, "user"),
        count(totals.devices, "device"),
        count(totals.domains, "domain"),
    )
}

fn directory(status: &Status) -> String {
    let read = &status.directory;
    format!(
        "{}, {}, {}",
        count(read.users, "user"),
        count(read.devices, "device"),
        count(read.groups, "group"),
    )
}

fn events(status: &Status) -> String {
    let events = &status.events;
    let mut text = format!(
        "{} decided, {} changed nothing",
        thousands(events.total),
        thousands(events.ignored)
    );
    if let Some(lag) = events.lag_ms {
        text.push_str(&format!(", at most {} late", millis(lag)));
    }
    match events.queued {
        0 => {}
        1 => text.push_str(", 1 batch waits"),
        many => text.push_str(&format!(", {many} batches wait")),
    }
    text
}
