//! How text is laid out for people, and made safe for their terminal.
//!
//! Everything that came from outside passes through [`escape`]: no control or text-direction character reaches a
//! terminal. Widths are columns on a terminal, not characters. Nothing is cut: what does not fit goes to a further line.
//! Colour says nothing that the words do not say, and what it means is decided in [`tone`].

use std::sync::atomic::{AtomicUsize, Ordering};

use clap::builder::styling::{AnsiColor, Style};
use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::control::condition::Condition;
use crate::text::disturbs;

pub(super) use crate::text::{ago, ago_or_never, count, escape, millis, span, thousands};

/// Columns of the screen that everything fits on, and how many are used unless a terminal says otherwise.
pub(super) const WIDTH: usize = 80;

/// Columns beyond which lines are hard to read.
const WIDEST: usize = 120;

/// Columns that are used: set once, before anything is laid out.
static COLUMNS: AtomicUsize = AtomicUsize::new(WIDTH);

/// The least that a column is squeezed to.
const MIN_COLUMN: usize = 6;

/// Columns between two columns of a table.
const GAP: usize = 2;

/// Headings.
pub(super) const HEADING: Style = Style::new().bold();

/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();

/// What wants an operator.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// What is on its way, or not quite as it should be.
const UNSETTLED: Style = AnsiColor::Yellow.on_default();

/// What does not work.
const BAD: Style = AnsiColor::Red.on_default().bold();

/// The colour of a state, by its word: green works, yellow is on its way or not quite well, red does not work.
pub(super) fn tone(state: &str) -> Style {
    match Condition::of(state) {
        Condition::Good => GOOD,
        Condition::Unsettled => UNSETTLED,
        Condition::Bad => BAD,
        Condition::Neutral => Style::new(),
    }
}

/// Whether colours may be used on stdout: what was chosen on the command line, else what the environment says.
pub(super) fn colour() -> bool {
    match anstream::ColorChoice::global() {
        anstream::ColorChoice::Never => false,
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => true,
        anstream::ColorChoice::Auto => std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    }
}

/// Uses the width of the terminal that stdout is, within bounds; without one everything stays as wide as before.
pub(super) fn fit_terminal() {
    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout()) {
        let columns = usize::from(size.ws_col).clamp(WIDTH, WIDEST);
        COLUMNS.store(columns, Ordering::Relaxed);
    }
}

/// Columns that a line may have.
fn width() -> usize {
    COLUMNS.load(Ordering::Relaxed)
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    cells: Cells,
}

/// How the cells of a column look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cells {
    /// Words, from the left.
    Text,
    /// Numbers, to the right.
    Number,
    /// Words for states, coloured.
    State,
}

impl From<&'static str> for Column {
    fn from(title: &'static str) -> Self {
        text(title)
    }
}

/// A column of words.
pub(super) const fn text(title: &'static str) -> Column {
    let cells = Cells::Text;
    Column { title, cells }
}

/// A column of numbers.
pub(super) const fn number(title: &'static str) -> Column {
    let cells = Cells::Number;
    Column { title, cells }
}

/// A column of states.
pub(super) const fn state(title: &'static str) -> Column {
    let cells = Cells::State;
    Column { title, cells }
}

/// JSON with the same characters written as JSON writes them; outside strings it has none but line ends.
pub(super) fn escape_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && disturbs(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// The text in lines of at most `width` columns, broken between words, within a word only if it is too long.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or("", String::as_str);
        let start = line.is_empty();
        if !start && line.width() + 1 + word.width() <= width {
            append(&mut lines, " ");
            append(&mut lines, word);
            continue;
        }
        if !start {
            lines.push(String::new());
        }
        for c in word.chars() {
            let used = lines.last().map_or(0, |l| l.width());
            if used > 0 && used + c.width().unwrap_or(0) > width {
                lines.push(String::new());
            }
            append(&mut lines, c.encode_utf8(&mut [0; 4]));
        }
    }
    lines
}

fn append(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

/// `label  text`, the text folded to the screen and indented under itself; escaped.
pub(super) fn field(indent: usize, label: &str, label_width: usize, text: &str) -> String {
    let column = indent + label_width + GAP;
    let folded = wrap(
        &escape(text),
        width().saturating_sub(column).max(MIN_COLUMN),
    );
    let mut rendered = String::new();
    for (number, line) in folded.iter().enumerate() {
        let label = if number == 0 { label } else { "" };
        let left = format!("{:indent$}{}", "", padded(label, label_width + GAP));
        rendered.push_str(format!("{left}{line}").trim_end());
        rendered.push('\n');
    }
    rendered
}

/// The text folded to the screen; escaped.
pub(super) fn paragraph(text: &str) -> String {
    indented(0, text)
}

/// The text folded to the screen behind `indent` blanks; escaped.
pub(super) fn indented(indent: usize, text: &str) -> String {
    let folded = wrap(&escape(text), width().saturating_sub(indent));
    let lines = folded.iter().map(|line| format!("{:indent$}{line}\n", ""));
    lines.collect()
}

/// Rows under a heading, columns as wide as needed, the widest squeezed until all fits the screen; cells are escaped.
pub(super) fn table<C: Copy + Into<Column>>(
    indent: usize,
    heading: &[C],
    rows: &[Vec<String>],
) -> String {
    let columns: Vec<Column> = heading.iter().map(|&column| column.into()).collect();
    table_of(indent, &columns, rows, width())
}

fn table_of(indent: usize, columns: &[Column], rows: &[Vec<String>], screen: usize) -> String {
    let heading: Vec<String> = columns.iter().map(|c| c.title.to_owned()).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| escape(cell)).collect())
        .collect();
    let room = screen.saturating_sub(indent + GAP * heading.len().saturating_sub(1));
    let widths = widths(room, &heading, &rows);
    let titles: Vec<Cells> = (columns.iter())
        .map(|c| match c.cells {
            Cells::Number => Cells::Number,
            Cells::Text | Cells::State => Cells::Text,
        })
        .collect();
    let cells: Vec<Cells> = columns.iter().map(|c| c.cells).collect();
    let mut text = line_of_table(indent, &heading, &widths, &titles);
    for row in &rows {
        text.push_str(&line_of_table(indent, row, &widths, &cells));
    }
    text
}

