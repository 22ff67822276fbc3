//! The Servers that are pushed to: starting, changing and stopping their tasks, as credentials come and go.
//!
//! What is wanted is read from the configuration and from `state_dir/push/`; whoever composes the process looks again
//! every few seconds, so that `jims onboard` needs nobody's help. A target whose credential changed gets a new task.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::pushing::{Pushing, Setup, Us};
use super::reading::{Progress, PushReading, State};
use crate::config;
use crate::identity::time::UtcMillis;
use crate::net::collector_client::Proxies;
use crate::net::resolve::Resolver;
use crate::push::credential::{Credential, CredentialError, Stage, list};
use crate::push::shape::Introduction;
use crate::push::target::Target;
use crate::runtime::clock;
use crate::runtime::readiness::Readiness;
use crate::runtime::report::Fault;
use crate::runtime::supervisor::Tasks;
use crate::writer::Reader;

/// How long a task may take to stop; it only has to let go of a request.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

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
    /// Which way requests go.
    pub proxies: Proxies,
    /// Who waits for them at the end.
    pub tasks: Tasks,
    /// Who we are.
    pub introduction: Introduction,
    /// When the process started.
    pub started: UtcMillis,
}

/// A credential that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The target's name: of the `[[push]]`, or of the file.
    pub name: String,
    /// Where to, if that is known.
    pub url: String,
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub remedy: String,
}

/// Who is to be pushed to.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Whose onboarding is finished.
    targets: Vec<Credential>,
    /// Whose is not.
    pending: Vec<Credential>,
    broken: Vec<Broken>,
}

impl Wanted {
    /// Reads the credentials of a configuration and of a state folder; each for itself. A Server that both name is
    /// pushed to once, as the configuration says.
    #[must_use]
    pub fn read(configured: &[config::Push], state_dir: &Path) -> Self {
        let mut wanted = Self::default();
        for push in configured {
            let read = Credential::read(&push.credential_file)
                .and_then(|credential| named_by(push, credential));
            wanted.take(&push.name, &push.url, read);
        }
        match list(state_dir) {
            Ok(listed) => {
                for (path, read) in listed {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy();
                    wanted.take(&name, "", read);
                }
            }
            Err(error) => wanted.take("push", "", Err(error)),
        }
        wanted
    }

    /// How many are pushed to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether nobody is pushed to, so that no feed is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    fn take(&mut self, name: &str, url: &str, read: Result<Credential, CredentialError>) {
        match read {
            Ok(credential) => {
                let mut known = self.targets.iter().chain(&self.pending);
                if known.any(|one| one.target == credential.target || one.name == credential.name) {
                    return;
                }
                match credential.stage {
                    Stage::Onboarded => self.targets.push(credential),
                    Stage::Pending => self.pending.push(credential),
                }
            }
            Err(error) => self.broken.push(Broken {
                name: name.to_owned(),
                url: url.to_owned(),
                message: error.to_string(),
                remedy: error.remedy(),
            }),
        }
    }
}

/// The configuration's name and URL count, whatever the file says.
fn named_by(push: &config::Push, credential: Credential) -> Result<Credential, CredentialError> {
    let target = Target::parse(&push.url).map_err(|error| CredentialError::Damaged {
        path: push.credential_file.clone(),
        reason: error.to_string(),
    })?;
    Ok(Credential {
        name: push.name.clone(),
        target,
        ..credential
    })
}

/// The Servers that are pushed to.
#[derive(Debug)]
pub struct Pushes {
    surroundings: Surroundings,
    attention: Arc<AtomicU32>,
    state: Mutex<Kept>,
    look: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    running: BTreeMap<String, Running>,
    /// Whom nothing is pushed to, and why.
    idle: Vec<PushReading>,
}

