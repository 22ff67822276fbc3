//! Who was where: reads segments until the question is answered, or its time or bytes are used up, and takes what is not
//! written yet from [`super::unwritten`].
//!
//! Blocking. Bounded in memory by one segment's names and [`Bounds::rows`]; a damaged segment costs what follows in it
//! and is named in the answer. Where it cannot be told whether something is missing, the answer has a hole: that nobody
//! was there is said only where it is known.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufReader, Read};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::format::{Damage, Decoder, Item, Mark};
use super::log::{Segment, is_dated};
use crate::identity::ended::Ended;
use crate::identity::state::SubjectKind;
use crate::identity::time::UtcMillis;
use crate::runtime::clock;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 18;

/// Holes and damaged segments that are named in one answer.
const MAX_NAMED: usize = 8;

/// How much later than the end in order the table of the next start may be, if nothing ran in between.
const MAX_LATER: Duration = Duration::from_secs(30);

/// Whose sessions are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Of whoever was at an address.
    At(IpAddr),
    /// Of users and devices: names and, where they are given, domains. Compared without case; a domain may be the DNS
    /// domain or its first label.
    Named(Vec<(String, Option<String>)>),
}

impl Whom {
    /// Whether it is one of theirs.
    pub(super) fn is(&self, ended: &Ended) -> bool {
        let is_named = |(name, domain): &(String, Option<String>)| {
            let mut domain = domain.iter();
            same(name, &ended.name) && domain.all(|domain| is_domain(domain, &ended.domain))
        };
        match self {
            Self::At(address) => ended.address == *address,
            Self::Named(names) => names.iter().any(is_named),
        }
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

fn is_domain(meant: &str, domain: &str) -> bool {
    let label = domain.split_once('.').map_or(domain, |(label, _)| label);
    same(meant, domain) || same(meant, label)
}

/// How much a search may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sessions in the answer.
    pub rows: usize,
    /// Bytes read.
    pub bytes: u64,
    /// When to stop.
    pub until: Instant,
    /// The wall clock: a segment that was begun later does not say when.
    pub now: UtcMillis,
}

/// A time of which the history does not know everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// From when.
    pub from: UtcMillis,
    /// To when.
    pub until: UtcMillis,
    /// Why.
    pub why: HoleKind,
}

/// Why the history does not know everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoleKind {
    /// The process did not run: nobody was heard.
    Stopped,
    /// The process ended without order, or its last table was not saved: some sessions that began or ended then are not
    /// known.
    Crashed,
    /// The history was off: sessions that ended then are not known.
    Off,
    /// The disk could not follow: so many sessions that ended then are not known.
    Lost(u64),
}

/// What a search brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Sessions; each once.
    pub ended: Vec<Ended>,
    /// What touches the instant that was asked for.
    pub holes: Vec<Hole>,
    /// Since when anything is known at all; `None`: there is no history.
    pub begins: Option<UtcMillis>,
    /// Segments that could not be read to their end, with the reason.
    pub damaged: Vec<String>,
    /// Whether there is more than [`Bounds::rows`].
    pub truncated: bool,
    /// Whether bytes or time were used up before all was read.
    pub unfinished: bool,
}

/// The segments of the folder, the oldest first; or why they are not known.
pub(super) type Listed = Result<Vec<Segment>, String>;

/// Whether a session had begun by then, and was ended here only later.
pub(super) fn covers(ended: &Ended, at: UtcMillis) -> bool {
    ended.since <= at && at < ended.ended
}

/// Who was there at an instant; `unwritten` is what waited before the segments were listed.
pub(super) fn at(
    listed: Listed,
    unwritten: Vec<Item>,
    whom: &Whom,
    at: UtcMillis,
    bounds: Bounds,
) -> Found {
    let mut search = Search::new(whom, bounds);
    let segments = search.segments(listed, &unwritten);
    let mut marks = Marks::new(at);
    // Written meanwhile: a mark counts once.
    let mut twice: Vec<Mark> = Vec::new();
    let in_memory = |mark: &Mark| unwritten.contains(&Item::Mark(*mark));
    let nexts = segments.iter().skip(1).map(Some).chain([None]);
    for (segment, next) in segments.iter().zip(nexts) {
        if next.is_some_and(|next| next.order <= at) {
            continue;
        }
        let goes_on = search.read(segment, next, |search, item| {
            if let Item::Mark(mark) = &item
                && in_memory(mark)
            {
                twice.push(*mark);
            }
            search.pass(item, at, &mut marks);
        });
        if !goes_on {
            break;
        }
    }
    let is_new = |item: &Item| !matches!(item, Item::Mark(mark) if twice.contains(mark));
    for item in unwritten.into_iter().filter(is_new) {
        search.pass(item, at, &mut marks);
    }
    search.found.holes = marks.holes();
    search.found.ended = search.rows();
    search.found
}

