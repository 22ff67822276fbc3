//! The table across restarts: read at start, kept while running, marked last at a clean stop.
//!
//! A snapshot that cannot be used is set aside, never overwritten, and said so. What the files are is [`crate::snapshot`]'s.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::notices::Notices;
use crate::access::TokenRecord;
use crate::cluster;
use crate::config::Config;
use crate::control::protocol::timestamp;
use crate::identity::Core;
use crate::identity::policy::Policy;
use crate::identity::state::{Contradiction, State};
use crate::identity::time::UtcMillis;
use crate::identity::view::Epoch;
use crate::runtime::clock;
use crate::runtime::report::{Kind, Report};
use crate::runtime::shutdown::DEADLINE;
use crate::runtime::state_dir::{StateDir, StateError};
use crate::runtime::supervisor::Tasks;
use crate::snapshot::{Contents, Dropped, Keeper, KeeperParts, Opened, SnapshotError, Store};
use crate::writer::WriterParts;

/// The folder's name in the state folder.
const FOLDER: &str = "snapshot";

/// Whose table it is.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    /// This process's own, under this policy.
    Own(Box<Policy>),
    /// A cluster's: it goes on exactly as it was.
    OfCluster {
        /// Whether this process keeps a history.
        history: bool,
    },
}

impl Whose {
    /// That of a configuration, and what it says that the table obeys.
    pub(super) fn of(config: &Config, policy: Policy) -> Self {
        match config.cluster {
            None => Self::Own(Box::new(policy)),
            Some(_) => Self::OfCluster {
                history: config.history.enabled,
            },
        }
    }
}

/// What a start begins with.
pub(super) struct Restored {
    /// The table, empty if there was none.
    pub(super) core: Core,
    /// Tokens in force.
    pub(super) tokens: Vec<TokenRecord>,
    /// Until when the table is complete; `None`: it is empty.
    pub(super) table_of: Option<UtcMillis>,
    /// Where it is kept.
    pub(super) store: Store,
}

/// Reads the snapshot, or begins an empty table. After a clean stop the epoch goes on and cookies stay valid; the files are
/// then marked as those of a running process at once, so that a crash cannot pass for a clean stop.
///
/// # Errors
/// The files exist and cannot be read or set aside.
pub(super) fn restore(
    state: &StateDir,
    whose: Whose,
    notices: &Notices,
) -> Result<Restored, Error> {
    let folder = state.path().join(FOLDER);
    if folder.is_file() {
        set_aside(state, "older", &"it is of an older version", notices)?;
    }
    let opened = match Store::open(&folder) {
        Ok(opened) => opened,
        Err(SnapshotError::Io(source)) => {
            let path = folder;
            return Err(StateError::Read { path, source }.into());
        }
        Err(error) => {
            let reason = if matches!(error, SnapshotError::Newer { .. }) {
                "newer"
            } else {
                "damaged"
            };
            set_aside(state, reason, &error, notices)?;
            opened_anew(&folder)?
        }
    };
    let Opened {
        mut store,
        contents,
        dropped,
    } = opened;
    let Some(contents) = contents else {
        if dropped.is_damage {
            set_aside(state, "damaged", &"its first table is damaged", notices)?;
            store = opened_anew(&folder)?.store;
        }
        return Ok(empty(store, whose));
    };
    tell_dropped(dropped, &contents.state, notices);
    let is_of_cluster = cluster::is_of_cluster(&contents.state);
    if !is_of_cluster && matches!(whose, Whose::OfCluster { .. }) {
        drop(store);
        set_aside(state, "single", &"it is not of a cluster", notices)?;
        return Ok(empty(opened_anew(&folder)?.store, whose));
    }
    let epoch = go_on(&mut store, &contents, notices);
    // What a process changes by itself is not of the cluster's order any more.
    let epoch = epoch.filter(|_| !is_of_cluster).unwrap_or_else(fresh_epoch);
    // At a clean stop nothing changes the table between its last step and the end; it takes no longer than this.
    let stopping = match contents.clean {
        true => DEADLINE.saturating_mul(2),
        false => Duration::ZERO,
    };
    let table_of = contents.state.now.map(|now| now.after(stopping));
    match from_state(contents.state, epoch, whose.clone()) {
        Ok(core) => Ok(Restored {
            core,
            tokens: contents.tokens,
            table_of,
            store,
        }),
        Err(contradiction) => {
            drop(store);
            set_aside(state, "damaged", &contradiction, notices)?;
            Ok(empty(opened_anew(&folder)?.store, whose))
        }
    }
}

fn tell_dropped(dropped: Dropped, state: &State, notices: &Notices) {
    if !dropped.is_damage {
        if dropped.bytes > 0 {
            tracing::info!(
                bytes = dropped.bytes,
                "what was being written when the last run ended is left out"
            );
        }
        return;
    }
    let of = state.now.map_or_else(
        || "its beginning".to_owned(),
        |now| timestamp(now).to_string(),
    );
    let what = format!(
        "the end of the snapshot was damaged: the table is that of {of}, and what changed after that is lost"
    );
    tracing::warn!("{what}");
    let remedy = "sources that keep their place tell it again; check the disk";
    notices.put("snapshot damaged", what, remedy.into());
}

