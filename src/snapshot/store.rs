//! The segments of one table: the one that is written, those before, and folding.
//!
//! Blocking.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::load::{self, Dropped, Link};
use super::row::Payload;
use super::segment::{self, Header, Writer};
use super::{Contents, SnapshotError, fold, rows};
use crate::access::TokenRecord;
use crate::identity::changes::{Changes, Instant};
use crate::identity::state::State;

/// The table's files.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// Segments that are complete, rising; the first is fresh.
    chain: Vec<Link>,
    open: Option<Open>,
    next_number: u64,
    /// The next segment, or the open one as long as it has no table, begins a table of its own.
    fresh: bool,
    /// Where the table stands after all that was added; `None`: that is a part of one only.
    instant: Option<Instant>,
    tokens: Vec<TokenRecord>,
    payload: Payload,
    /// What was added and not written.
    blocks: Vec<u8>,
    /// It ends with an instant.
    is_table: bool,
}

/// The segment that is written.
#[derive(Debug)]
struct Open {
    number: u64,
    writer: Writer,
    /// Where its last table ends.
    table_end: Option<u64>,
}

/// What a start finds.
#[derive(Debug)]
pub struct Opened {
    /// To write on.
    pub store: Store,
    /// The table; `None`: there was none.
    pub contents: Option<Contents>,
    /// What lay behind the table and does not count.
    pub dropped: Dropped,
}

/// What was written, to be taken by the disk.
#[derive(Debug)]
pub struct Syncing {
    file: File,
    synced: Synced,
}

/// What the disk has taken.
#[derive(Clone, Copy, Debug)]
pub struct Synced {
    /// The segment.
    number: u64,
    has_table: bool,
}

impl Syncing {
    /// Returns when the disk has it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn run(self) -> io::Result<Synced> {
        self.file.sync_data()?;
        Ok(self.synced)
    }
}

/// Segments to be folded, on any thread.
#[derive(Debug)]
pub struct Folding(Vec<Link>);

impl Folding {
    /// Folds them; the result goes to [`Store::folded`].
    ///
    /// # Errors
    /// What is there cannot be read, or the new one not be written; what is there counts as before.
    pub fn run(self) -> Result<Folded, SnapshotError> {
        let link = fold::fold(&self.0)?;
        Ok(Folded {
            link,
            replaced: self.0,
        })
    }
}

/// A table to be written in one file, on any thread, while none of its segments is folded.
#[derive(Debug)]
pub struct Exporting(Vec<Link>);

impl Exporting {
    /// Writes it in place of the file at `path`.
    ///
    /// # Errors
    /// What is there cannot be read, or the file not be written.
    pub fn run(self, path: &Path) -> Result<(), SnapshotError> {
        fold::export(&self.0, path)
    }
}

/// One segment in place of several.
#[derive(Debug)]
pub struct Folded {
    link: Link,
    replaced: Vec<Link>,
}

impl Store {
    /// Reads what a folder holds. Nothing is written before the first call that does.
    ///
    /// # Errors
    /// The files are no whole table, or cannot be read.
    pub fn open(folder: &Path) -> Result<Opened, SnapshotError> {
        let found = load::load(folder)?;
        // What is damaged may be looked at.
        for path in found.stale.iter().filter(|_| !found.dropped.is_damage) {
            remove(path)?;
        }
        let contents = found.contents.as_ref();
        Ok(Opened {
            store: Self {
                folder: folder.to_owned(),
                chain: found.chain,
                open: None,
                next_number: found.highest + 1,
                fresh: found.contents.is_none(),
                instant: contents.map(|contents| instant(&contents.state)),
                tokens: contents.map_or_else(Vec::new, |contents| contents.tokens.clone()),
                payload: Payload::default(),
                blocks: Vec::new(),
                is_table: false,
            },
            contents: found.contents,
            dropped: found.dropped,
        })
    }

    /// Forgets what was being written: the next segment begins a table of its own, and until it has one, what was safe
    /// before counts.
    pub fn start_over(&mut self) {
        if let Some(open) = self.open.take() {
            match open.table_end {
                Some(_) => self.chain.extend(open.link()),
                None => drop(std::fs::remove_file(open.writer.path())),
            }
        }
        self.fresh = true;
        self.instant = None;
        self.is_table = false;
        self.payload = Payload::default();
        self.blocks.clear();
        rows::write_tokens(&mut self.payload, &self.tokens);
    }

    /// Adds what changed; it is written by [`Store::write`] and safe after [`Store::sync`].
    pub fn add(&mut self, changes: &Changes) {
        self.instant = changes.instant;
        self.is_table = changes.instant.is_some();
        rows::write(&mut self.payload, changes);
        self.payload.take_block(&mut self.blocks);
    }

    /// Adds the access tokens in force, if they are others.
    pub fn add_tokens(&mut self, tokens: Vec<TokenRecord>) {
        if self.tokens == tokens {
            return;
        }
        rows::write_tokens(&mut self.payload, &tokens);
        self.tokens = tokens;
        // Where part of a table was added, its instant takes them in.
        if self.instant.is_some() {
            self.add_instant(false);
        }
    }

    /// Says whether the table is the last of a process that stopped in order.
    pub fn add_instant(&mut self, clean: bool) {
        if let Some(instant) = &self.instant {
            rows::write_instant(&mut self.payload, instant, clean);
            self.payload.take_block(&mut self.blocks);
            self.is_table = true;
        }
    }

