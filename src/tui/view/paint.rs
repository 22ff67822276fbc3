//! Putting lines of text on the screen, and pages that are read from top to bottom.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::theme::{Role, Theme, role_of};
use crate::text::ago;

/// A line of the screen.
pub(super) type Spans = Vec<Span<'static>>;

/// How many columns a line takes.
pub(super) fn width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(Span::width).sum()
}

/// The screen that is being drawn.
pub(super) struct Paint<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) theme: Theme,
}

impl Paint<'_> {
    /// A line of an area, from its left; what does not fit is cut.
    pub(super) fn line(&mut self, area: Rect, line: u16, spans: Spans) {
        if line < area.height {
            let text = Line::from(spans);
            self.buffer
                .set_line(area.x, area.y + line, &text, area.width);
        }
    }

    /// A line of an area that ends at its right.
    pub(super) fn right(&mut self, area: Rect, line: u16, spans: Spans) {
        let taken = u16::try_from(width(&spans)).unwrap_or(u16::MAX);
        let taken = taken.min(area.width);
        let at = Rect {
            x: area.x + area.width - taken,
            width: taken,
            ..area
        };
        self.line(at, line, spans);
    }
}

/// The text in at most so many columns, with a mark where it was cut.
pub(super) fn cut(text: &str, columns: usize, theme: Theme) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mark = theme.marks().cut;
    let room = columns.saturating_sub(mark.width());
    let mut kept = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > room {
            break;
        }
        kept.push(c);
    }
    if columns > 0 {
        kept.push_str(mark);
    }
    kept
}

/// The text in lines of at most `columns`, broken between words, within one only if it is too long.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if !line.is_empty() && line.width() + c.width().unwrap_or(0) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

/// Columns of the labels of a page.
const LABELS: usize = 13;

/// A page that is read from top to bottom.
pub(super) struct Page {
    pub(super) theme: Theme,
    /// The instant that it is seen from.
    pub(super) now: Timestamp,
    pub(super) lines: Vec<Spans>,
    columns: usize,
}

impl Page {
    /// An empty page of so many columns.
    pub(super) fn new(theme: Theme, columns: u16, now: Timestamp) -> Self {
        Self {
            theme,
            now,
            lines: Vec::new(),
            columns: usize::from(columns),
        }
    }

    /// The first line: what it is of, and how it is.
    pub(super) fn title(&mut self, name: &str, what: &str, state: &str) {
        let theme = self.theme;
        let role = role_of(state);
        let mut spans = vec![theme.say(name, Role::Strong), theme.say("  ", Role::Plain)];
        if !what.is_empty() {
            spans.push(theme.say(&format!("{what}  "), Role::Dim));
        }
        if !state.is_empty() {
            spans.push(theme.say(&format!("{} {state}", theme.mark(role)), role));
        }
        self.lines.push(spans);
        self.blank();
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.lines.push(Vec::new());
    }

    /// A heading, after an empty line.
    pub(super) fn heading(&mut self, text: &str) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.blank();
        }
        self.lines.push(vec![self.theme.say(text, Role::Heading)]);
    }

    /// A label and what stands behind it, folded under itself; nothing if there is nothing.
    pub(super) fn field(&mut self, label: &str, text: &str) {
        self.field_as(label, text, Role::Plain);
    }

    /// [`Page::field`] that is more than plain.
    pub(super) fn field_as(&mut self, label: &str, text: &str, role: Role) {
        if text.is_empty() {
            return;
        }
        let room = self.columns.saturating_sub(LABELS + 2).max(20);
        let mut label = label;
        for text in text.lines() {
            for line in wrap(&self.theme.clean(text), room) {
                let shown = format!("  {label:<LABELS$}");
                let spans = vec![
                    self.theme.say(&shown, Role::Dim),
                    self.theme.say(&line, role),
                ];
                self.lines.push(spans);
                label = "";
            }
        }
    }

    /// An instant behind a label.
    pub(super) fn time(&mut self, label: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            let text = format!(
                "{}  ({})",
                at.strftime("%Y-%m-%d %H:%M:%SZ"),
                ago(at, self.now)
            );
            self.field(label, &text);
        }
    }

    /// A thing with its mark, folded under itself.
    pub(super) fn item(&mut self, role: Role, text: &str, rest: &str) {
        let theme = self.theme;
        let room = self.columns.saturating_sub(4).max(20);
        let mark = theme.mark(role);
        for (number, line) in wrap(&theme.clean(text), room).into_iter().enumerate() {
            let mark = if number == 0 { mark } else { " " };
            self.lines.push(vec![
                theme.say(&format!("  {mark} "), role),
                theme.say(&line, Role::Plain),
            ]);
        }
        for text in rest.lines() {
            for line in wrap(&theme.clean(text), room) {
                self.lines
                    .push(vec![theme.say(&format!("    {line}"), Role::Dim)]);
            }
        }
    }

    /// A paragraph.
    pub(super) fn text(&mut self, text: &str, role: Role) {
        for line in wrap(&self.theme.clean(text), self.columns.max(20)) {
            self.lines.push(vec![self.theme.say(&line, role)]);
        }
    }

    /// The page as text.
    pub(super) fn plain(&self) -> String {
        let line = |spans: &Spans| {
            let text: String = spans.iter().map(|span| span.content.as_ref()).collect();
            text.trim_end().to_owned()
        };
        let lines: Vec<String> = self.lines.iter().map(line).collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// Draws it from a line on; at the right of the last line how much is below.
    pub(super) fn draw(self, paint: &mut Paint<'_>, area: Rect, scroll: usize) {
        let height = usize::from(area.height);
        let last = self.lines.len().saturating_sub(height);
        let scroll = scroll.min(last);
        let below = last - scroll;
        let shown = self.lines.into_iter().skip(scroll).take(height);
        for (line, spans) in (0..).zip(shown) {
            paint.line(area, line, spans);
        }
        if below > 0 {
            let theme = paint.theme;
            let more = format!(" {} {below} more ", theme.marks().falling);
            paint.right(area, area.height - 1, vec![theme.say(&more, Role::Key)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_and_folding_count_columns() {
        let theme = Theme {
            colour: false,
            utf8: true,
        };
        assert_eq!(cut("山田太郎", 5, theme), "山田…");
        assert_eq!(cut("alice", 5, theme), "alice");
        assert_eq!(cut("alice", 0, theme), "");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
    }
}
