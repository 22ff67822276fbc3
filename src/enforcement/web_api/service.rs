//! The firewalls that are pushed to: starting, changing and stopping their tasks.
//!
//! As in every part, what can fail is prepared before anything changes. A firewall whose settings or filter changed
//! gets a new task, which tells everything; a password that changed is used for the next document.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::document::{Document, Style};
use super::pushing::{Orders, Pushing, Setup, behind};
use super::reading::{Progress, WebApiReading};
use crate::config::secret::{Secret, SecretError};
use crate::config::{Config, EnforcementPoint, PointFilter, WebApi};
use crate::enforcement::entries::{Entries, Question};
use crate::enforcement::filter::{FilterInForce, RequestFilter};
use crate::enforcement::pass::Sink as _;
use crate::enforcement::point::{Point, PointError};
use crate::enforcement::query;
use crate::identity::policy::Globs;
use crate::identity::view::Seq;
use crate::net::resolve::Resolver;
use crate::runtime::clock;
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::Tasks;
use crate::writer::Reader;

/// How long a task may take to stop; it only has to let go of a request.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Why firewalls cannot be pushed to as configured.
#[derive(Debug, Error)]
pub enum WebApiError {
    /// A filter is no glob.
    #[error(transparent)]
    Point(#[from] PointError),
    /// `preferred_groups` holds what is no glob.
    #[error("could not use the preferred groups of enforcement point {point}: {source}")]
    Preferred {
        /// The point's name.
        point: String,
        /// Why.
        source: globset::Error,
    },
    /// The password cannot be read.
    #[error("could not read the Web API password of enforcement point {point}: {source}")]
    Password {
        /// The point's name.
        point: String,
        /// Why.
        source: SecretError,
    },
}

impl WebApiError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Point(error) => error.remedy(),
            Self::Preferred { .. } => "write groups with `*` and `?` as wildcards".to_owned(),
            Self::Password { source, .. } => source.remedy(),
        }
    }
}

/// How often it is looked whether a firewall is there while there is nothing to tell it: oftener than one restarts.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What the tasks need of the process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// How they read the table.
    pub reader: Reader,
    /// Wakes them when it may have changed.
    pub changes: watch::Receiver<()>,
    /// Whether what it says can be trusted yet.
    pub readiness: Readiness,
    /// Who finds addresses.
    pub resolver: Resolver,
    /// How often it is looked whether a firewall is there while there is nothing to tell it; [`LOOK_EVERY`].
    pub look_every: Duration,
    /// Who waits for them at the end.
    pub tasks: Tasks,
}

/// The firewalls that are pushed to.
#[derive(Debug)]
pub struct WebApis {
    surroundings: Surroundings,
    running: Mutex<BTreeMap<Arc<str>, Running>>,
}

#[derive(Debug)]
struct Running {
    point: Arc<Point>,
    style: Arc<Style>,
    configured: (PointFilter, WebApi),
    password: Arc<ArcSwap<Secret>>,
    orders: Arc<Orders>,
    progress: Arc<Progress>,
    stop: CancellationToken,
    tasks: Tasks,
}

/// What is to run, with everything read that can fail.
#[derive(Debug)]
pub struct Prepared(Vec<Target>);

#[derive(Debug)]
struct Target {
    point: Arc<Point>,
    configured: (PointFilter, WebApi),
    style: Arc<Style>,
    password: Secret,
}

