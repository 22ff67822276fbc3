//! The built-in syslog templates against lines from vendors' documentation and public captures.
//!
//! `tests/fixtures/syslog/NAME.txt` holds, for each template, lines with their source and with exactly what the template
//! must make of them. Beside those, every line is shown to all other templates, and every line is sent again with a user
//! name that repeats the line itself with another address in it: whoever can choose a name must not be able to choose
//! an address.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use jims::config::{SyslogInput, SyslogSource, SyslogTemplate, SyslogTime, Transports};
use jims::identity::time::UtcMillis;
use jims::identity::worth::Conflict;
use jims::producer::syslog::interpret::{Reason, Settings, apply, interpret};
use jims::producer::syslog::template::{
    CAPTURE_NAMES, Captures, Rules, View, built_in, built_in_names, event_word,
};
use jims::wire::syslog::Message;
use regex::Regex;

/// The address that forged lines claim, and no reading may ever name.
const FORGED: &str = "10.9.9.9";
/// Marks a line that holds a forgery, in place of a source.
const FORGERY: &str = "made for this test";

/// What a template makes of a line: event and rule, and the captures by name. Empty: no rule matches.
type Reading = Option<(String, BTreeMap<String, String>)>;

/// One line of a fixture.
struct Sample {
    source: String,
    line: String,
    expected: Reading,
}

/// A template alone in a source.
struct Template {
    config: SyslogTemplate,
    settings: Settings,
}

#[test]
fn every_line_is_read_exactly_as_expected() {
    for template in templates() {
        for sample in samples(&template.config.name) {
            assert_eq!(
                template.read(&sample.line),
                sample.expected,
                "{}: {}",
                template.config.name,
                sample.line
            );
        }
    }
}

#[test]
fn every_template_has_sourced_lines_for_and_against_it_and_a_forgery() {
    for template in templates() {
        let name = &template.config.name;
        let samples = samples(name);
        let sourced = |s: &&Sample| !s.source.starts_with(FORGERY);
        assert!(
            samples.iter().filter(sourced).any(|s| claims(&s.expected)),
            "{name}: no positive line"
        );
        assert!(
            samples.iter().filter(sourced).any(|s| !claims(&s.expected)),
            "{name}: no negative line"
        );
        assert!(
            samples.iter().any(|s| s.source.starts_with(FORGERY)),
            "{name}: no forgery"
        );
        for sample in &samples {
            assert!(
                sample.source.len() > 10,
                "{name}: a line without a source: {}",
                sample.line
            );
        }
    }
}

#[test]
fn every_rule_decides_at_least_one_line() {
    for template in templates() {
        let decided: BTreeSet<String> = samples(&template.config.name)
            .iter()
            .filter_map(|s| Some(rule_of(&s.expected)?.to_owned()))
            .collect();
        for rule in &template.config.rules {
            assert!(
                decided.contains(&rule.name),
                "{}/{} decides no line",
                template.config.name,
                rule.name
            );
        }
    }
}

#[test]
fn every_pattern_is_anchored_at_the_start() {
    for template in templates() {
        let start = match template.config.input {
            SyslogInput::Text => "^",
            SyslogInput::Json => "(?m)^",
        };
        for rule in &template.config.rules {
            let place = format!("{}/{}", template.config.name, rule.name);
            assert!(rule.pattern.starts_with(start), "{place} is not anchored");
            let pattern = Regex::new(&rule.pattern).expect("a pattern that jims compiles");
            assert!(!pattern.is_match(""), "{place} matches nothing at all");
        }
    }
}

#[test]
fn no_template_reads_the_lines_of_another_vendor() {
    let templates = templates();
    for of in templates {
        for sample in samples(&of.config.name) {
            for other in templates.iter().filter(|t| t.config.name != of.config.name) {
                assert_eq!(
                    other.read(&sample.line),
                    None,
                    "{} reads: {}",
                    other.config.name,
                    sample.line
                );
            }
        }
    }
}

