//! The screen: what is around every view, and which view is drawn. One file a view; its picture is in its first lines.
//!
//! Drawing only reads the model. Every text goes through [`Theme::say`](super::theme::Theme::say) or a table's cells,
//! so that nothing from outside reaches the terminal as it came.

mod detail;
mod help;
mod links;
mod names;
mod overview;
mod paint;
mod points;
mod sessions;
mod sources;
mod table;
mod tail;
mod words;

use ratatui::Frame;
#[cfg(test)]
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

use self::paint::{Page, Paint, Spans, width, wrap};
use self::words::clock;
use super::keymap::{Action, KEYMAP};
use super::layout::{self, LEAST};
use super::model::{Confirm, Link, Model, View};
use super::theme::{Role, role_of};
use crate::text::{ago, span};

pub(super) use self::tail::first_shown as tail_first;

/// Draws everything.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let mut paint = Paint {
        buffer: frame.buffer_mut(),
        theme: model.theme,
    };
    if !layout::fits(area.width, area.height) {
        too_small(model, &mut paint, area);
        return;
    }
    let areas = layout::areas(area.width, area.height);
    head(model, &mut paint, areas.head);
    tabs(model, &mut paint, areas.tabs);
    let rule = model
        .theme
        .marks()
        .rule
        .repeat(usize::from(areas.rule.width));
    paint.line(areas.rule, 0, vec![model.theme.say(&rule, Role::Dim)]);
    body(model, &mut paint, areas.body);
    notice(model, &mut paint, areas.notice);
    keys(model, &mut paint, areas.keys);
}

/// What is needed comes first: it is what must not be cut. Keys do nothing here but end the dashboard.
fn too_small(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let (columns, lines) = LEAST;
    let theme = paint.theme;
    let size = format!(
        "{columns}x{lines} needed, this is {}x{}",
        area.width, area.height
    );
    let (keys, role) = match (&model.confirm, &model.setting.ends) {
        (Some(_), Some(ends)) => (format!("q again stops {ends}"), Role::Alarm),
        _ => ("q quits".to_owned(), Role::Dim),
    };
    let room = usize::from(area.width).max(1);
    let size = wrap(&size, room)
        .into_iter()
        .map(|line| (line, Role::Strong));
    // A question is seen even where there is one line.
    let first = model.confirm.is_some();
    let keys: Vec<_> = (wrap(&keys, room).into_iter())
        .map(|line| (line, role))
        .collect();
    let shown: Vec<_> = if first {
        keys.into_iter().chain(size).collect()
    } else {
        size.chain(keys).collect()
    };
    for (line, (text, role)) in (0..).zip(shown) {
        paint.line(area, line, vec![theme.say(&text, role)]);
    }
}

/// ` jims 0.1.0  hq (head office)          ● ready · up 3 h · 14:05:09Z`
fn head(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let mut left = vec![theme.say(" jims ", Role::Strong)];
    if let Some(status) = &model.status {
        let collector = &status.collector;
        let mut name = collector.name.clone();
        if !collector.description.is_empty() {
            name.push_str(&format!(" ({})", collector.description));
        }
        left.push(theme.say(&format!("{}  ", status.version), Role::Dim));
        left.push(theme.say(&name, Role::Plain));
    }
    let mut right: Spans = Vec::new();
    let dot = theme.marks().dot;
    if let Some(since) = model.frozen {
        let age = ago(since, model.now);
        right.push(theme.say(&format!(" FROZEN {age} "), Role::Alarm));
        right.push(theme.say("  ", Role::Plain));
    }
    match (&model.link, &model.status) {
        (Link::Lost { since, .. }, _) => {
            let gone = model.now.as_second().saturating_sub(since.as_second());
            let gone = span(std::time::Duration::from_secs(
                u64::try_from(gone).unwrap_or(0),
            ));
            let text = format!("{} no answer for {gone}", theme.marks().bad);
            right.push(theme.say(&text, Role::Bad));
        }
        (_, None) => right.push(theme.say("connecting", Role::Warn)),
        (_, Some(status)) => {
            let role = role_of(&status.collector.state);
            let state = format!("{} {}", theme.mark(role), status.collector.state);
            right.push(theme.say(&state, role));
            // What must not be overlooked needs the room.
            if model.frozen.is_none() {
                let up = model.now.as_second() - status.collector.started.as_second();
                let up = std::time::Duration::from_secs(u64::try_from(up).unwrap_or(0));
                right.push(theme.say(&format!(" {dot} up {}", span(up)), Role::Plain));
            }
        }
    }
    let now = format!(" {dot} {} ", clock(model.now));
    right.push(theme.say(&now, Role::Dim));
    let room = usize::from(area.width).saturating_sub(width(&right) + 1);
    let room = u16::try_from(room).unwrap_or(0);
    paint.line(
        Rect {
            width: room,
            ..area
        },
        0,
        left,
    );
    paint.right(area, 0, right);
}

