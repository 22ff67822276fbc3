//! The table across restarts: read at start, saved while running, saved last at a clean stop.
//!
//! A snapshot that cannot be used is set aside, never overwritten, and said so. What the bytes are is `snapshot`'s;
//! how a file is replaced safely is `runtime::state_dir`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Error;
use super::notices::Notices;
use super::snapshot::{self, SnapshotContents, SnapshotError};
use crate::enforcement::TokenRecord;
use crate::identity::Core;
use crate::identity::policy::Policy;
use crate::identity::view::Epoch;
use crate::runtime::clock;
use crate::runtime::report::{Health, Kind, Report};
use crate::runtime::state_dir::{StateDir, StateError};
use crate::runtime::supervisor;
use crate::writer::{Reader, WriterParts};

/// The file's name in the state folder.
const FILE: &str = "snapshot";

/// What a start begins with.
pub(super) struct Restored {
    /// The table, empty if there was none.
    pub(super) core: Core,
    /// Tokens in force.
    pub(super) tokens: Vec<TokenRecord>,
}

/// Reads the snapshot, or begins an empty table. After a clean stop the epoch goes on and cookies stay valid; the file is
/// then marked as unclean at once, so that a crash before the next snapshot cannot pass for a clean stop.
///
/// # Errors
/// The file exists and cannot be read, or the mark cannot be written.
pub(super) fn restore(
    state: &StateDir,
    policy: Policy,
    notices: &Notices,
) -> Result<Restored, Error> {
    let empty = |policy| Restored {
        core: Core::new(fresh_epoch(), policy),
        tokens: Vec::new(),
    };
    let Some(bytes) = state.read(FILE)? else {
        return Ok(empty(policy));
    };
    let mut contents = match snapshot::decode(&bytes) {
        Ok(contents) => contents,
        Err(error) => {
            let reason = if matches!(error, SnapshotError::Newer { .. }) {
                "newer"
            } else {
                "damaged"
            };
            set_aside(state, reason, &error, notices)?;
            return Ok(empty(policy));
        }
    };
    drop(bytes);
    let epoch = if contents.clean {
        contents.state.epoch
    } else {
        fresh_epoch()
    };
    if contents.clean {
        contents.clean = false;
        state.replace(FILE, &snapshot::encode(&contents))?;
    }
    let tokens = contents.tokens;
    let mut outcomes = Vec::new();
    match Core::restore(
        contents.state,
        epoch,
        policy.clone(),
        clock::utc_now(),
        &mut outcomes,
    ) {
        Ok(core) => {
            tracing::info!(
                sessions = core.totals().sessions,
                "the table of the last run is back"
            );
            Ok(Restored { core, tokens })
        }
        Err(contradiction) => {
            set_aside(state, "damaged", &contradiction, notices)?;
            Ok(empty(policy))
        }
    }
}

fn set_aside(
    state: &StateDir,
    reason: &str,
    error: &dyn std::error::Error,
    notices: &Notices,
) -> Result<(), StateError> {
    let aside = state.set_aside(FILE, reason)?;
    let what = format!(
        "the snapshot cannot be used and was set aside as {}: {error}",
        aside.display()
    );
    tracing::warn!("{what}; the table starts empty");
    let remedy = "the table fills from its sources; keep the file for a report, or for the version of jims that wrote it";
    notices.put("snapshot set aside", what, remedy.into());
    Ok(())
}

fn fresh_epoch() -> Epoch {
    Epoch(rand::random())
}

/// Where tokens come from when a snapshot is made.
type TokenSource = Box<dyn Fn() -> Vec<TokenRecord> + Send + Sync>;

/// Saves the table.
pub(super) struct Keeper(Arc<Parts>);

struct Parts {
    state: Arc<StateDir>,
    reader: Reader,
    revision: Arc<AtomicU64>,
    saved: AtomicU64,
    tokens: TokenSource,
    report: Arc<Report>,
}

impl Keeper {
    /// A keeper that has saved nothing yet.
    pub(super) fn new(state: Arc<StateDir>, parts: &WriterParts, tokens: TokenSource) -> Self {
        Self(Arc::new(Parts {
            state,
            reader: parts.reader.clone(),
            revision: Arc::clone(&parts.revision),
            saved: AtomicU64::new(u64::MAX),
            tokens,
            report: Report::new(Kind::Snapshot, FILE),
        }))
    }

    /// How saving goes.
    pub(super) fn report(&self) -> &Arc<Report> {
        &self.0.report
    }

    /// Saves every `interval` what changed, until `stop`.
    pub(super) async fn run(self, stop: CancellationToken, interval: impl Fn() -> Duration + Send) {
        while stop
            .run_until_cancelled(tokio::time::sleep(interval()))
            .await
            .is_some()
        {
            self.save(false).await;
        }
    }

    /// Saves the table after everything else has stopped, and marks it as clean.
    pub(super) async fn save_last(&self) {
        self.save(true).await;
    }

    async fn save(&self, clean: bool) {
        let parts = Arc::clone(&self.0);
        let saved = supervisor::blocking(move || parts.save(clean)).await;
        if saved.is_none() {
            tracing::error!("saving the table panicked");
        }
    }
}

impl Parts {
    fn save(&self, clean: bool) {
        let revision = self.revision.load(Ordering::Acquire);
        if !clean && self.saved.load(Ordering::Relaxed) == revision {
            return;
        }
        let state = self.reader.read().export();
        let bytes = snapshot::encode(&SnapshotContents {
            state,
            tokens: (self.tokens)(),
            clean,
        });
        match self.state.replace(FILE, &bytes) {
            Ok(()) => {
                self.saved.store(revision, Ordering::Relaxed);
                self.report.set_active(format!("{} bytes", bytes.len()));
            }
            Err(error) => {
                let message = format!("the snapshot was not saved: {error}");
                tracing::warn!("{message}");
                self.report
                    .set_fault(Health::Degraded, message, error.remedy(), clock::utc_now());
            }
        }
    }
}
