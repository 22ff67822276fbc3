//! From the rows of a chain to the table they hold, on several cores: reading a million rows is most of a start.
//!
//! Blocks are read from the last to the first. What a key holds is said by its last row, so rows that were written over
//! are not even decoded: a third of them, just before the chain is folded.

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use compact_str::CompactString;
use parking_lot::Mutex;

use super::load::Link;
use super::row::{Kind, Row, Rows};
use super::segment::{self, Block};
use super::{Contents, SnapshotError, rows};
use crate::access::TokenRecord;
use crate::identity::changes::{Change, Instant, SiteState};
use crate::identity::heard::{LineId, is_forgotten};
use crate::identity::state::{
    AddressState, FeedState, GoneState, LineState, MAX_PLACE, ObjectState, State, SubjectState,
};
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;

/// Most threads that read rows; more would wait for each other.
const MAX_READERS: usize = 4;

/// Reads all rows up to the end of each link's table.
pub(super) fn gather(chain: &[Link]) -> Result<Contents, SnapshotError> {
    let blocks = Blocks::of(chain)?;
    let gathered = Mutex::new(Gathered::default());
    let readers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let done = thread::scope(|scope| {
        let others = (1..readers.min(MAX_READERS)).filter_map(|_| {
            let reader = thread::Builder::new().name("reading the table".to_owned());
            // Whoever cannot have another thread reads alone.
            let started = reader.spawn_scoped(scope, || read_blocks(&blocks, &gathered));
            started.ok()
        });
        let others: Vec<_> = others.collect();
        let mine = read_blocks(&blocks, &gathered);
        others.into_iter().fold(mine, |done, other| {
            let other = other.join().unwrap_or_else(|_panic| Err(damaged("a row")));
            done.and(other)
        })
    });
    done.and_then(|()| gathered.into_inner().table.finish())
}

/// Reads blocks until there are no more.
fn read_blocks(blocks: &Blocks, gathered: &Mutex<Gathered>) -> Result<(), SnapshotError> {
    let mut payload = Vec::new();
    while let Some((number, (file, block))) = blocks.next() {
        if !block.read(file, &mut payload)? {
            return Err(damaged("a block"));
        }
        let rows: Result<Vec<_>, _> = Rows::of(&payload).collect();
        let mut rows = rows.map_err(|_no_row| damaged("a row"))?;
        {
            let gathered = gathered.lock();
            rows.retain(|row| !gathered.table.knows(row));
        }
        let told = Told::read(&rows)?;
        gathered.lock().take(number, told);
    }
    Ok(())
}

/// The blocks of a chain, the last first.
struct Blocks {
    files: Vec<(File, Vec<Block>)>,
    /// Which file, and which of its blocks.
    order: Vec<(usize, usize)>,
    /// How many were read.
    next: AtomicUsize,
}

impl Blocks {
    fn of(chain: &[Link]) -> Result<Self, SnapshotError> {
        let files = chain
            .iter()
            .map(|link| segment::blocks(&link.path, link.end))
            .collect::<Result<Vec<_>, _>>()?;
        let numbered = files.iter().enumerate();
        let order =
            numbered.flat_map(|(file, (_, blocks))| (0..blocks.len()).map(move |b| (file, b)));
        let mut order: Vec<_> = order.collect();
        order.reverse();
        Ok(Self {
            files,
            order,
            next: AtomicUsize::new(0),
        })
    }

    /// The next block, with its number from 0.
    fn next(&self) -> Option<(usize, (&File, Block))> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (file, block) = *self.order.get(number)?;
        let (file, blocks) = self.files.get(file)?;
        Some((number, (file, *blocks.get(block)?)))
    }
}

/// What the rows of a block say.
#[derive(Default)]
struct Told {
    changes: Vec<Change>,
    instant: Option<(Instant, bool)>,
    tokens: Option<Vec<TokenRecord>>,
}

