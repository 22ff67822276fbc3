//! Users, devices and groups: who is known, and who has a session.
//!
//! ```text
//!  Users  Devices  Groups    / ali▏                12 of 1,000,000 users · by name
//!
//!    NAME▴   DOMAIN             STANDING        SESSIONS  GROUPS  ADDRESSES
//!  ▸ alice   corp.example.com   ● in-directory         2      14  10.1.2.50 10.1.9.7
//! ```

use ratatui::layout::Rect;

use super::super::model::Model;
use super::super::theme::Role;
use super::paint::Paint;
use super::sessions::{none_yet, nothing, place};
use super::table::{Cell, Column, Order, Table, number, text, whole};
use super::{filter, summary};
use crate::control::protocol::{NameKind, NameRow, Sort};
use crate::text::thousands;

const SUBJECTS: [Column; 6] = [
    text("NAME", 12, 0),
    text("DOMAIN", 12, 4),
    whole("STANDING", 3),
    number("SESSIONS", 0),
    number("GROUPS", 5),
    text("ADDRESSES", 15, 1),
];

/// Of groups the members are counted that are so directly; their sessions, of all that are so at all.
const GROUPS: [Column; 5] = [
    text("NAME", 12, 0),
    text("DOMAIN", 8, 1),
    whole("STANDING", 2),
    number("SESSIONS", 0),
    number("DIRECT", 0),
];

pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let list = model.names();
    let mut left = Vec::new();
    for kind in [NameKind::Users, NameKind::Devices, NameKind::Groups] {
        let role = if kind == model.kind {
            Role::Selected
        } else {
            Role::Plain
        };
        left.push(theme.say(word(kind), role));
        left.push(theme.say("  ", Role::Plain));
    }
    left.push(theme.say("  ", Role::Plain));
    left.extend(filter(model, &list.filter));
    let by_sessions = list.sort == Sort::Sessions;
    let (order, column, way) = if by_sessions {
        ("by sessions", "SESSIONS", Order::Falling)
    } else {
        ("by name", "NAME", Order::Rising)
    };
    let noun = match model.kind {
        NameKind::Users => "user",
        NameKind::Devices => "device",
        NameKind::Groups => "group",
    };
    summary(paint, area, left, place(model, list, noun, order));
    let Some(page) = &list.page else {
        return none_yet(model, list, paint, area);
    };
    if page.rows.is_empty() {
        return nothing(list, paint, area, noun);
    }
    let groups = model.kind == NameKind::Groups;
    let table = Table {
        columns: if groups { &GROUPS } else { &SUBJECTS },
        rows: page.rows.iter().map(|row| cells(model, row)).collect(),
        selected: Some(list.selected),
        sorted: Some((column, way.turned(list.reverse))),
    };
    table.draw(paint, area, 2);
}

fn word(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Users => "Users",
        NameKind::Devices => "Devices",
        NameKind::Groups => "Groups",
    }
}

fn cells(model: &Model, row: &NameRow) -> Vec<Cell> {
    let mut cells = vec![
        Cell::of(&row.name, Role::Strong),
        Cell::of(&row.domain, Role::Dim),
        Cell::state(&row.standing, model.theme),
        Cell::new(thousands(row.sessions)),
        Cell::new(thousands(row.groups)),
    ];
    if model.kind != NameKind::Groups {
        let shown = row.addresses.iter().map(ToString::to_string);
        let mut addresses = shown.collect::<Vec<_>>().join(" ");
        let more = row
            .sessions
            .saturating_sub(u64::try_from(row.addresses.len()).unwrap_or(0));
        if more > 0 && !row.addresses.is_empty() {
            addresses.push_str(&format!(" +{}", thousands(more)));
        }
        cells.push(Cell::new(addresses));
    }
    cells
}

/// The selected name, or its row, as text.
pub(super) fn copied(model: &Model, all: bool) -> Option<String> {
    let list = model.names();
    let row = list.page.as_ref()?.rows.get(list.selected)?;
    let name = model.theme.clean(&row.name);
    if !all {
        return Some(name);
    }
    let addresses = row.addresses.iter().map(ToString::to_string);
    Some(format!(
        "{name}\t{}\t{}\t{}\t{}",
        model.theme.clean(&row.domain),
        model.theme.clean(&row.standing),
        row.sessions,
        addresses.collect::<Vec<_>>().join(" ")
    ))
}