#[test]
fn a_source_can_list_every_template_at_once() {
    let together = Template::settings(built_in_names());
    for template in templates() {
        for sample in samples(&template.config.name) {
            let alone = interpret(&template.settings, &sample.line, UtcMillis(0));
            let listed = interpret(&together, &sample.line, UtcMillis(0));
            assert_eq!(alone, listed, "{}", sample.line);
        }
    }
}

#[test]
fn no_name_can_forge_an_address() {
    let mut tried = 0;
    for template in templates() {
        let name = &template.config.name;
        for sample in samples(name) {
            for forged in forgeries(name, &sample) {
                tried += 1;
                if let Some((decided, captures)) = template.read(&forged) {
                    let address = captures.get("address").map(String::as_str);
                    assert_ne!(address, Some(FORGED), "{name}, {decided}: {forged}");
                }
            }
        }
    }
    assert!(tried > 100, "only {tried} forgeries");
}

#[test]
fn no_expectation_names_the_forged_address() {
    for template in templates() {
        for sample in samples(&template.config.name) {
            let address = sample
                .expected
                .as_ref()
                .and_then(|(_, captures)| captures.get("address"));
            assert_ne!(address.map(String::as_str), Some(FORGED), "{}", sample.line);
        }
    }
}

/// The line again, with a name (of a user or a device) that repeats what follows it, or the whole text, with the forged
/// address in it; as the sender would write such a name.
fn forgeries(template: &str, sample: &Sample) -> Vec<String> {
    let Some((_, captures)) = &sample.expected else {
        return Vec::new();
    };
    let Some(address) = captures.get("address") else {
        return Vec::new();
    };
    let forge = |text: &str| text.replace(address.as_str(), FORGED);
    let mut forged = Vec::new();
    for name in ["user", "device"].iter().filter_map(|n| captures.get(*n)) {
        for (at, _) in sample.line.match_indices(name.as_str()) {
            let (before, after) = (&sample.line[..at], &sample.line[at + name.len()..]);
            for text in [
                format!("{name}{}", forge(after)),
                forge(&text_of(&sample.line)),
            ] {
                forged.push(format!("{before}{}{after}", as_sent(template, &text)));
            }
        }
    }
    forged
}

/// How a sender writes a client's text into a line, where it escapes at all.
fn as_sent(template: &str, text: &str) -> String {
    match template {
        "winlogbeat" | "nxlog-windows" | "samba-auth-json-audit" => {
            let quoted = serde_json::to_string(text).expect("a string is JSON");
            quoted[1..quoted.len() - 1].to_owned()
        }
        "cisco-ise" => text.replace('\\', "\\\\").replace(',', "\\,"),
        "paloalto-globalprotect" => format!("\"{}\"", text.replace('"', "\"\"")),
        _ => text.to_owned(),
    }
}

fn claims(reading: &Reading) -> bool {
    reading
        .as_ref()
        .is_some_and(|(decided, _)| !decided.starts_with("ignore "))
}

fn rule_of(reading: &Reading) -> Option<&str> {
    reading
        .as_ref()
        .and_then(|(decided, _)| decided.split_once(' '))
        .map(|(_, rule)| rule)
}

fn text_of(line: &str) -> String {
    Message::parse(line).text().into_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every built-in template; as many as there are files. Compiled once: that takes longer than all the tests.
fn templates() -> &'static [Template] {
    static ALL: LazyLock<Vec<Template>> = LazyLock::new(|| {
        let folder = root().join("src/producer/syslog/templates");
        let files = std::fs::read_dir(folder).expect("the folder of templates");
        assert_eq!(
            files.count(),
            built_in_names().len(),
            "a file is not built in"
        );
        built_in_names()
            .iter()
            .map(|name| Template::new(name))
            .collect()
    });
    &ALL
}