/// The last sessions that ended, the latest first.
pub(super) fn last(listed: Listed, unwritten: Vec<Item>, whom: &Whom, bounds: Bounds) -> Found {
    let mut search = Search::new(whom, bounds);
    let segments = search.segments(listed, &unwritten);
    let mut found: Vec<Ended> = Vec::new();
    for item in unwritten.into_iter().rev() {
        if let Item::Session(ended) = item {
            found.push(ended);
        }
    }
    let waiting = found.len();
    for segment in segments.iter().rev() {
        if found.len() >= bounds.rows {
            break;
        }
        let mut newest = VecDeque::new();
        let goes_on = search.read(segment, None, |search, item| {
            if let Item::Session(ended) = item
                && search.whom.is(&ended)
                // Written meanwhile.
                && !found.iter().take(waiting).any(|known| *known == ended)
            {
                if newest.len() >= search.bounds.rows {
                    newest.pop_front();
                }
                newest.push_back(ended);
            }
        });
        found.extend(newest.into_iter().rev());
        if !goes_on {
            break;
        }
    }
    found.truncate(bounds.rows);
    search.found.ended = found;
    search.found
}

struct Search<'a> {
    whom: &'a Whom,
    bounds: Bounds,
    read: u64,
    kept: HashMap<Key, Ended>,
    found: Found,
}

/// One session: after a crash it may have ended twice.
type Key = (IpAddr, SubjectKind, String, UtcMillis);

impl<'a> Search<'a> {
    fn new(whom: &'a Whom, bounds: Bounds) -> Self {
        Self {
            whom,
            bounds,
            read: 0,
            kept: HashMap::new(),
            found: Found::default(),
        }
    }

    fn segments(&mut self, listed: Listed, unwritten: &[Item]) -> Vec<Segment> {
        let segments = listed.unwrap_or_else(|error| {
            self.found.damaged.push(error);
            Vec::new()
        });
        let now = self.bounds.now;
        let dated = segments.iter().find(|segment| is_dated(segment, now));
        let first = dated.or(segments.first()).map(|segment| segment.begun);
        let started = unwritten.iter().find_map(|item| match item {
            Item::Mark(Mark::Start { at, .. }) => Some(UtcMillis(*at)),
            _ => None,
        });
        self.found.begins = first.or(started);
        segments
    }

    /// Hands on every item of a segment that was there when it was listed; whether there is time and room for another one.
    fn read(
        &mut self,
        segment: &Segment,
        next: Option<&Segment>,
        mut pass: impl FnMut(&mut Self, Item),
    ) -> bool {
        let opened = File::open(&segment.path).map_err(Damage::Unreadable);
        let decoder = opened.and_then(|file| {
            let listed = file.take(segment.bytes);
            Decoder::new(BufReader::with_capacity(READ_BYTES, listed))
        });
        let mut decoder = match decoder {
            Ok(decoder) => decoder,
            // Too old by now, and deleted: what is known begins later.
            Err(Damage::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let begins = next.map_or(self.bounds.now, |next| next.begun);
                self.found.begins = self.found.begins.max(Some(begins));
                return true;
            }
            Err(damage) => {
                self.damaged(segment, &damage);
                return true;
            }
        };
        loop {
            let used = self.read.saturating_add(decoder.read);
            if used > self.bounds.bytes || clock::monotonic_now() >= self.bounds.until {
                self.found.unfinished = true;
                return false;
            }
            match decoder.next() {
                Ok(Some(items)) => items.into_iter().for_each(|item| pass(self, item)),
                Ok(None) => break,
                Err(damage) => {
                    self.damaged(segment, &damage);
                    break;
                }
            }
        }
        self.read = self.read.saturating_add(decoder.read);
        true
    }

    fn damaged(&mut self, segment: &Segment, damage: &Damage) {
        let name = segment.path.file_name().unwrap_or_default();
        if self.found.damaged.len() < MAX_NAMED {
            let said = format!("{}: {damage}", name.display());
            self.found.damaged.push(said);
        }
    }

