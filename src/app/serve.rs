//! The running service: what is bound, what runs, and how it stops.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::cluster::{Leased, writing};
use super::desk::Desk;
use super::metrics_page::MetricsPage;
use super::notices::Notices;
use super::proposals::{self, SharedHabits};
use super::pushes;
use super::state;
use super::{Error, collectors, history_limits, reload, watch};
use crate::access::Access;
use crate::cluster::Cluster;
use crate::config::{self, Config, Loaded};
use crate::control::{self, ControlServer, Unheeded};
use crate::directory::Directory;
use crate::enforcement::web_api::{self, WebApis};
use crate::enforcement::{Server, ServerParts};
use crate::history::History;
use crate::identity::time::UtcMillis;
use crate::net::http::Limits;
use crate::net::resolve::Resolver;
use crate::producer::event_log::{self, EventLogs};
use crate::producer::firewall_push::{self, FirewallPushes};
use crate::producer::pc_probe::{self, PcProbes};
use crate::producer::syslog::{Surroundings, SyslogService};
use crate::push::ingest::{Ingest, Kept};
use crate::push::sender::{Pushes, Wanted};
use crate::runtime::clock;
use crate::runtime::probing::Probing;
use crate::runtime::readiness::Readiness;
use crate::runtime::report::{Kind, Report, Reports};
use crate::runtime::service;
use crate::runtime::shutdown::{Phases, TimeLeft};
use crate::runtime::state_dir::StateDir;
use crate::runtime::strangers::Strangers;
use crate::runtime::supervisor::Tasks;
use crate::runtime::telemetry::Telemetry;
use crate::snapshot::Keeper;
use crate::writer::{Intake, Panicked, Reader, WriterParts};

/// A service that runs.
#[derive(Debug)]
pub struct App(Arc<Inner>);

/// A part that can be stopped for itself.
#[derive(Debug)]
pub(super) struct Running<T> {
    /// The part.
    pub(super) service: T,
    /// Stops it.
    pub(super) stop: CancellationToken,
}

/// The tasks of each phase of the shutdown.
#[derive(Debug, Default)]
pub(super) struct PhaseTasks {
    /// Producers and directories.
    pub(super) intake: Tasks,
    /// The writer.
    pub(super) writer: Tasks,
    /// Servers.
    pub(super) outputs: Tasks,
    /// Control socket, snapshots, watches.
    pub(super) control: Tasks,
}

/// What the tasks of the process share.
#[derive(Debug)]
pub(super) struct Inner {
    /// The file that a reload reads.
    pub(super) path: PathBuf,
    /// The configuration in force.
    pub(super) config: ArcSwap<Config>,
    /// The writer's handles.
    pub(super) parts: WriterParts,
    /// Reports of all tasks.
    pub(super) reports: Reports,
    /// Addresses that are not configured.
    pub(super) strangers: Strangers,
    /// Whether answers can be trusted.
    pub(super) readiness: Readiness,
    /// What no task reports.
    pub(super) notices: Notices,
    /// The HTTPS side.
    pub(super) server: Mutex<Option<Running<Server>>>,
    /// Who may call over HTTPS.
    pub(super) access: Access,
    /// Portals and NACs that push.
    pub(super) firewall_pushes: FirewallPushes,
    /// Collectors that push.
    pub(super) ingest: Ingest,
    /// The firewalls that are pushed to.
    pub(super) web_apis: WebApis,
    /// The Servers that are pushed to.
    pub(super) pushes: Pushes,
    /// The syslog side.
    pub(super) syslog: Mutex<Option<Running<SyslogService>>>,
    /// The event sources.
    pub(super) event_logs: EventLogs,
    /// The PC probe.
    pub(super) pc_probes: PcProbes,
    /// How a computer is asked now.
    pub(super) probing: Probing,
    /// What looks like service accounts and shared hosts.
    pub(super) habits: SharedHabits,
    /// Who finds addresses.
    pub(super) resolver: Resolver,
    /// Sessions that have ended.
    pub(super) history: History,
    /// The Prometheus page.
    pub(super) metrics: MetricsPage,
    /// Directories by name: what stops each, and its task.
    pub(super) directories: Mutex<BTreeMap<String, (CancellationToken, Tasks)>>,
    /// Log and metrics.
    pub(super) telemetry: Telemetry,
    /// Tokens of the shutdown.
    pub(super) phases: Phases,
    /// Tasks of the shutdown's phases.
    pub(super) tasks: PhaseTasks,
    /// What the core panicked at.
    pub(super) failure: Mutex<Option<String>>,
    /// Reloads happen one after the other.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// Who keeps the table on the disk.
    pub(super) keeper: OnceLock<Keeper>,
    /// This process's member of a cluster.
    pub(super) cluster: OnceLock<Cluster>,
    /// What runs with a lease.
    pub(super) leased: tokio::sync::Mutex<Leased>,
    /// The state folder.
    pub(super) state: Arc<StateDir>,
}

