//! The Servers that this Collector pushes to: found, started, shown; and how it is onboarded at another one.
//!
//! What `jims onboard` stores is looked at every few seconds and whenever it says so. While anybody is pushed to, the
//! policy keeps the feed; it is begun before the first push and ended after the last.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::collectors::kinds;
use super::desk::Desk;
use super::serve::Inner;
use crate::config::Config;
use crate::config::secret::Secret;
use crate::control::protocol::{
    FaultStatus, ProbedStep, PushState, PushStatus, Refusal, timestamp,
};
use crate::control::{Site as _, push_trouble};
use crate::net::collector_client::Proxies;
use crate::net::resolve::Resolver;
use crate::push::code::Code;
use crate::push::onboarding::{self, Ending, Step, WantedError};
use crate::push::sender::{PushReading, Pushes, State, Surroundings, Wanted};
use crate::push::shape::Introduction;
use crate::push::target::{Target, TargetError};
use crate::runtime::clock;
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::{Tasks, blocking};
use crate::writer::WriterParts;

/// How often credentials are looked for.
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// Nobody is pushed to yet.
pub(super) fn new(
    config: &Config,
    parts: &WriterParts,
    readiness: &Readiness,
    resolver: &Resolver,
    tasks: &Tasks,
) -> Pushes {
    Pushes::new(Surroundings {
        reader: parts.reader.clone(),
        changes: parts.changes.clone(),
        readiness: readiness.clone(),
        resolver: resolver.clone(),
        proxies: Proxies::OfEnvironment,
        tasks: tasks.clone(),
        introduction: introduction(config, None),
        started: clock::utc_now(),
    })
}

fn introduction(config: &Config, description: Option<String>) -> Introduction {
    Introduction {
        name: config.collector.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: description.unwrap_or_else(|| config.collector.description.clone()),
    }
}

impl Inner {
    /// Pushes to whom the process found at its start, and looks for others from now on.
    pub(super) async fn start_pushes(self: &Arc<Self>, wanted: Wanted) {
        self.pushes.commit(wanted, &self.phases.outputs).await;
        let (inner, stop) = (Arc::clone(self), self.phases.outputs.clone());
        let ends = stop.clone();
        self.tasks
            .control
            .spawn("credentials of pushes", async move {
                let _stopped = ends.run_until_cancelled(follow(inner, stop)).await;
            });
    }
}

async fn follow(inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        let _looked_for_early = tokio::time::timeout(LOOKED_FOR, inner.pushes.looked_for()).await;
        inner.pushes.set_attention(count(&inner));
        apply(&inner, &stop).await;
    }
}

/// As status counts: what the desk says, Servers that cannot be pushed to, and tasks with a fault.
fn count(inner: &Arc<Inner>) -> u32 {
    let desk = Desk(Arc::clone(inner));
    let (said, pushes, now) = (desk.attention().len(), desk.pushes(), clock::utc_now());
    let pushes = pushes.iter().filter_map(|push| push_trouble(push, now));
    let reports = inner.reports.read();
    let faulty = reports.iter().filter(|report| report.fault.is_some());
    u32::try_from(said + pushes.count() + faulty.count()).unwrap_or(u32::MAX)
}

/// Reads who is to be pushed to, and pushes to those alone; what was done, for people.
async fn apply(inner: &Arc<Inner>, stop: &CancellationToken) -> String {
    // A reload changes the policy as well.
    let _one_at_a_time = inner.reloading.lock().await;
    let config = inner.config.load_full();
    let read = move || Wanted::read(&config.pushes, &config.collector.state_dir);
    let Some(wanted) = blocking(read).await else {
        return "the credentials could not be read".to_owned();
    };
    let (nobody, all) = (wanted.is_empty(), wanted.len());
    if !nobody {
        keep_feed(inner, true).await;
    }
    let (begun, ended) = inner.pushes.commit(wanted, stop).await;
    if nobody {
        keep_feed(inner, false).await;
    }
    match (begun, ended) {
        (0, 0) => format!("it pushes to {all}, as before"),
        (begun, 0) => format!("it pushes to {all}, of which {begun} are new"),
        (begun, ended) => format!("it pushes to {all}: {begun} begun, {ended} ended"),
    }
}

async fn keep_feed(inner: &Inner, feed: bool) {
    let mut policy = {
        let core = inner.parts.reader.read();
        if core.policy().feed == feed {
            return;
        }
        core.policy().clone()
    };
    policy.feed = feed;
    // It fails only while the process stops, and then nobody is pushed to.
    let _stopping = inner.ingest.obey(policy).await;
}

/// Looks now, because somebody was onboarded; what was done, for people.
pub(super) async fn look(inner: &Arc<Inner>) -> String {
    let done = apply(inner, &inner.phases.outputs).await;
    inner.pushes.look();
    done
}