impl Told {
    fn read(rows: &[Row<'_>]) -> Result<Self, SnapshotError> {
        let mut told = Self {
            changes: Vec::with_capacity(rows.len()),
            ..Self::default()
        };
        for row in rows {
            told.row(row)?;
        }
        Ok(told)
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), SnapshotError> {
        let value = row.value;
        let change = match row.kind {
            Kind::Instant => {
                self.instant = Some(rows::read_instant(needed(value)?)?);
                return Ok(());
            }
            Kind::Tokens => {
                self.tokens = Some(rows::read_tokens(needed(value)?)?);
                return Ok(());
            }
            Kind::Site => Change::Site(Box::new(rows::read_site(needed(value)?)?)),
            Kind::Subject => {
                Change::Subject(place(row)?, value.map(rows::read_subject).transpose()?)
            }
            Kind::Object => Change::Object(place(row)?, value.map(rows::read_object).transpose()?),
            Kind::Address => {
                Change::Address(place(row)?, value.map(rows::read_address).transpose()?)
            }
            Kind::Bookmark => {
                let key = std::str::from_utf8(row.key).map_err(|_| damaged("a key"))?;
                Change::Bookmark(key.into(), rows::read_bookmark(needed(value)?)?)
            }
            Kind::Mark => {
                let at = UtcMillis(i64::from_le_bytes(number(row)?));
                Change::Mark(at, value.map(rows::read_mark).transpose()?)
            }
            Kind::Gone => {
                let seq = Seq(u64::from_le_bytes(number(row)?));
                let gone = value.map(|value| rows::read_gone(seq, value));
                Change::Gone(seq, gone.transpose()?)
            }
            Kind::Line => {
                let key = rows::read_line_key(row.key)?;
                let line = value.map(|value| rows::read_line(key, value));
                Change::Line(key, line.transpose()?)
            }
        };
        self.changes.push(change);
        Ok(())
    }
}

/// The table as blocks say from one on, and blocks before it that somebody read sooner.
#[derive(Default)]
struct Gathered {
    table: Table,
    /// The number of the next block.
    next: usize,
    waiting: BTreeMap<usize, Told>,
}

impl Gathered {
    fn take(&mut self, number: usize, told: Told) {
        self.waiting.insert(number, told);
        while let Some(told) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.table.take(told);
        }
    }
}

/// What the last blocks say; where a key holds nothing, that is known as well.
#[derive(Default)]
struct Table {
    instant: Option<(Instant, bool)>,
    site: Option<SiteState>,
    subjects: Places<SubjectState>,
    objects: Places<ObjectState>,
    addresses: Places<AddressState>,
    bookmarks: BTreeMap<CompactString, Box<[u8]>>,
    marks: BTreeMap<UtcMillis, Option<Seq>>,
    gone: BTreeMap<Seq, Option<GoneState>>,
    lines: BTreeMap<(UtcMillis, LineId), Option<LineState>>,
    tokens: Option<Vec<TokenRecord>>,
}

impl Table {
    /// Whether a row was written over, as far as is known already.
    fn knows(&self, row: &Row<'_>) -> bool {
        let Ok(place) = place(row) else {
            return false;
        };
        match row.kind {
            Kind::Subject => self.subjects.knows(place),
            Kind::Object => self.objects.knows(place),
            Kind::Address => self.addresses.knows(place),
            _ => false,
        }
    }

    /// Takes what the block before says.
    fn take(&mut self, told: Told) {
        self.instant = self.instant.or(told.instant);
        self.tokens = self.tokens.take().or(told.tokens);
        for change in told.changes.into_iter().rev() {
            self.take_change(change);
        }
    }

