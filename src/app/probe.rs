//! Trying a configured source, or asking a computer, step by step; for `jims probe` and `jims run --check --connect`.
//!
//! Finds whose name it is and asks its room; what is tried is decided there. A name that no source has is a computer's.

use std::net::IpAddr;
use std::time::Duration;

use super::serve::Inner;
use crate::cluster;
use crate::config::{Config, DirectorySource, PcProbe};
use crate::control::protocol::{Probed, ProbedStep, Refusal};
use crate::directory;
use crate::identity::address::Networks;
use crate::net::resolve::Resolver;
use crate::producer::{event_log, pc_probe};
use crate::runtime::preflight::{Preflight, Step};
use crate::runtime::probing::{Answer, NotAsked, Probed as Asked};

/// What the NATS servers of `[cluster]` are called here.
pub const CLUSTER: &str = "cluster";

/// What a computer waits for its turn at most, beside the time of the probe itself.
const TURN: Duration = Duration::from_secs(60);

/// The names of all sources that can be tried, in the order of the configuration.
#[must_use]
pub fn probe_targets(config: &Config) -> Vec<String> {
    let sources = config
        .event_sources
        .iter()
        .map(|source| source.name.clone());
    let directories = config.directories.iter();
    sources
        .chain(directories.map(|directory| directory.name.to_string()))
        .chain(config.cluster.iter().map(|_| CLUSTER.to_owned()))
        .collect()
}

/// Tries one source, or asks one computer, without a running service.
///
/// # Errors
/// Nothing has that name, or the computer may not be asked.
pub async fn probe(config: &Config, target: &str) -> Result<Probed, Refusal> {
    let resolver = Resolver::with(&config.dns.servers);
    if let Some(probed) = source(config, target, &resolver).await {
        return Ok(probed);
    }
    let Some(configured) = &config.pc_probe else {
        return Err(unknown(config, target));
    };
    let mut preflight = Preflight::default();
    let host = computer(configured, target, &resolver, &mut preflight).await?;
    let asked = pc_probe::preflight(configured, host.address, host.name, &resolver).await;
    let asked = asked.map_err(|error| not_asked(error, host.address))?;
    Ok(of_computer(target, preflight, &asked))
}

/// The same, asked of the running service: its limits hold, and the answer counts.
pub(super) async fn asked_of_service(inner: &Inner, target: &str) -> Result<Probed, Refusal> {
    let config = inner.config.load_full();
    if let Some(probed) = source(&config, target, &inner.resolver).await {
        return Ok(probed);
    }
    let Some(configured) = &config.pc_probe else {
        return Err(unknown(&config, target));
    };
    let mut preflight = Preflight::default();
    let known = known_device(inner, configured, target);
    let host = match known {
        Some(address) => {
            preflight.pass("resolve", format!("{target} has a session at {address}"));
            Computer {
                address,
                name: None,
            }
        }
        None => computer(configured, target, &inner.resolver, &mut preflight).await?,
    };
    let address = host.address;
    let asking = inner.probing.ask(address, host.name);
    let asked = tokio::time::timeout(configured.timeout + TURN, asking).await;
    match asked.unwrap_or(Err(NotAsked::Busy)) {
        Ok(asked) => Ok(of_computer(target, preflight, &asked)),
        Err(error) => Err(not_asked(error, address)),
    }
}

/// Tries the source of that name, if there is one.
async fn source(config: &Config, target: &str, resolver: &Resolver) -> Option<Probed> {
    let mut preflight = Preflight::default();
    let source = config.event_sources.iter().find(|s| s.name == target);
    if let Some(source) = source {
        event_log::preflight(source, resolver, &mut preflight).await;
        return Some(probed(target, "event-source", preflight));
    }
    let directory = config
        .directories
        .iter()
        .find(|d| d.name.as_str() == target);
    let Some(directory) = directory else {
        let cluster = config.cluster.as_ref().filter(|_| target == CLUSTER)?;
        cluster::preflight(cluster, &mut preflight).await;
        return Some(probed(target, CLUSTER, preflight));
    };
    match &directory.source {
        DirectorySource::Ldap(ldap) => {
            directory::preflight(ldap, &directory.domain, resolver, &mut preflight).await;
        }
        DirectorySource::Ldif(path) => {
            directory::preflight_file(path, &directory.domain, &mut preflight).await;
        }
    }
    Some(probed(target, "directory", preflight))
}

/// A computer that may be asked.
struct Computer {
    address: IpAddr,
    /// As it was asked for, if that is a full name.
    name: Option<String>,
}

