//! The table that every list is drawn with: aligned, squeezed and thinned out until it fits, one row selected.

use ratatui::layout::Rect;
use ratatui::text::Span;
use unicode_width::UnicodeWidthStr;

use super::super::theme::{Role, Theme, role_of};
use super::paint::{Paint, Spans, cut};

/// Columns between two columns.
const GAP: usize = 2;

/// Columns of the mark of the selected row.
const MARK: usize = 2;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its heading.
    pub(super) title: &'static str,
    /// The least that it is squeezed to.
    pub(super) least: usize,
    /// Whether it is a number.
    pub(super) number: bool,
    /// Whether it is squeezed before the others are.
    pub(super) yields: bool,
    /// How soon it is left out where there is no room: the highest first, 0 never.
    pub(super) rank: u8,
}

impl Column {
    /// The same, squeezed before the others are.
    pub(super) const fn yielding(self) -> Self {
        Self {
            yields: true,
            ..self
        }
    }
}

/// A column of text.
pub(super) const fn text(title: &'static str, least: usize, rank: u8) -> Column {
    Column {
        title,
        least,
        number: false,
        yields: false,
        rank,
    }
}

/// A column of words that are never cut: states.
pub(super) const fn whole(title: &'static str, rank: u8) -> Column {
    text(title, usize::MAX, rank)
}

/// A column of numbers; half a number is none, so it is never cut.
pub(super) const fn number(title: &'static str, rank: u8) -> Column {
    Column {
        title,
        least: usize::MAX,
        number: true,
        yields: false,
        rank,
    }
}

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    role: Role,
}

impl Cell {
    /// Plain text.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self::of(text, Role::Plain)
    }

    /// Text that is more, or less, than plain.
    pub(super) fn of(text: impl Into<String>, role: Role) -> Self {
        Self {
            text: text.into(),
            role,
        }
    }

    /// A state's word behind its mark.
    pub(super) fn state(state: &str, theme: Theme) -> Self {
        let role = role_of(state);
        Self::of(format!("{} {state}", theme.mark(role)), role)
    }
}

/// Which way a column is sorted; its mark says the same in every view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The smallest, the earliest, A first.
    Rising,
    /// The largest, the latest, Z first.
    Falling,
}

