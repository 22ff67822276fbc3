//! The files: one segment after the other, each begun anew at a start, a day and a size, and the oldest deleted.
//!
//! Blocking. What is written is what the caller hands in; that nothing is lost when the disk refuses is the caller's
//! business ([`super::keeper`]).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MAX_SEGMENT_BYTES;
use super::format::{self, Decoder, Encoder, Item};
use crate::identity::time::UtcMillis;

/// What a segment's name ends in.
const EXTENSION: &str = ".jh";

/// How a segment's name is written.
const NAME: &str = "%Y%m%dT%H%M%S%3fZ";

/// Most segments that are looked at; a gigabyte of full ones is 64.
const MAX_SEGMENTS: usize = 100_000;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A clock that says less has not been set: 2020, when there was no jims.
const YOUNGEST: UtcMillis = UtcMillis(1_577_836_800_000);

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
    /// Its place: later than that of every segment before, and than whatever ended in one of them.
    pub(super) order: UtcMillis,
    /// When it was begun, by the clock of then.
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
        let Some((order, begun)) = name.to_str().and_then(times) else {
            continue;
        };
        // Deleted meanwhile: not there.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_file() {
            found.push(Segment {
                order,
                begun,
                path: entry.path(),
                bytes: metadata.len(),
            });
        }
    }
    found.sort_by_key(|segment| segment.order);
    Ok(found)
}

/// The place of the segment of this name, and when it was begun.
fn times(name: &str) -> Option<(UtcMillis, UtcMillis)> {
    let stem = name.strip_suffix(EXTENSION)?;
    let (order, begun) = match stem.split_once('-') {
        Some((order, begun)) => (time(order)?, time(begun)?),
        None => (time(stem)?, time(stem)?),
    };
    // Only what we would write ourselves.
    (name_of(order, begun)? == name).then_some((order, begun))
}

fn time(text: &str) -> Option<UtcMillis> {
    let (seconds, millis) = text.strip_suffix('Z')?.split_at_checked(15)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", seconds).ok()?;
    let millis = (millis.len() == 3).then(|| millis.parse::<u16>().ok())??;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    Some(UtcMillis(time.as_millisecond() + i64::from(millis)))
}

fn name_of(order: UtcMillis, begun: UtcMillis) -> Option<String> {
    let written = |at: UtcMillis| {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(at.strftime(NAME).to_string())
    };
    let (order, begun) = (written(order)?, written(begun)?);
    Some(if order == begun {
        format!("{order}{EXTENSION}")
    } else {
        format!("{order}-{begun}{EXTENSION}")
    })
}

/// Whether a segment says when it was begun: not if the clock was ahead, or had not been set yet.
pub(super) fn is_dated(segment: &Segment, now: UtcMillis) -> bool {
    YOUNGEST <= segment.begun && segment.begun.0 <= now.0.saturating_add(DAY)
}

/// Writes segments into a folder.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    limits: Limits,
    open: Option<Open>,
    /// When the last session ended that was written; `None` before the first.
    newest: Option<UtcMillis>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    /// The day on which it was begun, by the clock of then.
    day: i64,
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
            newest: None,
        }
    }

    /// How much is kept.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// How much is kept from now on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Writes a block, in a new segment if the open one is full or of another day. It is safe on the disk then.
    ///
    /// # Errors
    /// Nothing was written; the open segment is left as it was before, and the next block begins another.
    pub(super) fn append(&mut self, items: &[Item], now: UtcMillis) -> io::Result<()> {
        let is_over = |open: &Open| open.bytes >= MAX_SEGMENT_BYTES || open.day != day(now);
        if self.open.as_ref().is_some_and(is_over) {
            self.close()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let open = self.begin(now)?;
                // What is over the limits goes when something is added; what cannot go does not keep it out.
                if let Err(error) = retain(&self.folder, &open.path, self.limits, now) {
                    tracing::warn!(%error, "old history cannot be deleted");
                }
                open
            }
        };
        if let Err(error) = open.write(items, now) {
            open.abandon();
            return Err(error);
        }
        self.open = Some(open);
        self.newest = newest(items).max(self.newest);
        Ok(())
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

    /// Has a new segment, without a block.
    #[cfg(test)]
    pub(super) fn begin_empty(&mut self, now: UtcMillis) -> io::Result<()> {
        self.open = Some(self.begin(now)?);
        Ok(())
    }

    /// Ends the open segment as after a write that failed.
    #[cfg(test)]
    pub(super) fn abandon(&mut self) {
        if let Some(open) = self.open.take() {
            open.abandon();
        }
    }

    /// Begins a segment whose name sorts behind all others and behind what ended in them, whatever the clock says.
    fn begin(&mut self, now: UtcMillis) -> io::Result<Open> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let last = segments(&self.folder)?.pop();
        if let (Some(last), None) = (&last, self.newest) {
            // Of an earlier run, whose clock may have been ahead.
            self.newest = newest_of(&last.path);
        }
        let next = |at: UtcMillis| UtcMillis(at.0.saturating_add(1));
        let last = last.map(|last| next(last.order));
        let behind = last.max(self.newest.map(next));
        let name = name_of(behind.map_or(now, |behind| behind.max(now)), now);
        // What ended may be nonsense; the names are ours.
        let name = name.or_else(|| name_of(last.map_or(now, |last| last.max(now)), now));
        let name = name.ok_or_else(|| io::Error::other("the clock is out of all bounds"))?;
        Open::new(&self.folder, &name, now)
    }
}

