//! The files: one segment after the other, each begun anew at a start, a day and a size, and the oldest deleted.
//!
//! Blocking. What is written is what the caller hands in; that nothing is lost when the disk refuses is the caller's
//! business ([`super::keeper`]).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MAX_SEGMENT_BYTES;
use super::format::{self, Encoder, Item};
use crate::identity::time::UtcMillis;

/// What a segment's name ends in.
const EXTENSION: &str = ".jh";

/// How a segment's name is written.
const NAME: &str = "%Y%m%dT%H%M%S%3fZ";

/// Most segments that are looked at; a gigabyte of full ones is 64.
const MAX_SEGMENTS: usize = 100_000;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long.
    pub max_age: Duration,
    /// All segments together, in bytes; the open one may go beyond.
    pub max_size: u64,
}

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// When it was begun: nothing in it ended later than the next one was begun.
    pub(super) begun: UtcMillis,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// The segments of a folder, the oldest first; none if there is no folder.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.take(MAX_SEGMENTS) {
        let entry = entry?;
        let name = entry.file_name();
        let Some(begun) = name.to_str().and_then(begun) else {
            continue;
        };
        // Deleted meanwhile: not there.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_file() {
            found.push(Segment {
                begun,
                path: entry.path(),
                bytes: metadata.len(),
            });
        }
    }
    found.sort_by_key(|segment| segment.begun);
    Ok(found)
}

/// When the segment of this name was begun.
fn begun(name: &str) -> Option<UtcMillis> {
    let stem = name.strip_suffix(EXTENSION)?;
    let (seconds, millis) = stem.strip_suffix('Z')?.split_at_checked(15)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", seconds).ok()?;
    let millis = (millis.len() == 3).then(|| millis.parse::<u16>().ok())??;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    let at = time.as_millisecond() + i64::from(millis);
    // Only what we would write ourselves.
    (name_of(UtcMillis(at))? == name).then_some(UtcMillis(at))
}

fn name_of(at: UtcMillis) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
    Some(format!("{}{EXTENSION}", at.strftime(NAME)))
}

/// Writes segments into a folder.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    limits: Limits,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    begun: UtcMillis,
    bytes: u64,
    encoder: Encoder,
}

impl Log {
    /// Nothing is touched before the first write.
    pub(super) fn new(folder: PathBuf, limits: Limits) -> Self {
        Self {
            folder,
            limits,
            open: None,
        }
    }

    /// How much is kept.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Writes a block, in a new segment if the open one is full or of another day.
    ///
    /// # Errors
    /// Nothing was written; the open segment is left as it was before, and the next block begins another.
    pub(super) fn append(&mut self, items: &[Item], now: UtcMillis) -> io::Result<()> {
        let is_over = |open: &Open| {
            open.bytes >= MAX_SEGMENT_BYTES || open.begun.0.div_euclid(DAY) < now.0.div_euclid(DAY)
        };
        if self.open.as_ref().is_some_and(is_over) {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = begin(&self.folder, now)?;
                let open = self.open.insert(open);
                // What is over the limits goes when something is added.
                retain(&self.folder, &open.path, self.limits, now)?;
                open
            }
        };
        let written = open.write(items, now);
        if written.is_err() {
            self.abandon();
        }
        written
    }

    /// Deletes what is older or more than the limits say.
    ///
    /// # Errors
    /// The folder cannot be read, or something cannot be deleted.
    pub(super) fn retain(&mut self, limits: Limits, now: UtcMillis) -> io::Result<()> {
        self.limits = limits;
        let open = self.open.as_ref().map(|open| open.path.clone());
        retain(&self.folder, &open.unwrap_or_default(), limits, now)
    }

    /// Ends the open segment, safe on the disk.
    ///
    /// # Errors
    /// The disk did not take it.
    pub(super) fn close(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some(open) => open.file.sync_all(),
            None => Ok(()),
        }
    }

    /// Ends the open segment before the block that could not be written.
    fn abandon(&mut self) {
        if let Some(open) = self.open.take() {
            // If that fails as well, the torn end is what a reader expects after a crash.
            drop(open.file.set_len(open.bytes));
        }
    }
}

impl Open {
    fn write(&mut self, items: &[Item], now: UtcMillis) -> io::Result<()> {
        let block = self.encoder.block(now, items);
        let block = block.ok_or_else(|| io::Error::other("a block cannot be written"))?;
        self.file.write_all(&block)?;
        self.bytes += block.len() as u64;
        Ok(())
    }
}

/// Begins a segment whose name sorts behind all others, whatever the clock says.
fn begin(folder: &Path, now: UtcMillis) -> io::Result<Open> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let last = segments(folder)?.last().map(|segment| segment.begun);
    let after = last.map(|last| UtcMillis(last.0.saturating_add(1)));
    let begun = after.map_or(now, |after| after.max(now));
    let name = name_of(begun).ok_or_else(|| io::Error::other("the clock is out of all bounds"))?;
    let path = folder.join(name);
    let mut file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(&path)?;
    if let Err(error) = file.write_all(&format::header()) {
        drop(fs::remove_file(&path));
        return Err(error);
    }
    Ok(Open {
        file,
        path,
        begun,
        bytes: format::HEADER_BYTES as u64,
        encoder: Encoder::default(),
    })
}

/// Deletes segments, the oldest first, never the open one, until the rest is within the limits.
fn retain(folder: &Path, open: &Path, limits: Limits, now: UtcMillis) -> io::Result<()> {
    let segments = segments(folder)?;
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let oldest = now.before(limits.max_age);
    let nexts = segments.iter().skip(1).map(|next| next.begun);
    for (segment, next) in segments.iter().zip(nexts) {
        // Everything in it ended before the next was begun.
        let is_old = next < oldest;
        if segment.path == open || !(is_old || total > limits.max_size) {
            return Ok(());
        }
        fs::remove_file(&segment.path)?;
        total = total.saturating_sub(segment.bytes);
    }
    Ok(())
}
