//! The task that writes, and the handle of those who ask.
//!
//! Once a second what has ended is written; a disk that refuses is tried again with growing pauses, and what ends
//! meanwhile waits in the writer's queue as long as there is room. Whoever asks does not wait for the disk: a search looks
//! at what waits as well.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::format::{Item, Mark};
use super::log::{Limits, Log, segments};
use super::search::{self, Bounds, Found, Listed, Whom};
use super::unwritten::{self, Unwritten};
use crate::identity::ended::Ended;
use crate::identity::time::UtcMillis;
use crate::runtime::backoff::Backoff;
use crate::runtime::clock;
use crate::runtime::supervisor;
use crate::writer::{EndedQueue, MAX_WAITING};

/// How often what has ended is written.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How often is looked for what is too old.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// How long somebody waits until what has just ended is written, or until a write is over.
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
    unwritten: Mutex<Unwritten>,
    /// Held while files are changed, and while they are listed.
    files: Mutex<()>,
    /// The table is not to be trusted, and is not saved.
    is_table_lost: AtomicBool,
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
            unwritten: Mutex::default(),
            files: Mutex::default(),
            is_table_lost: AtomicBool::new(false),
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

    /// The table failed and is not saved: the process does not end in order.
    pub fn table_is_lost(&self) {
        self.0.is_table_lost.store(true, Ordering::Release);
    }

    /// Writes until `stop`, then what is left. The table was begun as it was at `table_of`; `None`: empty. To be called once.
    pub async fn run(self, table_of: Option<UtcMillis>, stop: CancellationToken) {
        let Some(asked) = self.0.asked.lock().take() else {
            return;
        };
        let keeper = Keeper {
            shared: Arc::clone(&self.0),
            log: None,
            backoff: Backoff::new(WRITE_EVERY, Duration::from_secs(60)),
            next_try: None,
        };
        keeper.run(table_of, asked, stop).await;
    }

    /// Who was there at an instant and is not any more: the table knows those who still are. At most 200.
    pub async fn at(&self, whom: Whom, at: UtcMillis) -> Found {
        self.search(move |shared| {
            let wanted = |ended: &Ended| search::covers(ended, at) && whom.is(ended);
            // One more, so that it is known that there are more.
            let (unwritten, listed) = shared.all(wanted, MAX_FOUND + 1);
            search::at(listed, unwritten, &whom, at, bounds(u64::MAX, MAX_FOUND))
        })
        .await
    }

    /// The last sessions of somebody or something that ended, the latest first; at most `limit` (of 200), and no further
    /// back than 64 MiB of the history.
    pub async fn ended_of(&self, whom: Whom, limit: usize) -> Vec<Ended> {
        let limit = limit.min(MAX_FOUND);
        let found = self.search(move |shared| {
            let (unwritten, listed) = shared.all(|ended| whom.is(ended), limit);
            search::last(listed, unwritten, &whom, bounds(LAST_BYTES, limit))
        });
        found.await.ended
    }

    async fn search(&self, search: impl FnOnce(&Shared) -> Found + Send + 'static) -> Found {
        let shared = Arc::clone(&self.0);
        let found = supervisor::blocking(move || search(&shared));
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

fn bounds(bytes: u64, rows: usize) -> Bounds {
    Bounds {
        rows,
        bytes,
        until: clock::monotonic_now() + SEARCH_WITHIN,
        now: clock::utc_now(),
    }
}

impl Shared {
    /// What waits, and then the segments: what is written in between is in both.
    fn all(&self, is_wanted: impl Fn(&Ended) -> bool, most: usize) -> (Vec<Item>, Listed) {
        let waiting = unwritten::gather(&self.queue, &self.unwritten, is_wanted, most);
        // So that no block is seen of which a part is written. The disk hangs: what is there is read all the same.
        let _unchanged = self.files.try_lock_for(FLUSH_WITHIN);
        let listed = segments(&self.folder);
        let listed = listed.map_err(|error| format!("{}: {error}", self.folder.display()));
        (waiting, listed)
    }
}

struct Keeper {
    shared: Arc<Shared>,
    /// `None`: switched off.
    log: Option<Log>,
    backoff: Backoff,
    /// The disk refused: not before this.
    next_try: Option<Instant>,
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
        let mut next_write = clock::monotonic_now() + WRITE_EVERY;
        let mut next_look = clock::monotonic_now() + LOOK_EVERY;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = wanted.changed() => {
                    let limits = *wanted.borrow_and_update();
                    self.obey(limits).await;
                }
                () = tokio::time::sleep_until(next_write.into()) => {
                    let pause = self.write_all().await;
                    let now = clock::monotonic_now();
                    next_write = now + pause;
                    if now >= next_look {
                        next_look = now + LOOK_EVERY;
                        self.look().await;
                    }
                }
                Some(done) = asked.recv() => {
                    self.write_all().await;
                    let _gone = done.send(());
                }
            }
        }
        self.end().await;
    }

    async fn begin(&mut self, limits: Option<Limits>, table_of: Option<UtcMillis>) {
        match limits {
            Some(limits) => self.start(limits, table_of).await,
            None => self.note_off().await,
        }
    }

    /// The history begins with a table of that instant; `None`: empty.
    async fn start(&mut self, limits: Limits, table_of: Option<UtcMillis>) {
        match &mut self.log {
            Some(log) => log.set_limits(limits),
            None => self.log = Some(Log::new(self.shared.folder.clone(), limits)),
        }
        let (at, table_of) = (clock::utc_now().0, table_of.map(|table_of| table_of.0));
        let start = Mark::Start { at, table_of };
        self.shared.unwritten.lock().start(start);
        self.write_all().await;
    }

    /// Whoever starts without a history says so in the one that is there, once.
    async fn note_off(&mut self) {
        let folder = self.shared.folder.clone();
        let is_said = supervisor::blocking(move || {
            let last = segments(&folder).map(|mut all| all.pop());
            match last {
                Ok(last) => last.is_none_or(|last| search::ends_off(&last)),
                Err(error) => {
                    tracing::warn!(%error, "the history cannot be read, and is not marked as off");
                    true
                }
            }
        });
        if is_said.await.unwrap_or(true) {
            return;
        }
        let limits = Limits {
            max_age: Duration::MAX,
            max_size: u64::MAX,
        };
        self.log = Some(Log::new(self.shared.folder.clone(), limits));
        self.close_off().await;
    }

    async fn obey(&mut self, limits: Option<Limits>) {
        let is_closing = self.shared.unwritten.lock().is_closing();
        match (self.log.is_some() && !is_closing, limits) {
            (true, Some(limits)) => {
                self.with_log(move |log| log.retain(limits, clock::utc_now()))
                    .await;
            }
            (false, Some(limits)) => {
                if self.log.is_none() {
                    self.drop_queued();
                }
                self.start(limits, Some(clock::utc_now())).await;
                tracing::info!("the history is on");
            }
            (true, None) => {
                self.close_off().await;
                tracing::info!("the history is off; what it holds stays");
            }
            (false, None) => {}
        }
    }

    /// Writes what is there and that nothing follows: now, or as soon as the disk takes it.
    async fn close_off(&mut self) {
        let at = clock::utc_now().0;
        self.shared.unwritten.lock().close(Mark::Off { at });
        self.write_all().await;
    }

    async fn end(mut self) {
        if self.log.is_none() {
            return;
        }
        let is_lost = self.shared.is_table_lost.load(Ordering::Acquire);
        {
            let mut unwritten = self.shared.unwritten.lock();
            if !is_lost && !unwritten.is_closing() {
                let at = clock::utc_now().0;
                unwritten.close(Mark::Stop { at });
            }
        }
        // The last time: whether it has just been refused does not matter.
        self.next_try = None;
        self.write_all().await;
    }

    /// What ended while the history is off is not kept.
    fn drop_queued(&self) {
        let (ended, _lost) = self.shared.queue.take(MAX_WAITING);
        drop(ended);
    }

    async fn look(&mut self) {
        let limits = *self.shared.wanted.borrow();
        // A disk that refuses is told of by whoever writes.
        if let (Some(limits), None) = (limits, self.next_try) {
            self.with_log(move |log| log.retain(limits, clock::utc_now()))
                .await;
        }
    }

    /// Writes all that waits, unless the disk has just refused; after how long to come again.
    async fn write_all(&mut self) -> Duration {
        let now = clock::monotonic_now();
        if let Some(next_try) = self.next_try.filter(|next_try| now < *next_try) {
            return next_try.saturating_duration_since(now);
        }
        loop {
            if self.log.is_none() {
                self.drop_queued();
                return WRITE_EVERY;
            }
            let Some(block) = self.next_block() else {
                return WRITE_EVERY;
            };
            if !self.write_block(block).await {
                let pause = self.backoff.next_pause();
                self.next_try = Some(clock::monotonic_now() + pause);
                return pause;
            }
        }
    }

    /// Takes what waits, up to a block.
    fn next_block(&self) -> Option<Arc<Vec<Item>>> {
        // Held until what was taken is in: a search finds it in one of them.
        let mut unwritten = self.shared.unwritten.lock();
        let (ended, lost) = self.shared.queue.take(unwritten.room());
        if let Some(lost) = lost {
            tracing::warn!(
                sessions = lost.count,
                "the history lost sessions that ended: the disk could not follow"
            );
        }
        unwritten.add(ended, lost);
        unwritten.block()
    }

    /// Whether the block was written.
    async fn write_block(&mut self, block: Arc<Vec<Item>>) -> bool {
        let written = self
            .with_log(move |log| log.append(&block, clock::utc_now()))
            .await;
        if !written {
            return false;
        }
        self.next_try = None;
        let is_over = self.shared.unwritten.lock().written();
        if is_over {
            self.log = None;
        }
        true
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
        let shared = Arc::clone(&self.shared);
        let done = supervisor::blocking(move || {
            let _changed = shared.files.lock();
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