/// The lines of a template's fixture.
fn samples(template: &str) -> Vec<Sample> {
    let file = root().join(format!("tests/fixtures/syslog/{template}.txt"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (mut samples, mut source, mut line) = (Vec::new(), String::new(), String::new());
    for row in text.lines() {
        if let Some(found) = row.strip_prefix("# source: ") {
            found.clone_into(&mut source);
        } else if let Some(found) = row.strip_prefix("line: ") {
            found.clone_into(&mut line);
        } else if let Some(found) = row.strip_prefix("expect: ") {
            samples.push(Sample {
                source: std::mem::take(&mut source),
                line: std::mem::take(&mut line),
                expected: expectation(found),
            });
        } else {
            assert!(
                row.is_empty() || row.starts_with('#'),
                "{}: {row}",
                file.display()
            );
        }
    }
    samples
}

/// `EVENT rule=RULE KEY=VALUE…`; a value with blanks stands in quotes. `no-match` is nothing.
fn expectation(text: &str) -> Reading {
    if text == "no-match" {
        return None;
    }
    let pair = Regex::new(r#" ([a-z]+)=(?:"([^"]*)"|([^ ]*))"#).expect("a pattern");
    let (event, _) = text.split_once(' ').expect("an event and a rule");
    let mut captures: BTreeMap<String, String> = pair
        .captures_iter(text)
        .map(|c| {
            (
                c[1].to_owned(),
                c.get(2).or(c.get(3)).expect("a value").as_str().to_owned(),
            )
        })
        .collect();
    let rule = captures.remove("rule").expect("a rule");
    Some((format!("{event} {rule}"), captures))
}

impl Template {
    fn new(name: &'static str) -> Self {
        Self {
            config: built_in(name).expect("a built-in template"),
            settings: Self::settings(&[name]),
        }
    }

    fn settings(names: &[&str]) -> Settings {
        let source = SyslogSource {
            name: "test".to_owned(),
            senders: Vec::new(),
            templates: names.iter().map(ToString::to_string).collect(),
            domain: None,
            networks: Vec::new(),
            domains: Vec::new(),
            transports: Transports {
                udp: true,
                tcp: true,
                tls: true,
            },
            client_names: Vec::new(),
            time: SyslogTime::Received,
            timezone: "UTC".to_owned(),
            roles: Vec::new(),
            conflict: Conflict::default(),
        };
        Settings {
            producer: "test".into(),
            domain: None,
            time: SyslogTime::Received,
            zone: jiff::tz::TimeZone::UTC,
            rules: Rules::for_source(&[], &source).expect("templates that compile"),
            conflict: Conflict::default(),
        }
    }

    /// Which rule decides, and on what; checked against what the producer makes of the line.
    fn read(&self, line: &str) -> Reading {
        let made = interpret(&self.settings, line, UtcMillis(0));
        let text = text_of(line);
        let view = View::new(&text);
        let decided = self.settings.rules.matching(&view).find_map(|rule| {
            let captures = rule.captures(&view)?;
            match apply(&self.settings, rule, &captures, None, UtcMillis(0)) {
                Err(Reason::NoUser | Reason::NoAddress | Reason::NoDevice) => None,
                result => Some((rule, plain(&captures), result)),
            }
        });
        let Some((rule, captures, result)) = decided else {
            assert!(made.is_err(), "{line}");
            return None;
        };
        assert_eq!(made, result, "{line}");
        if let Ok(made) = made {
            assert_eq!(made.event.record, rule.record);
        }
        Some((
            format!("{} {}", event_word(rule.event), rule.name),
            captures,
        ))
    }
}

/// Captures by name, as text.
fn plain(captures: &Captures<'_>) -> BTreeMap<String, String> {
    let address = captures.address.as_ref().map(|address| match address {
        Ok(address) => address.to_string(),
        Err(text) => format!("not an address: {text}"),
    });
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map(ToString::to_string);
    let values = [
        text(&captures.user),
        text(&captures.domain),
        address,
        text(&captures.device),
        text(&captures.group),
        text(&captures.timestamp),
    ];
    CAPTURE_NAMES
        .iter()
        .zip(values)
        .filter_map(|(name, value)| Some(((*name).to_owned(), value?)))
        .collect()
}
