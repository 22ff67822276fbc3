//! From the rows of a chain to the table they hold, on several cores: reading a million rows is most of a start.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread;

use compact_str::CompactString;
use parking_lot::Mutex;

use super::load::Link;
use super::row::{Kind, Row, Rows};
use super::segment::{Block, Reader};
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
    let blocks = Mutex::new(Blocks::of(chain));
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
fn read_blocks(
    blocks: &Mutex<Blocks<'_>>,
    gathered: &Mutex<Gathered>,
) -> Result<(), SnapshotError> {
    let mut payload = Vec::new();
    loop {
        let Some((number, block)) = blocks.lock().next(&mut payload)? else {
            return Ok(());
        };
        if !block.is_whole(&payload) {
            return Err(damaged("a block"));
        }
        let told = Told::read(&payload)?;
        gathered.lock().take(number, told);
    }
}

/// The blocks of a chain, in order.
struct Blocks<'a> {
    links: std::slice::Iter<'a, Link>,
    /// The link that is read, and where its table ends.
    open: Option<(Reader, u64)>,
    /// Blocks that were read.
    count: usize,
}

impl<'a> Blocks<'a> {
    fn of(chain: &'a [Link]) -> Self {
        Self {
            links: chain.iter(),
            open: None,
            count: 0,
        }
    }

    /// Reads the next block; with its number, from 0.
    fn next(&mut self, payload: &mut Vec<u8>) -> Result<Option<(usize, Block)>, SnapshotError> {
        loop {
            if let Some((reader, end)) = &mut self.open
                && let Some(block) = reader.read(payload)?
                && block.end <= *end
            {
                let number = self.count;
                self.count += 1;
                return Ok(Some((number, block)));
            }
            let Some(link) = self.links.next() else {
                self.open = None;
                return Ok(None);
            };
            self.open = Some((Reader::open(&link.path)?.0, link.end));
        }
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
    fn read(payload: &[u8]) -> Result<Self, SnapshotError> {
        let mut told = Self::default();
        for row in Rows::of(payload) {
            told.row(&row.map_err(|_no_row| damaged("a row"))?)?;
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

/// The table up to a block, and blocks behind it that somebody read sooner.
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

#[derive(Default)]
struct Table {
    instant: Option<(Instant, bool)>,
    site: SiteState,
    subjects: Places<SubjectState>,
    objects: Places<ObjectState>,
    addresses: Places<AddressState>,
    bookmarks: BTreeMap<CompactString, Box<[u8]>>,
    marks: BTreeMap<UtcMillis, Seq>,
    gone: BTreeMap<Seq, GoneState>,
    lines: BTreeMap<(UtcMillis, LineId), LineState>,
    tokens: Vec<TokenRecord>,
}

impl Table {
    fn take(&mut self, told: Told) {
        self.instant = told.instant.or(self.instant);
        if let Some(tokens) = told.tokens {
            self.tokens = tokens;
        }
        for change in told.changes {
            match change {
                Change::Subject(place, subject) => self.subjects.put(place, subject),
                Change::Object(place, object) => self.objects.put(place, object),
                Change::Address(place, address) => self.addresses.put(place, address),
                Change::Bookmark(key, value) => {
                    self.bookmarks.insert(key, value);
                }
                Change::Mark(at, Some(seq)) => {
                    self.marks.insert(at, seq);
                }
                Change::Mark(at, None) => {
                    self.marks.remove(&at);
                }
                Change::Gone(seq, Some(gone)) => {
                    self.gone.insert(seq, gone);
                }
                Change::Gone(seq, None) => {
                    self.gone.remove(&seq);
                }
                Change::Line(key, Some(line)) => {
                    self.lines.insert(key, line);
                }
                Change::Line(key, None) => {
                    self.lines.remove(&key);
                }
                Change::Site(site) => self.site = *site,
            }
        }
        if told.instant.is_some() {
            self.forget_lines();
        }
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
                subjects: self.subjects.rising(),
                objects: self.objects.rising(),
                readings: site.readings,
                addresses: self.addresses.rising(),
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

/// What each place holds last. The arena that comes of it has as many places, so this is no larger.
struct Places<T>(Vec<Option<(u32, T)>>);

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Places<T> {
    fn put(&mut self, place: u32, value: Option<T>) {
        let at = place as usize;
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        if let Some(held) = self.0.get_mut(at) {
            *held = value.map(|value| (place, value));
        }
    }

    /// In the same memory.
    fn rising(self) -> Vec<(u32, T)> {
        self.0.into_iter().flatten().collect()
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
