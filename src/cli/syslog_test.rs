//! `jims syslog-test`: which rule matches a line and what it captures, or why none does.
//!
//! Works without a running service, on the same code that reads lines in one. What a line means is decided in
//! `producer::syslog::interpret`; here it is only asked and shown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::render::{HEADING, escape_json, field, instant, paragraph};
use super::{ask, config_file};
use crate::config::{self, SyslogEvent, SyslogSource, SyslogTemplate, SyslogTime, Transports};
use crate::control::protocol::timestamp;
use crate::identity::time::UtcMillis;
use crate::identity::worth::Conflict;
use crate::producer::syslog::built_in_names;
use crate::producer::syslog::interpret::{self, Reason, Settings};
use crate::producer::syslog::template::{self, Captures, Rule, Rules, View, event_word};
use crate::runtime::clock;
use crate::wire::syslog::Message;

/// The longest line that is read, in bytes; the service reads no longer ones either.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Width of the labels before the values.
const LABELS: usize = 9;

/// Show which rule matches a syslog line and what it captures, or why none does
///
/// Without --source or --template every template is tried. No service needs to run; templates of the configuration are
/// tried too if there is one.
///
/// Exit codes: 0 every line matched; 1 one did not; 2 error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jims syslog-test '<13>Nov 23 13:39:27 gw dhcpd: DHCPACK on 10.1.2.50 to 00:11:22:33:44:55 (ws-0042) via eth0'
  jims syslog-test --template strongswan 'charon: 05[IKE] ...'
  tail -n 100 /var/log/vpn.log | jims syslog-test --source vpn --json -")]
pub(super) struct Args {
    /// Read the line as this configured source would, with its templates, domain and time zone
    #[arg(long, value_name = "NAME", conflicts_with = "template")]
    source: Option<String>,
    /// Try only this template, configured or built in
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// The line, header and all; `-` or nothing reads lines from stdin
    #[arg(value_name = "LINE", allow_hyphen_values = true)]
    line: Option<String>,
    /// Print JSON; one object a line when reading from stdin
    #[arg(long)]
    json: bool,
}

/// What became of a line.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Tried {
    matched: bool,
    source: Option<String>,
    template: Option<String>,
    rule: Option<String>,
    event: Option<&'static str>,
    captures: BTreeMap<&'static str, String>,
    occurred_at: Option<Timestamp>,
    reason: Option<String>,
    /// Rules of other templates that match too.
    also: Vec<String>,
    /// What the patterns see of the line.
    text: String,
}

/// Tries each line.
pub(super) fn run(
    args: &Args,
    config: Option<&Path>,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let settings = settings(args, config)?;
    let mut all_matched = true;
    let mut show = |line: &str, many: bool| -> Result<(), Failure> {
        let tried = try_all(&settings, args.source.as_deref(), line, clock::utc_now());
        all_matched &= tried.matched;
        if !args.json {
            write!(out, "{}", render(&tried))?;
        } else if many {
            writeln!(out, "{}", escape_json(&serde_json::to_string(&tried)?))?;
        } else {
            ask::print_json(&tried, out)?;
        }
        Ok(())
    };
    match args.line.as_deref() {
        Some(line) if line != "-" => show(line, false)?,
        _ => each_line(&mut io::stdin().lock(), |line| show(line, true))?,
    }
    Ok(if all_matched { Exit::Yes } else { Exit::No })
}

/// Reads lines to the end; one that is too long is an error, for it is no syslog.
fn each_line(
    input: &mut impl BufRead,
    mut show: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = input.take(MAX_LINE_BYTES as u64 + 1);
        let read = bounded.read_until(b'\n', &mut line);
        let size = read.map_err(|e| Failure::new(format!("cannot read stdin: {e}"), ""))?;
        if size == 0 {
            return Ok(());
        }
        if size > MAX_LINE_BYTES {
            return Err(Failure::new(
                format!("a line on stdin is longer than {MAX_LINE_BYTES} bytes"),
                "give one syslog message a line",
            ));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if !text.is_empty() {
            show(text)?;
        }
    }
}

/// The settings to try, in order: of the source, of the template, or of every template.
fn settings(args: &Args, config: Option<&Path>) -> Result<Vec<Settings>, Failure> {
    let (sources, templates) = configured(config, args.source.is_some())?;
    if let Some(name) = &args.source {
        let source = sources.iter().find(|s| s.name == *name).ok_or_else(|| {
            let names: Vec<&str> = sources.iter().map(|s| s.name.as_str()).collect();
            Failure::new(
                format!("there is no syslog source `{name}`"),
                format!("one of: {}", names.join(", ")),
            )
        })?;
        return Ok(vec![compile(source, &templates)?]);
    }
    let names: Vec<String> = match &args.template {
        Some(name) => {
            if template::find(&templates, name).is_none() {
                return Err(Failure::new(
                    format!("there is no syslog template `{name}`"),
                    format!("built in are {}", built_in_names().join(", ")),
                ));
            }
            vec![name.clone()]
        }
        None => {
            let mut seen = BTreeSet::new();
            let configured = templates.iter().map(|t| t.name.clone());
            let built_in = built_in_names().iter().map(|&name| name.to_owned());
            let all = configured.chain(built_in);
            all.filter(|name| seen.insert(name.clone())).collect()
        }
    };
    let sources = names.into_iter().map(only_template);
    sources.map(|source| compile(&source, &templates)).collect()
}

