//! Enforcement points: the firewalls, those that ask and those that are pushed to.
//!
//! ```text
//!  3 enforcement points · 1 refused
//!
//!    NAME          BY       STATE        ANSWERED   BEHIND  SENT     REFUSED  LAST
//!  ▸ srx-branch-2  web-api  ✗ refused           -       12  1,204          3  2 min
//!    srx-branch-1  query    ● active       12,345        0  104,331        0  4 s
//! ```

use ratatui::layout::Rect;

use super::super::model::{Model, View};
use super::super::rows;
use super::super::theme::Role;
use super::paint::Paint;
use super::sources::troubled;
use super::table::{Cell, Column, Table, number, text, whole};
use super::words::short_or_never;
use super::{empty, summary};
use crate::control::protocol::PointStatus;
use crate::text::{count, thousands};

const COLUMNS: [Column; 9] = [
    text("NAME", 12, 0),
    text("BY", 7, 3),
    whole("STATE", 0),
    number("BEHIND", 1),
    number("SENT", 2),
    number("ANSWERED", 4),
    number("REFUSED", 2),
    number("FULL", 5),
    number("LAST", 1),
];

pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let Some(status) = &model.status else {
        return;
    };
    let points = rows::points(status);
    if points.is_empty() {
        let hint = "No firewall is told anything yet: add [[enforcement_point]] to the configuration; `jims status --junos NAME` then prints what to type on it.";
        return empty(paint, area, "No enforcement point is configured.", hint);
    }
    let theme = model.theme;
    let length = u64::try_from(points.len()).unwrap_or(u64::MAX);
    let mut left = vec![theme.say(&count(length, "enforcement point"), Role::Strong)];
    left.extend(troubled(paint, points.iter().map(|p| rows::point_state(p))));
    summary(paint, area, left, Vec::new());
    let cursor = model.cursor(View::Points);
    let visible = points.iter().skip(cursor.offset).take(model.list_rows());
    let table = Table {
        columns: &COLUMNS,
        rows: visible.map(|point| cells(model, point)).collect(),
        selected: cursor.selected.checked_sub(cursor.offset),
        sorted: None,
    };
    table.draw(paint, area, 2);
}

fn cells(model: &Model, point: &PointStatus) -> Vec<Cell> {
    let pushed = point.web_api.as_ref();
    let behind = point.behind.max(pushed.map(|pushed| pushed.behind));
    let sent = point.entries_sent + pushed.map_or(0, |pushed| pushed.entries_sent);
    let skipped = pushed.map_or(0, |pushed| pushed.skipped);
    let refused = point.refused + skipped;
    let last = point
        .last_query
        .max(pushed.and_then(|pushed| pushed.last_success));
    let full = point
        .last_full
        .max(pushed.and_then(|pushed| pushed.last_full));
    let now = model.seen_at();
    let role = |number: u64| if number > 0 { Role::Warn } else { Role::Plain };
    let answered = if point.protocol == "web-api" {
        "-".to_owned()
    } else {
        thousands(point.answered)
    };
    vec![
        Cell::new(&point.name),
        Cell::of(&point.protocol, Role::Dim),
        Cell::state(rows::point_state(point), model.theme),
        Cell::new(behind.map_or_else(|| "-".to_owned(), thousands)),
        Cell::new(thousands(sent)),
        Cell::new(answered),
        Cell::of(thousands(refused), role(refused)),
        Cell::new(short_or_never(full, now)),
        Cell::new(short_or_never(last, now)),
    ]
}
