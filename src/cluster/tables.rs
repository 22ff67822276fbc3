//! Whole tables in the object store: written by whoever holds the lease, read by a member that starts or fell behind.
//!
//! A stored table is one segment of the snapshot's format ([`crate::snapshot`]); where in the stream it stands is among its
//! bookmarks ([`super::order`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::check::{Checking, Verdict};
use super::lease::Held;
use super::order::{Digest, Mark, Order};
use crate::identity::Core;
use crate::identity::policy::Policy;
use crate::identity::state::Contradiction;
use crate::identity::view::Epoch;
use crate::net::nats::{NatsError, Objects};
use crate::runtime::clock;
use crate::runtime::supervisor;
use crate::snapshot::{Keeper, SnapshotError, Store};
use crate::writer::Reader;

/// Name of the lease.
pub(super) const LEASE: &str = "tables";

/// Name of the object.
const OBJECT: &str = "table";

/// The label that says of which stream it is.
const STREAM: &str = "stream";

/// The label of a place in the stream that it has passed, and the digest there: the stream's own, as it was then.
const PLACE: &str = "place";

/// How long what was delivered may still turn out not to be kept: a stream that lost its leader has another by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

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
    /// This member's own is not to be stored.
    #[error("this member's table is {0}")]
    Doubtful(&'static str),
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

/// A place in the stream, and its digest there, as they were when the table was stored; `None`: there is no such table.
pub(super) async fn mark(objects: &Objects, stream: u64) -> Result<Option<Mark>, NatsError> {
    let stored = objects.find(OBJECT).await?;
    Ok(stored.and_then(|(labels, _)| mark_in(&labels, stream)))
}

fn mark_in(labels: &HashMap<String, String>, stream: u64) -> Option<Mark> {
    let is_of = labels.get(STREAM) == Some(&hex(stream));
    let (seq, digest) = labels.get(PLACE)?.split_once('/').filter(|_| is_of)?;
    Some(Mark {
        seq: seq.parse().ok()?,
        digest: Digest(u64::from_str_radix(digest, 16).ok()?),
    })
}

fn labels(mark: Mark, stream: u64) -> HashMap<String, String> {
    let place = format!("{}/{}", mark.seq, hex(mark.digest.0));
    let labels = [(STREAM, hex(stream)), (PLACE, place)];
    let labels = labels.into_iter();
    labels.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// The table to start from: the stored one, or an empty one if the stream still has its beginning.
pub(super) async fn fetch(
    objects: &Objects,
    state_dir: &Path,
    (stream, first): (u64, u64),
    history: bool,
    progress: impl Fn(usize, usize),
) -> Result<Core, TableError> {
    let stored = objects.find(OBJECT).await?;
    let of_stream = stored.filter(|(labels, _)| mark_in(labels, stream).is_some());
    if let Some((_, size)) = of_stream {
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
        let order = Order::of(&core);
        if order.stream() == stream && order.needs() >= first {
            return Ok(core);
        }
    }
    if first > 1 {
        return Err(TableError::None { first });
    }
    Ok(empty(stream, history))
}

/// An empty table before the first message.
fn empty(stream: u64, history: bool) -> Core {
    let policy = Policy {
        history,
        ..Policy::default()
    };
    let mut core = Core::new(Epoch(stream), policy);
    let (key, value) = Order::beginning(stream);
    core.keep(key, value);
    core
}

fn open(folder: &Path, history: bool) -> Result<Core, TableError> {
    let opened = Store::open(folder)?;
    let contents = opened.contents.ok_or(SnapshotError::Begun)?;
    Ok(super::resume(contents.state, history)?)
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
    pub(super) checking: Checking,
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
        let (place, logoff_time) = {
            let core = self.reader.read();
            (Order::place_of(&core), core.policy().logoff_time)
        };
        let folder = self.state_dir.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("stored");
        self.keeper.export(file.clone()).await?;
        let put = self.put(place, &file).await;
        let _left = std::fs::remove_file(&file);
        put?;
        let (at, seq) = (clock::utc_now(), place.1.seq);
        self.stored.send_replace(Some(Stored { at, seq }));
        tracing::debug!(seq, "the table is stored for the cluster");
        let keep = (self.replicas, kept_for(logoff_time));
        self.checking.stream.keep(keep).await?;
        Ok(())
    }

    /// Stores what was exported, if it is the stream's: whoever starts over believes it.
    async fn put(&self, (stream, mark): (u64, Mark), file: &Path) -> Result<(), TableError> {
        let exported = Order::place_of(&self.reader.read()).1.seq;
        tokio::time::sleep(SETTLES_WITHIN).await;
        match self.checking.judge(exported).await? {
            Verdict::Right => {}
            Verdict::Wrong => {
                self.checking.wrong.send_replace(());
                return Err(TableError::Doubtful("not the stream's"));
            }
            Verdict::Unknown => {
                return Err(TableError::Doubtful("not known to be the stream's"));
            }
        }
        let labels = labels(mark, stream);
        Ok(self.checking.objects.put(OBJECT, labels, file).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_from_its_labels_for_its_stream_alone() {
        let mark = Mark::default().then(7, 1_800_000_000_000_000_000);
        let labels = labels(mark, 0xab);
        assert_eq!(mark_in(&labels, 0xab), Some(mark));
        assert_eq!(mark_in(&labels, 0xac), None);
        assert_eq!(mark_in(&HashMap::new(), 0xab), None);
    }
}
