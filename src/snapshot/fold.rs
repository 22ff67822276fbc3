//! Makes one segment of several: the rows that were written over since are left out.
//!
//! Neither the table nor its rows are understood here, but for how old lines are; memory is bounded by how many rows the segments
//! behind a folded one have.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::load::Link;
use super::row::{Kind, Payload, Row, Rows};
use super::segment::{Header, Reader, Writer};
use super::{SnapshotError, rows};
use crate::identity::heard;
use crate::identity::time::UtcMillis;

/// A block of the folded segment has at least so many bytes, if there are.
const BLOCK_BYTES: usize = 1 << 20;

/// Which row it is that counts: of which link, where.
type Place = (usize, u64);

/// Folds a chain into its last segment, which replaces it; returns its bytes.
pub(super) fn fold(chain: &[Link]) -> Result<Link, SnapshotError> {
    let last = chain.last().ok_or(SnapshotError::Begun)?;
    let end = write(chain, &last.path, |_all| true)?;
    Ok(Link {
        end,
        is_folded: true,
        ..last.clone()
    })
}

/// Writes the table of a chain as one segment in place of the file at `path`, without what is this process's own: the access
/// tokens.
pub(super) fn export(chain: &[Link], path: &Path) -> Result<(), SnapshotError> {
    write(chain, path, |kind| kind != Kind::Tokens)?;
    Ok(())
}

/// Writes the rows that count of the kinds that are wanted as one segment in place of the file at `path`; returns its bytes.
fn write(chain: &[Link], path: &Path, wanted: impl Fn(Kind) -> bool) -> Result<u64, SnapshotError> {
    let last = chain.last().ok_or(SnapshotError::Begun)?;
    let (base, changes) = match chain.split_first() {
        Some((base, changes)) if base.is_folded => (Some(base), changes),
        _ => (None, chain),
    };
    let mut latest = Latest::default();
    let mut now = None;
    for (number, link) in changes.iter().enumerate() {
        each_row(link, |row, at| {
            if let (Kind::Instant, Some(value)) = (row.kind, row.value) {
                now = rows::read_instant(value)?.0.now;
            }
            latest.note(row, (number, at));
            Ok(())
        })?;
    }
    let header = Header {
        fresh: true,
        mark: last.stands_for,
    };
    let mut out = Out {
        writer: Writer::create(path.with_extension("new"), header)?,
        payload: Payload::default(),
        blocks: Vec::new(),
    };
    let mut instant = Payload::default();
    if let Some(base) = base {
        each_row(base, |row, _| match row.kind {
            Kind::Instant => {
                keep_instant(&mut instant, row);
                Ok(())
            }
            _ if latest.place_of(row).is_some() || !wanted(row.kind) => Ok(()),
            _ if is_forgotten(row, now)? => Ok(()),
            _ => out.row(row),
        })?;
    }
    for (number, link) in changes.iter().enumerate() {
        each_row(link, |row, at| match row.kind {
            Kind::Instant => {
                keep_instant(&mut instant, row);
                Ok(())
            }
            _ if latest.place_of(row) != Some((number, at)) || row.value.is_none() => Ok(()),
            _ if !wanted(row.kind) || is_forgotten(row, now)? => Ok(()),
            _ => out.row(row),
        })?;
    }
    out.end(instant, path)
}

/// Whether it is a line that the table remembers no more.
fn is_forgotten(row: &Row<'_>, now: Option<UtcMillis>) -> Result<bool, SnapshotError> {
    match (row.kind, now) {
        (Kind::Line, Some(now)) => {
            let (first, _) = rows::read_line_key(row.key)?;
            Ok(heard::is_forgotten(first, now))
        }
        _ => Ok(false),
    }
}

fn keep_instant(instant: &mut Payload, row: &Row<'_>) {
    *instant = Payload::default();
    instant.copy(row);
}

/// Calls with each row up to the end of the link's table, and where it stands.
fn each_row(
    link: &Link,
    mut with: impl FnMut(&Row<'_>, u64) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let (mut reader, _header) = Reader::open(&link.path)?;
    while let Some((payload, end)) = reader.next()? {
        if end > link.end {
            break;
        }
        let begin = end - payload.len() as u64;
        for row in Rows::of(payload) {
            let row = row.map_err(|_no_row| SnapshotError::Content { what: "a row" })?;
            with(&row, begin + row.at as u64)?;
        }
    }
    Ok(())
}

/// The last row of each key.
#[derive(Default)]
struct Latest {
    numbers: HashMap<(Kind, u64), Place>,
    texts: HashMap<(Kind, Box<[u8]>), Place>,
}

impl Latest {
    fn note(&mut self, row: &Row<'_>, place: Place) {
        match number(row) {
            Some(number) => self.numbers.insert((row.kind, number), place),
            None => self.texts.insert((row.kind, row.key.into()), place),
        };
    }

    fn place_of(&self, row: &Row<'_>) -> Option<Place> {
        match number(row) {
            Some(number) => self.numbers.get(&(row.kind, number)).copied(),
            None => self.texts.get(&(row.kind, row.key.into())).copied(),
        }
    }
}

/// The key as a number, where it is one: all of a kind have the same length.
fn number(row: &Row<'_>) -> Option<u64> {
    match (row.kind, row.key.len()) {
        (Kind::Bookmark, _) => None,
        (_, 4) => Some(u64::from(u32::from_le_bytes(row.key.try_into().ok()?))),
        (_, 8) => Some(u64::from_le_bytes(row.key.try_into().ok()?)),
        _ => None,
    }
}

/// The segment that is made.
struct Out {
    writer: Writer,
    payload: Payload,
    blocks: Vec<u8>,
}

impl Out {
    fn row(&mut self, row: &Row<'_>) -> Result<(), SnapshotError> {
        self.payload.copy(row);
        if self.payload.len() >= BLOCK_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.payload.take_block(&mut self.blocks);
        self.writer.append(&self.blocks)?;
        self.blocks.clear();
        Ok(())
    }

    /// Ends the segment and puts it where it belongs; returns its bytes.
    fn end(mut self, instant: Payload, path: &Path) -> Result<u64, SnapshotError> {
        self.write()?;
        self.payload = instant;
        self.write()?;
        self.writer.sync()?;
        std::fs::rename(self.writer.path(), path)?;
        if let Some(folder) = path.parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        Ok(self.writer.end())
    }
}