#[derive(Debug)]
struct Running {
    credential: Arc<Credential>,
    progress: Arc<Progress>,
    wake: Arc<Notify>,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Pushes {
    /// Nobody yet.
    #[must_use]
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            surroundings,
            attention: Arc::default(),
            state: Mutex::default(),
            look: Notify::new(),
        }
    }

    /// Says how many things here want an operator; Servers hear of it with the next push.
    pub fn set_attention(&self, count: u32) {
        self.attention.store(count, Ordering::Relaxed);
    }

    /// Has whoever waits in [`Pushes::looked_for`] look at the credentials now, and everybody try again.
    pub fn look(&self) {
        self.look.notify_one();
        for running in self.state.lock().running.values() {
            running.wake.notify_one();
        }
    }

    /// Returns when somebody asked for a look.
    pub async fn looked_for(&self) {
        self.look.notified().await;
    }

    /// Stops whom it does not name or names otherwise, then starts whom is missing, each until `stop`; how many began
    /// and ended.
    pub async fn commit(&self, wanted: Wanted, stop: &CancellationToken) -> (usize, usize) {
        let gone: Vec<(String, Running)> = {
            let mut state = self.state.lock();
            let stays = |running: &Running| {
                let mut targets = wanted.targets.iter();
                targets.any(|target| is_same(target, &running.credential))
            };
            let gone = state.running.extract_if(.., |_, running| !stays(running));
            gone.collect()
        };
        let ended = gone.len();
        for (name, running) in gone {
            running.stop.cancel();
            if !running.tasks.finish(STOPS_WITHIN).await.is_empty() {
                tracing::warn!(target_name = %name, "did not stop in time");
            }
            // A gauge that nobody feeds would show its last value for ever.
            running.progress.show_behind(0);
            tracing::info!(target_name = %name, "pushes there no more");
        }
        let mut state = self.state.lock();
        state.idle = self.idle(&state.idle, &wanted);
        let mut begun = 0;
        for target in wanted.targets {
            if !state.running.contains_key(&target.name) {
                tracing::info!(target_name = %target.name, url = target.target.url(), "pushes there");
                let name = target.name.clone();
                let running = self.start(target, stop.child_token());
                state.running.insert(name, running);
                begun += 1;
            }
        }
        (begun, ended)
    }

    /// Whom nothing is pushed to; since when stays.
    fn idle(&self, before: &[PushReading], wanted: &Wanted) -> Vec<PushReading> {
        let nobody = |_: crate::identity::view::Seq| 0;
        let pending = wanted.pending.iter().map(|credential| {
            let url = credential.target.url();
            Progress::new(&credential.name, url, State::Pending).read(nobody)
        });
        let broken = wanted.broken.iter().map(|broken| {
            let known = before.iter().find(|reading| reading.name == broken.name);
            let known = known.and_then(|reading| reading.fault.as_ref());
            if known.is_none_or(|fault| fault.message != broken.message) {
                let (error, remedy) = (&broken.message, &broken.remedy);
                tracing::warn!(target_name = %broken.name, error, remedy, "cannot push");
            }
            let since = known.map_or_else(clock::utc_now, |fault| fault.since);
            let progress = Progress::new(&broken.name, &broken.url, State::Failing);
            PushReading {
                fault: Some(Fault {
                    message: broken.message.clone(),
                    remedy: broken.remedy.clone(),
                    since,
                }),
                ..progress.read(nobody)
            }
        });
        pending.chain(broken).collect()
    }

    fn start(&self, credential: Credential, stop: CancellationToken) -> Running {
        let surroundings = self.surroundings.clone();
        let task = format!("push {}", credential.name);
        let (wake, tasks) = (Arc::<Notify>::default(), Tasks::new());
        let progress = Progress::new(&credential.name, credential.target.url(), State::Waiting);
        let (progress, credential) = (Arc::new(progress), Arc::new(credential));
        let setup = Setup {
            credential: Arc::clone(&credential),
            us: Us {
                introduction: surroundings.introduction,
                started: surroundings.started,
            },
            attention: Arc::clone(&self.attention),
            progress: Arc::clone(&progress),
            reader: surroundings.reader,
            readiness: surroundings.readiness,
            changes: surroundings.changes,
            resolver: surroundings.resolver,
            proxies: surroundings.proxies,
            wake: Arc::clone(&wake),
        };
        let ends = stop.clone();
        tasks.spawn_restarting(task.clone(), stop.clone(), move || {
            let (pushing, ends) = (Pushing::new(setup.clone()), ends.clone());
            async move {
                let _stopped = ends.run_until_cancelled(pushing.run()).await;
            }
        });
        // Tasks of its own, so that a change can wait for this target alone.
        surroundings.tasks.include(task, &tasks);
        Running {
            credential,
            progress,
            wake,
            stop,
            tasks,
        }
    }

    /// How it goes with everybody, by name.
    #[must_use]
    pub fn read(&self) -> Vec<PushReading> {
        let state = self.state.lock();
        let reader = &self.surroundings.reader;
        let running = state.running.values().map(|running| {
            let behind = |position| reader.read().feed_behind(position);
            running.progress.read(behind)
        });
        let mut all: Vec<PushReading> = running.chain(state.idle.iter().cloned()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// Whether two credentials make the same task.
fn is_same(a: &Credential, b: &Credential) -> bool {
    a.name == b.name
        && a.target == b.target
        && a.collector == b.collector
        && a.client_id == b.client_id
        && a.client_secret.expose_secret() == b.client_secret.expose_secret()
        && a.key_sha256 == b.key_sha256
        && a.ca_file == b.ca_file
}