fn from_state(state: State, epoch: Epoch, whose: Whose) -> Result<Core, Contradiction> {
    let core = match whose {
        Whose::Own(policy) => {
            Core::restore(state, epoch, *policy, clock::utc_now(), &mut Vec::new())?
        }
        Whose::OfCluster { history } => cluster::resume(state, history)?,
    };
    tracing::info!(
        sessions = core.totals().sessions,
        "the table of the last run is back"
    );
    Ok(core)
}

fn empty(store: Store, whose: Whose) -> Restored {
    let policy = match whose {
        Whose::Own(policy) => *policy,
        // Another takes its place, that of the stream.
        Whose::OfCluster { .. } => Policy::default(),
    };
    Restored {
        core: Core::new(fresh_epoch(), policy),
        tokens: Vec::new(),
        table_of: None,
        store,
    }
}

fn opened_anew(folder: &Path) -> Result<Opened, Error> {
    let unreadable = |error: SnapshotError| StateError::Read {
        path: folder.to_owned(),
        source: std::io::Error::other(error),
    };
    Ok(Store::open(folder).map_err(unreadable)?)
}

/// The epoch of a clean stop, once the files are marked. Where they cannot be (a full disk), another epoch makes the mark
/// needless: cookies of the old one stay true to the files.
fn go_on(store: &mut Store, contents: &Contents, notices: &Notices) -> Option<Epoch> {
    if !contents.clean {
        return None;
    }
    if let Err(source) = store.begin_run() {
        let path = PathBuf::from(FOLDER);
        let error = StateError::Write { path, source };
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
    error: &dyn std::fmt::Display,
    notices: &Notices,
) -> Result<(), StateError> {
    let aside = state.set_aside(FOLDER, reason)?;
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

/// Keeps the table from now on, as long as `tasks` run. `None`: somebody does already.
pub(super) fn keep(
    state: &StateDir,
    store: Store,
    parts: &WriterParts,
    tasks: &Tasks,
) -> Option<Keeper> {
    let report = Report::new(Kind::Snapshot, FOLDER);
    parts.reports.add(&report);
    let keeper = KeeperParts {
        store,
        follower: parts.following.take()?,
        report,
        path: state.path().join(FOLDER),
    };
    Some(Keeper::start(keeper, tasks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Batch;
    use crate::identity::event::Bookmark;
    use crate::runtime::report::Reports;
    use crate::writer::Writer;
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    fn token() -> TokenRecord {
        TokenRecord {
            hash: [7; 32],
            client: "srx".into(),
            expires: clock::utc_now(),
        }
    }

    fn bookmark(value: u8) -> Batch {
        Batch::Events {
            events: Vec::new(),
            bookmark: Some(Bookmark {
                key: "dc1".into(),
                value: Box::from([value]),
            }),
        }
    }

    /// A run over a folder, until `with` is done; whether it stops in order.
    async fn run(folder: &Path, clean: bool, with: impl AsyncFnOnce(&WriterParts, &Keeper)) {
        let state = Arc::new(StateDir::open(folder).expect("state"));
        let restored =
            restore(&state, Whose::Own(Box::default()), &Notices::default()).expect("restored");
        let (writer, parts) = Writer::new(restored.core, Reports::default());
        let (tasks, keeping, stop) = (Tasks::new(), Tasks::new(), CancellationToken::new());
        let ends = stop.clone();
        tasks.spawn("writer", async move {
            writer.run(ends).await.expect("no panic");
        });
        let keeper = keep(&state, restored.store, &parts, &keeping).expect("nobody keeps it");
        with(&parts, &keeper).await;
        stop.cancel();
        tasks.ended().await;
        keeper.finish(vec![token()], clean).await;
        keeping.ended().await;
    }

    #[tokio::test]
    async fn rule_22_what_was_said_to_be_safe_is_there_after_any_end() {
        let folder = tempfile::tempdir().expect("folder");
        let read = || {
            let opened = Store::open(&folder.path().join(FOLDER)).expect("a snapshot");
            opened.contents.expect("a table")
        };
        let mut epochs = Vec::new();
        for (value, clean) in [(1, true), (2, true), (3, false), (4, true)] {
            run(folder.path(), clean, async |parts, keeper| {
                keeper.look(vec![token(), token()]).await;
                let applied = parts.intake.apply_durably(bookmark(value)).await;
                applied.expect("applied");
                // Whoever brings nothing new does not wait for somebody else's change.
                let nothing = Batch::Events {
                    events: Vec::new(),
                    bookmark: None,
                };
                let again = parts.intake.apply_durably(nothing);
                let again = tokio::time::timeout(Duration::from_secs(5), again).await;
                again.expect("at once").expect("applied");
                // As if it were killed here.
                let contents = read();
                assert!(!contents.clean);
                assert_eq!(
                    contents.state.bookmarks,
                    [("dc1".into(), Box::from([value]))]
                );
                epochs.push(contents.state.epoch);
            })
            .await;
            let contents = read();
            assert_eq!(contents.clean, clean);
            assert_eq!(contents.tokens.len(), 1);
        }
        assert_eq!(epochs[0], epochs[1], "after a clean stop");
        assert_eq!(epochs[1], epochs[2], "after a clean stop");
        assert_ne!(epochs[2], epochs[3], "after any other");
    }
}
