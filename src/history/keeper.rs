//! The task that writes, and the handle of those who ask.
//!
//! Once a second what has ended is written; a disk that refuses is tried again with growing pauses, and what ends
//! meanwhile waits in the writer's queue as long as there is room.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::MAX_BLOCK_ITEMS;
use super::format::{Item, Mark};
use super::log::{Limits, Log, segments};
use super::search::{self, Bounds, Found, Whom};
use crate::identity::ended::Ended;
use crate::identity::time::UtcMillis;
use crate::runtime::backoff::Backoff;
use crate::runtime::clock;
use crate::runtime::supervisor;
use crate::writer::EndedQueue;

/// How often what has ended is written.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How often is looked for what is too old.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// How long a question waits until what has just ended is written.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// How long a search may take.
const SEARCH_WITHIN: Duration = Duration::from_secs(15);

/// Bytes that a question for the last sessions reads.
const LAST_BYTES: u64 = 64 << 20;

/// Sessions in one answer.
const MAX_FOUND: usize = 200;

/// Questions that may wait for a flush.
const MAX_FLUSHES: usize = 16;

/// Why the history is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What fails, for people.
    pub what: String,
    /// What to try.
    pub remedy: String,
    /// Since when.
    pub since: UtcMillis,
}

/// A handle of the history; clones are of the same one.
#[derive(Clone, Debug)]
pub struct History(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    queue: EndedQueue,
    wanted: watch::Sender<Option<Limits>>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    asked: Mutex<Option<mpsc::Receiver<oneshot::Sender<()>>>>,
    fault: Mutex<Option<Fault>>,
}

impl History {
    /// A history in a folder, of what comes through the queue; `limits` is `None` if it is off. Nothing is written before
    /// [`History::run`].
    #[must_use]
    pub fn new(folder: PathBuf, queue: EndedQueue, limits: Option<Limits>) -> Self {
        let (flushes, asked) = mpsc::channel(MAX_FLUSHES);
        Self(Arc::new(Shared {
            folder,
            queue,
            wanted: watch::Sender::new(limits),
            flushes,
            asked: Mutex::new(Some(asked)),
            fault: Mutex::new(None),
        }))
    }

    /// Switches it on or off, or changes how much is kept.
    pub fn set(&self, limits: Option<Limits>) {
        self.0.wanted.send_if_modified(|wanted| {
            let differs = *wanted != limits;
            *wanted = limits;
            differs
        });
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.wanted.borrow().is_some()
    }

    /// Why it is not written, if it is not.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.0.fault.lock().clone()
    }

    /// Writes until `stop`, then what is left. The table was begun as it was at `table_of`; `None`: empty. To be called once.
    pub async fn run(self, table_of: Option<UtcMillis>, stop: CancellationToken) {
        let Some(asked) = self.0.asked.lock().take() else {
            return;
        };
        let keeper = Keeper {
            shared: Arc::clone(&self.0),
            log: None,
            pending: Vec::new(),
            backoff: Backoff::new(WRITE_EVERY, Duration::from_secs(60)),
        };
        keeper.run(table_of, asked, stop).await;
    }

    /// Who was there at an instant and is not any more: the table knows those who still are. At most 200.
    pub async fn at(&self, whom: Whom, at: UtcMillis) -> Found {
        self.search(u64::MAX, MAX_FOUND, move |folder, bounds| {
            search::at(folder, &whom, at, bounds)
        })
        .await
    }

    /// The last sessions of somebody or something that ended, the latest first; at most `limit` (of 200), and no further
    /// back than 64 MiB of the history.
    pub async fn ended_of(&self, whom: Whom, limit: usize) -> Vec<Ended> {
        let limit = limit.min(MAX_FOUND);
        let found = self.search(LAST_BYTES, limit, move |folder, bounds| {
            search::last(folder, &whom, bounds)
        });
        found.await.ended
    }

    async fn search(
        &self,
        bytes: u64,
        rows: usize,
        search: impl FnOnce(&std::path::Path, Bounds) -> Found + Send + 'static,
    ) -> Found {
        self.flush().await;
        let folder = self.0.folder.clone();
        let found = supervisor::blocking(move || {
            let until = clock::monotonic_now() + SEARCH_WITHIN;
            let bounds = Bounds { rows, bytes, until };
            search(&folder, bounds)
        });
        found.await.unwrap_or_else(|| Found {
            damaged: vec!["the search failed; this is a defect of jims".into()],
            ..Found::default()
        })
    }

    /// Has what has ended by now written, as far as the disk takes it.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let asked = async {
            if self.0.flushes.send(done).await.is_ok() {
                // Gone: it stops, and has written what there was.
                let _gone = written.await;
            }
        };
        // The disk hangs: what is there is read all the same.
        let _late = tokio::time::timeout(FLUSH_WITHIN, asked).await;
    }
}

struct Keeper {
    shared: Arc<Shared>,
    /// `None`: switched off.
    log: Option<Log>,
    /// Taken from the queue and not written yet.
    pending: Vec<Item>,
    backoff: Backoff,
}

