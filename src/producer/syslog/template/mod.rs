//! Templates: ordered rules, compiled, that say what a line means.
//!
//! A pattern sees the text after the syslog header's host name ([`crate::wire::syslog::Message::text`]), or the JSON
//! object in it as lines `path=value`. All rules of a source are tried as one in time linear in the text; of those that
//! match, the first in order whose needed captures are there decides. What captures mean is decided in `interpret`.

mod built_in;
mod clean;
mod json;

use std::cell::OnceCell;
use std::sync::Arc;

use compact_str::CompactString;
use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson;
use regex_automata::{MatchKind, PatternID, PatternSet};
use smallvec::{SmallVec, smallvec};
use thiserror::Error;

pub use self::built_in::{built_in, built_in_names};
pub use self::clean::Captures;
use crate::config::{self, SyslogEvent, SyslogInput, SyslogRule, SyslogTemplate, Unescape};

/// Longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4 << 10;
/// Most rules in a template.
pub const MAX_RULES: usize = 64;
/// Longest name of a record, in bytes (identity events).
const MAX_RECORD_BYTES: usize = 128;
/// Most memory a compiled pattern may take, in bytes.
const PATTERN_SIZE_LIMIT: usize = 4 << 20;
/// Most memory the patterns of a source may take together, in bytes.
const SET_SIZE_LIMIT: usize = 64 << 20;

/// What a pattern may capture, in the order of [`Captures`].
pub const CAPTURE_NAMES: [&str; 6] = ["user", "domain", "address", "device", "group", "timestamp"];

/// Why templates cannot be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// A source names a template that is neither configured nor built in.
    #[error("syslog source {source_name}: there is no template {template}")]
    Unknown {
        /// The source.
        source_name: String,
        /// The name it wrote.
        template: String,
    },
    /// A template without rules or with too many.
    #[error("syslog template {template}: it has {rules} rules, and must have 1 to {MAX_RULES}")]
    Rules {
        /// The template.
        template: String,
        /// How many it has.
        rules: usize,
    },
    /// A pattern that does not compile or is too large.
    #[error("syslog template {template}, rule {rule}: {message}")]
    Pattern {
        /// The template.
        template: String,
        /// The rule.
        rule: String,
        /// What is wrong with it.
        message: String,
    },
    /// The patterns of a source are too large together.
    #[error("syslog source {source_name}: its templates are too large together: {message}")]
    Set {
        /// The source.
        source_name: String,
        /// What the regex library said.
        message: String,
    },
}

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its name.
    pub name: Arc<str>,
    rules: Vec<Arc<Rule>>,
}

/// A compiled rule.
#[derive(Debug)]
pub struct Rule {
    /// Its template's name.
    pub template: Arc<str>,
    /// Its name.
    pub name: String,
    /// What a matching line means.
    pub event: SyslogEvent,
    /// `template/rule`, for evidence.
    pub record: CompactString,
    /// The pattern as configured.
    written: String,
    pattern: Regex,
    /// It matches at the start of the text or not at all.
    is_anchored: bool,
    /// Index of each capture, in the order of [`CAPTURE_NAMES`].
    captures: [Option<usize>; 6],
    unescape: Unescape,
    input: SyslogInput,
}

/// A line as the patterns of its templates see it.
#[derive(Debug)]
pub struct View<'t> {
    text: &'t str,
    flattened: OnceCell<Option<String>>,
}

impl<'t> View<'t> {
    /// A view of the text after a line's header.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        Self {
            text,
            flattened: OnceCell::new(),
        }
    }

    /// What patterns with this input see; `None` if they see nothing.
    #[must_use]
    pub fn seen_by(&self, input: SyslogInput) -> Option<&str> {
        match input {
            SyslogInput::Text => Some(self.text),
            SyslogInput::Json => self
                .flattened
                .get_or_init(|| json::flattened(self.text))
                .as_deref(),
        }
    }
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// The first rule that cannot be used, and why.
    pub fn compile(template: &SyslogTemplate) -> Result<Self, TemplateError> {
        if template.rules.is_empty() || template.rules.len() > MAX_RULES {
            return Err(TemplateError::Rules {
                template: template.name.clone(),
                rules: template.rules.len(),
            });
        }
        let name: Arc<str> = Arc::from(template.name.as_str());
        let rules = (1..)
            .zip(&template.rules)
            .map(|(number, rule)| Rule::compile(&name, number, rule, template.input).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { name, rules })
    }

    /// Its rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}