    fn take_change(&mut self, change: Change) {
        match change {
            Change::Subject(place, subject) => self.subjects.put(place, subject),
            Change::Object(place, object) => self.objects.put(place, object),
            Change::Address(place, address) => self.addresses.put(place, address),
            Change::Bookmark(key, value) => {
                self.bookmarks.entry(key).or_insert(value);
            }
            Change::Mark(at, seq) => {
                self.marks.entry(at).or_insert(seq);
            }
            Change::Gone(seq, gone) => {
                self.gone.entry(seq).or_insert(gone);
            }
            Change::Line(key, line) => {
                let now = self.instant.and_then(|(instant, _)| instant.now);
                if now.is_none_or(|now| !is_forgotten(key.0, now)) {
                    self.lines.entry(key).or_insert(line);
                }
            }
            Change::Site(site) => {
                self.site.get_or_insert(*site);
            }
        }
    }

    fn finish(self) -> Result<Contents, SnapshotError> {
        let (instant, clean) = self.instant.ok_or(damaged("the end"))?;
        let site = self.site.unwrap_or_default();
        Ok(Contents {
            clean,
            tokens: self.tokens.unwrap_or_default(),
            state: State {
                epoch: instant.epoch,
                last_seq: instant.last_seq,
                floor: instant.floor,
                now: instant.now,
                jumped_to: instant.jumped_to,
                marks: (self.marks.into_iter())
                    .filter_map(|(at, seq)| Some((at, seq?)))
                    .collect(),
                domain_facts: site.domain_facts,
                producers: site.producers,
                subjects: self.subjects.rising(),
                objects: self.objects.rising(),
                readings: site.readings,
                addresses: self.addresses.rising(),
                bookmarks: self.bookmarks.into_iter().collect(),
                collectors: site.collectors,
                told_domains: site.told_domains,
                lines: self.lines.into_values().flatten().collect(),
                feed: FeedState {
                    on: site.feed_domains.is_some(),
                    last: instant.feed_last,
                    floor: instant.feed_floor,
                    domains: site.feed_domains.unwrap_or_default(),
                    gone: self.gone.into_values().flatten().collect(),
                },
            },
        })
    }
}

/// What each place holds (outer `None`: not known yet). The arena that comes of it has as many places, so this is no larger.
struct Places<T>(Vec<Option<Option<(u32, T)>>>);

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Places<T> {
    fn knows(&self, place: u32) -> bool {
        self.0.get(place as usize).is_some_and(Option::is_some)
    }

    /// Takes what a place holds, unless that is known.
    fn put(&mut self, place: u32, value: Option<T>) {
        let at = place as usize;
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        if let Some(held @ None) = self.0.get_mut(at) {
            *held = Some(value.map(|value| (place, value)));
        }
    }

    /// In the same memory, which `flatten` would not be: of a million addresses 0.2 s.
    fn rising(self) -> Vec<(u32, T)> {
        self.0.into_iter().filter_map(|held| held?).collect()
    }
}

fn damaged(what: &'static str) -> SnapshotError {
    SnapshotError::Content { what }
}

fn needed(value: Option<&[u8]>) -> Result<&[u8], SnapshotError> {
    value.ok_or(damaged("a row without a value"))
}

fn place(row: &Row<'_>) -> Result<u32, SnapshotError> {
    match u32::from_le_bytes(number(row)?) {
        place if place <= MAX_PLACE => Ok(place),
        _ => Err(damaged("a place")),
    }
}

fn number<const BYTES: usize>(row: &Row<'_>) -> Result<[u8; BYTES], SnapshotError> {
    row.key.try_into().map_err(|_| damaged("a key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_places_hold_stays_in_its_memory() {
        let mut places = Places::default();
        for place in [7, 2, 5] {
            places.put(place, Some(Box::new(place)));
        }
        places.put(5, Some(Box::new(0)));
        places.put(3, None);
        let before = places.0.as_ptr() as usize;
        let rising = places.rising();
        assert_eq!(
            rising,
            [(2, Box::new(2)), (5, Box::new(5)), (7, Box::new(7))]
        );
        assert_eq!(rising.as_ptr() as usize, before);
    }
}