impl Keeper {
    async fn run(
        mut self,
        table_of: Option<UtcMillis>,
        mut asked: mpsc::Receiver<oneshot::Sender<()>>,
        stop: CancellationToken,
    ) {
        let mut wanted = self.shared.wanted.subscribe();
        let limits = *wanted.borrow_and_update();
        self.begin(limits, table_of).await;
        let (mut next_write, mut next_look) = (WRITE_EVERY, LOOK_EVERY);
        let mut waited = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = wanted.changed() => {
                    let limits = *wanted.borrow_and_update();
                    self.obey(limits).await;
                }
                Some(done) = asked.recv() => {
                    self.write_all().await;
                    let _gone = done.send(());
                }
                () = tokio::time::sleep(next_write) => {
                    waited += next_write;
                    next_write = self.write_all().await;
                    if waited >= next_look {
                        (waited, next_look) = (Duration::ZERO, LOOK_EVERY);
                        self.look().await;
                    }
                }
            }
        }
        self.end().await;
    }

    async fn begin(&mut self, limits: Option<Limits>, table_of: Option<UtcMillis>) {
        let at = clock::utc_now().0;
        match limits {
            Some(limits) => {
                self.log = Some(Log::new(self.shared.folder.clone(), limits));
                let table_of = table_of.map(|table_of| table_of.0);
                self.pending.push(Item::Mark(Mark::Start { at, table_of }));
                self.write_all().await;
            }
            None => self.note_off().await,
        }
    }

    /// Whoever starts without a history says so in the one that is there, once.
    async fn note_off(&self) {
        let folder = self.shared.folder.clone();
        let noted = supervisor::blocking(move || {
            if segments(&folder)?.is_empty() || search::ends_off(&folder) {
                return Ok(());
            }
            let at = clock::utc_now();
            let limits = Limits {
                max_age: Duration::MAX,
                max_size: u64::MAX,
            };
            let mut log = Log::new(folder, limits);
            log.append(&[Item::Mark(Mark::Off { at: at.0 })], at)?;
            log.close()
        });
        if let Some(Err(error)) = noted.await {
            tracing::warn!(%error, "the history cannot be marked as off");
        }
    }

    async fn obey(&mut self, limits: Option<Limits>) {
        let at = clock::utc_now().0;
        match (self.log.is_some(), limits) {
            (true, Some(limits)) => {
                self.with_log(move |log| log.retain(limits, clock::utc_now()))
                    .await;
            }
            (false, Some(limits)) => {
                self.log = Some(Log::new(self.shared.folder.clone(), limits));
                let table_of = Some(at);
                self.pending.push(Item::Mark(Mark::Start { at, table_of }));
                self.write_all().await;
                tracing::info!("the history is on");
            }
            (true, None) => {
                self.write_all().await;
                self.pending.push(Item::Mark(Mark::Off { at }));
                self.end_log().await;
                tracing::info!("the history is off; what it holds stays");
            }
            (false, None) => {}
        }
    }

    async fn end(mut self) {
        if self.log.is_some() {
            self.write_all().await;
            let at = clock::utc_now().0;
            self.pending.push(Item::Mark(Mark::Stop { at }));
            self.end_log().await;
        }
    }

    async fn end_log(&mut self) {
        self.write_all().await;
        self.with_log(Log::close).await;
        self.log = None;
        self.pending.clear();
        *self.shared.fault.lock() = None;
    }

    async fn look(&mut self) {
        let limits = *self.shared.wanted.borrow();
        if let Some(limits) = limits {
            self.with_log(move |log| log.retain(limits, clock::utc_now()))
                .await;
        }
    }

    /// Writes all that waits; after how long to come again.
    async fn write_all(&mut self) -> Duration {
        loop {
            self.fill();
            if self.pending.is_empty() || self.log.is_none() {
                return WRITE_EVERY;
            }
            if !self.write_block().await {
                return self.backoff.next_pause();
            }
        }
    }

    /// Takes what waits, up to a block.
    fn fill(&mut self) {
        let room = MAX_BLOCK_ITEMS.saturating_sub(self.pending.len());
        let (ended, lost) = self.shared.queue.take(room);
        self.pending.extend(ended.into_iter().map(Item::Session));
        if let Some(lost) = lost {
            tracing::warn!(
                sessions = lost.count,
                "the history lost sessions that ended: the disk could not follow"
            );
            self.pending.push(Item::Mark(Mark::Gap {
                from: lost.from.0,
                until: lost.until.0,
                lost: lost.count,
            }));
        }
    }

    /// Whether what is pending was written.
    async fn write_block(&mut self) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let pending: Arc<[Item]> = pending.into();
        let items = Arc::clone(&pending);
        let written = self
            .with_log(move |log| log.append(&items, clock::utc_now()))
            .await;
        if !written {
            self.pending = pending.to_vec();
        }
        written
    }

    /// Whether the work on the files succeeded; what fails is told until it succeeds.
    async fn with_log(
        &mut self,
        work: impl FnOnce(&mut Log) -> std::io::Result<()> + Send + 'static,
    ) -> bool {
        let Some(mut log) = self.log.take() else {
            return false;
        };
        let limits = self.shared.wanted.borrow().unwrap_or(log.limits());
        let done = supervisor::blocking(move || {
            let result = work(&mut log);
            (log, result)
        });
        match done.await {
            Some((log, result)) => {
                self.log = Some(log);
                self.tell(result.err())
            }
            None => {
                self.log = Some(Log::new(self.shared.folder.clone(), limits));
                self.tell(Some(std::io::Error::other("writing panicked")))
            }
        }
    }

    fn tell(&mut self, error: Option<std::io::Error>) -> bool {
        let mut fault = self.shared.fault.lock();
        let Some(error) = error else {
            self.backoff.reset();
            if fault.take().is_some() {
                tracing::info!("the history is written again");
            }
            return true;
        };
        if fault.is_none() {
            tracing::warn!(%error, "the history cannot be written; it is tried again");
        }
        let folder = self.shared.folder.display();
        let since = fault.as_ref().map(|fault| fault.since);
        *fault = Some(Fault {
            what: format!("the history cannot be written: {error}"),
            remedy: format!(
                "check free space, owner and mode of {folder}, or set history.enabled = false; jims tries again"
            ),
            since: since.unwrap_or_else(clock::utc_now),
        });
        false
    }
}
