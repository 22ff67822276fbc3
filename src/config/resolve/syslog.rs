//! `[syslog]`, `[[syslog_source]]` and `[[syslog_template]]`.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::server::certificate;
use super::{KnownDomains, Unique, known_domain};
use crate::config::defaults;
use crate::config::file::{Table, Value};
use crate::config::suggest;
use crate::config::value::show_network;
use crate::config::{
    Syslog, SyslogEvent, SyslogInput, SyslogRule, SyslogSource, SyslogTemplate, SyslogTime,
    Transports, Unescape,
};
use crate::identity::worth::Conflict;
use crate::producer::syslog::template::{self, Template, built_in_names};

/// Captures that a pattern may name.
const CAPTURES: [&str; 6] = ["user", "domain", "address", "device", "group", "timestamp"];

/// Longest pattern in bytes; patterns are for one line of a log.
const MAX_PATTERN_BYTES: usize = 4096;

/// Most rules of a template: all rules of a source are tried on each of its lines.
const MAX_RULES: usize = 64;

pub(super) fn syslog(
    root: &Table<'_>,
    names: &mut Unique,
    known: &KnownDomains,
    conflict: Conflict,
) -> Option<Syslog> {
    let table = root.table("syslog");
    let listeners = |key, default: Vec<_>| {
        if table.value(key).is_some() {
            table.list(key, Value::listener)
        } else {
            default
        }
    };
    let udp = listeners("udp", vec![defaults::any(defaults::SYSLOG_PORT)]);
    let tcp = listeners("tcp", vec![defaults::any(defaults::SYSLOG_PORT)]);
    let tls = listeners("tls", Vec::new());
    let certificate = certificate(&table);
    let client_ca_file = table.read("client_ca_file", Value::certificate_file);
    table.finish();
    if let Some(value) = table.value("tls")
        && !tls.is_empty()
        && table
            .read("certificate_file", Value::text_or_none)
            .is_none()
    {
        value.spot.error(
            "TLS listeners need a certificate",
            "senders check who they send to",
            "add certificate_file and key_file to [syslog]",
        );
    }
    let templates = templates(root);
    let listening = Transports {
        udp: !udp.is_empty(),
        tcp: !tcp.is_empty(),
        tls: !tls.is_empty(),
    };
    let client_ca = table.read("client_ca_file", Value::text_or_none).is_some();
    let around = Around {
        listening,
        client_ca,
        known,
        templates: &templates,
        conflict,
    };
    let sources = sources(root, names, &around);
    root.value("syslog_source")?;
    Some(Syslog {
        udp,
        tcp,
        tls,
        certificate,
        client_ca_file,
        sources,
        templates,
    })
}

/// What sources are checked against.
struct Around<'a> {
    listening: Transports,
    client_ca: bool,
    known: &'a KnownDomains,
    templates: &'a [SyslogTemplate],
    conflict: Conflict,
}

fn sources(root: &Table<'_>, names: &mut Unique, around: &Around<'_>) -> Vec<SyslogSource> {
    let mut sources = Vec::new();
    let mut senders: BTreeMap<IpNet, String> = BTreeMap::new();
    for table in root.tables("syslog_source") {
        let name = table.required("name", "\"vpn\"", |value| {
            let name = value.entry_name()?;
            names.take(&name, &value.spot);
            Some(name)
        });
        let from = table.required("senders", "[\"192.0.2.10\"]", Value::entries);
        let from = from.into_iter().flatten();
        let from: Vec<IpNet> = from
            .filter_map(|value| sender(&value, &mut senders))
            .collect();
        let source = source(&table, around);
        if let Some(value) = table.value("senders")
            && value.inner.as_array().is_some_and(|list| list.is_empty())
        {
            value.spot.error(
                "no sender is named",
                "only configured senders are heard",
                "name the addresses or networks that it sends from",
            );
        }
        table.finish();
        if let (Some(name), Some(source)) = (name, source) {
            sources.push(SyslogSource {
                name,
                senders: from,
                ..source
            });
        }
    }
    sources
}

/// One network that a source sends from; the same network in two entries could not be told apart.
fn sender(value: &Value<'_>, taken: &mut BTreeMap<IpNet, String>) -> Option<IpNet> {
    let network = value.network()?;
    if let Some(owner) = taken.get(&network) {
        value.spot.error(
            format!("{} is named already by {owner}", show_network(network)),
            "each message belongs to one source; among overlapping networks the smallest counts",
            "remove it from one of the two, or name a smaller network",
        );
        return None;
    }
    let owner = format!("{} ({})", value.spot.key, value.spot.line());
    taken.insert(network, owner);
    Some(network)
}