impl Prepared {
    /// Reads passwords and filters of every firewall of a configuration that is pushed to.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, WebApiError> {
        let points = config.enforcement_points.iter();
        points
            .filter_map(|point| Some(target(point, point.web_api.as_ref()?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn target(configured: &EnforcementPoint, web_api: &WebApi) -> Result<Target, WebApiError> {
    let name = || configured.name.clone();
    let preferred = Globs::new(web_api.preferred_groups.iter().map(String::as_str));
    Ok(Target {
        point: Arc::new(Point::new(configured)?),
        configured: (configured.filter.clone(), web_api.clone()),
        style: Arc::new(Style {
            source: web_api.source.clone(),
            preferred: preferred.map_err(|source| WebApiError::Preferred {
                point: name(),
                source,
            })?,
        }),
        password: (web_api.password.read()).map_err(|source| WebApiError::Password {
            point: name(),
            source,
        })?,
    })
}

impl WebApis {
    /// Nobody yet.
    #[must_use]
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            surroundings,
            running: Mutex::default(),
        }
    }

    /// Stops whom it does not name or names otherwise, then starts whom is missing, each until `stop`.
    pub async fn commit(&self, prepared: Prepared, stop: &CancellationToken) {
        let gone: Vec<(Arc<str>, Running)> = {
            let mut running = self.running.lock();
            let stays = |name: &Arc<str>, running: &Running| {
                let mut targets = prepared.0.iter();
                targets.any(|target| {
                    target.point.name == *name && target.configured == running.configured
                })
            };
            running
                .extract_if(.., |name, running| !stays(name, running))
                .collect()
        };
        for (name, running) in gone {
            running.stop.cancel();
            if !running.tasks.finish(STOPS_WITHIN).await.is_empty() {
                tracing::warn!(point = %name, "did not stop in time");
            }
            // A gauge that nobody feeds would show its last value for ever.
            running.progress.stands(Seq(0), 0);
        }
        let mut running = self.running.lock();
        for target in prepared.0 {
            if let Some(running) = running.get(&target.point.name) {
                running.take_password(target.password);
                continue;
            }
            let name = Arc::clone(&target.point.name);
            running.insert(name, self.start(target, stop.child_token()));
        }
    }

    fn start(&self, target: Target, stop: CancellationToken) -> Running {
        let surroundings = self.surroundings.clone();
        let task = format!("web api {}", target.point.name);
        let (orders, tasks) = (Arc::<Orders>::default(), Tasks::new());
        let password = Arc::new(ArcSwap::from_pointee(target.password));
        let url = &target.configured.1.url;
        let progress = Arc::new(Progress::new(Arc::clone(&target.point.name), url));
        let (point, style) = (Arc::clone(&target.point), Arc::clone(&target.style));
        let setup = Setup {
            point: target.point,
            web_api: target.configured.1.clone(),
            style: target.style,
            password: Arc::clone(&password),
            orders: Arc::clone(&orders),
            progress: Arc::clone(&progress),
            reader: surroundings.reader,
            readiness: surroundings.readiness,
            changes: surroundings.changes,
            resolver: surroundings.resolver,
            look_every: surroundings.look_every,
        };
        let ends = stop.clone();
        tasks.spawn_restarting(task.clone(), stop.clone(), move || {
            let (pushing, ends) = (Pushing::new(setup.clone()), ends.clone());
            async move {
                let _stopped = ends.run_until_cancelled(pushing.run()).await;
            }
        });
        // Tasks of its own, so that a reload can wait for this firewall alone.
        surroundings.tasks.include(task, &tasks);
        Running {
            point,
            style,
            configured: target.configured,
            password,
            orders,
            progress,
            stop,
            tasks,
        }
    }

    /// Has everything told again at once; how it goes now, or `None` if nobody of this name is pushed to.
    #[must_use]
    pub fn refresh(&self, name: &str) -> Option<WebApiReading> {
        let running = self.running.lock();
        let running = running.get(name)?;
        running.orders.refresh();
        Some(self.reading(running))
    }

    /// What a firewall is told of the addresses, as entries of a query; `None` if nobody of this name is pushed to.
    #[must_use]
    pub fn told(&self, name: &str, addresses: &[IpAddr]) -> Option<Vec<serde_json::Value>> {
        let point = Arc::clone(&self.running.lock().get(name)?.point);
        let reader = &self.surroundings.reader;
        Some(query::told(
            reader,
            &point.filter,
            addresses,
            clock::utc_now(),
        ))
    }

    /// The document that would tell a firewall of the addresses; `None` if nobody of this name is pushed to.
    #[must_use]
    pub fn document(&self, name: &str, addresses: &[IpAddr]) -> Option<String> {
        let (point, style) = {
            let running = self.running.lock();
            let running = running.get(name)?;
            (Arc::clone(&running.point), Arc::clone(&running.style))
        };
        let (mut document, now) = (Document::new(style), clock::utc_now());
        let core = self.surroundings.reader.read();
        let filter = FilterInForce::new(&point.filter, &RequestFilter::default(), &core);
        let question = Question::Batch { clearing: false };
        for address in addresses {
            let view = core.address(*address);
            let entries = Entries::of(*address, view.as_ref(), &filter, question, now);
            entries.iter().for_each(|entry| document.push(entry));
        }
        let (bytes, _) = document.part(0..document.pieces().len());
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How it goes with everybody, by name.
    #[must_use]
    pub fn read(&self) -> Vec<WebApiReading> {
        let running = self.running.lock();
        running.values().map(|r| self.reading(r)).collect()
    }

    fn reading(&self, running: &Running) -> WebApiReading {
        let reader = &self.surroundings.reader;
        running.progress.read(|position| behind(reader, position))
    }
}

impl Running {
    /// Uses another password from the next document on.
    fn take_password(&self, new: Secret) {
        if self.password.load().expose_secret() != new.expose_secret() {
            self.password.store(Arc::new(new));
            self.orders.try_again();
        }
    }
}