impl Order {
    /// The order, or the other way round.
    pub(super) fn turned(self, reverse: bool) -> Self {
        match (self, reverse) {
            (Self::Rising, false) | (Self::Falling, true) => Self::Rising,
            (Self::Falling, false) | (Self::Rising, true) => Self::Falling,
        }
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// Its columns.
    pub(super) columns: &'a [Column],
    /// The rows that are shown; one of a single cell goes over all columns.
    pub(super) rows: Vec<Vec<Cell>>,
    /// Which of them is selected.
    pub(super) selected: Option<usize>,
    /// The title of the column that it is sorted by, and which way.
    pub(super) sorted: Option<(&'static str, Order)>,
}

impl Table<'_> {
    /// Draws headings and rows from a line of the area on.
    pub(super) fn draw(&self, paint: &mut Paint<'_>, area: Rect, top: u16) {
        let theme = paint.theme;
        let rows = self.cleaned(theme);
        let titles: Vec<String> = self.columns.iter().map(|c| self.title(c, theme)).collect();
        let widths = self.widths(&rows, theme, usize::from(area.width));
        let heading = titles.iter().map(|title| (title.as_str(), Role::Dim));
        let mut spans = vec![theme.say("  ", Role::Plain)];
        spans.extend(self.cells(heading, &widths, theme));
        paint.line(area, top, spans);
        for (number, (row, cleaned)) in self.rows.iter().zip(&rows).enumerate() {
            let selected = self.selected == Some(number);
            let cells = cleaned.iter().map(String::as_str);
            let cells = cells.zip(row.iter().map(|cell| cell.role));
            let mark = if selected {
                theme.marks().selected
            } else {
                " "
            };
            let mut spans = vec![theme.say(&format!("{mark} "), Role::Strong)];
            if let ([only], [cell]) = (cleaned.as_slice(), row.as_slice()) {
                let room = usize::from(area.width).saturating_sub(MARK);
                spans.push(theme.say(&cut(only, room, theme), cell.role));
            } else {
                spans.extend(self.cells(cells, &widths, theme));
            }
            let line = top + 1 + u16::try_from(number).unwrap_or(u16::MAX);
            paint.line(area, line, spans);
            if selected && line < area.height {
                let whole = Rect::new(area.x, area.y + line, area.width, 1);
                paint.buffer.set_style(whole, theme.style(Role::Selected));
            }
        }
    }

    /// The columns that a column gets of so much room; 0 if it is left out.
    pub(super) fn width(&self, title: &str, theme: Theme, room: usize) -> usize {
        let widths = self.widths(&self.cleaned(theme), theme, room);
        let mut columns = self.columns.iter().zip(widths);
        let found = columns.find(|(column, _)| column.title == title);
        found.and_then(|(_, width)| width).unwrap_or(0)
    }

    fn cleaned(&self, theme: Theme) -> Vec<Vec<String>> {
        let row = |row: &Vec<Cell>| row.iter().map(|cell| theme.clean(&cell.text)).collect();
        self.rows.iter().map(row).collect()
    }

    fn widths(&self, rows: &[Vec<String>], theme: Theme, room: usize) -> Vec<Option<usize>> {
        let titles: Vec<String> = self.columns.iter().map(|c| self.title(c, theme)).collect();
        widths(self.columns, &titles, rows, room)
    }

    fn title(&self, column: &Column, theme: Theme) -> String {
        match self.sorted {
            Some((title, order)) if title == column.title => {
                let marks = theme.marks();
                let mark = match order {
                    Order::Rising => marks.rising,
                    Order::Falling => marks.falling,
                };
                format!("{title}{mark}")
            }
            _ => column.title.to_owned(),
        }
    }

    fn cells<'t>(
        &self,
        cells: impl Iterator<Item = (&'t str, Role)>,
        widths: &[Option<usize>],
        theme: Theme,
    ) -> Spans {
        let mut spans: Spans = Vec::new();
        for ((cell, role), (column, width)) in cells.zip(self.columns.iter().zip(widths)) {
            let Some(width) = *width else {
                continue;
            };
            let shown = cut(cell, width, theme);
            let blanks = " ".repeat(width.saturating_sub(shown.width()));
            let gap = " ".repeat(GAP);
            let padded = if column.number {
                format!("{blanks}{shown}{gap}")
            } else {
                format!("{shown}{blanks}{gap}")
            };
            spans.push(Span::styled(padded, theme.style(role)));
        }
        spans
    }
}

/// The columns' widths; `None`: left out.
fn widths(
    columns: &[Column],
    titles: &[String],
    rows: &[Vec<String>],
    room: usize,
) -> Vec<Option<usize>> {
    let natural = |number: usize| {
        let cells = rows.iter().filter(|row| row.len() > 1);
        let cells = cells.filter_map(|row| row.get(number));
        let widest = cells.map(|cell| cell.width()).max().unwrap_or(0);
        widest.max(titles.get(number).map_or(0, |title| title.width()))
    };
    let mut widths: Vec<Option<usize>> = (0..columns.len()).map(|n| Some(natural(n))).collect();
    let taken = |widths: &[Option<usize>]| {
        let shown: Vec<usize> = widths.iter().flatten().copied().collect();
        MARK + shown.iter().sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    let least = |widths: &[Option<usize>]| -> Vec<Option<usize>> {
        let squeezed = widths.iter().zip(columns);
        squeezed
            .map(|(width, column)| width.map(|width| width.min(column.least)))
            .collect()
    };
    while taken(&least(&widths)) > room {
        let shown = columns
            .iter()
            .enumerate()
            .filter(|(n, column)| column.rank > 0 && widths.get(*n).is_some_and(Option::is_some));
        let Some((dropped, _)) = shown.max_by_key(|(_, column)| column.rank) else {
            break;
        };
        if let Some(width) = widths.get_mut(dropped) {
            *width = None;
        }
    }
    while taken(&widths) > room {
        let squeezable = widths.iter_mut().zip(columns);
        let squeezable = squeezable.filter_map(|(width, column)| {
            let width = width.as_mut().filter(|width| **width > column.least)?;
            Some((column.yields, width))
        });
        let Some((_, widest)) = squeezable.max() else {
            break;
        };
        *widest -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_by_rank_then_squeezed() {
        let columns = [text("NAME", 4, 0), text("DETAIL", 8, 1), number("COUNT", 2)];
        let titles: Vec<String> = columns.iter().map(|c| c.title.to_owned()).collect();
        let rows = vec![vec!["a".repeat(12), "d".repeat(30), "12345".to_owned()]];
        let at = |room| widths(&columns, &titles, &rows, room);
        assert_eq!(at(80), [Some(12), Some(30), Some(5)]);
        assert_eq!(at(40), [Some(12), Some(17), Some(5)]);
        assert_eq!(at(20), [Some(8), Some(8), None]);
        assert_eq!(at(10), [Some(8), None, None]);
        let [name, detail, count] = columns;
        let columns = [name, detail.yielding(), count];
        let yielded = widths(&columns, &titles, &rows, 33);
        assert_eq!(yielded, [Some(12), Some(10), Some(5)]);
    }
}
