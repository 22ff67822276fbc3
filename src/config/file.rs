//! The configuration file as a tree that knows where each of its parts stands, and the list of what is wrong with it.
//!
//! A [`Table`] remembers which keys were asked for, so that the keys it knows are written once, where they are read,
//! and every other key is a problem. An absent table is read like an empty one. What keys mean is said in `resolve`,
//! how values of one kind are written in `value`.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, Problems};
use super::suggest;

/// Largest configuration file in bytes; several thousand sources fit.
pub(super) const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// What reading a file gathers: its text for places, and the problems so far.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    file: &'a Path,
    text: &'a str,
    errors: RefCell<Vec<(usize, Problem)>>,
    warnings: RefCell<Vec<(usize, Problem)>>,
}

/// Where a table or a value stands.
#[derive(Clone, Debug)]
pub(super) struct Spot<'a> {
    pub(super) findings: &'a Findings<'a>,
    /// Path of the key.
    pub(super) key: String,
    /// `name` of the entry around it.
    entry: Option<String>,
    span: Range<usize>,
}

/// A table, there or absent.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) spot: Spot<'a>,
    map: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    /// Required keys that are not there, each with an example of its value.
    missing: RefCell<Vec<(&'static str, String)>>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    pub(super) spot: Spot<'a>,
    pub(super) inner: &'a DeValue<'a>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            text,
            errors: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// Whether the file is refused by what was found so far.
    pub(super) fn any_error(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// The folder that relative paths start from.
    pub(super) fn folder(&self) -> &'a Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// A path of the file, made relative to the file's folder.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.folder().join(written)
    }

    /// A mistake in the syntax.
    pub(super) fn syntax(&self, error: &toml::de::Error) {
        let spot = Spot {
            findings: self,
            key: String::new(),
            entry: None,
            span: error.span().unwrap_or(0..0),
        };
        let line = self.line_text(spot.span.start);
        spot.error(
            format!("this is not TOML: {}", error.message()),
            "",
            syntax_hint(error.message(), line),
        );
    }

    /// The problems in the order of the file: those that refuse it, and the warnings.
    pub(super) fn into_problems(self) -> Problems {
        let sorted = |found: RefCell<Vec<(usize, Problem)>>| {
            let mut found = found.into_inner();
            found.sort_by_key(|(offset, _)| *offset);
            found.into_iter().map(|(_, problem)| problem).collect()
        };
        Problems {
            errors: sorted(self.errors),
            warnings: sorted(self.warnings),
        }
    }

    fn place(&self, offset: usize) -> Place {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn line_text(&self, offset: usize) -> &str {
        let offset = self.text.floor_char_boundary(offset);
        let start = self.text[..offset].rfind('\n').map_or(0, |n| n + 1);
        self.text[start..].lines().next().unwrap_or_default()
    }
}

impl Spot<'_> {
    /// Refuses the file: what is wrong, why, what to try.
    pub(super) fn error(&self, what: impl Into<String>, why: &str, hint: impl Into<String>) {
        let problem = self.problem(what.into(), why, hint.into());
        self.findings
            .errors
            .borrow_mut()
            .push((self.span.start, problem));
    }

    /// Says what may be a mistake.
    pub(super) fn warning(&self, what: impl Into<String>, why: &str, hint: impl Into<String>) {
        let problem = self.problem(what.into(), why, hint.into());
        self.findings
            .warnings
            .borrow_mut()
            .push((self.span.start, problem));
    }

    /// `line N`, to point at this spot from another problem.
    pub(super) fn line(&self) -> String {
        format!("line {}", self.findings.place(self.span.start).line)
    }

    fn problem(&self, what: String, why: &str, hint: String) -> Problem {
        Problem {
            place: self.findings.place(self.span.start),
            key: self.key.clone(),
            entry: self.entry.clone(),
            what,
            why: why.to_owned(),
            hint,
        }
    }
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(findings: &'a Findings<'a>, root: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            spot: Spot {
                findings,
                key: String::new(),
                entry: None,
                span: 0..0,
            },
            map: Some(root.get_ref()),
            asked: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    /// Whether the table is in the file.
    pub(super) fn present(&self) -> bool {
        self.map.is_some()
    }

    /// Whether one of the keys is there, without asking for it.
    pub(super) fn has_any(&self, keys: &[&str]) -> bool {
        let has = |map: &DeTable<'_>| keys.iter().any(|key| map.contains_key(*key));
        self.map.is_some_and(has)
    }

    /// The value of a key, if it is there.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let inner = self.map?.get(key)?;
        Some(Value {
            spot: Spot {
                findings: self.spot.findings,
                key: join(&self.spot.key, key),
                entry: self.spot.entry.clone(),
                span: inner.span(),
            },
            inner: inner.get_ref(),
        })
    }

    /// The value of a key as `parse` reads it; `None` if it is absent or wrong.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        parse(&self.value(key)?)
    }

    /// Like [`Table::read`], and a problem if the key is absent.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = self.value(key) else {
            self.missing.borrow_mut().push((key, example.to_owned()));
            return None;
        };
        parse(&value)
    }

    /// The entries of a list that `parse` can read; the others are problems.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&Value<'a>) -> Option<T>,
    ) -> Vec<T> {
        let entries = self.read(key, Value::entries).unwrap_or_default();
        entries.iter().filter_map(parse).collect()
    }

    /// A table of this one, written `[key]`.
    pub(super) fn table(&self, key: &'static str) -> Table<'a> {
        let value = self.value(key);
        let map = value.as_ref().and_then(|value| {
            if value.inner.as_table().is_none() {
                let path = &value.spot.key;
                value.spot.error(
                    format!("expected one table, found {}", kind(value.inner)),
                    "there can be only one of it",
                    format!("write its head as [{path}]"),
                );
            }
            value.inner.as_table()
        });
        let spot = value.map_or_else(
            || Spot {
                key: join(&self.spot.key, key),
                ..self.spot.clone()
            },
            |value| value.spot,
        );
        Table {
            spot,
            map,
            asked: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    /// The tables of a list, written `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let wrong = |found: &Value<'_>| {
            found.spot.error(
                format!("expected a list of tables, found {}", kind(found.inner)),
                "there can be several of it",
                format!("write the head of each entry as [[{}]]", value.spot.key),
            );
        };
        let Some(entries) = value.inner.as_array() else {
            wrong(&value);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let mut spot = Spot {
                key: format!("{}[{index}]", value.spot.key),
                span: entry.span(),
                ..value.spot.clone()
            };
            let inner = entry.get_ref();
            if let Some(map) = inner.as_table() {
                if let Some(name) = map.get("name").and_then(|name| name.get_ref().as_str()) {
                    spot.entry = Some(name.to_owned());
                }
                tables.push(Table {
                    spot,
                    map: Some(map),
                    asked: RefCell::default(),
                    missing: RefCell::default(),
                });
            } else {
                wrong(&Value { spot, inner });
            }
        }
        tables
    }

    /// Says which keys nobody asked for and which are missing. To be called when all known keys were asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        let mut missing = self.missing.take();
        for (key, value) in self.map.into_iter().flatten() {
            let written = key.get_ref().as_ref();
            if asked.contains(&written) {
                continue;
            }
            let noun = if self.spot.key.is_empty() && !is_plain(value.get_ref()) {
                "table"
            } else {
                "key"
            };
            let spot = Spot {
                key: join(&self.spot.key, written),
                span: key.span(),
                ..self.spot.clone()
            };
            let home = if self.spot.key.is_empty() {
                String::new()
            } else {
                format!(
                    "; {} has: {}",
                    strip_indices(&self.spot.key),
                    asked.join(", ")
                )
            };
            let near = suggest::nearest(written, asked.iter().copied());
            // A misspelt key is one mistake, not two.
            missing.retain(|(key, _)| near != Some(*key));
            let hint = near.map_or_else(
                || format!("remove it{home}"),
                |near| format!("did you mean \"{near}\"?"),
            );
            spot.error(format!("there is no {noun} of this name"), "", hint);
        }
        for (key, example) in missing {
            self.spot.error(
                format!("the key {key} is missing"),
                "",
                format!("add a line like: {key} = {example}"),
            );
        }
    }
}