/// All of a source but its name and senders.
fn source(table: &Table<'_>, around: &Around<'_>) -> Option<SyslogSource> {
    let templates = table.required("templates", "[\"juniper-secure-connect\"]", |value| {
        let entries = value.entries()?;
        if entries.is_empty() {
            value.spot.error(
                "no template is named",
                "without one no line means anything",
                "name a built-in template or a [[syslog_template]]",
            );
        }
        Some(entries)
    });
    let templates: Vec<String> = templates
        .into_iter()
        .flatten()
        .filter_map(|value| template_name(&value, around.templates))
        .collect();
    let domain = |value: &Value<'_>| known_domain(value, around.known);
    let transports = transports(table, around.listening);
    let client_names = table.list("client_names", Value::some_text);
    if let Some(value) = table.value("client_names")
        && !client_names.is_empty()
        && !around.client_ca
    {
        value.spot.error(
            "client certificates are not asked for",
            "client_names are compared with the sender's certificate",
            "add client_ca_file to [syslog]",
        );
    }
    let networks = table.list("networks", Value::network);
    let source = SyslogSource {
        name: String::new(),
        senders: Vec::new(),
        domain: table.read("domain", domain),
        networks,
        domains: table.list("domains", domain),
        transports,
        client_names,
        time: table
            .read("time", |value| {
                value.word(&[
                    ("message", SyslogTime::Message),
                    ("received", SyslogTime::Received),
                ])
            })
            .unwrap_or(SyslogTime::Message),
        timezone: table.read("timezone", timezone).unwrap_or_default(),
        roles: table.list("roles", Value::glob),
        conflict: around.conflict,
        templates,
    };
    forgeable(table, &source, around);
    Some(source)
}

/// The sender address of a datagram is easily forged, so a source that may speak for every address is worth a look.
fn forgeable(table: &Table<'_>, source: &SyslogSource, around: &Around<'_>) {
    let logon = |rule: &SyslogRule| rule.event == SyslogEvent::Logon;
    let logons = source.templates.iter().any(|name| {
        template::find(around.templates, name)
            .is_some_and(|template| template.rules.iter().any(logon))
    });
    let udp = source.transports.udp && around.listening.udp;
    if udp && logons && source.networks.is_empty() {
        table.spot.warning(
            "logons over UDP are believed for every address",
            "anybody can send a datagram with the sender's address and so sign on as anybody",
            "networks = [\"10.8.0.0/16\"] with what it hands out, or transports = [\"tls\"]",
        );
    }
}

fn template_name(value: &Value<'_>, configured: &[SyslogTemplate]) -> Option<String> {
    let name = value.some_text()?;
    let own = configured.iter().map(|template| template.name.as_str());
    let all: Vec<&str> = built_in_names().iter().copied().chain(own).collect();
    if all.contains(&name.as_str()) {
        return Some(name);
    }
    let near = suggest::nearest(&name, all.iter().copied());
    value.spot.error(
        format!("there is no template \"{name}\""),
        "",
        match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("one of: {}; or write a [[syslog_template]]", all.join(", ")),
        },
    );
    None
}

fn transports(table: &Table<'_>, listening: Transports) -> Transports {
    let all = Transports {
        udp: true,
        tcp: true,
        tls: true,
    };
    let Some(value) = table.value("transports") else {
        return all;
    };
    let words = [("udp", 0_u8), ("tcp", 1), ("tls", 2)];
    let named = table.list("transports", |value| value.word(&words));
    let transports = Transports {
        udp: named.contains(&0),
        tcp: named.contains(&1),
        tls: named.contains(&2),
    };
    let complete = value
        .inner
        .as_array()
        .is_some_and(|list| list.len() == named.len());
    let heard = (transports.udp && listening.udp)
        || (transports.tcp && listening.tcp)
        || (transports.tls && listening.tls);
    if complete && !heard {
        value.spot.error(
            "nobody listens on any of its transports",
            "this source would never be heard",
            "add a listener for one of them to [syslog]",
        );
    }
    transports
}

fn timezone(value: &Value<'_>) -> Option<String> {
    let name = value.text_or_none()?;
    if jiff::tz::TimeZone::get(&name).is_ok() {
        return Some(name);
    }
    let known: Vec<String> = jiff::tz::db()
        .available()
        .map(|zone| zone.as_str().to_owned())
        .collect();
    let near = suggest::nearest(&name, known.iter().map(String::as_str));
    value.spot.error(
        format!("there is no time zone \"{name}\""),
        "",
        match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.len() < 10 => "install the package tzdata, or use \"UTC\"".to_owned(),
            None => "a name such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
        },
    );
    None
}