impl App {
    /// Reads the state, binds every listener, then starts every task.
    ///
    /// # Errors
    /// Something cannot be bound or read; nothing runs then.
    pub async fn start(path: &Path, loaded: Loaded, telemetry: Telemetry) -> Result<Self, Error> {
        let config = loaded.config;
        for warning in &loaded.warnings {
            tracing::warn!("{}", warning.render("configuration").trim_end());
        }
        let started = clock::utc_now();
        let state = Arc::new(StateDir::open(&config.collector.state_dir)?);
        let notices = Notices::default();
        let control = ControlServer::bind(&config.control)?;
        let kept = Kept::read(Arc::clone(&state))?;
        collectors::tell(&kept, &notices);
        let push_to = Wanted::read(&config.pushes, &config.collector.state_dir);
        let mut policy = collectors::policy(&config, &kept);
        policy.feed = !push_to.is_empty();
        let whose = state::Whose::of(&config, policy.clone());
        let restored = state::restore(&state, whose, &notices)?;
        let (writing, parts) = writing(restored.core, &config);
        let inner = Inner::new(path, config, (state, kept), telemetry, notices, parts);
        let config = inner.config.load_full();
        let server = config
            .server
            .is_some()
            .then(|| inner.bind_server(&config))
            .transpose()?;
        let pushed_to = web_api::Prepared::from_config(&config)?;
        let syslog = config
            .syslog
            .as_ref()
            .map(|syslog| inner.bind_syslog(syslog))
            .transpose()?;
        let page = inner.metrics.prepare(&config.metrics.listen)?;
        if let Some(server) = &server {
            server
                .access()
                .import_tokens(restored.tokens, clock::utc_now());
        }
        inner.start_history(restored.table_of);
        inner.keep_table(restored.store);
        let cluster_latch = config.cluster.as_ref().map(|_| {
            let latch = inner.readiness.latch("the cluster's stream");
            (latch, policy)
        });
        inner.start_writing(writing, cluster_latch, started);
        inner.metrics.commit(page, &config.metrics.listen);
        inner.start_sources(&config);
        inner.start_habits();
        inner.firewall_pushes.replace(&config.firewall_pushes);
        inner.start_ingest(&config).await;
        if let Some(server) = server {
            inner.start_server(server);
        }
        if config.cluster.is_none() {
            inner.push_to(pushed_to).await;
        }
        inner.start_pushes(push_to).await;
        if let Some(syslog) = syslog {
            inner.start_syslog(syslog);
        }
        inner.start_control(control, started);
        service::ready("running");
        tracing::info!(
            name = config.collector.name,
            version = env!("CARGO_PKG_VERSION"),
            "jims runs"
        );
        Ok(Self(inner))
    }

