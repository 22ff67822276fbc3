//! What changed in the core since it was last asked, as plain data: what is kept of it on disk follows from this.
//!
//! Places are told as they are when they are taken, not as each change left them, so what changes often costs once. Many
//! may be waiting: they are taken some at a time, and what was taken is a table of one instant only when none are left
//! ([`Changes::instant`]). What is written of a change, and how, is the snapshot's business.

use std::collections::BTreeSet;

use compact_str::CompactString;

use super::core::Core;
use super::directory::DomainFacts;
use super::export;
use super::heard::LineId;
use super::spans::Spans;
use super::state::{AddressState, GoneState, LineState, ObjectState, ReadingState, SubjectState};
use super::time::UtcMillis;
use super::view::{Epoch, Seq};

/// One thing as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A user or device at a place; `None`: the place is free.
    Subject(u32, Option<SubjectState>),
    /// An object of a directory at a place.
    Object(u32, Option<ObjectState>),
    /// An address at a place.
    Address(u32, Option<AddressState>),
    /// How far a producer or directory is.
    Bookmark(CompactString, Box<[u8]>),
    /// A mark of the journal's time index; `None`: it is kept no more.
    Mark(UtcMillis, Option<Seq>),
    /// An object that is gone and still told of, by its place in the feed; `None`: told of no more.
    Gone(Seq, Option<GoneState>),
    /// A line heard of late, by when it was first heard; `None`: it is remembered no more.
    Line((UtcMillis, LineId), Option<LineState>),
    /// All that is small.
    Site(Box<SiteState>),
}

/// What is small and rarely changes: told whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteState {
    /// As [`super::state::State::domain_facts`].
    pub domain_facts: Vec<(CompactString, DomainFacts)>,
    /// As [`super::state::State::producers`].
    pub producers: Vec<CompactString>,
    /// As [`super::state::State::readings`].
    pub readings: Vec<ReadingState>,
    /// As [`super::state::State::collectors`].
    pub collectors: Vec<(CompactString, Option<UtcMillis>)>,
    /// As [`super::state::State::told_domains`].
    pub told_domains: Vec<(CompactString, CompactString)>,
    /// As [`super::state::FeedState::domains`], if the feed is kept.
    pub feed_domains: Option<Vec<(CompactString, Seq)>>,
}

/// What the table stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// As [`super::state::State::epoch`].
    pub epoch: Epoch,
    /// As [`super::state::State::last_seq`].
    pub last_seq: Seq,
    /// As [`super::state::State::floor`].
    pub floor: Seq,
    /// As [`super::state::State::now`].
    pub now: Option<UtcMillis>,
    /// As [`super::state::State::jumped_to`].
    pub jumped_to: Option<UtcMillis>,
    /// As [`super::state::FeedState::last`].
    pub feed_last: Seq,
    /// As [`super::state::FeedState::floor`].
    pub feed_floor: Seq,
}

/// What was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Each thing once.
    pub list: Vec<Change>,
    /// Set if no change is left, and no batch is in the middle: all that was taken so far is the table as it stood then.
    pub instant: Option<Instant>,
}

/// What waits to be taken and has no place in an arena.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    bookmarks: BTreeSet<CompactString>,
    /// Something of [`SiteState`] may have changed.
    site: bool,
    /// Producers and Collectors that [`SiteState`] had when it was last taken.
    named: (usize, usize),
}

impl Core {
    /// What changed since the last call, at most about `limit` things, so that the table is held for a bounded time.
    pub fn take_changes(&mut self, limit: usize) -> Changes {
        let mut list = Vec::new();
        if self.has_new_site() {
            self.waiting.site = false;
            self.waiting.named = self.named();
            list.push(Change::Site(Box::new(self.site())));
        }
        let marks = self.journal.take_new_marks().into_iter();
        list.extend(marks.map(|(at, seq)| Change::Mark(at, seq)));
        let gone = self.feed.take_new_gone().into_iter();
        list.extend(gone.map(|(seq, gone)| Change::Gone(seq, gone)));
        for key in std::mem::take(&mut self.waiting.bookmarks) {
            if let Some(value) = self.bookmarks.get(&key) {
                list.push(Change::Bookmark(key, value.clone()));
            }
        }
        while list.len() < limit {
            let Some(change) = self.next_change() else {
                break;
            };
            list.push(change);
        }
        Changes {
            list,
            instant: (!self.has_changes()).then(|| self.instant()),
        }
    }

