//! Sessions: who is where; a page of a list that stays with the service.
//!
//! ```text
//!  / ali▏                                     12,345 of 1,000,000 · by last change
//!
//!    ADDRESS     USER    DEVICE   STATE          SEEN▴   SINCE   ENDS      FROM  DOMAIN
//!  ▸ 10.1.2.50   alice   ws-0042  ● active       12 s    3 h     in 23 h   dc1   corp…
//!    10.1.2.51   bob              ▲ unconfirmed  …
//! ```

use ratatui::layout::Rect;

use super::super::model::Model;
use super::super::paged::Paged;
use super::super::theme::Role;
use super::paint::{Paint, Spans};
use super::table::{Cell, Column, Table, number, text, whole};
use super::words::short;
use super::{empty, filter, summary};
use crate::control::protocol::{SessionRow, Sort};
use crate::text::thousands;

const COLUMNS: [Column; 9] = [
    text("ADDRESS", 16, 0),
    text("USER", 13, 0),
    text("DEVICE", 8, 1),
    whole("STATE", 0),
    number("SEEN", 3),
    number("SINCE", 5),
    number("ENDS", 2),
    text("FROM", 6, 4),
    text("DOMAIN", 8, 6),
];

pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let list = &model.sessions;
    let left = filter(model, &list.filter);
    let right = place(model, list, order(list.sort));
    summary(paint, area, left, right);
    let Some(page) = &list.page else {
        return none_yet(model, list, paint, area);
    };
    if page.rows.is_empty() {
        return nothing(list, paint, area, "session");
    }
    let table = Table {
        columns: &COLUMNS,
        rows: page.rows.iter().map(|row| cells(model, row)).collect(),
        selected: Some(list.selected),
        sorted: Some((column(list.sort), list.reverse)),
    };
    table.draw(paint, area, 2);
}

fn cells(model: &Model, row: &SessionRow) -> Vec<Cell> {
    let now = model.seen_at();
    let user = row.user.clone().map_or_else(
        || Cell::of("(device only)", Role::Dim),
        |user| Cell::of(user, Role::Strong),
    );
    vec![
        Cell::new(row.address.to_string()),
        user,
        Cell::new(row.device.clone().unwrap_or_default()),
        Cell::state(&row.state, model.theme),
        Cell::new(short(row.seen, now)),
        Cell::new(short(row.since, now)),
        Cell::new(short(row.deadline, now)),
        Cell::of(&row.producer, Role::Dim),
        Cell::of(&row.domain, Role::Dim),
    ]
}

/// The column that carries the order's mark.
fn column(sort: Sort) -> &'static str {
    match sort {
        Sort::Usual | Sort::Sessions => "SEEN",
        Sort::Address => "ADDRESS",
        Sort::User => "USER",
        Sort::Device => "DEVICE",
        Sort::Since => "SINCE",
        Sort::Deadline => "ENDS",
    }
}

fn order(sort: Sort) -> &'static str {
    match sort {
        Sort::Usual | Sort::Sessions => "by last change",
        Sort::Address => "by address",
        Sort::User => "by user",
        Sort::Device => "by device",
        Sort::Since => "by beginning",
        Sort::Deadline => "by end",
    }
}

/// `12,345 of 1,000,000 · by last change`
pub(super) fn place<R>(model: &Model, list: &Paged<R>, order: &str) -> Spans {
    let theme = model.theme;
    let dot = theme.marks().dot;
    let turned = if list.reverse { ", reversed" } else { "" };
    let mut spans = Vec::new();
    if let Some(page) = list.page.as_ref().filter(|page| !page.rows.is_empty()) {
        let selected = u64::try_from(list.selected).unwrap_or(0);
        let place = thousands(page.before + selected + 1);
        let text = format!("{place} of {}", thousands(page.total));
        spans.push(theme.say(&text, Role::Strong));
        spans.push(theme.say(&format!(" {dot} "), Role::Dim));
    }
    spans.push(theme.say(&format!("{order}{turned}"), Role::Dim));
    spans
}

/// What is shown before the first page, and when there is none.
pub(super) fn none_yet<R>(model: &Model, list: &Paged<R>, paint: &mut Paint<'_>, area: Rect) {
    match &list.refused {
        Some(refused) => {
            empty(paint, area, &refused.message, &refused.remedy);
        }
        None => {
            let theme = model.theme;
            paint.line(area, 2, vec![theme.say("looking …", Role::Dim)]);
        }
    }
}

/// What is shown of an empty list.
pub(super) fn nothing<R>(list: &Paged<R>, paint: &mut Paint<'_>, area: Rect, noun: &str) {
    if list.filter.is_empty() {
        let hint = "It fills as producers tell who is where; view 2 shows how they do.";
        return empty(paint, area, &format!("There is no {noun}."), hint);
    }
    let what = format!("No {noun} matches `{}`.", list.filter);
    let hint = "All words must occur; user: device: domain: group: from: and state: look only there. Esc clears the filter.";
    empty(paint, area, &what, hint);
}

/// The selected row as text.
pub(super) fn copied(model: &Model) -> Option<String> {
    let page = model.sessions.page.as_ref()?;
    let row = page.rows.get(model.sessions.selected)?;
    Some(format!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}",
        row.address,
        model.theme.clean(row.user.as_deref().unwrap_or("-")),
        model.theme.clean(&row.domain),
        model.theme.clean(row.device.as_deref().unwrap_or("-")),
        model.theme.clean(&row.state),
        row.since,
        model.theme.clean(&row.producer),
    ))
}
