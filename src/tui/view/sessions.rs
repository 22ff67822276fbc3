//! Sessions: who is where; a page of a list that stays with the service.
//!
//! ```text
//!  / ali▏                           12,345 of 1,000,000 addresses · by last change
//!
//!    ADDRESS     USER    DEVICE   STATE          SEEN    SINCE   ENDS      FROM  DOMAIN
//!  ▸ 10.1.2.50   alice   ws-0042  ● active       12 s    3 h     in 23 h   dc1   corp…
//!    10.1.2.51   bob              ▲ unconfirmed  …
//! ```

use ratatui::layout::Rect;

use super::super::model::{Model, Opened};
use super::super::paged::Paged;
use super::super::theme::{Role, role_of};
use super::paint::{Page, Paint, Spans};
use super::table::{Cell, Column, Order, Table, number, text, whole};
use super::words::short;
use super::{empty, filter, summary};
use crate::control::protocol::{NameKind, SessionRow, Sort};
use crate::text::{count, thousands};

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
    let right = place(model, list, "address", order(list.sort));
    summary(paint, area, left, right);
    let Some(page) = &list.page else {
        return none_yet(model, list, paint, area);
    };
    if let (true, Some(opened)) = (page.rows.is_empty(), model.opened()) {
        return without(model, opened, area.width).draw(paint, below(area), 0);
    }
    if page.rows.is_empty() {
        return nothing(list, paint, area, "session");
    }
    let table = Table {
        columns: &COLUMNS,
        rows: page.rows.iter().map(|row| cells(model, row)).collect(),
        selected: Some(list.selected),
        sorted: sorted(list.sort, list.reverse),
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

/// The column that carries the order's mark; none shows the last change.
fn sorted(sort: Sort, reverse: bool) -> Option<(&'static str, Order)> {
    let (column, order) = match sort {
        Sort::Usual | Sort::Sessions => return None,
        Sort::Address => ("ADDRESS", Order::Rising),
        Sort::User => ("USER", Order::Rising),
        Sort::Device => ("DEVICE", Order::Rising),
        Sort::Since => ("SINCE", Order::Falling),
        Sort::Deadline => ("ENDS", Order::Rising),
    };
    Some((column, order.turned(reverse)))
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

/// `12,345 of 1,000,000 addresses · by last change`
pub(super) fn place<R>(model: &Model, list: &Paged<R>, noun: &str, order: &str) -> Spans {
    let theme = model.theme;
    let dot = theme.marks().dot;
    let turned = if list.reverse { ", reversed" } else { "" };
    let mut spans = Vec::new();
    if let Some(page) = list.page.as_ref().filter(|page| !page.rows.is_empty()) {
        let selected = u64::try_from(list.selected).unwrap_or(0);
        let place = thousands(page.before + selected + 1);
        let total = count(page.total, noun).replace("addresss", "addresses");
        let text = format!("{place} of {total}");
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
        None if model.is_stale() => {
            let hint = "It is looked for as soon as the service answers again.";
            empty(paint, area, "The service does not answer.", hint);
        }
        None => {
            let theme = model.theme;
            paint.line(area, 2, vec![theme.say("looking …", Role::Dim)]);
        }
    }
}

/// What stands below the line that sums a list up.
fn below(area: Rect) -> Rect {
    Rect {
        y: area.y + 2,
        height: area.height.saturating_sub(2),
        ..area
    }
}

/// What is known of a name that has no session.
fn without(model: &Model, opened: &Opened, columns: u16) -> Page {
    let mut page = Page::new(model.theme, columns, model.seen_at());
    let row = &opened.row;
    let nobody = match opened.kind {
        NameKind::Users | NameKind::Devices => format!("{} has no session.", row.name),
        NameKind::Groups => format!("No member of {} has a session.", row.name),
    };
    page.text(&nobody, Role::Strong);
    page.blank();
    page.field("domain", &row.domain);
    let role = role_of(&row.standing);
    page.field_as("standing", &row.standing.replace('-', " "), role);
    let (label, known) = match opened.kind {
        NameKind::Users | NameKind::Devices => ("groups", thousands(row.groups)),
        NameKind::Groups => ("members", format!("{} direct ones", thousands(row.groups))),
    };
    page.field(label, &known);
    if opened.kind != NameKind::Groups {
        page.blank();
        let command = format!("jims query-user {}", in_shell(&row.name));
        page.field_as("try", &command, Role::Strong);
        page.field("", "names its groups");
    }
    page.blank();
    page.text("Esc goes back.", Role::Dim);
    page
}

/// A name as a shell takes it for one word.
fn in_shell(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
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
