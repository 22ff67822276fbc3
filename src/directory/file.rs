//! Follows an LDIF file that stands in for a directory server: read whole when it changes.
//!
//! The whole file is read and understood before anything of it reaches the table, so that a broken or half-written file
//! changes nothing. Looked at every `poll_interval` by size and time of change.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::feed::{BATCH_OBJECTS, Counts, Feed, Load};
use super::ldif::{self, Contents, LdifError};
use crate::identity::directory::{DirectoryStep, ObjectKind};
use crate::identity::name::Name;
use crate::runtime::clock::monotonic_now;
use crate::runtime::preflight::Preflight;
use crate::runtime::report::Health;
use crate::runtime::supervisor::blocking;
use crate::writer::Stopped;

/// Largest file read, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Follows one file.
pub(super) struct File {
    feed: Feed,
    path: PathBuf,
    interval: Duration,
    /// What was read last.
    read: Option<Stamp>,
    counts: Option<Counts>,
}

/// Tells one state of the file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(String);

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("could not read the directory file {}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the directory file {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("the directory file {}, {error}", path.display())]
    Ldif { path: PathBuf, error: LdifError },
    #[error("the directory file {} holds no users, computers or groups", path.display())]
    Empty { path: PathBuf },
    #[error("reading the directory file {} failed", path.display())]
    Panicked { path: PathBuf },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl FileError {
    fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check `ldif_file` and that the account jims runs as can read it",
            Self::TooLarge { .. } => "export only users, computers and groups",
            Self::Ldif { .. } => "correct the file; what was read from it before stays until then",
            Self::Empty { .. } => {
                "export objects of the classes user, computer and group, with sAMAccountName"
            }
            Self::Panicked { .. } => "this is a defect of jims: please report it",
            Self::Stopped(_) => "",
        }
    }
}

impl File {
    pub(super) fn new(
        feed: Feed,
        path: PathBuf,
        interval: Duration,
        stored: Option<Box<[u8]>>,
    ) -> Self {
        let read = stored.and_then(|bytes| String::from_utf8(bytes.into_vec()).ok().map(Stamp));
        Self {
            feed,
            path,
            interval,
            read,
            counts: None,
        }
    }

    /// Looks at the file until the table takes no more.
    pub(super) async fn run(mut self) {
        loop {
            match self.look().await {
                Ok(()) => {}
                Err(FileError::Stopped(_)) => return,
                Err(error) => self
                    .feed
                    .fault(Health::Down, &error.to_string(), error.remedy()),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn look(&mut self) -> Result<(), FileError> {
        let begun = monotonic_now();
        let path = self.path.clone();
        let panicked = |path: &Path| FileError::Panicked {
            path: path.to_owned(),
        };
        let stamp = blocking(move || stamp(&path))
            .await
            .ok_or_else(|| panicked(&self.path))??;
        if self.read.as_ref() == Some(&stamp) {
            self.feed.synchronised("poll", monotonic_now() - begun);
            self.feed.active(self.detail());
            return Ok(());
        }
        let (path, domain) = (self.path.clone(), self.feed.domain.clone());
        let contents = blocking(move || read(&path, &domain))
            .await
            .ok_or_else(|| panicked(&self.path))??;
        let counts = count(&contents);
        for (reason, records) in &contents.skipped {
            for _ in 0..*records {
                self.feed.report.count_ignored(reason);
            }
        }
        let confirm = self.send(contents, &stamp).await?;
        self.counts = Some(counts);
        self.feed.synchronised("full", monotonic_now() - begun);
        if confirm {
            // The next look reads it again, which confirms it.
            self.read = None;
            self.feed.fault(
                Health::Degraded,
                "the directory file lost so many objects that their sessions are kept until it is read again",
                "if they were not removed on purpose, restore the file now",
            );
        } else {
            self.read = Some(stamp);
            self.feed.active(self.detail());
        }
        Ok(())
    }

    /// Hands everything to the table; whether it wants to be told again.
    async fn send(&self, contents: Contents, stamp: &Stamp) -> Result<bool, Stopped> {
        let facts = contents.facts;
        self.feed.begin(facts).await?;
        let mut objects = contents.objects.into_iter();
        loop {
            let upserts: Vec<_> = objects.by_ref().take(BATCH_OBJECTS).collect();
            if upserts.is_empty() {
                break;
            }
            self.feed
                .send(
                    DirectoryStep::FullPart,
                    Load {
                        upserts,
                        ..Load::default()
                    },
                )
                .await?;
        }
        let position = stamp.0.clone().into_bytes().into_boxed_slice();
        let applied = self.feed.end(position).await?;
        Ok(applied.full_read_wanted)
    }

    fn detail(&self) -> String {
        let path = self.path.display();
        match self.counts {
            Some(counts) => format!("{path}: {counts}"),
            None => format!("{path}: as before the restart"),
        }
    }
}

/// Reads a directory file once, as a running service would, and changes nothing.
pub async fn preflight_file(path: &Path, domain: &Name, steps: &mut Preflight) {
    let (owned, domain) = (path.to_owned(), domain.clone());
    let contents = blocking(move || read(&owned, &domain)).await;
    let panicked = || {
        Err(FileError::Panicked {
            path: path.to_owned(),
        })
    };
    match contents.unwrap_or_else(panicked) {
        Ok(contents) => steps.pass("file", format!("{}: {}", path.display(), count(&contents))),
        Err(error) => steps.fail("file", error.to_string(), error.remedy()),
    }
}

fn count(contents: &Contents) -> Counts {
    let mut counts = Counts::default();
    for object in &contents.objects {
        match object.kind {
            ObjectKind::User { .. } => counts.users += 1,
            ObjectKind::Device { .. } => counts.devices += 1,
            ObjectKind::Group { .. } => counts.groups += 1,
        }
    }
    counts
}

fn stamp(path: &Path) -> Result<Stamp, FileError> {
    let failed = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    let facts = std::fs::metadata(path).map_err(failed)?;
    if facts.len() > MAX_FILE_BYTES {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    let changed = facts
        .modified()
        .map_err(failed)?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Stamp(format!(
        "1\n{}\n{}\n{}",
        facts.len(),
        changed.as_nanos(),
        path.display()
    )))
}

fn read(path: &Path, domain: &Name) -> Result<Contents, FileError> {
    let file = std::fs::File::open(path).map_err(|source| FileError::Io {
        path: path.to_owned(),
        source,
    })?;
    let limited = std::io::Read::take(file, MAX_FILE_BYTES);
    let entries =
        ldif::parse(std::io::BufReader::with_capacity(1 << 16, limited)).map_err(|error| {
            FileError::Ldif {
                path: path.to_owned(),
                error,
            }
        })?;
    let contents = ldif::contents(entries, domain);
    if contents.objects.is_empty() {
        return Err(FileError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(contents)
}
