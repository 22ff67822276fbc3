//! Tail: what happens now, and why something was ignored; the latest line is the last.
//!
//! ```text
//!  / vpn▏                       12 of 1,204 lines · 12 pieces skipped · following
//!
//!    TIME       WHAT          ADDRESS     WHO                FROM  WHY
//!    14:05:09Z  ● logged-on   10.1.2.50   CORP\alice         dc1   displaced CORP\bob
//!  ▸ 14:05:09Z  ○ ignored     10.1.2.51   CORP\svc-backup    dc1   filtered
//! ```

use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::super::model::Model;
use super::super::tail::{Line, MAX_LINES, Said, at};
use super::super::theme::{Role, Theme, role_of};
use super::paint::Paint;
use super::table::{Cell, Column, Table, text};
use super::words::{clock, many, who};
use super::{empty, filter, summary};
use crate::control::protocol::Tail;
use crate::text::{count, thousands};

/// The least that names are squeezed to, if they are longer.
const LEAST_NAME: usize = 12;

/// What they have at most where there is no room.
const MOST_NAME: usize = 16;

const COLUMNS: [Column; 7] = [
    text("TIME", 9, 2),
    text("WHAT", 8, 0),
    text("ADDRESS", 9, 0),
    text("WHO", LEAST_NAME, 0).yielding(),
    text("FROM", 5, 1),
    text("RECORD", 20, 4).yielding(),
    text("WHY", 10, 3),
];

/// The first line that is shown, counted from the latest one.
pub(in super::super) fn first_shown(model: &Model, shown: usize) -> usize {
    let all = model.tail.matching().take(MAX_LINES).count();
    let bottom = bottom(model, shown);
    let visible = shown.min(all.saturating_sub(bottom));
    bottom + visible.saturating_sub(1)
}

/// The last line that is shown, counted from the latest one.
fn bottom(model: &Model, shown: usize) -> usize {
    let back = model.tail.back.unwrap_or(0);
    (back + 1).saturating_sub(shown)
}

pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let theme = model.theme;
    let tail = &model.tail;
    let dot = theme.marks().dot;
    let (told, matching) = tail.counts();
    let lines = count(told, "line");
    let lines = if tail.filter.is_empty() {
        lines
    } else {
        format!("{} of {lines}", many(matching))
    };
    let mut right = vec![theme.say(&lines, Role::Dim)];
    if tail.held() > 0 {
        let text = format!(" {dot} {} wait", many(tail.held()));
        right.push(theme.say(&text, Role::Warn));
    }
    if tail.skipped > 0 {
        let text = format!(" {dot} {} pieces skipped", thousands(tail.skipped));
        right.push(theme.say(&text, Role::Warn));
    }
    if tail.back.is_none() {
        right.push(theme.say(&format!(" {dot} following"), Role::Good));
    } else {
        let text = format!(" {dot} paused, End follows");
        right.push(theme.say(&text, Role::Warn));
    }
    summary(paint, area, filter(model, &tail.filter), right);
    let shown = model.list_rows();
    let bottom = bottom(model, shown);
    let mut lines: Vec<&Line> = tail.matching().skip(bottom).take(shown).collect();
    lines.reverse();
    if lines.is_empty() && told > 0 {
        let hint = "All words of the filter must occur in a line; new lines are looked at as they come. Esc clears it.";
        return empty(paint, area, "No line matches.", hint);
    }
    if lines.is_empty() {
        let hint = "Logons, renewals, log-offs, what was ignored and why, lines that nobody could read: each appears as it happens.";
        return empty(
            paint,
            area,
            "Nothing has happened since you opened this view.",
            hint,
        );
    }
    let back = tail.back.unwrap_or(0);
    let selected = lines.len().checked_sub(1 + back - bottom);
    let room = usize::from(area.width);
    let name = name_that_fits(theme, &lines, room);
    let table = Table {
        columns: &name.columns(&lines),
        rows: rows(theme, &lines, name),
        selected,
        sorted: None,
    };
    table.draw(paint, area, 2);
}

