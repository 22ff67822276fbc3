//! Who was where: reads segments until the question is answered, or its time or bytes are used up.
//!
//! Blocking. Bounded in memory by one segment's names and [`Bounds::rows`]; a damaged segment costs what follows in it
//! and is named in the answer.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use super::format::{Damage, Decoder, Item, Mark};
use super::log::{Segment, segments};
use crate::identity::ended::Ended;
use crate::identity::state::SubjectKind;
use crate::identity::time::UtcMillis;
use crate::runtime::clock;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 18;

/// Holes and damaged segments that are named in one answer.
const MAX_NAMED: usize = 8;

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
    fn is(&self, ended: &Ended) -> bool {
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
    /// The process ended without order: sessions that began then are not known.
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
    /// Whether there may be more: rows, bytes or time were used up.
    pub truncated: bool,
}

/// Who was there at an instant: sessions that had begun, and were ended here only later.
pub(super) fn at(folder: &Path, whom: &Whom, at: UtcMillis, bounds: Bounds) -> Found {
    let mut search = Search::new(whom, bounds);
    let Some(segments) = search.segments(folder) else {
        return search.found;
    };
    let mut marks = Marks::new(at);
    let nexts = segments.iter().skip(1).map(|next| Some(next.begun));
    for (segment, next) in segments.iter().zip(nexts.chain([None])) {
        if next.is_some_and(|next| next <= at) {
            continue;
        }
        let goes_on = search.read(segment, |search, item| match item {
            Item::Mark(mark) => marks.pass(mark),
            Item::Session(ended) => {
                if ended.since <= at && at < ended.ended && search.whom.is(&ended) {
                    search.keep(ended);
                }
            }
        });
        if !goes_on {
            break;
        }
    }
    search.found.holes = marks.holes();
    if search.found.begins.is_none_or(|begins| at < begins) {
        // That is said by when it begins.
        let is_start = |hole: &Hole| hole.why == HoleKind::Crashed;
        search.found.holes.retain(|hole| !is_start(hole));
    }
    search.found.ended = search.rows();
    search.found
}

/// The last sessions that ended, the latest first.
pub(super) fn last(folder: &Path, whom: &Whom, bounds: Bounds) -> Found {
    let mut search = Search::new(whom, bounds);
    let Some(segments) = search.segments(folder) else {
        return search.found;
    };
    let mut found: Vec<Ended> = Vec::new();
    for segment in segments.iter().rev() {
        let mut newest = VecDeque::new();
        let goes_on = search.read(segment, |search, item| {
            if let Item::Session(ended) = item
                && search.whom.is(&ended)
            {
                if newest.len() >= search.bounds.rows {
                    newest.pop_front();
                }
                newest.push_back(ended);
            }
        });
        found.extend(newest.into_iter().rev());
        if found.len() >= bounds.rows || !goes_on {
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

    fn segments(&mut self, folder: &Path) -> Option<Vec<Segment>> {
        match segments(folder) {
            Ok(segments) => {
                self.found.begins = segments.first().map(|segment| segment.begun);
                Some(segments)
            }
            Err(error) => {
                self.found
                    .damaged
                    .push(format!("{}: {error}", folder.display()));
                None
            }
        }
    }

    /// Hands on every item of a segment; whether there is time and room for another one.
    fn read(&mut self, segment: &Segment, mut pass: impl FnMut(&mut Self, Item)) -> bool {
        let opened = File::open(&segment.path).map_err(Damage::Unreadable);
        let decoder =
            opened.and_then(|file| Decoder::new(BufReader::with_capacity(READ_BYTES, file)));
        let mut decoder = match decoder {
            Ok(decoder) => decoder,
            // Too old by now, and deleted.
            Err(Damage::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotFound => {
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
                self.found.truncated = true;
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
    holes: Vec<Hole>,
}

impl Marks {
    fn new(at: UtcMillis) -> Self {
        Self {
            at,
            over: None,
            holes: Vec::new(),
        }
    }

    fn pass(&mut self, mark: Mark) {
        let hole = match mark {
            Mark::Stop { at } => {
                self.over = Some((UtcMillis(at), HoleKind::Stopped));
                None
            }
            Mark::Off { at } => {
                self.over = Some((UtcMillis(at), HoleKind::Off));
                None
            }
            Mark::Start { at, table_of } => {
                let started = UtcMillis(at);
                match self.over.take() {
                    Some((from, why)) => Some((from, started, why)),
                    None => Some((
                        table_of.map_or(UtcMillis(i64::MIN), UtcMillis),
                        started,
                        HoleKind::Crashed,
                    )),
                }
            }
            Mark::Gap { from, until, lost } => {
                Some((UtcMillis(from), UtcMillis(until), HoleKind::Lost(lost)))
            }
        };
        if let Some((from, until, why)) = hole {
            self.add(Hole { from, until, why });
        }
    }

    fn add(&mut self, hole: Hole) {
        // Who ended in a hole may have been there at any time before; who began in one, from then on.
        let touches = match hole.why {
            HoleKind::Stopped | HoleKind::Crashed => hole.from <= self.at && self.at < hole.until,
            HoleKind::Off | HoleKind::Lost(_) => self.at <= hole.until,
        };
        if touches && hole.from < hole.until.after(std::time::Duration::from_millis(1)) {
            self.holes.push(hole);
        }
    }

    fn holes(mut self) -> Vec<Hole> {
        if let Some((from, HoleKind::Off)) = self.over {
            let until = UtcMillis(i64::MAX);
            self.add(Hole {
                from,
                until,
                why: HoleKind::Off,
            });
        }
        self.holes.truncate(MAX_NAMED);
        self.holes
    }
}

/// Whether the last thing a history says is that it is off.
pub(super) fn ends_off(folder: &Path) -> bool {
    let Some(segment) = segments(folder).ok().and_then(|mut all| all.pop()) else {
        return false;
    };
    let whom = Whom::Named(Vec::new());
    let bounds = Bounds {
        rows: 0,
        bytes: u64::MAX,
        until: clock::monotonic_now() + std::time::Duration::from_secs(5),
    };
    let mut is_off = false;
    Search::new(&whom, bounds).read(&segment, |_, item| {
        is_off = matches!(item, Item::Mark(Mark::Off { .. }));
    });
    is_off
}