impl Rule {
    fn compile(
        template: &Arc<str>,
        number: usize,
        rule: &SyslogRule,
        input: SyslogInput,
    ) -> Result<Self, TemplateError> {
        let name = if rule.name.is_empty() {
            format!("{}-{number}", event_word(rule.event))
        } else {
            rule.name.clone()
        };
        let refuse = |message: String| TemplateError::Pattern {
            template: template.to_string(),
            rule: name.clone(),
            message,
        };
        if rule.pattern.len() > MAX_PATTERN_BYTES {
            return Err(refuse(format!(
                "its pattern is longer than {MAX_PATTERN_BYTES} bytes"
            )));
        }
        let (pattern, is_anchored) = compiled(&rule.pattern).map_err(refuse)?;
        let captures = capture_indexes(&pattern, rule.event).map_err(refuse)?;
        let mut record = format!("{template}/{name}");
        record.truncate(record.floor_char_boundary(MAX_RECORD_BYTES));
        Ok(Self {
            template: Arc::clone(template),
            name,
            event: rule.event,
            record: record.into(),
            written: rule.pattern.clone(),
            pattern,
            is_anchored,
            captures,
            unescape: rule.unescape,
            input,
        })
    }

    /// Whether it matches what its input sees.
    fn matches(&self, seen: &str) -> bool {
        self.pattern.is_match(seen)
    }

    /// What the rule captures of a line, cleaned; `None` if it does not match.
    #[must_use]
    pub fn captures<'v>(&self, view: &'v View<'_>) -> Option<Captures<'v>> {
        let text = view.seen_by(self.input)?;
        let mut bounds: SmallVec<[_; 16]> = smallvec![None; self.pattern.group_info().slot_len()];
        self.pattern.search_slots(&text.into(), &mut bounds)?;
        let get = |at: usize| {
            let group = self.captures.get(at).copied().flatten()?;
            let bound = |place: usize| Some(bounds.get(place).copied().flatten()?.get());
            text.get(bound(2 * group)?..bound(2 * group + 1)?)
        };
        Some(Captures::clean(std::array::from_fn(get), self.unescape))
    }
}

/// A pattern, and whether it matches at the start of the text or not at all.
fn compiled(pattern: &str) -> Result<(Regex, bool), String> {
    let limit = Some(PATTERN_SIZE_LIMIT);
    let nfa = thompson::Config::new().nfa_size_limit(limit);
    let nfa = thompson::Compiler::new().configure(nfa).build(pattern);
    let is_anchored = nfa.is_ok_and(|nfa| nfa.is_always_start_anchored());
    let config = meta::Config::new()
        .nfa_size_limit(limit)
        // A DFA finds where a match lies before its groups are looked for: of no use if it begins at the start, where the
        // set has found it already. This and asking the set twice were 7 % of what a line cost.
        .hybrid(!is_anchored);
    let pattern = meta::Builder::new().configure(config).build(pattern);
    Ok((pattern.map_err(|error| fault(&error))?, is_anchored))
}

/// What is wrong with a pattern, or with several.
fn fault(error: &meta::BuildError) -> String {
    match (error.size_limit(), error.syntax_error()) {
        (Some(limit), _) => format!("it is larger than {limit} bytes when compiled"),
        (None, Some(syntax)) => syntax.to_string(),
        (None, None) => error.to_string(),
    }
}

/// Where the captures are; an unknown name, and one that the event needs and the pattern lacks, are errors.
fn capture_indexes(pattern: &Regex, event: SyslogEvent) -> Result<[Option<usize>; 6], String> {
    let mut indexes = [None; 6];
    let names = pattern.group_info().pattern_names(PatternID::ZERO);
    for (index, name) in names.enumerate() {
        let Some(name) = name else { continue };
        let at = CAPTURE_NAMES.iter().position(|known| *known == name);
        let slot = at.and_then(|at| indexes.get_mut(at)).ok_or_else(|| {
            format!(
                "capture {name} is unknown; there are {}",
                CAPTURE_NAMES.join(" ")
            )
        })?;
        *slot = Some(index);
    }
    let [user, _, address, device, ..] = indexes;
    let missing = match event {
        SyslogEvent::Logon | SyslogEvent::Identity if user.is_none() => Some("user"),
        SyslogEvent::Logoff if user.is_none() && address.is_none() => Some("user or address"),
        SyslogEvent::DeviceLogon if device.is_none() => Some("device"),
        SyslogEvent::Logon
        | SyslogEvent::Identity
        | SyslogEvent::DeviceLogon
        | SyslogEvent::DeviceLogoff
            if address.is_none() =>
        {
            Some("address")
        }
        _ => None,
    };
    match missing {
        Some(name) => Err(format!(
            "a rule for {} needs the capture {name}",
            event_word(event)
        )),
        None => Ok(indexes),
    }
}