fn rows(theme: Theme, lines: &[&Line], name: Name) -> Vec<Vec<Cell>> {
    lines.iter().map(|line| row(theme, line, name)).collect()
}

/// The most of a domain that neither cuts a name nor a reason.
fn name_that_fits(theme: Theme, lines: &[&Line], room: usize) -> Name {
    let fits = |name: &Name| {
        let table = Table {
            columns: &name.columns(lines),
            rows: rows(theme, lines, *name),
            selected: None,
            sorted: None,
        };
        let width = |title, room| table.width(title, theme, room);
        width("WHY", room) == width("WHY", usize::MAX) && width("WHO", room) >= name.widest(lines)
    };
    let names = [Name::Whole, Name::Label];
    names.into_iter().find(fits).unwrap_or(Name::Bare)
}

/// How much of a domain stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// All: `alice (corp.example.com)`.
    Whole,
    /// Its first label: `alice (corp)`.
    Label,
    /// Nothing; Enter shows it.
    Bare,
}

impl Name {
    /// The columns of the longest of them.
    fn widest(self, lines: &[&Line]) -> usize {
        let subjects = lines.iter().filter_map(|line| match &line.said {
            Said::Told(Tail::Outcome { subject, .. }) => Some(self.of(subject).width()),
            _ => None,
        });
        subjects.max().unwrap_or(0)
    }

    /// The columns; names are cut last.
    fn columns(self, lines: &[&Line]) -> [Column; 7] {
        let least = self.widest(lines).clamp(LEAST_NAME, MOST_NAME);
        COLUMNS.map(|column| match column.title {
            "WHO" => Column { least, ..column },
            _ => column,
        })
    }

    fn of(self, subject: &str) -> String {
        match (subject.split_once('\\'), self) {
            (None, _) | (_, Self::Whole) => who(subject),
            (Some((_, name)), Self::Bare) => name.to_owned(),
            (Some((domain, name)), Self::Label) => {
                let label = domain.split('.').next().unwrap_or_default();
                format!("{name} ({label})")
            }
        }
    }
}

fn row(theme: Theme, line: &Line, name: Name) -> Vec<Cell> {
    match &line.said {
        Said::Told(tail) => cells(theme, tail, name),
        Said::Gap { from, until } => {
            let text = format!("not listening from {} to {}", clock(*from), clock(*until));
            vec![Cell::of(text, Role::Warn)]
        }
    }
}

fn cells(theme: Theme, tail: &Tail, name: Name) -> Vec<Cell> {
    let time = at(tail).map(clock).unwrap_or_default();
    let mut row = vec![Cell::of(time, Role::Dim)];
    let what = |word: &str, role: Role| Cell::of(format!("{} {word}", theme.mark(role)), role);
    match tail {
        Tail::Outcome {
            producer,
            record,
            address,
            subject,
            verdict,
            detail,
            ..
        } => {
            let role = match verdict.as_str() {
                "logged-off" => Role::Plain,
                other => role_of(other),
            };
            row.extend([
                what(verdict, role),
                Cell::new(address.map(|a| a.to_string()).unwrap_or_default()),
                Cell::of(name.of(subject), Role::Strong),
                Cell::of(producer, Role::Dim),
                Cell::of(record, Role::Dim),
                Cell::new(detail),
            ]);
        }
        Tail::Unparsed {
            source,
            line,
            reason,
            ..
        } => row.extend([
            what("unread", Role::Warn),
            Cell::new(""),
            Cell::new(line),
            Cell::of(source, Role::Dim),
            Cell::new(""),
            Cell::new(reason),
        ]),
        Tail::Request { request } => row.extend([
            what("request", Role::Warn),
            Cell::new(request.address.to_string()),
            Cell::new(format!("{} {}", request.method, request.target)),
            Cell::of(&request.point, Role::Dim),
            Cell::new(""),
            Cell::new(&request.reason),
        ]),
        Tail::Skipped { count } => {
            let text = format!(
                "{} {} pieces came too fast and were skipped",
                theme.mark(Role::Warn),
                thousands(*count)
            );
            return vec![Cell::of(text, Role::Warn)];
        }
    }
    row
}