    /// Whether queries are answered.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.0.readiness.clone()
    }

    /// A reader's handle of the table.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.0.parts.reader.clone()
    }

    /// Reads the configuration again; what comes of it is logged and shown by status.
    pub async fn reload(&self) {
        // The refusal is a notice already.
        let _told = self.0.reload().await;
    }

    /// Returns, with what was being applied, once the core has panicked.
    pub async fn failed(&self) -> String {
        self.0.tasks.writer.failed().cancelled().await;
        self.0.failure.lock().clone().unwrap_or_default()
    }

    /// Stops in phases within one deadline.
    pub async fn stop(&self) {
        service::stopping();
        tracing::info!("stopping");
        let (phases, tasks, left) = (&self.0.phases, &self.0.tasks, TimeLeft::start());
        phases.intake.cancel();
        report("intake", tasks.intake.finish(left.get()).await);
        phases.writer.cancel();
        report("writer", tasks.writer.finish(left.get()).await);
        if self.0.failure.lock().is_some() {
            self.0.history.table_is_lost();
        }
        phases.outputs.cancel();
        report("outputs", tasks.outputs.finish(left.get()).await);
        self.0.finish_keeping(left.get()).await;
        phases.control.cancel();
        report("control", tasks.control.finish(left.get()).await);
        tracing::info!("stopped");
    }
}

fn report(phase: &str, left: Vec<String>) {
    if !left.is_empty() {
        tracing::warn!(phase, tasks = left.join(", "), "did not stop in time");
    }
}

fn pc_probes(
    parts: &WriterParts,
    tasks: &Tasks,
    (resolver, probing, habits): (&Resolver, &Probing, &SharedHabits),
) -> PcProbes {
    PcProbes::new(pc_probe::Surroundings {
        intake: parts.intake.clone(),
        reader: parts.reader.clone(),
        reports: parts.reports.clone(),
        tasks: tasks.clone(),
        resolver: resolver.clone(),
        probing: probing.clone(),
        habits: Arc::clone(habits),
    })
}

impl Inner {
    fn new(
        path: &Path,
        config: Config,
        (state, kept): (Arc<StateDir>, Kept),
        telemetry: Telemetry,
        notices: Notices,
        parts: WriterParts,
    ) -> Arc<Self> {
        let (phases, tasks) = (Phases::default(), PhaseTasks::default());
        let metrics = MetricsPage::new(
            telemetry.metrics(),
            tasks.outputs.clone(),
            phases.outputs.clone(),
        );
        let resolver = Resolver::with(&config.dns.servers);
        let event_logs = EventLogs::new(event_log::Surroundings {
            intake: parts.intake.clone(),
            reader: parts.reader.clone(),
            reports: parts.reports.clone(),
            tasks: tasks.intake.clone(),
            resolver: resolver.clone(),
        });
        let (readiness, strangers) = (Readiness::new(), Strangers::default());
        let web_apis = WebApis::new(web_api::Surroundings {
            reader: parts.reader.clone(),
            changes: parts.changes.clone(),
            readiness: readiness.clone(),
            resolver: resolver.clone(),
            look_every: web_api::LOOK_EVERY,
            tasks: tasks.outputs.clone(),
        });
        let pushes = pushes::new(&config, &parts, &readiness, &resolver, &tasks.outputs);
        let (probing, habits) = (Probing::default(), SharedHabits::default());
        let pc_probes = pc_probes(&parts, &tasks.intake, (&resolver, &probing, &habits));
        let access = Access::default();
        let ingest =
            collectors::ingest(kept, &config, &parts, (&readiness, &access, &tasks.outputs));
        Arc::new(Self {
            path: path.to_owned(),
            reports: parts.reports.clone(),
            access,
            ingest,
            firewall_pushes: FirewallPushes::new(firewall_push::Surroundings {
                intake: parts.intake.clone(),
                reports: parts.reports.clone(),
                strangers: strangers.clone(),
            }),
            strangers,
            readiness,
            notices,
            server: Mutex::new(None),
            web_apis,
            pushes,
            syslog: Mutex::new(None),
            event_logs,
            pc_probes,
            probing,
            habits,
            resolver,
            history: History::new(
                config.collector.state_dir.join("history"),
                parts.ended.clone(),
                history_limits(&config.history),
            ),
            metrics,
            directories: Mutex::default(),
            telemetry,
            phases,
            tasks,
            failure: Mutex::new(None),
            reloading: tokio::sync::Mutex::new(()),
            keeper: OnceLock::new(),
            cluster: OnceLock::new(),
            leased: tokio::sync::Mutex::default(),
            parts,
            state,
            config: ArcSwap::from_pointee(config),
        })
    }

