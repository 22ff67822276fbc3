//! The task that keeps the table on the disk as it changes.
//!
//! A disk that refuses is told to the operator and tried again with growing pauses; then all of the table is written
//! anew, because what changed meanwhile is not known. Until that is done, what was safe before counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::SnapshotError;
use super::store::{Folded, Store};
use crate::access::TokenRecord;
use crate::runtime::backoff::Backoff;
use crate::runtime::clock;
use crate::runtime::report::{Health, Report};
use crate::runtime::state_dir::StateError;
use crate::runtime::supervisor::{self, Tasks};
use crate::writer::{Follower, Safe, Taken};

/// From one write to the next at least: what was said last is safe a little later than this.
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// Changes that are gathered for one write.
const MAX_GATHERED: usize = 1 << 16;

/// The first pause before another try after the disk refused.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Less than this is not worth folding.
const MIN_FOLD_BYTES: u64 = 16 << 20;

/// Commands that may wait.
const MAX_COMMANDS: usize = 4;

/// A handle of the task; clones are of the same one.
#[derive(Clone, Debug)]
pub struct Keeper(mpsc::Sender<Command>);

#[derive(Debug)]
enum Command {
    /// These access tokens are in force; and it is time to see whether folding is worth it.
    Look(Vec<TokenRecord>),
    /// The writer has ended: the last table, marked as that of a clean stop if it is.
    Finish(Vec<TokenRecord>, bool, oneshot::Sender<()>),
}

/// What a keeper works with.
#[derive(Debug)]
pub struct KeeperParts {
    /// The files.
    pub store: Store,
    /// What changes.
    pub follower: Follower,
    /// Where it says how it is.
    pub report: Arc<Report>,
    /// Where the files are, for what is said of them.
    pub path: std::path::PathBuf,
}

impl Keeper {
    /// Starts the task.
    #[must_use]
    pub fn start(parts: KeeperParts, tasks: &Tasks) -> Self {
        let (commands, asked) = mpsc::channel(MAX_COMMANDS);
        let task = Task {
            store: Some(parts.store),
            follower: parts.follower,
            report: parts.report,
            path: parts.path,
            asked,
            gathered: Gathered::default(),
            folding: None,
            tasks: tasks.clone(),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        };
        tasks.spawn("snapshot", task.run());
        Self(commands)
    }

    /// Keeps the access tokens in force, and folds what was written if that is worth it.
    pub async fn look(&self, tokens: Vec<TokenRecord>) {
        // An error says that the task has ended, which the supervisor tells.
        let _ended = self.0.send(Command::Look(tokens)).await;
    }

    /// Writes the last table, once the writer has ended; returns when it is safe, or cannot be. `clean`: nothing was lost, so
    /// the next start may go on as if nothing had happened.
    pub async fn finish(&self, tokens: Vec<TokenRecord>, clean: bool) {
        let (done, finished) = oneshot::channel();
        let finish = Command::Finish(tokens, clean, done);
        if self.0.send(finish).await.is_ok() {
            let _ended = finished.await;
        }
    }
}

/// How it ends.
#[derive(Debug)]
struct Finish {
    clean: bool,
    done: oneshot::Sender<()>,
}

/// What is to be written next.
#[derive(Debug, Default)]
struct Gathered {
    taken: Vec<Taken>,
    changes: usize,
    tokens: Option<Vec<TokenRecord>>,
    finish: Option<Finish>,
    /// The writer has ended.
    ended: bool,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.tokens.is_none() && self.finish.is_none()
    }

    fn add(&mut self, taken: Option<Taken>) {
        match taken {
            Some(taken) => {
                self.changes += taken.changes.list.len();
                self.taken.push(taken);
            }
            None => self.ended = true,
        }
    }

    fn ask(&mut self, command: Command) {
        match command {
            Command::Look(tokens) => self.tokens = Some(tokens),
            Command::Finish(tokens, clean, done) => {
                self.tokens = Some(tokens);
                self.finish = Some(Finish { clean, done });
            }
        }
    }
}

struct Task {
    /// `None` only while it is written.
    store: Option<Store>,
    follower: Follower,
    report: Arc<Report>,
    path: std::path::PathBuf,
    asked: mpsc::Receiver<Command>,
    gathered: Gathered,
    folding: Option<oneshot::Receiver<Result<Folded, SnapshotError>>>,
    tasks: Tasks,
    backoff: Backoff,
}

