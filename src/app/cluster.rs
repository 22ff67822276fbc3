//! A member of a cluster: what of this process runs only with a lease, and where its order comes from.
//!
//! Event sources, directories, the PC probe and firewalls that are pushed to belong to one member each; listeners run on
//! every member. What a lease means is [`crate::cluster`]'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::serve::Inner;
use crate::cluster::{Cluster, ClusterParts, Held};
use crate::config::{self, Config, Difference};
use crate::directory::bookmark_key;
use crate::enforcement::web_api::{self, Prepared};
use crate::identity::Core;
use crate::identity::heard::Hearer;
use crate::identity::policy::Policy;
use crate::identity::time::UtcMillis;
use crate::runtime::readiness::Latch;
use crate::runtime::report::{Kind, Report, Reports};
use crate::writer::{Asked, Fence, Intake, Ordered, OrderedWriter, Writer, WriterParts};

/// Pieces of the order that wait for the writer.
const ORDERS: usize = 64;

/// A member stores the table for others this many times less often than it looks at its own.
const STORE_EVERY: u32 = 30;

/// How long a Server waits for a directory that another member reads (rule 15).
const READ_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked whether another member has read a directory.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The lease of the PC probe.
const PC_PROBE: &str = "pc-probe";

/// Who changes the table.
pub(super) enum Writing {
    /// This process, in the order in which it hears of things.
    Own(Writer),
    /// The cluster's order; what the process asks for goes there.
    Ordered(OrderedWriter, Asked),
}

/// Who changes a table, and the handles of everybody else.
pub(super) fn writing(core: Core, config: &Config) -> (Writing, WriterParts) {
    if config.cluster.is_some() {
        let (writer, parts, asked) = OrderedWriter::new(core, Reports::default());
        return (Writing::Ordered(writer, asked), parts);
    }
    let (writer, parts) = Writer::new(core, Reports::default());
    (Writing::Own(writer), parts)
}

/// What runs with a lease, and with which.
#[derive(Debug, Default)]
pub(super) struct Leased {
    running: BTreeMap<Arc<str>, Fence>,
}

