//! The task that keeps the table on the disk as it changes.
//!
//! A disk that refuses is told to the operator and tried again with growing pauses; then all of the table is written
//! anew, because what changed meanwhile is not known. Until that is done, what was safe before counts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::SnapshotError;
use super::store::{Folded, Store, Synced};
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
    /// The table as it is now, in one file.
    Export(PathBuf, oneshot::Sender<Result<(), SnapshotError>>),
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
    pub path: PathBuf,
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
            syncing: None,
            written: None,
            is_behind: false,
            exporting: Arc::default(),
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

    /// Writes the table, not older than this call, as one segment in place of the file at `path`.
    ///
    /// # Errors
    /// The disk refuses, or there is no whole table on it at this moment.
    pub async fn export(&self, path: PathBuf) -> Result<(), SnapshotError> {
        let (done, exported) = oneshot::channel();
        let ended = || std::io::Error::other("the table is kept no more");
        let sent = self.0.send(Command::Export(path, done)).await;
        sent.map_err(|_gone| ended())?;
        exported.await.map_err(|_gone| ended())?
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

/// Where the table is wanted in one file, and who wants it.
type Export = (PathBuf, oneshot::Sender<Result<(), SnapshotError>>);

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
    /// Who wants the table in one file.
    exports: Vec<Export>,
    /// The writer has ended.
    ended: bool,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.taken.is_empty()
            && self.tokens.is_none()
            && self.finish.is_none()
            && self.exports.is_empty()
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
            Command::Export(path, done) => self.exports.push((path, done)),
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
    path: PathBuf,
    asked: mpsc::Receiver<Command>,
    gathered: Gathered,
    folding: Option<oneshot::Receiver<Result<Folded, SnapshotError>>>,
    syncing: Option<oneshot::Receiver<SyncResult>>,
    /// The last of the writer's steps that is written whole.
    written: Option<u64>,
    /// Something is written that the disk was not asked to take.
    is_behind: bool,
    /// Held by whoever reads the segments to export them.
    exporting: Arc<()>,
    tasks: Tasks,
    backoff: Backoff,
}

impl Task {
    async fn run(mut self) {
        let mut earliest = clock::monotonic_now();
        loop {
            let refused = self.gather(earliest).await.err();
            earliest = clock::monotonic_now() + WRITE_EVERY;
            let (looks, finish) = (self.gathered.tokens.is_some(), self.gathered.finish.take());
            let exports = std::mem::take(&mut self.gathered.exports);
            let written = match refused.filter(|_| finish.is_none()) {
                Some(error) => Err(error),
                None => match self.write(&finish).await {
                    Some(written) => written,
                    None => {
                        tracing::error!("keeping the table panicked; it is kept no more");
                        return;
                    }
                },
            };
            let kept = match written {
                Ok(()) => self.after_write(exports, looks && finish.is_none()).await,
                refused @ Err(_) => refused,
            };
            if let Err(error) = kept {
                self.refused(error);
                if finish.is_none() {
                    self.start_over().await;
                }
            }
            if let Some(finish) = finish {
                let _gone = finish.done.send(());
                return;
            }
        }
    }

    async fn after_write(&mut self, exports: Vec<Export>, looks: bool) -> std::io::Result<()> {
        for (path, done) in exports {
            self.export(path, done);
        }
        self.begin_sync();
        if looks { self.fold().await } else { Ok(()) }
    }

    /// Waits for something to write, then for what comes until `earliest`; of a writer that ended for all of it.
    ///
    /// # Errors
    /// The disk refused what was written before.
    async fn gather(&mut self, earliest: Instant) -> std::io::Result<()> {
        loop {
            let has_some = !self.gathered.is_empty();
            let waits_for_rest = self.gathered.finish.is_some() && !self.gathered.ended;
            let is_full = self.gathered.changes >= MAX_GATHERED;
            if is_full || (has_some && !waits_for_rest && clock::monotonic_now() >= earliest) {
                return Ok(());
            }
            tokio::select! {
                biased;
                synced = ended(&mut self.syncing) => self.synced(synced)?,
                folded = ended(&mut self.folding) => self.folded(folded).await,
                Some(command) = self.asked.recv(), if self.gathered.finish.is_none() => {
                    self.gathered.ask(command);
                }
                taken = self.follower.next(), if !self.gathered.ended => self.gathered.add(taken),
                () = tokio::time::sleep_until(earliest.into()), if has_some && !waits_for_rest => {}
            }
        }
    }

