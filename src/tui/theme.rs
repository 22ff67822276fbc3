//! How things look: sixteen colours or none, UTF-8 or ASCII. A colour never says anything that a word or mark does not.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::control::condition::Condition;
use crate::text::escape;

/// What a piece of the screen is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// What is read.
    Plain,
    /// What is read first.
    Strong,
    /// What is read last.
    Dim,
    /// Headings.
    Heading,
    /// As it should be.
    Good,
    /// Not as it should be, or on the way.
    Warn,
    /// Broken.
    Bad,
    /// A key to press.
    Key,
    /// The row that keys act on, the view that is shown.
    Selected,
    /// What must not be overlooked: frozen, a question.
    Alarm,
}

/// The look of one terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Theme {
    /// Whether there are colours.
    pub(super) colour: bool,
    /// Whether there is more than ASCII.
    pub(super) utf8: bool,
}

/// The marks of a theme.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) good: &'static str,
    pub(super) warn: &'static str,
    pub(super) bad: &'static str,
    pub(super) off: &'static str,
    pub(super) selected: &'static str,
    pub(super) rising: &'static str,
    pub(super) falling: &'static str,
    pub(super) cut: &'static str,
    pub(super) rule: &'static str,
    pub(super) dot: &'static str,
    pub(super) bars: [&'static str; 8],
}

const UTF8: Marks = Marks {
    good: "●",
    warn: "▲",
    bad: "✗",
    off: "○",
    selected: "▸",
    rising: "▴",
    falling: "▾",
    cut: "…",
    rule: "─",
    dot: "·",
    bars: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
};

const ASCII: Marks = Marks {
    good: "*",
    warn: "!",
    bad: "x",
    off: "-",
    selected: ">",
    rising: "^",
    falling: "v",
    cut: "~",
    rule: "-",
    dot: "|",
    bars: ["_", ".", ".", ":", ":", "=", "#", "#"],
};

impl Theme {
    /// The look that fits what the environment says of the terminal: `TERM`, and the first of `LC_ALL`, `LC_CTYPE` and
    /// `LANG` that is set.
    #[must_use]
    pub(super) fn of(colour: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let term = set(&"TERM").unwrap_or_default();
        let plain = matches!(term.as_str(), "linux" | "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
        let locale = locale.unwrap_or_default().to_ascii_uppercase();
        Self {
            colour: colour && term != "dumb",
            utf8: !plain && (locale.contains("UTF-8") || locale.contains("UTF8")),
        }
    }

    pub(super) fn marks(self) -> &'static Marks {
        if self.utf8 { &UTF8 } else { &ASCII }
    }

    pub(super) fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let coloured = |colour| if self.colour { plain.fg(colour) } else { plain };
        match role {
            Role::Plain => plain,
            Role::Strong => plain.add_modifier(Modifier::BOLD),
            Role::Dim => plain.add_modifier(Modifier::DIM),
            Role::Heading => coloured(Color::Cyan).add_modifier(Modifier::BOLD),
            Role::Good => coloured(Color::Green),
            Role::Warn => coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Role::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Role::Key => coloured(Color::Cyan).add_modifier(Modifier::BOLD),
            Role::Selected => plain.add_modifier(Modifier::REVERSED),
            Role::Alarm => {
                coloured(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED)
            }
        }
    }

    /// The only door to the screen for text: nothing that disturbs a terminal passes, nor what it cannot show.
    pub(super) fn say(self, text: &str, role: Role) -> Span<'static> {
        Span::styled(self.clean(text), self.style(role))
    }

    /// The text as it may be shown.
    pub(super) fn clean(self, text: &str) -> String {
        let safe = escape(text);
        if self.utf8 || safe.is_ascii() {
            return safe;
        }
        let mut ascii = String::with_capacity(safe.len());
        for c in safe.chars() {
            match c {
                c if c.is_ascii() => ascii.push(c),
                '…' => ascii.push('~'),
                '·' => ascii.push('|'),
                '—' | '–' | '─' => ascii.push('-'),
                _ => ascii.push('?'),
            }
        }
        ascii
    }

    /// The mark for a role.
    pub(super) fn mark(self, role: Role) -> &'static str {
        let marks = self.marks();
        match role {
            Role::Good => marks.good,
            Role::Warn | Role::Alarm => marks.warn,
            Role::Bad => marks.bad,
            Role::Plain | Role::Strong | Role::Dim | Role::Heading | Role::Key | Role::Selected => {
                marks.off
            }
        }
    }
}

/// What a state's word of the protocol means for the eye.
pub(super) fn role_of(state: &str) -> Role {
    match Condition::of(state) {
        Condition::Good => Role::Good,
        Condition::Unsettled => Role::Warn,
        Condition::Bad => Role::Bad,
        Condition::Neutral => Role::Dim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (bool, bool) {
        let find = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let theme = Theme::of(true, find);
        (theme.colour, theme.utf8)
    }

    #[test]
    fn the_environment_decides_what_can_be_shown() {
        let xterm = ("TERM", "xterm-256color");
        assert_eq!(of(&[xterm, ("LANG", "de_CH.UTF-8")]), (true, true));
        assert_eq!(of(&[xterm, ("LANG", "C.utf8")]), (true, true));
        assert_eq!(
            of(&[xterm, ("LANG", "C.UTF-8"), ("LC_ALL", "C")]),
            (true, false),
            "the first one that is set counts"
        );
        assert_eq!(
            of(&[xterm, ("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8")]),
            (true, true)
        );
        assert_eq!(of(&[xterm]), (true, false));
        assert_eq!(of(&[("TERM", "linux"), ("LANG", "C.UTF-8")]), (true, false));
        assert_eq!(of(&[("TERM", "dumb"), ("LANG", "C.UTF-8")]), (false, false));
    }

    #[test]
    fn what_a_terminal_cannot_show_does_not_reach_it() {
        let ascii = Theme {
            colour: false,
            utf8: false,
        };
        assert_eq!(ascii.clean("Łu\u{1b}[2J…"), "?u\\u{1b}[2J~");
        let utf8 = Theme {
            utf8: true,
            ..ascii
        };
        assert_eq!(utf8.clean("Łu\u{202e}…"), "Łu\\u{202e}…");
    }
}