/// The word of the configuration for an event.
#[must_use]
pub fn event_word(event: SyslogEvent) -> &'static str {
    match event {
        SyslogEvent::Logon => "logon",
        SyslogEvent::Logoff => "logoff",
        SyslogEvent::DeviceLogon => "device-logon",
        SyslogEvent::DeviceLogoff => "device-logoff",
        SyslogEvent::Identity => "identity",
        SyslogEvent::Ignore => "ignore",
    }
}

/// The rules of a source, tried as one.
#[derive(Debug)]
pub struct Rules {
    sets: Vec<InputSet>,
    rules: Vec<Arc<Rule>>,
}

/// The patterns that see the same input.
#[derive(Debug)]
struct InputSet {
    input: SyslogInput,
    set: Regex,
    /// All of them match at the start of the text or not at all.
    is_anchored: bool,
    /// Place of each among all rules.
    places: Vec<usize>,
}

impl Rules {
    /// Compiles the templates that a source names; configured ones go before built-in ones of the same name.
    ///
    /// # Errors
    /// A template that is unknown or cannot be used.
    pub fn for_source(
        configured: &[SyslogTemplate],
        source: &config::SyslogSource,
    ) -> Result<Self, TemplateError> {
        let mut rules = Vec::new();
        for name in &source.templates {
            let template = find(configured, name).ok_or_else(|| TemplateError::Unknown {
                source_name: source.name.clone(),
                template: name.clone(),
            })?;
            rules.extend(Template::compile(&template)?.rules);
        }
        Self::new(rules).map_err(|error| TemplateError::Set {
            source_name: source.name.clone(),
            message: fault(&error),
        })
    }

    fn new(rules: Vec<Arc<Rule>>) -> Result<Self, Box<meta::BuildError>> {
        let inputs = [SyslogInput::Text, SyslogInput::Json].into_iter();
        let sets = inputs.filter_map(|input| InputSet::new(input, &rules).transpose());
        let sets = sets.collect::<Result<_, _>>()?;
        Ok(Self { sets, rules })
    }

    /// The rules whose patterns match the line, in order. Which ones come after the first is looked for when they are
    /// asked for.
    pub fn matching<'r>(&'r self, view: &'r View<'_>) -> impl Iterator<Item = &'r Arc<Rule>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let sets = self.sets.iter();
            let next = sets.filter_map(|set| set.next(view.seen_by(set.input)?, &self.rules, from));
            let place = next.min()?;
            from = place + 1;
            self.rules.get(place)
        })
    }

    /// All rules, in order.
    #[must_use]
    pub fn all(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}

impl InputSet {
    /// `None` if no rule sees this input.
    fn new(input: SyslogInput, rules: &[Arc<Rule>]) -> Result<Option<Self>, Box<meta::BuildError>> {
        let rules = rules.iter().enumerate();
        let rules = rules.filter(|(_, rule)| rule.input == input);
        let (places, rules): (Vec<usize>, Vec<&Arc<Rule>>) = rules.unzip();
        if places.is_empty() {
            return Ok(None);
        }
        let is_anchored = rules.iter().all(|rule| rule.is_anchored);
        let config = meta::Config::new()
            .match_kind(match is_anchored {
                true => MatchKind::LeftmostFirst,
                false => MatchKind::All,
            })
            .nfa_size_limit(Some(SET_SIZE_LIMIT));
        let patterns: Vec<&str> = rules.iter().map(|rule| rule.written.as_str()).collect();
        let set = meta::Builder::new()
            .configure(config)
            .build_many(&patterns)?;
        Ok(Some(Self {
            input,
            set,
            is_anchored,
            places,
        }))
    }