/// Finds the computer: an address stands for itself, a name is looked up.
async fn computer(
    configured: &PcProbe,
    target: &str,
    resolver: &Resolver,
    preflight: &mut Preflight,
) -> Result<Computer, Refusal> {
    if let Ok(address) = target.parse::<IpAddr>() {
        let (address, name) = (address.to_canonical(), None);
        return Ok(Computer { address, name });
    }
    let found = resolver.addresses(target).await.map_err(|error| Refusal {
        message: format!("{target} is no source, and as a computer it cannot be found: {error}"),
        remedy: error.remedy(),
    })?;
    let networks = Networks::new(configured.networks.iter().copied());
    let inside = found.iter().find(|address| networks.contains(**address));
    let Some(&address) = inside.or(found.first()) else {
        return Err(not_asked(NotAsked::Outside, IpAddr::from([0, 0, 0, 0])));
    };
    preflight.pass("resolve", format!("{target} is {address}"));
    let name = target.contains('.').then(|| target.to_owned());
    Ok(Computer { address, name })
}

/// An address inside the networks where a device of that name has a session.
fn known_device(inner: &Inner, configured: &PcProbe, target: &str) -> Option<IpAddr> {
    if target.parse::<IpAddr>().is_ok() {
        return None;
    }
    let networks = Networks::new(configured.networks.iter().copied());
    let (label, domain) = match target.split_once('.') {
        Some((label, domain)) => (label, Some(domain)),
        None => (target, None),
    };
    let core = inner.parts.reader.read();
    let devices = core.devices_named(label, domain);
    let mut addresses = devices
        .iter()
        .flat_map(|device| core.addresses_of_device(device.name, device.domain));
    addresses.find(|address| networks.contains(*address))
}

fn probed(target: &str, kind: &str, preflight: Preflight) -> Probed {
    Probed {
        target: target.to_owned(),
        kind: kind.to_owned(),
        ok: preflight.ok(),
        answer: None,
        users: Vec::new(),
        steps: preflight.into_steps().into_iter().map(step).collect(),
    }
}

fn of_computer(target: &str, before: Preflight, asked: &Asked) -> Probed {
    let steps = before.into_steps().into_iter();
    Probed {
        target: target.to_owned(),
        kind: "pc".to_owned(),
        ok: !matches!(asked.answer, Some(Answer::Refused | Answer::Unreachable)),
        answer: asked.answer.map(|answer| answer.as_str().to_owned()),
        users: asked.users.clone(),
        steps: steps.chain(asked.steps.iter().cloned()).map(step).collect(),
    }
}

fn step(step: Step) -> ProbedStep {
    ProbedStep {
        name: step.name,
        ok: step.ok,
        ms: millis(step.took),
        detail: step.detail,
        remedy: step.remedy,
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn not_asked(error: NotAsked, address: IpAddr) -> Refusal {
    let (message, remedy) = match error {
        NotAsked::Outside => (
            format!(
                "{address} is outside the networks of [pc_probe]: nobody there sees a credential"
            ),
            "add its network to `networks`, if its computers are yours",
        ),
        NotAsked::Off => (
            "PC probes are off".to_owned(),
            "name the networks of your computers in [pc_probe]",
        ),
        NotAsked::Busy => (
            format!("{address} was not asked in time: too many probes are waiting"),
            "see jims status, and ask again",
        ),
    };
    let remedy = remedy.to_owned();
    Refusal { message, remedy }
}

fn unknown(config: &Config, target: &str) -> Refusal {
    if let Some(refusal) = sends_by_itself(config, target) {
        return refusal;
    }
    let known = probe_targets(config);
    let is_address = target.parse::<IpAddr>().is_ok();
    let message = if is_address {
        "computers cannot be asked: PC probes are off".to_owned()
    } else {
        format!("no event source and no directory is called {target}, and PC probes are off")
    };
    let probes = "name networks in [pc_probe] to ask computers";
    Refusal {
        message,
        remedy: if is_address {
            probes.to_owned()
        } else if known.is_empty() {
            format!(
                "no source is configured: add an [[event_source]] or a [[directory_service]]; or {probes}"
            )
        } else {
            format!("one of: {}; or {probes}", known.join(", "))
        },
    }
}

/// Whoever sends to us cannot be asked.
fn sends_by_itself(config: &Config, target: &str) -> Option<Refusal> {
    let mut senders = config.syslog.iter().flat_map(|syslog| &syslog.sources);
    let mut pushers = config.firewall_pushes.iter();
    let (what, remedy) = if senders.any(|source| source.name == target) {
        let remedy = format!(
            "`jims status` says what it sent; `jims syslog-test --source {target}` reads lines as it would"
        );
        ("a syslog source", remedy)
    } else if pushers.any(|push| push.name == target) {
        let remedy = "`jims status` says what it sent".to_owned();
        ("a firewall that pushes", remedy)
    } else {
        return None;
    };
    Some(Refusal {
        message: format!("{target} is {what}: it sends by itself and cannot be asked"),
        remedy,
    })
}