    /// Whether something changed since it was taken, or a batch is in the middle.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.has_new_site()
            || !self.is_whole()
            || !self.waiting.bookmarks.is_empty()
            || self.subjects.arena.has_changed()
            || self.objects.arena.has_changed()
            || self.table.arena.has_changed()
            || self.heard.has_changed()
    }

    fn has_new_site(&self) -> bool {
        self.waiting.site || self.waiting.named != self.named()
    }

    /// How many producers and Collectors there are; they only become more.
    fn named(&self) -> (usize, usize) {
        let producers = &self.producers;
        (producers.names().len(), producers.tellers().len())
    }

    /// The table's time: that of the last call that changed something or passed the time.
    #[must_use]
    pub fn now(&self) -> Option<UtcMillis> {
        self.clock.now()
    }

    /// As if everything had changed: for whoever lost what he took.
    pub fn note_all_changed(&mut self) {
        self.waiting.site = true;
        self.waiting.bookmarks = self.bookmarks.keys().cloned().collect();
        self.journal.note_all_marks();
        self.feed.note_all_gone();
        self.subjects.arena.note_all();
        self.objects.arena.note_all();
        self.table.arena.note_all();
        self.heard.note_all();
    }

    /// Something that is told whole may have changed.
    pub(super) fn note_site(&mut self) {
        self.waiting.site = true;
    }

    /// Keeps what whoever gives the order has to remember beside what it changed.
    pub fn keep(&mut self, key: CompactString, value: Box<[u8]>) {
        self.keep_bookmark(key, value);
    }

    /// Keeps how far a producer or directory is.
    pub(super) fn keep_bookmark(&mut self, key: CompactString, value: Box<[u8]>) {
        self.waiting.bookmarks.insert(key.clone());
        self.bookmarks.insert(key, value);
    }

    fn next_change(&mut self) -> Option<Change> {
        if let Some((place, subject)) = self.subjects.arena.take_changed() {
            let state = subject.map(|subject| export::subject(&self.domains, subject));
            return Some(Change::Subject(place, state));
        }
        if let Some((place, object)) = self.objects.arena.take_changed() {
            let state = object.map(|object| export::object(&self.domains, object));
            return Some(Change::Object(place, state));
        }
        if let Some((place, entry)) = self.table.arena.take_changed() {
            return Some(Change::Address(place, entry.map(export::entry)));
        }
        let (place, line) = self.heard.take_changed()?;
        Some(Change::Line(place, line))
    }

    pub(super) fn instant(&self) -> Instant {
        Instant {
            epoch: self.epoch,
            last_seq: self.journal.last(),
            floor: self.journal.floor(),
            now: self.clock.now(),
            jumped_to: self.clock.jumped_to(),
            feed_last: self.feed_last(),
            feed_floor: self.feed_floor(),
        }
    }

    pub(super) fn site(&self) -> SiteState {
        SiteState {
            domain_facts: (self.domains.facts.iter())
                .map(|(domain, facts)| (domain.as_str().into(), facts.clone()))
                .collect(),
            producers: (self.producers.names().iter())
                .map(|name| CompactString::new(name))
                .collect(),
            readings: (self.objects.readings.iter())
                .map(|(directory, reading)| ReadingState {
                    directory: directory.as_str().into(),
                    held: reading.held.iter().copied().collect(),
                    under_way: reading.under_way.as_ref().map(Spans::export),
                })
                .collect(),
            collectors: (self.producers.tellers().iter())
                .map(|teller| (CompactString::new(&teller.name), teller.disconnected_since))
                .collect(),
            told_domains: (self.domains.told.iter())
                .map(|(directory, domain)| (directory.as_str().into(), domain.as_str().into()))
                .collect(),
            feed_domains: self.feed.export_domains(),
        }
    }
}
