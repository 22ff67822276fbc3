//! The tables that stand alone: `[collector]`, `[session]`, `[filter]`, `[dns]`, `[history]`, `[control]`,
//! `[metrics]`, `[log]`.

use std::path::Path;
use std::time::Duration;

use crate::config::defaults::{self, Environment};
use crate::config::file::{Table, Value};
use crate::config::suggest;
use crate::config::{Collector, Control, Dns, History, Log, LogFormat, Metrics, Session};
use crate::identity::address::Networks;
use crate::identity::policy::{Filter, Globs};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn collector(root: &Table<'_>, environment: &Environment) -> Collector {
    let table = root.table("collector");
    let collector = Collector {
        name: table
            .read("name", Value::entry_name)
            .unwrap_or_else(|| environment.collector_name()),
        description: table.read("description", Value::text).unwrap_or_default(),
        state_dir: table
            .read("state_dir", |value| {
                let path = value.spot.findings.path(&value.some_text()?);
                must_not_be_a_file(value, &path)
            })
            .unwrap_or_else(|| environment.state_dir()),
    };
    table.finish();
    collector
}

fn must_not_be_a_file(value: &Value<'_>, path: &Path) -> Option<std::path::PathBuf> {
    if std::fs::metadata(path).is_ok_and(|facts| !facts.is_dir()) {
        value.spot.error(
            format!("{} is not a folder", path.display()),
            "jims keeps several files there",
            "name a folder; it is made if it does not exist",
        );
        return None;
    }
    Some(path.to_owned())
}

pub(super) fn session(root: &Table<'_>) -> Session {
    let table = root.table("session");
    let duration = |key, range, default| {
        table
            .read(key, |value| value.duration(range))
            .unwrap_or(default)
    };
    let session = Session {
        logoff_time: duration("logoff_time", MINUTE..=DAY, defaults::LOGOFF_TIME),
        grace: duration("grace", MINUTE..=DAY, defaults::GRACE),
        follow_device: table
            .read("follow_device", Value::boolean)
            .unwrap_or(defaults::FOLLOW_DEVICE),
        snapshot_interval: duration(
            "snapshot_interval",
            Duration::from_secs(1)..=Duration::from_hours(1),
            defaults::SNAPSHOT_INTERVAL,
        ),
        shared_addresses: table.list("shared_addresses", Value::network),
    };
    table.finish();
    session
}

pub(super) fn filter(root: &Table<'_>) -> Filter {
    let table = root.table("filter");
    let globs = |key| {
        let patterns = table.list(key, Value::glob);
        // Each pattern was compiled by itself just before.
        Globs::new(patterns.iter().map(String::as_str)).unwrap_or_default()
    };
    let filter = Filter {
        include_addresses: Networks::new(table.list("include_addresses", Value::network)),
        exclude_addresses: Networks::new(table.list("exclude_addresses", Value::network)),
        exclude_users: globs("exclude_users"),
        exclude_devices: globs("exclude_devices"),
        exclude_groups: globs("exclude_groups"),
    };
    table.finish();
    filter
}

pub(super) fn control(
    root: &Table<'_>,
    environment: &Environment,
    collector: &Collector,
) -> Control {
    let table = root.table("control");
    let control = Control {
        group: table
            .read("group", Value::some_text)
            .unwrap_or_else(|| defaults::CONTROL_GROUP.to_owned()),
        socket: table
            .read("socket", |value| {
                let path = value.spot.findings.path(&value.some_text()?);
                let length = path.as_os_str().len();
                if length > defaults::MAX_SOCKET_PATH_BYTES {
                    value.spot.error(
                        format!("the path has {length} bytes"),
                        "Linux allows 107 for a socket",
                        "choose a shorter one, such as \"/run/jims/control.sock\"",
                    );
                    return None;
                }
                Some(path)
            })
            .unwrap_or_else(|| environment.control_socket(&collector.state_dir)),
    };
    table.finish();
    control
}

pub(super) fn dns(root: &Table<'_>) -> Dns {
    let table = root.table("dns");
    let dns = Dns {
        servers: table.list("servers", |value| value.server(defaults::DNS_PORT)),
    };
    table.finish();
    dns
}

pub(super) fn history(root: &Table<'_>) -> History {
    let table = root.table("history");
    let history = History {
        enabled: table
            .read("enabled", Value::boolean)
            .unwrap_or(defaults::HISTORY_ENABLED),
        max_age: table
            .read("max_age", |value| {
                value.duration(Duration::from_hours(1)..=DAY * 3650)
            })
            .unwrap_or(defaults::HISTORY_MAX_AGE),
        max_size: table
            .read("max_size", |value| value.size(32 << 20..=1 << 40))
            .unwrap_or(defaults::HISTORY_MAX_SIZE),
    };
    table.finish();
    history
}

pub(super) fn metrics(root: &Table<'_>) -> Metrics {
    let table = root.table("metrics");
    let metrics = Metrics {
        listen: table.list("listen", Value::listener),
    };
    table.finish();
    metrics
}

pub(super) fn log(root: &Table<'_>) -> Log {
    let table = root.table("log");
    let log = Log {
        level: table
            .read("level", log_level)
            .unwrap_or_else(|| defaults::LOG_LEVEL.to_owned()),
        format: table
            .read("format", |value| {
                value.word(&[
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                    ("journald", LogFormat::Journald),
                ])
            })
            .unwrap_or(LogFormat::Text),
    };
    table.finish();
    log
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A level, or `TARGET=LEVEL`, several separated by commas.
fn log_level(value: &Value<'_>) -> Option<String> {
    let text = value.some_text()?;
    for part in text.split(',').map(str::trim) {
        let (target, level) = part.split_once('=').map_or(("", part), |(t, l)| (t, l));
        if LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            continue;
        }
        let hint = match suggest::nearest(level, LEVELS) {
            Some(near) if target.is_empty() => format!("did you mean \"{near}\"?"),
            Some(near) => format!("did you mean \"{target}={near}\"?"),
            None => "one of: off, error, warn, info, debug, trace; for one part of jims: \
                     \"info,jims::directory=debug\""
                .to_owned(),
        };
        value
            .spot
            .error(format!("\"{level}\" is no level of the log"), "", hint);
        return None;
    }
    Some(text)
}
