//! From a directory into the table: batches of bounded size, each waited for.
//!
//! Also the one place that touches report, readiness and metrics, so that servers and files say the same things in the
//! same words.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use tokio::sync::watch;

use crate::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, DomainFacts, ObjectId,
};
use crate::identity::event::Bookmark;
use crate::identity::name::Name;
use crate::identity::{Applied, Batch};
use crate::runtime::clock::utc_now;
use crate::runtime::readiness::Latch;
use crate::runtime::report::{Health, Report};
use crate::writer::{Intake, Stopped};

/// Objects in one batch.
pub(super) const BATCH_OBJECTS: usize = 1000;

/// Where a directory's data go, and who hears about it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) directory: Name,
    pub(super) domain: Name,
    /// Key of the bookmark.
    pub(super) key: CompactString,
    pub(super) intake: Intake,
    pub(super) report: Arc<Report>,
    pub(super) latch: Latch,
    /// True while the directory gives nothing.
    pub(super) silent: watch::Sender<bool>,
}

/// What one batch carries.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) facts: Option<DomainFacts>,
    pub(super) upserts: Vec<DirectoryObject>,
    pub(super) removed: Vec<ObjectId>,
    /// The position after it.
    pub(super) position: Option<Box<[u8]>>,
}

/// Numbers of one full read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) users: usize,
    pub(super) devices: usize,
    pub(super) groups: usize,
}

impl Feed {
    /// Ends a full read. The position is stored only if the table did not hold removals back: else a restart would
    /// pass for having read what still has to be confirmed.
    pub(super) async fn end(&self, position: Box<[u8]>) -> Result<Applied, Stopped> {
        let applied = self.send(DirectoryStep::FullEnd, Load::default()).await?;
        if applied.full_read_wanted {
            return Ok(applied);
        }
        let load = Load {
            position: Some(position),
            ..Load::default()
        };
        self.send(DirectoryStep::Poll, load).await
    }

    /// Hands a batch to the table and waits until it is applied.
    pub(super) async fn send(&self, step: DirectoryStep, load: Load) -> Result<Applied, Stopped> {
        let objects = load.upserts.len() + load.removed.len();
        let batch = DirectoryBatch {
            directory: self.directory.clone(),
            domain: self.domain.clone(),
            facts: load.facts,
            step,
            upserts: load.upserts,
            removed: load.removed,
            bookmark: load.position.map(|value| Bookmark {
                key: self.key.clone(),
                value,
            }),
        };
        self.report
            .count_received(u64::try_from(objects).unwrap_or(u64::MAX), utc_now());
        let applied = self.intake.apply(Batch::Directory(batch)).await?;
        self.report
            .count_interpreted(u64::try_from(objects).unwrap_or(u64::MAX));
        Ok(applied)
    }

    /// Begins a full read. Until it ends the table holds a mixture, so the position is taken back: whatever interrupts
    /// the reading, a restart among it, begins another.
    pub(super) async fn begin(&self, facts: Option<DomainFacts>) -> Result<Applied, Stopped> {
        let load = Load {
            facts,
            position: Some(Box::default()),
            ..Load::default()
        };
        self.send(DirectoryStep::FullBegin, load).await
    }

    /// The directory gives something.
    pub(super) fn heard(&self) {
        self.silent
            .send_if_modified(|silent| std::mem::replace(silent, false));
    }

    /// A reading is complete: ready, and timed.
    pub(super) fn synchronised(&self, kind: &'static str, took: Duration) {
        self.heard();
        self.latch.open();
        metrics::histogram!(
            "jims_directory_sync_seconds",
            "directory" => self.directory.to_string(),
            "kind" => kind
        )
        .record(took.as_secs_f64());
    }

    /// Says what is wrong; logged once as a warning until it changes.
    pub(super) fn fault(&self, health: Health, message: &str, remedy: &str) {
        if health == Health::Down {
            self.silent
                .send_if_modified(|silent| !std::mem::replace(silent, true));
        }
        let known = self.report.read();
        if known.health != health || known.fault.is_none_or(|fault| fault.message != message) {
            tracing::warn!(directory = %self.directory, remedy, "{message}");
        }
        self.report.set_fault(health, message, remedy, utc_now());
    }

    /// Says that all is well.
    pub(super) fn active(&self, detail: String) {
        let known = self.report.read();
        if known.health != Health::Active {
            tracing::info!(directory = %self.directory, "directory is followed: {detail}");
        }
        self.report.set_active(detail);
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} users, {} devices, {} groups",
            thousands(self.users),
            thousands(self.devices),
            thousands(self.groups)
        )
    }
}

/// A number as people read it: `12,000`.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::identity::Core;
    use crate::identity::directory::ObjectKind;
    use crate::identity::policy::Policy;
    use crate::identity::view::Epoch;
    use crate::runtime::readiness::Readiness;
    use crate::runtime::report::{Kind, Reports};
    use crate::runtime::supervisor::Tasks;
    use crate::writer::Writer;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    fn users(count: u8) -> Load {
        let user = |n: u8| DirectoryObject {
            id: ObjectId([n; 16]),
            sid: None,
            name: name(&format!("user{n}")),
            kind: ObjectKind::User {
                upn: None,
                enabled: true,
                primary_group: None,
            },
        };
        Load {
            upserts: (0..count).map(user).collect(),
            ..Load::default()
        }
    }

    #[tokio::test]
    async fn rule_14_a_held_removal_does_not_move_the_bookmark() {
        let (directory, domain) = (name("corp"), name("corp.example.com"));
        let policy = Policy {
            directories: vec![(directory.clone(), domain.clone())],
            ..Policy::default()
        };
        let (writer, parts) = Writer::new(Core::new(Epoch(1), policy), Reports::default());
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let ends = stop.clone();
        tasks.spawn("writer", async move {
            writer.run(ends).await.expect("no panic");
        });
        let feed = Feed {
            directory,
            domain,
            key: "directory/corp".into(),
            intake: parts.intake.clone(),
            report: Report::new(Kind::Directory, "corp"),
            latch: Readiness::new().latch("directory corp"),
            silent: watch::channel(true).0,
        };
        let read = async |count: u8, position: &[u8]| {
            feed.begin(None).await.expect("applied");
            feed.send(DirectoryStep::FullPart, users(count))
                .await
                .expect("applied");
            feed.end(position.into())
                .await
                .expect("applied")
                .full_read_wanted
        };
        let bookmark = || {
            parts
                .reader
                .read()
                .bookmark("directory/corp")
                .map(Vec::from)
        };
        assert!(!read(250, b"first").await);
        assert_eq!(bookmark().as_deref(), Some(&b"first"[..]));
        assert!(read(20, b"held").await, "230 of 250 objects would go");
        assert_ne!(bookmark().as_deref(), Some(&b"held"[..]));
        assert!(!read(20, b"confirmed").await, "said twice");
        assert_eq!(bookmark().as_deref(), Some(&b"confirmed"[..]));
        stop.cancel();
        tasks.ended().await;
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