fn tabs(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    for (view, label, place) in layout::tabs(area.width, model.view) {
        let at = Rect {
            x: place.start,
            width: place.end - place.start,
            ..area
        };
        let spans = if view == model.view {
            vec![theme.say(&label, Role::Selected)]
        } else {
            let (number, name) = label.split_at(1);
            vec![theme.say(number, Role::Key), theme.say(name, Role::Plain)]
        };
        paint.line(at, 0, spans);
    }
}

fn body(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    if model.view == View::Help && model.detail.is_none() {
        help::page(model, area.width).draw(paint, area, model.help_scroll);
        return;
    }
    if model.status.is_none() {
        waiting(model, area.width).draw(paint, area, 0);
        return;
    }
    if let Some(detail) = &model.detail {
        detail::page(model, detail, area.width).draw(paint, area, detail.scroll);
    } else {
        match model.view {
            View::Overview => overview::draw(model, paint, area),
            View::Producers | View::Directories => sources::draw(model, paint, area),
            View::Sessions => sessions::draw(model, paint, area),
            View::Names => names::draw(model, paint, area),
            View::Points => points::draw(model, paint, area),
            View::Links => links::draw(model, paint, area),
            View::Tail => tail::draw(model, paint, area),
            View::Help => {}
        }
    }
    if let Link::Lost { since, .. } = model.link {
        // No colour says how a thing is: nobody knows.
        let dim = Style::new().fg(Color::Reset).add_modifier(Modifier::DIM);
        paint.buffer.set_style(area, dim);
        if model.view == View::Overview && model.detail.is_none() {
            overview::unknown(model, since, paint, area);
        }
    }
}

/// What is shown before there is anything to show.
fn waiting(model: &Model, columns: u16) -> Page {
    let mut page = Page::new(model.theme, columns, model.now);
    page.blank();
    match &model.link {
        Link::Lost { why, .. } => {
            page.text("The service does not answer.", Role::Strong);
            page.blank();
            page.field("asked at", &model.setting.socket);
            page.field("what", &why.message);
            page.field_as("try", &why.remedy, Role::Strong);
            page.blank();
            page.text(
                "It is asked again by itself, at least every 5 s; the dashboard begins when it answers.",
                Role::Dim,
            );
        }
        Link::Connecting | Link::Connected => {
            page.text("Asking the service how it is.", Role::Plain);
            page.blank();
            page.field("asked at", &model.setting.socket);
        }
    }
    page
}

/// The line for what happened, what is asked, what is typed.
fn notice(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let lost = model.is_stale() && model.status.is_some();
    let spans = if let Some(confirm) = &model.confirm {
        let room = usize::from(area.width).saturating_sub(1);
        let text = question(model, confirm, room);
        vec![theme.say(" ", Role::Plain), theme.say(&text, Role::Alarm)]
    } else if let Some(notice) = model.notice.as_ref().filter(|n| !lost || n.passes()) {
        let role = if notice.wrong { Role::Warn } else { Role::Good };
        let mark = theme.mark(role);
        let text = theme.clean(&format!(" {mark} {}", notice.text));
        vec![theme.say(&paint::cut(&text, usize::from(area.width), theme), role)]
    } else if let Link::Lost { why, .. } = &model.link
        && model.status.is_some()
    {
        let remedy = if why.remedy.is_empty() {
            String::new()
        } else {
            format!("; try: {}", why.remedy)
        };
        let text = format!(" data of {}: {}{remedy}", seen(model), why.message);
        let text = paint::cut(&theme.clean(&text), usize::from(area.width), theme);
        vec![theme.say(&text, Role::Bad)]
    } else if let Some(deed) = model.doing.first() {
        let text = match deed {
            super::message::Deed::Probe(target) => format!(" probing {target}"),
            super::message::Deed::LogOff(address) => format!(" logging off {address}"),
            super::message::Deed::Refresh(point) => format!(" telling {point} everything"),
        };
        vec![theme.say(&text, Role::Dim)]
    } else {
        Vec::new()
    };
    paint.line(area, 0, spans);
}

/// What is asked; what comes of it in as many words as fit, because who is meant must be seen.
fn question(model: &Model, confirm: &Confirm, room: usize) -> String {
    let theme = model.theme;
    match confirm {
        Confirm::LogOff(address, who) => {
            let asked = theme.clean(&format!("Log off {who} at {address}?"));
            let said = [
                " Firewalls are told at once, or at their next query.",
                " Firewalls hear at once or when they ask.",
            ];
            let fits = |said: &&&str| asked.width() + said.len() <= room;
            match said.iter().find(fits) {
                Some(said) => format!("{asked}{said}"),
                None => paint::cut(&asked, room, theme),
            }
        }
        Confirm::Stop => {
            let ends = model.setting.ends.as_deref().unwrap_or_default();
            paint::cut(&format!("Stop {ends} and leave?"), room, theme)
        }
    }
}

