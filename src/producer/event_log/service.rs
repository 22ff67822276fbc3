//! The sources that run, and what they share: the way out, a limit on connecting at once, refused accounts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::refusals::Refusals;
use super::source::Source;
use crate::config::EventSource;
use crate::net::resolve::Resolver;
use crate::runtime::report::{Kind, Report, Reports};
use crate::runtime::supervisor::Tasks;
use crate::writer::{Intake, Reader};

/// Sources that connect at the same time: signing on costs both sides far more than reading does.
const CONNECTING: usize = 16;

/// How long a source that is removed or changed may take to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// What the sources need of the process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where events go.
    pub intake: Intake,
    /// Where positions are read from.
    pub reader: Reader,
    /// Where our reports are read.
    pub reports: Reports,
    /// Who waits for our tasks at the end.
    pub tasks: Tasks,
    /// Who finds addresses.
    pub resolver: Resolver,
}

/// What all sources share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) surroundings: Surroundings,
    pub(super) connecting: Arc<Semaphore>,
    pub(super) refusals: Refusals,
}

/// The event sources of a process.
#[derive(Debug)]
pub struct EventLogs {
    shared: Shared,
    running: Mutex<BTreeMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    tasks: Tasks,
}

impl EventLogs {
    /// No sources yet.
    #[must_use]
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            shared: Shared {
                surroundings,
                connecting: Arc::new(Semaphore::new(CONNECTING)),
                refusals: Refusals::default(),
            },
            running: Mutex::default(),
        }
    }

    /// Runs a source until `stop`; what it says goes to `intake`.
    pub fn start(&self, configured: &EventSource, intake: &Intake, stop: CancellationToken) {
        let name = format!("event source {}", configured.name);
        let report = Report::new(Kind::EventLog, configured.name.as_str());
        let surroundings = &self.shared.surroundings;
        surroundings.reports.add(&report);
        // Tasks of its own, so that a reload can wait for this source alone.
        let tasks = Tasks::new();
        let (mut shared, configured_again) = (self.shared.clone(), configured.clone());
        shared.surroundings.intake = intake.clone();
        let (own, ends) = (tasks.clone(), stop.clone());
        tasks.spawn_restarting(name.clone(), stop.clone(), move || {
            let source = Source::new(
                configured_again.clone(),
                shared.clone(),
                Arc::clone(&report),
                own.clone(),
            );
            let ends = ends.clone();
            async move {
                let _stopped = ends.run_until_cancelled(source.run()).await;
            }
        });
        surroundings.tasks.include(name, &tasks);
        self.running
            .lock()
            .insert(configured.name.clone(), Running { stop, tasks });
    }

    /// Stops a source and waits until nothing of it arrives any more.
    pub async fn stop(&self, name: &str) {
        let running = self.running.lock().remove(name);
        if let Some(running) = running {
            running.stop.cancel();
            let left = running.tasks.finish(STOPS_WITHIN).await;
            if !left.is_empty() {
                tracing::warn!(source = name, "did not stop in time");
            }
        }
        self.shared
            .surroundings
            .reports
            .remove(Kind::EventLog, name);
    }
}