    /// Binds the HTTPS side.
    pub(super) fn bind_server(&self, config: &Config) -> Result<Server, Error> {
        let parts = ServerParts {
            limits: Limits::default(),
            reader: self.parts.reader.clone(),
            intake: self.parts.intake.clone(),
            readiness: self.readiness.clone(),
            strangers: self.strangers.clone(),
            access: self.access.clone(),
            beside: self.firewall_pushes.router(self.access.clone()),
            over_tls: self.ingest.router(),
            probing: self.probing.clone(),
            tasks: self.tasks.outputs.clone(),
        };
        Ok(Server::bind(config, parts)?)
    }

    /// Binds the syslog side.
    pub(super) fn bind_syslog(&self, syslog: &config::Syslog) -> Result<SyslogService, Error> {
        let parts = Surroundings {
            intake: self.parts.intake.clone(),
            reports: self.reports.clone(),
            strangers: self.strangers.clone(),
            tasks: self.tasks.intake.clone(),
            hearer: super::cluster::hearer(&self.config.load()),
        };
        Ok(SyslogService::bind(syslog, parts)?)
    }

    /// Runs the HTTPS side.
    pub(super) fn start_server(&self, service: Server) {
        let stop = self.phases.outputs.child_token();
        let (running, stopping) = (service.clone(), stop.clone());
        self.tasks
            .outputs
            .spawn("server", async move { running.run(stopping).await });
        *self.server.lock() = Some(Running { service, stop });
    }

    /// Lets Collectors call, if they may, and watches who does.
    async fn start_ingest(&self, config: &Config) {
        self.ingest.enable(config.ingest.enabled).await;
        let watching = self.ingest.clone().watch(self.phases.intake.clone());
        self.tasks.intake.spawn("Collectors' standing", watching);
    }

    /// Pushes to the firewalls named, and to no other.
    pub(super) async fn push_to(&self, firewalls: web_api::Prepared) {
        self.web_apis.commit(firewalls, &self.phases.outputs).await;
    }

    /// Runs the syslog side.
    pub(super) fn start_syslog(&self, service: SyslogService) {
        let stop = self.phases.intake.child_token();
        let (running, stopping) = (service.clone(), stop.clone());
        self.tasks
            .intake
            .spawn("syslog", async move { running.run(stopping).await });
        *self.syslog.lock() = Some(Running { service, stop });
    }

    /// Runs what is read; in a cluster leases say what of it.
    fn start_sources(&self, config: &Config) {
        let intake = self.parts.intake.clone();
        let is_alone = config.cluster.is_none();
        for directory in config.directories.iter().filter(|_| is_alone) {
            self.start_directory(directory, &intake);
        }
        self.readiness.arm();
        for source in config.event_sources.iter().filter(|_| is_alone) {
            self.start_event_source(source, &intake);
        }
        if let Some(probe) = config.pc_probe.as_ref().filter(|_| is_alone) {
            self.start_pc_probe(probe, &intake);
        }
    }

    /// Runs a directory service, which speaks through `intake`.
    pub(super) fn start_directory(&self, configured: &config::Directory, intake: &Intake) {
        let report = Report::new(Kind::Directory, configured.name.as_str());
        self.reports.add(&report);
        let directory = Directory {
            config: configured.clone(),
            intake: intake.clone(),
            reader: self.parts.reader.clone(),
            resolver: self.resolver.clone(),
            report,
            latch: self
                .readiness
                .latch(format!("directory {}", configured.name)),
        };
        let stop = self.phases.intake.child_token();
        let own = Tasks::new();
        own.spawn(
            format!("directory {}", configured.name),
            directory.run(stop.clone()),
        );
        let name = format!("directory {}", configured.name);
        self.tasks.intake.include(name, &own);
        self.directories
            .lock()
            .insert(configured.name.to_string(), (stop, own));
    }