/// What can be leased.
enum Thing<'a> {
    Directory(&'a config::Directory),
    EventSource(&'a config::EventSource),
    PcProbe(&'a config::PcProbe),
    /// A firewall that is pushed to.
    WebApi,
}

/// Everything of a configuration that runs only with a lease, by the lease's name.
fn things(config: &Config) -> BTreeMap<Arc<str>, Thing<'_>> {
    let named = |kind: &str, name: &str| Arc::from(format!("{kind}/{name}"));
    let mut things = BTreeMap::new();
    for directory in &config.directories {
        let lease = named("directory", directory.name.as_str());
        things.insert(lease, Thing::Directory(directory));
    }
    for source in &config.event_sources {
        let lease = named("event-source", &source.name);
        things.insert(lease, Thing::EventSource(source));
    }
    if let Some(probe) = &config.pc_probe {
        things.insert(Arc::from(PC_PROBE), Thing::PcProbe(probe));
    }
    for point in &config.enforcement_points {
        if point.web_api.is_some() {
            let lease = named("web-api", &point.name);
            things.insert(lease, Thing::WebApi);
        }
    }
    things
}

/// Leases of what a reload changed.
pub(super) fn leases_of(difference: &Difference) -> BTreeSet<Arc<str>> {
    let named = |kind: &str, name: &String| Arc::from(format!("{kind}/{name}"));
    let directories = difference.directories.changed.iter();
    let sources = difference.event_sources.changed.iter();
    let points = difference.enforcement_points.changed.iter();
    let probe = difference.pc_probe.then(|| Arc::from(PC_PROBE));
    directories
        .map(|name| named("directory", name))
        .chain(sources.map(|name| named("event-source", name)))
        .chain(points.map(|name| named("web-api", name)))
        .chain(probe)
        .collect()
}

impl Inner {
    /// Applies what comes: of this process or of the cluster.
    pub(super) fn start_writing(
        self: &Arc<Self>,
        writing: Writing,
        cluster: Option<(Latch, Policy)>,
        started: UtcMillis,
    ) {
        match writing {
            Writing::Own(writer) => {
                let stop = self.phases.writer.clone();
                self.keep_writing(async move { writer.run(stop).await });
            }
            Writing::Ordered(writer, asked) => {
                let (orders, ordered) = mpsc::channel(ORDERS);
                self.keep_writing(async move { writer.run(ordered).await });
                if let Some((latch, policy)) = cluster {
                    self.join_cluster((policy, started), latch, (asked, orders));
                }
            }
        }
    }

    fn join_cluster(
        self: &Arc<Self>,
        (policy, started): (Policy, UtcMillis),
        latch: Latch,
        (asked, orders): (Asked, mpsc::Sender<Ordered>),
    ) {
        let config = self.config.load_full();
        let (Some(cluster), Some(keeper)) = (&config.cluster, self.keeper.get()) else {
            return;
        };
        let parts = ClusterParts {
            config: cluster.clone(),
            member: config.collector.name.clone(),
            roles: roles(&config),
            policy,
            history: config.history.enabled,
            store_every: config.session.snapshot_interval * STORE_EVERY,
            state_dir: config.collector.state_dir.clone(),
            asked,
            orders,
            reader: self.parts.reader.clone(),
            keeper: keeper.clone(),
            latch,
            started,
        };
        let cluster = Cluster::start(parts, &self.tasks.writer, self.phases.writer.clone());
        let _first = self.cluster.set(cluster.clone());
        self.metrics.show(cluster.clone());
        let leasing = Arc::clone(self).follow_leases(cluster, self.phases.intake.clone());
        self.tasks.intake.spawn("leased sources", leasing);
        self.wait_for_directories(&config);
    }

    /// A directory that is read by another member is waited for like one's own.
    fn wait_for_directories(self: &Arc<Self>, config: &Config) {
        let names = config.directories.iter().map(|d| d.name.to_string());
        let mut waiting: Vec<(String, Latch)> = names
            .map(|name| {
                let latch = self.readiness.latch(format!("directory {name}"));
                (bookmark_key(&name), latch)
            })
            .collect();
        let (reader, stop) = (self.parts.reader.clone(), self.phases.intake.clone());
        self.tasks
            .intake
            .spawn("directories of the cluster", async move {
                let looks = READ_WITHIN.as_millis() / LOOK_EVERY.as_millis();
                for _ in 0..looks {
                    waiting.retain(|(key, latch)| {
                        let is_read = reader.read().bookmark(key).is_some();
                        if is_read {
                            latch.open();
                        }
                        !is_read
                    });
                    let pause = stop
                        .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
                        .await;
                    if waiting.is_empty() || pause.is_none() {
                        return;
                    }
                }
                waiting.iter().for_each(|(_, latch)| latch.open());
            });
    }

    /// Starts and stops what leases say, until `stop`; what runs then ends with its phase.
    async fn follow_leases(self: Arc<Self>, cluster: Cluster, stop: CancellationToken) {
        let mut held = cluster.held();
        loop {
            self.settle_leases(&BTreeSet::new()).await;
            match stop.run_until_cancelled(held.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Makes what runs what it should be: of the configuration, and held. What is named `changed` starts anew.
    pub(super) async fn settle_leases(self: &Arc<Self>, changed: &BTreeSet<Arc<str>>) {
        let Some(cluster) = self.cluster.get() else {
            return;
        };
        let mut leased = self.leased.lock().await;
        let config = self.config.load_full();
        let things = things(&config);
        cluster.want(things.keys().cloned());
        let held = cluster.held().borrow().clone();
        let is_right = |lease: &Arc<str>, fence: &Fence| {
            things.contains_key(lease) && held.get(lease) == Some(fence) && !changed.contains(lease)
        };
        let wrong: Vec<_> = (leased.running.iter())
            .filter(|(lease, fence)| !is_right(lease, fence))
            .map(|(lease, _)| Arc::clone(lease))
            .collect();
        let mut web_apis = wrong.iter().any(|lease| lease.starts_with("web-api/"));
        for lease in wrong {
            leased.running.remove(&lease);
            self.stop_leased(&lease).await;
        }
        for (lease, thing) in &things {
            match held.get(lease) {
                Some(_) if leased.running.contains_key(lease) => {}
                Some(fence) => {
                    leased.running.insert(Arc::clone(lease), fence.clone());
                    web_apis |= matches!(thing, Thing::WebApi);
                    self.start_leased(thing, &self.parts.intake.under(fence.clone()));
                }
                None => self.stand_by(thing),
            }
        }
        if web_apis || !changed.is_empty() {
            self.push_to_held(&config, &held).await;
        }
    }

    fn start_leased(self: &Arc<Self>, thing: &Thing<'_>, intake: &Intake) {
        match thing {
            Thing::Directory(directory) => self.start_directory(directory, intake),
            Thing::EventSource(source) => self.start_event_source(source, intake),
            Thing::PcProbe(probe) => self.start_pc_probe(probe, intake),
            Thing::WebApi => {}
        }
    }

    async fn stop_leased(&self, lease: &str) {
        match lease.split_once('/') {
            Some(("directory", name)) => self.stop_directory(name).await,
            Some(("event-source", name)) => self.event_logs.stop(name).await,
            None if lease == PC_PROBE => self.pc_probes.stop().await,
            _ => {}
        }
    }

    /// Says of what another member reads that it does.
    fn stand_by(&self, thing: &Thing<'_>) {
        let (kind, name) = match thing {
            Thing::Directory(directory) => (Kind::Directory, directory.name.as_str()),
            Thing::EventSource(source) => (Kind::EventLog, source.name.as_str()),
            Thing::PcProbe(_) | Thing::WebApi => return,
        };
        let report = Report::new(kind, name);
        report.set_quiet("standing by: another member reads it");
        self.reports.add(&report);
    }

    /// Pushes to the firewalls whose leases are held.
    async fn push_to_held(&self, config: &Config, held: &Held) {
        let mut own = config.clone();
        for point in &mut own.enforcement_points {
            let lease = format!("web-api/{}", point.name);
            point.web_api = point.web_api.take().filter(|_| held.contains_key(&*lease));
        }
        match Prepared::from_config(&own) {
            Ok(prepared) => self.push_to(prepared).await,
            Err(error) => self.tell_web_api(&error),
        }
    }

    fn tell_web_api(&self, error: &web_api::WebApiError) {
        tracing::warn!("firewalls are not pushed to: {error}");
        let what = error.to_string();
        self.notices.put("web API", what, error.remedy());
    }
}

/// Who hears a syslog line, where another member may hear it as well.
pub(super) fn hearer(config: &Config) -> Option<Hearer> {
    let member = &config.collector.name;
    config.cluster.as_ref().map(|_| Hearer::of(member))
}

/// What a process does, for the list of members.
fn roles(config: &Config) -> Vec<String> {
    let has_sources = !config.event_sources.is_empty()
        || !config.directories.is_empty()
        || config.syslog.is_some()
        || config.pc_probe.is_some();
    let mut roles = Vec::new();
    if has_sources {
        roles.push("collector".to_owned());
    }
    if config.server.is_some() {
        roles.push("server".to_owned());
    }
    roles
}