    /// Marks the table as that of a process that runs: a crash before the next write must not pass for a clean stop.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn begin_run(&mut self) -> io::Result<()> {
        self.add_instant(false);
        self.write()?;
        self.sync()
    }

    /// Writes what was added, in a new segment if none is open.
    ///
    /// # Errors
    /// The disk refuses; [`Store::start_over`] is the way on.
    pub fn write(&mut self) -> io::Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let written = open.writer.append(&self.blocks);
        if written.is_ok() {
            self.blocks.clear();
            if self.is_table {
                open.table_end = Some(open.writer.end());
            }
        }
        self.open = Some(open);
        written
    }

    /// Returns when the disk has what was written.
    ///
    /// # Errors
    /// The disk refuses; [`Store::start_over`] is the way on.
    pub fn sync(&mut self) -> io::Result<()> {
        match self.syncing()? {
            Some(syncing) => self.synced(syncing.run()?),
            None => Ok(()),
        }
    }

    /// Has the disk take what was written so far, on any thread, while more is written; `None`: there is nothing. To be told
    /// of with [`Store::synced`] before the segments are folded.
    ///
    /// # Errors
    /// The system has no handle left.
    pub fn syncing(&self) -> io::Result<Option<Syncing>> {
        let Some(open) = &self.open else {
            return Ok(None);
        };
        Ok(Some(Syncing {
            file: open.writer.handle()?,
            synced: Synced {
                number: open.number,
                has_table: open.table_end.is_some(),
            },
        }))
    }

    /// Takes note of what the disk has.
    ///
    /// # Errors
    /// What does not count any more cannot be deleted.
    pub fn synced(&mut self, synced: Synced) -> io::Result<()> {
        let is_open = self.open.as_ref().map(|open| open.number) == Some(synced.number);
        if self.fresh && is_open && synced.has_table {
            self.fresh = false;
            // What is before a table of its own does not count any more.
            for link in self.chain.drain(..) {
                remove(&link.path)?;
            }
        }
        Ok(())
    }

    /// Bytes on the disk that count.
    pub fn bytes(&self) -> u64 {
        let chain: u64 = self.chain.iter().map(|link| link.end).sum();
        let open = self.open.as_ref();
        chain + open.map_or(0, |open| open.writer.end())
    }

    /// Whether [`Store::fold`] would fold, given that the disk has what was written.
    #[must_use]
    pub fn is_worth_folding(&self, least: u64) -> bool {
        let written = self.open.as_ref().map_or(0, |open| open.writer.end());
        let of_changes: u64 = self.chain.iter().skip(1).map(|link| link.end).sum();
        let base = self.chain.first().map_or(0, |link| link.end);
        // A table that is not folded at all yet counts as changes to nothing.
        of_changes + written >= least.max(base / 2)
    }

    /// The segments to be folded, if they have at least `least` bytes beside a folded one, and half as much as it: the open
    /// one is ended.
    pub fn fold(&mut self, least: u64) -> Option<Folding> {
        let open = self.open.as_ref()?;
        let end = open.table_end?;
        let (written, worth) = (open.writer.end(), self.is_worth_folding(least));
        if !worth || end != written || self.fresh {
            return None;
        }
        self.chain
            .extend(self.open.take().as_ref().and_then(Open::link));
        Some(Folding(self.chain.clone()))
    }

    /// The table as it was written last; `None`: what is there is no whole table.
    #[must_use]
    pub fn export(&self) -> Option<Exporting> {
        if self.fresh {
            return None;
        }
        let open = self.open.as_ref().and_then(Open::link);
        let chain: Vec<Link> = self.chain.iter().cloned().chain(open).collect();
        (!chain.is_empty()).then_some(Exporting(chain))
    }

    /// Takes note of what was folded, and deletes what it stands for.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn folded(&mut self, folded: Folded) -> io::Result<()> {
        // Whoever started over meanwhile has dropped the chain.
        if !self.chain.starts_with(&folded.replaced) {
            return Ok(());
        }
        let behind = self.chain.split_off(folded.replaced.len());
        self.chain = vec![folded.link.clone()];
        self.chain.extend(behind);
        for link in folded.replaced {
            if link.number != folded.link.number {
                remove(&link.path)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Open> {
        let number = self.next_number;
        let before = self.chain.last().filter(|_| !self.fresh);
        let header = Header {
            fresh: before.is_none(),
            mark: before.map_or(0, |link| link.stands_for),
        };
        let writer = Writer::create(segment::path(&self.folder, number), header)?;
        self.next_number += 1;
        Ok(Open {
            number,
            writer,
            table_end: None,
        })
    }
}

impl Open {
    /// The segment as one that is complete, if it has a table.
    fn link(&self) -> Option<Link> {
        let end = self.table_end?;
        Some(Link {
            number: self.number,
            path: self.writer.path().to_owned(),
            end,
            stands_for: end,
            is_folded: false,
        })
    }
}

/// Deletes a file; one that has gone already is as good.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Where a table stands.
fn instant(state: &State) -> Instant {
    Instant {
        epoch: state.epoch,
        last_seq: state.last_seq,
        floor: state.floor,
        now: state.now,
        jumped_to: state.jumped_to,
        feed_last: state.feed.last,
        feed_floor: state.feed.floor,
    }
}
