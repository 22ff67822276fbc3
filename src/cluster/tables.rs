//! Whole tables in the object store: written by whoever holds the lease, read by a member that starts or fell behind.
//!
//! A stored table is one segment of the snapshot's format ([`crate::snapshot`]); where in the stream it stands is among its
//! bookmarks ([`super::order`]).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::lease::Held;
use super::order::Order;
use crate::identity::Core;
use crate::identity::policy::Policy;
use crate::identity::state::Contradiction;
use crate::identity::view::Epoch;
use crate::net::nats::{NatsError, Objects, Stream};
use crate::runtime::clock;
use crate::runtime::supervisor;
use crate::snapshot::{Keeper, SnapshotError, Store};
use crate::writer::Reader;

/// Name of the lease.
pub(super) const LEASE: &str = "tables";

/// Name of the object.
const OBJECT: &str = "table";

/// The label that says of which order it is.
const EPOCH: &str = "epoch";

/// The folder in the state folder.
const FOLDER: &str = "cluster";

/// A snapshot's first segment.
const SEGMENT: &str = "0000000001.rows";

/// How much longer than the logoff time the stream is kept: a stored table must not be older than its beginning.
const KEPT_BEYOND: Duration = Duration::from_hours(1);

/// How long storing may be put off by a disk that is busy with the same files.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Why there is no table to start from.
#[derive(Debug, Error)]
pub(super) enum TableError {
    /// The store.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// What was stored cannot be read.
    #[error("the stored table: {0}")]
    Snapshot(#[from] SnapshotError),
    /// It contradicts itself.
    #[error("the stored table: {0}")]
    Contradiction(#[from] Contradiction),
    /// The stream has no beginning any more, and there is no table that goes on from what it has.
    #[error(
        "the stream begins at message {first}, and no stored table reaches up to there; one is stored by another member that has the table"
    )]
    None {
        /// The first message that is kept.
        first: u64,
    },
    /// A defect.
    #[error("reading the stored table panicked")]
    Panicked,
    /// The folder.
    #[error("the folder of the stored table: {0}")]
    Io(#[from] std::io::Error),
}

/// What the stream is to keep, given a logoff time.
#[must_use]
pub(super) fn kept_for(logoff_time: Duration) -> Duration {
    logoff_time + KEPT_BEYOND
}

/// The table to start from: the stored one, or an empty one if the stream still has its beginning.
pub(super) async fn fetch(
    objects: &Objects,
    state_dir: &Path,
    (epoch, first): (Epoch, u64),
    history: bool,
    progress: impl Fn(usize, usize),
) -> Result<Core, TableError> {
    let stored = objects.find(OBJECT).await?;
    let of_epoch = stored.filter(|(labels, _)| labels.get(EPOCH) == Some(&label(epoch)));
    if let Some((_, size)) = of_epoch {
        let folder = state_dir.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(SEGMENT);
        let read = objects.get(OBJECT, &file, |bytes| progress(bytes, size));
        let core = match read.await {
            Ok(()) => {
                let folder = folder.clone();
                let opened = supervisor::blocking(move || open(&folder, history)).await;
                opened.ok_or(TableError::Panicked)?
            }
            Err(error) => Err(error.into()),
        };
        let _left = std::fs::remove_file(&file);
        let core = core?;
        if core.epoch() == epoch && Order::of(&core).needs() >= first {
            return Ok(core);
        }
    }
    if first > 1 {
        return Err(TableError::None { first });
    }
    Ok(empty(epoch, history))
}

/// An empty table before the first message.
fn empty(epoch: Epoch, history: bool) -> Core {
    let policy = Policy {
        history,
        ..Policy::default()
    };
    let mut core = Core::new(epoch, policy);
    let (key, value) = Order::position_at(0);
    core.keep(key, value);
    core
}

fn open(folder: &Path, history: bool) -> Result<Core, TableError> {
    let opened = Store::open(folder)?;
    let contents = opened.contents.ok_or(SnapshotError::Begun)?;
    Ok(super::resume(contents.state, history)?)
}

fn label(epoch: Epoch) -> String {
    format!("{:016x}", epoch.0)
}

/// A table that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When.
    pub at: crate::identity::time::UtcMillis,
    /// The stream's message that it holds at least.
    pub seq: u64,
}

/// What storing works with.
pub(super) struct Storing {
    pub(super) objects: Objects,
    pub(super) stream: Stream,
    pub(super) reader: Reader,
    pub(super) keeper: Keeper,
    pub(super) state_dir: PathBuf,
    pub(super) held: watch::Receiver<Held>,
    pub(super) replicas: u8,
    pub(super) every: Duration,
    pub(super) stored: watch::Sender<Option<Stored>>,
}

impl Storing {
    /// Stores the table regularly, while the lease is held, until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut pause = AGAIN_AFTER.min(self.every);
        while stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
        {
            if !self.held.borrow().contains_key(LEASE) {
                pause = AGAIN_AFTER.min(self.every);
                continue;
            }
            pause = match stop.run_until_cancelled(self.store()).await {
                None => return,
                Some(Ok(())) => self.every,
                Some(Err(error)) => {
                    tracing::warn!("the table was not stored for the cluster: {error}");
                    AGAIN_AFTER
                }
            };
        }
    }

    async fn store(&self) -> Result<(), TableError> {
        let (epoch, seq, logoff_time) = {
            let core = self.reader.read();
            (
                core.epoch(),
                Order::of(&core).applied(),
                core.policy().logoff_time,
            )
        };
        let folder = self.state_dir.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("stored");
        self.keeper.export(file.clone()).await?;
        let labels = BTreeMap::from([(EPOCH.to_owned(), label(epoch))]);
        let labels: HashMap<_, _> = labels.into_iter().collect();
        let put = self.objects.put(OBJECT, labels, &file).await;
        let _left = std::fs::remove_file(&file);
        put?;
        let at = clock::utc_now();
        self.stored.send_replace(Some(Stored { at, seq }));
        tracing::debug!(seq, "the table is stored for the cluster");
        self.stream
            .keep((self.replicas, kept_for(logoff_time)))
            .await?;
        Ok(())
    }
}
