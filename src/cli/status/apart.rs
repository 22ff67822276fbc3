//! Collectors that push to this Server, and Servers that this Collector pushes to.

use super::{or_dash, rows};
use crate::cli::render::{ago, ago_or_never, number, state, table, text, thousands};
use crate::control::protocol::{CollectorStatus, PushStatus, Status};

pub(super) fn collectors(status: &Status) -> String {
    if status.collectors.is_empty() {
        return String::new();
    }
    let row = |c: &CollectorStatus| {
        vec![
            c.name.clone(),
            c.state.as_str().to_owned(),
            or_dash(c.lag.map(|lag| lag.behind)),
            thousands(c.totals.sessions),
            ago_or_never(c.last_update, status.at),
        ]
    };
    let heading = [
        text("NAME"),
        state("STATE"),
        number("BEHIND"),
        number("SESSIONS"),
        text("LAST"),
    ];
    table(2, &heading, &rows(&status.collectors, row))
}

/// Servers that this Collector pushes to.
pub(super) fn pushes(status: &Status) -> String {
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
            thousands(parts.iter().sum()),
            behind(p),
            ago_or_never(p.last_push, status.at),
            (p.certificate_expires).map_or_else(|| "-".to_owned(), |until| ago(until, status.at)),
        ]
    };
    let heading = [
        text("NAME"),
        state("STATE"),
        number("PUSHED"),
        number("BEHIND"),
        text("LAST"),
        text("CERT ENDS"),
    ];
    table(2, &heading, &rows(&status.pushes, row))
}

/// How far it is behind; of a pass from the beginning with its size.
fn behind(push: &PushStatus) -> String {
    let behind = thousands(push.behind);
    push.of.map_or_else(
        || behind.clone(),
        |of| format!("{behind} of {}", thousands(of)),
    )
}
