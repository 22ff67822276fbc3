//! From the tree of the file to [`Config`]: one function a table, and what tables say of each other.
//!
//! Every function reads all keys of its table, even after a problem, so that all problems are found in one pass. An
//! entry with a problem is left out of the result, which is then refused as a whole.

mod account;
mod basics;
mod cluster;
mod directory;
mod events;
mod probe;
mod push;
mod push_in;
mod server;
mod syslog;
mod url;
mod web_api;

use std::collections::BTreeMap;
use std::path::Path;

use ipnet::IpNet;
use toml::de::DeTable;

use super::defaults::Environment;
use super::file::{Findings, MAX_FILE_BYTES, Spot, Table, Value};
use super::problem::{Place, Problem, Problems};
use super::secret;
use super::suggest;
use super::{Config, Loaded};
use crate::identity::address::Networks;
use crate::identity::name::{Name, NameKey};
use crate::identity::policy::{Globs, Policy, Scope};

/// The version of the file's format that this program reads.
const SCHEMA: u32 = 1;

/// See [`super::load`].
pub(super) fn load(path: &Path) -> Result<Loaded, Problems> {
    let whole = |what: String, hint: &str| Problems {
        errors: vec![Problem {
            place: Place {
                file: path.to_owned(),
                line: 0,
                column: 0,
            },
            key: String::new(),
            entry: None,
            what,
            why: String::new(),
            hint: hint.to_owned(),
        }],
        warnings: Vec::new(),
    };
    let size = std::fs::metadata(path).map_or(0, |facts| facts.len());
    if size > MAX_FILE_BYTES as u64 {
        return Err(whole(
            format!("the file is larger than {MAX_FILE_BYTES} bytes"),
            "",
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        whole(
            format!("cannot read the configuration: {}", secret::reason(&error)),
            "name the file with --config FILE; config.example.toml is one to start from",
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|&&b| b == b'\n').count() + 1;
        whole(
            format!("line {line} is not UTF-8 text"),
            "save the file as UTF-8",
        )
    })?;
    from_toml(&text, path)
}

/// See [`Config::from_toml`].
pub(super) fn from_toml(text: &str, path: &Path) -> Result<Loaded, Problems> {
    from_toml_in(text, path, &Environment::of_process())
}

fn from_toml_in(text: &str, path: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    // A byte-order mark is what some editors leave; it is no mistake of the operator.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let findings = Findings::new(path, text);
    let (tree, faults) = DeTable::parse_recoverable(text);
    for fault in faults.iter().take(20) {
        findings.syntax(fault);
    }
    let config = faults
        .is_empty()
        .then(|| resolve(&Table::root(&findings, &tree), environment))
        .flatten();
    let problems = findings.into_problems();
    match config {
        Some(config) if problems.errors.is_empty() => Ok(Loaded {
            config,
            warnings: problems.warnings,
        }),
        _ => Err(problems),
    }
}

/// The whole file. `None` only if something that has no default is wrong, which then is among the problems.
fn resolve(root: &Table<'_>, environment: &Environment) -> Option<Config> {
    schema(root);
    let collector = basics::collector(root, environment);
    let session = basics::session(root);
    let mut names = Unique::new("names are unique over all producers and directories")
        .reserve("pc-probe")
        .reserve("jims");
    let (domains, known) = directory::domains(root);
    let (directories, known) = directory::directories(root, &mut names, known);
    let conflict = probe::conflict(root);
    let event_sources = events::event_sources(root, &mut names, &known, conflict);
    let syslog = syslog::syslog(root, &mut names, &known, conflict);
    let pc_probe = probe::pc_probe(root, &known, session.grace);
    let server = server::server(root);
    let mut client_ids = Unique::new("a client id stands for one client");
    let enforcement_points = server::points(root, &known, &mut client_ids);
    let firewall_pushes = push_in::firewall_pushes(root, &known, (&mut names, &mut client_ids));
    let ingest = push::ingest(root);
    let pushes = push::pushes(root);
    let filter = basics::filter(root);
    let dns = basics::dns(root);
    let cluster = cluster::cluster(root);
    let history = basics::history(root);
    let metrics = basics::metrics(root);
    let control = basics::control(root, environment, &collector);
    let log = basics::log(root);
    root.finish();
    server::listeners_differ(root);

    let config = Config {
        collector,
        session,
        domains,
        directories,
        event_sources,
        syslog,
        pc_probe,
        server,
        enforcement_points,
        firewall_pushes,
        ingest,
        pushes,
        filter,
        dns,
        cluster,
        control,
        history,
        metrics,
        log,
    };
    // A misspelt table looks like an absent one; the misspelling is what matters then.
    if !root.spot.findings.any_error() {
        whole(root, &config);
    }
    Some(config)
}

fn schema(root: &Table<'_>) {
    let example = SCHEMA.to_string();
    let Some(value) = root.value("schema") else {
        root.spot.error(
            "the key schema is missing",
            "it says which version of this format the file is written in",
            format!("begin the file with: schema = {example}"),
        );
        return;
    };
    if let Some(number) = value
        .number(0..=u32::MAX)
        .filter(|&number| number != SCHEMA)
    {
        value.spot.error(
            format!("this jims reads schema {SCHEMA}, the file says {number}"),
            if number > SCHEMA {
                "the file was written for a newer jims"
            } else {
                ""
            },
            format!("schema = {example}"),
        );
    }
}

/// What only the whole shows.
fn whole(root: &Table<'_>, config: &Config) {
    let present = |key| root.value(key).is_some();
    let producers = ["directory_service", "event_source", "syslog_source"]
        .into_iter()
        .any(present);
    // A Collector may be onboarded before its sources are written down.
    if !producers && !present("server") && !present("push") {
        root.spot.warning(
            "nothing is configured to be read or to be answered",
            "there is neither a source of identities nor a [server]",
            "add an [[event_source]], a [[syslog_source]], a [[directory_service]] or [server]",
        );
    }
    if config.server.is_none() && present("enforcement_point") {
        root.spot.warning(
            "no enforcement point is answered",
            "the Server runs only if there is a table [server]",
            "add the line [server]",
        );
    }
    if config.server.is_none()
        && let Some(value) = root.value("firewall_push")
    {
        value.spot.error(
            "nobody can push",
            "what is pushed comes to the Server, which runs only if there is a table [server]",
            "add the line [server]",
        );
    }
    let clients = present("enforcement_point") || present("firewall_push") || config.ingest.enabled;
    if config.server.is_some() && !clients {
        root.spot.warning(
            "the Server has nobody to answer",
            "there is no [[enforcement_point]], and only configured ones are answered",
            "add one; jims status shows who asked, with the lines to paste",
        );
    }
}

/// Which spots already took a name.
pub(super) struct Unique {
    why: &'static str,
    taken: BTreeMap<NameKey, (String, String)>,
}

impl Unique {
    fn new(why: &'static str) -> Self {
        Self {
            why,
            taken: BTreeMap::new(),
        }
    }

    /// A name that jims itself uses.
    fn reserve(mut self, name: &str) -> Self {
        let owner = ("jims itself".to_owned(), "always".to_owned());
        self.taken.insert(NameKey::fold(name), owner);
        self
    }

    /// Takes a name, or says who has it.
    fn take(&mut self, name: &str, spot: &Spot<'_>) {
        let key = NameKey::fold(name);
        if let Some((owner, line)) = self.taken.get(&key) {
            spot.error(
                format!("\"{name}\" is taken by {owner} ({line})"),
                self.why,
                "choose another",
            );
            return;
        }
        self.taken.insert(key, (spot.key.clone(), spot.line()));
    }
}

/// Which domains the file knows, by all their names.
pub(super) type KnownDomains = BTreeMap<NameKey, Name>;

/// A domain that the file should know, if it knows any.
fn known_domain(value: &Value<'_>, known: &KnownDomains) -> Option<Name> {
    let name = value.domain()?;
    if !known.is_empty() && !known.contains_key(&name.key()) {
        let words: Vec<&str> = known.values().map(Name::as_str).collect();
        let near = suggest::nearest(name.as_str(), words);
        value.spot.warning(
            format!("no [[domain]] and no [[directory_service]] has the domain \"{name}\""),
            "its users will have no groups",
            near.map_or_else(String::new, |near| format!("did you mean \"{near}\"?")),
        );
    }
    Some(name)
}

/// See [`Config::policy`].
pub(super) fn policy(config: &Config) -> Policy {
    let globs = |patterns: &[String]| {
        // Each pattern was compiled when the file was read, so this cannot fail.
        Globs::new(patterns.iter().map(String::as_str)).unwrap_or_default()
    };
    let scope = |networks: &[IpNet], domains: &[Name], roles: &[String]| Scope {
        networks: (!networks.is_empty()).then(|| Networks::new(networks.iter().copied())),
        domains: (!domains.is_empty()).then(|| domains.to_vec()),
        roles: globs(roles),
    };
    let mut scopes = BTreeMap::new();
    for source in config.syslog.iter().flat_map(|syslog| &syslog.sources) {
        let scope = scope(&source.networks, &source.domains, &source.roles);
        scopes.insert(source.name.as_str().into(), scope);
    }
    for source in &config.event_sources {
        let scope = scope(&source.networks, &source.domains, &[]);
        scopes.insert(source.name.as_str().into(), scope);
    }
    for push in &config.firewall_pushes {
        let mut scope = scope(&push.networks, &push.domains, &push.roles);
        // No scope until one is given (rule 12).
        scope.networks.get_or_insert_default();
        scopes.insert(push.name.as_str().into(), scope);
    }
    Policy {
        logoff_time: config.session.logoff_time,
        follow_device: config.session.follow_device,
        shared_addresses: Networks::new(config.session.shared_addresses.iter().copied()),
        grace: config.session.grace,
        probe_networks: Networks::new(
            config
                .pc_probe
                .iter()
                .flat_map(|probe| probe.networks.iter().copied()),
        ),
        domains: config.domains.clone(),
        directories: config
            .directories
            .iter()
            .map(|directory| (directory.name.clone(), directory.domain.clone()))
            .collect(),
        scopes,
        // Who is onboarded and who is told is not the file's alone; whoever knows fills them in.
        collectors: BTreeMap::new(),
        feed: false,
        history: config.history.enabled,
        filter: config.filter.clone(),
    }
}
