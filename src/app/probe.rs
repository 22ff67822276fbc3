//! Trying a configured source step by step, for `jims probe` and `jims run --check --connect`.
//!
//! Finds whose name it is and asks its room; what is tried is decided there.

use std::time::Duration;

use crate::config::{Config, DirectorySource};
use crate::control::protocol::{Probed, ProbedStep, Refusal};
use crate::directory;
use crate::net::resolve::Resolver;
use crate::producer::event_log;
use crate::runtime::preflight::{Preflight, Step};

/// The names of all sources that can be tried, in the order of the configuration.
#[must_use]
pub fn probe_targets(config: &Config) -> Vec<String> {
    let sources = config
        .event_sources
        .iter()
        .map(|source| source.name.clone());
    let directories = config.directories.iter();
    let servers =
        directories.filter(|directory| matches!(directory.source, DirectorySource::Ldap(_)));
    sources
        .chain(servers.map(|directory| directory.name.to_string()))
        .collect()
}

/// Tries one source.
///
/// # Errors
/// No source has that name.
pub async fn probe(config: &Config, target: &str) -> Result<Probed, Refusal> {
    let resolver = Resolver::with(&config.dns.servers);
    let mut preflight = Preflight::default();
    let source = config.event_sources.iter().find(|s| s.name == target);
    if let Some(source) = source {
        event_log::preflight(source, &resolver, &mut preflight).await;
        return Ok(probed(target, "event-source", preflight));
    }
    let directory = config
        .directories
        .iter()
        .find(|d| d.name.as_str() == target);
    match directory.map(|directory| (directory, &directory.source)) {
        Some((directory, DirectorySource::Ldap(ldap))) => {
            directory::preflight(ldap, &directory.domain, &resolver, &mut preflight).await;
            Ok(probed(target, "directory", preflight))
        }
        Some((_, DirectorySource::Ldif(path))) => {
            preflight.pass("file", format!("it is read from {}", path.display()));
            Ok(probed(target, "directory", preflight))
        }
        None => Err(unknown(config, target)),
    }
}

fn probed(target: &str, kind: &str, preflight: Preflight) -> Probed {
    Probed {
        target: target.to_owned(),
        kind: kind.to_owned(),
        ok: preflight.ok(),
        steps: preflight.into_steps().into_iter().map(step).collect(),
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

fn unknown(config: &Config, target: &str) -> Refusal {
    let known = probe_targets(config);
    Refusal {
        message: format!("no event source and no directory is called {target}"),
        remedy: if known.is_empty() {
            "none is configured: add an [[event_source]] or a [[directory_service]]".to_owned()
        } else {
            format!("one of: {}", known.join(", "))
        },
    }
}
