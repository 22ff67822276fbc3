//! From the segments to the table they hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compact_str::CompactString;

use super::row::{Kind, Row, Rows};
use super::segment::{self, Extent, Reader};
use super::{Contents, SnapshotError, rows};
use crate::access::TokenRecord;
use crate::identity::changes::{Instant, SiteState};
use crate::identity::heard::{LineId, is_forgotten};
use crate::identity::state::{
    AddressState, FeedState, GoneState, LineState, ObjectState, State, SubjectState,
};
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;

/// What was found in a folder.
#[derive(Debug)]
pub(super) struct Found {
    /// `None`: there is no table.
    pub(super) contents: Option<Contents>,
    /// The segments that make it up, rising.
    pub(super) chain: Vec<Link>,
    /// What lies behind the table and does not count.
    pub(super) dropped: Dropped,
    /// The highest number of any segment.
    pub(super) highest: u64,
    /// Segments that do not count.
    pub(super) stale: Vec<PathBuf>,
}

/// What lies behind the table and does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How much: what was being written when the process ended, or damage.
    pub bytes: u64,
    /// It is damage.
    pub is_damage: bool,
}

/// A segment that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Where its last table ends: rows behind do not count.
    pub(super) end: u64,
    /// Where the one behind says that it ends: of a folded segment the end of the one that it stands for.
    pub(super) stands_for: u64,
    /// It has no key twice, and no row that says that a key is no more.
    pub(super) is_folded: bool,
}

/// Reads the table of a folder.
pub(super) fn load(folder: &Path) -> Result<Found, SnapshotError> {
    let numbers = segment::list(folder)?;
    let (chain, dropped) = chain(folder, &numbers)?;
    let contents = if chain.is_empty() {
        None
    } else {
        let mut loader = Loader::default();
        for link in &chain {
            loader.take(link)?;
        }
        Some(loader.finish()?)
    };
    let counts = |number: &u64| chain.iter().any(|link| link.number == *number);
    let stale = numbers.iter().filter(|number| !counts(number));
    Ok(Found {
        contents,
        dropped,
        highest: numbers.last().copied().unwrap_or(0),
        stale: stale.map(|number| segment::path(folder, *number)).collect(),
        chain,
    })
}

/// The segments from the last fresh one that has a table, each going on where the table before ends.
fn chain(folder: &Path, numbers: &[u64]) -> Result<(Vec<Link>, Dropped), SnapshotError> {
    let mut chain: Vec<Link> = Vec::new();
    let mut dropped = Dropped::default();
    for &number in numbers {
        let path = segment::path(folder, number);
        let extent = match segment::look(&path) {
            Ok(extent) => extent,
            Err(SnapshotError::Begun) => continue,
            Err(error) => return Err(error),
        };
        let Extent {
            header,
            table_end: Some(end),
            size,
            is_damaged,
        } = extent
        else {
            dropped.bytes += extent.size;
            dropped.is_damage |= extent.is_damaged;
            continue;
        };
        dropped = Dropped {
            bytes: size - end,
            is_damage: is_damaged,
        };
        if header.fresh {
            chain.clear();
        } else if chain.last().map(|before| before.stands_for) != Some(header.mark) {
            return Err(SnapshotError::Gap { number });
        }
        let is_folded = header.fresh && header.mark > 0;
        let stands_for = if is_folded { header.mark } else { end };
        chain.push(Link {
            number,
            path,
            end,
            stands_for,
            is_folded,
        });
    }
    Ok((chain, dropped))
}

#[derive(Default)]
struct Loader {
    instant: Option<(Instant, bool)>,
    site: SiteState,
    subjects: Vec<(u32, Option<SubjectState>)>,
    objects: Vec<(u32, Option<ObjectState>)>,
    addresses: Vec<(u32, Option<AddressState>)>,
    bookmarks: BTreeMap<CompactString, Box<[u8]>>,
    marks: BTreeMap<UtcMillis, Seq>,
    gone: BTreeMap<Seq, GoneState>,
    lines: BTreeMap<(UtcMillis, LineId), LineState>,
    tokens: Vec<TokenRecord>,
}

