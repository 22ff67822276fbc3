//! Composition: configuration → build → run → drain.
//!
//! The only room that knows all others. It binds everything before anything runs, starts the tasks, follows signals,
//! and stops in phases. Decisions about identities, queries or lines are made in their rooms, never here.

mod cluster;
mod cluster_status;
mod collectors;
mod dashboard;
mod desk;
mod junos;
mod keeping;
mod knows;
mod metrics_page;
mod notices;
mod past;
mod points;
mod probe;
mod proposals;
mod pushes;
mod reload;
mod serve;
mod state;
mod watch;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::{self, Config, Loaded, Problems};
use crate::control;
use crate::enforcement::ServerError;
use crate::enforcement::web_api::WebApiError;
use crate::history::Limits;
use crate::net::listener::ListenError;
use crate::net::local_socket::LocalSocketError;
use crate::producer::syslog::SyslogError;
use crate::runtime::shutdown::{Signal, Signals};
use crate::runtime::state_dir::StateError;
use crate::runtime::telemetry::{LogTo, Telemetry, TelemetryError};
use crate::tui::DashboardError;

pub use self::dashboard::Dashboard;
pub use self::probe::{CLUSTER, probe, probe_targets};
pub use self::pushes::{Join, JoinEnding, Joined, is_cut_code, is_onboarded, join};
pub use self::serve::App;

/// How `jims run` was asked to run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// How often `-v` was given: each step logs more than the configuration says.
    pub verbosity: u8,
    /// The dashboard, in place of a log on the terminal.
    pub dashboard: Option<Dashboard>,
}

/// Why the service could not start, or ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration has problems.
    #[error("the configuration cannot be used")]
    Configuration(Box<Problems>),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The Server: certificate, secrets, listeners.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The firewalls that are pushed to.
    #[error(transparent)]
    WebApi(#[from] WebApiError),
    /// The syslog listeners and templates.
    #[error(transparent)]
    Syslog(#[from] SyslogError),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] LocalSocketError),
    /// Logs and metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The dashboard.
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
    /// The system.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// The table cannot be trusted any more: a defect of jims.
    #[error(
        "the table failed while applying {0}; this is a defect of jims, please report it with the file set aside"
    )]
    Defect(String),
}

impl Error {
    /// What the operator can try; may be empty.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Configuration(_) => {
                "mend the lines above; `jims run --check` shows them again".into()
            }
            Self::Listen(error) => error.remedy(),
            Self::Server(error) => error.remedy(),
            Self::WebApi(error) => error.remedy(),
            Self::Syslog(error) => error.remedy(),
            Self::State(error) => error.remedy(),
            Self::Control(error) => error.remedy().into(),
            Self::Telemetry(_) => "a level is one of error, warn, info, debug, trace".into(),
            Self::Dashboard(error) => error.remedy().into(),
            Self::System(_) | Self::Defect(_) => String::new(),
        }
    }
}

/// Reads a configuration.
///
/// # Errors
/// Every problem of the file at once.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    config::load(path).map_err(|problems| Error::Configuration(Box::new(problems)))
}

/// Starts logs and metrics; once a process.
///
/// # Errors
/// The level is not understood.
pub fn start_telemetry(config: &Config, verbosity: u8, to: LogTo) -> Result<Telemetry, Error> {
    let level = match verbosity {
        0 => config.log.level.as_str(),
        1 => "debug",
        _ => "trace",
    };
    Ok(Telemetry::start(level, config.log.format, to)?)
}

/// Runs the service until it is told to stop.
///
/// # Errors
/// It could not start, or the table failed.
pub fn run(options: &RunOptions) -> Result<(), Error> {
    let loaded = load(&options.config)?;
    let shown = options.dashboard.as_ref();
    let shown = shown.map(|dashboard| dashboard::prepare(dashboard, &loaded.config));
    let log = shown.as_ref().map_or(LogTo::Stderr, |(log, _)| log.clone());
    let telemetry = start_telemetry(&loaded.config, options.verbosity, log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let app = App::start(&options.config, loaded, telemetry).await?;
        let failed = match shown {
            Some((_, dashboard)) => dashboard::show(&app, &mut signals, dashboard).await,
            None => follow(&app, &mut signals).await,
        };
        stop(app, &mut signals, failed).await
    });
    runtime.shutdown_background();
    result
}

/// Follows signals; returns at the one to stop, or with what failed.
async fn follow(app: &App, signals: &mut Signals) -> Option<Error> {
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => return None,
                Signal::Reload => app.reload().await,
            },
            what = app.failed() => return Some(Error::Defect(what)),
        }
    }
}

/// Stops in phases; a second signal ends the process at once.
async fn stop(app: App, signals: &mut Signals, failed: Option<Error>) -> Result<(), Error> {
    tokio::select! {
        () = app.stop() => {}
        () = async { while signals.next().await != Signal::Stop {} } => {
            tracing::warn!("a second signal: ending at once");
        }
    }
    failed.map_or(Ok(()), Err)
}

/// How much history is kept; `None`: none is.
fn history_limits(configured: &config::History) -> Option<Limits> {
    configured.enabled.then_some(Limits {
        max_age: configured.max_age,
        max_size: configured.max_size,
    })
}

/// What control and reload say when something is refused.
fn refusal(error: &Error) -> control::protocol::Refusal {
    let message = match error {
        Error::Configuration(problems) => problems.to_string(),
        other => other.to_string(),
    };
    control::protocol::Refusal {
        message,
        remedy: error.remedy(),
    }
}
