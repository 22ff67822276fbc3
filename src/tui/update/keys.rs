//! What an operator does: keys by the keymap, the mouse by the layout.

use super::super::keymap::{Action, lookup};
use super::super::layout::{self, LIST_TOP, OVERVIEW_TOP};
use super::super::message::{Deed, Effect, Key, Mouse};
use super::super::model::{Confirm, Model, View};
use super::super::paged::{Landing, Paged, Row, type_into};
use super::super::view;
use super::{ask_page, notice, open, page_again, quit};
use crate::control::protocol::{Browse, From, NameKind, Sort};

/// Lines that a turn of the wheel moves.
const WHEEL: usize = 3;

/// A key was pressed.
pub(super) fn key(model: &mut Model, key: Key) -> Vec<Effect> {
    let places = model.places();
    if let Some(action) = lookup(places, key) {
        return act(model, action);
    }
    match key {
        _ if model.is_too_small() => {
            // Any other key takes back that the service is to end.
            model.confirm = None;
            Vec::new()
        }
        Key::Char(c) if model.typing => type_text(model, c.encode_utf8(&mut [0; 4])),
        _ => Vec::new(),
    }
}

/// Text was pasted.
pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    if model.typing && model.confirm.is_none() && !model.is_too_small() {
        type_text(model, text)
    } else {
        Vec::new()
    }
}

fn type_text(model: &mut Model, text: &str) -> Vec<Effect> {
    if filter_mut(model).is_some_and(|filter| type_into(filter, text)) {
        return filtered(model);
    }
    Vec::new()
}

/// The filter of the view, if it has one.
pub(super) fn filter_mut(model: &mut Model) -> Option<&mut String> {
    let kind = model.kind;
    match model.view {
        View::Sessions => Some(&mut model.sessions.filter),
        View::Names => Some(&mut model.names_mut(kind).filter),
        View::Tail => Some(&mut model.tail.filter),
        _ => None,
    }
}

/// The filter changed.
pub(super) fn filtered(model: &mut Model) -> Vec<Effect> {
    model.tail.keep_in_bounds();
    let stale = model.is_stale();
    paged(model, |list, rows, now| {
        if stale {
            list.drop_page();
        }
        list.restart(rows, now)
    })
}

/// One of the two lists of which only a page is here.
trait Pages {
    fn restart(&mut self, rows: usize, now: std::time::Duration) -> Option<Browse>;
    fn drop_page(&mut self);
    fn step(&mut self, down: bool, rows: usize, now: std::time::Duration) -> Option<Browse>;
    fn turn(&mut self, down: bool, rows: usize, now: std::time::Duration) -> Option<Browse>;
    fn end(&mut self, last: bool, rows: usize, now: std::time::Duration) -> Option<Browse>;
    fn sort(&mut self, orders: &[Sort]);
    fn reverse(&mut self);
    fn select(&mut self, row: usize);
}

impl<R: Row> Pages for Paged<R> {
    fn restart(&mut self, rows: usize, now: std::time::Duration) -> Option<Browse> {
        Self::restart(self, rows, now)
    }
    fn drop_page(&mut self) {
        Self::drop_page(self);
    }
    fn step(&mut self, down: bool, rows: usize, now: std::time::Duration) -> Option<Browse> {
        Self::step(self, down, rows, now)
    }
    fn turn(&mut self, down: bool, rows: usize, now: std::time::Duration) -> Option<Browse> {
        Self::turn(self, down, Landing::Line, rows, now)
    }
    fn end(&mut self, last: bool, rows: usize, now: std::time::Duration) -> Option<Browse> {
        let (from, landing) = if last {
            (From::End, Landing::Bottom)
        } else {
            (From::Start, Landing::Top)
        };
        self.want(from, landing, rows, now)
    }
    fn sort(&mut self, orders: &[Sort]) {
        let place = orders.iter().position(|order| *order == self.sort);
        let next = place.map_or(0, |place| (place + 1) % orders.len().max(1));
        self.sort = orders.get(next).copied().unwrap_or_default();
        self.reverse = false;
    }
    fn reverse(&mut self) {
        self.reverse = !self.reverse;
    }
    fn select(&mut self, row: usize) {
        if self.page.as_ref().is_some_and(|page| row < page.rows.len()) {
            self.selected = row;
        }
    }
}

/// Does something with the paged list of the view, and asks what it wants.
fn paged(
    model: &mut Model,
    work: impl FnOnce(&mut dyn Pages, usize, std::time::Duration) -> Option<Browse>,
) -> Vec<Effect> {
    let (rows, now, kind) = (model.list_rows(), model.elapsed, model.kind);
    let browse = match model.view {
        View::Sessions => work(&mut model.sessions, rows, now),
        View::Names => work(model.names_mut(kind), rows, now),
        _ => None,
    };
    ask_page(model, browse).into_iter().collect()
}

fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Show(view) => open::show(model, view),
        Action::NextView => open::show(model, model.view.neighbour(true)),
        Action::PreviousView => open::show(model, model.view.neighbour(false)),
        Action::Up | Action::Down => step(model, action == Action::Down, 1),
        Action::PageUp | Action::PageDown => page(model, action == Action::PageDown),
        Action::First | Action::Last => end(model, action == Action::Last),
        Action::Left | Action::Right => turn_kind(model, action == Action::Right),
        Action::Open => open::open(model),
        Action::Back => open::back(model),
        Action::Filter | Action::Done => {
            model.typing = action == Action::Filter;
            Vec::new()
        }
        Action::Cancel => {
            model.typing = false;
            open::clear_filter(model);
            filtered(model)
        }
        Action::Erase | Action::EraseAll => erase(model, action == Action::EraseAll),
        Action::Sort | Action::Reverse => sort(model, action == Action::Reverse),
        Action::Probe => open::probe(model),
        Action::LogOff => {
            open::log_off(model);
            Vec::new()
        }
        Action::Refresh => open::refresh_point(model),
        Action::Copy | Action::CopyAll => copy(model, action == Action::CopyAll),
        Action::Freeze => freeze(model),
        Action::Yes => confirmed(model),
        Action::No => {
            model.confirm = None;
            Vec::new()
        }
        Action::Redraw => vec![Effect::Redraw],
        Action::Suspend => vec![Effect::Suspend],
        Action::Quit => quit(model),
        // Asked once is enough: pressing it again means it.
        Action::Interrupt if model.confirm == Some(Confirm::Stop) => vec![Effect::Quit],
        Action::Interrupt => quit(model),
    }
}

fn confirmed(model: &mut Model) -> Vec<Effect> {
    match model.confirm.take() {
        Some(Confirm::LogOff(address, _)) => {
            let deed = open::act(model, Deed::LogOff(address));
            deed.into_iter().collect()
        }
        Some(Confirm::Stop) => vec![Effect::Quit],
        None => Vec::new(),
    }
}

fn erase(model: &mut Model, all: bool) -> Vec<Effect> {
    let Some(filter) = filter_mut(model) else {
        return Vec::new();
    };
    if filter.is_empty() {
        return Vec::new();
    }
    if all {
        filter.clear();
    } else {
        filter.pop();
    }
    filtered(model)
}

fn sort(model: &mut Model, reverse: bool) -> Vec<Effect> {
    const SESSIONS: [Sort; 6] = [
        Sort::Usual,
        Sort::Address,
        Sort::User,
        Sort::Device,
        Sort::Since,
        Sort::Deadline,
    ];
    const NAMES: [Sort; 2] = [Sort::Usual, Sort::Sessions];
    let orders: &[Sort] = if model.view == View::Names {
        &NAMES
    } else {
        &SESSIONS
    };
    let stale = model.is_stale();
    paged(model, |list, rows, now| {
        if stale {
            list.drop_page();
        }
        if reverse {
            list.reverse();
        } else {
            list.sort(orders);
        }
        list.restart(rows, now)
    })
}

fn step(model: &mut Model, down: bool, by: usize) -> Vec<Effect> {
    if model.detail.is_some() || model.view == View::Help {
        scroll(model, down, by);
        return Vec::new();
    }
    match model.view {
        View::Sessions | View::Names => {
            let mut effects = Vec::new();
            for _ in 0..by {
                effects.extend(paged(model, |list, rows, now| list.step(down, rows, now)));
            }
            effects
        }
        View::Tail => {
            model.tail.step(!down, by);
            Vec::new()
        }
        view => {
            let cursor = model.cursors.entry(view).or_default();
            cursor.selected = if down {
                cursor.selected.saturating_add(by)
            } else {
                cursor.selected.saturating_sub(by)
            };
            Vec::new()
        }
    }
}

fn page(model: &mut Model, down: bool) -> Vec<Effect> {
    let shown = if model.detail.is_some() || model.view == View::Help {
        model.body_lines().saturating_sub(1)
    } else {
        model.list_rows()
    };
    match model.view {
        View::Sessions | View::Names if model.detail.is_none() => {
            paged(model, |list, rows, now| list.turn(down, rows, now))
        }
        _ => step(model, down, shown.max(1)),
    }
}