fn widths(room: usize, heading: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let natural = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|c| c.width()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (heading.iter().enumerate())
        .map(|(column, title)| natural(column).max(title.width()))
        .collect();
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max().filter(|w| **w > MIN_COLUMN) else {
            break;
        };
        *widest -= 1;
    }
    widths
}

fn line_of_table(indent: usize, cells: &[String], widths: &[usize], kinds: &[Cells]) -> String {
    let folded: Vec<Vec<String>> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| wrap(cell, *width))
        .collect();
    let height = folded.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for line in 0..height {
        // Blanks are written only before something, so that no line ends with one.
        let mut blanks = indent;
        for (((part, cell), width), kind) in folded.iter().zip(cells).zip(widths).zip(kinds) {
            let part = part.get(line).map_or("", String::as_str);
            let rest = width.saturating_sub(part.width());
            let (before, after) = match kind {
                Cells::Number => (rest, 0),
                Cells::Text | Cells::State => (0, rest),
            };
            blanks += before;
            if !part.is_empty() {
                text.push_str(&" ".repeat(blanks));
                text.push_str(&match kind {
                    Cells::State => styled(part, tone(cell)),
                    Cells::Text | Cells::Number => part.to_owned(),
                });
                blanks = 0;
            }
            blanks += after + GAP;
        }
        text.push('\n');
    }
    text
}

/// The text in a style, without a trace of it if it is plain.
pub(super) fn styled(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

fn padded(text: &str, width: usize) -> String {
    let blanks = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(blanks))
}

/// The instant to the second, in UTC.
pub(super) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        let json = serde_json::to_string("a\u{1b}\u{9b}\u{202e}").expect("json");
        let safe = escape_json(&json);
        assert_eq!(safe, r#""a\u001b\u009b\u202e""#);
        let back: String = serde_json::from_str(&safe).expect("the same JSON");
        assert_eq!(back, "a\u{1b}\u{9b}\u{202e}");
    }

    #[test]
    fn a_table_fits_the_screen_whatever_is_in_it() {
        let rows = vec![
            vec!["山田太郎".to_owned(), "active".to_owned(), "x".repeat(120)],
            vec![
                "vpn".to_owned(),
                "a word and another that is very long indeed".to_owned(),
                "y".to_owned(),
            ],
        ];
        let text = table(2, &["NAME", "STATE", "DETAIL"], &rows);
        for line in text.lines() {
            assert!(line.width() <= WIDTH, "{line}");
        }
        assert_eq!(text.matches('x').count(), 120, "nothing is cut");
        let columns: Vec<usize> = text
            .lines()
            .take(2)
            .map(|l| l.find("STATE").or(l.find("active")).expect("column"))
            .collect();
        assert_eq!(columns[0], 12, "{text}");
        assert_eq!(
            text.lines().nth(1).expect("row")[..columns[1]].width(),
            12,
            "wide characters take two columns"
        );
    }

    #[test]
    fn numbers_stand_to_the_right_and_states_have_their_colour() {
        let rows = [["a", "1,204", "down", "x"], ["b", "7", "later", "y"]]
            .map(|row| row.map(str::to_owned).to_vec());
        let columns = [text("NAME"), number("READ"), state("STATE"), text("DETAIL")];
        let table = table(2, &columns, &rows);
        let plain = anstream::adapter::strip_str(&table).to_string();
        assert_eq!(
            plain,
            "  NAME   READ  STATE  DETAIL\n  a     1,204  down   x\n  b         7  later  y\n"
        );
        assert!(table.contains(&styled("down", BAD)), "{table:?}");
        assert!(
            table.contains("  later  "),
            "no colour for what is not known"
        );
    }

    #[test]
    fn a_wider_screen_folds_less() {
        let rows = vec![vec!["vpn".to_owned(), "x".repeat(100)]];
        let columns = ["NAME", "DETAIL"].map(Column::from);
        let lines = |screen| table_of(0, &columns, &rows, screen).lines().count();
        assert_eq!((lines(WIDTH), lines(WIDEST)), (3, 2));
    }

    #[test]
    fn numbers_have_groups_of_three() {
        let of = [0, 999, 1_000, 12_345, 1_234_567].map(thousands);
        assert_eq!(of, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(count(1, "user"), "1 user");
        assert_eq!(count(2_013, "user"), "2,013 users");
    }
}
