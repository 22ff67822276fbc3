//! Reload: the new configuration is checked whole, then applied as a difference; or refused, and the old one kept.

use std::sync::Arc;
use std::time::Duration;

use super::cluster;
use super::serve::Inner;
use super::{Error, history_limits, load, refusal};
use crate::config::difference::{Changes, Difference, difference};
use crate::config::{Config, Loaded};
use crate::control::protocol::Refusal;
use crate::enforcement::Server;
use crate::enforcement::web_api;
use crate::identity::policy::Policy;
use crate::producer::syslog::SyslogService;
use crate::runtime::report::Kind;
use crate::runtime::{service, supervisor, telemetry};

/// How long a directory that is removed or changed may take to stop.
const DIRECTORY_STOPS: Duration = Duration::from_secs(10);

/// The notice of a refused reload.
const SUBJECT: &str = "reload";

/// Reads, checks and applies; what was done, for people.
pub(super) async fn reload(inner: &Arc<Inner>) -> Result<String, Refusal> {
    let _one_at_a_time = inner.reloading.lock().await;
    service::reloading();
    let result = attempt(inner).await;
    match &result {
        Ok(done) => {
            inner.notices.clear(SUBJECT);
            tracing::info!("configuration reloaded: {done}");
        }
        Err(refused) => {
            let what = format!("the configuration was not reloaded: {}", refused.message);
            tracing::warn!("{what}");
            inner.notices.put(SUBJECT, what, refused.remedy.clone());
        }
    }
    service::ready("running");
    result
}

async fn attempt(inner: &Arc<Inner>) -> Result<String, Refusal> {
    let path = inner.path.clone();
    let loaded = supervisor::blocking(move || load(&path)).await;
    let loaded = loaded
        .ok_or_else(|| Error::Defect("a configuration".into()))
        .and_then(|loaded| loaded);
    let Loaded { config: new, .. } = loaded.map_err(|error| refusal(&error))?;
    let old = inner.config.load_full();
    let difference = difference(&old, &new);
    if !difference.restart.is_empty() {
        return Err(Refusal {
            message: format!(
                "{} cannot change while jims runs",
                difference.restart.join(", ")
            ),
            remedy: "restart jims, or put the old value back".into(),
        });
    }
    telemetry::parse(&new.log.level).map_err(|error| refusal(&error.into()))?;
    let page = inner
        .metrics
        .prepare(&new.metrics.listen)
        .map_err(|error| refusal(&error.into()))?;
    let pushed_to = web_api::Prepared::from_config(&new).map_err(|error| refusal(&error.into()))?;
    listeners(inner, &old, &new)
        .await
        .map_err(|error| refusal(&error))?;
    inner.metrics.commit(page, &new.metrics.listen);
    inner
        .telemetry
        .set_level(&new.log.level)
        .map_err(|error| refusal(&error.into()))?;
    if new.cluster.is_none() {
        stop_sources(inner, &difference).await;
    }
    let policy = keeping_scopes(new.policy(), inner.parts.reader.read().policy());
    if let Some(cluster) = inner.cluster.get() {
        cluster.set_own_policy(&policy);
    }
    inner.ingest.enable(new.ingest.enabled).await;
    if inner.ingest.obey(policy).await.is_err() {
        return Err(Refusal {
            message: "jims is stopping".into(),
            remedy: String::new(),
        });
    }
    inner.history.set(history_limits(&new.history));
    inner.firewall_pushes.replace(&new.firewall_pushes);
    if new.cluster.is_none() {
        inner.push_to(pushed_to).await;
        start_sources(inner, &difference, &new);
    }
    inner.config.store(Arc::new(new));
    inner.settle_leases(&cluster::leases_of(&difference)).await;
    inner.pushes.look();
    Ok(summary(&difference))
}

/// The new policy, with the scopes of sources that are gone: what they sent before may still be on its way to the table,
/// and what comes of a source without a scope would count everywhere (rule 12).
fn keeping_scopes(mut new: Policy, old: &Policy) -> Policy {
    // Who is told is not the file's alone; it is looked at again at once.
    new.feed = old.feed;
    for (producer, scope) in &old.scopes {
        let gone = new.scopes.entry(producer.clone());
        gone.or_insert_with(|| scope.clone());
    }
    new
}

/// Server and syslog take the new configuration over; if the second cannot, the first goes back.
async fn listeners(inner: &Arc<Inner>, old: &Config, new: &Config) -> Result<(), Error> {
    let (server, syslog) = (inner.server(), inner.syslog());
    let fresh_server: Option<Server> = match (&server, &new.server) {
        (Some(server), Some(_)) => {
            server.reload(new).await?;
            None
        }
        (None, Some(_)) => Some(inner.bind_server(new)?),
        (_, None) => None,
    };
    let fresh_syslog: Result<Option<SyslogService>, Error> = match (&syslog, &new.syslog) {
        (Some(syslog), Some(configured)) => syslog
            .reload(configured)
            .map(|()| None)
            .map_err(Error::from),
        (None, Some(configured)) => inner.bind_syslog(configured).map(Some),
        (_, None) => Ok(None),
    };
    let fresh_syslog = match fresh_syslog {
        Ok(fresh) => fresh,
        Err(error) => {
            if let (Some(server), Some(_)) = (&server, &old.server) {
                server.reload(old).await?;
            }
            return Err(error);
        }
    };
    if new.server.is_none()
        && let Some(running) = inner.server.lock().take()
    {
        running.stop.cancel();
    }
    if new.syslog.is_none()
        && let Some(running) = inner.syslog.lock().take()
    {
        running.stop.cancel();
    }
    if let Some(server) = fresh_server {
        inner.start_server(server);
    }
    if let Some(syslog) = fresh_syslog {
        inner.start_syslog(syslog);
    }
    Ok(())
}

