//! What a reload has to do: the difference between the running configuration and the new one.
//!
//! Pure: two valid configurations in, a list of what was added, removed and changed out. Doing it is for `app`.

use std::net::SocketAddr;

use super::Config;

/// What differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Keys that differ and need a restart; a reload that has any is refused whole, naming them.
    pub restart: Vec<&'static str>,
    /// Directory services, by name.
    pub directories: Changes<String>,
    /// Event sources, by name.
    pub event_sources: Changes<String>,
    /// Syslog sources, by name; changed also if one of their templates did.
    pub syslog_sources: Changes<String>,
    /// The PC probe: networks, limits, credentials.
    pub pc_probe: bool,
    /// Enforcement points, by name.
    pub enforcement_points: Changes<String>,
    /// Names of `[[firewall_push]]`.
    pub firewall_pushes: Changes<String>,
    /// Whether Collectors may push.
    pub ingest: bool,
    /// Names of `[[push]]`.
    pub pushes: Changes<String>,
    /// Listeners; never `changed`.
    pub listeners: Changes<Listener>,
    /// What the table obeys: logoff time, domains, scopes, filters.
    pub policy: bool,
    /// The Server's certificate files are others.
    pub server_certificate: bool,
    /// Certificate files or client authority of the syslog TLS listeners are others.
    pub syslog_certificate: bool,
    /// Life of new tokens.
    pub token_lifetime: bool,
    /// The Collector's description.
    pub description: bool,
    /// Grace or interval of snapshots.
    pub session: bool,
    /// Whether there is a history, and how much is kept.
    pub history: bool,
    /// Level or format of the log.
    pub log: bool,
}

/// What was added, removed, and changed in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<K> {
    /// Only in the new configuration.
    pub added: Vec<K>,
    /// Only in the old one.
    pub removed: Vec<K>,
    /// In both, and not equal.
    pub changed: Vec<K>,
}

/// One listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it is for.
    pub role: ListenerRole,
    /// Where.
    pub address: SocketAddr,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRole {
    /// `syslog.udp`
    SyslogUdp,
    /// `syslog.tcp`
    SyslogTcp,
    /// `syslog.tls`
    SyslogTls,
    /// `server.listen`
    Server,
    /// `server.validator_listen`
    Validator,
    /// `server.debug_http_listen`
    DebugHttp,
    /// `metrics.listen`
    Metrics,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self {
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
        }
    }
}

impl<K> Changes<K> {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Difference {
    /// Whether the two configurations say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What differs from `old` to `new`.
#[must_use]
pub fn difference(old: &Config, new: &Config) -> Difference {
    let certificate = |config: &Config| config.server.clone().map(|server| server.certificate);
    let syslog_certificate = |config: &Config| {
        let syslog = config.syslog.clone();
        syslog.map(|syslog| (syslog.certificate, syslog.client_ca_file))
    };
    let lifetime = |config: &Config| config.server.clone().map(|server| server.token_lifetime);
    let session = |config: &Config| (config.session.grace, config.session.snapshot_interval);
    let both = |a: bool, b: bool| a && b;
    let servers = both(old.server.is_some(), new.server.is_some());
    let syslogs = both(old.syslog.is_some(), new.syslog.is_some());
    Difference {
        restart: restart(old, new),
        directories: changes(
            &old.directories,
            &new.directories,
            |directory| directory.name.to_string(),
            |a, b| a == b,
        ),
        event_sources: changes(
            &old.event_sources,
            &new.event_sources,
            |source| source.name.clone(),
            |a, b| a == b,
        ),
        syslog_sources: syslog_sources(old, new),
        pc_probe: old.pc_probe != new.pc_probe,
        enforcement_points: changes(
            &old.enforcement_points,
            &new.enforcement_points,
            |point| point.name.clone(),
            |a, b| a == b,
        ),
        firewall_pushes: changes(
            &old.firewall_pushes,
            &new.firewall_pushes,
            |push| push.name.clone(),
            |a, b| a == b,
        ),
        ingest: old.ingest != new.ingest,
        pushes: changes(
            &old.pushes,
            &new.pushes,
            |push| push.name.clone(),
            |a, b| a == b,
        ),
        listeners: changes(
            &listeners(old),
            &listeners(new),
            |listener| *listener,
            |_, _| true,
        ),
        policy: old.policy() != new.policy(),
        server_certificate: servers && certificate(old) != certificate(new),
        syslog_certificate: syslogs && syslog_certificate(old) != syslog_certificate(new),
        token_lifetime: servers && lifetime(old) != lifetime(new),
        description: old.collector.description != new.collector.description,
        session: session(old) != session(new),
        history: old.history != new.history,
        log: old.log != new.log,
    }
}

/// The keys that a running process cannot change.
fn restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("collector.name", old.collector.name != new.collector.name),
        (
            "collector.state_dir",
            old.collector.state_dir != new.collector.state_dir,
        ),
        ("dns.servers", old.dns != new.dns),
        ("cluster", old.cluster != new.cluster),
        ("control.group", old.control.group != new.control.group),
        ("control.socket", old.control.socket != new.control.socket),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

fn syslog_sources(old: &Config, new: &Config) -> Changes<String> {
    let with_templates = |config: &Config| {
        let Some(syslog) = &config.syslog else {
            return Vec::new();
        };
        let used = |source: &super::SyslogSource| {
            let templates = syslog.templates.iter();
            templates
                .filter(|template| source.templates.contains(&template.name))
                .cloned()
                .collect::<Vec<_>>()
        };
        let sources = syslog.sources.iter();
        sources
            .map(|source| (source.clone(), used(source)))
            .collect()
    };
    changes(
        &with_templates(old),
        &with_templates(new),
        |(source, _)| source.name.clone(),
        |a, b| a == b,
    )
}

/// All listeners of a configuration.
#[must_use]
pub fn listeners(config: &Config) -> Vec<Listener> {
    let of = |role, addresses: &[SocketAddr]| -> Vec<Listener> {
        let addresses = addresses.iter().copied();
        addresses
            .map(|address| Listener { role, address })
            .collect()
    };
    let mut all = of(ListenerRole::Metrics, &config.metrics.listen);
    if let Some(syslog) = &config.syslog {
        all.extend(of(ListenerRole::SyslogUdp, &syslog.udp));
        all.extend(of(ListenerRole::SyslogTcp, &syslog.tcp));
        all.extend(of(ListenerRole::SyslogTls, &syslog.tls));
    }
    if let Some(server) = &config.server {
        all.extend(of(ListenerRole::Server, &server.listen));
        all.extend(of(ListenerRole::Validator, &server.validator_listen));
        all.extend(of(ListenerRole::DebugHttp, &server.debug_http_listen));
    }
    all
}

fn changes<T, K: PartialEq>(
    old: &[T],
    new: &[T],
    key: impl Fn(&T) -> K,
    same: impl Fn(&T, &T) -> bool,
) -> Changes<K> {
    let find = |list: &[T], wanted: &K| list.iter().position(|entry| key(entry) == *wanted);
    let mut changes = Changes::default();
    for entry in new {
        match find(old, &key(entry)) {
            None => changes.added.push(key(entry)),
            Some(before) if !same(&old[before], entry) => changes.changed.push(key(entry)),
            Some(_) => {}
        }
    }
    for entry in old {
        if find(new, &key(entry)).is_none() {
            changes.removed.push(key(entry));
        }
    }
    changes
}