impl Loader {
    fn take(&mut self, link: &Link) -> Result<(), SnapshotError> {
        let (mut reader, _header) = Reader::open(&link.path)?;
        while let Some((payload, end)) = reader.next()? {
            if end > link.end {
                break;
            }
            for row in Rows::of(payload) {
                let row = row.map_err(|_no_row| damaged("a row"))?;
                self.row(&row)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), SnapshotError> {
        let value = row.value;
        match row.kind {
            Kind::Instant => {
                self.instant = Some(rows::read_instant(needed(value)?)?);
                self.forget_lines();
            }
            Kind::Site => self.site = rows::read_site(needed(value)?)?,
            Kind::Tokens => self.tokens = rows::read_tokens(needed(value)?)?,
            Kind::Subject => {
                let subject = value.map(rows::read_subject).transpose()?;
                self.subjects.push((place(row)?, subject));
            }
            Kind::Object => {
                let object = value.map(rows::read_object).transpose()?;
                self.objects.push((place(row)?, object));
            }
            Kind::Address => {
                let address = value.map(rows::read_address).transpose()?;
                self.addresses.push((place(row)?, address));
            }
            Kind::Bookmark => {
                let key = std::str::from_utf8(row.key).map_err(|_| damaged("a key"))?;
                let value = rows::read_bookmark(needed(value)?)?;
                self.bookmarks.insert(key.into(), value);
            }
            Kind::Mark => {
                let at = UtcMillis(i64::from_le_bytes(number(row)?));
                match value {
                    Some(value) => self.marks.insert(at, rows::read_mark(value)?),
                    None => self.marks.remove(&at),
                };
            }
            Kind::Gone => {
                let seq = Seq(u64::from_le_bytes(number(row)?));
                match value {
                    Some(value) => self.gone.insert(seq, rows::read_gone(seq, value)?),
                    None => self.gone.remove(&seq),
                };
            }
            Kind::Line => {
                let key = rows::read_line_key(row.key)?;
                match value {
                    Some(value) => self.lines.insert(key, rows::read_line(key, value)?),
                    None => self.lines.remove(&key),
                };
            }
        }
        Ok(())
    }

    /// Forgets the lines that the table remembers no more.
    fn forget_lines(&mut self) {
        let now = self.instant.and_then(|(instant, _)| instant.now);
        while let (Some(now), Some(first)) = (now, self.lines.first_entry())
            && is_forgotten(first.key().0, now)
        {
            first.remove();
        }
    }

    fn finish(self) -> Result<Contents, SnapshotError> {
        let (instant, clean) = self.instant.ok_or(damaged("the end"))?;
        let site = self.site;
        Ok(Contents {
            clean,
            tokens: self.tokens,
            state: State {
                epoch: instant.epoch,
                last_seq: instant.last_seq,
                floor: instant.floor,
                now: instant.now,
                jumped_to: instant.jumped_to,
                marks: self.marks.into_iter().collect(),
                domain_facts: site.domain_facts,
                producers: site.producers,
                subjects: latest(self.subjects),
                objects: latest(self.objects),
                readings: site.readings,
                addresses: latest(self.addresses),
                bookmarks: self.bookmarks.into_iter().collect(),
                collectors: site.collectors,
                told_domains: site.told_domains,
                lines: self.lines.into_values().collect(),
                feed: FeedState {
                    on: site.feed_domains.is_some(),
                    last: instant.feed_last,
                    floor: instant.feed_floor,
                    domains: site.feed_domains.unwrap_or_default(),
                    gone: self.gone.into_values().collect(),
                },
            },
        })
    }
}

/// What each place holds last, rising.
fn latest<T>(mut rows: Vec<(u32, Option<T>)>) -> Vec<(u32, T)> {
    // Stable: rows of one place stay in the order in which they were written.
    rows.sort_by_key(|(place, _)| *place);
    let mut kept: Vec<(u32, T)> = Vec::with_capacity(rows.len());
    for (place, row) in rows {
        kept.pop_if(|(last, _)| *last == place);
        kept.extend(row.map(|row| (place, row)));
    }
    kept
}

fn damaged(what: &'static str) -> SnapshotError {
    SnapshotError::Content { what }
}

fn needed(value: Option<&[u8]>) -> Result<&[u8], SnapshotError> {
    value.ok_or(damaged("a row without a value"))
}

fn place(row: &Row<'_>) -> Result<u32, SnapshotError> {
    Ok(u32::from_le_bytes(number(row)?))
}

fn number<const BYTES: usize>(row: &Row<'_>) -> Result<[u8; BYTES], SnapshotError> {
    row.key.try_into().map_err(|_| damaged("a key"))
}