fn seen(model: &Model) -> String {
    (model.status.as_ref()).map_or_else(String::new, |status| ago(status.at, model.now))
}

/// The keys that hold here, as many as fit.
fn keys(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let mut spans = vec![theme.say(" ", Role::Plain)];
    let room = usize::from(area.width).saturating_sub(8);
    for place in model.places() {
        let here = KEYMAP
            .iter()
            .filter(|b| b.place == *place && !b.label.is_empty())
            .filter(|b| b.action != Action::Probe || model.may_probe());
        for binding in here {
            let key = binding.shown.split(' ').next().unwrap_or_default();
            let add = [
                theme.say(key, Role::Key),
                theme.say(&format!(" {}  ", binding.label), Role::Dim),
            ];
            if width(&spans) + width(&add) > room {
                break;
            }
            spans.extend(add);
        }
    }
    paint.line(area, 0, spans);
    paint.right(
        area,
        0,
        vec![theme.say("?", Role::Key), theme.say(" help ", Role::Dim)],
    );
}

/// How many lines the open detail, or Help, has.
pub(super) fn length(model: &Model) -> usize {
    let columns = layout::areas(model.size.0, model.size.1).body.width;
    match &model.detail {
        Some(detail) => detail::page(model, detail, columns).lines.len(),
        None => help::page(model, columns).lines.len(),
    }
}

/// What is copied of the open or selected thing: its name, or all that is shown of it.
pub(super) fn copied(model: &Model, all: bool) -> Option<String> {
    if let Some(detail) = &model.detail {
        return Some(if all {
            detail::page(model, detail, 100).plain()
        } else {
            detail::name(&detail.of)
        });
    }
    if model.view == View::Names {
        return names::copied(model, all);
    }
    let of = super::rows::selected(model)?;
    if !all {
        return Some(detail::name(&of));
    }
    if model.view == View::Sessions {
        return sessions::copied(model);
    }
    let detail = super::model::Detail::new(of);
    Some(detail::page(model, &detail, 100).plain())
}

/// The line that sums a list up, above its headings.
fn summary(paint: &mut Paint<'_>, area: Rect, left: Spans, right: Spans) {
    paint.line(area, 0, left);
    paint.right(area, 0, right);
}

/// What stands in place of an empty list.
fn empty(paint: &mut Paint<'_>, area: Rect, what: &str, hint: &str) {
    let theme = paint.theme;
    paint.line(area, 2, vec![theme.say(what, Role::Strong)]);
    let room = usize::from(area.width).max(20);
    for (line, text) in (4..).zip(wrap(&theme.clean(hint), room)) {
        paint.line(area, line, vec![theme.say(&text, Role::Dim)]);
    }
}

/// The filter as it stands or is typed: `/ ali_`
fn filter(model: &Model, filter: &str) -> Spans {
    let theme = model.theme;
    let cursor = if theme.utf8 { "▏" } else { "_" };
    match (model.typing, filter.is_empty()) {
        (true, _) => vec![
            theme.say("/ ", Role::Key),
            theme.say(filter, Role::Strong),
            theme.say(cursor, Role::Key),
        ],
        (false, false) => vec![theme.say("/ ", Role::Key), theme.say(filter, Role::Strong)],
        (false, true) => vec![theme.say("/ to filter", Role::Dim)],
    }
}

/// A small diagram of the latest readings, as wide as there is room.
fn spark(model: &Model, readings: &std::collections::VecDeque<u64>, columns: usize) -> String {
    let bars = model.theme.marks().bars;
    let shown = readings.iter().rev().take(columns).rev();
    let most = shown.clone().copied().max().unwrap_or(0).max(1);
    let bar = |reading: &u64| {
        let level = reading.saturating_mul(7).div_ceil(most);
        let level = usize::try_from(level).unwrap_or(7).min(7);
        bars.get(level).copied().unwrap_or(" ")
    };
    shown.map(bar).collect()
}

/// The buffer of a screen of this size, for tests.
#[cfg(test)]
pub(super) fn drawn(model: &Model) -> Buffer {
    let backend = ratatui::backend::TestBackend::new(model.size.0, model.size.1);
    let mut terminal = ratatui::Terminal::new(backend).expect("a terminal in memory");
    terminal
        .draw(|frame| draw(model, frame))
        .expect("drawn in memory");
    terminal.backend().buffer().clone()
}