fn end(model: &mut Model, last: bool) -> Vec<Effect> {
    match model.view {
        View::Sessions | View::Names if model.detail.is_none() => {
            paged(model, |list, rows, now| list.end(last, rows, now))
        }
        _ => step(model, last, super::super::tail::MAX_LINES * 2),
    }
}

/// Scrolls what is read from top to bottom, within its lines.
fn scroll(model: &mut Model, down: bool, by: usize) {
    let length = view::length(model);
    let last = length.saturating_sub(model.body_lines());
    let place = match &mut model.detail {
        Some(detail) => &mut detail.scroll,
        None => &mut model.help_scroll,
    };
    *place = if down {
        place.saturating_add(by).min(last)
    } else {
        place.min(&mut last.clone()).saturating_sub(by)
    };
}

fn turn_kind(model: &mut Model, forward: bool) -> Vec<Effect> {
    model.kind = match (model.kind, forward) {
        (NameKind::Users, true) | (NameKind::Groups, false) => NameKind::Devices,
        (NameKind::Devices, true) | (NameKind::Users, false) => NameKind::Groups,
        (NameKind::Groups, true) | (NameKind::Devices, false) => NameKind::Users,
    };
    page_again(model)
}

fn freeze(model: &mut Model) -> Vec<Effect> {
    if model.frozen.take().is_none() {
        model.frozen = Some(model.now);
        model.held_flow = Some(model.flow.clone());
        return Vec::new();
    }
    model.held_flow = None;
    if let Some(status) = model.held_status.take() {
        model.status = Some(status);
    }
    model.tail.thaw();
    page_again(model)
}

fn copy(model: &mut Model, all: bool) -> Vec<Effect> {
    let Some(text) = view::copied(model, all) else {
        return Vec::new();
    };
    // In the notice blanks stand for what separates columns.
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().replace('\t', "  ");
    let more = match lines.count() {
        0 => String::new(),
        1 => " and 1 more line".to_owned(),
        more => format!(" and {more} more lines"),
    };
    let said = format!("sent to the terminal's clipboard: {first}{more}");
    notice(model, &said, false);
    vec![Effect::Copy(text)]
}

/// The mouse: a click on a view's name or a row, the wheel.
pub(super) fn mouse(model: &mut Model, mouse: Mouse) -> Vec<Effect> {
    if model.confirm.is_some() || model.is_too_small() {
        return Vec::new();
    }
    match mouse {
        Mouse::WheelUp => step(model, false, WHEEL),
        Mouse::WheelDown => step(model, true, WHEEL),
        Mouse::Click { column, line } => click(model, column, line),
    }
}

fn click(model: &mut Model, column: u16, line: u16) -> Vec<Effect> {
    let areas = layout::areas(model.size.0, model.size.1);
    if line == areas.tabs.y {
        let tabs = layout::tabs(model.size.0, model.view);
        let hit = tabs.into_iter().find(|(_, _, at)| at.contains(&column));
        return hit.map_or_else(Vec::new, |(view, _, _)| open::show(model, view));
    }
    if model.detail.is_some() || !areas.body.contains((column, line).into()) {
        return Vec::new();
    }
    let line = line - areas.body.y;
    let top = if model.view == View::Overview {
        OVERVIEW_TOP
    } else {
        LIST_TOP
    };
    let Some(row) = line.checked_sub(top).map(usize::from) else {
        return Vec::new();
    };
    let row = if model.view == View::Overview {
        row / 2
    } else {
        row
    };
    select(model, row)
}

/// Selects a row of the screen; the selected one is opened.
fn select(model: &mut Model, row: usize) -> Vec<Effect> {
    let before = selected_row(model);
    match model.view {
        View::Sessions => Pages::select(&mut model.sessions, row),
        View::Names => {
            let kind = model.kind;
            Pages::select(model.names_mut(kind), row);
        }
        View::Tail => {
            let shown = model.list_rows();
            let first = view::tail_first(model, shown);
            model.tail.select(first.saturating_sub(row));
        }
        View::Help => return Vec::new(),
        view => {
            let length = super::super::rows::count(model, view);
            let cursor = model.cursors.entry(view).or_default();
            let row = cursor.offset + row;
            if row >= length {
                return Vec::new();
            }
            cursor.selected = row;
        }
    }
    if selected_row(model) == before {
        return open::open(model);
    }
    Vec::new()
}

fn selected_row(model: &Model) -> usize {
    match model.view {
        View::Sessions => model.sessions.selected,
        View::Names => model.names().selected,
        View::Tail => model.tail.back.unwrap_or(0),
        view => model.cursor(view).selected,
    }
}