    /// Keeps a session if it is one that is looked for.
    fn pass(&mut self, item: Item, at: UtcMillis, marks: &mut Marks) {
        match item {
            Item::Mark(mark) => marks.pass(mark),
            Item::Session(ended) => {
                marks.last = Some(ended.ended);
                if covers(&ended, at) && self.whom.is(&ended) {
                    self.keep(ended);
                }
            }
        }
    }

    /// Keeps a session, or its later end.
    fn keep(&mut self, ended: Ended) {
        let name = format!("{}\\{}", ended.domain, ended.name).to_lowercase();
        let key = (ended.address, ended.kind, name, ended.since);
        if self.kept.len() < self.bounds.rows || self.kept.contains_key(&key) {
            self.kept.insert(key, ended);
        } else {
            self.found.truncated = true;
        }
    }

    fn rows(&mut self) -> Vec<Ended> {
        let mut rows: Vec<Ended> = std::mem::take(&mut self.kept).into_values().collect();
        // The names last, so that the order is the same each time.
        rows.sort_by(|a, b| {
            let key = |ended: &Ended| (ended.address, ended.kind, ended.since, ended.ended);
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        rows
    }
}

/// What marks say of an instant.
struct Marks {
    at: UtcMillis,
    /// The end of what was kept before, if that was said.
    over: Option<(UtcMillis, HoleKind)>,
    /// Until then all that ended is kept: sessions are written in the order in which they end. A gap says nothing, because
    /// what still waited then ended before what was lost.
    last: Option<UtcMillis>,
    holes: Vec<Hole>,
}

impl Marks {
    fn new(at: UtcMillis) -> Self {
        Self {
            at,
            over: None,
            last: None,
            holes: Vec::new(),
        }
    }

    fn pass(&mut self, mark: Mark) {
        match mark {
            Mark::Stop { at } => self.over = Some((UtcMillis(at), HoleKind::Stopped)),
            Mark::Off { at } => self.over = Some((UtcMillis(at), HoleKind::Off)),
            Mark::Start { at, table_of } => {
                let table = table_of.map_or(UtcMillis(i64::MIN), UtcMillis);
                self.started(UtcMillis(at), table);
                self.last = Some(UtcMillis(at));
            }
            Mark::Gap { from, until, lost } => {
                self.ended(UtcMillis(from), UtcMillis(until), HoleKind::Lost(lost));
            }
        }
    }

    /// The history goes on at `started`, with a table of an earlier instant.
    fn started(&mut self, started: UtcMillis, table: UtcMillis) {
        match (self.over.take(), self.last) {
            (Some((stopped, HoleKind::Stopped)), _) => {
                if table > stopped.after(MAX_LATER) {
                    // Somebody ran in between who wrote nothing.
                    self.ended(stopped, started, HoleKind::Crashed);
                } else if table < stopped {
                    self.began(table, stopped, HoleKind::Crashed);
                }
                self.began(stopped, started, HoleKind::Stopped);
            }
            (Some((off, why)), _) => self.ended(off, started, why),
            // The table knew sessions that ended later than what was written: of some the end is lost.
            (None, Some(last)) if last <= table => self.ended(last, started, HoleKind::Crashed),
            (None, Some(_)) => self.began(table, started, HoleKind::Crashed),
            // The first of all: that is said by when the history begins.
            (None, None) => {}
        }
    }

    /// Who began in this hole may have been there from then on.
    fn began(&mut self, from: UtcMillis, until: UtcMillis, why: HoleKind) {
        if from <= self.at && self.at < until {
            self.holes.push(Hole { from, until, why });
        }
    }

    /// Who ended in this hole may have been there at any time before.
    fn ended(&mut self, from: UtcMillis, until: UtcMillis, why: HoleKind) {
        let until = until.max(from);
        if self.at <= until {
            self.holes.push(Hole { from, until, why });
        }
    }

    fn holes(mut self) -> Vec<Hole> {
        if let Some((from, HoleKind::Off)) = self.over {
            self.ended(from, UtcMillis(i64::MAX), HoleKind::Off);
        }
        self.holes.truncate(MAX_NAMED);
        self.holes
    }
}

/// Whether the last thing a history says is that it is off.
pub(super) fn ends_off(last: &Segment) -> bool {
    let whom = Whom::Named(Vec::new());
    let bounds = Bounds {
        rows: 0,
        bytes: u64::MAX,
        until: clock::monotonic_now() + Duration::from_secs(5),
        now: clock::utc_now(),
    };
    let mut is_off = false;
    Search::new(&whom, bounds).read(last, None, |_, item| {
        is_off = matches!(item, Item::Mark(Mark::Off { .. }));
    });
    is_off
}