/// Sources and templates of the configuration; none if there is no configuration and none is needed.
fn configured(
    config: Option<&Path>,
    needed: bool,
) -> Result<(Vec<SyslogSource>, Vec<SyslogTemplate>), Failure> {
    let Some(path) = config_file::find(config) else {
        if needed {
            return Err(Failure::new(
                "there is no configuration that could name a source",
                "name it with --config or $JIMS_CONFIG, or use --template",
            ));
        }
        return Ok((Vec::new(), Vec::new()));
    };
    match config::load(&path) {
        Ok(loaded) => {
            let syslog = loaded.config.syslog;
            Ok(syslog.map_or_else(Default::default, |s| (s.sources, s.templates)))
        }
        Err(_) if !needed && config.is_none() => Ok((Vec::new(), Vec::new())),
        Err(problems) => Err(Failure::new(
            problems.to_string(),
            "mend the configuration, or use --template for a built-in one",
        )),
    }
}

/// A source that has only this template.
fn only_template(name: String) -> SyslogSource {
    SyslogSource {
        name: name.clone(),
        senders: Vec::new(),
        templates: vec![name],
        domain: None,
        networks: Vec::new(),
        domains: Vec::new(),
        transports: Transports {
            udp: true,
            tcp: true,
            tls: true,
        },
        client_names: Vec::new(),
        time: SyslogTime::Message,
        timezone: String::new(),
        roles: Vec::new(),
        conflict: Conflict::default(),
    }
}

fn compile(source: &SyslogSource, templates: &[SyslogTemplate]) -> Result<Settings, Failure> {
    let rules = Rules::for_source(templates, source).map_err(|error| {
        Failure::new(error.to_string(), "mend the template in the configuration")
    })?;
    let zone = if source.timezone.is_empty() {
        TimeZone::system()
    } else {
        TimeZone::get(&source.timezone).map_err(|error| {
            Failure::new(
                format!("cannot use the time zone: {error}"),
                "write an IANA name or UTC",
            )
        })?
    };
    Ok(Settings {
        producer: Arc::from(source.name.as_str()),
        domain: source.domain.clone(),
        time: source.time,
        zone,
        rules,
        conflict: source.conflict,
    })
}

/// The first that matches, and which others do; else what came nearest.
fn try_all(all: &[Settings], source: Option<&str>, line: &str, now: UtcMillis) -> Tried {
    let each = all.iter().map(|settings| try_one(settings, line, now));
    let (mut matching, missing): (Vec<Tried>, Vec<Tried>) = each.partition(|tried| tried.matched);
    let mut first = if matching.is_empty() {
        let nearest = missing.into_iter().max_by_key(|tried| tried.rule.is_some());
        nearest.unwrap_or_default()
    } else {
        matching.remove(0)
    };
    first.also = matching.iter().map(Tried::record).collect();
    first.source = source.map(str::to_owned);
    first
}

fn try_one(settings: &Settings, line: &str, now: UtcMillis) -> Tried {
    let message = Message::parse(line);
    let text = message.text();
    let view = View::new(&text);
    let verdict = interpret::interpret(settings, line, now);
    let matching: Vec<_> = settings.rules.matching(&view).collect();
    let decided = match &verdict {
        Ok(made) => matching
            .iter()
            .find(|rule| rule.record == made.event.record),
        Err(Reason::Ignored) => matching
            .iter()
            .find(|rule| rule.event == SyslogEvent::Ignore),
        Err(_) => matching.first(),
    };
    let mut tried = Tried {
        matched: matches!(verdict, Ok(_) | Err(Reason::Ignored)),
        occurred_at: verdict
            .as_ref()
            .ok()
            .map(|made| timestamp(made.event.occurred_at)),
        reason: verdict.err().map(|reason| reason.sentence().to_owned()),
        text: text.to_string(),
        ..Tried::default()
    };
    if let Some(rule) = decided {
        tried.name_rule(rule);
        tried.captures = rule.captures(&view).map(captures).unwrap_or_default();
    }
    tried
}

impl Tried {
    fn name_rule(&mut self, rule: &Rule) {
        self.template = Some(rule.template.to_string());
        self.rule = Some(rule.name.clone());
        self.event = Some(event_word(rule.event));
    }

    /// `template/rule`.
    fn record(&self) -> String {
        let part = |name: &Option<String>| name.clone().unwrap_or_default();
        format!("{}/{}", part(&self.template), part(&self.rule))
    }
}

fn captures(captures: Captures<'_>) -> BTreeMap<&'static str, String> {
    let address = captures.address.map(|address| match address {
        Ok(address) => address.to_string(),
        Err(text) => text.into_owned(),
    });
    let text = |value: Option<std::borrow::Cow<'_, str>>| value.map(std::borrow::Cow::into_owned);
    let all = [
        ("user", text(captures.user)),
        ("domain", text(captures.domain)),
        ("address", address),
        ("device", text(captures.device)),
        ("group", text(captures.group)),
        ("timestamp", text(captures.timestamp)),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn render(tried: &Tried) -> String {
    let mut text = match (tried.event, tried.matched) {
        (Some(event), true) => {
            let record = tried.record();
            format!("{HEADING}{event}{HEADING:#} by {}", paragraph(&record))
        }
        (Some(_), false) => paragraph(&format!("no event by {}", tried.record())),
        (None, _) => "no match\n".to_owned(),
    };
    let mut add = |label: &str, value: &str| text.push_str(&field(2, label, LABELS, value));
    for (name, value) in &tried.captures {
        add(name, value);
    }
    if let Some(at) = tried.occurred_at {
        add("happened", &instant(at));
    }
    if let Some(reason) = &tried.reason {
        add("reason", reason);
    }
    if !tried.also.is_empty() {
        add("also", &tried.also.join(", "));
    }
    if !tried.matched {
        add("text", &tried.text);
    }
    text
}