/// A Server as status shows it.
pub(super) fn status(reading: &PushReading) -> PushStatus {
    let certificate = reading.certificate.as_ref();
    PushStatus {
        name: reading.name.clone(),
        url: reading.url.clone(),
        state: match reading.state {
            State::Pending => PushState::Pending,
            State::Waiting => PushState::Waiting,
            State::Connecting => PushState::Connecting,
            State::Resynchronising => PushState::Resynchronising,
            State::Following => PushState::Following,
            State::Refused => PushState::Refused,
            State::Failing => PushState::Failing,
        },
        behind: reading.behind,
        of: reading.pass.map(|(_, all)| all),
        last_push: reading.last_push.map(timestamp),
        pushed: kinds(reading.pushed),
        fault: reading.fault.as_ref().map(|fault| FaultStatus {
            message: fault.message.clone(),
            remedy: fault.remedy.clone(),
            since: timestamp(fault.since),
        }),
        certificate_expires: certificate.map(|seen| timestamp(seen.not_after)),
        certificate_fingerprint: certificate.map(|seen| seen.fingerprint.clone()),
    }
}

/// At which Server this Collector is to be onboarded.
#[derive(Debug)]
pub struct Join {
    /// As it was typed.
    pub url: String,
    /// The code as it was typed; not needed where [`is_onboarded`].
    pub code: Option<Secret>,
    /// What the Server is called here; by default its host.
    pub name: Option<String>,
    /// What this Collector is, for people; by default `collector.description`.
    pub description: Option<String>,
    /// Issuers that verify the Server's certificate.
    pub ca_file: Option<PathBuf>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinEnding {
    /// The Server took this Collector.
    Onboarded,
    /// It had before.
    Already,
    /// The Server said no.
    Refused,
    /// It could not be done.
    Failed,
}

impl JoinEnding {
    /// The word for scripts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Onboarded => "onboarded",
            Self::Already => "already",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Joined {
    /// How it ended.
    pub ending: JoinEnding,
    /// What the Server is called here.
    pub target: String,
    /// What the Server calls this Collector; empty if it did not say.
    pub collector: String,
    /// Where the credential is, if one was kept.
    pub credential_file: Option<PathBuf>,
    /// What was done, in order.
    pub steps: Vec<ProbedStep>,
}

/// Whether this Collector is onboarded at a Server as far as it knows, so that no code is needed.
///
/// # Errors
/// The URL is none, or what is kept cannot be read.
pub fn is_onboarded(config: &Config, url: &str, name: Option<&str>) -> Result<bool, Refusal> {
    let target = Target::parse(url).map_err(|error| wrong_url(url, error))?;
    let kept = onboarding::kept(&config.collector.state_dir, &target, name);
    let kept = kept.map_err(|error| wrong_wish(&error))?;
    Ok(kept.is_some_and(|kept| kept.onboarded_at.is_some()))
}

/// Whether a text is the beginning of a code whose rest is missing: a code is longer than a line of many terminals.
#[must_use]
pub fn is_cut_code(text: &str) -> bool {
    Code::is_cut(text)
}

/// Onboards this Collector at a Server; `told` hears each step as it ends.
///
/// # Errors
/// It cannot begin: nothing was sent or written.
pub async fn join(
    config: &Config,
    join: Join,
    mut told: impl FnMut(&ProbedStep) + Send,
) -> Result<Joined, Refusal> {
    let target = Target::parse(&join.url).map_err(|error| wrong_url(&join.url, error))?;
    let wanted = onboarding::Wanted {
        target,
        name: join.name,
        code: join.code,
        ca_file: join.ca_file,
        introduction: introduction(config, join.description),
        state_dir: config.collector.state_dir.clone(),
        proxies: Proxies::OfEnvironment,
        resolver: Resolver::with(&config.dns.servers),
    };
    let mut tell = |done: &Step| told(&step(done));
    let outcome = onboarding::onboard(&wanted, &mut tell).await;
    let outcome = outcome.map_err(|error| wrong_wish(&error))?;
    Ok(Joined {
        ending: match outcome.ending {
            Ending::Onboarded => JoinEnding::Onboarded,
            Ending::Already => JoinEnding::Already,
            Ending::Refused => JoinEnding::Refused,
            Ending::Failed => JoinEnding::Failed,
        },
        target: outcome.name,
        collector: outcome.collector,
        credential_file: outcome.file,
        steps: outcome.steps.iter().map(step).collect(),
    })
}

fn step(step: &Step) -> ProbedStep {
    ProbedStep {
        name: step.name.as_str().into(),
        ok: step.ok,
        ms: u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX),
        detail: step.detail.clone(),
        remedy: step.remedy.clone(),
    }
}

fn wrong_url(url: &str, error: TargetError) -> Refusal {
    Refusal {
        message: format!("{url:?}: {error}"),
        remedy: error.remedy().into(),
    }
}

fn wrong_wish(error: &WantedError) -> Refusal {
    Refusal {
        message: error.to_string(),
        remedy: error.remedy(),
    }
}
