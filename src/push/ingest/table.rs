//! What ingest tells the table and asks of it, each with its bound.

use std::net::IpAddr;
use std::time::Duration;

use crate::identity::Batch;
use crate::identity::collector::{AddressReport, CollectorBatch, CollectorName};
use crate::identity::directory::DirectoryBatch;
use crate::identity::event::Bookmark;
use crate::identity::name::Name;
use crate::identity::policy::Policy;
use crate::identity::time::UtcMillis;
use crate::writer::{Intake, PolicyGate, Reader};

/// How long a batch may wait until it is applied.
const APPLIED_WITHIN: Duration = Duration::from_secs(8);

/// The table did not take a batch in time, or the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Where batches go.
    pub(super) intake: Intake,
    /// How it is read.
    pub(super) reader: Reader,
    /// How its policy is replaced.
    pub(super) policy: PolicyGate,
}

impl Table {
    /// What a Collector says of addresses, and where it stands then; an empty bookmark: nowhere.
    pub(super) async fn told(
        &self,
        collector: &CollectorName,
        reports: Vec<AddressReport>,
        bookmark: Option<Vec<u8>>,
    ) -> Result<(), Busy> {
        let bookmark = bookmark.map(|value| Bookmark {
            key: key(collector).into(),
            value: value.into(),
        });
        let batch = CollectorBatch {
            collector: CollectorName::clone(collector),
            reports,
            bookmark,
        };
        self.apply(Batch::Collector(batch)).await
    }

    /// Since when a Collector is disconnected; `None`: it is not.
    pub(super) async fn standing(
        &self,
        collector: &CollectorName,
        disconnected_since: Option<UtcMillis>,
    ) -> Result<(), Busy> {
        let collector = CollectorName::clone(collector);
        self.apply(Batch::CollectorStanding {
            collector,
            disconnected_since,
        })
        .await
    }

    /// A step of a Collector's directory.
    pub(super) async fn directory(&self, batch: DirectoryBatch) -> Result<(), Busy> {
        self.apply(Batch::Directory(batch)).await
    }

    /// A Collector's directory goes, and sessions of its users with it or not.
    pub(super) async fn drop_directory(
        &self,
        directory: Name,
        ends_sessions: bool,
    ) -> Result<(), Busy> {
        self.apply(Batch::DropDirectory {
            directory,
            ends_sessions,
        })
        .await
    }

    /// Some of the addresses of which a Collector has said something, and where to go on.
    pub(super) fn addresses(
        &self,
        collector: &str,
        from: usize,
        limit: usize,
    ) -> (Vec<IpAddr>, Option<usize>) {
        let core = self.reader.read();
        core.addresses_of_collector(collector, from, limit)
    }

    /// The bookmark of a Collector.
    pub(super) fn bookmark(&self, collector: &str) -> Option<Vec<u8>> {
        let core = self.reader.read();
        core.bookmark(&key(collector)).map(<[u8]>::to_vec)
    }

    /// Since when the table knows a Collector as disconnected.
    pub(super) fn disconnected_since(&self, collector: &str) -> Option<UtcMillis> {
        let core = self.reader.read();
        core.collector_standing(collector).flatten()
    }

    /// Collectors that have told something since there is a table.
    pub(super) fn collectors(&self) -> Vec<CollectorName> {
        self.reader.read().collectors()
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> Policy {
        self.reader.read().policy().clone()
    }

    async fn apply(&self, batch: Batch) -> Result<(), Busy> {
        let applied = tokio::time::timeout(APPLIED_WITHIN, self.intake.apply_durably(batch)).await;
        match applied {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_stopped)) => Err(Busy),
            // It may still be applied: the Collector says the same once more, which changes nothing.
            Err(_late) => Err(Busy),
        }
    }
}

fn key(collector: &str) -> String {
    format!("collector/{collector}")
}
