//! The table across restarts: read at start, saved while running, saved last at a clean stop.
//!
//! A snapshot that cannot be used is set aside, never overwritten, and said so. What the bytes are is `snapshot`'s;
//! how a file is replaced safely is `runtime::state_dir`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Error;
use super::notices::Notices;
use super::snapshot::{self, SnapshotContents, SnapshotError};
use crate::access::TokenRecord;
use crate::identity::Core;
use crate::identity::policy::Policy;
use crate::identity::time::UtcMillis;
use crate::identity::view::Epoch;
use crate::runtime::clock;
use crate::runtime::report::{Health, Kind, Report};
use crate::runtime::shutdown::DEADLINE;
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
    /// Until when the table is complete; `None`: it is empty.
    pub(super) table_of: Option<UtcMillis>,
}

/// Reads the snapshot, or begins an empty table. After a clean stop the epoch goes on and cookies stay valid; the file is
/// then marked as unclean at once, so that a crash before the next snapshot cannot pass for a clean stop.
///
/// # Errors
/// The file exists and cannot be read or set aside.
pub(super) fn restore(
    state: &StateDir,
    policy: Policy,
    notices: &Notices,
) -> Result<Restored, Error> {
    let empty = |policy| Restored {
        core: Core::new(fresh_epoch(), policy),
        tokens: Vec::new(),
        table_of: None,
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
    let was_clean = contents.clean;
    let epoch = go_on(state, &mut contents, notices).unwrap_or_else(fresh_epoch);
    let tokens = contents.tokens;
    let mut outcomes = Vec::new();
    // A clean stop saves last, and nothing changes the table between its last step and that; it takes no longer than this.
    let stopping = if was_clean {
        DEADLINE.saturating_mul(2)
    } else {
        Duration::ZERO
    };
    let table_of = contents.state.now.map(|now| now.after(stopping));
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
            Ok(Restored {
                core,
                tokens,
                table_of,
            })
        }
        Err(contradiction) => {
            set_aside(state, "damaged", &contradiction, notices)?;
            Ok(empty(policy))
        }
    }
}

/// The epoch of a clean stop, once the file is marked as unclean. Where it cannot be (a full disk), another epoch makes
/// the mark needless: cookies of the old one stay true to the file.
fn go_on(state: &StateDir, contents: &mut SnapshotContents, notices: &Notices) -> Option<Epoch> {
    if !std::mem::take(&mut contents.clean) {
        return None;
    }
    if let Err(error) = state.replace(FILE, &snapshot::encode(contents)) {
        let what =
            format!("the snapshot cannot be written, so firewalls get a full report: {error}");
        tracing::warn!("{what}");
        notices.put("snapshot", what, error.remedy());
        return None;
    }
    Some(contents.state.epoch)
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

/// Saves the table; clones are handles of the same one.
#[derive(Clone, Debug)]
pub(super) struct Keeper(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    state: Arc<StateDir>,
    reader: Reader,
    revision: Arc<AtomicU64>,
    /// What the file holds; locked while it is written, so that the last save is the last.
    saved: Mutex<Option<Saved>>,
    report: Arc<Report>,
}

/// What a snapshot was made from.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    revision: u64,
    tokens: Vec<TokenRecord>,
}

impl Keeper {
    /// A keeper that has saved nothing yet.
    pub(super) fn new(state: Arc<StateDir>, parts: &WriterParts) -> Self {
        let report = Report::new(Kind::Snapshot, FILE);
        parts.reports.add(&report);
        Self(Arc::new(Parts {
            state,
            reader: parts.reader.clone(),
            revision: Arc::clone(&parts.revision),
            saved: Mutex::new(None),
            report,
        }))
    }

    /// Saves what has changed since the last time; with `clean` in any case, as the last thing that a process does.
    pub(super) async fn save(&self, tokens: Vec<TokenRecord>, clean: bool) {
        let parts = Arc::clone(&self.0);
        let saved = supervisor::blocking(move || parts.save(tokens, clean)).await;
        if saved.is_none() {
            tracing::error!("saving the table panicked");
        }
    }
}

impl Parts {
    fn save(&self, tokens: Vec<TokenRecord>, clean: bool) {
        let mut saved = self.saved.lock();
        let revision = self.revision.load(Ordering::Acquire);
        let now = Saved { revision, tokens };
        if !clean && saved.as_ref() == Some(&now) {
            return;
        }
        let contents = SnapshotContents {
            state: self.reader.read().export(),
            tokens: now.tokens.clone(),
            clean,
        };
        let bytes = snapshot::encode(&contents);
        match self.state.replace(FILE, &bytes) {
            Ok(()) => {
                *saved = Some(now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Batch;
    use crate::identity::core::LogOffTarget;
    use crate::runtime::report::Reports;
    use crate::runtime::supervisor::Tasks;
    use crate::writer::Writer;
    use tokio_util::sync::CancellationToken;

    fn token() -> TokenRecord {
        TokenRecord {
            hash: [7; 32],
            client: "srx".into(),
            expires: clock::utc_now(),
        }
    }

    #[tokio::test]
    async fn rule_22_only_what_changed_is_saved_and_a_clean_stop_always() {
        let folder = tempfile::tempdir().expect("folder");
        let state = Arc::new(StateDir::open(folder.path()).expect("state"));
        let (writer, parts) =
            Writer::new(Core::new(Epoch(1), Policy::default()), Reports::default());
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let ends = stop.clone();
        tasks.spawn("writer", async move {
            writer.run(ends).await.expect("no panic");
        });
        let keeper = Keeper::new(Arc::clone(&state), &parts);
        let token = token();
        let written = || {
            let bytes = state.read(FILE).expect("read");
            // Taken away, so that the next look tells whether it was written again.
            let _none = std::fs::remove_file(folder.path().join(FILE));
            bytes.map(|bytes| snapshot::decode(&bytes).expect("whole"))
        };
        keeper.save(Vec::new(), false).await;
        assert!(written().is_some_and(|contents| !contents.clean));
        keeper.save(Vec::new(), false).await;
        assert_eq!(written(), None, "nothing has changed");
        keeper.save(vec![token.clone()], false).await;
        assert!(written().is_some_and(|contents| contents.tokens.len() == 1));
        let nobody = Batch::LogOff(LogOffTarget::Address("10.1.2.3".parse().expect("address")));
        parts.intake.apply(nobody).await.expect("applied");
        keeper.save(vec![token.clone()], false).await;
        assert!(written().is_some(), "a batch was applied");
        keeper.save(vec![token.clone()], true).await;
        assert!(written().is_some_and(|contents| contents.clean));
        keeper.save(vec![token.clone()], false).await;
        assert_eq!(written(), None, "a late save does not undo the clean one");
        stop.cancel();
        tasks.ended().await;
    }
}