impl Open {
    /// The file with its header, safe in its folder.
    fn new(folder: &Path, name: &str, now: UtcMillis) -> io::Result<Self> {
        let path = folder.join(name);
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(&path)?;
        let mut open = Self {
            file,
            path,
            day: day(now),
            bytes: format::HEADER_BYTES as u64,
            encoder: Encoder::default(),
        };
        let written = open.file.write_all(&format::header());
        match written.and_then(|()| File::open(folder)?.sync_all()) {
            Ok(()) => Ok(open),
            Err(error) => {
                open.abandon();
                Err(error)
            }
        }
    }

    fn write(&mut self, items: &[Item], now: UtcMillis) -> io::Result<()> {
        let block = self.encoder.block(now, items);
        let block = block.ok_or_else(|| io::Error::other("a block cannot be written"))?;
        self.file.write_all(&block)?;
        self.file.sync_data()?;
        self.bytes += block.len() as u64;
        Ok(())
    }

    /// Ends it before the block that could not be written; nothing is left of one without blocks.
    fn abandon(self) {
        if self.bytes <= format::HEADER_BYTES as u64 {
            drop(fs::remove_file(&self.path));
        } else {
            // If that fails as well, the torn end is what a reader expects after a crash.
            drop(self.file.set_len(self.bytes));
        }
    }
}

fn day(at: UtcMillis) -> i64 {
    at.0.div_euclid(DAY)
}

/// When the last of these sessions ended.
fn newest(items: &[Item]) -> Option<UtcMillis> {
    let ended = items.iter().filter_map(|item| match item {
        Item::Session(ended) => Some(ended.ended),
        Item::Mark(_) => None,
    });
    ended.max()
}

/// When the last session of a segment ended, as far as it can be read.
fn newest_of(path: &Path) -> Option<UtcMillis> {
    let file = File::open(path).ok()?;
    let mut decoder = Decoder::new(BufReader::new(file)).ok()?;
    let mut found = None;
    while let Ok(Some(items)) = decoder.next() {
        found = newest(&items).max(found);
    }
    found
}

/// Deletes segments, the oldest first, never the open one nor the last, until the rest is within the limits.
fn retain(folder: &Path, open: &Path, limits: Limits, now: UtcMillis) -> io::Result<()> {
    let segments = segments(folder)?;
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let oldest = now.before(limits.max_age);
    let others = segments.len().saturating_sub(1);
    for (segment, over) in segments.iter().zip(overs(&segments, now)).take(others) {
        let is_old = over.is_some_and(|over| over < oldest);
        if segment.path == open || !(is_old || total > limits.max_size) {
            return Ok(());
        }
        fs::remove_file(&segment.path)?;
        total = total.saturating_sub(segment.bytes);
    }
    Ok(())
}

/// When nothing was added any more to each: when it or the next was begun, of those that say so.
fn overs(segments: &[Segment], now: UtcMillis) -> Vec<Option<UtcMillis>> {
    let mut next = None;
    let mut overs = Vec::with_capacity(segments.len());
    for segment in segments.iter().rev() {
        let begun = is_dated(segment, now).then_some(segment.begun);
        overs.push(next.map(|next| begun.map_or(next, |begun| begun.max(next))));
        next = begun.or(next);
    }
    overs.reverse();
    overs
}
