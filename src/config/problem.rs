//! What is wrong with a configuration: where, what, why, and what to try.
//!
//! Problems are collected, never thrown one at a time, so that one look at the output is enough to mend a file.
//! Rendering is plain text of 80 columns that needs no colour; nothing here knows what the keys mean.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// Columns of a rendered problem.
const WIDTH: usize = 80;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// Path of the key, like `syslog_source[2].senders[0]`; empty for the file as a whole.
    pub key: String,
    /// `name` of the entry that the key belongs to, if it has one.
    pub entry: Option<String>,
    /// What is wrong: one sentence without full stop.
    pub what: String,
    /// Why that is wrong; may be empty.
    pub why: String,
    /// What to try; may be empty.
    pub hint: String,
}

/// A place in a file. Lines and columns count from 1; a line of 0 means the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// Every problem of a file: why it was refused, and the warnings beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// What must be mended, in the order of the file; never empty.
    pub errors: Vec<Problem>,
    /// What may be as it is.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever named the file may have named it anything; it must not move the cursor.
        let shown = self.file.display().to_string();
        f.write_str(&shown.replace(char::is_control, "\u{fffd}"))?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

impl Problem {
    /// The problem as a paragraph; `severity` is the word before the sentence, such as `error`.
    #[must_use]
    pub fn render(&self, severity: &str) -> String {
        let mut text = self.place.to_string();
        let mut key = self.key.clone();
        if let Some(entry) = &self.entry {
            let _ = write!(key, " ({entry})");
        }
        if !key.is_empty() {
            let fits = text.chars().count() + 2 + key.chars().count() <= WIDTH;
            text.push_str(if fits { ": " } else { ":\n    " });
            text.extend(key.chars().map(printable));
        }
        text.push('\n');
        for (label, sentence) in [
            (severity, &self.what),
            ("why", &self.why),
            ("try", &self.hint),
        ] {
            if !sentence.is_empty() {
                wrap(&mut text, label, sentence);
            }
        }
        text
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render("error").trim_end())
    }
}

impl fmt::Display for Problems {
    /// One paragraph a problem, then a line that counts them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.errors {
            writeln!(f, "{}", problem.render("error"))?;
        }
        for problem in &self.warnings {
            writeln!(f, "{}", problem.render("warning"))?;
        }
        write!(f, "{}", count(self.errors.len(), "error"))?;
        if !self.warnings.is_empty() {
            write!(f, ", {}", count(self.warnings.len(), "warning"))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Appends `label: sentence`, folded between words, further lines under the sentence.
fn wrap(text: &mut String, label: &str, sentence: &str) {
    let indent = 4 + label.len() + 2;
    let _ = write!(text, "    {label}: ");
    let mut column = indent;
    for (index, word) in sentence.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text.extend(word.chars().map(printable));
        column += length;
    }
    text.push('\n');
}

/// What the operator wrote is shown, so it may hold anything; it must not move the cursor.
fn printable(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_paragraph_of_80_columns() {
        let problem = Problem {
            place: Place {
                file: "config.toml".into(),
                line: 12,
                column: 5,
            },
            key: "syslog_source[2].senders[0]".to_owned(),
            entry: Some("vpn".to_owned()),
            what: "\"10.0.0.300\" is neither an address nor a network".to_owned(),
            why: "a part of an IPv4 address is at most 255, and this sentence goes on so that it is folded"
                .to_owned(),
            hint: String::new(),
        };
        let text = problem.render("error");
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert_eq!(
            text,
            "config.toml:12:5: syslog_source[2].senders[0] (vpn)\n    \
             error: \"10.0.0.300\" is neither an address nor a network\n    \
             why: a part of an IPv4 address is at most 255, and this sentence goes on so\n         \
             that it is folded\n"
        );
    }

    #[test]
    fn what_the_operator_wrote_cannot_move_the_cursor() {
        let mut text = String::new();
        wrap(&mut text, "error", "a\u{1b}[2Jb");
        assert_eq!(text, "    error: a\u{fffd}[2Jb\n");
    }
}
