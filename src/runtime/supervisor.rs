//! The only code that spawns: every task has a name, an owner and a counted end. (Threads of a `thread::scope`, which end
//! before their caller goes on, are no tasks.)
//!
//! A [`Tasks`] belongs to whoever spawns through it; shutdown waits for it and can name what is left. A task that
//! panics is reported by name; what that means (restart, degraded, end of the process) is its owner's decision through
//! [`Tasks::spawn_restarting`] or [`Tasks::spawn_vital`].

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;

/// Named tasks of one owner.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    running: Arc<Mutex<BTreeMap<String, usize>>>,
    failed: CancellationToken,
}

/// Removes a task's name when it ends, however it ends.
struct Running {
    names: Arc<Mutex<BTreeMap<String, usize>>>,
    name: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        if let Some(count) = names.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.name);
            }
        }
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a future as a named task; a panic in it is logged and ends only that task.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.enter(name.into());
        self.start(async move {
            if catch(task).await.is_err() {
                tracing::error!(task = running.name, "task panicked");
            }
        });
    }

    /// Runs a future that must not end by a panic: if it does, [`Tasks::failed`] says so and the process ends.
    pub fn spawn_vital(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let running = self.enter(name.into());
        let failed = self.failed.clone();
        self.start(async move {
            if catch(task).await.is_err() {
                tracing::error!(task = running.name, "vital task panicked");
                failed.cancel();
            }
        });
    }

    /// Runs what `make` gives; after a panic once more, with growing pauses, until `stop`.
    pub fn spawn_restarting<F, T>(
        &self,
        name: impl Into<String>,
        stop: CancellationToken,
        mut make: F,
    ) where
        F: FnMut() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let running = self.enter(name.into());
        self.start(async move {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
            while catch(make()).await.is_err() {
                let pause = backoff.next_pause();
                tracing::error!(
                    task = running.name,
                    pause_s = pause.as_secs(),
                    "task panicked and starts again"
                );
                if stop
                    .run_until_cancelled(tokio::time::sleep(pause))
                    .await
                    .is_none()
                {
                    return;
                }
            }
        });
    }

    /// Has these tasks wait for others that somebody may also wait for alone: those of a part that can stop before the
    /// whole. To be called once the others run.
    pub fn include(&self, name: impl Into<String>, others: &Self) {
        let others = others.clone();
        self.spawn(name, async move { others.ended().await });
    }

    /// Cancelled once a vital task has panicked.
    #[must_use]
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Waits until every task has ended, at most `limit`; the names of those that have not.
    pub async fn finish(&self, limit: Duration) -> Vec<String> {
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
        {
            return Vec::new();
        }
        self.running.lock().keys().cloned().collect()
    }

    /// Waits until every task spawned so far, and any spawned meanwhile, has ended.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn enter(&self, name: String) -> Running {
        *self.running.lock().entry(name.clone()).or_default() += 1;
        Running {
            names: Arc::clone(&self.running),
            name,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that spawns"
    )]
    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(self.tracker.track_future(task)));
    }
}

/// Runs blocking work on a thread of its own; `None` if it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Runs work on a thread that nobody waits for, not even the end of the process: for reads that nothing can interrupt.
///
/// # Errors
/// The system has no thread to give.
pub fn unattended(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop)
}

/// The future's output, or `Err` if it panicked.
async fn catch(task: impl Future<Output = ()> + Send) -> Result<(), ()> {
    let mut task = std::pin::pin!(task);
    std::future::poll_fn(move |context: &mut Context<'_>| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(())),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_task_that_does_not_end_is_named() {
        let tasks = Tasks::new();
        tasks.spawn("stuck", std::future::pending());
        tasks.spawn("done", async {});
        assert_eq!(tasks.finish(Duration::from_millis(50)).await, ["stuck"]);
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_task_unless_it_is_vital() {
        let tasks = Tasks::new();
        tasks.spawn("plain", async { panic!("on purpose") });
        assert!(tasks.finish(GUARD).await.is_empty());
        assert!(!tasks.failed().is_cancelled());
        let tasks = Tasks::new();
        tasks.spawn_vital("vital", async { panic!("on purpose") });
        assert!(tasks.finish(GUARD).await.is_empty());
        assert!(tasks.failed().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_restarting_task_starts_again_after_a_panic() {
        let tasks = Tasks::new();
        let mut starts = 0;
        let (count, mut counted) = tokio::sync::mpsc::channel(8);
        tasks.spawn_restarting("restarts", CancellationToken::new(), move || {
            starts += 1;
            let (count, starts) = (count.clone(), starts);
            async move {
                count.send(starts).await.expect("the test listens");
                assert!(starts == 3, "on purpose");
            }
        });
        assert!(tasks.finish(Duration::from_secs(3600)).await.is_empty());
        assert_eq!(counted.recv().await, Some(1));
        assert_eq!(counted.recv().await, Some(2));
        assert_eq!(counted.recv().await, Some(3));
    }
}