    /// Writes what was gathered, and the last time waits for the disk; `None`: that panicked.
    async fn write(&mut self, finish: &Option<Finish>) -> Option<std::io::Result<()>> {
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered.ended = gathered.ended;
        let (is_last, clean) = (
            finish.is_some(),
            finish.as_ref().is_some_and(|finish| finish.clean),
        );
        let mut store = self.store.take()?;
        let (store, written, step) = supervisor::blocking(move || {
            let mut step = None;
            for taken in &gathered.taken {
                if taken.anew {
                    store.start_over();
                }
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
            let written = store.write();
            let written = if is_last {
                written.and_then(|()| store.sync())
            } else {
                written
            };
            (store, written, step)
        })
        .await?;
        self.written = step.or(self.written);
        self.is_behind = !is_last;
        self.store = Some(store);
        if is_last && written.is_ok() {
            self.tell_safe(self.written);
        }
        Some(written)
    }

    /// Has the disk take what was written while more is written: what is written outlives the process, whatever the disk
    /// does, and a disk is slow now and then.
    fn begin_sync(&mut self) {
        if self.syncing.is_some() || !std::mem::take(&mut self.is_behind) {
            return;
        }
        let Some(store) = &self.store else {
            return;
        };
        let (done, synced) = oneshot::channel();
        let (handle, step) = (store.syncing(), self.written);
        self.syncing = Some(synced);
        self.tasks.spawn("syncing the snapshot", async move {
            let sync = || match handle? {
                Some(syncing) => syncing.run().map(Some),
                None => Ok(None),
            };
            if let Some(result) = supervisor::blocking(sync).await {
                let _gone = done.send(result.map(|synced| (synced, step)));
            }
        });
    }

    fn synced(&mut self, result: Option<SyncResult>) -> std::io::Result<()> {
        self.syncing = None;
        let panicked = || Err(std::io::Error::other("waiting for the disk panicked"));
        let (synced, step) = result.unwrap_or_else(panicked)?;
        if let (Some(synced), Some(store)) = (synced, &mut self.store) {
            store.synced(synced)?;
        }
        self.tell_safe(step);
        self.begin_sync();
        Ok(())
    }

    fn tell_safe(&mut self, step: Option<u64>) {
        self.backoff.reset();
        let bytes = self.store.as_ref().map_or(0, Store::bytes);
        self.report.set_active(format!("{bytes} bytes"));
        if let Some(step) = step {
            self.follower.safe.send_replace(Safe::UpTo(step));
        }
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
        // What was being synced is of what is forgotten.
        (self.syncing, self.written, self.is_behind) = (None, None, false);
        self.gathered.taken.clear();
        self.gathered.changes = 0;
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

    /// Has the table written in one file on a thread of its own; what is there stays as it is.
    fn export(&mut self, path: PathBuf, done: oneshot::Sender<Result<(), SnapshotError>>) {
        let Some(exporting) = self
            .store
            .as_ref()
            .filter(|_| self.folding.is_none())
            .and_then(Store::export)
        else {
            let none = std::io::Error::other("there is no whole table on the disk");
            let _gone = done.send(Err(none.into()));
            return;
        };
        let exporting_still = Arc::clone(&self.exporting);
        self.tasks.spawn("exporting the table", async move {
            let written = supervisor::blocking(move || exporting.run(&path)).await;
            let panicked = || Err(std::io::Error::other("it panicked").into());
            drop(exporting_still);
            let _gone = done.send(written.unwrap_or_else(panicked));
        });
    }

    /// Folds if that is worth it: then a segment ends, which the disk must have before another begins.
    ///
    /// # Errors
    /// The disk refuses what was written.
    async fn fold(&mut self) -> std::io::Result<()> {
        let is_worth = (self.store.as_ref()).is_some_and(|s| s.is_worth_folding(MIN_FOLD_BYTES));
        let is_free = self.folding.is_none() && Arc::strong_count(&self.exporting) == 1;
        if !is_worth || !is_free {
            return Ok(());
        }
        if self.syncing.is_some() {
            let synced = ended(&mut self.syncing).await;
            self.synced(synced)?;
        }
        let Some(mut store) = self.store.take() else {
            return Ok(());
        };
        let fold = move || {
            let folding = store.sync().map(|()| store.fold(MIN_FOLD_BYTES));
            (store, folding)
        };
        let panicked = || std::io::Error::other("folding panicked");
        let (store, folding) = supervisor::blocking(fold).await.ok_or_else(panicked)?;
        self.store = Some(store);
        let Some(folding) = folding? else {
            return Ok(());
        };
        let (done, folded) = oneshot::channel();
        self.folding = Some(folded);
        self.tasks.spawn("folding the snapshot", async move {
            if let Some(result) = supervisor::blocking(move || folding.run()).await {
                let _gone = done.send(result);
            }
        });
        Ok(())
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

/// What the disk took, and up to which of the writer's steps.
type SyncResult = std::io::Result<(Option<Synced>, Option<u64>)>;

/// Waits for the end of what runs beside, for ever if there is nothing; `None`: it panicked.
async fn ended<T>(running: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match running {
        Some(running) => running.await.ok(),
        None => std::future::pending().await,
    }
}