impl<'a> Value<'a> {
    /// The entries of a list; a problem if it is none.
    pub(super) fn entries(&self) -> Option<Vec<Value<'a>>> {
        let Some(array) = self.inner.as_array() else {
            let hint = match self.inner {
                DeValue::String(text) => format!("write it in brackets: [\"{text}\"]"),
                _ => "write it in brackets".to_owned(),
            };
            self.wrong_type("a list", hint);
            return None;
        };
        let entry = |(index, entry): (usize, &'a Spanned<DeValue<'a>>)| Value {
            spot: Spot {
                key: format!("{}[{index}]", self.spot.key),
                span: entry.span(),
                ..self.spot.clone()
            },
            inner: entry.get_ref(),
        };
        Some(array.iter().enumerate().map(entry).collect())
    }

    /// A problem: the value is of another type than `expected`.
    pub(super) fn wrong_type(&self, expected: &str, hint: impl Into<String>) {
        self.spot.error(
            format!("expected {expected}, found {}", kind(self.inner)),
            "",
            hint,
        );
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// `syslog_source[2].x` as `syslog_source.x`.
fn strip_indices(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            inside = (inside || *c == '[') && *c != ']';
            !inside && *c != ']'
        })
        .collect()
}

fn is_plain(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => false,
        DeValue::Array(array) => !array.iter().any(|entry| entry.get_ref().is_table()),
        _ => true,
    }
}

/// The type of a value as people say it.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(array) if array.iter().any(|entry| entry.get_ref().is_table()) => {
            "a list of tables"
        }
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What usually leads to a mistake in the syntax, judged from the line.
fn syntax_hint(message: &str, line: &str) -> &'static str {
    if line.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        return "replace the typographic quotation marks by \" or '";
    }
    if message.contains("duplicate key") {
        return "keep one of the two; a list of entries is written with [[…]]";
    }
    if message.contains("escape") {
        return "write a text with backslashes in single quotes: 'CORP\\svc-jims'";
    }
    if line.contains('=') && !line.contains(['"', '\'', '[']) {
        return "put text in quotation marks: key = \"text\"";
    }
    if line.matches('"').count() % 2 == 1 {
        return "close the quotation mark";
    }
    if line.trim_start().starts_with('[') {
        return "close the bracket; write [table], or [[table]] for an entry of a list";
    }
    if line.contains(':') && !line.contains('=') {
        return "write key = value, not key: value";
    }
    ""
}
