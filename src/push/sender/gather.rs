//! What lies behind a place, as the changes of one push: read in slices of the reader's lock, cut at the bounds.

use super::place::{Feed, Place, Start};
use super::render::{change, weight};
use crate::identity::view::Seq;
use crate::push::shape::{CUT_BYTES, Change, MAX_CHANGES, Totals};
use crate::writer::Reader;

/// Keys looked at in one hold of the lock.
const SLICE: usize = 200;
/// About as many bytes of JSON are rendered in one hold of the lock; a single large group may go beyond.
const SLICE_BYTES: usize = 256 << 10;

/// One push, before it is written.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The epoch that the positions are of.
    pub(super) epoch: String,
    /// From where it goes on.
    pub(super) start: Start,
    /// Everything up to here is told by it.
    pub(super) position: Seq,
    /// Whether it ends before the end of the feed.
    pub(super) more: bool,
    /// Keys behind it, at most.
    pub(super) behind: u64,
    /// What is held here.
    pub(super) totals: Totals,
    /// The changes, in order.
    pub(super) changes: Vec<Change>,
    weight: usize,
}

impl Gathered {
    /// Where the Server stands once it took this.
    pub(super) fn place(&self) -> Place {
        Place {
            position: self.position,
            // The pass is over once it has reached the end: whatever changed meanwhile was met there.
            begun: self.start.place.begun.filter(|_| self.more),
        }
    }

    /// An empty push: where we believe the Server stands, and how we are.
    pub(super) fn nothing(reader: &Reader, place: Place) -> Self {
        let core = reader.read();
        let feed = Feed::from(&*core);
        let start = Start {
            place,
            begins: false,
        };
        let behind = core.feed_behind(place.position);
        let mut nothing = Self::new(&feed, start);
        nothing.totals = totals(&core.totals());
        nothing.behind = behind;
        nothing.more = behind > 0 || place.begun.is_some();
        nothing
    }

    /// Everything that fits from a place on; `None`: from the beginning.
    pub(super) fn after(reader: &Reader, place: Option<Place>) -> Self {
        let mut gathered = {
            let core = reader.read();
            let feed = Feed::from(&*core);
            Self::new(&feed, feed.start(place))
        };
        while gathered.slice(reader) {}
        gathered
    }

    fn new(feed: &Feed, start: Start) -> Self {
        Self {
            epoch: feed.epoch.clone(),
            start,
            position: start.place.position,
            more: true,
            behind: 0,
            totals: Totals::default(),
            changes: Vec::new(),
            weight: 0,
        }
    }

    /// Goes on for one hold of the lock; whether there is room for another.
    fn slice(&mut self, reader: &Reader) -> bool {
        let core = reader.read();
        let feed = Feed::from(&*core);
        let here = Place {
            position: self.position,
            begun: self.start.place.begun,
        };
        if feed.epoch != self.epoch || feed.start(Some(here)).begins {
            // Something was forgotten since the last hold of the lock: the next push begins anew.
            return false;
        }
        self.totals = totals(&core.totals());
        let before = self.weight;
        for (count, (position, item)) in core.feed_since(self.position).enumerate() {
            if self.changes.len() == MAX_CHANGES || self.weight >= CUT_BYTES {
                self.behind = core.feed_behind(self.position);
                return false;
            }
            if count == SLICE || self.weight - before >= SLICE_BYTES {
                return true;
            }
            let change = change(&item);
            self.weight += weight(&change);
            self.changes.push(change);
            self.position = position;
        }
        self.position = feed.last;
        self.more = false;
        self.behind = 0;
        false
    }
}

fn totals(core: &crate::identity::view::Totals) -> Totals {
    let number = |count: usize| count as u64;
    Totals {
        domains: number(core.domains),
        users: number(core.users),
        devices: number(core.devices),
        groups: number(core.groups),
        sessions: number(core.sessions),
    }
}