    /// The place of the first rule from a place on that matches.
    fn next(&self, text: &str, rules: &[Arc<Rule>], from: usize) -> Option<usize> {
        if !self.is_anchored {
            return self.next_anywhere(text, from);
        }
        // They all begin at the start, so the first in order is the one that is found.
        if from == 0 {
            let found = self.set.search_half(&text.into())?;
            return self.places.get(found.pattern().as_usize()).copied();
        }
        let mut later = self.places.iter().filter(|place| **place >= from);
        let matches = |place: &&usize| rules.get(**place).is_some_and(|rule| rule.matches(text));
        later.find(matches).copied()
    }

    fn next_anywhere(&self, text: &str, from: usize) -> Option<usize> {
        // Most lines of most senders match nothing, and that alone is found out faster.
        if !self.set.is_match(text) {
            return None;
        }
        let mut found = PatternSet::new(self.places.len());
        self.set.which_overlapping_matches(&text.into(), &mut found);
        let places = found
            .iter()
            .filter_map(|id| self.places.get(id.as_usize()).copied());
        places.filter(|place| *place >= from).min()
    }
}

/// A template by name: configured, else built in.
#[must_use]
pub fn find(configured: &[SyslogTemplate], name: &str) -> Option<SyslogTemplate> {
    configured
        .iter()
        .find(|template| template.name == name)
        .cloned()
        .or_else(|| built_in(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(event: &str, pattern: &str) -> Result<Template, String> {
        let text =
            format!("name = \"t\"\n[[rule]]\nevent = \"{event}\"\npattern = '''{pattern}'''\n");
        let template: SyslogTemplate = toml::from_str(&text).expect("TOML");
        Template::compile(&template).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused_with_its_place() {
        for (event, pattern, error) in [
            (
                "logon",
                "u=(?<user>.*)",
                "syslog template t, rule logon-1: a rule for logon needs the capture address",
            ),
            (
                "logon",
                "a=(?<address>.*)",
                "syslog template t, rule logon-1: a rule for logon needs the capture user",
            ),
            (
                "logoff",
                "x",
                "syslog template t, rule logoff-1: a rule for logoff needs the capture user or address",
            ),
            (
                "ignore",
                "(?<usr>x)",
                "syslog template t, rule ignore-1: capture usr is unknown; there are user domain address device group timestamp",
            ),
        ] {
            assert_eq!(template(event, pattern).expect_err(pattern), error);
        }
        let error = template("ignore", "(").expect_err("no regular expression");
        assert!(error.contains("unclosed group"), "{error}");
        let error = template("ignore", &"x".repeat(MAX_PATTERN_BYTES + 1)).expect_err("too long");
        assert!(error.contains("longer than"), "{error}");
        assert!(template("ignore", "x").is_ok());
    }

    #[test]
    fn a_record_name_is_bounded() {
        let rule = SyslogRule {
            name: "ü".repeat(100),
            event: SyslogEvent::Ignore,
            pattern: "x".to_owned(),
            unescape: Unescape::None,
        };
        let rule = Rule::compile(&Arc::from("t"), 1, &rule, SyslogInput::Text).expect("compiles");
        assert_eq!(rule.record.len(), 128);
    }

    #[test]
    fn rules_that_match_come_in_order_wherever_their_patterns_begin() {
        let matching = |patterns: &[&str], text: &str| -> Vec<String> {
            let rules = patterns.iter().map(|pattern| {
                let compiled = template("ignore", pattern).expect("compiles");
                Arc::clone(&compiled.rules()[0])
            });
            let rules = Rules::new(rules.collect()).expect("not too large");
            let view = View::new(text);
            let found = rules.matching(&view).map(|rule| rule.written.clone());
            found.collect()
        };
        let anchored = ["^c", "^a.*z$", "^b", "^(a)", "^a|^q", "^x"];
        assert_eq!(matching(&anchored, "abc z"), ["^a.*z$", "^(a)", "^a|^q"]);
        assert_eq!(matching(&anchored, "q"), ["^a|^q"]);
        assert!(matching(&anchored, "zab").is_empty());
        // One of them may begin anywhere, and then all are looked for anywhere.
        let anywhere = ["z", "^a", "q", "a|^b"];
        assert_eq!(matching(&anywhere, "a z"), ["z", "^a", "a|^b"]);
        assert_eq!(matching(&anywhere, "bz"), ["z", "a|^b"]);
        assert!(matching(&anywhere, "x").is_empty());
    }
}