/// Stops what is removed or changed, so that nothing of it arrives after the policy that forgets it.
async fn stop_sources(inner: &Inner, difference: &Difference) {
    for name in gone(&difference.directories) {
        inner.stop_directory(name).await;
    }
    for name in gone(&difference.event_sources) {
        inner.event_logs.stop(name).await;
    }
    if difference.pc_probe {
        inner.pc_probes.stop().await;
    }
}

fn start_sources(inner: &Arc<Inner>, difference: &Difference, new: &Config) {
    let intake = &inner.parts.intake;
    for directory in &new.directories {
        if is_fresh(&difference.directories, directory.name.as_str()) {
            inner.start_directory(directory, intake);
        }
    }
    for source in &new.event_sources {
        if is_fresh(&difference.event_sources, &source.name) {
            inner.start_event_source(source, intake);
        }
    }
    if let Some(probe) = new.pc_probe.as_ref().filter(|_| difference.pc_probe) {
        inner.start_pc_probe(probe, intake);
    }
}

impl Inner {
    /// Stops a directory service and waits until nothing of it arrives any more.
    pub(super) async fn stop_directory(&self, name: &str) {
        let running = self.directories.lock().remove(name);
        if let Some((stop, tasks)) = running {
            stop.cancel();
            let left = tasks.finish(DIRECTORY_STOPS).await;
            if !left.is_empty() {
                tracing::warn!(directory = name, "did not stop in time");
            }
        }
        self.reports.remove(Kind::Directory, name);
    }
}

/// What has to stop.
fn gone(changes: &Changes<String>) -> impl Iterator<Item = &String> {
    changes.removed.iter().chain(&changes.changed)
}

/// Whether it has to start.
fn is_fresh(changes: &Changes<String>, name: &str) -> bool {
    let mut fresh = changes.added.iter().chain(&changes.changed);
    fresh.any(|other| other == name)
}

fn summary(difference: &Difference) -> String {
    let mut parts = Vec::new();
    let mut say = |what: &str, added: usize, removed: usize, changed: usize| {
        if added + removed + changed > 0 {
            parts.push(format!(
                "{what}: {added} added, {removed} removed, {changed} changed"
            ));
        }
    };
    let count = |changes: &Changes<String>| {
        (
            changes.added.len(),
            changes.removed.len(),
            changes.changed.len(),
        )
    };
    for (what, changes) in [
        ("directories", &difference.directories),
        ("event sources", &difference.event_sources),
        ("syslog sources", &difference.syslog_sources),
        ("enforcement points", &difference.enforcement_points),
        ("firewall pushes", &difference.firewall_pushes),
        ("pushes", &difference.pushes),
    ] {
        let (added, removed, changed) = count(changes);
        say(what, added, removed, changed);
    }
    say(
        "listeners",
        difference.listeners.added.len(),
        difference.listeners.removed.len(),
        0,
    );
    if difference.pc_probe {
        parts.push("PC probe changed".into());
    }
    if difference.ingest {
        parts.push("receiving from Collectors changed".into());
    }
    if difference.history {
        parts.push("history changed".into());
    }
    if difference.policy {
        parts.push("policy changed".into());
    }
    if parts.is_empty() {
        "nothing to change in the table or its sources".into()
    } else {
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::address::Networks;
    use crate::identity::policy::Scope;

    fn policy(scopes: &[(&str, &str)]) -> Policy {
        let scope = |network: &str| Scope {
            networks: Some(Networks::new([network.parse().unwrap()])),
            ..Scope::default()
        };
        let scopes = scopes.iter();
        Policy {
            scopes: scopes.map(|(name, n)| ((*name).into(), scope(n))).collect(),
            ..Policy::default()
        }
    }

    #[test]
    fn rule_12_a_source_that_is_gone_keeps_its_scope_and_others_get_the_new_one() {
        let old = policy(&[("gone", "10.1.0.0/16"), ("stays", "10.2.0.0/16")]);
        let new = policy(&[("stays", "10.3.0.0/16"), ("new", "10.4.0.0/16")]);
        let kept = keeping_scopes(new, &old);
        let expected = policy(&[
            ("gone", "10.1.0.0/16"),
            ("stays", "10.3.0.0/16"),
            ("new", "10.4.0.0/16"),
        ]);
        assert_eq!(kept.scopes, expected.scopes);
    }
}
