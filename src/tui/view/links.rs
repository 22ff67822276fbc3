//! Collectors that push to us, and Servers that we push to.
//!
//! ```text
//!  1 push · 2 Collectors · 1 disconnected
//!
//!    NAME      WHAT        STATE           BEHIND  SESSIONS  LAST    WHERE
//!  ▸ branch-1  Collector   ✗ disconnected      3     1,204   2 min   192.0.2.30
//!    hq        push        ● following         0         -   1 s     https://hq.example.com
//! ```

use ratatui::layout::Rect;

use super::super::model::{Model, View};
use super::super::rows::{self, LinkRow};
use super::super::theme::Role;
use super::paint::Paint;
use super::sources::troubled;
use super::table::{Cell, Column, Table, number, text, whole};
use super::words::short_or_never;
use super::{empty, summary};
use crate::control::protocol::{CollectorStatus, PushStatus};
use crate::text::{count, thousands};

const COLUMNS: [Column; 7] = [
    text("NAME", 12, 0),
    text("WHAT", 9, 3),
    whole("STATE", 0),
    number("BEHIND", 1),
    number("SESSIONS", 4),
    number("LAST", 1),
    text("WHERE", 12, 2),
];

pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let Some(status) = &model.status else {
        return;
    };
    let links = rows::links(status);
    if links.is_empty() {
        let hint = "This jims works alone. `jims onboard --invite NAME` on a Server with [ingest], then `jims onboard URL` on the Collector, connects two.";
        return empty(paint, area, "No Collector, and no push.", hint);
    }
    let theme = model.theme;
    let pushes = u64::try_from(status.pushes.len()).unwrap_or(u64::MAX);
    let collectors = u64::try_from(status.collectors.len()).unwrap_or(u64::MAX);
    let pushes = count(pushes, "push").replace("pushs", "pushes");
    let dot = theme.marks().dot;
    let text = format!("{pushes} {dot} {}", count(collectors, "Collector"));
    let mut left = vec![theme.say(&text, Role::Strong)];
    left.extend(troubled(paint, links.iter().map(|link| link.state())));
    summary(paint, area, left, Vec::new());
    let cursor = model.cursor(View::Links);
    let visible = links.iter().skip(cursor.offset).take(model.list_rows());
    let rows = visible.map(|link| match link {
        LinkRow::Collector(one) => collector(model, one),
        LinkRow::Push(one) => push(model, one),
    });
    let table = Table {
        columns: &COLUMNS,
        rows: rows.collect(),
        selected: cursor.selected.checked_sub(cursor.offset),
        sorted: None,
    };
    table.draw(paint, area, 2);
}

fn collector(model: &Model, one: &CollectorStatus) -> Vec<Cell> {
    let behind = one.lag.map(|lag| thousands(lag.behind));
    let address = one.address.map(|a| a.to_string());
    vec![
        Cell::new(&one.name),
        Cell::of("Collector", Role::Dim),
        Cell::state(one.state.as_str(), model.theme),
        Cell::new(behind.unwrap_or_else(|| "-".to_owned())),
        Cell::new(thousands(one.totals.sessions)),
        Cell::new(short_or_never(one.last_update, model.seen_at())),
        Cell::of(address.unwrap_or_default(), Role::Dim),
    ]
}

fn push(model: &Model, one: &PushStatus) -> Vec<Cell> {
    let behind = thousands(one.behind);
    let behind = match one.of {
        Some(of) => format!("{behind} of {}", thousands(of)),
        None => behind,
    };
    vec![
        Cell::new(&one.name),
        Cell::of("push", Role::Dim),
        Cell::state(one.state.as_str(), model.theme),
        Cell::new(behind),
        Cell::new(thousands(one.pushed.sessions)),
        Cell::new(short_or_never(one.last_push, model.seen_at())),
        Cell::of(&one.url, Role::Dim),
    ]
}