impl Task {
    async fn run(mut self) {
        let mut earliest = clock::monotonic_now();
        loop {
            self.gather(earliest).await;
            earliest = clock::monotonic_now() + WRITE_EVERY;
            let (looks, finish) = (self.gathered.tokens.is_some(), self.gathered.finish.take());
            match self
                .write(finish.as_ref().is_some_and(|finish| finish.clean))
                .await
            {
                Some(Ok(())) => {
                    self.backoff.reset();
                    if looks && finish.is_none() {
                        self.fold();
                    }
                }
                Some(Err(error)) => {
                    self.refused(error);
                    if finish.is_none() {
                        self.start_over().await;
                    }
                }
                None => {
                    tracing::error!("keeping the table panicked; it is kept no more");
                    return;
                }
            }
            if let Some(finish) = finish {
                let _gone = finish.done.send(());
                return;
            }
        }
    }

    /// Waits for something to write, then for what comes until `earliest`; of a writer that ended for all of it.
    async fn gather(&mut self, earliest: Instant) {
        loop {
            let has_some = !self.gathered.is_empty();
            let waits_for_rest = self.gathered.finish.is_some() && !self.gathered.ended;
            let is_full = self.gathered.changes >= MAX_GATHERED;
            if is_full || (has_some && !waits_for_rest && clock::monotonic_now() >= earliest) {
                return;
            }
            tokio::select! {
                biased;
                folded = folded(&mut self.folding) => self.folded(folded).await,
                Some(command) = self.asked.recv(), if self.gathered.finish.is_none() => {
                    self.gathered.ask(command);
                }
                taken = self.follower.next(), if !self.gathered.ended => self.gathered.add(taken),
                () = tokio::time::sleep_until(earliest.into()), if has_some && !waits_for_rest => {}
            }
        }
    }

    /// Writes what was gathered; `None`: that panicked.
    async fn write(&mut self, clean: bool) -> Option<std::io::Result<()>> {
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered.ended = gathered.ended;
        let mut store = self.store.take()?;
        let (store, written, step) = supervisor::blocking(move || {
            let mut step = None;
            for taken in &gathered.taken {
                store.add(&taken.changes);
                if taken.changes.instant.is_some() {
                    step = Some(taken.step);
                }
            }
            if let Some(tokens) = gathered.tokens {
                store.add_tokens(tokens);
            }
            if clean {
                store.add_instant(true);
            }
            let written = store.write().and_then(|()| store.sync());
            (store, written, step)
        })
        .await?;
        if written.is_ok() {
            self.report.set_active(format!("{} bytes", store.bytes()));
            if let Some(step) = step {
                self.follower.safe.send_replace(Safe::UpTo(step));
            }
        }
        self.store = Some(store);
        Some(written)
    }

    fn refused(&self, error: std::io::Error) {
        let error = StateError::Write {
            path: self.path.clone(),
            source: error,
        };
        let message = format!("the snapshot was not saved: {error}");
        tracing::warn!("{message}");
        let now = clock::utc_now();
        self.report
            .set_fault(Health::Degraded, message, error.remedy(), now);
        self.follower.safe.send_replace(Safe::Never);
    }

    /// Lets the disk rest, then has all of the table come again.
    async fn start_over(&mut self) {
        let until = clock::monotonic_now() + self.backoff.next_pause();
        let rest = tokio::time::sleep_until(until.into());
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = &mut rest => break,
                // What comes meanwhile comes again.
                taken = self.follower.next(), if !self.gathered.ended => {
                    self.gathered.ended = taken.is_none();
                }
                Some(command) = self.asked.recv(), if self.gathered.finish.is_none() => {
                    self.gathered.ask(command);
                }
            }
            if self.gathered.finish.is_some() {
                break;
            }
        }
        if let Some(store) = &mut self.store {
            store.start_over();
        }
        self.follower.start_over();
    }

    fn fold(&mut self) {
        if self.folding.is_some() {
            return;
        }
        let Some(folding) = self
            .store
            .as_mut()
            .and_then(|store| store.fold(MIN_FOLD_BYTES))
        else {
            return;
        };
        let (done, folded) = oneshot::channel();
        self.folding = Some(folded);
        self.tasks.spawn("folding the snapshot", async move {
            if let Some(result) = supervisor::blocking(move || folding.run()).await {
                let _gone = done.send(result);
            }
        });
    }

    async fn folded(&mut self, result: Option<Result<Folded, SnapshotError>>) {
        self.folding = None;
        let failed = match (result, &mut self.store) {
            (Some(Ok(folded)), Some(store)) => match store.folded(folded) {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            (Some(Err(error)), _) => error.to_string(),
            (Some(Ok(_)) | None, _) => "it panicked".to_owned(),
        };
        // What was to be folded counts as it is, and is tried again.
        tracing::warn!("folding the snapshot failed: {failed}");
    }
}

/// Waits for the end of a folding, for ever if there is none; `None`: it panicked.
async fn folded(
    folding: &mut Option<oneshot::Receiver<Result<Folded, SnapshotError>>>,
) -> Option<Result<Folded, SnapshotError>> {
    match folding {
        Some(folding) => folding.await.ok(),
        None => std::future::pending().await,
    }
}