    /// Runs an event source, which speaks through `intake`.
    pub(super) fn start_event_source(&self, configured: &config::EventSource, intake: &Intake) {
        let stop = self.phases.intake.child_token();
        self.event_logs.start(configured, intake, stop);
    }

    /// Runs the PC probe, which speaks through `intake`.
    pub(super) fn start_pc_probe(&self, configured: &config::PcProbe, intake: &Intake) {
        let stop = self.phases.intake.child_token();
        self.pc_probes.start(configured, intake, stop);
    }

    fn start_habits(&self) {
        let watch = proposals::watch(
            self.parts.outcomes.clone(),
            Arc::clone(&self.habits),
            self.phases.control.clone(),
        );
        self.tasks.control.spawn("habits", watch);
    }

    /// Keeps what ends; it stops after the writer, so that it has heard all.
    fn start_history(&self, table_of: Option<UtcMillis>) {
        let keeping = self
            .history
            .clone()
            .run(table_of, self.phases.outputs.clone());
        self.tasks.outputs.spawn("history", keeping);
    }

    /// Remembers what changes nothing.
    fn start_unheeded(&self) -> Unheeded {
        let unheeded = Unheeded::default();
        let listening = unheeded
            .clone()
            .listen(self.parts.outcomes.clone(), self.phases.control.clone());
        self.tasks.control.spawn("ignored events", listening);
        unheeded
    }

    /// Runs the writer; should the core panic, the process ends.
    pub(super) fn keep_writing(
        self: &Arc<Self>,
        writing: impl Future<Output = Result<(), Panicked>> + Send + 'static,
    ) {
        let inner = Arc::clone(self);
        self.tasks.writer.spawn_vital("writer", async move {
            if let Err(panicked) = writing.await {
                inner.set_aside(&panicked.what);
                *inner.failure.lock() = Some(panicked.what);
                inner.tasks.writer.failed().cancel();
            }
        });
    }

    /// Keeps what made the core panic, for a report.
    fn set_aside(&self, what: &str) {
        tracing::error!(
            what,
            "the table failed; the process ends and starts from the last snapshot"
        );
        if let Err(error) = self.state.replace("failed-batch", what.as_bytes()) {
            tracing::error!(%error, "cannot write aside what the table failed at");
        }
    }

    fn start_control(self: &Arc<Self>, control: ControlServer, started: UtcMillis) {
        let desk = control::Desk {
            collector: self.config.load().collector.clone(),
            access: control.access().clone(),
            started,
            reader: self.parts.reader.clone(),
            intake: self.parts.intake.clone(),
            outcomes: self.parts.outcomes.clone(),
            pulse: self.parts.pulse.clone(),
            unheeded: self.start_unheeded(),
            reports: self.reports.clone(),
            strangers: self.strangers.clone(),
            readiness: self.readiness.clone(),
            site: Desk(Arc::clone(self)),
        };
        let (tasks, stop) = (self.tasks.control.clone(), self.phases.control.clone());
        self.tasks
            .control
            .spawn("control", control.run(desk, tasks, stop.clone()));
        let saving = Arc::clone(self).save_regularly(self.phases.outputs.clone());
        self.tasks.control.spawn("snapshots", saving);
        self.tasks.control.spawn(
            "certificates and secrets",
            watch::run(Arc::clone(self), stop.clone()),
        );
        let reader = self.parts.reader.clone();
        self.tasks.control.spawn(
            "watchdog",
            service::watchdog(stop, move || reader.is_free()),
        );
    }

    /// A handle of the HTTPS side, if it runs.
    pub(super) fn server(&self) -> Option<Server> {
        let running = self.server.lock();
        running.as_ref().map(|running| running.service.clone())
    }

    /// A handle of the syslog side, if it runs.
    pub(super) fn syslog(&self) -> Option<SyslogService> {
        let running = self.syslog.lock();
        running.as_ref().map(|running| running.service.clone())
    }

    /// Reads the configuration again: checked whole, then applied as a difference, or refused.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<String, control::protocol::Refusal> {
        reload::reload(self).await
    }
}