fn templates(root: &Table<'_>) -> Vec<SyslogTemplate> {
    let mut templates = Vec::new();
    let mut names = Unique::new("sources call templates by their names");
    for table in root.tables("syslog_template") {
        let name = table.required("name", "\"my-vpn\"", |value| {
            let name = value.entry_name()?;
            names.take(&name, &value.spot);
            if built_in_names().contains(&name.as_str()) {
                value.spot.error(
                    format!("\"{name}\" is a built-in template"),
                    "one name would mean two things",
                    format!("\"my-{name}\", and name it in the source before the built-in one"),
                );
            }
            Some(name)
        });
        let description = table.read("description", Value::text).unwrap_or_default();
        let input = table
            .read("input", |value| {
                value.word(&[("text", SyslogInput::Text), ("json", SyslogInput::Json)])
            })
            .unwrap_or_default();
        let entries = table.tables("rule");
        if entries.is_empty() && table.value("rule").is_none() {
            table.spot.error(
                "the template has no rule",
                "without one no line means anything",
                "add [[syslog_template.rule]] with event and pattern",
            );
        }
        if entries.len() > MAX_RULES {
            let what = format!("the template has {} rules", entries.len());
            table.spot.error(
                what,
                "at most 64 are tried on a line",
                "make two templates of it",
            );
        }
        let rules: Vec<_> = entries.iter().filter_map(rule).collect();
        table.finish();
        let complete = !rules.is_empty() && rules.len() == entries.len().min(MAX_RULES);
        let Some(name) = name else {
            continue;
        };
        let template = SyslogTemplate {
            name,
            description,
            input,
            rules,
        };
        // The room that runs templates has the last word; what it refuses was mostly said above, with its place.
        if complete && let Err(error) = Template::compile(&template) {
            table.spot.error(error.to_string(), "", "");
        }
        templates.push(template);
    }
    templates
}

fn rule(table: &Table<'_>) -> Option<SyslogRule> {
    let name = table.read("name", Value::entry_name).unwrap_or_default();
    let event = table.required("event", "\"logon\"", |value| {
        value.word(&[
            ("logon", SyslogEvent::Logon),
            ("logoff", SyslogEvent::Logoff),
            ("device-logon", SyslogEvent::DeviceLogon),
            ("device-logoff", SyslogEvent::DeviceLogoff),
            ("identity", SyslogEvent::Identity),
            ("ignore", SyslogEvent::Ignore),
        ])
    });
    let unescape = table
        .read("unescape", |value| {
            value.word(&[
                ("none", Unescape::None),
                ("json", Unescape::Json),
                ("percent", Unescape::Percent),
            ])
        })
        .unwrap_or_default();
    let example = r"'user=(?<user>\S+) ip=(?<address>\S+)'";
    let pattern = table.required("pattern", example, |value| pattern(value, event));
    table.finish();
    Some(SyslogRule {
        name,
        event: event?,
        pattern: pattern?,
        unescape,
    })
}

fn pattern(value: &Value<'_>, event: Option<SyslogEvent>) -> Option<String> {
    let text = value.some_text()?;
    if text.len() > MAX_PATTERN_BYTES {
        let what = format!("the pattern has {} bytes", text.len());
        value
            .spot
            .error(what, "at most 4096 are allowed", "make several rules of it");
        return None;
    }
    let compiled = match regex::Regex::new(&text) {
        Ok(compiled) => compiled,
        Err(error) => {
            value.spot.error(
                format!(
                    "the pattern is no regular expression: {}",
                    regex_fault(&error)
                ),
                "patterns run in linear time, without look-around and back-references",
                "jims syslog-test tries a pattern on a line",
            );
            return None;
        }
    };
    let captures: Vec<&str> = compiled.capture_names().flatten().collect();
    for capture in captures
        .iter()
        .filter(|capture| !CAPTURES.contains(*capture))
    {
        value.spot.error(
            format!("the capture \"{capture}\" has no meaning"),
            "",
            suggest::hint(capture, &CAPTURES),
        );
    }
    needed_captures(value, event?, &captures).then_some(text)
}

/// Whether the pattern captures what its event cannot do without.
fn needed_captures(value: &Value<'_>, event: SyslogEvent, captures: &[&str]) -> bool {
    let needed: &[&str] = match event {
        SyslogEvent::Logon | SyslogEvent::Identity => &["user", "address"],
        SyslogEvent::DeviceLogon => &["device", "address"],
        SyslogEvent::DeviceLogoff => &["address"],
        SyslogEvent::Logoff | SyslogEvent::Ignore => &[],
    };
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|name| !captures.contains(name))
        .collect();
    if let Some(first) = missing.first() {
        value.spot.error(
            format!("the pattern captures no {}", missing.join(" and no ")),
            "this event needs it",
            format!("put (?<{first}>…) around the part of the line that holds it"),
        );
    }
    let who_left = event == SyslogEvent::Logoff
        && !captures.contains(&"user")
        && !captures.contains(&"address");
    if who_left {
        value.spot.error(
            "the pattern captures neither user nor address",
            "a logoff says who left, or where",
            "put (?<user>…) or (?<address>…) around a part of the line",
        );
    }
    missing.is_empty() && !who_left
}

/// The reason alone: the library's message draws the pattern over several lines, and ours are folded.
fn regex_fault(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it grows too large when compiled".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}
